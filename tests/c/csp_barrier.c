/* csp: barriers count who is enrolled, and go on without who resigns or dies; timers; guards that are off. */
#include "channels.h"

enum { MEMBERS = 5, ROUNDS = 40 };

static shoal_channel *barrier;

static void enrol(shoal_channel_end **end)
{
    ASSERT_OK(shoal_channel_enrol(barrier, end));
}

static void open_barrier(void)
{
    shared = words_open();
    before = objects();
    ASSERT_OK(shoal_channel_create_barrier(&barrier, "a barrier"));
}

static void close_barrier(void)
{
    channel = barrier;
    done();
}

/* shared[i]: how many have come to round i. Member n resigns after n rounds more than the least. */
static int march(void *argument, shoal_channel_end *const ends[])
{
    long me = atomic_fetch_add(&shared[60], 1), last = argument ? ROUNDS : ROUNDS - 2 * me;
    for (long i = 0; i < last; i++) {
        long expected = 0;
        atomic_fetch_add(&shared[i], 1);
        ASSERT_OK(shoal_channel_sync(ends[0], SHOAL_FOREVER));
        for (long k = 0; k < MEMBERS; k++)
            expected += argument || i < ROUNDS - 2 * k;
        ASSERT_EQ_INT(atomic_load(&shared[i]), expected);
    }
    return 0;
}

static void march_all(void *argument, unsigned flags)
{
    shoal_channel_end *end;
    open_barrier();
    enrol(&end);
    shoal_csp_process network = {.target = march,
                                 .argument = argument,
                                 .ends = &end,
                                 .n_ends = 1,
                                 .replicas = MEMBERS};
    ASSERT_EQ_INT(shoal_parallel(&network, 1, flags), 0);
    close_barrier();
}

TEST(csp_a_barrier_is_passed_by_all_together)
{
    march_all((void *)1, 0);
    march_all((void *)1, SHOAL_CSP_THREADS);
}

TEST(csp_a_barrier_goes_on_without_who_resigns)
{
    march_all(NULL, 0);
    march_all(NULL, SHOAL_CSP_THREADS);
}

static shoal_channel_end *mine, *others;

static void sync_twice(void)
{
    shoal_channel_end_close(others);
    ASSERT_OK(shoal_channel_sync(mine, SHOAL_FOREVER));
    atomic_store(&shared[0], 1);
    ASSERT_OK(shoal_channel_sync(mine, SHOAL_FOREVER));
    atomic_store(&shared[0], 2);
}

static void sync_once_and_stay(void)
{
    shoal_channel_end_close(mine);
    ASSERT_OK(shoal_channel_sync(others, SHOAL_FOREVER));
    for (;;)
        pause();
}

TEST(csp_a_barrier_goes_on_without_the_dead)
{
    open_barrier();
    enrol(&mine);
    enrol(&others);
    pid_t waits = child(sync_twice), dies = child(sync_once_and_stay);
    shoal_channel_end_close(mine);
    shoal_channel_end_close(others);
    until_word(&shared[0], 1);
    kill_and_reap(dies);
    ends_well(waits);
    ASSERT_EQ_INT(atomic_load(&shared[0]), 2);
    close_barrier();
}

