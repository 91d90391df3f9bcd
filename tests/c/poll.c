/* Descriptors for epoll loops: shoal_queue_fileno, shoal_connection_fileno. */
#include "os/os.h"
#include "polls.h"
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return ASSERT_SYS(poll(&p, 1, 0)) != 0;
}

static void until_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (poll(&p, 1, -1) <= 0)
        ASSERT_EQ_INT(errno, EINTR);
}

/* Takes until there is nothing, each time when it is readable; it is not, then. How many. */
static int take_all(shoal_queue *q, int fd)
{
    int n = 0;
    while (readable(fd)) {
        int rc = get(q);
        n += !rc;
        if (rc)
            ASSERT_ERR(rc, -EAGAIN);
    }
    ASSERT_EQ_INT(shoal_queue_qsize(q), 0);
    return n;
}

/* The same for longer than it takes to know of who was born: its birth makes nothing readable any more. */
static int take_for_a_while(shoal_queue *q, int fd)
{
    int n = 0;
    for (int i = 0; i < 30; i++, nap())
        n += take_all(q, fd);
    return n;
}

/* Until there is an end, sleeping whenever there is nothing. How many came before it. */
static int receive_all(shoal_connection *c, int fd)
{
    for (int n = 0;;) {
        until_readable(fd);
        int rc = receive(c);
        if (rc == -EPIPE)
            return n;
        if (rc)
            ASSERT_ERR(rc, -EAGAIN);
        n += !rc;
    }
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* ---- queues ---- */

static void poll_a_kind(unsigned kind, uint64_t maxsize)
{
    shoal_queue_options options = {.kind = kind, .maxsize = maxsize};
    ASSERT_OK(shoal_queue_create(&queue, &options));
    int fd = (int)ASSERT_OK(shoal_queue_fileno(queue));
    ASSERT_FALSE(readable(fd));
    for (int i = 0; i < 3; i++) {
        put(queue, "a");
        ASSERT_TRUE(readable(fd));
        put(queue, "b");
        ASSERT_EQ_INT(take_all(queue, fd), 2);
    }
    put(queue, "c");
    put(queue, "d");
    ASSERT_OK(get(queue)); /* one each time it is readable will do */
    ASSERT_TRUE(readable(fd));
    ASSERT_OK(get(queue));
    ASSERT_EQ_INT(take_all(queue, fd), 0);
    shoal_queue_close(queue);
    ASSERT_FALSE(is_open(fd));
}

TEST(poll_a_queue_of_each_kind_is_readable_when_there_is_a_message)
{
    begin();
    poll_a_kind(SHOAL_FIFO, 0);
    poll_a_kind(SHOAL_FIFO, 2);
    poll_a_kind(SHOAL_LIFO, 0);
    poll_a_kind(SHOAL_LIFO, 2);
    poll_a_kind(SHOAL_PRIORITY, 0);
}

static void poll_by(int (*take)(void))
{
    int fd = (int)ASSERT_OK(shoal_queue_fileno(queue));
    put(queue, "a");
    while (readable(fd))
        take();
    ASSERT_EQ_INT(shoal_queue_qsize(queue), 0);
    put(queue, "a");
    ASSERT_TRUE(readable(fd));
    ASSERT_OK(take());
}

static int take_view(void)
{
    shoal_message message;
    int rc = shoal_queue_view(queue, &message, SHOAL_NOW);
    if (!rc)
        shoal_message_release(&message);
    return rc;
}

static int take_bytes(void)
{
    void *bytes;
    size_t size;
    int rc = shoal_queue_get_bytes(queue, &bytes, &size, SHOAL_NOW);
    if (!rc)
        free(bytes);
    return rc;
}

static int take_many(void)
{
    shoal_bytes got[4];
    char buffer[100];
    int rc = shoal_queue_get_many(queue, got, 4, buffer, sizeof buffer, SHOAL_NOW);
    return rc == 1 ? 0 : rc;
}

static int take_late(void)
{
    char buffer[100];
    size_t size;
    return shoal_queue_get_bytes_into(queue, buffer, sizeof buffer, &size, shoal_after(0.001));
}

TEST(poll_each_way_to_take_in_vain_makes_a_queue_unreadable)
{
    begin();
    for (unsigned kind = SHOAL_FIFO; kind <= SHOAL_PRIORITY; kind++) {
        ASSERT_OK(shoal_queue_create(&queue, &(shoal_queue_options){.kind = kind}));
        poll_by(take_bytes);
        poll_by(take_many);
        poll_by(take_view);
        poll_by(take_late);
        shoal_any *any;
        int fd = (int)ASSERT_OK(shoal_queue_fileno(queue));
        while (readable(fd))
            ASSERT_ERR(shoal_queue_get(queue, &any, SHOAL_NOW), -EAGAIN);
        shoal_queue_close(queue);
    }
}

TEST(poll_what_is_there_already_makes_a_new_descriptor_readable)
{
    begin();
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    put(queue, "a");
    int fd = (int)ASSERT_OK(shoal_queue_fileno(queue));
    ASSERT_TRUE(readable(fd));
    ASSERT_EQ_INT(shoal_queue_fileno(queue), fd);
    ASSERT_EQ_INT(take_all(queue, fd), 1);
    shoal_queue_close(queue);
}

TEST(poll_a_message_that_is_too_long_keeps_a_queue_readable)
{
    char buffer[1];
    size_t size;
    begin();
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    int fd = (int)ASSERT_OK(shoal_queue_fileno(queue));
    put(queue, "long");
    ASSERT_ERR(shoal_queue_get_bytes_into(queue, buffer, 1, &size, SHOAL_NOW), -EMSGSIZE);
    ASSERT_TRUE(readable(fd));
    ASSERT_EQ_INT(take_all(queue, fd), 1);
    shoal_queue_close(queue);
}

TEST(poll_a_queue_that_is_shut_down_is_readable)
{
    begin();
    for (unsigned kind = SHOAL_FIFO; kind <= SHOAL_PRIORITY; kind++) {
        ASSERT_OK(shoal_queue_create(&queue, &(shoal_queue_options){.kind = kind}));
        int fd = (int)ASSERT_OK(shoal_queue_fileno(queue));
        ASSERT_FALSE(readable(fd));
        ASSERT_OK(shoal_queue_shutdown(queue, 0));
        for (int i = 0; i < 3; i++) {
            ASSERT_TRUE(readable(fd));
            ASSERT_ERR(get(queue), -EPIPE);
        }
        shoal_queue_close(queue);
    }
}

TEST(poll_arguments_are_checked)
{
    shoal_queue *closed;
    begin();
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    ASSERT_ERR(shoal_queue_fileno(NULL), -EINVAL);
    ASSERT_OK(shoal_pipe(&here, &there, &(shoal_pipe_options){.flags = SHOAL_ONE_WAY}));
    ASSERT_ERR(shoal_queue_fileno((shoal_queue *)(void *)here), -EBADF);
    ASSERT_ERR(shoal_connection_fileno(there), -EBADF);
    ASSERT_TRUE(strstr(shoal_error_detail(), "only sends"));
    closed = queue;
    shoal_queue_close(queue);
    ASSERT_ERR(shoal_queue_fileno(closed), -EBADF);
    shoal_connection_close(here);
    shoal_connection_close(there);
}

/* ---- processes ---- */

static void put_one(void)
{
    put(queue, "from a child");
}

/* Sleeps until one has come. */
static void take_one(int fd)
{
    int rc;
    do {
        until_readable(fd);
        rc = get(queue);
        if (rc)
            ASSERT_ERR(rc, -EAGAIN);
    } while (rc);
}

TEST(poll_children_that_come_later_are_heard)
{
    begin();
    for (unsigned kind = SHOAL_FIFO; kind <= SHOAL_PRIORITY; kind++) {
        ASSERT_OK(shoal_queue_create(&queue, &(shoal_queue_options){.kind = kind}));
        int fd = (int)ASSERT_OK(shoal_queue_fileno(queue));
        for (int i = 0; i < 3; i++) {
            pid_t pid = child(put_one);
            take_one(fd);
            ends_well(pid);
            pid = child(put_and_die);
            take_one(fd);
            ASSERT_SYS(waitpid(pid, NULL, 0));
        }
        ASSERT_EQ_INT(take_all(queue, fd), 0);
        shoal_queue_close(queue);
    }
}

/* The number is the parent's; its own is another, and what it does harms the parent's in no way. */
static void poll_in_child(void)
{
    int inherited = (int)atomic_load(&words[GO]);
    ASSERT_ERR(get(queue), -EAGAIN); /* arms nothing of the parent's */
    int fd = (int)ASSERT_OK(shoal_queue_fileno(queue));
    ASSERT_FALSE(readable(fd));
    ASSERT_EQ_INT(shoal_queue_fileno(queue), fd);
    ASSERT_TRUE(fd == inherited || !is_open(inherited));
    put(queue, "for both");
    ASSERT_TRUE(readable(fd));
    ASSERT_OK(shoal_queue_shutdown(queue, 0));
    ASSERT_TRUE(readable(fd));
    shoal_queue_close(queue);
    ASSERT_FALSE(is_open(fd));
}

static void close_in_child(void)
{
    shoal_queue_close(queue);
}

TEST(poll_a_child_has_descriptors_of_its_own)
{
    begin();
    words = words_open();
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    int fd = (int)ASSERT_OK(shoal_queue_fileno(queue));
    atomic_store(&words[GO], fd);
    ends_well(child(close_in_child));
    ASSERT_EQ_INT(take_all(queue, fd), 0);
    pid_t pid = child(poll_in_child);
    take_one(fd);
    ends_well(pid);
    until_readable(fd);
    ASSERT_ERR(get(queue), -EPIPE);
    ASSERT_TRUE(readable(fd));
    shoal_queue_close(queue);
    words_close();
}

/* One that polls, and takes one message. */
static void polls(void)
{
    int fd = (int)ASSERT_OK(shoal_queue_fileno(queue));
    atomic_fetch_add(&words[GO], 1);
    take_one(fd);
    atomic_fetch_add(&words[TAKEN], 1);
}

static void sleeps(void)
{
    char buffer[100];
    size_t size;
    atomic_fetch_add(&words[GO], 1);
    ASSERT_OK(shoal_queue_get_bytes_into(queue, buffer, sizeof buffer, &size, SHOAL_FOREVER));
    atomic_fetch_add(&words[TAKEN], 1);
}

/* Whoever polls is rung besides those who sleep: no wake-up of the one is used up by the other. */
TEST(poll_and_sleep_side_by_side)
{
    enum { EACH = 4 };
    pid_t pids[2 * EACH];
    begin();
    words = words_open();
    for (unsigned kind = SHOAL_FIFO; kind <= SHOAL_LIFO; kind++) {
        atomic_store(&words[GO], 0);
        atomic_store(&words[TAKEN], 0);
        ASSERT_OK(shoal_queue_create(&queue, &(shoal_queue_options){.kind = kind}));
        for (int i = 0; i < 2 * EACH; i++)
            pids[i] = child(i % 2 ? polls : sleeps);
        until_word(&words[GO], 2 * EACH);
        for (int i = 0; i < 2 * EACH; i++)
            until_asleep(pids[i]);
        for (int i = 0; i < 2 * EACH; i++) {
            put(queue, "one");
            until_word(&words[TAKEN], i + 1);
        }
        for (int i = 0; i < 2 * EACH; i++)
            ends_well(pids[i]);
        shoal_queue_close(queue);
    }
    words_close();
}

TEST(poll_one_who_polls_and_is_stopped_holds_up_nobody)
{
    begin();
    words = words_open();
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    pid_t pid = child(polls);
    until_word(&words[GO], 1);
    until_asleep(pid);
    int fd = (int)ASSERT_OK(shoal_queue_fileno(queue));
    ASSERT_SYS(kill(pid, SIGSTOP));
    ASSERT_SYS(waitpid(pid, NULL, WUNTRACED));
    for (int i = 0; i < 100; i++) {
        put(queue, "one");
        ASSERT_EQ_INT(take_all(queue, fd), 1);
    }
    put(queue, "its own");
    ASSERT_SYS(kill(pid, SIGCONT));
    ends_well(pid);
    shoal_queue_close(queue);
    words_close();
}

enum { PRODUCERS = 3, EACH = 1500, CONSUMERS = 2 };

static void produces(void)
{
    unsigned seed = (unsigned)getpid();
    for (int i = 0; i < EACH; i++) {
        put(queue, "x");
        seed = seed * 1103515245 + 12345;
        if (!(seed >> 16 & 7)) /* they are to fall asleep, too */
            nap();
    }
}

static void consumes(void)
{
    int fd = (int)ASSERT_OK(shoal_queue_fileno(queue)), rc;
    int epoll = (int)ASSERT_SYS(epoll_create1(EPOLL_CLOEXEC));
    struct epoll_event event = {.events = EPOLLIN};
    ASSERT_SYS(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    do {
        ASSERT_SYS(epoll_wait(epoll, &event, 1, -1));
        while (!(rc = get(queue)))
            atomic_fetch_add(&words[TAKEN], 1);
    } while (rc == -EAGAIN);
    ASSERT_ERR(rc, -EPIPE);
}

TEST(poll_no_wakeup_is_lost_among_many)
{
    pid_t pids[PRODUCERS], takers[CONSUMERS];
    begin();
    words = words_open();
    for (unsigned kind = SHOAL_FIFO; kind <= SHOAL_LIFO; kind++) {
        atomic_store(&words[TAKEN], 0);
        ASSERT_OK(shoal_queue_create(&queue, &(shoal_queue_options){.kind = kind}));
        for (int i = 0; i < CONSUMERS; i++)
            takers[i] = child(consumes);
        for (int i = 0; i < PRODUCERS; i++)
            pids[i] = child(produces);
        for (int i = 0; i < PRODUCERS; i++)
            ends_well(pids[i]);
        until_word(&words[TAKEN], PRODUCERS * EACH); /* without another put */
        ASSERT_OK(shoal_queue_shutdown(queue, 0));
        for (int i = 0; i < CONSUMERS; i++)
            ends_well(takers[i]);
        shoal_queue_close(queue);
    }
    words_close();
}

TEST(poll_programs_that_are_executed_are_heard)
{
    char what[] = "put", name[] = "member", text[80];
    shoal_reference r;
    shoal_process *p;
    begin();
    char *path = member(), *argv[] = {name, what, text, NULL};
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    int fd = (int)ASSERT_OK(shoal_queue_fileno(queue));
    ASSERT_OK(shoal_queue_reference(queue, &r));
    snprintf(text, sizeof text, "%lx:%u:%u", (unsigned long)r.family, r.id, r.generation);
    for (int i = 0; i < 2; i++) {
        ASSERT_OK(shoal_process_start_exec(&p, path, argv, NULL));
        take_one(fd);
        ASSERT_EQ_INT(joined(p), i ? -SIGKILL : 0);
        snprintf(what, sizeof what, "die"); /* the same, and SIGKILL at once */
    }
    ASSERT_EQ_INT(take_all(queue, fd), 0);
    shoal_queue_close(queue);
}

/* ---- pipes ---- */

TEST(poll_both_ends_of_a_pipe)
{
    begin();
    ASSERT_OK(shoal_pipe(&here, &there, NULL));
    int a = (int)ASSERT_OK(shoal_connection_fileno(here)),
        b = (int)ASSERT_OK(shoal_connection_fileno(there));
    ASSERT_FALSE(readable(a) || readable(b));
    ASSERT_OK(shoal_connection_send_bytes(here, "x", 1, SHOAL_NOW));
    ASSERT_TRUE(!readable(a) && readable(b));
    ASSERT_OK(shoal_connection_poll(there, SHOAL_NOW));
    ASSERT_OK(receive(there));
    ASSERT_ERR(shoal_connection_poll(there, SHOAL_NOW), -EAGAIN);
    ASSERT_FALSE(readable(b));
    ASSERT_OK(shoal_connection_send_bytes(there, "x", 1, SHOAL_NOW));
    ASSERT_TRUE(readable(a));
    shoal_connection_close(there);
    ASSERT_EQ_INT(receive_all(here, a), 1);
    ASSERT_TRUE(readable(a));
    ASSERT_FALSE(is_open(b));
    shoal_connection_close(here);
}

static void sends_and_waits(void)
{
    shoal_connection_close(here);
    ASSERT_OK(shoal_connection_send_bytes(there, "x", 1, SHOAL_NOW));
    atomic_store(&words[GO], 1);
    pause();
}

/* Nobody sleeps in shoal, nobody calls it: the kernel's own word about the death must do. */
TEST(poll_the_end_of_a_peer_that_is_killed_is_heard)
{
    begin();
    words = words_open();
    for (int before = 0; before < 2; before++) {
        int fd = -1;
        ASSERT_OK(shoal_pipe(&here, &there, NULL));
        if (before)
            fd = (int)ASSERT_OK(shoal_connection_fileno(here));
        atomic_store(&words[GO], 0);
        pid_t pid = child(sends_and_waits);
        there = shoal_connection_close(there);
        if (!before)
            fd = (int)ASSERT_OK(shoal_connection_fileno(here));
        until_word(&words[GO], 1);
        do
            until_readable(fd);
        while (receive(here));
        while (readable(fd))
            ASSERT_ERR(receive(here), -EAGAIN);
        ASSERT_SYS(kill(pid, SIGKILL));
        ASSERT_EQ_INT(receive_all(here, fd), 0);
        ASSERT_SYS(waitpid(pid, NULL, 0));
        shoal_connection_close(here);
    }
    words_close();
}

/* A death is one event, and each of the descriptors must tell of it, in whatever order they are looked
 * at. More than the kernel lets hang on one epoll within epolls, too. */
TEST(poll_a_death_is_heard_by_all_descriptors)
{
    struct epoll_event event = {.events = EPOLLIN};
    begin();
    words = words_open();
    int epoll = (int)ASSERT_SYS(epoll_create1(EPOLL_CLOEXEC)), left = MANY, others[2];
    for (int i = 0; i < 2; i++)
        others[i] = (int)ASSERT_SYS(epoll_create1(EPOLL_CLOEXEC));
    for (int i = 0; i < MANY; i++) {
        ASSERT_OK(shoal_pipe(&ends[i][0], &ends[i][1], NULL));
        event.data.u32 = (uint32_t)i;
        int fd = (int)ASSERT_OK(shoal_connection_fileno(ends[i][0]));
        ASSERT_SYS(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
        for (int k = 0; k < 2; k++)
            ASSERT_SYS(epoll_ctl(others[k], EPOLL_CTL_ADD, fd, &event));
    }
    pid_t pid = child(holds_all);
    for (int i = 0; i < MANY; i++)
        ends[i][1] = shoal_connection_close(ends[i][1]);
    until_word(&words[GO], 1);
    while (epoll_wait(epoll, &event, 1, 0) > 0)
        ASSERT_ERR(receive(ends[event.data.u32][0]), -EAGAIN);
    ASSERT_SYS(kill(pid, SIGKILL));
    while (left) {
        ASSERT_SYS(epoll_wait(epoll, &event, 1, -1));
        int rc = receive(ends[event.data.u32][0]);
        if (rc == -EAGAIN)
            continue;
        ASSERT_ERR(rc, -EPIPE);
        ends[event.data.u32][0] = shoal_connection_close(ends[event.data.u32][0]);
        left--;
    }
    ASSERT_SYS(waitpid(pid, NULL, 0));
    for (int k = 0; k < 2; k++)
        ASSERT_EQ_INT(epoll_wait(others[k], &event, 1, 0), 0);
    close(others[0]);
    close(others[1]);
    close(epoll);
    words_close();
}

static void becomes_another_program(void)
{
    shoal_connection_close(here);
    atomic_store(&words[GO], 1);
    until_word(&words[LAST], 1);
    execlp("sleep", "sleep", "100", (char *)NULL);
}

/* No descriptor tells of an exec: there the net helps. */
TEST(poll_a_peer_that_executes_a_program_is_heard)
{
    ASSERT_SYS(setenv("SHOAL_TEST_NET", "1", 1));
    words = words_open();
    ASSERT_OK(shoal_pipe(&here, &there, NULL));
    int fd = (int)ASSERT_OK(shoal_connection_fileno(here));
    pid_t pid = child(becomes_another_program);
    there = shoal_connection_close(there);
    until_word(&words[GO], 1);
    for (int i = 0; i < 30; i++, nap()) /* it is known and watched by then */
        while (readable(fd))
            ASSERT_ERR(receive(here), -EAGAIN);
    atomic_store(&words[LAST], 1);
    ASSERT_EQ_INT(receive_all(here, fd), 0);
    kill_and_reap(pid);
    shoal_connection_close(here);
    words_close();
}

/* Whether nothing but what happens makes a descriptor readable: elsewhere lives are looked at now and then. */
static bool is_quiet(void)
{
    return os_features()->pidfd && os_features()->robust;
}

static void sleeps_until_killed(void)
{
    shoal_event *never;
    ASSERT_OK(shoal_event_create(&never, NULL));
    atomic_store(&words[DONE], 1);
    shoal_event_wait(never, SHOAL_FOREVER);
}

/* Without the net: who sleeps in shoal is told, repairs, and tells. */
TEST(poll_a_death_that_another_has_noticed_is_heard)
{
    begin();
    words = words_open();
    ASSERT_OK(shoal_pipe(&here, &there, NULL));
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    int fd = (int)ASSERT_OK(shoal_queue_fileno(queue));
    pid_t sleeper = child(sleeps_until_killed), pid = child(becomes_another_program);
    until_word(&words[GO], 1);
    until_word(&words[DONE], 1);
    until_asleep(sleeper);
    ASSERT_EQ_INT(take_for_a_while(queue, fd), 0);
    if (is_quiet())
        ASSERT_FALSE(readable(fd));
    atomic_store(&words[LAST], 1);
    until_readable(fd);
    kill_and_reap(sleeper);
    kill_and_reap(pid);
    shoal_queue_close(queue);
    shoal_connection_close(here);
    shoal_connection_close(there);
    words_close();
}

/* Until what holds the other end has been killed, who is known and watched by then. */
static void end_of(pid_t pid, int fd)
{
    there = shoal_connection_close(there);
    for (int i = 0; i < 30; i++, nap())
        while (readable(fd))
            ASSERT_ERR(receive(here), -EAGAIN);
    ASSERT_SYS(kill(pid, SIGKILL));
    ASSERT_EQ_INT(receive_all(here, fd), 0);
}

static void pauses(void)
{
    shoal_connection_close(here);
    shoal_connection_close(there);
    atomic_fetch_add(&words[DONE], 1);
    pause();
}

/* A quarter of its descriptors stays the program's; those of the family who are not watched then are heard, too. */
TEST(poll_more_processes_than_descriptors)
{
    enum { FAMILY = 24, DESCRIPTORS = 32 };
    struct rlimit was, few;
    pid_t pids[FAMILY];
    begin();
    words = words_open();
    ASSERT_SYS(getrlimit(RLIMIT_NOFILE, &was));
    few = (struct rlimit){DESCRIPTORS, was.rlim_max};
    ASSERT_SYS(setrlimit(RLIMIT_NOFILE, &few));
    ASSERT_OK(shoal_pipe(&here, &there, NULL));
    int fd = (int)ASSERT_OK(shoal_connection_fileno(here));
    for (int i = 0; i < FAMILY; i++)
        pids[i] = child(pauses);
    pid_t pid = child(sends_and_waits);
    there = shoal_connection_close(there);
    until_word(&words[GO], 1);
    until_word(&words[DONE], FAMILY);
    for (int i = 0; i < 30; i++, nap())
        receive(here);
    for (int i = DESCRIPTORS * 3 / 4; i < DESCRIPTORS; i++)
        ASSERT_FALSE(is_open(i));
    ASSERT_SYS(kill(pid, SIGKILL));
    receive_all(here, fd);
    ASSERT_SYS(waitpid(pid, NULL, 0));
    for (int i = 0; i < FAMILY; i++)
        kill_and_reap(pids[i]);
    ASSERT_SYS(setrlimit(RLIMIT_NOFILE, &was));
    shoal_connection_close(here);
    words_close();
}

static int holds_an_end(void *reference)
{
    shoal_connection *c;
    ASSERT_OK(shoal_connection_open(&c, reference));
    atomic_store(&words[GO], 1);
    pause();
    return 0;
}

TEST(poll_children_of_the_fork_server_are_watched)
{
    shoal_process *p;
    shoal_reference r;
    begin();
    words = words_open();
    ASSERT_OK(shoal_forkserver_start());
    ASSERT_OK(shoal_pipe(&here, &there, NULL));
    ASSERT_OK(shoal_connection_reference(there, &r));
    int fd = (int)ASSERT_OK(shoal_connection_fileno(here));
    ASSERT_OK(shoal_process_start_clean(&p, holds_an_end, &r, sizeof r, NULL));
    until_word(&words[GO], 1);
    end_of(shoal_process_pid(p), fd);
    ASSERT_EQ_INT(joined(p), -SIGKILL);
    ASSERT_OK(shoal_forkserver_stop());
    shoal_connection_close(here);
    words_close();
}

/* A program that makes no call of shoal holds what its parent held, as long as it runs. */
TEST(poll_programs_that_do_not_join_are_watched)
{
    char what[] = "sleep", name[] = "member", *argv[] = {name, what, NULL};
    shoal_process *p;
    begin();
    char *path = member();
    ASSERT_OK(shoal_pipe(&here, &there, NULL));
    ASSERT_OK(shoal_process_start_exec(&p, path, argv, NULL)); /* it has both ends */
    int fd = (int)ASSERT_OK(shoal_connection_fileno(here));
    end_of(shoal_process_pid(p), fd);
    ASSERT_EQ_INT(joined(p), -SIGKILL);
    shoal_connection_close(here);
}

static void attach_and_hold(void)
{
    atomic_store(&words[TAKEN], shoal_queue_qsize(queue) >= 0);
    shoal_connection *c;
    shoal_reference r = {(uint64_t)atomic_load(&words[40]), (uint32_t)atomic_load(&words[41]),
                         (uint32_t)atomic_load(&words[42])};
    ASSERT_OK(shoal_connection_open(&c, &r));
    atomic_store(&words[GO], 1);
    for (;;)
        pause();
}

/* No handler of a fork ran, and no parent reserved its slot. */
TEST(poll_a_bare_clone_is_watched)
{
    shoal_reference r;
    if (!os_features()->wipe_on_fork)
        SKIP("without MADV_WIPEONFORK a bare clone cannot know that it is one");
    begin();
    words = words_open();
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    ASSERT_OK(shoal_pipe(&here, &there, NULL));
    ASSERT_OK(shoal_connection_reference(there, &r));
    atomic_store(&words[40], (long)r.family);
    atomic_store(&words[41], r.id);
    atomic_store(&words[42], r.generation);
    int fd = (int)ASSERT_OK(shoal_connection_fileno(here));
    pid_t pid = (pid_t)ASSERT_SYS(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    if (!pid)
        attach_and_hold();
    until_word(&words[GO], 1);
    end_of(pid, fd);
    ASSERT_SYS(waitpid(pid, NULL, 0));
    shoal_connection_close(here);
    shoal_queue_close(queue);
    words_close();
}

/* ---- descriptors ---- */

/* The numbers become others' files: nothing of theirs is read or closed. */
TEST(poll_descriptors_that_the_program_has_closed_are_left_alone)
{
    int pair[2], others[20], n_others = 0;
    begin();
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    int fd = (int)ASSERT_OK(shoal_queue_fileno(queue));
    ASSERT_SYS(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair));
    ASSERT_SYS(send(pair[0], "theirs", 6, 0));
    for (int i = 0; i < 20; i++) { /* around, what is shoal's: sockets, epolls, timer, pidfds */
        int number = fd - 10 + i;
        char path[64], file[64] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%d", number);
        ssize_t n = number > 2 ? readlink(path, file, sizeof file - 1) : -1;
        bool its = n > 0 && number != pair[0] && number != pair[1] &&
                   (strstr(file, "socket:") || strstr(file, "anon_inode:"));
        others[i] = its ? (int)ASSERT_SYS(dup2(pair[1], number)) : -1;
        n_others += its;
    }
    ASSERT_EQ_INT(n_others, 5);
    put(queue, "a");
    ASSERT_OK(get(queue));
    for (int i = 0; i < 3; i++)
        ASSERT_ERR(get(queue), -EAGAIN);
    int other = (int)ASSERT_OK(shoal_queue_fileno(queue));
    ASSERT_FALSE(readable(other));
    put(queue, "a");
    ASSERT_EQ_INT(take_all(queue, other), 1);
    shoal_queue_close(queue);
    for (int i = 0; i < 20; i++)
        if (others[i] >= 0) {
            ASSERT_TRUE(is_open(others[i]));
            close(others[i]);
        }
    char buffer[10];
    ASSERT_EQ_INT(recv(pair[1], buffer, sizeof buffer, MSG_DONTWAIT), 6);
    close(pair[0]);
    close(pair[1]);
}

static void put_without_descriptors(void)
{
    struct rlimit none = {1, 1}; /* standard input, which is open */
    atomic_store(&words[GO], 1);
    until_word(&words[LAST], 1);
    ASSERT_SYS(setrlimit(RLIMIT_NOFILE, &none));
    put(queue, "from far");
    atomic_store(&words[DONE], 1);
    pause();
}

TEST(poll_who_puts_needs_no_descriptor_left)
{
    begin();
    words = words_open();
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    int fd = (int)ASSERT_OK(shoal_queue_fileno(queue));
    pid_t pid = child(put_without_descriptors);
    until_word(&words[GO], 1);
    ASSERT_EQ_INT(take_for_a_while(queue, fd), 0);
    if (is_quiet())
        ASSERT_FALSE(readable(fd));
    atomic_store(&words[LAST], 1);
    until_word(&words[DONE], 1);
    until_readable(fd); /* not at once, where all are readable now and then instead */
    ASSERT_EQ_INT(take_all(queue, fd), 1);
    kill_and_reap(pid);
    shoal_queue_close(queue);
    words_close();
}

TEST(poll_without_descriptors_is_an_error_that_leaves_nothing)
{
    struct rlimit was, few;
    begin();
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    ASSERT_SYS(getrlimit(RLIMIT_NOFILE, &was));
    int next = (int)ASSERT_SYS(dup(0));
    close(next);
    for (int i = 0; i < 6; i++) {
        few = (struct rlimit){(rlim_t)(next + i), was.rlim_max};
        ASSERT_SYS(setrlimit(RLIMIT_NOFILE, &few));
        int rc = shoal_queue_fileno(queue);
        if (rc >= 0)
            break;
        ASSERT_ERR(rc, -EMFILE);
        ASSERT_EQ_INT(ASSERT_SYS(setrlimit(RLIMIT_NOFILE, &was)), 0);
        ASSERT_EQ_INT(dup(0), next);
        close(next);
    }
    ASSERT_SYS(setrlimit(RLIMIT_NOFILE, &was));
    put(queue, "a");
    ASSERT_EQ_INT(take_all(queue, (int)ASSERT_OK(shoal_queue_fileno(queue))), 1);
    shoal_queue_close(queue);
}

TEST(poll_descriptors_end_with_the_family)
{
    begin();
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    int fd = (int)ASSERT_OK(shoal_queue_fileno(queue));
    shoal_queue *bad = queue;
    ASSERT_OK(shoal_detach());
    ASSERT_FALSE(is_open(fd));
    ASSERT_ERR(shoal_queue_fileno(bad), -EBADF);
    ASSERT_OK(shoal_queue_create(&queue, NULL)); /* of another family, in the same place */
    fd = (int)ASSERT_OK(shoal_queue_fileno(queue));
    put(queue, "a");
    ASSERT_EQ_INT(take_all(queue, fd), 1);
    shoal_queue_close(queue);
}

static void *take_in_thread(void *argument)
{
    int fd = *(int *)argument, rc;
    do {
        until_readable(fd);
        rc = get(queue);
        if (!rc)
            atomic_fetch_add(&words[TAKEN], 1);
    } while (rc != -EPIPE);
    return NULL;
}

TEST(poll_threads_may_take_what_one_descriptor_tells)
{
    enum { THREADS = 3, N = 2000 };
    pthread_t threads[THREADS];
    begin();
    words = words_open();
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    int fd = (int)ASSERT_OK(shoal_queue_fileno(queue));
    for (int i = 0; i < THREADS; i++)
        ASSERT_EQ_INT(pthread_create(&threads[i], NULL, take_in_thread, &fd), 0);
    for (int i = 0; i < N; i++) {
        put(queue, "x");
        if (i % 16 == 0)
            until_word(&words[TAKEN], i + 1); /* all are taken: without another put */
    }
    until_word(&words[TAKEN], N);
    ASSERT_OK(shoal_queue_shutdown(queue, 0));
    for (int i = 0; i < THREADS; i++)
        ASSERT_EQ_INT(pthread_join(threads[i], NULL), 0);
    shoal_queue_close(queue);
    words_close();
}
