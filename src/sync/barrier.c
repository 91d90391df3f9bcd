/* barrier: a word that counts, and a table of who is in it.
 *
 *     state {phase p, count, BROKEN}     arrive   CAS {p, n} -> {p, n + 1}; the caller's number is n
 *                                        trip     CAS {p, all} -> {p + 1, 0}: by the last to arrive, after its action (without one, in the same CAS)
 *                                        break    CAS {p, n} -> {p, n, BROKEN}: by a deadline, a signal, abort, a failed action, or whoever sees a dead party
 *                                        reset    CAS {p, n} or {p, n, BROKEN} -> {p, n, BROKEN, RESETTING}, then -> {p + 1, 0}
 * Trip and break start from the same value, so of each phase exactly one of them happens, and never
 * both.
 *
 * What became of phase p: while the state says p and BROKEN, it broke. Once the state is past p, it
 * tripped, unless the waiter's own cell is marked: a reset marks the cells of all who waited in the
 * broken phase before it moves the state on. So one that wakes late, after any number of further
 * phases, still learns what happened in its own.
 *
 * Between its two steps a reset has broken the phase for those who are in it, but not for those who come: such a
 * one may be of those, woken before the reset is done, and would find broken what is being made as new. It does the
 * rest itself; so does everybody who meets it, in any number: the marks are the same, and one moves the state on.
 *
 * A party claims a cell (CAS 0 -> me), writes the phase into it, then counts itself; it clears the
 * cell when it leaves. Deaths. A dead owner in a cell of the current phase breaks it, if it is not
 * tripped: seen by the repairer, by waiters each time they look, and by the last to arrive before
 * it trips.
 *   After its claim, before it is counted: it breaks the phase too; it was in wait.           Counted, or running the action: breaks.
 *   After the trip, before it woke anybody: the phase is tripped; the repairer wakes
 *       (docs/design.md 3, step 4).
 *   After the break, likewise. While leaving: the phase is past; its cell is cleared.
 *   The repairer: it breaks first and clears the cell then; done twice both are the same. A reset
 *       that died half way: whoever comes next does the rest; the marks are true anyway.
 * Stops. A stopped party keeps its phase from tripping, as it must; one stopped while it leaves
 * keeps a cell and nobody waits for it, as there are more cells than parties.
 */
#include "region/wait.h"
#include "sync/sync.h"
#include <limits.h>

enum { PARTIES_MAX = 4096, SPARE_CELLS = 16 };

/* state: {phase:32, unused:14, resetting:1, broken:1, count:16}. seen: graves dug when somebody last looked for
 * dead parties. */
struct body {
    _Atomic uint64_t state;
    _Atomic uint32_t event;
    _Atomic uint32_t seen;
    uint32_t parties;
};
static_assert(sizeof(struct body) <= BODY, "fits in the header");

#define BROKEN ((uint64_t)1 << 16)
#define RESETTING ((uint64_t)1 << 17) /* with BROKEN only */
#define COUNT_MASK ((uint64_t)0xffff)
#define NEXT_PHASE ((uint64_t)1 << 32)

/* owner: CAS 0 -> me, stored by its owner, CAS dead -> 0. phase: {phase:32, broken:32}, stored by
 * the owner before it is counted; marked by a reset. */
struct cell {
    _Atomic owner_t owner;
    _Atomic uint64_t phase;
};
enum { MARK = 1 };

static struct body *body_of(const struct header *h)
{
    return (struct body *)(uintptr_t)h->body;
}

static uint32_t cells_of(const struct header *h, struct cell **ret)
{
    *ret = header_payload(h);
    return body_of(h)->parties * 2 + SPARE_CELLS;
}

static uint64_t phase_of(uint64_t state)
{
    return state >> 32;
}

int shoal_barrier_create(shoal_barrier **ret, unsigned parties, const shoal_sync_options *options)
{
    struct header *h;
    if (!parties || parties > PARTIES_MAX)
        return fail(-EINVAL, "shoal_barrier_create: %u parties; 1 to %d can be", parties,
                    PARTIES_MAX);
    int rc = sync_create(&h, ret, TYPE_BARRIER, (parties * 2 + SPARE_CELLS) * sizeof(struct cell),
                         options, "shoal_barrier_create");
    if (rc)
        return rc;
    body_of(h)->parties = parties;
    *ret = object_publish(h);
    return 0;
}

