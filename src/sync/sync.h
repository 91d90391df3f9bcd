/* sync/sync.h - what the synchronisation objects share. */
#ifndef SHOAL_SYNC_SYNC_H
#define SHOAL_SYNC_SYNC_H

#include "region/look.h"
#include "region/object.h"
#include <shoal/sync.h>

/* Checks the arguments of a constructor and creates the header: fill in its body and publish it. */
int sync_create(struct header **header, void *ret, enum type type, size_t payload,
                const shoal_sync_options *options, const char *what);
/* Whether the owner is somebody who lives: asks, as the caller may be the first to meet a death. */
bool sync_lives(owner_t owner);
/* Fills in who the owner is: 1, or 0 if nobody (or a dead one). */
int sync_holder(owner_t owner, shoal_holder *ret, const char *call);

/* acquire and release in the name of another call, of a condition, say. */
int lock_acquire(shoal_lock *lock, int64_t deadline, const char *call);
int lock_release(shoal_lock *lock, const char *call);
int rlock_acquire(shoal_rlock *lock, int64_t deadline, const char *call);
int rlock_release(shoal_rlock *lock, const char *call);

/* As shoal_barrier_wait_action, in the name of another call. Where a signal handler has run while the caller was
 * waiting, `on` says whether it goes on; then its place in the phase is what it was. NULL: it never does. */
int barrier_meet(shoal_barrier *barrier, int (*action)(void *argument), void *argument,
                 int64_t deadline, bool (*on)(void), const char *call);

/* For conditions, which let go of their lock and take it again. */
bool lock_mine(const struct header *lock); /* the calling thread took it */
bool rlock_mine(const struct header *lock);
bool semaphore_mine(struct header *semaphore); /* the calling thread owns a permit */
/* releases all levels of the caller's; how many there were beyond the first */
uint32_t rlock_leave(struct header *h);
/* taken anew by the caller: the levels as they were */
void rlock_return(struct header *h, uint32_t depth);

/* What inspection shows of one. */
describe lock_describe, rlock_describe, rwlock_describe, once_describe, semaphore_describe;
describe condition_describe, event_describe, barrier_describe;

/* _reference, _open and _close of an object. */
#define SYNC_REFERENCES(name, type_of)                                                \
    int shoal_##name##_reference(const shoal_##name *handle, shoal_reference *ret)    \
    {                                                                                 \
        return object_reference(handle, type_of, "shoal_" #name "_reference", ret);   \
    }                                                                                 \
    int shoal_##name##_open(shoal_##name **ret, const shoal_reference *reference)     \
    {                                                                                 \
        return object_open((void **)ret, type_of, "shoal_" #name "_open", reference); \
    }                                                                                 \
    shoal_##name *shoal_##name##_close(shoal_##name *handle)                          \
    {                                                                                 \
        object_close(handle, type_of);                                                \
        return NULL;                                                                  \
    }

#endif
