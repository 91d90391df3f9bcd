/* any: where malloc fails, at each of its calls in turn. A program of its own, as its malloc is wrapped
 * by the linker (--wrap). With the sanitizers: nothing is lost, nothing is freed twice. */
#include "runner.h"
#include <errno.h>
#include <shoal/shoal.h>
#include <stdlib.h>
#include <string.h>

static long left = -1; /* calls that still succeed; negative: all */

void *__real_malloc(size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *p, size_t size);

void *__wrap_malloc(size_t size)
{
    return left >= 0 && left-- == 0 ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return left >= 0 && left-- == 0 ? NULL : __real_realloc(p, size);
}

static shoal_any *build(void)
{
    static char text[5000];
    memset(text, 'x', sizeof text - 1);
    return shoal_any_list(shoal_any_int(1), shoal_any_str(text),
                          shoal_any_dict(shoal_any_str("a"),
                                         shoal_any_set(shoal_any_tuple(shoal_any_int(1)),
                                                       shoal_any_int(2))),
                          shoal_any_construct("KeyError", shoal_any_tuple(shoal_any_str("k"))),
                          shoal_any_int_bytes("0123456789abcdefghij", 20));
}

static int grow(shoal_any *list)
{
    shoal_any *dict = shoal_any_dict();
    int rc = dict ? 0 : -ENOMEM;
    for (int i = 0; i < 50 && !rc; i++) {
        rc = shoal_any_put(dict, shoal_any_int(i), shoal_any_str("value"));
        if (!rc)
            rc = shoal_any_append(list, shoal_any_tuple(shoal_any_int(i), shoal_any_str("text")));
    }
    if (rc)
        shoal_any_free(dict);
    return rc ? rc : shoal_any_append(list, dict);
}

/* What is given NULL, since it could not be built, says -EINVAL. */
static void check(int rc)
{
    if (rc && rc != -ENOMEM && rc != -EINVAL)
        FAIL("%d", rc);
}

/* False if memory ran out. */
static bool everything(void)
{
    shoal_any *again = NULL, *copy = NULL, *list = build();
    char *shown = NULL;
    void *bytes = NULL;
    size_t size;
    int rc = list ? grow(list) : -ENOMEM;
    if (!rc)
        rc = shoal_any_encode(list, &bytes, &size);
    if (!rc)
        rc = shoal_any_decode(&again, bytes, size, NULL);
    if (!rc) {
        ASSERT_EQ_INT(shoal_any_equal(list, again), 1);
        copy = shoal_any_copy(again);
        rc = copy ? shoal_any_repr(copy, &shown) : -ENOMEM;
    }
    check(rc);
    left = -1;
    free(shown);
    free(bytes);
    shoal_any_free(list);
    shoal_any_free(again);
    shoal_any_free(copy);
    return !rc;
}

TEST(any_calls_fail_cleanly_wherever_memory_runs_out)
{
    int calls = 0;
    for (left = 0; !everything(); left = ++calls)
        ASSERT_LT_INT(calls, 100000);
    ASSERT_GT_INT(calls, 100);
}

/* Through a queue, and back: false if memory ran out; nothing is held then. */
static bool carried(shoal_queue *queue, shoal_lock *lock)
{
    shoal_any *again = NULL, *copy = NULL;
    shoal_any *list = shoal_any_list(shoal_any_object(lock), shoal_any_object(lock));
    int rc = list ? shoal_queue_put(queue, list, SHOAL_NOW) : -ENOMEM;
    if (!rc)
        rc = shoal_queue_get(queue, &again, SHOAL_NOW);
    if (!rc) {
        copy = shoal_any_copy(again);
        rc = copy ? 0 : -ENOMEM;
    }
    left = -1;
    check(rc);
    ASSERT_EQ_INT(shoal_queue_empty(queue), 1);
    shoal_any_free(list);
    shoal_any_free(again);
    shoal_any_free(copy);
    return !rc;
}

TEST(any_objects_are_given_up_wherever_memory_runs_out)
{
    shoal_queue *queue;
    shoal_lock *lock;
    shoal_statistics s;
    int calls = 0;
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    do {
        shoal_reference reference;
        ASSERT_OK(shoal_lock_create(&lock, NULL));
        ASSERT_OK(shoal_lock_reference(lock, &reference));
        left = calls;
        bool done = carried(queue, lock);
        shoal_lock_close(lock);
        ASSERT_ERR(shoal_lock_open(&lock, &reference), -ESTALE);
        ASSERT_OK(shoal_memory_statistics(&s));
        ASSERT_EQ_INT(s.objects, 1);
        if (done)
            break;
    } while (++calls < 1000);
    ASSERT_GT_INT(calls, 5);
    shoal_queue_close(queue);
}
