/* message/lanes_inner.h - what the files of lanes share: lanes.c (which lane, waiting, tending),
 * lanes_put.c, lanes_take.c.
 */
#ifndef SHOAL_LANES_INNER_H
#define SHOAL_LANES_INNER_H

#include "message/lane.h"
#include "region/life.h"

enum { TENDED = 1 /* in an owner word's low byte */ };
#define COUNT_BITS 48
#define COUNT_MASK ((1ull << COUNT_BITS) - 1)
#define LANE_SHIFT 48

static inline uint32_t chunk_units(unsigned chunk)
{
    return 1u << 2 * chunk;
}

static inline uint32_t chunk_lanes(unsigned chunk)
{
    return chunk_units(chunk) * UNIT / sizeof(struct lane);
}

/* NULL: there is no such lane yet. May be asked of any content: who looks for what holds a message looks
 * at queues that may just be gone. */
static inline struct lane *lane_at(struct lanes *q, uint32_t i)
{
    if (likely(i < LANES_FIRST))
        return &q->first[i];
    i -= LANES_FIRST;
    for (unsigned c = 0; c < LANE_CHUNKS; i -= chunk_lanes(c++)) {
        uint32_t payload = atomic_load_explicit(&q->chunks[c], memory_order_acquire);
        if (!payload || (uint64_t)payload * 64 + chunk_units(c) * UNIT > view.at.size)
            return NULL;
        if (i < chunk_lanes(c))
            return (struct lane *)(void *)(view.heap + (uint64_t)(payload - 1) * 64) + i;
    }
    return NULL;
}

/* ---- lanes.c ---- */

/* How the calling thread's attempts go. Looking takes the cache line from the one that is about to
 * write to it; so where messages come faster than one by one, who finds none lets some come before
 * it looks again. Where each answers another (run is 0) it looks at once, but for a probe now and
 * then: only by letting some come one learns that they do. Who takes one after the other close
 * behind the one that puts, never waiting, keeps a distance too; less and less often where none
 * come meanwhile, as who puts is this very thread, say. */
struct pace {
    unsigned run; /* attempts that went well since the last wait */
    unsigned waits;
    unsigned vain; /* how often letting some come has let none come, since it did */
};
enum { NEAR = 16 /* so often in a stream: is there another one behind it? */ };
enum { VAIN = 8 };
void lanes_let_come(void);
extern _Thread_local struct pace lanes_pace __attribute__((tls_model("initial-exec")));

typedef int attempt(struct lanes *q, const struct place *p, void *argument);
/* Tries until it is not -EAGAIN. `slice`: tries again after so many ns without being woken, too. */
int lanes_await(struct lanes *q, const struct place *p, _Atomic uint32_t *event, int64_t deadline,
                int64_t slice, attempt *try, void *argument);

/* Becomes the one that tends the lane, if its owner is gone. */
bool lanes_tend(struct lane *lane);
/* What the owner's last put left undone. */
bool lanes_settle(struct lanes *q, struct lane *lane); /* false: nobody may go on in it yet */
/* An empty lane keeps no memory. False: some cannot be given back yet. */
bool lanes_clear(struct lanes *q, struct lane *lane, uint32_t id);

/* Finishes the put that the ticket word names. */
void lanes_help(struct lanes *q, uint64_t ticket);

/* ---- lanes_take.c ---- */

/* The oldest message. While reading. */
bool lanes_choose(struct lanes *q, struct found *f);

#endif
