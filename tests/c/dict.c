/* dict: what container.h promises of dicts. */
#include "manager/dict.h"
#include "containers.h"

static shoal_dict *dict;

static void setup(void)
{
    ASSERT_OK(shoal_dict_create(&dict, NULL));
}

static void done(void)
{
    shoal_dict_close(dict);
    ASSERT_EQ_INT(objects(), 0);
}

/* Where children were, whose deaths nobody may have noticed. */
static void done_among_others(void)
{
    shoal_dict_close(dict);
}

static int use(shoal_dict *d)
{
    int64_t length = shoal_dict_length(d);
    return length < 0 ? (int)length : 0;
}
static int create(shoal_dict **ret)
{
    return shoal_dict_create(ret, NULL);
}
COMMON_TESTS(dict, create, use)

static shoal_any *all(void)
{
    shoal_any *any;
    ASSERT_OK(shoal_dict_copy(dict, &any));
    return any;
}

static int set(shoal_any *key, shoal_any *value)
{
    ASSERT_NOT_NULL(key);
    ASSERT_NOT_NULL(value);
    int rc = shoal_dict_set(dict, key, value);
    shoal_any_free(key);
    shoal_any_free(value);
    return rc;
}
static shoal_any *get(shoal_any *key)
{
    shoal_any *value = NULL;
    int rc = shoal_dict_get(dict, key, &value);
    shoal_any_free(key);
    ASSERT_TRUE(rc == 0 || rc == -ENOENT);
    return value;
}
static int64_t int_of(const char *key)
{
    int64_t n;
    ASSERT_OK(shoal_dict_get_int(dict, key, strlen(key), &n));
    return n;
}

TEST(dict_keys_are_compared_as_in_python)
{
    setup();
    ASSERT_OK(set(shoal_any_int(1), shoal_any_str("one")));
    ASSERT_SAME(get(shoal_any_float(1)), shoal_any_str("one"));
    ASSERT_SAME(get(shoal_any_bool(true)), shoal_any_str("one"));
    ASSERT_OK(set(shoal_any_bool(true), shoal_any_str("true")));
    ASSERT_EQ_INT(shoal_dict_length(dict), 1);
    shoal_any *keys;
    const shoal_any *first;
    ASSERT_OK(shoal_dict_keys(dict, &keys));
    ASSERT_OK(shoal_any_at(keys, 0, &first));
    ASSERT_EQ_INT(shoal_any_kind(first), SHOAL_ANY_INT); /* the first one stays */
    shoal_any_free(keys);
    ASSERT_OK(set(shoal_any_str("a"), shoal_any_int(1)));
    ASSERT_OK(set(shoal_any_bytes("a", 1), shoal_any_int(2)));
    ASSERT_SAME(get(shoal_any_str("a")), shoal_any_int(1));
    ASSERT_SAME(get(shoal_any_bytes("a", 1)), shoal_any_int(2));
    ASSERT_OK(set(shoal_any_float(0x1p80), shoal_any_int(80)));
    unsigned char big[11] = {[10] = 1};
    ASSERT_SAME(get(shoal_any_int_bytes(big, sizeof big)), shoal_any_int(80));
    ASSERT_OK(set(shoal_any_float(-0.0), shoal_any_int(0)));
    ASSERT_SAME(get(shoal_any_int(0)), shoal_any_int(0));
    ASSERT_OK(set(shoal_any_float(0.5), shoal_any_int(5)));
    ASSERT_SAME(get(shoal_any_float(0.5)), shoal_any_int(5));
    double nan = strtod("nan", NULL); /* one key, whatever its sign */
    ASSERT_OK(set(shoal_any_float(nan), shoal_any_int(55)));
    ASSERT_SAME(get(shoal_any_float(-nan)), shoal_any_int(55));
    ASSERT_OK(set(shoal_any_none(), shoal_any_int(6)));
    ASSERT_SAME(get(shoal_any_none()), shoal_any_int(6));
    ASSERT_OK(set(shoal_any_str(""), shoal_any_int(7)));
    ASSERT_SAME(get(shoal_any_str("")), shoal_any_int(7));
    ASSERT_OK(set(shoal_any_tuple(shoal_any_int(1), shoal_any_tuple(shoal_any_float(2)),
                                  shoal_any_str("x")),
                  shoal_any_int(8)));
    ASSERT_SAME(get(shoal_any_tuple(shoal_any_bool(true), shoal_any_tuple(shoal_any_int(2)),
                                    shoal_any_str("x"))),
                shoal_any_int(8));
    ASSERT_NULL(get(shoal_any_tuple(shoal_any_bool(true), shoal_any_int(2), shoal_any_str("x"))));
    ASSERT_OK(set(shoal_any_frozenset(shoal_any_int(1), shoal_any_str("z"), shoal_any_int(99)),
                  shoal_any_int(9)));
    ASSERT_SAME(get(shoal_any_frozenset(shoal_any_float(99), shoal_any_int(1), shoal_any_str("z"))),
                shoal_any_int(9));
    /* As any.h compares keys, so does a copy. */
    shoal_any *copy = all();
    ASSERT_EQ_INT(shoal_any_count(copy), shoal_dict_length(dict));
    shoal_any_free(copy);
    done();
}

