/* event: what sync.h promises. */
#include "processes.h"
#include <sched.h>

static shoal_event *event, *back;
static _Atomic long *shared;

static void setup(void)
{
    shared = words_open();
    ASSERT_OK(shoal_event_create(&event, NULL));
    ASSERT_OK(shoal_event_create(&back, NULL));
}

static void done(void)
{
    shoal_event_close(event);
    shoal_event_close(back);
    words_close();
}

COMMON_OPTION_TESTS(event)
COMMON_TESTS(event, event_create, shoal_event_is_set)

TEST(event_calls_refuse_a_closed_handle)
{
    setup();
    done();
    ASSERT_ERR(shoal_event_set(event), -EBADF);
    ASSERT_ERR(shoal_event_clear(event), -EBADF);
    ASSERT_ERR(shoal_event_wait(event, SHOAL_NOW), -EBADF);
}

TEST(event_is_set_from_set_to_clear)
{
    setup();
    ASSERT_EQ_INT(shoal_event_is_set(event), 0);
    ASSERT_ERR(shoal_event_wait(event, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_event_wait(event, shoal_after(0.005)), -ETIMEDOUT);
    for (int i = 0; i < 2; i++) { /* setting twice is setting */
        ASSERT_OK(shoal_event_set(event));
        ASSERT_EQ_INT(shoal_event_is_set(event), 1);
    }
    ASSERT_EQ_INT(shoal_event_wait(event, SHOAL_NOW), 0);
    ASSERT_EQ_INT(shoal_event_wait(event, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT(shoal_event_wait(event, 1), 0); /* long past, but set */
    for (int i = 0; i < 2; i++) {
        ASSERT_OK(shoal_event_clear(event));
        ASSERT_EQ_INT(shoal_event_is_set(event), 0);
    }
    ASSERT_ERR(shoal_event_wait(event, 1), -ETIMEDOUT);
    done();
}

static void wait_for_it(void)
{
    atomic_fetch_add(&shared[0], 1);
    ASSERT_EQ_INT(shoal_event_wait(event, SHOAL_FOREVER), 0);
}

TEST(event_set_wakes_all_who_wait)
{
    setup();
    for (int round = 0; round < 10; round++) {
        pid_t pids[5];
        for (int i = 0; i < 5; i++) {
            pids[i] = child(wait_for_it);
            until_word(&shared[0], round * 5 + i + 1);
            until_asleep(pids[i]);
        }
        ASSERT_OK(shoal_event_set(event));
        if (round % 2) /* those who wait now were there when it was set */
            ASSERT_OK(shoal_event_clear(event));
        for (int i = 0; i < 5; i++)
            ends_well(pids[i]);
        ASSERT_EQ_INT(shoal_event_is_set(event), !(round % 2));
        ASSERT_OK(shoal_event_clear(event));
    }
    done();
}

static void set_it(void)
{
    atomic_store(&shared[2], 1);
    ASSERT_OK(shoal_event_set(event));
    for (;;)
        pause();
}

TEST(event_stays_as_it_is_when_processes_die)
{
    pid_t pid;
    setup();
    pid = child(set_it);
    ASSERT_OK(shoal_event_wait(event, SHOAL_FOREVER));
    kill_and_reap(pid);
    until_deaths(1);
    ASSERT_EQ_INT(shoal_event_is_set(event), 1);
    ASSERT_OK(shoal_event_clear(event));
    pid = child(wait_for_it);
    until_word(&shared[0], 1);
    until_asleep(pid);
    kill_and_reap(pid);
    until_deaths(2);
    ASSERT_EQ_INT(shoal_event_is_set(event), 0);
    done();
}

TEST(event_set_reaches_all_though_its_setter_is_killed)
{
    setup();
    for (int round = 0; round < 20; round++) {
        pid_t pids[3];
        for (int i = 0; i < 3; i++) {
            pids[i] = child(wait_for_it);
            until_word(&shared[0], round * 3 + i + 1);
            until_asleep(pids[i]);
        }
        atomic_store(&shared[2], 0);
        pid_t setter = child(set_it);
        until_word(&shared[2], 1);
        kill_and_reap(setter); /* before, in or after set */
        if (!shoal_event_is_set(event))
            ASSERT_OK(shoal_event_set(event));
        for (int i = 0; i < 3; i++)
            ends_well(pids[i]);
        ASSERT_OK(shoal_event_clear(event));
    }
    done();
}

static void be_interrupted(void)
{
    let_signals_interrupt();
    ASSERT_ERR(shoal_event_wait(event, SHOAL_FOREVER), -EINTR);
}

TEST(event_wait_ends_when_a_signal_handler_ran)
{
    setup();
    let_signals_interrupt();
    interrupt_until_end(child(be_interrupted));
    done();
}

enum { ROUNDS = 2000 };

static void answer(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        ASSERT_OK(shoal_event_wait(event, SHOAL_FOREVER));
        ASSERT_OK(shoal_event_clear(event));
        ASSERT_OK(shoal_event_set(back));
    }
}

static void *answer_in_thread(void *argument)
{
    answer();
    return argument;
}

static void ask(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        ASSERT_OK(shoal_event_set(event));
        ASSERT_OK(shoal_event_wait(back, SHOAL_FOREVER));
        ASSERT_OK(shoal_event_clear(back));
    }
}

TEST(event_ping_pong_loses_nothing)
{
    pthread_t thread;
    setup();
    pid_t pid = child(answer);
    ask();
    ends_well(pid);
    pthread_create(&thread, NULL, answer_in_thread, NULL);
    ask();
    pthread_join(thread, NULL);
    done();
}

/* ---- what a set event promises though it was set before ---- */

enum { TIMES = 300000 };

static void meet(long round)
{
    atomic_fetch_add(&shared[0], 1);
    for (int i = 0; atomic_load(&shared[0]) < 2 * round; i++)
        if (i % 1000 == 999)
            sched_yield();
}

static void produce(void)
{
    for (long round = 1; round <= TIMES; round++) {
        meet(2 * round - 1);
        atomic_store_explicit(&shared[16], 1, memory_order_relaxed);
        ASSERT_OK(shoal_event_set(event));
        meet(2 * round);
    }
}

/* Whoever clears an event and then looks sees what its setters did before, or finds it set
 * again. */
TEST(event_that_was_set_already_still_tells_of_what_came_before)
{
    setup();
    pid_t pid = child(produce);
    for (long round = 1; round <= TIMES; round++) {
        atomic_store(&shared[16], 0);
        ASSERT_OK(shoal_event_set(event));
        meet(2 * round - 1);
        ASSERT_OK(shoal_event_clear(event));
        long seen = atomic_load_explicit(&shared[16], memory_order_relaxed);
        meet(2 * round);
        ASSERT_TRUE(seen || shoal_event_is_set(event));
    }
    ends_well(pid);
    done();
}
