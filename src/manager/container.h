/* manager/container.h - what lists, dicts and namespaces share: from a handle to its stores; making,
 * acquiring, ending (container.c).
 */
#ifndef SHOAL_MANAGER_CONTAINER_H
#define SHOAL_MANAGER_CONTAINER_H

#include "manager/store.h"
#include "manager/word.h"
#include <shoal/container.h>

enum {
    SHARDS = 8,        /* of a dict or namespace */
    INNER_ARENA = 896, /* of a list: with head and store 1024 bytes */
    VAIN = 256,        /* looks beside busy writers, until who reads takes the lock */
};
#define HURRY 1000000 /* ns for a lock that one could do without */

static inline void site_at(struct site *p, struct header *h)
{
    bool list = h->type == TYPE_LIST;
    p->header = h;
    p->head = header_payload(h);
    p->stores = (struct store *)(void *)(p->head + 1);
    p->count = list ? 1 : SHARDS;
    p->inner = list ? INNER_ARENA : 0;
    p->interruptible = false;
    p->deadline = SHOAL_FOREVER;
}

/* 0, -EBADF or -EINVAL, or what attaching comes to. */
static inline int site_of(struct site *p, const void *handle, enum type type, const char *call)
{
    struct header *h = header_of(handle, type);
    owner_t me;
    if (unlikely(!h))
        return bad_handle(handle, call);
    site_at(p, h);
    p->id = (uint32_t)(handle_of(handle) - handles);
    p->generation = handle_of(handle)->generation;
    p->call = call;
    return self(&me);
}

static inline int nowhere(const struct site *p)
{
    return fail(-EINVAL, "%s: nowhere to write the result (NULL)", p->call);
}

/* What it is to become has no room, not even in an arena that was made for it. */
static inline int no_room(const struct site *p)
{
    return fail(-ENOMEM, "%s: no memory for what is to be in it", p->call);
}

int container_create(void **ret, enum type type, const shoal_container_options *options,
                     const char *call);
int container_acquire(const void *handle, enum type type, int64_t deadline, const char *call);
int container_release(const void *handle, enum type type, const char *call);
int64_t container_bytes(const void *handle, enum type type, const char *call);
/* a + b, as Python's +, of numbers: an item. -EINVAL, -EOVERFLOW. a NULL: 0. */
int container_sum(struct item *ret, const struct site *p, const shoal_any *a, const shoal_any *b);

/* A value that is bytes, into memory of the caller's: -EINVAL, -EMSGSIZE, -ESTALE (word_any). */
int fetched_bytes(const struct site *p, const struct fetched *f, void *buffer, size_t capacity,
                  size_t *size);

/* Values of an arena that is about to change, or was read without the lock: in private memory. Messages among
 * them are open, so that they are there until shot_free, whoever takes them out. */
struct shot {
    uint64_t *words; /* of those that have a block: where it lies in bytes */
    size_t count, room;
    unsigned char *bytes;
    size_t used, size;
    void **open;
    size_t n_open;
    bool unopened; /* they are not wanted, and not open */
};
/* Around a look that fills it. A message that it found may have been taken out before it was opened: then the look was in vain. Beside
 * a busy writer that might be so for ever, so after `n` looks in vain who looks has the locks, if they can be had: true. */
bool shot_begin(const struct site *p, struct shot *shot, unsigned n);
/* Whether to look again. *rc: what the look came to; -ENOMEM. */
bool shot_end(const struct site *p, struct shot *shot, bool locked, int *rc);
/* Adds one, with its block: false: it is none, so the look was in vain; -ENOMEM is noted in
 * *rc. */
bool shot_add(struct shot *shot, const struct reading *r, uint64_t word, int *rc);
/* So many bytes more: NULL: no memory. */
unsigned char *shot_bytes(struct shot *shot, size_t size, int *rc);
static inline const unsigned char *shot_block(const struct shot *shot, uint64_t word, size_t *size)
{
    uint64_t at;
    return word_block(word, &at, size) ? shot->bytes + at : NULL;
}
int shot_any(const struct shot *shot, size_t i, shoal_any **ret, const char *call);
void shot_free(struct shot *shot);
/* Anys that a builder is about to take over, or that are freed. */
struct anys {
    shoal_any **at;
    size_t count;
};
void anys_free(struct anys *anys);

/* ---- for the types: list.c and dict.c visit their value words ---- */
void list_each(const struct reading *r, visit_word *visit, void *argument);
void dict_each(const struct reading *r, visit_word *visit, void *argument);
int list_init(const struct site *p);
uint64_t list_length(const struct look *look, const struct header *h);
uint64_t dict_length(const struct look *look, const struct header *h);

describe container_describe;

#endif
