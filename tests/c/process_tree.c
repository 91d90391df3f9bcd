/* kill_tree: none of a tree escapes. */
#include "os/os.h"
#include "trees.h"
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>

enum { STOP = GO_ON };

static shoal_process *tree_of(shoal_target target)
{
    shoal_process *p;
    words = words_open();
    ASSERT_SYS(pipe2(alive, O_NONBLOCK));
    adopt_orphans();
    ASSERT_OK(shoal_process_start(&p, target, NULL, NULL));
    close(alive[1]);
    return p;
}

/* SIGKILL has been sent to all: they need only the time to die. */
static void none_left(shoal_process *p)
{
    char c;
    ASSERT_OK(shoal_process_join(p, SHOAL_FOREVER));
    ASSERT_OK(shoal_process_close(p));
    for (int i = 0; read(alive[0], &c, 1) < 0; nap())
        if (i++ > 5000) {
            atomic_store(&words[STOP], 1);
            FAIL("some escaped");
        }
    close(alive[0]);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    words_close();
}

static int stay(void *argument)
{
    atomic_fetch_add(&words[BEGUN], 1);
    while (!atomic_load(&words[STOP]))
        nap();
    return argument != NULL;
}

static int family_of_all_kinds(void *argument)
{
    shoal_process *p;
    ASSERT_OK(shoal_process_start(&p, stay, NULL, NULL));
    if (!ASSERT_SYS(fork())) {
        if (!ASSERT_SYS(fork())) {
            setsid(); /* its own session and group */
            stay(NULL);
        }
        stay(NULL);
    }
    run_sleep();
    return stay(argument);
}

TEST(process_kill_tree_kills_every_descendant)
{
    shoal_process *p = tree_of(family_of_all_kinds);
    until_word(&words[BEGUN], 4);
    ASSERT_EQ_INT(shoal_process_kill_tree(p), 5);
    none_left(p);
}

/* Forks without end, at most `width` alive at once; each child does the same one level deeper. */
static int bomb(int depth)
{
    atomic_fetch_add(&words[BEGUN], 1);
    while (!atomic_load(&words[STOP])) {
        for (int i = 0; i < 2 && depth < 4; i++) {
            pid_t pid = fork();
            if (!pid)
                _exit(bomb(depth + 1));
        }
        while (waitpid(-1, NULL, depth < 4 ? 0 : WNOHANG) > 0)
            ;
        if (depth == 4) /* short lives, so that the tree changes all the time */
            return 0;
    }
    return 0;
}

static int begin_bomb(void *argument)
{
    (void)argument;
    return bomb(0);
}

TEST_WITH_TIMEOUT(process_kill_tree_kills_a_tree_that_forks_all_the_time, 120)
{
    for (int round = 0; round < 5; round++) {
        shoal_process *p = tree_of(begin_bomb);
        until_word(&words[BEGUN], 100);
        ASSERT_GE_INT(shoal_process_kill_tree(p), 1);
        none_left(p);
    }
}

static void chain(void)
{
    /* Each forks the next and ends at once: a parent is never there for long. */
    while (!atomic_load(&words[STOP])) {
        atomic_fetch_add(&words[BEGUN], 1);
        pid_t pid = fork();
        if (pid > 0)
            _exit(0);
        if (pid < 0)
            nap();
    }
    _exit(0);
}

static int begin_chain(void *argument)
{
    if (!ASSERT_SYS(fork()))
        chain();
    return stay(argument);
}

TEST_WITH_TIMEOUT(process_kill_tree_catches_attached_orphans, 120)
{
    for (int round = 0; round < 10; round++) {
        shoal_process *p = tree_of(begin_chain);
        until_word(&words[BEGUN], 50);
        ASSERT_GE_INT(shoal_process_kill_tree(p), 1);
        none_left(p);
    }
}

TEST(process_kill_tree_leaves_others_alone)
{
    shoal_process *p, *other;
    words = words_open();
    ASSERT_OK(shoal_process_start(&p, stay, NULL, NULL));
    ASSERT_OK(shoal_process_start(&other, stay, NULL, NULL));
    until_word(&words[BEGUN], 2);
    ASSERT_EQ_INT(shoal_process_kill_tree(p), 1);
    ASSERT_OK(shoal_process_join(p, SHOAL_FOREVER));
    ASSERT_OK(shoal_process_close(p));
    ASSERT_EQ_INT(shoal_process_is_alive(other), 1);
    atomic_store(&words[STOP], 1);
    ASSERT_OK(shoal_process_join(other, SHOAL_FOREVER));
    ASSERT_OK(shoal_process_close(other));
    words_close();
}

static int leave_an_orphan(void *argument)
{
    if (!ASSERT_SYS(fork()))
        stay(NULL);
    return argument != NULL;
}

TEST(process_kill_tree_of_one_that_has_ended_kills_what_it_left)
{
    shoal_process *p = tree_of(leave_an_orphan);
    until_word(&words[BEGUN], 1);
    ASSERT_OK(shoal_process_join(p, SHOAL_FOREVER));
    ASSERT_EQ_INT(shoal_process_kill_tree(p), 1);
    none_left(p);
}

/* ---- whether one may still fork ---- */

static void *sleep_in_thread(void *argument)
{
    atomic_fetch_add(&words[BEGUN], 1);
    while (pause() < 0)
        ;
    return argument;
}

static _Noreturn void end_first_thread(void)
{
    pthread_t thread;
    ASSERT_EQ_INT(pthread_create(&thread, NULL, sleep_in_thread, NULL), 0);
    pthread_exit(NULL);
}

static void await_rest(const struct os_process *process, enum os_rest rest)
{
    for (int i = 0; os_process_rest(process) != rest; nap())
        ASSERT_LT_INT(i++, 5000);
}

TEST(process_rests_when_all_of_its_threads_have_stopped)
{
    if (!os_features()->proc)
        SKIP("without /proc nobody sees what they do");
    struct os_process process;
    words = words_open();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid)
        end_first_thread();
    until_word(&words[BEGUN], 1);
    ASSERT_OK(os_process_look(pid, &process));
    ASSERT_EQ_INT(os_process_rest(&process), OS_RUNS);
    ASSERT_OK(os_process_signal(&process, SIGSTOP));
    await_rest(&process, OS_RESTS);
    ASSERT_OK(os_process_signal(&process, SIGCONT));
    await_rest(&process, OS_RUNS);
    ASSERT_OK(os_process_signal(&process, SIGKILL));
    ASSERT_SYS(waitpid(pid, NULL, 0));
    ASSERT_EQ_INT(os_process_rest(&process), OS_RESTS);
    words_close();
}

TEST(process_waits_while_its_vfork_child_does_not_execute_anything)
{
    if (!os_features()->proc)
        SKIP("without /proc nobody sees what they do");
    if (!os_features()->robust)
        SKIP("qemu-user's vfork does not wait");
    struct os_process process;
    words = words_open();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        if (!syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0))
            stay(NULL);
        _exit(0);
    }
    until_word(&words[BEGUN], 1);
    ASSERT_OK(os_process_look(pid, &process));
    ASSERT_OK(os_process_signal(&process, SIGSTOP));
    await_rest(&process, OS_WAITS);
    atomic_store(&words[STOP], 1);
    await_rest(&process, OS_RESTS);
    ASSERT_OK(os_process_signal(&process, SIGKILL));
    ASSERT_SYS(waitpid(pid, NULL, 0));
    words_close();
}
