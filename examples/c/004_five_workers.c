/* 004_five_workers.c - five processes of two seconds each: two seconds in all, not ten. */
#include "check.h"
#include <shoal/shoal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 5 };

static int worker(void *argument)
{
    const int *number = argument;

    printf("Worker %d starting\n", *number);
    sleep(2); /* simulates some work */
    printf("Worker %d finished\n", *number);
    return 0;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(void)
{
    shoal_process *processes[WORKERS];
    double begun = now();

    for (int i = 0; i < WORKERS; i++)
        check(shoal_process_start(&processes[i], worker, &i, NULL));
    for (int i = 0; i < WORKERS; i++) {
        check(shoal_process_join(processes[i], SHOAL_FOREVER));
        check(shoal_process_close(processes[i]));
    }
    printf("All workers finished %s\n", now() - begun < 4 ? "in parallel" : "one by one");
    return 0;
}
