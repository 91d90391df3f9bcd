/* Daemons end with their parent, however that ends, and take everything below them along. */
#include "trees.h"
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>

static int compute(void *argument)
{
    atomic_fetch_add(&words[BEGUN], 1);
    for (volatile long i = 0;; i++)
        if (i < 0)
            return argument != NULL;
}

static void start(shoal_target target, unsigned flags)
{
    shoal_process *p;
    ASSERT_OK(shoal_process_start(&p, target, NULL, &(shoal_process_options){.flags = flags}));
    ASSERT_EQ_INT(shoal_process_is_daemon(p), !!flags);
}

/* A daemon with children of every kind. */
static int with_descendants(void *argument)
{
    shoal_process *p;
    ASSERT_EQ_INT(shoal_process_is_daemon(shoal_process_current()), 1);
    ASSERT_OK(shoal_process_start(&p, compute, NULL, NULL));
    ASSERT_EQ_INT(shoal_process_is_daemon(p), 1);
    if (!ASSERT_SYS(fork())) {
        if (!ASSERT_SYS(fork()))
            wait_for_ever(NULL);
        compute(NULL);
    }
    run_sleep(); /* a program that knows nothing of the family */
    return wait_for_ever(argument);
}
enum { DESCENDANTS = 4 };

static void parent_of(shoal_target target, unsigned flags, long count)
{
    start(target, flags);
    until_word(&words[BEGUN], count);
    until_word(&words[GO_ON], 1);
}

TEST(process_daemon_ends_when_its_parent_is_killed)
{
    open_all();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        parent_of(compute, SHOAL_DAEMON, 1);
        raise(SIGKILL);
    }
    until_word(&words[BEGUN], 1);
    atomic_store(&words[GO_ON], 1);
    ASSERT_SYS(waitpid(pid, NULL, 0));
    all_gone();
}

TEST(process_daemon_ends_with_everything_below_it_when_its_parent_is_killed)
{
    open_all();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        parent_of(with_descendants, SHOAL_DAEMON, DESCENDANTS);
        for (;;)
            pause();
    }
    until_word(&words[BEGUN], DESCENDANTS);
    kill_and_reap(pid);
    all_gone();
}

TEST(process_daemon_ends_with_everything_below_it_at_its_parents_normal_end)
{
    open_all();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        atomic_store(&words[GO_ON], 1);
        parent_of(with_descendants, SHOAL_DAEMON, DESCENDANTS);
        exit(0);
    }
    ends_well(pid);
    all_gone();
}

TEST(process_daemon_ends_at_the_end_of_a_parent_that_has_left_the_family)
{
    open_all();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        atomic_store(&words[GO_ON], 1);
        parent_of(with_descendants, SHOAL_DAEMON, DESCENDANTS);
        ASSERT_OK(shoal_detach());
        exit(0);
    }
    ends_well(pid);
    all_gone();
}

static int with_daemon(void *argument)
{
    parent_of(with_descendants, SHOAL_DAEMON, DESCENDANTS);
    return argument != NULL;
}

TEST(process_daemon_ends_when_its_parents_target_returns)
{
    shoal_process *p;
    open_all();
    atomic_store(&words[GO_ON], 1);
    ASSERT_OK(shoal_process_start(&p, with_daemon, NULL, NULL));
    ASSERT_OK(shoal_process_join(p, SHOAL_FOREVER));
    ASSERT_OK(shoal_process_close(p));
    all_gone();
}

static int blocks_signals(void *argument)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    return compute(argument);
}

TEST(process_daemon_that_blocks_all_signals_ends_at_its_parents_normal_end)
{
    open_all();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        atomic_store(&words[GO_ON], 1);
        parent_of(blocks_signals, SHOAL_DAEMON, 1);
        exit(0);
    }
    ends_well(pid);
    all_gone();
}

static void *start_from_thread(void *argument)
{
    start(compute, SHOAL_DAEMON);
    return argument;
}

TEST(process_daemon_outlives_the_thread_that_started_it_and_not_the_process)
{
    open_all();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        pthread_t thread;
        shoal_process *list[1];
        ASSERT_NOT_NULL(shoal_process_current());
        ASSERT_EQ_INT(pthread_create(&thread, NULL, start_from_thread, NULL), 0);
        pthread_join(thread, NULL);
        until_word(&words[BEGUN], 1);
        for (int i = 0; i < 100; i++)
            nap();
        ASSERT_EQ_INT(shoal_process_active_children(list, 1), 1);
        atomic_store(&words[2], 1);
        for (;;)
            pause();
    }
    until_word(&words[2], 1);
    kill_and_reap(pid);
    all_gone();
}

static int nested(void *argument)
{
    long depth = atomic_fetch_add(&words[BEGUN], 1);
    if (depth < 5)
        ASSERT_OK(shoal_process_start(&(shoal_process *){NULL}, nested, NULL,
                                      &(shoal_process_options){.flags = SHOAL_DAEMON}));
    for (;;)
        if (argument)
            return 0;
}

