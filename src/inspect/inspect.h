/* inspect/inspect.h - a snapshot while it is being made.
 *
 * Everything in it is a copy (region/look.h) that may be torn, stale, or made up by somebody hostile:
 * numbers are bounded where they are read, here or where they are used, and never followed.
 */
#ifndef SHOAL_INSPECT_INSPECT_H
#define SHOAL_INSPECT_INSPECT_H

#include "region/look.h"
#include "region/self.h"
#include <shoal/inspect.h>

struct seen_thread {
    uint32_t record, generation, slot;
    uint32_t tid;
    uint64_t frame; /* the innermost: id + 1 of what it waits for; 0: it does not wait */
    uint64_t joins; /* {generation:32, slot:32} of the process whose end it waits for; 0: none */
};
struct seen_object {
    uint32_t id;
    struct header header;
    char name[NAME];
    uint32_t *holders; /* slots */
    size_t holders_count;
    struct description more;
};
struct cycle {
    uint32_t *threads; /* each waits for something that the next one has */
    size_t count;
};
struct snapshot {
    struct look look;
    struct region region;
    struct slot *slots; /* slots[i] is slot i; below slots_high */
    uint32_t slots_high;
    bool near;         /* its processes' numbers mean the same here: no other pid namespace */
    bool *over;        /* of each slot: its process has ended, and nobody has noticed */
    uint64_t *charged; /* of each slot */
    struct seen_thread *threads; /* by rising record */
    size_t threads_count;
    struct seen_object *objects; /* by rising id */
    size_t objects_count;
    uint64_t used;
    struct cycle *cycles;
    size_t cycles_count;
};

/* All of these: 0 or -ENOMEM. What they made so far is freed by snapshot_free. */
int snapshot_processes(struct snapshot *s);
int snapshot_objects(struct snapshot *s);
int snapshot_deadlocks(struct snapshot *s);
void snapshot_free(struct snapshot *s);

/* NULL: there is no such thing in the snapshot. */
const struct seen_thread *snapshot_thread(const struct snapshot *s, owner_t owner);
const struct seen_object *snapshot_object(const struct snapshot *s, uint64_t id);
/* Whether the slot's process was there. */
bool snapshot_has(const struct snapshot *s, uint32_t slot);
const char *object_type_name(unsigned type);
/* What a copied header's type tells; freed with description_free. */
void object_describe(const struct look *look, const struct header *header, struct description *d);

/* The region of a process: a descriptor that is the caller's, or -errno with a sentence. */
int region_of(pid_t pid);

/* ---- making anys; the first failure stays in `rc` ---- */
struct build {
    const struct snapshot *s;
    int rc;
};
void build_put(struct build *b, shoal_any *dict, const char *key, shoal_any *value);
void build_append(struct build *b, shoal_any *list, shoal_any *item);
/* Bytes from the region, which may be no text. */
shoal_any *build_name(const char *name, size_t room);
shoal_any *build_processes(struct build *b);
shoal_any *build_objects(struct build *b);
shoal_any *build_waits(struct build *b);
shoal_any *build_deadlocks(struct build *b);
/* {'pid', 'process', 'thread'} */
shoal_any *build_thread(struct build *b, const struct seen_thread *thread);
/* adds {'object', 'type', 'name'}: what it waits for */
void build_awaited(struct build *b, shoal_any *dict, const struct seen_thread *thread);

#endif
