/* Daemons that cannot end by themselves, and the keeper, which ends them. */
#include "os/os.h"
#include "programs.h"
#include "trees.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

static void start(shoal_target target)
{
    shoal_process *p;
    shoal_process_options options = {.flags = SHOAL_DAEMON};
    ASSERT_OK(shoal_process_start(&p, target, NULL, &options));
}

static shoal_process *start_shell(char *script, int input)
{
    static char name[] = "sh", option[] = "-c", zero[] = "sh";
    char *argv[] = {name, option, script, zero, member(), words_reference(), NULL};
    shoal_process *p;
    shoal_process_options options = {.flags = SHOAL_DAEMON, .stdin_fd = input};
    ASSERT_OK(shoal_process_start_exec(&p, "/bin/sh", argv, &options));
    return p;
}

/* A process that does `body` and is killed once it is done. */
static void killed_after(void (*body)(void))
{
    open_all();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        body();
        atomic_store(&words[GO_ON], 1);
        for (;;)
            pause();
    }
    until_word(&words[GO_ON], 1);
    kill_and_reap(pid);
    all_gone();
}

/* ---- programs that know nothing of shoal ---- */

static void start_program(void)
{
    static char script[] = "sleep 1000 & sh -c 'sleep 1001 & sleep 1002' & echo begun; wait";
    int fds[2];
    char text[8];
    ASSERT_SYS(pipe(fds));
    static char name[] = "sh", option[] = "-c";
    char *argv[] = {name, option, script, NULL};
    shoal_process *p;
    shoal_process_options options = {.flags = SHOAL_DAEMON, .stdout_fd = fds[1]};
    ASSERT_OK(shoal_process_start_exec(&p, "/bin/sh", argv, &options));
    ASSERT_EQ_INT(read(fds[0], text, sizeof text), 6);
}

static void needs_proc(void)
{
    if (!os_features()->proc)
        SKIP("without /proc nobody sees what is below a program");
}

TEST(process_daemon_program_takes_what_it_has_started_along)
{
    needs_proc();
    killed_after(start_program);
}

static void start_and_end_at_once(void)
{
    for (int i = 0; i < 20; i++) {
        pid_t pid = (pid_t)ASSERT_SYS(fork());
        if (!pid) {
            static char script[] = "sleep 1000 & sleep 1001";
            start_shell(script, 0);
            raise(SIGKILL);
        }
        ASSERT_SYS(waitpid(pid, NULL, 0));
    }
}

TEST(process_daemon_program_whose_parent_ends_during_the_start_ends)
{
    needs_proc();
    open_all();
    start_and_end_at_once();
    all_gone();
}

static void *start_in_thread(void *argument)
{
    start_program();
    return argument;
}

TEST(process_daemon_program_outlives_the_thread_that_started_it)
{
    needs_proc();
    open_all();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        pthread_t thread;
        shoal_process *list[1];
        ASSERT_NOT_NULL(shoal_process_current());
        ASSERT_EQ_INT(pthread_create(&thread, NULL, start_in_thread, NULL), 0);
        pthread_join(thread, NULL);
        for (int i = 0; i < 100; i++)
            nap();
        ASSERT_EQ_INT(shoal_process_active_children(list, 1), 1);
        atomic_store(&words[GO_ON], 1);
        for (;;)
            pause();
    }
    until_word(&words[GO_ON], 1);
    kill_and_reap(pid);
    all_gone();
}

/* ---- daemons that do not act on the signal ---- */

static int block_signals(void *argument)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    return wait_for_ever(argument);
}

static void start_deaf(void)
{
    start(block_signals);
    until_word(&words[BEGUN], 1);
}

TEST(process_daemon_that_blocks_all_signals_ends_when_its_parent_is_killed)
{
    killed_after(start_deaf);
}

static int stop(void *argument)
{
    atomic_fetch_add(&words[BEGUN], 1);
    raise(SIGSTOP);
    return wait_for_ever(argument);
}

static void start_stopped(void)
{
    shoal_process *p[1];
    start(stop);
    until_word(&words[BEGUN], 1);
    ASSERT_EQ_INT(shoal_process_active_children(p, 1), 1);
    siginfo_t info;
    ASSERT_SYS(waitid(P_PID, (id_t)shoal_process_pid(p[0]), &info, WSTOPPED));
}

TEST(process_daemon_that_is_stopped_ends_when_its_parent_is_killed)
{
    killed_after(start_stopped);
}

/* ---- programs that were started through a shell ---- */

static char through[] = "\"$1\" join \"$2\"; exit 1";
static char behind[] = "\"$1\" join \"$2\" & read line; exit 0";

static void start_through_shell(void)
{
    shoal_process *p = start_shell(through, 0);
    until_word(&words[BEGUN], 1);
    for (int i = 0; i < 100; i++)
        nap();
    ASSERT_EQ_INT(shoal_process_is_alive(p), 1);
}

TEST(process_daemon_program_that_a_shell_started_lives_as_long_as_the_parent)
{
    killed_after(start_through_shell);
}

static void start_behind_shell(void)
{
    shoal_statistics s;
    int line[2];
    ASSERT_SYS(pipe2(line, O_CLOEXEC));
    shoal_process *p = start_shell(behind, line[0]);
    until_word(&words[BEGUN], 1);
    close(line[0]);
    close(line[1]);
    ASSERT_OK(shoal_process_join(p, SHOAL_FOREVER));
    for (int i = 0; i < 100; i++)
        nap();
    ASSERT_OK(shoal_memory_statistics(&s));
    ASSERT_EQ_INT(s.processes, 3); /* the test's, the parent's, the program's */
}

