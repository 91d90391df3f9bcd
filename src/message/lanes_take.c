/* Taking from lanes: the oldest message of all (see lanes.c). */
#include "message/lanes_inner.h"
#include "message/message.h"
#include <limits.h>

/* It grows with each message that is taken. */
static uint64_t sum_of_heads(struct lanes *q, uint32_t high)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < high; i++) {
        struct lane *lane = lane_at(q, i);
        sum += lane ? atomic_load(&lane->head) : 0;
    }
    return sum;
}

/* That there is none was true at the moment when the first lane was looked at, if nothing was taken from the
 * others since; so who finds none counts, and looks once more. */
static bool choose_of_many(struct lanes *q, uint32_t high, struct found *best, bool any)
{
    bool again = true, counted = false;
    uint64_t heads = 0;
    while (again) {
        bool first = !any, empty = false, better = false;
        for (uint32_t i = 0; i < high; i++) {
            struct lane *lane = lane_at(q, i);
            struct found f;
            if (!lane || (any && lane == best->lane))
                continue;
            if (!peek(lane, q->maxsize, &f)) {
                empty = true;
            } else if (!any || f.stamp < best->stamp) {
                *best = f;
                any = better = true;
            }
        }
        /* Lanes that had something had it before the smallest was found; empty ones are looked at
         * again. */
        again = any && (first ? empty : better) && !MUTANT(117);
        if (!any && !MUTANT(187)) {
            uint64_t now = sum_of_heads(q, high);
            again = !counted || now != heads;
            heads = now;
            counted = true;
        }
    }
    return any;
}

/* The oldest message. While reading. */
bool lanes_choose(struct lanes *q, struct found *f)
{
    uint32_t high = atomic_load_explicit(&q->high, memory_order_acquire);
    bool any = high == 1 ? peek(&q->first[0], q->maxsize, f) : choose_of_many(q, high, f, false);
    /* A lane that was opened before the one found was begun may hold an older one; and if none was found,
     * the one that has taken what was here may have put before, into a lane of its own. */
    for (uint32_t now;
         unlikely((now = atomic_load_explicit(&q->high, memory_order_acquire)) != high &&
                  !MUTANT(118));) {
        high = now;
        any = choose_of_many(q, high, f, any);
    }
    return any;
}

struct take {
    unsigned char *buffer;
    size_t capacity, most; /* of bytes, of objects */
    struct taken *ret;
    unsigned n, got;
};

/* Something was taken: room for those who wait for it; who left something wakes the next. */
static inline void after_take(struct lanes *q, const struct place *p, const struct found *f)
{
    if (!MUTANT(126))
        wait_wake(&q->space, 1);
    if (unlikely(atomic_load_explicit(&q->items, memory_order_relaxed) & SLEEPERS)) {
        struct found next;
        uint64_t was = reading_begin(p->id);
        bool any = lanes_choose(q, &next);
        reading_end(was);
        if (any)
            wait_wake(&q->items, 1);
    }
    if (unlikely(f->linked))
        lane_free_drained(f->lane, p->id);
}

/* Takes hold of the object that the record names, then of the record. */
static int take_object(struct found *f, struct take *t)
{
    struct named named;
    void *object;
    memcpy(&named, f->record + 1, sizeof named);
    if (atomic_load(&f->lane->head) != f->head)
        return -EAGAIN;
    if (named.size > t->most) {
        t->ret->size = named.size;
        return -EMSGSIZE;
    }
    int rc = message_open(&object, named.id, named.generation);
    if (rc == -ESTALE ||
        rc == -EINVAL) { /* another took it, and has closed it; or it was dropped where it lay */
        atomic_compare_exchange_strong(&f->lane->head, &f->head, f->end);
        return -EAGAIN;
    }
    if (rc)
        return rc;
    if (!atomic_compare_exchange_strong(&f->lane->head, &f->head, f->end)) {
        object_close(object, TYPE_MESSAGE);
        return -EAGAIN;
    }
    *t->ret = (struct taken){.size = named.size, .object = object};
    return 0;
}

static inline int take_bytes(struct found *f, struct take *t)
{
    size_t size = word_length(f->word);
    if (size > t->capacity) {
        t->ret->size = size;
        return -EMSGSIZE;
    }
    copy(t->buffer, f->record + 1, size);
    if (!MUTANT(122) && !atomic_compare_exchange_strong(&f->lane->head, &f->head, f->end))
        return -EAGAIN;
    if (MUTANT(122))
        atomic_store(&f->lane->head, f->end);
    *t->ret = (struct taken){.size = size};
    return 0;
}

