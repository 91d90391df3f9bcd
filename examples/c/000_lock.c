/* 000_lock.c - ten processes take turns: one lock, so that their lines never mix. */
#include "check.h"
#include <shoal/shoal.h>
#include <stdio.h>

enum { WORKERS = 10 };

struct job {
    shoal_lock *lock;
    int number;
};

static int worker(void *argument)
{
    const struct job *job = argument;

    check(shoal_lock_acquire(job->lock, SHOAL_FOREVER));
    printf("Hello, world! %d\n", job->number);
    fflush(stdout); /* the line is out before the next process has its turn */
    check(shoal_lock_release(job->lock));
    return 0;
}

int main(void)
{
    shoal_process *processes[WORKERS];
    struct job job;

    check(shoal_lock_create(&job.lock, NULL));
    for (job.number = 0; job.number < WORKERS;
         job.number++) /* each child has its own copy of job */
        check(shoal_process_start(&processes[job.number], worker, &job, NULL));

    for (int i = 0; i < WORKERS; i++) {
        check(shoal_process_join(processes[i], SHOAL_FOREVER));
        check(shoal_process_close(processes[i]));
    }
    shoal_lock_close(job.lock);
    return 0;
}
