/* list: what container.h promises of lists. */
#include "manager/list.h"
#include "containers.h"

static shoal_list *list;

static void setup(void)
{
    ASSERT_OK(shoal_list_create(&list, NULL));
}

static void done(void)
{
    shoal_list_close(list);
    ASSERT_EQ_INT(objects(), 0);
}

/* Where children were, whose deaths nobody may have noticed. */
static void done_among_others(void)
{
    shoal_list_close(list);
}

static int use(shoal_list *l)
{
    int64_t length = shoal_list_length(l);
    return length < 0 ? (int)length : 0;
}
static int create(shoal_list **ret)
{
    return shoal_list_create(ret, NULL);
}
COMMON_TESTS(list, create, use)

static shoal_any *all(void)
{
    shoal_any *any;
    ASSERT_OK(shoal_list_slice(list, NULL, &any));
    return any;
}

#define APPEND(any) ASSERT_OK(WITH(any, shoal_list_append(list, it)))
static shoal_any *range(int n)
{
    shoal_any *any = shoal_any_list();
    for (int i = 0; i < n; i++)
        ASSERT_OK(shoal_any_append(any, shoal_any_int(i)));
    return any;
}
static void fill(int n)
{
    ASSERT_OK(WITH(range(n), shoal_list_extend(list, it)));
}
static int64_t int_at(int64_t i)
{
    int64_t n;
    ASSERT_OK(shoal_list_get_int(list, i, &n));
    return n;
}

TEST(list_options_are_checked)
{
    shoal_container_options options = {.flags = 1};
    ASSERT_ERR(shoal_list_create(&list, &options), -EINVAL);
    options =
        (shoal_container_options){.name = "names of more than forty-seven bytes are too long"};
    ASSERT_ERR(shoal_list_create(&list, &options), -EINVAL);
    options.name = "a list";
    ASSERT_OK(shoal_list_create(&list, &options));
    done();
}

TEST(list_gives_back_what_was_put)
{
    setup();
    for (uint32_t n = 0; n < 300; n++)
        APPEND(value_of(n));
    ASSERT_EQ_INT(shoal_list_length(list), 300);
    for (uint32_t n = 0; n < 300; n++) {
        shoal_any *any;
        ASSERT_OK(shoal_list_get(list, n, &any));
        ASSERT_SAME(any, value_of(n));
        ASSERT_OK(shoal_list_get(list, (int64_t)n - 300, &any));
        ASSERT_SAME(any, value_of(n));
    }
    shoal_any *any;
    ASSERT_ERR(shoal_list_get(list, 300, &any), -ERANGE);
    ASSERT_ERR(shoal_list_get(list, -301, &any), -ERANGE);
    done();
}

TEST(list_takes_only_what_it_can_hold)
{
    setup();
    shoal_any *any;
    int64_t n;
    ASSERT_ERR(shoal_list_append(list, NULL), -EINVAL);
    ASSERT_ERR(shoal_list_get(list, 0, NULL), -EINVAL);
    ASSERT_ERR(shoal_list_get(list, 0, &any), -ERANGE);
    ASSERT_ERR(shoal_list_pop(list, -1, NULL), -ERANGE);
    ASSERT_ERR(shoal_list_set_int(list, 0, 1), -ERANGE);
    ASSERT_ERR(WITH(shoal_any_int(1), shoal_list_extend(list, it)), -EINVAL);
    ASSERT_ERR(WITH(shoal_any_int(1), shoal_list_remove(list, it)), -ENOENT);
    ASSERT_ERR(WITH(shoal_any_int(1), shoal_list_index(list, it, SHOAL_OMITTED, SHOAL_OMITTED)),
               -ENOENT);
    ASSERT_ERR(shoal_list_sort(list, 2), -EINVAL);
    APPEND(shoal_any_str("text"));
    ASSERT_ERR(shoal_list_get_int(list, 0, &n), -EINVAL);
    ASSERT_ERR(WITH(shoal_any_int(1), shoal_list_add(list, 0, it, NULL)), -EINVAL);
    ASSERT_EQ_INT(shoal_list_length(list), 1);
    done();
}

