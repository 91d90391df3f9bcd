/* Objects: creating, opening, closing (docs/design.md 5).
 *
 * A thread creates in object groups that it owns, with plain stores. Holds are bytes that only
 * their own process writes. An object is freed by one compare-and-swap of its state, by whoever
 * finds that no other process holds it.
 */
#include "region/object.h"
#include "region/poll.h"
#include "region/wait.h"
#include <string.h>
#include <sys/mman.h>

struct handle *handles;

enum { LARGE = 4096, SEARCH = 64 };
static const uint32_t class_size[CLASSES] = {0, 64, 128, 256, 512, 1024, 2048, 4096};

/* 0 also for large objects: a header without payload, and a run of its own. */
static inline unsigned class_of(size_t size)
{
    if (size <= 64)
        return size != 0;
    return size <= LARGE ? 64 - 5 - (unsigned)__builtin_clzll(size - 1) : 0;
}

static _Atomic unsigned char *hold_byte(uint32_t id, uint32_t slot)
{
    return (_Atomic unsigned char *)&hold_row(id / GROUP, slot)[id % GROUP];
}

CHILD_PATH const unsigned char *object_row(uint32_t group, uint32_t slot)
{
    const unsigned char *row = hold_row(group, slot);
    /* The first rows lie on the page of the group itself. */
    return slot < UNIT / GROUP || region_is_populated(row) ? row : NULL;
}

/* ---- which groups this process may hold something in: so that a fork and an end need not look at
 * all ---- */

static _Atomic uint64_t held_groups[MOST_OBJECTS / GROUP / 64];

static void note_group(uint32_t g)
{
    uint64_t bit = 1ull << g % 64;
    if (!(atomic_load(&held_groups[g / 64]) & bit))
        atomic_fetch_or(&held_groups[g / 64], bit);
}

CHILD_PATH uint32_t object_next_group(uint32_t slot, uint32_t g)
{
    uint32_t high = atomic_load(&view.region->groups_high);
    if (slot != process_self.slot)
        return g < high ? g : UINT32_MAX;
    while (g < high) {
        uint64_t rest = atomic_load(&held_groups[g / 64]) >> g % 64;
        if (rest)
            return g + (uint32_t)__builtin_ctzll(rest);
        g = (g / 64 + 1) * 64;
    }
    return UINT32_MAX;
}

/* Nothing is held in g any more. A thread that adopts the group meanwhile owns it first and then
 * sees the bit gone, or we see that it owns it. */
static void forget_group(uint32_t g)
{
    atomic_fetch_and(&held_groups[g / 64], ~(1ull << g % 64));
    owner_t owner = atomic_load(&group_at(g)->owner);
    uint64_t record = owner ? atomic_load(&record_at(owner_record(owner))->word) : 0;
    if (owner && ((uint32_t)(record >> 16) & 0xffff) == process_self.slot)
        note_group(g);
}

/* ---- groups: where a thread creates ---- */

static uint64_t free_mask(uint32_t g)
{
    uint64_t mask = 0;
    for (unsigned i = 0; i < GROUP; i++)
        if (state_status(atomic_load(&header_at(g * GROUP + i)->state)) == OBJECT_FREE)
            mask |= 1ull << i;
    return mask;
}

/* `waits`: for the guard, however long; or else -ENOSPC beside a process that is stopped there. */
static int get_run(_Atomic uint32_t *payload, uint32_t units, bool waits)
{
    if (waits || MUTANT(251))
        return unit_alloc(payload, units);
    int rc = unit_try_alloc(payload, units, UNIT_PATIENCE);
    return rc == -EBUSY ? -ENOSPC : rc;
}

/* Memory behind the group's parts that this process writes, and its payload run. */
static int group_ready(uint32_t g, unsigned c, bool waits)
{
    note_group(g);
    struct group *group = group_at(g);
    int rc = region_populate(header_at(g * GROUP), GROUP * sizeof(struct header));
    if (!rc)
        rc = region_populate(hold_row(g, process_self.slot), GROUP);
    if (!rc && c && !atomic_load(&group->payload))
        rc = get_run(&group->payload, class_size[c] * GROUP / UNIT, waits);
    return rc ? fail(rc, "no memory for another object") : 0;
}

/* Makes group g, which the caller owns, the one it creates in; false if nothing in it is free. */
static bool use_group(uint32_t g, unsigned c)
{
    struct thread *t = &shoal_thread;
    atomic_store(&group_at(g)->freed,
                 0); /* before the look, so that what is freed later is seen later */
    uint64_t mask = free_mask(g);
    if (!mask)
        return false;
    if (t->group[c] != g + 1)
        t->ready_ids[c] = 0;
    t->group[c] = g + 1;
    t->free_ids[c] = mask;
    return true;
}

/* What the ending thread has not used is there for the next one that gets its record. */
void object_thread_end(void)
{
    for (unsigned c = 0; c < CLASSES; c++)
        if (shoal_thread.group[c])
            atomic_fetch_or(&group_at(shoal_thread.group[c] - 1)->freed, shoal_thread.free_ids[c]);
}

/* Whether group g, which the caller has just come to own, is one of this class; if not, it is nobody's
 * again. Its class is written once. It may have none, as whoever made it died before that; or have
 * got one since we looked for it, however long ago that was. */
