/* Changes of a store, by who has its lock: a journal, or another arena (store.c); blocks; commits. */
#include "manager/store_inner.h"

enum { FIRST_GRAINS = 64 << 10 >> 4 /* memory is had in such steps */ };

/* ---- changing ---- */

void change_begin(struct change *c, const struct site *p, struct store *s)
{
    uint64_t capacity;
    unsigned now = now_of(state_load(s));
    *c = (struct change){.site = p, .store = s, .next = now};
    c->base = arena_at(p, s, now, &capacity);
    if (likely(c->base != NULL)) {
        c->limit = limit_of(c->base);
        c->fresh =
            (atomic_load_explicit(&arena_of(c->base)->bump, memory_order_relaxed) >> 32) * GRAIN;
    }
}

static int no_memory(const struct change *c, int rc)
{
    return fail(rc == -EBUSY || rc == -ENOSPC ? -ENOMEM : rc,
                "%s: no memory for what is to be in it", c->site->call);
}

/* Puts memory behind what is used of an arena: so many grains from its beginning, and below its limit. */
static int have_memory(struct change *c, uint64_t bottom, uint64_t top)
{
    word_t *memory = &arena_of(c->base)->memory;
    uint64_t have = atomic_load_explicit(memory, memory_order_relaxed), most = c->limit / GRAIN;
    uint64_t low = have >> 32, high = (uint32_t)have;
    if (likely(bottom <= low && top <= high))
        return 0;
    if (bottom > low)
        low = bottom + FIRST_GRAINS < most ? bottom + FIRST_GRAINS : most;
    if (top > high)
        high = top;
    uint64_t from = have >> 32;
    int rc = low > from ? region_populate(c->base + from * GRAIN, (low - from) * GRAIN) : 0;
    if (!rc)
        rc = region_populate(c->base + c->limit - high * GRAIN, high * GRAIN);
    if (rc)
        return no_memory(c, rc);
    atomic_store_explicit(memory, low << 32 | high, memory_order_relaxed);
    return 0;
}

int change_fits(struct change *c, uint64_t bytes, uint32_t entries)
{
    if (!c->base || entries > COUNT_MOST)
        return 0;
    uint64_t bump = change_get(c, offsetof(struct arena, bump)) >> 32;
    uint64_t need = bump + bytes / GRAIN + entries;
    if (need > c->limit / GRAIN)
        return 0;
    int rc = have_memory(c, bump + bytes / GRAIN, entries);
    return rc ? rc : 1;
}

static void make_arena(struct change *c, uint64_t from, uint64_t memory)
{
    struct arena *a = arena_of(c->base);
    for (unsigned i = 0; i < HEADS / 2; i++)
        atomic_store_explicit(&a->heads[i], 0, memory_order_relaxed);
    atomic_store_explicit(&a->bump, from / GRAIN << 32, memory_order_relaxed);
    atomic_store_explicit(&a->limit, c->limit, memory_order_relaxed);
    atomic_store_explicit(&a->memory, memory, memory_order_relaxed);
    c->fresh = from;
}

/* The creator of the container is charged, if that is the caller. */
static int get_run(struct change *c, unsigned run, uint64_t units)
{
    const struct header *h = c->site->header;
    bool charged =
        h->creator == process_self.slot && h->creator_generation == process_self.generation;
    int rc = charged ? object_charge(units * UNIT) : 0;
    if (rc)
        return rc;
    atomic_store(&c->store->runs[run].units, (uint32_t)units);
    rc = unit_try_alloc(&c->store->runs[run].payload, (uint32_t)units, UNIT_PATIENCE);
    if (charged && rc)
        object_uncharge(units * UNIT);
    if (charged)
        object_charge_end(units * UNIT);
    return rc;
}

int change_replace(struct change *c, const struct site *p, struct store *s, uint64_t capacity,
                   uint64_t from, uint64_t behind)
{
    uint64_t units = (capacity + UNIT - 1) / UNIT;
    unsigned run = now_of(state_load(s)) == 1;
    *c = (struct change){.site = p, .store = s, .next = run + 1, .direct = true};
    store_free_others(s);
    if (units > view.at.max_units || units > UINT32_MAX / (UNIT / GRAIN) ||
        atomic_load(&s->runs[run].payload))
        return no_memory(c, -ENOSPC); /* places are grains, of 32 bits */
    int rc = get_run(c, run, units);
    if (rc)
        return no_memory(c, rc);
    c->base = arena_at(p, s, run + 1, &capacity);
    c->limit = capacity - behind;
    rc = region_populate(c->base, from);
    if (!rc)
        rc = region_populate(c->base + c->limit, behind);
    if (rc) {
        store_free_others(s);
        return no_memory(c, rc);
    }
    make_arena(c, from, from / GRAIN << 32);
    return 0;
}

