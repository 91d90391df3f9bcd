/* persona.c: owners that are no threads (region/self.h), made, been and ended, killed and stopped everywhere. What one has when it is ended, or when its
 * process dies, is taken over as from any dead owner. */
#define _GNU_SOURCE
#include "family.h"

#include "region/life.h"
#include "region/object.h"
#include "region/wait.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

struct state {
    struct note *note;
    shoal_lock *lock, *other;
    struct persona mine; /* of the victim */
};

static void *setup(void)
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    ASSERT_OK(shoal_lock_create(&s->lock, NULL));
    ASSERT_OK(shoal_lock_create(&s->other, NULL));
    family_ready(s->note);
    return s;
}

static void *call_once(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_lock_acquire(s->other, SHOAL_FOREVER));
    ASSERT_OK(shoal_lock_release(s->other));
    return NULL;
}

/* A thread has ended, whose record is the process's to use again. */
static void prepare_spare(void *p)
{
    pthread_t thread;

    family_prepare(p);
    ASSERT_EQ_INT(pthread_create(&thread, NULL, call_once, p), 0);
    ASSERT_EQ_INT(pthread_join(thread, NULL), 0);
}

static void wake(const shoal_lock *lock)
{
    struct header *h = handle_of(lock)->header;

    atomic_thread_fence(memory_order_seq_cst);
    wait_wake_slow(life_type(h->type)->event(h), INT_MAX);
}

/* ---- made, been, ended ---- */

static void live_and_end(void *p)
{
    struct state *s = p;
    struct persona one, two;

    ASSERT_OK(persona_create(&one));
    persona_swap(&one);
    ASSERT_EQ_INT(shoal_lock_acquire(s->lock, SHOAL_FOREVER), 0);
    s->note->entered = 1;
    persona_swap(&one);
    /* Another owner than it, and than the thread. */
    ASSERT_OK(persona_create(&two));
    persona_swap(&two);
    ASSERT_EQ_INT(shoal_lock_acquire(s->lock, SHOAL_NOW), -EAGAIN);
    persona_swap(&two);
    persona_end(&two);
    ASSERT_EQ_INT(shoal_lock_acquire(s->lock, SHOAL_NOW), -EAGAIN);
    persona_end(&one);
    wake(s->lock);
    s->note->entered = 2;
    persona_end(&one); /* it is none any more */
}

/* It is a dead owner's if it has been ended, whoever lives. */
static void take(void *p, int i)
{
    struct state *s = p;
    int rc = shoal_lock_acquire(s->lock, SHOAL_FOREVER);

    (void)i;
    ASSERT_OK(rc);
    if (rc == SHOAL_OWNER_DIED)
        __atomic_add_fetch(&s->note->died, 1, __ATOMIC_SEQ_CST);
    ASSERT_OK(shoal_lock_release(s->lock));
}

/* Beside the stopped one: a living persona has it, or nobody, or one that has been ended. */
static void beside(void *p, int i)
{
    struct state *s = p;
    int rc = shoal_lock_acquire(s->lock, shoal_after(0.02));

    (void)i;
    if (rc == -ETIMEDOUT)
        return;
    ASSERT_OK(rc);
    if (rc == SHOAL_OWNER_DIED) {
        ASSERT_GE_INT(s->note->entered, 1);
        __atomic_add_fetch(&s->note->died, 1, __ATOMIC_SEQ_CST);
    }
    ASSERT_OK(shoal_lock_release(s->lock));
}

static void repair(void *p)
{
    (void)p;
    family_look();
}

static void finish(void *p)
{
    struct state *s = p;

    family_settle();
    /* One who came after it was told. */
    ASSERT_LE_INT(s->note->died, 1);
    if (s->note->entered)
        ASSERT_EQ_INT(s->note->died, 1);
    ASSERT_EQ_INT(shoal_lock_acquire(s->lock, SHOAL_NOW), 0);
    ASSERT_OK(shoal_lock_release(s->lock));
    family_check(s->note->before);
}

KILL_SCENARIO(persona_lives_and_ends, .setup = setup, .prepare = family_prepare,
              .victim = live_and_end, .survivor = take, .repair = repair, .state = family_state,
              .final = finish, .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(persona_with_the_record_of_a_thread, .setup = setup, .prepare = prepare_spare,
              .victim = live_and_end, .survivor = take, .stopped = beside, .final = finish);

/* ---- its record is another one's ---- */

static void end_and_begin(void *p)
{
    struct state *s = p;
    struct persona one, two;

    ASSERT_OK(persona_create(&one));
    persona_swap(&one);
    ASSERT_EQ_INT(shoal_lock_acquire(s->lock, SHOAL_FOREVER), 0);
    s->note->entered = 1;
    persona_swap(&one);
    persona_end(&one);
    ASSERT_OK(persona_create(&two));
    persona_swap(&two);
    ASSERT_EQ_INT(shoal_lock_acquire(s->lock, shoal_after(5)), SHOAL_OWNER_DIED);
    s->note->died = 1;
    s->note->entered = 0; /* that of the second one, which nobody is told of */
    ASSERT_OK(shoal_lock_release(s->lock));
    persona_swap(&two);
    persona_end(&two);
    s->note->entered = 2;
}

static void take_untold(void *p, int i)
{
    struct state *s = p;

    (void)i;
    ASSERT_OK(shoal_lock_acquire(s->lock, SHOAL_FOREVER));
    ASSERT_OK(shoal_lock_release(s->lock));
}

static void finish_untold(void *p)
{
    struct state *s = p;

    family_settle();
    ASSERT_EQ_INT(shoal_lock_acquire(s->lock, SHOAL_NOW), 0);
    ASSERT_OK(shoal_lock_release(s->lock));
    family_check(s->note->before);
}

KILL_SCENARIO(persona_after_another, .setup = setup, .prepare = family_prepare,
              .victim = end_and_begin, .survivor = take_untold, .final = finish_untold);

/* ---- somebody sleeps for what it has ---- */

static void prepare_held(void *p)
{
    struct state *s = p;

    family_prepare(p);
    ASSERT_OK(persona_create(&s->mine));
    persona_swap(&s->mine);
    ASSERT_EQ_INT(shoal_lock_acquire(s->lock, SHOAL_FOREVER), 0);
    persona_swap(&s->mine);
}

static void end_held(void *p)
{
    struct state *s = p;

    persona_end(&s->mine);
    wake(s->lock);
    s->note->entered = 2;
}

/* Its process does not end before: the end would wake, too. */
static void await_taken(void *p)
{
    struct state *s = p;

    family_await(&s->note->taken);
}

static void want(void *p, int i)
{
    struct state *s = p;

    (void)i;
    kill_await_begun();
    ASSERT_EQ_INT(shoal_lock_acquire(s->lock, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    ASSERT_OK(shoal_lock_release(s->lock));
    family_set(&s->note->taken);
}

KILL_SCENARIO(persona_ended_beside_a_sleeper, .setup = setup, .prepare = prepare_held,
              .victim = end_held, .after = await_taken, .partner = want, .final = finish_untold);
