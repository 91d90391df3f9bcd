/* Stores: memory under a lock, changed by operations that happen wholly or not at all, and read without
 * the lock.
 *
 * An *arena* is an image of everything that a store holds: all in it is named by its place, so that it may
 * lie anywhere. Which arena a store has is said by its state word: none (or one in the object's payload), or
 * one of two runs of units. A change (change.c) is one of these, each with a single store that is its COMMIT:
 *
 *     poke      the only word that changes is stored  == COMMIT; state: version + 1
 *     journal   new blocks are filled in free memory; the words that change, and their values, are listed
 *               below the arena's limit, in free memory too; state: COMMITTED, count  == COMMIT;
 *               the words are stored (apply); state: IDLE, version + 1
 *     replace   a whole new arena is made beside; state: COMMITTED, next  == COMMIT; state: IDLE; the
 *               old one is given back. So arenas grow and shrink, and so are changes made that touch all
 *     several   (stores of one container, all locked) each store has a journal or an arena of its own, state:
 *               PREPARED, turn; then the container's decision = turn  == COMMIT, and each is applied
 *
 * *Deaths.* The lock is an owner word; whoever takes it from a dead owner looks at the state. COMMITTED, or
 * PREPARED and decided: applies from the beginning, as all values are absolute. Anything else: the
 * change was never, and what it had filled is free memory. Both may be done again by the next one. Who repairs
 * the dead does it too (store_tend), since objects that he was about to put in must not be held. A turn
 * is used again only by who holds all locks, and so has met all PREPARED of the one before.
 * A poke changes a word in one store, so whoever dies behind it has only left the version behind, and
 * who takes over counts it.
 *
 * *Readers* take no lock. They note the state, look, and look at the state again: had it changed, all was in
 * vain. What they read may be anything by then, so every place is checked to lie in the arena, and what they
 * copied is not believed before. If the state says COMMITTED they read the words of the journal in place of
 * those in the arena; journals do not change until the state does. So who is stopped in the middle keeps no
 * reader from reading, nor does one who died and was not succeeded yet. Between two changes of the state at
 * most one word that can be reached changes, that of a poke: so they see what was before it or behind it.
 * Free memory cannot be reached in the state that is read; and what is written there after the next change of
 * the state comes behind a fence, so whoever sees it sees that, too.
 * A run that is given back while somebody reads there reads as zeroes, or as what others put there: the
 * state has changed before. (So unlike lanes nobody has to be asked whether he reads: nothing is taken there.)
 *
 * *Blocks* lie in an arena behind one another (bump), or in the place of one that was freed: lists of these by
 * size, whose heads are words of the change as all others. The first word of a free block leads to the
 * next one, and must while the change is not committed: so it is a word of the journal, too.
 *
 * *Messages* that lie in a container say so themselves (message.h), as in a heap; that is what counts for
 * their lifetime. A change lists those that it puts in, before they say that they are there, and those
 * that it takes out: who forgets a change lets go of the former, who applies it of the latter. Each is held
 * by somebody at every moment: what is put in by its process until after the commit, what is taken out by the
 * container until then.
 */
#include "manager/store_inner.h"
#include "region/life.h"

bool store_decided(const struct site *p, const struct store *s, uint64_t state)
{
    switch (state_phase(state)) {
    case PHASE_COMMITTED: return true;
    case PHASE_PREPARED: return atomic_load(&p->head->decision) >> 1 >= atomic_load(&s->turn);
    default: return false;
    }
}

/* ---- reading ---- */

