/* csp: networks start all, end all, and tell how each ended. */
#include "channels.h"

static int counter(void *argument, shoal_channel_end *const ends[])
{
    long n = *(long *)argument;
    for (long i = 0; i < n; i++) {
        int rc = shoal_channel_write_bytes(ends[0], &i, sizeof i, SHOAL_FOREVER);
        if (rc)
            return rc;
    }
    return 0;
}

static int summer(void *argument, shoal_channel_end *const ends[])
{
    long value;
    size_t size;
    (void)argument;
    for (;;) {
        int rc = shoal_channel_read_bytes(ends[0], &value, sizeof value, &size, SHOAL_FOREVER);
        if (rc)
            return rc;
        atomic_fetch_add(&shared[0], value);
        atomic_fetch_add(&shared[1], 1);
    }
}

static void run_flags(unsigned flags)
{
    long n = 50;
    int results[7];
    memset(results, 1, sizeof results);
    setup(0);
    shoal_csp_process network[] = {
        {.target = counter,
         .argument = &n,
         .ends = &out,
         .n_ends = 1,
         .replicas = 4,
         .results = results},
        {.target = summer, .ends = &in, .n_ends = 1, .replicas = 3, .results = results + 4},
    };
    ASSERT_EQ_INT(shoal_parallel(network, 2, flags), 0);
    ASSERT_EQ_INT(atomic_load(&shared[1]), 200);
    ASSERT_EQ_INT(atomic_load(&shared[0]), 4 * 50 * 49 / 2);
    for (int i = 0; i < 7; i++)
        ASSERT_EQ_INT(results[i], 0);
    in = out = NULL; /* were given away */
    done();
}

TEST(csp_a_network_ends_when_its_writers_are_done)
{
    run_flags(0);
}

TEST(csp_a_network_of_threads_does_the_same)
{
    run_flags(SHOAL_CSP_THREADS);
}

static int give_one(void *argument, shoal_channel_end *const ends[])
{
    long value = 3;
    (void)argument;
    int rc = shoal_channel_write_bytes(ends[0], &value, sizeof value, SHOAL_FOREVER);
    return rc ? rc : 17;
}

static int kill_oneself(void *argument, shoal_channel_end *const ends[])
{
    long value;
    size_t size;
    (void)argument;
    ASSERT_OK(shoal_channel_read_bytes(ends[0], &value, sizeof value, &size, SHOAL_FOREVER));
    kill(getpid(), SIGKILL);
    return 0;
}

TEST(csp_parallel_reports_who_died_of_what_and_the_others_end)
{
    long n = 1000000;
    int results[3];
    setup(0);
    shoal_channel *other;
    shoal_channel_end *ends[2];
    ASSERT_OK(shoal_channel_create(&other, NULL));
    ASSERT_OK(shoal_channel_writer(other, &ends[0]));
    ASSERT_OK(shoal_channel_reader(other, &ends[1]));
    shoal_csp_process network[] = {
        {.target = give_one, .ends = &ends[0], .n_ends = 1, .results = &results[0]},
        {.target = kill_oneself,
         .ends = (shoal_channel_end *[]){ends[1], in},
         .n_ends = 2,
         .results = &results[1]},
        {.target = counter, .argument = &n, .ends = &out, .n_ends = 1, .results = &results[2]},
    };
    ASSERT_EQ_INT(shoal_parallel(network, 3, 0), 2);
    ASSERT_EQ_INT(results[0], 17);
    ASSERT_EQ_INT(results[1], -SIGKILL);
    ASSERT_EQ_INT(results[2], 0);
    in = out = NULL;
    shoal_channel_close(other);
    done();
}

/* ---- a ring, through which the end passes ---- */

static int pass_on(void *argument, shoal_channel_end *const ends[])
{
    (void)argument;
    for (;;) {
        long value;
        size_t size;
        int rc = shoal_channel_read_bytes(ends[0], &value, sizeof value, &size, SHOAL_FOREVER);
        if (rc)
            return rc;
        value++;
        rc = shoal_channel_write_bytes(ends[1], &value, sizeof value, SHOAL_FOREVER);
        if (rc)
            return rc;
    }
}

static int begin_ring(void *argument, shoal_channel_end *const ends[])
{
    long value = 0;
    size_t size;
    for (int i = 0; i < 20; i++) {
        int rc = shoal_channel_write_bytes(ends[1], &value, sizeof value, SHOAL_FOREVER);
        if (!rc)
            rc = shoal_channel_read_bytes(ends[0], &value, sizeof value, &size, SHOAL_FOREVER);
        if (rc)
            return rc;
    }
    atomic_store(shared, value);
    return argument ? shoal_channel_poison(ends[1]) : 0;
}

