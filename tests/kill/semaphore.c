/* semaphore.c: plain permits, killed and stopped everywhere; owned ones are in lock.c. A plain permit is a signal: what a dead process took stays taken,
 * what it gave is there, and nothing else is gained or lost. */
#define _GNU_SOURCE
#include "family.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

struct state {
    struct note *note;
    shoal_semaphore *semaphore;
    int value, wanted; /* how many permits partners want */
};

static void *setup_with(int value, int wanted, const shoal_semaphore_options *options)
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    s->value = value;
    s->wanted = wanted;
    ASSERT_OK(shoal_semaphore_create(&s->semaphore, (uint32_t)value, options));
    family_ready(s->note);
    return s;
}

static void *setup_plain(void) /* has a pocket */
{
    return setup_with(2, 0, NULL);
}

static void *setup_bounded(void)
{
    static const shoal_semaphore_options options = {.bound = 3};

    return setup_with(2, 0, &options);
}

static void *setup_mixed(void)
{
    static const shoal_semaphore_options options = {.bound = 3, .owned = 2};

    return setup_with(2, 0, &options);
}

static void *setup_empty(void)
{
    return setup_with(0, 2, NULL);
}

static void *setup_empty_one(void)
{
    return setup_with(0, 1, NULL);
}

static void *setup_one(void)
{
    return setup_with(1, 1, NULL);
}

static void *setup_empty_mixed(void)
{
    static const shoal_semaphore_options options = {.owned = 2};

    return setup_with(0, 2, &options);
}

static void acquire_and_release(void *p)
{
    struct state *s = p;

    s->note->entered = 3;
    ASSERT_OK(shoal_semaphore_acquire(s->semaphore, SHOAL_FOREVER));
    s->note->entered = 1;
    family_point();
    s->note->entered = 3;
    ASSERT_OK(shoal_semaphore_release(s->semaphore));
    s->note->entered = 2;
}

static void acquire_and_release_owned(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_semaphore_acquire_owned(s->semaphore, SHOAL_FOREVER));
    ASSERT_OK(shoal_semaphore_acquire_owned(s->semaphore, SHOAL_FOREVER));
    ASSERT_OK(shoal_semaphore_release_owned(s->semaphore));
    ASSERT_OK(shoal_semaphore_release_owned(s->semaphore));
    s->note->entered = 2;
}

static void survive(void *p, int i)
{
    struct state *s = p;

    (void)i;
    ASSERT_OK(shoal_semaphore_acquire(s->semaphore, SHOAL_FOREVER));
    ASSERT_OK(shoal_semaphore_release(s->semaphore));
}

/* One that dies while it repairs: with an owned permit at most, which comes back. */
static void repair(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_semaphore_acquire_owned(s->semaphore, SHOAL_FOREVER));
    ASSERT_OK(shoal_semaphore_release_owned(s->semaphore));
}

static void last(void *p)
{
    struct state *s = p;

    family_settle();
    int value = shoal_semaphore_value(s->semaphore);
    if (!kill_victim_was_killed() || s->note->entered == 0 || s->note->entered == 2)
        ASSERT_EQ_INT(value, s->value);
    else if (s->note->entered == 1)
        ASSERT_EQ_INT(value, s->value - 1);
    ASSERT_LE_INT(value, s->value);
    ASSERT_GE_INT(value, s->value - 1);
    family_check(s->note->before);
}

static void last_owned(void *p)
{
    struct state *s = p;

    family_settle();
    ASSERT_EQ_INT(shoal_semaphore_value(s->semaphore), s->value);
    ASSERT_EQ_INT(shoal_semaphore_holders(s->semaphore, NULL, 0), 0);
    for (int i = 0; i < s->value; i++)
        ASSERT_OK(shoal_semaphore_acquire_owned(s->semaphore, SHOAL_NOW));
    ASSERT_ERR(shoal_semaphore_acquire(s->semaphore, SHOAL_NOW), -EAGAIN);
    for (int i = 0; i < s->value; i++)
        ASSERT_OK(shoal_semaphore_release_owned(s->semaphore));
    family_check(s->note->before);
}