TEST(list_bytes_go_in_and_out_without_anys)
{
    setup();
    char in[5000], out[5000];
    size_t size;
    memset(in, 'x', sizeof in);
    for (size_t n = 0; n < sizeof in; n = n * 2 + 1)
        ASSERT_OK(shoal_list_append_bytes(list, in, n));
    int64_t i = 0;
    for (size_t n = 0; n < sizeof in; n = n * 2 + 1, i++) {
        ASSERT_OK(shoal_list_get_bytes(list, i, out, sizeof out, &size));
        ASSERT_EQ_INT(size, n);
        ASSERT_MEM(in, out, n);
        if (n)
            ASSERT_ERR(shoal_list_get_bytes(list, i, out, n - 1, &size), -EMSGSIZE);
        ASSERT_EQ_INT(size, n);
    }
    ASSERT_ERR(shoal_list_append_bytes(list, NULL, 1), -EINVAL);
    done();
}

/* ---- against a model ---- */

enum { MOST = 3000 };
static shoal_any *model[MOST * 2];
static int length;

static shoal_any *model_slice(int64_t start, int64_t step, int64_t count)
{
    shoal_any *any = shoal_any_list();
    for (int64_t n = 0; n < count; n++)
        ASSERT_OK(shoal_any_append(any, shoal_any_copy(model[start + n * step])));
    return any;
}
static void model_insert(int at, shoal_any *any)
{
    memmove(model + at + 1, model + at, (size_t)(length++ - at) * sizeof *model);
    model[at] = any;
}
static shoal_any *model_take(int at)
{
    shoal_any *any = model[at];
    memmove(model + at, model + at + 1, (size_t)(--length - at) * sizeof *model);
    return any;
}

static void random_slice(shoal_slice *slice)
{
    int64_t start = (int64_t)(random_next() % (unsigned)(length * 2 + 2)) - length;
    int64_t stop = (int64_t)(random_next() % (unsigned)(length * 2 + 2)) - length;
    int64_t step = (int64_t)(random_next() % 9) - 4;
    *slice = (shoal_slice){random_next() % 4 ? start : SHOAL_OMITTED,
                           random_next() % 4 ? stop : SHOAL_OMITTED, step};
}

static void change_slice(void)
{
    shoal_slice slice;
    int64_t start, step, count;
    random_slice(&slice);
    slice_resolve(&slice, length, &start, &step, &count);
    if (random_next() % 2) {
        ASSERT_OK(shoal_list_delete_slice(list, &slice));
        for (int64_t n = 0; n < count; n++) /* from the last one on */
            shoal_any_free(
                model_take((int)(step > 0 ? start + (count - 1 - n) * step : start + n * step)));
        return;
    }
    uint32_t n = random_next() % 30, seed = random_next();
    if (step != 1 && n % 3)
        n = (uint32_t)count;
    shoal_any *items = shoal_any_list();
    for (uint32_t i = 0; i < n; i++)
        ASSERT_OK(shoal_any_append(items, value_of(seed + i)));
    int rc = shoal_list_set_slice(list, &slice, items);
    shoal_any_free(items);
    if (step != 1 && n != count) {
        ASSERT_ERR(rc, -EINVAL);
        return;
    }
    ASSERT_OK(rc);
    for (uint32_t i = 0; step != 1 && i < n; i++) {
        shoal_any_free(model[start + i * step]);
        model[start + i * step] = value_of(seed + i);
    }
    for (int64_t i = 0; step == 1 && i < count; i++)
        shoal_any_free(model_take((int)start));
    for (uint32_t i = 0; step == 1 && i < n; i++)
        model_insert((int)(start + i), value_of(seed + i));
}

