/* lock.c: lock, rlock and once, killed and stopped everywhere. One set of scenarios, for each kind that is acquired and released. */
#define _GNU_SOURCE
#include "family.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct state {
    struct note *note;
    const struct kind *kind;
    void *object, *other;
};

struct kind {
    int (*create)(void **ret);
    int (*acquire)(void *object, int64_t deadline);
    int (*release)(void *object);
    int (*locked)(void *object);
    int recovers; /* 1: who takes it from the dead is told */
};

static void nap(void)
{
    struct timespec t = {0, 500000};

    nanosleep(&t, NULL);
}

/* ---- the kinds ---- */

static int create_lock(void **ret)
{
    return shoal_lock_create((shoal_lock **)ret, NULL);
}
static int acquire_lock(void *object, int64_t deadline)
{
    return shoal_lock_acquire(object, deadline);
}
static int release_lock(void *object)
{
    return shoal_lock_release(object);
}
static int locked_lock(void *object)
{
    return shoal_lock_locked(object);
}

static int create_rlock(void **ret)
{
    return shoal_rlock_create((shoal_rlock **)ret, NULL);
}
static int acquire_rlock(void *object, int64_t deadline)
{
    int rc = shoal_rlock_acquire(object, deadline);

    if (rc >= 0) { /* a second level */
        ASSERT_EQ_INT(shoal_rlock_count(object), 1);
        ASSERT_EQ_INT(shoal_rlock_acquire(object, SHOAL_FOREVER), 0);
        ASSERT_EQ_INT(shoal_rlock_count(object), 2);
    }
    return rc;
}
static int release_rlock(void *object)
{
    int rc = shoal_rlock_release(object);

    return rc ? rc : shoal_rlock_release(object);
}
static int locked_rlock(void *object)
{
    return shoal_rlock_locked(object);
}

static int create_owned(void **ret)
{
    static const shoal_semaphore_options options = {.owned = 2, .bound = 1};

    return shoal_semaphore_create((shoal_semaphore **)ret, 1, &options);
}
static int acquire_owned(void *object, int64_t deadline)
{
    return shoal_semaphore_acquire_owned(object, deadline);
}
static int release_owned(void *object)
{
    return shoal_semaphore_release_owned(object);
}
static int locked_owned(void *object)
{
    return !shoal_semaphore_value(object);
}

static int create_rwlock(void **ret)
{
    return shoal_rwlock_create((shoal_rwlock **)ret, NULL);
}
static int acquire_rwlock(void *object, int64_t deadline)
{
    return shoal_rwlock_acquire_write(object, deadline);
}
static int release_rwlock(void *object)
{
    return shoal_rwlock_release(object);
}
static int locked_rwlock(void *object)
{
    return shoal_rwlock_locked(object);
}

static const struct kind kind_owned = {create_owned, acquire_owned, release_owned, locked_owned, 0};
static const struct kind kind_rwlock = {create_rwlock, acquire_rwlock, release_rwlock,
                                        locked_rwlock, 1};
static const struct kind kind_lock = {create_lock, acquire_lock, release_lock, locked_lock, 1};
static const struct kind kind_rlock = {create_rlock, acquire_rlock, release_rlock, locked_rlock, 1};

static void *setup_net(const struct kind *kind, int net)
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(net);
    s->kind = kind;
    ASSERT_OK(kind->create(&s->object));
    family_ready(s->note);
    return s;
}

/* ---- what everybody does ---- */

/* Held now: nobody else may be inside, unless it died there. */
static void enter(struct state *s, int got)
{
    if (got == SHOAL_OWNER_DIED) {
        ASSERT_TRUE(s->kind->recovers);
        __atomic_add_fetch(&s->note->died, 1, __ATOMIC_SEQ_CST);
        __atomic_store_n(&s->note->inside, 0, __ATOMIC_SEQ_CST);
    } else {
        ASSERT_EQ_INT(got, 0);
    }
    ASSERT_EQ_INT(__atomic_add_fetch(&s->note->inside, 1, __ATOMIC_SEQ_CST), 1);
    __atomic_add_fetch(&s->note->taken, 1, __ATOMIC_SEQ_CST);
}

