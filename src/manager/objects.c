/* What a server exports. An ident is a place in a table and how often it was taken, in hexadecimal, as
 * Python's are; nobody else than the loop's thread comes here.
 *
 * An object lives while clients refer to it, while it has a name, and while a call of it is under
 * way or a connection may hold something of it. */
#include "manager/manager.h"
#include "message/any.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLACES = 24 /* bits */ };

void entry_ident(const struct entry *entry, char ret[IDENT])
{
    uint64_t number = (uint64_t)entry->generation << PLACES | entry->index;
    snprintf(ret, IDENT, "%" PRIx64, number);
}

struct entry *objects_find(struct objects *o, const shoal_any *ident)
{
    const char *text;
    char right[IDENT], *end;
    if (shoal_any_as_str(ident, &text, NULL) || strlen(text) >= IDENT)
        return NULL;
    uint64_t number = strtoull(text, &end, 16);
    uint32_t place = (uint32_t)(number & ((1u << PLACES) - 1));
    struct entry *e = place < o->count ? o->at[place] : NULL;
    if (!e || !e->type)
        return NULL;
    entry_ident(e, right);
    return strcmp(right, text) ? NULL : e;
}

/* A place that is free: NULL: no memory, or there are too many. */
static struct entry *place(struct objects *o)
{
    if (o->used >= o->most)
        return fail(NULL, "the manager has %u objects, and may not have more", o->used);
    if (o->used < o->count) {
        struct entry *e = o->at[o->free];
        o->free = e->next_free;
        return e;
    }
    if (o->count == o->room) {
        uint32_t room = o->room ? o->room * 2 : 64;
        struct entry **at = realloc(o->at, room * sizeof(struct entry *));
        if (!at)
            return fail(NULL, "no memory for %u objects", room);
        o->at = at;
        o->room = room;
    }
    struct entry *e = calloc(1, sizeof *e);
    if (!e)
        return fail(NULL, "no memory for an object");
    e->index = o->count;
    o->at[o->count++] = e;
    return e;
}

const void *entry_handle(const struct entry *e)
{
    if (e->type->handle)
        return e->type->handle(e->object);
    return e->type->type == TYPE_NONE ? NULL : e->object;
}

static struct entry **bucket(struct objects *o, const shoal_reference *r)
{
    return &o->buckets[(r->id ^ r->generation) & 255];
}

struct entry *objects_find_reference(struct objects *o, const shoal_reference *r)
{
    struct entry *e = *bucket(o, r);
    while (e && memcmp(&e->reference, r, sizeof *r) != 0)
        e = e->same;
    return e;
}

static void link_reference(struct objects *o, struct entry *e)
{
    const void *handle = entry_handle(e);
    if (!handle || object_type(handle, "an exported object", &e->reference) == TYPE_NONE)
        return;
    struct entry **at = bucket(o, &e->reference);
    e->same = *at;
    *at = e;
}

static void unlink_reference(struct objects *o, const struct entry *e)
{
    struct entry **at = bucket(o, &e->reference);
    while (*at && *at != e)
        at = &(*at)->same;
    if (*at)
        *at = e->same;
}

int objects_add(struct objects *o, const struct manager_type *type, void *object,
                struct entry **ret)
{
    struct entry *e = place(o);
    if (!e)
        return -ENOMEM;
    *e = (struct entry){.type = type,
                        .object = object,
                        .generation = e->generation + 1,
                        .refs = 1,
                        .index = e->index};
    o->used++;
    link_reference(o, e);
    *ret = e;
    return 0;
}

static void end_if_unused(struct objects *o, struct entry *e)
{
    if (e->refs || e->uses || e->pinned)
        return;
    const struct manager_type *type = e->type;
    void *object = e->object;
    unlink_reference(o, e);
    e->type = NULL;
    e->object = NULL;
    e->next_free = o->free;
    o->free = e->index;
    o->used--;
    if (type->own && type->own->destroy)
        type->own->destroy(object);
    else if (!type->own && type->destroy)
        type->destroy(object);
}

void entry_unref(struct objects *o, struct entry *e)
{
    e->refs--;
    end_if_unused(o, e);
}

void entry_use(struct entry *e)
{
    e->uses++;
}

void entry_unuse(struct objects *o, struct entry *e)
{
    e->uses--;
    end_if_unused(o, e);
}

void objects_free(struct objects *o)
{
    for (uint32_t i = 0; i < o->count; i++) {
        struct entry *e = o->at[i];
        if (e->type) {
            bool named = false;
            for (unsigned n = 0; n < o->n_names; n++)
                named |= o->names[n].entry == e;
            e->refs = e->uses = 0;
            e->pinned = false;
            if (!named)
                end_if_unused(o, e);
        }
    }
    for (uint32_t i = 0; i < o->count; i++)
        free(o->at[i]);
    for (unsigned n = 0; n < o->n_names; n++) {
        const struct named *name = &o->names[n];
        if (!name->type->own && name->type->destroy)
            name->type->destroy(name->object);
        free(name->own);
        free(name->name);
    }
    free(o->names);
    free(o->at);
    *o = (struct objects){.at = NULL};
}
