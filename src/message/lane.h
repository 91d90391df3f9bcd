/* message/lane.h - one lane: its memory and its records (see lanes.c).
 *
 * A lane writes into a ring of memory, its newest segment. A record is a header, the bytes, and
 * what fills up to 16; the header behind the last record is zero, and always there is room for
 * it. SKIP leads over a ring's end, LINK into the next segment.
 */
#ifndef SHOAL_LANE_H
#define SHOAL_LANE_H

#include "message/lanes.h"
#include <string.h>

enum { RECORD = 16, AHEAD = 512 /* bytes: what is read, or written, soon */ };
#define READS_ANY 0xffffffffu /* in a record's `reading`, in place of an object's id */
enum { KIND_BYTES = 1, KIND_OBJECT, KIND_SKIP, KIND_LINK };

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

/* ---- memory ---- */

static inline uint64_t segment_size(const struct segment *s)
{
    return (uint64_t)atomic_load_explicit(&s->units, memory_order_relaxed) * UNIT;
}

/* The i-th of the lane's segments, from the oldest on. */
static inline struct segment *oldest(struct lane *lane, unsigned i)
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

/* The segment that a position lies in. (The newest one's place may be empty where older ones are not: who
 * died while he made it, before he led there, has had it given back.) */
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

/* What is read there may be written over meanwhile, which who reads finds out before it uses that. So
 * ThreadSanitizer looks at what was written, and in which order, but not at these reads. */
#ifdef __SANITIZE_THREAD__
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
#else
#define AnnotateIgnoreReadsBegin(file, line) ((void)0)
#define AnnotateIgnoreReadsEnd(file, line) ((void)0)
#endif

/* A signal handler that interrupts a reader does not touch its count, which would say that it has
 * gone on; one that reads in another queue besides says that it may read in any. */
static inline uint64_t reading_begin(uint32_t id)
{
    _Atomic uint64_t *reading = &shoal_thread.record->reading;
    uint64_t was = atomic_load_explicit(reading, memory_order_relaxed);
    uint64_t now = ((was >> 32) + 1) << 32 | (id + 1);
    if (unlikely((uint32_t)was))
        now = (uint32_t)was == id + 1 ? was : was | READS_ANY;
    atomic_store_explicit(reading, now, memory_order_relaxed);
    if (likely(process_self.keep.asymmetric))
        atomic_signal_fence(memory_order_seq_cst);
    else
        atomic_thread_fence(memory_order_seq_cst);
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    return was;
}

/* `was`: what begin gave. */
static inline void reading_end(uint64_t was)
{
    uint64_t now = likely(!(uint32_t)was) ? ((was >> 32) + 2) << 32 : was;
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
    atomic_store_explicit(&shoal_thread.record->reading, now, memory_order_release);
}

/* ---- records ---- */

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
        __builtin_prefetch((const char *)record + 64); /* a short message's second line */
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
static inline bool peek(struct lane *lane, bool bounded, struct found *f)
{
    for (;;) {
        uint64_t head = atomic_load_explicit(&lane->head, memory_order_acquire), at = head;
        uint64_t until =
            bounded ? atomic_load_explicit(&lane->tail, memory_order_acquire) : UINT64_MAX;
        bool any = record_from(lane, &at, until, f);
        atomic_thread_fence(memory_order_acquire);
        if (unlikely(atomic_load_explicit(&lane->head, memory_order_relaxed) != head))
            continue; /* what was read may have been written over */
        f->lane = lane;
        f->head = head;
        return any;
    }
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

/* Whether the lane may be written up to `end`: what lies a ring's length behind it has been taken, and
 * what lies `limit` bytes behind it (0: no limit). */
static inline bool fits(struct lane *lane, const struct segment *s, uint64_t end, uint64_t limit)
{
    if (likely(end <= lane->room_end))
        return true;
    uint64_t head = atomic_load_explicit(&lane->head, memory_order_acquire);
    uint64_t base = atomic_load_explicit(&s->base, memory_order_relaxed);
    lane->room_end = (head > base ? head : base) + segment_size(s);
    if (limit && lane->room_end > head + limit)
        lane->room_end = head + limit;
    return end <= lane->room_end;
}

/* ---- lane.c ---- */

/* Begins another segment, and leads there: for a record of `need` bytes, or a `smaller` one.
 * -ENOSPC: not now; -ENOMEM. */
int lane_grow(struct lane *lane, uint32_t id, uint64_t need, bool smaller);
/* Once a round of a large ring: whether it is hardly used. */
bool lane_too_large(struct lane *lane, const struct segment *s, uint64_t end);
/* Gives back the segments that consumers have left behind. */
void lane_free_drained(struct lane *lane, uint32_t id);
/* Gives back all segments of an empty lane that the caller tends. False: not all, as somebody who is
 * stopped reads there still, or has the units' guard. */
bool lane_free_all(struct lane *lane, uint32_t id);
/* Gives back a segment that the lane's former owner did not come to lead to; false as above. Nobody may go on
 * in the lane then. */
bool lane_free_unlinked(struct lane *lane);

#endif
