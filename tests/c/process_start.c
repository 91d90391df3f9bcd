/* Starting, joining, and what is known of a process. */
#include "os/os.h"
#include "processes.h"
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <wchar.h>

static int give(void *argument)
{
    return (int)(intptr_t)argument;
}

static int call_exit(void *argument)
{
    exit((int)(intptr_t)argument);
}

static int die(void *argument)
{
    raise((int)(intptr_t)argument);
    return 0;
}

static int sleep_long(void *argument)
{
    while (pause() < 0)
        ;
    return *(int *)argument;
}

static shoal_process *started(shoal_target target, intptr_t argument)
{
    shoal_process *p;
    ASSERT_OK(shoal_process_start(&p, target, (void *)argument, NULL));
    return p;
}

static void end(shoal_process *p)
{
    ASSERT_OK(shoal_process_kill(p));
    ASSERT_EQ_INT(joined(p), -SIGKILL);
}

TEST(process_exit_code_is_what_the_target_returned)
{
    ASSERT_EQ_INT(joined(started(give, 0)), 0);
    ASSERT_EQ_INT(joined(started(give, 7)), 7);
    ASSERT_EQ_INT(joined(started(give, 255)), 255);
    ASSERT_EQ_INT(joined(started(give, 256 + 3)), 3);
}

TEST(process_exit_code_is_what_was_given_to_exit)
{
    ASSERT_EQ_INT(joined(started(call_exit, 0)), 0);
    ASSERT_EQ_INT(joined(started(call_exit, 42)), 42);
}

TEST(process_exit_code_is_minus_the_signal_that_ended_it)
{
    ASSERT_EQ_INT(joined(started(die, SIGTERM)), -SIGTERM);
    ASSERT_EQ_INT(joined(started(die, SIGKILL)), -SIGKILL);
    ASSERT_EQ_INT(joined(started(die, SIGUSR1)), -SIGUSR1);
}