static bool is_of_class(struct group *group, unsigned c)
{
    if (!group->size || MUTANT(143))
        group->size = class_size[c] + 1;
    if (group->size == class_size[c] + 1)
        return true;
    atomic_store(&group->owner, 0);
    return false;
}

/* A group of this class that is mine with something freed, or nobody's: looks at `most`, beginning
 * where the last one found something, or else stopped: so there are few new groups while there are
 * such. */
static int find_group(unsigned c, uint32_t most, bool waits)
{
    struct thread *t = &shoal_thread;
    atomic_store(&process_self.creates, true); /* before it owns a group */
    uint32_t high = atomic_load(&view.region->groups_high);
    _Atomic uint32_t *search = &view.region->search[c];
    uint32_t from = atomic_load(search);
    for (unsigned n = 0; n < most && n < high; n++) {
        uint32_t g = (from + n) % high;
        struct group *group = group_at(g);
        owner_t owner = atomic_load(&group->owner), none = 0;
        bool mine = owner == t->me;
        if (group->size && group->size != class_size[c] + 1)
            continue;
        if (mine) {
            if (!atomic_load(&group->freed) && g + 1 != t->group[c])
                continue;
        } else if (owner || !atomic_compare_exchange_strong(&group->owner, &none, t->me)) {
            continue;
        }
        if (!is_of_class(group, c))
            continue;
        int rc = group_ready(g, c, waits);
        if (rc) { /* the next attempt meets it, and makes no other */
            if (!mine && !MUTANT(253))
                atomic_store(&group->owner, 0);
            atomic_store(search, g);
            return rc;
        }
        if (use_group(g, c)) {
            atomic_store(search, g);
            return 0;
        }
    }
    atomic_store(search, high ? (from + (most < high ? most : 0)) % high : 0);
    return -ENOENT;
}

static int new_group(unsigned c, bool waits)
{
    uint32_t g = atomic_load(&view.region->groups_high);
    for (;;) {
        owner_t none = 0;
        if (g >= view.at.max_groups)
            return fail(-ENOSPC, "the region is full: %u objects", view.at.max_groups * GROUP);
        int rc = region_populate(group_at(g), sizeof(struct group));
        if (rc)
            return fail(rc, "no memory for another object");
        /* Own it first, count it then: whoever dies in between leaves a group above the mark, which
         * the next one to come by counts. */
        bool mine = atomic_compare_exchange_strong(&group_at(g)->owner, &none, shoal_thread.me);
        mine = mine && is_of_class(group_at(g), c);
        uint32_t high = g;
        atomic_compare_exchange_strong(&view.region->groups_high, &high, g + 1);
        if (mine) {
            rc = group_ready(g, c, waits);
            if (!rc)
                use_group(g, c);
            else
                atomic_store(&group_at(g)->owner, 0);
            return rc;
        }
        g++;
    }
}

static int take_id(unsigned c, bool waits, uint32_t *ret)
{
    struct thread *t = &shoal_thread;
    for (;;) {
        uint32_t g = t->group[c] - 1;
        while (t->group[c] && t->free_ids[c]) {
            unsigned i = (unsigned)__builtin_ctzll(t->free_ids[c]);
            t->free_ids[c] &= t->free_ids[c] - 1;
            *ret = g * GROUP + i;
            if (state_status(atomic_load_explicit(&header_at(*ret)->state, memory_order_acquire)) ==
                OBJECT_FREE)
                return 0;
        }
        if (t->group[c] && atomic_load(&group_at(g)->freed) && use_group(g, c))
            continue;
        int rc = find_group(c, SEARCH, waits);
        if (rc == -ENOENT) {
            rc = new_group(c, waits);
            if ((rc == -ENOMEM || rc == -ENOSPC) &&
                !find_group(c, UINT32_MAX, waits)) /* full, but for what lies further on */
                rc = 0;
        }
        if (rc)
            return rc;
    }
}

void object_disown(owner_t owner)
{
    uint32_t high = atomic_load(&view.region->groups_high);
    for (uint32_t g = 0; g <= high && g < view.at.max_groups; g++) {
        if (!region_is_populated(group_at(g)))
            continue;
        owner_t o = owner;
        atomic_compare_exchange_strong(&group_at(g)->owner, &o, 0);
    }
}

/* ---- sizes ---- */

uint64_t object_room(const struct header *h)
{
    return h->units ? (uint64_t)h->units * UNIT : group_at(header_id(h) / GROUP)->size - 1;
}

uint64_t object_cost(size_t content)
{
    return sizeof(struct header) +
           (content > LARGE ? (content + UNIT - 1) / UNIT * UNIT : class_size[class_of(content)]);
}

/* ---- creating ---- */

/* The class in which the calling thread creates in group g, or CLASSES. */
static inline unsigned class_here(uint32_t g)
{
    unsigned c = 0;
    while (c < CLASSES && shoal_thread.group[c] != g + 1)
        c++;
    return c;
}

static void hint_free(uint32_t id)
{
    unsigned c = class_here(id / GROUP);
    if (c < CLASSES)
        shoal_thread.free_ids[c] |= 1ull << id % GROUP;
    else
        atomic_fetch_or(&group_at(id / GROUP)->freed, 1ull << id % GROUP);
}

