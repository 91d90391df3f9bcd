/* Barriers: a barrier is a channel without messages, and who is enrolled has an end of it. A round is over when all ends that count have
 * arrived in it.
 *
 *     round {number r, changes}     arrive    arrived = r + 1, in the end          then look
 *                                   look      all ends that count have arrived in r? CAS {r, c} -> {r + 1, c}, wake all
 *                                   enrol     the end is named (end.c), then CAS {r, c} -> {r, c + 1}
 *                                   withdraw  arrived = r, then CAS {r, c} -> {r, c + 1}; if r is over it had arrived
 *                                   resign    the end does not count any more (end.c), then look
 *
 * An end that counts and has not arrived keeps its round from being over, so nobody's round moves on under him. What `look` reads is of
 * several moments. Arrivals and resignations are not taken back within a round, but by a withdrawal; that, and an enrolment, change the
 * word before they return, so the swap of one who looked before them fails. Whose withdrawal is not seen has been in that round: the
 * word tells him. Who arrives or resigns does that first (a full fence) and looks then: the last of them sees all others.
 *
 * Deaths. Before it has arrived, or after: its end is destroyed by who repairs, which is a resignation. After the swap, before the
 * wake-up: who repairs wakes all who sleep here (docs/design.md 3, step 4), as the dead held the barrier. In
 * a withdrawal: as before it. A repairer that dies: all of this is done again, as the end's name is struck out last.
 * Stops. Who is stopped and has not arrived keeps the others waiting, as it must; one that has, does not.
 */
#include "csp/channel.h"
#include "region/wait.h"
#include <limits.h>

static uint32_t number_of(uint64_t round)
{
    return (uint32_t)(round >> 32);
}

int shoal_channel_create_barrier(shoal_channel **ret, const char *name)
{
    return channel_create(ret, &(shoal_channel_options){.name = name}, true,
                          "shoal_channel_create_barrier");
}

/* All who are enrolled, and somebody is. */
static bool all_arrived(const struct channel *c, uint32_t number)
{
    uint32_t high = atomic_load(&c->ends[READER]);
    bool any = false;
    for (uint32_t i = 0; i < high; i++) {
        const struct row *row = channel_row(c, i);
        uint64_t name = row ? atomic_load(&row->ends[READER]) : 0;
        if (!end_counts(name))
            continue;
        uint32_t arrived = atomic_load(&end_body(header_at((uint32_t)name - 1))->arrived);
        if (!end_counts(name)) /* what was read was perhaps not its own */
            continue;
        if (arrived != number + 1)
            return false;
        any = true;
    }
    return any;
}

void barrier_look(struct header *h)
{
    struct channel *c = channel_of(h);
    uint64_t round = atomic_load(&c->round);
    while (all_arrived(c, number_of(round)))
        if (atomic_compare_exchange_strong(&c->round, &round, round + (1ull << 32))) {
            wait_wake(&c->memory, INT_MAX);
            return;
        }
}

/* Whoever looked before this looks again: false if that round was over already. */
static bool change(struct channel *c, uint32_t number)
{
    uint64_t round = atomic_load(&c->round);
    while (number_of(round) == number)
        if (atomic_compare_exchange_weak(&c->round, &round,
                                         (round & ~0xffffffffull) | (uint32_t)(round + 1)))
            return true;
    return false;
}

void barrier_enrolled(struct header *h)
{
    struct channel *c = channel_of(h);
    while (!change(c, number_of(atomic_load(&c->round))))
        ;
}

/* Why it cannot be waited for any more: 0, -EPIPE, -ECANCELED. */
static int over(const struct channel *c, const struct end_body *e)
{
    return atomic_load(&c->state) & CHANNEL_POISONED ? -ECANCELED
           : atomic_load(&e->retired)                ? -EPIPE
                                                     : 0;
}

/* Until that round is over: 0, or why not. */
static int wait_past(struct header *h, const struct end_body *e, uint32_t number, int64_t deadline)
{
    struct channel *c = channel_of(h);
    struct waiter w;
    if (deadline <= SHOAL_NOW) {
        int64_t soonest; /* who never sleeps is told of no death */
        while (number_of(atomic_load(&c->round)) == number)
            if (!life_look_all(!os_features()->robust, &soonest))
                return not_now(deadline);
        return 0;
    }
    for (struct spin s = spin_begin(); spin_once(&s);)
        if (number_of(atomic_load_explicit(&c->round, memory_order_acquire)) != number)
            return 0;
    int rc = wait_begin(&w, header_id(h));
    if (rc)
        return rc;
    for (;;) {
        uint32_t seen = wait_announce(&w, &c->memory);
        if (number_of(atomic_load(&c->round)) != number)
            break;
        rc = over(c, e);
        if (!rc)
            rc = wait_park(&w, &c->memory, seen, deadline);
        if (rc)
            break;
    }
    wait_end(&w);
    return rc;
}

static int ended(int rc, const char *call)
{
    return rc == -EPIPE       ? fail(rc, "%s: this end is retired", call)
           : rc == -ECANCELED ? fail(rc, "%s: the barrier is poisoned", call)
                              : rc;
}

int shoal_channel_sync(shoal_channel_end *end, int64_t deadline)
{
    const char *call = "shoal_channel_sync";
    struct header *h = header_of(end, TYPE_CHANNEL_END);
    owner_t me;
    if (!h)
        return bad_handle(end, call);
    struct end_body *e = end_body(h);
    struct header *barrier = header_at(e->channel);
    struct channel *c = channel_of(barrier);
    if (!channel_barrier(barrier))
        return fail(-EBADF, "%s: this is an end of a channel, not of a barrier", call);
    int rc = self(&me);
    if (!rc)
        rc = check_deadline(deadline);
    if (!rc)
        rc = ended(over(c, e), call);
    if (rc)
        return waited(rc, call, end, TYPE_CHANNEL_END, deadline);
    uint32_t number = number_of(atomic_load(&c->round)), arrived = number + 1;
    atomic_exchange(&e->arrived, arrived); /* a full fence */
#if !defined(__x86_64__)
    atomic_thread_fence(memory_order_seq_cst);
#endif
    barrier_look(barrier);
    rc = wait_past(barrier, e, number, deadline);
    if (rc) {
        atomic_compare_exchange_strong(&e->arrived, &arrived, number);
        rc = change(c, number) ? ended(rc, call) : 0;
    }
    return waited(rc, call, end, TYPE_CHANNEL_END, deadline);
}
