/* Robust words: marked by the kernel when the thread that holds them ends.
 *
 * Each is a process-shared robust mutex of libc. While it is held it lies in the list that libc
 * registers with the kernel for each thread (Documentation/locking/robust-futex-ABI.rst), among the
 * program's own robust mutexes. Where libc keeps that list as is known here (`prepare` looks), words
 * are taken and given back by hand: the same stores in the same order, with the waiters bit set from
 * the first, and without libc's code, which after a fork would be two page faults. Elsewhere libc
 * does it, and signals wait meanwhile.
 *
 * The kernel marks what is in the list, and `pending`, if the word names the thread; where the word
 * of `pending` is 0 by then, it wakes one sleeper. So `pending` is set before the word changes, and
 * cleared when the list has changed too, or the wake-up is done. There is one of it, so a signal
 * handler that comes meanwhile leaves it alone: it takes nothing (os_robust_busy).
 */
#include "os/os.h"
#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>

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

/* ---- the thread's list ---- */

/* In a mutex: the address of the `next` before this one, then this. Bit 0 of an address says
 * something about the mutex that it leads to, and stays with it. */
enum { LINK = 32 };
struct link {
    struct link *next;
};
struct list {
    struct link head;
    long offset; /* from a link to its word */
    struct link *volatile pending;
};

static bool by_hand;
static _Thread_local struct list *list __attribute__((tls_model("initial-exec")));
static _Thread_local uint32_t thread __attribute__((tls_model("initial-exec")));

static struct link *link_of(struct os_robust *robust)
{
    return (struct link *)(void *)(robust->mutex + LINK);
}

static struct link *plain(struct link *link)
{
    return (struct link *)((uintptr_t)link & ~(uintptr_t)1);
}

static struct link **before(struct link *link)
{
    return &link[-1].next;
}

static struct list *find_list(void)
{
    struct list *found = NULL;
    size_t size;
    return os_call(SYS_get_robust_list, 0, (long)&found, (long)&size, 0, 0, 0) ? NULL : found;
}

/* Whether libc does with its list what is done here. */
static bool list_known(void)
{
    bool known = false;
#if defined(__GLIBC__) /* musl registers the list late, and late again in a child */
    struct os_robust probe = fresh;
    struct link *link = link_of(&probe);
    struct list *own = find_list();
    if (!own || own->offset != (long)word_at - LINK || own->pending)
        return false;
    struct link *first = own->head.next;
    if (!pthread_mutex_trylock(mutex_of(&probe))) {
        known = own->head.next == link && link->next == first && *before(link) == &own->head &&
                (first == &own->head || *before(plain(first)) == link);
        pthread_mutex_unlock(mutex_of(&probe));
        known = known && own->head.next == first;
    }
#endif
    return known;
}

CHILD_PATH static void enter(struct link *link)
{
    struct link *first = list->head.next;
    link->next = first;
    *before(link) = &list->head;
    if (first != &list->head)
        *before(plain(first)) = link;
    atomic_signal_fence(memory_order_seq_cst);
    list->head.next = link;
}

CHILD_PATH static void drop(struct link *link)
{
    struct link *next = link->next;
    if (next != &list->head)
        *before(plain(next)) = *before(link);
    plain(*before(link))->next = next;
}

/* ---- what the others see ---- */

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
    by_hand = list_known();
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

CHILD_PATH void os_robust_thread(pid_t tid)
{
    thread = (uint32_t)tid;
    if (by_hand && !list) /* a fork copies it, and libc registers the same one in the child */
        list = find_list();
}

CHILD_PATH void os_robust_init(struct os_robust *robust)
{
    *robust = fresh;
}

CHILD_PATH _Atomic uint32_t *os_robust_word(struct os_robust *robust)
{
    return (_Atomic uint32_t *)(void *)(robust->mutex + word_at);
}

static bool try_libc(struct os_robust *robust)
{
    uint64_t signals;
    os_signals_block(&signals);
    int rc = pthread_mutex_trylock(mutex_of(robust));
    if (rc == EOWNERDEAD)
        rc = pthread_mutex_consistent(mutex_of(robust));
    if (!rc)
        atomic_fetch_or(os_robust_word(robust), FUTEX_WAITERS);
    os_signals_restore(&signals);
    return !rc;
}

static void release_libc(struct os_robust *robust)
{
    uint64_t signals;
    os_signals_block(&signals);
    pthread_mutex_unlock(mutex_of(robust));
    os_signals_restore(&signals);
}

CHILD_PATH bool os_robust_busy(void)
{
    return list && list->pending && !MUTANT(97);
}

CHILD_PATH bool os_robust_try(struct os_robust *robust)
{
    _Atomic uint32_t *word = os_robust_word(robust);
    uint32_t seen = atomic_load(word);
    bool got = false;
    if (os_robust_held(seen) || os_robust_busy())
        return false;
    if (!list)
        return try_libc(robust);
    list->pending = link_of(robust);
    atomic_signal_fence(memory_order_seq_cst);
    while (!os_robust_held(seen) && !got)
        got = atomic_compare_exchange_strong(word, &seen, thread | FUTEX_WAITERS);
    if (got)
        enter(link_of(robust));
    atomic_signal_fence(memory_order_seq_cst);
    list->pending = NULL;
    return got;
}

CHILD_PATH void os_robust_release_for(struct os_robust *robust, bool (*anybody)(void))
{
    if (!list) {
        release_libc(robust);
        return;
    }
    /* Busy is here only a handler that ends the process: what it interrupted will not go on, and the
     * kernel still has to mark it. */
    bool busy = os_robust_busy();
    if (!busy)
        list->pending = link_of(robust);
    atomic_signal_fence(memory_order_seq_cst);
    drop(link_of(robust));
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store(os_robust_word(robust), 0);
    if (!anybody || anybody())
        os_futex_wake(os_robust_word(robust), 1);
    atomic_signal_fence(memory_order_seq_cst);
    if (!busy)
        list->pending = NULL;
}

void os_robust_release(struct os_robust *robust)
{
    os_robust_release_for(robust, NULL);
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

CHILD_PATH bool os_robust_held(uint32_t value)
{
    return (value & FUTEX_TID_MASK) && !(value & FUTEX_OWNER_DIED);
}