/* ---- breaking ---- */

/* Breaks phase p: true if this call did. */
static bool break_phase(struct body *b, uint64_t p)
{
    uint64_t s = atomic_load(&b->state);
    while (phase_of(s) == p && !(s & BROKEN))
        if (atomic_compare_exchange_weak(&b->state, &s, s | BROKEN)) {
            wait_wake(&b->event, INT_MAX);
            return true;
        }
    return false;
}

/* Breaks the phase in which a dead party stands, and clears its cell. */
static void look_for_dead(struct header *h, bool (*gone)(owner_t))
{
    struct cell *cells;
    uint32_t n = cells_of(h, &cells);
    for (uint32_t i = 0; i < n; i++) {
        owner_t owner = atomic_load(&cells[i].owner);
        if (!owner || !gone(owner))
            continue;
        /* Others may have cleared the cell, and a living party may stand in it: the phase was the dead
         * one's if the cell is still its own. */
        uint64_t phase = phase_of(atomic_load(&cells[i].phase));
        if (atomic_load(&cells[i].owner) != owner && !MUTANT(87))
            continue;
        if (!MUTANT(46))
            break_phase(body_of(h), phase);
        atomic_compare_exchange_strong(&cells[i].owner, &owner, 0);
    }
}

static bool is_dead(owner_t owner)
{
    return owner_dead(owner);
}

/* The same, if anybody has died since it was last asked. A death is marked before its grave is
 * dug. */
static void look_for_new_dead(struct header *h)
{
    struct body *b = body_of(h);
    uint32_t graves = atomic_load(&view.region->graves);
    if (likely(atomic_load(&b->seen) == graves))
        return;
    look_for_dead(h, is_dead);
    atomic_store(&b->seen, graves);
}

/* Asks after the lives of all who are in it: whoever is about to trip it may be the first to notice
 * a death. Mere loads where all live. */
static void ask_all(struct header *h)
{
    struct cell *cells;
    uint32_t n = cells_of(h, &cells);
    for (uint32_t i = 0; i < n; i++)
        sync_lives(atomic_load_explicit(&cells[i].owner, memory_order_relaxed));
    look_for_new_dead(h);
}

/* ---- waiting ---- */

/* A free cell, which now says {me, phase}; NULL: all are in use at this moment. */
static struct cell *claim_cell(struct header *h, owner_t me, uint64_t phase)
{
    struct cell *cells;
    uint32_t n = cells_of(h, &cells), start = owner_record(me) % n;
    for (uint32_t k = 0; k < n; k++) {
        struct cell *cell = &cells[(start + k) % n];
        if (!atomic_load_explicit(&cell->owner, memory_order_relaxed) &&
            owner_try(&cell->owner, me)) {
            atomic_store(&cell->phase, phase << 32);
            return cell;
        }
    }
    return NULL;
}

static void leave_cell(struct cell *cell)
{
    atomic_store_explicit(&cell->owner, 0, memory_order_release);
}

/* Until phase p is over: 0, or why not. */
static int wait_past(struct header *h, uint64_t p, int64_t deadline)
{
    struct body *b = body_of(h);
    struct waiter w;
    if (deadline != SHOAL_NOW)
        for (struct spin s = spin_begin(); spin_once(&s);) {
            uint64_t state = atomic_load_explicit(&b->state, memory_order_acquire);
            if (phase_of(state) != p || (state & BROKEN))
                return 0;
        }
    int rc = wait_begin(&w, header_id(h));
    if (rc)
        return rc;
    for (;;) {
        uint32_t seen = wait_announce(&w, &b->event);
        look_for_new_dead(h);
        uint64_t state = atomic_load(&b->state);
        if (phase_of(state) != p || (state & BROKEN))
            break;
        rc = wait_park(&w, &b->event, seen, deadline);
        if (rc)
            break;
    }
    wait_end(&w);
    return rc == -EAGAIN ? in_vain(-ETIMEDOUT) : rc;
}

/* Whether phase p broke; asked by one that had a cell in it, when it is over. */
static bool broke(struct body *b, uint64_t p, const struct cell *mine)
{
    uint64_t s = atomic_load(&b->state);
    if (phase_of(s) == p)
        return s & BROKEN;
    return atomic_load(&mine->phase) & MARK;
}

