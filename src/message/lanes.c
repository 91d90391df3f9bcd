/* First in, first out, of many producers and many consumers.
 *
 * Each producer (a thread) writes into a lane of its own, so that nothing of a half-written message
 * is anybody else's business; consumers look at all lanes and take the oldest message.
 *
 *     put    write header and bytes behind the lane's last record, zero the header behind it, then
 *            store the record's header  == COMMIT (unbounded)
 *     take   find the oldest record; copy it; CAS head: its position -> its end  == COMMIT
 *
 * Who dies before a commit has done nothing that anybody sees; who dies after it has done all but
 * wake others, which the repairer does (docs/design.md 3). Who is stopped is waited for by nobody.
 * A consumer that was slow may have copied what was overwritten meanwhile: then head has moved, its
 * CAS fails and the copy is dropped. Positions never go back, so a CAS cannot mistake.
 *
 * Which is the oldest? If one put has returned before another began, it is taken before it.
 *   One lane: its order. A record that was begun when there was only one lane has stamp 0, and is older
 *   than all others: whoever opens a second lane raises `high` before its first put.
 *   Unbounded, several lanes: a stamp taken during the put (os_stamp). The smallest first. A lane
 *   that was seen empty is looked at again after the candidate was found, until nothing smaller
 *   turns up: what was put before the candidate was begun can be seen by then.
 *   Bounded: stamps are tickets, which also count against maxsize. The ticket word names the lane whose
 *   put is under way, and what it becomes is written down before (next): so taking a ticket == COMMIT,
 *   and whoever meets it moves tail for it (help). All below tail can be taken.
 *
 * Memory. A lane writes into a ring (segment); when it is full, and the lane may grow, into a
 * larger one: a record LINK leads there. What was left behind is given back by who takes the first
 * record beyond it, after a membarrier, if no record's `reading` says that somebody reads in this
 * queue; otherwise a later one gives it back. Runs are named by the segments, which is the truth
 * about them (region/unit.c).
 *
 * Lanes outlive their producers. When the owner is gone a lane is nobody's, with what it holds;
 * the next new producer goes on in it. Tending a lane (settle) finishes what the owner's last put
 * left undone: its words follow from what is visible.
 */
#include "message/lanes.h"
#include "message/message.h"
#include "region/life.h"
#include <limits.h>
#include <string.h>

enum { RECORD = 16, BIG = 256 << 10, SMALL_UNITS = 16 };
enum { KIND_BYTES = 1, KIND_OBJECT, KIND_SKIP, KIND_LINK };
enum { TENDED = 1 /* in an owner word's low byte */ };
enum { PATIENCE = 2000 /* pauses for a reader to go on */, SHORTAGE_SLICE = 10000000 };
#define COUNT_BITS 48
#define COUNT_MASK ((1ull << COUNT_BITS) - 1)
#define LANE_SHIFT 48

/* word: {sequence:32, length:24, kind:8}; 0: nothing here yet. SKIP and LINK: stamp is the position
 * to go on at. */
struct record_header {
    _Atomic uint64_t word;
    uint64_t stamp;
};

static inline uint64_t word_make(uint64_t sequence, size_t length, unsigned kind)
{
    return (sequence & 0xffffffff) << 32 | (uint64_t)length << 8 | kind;
}

static inline size_t word_length(uint64_t word)
{
    return word >> 8 & 0xffffff;
}

static inline uint64_t record_size(size_t length)
{
    return RECORD + ((length + RECORD - 1) & ~(size_t)(RECORD - 1));
}

/* For the most part messages are short, and a call would cost more than the copy. */
static inline void copy(void *to, const void *from, size_t size)
{
    unsigned char *t = to;
    const unsigned char *f = from;
    if (size < 16 || size > 256) {
        if (size)
            memcpy(to, from, size);
        return;
    }
    for (size_t i = 0; i < size - 16; i += 16)
        memcpy(t + i, f + i, 16);
    memcpy(t + size - 16, f + size - 16, 16);
}

/* ---- which lane, which memory ---- */

static inline uint32_t chunk_units(unsigned chunk)
{
    return 1u << 2 * chunk;
}

static inline uint32_t chunk_lanes(unsigned chunk)
{
    return chunk_units(chunk) * UNIT / sizeof(struct lane);
}

/* NULL: there is no such lane yet. */
static inline struct lane *lane_at(struct lanes *q, uint32_t i)
{
    if (likely(i < LANES_FIRST))
        return &q->first[i];
    i -= LANES_FIRST;
    for (unsigned c = 0; c < LANE_CHUNKS; i -= chunk_lanes(c++)) {
        uint32_t payload = atomic_load_explicit(&q->chunks[c], memory_order_acquire);
        if (!payload)
            return NULL;
        if (i < chunk_lanes(c))
            return (struct lane *)(void *)(view.heap + (uint64_t)(payload - 1) * 64) + i;
    }
    return NULL;
}

