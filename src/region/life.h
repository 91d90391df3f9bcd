/* region/life.h - noticing, confirming and repairing deaths (docs/design.md 3). */
#ifndef SHOAL_LIFE_H
#define SHOAL_LIFE_H

#include "region/region.h"

/* Whether the owner is known to be dead: its record has moved on, or its slot is marked DEAD. Two
 * loads. */
static inline bool owner_dead(owner_t owner)
{
    uint32_t i = owner_record(owner);
    if (i >= RECORDS)
        return true;
    uint64_t word = atomic_load(&record_at(i)->word);
    if ((uint32_t)(word >> 32) != owner_generation(owner) || !(word & 0xff))
        return true;
    uint32_t s = (uint32_t)(word >> 16) & 0xffff;
    return slot_status(atomic_load(&slot_at(s)->word)) == SLOT_DEAD;
}

/* The same, and true also for owners of the process that is just leaving in this thread: what
 * `repair` of a type asks. */
bool owner_gone(owner_t owner);

/* Whether there is nothing to repair any more of the owner, or this thread is who repairs it. */
bool owner_over(owner_t owner);

/* Whether an owner's process can be seen to have ended, looking at its life word; confirms and
 * repairs if so. Then owner_dead tells. */
void life_ask(owner_t owner);

/* Looks at one slot: LIFE_WELL; LIFE_UNSURE: marked, not yet confirmed (look again soon);
 * LIFE_UNARMED: its death will not mark it (look now and then); LIFE_REPAIRED: it was dead, and
 * this call repaired it. */
enum life { LIFE_WELL, LIFE_UNSURE, LIFE_UNARMED, LIFE_REPAIRED };
enum life life_look(uint32_t slot, bool confirm_unarmed);
/* Looks at all slots; how many were repaired. *soonest: the slice in ns after which to look again,
 * INT64_MAX if none is in doubt. */
unsigned life_look_all(bool confirm_unarmed, int64_t *soonest);
/* For a slot whose process is known to have ended (reaped by its parent): repairs it now, if {slot,
 * generation} is still it. `orderly`: it ended by itself, which is no death of one that never
 * attached (a program started by exec that does not use shoal). */
void life_ended(uint32_t slot, uint32_t generation, bool orderly);

/* From now on the process that has {slot, generation} stops on its way into a fork, unless it has
 * reserved the child's slot by now. False if it was doomed before. */
bool life_doom(uint32_t slot, uint32_t generation);

/* Notes that the fork for which {slot, generation} was reserved is over. */
void life_forked(uint32_t slot, uint32_t generation);

/* Gives up all that this process has, as a repairer would, its own slot included. */
void life_leave(void);

/* The process that slot s had when its word was `word`, if it certainly lives: what /proc shows of
 * it. Its number may be another process's as soon as it has ended. Async-signal-safe. */
bool life_process(uint32_t s, uint64_t word, struct os_process *ret);

/* Whether there may be a child for which slot s, STARTING, is reserved, and which has not written
 * its number yet; not one of those that are `known`. Async-signal-safe, if known is. */
bool life_unborn(uint32_t s, uint64_t word, bool (*known)(pid_t pid, void *argument),
                 void *argument);

/* Who died: pid and name of a dead owner's process, if remembered; *ended: it ended by itself. */
bool life_grave(owner_t owner, int32_t *pid, char name[NAME], bool *ended);

/* Called in this process after each repair that it made. */
extern void (*life_on_death)(int32_t pid, const char *name);

/* ---- what a type of object adds to a repair ---- */
enum type {
    TYPE_NONE,
    TYPE_MEMORY,
    TYPE_LOCK,
    TYPE_RLOCK,
    TYPE_RWLOCK,
    TYPE_ONCE,
    TYPE_SEMAPHORE,
    TYPE_CONDITION,
    TYPE_EVENT,
    TYPE_BARRIER,
    TYPE_MESSAGE,
    TYPE_QUEUE,
    TYPE_VALUE,
    TYPE_ARRAY,
    TYPE_PIPE,
    TYPE_END, /* of a pipe */
    TYPE_POOL,
    TYPE_LIST,
    TYPE_DICT,
    TYPE_NAMESPACE,
    TYPE_CHANNEL,
    TYPE_CHANNEL_END,
    TYPES = 64
};
struct type_repair {
    /* Gives back what dead owners have in this object. Idempotent; called for objects that the dead
     * process held. NULL: nothing. */
    void (*repair)(struct header *);
    /* The same, for what it gives up may end other objects: in the name of `slot`, which is
     * repaired. NULL: nothing. */
    void (*tend)(struct header *, uint32_t slot);
    /* Its eventcount; NULL: nobody sleeps on it through one. */
    _Atomic uint32_t *(*event)(struct header *);
    /* Whether a sleeper might be able to go on; called after the sleepers bit was set, before
     * wake-ups. NULL: always. */
    bool (*ready)(struct header *);
    /* Whether a process that leaves in order can have left nobody to wake, so that its end need not
     * wake all who sleep here. NULL: never. */
    bool (*undisturbed)(struct header *);
    /* For types whose sleepers sleep elsewhere than on the eventcount: wakes them all. NULL:
     * none. */
    void (*rouse)(struct header *);
    /* Its further eventcounts, 1, 2 …; NULL: there are no more. All who sleep there are woken. */
    _Atomic uint32_t *(*further)(struct header *, unsigned i);
    /* Whether something that is no process holds it (the queue that a message lies in). May be asked
     * of any content of body and payload: what is asked may just have become something else. */
    bool (*held)(struct header *);
    /* For messages with objects. Of any content as `held`: the i-th object that it names, false if
     * there are no more; and the header of what it lies in, whose life it was is in *generation, or
     * NULL. */
    bool (*names)(struct header *, unsigned i, uint32_t *id, uint32_t *generation);
    struct header *(*lies_in)(struct header *, uint32_t *generation);
    /* The object that one of this type needs wherever it is used, and which goes with it (a
     * condition's lock); false if it has none. NULL: none has. */
    bool (*part)(struct header *, uint32_t *id, uint32_t *generation);
    /* Gives back what it has beside its payload, when nobody holds it any more, in the name of `slot`:
     * the caller's own (then under process_self.mutex) or one that it repairs. Done again if the
     * caller dies. */
    void (*destroy)(struct header *, uint32_t slot);
    /* Tells the runs of units that it has beside its payload. Asked while the guard is held. */
    void (*runs)(struct header *, void (*visit)(uint32_t payload, uint32_t units, void *argument),
                 void *argument);
    /* How many bytes of them count against the quota of the process in `slot`. NULL: none. */
    uint64_t (*charged)(struct header *, uint32_t slot);
};
const struct type_repair *life_type(unsigned type); /* NULL: nothing to repair */
/* Each type's, defined beside the type. Named one by one in life.c, so that a statically linked
 * program can repair what others of the family use. */
extern const struct type_repair lock_repair, rlock_repair, once_repair, event_repair;
extern const struct type_repair semaphore_repair, rwlock_repair;
extern const struct type_repair condition_repair, barrier_repair;
extern const struct type_repair value_repair;
extern const struct type_repair message_repair, queue_repair, pipe_repair, pipe_end_repair;
extern const struct type_repair pool_repair;
extern const struct type_repair container_repair; /* lists, dicts, namespaces */
extern const struct type_repair channel_repair, channel_end_repair;

#endif
