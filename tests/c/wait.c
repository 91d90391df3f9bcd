/* shoal_wait: waiting for whichever of many comes first. */
#include "polls.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>

static shoal_queue *queues[MANY];

static shoal_waitable of_queue(shoal_queue *q)
{
    return (shoal_waitable){.kind = SHOAL_WAIT_QUEUE, .queue = q, .ready = 7};
}

static shoal_waitable of_connection(shoal_connection *c)
{
    return (shoal_waitable){.kind = SHOAL_WAIT_CONNECTION, .connection = c, .ready = 7};
}

static shoal_waitable of_process(shoal_process *p)
{
    return (shoal_waitable){.kind = SHOAL_WAIT_PROCESS, .process = p, .ready = 7};
}

static shoal_waitable of_fd(int fd)
{
    return (shoal_waitable){.kind = SHOAL_WAIT_FD, .fd = fd, .ready = 7};
}

static int until_told(void *argument)
{
    (void)argument;
    while (!atomic_load(&words[LAST]))
        nap();
    return 0;
}

/* All that can be waited for. */
static struct all {
    shoal_waitable items[5];
    shoal_connection *socket, *peer;
    shoal_process *process;
    int pipe[2];
} all;

static void make_all(void)
{
    int pair[2];
    begin();
    words = words_open();
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    ASSERT_OK(shoal_pipe(&here, &there, NULL));
    ASSERT_SYS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    ASSERT_OK(shoal_connection_from_fd(&all.socket, pair[0]));
    ASSERT_OK(shoal_connection_from_fd(&all.peer, pair[1]));
    ASSERT_SYS(pipe2(all.pipe, O_CLOEXEC));
    ASSERT_OK(shoal_process_start(&all.process, until_told, NULL, NULL));
    all.items[0] = of_queue(queue);
    all.items[1] = of_connection(here);
    all.items[2] = of_connection(all.socket);
    all.items[3] = of_process(all.process);
    all.items[4] = of_fd(all.pipe[0]);
}

static void make_ready(int i)
{
    switch (i) {
    case 0: put(queue, "x"); break;
    case 1: ASSERT_OK(shoal_connection_send_bytes(there, "x", 1, SHOAL_NOW)); break;
    case 2: ASSERT_OK(shoal_connection_send_bytes(all.peer, "x", 1, SHOAL_NOW)); break;
    case 3: atomic_store(&words[LAST], 1); break;
    default: ASSERT_EQ_INT(write(all.pipe[1], "x", 1), 1);
    }
}

static void make_unready(int i)
{
    char byte;
    switch (i) {
    case 0: ASSERT_OK(get(queue)); break;
    case 1: ASSERT_OK(receive(here)); break;
    case 2: ASSERT_OK(receive(all.socket)); break;
    case 3: break;
    default: ASSERT_EQ_INT(read(all.pipe[0], &byte, 1), 1);
    }
}

static void end_all(void)
{
    atomic_store(&words[LAST], 1);
    ASSERT_EQ_INT(joined(all.process), 0);
    shoal_queue_close(queue);
    shoal_connection_close(here);
    shoal_connection_close(there);
    shoal_connection_close(all.socket);
    shoal_connection_close(all.peer);
    close(all.pipe[0]);
    close(all.pipe[1]);
    words_close();
}

static void *makes_ready_soon(void *argument)
{
    nap();
    make_ready(*(int *)argument);
    return NULL;
}

TEST(wait_ends_with_whichever_is_ready)
{
    pthread_t thread;
    make_all();
    ASSERT_ERR(shoal_wait(all.items, 5, SHOAL_NOW), -EAGAIN);
    for (int round = 0; round < 2; round++) /* without descriptors, and with them */
        for (int i = 0; i < 5; i++) {
            if (i == 3)
                continue;
            make_ready(i);
            ASSERT_EQ_INT(shoal_wait(all.items, 5, round ? SHOAL_FOREVER : SHOAL_NOW), 1);
            for (int k = 0; k < 5; k++)
                ASSERT_EQ_INT(all.items[k].ready, k == i);
            make_unready(i);
            ASSERT_ERR(shoal_wait(all.items, 5, SHOAL_NOW), -EAGAIN);
            ASSERT_EQ_INT(pthread_create(&thread, NULL, makes_ready_soon, &i), 0);
            ASSERT_EQ_INT(shoal_wait(all.items, 5, SHOAL_FOREVER), 1);
            ASSERT_EQ_INT(pthread_join(thread, NULL), 0);
            ASSERT_EQ_INT(all.items[i].ready, 1);
            make_unready(i);
        }
    make_ready(3);
    ASSERT_EQ_INT(shoal_wait(all.items, 5, SHOAL_FOREVER), 1);
    ASSERT_EQ_INT(all.items[3].ready, 1);
    for (int i = 0; i < 5; i++)
        make_ready(i);
    ASSERT_EQ_INT(shoal_wait(all.items, 5, SHOAL_FOREVER), 5);
    end_all();
}

