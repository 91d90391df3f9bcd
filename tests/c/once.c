/* once: what sync.h promises. */
#include "processes.h"

static shoal_once *once;
static _Atomic long *shared;

static void setup(void)
{
    shared = words_open();
    ASSERT_OK(shoal_once_create(&once, NULL));
}

static void done(void)
{
    shoal_once_close(once);
    words_close();
}

COMMON_OPTION_TESTS(once)
COMMON_TESTS(once, once_create, shoal_once_done)

static int count_run(void *argument)
{
    atomic_fetch_add(&shared[0], 1);
    return *(int *)argument;
}

TEST(once_calls_refuse_bad_arguments)
{
    int result = 0;
    setup();
    ASSERT_ERR(shoal_once_run(once, NULL, NULL, SHOAL_NOW), -EINVAL);
    done();
    ASSERT_ERR(shoal_once_run(once, count_run, &result, SHOAL_NOW), -EBADF);
}

TEST(once_runs_until_it_has_succeeded)
{
    int failure = -EIO, success = 7;
    setup();
    ASSERT_EQ_INT(shoal_once_done(once), 0);
    ASSERT_ERR(shoal_once_run(once, count_run, &failure, SHOAL_NOW), -EIO);
    ASSERT_EQ_INT(shoal_once_done(once), 0);
    ASSERT_EQ_INT(shoal_once_run(once, count_run, &success, SHOAL_NOW), 0);
    ASSERT_EQ_INT(shoal_once_done(once), 1);
    ASSERT_EQ_INT(shoal_once_run(once, count_run, &failure, SHOAL_NOW), 0);
    ASSERT_EQ_INT(shared[0], 2);
    done();
}

static int run_again(void *argument)
{
    (void)argument;
    ASSERT_ERR(shoal_once_run(once, run_again, NULL, SHOAL_FOREVER), -EDEADLK);
    return 0;
}

TEST(once_called_from_within_is_an_error)
{
    setup();
    ASSERT_EQ_INT(shoal_once_run(once, run_again, NULL, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT(shoal_once_done(once), 1);
    done();
}

static int run_slowly(void *argument)
{
    (void)argument;
    atomic_fetch_add(&shared[0], 1);
    for (int i = 0; i < 5; i++)
        nap();
    atomic_fetch_add(&shared[1], 1);
    return 0;
}

static void run_it(void)
{
    ASSERT_EQ_INT(shoal_once_run(once, run_slowly, NULL, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT(shared[1], 1); /* it is done when anybody returns */
}

TEST(once_runs_once_for_many)
{
    pid_t pids[6];
    setup();
    for (int i = 0; i < 6; i++)
        pids[i] = child(run_it);
    for (int i = 0; i < 6; i++)
        ends_well(pids[i]);
    ASSERT_EQ_INT(shared[0], 1);
    done();
}

_Noreturn static int run_until_killed(void *argument)
{
    (void)argument;
    atomic_store(&shared[2], 1);
    for (;;)
        pause();
}

static void run_and_stay(void)
{
    shoal_once_run(once, run_until_killed, NULL, SHOAL_FOREVER);
}

static void run_after(void)
{
    atomic_fetch_add(&shared[3], 1);
    run_it();
}

TEST(once_is_run_by_the_next_when_its_runner_dies)
{
    int success = 0;
    pid_t pids[3];
    setup();
    pid_t runner = child(run_and_stay);
    until_word(&shared[2], 1);
    ASSERT_ERR(shoal_once_run(once, count_run, &success, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_once_run(once, count_run, &success, shoal_after(0.005)), -ETIMEDOUT);
    for (int i = 0; i < 3; i++) {
        pids[i] = child(run_after);
        until_word(&shared[3], i + 1);
        until_asleep(pids[i]);
    }
    kill_and_reap(runner);
    for (int i = 0; i < 3; i++)
        ends_well(pids[i]);
    ASSERT_EQ_INT(shared[0], 1);
    done();
}

static void be_interrupted(void)
{
    let_signals_interrupt();
    ASSERT_ERR(shoal_once_run(once, run_slowly, NULL, SHOAL_FOREVER), -EINTR);
}

TEST(once_wait_ends_when_a_signal_handler_ran)
{
    setup();
    let_signals_interrupt();
    pid_t runner = child(run_and_stay);
    until_word(&shared[2], 1);
    interrupt_until_end(child(be_interrupted));
    kill_and_reap(runner);
    ASSERT_EQ_INT(shared[0], 0);
    done();
}
