/* region/object.h - objects: creating, opening by reference, closing; handles; memory
 * (docs/design.md 5 and 6). */
#ifndef SHOAL_OBJECT_H
#define SHOAL_OBJECT_H

#include "region/life.h"
#include "region/self.h"

/* A process's private view of an object; the opaque pointers of the API point to it, with the low
 * bits of the generation added (a tag), so that a handle kept beyond its close is told from the one
 * that took its place. Never freed: handle i is object i's. */
struct handle {
    _Atomic uint32_t check; /* {type, tag} while open, 0 when not */
    uint32_t refs;          /* opens of this process; under process_self.mutex unless private */
    struct header *header;
    uint32_t generation;
    uint32_t forks; /* process_self.keep.forks when it was created */
    /* 1: a reference was taken, it was opened, or slept on: others may hold it. Set by any thread. And HANDLE_INNER;
     * or HANDLE_INHERITED alone, until it is opened */
    _Atomic uint32_t shared;
    /* poll.h: its descriptor's entry + 1, if that is this process's; or 0 */
    _Atomic uint32_t pollable;
};
static_assert(sizeof(struct handle) == 32, "the tag has five bits");
enum { TAG_BITS = 5, TAG_MASK = 31 };

/* In a header's flags, set before it is published, but for SENT. */
enum {
    OBJECT_LOOKED_AT = 1, /* never closed without a look at who else holds it */
    /* It has been in a message: messages may hold it. Set by who holds it, for good. */
    OBJECT_SENT = 2,
    OBJECT_CARRIES = 4, /* a message that holds objects. LOOKED_AT too */
};

extern struct handle *handles; /* as many as there can be objects; only touched ones take memory */

static inline struct handle *handle_of(const void *opaque)
{
    return (struct handle *)((uintptr_t)opaque & ~(uintptr_t)TAG_MASK);
}
static inline uint32_t handle_check(enum type type, uint32_t tag)
{
    return (uint32_t)type << 8 | (tag & TAG_MASK) | 0x80;
}
/* Of a process that is attached no more, as a raw fork's child is not: whether the handle is still good
 * after it has attached anew. */
bool object_still_open(const void *opaque, enum type type);
/* The header of an open handle of this type, or NULL. */
static inline struct header *header_of(const void *opaque, enum type type)
{
    struct handle *h = handle_of(opaque);
    if (unlikely(!h) || unlikely(atomic_load_explicit(&h->check, memory_order_relaxed) !=
                                 handle_check(type, (uint32_t)(uintptr_t)opaque)))
        return NULL;
    if (unlikely(!atomic_load_explicit(&process_self.attached, memory_order_relaxed)) &&
        !object_still_open(opaque, type))
        return NULL;
    return h->header;
}
/* -EINVAL for NULL, -EBADF otherwise, with a sentence. */
static inline int bad_handle(const void *opaque, const char *what)
{
    if (!opaque)
        return fail(-EINVAL, "%s: NULL is not a handle", what);
    return fail(-EBADF, "%s: not an open handle of this kind (closed, or of another type)", what);
}

static inline void *header_payload(const struct header *header)
{
    return view.heap +
           (uint64_t)(atomic_load_explicit(&header->payload, memory_order_relaxed) - 1) * 64;
}

enum object_content {
    OBJECT_RAW, /* undefined */
    OBJECT_ZERO,
    /* over 4096 bytes: no memory behind it yet; the type populates what it uses. What had memory
     * before is not zero. */
    OBJECT_SPARSE,
};
/* Creates an object of `size` payload bytes (0: none) in state CREATING, held by this process: fill
 * in body and payload, then object_publish. `name` may be NULL. -EINVAL for a name that is too
 * long. */
int object_create(struct header **ret, enum type type, size_t size, const char *name,
                  enum object_content zero);
/* The same, but for -ENOSPC: there is memory, but no room in the region or the quota, and there may be
 * later; where object_create is -ENOMEM. */
int object_try_create(struct header **ret, enum type type, size_t size, const char *name,
                      enum object_content zero);
/* Whether there may ever be room for so many bytes, in the region and the quota. */
bool object_may_fit(size_t content);
/* Makes it LIVE and returns the opaque handle. */
void *object_publish(struct header *header);
/* Undoes object_create. */
void object_abandon(struct header *header);
const char *object_name(const struct header *header); /* "" if none */

int object_reference(const void *opaque, enum type type, const char *what, shoal_reference *ret);
int object_open(void **ret, enum type type, const char *what, const shoal_reference *reference);
/* Gives up one open. Bad handles are ignored (a destructor has nobody to tell). */
void object_close(void *opaque, enum type type);
/* It is for this process alone, which may not even know of it: a child need not keep what it inherits of it. */
/* INHERITED: by exec, and not opened since. */
enum { HANDLE_INNER = 2, HANDLE_INHERITED = 4 };
static inline void object_inner(void *opaque)
{
    atomic_fetch_or(&handle_of(opaque)->shared, 1 | HANDLE_INNER);
}
/* In a child, before it does anything else: gives that up. */
void object_close_inner(void);
/* Something that is no process has given up its hold of the object, and the state that told so is
 * gone: frees it if it was the last, in the name of `slot` (the caller's own, then under
 * process_self.mutex, or one that it repairs). Told again, it does nothing. */
void object_drop(uint32_t id, uint32_t generation, uint32_t slot);

/* Holds an object, and what belongs to it (a condition's lock), without a handle of the caller's own:
 * as object_open; the process has it open until object_unhold, which ignores what it does not. */
