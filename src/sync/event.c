/* event: a flag that many wait for (docs/design.md 4).
 *
 * The word holds the flag and, above it, how often it was set: a waiter that slept through set and
 * clear sees that the count has changed.
 */
#include "region/wait.h"
#include "sync/sync.h"
#include <limits.h>

/* word: {sets:31, set:1}, CAS by set, AND by clear; event: see region/wait.h. */
struct body {
    _Atomic uint32_t word;
    _Atomic uint32_t event;
};
static_assert(sizeof(struct body) <= BODY, "fits in the header");

static struct body *body_of(const struct header *h)
{
    return (struct body *)(uintptr_t)h->body;
}

int shoal_event_create(shoal_event **ret, const shoal_sync_options *options)
{
    struct header *h;
    int rc = sync_create(&h, ret, TYPE_EVENT, 0, options, "shoal_event_create");
    if (!rc)
        *ret = object_publish(h);
    return rc;
}

int shoal_event_set(shoal_event *event)
{
    struct header *h = header_of(event, TYPE_EVENT);
    if (unlikely(!h))
        return bad_handle(event, "shoal_event_set");
    struct body *b = body_of(h);
    uint32_t w = atomic_load_explicit(&b->word, memory_order_relaxed);
    if (MUTANT(89) && (w & 1))
        return 0;
    /* count + 1, flag. Written also if it was set: whoever clears it then sees what came before
     * this call. */
    while (!atomic_compare_exchange_weak(&b->word, &w, w & 1 ? w : w + 3))
        ;
    /* also if it was set already: the one who set it may have come no further */
    wait_wake(&b->event, MUTANT(90) ? 1 : INT_MAX);
    return 0;
}

int shoal_event_clear(shoal_event *event)
{
    struct header *h = header_of(event, TYPE_EVENT);
    if (unlikely(!h))
        return bad_handle(event, "shoal_event_clear");
    atomic_fetch_and(&body_of(h)->word, ~1u);
    return 0;
}

int shoal_event_is_set(const shoal_event *event)
{
    struct header *h = header_of(event, TYPE_EVENT);
    if (unlikely(!h))
        return bad_handle(event, "shoal_event_is_set");
    return atomic_load_explicit(&body_of(h)->word, memory_order_acquire) & 1;
}

/* Set, or set again since `then`. */
static bool was_set(struct body *b, uint32_t then)
{
    uint32_t w = atomic_load_explicit(&b->word, memory_order_acquire);
    return (w & 1) || w >> 1 != then >> 1;
}

/* `then`: the word as it was when the wait began, not set. */
static int wait_set(struct header *h, uint32_t then, int64_t deadline)
{
    struct body *b = body_of(h);
    if (deadline <= SHOAL_NOW)
        return not_now(deadline);
    owner_t me;
    int rc = self(&me);
    if (rc)
        return rc;
    for (struct spin s = spin_begin(); spin_once(&s);)
        if (was_set(b, then))
            return 0;
    struct waiter w;
    rc = wait_begin(&w, header_id(h));
    if (rc)
        return rc;
    for (;;) {
        uint32_t seen = wait_announce(&w, &b->event);
        if (was_set(b, then))
            break;
        rc = wait_park(&w, &b->event, seen, deadline);
        if (rc)
            break;
    }
    wait_end(&w);
    return rc;
}

int shoal_event_wait(shoal_event *event, int64_t deadline)
{
    struct header *h = header_of(event, TYPE_EVENT);
    if (unlikely(!h))
        return bad_handle(event, "shoal_event_wait");
    uint32_t then = atomic_load_explicit(&body_of(h)->word, memory_order_acquire);
    if (then & 1)
        return 0;
    return waited(wait_set(h, then, deadline), "shoal_event_wait", event, TYPE_EVENT, deadline);
}

SYNC_REFERENCES(event, TYPE_EVENT)

/* ---- repair: only the wake-up of a setter that died before it ---- */

void event_describe(struct description *d, const struct header *h)
{
    uint32_t word = atomic_load(&body_of(h)->word);
    describe_flag(d, "set", word & 1);
    describe_number(d, "sets", word >> 1);
}

static _Atomic uint32_t *event_of(struct header *h)
{
    return &body_of(h)->event;
}

/* Who leaves in order is in no call; that it may be, from a signal handler, is why a set event is
 * not taken for undisturbed. */
static bool undisturbed(struct header *h)
{
    return !(atomic_load(&body_of(h)->word) & 1);
}

const struct type_repair event_repair = {.event = event_of, .undisturbed = undisturbed};
