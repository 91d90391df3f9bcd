/* barrier.c: parties, and those who break and reset, killed and stopped everywhere. All who waited in one phase must tell the same of it. */
#define _GNU_SOURCE
#include "family.h"

#include "region/life.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct state {
    struct note *note;
    shoal_barrier *barrier;
};

enum { PARTNERS = 2 }; /* note->at[i] is the outcome of partner i: 1 tripped, -1 broken */

static void *setup(void)
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    ASSERT_OK(shoal_barrier_create(&s->barrier, PARTNERS + 1, NULL));
    family_ready(s->note);
    return s;
}

static void wait_here(struct state *s, int i)
{
    int rc = shoal_barrier_wait(s->barrier, SHOAL_FOREVER);

    if (rc < 0)
        ASSERT_ERR(rc, -ECANCELED);
    else
        ASSERT_LE_INT(rc, PARTNERS);
    __atomic_store_n(&s->note->at[i], rc < 0 ? -1 : 1, __ATOMIC_SEQ_CST);
}

/* Takes the victim's place, if it died before it was counted. */
static void join_if_needed(void *p, int i)
{
    struct state *s = p;
    int64_t soonest;

    if (i > 0)
        return;
    while (!__atomic_load_n(&s->note->at[0], __ATOMIC_SEQ_CST) ||
           !__atomic_load_n(&s->note->at[1], __ATOMIC_SEQ_CST)) {
        life_look_all(true, &soonest);
        if (shoal_barrier_n_waiting(s->barrier) == PARTNERS) {
            ASSERT_OK(shoal_barrier_wait(s->barrier, SHOAL_FOREVER));
            return;
        }
        usleep(500);
    }
}

static void last(void *p)
{
    struct state *s = p;

    family_settle();
    ASSERT_NE_INT(s->note->at[0], 0);
    ASSERT_EQ_INT(s->note->at[0], s->note->at[1]);
    if (!kill_victim_was_killed() && s->note->entered)
        ASSERT_EQ_INT(s->note->at[0], 1);
    ASSERT_EQ_INT(shoal_barrier_broken(s->barrier), s->note->at[0] < 0 && s->note->entered < 2);
    ASSERT_OK(shoal_barrier_reset(s->barrier));
    ASSERT_EQ_INT(shoal_barrier_broken(s->barrier), 0);
    ASSERT_EQ_INT(shoal_barrier_n_waiting(s->barrier), 0);
    family_check(s->note->before);
}

/* ---- the victim waits ---- */

static void wait_as_party(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_barrier_wait(s->barrier, SHOAL_FOREVER));
    s->note->entered = 1;
}

static void come_after(void *p, int i)
{
    kill_partner_ready();
    kill_await_asleep(1);
    wait_here(p, i);
}

static void come_before(void *p, int i)
{
    kill_partner_ready();
    wait_here(p, i);
}

static int act(void *argument)
{
    (void)argument;
    family_point();
    return 0;
}

static void wait_acting(void *p)
{
    struct state *s = p;

    ASSERT_EQ_INT(shoal_barrier_wait_action(s->barrier, act, NULL, SHOAL_FOREVER), PARTNERS);
    s->note->entered = 1;
}

KILL_SCENARIO(barrier_first_to_arrive, .setup = setup, .prepare = family_prepare,
              .victim = wait_as_party, .partner = come_after, .partners = PARTNERS,
              .survivor = join_if_needed, .final = last);
KILL_SCENARIO(barrier_last_to_arrive, .setup = setup, .prepare = family_prepare,
              .victim = wait_as_party, .partner = come_before, .partners = PARTNERS,
              .survivor = join_if_needed, .final = last);
KILL_SCENARIO(barrier_action, .setup = setup, .prepare = family_prepare, .victim = wait_acting,
              .partner = come_before, .partners = PARTNERS, .survivor = join_if_needed,
              .final = last);

/* ---- the victim breaks ---- */

static void abort_it(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_barrier_abort(s->barrier));
}

static void reset_it(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_barrier_reset(s->barrier));
}

static void survive_aborting(void *p, int i)
{
    (void)i;
    abort_it(p);
}

static void last_aborted(void *p)
{
    struct state *s = p;

    ASSERT_EQ_INT(s->note->at[0], -1);
    last(s);
}

KILL_SCENARIO(barrier_aborted, .setup = setup, .prepare = family_prepare, .victim = abort_it,
              .partner = come_before, .partners = PARTNERS, .survivor = survive_aborting,
              .final = last_aborted);
KILL_SCENARIO(barrier_reset, .setup = setup, .prepare = family_prepare, .victim = reset_it,
              .partner = come_before, .partners = PARTNERS, .survivor = survive_aborting,
              .final = last_aborted);