static void change_at_random(int most)
{
    uint32_t what = random_next() % 20, n = random_next(), at = length ? n % (unsigned)length : 0;
    shoal_any *any;
    if (length > most)
        what = 10 + what % 4;
    if (length + 40 > most && what >= 16)
        what = 10;
    switch (what) {
    case 0:
    case 1:
    case 2:
        APPEND(value_of(n));
        model_insert(length, value_of(n));
        break;
    case 3:
    case 4:
        ASSERT_OK(WITH(value_of(n), shoal_list_insert(list, 0, it)));
        model_insert(0, value_of(n));
        break;
    case 5:
    case 6:
    case 7:
        ASSERT_OK(
            WITH(value_of(n), shoal_list_insert(list, (int64_t)at - (n & 1 ? length : 0), it)));
        model_insert((int)at, value_of(n));
        break;
    case 8:
    case 9:
        if (!length)
            break;
        ASSERT_OK(WITH(value_of(n), shoal_list_set(list, at, it)));
        shoal_any_free(model[at]);
        model[at] = value_of(n);
        break;
    case 10:
    case 11:
    case 12:
    case 13:
        if (!length)
            break;
        at = what == 10 ? 0 : what == 11 ? (unsigned)length - 1 : at;
        ASSERT_OK(shoal_list_pop(list, at, &any));
        ASSERT_SAME(any, model_take((int)at));
        break;
    case 14:
        if (!length)
            break;
        for (int i = 0;; i++)
            if (shoal_any_equal(model[i], model[at])) {
                ASSERT_EQ_INT(shoal_list_index(list, model[at], SHOAL_OMITTED, SHOAL_OMITTED), i);
                ASSERT_OK(shoal_list_remove(list, model[at]));
                shoal_any_free(model_take(i));
                break;
            }
        break;
    case 15:
        ASSERT_OK(shoal_list_reverse(list));
        for (int i = 0; i < length / 2; i++) {
            any = model[i];
            model[i] = model[length - 1 - i];
            model[length - 1 - i] = any;
        }
        break;
    case 16: {
        shoal_any *items = shoal_any_tuple();
        shoal_any_free(items);
        items = shoal_any_list();
        for (uint32_t i = 0; i < n % 40; i++) {
            ASSERT_OK(shoal_any_append(items, value_of(n + i)));
            model_insert(length, value_of(n + i));
        }
        ASSERT_OK(WITH(items, shoal_list_extend(list, it)));
        break;
    }
    case 17:
    case 18: change_slice(); break;
    default: {
        shoal_slice slice;
        int64_t start, step, count;
        random_slice(&slice);
        slice_resolve(&slice, length, &start, &step, &count);
        ASSERT_OK(shoal_list_slice(list, &slice, &any));
        ASSERT_SAME(any, model_slice(start, step, count));
        break;
    }
    }
}

static void check_model(void)
{
    ASSERT_EQ_INT(shoal_list_length(list), length);
    ASSERT_SAME(all(), model_slice(0, 1, length));
}

static void run_model(int rounds, int most)
{
    setup();
    for (int i = 0; i < rounds; i++) {
        change_at_random(most);
        if (i % 64 == 0 || most < 20)
            check_model();
    }
    check_model();
    while (length)
        shoal_any_free(model_take(length - 1));
    done();
}

TEST(list_behaves_as_a_model_while_it_is_small)
{
    run_model(4000, 12);
}

TEST(list_behaves_as_a_model_of_one_chunk)
{
    run_model(6000, 200);
}

TEST(list_behaves_as_a_model_of_many_chunks)
{
    setup();
    for (int i = 0; i < 1200; i++) {
        APPEND(shoal_any_int(i));
        model_insert(length, shoal_any_int(i));
    }
    for (int i = 0; i < 4000; i++) {
        change_at_random(MOST);
        if (i % 200 == 0)
            check_model();
    }
    check_model();
    while (length)
        shoal_any_free(model_take(length - 1));
    done();
}

/* ---- the rest ---- */