TEST(dict_keys_may_have_no_bytes)
{
    setup();
    ASSERT_OK(set(shoal_any_none(), shoal_any_none()));
    ASSERT_SAME(all(), shoal_any_dict(shoal_any_none(), shoal_any_none()));
    ASSERT_OK(set(shoal_any_bytes("", 0), shoal_any_str("")));
    ASSERT_SAME(all(), shoal_any_dict(shoal_any_none(), shoal_any_none(), shoal_any_bytes("", 0),
                                      shoal_any_str("")));
    done();
}

TEST(dict_large_floats_are_several_keys_of_one_update)
{
    shoal_dict *floats;
    ASSERT_OK(shoal_dict_create(&floats, NULL));
    shoal_any *entries = shoal_any_dict(shoal_any_float(300 * 1e300), shoal_any_int(300));
    for (int i = 301; i < 304; i++)
        ASSERT_OK(shoal_any_put(entries, shoal_any_float(i * 1e300), shoal_any_int(i)));
    ASSERT_OK(WITH(entries, shoal_dict_update(floats, it)));
    for (int i = 300; i < 304; i++) {
        shoal_any *value;
        ASSERT_OK(WITH(shoal_any_float(i * 1e300), shoal_dict_get(floats, it, &value)));
        ASSERT_SAME(value, shoal_any_int(i));
    }
    shoal_dict_close(floats);
}

TEST(dict_takes_only_keys_that_can_be_hashed)
{
    shoal_lock *lock;
    setup();
    ASSERT_ERR(set(shoal_any_list(), shoal_any_int(1)), -EINVAL);
    ASSERT_ERR(set(shoal_any_dict(), shoal_any_int(1)), -EINVAL);
    ASSERT_ERR(set(shoal_any_set(), shoal_any_int(1)), -EINVAL);
    ASSERT_ERR(set(shoal_any_tuple(shoal_any_list()), shoal_any_int(1)), -EINVAL);
    ASSERT_OK(shoal_lock_create(&lock, NULL));
    ASSERT_ERR(set(shoal_any_object(lock), shoal_any_int(1)), -EINVAL);
    ASSERT_ERR(set(shoal_any_tuple(shoal_any_object(lock)), shoal_any_int(1)), -EINVAL);
    shoal_lock_close(lock);
    ASSERT_ERR(shoal_dict_set(dict, NULL, NULL), -EINVAL);
    char *text = calloc(1, (1 << 20) + 1);
    ASSERT_ERR(set(shoal_any_bytes(text, (1 << 20) + 1), shoal_any_int(1)), -EMSGSIZE);
    ASSERT_OK(set(shoal_any_bytes(text, 1 << 20), shoal_any_int(1)));
    ASSERT_SAME(get(shoal_any_bytes(text, 1 << 20)), shoal_any_int(1));
    free(text);
    ASSERT_ERR(shoal_dict_set_int(dict, NULL, 1, 1), -EINVAL);
    shoal_any *any;
    ASSERT_ERR(WITH(shoal_any_int(5), shoal_dict_get(dict, it, &any)), -ENOENT);
    ASSERT_ERR(WITH(shoal_any_int(5), shoal_dict_get(dict, it, NULL)), -EINVAL);
    ASSERT_ERR(WITH(shoal_any_int(5), shoal_dict_delete(dict, it)), -ENOENT);
    ASSERT_ERR(WITH(shoal_any_int(5), shoal_dict_pop(dict, it, &any)), -ENOENT);
    ASSERT_ERR(WITH(shoal_any_int(5), shoal_dict_update(dict, it)), -EINVAL);
    ASSERT_EQ_INT(shoal_dict_length(dict), 1);
    done();
}

