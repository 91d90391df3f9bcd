/* region/region.h - what lies in shared memory, and how a process sees it.
 *
 * Positions from the end down: slots (the region's own header is slot 0, which is no process's),
 * object groups, records, roles, graves, pollers, parties, page map, unit map; the heap is what is left, from the
 * beginning on. An object group is a block: 64 headers, then a hold row for each slot (the group's
 * own fields are row 0). So what a process touches to join, hold and leave lies on few pages: a page
 * fault costs as much as ten system calls. And those pages lie at the region's end, the low slots'
 * and groups' last of all: there the mapping mostly meets the program's libraries, so that a child
 * needs no page tables for them but what its fork has given it anyway. All is
 * computed from the size (region_layout), so nothing but the descriptor need be told to a process
 * that maps the region. No pointer lies in the region, with one exception: libc's list links inside
 * the robust mutexes, which only their holder follows.
 */
#ifndef SHOAL_REGION_H
#define SHOAL_REGION_H

#include "os/os.h"
#include <assert.h>
#include <shoal/memory.h>

#define REGION_MAGIC 0x6c616f6873000000u
#define REGION_LAYOUT 4u
#define RESERVE_MOST (256ull << 30) /* bytes: a place's number, of 64 bytes, has 32 bits */

enum {
    SLOTS = 4096,     /* slot 0 is nobody's */
    RECORDS = 65536,  /* record i < SLOTS is the first thread's of slot i */
    WATCH_GROUP = 96, /* slots whose life words one sleeper watches; futex_waitv takes 128 words */
    WATCH_GROUPS = (SLOTS + WATCH_GROUP - 1) / WATCH_GROUP,
    ROLES = 8,  /* watchers of one such group */
    FRAMES = 4, /* how deep signal handlers may interrupt one another's waits */
    MOST_OBJECTS = 1 << 20,
    GROUP = 64,  /* objects of one object group */
    CLASSES = 8, /* of payload sizes */
    UNIT = 4096, /* of the heap */
    GRAVES = 64, /* the last deaths that are remembered by name */
    POLLERS = 16384,
    PARTIES = 8192, /* threads that communicate over channels */
    PARTY = 512,    /* bytes of one; csp/party.h says what is in it */
    NAME = 48,
    ANCESTORS = 16,
};

/* ---- words ---- */

/* Owner word: {generation:32, record:24, 0:8}; 0 is nobody. */
typedef uint64_t owner_t;
static inline owner_t owner_make(uint32_t generation, uint32_t record)
{
    return (uint64_t)generation << 32 | (uint64_t)record << 8;
}
static inline uint32_t owner_record(owner_t owner)
{
    return (uint32_t)owner >> 8;
}
static inline uint32_t owner_generation(owner_t owner)
{
    return (uint32_t)(owner >> 32);
}

/* Slot word: {generation:32, record:24, status:8}; the record is the repairer's (DEAD), the
 * parent's (STARTING), otherwise 0. */
enum slot_status {
    SLOT_FREE,
    SLOT_STARTING, /* reserved by a parent for a child */
    SLOT_ALIVE,
    SLOT_LEAVING, /* its own process gives everything up */
    SLOT_DEAD,    /* confirmed; the repairer has the right to repair */
};
static inline uint64_t slot_make(uint32_t generation, uint32_t repairer, enum slot_status status)
{
    return (uint64_t)generation << 32 | (uint64_t)repairer << 8 | (uint64_t)status;
}
static inline enum slot_status slot_status(uint64_t word)
{
    return (enum slot_status)(word & 0xff);
}

/* Record word: {generation:32, slot:16, unused:8, used:8}. */
static inline uint64_t record_make(uint32_t generation, uint32_t slot, bool used)
{
    return (uint64_t)generation << 32 | (uint64_t)slot << 16 | used;
}

static inline uint32_t record_slot(uint64_t word)
{
    return (uint32_t)(word >> 16) & 0xffff;
}

