/* What programs call: write, read, alternate. Each makes its guards, has alternation.c choose one, and delivers what came. */
#include "csp/alternation.h"
#include "message/message.h"
#include "message/pickle.h"
#include "region/wait.h"
#include <stdlib.h>
#include <string.h>

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
    if (unlikely(channel_barrier(o->channel)))
        return fail(-EBADF, "%s: this is an end of a barrier", call);
    o->c = channel_of(o->channel);
    o->side = side;
    o->buffered = channel_buffered(o->channel);
    o->cell = NULL;
    o->letter.object = NULL;
    return 0;
}

/* A choice of one guard; for more the caller says so. */
static int begin(struct choice *a, struct offer *o, int64_t deadline, const char *call)
{
    int mine = party_mine();
    if (unlikely(mine < 0))
        return mine;
    *a = (struct choice){.number = (uint32_t)mine,
                         .me = party_at((uint32_t)mine),
                         .offers = o,
                         .n = 1,
                         .deadline = deadline,
                         .until = INT64_MAX,
                         .call = call};
    a->sequence = word_sequence(atomic_load_explicit(&a->me->word, memory_order_relaxed));
    return 0;
}

/* After one that was in vain. */
static void choice_begin_again(struct choice *a)
{
    a->sequence = word_sequence(atomic_load_explicit(&a->me->word, memory_order_relaxed));
    a->enrolled = false;
    a->rounds = a->wanting = 0;
    for (unsigned i = 0; i < a->n; i++)
        a->offers[i].cell = NULL;
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

/* Who never sleeps is told of no death, so it looks. */
static bool somebody_had_died(int64_t deadline)
{
    int64_t soonest;
    return deadline == SHOAL_NOW && life_look_all(!os_features()->robust, &soonest);
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

/* Its bytes are many, and left as they are. */
static void got_nothing(struct got *got)
{
    got->size = 0;
    got->object = NULL;
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

/* Into a buffer: as a queue. */
static int put_one(const struct offer *o, const shoal_any *any, void *message, const void *bytes,
                   size_t size, int64_t deadline, const char *call)
{
    struct place p = channel_place(o->channel, call);
    struct lanes *q = channel_lanes(o->channel);
    int rc = any                ? any_may_travel(any, call)
             : (!bytes && size) ? fail(-EINVAL, "%s: %zu bytes at NULL", call, size)
                                : 0;
    if (rc)
        return rc;
    do
        rc = any                  ? message_put_any(q, &p, any, deadline)
             : message            ? message_put(message, q, &p, deadline)
             : size > INLINE_MOST ? message_put_long(q, &p, bytes, size, deadline)
                                  : lanes_put(q, &p, bytes, size, deadline);
    while (rc == -EAGAIN && somebody_had_died(deadline));
    if (!rc)
        channel_nudge(o->c, READER);
    return rc == -EPIPE && offer_over(o) ? ended(offer_over(o), call) : rc;
}

/* An any, a message, which is given up if that goes well, or bytes. */
static int write_one(shoal_channel_end *end, const shoal_any *any, void *message, const void *bytes,
                     size_t size, int64_t deadline, const char *call)
{
    struct offer o; /* its letter is large, and not all of it is written */
    struct choice a;
    unsigned boxes = 0;
    int rc = offer_of(&o, end, WRITER, call);
    if (likely(!rc))
        rc = ended(offer_over(&o), call);
    if (unlikely(rc))
        return rc;
    if (o.buffered)
        return put_one(&o, any, message, bytes, size, deadline, call);
    rc = begin(&a, &o, deadline, call);
    if (unlikely(rc))
        return rc;
    if (message)
        letter_of_message(&o.letter, message);
    else
        rc = letter_write(&o.letter, o.channel, any, bytes, size, deadline, call);
    if (likely(!rc))
        rc = put_letter(&a, &o, &boxes, deadline);
    if (likely(!rc))
        rc = choice_run(&a);
    if (rc && message)
        o.letter.object = NULL;
    letter_end(&o.letter);
    if (rc == -EPIPE && offer_over(&o))
        rc = offer_over(&o);
    return waited(ended(rc, call), call, end, TYPE_CHANNEL_END, deadline);
}

int shoal_channel_write(shoal_channel_end *end, const shoal_any *any, int64_t deadline)
{
    if (unlikely(!any))
        return any_may_travel(any, "shoal_channel_write");
    return write_one(end, any, NULL, NULL, 0, deadline, "shoal_channel_write");
}

int shoal_channel_write_bytes(shoal_channel_end *end, const void *bytes, size_t size,
                              int64_t deadline)
{
    return write_one(end, NULL, NULL, bytes, size, deadline, "shoal_channel_write_bytes");
}

int channel_write_message(shoal_channel_end *end, void *message, int64_t deadline)
{
    return write_one(end, NULL, message, NULL, 0, deadline, "shoal_channel_write");
}

int channel_reserve(shoal_channel_end *end, void **ret, size_t size, struct pickle_objects *objects,
                    unsigned char **bytes, int64_t deadline)
{
    const char *call = "shoal_channel_write";
    struct offer o;
    owner_t me;
    int rc = offer_of(&o, end, WRITER, call);
    if (!rc)
        rc = ended(offer_over(&o), call);
    if (!rc)
        rc = self(&me);
    if (rc)
        return rc;
    struct place p = channel_place(o.channel, call);
    struct shortage shortage = {&p, &o.c->memory, &o.c->closed, deadline};
    return message_create_carrying(ret, size, 0, objects, &shortage, bytes);
}

/* ---- read ---- */

static int read_one(shoal_channel_end *end, size_t capacity, struct got *got, int64_t deadline,
                    const char *call)
{
    struct offer o;
    int rc = offer_of(&o, end, READER, call);
    if (likely(!rc))
        rc = ended(offer_over(&o), call);
    if (unlikely(rc))
        return rc;
    o.capacity = capacity;
    if (!o.buffered) {
        struct choice a;
        rc = begin(&a, &o, deadline, call);
        if (unlikely(rc))
            return rc;
        a.got = got;
        rc = choice_run(&a);
        return waited(ended(rc, call), call, end, TYPE_CHANNEL_END, deadline);
    }
    struct place p = channel_place(o.channel, call);
    struct taken t = {0};
    size_t room = capacity < INLINE_MOST ? capacity : INLINE_MOST;
    do
        rc = lanes_take(channel_lanes(o.channel), &p, got->bytes, room, capacity, &t, deadline);
    while (rc == -EAGAIN && somebody_had_died(deadline));
    got->size = t.size;
    got->object = rc ? NULL : t.object;
    if (!rc)
        channel_nudge(o.c, WRITER);
    if (rc == -EPIPE)
        return ended(offer_over(&o)                                       ? offer_over(&o)
                     : atomic_load(&o.c->state) & CHANNEL_POISONED_BEHIND ? -ECANCELED
                                                                          : -EPIPE,
                     call);
    return rc;
}

int shoal_channel_read(shoal_channel_end *end, shoal_any **ret, int64_t deadline)
{
    const char *call = "shoal_channel_read";
    struct got got;
    got_nothing(&got);
    if (unlikely(!ret))
        return fail(-EINVAL, "%s: nowhere to write the any (NULL)", call);
    int rc = read_one(end, SIZE_MAX, &got, deadline, call);
    return rc ? rc : deliver_any(&got, ret, call);
}

int channel_read_message(shoal_channel_end *end, struct got *got, int64_t deadline)
{
    got_nothing(got);
    return read_one(end, SIZE_MAX, got, deadline, "shoal_channel_read");
}

int shoal_channel_read_bytes(shoal_channel_end *end, void *buffer, size_t capacity, size_t *size,
                             int64_t deadline)
{
    const char *call = "shoal_channel_read_bytes";
    struct got got;
    got_nothing(&got);
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

/* `wanting`: there was no memory for what it is to write, so it is not there for now. */
static int guard_offer(struct choice *a, unsigned i, void *message, unsigned *boxes)
{
    const shoal_guard *g = &a->guards[i];
    struct offer *o = &a->offers[i];
    o->channel = NULL;
    o->buffered = false;
    o->cell = NULL;
    o->letter.object = NULL;
    o->wanting = false;
    if (g->off)
        return 0;
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
    if (rc || offer_over(o)) /* once over it stays so: nothing of it will be written */
        return rc;
    if (message)
        letter_of_message(&o->letter, message);
    else
        rc = letter_write(&o->letter, o->channel, g->any, g->bytes, g->size, SHOAL_NOW, a->call);
    if (!rc)
        rc = put_letter(a, o, boxes, SHOAL_NOW);
    if (rc != -EAGAIN)
        return rc;
    o->channel = NULL;
    o->wanting = true;
    a->wanting++;
    return 0;
}

/* As choice_run; guards that are wanting come in when there is memory, which nobody tells. */
static int choose(struct choice *a, unsigned *boxes)
{
    int64_t deadline = a->deadline;
    while (unlikely(a->wanting && deadline > SHOAL_NOW)) {
        a->deadline = sooner(deadline, os_now() + SHORTAGE_SLICE);
        int rc = choice_run(a);
        if (rc != -ETIMEDOUT || a->deadline == deadline)
            return rc;
        choice_begin_again(a);
        for (unsigned i = 0; i < a->n; i++)
            if (a->offers[i].wanting) { /* not with a message of the caller's, which is there */
                rc = guard_offer(a, i, NULL, boxes);
                if (rc)
                    return rc;
            }
    }
    a->deadline = deadline;
    return choice_run(a);
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

/* The caller's messages: all but that of the guard that was chosen stay his. */
static void settle_messages(struct offer offers[], void *messages[], unsigned n, int chosen)
{
    for (unsigned i = 0; i < n; i++)
        if (messages[i] && (int)i == chosen)
            messages[i] = NULL;
        else if (messages[i])
            offers[i].letter.object = NULL;
}

/* messages NULL: there are none. */
static int alternate(shoal_guard guards[], size_t n, enum shoal_choice choice, void *messages[],
                     struct got *got, int64_t deadline)
{
    enum { FEW = 4 };
    const char *call = "shoal_alternate";
    struct offer few[FEW], *offers = few;
    unsigned few_order[FEW], *order = few_order, boxes = 0, made = 0;
    struct choice a;
    got_nothing(got);
    if (!guards || !n || n > GUARDS)
        return fail(-EINVAL, "%s: %zu guards at %p", call, n, (void *)guards);
    if (choice > SHOAL_FAIR)
        return fail(-EINVAL, "%s: there is no choice %u", call, choice);
    if (n > FEW) {
        offers = malloc(n * sizeof *offers);
        order = malloc(n * sizeof *order);
    }
    int rc =
        offers && order ? begin(&a, offers, deadline, call) : fail(-ENOMEM, "%s: no memory", call);
    a.guards = guards;
    a.n = (unsigned)n;
    a.got = got;
    for (; !rc && made < n; made++)
        rc = guard_offer(&a, made, messages ? messages[made] : NULL, &boxes);
    if (!rc && choice == SHOAL_FAIR) {
        order_fairly(guards, a.n, order);
        a.order = order;
    }
    if (!rc)
        rc = ended(choose(&a, &boxes), call);
    if (messages)
        settle_messages(offers, messages, made, rc);
    for (unsigned i = 0; i < made; i++)
        letter_end(&offers[i].letter);
    if (offers != few)
        free(offers);
    if (order != few_order)
        free(order);
    return rc >= 0 ? rc : waited(rc, call, NULL, TYPE_NONE, deadline);
}

int shoal_alternate(shoal_guard guards[], size_t n, enum shoal_choice choice, int64_t deadline)
{
    struct got got;
    int rc = alternate(guards, n, choice, NULL, &got, deadline);
    return rc < 0 ? rc : carry_out(&guards[rc], &got, rc, "shoal_alternate");
}

int channel_alternate(shoal_guard guards[], size_t n, enum shoal_choice choice, void *messages[],
                      struct got *got, int64_t deadline)
{
    int rc = alternate(guards, n, choice, messages, got, deadline);
    if (rc >= 0)
        guards[rc].chosen++;
    return rc;
}
