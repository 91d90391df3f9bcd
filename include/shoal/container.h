/* shoal/container.h - lists, dicts and namespaces that all processes of a family share.
 *
 * They lie in the family's memory, and every process works on them directly: there is no server. Items,
 * values and keys are anys (any.h), which are copied in and out; what a get gave does not change any
 * more. A container is shared by what refers to it: shoal_any_object(list) is an item like any other, and
 * whoever gets it opens the same list (shoal_any_as_reference, shoal_list_open). So containers nest,
 * and live as long as a process, a message or another container holds them.
 *
 *     shoal_dict_create(&dict, NULL);                     before the children start, who have it too
 *     shoal_dict_set(dict, key, value);                   the anys stay the caller's
 *     shoal_dict_get(dict, key, &value);                  … shoal_any_free(value);
 *     shoal_dict_add(dict, key, one, NULL);               value += 1, as one step
 *     shoal_dict_close(dict);
 *
 * Each call is one step to all others, whatever it does: a sort, an update with a thousand keys. It happens
 * wholly or not at all, whoever is killed in the middle of it; and what has returned is there.
 *   Calls that only look wait for nobody, and keep nobody waiting (but where they look in vain again and again beside busy
 * writers: then for as long as the look takes, if they need not wait for that for more than a millisecond): what they give is how it was at one
 * moment, also if a process was stopped (SIGSTOP) in the middle of a change. Changes of a list come one at a time;
 * those of a dict or namespace do if their keys are of one of its eight parts, or if they are about all of
 * it. So one that is stopped in the middle of a change keeps others from changing that, who wait for it, without a
 * deadline; one that is killed there keeps nobody from changing it.
 *   Where an operation goes through many items (index, count, remove, sort), it takes as long.
 *
 * Several steps as one: acquire keeps all others from changing the container until release; they still look at
 * it, and see each step. SHOAL_OWNER_DIED: it is held, and its former holder died between two of
 * his steps.
 *
 * Memory follows what is in them. A short value (ints below 2^60, most floats, texts up to 7 bytes)
 * takes 8 bytes; up to 2 KiB its bytes or its pickle; one that is longer, or has objects in it, is an object of the
 * region. A dict needs some 50 bytes besides for each entry.
 *
 * Any number of threads and processes may call at the same time. No call is promised to work in a signal
 * handler: -EDEADLK if it interrupted a change of this container.
 *   All return -EINVAL (NULL; what cannot be), -EBADF (not an open handle of this kind), and -ENOMEM: the
 * machine, the region or the quota has no memory; what is there is as it was. Otherwise 0 or what is said.
 * Killed inside: it has happened, or it has not.
 */
#ifndef SHOAL_CONTAINER_H
#define SHOAL_CONTAINER_H

#include <shoal/any.h>
#include <shoal/memory.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct shoal_list shoal_list;
typedef struct shoal_dict shoal_dict;
typedef struct shoal_namespace shoal_namespace;

typedef struct shoal_container_options {
    unsigned flags;   /* 0 */
    const char *name; /* at most 47 bytes; NULL: none */
} shoal_container_options;

/* ---- lists ---- */

/* An index below 0 counts from the end. Where an item must be there (get, set, pop, add,
 * compare_and_set) -ERANGE says that there is none. */

/* options may be NULL. */
SHOAL_API int shoal_list_create(shoal_list **ret, const shoal_container_options *options);

SHOAL_API int64_t shoal_list_length(const shoal_list *list); /* or -errno */
SHOAL_API int shoal_list_append(shoal_list *list, const shoal_any *item);
/* All items of a list or tuple, in this order, as one step. */
SHOAL_API int shoal_list_extend(shoal_list *list, const shoal_any *items);
/* Before the item that is there now; at the end, or the beginning, where the index is beyond. */
SHOAL_API int shoal_list_insert(shoal_list *list, int64_t index, const shoal_any *item);
/* *ret is the caller's. */
SHOAL_API int shoal_list_get(const shoal_list *list, int64_t index, shoal_any **ret);
SHOAL_API int shoal_list_set(shoal_list *list, int64_t index, const shoal_any *item);
/* Takes it out, for the caller; -1 is the last. ret may be NULL. */
SHOAL_API int shoal_list_pop(shoal_list *list, int64_t index, shoal_any **ret);
/* Takes out the first item that equals it (Python's ==). -ENOENT: there is none. */
SHOAL_API int shoal_list_remove(shoal_list *list, const shoal_any *item);
/* Where the first one is that equals it, of those from `from` to before `to` (as in a slice;
 * SHOAL_OMITTED: all). -ENOENT. */
SHOAL_API int64_t shoal_list_index(const shoal_list *list, const shoal_any *item, int64_t from,
                                   int64_t to);
