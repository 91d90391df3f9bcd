/* rwlock.c: readers, and readers beside writers; writers alone are in lock.c. */
#define _GNU_SOURCE
#include "family.h"
#include "region/self.h"

#include <errno.h>
#include <stdlib.h>

struct state {
    struct note *note;
    shoal_rwlock *lock;
};

static void *setup(void)
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    ASSERT_OK(shoal_rwlock_create(&s->lock, NULL));
    family_ready(s->note);
    return s;
}

static void told(struct state *s, int got)
{
    ASSERT_OK(got);
    if (got == SHOAL_OWNER_DIED)
        __atomic_add_fetch(&s->note->died, 1, __ATOMIC_SEQ_CST);
}

static void write_it(struct state *s)
{
    told(s, shoal_rwlock_acquire_write(s->lock, SHOAL_FOREVER));
    ASSERT_EQ_INT(__atomic_add_fetch(&s->note->inside, 100, __ATOMIC_SEQ_CST), 100);
    __atomic_sub_fetch(&s->note->inside, 100, __ATOMIC_SEQ_CST);
    ASSERT_OK(shoal_rwlock_release(s->lock));
}

static void read_it(struct state *s)
{
    told(s, shoal_rwlock_acquire_read(s->lock, SHOAL_FOREVER));
    ASSERT_LT_INT(__atomic_add_fetch(&s->note->inside, 1, __ATOMIC_SEQ_CST), 100);
    __atomic_sub_fetch(&s->note->inside, 1, __ATOMIC_SEQ_CST);
    ASSERT_OK(shoal_rwlock_release(s->lock));
}

static void survive(void *p, int i)
{
    if (i == 0)
        write_it(p);
    read_it(p);
}

static void read_only(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_rwlock_acquire_read(s->lock, SHOAL_FOREVER));
}

static void write_only(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_rwlock_acquire_write(s->lock, SHOAL_FOREVER));
}

static void release_only(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_rwlock_release(s->lock));
}

static void read_twice(void *p)
{
    read_only(p);
    read_only(p);
    release_only(p);
    release_only(p);
}

static void read_and_release(void *p)
{
    read_only(p);
    release_only(p);
}

static void write_and_release(void *p)
{
    write_only(p);
    release_only(p);
}

static void prepare_read(void *p)
{
    family_prepare(p);
    read_only(p);
}

static void prepare_written(void *p)
{
    family_prepare(p);
    write_only(p);
}

static void read_until_asleep(void *p, int i)
{
    struct state *s = p;

    (void)i;
    read_only(s);
    __atomic_add_fetch(&s->note->inside, 1, __ATOMIC_SEQ_CST);
    kill_partner_ready();
    kill_await_asleep(1);
    __atomic_sub_fetch(&s->note->inside, 1, __ATOMIC_SEQ_CST);
    release_only(s);
}

static void write_until_asleep(void *p, int i)
{
    struct state *s = p;

    (void)i;
    told(s, shoal_rwlock_acquire_write(s->lock, SHOAL_FOREVER));
    kill_partner_ready();
    kill_await_asleep(1);
    release_only(s);
}

enum { WANTED = 4, ALL_IN = 7 /* in note->at */ };

/* Nobody ends before all were in, as an end would wake the others: that must be the release's work.
 */
static void linger(struct state *s)
{
    if (__atomic_add_fetch(&s->note->taken, 1, __ATOMIC_SEQ_CST) == WANTED)
        family_set(&s->note->at[ALL_IN]);
    family_await(&s->note->at[ALL_IN]);
}

/* Attached before it waits: beside one who is about to be born everybody sleeps in slices, and each slice is a look at
 * the lock, which would do the wake-up's work. */
static void await_begun(void)
{
    owner_t me;

    ASSERT_OK(self(&me));
    kill_await_begun();
}

static void want(void *p, int i)
{
    await_begun();
    if (i % 2)
        read_it(p);
    else
        write_it(p);
    linger(p);
}

static void want_to_read(void *p, int i)
{
    (void)i;
    await_begun();
    read_it(p);
    linger(p);
}

static void await_all(void *p)
{
    struct state *s = p;

    family_await(&s->note->at[ALL_IN]);
}

/* Partner 0 reads, the victim waits to write, partner 1 wants to read behind it. When the victim is gone, 1 must come in beside 0. */
static void read_around(void *p, int i)
{
    struct state *s = p;

    if (i == 0) {
        read_only(s);
        kill_partner_ready();
        family_await(&s->note->at[0]);
        release_only(s);
        return;
    }
    kill_await_asleep(1);
    read_it(s);
    family_set(&s->note->at[0]);
}