static void leave(struct state *s)
{
    __atomic_sub_fetch(&s->note->inside, 1, __ATOMIC_SEQ_CST);
    ASSERT_OK(s->kind->release(s->object));
}

static void use(struct state *s)
{
    enter(s, s->kind->acquire(s->object, SHOAL_FOREVER));
    leave(s);
}

static void survive(void *p, int i)
{
    (void)i;
    use(p);
}

static void acquire_only(void *p)
{
    struct state *s = p;

    ASSERT_EQ_INT(s->kind->acquire(s->object, SHOAL_FOREVER), 0);
    s->note->entered = 1;
}

static void prepare_held(void *p)
{
    family_prepare(p);
    acquire_only(p);
}

static void release_only(void *p)
{
    struct state *s = p;

    s->note->entered = 3;
    ASSERT_OK(s->kind->release(s->object));
    s->note->entered = 2;
}

static void acquire_and_release(void *p)
{
    struct state *s = p;

    acquire_only(s);
    family_point(); /* surely inside */
    release_only(s);
}

/* Beside a stopped one: it may be held, and then it is not to be had; but nobody is dead. */
static void beside(void *p, int i)
{
    struct state *s = p;

    (void)i;
    int got = s->kind->acquire(s->object, shoal_after(0.02));
    if (got == -ETIMEDOUT)
        return;
    enter(s, got);
    leave(s);
}

/* Whoever died was met once: if it died surely inside, somebody has been told. */
static void last(void *p)
{
    struct state *s = p;

    family_settle();
    ASSERT_EQ_INT(s->kind->locked(s->object), 0);
    if (!kill_victim_was_killed())
        ASSERT_EQ_INT(s->note->died, 0);
    ASSERT_LE_INT(s->note->died, 1);
    if (s->kind->recovers && s->note->entered == 1 && kill_victim_was_killed() && !s->note->died) {
        /* Nobody came after it: now. */
        ASSERT_EQ_INT(s->kind->acquire(s->object, SHOAL_NOW), SHOAL_OWNER_DIED);
        ASSERT_OK(s->kind->release(s->object));
    }
    ASSERT_GE_INT(s->kind->acquire(s->object, SHOAL_NOW), 0);
    ASSERT_OK(s->kind->release(s->object));
    family_check(s->note->before);
}

/* Partner 0 holds it until the victim sleeps. */
static void hold_until_asleep(void *p, int i)
{
    struct state *s = p;

    (void)i;
    enter(s, s->kind->acquire(s->object, SHOAL_FOREVER));
    kill_partner_ready();
    kill_await_asleep(1);
    leave(s);
}

static void hold_until_over(void *p, int i)
{
    struct state *s = p;

    (void)i;
    enter(s, s->kind->acquire(s->object, SHOAL_FOREVER));
    kill_partner_ready();
    kill_await_over();
    leave(s);
}

/* Partners who want what the victim holds. None ends before all had it, as an end would wake the others: that must be the release's work. */
static void linger(struct state *s, int all)
{
    while (__atomic_load_n(&s->note->taken, __ATOMIC_SEQ_CST) < all)
        nap();
}

static void want(void *p, int i)
{
    (void)i;
    kill_await_begun();
    use(p);
    linger(p, 3);
}

static void await_three(void *p)
{
    linger(p, 3);
}

/* The one who held it last died with it; whoever takes it repairs. */
static void die_holding(void *p)
{
    struct state *s = p;

    ASSERT_EQ_INT(s->kind->acquire(s->object, SHOAL_FOREVER), 0);
}

static void prepare_dead(void *p)
{
    family_prepare(p);
    family_die_after(die_holding, p);
}

