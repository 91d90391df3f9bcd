/* process.c - starting and joining processes. */
#include "bench.h"
#include <errno.h>
#include <shoal/shoal.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STARTS = 40 };

static int nothing(void *argument)
{
    (void)argument;
    return 0;
}

static void start_and_join(void)
{
    shoal_process *p;
    bench_must(shoal_process_start(&p, nothing, NULL, NULL), "shoal_process_start");
    bench_must(shoal_process_join(p, SHOAL_FOREVER), "shoal_process_join");
    bench_must(shoal_process_close(p), "shoal_process_close");
}

static void fork_and_wait(void)
{
    pid_t pid = fork();
    if (!pid)
        _exit(0);
    if (pid < 0 || waitpid(pid, NULL, 0) != pid)
        bench_must(-errno, "fork, waitpid");
}

/* Microseconds each. What is done once only, by the first, is not measured. */
static double time_of(void (*run)(void))
{
    run();
    double begin = bench_now();
    for (int i = 0; i < STARTS; i++)
        run();
    return (bench_now() - begin) / STARTS / 1e3;
}

static double starts(void)
{
    return time_of(start_and_join);
}

static double forks(void)
{
    return time_of(fork_and_wait);
}

/* Of parent and children: what most of the time goes into, and hardly differs from run to run. */
static double faults_of(void (*run)(void))
{
    struct rusage mine[2], childrens[2];
    run();
    for (int k = 0; k < 2; k++) {
        for (int i = 0; k && i < STARTS; i++)
            run();
        getrusage(RUSAGE_SELF, &mine[k]);
        getrusage(RUSAGE_CHILDREN, &childrens[k]);
    }
    long faults =
        mine[1].ru_minflt - mine[0].ru_minflt + childrens[1].ru_minflt - childrens[0].ru_minflt;
    return (double)faults / STARTS;
}

static double start_faults(void)
{
    return faults_of(start_and_join);
}

static double fork_faults(void)
{
    return faults_of(fork_and_wait);
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

/* A program's own fork in a process of the family; its child leaves the family before it ends. */
static void fork_and_detach(void)
{
    pid_t pid = fork();
    if (!pid) {
        shoal_detach();
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, NULL, 0) != pid)
        bench_must(-errno, "fork, waitpid");
}

static double own_forks(void)
{
    shoal_statistics attach;
    bench_must(shoal_memory_statistics(&attach), "shoal_memory_statistics");
    return time_of(fork_and_detach);
}

#define FORK "fork + _exit + waitpid"
const struct bench bench_process[] = {
    {"process start + join", "us", starts, FRESH, FORK, forks, PIN_ONE | PIN_TWO | PIN_NONE,
     PIN_ONE | PIN_TWO | PIN_NONE, RATIO_AT_MOST, 1.1, 0},
    {"process start + join, page faults", "", start_faults, FRESH, FORK, fork_faults, PIN_ONE, 0,
     RATIO_AT_MOST, 1.1, 0},
    {"start + join, 6,400 locks made before", "us", starts_late, FRESH, FORK, forks, PIN_ONE, 0,
     RATIO_AT_MOST, 1.1, 0},
    {"fork + detach + waitpid", "us", own_forks, FRESH, FORK, forks, PIN_ONE | PIN_NONE, 0,
     RATIO_AT_MOST, 1.1, 0},
};
const unsigned bench_process_count = BENCH_COUNT(bench_process);
