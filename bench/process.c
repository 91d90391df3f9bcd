/* process.c - starting and joining processes. */
#include "bench.h"
#include <errno.h>
#include <shoal/shoal.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STARTS = 40 };

static int nothing(void *argument)
{
    (void)argument;
    return 0;
}

static double starts(void)
{
    shoal_statistics attach;
    bench_must(shoal_memory_statistics(&attach), "shoal_memory_statistics");
    double begin = bench_now();
    for (int i = 0; i < STARTS; i++) {
        shoal_process *p;
        bench_must(shoal_process_start(&p, nothing, NULL, NULL), "shoal_process_start");
        bench_must(shoal_process_join(p, SHOAL_FOREVER), "shoal_process_join");
        bench_must(shoal_process_close(p), "shoal_process_close");
    }
    return (bench_now() - begin) / STARTS / 1e3;
}

/* In a family in which many objects were made, and are gone. */
static double starts_late(void)
{
    static shoal_lock *locks[6400];
    for (int i = 0; i < 6400; i++)
        bench_must(shoal_lock_create(&locks[i], NULL), "shoal_lock_create");
    for (int i = 0; i < 6400; i++)
        shoal_lock_close(locks[i]);
    return starts();
}

static double forks(void)
{
    double begin = bench_now();
    for (int i = 0; i < STARTS; i++) {
        pid_t pid = fork();
        if (!pid)
            _exit(0);
        if (pid < 0 || waitpid(pid, NULL, 0) != pid)
            bench_must(-errno, "fork, waitpid");
    }
    return (bench_now() - begin) / STARTS / 1e3;
}

/* A program's own fork in a process of the family; its child leaves the family before it ends. */
static double own_forks(void)
{
    shoal_statistics attach;
    bench_must(shoal_memory_statistics(&attach), "shoal_memory_statistics");
    double begin = bench_now();
    for (int i = 0; i < STARTS; i++) {
        pid_t pid = fork();
        if (!pid) {
            shoal_detach();
            _exit(0);
        }
        if (pid < 0 || waitpid(pid, NULL, 0) != pid)
            bench_must(-errno, "fork, waitpid");
    }
    return (bench_now() - begin) / STARTS / 1e3;
}

#define FORK "fork + _exit + waitpid"
const struct bench bench_process[] = {
    {"process start + join", "us", starts, FRESH, FORK, forks, PIN_ONE | PIN_TWO | PIN_NONE,
     PIN_ONE | PIN_TWO | PIN_NONE, RATIO_AT_MOST, 1.1, 0},
    {"start + join, 6,400 locks made before", "us", starts_late, FRESH, FORK, forks, PIN_ONE, 0,
     RATIO_AT_MOST, 1.1, 0},
    {"fork + detach + waitpid", "us", own_forks, FRESH, FORK, forks, PIN_ONE | PIN_NONE, 0,
     RATIO_AT_MOST, 1.1, 0},
};
const unsigned bench_process_count = BENCH_COUNT(bench_process);
