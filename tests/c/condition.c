/* Conditions: what sync.h promises, also when waiters, notifiers and holders of the lock die. */
#include "runner.h"
#include <errno.h>
#include <pthread.h>
#include <shoal/shoal.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the processes of a test share. */
static struct shared {
    _Atomic int ready, go, done, order[64], result[64];
} * shared;
static shoal_memory *shared_memory;
static shoal_condition *condition;

static void set_up(shoal_lock *lock, shoal_rlock *rlock)
{
    shoal_memory_options zero = {.flags = SHOAL_ZERO};
    ASSERT_OK(shoal_memory_create(&shared_memory, sizeof *shared, &zero));
    shared = shoal_memory_address(shared_memory);
    ASSERT_OK(shoal_condition_create(&condition, lock, rlock, NULL));
}

/* The runner looks whether anything is left (family.c). */
static void tear_down(void)
{
    shoal_memory_close(shared_memory);
    shoal_condition_close(condition);
}

static pid_t child(void (*run)(int), int argument)
{
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        run(argument);
        _exit(0);
    }
    return pid;
}

static void ended(pid_t pid)
{
    int status;
    ASSERT_SYS(waitpid(pid, &status, 0));
    ASSERT_EQ_INT(status, 0);
}

static void killed(pid_t pid)
{
    int status;
    ASSERT_SYS(kill(pid, SIGKILL));
    ASSERT_SYS(waitpid(pid, &status, 0));
    ASSERT_EQ_INT(status, SIGKILL);
}

static void stopped(pid_t pid)
{
    int status;
    ASSERT_SYS(kill(pid, SIGSTOP));
    ASSERT_SYS(waitpid(pid, &status, WUNTRACED));
    ASSERT_TRUE(WIFSTOPPED(status));
}

static void until(_Atomic int *word, int value)
{
    while (atomic_load(word) < value)
        usleep(200);
}

/* n wait and have had the time to fall asleep. */
static void until_waiting(int n)
{
    while (ASSERT_OK(shoal_condition_waiters(condition)) != n)
        usleep(200);
    usleep(2000);
}

static void lock(void)
{
    int rc = (int)ASSERT_OK(shoal_condition_acquire(condition, SHOAL_FOREVER));
    ASSERT_TRUE(rc == 0 || rc == SHOAL_OWNER_DIED);
}

static void unlock(void)
{
    ASSERT_OK(shoal_condition_release(condition));
}

static int notify(unsigned n)
{
    lock();
    int rc = shoal_condition_notify(condition, n);
    unlock();
    return rc;
}

/* Waits once, and says what came of it and when. */
static void wait_once(int number)
{
    lock();
    int rc = shoal_condition_wait(condition, SHOAL_FOREVER);
    atomic_store(&shared->result[number], rc);
    atomic_store(&shared->order[atomic_load(&shared->done)], number);
    atomic_fetch_add(&shared->done, 1);
    unlock();
}

TEST(a_condition_has_one_lock_its_own_if_none_is_given)
{
    shoal_lock *l;
    shoal_rlock *r;
    shoal_condition *c = NULL;
    shoal_sync_options flags = {.flags = 4}, named = {.name = "a condition"};
    ASSERT_OK(shoal_lock_create(&l, NULL));
    ASSERT_OK(shoal_rlock_create(&r, NULL));
    ASSERT_ERR(shoal_condition_create(&c, l, r, NULL), -EINVAL);
    ASSERT_ERR(shoal_condition_create(NULL, l, NULL, NULL), -EINVAL);
    ASSERT_ERR(shoal_condition_create(&c, l, NULL, &flags), -EINVAL);
    ASSERT_NULL(c);
    ASSERT_OK(shoal_condition_create(&c, l, NULL, &named));
    ASSERT_EQ_INT(shoal_condition_acquire(c, SHOAL_NOW), 0);
    ASSERT_EQ_INT(shoal_lock_locked(l), 1);
    ASSERT_ERR(shoal_condition_acquire(c, SHOAL_NOW), -EAGAIN);
    ASSERT_OK(shoal_condition_release(c));
    ASSERT_EQ_INT(shoal_lock_locked(l), 0);
    ASSERT_NULL(shoal_condition_close(c));
    ASSERT_OK(shoal_condition_create(&c, NULL, r, NULL));
    ASSERT_OK(shoal_condition_acquire(c, SHOAL_NOW));
    ASSERT_OK(shoal_condition_acquire(c, SHOAL_NOW));
    ASSERT_EQ_INT(shoal_rlock_count(r), 2);
    ASSERT_OK(shoal_condition_release(c));
    ASSERT_OK(shoal_condition_release(c));
    shoal_condition_close(c);
    ASSERT_EQ_INT(shoal_rlock_acquire(r, SHOAL_NOW), 0); /* still open */
    shoal_rlock_close(r);
    shoal_lock_close(l);
    ASSERT_OK(shoal_condition_create(&c, NULL, NULL, NULL));
    ASSERT_OK(shoal_condition_acquire(c, SHOAL_NOW));
    ASSERT_OK(shoal_condition_acquire(c, SHOAL_NOW));
    ASSERT_OK(shoal_condition_release(c));
    ASSERT_OK(shoal_condition_release(c));
    ASSERT_ERR(shoal_condition_release(c), -EPERM);
    ASSERT_NULL(shoal_condition_close(c));
    ASSERT_ERR(shoal_condition_acquire(c, SHOAL_NOW), -EBADF);
    ASSERT_NULL(shoal_condition_close(NULL));
    shoal_statistics s;
    ASSERT_OK(shoal_memory_statistics(&s));
    ASSERT_EQ_INT(s.objects, 0);
}