static void take_over(void *p)
{
    struct state *s = p;

    ASSERT_EQ_INT(s->kind->acquire(s->object, SHOAL_FOREVER),
                  s->kind->recovers ? SHOAL_OWNER_DIED : 0);
    s->note->entered = 1;
    ASSERT_OK(s->kind->release(s->object));
    s->note->entered = 2;
}

static void survive_two(void *p, int i)
{
    struct state *s = p;

    (void)i;
    int got = s->kind->acquire(s->object, SHOAL_FOREVER);
    ASSERT_OK(got);
    if (got == SHOAL_OWNER_DIED)
        __atomic_add_fetch(&s->note->died, 1, __ATOMIC_SEQ_CST);
    ASSERT_OK(s->kind->release(s->object));
}

/* Two have died: the one before, and the victim that took over from it. One is told, unless the victim was and had let go. */
static void last_two(void *p)
{
    struct state *s = p;

    family_settle();
    if (s->note->entered == 2)
        ASSERT_EQ_INT(s->note->died, 0);
    if (s->note->entered == 0)
        ASSERT_EQ_INT(s->note->died, s->kind->recovers);
    ASSERT_LE_INT(s->note->died, 1);
    ASSERT_EQ_INT(s->kind->acquire(s->object, SHOAL_NOW), 0);
    ASSERT_OK(s->kind->release(s->object));
    family_check(s->note->before);
}

/* hole.c's schedule: the victim is woken, somebody else takes the lock before it; the third one must not be forgotten. */
static void steal(void *p, int i)
{
    struct state *s = p;

    if (i == 1) {
        kill_partner_ready();
        kill_await_asleep(1);
        use(s);
        return;
    }
    enter(s, s->kind->acquire(s->object, SHOAL_FOREVER));
    kill_partner_ready();
    kill_await_asleep(1);
    family_await_sleepers(s->object, kill_victim_was_killed() ? 1 : 2);
    leave(s); /* wakes who slept first */
    int got = s->kind->acquire(s->object, SHOAL_NOW);
    if (got >= 0) {
        enter(s, got);
        kill_await_asleep(2);
        leave(s);
    }
}

