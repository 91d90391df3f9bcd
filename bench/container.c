/* container.c - shared lists, dicts and namespaces, beside GLib's hash table and a plain array, each with a mutex around it. */
#include "bench.h"
#include <errno.h>
#include <pthread.h>
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if HAVE_GLIB
#include <glib.h>
#endif

/* Where GLib is not installed nothing is measured with it. */
#define YARDSTICK __attribute__((unused)) static

enum { KEYS = 1000, KEY = 8, OPS = 200000, ITEMS = 100000, MANY = 1000000, ROUNDS = 15 };

static char keys[2][KEYS][KEY + 1]; /* of two processes */

static shoal_dict *dict(void)
{
    static shoal_dict *d;
    if (d)
        return d;
    bench_must(shoal_dict_create(&d, NULL), "shoal_dict_create");
    for (int who = 0; who < 2; who++)
        for (unsigned i = 0; i < KEYS; i++) {
            snprintf(keys[who][i], sizeof keys[who][i], "%c-%06u", 'a' + who, i % 1000000);
            bench_must(shoal_dict_set_int(d, keys[who][i], KEY, i), "set");
        }
    return d;
}

/* In no order that a processor foresees. */
static unsigned key_of(unsigned i)
{
    return i * 7919u % KEYS;
}

static void get_keys(int who)
{
    shoal_dict *d = dict();
    int64_t n;
    for (unsigned i = 0; i < OPS; i++) {
        bench_must(shoal_dict_get_int(d, keys[who][key_of(i)], KEY, &n), "get");
        if (n < 0)
            bench_must(-EBADMSG, "another value");
    }
}

static void set_keys(int who)
{
    shoal_dict *d = dict();
    for (unsigned i = 0; i < OPS; i++)
        bench_must(shoal_dict_set_int(d, keys[who][key_of(i)], KEY, i), "set");
}

static double timed(void (*body)(int who))
{
    dict();
    double begin = bench_now();
    body(0);
    return (bench_now() - begin) / OPS;
}

static double dict_get(void)
{
    return timed(get_keys);
}

static double dict_set(void)
{
    return timed(set_keys);
}

/* Both do all of it: time for each of one's own, halved. */
static double dict_set_two(void)
{
    dict();
    return bench_pair(set_keys) / OPS / 2;
}

static double dict_get_two(void)
{
    dict();
    return bench_pair(get_keys) / OPS / 2;
}

#if HAVE_GLIB
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static GHashTable *table(void)
{
    static GHashTable *t;
    if (!t) {
        t = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        for (unsigned i = 0; i < KEYS; i++) {
            snprintf(keys[0][i], sizeof keys[0][i], "a-%06u", i % 1000000);
            g_hash_table_insert(t, g_strdup(keys[0][i]), GINT_TO_POINTER(1));
        }
    }
    return t;
}

static double glib_get(void)
{
    GHashTable *t = table();
    double begin = bench_now();
    for (unsigned i = 0; i < OPS; i++) {
        pthread_mutex_lock(&mutex);
        void *n = g_hash_table_lookup(t, keys[0][key_of(i)]);
        pthread_mutex_unlock(&mutex);
        bench_hide(n);
    }
    return (bench_now() - begin) / OPS;
}

static double glib_set(void)
{
    GHashTable *t = table();
    double begin = bench_now();
    for (unsigned i = 0; i < OPS; i++) {
        char *key = g_strdup(keys[0][key_of(i)]);
        pthread_mutex_lock(&mutex);
        g_hash_table_replace(t, key, GINT_TO_POINTER((int)i));
        pthread_mutex_unlock(&mutex);
    }
    return (bench_now() - begin) / OPS;
}
#else
#define glib_get NULL
#define glib_set NULL
#endif

/* ---- lists ---- */

static double list_append(void)
{
    shoal_list *list;
    bench_must(shoal_list_create(&list, NULL), "shoal_list_create");
    double begin = bench_now();
    for (int i = 0; i < ITEMS; i++)
        bench_must(shoal_list_append_int(list, i), "append");
    double took = (bench_now() - begin) / ITEMS;
    shoal_list_close(list);
    return took;
}

static double list_index(void)
{
    static shoal_list *list;
    int64_t n = 0, sum = 0;
    if (!list) {
        bench_must(shoal_list_create(&list, NULL), "shoal_list_create");
        for (int i = 0; i < ITEMS; i++)
            bench_must(shoal_list_append_int(list, i), "append");
    }
    double begin = bench_now();
    for (unsigned i = 0; i < OPS; i++) {
        bench_must(shoal_list_get_int(list, i * 7919u % ITEMS, &n), "get");
        sum += n;
    }
    bench_hide(&sum);
    return (bench_now() - begin) / OPS;
}

static pthread_mutex_t array_mutex = PTHREAD_MUTEX_INITIALIZER;
static int64_t *array;
static size_t array_count, array_room;