void store_read_slow(const struct site *p, struct store *s, struct reading *r)
{
    enum { PATIENCE = 64 };
    *r = (struct reading){.site = p, .store = s};
    for (unsigned i = 0;; i++) {
        r->state = atomic_load_explicit(&s->state, memory_order_acquire);
        unsigned now = now_of(r->state), next = next_of(r->state);
        r->decided = unlikely(state_phase(r->state)) && store_decided(p, s, r->state);
        if (unlikely(r->decided) && now == next && i < PATIENCE) {
            os_pause(); /* it is applied at once, but by who is stopped */
            continue;
        }
        r->base = arena_at(p, s, r->decided ? next : now, &r->capacity);
        if (likely(!r->decided) || now != next || !r->base)
            return;
        uint64_t limit = atomic_load_explicit(&arena_of((unsigned char *)(uintptr_t)r->base)->limit,
                                              memory_order_relaxed);
        uint64_t count = count_of(r->state);
        if (limit > r->capacity || limit % GRAIN || count * sizeof(struct entry) > limit)
            count = 0; /* the state has changed */
        r->journal = (const struct entry *)(const void *)(r->base + limit);
        r->count = (uint32_t)count;
        return;
    }
}

uint64_t store_journal(const struct reading *r, uint64_t at)
{
    for (uint32_t i = 0; i < r->count; i++) {
        const struct entry *e = r->journal - (i + 1);
        if (atomic_load_explicit(&e->where, memory_order_relaxed) == at && !MUTANT(300))
            return atomic_load_explicit(&e->value, memory_order_relaxed);
    }
    return atomic_load_explicit((const word_t *)(const void *)(r->base + at), memory_order_acquire);
}

/* ---- messages ---- */

struct message *store_message(const struct site *p, uint64_t word)
{
    uint32_t id = word_message_id(word);
    if (!word_is_message(word) || id >= atomic_load(&view.region->groups_high) * GROUP)
        return NULL;
    struct header *h = header_at(id);
    uint64_t s = atomic_load(&h->state);
    struct message *m = message_body(h);
    bool there = state_status(s) == OBJECT_LIVE &&
                 state_generation(s) == word_message_generation(word) && h->type == TYPE_MESSAGE &&
                 atomic_load(&m->queue) == p->id + 1 &&
                 atomic_load(&m->generation) == p->generation;
    return there ? m : NULL;
}

/* It lies there no more. It may have been told before, and be gone. `slot`: of the dead process in whose
 * name that is; 0: in the caller's own. */
static void let_go(const struct site *p, uint64_t word, uint32_t slot)
{
    void *message;
    if (slot) {
        struct message *m = store_message(p, word);
        if (m)
            atomic_store(&m->queue, 0);
        /* Also where it was told before, by one who died behind that. */
        object_drop(word_message_id(word), word_message_generation(word), slot);
        return;
    }
    if (message_open(&message, word_message_id(word), word_message_generation(word)))
        return;
    struct message *m = store_message(p, word);
    if (m)
        atomic_store(&m->queue, 0);
    object_close(message, TYPE_MESSAGE);
}

/* Of the entries of a journal, or notes, those of one kind. */
static void let_go_all(const struct site *p, const unsigned char *base, uint64_t limit,
                       uint32_t count, unsigned kind, uint32_t slot)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct entry *e = entry_at(base, limit, i);
        if (atomic_load(&e->where) >> WHERE_BITS == kind)
            let_go(p, atomic_load(&e->value), slot);
    }
}

/* ---- ends of a change: each may be done again from the beginning ---- */

/* A run that is not used, or what cannot be given back beside one who is stopped with the units' guard,
 * which stays. */
void store_free_others(struct store *s)
{
    unsigned now = now_of(state_load(s));
    for (unsigned i = 0; i < 2; i++)
        if (now != i + 1 && atomic_load(&s->runs[i].payload) && !MUTANT(301))
            unit_try_free(&s->runs[i].payload, atomic_load(&s->runs[i].units));
}

/* The words of a journal. */
static void apply(unsigned char *base, uint64_t limit, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct entry *e = entry_at(base, limit, i);
        uint64_t where = atomic_load_explicit(&e->where, memory_order_relaxed);
        if (!(where >> WHERE_BITS))
            atomic_store_explicit(word_at(base, where),
                                  atomic_load_explicit(&e->value, memory_order_relaxed),
                                  memory_order_relaxed);
    }
}