#define SCENARIOS(name)                                                                           \
    static void *setup_##name(void)                                                               \
    {                                                                                             \
        return setup_net(&kind_##name, NET_OFF);                                                  \
    }                                                                                             \
    static void *setup_net_##name(void)                                                           \
    {                                                                                             \
        return setup_net(&kind_##name, NET_ON);                                                   \
    }                                                                                             \
    KILL_SCENARIO(name##_free, .setup = setup_##name, .prepare = family_prepare,                  \
                  .victim = acquire_and_release, .survivor = survive, .final = last,              \
                  .flags = KILL_EVERY_INSTRUCTION);                                               \
    KILL_SCENARIO(name##_stopped, .setup = setup_net_##name, .prepare = family_prepare,           \
                  .victim = acquire_and_release, .survivor = survive, .stopped = beside,          \
                  .state = family_state, .final = last);                                          \
    KILL_SCENARIO(name##_blocked_then_granted, .setup = setup_##name, .prepare = family_prepare,  \
                  .victim = acquire_and_release, .partner = hold_until_asleep,                    \
                  .survivor = survive, .final = last);                                            \
    KILL_SCENARIO(name##_blocked_for_good, .setup = setup_##name, .prepare = family_prepare,      \
                  .victim = acquire_and_release, .partner = hold_until_over, .survivor = survive, \
                  .final = last, .flags = KILL_ENDS_ASLEEP);                                      \
    KILL_SCENARIO(name##_released_to_sleepers, .setup = setup_##name, .prepare = prepare_held,    \
                  .victim = release_only, .after = await_three, .partner = want, .partners = 3,   \
                  .final = last, .flags = KILL_EVERY_INSTRUCTION);                                \
    KILL_SCENARIO(name##_taken_over, .setup = setup_##name, .prepare = prepare_dead,              \
                  .victim = take_over, .survivor = survive_two, .state = family_state,            \
                  .final = last_two);                                                             \
    KILL_SCENARIO(name##_stolen_before_the_woken, .setup = setup_##name,                          \
                  .prepare = family_prepare, .victim = acquire_and_release, .partner = steal,     \
                  .partners = 2, .final = last)

SCENARIOS(lock);
SCENARIOS(rlock);
SCENARIOS(owned);
SCENARIOS(rwlock);

/* ---- a lock is released by somebody else ---- */

static void take_in_setup(struct state *s)
{
    ASSERT_EQ_INT(s->kind->acquire(s->object, SHOAL_FOREVER), 0);
}

static void *setup_other(void)
{
    struct state *s = setup_lock();

    take_in_setup(s); /* the case's process holds it */
    return s;
}

/* Partners came to sleep; only if the victim did not come to release it does a survivor. */
static void release_unless(void *p, int i)
{
    struct state *s = p;

    if (i > 0)
        return;
    shoal_holder holder;
    int held = shoal_lock_holder(s->object, &holder);
    ASSERT_OK(held);
    if (held && holder.pid == getppid())
        ASSERT_OK(s->kind->release(s->object));
}

KILL_SCENARIO(lock_released_by_another, .setup = setup_other, .prepare = family_prepare,
              .victim = release_only, .after = await_three, .partner = want, .partners = 3,
              .survivor = release_unless, .final = last);

/* ---- who notices the death sleeps on something else, and so must wake those who sleep on the lock ---- */

static void *setup_two(void)
{
    struct state *s = setup_lock();

    ASSERT_OK(s->kind->create(&s->other));
    ASSERT_EQ_INT(s->kind->acquire(s->other, SHOAL_FOREVER), 0); /* by the case's process */
    family_ready(s->note);
    return s;
}

/* Partner 0 sleeps first, so a death wakes it first; it stays until a survivor lets it go. */
static void want_one_of_two(void *p, int i)
{
    struct state *s = p;

    if (i == 0) {
        kill_partner_ready();
        ASSERT_EQ_INT(s->kind->acquire(s->other, SHOAL_FOREVER), 0);
        ASSERT_OK(s->kind->release(s->other));
        return;
    }
    kill_await_begun();
    use(s);
}

static void let_first_go(void *p, int i)
{
    struct state *s = p;

    (void)i;
    linger(s, 1);
    ASSERT_OK(s->kind->release(s->other));
}

KILL_SCENARIO(lock_released_beside_a_watcher, .setup = setup_two, .prepare = prepare_held,
              .victim = release_only, .partner = want_one_of_two, .partners = 2,
              .survivor = let_first_go, .survivors = 1, .final = last);

/* ---- a lock is released while somebody is about to sleep: at each point of it ---- */

static int held_by_partner(struct state *s)
{
    shoal_holder holder;

    ASSERT_OK(shoal_lock_holder(s->object, &holder));
    return holder.pid && holder.pid == __atomic_load_n(&s->note->at[1], __ATOMIC_SEQ_CST);
}

/* Partner 0 holds it until the victim stands; partner 1 releases it in the run in which nobody stands, or after the last point. */
static void release_meanwhile(void *p, int i)
{
    struct state *s = p;

    if (i == 0) {
        ASSERT_OK(s->kind->acquire(s->object, SHOAL_FOREVER));
        __atomic_store_n(&s->note->at[1], getpid(), __ATOMIC_SEQ_CST);
        kill_partner_ready();
        kill_await_stopped();
    } else {
        kill_partner_ready();
        kill_await_asleep(1);
    }
    int mine = i == 0 || !(kill_victim_is_stopped() || kill_victim_was_killed());
    if (mine && held_by_partner(s))
        ASSERT_OK(s->kind->release(s->object));
    if (i == 0)
        family_set(&s->note->at[0]);
    kill_await_over(); /* an end would wake who sleeps */
}

static void beside_released(void *p, int i)
{
    struct state *s = p;

    family_await(&s->note->at[0]);
    beside(p, i);
}

KILL_SCENARIO(lock_released_meanwhile, .setup = setup_lock, .prepare = family_prepare,
              .victim = acquire_and_release, .partner = release_meanwhile, .partners = 2,
              .survivor = survive, .stopped = beside_released, .final = last);

/* ---- once ---- */

static void *setup_once(void)
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    ASSERT_OK(shoal_once_create((shoal_once **)&s->object, NULL));
    family_ready(s->note);
    return s;
}

/* at[0]: the victim's function ran to its end; at[1]: it may return. */
static int run_in_victim(void *p)
{
    struct state *s = p;

    s->note->at[0] = 1;
    return 0;
}

static int run_in_survivor(void *p)
{
    struct state *s = p;

    ASSERT_EQ_INT(__atomic_add_fetch(&s->note->inside, 1, __ATOMIC_SEQ_CST), 1);
    s->note->runs++;
    __atomic_sub_fetch(&s->note->inside, 1, __ATOMIC_SEQ_CST);
    return 0;
}

static int run_in_partner(void *p)
{
    (void)p;
    kill_partner_ready();
    kill_await_asleep(1);
    return -ECANCELED; /* not done: the next one runs it */
}

static void once_use(void *p)
{
    struct state *s = p;

    ASSERT_EQ_INT(shoal_once_run(s->object, run_in_victim, s, SHOAL_FOREVER), 0);
    s->note->entered = 2;
}

static void once_survive(void *p, int i)
{
    struct state *s = p;

    (void)i;
    ASSERT_EQ_INT(shoal_once_run(s->object, run_in_survivor, s, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT(shoal_once_done(s->object), 1);
}

static void once_fail_then_survive(void *p, int i)
{
    struct state *s = p;

    ASSERT_ERR(shoal_once_run(s->object, run_in_partner, s, SHOAL_FOREVER), -ECANCELED);
    once_survive(p, i);
}

/* Partners 0 and 1 want it while the victim is inside; partner 2 lets the victim return when they sleep. */
static void once_want(void *p, int i)
{
    struct state *s = p;

    kill_await_asleep(1);
    if (i < 2) {
        once_survive(p, i);
        return;
    }
    family_await_sleepers(s->object, 2);
    family_set(&s->note->at[1]);
}

static int run_until_wanted(void *p)
{
    struct state *s = p;

    family_await(&s->note->at[1]);
    return run_in_victim(p);
}

static void once_use_wanted(void *p)
{
    struct state *s = p;

    ASSERT_EQ_INT(shoal_once_run(s->object, run_until_wanted, s, SHOAL_FOREVER), 0);
    s->note->entered = 2;
}

static void once_last(void *p)
{
    struct state *s = p;

    family_settle();
    ASSERT_EQ_INT(shoal_once_done(s->object), 1);
    ASSERT_LE_INT(s->note->runs, 1);
    ASSERT_GE_INT(s->note->runs + s->note->at[0], 1);
    if (s->note->entered == 2)
        ASSERT_EQ_INT(s->note->runs + s->note->at[0], 1);
    family_check(s->note->before);
}

KILL_SCENARIO(once_free, .setup = setup_once, .prepare = family_prepare, .victim = once_use,
              .survivor = once_survive, .final = once_last, .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(once_repaired, .setup = setup_once, .prepare = family_prepare, .victim = once_use,
              .survivor = once_survive, .state = family_state, .final = once_last);
KILL_SCENARIO(once_contended, .setup = setup_once, .prepare = family_prepare, .victim = once_use,
              .partner = once_fail_then_survive, .survivor = once_survive, .final = once_last);
KILL_SCENARIO(once_awaited, .setup = setup_once, .prepare = family_prepare,
              .victim = once_use_wanted, .partner = once_want, .partners = 3, .final = once_last);
