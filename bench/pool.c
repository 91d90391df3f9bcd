/* pool.c - pools of two workers: maps, tasks, starting, death. */
#include "bench.h"
#include "words.h"
#include <errno.h>
#include <shoal/shoal.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a pool for a round ---- */

static shoal_pool *pool;

/* Where pairs are pinned: on the core that the caller is not on. */
static int pin_worker(void *argument)
{
    (void)argument;
    if (bench_pinning() == PIN_TWO)
        bench_pin(1);
    return 0;
}

static void open_pool(int workers)
{
    bench_must(shoal_pool_create(&pool, &(shoal_pool_options){.workers = workers,
                                                              .initializer = pin_worker}),
               "shoal_pool_create");
}

static void close_pool(void)
{
    pool = shoal_pool_free(pool);
}

/* ---- maps ---- */

enum { SQUARES = 1000000, ITEMS = 10000, MAPS = 10 };

static int64_t *numbers, *squares; /* in shared memory, for all: then the memory is the same */

static void open_arrays(void)
{
    static shoal_memory *memory;
    if (!memory) {
        bench_must(shoal_memory_create(&memory, 2 * SQUARES * sizeof *numbers, NULL),
                   "shoal_memory_create");
        numbers = shoal_memory_address(memory);
        squares = numbers + SQUARES;
        for (int i = 0; i < SQUARES; i++) {
            numbers[i] = i;
            squares[i] = 0;
        }
    }
}

static void open_private_arrays(void)
{
    if (!numbers) {
        numbers = calloc(2 * SQUARES, sizeof *numbers);
        squares = numbers + SQUARES;
        for (int i = 0; i < SQUARES; i++) {
            numbers[i] = i;
            squares[i] = 0;
        }
    }
}

static int square(const void *in, void *out)
{
    int64_t n = *(const int64_t *)in;
    *(int64_t *)out = n * n;
    return 0;
}

/* Some 200 ns, or so many times that. */
static int work(const void *in, void *out)
{
    uint64_t x = *(const uint64_t *)in;
    for (int i = 0; i < 100; i++)
        x = x * 0x9e3779b97f4a7c15 + 1;
    *(uint64_t *)out = x;
    return 0;
}

static void serial(shoal_item_function function, size_t n)
{
    bench_hide(&function);
    for (size_t i = 0; i < n; i++)
        if (function(&numbers[i], &squares[i]))
            bench_must(-EINVAL, "an item");
}

static void map(shoal_item_function function, size_t n)
{
    bench_must(shoal_pool_map(pool, function, numbers, sizeof *numbers, squares, sizeof *squares, n,
                              NULL, SHOAL_FOREVER),
               "shoal_pool_map");
}

static double time_maps(void (*run)(shoal_item_function, size_t), shoal_item_function function,
                        size_t n)
{
    run(function, n);
    double begin = bench_now();
    for (int i = 0; i < MAPS; i++)
        run(function, n);
    return (bench_now() - begin) / MAPS / (double)n;
}

static double map_of(shoal_item_function function, size_t n)
{
    open_arrays();
    open_pool(2);
    double took = time_maps(map, function, n);
    close_pool();
    return took;
}

static double serial_of(shoal_item_function function, size_t n)
{
    open_private_arrays();
    return time_maps(serial, function, n);
}

static double map_squares(void)
{
    return map_of(square, SQUARES);
}

static double serial_squares(void)
{
    return serial_of(square, SQUARES);
}

static double map_work(void)
{
    return map_of(work, ITEMS);
}

static double serial_work(void)
{
    return serial_of(work, ITEMS);
}

#if HAVE_OPENMP
static void openmp(shoal_item_function function, size_t n)
{
    bench_hide(&function);
#pragma omp parallel for schedule(guided) num_threads(2)
    for (size_t i = 0; i < n; i++)
        function(&numbers[i], &squares[i]);
}

static double openmp_squares(void)
{
    open_private_arrays();
    return time_maps(openmp, square, SQUARES);
}

static double openmp_work(void)
{
    open_private_arrays();
    return time_maps(openmp, work, ITEMS);
}
#endif

/* ---- the smallest work that pays ---- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of some runs of n items, ns; before each of them the caller sleeps for `rest` us. */
static double once(void (*run)(shoal_item_function, size_t), size_t n, unsigned rest)
{
    enum { RUNS = 15 };
    double took[RUNS];
    for (int i = 0; i < RUNS; i++) {
        if (rest)
            usleep(rest);
        double begin = bench_now();
        run(work, n);
        took[i] = bench_now() - begin;
    }
    qsort(took, RUNS, sizeof *took, by_size);
    return took[RUNS / 2];
}