SHOAL_API int64_t shoal_list_count(const shoal_list *list, const shoal_any *item);
SHOAL_API int shoal_list_contains(const shoal_list *list, const shoal_any *item); /* 1, 0 */
/* 1 or 0: whether it is this list, item by item, as Python's ==. */
SHOAL_API int shoal_list_equal(const shoal_list *list, const shoal_any *any);
SHOAL_API int shoal_list_reverse(shoal_list *list);
/* In the order of Python's <; equal ones stay as they were. SHOAL_DESCENDING: the largest first. -EINVAL:
 * two of them have no order; it is as it was. */
enum { SHOAL_DESCENDING = 1 };
SHOAL_API int shoal_list_sort(shoal_list *list, unsigned flags);
SHOAL_API int shoal_list_clear(shoal_list *list);

/* list[start:stop:step]. SHOAL_OMITTED: what Python takes where nothing stands; a step of 0 is 1. NULL instead of
 * a slice is all. */
#define SHOAL_OMITTED INT64_MIN
typedef struct shoal_slice {
    int64_t start, stop, step;
} shoal_slice;
/* As an any, a list: what it was at one moment. So all items are looked at: `shoal_list_slice(list, NULL, &copy)`. */
SHOAL_API int shoal_list_slice(const shoal_list *list, const shoal_slice *slice, shoal_any **ret);
/* Puts the items of a list or tuple there. With a step other than 1 there must be as many: -EINVAL. */
SHOAL_API int shoal_list_set_slice(shoal_list *list, const shoal_slice *slice,
                                   const shoal_any *items);
SHOAL_API int shoal_list_delete_slice(shoal_list *list, const shoal_slice *slice);

/* item += number (ints of 64 bits, floats, bools, as in Python). *ret, which may be NULL: the sum. -EOVERFLOW. */
SHOAL_API int shoal_list_add(shoal_list *list, int64_t index, const shoal_any *number,
                             shoal_any **ret);
/* Sets the item if it equals `expected`: 1; or not: 0. */
SHOAL_API int shoal_list_compare_and_set(shoal_list *list, int64_t index, const shoal_any *expected,
                                         const shoal_any *item);

/* The same without anys: ints, and bytes, into memory of the caller's. -EINVAL: it is something else. -EMSGSIZE: it is
 * longer than `capacity`, and *size says how long. */
SHOAL_API int shoal_list_append_int(shoal_list *list, int64_t item);
SHOAL_API int shoal_list_set_int(shoal_list *list, int64_t index, int64_t item);
SHOAL_API int shoal_list_get_int(const shoal_list *list, int64_t index, int64_t *ret);
SHOAL_API int shoal_list_append_bytes(shoal_list *list, const void *bytes, size_t size);
SHOAL_API int shoal_list_get_bytes(const shoal_list *list, int64_t index, void *buffer,
                                   size_t capacity, size_t *size);

/* Waits until nobody else changes it: 0, SHOAL_OWNER_DIED; -EAGAIN, -ETIMEDOUT; -EDEADLK: the thread has it already. */
SHOAL_API int shoal_list_acquire(shoal_list *list, int64_t deadline);
SHOAL_API int shoal_list_release(shoal_list *list); /* -EPERM: the thread has not acquired it */
/* How much memory of the region it takes, without that of objects in it. */
SHOAL_API int64_t shoal_list_bytes(const shoal_list *list);

/* As shoal_memory_reference, shoal_memory_open and shoal_memory_close. */
SHOAL_API int shoal_list_reference(const shoal_list *list, shoal_reference *ret);
SHOAL_API int shoal_list_open(shoal_list **ret, const shoal_reference *reference);
SHOAL_API shoal_list *shoal_list_close(shoal_list *list);

/* ---- dicts ---- */

/* Keys are what Python can hash (any.h), and compared as there, but that all NaNs are one key and that constructs (range, complex) are compared by what they
 * were made of: 1, 1.0 and True are one key, "a" and b"a" are two. The
 * first one stays. -EINVAL: it cannot be a key, an object neither; -EMSGSIZE: it is longer than 1 MiB, a tuple than about half of that. The order is that in
 * which keys were put first. -ENOENT: no such key. */

SHOAL_API int shoal_dict_create(shoal_dict **ret, const shoal_container_options *options);

SHOAL_API int64_t shoal_dict_length(const shoal_dict *dict);
SHOAL_API int shoal_dict_get(const shoal_dict *dict, const shoal_any *key, shoal_any **ret);
SHOAL_API int shoal_dict_contains(const shoal_dict *dict, const shoal_any *key); /* 1, 0 */
SHOAL_API int shoal_dict_set(shoal_dict *dict, const shoal_any *key, const shoal_any *value);
SHOAL_API int shoal_dict_delete(shoal_dict *dict, const shoal_any *key);
/* Sets it if there is none: 1; or else 0. *ret, which may be NULL: what is there then. */
SHOAL_API int shoal_dict_setdefault(shoal_dict *dict, const shoal_any *key, const shoal_any *value,
                                    shoal_any **ret);