static inline uint64_t segment_size(const struct segment *s)
{
    return (uint64_t)atomic_load_explicit(&s->units, memory_order_relaxed) * UNIT;
}

/* The i-th of the lane's segments, from the oldest on. */
static struct segment *oldest(struct lane *lane, unsigned i)
{
    return &lane->segments[(atomic_load_explicit(&lane->last, memory_order_acquire) + 1 + i) %
                           LANE_SEGMENTS];
}

static inline struct record_header *record_in(const struct segment *s, uint64_t at)
{
    uint64_t offset =
        (at - atomic_load_explicit(&s->base, memory_order_relaxed)) & (segment_size(s) - 1);
    uint32_t payload = atomic_load_explicit(&s->payload, memory_order_relaxed);
    return (struct record_header *)(void *)(view.heap + (uint64_t)(payload - 1) * 64 + offset);
}

static inline struct segment *newest(struct lane *lane)
{
    return &lane->segments[atomic_load_explicit(&lane->last, memory_order_acquire)];
}

/* The segment that a position lies in. */
static inline struct segment *segment_of(struct lane *lane, uint64_t at)
{
    uint32_t last = atomic_load_explicit(&lane->last, memory_order_acquire);
    for (unsigned i = 0; i < LANE_SEGMENTS; i++) {
        struct segment *s = &lane->segments[(last + LANE_SEGMENTS - i) % LANE_SEGMENTS];
        if (atomic_load_explicit(&s->payload, memory_order_acquire) &&
            atomic_load_explicit(&s->base, memory_order_acquire) <= at)
            return s;
    }
    return NULL;
}

/* ---- reading in memory that others give back ---- */

static inline uint64_t reading_begin(uint32_t id)
{
    _Atomic uint64_t *reading = &shoal_thread.record->reading;
    uint64_t was = atomic_load_explicit(reading, memory_order_relaxed);
    uint64_t now = ((was >> 32) + 1) << 32 | (id + 1);
    if (likely(process_self.keep.asymmetric)) {
        atomic_store_explicit(reading, now, memory_order_relaxed);
        atomic_signal_fence(memory_order_seq_cst);
    } else {
        atomic_exchange(reading, now);
    }
    return was;
}

/* A signal handler leaves what it interrupted as it was, but for the count. */
static inline void reading_end(uint64_t was)
{
    _Atomic uint64_t *reading = &shoal_thread.record->reading;
    uint64_t now = atomic_load_explicit(reading, memory_order_relaxed);
    atomic_store_explicit(reading, ((now >> 32) + 1) << 32 | (uint32_t)was, memory_order_release);
}

static bool record_reads(const struct record *record, uint32_t id)
{
    uint64_t seen = atomic_load(&record->reading);
    for (unsigned i = 0; (uint32_t)seen == id + 1; i++) {
        if (i == PATIENCE)
            return true; /* stopped there */
        os_pause();
        if (atomic_load(&record->reading) != seen)
            break; /* whatever it reads now, it began after us */
    }
    return false;
}

/* Whether anybody may still read what was cut off before this call. */
static bool has_readers(uint32_t id)
{
    if (process_self.keep.asymmetric && !os_membarrier())
        return true;
    atomic_thread_fence(memory_order_seq_cst);
    uint32_t ranges[2][2] = {{1, atomic_load(&view.region->slots_high)},
                             {SLOTS, atomic_load(&view.region->records_high)}};
    for (unsigned k = 0; k < 2; k++)
        for (uint32_t r = ranges[k][0]; r < ranges[k][1]; r++)
            if (record_reads(record_at(r), id))
                return true;
    return false;
}

/* Gives back the segments that consumers have left behind: head has passed their ends, so nobody new
 * gets there. */
static void free_drained(struct lane *lane, uint32_t id)
{
    const struct segment *now = segment_of(lane, atomic_load(&lane->head));
    uint64_t base = now ? atomic_load(&now->base) : 0, bases[LANE_SEGMENTS];
    unsigned n = 0;
    for (unsigned i = 0; i < LANE_SEGMENTS; i++) {
        struct segment *s = &lane->segments[i];
        bases[i] = atomic_load(&s->base);
        n += atomic_load(&s->payload) && bases[i] < base;
    }
    if (!n || has_readers(id))
        return;
    for (unsigned i = 0; i < LANE_SEGMENTS; i++) {
        struct segment *s = &lane->segments[i];
        if (bases[i] < base) /* its owner may have made a new one of it by now */
            unit_free_if(&s->payload, atomic_load(&s->units), &s->base, bases[i]);
    }
}

/* Gives back all segments of an empty lane that the caller tends: first nobody finds them any more,
 * and then nobody reads there. The oldest first: what is left if we die is not mistaken for an
 * older one. False: somebody who is stopped reads there still. */
