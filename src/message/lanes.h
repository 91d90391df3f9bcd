/* message/lanes.h - first in, first out, of many producers and many consumers: what queues and pipes
 * are made of. lanes.c says how it works and why that is correct.
 */
#ifndef SHOAL_LANES_H
#define SHOAL_LANES_H

#include "region/look.h"
#include "region/object.h"
#include "region/wait.h"

enum {
    LANE_SEGMENTS = 15,
    LANES_FIRST = 4,    /* lie beside the queue; further ones in chunks */
    LANE_CHUNKS = 6,    /* of 1, 4, 16 … units */
    INLINE_MOST = 4096, /* bytes; a longer message is an object of its own, and the lane names it */
    LEAST_LIMIT = 4 * INLINE_MOST,
};

/* A ring of memory, a power of two of units. A lane writes into the newest; older ones hold what is
 * not taken yet.
 *   base     the position at which it begins. Written by the lane's owner while payload is 0
 *   payload  the run; 0: none. Written under the unit guard
 *   units    as base
 */
struct segment {
    _Atomic uint64_t base;
    _Atomic uint32_t payload;
    _Atomic uint32_t units;
};
#define BASE_CUT UINT64_MAX /* no position reaches it: about to be given back */

/* What one producer has put. Positions count bytes since the lane began, and never go back.
 *   owner     the thread that puts here, or with TENDED the one that tends it after its owner; CAS
 *   write     where the next record begins; by the owner, after each commit
 *   next      bounded only: what tail becomes with the put under way; by the owner, before its ticket
 *   tail      bounded only: records below it can be taken; by the owner or whoever helps it
 *   puts      {under way:16, messages put:48}; by the owner, before and after each commit
 *   room_end  the owner's: up to where it may write without looking at head
 *   far, near  the owner's, where there is a limit: bytes of the long messages up to far_end, and of
 *              those from there to near_end; what has been taken is not counted, sooner or later
 *   gone      the owner's: how many messages had been taken when it last looked (bounded only)
 *   head      the next record to take; CAS by consumers, the one step that takes
 *   last      the newest segment; by the owner. Like the segments, all read it and it changes
 *       rarely
 */
struct lane {
    _Alignas(64) _Atomic owner_t owner;
    _Atomic uint64_t write;
    _Atomic uint64_t puts;
    uint64_t room_end;
    uint64_t gone;
    uint64_t unused[3];
    _Alignas(64) _Atomic uint64_t head;
    uint64_t unused2[7];
    _Alignas(64) _Atomic uint64_t next;
    _Atomic uint64_t tail;
    uint64_t far_end, near_end, far, near;
    uint64_t unused3[2];
    _Alignas(64) struct segment segments[LANE_SEGMENTS];
    _Atomic uint32_t last;
    uint32_t unused4[3];
};
static_assert(sizeof(struct lane) == 448, "a line for each writer, and the segments");

/*   high      lanes below it were used; grows before a new lane's first put
 *   closed    LANES_…; set, never cleared
 *   maxsize   messages; 0: no bound. Constant, as is limit
 *   limit     bytes that may lie in a lane, about, beyond which a put waits; 0: no limit. LEAST_LIMIT or more
 *   items, space, finished  eventcounts: who sleeps until there is something, room, nothing unfinished
 *   chunks    the runs of further lanes; written once, under the unit guard
 *   ticket    bounded only: {tickets given:48, lane + 1 whose put is under way:16}; CAS
 *   done      messages reported finished by task_done
 */
struct lanes {
    _Alignas(64) _Atomic uint32_t high;
    _Atomic uint32_t closed;
    uint64_t maxsize;
    uint64_t limit;
    _Atomic uint32_t items, space, finished;
    _Atomic uint32_t chunks[LANE_CHUNKS];
    uint32_t unused;
    _Alignas(64) _Atomic uint64_t ticket;
    _Alignas(64) _Atomic uint64_t done;
    struct lane first[LANES_FIRST];
};
static_assert(sizeof(struct lanes) == 3 * 64 + LANES_FIRST * 448, "no gaps");

enum {
    LANES_SHUT = 1,    /* nothing is put any more; what is there is taken, then -EPIPE */
    LANES_DROPPED = 2, /* and what was put counts as finished */
};

enum { SHORTAGE_SLICE = 10000000 }; /* ns: what frees memory of the region tells nobody */