static void beside_reader(void *p, int i)
{
    struct state *s = p;

    (void)i;
    read_it(s);
}

/* One that dies while it repairs a reader, and does not write itself. */
static void repair(void *p)
{
    read_it(p);
}

static void last(void *p)
{
    struct state *s = p;

    family_settle();
    ASSERT_EQ_INT(shoal_rwlock_readers(s->lock), 0);
    ASSERT_LE_INT(s->note->died, 1);
    int got = shoal_rwlock_acquire_write(s->lock, SHOAL_NOW);
    if (got == SHOAL_OWNER_DIED) /* at most the one who died, and once */
        ASSERT_TRUE(kill_victim_was_killed() && !s->note->died);
    else
        ASSERT_EQ_INT(got, 0);
    ASSERT_OK(shoal_rwlock_release(s->lock));
    ASSERT_EQ_INT(shoal_rwlock_acquire_read(s->lock, SHOAL_NOW), 0);
    ASSERT_OK(shoal_rwlock_release(s->lock));
    family_check(s->note->before);
}

/* A dead reader is nobody's business. */
static void last_reader(void *p)
{
    struct state *s = p;

    last(p);
    ASSERT_EQ_INT(s->note->died, 0);
}

/* A writer comes in while the reader stands at some point of its way; the reader must see it. */
static void write_beside(void *p, int i)
{
    struct state *s = p;

    (void)i;
    kill_partner_ready();
    kill_await_stopped();
    int got = shoal_rwlock_acquire_write(s->lock, shoal_after(0.02));
    if (got >= 0)
        __atomic_add_fetch(&s->note->inside, 100, __ATOMIC_SEQ_CST);
    family_set(&s->note->at[0]);
    kill_await_asleep(1);
    if (got >= 0) {
        __atomic_sub_fetch(&s->note->inside, 100, __ATOMIC_SEQ_CST);
        release_only(s);
    }
    kill_await_over();
}

static void read_checked(void *p)
{
    read_it(p);
}

static void await_writer(void *p, int i)
{
    struct state *s = p;

    (void)i;
    family_await(&s->note->at[0]);
}

/* The writer before died; the victim is told of it as a reader. Unless it has let go, whoever comes after it must be told too. */
static void prepare_dead_writer(void *p)
{
    family_prepare(p);
    family_die_after(write_only, p);
}

static void read_told(void *p)
{
    struct state *s = p;

    ASSERT_EQ_INT(shoal_rwlock_acquire_read(s->lock, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    s->note->entered = 1;
    family_point(); /* surely inside */
    s->note->entered = 3;
    release_only(s);
    s->note->entered = 2;
}

static void last_told(void *p)
{
    struct state *s = p;

    last(p);
    if (s->note->entered != 3)
        ASSERT_EQ_INT(s->note->died, s->note->entered != 2);
}

KILL_SCENARIO(rwlock_read_meets_writer, .setup = setup, .prepare = family_prepare,
              .victim = read_checked, .partner = write_beside, .survivor = survive,
              .stopped = await_writer, .final = last_reader);
KILL_SCENARIO(rwlock_read_taken_over, .setup = setup, .prepare = prepare_dead_writer,
              .victim = read_told, .survivor = survive, .final = last_told);
KILL_SCENARIO(rwlock_read, .setup = setup, .prepare = family_prepare, .victim = read_twice,
              .survivor = survive, .stopped = beside_reader, .repair = repair,
              .state = family_state, .final = last_reader, .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(rwlock_read_released_to_sleepers, .setup = setup, .prepare = prepare_read,
              .victim = release_only, .after = await_all, .partner = want, .partners = WANTED,
              .final = last_reader, .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(rwlock_written_released_to_sleepers, .setup = setup, .prepare = prepare_written,
              .victim = release_only, .after = await_all, .partner = want, .partners = WANTED,
              .final = last, .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(rwlock_written_released_to_readers, .setup = setup, .prepare = prepare_written,
              .victim = release_only, .after = await_all, .partner = want_to_read,
              .partners = WANTED, .final = last);
KILL_SCENARIO(rwlock_reader_waits_for_writer, .setup = setup, .prepare = family_prepare,
              .victim = read_and_release, .partner = write_until_asleep, .survivor = survive,
              .final = last_reader);
KILL_SCENARIO(rwlock_writer_waits_for_reader, .setup = setup, .prepare = family_prepare,
              .victim = write_and_release, .partner = read_until_asleep, .survivor = survive,
              .state = family_state, .final = last);
KILL_SCENARIO(rwlock_waiting_writer_dies, .setup = setup, .prepare = family_prepare,
              .victim = write_and_release, .partner = read_around, .partners = 2, .final = last,
              .flags = KILL_ENDS_ASLEEP);