/* ---- against a model: an any of the dict's kind, which keeps the order, too ---- */

static shoal_any *model;

static shoal_any *key_of(uint32_t n)
{
    char text[64];
    snprintf(text, sizeof text, "key %u", n);
    switch (n % 5) {
    case 0: return shoal_any_int(n);
    case 1: return shoal_any_str(text);
    case 2: return shoal_any_bytes(text, strlen(text));
    case 3: return shoal_any_tuple(shoal_any_int(n), shoal_any_str("x"));
    default: return shoal_any_float(n + 0.25);
    }
}

/* What can only be added to is made anew without a key. */
static void model_delete(const shoal_any *key)
{
    shoal_any *less = shoal_any_dict();
    for (int64_t i = 0; i < shoal_any_count(model); i++) {
        const shoal_any *k, *v;
        ASSERT_OK(shoal_any_entry(model, i, &k, &v));
        if (!shoal_any_equal(k, key))
            ASSERT_OK(shoal_any_put(less, shoal_any_copy(k), shoal_any_copy(v)));
    }
    shoal_any_free(model);
    model = less;
}

static void check_model(void)
{
    shoal_any *items;
    ASSERT_EQ_INT(shoal_dict_length(dict), shoal_any_count(model));
    ASSERT_OK(shoal_dict_items(dict, &items));
    for (int64_t i = 0; i < shoal_any_count(model); i++) {
        const shoal_any *k, *v, *pair, *x;
        ASSERT_OK(shoal_any_entry(model, i, &k, &v));
        ASSERT_OK(shoal_any_at(items, i, &pair));
        ASSERT_OK(shoal_any_at(pair, 0, &x));
        ASSERT_EQ_INT(shoal_any_equal(k, x), 1);
        ASSERT_OK(shoal_any_at(pair, 1, &x));
        ASSERT_EQ_INT(shoal_any_equal(v, x), 1);
    }
    shoal_any_free(items);
}

static void change_at_random(uint32_t keys)
{
    uint32_t what = random_next() % 16, n = random_next();
    shoal_any *key = key_of(random_next() % keys), *any, *k;
    const shoal_any *there = NULL;
    bool known = !shoal_any_get(model, key, &there);
    switch (what) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        ASSERT_OK(WITH(value_of(n), shoal_dict_set(dict, key, it)));
        ASSERT_OK(shoal_any_put(model, shoal_any_copy(key), value_of(n)));
        break;
    case 5:
    case 6:
    case 7:
        ASSERT_EQ_INT(shoal_dict_delete(dict, key), known ? 0 : -ENOENT);
        model_delete(key);
        break;
    case 8:
        ASSERT_EQ_INT(shoal_dict_pop(dict, key, &any), known ? 0 : -ENOENT);
        if (known)
            ASSERT_SAME(any, shoal_any_copy(there));
        model_delete(key);
        break;
    case 9:
        ASSERT_EQ_INT(WITH(value_of(n), shoal_dict_setdefault(dict, key, it, &any)), !known);
        ASSERT_SAME(any, known ? shoal_any_copy(there) : value_of(n));
        if (!known)
            ASSERT_OK(shoal_any_put(model, shoal_any_copy(key), value_of(n)));
        break;
    case 10: {
        int rc = shoal_dict_popitem(dict, &k, &any);
        const shoal_any *mk, *mv;
        if (!shoal_any_count(model)) {
            ASSERT_ERR(rc, -ENOENT);
            break;
        }
        ASSERT_OK(rc);
        ASSERT_OK(shoal_any_entry(model, -1, &mk, &mv));
        ASSERT_SAME(any, shoal_any_copy(mv));
        ASSERT_EQ_INT(shoal_any_equal(k, mk), 1);
        model_delete(k);
        shoal_any_free(k);
        break;
    }
    case 11: {
        shoal_any *more = shoal_any_dict();
        for (uint32_t i = 0; i < n % 60; i++) {
            ASSERT_OK(shoal_any_put(more, key_of((n + i * 7) % keys), value_of(n + i)));
            ASSERT_OK(shoal_any_put(model, key_of((n + i * 7) % keys), value_of(n + i)));
        }
        ASSERT_OK(WITH(more, shoal_dict_update(dict, it)));
        break;
    }
    case 12:
        ASSERT_EQ_INT(shoal_dict_contains(dict, key), known);
        any = value_of(n);
        ASSERT_EQ_INT(shoal_dict_compare_and_set(dict, key, there, any), 1);
        ASSERT_OK(shoal_any_put(model, shoal_any_copy(key), any));
        break;
    default:
        if (!known) {
            ASSERT_ERR(shoal_dict_get(dict, key, &any), -ENOENT);
            break;
        }
        ASSERT_OK(shoal_dict_get(dict, key, &any));
        ASSERT_SAME(any, shoal_any_copy(there));
        break;
    }
    shoal_any_free(key);
}

