/* Channels: making them, their rows, and how they end. What is done on them is in alternation.c and meet.c, how ends are counted in
 * end.c.
 *
 * The state's bits are only ever set. Whoever sets one wakes all who wait there, behind a full fence; who waits has
 * offered, fenced and looked at the state before it sleeps. So one sees the other; and if the one that has
 * set it dies before it has woken all, whoever repairs that pokes every sleeper (docs/design.md 3, step 4).
 */
#include "csp/channel.h"
#include "message/message.h"
#include <limits.h>

/* ---- rows ---- */

static uint32_t chunk_units(unsigned chunk)
{
    return 1u << 2 * chunk;
}

static uint32_t chunk_rows(unsigned chunk)
{
    return chunk_units(chunk) * UNIT / sizeof(struct row);
}

struct row *channel_row(const struct channel *c, uint32_t i)
{
    if (likely(i < ROWS_FIRST))
        return (struct row *)(uintptr_t)&c->first[i];
    i -= ROWS_FIRST;
    for (unsigned k = 0; k < CHANNEL_CHUNKS; i -= chunk_rows(k++)) {
        uint32_t payload = atomic_load_explicit(&c->chunks[k], memory_order_acquire);
        if (!payload)
            return NULL;
        if (i < chunk_rows(k))
            return (struct row *)(void *)(view.heap + (uint64_t)(payload - 1) * 64) + i;
    }
    return NULL;
}

struct row *channel_make_row(struct channel *c, uint32_t i, int *rc)
{
    *rc = 0;
    struct row *row = channel_row(c, i);
    if (row)
        return row;
    uint32_t left = i - ROWS_FIRST;
    for (unsigned k = 0; k < CHANNEL_CHUNKS; left -= chunk_rows(k++)) {
        *rc = unit_try_alloc_once(&c->chunks[k], chunk_units(k), UNIT_PATIENCE);
        if (*rc)
            return NULL;
        if (left < chunk_rows(k))
            return channel_row(c, i);
    }
    *rc = -ENOSPC;
    return NULL;
}

/* ---- making one ---- */

int channel_create(shoal_channel **ret, const shoal_channel_options *options, bool barrier,
                   const char *call)
{
    struct header *h;
    if (!ret)
        return fail(-EINVAL, "%s: nowhere to write the handle (NULL)", call);
    if (options && options->flags)
        return fail(-EINVAL, "%s: unknown flags %#x", call, options->flags);
    uint64_t buffer = options ? options->buffer : 0;
    int rc = object_create(&h, TYPE_CHANNEL,
                           sizeof(struct channel) + (buffer ? sizeof(struct lanes) : 0),
                           options ? options->name : NULL, OBJECT_ZERO);
    if (rc)
        return rc;
    h->flags = OBJECT_LOOKED_AT;
    *(struct channel_body *)(void *)h->body =
        (struct channel_body){.buffered = buffer != 0, .barrier = barrier};
    if (buffer)
        channel_lanes(h)->maxsize = buffer;
    *ret = object_publish(h);
    return 0;
}

int shoal_channel_create(shoal_channel **ret, const shoal_channel_options *options)
{
    return channel_create(ret, options, false, "shoal_channel_create");
}

int shoal_channel_reference(const shoal_channel *channel, shoal_reference *ret)
{
    return object_reference(channel, TYPE_CHANNEL, "shoal_channel_reference", ret);
}

int shoal_channel_open(shoal_channel **ret, const shoal_reference *reference)
{
    return object_open((void **)ret, TYPE_CHANNEL, "shoal_channel_open", reference);
}

shoal_channel *shoal_channel_close(shoal_channel *channel)
{
    object_close(channel, TYPE_CHANNEL);
    return NULL;
}

/* ---- how it ends ---- */

int channel_over(const struct header *h, enum side side)
{
    uint32_t state = atomic_load(&channel_of(h)->state);
    if (likely(!state))
        return 0;
    bool drains = channel_buffered(h) && side == READER;
    if (state & CHANNEL_POISONED || (state & CHANNEL_POISONED_BEHIND && !drains))
        return -ECANCELED;
    if (state & CHANNEL_NO_READERS || (state & CHANNEL_NO_WRITERS && !drains))
        return -EPIPE;
    return 0;
}

void channel_poke(struct channel *c, enum side side)
{
    uint32_t high = atomic_load(&c->cells[side]);
    for (uint32_t i = 0; i < high; i++) {
        const struct row *row = channel_row(c, i);
        uint64_t offer = row ? atomic_load(&row->cells[side].offer) : 0;
        if (offer)
            party_poke(offer_party(offer));
    }
}

/* What the lanes are told of such a state. What nobody will read is held by nobody (message.c). */
static uint32_t shut_by(uint32_t state)
{
    return !state                                            ? 0
           : state & (CHANNEL_NO_READERS | CHANNEL_POISONED) ? LANES_SHUT | LANES_DROPPED
                                                             : LANES_SHUT;
}

void channel_end(struct header *h, uint32_t bit)
{
    struct channel *c = channel_of(h);
    atomic_fetch_or(&c->state, bit); /* a full fence */
#if !defined(__x86_64__)
    atomic_thread_fence(memory_order_seq_cst);
#endif
    if (channel_buffered(h))
        lanes_shut(channel_lanes(h), shut_by(bit));
    atomic_fetch_or(&c->closed, LANES_SHUT);
    wait_wake(&c->memory, INT_MAX);
    if (MUTANT(400))
        return;
    channel_poke(c, READER);
    channel_poke(c, WRITER);
}

