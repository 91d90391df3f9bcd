/* Pipes: two ends, and lanes for each direction between them.
 *
 * There are three objects. Processes hold the ends, as they hold every object; the pipe, with the
 * lanes, is held by the ends (`held`, below), and by no process once it is made. So who has an end
 * open can use the lanes, and whether the other side is still there is a question about one object:
 * does anybody hold the other end?
 *
 * Whoever closes an end last, a process or who repairs one, destroys it: both its lanes are shut,
 * which wakes all who sleep there. From then on its peer receives what was sent before, then -EPIPE,
 * and sends nothing. The end holds the pipe until then (`told`), also while it is DEAD already, and
 * drops it after that. Who dies in between is repaired, which does the same again; shutting twice
 * and dropping twice do nothing.
 *
 * An end holds the long messages that lie in the lane which it receives from; they end with it, as
 * nobody will receive them. Whoever is sending one just then sees that, or is seen: he commits it, then
 * gives it up and asks whether the end lives, which is DEAD before it looks at the lane.
 *
 * Sleepers say in their frames that they sleep on the pipe. Their process has an end open, which holds
 * it, so what holds for objects that a process holds itself (docs/design.md 3) holds here. What the
 * dead left undone in their lanes is settled on behalf of the ends that they held.
 */
#include "message/any.h"
#include "message/connection.h"
#include "message/message.h"
#include "message/port.h"
#include "region/poll.h"
#include <stdlib.h>

/* Of a pipe. The ends' ids + 1 and generations, written before they are published. */
struct pipe {
    struct name {
        _Atomic uint32_t id, generation;
    } ends[2];
};
static_assert(sizeof(struct pipe) <= BODY, "fits in the header");

enum { NONE = 0xff /* in place of a lane: it goes that way only */ };
enum { ROOM = 1 << 20 };

/* Of an end; constant, but for told and limit. */
struct end {
    uint32_t pipe, generation;
    uint8_t in, out; /* which lanes */
    _Atomic uint8_t told;
    _Atomic uint64_t limit; /* of what is received here; 0: none */
};
static_assert(sizeof(struct end) <= BODY, "fits in the header");

static struct pipe *pipe_of(const struct header *h)
{
    return (struct pipe *)(uintptr_t)h->body;
}

static struct end *end_of(const struct header *h)
{
    return (struct end *)(uintptr_t)h->body;
}

static struct lanes *lanes_in(const struct header *pipe, unsigned which)
{
    return (struct lanes *)header_payload(pipe) + which;
}

static unsigned lanes_count(const struct header *pipe)
{
    return (unsigned)(pipe->size / sizeof(struct lanes));
}

/* ---- making one ---- */

static struct header *new_end(const struct header *pipe, unsigned in, unsigned out, int *rc)
{
    struct header *h;
    *rc = object_create(&h, TYPE_END, 0, NULL, OBJECT_RAW);
    if (*rc)
        return NULL;
    h->flags = OBJECT_LOOKED_AT;
    struct end *e = end_of(h);
    e->pipe = header_id(pipe);
    e->generation = state_generation(atomic_load(&pipe->state));
    e->in = (uint8_t)in;
    e->out = (uint8_t)out;
    return h;
}

static void name_end(struct header *pipe, unsigned i, const struct header *end)
{
    struct name *name = &pipe_of(pipe)->ends[i];
    atomic_store(&name->generation, state_generation(atomic_load(&end->state)));
    atomic_store(&name->id, header_id(end) + 1);
}

