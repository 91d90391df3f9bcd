/* Last in, first out; smallest first: an array of messages under a lock.
 *
 * Every message is an object of its own (message/message.h), and its body says whether it is in a
 * queue. That is the truth; each commit is one store there:
 *
 *     put   fill in a message; take the lock; name it behind the array's last one;
 *           message.queue = this queue  == COMMIT; move it to its place; count it
 *     take  take the lock; choose; hold the message; message.queue = 0  == COMMIT; close the gap
 *
 * The array only names messages, by id and generation, and each that is in the queue is named in it at
 * every moment: while names are moved the one that is not in its place yet stands behind the others
 * too, and nothing is written over but what stands elsewhere. So whoever takes the lock from a
 * dead owner looks at all names (two more than were counted), drops those whose message is not in
 * this queue and those that stand there twice, and puts the rest in order anew (rebuild). A name may
 * be of anything: it counts if the object of that id and generation says that it is in this queue.
 *
 * SHOAL_LIFO: the array is a stack. SHOAL_PRIORITY: a binary heap, the smallest first, and of equals
 * the one of the lower sequence number. What is compared are bytes, a message's own or the key of an
 * any (message/any_order.c), which stands behind it; so nothing fails while a heap is put in order.
 * Which values have an order between them is asked in put, of the first and of those that the
 * message passes on its way.
 *
 * Who waits for a message or a place does so without the lock, and passes on what it was woken for
 * and did not take.
 */
#include "message/heap.h"
#include "message/any_order.h"
#include "message/lanes_inner.h"
#include "message/message.h"
#include "message/pickle.h"
#include <limits.h>

enum {
    NAMES = UNIT / sizeof(uint64_t), /* in a unit */
    SPARE = 2                        /* names behind the counted: one under way, and again */
};
#define PATIENCE 100000000 /* ns for who is inside, where a call is not to wait */

/* A message's name: {generation:32, id:32}. */
static uint64_t name_make(uint32_t id, uint32_t generation)
{
    return (uint64_t)generation << 32 | id;
}

static struct header *named(uint64_t name)
{
    return header_at((uint32_t)name);
}

static _Atomic uint64_t *array_of(struct heap *q, unsigned run)
{
    uint32_t payload = atomic_load_explicit(&q->runs[run].payload, memory_order_relaxed);
    return (_Atomic uint64_t *)(void *)(view.heap + (uint64_t)(payload - 1) * 64);
}

static uint64_t capacity_of(struct heap *q)
{
    unsigned now = atomic_load(&q->now);
    return atomic_load(&q->runs[now].payload) ? (uint64_t)atomic_load(&q->runs[now].units) * NAMES
                                              : 0;
}

/* How many names there may be in the array. */
static uint64_t names_of(struct heap *q)
{
    uint64_t n = atomic_load(&q->count) + SPARE, capacity = capacity_of(q);
    return n < capacity ? n : capacity;
}

static uint64_t get(_Atomic uint64_t *array, uint64_t i)
{
    return atomic_load_explicit(&array[i], memory_order_relaxed);
}

/* In the order in which they are written, whenever we die. */
static void set(_Atomic uint64_t *array, uint64_t i, uint64_t name)
{
    atomic_store_explicit(&array[i], name, memory_order_release);
}

static bool is_sorted(const struct place *p)
{
    return heap_kind(p->header) == SHOAL_PRIORITY;
}

/* ---- order ---- */

struct key {
    const unsigned char *at;
    size_t size;
    bool any; /* made of one */
};

static struct key key_of(uint64_t name)
{
    const struct header *h = named(name);
    const struct message *m = message_body(h);
    const unsigned char *at = header_payload(h);
    return m->key ? (struct key){at + h->size, m->key, true} : (struct key){at, h->size, false};
}

/* Whether message a comes out before b. */
static bool before(uint64_t a, uint64_t b)
{
    struct key k = key_of(a), l = key_of(b);
    size_t size = k.size < l.size ? k.size : l.size;
    int way = size ? memcmp(k.at, l.at, size) : 0;
    if (way || k.size != l.size)
        return way ? way < 0 : k.size < l.size;
    return message_body(named(a))->sequence < message_body(named(b))->sequence;
}