static void run_model(int rounds, uint32_t keys)
{
    setup();
    model = shoal_any_dict();
    for (int i = 0; i < rounds; i++) {
        change_at_random(keys);
        if (i % 16 == 0)
            check_model();
    }
    ASSERT_OK(shoal_dict_clear(dict));
    shoal_any_free(model);
    model = shoal_any_dict();
    check_model();
    for (int i = 0; i < 20; i++)
        change_at_random(keys);
    check_model();
    shoal_any_free(model);
    done();
}

TEST(dict_behaves_as_a_model_while_it_is_small)
{
    run_model(4000, 20);
}

TEST(dict_behaves_as_a_model_where_it_is_spread)
{
    run_model(3000, 300);
}

TEST(dict_of_many_entries_finds_each)
{
    enum { MANY = 100000 };
    int64_t n;
    setup();
    int64_t least = shoal_dict_bytes(dict);
    for (int64_t i = 0; i < MANY; i++)
        ASSERT_OK(shoal_dict_set_int(dict, &i, sizeof i, i * 3));
    ASSERT_EQ_INT(shoal_dict_length(dict), MANY);
    for (int64_t i = 0; i < MANY; i++) {
        ASSERT_OK(shoal_dict_get_int(dict, &i, sizeof i, &n));
        ASSERT_EQ_INT(n, i * 3);
    }
    ASSERT_LT_INT(shoal_dict_bytes(dict), (int64_t)MANY * 300);
    for (int64_t i = 0; i < MANY; i++)
        if (i % 1000)
            ASSERT_OK(shoal_dict_delete_bytes(dict, &i, sizeof i));
    ASSERT_EQ_INT(shoal_dict_length(dict), MANY / 1000);
    ASSERT_LT_INT(shoal_dict_bytes(dict), 100000);
    for (int64_t i = 0; i < MANY; i++)
        ASSERT_EQ_INT(shoal_dict_contains_bytes(dict, &i, sizeof i), i % 1000 == 0);
    ASSERT_OK(shoal_dict_clear(dict));
    ASSERT_EQ_INT(shoal_dict_bytes(dict), least);
    done();
}

TEST(dict_memory_follows_what_is_in_it)
{
    setup();
    for (int i = 0; i < 20000; i++)
        ASSERT_OK(shoal_dict_set_int(dict, &i, sizeof i, i));
    int64_t full = shoal_dict_bytes(dict);
    for (int i = 0; i < 19990; i++)
        ASSERT_OK(shoal_dict_popitem(dict, NULL, NULL));
    ASSERT_LE_INT(shoal_dict_bytes(dict), full / 8);
    ASSERT_EQ_INT(shoal_dict_length(dict), 10);
    done();
}

TEST(dict_is_updated_with_a_million_entries)
{
    enum { MILLION = 1100000 };
    shoal_dict *full;
    shoal_any **items = calloc(2ul * MILLION, sizeof(*items));
    ASSERT_NOT_NULL(items);
    ASSERT_OK(shoal_dict_create(&full, NULL));
    for (int i = 0; i < 2 * MILLION; i++)
        items[i] = shoal_any_int(i / 2);
    ASSERT_OK(WITH(shoal_any_dict_from(items, 2ul * MILLION), shoal_dict_update(full, it)));
    ASSERT_EQ_INT(shoal_dict_length(full), MILLION);
    shoal_dict_close(full);
    free(items);
}

