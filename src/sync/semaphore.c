/* semaphore: plain permits, which are signals, and owned permits, which come back when their owner
 * dies.
 *
 * Plain permits are the low bits of one word, changed by one compare-and-swap; whoever waits sleeps
 * on the eventcount (docs/design.md 4), one wake-up for each permit, and one who leaves the wait
 * while there are permits wakes the next (the baton).
 *
 * The pocket. A semaphore without bound and owned permits keeps one of its permits in a second
 * word, so that acquire + release by one thread need one locked instruction:
 *
 *     pocket = FULL | who may fill it     acquire: CAS FULL -> me, else the word         release: pocket == me: plain store of FULL, then a look at the sleepers bit; else the word
 *
 * The permits are those of the word and that of the pocket; none moves from one to the other. Only
 * the thread that the pocket names turns it FULL, and only FULL becomes something else, so its
 * plain store takes nothing back: as in docs/design.md 4a, whose barrier the sleepers use. That the
 * name is a dead or idle thread's costs only speed. A signal handler that interrupts its own thread
 * between looking and storing would fill it twice: `filling` sends it to the word. It holds at most
 * one of MAX permits, the word the others: never more. Both looks and the store are steps of their
 * own, so SHOAL_NOW may be in vain while others give to the one word and take from the other; and a
 * word with MAX - 1 permits refuses one more though the pocket may be empty. Who waits misses
 * nothing: it announces itself before it looks at either, and whoever gives to either looks for the
 * announcement afterwards.
 *
 * Owned permits. A cell has an owner word and a count: an odd count says that the owner has a
 * permit. The value and the cell must change together, so the word also names the one change that
 * is under way:
 *
 *     word {sequence, cell, NONE | TAKE | RETURN, value}
 *     take:    owner of a free cell: CAS 0 -> me             it is mine, its count is even
 *              word: CAS {s, 0, NONE, v} -> {s + 1, cell, TAKE, v - 1}     == the take
 *              help
 *     return:  word: CAS {s, 0, NONE, v} -> {s + 1, cell, RETURN, v + 1}   == the return; the cell's count is odd
 *              help;  owner = 0;  wake one
 *     help:    c = count;  word still names this change? no: done
 *              c has not changed yet (even for TAKE, odd for RETURN): CAS count c -> c + 1
 *              word: CAS {s, cell, TAKE or RETURN, v} -> {s, 0, NONE, v}
 *
 * Everybody who needs the word as NONE helps first, so nobody waits for anybody. Plain takes and
 * releases only change the value and leave the rest as it is.
 *
 * Why it is right.
 * - While the word says NONE no count changes: a count changes only by the CAS of a helper that
 *   read the count first and then saw the change still named. If its CAS succeeds the change had
 *   not been made, and while it is not made nobody un-names it. A late one fails, as counts only
 *   grow (63 bits).
 * - So whoever reads the word (NONE), then owner and count of a cell, and then succeeds with a CAS
 *   of the whole word, knows that they were still so: `sequence` tells two words apart that differ
 *   in nothing else. It has the bits that value and cell leave, 18 at least and mostly over 40: a
 *   caller that is stopped between two instructions would have to sleep through exactly a multiple
 *   of 2^18 owned operations to be mistaken.
 * - owner == 0 means: even count, not named by the word. Only the owner writes 0, after the return
 *   was made and un-named, or when it gave up before its take; or who found it dead, and after
 *   having seen it dead found the word NONE and the count even: a dead one starts no take.
 *
 * Killed or stopped anywhere:  before the word's CAS: an even cell, which is free for all once its
 * owner is dead. A stopped one keeps a cell busy without having a permit: there are SPARE cells
 * more than owned permits for those. After the word's CAS: the permit is the owner's, and anybody
 * makes and un-names the change. The owner dies: repair, and everybody who is about to wait,
 * returns what its cells have by the same CAS, so exactly one of them succeeds. A repairer that
 * dies leaves a change that anybody finishes, or an even cell. The wake-ups of the dead are made up
 * for by its repairer (docs/design.md 3, step 4). A signal handler that interrupts its own thread
 * here takes cells of its own, and returns only what is odd: to the interrupted one it looks like
 * another thread.
 */
#include "region/wait.h"
#include "sync/sync.h"