static bool apart(uint64_t a, uint64_t b, const char *what[2])
{
    struct key k = key_of(a), l = key_of(b);
    if (k.any && l.any)
        return any_keys_apart(k.at, k.size, l.at, l.size, what);
    what[0] = k.any ? "an any" : "plain bytes";
    what[1] = l.any ? "an any" : "plain bytes";
    return k.any != l.any;
}

/* Where among the n in the heap a new one goes: -EINVAL if it cannot be told. */
static int find_place(struct heap *q, const struct place *p, uint64_t name, uint64_t n,
                      uint64_t *ret)
{
    _Atomic uint64_t *array = array_of(q, q->now);
    const char *what[2] = {"", ""};
    bool never = n && apart(name, get(array, 0), what);
    for (*ret = n; *ret && !never; *ret = (*ret - 1) / 2) {
        uint64_t above = get(array, (*ret - 1) / 2);
        never = apart(name, above, what);
        if (!never && !before(name, above))
            break;
    }
    return never ? fail(-EINVAL, "%s: %s cannot be compared with %s, which is in the queue",
                        p->call, what[0], what[1])
                 : 0;
}

/* Moves down from n what lies on the way up to `to`, and puts the name there. It stands behind. */
static void move_up(_Atomic uint64_t *array, uint64_t name, uint64_t n, uint64_t to)
{
    for (; n > to; n = (n - 1) / 2)
        set(array, n, get(array, (n - 1) / 2));
    set(array, to, name);
}

/* Puts the name where it belongs, below the gap at i. It stands behind the n that are in order. */
static void move_down(_Atomic uint64_t *array, uint64_t name, uint64_t n, uint64_t i)
{
    for (uint64_t child; (child = i * 2 + 1) < n; i = child) {
        if (child + 1 < n && before(get(array, child + 1), get(array, child)))
            child++;
        if (!before(get(array, child), name))
            break;
        set(array, i, get(array, child));
    }
    set(array, i, name);
}

/* ---- the array's memory ---- */

/* What one who died had not come to give back, or not come to move to. It stays, beside a process that is
 * stopped while it holds the units' guard. */
static void free_other(struct heap *q)
{
    unsigned other = !q->now;
    if (atomic_load(&q->runs[other].payload))
        unit_try_free(&q->runs[other].payload, atomic_load(&q->runs[other].units));
}

/* Moves the array to a run of so many units: 0, -ENOSPC (the region has none now) or -ENOMEM. The others wait
 * for the queue's lock meanwhile. */
static int resize(struct heap *q, uint32_t units)
{
    unsigned now = q->now, other = !now;
    uint64_t n = names_of(q);
    if (!MUTANT(155)) /* what a dead one left, or what could not be given back */
        free_other(q);
    if (atomic_load(&q->runs[other].payload))
        return -ENOSPC;
    atomic_store(&q->runs[other].units, units);
    int rc = unit_try_alloc(&q->runs[other].payload, units, UNIT_HURRY);
    if (rc)
        return rc == -EBUSY ? -ENOSPC : rc;
    _Atomic uint64_t *to = array_of(q, other);
    if (region_populate(to, (size_t)units * UNIT)) {
        free_other(q);
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < n; i++)
        set(to, i, get(array_of(q, now), i));
    atomic_store(&q->now, other);
    free_other(q);
    return 0;
}

static int make_room(struct heap *q, const struct place *p, uint64_t n)
{
    uint64_t capacity = capacity_of(q);
    if (n + SPARE <= capacity)
        return 0;
    int rc = resize(q, capacity ? (uint32_t)(capacity / NAMES) * 2 : 1);
    return rc ? fail(rc, "%s: no memory for more than %llu messages", p->call,
                     (unsigned long long)n)
              : 0;
}

