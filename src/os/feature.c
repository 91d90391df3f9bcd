/* What the kernel can do, probed once a process; clock, random numbers, membarrier. */
#include "os/os.h"
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static struct os_features features;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Atomic bool probed;

/* Whether SHOAL_WITHOUT, a list with commas, names the feature. */
static bool without(const char *name)
{
    const char *list = getenv("SHOAL_WITHOUT");
    size_t length = strlen(name);
    while (list && *list) {
        size_t n = strcspn(list, ",");
        if (n == length && !strncmp(list, name, n))
            return true;
        list += n + (list[n] == ',');
    }
    return false;
}

bool os_membarrier_register(void)
{
    long offered = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    if (offered < 0 || !(offered & MEMBARRIER_CMD_GLOBAL_EXPEDITED))
        return false;
    return !syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0);
}

bool os_membarrier(void)
{
    return !os_call(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0, 0, 0, 0);
}

/* The kernel has looked at it longer and harder than we could. */
static bool clock_is(const char *name)
{
    char text[32] = "";
    int fd = open("/sys/devices/system/clocksource/clocksource0/current_clocksource",
                  O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    return n > 0 && (size_t)n == strlen(name) + 1 && !strncmp(text, name, strlen(name));
}

static bool has_stamps(void)
{
#if defined(__x86_64__)
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid(0x80000001, &a, &b, &c, &d) || !(d >> 27 & 1)) /* rdtscp */
        return false;
    return clock_is("tsc");
#else
    return clock_is("arch_sys_counter");
#endif
}

static void probe(void)
{
    int error = errno;
    /* An empty list of waiters is -EINVAL where the call exists. */
    syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0);
    features.futex_waitv = errno == EINVAL && !without("futex_waitv");
    features.membarrier = !without("membarrier") && os_membarrier_register();
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED) {
        features.populate = !without("populate") && !madvise(page, 4096, MADV_POPULATE_WRITE);
        features.wipe_on_fork = !without("wipe_on_fork") && !madvise(page, 4096, MADV_WIPEONFORK);
        munmap(page, 4096);
    }
    int fd = without("pidfd") ? -1 : (int)syscall(SYS_pidfd_open, getpid(), 0);
    features.pidfd = fd >= 0;
    void *head;
    size_t length;
    features.robust = !without("robust") && !syscall(SYS_get_robust_list, 0, &head, &length);
    features.stamps = !without("stamps") && has_stamps();
    features.proc = !without("proc") && !access("/proc/self/maps", R_OK);
    if (fd >= 0)
        close(fd);
    errno = error;
    atomic_store(&probed, true);
}

CHILD_PATH const struct os_features *os_features(void)
{
    if (unlikely(!atomic_load_explicit(&probed, memory_order_acquire)))
        pthread_once(&once, probe);
    return &features;
}

int64_t os_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

uint64_t os_ticks(void)
{
    struct timespec t;
    uint64_t rate = (uint64_t)sysconf(_SC_CLK_TCK);
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * rate + (uint64_t)t.tv_nsec * rate / 1000000000;
}

void os_yield(void)
{
    sched_yield();
}

void os_sleep(int64_t nanoseconds)
{
    struct timespec t = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
    int error = errno;
    nanosleep(&t, NULL);
    errno = error;
}

void os_signals_block(uint64_t *ret)
{
    /* A mask as the kernel knows it has bit n - 1 for signal n. */
    uint64_t faults = 1ull << (SIGSEGV - 1) | 1ull << (SIGBUS - 1) | 1ull << (SIGFPE - 1) |
                      1ull << (SIGILL - 1) | 1ull << (SIGTRAP - 1);
    uint64_t all = ~faults;
    os_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)ret, sizeof all, 0, 0);
}

void os_signals_restore(const uint64_t *mask)
{
    os_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)mask, 0, sizeof *mask, 0, 0);
}

pid_t os_gettid(void)
{
    return (pid_t)os_call(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

CHILD_PATH pid_t os_getpid(void)
{
    return (pid_t)os_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

void os_random(void *ret, size_t size)
{
    unsigned char *p = ret;
    while (size) {
        ssize_t n = getrandom(p, size, 0);
        if (n < 0 && errno != EINTR)
            abort(); /* every kernel above the floor has it, and it cannot fail otherwise */
        if (n > 0) {
            p += n;
            size -= (size_t)n;
        }
    }
}
