/* Runs of 4 KiB units of the heap, for large objects and for the payload of object groups
 * (docs/design.md 6).
 *
 * A bit per unit, under one lock, the guard. The bits are derived: what is used is what groups and
 * headers say in `payload`, which is written while the guard is held. So whoever takes the guard
 * from a dead owner just builds the bits again, and no step in here needs a journal.
 */
#include "region/life.h"
#include "region/object.h"
#include "region/wait.h"
#include <string.h>

enum { KEEP = 64 << 20 >> 12 /* free units that keep their memory */ };

static _Atomic uint64_t *bits(uint32_t unit)
{
    return &view.unit_map[unit / 64];
}

static unsigned char *address_of(uint32_t unit)
{
    return view.heap + (uint64_t)unit * UNIT;
}

static uint32_t unit_of(uint32_t payload)
{
    return (payload - 1) / (UNIT / 64);
}

/* Marks [unit, unit + n) used or free. The map's memory is there for whatever was ever used. */
static void mark(uint32_t unit, uint32_t n, bool used)
{
    for (uint32_t i = unit; i < unit + n;) {
        uint32_t first = i % 64, many = 64 - first < unit + n - i ? 64 - first : unit + n - i;
        uint64_t mask = (many == 64 ? ~0ull : (1ull << many) - 1) << first;
        uint64_t w = atomic_load_explicit(bits(i), memory_order_relaxed);
        atomic_store_explicit(bits(i), used ? w | mask : w & ~mask, memory_order_relaxed);
        i += many;
    }
}

/* Runs that a type tells of an object. */
struct told {
    const struct header *header;
    uint64_t state, used;
};

/* It may be another object by now, and what is told anything. */
static void mark_told(uint32_t payload, uint32_t units, void *argument)
{
    struct told *told = argument;
    uint32_t unit = unit_of(payload);
    if ((atomic_load(&told->header->state) != told->state || unit >= view.at.max_units ||
         units > view.at.max_units - unit) &&
        !MUTANT(198))
        return;
    mark(unit, units, true);
    told->used += units;
}

static void rebuild(void)
{
    uint32_t high = atomic_load(&view.region->groups_high);
    uint64_t used = 0;
    for (uint32_t unit = 0; unit < view.at.max_units;)
        if (region_is_populated((const void *)(uintptr_t)bits(unit))) {
            for (uint32_t end = unit + UNIT * 8; unit < end && unit < view.at.max_units; unit += 64)
                atomic_store_explicit(bits(unit), 0, memory_order_relaxed);
        } else {
            unit += UNIT * 8 - unit % (UNIT * 8);
        }
    /* one group above the mark may have been given its run by somebody who died */
    for (uint32_t g = 0; g <= high && g < view.at.max_groups; g++) {
        const struct group *group = group_at(g);
        if (!region_is_populated(group))
            continue;
        uint32_t payload = atomic_load(&group->payload);
        if (payload) {
            uint32_t n = (group->size - 1) * GROUP / UNIT;
            mark(unit_of(payload), n, true);
            used += n;
        }
        for (unsigned i = 0; i < GROUP && region_is_populated(header_at(g * GROUP)); i++) {
            struct header *h = header_at(g * GROUP + i);
            uint64_t state = atomic_load(&h->state);
            enum object_status status = state_status(state);
            const struct type_repair *type = life_type(h->type);
            if (h->units && atomic_load(&h->payload)) {
                mark(unit_of(atomic_load(&h->payload)), h->units, true);
                used += h->units;
            }
            struct told told = {h, state, 0};
            if (type && type->runs && (status == OBJECT_LIVE || status == OBJECT_DEAD))
                type->runs(h, mark_told, &told);
            used += told.used;
        }
    }
    atomic_store(&view.region->units_used, used);
    atomic_store(&view.region->units_kept, 0);
}

/* What who has the guard must know to give it back. */
struct guarded {
    uint64_t signals;
    bool nested;
};

/* While it is held no signal handler runs in this thread: one that waits may repair, and so come
 * here. One that runs after the guard was taken and before signals are blocked finds it to be its
 * own thread's, with nothing done yet: it uses it, but for the bits, which may be a dead one's.
 *   -ETIMEDOUT: somebody had it for longer than `patience` ns (0: waits without an end): he is stopped,
 * perhaps. */
static int guard_take(struct guarded *g, int64_t patience)
{
    owner_t me, dead;
    int64_t deadline = SHOAL_FOREVER;
    int rc = self(&me);
    if (rc)
        return rc;
    g->nested = !MUTANT(95) && atomic_load(&view.region->guard) == me;
    if (g->nested)
        rc = SHOAL_OWNER_DIED;
    else if (!owner_try(&view.region->guard, me)) {
        if (patience)
            deadline = os_now() + patience;
        while ((rc = owner_acquire_slow(&view.region->guard, &view.region->guard_event, WAIT_GUARD,
                                        me, deadline, &dead)) < 0) {
            if (rc == -ETIMEDOUT)
                return rc;
            if (rc == -EINTR)
                continue;
            if (patience && os_now() > deadline)
                return -ETIMEDOUT;
            /* It cannot wait here, so deep in handlers and repairs, nor be told of a death. */
            owner_t owner = atomic_load(&view.region->guard);
            if (owner && !MUTANT(199))
                life_ask(owner);
            os_yield();
        }
    }
    if (!MUTANT(95))
        os_signals_block(&g->signals);
    if (rc == SHOAL_OWNER_DIED && !MUTANT(35))
        rebuild();
    return 0;
}

