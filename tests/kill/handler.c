/* handler.c: a signal handler interrupts the victim at each point of an operation, and uses shoal itself: acquire, release, set, clear and wait may be
 * called there. Only mode STOP: while the victim stands, it is sent the signal, which it takes as soon as it goes on. */
#define _GNU_SOURCE
#include "family.h"

#include "region/life.h"
#include "region/object.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct state {
    struct note *note;
    shoal_lock *lock;
    shoal_rlock *rlock;
    shoal_rwlock *rwlock;
    shoal_semaphore *plain, *owned;
    shoal_event *event;
    shoal_barrier *barrier;
    shoal_list *list;
    shoal_dict *dict;
    void (*handler)(struct state *s);
};

enum { SENT, RUN }; /* in note->at */

static struct state *interrupted; /* for the handler */

static void on_signal(int number)
{
    (void)number;
    interrupted->handler(interrupted);
    interrupted->note->at[RUN]++;
}

static void install(struct state *s)
{
    struct sigaction action = {.sa_handler = on_signal};

    interrupted = s;
    ASSERT_SYS(sigaction(SIGUSR1, &action, NULL));
}

/* Beside the stopped one. */
static void interrupt(void *p, int i)
{
    struct state *s = p;

    if (i > 0)
        return;
    s->note->at[SENT] = 1;
    ASSERT_SYS(syscall(SYS_tgkill, kill_victim_pid(), kill_victim_pid(), SIGUSR1));
}

static struct state *begin(void (*handler)(struct state *s))
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    s->handler = handler;
    ASSERT_OK(shoal_lock_create(&s->lock, NULL));
    return s;
}

/* ---- the victim creates and closes; its handler waits for a dead process's lock, and so repairs that
 * one: what that had created is closed while the victim is in the middle of its own ---- */

