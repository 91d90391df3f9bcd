/* Reading, writing, and choosing among guards: how two parties meet.
 *
 * Every thread that communicates is a party (party.h) with one word. A read or a write is an alternation with one
 * guard. While the word is PRIVATE nobody but its thread changes it, and the thread may meet another party that is
 * WAITING, by ONE compare-and-swap of the other's word, WAITING -> MET: that is the whole commit. Nothing of its
 * own has to change in the same step, as nobody can meet who is PRIVATE. So there are no descriptors, and nobody helps.
 *
 *     1  PRIVATE: for each guard, in the order asked for: a partner that is WAITING there, oldest first? meet it. Done.
 *     2  offer: a cell in each channel, {me, sequence, guard}; then word = WAITING (a full fence)
 *     3  look at each guard: is there a partner WAITING now? Then CAS own word WAITING -> PRIVATE (fails: I have been
 *        met, done) and back to 1.   No: sleep on the word, until it is not what it was
 *     4  in the end clear the cells; word = {sequence + 1, PRIVATE}
 *
 * One step, seen by both or neither. The message of a writer lies in its box (or is a message object that it
 * holds) before its word is WAITING, and does not change while that sequence lasts. A reader that meets it copies
 * first and then swaps: a swap that succeeds says that the copy was whole. A writer that meets a reader has its
 * message in its box before the swap; the word says whose box. The reader copies when it finds that, and until its word has
 * moved on the box is not used again (it has others; if all are taken the message becomes an object). So nobody waits for a
 * reader that is stopped after it was met. Objects, and messages longer than the reader has said it takes, are only met
 * by readers: their writer offers and pokes those who wait there; who is poked looks again.
 *
 * No two partners sleep beside one another. Of two that could meet, take the last of the moments in which either became
 * WAITING. The one that did looks behind its fence, so it sees the other's cell and word: WAITING (it goes to 1 and meets
 * it, or finds that it has left); or PRIVATE in between, and then that moment was not the last, or that one ends
 * meeting somebody. A thread in 1 that finds nobody has always to pass 2 again before it sleeps. That
 * two leave WAITING for one another at the same time, each fails to meet the other, and both go round, is possible; so the one with the
 * greater number lets the other come first for a moment. No guard fires twice or for nobody, as the word leaves WAITING once
 * for each sequence by MET, and a swap expects the sequence that the cell names.
 *
 * Buffers. Nobody meets anybody on a channel with a buffer: each takes from the buffer or puts into it while it is
 * PRIVATE; who has done so pokes those who alternate on the other side. Those have set `alternates` (and a membarrier) before they
 * looked, and who puts looks at that behind its put.
 *
 * Deaths. PRIVATE, before the swap: nothing has happened. After it: the partner is MET; that it may not have been woken does not
 * matter, as whoever repairs wakes all who sleep (rouse), met ones too; the boxes outlive their owners. Offered: the
 * repairer takes the word back to PRIVATE and clears the cells (end.c), before the dead's messages are given up. MET and dead: a writer's message
 * was received, a reader's is gone with it. A repairer that dies: all of this can be done again.
 * Stops. A party that is stopped while PRIVATE is met by nobody and keeps nobody: those who cannot find it wait for others. When it
 * goes on it meets them, or offers. One that is stopped while WAITING can be met; one that is stopped between meeting another and waking
 * it leaves that asleep until whoever else comes there wakes it (wake_met), or the net does. In no step does anybody wait for another's next step.
 *
 * Which cache lines move: the reader's cell (the channel's first row), its word, the writer's box; that is all there and back.
 */
#include "csp/channel.h"
#include "message/message.h"
#include "message/pickle.h"
#include "region/wait.h"
#include <stdlib.h>
#include <string.h>

/* A guard of a channel, as the call works with it. */
struct offer {
    struct header *channel, *end;
    struct channel *c;
    enum side side;
    bool buffered, enrolled;
    unsigned box; /* of a WRITER whose letter is no object */
    struct cell *cell;
    uint64_t offered; /* what the cell says */
    size_t capacity;  /* of a READER */
    struct letter letter;
};

/* What came. */
struct got {
    size_t size;
    void *object;
    unsigned char bytes[INLINE_MOST];
};