static __attribute__((noinline)) void array_append(int64_t n)
{
    pthread_mutex_lock(&array_mutex);
    if (array_count == array_room) {
        array_room = array_room * 2 + 16;
        int64_t *more = realloc(array, array_room * sizeof *array);
        if (!more)
            abort();
        array = more;
    }
    array[array_count++] = n;
    pthread_mutex_unlock(&array_mutex);
}

static __attribute__((noinline)) int array_get(size_t i, int64_t *ret)
{
    pthread_mutex_lock(&array_mutex);
    int rc = i < array_count ? 0 : -ERANGE;
    if (!rc)
        *ret = array[i];
    pthread_mutex_unlock(&array_mutex);
    return rc;
}

static double plain_append(void)
{
    free(array);
    array = NULL;
    array_count = array_room = 0;
    double begin = bench_now();
    for (int i = 0; i < ITEMS; i++)
        array_append(i);
    return (bench_now() - begin) / ITEMS;
}

static double plain_index(void)
{
    int64_t n = 0, sum = 0;
    if (array_count < ITEMS)
        plain_append();
    double begin = bench_now();
    for (unsigned i = 0; i < OPS; i++) {
        bench_must(array_get(i * 7919u % ITEMS, &n), "get");
        sum += n;
    }
    bench_hide(&sum);
    return (bench_now() - begin) / OPS;
}

/* ---- namespaces ---- */

static double space_get_set(void)
{
    static shoal_namespace *space;
    if (!space)
        bench_must(shoal_namespace_create(&space, NULL), "shoal_namespace_create");
    double begin = bench_now();
    for (unsigned i = 0; i < OPS; i++) {
        shoal_any *any = shoal_any_int(i);
        bench_must(shoal_namespace_set(space, "attribute", any), "set");
        shoal_any_free(any);
        bench_must(shoal_namespace_get(space, "attribute", &any), "get");
        shoal_any_free(any);
    }
    return (bench_now() - begin) / OPS;
}

/* ---- a million entries ---- */

static shoal_dict *million(void)
{
    shoal_dict *d;
    bench_must(shoal_dict_create(&d, NULL), "shoal_dict_create");
    return d;
}

static double entry_bytes(void)
{
    shoal_dict *d = million();
    shoal_statistics before, after;
    bench_must(shoal_memory_statistics(&before), "shoal_memory_statistics");
    for (int64_t i = 0; i < MANY; i++)
        bench_must(shoal_dict_set_int(d, &i, sizeof i, i), "set");
    bench_must(shoal_memory_statistics(&after), "shoal_memory_statistics");
    double bytes = (double)shoal_dict_bytes(d) / MANY;
    shoal_dict_close(d);
    return bytes - 16; /* without key and value */
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double slowest_of_10000(void)
{
    shoal_dict *d = million();
    double *took = malloc(MANY * sizeof *took);
    if (!took)
        abort();
    for (int64_t i = 0; i < MANY; i++) {
        double begin = cpu_now();
        bench_must(shoal_dict_set_int(d, &i, sizeof i, i), "set");
        took[i] = cpu_now() - begin;
    }
    qsort(took, MANY, sizeof *took, by_size);
    double worst = took[MANY - MANY / 10000];
    free(took);
    shoal_dict_close(d);
    return worst / 1000;
}

const struct bench bench_container[] = {
    {"dict get of an int", "ns", dict_get, FAMILY, "GHashTable + mutex", glib_get, PIN_ONE, PIN_ONE,
     RATIO_AT_MOST, 2, ROUNDS},
    {"dict set of an int", "ns", dict_set, FAMILY, "GHashTable + mutex", glib_set, PIN_ONE, PIN_ONE,
     RATIO_AT_MOST, 3, ROUNDS},
    {"dict set, two processes, other keys", "ns", dict_set_two, FAMILY, "one process", dict_set,
     PIN_TWO, PIN_TWO, RATIO_AT_MOST, 1 / 1.6, ROUNDS},
    {"dict get, two processes, other keys", "ns", dict_get_two, FAMILY, "one process", dict_get,
     PIN_TWO, PIN_TWO, RATIO_AT_MOST, 1 / 1.6, ROUNDS},
    {"list append of an int", "ns", list_append, FAMILY, "array + mutex", plain_append, PIN_ONE,
     PIN_ONE, RATIO_AT_MOST, 4, ROUNDS},
    {"list index", "ns", list_index, FAMILY, "array + mutex", plain_index, PIN_ONE, PIN_ONE,
     RATIO_AT_MOST, 4, ROUNDS},
    {"namespace get + set", "ns", space_get_set, FAMILY, NULL, NULL, PIN_ONE, PIN_ONE,
     FIGURE_AT_MOST, 1e9 / 41000 / 100, ROUNDS},
    {"dict of a million: bytes an entry", "bytes", entry_bytes, FAMILY, NULL, NULL, PIN_ONE,
     PIN_ONE, FIGURE_AT_MOST, 100, 3},
    {"dict of a million: set, 99.99 %", "us", slowest_of_10000, FAMILY, NULL, NULL, PIN_ONE,
     PIN_ONE, FIGURE_AT_MOST, 1000, 3},
};
const unsigned bench_container_count = BENCH_COUNT(bench_container);