TEST(list_of_many_items_is_reached_everywhere)
{
    enum { MANY = 100000 };
    setup();
    for (int i = 0; i < MANY; i++)
        ASSERT_OK(shoal_list_append_int(list, i));
    for (int i = 0; i < MANY; i += 37)
        ASSERT_EQ_INT(int_at(i), i);
    for (int i = 0; i < 3000; i++)
        ASSERT_OK(WITH(shoal_any_int(-i), shoal_list_insert(list, 0, it)));
    ASSERT_EQ_INT(int_at(0), -2999);
    ASSERT_EQ_INT(int_at(3000 + 777), 777);
    for (int i = 0; i < 3000; i++)
        ASSERT_OK(shoal_list_pop(list, 0, NULL));
    ASSERT_EQ_INT(int_at(12345), 12345);
    for (int i = 0; i < 1000; i++)
        ASSERT_OK(shoal_list_pop(list, 50000, NULL));
    ASSERT_EQ_INT(int_at(50000), 51000);
    ASSERT_EQ_INT(int_at(-1), MANY - 1);
    ASSERT_EQ_INT(shoal_list_length(list), MANY - 1000);
    done();
}

/* As if each of those who took the last items had died before he made the list anew. */
TEST(list_that_was_emptied_by_the_dead_goes_on)
{
    enum { TAKEN = 3200, FRONT = 300, LAST = TAKEN + 2400 };
    struct site site;
    char text[2000] = "";
    uint64_t capacity;
    int64_t number;

    setup();
    for (int i = 0; i < 512; i++)
        ASSERT_OK(shoal_list_append_int(list, i));
    for (int i = 0; i < 11; i++) /* so that there is room for another chunk */
        ASSERT_OK(WITH(shoal_any_bytes(text, sizeof(text)), shoal_list_set(list, i, it)));
    site_at(&site, handle_of(list)->header);
    unsigned now = atomic_load(&site.stores->state) >> 3 & 3;
    struct list_root *root = (void *)store_run(site.stores, now, &capacity);
    ASSERT_NOT_NULL(root);
    atomic_store(&root->begin, atomic_load(&root->end));
    int last = 0, first = 0;
    while (last < 1500)
        ASSERT_OK(shoal_list_append_int(list, last++));
    for (; first < 600; first++)
        ASSERT_OK(shoal_list_pop(list, 0, NULL));
    while (last < 2600)
        ASSERT_OK(shoal_list_append_int(list, last++));
    for (; first < TAKEN; first++) {
        ASSERT_OK(shoal_list_pop(list, 0, NULL));
        ASSERT_OK(shoal_list_append_int(list, last++));
    }
    for (int i = 1; i <= FRONT; i++)
        ASSERT_OK(WITH(shoal_any_int(-i), shoal_list_insert(list, 0, it)));
    while (last < LAST)
        ASSERT_OK(shoal_list_append_int(list, last++));
    for (int i = 0; i < FRONT + LAST - TAKEN; i++) {
        ASSERT_OK(shoal_list_get_int(list, i, &number));
        ASSERT_EQ_INT(number, i < FRONT ? i - FRONT : TAKEN + i - FRONT);
    }
    done();
}

TEST(list_of_millions_of_items_is_cleared)
{
    enum { MILLIONS = 2200000 };
    shoal_list *full;
    shoal_any **items = calloc(MILLIONS, sizeof(*items));
    ASSERT_NOT_NULL(items);
    ASSERT_OK(shoal_list_create(&full, NULL));
    for (int i = 0; i < MILLIONS; i++)
        items[i] = shoal_any_int(i);
    ASSERT_OK(WITH(shoal_any_list_from(items, MILLIONS), shoal_list_extend(full, it)));
    ASSERT_EQ_INT(shoal_list_length(full), MILLIONS);
    ASSERT_OK(shoal_list_clear(full));
    ASSERT_EQ_INT(shoal_list_length(full), 0);
    shoal_list_close(full);
    free(items);
}