struct choice {
    struct party *me;
    uint32_t number, sequence;
    struct offer *offers; /* by guard; channel NULL: it is none of a channel */
    const shoal_guard *guards;
    const unsigned *order; /* NULL: as they stand */
    unsigned n;
    int64_t deadline, until; /* the call's; or when a TIMEOUT is ready, if that is sooner */
    bool enrolled, barrier;  /* barrier: refused by the kernel */
    unsigned met;            /* the guard by which it was met */
    struct got *got;
    const char *call;
};

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
            if (message_open(&got->object, (uint32_t)(what & (WHAT_OBJECT - 1)),
                             (uint32_t)(what >> 32)))
                continue; /* its writer has gone on, or is dead and was repaired */
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

static int over(const struct offer *o)
{
    int rc = channel_over(o->channel, o->side);
    if (unlikely(!rc && atomic_load_explicit(&end_body(o->end)->retired, memory_order_relaxed)))
        return -EPIPE;
    return rc;
}

/* The first guard that is ready, carried out: its index. -EAGAIN: none. */
static int attempt(struct choice *a)
{
    for (unsigned k = 0; k < a->n; k++) {
        unsigned i = a->order ? a->order[k] : k;
        struct offer *o = &a->offers[i];
        if (!o->channel) {
            if (a->guards[i].kind == SHOAL_SKIP || os_now() >= a->guards[i].deadline)
                return (int)i;
            continue;
        }
        int rc = over(o);
        if (likely(!rc))
            rc = o->buffered         ? o->side == READER ? take_now(a, o) : put_now(a, o)
                         : o->side == READER ? read_now(a, o)
                                     : write_now(a, o);
        if (rc != -EAGAIN)
            return rc ? rc : (int)i;
    }
    return -EAGAIN;
}

/* The same, asked only; while WAITING. Readers are told of what only they can meet. */
static bool look(const struct choice *a)
{
    uint64_t offer;
    for (unsigned i = 0; i < a->n; i++) {
        const struct offer *o = &a->offers[i];
        if (!o->channel)
            continue;
        if (over(o))
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

/* Whoever waits there and has been met by one that is stopped before it could wake him is woken now: the caller, who
 * would meet him again, is about to sleep. */
static void wake_met(const struct choice *a)
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
            if (word_state(word) == MET)
                party_wake(offer_party(offer), word);
        }
    }
}

/* ---- offering ---- */

static int enrol_one(struct choice *a, struct offer *o, unsigned guard)
{
    uint64_t offered = offer_make(a->sequence, a->number, guard);
    for (uint32_t i = 0;; i++) {
        int rc;
        uint64_t none = 0;
        struct row *row = channel_make_row(o->c, i, &rc);
        if (!row)
            return fail(rc == -ENOSPC ? rc : -ENOMEM,
                        "%s: no room for another one that waits there", a->call);
        struct cell *cell = &row->cells[o->side];
        channel_grow(&o->c->cells[o->side], i + 1);
        if (atomic_load_explicit(&cell->offer, memory_order_relaxed) ||
            !atomic_compare_exchange_strong(&cell->offer, &none, offered))
            continue;
        uint64_t what = o->capacity;
        if (o->side == WRITER && o->letter.object) {
            struct handle *m = handle_of(o->letter.object);
            /* others may hold it as soon as it can be seen */
            atomic_store_explicit(&m->shared, !MUTANT(409), memory_order_relaxed);
            what = (uint64_t)m->generation << 32 | WHAT_OBJECT | header_id(m->header);
        } else if (o->side == WRITER) {
            what = o->box;
        }
        atomic_store_explicit(&cell->stamp, os_stamp(view.region->stamps), memory_order_relaxed);
        atomic_store_explicit(&cell->what, what, memory_order_release);
        o->cell = cell;
        o->offered = offered;
        return 0;
    }
}

static int enrol(struct choice *a)
{
    a->enrolled = true;
    for (unsigned i = 0; i < a->n; i++) {
        struct offer *o = &a->offers[i];
        int rc = o->channel ? enrol_one(a, o, i) : 0;
        if (rc)
            return rc;
    }
    return 0;
}

static void withdraw(struct choice *a)
{
    if (!a->enrolled)
        return;
    for (unsigned i = 0; i < a->n; i++) {
        struct offer *o = &a->offers[i];
        uint64_t offered = o->offered;
        if (o->cell && !MUTANT(405))
            atomic_compare_exchange_strong(&o->cell->offer, &offered, 0);
    }
    /* From here on the box from which it has copied is free. */
    atomic_store_explicit(&a->me->word, word_of(a->sequence + 1, PRIVATE), memory_order_release);
}