static void ring(unsigned flags, void *poison)
{
    enum { N = 12 };
    shoal_channel *channels[N];
    shoal_channel_end *ends[N][2];
    shoal_csp_process network[N];
    setup(0);
    for (int i = 0; i < N; i++)
        ASSERT_OK(shoal_channel_create(&channels[i], NULL));
    for (int i = 0; i < N; i++) {
        ASSERT_OK(shoal_channel_reader(channels[i], &ends[i][0]));
        ASSERT_OK(shoal_channel_writer(channels[(i + 1) % N], &ends[i][1]));
        network[i] = (shoal_csp_process){.target = i ? pass_on : begin_ring,
                                         .argument = poison,
                                         .ends = ends[i],
                                         .n_ends = 2};
    }
    ASSERT_EQ_INT(shoal_parallel(network, N, flags), 0);
    ASSERT_EQ_INT(atomic_load(shared), 20 * (N - 1));
    for (int i = 0; i < N; i++)
        shoal_channel_close(channels[i]);
    done();
}

TEST(csp_a_ring_ends_by_retire_and_by_poison)
{
    ring(0, NULL);
    ring(0, (void *)1);
}

TEST(csp_a_ring_of_threads_ends_too)
{
    ring(SHOAL_CSP_THREADS, NULL);
    ring(SHOAL_CSP_THREADS, (void *)1);
}

static int note_turn(void *argument, shoal_channel_end *const ends[])
{
    (void)ends;
    long turn = atomic_fetch_add(shared, 1);
    return turn == *(long *)argument ? 0 : 1;
}

TEST(csp_sequence_runs_one_after_the_other)
{
    long turns[] = {0, 1, 2};
    setup(0);
    shoal_csp_process network[] = {
        {.target = note_turn, .argument = &turns[0]},
        {.target = note_turn, .argument = &turns[1]},
        {.target = note_turn, .argument = &turns[2]},
    };
    ASSERT_EQ_INT(shoal_sequence(network, 3, 0), 0);
    ASSERT_EQ_INT(atomic_load(shared), 3);
    done();
}

/* Writes its turn, which is also what the buffer holds in order. */
static int write_turn(void *argument, shoal_channel_end *const ends[])
{
    long turn = atomic_fetch_add(shared, 1);
    (void)argument;
    return shoal_channel_write_bytes(ends[0], &turn, sizeof turn, SHOAL_NOW);
}

TEST(csp_sequence_runs_replicas_one_after_the_other)
{
    for (unsigned flags = 0; flags <= SHOAL_CSP_THREADS; flags++) {
        int results[5] = {1, 1, 1, 1, 1};
        long value;
        size_t size;
        setup(5);
        shoal_csp_process network = {.target = write_turn,
                                     .ends = &out,
                                     .n_ends = 1,
                                     .replicas = 5,
                                     .results = results};
        ASSERT_EQ_INT(shoal_sequence(&network, 1, flags), 0);
        for (long i = 0; i < 5; i++) {
            ASSERT_EQ_INT(results[i], 0);
            expect(in, i);
        }
        ASSERT_ERR(shoal_channel_read_bytes(in, &value, sizeof value, &size, SHOAL_FOREVER),
                   -EPIPE);
        out = NULL;
        done();
    }
}

TEST(csp_a_spawned_network_runs_beside_its_parent)
{
    long n = 5;
    shoal_network *network;
    setup(0);
    shoal_csp_process process = {.target = counter, .argument = &n, .ends = &out, .n_ends = 1};
    ASSERT_OK(shoal_spawn(&network, &process, 1, 0));
    for (long i = 0; i < 5; i++)
        expect(in, i);
    long value;
    size_t size;
    ASSERT_ERR(shoal_channel_read_bytes(in, &value, sizeof value, &size, SHOAL_FOREVER), -EPIPE);
    ASSERT_EQ_INT(shoal_network_join(network), 0);
    ASSERT_ERR(shoal_network_join(NULL), -EINVAL);
    ASSERT_ERR(shoal_spawn(&network, &(shoal_csp_process){0}, 1, 0), -EINVAL);
    out = NULL;
    done();
}

static int nest(void *argument, shoal_channel_end *const ends[])
{
    long depth = *(long *)argument;
    (void)ends;
    if (!depth)
        return 0;
    depth--;
    return shoal_parallel(&(shoal_csp_process){.target = nest, .argument = &depth, .replicas = 2},
                          1, 0);
}

TEST(csp_networks_nest)
{
    long depth = 3;
    shared = words_open();
    ASSERT_EQ_INT(shoal_parallel(&(shoal_csp_process){.target = nest, .argument = &depth}, 1, 0),
                  0);
    words_close();
}