/* word, pocket: above; event: see region/wait.h; bound: of the word's value, constant. Without a
 * pocket that word is 0. */
struct body {
    _Atomic uint64_t word;
    _Atomic owner_t pocket;
    _Atomic uint32_t event;
    uint32_t bound;
};
static_assert(sizeof(struct body) <= BODY, "fits in the header");

/* owner: CAS by who claims it, 0 stored by the owner, or by CAS by who found it dead; count: CAS by
 * helpers. */
struct cell {
    _Atomic owner_t owner;
    _Atomic uint64_t count;
};
struct cells {
    _Atomic uint32_t high; /* cells below it may be in use; only grows */
    /* 1: a spare cell was used, so the number of cells no longer limits the owned permits */
    _Atomic uint32_t spilled;
    uint64_t reserved;
    struct cell cell[];
};

enum { OWNED_MOST = 4096, SPARE = 64 };
enum change { NONE, TAKE, RETURN };
#define FULL ((owner_t)1) /* no owner has low bits */

static struct body *body_of(const struct header *h)
{
    return (struct body *)(uintptr_t)h->body;
}

static struct cells *cells_of(const struct header *h)
{
    return header_payload(h);
}

/* How many owned permits there may be. */
static uint32_t owned_of(const struct header *h)
{
    return h->size ? (uint32_t)((h->size - sizeof(struct cells)) / sizeof(struct cell)) - SPARE : 0;
}

/* ---- the word ---- */

static inline unsigned bits(uint32_t n) /* of 1 or more */
{
    return 32 - (unsigned)__builtin_clz(n);
}

static inline uint32_t value_of(const struct body *b, uint64_t word)
{
    return (uint32_t)(word & ((1ull << bits(b->bound)) - 1));
}

static enum change change_of(const struct body *b, uint64_t word)
{
    return (enum change)(word >> bits(b->bound) & 3);
}

static unsigned cell_bits(const struct header *h)
{
    return bits(owned_of(h) + SPARE);
}

static uint32_t cell_of(const struct header *h, uint64_t word)
{
    return (uint32_t)(word >> (bits(body_of(h)->bound) + 2)) & ((1u << cell_bits(h)) - 1);
}

/* The word with a change of `cell` named, and its value changed; `word` names none. */
static uint64_t with_change(const struct header *h, uint64_t word, enum change change,
                            uint32_t cell)
{
    const struct body *b = body_of(h);
    unsigned at = bits(b->bound), shift = at + 2 + cell_bits(h);
    uint32_t value = value_of(b, word);
    if (change == TAKE)
        value--;
    else if (value < b->bound) /* plain releases may have filled it up meanwhile */
        value++;
    return ((word >> shift) + 1) << shift | (uint64_t)cell << (at + 2) | (uint64_t)change << at |
           value;
}

/* Whether two words name the same change, whatever their values. */
static bool same_change(const struct body *b, uint64_t one, uint64_t other)
{
    return !((one ^ other) >> bits(b->bound));
}

/* Makes and un-names the change that `word` names, unless that has been done. */
static void help(const struct header *h, uint64_t word)
{
    struct body *b = body_of(h);
    uint32_t k = cell_of(h, word);
    struct cell *cell = &cells_of(h)->cell[k];
    uint64_t named = ((uint64_t)k << 2 | 3) << bits(b->bound);
    uint64_t count = atomic_load(&cell->count), now = atomic_load(&b->word);
    if (!same_change(b, now, word))
        return;
    if (MUTANT(40) || (count & 1) == (change_of(b, word) == RETURN))
        atomic_compare_exchange_strong(&cell->count, &count, count + 1);
    while (same_change(b, now, word))
        if (atomic_compare_exchange_weak(&b->word, &now, now & ~named))
            return;
}

/* The word, naming no change. */
static uint64_t settled(const struct header *h)
{
    struct body *b = body_of(h);
    for (;;) {
        uint64_t word = atomic_load(&b->word);
        if (!h->size || change_of(b, word) == NONE)
            return word;
        if (MUTANT(38))
            return word & ~(3ull << bits(b->bound));
        help(h, word);
    }
}

/* ---- cells ---- */

