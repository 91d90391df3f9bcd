/* queue: what queue.h promises of who waits, for messages, places, all to be finished; and of the end. */
#include "queues.h"
#include <stdlib.h>

static void wait_for_message(void)
{
    struct mail m;
    atomic_fetch_add(&shared[0], 1);
    ASSERT_OK(get(&m, SHOAL_FOREVER));
}

TEST(queue_wakes_as_many_as_there_are_messages)
{
    setup();
    for (int round = 0; round < 5; round++) {
        pid_t pids[4];
        shoal_bytes messages[4];
        struct mail m = {0, 0};
        for (int i = 0; i < 4; i++) {
            pids[i] = child(wait_for_message);
            messages[i] = (shoal_bytes){&m, sizeof m};
        }
        for (int i = 0; i < 4; i++)
            until_asleep(pids[i]);
        if (round % 2)
            for (int i = 0; i < 4; i++)
                ASSERT_OK(put(0, 0, SHOAL_NOW));
        else
            ASSERT_EQ_INT(shoal_queue_put_many(queue, messages, 4, SHOAL_NOW), 4);
        for (int i = 0; i < 4; i++)
            ends_well(pids[i]);
    }
    done();
}

static void put_two(void)
{
    ASSERT_OK(put(0, 0, SHOAL_FOREVER));
    ASSERT_OK(put(0, 1, SHOAL_FOREVER));
}

TEST(queue_put_into_a_full_one_sleeps_until_there_is_place)
{
    struct mail m;
    setup_with(1);
    pid_t pids[3];
    for (int i = 0; i < 3; i++)
        pids[i] = child(put_two);
    for (int i = 0; i < 3; i++)
        until_asleep(pids[i]);
    ASSERT_EQ_INT(shoal_queue_qsize(queue), 1);
    for (int i = 0; i < 6; i++)
        ASSERT_OK(get(&m, SHOAL_FOREVER));
    for (int i = 0; i < 3; i++)
        ends_well(pids[i]);
    ASSERT_EQ_INT(shoal_queue_empty(queue), 1);
    done();
}

static void get_or_interrupted(void)
{
    struct mail m;
    let_signals_interrupt();
    ASSERT_ERR(get(&m, SHOAL_FOREVER), -EINTR);
}

TEST(queue_get_is_interrupted_by_a_signal)
{
    setup();
    pid_t pid = child(get_or_interrupted);
    until_asleep(pid);
    interrupt_until_end(pid);
    done();
}

/* ---- finished ---- */

static void work(void)
{
    struct mail m;
    for (;;) {
        ASSERT_OK(get(&m, SHOAL_FOREVER));
        if (m.who < 0)
            return;
        atomic_fetch_add(&shared[0], 1);
        ASSERT_OK(shoal_queue_task_done(queue));
    }
}

TEST(queue_join_waits_until_all_is_finished)
{
    setup();
    ASSERT_OK(shoal_queue_join(queue, SHOAL_NOW));
    ASSERT_ERR(shoal_queue_task_done(queue), -EINVAL);
    pid_t pids[2] = {child(work), child(work)};
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 100; i++)
            ASSERT_OK(put(0, i, SHOAL_NOW));
        ASSERT_OK(shoal_queue_join(queue, SHOAL_FOREVER));
        ASSERT_EQ_INT(atomic_load(&shared[0]), (round + 1) * 100);
    }
    ASSERT_ERR(shoal_queue_task_done(queue), -EINVAL);
    ASSERT_OK(put(-1, 0, SHOAL_NOW));
    ASSERT_OK(put(-1, 0, SHOAL_NOW));
    ends_well(pids[0]);
    ends_well(pids[1]);
    ASSERT_ERR(shoal_queue_join(queue, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_queue_join(queue, shoal_after(0.005)), -ETIMEDOUT);
    done();
}

TEST(queue_shutdown_lets_the_rest_be_taken)
{
    struct mail m;
    setup();
    ASSERT_OK(put(0, 0, SHOAL_NOW));
    ASSERT_OK(shoal_queue_shutdown(queue, 0));
    ASSERT_ERR(put(0, 1, SHOAL_FOREVER), -EPIPE);
    ASSERT_OK(get(&m, SHOAL_FOREVER));
    ASSERT_ERR(get(&m, SHOAL_FOREVER), -EPIPE);
    done();
}

TEST(queue_shutdown_at_once_drops_the_rest)
{
    static char text[10000];
    struct mail m;
    setup();
    uint32_t before = objects();
    ASSERT_OK(put(0, 0, SHOAL_NOW));
    ASSERT_OK(shoal_queue_put_bytes(queue, text, sizeof text, SHOAL_NOW));
    ASSERT_OK(shoal_queue_shutdown(queue, 1));
    ASSERT_ERR(get(&m, SHOAL_FOREVER), -EPIPE);
    ASSERT_OK(shoal_queue_join(queue, SHOAL_NOW));
    ASSERT_EQ_INT(objects(), before);
    done();
}

/* ---- who is woken, and does not take ---- */

/* Whoever is not woken sleeps on: nobody looks by himself now and then, or is told of the end of others. */
static void setup_without_net(uint64_t maxsize)
{
    setenv("SHOAL_TEST_NET", "0", 1);
    setup_with(maxsize);
}

static void stay_until_all_are_through(void)
{
    atomic_fetch_add(&shared[1], 1);
    until_word(&shared[2], 1);
}