static bool free_all(struct lane *lane, uint32_t id)
{
    bool any = false;
    for (unsigned i = 0; i < LANE_SEGMENTS; i++) {
        struct segment *s = oldest(lane, i);
        if (atomic_load(&s->payload)) {
            atomic_store(&s->base, BASE_CUT);
            any = true;
        }
    }
    if (any && has_readers(id))
        return false;
    for (unsigned i = 0; i < LANE_SEGMENTS; i++) {
        struct segment *s = oldest(lane, i);
        if (atomic_load(&s->payload))
            unit_free(&s->payload, atomic_load(&s->units));
    }
    return true;
}

/* ---- the oldest record ---- */

struct found {
    struct lane *lane;
    uint64_t head, end; /* what head is, and what it becomes */
    uint64_t word, stamp;
    struct record_header *record;
    bool linked; /* it lies in another segment than what head was */
};

/* The record at `at`, or the first one behind skips and links: false if there is none below
 * `until`. *at moves to it. */
static inline bool record_from(struct lane *lane, uint64_t *at, uint64_t until, struct found *f)
{
    f->linked = false;
    while (*at < until) {
        const struct segment *s = segment_of(lane, *at);
        if (!s)
            return false;
        struct record_header *record = record_in(s, *at);
        uint64_t word = atomic_load_explicit(&record->word, memory_order_acquire);
        unsigned kind = word & 0xff;
        if (kind == KIND_BYTES || kind == KIND_OBJECT) {
            f->record = record;
            f->word = word;
            f->stamp = record->stamp;
            f->end = *at + record_size(word_length(word));
            return true;
        }
        if (!word || record->stamp <= *at)
            return false;
        *at = record->stamp;
        f->linked |= kind == KIND_LINK;
    }
    return false;
}

/* The lane's oldest record, if it has one. While reading. */
static inline bool peek(struct lanes *q, struct lane *lane, struct found *f)
{
    for (;;) {
        uint64_t head = atomic_load_explicit(&lane->head, memory_order_acquire), at = head;
        uint64_t until =
            q->maxsize ? atomic_load_explicit(&lane->tail, memory_order_acquire) : UINT64_MAX;
        bool any = record_from(lane, &at, until, f);
        atomic_thread_fence(memory_order_acquire);
        if (unlikely(atomic_load_explicit(&lane->head, memory_order_relaxed) != head))
            continue; /* what was read may have been written over */
        f->lane = lane;
        f->head = head;
        return any;
    }
}

static bool choose_of_many(struct lanes *q, uint32_t high, struct found *best)
{
    bool any = false, again = true;
    while (again) {
        bool first = !any, empty = false, better = false;
        for (uint32_t i = 0; i < high; i++) {
            struct lane *lane = lane_at(q, i);
            struct found f;
            if (!lane || (any && lane == best->lane))
                continue;
            if (!peek(q, lane, &f)) {
                empty = true;
            } else if (!any || f.stamp < best->stamp) {
                *best = f;
                any = better = true;
            }
        }
        /* Lanes that had something had it before the smallest was found; empty ones are looked at
         * again. */
        again = any && (first ? empty : better);
    }
    return any;
}

/* The oldest message. While reading. */
static inline bool choose(struct lanes *q, struct found *f)
{
    uint32_t high = atomic_load_explicit(&q->high, memory_order_acquire);
    if (likely(high == 1))
        return peek(q, &q->first[0], f);
    return choose_of_many(q, high, f);
}

/* ---- waiting ---- */

typedef int attempt(struct lanes *q, const struct place *p, void *argument);

/* How the calling thread's attempts go. Looking takes the cache line from the one that is about to
 * write to it; so where messages come faster than one by one, who finds none lets some come before
 * it looks again. Where each answers another (run is 0) it looks at once, but for a probe now and
 * then: only by letting some come one learns that they do. */
static _Thread_local struct pace {
    unsigned run; /* attempts that went well since the last wait */
    unsigned waits;
} pace;
enum { STREAM = 2, PROBE = 64, LET_COME = 40 /* pauses, about half a microsecond */ };

static void let_some_come(void)
{
    bool stream = pace.run >= STREAM || ++pace.waits % PROBE == 0;
    pace.run = 0;
    if (stream && !shoal_thread.shares_core && process_self.keep.spin)
        for (int i = 0; i < LET_COME; i++)
            os_pause();
}

/* Tries until it is not -EAGAIN. `slice`: tries again after so many ns without being woken, too. */
static int await(struct lanes *q, const struct place *p, _Atomic uint32_t *event, int64_t deadline,
                 int64_t slice, attempt *try, void *argument)
{
    int rc = -EAGAIN;
    if (deadline == SHOAL_NOW)
        return in_vain(-EAGAIN);
    let_some_come();
    for (struct spin s = spin_begin(); spin_once(&s);)
        if ((rc = try(q, p, argument)) != -EAGAIN)
            return rc;
    struct waiter w;
    rc = wait_begin(&w, p->id);
    if (rc)
        return rc;
    for (;;) {
        uint32_t seen = wait_announce(&w, event);
        rc = try(q, p, argument);
        if (rc != -EAGAIN)
            break;
        int64_t until = slice ? os_now() + slice : INT64_MAX;
        rc = wait_park(&w, event, seen, deadline < until ? deadline : until);
        if (rc && !(rc == -ETIMEDOUT && deadline > until))
            break;
    }
    wait_end(&w);
    return rc;
}