/* Returns the permit that the gone owner of a cell may have, and frees the cell. */
static void free_cell_of_gone(const struct header *h, uint32_t k, owner_t gone)
{
    struct body *b = body_of(h);
    struct cell *cell = &cells_of(h)->cell[k];
    for (;;) {
        uint64_t word = settled(h);
        if (atomic_load(&cell->owner) != gone)
            return;
        if (!(atomic_load(&cell->count) & 1))
            break;
        uint64_t next = with_change(h, word, RETURN, k);
        if (atomic_compare_exchange_strong(&b->word, &word, next)) {
            help(h, next);
            wait_wake(&b->event, 1);
        }
    }
    atomic_compare_exchange_strong(&cell->owner, &gone, 0);
}

/* Frees the cells of all who are known to be gone; `ask`: looks at the lives of the others. */
static void collect(const struct header *h, bool ask)
{
    if (!h->size)
        return;
    struct cells *cells = cells_of(h);
    uint32_t high = atomic_load(&cells->high);
    for (uint32_t k = 0; k < high; k++) {
        owner_t owner = atomic_load(&cells->cell[k].owner);
        if (owner && ask)
            life_ask(owner);
        if (owner && owner_gone(owner))
            free_cell_of_gone(h, k, owner);
    }
}

static bool claim(const struct header *h, uint32_t k, owner_t me)
{
    struct cells *cells = cells_of(h);
    owner_t owner = atomic_load_explicit(&cells->cell[k].owner, memory_order_relaxed);
    if (owner && owner_dead(owner)) {
        free_cell_of_gone(h, k, owner);
        owner = atomic_load(&cells->cell[k].owner);
    }
    if (owner)
        return false;
    uint32_t high = atomic_load(&cells->high);
    while (high <= k && !atomic_compare_exchange_weak(&cells->high, &high, k + 1))
        ;
    return atomic_compare_exchange_strong(&cells->cell[k].owner, &owner, me);
}

/* Claims a cell, beginning with the one that this thread is likely to have had last: its number, or
 * -1. */
static int claim_any(const struct header *h, owner_t me)
{
    uint32_t n = owned_of(h);
    assert(n); /* only semaphores with owned permits come here */
    uint32_t first = owner_record(me) % n;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = first + i < n ? first + i : first + i - n;
        if (claim(h, k, me))
            return (int)k;
    }
    for (uint32_t k = n; k < n + SPARE; k++) {
        if (!atomic_load(&cells_of(h)->spilled))
            atomic_store(&cells_of(h)->spilled, 1); /* before the take that it concerns */
        if (claim(h, k, me))
            return (int)k;
    }
    return -1;
}

/* How many permits are owned; true for as long as the word does not change. */
static uint32_t count_owned(const struct header *h)
{
    struct cells *cells = cells_of(h);
    uint32_t high = atomic_load(&cells->high), n = 0;
    for (uint32_t k = 0; k < high; k++)
        n += (uint32_t)atomic_load(&cells->cell[k].count) & 1;
    return n;
}

/* ---- creating ---- */

int shoal_semaphore_create(shoal_semaphore **ret, uint32_t value,
                           const shoal_semaphore_options *options)
{
    static const shoal_semaphore_options defaults;
    const shoal_semaphore_options *o = options ? options : &defaults;
    const char *what = "shoal_semaphore_create";
    uint32_t bound = o->bound ? o->bound : SHOAL_SEMAPHORE_MAX;
    if (bound > SHOAL_SEMAPHORE_MAX)
        return fail(-EINVAL, "%s: a bound of %u is more than %d", what, bound, SHOAL_SEMAPHORE_MAX);
    if (value > bound)
        return fail(-EINVAL, "%s: the value %u is more than the bound %u", what, value, bound);
    if (o->owned > OWNED_MOST)
        return fail(-EINVAL, "%s: %u owned permits are more than %d", what, o->owned, OWNED_MOST);
    struct header *h;
    size_t payload = o->owned ? sizeof(struct cells) + (o->owned + SPARE) * sizeof(struct cell) : 0;
    shoal_sync_options common = {.name = o->name, .flags = o->flags};
    int rc = sync_create(&h, ret, TYPE_SEMAPHORE, payload, &common, what);
    if (rc)
        return rc;
    struct body *b = body_of(h);
    bool pocket = bound == SHOAL_SEMAPHORE_MAX && !o->owned, full = pocket && value;
    b->bound = bound - pocket;
    atomic_store_explicit(&b->word, value - full, memory_order_relaxed);
    atomic_store_explicit(&b->pocket,
                          full     ? FULL
                          : pocket ? shoal_thread.me
                                   : 0,
                          memory_order_relaxed);
    *ret = object_publish(h);
    return 0;
}

