/* How many messages are in a family of lanes, told from a copy of them: nothing here is locked, kept
 * from being given back, or believed. */
#include "message/lanes_inner.h"

enum { STEPS = 64 /* records that lead elsewhere: there cannot be as many in a row */ };

static bool look_lane(const struct look *look, const struct header *h, uint64_t lanes, uint32_t i,
                      const struct lanes *q, struct lane *ret)
{
    if (i < LANES_FIRST)
        return look_payload(look, h, lanes + offsetof(struct lanes, first) + i * sizeof *ret, ret,
                            sizeof *ret);
    i -= LANES_FIRST;
    for (unsigned c = 0; c < LANE_CHUNKS; i -= chunk_lanes(c++))
        if (i < chunk_lanes(c))
            return look_run(look, atomic_load(&q->chunks[c]), i * sizeof *ret, ret, sizeof *ret);
    return false;
}

static bool look_record_in(const struct look *look, const struct segment *s, uint64_t at,
                           struct record_header *ret)
{
    uint64_t size = segment_size(s);
    if (!size || size & (size - 1))
        return false;
    return look_run(look, atomic_load(&s->payload), (at - atomic_load(&s->base)) & (size - 1), ret,
                    sizeof *ret);
}

/* Messages in a lane: those put, but for those before its oldest. */
static uint64_t in_lane(const struct look *look, struct lane *lane, bool bounded)
{
    uint64_t at = atomic_load(&lane->head);
    uint64_t until = bounded ? atomic_load(&lane->tail) : atomic_load(&lane->write);
    if (atomic_load(&lane->last) >= LANE_SEGMENTS)
        return 0;
    for (unsigned step = 0; step < STEPS && at < until; step++) {
        const struct segment *s = segment_of(lane, at);
        struct record_header record;
        if (!s || !look_record_in(look, s, at, &record))
            return 0;
        uint64_t word = atomic_load(&record.word);
        unsigned kind = word & 0xff;
        if (kind == KIND_BYTES || kind == KIND_OBJECT) {
            uint32_t n = (uint32_t)atomic_load(&lane->puts) - (uint32_t)(word >> 32);
            return n <= INT32_MAX ? n : 0; /* it was taken, and written over, meanwhile */
        }
        if ((kind != KIND_SKIP && kind != KIND_LINK) || record.stamp <= at)
            return 0;
        at = record.stamp;
    }
    return 0;
}

void lanes_describe(struct description *d, const struct header *h, unsigned which, const char *name)
{
    uint64_t lanes = which * sizeof(struct lanes), sum = 0;
    struct lanes q;
    if (!look_payload(d->look, h, lanes, &q, sizeof q))
        return;
    uint32_t high = atomic_load(&q.high);
    for (uint32_t i = 0; i < high; i++) {
        struct lane lane;
        if (!look_lane(d->look, h, lanes, i, &q, &lane))
            break;
        sum += in_lane(d->look, &lane, q.maxsize);
    }
    describe_number(d, name, sum);
    if (q.maxsize)
        describe_number(d, "maxsize", q.maxsize);
    if (atomic_load(&q.closed))
        describe_flag(d, "closed", true);
}
