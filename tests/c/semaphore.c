/* semaphore: what sync.h promises. */
#include "processes.h"

#include <sys/time.h>

static shoal_semaphore *sem;
static _Atomic long *shared;

static void setup(uint32_t value, uint32_t bound, uint32_t owned)
{
    shoal_semaphore_options options = {.bound = bound, .owned = owned};
    shared = words_open();
    ASSERT_OK(shoal_semaphore_create(&sem, value, &options));
}

static void done(void)
{
    shoal_semaphore_close(sem);
    words_close();
}

static int create(shoal_semaphore **ret)
{
    return shoal_semaphore_create(ret, 1, NULL);
}

COMMON_TESTS(semaphore, create, shoal_semaphore_value)

TEST(semaphore_options_are_checked)
{
    shoal_semaphore *x = NULL;
    shoal_semaphore_options bad[] = {
        {.flags = 1},
        {.bound = 2}, /* value 3 */
        {.bound = 0x80000000u},
        {.owned = 4097},
        {.name = "a name that is longer than forty-seven bytes is not taken"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ASSERT_ERR(shoal_semaphore_create(&x, 3, &bad[i]), -EINVAL);
    ASSERT_ERR(shoal_semaphore_create(&x, 0x80000000u, NULL), -EINVAL);
    ASSERT_NULL(x);
    shoal_semaphore_options most = {.bound = SHOAL_SEMAPHORE_MAX, .owned = 4096, .name = "most"};
    ASSERT_OK(shoal_semaphore_create(&x, SHOAL_SEMAPHORE_MAX, &most));
    ASSERT_EQ_INT(shoal_semaphore_value(x), SHOAL_SEMAPHORE_MAX);
    ASSERT_ERR(shoal_semaphore_release(x), -EOVERFLOW);
    ASSERT_OK(shoal_semaphore_acquire_owned(x, SHOAL_NOW));
    ASSERT_EQ_INT(shoal_semaphore_value(x), SHOAL_SEMAPHORE_MAX - 1);
    ASSERT_OK(shoal_semaphore_release_owned(x));
    ASSERT_EQ_INT(shoal_semaphore_value(x), SHOAL_SEMAPHORE_MAX);
    shoal_semaphore_close(x);
}

TEST(semaphore_calls_refuse_a_closed_handle)
{
    setup(1, 1, 1);
    done();
    ASSERT_ERR(shoal_semaphore_acquire(sem, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_semaphore_release(sem), -EBADF);
    ASSERT_ERR(shoal_semaphore_acquire_owned(sem, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_semaphore_release_owned(sem), -EBADF);
    ASSERT_ERR(shoal_semaphore_holders(sem, NULL, 0), -EBADF);
}

TEST(semaphore_value_counts_permits)
{
    setup(3, 0, 0);
    for (int i = 3; i--;) {
        ASSERT_EQ_INT(shoal_semaphore_acquire(sem, SHOAL_NOW), 0);
        ASSERT_EQ_INT(shoal_semaphore_value(sem), i);
    }
    ASSERT_ERR(shoal_semaphore_acquire(sem, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_semaphore_acquire(sem, shoal_after(0.005)), -ETIMEDOUT);
    ASSERT_ERR(shoal_semaphore_acquire(sem, 1), -ETIMEDOUT);
    for (int i = 1; i <= 5; i++) {
        ASSERT_OK(shoal_semaphore_release(sem));
        ASSERT_EQ_INT(shoal_semaphore_value(sem), i);
    }
    done();
}

TEST(semaphore_value_never_passes_its_bound)
{
    setup(2, 2, 0);
    ASSERT_ERR(shoal_semaphore_release(sem), -EOVERFLOW);
    ASSERT_OK(shoal_semaphore_acquire(sem, SHOAL_NOW));
    ASSERT_OK(shoal_semaphore_release(sem));
    ASSERT_ERR(shoal_semaphore_release(sem), -EOVERFLOW);
    ASSERT_EQ_INT(shoal_semaphore_value(sem), 2);
    done();
}

TEST(semaphore_without_a_bound_ends_at_the_maximum)
{
    shoal_semaphore *x;
    ASSERT_OK(shoal_semaphore_create(&x, SHOAL_SEMAPHORE_MAX, NULL));
    for (int i = 0; i < 3; i++) {
        ASSERT_ERR(shoal_semaphore_release(x), -EOVERFLOW);
        ASSERT_EQ_INT(shoal_semaphore_value(x), SHOAL_SEMAPHORE_MAX);
        ASSERT_OK(shoal_semaphore_acquire(x, SHOAL_NOW));
        ASSERT_EQ_INT(shoal_semaphore_value(x), SHOAL_SEMAPHORE_MAX - 1);
        ASSERT_OK(shoal_semaphore_release(x));
    }
    shoal_semaphore_close(x);
}

static void give_three(void)
{
    for (int i = 0; i < 3; i++)
        ASSERT_OK(shoal_semaphore_release(sem));
}

TEST(semaphore_permits_may_be_given_by_anybody)
{
    setup(0, 0, 0);
    for (int round = 0; round < 5; round++) {
        ASSERT_OK(shoal_semaphore_release(sem));
        ends_well(child(give_three));
        ASSERT_EQ_INT(shoal_semaphore_value(sem), 4);
        for (int i = 0; i < 4; i++)
            ASSERT_OK(shoal_semaphore_acquire(sem, SHOAL_NOW));
        ASSERT_ERR(shoal_semaphore_acquire(sem, SHOAL_NOW), -EAGAIN);
    }
    done();
}

static volatile sig_atomic_t given;
static void give_in_handler(int signal)
{
    (void)signal;
    given += shoal_semaphore_release(sem) == 0;
}

TEST(semaphore_given_by_signal_handlers_loses_nothing)
{
    struct sigaction action = {.sa_handler = give_in_handler, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 20}, {0, 20}}, never = {{0, 0}, {0, 0}};
    setup(1, 0, 0);
    ASSERT_SYS(sigaction(SIGALRM, &action, NULL));
    ASSERT_SYS(setitimer(ITIMER_REAL, &often, NULL));
    while (given < 2000)
        for (int i = 0; i < 100; i++) {
            ASSERT_EQ_INT(shoal_semaphore_acquire(sem, SHOAL_NOW), 0);
            ASSERT_OK(shoal_semaphore_release(sem));
        }
    ASSERT_SYS(setitimer(ITIMER_REAL, &never, NULL));
    ASSERT_EQ_INT(shoal_semaphore_value(sem), 1 + given);
    done();
}

/* ---- waiting ---- */

static void take_one(void)
{
    atomic_fetch_add(&shared[0], 1);
    ASSERT_EQ_INT(shoal_semaphore_acquire(sem, SHOAL_FOREVER), 0);
    atomic_fetch_add(&shared[1], 1);
}

static void take_one_owned(void)
{
    atomic_fetch_add(&shared[0], 1);
    ASSERT_EQ_INT(shoal_semaphore_acquire_owned(sem, SHOAL_FOREVER), 0);
    atomic_fetch_add(&shared[1], 1);
    ASSERT_OK(shoal_semaphore_release_owned(sem));
}

static pid_t start_sleeper(void (*body)(void))
{
    long n = shared[0];
    pid_t pid = child(body);
    until_word(&shared[0], n + 1);
    until_asleep(pid);
    return pid;
}

TEST(semaphore_wakes_as_many_as_there_are_permits)
{
    setup(0, 0, 0);
    for (int round = 0; round < 10; round++) {
        pid_t pids[4];
        for (int i = 0; i < 4; i++)
            pids[i] = start_sleeper(take_one);
        for (int i = 0; i < 4; i++)
            ASSERT_OK(shoal_semaphore_release(sem));
        for (int i = 0; i < 4; i++)
            ends_well(pids[i]);
        ASSERT_EQ_INT(shoal_semaphore_value(sem), 0);
    }
    done();
}

static void take_and_stay(void)
{
    take_one();
    until_word(&shared[6], 1);
}

/* Nobody ends meanwhile: an end would make all who sleep look again. */
TEST(semaphore_wakes_as_many_as_there_are_permits_while_all_live)
{
    pid_t pids[4];
    for (int round = 0; round < 10; round++) {
        setup(0, 0, 0);
        for (int i = 0; i < 4; i++)
            pids[i] = start_sleeper(take_and_stay);
        for (int i = 0; i < 4; i++)
            ASSERT_OK(shoal_semaphore_release(sem));
        until_word(&shared[1], 4);
        atomic_store(&shared[6], 1);
        for (int i = 0; i < 4; i++)
            ends_well(pids[i]);
        done();
    }
}

TEST(semaphore_permits_reach_the_others_though_the_woken_one_is_killed)
{
    setup(0, 0, 0);
    for (int round = 0; round < 20; round++) {
        pid_t pids[3];
        long before = shared[1];
        for (int i = 0; i < 3; i++)
            pids[i] = start_sleeper(take_one);
        for (int i = 0; i < 2; i++)
            ASSERT_OK(shoal_semaphore_release(sem));
        kill_and_reap(pids[round % 3]);
        /* What it took is gone with it; what it did not take, the others get. */
        until_word(&shared[1], before + 1);
        for (int i = 0; i < 3; i++)
            ASSERT_OK(shoal_semaphore_release(sem));
        for (int i = 0; i < 3; i++)
            if (i != round % 3)
                ends_well(pids[i]);
        while (!shoal_semaphore_acquire(sem, SHOAL_NOW))
            ;
    }
    done();
}

static void be_interrupted(void)
{
    let_signals_interrupt();
    ASSERT_ERR(shoal_semaphore_acquire(sem, SHOAL_FOREVER), -EINTR);
    ASSERT_ERR(shoal_semaphore_acquire_owned(sem, SHOAL_FOREVER), -EINTR);
}

TEST(semaphore_acquire_ends_when_a_signal_handler_ran)
{
    setup(0, 0, 1);
    let_signals_interrupt();
    interrupt_until_end(child(be_interrupted));
    ASSERT_OK(shoal_semaphore_release(sem));
    ASSERT_OK(shoal_semaphore_acquire_owned(sem, SHOAL_NOW));
    ASSERT_OK(shoal_semaphore_release_owned(sem));
    done();
}

TEST(semaphore_plain_permits_stay_taken_when_their_taker_dies)
{
    setup(2, 2, 0);
    ends_well(child(take_one));
    until_deaths(1);
    ASSERT_EQ_INT(shoal_semaphore_value(sem), 1);
    done();
}

/* ---- owned permits ---- */

TEST(semaphore_owned_permits_belong_to_their_thread)
{
    shoal_holder holders[4];
    setup(3, 3, 2);
    ASSERT_EQ_INT(shoal_semaphore_holders(sem, holders, 4), 0);
    ASSERT_ERR(shoal_semaphore_release_owned(sem), -EPERM);
    ASSERT_OK(shoal_semaphore_acquire_owned(sem, SHOAL_NOW));
    ASSERT_OK(shoal_semaphore_acquire_owned(sem, SHOAL_FOREVER));
    ASSERT_EQ_INT(shoal_semaphore_value(sem), 1);
    ASSERT_EQ_INT(shoal_semaphore_holders(sem, holders, 4), 2);
    ASSERT_EQ_INT(holders[1].pid, getpid());
    ASSERT_EQ_INT(holders[1].tid, gettid());
    ASSERT_EQ_INT(shoal_semaphore_holders(sem, holders, 1), 2);
    ASSERT_EQ_INT(shoal_semaphore_holders(sem, NULL, 0), 2);
    ASSERT_ERR(shoal_semaphore_holders(sem, NULL, 1), -EINVAL);
    ASSERT_OK(shoal_semaphore_release_owned(sem));
    ASSERT_OK(shoal_semaphore_release_owned(sem));
    ASSERT_ERR(shoal_semaphore_release_owned(sem), -EPERM);
    ASSERT_EQ_INT(shoal_semaphore_value(sem), 3);
    done();
}

TEST(semaphore_made_without_owned_permits_has_none)
{
    setup(1, 0, 0);
    ASSERT_ERR(shoal_semaphore_acquire_owned(sem, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_semaphore_release_owned(sem), -EPERM);
    ASSERT_EQ_INT(shoal_semaphore_holders(sem, NULL, 0), 0);
    done();
}

static void release_what_is_not_mine(void)
{
    ASSERT_ERR(shoal_semaphore_release_owned(sem), -EPERM);
}

TEST(semaphore_owned_permits_are_limited)
{
    setup(5, 5, 2);
    ASSERT_OK(shoal_semaphore_acquire_owned(sem, SHOAL_NOW));
    ASSERT_OK(shoal_semaphore_acquire_owned(sem, SHOAL_NOW));
    for (int i = 0; i < 3; i++) {
        ASSERT_ERR(shoal_semaphore_acquire_owned(sem, SHOAL_FOREVER), -ENOSPC);
        ASSERT_EQ_INT(shoal_semaphore_value(sem), 3);
        ASSERT_OK(shoal_semaphore_release_owned(sem));
        ASSERT_OK(shoal_semaphore_acquire_owned(sem, SHOAL_FOREVER));
    }
    ends_well(child(release_what_is_not_mine));
    ASSERT_OK(shoal_semaphore_acquire(sem, SHOAL_NOW)); /* plain ones are not */
    done();
}

TEST(semaphore_owned_permit_is_not_given_back_past_the_bound)
{
    setup(1, 1, 1);
    ASSERT_OK(shoal_semaphore_acquire_owned(sem, SHOAL_NOW));
    ASSERT_OK(shoal_semaphore_release(sem)); /* a plain one, that nobody had taken */
    ASSERT_ERR(shoal_semaphore_release_owned(sem), -EOVERFLOW);
    ASSERT_OK(shoal_semaphore_acquire(sem, SHOAL_NOW));
    ASSERT_OK(shoal_semaphore_release_owned(sem));
    ASSERT_EQ_INT(shoal_semaphore_value(sem), 1);
    done();
}

static void own_until_killed(void)
{
    ASSERT_OK(shoal_semaphore_acquire_owned(sem, SHOAL_FOREVER));
    ASSERT_OK(shoal_semaphore_acquire_owned(sem, SHOAL_FOREVER));
    atomic_fetch_add(&shared[2], 1);
    for (;;)
        pause();
}

static pid_t start_owner(void)
{
    long n = shared[2];
    pid_t pid = child(own_until_killed);
    until_word(&shared[2], n + 1);
    return pid;
}

TEST(semaphore_owned_permits_come_back_when_their_owner_dies)
{
    shoal_holder holders[8];
    setup(2, 2, 8);
    for (int round = 0; round < 20; round++) {
        pid_t owner = start_owner();
        ASSERT_EQ_INT(shoal_semaphore_value(sem), 0);
        ASSERT_EQ_INT(shoal_semaphore_holders(sem, holders, 8), 2);
        ASSERT_EQ_INT(holders[0].pid, owner);
        kill_and_reap(owner);
        if (round % 2)
            ASSERT_OK(shoal_semaphore_acquire(sem, SHOAL_NOW));
        else
            ASSERT_OK(shoal_semaphore_acquire(sem, SHOAL_FOREVER));
        ASSERT_OK(shoal_semaphore_acquire(sem, SHOAL_NOW));
        ASSERT_ERR(shoal_semaphore_acquire(sem, SHOAL_NOW), -EAGAIN);
        ASSERT_OK(shoal_semaphore_release(sem));
        ASSERT_OK(shoal_semaphore_release(sem));
    }
    done();
}

TEST(semaphore_cells_of_the_dead_are_free_again)
{
    setup(9, 9, 2);
    for (int round = 0; round < 10; round++) {
        kill_and_reap(start_owner());
        ASSERT_OK(shoal_semaphore_acquire_owned(sem, SHOAL_NOW));
        ASSERT_OK(shoal_semaphore_acquire_owned(sem, SHOAL_NOW));
        ASSERT_EQ_INT(shoal_semaphore_value(sem), 7);
        ASSERT_OK(shoal_semaphore_release_owned(sem));
        ASSERT_OK(shoal_semaphore_release_owned(sem));
    }
    done();
}

TEST(semaphore_sleepers_get_the_permits_of_a_dead_owner)
{
    setup(2, 2, 8);
    for (int round = 0; round < 10; round++) {
        pid_t owner = start_owner(), pids[4];
        for (int i = 0; i < 4; i++)
            pids[i] = start_sleeper(take_one_owned);
        if (round % 2) { /* the first of them watches over the others */
            kill_and_reap(pids[0]);
            pids[0] = start_sleeper(take_one_owned);
        }
        kill_and_reap(owner);
        for (int i = 0; i < 4; i++)
            ends_well(pids[i]);
        ASSERT_EQ_INT(shoal_semaphore_value(sem), 2);
    }
    done();
}

/* ---- contention ---- */

enum { PROCESSES = 4, ROUNDS = 2000 };

static void pass_on(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        int rc = shoal_semaphore_acquire(sem, i % 5 ? SHOAL_FOREVER : shoal_after(0.0001));
        if (rc == -ETIMEDOUT)
            continue;
        ASSERT_EQ_INT(rc, 0);
        ASSERT_LE_INT(atomic_fetch_add(&shared[5], 1), 1);
        if (i % 100 == 0)
            nap();
        atomic_fetch_sub(&shared[5], 1);
        ASSERT_OK(shoal_semaphore_release(sem));
    }
}

TEST(semaphore_without_a_bound_conserves_permits)
{
    pid_t pids[PROCESSES];
    setup(2, 0, 0);
    for (int i = 0; i < PROCESSES; i++)
        pids[i] = child(pass_on);
    pass_on();
    for (int i = 0; i < PROCESSES; i++)
        ends_well(pids[i]);
    ASSERT_EQ_INT(shoal_semaphore_value(sem), 2);
    done();
}

/* All kinds of calls; never more inside than permits. */
static void mix(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        bool owned = i % 3 == 0;
        int64_t deadline = i % 5 ? SHOAL_FOREVER : i % 2 ? SHOAL_NOW : shoal_after(0.0001);
        int rc = owned ? shoal_semaphore_acquire_owned(sem, deadline)
                       : shoal_semaphore_acquire(sem, deadline);
        if (rc == -EAGAIN || rc == -ETIMEDOUT)
            continue;
        ASSERT_EQ_INT(rc, 0);
        ASSERT_LE_INT(atomic_fetch_add(&shared[5], 1), 1);
        atomic_fetch_sub(&shared[5], 1);
        ASSERT_OK(owned ? shoal_semaphore_release_owned(sem) : shoal_semaphore_release(sem));
    }
}

static void *mix_in_thread(void *argument)
{
    mix();
    return argument;
}

TEST(semaphore_conserves_permits_between_processes_and_threads)
{
    pid_t pids[PROCESSES];
    pthread_t threads[2];
    setup(2, 2, 2);
    for (int i = 0; i < PROCESSES; i++)
        pids[i] = child(mix);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, mix_in_thread, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < PROCESSES; i++)
        ends_well(pids[i]);
    ASSERT_EQ_INT(shoal_semaphore_value(sem), 2);
    done();
}

static void own_and_return(void)
{
    for (;;) {
        ASSERT_OK(shoal_semaphore_acquire_owned(sem, SHOAL_FOREVER));
        atomic_fetch_add(&shared[7], 1);
        ASSERT_OK(shoal_semaphore_release_owned(sem));
    }
}

TEST(semaphore_owned_permits_are_conserved_while_their_owners_are_killed)
{
    pid_t pids[PROCESSES];
    setup(3, 3, 3);
    for (int i = 0; i < PROCESSES; i++)
        pids[i] = child(own_and_return);
    for (int kills = 0; kills < 80; kills++) {
        until_word(&shared[7], shared[7] + 20);
        kill_and_reap(pids[kills % PROCESSES]);
        pids[kills % PROCESSES] = child(own_and_return);
    }
    for (int i = 0; i < PROCESSES; i++)
        kill_and_reap(pids[i]);
    for (int i = 0; i < 3; i++)
        ASSERT_OK(shoal_semaphore_acquire_owned(sem, SHOAL_FOREVER));
    ASSERT_ERR(shoal_semaphore_acquire(sem, SHOAL_NOW), -EAGAIN);
    ASSERT_EQ_INT(shoal_semaphore_holders(sem, NULL, 0), 3);
    done();
}