static int is_broken(const char *call)
{
    return fail(-ECANCELED, "%s: the barrier is broken", call);
}

/* Whether state s says broken to one who comes. */
static bool says_broken(uint64_t s)
{
    return (s & (BROKEN | RESETTING)) == BROKEN;
}

/* The second step of a reset, begun by whomever. */
static void finish_reset(struct header *h, uint64_t s)
{
    struct body *b = body_of(h);
    struct cell *cells;
    uint32_t n = cells_of(h, &cells);
    uint64_t p = phase_of(s);
    for (uint32_t i = 0; i < n && !MUTANT(88); i++) {
        uint64_t unmarked = p << 32;
        atomic_compare_exchange_strong(&cells[i].phase, &unmarked, unmarked | MARK);
    }
    atomic_compare_exchange_strong(&b->state, &s, (p + 1) << 32);
    wait_wake(&b->event, INT_MAX);
}

/* The same, whatever signals are handled meanwhile, as long as `on` says so. */
static int wait_on(struct header *h, uint64_t p, int64_t deadline, bool (*on)(void))
{
    int rc;
    do
        rc = wait_past(h, p, deadline);
    while (rc == -EINTR && on && on());
    return rc;
}

/* Counts the caller in: its number, its phase and cell; -ECANCELED, -ETIMEDOUT, -EINTR. The last
 * one's phase is over at once if there is no action. */
static int arrive(struct header *h, owner_t me, bool action, int64_t deadline, bool (*on)(void),
                  const char *call, uint64_t *phase, struct cell **cell)
{
    struct body *b = body_of(h);
    struct spin patience = spin_begin();
    bool asked = false;
    for (;;) {
        uint64_t s = atomic_load(&b->state), p = phase_of(s);
        if (says_broken(s))
            return is_broken(call);
        if (s & RESETTING) {
            finish_reset(h, s);
            continue;
        }
        if (!asked && (s & COUNT_MASK) + 1 == b->parties) {
            asked = true;
            ask_all(h);
            continue;
        }
        if ((s & COUNT_MASK) == b->parties) { /* the action runs; our turn comes after it */
            int rc = wait_on(h, p, deadline, on);
            if (rc)
                return rc;
            continue;
        }
        struct cell *mine = claim_cell(h, me, p);
        if (!mine) { /* many more threads than parties are passing through */
            if (os_now() >= deadline)
                return in_vain(-ETIMEDOUT);
            look_for_new_dead(h);
            if (!spin_once(&patience))
                os_sleep(100000);
            continue;
        }
        while (phase_of(s) == p && !(s & BROKEN) && (s & COUNT_MASK) < b->parties) {
            bool last = (s & COUNT_MASK) + 1 == b->parties;
            if (last && !asked)
                break;
            uint64_t then = last && !action && !MUTANT(47) ? (p + 1) << 32 : s + 1;
            if (atomic_compare_exchange_weak(&b->state, &s, then)) {
                *phase = p;
                *cell = mine;
                return (int)(s & COUNT_MASK);
            }
        }
        leave_cell(mine);
    }
}

static int wait_action(shoal_barrier *barrier, int (*action)(void *argument), void *argument,
                       int64_t deadline, bool (*on)(void), const char *call)
{
    struct header *h = header_of(barrier, TYPE_BARRIER);
    if (unlikely(!h))
        return bad_handle(barrier, call);
    struct body *b = body_of(h);
    struct cell *mine = NULL;
    owner_t me;
    uint64_t p = 0;
    int rc = self(&me);
    if (!rc)
        rc = check_deadline(deadline);
    if (rc)
        return rc;
    int number = arrive(h, me, action != NULL, deadline, on, call, &p, &mine);
    if (number < 0) /* it was in no phase, so it breaks none */
        return number;
    if ((uint32_t)number + 1 < b->parties) {
        rc = wait_on(h, p, deadline, on);
    } else {
        uint64_t full = p << 32 | b->parties;
        unsigned failures = shoal_thread.failures;
        rc = action ? action(argument) : 0;
        if (rc < 0) {
            fail_callback(rc, call, failures);
        } else {
            rc = 0;
            if (action)
                atomic_compare_exchange_strong(&b->state, &full, (p + 1) << 32);
            wait_wake(&b->event, INT_MAX);
        }
    }
    /* Whoever leaves before the phase is over breaks it, unless it is over by now. */
    if (rc && !break_phase(b, p))
        rc = number + 1 == (int)b->parties ? rc : 0;
    if (!rc && broke(b, p, mine))
        rc = is_broken(call);
    leave_cell(mine);
    return rc ? rc : number;
}

