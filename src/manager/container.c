/* What lists, dicts and namespaces share. */
#include "manager/container.h"
#include "message/message.h"
#include "region/life.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

int container_create(void **ret, enum type type, const shoal_container_options *options,
                     const char *call)
{
    struct header *h;
    struct site p;
    if (!ret)
        return fail(-EINVAL, "%s: nowhere to write the handle (NULL)", call);
    if (options && options->flags)
        return fail(-EINVAL, "%s: unknown flags %#x", call, options->flags);
    size_t stores = type == TYPE_LIST ? 1 : SHARDS;
    size_t inner = type == TYPE_LIST ? INNER_ARENA : 0;
    int rc = object_create(&h, type, sizeof(struct head) + stores * sizeof(struct store) + inner,
                           options ? options->name : NULL, OBJECT_ZERO);
    if (rc)
        return rc;
    h->flags = OBJECT_LOOKED_AT;
    site_at(&p, h);
    os_random(p.head->secret, sizeof p.head->secret);
    if (type == TYPE_LIST)
        list_init(&p);
    *ret = object_publish(h);
    return 0;
}

/* ---- acquiring ---- */

int container_acquire(const void *handle, enum type type, int64_t deadline, const char *call)
{
    struct site p;
    owner_t me;
    int rc = site_of(&p, handle, type, call);
    if (!rc)
        rc = check_deadline(deadline);
    if (rc)
        return rc;
    me = shoal_thread.me;
    p.interruptible = true;
    if (atomic_load(&p.head->holder) == me)
        return fail(-EDEADLK, "%s: the calling thread has acquired it already", call);
    rc = store_lock_all(&p, deadline);
    if (rc)
        return waited(rc, call, handle, type, deadline);
    owner_t before = atomic_load(&p.head->holder);
    atomic_store(&p.head->holder, me);
    store_unlock_all(&p); /* which keeps the locks of who has acquired it */
    return before && !MUTANT(308) ? owner_died(before, call, handle, type) : 0;
}

int container_release(const void *handle, enum type type, const char *call)
{
    struct site p;
    int rc = site_of(&p, handle, type, call);
    if (rc)
        return rc;
    if (atomic_load(&p.head->holder) != shoal_thread.me)
        return fail(-EPERM, "%s: the calling thread has not acquired it", call);
    rc = store_lock_all(&p, SHOAL_FOREVER);
    if (rc)
        return rc;
    atomic_store(&p.head->holder, 0);
    store_unlock_all(&p);
    return 0;
}

int64_t container_bytes(const void *handle, enum type type, const char *call)
{
    struct site p;
    int rc = site_of(&p, handle, type, call);
    return rc ? rc : (int64_t)(store_bytes(p.stores, p.count) + object_cost(p.header->size));
}

/* ---- numbers ---- */

int container_sum(struct item *ret, const struct site *p, const shoal_any *a, const shoal_any *b)
{
    static const shoal_any zero = {.kind = SHOAL_ANY_INT};
    double x, y;
    int64_t sum;
    if (!a)
        a = &zero;
    if (!any_is_number(a) || !any_is_number(b))
        return fail(-EINVAL, "%s: %s and %s cannot be added", p->call, any_kind_name(a),
                    any_kind_name(b));
    if (a->kind == SHOAL_ANY_FLOAT || b->kind == SHOAL_ANY_FLOAT) {
        int rc = shoal_any_as_float(a, &x);
        if (!rc)
            rc = shoal_any_as_float(b, &y);
        if (rc)
            return rc;
        shoal_any made = {.kind = SHOAL_ANY_FLOAT, .real = x + y};
        return item_of_any(ret, p, &made);
    }
    if (a->big || b->big || __builtin_add_overflow(a->integer, b->integer, &sum))
        return fail(-EOVERFLOW, "%s: the sum needs more than 64 bits", p->call);
    item_of_int(ret, sum);
    return 0;
}

int fetched_bytes(const struct site *p, const struct fetched *f, void *buffer, size_t capacity,
                  size_t *size)
{
    const void *at;
    size_t length;
    shoal_any *made = NULL;
    int rc = 0;
    if (!size || (!buffer && capacity))
        return fail(-EINVAL, "%s: NULL for the buffer or the size", p->call);
    if (!word_text(&f->word, f->bytes, SHOAL_ANY_BYTES, &at, &length)) {
        rc = word_any(f->word, f->bytes, f->size, &made, p->call);
        if (!rc && made->kind != SHOAL_ANY_BYTES)
            rc = fail(-EINVAL, "%s: the value is %s, not bytes", p->call, any_kind_name(made));
        if (!rc) {
            at = made->bytes->at;
            length = made->bytes->size;
        }
    }
    if (!rc) {
        *size = length;
        if (length > capacity)
            rc = fail(-EMSGSIZE, "%s: the value has %zu bytes, the buffer %zu", p->call, length,
                      capacity);
        else if (length)
            memcpy(buffer, at, length);
    }
    shoal_any_free(made);
    return rc;
}

