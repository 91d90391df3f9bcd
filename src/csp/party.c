/* The table of parties: whose they are, their boxes, and waking them. */
#include "csp/party.h"
#include <limits.h>

static _Thread_local struct {
    owner_t owner;
    uint32_t i;
} mine __attribute__((tls_model("initial-exec")));

static bool is_mine(uint32_t i, owner_t me)
{
    struct party *p = party_at(i);
    owner_t owner = atomic_load(&p->owner);
    if (owner == me)
        return true;
    /* A dead owner's is taken when its process has been repaired, and so its offers taken back: who meets it, or
     * takes it back, goes by its owner, who would now seem to live. */
    if ((owner && !owner_over(owner)) || !atomic_compare_exchange_strong(&p->owner, &owner, me))
        return false;
    /* What its last owner had been given is over. */
    atomic_store(&p->word, word_of(word_sequence(atomic_load(&p->word)) + 1, PRIVATE));
    return true;
}

static int find(owner_t me)
{
    uint32_t first = owner_record(me) % PARTIES;
    for (uint32_t n = 0; n < PARTIES; n++) {
        uint32_t i = (first + n) % PARTIES;
        int rc = region_populate(party_at(i), PARTY);
        if (rc)
            return fail(rc, "no memory for another thread that communicates");
        /* Counted first: who looks for sleepers must find it. */
        uint32_t high = atomic_load(&view.region->parties_high);
        while (i >= high && !atomic_compare_exchange_weak(&view.region->parties_high, &high, i + 1))
            ;
        if (is_mine(i, me)) {
            mine.owner = me;
            mine.i = i;
            return (int)i;
        }
    }
    return fail(-ENOSPC, "%d threads communicate already", PARTIES);
}

int party_mine(void)
{
    owner_t me;
    int rc = self(&me);
    if (unlikely(rc))
        return rc;
    if (likely(mine.owner == me &&
               atomic_load_explicit(&party_at(mine.i)->owner, memory_order_relaxed) == me))
        return (int)mine.i;
    return find(me);
}

/* ---- boxes ---- */

static bool is_copied(const struct box *box)
{
    uint32_t reader = atomic_load_explicit(&box->reader, memory_order_relaxed);
    if (!reader)
        return true;
    struct party *p = party_at(reader - 1);
    return atomic_load(&p->word) != atomic_load_explicit(&box->met, memory_order_relaxed) ||
           owner_dead(atomic_load(&p->owner));
}

unsigned party_box(const struct party *p, unsigned from)
{
    while (from < BOXES && !is_copied(&p->boxes[from]) && !MUTANT(408))
        from++;
    return from;
}

/* ---- waking ---- */

void party_wake(struct party *p, uint64_t was)
{
    if (was & SLEEPING)
        os_futex_wake(party_futex(p), 1);
}

void party_poke(struct party *p)
{
    uint64_t word = atomic_load(&p->word), poked;
    do {
        if (word_state(word) != WAITING)
            return;
        poked = (word & ~(uint64_t)0xffffffffu) | (uint32_t)(word + POKE);
    } while (!atomic_compare_exchange_weak(&p->word, &word, poked));
    party_wake(p, word);
}

void party_poke_at(uint32_t object)
{
    uint32_t high = atomic_load(&view.region->parties_high);
    for (uint32_t i = 0; i < high; i++) {
        struct party *p = party_at(i);
        if (!region_is_populated(p) || !atomic_load(&p->owner) || atomic_load(&p->at) != object)
            continue;
        party_poke(p);
        if (word_state(atomic_load(&p->word)) == MET)
            os_futex_wake(party_futex(p), 1);
    }
}
