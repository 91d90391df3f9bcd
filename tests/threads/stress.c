/* The same objects between threads of one process: what ThreadSanitizer looks at. Each test hammers
 * one object and checks what it promises. Data that a lock protects is plain memory on purpose: a
 * wrong order of an acquire or a release is a data race. */
#include "runner.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <shoal/shoal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS = 2000 };

static struct shared {
    shoal_lock *lock;
    shoal_rlock *rlock;
    shoal_rwlock *rwlock;
    shoal_semaphore *semaphore;
    shoal_event *event, *back;
    shoal_condition *condition;
    shoal_barrier *barrier;
    shoal_once *once;
    shoal_reference reference;
    long plain;   /* protected by the object under test */
    long pair[2]; /* always equal under the rwlock */
    int turn;
    _Atomic long inside;
} shared;

static void run(void *(*function)(void *), int n)
{
    pthread_t threads[16];
    for (long i = 0; i < n; i++)
        ASSERT_EQ_INT(pthread_create(&threads[i], NULL, function, (void *)i), 0);
    for (int i = 0; i < n; i++)
        ASSERT_EQ_INT(pthread_join(threads[i], NULL), 0);
}

static void *lock_unlock(void *argument)
{
    (void)argument;
    for (int i = 0; i < ROUNDS; i++) {
        ASSERT_EQ_INT(shoal_lock_acquire(shared.lock, SHOAL_FOREVER), 0);
        shared.plain++;
        ASSERT_OK(shoal_lock_release(shared.lock));
    }
    return NULL;
}

TEST(a_lock_orders_what_threads_write_under_it)
{
    ASSERT_OK(shoal_lock_create(&shared.lock, NULL));
    run(lock_unlock, THREADS);
    ASSERT_EQ_INT(shared.plain, THREADS * ROUNDS);
    shoal_lock_close(shared.lock);
}

static void *rlock_unlock(void *argument)
{
    (void)argument;
    for (int i = 0; i < ROUNDS; i++) {
        ASSERT_EQ_INT(shoal_rlock_acquire(shared.rlock, SHOAL_FOREVER), 0);
        ASSERT_EQ_INT(shoal_rlock_acquire(shared.rlock, SHOAL_FOREVER), 0);
        shared.plain++;
        ASSERT_OK(shoal_rlock_release(shared.rlock));
        shared.plain++;
        ASSERT_OK(shoal_rlock_release(shared.rlock));
    }
    return NULL;
}

TEST(an_rlock_orders_what_threads_write_under_it)
{
    ASSERT_OK(shoal_rlock_create(&shared.rlock, NULL));
    run(rlock_unlock, THREADS);
    ASSERT_EQ_INT(shared.plain, 2 * THREADS * ROUNDS);
    shoal_rlock_close(shared.rlock);
}

static void *acquire_release(void *argument)
{
    (void)argument;
    for (int i = 0; i < ROUNDS; i++) {
        ASSERT_OK(shoal_semaphore_acquire(shared.semaphore, SHOAL_FOREVER));
        ASSERT_TRUE(atomic_fetch_add(&shared.inside, 1) < 2);
        atomic_fetch_sub(&shared.inside, 1);
        ASSERT_OK(shoal_semaphore_release(shared.semaphore));
    }
    return NULL;
}

TEST(a_semaphore_of_two_lets_two_in)
{
    ASSERT_OK(shoal_semaphore_create(&shared.semaphore, 2, NULL));
    run(acquire_release, THREADS);
    ASSERT_EQ_INT(shoal_semaphore_value(shared.semaphore), 2);
    shoal_semaphore_close(shared.semaphore);
}

static void *acquire_owned(void *argument)
{
    (void)argument;
    for (int i = 0; i < ROUNDS; i++) {
        ASSERT_OK(shoal_semaphore_acquire_owned(shared.semaphore, SHOAL_FOREVER));
        shared.plain++;
        ASSERT_OK(shoal_semaphore_release_owned(shared.semaphore));
    }
    return NULL;
}

TEST(one_owned_permit_orders_what_threads_write_under_it)
{
    shoal_semaphore_options options = {.owned = 1, .bound = 1};
    ASSERT_OK(shoal_semaphore_create(&shared.semaphore, 1, &options));
    run(acquire_owned, THREADS);
    ASSERT_EQ_INT(shared.plain, THREADS * ROUNDS);
    shoal_semaphore_close(shared.semaphore);
}

static void *read_write(void *argument)
{
    for (int i = 0; i < ROUNDS; i++) {
        if ((i + (int)(long)argument) % 4 == 0) {
            ASSERT_OK(shoal_rwlock_acquire_write(shared.rwlock, SHOAL_FOREVER));
            shared.pair[0]++;
            shared.pair[1]++;
        } else {
            ASSERT_OK(shoal_rwlock_acquire_read(shared.rwlock, SHOAL_FOREVER));
            ASSERT_EQ_INT(shared.pair[0], shared.pair[1]);
        }
        ASSERT_OK(shoal_rwlock_release(shared.rwlock));
    }
    return NULL;
}

