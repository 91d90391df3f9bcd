/* Processes and threads of a snapshot. */
#include "inspect/inspect.h"
#include "message/any.h"
#include <stdlib.h>
#include <string.h>

/* ---- copying them ---- */

static int copy_slots(struct snapshot *s)
{
    uint32_t high = atomic_load(&s->region.slots_high);
    s->slots_high = high < 1 ? 1 : high < SLOTS ? high : SLOTS;
    s->slots = calloc(s->slots_high, sizeof *s->slots);
    s->charged = calloc(s->slots_high, sizeof *s->charged);
    s->over = calloc(s->slots_high, sizeof *s->over);
    if (!s->slots || !s->charged || !s->over)
        return -ENOMEM;
    for (uint32_t i = 1; i < s->slots_high; i++) {
        look_read(&s->look, look_slot(&s->look, i), &s->slots[i], sizeof *s->slots);
        memset(s->slots[i].authkey, 0, sizeof s->slots[i].authkey); /* is nobody's business */
        pid_t pid = atomic_load(&s->slots[i].pid);
        s->over[i] = s->near && snapshot_has(s, i) && pid > 0 && os_process_ended(pid) == 1;
    }
    return 0;
}

bool snapshot_has(const struct snapshot *s, uint32_t slot)
{
    return slot && slot < s->slots_high &&
           slot_status(atomic_load(&s->slots[slot].word)) != SLOT_FREE;
}

static uint64_t innermost(const struct record *record)
{
    for (int i = FRAMES - 1; i >= 0; i--)
        if (atomic_load(&record->frames[i]))
            return atomic_load(&record->frames[i]);
    return 0;
}

static void add_thread(struct snapshot *s, uint32_t i, const struct record *record)
{
    uint64_t word = atomic_load(&record->word);
    uint32_t slot = (uint32_t)(word >> 16) & 0xffff;
    bool first = i < SLOTS;
    if (!(word & 0xff) || !snapshot_has(s, slot) ||
        (first && (slot != i || word >> 32 != atomic_load(&s->slots[slot].word) >> 32)))
        return;
    s->threads[s->threads_count++] = (struct seen_thread){
        .record = i,
        .generation = (uint32_t)(word >> 32),
        .slot = slot,
        .tid = atomic_load(&record->tid),
        .frame = innermost(record),
        .joins = atomic_load(&record->joins),
    };
}

int snapshot_processes(struct snapshot *s)
{
    enum { AT_ONCE = 64 };
    struct record some[AT_ONCE];
    int rc = copy_slots(s);
    if (rc)
        return rc;
    uint32_t high = atomic_load(&s->region.records_high);
    if (high < SLOTS || high > RECORDS)
        high = SLOTS;
    s->threads = calloc(s->slots_high + high - SLOTS, sizeof *s->threads);
    if (!s->threads)
        return -ENOMEM;
    for (uint32_t i = 1; i < s->slots_high; i++)
        add_thread(s, i, &s->slots[i].first);
    for (uint32_t i = SLOTS; i < high; i += AT_ONCE) {
        uint32_t n = high - i < AT_ONCE ? high - i : AT_ONCE;
        look_read(&s->look, look_record(&s->look, i), some, n * sizeof *some);
        for (uint32_t k = 0; k < n; k++)
            add_thread(s, i + k, &some[k]);
    }
    return 0;
}

const struct seen_thread *snapshot_thread(const struct snapshot *s, owner_t owner)
{
    size_t from = 0, to = s->threads_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (s->threads[middle].record < owner_record(owner))
            from = middle + 1;
        else
            to = middle;
    }
    const struct seen_thread *t = &s->threads[from];
    return from < s->threads_count && t->record == owner_record(owner) &&
                   t->generation == owner_generation(owner)
               ? t
               : NULL;
}

/* ---- as anys ---- */

shoal_any *build_name(const char *name, size_t room)
{
    char text[NAME];
    size_t size = strnlen(name, room < NAME ? room : NAME);
    memcpy(text, name, size);
    for (size_t i; (i = any_utf8_valid((const unsigned char *)text, size)) < size;)
        text[i] = '?';
    return shoal_any_str_sized(text, size);
}

static int64_t pid_of(const struct snapshot *s, uint32_t slot)
{
    return snapshot_has(s, slot) ? atomic_load(&s->slots[slot].pid) : 0;
}

shoal_any *build_thread(struct build *b, const struct seen_thread *t)
{
    shoal_any *dict = shoal_any_dict();
    build_put(b, dict, "pid", shoal_any_int(pid_of(b->s, t->slot)));
    build_put(b, dict, "process", build_name(b->s->slots[t->slot].name, NAME));
    build_put(b, dict, "thread", shoal_any_int(t->tid));
    return dict;
}

static const char *status_name(const struct snapshot *s, uint32_t i)
{
    switch (s->over[i] ? SLOT_DEAD : slot_status(atomic_load(&s->slots[i].word))) {
    case SLOT_FREE: break;
    case SLOT_STARTING: return "starting";
    case SLOT_ALIVE: return "running";
    case SLOT_LEAVING: return "leaving";
    case SLOT_DEAD: return "dead";
    }
    return "?";
}

static int64_t parent_of(const struct snapshot *s, const struct slot *slot)
{
    uint32_t parent = slot->parent;
    bool there = snapshot_has(s, parent) &&
                 atomic_load(&s->slots[parent].word) >> 32 == slot->parent_generation;
    return there ? pid_of(s, parent) : 0;
}

static shoal_any *build_process(struct build *b, uint32_t i)
{
    const struct slot *slot = &b->s->slots[i];
    shoal_any *dict = shoal_any_dict(), *waits = shoal_any_list();
    int64_t threads = 0;
    for (size_t k = 0; k < b->s->threads_count; k++) {
        const struct seen_thread *t = &b->s->threads[k];
        if (t->slot != i)
            continue;
        threads++;
        if (t->frame)
            build_append(b, waits, shoal_any_int((int64_t)(uint32_t)(t->frame - 1)));
    }
    build_put(b, dict, "pid", shoal_any_int(pid_of(b->s, i)));
    build_put(b, dict, "name", build_name(slot->name, NAME));
    build_put(b, dict, "slot", shoal_any_int(i));
    build_put(b, dict, "parent", shoal_any_int(parent_of(b->s, slot)));
    build_put(b, dict, "status", shoal_any_str(status_name(b->s, i)));
    build_put(b, dict, "daemon", shoal_any_bool(atomic_load(&slot->flags) & SLOT_FLAG_DAEMON));
    build_put(b, dict, "threads", shoal_any_int(threads));
    build_put(b, dict, "charged", shoal_any_uint(b->s->charged[i]));
    build_put(b, dict, "quota", shoal_any_uint(atomic_load(&slot->quota)));
    build_put(b, dict, "waits_for", waits);
    return dict;
}

shoal_any *build_processes(struct build *b)
{
    shoal_any *list = shoal_any_list();
    for (uint32_t i = 1; i < b->s->slots_high && !b->rc; i++)
        if (snapshot_has(b->s, i))
            build_append(b, list, build_process(b, i));
    return list;
}