int shoal_pipe(shoal_connection **first, shoal_connection **second,
               const shoal_pipe_options *options)
{
    struct header *h, *ends[2] = {NULL, NULL};
    unsigned flags = options ? options->flags : 0;
    size_t room = options && options->room ? options->room : ROOM;
    if (!first || !second)
        return fail(-EINVAL, "shoal_pipe: nowhere to write an end (NULL)");
    if (flags & ~SHOAL_ONE_WAY)
        return fail(-EINVAL, "shoal_pipe: unknown flags %#x", flags);
    bool duplex = !(flags & SHOAL_ONE_WAY);
    int rc = object_create(&h, TYPE_PIPE, (duplex ? 2 : 1) * sizeof(struct lanes),
                           options ? options->name : NULL, OBJECT_ZERO);
    if (rc)
        return rc;
    h->flags = OBJECT_LOOKED_AT;
    for (unsigned i = 0; i < lanes_count(h); i++)
        lanes_in(h, i)->limit = MUTANT(180) ? 0 : room < LEAST_LIMIT ? LEAST_LIMIT : room;
    void *pipe = object_publish(h);
    ends[0] = new_end(h, 0, duplex ? 1 : NONE, &rc);
    if (!rc)
        ends[1] = new_end(h, duplex ? 1 : NONE, 0, &rc);
    if (!rc) {
        /* Named before they are there: from then on they hold it, and are found to. */
        name_end(h, 0, ends[0]);
        name_end(h, 1, ends[1]);
        *first = object_publish(ends[0]);
        *second = object_publish(ends[1]);
    } else if (ends[0]) {
        object_abandon(ends[0]);
    }
    object_close(pipe, TYPE_PIPE);
    return rc;
}

/* ---- sending and receiving ---- */

/* Who sleeps is told of deaths; who does not has to look. True if there was one. */
static bool look_for_deaths(void)
{
    int64_t soonest;
    return self_known() && life_look_all(!os_features()->robust, &soonest);
}

/* Who only sends never sleeps until the region is full, while nobody receives any more, perhaps. */
static void look_now_and_then(size_t size)
{
    enum { OFTEN = 64 };
    static _Thread_local unsigned sends;
    if (unlikely(++sends % OFTEN == 0 || size > INLINE_MOST))
        look_for_deaths();
}

/* What a call needs to know of an open end. */
struct way {
    struct place place;
    struct lanes *lanes;
    struct end *end;
};

static int way_of(const shoal_connection *c, bool out, const char *what, struct way *ret)
{
    struct header *h = header_of(c, TYPE_END);
    if (unlikely(!h))
        return bad_handle(c, what);
    struct end *e = end_of(h);
    unsigned which = out ? e->out : e->in;
    if (unlikely(which == NONE))
        return fail(-EBADF, "%s: this end of a one-way pipe only %s", what,
                    out ? "receives" : "sends");
    struct header *pipe = header_at(e->pipe);
    *ret = (struct way){{pipe, e->pipe, e->generation, which, what}, lanes_in(pipe, which), e};
    return 0;
}

static size_t limit_of(const struct way *w)
{
    uint64_t limit = atomic_load_explicit(&w->end->limit, memory_order_relaxed);
    return limit ? limit : SIZE_MAX;
}

int pipe_port(struct port *ret, const shoal_connection *end, bool out, const char *call)
{
    struct way w;
    int rc = way_of(end, out, call, &w);
    if (likely(!rc))
        *ret = (struct port){w.lanes, w.place, end, true};
    return rc;
}

void pipe_sends(size_t size)
{
    look_now_and_then(size);
}

/* There was nothing, at once; but somebody had died, so there may be an end. */
static bool in_vain_now(int rc, int64_t deadline)
{
    return rc == -EAGAIN && deadline == SHOAL_NOW && look_for_deaths();
}

bool pipe_took_in_vain(int rc, int64_t deadline)
{
    return in_vain_now(rc, deadline);
}

static bool may_receive(void *argument)
{
    const struct way *w = argument;
    return lanes_ready(w->lanes, &w->place);
}

/* There was nothing: the descriptor, if the end has one, waits. */
static int in_vain_here(shoal_connection *c, struct way *w, int rc)
{
    if (rc < 0)
        pollable_in_vain(handle_of(c), rc, &w->lanes->items, may_receive, w);
    return rc;
}