/* After a store that others may wait for. */
static inline void look_for_sleepers(_Atomic uint32_t *event)
{
    if (likely(process_self.keep.asymmetric))
        atomic_signal_fence(memory_order_seq_cst);
    else
        atomic_thread_fence(memory_order_seq_cst);
    if (unlikely(atomic_load_explicit(event, memory_order_relaxed) & SLEEPERS))
        wait_wake_slow(event, 1);
}

/* ---- bounded: tickets ---- */

/* Finishes the put that the ticket word names. */
static void help(struct lanes *q, uint64_t ticket)
{
    struct lane *lane = lane_at(q, (uint32_t)(ticket >> LANE_SHIFT) - 1);
    uint64_t tail = atomic_load(&lane->tail), next = atomic_load(&lane->next);
    if (atomic_load(&q->ticket) != ticket)
        return; /* its owner has gone on: next may speak of another put */
    if (tail < next)
        atomic_compare_exchange_strong(&lane->tail, &tail, next);
    atomic_compare_exchange_strong(&q->ticket, &ticket, ticket & COUNT_MASK);
}

/* How many of the messages that were given tickets up to `ticket` have been taken; never too
 * many. */
static uint64_t taken_until(struct lanes *q, uint32_t id, uint64_t ticket)
{
    uint64_t was = reading_begin(id), least = ticket + 1;
    uint32_t high = atomic_load(&q->high);
    for (uint32_t i = 0; i < high; i++) {
        struct lane *lane = lane_at(q, i);
        struct found f;
        if (lane && peek(q, lane, &f) && f.stamp < least)
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
};

/* Takes tickets for as many of the room's messages as there is place for. */
static int take_tickets(struct lanes *q, const struct place *p, void *argument)
{
    struct commit *c = argument;
    struct lane *lane = c->room->lane;
    for (;;) {
        uint64_t t = atomic_load(&q->ticket);
        if (t >> LANE_SHIFT) {
            help(q, t);
            continue;
        }
        if (atomic_load_explicit(&q->closed, memory_order_relaxed) & LANES_SHUT)
            return -EPIPE;
        if (t - lane->gone >= q->maxsize)
            lane->gone = taken_until(q, p->id, t);
        uint64_t place = t - lane->gone < q->maxsize ? q->maxsize - (t - lane->gone) : 0;
        if (atomic_load(&q->ticket) != t)
            continue;
        if (!place)
            return -EAGAIN;
        unsigned n = place < c->room->count ? (unsigned)place : c->room->count;
        uint64_t end = n == c->room->count ? c->room->end : end_of(c->room, n);
        stamp_records(c->room, t + 1, true);
        uint64_t puts = atomic_load_explicit(&lane->puts, memory_order_relaxed) & COUNT_MASK;
        atomic_store(&lane->puts, (uint64_t)n << COUNT_BITS | (puts + n));
        atomic_store(&lane->next, end);
        uint64_t mine = (uint64_t)(c->room->index + 1) << LANE_SHIFT | (t + n);
        if (!atomic_compare_exchange_strong(&q->ticket, &t, mine)) {
            atomic_store(&lane->puts, puts);
            continue;
        }
        atomic_store(&lane->tail, end);
        atomic_compare_exchange_strong(&q->ticket, &mine, mine & COUNT_MASK);
        atomic_store(&lane->puts, puts + n);
        atomic_store(&lane->write, end);
        c->put = n;
        return 0;
    }
}

/* ---- tending a lane whose owner is gone ---- */

/* A segment that its owner did not come to lead to: nobody has ever got there. */
static void free_unlinked(struct lane *lane)
{
    uint64_t write = atomic_load(&lane->write);
    for (unsigned i = 0; i < LANE_SEGMENTS; i++) {
        struct segment *s = &lane->segments[i];
        uint64_t base = atomic_load(&s->base);
        if (atomic_load(&s->payload) && base > write && base != BASE_CUT)
            unit_free(&s->payload, atomic_load(&s->units));
    }
}

/* What the owner's last put left undone. */
static void settle_puts(struct lanes *q, struct lane *lane)
{
    uint64_t puts = atomic_load(&lane->puts), at = atomic_load(&lane->write);
    uint64_t under_way = puts >> COUNT_BITS;
    struct found f;
    if (q->maxsize) {
        uint64_t t = atomic_load(&q->ticket);
        if (t >> LANE_SHIFT && lane_at(q, (uint32_t)(t >> LANE_SHIFT) - 1) == lane)
            help(q, t);
        uint64_t tail = atomic_load(&lane->tail);
        if (under_way)
            atomic_store(&lane->puts,
                         tail > at ? puts & COUNT_MASK : (puts & COUNT_MASK) - under_way);
        if (tail > at)
            atomic_store(&lane->write, tail);
        return;
    }
    bool visible = record_from(lane, &at, UINT64_MAX, &f);
    if (under_way)
        atomic_store(&lane->puts, visible ? puts & COUNT_MASK : (puts & COUNT_MASK) - under_way);
    for (; visible; visible = record_from(lane, &at, UINT64_MAX, &f))
        at = f.end;
    atomic_store(&lane->write, at);
}

static void settle(struct lanes *q, struct lane *lane)
{
    settle_puts(q, lane);
    free_unlinked(lane);
}

/* Whether a lane that the caller tends, settled, holds no message. */
static bool drained(struct lanes *q, struct lane *lane, uint32_t id)
{
    struct found f;
    uint64_t was = reading_begin(id);
    bool any = peek(q, lane, &f);
    reading_end(was);
    return !any;
}

/* Becomes the one that tends the lane, if its owner is gone. */
static bool tend(struct lane *lane)
{
    owner_t owner = atomic_load(&lane->owner);
    if (owner && !owner_gone(owner & ~0xffull))
        return false;
    return atomic_compare_exchange_strong(&lane->owner, &owner, shoal_thread.me | TENDED);
}

/* An empty lane keeps no memory. False: some cannot be given back yet. */
static bool clear(struct lanes *q, struct lane *lane, uint32_t id)
{
    uint64_t write = atomic_load(&lane->write);
    if (!drained(q, lane, id))
        return true;
    /* beyond links that lead to nothing */
    atomic_store(&lane->head, write);
    if (q->maxsize)
        atomic_store(&lane->tail, write);
    return free_all(lane, id);
}

void lanes_repair(struct lanes *q, const struct place *p)
{
    uint32_t high = atomic_load(&q->high);
    for (uint32_t i = 0; i < high; i++) {
        struct lane *lane = lane_at(q, i);
        if (lane && atomic_load(&lane->owner) && tend(lane)) {
            settle(q, lane);
            clear(q, lane, p->id);
            atomic_store(&lane->owner, 0); /* nobody's, with what it holds */
        }
    }
}

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
        if (i < chunk_lanes(c))
            return unit_alloc_once(&q->chunks[c], chunk_units(c));
    return -ENOSPC;
}