/* Back from WAITING: false if it has been met. */
static bool leave(const struct choice *a)
{
    uint64_t word = atomic_load(&a->me->word);
    while (word_state(word) == WAITING)
        if (atomic_compare_exchange_weak(&a->me->word, &word, word_of(a->sequence, PRIVATE)))
            return true;
    return false;
}

/* Those who put into a buffer or take from it must see that somebody is to be told. */
static void announce(struct choice *a)
{
    bool all = true;
    for (unsigned i = 0; i < a->n; i++)
        if (a->offers[i].buffered)
            all &= atomic_load(&a->offers[i].c->alternates[a->offers[i].side]) == 2;
    if (all)
        return;
    for (unsigned i = 0; i < a->n; i++)
        if (a->offers[i].buffered)
            channel_grow(&a->offers[i].c->alternates[a->offers[i].side], 1);
    a->barrier = process_self.keep.asymmetric && !os_membarrier();
    for (unsigned i = 0; i < a->n && !a->barrier; i++)
        if (a->offers[i].buffered)
            channel_grow(&a->offers[i].c->alternates[a->offers[i].side], 2);
}

static int64_t sooner(int64_t x, int64_t y)
{
    return x < y ? x : y;
}

static int sleep_on(struct choice *a)
{
    struct waiter w;
    uint32_t id = WAIT_GUARD;
    for (unsigned i = a->n; i-- > 0;)
        if (a->offers[i].channel)
            id = header_id(a->offers[i].end);
    int rc = wait_begin(&w, id);
    if (rc)
        return rc;
    w.slices |= a->barrier;
    atomic_store(&a->me->at, id);
    for (;;) {
        uint64_t word = atomic_load(&a->me->word);
        if (word_state(word) != WAITING)
            break;
        if (!(word & SLEEPING) &&
            !atomic_compare_exchange_strong(&a->me->word, &word, word | SLEEPING))
            continue;
        if (!MUTANT(406) && look(a))
            break;
        wake_met(a);
        rc = wait_park(&w, party_futex(a->me), (uint32_t)word | SLEEPING,
                       sooner(a->deadline, a->until));
        if (rc)
            break;
    }
    wait_end(&w);
    return rc;
}

/* Offers, and waits: 1: it has been met; 0: PRIVATE again, as something seems to be ready; -ETIMEDOUT … */
static int await(struct choice *a)
{
    uint64_t word = word_of(a->sequence, WAITING);
    announce(a);
    if (MUTANT(406) && look(a))
        return 0;
    atomic_exchange(&a->me->word, word);
    bool ready = !MUTANT(406) && look(a);
    /* Two that have offered at the same time: one of them gives way. */
    for (uint32_t i = 0; ready && i < (a->number & 7) * 8; i++) {
        os_pause();
        if (word_state(atomic_load_explicit(&a->me->word, memory_order_relaxed)) == MET)
            break;
    }
    for (struct spin s = spin_begin(); !ready && spin_once(&s);) {
        uint64_t now = atomic_load_explicit(&a->me->word, memory_order_acquire);
        if (now == word)
            continue;
        if (word_state(now) == MET)
            break;
        word = now; /* poked */
        ready = look(a);
    }
    int rc = 0;
    if (!ready && word_state(atomic_load(&a->me->word)) == WAITING)
        rc = sleep_on(a);
    return leave(a) ? rc : 1;
}

/* It has been met: a reader copies what it got. */
static int take_in(struct choice *a)
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

static int choose(struct choice *a)
{
    int rc, waited_for = 0;
    for (;;) {
        rc = attempt(a);
        if (rc != -EAGAIN)
            break;
        if (a->deadline <= SHOAL_NOW) {
            int64_t soonest;
            rc = not_now(a->deadline);
            if (rc == -EAGAIN && self_known() && life_look_all(!os_features()->robust, &soonest))
                continue; /* somebody had died */
            break;
        }
        if (waited_for < 0 && !(waited_for == -ETIMEDOUT && os_now() < a->deadline)) {
            rc = in_vain(waited_for);
            break;
        }
        rc = a->enrolled ? 0 : enrol(a);
        if (rc)
            break;
        waited_for = await(a);
        if (waited_for == 1) {
            rc = take_in(a);
            break;
        }
        if (waited_for < 0 && waited_for != -ETIMEDOUT) {
            rc = waited_for;
            break;
        }
    }
    withdraw(a);
    return rc;
}