static void finish(const struct site *p, struct store *s, uint32_t slot)
{
    uint64_t state = state_load(s), capacity;
    unsigned now = now_of(state), next = next_of(state);
    uint32_t count = count_of(state);
    unsigned char *base = arena_at(p, s, next, &capacity);
    uint64_t limit = limit_of(base);
    bool notes = count && atomic_load_explicit(&s->filled, memory_order_relaxed);
    apply(base, limit, count);
    if (notes && !MUTANT(302))
        let_go_all(p, base, limit, count, ENTRY_OUT, slot);
    /* Before the state: whoever finds IDLE takes notes for those of a change that was not committed. */
    if (notes && !MUTANT(307))
        atomic_store(&s->filled, 0);
    state_store(s, 0, PHASE_IDLE, next, next);
    if (notes && MUTANT(307))
        atomic_store(&s->filled, 0);
    if (unlikely(now != next))
        store_free_others(s);
}

void store_finish(const struct site *p, struct store *s)
{
    finish(p, s, 0);
}

/* Whoever died under the lock is succeeded. */
static void recover(const struct site *p, struct store *s, uint32_t slot)
{
    uint64_t state = state_load(s), capacity;
    unsigned now = now_of(state);
    s->inside = 0;
    if (store_decided(p, s, state) && !MUTANT(303)) {
        finish(p, s, slot);
        store_free_others(s);
        return;
    }
    uint64_t filled = atomic_load(&s->filled);
    if (filled && !MUTANT(304)) {
        /* what was made beside is found where a run is not used */
        unsigned where = !(filled >> 32)                 ? now
                         : (uint32_t)(filled >> 32) == 3 ? 0
                                                         : (uint32_t)(filled >> 32);
        unsigned char *base = arena_at(p, s, where, &capacity);
        let_go_all(p, base, limit_of(base), (uint32_t)filled, ENTRY_IN, slot);
    }
    state_store(s, 0, PHASE_IDLE, now, now);
    if (filled)
        atomic_store(&s->filled, 0);
    store_free_others(s);
}

/* ---- the lock ---- */

static bool acquired(const struct site *p, owner_t me)
{
    return unlikely(atomic_load_explicit(&p->head->holder, memory_order_relaxed) == me);
}

__attribute__((noinline)) static int lock_slow(const struct site *p, struct store *s,
                                               int64_t deadline)
{
    owner_t me, dead;
    int rc = self(&me);
    if (rc)
        return rc;
    if (atomic_load(&s->owner) == me) {
        if (!acquired(p, me) || (s->inside && !MUTANT(312)))
            return fail(-EDEADLK, "%s: a signal handler interrupted a call for this very object",
                        p->call);
        s->inside = 1;
        atomic_thread_fence(memory_order_release); /* as in store_lock */
        return 0;
    }
    do
        rc = owner_acquire_slow(&s->owner, &s->event, p->id, me, deadline, &dead);
    while (rc == -EINTR && !p->interruptible);
    if (rc < 0)
        return rc;
    atomic_thread_fence(memory_order_release);
    if (rc == SHOAL_OWNER_DIED) {
        recover(p, s, 0);
        /* The next journal lies where that one was, in which somebody may be reading still. */
        atomic_thread_fence(memory_order_release);
    }
    return 0;
}

int store_lock(const struct site *p, struct store *s, int64_t deadline)
{
    owner_t me = self_known();
    if (unlikely(!me) || unlikely(!owner_try(&s->owner, me)))
        return lock_slow(p, s, deadline);
    /* What is written from now on is not seen before the last change of the state. */
    atomic_thread_fence(memory_order_release);
    return 0;
}

void store_unlock(const struct site *p, struct store *s)
{
    s->inside = 0;
    if (!acquired(p, shoal_thread.me))
        owner_release(&s->owner, &s->event);
}