/* Object state: {generation:32, version:30, status:2}; in CREATING and DEAD the version is the slot
 * whose work it is. */
enum object_status {
    OBJECT_FREE,
    OBJECT_CREATING, /* the group's owner fills it in */
    OBJECT_LIVE,
    OBJECT_DEAD, /* nobody holds it; the one whose hold byte is CLOSING gives back its memory */
};
static inline uint64_t state_make(uint32_t generation, uint32_t version, enum object_status status)
{
    return (uint64_t)generation << 32 | (uint32_t)(version << 2 | (uint32_t)status);
}
static inline uint32_t state_generation(uint64_t state)
{
    return (uint32_t)(state >> 32);
}
static inline enum object_status state_status(uint64_t state)
{
    return (enum object_status)(state & 3);
}
static inline uint32_t state_version(uint64_t state)
{
    return (uint32_t)state >> 2;
}

/* ---- structs in the region ---- */

/* A thread.
 *   word    CAS by who claims it, stored by who frees it (its process's repairer, or the process itself)
 *   frames  written by the thread: object id + 1 on whose eventcount it waits, 0 for none; read by
 *       repairers
 *   joins   written by the thread: {generation:32, slot:32} of the process whose end it waits for; read by
 *       inspection only
 *   reading written by the thread: {count:32, object id + 1:32} while it reads memory that another may
 *       give back, in an object's own runs; read by who gives it back (message/lanes.c)
 */
struct record {
    _Atomic uint64_t word;
    _Atomic uint32_t tid;
    uint32_t next_spare; /* of the same process, whose threads have ended; under its attach_mutex */
    _Atomic uint64_t frames[FRAMES];
    _Atomic uint64_t reading;
    _Atomic uint64_t joins;
};
static_assert(sizeof(struct record) == 64, "one cache line");

/* A process.
 *   word, life       see docs/design.md 2, 3
 *   pid … name       written by the process itself (name, parent, flags, key: by its parent before the fork) before ALIVE; read by all after an acquire load of word
 *   forked           generation + 1 of the last reservation whose parent's fork is over, with or without a child; only grows, as a parent may be late and the slot another's by then
 *   doomed           generation + 1 of the last life that is to be killed with the tree that it is in: it does not fork any more. As forked
 *   ancestors        written when the slot is reserved, zeroed before it is free again
 *   born_at          written by a child that will exec, before its pid; 0 once a process has the slot
 *   keeper           number of the process that ends its daemons when it has ended; 0: none. Written by the process, zeroed before the slot is free again
 *   last_pid         pid, as it was when the slot became free: for sentences to people
 *   exit_status      written by the process at its normal end, by the fork server for its children; futex-waited by who joins through it
 *   charged          by the process itself; a hint that is never too low, counted anew when a quota seems exceeded
 */
struct slot {
    _Atomic uint64_t word;
    struct os_robust life;
    _Atomic int32_t pid;
    _Atomic uint32_t flags;
    struct record first; /* its first thread's */
    uint32_t parent;     /* slot, 0 for the root */
    uint32_t parent_generation;
    _Atomic uint32_t exit_status; /* EXIT_NONE, or 0x100 | code, or 0x200 | signal */
    uint32_t authkey_size;
    _Atomic uint64_t quota, charged;
    unsigned char authkey[64];
    char name[NAME];
    char identity[NAME]; /* "" or "1:2": what the default names of its children begin with */
    /* {generation:32, slot:32} from the root down, 0 after the last; more are left out */
    uint64_t ancestors[ANCESTORS];
    uint64_t
        reserved_at; /* clock ticks since boot: its process, if there is one, began no earlier */
    _Atomic uint32_t forked, doomed;
    _Atomic uint64_t born_at; /* of a program that has not joined: it had begun by then; or 0 */
    _Atomic int32_t keeper;
    _Atomic int32_t last_pid;
    uint64_t reserved[4];
};
enum { EXIT_NONE = 0, EXIT_CODE = 0x100, EXIT_SIGNAL = 0x200 };
enum {
    SLOT_FLAG_DAEMON = 1,
    SLOT_FLAG_CLEAN = 2, /* ended by itself: not counted as a death */
    SLOT_FLAG_LOCKED =
        8 /* its process holds a lock on byte `slot` of the file: where /proc cannot tell */
};
static_assert(sizeof(struct slot) == 512, "slots fill whole cache lines and pages");

