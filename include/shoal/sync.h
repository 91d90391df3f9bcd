/* shoal/sync.h - locks, semaphores, conditions, events, barriers between the processes and threads
 * of a family.
 *
 * For all objects here:
 *   _create     options may be NULL; NULL or zero fields mean the default; unknown flags are -EINVAL. The caller's process holds the new object.
 *   _reference  writes a reference, which may travel; _open takes it: 0, -ESTALE (gone, another
 *       family), -EINVAL (of another type).
 *               A second open of the same object in one process returns the same handle and must be
 *                   closed once more.
 *   _close      gives up one hold of this process; takes NULL; returns NULL. The handle is -EBADF afterwards.
 *               Closing does not release what is held. No other thread of the process may be in a call
 *               with the handle (memory.h).
 *   deadlines   absolute, see error.h: shoal_after(seconds). -EAGAIN if SHOAL_NOW was in vain, -ETIMEDOUT, -EINTR,
 *               -EINVAL if it is negative.
 */
#ifndef SHOAL_SYNC_H
#define SHOAL_SYNC_H

#include <shoal/error.h>
#include <shoal/memory.h>
#include <stdbool.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct shoal_sync_options {
    const char *name; /* at most 47 bytes, kept for inspection; NULL: none */
    unsigned flags;   /* see each object; otherwise 0 */
} shoal_sync_options;

/* Who holds something. */
typedef struct shoal_holder {
    pid_t pid;     /* 0: nobody */
    pid_t tid;     /* the thread */
    char name[48]; /* the process's name */
} shoal_holder;

/* ---- lock: not recursive; any thread of any process may release it ---- */
typedef struct shoal_lock shoal_lock;
SHOAL_API int shoal_lock_create(shoal_lock **ret, const shoal_sync_options *options);
/* 0: held. SHOAL_OWNER_DIED: held, and the one who held it before died with it. A second acquire by
 * its holder waits (for its deadline). */
SHOAL_API int shoal_lock_acquire(shoal_lock *lock, int64_t deadline);
/* -EPERM: nobody holds it. Two releases of one acquisition at the same moment are an error of the
 * program that may go unnoticed. */
SHOAL_API int shoal_lock_release(shoal_lock *lock);
SHOAL_API int shoal_lock_locked(const shoal_lock *lock); /* 1, 0, or -errno */
/* Who holds it at this moment: 1, or 0 (nobody). A holder that died and was not yet succeeded
 * counts as nobody. */
SHOAL_API int shoal_lock_holder(const shoal_lock *lock, shoal_holder *ret);
SHOAL_API int shoal_lock_reference(const shoal_lock *lock, shoal_reference *ret);
SHOAL_API int shoal_lock_open(shoal_lock **ret, const shoal_reference *reference);
SHOAL_API shoal_lock *shoal_lock_close(shoal_lock *lock);

/* ---- rlock: its owner (a thread) may acquire it again, and only the owner releases ---- */
typedef struct shoal_rlock shoal_rlock;
SHOAL_API int shoal_rlock_create(shoal_rlock **ret, const shoal_sync_options *options);
SHOAL_API int shoal_rlock_acquire(shoal_rlock *lock,
                                  int64_t deadline);  /* as lock; -EOVERFLOW beyond 2^31 levels */
SHOAL_API int shoal_rlock_release(shoal_rlock *lock); /* -EPERM: not the owner */
SHOAL_API int shoal_rlock_locked(const shoal_rlock *lock);
SHOAL_API int shoal_rlock_holder(const shoal_rlock *lock, shoal_holder *ret);
SHOAL_API int shoal_rlock_count(
    const shoal_rlock *lock); /* levels that the calling thread holds, 0 if it is not the owner */
SHOAL_API int shoal_rlock_reference(const shoal_rlock *lock, shoal_reference *ret);
SHOAL_API int shoal_rlock_open(shoal_rlock **ret, const shoal_reference *reference);
SHOAL_API shoal_rlock *shoal_rlock_close(shoal_rlock *lock);

/* ---- rwlock: many readers or one writer; writers go first ---- */
typedef struct shoal_rwlock shoal_rwlock;
SHOAL_API int shoal_rwlock_create(shoal_rwlock **ret, const shoal_sync_options *options);
/* Readers never see SHOAL_OWNER_DIED for a dead reader; after a dead writer the next to acquire,
 * reader or writer, gets it; and again the next, if that one dies before it has released. A thread
 * may read-acquire again (-EOVERFLOW beyond 255 levels). -EDEADLK: the caller writes. -ENOSPC: 4088
 * threads read. */
