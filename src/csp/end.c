/* Ends of channels: objects of their own, which processes and messages hold. How the last one is known.
 *
 * A channel has for each side a list of names of its ends, and an end counts while its name is there and it is LIVE, of that
 * generation, and not retired. There is no count, which a death could falsify: who retires an end, or destroys it as
 * nobody holds it any more, marks that first (`retired`, or DEAD; a full fence) and then looks whether there is any
 * that counts. If not, the side is over. Of two who end the last two ends the later one to mark sees both marks.
 *
 * A name is written when its end is LIVE: from then on it counts. It is struck out by who ends it, after all else; so
 * who is repaired in between, or does it again, finds it and looks again, and an end that was
 * never named (its maker died) ends nothing. A process that holds an end holds the channel too (`part`). Where it
 * does not any more, as the dead's holds are given back in any order, nobody else does, and there is nobody to tell.
 *
 * Deaths. Retiring, marked, not yet looked: the end's `repair` looks (the dead held it). Destroying: the
 * destroyer's work is finished in its name, from the beginning.
 * What parties of the dead have offered is taken back by `repair` of the ends that they held: their words are made
 * PRIVATE, so that nobody meets the dead, and their cells cleared. Until then who meets a dead party has been too early
 * to know: the message went along with it.
 */
#include "csp/channel.h"
#include "region/wait.h"
#include <limits.h>

static uint64_t name_of(const struct header *end, uint32_t generation)
{
    return (uint64_t)generation << 32 | (header_id(end) + 1);
}

/* ---- counting ---- */

bool end_counts(uint64_t name)
{
    uint32_t id = (uint32_t)name - 1;
    if (!name || id >= atomic_load(&view.region->groups_high) * GROUP)
        return false;
    const struct header *h = header_at(id);
    uint64_t s = atomic_load(&h->state);
    return state_status(s) == OBJECT_LIVE && state_generation(s) == (uint32_t)(name >> 32) &&
           !atomic_load(&end_body(h)->retired);
}

static bool any_counts(const struct channel *c, enum side side)
{
    uint32_t high = atomic_load(&c->ends[side]);
    for (uint32_t i = 0; i < high; i++) {
        const struct row *row = channel_row(c, i);
        if (row && end_counts(atomic_load(&row->ends[side])))
            return true;
    }
    return false;
}

static _Atomic uint64_t *find_name(struct channel *c, enum side side, uint64_t name)
{
    uint32_t high = atomic_load(&c->ends[side]);
    for (uint32_t i = 0; i < high; i++) {
        struct row *row = channel_row(c, i);
        if (row && atomic_load(&row->ends[side]) == name)
            return &row->ends[side];
    }
    return NULL;
}

/* Places of ends that are over are taken again: their names are struck out soon. */
static int write_name(struct channel *c, enum side side, uint64_t name)
{
    int rc;
    for (uint32_t i = 0;; i++) {
        struct row *row = channel_make_row(c, i, &rc);
        if (!row)
            return fail(rc == -ENOSPC ? rc : -ENOMEM, "no room for another end of the channel");
        uint64_t none = 0;
        channel_grow(&c->ends[side], i + 1);
        if (atomic_compare_exchange_strong(&row->ends[side], &none, name))
            return 0;
    }
}

/* What nobody will read ends, with the ends that it holds; in the name of `slot`, whose process closes the end or is
 * dead. (One that lives takes it instead: channel_drop.) */
static void drop_unread(struct header *channel, uint32_t slot)
{
    if (slot && channel_unread(channel) && !MUTANT(414))
        lanes_drop(channel_lanes(channel), header_id(channel), slot);
}

/* The end has been marked as over: is it the last one? `slot`: as above, or 0. */
static void ended(struct header *channel, enum side side, uint64_t name, uint32_t slot)
{
    struct channel *c = channel_of(channel);
    _Atomic uint64_t *at = find_name(c, side, name);
    if (!at)
        return;
    if (channel_barrier(channel) && !MUTANT(410))
        barrier_look(channel);
    else if (!any_counts(c, side) && !MUTANT(401))
        channel_end(channel, side == READER ? CHANNEL_NO_READERS : CHANNEL_NO_WRITERS);
    drop_unread(channel, slot);
    atomic_store(at, 0);
}