TEST(readers_of_an_rwlock_see_whole_writes)
{
    ASSERT_OK(shoal_rwlock_create(&shared.rwlock, NULL));
    run(read_write, THREADS);
    ASSERT_EQ_INT(shared.pair[0], THREADS * ROUNDS / 4);
    shoal_rwlock_close(shared.rwlock);
}

static void *ping_pong(void *argument)
{
    shoal_event *mine = argument ? shared.back : shared.event;
    shoal_event *other = argument ? shared.event : shared.back;
    for (int i = 0; i < ROUNDS; i++) {
        if (argument) {
            shared.plain++;
            ASSERT_OK(shoal_event_set(other));
        }
        ASSERT_OK(shoal_event_wait(mine, SHOAL_FOREVER));
        ASSERT_OK(shoal_event_clear(mine));
        if (!argument) {
            shared.plain++;
            ASSERT_OK(shoal_event_set(other));
        }
    }
    return NULL;
}

TEST(an_event_orders_what_was_written_before_it_was_set)
{
    ASSERT_OK(shoal_event_create(&shared.event, NULL));
    ASSERT_OK(shoal_event_create(&shared.back, NULL));
    run(ping_pong, 2);
    ASSERT_EQ_INT(shared.plain, 2 * ROUNDS);
    shoal_event_close(shared.event);
    shoal_event_close(shared.back);
}

static void *take_turns(void *argument)
{
    int me = (int)(long)argument;
    for (int i = 0; i < ROUNDS / 4; i++) {
        ASSERT_OK(shoal_condition_acquire(shared.condition, SHOAL_FOREVER));
        while (shared.turn != me)
            ASSERT_OK(shoal_condition_wait(shared.condition, SHOAL_FOREVER));
        shared.turn = (me + 1) % THREADS;
        shared.plain++;
        ASSERT_OK(shoal_condition_notify_all(shared.condition));
        ASSERT_OK(shoal_condition_release(shared.condition));
    }
    return NULL;
}

TEST(threads_take_turns_by_a_condition)
{
    ASSERT_OK(shoal_condition_create(&shared.condition, NULL, NULL, NULL));
    run(take_turns, THREADS);
    ASSERT_EQ_INT(shared.plain, THREADS * (ROUNDS / 4));
    shoal_condition_close(shared.condition);
}

static long phase_of[THREADS];

static void *walk_phases(void *argument)
{
    long me = (long)argument;
    for (long i = 0; i < ROUNDS / 4; i++) {
        phase_of[me] = i;
        ASSERT_OK(shoal_barrier_wait(shared.barrier, SHOAL_FOREVER));
        for (int k = 0; k < THREADS; k++)
            ASSERT_EQ_INT(phase_of[k], i);
        ASSERT_OK(shoal_barrier_wait(shared.barrier, SHOAL_FOREVER));
    }
    return NULL;
}

TEST(a_barrier_shows_what_all_wrote_before_it)
{
    ASSERT_OK(shoal_barrier_create(&shared.barrier, THREADS, NULL));
    run(walk_phases, THREADS);
    shoal_barrier_close(shared.barrier);
}

static int write_once(void *argument)
{
    (void)argument;
    shared.plain += 7;
    return 0;
}

static void *run_once(void *argument)
{
    (void)argument;
    ASSERT_OK(shoal_once_run(shared.once, write_once, NULL, SHOAL_FOREVER));
    ASSERT_EQ_INT(shared.plain, 7);
    return NULL;
}

TEST(what_a_once_did_is_seen_by_all)
{
    ASSERT_OK(shoal_once_create(&shared.once, NULL));
    run(run_once, THREADS);
    shoal_once_close(shared.once);
}

static void *create_open_close(void *argument)
{
    shoal_memory *mine[8];
    (void)argument;
    for (int i = 0; i < ROUNDS / 8; i++) {
        for (size_t k = 0; k < 8; k++) {
            size_t size = k == 7 ? 10000 : (size_t)1 << (k + 4);
            ASSERT_OK(shoal_memory_create(&mine[k], size, NULL));
            memset(shoal_memory_address(mine[k]), (int)k, size);
        }
        shoal_lock *again;
        int rc = shoal_lock_open(&again, &shared.reference);
        ASSERT_OK(rc);
        ASSERT_OK(shoal_lock_acquire(again, SHOAL_FOREVER));
        shared.plain++;
        ASSERT_OK(shoal_lock_release(again));
        shoal_lock_close(again);
        for (size_t k = 0; k < 8; k++) {
            const unsigned char *p = shoal_memory_address(mine[k]);
            ASSERT_EQ_INT(p[0], k);
            ASSERT_EQ_INT(p[shoal_memory_size(mine[k]) - 1], k);
            shoal_memory_close(mine[k]);
        }
    }
    return NULL;
}

