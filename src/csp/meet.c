/* One round of an alternation: is there a partner, is there something in a buffer or room in it? alternation.c says why this is
 * correct. */
#include "csp/alternation.h"
#include "message/message.h"
#include <string.h>

/* ---- partners ---- */

/* The oldest that waits on that side, but for `but`: 0: none. A reader must take `size` bytes. */
static struct cell *oldest(struct channel *c, enum side side, const struct party *but, size_t size,
                           uint64_t *offer)
{
    struct cell *best = NULL;
    uint64_t since = UINT64_MAX;
    uint32_t high = atomic_load_explicit(&c->cells[side], memory_order_acquire);
    for (uint32_t i = 0; i < high; i++) {
        struct row *row = channel_row(c, i);
        struct cell *cell = row ? &row->cells[side] : NULL;
        uint64_t o = cell ? atomic_load_explicit(&cell->offer, memory_order_acquire) : 0;
        if (!o)
            continue;
        const struct party *p = offer_party(o);
        uint64_t word = atomic_load(&p->word);
        if (word_sequence(word) != (uint32_t)(o >> 32)) { /* it has gone on, or is dead */
            atomic_compare_exchange_strong(&cell->offer, &o, 0);
            continue;
        }
        uint64_t stamp = atomic_load_explicit(&cell->stamp, memory_order_relaxed);
        if (p == but || word_state(word) != WAITING || stamp >= since ||
            (side == READER && atomic_load_explicit(&cell->what, memory_order_relaxed) < size) ||
            owner_dead(atomic_load_explicit(&p->owner, memory_order_relaxed)))
            continue;
        best = cell;
        since = stamp;
        *offer = o;
    }
    return best;
}

/* The one step: whoever made that offer, and waits still, is met. */
static bool meet(const struct choice *a, uint64_t offer, _Atomic uint64_t *met, unsigned box)
{
    struct party *p = offer_party(offer);
    uint64_t word = atomic_load(&p->word);
    for (;;) {
        if (word_state(word) != WAITING || word_sequence(word) != (uint32_t)(offer >> 32))
            return false;
        uint64_t next = word_met(word, offer_guard(offer), a->number, box);
        if (met) /* a box's: for as long as the reader's word says this */
            atomic_store_explicit(met, next, memory_order_release);
        if (MUTANT(403)) {
            atomic_store(&p->word, next);
            break;
        }
        if (atomic_compare_exchange_weak(&p->word, &word, next))
            break;
    }
    if (!MUTANT(404))
        party_wake(p, word);
    return true;
}

static bool copy_box(const struct box *box, struct got *got)
{
    got->size = atomic_load_explicit(&box->size, memory_order_relaxed);
    if (got->size > BOX_BYTES) /* torn: it is another's by now */
        return false;
    for (size_t i = 0; i * 8 < got->size; i++) {
        uint64_t word = atomic_load_explicit(&box->words[i], memory_order_relaxed);
        memcpy(got->bytes + i * 8, &word, 8);
    }
    atomic_thread_fence(memory_order_acquire);
    return true;
}

/* Reads from a writer that waits: 0, -EAGAIN: there is none; -EMSGSIZE: the oldest one's is too long. */
static int read_now(struct choice *a, const struct offer *o)
{
    struct got *got = a->got;
    uint64_t offer = 0;
    struct cell *cell;
    while ((cell = oldest(o->c, WRITER, a->me, 0, &offer))) {
        const struct party *p = offer_party(offer);
        uint64_t what = atomic_load(&cell->what);
        got->object = NULL;
        if (what & WHAT_OBJECT) {
            int rc = message_open(&got->object, (uint32_t)(what & (WHAT_OBJECT - 1)),
                                  (uint32_t)(what >> 32));
            if (rc == -ESTALE || rc == -EINVAL)
                continue; /* its writer has gone on, or is dead and was repaired */
            if (rc)
                return rc;
            got->size = message_size(got->object);
        } else if (!copy_box(&p->boxes[what % BOXES], got)) {
            continue;
        }
        uint64_t word = atomic_load(&p->word);
        bool there = word_state(word) == WAITING && word_sequence(word) == (uint32_t)(offer >> 32);
        bool fits = got->size <= o->capacity;
        if (there && fits && meet(a, offer, NULL, 0))
            return 0;
        if (got->object)
            object_close(got->object, TYPE_MESSAGE);
        got->object = NULL;
        if (there && !fits)
            return -EMSGSIZE;
    }
    return -EAGAIN;
}

/* Writes to a reader that waits. */
static int write_now(const struct choice *a, const struct offer *o)
{
    uint64_t offer = 0;
    if (o->letter.object)
        return -EAGAIN;
    struct box *box = &a->me->boxes[o->box];
    while (oldest(o->c, READER, a->me, o->letter.size, &offer)) {
        atomic_store_explicit(&box->reader, ((uint32_t)(offer >> 16) & (PARTIES - 1)) + 1,
                              memory_order_relaxed);
        if (meet(a, offer, &box->met, o->box))
            return 0;
    }
    return -EAGAIN;
}

