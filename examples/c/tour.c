/* tour.c - a tour of processes and locks: what `make run` shows. Each step is a function; main is
 * at the end. */
#include "check.h"
#include <errno.h>
#include <shoal/shoal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Handles are inherited: what is made before a process is started can be used in it. */
static shoal_lock *lock;
static shoal_event *ready;

/* Memory that all processes of the tour share. */
static struct shared {
    long count;
    double killed, woken;
    char told[160];
} * shared;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
}

static shoal_process *start(shoal_target target, void *argument, const char *name)
{
    shoal_process *process;
    /* Daemons, so that nobody stays behind if the tour is interrupted. */
    check(shoal_process_start(&process, target, argument,
                              &(shoal_process_options){.name = name, .flags = SHOAL_DAEMON}));
    return process;
}

/* Waits for its end; gives back its exit code. */
static int finish(shoal_process *process)
{
    int code;
    check(shoal_process_join(process, SHOAL_FOREVER));
    check(shoal_process_exit_code(process, &code));
    check(shoal_process_close(process));
    return code;
}

/* ---- processes ---- */

static int square(void *argument)
{
    const int *number = argument;
    return *number * *number;
}

static void processes(void)
{
    shoal_process *children[3];
    int codes[3];

    printf("Processes      ");
    for (int i = 0; i < 3; i++) {
        int number = i + 2;
        children[i] = start(square, &number, NULL);
        printf("%s has pid %d%s", shoal_process_name(children[i]),
               (int)shoal_process_pid(children[i]), i < 2 ? ", " : ".\n");
    }
    for (int i = 0; i < 3; i++)
        codes[i] = finish(children[i]);
    printf("               They squared 2, 3 and 4 and returned %d, %d and %d.\n", codes[0],
           codes[1], codes[2]);
}

/* ---- a lock, and memory that it protects ---- */

enum { COUNTERS = 4, EACH = 100000 };

static int counter(void *argument)
{
    (void)argument;
    for (int i = 0; i < EACH; i++) {
        check(shoal_lock_acquire(lock, SHOAL_FOREVER));
        shared->count++;
        check(shoal_lock_release(lock));
    }
    return 0;
}

static void counting(void)
{
    shoal_process *children[COUNTERS];
    double begun = now();

    for (int i = 0; i < COUNTERS; i++)
        children[i] = start(counter, NULL, NULL);
    for (int i = 0; i < COUNTERS; i++)
        finish(children[i]);
    printf("Lock           %d processes added 1 to shared memory, %d times each, under a lock:\n"
           "               %ld, after %.0f ms.\n",
           COUNTERS, EACH, shared->count, (now() - begun) * 1e3);
}

/* ---- death of a holder ---- */

static int hog(void *argument)
{
    (void)argument;
    check(shoal_lock_acquire(lock, SHOAL_FOREVER));
    check(shoal_event_set(ready));
    pause(); /* for good: it is going to be killed */
    return 0;
}

static int heir(void *argument)
{
    (void)argument;
    check(shoal_event_set(ready));
    int result = check(shoal_lock_acquire(lock, SHOAL_FOREVER));
    shared->woken = now();
    if (result == SHOAL_OWNER_DIED) /* the place to mend what the lock protects */
        snprintf(shared->told, sizeof shared->told, "%s", shoal_error_detail());
    check(shoal_lock_release(lock));
    return 0;
}

static void death(void)
{
    shoal_holder holder;

    shoal_process *first = start(hog, NULL, "hog");
    check(shoal_event_wait(ready, SHOAL_FOREVER));
    check(shoal_lock_holder(lock, &holder));
    printf("Death          %s (pid %d) holds the lock, heir waits for it; hog is killed.\n",
           holder.name, (int)holder.pid);

    check(shoal_event_clear(ready));
    shoal_process *second = start(heir, NULL, "heir");
    check(shoal_event_wait(ready, SHOAL_FOREVER));
    nap(); /* by now it sleeps, most likely */

    shared->killed = now();
    check(shoal_process_kill(first));
    finish(second);
    finish(first);
    printf("               %.0f us later heir has it, and is told:\n"
           "               \"%s\"\n",
           (shared->woken - shared->killed) * 1e6, shared->told);
}

/* ---- a condition ---- */

static shoal_condition *counted;

static int cook(void *argument)
{
    const int *meals = argument;
    for (int i = 0; i < *meals; i++) {
        check(shoal_lock_acquire(lock, SHOAL_FOREVER));
        shared->count++;
        check(shoal_condition_notify(counted, 1));
        check(shoal_lock_release(lock));
    }
    return 0;
}