static int new_lane(struct lanes *q, const struct place *p, struct mine *m)
{
    uint32_t high = atomic_load(&q->high);
    for (uint32_t i = 0;; i++) {
        struct lane *lane = lane_at(q, i);
        if (!lane) {
            int rc = more_lanes(q, i);
            if (rc)
                return rc == -ENOSPC ? fail(-ENOSPC, "too many threads put into one queue (%u)", i)
                                     : fail(rc, "no memory for another thread that puts");
            lane = lane_at(q, i);
        }
        owner_t owner = atomic_load(&lane->owner);
        if (owner != shoal_thread.me && !tend(lane))
            continue;
        while (high <= i && !atomic_compare_exchange_weak(&q->high, &high, i + 1))
            ;
        if (owner != shoal_thread.me) {
            settle(q, lane);
            if (!clear(q, lane, p->id)) {
                atomic_store(&lane->owner, 0);
                continue;
            }
            lane->room_end = 0;
            lane->gone = 0;
            atomic_store(&lane->owner, shoal_thread.me);
        }
        *m = (struct mine){q, lane, p->generation, i};
        return 0;
    }
}

/* How large the next segment is, for a record of `need` bytes. */
static uint64_t next_units(const struct segment *now, bool smaller, uint64_t need)
{
    uint64_t units = atomic_load(&now->payload) ? atomic_load(&now->units) : 0;
    units = smaller ? SMALL_UNITS : !units ? 1 : units < 1 << 14 ? units * 4 : units * 2;
    while (units * UNIT < need * 4)
        units *= 2;
    return units;
}

/* Begins another segment, and leads there. -ENOSPC: not now. */
static int grow(struct lane *lane, uint32_t id, uint64_t need, bool smaller)
{
    struct segment *old = newest(lane);
    bool first = !atomic_load(&old->payload);
    struct segment *s = first ? old : oldest(lane, 0);
    uint64_t at = atomic_load(&lane->write), base = first ? at : at + RECORD;
    uint64_t units = next_units(old, smaller, need);
    if (!first && atomic_load(&s->payload))
        free_drained(lane, id);
    if ((!first && atomic_load(&s->payload)) || units > view.at.max_units)
        return -ENOSPC;
    /* Head may stand at a first segment's base already: it is not found before its header is zero. */
    atomic_store(&s->base, first ? BASE_CUT : base);
    atomic_store(&s->units, (uint32_t)units);
    if (unit_alloc(&s->payload, (uint32_t)units))
        return -ENOSPC;
    struct record_header *header = record_in(s, atomic_load(&s->base));
    if (region_populate(header, units * UNIT)) {
        unit_free(&s->payload, (uint32_t)units);
        return fail(-ENOMEM, "no memory for %llu bytes more of a queue",
                    (unsigned long long)units * UNIT);
    }
    atomic_store_explicit(&header->word, 0, memory_order_relaxed);
    atomic_store_explicit(&s->base, base, memory_order_release);
    struct record_header *link = first ? NULL : record_in(old, at);
    atomic_store_explicit(&lane->last, (uint32_t)(s - lane->segments), memory_order_release);
    if (link) {
        link->stamp = base;
        atomic_store_explicit(&link->word, word_make(0, 0, KIND_LINK), memory_order_release);
    }
    atomic_store_explicit(&lane->write, base, memory_order_release);
    lane->room_end = base + segment_size(s);
    return 0;
}