static int sent(int rc, const char *what)
{
    return rc == -EPIPE ? fail(rc, "%s: the peer is gone: its end is open nowhere any more", what)
                        : rc;
}

static int received(int rc, const char *what, size_t size, size_t most)
{
    if (rc == -EMSGSIZE)
        return fail(rc, "%s: a message of %zu bytes is longer than %zu", what, size, most);
    return rc == -EPIPE ? fail(rc, "%s: the peer is gone: its end is open nowhere any more", what)
                        : rc;
}

static int pipe_send_any(shoal_connection *c, const shoal_any *any, int64_t deadline)
{
    struct way w;
    int rc = way_of(c, true, "shoal_connection_send", &w);
    if (!rc)
        rc = any_may_travel(any, "shoal_connection_send");
    if (rc)
        return rc;
    look_now_and_then(0);
    return sent(message_put_any(w.lanes, &w.place, any, deadline), "shoal_connection_send");
}

static int pipe_send(shoal_connection *c, const void *bytes, size_t size, int64_t deadline)
{
    struct way w;
    int rc = way_of(c, true, "shoal_connection_send_bytes", &w);
    if (rc)
        return rc;
    look_now_and_then(size);
    return sent(size > INLINE_MOST ? message_put_long(w.lanes, &w.place, bytes, size, deadline)
                                   : lanes_put(w.lanes, &w.place, bytes, size, deadline),
                "shoal_connection_send_bytes");
}

/* Nothing is ever under way. */
static int pipe_flush(shoal_connection *c, int64_t deadline)
{
    struct way w;
    (void)deadline;
    return way_of(c, true, "shoal_connection_flush", &w);
}

static int pipe_recv_any(shoal_connection *c, shoal_any **ret, int64_t deadline)
{
    struct way w;
    size_t size = 0;
    int rc = way_of(c, false, "shoal_connection_recv", &w);
    if (rc)
        return rc;
    size_t most = limit_of(&w);
    do
        rc = message_take_any(w.lanes, &w.place, ret, most, &size, deadline);
    while (in_vain_now(rc, deadline));
    in_vain_here(c, &w, rc);
    return received(rc, "shoal_connection_recv", size, most);
}

static int take_into(const struct way *w, void *buffer, size_t capacity, size_t *size,
                     int64_t deadline)
{
    struct taken t = {0};
    int rc;
    do
        rc = lanes_take(w->lanes, &w->place, buffer, capacity, capacity, &t, deadline);
    while (in_vain_now(rc, deadline));
    if (!rc && t.object)
        message_unpack(t.object, buffer);
    if (!rc || rc == -EMSGSIZE)
        *size = t.size;
    return rc;
}

/* Memory first, as what was taken cannot be put back. */
static int pipe_recv(shoal_connection *c, void **ret, size_t *size, int64_t deadline)
{
    struct way w;
    size_t got = 0, room = INLINE_MOST;
    int rc = way_of(c, false, "shoal_connection_recv_bytes", &w);
    if (rc)
        return rc;
    size_t limit = limit_of(&w);
    unsigned char *copy = NULL;
    for (;;) {
        unsigned char *larger = realloc(copy, room + 1);
        if (!larger) {
            free(copy);
            return fail(-ENOMEM,
                        "shoal_connection_recv_bytes: no memory for a message of %zu bytes", room);
        }
        copy = larger;
        rc = take_into(&w, copy, room < limit ? room : limit, &got, deadline);
        if (rc != -EMSGSIZE || got > limit)
            break;
        room = got;
    }
    if (rc) {
        free(copy);
        in_vain_here(c, &w, rc);
        if (rc == -EMSGSIZE)
            *size = got;
        return received(rc, "shoal_connection_recv_bytes", got, limit);
    }
    copy[got] = 0;
    unsigned char *smaller = realloc(copy, got + 1);
    *ret = smaller ? smaller : copy;
    *size = got;
    return 0;
}

