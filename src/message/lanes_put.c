/* Putting into lanes: the caller's lane, room in it, tickets, commits (see lanes.c). */
#include "message/lanes_inner.h"
#include <limits.h>

/* ---- the caller's lane ---- */

/* Where the calling thread puts: a hint, believed if the lane, which is there while the queue is of
 * this generation, has the caller for its owner. */
static _Thread_local struct mine {
    struct lanes *q;
    struct lane *lane;
    uint32_t generation, index;
} mine[16];

static _Thread_local const struct lanes *putting; /* what a signal handler may have interrupted */

static inline struct mine *mine_of(const struct place *p)
{
    return &mine[(p->id + p->which * 7) % (sizeof mine / sizeof *mine)];
}

static int more_lanes(struct lanes *q, uint32_t i)
{
    i -= LANES_FIRST;
    for (unsigned c = 0; c < LANE_CHUNKS; i -= chunk_lanes(c++))
        if (i < chunk_lanes(c)) {
            int rc = unit_try_alloc_once(&q->chunks[c], chunk_units(c), UNIT_PATIENCE);
            return rc == -ENOSPC || rc == -EBUSY ? -EAGAIN : rc;
        }
    return -ENOSPC;
}

/* 0; -EAGAIN: no memory for another lane now; -ENOSPC, -ENOMEM. */
static int new_lane(struct lanes *q, const struct place *p, struct mine *m)
{
    uint32_t high = atomic_load(&q->high);
    for (uint32_t i = 0;; i++) {
        struct lane *lane = lane_at(q, i);
        if (!lane) {
            int rc = more_lanes(q, i);
            if (rc)
                return rc == -EAGAIN ? rc
                       : rc == -ENOSPC
                           ? fail(-ENOSPC, "%s: too many threads put into one queue (%u)", p->call,
                                  i)
                           : fail(rc, "%s: no memory for another thread that puts", p->call);
            lane = lane_at(q, i);
        }
        owner_t owner = atomic_load(&lane->owner);
        if (owner != shoal_thread.me && !lanes_tend(lane))
            continue;
        while (high <= i && !atomic_compare_exchange_weak(&q->high, &high, i + 1))
            ;
        if (owner != shoal_thread.me) {
            if (!lanes_settle(q, lane) || !lanes_clear(q, lane, p->id)) {
                atomic_store(&lane->owner, 0);
                continue;
            }
            lane->room_end = 0;
            lane->gone = 0;
            lane->far_end = lane->near_end = lane->far = lane->near = 0;
            atomic_store(&lane->owner, shoal_thread.me);
        }
        *m = (struct mine){q, lane, p->generation, i};
        return 0;
    }
}

static int try_new_lane(struct lanes *q, const struct place *p, void *argument)
{
    return atomic_load(&q->closed) & LANES_SHUT ? -EPIPE : new_lane(q, p, argument);
}

/* After a store that others may wait for. */
static inline void look_for_sleepers(_Atomic uint32_t *event)
{
    if (likely(process_self.keep.asymmetric))
        atomic_signal_fence(memory_order_seq_cst);
    else
        atomic_thread_fence(memory_order_seq_cst);
    if (unlikely(atomic_load_explicit(event, memory_order_relaxed) & (SLEEPERS | ARMED)) &&
        !MUTANT(125))
        wait_wake_slow(event, 1);
}

/* After `puts` says that a put is under way: whether it may be committed. */
static inline bool still_open(struct lanes *q)
{
    if (likely(process_self.keep.asymmetric))
        atomic_signal_fence(memory_order_seq_cst);
    else
        atomic_thread_fence(memory_order_seq_cst);
    return likely(!(atomic_load_explicit(&q->closed, memory_order_acquire) & LANES_SHUT)) ||
           MUTANT(182);
}

/* A put was under way, and met the end: who waits for what it puts, or until that is finished, learns that
 * it does not come. */
static void tell_given_up(struct lanes *q)
{
    if (!MUTANT(191))
        look_for_sleepers(&q->items);
    if (!MUTANT(192))
        wait_wake(&q->finished, INT_MAX);
}

