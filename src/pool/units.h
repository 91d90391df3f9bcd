/* pool/units.h - what a pool's process and its workers share: units of work, which a worker claims in one
 * step. units.c says how that works, and why a death leaves no doubt.
 */
#ifndef SHOAL_POOL_UNITS_H
#define SHOAL_POOL_UNITS_H

#include "region/look.h"
#include "region/object.h"
#include "region/wait.h"
#include <shoal/pool.h>
#include <shoal/queue.h>

enum {
    UNITS = 64,   /* in a run, which is a page */
    RUNS = 32768, /* of all levels */
    LEVELS = 3,   /* priorities */
    IN_UNIT = 32, /* bytes of an argument or a result that lie in the unit itself */
    CODES = 512,  /* functions that a pool's tasks may name */
    SOURCES = 8,  /* arrays of one map */
};

/* Which unit: {position:62, level:2} + 1; 0: none. Positions count up, in each level for itself. */
typedef uint64_t unit_name;
static inline unit_name unit_make(unsigned level, uint64_t position)
{
    return (position << 2 | level) + 1;
}
static inline unsigned unit_level(unit_name name)
{
    return (name - 1) & 3;
}
static inline uint64_t unit_position(unit_name name)
{
    return (name - 1) >> 2;
}

/* Claim: {name's low 40 bits, worker:16, state:8}.
 *   FREE       CAS by the worker that claims it, or by the parent that cancels it (NONE)
 *   CLAIMED    CAS by that worker (DONE), or by the parent that gives it up (DOOMED)
 *   DONE       from now on the result is there, and the worker does not touch the unit but to name it in
 *              the list of the finished
 *   DOOMED     the worker is about to be killed, and does nothing any more
 * The parent writes NONE when it has told, and FREE when it fills the unit in. */
enum unit_state { UNIT_NONE, UNIT_FREE, UNIT_CLAIMED, UNIT_DONE, UNIT_DOOMED };
static inline uint64_t claim_make(unit_name name, unsigned worker, enum unit_state state)
{
    return name << 24 | (uint64_t)worker << 8 | state;
}
static inline enum unit_state claim_state(uint64_t claim)
{
    return (enum unit_state)(claim & 0xff);
}
static inline unsigned claim_worker(uint64_t claim)
{
    return (unsigned)(claim >> 8) & 0xffff;
}
/* Whether it is of the unit `name`, by as much of it as there is. */
static inline bool claim_names(uint64_t claim, unit_name name)
{
    return claim >> 24 == (name & (UINT64_MAX >> 24));
}

enum unit_kind { UNIT_TASK, UNIT_PART /* of a map */ };

/* In flags. Of the argument and then, written by the worker, of the result; which lies in the unit, but: */
enum {
    UNIT_SHARED = 1, /* it lies elsewhere in the region. A result: where `out` said */
    /* it is a message: {id, generation} in `first`; a result: in the pool's queue */
    UNIT_MESSAGE = 2,
    UNIT_ANY = 4,    /* the bytes are an any */
    UNIT_FAILED = 8, /* of a result: the function returned `first`; the bytes are text */
    /* of the task */
    UNIT_OUT = 16,     /* `elsewhere` says where its result goes */
    UNIT_LIMITED = 32, /* its worker says when it began */
    UNIT_CARE = 64,    /* the pool's thread is told when it is done */
};

struct elsewhere {
    uint64_t size;           /* of the argument, if it is UNIT_SHARED; its place is `first` */
    uint64_t out, room;      /* where the result goes, and for how many bytes there is room */
    uint32_t id, generation; /* the object that it lies in */
};

/* A part of a map: items first … first + n. The worker counts what failed as it goes: in one step after what it says of the first
 * of them, so that its death leaves no doubt. */
struct part {
    uint32_t id, generation; /* the memory that begins with the map's `struct job` */
    _Atomic uint64_t failed; /* {which of the part's items was the last of them:32, how many:32} */
    uint64_t first_failed;
    int32_t error; /* of the first that failed */
    uint32_t unused;
};
static inline uint64_t part_failed(uint64_t last, uint32_t many)
{
    return last << 32 | many;
}

/*   function  which of the pool's codes. Of a result that is UNIT_FAILED: 0, or -error, if the pool failed and
 *             not the function
 *   n         bytes in the unit; items
 *   first     see above
 */
struct work {
    uint8_t kind, flags;
    uint16_t function;
    uint32_t n;
    uint64_t first;
    union {
        unsigned char bytes[IN_UNIT];
        struct elsewhere elsewhere;
        struct part part;
    };
};

/*   next   in the list of the finished; by the worker when it is DONE
 *   work   by the parent before it is FREE, then by who has claimed it until it is DONE
 */
struct unit {
    _Atomic uint64_t claim;
    _Atomic unit_name next;
    struct work work;
};
static_assert(sizeof(struct unit) == 64, "a line");

