/* Handles of connections and listeners: blocks, their tags, who is inside, forks. */
#include "message/endpoint.h"
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    TAG = ENDPOINT_SIZE - 1,
    INSIDE = (1 << 20) - 1,
    KIND_SHIFT = 20,
    OPEN = 1 << 23,
    TAG_SHIFT = 24,
    BLOCKS = 16, /* made at a time */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* the lists; held over a fork */
static struct endpoint *_Atomic all;
static struct endpoint *unused;
static _Atomic uint32_t forks;

static const struct endpoint_type *type_of(uint32_t word)
{
    return (word >> KIND_SHIFT & 7) == ENDPOINT_CONNECTION ? &connection_type : &listener_type;
}

/* ---- fork ---- */

static void before_fork(void)
{
    pthread_mutex_lock(&mutex);
    atomic_fetch_add(&forks, 1);
}

static void after_fork_parent(void)
{
    pthread_mutex_unlock(&mutex);
}

/* Ends the block: nobody is inside, and it is closed. */
static void end(struct endpoint *e)
{
    uint32_t word = atomic_load(&e->word);
    type_of(word)->end(e);
    uint32_t tag = (word >> TAG_SHIFT) + 1;
    pthread_mutex_lock(&mutex);
    atomic_store(&e->word, tag << TAG_SHIFT);
    e->spare = unused;
    unused = e;
    pthread_mutex_unlock(&mutex);
}

/* Only the calling thread is left. */
static void after_fork_child(void)
{
    pthread_mutex_unlock(&mutex);
    for (struct endpoint *e = all; e; e = e->next) {
        uint32_t word = atomic_load(&e->word);
        if (!(word >> KIND_SHIFT & 7))
            continue;
        atomic_store(&e->word, word & ~(uint32_t)INSIDE);
        type_of(word)->forked(e);
        if (!(word & OPEN))
            end(e);
    }
}

/* ---- blocks ---- */

static void begin(void)
{
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

void endpoint_first_time(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, begin);
}

/* Under the mutex. */
static void more_unused(void)
{
    static_assert(BLOCKS * ENDPOINT_SIZE == 4096,
                  "a page, so that blocks are aligned to their size");
    char *page = mmap(NULL, BLOCKS * ENDPOINT_SIZE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (unsigned i = 0; page != MAP_FAILED && i < BLOCKS; i++) {
        struct endpoint *e = (struct endpoint *)(void *)(page + i * ENDPOINT_SIZE);
        e->spare = unused;
        unused = e;
        e->next = all;
        all = e;
    }
}

struct endpoint *endpoint_new(enum endpoint_kind kind)
{
    endpoint_first_time();
    pthread_mutex_lock(&mutex);
    if (!unused)
        more_unused();
    struct endpoint *e = unused;
    if (e) {
        unused = e->spare;
        memset(e + 1, 0, ENDPOINT_SIZE - sizeof *e);
        e->forks = atomic_load(&forks);
        e->fd = -1;
        uint32_t tag = atomic_load(&e->word) >> TAG_SHIFT;
        atomic_store(&e->word, tag << TAG_SHIFT | OPEN | (uint32_t)kind << KIND_SHIFT);
    }
    pthread_mutex_unlock(&mutex);
    return e;
}

void *endpoint_handle(const struct endpoint *e)
{
    return (void *)((uintptr_t)e | atomic_load(&e->word) >> TAG_SHIFT);
}

/* ---- inside ---- */

static uint32_t open_word(const void *handle, enum endpoint_kind kind)
{
    return (uint32_t)((uintptr_t)handle & TAG) << TAG_SHIFT | OPEN | (uint32_t)kind << KIND_SHIFT;
}

struct endpoint *endpoint_enter(const void *handle, enum endpoint_kind kind, const char *what,
                                int *rc)
{
    struct endpoint *e = (struct endpoint *)((uintptr_t)handle & ~(uintptr_t)TAG);
    if (!e) {
        *rc = fail(-EINVAL, "%s: NULL is not a handle", what);
        return NULL;
    }
    uint32_t word = atomic_load(&e->word);
    do {
        if ((word & ~(uint32_t)INSIDE) != open_word(handle, kind)) {
            *rc = fail(-EBADF, "%s: not an open handle of this kind (closed?)", what);
            return NULL;
        }
    } while (!atomic_compare_exchange_weak(&e->word, &word, word + 1));
    return e;
}

void endpoint_leave(struct endpoint *e)
{
    uint32_t word = atomic_load(&e->word);
    do {
        if (!(word & INSIDE))
            return; /* a signal handler forked inside the call: the child has been put right */
    } while (!atomic_compare_exchange_weak(&e->word, &word, word - 1));
    if (!(word & OPEN) && (word & INSIDE) == 1)
        end(e);
}

bool endpoint_closed(const struct endpoint *e)
{
    return !(atomic_load(&e->word) & OPEN);
}

void endpoint_close(const void *handle, enum endpoint_kind kind)
{
    int rc;
    struct endpoint *e = handle ? endpoint_enter(handle, kind, "close", &rc) : NULL;
    if (!e)
        return;
    uint32_t before = atomic_fetch_and(&e->word, ~(uint32_t)OPEN);
    /* Its end would be the stream's end anyway, unless a child has it too. */
    if ((before & INSIDE) > 1 && e->forks == atomic_load(&forks))
        shutdown(e->fd, SHUT_RDWR);
    endpoint_leave(e);
}

void endpoint_each(enum endpoint_kind kind, void (*visit)(struct endpoint *endpoint))
{
    for (struct endpoint *e = all; e; e = e->next) {
        uint32_t word = atomic_load(&e->word);
        if ((word & OPEN) && (word >> KIND_SHIFT & 7) == (uint32_t)kind)
            visit(e);
    }
}

/* ---- waiting ---- */

bool turn_try(turn_t *turn)
{
    uint32_t nobody = 0;
    return atomic_compare_exchange_strong(turn, &nobody, 1);
}

int turn_take(turn_t *turn, int64_t deadline)
{
    if (turn_try(turn))
        return 0;
    while (atomic_exchange(turn, 2)) {
        if (deadline <= SHOAL_NOW)
            return not_now(deadline);
        int rc = os_futex_wait(turn, 2, deadline);
        if (rc < 0)
            return in_vain(rc);
    }
    return 0;
}

void turn_give(turn_t *turn)
{
    if (atomic_exchange(turn, 0) == 2)
        os_futex_wake(turn, 1);
}

int endpoint_wait(struct pollfd *fds, unsigned n, int64_t deadline)
{
    for (;;) {
        int64_t left = deadline <= SHOAL_NOW ? 0 : deadline - os_now();
        if (left < 0)
            left = 0;
        struct timespec t = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        int ready = ppoll(fds, n, deadline == SHOAL_FOREVER ? NULL : &t, NULL);
        if (ready > 0)
            return ready;
        /* The kernel looks for signals where it would not wait, too; there they mean nothing. */
        if (deadline <= SHOAL_NOW && (!ready || errno == EINTR))
            return not_now(deadline);
        if (!ready && !left)
            return in_vain(-ETIMEDOUT);
        if (ready < 0)
            return errno == EINTR ? in_vain(-EINTR) : fail(-ENOMEM, "poll: %s", strerror(errno));
    }
}
