/* event.c: set, clear and wait, killed and stopped everywhere. */
#define _GNU_SOURCE
#include "family.h"

#include "region/object.h"
#include "region/wait.h"

#include <errno.h>
#include <stdlib.h>

struct state {
    struct note *note;
    shoal_event *event;
};

enum { AWAITED = 3 };

static void *setup(void)
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    ASSERT_OK(shoal_event_create(&s->event, NULL));
    family_ready(s->note);
    return s;
}

static void set(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_event_set(s->event));
    s->note->entered = 2;
}

static void set_and_clear(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_event_set(s->event));
    ASSERT_OK(shoal_event_clear(s->event));
    s->note->entered = 2;
}

static void clear(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_event_clear(s->event));
    s->note->entered = 2;
}

static void wait_for_it(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_event_wait(s->event, SHOAL_FOREVER));
    s->note->entered = 2;
}

/* Nobody who was woken ends before all are awake, as an end would wake the others: that must be the
 * setter's work. */
static void await(void *p, int i)
{
    struct state *s = p;

    (void)i;
    kill_await_begun();
    ASSERT_OK(shoal_event_wait(s->event, SHOAL_FOREVER));
    if (__atomic_add_fetch(&s->note->taken, 1, __ATOMIC_SEQ_CST) == AWAITED)
        family_set(&s->note->at[0]);
    family_await(&s->note->at[0]);
}

static void await_all(void *p)
{
    struct state *s = p;

    family_await(&s->note->at[0]);
}

/* The one who is stopped has perhaps set it and woken nobody yet. If it is about to wake, it has
 * cleared the sleepers bit, and the net has to help: there is none here. */
static void set_and_await(void *p, int i)
{
    struct state *s = p;
    const _Atomic uint32_t *body = (const void *)handle_of(s->event)->header->body;

    (void)i;
    bool about_to_wake = (atomic_load(&body[0]) & 1) && !(atomic_load(&body[1]) & SLEEPERS);
    ASSERT_OK(shoal_event_set(s->event));
    if (!about_to_wake)
        await_all(s);
}

/* Only where the victim did not come to it: otherwise those who wait must have been woken without help. */
static void set_unless_set(void *p, int i)
{
    struct state *s = p;

    (void)i;
    if (!ASSERT_OK(shoal_event_is_set(s->event)))
        ASSERT_OK(shoal_event_set(s->event));
}

/* Whether it was set before it was cleared cannot be seen: set again if somebody still waits. */
static void set_if_awaited(void *p, int i)
{
    struct state *s = p;

    (void)i;
    ASSERT_OK(shoal_event_set(s->event));
}

static void set_when_asleep(void *p, int i)
{
    struct state *s = p;

    (void)i;
    kill_await_asleep(1);
    ASSERT_OK(shoal_event_set(s->event));
}

static void set_and_clear_when_asleep(void *p, int i)
{
    struct state *s = p;

    (void)i;
    kill_await_asleep(1);
    ASSERT_OK(shoal_event_set(s->event));
    ASSERT_OK(shoal_event_clear(s->event));
}

/* A stopped process changes nothing for others. */
static void beside(void *p, int i)
{
    struct state *s = p;

    ASSERT_OK(shoal_event_set(s->event));
    ASSERT_EQ_INT(shoal_event_wait(s->event, SHOAL_FOREVER), 0);
    if (i == 0)
        ASSERT_OK(shoal_event_is_set(s->event));
}

static void last(void *p)
{
    struct state *s = p;

    family_settle();
    ASSERT_OK(shoal_event_set(s->event));
    ASSERT_EQ_INT(shoal_event_wait(s->event, SHOAL_NOW), 0);
    ASSERT_OK(shoal_event_clear(s->event));
    ASSERT_ERR(shoal_event_wait(s->event, SHOAL_NOW), -EAGAIN);
    family_check(s->note->before);
}

KILL_SCENARIO(event_set_free, .setup = setup, .prepare = family_prepare, .victim = set,
              .survivor = set_unless_set, .stopped = beside, .final = last,
              .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(event_clear, .setup = setup, .prepare = family_prepare, .victim = clear,
              .survivor = set_unless_set, .stopped = beside, .final = last,
              .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(event_set_for_sleepers, .setup = setup, .prepare = family_prepare, .victim = set,
              .after = await_all, .partner = await, .partners = AWAITED, .survivor = set_unless_set,
              .survivors = 1, .stopped = set_and_await, .state = family_state, .final = last);
KILL_SCENARIO(event_set_and_cleared_for_sleepers, .setup = setup, .prepare = family_prepare,
              .victim = set_and_clear, .after = await_all, .partner = await, .partners = AWAITED,
              .survivor = set_if_awaited, .survivors = 1, .final = last);
KILL_SCENARIO(event_wait, .setup = setup, .prepare = family_prepare, .victim = wait_for_it,
              .partner = set_when_asleep, .stopped = beside, .final = last);
KILL_SCENARIO(event_wait_set_and_cleared, .setup = setup, .prepare = family_prepare,
              .victim = wait_for_it, .partner = set_and_clear_when_asleep, .final = last);
KILL_SCENARIO(event_wait_for_good, .setup = setup, .prepare = family_prepare, .victim = wait_for_it,
              .survivor = set_unless_set, .final = last, .flags = KILL_ENDS_ASLEEP);