/* ---- acquiring: each `try` gives 0, -EAGAIN if there is no permit, or an error ---- */

static inline int try_plain(struct body *b)
{
    do {
        owner_t full = FULL;
        if (likely(atomic_load_explicit(&b->pocket, memory_order_relaxed) == FULL) &&
            likely(atomic_compare_exchange_strong_explicit(&b->pocket, &full, self_known(),
                                                           memory_order_acquire,
                                                           memory_order_relaxed)))
            return 0;
        uint64_t word = atomic_load_explicit(&b->word, memory_order_relaxed);
        while (likely(value_of(b, word)))
            if (likely(atomic_compare_exchange_strong_explicit(&b->word, &word, word - 1,
                                                               memory_order_acquire,
                                                               memory_order_relaxed)))
                return 0;
    } while (unlikely(atomic_load(&b->pocket) == FULL));
    return in_vain(-EAGAIN);
}

/* How many permits there are. */
static uint32_t available(const struct body *b)
{
    return value_of(b, atomic_load(&b->word)) + (atomic_load(&b->pocket) == FULL);
}

/* With cell k, which is mine. -ENOSPC: as many are owned as may be. */
static int take_into(const struct header *h, uint32_t k)
{
    struct body *b = body_of(h);
    for (;;) {
        uint64_t word = settled(h);
        if (!value_of(b, word))
            return in_vain(-EAGAIN);
        if (atomic_load(&cells_of(h)->spilled) && count_owned(h) >= owned_of(h)) {
            if (atomic_load(&b->word) == word)
                return -ENOSPC;
            continue;
        }
        uint64_t next = with_change(h, word, TAKE, k);
        if (atomic_compare_exchange_strong(&b->word, &word, next)) {
            help(h, next);
            return 0;
        }
    }
}

static int try_owned_once(const struct header *h, owner_t me)
{
    if (!value_of(body_of(h), atomic_load(&body_of(h)->word)))
        return in_vain(-EAGAIN);
    int k = claim_any(h, me);
    int rc = k < 0 ? -ENOSPC : take_into(h, (uint32_t)k);
    if (rc && k >= 0)
        atomic_store_explicit(&cells_of(h)->cell[k].owner, 0, memory_order_release);
    return rc;
}

static int try_owned(const struct header *h, owner_t me)
{
    int rc = try_owned_once(h, me);
    if (rc == -ENOSPC) { /* perhaps some of the owners are dead */
        collect(h, true);
        rc = try_owned_once(h, me);
    }
    return rc == -ENOSPC ? fail(rc, "shoal_semaphore_acquire_owned: %u permits are owned already",
                                owned_of(h))
                         : rc;
}

/* `me` is 0 for a plain permit. */
static int try_one(const struct header *h, owner_t me)
{
    return me ? try_owned(h, me) : try_plain(body_of(h));
}

static int acquire_slow(const struct header *h, owner_t me, int64_t deadline)
{
    struct body *b = body_of(h);
    owner_t caller;
    int rc = self(&caller);
    if (rc)
        return rc;
    rc = try_one(h, me);
    if (rc != -EAGAIN)
        return rc;
    if (deadline <= SHOAL_NOW) {
        collect(h, true);
        rc = try_one(h, me);
        return rc == -EAGAIN ? not_now(deadline) : rc;
    }
    for (struct spin s = spin_begin(); spin_once(&s);)
        if (available(b)) {
            rc = try_one(h, me);
            if (rc != -EAGAIN)
                return rc;
        }
    struct waiter w;
    rc = wait_begin(&w, header_id(h));
    if (rc)
        return rc;
    for (;;) {
        uint32_t seen = wait_announce(&w, &b->event);
        collect(h, false);
        rc = try_one(h, me);
        if (rc != -EAGAIN)
            break;
        rc = wait_park(&w, &b->event, seen, deadline);
        if (rc)
            break;
    }
    wait_end(&w);
    if (available(b) && !MUTANT(36)) /* the baton, also from one that takes nothing */
        wait_wake(&b->event, 1);
    return rc;
}

