/* condition.c: waiters, notifiers and those who pass notifications on, killed and stopped everywhere. Whoever learns that the lock came from the dead notifies all,
 * as a program would; so a waiter that hangs has been forgotten by the library. */
#define _GNU_SOURCE
#include "family.h"
#include "harness_internal.h"

#include "region/object.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct state {
    struct note *note;
    shoal_condition *condition;
    shoal_event *event;
};

/* In note->at: a child's pid; that of partner 0 when it waits, or is about to, and -1 when it has; the victim was notified; the last one is told. */
enum { X_PID, SECOND, GOT, LAST };

static void *setup_net(int net)
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(net);
    ASSERT_OK(shoal_condition_create(&s->condition, NULL, NULL, NULL));
    ASSERT_OK(shoal_event_create(&s->event, NULL));
    family_ready(s->note);
    return s;
}

static void *setup(void)
{
    return setup_net(NET_OFF);
}

/* After the orphans are in place the dead had nothing else to tell. */
static void told(struct state *s, int got)
{
    ASSERT_OK(got);
    if (got == SHOAL_OWNER_DIED && !s->note->entered)
        ASSERT_OK(shoal_condition_notify_all(s->condition));
}

static void take(struct state *s)
{
    told(s, shoal_condition_acquire(s->condition, SHOAL_FOREVER));
}

static void let_go(struct state *s)
{
    ASSERT_OK(shoal_condition_release(s->condition));
}

static void wait_here(struct state *s)
{
    take(s);
    told(s, shoal_condition_wait(s->condition, SHOAL_FOREVER));
}

/* Partner 0: waits behind the victim. */
static void wait_second(struct state *s)
{
    take(s);
    __atomic_store_n(&s->note->at[SECOND], getpid(), __ATOMIC_SEQ_CST);
    told(s, shoal_condition_wait(s->condition, SHOAL_FOREVER));
    __atomic_store_n(&s->note->at[SECOND], -1, __ATOMIC_SEQ_CST);
    let_go(s);
}

static int second_sleeps(struct state *s)
{
    int pid = __atomic_load_n(&s->note->at[SECOND], __ATOMIC_SEQ_CST);

    return pid < 0 || (pid && process_sleeps(pid));
}

/* Partner 1: notifies once, when the other has let go of the lock to wait. */
static void notify_when_both_wait(struct state *s)
{
    while (!second_sleeps(s))
        usleep(500);
    take(s);
    ASSERT_OK(shoal_condition_notify(s->condition, 1));
    let_go(s);
}

/* The release is no part of what is killed: whether it has to wake somebody depends on who is faster. */
static void after(void *p)
{
    let_go(p);
}

static void survive(void *p, int i)
{
    (void)i;
    take(p);
    let_go(p);
}

/* Beside one that is stopped: it may have the lock. */
static void beside(void *p, int i)
{
    struct state *s = p;

    (void)i;
    int got = shoal_condition_acquire(s->condition, shoal_after(0.02));
    if (got == -ETIMEDOUT)
        return;
    ASSERT_EQ_INT(got, 0);
    ASSERT_OK(shoal_condition_waiters(s->condition));
    let_go(s);
}

static void last(void *p)
{
    struct state *s = p;

    family_settle();
    take(s);
    ASSERT_EQ_INT(shoal_condition_waiters(s->condition), 0);
    ASSERT_EQ_INT(shoal_condition_notify(s->condition, 1), 0);
    ASSERT_ERR(shoal_condition_wait(s->condition, SHOAL_NOW), -ETIMEDOUT);
    let_go(s);
    family_check(s->note->before);
}

/* ---- the victim waits, and passes on what it got ---- */

static void wait_and_relay(void *p)
{
    struct state *s = p;

    wait_here(s);
    ASSERT_OK(shoal_condition_notify(s->condition, 1));
}

static void second_and_notifier(void *p, int i)
{
    kill_partner_ready();
    kill_await_asleep(1);
    if (i == 0)
        wait_second(p);
    else
        notify_when_both_wait(p);
}

KILL_SCENARIO(condition_waited_for, .setup = setup, .prepare = family_prepare,
              .victim = wait_and_relay, .after = after, .partner = second_and_notifier,
              .partners = 2, .survivor = survive, .stopped = beside, .final = last);

/* ---- the victim is the heir of another that was notified and died ---- */

static void wait_as_x(struct state *s)
{
    pid_t pid = fork();

    ASSERT_SYS(pid);
    if (!pid) {
        wait_here(s);
        _exit(1);
    }
    s->note->at[X_PID] = pid;
    family_await_sleepers(s->condition, 1);
    ASSERT_SYS(kill(pid, SIGSTOP));
    ASSERT_EQ_INT(waitpid(pid, NULL, WUNTRACED), pid);
}