/* Whether the lane may be written up to `end`: what lies a ring's length behind it has been taken. */
static inline bool fits(struct lane *lane, const struct segment *s, uint64_t end)
{
    if (likely(end <= lane->room_end))
        return true;
    uint64_t head = atomic_load_explicit(&lane->head, memory_order_acquire);
    uint64_t base = atomic_load_explicit(&s->base, memory_order_relaxed);
    lane->room_end = (head > base ? head : base) + segment_size(s);
    return end <= lane->room_end;
}

/* Once a round of a large ring: whether it is hardly used. */
static inline bool too_large(struct lane *lane, const struct segment *s, uint64_t end)
{
    return unlikely(end > lane->room_end) && segment_size(s) > BIG &&
           atomic_load(&lane->write) - atomic_load(&lane->head) < segment_size(s) / 16;
}

/* Where a record of `need` bytes would begin if the last one ended at `at`: behind a skip, if it
 * would go over the ring's end. */
static inline uint64_t behind_skip(const struct segment *s, uint64_t at, uint64_t need)
{
    uint64_t offset =
        (at - atomic_load_explicit(&s->base, memory_order_relaxed)) & (segment_size(s) - 1);
    uint64_t rest = segment_size(s) - offset;
    return need > rest ? at + rest : at;
}

struct begin {
    struct room *room;
    struct lane *lane;
    size_t size;
    unsigned kind;
};

/* 0, -EAGAIN: no room now; -EPIPE, -ENOMEM. */
static inline int find_room(struct lanes *q, const struct place *p, void *argument)
{
    struct begin *b = argument;
    struct lane *lane = b->lane;
    uint64_t need = record_size(b->size);
    if (unlikely(atomic_load_explicit(&q->closed, memory_order_acquire) & LANES_SHUT))
        return -EPIPE;
    for (bool smaller = false;;) {
        const struct segment *s = newest(lane);
        uint64_t from = atomic_load_explicit(&lane->write, memory_order_relaxed);
        if (likely(atomic_load_explicit(&s->payload, memory_order_relaxed))) {
            uint64_t at = behind_skip(s, from, need), end = at + need;
            if (unlikely(q->limit)) {
                uint64_t used = from - atomic_load(&lane->head);
                if (used && used + need > q->limit)
                    return -EAGAIN;
            }
            smaller = too_large(lane, s, end + RECORD);
            /* and the header behind it */
            if (likely(need + RECORD <= segment_size(s)) && !smaller &&
                fits(lane, s, end + RECORD)) {
                struct record_header *record = record_in(s, at);
                uint64_t puts = atomic_load_explicit(&lane->puts, memory_order_relaxed);
                *b->room = (struct room){.lane = lane,
                                         .from = from,
                                         .at = at,
                                         .end = end,
                                         .record = at,
                                         .word = word_make(puts, b->size, b->kind),
                                         .bytes = (unsigned char *)(record + 1),
                                         .count = 1};
                return 0;
            }
        }
        int rc = grow(lane, p->id, need + RECORD, smaller);
        if (rc == -ENOSPC && smaller)
            fits(lane, s, UINT64_MAX); /* it stays as it is for another round */
        else if (rc)
            return rc == -ENOSPC ? -EAGAIN : rc;
    }
}

