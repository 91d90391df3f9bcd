/* csp/channel.h - a channel in shared memory: its state, who waits there, and its ends. */
#ifndef SHOAL_CHANNEL_H
#define SHOAL_CHANNEL_H

#include "csp/party.h"
#include "message/lanes.h"
#include "region/look.h"
#include "region/object.h"
#include <shoal/csp.h>

enum side { READER, WRITER };

/* An offer: a party that may be met here.
 *   offer    0: none, or {sequence:32, party:16, guard:12, …, 1}; CAS 0 -> mine, and back to 0 by its party or, when
 *            that has gone on, by anybody
 *   stamp    since when; by the party, before its word is WAITING, as what
 *   what     READER: how long a message may be. WRITER: where its message lies: {generation:32, 1, object:31}, or
 *            {0, box} */
struct cell {
    _Atomic uint64_t offer, stamp, what;
};
static inline uint64_t offer_make(uint32_t sequence, uint32_t party, uint32_t guard)
{
    return (uint64_t)sequence << 32 | party << 16 | guard << 4 | 1;
}
static inline uint32_t offer_number(uint64_t offer)
{
    return (uint32_t)(offer >> 16) & (PARTIES - 1);
}
static inline struct party *offer_party(uint64_t offer)
{
    return party_at(offer_number(offer));
}
static inline uint32_t offer_guard(uint64_t offer)
{
    return (uint32_t)(offer >> 4) & (GUARDS - 1);
}
#define WHAT_OBJECT (1ull << 31) /* what names an object of a message; its number is below that */

/* Of each side a cell, and the name of an end, {generation:32, id + 1:32}: CAS 0 -> name, and back
 * when the end is over. In one line, since in the first row one side writes what the other reads next. */
struct row {
    _Alignas(64) struct cell cells[2];
    _Atomic uint64_t ends[2];
};
static_assert(sizeof(struct row) == 64, "one cache line");

/*   state       CHANNEL_…; bits are set, never cleared
 *   cells, ends  of each side: those below it have been used; grow before that
 *   alternates  buffered, of each side: 1: somebody may wait here who is to be poked; 2: and everybody sees it. Only grows
 *   memory      eventcount: who waits for room in the region
 *   chunks      runs of further rows
 *   round       of a barrier, see barrier.c */
enum { CHANNEL_CHUNKS = 4, ROWS_FIRST = 7 };
struct channel {
    _Alignas(64) _Atomic uint32_t state;
    _Atomic uint32_t cells[2], ends[2];
    _Atomic uint32_t alternates[2];
    _Atomic uint32_t memory, closed;
    _Atomic uint32_t chunks[CHANNEL_CHUNKS];
    uint32_t unused;
    _Atomic uint64_t round;
    struct row first[ROWS_FIRST];
};
static_assert(sizeof(struct channel) == 512, "a size class of its own");
enum {
    CHANNEL_NO_READERS = 1, /* the last end of a side is over */
    CHANNEL_NO_WRITERS = 2,
    CHANNEL_POISONED = 4,       /* at once */
    CHANNEL_POISONED_BEHIND = 8 /* when the buffer has been read */
};

/* Of a channel. Constant. With a buffer lanes come first in the payload. */
struct channel_body {
    uint32_t buffered, barrier;
};
static_assert(sizeof(struct channel_body) <= BODY, "fits in the header");

/* Of an end; constant but for retired and arrived.
 *   arrived  of a barrier's: by who uses it, in which round, + 1 */
struct end_body {
    uint32_t channel, generation;
    uint32_t side;
    _Atomic uint32_t retired, arrived;
};
static_assert(sizeof(struct end_body) <= BODY, "fits in the header");

static inline struct end_body *end_body(const struct header *h)
{
    return (struct end_body *)(uintptr_t)h->body;
}
static inline bool channel_buffered(const struct header *h)
{
    return ((const struct channel_body *)(const void *)h->body)->buffered;
}
static inline bool channel_barrier(const struct header *h)
{
    return ((const struct channel_body *)(const void *)h->body)->barrier;
}
static inline struct lanes *channel_lanes(const struct header *h)
{
    return header_payload(h);
}
static inline struct channel *channel_of(const struct header *h)
{
    unsigned char *at = header_payload(h);
    return (struct channel *)(void *)(at + (channel_buffered(h) ? sizeof(struct lanes) : 0));
}
static inline struct place channel_place(struct header *h, const char *call)
{
    return (struct place){h, header_id(h), state_generation(atomic_load(&h->state)), 0, call};
}

int channel_create(shoal_channel **ret, const shoal_channel_options *options, bool barrier,
                   const char *call);
/* NULL: there is no such row yet. */
struct row *channel_row(const struct channel *c, uint32_t i);
/* Makes it: NULL with *rc. */
struct row *channel_make_row(struct channel *c, uint32_t i, int *rc);
/* The word is at least n from now on. */
static inline void channel_grow(_Atomic uint32_t *high, uint32_t n)
{
    uint32_t h = atomic_load(high);
    while (h < n && !atomic_compare_exchange_weak(high, &h, n))
        ;
}

/* Why nothing can be done on that side: 0, -EPIPE, -ECANCELED. With a buffer, of READER, that there is nothing
 * in it is asked elsewhere. */
int channel_over(const struct header *h, enum side side);
/* Sets a bit of the state, and tells all who wait. */
void channel_end(struct header *h, uint32_t bit);
/* All who wait on that side look again. */
void channel_poke(struct channel *c, enum side side);
/* Something was put into the buffer (READER) or taken out: whoever alternates there is told. */
static inline void channel_nudge(struct channel *c, enum side side)
{
    if (!process_self.keep.asymmetric)
        atomic_thread_fence(memory_order_seq_cst);
    atomic_signal_fence(memory_order_seq_cst);
    if (unlikely(atomic_load_explicit(&c->alternates[side], memory_order_relaxed))) {
        atomic_thread_fence(memory_order_seq_cst);
        channel_poke(c, side);
    }
}
/* Whoever did that may have died before the buffer's sleepers, who look at no state, were told. */
void channel_finish_end(struct header *h);
/* It has a buffer, and nobody will read what lies there. */
static inline bool channel_unread(const struct header *h)
{
    return channel_buffered(h) &&
           atomic_load(&channel_of(h)->state) & (CHANNEL_NO_READERS | CHANNEL_POISONED);
}
/* Then: takes it and drops it. */
void channel_drop(struct header *h);

/* Whether the end of that name is one that is used. */
bool end_counts(uint64_t name);

/* Of a barrier: the round is over if all have arrived. */
void barrier_look(struct header *h);
/* Somebody has been enrolled. */
void barrier_enrolled(struct header *h);

/* What was written, before it is anywhere: up to BOX_BYTES bytes, or a message object that the caller holds. */
struct letter {
    void *object;
    const unsigned char *bytes;
    size_t size;
    unsigned char own[BOX_BYTES];
};
/* 0; as shoal_channel_write. */
int letter_write(struct letter *l, struct header *channel, const shoal_any *any, const void *bytes,
                 size_t size, int64_t deadline, const char *call);
/* A message that the caller has made. */
void letter_of_message(struct letter *l, void *message);
void letter_end(struct letter *l);

describe channel_describe, channel_end_describe;

#endif
