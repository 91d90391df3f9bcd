/* One lane's memory: segments are made, left behind, and given back (see lanes.c, Memory). */
#include "message/lane.h"
#include "region/life.h"

enum { BIG = 256 << 10, SMALL_UNITS = 16 };
enum { PATIENCE = 2000 /* pauses for a reader to go on */ };

static bool record_reads(const struct record *record, uint32_t id)
{
    uint64_t seen = atomic_load(&record->reading);
    for (unsigned i = 0; (uint32_t)seen == id + 1 || (uint32_t)seen == READS_ANY; i++) {
        if (i == PATIENCE)
            return true; /* stopped there */
        os_pause();
        if (atomic_load(&record->reading) >> 32 != seen >> 32)
            break; /* whatever it reads now, it began after us */
    }
    return false;
}

/* Whether anybody may still read what was cut off before this call. */
static bool has_readers(uint32_t id)
{
    if (MUTANT(179))
        return false;
    if (process_self.keep.asymmetric && !os_membarrier())
        return true;
    atomic_thread_fence(memory_order_seq_cst);
    uint32_t ranges[2][2] = {{1, atomic_load(&view.region->slots_high)},
                             {SLOTS, atomic_load(&view.region->records_high)}};
    for (unsigned k = 0; k < 2; k++)
        for (uint32_t r = ranges[k][0]; r < ranges[k][1]; r++)
            if (record_reads(record_at(r), id))
                return true;
    return false;
}

/* Gives back the segments that consumers have left behind: head has passed their ends, so nobody new
 * gets there. */
void lane_free_drained(struct lane *lane, uint32_t id)
{
    uint64_t head = atomic_load(&lane->head);
    const struct segment *now = segment_of(lane, head);
    uint64_t base = now ? atomic_load(&now->base) : 0, bases[LANE_SEGMENTS];
    unsigned n = 0;
    if (base > head && !MUTANT(190))
        return; /* all have moved on: its place is a newer one's */
    for (unsigned i = 0; i < LANE_SEGMENTS; i++) {
        struct segment *s = &lane->segments[i];
        bases[i] = atomic_load(&s->base);
        n += atomic_load(&s->payload) && bases[i] < base;
    }
    if (!n || has_readers(id))
        return;
    for (unsigned i = 0; i < LANE_SEGMENTS; i++) {
        struct segment *s = &lane->segments[i];
        if (bases[i] < base && !MUTANT(131)) /* its owner may have made a new one of it by now */
            unit_free_if(&s->payload, atomic_load(&s->units), &s->base, bases[i]);
    }
}

/* Gives back all segments of an empty lane that the caller tends: first nobody finds them any more,
 * and then nobody reads there. The oldest first: what is left if we die is not mistaken for an
 * older one. False: not all, as somebody who is stopped reads there still, or has the units' guard. */
bool lane_free_all(struct lane *lane, uint32_t id)
{
    bool any = false;
    for (unsigned i = 0; i < LANE_SEGMENTS; i++) {
        struct segment *s = oldest(lane, i);
        if (atomic_load(&s->payload)) {
            atomic_store(&s->base, BASE_CUT);
            any = true;
        }
    }
    if (any && has_readers(id))
        return false;
    for (unsigned i = 0; i < LANE_SEGMENTS; i++) {
        struct segment *s = oldest(lane, i);
        if (atomic_load(&s->payload))
            unit_try_free(&s->payload, atomic_load(&s->units));
        if (atomic_load(&s->payload))
            return false;
    }
    return true;
}

/* A segment that its owner did not come to lead to: nobody has ever got there. False: it is there still. */
bool lane_free_unlinked(struct lane *lane)
{
    uint64_t write = atomic_load(&lane->write);
    bool all = true;
    for (unsigned i = 0; i < LANE_SEGMENTS; i++) {
        struct segment *s = &lane->segments[i];
        uint64_t base = atomic_load(&s->base);
        if (atomic_load(&s->payload) && base > write && base != BASE_CUT && !MUTANT(128)) {
            unit_try_free(&s->payload, atomic_load(&s->units));
            all &= !atomic_load(&s->payload);
        }
    }
    return all;
}

/* How large the next segment is, for a record of `need` bytes. */
static uint64_t next_units(const struct segment *now, bool smaller, uint64_t need)
{
    uint64_t units = atomic_load(&now->payload) ? atomic_load(&now->units) : 0;
    units = smaller ? SMALL_UNITS : !units ? 1 : units < 1 << 14 ? units * 4 : units * 2;
    while (units * UNIT < need * 4)
        units *= 2;
    return units;
}

/* A run for the segment, which has no payload, that the caller is charged with. -EBUSY: nothing can be had
 * now, however little. */
static int get_run(struct segment *s, uint64_t units)
{
    atomic_store(&s->units, (uint32_t)units);
    int rc = object_charge(units * UNIT);
    if (rc)
        return rc;
    rc = unit_try_alloc(&s->payload, (uint32_t)units, UNIT_PATIENCE);
    if (rc)
        object_uncharge(units * UNIT);
    object_charge_end(units * UNIT);
    return rc;
}

/* Begins another segment, and leads there. -ENOSPC: not now; -ENOMEM. */
int lane_grow(struct lane *lane, uint32_t id, uint64_t need, bool smaller)
{
    struct segment *old = newest(lane);
    bool first = !atomic_load(&old->payload);
    struct segment *s = first ? old : oldest(lane, 0);
    uint64_t at = atomic_load(&lane->write), base = first ? at : at + RECORD;
    uint64_t units = next_units(old, smaller, need);
    if (!first && atomic_load(&s->payload))
        lane_free_drained(lane, id);
    if (!first && atomic_load(&s->payload))
        return -ENOSPC;
    /* Head may stand at a first segment's base already: it is not found before its header is zero. */
    atomic_store(&s->base, first ? BASE_CUT : base);
    int rc = -ENOSPC;
    for (; rc == -ENOSPC && units * UNIT >= need * 2; units /= 2) /* what there is room for */
        rc = units > view.at.max_units ? -ENOSPC : get_run(s, units);
    if (rc)
        return rc == -EBUSY ? -ENOSPC : rc;
    units = atomic_load(&s->units);
    struct record_header *header = record_in(s, atomic_load(&s->base));
    if (region_populate(header, units * UNIT)) {
        unit_free(&s->payload, (uint32_t)units);
        return fail(-ENOMEM, "no memory for %llu bytes more of a queue",
                    (unsigned long long)units * UNIT);
    }
    atomic_store_explicit(&header->word, 0, memory_order_relaxed);
    atomic_store_explicit(&s->base, base, memory_order_release);
    struct record_header *link = first ? NULL : record_in(old, at);
    if (!MUTANT(185))
        atomic_store_explicit(&lane->last, (uint32_t)(s - lane->segments), memory_order_release);
    if (link) {
        link->stamp = base;
        atomic_store_explicit(&link->word, word_make(0, 0, KIND_LINK), memory_order_release);
    }
    if (MUTANT(185))
        atomic_store_explicit(&lane->last, (uint32_t)(s - lane->segments), memory_order_release);
    atomic_store_explicit(&lane->write, base, memory_order_release);
    lane->room_end = base + segment_size(s);
    return 0;
}

/* Once a round of a large ring: whether it is hardly used. */
bool lane_too_large(struct lane *lane, const struct segment *s, uint64_t end)
{
    return unlikely(end > lane->room_end) && segment_size(s) > BIG && !MUTANT(184) &&
           atomic_load(&lane->write) - atomic_load(&lane->head) < segment_size(s) / 16;
}