/* ---- making and closing ---- */

static int make(shoal_channel *channel, enum side side, bool barrier, shoal_channel_end **ret,
                const char *call)
{
    struct header *c = header_of(channel, TYPE_CHANNEL), *h;
    shoal_reference reference;
    void *held;
    if (!c)
        return bad_handle(channel, call);
    if (channel_barrier(c) != barrier)
        return fail(-EBADF, "%s: this is %s", call, barrier ? "no barrier" : "a barrier");
    if (!ret)
        return fail(-EINVAL, "%s: nowhere to write the handle (NULL)", call);
    int rc = object_reference(channel, TYPE_CHANNEL, call, &reference);
    if (!rc)
        rc = object_open(&held, TYPE_CHANNEL, call, &reference);
    if (rc)
        return rc;
    rc = object_create(&h, TYPE_CHANNEL_END, 0, NULL, OBJECT_RAW);
    if (rc) {
        object_close(held, TYPE_CHANNEL);
        return rc;
    }
    h->flags = OBJECT_LOOKED_AT;
    *end_body(h) =
        (struct end_body){.channel = reference.id,
                          .generation = reference.generation,
                          .side = side,
                          .arrived = (uint32_t)(atomic_load(&channel_of(c)->round) >> 32)};
    void *end = object_publish(h);
    rc = write_name(channel_of(c), side, name_of(h, state_generation(atomic_load(&h->state))));
    if (rc) {
        object_close(end, TYPE_CHANNEL_END);
        object_close(held, TYPE_CHANNEL);
        return rc;
    }
    if (barrier)
        barrier_enrolled(c);
    *ret = end;
    return 0;
}

int shoal_channel_reader(shoal_channel *channel, shoal_channel_end **ret)
{
    return make(channel, READER, false, ret, "shoal_channel_reader");
}

int shoal_channel_writer(shoal_channel *channel, shoal_channel_end **ret)
{
    return make(channel, WRITER, false, ret, "shoal_channel_writer");
}

int shoal_channel_enrol(shoal_channel *barrier, shoal_channel_end **ret)
{
    return make(barrier, READER, true, ret, "shoal_channel_enrol");
}

int shoal_channel_end_reference(const shoal_channel_end *end, shoal_reference *ret)
{
    return object_reference(end, TYPE_CHANNEL_END, "shoal_channel_end_reference", ret);
}

int shoal_channel_end_open(shoal_channel_end **ret, const shoal_reference *reference)
{
    const char *call = "shoal_channel_end_open";
    if (!ret)
        return fail(-EINVAL, "%s: nowhere to write the handle (NULL)", call);
    int rc = object_hold(reference, TYPE_CHANNEL_END, call);
    if (!rc)
        *ret = (shoal_channel_end *)(void *)((unsigned char *)&handles[reference->id] +
                                             (reference->generation & TAG_MASK));
    return rc;
}

shoal_channel_end *shoal_channel_end_close(shoal_channel_end *end)
{
    if (!header_of(end, TYPE_CHANNEL_END))
        return NULL;
    shoal_reference reference = {.family = view.region->family,
                                 .id = (uint32_t)(handle_of(end) - handles),
                                 .generation = handle_of(end)->generation};
    object_unhold(&reference, TYPE_CHANNEL_END);
    return NULL;
}

/* ---- retire and poison ---- */

int shoal_channel_retire(shoal_channel_end *end)
{
    const char *call = "shoal_channel_retire";
    struct header *h = header_of(end, TYPE_CHANNEL_END);
    owner_t me;
    if (!h)
        return bad_handle(end, call);
    int rc = self(&me);
    if (rc)
        return rc;
    struct header *channel = header_at(end_body(h)->channel);
    enum side side = end_body(h)->side;
    /* Also if it was before: who did that may be stopped before it has looked. */
    bool first = !atomic_exchange(&end_body(h)->retired, 1); /* a full fence */
    ended(channel, side, name_of(h, handle_of(end)->generation), 0);
    if (!first)
        return 0;
    channel_poke(channel_of(channel), side); /* who waits by this very end */
    if (channel_barrier(channel))
        wait_wake(&channel_of(channel)->memory, INT_MAX);
    if (channel_unread(channel))
        channel_drop(channel);
    return 0;
}