/* ---- copies ---- */

unsigned char *shot_bytes(struct shot *shot, size_t size, int *rc)
{
    size = (size / GRAIN + 1) * GRAIN; /* places count in these; not none, for what has no bytes */
    if (size > shot->size - shot->used) {
        size_t room = (shot->size + size) * 2 + 256;
        unsigned char *more = realloc(shot->bytes, room);
        if (!more) {
            *rc = -ENOMEM;
            return NULL;
        }
        shot->bytes = more;
        shot->size = room;
    }
    shot->used += size;
    memset(shot->bytes + shot->used - GRAIN, 0, GRAIN); /* what fills up: shots are compared */
    return shot->bytes + shot->used - size;
}

bool shot_add(struct shot *shot, const struct reading *r, uint64_t word, int *rc)
{
    uint64_t at;
    size_t size;
    if (shot->count == shot->room) {
        size_t room = shot->room * 2 + 16;
        uint64_t *more = realloc(shot->words, room * sizeof *more);
        if (!more) {
            *rc = -ENOMEM;
            return false;
        }
        shot->words = more;
        shot->room = room;
    }
    if (word_block(word, &at, &size)) {
        const unsigned char *from = reading_bytes(r, at, size);
        unsigned char *to = from ? shot_bytes(shot, size, rc) : NULL;
        if (!to)
            return false;
        uint64_t first = reading_word(r, at);
        memcpy(to, from, size);
        memcpy(to, &first, size < 8 ? size : 8);
        word = word_moved(word, (uint64_t)(to - shot->bytes));
    }
    shot->words[shot->count++] = word;
    return true;
}

int shot_any(const struct shot *shot, size_t i, shoal_any **ret, const char *call)
{
    size_t size = 0;
    const unsigned char *bytes = shot_block(shot, shot->words[i], &size);
    return word_any(shot->words[i], bytes, size, ret, call);
}

static void close_messages(struct shot *shot)
{
    while (shot->n_open)
        message_close(shot->open[--shot->n_open]);
    free(shot->open);
    shot->open = NULL;
}

/* 0, -ENOMEM; -ESTALE: one is gone. */
static int open_messages(const struct site *p, struct shot *shot)
{
    size_t n = 0;
    for (size_t i = 0; i < shot->count && !shot->unopened; i++)
        n += word_is_message(shot->words[i]);
    if (!n)
        return 0;
    shot->open = malloc(n * sizeof *shot->open);
    if (!shot->open)
        return fail(-ENOMEM, "%s: out of memory", p->call);
    for (size_t i = 0; i < shot->count; i++) {
        uint64_t word = shot->words[i];
        if (!word_is_message(word))
            continue;
        int rc = message_open(&shot->open[shot->n_open], word_message_id(word),
                              word_message_generation(word));
        if (rc)
            return rc == -EINVAL ? -ESTALE : fail_in(rc, p->call);
        shot->n_open++;
    }
    return 0;
}

bool shot_begin(const struct site *p, struct shot *shot, unsigned n)
{
    enum { OFTEN = 4 };
    close_messages(shot);
    return n && n % OFTEN == 0 && !store_lock_all(p, os_now() + HURRY);
}

bool shot_end(const struct site *p, struct shot *shot, bool locked, int *rc)
{
    if (!*rc)
        *rc = open_messages(p, shot);
    if (locked) {
        store_unlock_all(p);
        if (*rc == -ESTALE) /* nobody else can have changed it */
            *rc = fail(-EBADMSG, "%s: somebody has written into it", p->call);
    }
    return *rc == -ESTALE;
}

void shot_free(struct shot *shot)
{
    close_messages(shot);
    free(shot->words);
    free(shot->bytes);
    *shot = (struct shot){0};
}

void anys_free(struct anys *anys)
{
    for (size_t i = 0; i < anys->count; i++)
        shoal_any_free(anys->at[i]);
    free(anys->at);
    *anys = (struct anys){0};
}

/* ---- for the types ---- */

