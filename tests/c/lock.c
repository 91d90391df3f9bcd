/* lock: what sync.h promises. */
#include "processes.h"

static shoal_lock *lock;
static _Atomic long *shared;

static void setup(void)
{
    shared = words_open();
    ASSERT_OK(shoal_lock_create(&lock, NULL));
}

static void done(void)
{
    shoal_lock_close(lock);
    words_close();
}

COMMON_OPTION_TESTS(lock)
COMMON_TESTS(lock, lock_create, shoal_lock_locked)

TEST(lock_calls_refuse_a_closed_handle)
{
    shoal_holder holder;
    setup();
    shoal_lock_close(lock);
    ASSERT_ERR(shoal_lock_acquire(lock, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_lock_release(lock), -EBADF);
    ASSERT_ERR(shoal_lock_holder(lock, &holder), -EBADF);
    done();
}

TEST(lock_is_held_from_acquire_to_release)
{
    shoal_holder holder;
    setup();
    ASSERT_EQ_INT(shoal_lock_locked(lock), 0);
    ASSERT_EQ_INT(shoal_lock_holder(lock, &holder), 0);
    ASSERT_EQ_INT(holder.pid, 0);
    ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT(shoal_lock_locked(lock), 1);
    ASSERT_EQ_INT(shoal_lock_holder(lock, &holder), 1);
    ASSERT_EQ_INT(holder.pid, getpid());
    ASSERT_EQ_INT(holder.tid, gettid());
    ASSERT_STR(holder.name, "MainProcess");
    ASSERT_ERR(shoal_lock_holder(lock, NULL), -EINVAL);
    ASSERT_EQ_INT(shoal_lock_release(lock), 0);
    ASSERT_EQ_INT(shoal_lock_locked(lock), 0);
    ASSERT_ERR(shoal_lock_release(lock), -EPERM);
    done();
}

TEST(lock_is_not_recursive)
{
    setup();
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_NOW));
    ASSERT_ERR(shoal_lock_acquire(lock, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_lock_acquire(lock, shoal_after(0.01)), -ETIMEDOUT);
    ASSERT_ERR(shoal_lock_acquire(lock, 1), -ETIMEDOUT); /* long past */
    ASSERT_OK(shoal_lock_release(lock));
    ASSERT_EQ_INT(shoal_lock_acquire(lock, 1), 0);
    done();
}

static void release_it(void)
{
    ASSERT_ERR(shoal_lock_acquire(lock, SHOAL_NOW), -EAGAIN);
    ASSERT_OK(shoal_lock_release(lock));
}

TEST(lock_may_be_released_by_another_process)
{
    setup();
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_NOW));
    ends_well(child(release_it));
    ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_NOW), 0);
    done();
}

static void *release_in_thread(void *argument)
{
    (void)argument;
    release_it();
    return NULL;
}

TEST(lock_may_be_released_by_another_thread)
{
    pthread_t thread;
    setup();
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_NOW));
    pthread_create(&thread, NULL, release_in_thread, NULL);
    pthread_join(thread, NULL);
    ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_NOW), 0);
    done();
}

static void acquire_forever(void)
{
    atomic_fetch_add(&shared[0], 1);
    ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_FOREVER), 0);
    atomic_fetch_add(&shared[1], 1);
    ASSERT_OK(shoal_lock_release(lock));
}

TEST(lock_release_wakes_who_sleeps)
{
    pid_t pids[3];
    setup();
    for (int round = 0; round < 10; round++) {
        ASSERT_OK(shoal_lock_acquire(lock, SHOAL_FOREVER));
        for (int i = 0; i < 3; i++) {
            pids[i] = child(acquire_forever);
            until_word(&shared[0], round * 3 + i + 1);
            until_asleep(pids[i]);
        }
        ASSERT_EQ_INT(shared[1], round * 3);
        ASSERT_OK(shoal_lock_release(lock));
        for (int i = 0; i < 3; i++)
            ends_well(pids[i]);
    }
    done();
}