TEST(wait_deadlines_and_signals_end_it)
{
    make_all();
    ASSERT_ERR(shoal_wait(all.items, 5, shoal_after(0.01)), -ETIMEDOUT);
    ASSERT_TRUE(strstr(shoal_error_detail(), "shoal_wait"));
    ASSERT_ERR(shoal_wait(all.items, 5, 5), -ETIMEDOUT);
    ASSERT_ERR(shoal_wait(all.items, 5, -1), -EINVAL);
    for (int i = 0; i < 5; i++)
        ASSERT_EQ_INT(all.items[i].ready, 7);
    end_all();
}

static void waits_for_a_signal(void)
{
    shoal_waitable item = of_queue(queue);
    int rc;
    let_signals_interrupt();
    do
        rc = shoal_wait(&item, 1, SHOAL_FOREVER);
    while (rc == -EAGAIN);
    ASSERT_ERR(rc, -EINTR);
}

TEST(wait_ends_when_a_signal_handler_ran)
{
    begin();
    let_signals_interrupt();
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    interrupt_until_end(child(waits_for_a_signal));
    shoal_queue_close(queue);
}

TEST(wait_arguments_are_checked)
{
    shoal_waitable one[2], none = {.kind = 0};
    shoal_queue *closed;
    shoal_connection *a, *b;
    make_all();
    ASSERT_ERR(shoal_wait(NULL, 1, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_wait(all.items, 0, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_wait(all.items, SIZE_MAX, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_wait(&none, 1, SHOAL_NOW), -EINVAL);
    one[0] = of_queue(queue); /* what is good stands before what is bad */
    put(queue, "x");
    shoal_waitable bad[] = {of_queue(NULL), of_connection(NULL), of_process(NULL)};
    for (size_t i = 0; i < 3; i++) {
        one[1] = bad[i];
        ASSERT_ERR(shoal_wait(one, 2, SHOAL_NOW), -EINVAL);
        ASSERT_TRUE(strstr(shoal_error_detail(), "shoal_wait: item 1"));
        ASSERT_EQ_INT(one[0].ready, 7);
    }
    ASSERT_OK(shoal_queue_create(&closed, NULL));
    shoal_queue_close(closed);
    ASSERT_OK(shoal_pipe(&a, &b, &(shoal_pipe_options){.flags = SHOAL_ONE_WAY}));
    shoal_waitable bads[] = {of_queue(closed), of_queue((shoal_queue *)(void *)a), of_connection(b),
                             of_fd(-1), of_fd(1 << 20)};
    for (size_t i = 0; i < 5; i++) {
        one[1] = bads[i];
        ASSERT_ERR(shoal_wait(one, 2, SHOAL_NOW), -EBADF);
        ASSERT_EQ_INT(one[0].ready, 7);
    }
    one[1] = of_process(shoal_process_current());
    ASSERT_ERR(shoal_wait(one, 2, SHOAL_NOW), -EDEADLK);
    shoal_connection_close(a);
    shoal_connection_close(b);
    end_all();
}

/* More than fit on the stack; and all end with one death. */
TEST(wait_for_the_peers_of_many_pipes)
{
    static shoal_waitable items[MANY];
    begin();
    words = words_open();
    for (int i = 0; i < MANY; i++) {
        ASSERT_OK(shoal_pipe(&ends[i][0], &ends[i][1], NULL));
        items[i] = of_connection(ends[i][0]);
    }
    pid_t pid = child(holds_all);
    for (int i = 0; i < MANY; i++)
        ends[i][1] = shoal_connection_close(ends[i][1]);
    until_word(&words[GO], 1);
    ASSERT_ERR(shoal_wait(items, MANY, shoal_after(0.05)), -ETIMEDOUT);
    ASSERT_SYS(kill(pid, SIGKILL));
    ASSERT_GE_INT(shoal_wait(items, MANY, SHOAL_FOREVER), 1);
    for (int i = 0; i < MANY; i++) {
        ASSERT_EQ_INT(shoal_wait(&items[i], 1, SHOAL_FOREVER), 1);
        ASSERT_ERR(receive(ends[i][0]), -EPIPE);
        shoal_connection_close(ends[i][0]);
    }
    ASSERT_SYS(waitpid(pid, NULL, 0));
    words_close();
}

TEST(wait_for_many_queues)
{
    static shoal_waitable items[MANY];
    begin();
    for (int i = 0; i < MANY; i++) {
        ASSERT_OK(shoal_queue_create(&queues[i], &(shoal_queue_options){.kind = (unsigned)i % 3}));
        items[i] = of_queue(queues[i]);
    }
    for (int i = 0; i < MANY; i += 7) {
        queue = queues[i];
        pid_t pid = child(put_and_die);
        ASSERT_EQ_INT(shoal_wait(items, MANY, SHOAL_FOREVER), 1);
        ASSERT_EQ_INT(items[i].ready, 1);
        ASSERT_OK(get(queue));
        ASSERT_SYS(waitpid(pid, NULL, 0));
    }
    for (int i = 0; i < MANY; i++)
        shoal_queue_close(queues[i]);
}