TEST(process_daemons_of_daemons_end_from_whichever_end_the_killing_begins)
{
    open_all();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        parent_of(nested, SHOAL_DAEMON, 6);
        for (;;)
            pause();
    }
    until_word(&words[BEGUN], 6);
    kill_and_reap(pid);
    all_gone();
}

TEST(process_that_is_no_daemon_outlives_its_parent)
{
    open_all();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        atomic_store(&words[GO_ON], 1);
        parent_of(wait_for_ever, 0, 1);
        exit(0);
    }
    ends_well(pid);
    for (int i = 0; i < 100; i++)
        nap();
    pid_t orphan = 0;
    ASSERT_EQ_INT(waitpid(-1, NULL, WNOHANG), 0); /* it is there */
    char path[64], line[64] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(path, "re");
    if (f && fgets(line, sizeof line, f))
        orphan = (pid_t)atoi(line);
    if (f)
        fclose(f);
    ASSERT_GT_INT(orphan, 0);
    ASSERT_SYS(kill(orphan, SIGKILL));
    all_gone();
}

TEST(process_daemon_whose_parent_ends_during_the_start_ends)
{
    open_all();
    for (int i = 0; i < 50; i++) {
        pid_t pid = (pid_t)ASSERT_SYS(fork());
        if (!pid) {
            start(compute, SHOAL_DAEMON);
            raise(SIGKILL);
        }
        ASSERT_SYS(waitpid(pid, NULL, 0));
    }
    all_gone();
}

/* ---- where /proc is not mounted ---- */

/* Private first, or it would be taken away from everybody. */
static void without_proc(void)
{
#ifdef __SANITIZE_ADDRESS__
    SKIP("the sanitizer looks for leaks through /proc");
#endif
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        umount2("/proc", MNT_DETACH) || !access("/proc/self", F_OK))
        SKIP("no right to take /proc away");
}

static int parent_of_one(void *argument)
{
    start(wait_for_ever, SHOAL_DAEMON);
    return wait_for_ever(argument);
}

static int parent_that_returns(void *argument)
{
    start(wait_for_ever, SHOAL_DAEMON);
    while (!atomic_load(&words[BEGUN]))
        nap();
    return argument != NULL;
}

TEST(process_daemons_end_with_their_parent_without_proc)
{
    without_proc();
    open_all();
    shoal_process *killed, *returns;
    ASSERT_OK(shoal_process_start(&killed, parent_of_one, NULL, NULL));
    while (atomic_load(&words[BEGUN]) < 2)
        nap();
    ASSERT_OK(shoal_process_kill(killed));
    ASSERT_OK(shoal_process_join(killed, SHOAL_FOREVER));
    atomic_store(&words[BEGUN], 0);
    ASSERT_OK(shoal_process_start(&returns, parent_that_returns, NULL, NULL));
    ASSERT_OK(shoal_process_join(returns, SHOAL_FOREVER));
    ASSERT_OK(shoal_process_close(killed));
    ASSERT_OK(shoal_process_close(returns));
    all_gone();
}

TEST(process_kill_tree_without_proc_kills_the_child_and_says_that_it_saw_no_more)
{
    without_proc();
    open_all();
    shoal_process *p;
    int code;
    ASSERT_OK(shoal_process_start(&p, wait_for_ever, NULL, NULL));
    ASSERT_ERR(shoal_process_kill_tree(p), -ENODATA);
    ASSERT_OK(shoal_process_join(p, SHOAL_FOREVER));
    ASSERT_OK(shoal_process_exit_code(p, &code));
    ASSERT_EQ_INT(code, -SIGKILL);
    ASSERT_OK(shoal_process_close(p));
    all_gone();
}

static int killed_at_once(void *argument)
{
    shoal_lock *lock = argument;
    for (;;) {
        shoal_lock_acquire(lock, SHOAL_FOREVER);
        shoal_lock_release(lock);
    }
    return 0;
}

/* Others look for the dead all the time; what is just being born is not one of them. */
TEST(process_children_without_proc_are_not_taken_for_unborn)
{
    without_proc();
    shoal_lock *lock;
    shoal_process *p[6];
    ASSERT_OK(shoal_lock_create(&lock, NULL));
    for (int i = 0; i < 6; i++)
        ASSERT_OK(shoal_process_start(&p[i], killed_at_once, lock, NULL));
    for (int n = 0; n < 300; n++) {
        int code;
        ASSERT_OK(shoal_process_kill(p[n % 6]));
        ASSERT_OK(shoal_process_join(p[n % 6], SHOAL_FOREVER));
        ASSERT_OK(shoal_process_exit_code(p[n % 6], &code));
        ASSERT_EQ_INT(code, -SIGKILL);
        ASSERT_OK(shoal_process_close(p[n % 6]));
        if (n < 294)
            ASSERT_OK(shoal_process_start(&p[n % 6], killed_at_once, lock, NULL));
    }
    shoal_lock_close(lock);
}