/* Whatever is left of the arena: it is filled by and by. */
TEST(list_chunk_that_is_parted_has_room_for_both_halves)
{
    enum { FULL = 512, WHERE = 300 };
    char text[16] = "sixteen letters";

    for (int k = 100; k < WHERE; k++) {
        shoal_list *full;
        int64_t number;
        size_t size;
        ASSERT_OK(shoal_list_create(&full, NULL));
        for (int i = 0; i < FULL; i++)
            ASSERT_OK(shoal_list_append_int(full, i));
        for (int i = 0; i < k; i++)
            ASSERT_OK(WITH(shoal_any_bytes(text, sizeof text), shoal_list_set(full, i, it)));
        ASSERT_OK(WITH(shoal_any_int(-1), shoal_list_insert(full, WHERE, it)));
        for (int i = 0; i < FULL / 4 - 1; i++)
            ASSERT_OK(shoal_list_append_int(full, FULL + i));
        for (int i = 0; i < 5; i++)
            ASSERT_OK(WITH(shoal_any_bytes(text, sizeof text), shoal_list_set(full, i, it)));
        for (int i = 0; i < k; i++) {
            char bytes[sizeof text] = "";
            ASSERT_OK(shoal_list_get_bytes(full, i, bytes, sizeof bytes, &size));
            ASSERT_EQ_INT(memcmp(bytes, text, sizeof text), 0);
        }
        for (int i = k; i < FULL + FULL / 4; i++) {
            ASSERT_OK(shoal_list_get_int(full, i, &number));
            ASSERT_EQ_INT(number, i == WHERE ? -1 : i < WHERE ? i : i - 1);
        }
        shoal_list_close(full);
    }
}

TEST(list_memory_follows_what_is_in_it)
{
    setup();
    int64_t least = shoal_list_bytes(list);
    for (int i = 0; i < 50000; i++)
        ASSERT_OK(shoal_list_append_int(list, i));
    ASSERT_LT_INT(50000 * 8, shoal_list_bytes(list));
    ASSERT_LT_INT(shoal_list_bytes(list), 50000 * 8 * 4);
    for (int i = 0; i < 50000; i++)
        ASSERT_OK(shoal_list_pop(list, i % 2 - 1 ? -1 : 0, NULL));
    ASSERT_EQ_INT(shoal_list_bytes(list), least);
    fill(10000);
    ASSERT_OK(shoal_list_clear(list));
    ASSERT_EQ_INT(shoal_list_bytes(list), least);
    ASSERT_EQ_INT(shoal_list_length(list), 0);
    done();
}

TEST(list_sorts_as_python_does)
{
    setup();
    APPEND(shoal_any_float(2.5));
    APPEND(shoal_any_int(3));
    APPEND(shoal_any_bool(true));
    APPEND(shoal_any_int(1));
    APPEND(shoal_any_float(-1e300));
    ASSERT_OK(shoal_list_sort(list, 0));
    ASSERT_SAME(all(), shoal_any_list(shoal_any_float(-1e300), shoal_any_bool(true),
                                      shoal_any_int(1), shoal_any_float(2.5), shoal_any_int(3)));
    ASSERT_OK(shoal_list_sort(list, SHOAL_DESCENDING));
    shoal_any *any;
    ASSERT_OK(shoal_list_get(list, 2, &any));
    ASSERT_EQ_INT(shoal_any_kind(any), SHOAL_ANY_BOOL); /* equal ones stay as they were */
    shoal_any_free(any);
    APPEND(shoal_any_str("text"));
    ASSERT_ERR(shoal_list_sort(list, 0), -EINVAL);
    ASSERT_EQ_INT(int_at(0), 3);
    done();
}

/* With the sanitizers: nothing is counted beyond them. */
TEST(list_slice_steps_may_be_as_large_as_numbers_are)
{
    setup();
    shoal_any *any;
    fill(3);
    shoal_slice slice = {2, SHOAL_OMITTED, INT64_MAX};
    ASSERT_OK(shoal_list_slice(list, &slice, &any));
    ASSERT_SAME(any, shoal_any_list(shoal_any_int(2)));
    slice = (shoal_slice){1, SHOAL_OMITTED, -INT64_MAX};
    ASSERT_OK(shoal_list_slice(list, &slice, &any));
    ASSERT_SAME(any, shoal_any_list(shoal_any_int(1)));
    done();
}