static void guard_give(const struct guarded *g)
{
    if (!g->nested)
        owner_release(&view.region->guard, &view.region->guard_event);
    if (!MUTANT(95))
        os_signals_restore(&g->signals);
}

/* The first run of n free units at or after `from`: its first unit, max_units if there is none, or
 * -ENOMEM for the map itself. */
static int64_t search(uint32_t from, uint32_t to, uint32_t n)
{
    uint32_t run = 0;
    for (uint32_t unit = from; unit < to;) {
        if (unit == from || unit % (UNIT * 8) == 0) {
            int rc = region_populate((const void *)(uintptr_t)bits(unit), sizeof(uint64_t));
            if (rc)
                return rc;
        }
        uint64_t w = atomic_load_explicit(bits(unit), memory_order_relaxed);
        if (unit % 64 == 0 && w == ~0ull) {
            run = 0;
            unit += 64;
        } else if (unit % 64 == 0 && !w && run + 64 < n) {
            run += 64;
            unit += 64;
        } else {
            run = w >> unit % 64 & 1 ? 0 : run + 1;
            unit++;
            if (run == n)
                return unit - n;
        }
    }
    return view.at.max_units;
}

/* Under the guard. */
static int alloc(_Atomic uint32_t *payload, uint32_t n, bool zero)
{
    uint32_t hint = atomic_load(&view.region->unit_hint);
    int64_t at = search(hint, view.at.max_units, n);
    if (at == view.at.max_units && hint)
        at = search(0, view.at.max_units, n);
    if (at < 0 || at == view.at.max_units)
        return at < 0 ? (int)at : -ENOSPC;
    uint32_t unit = (uint32_t)at;
    if (zero) {
        int rc = region_populate(address_of(unit), (size_t)n * UNIT);
        if (rc)
            return rc;
        memset(address_of(unit), 0, (size_t)n * UNIT);
    }
    mark(unit, n, true);
    atomic_fetch_add(&view.region->units_used, n);
    uint64_t kept = atomic_load(&view.region->units_kept);
    if (kept && region_is_populated(address_of(unit)))
        atomic_store(&view.region->units_kept, kept > n ? kept - n : 0);
    atomic_store(&view.region->unit_hint, unit);
    atomic_store(payload, unit * (UNIT / 64) + 1); /* from here on it is taken */
    return 0;
}

static int alloc_within(_Atomic uint32_t *payload, uint32_t n, int64_t patience)
{
    struct guarded g;
    int rc = guard_take(&g, patience);
    if (rc)
        return rc;
    rc = alloc(payload, n, false);
    guard_give(&g);
    return rc;
}

int unit_alloc(_Atomic uint32_t *payload, uint32_t n)
{
    return alloc_within(payload, n, 0);
}

int unit_try_alloc(_Atomic uint32_t *payload, uint32_t n, int64_t patience)
{
    int rc = alloc_within(payload, n, patience);
    return rc == -ETIMEDOUT ? -EBUSY : rc;
}

int unit_try_alloc_once(_Atomic uint32_t *payload, uint32_t n, int64_t patience)
{
    struct guarded g;
    int rc = guard_take(&g, patience);
    if (rc)
        return rc == -ETIMEDOUT ? -EBUSY : rc;
    rc = atomic_load(payload) ? 0 : alloc(payload, n, true);
    guard_give(&g);
    return rc;
}

int unit_alloc_once(_Atomic uint32_t *payload, uint32_t n)
{
    return unit_try_alloc_once(payload, n, 0);
}

/* Under the guard. */
static void give_back(_Atomic uint32_t *payload, uint32_t n)
{
    uint32_t p = atomic_load(payload);
    if (p) {
        uint32_t unit = unit_of(p);
        uint64_t kept = atomic_load(&view.region->units_kept);
        if (kept + n > KEEP) {
            region_unpopulate(address_of(unit), (size_t)n * UNIT);
            os_memory_remove(address_of(unit), (size_t)n * UNIT);
        } else {
            atomic_store(&view.region->units_kept, kept + n);
        }
        mark(unit, n, false);
        atomic_fetch_sub(&view.region->units_used, n);
        if (unit < atomic_load(&view.region->unit_hint))
            atomic_store(&view.region->unit_hint, unit);
        atomic_store(payload, 0);
    }
}

void unit_free(_Atomic uint32_t *payload, uint32_t n)
{
    struct guarded g;
    if (!atomic_load(payload) || guard_take(&g, 0))
        return; /* only a process that cannot attach at all; its death will give the run back */
    give_back(payload, n);
    guard_give(&g);
}

void unit_free_if(_Atomic uint32_t *payload, uint32_t n, const _Atomic uint64_t *word,
                  uint64_t expected)
{
    struct guarded g;
    if (guard_take(&g, UNIT_HURRY))
        return;
    if (atomic_load(word) == expected)
        give_back(payload, n);
    guard_give(&g);
}

void unit_try_free(_Atomic uint32_t *payload, uint32_t n)
{
    struct guarded g;
    if (guard_take(&g, UNIT_HURRY))
        return;
    give_back(payload, n);
    guard_give(&g);
}

uint64_t unit_used(void)
{
    return atomic_load(&view.region->units_used);
}