KILL_SCENARIO(semaphore_free, .setup = setup_plain, .prepare = family_prepare,
              .victim = acquire_and_release, .survivor = survive, .stopped = survive, .final = last,
              .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(semaphore_bounded, .setup = setup_bounded, .prepare = family_prepare,
              .victim = acquire_and_release, .survivor = survive, .stopped = survive, .final = last,
              .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(semaphore_plain_beside_owned, .setup = setup_mixed, .prepare = family_prepare,
              .victim = acquire_and_release, .survivor = survive, .stopped = survive,
              .final = last);
KILL_SCENARIO(semaphore_owned_twice, .setup = setup_mixed, .prepare = family_prepare,
              .victim = acquire_and_release_owned, .survivor = survive, .survivors = 1,
              .repair = repair, .state = family_state, .final = last_owned);

/* ---- who sleeps gets what is given, also by those who die right after ---- */

static void nap(void)
{
    struct timespec t = {0, 500000};

    nanosleep(&t, NULL);
}

static int all_taken(struct state *s)
{
    return __atomic_load_n(&s->note->taken, __ATOMIC_SEQ_CST) >= s->wanted;
}

/* Nobody ends before all have what they want, as an end would wake the others: that must be the
 * release's work, or that of those who were woken. */
static void linger(void *p)
{
    while (!all_taken(p))
        nap();
}

static void want(void *p, int i)
{
    struct state *s = p;

    (void)i;
    kill_await_begun();
    ASSERT_OK(shoal_semaphore_acquire(s->semaphore, SHOAL_FOREVER));
    __atomic_add_fetch(&s->note->taken, 1, __ATOMIC_SEQ_CST);
    linger(s);
}

static void give_two(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_semaphore_release(s->semaphore));
    ASSERT_OK(shoal_semaphore_release(s->semaphore));
}

static void prepare_taken(void *p)
{
    struct state *s = p;

    family_prepare(p);
    ASSERT_OK(shoal_semaphore_acquire(s->semaphore, SHOAL_FOREVER));
}

static void give_back(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_semaphore_release(s->semaphore));
}

/* What was given must reach the sleepers without help; only then what the victim did not come to give is given in its place. */
static void give_the_rest(void *p, int i)
{
    struct state *s = p;

    (void)i;
    for (;;) {
        while (shoal_semaphore_value(s->semaphore) && !all_taken(s))
            nap(); /* for ever, if a wake-up was lost: the deadline tells */
        for (int n = 0; n < 4 && !all_taken(s); n++)
            nap();
        if (all_taken(s))
            return;
        ASSERT_OK(shoal_semaphore_release(s->semaphore));
    }
}

/* The victim sleeps first, partner 1 second; one permit comes; whoever dies with it in its hands, or before it has it. */
static void give_one(void *p, int i)
{
    struct state *s = p;

    kill_await_asleep(1);
    if (i == 1) {
        ASSERT_OK(shoal_semaphore_acquire(s->semaphore, SHOAL_FOREVER));
        __atomic_add_fetch(&s->note->taken, 1, __ATOMIC_SEQ_CST);
        return;
    }
    family_await_sleepers(s->semaphore, 2);
    ASSERT_OK(shoal_semaphore_release(s->semaphore));
    kill_await_asleep(2); /* the other was quicker: a living victim gets one too */
    if (!kill_victim_was_killed())
        ASSERT_OK(shoal_semaphore_release(s->semaphore));
}

static void last_given(void *p)
{
    struct state *s = p;

    family_settle();
    ASSERT_EQ_INT(s->note->taken, s->wanted);
    family_check(s->note->before);
}

KILL_SCENARIO(semaphore_released_to_sleepers, .setup = setup_empty, .prepare = family_prepare,
              .victim = give_two, .after = linger, .partner = want, .partners = 2,
              .survivor = give_the_rest, .survivors = 1, .final = last_given);
KILL_SCENARIO(semaphore_with_owned_released_to_sleepers, .setup = setup_empty_mixed,
              .prepare = family_prepare, .victim = give_two, .after = linger, .partner = want,
              .partners = 2, .survivor = give_the_rest, .survivors = 1, .final = last_given);
/* The one permit lies in the pocket, which the victim may fill. */
KILL_SCENARIO(semaphore_released_from_the_pocket, .setup = setup_one, .prepare = prepare_taken,
              .victim = give_back, .after = linger, .partner = want, .partners = 1,
              .survivor = give_the_rest, .survivors = 1, .final = last_given,
              .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(semaphore_the_woken_dies, .setup = setup_empty_one, .prepare = family_prepare,
              .victim = acquire_and_release, .partner = give_one, .partners = 2,
              .survivor = give_the_rest, .survivors = 1, .final = last_given);
