/*
 * selftest.c: the runner judged by the runner. Each test runs a small test program (this one again,
 * with the environment variable RUNNER_INNER set) and looks at what it printed.
 */
#define _GNU_SOURCE
#include "runner.h"

#include <shoal/shoal.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Registers a test only in the inner program. */
#define INNER(test_name)                                                             \
    static void test_name(void);                                                     \
    __attribute__((constructor)) static void add_##test_name(void)                   \
    {                                                                                \
        static struct runner_test test = {#test_name, __FILE__, test_name, NULL, 0}; \
        if (getenv("RUNNER_INNER"))                                                  \
            runner_register(&test);                                                  \
    }                                                                                \
    static void test_name(void)

INNER(inner_passes)
{
    ASSERT_EQ_INT(1 + 1, 2);
}

INNER(inner_is_skipped)
{
    SKIP("no %s here", "reason");
}

INNER(inner_int_differs)
{
    ASSERT_EQ_INT(-EINVAL, 7);
}

INNER(inner_error_differs)
{
    ASSERT_ERR(-ETIMEDOUT, -EPERM);
}

INNER(inner_string_differs)
{
    ASSERT_STR("abc", "abd");
}

INNER(inner_crashes)
{
    signal(SIGSEGV, SIG_DFL); /* the address sanitizer catches it otherwise */
    raise(SIGSEGV);
}

INNER(inner_child_fails_unseen)
{
    int pid = (int)ASSERT_SYS(fork());
    if (pid == 0)
        ASSERT_TRUE(1 > 2);
    ASSERT_SYS(waitpid(pid, NULL, 0));
}

INNER(inner_leaves_descriptor)
{
    ASSERT_SYS(open("/dev/null", O_RDONLY));
}

INNER(inner_leaves_mapping)
{
    ASSERT_TRUE(mmap(NULL, 8192, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
}

INNER(inner_leaves_zombie)
{
    if (ASSERT_SYS(fork()) == 0)
        _exit(0);
}

INNER(inner_leaves_orphan_in_other_session)
{
    int pid = (int)ASSERT_SYS(fork());
    if (pid == 0) {
        setsid();
        if (fork() == 0) {
            for (;;)
                pause();
        }
        _exit(0);
    }
    ASSERT_SYS(waitpid(pid, NULL, 0));
}

INNER(inner_leaves_shm_entry)
{
    int fd = open("/dev/shm/left-by-a-test", O_CREAT | O_RDWR, 0600);
    if (fd < 0)
        SKIP("no /dev/shm");
    close(fd);
}

INNER(inner_hangs)
{
    for (;;)
        pause();
}

static shoal_lock *lock;
static void hold(void)
{
    ASSERT_OK(shoal_lock_create(&lock, &(shoal_sync_options){.name = "dear"}));
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_NOW));
}

INNER(inner_waits_for_itself)
{
    hold();
    shoal_lock_acquire(lock, SHOAL_FOREVER);
}

INNER(inner_leaves_a_child_that_waits)
{
    hold();
    int pid = (int)ASSERT_SYS(fork());
    if (pid == 0) {
        shoal_lock_acquire(lock, SHOAL_FOREVER); /* has it when its holder ends */
        for (;;)
            pause();
    }
    FAIL("it was only a test");
}

/* And these only in the outer one. */
#define OUTER(test_name)                                                             \
    static void test_name(void);                                                     \
    __attribute__((constructor)) static void add_##test_name(void)                   \
    {                                                                                \
        static struct runner_test test = {#test_name, __FILE__, test_name, NULL, 0}; \
        if (!getenv("RUNNER_INNER"))                                                 \
            runner_register(&test);                                                  \
    }                                                                                \
    static void test_name(void)

/* Runs the inner program with these arguments. Returns its exit status; the output is in text. */
static int inner(const char *arguments, char *text, size_t size)
{
    char command[600];

    /* Not what the link says: in a chroot the runner's own mount namespace makes that a path outside. */
    snprintf(command, sizeof(command), "RUNNER_INNER=1 /proc/%d/exe %s 2>&1", getpid(), arguments);
    FILE *f = popen(command, "r");
    ASSERT_NOT_NULL(f);
    size_t got = fread(text, 1, size - 1, f);
    text[got] = 0;
    return WEXITSTATUS(pclose(f));
}

static void inner_says(const char *arguments, int status, const char *wanted, const char *end)
{
    char text[8000];
    int got = inner(arguments, text, sizeof(text));
    size_t length = strlen(text), tail = strlen(end);

    if (got != status || !strstr(text, wanted) || length < tail ||
        strcmp(text + length - tail, end))
        FAIL("status %d, wanted %d, with \"%s\" and \"%s\" in:\n%s", got, status, wanted, end,
             text);
}

OUTER(a_passing_test_is_counted_and_status_is_0)
{
    inner_says("inner_passes", 0, "passed   inner_passes", "\n1 passed, 0 failed\n");
}

OUTER(a_skipped_test_is_counted_with_its_reason)
{
    inner_says("inner_is_skipped inner_passes", 0, "no reason here",
               "\n1 passed, 0 failed, 1 skipped\n");
}

OUTER(a_failed_assertion_shows_both_values_and_the_error_name)
{
    inner_says("inner_int_differs", 1, "left -22 (-EINVAL), right 7", "\n0 passed, 1 failed\n");
    inner_says("inner_error_differs", 1, "gave -110 (-ETIMEDOUT), wanted -1 (-EPERM)",
               "\n0 passed, 1 failed\n");
    inner_says("inner_string_differs", 1, "left \"abc\", right \"abd\"", "\n0 passed, 1 failed\n");
}

OUTER(a_crash_is_a_failure)
{
    inner_says("inner_crashes", 1, "killed by signal 11", "\n0 passed, 1 failed\n");
}

OUTER(an_assertion_that_fails_in_a_child_fails_the_test)
{
    inner_says("inner_child_fails_unseen", 1, "1 > 2", "\n0 passed, 1 failed\n");
}

OUTER(what_is_left_behind_is_a_failure)
{
    inner_says("inner_leaves_descriptor", 1, "left behind: descriptor", "\n0 passed, 1 failed\n");
    inner_says("inner_leaves_mapping", 1, "left behind: mapping 8 KiB", "\n0 passed, 1 failed\n");
    inner_says("inner_leaves_zombie", 1, "left behind: child", "\n0 passed, 1 failed\n");
    inner_says("inner_leaves_orphan", 1, "left behind: process", "\n0 passed, 1 failed\n");
}

OUTER(an_entry_left_in_dev_shm_is_a_failure)
{
    if (access("/dev/shm", W_OK))
        SKIP("no /dev/shm that can be written");
    inner_says("inner_leaves_shm_entry", 1, "left-by-a-test", "\n0 passed, 1 failed\n");
    unlink("/dev/shm/left-by-a-test"); /* where the runner could not mount its own */
}

OUTER(a_test_that_hangs_is_killed_and_fails)
{
    inner_says("--timeout 0.3 inner_hangs", 1, "no end within 0.3 s", "\n0 passed, 1 failed\n");
}

OUTER(a_test_that_fails_shows_what_its_family_holds_and_waits_for)
{
    inner_says("--timeout 1 inner_waits_for_itself", 1,
               "holds lock 'dear' and waits for lock 'dear'", "\n0 passed, 1 failed\n");
    inner_says("inner_leaves_a_child_that_waits", 1, "lock 'dear': open in",
               "\n0 passed, 1 failed\n");
}

OUTER(list_prints_names_and_runs_nothing)
{
    inner_says("--list inner_leaves_descriptor", 0, "inner_leaves_descriptor\n",
               "inner_leaves_descriptor\n");
}