TEST(dict_equals_what_has_the_same_entries)
{
    setup();
    ASSERT_EQ_INT(WITH(shoal_any_dict(), shoal_dict_equal(dict, it)), 1);
    ASSERT_OK(set(shoal_any_str("a"), shoal_any_int(1)));
    ASSERT_OK(set(shoal_any_str("b"), shoal_any_list(shoal_any_none())));
    ASSERT_EQ_INT(WITH(shoal_any_dict(shoal_any_str("b"), shoal_any_list(shoal_any_none()),
                                      shoal_any_str("a"), shoal_any_float(1)),
                       shoal_dict_equal(dict, it)),
                  1);
    ASSERT_EQ_INT(WITH(shoal_any_dict(shoal_any_str("a"), shoal_any_int(1)),
                       shoal_dict_equal(dict, it)),
                  0);
    ASSERT_EQ_INT(WITH(shoal_any_str("a"), shoal_dict_equal(dict, it)), 0);
    ASSERT_ERR(shoal_dict_equal(dict, NULL), -EINVAL);
    ASSERT_ERR(shoal_dict_equal(NULL, NULL), -EINVAL);
    done();
}

TEST(dict_bytes_and_ints_go_in_and_out_without_anys)
{
    setup();
    char in[5000], out[5000];
    size_t size;
    int64_t n;
    memset(in, 'x', sizeof in);
    for (size_t i = 0; i < sizeof in; i = i * 2 + 1)
        ASSERT_OK(shoal_dict_set_bytes(dict, &i, sizeof i, in, i));
    for (size_t i = 0; i < sizeof in; i = i * 2 + 1) {
        ASSERT_OK(shoal_dict_get_bytes(dict, &i, sizeof i, out, sizeof out, &size));
        ASSERT_EQ_INT(size, i);
        ASSERT_MEM(in, out, i);
        if (i)
            ASSERT_ERR(shoal_dict_get_bytes(dict, &i, sizeof i, out, i - 1, &size), -EMSGSIZE);
        ASSERT_ERR(shoal_dict_get_int(dict, &i, sizeof i, &n), -EINVAL);
    }
    ASSERT_OK(shoal_dict_set_int(dict, "n", 1, INT64_MIN));
    ASSERT_EQ_INT(int_of("n"), INT64_MIN);
    ASSERT_OK(shoal_dict_add_int(dict, "n", 1, 1, &n));
    ASSERT_EQ_INT(n, INT64_MIN + 1);
    shoal_any *half = shoal_any_float(2.5);
    ASSERT_OK(WITH(shoal_any_bytes("half", 4), shoal_dict_set(dict, it, half)));
    ASSERT_ERR(shoal_dict_add_int(dict, "half", 4, 1, &n), -EINVAL);
    ASSERT_OK(shoal_dict_delete_bytes(dict, "half", 4));
    shoal_any_free(half);
    ASSERT_OK(shoal_dict_add_int(dict, "new", 3, 5, &n));
    ASSERT_EQ_INT(n, 5);
    ASSERT_ERR(shoal_dict_get_bytes(dict, "n", 1, out, sizeof out, &size), -EINVAL);
    done();
}

TEST(dict_values_are_compared_and_set_in_one_step)
{
    setup();
    shoal_any *key = shoal_any_str("k"), *one = shoal_any_int(1), *two = shoal_any_str("two");
    ASSERT_EQ_INT(shoal_dict_compare_and_set(dict, key, one, two), 0);
    ASSERT_EQ_INT(shoal_dict_compare_and_set(dict, key, NULL, one), 1);
    ASSERT_EQ_INT(shoal_dict_compare_and_set(dict, key, NULL, one), 0);
    ASSERT_EQ_INT(shoal_dict_compare_and_set(dict, key, one, two), 1);
    ASSERT_EQ_INT(shoal_dict_compare_and_set(dict, key, two, NULL), 1);
    ASSERT_EQ_INT(shoal_dict_length(dict), 0);
    ASSERT_EQ_INT(shoal_dict_compare_and_set(dict, key, NULL, NULL), 1);
    shoal_any *sum;
    ASSERT_OK(shoal_dict_add(dict, key, one, &sum));
    ASSERT_SAME(sum, shoal_any_int(1));
    ASSERT_ERR(shoal_dict_add(dict, key, two, NULL), -EINVAL);
    ASSERT_OK(WITH(shoal_any_float(0.5), shoal_dict_add(dict, key, it, &sum)));
    ASSERT_SAME(sum, shoal_any_float(1.5));
    shoal_any_free(key);
    shoal_any_free(one);
    shoal_any_free(two);
    done();
}

