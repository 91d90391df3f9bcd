/* repair.c: what the dead leave behind in each kind of place, and the one who repairs it dies too. */
#define _GNU_SOURCE
#include "family.h"

#include "region/life.h"
#include "region/object.h"
#include "region/wait.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct state {
    struct note *note;
    shoal_lock *lock;
    shoal_rwlock *rwlock;
    shoal_barrier *barrier;
    shoal_semaphore *semaphore;
    shoal_condition *condition;
    shoal_memory *memory;
};

static void *setup(void)
{
    static const shoal_semaphore_options owned = {.owned = 2, .bound = 2};
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    ASSERT_OK(shoal_lock_create(&s->lock, NULL));
    ASSERT_OK(shoal_lock_reference(s->lock, &s->note->reference));
    ASSERT_OK(shoal_condition_create(&s->condition, s->lock, NULL, NULL));
    ASSERT_OK(shoal_rwlock_create(&s->rwlock, NULL));
    ASSERT_OK(shoal_barrier_create(&s->barrier, 2, NULL));
    ASSERT_OK(shoal_semaphore_create(&s->semaphore, 2, &owned));
    family_ready(s->note);
    return s;
}

static void look(void *p)
{
    struct state *s = p;

    family_look();
    ASSERT_OK(shoal_lock_acquire(s->lock, SHOAL_FOREVER));
    ASSERT_OK(shoal_lock_release(s->lock));
}

/* All works, and what was held by the dead is free. */
static void survive(void *p, int i)
{
    struct state *s = p;
    shoal_memory *memory;

    (void)i;
    ASSERT_OK(shoal_lock_acquire(s->lock, SHOAL_FOREVER));
    ASSERT_OK(shoal_lock_release(s->lock));
    ASSERT_OK(shoal_rwlock_acquire_write(s->rwlock, SHOAL_FOREVER));
    ASSERT_OK(shoal_rwlock_release(s->rwlock));
    ASSERT_OK(shoal_rwlock_acquire_read(s->rwlock, SHOAL_FOREVER));
    ASSERT_OK(shoal_rwlock_release(s->rwlock));
    ASSERT_OK(shoal_semaphore_acquire_owned(s->semaphore, SHOAL_FOREVER));
    ASSERT_OK(shoal_semaphore_release_owned(s->semaphore));
    ASSERT_OK(shoal_memory_create(&memory, 10000, NULL));
    shoal_memory_close(memory);
}

static void last(void *p)
{
    struct state *s = p;

    family_settle();
    ASSERT_EQ_INT(shoal_lock_locked(s->lock), 0);
    ASSERT_EQ_INT(shoal_rwlock_locked(s->rwlock), 0);
    ASSERT_EQ_INT(shoal_semaphore_value(s->semaphore), 2);
    ASSERT_EQ_INT(shoal_barrier_n_waiting(s->barrier), 0);
    family_check(s->note->before);
}

/* Whoever was dead before counts as dead, however the victim went. The repairer only looks: each of its instructions is stepped over
 * for each state that a victim left. What else must work is for the survivors to try. */
static void prepare_with(void *p, void (*f)(void *p))
{
    family_prepare(p);
    family_die_after(f, p);
}

#define REPAIRED(id, dies, does)                                                                 \
    static void prepare_##id(void *p)                                                            \
    {                                                                                            \
        prepare_with(p, dies);                                                                   \
    }                                                                                            \
    KILL_SCENARIO(id, .setup = setup, .prepare = prepare_##id, .victim = (does), .repair = look, \
                  .survivor = survive, .state = family_state, .final = last)

/* ---- it held everything ---- */

static void hold_all(void *p)
{
    struct state *s = p;
    shoal_memory *small, *large;
    shoal_memory_options named = {.name = "a name"};

    ASSERT_OK(shoal_lock_acquire(s->lock, SHOAL_FOREVER));
    ASSERT_OK(shoal_rwlock_acquire_read(s->rwlock, SHOAL_FOREVER));
    ASSERT_OK(shoal_semaphore_acquire_owned(s->semaphore, SHOAL_FOREVER));
    ASSERT_OK(shoal_memory_create(&small, 100, &named));
    ASSERT_OK(shoal_memory_create(&large, 10000, NULL));
}

REPAIRED(repair_of_a_holder, hold_all, look);

/* ---- it had threads, one of which had ended ---- */