TEST(process_that_runs_has_no_exit_code_yet)
{
    shoal_process *p = started(sleep_long, 0);
    int code = 0;
    ASSERT_OK(shoal_process_exit_code(p, &code));
    ASSERT_EQ_INT(code, SHOAL_EXIT_RUNNING);
    ASSERT_EQ_INT(shoal_process_is_alive(p), 1);
    ASSERT_ERR(shoal_process_join(p, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_process_join(p, shoal_after(0.02)), -ETIMEDOUT);
    ASSERT_ERR(shoal_process_close(p), -EBUSY);
    end(p);
}

TEST(process_that_has_ended_is_not_alive_and_can_be_joined_again)
{
    shoal_process *p = started(give, 1);
    while (shoal_process_is_alive(p))
        nap();
    ASSERT_OK(shoal_process_join(p, SHOAL_NOW));
    ASSERT_OK(shoal_process_join(p, SHOAL_FOREVER));
    ASSERT_EQ_INT(joined(p), 1);
}

TEST(process_terminate_interrupt_and_kill_send_their_signals)
{
    signal(SIGINT, SIG_DFL); /* a shell's background job ignores it, and so would the child */
    signal(SIGTERM, SIG_DFL);
    shoal_process *p = started(sleep_long, 0);
    ASSERT_OK(shoal_process_terminate(p));
    ASSERT_EQ_INT(joined(p), -SIGTERM);
    p = started(sleep_long, 0);
    ASSERT_OK(shoal_process_interrupt(p));
    ASSERT_EQ_INT(joined(p), -SIGINT);
    end(started(sleep_long, 0));
}

TEST(process_signals_to_one_that_has_ended_are_not_errors)
{
    shoal_process *p = started(give, 0);
    ASSERT_OK(shoal_process_join(p, SHOAL_FOREVER));
    ASSERT_OK(shoal_process_terminate(p));
    ASSERT_OK(shoal_process_interrupt(p));
    ASSERT_OK(shoal_process_kill(p));
    ASSERT_EQ_INT(shoal_process_kill_tree(p), 0);
    ASSERT_EQ_INT(joined(p), 0);
}

TEST(process_handles_that_are_null_or_closed_are_errors)
{
    shoal_process *p = started(give, 0), *again;
    int code;
    ASSERT_EQ_INT(joined(p), 0);
    again = started(give, 0); /* in its place */
    ASSERT_ERR(shoal_process_join(p, SHOAL_FOREVER), -EBADF);
    ASSERT_ERR(shoal_process_exit_code(p, &code), -EBADF);
    ASSERT_ERR(shoal_process_is_alive(p), -EBADF);
    ASSERT_ERR(shoal_process_kill(p), -EBADF);
    ASSERT_ERR(shoal_process_kill_tree(p), -EBADF);
    ASSERT_ERR(shoal_process_sentinel(p), -EBADF);
    ASSERT_ERR(shoal_process_pid(p), -EBADF);
    ASSERT_ERR(shoal_process_close(p), -EBADF);
    ASSERT_NULL(shoal_process_name(p));
    ASSERT_ERR(shoal_process_join(NULL, SHOAL_FOREVER), -EINVAL);
    ASSERT_ERR(shoal_process_close(NULL), -EINVAL);
    ASSERT_ERR(shoal_process_start(NULL, give, NULL, NULL), -EINVAL);
    ASSERT_ERR(shoal_process_start(&p, NULL, NULL, NULL), -EINVAL);
    ASSERT_EQ_INT(joined(again), 0);
}

static int join_current(void *argument)
{
    (void)argument;
    ASSERT_ERR(shoal_process_join(shoal_process_current(), SHOAL_FOREVER), -EDEADLK);
    ASSERT_ERR(shoal_process_join(shoal_process_parent(), SHOAL_FOREVER), -ECHILD);
    return 0;
}

TEST(process_joining_itself_or_its_parent_is_an_error)
{
    ASSERT_ERR(shoal_process_join(shoal_process_current(), SHOAL_FOREVER), -EDEADLK);
    ASSERT_NULL(shoal_process_parent());
    ASSERT_EQ_INT(joined(started(join_current, 0)), 0);
}

static shoal_process *sibling;

static int join_sibling(void *argument)
{
    (void)argument;
    ASSERT_ERR(shoal_process_join(sibling, SHOAL_FOREVER), -ECHILD);
    ASSERT_ERR(shoal_process_kill(sibling), -ECHILD);
    ASSERT_ERR(shoal_process_kill_tree(sibling), -ECHILD);
    ASSERT_ERR(shoal_process_wait(&sibling, 1, NULL, SHOAL_FOREVER), -ECHILD);
    ASSERT_EQ_INT(shoal_process_active_children(NULL, 0), 0);
    return 0;
}

TEST(process_that_another_process_started_cannot_be_joined)
{
    sibling = started(sleep_long, 0);
    ASSERT_EQ_INT(joined(started(join_sibling, 0)), 0);
    ASSERT_EQ_INT(shoal_process_is_alive(sibling), 1);
    end(sibling);
}

static int tell_names(void *argument)
{
    shoal_process *p, *me = shoal_process_current(), *parent = shoal_process_parent();
    ASSERT_STR(shoal_process_name(me), argument);
    ASSERT_STR(shoal_process_name(parent), "MainProcess");
    ASSERT_EQ_INT(shoal_process_pid(me), getpid());
    ASSERT_EQ_INT(shoal_process_pid(parent), getppid());
    ASSERT_EQ_INT(shoal_process_is_alive(parent), 1);
    for (int i = 1; i <= 2; i++) {
        char name[48];
        snprintf(name, sizeof name, "%s:%d", (char *)argument, i);
        ASSERT_OK(shoal_process_start(&p, give, NULL, NULL));
        ASSERT_STR(shoal_process_name(p), name);
        ASSERT_EQ_INT(joined(p), 0);
    }
    return 0;
}

TEST(process_default_names_count_and_nest)
{
    ASSERT_STR(shoal_process_name(shoal_process_current()), "MainProcess");
    ASSERT_EQ_INT(joined(started(tell_names, (intptr_t) "Process-1")), 0);
    shoal_process *p = started(tell_names, (intptr_t) "Process-2");
    ASSERT_STR(shoal_process_name(p), "Process-2");
    ASSERT_EQ_INT(joined(p), 0);
}

static int tell_name(void *argument)
{
    ASSERT_STR(shoal_process_name(shoal_process_current()), argument);
    return 0;
}

TEST(process_names_can_be_chosen)
{
    shoal_process *p;
    char name[49];
    memset(name, 'n', 48);
    name[48] = 0;
    shoal_process_options options = {.name = name};
    ASSERT_ERR(shoal_process_start(&p, tell_name, name, &options), -EINVAL);
    name[47] = 0;
    ASSERT_OK(shoal_process_start(&p, tell_name, name, &options));
    ASSERT_STR(shoal_process_name(p), name);
    ASSERT_EQ_INT(joined(p), 0);
}

/* Asks for its parent's sentinel when that has ended: 1 readable; or -errno. */
static int ask_late(void *argument)
{
    _Atomic int *told = argument;
    pid_t parent = getppid();
    atomic_store(told, 2);
    while (getppid() == parent)
        usleep(100);
    struct pollfd p = {.fd = shoal_process_sentinel(shoal_process_parent()), .events = POLLIN};
    atomic_store(told, p.fd < 0 ? p.fd : poll(&p, 1, 0));
    return 0;
}

static int leave_one(void *argument)
{
    shoal_process *p;
    ASSERT_OK(shoal_process_start(&p, ask_late, argument, NULL));
    while (!atomic_load((_Atomic int *)argument))
        usleep(100);
    kill(getpid(), SIGKILL);
    return 0;
}

TEST(process_sentinel_of_a_parent_that_has_ended_is_readable)
{
    shoal_memory *memory;
    shoal_memory_options zero = {.flags = SHOAL_ZERO};
    ASSERT_OK(shoal_memory_create(&memory, sizeof(int), &zero));
    _Atomic int *told = shoal_memory_address(memory);
    ASSERT_EQ_INT(joined(started(leave_one, (intptr_t)told)), -SIGKILL);
    while (!atomic_load(told) || atomic_load(told) == 2)
        usleep(100);
    ASSERT_EQ_INT(atomic_load(told), 1);
    shoal_memory_close(memory);
}

TEST(process_current_and_parent_cannot_be_closed)
{
    shoal_process *me = shoal_process_current();
    int code;
    ASSERT_ERR(shoal_process_close(me), -EINVAL);
    ASSERT_EQ_PTR(shoal_process_current(), me);
    ASSERT_EQ_INT(shoal_process_is_alive(me), 1);
    ASSERT_OK(shoal_process_exit_code(me, &code));
    ASSERT_EQ_INT(code, SHOAL_EXIT_RUNNING);
}

TEST(process_output_that_was_buffered_before_the_start_appears_once)
{
    int fds[2];
    char text[64] = "";
    ASSERT_SYS(pipe(fds));
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        ASSERT_SYS(dup2(fds[1], 1));
        printf("once "); /* stays in the buffer: it is a pipe */
        joined(started(give, 0));
        joined(started(call_exit, 0));
        exit(0);
    }
    close(fds[1]);
    ends_well(pid);
    ssize_t n = read(fds[0], text, sizeof text - 1);
    ASSERT_EQ_INT(n, 5);
    ASSERT_STR(text, "once ");
    close(fds[0]);
}