/* ---- bounded: tickets ---- */

/* How many of the messages that were given tickets up to `ticket` have been taken; never too
 * many. */
static uint64_t taken_until(struct lanes *q, uint32_t id, uint64_t ticket)
{
    uint64_t was = reading_begin(id), least = ticket + 1;
    uint32_t high = atomic_load(&q->high);
    for (uint32_t i = 0; i < high; i++) {
        struct lane *lane = lane_at(q, i);
        struct found f;
        if (lane && peek(lane, q->maxsize, &f) && f.stamp < least)
            least = f.stamp;
    }
    reading_end(was);
    return least - 1;
}

/* Writes stamps upwards from `stamp`, or the same for all, into the room's records. */
static void stamp_records(struct room *r, uint64_t stamp, bool rising)
{
    uint64_t at = r->at;
    for (unsigned i = 0; i < r->count; i++) {
        struct record_header *record = record_in(segment_of(r->lane, at), at);
        uint64_t word = i ? atomic_load_explicit(&record->word, memory_order_relaxed) : r->word;
        if ((word & 0xff) == KIND_SKIP) {
            at = record->stamp;
            i--;
            continue;
        }
        record->stamp = stamp + (rising ? i : 0);
        at += record_size(word_length(word));
    }
}

/* The end of the room's first n records. */
static uint64_t end_of(struct room *r, unsigned n)
{
    uint64_t at = r->at;
    for (unsigned i = 0; i < n;) {
        struct record_header *record = record_in(segment_of(r->lane, at), at);
        uint64_t word =
            at == r->at ? r->word : atomic_load_explicit(&record->word, memory_order_relaxed);
        if ((word & 0xff) == KIND_SKIP) {
            at = record->stamp;
            continue;
        }
        at += record_size(word_length(word));
        i++;
    }
    return at;
}

struct commit {
    struct room *room;
    unsigned put;
    bool more; /* there is place for another one */
};

/* Takes tickets for as many of the room's messages as there is place for. */
static int take_tickets(struct lanes *q, const struct place *p, void *argument)
{
    struct commit *c = argument;
    struct lane *lane = c->room->lane;
    for (;;) {
        uint64_t t = atomic_load(&q->ticket);
        if (t >> LANE_SHIFT) {
            lanes_help(q, t);
            continue;
        }
        if (t - lane->gone >= q->maxsize)
            lane->gone = taken_until(q, p->id, t);
        uint64_t place = t - lane->gone < q->maxsize ? q->maxsize - (t - lane->gone) : 0;
        if (atomic_load(&q->ticket) != t)
            continue;
        if (!place)
            return atomic_load(&q->closed) & LANES_SHUT ? -EPIPE : -EAGAIN;
        unsigned n = place < c->room->count ? (unsigned)place : c->room->count;
        uint64_t end = n == c->room->count ? c->room->end : end_of(c->room, n);
        stamp_records(c->room, t + 1, true);
        uint64_t puts = atomic_load_explicit(&lane->puts, memory_order_relaxed) & COUNT_MASK;
        atomic_store(&lane->puts, (uint64_t)n << COUNT_BITS | (puts + n));
        if (!still_open(q)) {
            atomic_store(&lane->puts, puts);
            return -EPIPE;
        }
        if (!MUTANT(124))
            atomic_store(&lane->next, end);
        uint64_t named = (uint64_t)(c->room->index + 1) << LANE_SHIFT | (t + n);
        if (!atomic_compare_exchange_strong(&q->ticket, &t, named)) {
            atomic_store(&lane->puts, puts);
            continue;
        }
        if (MUTANT(124))
            atomic_store(&lane->next, end);
        atomic_store(&lane->tail, end);
        atomic_compare_exchange_strong(&q->ticket, &named, named & COUNT_MASK);
        atomic_store(&lane->puts, puts + n);
        atomic_store(&lane->write, end);
        c->put = n;
        c->more =
            t + n - lane->gone < q->maxsize || (atomic_load(&q->space) & SLEEPERS &&
                                                t + n - taken_until(q, p->id, t + n) < q->maxsize);
        return 0;
    }
}