int barrier_meet(shoal_barrier *barrier, int (*action)(void *argument), void *argument,
                 int64_t deadline, bool (*on)(void), const char *call)
{
    return waited(wait_action(barrier, action, argument, deadline, on, call), call, barrier,
                  TYPE_BARRIER, deadline);
}

int shoal_barrier_wait_action(shoal_barrier *barrier, int (*action)(void *argument), void *argument,
                              int64_t deadline)
{
    return barrier_meet(barrier, action, argument, deadline, NULL, "shoal_barrier_wait_action");
}

int shoal_barrier_wait(shoal_barrier *barrier, int64_t deadline)
{
    return barrier_meet(barrier, NULL, NULL, deadline, NULL, "shoal_barrier_wait");
}

/* ---- the rest ---- */

int shoal_barrier_abort(shoal_barrier *barrier)
{
    struct header *h = header_of(barrier, TYPE_BARRIER);
    if (!h)
        return bad_handle(barrier, "shoal_barrier_abort");
    struct body *b = body_of(h);
    uint64_t s = atomic_load(&b->state);
    while (!says_broken(s)) {
        if (s & RESETTING)
            finish_reset(h, s);
        else if (break_phase(b, phase_of(s)))
            break;
        s = atomic_load(&b->state);
    }
    wait_wake(&b->event, INT_MAX); /* also if it was broken: the one who broke it may be dead */
    return 0;
}

int shoal_barrier_reset(shoal_barrier *barrier)
{
    struct header *h = header_of(barrier, TYPE_BARRIER);
    if (!h)
        return bad_handle(barrier, "shoal_barrier_reset");
    struct body *b = body_of(h);
    uint64_t s = atomic_load(&b->state), p = phase_of(s);
    if (!(s & (BROKEN | COUNT_MASK))) /* it is as new */
        return 0;
    while (phase_of(s) == p && !(s & RESETTING))
        if (atomic_compare_exchange_weak(&b->state, &s, s | BROKEN | RESETTING))
            s |= BROKEN | RESETTING;
    if (phase_of(s) == p) /* else it tripped, or somebody else has reset it */
        finish_reset(h, s);
    return 0;
}

int shoal_barrier_broken(const shoal_barrier *barrier)
{
    struct header *h = header_of(barrier, TYPE_BARRIER);
    if (!h)
        return bad_handle(barrier, "shoal_barrier_broken");
    ask_all(h);
    return says_broken(atomic_load(&body_of(h)->state));
}

int shoal_barrier_parties(const shoal_barrier *barrier)
{
    struct header *h = header_of(barrier, TYPE_BARRIER);
    if (!h)
        return bad_handle(barrier, "shoal_barrier_parties");
    return (int)body_of(h)->parties;
}

int shoal_barrier_n_waiting(const shoal_barrier *barrier)
{
    struct header *h = header_of(barrier, TYPE_BARRIER);
    if (!h)
        return bad_handle(barrier, "shoal_barrier_n_waiting");
    ask_all(h);
    uint64_t s = atomic_load(&body_of(h)->state);
    return s & BROKEN ? 0 : (int)(s & COUNT_MASK);
}

SYNC_REFERENCES(barrier, TYPE_BARRIER)

void barrier_describe(struct description *d, const struct header *h)
{
    const struct body *b = body_of(h);
    uint64_t state = atomic_load(&b->state);
    describe_number(d, "parties", b->parties);
    describe_number(d, "waiting", state & COUNT_MASK);
    describe_flag(d, "broken", says_broken(state));
    describe_number(d, "phase", phase_of(state));
}

/* ---- repair ---- */

static void repair(struct header *h)
{
    look_for_dead(h, owner_gone);
}

static _Atomic uint32_t *event_of(struct header *h)
{
    return &body_of(h)->event;
}

const struct type_repair barrier_repair = {.repair = repair, .event = event_of};