static void *use_lock(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_lock_acquire(s->lock, SHOAL_FOREVER));
    ASSERT_OK(shoal_lock_release(s->lock));
    return NULL;
}

_Noreturn static void *use_lock_and_stay(void *p)
{
    struct state *s = p;

    use_lock(p);
    __atomic_store_n(&s->note->at[0], 1, __ATOMIC_SEQ_CST);
    for (;;)
        pause();
}

static void start_threads(void *p)
{
    struct state *s = p;
    struct timespec t = {0, 500000};
    pthread_t thread;

    ASSERT_EQ_INT(pthread_create(&thread, NULL, use_lock_and_stay, p), 0);
    while (!__atomic_load_n(&s->note->at[0], __ATOMIC_SEQ_CST))
        nanosleep(&t, NULL);
    ASSERT_EQ_INT(pthread_create(&thread, NULL, use_lock, p), 0);
    ASSERT_EQ_INT(pthread_join(thread, NULL), 0);
}

REPAIRED(repair_of_threads, start_threads, look);

/* Of a process that another thread has attached, the first thread attaches too. */
static void *open_and_stay(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_lock_open(&s->lock, &s->note->reference));
    return use_lock_and_stay(p);
}

static void prepare_threads(void *p)
{
    struct state *s = p;
    struct timespec t = {0, 500000};
    pthread_t thread;

    family_prepare(p);
    family_leave();
    ASSERT_EQ_INT(pthread_create(&thread, NULL, open_and_stay, p), 0);
    while (!__atomic_load_n(&s->note->at[0], __ATOMIC_SEQ_CST))
        nanosleep(&t, NULL);
}

static void look_once(void *p)
{
    use_lock(p);
}

KILL_SCENARIO(attach_beside_a_thread, .setup = setup, .prepare = prepare_threads,
              .victim = look_once, .survivor = survive, .final = last);

/* ---- it was inside the guard of the unit map, which is wrong now ---- */

static void hold_guard(void *p)
{
    (void)p;
    ASSERT_TRUE(owner_try(&view.region->guard, shoal_thread.me));
    for (int i = 0; i < 64; i++) /* whatever it was about to write there */
        atomic_fetch_xor(&view.unit_map[i], 0x5a5a5a5a5a5a5a5au);
}

static void create_large(void *p)
{
    shoal_memory *memory;

    (void)p;
    ASSERT_OK(shoal_memory_create(&memory, 10000, NULL));
    shoal_memory_close(memory);
}

static void prepare_map(void *p)
{
    prepare_with(p, hold_guard);
}

KILL_SCENARIO(repair_of_the_unit_map, .setup = setup, .prepare = prepare_map,
              .victim = create_large, .survivor = survive, .final = last);

/* ---- it was repairing somebody else ---- */

static void repair_and_die(void *p)
{
    uint32_t dead = process_self.slot;

    hold_all(p);
    /* A child that has taken the right to repair us, and is killed; then we are killed: both are found dead. */
    (void)dead;
    int status;
    pid_t pid = fork();
    ASSERT_SYS(pid);
    if (!pid) {
        uint64_t w = atomic_load(&slot_at(dead)->word);
        uint64_t mine = slot_make((uint32_t)(w >> 32), owner_record(shoal_thread.me), SLOT_DEAD);
        ASSERT_TRUE(atomic_compare_exchange_strong(&slot_at(dead)->word, &w, mine));
        kill(getpid(), SIGKILL);
    }
    ASSERT_EQ_INT(waitpid(pid, &status, 0), pid);
}

static void prepare_repairer(void *p)
{
    struct state *s = p;

    prepare_with(p, repair_and_die);
    s->note->dead++; /* two */
}

KILL_SCENARIO(repair_of_a_repairer, .setup = setup, .prepare = prepare_repairer, .victim = look,
              .repair = look, .survivor = survive, .state = family_state, .final = last);

/* ---- it had created: its object groups are nobody's, until somebody adopts them ---- */

static void create_one(void *p)
{
    shoal_memory *memory;

    (void)p;
    ASSERT_OK(shoal_memory_create(&memory, 300, NULL));
}

static void prepare_ownerless(void *p)
{
    prepare_with(p, create_one);
    family_look();
}

