/* takers.h: processes that hold some objects and wait for another. */
#ifndef TESTS_TAKERS_H
#define TESTS_TAKERS_H

#include "snapshots.h"

enum { MANY = 4 };
static shoal_lock *locks[MANY];
static shoal_rlock *rlock;
static shoal_rwlock *rwlock;
static shoal_semaphore *semaphore;
static shoal_event *event;
static const char *const lock_names[MANY] = {"a", "b", "c", "d"};

static inline void make_all(void)
{
    words = words_open();
    for (int i = 0; i < MANY; i++)
        ASSERT_OK(shoal_lock_create(&locks[i], &(shoal_sync_options){.name = lock_names[i]}));
    ASSERT_OK(shoal_rlock_create(&rlock, &(shoal_sync_options){.name = "r"}));
    ASSERT_OK(shoal_rwlock_create(&rwlock, &(shoal_sync_options){.name = "rw"}));
    ASSERT_OK(shoal_event_create(&event, &(shoal_sync_options){.name = "e"}));
    ASSERT_OK(
        shoal_semaphore_create(&semaphore, 2,
                               &(shoal_semaphore_options){.name = "s", .bound = 2, .owned = 2}));
}

static inline void close_all(void)
{
    for (int i = 0; i < MANY; i++)
        shoal_lock_close(locks[i]);
    shoal_rlock_close(rlock);
    shoal_rwlock_close(rwlock);
    shoal_event_close(event);
    shoal_semaphore_close(semaphore);
    words_close();
}

/* What the letter names: R reads, W writes, S a permit, Y the rlock, E waits for the event; a to d the
 * locks. */
static inline void take(char what)
{
    switch (what) {
    case 'R': ASSERT_OK(shoal_rwlock_acquire_read(rwlock, SHOAL_FOREVER)); break;
    case 'W': ASSERT_OK(shoal_rwlock_acquire_write(rwlock, SHOAL_FOREVER)); break;
    case 'S': ASSERT_OK(shoal_semaphore_acquire_owned(semaphore, SHOAL_FOREVER)); break;
    case 'Y': ASSERT_OK(shoal_rlock_acquire(rlock, SHOAL_FOREVER)); break;
    case 'E': ASSERT_OK(shoal_event_wait(event, SHOAL_FOREVER)); break;
    default: ASSERT_OK(shoal_lock_acquire(locks[what - 'a'], SHOAL_FOREVER)); break;
    }
}

/* A process that takes all but the last letter, tells so, and takes the last when it may go on. */
static inline pid_t taker(const char *what)
{
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (pid)
        return pid;
    size_t n = strlen(what);
    for (size_t i = 0; i + 1 < n; i++)
        take(what[i]);
    atomic_fetch_add(&words[HAVE], 1);
    until_word(&words[GO], 1);
    take(what[n - 1]);
    _exit(0);
}

/* Starts a taker for each, lets them go on, and looks when all of them sleep. */
static inline shoal_any *let_wait(int n, const char *const what[], pid_t pids[])
{
    make_all();
    for (int i = 0; i < n; i++)
        pids[i] = taker(what[i]);
    until_word(&words[HAVE], n);
    atomic_store(&words[GO], 1);
    shoal_any *snapshot = NULL;
    do {
        shoal_any_free(snapshot);
        nap();
        snapshot = look();
    } while (shoal_any_count(get(snapshot, "waits")) < n);
    shoal_any_free(snapshot);
    for (int i = 0; i < n; i++)
        until_asleep(pids[i]);
    return look();
}

static inline void end_all(int n, const pid_t pids[], shoal_any *snapshot)
{
    for (int i = 0; i < n; i++)
        kill(pids[i], SIGKILL);
    for (int i = 0; i < n; i++)
        ASSERT_SYS(waitpid(pids[i], NULL, 0));
    shoal_any_free(snapshot);
    close_all();
}

#endif
