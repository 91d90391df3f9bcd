/* value and array: what memory.h promises. */
#include "processes.h"
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <wchar.h>

static shoal_value *value;
static shoal_array *array;

static int value_create(shoal_value **ret)
{
    return shoal_value_create(ret, 'i', NULL, 0, NULL);
}

static int array_create(shoal_array **ret)
{
    return shoal_array_create(ret, 'd', 100, NULL, 0, NULL);
}

COMMON_TESTS(value, value_create, shoal_value_type)
COMMON_TESTS(array, array_create, shoal_array_type)

static const struct {
    char type;
    size_t size;
} types[] = {{'c', sizeof(char)},  {'u', sizeof(wchar_t)},   {'b', sizeof(char)},
             {'B', sizeof(char)},  {'h', sizeof(short)},     {'H', sizeof(short)},
             {'i', sizeof(int)},   {'I', sizeof(int)},       {'l', sizeof(long)},
             {'L', sizeof(long)},  {'q', sizeof(long long)}, {'Q', sizeof(long long)},
             {'f', sizeof(float)}, {'d', sizeof(double)}};
enum { TYPES = sizeof types / sizeof *types };

TEST(values_of_every_type_have_its_size_and_begin_as_they_are_told_or_zero)
{
    static const char bytes[8] = {1, -2, 3, -4, 5, -6, 7, -8}, zero[8];
    char got[8];
    for (int i = 0; i < TYPES; i++) {
        size_t size = types[i].size;
        for (int round = 0; round < 2; round++) { /* where other bytes lay, in the second */
            ASSERT_OK(shoal_value_create(&value, types[i].type, bytes, size, NULL));
            ASSERT_EQ_INT(shoal_value_type(value), types[i].type);
            ASSERT_EQ_U64(shoal_value_size(value), size);
            ASSERT_MEM(shoal_value_address(value), bytes, size);
            shoal_value_close(value);
            ASSERT_OK(shoal_value_create(&value, types[i].type, NULL, 0, NULL));
            ASSERT_EQ_INT(shoal_value_get(value, got, size, SHOAL_FOREVER), 0);
            ASSERT_MEM(got, zero, size);
            ASSERT_EQ_INT(shoal_value_set(value, bytes, size, SHOAL_FOREVER), 0);
            ASSERT_EQ_INT(shoal_value_get(value, got, size, SHOAL_FOREVER), 0);
            ASSERT_MEM(got, bytes, size);
            ASSERT_MEM(shoal_value_address(value), bytes, size);
            shoal_value_close(value);
        }
    }
}

TEST(arrays_of_every_type_and_length_begin_as_they_are_told_or_zero)
{
    static const size_t lengths[] = {0, 1, 7, 64, 5000, 100000};
    char *bytes = malloc(800000), *zero = calloc(800000, 1);
    ASSERT_TRUE(bytes && zero);
    for (int i = 0; i < 800000; i++)
        bytes[i] = (char)(i * 7 + 1);
    for (int t = 0; t < TYPES; t++) {
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            size_t n = lengths[l], size = n * types[t].size;
            shoal_value_options named = {.name = "an array", .flags = SHOAL_UNLOCKED};
            ASSERT_OK(shoal_array_create(&array, types[t].type, n, bytes, size, NULL));
            ASSERT_EQ_INT(shoal_array_type(array), types[t].type);
            ASSERT_EQ_U64(shoal_array_length(array), n);
            ASSERT_EQ_U64(shoal_array_size(array), size);
            ASSERT_NOT_NULL(shoal_array_address(array));
            ASSERT_MEM(shoal_array_address(array), bytes, size);
            shoal_array_close(array);
            ASSERT_OK(shoal_array_create(&array, types[t].type, n, NULL, 0, &named));
            ASSERT_EQ_U64(shoal_array_size(array), size);
            ASSERT_MEM(shoal_array_address(array), zero, size);
            shoal_array_close(array);
        }
    }
    free(bytes);
    free(zero);
}