static void prepare_x(void *p)
{
    family_prepare(p);
    wait_as_x(p);
}

static void bury_x(void *p)
{
    struct state *s = p;

    ASSERT_EQ_INT(waitpid(s->note->at[X_PID], NULL, 0), s->note->at[X_PID]);
}

static void wait_only(void *p)
{
    struct state *s = p;

    wait_here(s);
    s->note->at[GOT] = 1;
    let_go(s);
}

/* What X was told is the victim's, or the second's if the victim died before it had it; otherwise he is told when the victim is over. */
static void second_and_notifier_of_x(void *p, int i)
{
    struct state *s = p;

    second_and_notifier(s, i);
    if (i == 1) {
        s->note->dead++;
        ASSERT_SYS(kill(s->note->at[X_PID], SIGKILL));
        family_notice(s->note->at[X_PID]);
        kill_await_over();
        take(s);
        ASSERT_OK(shoal_condition_notify(s->condition, (unsigned)s->note->at[GOT]));
        let_go(s);
    }
}

KILL_SCENARIO(condition_inherited, .setup = setup, .prepare = prepare_x, .victim = wait_only,
              .after = bury_x, .partner = second_and_notifier_of_x, .partners = 2,
              .survivor = survive, .final = last);

/* ---- the victim notifies ---- */

static void notify_one(void *p)
{
    struct state *s = p;

    take(s);
    ASSERT_OK(shoal_condition_notify(s->condition, 1));
}

static void wait_before(void *p, int i)
{
    (void)i;
    kill_partner_ready();
    wait_here(p);
    let_go(p);
}

/* All but the last partner sleep elsewhere and take all the roles there are to watch the family; so the last hears of no death itself, and has to be woken. */
static void wait_unaware(void *p, int i)
{
    struct state *s = p;

    if (i < ROLES) {
        kill_partner_ready();
        ASSERT_OK(shoal_event_wait(s->event, SHOAL_FOREVER));
        return;
    }
    family_await_sleepers(s->event, ROLES);
    wait_before(s, i);
}

static void survive_notifying(void *p, int i)
{
    struct state *s = p;

    (void)i;
    take(s);
    ASSERT_OK(shoal_condition_notify_all(s->condition));
    let_go(s);
    while (ASSERT_OK(shoal_condition_waiters(s->condition)) || family_sleepers(s->condition))
        usleep(500); /* nobody needs the event to be woken */
    ASSERT_OK(shoal_event_set(s->event));
}

KILL_SCENARIO(condition_notified, .setup = setup, .prepare = family_prepare, .victim = notify_one,
              .after = after, .partner = wait_unaware, .partners = ROLES + 1,
              .survivor = survive_notifying, .stopped = beside, .final = last);

/* ---- the victim gives what a dead one had to another ---- */

/* Two orphans, as a repairer leaves them, beside three who wait. */
static void orphan(void *p)
{
    struct state *s = p;
    struct header *h = handle_of(s->condition)->header;
    _Atomic uint64_t *cells = header_payload(h);
    _Atomic uint32_t *body = (_Atomic uint32_t *)(void *)h->body;

    family_await_sleepers(s->condition, 3);
    atomic_store(&cells[3 * 2], 2);
    atomic_store(&cells[4 * 2], 2);
    atomic_store(&body[2], 5);
    atomic_store(&body[3], 1);
    s->note->entered = 1;
}

static void give(void *p)
{
    struct state *s = p;

    orphan(s);
    take(s);
    ASSERT_EQ_INT(shoal_condition_notify(s->condition, 0), 0);
}

/* In place of the dead; and its lock is taken from it, too. */
static void give_again(void *p)
{
    struct state *s = p;

    take(s);
    ASSERT_EQ_INT(shoal_condition_notify(s->condition, 0), 0);
}

/* With both orphans in place two are told, and only they. */
static void survive_giving(void *p, int i)
{
    struct state *s = p;

    (void)i;
    take(s);
    ASSERT_OK(shoal_condition_notify(s->condition, 0));
    if (s->note->entered && !s->note->at[LAST])
        ASSERT_EQ_INT(shoal_condition_waiters(s->condition), 1);
    s->note->at[LAST] = 1;
    ASSERT_OK(shoal_condition_notify(s->condition, 3));
    let_go(s);
}

KILL_SCENARIO(condition_settled, .setup = setup, .prepare = family_prepare, .victim = give,
              .after = after, .partner = wait_before, .partners = 3, .survivor = survive_giving,
              .repair = give_again, .stopped = beside, .state = family_state, .final = last);