__attribute__((noinline)) static int acquire_plain_slow(shoal_semaphore *semaphore,
                                                        int64_t deadline)
{
    struct header *h = header_of(semaphore, TYPE_SEMAPHORE);
    const char *call = "shoal_semaphore_acquire";
    if (!h)
        return bad_handle(semaphore, call);
    return waited(acquire_slow(h, 0, deadline), call, semaphore, TYPE_SEMAPHORE, deadline);
}

int shoal_semaphore_acquire(shoal_semaphore *semaphore, int64_t deadline)
{
    struct header *h = header_of(semaphore, TYPE_SEMAPHORE);
    if (likely(h) && likely(!try_plain(body_of(h))))
        return 0;
    return acquire_plain_slow(semaphore, deadline);
}

int shoal_semaphore_acquire_owned(shoal_semaphore *semaphore, int64_t deadline)
{
    struct header *h = header_of(semaphore, TYPE_SEMAPHORE);
    if (unlikely(!h))
        return bad_handle(semaphore, "shoal_semaphore_acquire_owned");
    if (!h->size)
        return fail(-EINVAL,
                    "shoal_semaphore_acquire_owned: the semaphore was made without `owned`");
    owner_t me;
    int rc = self(&me);
    if (rc)
        return rc;
    return waited(acquire_slow(h, me, deadline), "shoal_semaphore_acquire_owned", semaphore,
                  TYPE_SEMAPHORE, deadline);
}

/* ---- releasing ---- */

/* Puts a permit into the pocket if the caller may. */
static inline bool fill_pocket(struct body *b)
{
    static _Thread_local bool filling;
    owner_t me = self_known();
    if ((unlikely(filling) && !MUTANT(96)) || unlikely(!me))
        return false;
    filling = true;
    atomic_signal_fence(memory_order_seq_cst);
    bool mine = atomic_load_explicit(&b->pocket, memory_order_relaxed) == me;
    if (MUTANT(37) && !mine)
        mine = b->bound == SHOAL_SEMAPHORE_MAX - 1;
    if (likely(mine)) {
        if (likely(process_self.keep.asymmetric)) {
            atomic_store_explicit(&b->pocket, FULL, memory_order_release);
        } else {
            atomic_exchange(&b->pocket, FULL);
#if !defined(__x86_64__)
            atomic_thread_fence(memory_order_seq_cst);
#endif
        }
    }
    atomic_signal_fence(memory_order_seq_cst);
    filling = false;
    atomic_signal_fence(memory_order_seq_cst);
    return mine;
}

int shoal_semaphore_release(shoal_semaphore *semaphore)
{
    struct header *h = header_of(semaphore, TYPE_SEMAPHORE);
    if (unlikely(!h))
        return bad_handle(semaphore, "shoal_semaphore_release");
    struct body *b = body_of(h);
    if (likely(fill_pocket(b))) {
        if (unlikely(atomic_load_explicit(&b->event, memory_order_relaxed) & SLEEPERS) &&
            !MUTANT(91))
            wait_wake_slow(&b->event, 1);
        return 0;
    }
    uint64_t word = atomic_load_explicit(&b->word, memory_order_relaxed);
    do {
        if (unlikely(value_of(b, word) >= b->bound))
            return fail(-EOVERFLOW, "shoal_semaphore_release: the value is at its bound, %u",
                        available(b));
    } while (unlikely(!atomic_compare_exchange_strong(&b->word, &word, word + 1)));
    if (MUTANT(92))
        return 0;
    wait_wake(&b->event, 1);
    return 0;
}

/* A cell in which `me` has a permit, or -1; true for as long as the word does not change. */
static int cell_with_permit(const struct header *h, owner_t me)
{
    struct cells *cells = cells_of(h);
    uint32_t high = atomic_load(&cells->high), n = owned_of(h);
    assert(n);
    uint32_t first = owner_record(me) % n;
    for (uint32_t i = 0; i < high; i++) {
        uint32_t k = (first + i) % high;
        if (atomic_load_explicit(&cells->cell[k].owner, memory_order_relaxed) == me &&
            atomic_load(&cells->cell[k].count) & 1)
            return (int)k;
    }
    return -1;
}

