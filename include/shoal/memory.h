/* shoal/memory.h - the family's shared region: memory, references, statistics; typed values and
 * arrays in it.
 *
 * The region comes into being with the first call, in a process that belongs to no family, that needs
 * it: one that creates or opens an object, starts a process, or asks about the family or the calling
 * process. (Not: anys, sockets with a key of their own or none, times,
 * texts, shoal_cpu_count.) The process's children, by shoal_process_start or by fork, belong to it. It
 * has no name in any file system and ends with its last process. A region has room for 4095 processes,
 * 61440 threads beyond their first ones, and 1048576 objects, fewer if it is smaller than 64 GiB: about one
 * for every 64 KiB.
 *
 * An object (memory, lock, …) lives while a process holds it: the process that created it or opened
 * it by a reference, and every child that was started while its parent held it (the handle is valid
 * in the child). _close gives up this process's hold; the end of a process, however it comes, gives
 * up all of its holds. What nobody holds is freed. That a process has died is noticed by whoever waits, joins
 * it, or finds something held by it; until then what it held stays.
 *   A process's last close of an object may not come while another of its threads is in a call with that
 * handle, asleep perhaps: it would go on in what may be something else by then. So end that call first (a
 * deadline, shoal_queue_shutdown), and wait until it has returned. Connections of sockets and listeners may
 * be closed beside calls (pipe.h).
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
    /* Address space of the region in bytes, which is halved until it maps, down to 64 MiB; 0: 64 GiB.
     * Less than 64 MiB counts as that; at most 256 GiB. Memory is used only as needed. */
    uint64_t reserve;
    uint64_t quota; /* bytes that one process may allocate; 0: no limit. Inherited by children. */
    unsigned flags; /* must be 0 */
} shoal_options;

/* Makes the region with options of one's own, before any call that would make it. options may be NULL.
 * -EALREADY if this process belongs to a family. -EINVAL: unknown flags, more than 256 GiB. -ENOMEM: no
 * room for 64 MiB and the tables, or no memory. -EFBIG: files (RLIMIT_FSIZE) may not be that large. */
SHOAL_API int shoal_init(const shoal_options *options);

typedef struct shoal_memory shoal_memory;

#define SHOAL_ZERO 1u /* the memory is zero; without it its content is undefined */

typedef struct shoal_memory_options {
    unsigned flags;   /* SHOAL_ZERO or 0 */
    const char *name; /* at most 47 bytes, shown by inspection; NULL: none */
} shoal_memory_options;

/* Allocates `size` bytes (1 or more), aligned to 64. All of it is there at once, so that writing to it
 * cannot fail. -EINVAL: more than 32 GiB with a name. -ENOMEM: machine, region or quota is full;
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

/* ---- values and arrays: memory with a type, and a lock that goes with it ----
 *
 * The types are multiprocessing's, a character each:
 *   c char       b signed char     h short            i int            l long            q long long
 *   u wchar_t    B unsigned char   H unsigned short   I unsigned int   L unsigned long   Q unsigned long long
 *   f float      d double
 *
 * As with the objects of sync.h: _reference writes a reference, which _open takes in another process
 * (0, -ESTALE, -EINVAL: of another type); _close takes NULL, returns NULL, and does not release the
 * lock.
 */
typedef struct shoal_value shoal_value; /* one item */
typedef struct shoal_array shoal_array; /* a fixed number of items, 0 or more */
typedef struct shoal_rlock shoal_rlock; /* see sync.h */

#define SHOAL_UNLOCKED 2u /* it has no lock */

typedef struct shoal_value_options {
    const char *name; /* at most 47 bytes, shown by inspection; NULL: none */
    unsigned flags;   /* SHOAL_UNLOCKED or 0 */
    /* several may share one; NULL: an rlock of its own. It is held with the value. */
    shoal_rlock *lock;
} shoal_value_options;

/* Makes one with a copy of the `size` bytes at `initial`, which must be as many as its items have;
 * or, for NULL and 0, with zeroes. -EINVAL: no such type, another size, a lock and SHOAL_UNLOCKED.
 * -EBADF: the lock is closed. -ENOMEM. */
SHOAL_API int shoal_value_create(shoal_value **ret, char type, const void *initial, size_t size,
                                 const shoal_value_options *options);
SHOAL_API int shoal_array_create(shoal_array **ret, char type, size_t length, const void *initial,
                                 size_t size, const shoal_value_options *options);

/* Where it lies in this process, to be read and written as C does, with its lock held where others
 * write; NULL for a bad handle. Valid until this process's close; another may see it elsewhere. */