/* ---- room ---- */

struct begin {
    struct room *room;
    struct lane *lane;
    size_t size;
    const struct named *named;
    bool over; /* there is memory, but as much on its way as may be */
};

/* Whether this much more, up to a record's end, is more than may be on its way. */
static bool over_limit(struct lanes *q, struct lane *lane, uint64_t end, const struct named *named)
{
    uint64_t head = atomic_load_explicit(&lane->head, memory_order_acquire);
    if (end > head + q->limit)
        return true;
    if (!named || MUTANT(181))
        return false;
    if (head >= lane->far_end) /* all of these have been taken */
        lane->far = 0;
    if (head >= lane->near_end)
        lane->near = 0;
    if (!lane->far && lane->near > q->limit / 2) {
        lane->far_end = lane->near_end;
        lane->far = lane->near;
        lane->near = 0;
    }
    uint64_t bytes = lane->far + lane->near;
    return bytes && bytes + named->size > q->limit;
}

/* 0, -EAGAIN: no room now; -EPIPE, -ENOMEM. */
static inline int find_room(struct lanes *q, const struct place *p, void *argument)
{
    struct begin *b = argument;
    struct lane *lane = b->lane;
    uint64_t need = record_size(b->size);
    b->over = false;
    if (unlikely(atomic_load_explicit(&q->closed, memory_order_acquire) & LANES_SHUT))
        return -EPIPE;
    for (bool smaller = false;;) {
        const struct segment *s = newest(lane);
        uint64_t from = atomic_load_explicit(&lane->write, memory_order_relaxed);
        if (likely(atomic_load_explicit(&s->payload, memory_order_relaxed))) {
            uint64_t at = behind_skip(s, from, need), end = at + need;
            if (unlikely(q->limit && (b->named || end + RECORD > lane->room_end)) &&
                over_limit(q, lane, end + RECORD, b->named)) {
                b->over = true;
                return -EAGAIN;
            }
            smaller = lane_too_large(lane, s, end + RECORD);
            /* and the header behind it */
            if (likely(need + RECORD <= segment_size(s)) && !smaller &&
                fits(lane, s, end + RECORD, q->limit)) {
                struct record_header *record = record_in(s, at);
                uint64_t puts = atomic_load_explicit(&lane->puts, memory_order_relaxed);
                *b->room = (struct room){.lane = lane,
                                         .from = from,
                                         .at = at,
                                         .end = end,
                                         .record = at,
                                         .word = word_make(puts, b->size,
                                                           b->named ? KIND_OBJECT : KIND_BYTES),
                                         .bytes = (unsigned char *)(record + 1),
                                         .count = 1};
                if (unlikely(q->limit && b->named)) {
                    lane->near += b->named->size;
                    lane->near_end = end;
                }
                return 0;
            }
        }
        int rc = lane_grow(lane, p->id, need + RECORD, smaller);
        if (unlikely(q->limit))
            lane->room_end = 0; /* it may be nearer than the segment's end */
        if (rc == -ENOSPC && smaller)
            fits(lane, s, UINT64_MAX, q->limit); /* it stays as it is for another round */
        else if (rc)
            return rc == -ENOSPC ? -EAGAIN : rc;
    }
}

/* For who waits until enough has been taken, which is told; -ENOSPC: now it is memory that lacks. */
static int find_room_below(struct lanes *q, const struct place *p, void *argument)
{
    int rc = find_room(q, p, argument);
    return rc == -EAGAIN && !((struct begin *)argument)->over ? -ENOSPC : rc;
}

static int await_room(struct lanes *q, const struct place *p, struct begin *b, int64_t deadline)
{
    int rc;
    do
        rc = b->over ? lanes_await(q, p, &q->space, deadline, 0, find_room_below, b)
                     : lanes_await(q, p, &q->space, deadline, SHORTAGE_SLICE, find_room, b);
    while (rc == -ENOSPC);
    wait_wake(&q->space, 1); /* there may be room for the next one, too */
    return rc;
}

static int put_after_end(const struct place *p)
{
    return fail(-EPIPE, "%s: nothing is put any more: it was shut down", p->call);
}