TEST(process_daemon_program_whose_shell_has_ended_ends_when_the_parent_is_killed)
{
    killed_after(start_behind_shell);
}

TEST(process_daemon_program_whose_shell_has_ended_ends_at_the_parents_normal_end)
{
    open_all();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        start_behind_shell();
        exit(0);
    }
    ends_well(pid);
    all_gone();
}

/* ---- the keeper itself ---- */

/* The child of this process that is its keeper, or 0. */
static pid_t keeper(void)
{
    char path[64], text[256] = "", name[32] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(path, "re");
    if (!f)
        SKIP("the kernel does not list children");
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    for (char *at = text, *end; strtol(at, &end, 10); at = end) {
        pid_t pid = (pid_t)strtol(at, NULL, 10);
        snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
        f = fopen(path, "re");
        if (f && fgets(name, sizeof name, f) && !strcmp(name, "shoal-keeper\n")) {
            fclose(f);
            return pid;
        }
        if (f)
            fclose(f);
    }
    return 0;
}

static pid_t until_keeper(void)
{
    pid_t pid;
    while (!(pid = keeper()))
        nap();
    return pid;
}

static int owns_a_daemon(void *argument)
{
    start(wait_for_ever);
    until_keeper();
    return wait_for_ever(argument);
}

static void see_no_keeper(void)
{
    shoal_process *p;
    shoal_statistics s;
    pid_t before = keeper();
    ASSERT_EQ_INT(before, 0);
    start(wait_for_ever);
    until_word(&words[BEGUN], 1);
    ASSERT_EQ_INT(shoal_process_active_children(&p, 1), 1);
    pid_t pid = until_keeper();
    ASSERT_OK(shoal_memory_statistics(&s));
    ASSERT_EQ_INT(s.processes, 3); /* the test's, this, the daemon */
    ASSERT_OK(shoal_process_kill(p));
    ASSERT_OK(shoal_process_join(p, SHOAL_FOREVER));
    ASSERT_EQ_INT(waitpid(-1, NULL, 0), -1); /* no child that the program would know */
    ASSERT_EQ_INT(errno, ECHILD);
    ASSERT_EQ_INT(keeper(), pid);
    ASSERT_OK(shoal_process_close(p));
    ASSERT_OK(shoal_process_start(&p, owns_a_daemon, NULL, NULL));
    until_word(&words[BEGUN], 3);
    ASSERT_EQ_INT(shoal_process_kill_tree(p), 2); /* its keeper is not counted */
    ASSERT_OK(shoal_process_join(p, SHOAL_FOREVER));
    exit(0);
}

TEST(process_keeper_is_not_seen_by_the_program)
{
    open_all();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid)
        see_no_keeper();
    ends_well(pid);
    all_gone();
}

static void replace_keeper(void)
{
    start_deaf();
    pid_t first = until_keeper();
    ASSERT_SYS(kill(first, SIGKILL));
    siginfo_t info;
    ASSERT_SYS(waitid(P_PID, (id_t)first, &info, WEXITED | WNOWAIT | __WALL));
    start(block_signals);
    ASSERT_NE_INT(until_keeper(), first);
    until_word(&words[BEGUN], 2);
}

TEST(process_keeper_that_was_killed_is_replaced_at_the_next_start)
{
    killed_after(replace_keeper);
}

/* What is behind this process's own memory, in KiB, of that which it shares with nobody. */
static long private_memory(pid_t pid)
{
    char path[64], line[128];
    long sum = 0, n;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        SKIP("the kernel does not say");
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "Private_Clean: %ld", &n) == 1 ||
            sscanf(line, "Private_Dirty: %ld", &n) == 1)
            sum += n;
    fclose(f);
    return sum;
}

/* A copy of all that the program changes later would be kept for it otherwise. */
TEST(process_keeper_keeps_neither_memory_nor_descriptors)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    SKIP("the sanitizer needs its memory");
#endif
    enum { SIZE = 64 << 20 };
    char c;
    int fds[2];
    open_all();
    ASSERT_SYS(pipe(fds));
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        char *shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        ASSERT_TRUE(memory != MAP_FAILED && shared != MAP_FAILED);
        memset(memory, 1, SIZE);
        memset(shared, 1, SIZE);
        start_deaf();
        pid_t k = until_keeper();
        memset(memory, 2, SIZE);
        munmap(shared, SIZE);
        while (private_memory(k) > 16 << 10)
            nap();
        shoal_process *p;
        ASSERT_EQ_INT(shoal_process_active_children(&p, 1), 1);
        ASSERT_OK(shoal_process_kill(p));
        ASSERT_OK(shoal_process_join(p, SHOAL_FOREVER));
        close(fds[0]); /* ours and, if it has one, the keeper's */
        close(fds[1]);
        atomic_store(&words[GO_ON], 1);
        for (;;)
            pause();
    }
    close(fds[1]);
    until_word(&words[GO_ON], 1);
    ASSERT_EQ_INT(read(fds[0], &c, 1), 0);
    close(fds[0]);
    kill_and_reap(pid);
    all_gone();
}
