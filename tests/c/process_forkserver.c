/* The fork server: clean children of a program that has threads. */
#include "os/os.h"
#include "processes.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>

static int give(void *argument)
{
    return *(int *)argument;
}

static shoal_process *started(shoal_target target, int argument)
{
    shoal_process *p;
    ASSERT_OK(shoal_process_start_clean(&p, target, &argument, sizeof argument, NULL));
    return p;
}

static int call_exit(void *argument)
{
    exit(*(int *)argument);
}

static int die(void *argument)
{
    return raise(*(int *)argument);
}

static int sleep_long(void *argument)
{
    while (pause() < 0)
        ;
    return *(int *)argument;
}

TEST(process_clean_children_end_with_a_status)
{
    ASSERT_OK(shoal_forkserver_start());
    ASSERT_EQ_INT(joined(started(give, 0)), 0);
    ASSERT_EQ_INT(joined(started(give, 17)), 17);
    ASSERT_EQ_INT(joined(started(call_exit, 18)), 18);
    ASSERT_EQ_INT(joined(started(die, SIGKILL)), -SIGKILL);
    ASSERT_OK(shoal_forkserver_stop());
}

TEST(process_clean_children_are_waited_for_and_signalled)
{
    int code;
    ASSERT_OK(shoal_forkserver_start());
    shoal_process *p = started(sleep_long, 0), *q = started(sleep_long, 0), *both[] = {p, q},
                  *list[2];
    ASSERT_ERR(shoal_process_join(p, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_process_join(p, shoal_after(0.01)), -ETIMEDOUT);
    ASSERT_OK(shoal_process_exit_code(p, &code));
    ASSERT_EQ_INT(code, SHOAL_EXIT_RUNNING);
    ASSERT_EQ_INT(shoal_process_is_alive(p), 1);
    ASSERT_EQ_INT(shoal_process_active_children(list, 2), 2);
    ASSERT_ERR(shoal_forkserver_stop(), -EBUSY);
    ASSERT_OK(shoal_process_terminate(q));
    int ended[2], fd = (int)ASSERT_OK(shoal_process_sentinel(q));
    ASSERT_EQ_INT(shoal_process_wait(both, 2, ended, SHOAL_FOREVER), 1);
    ASSERT_EQ_INT(ended[1], 1);
    ASSERT_EQ_INT(shoal_process_sentinel(q), fd);
    ASSERT_EQ_INT(joined(q), -SIGTERM);
    ASSERT_EQ_INT(shoal_process_kill_tree(p), 1);
    ASSERT_EQ_INT(joined(p), -SIGKILL);
    ASSERT_OK(shoal_forkserver_stop());
}

static int big(void *argument)
{
    const unsigned char *bytes = argument;
    for (size_t i = 0; i < 3000000; i++)
        if (bytes[i] != (unsigned char)(i * 7))
            return 1;
    return 0;
}

TEST(process_clean_children_get_a_copy_of_the_argument)
{
    shoal_process *p;
    ASSERT_OK(shoal_forkserver_start());
    unsigned char *bytes = malloc(3000000);
    ASSERT_NOT_NULL(bytes);
    for (size_t i = 0; i < 3000000; i++)
        bytes[i] = (unsigned char)(i * 7);
    ASSERT_OK(shoal_process_start_clean(&p, big, bytes, 3000000, NULL));
    free(bytes);
    ASSERT_EQ_INT(joined(p), 0);
    ASSERT_ERR(shoal_process_start_clean(&p, big, NULL, 1, NULL), -EINVAL);
    ASSERT_OK(shoal_forkserver_stop());
}

static void lose_server(void)
{
    shoal_process *p = NULL;
    int number = 1, fds[32];
    ASSERT_OK(shoal_forkserver_start());
    shoal_process *q = started(give, 5);
    ASSERT_OK(shoal_process_join(q, SHOAL_FOREVER));
    for (int fd = 3; fd < 32; fd++)
        close(fd);
    for (int i = 0; i < 32; i += 2)
        ASSERT_SYS(pipe(&fds[i]));
    ASSERT_ERR(shoal_process_start_clean(&p, give, &number, sizeof number, NULL), -EPIPE);
    ASSERT_NULL(p);
    ASSERT_EQ_INT(joined(q), 5);
    ASSERT_OK(shoal_forkserver_stop());
    for (int i = 0; i < 32; i++)
        ASSERT_SYS(fcntl(fds[i], F_GETFD));
    ASSERT_OK(shoal_forkserver_start());
    ASSERT_EQ_INT(joined(started(give, 6)), 6);
    ASSERT_OK(shoal_forkserver_stop());
}

/* Its descriptors' numbers have become other files. */
TEST(process_fork_server_whose_descriptor_was_closed_is_gone)
{
    ASSERT_NOT_NULL(shoal_process_current());
    pid_t pid = child(lose_server);
    ends_well(pid);
}

static shoal_death last_death;
static void note_death(const shoal_death *death, void *argument)
{
    last_death = *death;
    ++*(int *)argument;
}

TEST(process_clean_childrens_deaths_are_told_once)
{
    int count = 0;
    ASSERT_OK(shoal_process_on_death(note_death, &count));
    ASSERT_OK(shoal_forkserver_start());
    ASSERT_EQ_INT(joined(started(give, 3)), 3);
    ASSERT_EQ_INT(joined(started(call_exit, 3)), 3);
    ASSERT_EQ_INT(count, 0);
    for (int i = 1; i <= 5; i++) {
        shoal_process *p = started(sleep_long, 0);
        pid_t pid = shoal_process_pid(p);
        until_asleep(pid);
        ASSERT_OK(shoal_process_kill(p));
        ASSERT_EQ_INT(joined(p), -SIGKILL);
        ASSERT_EQ_INT(count, i);
        ASSERT_EQ_INT(last_death.pid, pid);
    }
    shoal_process *p = started(die, SIGKILL); /* whose end only stop meets */
    int rc;
    while ((rc = shoal_forkserver_stop()) == -EBUSY)
        nap();
    ASSERT_OK(rc);
    ASSERT_EQ_INT(count, 6);
    ASSERT_OK(shoal_process_close(p));
}

/* The server may be the first to meet it: it needs a slot for the next child. */
TEST(process_deaths_that_the_fork_server_meets_are_told)
{
    int count = 0, zero = 0;
    shoal_process *p;
    if (!os_features()->robust)
        SKIP("without robust lists it is met later");
    ASSERT_OK(shoal_process_on_death(note_death, &count));
    ASSERT_OK(shoal_forkserver_start());
    ASSERT_OK(shoal_process_start(&p, sleep_long, &zero, NULL));
    pid_t pid = shoal_process_pid(p);
    until_asleep(pid);
    kill_and_reap(pid);
    ASSERT_EQ_INT(joined(started(give, 3)), 3);
    ASSERT_EQ_INT(count, 1);
    ASSERT_EQ_INT(last_death.pid, pid);
    ASSERT_EQ_INT(joined(p), SHOAL_EXIT_UNKNOWN);
    ASSERT_OK(shoal_forkserver_stop());
    ASSERT_EQ_INT(count, 1);
}

static int knows_its_place(void *argument)
{
    shoal_process *me = shoal_process_current(), *parent = shoal_process_parent();
    ASSERT_EQ_INT(shoal_process_pid(parent), *(int *)argument);
    ASSERT_EQ_INT(shoal_process_pid(me), getpid());
    ASSERT_EQ_INT(shoal_process_is_alive(parent), 1);
    ASSERT_STR(shoal_process_name(me), "Process-1");
    shoal_process *p;
    int number = 4;
    ASSERT_OK(shoal_process_start(&p, give, &number, NULL));
    ASSERT_STR(shoal_process_name(p), "Process-1:1");
    ASSERT_EQ_INT(joined(p), 4);
    ASSERT_ERR(shoal_process_start_clean(&p, give, &number, sizeof number, NULL), -EPIPE);
    return 0;
}

TEST(process_clean_children_are_the_callers)
{
    ASSERT_OK(shoal_forkserver_start());
    ASSERT_EQ_INT(joined(started(knows_its_place, (int)getpid())), 0);
    ASSERT_OK(shoal_forkserver_stop());
}

static int checks_options(void *argument)
{
    char text[64];
    ASSERT_STR(argument, "argument");
    ASSERT_STR(getcwd(text, sizeof text), "/");
    ASSERT_STR(getenv("COLOUR"), "red");
    ASSERT_STR(getenv("SHAPE"), "round");
    struct rlimit limit;
    ASSERT_SYS(getrlimit(RLIMIT_NOFILE, &limit));
    ASSERT_EQ_INT(limit.rlim_cur, 77);
    printf("printed");
    return 0;
}

TEST(process_clean_children_take_options)
{
    shoal_process *p = NULL;
    int fds[2];
    char text[16] = "";
    const char *const variables[] = {"COLOUR=red", "SHAPE=round", NULL};
    const shoal_limit limit = {RLIMIT_NOFILE, {77, 78}};
    ASSERT_OK(shoal_forkserver_start());
    ASSERT_SYS(pipe(fds)); /* after the server was forked */
    shoal_process_options options = {.directory = "/",
                                     .environment = variables,
                                     .stdout_fd = fds[1],
                                     .limits = &limit,
                                     .n_limits = 1,
                                     .name = "optional"};
    ASSERT_OK(shoal_process_start_clean(&p, checks_options, "argument", 9, &options));
    ASSERT_STR(shoal_process_name(p), "optional");
    ASSERT_EQ_INT(joined(p), 0);
    close(fds[1]);
    ASSERT_EQ_INT(read(fds[0], text, sizeof text), 7); /* nobody else holds the other end */
    ASSERT_EQ_INT(read(fds[0], text + 8, 1), 0);
    ASSERT_STR(text, "printed");
    close(fds[0]);
    p = NULL;
    options = (shoal_process_options){.directory = "/no/such/folder"};
    ASSERT_ERR(shoal_process_start_clean(&p, give, "", 1, &options), -ENOENT);
    ASSERT_NOT_NULL(strstr(shoal_error_detail(), "/no/such/folder"));
    options = (shoal_process_options){.stdout_fd = 999};
    ASSERT_ERR(shoal_process_start_clean(&p, give, "", 1, &options), -EBADF);
    ASSERT_NULL(p);
    ASSERT_EQ_INT(joined(started(give, 5)), 5);
    ASSERT_OK(shoal_forkserver_stop());
}

TEST(process_start_of_a_clean_child_with_options_does_not_wait_for_its_end)
{
    shoal_process *p = NULL;
    int zero = 0;
    ASSERT_OK(shoal_forkserver_start());
    ASSERT_OK(shoal_process_start_clean(&p, sleep_long, &zero, sizeof zero,
                                        &(shoal_process_options){.directory = "/"}));
    ASSERT_EQ_INT(shoal_process_is_alive(p), 1);
    ASSERT_OK(shoal_process_kill(p));
    ASSERT_EQ_INT(joined(p), -SIGKILL);
    ASSERT_OK(shoal_forkserver_stop());
}

static int tells_key(void *argument)
{
    unsigned char key[64];
    return shoal_process_authkey(key, sizeof key) == 1 ? key[0] : *(int *)argument;
}

TEST(process_clean_children_inherit_the_key_of_their_parent)
{
    ASSERT_OK(shoal_forkserver_start());
    ASSERT_OK(shoal_process_set_authkey((const unsigned char *)"K", 1)); /* after the server */
    ASSERT_EQ_INT(joined(started(tells_key, 0)), 'K');
    ASSERT_OK(shoal_forkserver_stop());
}

static void *start_many(void *argument)
{
    for (int i = 0; i < 10; i++)
        ASSERT_EQ_INT(joined(started(give, i)), i);
    return argument;
}

TEST(process_clean_children_can_be_started_by_several_threads)
{
    pthread_t threads[4];
    ASSERT_OK(shoal_forkserver_start());
    for (int i = 0; i < 4; i++)
        ASSERT_EQ_INT(pthread_create(&threads[i], NULL, start_many, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ASSERT_OK(shoal_forkserver_stop());
}

TEST(process_without_a_fork_server_clean_children_are_an_error)
{
    shoal_process *p;
    ASSERT_ERR(shoal_process_start_clean(&p, give, "", 1, NULL), -EPIPE);
    ASSERT_ERR(shoal_forkserver_stop(), -EPIPE);
    ASSERT_OK(shoal_forkserver_start());
    ASSERT_ERR(shoal_forkserver_start(), -EALREADY);
    ASSERT_OK(shoal_forkserver_stop());
    ASSERT_ERR(shoal_process_start_clean(&p, give, "", 1, NULL), -EPIPE);
}

static int tell_parent(void *argument)
{
    atomic_store(*(_Atomic long **)argument, getppid());
    return sleep_long(argument);
}

TEST(process_clean_children_of_a_killed_server_can_still_be_joined)
{
    shoal_process *p;
    _Atomic long *words = words_open();
    _Atomic long *server = &words[0];
    ASSERT_OK(shoal_forkserver_start());
    ASSERT_OK(shoal_process_start_clean(&p, tell_parent, &server, sizeof server, NULL));
    until_word(server, 1);
    adopt_orphans();
    ASSERT_SYS(kill((pid_t)*server, SIGKILL));
    ASSERT_ERR(shoal_process_join(p, shoal_after(0.1)), -ETIMEDOUT);
    int zero = 0;
    shoal_process *q;
    ASSERT_ERR(shoal_process_start_clean(&q, give, &zero, sizeof zero, NULL), -EPIPE);
    ASSERT_OK(shoal_process_kill(p));
    ASSERT_EQ_INT(joined(p), SHOAL_EXIT_UNKNOWN);
    ASSERT_OK(shoal_forkserver_stop());
    while (waitpid(-1, NULL, 0) > 0)
        ;
    words_close();
}

static int alive[2];

static void clean_daemons_end(bool by_kill)
{
    char c;
    _Atomic long *words = words_open();
    adopt_orphans();
    ASSERT_SYS(pipe(alive));
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        shoal_process *p;
        int zero = 0;
        shoal_process_options options = {.flags = SHOAL_DAEMON};
        ASSERT_OK(shoal_forkserver_start());
        for (int i = 0; i < 3; i++)
            ASSERT_OK(shoal_process_start_clean(&p, sleep_long, &zero, sizeof zero, &options));
        atomic_store(&words[0], 1);
        if (!by_kill)
            exit(0);
        for (;;)
            pause();
    }
    until_word(&words[0], 1);
    if (by_kill)
        kill_and_reap(pid);
    else
        ends_well(pid);
    close(alive[1]);
    ASSERT_EQ_INT(read(alive[0], &c, 1), 0);
    close(alive[0]);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    words_close();
}

TEST(process_clean_daemons_end_when_the_caller_is_killed)
{
    clean_daemons_end(true);
}

TEST(process_clean_daemons_end_at_the_callers_normal_end)
{
    clean_daemons_end(false);
}

static int waits_for_ever(void *argument)
{
    (void)argument;
    while (pause())
        ;
    return 0;
}

TEST(process_a_clean_start_with_options_returns_while_the_child_runs)
{
    shoal_process *p = NULL;
    shoal_process_options options = {.nice = 1};
    ASSERT_OK(shoal_forkserver_start());
    ASSERT_OK(shoal_process_start_clean(&p, waits_for_ever, "", 1, &options));
    ASSERT_EQ_INT(shoal_process_is_alive(p), 1);
    ASSERT_OK(shoal_process_kill(p));
    ASSERT_EQ_INT(joined(p), -SIGKILL);
    ASSERT_OK(shoal_forkserver_stop());
}

static int tells_its_key(void *argument)
{
    unsigned char key[64];
    (void)argument;
    int n = shoal_process_authkey(key, sizeof key);
    return n == 3 && !memcmp(key, "new", 3) ? 7 : 1;
}

TEST(process_a_clean_child_has_its_parents_key_of_now)
{
    shoal_process *p = NULL;
    ASSERT_OK(shoal_forkserver_start());
    ASSERT_OK(shoal_process_set_authkey((const unsigned char *)"new", 3));
    ASSERT_OK(shoal_process_start_clean(&p, tells_its_key, "", 1, NULL));
    ASSERT_EQ_INT(joined(p), 7);
    ASSERT_OK(shoal_forkserver_stop());
}