int lanes_begin(struct lanes *q, const struct place *p, struct room *r, size_t size,
                const struct named *named, int64_t deadline)
{
    owner_t me;
    int rc = self(&me);
    if (unlikely(rc))
        return rc;
    if (unlikely(putting == q))
        return fail(-EDEADLK, "%s: a signal handler interrupted a put into this very queue",
                    p->call);
    struct mine *m = mine_of(p);
    if (unlikely(m->q != q || m->generation != p->generation ||
                 atomic_load_explicit(&m->lane->owner, memory_order_relaxed) != me)) {
        rc = new_lane(q, p, m);
        if (unlikely(rc == -EAGAIN)) {
            rc = lanes_await(q, p, &q->space, deadline, SHORTAGE_SLICE, try_new_lane, m);
            /* it may have been woken for a place, which another can take */
            wait_wake(&q->space, 1);
        }
        if (rc)
            return rc == -EPIPE ? put_after_end(p) : rc;
    }
    const struct lanes *interrupted = putting;
    putting = q;
    atomic_signal_fence(memory_order_seq_cst);
    struct begin b = {r, m->lane, size, named, false};
    rc = find_room(q, p, &b);
    if (unlikely(rc == -EAGAIN))
        rc = await_room(q, p, &b, deadline);
    if (unlikely(rc)) {
        putting = interrupted;
        return rc == -EPIPE ? put_after_end(p) : rc;
    }
    r->interrupted = interrupted;
    r->index = m->index;
    r->stamp = 0;
    if (!q->maxsize && atomic_load_explicit(&q->high, memory_order_acquire) != 1)
        r->stamp = os_stamp(view.region->stamps);
    return 0;
}

/* The same as begin, copy, commit, where there is nothing to wait for and nothing special: most of
 * all puts. */