TEST(value_creation_refuses_what_makes_no_sense)
{
    shoal_value_options flags = {.flags = 4}, both = {.flags = SHOAL_UNLOCKED}, closed = {0};
    shoal_value_options name = {.name = "a name that is certainly longer than forty-seven bytes"};
    shoal_rlock *lock;
    int one = 1;
    value = NULL;
    array = NULL;
    ASSERT_OK(shoal_rlock_create(&lock, NULL));
    for (int type = SCHAR_MIN; type <= SCHAR_MAX; type++) {
        if (type > 0 && strchr("cubBhHiIlLqQfd", type))
            continue;
        ASSERT_ERR(shoal_value_create(&value, (char)type, NULL, 0, NULL), -EINVAL);
        ASSERT_ERR(shoal_array_create(&array, (char)type, 3, NULL, 0, NULL), -EINVAL);
    }
    ASSERT_ERR(shoal_value_create(&value, 'x', NULL, 0, NULL), -EINVAL);
    ASSERT_STR(shoal_error_detail(),
               "shoal_value_create: 120 (x) is none of the types cubBhHiIlLqQfd");
    ASSERT_ERR(shoal_value_create(&value, 'i', &one, sizeof one - 1, NULL), -EINVAL);
    ASSERT_STR(shoal_error_detail(),
               "shoal_value_create: 3 bytes to begin with, not the 4 of 1 of type i");
    ASSERT_ERR(shoal_value_create(&value, 'i', &one, 0, NULL), -EINVAL);
    ASSERT_ERR(shoal_value_create(&value, 'i', NULL, sizeof one, NULL), -EINVAL);
    ASSERT_ERR(shoal_array_create(&array, 'i', 2, &one, sizeof one, NULL), -EINVAL);
    ASSERT_ERR(shoal_value_create(&value, 'i', NULL, 0, &flags), -EINVAL);
    ASSERT_ERR(shoal_value_create(&value, 'i', NULL, 0, &name), -EINVAL);
    both.lock = lock;
    ASSERT_ERR(shoal_value_create(&value, 'i', NULL, 0, &both), -EINVAL);
    closed.lock = lock;
    shoal_rlock_close(lock);
    ASSERT_ERR(shoal_value_create(&value, 'i', NULL, 0, &closed), -EBADF);
    ASSERT_ERR(shoal_array_create(&array, 'd', SIZE_MAX, NULL, 0, NULL), -ENOMEM);
    ASSERT_ERR(shoal_array_create(&array, 'c', SIZE_MAX, NULL, 0, NULL), -ENOMEM);
    ASSERT_ERR(shoal_array_create(&array, 'd', (size_t)1 << 47, NULL, 0, NULL), -ENOMEM);
    ASSERT_NULL(value);
    ASSERT_NULL(array);
}

static void refuse_all(const shoal_value *v, const shoal_array *a, int wanted)
{
    shoal_value *value_ = (shoal_value *)(uintptr_t)v;
    shoal_array *array_ = (shoal_array *)(uintptr_t)a;
    int64_t n = 0;
    char buffer[8];
    ASSERT_NULL(shoal_value_address(v));
    ASSERT_NULL(shoal_array_address(a));
    ASSERT_NULL(shoal_value_get_lock(v));
    ASSERT_NULL(shoal_array_get_lock(a));
    ASSERT_EQ_U64(shoal_value_size(v) + shoal_array_size(a) + shoal_array_length(a), 0);
    ASSERT_ERR(shoal_value_type(v), wanted);
    ASSERT_ERR(shoal_array_type(a), wanted);
    ASSERT_ERR(shoal_value_acquire(value_, SHOAL_NOW), wanted);
    ASSERT_ERR(shoal_array_acquire(array_, SHOAL_NOW), wanted);
    ASSERT_ERR(shoal_value_release(value_), wanted);
    ASSERT_ERR(shoal_array_release(array_), wanted);
    ASSERT_ERR(shoal_value_get(value_, buffer, 4, SHOAL_NOW), wanted);
    ASSERT_ERR(shoal_value_set(value_, buffer, 4, SHOAL_NOW), wanted);
    ASSERT_ERR(shoal_array_get(array_, 0, 1, buffer, 8, SHOAL_NOW), wanted);
    ASSERT_ERR(shoal_array_set(array_, 0, 1, buffer, 8, SHOAL_NOW), wanted);
    ASSERT_ERR(shoal_value_add(value_, 1, &n), wanted);
    ASSERT_ERR(shoal_value_exchange(value_, 1, &n), wanted);
    ASSERT_ERR(shoal_value_compare_exchange(value_, &n, 1), wanted);
    ASSERT_ERR(shoal_array_add(array_, 0, 1, &n), wanted);
    ASSERT_ERR(shoal_array_exchange(array_, 0, 1, &n), wanted);
    ASSERT_ERR(shoal_array_compare_exchange(array_, 0, &n, 1), wanted);
    ASSERT_EQ_INT(n, 0);
}

