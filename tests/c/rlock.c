/* rlock: what sync.h promises. */
#include "processes.h"

static shoal_rlock *lock;
static _Atomic long *shared;

static void setup(void)
{
    shared = words_open();
    ASSERT_OK(shoal_rlock_create(&lock, NULL));
}

static void done(void)
{
    shoal_rlock_close(lock);
    words_close();
}

COMMON_OPTION_TESTS(rlock)
COMMON_TESTS(rlock, rlock_create, shoal_rlock_locked)

TEST(rlock_calls_refuse_a_closed_handle)
{
    shoal_holder holder;
    setup();
    done();
    ASSERT_ERR(shoal_rlock_acquire(lock, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_rlock_release(lock), -EBADF);
    ASSERT_ERR(shoal_rlock_count(lock), -EBADF);
    ASSERT_ERR(shoal_rlock_holder(lock, &holder), -EBADF);
}

TEST(rlock_is_free_after_as_many_releases_as_acquires)
{
    shoal_holder holder;
    setup();
    ASSERT_ERR(shoal_rlock_release(lock), -EPERM);
    for (int i = 1; i <= 5; i++) {
        ASSERT_EQ_INT(shoal_rlock_acquire(lock, i % 2 ? SHOAL_NOW : SHOAL_FOREVER), 0);
        ASSERT_EQ_INT(shoal_rlock_count(lock), i);
    }
    ASSERT_EQ_INT(shoal_rlock_holder(lock, &holder), 1);
    ASSERT_EQ_INT(holder.tid, gettid());
    for (int i = 5; i--;) {
        ASSERT_EQ_INT(shoal_rlock_locked(lock), 1);
        ASSERT_OK(shoal_rlock_release(lock));
        ASSERT_EQ_INT(shoal_rlock_count(lock), i);
    }
    ASSERT_EQ_INT(shoal_rlock_locked(lock), 0);
    ASSERT_EQ_INT(shoal_rlock_holder(lock, &holder), 0);
    ASSERT_ERR(shoal_rlock_release(lock), -EPERM);
    done();
}

static void be_refused(void)
{
    ASSERT_EQ_INT(shoal_rlock_count(lock), 0);
    ASSERT_ERR(shoal_rlock_acquire(lock, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_rlock_acquire(lock, shoal_after(0.005)), -ETIMEDOUT);
    ASSERT_ERR(shoal_rlock_release(lock), -EPERM);
}

static void *be_refused_in_thread(void *argument)
{
    be_refused();
    return argument;
}

TEST(rlock_belongs_to_its_thread)
{
    pthread_t thread;
    setup();
    ASSERT_OK(shoal_rlock_acquire(lock, SHOAL_NOW));
    ASSERT_OK(shoal_rlock_acquire(lock, SHOAL_NOW));
    ends_well(child(be_refused)); /* nor to a child of its thread */
    pthread_create(&thread, NULL, be_refused_in_thread, NULL);
    pthread_join(thread, NULL);
    ASSERT_EQ_INT(shoal_rlock_count(lock), 2);
    ASSERT_OK(shoal_rlock_release(lock));
    ends_well(child(be_refused));
    done();
}

static void hold_twice(void)
{
    ASSERT_OK(shoal_rlock_acquire(lock, SHOAL_FOREVER));
    ASSERT_EQ_INT(shoal_rlock_acquire(lock, SHOAL_FOREVER), 0);
    atomic_store(&shared[2], 1);
    for (;;)
        pause();
}

static void inherit(void)
{
    atomic_fetch_add(&shared[0], 1);
    int rc = shoal_rlock_acquire(lock, SHOAL_FOREVER);
    atomic_fetch_add(&shared[3], rc == SHOAL_OWNER_DIED);
    ASSERT_OK(rc);
    ASSERT_EQ_INT(shoal_rlock_count(lock), 1);
    ASSERT_OK(shoal_rlock_release(lock));
}

TEST(rlock_of_a_dead_owner_is_acquired_with_notice_and_one_level)
{
    setup();
    for (int round = 0; round < 10; round++) {
        pid_t pids[2];
        atomic_store(&shared[2], 0);
        pid_t holder = child(hold_twice);
        until_word(&shared[2], 1);
        for (int i = 0; i < 2; i++) {
            pids[i] = child(inherit);
            until_word(&shared[0], round * 2 + i + 1);
            until_asleep(pids[i]);
        }
        kill_and_reap(holder);
        ends_well(pids[0]);
        ends_well(pids[1]);
        ASSERT_EQ_INT(shared[3], round + 1);
        ASSERT_EQ_INT(shoal_rlock_locked(lock), 0);
    }
    done();
}

static void be_interrupted(void)
{
    let_signals_interrupt();
    ASSERT_ERR(shoal_rlock_acquire(lock, SHOAL_FOREVER), -EINTR);
    ASSERT_EQ_INT(shoal_rlock_count(lock), 0);
}

TEST(rlock_acquire_ends_when_a_signal_handler_ran)
{
    setup();
    let_signals_interrupt();
    ASSERT_OK(shoal_rlock_acquire(lock, SHOAL_NOW));
    interrupt_until_end(child(be_interrupted));
    done();
}

enum { PROCESSES = 4, ROUNDS = 3000 };

static void count_up(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        for (int level = 0; level <= i % 3; level++)
            ASSERT_EQ_INT(shoal_rlock_acquire(lock, SHOAL_FOREVER), 0);
        long n = atomic_load_explicit(&shared[5], memory_order_relaxed);
        atomic_store_explicit(&shared[5], n + 1, memory_order_relaxed);
        for (int level = 0; level <= i % 3; level++)
            ASSERT_OK(shoal_rlock_release(lock));
    }
}

TEST(rlock_lets_one_in_at_a_time)
{
    pid_t pids[PROCESSES];
    setup();
    for (int i = 0; i < PROCESSES; i++)
        pids[i] = child(count_up);
    for (int i = 0; i < PROCESSES; i++)
        ends_well(pids[i]);
    ASSERT_EQ_INT(shared[5], PROCESSES * ROUNDS);
    done();
}