SHOAL_API int shoal_rwlock_acquire_read(shoal_rwlock *lock, int64_t deadline);
SHOAL_API int shoal_rwlock_acquire_write(
    shoal_rwlock *lock, int64_t deadline); /* -EDEADLK: the caller reads or writes already */
SHOAL_API int shoal_rwlock_release(
    shoal_rwlock *lock); /* the caller's own share; -EPERM if it has none */
SHOAL_API int shoal_rwlock_locked(const shoal_rwlock *lock);  /* 0 free, 1 read, 2 written */
SHOAL_API int shoal_rwlock_readers(const shoal_rwlock *lock); /* how many threads read */
SHOAL_API int shoal_rwlock_holder(const shoal_rwlock *lock,
                                  shoal_holder *ret); /* the writer, or one of the readers */
SHOAL_API int shoal_rwlock_reference(const shoal_rwlock *lock, shoal_reference *ret);
SHOAL_API int shoal_rwlock_open(shoal_rwlock **ret, const shoal_reference *reference);
SHOAL_API shoal_rwlock *shoal_rwlock_close(shoal_rwlock *lock);

/* ---- once: something that one process does for all ---- */
typedef struct shoal_once shoal_once;
SHOAL_API int shoal_once_create(shoal_once **ret, const shoal_sync_options *options);
/* Calls function(argument) if nobody has yet; waits while somebody else is in it. 0: it is done. If
 * it returns a negative number, or its process dies, it is not done, and the next caller runs it.
 * The negative number is returned to the caller that ran it. -EDEADLK: called from within
 * function. */
SHOAL_API int shoal_once_run(shoal_once *once, int (*function)(void *argument), void *argument,
                             int64_t deadline);
SHOAL_API int shoal_once_done(const shoal_once *once);
SHOAL_API int shoal_once_reference(const shoal_once *once, shoal_reference *ret);
SHOAL_API int shoal_once_open(shoal_once **ret, const shoal_reference *reference);
SHOAL_API shoal_once *shoal_once_close(shoal_once *once);

/* ---- semaphore ---- */
typedef struct shoal_semaphore shoal_semaphore;
#define SHOAL_SEMAPHORE_MAX 0x7fffffff
typedef struct shoal_semaphore_options {
    const char *name;
    uint32_t
        bound; /* the value never exceeds it; 0: SHOAL_SEMAPHORE_MAX. A bounded semaphore has bound == value. */
    uint32_t owned; /* how many permits may be owned at the same time, at most 4096; 0: none may */
    unsigned flags;
} shoal_semaphore_options;
/* -EINVAL if value > bound. */
SHOAL_API int shoal_semaphore_create(shoal_semaphore **ret, uint32_t value,
                                     const shoal_semaphore_options *options);
/* Takes a plain permit: a signal, that stays taken when its taker dies. SHOAL_NOW may be in vain
 * while others take and give at the same moment, though one permit was free all the time. */
SHOAL_API int shoal_semaphore_acquire(shoal_semaphore *semaphore, int64_t deadline);
/* Gives a plain permit. -EOVERFLOW: the value is at its bound. */
SHOAL_API int shoal_semaphore_release(shoal_semaphore *semaphore);
/* Takes a permit that belongs to the calling thread and comes back when its process dies. -EINVAL:
 * made without `owned`; -ENOSPC: all cells for owned permits are in use. */
SHOAL_API int shoal_semaphore_acquire_owned(shoal_semaphore *semaphore, int64_t deadline);
SHOAL_API int shoal_semaphore_release_owned(
    shoal_semaphore *semaphore); /* -EPERM: the caller's thread owns none; -EOVERFLOW: as release */
SHOAL_API int shoal_semaphore_value(const shoal_semaphore *semaphore);
/* Up to n owners of owned permits; returns how many there are. */
SHOAL_API int shoal_semaphore_holders(const shoal_semaphore *semaphore, shoal_holder *ret,
                                      size_t n);
SHOAL_API int shoal_semaphore_reference(const shoal_semaphore *semaphore, shoal_reference *ret);
SHOAL_API int shoal_semaphore_open(shoal_semaphore **ret, const shoal_reference *reference);
SHOAL_API shoal_semaphore *shoal_semaphore_close(shoal_semaphore *semaphore);

/* ---- event ---- */
typedef struct shoal_event shoal_event;
SHOAL_API int shoal_event_create(shoal_event **ret, const shoal_sync_options *options);
SHOAL_API int shoal_event_set(shoal_event *event);
SHOAL_API int shoal_event_clear(shoal_event *event);
SHOAL_API int shoal_event_is_set(const shoal_event *event);
/* Also returns 0 if the event was set and cleared again while the caller waited. */
SHOAL_API int shoal_event_wait(shoal_event *event, int64_t deadline);
SHOAL_API int shoal_event_reference(const shoal_event *event, shoal_reference *ret);
SHOAL_API int shoal_event_open(shoal_event **ret, const shoal_reference *reference);
SHOAL_API shoal_event *shoal_event_close(shoal_event *event);