/* 64 objects of one size class. owner    the thread that alone creates in it; CAS 0 -> me adopts
 *   it; the owner, or its repairer, stores 0 class    payload bytes for each object: 0 none (or
 *   large: a run of its own), else 64 … 4096; fixed for good payload  units from the heap's start
 *   of the run for all 64; 0: none yet. Written under the guard. freed    hint: bit i is set when
 *   object i was freed by another than the owner. carries  1: a message that holds objects has been
 *   in it; for good
 */
struct group {
    _Atomic owner_t owner;
    _Atomic uint64_t freed;
    uint32_t size;
    _Atomic uint32_t payload;
    _Atomic uint32_t carries;
    uint32_t reserved[9];
};
static_assert(sizeof(struct group) == 64, "one cache line");

/* An object.
 *   state            see docs/design.md 5
 *   type … creator   written by the creator before LIVE, constant afterwards
 *   payload          units from the heap's start; written under the guard for large objects, by the creator for others
 *   body             the type's own
 */
enum { BODY = 24 };
struct header {
    _Atomic uint64_t state;
    uint16_t type;
    uint16_t flags;
    _Atomic uint32_t payload; /* large objects: unit + 1 of their own run; 0: none */
    uint64_t size;            /* of the payload as asked for */
    uint32_t creator;         /* slot that is charged */
    uint32_t creator_generation;
    uint32_t name;  /* 0, or where in the payload the name lies / 8 + 1 */
    uint32_t units; /* of the own run */
    _Alignas(8) unsigned char body[BODY];
};
static_assert(sizeof(struct header) == 64, "one cache line");

/* OPENING counts as HELD; a thread of the same process that creates there meanwhile writes HELD over
 * it, or over CLOSING. */
enum hold { HOLD_NONE, HOLD_HELD, HOLD_CLOSING, HOLD_OPENING };

/* A death that is remembered. Written by the repairer; torn reads are possible and harmless (they
 * are for sentences to people): stamp is written last. */
struct grave {
    _Atomic uint64_t stamp; /* {generation:32, slot:32} */
    _Atomic int32_t pid;
    char name[NAME];
    uint32_t ended; /* by itself, with threads still inside */
};

/* A socket that its process polls, and what it is to be rung for (poll.c).
 *   owner   the thread that made it; CAS, also from a dead owner to the next; its process stores 0
 *   event   where in the region the eventcount lies, or POLLS_LIVES; by the owner's process, as life
 *   life    how often the place was taken: part of the socket's name
 *   armed   grows each time its process is about to wait; added to by its process
 *   rung    what armed was when it was last rung; by whoever rang
 */
struct poller {
    _Atomic owner_t owner;
    _Atomic uint64_t event;
    _Atomic uint32_t life;
    _Atomic uint32_t armed, rung;
    uint32_t unused;
};
static_assert(sizeof(struct poller) == 32, "two in a cache line");