/* ---- nesting ---- */

TEST(dict_appends_to_lists_under_keys)
{
    setup();
    shoal_any *key = shoal_any_str("words"), *any;
    shoal_list *list;
    shoal_reference r;
    for (int i = 0; i < 100; i++)
        ASSERT_OK(WITH(shoal_any_int(i), shoal_dict_append(dict, key, it)));
    ASSERT_OK(shoal_dict_get(dict, key, &any));
    ASSERT_OK(shoal_any_as_reference(any, &r));
    ASSERT_OK(shoal_list_open(&list, &r));
    shoal_any_free(any);
    ASSERT_EQ_INT(shoal_list_length(list), 100);
    shoal_list_close(list);
    ASSERT_OK(set(shoal_any_str("other"), shoal_any_int(1)));
    shoal_any *other = shoal_any_str("other");
    ASSERT_ERR(WITH(shoal_any_int(1), shoal_dict_append(dict, other, it)), -EINVAL);
    ASSERT_ERR(shoal_dict_append(dict, other, NULL), -EINVAL);
    shoal_any_free(other);
    ASSERT_OK(shoal_dict_delete(dict, key));
    ASSERT_ERR(shoal_list_open(&list, &r), -ESTALE);
    shoal_any_free(key);
    ASSERT_EQ_INT(objects(), 1);
    done();
}

static _Atomic long *words;
static shoal_list *under;

static void append_until_told(void)
{
    shoal_any *key = shoal_any_str("k");
    long n = 0;
    for (; !atomic_load(&words[0]); n++)
        ASSERT_OK(WITH(shoal_any_int(n), shoal_dict_append(dict, key, it)));
    atomic_store(&words[1], n);
    shoal_any_free(key);
}

/* The list under the key, which is taken out; NULL: there is none. */
static shoal_list *take_list(const shoal_any *key)
{
    shoal_any *any;
    shoal_reference r;
    shoal_list *list;
    if (shoal_dict_pop(dict, key, &any))
        return NULL;
    ASSERT_OK(shoal_any_as_reference(any, &r));
    ASSERT_OK(shoal_list_open(&list, &r));
    shoal_any_free(any);
    return list;
}

TEST(dict_append_is_one_step_to_who_takes_the_list_away)
{
    shoal_any *key = shoal_any_str("k");
    int64_t sum = 0;
    words = words_open();
    setup();
    pid_t pid = child(append_until_told);
    for (int i = 0; i < 1000;) {
        shoal_list *list = take_list(key);
        int64_t length = list ? shoal_list_length(list) : 0;
        if (!list) {
            os_yield();
            continue;
        }
        int64_t until = os_now() + 20000;
        while (os_now() < until)
            os_pause();
        /* Nobody else can have it by now. */
        ASSERT_EQ_INT(shoal_list_length(list), length);
        shoal_list_close(list);
        sum += length;
        i++;
    }
    atomic_store(&words[0], 1);
    ends_well(pid);
    shoal_list *list = take_list(key);
    ASSERT_EQ_INT(sum + (list ? shoal_list_length(list) : 0), atomic_load(&words[1]));
    shoal_list_close(list);
    shoal_any_free(key);
    words_close();
    done_among_others();
}

/* Whether the first thread of some process sleeps on it. */
static bool slept_on(const void *opaque)
{
    uint64_t frame = (uint64_t)header_id(handle_of(opaque)->header) + 1;
    for (uint32_t r = 1; r < atomic_load(&view.region->slots_high); r++)
        if (atomic_load(&record_at(r)->frames[0]) == frame)
            return true;
    return false;
}

static void acquire_and_set(void)
{
    ASSERT_OK(shoal_list_acquire(under, SHOAL_FOREVER));
    atomic_store(&words[0], 1);
    while (!slept_on(under))
        nap();
    ASSERT_OK(shoal_dict_set_int(dict, "x", 1, 1));
    ASSERT_OK(shoal_list_release(under));
}