/* ---- buffers ---- */

static int take_now(struct choice *a, const struct offer *o)
{
    struct place p = channel_place(o->channel, a->call);
    struct taken t = {0};
    size_t room = o->capacity < INLINE_MOST ? o->capacity : INLINE_MOST;
    int rc =
        lanes_take(channel_lanes(o->channel), &p, a->got->bytes, room, o->capacity, &t, SHOAL_NOW);
    a->got->size = t.size;
    a->got->object = rc ? NULL : t.object;
    if (!rc)
        channel_nudge(o->c, WRITER);
    if (rc == -EPIPE && atomic_load(&o->c->state) & CHANNEL_POISONED_BEHIND)
        return -ECANCELED;
    return rc;
}

static int put_now(struct choice *a, struct offer *o)
{
    struct place p = channel_place(o->channel, a->call);
    struct lanes *q = channel_lanes(o->channel);
    int rc = o->letter.object ? message_put(o->letter.object, q, &p, SHOAL_NOW)
                              : lanes_put(q, &p, o->letter.bytes, o->letter.size, SHOAL_NOW);
    if (!rc) {
        o->letter.object = NULL; /* the channel's now */
        channel_nudge(o->c, READER);
    }
    if (rc == -EPIPE && channel_over(o->channel, WRITER))
        return channel_over(o->channel, WRITER);
    return rc;
}

static bool room_or_message(const struct offer *o)
{
    struct place p = channel_place(o->channel, NULL);
    struct lanes *q = channel_lanes(o->channel);
    if (o->side == READER)
        return lanes_ready(q, &p);
    return lanes_size(q, &p) < q->maxsize || atomic_load(&q->closed);
}

/* ---- one round ---- */

int offer_over(const struct offer *o)
{
    int rc = channel_over(o->channel, o->side);
    if (unlikely(!rc && atomic_load_explicit(&end_body(o->end)->retired, memory_order_relaxed)))
        return -EPIPE;
    return rc;
}

int choice_attempt(struct choice *a)
{
    for (unsigned k = 0; k < a->n; k++) {
        unsigned i = a->order ? a->order[k] : k;
        struct offer *o = &a->offers[i];
        if (!o->channel) {
            const shoal_guard *g = &a->guards[i];
            if (!g->off && !o->wanting && (g->kind == SHOAL_SKIP || os_now() >= g->deadline))
                return (int)i;
            continue;
        }
        int rc = offer_over(o);
        if (likely(!rc))
            rc = o->buffered         ? o->side == READER ? take_now(a, o) : put_now(a, o)
                         : o->side == READER ? read_now(a, o)
                                     : write_now(a, o);
        if (rc != -EAGAIN)
            return rc ? rc : (int)i;
    }
    return -EAGAIN;
}

bool choice_look(const struct choice *a)
{
    uint64_t offer;
    for (unsigned i = 0; i < a->n; i++) {
        const struct offer *o = &a->offers[i];
        if (!o->channel)
            continue;
        if (offer_over(o))
            return true;
        if (o->buffered) {
            if (room_or_message(o))
                return true;
        } else if (o->side == READER) {
            if (oldest(o->c, WRITER, a->me, 0, &offer))
                return true;
        } else {
            if (!o->letter.object && oldest(o->c, READER, a->me, o->letter.size, &offer))
                return true;
            if (o->letter.object || oldest(o->c, READER, a->me, 0, &offer))
                channel_poke(o->c, READER);
        }
    }
    return false;
}

void choice_wake_met(const struct choice *a)
{
    for (unsigned i = 0; i < a->n; i++) {
        const struct offer *o = &a->offers[i];
        enum side side = o->side == READER ? WRITER : READER;
        uint32_t high = o->channel && !o->buffered ? atomic_load(&o->c->cells[side]) : 0;
        for (uint32_t k = 0; k < high; k++) {
            const struct row *row = channel_row(o->c, k);
            uint64_t offer = row ? atomic_load(&row->cells[side].offer) : 0;
            if (!offer)
                continue;
            uint64_t word = atomic_load(&offer_party(offer)->word);
            if (word_state(word) == MET && !MUTANT(411))
                party_wake(offer_party(offer), word);
        }
    }
}

int choice_take_in(struct choice *a)
{
    uint64_t word = atomic_load(&a->me->word);
    uint32_t guard = (uint32_t)(word >> GUARD_SHIFT) & (GUARDS - 1);
    const struct offer *o = &a->offers[guard];
    if (o->side == READER) {
        const struct party *p = party_at((uint32_t)(word >> PARTNER_SHIFT) & (PARTIES - 1));
        a->got->object = NULL;
        copy_box(&p->boxes[(uint32_t)word >> BOX_SHIFT], a->got);
    }
    return (int)guard;
}
