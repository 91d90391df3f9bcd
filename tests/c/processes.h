/* processes.h: what tests of objects between processes share. Handles lie in a test file's globals:
 * children inherit them by fork. */
#ifndef TESTS_PROCESSES_H
#define TESTS_PROCESSES_H

#include "runner.h"
#include <errno.h>
#include <pthread.h>
#include <shoal/shoal.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Zeroed words that all processes of the test share. */
static shoal_memory *words_memory;
static inline _Atomic long *words_open(void)
{
    shoal_memory_options options = {.flags = SHOAL_ZERO};
    ASSERT_OK(shoal_memory_create(&words_memory, 64 * sizeof(long), &options));
    return shoal_memory_address(words_memory);
}
static inline void words_close(void)
{
    words_memory = shoal_memory_close(words_memory);
}

/* Runs body in a forked child, which then ends without giving anything back. */
static inline pid_t child(void (*body)(void))
{
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        body();
        _exit(0);
    }
    return pid;
}

static inline void ends_well(pid_t pid)
{
    int status;
    ASSERT_SYS(waitpid(pid, &status, 0));
    ASSERT_EQ_INT(status, 0);
}

static inline void kill_and_reap(pid_t pid)
{
    ASSERT_SYS(kill(pid, SIGKILL));
    ASSERT_SYS(waitpid(pid, NULL, 0));
}

/* Joins a child: its exit code. */
static inline int joined(shoal_process *p)
{
    int code;
    ASSERT_OK(shoal_process_join(p, SHOAL_FOREVER));
    ASSERT_OK(shoal_process_exit_code(p, &code));
    ASSERT_OK(shoal_process_close(p));
    return code;
}

/* Orphans come to the calling process, to be reaped. */
static inline void adopt_orphans(void)
{
    if (prctl(PR_SET_CHILD_SUBREAPER, 1)) /* qemu-user has it not */
        SKIP("a process cannot adopt orphans here");
}

/* qemu-user takes MADV_REMOVE, and does nothing. */
static inline bool memory_can_be_removed(void)
{
    size_t size = (size_t)ASSERT_SYS(sysconf(_SC_PAGESIZE));
    char *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_TRUE(page != MAP_FAILED);
    *page = 1;
    bool removed = !madvise(page, size, MADV_REMOVE) && !*(volatile char *)page;
    munmap(page, size);
    return removed;
}

static inline uint32_t objects(void)
{
    shoal_statistics s;
    ASSERT_OK(shoal_memory_statistics(&s));
    return s.objects;
}

static inline void nap(void)
{
    /* NOLINTNEXTLINE(bugprone-signal-handler,cert-sig30-c): a system call */
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static inline void until_word(_Atomic long *word, long value)
{
    while (atomic_load(word) < value)
        nap();
}

/* Until a process or thread sleeps in the kernel (state S). Which it does nowhere but in the call
 * that the test is about. */
static inline void until_asleep(pid_t pid)
{
    for (;; nap()) {
        char path[64], line[400], *p;
        snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)pid, (int)pid);
        FILE *f = fopen(path, "re");
        if (!f) { /* a thread of this process */
            snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)pid);
            f = fopen(path, "re");
        }
        if (!f)
            FAIL("process %d is gone", (int)pid);
        size_t n = fread(line, 1, sizeof line - 1, f);
        fclose(f);
        line[n] = 0;
        p = strrchr(line, ')');
        if (p && p[1] && p[2] == 'S')
            return;
        if (p && p[1] && p[2] == 'Z')
            FAIL("process %d has ended", (int)pid);
    }
}

/* Until so many deaths were noticed since the family began. */
static inline void until_deaths(uint64_t deaths)
{
    shoal_event *never;
    shoal_statistics s;
    ASSERT_OK(shoal_event_create(&never, NULL));
    for (;;) {
        ASSERT_OK(shoal_memory_statistics(&s));
        if (s.deaths >= deaths)
            break;
        ASSERT_ERR(shoal_event_wait(never, shoal_after(0.005)), -ETIMEDOUT);
    }
    shoal_event_close(never);
}

static inline void on_signal(int signal)
{
    (void)signal;
}

/* SIGUSR1 interrupts. */
static inline void let_signals_interrupt(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    ASSERT_SYS(sigaction(SIGUSR1, &action, NULL));
}

/* Signals until the process ends: one signal might come before it sleeps. */
static inline void interrupt_until_end(pid_t pid)
{
    int status;
    for (;;) {
        pid_t got = (pid_t)ASSERT_SYS(waitpid(pid, &status, WNOHANG));
        if (got)
            break;
        kill(pid, SIGUSR1);
        nap();
    }
    ASSERT_EQ_INT(status, 0);
}