/* ---- what the calls have in common ---- */

static int offer_of(struct offer *o, const shoal_channel_end *end, enum side side, const char *call)
{
    struct header *h = header_of(end, TYPE_CHANNEL_END);
    if (unlikely(!h))
        return bad_handle(end, call);
    if (unlikely(end_body(h)->side != (uint32_t)side))
        return fail(-EBADF, "%s: this end only %s", call, side == READER ? "writes" : "reads");
    o->end = h;
    o->channel = header_at(end_body(h)->channel);
    o->c = channel_of(o->channel);
    o->side = side;
    o->buffered = channel_buffered(o->channel);
    o->cell = NULL;
    o->letter.object = NULL;
    return 0;
}

static int begin(struct choice *a)
{
    int mine = party_mine();
    if (unlikely(mine < 0))
        return mine;
    a->number = (uint32_t)mine;
    a->me = party_at(a->number);
    a->sequence = word_sequence(atomic_load_explicit(&a->me->word, memory_order_relaxed));
    return 0;
}

/* Into a box that nobody has still to copy from; `boxes`: those that this call uses. If there is none it becomes an
 * object. */
static int put_letter(struct choice *a, struct offer *o, unsigned *boxes, int64_t deadline)
{
    struct letter *l = &o->letter;
    if (l->object || o->buffered)
        return 0;
    unsigned i = party_box(a->me, *boxes);
    if (unlikely(i >= BOXES)) {
        struct place p = channel_place(o->channel, a->call);
        struct shortage shortage = {&p, &o->c->memory, &o->c->closed, deadline};
        unsigned char *at;
        int rc = message_create(&l->object, l->size, 0, &shortage, &at);
        if (!rc && l->size)
            memcpy(at, l->bytes, l->size);
        return rc;
    }
    struct box *box = &a->me->boxes[i];
    *boxes = i + 1;
    o->box = i;
    atomic_store_explicit(&box->reader, 0, memory_order_relaxed);
    atomic_store_explicit(&box->size, (uint32_t)l->size, memory_order_relaxed);
    for (size_t k = 0; k * 8 < l->size; k++) {
        uint64_t word = 0;
        memcpy(&word, l->bytes + k * 8, l->size - k * 8 < 8 ? l->size - k * 8 : 8);
        atomic_store_explicit(&box->words[k], word, memory_order_relaxed);
    }
    return 0;
}

/* A sentence for what ended it. */
static int ended(int rc, const char *call)
{
    if (rc == -EPIPE)
        return fail(rc, "%s: the channel, or this end of it, is retired", call);
    if (rc == -ECANCELED)
        return fail(rc, "%s: the channel is poisoned", call);
    return rc;
}

static int deliver_any(struct got *got, shoal_any **ret, const char *call)
{
    int rc = got->object ? message_unpack_any(got->object, ret)
                         : pickle_read(ret, got->bytes, got->size, NULL, NULL, 0);
    return rc ? fail_in(rc, call) : 0;
}

static void deliver_bytes(struct got *got, void *buffer)
{
    if (got->object)
        message_unpack(got->object, buffer);
    else if (got->size)
        memcpy(buffer, got->bytes, got->size);
}

/* ---- write ---- */

