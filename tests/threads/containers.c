/* Lists and dicts between threads of one process: what ThreadSanitizer looks at. What an item speaks of is plain memory on purpose: it was written before the
 * item was put, and is read after it was taken out. */
#include "runner.h"
#include <errno.h>
#include <pthread.h>
#include <shoal/shoal.h>
#include <stdatomic.h>

enum { THREADS = 4, ROUNDS = 2000 };

static shoal_list *list;
static shoal_dict *dict;
static long cells[THREADS][ROUNDS]; /* each is written once, and told by an item */
static _Atomic long taken;

static void run(void *(*function)(void *), int n)
{
    pthread_t threads[16];
    for (long i = 0; i < n; i++)
        ASSERT_EQ_INT(pthread_create(&threads[i], NULL, function, (void *)i), 0);
    for (int i = 0; i < n; i++)
        ASSERT_EQ_INT(pthread_join(threads[i], NULL), 0);
}

static void told(int64_t item)
{
    long who = (long)(item / ROUNDS), number = (long)(item % ROUNDS);
    ASSERT_EQ_INT(cells[who][number], item);
    cells[who][number] = -1; /* who took it has it alone */
    atomic_fetch_add(&taken, 1);
}

static void *push_or_pop(void *argument)
{
    long me = (long)argument;
    for (long i = 0; i < ROUNDS;) {
        shoal_any *any;
        int64_t item = me * ROUNDS + i;
        if (me % 2) {
            cells[me][i++] = item;
            if (i % 5)
                ASSERT_OK(shoal_list_append_int(list, item));
            else {
                any = shoal_any_int(item);
                ASSERT_OK(shoal_list_insert(list, i % 3, any));
                shoal_any_free(any);
            }
            continue;
        }
        int rc = shoal_list_pop(list, i % 2 - 1, &any);
        if (rc == -ERANGE) {
            ASSERT_LE_INT(0, shoal_list_length(list));
            continue;
        }
        ASSERT_OK(rc);
        ASSERT_OK(shoal_any_as_int(any, &item));
        shoal_any_free(any);
        told(item);
        i++;
    }
    return NULL;
}

TEST(threads_items_of_a_list_are_seen_with_what_they_speak_of)
{
    atomic_store(&taken, 0);
    ASSERT_OK(shoal_list_create(&list, NULL));
    run(push_or_pop, THREADS);
    ASSERT_EQ_INT(atomic_load(&taken), THREADS / 2 * ROUNDS);
    ASSERT_EQ_INT(shoal_list_length(list), 0);
    shoal_list_close(list);
}

static void *set_or_look(void *argument)
{
    long me = (long)argument;
    for (int64_t i = 0; i < ROUNDS; i++) {
        int64_t key = i % 200, value;
        char text[40];
        size_t size;
        if (me % 2) {
            ASSERT_OK(shoal_dict_set_int(dict, &key, sizeof key, i));
            ASSERT_OK(shoal_dict_set_bytes(dict, "text", 4, "a text of more than a few bytes",
                                           (size_t)(10 + i % 20)));
            if (i % 7 == 0)
                shoal_dict_delete_bytes(dict, &key, sizeof key);
            if (i % 500 == 499)
                ASSERT_OK(shoal_dict_clear(dict));
            continue;
        }
        int rc = shoal_dict_get_int(dict, &key, sizeof key, &value);
        if (rc != -ENOENT) {
            ASSERT_OK(rc);
            ASSERT_EQ_INT(value % 200, key);
        }
        rc = shoal_dict_get_bytes(dict, "text", 4, text, sizeof text, &size);
        if (rc != -ENOENT) {
            ASSERT_OK(rc);
            ASSERT_MEM(text, "a text of more than a few bytes", size);
        }
        ASSERT_LE_INT(shoal_dict_length(dict), 201);
    }
    return NULL;
}

TEST(threads_values_of_a_dict_are_whole)
{
    ASSERT_OK(shoal_dict_create(&dict, NULL));
    run(set_or_look, THREADS);
    shoal_dict_close(dict);
}