/* Gives back what a DEAD or CREATING header has, and frees it. Only its closer or creator comes
 * here, or who repairs that one. `marked`: the byte says CLOSING, and as soon as the header is FREE
 * another thread of the process may create in it and write HELD over that. */
static void finish(uint32_t id, uint32_t slot, bool marked)
{
    struct header *h = header_at(id);
    uint64_t s = atomic_load_explicit(&h->state, memory_order_relaxed);
    const struct type_repair *type = life_type(h->type);
    if (unlikely(type && type->destroy) && state_status(s) == OBJECT_DEAD)
        type->destroy(h, slot);
    if (unlikely(object_quota()) && h->creator == process_self.slot &&
        h->creator_generation == process_self.generation) /* before it is not counted any more */
        object_uncharge(sizeof *h + object_room(h));
    if (unlikely(h->units)) {
        unit_free(&h->payload, h->units);
        h->units = 0;
    }
    uint32_t generation = state_generation(s) + (state_status(s) == OBJECT_CREATING);
    atomic_store_explicit(&h->state, state_make(generation, 0, OBJECT_FREE), memory_order_release);
    unsigned char closing = HOLD_CLOSING;
    if (marked)
        atomic_compare_exchange_strong(hold_byte(id, slot), &closing, HOLD_NONE);
    else
        atomic_store_explicit(hold_byte(id, slot), HOLD_NONE, memory_order_release);
    hint_free(id);
}