int change_grow(struct change *ret, const struct change *from, uint64_t capacity, uint64_t behind)
{
    struct arena *old = arena_of(from->base), *new;
    uint64_t bump = atomic_load_explicit(&old->bump, memory_order_relaxed);
    int rc = change_replace(ret, from->site, from->store, capacity, (bump >> 32) * GRAIN, behind);
    if (rc)
        return rc;
    new = arena_of(ret->base);
    atomic_store_explicit(&new->bump, bump, memory_order_relaxed);
    for (unsigned i = 0; i < HEADS / 2; i++)
        atomic_store_explicit(&new->heads[i],
                              atomic_load_explicit(&old->heads[i], memory_order_relaxed),
                              memory_order_relaxed);
    memcpy(ret->base + sizeof *new, from->base + sizeof *old, (bump >> 32) * GRAIN - sizeof *new);
    return 0;
}

bool change_is_dense(const struct change *c)
{
    uint64_t bump = change_get(c, offsetof(struct arena, bump));
    return (uint32_t)bump >= (bump >> 32) / 2;
}

void change_inner(struct change *c, const struct site *p, struct store *s, uint64_t from)
{
    uint64_t capacity;
    *c = (struct change){.site = p, .store = s, .direct = true};
    c->base = arena_at(p, s, 0, &capacity);
    c->limit = capacity;
    make_arena(c, from, capacity / GRAIN << 32 | capacity / GRAIN);
}

void change_none(struct change *c, const struct site *p, struct store *s)
{
    *c = (struct change){.site = p, .store = s, .direct = true};
}

uint64_t change_get(const struct change *c, uint64_t at)
{
    for (uint32_t i = c->direct ? 0 : c->count; i-- > 0;) {
        const struct entry *e = entry_at(c->base, c->limit, i);
        if (atomic_load_explicit(&e->where, memory_order_relaxed) == at)
            return atomic_load_explicit(&e->value, memory_order_relaxed);
    }
    return atomic_load_explicit(word_at(c->base, at), memory_order_relaxed);
}

static void add_entry(struct change *c, uint64_t where, uint64_t value)
{
    struct entry *e = entry_at(c->base, c->limit, c->count++);
    atomic_store_explicit(&e->where, where, memory_order_relaxed);
    atomic_store_explicit(&e->value, value, memory_order_relaxed);
}

void change_set(struct change *c, uint64_t at, uint64_t value)
{
    if (c->direct) {
        atomic_store_explicit(word_at(c->base, at), value, memory_order_relaxed);
        return;
    }
    for (uint32_t i = c->count; i-- > 0;) {
        struct entry *e = entry_at(c->base, c->limit, i);
        if (atomic_load_explicit(&e->where, memory_order_relaxed) == at) {
            atomic_store_explicit(&e->value, value, memory_order_relaxed);
            return;
        }
    }
    add_entry(c, at, value);
}

/* ---- blocks ---- */

/* 16, 32, 48, 64, 96, 128, 192 … 4096. */
enum { LARGEST = 4096 };

static unsigned class_of(size_t size)
{
    if (size <= 64)
        return (unsigned)(size + !size + 15) / 16 - 1;
    unsigned bits = 63 - (unsigned)__builtin_clzll(size - 1);
    return 4 + (bits - 6) * 2 + (size > (size_t)3 << (bits - 1));
}

size_t block_size(size_t size)
{
    if (size > LARGEST)
        return (size + GRAIN - 1) / GRAIN * GRAIN;
    unsigned class = class_of(size), bits = 6 + (class - 4) / 2;
    if (class < 4)
        return (class + 1) * 16ul;
    return class % 2 ? (size_t)2 << bits : (size_t)3 << (bits - 1);
}

static uint64_t heads_at(unsigned class)
{
    return offsetof(struct arena, heads) + class / 2 * sizeof(word_t);
}

static uint32_t get_head(const struct change *c, unsigned class)
{
    return (uint32_t)(change_get(c, heads_at(class)) >> 32 * (class % 2));
}

static void set_head(struct change *c, unsigned class, uint32_t place)
{
    uint64_t word = change_get(c, heads_at(class)), shift = 32 * (class % 2);
    change_set(c, heads_at(class), (word & ~(0xffffffffull << shift)) | (uint64_t)place << shift);
}