/* us of work of the loop alone. */
static double break_even(unsigned rest)
{
    open_arrays();
    open_pool(2);
    map(work, ITEMS);
    double pays = 0;
    for (size_t n = 16; pays <= 0 && n < SQUARES; n += n / 8)
        if (once(map, n, rest) < once(serial, n, 0))
            pays = once(serial, n, 0) / 1e3;
    close_pool();
    return pays;
}

static double break_even_asleep(void)
{
    return break_even(5000);
}

static double break_even_awake(void)
{
    return break_even(0);
}

/* ---- tasks ---- */

enum { TASKS = 200000, TRIPS = 20000, LARGE = 1 << 20 };

static int one_more(shoal_task *task)
{
    int64_t n;
    memcpy(&n, shoal_task_bytes(task, NULL), sizeof n);
    n++;
    return shoal_task_return_bytes(task, &n, sizeof n);
}

static double async_tasks(void)
{
    static shoal_result *results[TASKS];
    open_pool(2);
    double begin = bench_now();
    for (int64_t i = 0; i < TASKS; i++)
        bench_must(shoal_pool_apply_async(pool, &results[i], one_more, &i, sizeof i, NULL),
                   "apply_async");
    for (int64_t i = 0; i < TASKS; i++) {
        const void *bytes;
        bench_must(shoal_result_get(results[i], &bytes, NULL, SHOAL_FOREVER), "shoal_result_get");
        if (*(const int64_t *)bytes != i + 1)
            bench_must(-EBADMSG, "a result");
        shoal_result_free(results[i]);
    }
    double took = (bench_now() - begin) / TASKS;
    close_pool();
    return took;
}

static void apply_small(void)
{
    int64_t n = 41;
    shoal_result *r;
    (void)r;
    bench_must(shoal_pool_apply(pool, NULL, NULL, one_more, &n, sizeof n, SHOAL_FOREVER),
               "shoal_pool_apply");
}

static double time_trips(void (*trip)(void), int n)
{
    for (int i = 0; i < 100; i++)
        trip();
    double begin = bench_now();
    for (int i = 0; i < n; i++)
        trip();
    return (bench_now() - begin) / n;
}

static double apply_round_trip(void)
{
    open_pool(bench_pinning() == PIN_TWO ? 1 : 2);
    double took = time_trips(apply_small, TRIPS);
    close_pool();
    return took;
}

/* A task whose argument and result are 1 MiB each, in shared memory, of which it touches the ends. */
static unsigned char *large;

static int touch(shoal_task *task)
{
    size_t size;
    const unsigned char *in = shoal_task_bytes(task, &size);
    void *out;
    int rc = shoal_task_reserve(task, &out, size);
    if (rc)
        return rc;
    ((unsigned char *)out)[0] = (unsigned char)(in[0] + 1);
    ((unsigned char *)out)[size - 1] = (unsigned char)(in[size - 1] + 1);
    return 0;
}

static void trip_of(size_t size)
{
    shoal_result *r;
    const void *bytes;
    shoal_task_options o = {.out = large + LARGE, .out_size = LARGE};
    bench_must(shoal_pool_apply_async(pool, &r, touch, large, size, &o), "apply_async");
    bench_must(shoal_result_get(r, &bytes, NULL, SHOAL_FOREVER), "shoal_result_get");
    shoal_result_free(r);
}

static void trip_of_large(void)
{
    trip_of(LARGE);
}

static void trip_of_small(void)
{
    shoal_result *r;
    int64_t n = 0;
    bench_must(shoal_pool_apply_async(pool, &r, touch, &n, sizeof n, NULL), "apply_async");
    bench_must(shoal_result_get(r, NULL, NULL, SHOAL_FOREVER), "shoal_result_get");
    shoal_result_free(r);
}

static double large_against_small(void)
{
    shoal_memory *memory;
    bench_must(shoal_memory_create(&memory, 2 * LARGE, NULL), "shoal_memory_create");
    large = shoal_memory_address(memory);
    open_pool(1);
    double small = time_trips(trip_of_small, TRIPS), big = time_trips(trip_of_large, TRIPS);
    close_pool();
    shoal_memory_close(memory);
    return big / small;
}

/* ---- starting and ending ---- */

enum { STARTS = 20 };