/* What all objects promise. CREATE(T **) makes one; USE(T *) is some call that fails only for a bad
 * handle. */
#define COMMON_TESTS(object, CREATE, USE)                            \
    TEST(object##_handles_that_are_null_or_closed_are_errors)        \
    {                                                                \
        shoal_##object *x;                                           \
        shoal_reference r;                                           \
        ASSERT_OK(CREATE(&x));                                       \
        ASSERT_ERR(shoal_##object##_reference(x, NULL), -EINVAL);    \
        ASSERT_NULL(shoal_##object##_close(x));                      \
        ASSERT_ERR(USE(x), -EBADF);                                  \
        ASSERT_ERR(shoal_##object##_reference(x, &r), -EBADF);       \
        ASSERT_NULL(shoal_##object##_close(x));                      \
        ASSERT_ERR(USE(NULL), -EINVAL);                              \
        ASSERT_TRUE(shoal_error_detail()[0]);                        \
        ASSERT_NULL(shoal_##object##_close(NULL));                   \
        ASSERT_ERR(CREATE(NULL), -EINVAL);                           \
    }                                                                \
    TEST(object##_handles_of_another_type_are_errors)                \
    {                                                                \
        shoal_##object *x;                                           \
        shoal_memory *m;                                             \
        shoal_reference r;                                           \
        ASSERT_OK(shoal_memory_create(&m, 1, NULL));                 \
        ASSERT_ERR(USE((shoal_##object *)(void *)m), -EBADF);        \
        ASSERT_OK(shoal_memory_reference(m, &r));                    \
        ASSERT_ERR(shoal_##object##_open(&x, &r), -EINVAL);          \
        shoal_memory_close(m);                                       \
    }                                                                \
    static shoal_reference object##_travels;                         \
    static void object##_open_and_close(void)                        \
    {                                                                \
        shoal_##object *x, *again;                                   \
        ASSERT_OK(shoal_##object##_open(&x, &object##_travels));     \
        ASSERT_OK(shoal_##object##_open(&again, &object##_travels)); \
        ASSERT_EQ_PTR(x, again);                                     \
        ASSERT_NULL(shoal_##object##_close(x));                      \
        ASSERT_OK(USE(again));                                       \
    }                                                                \
    TEST(object##_can_be_opened_in_another_process_by_its_reference) \
    {                                                                \
        shoal_##object *x;                                           \
        ASSERT_OK(CREATE(&x));                                       \
        ASSERT_OK(shoal_##object##_reference(x, &object##_travels)); \
        ends_well(child(object##_open_and_close));                   \
        shoal_##object##_close(x);                                   \
    }                                                                \
    TEST(object##_references_that_are_stale_are_errors)              \
    {                                                                \
        shoal_##object *x, *y = NULL;                                \
        shoal_reference r, none = {0};                               \
        ASSERT_OK(CREATE(&x));                                       \
        ASSERT_OK(shoal_##object##_reference(x, &r));                \
        shoal_##object##_close(x);                                   \
        ASSERT_ERR(shoal_##object##_open(&y, &r), -ESTALE);          \
        ASSERT_OK(CREATE(&x)); /* in its place */                    \
        ASSERT_ERR(shoal_##object##_open(&y, &r), -ESTALE);          \
        ASSERT_ERR(shoal_##object##_open(&y, &none), -ESTALE);       \
        ASSERT_ERR(shoal_##object##_open(&y, NULL), -EINVAL);        \
        ASSERT_ERR(shoal_##object##_open(NULL, &r), -EINVAL);        \
        ASSERT_NULL(y);                                              \
        shoal_##object##_close(x);                                   \
    }

/* The same for those that are made with shoal_sync_options. */
#define COMMON_OPTION_TESTS(object)                                 \
    static int object##_create(shoal_##object **ret)                \
    {                                                               \
        return shoal_##object##_create(ret, NULL);                  \
    }                                                               \
    TEST(object##_options_are_checked)                              \
    {                                                               \
        shoal_##object *x = NULL;                                   \
        char text[49];                                              \
        memset(text, 'n', 48);                                      \
        text[48] = 0;                                               \
        shoal_sync_options options = {.flags = 1};                  \
        ASSERT_ERR(shoal_##object##_create(&x, &options), -EINVAL); \
        options = (shoal_sync_options){.name = text};               \
        ASSERT_ERR(shoal_##object##_create(&x, &options), -EINVAL); \
        ASSERT_NULL(x);                                             \
        text[47] = 0;                                               \
        ASSERT_OK(shoal_##object##_create(&x, &options));           \
        shoal_##object##_close(x);                                  \
    }

#endif
