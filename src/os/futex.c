/* Futexes and the kernel's robust marks. */
#include "os/os.h"
#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <string.h>
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

/* ---- robust words ---- */

static_assert(sizeof(pthread_mutex_t) <= OS_ROBUST_SIZE, "a mutex fits");

/* Where in a mutex libc keeps the word that the kernel marks: 0 in glibc, 4 in musl; and what an
 * initialised one looks like. */
static unsigned word_at;
static struct os_robust fresh;
static pthread_once_t prepared = PTHREAD_ONCE_INIT;

static pthread_mutex_t *mutex_of(struct os_robust *robust)
{
    return (pthread_mutex_t *)(void *)robust->mutex;
}

static void prepare(void)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(mutex_of(&fresh), &attributes);
    pthread_mutexattr_destroy(&attributes);

    struct os_robust probe = fresh;
    (void)pthread_mutex_trylock(mutex_of(&probe));
    uint32_t tid = (uint32_t)os_gettid();
    for (unsigned i = 0; i < 12; i += 4) {
        uint32_t value;
        memcpy(&value, probe.mutex + i, 4);
        if ((value & FUTEX_TID_MASK) == tid) {
            word_at = i;
            break;
        }
    }
    pthread_mutex_unlock(mutex_of(&probe));
}

void os_robust_prepare(void)
{
    pthread_once(&prepared, prepare);
}

bool os_robust_works(void)
{
    struct os_robust probe = fresh;
    bool works = false;
    if (!pthread_mutex_trylock(mutex_of(&probe))) {
        works = (atomic_load(os_robust_word(&probe)) & FUTEX_TID_MASK) == (uint32_t)os_gettid();
        pthread_mutex_unlock(mutex_of(&probe));
    }
    return works;
}

void os_robust_init(struct os_robust *robust)
{
    *robust = fresh;
}

_Atomic uint32_t *os_robust_word(struct os_robust *robust)
{
    return (_Atomic uint32_t *)(void *)(robust->mutex + word_at);
}

/* libc tells the kernel which word it is about to take or leave, one at a time: a signal handler that
 * did so too, in the middle of it, would leave that untold. */
bool os_robust_try(struct os_robust *robust)
{
    uint64_t signals;
    if (os_robust_held(atomic_load(os_robust_word(robust))))
        return false;
    if (!MUTANT(97))
        os_signals_block(&signals);
    int rc = pthread_mutex_trylock(mutex_of(robust));
    if (rc == EOWNERDEAD)
        rc = pthread_mutex_consistent(mutex_of(robust));
    if (!rc)
        atomic_fetch_or(os_robust_word(robust), FUTEX_WAITERS);
    if (!MUTANT(97))
        os_signals_restore(&signals);
    return !rc;
}

void os_robust_release(struct os_robust *robust)
{
    uint64_t signals;
    os_signals_block(&signals);
    pthread_mutex_unlock(mutex_of(robust));
    os_signals_restore(&signals);
}

uint32_t os_robust_watch(struct os_robust *robust)
{
    _Atomic uint32_t *word = os_robust_word(robust);
    uint32_t value = atomic_load(word);
    while (os_robust_held(value) && !(value & FUTEX_WAITERS) && !MUTANT(98))
        if (atomic_compare_exchange_weak(word, &value, value | FUTEX_WAITERS))
            value |= FUTEX_WAITERS;
    return value;
}

bool os_robust_marked(uint32_t value)
{
    return value & FUTEX_OWNER_DIED;
}

bool os_robust_held(uint32_t value)
{
    return (value & FUTEX_TID_MASK) && !(value & FUTEX_OWNER_DIED);
}