/* An array of which little is used becomes a smaller one, if there is memory for that. */
static void shrink(struct heap *q, uint64_t n)
{
    uint64_t capacity = capacity_of(q);
    if (capacity > NAMES && n + SPARE <= capacity / 8)
        resize(q, (uint32_t)(capacity / NAMES) / 2);
}

/* ---- the lock ---- */

/* The message of this name, if it is in the queue that has this id and generation. */
static struct message *in_queue(uint64_t name, uint32_t id, uint32_t generation)
{
    if ((uint32_t)name >= atomic_load(&view.region->groups_high) * GROUP)
        return NULL;
    const struct header *h = named(name);
    uint64_t s = atomic_load(&h->state);
    struct message *m = message_body(h);
    if (state_status(s) != OBJECT_LIVE || state_generation(s) != name >> 32 ||
        h->type != TYPE_MESSAGE || atomic_load(&m->queue) != id + 1 ||
        atomic_load(&m->generation) != generation)
        return NULL;
    return m;
}

/* After a death under the lock. It may end at any step and be done again: names are written over only
 * when they stand further to the front, or are dropped. */
static void rebuild(struct heap *q, const struct place *p)
{
    uint64_t names = names_of(q), n = 0, puts = q->puts;
    _Atomic uint64_t *array = names ? array_of(q, q->now) : NULL;
    for (uint64_t i = 0; i < names; i++) {
        uint64_t name = get(array, i);
        struct message *m = in_queue(name, p->id, p->generation);
        if (!m || (m->index < n && get(array, m->index) == name && !MUTANT(152)))
            continue;
        puts = m->sequence > puts ? m->sequence : puts;
        m->index = (uint32_t)n;
        set(array, n++, name);
    }
    for (uint64_t i = n / 2; is_sorted(p) && !MUTANT(153) && i-- > 0;) {
        uint64_t name = get(array, i);
        if (!MUTANT(154))
            set(array, n, name); /* behind them: there is room for SPARE more than there were */
        move_down(array, name, n, i);
    }
    atomic_store(&q->count, n);
    atomic_store(&q->puts, puts);
    if (!MUTANT(155))
        free_other(q);
}

static int lock(struct heap *q, const struct place *p, int64_t deadline)
{
    owner_t me, dead;
    int rc = self(&me);
    if (unlikely(rc) || likely(owner_try(&q->owner, me)))
        return rc;
    if (atomic_load(&q->owner) == me)
        return fail(-EDEADLK, "%s: a signal handler interrupted a call for this very queue",
                    p->call);
    int64_t until = deadline > SHOAL_NOW ? deadline : os_now() + PATIENCE;
    rc = owner_acquire_slow(&q->owner, &q->event, p->id, me, until, &dead);
    if (rc == SHOAL_OWNER_DIED) {
        if (!MUTANT(150))
            rebuild(q, p);
        return 0;
    }
    return rc == -ETIMEDOUT && until != deadline ? not_now(deadline) : rc;
}

static void unlock(struct heap *q)
{
    owner_release(&q->owner, &q->event);
}

/* ---- waiting ---- */

/* For the region to have room (again: at the soonest at `from`), and what else one waits for. */
struct awaited {
    struct heap *heap;
    int64_t from;
};

static bool has_place(struct heap *q)
{
    return !q->maxsize || atomic_load(&q->count) < q->maxsize;
}

static int await_items(struct lanes *none, const struct place *p, void *argument)
{
    struct heap *q = ((struct awaited *)argument)->heap;
    (void)none;
    (void)p;
    return atomic_load(&q->count) || atomic_load(&q->closed) ? 0 : -EAGAIN;
}

static int await_place(struct lanes *none, const struct place *p, void *argument)
{
    const struct awaited *a = argument;
    struct heap *q = a->heap;
    (void)none;
    (void)p;
    bool again = has_place(q) && (!a->from || os_now() >= a->from);
    return again || atomic_load(&q->closed) ? 0 : -EAGAIN;
}

/* Does what is to be done under the lock; waits and does it again as long as it is -EAGAIN, or -ENOSPC:
 * the region is full. */
