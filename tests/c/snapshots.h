/* snapshots.h: what tests of inspection share: reading a snapshot. */
#ifndef TESTS_SNAPSHOTS_H
#define TESTS_SNAPSHOTS_H

#include "processes.h"
#include <shoal/inspect.h>
#include <stdlib.h>

static _Atomic long *words;
enum { HAVE, GO }; /* words: how many hold what they begin with; whether they may go on */

/* ---- reading a snapshot ---- */

static inline const shoal_any *get(const shoal_any *dict, const char *key)
{
    const shoal_any *value;
    if (shoal_any_get_str(dict, key, &value))
        FAIL("there is no '%s'", key);
    return value;
}

static inline int64_t number(const shoal_any *dict, const char *key)
{
    int64_t n;
    ASSERT_OK(shoal_any_as_int(get(dict, key), &n));
    return n;
}

static inline const char *text(const shoal_any *dict, const char *key)
{
    const char *s;
    ASSERT_OK(shoal_any_as_str(get(dict, key), &s, NULL));
    return s;
}

static inline const shoal_any *at(const shoal_any *list, int64_t i)
{
    const shoal_any *value;
    ASSERT_OK(shoal_any_at(list, i, &value));
    return value;
}

/* The only item of dict[list] of which item[key] is `value`; NULL: there is none. */
static inline const shoal_any *find(const shoal_any *dict, const char *list, const char *key,
                                    const char *value)
{
    const shoal_any *all = get(dict, list), *found = NULL;
    for (int64_t i = 0; i < shoal_any_count(all); i++)
        if (!strcmp(text(at(all, i), key), value)) {
            ASSERT_NULL(found);
            found = at(all, i);
        }
    return found;
}

static inline const shoal_any *find_number(const shoal_any *dict, const char *list, const char *key,
                                           int64_t value)
{
    const shoal_any *all = get(dict, list);
    for (int64_t i = 0; i < shoal_any_count(all); i++)
        if (number(at(all, i), key) == value)
            return at(all, i);
    return NULL;
}

static inline shoal_any *look(void)
{
    shoal_any *snapshot;
    ASSERT_OK(shoal_inspect(&snapshot));
    return snapshot;
}

static inline int64_t of_object(const shoal_any *snapshot, const char *name, const char *key)
{
    const shoal_any *object = find(snapshot, "objects", "name", name);
    ASSERT_NOT_NULL(object);
    return number(object, key);
}

static inline int64_t deadlocks(const shoal_any *snapshot)
{
    return shoal_any_count(get(snapshot, "deadlocks"));
}

/* A process that is there. */
static inline void be_there(void)
{
    atomic_store(&words[HAVE], 1);
    for (;;)
        pause();
}

static inline pid_t somebody(void)
{
    atomic_store(&words[HAVE], 0);
    pid_t pid = child(be_there);
    until_word(&words[HAVE], 1);
    return pid;
}

#endif
