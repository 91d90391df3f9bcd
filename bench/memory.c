/* memory.c - allocating and freeing; what a lock costs to make. */
#include "bench.h"
#include <shoal/memory.h>
#include <shoal/sync.h>
#include <stdlib.h>

enum { PAIRS = 50000, MANY = 1000, LOCKS = 6400 };

/* ---- 64 bytes ---- */

static double ours_64(void)
{
    double begin = bench_now();
    for (int i = 0; i < PAIRS; i++) {
        shoal_memory *m;
        bench_must(shoal_memory_create(&m, 64, NULL), "shoal_memory_create");
        bench_hide(m);
        shoal_memory_close(m);
    }
    return (bench_now() - begin) / PAIRS;
}

static double malloc_64(void)
{
    double begin = bench_now();
    for (int i = 0; i < PAIRS; i++) {
        void *m = malloc(64);
        bench_hide(m);
        free(m);
    }
    return (bench_now() - begin) / PAIRS;
}

static double ours_many(void)
{
    static shoal_memory *m[MANY];
    double begin = bench_now();
    for (int i = 0; i < PAIRS / MANY; i++) {
        for (int k = 0; k < MANY; k++)
            bench_must(shoal_memory_create(&m[k], 64, NULL), "shoal_memory_create");
        for (int k = 0; k < MANY; k++)
            shoal_memory_close(m[k]);
    }
    return (bench_now() - begin) / PAIRS;
}

static double malloc_many(void)
{
    static void *m[MANY];
    double begin = bench_now();
    for (int i = 0; i < PAIRS / MANY; i++) {
        for (int k = 0; k < MANY; k++) {
            m[k] = malloc(64);
            bench_hide(m[k]);
        }
        for (int k = 0; k < MANY; k++)
            free(m[k]);
    }
    return (bench_now() - begin) / PAIRS;
}

/* ---- locks ---- */

static shoal_lock *locks[LOCKS];

static void make_locks(void)
{
    for (int i = 0; i < LOCKS; i++)
        bench_must(shoal_lock_create(&locks[i], NULL), "shoal_lock_create");
}

static void drop_locks(void)
{
    for (int i = 0; i < LOCKS; i++)
        shoal_lock_close(locks[i]);
}

static double create_lock(void)
{
    shoal_statistics attach;
    bench_must(shoal_memory_statistics(&attach), "shoal_memory_statistics");
    double begin = bench_now();
    make_locks();
    double took = (bench_now() - begin) / LOCKS;
    drop_locks();
    return took;
}

/* All memory behind the region, its tables and the bookkeeping of who holds what included, before
 * and after. */
static double bytes_of_lock(void)
{
    shoal_statistics before, after;
    bench_must(shoal_memory_statistics(&before), "shoal_memory_statistics");
    make_locks();
    bench_must(shoal_memory_statistics(&after), "shoal_memory_statistics");
    drop_locks();
    return (double)(after.populated - before.populated) / LOCKS;
}

const struct bench bench_memory[] = {
    {"allocate + free 64 bytes", "ns", ours_64, FAMILY, "malloc + free", malloc_64,
     PIN_ONE | PIN_NONE, PIN_ONE | PIN_NONE, RATIO_AT_MOST, 3, 61},
    {"allocate 1000 of 64 bytes, free them", "ns", ours_many, FAMILY, "malloc + free", malloc_many,
     PIN_ONE, 0, RATIO_AT_MOST, 3, 61},
    {"create a lock, first time", "ns", create_lock, FRESH, NULL, NULL, PIN_ONE, PIN_ONE,
     FIGURE_AT_MOST, 1000, 0},
    {"create a lock, memory used before", "ns", create_lock, FAMILY, NULL, NULL, PIN_ONE, PIN_ONE,
     FIGURE_AT_MOST, 1000, 0},
    {"lock: memory of the region", "B", bytes_of_lock, FRESH, NULL, NULL, PIN_ONE, PIN_ONE,
     FIGURE_AT_MOST, 128, 3},
};
const unsigned bench_memory_count = BENCH_COUNT(bench_memory);
