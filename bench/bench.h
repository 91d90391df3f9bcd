/* bench.h - one benchmark is one struct: two candidates, timed side by side in short rounds that
 * alternate (ours, theirs, ours, …).
 *
 * A candidate is a function that does one round, some 10 to 30 ms of work, and returns its figure
 * (nanoseconds per operation, mostly). To add a row: write the two functions, and an entry in the
 * list at the end of the file.
 */
#ifndef SHOAL_BENCH_H
#define SHOAL_BENCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { PIN_ONE = 1, PIN_TWO = 2, PIN_NONE = 4 };

/* In which process a candidate runs. None of them is the driver, which never calls shoal. */
enum world {
    FAMILY,        /* one that uses shoal, the same for all rows */
    NO_MEMBARRIER, /* the same, where membarrier is switched off */
    FRESH,         /* a new one, of a family of its own, for each round */
    PLAIN,         /* one that never calls shoal: all yardsticks run there */
    WORLDS
};

enum judge {
    RATIO_AT_MOST,
    FIGURE_AT_MOST,
    FIGURE_AT_LEAST,
};

struct bench {
    const char *name;
    const char *unit;
    double (*ours)(void);
    enum world world;
    const char *yardstick; /* NULL: none */
    double (*theirs)(void);
    unsigned pinnings; /* PIN_…: a row for each */
    unsigned judged;   /* those of them for which the target counts */
    enum judge judge;
    double target;
    unsigned rounds; /* 0: 15 */
};
#define BENCH_COUNT(list) (sizeof(list) / sizeof *(list))

extern const struct bench bench_any[], bench_sync[], bench_memory[], bench_process[], bench_queue[],
    bench_pool[], bench_container[], bench_manager[], bench_csp[];
extern const unsigned bench_any_count, bench_sync_count, bench_memory_count, bench_process_count,
    bench_queue_count, bench_pool_count, bench_container_count, bench_manager_count,
    bench_csp_count;

/* Yardsticks of several rows: sync.c. */
double bench_line_round_trip(void);
double bench_futex_round_trip(void);
double bench_queue_stream(void); /* queue.c */

/* ---- for candidates ---- */

double bench_now(void); /* nanoseconds */
unsigned bench_pinning(void);
/* Puts the calling process where candidates' processes of this number are: 0 is the first one's. */
void bench_pin(int who);
/* Ends the candidate's process, and with it the driver, unless rc is 0 or more. */
void bench_must(int rc, const char *what);
/* Keeps the compiler from knowing what lies behind the pointer. */
static inline void bench_hide(void *p)
{
    __asm__ volatile("" : : "r"(p) : "memory");
}
#define BENCH_INLINE static inline __attribute__((always_inline))

/* Memory that all processes of the program share. */
struct bench_shared {
    _Alignas(64) _Atomic int ready;
    _Atomic int go;
    _Atomic int stop;
    _Alignas(64) _Atomic int done;
    long count[2];
    _Alignas(64) _Atomic uint32_t ball;
    _Alignas(64) uint64_t guarded;
    _Alignas(64) unsigned char objects[8][64]; /* of the yardsticks: mutexes, semaphores */
};
extern struct bench_shared *bench_shared;

/* Runs body(0) here and body(1) in a child, each on its core as the row is pinned; both begin at
 * once. Returns the nanoseconds that body(0) took. */
double bench_pair(void (*body)(int who));
/* Gives n processes the same body; returns when all have ended. `meanwhile` runs here once all have
 * started. */
void bench_crowd(unsigned n, void (*body)(int who), void (*meanwhile)(const int *pids, unsigned n));

#endif