static inline bool put_at_once(struct lanes *q, const struct place *p, const void *bytes,
                               size_t size)
{
    const struct mine *m = mine_of(p);
    owner_t me = self_known();
    if (unlikely(m->q != q || m->generation != p->generation || q->maxsize || putting == q || !me))
        return false;
    struct lane *lane = m->lane;
    if (unlikely(atomic_load_explicit(&lane->owner, memory_order_relaxed) != me))
        return false;
    const struct lanes *interrupted = putting;
    putting = q; /* before anything is read that a put changes */
    atomic_signal_fence(memory_order_seq_cst);
    const struct segment *s = newest(lane);
    uint64_t need = record_size(size),
             at = atomic_load_explicit(&lane->write, memory_order_relaxed);
    uint64_t end = at + need, mask = segment_size(s) - 1;
    uint64_t base = atomic_load_explicit(&s->base, memory_order_relaxed);
    /* Memory is there, for this and the header behind it, and not over the ring's end. */
    if (unlikely(end + RECORD > lane->room_end || ((at - base) & mask) + need > mask)) {
        putting = interrupted;
        return false;
    }
    struct record_header *record = record_in(s, at);
    bool alone = atomic_load_explicit(&q->high, memory_order_acquire) == 1;
    uint64_t puts = atomic_load_explicit(&lane->puts, memory_order_relaxed);
    record->stamp = alone ? 0 : os_stamp(view.region->stamps);
    copy(record + 1, bytes, size);
    atomic_store_explicit(&record_in(s, end)->word, 0, memory_order_relaxed);
    atomic_store_explicit(&lane->puts, 1ull << COUNT_BITS | (puts + 1), memory_order_relaxed);
    if (!still_open(q)) {
        atomic_store(&lane->puts, puts);
        putting = interrupted;
        tell_given_up(q);
        return false;
    }
    atomic_store_explicit(&record->word, word_make(puts, size, KIND_BYTES),
                          MUTANT(252) ? memory_order_relaxed : memory_order_release);
    atomic_store_explicit(&lane->puts, puts + 1, memory_order_relaxed);
    atomic_store_explicit(&lane->write, end, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
    putting = interrupted;
    look_for_sleepers(&q->items);
    return true;
}

int lanes_put(struct lanes *q, const struct place *p, const void *bytes, size_t size,
              int64_t deadline)
{
    struct room r;
    if (likely(put_at_once(q, p, bytes, size)))
        return 0;
    int rc = lanes_begin(q, p, &r, size, NULL, deadline);
    if (rc)
        return rc;
    copy(r.bytes, bytes, size);
    return lanes_commit(q, p, &r, deadline, NULL);
}

bool lanes_more(struct lanes *q, struct room *r, size_t size)
{
    struct lane *lane = r->lane;
    const struct segment *s = newest(lane);
    uint64_t need = record_size(size), at = behind_skip(s, r->end, need);
    if (r->count == UINT16_MAX || need + RECORD > segment_size(s) ||
        !fits(lane, s, at + need + RECORD, q->limit))
        return false;
    if (at != r->end) {
        struct record_header *skip = record_in(s, r->end);
        skip->stamp = at;
        atomic_store_explicit(&skip->word, word_make(0, 0, KIND_SKIP), memory_order_relaxed);
    }
    struct record_header *record = record_in(s, at);
    uint64_t puts = atomic_load_explicit(&lane->puts, memory_order_relaxed);
    record->stamp = r->stamp;
    atomic_store_explicit(&record->word, word_make(puts + r->count, size, KIND_BYTES),
                          memory_order_relaxed);
    r->record = at;
    r->end = at + need;
    r->bytes = (unsigned char *)(record + 1);
    r->count++;
    return true;
}

/* ---- commit ---- */

/* Leads over the end of the ring to the room's first record. */
static void write_skip(const struct segment *s, struct room *r)
{
    struct record_header *skip = record_in(s, r->from);
    skip->stamp = r->at;
    atomic_store_explicit(&skip->word, word_make(0, 0, KIND_SKIP), memory_order_release);
}

int lanes_commit(struct lanes *q, const struct place *p, struct room *r, int64_t deadline,
                 unsigned *put)
{
    struct lane *lane = r->lane;
    const struct segment *s = newest(lane);
    struct record_header *record = record_in(s, r->at);
    int rc = 0;
    if (put)
        *put = r->count;
    if (q->maxsize) {
        struct commit c = {r, 0, false};
        atomic_store_explicit(&record->word, r->word, memory_order_relaxed);
        if (r->at != r->from)
            write_skip(s, r);
        rc = take_tickets(q, p, &c);
        if (rc == -EAGAIN) {
            rc = lanes_await(q, p, &q->space, deadline, 0, take_tickets, &c);
            c.more |= rc != 0; /* woken, perhaps, for a place that it did not take */
        } else {
            lanes_pace.run++;
        }
        if (c.more && !MUTANT(189))
            wait_wake(&q->space, 1);
        if (put)
            *put = c.put;
    } else {
        uint64_t puts = atomic_load_explicit(&lane->puts, memory_order_relaxed);
        atomic_store_explicit(&record_in(s, r->end)->word, 0, memory_order_relaxed);
        record->stamp = r->stamp;
        if (unlikely(r->at != r->from)) {
            atomic_store_explicit(&record->word, 0, memory_order_relaxed);
            write_skip(s, r);
        }
        /* counted before it can be seen, so that nobody finishes what was not counted */
        atomic_store_explicit(&lane->puts, (uint64_t)r->count << COUNT_BITS | (puts + r->count),
                              memory_order_relaxed);
        if (still_open(q)) {
            atomic_store_explicit(&record->word, r->word, memory_order_release);
            atomic_store_explicit(&lane->puts, puts + r->count, memory_order_relaxed);
            atomic_store_explicit(&lane->write, r->end, memory_order_release);
        } else {
            atomic_store(&lane->puts, puts);
            rc = -EPIPE;
        }
    }
    atomic_signal_fence(memory_order_seq_cst);
    putting = r->interrupted;
    if (!rc)
        look_for_sleepers(&q->items);
    else if (rc == -EPIPE && !MUTANT(193))
        tell_given_up(q);
    return likely(rc != -EPIPE) ? rc : put_after_end(p);
}
