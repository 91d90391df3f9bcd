/* What a process may have of the region, its quota, and what it has.
 *
 * What a process is charged with is a hint that is never too low. It grows before there is anything, and
 * shrinks when the process itself frees its objects; what others free, and what its lanes give back, is
 * found out by counting, when the quota seems to be used up.
 */
#include "region/life.h"
#include "region/object.h"

static uint64_t cost_of(const struct header *h)
{
    return sizeof *h + object_room(h);
}

static _Atomic uint64_t coming; /* of this process: charged, and not to be counted yet */

static uint64_t charged(uint32_t slot, uint32_t generation)
{
    uint64_t sum = atomic_load(&coming); /* first: what is there later is counted, perhaps twice */
    uint32_t high = atomic_load(&view.region->groups_high);
    for (uint32_t id = 0; id < high * GROUP; id++) {
        struct header *h = header_at(id);
        enum object_status status = OBJECT_FREE;
        if (region_is_populated(h))
            status = state_status(atomic_load(&h->state));
        const struct type_repair *type = status == OBJECT_LIVE ? life_type(h->type) : NULL;
        if (type && type->charged)
            sum += type->charged(h, slot);
        if (status != OBJECT_FREE && h->creator == slot && h->creator_generation == generation)
            sum += cost_of(h);
    }
    return sum;
}

uint64_t object_charged(void)
{
    return charged(process_self.slot, process_self.generation);
}

bool object_may_fit(size_t content)
{
    uint64_t quota = object_quota();
    return content <= (uint64_t)view.at.max_units * UNIT &&
           (!quota || object_cost(content) <= quota);
}

/* Unless another thread is charged meanwhile. */
static void count_anew(_Atomic uint64_t *charge)
{
    uint64_t was = atomic_load(charge);
    atomic_compare_exchange_strong(charge, &was,
                                   charged(process_self.slot, process_self.generation));
}

int object_charge(uint64_t bytes)
{
    _Atomic uint64_t *charge = &slot_at(process_self.slot)->charged;
    uint64_t quota = object_quota();
    if (likely(!quota))
        return 0;
    if (atomic_load(charge) + bytes > quota)
        count_anew(charge);
    uint64_t now = atomic_load(charge);
    if (now + bytes > quota)
        return fail(-ENOSPC,
                    "the process's quota of %llu bytes is used up (%llu used, %llu more asked for)",
                    (unsigned long long)quota, (unsigned long long)now, (unsigned long long)bytes);
    atomic_fetch_add(&coming, bytes);
    atomic_fetch_add(charge, bytes);
    return 0;
}

void object_uncharge(uint64_t bytes)
{
    if (object_quota())
        atomic_fetch_sub(&slot_at(process_self.slot)->charged, bytes);
}

void object_charge_end(uint64_t bytes)
{
    uint64_t c = atomic_load(&coming); /* less, if the quota was set meanwhile */
    while (unlikely(c) && !atomic_compare_exchange_weak(&coming, &c, c > bytes ? c - bytes : 0))
        ;
}

int object_set_quota(uint64_t bytes)
{
    struct slot *slot = slot_at(process_self.slot);
    atomic_store(&slot->quota, bytes);
    atomic_store(&slot->charged, charged(process_self.slot, process_self.generation));
    return 0;
}

void object_charge_none(void)
{
    atomic_store(&coming, 0);
}

void object_count(uint32_t *objects, uint64_t *used)
{
    uint32_t high = atomic_load(&view.region->groups_high);
    *objects = 0;
    *used = 0;
    for (uint32_t id = 0; id < high * GROUP; id++) {
        struct header *h = header_at(id);
        if (region_is_populated(h) && state_status(atomic_load(&h->state)) == OBJECT_LIVE) {
            (*objects)++;
            *used += cost_of(h);
        }
    }
}
