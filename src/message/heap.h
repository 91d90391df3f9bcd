/* message/heap.h - queues out of which the newest message comes first, or the smallest: what queues
 * of the kinds SHOAL_LIFO and SHOAL_PRIORITY are. heap.c says how it works and why that is correct.
 */
#ifndef SHOAL_HEAP_H
#define SHOAL_HEAP_H

#include "message/lanes.h"
#include <shoal/any.h>
#include <shoal/queue.h>

/*   owner, event  the lock: an owner word (region/wait.h). Under it all else is written, but closed and done
 *   closed    LANES_SHUT; set, never cleared
 *   maxsize   messages; 0: no bound. Constant
 *   items, space, finished  eventcounts: who sleeps until there is something, room, nothing unfinished
 *   runs      where the array of messages lies, and while it is moved where it is moved to; payload
 *             under the unit guard, units while it is 0
 *   now       which of them is the array
 *   count     messages in it. Like puts read without the lock
 *   puts      messages ever put
 *   done      messages reported finished; CAS
 */
struct heap {
    _Alignas(64) _Atomic owner_t owner;
    _Atomic uint32_t event;
    _Atomic uint32_t closed;
    uint64_t maxsize;
    _Atomic uint32_t items, space, finished;
    _Atomic uint32_t now;
    struct {
        _Atomic uint32_t payload, units;
    } runs[2];
    _Alignas(64) _Atomic uint64_t count;
    _Atomic uint64_t puts, done;
};

/* A queue's kind: it stands in the header's body, so that no payload has to be read to tell it. 0:
 * SHOAL_FIFO, lanes. */
static inline uint32_t *heap_kind_of(const struct header *h)
{
    return (uint32_t *)(uintptr_t)h->body;
}
static inline uint32_t heap_kind(const struct header *h)
{
    return *heap_kind_of(h);
}

/* As the calls of queue.h, which have checked the arguments. */
int heap_put_bytes(struct heap *q, const struct place *p, const void *bytes, size_t size,
                   int64_t deadline);
int heap_put_any(struct heap *q, const struct place *p, const shoal_any *any, int64_t deadline);
/* A message that the caller holds; until then it does, if that is not 0. */
int heap_put(struct heap *q, const struct place *p, void *message, int64_t deadline);
/* The first message, of at most `most` bytes, as an object: as lanes_take. */
int heap_take(struct heap *q, const struct place *p, size_t most, struct taken *ret,
              int64_t deadline);
void heap_shut(struct heap *q, uint32_t how); /* as lanes_shut */
void heap_describe(struct description *d, const struct header *h);

/* For the type: */
bool heap_ready(struct heap *q);
void heap_repair(struct heap *q, const struct place *p);
void heap_destroy(struct heap *q, const struct place *p, uint32_t slot);
void heap_runs(struct heap *q, void (*visit)(uint32_t payload, uint32_t units, void *argument),
               void *argument);
_Atomic uint32_t *heap_event(struct heap *q, unsigned i); /* as lanes_event, and 3: event */

#endif