TEST(threads_create_open_and_close_beside_each_other)
{
    shoal_statistics before, after;
    ASSERT_OK(shoal_lock_create(&shared.lock, NULL));
    ASSERT_OK(shoal_lock_reference(shared.lock, &shared.reference));
    ASSERT_OK(shoal_memory_statistics(&before));
    run(create_open_close, THREADS);
    ASSERT_OK(shoal_memory_statistics(&after));
    ASSERT_EQ_INT(after.objects, before.objects);
    ASSERT_EQ_INT(shared.plain, THREADS * (ROUNDS / 8));
    shoal_lock_close(shared.lock);
}

static void *attach_once(void *argument)
{
    (void)argument;
    ASSERT_OK(shoal_lock_acquire(shared.lock, SHOAL_FOREVER));
    shared.plain++;
    ASSERT_OK(shoal_lock_release(shared.lock));
    return NULL;
}

TEST(threads_that_come_and_go_leave_nothing)
{
    ASSERT_OK(shoal_lock_create(&shared.lock, NULL));
    for (int i = 0; i < 100; i++)
        run(attach_once, THREADS);
    ASSERT_EQ_INT(shared.plain, 100 * THREADS);
    shoal_lock_close(shared.lock);
}

static shoal_connection *ends[2];

static void *send_or_receive(void *argument)
{
    long me = (long)argument;
    for (long i = 0; i < ROUNDS; i++) {
        long message[2] = {i, ~i};
        size_t size;
        if (me % 2) {
            ASSERT_OK(shoal_connection_send_bytes(ends[0], message, sizeof message, SHOAL_FOREVER));
            continue;
        }
        ASSERT_OK(shoal_connection_recv_bytes_into(ends[1], message, sizeof message, &size,
                                                   SHOAL_FOREVER));
        ASSERT_EQ_INT(size, sizeof message);
        ASSERT_EQ_INT(message[0], ~message[1]);
        atomic_fetch_add(&shared.inside, message[0]);
    }
    return NULL;
}

TEST(a_connection_gives_each_message_whole_to_one_thread)
{
    int fds[2];
    ASSERT_SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    for (int i = 0; i < 2; i++)
        ASSERT_OK(shoal_connection_from_fd(&ends[i], fds[i]));
    run(send_or_receive, THREADS);
    ASSERT_EQ_INT(shared.inside, THREADS / 2 * (long)ROUNDS * (ROUNDS - 1) / 2);
    for (int i = 0; i < 2; i++)
        shoal_connection_close(ends[i]);
}

static shoal_listener *listener;
static const unsigned no_key = SHOAL_CRYPTO ? 0 : SHOAL_NO_AUTHKEY;

static void *call_or_accept(void *argument)
{
    long me = (long)argument;
    for (int i = 0; i < ROUNDS / 10; i++) {
        shoal_connection *c;
        shoal_address address;
        char byte = 0;
        size_t size;
        if (me % 2) {
            ASSERT_OK(shoal_listener_accept(listener, &c, SHOAL_FOREVER));
            ASSERT_OK(shoal_connection_send_bytes(c, "x", 1, SHOAL_FOREVER));
        } else {
            ASSERT_OK(shoal_listener_address(listener, &address));
            ASSERT_OK(shoal_client(&c, &address, &(shoal_client_options){.flags = no_key},
                                   SHOAL_FOREVER));
            ASSERT_OK(shoal_connection_recv_bytes_into(c, &byte, 1, &size, SHOAL_FOREVER));
            ASSERT_EQ_INT(byte, 'x');
        }
        shoal_connection_close(c);
        ASSERT_ERR(shoal_connection_poll(c, SHOAL_NOW), -EBADF);
    }
    return NULL;
}

TEST(threads_accept_and_call_beside_each_other)
{
    ASSERT_OK(shoal_listener_create(&listener, NULL, &(shoal_listener_options){.flags = no_key}));
    run(call_or_accept, THREADS);
    shoal_listener_close(listener);
}

static _Atomic int begun;

static void *receive_until_closed(void *argument)
{
    char byte;
    size_t size;
    (void)argument;
    atomic_fetch_add(&begun, 1);
    ASSERT_ERR(shoal_connection_recv_bytes_into(ends[0], &byte, 1, &size, SHOAL_FOREVER), -EBADF);
    return NULL;
}

static void *close_or_receive(void *argument)
{
    if (argument)
        return receive_until_closed(argument);
    while (atomic_load(&begun) < THREADS - 1)
        sched_yield();
    shoal_connection_close(ends[0]);
    return NULL;
}

TEST(a_connection_may_be_closed_under_those_who_wait)
{
    for (int i = 0; i < 100; i++) {
        int fds[2];
        atomic_store(&begun, 0);
        ASSERT_SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
        ASSERT_OK(shoal_connection_from_fd(&ends[0], fds[0]));
        run(close_or_receive, THREADS);
        close(fds[1]);
    }
}