static void be_interrupted(void)
{
    let_signals_interrupt();
    ASSERT_ERR(shoal_lock_acquire(lock, SHOAL_FOREVER), -EINTR);
}

TEST(lock_acquire_ends_when_a_signal_handler_ran)
{
    setup();
    let_signals_interrupt();
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_NOW));
    interrupt_until_end(child(be_interrupted));
    ASSERT_OK(shoal_lock_release(lock));
    ASSERT_EQ_INT(shoal_lock_locked(lock), 0);
    done();
}

/* ---- deaths ---- */

static void hold_until_killed(void)
{
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_FOREVER));
    atomic_store(&shared[2], 1);
    for (;;)
        pause();
}

static pid_t start_holder(void)
{
    atomic_store(&shared[2], 0);
    pid_t pid = child(hold_until_killed);
    until_word(&shared[2], 1);
    return pid;
}

TEST(lock_of_a_dead_holder_is_acquired_with_notice_and_only_once)
{
    shoal_holder holder;
    char expected[40];
    setup();
    for (int round = 0; round < 20; round++) {
        pid_t pid = start_holder();
        ASSERT_EQ_INT(shoal_lock_holder(lock, &holder), 1);
        ASSERT_EQ_INT(holder.pid, pid);
        kill_and_reap(pid);
        ASSERT_EQ_INT(shoal_lock_acquire(lock, round % 2 ? SHOAL_NOW : SHOAL_FOREVER),
                      SHOAL_OWNER_DIED);
        snprintf(expected, sizeof expected, "(pid %d)", (int)pid);
        ASSERT_NOT_NULL(strstr(shoal_error_detail(), expected));
        ASSERT_OK(shoal_lock_release(lock));
        ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_NOW), 0);
        ASSERT_OK(shoal_lock_release(lock));
    }
    done();
}

TEST(lock_of_a_dead_holder_cannot_be_released)
{
    shoal_holder holder;
    setup();
    kill_and_reap(start_holder());
    until_deaths(1);
    ASSERT_EQ_INT(shoal_lock_locked(lock), 0);
    ASSERT_EQ_INT(shoal_lock_holder(lock, &holder), 0);
    ASSERT_ERR(shoal_lock_release(lock), -EPERM);
    ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_NOW), SHOAL_OWNER_DIED);
    done();
}

static void inherit(void)
{
    atomic_fetch_add(&shared[0], 1);
    int rc = shoal_lock_acquire(lock, SHOAL_FOREVER);
    ASSERT_OK(rc);
    atomic_fetch_add(&shared[3], rc == SHOAL_OWNER_DIED);
    ASSERT_OK(shoal_lock_release(lock));
}

TEST(lock_sleepers_go_on_when_the_holder_dies)
{
    setup();
    for (int round = 0; round < 10; round++) {
        pid_t pids[4], holder = start_holder();
        for (int i = 0; i < 4; i++) {
            pids[i] = child(inherit);
            until_word(&shared[0], round * 4 + i + 1);
            until_asleep(pids[i]);
        }
        kill_and_reap(holder);
        for (int i = 0; i < 4; i++)
            ends_well(pids[i]);
        ASSERT_EQ_INT(shared[3], round + 1);
    }
    done();
}

TEST(lock_sleepers_go_on_when_a_sleeper_and_the_holder_die)
{
    setup();
    for (int round = 0; round < 10; round++) {
        pid_t pids[4], holder = start_holder();
        for (int i = 0; i < 4; i++) {
            pids[i] = child(inherit);
            until_word(&shared[0], round * 4 + i + 1);
            until_asleep(pids[i]);
        }
        kill_and_reap(pids[round % 4]); /* the first of them watches over the others */
        kill_and_reap(holder);
        for (int i = 0; i < 4; i++)
            if (i != round % 4)
                ends_well(pids[i]);
        ASSERT_EQ_INT(shared[3], round + 1);
    }
    done();
}