int shoal_channel_poison(shoal_channel_end *end)
{
    const char *call = "shoal_channel_poison";
    struct header *h = header_of(end, TYPE_CHANNEL_END);
    owner_t me;
    if (!h)
        return bad_handle(end, call);
    int rc = self(&me);
    if (rc)
        return rc;
    struct header *channel = header_at(end_body(h)->channel);
    bool behind = end_body(h)->side == WRITER && channel_buffered(channel);
    channel_end(channel, behind ? CHANNEL_POISONED_BEHIND : CHANNEL_POISONED);
    if (!behind)
        channel_drop(channel);
    return 0;
}

/* ---- lifetime ---- */

static struct header *channel_if_there(const struct header *h)
{
    struct header *channel = header_at(end_body(h)->channel);
    uint64_t s = atomic_load(&channel->state);
    return state_status(s) == OBJECT_LIVE && state_generation(s) == end_body(h)->generation &&
                   channel->type == TYPE_CHANNEL
               ? channel
               : NULL;
}

/* A party of the dead offers nothing any more. */
static void take_back(struct channel *c, enum side side)
{
    uint32_t high = atomic_load(&c->cells[side]);
    for (uint32_t i = 0; i < high; i++) {
        struct row *row = channel_row(c, i);
        uint64_t offer = row ? atomic_load(&row->cells[side].offer) : 0;
        if (!offer)
            continue;
        struct party *p = offer_party(offer);
        uint64_t word = atomic_load(&p->word);
        if (!owner_gone(atomic_load(&p->owner)))
            continue;
        /* of that sequence: its party may be a newcomer's by now */
        while (word_state(word) == WAITING && word_sequence(word) == (uint32_t)(offer >> 32) &&
               !MUTANT(402) &&
               !atomic_compare_exchange_weak(&p->word, &word,
                                             word_of(word_sequence(word) + 1, PRIVATE)))
            ;
        atomic_compare_exchange_strong(&row->cells[side].offer, &offer, 0);
    }
}

static void repair(struct header *h)
{
    struct header *channel = channel_if_there(h);
    if (!channel)
        return;
    enum side side = end_body(h)->side;
    take_back(channel_of(channel), side);
    channel_finish_end(channel);
    if (atomic_load(&end_body(h)->retired))
        ended(channel, side, name_of(h, state_generation(atomic_load(&h->state))), 0);
}

/* Who retired or poisoned it has perhaps not come to that. */
static void tend(struct header *h, uint32_t slot)
{
    struct header *channel = channel_if_there(h);
    if (channel)
        drop_unread(channel, slot);
}

static void destroy(struct header *h, uint32_t slot)
{
    struct header *channel = channel_if_there(h);
    if (channel) /* the generation that it had when it lived */
        ended(channel, end_body(h)->side, name_of(h, state_generation(atomic_load(&h->state)) - 1),
              slot);
}

static void rouse(struct header *h)
{
    if (!MUTANT(407))
        party_poke_at(header_id(h));
}

/* Who leaves in order is in no call: it has woken whom it had to. */
static bool undisturbed(struct header *h)
{
    (void)h;
    return true;
}

static bool part(struct header *h, uint32_t *id, uint32_t *generation)
{
    *id = end_body(h)->channel;
    *generation = end_body(h)->generation;
    return true;
}

const struct type_repair channel_end_repair = {.repair = repair,
                                               .rouse = rouse,
                                               .undisturbed = undisturbed,
                                               .part = part,
                                               .tend = tend,
                                               .destroy = destroy};

void channel_end_describe(struct description *d, const struct header *h)
{
    const struct end_body *e = (const void *)h->body;
    describe_number(d, "channel", e->channel);
    describe_flag(d, e->side == READER ? "reader" : "writer", true);
    describe_flag(d, "retired", atomic_load(&e->retired));
}