TEST(value_calls_refuse_null_closed_and_each_others_handles)
{
    ASSERT_OK(value_create(&value));
    ASSERT_OK(array_create(&array));
    refuse_all(NULL, NULL, -EINVAL);
    refuse_all((const shoal_value *)(const void *)array, (const shoal_array *)(const void *)value,
               -EBADF);
    shoal_value_close(value);
    shoal_array_close(array);
    refuse_all(value, array, -EBADF);
}

TEST(array_items_are_copied_out_and_in_and_nothing_beside_them)
{
    int numbers[10], got[4];
    char shifted[1 + sizeof got];
    for (int i = 0; i < 10; i++)
        numbers[i] = i;
    ASSERT_OK(shoal_array_create(&array, 'i', 10, numbers, sizeof numbers, NULL));
    ASSERT_EQ_INT(shoal_array_get(array, 3, 4, got, sizeof got, SHOAL_FOREVER), 0);
    ASSERT_MEM(got, numbers + 3, sizeof got);
    for (int i = 0; i < 4; i++)
        numbers[6 + i] = got[i] = -i - 1;
    memcpy(shifted + 1, got, sizeof got); /* the caller's need not be aligned */
    ASSERT_EQ_INT(shoal_array_set(array, 6, 4, shifted + 1, sizeof got, SHOAL_FOREVER), 0);
    ASSERT_MEM(shoal_array_address(array), numbers, sizeof numbers);
    ASSERT_EQ_INT(shoal_array_get(array, 9, 1, shifted + 1, sizeof(int), SHOAL_NOW), 0);
    ASSERT_MEM(shifted + 1, &numbers[9], sizeof(int));
    ASSERT_EQ_INT(shoal_array_get(array, 10, 0, NULL, 0, SHOAL_NOW), 0);
    ASSERT_EQ_INT(shoal_array_set(array, 10, 0, NULL, 0, SHOAL_NOW), 0);
    ASSERT_MEM(shoal_array_address(array), numbers, sizeof numbers);
    shoal_array_close(array);
}