void channel_finish_end(struct header *h)
{
    uint32_t how = shut_by(atomic_load(&channel_of(h)->state));
    if (channel_buffered(h) && ~atomic_load(&channel_lanes(h)->closed) & how && !MUTANT(415))
        lanes_shut(channel_lanes(h), how);
}

void channel_drop(struct header *h)
{
    unsigned char buffer[INLINE_MOST];
    struct place p = channel_place(h, "a channel");
    struct taken t;
    while (channel_buffered(h) &&
           !lanes_take(channel_lanes(h), &p, buffer, sizeof buffer, SIZE_MAX, &t, SHOAL_NOW))
        if (t.object)
            object_close(t.object, TYPE_MESSAGE);
}

/* ---- lifetime ---- */

static void repair(struct header *h)
{
    struct place p = channel_place(h, NULL);
    if (channel_buffered(h))
        lanes_repair(channel_lanes(h), &p);
}

static void destroy(struct header *h, uint32_t slot)
{
    struct channel *c = channel_of(h);
    if (channel_buffered(h))
        lanes_destroy(channel_lanes(h), slot);
    for (unsigned k = 0; k < CHANNEL_CHUNKS; k++)
        if (atomic_load(&c->chunks[k]))
            unit_free(&c->chunks[k], chunk_units(k));
}

static void runs(struct header *h, void (*visit)(uint32_t payload, uint32_t units, void *argument),
                 void *argument)
{
    struct channel *c = channel_of(h);
    if (channel_buffered(h))
        lanes_runs(channel_lanes(h), visit, argument);
    for (unsigned k = 0; k < CHANNEL_CHUNKS; k++)
        if (atomic_load(&c->chunks[k]))
            visit(atomic_load(&c->chunks[k]), chunk_units(k), argument);
}

static uint64_t charged(struct header *h, uint32_t slot)
{
    return channel_buffered(h) ? lanes_charged(channel_lanes(h), slot) : 0;
}

/* Who waits for room in the region; with a buffer also who reads or writes there without an alternation. */
static _Atomic uint32_t *event(struct header *h)
{
    return &channel_of(h)->memory;
}

static _Atomic uint32_t *further(struct header *h, unsigned i)
{
    if (!channel_buffered(h) || i > 2)
        return NULL;
    struct lanes *q = channel_lanes(h);
    return i == 1 ? &q->items : &q->space;
}

const struct type_repair channel_repair = {.repair = repair,
                                           .event = event,
                                           .further = further,
                                           .destroy = destroy,
                                           .runs = runs,
                                           .charged = charged};

/* ---- inspection ---- */

/* A row of a copy, as channel_row finds it. */
static bool look_row(const struct look *look, const struct header *h, const struct channel *c,
                     uint64_t from, uint32_t i, struct row *ret)
{
    uint64_t rows = from + offsetof(struct channel, first);
    if (i < ROWS_FIRST)
        return look_payload(look, h, rows + i * sizeof *ret, ret, sizeof *ret);
    i -= ROWS_FIRST;
    for (unsigned k = 0; k < CHANNEL_CHUNKS; i -= chunk_rows(k++)) {
        uint32_t payload = atomic_load(&c->chunks[k]);
        if (i < chunk_rows(k))
            return payload && look_run(look, payload, i * sizeof *ret, ret, sizeof *ret);
    }
    return false;
}

/* Who waits on that side, by whatever end, alternating or not. */
static void describe_waiting(struct description *d, const struct header *h, const struct channel *c,
                             uint64_t from, enum side side)
{
    uint32_t high = atomic_load(&c->cells[side]);
    struct party p;
    struct row row;
    for (uint32_t i = 0; i < high && look_row(d->look, h, c, from, i, &row); i++) {
        uint64_t offer = atomic_load(&row.cells[side].offer);
        uint64_t at = d->look->at.parties + (uint64_t)offer_number(offer) * PARTY;
        if (!offer || !look_read(d->look, at, &p, sizeof p))
            continue;
        uint64_t word = atomic_load(&p.word);
        if (word_state(word) == WAITING && word_sequence(word) == (uint32_t)(offer >> 32))
            describe_share(d, atomic_load(&p.owner),
                           side == READER ? "waiting reader" : "waiting writer");
    }
}

void channel_describe(struct description *d, const struct header *h)
{
    struct channel c;
    uint64_t from = channel_buffered(h) ? sizeof(struct lanes) : 0;
    if (!look_payload(d->look, h, from, &c, sizeof c))
        return;
    uint32_t state = atomic_load(&c.state);
    if (from)
        lanes_describe(d, h, 0, "buffered");
    describe_flag(d, "no readers", state & CHANNEL_NO_READERS);
    describe_flag(d, "no writers", state & CHANNEL_NO_WRITERS);
    describe_flag(d, "poisoned", state & (CHANNEL_POISONED | CHANNEL_POISONED_BEHIND));
    if (channel_barrier(h))
        describe_number(d, "round", atomic_load(&c.round) >> 32);
    describe_waiting(d, h, &c, from, READER);
    describe_waiting(d, h, &c, from, WRITER);
}