TEST(csp_who_waits_in_vain_at_a_barrier_has_not_arrived)
{
    open_barrier();
    enrol(&mine);
    ASSERT_OK(shoal_channel_sync(mine, SHOAL_NOW)); /* it is alone */
    enrol(&others);
    ASSERT_ERR(shoal_channel_sync(mine, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_channel_sync(mine, shoal_after(0.001)), -ETIMEDOUT);
    ASSERT_ERR(shoal_channel_sync(others, SHOAL_NOW), -EAGAIN);
    ASSERT_OK(shoal_channel_retire(others));
    ASSERT_OK(shoal_channel_sync(mine, SHOAL_NOW));
    ASSERT_ERR(shoal_channel_sync(others, SHOAL_NOW), -EPIPE);
    shoal_channel_end_close(others);
    enrol(&others); /* again */
    ASSERT_ERR(shoal_channel_sync(mine, SHOAL_NOW), -EAGAIN);
    ASSERT_OK(shoal_channel_poison(others));
    ASSERT_ERR(shoal_channel_sync(mine, SHOAL_FOREVER), -ECANCELED);
    shoal_channel_end_close(mine);
    shoal_channel_end_close(others);
    close_barrier();
}

static void sync_in_vain(void)
{
    atomic_store(&shared[1], shoal_channel_sync(mine, SHOAL_FOREVER));
}

static bool somebody_waits(void)
{
    shoal_any *snapshot;
    const shoal_any *waits;
    ASSERT_OK(shoal_inspect(&snapshot));
    ASSERT_OK(shoal_any_get_str(snapshot, "waits", &waits));
    int64_t n = shoal_any_count(waits);
    shoal_any_free(snapshot);
    return n > 0;
}

static void end_of_a_wait(int (*end)(shoal_channel_end *), int with_whom, int rc)
{
    open_barrier();
    enrol(&mine);
    enrol(&others);
    pid_t pid = child(sync_in_vain);
    while (!somebody_waits())
        usleep(1000);
    ASSERT_OK(end(with_whom ? mine : others));
    ends_well(pid);
    ASSERT_EQ_INT(atomic_load(&shared[1]), rc);
    shoal_channel_end_close(mine);
    shoal_channel_end_close(others);
    close_barrier();
}

TEST(csp_who_waits_at_a_barrier_is_told_of_its_end)
{
    end_of_a_wait(shoal_channel_retire, 0, 0);
    end_of_a_wait(shoal_channel_retire, 1, -EPIPE);
    end_of_a_wait(shoal_channel_poison, 0, -ECANCELED);
}

TEST(csp_a_barrier_is_no_channel_and_a_channel_no_barrier)
{
    size_t size;
    open_barrier();
    enrol(&mine);
    ASSERT_ERR(shoal_channel_reader(barrier, &others), -EBADF);
    ASSERT_ERR(shoal_channel_writer(barrier, &others), -EBADF);
    ASSERT_ERR(shoal_channel_write_bytes(mine, "x", 1, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_channel_read_bytes(mine, &size, 1, &size, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_channel_sync(mine, -1), -EINVAL);
    ASSERT_ERR(shoal_channel_sync(NULL, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_channel_create_barrier(NULL, NULL), -EINVAL);
    shoal_channel_end_close(mine);
    close_barrier();
    setup(0);
    ASSERT_ERR(shoal_channel_enrol(channel, &others), -EBADF);
    ASSERT_ERR(shoal_channel_sync(in, SHOAL_NOW), -EBADF);
    done();
}

/* ---- timers, and guards that are off ---- */

TEST(csp_a_timer_waits_until_its_time_has_come)
{
    int64_t t = shoal_timer_read();
    ASSERT_OK(shoal_timer_wait(t));
    ASSERT_OK(shoal_timer_wait(0));
    ASSERT_OK(shoal_timer_wait(t + 3000000));
    ASSERT_GE_INT(shoal_timer_read(), t + 3000000);
    ASSERT_ERR(shoal_timer_wait(-1), -EINVAL);
}

TEST(csp_a_guard_that_is_off_is_not_chosen)
{
    long value = 7, got = 0;
    setup(1);
    say(out, value);
    shoal_guard guards[] = {
        {.kind = SHOAL_SKIP, .off = true},
        {.kind = SHOAL_INPUT, .end = in, .buffer = &got, .capacity = sizeof got, .off = true},
        {.kind = SHOAL_TIMEOUT, .deadline = 0},
    };
    for (int choice = SHOAL_ALT; choice <= SHOAL_FAIR; choice++)
        ASSERT_EQ_INT(shoal_alternate(guards, 3, (enum shoal_choice)choice, SHOAL_FOREVER), 2);
    guards[2].off = true;
    ASSERT_ERR(shoal_alternate(guards, 3, SHOAL_PRI, SHOAL_NOW), -EAGAIN);
    guards[1].off = false;
    ASSERT_EQ_INT(shoal_alternate(guards, 3, SHOAL_PRI, SHOAL_FOREVER), 1);
    ASSERT_EQ_INT(got, 7);
    done();
}