static void take_lock_of_dead(struct state *s)
{
    ASSERT_EQ_INT(shoal_lock_acquire(s->lock, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    ASSERT_OK(shoal_lock_release(s->lock));
}

static void *setup_dead(void)
{
    struct state *s = begin(take_lock_of_dead);

    family_ready(s->note);
    return s;
}

static void die_with_large(void *p)
{
    struct state *s = p;
    shoal_memory *large;

    ASSERT_OK(shoal_memory_create(&large, 9000, NULL));
    ASSERT_OK(shoal_lock_acquire(s->lock, SHOAL_FOREVER));
}

static void prepare_dead(void *p)
{
    install(p);
    family_die_after(die_with_large, p); /* in a slot that no fork meets on its way to a free one */
    family_prepare(p);
}

static void create_large(void *p)
{
    shoal_memory *memory[2];

    (void)p;
    for (int i = 0; i < 2; i++)
        ASSERT_OK(shoal_memory_create(&memory[i], 10000, NULL));
    for (int i = 0; i < 2; i++)
        shoal_memory_close(memory[i]);
}

static void last(void *p)
{
    struct state *s = p;

    family_settle();
    family_check(s->note->before);
}

KILL_SCENARIO(handler_repairs_beside_create, .setup = setup_dead, .prepare = prepare_dead,
              .victim = create_large, .stopped = interrupt, .final = last);

/* ---- the victim and its handler use the same object, which then is as it was (but for one permit) ---- */

static void use_objects_in_handler(struct state *s)
{
    int got = shoal_lock_acquire(s->lock, SHOAL_NOW);

    if (got != -EAGAIN) {
        ASSERT_EQ_INT(got, 0);
        ASSERT_OK(shoal_lock_release(s->lock));
    }
    ASSERT_EQ_INT(shoal_rlock_acquire(s->rlock, SHOAL_FOREVER), 0);
    ASSERT_OK(shoal_rlock_release(s->rlock));
    got = shoal_rwlock_acquire_read(s->rwlock, SHOAL_FOREVER);
    if (got == -EDEADLK) { /* the victim writes */
        ASSERT_ERR(shoal_rwlock_acquire_write(s->rwlock, SHOAL_FOREVER), -EDEADLK);
    } else {
        ASSERT_EQ_INT(got, 0);
        ASSERT_OK(shoal_rwlock_release(s->rwlock));
    }
    ASSERT_EQ_INT(shoal_semaphore_acquire(s->plain, SHOAL_FOREVER), 0);
    for (int i = 0; i < 2; i++) /* one more */
        ASSERT_OK(shoal_semaphore_release(s->plain));
    ASSERT_EQ_INT(shoal_semaphore_acquire_owned(s->owned, SHOAL_FOREVER), 0);
    ASSERT_OK(shoal_semaphore_release_owned(s->owned));
    ASSERT_OK(shoal_event_set(s->event));
    ASSERT_EQ_INT(shoal_barrier_wait(s->barrier, SHOAL_FOREVER), 0);
}

static void *setup_objects(void)
{
    static const shoal_semaphore_options owned = {.owned = 3, .bound = 3};
    struct state *s = begin(use_objects_in_handler);

    ASSERT_OK(shoal_rlock_create(&s->rlock, NULL));
    ASSERT_OK(shoal_rwlock_create(&s->rwlock, NULL));
    ASSERT_OK(shoal_semaphore_create(&s->plain, 2, NULL));
    ASSERT_OK(shoal_semaphore_create(&s->owned, 3, &owned));
    ASSERT_OK(shoal_event_create(&s->event, NULL));
    ASSERT_OK(shoal_barrier_create(&s->barrier, 1, NULL));
    family_ready(s->note);
    return s;
}

static void prepare_objects(void *p)
{
    family_prepare(p);
    install(p);
}

static void use_locks(void *p)
{
    struct state *s = p;

    ASSERT_EQ_INT(shoal_lock_acquire(s->lock, SHOAL_FOREVER), 0);
    ASSERT_OK(shoal_lock_release(s->lock));
    for (int i = 1; i <= 2; i++) {
        ASSERT_EQ_INT(shoal_rlock_acquire(s->rlock, SHOAL_FOREVER), 0);
        ASSERT_EQ_INT(shoal_rlock_count(s->rlock), i);
    }
    for (int i = 1; i >= 0; i--) {
        ASSERT_OK(shoal_rlock_release(s->rlock));
        ASSERT_EQ_INT(shoal_rlock_count(s->rlock), i);
    }
}

static void use_rwlock(void *p)
{
    struct state *s = p;

    for (int i = 1; i <= 2; i++)
        ASSERT_EQ_INT(shoal_rwlock_acquire_read(s->rwlock, SHOAL_FOREVER), 0);
    for (int i = 1; i <= 2; i++)
        ASSERT_OK(shoal_rwlock_release(s->rwlock));
    ASSERT_EQ_INT(shoal_rwlock_acquire_write(s->rwlock, SHOAL_FOREVER), 0);
    ASSERT_OK(shoal_rwlock_release(s->rwlock));
}

static void use_semaphores(void *p)
{
    struct state *s = p;

    for (int i = 0; i < 2; i++) {
        ASSERT_EQ_INT(shoal_semaphore_acquire(s->plain, SHOAL_FOREVER), 0);
        ASSERT_OK(shoal_semaphore_release(s->plain));
    }
    ASSERT_EQ_INT(shoal_semaphore_acquire_owned(s->owned, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT(shoal_semaphore_acquire(s->owned, SHOAL_FOREVER), 0);
    ASSERT_OK(shoal_semaphore_release_owned(s->owned));
    ASSERT_OK(shoal_semaphore_release(s->owned));
}

static void use_the_rest(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_event_set(s->event));
    ASSERT_EQ_INT(shoal_event_wait(s->event, SHOAL_FOREVER), 0);
    ASSERT_OK(shoal_event_clear(s->event));
    for (int i = 0; i < 2; i++)
        ASSERT_EQ_INT(shoal_barrier_wait(s->barrier, SHOAL_FOREVER), 0);
}

static void last_of_objects(void *p)
{
    struct state *s = p;

    family_settle();
    if (!kill_victim_was_killed()) {
        ASSERT_EQ_INT(s->note->at[RUN], s->note->at[SENT]);
        ASSERT_EQ_INT(shoal_lock_locked(s->lock), 0);
        ASSERT_EQ_INT(shoal_rlock_locked(s->rlock), 0);
        ASSERT_EQ_INT(shoal_rwlock_locked(s->rwlock), 0);
        ASSERT_EQ_INT(shoal_semaphore_value(s->plain), 2 + s->note->at[RUN]);
        ASSERT_EQ_INT(shoal_semaphore_value(s->owned), 3);
        ASSERT_EQ_INT(shoal_semaphore_holders(s->owned, NULL, 0), 0);
        ASSERT_EQ_INT(shoal_barrier_n_waiting(s->barrier), 0);
        ASSERT_EQ_INT(shoal_barrier_broken(s->barrier), 0);
    }
    family_check(s->note->before);
}

#define USES(id)                                                                    \
    KILL_SCENARIO(handler_##id, .setup = setup_objects, .prepare = prepare_objects, \
                  .victim = use_##id, .stopped = interrupt, .survivors = 1,         \
                  .final = last_of_objects, .flags = KILL_EVERY_INSTRUCTION)
USES(locks);
USES(rwlock);
USES(semaphores);
USES(the_rest);

/* ---- the victim waits, and so does its handler; then the kernel still marks what the victim holds ---- */

static struct robust_list_head *robust_list(void)
{
    struct robust_list_head *head;
    size_t size;

    ASSERT_SYS(syscall(SYS_get_robust_list, 0, &head, &size));
    return head;
}

/* The victim is perhaps in the middle of taking or leaving a word that the kernel is to mark, and has
 * said so: that must still be said when it goes on. */
static void wait_in_handler(struct state *s)
{
    struct robust_list *pending = robust_list()->list_op_pending;

    ASSERT_ERR(shoal_event_wait(s->event, shoal_after(0.002)), -ETIMEDOUT);
    ASSERT_EQ_PTR(robust_list()->list_op_pending, pending);
}

static void *setup_waiting(void)
{
    struct state *s = begin(wait_in_handler);

    ASSERT_OK(shoal_event_create(&s->event, NULL));
    family_ready(s->note);
    return s;
}

static void acquire_held(void *p)
{
    struct state *s = p;
    int got;

    while ((got = shoal_lock_acquire(s->lock, SHOAL_FOREVER)) == -EINTR)
        ;
    ASSERT_EQ_INT(got, 0);
    ASSERT_OK(shoal_lock_release(s->lock));
}

/* What the kernel walks when the thread ends: its life word, and nothing else. */
static void check_marked(void *p)
{
    struct robust_list_head *head = robust_list();
    const _Atomic uint32_t *life = os_robust_word(&slot_at(process_self.slot)->life);

    (void)p;
    ASSERT_NULL(head->list_op_pending);
    struct robust_list *first = head->list.next;
    ASSERT_TRUE((uintptr_t)first + (uintptr_t)head->futex_offset == (uintptr_t)life);
    ASSERT_EQ_PTR(first->next, &head->list);
    ASSERT_TRUE(os_robust_held(atomic_load(life)));
}

static void hold_until_asleep(void *p, int i)
{
    struct state *s = p;

    (void)i;
    ASSERT_OK(shoal_lock_acquire(s->lock, SHOAL_FOREVER));
    kill_partner_ready();
    kill_await_asleep(1);
    ASSERT_OK(shoal_lock_release(s->lock));
}

KILL_SCENARIO(handler_waits, .setup = setup_waiting, .prepare = prepare_objects,
              .victim = acquire_held, .after = check_marked, .partner = hold_until_asleep,
              .stopped = interrupt, .final = last);

/* ---- the victim repairs one, and its handler another, who had been repairing a third ---- */

enum { FIRST = 2 /* in note->at: the slot of the one whom the victim repairs */ };

/* Its child has the right to repair it, takes the lock and is killed; then it is killed itself. */
static void die_half_repaired(void *p)
{
    struct state *s = p;
    uint32_t mine = process_self.slot;
    int status;
    pid_t pid = fork();

    ASSERT_SYS(pid);
    if (!pid) {
        uint64_t w = slot_make((uint32_t)(atomic_load(&slot_at(mine)->word) >> 32),
                               owner_record(shoal_thread.me), SLOT_DEAD);
        atomic_store(&slot_at(mine)->word, w);
        ASSERT_OK(shoal_lock_acquire(s->lock, SHOAL_FOREVER));
        kill(getpid(), SIGKILL);
    }
    ASSERT_EQ_INT(waitpid(pid, &status, 0), pid);
}

static void prepare_three(void *p)
{
    struct state *s = p;

    int status;

    install(p);
    /* It lives until the others are born, as a fork would repair it. */
    pid_t pid = fork();
    ASSERT_SYS(pid);
    if (!pid)
        for (;;)
            pause();
    family_die_after(die_half_repaired, p);
    s->note->dead += 2;
    for (uint32_t i = 1; !s->note->at[FIRST]; i++)
        if (atomic_load(&slot_at(i)->pid) == pid)
            s->note->at[FIRST] = (int)i;
    ASSERT_SYS(kill(pid, SIGKILL));
    ASSERT_EQ_INT(waitpid(pid, &status, 0), pid);
    family_prepare(p);
}

static void look_at_first(void *p)
{
    struct state *s = p;

    life_look((uint32_t)s->note->at[FIRST], true);
}

/* The one beside it is quicker, where the victim stands before it has the right. */
static void repair_and_interrupt(void *p, int i)
{
    if (i == 0)
        look_at_first(p);
    interrupt(p, i);
}

static void check_repaired(void *p)
{
    uint32_t high = atomic_load(&view.region->slots_high);

    (void)p;
    for (uint32_t i = 1; i < high; i++) {
        uint64_t w = atomic_load(&slot_at(i)->word);
        ASSERT_FALSE(slot_status(w) == SLOT_DEAD &&
                     (uint32_t)w >> 8 == owner_record(shoal_thread.me));
    }
}

KILL_SCENARIO(handler_repairs_beside_repair, .setup = setup_dead, .prepare = prepare_three,
              .victim = look_at_first, .after = check_repaired, .stopped = repair_and_interrupt,
              .final = last);

/* ---- the victim changes a list; its handler changes it too, which is refused in the middle of that, and a dict of which it has several
 * changes to make ---- */

static void change_in_handler(struct state *s)
{
    int rc = shoal_list_append_int(s->list, 2);

    ASSERT_TRUE(rc == 0 || rc == -EDEADLK);
    s->note->taken = rc == 0;
    ASSERT_OK(shoal_dict_acquire(s->dict, SHOAL_FOREVER));
    for (int i = 0; i < 2; i++)
        ASSERT_OK(shoal_dict_set_int(s->dict, "key", 3, i));
    ASSERT_OK(shoal_dict_release(s->dict));
}

static void *setup_changed(void)
{
    struct state *s = begin(change_in_handler);

    ASSERT_OK(shoal_list_create(&s->list, NULL));
    ASSERT_OK(shoal_dict_create(&s->dict, NULL));
    ASSERT_OK(shoal_list_append_int(s->list, 1)); /* there is room for the next ones */
    family_ready(s->note);
    return s;
}

static void prepare_changed(void *p)
{
    install(p);
    family_prepare(p);
}

static void change_twice(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_list_acquire(s->list, SHOAL_FOREVER));
    ASSERT_OK(shoal_list_append_int(s->list, 3));
    ASSERT_OK(shoal_list_release(s->list));
    ASSERT_OK(shoal_list_append_int(s->list, 4));
}

static void check_changed(void *p)
{
    struct state *s = p;

    if (s->note->at[SENT])
        ASSERT_EQ_INT(s->note->at[RUN], 1);
    int64_t length = shoal_list_length(s->list);
    if (kill_victim_was_killed()) /* on its way */
        ASSERT_TRUE(length >= 1 && length <= 4);
    else
        ASSERT_EQ_INT(length, 3 + s->note->taken);
    ASSERT_OK(shoal_list_append_int(s->list, 5)); /* nobody is in the middle of anything */
    last(p);
}

KILL_SCENARIO(handler_changes_beside_change, .setup = setup_changed, .prepare = prepare_changed,
              .victim = change_twice, .stopped = interrupt, .final = check_changed,
              .flags = KILL_EVERY_INSTRUCTION);