/* What all parts of a map need: at the beginning of memory that the parent has made for it. Places are
 * bytes from the heap's start.
 *   left    parts that are not done, about: who brings it to 0 wakes the parent
 *   out, n_sources, source  constant
 */
struct job {
    _Atomic int32_t left;
    uint32_t n_sources; /* 0: the items' function takes one, `source[0]` */
    struct {
        uint64_t place, size; /* of an item */
    } out, source[SOURCES];
    uint32_t id, generation; /* the object that out lies in; 0, 0: in this memory */
};

/* One worker's line. All is written by it; the parent reads it, and once the worker is dead it clears it.
 *   want   what it is about to claim, or has
 *   item   NOT_BEGUN; then the item that it is at, or, of a task, 0
 *   began  when it began what it has, if that is limited; else 0
 *   tasks, idle, since  what it has done: tasks and items, ns without work, when it began
 */
enum worker_state {
    WORKER_STARTS,
    WORKER_READY,
    WORKER_REFUSED /* its initializer */,
    WORKER_RETIRED
};
struct worker {
    _Alignas(64) _Atomic unit_name want;
    _Atomic uint64_t item;
    _Atomic int64_t began;
    _Atomic uint64_t tasks;
    _Atomic int64_t idle, since;
    _Atomic uint32_t state;
    _Atomic int32_t refused;
};
static_assert(sizeof(struct worker) == 64, "a line");

#define NOT_BEGUN UINT64_MAX

/* A function, so that another process finds it: an offset in a module, or a name. */
struct code {
    uint8_t kind; /* CODE_… */
    uint8_t size; /* of the module's id */
    unsigned char id[38];
    uint64_t offset;
    char unused[16];
};
enum { CODE_NONE, CODE_MODULE, CODE_NAME, CODE_NAME_MOST = 62 };
static_assert(sizeof(struct code) == 64, "a line");

/*   tail      units below it may be claimed; by the parent
 *   next      none below it is FREE: a hint, moved forward by workers
 *   finished  the first of the units that are done and not told; pushed by workers, taken as a whole by the parent
 *   work, done, care  eventcounts: of workers without work; of the parent's threads; of the pool's thread
 *   closed    POOL_…
 *   codes_count  codes below it are there; by the parent
 *   owned     every run that there is, owned_count of them; written by the parent, under the unit guard
 *   runs      where position p's run is: [p / UNITS % RUNS]
 */
struct pool {
    struct {
        _Alignas(64) _Atomic uint64_t tail;
        _Alignas(64) _Atomic uint64_t next;
    } level[LEVELS];
    _Alignas(64) _Atomic unit_name finished;
    _Atomic uint32_t done, care;
    _Alignas(64) _Atomic uint32_t work;
    _Atomic uint32_t closed;
    _Atomic uint32_t codes_count;
    uint32_t workers;
    _Atomic uint32_t owned_count;
    shoal_reference results; /* the queue of long results; constant */
    struct worker worker[SHOAL_POOL_WORKERS];
    struct code code[CODES];
    _Atomic uint32_t owned[RUNS];
    _Atomic uint32_t runs[LEVELS][RUNS];
};
enum { POOL_CLOSED = 1, POOL_STOPPED = 2 };

/* ---- by who made the pool ---- */

/* Makes it, and the queue of its results: 0, -ENOMEM. */
int units_create(shoal_pool **ret, const char *name, unsigned workers, shoal_queue **results);
/* One more run: which of `owned`; -ENOMEM. */
int units_run(struct pool *q);
/* Memory behind the directory's entry for `position`, which is then `run`. */
int units_place(struct pool *q, unsigned level, uint64_t position, unsigned run);
/* From now on all below tail may be claimed; wakes up to `many` workers. 0: who publishes calls units_wake soon. */
void units_publish(struct pool *q, unsigned level, uint64_t tail, int many);
/* Wakes as many workers as there are units that nobody has claimed. */
void units_wake(struct pool *q);
/* All that is finished, the first one first, as a list by `next`; 0: none. */
unit_name units_finished(struct pool *q);

/* ---- by workers ---- */

/* The next unit, claimed; 0: there is none. */
unit_name units_claim(struct pool *q, unsigned me);
/* Whether there is something to claim, about. */
bool units_waiting(struct pool *q);
/* Its result is there: false: it is doomed, and so is the caller. `wakes`: the parent. */
bool units_commit(struct pool *q, unsigned me, unit_name name, bool wakes, bool cares);

describe pool_describe; /* what inspection shows */

static inline struct unit *unit_at(struct pool *q, unit_name name)
{
    uint64_t p = unit_position(name);
    uint32_t run =
        atomic_load_explicit(&q->runs[unit_level(name)][p / UNITS % RUNS], memory_order_acquire);
    return (struct unit *)(void *)(view.heap + (uint64_t)(run - 1) * 64) + p % UNITS;
}

#endif