TEST(list_equals_what_has_the_same_items)
{
    setup();
    ASSERT_EQ_INT(WITH(shoal_any_list(), shoal_list_equal(list, it)), 1);
    ASSERT_OK(shoal_list_append_int(list, 1));
    ASSERT_OK(WITH(shoal_any_str("a"), shoal_list_append(list, it)));
    ASSERT_EQ_INT(WITH(shoal_any_list(shoal_any_bool(true), shoal_any_str("a")),
                       shoal_list_equal(list, it)),
                  1);
    ASSERT_EQ_INT(WITH(shoal_any_list(shoal_any_str("a"), shoal_any_int(1)),
                       shoal_list_equal(list, it)),
                  0);
    ASSERT_EQ_INT(WITH(shoal_any_list(shoal_any_int(1)), shoal_list_equal(list, it)), 0);
    ASSERT_EQ_INT(WITH(shoal_any_tuple(shoal_any_int(1), shoal_any_str("a")),
                       shoal_list_equal(list, it)),
                  0);
    ASSERT_ERR(shoal_list_equal(list, NULL), -EINVAL);
    done();
}

TEST(list_searches_by_equality)
{
    setup();
    fill(2000);
    APPEND(shoal_any_int(7));
    ASSERT_EQ_INT(WITH(shoal_any_float(7), shoal_list_count(list, it)), 2);
    ASSERT_EQ_INT(WITH(shoal_any_int(7), shoal_list_index(list, it, 8, SHOAL_OMITTED)), 2000);
    ASSERT_ERR(WITH(shoal_any_int(7), shoal_list_index(list, it, 8, 2000)), -ENOENT);
    ASSERT_EQ_INT(WITH(shoal_any_str("7"), shoal_list_contains(list, it)), 0);
    ASSERT_EQ_INT(WITH(shoal_any_bool(true), shoal_list_contains(list, it)), 1);
    ASSERT_ERR(shoal_list_contains(list, NULL), -EINVAL);
    done();
}

TEST(list_numbers_are_added_to_in_one_step)
{
    setup();
    shoal_any *any;
    fill(3);
    ASSERT_OK(WITH(shoal_any_int(5), shoal_list_add(list, 1, it, &any)));
    ASSERT_SAME(any, shoal_any_int(6));
    ASSERT_OK(WITH(shoal_any_float(0.1), shoal_list_add(list, -1, it, NULL)));
    ASSERT_OK(shoal_list_get(list, 2, &any));
    ASSERT_SAME(any, shoal_any_float(2.1));
    ASSERT_OK(shoal_list_set_int(list, 0, INT64_MAX));
    ASSERT_ERR(WITH(shoal_any_int(1), shoal_list_add(list, 0, it, NULL)), -EOVERFLOW);
    ASSERT_EQ_INT(int_at(0), INT64_MAX);
    shoal_any *one = shoal_any_float(6), *two = shoal_any_str("two");
    ASSERT_EQ_INT(shoal_list_compare_and_set(list, 1, one, two), 1);
    ASSERT_EQ_INT(shoal_list_compare_and_set(list, 1, one, two), 0);
    ASSERT_ERR(shoal_list_compare_and_set(list, 9, one, two), -ERANGE);
    shoal_any_free(one);
    shoal_any_free(two);
    done();
}

/* ---- nesting ---- */

