/* barrier.c: parties, and those who break and reset, killed and stopped everywhere. All who waited in one phase must tell the same of it. */
#define _GNU_SOURCE
#include "family.h"

#include "region/life.h"
#include "region/self.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
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

/* ---- the victim finds a dead party, slowly ---- */

/* In note->at: the party's outcome; the slot of the dead one; a party waits in the dead one's cell;
 * how many processes are born beside the stopped one. */
enum { OUTCOME, DEAD_SLOT, TAKEN, ARRIVED };
enum { PAIR = 2, CELLS_OF_PAIR = 2 * PAIR + 16 };

static void *setup_pair(void)
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    ASSERT_OK(shoal_barrier_create(&s->barrier, PAIR, NULL));
    family_ready(s->note);
    return s;
}

/* A party dies asleep, and the victim is to repair it. */
static void prepare_dead_party(void *p)
{
    struct state *s = p;
    uint32_t dead = 1;
    int status;

    family_prepare(p);
    pid_t pid = fork();
    ASSERT_SYS(pid);
    if (!pid) {
        shoal_barrier_wait(s->barrier, SHOAL_FOREVER);
        _exit(1);
    }
    family_await_sleepers(s->barrier, 1);
    while (atomic_load(&slot_at(dead)->pid) != pid)
        dead++;
    ASSERT_SYS(kill(pid, SIGKILL));
    ASSERT_EQ_INT(waitpid(pid, &status, 0), pid);
    s->note->dead++;
    s->note->at[DEAD_SLOT] = (int)dead;
    uint64_t w = atomic_load(&slot_at(dead)->word);
    atomic_store(&slot_at(dead)->word,
                 slot_make((uint32_t)(w >> 32), owner_record(shoal_thread.me), SLOT_DEAD));
    atomic_fetch_add(&view.region->graves, 1);
}

/* It does not repair the rest: others find the dead one as it was. */
static void give_back_right(void *p)
{
    struct state *s = p;
    _Atomic uint64_t *word = &slot_at(s->note->at[DEAD_SLOT])->word;

    atomic_store(word, slot_make((uint32_t)(atomic_load(word) >> 32), 0, SLOT_ALIVE));
}

static void ask(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_barrier_broken(s->barrier));
}

/* Forks a party that takes the cell in which the dead one stood: cells are found by the slot. */
static pid_t fork_in_place(struct state *s)
{
    uint32_t place = (uint32_t)s->note->at[DEAD_SLOT] + CELLS_OF_PAIR;
    bool taken[64] = {false};

    for (uint32_t i = 1; i < place; i++) {
        ASSERT_OK(region_populate(slot_at(i), sizeof(struct slot)));
        taken[i] = slot_status(atomic_load(&slot_at(i)->word)) == SLOT_FREE;
        if (taken[i])
            atomic_fetch_or(&slot_at(i)->word,
                            slot_make(0, owner_record(shoal_thread.me), SLOT_STARTING));
    }
    pid_t pid = fork();
    ASSERT_SYS(pid);
    if (!pid) {
        ASSERT_EQ_INT(process_self.slot, place);
        wait_here(s, OUTCOME);
        exit(0);
    }
    for (uint32_t i = 1; i < place; i++)
        if (taken[i])
            atomic_fetch_and(&slot_at(i)->word, 0xffffffff00000000);
    return pid;
}

static void begin_anew(void *p, int i)
{
    struct state *s = p;
    int status;

    (void)i;
    kill_await_stopped();
    if (!kill_victim_is_stopped())
        return;
    ASSERT_OK(shoal_barrier_broken(s->barrier));
    ASSERT_OK(shoal_barrier_reset(s->barrier));
    while (__atomic_load_n(&s->note->at[ARRIVED], __ATOMIC_SEQ_CST) < 2) /* they need slots too */
        usleep(500);
    pid_t pid = fork_in_place(s);
    while (ASSERT_OK(shoal_barrier_n_waiting(s->barrier)) < 1)
        usleep(500);
    family_set(&s->note->at[TAKEN]);
    ASSERT_EQ_INT(waitpid(pid, &status, 0), pid);
    ASSERT_EQ_INT(status, 0);
}

static void beside_party(void *p, int i)
{
    struct state *s = p;

    (void)i;
    __atomic_add_fetch(&s->note->at[ARRIVED], 1, __ATOMIC_SEQ_CST);
    family_await(&s->note->at[TAKEN]);
}

static void join_party(void *p, int i)
{
    struct state *s = p;

    if (i == 0 && s->note->at[TAKEN])
        ASSERT_EQ_INT(shoal_barrier_wait(s->barrier, SHOAL_FOREVER), 1);
}

static void last_of_party(void *p)
{
    struct state *s = p;

    family_settle();
    if (s->note->at[TAKEN])
        ASSERT_EQ_INT(s->note->at[OUTCOME], 1);
    ASSERT_OK(shoal_barrier_reset(s->barrier));
    family_check(s->note->before);
}

KILL_SCENARIO(barrier_asked_of_a_dead_party, .setup = setup_pair, .prepare = prepare_dead_party,
              .victim = ask, .after = give_back_right, .partner = begin_anew,
              .survivor = join_party, .stopped = beside_party, .final = last_of_party,
              .flags = KILL_EVERY_INSTRUCTION);

/* ---- the victim waits, slowly; meanwhile its phase is broken, the barrier reset, and the next phase trips ---- */

enum { COUNTED = 4, JOINED, RESET };

static void wait_as_victim(void *p)
{
    wait_here(p, OUTCOME);
}

static void trip_next(void *p, int i)
{
    struct state *s = p;

    if (i == 1) { /* lets the victim through where it does not stand before it sleeps */
        kill_await_asleep(1);
        if (kill_victim_is_stopped() || kill_victim_was_killed() ||
            __atomic_load_n(&s->note->at[TAKEN], __ATOMIC_SEQ_CST))
            return;
        __atomic_store_n(&s->note->at[JOINED], 1, __ATOMIC_SEQ_CST);
        ASSERT_OK(shoal_barrier_wait(s->barrier, SHOAL_FOREVER));
        return;
    }
    kill_await_stopped();
    if (!kill_victim_is_stopped())
        return;
    s->note->at[COUNTED] = shoal_barrier_n_waiting(s->barrier);
    ASSERT_OK(shoal_barrier_reset(s->barrier));
    family_set(&s->note->at[RESET]);
    ASSERT_OK(shoal_barrier_wait(s->barrier, SHOAL_FOREVER)); /* with the one beside it */
    family_set(&s->note->at[TAKEN]);
    if (!s->note->at[COUNTED] && !s->note->at[JOINED]) /* it is still to come */
        ASSERT_OK(shoal_barrier_wait(s->barrier, SHOAL_FOREVER));
}

static void beside_next(void *p, int i)
{
    struct state *s = p;

    family_await(&s->note->at[RESET]);
    if (i == 0)
        ASSERT_OK(shoal_barrier_wait(s->barrier, SHOAL_FOREVER));
    family_await(&s->note->at[TAKEN]);
}

static void last_of_next(void *p)
{
    struct state *s = p;

    family_settle();
    if (!kill_victim_was_killed())
        ASSERT_EQ_INT(s->note->at[OUTCOME], s->note->at[COUNTED] ? -1 : 1);
    ASSERT_OK(shoal_barrier_reset(s->barrier));
    family_check(s->note->before);
}

KILL_SCENARIO(barrier_wait_meets_reset, .setup = setup_pair, .prepare = family_prepare,
              .victim = wait_as_victim, .partner = trip_next, .partners = 2, .stopped = beside_next,
              .final = last_of_next);