TEST(array_calls_beyond_the_end_change_nothing_and_tell_index_and_length)
{
    int numbers[3] = {1, 2, 3}, got[3] = {7, 8, 9};
    int64_t n = 1;
    ASSERT_OK(shoal_array_create(&array, 'i', 3, numbers, sizeof numbers, NULL));
    ASSERT_ERR(shoal_array_get(array, 3, 1, got, sizeof(int), SHOAL_NOW), -ERANGE);
    ASSERT_STR(shoal_error_detail(), "shoal_array_get: index 3, but the array has 3 items");
    ASSERT_ERR(shoal_array_set(array, 1, 3, got, sizeof got, SHOAL_NOW), -ERANGE);
    ASSERT_STR(shoal_error_detail(),
               "shoal_array_set: 3 items from index 1 on, but the array has 3 items");
    ASSERT_ERR(shoal_array_get(array, SIZE_MAX, 2, got, 8, SHOAL_NOW), -ERANGE);
    ASSERT_ERR(shoal_array_get(array, 2, SIZE_MAX, got, 8, SHOAL_NOW), -ERANGE);
    ASSERT_ERR(shoal_array_get(array, 4, 0, got, 0, SHOAL_NOW), -ERANGE);
    ASSERT_ERR(shoal_array_add(array, 3, 1, &n), -ERANGE);
    ASSERT_ERR(shoal_array_exchange(array, SIZE_MAX, 1, &n), -ERANGE);
    ASSERT_ERR(shoal_array_compare_exchange(array, 3, &n, 5), -ERANGE);
    ASSERT_ERR(shoal_array_get(array, 0, 2, got, sizeof(int), SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_array_get(array, 0, 1, got, 8, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_array_get(array, 0, 1, NULL, sizeof(int), SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_array_set(array, 0, 1, NULL, sizeof(int), SHOAL_NOW), -EINVAL);
    ASSERT_EQ_INT(n, 1);
    ASSERT_EQ_INT(got[0] == 7 && got[1] == 8 && got[2] == 9, 1);
    ASSERT_MEM(shoal_array_address(array), numbers, sizeof numbers);
    ASSERT_EQ_INT(shoal_array_acquire(array, SHOAL_NOW), 0); /* nobody left it locked */
    ASSERT_OK(shoal_array_release(array));
    shoal_array_close(array);
}

/* ---- integers in one step ---- */

static const struct {
    char type;
    int64_t least, most;
} integers[] = {{'b', SCHAR_MIN, SCHAR_MAX}, {'B', 0, UCHAR_MAX},
                {'h', SHRT_MIN, SHRT_MAX},   {'H', 0, USHRT_MAX},
                {'i', INT_MIN, INT_MAX},     {'I', 0, UINT_MAX},
                {'l', LONG_MIN, LONG_MAX},   {'L', 0, -1},
                {'q', INT64_MIN, INT64_MAX}, {'Q', 0, -1}};
enum { INTEGERS = sizeof integers / sizeof *integers };

TEST(value_integers_of_every_type_are_added_exchanged_and_compared)
{
    for (int i = 0; i < INTEGERS; i++) {
        int64_t before = 99, expected;
        ASSERT_OK(shoal_value_create(&value, integers[i].type, NULL, 0, NULL));
        ASSERT_OK(shoal_value_add(value, 5, &before));
        ASSERT_EQ_INT(before, 0);
        ASSERT_OK(shoal_value_add(value, -2, &before));
        ASSERT_EQ_INT(before, 5);
        ASSERT_OK(shoal_value_exchange(value, integers[i].most, &before));
        ASSERT_EQ_INT(before, 3);
        ASSERT_OK(shoal_value_add(value, 1, &before)); /* wraps around */
        ASSERT_EQ_INT(before, integers[i].most);
        expected = 44;
        ASSERT_EQ_INT(shoal_value_compare_exchange(value, &expected, 7), 0);
        ASSERT_EQ_INT(expected, integers[i].least);
        ASSERT_EQ_INT(shoal_value_compare_exchange(value, &expected, 7), 1);
        ASSERT_EQ_INT(expected, integers[i].least);
        ASSERT_OK(shoal_value_exchange(value, 0, NULL));
        ASSERT_OK(shoal_value_add(value, 1, NULL));
        ASSERT_OK(shoal_value_exchange(value, 0, &before));
        ASSERT_EQ_INT(before, 1);
        ASSERT_ERR(shoal_value_compare_exchange(value, NULL, 7), -EINVAL);
        shoal_value_close(value);
    }
}

TEST(array_integers_are_changed_where_they_lie_and_nowhere_else)
{
    for (int i = 0; i < INTEGERS; i++) {
        int64_t before, expected = 1;
        ASSERT_OK(shoal_array_create(&array, integers[i].type, 3, NULL, 0, NULL));
        ASSERT_OK(shoal_array_add(array, 1, -1, NULL));
        ASSERT_OK(shoal_array_add(array, 1, 2, NULL));
        ASSERT_OK(shoal_array_exchange(array, 2, 8, &before));
        ASSERT_EQ_INT(before, 0);
        ASSERT_EQ_INT(shoal_array_compare_exchange(array, 1, &expected, 6), 1);
        for (int k = 0; k < 3; k++) {
            ASSERT_OK(shoal_array_add(array, (size_t)k, 0, &before));
            ASSERT_EQ_INT(before, k == 0 ? 0 : k == 1 ? 6 : 8);
        }
        shoal_array_close(array);
    }
}

TEST(value_steps_are_for_integers_only)
{
    for (int i = 0; i < TYPES; i++) {
        int64_t n = 0;
        bool integer = strchr("bBhHiIlLqQ", types[i].type) != NULL;
        ASSERT_OK(shoal_value_create(&value, types[i].type, NULL, 0, NULL));
        ASSERT_EQ_INT(shoal_value_add(value, 1, NULL), integer ? 0 : -EINVAL);
        ASSERT_EQ_INT(shoal_value_exchange(value, 0, NULL), integer ? 0 : -EINVAL);
        ASSERT_EQ_INT(shoal_value_compare_exchange(value, &n, 1), integer ? 1 : -EINVAL);
        shoal_value_close(value);
    }
}

enum { TIMES = 20000, ADDERS = 3 };

static void add_often(void)
{
    for (int i = 0; i < TIMES; i++) {
        int64_t n = 0;
        ASSERT_OK(shoal_value_add(value, 1, NULL));
        ASSERT_OK(shoal_array_add(array, 1, 1, NULL));
        while (!ASSERT_OK(shoal_array_compare_exchange(array, 2, &n, n + 1)))
            ;
    }
}

TEST(value_sums_of_several_processes_lose_nothing)
{
    pid_t pids[ADDERS];
    uint16_t got[4];
    uint64_t sum;
    ASSERT_OK(shoal_value_create(&value, 'Q', NULL, 0, NULL));
    ASSERT_OK(shoal_array_create(&array, 'H', 4, NULL, 0, NULL));
    for (int i = 0; i < ADDERS; i++)
        pids[i] = child(add_often);
    for (int i = 0; i < ADDERS; i++)
        ends_well(pids[i]);
    ASSERT_EQ_INT(shoal_value_get(value, &sum, sizeof sum, SHOAL_FOREVER), 0);
    ASSERT_EQ_U64(sum, ADDERS * TIMES);
    ASSERT_EQ_INT(shoal_array_get(array, 0, 4, got, sizeof got, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT(got[0] | got[3], 0); /* its neighbours in the same word */
    ASSERT_EQ_INT(got[1], ADDERS * TIMES);
    ASSERT_EQ_INT(got[2], ADDERS * TIMES);
    shoal_value_close(value);
    shoal_array_close(array);
}

/* ---- the lock ---- */

static void add_under_lock(void)
{
    double *number = shoal_value_address(value);
    for (int i = 0; i < TIMES; i++) {
        ASSERT_EQ_INT(shoal_value_acquire(value, SHOAL_FOREVER), 0);
        *number += 0.5;
        ASSERT_OK(shoal_value_release(value));
    }
}

TEST(value_lock_makes_turns_of_what_its_holders_do)
{
    pid_t pids[ADDERS];
    double sum;
    ASSERT_OK(shoal_value_create(&value, 'd', &(double){100}, sizeof sum, NULL));
    for (int i = 0; i < ADDERS; i++)
        pids[i] = child(add_under_lock);
    for (int i = 0; i < ADDERS; i++)
        ends_well(pids[i]);
    ASSERT_EQ_INT(shoal_value_get(value, &sum, sizeof sum, SHOAL_FOREVER), 0);
    ASSERT_EQ_DOUBLE(sum, 100 + ADDERS * TIMES / 2.0);
    shoal_value_close(value);
}

static void try_in_vain(void)
{
    int n = 9;
    ASSERT_ERR(shoal_value_acquire(value, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_value_get(value, &n, sizeof n, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_value_set(value, &n, sizeof n, shoal_after(0.005)), -ETIMEDOUT);
    ASSERT_ERR(shoal_array_get(array, 0, 1, &n, sizeof n, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_array_set(array, 0, 1, &n, sizeof n, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_value_release(value), -EPERM);
    ASSERT_EQ_INT(n, 9);
    ASSERT_OK(shoal_value_add(value, 1, NULL)); /* takes no lock */
}

TEST(value_lock_is_recursive_and_may_be_shared)
{
    shoal_value_options shared = {0};
    int n = 5;
    ASSERT_OK(shoal_value_create(&value, 'i', NULL, 0, NULL));
    shared.lock = shoal_value_get_lock(value);
    ASSERT_NOT_NULL(shared.lock);
    ASSERT_OK(shoal_array_create(&array, 'i', 1, NULL, 0, &shared));
    ASSERT_EQ_PTR(shoal_array_get_lock(array), shared.lock);
    ASSERT_EQ_INT(shoal_array_acquire(array, SHOAL_NOW), 0);
    ASSERT_EQ_INT(shoal_value_acquire(value, SHOAL_NOW), 0);
    ASSERT_EQ_INT(shoal_rlock_count(shared.lock), 2);
    ASSERT_EQ_INT(shoal_value_set(value, &n, sizeof n, SHOAL_NOW), 0);
    ASSERT_EQ_INT(shoal_rlock_count(shared.lock), 2);
    ends_well(child(try_in_vain));
    ASSERT_EQ_INT(*(int *)shoal_value_address(value), 6);
    ASSERT_OK(shoal_value_release(value));
    shoal_value_close(value); /* the array has it still */
    ASSERT_OK(shoal_array_release(array));
    ASSERT_ERR(shoal_array_release(array), -EPERM);
    ASSERT_EQ_INT(shoal_rlock_locked(shared.lock), 0);
    shoal_array_close(array);
    ASSERT_ERR(shoal_rlock_locked(shared.lock), -EBADF);
}

TEST(value_without_lock_has_none)
{
    shoal_value_options options = {.flags = SHOAL_UNLOCKED};
    shoal_statistics s;
    int n = 5;
    ASSERT_OK(shoal_value_create(&value, 'i', NULL, 0, &options));
    ASSERT_OK(shoal_memory_statistics(&s));
    ASSERT_EQ_INT(s.objects, 1);
    ASSERT_NULL(shoal_value_get_lock(value));
    ASSERT_ERR(shoal_value_acquire(value, SHOAL_FOREVER), -EINVAL);
    ASSERT_STR(shoal_error_detail(), "shoal_value_acquire: it was made without a lock");
    ASSERT_ERR(shoal_value_release(value), -EINVAL);
    ASSERT_EQ_INT(shoal_value_set(value, &n, sizeof n, SHOAL_NOW), 0);
    ASSERT_OK(shoal_value_add(value, 1, NULL));
    ASSERT_EQ_INT(shoal_value_get(value, &n, sizeof n, SHOAL_NOW), 0);
    ASSERT_EQ_INT(n, 6);
    shoal_value_close(value);
}

static void hold_half_done(void)
{
    ASSERT_EQ_INT(shoal_array_acquire(array, SHOAL_FOREVER), 0);
    *(int *)shoal_array_address(array) = 1;
    ASSERT_OK(shoal_value_add(value, 1, NULL));
    for (;;)
        pause();
}

TEST(array_whose_holder_was_killed_is_there_and_tells)
{
    int got[2], n = 0;
    ASSERT_OK(value_create(&value));
    ASSERT_OK(shoal_array_create(&array, 'i', 2, NULL, 0, NULL));
    pid_t pid = child(hold_half_done);
    while (!n) {
        nap();
        ASSERT_EQ_INT(shoal_value_get(value, &n, sizeof n, SHOAL_FOREVER), 0);
    }
    kill_and_reap(pid);
    ASSERT_EQ_INT(shoal_array_get(array, 0, 2, got, sizeof got, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    ASSERT_EQ_INT(got[0], 1);
    ASSERT_EQ_INT(got[1], 0);
    ASSERT_EQ_INT(shoal_array_get(array, 0, 2, got, sizeof got, SHOAL_FOREVER), 0);
    shoal_value_close(value);
    shoal_array_close(array);
}

/* ---- between processes ---- */

static shoal_reference reference;
static _Atomic long *shared;
static shoal_memory *box;

static void open_and_use(void)
{
    shoal_array *opened;
    double number;
    ASSERT_OK(shoal_array_open(&opened, &reference));
    ASSERT_EQ_INT(shoal_array_type(opened), 'd');
    ASSERT_EQ_U64(shoal_array_length(opened), 2);
    ASSERT_EQ_INT(shoal_array_acquire(opened, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT(shoal_array_get(opened, 1, 1, &number, sizeof number, SHOAL_FOREVER), 0);
    number += 1;
    ASSERT_EQ_INT(shoal_array_set(opened, 0, 1, &number, sizeof number, SHOAL_FOREVER), 0);
    ASSERT_OK(shoal_array_release(opened));
    shoal_rlock *lock = shoal_array_get_lock(opened);
    shoal_array_close(opened);
    ASSERT_ERR(shoal_rlock_locked(lock), -EBADF);
}

/* The child is there before the array, so it inherits no hold of it. */
static void wait_and_use(void)
{
    until_word(&shared[0], 1);
    memcpy(&reference, shoal_memory_address(box), sizeof reference);
    open_and_use();
}

TEST(array_opened_by_its_reference_comes_with_its_lock)
{
    double numbers[2] = {1, 2};
    shared = words_open();
    ASSERT_OK(shoal_memory_create(&box, sizeof reference, NULL));
    pid_t pid = child(wait_and_use);
    ASSERT_OK(shoal_array_create(&array, 'd', 2, numbers, sizeof numbers, NULL));
    ASSERT_OK(shoal_array_reference(array, &reference));
    memcpy(shoal_memory_address(box), &reference, sizeof reference);
    atomic_store(&shared[0], 1);
    ends_well(pid);
    ASSERT_EQ_DOUBLE(*(double *)shoal_array_address(array), 3);
    shoal_array_close(array);
    shoal_memory_close(box);
    words_close();
}