TEST(dict_append_waits_for_the_list_without_its_key)
{
    shoal_any *key = shoal_any_str("k");
    words = words_open();
    setup();
    ASSERT_OK(shoal_list_create(&under, NULL));
    ASSERT_OK(WITH(shoal_any_object(under), shoal_dict_set(dict, key, it)));
    pid_t pid = child(acquire_and_set);
    until_word(&words[0], 1);
    ASSERT_OK(WITH(shoal_any_int(7), shoal_dict_append(dict, key, it)));
    ends_well(pid);
    ASSERT_EQ_INT(int_of("x"), 1);
    /* Also where it is the caller's for several steps. */
    ASSERT_OK(shoal_list_acquire(under, SHOAL_FOREVER));
    ASSERT_OK(shoal_dict_acquire(dict, SHOAL_FOREVER));
    ASSERT_OK(WITH(shoal_any_int(8), shoal_dict_append(dict, key, it)));
    ASSERT_OK(shoal_dict_release(dict));
    ASSERT_OK(shoal_list_release(under));
    ASSERT_EQ_INT(WITH(shoal_any_list(shoal_any_int(7), shoal_any_int(8)),
                       shoal_list_equal(under, it)),
                  1);
    shoal_list_close(under);
    shoal_any_free(key);
    words_close();
    done_among_others();
}

TEST(dict_in_itself_ends_with_its_last_handle)
{
    setup();
    ASSERT_OK(set(shoal_any_int(1), shoal_any_object(dict)));
    for (int i = 0; i < 500; i++) /* also where it was spread since */
        ASSERT_OK(set(shoal_any_int(i), shoal_any_tuple(shoal_any_object(dict))));
    ASSERT_OK(shoal_dict_clear(dict));
    ASSERT_EQ_INT(objects(), 1);
    ASSERT_OK(set(shoal_any_int(1), shoal_any_object(dict)));
    done();
}

/* ---- several processes ---- */

enum { EACH = 4000, WRITERS = 4 };

static void set_own(void)
{
    int64_t me = getpid();
    for (int64_t i = 0; i < EACH; i++) {
        int64_t key[2] = {me, i};
        ASSERT_OK(shoal_dict_set_int(dict, key, sizeof key, i));
        ASSERT_OK(shoal_dict_add_int(dict, "sum", 3, 1, NULL));
        if (i % 3 == 0)
            ASSERT_OK(shoal_dict_delete_bytes(dict, key, sizeof key));
    }
    atomic_fetch_add(&words[0], 1);
}

TEST(dict_changes_of_many_processes_are_all_there)
{
    pid_t pids[WRITERS];
    words = words_open();
    setup();
    for (int i = 0; i < WRITERS; i++)
        pids[i] = child(set_own);
    while (atomic_load(&words[0]) < WRITERS)
        ASSERT_OK(shoal_dict_length(dict));
    for (int i = 0; i < WRITERS; i++)
        ends_well(pids[i]);
    ASSERT_EQ_INT(int_of("sum"), WRITERS * EACH);
    ASSERT_EQ_INT(shoal_dict_length(dict), WRITERS * (EACH - (EACH + 2) / 3) + 1);
    words_close();
    done_among_others();
}

/* All values are the same, at each moment; the keys are in all parts. */
static void update_all(void)
{
    for (uint32_t n = 0; n < 600; n++) {
        shoal_any *more = shoal_any_dict();
        for (int i = 0; i < 100; i++)
            ASSERT_OK(shoal_any_put(more, shoal_any_int(i), value_of(n)));
        ASSERT_OK(WITH(more, shoal_dict_update(dict, it)));
        if (n % 5 == 0)
            ASSERT_OK(shoal_dict_clear(dict));
    }
    atomic_fetch_add(&words[0], 1);
}