int shoal_semaphore_release_owned(shoal_semaphore *semaphore)
{
    struct header *h = header_of(semaphore, TYPE_SEMAPHORE);
    if (unlikely(!h))
        return bad_handle(semaphore, "shoal_semaphore_release_owned");
    struct body *b = body_of(h);
    owner_t me = self_known();
    for (;;) {
        uint64_t word = settled(h);
        int k = h->size && me ? cell_with_permit(h, me) : -1;
        if (k < 0)
            return fail(-EPERM, "shoal_semaphore_release_owned: the calling thread owns no permit");
        if (value_of(b, word) >= b->bound)
            return fail(-EOVERFLOW, "shoal_semaphore_release_owned: the value is at its bound, %u",
                        b->bound);
        uint64_t next = with_change(h, word, RETURN, (uint32_t)k);
        if (!atomic_compare_exchange_strong(&b->word, &word, next))
            continue;
        help(h, next);
        atomic_store_explicit(&cells_of(h)->cell[k].owner, 0, memory_order_release);
        if (MUTANT(39))
            return 0;
        wait_wake(&b->event, 1);
        return 0;
    }
}

bool semaphore_mine(struct header *h)
{
    owner_t me = self_known();
    settled(h);
    return h->size && me && cell_with_permit(h, me) >= 0;
}

/* ---- looking ---- */

int shoal_semaphore_value(const shoal_semaphore *semaphore)
{
    struct header *h = header_of(semaphore, TYPE_SEMAPHORE);
    if (unlikely(!h))
        return bad_handle(semaphore, "shoal_semaphore_value");
    owner_t me;
    if (h->size && !self(&me))
        collect(h, true);
    return (int)available(body_of(h));
}

int shoal_semaphore_holders(const shoal_semaphore *semaphore, shoal_holder *ret, size_t n)
{
    struct header *h = header_of(semaphore, TYPE_SEMAPHORE);
    if (!h)
        return bad_handle(semaphore, "shoal_semaphore_holders");
    if (!ret && n)
        return fail(-EINVAL, "shoal_semaphore_holders: nowhere to write them (NULL)");
    if (!h->size)
        return 0;
    settled(h);
    struct cells *cells = cells_of(h);
    uint32_t high = atomic_load(&cells->high);
    int found = 0;
    for (uint32_t k = 0; k < high; k++) {
        shoal_holder holder;
        owner_t owner = atomic_load(&cells->cell[k].owner);
        if (!(atomic_load(&cells->cell[k].count) & 1) || sync_holder(owner, &holder, "") != 1)
            continue;
        if ((size_t)found < n)
            ret[found] = holder;
        found++;
    }
    return found;
}

SYNC_REFERENCES(semaphore, TYPE_SEMAPHORE)

/* Who waits for a permit waits for those who own some, if there are no others to come. */
void semaphore_describe(struct description *d, const struct header *h)
{
    const struct body *b = body_of(h);
    struct cells cells;
    struct cell few[64];
    uint64_t owned = 0, most = h->size / sizeof(struct cell);
    uint32_t value = b->bound ? available(b) : 0; /* 0: it is not what it seems */
    if (h->size && look_payload(d->look, h, 0, &cells, sizeof cells)) {
        uint32_t high = atomic_load(&cells.high), n;
        for (uint32_t k = 0; k < high && k < most; k += n) {
            n = high - k < 64 ? high - k : 64;
            if (!look_payload(d->look, h, sizeof cells + k * sizeof(struct cell), few,
                              n * sizeof(struct cell)))
                break;
            for (uint32_t i = 0; i < n; i++)
                if (atomic_load(&few[i].count) & 1) {
                    describe_share(d, atomic_load(&few[i].owner), "owner of a permit");
                    owned++;
                }
        }
    }
    describe_number(d, "value", value);
    if (b->bound && b->bound < SHOAL_SEMAPHORE_MAX - 1)
        describe_number(d, "bound", b->bound);
    if (h->size)
        describe_number(d, "owned", owned);
    d->blocking = !value && owned && owned >= b->bound ? BLOCKS_ANY : BLOCKS_NOT;
}

/* ---- repair ---- */

static void repair(struct header *h)
{
    collect(h, false);
}

static _Atomic uint32_t *event_of(struct header *h)
{
    return &body_of(h)->event;
}

static bool ready(struct header *h)
{
    return available(body_of(h));
}

const struct type_repair semaphore_repair = {.repair = repair, .event = event_of, .ready = ready};
