/* Reading, writing, and choosing among guards: how two parties meet.
 *
 * Every thread that communicates is a party (party.h) with one word. A read or a write is an alternation with one
 * guard. While the word is PRIVATE nobody but its thread changes it, and the thread may meet another party that is
 * WAITING, by ONE compare-and-swap of the other's word, WAITING -> MET: that is the whole commit. Nothing of its
 * own has to change in the same step, as nobody can meet who is PRIVATE. So there are no descriptors, and nobody helps.
 *
 *     1  PRIVATE: for each guard, in the order asked for: a partner that is WAITING there, oldest first? meet it. Done.
 *     2  offer: a cell in each channel, {me, sequence, guard}; then word = WAITING (a full fence)
 *     3  look at each guard: is there a partner WAITING now? Then CAS own word WAITING -> PRIVATE (fails: I have been
 *        met, done) and back to 1.   No: sleep on the word, until it is not what it was
 *     4  in the end clear the cells; word = {sequence + 1, PRIVATE}
 *
 * One step, seen by both or neither. The message of a writer lies in its box (or is a message object that it
 * holds) before its word is WAITING, and does not change while that sequence lasts. A reader that meets it copies
 * first and then swaps: a swap that succeeds says that the copy was whole. A writer that meets a reader has its
 * message in its box before the swap; the word says whose box. The reader copies when it finds that, and until its word has
 * moved on the box is not used again (it has others; if all are taken the message becomes an object). So nobody waits for a
 * reader that is stopped after it was met. Objects, and messages longer than the reader has said it takes, are only met
 * by readers: their writer offers and pokes those who wait there; who is poked looks again.
 *
 * No two partners sleep beside one another. Of two that could meet, take the last of the moments in which either became
 * WAITING. The one that did looks behind its fence, so it sees the other's cell and word: WAITING (it goes to 1 and meets
 * it, or finds that it has left); or PRIVATE in between, and then that moment was not the last, or that one ends
 * meeting somebody. A thread in 1 that finds nobody has always to pass 2 again before it sleeps. That
 * two leave WAITING for one another at the same time, each fails to meet the other, and both go round, is possible. In each such round the one whose number has a 1 at the
 * round's place stays WAITING for as long as the other needs to look for it; their numbers differ in some place, and there only one of them
 * does. So they part within some rounds, unless one of them is interrupted just there, and then the other has more time still. Who has
 * gone round for long nevertheless sleeps for a moment, WAITING, whatever there seems to be. No guard fires twice or for nobody, as the word leaves WAITING once
 * for each sequence by MET, and a swap expects the sequence that the cell names.
 *
 * Buffers. Nobody meets anybody on a channel with a buffer: each takes from the buffer or puts into it while it is
 * PRIVATE; who has done so pokes those who alternate on the other side. Those have set `alternates` (and a membarrier) before they
 * looked, and who puts looks at that behind its put.
 *
 * Deaths. PRIVATE, before the swap: nothing has happened. After it: the partner is MET; that it may not have been woken does not
 * matter, as whoever repairs wakes all who sleep (rouse), met ones too; the boxes outlive their owners. Offered: the
 * repairer takes the word back to PRIVATE and clears the cells (end.c), before the dead's messages are given up. MET and dead: a writer's message
 * was received, a reader's is gone with it. A repairer that dies: all of this can be done again.
 * Stops. A party that is stopped while PRIVATE is met by nobody and keeps nobody: those who cannot find it wait for others. When it
 * goes on it meets them, or offers. One that is stopped while WAITING can be met; one that is stopped between meeting another and waking
 * it leaves that asleep until whoever else comes there wakes it (wake_met), or the net does. In no step does anybody wait for another's next step.
 *
 * Which cache lines move: the reader's cell (the channel's first row), its word, the writer's box; that is all there and back.
 */
#include "csp/alternation.h"
#include "region/wait.h"