/* One of each kind; what each holds goes to a pipe of its own. */
enum { STREAMS = 3 };
static FILE *streams[STREAMS];

static int write_to_one(void *argument)
{
    intptr_t i = (intptr_t)argument;
    if (i == STREAMS)
        return 0;
    if (i == 1)
        fputws(L"child ", streams[i]);
    else
        fputs("child ", streams[i]);
    return 0;
}

static void *wait_for_word(void *argument)
{
    _Atomic int *go = argument;
    while (!atomic_load(go))
        nap();
    return NULL;
}

/* With another thread the library may not look at the streams by itself. */
static void write_all(int fds[STREAMS][2], bool thread)
{
    static _Atomic int go;
    pthread_t other;
    for (int i = 0; i < STREAMS; i++) {
        streams[i] = fdopen(fds[i][1], "w");
        ASSERT_NOT_NULL(streams[i]);
    }
    setvbuf(streams[2], NULL, _IOLBF, 0);
    if (thread)
        ASSERT_EQ_INT(pthread_create(&other, NULL, wait_for_word, &go), 0);
    for (int i = 0; i <= STREAMS; i++) {
        fputs("parent ", streams[0]);
        fputws(L"parent ", streams[1]);
        fputs("parent ", streams[2]);
        ASSERT_EQ_INT(joined(started(write_to_one, i)), 0);
    }
    atomic_store(&go, 1);
    if (thread)
        ASSERT_EQ_INT(pthread_join(other, NULL), 0);
    exit(0);
}