/* ---- condition: waits for something that a lock or rlock protects ---- */
typedef struct shoal_condition shoal_condition;
/* Exactly one of lock and rlock, or neither (then it gets an rlock of its own, as in
 * multiprocessing). The condition holds its lock's object while it lives. */
SHOAL_API int shoal_condition_create(shoal_condition **ret, shoal_lock *lock, shoal_rlock *rlock,
                                     const shoal_sync_options *options);
SHOAL_API int shoal_condition_acquire(shoal_condition *condition, int64_t deadline); /* its lock */
SHOAL_API int shoal_condition_release(shoal_condition *condition);
/* The caller holds the lock; it is released (all levels), and held again on return, whatever is
 * returned but -EPERM (does not hold it), -EBADF and -ENOMEM.
 *   0                 notified                       SHOAL_OWNER_DIED   notified, and the lock came from a dead holder
 *   -ETIMEDOUT        not notified by the deadline   -EOWNERDEAD        not notified, and the lock came from a dead holder
 *   (SHOAL_NOW too)
 *   -EINTR            a signal handler ran; not notified, and the lock is held
 * Waiters are notified oldest first. A waiter that dies is forgotten; a notification that it had
 * received goes to the next. */
SHOAL_API int shoal_condition_wait(shoal_condition *condition, int64_t deadline);
/* Waits until predicate(argument) is not 0, and returns that (a negative number as an error); asks it
 * with the lock held. -ETIMEDOUT if it is still 0 at the deadline. *died, if not NULL, is set to 1
 * if the lock came from a dead holder at any time, and otherwise left as it is. */
SHOAL_API int shoal_condition_wait_for(shoal_condition *condition, int (*predicate)(void *argument),
                                       void *argument, int64_t deadline, int *died);
/* The caller holds the lock (-EPERM otherwise). Wakes up to n waiters; returns how many. */
SHOAL_API int shoal_condition_notify(shoal_condition *condition, unsigned n);
SHOAL_API int shoal_condition_notify_all(shoal_condition *condition);
SHOAL_API int shoal_condition_waiters(
    const shoal_condition *condition); /* how many wait, un-notified */
SHOAL_API int shoal_condition_reference(const shoal_condition *condition, shoal_reference *ret);
SHOAL_API int shoal_condition_open(shoal_condition **ret, const shoal_reference *reference);
SHOAL_API shoal_condition *shoal_condition_close(shoal_condition *condition);

/* ---- barrier ---- */
typedef struct shoal_barrier shoal_barrier;
/* parties: 1 to 4096. */
SHOAL_API int shoal_barrier_create(shoal_barrier **ret, unsigned parties,
                                   const shoal_sync_options *options);
/* Waits until `parties` threads wait. Returns each its own number, 0 … parties - 1. -ECANCELED: the
 * barrier is, or became, broken: a waiting party died, its deadline passed (that one gets
 * -ETIMEDOUT, with SHOAL_NOW too), reset or abort was called, or an action failed. -EINTR breaks it
 * too. */
SHOAL_API int shoal_barrier_wait(shoal_barrier *barrier, int64_t deadline);
/* The same; if action is not NULL the last to arrive calls it before the others go on. Negative:
 * breaks the barrier, and is returned to that caller. */
SHOAL_API int shoal_barrier_wait_action(shoal_barrier *barrier, int (*action)(void *argument),
                                        void *argument, int64_t deadline);
SHOAL_API int shoal_barrier_reset(
    shoal_barrier *barrier); /* whoever waits gets -ECANCELED; then it is as new */
SHOAL_API int shoal_barrier_abort(shoal_barrier *barrier); /* broken until reset */
SHOAL_API int shoal_barrier_broken(const shoal_barrier *barrier);
SHOAL_API int shoal_barrier_parties(const shoal_barrier *barrier);
SHOAL_API int shoal_barrier_n_waiting(const shoal_barrier *barrier);
SHOAL_API int shoal_barrier_reference(const shoal_barrier *barrier, shoal_reference *ret);
SHOAL_API int shoal_barrier_open(shoal_barrier **ret, const shoal_reference *reference);
SHOAL_API shoal_barrier *shoal_barrier_close(shoal_barrier *barrier);

#ifdef __cplusplus
}
#endif
#endif