static int enough(void *argument)
{
    const int *wanted = argument;
    return shared->count >= *wanted;
}

static void condition(void)
{
    int each = 10, wanted = 20;

    check(shoal_condition_create(&counted, lock, NULL, NULL));
    shared->count = 0;
    shoal_process *one = start(cook, &each, NULL), *two = start(cook, &each, NULL);

    check(shoal_lock_acquire(lock, SHOAL_FOREVER));
    check(shoal_condition_wait_for(counted, enough, &wanted, SHOAL_FOREVER, NULL));
    printf("Condition      Two cooks notify; the guest slept until %ld meals were there.\n",
           shared->count);
    check(shoal_lock_release(lock));

    finish(one);
    finish(two);
    shoal_condition_close(counted);
}

/* ---- a barrier, one of whose parties dies ---- */

static shoal_barrier *barrier;

static int party(void *argument)
{
    (void)argument;
    return shoal_barrier_wait(barrier, SHOAL_FOREVER) == -ECANCELED; /* broken */
}

static void broken_barrier(void)
{
    check(shoal_barrier_create(&barrier, 3, NULL));
    shoal_process *one = start(party, NULL, NULL), *two = start(party, NULL, NULL);
    while (check(shoal_barrier_n_waiting(barrier)) < 2)
        nap();

    check(shoal_process_kill(one));
    int told = finish(two);
    finish(one);
    printf("Barrier        Of three parties one is killed while it waits: %s.\n",
           told ? "the other need not wait for it" : "nobody was told");
    shoal_barrier_close(barrier);
}

/* ---- permits that come back ---- */

static shoal_semaphore *permits;

static int taker(void *argument)
{
    (void)argument;
    check(shoal_semaphore_acquire_owned(permits, SHOAL_FOREVER));
    check(shoal_event_set(ready));
    pause(); /* for good: it is going to be killed */
    return 0;
}

static void owned_permits(void)
{
    check(shoal_semaphore_create(&permits, 2, &(shoal_semaphore_options){.owned = 2}));
    check(shoal_event_clear(ready));
    shoal_process *process = start(taker, NULL, NULL);
    check(shoal_event_wait(ready, SHOAL_FOREVER));
    int before = check(shoal_semaphore_value(permits));
    check(shoal_process_kill(process));
    finish(process);
    printf("Semaphore      %d of 2 permits was left; the owner of the other is killed: %d again.\n",
           before, check(shoal_semaphore_value(permits)));
    shoal_semaphore_close(permits);
}

/* ---- daemons end with their parent ---- */

static int boss(void *argument)
{
    start(hog, argument, "imp");
    pause(); /* for good: it is going to be killed */
    return 0;
}

static void daemons(void)
{
    check(shoal_event_clear(ready));
    shoal_process *process = start(boss, NULL, "boss");
    check(shoal_event_wait(ready, SHOAL_FOREVER)); /* the daemon holds the lock */

    double begun = now();
    check(shoal_process_kill(process));
    check(shoal_lock_acquire(lock, SHOAL_FOREVER)); /* we have it: the daemon is dead */
    printf("Daemons        boss is killed: %.1f ms later its daemon imp is gone too.\n",
           (now() - begun) * 1e3);
    check(shoal_lock_release(lock));
    finish(process);
}

/* ---- ---- */

static void statistics(void)
{
    shoal_statistics s;
    check(shoal_memory_statistics(&s));
    printf("Statistics     %u objects and %llu KiB in use, %u process; %llu were killed, "
           "%llu repairs.\n",
           s.objects, (unsigned long long)s.used / 1024, s.processes, (unsigned long long)s.deaths,
           (unsigned long long)s.repairs);
}

int main(void)
{
    shoal_memory *memory;

    printf("shoal %s: any process may be killed at any instruction.\n\n", shoal_version());
    check(
        shoal_memory_create(&memory, sizeof *shared, &(shoal_memory_options){.flags = SHOAL_ZERO}));
    shared = shoal_memory_address(memory);
    check(shoal_lock_create(&lock, NULL));
    check(shoal_event_create(&ready, NULL));

    processes();
    counting();
    death();
    condition();
    broken_barrier();
    owned_permits();
    daemons();

    shoal_event_close(ready);
    shoal_lock_close(lock);
    shoal_memory_close(memory);
    statistics();
    return 0;
}