static void streams_written_once(bool thread)
{
    static const char *const wanted[STREAMS] = {
        "parent child parent parent parent ",
        "parent parent child parent parent ",
        "parent parent parent child parent ",
    };
    int fds[STREAMS][2];
    for (int i = 0; i < STREAMS; i++)
        ASSERT_SYS(pipe(fds[i]));
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid)
        write_all(fds, thread);
    ends_well(pid);
    for (int i = 0; i < STREAMS; i++) {
        char text[256] = "";
        close(fds[i][1]);
        ASSERT_SYS(read(fds[i][0], text, sizeof text - 1));
        ASSERT_STR(text, wanted[i]);
        close(fds[i][0]);
    }
}

TEST(process_output_of_parent_and_children_appears_once_on_every_stream)
{
    streams_written_once(false);
}

TEST(process_output_of_parent_and_children_appears_once_on_every_stream_beside_another_thread)
{
    streams_written_once(true);
}

static int print_something(void *argument)
{
    ASSERT_SYS(dup2((int)(intptr_t)argument, 1));
    printf("written by the child");
    return 0;
}

TEST(process_output_of_a_child_that_returns_is_flushed)
{
    int fds[2];
    char text[64] = "";
    ASSERT_SYS(pipe(fds));
    fflush(stdout);
    ASSERT_EQ_INT(joined(started(print_something, fds[1])), 0);
    close(fds[1]);
    ASSERT_SYS(read(fds[0], text, sizeof text - 1));
    ASSERT_STR(text, "written by the child");
    close(fds[0]);
}

static shoal_process *awaited;

static void kill_awaited(int signal)
{
    (void)signal;
    ASSERT_OK(shoal_process_kill(awaited));
}

static void *do_nothing(void *argument)
{
    return argument;
}

/* Whether it is the first thread of several or the only one. */
TEST(process_that_is_joined_may_be_killed_by_a_signal_handler_meanwhile)
{
    struct sigaction action = {.sa_handler = kill_awaited, .sa_flags = SA_RESTART};
    struct itimerval soon = {.it_value = {.tv_usec = 20000}};
    ASSERT_SYS(sigaction(SIGALRM, &action, NULL));
    pthread_t thread;
    for (int i = 0; i < 2; i++) {
        awaited = started(sleep_long, 0);
        ASSERT_SYS(setitimer(ITIMER_REAL, &soon, NULL));
        ASSERT_EQ_INT(joined(awaited), -SIGKILL);
        if (!i)
            ASSERT_EQ_INT(pthread_create(&thread, NULL, do_nothing, NULL), 0);
        else
            ASSERT_EQ_INT(pthread_join(thread, NULL), 0);
    }
}

TEST(process_start_needs_no_descriptor_of_the_program)
{
    shoal_process *p;
    char name[] = "true", *argv[] = {name, NULL};
    if (!os_features()->populate)
        SKIP("memory comes by way of the region's descriptor");
    ASSERT_EQ_INT(joined(started(give, 3)), 3);
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    ASSERT_EQ_INT(joined(started(give, 4)), 4);
    ASSERT_ERR(shoal_process_start_exec(&p, name, argv, NULL), -EBADF);
    ASSERT_EQ_INT(joined(started(give, 5)), 5);
}

static _Atomic long *words;

static int sees_memory(void *argument)
{
    atomic_fetch_add(&words[0], (intptr_t)argument);
    return 0;
}

TEST(process_child_shares_what_its_parent_holds)
{
    words = words_open();
    for (int i = 0; i < 10; i++)
        ASSERT_EQ_INT(joined(started(sees_memory, i)), 0);
    ASSERT_EQ_INT(words[0], 45);
    words_close();
}

TEST(process_active_children_reaps_those_that_ended)
{
    shoal_process *running = started(sleep_long, 0), *ended = started(give, 0), *list[4];
    while (shoal_process_is_alive(ended))
        nap();
    pid_t unseen = shoal_process_pid(started(give, 3));
    while (shoal_process_active_children(list, 4) != 1)
        nap();
    ASSERT_EQ_PTR(list[0], running);
    ASSERT_EQ_INT(waitpid(unseen, NULL, WNOHANG), -1); /* no zombie */
    ASSERT_EQ_INT(errno, ECHILD);
    ASSERT_EQ_INT(joined(ended), 0);
    end(running);
    ASSERT_EQ_INT(shoal_process_active_children(NULL, 0), 0);
}