static void create_same(void *p)
{
    shoal_memory *memory[2];

    (void)p;
    ASSERT_OK(shoal_memory_create(&memory[0], 300, NULL));
    ASSERT_OK(shoal_memory_create(&memory[1], 300, NULL));
    shoal_memory_close(memory[0]);
    shoal_memory_close(memory[1]);
}

KILL_SCENARIO(create_in_an_ownerless_group, .setup = setup, .prepare = prepare_ownerless,
              .victim = create_same, .repair = look, .survivor = survive, .state = family_state,
              .final = last);

/* ---- others make a group of another class where it was about to make one, and end ---- */

static void create_once(void *p)
{
    shoal_memory *memory;

    (void)p;
    ASSERT_OK(shoal_memory_create(&memory, 300, NULL));
    shoal_memory_close(memory);
}

static void create_of_another_class(void *p, int i)
{
    shoal_memory *memory;

    (void)p;
    (void)i;
    ASSERT_OK(shoal_memory_create(&memory, 40, NULL));
    shoal_memory_close(memory);
}

/* Who is stopped with the guard keeps the others from memory. */
static void create_if_possible(void *p, int i)
{
    if (!atomic_load(&view.region->guard))
        create_of_another_class(p, i);
}

KILL_SCENARIO(create_where_others_do, .setup = setup, .prepare = family_prepare,
              .victim = create_once, .survivor = create_of_another_class,

              .stopped = create_if_possible, .final = last);

/* ---- readers and writers that died ---- */

static void die_reading(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_rwlock_acquire_read(s->rwlock, SHOAL_FOREVER));
}

static void die_writing(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_rwlock_acquire_write(s->rwlock, SHOAL_FOREVER));
}

static void write_after(void *p)
{
    struct state *s = p;

    ASSERT_EQ_INT(shoal_rwlock_acquire_write(s->rwlock, SHOAL_FOREVER), 0);
    ASSERT_OK(shoal_rwlock_release(s->rwlock));
}