/* Takes it out, for the caller. ret may be NULL. */
SHOAL_API int shoal_dict_pop(shoal_dict *dict, const shoal_any *key, shoal_any **ret);
/* The entry that was put last; either may be NULL. -ENOENT: it is empty. */
SHOAL_API int shoal_dict_popitem(shoal_dict *dict, shoal_any **key, shoal_any **value);
/* All entries of a dict, as one step. */
SHOAL_API int shoal_dict_update(shoal_dict *dict, const shoal_any *entries);
SHOAL_API int shoal_dict_clear(shoal_dict *dict);
/* As lists, and as a dict, of one moment, in order; items are tuples of key and value. */
SHOAL_API int shoal_dict_keys(const shoal_dict *dict, shoal_any **ret);
SHOAL_API int shoal_dict_values(const shoal_dict *dict, shoal_any **ret);
SHOAL_API int shoal_dict_items(const shoal_dict *dict, shoal_any **ret);
SHOAL_API int shoal_dict_copy(const shoal_dict *dict, shoal_any **ret);
/* 1 or 0: whether it is this dict, as Python's ==, whatever the order. */
SHOAL_API int shoal_dict_equal(const shoal_dict *dict, const shoal_any *any);

/* value += number; of no value the number itself. As shoal_list_add. */
SHOAL_API int shoal_dict_add(shoal_dict *dict, const shoal_any *key, const shoal_any *number,
                             shoal_any **ret);
/* Appends to the shared list that is the key's value; if there is none, makes one. -EINVAL: the value is something else. */
SHOAL_API int shoal_dict_append(shoal_dict *dict, const shoal_any *key, const shoal_any *item);
/* Sets the value if it equals `expected`: 1; or not: 0. expected NULL: if there is none; value NULL: deletes. */
SHOAL_API int shoal_dict_compare_and_set(shoal_dict *dict, const shoal_any *key,
                                         const shoal_any *expected, const shoal_any *value);

/* Without anys: keys are bytes. As shoal_list_get_int and shoal_list_get_bytes. */
SHOAL_API int shoal_dict_set_int(shoal_dict *dict, const void *key, size_t key_size, int64_t value);
SHOAL_API int shoal_dict_get_int(const shoal_dict *dict, const void *key, size_t key_size,
                                 int64_t *ret);
/* *ret, which may be NULL: the sum. */
SHOAL_API int shoal_dict_add_int(shoal_dict *dict, const void *key, size_t key_size, int64_t number,
                                 int64_t *ret);
SHOAL_API int shoal_dict_set_bytes(shoal_dict *dict, const void *key, size_t key_size,
                                   const void *bytes, size_t size);
SHOAL_API int shoal_dict_get_bytes(const shoal_dict *dict, const void *key, size_t key_size,
                                   void *buffer, size_t capacity, size_t *size);
SHOAL_API int shoal_dict_delete_bytes(shoal_dict *dict, const void *key, size_t key_size);
SHOAL_API int shoal_dict_contains_bytes(const shoal_dict *dict, const void *key, size_t key_size);

/* As those of lists. */
SHOAL_API int shoal_dict_acquire(shoal_dict *dict, int64_t deadline);
SHOAL_API int shoal_dict_release(shoal_dict *dict);
SHOAL_API int64_t shoal_dict_bytes(const shoal_dict *dict);
SHOAL_API int shoal_dict_reference(const shoal_dict *dict, shoal_reference *ret);
SHOAL_API int shoal_dict_open(shoal_dict **ret, const shoal_reference *reference);
SHOAL_API shoal_dict *shoal_dict_close(shoal_dict *dict);

/* ---- namespaces: attributes by name, which is UTF-8 ---- */

SHOAL_API int shoal_namespace_create(shoal_namespace **ret, const shoal_container_options *options);
SHOAL_API int shoal_namespace_get(const shoal_namespace *space, const char *name, shoal_any **ret);
SHOAL_API int shoal_namespace_set(shoal_namespace *space, const char *name, const shoal_any *value);
SHOAL_API int shoal_namespace_delete(shoal_namespace *space, const char *name);
SHOAL_API int shoal_namespace_contains(const shoal_namespace *space, const char *name);
SHOAL_API int shoal_namespace_add(shoal_namespace *space, const char *name, const shoal_any *number,
                                  shoal_any **ret);
SHOAL_API int shoal_namespace_compare_and_set(shoal_namespace *space, const char *name,
                                              const shoal_any *expected, const shoal_any *value);
/* All of it, as a dict, of one moment. */
SHOAL_API int shoal_namespace_copy(const shoal_namespace *space, shoal_any **ret);
SHOAL_API int shoal_namespace_acquire(shoal_namespace *space, int64_t deadline);
SHOAL_API int shoal_namespace_release(shoal_namespace *space);
SHOAL_API int64_t shoal_namespace_bytes(const shoal_namespace *space);
SHOAL_API int shoal_namespace_reference(const shoal_namespace *space, shoal_reference *ret);
SHOAL_API int shoal_namespace_open(shoal_namespace **ret, const shoal_reference *reference);
SHOAL_API shoal_namespace *shoal_namespace_close(shoal_namespace *space);

#ifdef __cplusplus
}
#endif
#endif
