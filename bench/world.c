/* world.c - the processes in which candidates run, and what they share. */
#include "world.h"
#include "bench.h"
#include <errno.h>
#include <sched.h>
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct bench_shared *bench_shared;
static cpu_set_t all_cpus, one_cpu, other_cpu;
static unsigned pinning;
static enum world here = WORLDS;

static struct server {
    pid_t pid;
    int command, answer;
} servers[WORLDS];

struct command {
    double (*candidate)(void);
    unsigned pinning;
};

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

unsigned bench_pinning(void)
{
    return pinning;
}

void bench_must(int rc, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "bench: %s: %s (%s)\n", what, shoal_strerror(rc), shoal_error_detail());
    _exit(1);
}

/* ---- where to run ---- */

unsigned world_cpus(void)
{
    unsigned found = 0;
    CPU_ZERO(&one_cpu);
    CPU_ZERO(&other_cpu);
    if (sched_getaffinity(0, sizeof all_cpus, &all_cpus))
        return 0;
    for (int cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++)
        if (CPU_ISSET(cpu, &all_cpus))
            CPU_SET(cpu, found++ ? &other_cpu : &one_cpu);
    return found;
}

void bench_pin(int who)
{
    const cpu_set_t *set = pinning == PIN_NONE         ? &all_cpus
                           : who && pinning == PIN_TWO ? &other_cpu
                                                       : &one_cpu;
    if (sched_setaffinity(0, sizeof *set, set))
        bench_must(-errno, "sched_setaffinity");
}

/* ---- several processes ---- */

static _Noreturn void be_child(void (*body)(int who), int who)
{
    bench_pin(who);
    atomic_fetch_add(&bench_shared->ready, 1);
    while (!atomic_load(&bench_shared->go))
        sched_yield();
    body(who);
    if (here != PLAIN)
        shoal_detach();
    _exit(0);
}

static pid_t start(void (*body)(int who), int who)
{
    pid_t pid = fork();
    if (pid < 0)
        bench_must(-errno, "fork");
    if (!pid)
        be_child(body, who);
    return pid;
}

static void await(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            bench_must(-errno, "waitpid");
    if (status)
        bench_must(-EPIPE, "a child of the benchmark failed");
}

static void prepare(void)
{
    atomic_store(&bench_shared->ready, 0);
    atomic_store(&bench_shared->go, 0);
    atomic_store(&bench_shared->stop, 0);
    atomic_store(&bench_shared->ball, 0);
    memset(bench_shared->count, 0, sizeof bench_shared->count);
}

double bench_pair(void (*body)(int who))
{
    prepare();
    pid_t pid = start(body, 1);
    while (!atomic_load(&bench_shared->ready))
        sched_yield();
    atomic_store(&bench_shared->go, 1);
    double begin = bench_now();
    body(0);
    double took = bench_now() - begin;
    await(pid);
    return took;
}

void bench_crowd(unsigned n, void (*body)(int who), void (*meanwhile)(const int *pids, unsigned n))
{
    int *pids = calloc(n, sizeof *pids);
    if (!pids)
        bench_must(-ENOMEM, "calloc");
    prepare();
    atomic_store(&bench_shared->go, 1);
    for (unsigned i = 0; i < n; i++)
        pids[i] = start(body, (int)i + 1);
    while (atomic_load(&bench_shared->ready) < (int)n)
        sched_yield();
    meanwhile(pids, n);
    for (unsigned i = 0; i < n; i++)
        await(pids[i]);
    free(pids);
}

/* ---- worlds ---- */

static _Noreturn void serve(int command, int answer)
{
    struct command c;
    while (read(command, &c, sizeof c) == (ssize_t)sizeof c) {
        pinning = c.pinning;
        bench_pin(0);
        double figure = c.candidate();
        if (write(answer, &figure, sizeof figure) != (ssize_t)sizeof figure)
            _exit(1);
    }
    exit(0);
}

static void open_world(enum world world)
{
    struct server *s = &servers[world];
    int command[2], answer[2];
    if (pipe(command) || pipe(answer)) {
        perror("bench: pipe");
        exit(1);
    }
    fflush(NULL);
    s->pid = fork();
    if (s->pid < 0) {
        perror("bench: fork");
        exit(1);
    }
    if (!s->pid) {
        here = world;
        /* The others' pipes are the driver's: a server must see its own end when the driver closes
         * it. */
        for (int w = 0; w < WORLDS; w++)
            if (servers[w].pid > 0 && w != (int)world) {
                close(servers[w].command);
                close(servers[w].answer);
            }
        close(command[1]);
        close(answer[0]);
        if (world == NO_MEMBARRIER)
            setenv("SHOAL_WITHOUT", "membarrier", 1);
        serve(command[0], answer[1]);
    }
    close(command[0]);
    close(answer[1]);
    s->command = command[1];
    s->answer = answer[0];
}

static void close_world(enum world world)
{
    struct server *s = &servers[world];
    if (!s->pid)
        return;
    close(s->command);
    close(s->answer);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
}

bool world_run(enum world world, double (*candidate)(void), unsigned pinned, double *ret)
{
    struct server *s = &servers[world];
    struct command c = {candidate, pinned};
    if (!s->pid)
        open_world(world);
    bool good = write(s->command, &c, sizeof c) == (ssize_t)sizeof c &&
                read(s->answer, ret, sizeof *ret) == (ssize_t)sizeof *ret;
    if (world == FRESH || !good)
        close_world(world);
    return good;
}

void world_begin(void)
{
    bench_shared =
        mmap(NULL, sizeof *bench_shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bench_shared == MAP_FAILED) {
        perror("bench: mmap");
        exit(1);
    }
}

void world_end(void)
{
    for (int w = 0; w < WORLDS; w++)
        close_world((enum world)w);
}
