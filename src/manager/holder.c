/* Who holds something of an object: locks, permits. Each connection is an owner of its own, a persona, in
 * whose name methods are called, by whatever thread. When it is no more, its locks are what any dead
 * owner leaves, which the next owner is told of; permits are given back.
 *
 * A connection's end is not its client's. Python's proxies close theirs as soon as the process has no
 * proxy any more, or only seems to (one of two proxies of the same object has gone), and make a new one
 * when they need one. What it holds must not be somebody else's then. So where the process at the other end is
 * known, what a connection leaves is kept for it until that process has ended, and its next
 * connections go on with it. Where it is not known, by TCP, the connection's end has to do; and so it does for C's clients, whose
 * connections end with their threads (LINK_NAME).
 */
#include "manager/manager.h"
#include "region/wait.h"
#include <limits.h>
#include <stdlib.h>

int holder_begin(struct holder *h, struct entry *e)
{
    for (unsigned i = h->n; i-- > 0;)
        if (h->of[i] == e)
            return 0;
    if (h->n == h->room) {
        unsigned room = h->room ? h->room * 2 : 4;
        struct entry **of = realloc(h->of, room * sizeof(struct entry *));
        if (!of)
            return fail(-ENOMEM, "no memory to remember what a connection holds");
        h->of = of;
        h->room = room;
    }
    int rc = h->persona.me ? 0 : persona_create(&h->persona);
    if (rc)
        return rc;
    h->of[h->n++] = e;
    entry_use(e);
    return 0;
}

static bool has(struct holder *h, const struct entry *e)
{
    bool ret = false;
    if (!h->persona.me || h->busy || !e->type->has)
        return false;
    for (unsigned i = 0; i < h->n && !ret; i++)
        if (h->of[i] == e) {
            persona_swap(&h->persona);
            ret = e->type->has(e->object);
            persona_swap(&h->persona);
        }
    return ret;
}

struct holder *holder_for(struct session *s, const struct entry *e)
{
    struct holder *left = s->client ? s->client->left : NULL;
    if (left && !has(&s->holder, e))
        for (; left; left = left->next)
            if (has(left, e))
                return left;
    return &s->holder;
}

void holder_end(struct server *server, struct holder *h)
{
    if (!h->persona.me)
        return;
    _Atomic uint32_t **events = calloc(h->n + 1, sizeof(_Atomic uint32_t *));
    persona_swap(&h->persona);
    for (unsigned i = 0; i < h->n; i++) {
        _Atomic uint32_t *event = NULL;
        h->of[i]->type->leave(h->of[i]->object, &event);
        if (events)
            events[i] = event;
    }
    persona_swap(&h->persona);
    persona_end(&h->persona);
    /* That it is dead is there for all to see before anybody is woken. */
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned i = 0; i < h->n; i++) {
        if (events && events[i])
            wait_wake_slow(events[i], INT_MAX);
        entry_unuse(&server->objects, h->of[i]);
    }
    free(events);
    free(h->of);
    h->of = NULL;
    h->n = h->room = 0;
}

/* Forgets what it has nothing of. */
static void sift(struct server *server, struct holder *h)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < h->n; i++)
        if (has(h, h->of[i]))
            h->of[kept++] = h->of[i];
        else
            entry_unuse(&server->objects, h->of[i]);
    h->n = kept;
}

void holder_leave(struct server *server, struct holder *h, struct client *client)
{
    struct holder *left = NULL;
    if (client && h->persona.me) {
        sift(server, h);
        left = h->n ? malloc(sizeof *left) : NULL;
    }
    if (!left) {
        holder_end(server, h);
        return;
    }
    *left = *h;
    left->next = client->left;
    client->left = left;
    *h = (struct holder){.n = 0};
}