/* Of lanes that are shut, and were found empty: whether nothing can come any more but what is there by
 * now. A dead owner's put does not come, unless it had its ticket; a living one's is waited for. */
static bool nobody_puts(struct lanes *q)
{
    if (process_self.keep.asymmetric)
        os_membarrier();
    atomic_thread_fence(memory_order_seq_cst);
    uint64_t ticket = atomic_load(&q->ticket);
    if (ticket >> LANE_SHIFT && !MUTANT(254))
        lanes_help(q, ticket);
    uint32_t high = atomic_load(&q->high);
    for (uint32_t i = 0; i < high; i++) {
        struct lane *lane = lane_at(q, i);
        if (!lane || !(atomic_load(&lane->puts) >> COUNT_BITS))
            continue;
        owner_t owner = atomic_load(&lane->owner);
        if (owner && !owner_dead(owner & ~0xffull) && !MUTANT(183))
            return false;
    }
    return true;
}

static inline int take_one(struct lanes *q, const struct place *p, void *argument)
{
    struct take *t = argument;
    struct found f;
    bool shut = atomic_load_explicit(&q->closed, memory_order_acquire) & LANES_SHUT;
    uint64_t was = reading_begin(p->id);
    int rc;
    do {
        rc = -ENOENT;
        if (!lanes_choose(q, &f)) {
            if (!shut || !nobody_puts(q))
                break;
            rc = -EPIPE;
            if (!lanes_choose(q, &f))
                break;
        }
        rc = (f.word & 0xff) == KIND_OBJECT ? take_object(&f, t) : take_bytes(&f, t);
    } while (rc == -EAGAIN);
    reading_end(was);
    if (!rc)
        after_take(q, p, &f);
    return rc == -ENOENT ? -EAGAIN : rc;
}

/* After each message that was there at once. */
static inline void pace_on(struct lanes *q, const struct place *p)
{
    struct pace *pace = &lanes_pace;
    if (likely(++pace->run & ((NEAR << pace->vain) - 1)) || lanes_ready(q, p))
        return;
    lanes_let_come();
    if (lanes_ready(q, p))
        pace->vain = 0;
    else if (pace->vain < VAIN)
        pace->vain++;
}

static inline int take_or_wait(struct lanes *q, const struct place *p, int64_t deadline,
                               attempt *try, struct take *t)
{
    owner_t me;
    int rc = self(&me);
    if (unlikely(rc))
        return rc;
    rc = try(q, p, t);
    if (unlikely(rc == -EAGAIN)) {
        rc = lanes_await(q, p, &q->items, deadline, 0, try, t);
        if (rc && !MUTANT(188)) /* woken, perhaps, for what another can take */
            wait_wake(&q->items, 1);
    } else {
        pace_on(q, p);
    }
    if (unlikely(rc == -EPIPE)) {
        wait_wake(&q->items, INT_MAX); /* who shut it may have died before it woke all */
        return fail(rc, "%s: there is nothing any more: it was shut down", p->call);
    }
    return rc;
}

/* The same where there is one lane that has a short message, and nothing special: most of all takes. */
static inline bool take_at_once(struct lanes *q, const struct place *p, void *buffer,
                                size_t capacity, struct taken *ret)
{
    if (unlikely(!self_known() || q->maxsize ||
                 atomic_load_explicit(&q->high, memory_order_relaxed) != 1))
        return false;
    uint64_t was = reading_begin(p->id);
    struct lane *lane = &q->first[0];
    uint64_t head = atomic_load_explicit(&lane->head, memory_order_acquire);
    const struct segment *s = newest(lane);
    if (unlikely(head < atomic_load_explicit(&s->base, memory_order_acquire) ||
                 !atomic_load_explicit(&s->payload, memory_order_acquire)))
        goto no;
    struct record_header *record = record_in(s, head);
    uint64_t word = atomic_load_explicit(&record->word, memory_order_acquire);
    size_t size = word_length(word);
    if (unlikely((word & 0xff) != KIND_BYTES || size > capacity || size > INLINE_MOST ||
                 atomic_load_explicit(&q->high, memory_order_acquire) != 1))
        goto no;
    __builtin_prefetch((const char *)record + AHEAD);
    copy(buffer, record + 1, size);
    if (MUTANT(122))
        atomic_store(&lane->head, head + record_size(size));
    else if (unlikely(
                 !atomic_compare_exchange_strong(&lane->head, &head, head + record_size(size))))
        goto no;
    reading_end(was);
    *ret = (struct taken){.size = size};
    after_take(q, p, &(struct found){.lane = lane});
    return true;
no:
    reading_end(was);
    return false;
}