static int pipe_recv_into(shoal_connection *c, void *buffer, size_t capacity, size_t *size,
                          int64_t deadline)
{
    struct way w;
    size_t got = 0;
    int rc = way_of(c, false, "shoal_connection_recv_bytes_into", &w);
    if (rc)
        return rc;
    size_t limit = limit_of(&w), most = capacity < limit ? capacity : limit;
    rc = in_vain_here(c, &w, take_into(&w, buffer, most, &got, deadline));
    if (!rc || rc == -EMSGSIZE)
        *size = got;
    return received(rc, "shoal_connection_recv_bytes_into", got, most);
}

static int pipe_poll(shoal_connection *c, int64_t deadline)
{
    struct way w;
    int rc = way_of(c, false, "shoal_connection_poll", &w);
    if (rc)
        return rc;
    do
        rc = lanes_poll(w.lanes, &w.place, deadline);
    while (in_vain_now(rc, deadline));
    return in_vain_here(c, &w, rc);
}

static int pipe_set_limit(shoal_connection *c, size_t most)
{
    struct header *h = header_of(c, TYPE_END);
    if (!h)
        return bad_handle(c, "shoal_connection_set_limit");
    atomic_store(&end_of(h)->limit, most);
    return 0;
}

static int pipe_fileno(shoal_connection *c)
{
    struct way w;
    int rc = way_of(c, false, "shoal_connection_fileno", &w);
    return rc ? rc : pollable_open(handle_of(c), &w.lanes->items, may_receive, &w, w.place.call);
}

static void pipe_close(shoal_connection *c)
{
    object_close(c, TYPE_END);
}

const struct connection_verbs pipe_verbs = {
    .send_any = pipe_send_any,
    .recv_any = pipe_recv_any,
    .send = pipe_send,
    .flush = pipe_flush,
    .recv = pipe_recv,
    .recv_into = pipe_recv_into,
    .poll = pipe_poll,
    .set_limit = pipe_set_limit,
    .fileno = pipe_fileno,
    .close = pipe_close,
};

int shoal_connection_reference(const shoal_connection *connection, shoal_reference *ret)
{
    int rc, error = errno;
    const struct connection_verbs *verbs =
        connection_verbs_of(connection, "shoal_connection_reference", &rc);
    if (!verbs)
        return rc;
    if (verbs != &pipe_verbs)
        rc = fail(-ENOTSUP, "shoal_connection_reference: a socket's connection has none");
    else
        rc = object_reference(connection, TYPE_END, "shoal_connection_reference", ret);
    errno = error;
    return rc;
}

int shoal_connection_open(shoal_connection **ret, const shoal_reference *reference)
{
    return object_open((void **)ret, TYPE_END, "shoal_connection_open", reference);
}

/* ---- lifetime ---- */

static bool holds(const struct name *name, uint32_t pipe)
{
    uint32_t id = atomic_load(&name->id) - 1, generation = atomic_load(&name->generation);
    if (id >= atomic_load(&view.region->groups_high) * GROUP)
        return false;
    const struct header *h = header_at(id);
    uint64_t s = atomic_load(&h->state);
    if (state_status(s) == OBJECT_LIVE)
        return state_generation(s) == generation;
    const struct end *e = end_of(h);
    return state_status(s) == OBJECT_DEAD && state_generation(s) == generation + 1 &&
           h->type == TYPE_END && e->pipe == pipe && !atomic_load(&e->told);
}

struct header *pipe_reader(struct header *pipe, unsigned which, uint32_t *generation)
{
    const struct name *name = &pipe_of(pipe)->ends[which ? 1 : 0]; /* as shoal_pipe names them */
    uint32_t id = atomic_load(&name->id) - 1;
    *generation = atomic_load(&name->generation);
    if (id >= atomic_load(&view.region->groups_high) * GROUP)
        return NULL;
    struct header *end = header_at(id);
    uint64_t s = atomic_load(&end->state);
    return state_status(s) == OBJECT_LIVE && state_generation(s) == *generation ? end : NULL;
}

