/* manager/store.h - what each list and each shard of a dict stands on: an arena of memory under a
 * lock, changed by operations that happen wholly or not at all, and read without the lock.
 * store.c says how it works and why that is correct.
 */
#ifndef SHOAL_MANAGER_STORE_H
#define SHOAL_MANAGER_STORE_H

#include "message/lane.h" /* AnnotateIgnoreReads */
#include "region/look.h"
#include "region/object.h"
#include "region/wait.h"

/* The words of an arena are read by who has no lock while the lock's owner writes them. */
typedef _Atomic uint64_t word_t;

/*   owner, event  the lock: an owner word (region/wait.h). Under it all else is written
 *   state         {version:36, count:21, phase:2, now:2, next:2, 0:1}: see store.c. What readers go by
 *   turn          of a change that is PREPARED: the decision that it waits for
 *   filled        {count:32, beside:32}: notes of a change that is not committed yet: so many IN
 *                 notes, in the arena that is, or, with beside, in the one that will be
 *   runs          where an arena lies: payload under the unit guard, units while it is 0
 */
struct store {
    _Alignas(64) _Atomic owner_t owner;
    _Atomic uint32_t event;
    uint32_t inside;
    uint64_t unused;
    word_t state;
    word_t turn;
    word_t filled;
    struct {
        _Atomic uint32_t payload, units;
    } runs[2];
};
static_assert(sizeof(struct store) == 64, "one cache line");

/* What the stores of a container share; it stands at the beginning of its payload.
 *   holder    who has acquired the container; a dead one stands here until the next one does. Written
 *             while all its stores' locks are held
 *   decision  {changes of several stores that were committed:63, spread:1 (a dict's)}
 *   secret    of a dict's hash. Constant
 */
struct head {
    _Alignas(64) _Atomic owner_t holder;
    word_t decision;
    uint64_t secret[2];
    uint64_t unused[4];
};
static_assert(sizeof(struct head) == 64, "one cache line");

/* A container that is open, or one that is looked at. */
struct site {
    struct header *header;
    struct head *head;
    struct store *stores; /* behind the head */
    unsigned count;       /* of stores */
    /* bytes of an arena that lies behind the stores; only if there is one store */
    size_t inner;
    uint32_t id, generation;
    const char *call;
    bool interruptible; /* -EINTR ends its waits */
    int64_t deadline;   /* of its waits for locks to change something */
};

/* ---- arenas ---- */

/* The beginning of each arena. What follows is the type's own.
 *   bump   {units used from the beginning:32, units of blocks that are in use:32}, in units of 16 bytes
 *   heads  of lists of free blocks, two in a word: their places in units of 16 bytes; 0: none
 *   limit  bytes: blocks and, downwards from here, the journal lie below. Constant
 *   memory {from the beginning:32, below the limit:32}: grains that have memory behind them. A fact, so no
 *          part of any change
 */
enum { GRAIN = 16, HEADS = 16 };
struct arena {
    word_t bump;
    word_t heads[HEADS / 2];
    word_t limit;
    word_t memory;
};
static_assert(sizeof(struct arena) == 88, "no gaps");

/* In a journal: a word of the arena that is to have a value; or a note, whose value names a message (a
 * value word, word.h) that is put in, or taken out. */
enum { ENTRY_IN = 1, ENTRY_OUT };
struct entry {
    word_t where; /* {kind:2, place in bytes:62} */
    word_t value;
};

/* ---- reading ---- */

/* A look at an arena as it was at one moment, if reading_holds says so at the end. */
struct reading {
    const struct site *site;
    struct store *store;
    const unsigned char *base; /* NULL: there is no arena */
    uint64_t capacity;         /* bytes */
    uint64_t state;
    /* its end, where the changes that are not applied yet lie; or NULL */
    const struct entry *journal;
    uint32_t count; /* of these */
    bool decided;
};
bool store_decided(const struct site *p, const struct store *s, uint64_t state);
uint64_t store_journal(const struct reading *r, uint64_t at);

enum { PHASE_IDLE, PHASE_COMMITTED, PHASE_PREPARED };
static inline unsigned state_phase(uint64_t state)
{
    return state >> 5 & 3;
}

/* Where the arena is that lies in a run, which is that of `which`, 1 or 2: NULL: it was given back meanwhile. */
static inline unsigned char *store_run(const struct store *s, unsigned which, uint64_t *capacity)
{
    uint64_t payload = atomic_load_explicit(&s->runs[which - 1].payload, memory_order_acquire);
    uint64_t units = atomic_load_explicit(&s->runs[which - 1].units, memory_order_relaxed);
    bool there = payload && (payload - 1) / (UNIT / 64) + units <= view.at.max_units;
    *capacity = there ? units * UNIT : 0;
    return there ? view.heap + (payload - 1) * 64 : NULL;
}

void store_read_slow(const struct site *p, struct store *s, struct reading *r);
static inline void store_read(const struct site *p, struct store *s, struct reading *r)
{
    r->site = p;
    r->store = s;
    r->state = atomic_load_explicit(&s->state, memory_order_acquire);
    unsigned now = r->state >> 3 & 3;
    r->journal = NULL;
    r->decided = false;
    if (likely(state_phase(r->state) == PHASE_IDLE && now - 1 < 2))
        r->base = store_run(s, now, &r->capacity);
    else
        store_read_slow(p, s, r);
}