int lanes_begin(struct lanes *q, const struct place *p, struct room *r, size_t size, bool object,
                int64_t deadline)
{
    owner_t me;
    int rc = self(&me);
    if (unlikely(rc))
        return rc;
    if (unlikely(putting == q))
        return fail(-EDEADLK, "a signal handler interrupted a put into this very queue");
    struct mine *m = mine_of(p);
    if (unlikely(m->q != q || m->generation != p->generation ||
                 atomic_load_explicit(&m->lane->owner, memory_order_relaxed) != me)) {
        rc = new_lane(q, p, m);
        if (rc)
            return rc;
    }
    putting = q;
    atomic_signal_fence(memory_order_seq_cst);
    struct begin b = {r, m->lane, size, object ? KIND_OBJECT : KIND_BYTES};
    rc = find_room(q, p, &b);
    if (unlikely(rc == -EAGAIN))
        rc = await(q, p, &q->space, deadline, SHORTAGE_SLICE, find_room, &b);
    if (unlikely(rc)) {
        putting = NULL;
        return rc == -EPIPE ? fail(rc, "nothing is put any more: it was shut") : rc;
    }
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
    if (unlikely(m->q != q || m->generation != p->generation || q->maxsize || q->limit ||
                 putting == q || !me))
        return false;
    struct lane *lane = m->lane;
    if (unlikely(atomic_load_explicit(&lane->owner, memory_order_relaxed) != me ||
                 atomic_load_explicit(&q->closed, memory_order_acquire)))
        return false;
    const struct segment *s = newest(lane);
    uint64_t need = record_size(size),
             at = atomic_load_explicit(&lane->write, memory_order_relaxed);
    uint64_t end = at + need, mask = segment_size(s) - 1;
    uint64_t base = atomic_load_explicit(&s->base, memory_order_relaxed);
    /* Memory is there, for this and the header behind it, and not over the ring's end. */
    if (unlikely(end + RECORD > lane->room_end || ((at - base) & mask) + need > mask))
        return false;
    putting = q;
    atomic_signal_fence(memory_order_seq_cst);
    struct record_header *record = record_in(s, at);
    bool alone = atomic_load_explicit(&q->high, memory_order_acquire) == 1;
    uint64_t puts = atomic_load_explicit(&lane->puts, memory_order_relaxed);
    record->stamp = alone ? 0 : os_stamp(view.region->stamps);
    copy(record + 1, bytes, size);
    atomic_store_explicit(&record_in(s, end)->word, 0, memory_order_relaxed);
    atomic_store_explicit(&lane->puts, 1ull << COUNT_BITS | (puts + 1), memory_order_relaxed);
    atomic_store_explicit(&record->word, word_make(puts, size, KIND_BYTES), memory_order_release);
    atomic_store_explicit(&lane->puts, puts + 1, memory_order_relaxed);
    atomic_store_explicit(&lane->write, end, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
    putting = NULL;
    look_for_sleepers(&q->items);
    return true;
}

int lanes_put(struct lanes *q, const struct place *p, const void *bytes, size_t size,
              int64_t deadline)
{
    struct room r;
    if (likely(put_at_once(q, p, bytes, size)))
        return 0;
    int rc = lanes_begin(q, p, &r, size, false, deadline);
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
    if (q->limit || r->count == UINT16_MAX || need + RECORD > segment_size(s) ||
        !fits(lane, s, at + need + RECORD))
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
        struct commit c = {r, 0};
        atomic_store_explicit(&record->word, r->word, memory_order_relaxed);
        if (r->at != r->from)
            write_skip(s, r);
        rc = take_tickets(q, p, &c);
        if (rc == -EAGAIN)
            rc = await(q, p, &q->space, deadline, 0, take_tickets, &c);
        else
            pace.run++;
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
        atomic_store_explicit(&record->word, r->word, memory_order_release);
        atomic_store_explicit(&lane->puts, puts + r->count, memory_order_relaxed);
        atomic_store_explicit(&lane->write, r->end, memory_order_release);
    }
    atomic_signal_fence(memory_order_seq_cst);
    putting = NULL;
    if (unlikely(rc))
        return rc == -EPIPE ? fail(rc, "nothing is put any more: it was shut") : rc;
    look_for_sleepers(&q->items);
    return 0;
}

/* ---- taking ---- */

struct take {
    unsigned char *buffer;
    size_t capacity, most; /* of bytes, of objects */
    struct taken *ret;
    unsigned n, got;
};

/* Something was taken: room for those who wait for it; who left something wakes the next. */
static inline void after_take(struct lanes *q, const struct place *p, const struct found *f)
{
    wait_wake(&q->space, 1);
    if (unlikely(atomic_load_explicit(&q->items, memory_order_relaxed) & SLEEPERS)) {
        struct found next;
        uint64_t was = reading_begin(p->id);
        bool any = choose(q, &next);
        reading_end(was);
        if (any)
            wait_wake(&q->items, 1);
    }
    if (unlikely(f->linked))
        free_drained(f->lane, p->id);
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
    if (rc) /* another took it, and has closed it */
        return rc == -ESTALE || rc == -EINVAL ? -EAGAIN : rc;
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
    if (!atomic_compare_exchange_strong(&f->lane->head, &f->head, f->end))
        return -EAGAIN;
    *t->ret = (struct taken){.size = size};
    return 0;
}

static inline int take_one(struct lanes *q, const struct place *p, void *argument)
{
    struct take *t = argument;
    struct found f;
    bool shut = atomic_load_explicit(&q->closed, memory_order_acquire) & LANES_SHUT;
    uint64_t was = reading_begin(p->id);
    int rc;
    do {
        if (!choose(q, &f)) {
            rc = shut ? -EPIPE : 0;
            if (!rc)
                rc = -ENOENT;
            break;
        }
        rc = (f.word & 0xff) == KIND_OBJECT ? take_object(&f, t) : take_bytes(&f, t);
    } while (rc == -EAGAIN);
    reading_end(was);
    if (!rc)
        after_take(q, p, &f);
    return rc == -ENOENT ? -EAGAIN : rc;
}