static void write_told(void *p)
{
    struct state *s = p;

    ASSERT_EQ_INT(shoal_rwlock_acquire_write(s->rwlock, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    ASSERT_OK(shoal_rwlock_release(s->rwlock));
}

static void read_told(void *p)
{
    struct state *s = p;

    ASSERT_EQ_INT(shoal_rwlock_acquire_read(s->rwlock, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    ASSERT_OK(shoal_rwlock_release(s->rwlock));
}

REPAIRED(rwlock_written_after_a_dead_reader, die_reading, write_after);
REPAIRED(rwlock_written_after_a_dead_writer, die_writing, write_told);
REPAIRED(rwlock_read_after_a_dead_writer, die_writing, read_told);

/* ---- a party of a barrier died while it waited ---- */

/* The child is killed asleep: it never returns from the wait. */
static void prepare_party(void *p)
{
    struct state *s = p;
    int status;

    family_prepare(p);
    pid_t pid = fork();
    ASSERT_SYS(pid);
    if (!pid) {
        shoal_barrier_wait(s->barrier, SHOAL_FOREVER);
        _exit(1);
    }
    family_await_sleepers(s->barrier, 1);
    kill(pid, SIGKILL);
    ASSERT_EQ_INT(waitpid(pid, &status, 0), pid);
    s->note->dead++;
}

static void wait_broken(void *p)
{
    struct state *s = p;

    ASSERT_ERR(shoal_barrier_wait(s->barrier, SHOAL_FOREVER), -ECANCELED);
    ASSERT_OK(shoal_barrier_reset(s->barrier));
}

static void last_of_barrier(void *p)
{
    struct state *s = p;

    family_settle();
    ASSERT_OK(shoal_barrier_reset(s->barrier));
    last(p);
}

KILL_SCENARIO(barrier_with_a_dead_party, .setup = setup, .prepare = prepare_party,
              .victim = wait_broken, .repair = look, .survivor = survive, .state = family_state,
              .final = last_of_barrier);

/* ---- the only waiter of a condition died after it was notified ---- */

static void prepare_notified(void *p)
{
    struct state *s = p;
    struct timespec t = {0, 500000};
    int status;

    family_prepare(p);
    pid_t pid = fork();
    ASSERT_SYS(pid);
    if (!pid) {
        shoal_condition_acquire(s->condition, SHOAL_FOREVER);
        shoal_condition_wait(s->condition, SHOAL_FOREVER);
        _exit(1);
    }
    while (shoal_condition_waiters(s->condition) < 1)
        nanosleep(&t, NULL);
    ASSERT_EQ_INT(shoal_condition_acquire(s->condition, SHOAL_FOREVER), 0);
    ASSERT_SYS(kill(pid, SIGSTOP));
    ASSERT_EQ_INT(shoal_condition_notify(s->condition, 1), 1);
    ASSERT_OK(shoal_condition_release(s->condition));
    ASSERT_SYS(kill(pid, SIGKILL));
    ASSERT_EQ_INT(waitpid(pid, &status, 0), pid);
    s->note->dead++;
    family_look();
}

static void notify_nobody(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_condition_acquire(s->condition, SHOAL_FOREVER));
    ASSERT_EQ_INT(shoal_condition_notify_all(s->condition), 0);
    ASSERT_OK(shoal_condition_release(s->condition));
}

static void survive_notified(void *p, int i)
{
    notify_nobody(p);
    survive(p, i);
}

KILL_SCENARIO(condition_whose_only_waiter_died, .setup = setup, .prepare = prepare_notified,
              .victim = notify_nobody, .repair = look, .survivor = survive_notified,
              .state = family_state, .final = last);

/* ---- what needs no dead: creating each kind, a quota, an object of another thread of the process ---- */

static void create_each(void *p)
{
    shoal_rlock *rlock;
    shoal_rwlock *rwlock;
    shoal_once *once;
    shoal_semaphore *plain, *owned, *bounded;
    shoal_event *event;
    shoal_condition *condition, *of_lock;
    shoal_barrier *barrier;
    struct state *s = p;
    shoal_semaphore_options with = {.owned = 3, .name = "a name"}, bound = {.bound = 5};

    ASSERT_OK(shoal_rlock_create(&rlock, NULL));
    ASSERT_OK(shoal_rwlock_create(&rwlock, NULL));
    ASSERT_OK(shoal_once_create(&once, NULL));
    ASSERT_OK(shoal_semaphore_create(&plain, 1, NULL));
    ASSERT_OK(shoal_semaphore_create(&owned, 3, &with));
    ASSERT_OK(shoal_semaphore_create(&bounded, 1, &bound));
    ASSERT_OK(shoal_event_create(&event, NULL));
    ASSERT_OK(shoal_condition_create(&condition, NULL, NULL, NULL));
    ASSERT_OK(shoal_condition_create(&of_lock, s->lock, NULL, NULL));
    ASSERT_OK(shoal_barrier_create(&barrier, 3, NULL));
    shoal_rlock_close(rlock);
    shoal_rwlock_close(rwlock);
    shoal_once_close(once);
    shoal_semaphore_close(plain);
    shoal_semaphore_close(owned);
    shoal_semaphore_close(bounded);
    shoal_event_close(event);
    shoal_condition_close(condition);
    shoal_condition_close(of_lock);
    shoal_barrier_close(barrier);
}

static void prepare_quota(void *p)
{
    family_prepare(p);
    ASSERT_OK(shoal_memory_set_quota(40000));
}

static void create_within(void *p)
{
    shoal_memory *one, *two;

    (void)p;
    ASSERT_OK(shoal_memory_create(&one, 10000, NULL));
    ASSERT_ERR(shoal_memory_create(&two, 60000, NULL), -ENOMEM);
    shoal_memory_close(one);
    ASSERT_OK(shoal_memory_set_quota(0));
}

static void *create_there(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_memory_create(&s->memory, 700, NULL));
    return NULL;
}

static void prepare_thread(void *p)
{
    pthread_t thread;

    family_prepare(p);
    ASSERT_EQ_INT(pthread_create(&thread, NULL, create_there, p), 0);
    ASSERT_EQ_INT(pthread_join(thread, NULL), 0);
}

static void close_there(void *p)
{
    struct state *s = p;

    shoal_memory_close(s->memory);
}

KILL_SCENARIO(create_each_kind, .setup = setup, .prepare = family_prepare, .victim = create_each,
              .survivor = survive, .final = last);
KILL_SCENARIO(create_within_a_quota, .setup = setup, .prepare = prepare_quota,
              .victim = create_within, .survivor = survive, .final = last);
KILL_SCENARIO(close_of_another_threads, .setup = setup, .prepare = prepare_thread,
              .victim = close_there, .survivor = survive, .final = last);