struct region {
    uint64_t magic; /* its low byte says SLOT_FREE */
    uint32_t layout;
    uint32_t asymmetric; /* 1: releases are plain stores, sleepers call membarrier. Constant. */
    uint64_t size;
    uint64_t family;
    _Atomic uint32_t slots_high; /* slots below it may be in use; only grows */
    _Atomic uint32_t records_high;
    _Atomic uint32_t groups_high;
    _Atomic uint32_t forks;   /* grows after each copy of a parent's holds */
    _Atomic uint32_t changed; /* grows when slots_high passes what sleeping watchers watch; futex */
    _Atomic uint32_t graves;  /* how many were dug */
    uint32_t stamps;          /* 1: stamps are the processor's. Constant. */
    _Atomic uint32_t pollers_high; /* pollers below it may be in use; only grows */
    struct record nobody;          /* where slot 0 would have its first record: all zero */
    _Atomic uint64_t deaths, repairs;
    /* the guard of the unit map: an owner word and its eventcount */
    _Alignas(64) _Atomic owner_t guard;
    _Atomic uint32_t guard_event;
    _Atomic uint32_t unit_hint;    /* where the next search begins; under the guard */
    _Atomic uint64_t units_used;   /* under the guard */
    _Atomic uint64_t units_kept;   /* free ones that have memory behind them; under the guard */
    _Atomic uint32_t parties_high; /* as pollers_high */
    /* the object group where the next search for room begins: a hint */
    _Atomic uint32_t search[CLASSES];
};
static_assert(offsetof(struct region, nobody) == offsetof(struct slot, first),
              "record 0 is nobody's");
static_assert(sizeof(struct region) <= sizeof(struct slot), "lies in slot 0");

/* ---- this process's view ---- */

struct layout {
    uint64_t size, groups /* where they end */, records, roles, graves, pollers, parties, page_map,
        unit_map;
    uint32_t max_groups, max_units;
};
void region_layout(uint64_t size, struct layout *ret);

struct handle; /* object.h */

extern struct view {
    unsigned char *base;
    struct region *region;
    struct slot *slots; /* where they end: slot_at */
    struct grave *graves;
    struct record *more_records; /* of further threads, counted from SLOTS */
    struct os_robust *roles;
    struct poller *pollers;
    unsigned char *parties;
    unsigned char *groups; /* where they end: group_block */
    _Atomic uint64_t *unit_map;
    unsigned char *heap;
    struct layout at;
    int fd;
    dev_t device;
    ino_t inode;
} view;

static inline struct slot *slot_at(uint32_t i)
{
    return view.slots - 1 - i;
}

static inline struct record *record_at(uint32_t i)
{
    return i < SLOTS ? &slot_at(i)->first : &view.more_records[i - SLOTS];
}

/* A group's block: its headers, then its hold rows, of which row 0 is the group itself. */
enum { GROUP_HEADERS = GROUP * 64, GROUP_BLOCK = GROUP_HEADERS + SLOTS * GROUP };
static inline unsigned char *group_block(uint32_t group)
{
    return view.groups - ((uint64_t)group + 1) * GROUP_BLOCK;
}
static inline struct header *header_at(uint32_t id)
{
    return (struct header *)(void *)group_block(id / GROUP) + id % GROUP;
}
static inline unsigned char *hold_row(uint32_t group, uint32_t slot)
{
    return group_block(group) + GROUP_HEADERS + (uint64_t)slot * GROUP;
}
static inline struct group *group_at(uint32_t group)
{
    return (struct group *)(void *)hold_row(group, 0);
}
static inline uint32_t header_id(const struct header *header)
{
    uint32_t group =
        (uint32_t)((uint64_t)(view.groups - (const unsigned char *)header - 1) / GROUP_BLOCK);
    return group * GROUP +
           (uint32_t)(header - (const struct header *)(const void *)group_block(group));
}

/* Makes the family's region; sizes as asked for, halved until it maps. */
int region_create(uint64_t reserve);
/* Maps one that exists (a child started by exec, or one that comes late). Checks magic, layout and size: -EBADMSG. Where it
 * fails the descriptor stays open. */
int region_map(int fd);
void region_unmap(void);
/* The descriptor, or -1 if its number has become somebody else's file. */
int region_fd(void);
/* Puts memory behind part of the region: 0 or -ENOMEM. Cheap where it already is. */
int region_populate(const void *address, size_t size);
/* Forgets that part has memory (before it is given back). */
void region_unpopulate(const void *address, size_t size);
uint64_t region_populated(void);
bool region_is_populated(const void *address);

#endif