static void put_one_more(void)
{
    ASSERT_OK(put(1, 0, SHOAL_FOREVER));
    stay_until_all_are_through();
}

/* One by one, several times: where the first one who was woken is quick, the next get wakes the second. */
TEST(queue_get_of_several_wakes_all_for_whom_there_is_place)
{
    for (int round = 0; round < 10; round++) {
        bool many = round == 0;
        struct mail mails[3];
        shoal_bytes got[3];
        pid_t pids[3];
        setup_without_net(3);
        for (int i = 0; i < 3; i++)
            ASSERT_OK(put(0, i, SHOAL_NOW));
        for (int i = 0; i < 3; i++)
            pids[i] = child(put_one_more);
        for (int i = 0; i < 3; i++)
            until_asleep(pids[i]);
        if (many)
            ASSERT_EQ_INT(shoal_queue_get_many(queue, got, 3, mails, sizeof mails, SHOAL_NOW), 3);
        for (int i = 0; i < 3 && !many; i++)
            ASSERT_OK(get(&mails[i], SHOAL_NOW));
        until_word(&shared[1], 3);
        atomic_store(&shared[2], 1);
        for (int i = 0; i < 3; i++)
            ends_well(pids[i]);
        done();
    }
}

static void get_into_too_little(void)
{
    char byte;
    size_t size;
    ASSERT_ERR(shoal_queue_get_bytes_into(queue, &byte, 1, &size, SHOAL_FOREVER), -EMSGSIZE);
    stay_until_all_are_through();
}

static void get_one(void)
{
    struct mail m;
    ASSERT_OK(get(&m, SHOAL_FOREVER));
    stay_until_all_are_through();
}

/* Those who began to sleep first are woken first. */
TEST(queue_message_that_is_too_long_for_one_wakes_another)
{
    setup_without_net(0);
    pid_t small = child(get_into_too_little);
    until_asleep(small);
    pid_t large = child(get_one);
    until_asleep(large);
    ASSERT_OK(put(0, 0, SHOAL_NOW));
    while (shoal_queue_qsize(queue)) /* the one for whom it is short enough takes it */
        nap();
    ASSERT_OK(put(0, 0, SHOAL_NOW)); /* if the other was not woken for the first */
    until_word(&shared[1], 2);
    atomic_store(&shared[2], 1);
    ends_well(large);
    ends_well(small);
    done();
}

/* ---- the end ---- */

/* Who puts says how many it put. */
static void put_all_the_time(void)
{
    long n = 0;
    int rc;
    while (!(rc = shoal_queue_put_bytes(queue, "x", 1, SHOAL_FOREVER)))
        if (++n == 100)
            atomic_fetch_add(&shared[1], 1);
    ASSERT_ERR(rc, -EPIPE);
    atomic_fetch_add(&shared[0], n);
}

/* Shut down while one or two put: after its end was told there is nothing, now and later. */
TEST(queue_that_was_shut_down_has_an_end)
{
    enum { ROUNDS = 60 };
    char byte;
    size_t size;
    for (int round = 0; round < 4 * ROUNDS; round++) {
        int producers = 1 + round % 2, at_once = round / 2 % 2, rc;
        long got = 0;
        pid_t pids[2];
        setup_with(round % 3 ? 0 : 1000);
        for (int i = 0; i < producers; i++)
            pids[i] = child(put_all_the_time);
        while (shared[1] < producers) {
            rc = shoal_queue_get_bytes_into(queue, &byte, 1, &size, SHOAL_NOW);
            if (rc)
                ASSERT_ERR(rc, -EAGAIN);
            got += !rc;
        }
        ASSERT_OK(shoal_queue_shutdown(queue, at_once));
        while (!(rc = shoal_queue_get_bytes_into(queue, &byte, 1, &size, SHOAL_FOREVER)))
            got++;
        ASSERT_ERR(rc, -EPIPE);
        for (int i = 0; i < producers; i++)
            ends_well(pids[i]);
        ASSERT_EQ_INT(shoal_queue_qsize(queue), 0);
        ASSERT_ERR(shoal_queue_get_bytes_into(queue, &byte, 1, &size, SHOAL_NOW), -EPIPE);
        if (at_once)
            ASSERT_OK(shoal_queue_join(queue, SHOAL_NOW));
        else
            ASSERT_EQ_INT(got, shared[0]);
        done();
    }
}

static void get_until_shut(void)
{
    struct mail m;
    ASSERT_ERR(get(&m, SHOAL_FOREVER), -EPIPE);
}

static void put_until_shut(void)
{
    int rc = put(0, 0, SHOAL_FOREVER);
    if (!rc)
        rc = put(0, 1, SHOAL_FOREVER);
    ASSERT_EQ_INT(rc, -EPIPE);
}

TEST(queue_shutdown_wakes_all_who_wait)
{
    pid_t pids[3];
    setup();
    for (int i = 0; i < 3; i++)
        pids[i] = child(get_until_shut);
    for (int i = 0; i < 3; i++)
        until_asleep(pids[i]);
    ASSERT_OK(shoal_queue_shutdown(queue, 0));
    for (int i = 0; i < 3; i++)
        ends_well(pids[i]);
    done();
    setup_with(1);
    for (int i = 0; i < 3; i++)
        pids[i] = child(put_until_shut);
    for (int i = 0; i < 3; i++)
        until_asleep(pids[i]);
    ASSERT_OK(shoal_queue_shutdown(queue, 0));
    for (int i = 0; i < 3; i++)
        ends_well(pids[i]);
    done();
}