/* `content`: with the name, which lies behind the `size` bytes, at (name_at - 1) * 8. */
static int make(struct header **ret, enum type type, size_t size, const char *name,
                uint32_t name_at, size_t content, enum object_content zero, bool waits)
{
    uint32_t id;
    unsigned c = class_of(content);
    int rc = take_id(c, waits, &id);
    if (unlikely(rc)) {
        object_uncharge(object_cost(content));
        return rc;
    }

    struct header *h = header_at(id);
    uint32_t generation = state_generation(atomic_load_explicit(&h->state, memory_order_relaxed));
    /* The hold first: whoever repairs us looks at what we hold. */
    if (!MUTANT(25))
        atomic_store_explicit(hold_byte(id, process_self.slot), HOLD_HELD, memory_order_relaxed);
    atomic_store_explicit(&h->state, state_make(generation, process_self.slot, OBJECT_CREATING),
                          memory_order_release);
    if (MUTANT(25))
        atomic_store_explicit(hold_byte(id, process_self.slot), HOLD_HELD, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    h->type = (uint16_t)type;
    h->flags = 0;
    h->size = size;
    h->creator = process_self.slot;
    h->creator_generation = process_self.generation;
    h->name = name_at;
    memset(h->body, 0, sizeof h->body);
    if (unlikely(content > LARGE)) {
        uint64_t units = (content + UNIT - 1) / UNIT;
        atomic_store_explicit(&h->payload, 0, memory_order_relaxed);
        /* before the run is taken: together they are the truth */
        h->units = MUTANT(34) ? 0 : (uint32_t)units;
        rc = get_run(&h->payload, (uint32_t)units, waits);
        if (MUTANT(34))
            h->units = (uint32_t)units;
        if (!rc && zero != OBJECT_SPARSE)
            rc = region_populate(header_payload(h), content);
        else if (!rc && name)
            rc = region_populate((char *)header_payload(h) + size, content - size);
    } else {
        h->units = 0;
        if (c) {
            uint32_t base =
                atomic_load_explicit(&group_at(id / GROUP)->payload, memory_order_relaxed);
            atomic_store_explicit(&h->payload, base + id % GROUP * (class_size[c] / 64),
                                  memory_order_relaxed);
            /* A group's run is never given back: what had memory once has it. */
            uint64_t bit = 1ull << id % GROUP;
            if (unlikely(!(shoal_thread.ready_ids[c] & bit))) {
                rc = region_populate(header_payload(h), class_size[c]);
                if (!rc)
                    shoal_thread.ready_ids[c] |= bit;
            }
        } else {
            atomic_store_explicit(&h->payload, 0, memory_order_relaxed);
        }
    }
    if (unlikely(rc)) {
        object_abandon(h);
        return fail(rc, "%s for an object of %zu bytes",
                    rc == -ENOSPC ? "the region has no room" : "no memory", size);
    }
    if (zero == OBJECT_ZERO)
        memset(header_payload(h), 0, content);
    if (unlikely(name))
        memcpy((char *)header_payload(h) + (name_at - 1) * 8ull, name, strlen(name) + 1);
    *ret = h;
    return 0;
}

static int create(struct header **ret, enum type type, size_t size, const char *name,
                  enum object_content zero, bool waits)
{
    owner_t me;
    int rc = self(&me);
    if (rc)
        return rc;
    size_t content = size;
    uint32_t name_at = 0;
    if (unlikely(name)) {
        size_t length = strlen(name);
        if (length >= NAME)
            return fail(-EINVAL, "the name \"%.60s\" is longer than %d bytes", name, NAME - 1);
        if (size / 8 >= UINT32_MAX - 1)
            return fail(size > view.at.size ? -ENOMEM : -EINVAL,
                        "an object of %zu bytes, more than 32 GiB, cannot have a name", size);
        name_at = (uint32_t)((size + 7) / 8) + 1;
        content = (name_at - 1) * 8ull + length + 1;
    }
    if (content > view.at.size)
        return fail(-ENOMEM, "%zu bytes are more than the region's %llu", size,
                    (unsigned long long)view.at.size);
    if (likely(!object_quota()))
        return make(ret, type, size, name, name_at, content, zero, waits);
    rc = object_charge(object_cost(content));
    if (rc)
        return rc;
    rc = make(ret, type, size, name, name_at, content, zero, waits);
    object_charge_end(object_cost(content));
    return rc;
}

int object_try_create(struct header **ret, enum type type, size_t size, const char *name,
                      enum object_content zero)
{
    return create(ret, type, size, name, zero, false);
}

int object_create(struct header **ret, enum type type, size_t size, const char *name,
                  enum object_content zero)
{
    int rc = create(ret, type, size, name, zero, true);
    return unlikely(rc == -ENOSPC) ? -ENOMEM : rc;
}

void object_abandon(struct header *h)
{
    finish(header_id(h), process_self.slot, false);
}

void *object_publish(struct header *h)
{
    uint32_t id = header_id(h);
    uint32_t generation = state_generation(atomic_load_explicit(&h->state, memory_order_relaxed));
    struct handle *handle = &handles[id];
    atomic_store_explicit(&h->state, state_make(generation, 0, OBJECT_LIVE), memory_order_release);
    handle->header = h;
    /* Another thread may be about to open by a stale reference what lived here before. */
    __atomic_store_n(&handle->generation, generation, __ATOMIC_RELAXED);
    handle->forks = atomic_load_explicit(&process_self.keep.forks, memory_order_relaxed);
    if (unlikely(h->flags & OBJECT_CARRIES))
        atomic_store(&group_at(id / GROUP)->carries, 1); /* for good; before it names anything */
    atomic_store_explicit(&handle->shared,
                          (h->flags & OBJECT_LOOKED_AT) | (handle->forks & !MUTANT(86)),
                          memory_order_relaxed); /* made during a fork: the child may have it */
    handle->refs = 1;
    atomic_store_explicit(&handle->check, handle_check(h->type, generation), memory_order_release);
    return (unsigned char *)handle + (generation & TAG_MASK);
}

const char *object_name(const struct header *h)
{
    return h->name ? (const char *)header_payload(h) + (h->name - 1) * 8ull : "";
}

__attribute__((noinline)) bool object_still_open(const void *opaque, enum type type)
{
    owner_t me;
    return !self(&me) && atomic_load(&handle_of(opaque)->check) ==
                             handle_check(type, (uint32_t)(uintptr_t)opaque);
}

/* ---- closing ---- */

CHILD_PATH bool object_held(uint32_t id, uint32_t but)
{
    uint32_t high = atomic_load(&view.region->slots_high);
    for (uint32_t s = 1; s < high;) {
        if (!object_row(id / GROUP, s)) {
            /* nobody of the 64 slots of this page ever held anything of the group */
            const unsigned char *row = hold_row(id / GROUP, s);
            s = (uint32_t)((((uint64_t)(row - view.base) | (UNIT - 1)) + 1 -
                            (uint64_t)(hold_row(id / GROUP, 0) - view.base)) /
                           GROUP);
            continue;
        }
        unsigned char byte = s != but ? atomic_load(hold_byte(id, s)) : HOLD_NONE;
        if (byte == HOLD_HELD || byte == HOLD_OPENING)
            return true;
        s++;
    }
    return false;
}

/* Whether something that is no process holds it, asked after the processes: what one hands over to a
 * queue or a message it gives up after that, so whoever saw that it does not hold it finds it there. */
static enum reach held_otherwise(struct header *h)
{
    unsigned flags = __atomic_load_n(&h->flags, __ATOMIC_SEQ_CST);
    if (unlikely(flags & (OBJECT_SENT | OBJECT_CARRIES)))
        return object_reach(h);
    const struct type_repair *type = life_type(h->type);
    return type && type->held && type->held(h) ? REACHED : UNREACHED;
}

/* Frees the object if nobody holds it; the byte of `slot`, which says CLOSING, is cleared. `repairs`:
 * what that slot was creating or freeing is finished. In a process that lives that is another
 * thread's work, and so is what one creates in this place: its HELD is there before the state can be
 * LIVE. */
static void free_unheld(uint32_t id, uint32_t slot, bool repairs)
{
    struct header *h = header_at(id);
    _Atomic unsigned char *byte = hold_byte(id, slot);
    unsigned char closing = HOLD_CLOSING;
    for (;;) {
        uint32_t forks = atomic_load(&view.region->forks);
        uint64_t s = atomic_load(&h->state);
        enum object_status status = state_status(s);
        if (status == OBJECT_DEAD || status == OBJECT_CREATING) {
            if ((state_version(s) != slot && !MUTANT(28)) || (!repairs && !MUTANT(82)))
                break; /* another's work */
            finish(id, slot, true);
            return;
        }
        if (status == OBJECT_FREE || (atomic_load(byte) == HOLD_HELD && !MUTANT(83)) ||
            object_held(id, slot))
            break;
        enum reach reach = held_otherwise(h);
        if (reach == REACHED)
            break;
        if (reach == REACH_CHANGED || (atomic_load(&view.region->forks) != forks && !MUTANT(29)))
            continue;
        if (atomic_compare_exchange_strong(&h->state, &s,
                                           state_make(state_generation(s) + 1, slot,
                                                      OBJECT_DEAD))) {
            finish(id, slot, true);
            return;
        }
    }
    atomic_compare_exchange_strong(byte, &closing, HOLD_NONE);
}

/* What ends may hold other things by its messages, which end then, and so on. From a certain depth on
 * what is dropped is only marked CLOSING, and the outermost end goes through the marks. */
static _Thread_local struct ends {
    unsigned depth;
    bool left; /* something was only marked */
} ends;
enum { DEEPEST = 8 };

static void close_left(uint32_t slot, bool repairs)
{
    for (uint32_t g = 0; (g = object_next_group(slot, g)) != UINT32_MAX; g++) {
        const unsigned char *row = object_row(g, slot);
        for (unsigned i = 0; row && i < GROUP; i++)
            if (row[i] == HOLD_CLOSING)
                free_unheld(g * GROUP + i, slot, repairs);
    }
}

CHILD_PATH static void close_marked(uint32_t id, uint32_t slot, bool repairs)
{
    ends.depth++;
    free_unheld(id, slot, repairs);
    while (unlikely(ends.left && ends.depth == 1 && !MUTANT(166))) {
        ends.left = false;
        close_left(slot, repairs);
    }
    ends.depth--;
}

/* Gives up the hold of `slot`, the caller's own or one that it repairs. */
CHILD_PATH static void release(uint32_t id, uint32_t slot, bool repairs)
{
    atomic_exchange(hold_byte(id, slot), MUTANT(26)   ? HOLD_NONE
                                         : MUTANT(27) ? HOLD_HELD
                                                      : HOLD_CLOSING); /* marked before it looks */
    close_marked(id, slot, repairs);
}

/* The object is the caller's process's alone: no fence, no look. */
static void close_private(struct handle *handle, uint32_t id)
{
    struct header *h = handle->header;
    uint32_t slot = process_self.slot;
    unsigned c = class_here(id / GROUP);
    handle->refs = 0;
    if (likely(c < CLASSES && !h->units)) { /* nothing to give back: free at once */
        atomic_store_explicit(&h->state, state_make(handle->generation + 1, 0, OBJECT_FREE),
                              memory_order_release);
        atomic_store_explicit(hold_byte(id, slot), HOLD_NONE, memory_order_release);
        shoal_thread.free_ids[c] |= 1ull << id % GROUP;
        return;
    }
    uint64_t dead = state_make(handle->generation + 1, slot, OBJECT_DEAD);
    if (likely(atomic_load_explicit(&group_at(id / GROUP)->owner, memory_order_relaxed) ==
               shoal_thread.me)) {
        atomic_store_explicit(&h->state, dead, memory_order_release);
        finish(id, slot, false);
        return;
    }
    /* In a group of another thread the byte says CLOSING first, since that thread may create anew as
     * soon as the state is FREE. It holds nothing any more: another, which closes what it found by a
     * stale reference, may come first. */
    uint64_t live = state_make(handle->generation, 0, OBJECT_LIVE);
    unsigned char closing = HOLD_CLOSING;
    os_mutex_lock(&process_self.mutex); /* of what says CLOSING there is one at a time */
    atomic_store_explicit(hold_byte(id, slot), HOLD_CLOSING, memory_order_release);
    if (atomic_compare_exchange_strong(&h->state, &live, dead))
        finish(id, slot, true);
    else
        atomic_compare_exchange_strong(hold_byte(id, slot), &closing, HOLD_NONE);
    os_mutex_unlock(&process_self.mutex);
}

void object_close(void *opaque, enum type type)
{
    struct header *h = header_of(opaque, type);
    owner_t me;
    if (!h || self(&me)) /* whatever thread: one that calls nothing else, too */
        return;
    struct handle *handle = handle_of(opaque);
    uint32_t id = (uint32_t)(handle - handles);
    uint32_t check = atomic_load_explicit(&handle->check, memory_order_relaxed);
    if (likely(!atomic_load_explicit(&handle->shared, memory_order_relaxed))) {
        /* Closed before the look at forks: a child of another thread's fork that we do not see finds
         * it closed. (A fork drains what the process's other threads have stored, as it takes the
         * right to write from their pages.) */
        if (!MUTANT(85))
            atomic_store_explicit(&handle->check, 0, memory_order_relaxed);
        atomic_signal_fence(memory_order_seq_cst);
        if (likely(handle->forks ==
                   atomic_load_explicit(&process_self.keep.forks, memory_order_relaxed))) {
            if (MUTANT(85))
                atomic_store_explicit(&handle->check, 0, memory_order_relaxed);
            close_private(handle, id);
            return;
        }
        atomic_store_explicit(&handle->check, check, memory_order_relaxed);
    }
    os_mutex_lock(&process_self.mutex);
    if (header_of(opaque, type) && !--handle->refs) {
        atomic_store(&handle->check, 0);
        if (unlikely(atomic_load_explicit(&handle->pollable, memory_order_relaxed)))
            pollable_close(handle);
        release(id, process_self.slot, false);
    }
    os_mutex_unlock(&process_self.mutex);
}

static void *handle_at(uint32_t id, uint32_t generation)
{
    return (unsigned char *)&handles[id] + (generation & TAG_MASK);
}

void object_close_inner(void)
{
    for (uint32_t g = 0; (g = object_next_group(process_self.slot, g)) != UINT32_MAX; g++) {
        const unsigned char *row = object_row(g, process_self.slot);
        for (uint32_t id = g * GROUP; row && id < (g + 1) * GROUP; id++) {
            uint32_t check = row[id % GROUP] == HOLD_HELD ? atomic_load(&handles[id].check) : 0;
            if (check && atomic_load(&handles[id].shared) & HANDLE_INNER)
                object_close(handle_at(id, handles[id].generation), (enum type)(check >> 8));
        }
    }
}

void object_drop(uint32_t id, uint32_t generation, uint32_t slot)
{
    unsigned char none = HOLD_NONE;
    if (id >= atomic_load(&view.region->groups_high) * GROUP ||
        state_generation(atomic_load(&header_at(id)->state)) != generation ||
        region_populate(hold_row(id / GROUP, slot), GROUP))
        return;
    if (slot == process_self.slot)
        note_group(id / GROUP);
    if (!atomic_compare_exchange_strong(hold_byte(id, slot), &none, HOLD_CLOSING) &&
        none != HOLD_CLOSING)
        return; /* the process holds it itself, and closes it one day */
    if (ends.depth < DEEPEST)
        close_marked(id, slot, slot != process_self.slot);
    else
        ends.left = true;
}

/* What ends looks at its part (an end of a channel, at the channel), which the slot holds until then. */
CHILD_PATH static bool ends_before_its_part(const struct header *h)
{
    enum object_status status = state_status(atomic_load(&h->state));
    const struct type_repair *type =
        status == OBJECT_LIVE || status == OBJECT_DEAD ? life_type(h->type) : NULL;
    return type && type->part && type->destroy;
}

CHILD_PATH void object_release_all(uint32_t slot)
{
    /* A signal handler may repair in the middle of a close, whose marks are another slot's. */
    struct ends outer = ends;
    ends = (struct ends){0, false};
    for (unsigned all = 0; all < 2; all++)
        for (uint32_t g = 0; (g = object_next_group(slot, g)) != UINT32_MAX; g++) {
            const unsigned char *row = object_row(g, slot);
            for (unsigned i = 0; row && i < GROUP; i++)
                if (row[i] != HOLD_NONE && (all || ends_before_its_part(header_at(g * GROUP + i))))
                    release(g * GROUP + i, slot, true);
        }
    ends = outer;
}

/* ---- shields ---- */

bool object_shield(uint32_t id, uint32_t slot)
{
    if (region_populate(hold_row(id / GROUP, slot), GROUP))
        return false;
    if (slot == process_self.slot)
        note_group(id / GROUP);
    if (atomic_load(hold_byte(id, slot)) != HOLD_HELD)
        atomic_exchange(hold_byte(id, slot), HOLD_HELD); /* a full fence */
    return true;
}

bool object_shielded(uint32_t id, uint32_t slot)
{
    const unsigned char *row = object_row(id / GROUP, slot);
    return row && row[id % GROUP] == HOLD_HELD;
}

/* ---- references ---- */

int object_reference(const void *opaque, enum type type, const char *what, shoal_reference *ret)
{
    struct header *h = header_of(opaque, type);
    if (!h)
        return bad_handle(opaque, what);
    if (!ret)
        return fail(-EINVAL, "%s: nowhere to write the reference (NULL)", what);
    owner_t me;
    int rc = self(&me);
    if (rc)
        return rc;
    atomic_store_explicit(&handle_of(opaque)->shared, !MUTANT(32), memory_order_relaxed);
    *ret = (shoal_reference){.family = view.region->family,
                             .id = header_id(h),
                             .generation = handle_of(opaque)->generation};
    return 0;
}

/* Under process_self.mutex, not held by this process yet. */
static int hold(uint32_t id, uint32_t generation, enum type type)
{
    struct header *h = header_at(id);
    int rc = region_populate(hold_row(id / GROUP, process_self.slot), GROUP);
    if (rc)
        return rc;
    note_group(id / GROUP);
    _Atomic unsigned char *byte = hold_byte(id, process_self.slot);
    unsigned char was = HOLD_NONE, opening = MUTANT(84) ? HOLD_HELD : HOLD_OPENING;
    /* a full fence */
    bool marked = atomic_compare_exchange_strong(byte, &was, opening) || MUTANT(84);
    uint64_t s = atomic_load(&h->state);
    while (state_generation(s) == generation && state_status(s) == OBJECT_LIVE) {
        if (h->type != type)
            break;
        if (!marked) /* held since the fork before the exec that began this program */
            return 0;
        if (atomic_compare_exchange_strong(&h->state, &s,
                                           state_make(generation, state_version(s) + !MUTANT(30),
                                                      OBJECT_LIVE))) {
            atomic_store(byte, HOLD_HELD);
            return 0;
        }
    }
    bool other_type = state_generation(s) == generation && state_status(s) == OBJECT_LIVE;
    /* Our byte may have kept its closer, or a later life's, from freeing it. A byte that is not ours
     * is that of another thread of the process, which creates in this place or frees what nobody
     * else knew. */
    if (marked && !MUTANT(31) && atomic_compare_exchange_strong(byte, &opening, HOLD_CLOSING))
        close_marked(id, process_self.slot, false);
    return other_type ? -EINVAL : -ESTALE;
}

int object_open(void **ret, enum type type, const char *what, const shoal_reference *reference)
{
    owner_t me;
    if (!ret || !reference)
        return fail(-EINVAL, "%s: NULL for the handle or the reference", what);
    int rc = self(&me);
    if (rc)
        return rc;
    uint32_t id = reference->id;
    if (reference->family != view.region->family)
        return fail(-ESTALE, "%s: the reference is of another family", what);
    if (id >= atomic_load(&view.region->groups_high) * GROUP)
        return fail(-ESTALE, "%s: the reference names object %u, which never was", what, id);
    os_mutex_lock(&process_self.mutex);
    struct handle *handle = &handles[id];
    uint32_t check = atomic_load(&handle->check);
    if (check && __atomic_load_n(&handle->generation, __ATOMIC_RELAXED) == reference->generation) {
        if (check == handle_check(type, reference->generation))
            handle->refs++;
        else
            rc = -EINVAL;
    } else if (check) {
        rc = -ESTALE; /* we hold a later life of it */
    } else {
        rc = hold(id, reference->generation, type);
        if (!rc) {
            handle->header = header_at(id);
            handle->generation = reference->generation;
            handle->forks = atomic_load(&process_self.keep.forks);
            handle->refs = 1;
            atomic_store(&handle->check, handle_check(type, reference->generation));
        }
    }
    if (!rc)
        atomic_store_explicit(&handle->shared, 1, memory_order_relaxed);
    os_mutex_unlock(&process_self.mutex);
    if (rc)
        return fail(rc,
                    rc == -EINVAL   ? "%s: object %u is of another type"
                    : rc == -ESTALE ? "%s: object %u is gone"
                                    : "%s: no memory to hold object %u",
                    what, id);
    *ret = (unsigned char *)handle + (reference->generation & TAG_MASK);
    return 0;
}

/* ---- holding without a handle of its own ---- */

enum type object_type(const void *opaque, const char *what, shoal_reference *ret)
{
    owner_t me;
    if (!opaque)
        fail_detail("%s: NULL is not a handle", what);
    if (!opaque || self(&me)) /* which has said why */
        return TYPE_NONE;
    const struct handle *handle = handle_of(opaque);
    if ((uintptr_t)opaque - (uintptr_t)handles >= MOST_OBJECTS * sizeof *handles) {
        fail_detail(
            "%s: not a handle of an object of the family; a socket's connection is none, and"
            " cannot travel",
            what);
        return TYPE_NONE;
    }
    enum type type = (enum type)(atomic_load(&handle->check) >> 8);
    if (!header_of(opaque, type)) {
        fail_detail("%s: not an open handle (closed?)", what);
        return TYPE_NONE;
    }
    *ret = (shoal_reference){view.region->family, (uint32_t)(handle - handles), handle->generation};
    return type;
}

bool object_part(struct header *h, shoal_reference *ret, enum type *type)
{
    const struct type_repair *its = life_type(h->type);
    *ret = (shoal_reference){.family = view.region->family};
    if (!its || !its->part || !its->part(h, &ret->id, &ret->generation))
        return false;
    *type = (enum type)header_at(ret->id)->type;
    return true;
}

/* Whether the object of this header, which the caller holds, has it. */
static bool contains(const struct header *h, uint64_t at, uint64_t size)
{
    uint64_t payload = atomic_load(&h->payload);
    if (!payload || state_status(atomic_load(&h->state)) != OBJECT_LIVE)
        return false;
    uint64_t from = (payload - 1) * 64;
    return at >= from && at - from <= h->size && size <= h->size - (at - from);
}

int object_at(const void *address, size_t size, shoal_reference *ret)
{
    static _Atomic uint32_t last; /* it is asked about the same one again and again */
    uint64_t at = (uint64_t)((const unsigned char *)address - view.heap);
    uint32_t id = atomic_load_explicit(&last, memory_order_relaxed);
    uint32_t slot = process_self.slot, g;
    if (id >= atomic_load(&view.region->groups_high) * GROUP ||
        atomic_load(hold_byte(id, slot)) != HOLD_HELD || !contains(header_at(id), at, size)) {
        for (g = object_next_group(slot, 0); g != UINT32_MAX; g = object_next_group(slot, g + 1)) {
            const unsigned char *row = object_row(g, slot);
            unsigned i = 0;
            while (row && i < GROUP &&
                   (row[i] != HOLD_HELD || !contains(header_at(g * GROUP + i), at, size)))
                i++;
            if (row && i < GROUP) {
                id = g * GROUP + i;
                break;
            }
        }
        if (g == UINT32_MAX)
            return fail(-EINVAL, "%zu bytes at %p lie in no memory of the family that is open here",
                        size, address);
    }
    atomic_store_explicit(&last, id, memory_order_relaxed);
    *ret = (shoal_reference){view.region->family, id,
                             state_generation(atomic_load(&header_at(id)->state))};
    if (atomic_load(
            &handles[id].check)) /* what was inherited and is not open is given up as such */
        atomic_store_explicit(&handles[id].shared, 1, memory_order_relaxed);
    return 0;
}

int object_hold(const shoal_reference *reference, enum type type, const char *what)
{
    void *opened, *part;
    shoal_reference its;
    enum type its_type;
    int rc = object_open(&opened, type, what, reference);
    if (rc || MUTANT(168) || !object_part(header_at(reference->id), &its, &its_type))
        return rc;
    rc = object_open(&part, its_type, what, &its);
    if (rc)
        object_close(opened, type);
    return rc;
}

void object_unhold(const shoal_reference *reference, enum type type)
{
    shoal_reference its;
    enum type its_type;
    owner_t me;
    /* A process that has left, or a raw child, holds nothing, and does not begin a family for this. */
    if (!atomic_load(&process_self.attached) || self(&me) ||
        reference->family != view.region->family)
        return;
    void *opened = handle_at(reference->id, reference->generation);
    struct header *h = header_of(opened, type);
    bool parted = h && object_part(h, &its, &its_type);
    object_close(opened, type);
    if (parted)
        object_close(handle_at(its.id, its.generation), its_type);
}

void object_sent(uint32_t id)
{
    if (!MUTANT(160))
        __atomic_fetch_or(&header_at(id)->flags, OBJECT_SENT, __ATOMIC_SEQ_CST);
}

/* ---- forks ---- */

int object_copy_holds(uint32_t from, uint32_t to)
{
    for (uint32_t g = 0; (g = object_next_group(from, g)) != UINT32_MAX; g++) {
        const unsigned char *row = object_row(g, from);
        uint64_t some = 0, words[GROUP / 8];
        if (!row)
            continue;
        memcpy(words, row, GROUP);
        for (unsigned i = 0; i < GROUP / 8; i++)
            some |= words[i];
        if (!some) {
            forget_group(g);
            continue;
        }
        int rc = region_populate(hold_row(g, to), GROUP);
        if (rc)
            return fail(rc, "no memory for another process");
        for (unsigned i = 0; i < GROUP; i++)
            if (row[i] == HOLD_HELD && !MUTANT(33))
                atomic_store_explicit(hold_byte(g * GROUP + i, to), HOLD_HELD,
                                      memory_order_relaxed);
    }
    atomic_fetch_add(&view.region->forks, 1);
    return 0;
}

void object_check_handles(bool raw)
{
    object_charge_none();
    uint32_t high = atomic_load(&view.region->groups_high);
    for (uint32_t g = 0; g < high; g++) {
        const unsigned char *row = object_row(g, process_self.slot);
        for (uint32_t id = g * GROUP; id < (g + 1) * GROUP; id++) {
            struct handle *handle = &handles[id];
            bool held = row && row[id % GROUP] == HOLD_HELD;
            uint32_t check = atomic_load(&handle->check);
            if (check && !held &&
                ((raw && !handle->shared) || hold(id, handle->generation, (enum type)(check >> 8))))
                atomic_store(&handle->check, 0);
            else if (!check && row && row[id % GROUP] != HOLD_NONE) {
                atomic_store(&handle->shared, 0); /* not inherited: it is given up here */
                release(id, process_self.slot,
                        false); /* copied while another thread of the parent created it */
            }
        }
    }
}

void object_inherit(void)
{
    uint32_t high = atomic_load(&view.region->groups_high);
    for (uint32_t g = 0; g < high; g++) {
        const unsigned char *row = object_row(g, process_self.slot);
        for (unsigned i = 0; row && i < GROUP; i++)
            if (row[i] != HOLD_NONE) {
                note_group(g);
                atomic_store(&handles[g * GROUP + i].shared, HANDLE_INHERITED);
            }
    }
}

/* What another thread is making here, or drops, is held without an open handle, too, for a moment; but
 * never in the place of what was inherited: that place is free only after this, or after its open,
 * which takes the mark away. */
void object_release_unopened(void)
{
    os_mutex_lock(&process_self.mutex);
    for (uint32_t g = 0; (g = object_next_group(process_self.slot, g)) != UINT32_MAX; g++) {
        const unsigned char *row = object_row(g, process_self.slot);
        for (uint32_t id = g * GROUP; row && id < (g + 1) * GROUP; id++) {
            if (row[id % GROUP] == HOLD_NONE || atomic_load(&handles[id].check) ||
                (atomic_load(&handles[id].shared) != HANDLE_INHERITED && !MUTANT(56)))
                continue;
            if (MUTANT(106))
                atomic_store(hold_byte(id, process_self.slot), HOLD_NONE);
            else
                release(id, process_self.slot, false);
        }
    }
    os_mutex_unlock(&process_self.mutex);
}

void object_forget(void)
{
    uint32_t high = atomic_load(&view.region->groups_high);
    for (uint32_t id = 0; id < high * GROUP; id++)
        if (atomic_load(&handles[id].check))
            atomic_store(&handles[id].check, 0);
    for (unsigned i = 0; i < sizeof held_groups / sizeof *held_groups; i++)
        atomic_store(&held_groups[i], 0);
}

int object_attach(void)
{
    if (handles)
        return 0;
    void *table = mmap(NULL, (size_t)MOST_OBJECTS * sizeof(struct handle), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (table == MAP_FAILED)
        return -ENOMEM;
    handles = table;
    return 0;
}