uint64_t block_new(struct change *c, size_t size)
{
    uint64_t grains = block_size(size) / GRAIN, bump = change_get(c, offsetof(struct arena, bump));
    /* What this change has freed is there still for those who read, until it is committed. */
    bool listed = size <= LARGEST && (!c->freed || MUTANT(309));
    uint32_t place = listed ? get_head(c, class_of(size)) : 0;
    if (place) {
        set_head(c, class_of(size), (uint32_t)change_get(c, (uint64_t)place * GRAIN));
        change_set(c, offsetof(struct arena, bump), bump + grains);
        return (uint64_t)place * GRAIN;
    }
    change_set(c, offsetof(struct arena, bump), bump + (grains << 32) + grains);
    return (bump >> 32) * GRAIN;
}

void block_fill(struct change *c, uint64_t at, const void *from, size_t size)
{
    uint64_t first = 0;
    size_t rest = size < sizeof first ? size : sizeof first;
    memcpy(&first, from, rest);
    if (c->direct || at >= c->fresh)
        atomic_store_explicit(word_at(c->base, at), first, memory_order_relaxed);
    else
        change_set(c, at, first);
    if (size > rest)
        memcpy(c->base + at + rest, (const unsigned char *)from + rest, size - rest);
}

void block_free(struct change *c, uint64_t at, size_t size)
{
    uint64_t bump = change_get(c, offsetof(struct arena, bump));
    change_set(c, offsetof(struct arena, bump), bump - block_size(size) / GRAIN);
    c->freed = !c->direct;
    if (size > LARGEST)
        return; /* until the arena is made anew */
    change_set(c, at, get_head(c, class_of(size)));
    set_head(c, class_of(size), (uint32_t)(at / GRAIN));
}

void change_note(struct change *c, unsigned kind, uint64_t word)
{
    add_entry(c, (uint64_t)kind << WHERE_BITS, word);
    /* which arena it lies in: 0 the one that is now, 3 the payload's */
    uint64_t beside = !c->direct ? 0 : c->next ? c->next : 3;
    atomic_store_explicit(&c->store->filled, beside << 32 | c->count, memory_order_release);
    if (kind != ENTRY_IN)
        return;
    uint32_t id = word_message_id(word);
    struct message *m = message_body(header_at(id));
    atomic_store_explicit(&handles[id].shared, 1, memory_order_relaxed);
    atomic_store(&m->generation, c->site->generation);
    atomic_store(&m->queue, c->site->id + 1);
}

/* ---- commits ---- */

void change_poke(struct change *c, uint64_t at, uint64_t value)
{
    unsigned now = now_of(state_load(c->store));
    atomic_store_explicit(word_at(c->base, at), value, memory_order_release);
    state_store(c->store, 0, PHASE_IDLE, now, now);
}

void change_commit(struct change *c)
{
    struct store *s = c->store;
    if (!c->count && !c->direct)
        return;
    if (MUTANT(306)) {
        uint64_t capacity;
        unsigned char *base = arena_at(c->site, s, c->next, &capacity);
        for (uint32_t i = 0; !c->direct && i < c->count; i++) {
            const struct entry *e = entry_at(base, c->limit, i);
            if (!(atomic_load(&e->where) >> WHERE_BITS))
                atomic_store(word_at(base, atomic_load(&e->where)), atomic_load(&e->value));
        }
    }
    state_store(s, c->count, PHASE_COMMITTED, now_of(state_load(s)), c->next);
    /* Who sees a word of what follows sees that, too. */
    atomic_thread_fence(memory_order_release);
    store_finish(c->site, s);
}

void change_prepare(struct change *c, uint64_t turn)
{
    struct store *s = c->store;
    atomic_store_explicit(&s->turn, turn, memory_order_relaxed);
    state_store(s, c->count, PHASE_PREPARED, now_of(state_load(s)), c->next);
}

void change_forget(struct change *c)
{
    struct store *s = c->store;
    unsigned now = now_of(state_load(s));
    for (uint32_t i = 0; i < c->count; i++) {
        const struct entry *e = entry_at(c->base, c->limit, i);
        struct message *m = atomic_load(&e->where) >> WHERE_BITS == ENTRY_IN
                                ? store_message(c->site, atomic_load(&e->value))
                                : NULL;
        if (m)
            atomic_store(&m->queue, 0);
    }
    state_store(s, 0, PHASE_IDLE, now, now);
    if (atomic_load(&s->filled))
        atomic_store(&s->filled, 0);
    store_free_others(s);
}