static int under_lock(struct heap *q, const struct place *p, int64_t deadline,
                      int (*act)(struct heap *q, const struct place *p, void *argument),
                      void *argument, _Atomic uint32_t *event, attempt *may)
{
    int rc;
    for (;;) {
        rc = lock(q, p, deadline);
        if (unlikely(rc))
            break;
        rc = act(q, p, argument);
        unlock(q);
        if (likely(rc != -EAGAIN && rc != -ENOSPC))
            break;
        int64_t slice = rc == -ENOSPC ? SHORTAGE_SLICE : 0;
        struct awaited a = {q, slice ? os_now() + slice : 0};
        rc = lanes_await(NULL, p, event, deadline, slice, may, &a);
        if (rc)
            break;
    }
    if (atomic_load(&q->count) && !MUTANT(156))
        wait_wake(&q->items, 1);
    if (q->maxsize && has_place(q))
        wait_wake(&q->space, 1);
    const void *handle = (unsigned char *)&handles[p->id] + (p->generation & TAG_MASK);
    return waited(rc, p->call, handle, TYPE_QUEUE, deadline);
}

/* ---- put ---- */

static int put(struct heap *q, const struct place *p, void *message)
{
    struct handle *handle = handle_of(message);
    struct message *m = message_body(handle->header);
    uint64_t n = atomic_load(&q->count), to = n;
    uint64_t name = name_make(header_id(handle->header), handle->generation);
    if (atomic_load(&q->closed))
        return fail(-EPIPE, "%s: nothing is put any more: it was shut down", p->call);
    if (!has_place(q))
        return -EAGAIN;
    m->sequence = q->puts + 1;
    int rc = make_room(q, p, n);
    if (!rc && is_sorted(p))
        rc = find_place(q, p, name, n, &to);
    if (rc)
        return rc;
    _Atomic uint64_t *array = array_of(q, q->now);
    atomic_store(&m->generation, p->generation);
    set(array, n, name);
    if (to != n && !MUTANT(151))
        set(array, n + 1, name); /* behind, while its place is made */
    /* others may hold it as soon as it can be seen */
    atomic_store_explicit(&handle->shared, 1, memory_order_relaxed);
    atomic_store(&m->queue, p->id + 1);
    move_up(array, name, n, to);
    atomic_store(&q->puts, q->puts + 1);
    atomic_store(&q->count, n + 1);
    object_close(message, TYPE_MESSAGE); /* before anybody can take it: it is the queue's */
    return 0;
}

int heap_put(struct heap *q, const struct place *p, void *message, int64_t deadline)
{
    return under_lock(q, p, deadline, put, message, &q->space, await_place);
}

static int put_or_close(struct heap *q, const struct place *p, void *message, int64_t deadline)
{
    int rc = heap_put(q, p, message, deadline);
    if (rc)
        object_close(message, TYPE_MESSAGE);
    return rc;
}

int heap_put_bytes(struct heap *q, const struct place *p, const void *bytes, size_t size,
                   int64_t deadline)
{
    void *message;
    unsigned char *at;
    struct shortage shortage = {p, &q->space, &q->closed, deadline};
    int rc = message_create(&message, size, 0, &shortage, &at);
    if (rc)
        return rc;
    if (size)
        memcpy(at, bytes, size);
    return put_or_close(q, p, message, deadline);
}

int heap_put_any(struct heap *q, const struct place *p, const shoal_any *any, int64_t deadline)
{
    size_t key = is_sorted(p) ? any_key(any, NULL) : 0;
    void *message;
    unsigned char *behind;
    if (key > UINT32_MAX)
        return fail(-EMSGSIZE, "%s: what it is compared by has %zu bytes", p->call, key);
    struct shortage shortage = {p, &q->space, &q->closed, deadline};
    int rc = message_encode(&message, any, key, &shortage, &behind);
    if (rc)
        return rc;
    if (key)
        any_key(any, behind);
    return put_or_close(q, p, message, deadline);
}