int object_hold(const shoal_reference *reference, enum type type, const char *what);
void object_unhold(const shoal_reference *reference, enum type type);
/* The type of any open handle of this process, with its reference; TYPE_NONE, with a sentence, if it
 * is none. */
enum type object_type(const void *opaque, const char *what, shoal_reference *ret);
/* What belongs to an object that the caller holds: false if nothing does. */
bool object_part(struct header *header, shoal_reference *ret, enum type *type);
/* The caller, who holds it, is about to put it into a message. */
void object_sent(uint32_t id);
/* Bytes that there are behind its payload's beginning. */
uint64_t object_room(const struct header *header);
/* What an object of so many bytes takes of the region. */
uint64_t object_cost(size_t content);

/* Which object that this process holds has [address, address + size) in its payload: 0, -EINVAL: none. */
int object_at(const void *address, size_t size, shoal_reference *ret);
/* Whether the process of another slot than `but` holds it. */
bool object_held(uint32_t id, uint32_t but);
/* Whether an object, which no process holds itself, can be reached from what one holds, through
 * messages (reach.c). REACH_CHANGED: somebody was opening what leads there; look again. */
enum reach { UNREACHED, REACHED, REACH_CHANGED };
enum reach object_reach(struct header *header);

/* ---- for life.c ---- */
/* Closes in the name of `slot` what its hold row says, for every object; what it was creating is
 * undone. */
void object_release_all(uint32_t slot);
/* For a repairer, which touches objects that others sleep on: `slot`, which is repaired and holds
 * nothing any more, holds the object. False: no memory. It may be any life of the object, so the
 * caller looks again at what led it there; and only objects that somebody sleeps on (their handles
 * are shared) are closed with a look at holds. */
bool object_shield(uint32_t id, uint32_t slot);
bool object_shielded(uint32_t id, uint32_t slot);
/* The calling process sleeps on it: it is not closed without a look any more. */
static inline void object_slept_on(uint32_t id)
{
    atomic_store_explicit(&handles[id].shared, 1, memory_order_relaxed);
}
/* The first group at or after g in which the slot may hold something, UINT32_MAX if there is
 * none. */
uint32_t object_next_group(uint32_t slot, uint32_t g);
/* The hold row, or NULL if no memory lies behind it (nobody of that slot ever held anything
 * there). */
const unsigned char *object_row(uint32_t group, uint32_t slot);
/* Copies the caller's holds to a child's row, before the fork. Under process_self.mutex. */
int object_copy_holds(uint32_t from, uint32_t to);
/* In a fresh child: handles whose object it does not hold (another thread opened it during the
 * fork, or the child attached anew) hold it now, or become bad if it is gone. `raw`: the parent
 * knows nothing of this child, so what it shares with nobody it may free at any time, and the child
 * cannot have it. */
void object_check_handles(bool raw);
/* In a program that has taken its slot: what its parent held is its own, opened or not, to give up. */
void object_inherit(void);
/* Gives up what was inherited so and is not open, whatever other threads do. */
void object_release_unopened(void);
/* All handles of this process become bad. */
void object_forget(void);
int object_attach(void); /* makes the handle table */

/* ---- quota.c ---- */
int object_set_quota(uint64_t bytes);
static inline uint64_t object_quota(void) /* the caller's process's; 0: none */
{
    return atomic_load_explicit(&slot_at(process_self.slot)->quota, memory_order_relaxed);
}
/* Counts so many bytes more against the caller's quota: 0, or -ENOSPC: it is used up. Then what is charged is
 * made, or uncharge; then in any case charge_end: from now on it is seen by who counts. */
int object_charge(uint64_t bytes);
void object_uncharge(uint64_t bytes);
void object_charge_end(uint64_t bytes);
uint64_t object_charged(void); /* what the calling process is charged with, counted anew */
/* In a fresh child: what its parent's other threads were about to be charged with is not its own. */
void object_charge_none(void);
void object_count(uint32_t *objects, uint64_t *used);
/* Groups that `owner` owned become ownerless. */
void object_disown(owner_t owner);
/* The calling thread is about to end. */
void object_thread_end(void);

/* ---- runs of units ---- */
/* A run of `units` for `*payload`, which is written (position / 64 + 1) while the guard is held: 0,
 * -ENOSPC: the region has none so long, or -ENOMEM. */
int unit_alloc(_Atomic uint32_t *payload, uint32_t n);
/* The same, unless there is one already, and zero: for what several might allocate at once. */
int unit_alloc_once(_Atomic uint32_t *payload, uint32_t n);
/* As they, but -EBUSY where somebody holds the guard for more than `patience` ns: he is stopped, perhaps. */
enum { UNIT_PATIENCE = 100000000, UNIT_HURRY = 1000000 };
int unit_try_alloc(_Atomic uint32_t *payload, uint32_t n, int64_t patience);
int unit_try_alloc_once(_Atomic uint32_t *payload, uint32_t n, int64_t patience);
/* Gives the run back if *word still is `expected`, as seen while the guard is held; or not, where that cannot
 * be had at once. */
void unit_free_if(_Atomic uint32_t *payload, uint32_t n, const _Atomic uint64_t *word,
                  uint64_t expected);
void unit_try_free(_Atomic uint32_t *payload, uint32_t n); /* as that, without a condition */
/* Gives the run of *payload back and writes 0 to it. */
void unit_free(_Atomic uint32_t *payload, uint32_t n);
uint64_t unit_used(void);

#endif