int store_lock_all(const struct site *p, int64_t deadline)
{
    for (unsigned i = 0; i < p->count; i++) {
        int rc = store_lock(p, &p->stores[i], deadline);
        if (rc) {
            while (i-- > 0)
                store_unlock(p, &p->stores[i]);
            return rc;
        }
    }
    return 0;
}

void store_unlock_all(const struct site *p)
{
    for (unsigned i = p->count; i-- > 0;)
        store_unlock(p, &p->stores[i]);
}

void store_tend(const struct site *p, uint32_t slot)
{
    for (unsigned i = 0; i < p->count; i++) {
        struct store *s = &p->stores[i];
        owner_t owner = atomic_load(&s->owner);
        if (!owner || !owner_gone(owner) || MUTANT(311) ||
            !atomic_compare_exchange_strong(&s->owner, &owner, shoal_thread.me))
            continue;
        atomic_thread_fence(memory_order_release);
        recover(p, s, slot);
        owner_release(&s->owner, &s->event);
    }
}

/* ---- for the types ---- */

struct ending {
    const struct site *site;
    uint32_t slot;
};

static void drop(uint64_t word, void *argument)
{
    const struct ending *e = argument;
    if (store_message(e->site, word))
        object_drop(word_message_id(word), word_message_generation(word), e->slot);
}

static void drop_entries(const unsigned char *base, uint64_t limit, uint64_t count, uint64_t most,
                         struct ending *e)
{
    for (uint32_t i = 0; base && i < count && (i + 1ull) * sizeof(struct entry) <= most; i++)
        drop(atomic_load(&entry_at(base, limit, i)->value), e);
}

/* All that is named in either of the arenas, or in what a dead one had under way. Done again, it finds
 * less. */
void store_destroy(const struct site *p, uint32_t slot,
                   void (*each)(const struct reading *r, visit_word *visit, void *argument))
{
    struct ending e = {p, slot};
    for (unsigned i = 0; i < p->count; i++) {
        struct store *s = &p->stores[i];
        uint64_t state = state_load(s), filled = (uint32_t)atomic_load(&s->filled);
        uint64_t count = count_of(state) > filled ? count_of(state) : filled;
        for (unsigned which = 0; which < 3; which++) {
            struct reading r = {.site = p, .store = s, .state = state};
            r.base = arena_at(p, s, which, &r.capacity);
            if (!r.base || (which != now_of(state) && which != next_of(state) && !filled))
                continue;
            unsigned char *base = (unsigned char *)(uintptr_t)r.base;
            uint64_t limit = limit_of(base);
            if (limit <= r.capacity && limit % GRAIN == 0) {
                /* Half of a change leads nowhere. */
                if (which == next_of(state) && store_decided(p, s, state) &&
                    count_of(state) * sizeof(struct entry) <= limit)
                    apply(base, limit, count_of(state));
                drop_entries(base, limit, count, limit, &e);
            }
            if (which == now_of(state) || which == next_of(state))
                each(&r, drop, &e);
        }
        for (unsigned k = 0; k < 2; k++)
            if (atomic_load(&s->runs[k].payload))
                unit_free(&s->runs[k].payload, atomic_load(&s->runs[k].units));
    }
}

void store_runs(struct store *stores, unsigned count,
                void (*visit)(uint32_t payload, uint32_t units, void *argument), void *argument)
{
    for (unsigned i = 0; i < count; i++)
        for (unsigned k = 0; k < 2; k++) {
            uint32_t payload = atomic_load(&stores[i].runs[k].payload);
            if (payload)
                visit(payload, atomic_load(&stores[i].runs[k].units), argument);
        }
}

uint64_t store_bytes(const struct store *stores, unsigned count)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < count; i++)
        for (unsigned k = 0; k < 2; k++)
            if (atomic_load(&stores[i].runs[k].payload))
                sum += (uint64_t)atomic_load(&stores[i].runs[k].units) * UNIT;
    return sum;
}