SHOAL_API void *shoal_value_address(const shoal_value *value);
SHOAL_API void *shoal_array_address(const shoal_array *array);
/* The character of its type, or -errno. */
SHOAL_API int shoal_value_type(const shoal_value *value);
SHOAL_API int shoal_array_type(const shoal_array *array);
/* Bytes of all items; 0 for a bad handle. */
SHOAL_API size_t shoal_value_size(const shoal_value *value);
SHOAL_API size_t shoal_array_size(const shoal_array *array);
/* Items; 0 for a bad handle. */
SHOAL_API size_t shoal_array_length(const shoal_array *array);

/* Its lock: as shoal_rlock_acquire and _release. -EINVAL: it has none. */
SHOAL_API int shoal_value_acquire(shoal_value *value, int64_t deadline);
SHOAL_API int shoal_value_release(shoal_value *value);
SHOAL_API int shoal_array_acquire(shoal_array *array, int64_t deadline);
SHOAL_API int shoal_array_release(shoal_array *array);
/* The handle of its lock, which stays the value's: do not close it. NULL: it has none, or a bad
 * handle. */
SHOAL_API shoal_rlock *shoal_value_get_lock(const shoal_value *value);
SHOAL_API shoal_rlock *shoal_array_get_lock(const shoal_array *array);

/* Copies it, or n items from `first` on, out or in, with its lock held if it has one: 0, or
 * SHOAL_OWNER_DIED (done, and the one who had held the lock died with it); -EAGAIN, -ETIMEDOUT,
 * -EINTR of the lock. `size` is that of the buffer, and must be that of the items (-EINVAL).
 * -ERANGE: the array ends before. Killed inside, each item is the old one or the new one: of several
 * some may be new. */
SHOAL_API int shoal_value_get(shoal_value *value, void *ret, size_t size, int64_t deadline);
SHOAL_API int shoal_value_set(shoal_value *value, const void *from, size_t size, int64_t deadline);
SHOAL_API int shoal_array_get(shoal_array *array, size_t first, size_t n, void *ret, size_t size,
                              int64_t deadline);
SHOAL_API int shoal_array_set(shoal_array *array, size_t first, size_t n, const void *from,
                              size_t size, int64_t deadline);

/* In one step, of integers (b B h H i I l L q Q; others are -EINVAL), without the lock and whoever
 * holds it. A number is taken modulo the range of the type, and a sum wraps around; a Q beyond
 * INT64_MAX is told as the int64_t of the same bits. Killed inside it is done or not.
 *   add                adds n: 0
 *   exchange           writes n: 0
 *                      *before, where not NULL, is what it was
 *   compare_exchange   writes n if it is *expected: 1; otherwise 0, and *expected is what it is
 * -ERANGE: the array ends before `index`. */
SHOAL_API int shoal_value_add(shoal_value *value, int64_t n, int64_t *before);
SHOAL_API int shoal_value_exchange(shoal_value *value, int64_t n, int64_t *before);
SHOAL_API int shoal_value_compare_exchange(shoal_value *value, int64_t *expected, int64_t n);
SHOAL_API int shoal_array_add(shoal_array *array, size_t index, int64_t n, int64_t *before);
SHOAL_API int shoal_array_exchange(shoal_array *array, size_t index, int64_t n, int64_t *before);
SHOAL_API int shoal_array_compare_exchange(shoal_array *array, size_t index, int64_t *expected,
                                           int64_t n);

SHOAL_API int shoal_value_reference(const shoal_value *value, shoal_reference *ret);
SHOAL_API int shoal_value_open(shoal_value **ret, const shoal_reference *reference);
SHOAL_API shoal_value *shoal_value_close(shoal_value *value);
SHOAL_API int shoal_array_reference(const shoal_array *array, shoal_reference *ret);
SHOAL_API int shoal_array_open(shoal_array **ret, const shoal_reference *reference);
SHOAL_API shoal_array *shoal_array_close(shoal_array *array);

/* Limits what this process may have allocated at one time, in bytes; 0: no limit. What it already
 * has stays. */
SHOAL_API int shoal_memory_set_quota(uint64_t bytes);

typedef struct shoal_statistics {
    uint64_t reserved;       /* bytes of address space */
    uint64_t populated;      /* bytes of memory behind it, tables included */
    uint64_t used;           /* bytes of headers and content of living objects; the short messages
                              * of a queue or pipe lie beside it, and count in `populated` only */
    uint64_t quota, charged; /* of this process */
    uint32_t objects;        /* living objects */
    uint32_t processes;      /* attached processes, and dead ones until their death is noticed */
    uint64_t deaths;         /* processes that ended without detaching, since the region began */
    uint64_t repairs;        /* repairs begun for them (more than deaths if repairers died too) */
} shoal_statistics;

/* Counted while others go on: each figure was true at some moment during the call. */
SHOAL_API int shoal_memory_statistics(shoal_statistics *ret);

#ifdef __cplusplus
}
#endif
#endif