TEST(dict_copies_are_of_one_moment)
{
    pid_t pids[2];
    words = words_open();
    setup();
    for (int i = 0; i < 2; i++)
        pids[i] = child(update_all);
    while (atomic_load(&words[0]) < 2) {
        const shoal_any *first, *other;
        shoal_any *any;
        ASSERT_OK(shoal_dict_values(dict, &any));
        ASSERT_TRUE(shoal_any_count(any) == 0 || shoal_any_count(any) == 100);
        for (int64_t i = 1; i < shoal_any_count(any); i++) {
            ASSERT_OK(shoal_any_at(any, 0, &first));
            ASSERT_OK(shoal_any_at(any, i, &other));
            ASSERT_EQ_INT(shoal_any_equal(first, other), 1);
        }
        shoal_any_free(any);
        int64_t length = shoal_dict_length(dict);
        ASSERT_TRUE(length == 0 || length == 100);
    }
    for (int i = 0; i < 2; i++)
        ends_well(pids[i]);
    words_close();
    done_among_others();
}

enum { LONG = 3000, LONG_VALUES = 2000 };

static shoal_any *long_value(uint32_t n)
{
    char text[LONG];
    memset(text, 'a' + (int)(n % 26), sizeof text);
    return shoal_any_str_sized(text, sizeof text);
}

static void replace_long_values(void)
{
    while (!atomic_load(&words[0])) {
        uint32_t n = random_next();
        shoal_any *key = shoal_any_int(n % LONG_VALUES);
        ASSERT_OK(WITH(long_value(n), shoal_dict_set(dict, key, it)));
        shoal_any_free(key);
        atomic_store(&words[1], 1);
    }
}

/* As the test of lists. */
TEST(dict_of_long_values_is_copied_beside_one_who_always_replaces_some)
{
    words = words_open();
    setup();
    for (uint32_t i = 0; i < LONG_VALUES; i++) {
        shoal_any *key = shoal_any_int(i);
        ASSERT_OK(WITH(long_value(i), shoal_dict_set(dict, key, it)));
        shoal_any_free(key);
    }
    pid_t pid = child(replace_long_values);
    until_word(&words[1], 1);
    for (int i = 0; i < 20; i++) {
        shoal_any *copy = all();
        ASSERT_EQ_INT(shoal_any_count(copy), LONG_VALUES);
        shoal_any_free(copy);
    }
    atomic_store(&words[0], 1);
    ends_well(pid);
    words_close();
    done_among_others();
}

static void stop_in_changes(void)
{
    for (int64_t i = 0;; i++) {
        atomic_store(&words[1], i);
        ASSERT_OK(shoal_dict_set_int(dict, "a", 1, i));
        ASSERT_OK(shoal_dict_set_int(dict, &i, sizeof i, i));
        if (i > 100)
            ASSERT_OK(shoal_dict_delete_bytes(dict, &(int64_t){i - 50}, sizeof i));
    }
}

TEST(dict_is_looked_at_beside_one_that_is_stopped_in_a_change)
{
    words = words_open();
    setup();
    pid_t pid = child(stop_in_changes);
    until_word(&words[1], 200);
    for (int i = 0; i < 300; i++) {
        int status;
        ASSERT_SYS(kill(pid, SIGSTOP));
        ASSERT_SYS(waitpid(pid, &status, WUNTRACED));
        shoal_any *copy = all();
        ASSERT_EQ_INT(shoal_any_count(copy), shoal_dict_length(dict));
        shoal_any_free(copy);
        ASSERT_LE_INT(int_of("a"), atomic_load(&words[1]));
        ASSERT_SYS(kill(pid, SIGCONT));
    }
    kill_and_reap(pid);
    words_close();
    done_among_others();
}

static void *set_in_thread(void *argument)
{
    int64_t who = (int64_t)(intptr_t)argument;
    for (int64_t i = 0; i < 5000; i++) {
        int64_t key[2] = {who, i % 300};
        ASSERT_OK(shoal_dict_set_int(dict, key, sizeof key, i));
        ASSERT_OK(shoal_dict_add_int(dict, "sum", 3, 1, NULL));
    }
    return NULL;
}

TEST(dict_is_changed_by_threads)
{
    pthread_t threads[3];
    setup();
    for (intptr_t i = 0; i < 3; i++)
        ASSERT_EQ_INT(pthread_create(&threads[i], NULL, set_in_thread, (void *)i), 0);
    for (int i = 0; i < 3; i++)
        ASSERT_EQ_INT(pthread_join(threads[i], NULL), 0);
    ASSERT_EQ_INT(int_of("sum"), 15000);
    ASSERT_EQ_INT(shoal_dict_length(dict), 901);
    done_among_others();
}