static bool pipe_held(struct header *h)
{
    const struct pipe *pipe = pipe_of(h);
    uint32_t id = header_id(h);
    return holds(&pipe->ends[0], id) || holds(&pipe->ends[1], id);
}

static struct place place_of(struct header *pipe, unsigned which)
{
    return (struct place){pipe, header_id(pipe), state_generation(atomic_load(&pipe->state)), which,
                          NULL};
}

static void end_repair_lanes(struct header *h)
{
    struct header *pipe = header_at(end_of(h)->pipe);
    for (unsigned i = 0; i < lanes_count(pipe); i++) {
        struct place p = place_of(pipe, i);
        lanes_repair(lanes_in(pipe, i), &p);
    }
}

static void end_destroy(struct header *h, uint32_t slot)
{
    struct end *e = end_of(h);
    struct header *pipe = header_at(e->pipe);
    if (!atomic_load(&e->told)) {
        for (unsigned i = 0; i < lanes_count(pipe); i++)
            lanes_shut(lanes_in(pipe, i), LANES_SHUT);
        if (e->in != NONE && !MUTANT(164))
            lanes_drop(lanes_in(pipe, e->in), e->pipe, slot);
        atomic_store(&e->told, 1);
    }
    object_drop(e->pipe, e->generation, slot);
}

static void pipe_destroy(struct header *h, uint32_t slot)
{
    for (unsigned i = 0; i < lanes_count(h); i++)
        lanes_destroy(lanes_in(h, i), slot);
}

static void pipe_runs(struct header *h,
                      void (*visit)(uint32_t payload, uint32_t units, void *argument),
                      void *argument)
{
    for (unsigned i = 0; i < lanes_count(h); i++)
        lanes_runs(lanes_in(h, i), visit, argument);
}

static uint64_t pipe_charged(struct header *h, uint32_t slot)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < lanes_count(h) && i < 2; i++)
        sum += lanes_charged(lanes_in(h, i), slot);
    return sum;
}

static _Atomic uint32_t *pipe_event(struct header *h)
{
    return &lanes_in(h, 0)->items;
}

static bool pipe_ready(struct header *h)
{
    struct place p = place_of(h, 0);
    return lanes_ready(lanes_in(h, 0), &p);
}

/* Where else one may sleep: until there is room in the first lanes; in the second, either. */
static _Atomic uint32_t *pipe_further(struct header *h, unsigned i)
{
    unsigned which = i / 2;
    if (which >= lanes_count(h))
        return NULL;
    return i % 2 ? &lanes_in(h, which)->space : &lanes_in(h, which)->items;
}

const struct type_repair pipe_repair = {.event = pipe_event,
                                        .ready = pipe_ready,
                                        .further = pipe_further,
                                        .held = pipe_held,
                                        .destroy = pipe_destroy,
                                        .runs = pipe_runs,
                                        .charged = pipe_charged};
const struct type_repair pipe_end_repair = {.repair = end_repair_lanes, .destroy = end_destroy};

/* ---- inspection ---- */

void pipe_describe(struct description *d, const struct header *h)
{
    static const char *const ways[][2] = {{"first", "second"}, {"to first", "to second"}};
    for (unsigned i = 0; i < lanes_count(h) && i < 2; i++) {
        uint32_t end = atomic_load(&pipe_of(h)->ends[i].id);
        if (end)
            describe_number(d, ways[0][i], end - 1);
        lanes_describe(d, h, i, ways[1][i]);
    }
}

void pipe_end_describe(struct description *d, const struct header *h)
{
    describe_number(d, "pipe", end_of(h)->pipe);
}