TEST(lock_release_reaches_the_next_though_the_woken_one_is_killed)
{
    setup();
    for (int round = 0; round < 20; round++) {
        pid_t pids[3];
        ASSERT_OK(shoal_lock_acquire(lock, SHOAL_FOREVER));
        for (int i = 0; i < 3; i++) {
            pids[i] = child(inherit);
            until_word(&shared[0], round * 3 + i + 1);
            until_asleep(pids[i]);
        }
        ASSERT_OK(shoal_lock_release(lock));
        ASSERT_SYS(kill(pids[0], SIGKILL)); /* anywhere on its way, or at its end */
        ASSERT_SYS(waitpid(pids[0], NULL, 0));
        ends_well(pids[1]);
        ends_well(pids[2]);
    }
    done();
}

/* ---- contention ---- */

enum { PROCESSES = 4, ROUNDS = 3000 };

static void count_up(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_FOREVER), 0);
        long n = atomic_load_explicit(&shared[5], memory_order_relaxed);
        atomic_store_explicit(&shared[5], n + 1, memory_order_relaxed);
        ASSERT_OK(shoal_lock_release(lock));
    }
}

TEST(lock_lets_one_in_at_a_time)
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

static void *count_in_thread(void *argument)
{
    (void)argument;
    count_up();
    return NULL;
}

TEST(lock_lets_one_thread_in_at_a_time)
{
    pthread_t threads[PROCESSES];
    setup();
    pid_t pid = child(count_up);
    for (int i = 0; i < PROCESSES; i++)
        pthread_create(&threads[i], NULL, count_in_thread, NULL);
    for (int i = 0; i < PROCESSES; i++)
        pthread_join(threads[i], NULL);
    ends_well(pid);
    ASSERT_EQ_INT(shared[5], (PROCESSES + 1) * ROUNDS);
    done();
}

/* With deadlines that pass and others that do not. */
static void count_impatiently(void)
{
    for (int i = 0; i < ROUNDS / 10;) {
        int rc = shoal_lock_acquire(lock, i % 3 ? shoal_after(0.00005) : SHOAL_NOW);
        if (rc == -ETIMEDOUT || rc == -EAGAIN)
            continue;
        ASSERT_EQ_INT(rc, 0);
        long n = atomic_load_explicit(&shared[5], memory_order_relaxed);
        if (!(i % 50))
            nap();
        atomic_store_explicit(&shared[5], n + 1, memory_order_relaxed);
        ASSERT_OK(shoal_lock_release(lock));
        i++;
    }
}

TEST(lock_loses_nothing_when_deadlines_pass)
{
    pid_t pids[PROCESSES];
    setup();
    for (int i = 0; i < PROCESSES; i++)
        pids[i] = child(count_impatiently);
    for (int i = 0; i < PROCESSES; i++)
        ends_well(pids[i]);
    ASSERT_EQ_INT(shared[5], PROCESSES * (ROUNDS / 10));
    done();
}

/* Each says when it goes in and out: the one that is killed inside is known. */
static void count_mortally(void)
{
    for (;;) {
        int rc = shoal_lock_acquire(lock, SHOAL_FOREVER);
        ASSERT_OK(rc);
        if (rc != SHOAL_OWNER_DIED) /* whole: nobody died between the two */
            ASSERT_EQ_INT(shared[5], shared[6]);
        atomic_store(&shared[6], shared[5]);
        atomic_fetch_add(&shared[5], 1);
        atomic_fetch_add(&shared[6], 1);
        ASSERT_OK(shoal_lock_release(lock));
        atomic_fetch_add(&shared[7], 1);
    }
}

TEST(lock_goes_on_while_its_users_are_killed)
{
    pid_t pids[PROCESSES];
    setup();
    for (int i = 0; i < PROCESSES; i++)
        pids[i] = child(count_mortally);
    for (int kills = 0; kills < 60; kills++) {
        until_word(&shared[7], shared[7] + 20);
        kill_and_reap(pids[kills % PROCESSES]);
        pids[kills % PROCESSES] = child(count_mortally);
    }
    for (int i = 0; i < PROCESSES; i++)
        kill_and_reap(pids[i]);
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_FOREVER));
    done();
}