static struct site site_of_header(struct header *h)
{
    struct site p = {.id = header_id(h),
                     .call = "",
                     .generation = state_generation(atomic_load(&h->state))};
    site_at(&p, h);
    return p;
}

static _Atomic uint32_t *event_of(struct header *h)
{
    struct site p = site_of_header(h);
    return &p.stores[0].event;
}

static _Atomic uint32_t *further(struct header *h, unsigned i)
{
    struct site p = site_of_header(h);
    return i < p.count ? &p.stores[i].event : NULL;
}

static bool ready(struct header *h)
{
    struct site p = site_of_header(h);
    owner_t owner = atomic_load(&p.stores[0].owner);
    return !owner || owner_gone(owner);
}

/* Who died inside is succeeded at once, so that nothing is held that he was about to put in, or had taken out. */
static void tend(struct header *h, uint32_t slot)
{
    struct site p = site_of_header(h);
    store_tend(&p, slot);
}

static void destroy(struct header *h, uint32_t slot)
{
    struct site p = site_of_header(h);
    p.generation--; /* what it was when it lived */
    store_destroy(&p, slot, h->type == TYPE_LIST ? list_each : dict_each);
}

static void runs(struct header *h, void (*visit)(uint32_t payload, uint32_t units, void *argument),
                 void *argument)
{
    struct site p = site_of_header(h);
    store_runs(p.stores, p.count, visit, argument);
}

static uint64_t charged(struct header *h, uint32_t slot)
{
    struct site p = site_of_header(h);
    bool its =
        h->creator == slot && atomic_load(&slot_at(slot)->word) >> 32 == h->creator_generation;
    return its ? store_bytes(p.stores, p.count) : 0;
}

const struct type_repair container_repair = {.tend = tend,
                                             .event = event_of,
                                             .ready = ready,
                                             .further = further,
                                             .destroy = destroy,
                                             .runs = runs,
                                             .charged = charged};

/* ---- inspection ---- */

void container_describe(struct description *d, const struct header *h)
{
    struct head head;
    struct store stores[SHARDS];
    unsigned count = h->type == TYPE_LIST ? 1 : SHARDS;
    if (!look_payload(d->look, h, 0, &head, sizeof head) ||
        !look_payload(d->look, h, sizeof head, stores, count * sizeof *stores))
        return;
    d->blocking = BLOCKS_ALL;
    d->owner_too = true;
    owner_t holder = atomic_load(&head.holder), owner = atomic_load(&stores[0].owner);
    d->first = describe_share(d, owner, owner && owner == holder ? "holder" : "writer");
    for (unsigned i = 1; i < count && owner != holder; i++)
        describe_share(d, atomic_load(&stores[i].owner), "writer");
    describe_number(d, "length",
                    h->type == TYPE_LIST ? list_length(d->look, h) : dict_length(d->look, h));
    describe_number(d, "memory", store_bytes(stores, count));
}

#define CONTAINER(name, type_of)                                                           \
    int shoal_##name##_create(shoal_##name **ret, const shoal_container_options *options)  \
    {                                                                                      \
        return container_create((void **)ret, type_of, options, "shoal_" #name "_create"); \
    }                                                                                      \
    int shoal_##name##_reference(const shoal_##name *handle, shoal_reference *ret)         \
    {                                                                                      \
        return object_reference(handle, type_of, "shoal_" #name "_reference", ret);        \
    }                                                                                      \
    int shoal_##name##_open(shoal_##name **ret, const shoal_reference *reference)          \
    {                                                                                      \
        return object_open((void **)ret, type_of, "shoal_" #name "_open", reference);      \
    }                                                                                      \
    shoal_##name *shoal_##name##_close(shoal_##name *handle)                               \
    {                                                                                      \
        object_close(handle, type_of);                                                     \
        return NULL;                                                                       \
    }                                                                                      \
    int shoal_##name##_acquire(shoal_##name *handle, int64_t deadline)                     \
    {                                                                                      \
        return container_acquire(handle, type_of, deadline, "shoal_" #name "_acquire");    \
    }                                                                                      \
    int shoal_##name##_release(shoal_##name *handle)                                       \
    {                                                                                      \
        return container_release(handle, type_of, "shoal_" #name "_release");              \
    }                                                                                      \
    int64_t shoal_##name##_bytes(const shoal_##name *handle)                               \
    {                                                                                      \
        return container_bytes(handle, type_of, "shoal_" #name "_bytes");                  \
    }

CONTAINER(list, TYPE_LIST)
CONTAINER(dict, TYPE_DICT)
CONTAINER(namespace, TYPE_NAMESPACE)