static int write_one(shoal_channel_end *end, const shoal_any *any, const void *bytes, size_t size,
                     int64_t deadline, const char *call)
{
    struct offer o = {.channel = NULL};
    struct choice a = {.offers = &o,
                       .n = 1,
                       .deadline = deadline,
                       .until = INT64_MAX,
                       .call = call};
    unsigned boxes = 0;
    int rc = offer_of(&o, end, WRITER, call);
    if (likely(!rc))
        rc = begin(&a);
    if (likely(!rc))
        rc = ended(over(&o), call);
    if (unlikely(rc))
        return rc;
    if (o.buffered) { /* as a queue */
        struct place p = channel_place(o.channel, call);
        struct lanes *q = channel_lanes(o.channel);
        rc = any                ? any_may_travel(any, call)
             : (!bytes && size) ? fail(-EINVAL, "%s: %zu bytes at NULL", call, size)
                                : 0;
        if (!rc)
            rc = any                  ? message_put_any(q, &p, any, deadline)
                 : size > INLINE_MOST ? message_put_long(q, &p, bytes, size, deadline)
                                      : lanes_put(q, &p, bytes, size, deadline);
        if (!rc)
            channel_nudge(o.c, READER);
        return rc == -EPIPE && over(&o) ? ended(over(&o), call) : rc;
    }
    rc = letter_write(&o.letter, o.channel, any, bytes, size, deadline, call);
    if (likely(!rc))
        rc = put_letter(&a, &o, &boxes, deadline);
    if (likely(!rc))
        rc = choose(&a);
    letter_end(&o.letter);
    if (rc == -EPIPE && over(&o))
        rc = over(&o);
    return waited(ended(rc, call), call, end, TYPE_CHANNEL_END, deadline);
}

int shoal_channel_write(shoal_channel_end *end, const shoal_any *any, int64_t deadline)
{
    if (unlikely(!any))
        return any_may_travel(any, "shoal_channel_write");
    return write_one(end, any, NULL, 0, deadline, "shoal_channel_write");
}

int shoal_channel_write_bytes(shoal_channel_end *end, const void *bytes, size_t size,
                              int64_t deadline)
{
    return write_one(end, NULL, bytes, size, deadline, "shoal_channel_write_bytes");
}

/* ---- read ---- */

static int read_one(shoal_channel_end *end, size_t capacity, struct got *got, int64_t deadline,
                    const char *call)
{
    struct offer o = {.channel = NULL};
    struct choice a =
        {.offers = &o, .n = 1, .deadline = deadline, .until = INT64_MAX, .got = got, .call = call};
    int rc = offer_of(&o, end, READER, call);
    if (likely(!rc))
        rc = begin(&a);
    if (likely(!rc))
        rc = ended(over(&o), call);
    if (unlikely(rc))
        return rc;
    o.capacity = capacity;
    if (!o.buffered) {
        rc = choose(&a);
        return waited(ended(rc, call), call, end, TYPE_CHANNEL_END, deadline);
    }
    struct place p = channel_place(o.channel, call);
    struct taken t = {0};
    int64_t soonest;
    size_t room = capacity < INLINE_MOST ? capacity : INLINE_MOST;
    do
        rc = lanes_take(channel_lanes(o.channel), &p, got->bytes, room, capacity, &t, deadline);
    while (rc == -EAGAIN && deadline == SHOAL_NOW &&
           life_look_all(!os_features()->robust, &soonest));
    got->size = t.size;
    got->object = rc ? NULL : t.object;
    if (!rc)
        channel_nudge(o.c, WRITER);
    if (rc == -EPIPE)
        return ended(over(&o)                                             ? over(&o)
                     : atomic_load(&o.c->state) & CHANNEL_POISONED_BEHIND ? -ECANCELED
                                                                          : -EPIPE,
                     call);
    return rc;
}

int shoal_channel_read(shoal_channel_end *end, shoal_any **ret, int64_t deadline)
{
    const char *call = "shoal_channel_read";
    struct got got = {.size = 0};
    if (unlikely(!ret))
        return fail(-EINVAL, "%s: nowhere to write the any (NULL)", call);
    int rc = read_one(end, SIZE_MAX, &got, deadline, call);
    return rc ? rc : deliver_any(&got, ret, call);
}

int shoal_channel_read_bytes(shoal_channel_end *end, void *buffer, size_t capacity, size_t *size,
                             int64_t deadline)
{
    const char *call = "shoal_channel_read_bytes";
    struct got got = {.size = 0};
    if (unlikely(!size || (!buffer && capacity)))
        return fail(-EINVAL, "%s: NULL for the buffer or the size", call);
    int rc = read_one(end, capacity, &got, deadline, call);
    if (!rc)
        deliver_bytes(&got, buffer);
    if (!rc || rc == -EMSGSIZE)
        *size = got.size;
    if (rc == -EMSGSIZE)
        return fail(rc, "%s: the message has %zu bytes, the buffer %zu", call, got.size, capacity);
    return rc;
}

/* ---- alternation ---- */