TEST(list_in_a_list_lives_as_long_as_it_is_there)
{
    shoal_list *inner, *again;
    shoal_reference r;
    shoal_any *any;
    setup();
    ASSERT_OK(shoal_list_create(&inner, NULL));
    ASSERT_OK(shoal_list_append_int(inner, 42));
    APPEND(shoal_any_object(inner));
    APPEND(shoal_any_tuple(shoal_any_int(1), shoal_any_object(inner)));
    shoal_list_close(inner);
    ASSERT_OK(shoal_list_get(list, 0, &any));
    ASSERT_OK(shoal_any_as_reference(any, &r));
    ASSERT_OK(shoal_list_open(&again, &r));
    shoal_any_free(any);
    ASSERT_OK(shoal_list_append_int(again, 43));
    ASSERT_EQ_INT(shoal_list_length(again), 2);
    shoal_list_close(again);
    ASSERT_OK(shoal_list_pop(list, 0, NULL));
    ASSERT_OK(shoal_list_open(&again, &r)); /* the tuple has it still */
    shoal_list_close(again);
    ASSERT_OK(shoal_list_clear(list));
    ASSERT_ERR(shoal_list_open(&again, &r), -ESTALE);
    ASSERT_EQ_INT(objects(), 1);
    done();
}

TEST(list_that_contains_itself_ends_with_its_last_handle)
{
    shoal_list *other;
    setup();
    ASSERT_OK(shoal_list_create(&other, NULL));
    APPEND(shoal_any_object(list));
    APPEND(shoal_any_object(other));
    ASSERT_OK(WITH(shoal_any_object(list), shoal_list_append(other, it)));
    shoal_list_close(other);
    done();
}

TEST(list_of_lists_of_any_depth_ends_with_the_outermost)
{
    setup();
    for (int i = 0; i < 1000; i++) {
        shoal_list *outer;
        ASSERT_OK(shoal_list_create(&outer, NULL));
        ASSERT_OK(WITH(shoal_any_object(list), shoal_list_append(outer, it)));
        shoal_list_close(list);
        list = outer;
    }
    ASSERT_LT_INT(1000, objects());
    done();
}

/* ---- several processes ---- */

enum { EACH = 3000, WRITERS = 4 };

static void append_many(void)
{
    for (int i = 0; i < EACH; i++)
        APPEND(value_of((uint32_t)i));
}

TEST(list_appends_of_many_processes_are_all_there)
{
    pid_t pids[WRITERS];
    setup();
    for (int i = 0; i < WRITERS; i++)
        pids[i] = child(append_many);
    while (shoal_list_length(list) < EACH * WRITERS) {
        int64_t n = shoal_list_length(list);
        shoal_any *any;
        if (!n)
            continue;
        ASSERT_OK(shoal_list_get(list, n - 1, &any));
        shoal_any_free(any);
    }
    for (int i = 0; i < WRITERS; i++)
        ends_well(pids[i]);
    ASSERT_EQ_INT(shoal_list_length(list), EACH * WRITERS);
    ASSERT_EQ_INT(WITH(value_of(7), shoal_list_count(list, it)), WRITERS);
    done_among_others();
}

static _Atomic long *words;

/* All items are the same, at each moment. */
static void set_all(void)
{
    for (int n = 0; n < 1500; n++) {
        shoal_any *items = shoal_any_list();
        for (int i = 0; i < 40; i++)
            ASSERT_OK(shoal_any_append(items, value_of((uint32_t)n)));
        ASSERT_OK(WITH(items, shoal_list_set_slice(list, NULL, it)));
    }
    atomic_fetch_add(&words[0], 1);
}

TEST(list_slices_are_of_one_moment)
{
    pid_t pids[2];
    words = words_open();
    setup();
    for (int i = 0; i < 2; i++)
        pids[i] = child(set_all);
    while (atomic_load(&words[0]) < 2) {
        const shoal_any *first, *other;
        shoal_any *any = all();
        for (int64_t i = 1; i < shoal_any_count(any); i++) {
            ASSERT_OK(shoal_any_at(any, 0, &first));
            ASSERT_OK(shoal_any_at(any, i, &other));
            ASSERT_EQ_INT(shoal_any_equal(first, other), 1);
        }
        shoal_any_free(any);
    }
    for (int i = 0; i < 2; i++)
        ends_well(pids[i]);
    words_close();
    done_among_others();
}

