/* manager/store_inner.h - what store.c and change.c share: the parts of a state word, where arenas and the entries of
 * journals lie.
 */
#ifndef SHOAL_MANAGER_STORE_INNER_H
#define SHOAL_MANAGER_STORE_INNER_H

#include "manager/store.h"
#include "manager/word.h"
#include "message/message.h"

/* ---- the state word ---- */

#define COUNT_MOST ((1u << 21) - 1)

static inline uint64_t state_of(uint64_t version, uint32_t count, unsigned phase, unsigned now,
                                unsigned next)
{
    return version << 28 | (uint64_t)count << 7 | (uint64_t)phase << 5 | (uint64_t)now << 3 |
           (uint64_t)next << 1;
}
static inline unsigned now_of(uint64_t state)
{
    return state >> 3 & 3;
}
static inline unsigned next_of(uint64_t state)
{
    return state >> 1 & 3;
}
static inline uint32_t count_of(uint64_t state)
{
    return (uint32_t)(state >> 7) & COUNT_MOST;
}

static inline uint64_t state_load(const struct store *s)
{
    return atomic_load_explicit(&s->state, memory_order_relaxed);
}

/* The next version. */
static inline void state_store(struct store *s, uint32_t count, unsigned phase, unsigned now,
                               unsigned next)
{
    atomic_store_explicit(&s->state, state_of((state_load(s) >> 28) + 1, count, phase, now, next),
                          memory_order_release);
}

/* ---- where an arena lies ---- */

static inline unsigned char *arena_at(const struct site *p, const struct store *s, unsigned which,
                                      uint64_t *capacity)
{
    if (unlikely(!which || which > 2)) {
        *capacity = which ? 0 : p->inner;
        return *capacity ? (unsigned char *)(p->stores + 1) : NULL;
    }
    return store_run(s, which, capacity);
}

static inline struct arena *arena_of(unsigned char *base)
{
    return (struct arena *)(void *)base;
}

static inline word_t *word_at(unsigned char *base, uint64_t at)
{
    return (word_t *)(void *)(base + at);
}

/* The i-th entry of a journal that ends at `limit`. */
static inline struct entry *entry_at(const unsigned char *base, uint64_t limit, uint32_t i)
{
    return (struct entry *)(void *)((uintptr_t)base + limit - (i + 1ull) * sizeof(struct entry));
}
#define WHERE_BITS 62

static inline uint64_t limit_of(unsigned char *base)
{
    return base ? atomic_load_explicit(&arena_of(base)->limit, memory_order_relaxed) : 0;
}

/* ---- of store.c ---- */

/* The message of a value word, if it is there and lies in the container, or NULL. */
struct message *store_message(const struct site *p, uint64_t word);
/* Gives back a run that is not used, or not, what cannot be given back beside one who is stopped with the units' guard. */
void store_free_others(struct store *s);

#endif
