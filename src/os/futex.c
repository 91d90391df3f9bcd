/* Futexes, and a mutex made of one. */
#include "os/os.h"
#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

/* struct futex_waitv of <linux/futex.h>, which older headers lack; the flag FUTEX_32 of a shared
 * 32-bit word is 2. */
struct waitv {
    uint64_t value;
    uint64_t address;
    uint32_t flags;
    uint32_t reserved;
};
#define WAITV_MOST 128

static const struct timespec *timespec_of(int64_t deadline, struct timespec *t)
{
    if (deadline == INT64_MAX)
        return NULL;
    if (deadline < 0)
        deadline = 0;
    t->tv_sec = deadline / 1000000000;
    t->tv_nsec = deadline % 1000000000;
    return t;
}

int os_futex_wait(const _Atomic uint32_t *word, uint32_t value, int64_t deadline)
{
    struct timespec t;
    /* WAIT_BITSET takes an absolute time, of CLOCK_MONOTONIC by default. */
    long rc = os_call(SYS_futex, (long)word, FUTEX_WAIT_BITSET, value,
                      (long)timespec_of(deadline, &t), 0, FUTEX_BITSET_MATCH_ANY);
    return rc == -EAGAIN ? 0 : (int)rc;
}

int os_futex_waitv(const struct os_wait *waits, unsigned n, int64_t deadline)
{
    struct waitv v[WAITV_MOST];
    struct timespec t;
    assert(n >= 1 && n <= WAITV_MOST);
    for (unsigned i = 0; i < n; i++)
        v[i] = (struct waitv){.value = waits[i].value,
                              .address = (uintptr_t)waits[i].word,
                              .flags = 2 /* FUTEX_32 */};
    return (int)os_call(SYS_futex_waitv, (long)v, n, 0, (long)timespec_of(deadline, &t),
                        CLOCK_MONOTONIC, 0);
}

int os_futex_wake(_Atomic uint32_t *word, int n)
{
    long rc = os_call(SYS_futex, (long)word, FUTEX_WAKE, n, 0, 0, 0);
    return rc < 0 ? 0 : (int)rc;
}

void os_mutex_wait(struct os_mutex *mutex)
{
    while (atomic_exchange(&mutex->word, 2))
        os_futex_wait(&mutex->word, 2, INT64_MAX);
}