/* Where a message may be written: begin, fill in `bytes`, commit; or just forget it. */
struct room {
    struct lane *lane;
    uint32_t index; /* the lane's */
    /* positions: before a skip, of the first record, after the last */
    uint64_t from, at, end;
    uint64_t word, stamp; /* the first record's header */
    uint64_t record;      /* the last one's position */
    unsigned char *bytes; /* of the last one */
    unsigned count;
    const struct lanes *interrupted; /* where a signal handler that puts had come from */
};

/* The place of a family of lanes: the object it lies in; and who is there. */
struct place {
    struct header *header;
    uint32_t id, generation;
    unsigned which;   /* the how manieth in its payload */
    const char *call; /* of the program's, for sentences; NULL: of a repair */
};

/* What a lane holds in place of a long message. */
struct named {
    uint32_t id, generation;
    uint64_t size;
};

/* Makes room for a message of `size` (at most INLINE_MOST) bytes: 0; -EPIPE, -EDEADLK, -ENOMEM,
 * or as the deadline says. `named`: it will be this, which names an object; NULL: plain bytes. */
int lanes_begin(struct lanes *q, const struct place *p, struct room *r, size_t size,
                const struct named *named, int64_t deadline);
/* begin, a copy of the bytes, commit. */
int lanes_put(struct lanes *q, const struct place *p, const void *bytes, size_t size,
              int64_t deadline);
/* Another one behind it, of the same commit: false if there is no room for it. */
bool lanes_more(struct lanes *q, struct room *r, size_t size);
/* The one step that puts: 0. Bounded lanes: also waits for a place, so -EPIPE or as the deadline
 * says. *put: how many of r->count were (bounded: perhaps fewer). */
int lanes_commit(struct lanes *q, const struct place *p, struct room *r, int64_t deadline,
                 unsigned *put);

/* What was taken: bytes in the caller's buffer, or an object that the caller holds from now on. */
struct taken {
    size_t size;
    void *object; /* a message's handle, or NULL */
};
/* Takes the oldest message: bytes into the buffer, an object if it is no longer than `most`.
 * -EMSGSIZE: it is longer (ret->size tells) and stays; -EPIPE: there is none and there will be
 * none. */
int lanes_take(struct lanes *q, const struct place *p, void *buffer, size_t capacity, size_t most,
               struct taken *ret, int64_t deadline);
/* As many as there are and as fit, up to n, one after the other in the buffer; at least one. Objects
 * stop it. Returns how many. */
int lanes_take_many(struct lanes *q, const struct place *p, void *buffer, size_t capacity,
                    struct taken ret[], unsigned n, int64_t deadline);
/* Waits until there is something to take: 0. */
int lanes_poll(struct lanes *q, const struct place *p, int64_t deadline);

/* there is something to take, or an end */
bool lanes_ready(struct lanes *q, const struct place *p);
uint64_t lanes_size(struct lanes *q, const struct place *p);
uint64_t lanes_puts(struct lanes *q);           /* messages ever put, with those under way */
void lanes_shut(struct lanes *q, uint32_t how); /* LANES_…, all that apply */

/* Whether this message was committed at this position, and has not been taken. `id`: of the object that
 * the lanes lie in. May be asked of any content. */
bool lanes_holds(struct lanes *q, uint32_t id, uint32_t lane, uint64_t position, uint32_t message,
                 uint32_t generation);

/* For the types: */
void lanes_repair(struct lanes *q, const struct place *p);
void lanes_destroy(struct lanes *q, uint32_t slot);
/* Nobody takes anything any more: drops what objects lie there, in the name of `slot`. They stay in
 * the lanes, and are taken as dropped. `id`: of the object that the lanes lie in. */
void lanes_drop(struct lanes *q, uint32_t id, uint32_t slot);
void lanes_runs(struct lanes *q, void (*visit)(uint32_t payload, uint32_t units, void *argument),
                void *argument);
/* Of the `which`th family of lanes in a payload: how many messages are in it, as fact `name`; maxsize
 * and closed, if there is something to say. */
void lanes_describe(struct description *d, const struct header *header, unsigned which,
                    const char *name);
uint64_t lanes_charged(struct lanes *q, uint32_t slot);     /* bytes in the segments of its lanes */
_Atomic uint32_t *lanes_event(struct lanes *q, unsigned i); /* 1: space, 2: finished, then NULL */

#endif