/* ---- take ---- */

struct take {
    size_t most;
    struct taken *ret;
};

static int take(struct heap *q, const struct place *p, void *argument)
{
    const struct take *t = argument;
    void *object;
    uint64_t n = atomic_load(&q->count);
    if (!n && atomic_load(&q->closed)) {
        wait_wake(&q->items, INT_MAX); /* who shut it may have died before it woke all */
        return fail(-EPIPE, "%s: there is nothing any more: it was shut down", p->call);
    }
    if (!n)
        return -EAGAIN;
    _Atomic uint64_t *array = array_of(q, q->now);
    uint64_t name = get(array, is_sorted(p) ? 0 : n - 1);
    struct header *h = named(name);
    if (h->size > t->most) {
        t->ret->size = h->size;
        return -EMSGSIZE;
    }
    int rc = message_open(&object, (uint32_t)name, (uint32_t)(name >> 32));
    if (rc)
        return rc;
    atomic_store(&message_body(h)->queue, 0);
    if (is_sorted(p) && n > 1)
        move_down(array, get(array, n - 1), n - 1, 0);
    atomic_store(&q->count, n - 1);
    shrink(q, n - 1);
    *t->ret = (struct taken){.size = h->size, .object = object};
    return 0;
}

int heap_take(struct heap *q, const struct place *p, size_t most, struct taken *ret,
              int64_t deadline)
{
    struct take t = {most, ret};
    return under_lock(q, p, deadline, take, &t, &q->items, await_items);
}

void heap_shut(struct heap *q, uint32_t how)
{
    atomic_fetch_or(&q->closed, how);
    wait_wake(&q->items, INT_MAX);
    wait_wake(&q->space, INT_MAX);
    wait_wake(&q->finished, INT_MAX);
}

/* ---- for the type ---- */

bool heap_ready(struct heap *q)
{
    return atomic_load(&q->count) || atomic_load(&q->closed);
}

/* Who died under the lock is succeeded at once, so that what it had put is counted. */
void heap_repair(struct heap *q, const struct place *p)
{
    owner_t owner = atomic_load(&q->owner);
    if (!owner || !owner_gone(owner) ||
        !atomic_compare_exchange_strong(&q->owner, &owner, shoal_thread.me))
        return;
    if (!MUTANT(150))
        rebuild(q, p);
    unlock(q);
}

void heap_destroy(struct heap *q, const struct place *p, uint32_t slot)
{
    uint64_t names = names_of(q);
    for (uint64_t i = 0; i < names; i++) {
        uint64_t name = get(array_of(q, q->now), i);
        if (in_queue(name, p->id, p->generation))
            object_drop((uint32_t)name, (uint32_t)(name >> 32), slot);
    }
    for (unsigned i = 0; i < 2; i++)
        if (atomic_load(&q->runs[i].payload))
            unit_free(&q->runs[i].payload, atomic_load(&q->runs[i].units));
}

void heap_runs(struct heap *q, void (*visit)(uint32_t payload, uint32_t units, void *argument),
               void *argument)
{
    for (unsigned i = 0; i < 2; i++)
        if (atomic_load(&q->runs[i].payload))
            visit(atomic_load(&q->runs[i].payload), atomic_load(&q->runs[i].units), argument);
}

_Atomic uint32_t *heap_event(struct heap *q, unsigned i)
{
    return i == 1 ? &q->space : i == 2 ? &q->finished : i == 3 ? &q->event : NULL;
}

/* ---- inspection ---- */

void heap_describe(struct description *d, const struct header *h)
{
    struct heap q;
    if (!look_payload(d->look, h, 0, &q, sizeof q))
        return;
    describe_number(d, "size", atomic_load(&q.count));
    if (q.maxsize)
        describe_number(d, "maxsize", q.maxsize);
    if (atomic_load(&q.closed))
        describe_flag(d, "closed", true);
    describe_flag(d, heap_kind(h) == SHOAL_LIFO ? "lifo" : "priority", true);
}