static void start_and_stop(void)
{
    open_pool(2);
    apply_small();
    bench_must(shoal_pool_close(pool), "shoal_pool_close");
    bench_must(shoal_pool_join(pool, SHOAL_FOREVER), "shoal_pool_join");
    close_pool();
}

static void two_forks(void)
{
    pid_t pids[2];
    for (int i = 0; i < 2; i++) {
        pids[i] = fork();
        if (!pids[i])
            _exit(0);
    }
    for (int i = 0; i < 2; i++)
        if (pids[i] < 0 || waitpid(pids[i], NULL, 0) != pids[i])
            bench_must(-errno, "fork, waitpid");
}

static double time_starts(void (*run)(void))
{
    run();
    double begin = bench_now();
    for (int i = 0; i < STARTS; i++)
        run();
    return (bench_now() - begin) / STARTS / 1e3;
}

static double pool_starts(void)
{
    return time_starts(start_and_stop);
}

static double forks(void)
{
    return time_starts(two_forks);
}

/* ---- death ---- */

static int die(shoal_task *task)
{
    bench_shared->guarded = (uint64_t)bench_now();
    (void)task;
    kill(getpid(), SIGKILL);
    return 0;
}

/* ms from the signal to the error. */
static double death_to_error(void)
{
    enum { DEATHS = 10 };
    double took = 0;
    open_pool(2);
    for (int i = 0; i < DEATHS; i++) {
        if (shoal_pool_apply(pool, NULL, NULL, die, NULL, 0, SHOAL_FOREVER) != -EOWNERDEAD)
            bench_must(-EINVAL, "a task that dies");
        took += bench_now() - (double)bench_shared->guarded;
    }
    close_pool();
    return took / DEATHS / 1e6;
}

#if HAVE_OPENMP
#define OPENMP(f) "OpenMP, two threads", f
#else
#define OPENMP(f) NULL, NULL
#endif
const struct bench bench_pool[] = {
    {"map of 1,000,000 squares", "ns", map_squares, FAMILY, "a loop", serial_squares, PIN_NONE,
     PIN_NONE, RATIO_AT_MOST, 1 / 1.5, 0},
    {"map of 10,000 items of 200 ns", "ns", map_work, FAMILY, "a loop", serial_work, PIN_NONE,
     PIN_NONE, RATIO_AT_MOST, 1 / 1.7, 0},
    {"map of 1,000,000 squares, against OpenMP", "ns", map_squares, FAMILY, OPENMP(openmp_squares),
     PIN_NONE, 0, RATIO_AT_MOST, 1, 0},
    {"map of 10,000 items, against OpenMP", "ns", map_work, FAMILY, OPENMP(openmp_work), PIN_NONE,
     0, RATIO_AT_MOST, 1, 0},
    {"least work that a map pays for, workers asleep", "us", break_even_asleep, FAMILY, NULL, NULL,
     PIN_NONE, PIN_NONE, FIGURE_AT_MOST, 100, 5},
    {"least work that a map pays for, just used", "us", break_even_awake, FAMILY, NULL, NULL,
     PIN_NONE, PIN_NONE, FIGURE_AT_MOST, 20, 5},
    {"200,000 tasks, given and gathered", "ns", async_tasks, FAMILY, "a message of a queue",
     bench_queue_stream, PIN_NONE, PIN_NONE, RATIO_AT_MOST, 20, 0},
    {"apply, there and back", "ns", apply_round_trip, FAMILY, "cache line, spinning",
     bench_line_round_trip, PIN_TWO | PIN_NONE, PIN_TWO, RATIO_AT_MOST, 4, 0},
    {"pool start, first result, stop", "us", pool_starts, FAMILY, "two forks", forks, PIN_NONE,
     PIN_NONE, RATIO_AT_MOST, 1.3, 0},
    {"task of 1 MiB in and out, against a small one", "x", large_against_small, FAMILY, NULL, NULL,
     PIN_TWO, PIN_TWO, FIGURE_AT_MOST, 1.5, 0},
    {"from a worker's death to its task's error", "ms", death_to_error, FAMILY, NULL, NULL,
     PIN_NONE, PIN_NONE, FIGURE_AT_MOST, 5, 0},
    {"wordcount", "ms", words_pool, FRESH, "two halves at once", words_halves, PIN_NONE, PIN_NONE,
     RATIO_AT_MOST, 1 / 0.93, 5},
};
const unsigned bench_pool_count = BENCH_COUNT(bench_pool);