TEST(a_condition_keeps_its_lock_alive)
{
    shoal_lock *l;
    shoal_reference reference;
    ASSERT_OK(shoal_lock_create(&l, NULL));
    ASSERT_OK(shoal_lock_reference(l, &reference));
    set_up(l, NULL);
    shoal_lock_close(l);
    lock();
    ASSERT_EQ_INT(shoal_condition_notify(condition, 1), 0);
    unlock();
    ASSERT_OK(shoal_lock_open(&l, &reference));
    shoal_lock_close(l);
    tear_down();
    ASSERT_ERR(shoal_lock_open(&l, &reference), -ESTALE);
}

static void open_and_wait(int fd)
{
    shoal_reference reference;
    ASSERT_EQ_INT(read(fd, &reference, sizeof reference), sizeof reference);
    ASSERT_OK(shoal_condition_open(&condition, &reference));
    wait_once(0);
    ASSERT_NULL(shoal_condition_close(condition));
    ASSERT_ERR(shoal_condition_waiters(condition), -EBADF);
}

TEST(a_condition_opened_by_reference_brings_its_lock_with_it)
{
    int ends[2];
    shoal_lock *l;
    shoal_reference reference;
    shoal_memory_options zero = {.flags = SHOAL_ZERO};
    ASSERT_OK(shoal_memory_create(&shared_memory, sizeof *shared, &zero));
    shared = shoal_memory_address(shared_memory);
    ASSERT_SYS(pipe(ends));
    pid_t pid = child(open_and_wait, ends[0]);
    ASSERT_OK(shoal_lock_create(&l, NULL));
    ASSERT_OK(shoal_condition_create(&condition, l, NULL, NULL));
    shoal_lock_close(l);
    ASSERT_OK(shoal_condition_reference(condition, &reference));
    ASSERT_EQ_INT(write(ends[1], &reference, sizeof reference), sizeof reference);
    close(ends[0]);
    close(ends[1]);
    until_waiting(1);
    ASSERT_EQ_INT(notify(1), 1);
    ended(pid);
    ASSERT_ERR(shoal_condition_open(&condition, NULL), -EINVAL);
    tear_down();
    ASSERT_ERR(shoal_condition_open(&condition, &reference), -ESTALE);
}

TEST(waiting_and_notifying_need_the_lock)
{
    shoal_lock *l;
    int died = 7;
    set_up(NULL, NULL);
    ASSERT_ERR(shoal_condition_wait(condition, SHOAL_NOW), -EPERM);
    ASSERT_ERR(shoal_condition_notify(condition, 1), -EPERM);
    ASSERT_ERR(shoal_condition_notify_all(condition), -EPERM);
    ASSERT_ERR(shoal_condition_wait_for(condition, NULL, NULL, SHOAL_NOW, &died), -EPERM);
    ASSERT_EQ_INT(died, 7);
    lock();
    ASSERT_ERR(shoal_condition_wait_for(condition, NULL, NULL, SHOAL_NOW, NULL), -EINVAL);
    ASSERT_EQ_INT(shoal_condition_notify_all(condition), 0);
    unlock();
    tear_down();
    ASSERT_OK(shoal_lock_create(&l, NULL));
    set_up(l, NULL);
    ASSERT_ERR(shoal_condition_wait(condition, SHOAL_NOW), -EPERM);
    ASSERT_ERR(shoal_condition_notify(condition, 1), -EPERM);
    shoal_lock_close(l);
    tear_down();
}