static inline int take_or_wait(struct lanes *q, const struct place *p, int64_t deadline,
                               attempt *try, struct take *t)
{
    owner_t me;
    int rc = self(&me);
    if (unlikely(rc))
        return rc;
    rc = try(q, p, t);
    if (unlikely(rc == -EAGAIN))
        rc = await(q, p, &q->items, deadline, 0, try, t);
    else
        pace.run++;
    if (unlikely(rc == -EPIPE)) {
        wait_wake(&q->items, INT_MAX); /* who shut it may have died before it woke all */
        return fail(rc, "there is nothing any more: it was shut");
    }
    return rc;
}

int lanes_take(struct lanes *q, const struct place *p, void *buffer, size_t capacity, size_t most,
               struct taken *ret, int64_t deadline)
{
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
        if (!peek(q, &q->first[0], &f) || (f.word & 0xff) != KIND_BYTES)
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
            if (unlikely(atomic_load_explicit(&f.lane->head, memory_order_acquire) != f.head))
                break;
        } while (t->got < t->n && record_from(f.lane, &at, until, &next));
        if (!t->got)
            break;
        f.end = end;
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

/* ---- looking ---- */

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
        rc = await(q, p, &q->items, deadline, 0, look, NULL);
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
    bool any = choose(q, &f);
    reading_end(was);
    return any;
}

uint64_t lanes_size(struct lanes *q, const struct place *p)
{
    uint64_t was = reading_begin(p->id), sum = 0;
    uint32_t high = atomic_load(&q->high);
    for (uint32_t i = 0; i < high; i++) {
        struct lane *lane = lane_at(q, i);
        struct found f;
        if (lane && peek(q, lane, &f))
            sum += (uint32_t)atomic_load(&lane->puts) - (uint32_t)(f.word >> 32);
    }
    reading_end(was);
    return sum;
}

uint64_t lanes_puts(struct lanes *q)
{
    uint64_t sum = 0;
    uint32_t high = atomic_load(&q->high);
    for (uint32_t i = 0; i < high; i++) {
        struct lane *lane = lane_at(q, i);
        if (lane)
            sum += atomic_load(&lane->puts) & COUNT_MASK;
    }
    return sum;
}

void lanes_shut(struct lanes *q)
{
    atomic_fetch_or(&q->closed, LANES_SHUT);
    wait_wake(&q->items, INT_MAX);
    wait_wake(&q->space, INT_MAX);
    wait_wake(&q->finished, INT_MAX);
}

bool lanes_holds(struct lanes *q, uint32_t i, uint64_t position)
{
    struct lane *lane = i < atomic_load(&q->high) ? lane_at(q, i) : NULL;
    if (!lane)
        return false;
    /* Committed? Until its owner has noted it, the owner holds it itself. */
    uint64_t end = q->maxsize ? atomic_load(&lane->tail) : atomic_load(&lane->write);
    return position < end && position >= atomic_load(&lane->head);
}

/* ---- for the types ---- */

void lanes_destroy(struct lanes *q, uint32_t slot)
{
    uint32_t high = atomic_load(&q->high);
    for (uint32_t i = 0; i < high; i++) {
        struct lane *lane = lane_at(q, i);
        struct found f;
        if (!lane)
            continue;
        uint64_t at = atomic_load(&lane->head);
        uint64_t until = q->maxsize ? atomic_load(&lane->tail) : UINT64_MAX;
        for (; record_from(lane, &at, until, &f); at = f.end) {
            struct named named;
            memcpy(&named, f.record + 1, sizeof named);
            if ((f.word & 0xff) == KIND_OBJECT)
                object_drop(named.id, named.generation, slot);
        }
        for (unsigned k = 0; k < LANE_SEGMENTS; k++) { /* see free_all */
            struct segment *s = oldest(lane, k);
            if (atomic_load(&s->payload))
                unit_free(&s->payload, atomic_load(&s->units));
        }
    }
    for (unsigned c = LANE_CHUNKS;
         c-- > 0;) /* the last first: lanes are found through all before */
        if (atomic_load(&q->chunks[c]))
            unit_free(&q->chunks[c], chunk_units(c));
}

void lanes_runs(struct lanes *q, void (*visit)(uint32_t payload, uint32_t units, void *argument),
                void *argument)
{
    uint32_t high = atomic_load(&q->high);
    for (unsigned c = 0; c < LANE_CHUNKS; c++)
        if (atomic_load(&q->chunks[c]))
            visit(atomic_load(&q->chunks[c]), chunk_units(c), argument);
    for (uint32_t i = 0; i < high; i++) {
        struct lane *lane = lane_at(q, i);
        for (unsigned k = 0; lane && k < LANE_SEGMENTS; k++)
            if (atomic_load(&lane->segments[k].payload))
                visit(atomic_load(&lane->segments[k].payload),
                      atomic_load(&lane->segments[k].units), argument);
    }
}

_Atomic uint32_t *lanes_event(struct lanes *q, unsigned i)
{
    return i == 1 ? &q->space : i == 2 ? &q->finished : NULL;
}