enum { LONG = 3000, LONG_ITEMS = 2000 };

static shoal_any *long_item(uint32_t n)
{
    char text[LONG];
    memset(text, 'a' + (int)(n % 26), sizeof text);
    return shoal_any_str_sized(text, sizeof text);
}

/* A long item is opened after the look that found it; most looks find one that is gone by then. */
static void replace_long_items(void)
{
    while (!atomic_load(&words[0])) {
        uint32_t n = random_next();
        ASSERT_OK(WITH(long_item(n), shoal_list_set(list, n % LONG_ITEMS, it)));
        atomic_store(&words[1], 1);
    }
}

TEST(list_of_long_items_is_looked_at_beside_one_who_always_replaces_some)
{
    words = words_open();
    setup();
    for (uint32_t i = 0; i < LONG_ITEMS; i++)
        APPEND(long_item(i));
    pid_t pid = child(replace_long_items);
    until_word(&words[1], 1);
    for (int i = 0; i < 20; i++) {
        shoal_any *any = all();
        ASSERT_EQ_INT(shoal_any_count(any), LONG_ITEMS);
        shoal_any_free(any);
        ASSERT_EQ_INT(WITH(shoal_any_str("none"), shoal_list_count(list, it)), 0);
        ASSERT_ERR(WITH(shoal_any_str("none"), shoal_list_index(list, it, 0, LONG_ITEMS)), -ENOENT);
    }
    atomic_store(&words[0], 1);
    ends_well(pid);
    words_close();
    done_among_others();
}

static void count_in_steps(void)
{
    for (int i = 0; i < 5000; i++) {
        ASSERT_OK(shoal_list_acquire(list, SHOAL_FOREVER));
        int64_t n = int_at(0);
        ASSERT_OK(shoal_list_set_int(list, 0, n + 1));
        ASSERT_OK(shoal_list_release(list));
    }
}

TEST(list_that_is_acquired_is_changed_by_its_holder_only)
{
    pid_t pids[3];
    setup();
    ASSERT_OK(shoal_list_append_int(list, 0));
    for (int i = 0; i < 3; i++)
        pids[i] = child(count_in_steps);
    for (int i = 0; i < 3; i++)
        ends_well(pids[i]);
    ASSERT_EQ_INT(int_at(0), 15000);
    ASSERT_OK(shoal_list_acquire(list, SHOAL_NOW));
    ASSERT_ERR(shoal_list_acquire(list, SHOAL_NOW), -EDEADLK);
    ASSERT_OK(shoal_list_release(list));
    ASSERT_ERR(shoal_list_release(list), -EPERM);
    done_among_others();
}

static void die_holding(void)
{
    ASSERT_OK(shoal_list_acquire(list, SHOAL_FOREVER));
    ASSERT_OK(shoal_list_append_int(list, 1));
    kill(getpid(), SIGKILL);
}

static void acquire_in_vain(void)
{
    ASSERT_ERR(shoal_list_acquire(list, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_list_acquire(list, shoal_after(0.01)), -ETIMEDOUT);
    ASSERT_EQ_INT(shoal_list_length(list), 1); /* who looks is kept out by nobody */
}

TEST(list_acquired_after_a_death_says_so)
{
    setup();
    pid_t pid = child(die_holding);
    ASSERT_SYS(waitpid(pid, NULL, 0));
    ASSERT_OK(shoal_list_append_int(list, 2)); /* who only changes it is not told */
    ASSERT_EQ_INT(shoal_list_acquire(list, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    ASSERT_EQ_INT(shoal_list_length(list), 2);
    ASSERT_OK(shoal_list_pop(list, 0, NULL));
    ends_well(child(acquire_in_vain));
    ASSERT_OK(shoal_list_release(list));
    ASSERT_OK(shoal_list_acquire(list, SHOAL_FOREVER));
    ASSERT_OK(shoal_list_release(list));
    done_among_others();
}
