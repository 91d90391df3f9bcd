/* shoal/memory.h - the family's shared region: memory, references, statistics.
 *
 * The region comes into being with the first call of any function of shoal in a process that
 * belongs to no family; its children, by shoal_process_start or by fork, belong to it. It has no
 * name in any file system and ends with its last process.
 *
 * An object (memory, lock, …) lives while a process holds it: the process that created it or opened
 * it by a reference, and every child that was started while its parent held it (the handle is valid
 * in the child). _close gives up this process's hold; the end of a process, however it comes, gives
 * up all of its holds. What nobody holds is freed.
 */
#ifndef SHOAL_MEMORY_H
#define SHOAL_MEMORY_H

#include <shoal/error.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The name of an object that may travel (in shared memory, in a message) and be opened in another
 * process of the family. It holds nothing: when the object is gone, opening it is -ESTALE. All
 * zeroes refer to nothing. */
typedef struct shoal_reference {
    uint64_t family;     /* a random number of the region */
    uint32_t id;         /* which object */
    uint32_t generation; /* which of its lives */
} shoal_reference;

typedef struct shoal_options {
    uint64_t
        reserve; /* address space of the region in bytes; 0: 64 GiB, halved until it maps. Memory is used only as needed. */
    uint64_t quota; /* bytes that one process may allocate; 0: no limit. Inherited by children. */
    unsigned flags; /* must be 0 */
} shoal_options;

/* Makes the region with options of one's own, before any other call. options may be NULL. -EALREADY
 * if this process belongs to a family. */
SHOAL_API int shoal_init(const shoal_options *options);

typedef struct shoal_memory shoal_memory;

#define SHOAL_ZERO 1u /* the memory is zero; without it its content is undefined */

typedef struct shoal_memory_options {
    unsigned flags;   /* SHOAL_ZERO or 0 */
    const char *name; /* at most 47 bytes, shown by inspection; NULL: none */
} shoal_memory_options;

/* Allocates `size` bytes (1 or more), aligned to 64. -ENOMEM: machine, region or quota is full;
 * everything still works afterwards. But where the kernel promises more memory than it has (its
 * default), it may end a process, perhaps the caller, when the machine or the cgroup is full; the
 * others go on. A quota (below) keeps a family from getting there. */
SHOAL_API int shoal_memory_create(shoal_memory **ret, size_t size,
                                  const shoal_memory_options *options);
/* Where the memory lies in this process; NULL for a bad handle. Valid until this process's close.
 * Another process may see it elsewhere. */
SHOAL_API void *shoal_memory_address(const shoal_memory *memory);
/* Its size in bytes as asked for; 0 for a bad handle. */
SHOAL_API size_t shoal_memory_size(const shoal_memory *memory);
SHOAL_API int shoal_memory_reference(const shoal_memory *memory, shoal_reference *ret);
SHOAL_API int shoal_memory_open(shoal_memory **ret, const shoal_reference *reference);
SHOAL_API shoal_memory *shoal_memory_close(shoal_memory *memory);

/* Limits what this process may have allocated at one time, in bytes; 0: no limit. What it already
 * has stays. */
SHOAL_API int shoal_memory_set_quota(uint64_t bytes);

typedef struct shoal_statistics {
    uint64_t reserved;       /* bytes of address space */
    uint64_t populated;      /* bytes of memory behind it, tables included */
    uint64_t used;           /* bytes of headers and content of living objects */
    uint64_t quota, charged; /* of this process */
    uint32_t objects;        /* living objects */
    uint32_t processes;      /* attached processes */
    uint64_t deaths;         /* processes that ended without detaching, since the region began */
    uint64_t repairs;        /* repairs begun for them (more than deaths if repairers died too) */
} shoal_statistics;

/* Counted while others go on: each figure was true at some moment during the call. */
SHOAL_API int shoal_memory_statistics(shoal_statistics *ret);

#ifdef __cplusplus
}
#endif
#endif