static int guard_offer(struct choice *a, unsigned i, unsigned *boxes)
{
    const shoal_guard *g = &a->guards[i];
    struct offer *o = &a->offers[i];
    o->channel = NULL;
    o->buffered = false;
    o->cell = NULL;
    o->letter.object = NULL;
    switch (g->kind) {
    case SHOAL_SKIP: return 0;
    case SHOAL_TIMEOUT:
        if (g->deadline < 0)
            return fail(-EINVAL, "%s: guard %u has a negative deadline", a->call, i);
        a->until = sooner(a->until, g->deadline);
        return 0;
    case SHOAL_INPUT:
        if (!g->buffer && g->capacity)
            return fail(-EINVAL, "%s: guard %u has %zu bytes at NULL", a->call, i, g->capacity);
        o->capacity = g->buffer ? g->capacity : SIZE_MAX;
        return offer_of(o, g->end, READER, a->call);
    case SHOAL_OUTPUT: break;
    default: return fail(-EINVAL, "%s: guard %u is of no kind (%u)", a->call, i, g->kind);
    }
    int rc = offer_of(o, g->end, WRITER, a->call);
    if (!rc && !over(o))
        rc = letter_write(&o->letter, o->channel, g->any, g->bytes, g->size, a->deadline, a->call);
    if (!rc && !over(o))
        rc = put_letter(a, o, boxes, a->deadline);
    return rc;
}

/* Least chosen first; those of no channel after all others. A stable sort: there are few, and the order is nearly the last one. */
static void order_fairly(const shoal_guard guards[], unsigned n, unsigned order[])
{
    for (unsigned i = 0; i < n; i++) {
        unsigned k = i;
        bool last = guards[i].kind >= SHOAL_TIMEOUT;
        while (k > 0) {
            const shoal_guard *before = &guards[order[k - 1]];
            bool before_last = before->kind >= SHOAL_TIMEOUT;
            if (before_last < last ||
                (before_last == last && (last || before->chosen <= guards[i].chosen)))
                break;
            order[k] = order[k - 1];
            k--;
        }
        order[k] = i;
    }
}

static int carry_out(shoal_guard *g, struct got *got, int index, const char *call)
{
    int rc = 0;
    unsigned failures = shoal_thread.failures;
    g->chosen++;
    if (g->kind == SHOAL_INPUT && g->buffer) {
        deliver_bytes(got, g->buffer);
        g->size = got->size;
    } else if (g->kind == SHOAL_INPUT) {
        rc = deliver_any(got, &g->got, call);
    }
    if (!rc && g->action)
        rc = g->action(g, g->argument);
    return rc < 0 ? fail_callback(rc, call, failures) : index;
}

int shoal_alternate(shoal_guard guards[], size_t n, enum shoal_choice choice, int64_t deadline)
{
    enum { FEW = 4 };
    const char *call = "shoal_alternate";
    struct offer few[FEW] = {{.channel = NULL}}, *offers = few;
    unsigned few_order[FEW], *order = few_order, boxes = 0, made = 0;
    struct got got = {.size = 0};
    if (!guards || !n || n > GUARDS)
        return fail(-EINVAL, "%s: %zu guards at %p", call, n, (void *)guards);
    if (choice > SHOAL_FAIR)
        return fail(-EINVAL, "%s: there is no choice %u", call, choice);
    if (n > FEW) {
        offers = calloc(n, sizeof *offers);
        order = malloc(n * sizeof *order);
    }
    struct choice a = {.offers = offers,
                       .guards = guards,
                       .n = (unsigned)n,
                       .deadline = deadline,
                       .until = INT64_MAX,
                       .got = &got,
                       .call = call};
    int rc = offers && order ? begin(&a) : fail(-ENOMEM, "%s: no memory", call);
    while (!rc && made < n)
        rc = guard_offer(&a, made++, &boxes);
    if (!rc && choice == SHOAL_FAIR) {
        order_fairly(guards, a.n, order);
        a.order = order;
    }
    if (!rc)
        rc = ended(choose(&a), call);
    for (unsigned i = 0; i < made; i++)
        letter_end(&offers[i].letter);
    if (offers != few)
        free(offers);
    if (order != few_order)
        free(order);
    if (rc >= 0)
        return carry_out(&guards[rc], &got, rc, call);
    return waited(rc, call, NULL, TYPE_NONE, deadline);
}