enum {
    NUMBER_BITS = 14,
    GIVE_WAY = 32, /* pauses, and some for each guard: longer than the other's next round */
    PATIENCE = 8 * NUMBER_BITS, /* rounds */
    SLICE = 1000000
};
static_assert(PARTIES <= 1 << NUMBER_BITS, "two numbers differ in one of so many places");

/* ---- offering ---- */

static int enrol_one(struct choice *a, struct offer *o, unsigned guard)
{
    uint64_t offered = offer_make(a->sequence, a->number, guard);
    for (uint32_t i = 0;; i++) {
        int rc;
        uint64_t none = 0;
        struct row *row = channel_make_row(o->c, i, &rc);
        if (!row)
            return fail(rc == -ENOSPC ? rc : -ENOMEM,
                        "%s: no room for another one that waits there", a->call);
        struct cell *cell = &row->cells[o->side];
        channel_grow(&o->c->cells[o->side], i + 1);
        if (atomic_load_explicit(&cell->offer, memory_order_relaxed) ||
            !atomic_compare_exchange_strong(&cell->offer, &none, offered))
            continue;
        uint64_t what = o->capacity;
        if (o->side == WRITER && o->letter.object) {
            struct handle *m = handle_of(o->letter.object);
            /* others may hold it as soon as it can be seen */
            atomic_store_explicit(&m->shared, !MUTANT(409), memory_order_relaxed);
            what = (uint64_t)m->generation << 32 | WHAT_OBJECT | header_id(m->header);
        } else if (o->side == WRITER) {
            what = o->box;
        }
        atomic_store_explicit(&cell->stamp, os_stamp(view.region->stamps), memory_order_relaxed);
        atomic_store_explicit(&cell->what, what, memory_order_release);
        o->cell = cell;
        o->offered = offered;
        return 0;
    }
}

static int enrol(struct choice *a)
{
    a->enrolled = true;
    for (unsigned i = 0; i < a->n; i++) {
        struct offer *o = &a->offers[i];
        int rc = o->channel ? enrol_one(a, o, i) : 0;
        if (rc)
            return rc;
    }
    return 0;
}

static void withdraw(struct choice *a)
{
    if (!a->enrolled)
        return;
    for (unsigned i = 0; i < a->n; i++) {
        struct offer *o = &a->offers[i];
        uint64_t offered = o->offered;
        if (o->cell && !MUTANT(405))
            atomic_compare_exchange_strong(&o->cell->offer, &offered, 0);
    }
    /* From here on the box from which it has copied is free. */
    atomic_store_explicit(&a->me->word, word_of(a->sequence + 1, PRIVATE), memory_order_release);
}

/* Back from WAITING: 0; 1: it has been met; -EPIPE: taken back, as the process is leaving in another thread. */
static int leave(const struct choice *a)
{
    uint64_t word = atomic_load(&a->me->word);
    while (word_state(word) == WAITING)
        if (atomic_compare_exchange_weak(&a->me->word, &word, word_of(a->sequence, PRIVATE)))
            return 0;
    return word_state(word) == MET ? 1 : -EPIPE;
}

/* Those who put into a buffer or take from it must see that somebody is to be told. */
static void announce(struct choice *a)
{
    bool all = true;
    for (unsigned i = 0; i < a->n; i++)
        if (a->offers[i].buffered)
            all &= atomic_load(&a->offers[i].c->alternates[a->offers[i].side]) == 2;
    if (all)
        return;
    for (unsigned i = 0; i < a->n; i++)
        if (a->offers[i].buffered)
            channel_grow(&a->offers[i].c->alternates[a->offers[i].side], 1);
    a->barrier = process_self.keep.asymmetric && !os_membarrier();
    for (unsigned i = 0; i < a->n && !a->barrier; i++)
        if (a->offers[i].buffered)
            channel_grow(&a->offers[i].c->alternates[a->offers[i].side], 2);
}

/* Something seems to be ready, again and again, and is not: room in a buffer where memory lacks, or a put by one that is
 * stopped, or another who goes round just as fast. It sleeps for a moment then, where it can be met and minds its deadline. */