/* Whether what was read since store_read was there at one moment. */
static inline bool reading_holds(const struct reading *r)
{
    atomic_thread_fence(memory_order_acquire);
    if (unlikely(atomic_load_explicit(&r->store->state, memory_order_relaxed) != r->state))
        return false;
    return likely(state_phase(r->state) != PHASE_PREPARED) ||
           store_decided(r->site, r->store, r->state) == r->decided;
}

/* A word of the arena; 0 if there is no such place, as may be where what is read is no more. */
static inline uint64_t reading_word(const struct reading *r, uint64_t at)
{
    if (unlikely(at % 8 || at >= r->capacity)) /* a capacity is a multiple of 8 */
        return 0;
    if (unlikely(r->journal != NULL))
        return store_journal(r, at);
    return atomic_load_explicit((const word_t *)(const void *)(r->base + at), memory_order_acquire);
}

/* Bytes that lie in the arena, or NULL. A journal may have another value for the first word of a block (reading_word);
 * what follows that in a block no journal changes. */
static inline const unsigned char *reading_bytes(const struct reading *r, uint64_t at, size_t size)
{
    return likely(at <= r->capacity && size <= r->capacity - at) ? r->base + at : NULL;
}

/* ---- the lock ---- */

/* 0; -EDEADLK: a signal handler interrupted a call that has it; or what waiting comes to. Who is
 * dead is succeeded, and what he had under way finished or forgotten. */
int store_lock(const struct site *p, struct store *s, int64_t deadline);
void store_unlock(const struct site *p, struct store *s);
/* The same of all stores of the container, in order. */
int store_lock_all(const struct site *p, int64_t deadline);
void store_unlock_all(const struct site *p);
/* For who repairs `slot`: succeeds the owners that are gone, and lets go of the locks. What they had put in
 * and not committed, or taken out and not told of, is let go of in the name of the slot. */
void store_tend(const struct site *p, uint32_t slot);

/* ---- changing: with the lock held ---- */

/* A change that is being made: in a journal, or directly in another arena that is to take the place of
 * this one. */
struct change {
    const struct site *site;
    struct store *store;
    unsigned char *base; /* of the arena that is changed; NULL: there is none */
    uint64_t limit;      /* where its journal ends, in bytes */
    uint64_t fresh;      /* bytes from here on were never used when the change began */
    uint32_t count;      /* entries */
    unsigned next;       /* which arena it will be */
    bool direct;
    bool freed; /* blocks: new ones are not taken from lists any more */
};

/* Begins one in the arena that is there. */
void change_begin(struct change *c, const struct site *p, struct store *s);
/* Whether so many bytes of new blocks, and entries, have room: then they have memory, too. 1; 0; or
 * -ENOMEM. */
int change_fits(struct change *c, uint64_t bytes, uint32_t entries);
/* Begins one that replaces the arena by another of `capacity` bytes or more: blocks begin at `from`,
 * and `behind` bytes at its end are left alone. -ENOMEM. */
int change_replace(struct change *c, const struct site *p, struct store *s, uint64_t capacity,
                   uint64_t from, uint64_t behind);
/* The same, with all that is in the one that `from` is about, in its place. */
int change_grow(struct change *ret, const struct change *from, uint64_t capacity, uint64_t behind);
/* Whether most of what it has used is in use still. */
bool change_is_dense(const struct change *c);
/* As change_replace by the one in the payload, which is not used now. */
void change_inner(struct change *c, const struct site *p, struct store *s, uint64_t from);
/* The same by none. */
void change_none(struct change *c, const struct site *p, struct store *s);

uint64_t change_get(const struct change *c, uint64_t at);
/* The same where the change has no entry yet. */
static inline uint64_t change_word(const struct change *c, uint64_t at)
{
    return atomic_load_explicit((const word_t *)(const void *)(c->base + at), memory_order_relaxed);
}
void change_set(struct change *c, uint64_t at, uint64_t value);
/* A new block of so many bytes: its place in bytes. There is room (change_fits). Its content is written
 * by block_fill. */
uint64_t block_new(struct change *c, size_t size);
void block_fill(struct change *c, uint64_t at, const void *from, size_t size);
void block_free(struct change *c, uint64_t at, size_t size);
size_t block_size(size_t size); /* what a block of so many bytes takes */
/* A message, which the caller holds, is put in, or one is taken out. */
void change_note(struct change *c, unsigned kind, uint64_t word);

/* One word, and nothing else, changes: the commit is its store. */
void change_poke(struct change *c, uint64_t at, uint64_t value);
/* Commits and applies. Nothing can fail. */
void change_commit(struct change *c);
/* Prepares for the decision `turn`; after that, or without it, store_finish. */
void change_prepare(struct change *c, uint64_t turn);
/* What was committed is applied. */
void store_finish(const struct site *p, struct store *s);
/* What was begun and not committed is as if it had not been. Also for one of which only memory was
 * had. The messages that it would have put in are the caller's. */
void change_forget(struct change *c);

/* ---- for the types ---- */

/* Ends: drops what messages there are, in the name of `slot`, and gives back the runs. `each` visits
 * all value words in an arena, also of one that is half built. */
typedef void visit_word(uint64_t word, void *argument);
void store_destroy(const struct site *p, uint32_t slot,
                   void (*each)(const struct reading *r, visit_word *visit, void *argument));
void store_runs(struct store *stores, unsigned count,
                void (*visit)(uint32_t payload, uint32_t units, void *argument), void *argument);
uint64_t store_bytes(const struct store *stores, unsigned count); /* in runs */

#endif
