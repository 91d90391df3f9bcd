/* tour.c - what `make run` shows: processes and locks, and what is left when one of them is killed. */
#include <shoal/shoal.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WORKERS 4
#define ROUNDS 50000

struct shared {
    long counter;
};

struct work {
    shoal_lock *lock;
    shoal_semaphore *permits;
    shoal_event *ready;
    struct shared *shared;
};

/* Gives the result back; ends the program if it is a failure. */
static int must(int result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "%s: %s (%s)\n", what, shoal_strerror(result), shoal_error_detail());
        exit(1);
    }
    return result;
}

static int count(void *argument)
{
    struct work *work = argument;
    for (int i = 0; i < ROUNDS; i++) {
        must(shoal_lock_acquire(work->lock, SHOAL_FOREVER), "acquire");
        work->shared->counter++;
        must(shoal_lock_release(work->lock), "release");
    }
    return 0;
}

static int take_and_wait(void *argument)
{
    struct work *work = argument;
    must(shoal_lock_acquire(work->lock, SHOAL_FOREVER), "acquire");
    must(shoal_semaphore_acquire_owned(work->permits, SHOAL_FOREVER), "acquire_owned");
    must(shoal_event_set(work->ready), "set");
    pause();
    return 0;
}

static void count_together(struct work *work)
{
    shoal_process *workers[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        must(shoal_process_start(&workers[i], count, work, NULL), "start");
    for (int i = 0; i < WORKERS; i++) {
        int code;
        must(shoal_process_join(workers[i], SHOAL_FOREVER), "join");
        must(shoal_process_exit_code(workers[i], &code), "exit_code");
        printf("  %s, pid %d, ended with %d\n", shoal_process_name(workers[i]),
               (int)shoal_process_pid(workers[i]), code);
        must(shoal_process_close(workers[i]), "close");
    }
    printf("  the counter says %ld, as it must: %d processes x %d\n\n", work->shared->counter,
           WORKERS, ROUNDS);
}

static void kill_a_holder(struct work *work)
{
    const shoal_process_options options = {.name = "the victim"};
    shoal_process *victim;
    shoal_holder holder;
    int code;

    must(shoal_process_start(&victim, take_and_wait, work, &options), "start");
    must(shoal_event_wait(work->ready, SHOAL_FOREVER), "wait");
    must(shoal_lock_holder(work->lock, &holder), "holder");
    printf("  %s (pid %d) holds the lock and a permit; permits left: %d\n", holder.name,
           (int)holder.pid, shoal_semaphore_value(work->permits));
    must(shoal_process_kill(victim), "kill");
    printf("  it is killed\n");

    int result = must(shoal_lock_acquire(work->lock, SHOAL_FOREVER), "acquire");
    printf("  acquire gives %d (%s)\n  %s\n", result, shoal_strerror(result), shoal_error_detail());
    must(shoal_lock_release(work->lock), "release");
    must(shoal_process_join(victim, SHOAL_FOREVER), "join");
    must(shoal_process_exit_code(victim, &code), "exit_code");
    printf("  its exit code is %d; permits left: %d\n\n", code,
           shoal_semaphore_value(work->permits));
    must(shoal_process_close(victim), "close");
}

int main(void)
{
    const shoal_memory_options zero = {.flags = SHOAL_ZERO};
    const shoal_semaphore_options owned = {.owned = 1};
    struct work work;
    shoal_memory *memory;
    shoal_statistics statistics;

    printf("shoal %s, on %d CPUs\n\n", shoal_version(), shoal_cpu_count());
    must(shoal_memory_create(&memory, sizeof(struct shared), &zero), "memory");
    work.shared = shoal_memory_address(memory);
    must(shoal_lock_create(&work.lock, NULL), "lock");
    must(shoal_semaphore_create(&work.permits, 1, &owned), "semaphore");
    must(shoal_event_create(&work.ready, NULL), "event");

    printf("%d processes count together, under one lock:\n", WORKERS);
    count_together(&work);
    printf("A process is killed while it holds a lock and a semaphore's permit:\n");
    kill_a_holder(&work);

    shoal_event_close(work.ready);
    shoal_semaphore_close(work.permits);
    shoal_lock_close(work.lock);
    shoal_memory_close(memory);
    must(shoal_memory_statistics(&statistics), "statistics");
    printf("What is left of it: %u objects, %u process, %llu death repaired.\n", statistics.objects,
           statistics.processes, (unsigned long long)statistics.deaths);
    return 0;
}