TEST(who_is_not_notified_leaves_at_the_deadline_with_the_lock)
{
    shoal_rlock *r;
    ASSERT_OK(shoal_rlock_create(&r, NULL));
    set_up(NULL, r);
    lock();
    ASSERT_ERR(shoal_condition_wait(condition, SHOAL_NOW), -ETIMEDOUT);
    ASSERT_ERR(shoal_condition_wait(condition, shoal_after(0.02)), -ETIMEDOUT);
    ASSERT_EQ_INT(shoal_rlock_count(r), 1);
    ASSERT_EQ_INT(shoal_condition_waiters(condition), 0);
    ASSERT_EQ_INT(shoal_condition_notify(condition, 1), 0);
    unlock();
    shoal_rlock_close(r);
    tear_down();
}

static void notify_later(int n)
{
    until_waiting(1);
    ASSERT_EQ_INT(notify((unsigned)n), 1);
}

TEST(all_levels_of_an_rlock_are_released_and_restored)
{
    shoal_rlock *r;
    ASSERT_OK(shoal_rlock_create(&r, NULL));
    set_up(NULL, r);
    for (int i = 0; i < 5; i++)
        lock();
    pid_t pid = child(notify_later, 1);
    ASSERT_EQ_INT(shoal_condition_wait(condition, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT(shoal_rlock_count(r), 5);
    ASSERT_ERR(shoal_condition_wait(condition, shoal_after(0.001)), -ETIMEDOUT);
    ASSERT_EQ_INT(shoal_rlock_count(r), 5);
    for (int i = 0; i < 5; i++)
        unlock();
    ended(pid);
    shoal_rlock_close(r);
    tear_down();
}

static void notify_by_turns(int with_lock)
{
    (void)with_lock;
    for (int i = 1; i < 2000; i += 2) {
        lock();
        while (atomic_load(&shared->go) != i)
            ASSERT_EQ_INT(shoal_condition_wait(condition, SHOAL_FOREVER), 0);
        atomic_store(&shared->go, i + 1);
        ASSERT_OK(shoal_condition_notify(condition, 1));
        unlock();
    }
}

static void take_turns(shoal_lock *l)
{
    set_up(l, NULL);
    pid_t pid = child(notify_by_turns, 0);
    for (int i = 0; i < 2000; i += 2) {
        lock();
        while (atomic_load(&shared->go) != i)
            ASSERT_EQ_INT(shoal_condition_wait(condition, SHOAL_FOREVER), 0);
        atomic_store(&shared->go, i + 1);
        ASSERT_OK(shoal_condition_notify(condition, 1));
        unlock();
    }
    ended(pid);
    shoal_lock_close(l);
    tear_down();
}

TEST(two_processes_can_take_turns)
{
    shoal_lock *l;
    ASSERT_OK(shoal_lock_create(&l, NULL));
    take_turns(l);
}

TEST(two_processes_can_take_turns_with_an_rlock)
{
    take_turns(NULL);
}

TEST(the_oldest_is_notified_first)
{
    enum { N = 6 };
    pid_t pids[N];
    set_up(NULL, NULL);
    for (int i = 0; i < N; i++) {
        pids[i] = child(wait_once, i);
        until_waiting(i + 1);
    }
    for (int i = 0; i < N; i++) {
        ASSERT_EQ_INT(notify(1), 1);
        until(&shared->done, i + 1);
        ASSERT_EQ_INT(atomic_load(&shared->order[i]), i);
        ASSERT_EQ_INT(atomic_load(&shared->result[i]), 0);
        ASSERT_EQ_INT(shoal_condition_waiters(condition), N - 1 - i);
    }
    for (int i = 0; i < N; i++)
        ended(pids[i]);
    tear_down();
}

TEST(fifty_waiters_are_notified_by_number_and_all_at_once)
{
    enum { N = 50 };
    pid_t pids[N];
    set_up(NULL, NULL);
    for (int i = 0; i < N; i++)
        pids[i] = child(wait_once, i);
    until_waiting(N);
    ASSERT_EQ_INT(notify(0), 0);
    ASSERT_EQ_INT(notify(7), 7);
    until(&shared->done, 7);
    ASSERT_EQ_INT(shoal_condition_waiters(condition), N - 7);
    lock();
    ASSERT_EQ_INT(shoal_condition_notify_all(condition), N - 7);
    ASSERT_EQ_INT(shoal_condition_notify_all(condition), 0);
    ASSERT_EQ_INT(atomic_load(&shared->done), 7); /* they need the lock */
    unlock();
    for (int i = 0; i < N; i++)
        ended(pids[i]);
    ASSERT_EQ_INT(atomic_load(&shared->done), N);
    ASSERT_EQ_INT(notify(5), 0);
    tear_down();
}

/* ---- threads and signals ---- */

static void *thread_waits(void *number)
{
    wait_once((int)(intptr_t)number);
    return NULL;
}

TEST(threads_and_processes_wait_side_by_side)
{
    enum { N = 4 };
    pthread_t threads[N];
    pid_t pids[N];
    set_up(NULL, NULL);
    for (int i = 0; i < N; i++)
        pids[i] = child(wait_once, i);
    for (int i = 0; i < N; i++)
        ASSERT_EQ_INT(pthread_create(&threads[i], NULL, thread_waits, (void *)(intptr_t)(N + i)),
                      0);
    until_waiting(2 * N);
    ASSERT_EQ_INT(notify(3), 3);
    until(&shared->done, 3);
    ASSERT_EQ_INT(notify(100), 2 * N - 3);
    for (int i = 0; i < N; i++) {
        ended(pids[i]);
        ASSERT_EQ_INT(pthread_join(threads[i], NULL), 0);
    }
    ASSERT_EQ_INT(atomic_load(&shared->done), 2 * N);
    tear_down();
}

static void nothing(int signal)
{
    (void)signal;
}

static void wait_interrupted(int number)
{
    struct sigaction action = {.sa_handler = nothing};
    ASSERT_SYS(sigaction(SIGUSR1, &action, NULL));
    wait_once(number);
    ASSERT_EQ_INT(shoal_condition_waiters(condition), 0);
    lock();
    unlock();
}

TEST(a_signal_handler_ends_the_wait_with_the_lock_held)
{
    set_up(NULL, NULL);
    pid_t pid = child(wait_interrupted, 0);
    until_waiting(1);
    while (!atomic_load(&shared->done)) { /* one that comes before it sleeps goes unnoticed */
        ASSERT_SYS(kill(pid, SIGUSR1));
        usleep(5000);
    }
    ended(pid);
    ASSERT_EQ_INT(atomic_load(&shared->result[0]), -EINTR);
    tear_down();
}

TEST(a_signal_while_the_lock_is_taken_again_does_not_lose_the_notification)
{
    set_up(NULL, NULL);
    pid_t pid = child(wait_interrupted, 0);
    until_waiting(1);
    lock();
    ASSERT_EQ_INT(shoal_condition_notify(condition, 1), 1);
    for (int i = 0; i < 10; i++) {
        usleep(2000);
        ASSERT_SYS(kill(pid, SIGUSR1));
    }
    ASSERT_EQ_INT(atomic_load(&shared->done), 0);
    unlock();
    ended(pid);
    ASSERT_EQ_INT(atomic_load(&shared->result[0]), 0);
    tear_down();
}

/* ---- wait_for ---- */

static int passed(void *argument)
{
    shoal_condition *c = argument;
    ASSERT_OK(shoal_condition_notify(c, 0)); /* -EPERM if it were asked without the lock */
    return atomic_load(&shared->go) > 2 ? atomic_load(&shared->go) : 0;
}

static int refuses(void *argument)
{
    (void)argument;
    return -ENODATA;
}

static void go_on(int times)
{
    for (int i = 1; i <= times; i++) {
        until_waiting(1);
        lock();
        atomic_fetch_add(&shared->go, 1);
        ASSERT_EQ_INT(shoal_condition_notify_all(condition), 1);
        unlock();
    }
}

TEST(wait_for_returns_what_the_predicate_says)
{
    int died = 0;
    set_up(NULL, NULL);
    lock();
    ASSERT_ERR(shoal_condition_wait_for(condition, passed, condition, SHOAL_NOW, &died),
               -ETIMEDOUT);
    ASSERT_ERR(shoal_condition_wait_for(condition, passed, condition, shoal_after(0.02), &died),
               -ETIMEDOUT);
    ASSERT_ERR(shoal_condition_wait_for(condition, refuses, NULL, SHOAL_NOW, &died), -ENODATA);
    pid_t pid = child(go_on, 3);
    ASSERT_EQ_INT(shoal_condition_wait_for(condition, passed, condition, SHOAL_FOREVER, &died), 3);
    ASSERT_EQ_INT(died, 0);
    ASSERT_EQ_INT(shoal_condition_wait_for(condition, passed, condition, SHOAL_NOW, NULL), 3);
    unlock();
    ended(pid);
    tear_down();
}

static void die_holding(int notify_first)
{
    until_waiting(1);
    lock();
    if (notify_first) {
        atomic_store(&shared->go, 3);
        ASSERT_EQ_INT(shoal_condition_notify(condition, 1), 1);
    }
    kill(getpid(), SIGKILL);
}

TEST(wait_for_tells_that_the_lock_came_from_the_dead)
{
    int died = 0;
    set_up(NULL, NULL);
    lock();
    pid_t pid = child(die_holding, 1);
    ASSERT_EQ_INT(shoal_condition_wait_for(condition, passed, condition, SHOAL_FOREVER, &died), 3);
    ASSERT_EQ_INT(died, 1);
    unlock();
    ASSERT_SYS(waitpid(pid, NULL, 0));
    tear_down();
}

/* ---- deaths ---- */

TEST(a_notifier_that_dies_with_the_lock_is_reported_to_the_notified)
{
    set_up(NULL, NULL);
    lock();
    pid_t pid = child(die_holding, 1);
    ASSERT_EQ_INT(shoal_condition_wait(condition, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    ASSERT_EQ_INT(shoal_condition_release(condition), 0);
    ASSERT_SYS(waitpid(pid, NULL, 0));
    tear_down();
}

TEST(who_leaves_in_vain_learns_that_the_lock_came_from_the_dead)
{
    set_up(NULL, NULL);
    lock();
    pid_t pid = child(die_holding, 0);
    int rc;
    /* The deadline may pass before the other is in the lock. */
    while ((rc = shoal_condition_wait(condition, shoal_after(0.05))) == -ETIMEDOUT)
        ;
    ASSERT_EQ_INT(rc, -EOWNERDEAD);
    unlock();
    ASSERT_SYS(waitpid(pid, NULL, 0));
    tear_down();
}

TEST(a_dead_waiter_is_forgotten)
{
    pid_t pids[3];
    set_up(NULL, NULL);
    for (int i = 0; i < 3; i++) {
        pids[i] = child(wait_once, i);
        until_waiting(i + 1);
    }
    killed(pids[0]);
    killed(pids[1]);
    /* Perhaps nobody has noticed yet: then the dead are notified first, and it is passed on. */
    ASSERT_GE_INT(notify(1), 1);
    ended(pids[2]);
    ASSERT_EQ_INT(shoal_condition_waiters(condition), 0);
    tear_down();
}

TEST(the_notification_of_a_dead_waiter_goes_to_the_next_and_only_to_it)
{
    pid_t pids[3];
    set_up(NULL, NULL);
    for (int i = 0; i < 3; i++) {
        pids[i] = child(wait_once, i);
        until_waiting(i + 1);
    }
    stopped(pids[0]);
    ASSERT_EQ_INT(notify(1), 1);
    ASSERT_EQ_INT(shoal_condition_waiters(condition), 2);
    killed(pids[0]);
    ended(pids[1]);
    usleep(20000);
    ASSERT_EQ_INT(atomic_load(&shared->done), 1);
    ASSERT_EQ_INT(shoal_condition_waiters(condition), 1);
    ASSERT_EQ_INT(notify(1), 1);
    ended(pids[2]);
    tear_down();
}

TEST(several_notifications_of_the_dead_go_to_as_many)
{
    enum { N = 8, DEAD = 3 };
    pid_t pids[N];
    set_up(NULL, NULL);
    for (int i = 0; i < N; i++) {
        pids[i] = child(wait_once, i);
        until_waiting(i + 1);
    }
    for (int i = 0; i < DEAD; i++)
        stopped(pids[i]);
    ASSERT_EQ_INT(notify(DEAD), DEAD);
    for (int i = 0; i < DEAD; i++)
        killed(pids[i]);
    for (int i = DEAD; i < 2 * DEAD; i++)
        ended(pids[i]);
    usleep(20000);
    ASSERT_EQ_INT(atomic_load(&shared->done), DEAD);
    ASSERT_EQ_INT(shoal_condition_waiters(condition), N - 2 * DEAD);
    ASSERT_EQ_INT(notify(N), N - 2 * DEAD);
    for (int i = 2 * DEAD; i < N; i++)
        ended(pids[i]);
    tear_down();
}

TEST(a_stopped_heir_keeps_nobody_else_from_what_is_his)
{
    pid_t pids[4];
    set_up(NULL, NULL);
    for (int i = 0; i < 4; i++) {
        pids[i] = child(wait_once, i);
        until_waiting(i + 1);
    }
    stopped(pids[0]);
    stopped(pids[1]);
    stopped(pids[2]);
    ASSERT_EQ_INT(notify(2), 2);
    killed(pids[0]);
    killed(pids[1]);
    ended(pids[3]); /* the second notification; the first is for the one that is stopped */
    ASSERT_SYS(kill(pids[2], SIGCONT));
    ended(pids[2]);
    ASSERT_EQ_INT(atomic_load(&shared->done), 2);
    tear_down();
}

TEST(a_notification_passes_through_a_chain_of_deaths)
{
    enum { N = 6 };
    pid_t pids[N];
    set_up(NULL, NULL);
    for (int i = 0; i < N; i++) {
        pids[i] = child(wait_once, i);
        until_waiting(i + 1);
    }
    for (int i = 0; i < N - 1; i++)
        stopped(pids[i]);
    ASSERT_EQ_INT(notify(1), 1);
    for (int i = 0; i < N - 1; i++)
        killed(pids[i]);
    ended(pids[N - 1]);
    ASSERT_EQ_INT(atomic_load(&shared->done), 1);
    ASSERT_EQ_INT(notify(1), 0);
    tear_down();
}

static void wait_and_die_with_the_lock(int number)
{
    wait_once(number);
    until(&shared->go, 1);
    lock();
    kill(getpid(), SIGKILL);
}

TEST(whoever_takes_the_lock_of_a_dead_waiter_learns_of_it)
{
    set_up(NULL, NULL);
    pid_t pid = child(wait_and_die_with_the_lock, 0);
    until_waiting(1);
    ASSERT_EQ_INT(notify(1), 1);
    until(&shared->done, 1);
    atomic_store(&shared->go, 1);
    ASSERT_SYS(waitpid(pid, NULL, 0));
    ASSERT_EQ_INT(shoal_condition_acquire(condition, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    ASSERT_EQ_INT(shoal_condition_notify(condition, 1), 0);
    unlock();
    tear_down();
}

/* Waits and notifies without end; every third wait has a short deadline. */
static void come_and_go(int number)
{
    for (int i = number;; i++) {
        lock();
        ASSERT_OK(shoal_condition_notify(condition, (unsigned)i % 3));
        int64_t deadline = shoal_after(i % 3 ? 0.005 : 0.0001);
        int rc = shoal_condition_wait(condition, deadline);
        ASSERT_TRUE(rc == 0 || rc == SHOAL_OWNER_DIED || rc == -ETIMEDOUT || rc == -EOWNERDEAD);
        unlock();
        atomic_fetch_add(&shared->done, 1);
    }
}

TEST(a_crowd_survives_a_hundred_deaths_at_any_moment)
{
    enum { N = 5 };
    pid_t pids[N];
    unsigned random = 12345;
    set_up(NULL, NULL);
    for (int i = 0; i < N; i++)
        pids[i] = child(come_and_go, i);
    for (int k = 0; k < 100; k++) {
        random = random * 1664525 + 1013904223;
        usleep(random >> 20);
        int i = (int)(random >> 16) % N;
        killed(pids[i]);
        until(&shared->done, atomic_load(&shared->done) + 10);
        pids[i] = child(come_and_go, i);
    }
    for (int i = 0; i < N; i++)
        killed(pids[i]);
    while (ASSERT_OK(shoal_condition_waiters(condition)))
        ASSERT_OK(notify(1));
    /* What the last of the dead had received may reach us; after that there is nothing. */
    lock();
    int rc, passed_on = -1;
    do {
        rc = shoal_condition_wait(condition, shoal_after(0.01));
        passed_on++;
    } while (rc >= 0);
    ASSERT_EQ_INT(rc, -ETIMEDOUT);
    ASSERT_LE_INT(passed_on, N);
    unlock();
    tear_down();
}
