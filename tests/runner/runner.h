/*
 * runner.h: the test runner.
 *
 *     #include "runner.h"
 *
 *     TEST(a_released_lock_can_be_acquired_again)
 *     {
 *         ASSERT_OK(...);
 *         ASSERT_ERR(..., -EPERM);
 *     }
 *
 * Link with runner.c and check.c; runner.c holds main(). The name of a test says what must be true.
 *
 * Every test runs in a process of its own, that leads a session, and has a net of time (60 s,
 * --timeout). It prints one line; what the test itself printed is shown only if it failed (or with
 * --verbose). When the test function has returned, the runner compares with what was before: open
 * descriptors, children (also zombies), shared mappings, entries of /dev/shm; and after the test's
 * process has ended, it looks for processes that were left behind (the runner is their reaper, so
 * it finds orphans), and kills them by their ids. Something left behind is a failure. Private
 * mappings are not compared: malloc, thread stacks and the sanitizers come and go as they like.
 *
 * Of a test that fails it also shows what its family holds and waits for (build/shoal-inspect), as far
 * as that is there still.
 *
 * Last line: "N passed, N failed", and ", N skipped" if any were. Exit status: 0, or 1 if something
 * failed.
 *
 *     program [--list] [--timeout SECONDS] [--verbose] [--no-fork] [SUBSTRING ...]
 */
#ifndef TESTS_RUNNER_H
#define TESTS_RUNNER_H

#include "check.h"

struct runner_test {
    const char *name;
    const char *file;
    void (*run)(void);
    struct runner_test *next;
    double timeout; /* seconds; 0: the default */
};

void runner_register(struct runner_test *test);

/* A test whose net of time differs from the default. */
#define TEST_WITH_TIMEOUT(test_name, seconds)                                              \
    static void test_name(void);                                                           \
    __attribute__((constructor)) static void runner_add_##test_name(void)                  \
    {                                                                                      \
        static struct runner_test test = {#test_name, __FILE__, test_name, NULL, seconds}; \
        runner_register(&test);                                                            \
    }                                                                                      \
    static void test_name(void)

#define TEST(test_name) TEST_WITH_TIMEOUT(test_name, 0)

/*
 * Hooks. Each is a weak function that does nothing, until a test program defines its own.
 * before and after run in the test's process; after gives NULL, or a text that says what was left
 * behind (for example the region's use), which fails the test. on_failure runs in the runner, while
 * the test's process may still exist.
 */
void runner_before_test(const char *name);
const char *runner_after_test(const char *name);
void runner_on_failure(const char *name, int pid);

/* Children may be left when the test function returns (they must still end soon after the test's process has). */
void runner_allow_children(void);

#endif
