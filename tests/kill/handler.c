/* handler.c: a signal handler interrupts the victim at each point of an operation, and uses shoal itself: acquire, release, set, clear and wait may be
 * called there. Only mode STOP: while the victim stands, it is sent the signal, which it takes as soon as it goes on. */
#define _GNU_SOURCE
#include "family.h"

#include "region/object.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

struct state {
    struct note *note;
    shoal_lock *lock;
    void (*handler)(struct state *s);
};

static struct state *interrupted; /* for the handler */

static void on_signal(int number)
{
    (void)number;
    interrupted->handler(interrupted);
    interrupted->note->at[0]++;
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
    (void)p;
    if (i == 0)
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
