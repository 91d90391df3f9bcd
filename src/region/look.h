/* region/look.h - reading a region without being in it, and without touching it: what inspection is
 * made of.
 *
 * Everything is copied out by pread, which gives holes no memory and cannot fault; so the region may
 * be another family's, half written, or written by somebody hostile. Whoever looks works on its own
 * copies, follows no position unchecked, and believes nothing that it could not bear to be wrong.
 */
#ifndef SHOAL_LOOK_H
#define SHOAL_LOOK_H

#include "region/region.h"

struct look {
    int fd;                    /* of the region; -1: `base` is read, where there is memory */
    const unsigned char *base; /* this process's own mapping */
    struct layout at;
};
/* This process's own region. */
void look_own(struct look *ret);
/* The region behind a descriptor, which stays the caller's: 0; -EBADMSG: it is none; -ENOTSUP: of
 * another layout. */
int look_open(struct look *ret, int fd);
/* Copies what lies at a position. False: it cannot be read (beyond the end, no memory); zeroes then. */
bool look_read(const struct look *look, uint64_t at, void *ret, size_t size);
/* The same of an object's payload, from `from` on; `header` is a copy. Never beyond the heap. */
bool look_payload(const struct look *look, const struct header *header, uint64_t from, void *ret,
                  size_t size);
/* And of a run of units, as `payload` names it. */
bool look_run(const struct look *look, uint32_t payload, uint64_t from, void *ret, size_t size);

/* Where things lie. */
static inline uint64_t look_slot(const struct look *look, uint32_t slot)
{
    return look->at.size - ((uint64_t)slot + 1) * sizeof(struct slot);
}
static inline uint64_t look_record(const struct look *look, uint32_t record)
{
    return record < SLOTS ? look_slot(look, record) + offsetof(struct slot, first)
                          : look->at.records + (uint64_t)(record - SLOTS) * sizeof(struct record);
}
static inline uint64_t look_group(const struct look *look, uint32_t group)
{
    return look->at.groups - ((uint64_t)group + 1) * GROUP_BLOCK;
}
static inline uint64_t look_header(const struct look *look, uint32_t id)
{
    return look_group(look, id / GROUP) + id % GROUP * sizeof(struct header);
}

/* ---- what a type of object tells of one ---- */

struct fact {
    const char *name;
    enum { FACT_NUMBER, FACT_FLAG, FACT_TEXT } kind;
    int64_t number;
    char text[8];
};
/* Who has an object, or a part of it. */
struct share {
    owner_t owner;
    const char *as; /* "holder", "writer", … */
    bool lives;     /* when it was looked at */
};
enum { FACTS = 12, MOST_CARRIED = 100 };
/* How shares keep others waiting. */
enum blocking {
    BLOCKS_NOT, /* who waits does not wait for those who have shares */
    BLOCKS_ALL, /* the first share keeps all others waiting, and the further ones keep its owner */
    BLOCKS_ANY, /* who waits goes on as soon as any one of the shares is given back */
};
struct description {
    const struct look *look;
    struct fact facts[FACTS];
    unsigned n;
    struct share *shares; /* freed by description_free, as is carries */
    size_t count, room;
    uint32_t *carries; /* ids of the objects that a message holds; not more than MOST_CARRIED */
    size_t carries_count;
    enum blocking blocking;
    bool first;     /* there is a first share, and its owner lives */
    bool owner_too; /* which keeps its owner waiting too, if that one comes again */
    bool short_of_memory;
};
void describe_number(struct description *d, const char *name, uint64_t number);
void describe_flag(struct description *d, const char *name, bool flag);
void describe_letter(struct description *d, const char *name, char letter);
/* True if the owner lives. An owner of 0 is nobody: false, and no share. */
bool describe_share(struct description *d, owner_t owner, const char *as);
void describe_carried(struct description *d, uint32_t id);
void description_free(struct description *d);
/* Each type's, defined beside the type and declared by its layer: `header` is a copy. */
typedef void describe(struct description *d, const struct header *header);

#endif