static bool in_vain_for_long(const struct choice *a)
{
    return a->rounds >= PATIENCE && !MUTANT(412);
}

static int sleep_on(struct choice *a)
{
    struct waiter w;
    uint32_t id = WAIT_GUARD;
    for (unsigned i = a->n; i-- > 0;)
        if (a->offers[i].channel)
            id = header_id(a->offers[i].end);
    int rc = wait_begin(&w, id);
    if (rc)
        return rc;
    bool slept = false;
    w.slices |= a->barrier;
    atomic_store(&a->me->at, id);
    for (;;) {
        uint64_t word = atomic_load(&a->me->word);
        if (word_state(word) != WAITING)
            break;
        if (!(word & SLEEPING) &&
            !atomic_compare_exchange_strong(&a->me->word, &word, word | SLEEPING))
            continue;
        if (!MUTANT(406) && choice_look(a) && (slept || !in_vain_for_long(a)))
            break;
        choice_wake_met(a);
        int64_t until = sooner(a->deadline, a->until);
        if (in_vain_for_long(a))
            until = sooner(until, os_now() + SLICE);
        rc = wait_park(&w, party_futex(a->me), (uint32_t)word | SLEEPING, until);
        if (rc)
            break;
        slept = true;
    }
    wait_end(&w);
    return rc;
}

/* Two that have offered at the same time, and leave WAITING for one another: the one whose number has a 1 at the round's place lets the other come first. */
static void give_way(struct choice *a)
{
    unsigned place = a->rounds++ % NUMBER_BITS;
    if (!(a->number >> place & 1))
        return;
    for (unsigned i = 0; i < GIVE_WAY + 4 * a->n; i++) {
        os_pause();
        if (word_state(atomic_load_explicit(&a->me->word, memory_order_relaxed)) == MET)
            return;
    }
}

/* Offers, and waits: 1: it has been met; 0: PRIVATE again, as something seems to be ready; -ETIMEDOUT … */
static int await(struct choice *a)
{
    uint64_t word = word_of(a->sequence, WAITING);
    announce(a);
    if (MUTANT(406) && choice_look(a))
        return 0;
    atomic_exchange(&a->me->word, word);
    bool ready = !MUTANT(406) && choice_look(a);
    if (ready)
        give_way(a);
    if (ready && in_vain_for_long(a))
        ready = false;
    for (struct spin s = spin_begin(); !ready && !in_vain_for_long(a) && spin_once(&s);) {
        uint64_t now = atomic_load_explicit(&a->me->word, memory_order_acquire);
        if (now == word)
            continue;
        if (word_state(now) == MET)
            break;
        word = now; /* poked */
        ready = choice_look(a);
    }
    int rc = 0;
    if (!ready && word_state(atomic_load(&a->me->word)) == WAITING)
        rc = sleep_on(a);
    int left = leave(a);
    return left ? left : rc;
}

int choice_run(struct choice *a)
{
    int rc, waited_for = 0;
    for (;;) {
        rc = choice_attempt(a);
        if (rc != -EAGAIN)
            break;
        if (a->deadline <= SHOAL_NOW) {
            int64_t soonest;
            rc = not_now(a->deadline);
            if (rc == -EAGAIN && self_known() && life_look_all(!os_features()->robust, &soonest))
                continue; /* somebody had died */
            break;
        }
        if (waited_for < 0 && !(waited_for == -ETIMEDOUT && os_now() < a->deadline)) {
            rc = in_vain(waited_for);
            break;
        }
        rc = a->enrolled ? 0 : enrol(a);
        if (rc)
            break;
        waited_for = await(a);
        if (waited_for == 1) {
            rc = choice_take_in(a);
            break;
        }
        if (waited_for < 0 && waited_for != -ETIMEDOUT) {
            rc = waited_for;
            break;
        }
    }
    withdraw(a);
    return rc;
}