int lanes_take(struct lanes *q, const struct place *p, void *buffer, size_t capacity, size_t most,
               struct taken *ret, int64_t deadline)
{
    if (likely(take_at_once(q, p, buffer, capacity, ret))) {
        pace_on(q, p);
        return 0;
    }
    struct take t = {.buffer = buffer, .capacity = capacity, .most = most, .ret = ret};
    return take_or_wait(q, p, deadline, take_one, &t);
}

/* Several of one lane in one step, where there is one lane; otherwise one after the other. */
static int take_several(struct lanes *q, const struct place *p, void *argument)
{
    struct take *t = argument;
    struct found f;
    if (atomic_load(&q->high) != 1) {
        struct take one = *t;
        int rc = take_one(q, p, &one);
        t->got = !rc;
        return rc;
    }
    uint64_t was = reading_begin(p->id);
    size_t used = 0;
    for (;;) {
        t->got = 0;
        used = 0;
        if (!peek(&q->first[0], q->maxsize, &f) || (f.word & 0xff) != KIND_BYTES)
            break;
        uint64_t until = q->maxsize ? atomic_load(&f.lane->tail) : UINT64_MAX, at, end = f.head;
        struct found next = f;
        do {
            size_t size = word_length(next.word);
            if ((next.word & 0xff) != KIND_BYTES || size > t->capacity - used)
                break;
            copy(t->buffer + used, next.record + 1, size);
            used += size;
            t->ret[t->got++] = (struct taken){.size = size};
            end = at = next.end;
            f.linked |= next.linked;
            if (unlikely(atomic_load_explicit(&f.lane->head, memory_order_acquire) != f.head))
                break;
        } while (t->got < t->n && record_from(f.lane, &at, until, &next));
        if (!t->got)
            break;
        f.end = end;
        if (unlikely(atomic_load(&q->high) != 1 &&
                     !MUTANT(119))) { /* older ones elsewhere, perhaps */
            t->got = 0;
            break;
        }
        if (atomic_compare_exchange_strong(&f.lane->head, &f.head, end))
            break;
    }
    reading_end(was);
    if (t->got) {
        after_take(q, p, &f);
        return 0;
    }
    struct take one = *t; /* an object, one that is too long, nothing */
    int rc = take_one(q, p, &one);
    t->got = !rc;
    return rc;
}

int lanes_take_many(struct lanes *q, const struct place *p, void *buffer, size_t capacity,
                    struct taken ret[], unsigned n, int64_t deadline)
{
    struct take t = {buffer, capacity, capacity, ret, n, 0};
    int rc = take_or_wait(q, p, deadline, take_several, &t);
    if (rc)
        return rc;
    while (t.got < n && atomic_load(&q->high) != 1) { /* what else there is now */
        size_t used = 0;
        for (unsigned i = 0; i < t.got; i++)
            used += ret[i].size;
        size_t rest = capacity - used;
        struct take one = {(unsigned char *)buffer + used, rest, rest, &ret[t.got], 1, 0};
        struct taken none = ret[t.got];
        if (ret[t.got - 1].object || take_one(q, p, &one)) {
            ret[t.got] = none;
            break;
        }
        t.got++;
    }
    return (int)t.got;
}

static int look(struct lanes *q, const struct place *p, void *argument)
{
    (void)argument;
    return lanes_ready(q, p) ? 0 : -EAGAIN;
}

int lanes_poll(struct lanes *q, const struct place *p, int64_t deadline)
{
    owner_t me;
    int rc = self(&me);
    if (rc)
        return rc;
    rc = look(q, p, NULL);
    if (rc == -EAGAIN)
        rc = lanes_await(q, p, &q->items, deadline, 0, look, NULL);
    /* It was woken, perhaps, and takes nothing: another may. */
    if (!rc)
        wait_wake(&q->items, 1);
    return rc;
}

bool lanes_ready(struct lanes *q, const struct place *p)
{
    struct found f;
    if (atomic_load_explicit(&q->closed, memory_order_acquire) & LANES_SHUT)
        return true;
    uint64_t was = reading_begin(p->id);
    bool any = lanes_choose(q, &f);
    reading_end(was);
    return any;
}