TEST(process_sentinel_becomes_readable_at_its_end)
{
    shoal_process *p = started(sleep_long, 0);
    int fd = shoal_process_sentinel(p);
    if (fd == -ENOTSUP) {
        end(p);
        SKIP("no pidfd here");
    }
    ASSERT_OK(fd);
    struct timeval none = {0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    ASSERT_EQ_INT(select(fd + 1, &set, NULL, NULL, &none), 0);
    ASSERT_OK(shoal_process_kill(p));
    FD_SET(fd, &set);
    ASSERT_EQ_INT(select(fd + 1, &set, NULL, NULL, NULL), 1);
    ASSERT_EQ_INT(shoal_process_sentinel(p), fd);
    ASSERT_EQ_INT(joined(p), -SIGKILL);
}

TEST(process_sentinel_of_one_that_has_ended_is_readable)
{
    shoal_process *p = started(give, 0);
    ASSERT_OK(shoal_process_join(p, SHOAL_FOREVER));
    int fd = (int)ASSERT_OK(shoal_process_sentinel(p));
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    ASSERT_EQ_INT(select(fd + 1, &set, NULL, NULL, NULL), 1);
    ASSERT_EQ_INT(joined(p), 0);
}

TEST(process_wait_tells_which_of_several_have_ended)
{
    enum { MANY = 70 };
    shoal_process *p[MANY];
    int ended[MANY];
    for (int i = 0; i < MANY; i++) {
        p[i] = started(sleep_long, 0);
        ended[i] = 7;
    }
    ASSERT_ERR(shoal_process_wait(p, MANY, ended, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_process_wait(p, MANY, ended, shoal_after(0.01)), -ETIMEDOUT);
    for (int i = 0; i < MANY; i++)
        ASSERT_EQ_INT(ended[i], 7); /* failures write nothing */
    ASSERT_OK(shoal_process_kill(p[68]));
    ASSERT_EQ_INT(shoal_process_wait(p, MANY, ended, SHOAL_FOREVER), 1);
    for (int i = 0; i < MANY; i++)
        ASSERT_EQ_INT(ended[i], i == 68);
    for (int i = 0; i < MANY; i++)
        end(p[i]);
    ASSERT_ERR(shoal_process_wait(p, 0, NULL, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_process_wait(p, 1, NULL, SHOAL_NOW), -EBADF);
}

static pid_t to_interrupt;

static int interrupt_parent(void *argument)
{
    (void)argument;
    while (!kill(to_interrupt, SIGUSR1))
        nap();
    return 0;
}

TEST(process_join_returns_when_a_signal_handler_ran)
{
    let_signals_interrupt();
    to_interrupt = getpid();
    shoal_process *p = started(interrupt_parent, 0);
    ASSERT_ERR(shoal_process_join(p, SHOAL_FOREVER), -EINTR);
    ASSERT_ERR(shoal_process_join(p, shoal_after(100)), -EINTR);
    ASSERT_ERR(shoal_process_wait(&p, 1, NULL, SHOAL_FOREVER), -EINTR);
    ASSERT_OK(shoal_process_kill(p));
    int rc;
    while ((rc = shoal_process_join(p, SHOAL_FOREVER)) == -EINTR)
        ;
    ASSERT_OK(rc);
    ASSERT_EQ_INT(joined(p), -SIGKILL);
}

TEST(process_whose_status_the_program_took_has_ended)
{
    shoal_process *p = started(give, 5), *q = started(sleep_long, 0);
    int code;
    ASSERT_EQ_INT(waitpid(-1, NULL, 0), shoal_process_pid(p));
    ASSERT_OK(shoal_process_join(p, SHOAL_FOREVER));
    ASSERT_OK(shoal_process_exit_code(p, &code));
    ASSERT_TRUE(code == SHOAL_EXIT_UNKNOWN || code == 5); /* it had recorded it */
    ASSERT_OK(shoal_process_close(p));
    ASSERT_OK(shoal_process_kill(q));
    ASSERT_EQ_INT(waitpid(-1, NULL, 0), shoal_process_pid(q));
    ASSERT_OK(shoal_process_join(q, shoal_after(100)));
    ASSERT_EQ_INT(joined(q), SHOAL_EXIT_UNKNOWN);
}

TEST(process_can_be_joined_where_sigchld_is_ignored)
{
    signal(SIGCHLD, SIG_IGN);
    shoal_process *p = started(give, 5);
    ASSERT_OK(shoal_process_join(p, SHOAL_FOREVER));
    int code = joined(p);
    ASSERT_TRUE(code == SHOAL_EXIT_UNKNOWN || code == 5);
    p = started(sleep_long, 0);
    ASSERT_ERR(shoal_process_join(p, shoal_after(0.01)), -ETIMEDOUT);
    ASSERT_OK(shoal_process_kill(p));
    ASSERT_OK(shoal_process_join(p, shoal_after(100)));
    ASSERT_EQ_INT(joined(p), SHOAL_EXIT_UNKNOWN);
    signal(SIGCHLD, SIG_DFL);
}

static shoal_process *shared;
static void *join_shared(void *argument)
{
    (void)argument;
    ASSERT_OK(shoal_process_join(shared, SHOAL_FOREVER));
    return NULL;
}

TEST(process_several_threads_can_join_one_process)
{
    pthread_t threads[4];
    shared = started(sleep_long, 0);
    for (int i = 0; i < 4; i++)
        ASSERT_EQ_INT(pthread_create(&threads[i], NULL, join_shared, NULL), 0);
    nap();
    ASSERT_OK(shoal_process_kill(shared));
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ASSERT_EQ_INT(joined(shared), -SIGKILL);
}

static void *start_many(void *argument)
{
    for (int i = 0; i < 20; i++)
        ASSERT_EQ_INT(joined(started(give, i)), i);
    return argument;
}

TEST(process_several_threads_can_start_at_once)
{
    pthread_t threads[4];
    ASSERT_NOT_NULL(shoal_process_current());
    for (int i = 0; i < 4; i++)
        ASSERT_EQ_INT(pthread_create(&threads[i], NULL, start_many, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

TEST_WITH_TIMEOUT(process_two_hundred_can_run_at_once, 120)
{
    enum { MANY = 200 };
    shoal_process *p[MANY], *list[MANY];
    for (int i = 0; i < MANY; i++)
        p[i] = started(sleep_long, 0);
    ASSERT_EQ_INT(shoal_process_active_children(list, MANY), MANY);
    for (int i = 0; i < MANY; i++)
        ASSERT_OK(shoal_process_terminate(p[i]));
    for (int i = 0; i < MANY; i++)
        ASSERT_EQ_INT(joined(p[i]), -SIGTERM);
}

static void raw_child(void)
{
    ASSERT_NOT_NULL(shoal_process_current());
    ASSERT_EQ_INT(shoal_process_pid(shoal_process_current()), getpid());
    ASSERT_EQ_INT(shoal_process_pid(shoal_process_parent()), getppid());
    ASSERT_EQ_INT(joined(started(give, 9)), 9);
}

TEST(process_a_child_of_a_plain_fork_belongs_to_the_family)
{
    shoal_process *p = started(sleep_long, 0);
    ends_well(child(raw_child));
    ASSERT_EQ_INT(shoal_process_active_children(NULL, 0), 1);
    end(p);
}

static void close_all_and_start(void)
{
    shoal_process *p = NULL;
    char name[] = "true", *argv[] = {name, NULL};
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    ASSERT_EQ_INT(joined(started(give, 9)), 9);
    ends_well(child(raw_child));
    ASSERT_ERR(shoal_process_start_exec(&p, "/bin/true", argv, NULL), -EBADF);
    ASSERT_NULL(p);
    end(started(sleep_long, 0));
}

/* Only a program that is started by exec needs the region's descriptor. */
TEST(process_that_has_closed_all_descriptors_starts_others)
{
    ASSERT_NOT_NULL(shoal_process_current());
    ends_well(child(close_all_and_start));
}

/* Other files under the numbers of all that shoal had opened. */
static void renumber(int fds[32])
{
    for (int fd = 3; fd < 32; fd++)
        close(fd);
    for (int i = 0; i < 32; i += 2)
        ASSERT_SYS(pipe(&fds[i]));
}

static void all_open(const int fds[32])
{
    for (int i = 0; i < 32; i++)
        ASSERT_SYS(fcntl(fds[i], F_GETFD));
}

static void join_renumbered(void)
{
    shoal_process *p = started(sleep_long, 0), *q = started(sleep_long, 0);
    int fds[32], ended = 0;
    shoal_process_sentinel(p); /* -ENOTSUP without pidfd */
    ASSERT_ERR(shoal_process_join(q, shoal_after(0.001)), -ETIMEDOUT);
    renumber(fds);
    ASSERT_OK(shoal_process_kill(p));
    ASSERT_OK(shoal_process_kill(q));
    ASSERT_OK(shoal_process_join(p, shoal_after(1000)));
    ASSERT_EQ_INT(shoal_process_wait(&q, 1, &ended, SHOAL_FOREVER), 1);
    ASSERT_EQ_INT(joined(p), -SIGKILL);
    ASSERT_EQ_INT(joined(q), -SIGKILL);
    all_open(fds);
}

static void close_renumbered(void)
{
    shoal_process *p = started(give, 3);
    int fds[32];
    ASSERT_OK(shoal_process_join(p, SHOAL_FOREVER));
    ASSERT_OK(shoal_process_sentinel(p));
    renumber(fds);
    ASSERT_EQ_INT(joined(p), 3);
    all_open(fds);
}

/* A program may close what it does not know, and open other files, which get the same numbers. */
TEST(process_descriptor_whose_number_is_another_files_is_left_alone)
{
    ASSERT_NOT_NULL(shoal_process_current());
    ends_well(child(join_renumbered));
    ends_well(child(close_renumbered));
}

static int refused(void *argument)
{
    (void)argument;
    ASSERT_TRUE(0);
    return 0;
}

static void limit_and_start(void)
{
    shoal_process *p = NULL;
    struct rlimit none = {0, 0};
    ASSERT_NOT_NULL(shoal_process_current());
    if (!geteuid()) /* root is not limited; another user is */
        ASSERT_SYS(syscall(SYS_setresuid, 65534, 65534, 65534));
    ASSERT_SYS(setrlimit(RLIMIT_NPROC, &none));
    ASSERT_ERR(shoal_process_start(&p, refused, NULL, NULL), -EAGAIN);
    ASSERT_NULL(p);
    ASSERT_EQ_INT(shoal_process_active_children(NULL, 0), 0);
}

TEST(process_start_fails_where_the_system_allows_no_more)
{
    ASSERT_NOT_NULL(shoal_process_current());
    ends_well(child(limit_and_start));
}

TEST(process_authkey_is_inherited)
{
    unsigned char key[64], again[64];
    ASSERT_EQ_INT(shoal_process_authkey(key, 64), 32);
    ASSERT_ERR(shoal_process_authkey(key, 31), -EMSGSIZE);
    ASSERT_EQ_INT(shoal_process_authkey(again, 32), 32);
    ASSERT_MEM(key, again, 32);
    ASSERT_OK(shoal_process_set_authkey((const unsigned char *)"secret", 6));
    ASSERT_EQ_INT(shoal_process_authkey(key, 64), 6);
    ASSERT_ERR(shoal_process_set_authkey(key, 0), -EINVAL);
    ASSERT_ERR(shoal_process_set_authkey(key, 65), -EINVAL);
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        ASSERT_EQ_INT(shoal_process_authkey(again, 64), 6);
        ASSERT_MEM(again, "secret", 6);
        _exit(0);
    }
    ends_well(pid);
}

TEST(process_cpu_count_is_at_least_one_and_at_most_the_machine)
{
    int n = shoal_cpu_count();
    ASSERT_GE_INT(n, 1);
    ASSERT_LE_INT(n, sysconf(_SC_NPROCESSORS_CONF));
}

static shoal_death last_death;
static void note_death(const shoal_death *death, void *argument)
{
    last_death = *death;
    ++*(int *)argument;
}

TEST(process_deaths_are_told_and_normal_ends_are_not)
{
    int count = 0;
    ASSERT_OK(shoal_process_on_death(note_death, &count));
    ASSERT_EQ_INT(joined(started(give, 3)), 3);
    ASSERT_EQ_INT(joined(started(call_exit, 3)), 3);
    ASSERT_EQ_INT(count, 0);
    shoal_process *p = started(sleep_long, 0);
    pid_t pid = shoal_process_pid(p);
    while (shoal_process_active_children(NULL, 0) != 1)
        nap();
    until_asleep(pid);
    end(p);
    ASSERT_EQ_INT(count, 1);
    ASSERT_EQ_INT(last_death.pid, pid);
    ASSERT_STR(last_death.name, "Process-3");
    ASSERT_OK(shoal_process_on_death(NULL, NULL));
    p = started(sleep_long, 0);
    until_asleep(shoal_process_pid(p));
    end(p);
    ASSERT_EQ_INT(count, 1);
}
