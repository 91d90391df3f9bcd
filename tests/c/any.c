/* any: what any.h promises of values. What it promises of bytes: pickle.c. */
#include "message/any.h"
#include "region/object.h"
#include "runner.h"
#include <errno.h>
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INT(n) shoal_any_int(n)
#define STR(s) shoal_any_str(s)

static shoal_any *made(shoal_any *any)
{
    if (!any)
        FAIL("could not be built: %s", shoal_error_detail());
    return any;
}

/* Compares its repr, and frees it. */
static void shows(shoal_any *any, const char *wanted)
{
    char *text;
    ASSERT_OK(shoal_any_repr(made(any), &text));
    ASSERT_STR(text, wanted);
    free(text);
    shoal_any_free(any);
}

static void is_refused(shoal_any *any, const char *part)
{
    ASSERT_NULL(any);
    if (!strstr(shoal_error_detail(), part))
        FAIL("says \"%s\", not \"%s\"", shoal_error_detail(), part);
}

/* ---- building ---- */

TEST(any_is_built_in_one_expression)
{
    shows(shoal_any_list(INT(42), shoal_any_none(), STR("hello")), "[42, None, 'hello']");
    shows(shoal_any_list(), "[]");
    shows(shoal_any_tuple(), "()");
    shows(shoal_any_dict(), "{}");
    shows(shoal_any_set(), "set()");
    shows(shoal_any_frozenset(), "frozenset()");
    shows(shoal_any_tuple(INT(1)), "(1,)");
    shows(shoal_any_tuple(INT(1), INT(2)), "(1, 2)");
    shows(shoal_any_set(INT(1), INT(2)), "{1, 2}");
    shows(shoal_any_frozenset(INT(1)), "frozenset({1})");
    shows(shoal_any_dict(STR("a"), shoal_any_list(shoal_any_list(shoal_any_bool(true))), INT(1),
                         shoal_any_tuple(shoal_any_float(0.5), shoal_any_bytes("x", 1))),
          "{'a': [[True]], 1: (0.5, b'x')}");
}

TEST(any_takes_64_items_in_one_expression_and_any_number_in_an_array)
{
#define FOUR INT(1), INT(2), INT(3), INT(4)
#define SIXTEEN FOUR, FOUR, FOUR, FOUR
    shoal_any *list = made(shoal_any_list(SIXTEEN, SIXTEEN, SIXTEEN, SIXTEEN));
    ASSERT_EQ_INT(shoal_any_count(list), 64);
    shoal_any_free(list);
    enum { MANY = 100000 };
    shoal_any **items = malloc(MANY * sizeof(shoal_any *));
    for (int i = 0; i < MANY; i++)
        items[i] = INT(i);
    list = made(shoal_any_list_from(items, MANY));
    for (int i = 0; i < MANY; i += 999) {
        const shoal_any *item;
        int64_t value;
        ASSERT_OK(shoal_any_at(list, i, &item));
        ASSERT_OK(shoal_any_as_int(item, &value));
        ASSERT_EQ_INT(value, i);
    }
    shoal_any_free(list);
    free(items);
    shows(shoal_any_list_from(NULL, 0), "[]");
    is_refused(shoal_any_list_from(NULL, 1), "NULL");
}

TEST(any_builder_given_null_frees_the_others_and_says_what_failed_first)
{
    is_refused(shoal_any_list(INT(1), STR("\xff"), shoal_any_list(STR("a"))), "UTF-8");
    is_refused(shoal_any_dict(STR("a"), NULL), "");
    is_refused(shoal_any_tuple(shoal_any_set(shoal_any_list(INT(1)))), "a list cannot be in a set");
    is_refused(shoal_any_dict(shoal_any_dict(), INT(1)), "a dict cannot be a key");
    is_refused(shoal_any_dict(INT(1)), "without a value");
    is_refused(STR(NULL), "NULL");
    is_refused(shoal_any_bytes(NULL, 3), "NULL");
    is_refused(shoal_any_bytes("", SIZE_MAX), "");
    is_refused(shoal_any_int_bytes("", (size_t)1 << 31), "2147483647");
}

TEST(any_item_has_one_place_only)
{
    shoal_any *item = made(INT(1)), *text = made(STR("long enough to have a block of its own"));
    is_refused(shoal_any_list(item, item), "part of something");
    is_refused(shoal_any_list(text, text, INT(2)), "part of something");
    shoal_any *list = made(shoal_any_list(shoal_any_list(INT(1))));
    const shoal_any *inner;
    ASSERT_OK(shoal_any_at(list, 0, &inner));
    shoal_any *part = (shoal_any *)(uintptr_t)inner;
    is_refused(shoal_any_list(part), "part of something");
    ASSERT_NULL(shoal_any_free(part)); /* left alone */
    ASSERT_ERR(shoal_any_append(part, INT(2)), -EINVAL);
    ASSERT_ERR(shoal_any_append(list, list), -EINVAL);
    ASSERT_ERR(shoal_any_append(list, part), -EINVAL);
    shoal_any *dict = made(shoal_any_dict());
    ASSERT_ERR(shoal_any_put(dict, STR("freed"), dict), -EINVAL);
    ASSERT_ERR(shoal_any_put(dict, dict, STR("freed")), -EINVAL);
    shows(dict, "{}");
    shows(list, "[[1]]");
}

TEST(any_free_takes_null_and_returns_null)
{
    ASSERT_NULL(shoal_any_free(NULL));
    ASSERT_NULL(shoal_any_free(INT(1)));
}

TEST(any_str_takes_utf8_and_lone_surrogates_only)
{
    static const char *const good[] = {"",
                                       "a",
                                       "sixteen letters.",
                                       "seventeen letters",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xed\xa0\x80",
                                       "\xed\xbf\xbf",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "0123456\xc3\xa4 01234567\xc3\xa4"};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2\x41",
                                      "\xe0\x80\x80",
                                      "\xe0\x9f\xbf",
                                      "\xe1\x80",
                                      "\xf0\x80\x80\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "0123456789abcdef\xc2",
                                      "01234567\xe2\x82",
                                      "0123456\xe2\x82xyz"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        const char *text;
        size_t size;
        shoal_any *any = made(STR(good[i]));
        ASSERT_OK(shoal_any_as_str(any, &text, &size));
        ASSERT_EQ_INT(size, strlen(good[i]));
        ASSERT_STR(text, good[i]);
        shoal_any_free(any);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        is_refused(STR(bad[i]), "UTF-8");
}

TEST(any_ints_have_one_form_whatever_bytes_they_were_made_of)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *shown;
    } cases[] = {
        {"", 0, "0"},
        {"\0", 1, "0"},
        {"\xff", 1, "-1"},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 18, "-1"},
        {"\x7f\0\0\0\0\0\0\0\0\0\0\0", 12, "127"},
        {"\xff\0", 2, "255"},
        {"\0\x80", 2, "-32768"},
        {"\0\0\0\0\0\0\0\x80", 8, "-9223372036854775808"},
        {"\0\0\0\0\0\0\0\x80\0", 9, "9223372036854775808"},
        {"\xff\xff\xff\xff\xff\xff\xff\x7f\xff", 9, "-9223372036854775809"},
        {"\0\0\0\0\0\0\0\0\1", 9, "18446744073709551616"},
        {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff", 21,
         "-1461501637330902918203684832716283019655932542976"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        shows(shoal_any_int_bytes(cases[i].bytes, cases[i].size), cases[i].shown);
    shows(shoal_any_uint(0), "0");
    shows(shoal_any_uint(UINT64_MAX), "18446744073709551615");
    shoal_any *a = made(shoal_any_int_bytes("\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 18));
    shoal_any *b = made(INT(1));
    ASSERT_EQ_INT(shoal_any_equal(a, b), 1);
    shoal_any_free(a);
    shoal_any_free(b);
}

TEST(any_nests_as_deep_as_it_says_and_no_deeper)
{
    shoal_any *any = INT(1);
    for (int i = 0; i < SHOAL_ANY_DEPTH; i++)
        any = i % 2 ? shoal_any_list(any) : shoal_any_tuple(INT(2), any);
    made(any);
    shoal_any *copy = made(shoal_any_copy(any));
    ASSERT_EQ_INT(shoal_any_equal(any, copy), 1);
    is_refused(shoal_any_dict(INT(1), any), "deeper than 1000");
    shoal_any *list = made(shoal_any_list());
    ASSERT_ERR(shoal_any_append(list, copy), -EINVAL);
    shows(list, "[]");
}

/* Everything that walks, on a value as deep as can be. */
static void *walk(void *argument)
{
    shoal_any *any = argument, *copy = made(shoal_any_copy(any)), *again;
    char *text;
    void *bytes;
    size_t size;
    ASSERT_EQ_INT(shoal_any_equal(any, copy), 1);
    ASSERT_OK(shoal_any_repr(any, &text));
    ASSERT_OK(shoal_any_encode(any, &bytes, &size));
    ASSERT_OK(shoal_any_decode(&again, bytes, size, NULL));
    ASSERT_EQ_INT(shoal_any_equal(any, again), 1);
    shoal_any *set = made(shoal_any_set(again)); /* hashed */
    shoal_any_free(set);
    shoal_any_free(copy);
    free(text);
    free(bytes);
    return NULL;
}

TEST(any_walks_fit_on_the_stack_of_a_small_thread)
{
    pthread_t thread;
    pthread_attr_t attributes;
    shoal_any *any = INT(1);
    for (int i = 0; i < SHOAL_ANY_SETS - 1; i++)
        any = shoal_any_frozenset(any, INT(2));
    for (int i = 0; i < SHOAL_ANY_DEPTH - SHOAL_ANY_SETS; i++)
        any = shoal_any_tuple(INT(2), any);
    made(any);
    ASSERT_EQ_INT(pthread_attr_init(&attributes), 0);
    /* musl's default; the sanitizers need more for themselves */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    ASSERT_EQ_INT(pthread_attr_setstacksize(&attributes, 1 << 20), 0);
#else
    ASSERT_EQ_INT(pthread_attr_setstacksize(&attributes, 128 << 10), 0);
#endif
    ASSERT_EQ_INT(pthread_create(&thread, &attributes, walk, any), 0);
    ASSERT_EQ_INT(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attributes);
    shoal_any_free(any);
}

TEST(any_sets_nest_32_deep_in_sets_and_keys)
{
    shoal_any *any = shoal_any_frozenset(INT(1));
    for (int i = 1; i < SHOAL_ANY_SETS; i++)
        any = i % 2 ? shoal_any_frozenset(any) : shoal_any_frozenset(shoal_any_tuple(any));
    shoal_any *copy = made(shoal_any_copy(any));
    ASSERT_EQ_INT(shoal_any_equal(any, copy), 1);
    is_refused(shoal_any_dict(any, INT(1)), "deeper than 32");
    shoal_any *value = made(shoal_any_dict(INT(1), copy)); /* no key */
    shoal_any_free(value);
}

TEST(any_copy_is_whole_and_on_its_own)
{
    shoal_any *list =
        made(shoal_any_list(shoal_any_dict(STR("k"), shoal_any_bytes("bytes", 5)),
                            shoal_any_set(INT(1), shoal_any_int_bytes("0123456789", 10)),
                            shoal_any_construct("ValueError", shoal_any_tuple(STR("no")))));
    const shoal_any *inner;
    char *before, *after;
    ASSERT_OK(shoal_any_repr(list, &before));
    shoal_any *copy = made(shoal_any_copy(list));
    ASSERT_OK(shoal_any_at(list, 0, &inner));
    shoal_any *part = made(shoal_any_copy(inner));
    ASSERT_OK(shoal_any_put(part, STR("l"), INT(1)));
    shoal_any_free(list);
    ASSERT_OK(shoal_any_repr(copy, &after));
    ASSERT_STR(before, after);
    free(before);
    free(after);
    shoal_any_free(copy);
    shows(part, "{'k': b'bytes', 'l': 1}");
    is_refused(shoal_any_copy(NULL), "NULL");
}

TEST(any_copy_of_a_large_dict_finds_its_keys_and_takes_more)
{
    shoal_any *dict = made(shoal_any_dict());
    const shoal_any *value;
    for (int i = 0; i < 100; i++)
        ASSERT_OK(shoal_any_put(dict, INT(i), INT(-i)));
    shoal_any *copy = made(shoal_any_copy(dict));
    shoal_any_free(dict);
    for (int i = 100; i < 300; i++)
        ASSERT_OK(shoal_any_put(copy, INT(i), INT(-i)));
    for (int i = 0; i < 300; i++) {
        shoal_any *key = made(INT(i));
        int64_t is;
        ASSERT_OK(shoal_any_get(copy, key, &value));
        ASSERT_OK(shoal_any_as_int(value, &is));
        ASSERT_EQ_INT(is, -i);
        shoal_any_free(key);
    }
    ASSERT_EQ_INT(shoal_any_count(copy), 300);
    shoal_any_free(copy);
}

/* ---- changing ---- */

TEST(any_grows_by_append_put_and_add)
{
    shoal_any *list = made(shoal_any_list()), *dict = made(shoal_any_dict()),
              *set = made(shoal_any_set());
    for (int i = 0; i < 5000; i++) {
        ASSERT_OK(shoal_any_append(list, i % 2 ? INT(i) : shoal_any_list(STR("text"))));
        ASSERT_OK(shoal_any_put(dict, INT(i % 1000), STR("text")));
        ASSERT_OK(shoal_any_add(set, shoal_any_tuple(INT(i % 1000))));
    }
    ASSERT_EQ_INT(shoal_any_count(list), 5000);
    ASSERT_EQ_INT(shoal_any_count(dict), 1000);
    ASSERT_EQ_INT(shoal_any_count(set), 1000);
    shoal_any_free(list);
    shoal_any_free(dict);
    shoal_any_free(set);
}

TEST(any_put_keeps_the_first_key_its_place_and_the_last_value)
{
    shoal_any *dict = made(shoal_any_dict(INT(1), STR("a"), STR("k"), STR("b")));
    ASSERT_OK(shoal_any_put(dict, shoal_any_float(1), shoal_any_list(STR("c"))));
    ASSERT_OK(shoal_any_put(dict, shoal_any_bool(true), STR("d")));
    shows(dict, "{1: 'd', 'k': 'b'}");
    shows(shoal_any_dict(INT(1), STR("a"), shoal_any_float(1), STR("b")), "{1: 'b'}");
    shows(shoal_any_set(INT(1), shoal_any_float(1), shoal_any_bool(true)), "{1}");
}

TEST(any_that_cannot_be_changed_so_is_as_before)
{
    shoal_any *list = made(shoal_any_list(INT(1))), *frozen = made(shoal_any_frozenset(INT(1))),
              *dict = made(shoal_any_dict(INT(1), INT(2))), *set = made(shoal_any_set(INT(1)));
    ASSERT_ERR(shoal_any_append(dict, INT(2)), -EINVAL);
    ASSERT_STR(shoal_error_detail(), "shoal_any_append: is a dict, not a list");
    ASSERT_ERR(shoal_any_append(NULL, INT(2)), -EINVAL);
    ASSERT_ERR(shoal_any_append(list, NULL), -EINVAL);
    ASSERT_ERR(shoal_any_put(list, INT(1), INT(2)), -EINVAL);
    ASSERT_ERR(shoal_any_put(dict, shoal_any_list(STR("x")), INT(2)), -EINVAL);
    ASSERT_ERR(shoal_any_put(dict, shoal_any_tuple(shoal_any_set()), INT(2)), -EINVAL);
    ASSERT_ERR(shoal_any_put(dict, INT(1), NULL), -EINVAL);
    ASSERT_ERR(shoal_any_add(set, shoal_any_dict()), -EINVAL);
    ASSERT_ERR(shoal_any_add(frozen, INT(2)), -EINVAL);
    shows(list, "[1]");
    shows(frozen, "frozenset({1})");
    shows(dict, "{1: 2}");
    shows(set, "{1}");
}

/* ---- looking ---- */

TEST(any_accessors_say_what_it_is_instead)
{
    static const char *const names[] = {"none",   "a bool", "an int",     "a float",
                                        "a str",  "bytes",  "a list",     "a tuple",
                                        "a dict", "a set",  "a construct"};
    shoal_any *all[] = {shoal_any_none(),
                        shoal_any_bool(true),
                        INT(1),
                        shoal_any_float(1),
                        STR("s"),
                        shoal_any_bytes("b", 1),
                        shoal_any_list(),
                        shoal_any_tuple(),
                        shoal_any_dict(),
                        shoal_any_set(),
                        shoal_any_construct("KeyError", shoal_any_tuple())};
    char wanted[100];
    for (int i = 0; i < 11; i++) {
        const shoal_any *a = made(all[i]), *inner;
        bool flag;
        int64_t n;
        uint64_t u;
        double d;
        const char *text;
        const void *bytes;
        shoal_reference reference;
        ASSERT_EQ_INT(shoal_any_kind(a), i);
        ASSERT_EQ_INT(shoal_any_as_bool(a, &flag), i == 1 ? 0 : -EINVAL);
        ASSERT_EQ_INT(shoal_any_as_int(a, &n), i == 1 || i == 2 ? 0 : -EINVAL);
        if (i != 1 && i != 2) {
            snprintf(wanted, sizeof wanted, "shoal_any_as_int: is %s, not an int", names[i]);
            ASSERT_STR(shoal_error_detail(), wanted);
        }
        ASSERT_EQ_INT(shoal_any_as_uint(a, &u), i == 1 || i == 2 ? 0 : -EINVAL);
        ASSERT_EQ_INT(shoal_any_as_int_bytes(a, &bytes, NULL), i == 1 || i == 2 ? 0 : -EINVAL);
        ASSERT_EQ_INT(shoal_any_as_float(a, &d), i >= 1 && i <= 3 ? 0 : -EINVAL);
        ASSERT_EQ_INT(shoal_any_as_str(a, &text, NULL), i == 4 ? 0 : -EINVAL);
        ASSERT_EQ_INT(shoal_any_as_bytes(a, &bytes, NULL), i == 5 ? 0 : -EINVAL);
        ASSERT_EQ_INT(shoal_any_count(a), i >= 6 && i <= 9 ? 0 : -EINVAL);
        ASSERT_EQ_INT(shoal_any_at(a, 0, &inner), i == 6 || i == 7 || i == 9 ? -ERANGE : -EINVAL);
        ASSERT_EQ_INT(shoal_any_entry(a, 0, &inner, NULL), i == 8 ? -ERANGE : -EINVAL);
        ASSERT_EQ_INT(shoal_any_get_str(a, "k", &inner), i == 8 ? -ENOENT : -EINVAL);
        ASSERT_EQ_INT(shoal_any_contains(a, a), i >= 6 && i <= 7 ? 0 : -EINVAL);
        ASSERT_EQ_INT(shoal_any_frozen(a), i == 9 ? 0 : -EINVAL);
        ASSERT_EQ_INT(shoal_any_as_construct(a, &text, &inner), i == 10 ? 0 : -EINVAL);
        ASSERT_EQ_INT(shoal_any_state(a, &inner), i == 10 ? -ENOENT : -EINVAL);
        ASSERT_EQ_INT(shoal_any_as_reference(a, &reference), -EINVAL);
        shoal_any_free(all[i]);
    }
}

TEST(any_calls_refuse_null)
{
    bool flag;
    char *text;
    void *bytes;
    size_t size;
    const shoal_any *inner;
    shoal_any *dict = made(shoal_any_dict()), *a;
    ASSERT_ERR(shoal_any_kind(NULL), -EINVAL);
    ASSERT_ERR(shoal_any_as_bool(NULL, &flag), -EINVAL);
    ASSERT_ERR(shoal_any_count(NULL), -EINVAL);
    ASSERT_ERR(shoal_any_at(NULL, 0, &inner), -EINVAL);
    ASSERT_ERR(shoal_any_get(dict, NULL, &inner), -EINVAL);
    ASSERT_ERR(shoal_any_get_str(dict, NULL, &inner), -EINVAL);
    ASSERT_ERR(shoal_any_contains(dict, NULL), -EINVAL);
    ASSERT_ERR(shoal_any_equal(NULL, dict), -EINVAL);
    ASSERT_ERR(shoal_any_equal(dict, NULL), -EINVAL);
    ASSERT_ERR(shoal_any_repr(NULL, &text), -EINVAL);
    ASSERT_ERR(shoal_any_encode(NULL, &bytes, &size), -EINVAL);
    ASSERT_ERR(shoal_any_decode(NULL, "", 0, NULL), -EINVAL);
    ASSERT_ERR(shoal_any_decode(&a, NULL, 1, NULL), -EINVAL);
    is_refused(shoal_any_construct("range", NULL), "");
    is_refused(shoal_any_construct(NULL, shoal_any_tuple()), "NULL");
    shoal_any_free(dict);
}

TEST(any_accessors_refuse_null_to_write_to)
{
    bool flag = true;
    const char *text = NULL;
    const shoal_any *inner = NULL;
    shoal_any *all = made(shoal_any_list(shoal_any_bool(false), INT(1), shoal_any_float(1),
                                         STR("s"), shoal_any_bytes("b", 1),
                                         shoal_any_construct("KeyError", shoal_any_tuple()),
                                         shoal_any_dict(STR("k"), INT(1)),
                                         any_from_object(&(shoal_reference){7, 5, 6}, TYPE_LOCK)));
    const shoal_any *at[8];
    for (int i = 0; i < 8; i++)
        ASSERT_OK(shoal_any_at(all, i, &at[i]));
    ASSERT_ERR(shoal_any_as_bool(at[0], NULL), -EINVAL);
    ASSERT_STR(shoal_error_detail(), "shoal_any_as_bool: nowhere to write what it finds (NULL)");
    ASSERT_ERR(shoal_any_as_int(at[1], NULL), -EINVAL);
    ASSERT_ERR(shoal_any_as_uint(at[1], NULL), -EINVAL);
    ASSERT_ERR(shoal_any_as_int_bytes(at[1], NULL, &(size_t){0}), -EINVAL);
    ASSERT_ERR(shoal_any_as_float(at[2], NULL), -EINVAL);
    ASSERT_ERR(shoal_any_as_float(at[1], NULL), -EINVAL);
    ASSERT_ERR(shoal_any_as_str(at[3], NULL, &(size_t){0}), -EINVAL);
    ASSERT_ERR(shoal_any_as_bytes(at[4], NULL, &(size_t){0}), -EINVAL);
    ASSERT_ERR(shoal_any_as_construct(at[5], NULL, &inner), -EINVAL);
    ASSERT_ERR(shoal_any_as_construct(at[5], &text, NULL), -EINVAL);
    ASSERT_ERR(shoal_any_state(at[5], NULL), -EINVAL);
    ASSERT_ERR(shoal_any_at(all, 0, NULL), -EINVAL);
    ASSERT_ERR(shoal_any_get(at[6], at[3], NULL), -EINVAL);
    ASSERT_ERR(shoal_any_get_str(at[6], "k", NULL), -EINVAL);
    ASSERT_OK(shoal_any_entry(at[6], 0, NULL, NULL));
    ASSERT_ERR(shoal_any_as_reference(at[7], NULL), -EINVAL);
    ASSERT_NULL(text);
    ASSERT_NULL(inner);
    ASSERT_OK(shoal_any_as_bool(at[0], &flag));
    ASSERT_EQ_INT(flag, false);
    shoal_any_free(all);
}

TEST(any_ints_that_do_not_fit_are_out_of_range)
{
    static const struct {
        const char *bytes;
        size_t size;
        bool in_int, in_uint;
    } cases[] = {
        {"\xff", 1, true, false},
        {"\xff\xff\xff\xff\xff\xff\xff\x7f", 8, true, true},
        {"\0\0\0\0\0\0\0\x80", 8, true, false},
        {"\0\0\0\0\0\0\0\x80\0", 9, false, true},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\0", 9, false, true},
        {"\0\0\0\0\0\0\0\0\1", 9, false, false},
        {"\xff\xff\xff\xff\xff\xff\xff\x7f\xff", 9, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t n = 0;
        uint64_t u = 0;
        const void *bytes;
        size_t size;
        shoal_any *a = made(shoal_any_int_bytes(cases[i].bytes, cases[i].size));
        ASSERT_EQ_INT(shoal_any_as_int(a, &n), cases[i].in_int ? 0 : -ERANGE);
        ASSERT_EQ_INT(shoal_any_as_uint(a, &u), cases[i].in_uint ? 0 : -ERANGE);
        if (cases[i].in_int && cases[i].size == 8)
            ASSERT_MEM(&n, cases[i].bytes, 8);
        if (cases[i].in_uint)
            ASSERT_MEM(&u, cases[i].bytes, 8);
        ASSERT_OK(shoal_any_as_int_bytes(a, &bytes, &size));
        ASSERT_GE_INT(size, 8);
        ASSERT_MEM(bytes, cases[i].bytes, cases[i].size);
        shoal_any_free(a);
    }
}

static double as_float(shoal_any *any)
{
    double d = 0;
    ASSERT_OK(shoal_any_as_float(made(any), &d));
    shoal_any_free(any);
    return d;
}

TEST(any_ints_as_floats_are_rounded_to_the_nearest)
{
    unsigned char bytes[200] = {0};
    double d;
    ASSERT_EQ_DOUBLE(as_float(INT(-3)), -3.0);
    ASSERT_EQ_DOUBLE(as_float(shoal_any_bool(true)), 1.0);
    ASSERT_EQ_DOUBLE(as_float(shoal_any_uint(UINT64_MAX)), 0x1p64);
    bytes[10] = 1;
    ASSERT_EQ_DOUBLE(as_float(shoal_any_int_bytes(bytes, 11)), 0x1p80);
    /* Half way between two floats: to the even one; with anything more, up. */
    bytes[3] = 8; /* 2^27 */
    ASSERT_EQ_DOUBLE(as_float(shoal_any_int_bytes(bytes, 11)), 0x1p80);
    bytes[0] = 1;
    ASSERT_EQ_DOUBLE(as_float(shoal_any_int_bytes(bytes, 11)), 0x1.0000000000001p80);
    for (int i = 0; i < 11; i++)
        bytes[i] = (unsigned char)~bytes[i];
    bytes[0]++; /* the same, negative */
    ASSERT_EQ_DOUBLE(as_float(shoal_any_int_bytes(bytes, 11)), -0x1.0000000000001p80);
    memset(bytes, 0, sizeof bytes);
    bytes[128] = 0x80; /* -2^1031 */
    shoal_any *large = made(shoal_any_int_bytes(bytes, 129));
    ASSERT_ERR(shoal_any_as_float(large, &d), -ERANGE);
    shoal_any_free(large);
    bytes[127] = 0x80;
    bytes[128] = 0xff; /* -2^1023 */
    ASSERT_EQ_DOUBLE(as_float(shoal_any_int_bytes(bytes, 129)), -0x1p1023);
}

TEST(any_str_with_a_zero_byte_asks_for_its_size)
{
    const char *text = NULL;
    size_t size;
    shoal_any *a = made(shoal_any_str_sized("a\0b", 3));
    ASSERT_ERR(shoal_any_as_str(a, &text, NULL), -EINVAL);
    ASSERT_NULL(text);
    ASSERT_OK(shoal_any_as_str(a, &text, &size));
    ASSERT_EQ_INT(size, 3);
    ASSERT_MEM(text, "a\0b", 4);
    shows(a, "'a\\x00b'");
}

TEST(any_at_counts_from_both_ends)
{
    shoal_any *all[] = {shoal_any_list(INT(5), INT(6), INT(7)),
                        shoal_any_tuple(INT(5), INT(6), INT(7)),
                        shoal_any_set(INT(5), INT(6), INT(7))};
    for (int i = 0; i < 3; i++) {
        const shoal_any *item;
        int64_t n;
        for (int k = -3; k < 3; k++) {
            ASSERT_OK(shoal_any_at(made(all[i]), k, &item));
            ASSERT_OK(shoal_any_as_int(item, &n));
            ASSERT_EQ_INT(n, 5 + (k + 3) % 3);
        }
        item = NULL;
        ASSERT_ERR(shoal_any_at(all[i], 3, &item), -ERANGE);
        ASSERT_STR(shoal_error_detail(), "shoal_any_at: index 3 of 3");
        ASSERT_ERR(shoal_any_at(all[i], -4, &item), -ERANGE);
        ASSERT_ERR(shoal_any_at(all[i], INT64_MIN, &item), -ERANGE);
        ASSERT_ERR(shoal_any_at(all[i], INT64_MAX, &item), -ERANGE);
        ASSERT_NULL(item);
        shoal_any_free(all[i]);
    }
}

TEST(any_dict_entries_come_in_the_order_of_insertion)
{
    shoal_any *dict = made(shoal_any_dict(STR("z"), INT(0), STR("a"), INT(1), INT(7), INT(2)));
    const shoal_any *key, *value;
    static const char *const keys[] = {"'z'", "'a'", "7"};
    for (int i = 0; i < 3; i++) {
        int64_t n;
        ASSERT_OK(shoal_any_entry(dict, i, &key, &value));
        ASSERT_OK(shoal_any_as_int(value, &n));
        ASSERT_EQ_INT(n, i);
        shows(shoal_any_copy(key), keys[i]);
    }
    ASSERT_ERR(shoal_any_entry(dict, 3, &key, &value), -ERANGE);
    ASSERT_OK(shoal_any_entry(dict, -1, NULL, NULL));
    ASSERT_OK(shoal_any_get_str(dict, "a", &value));
    shows(shoal_any_copy(value), "1");
    ASSERT_ERR(shoal_any_get_str(dict, "b", &value), -ENOENT);
    ASSERT_STR(shoal_error_detail(), "shoal_any_get_str: no key 'b'");
    ASSERT_ERR(shoal_any_get_str(dict, "\xff", &value), -EINVAL);
    shoal_any *list = made(shoal_any_list());
    ASSERT_ERR(shoal_any_get(dict, list, &value), -EINVAL);
    ASSERT_ERR(shoal_any_contains(dict, list), -EINVAL);
    shoal_any_free(list);
    shoal_any_free(dict);
}

static shoal_any *big(int shift, int add) /* 2^shift + add */
{
    unsigned char bytes[160] = {0};
    bytes[shift / 8] = (unsigned char)(1 << shift % 8);
    if (add > 0)
        bytes[0] = (unsigned char)(bytes[0] + add);
    return shoal_any_int_bytes(bytes, sizeof bytes);
}

/* Several forms of each of these numbers. */
static shoal_any *number(int which, int form)
{
    switch (which) {
    case 0: return form == 0 ? INT(0) : form == 1 ? shoal_any_float(-0.0) : shoal_any_bool(false);
    case 1: return form == 0 ? INT(1) : form == 1 ? shoal_any_float(1) : shoal_any_bool(true);
    case 2: return form ? INT(INT64_MIN) : shoal_any_float(-0x1p63);
    case 3: return form ? big(63, 0) : shoal_any_float(0x1p63);
    case 4: return form ? big(70, 0) : shoal_any_float(0x1p70);
    case 5: return form ? big(1023, 0) : shoal_any_float(0x1p1023);
    case 6: return big(70, 1);
    case 7: return shoal_any_float(0.5);
    case 8: return shoal_any_float(INFINITY);
    case 9: return INT(((int64_t)1 << 53) + 1); /* no float */
    case 10: return form ? INT((int64_t)1 << 53) : shoal_any_float(0x1p53);
    case 11: return shoal_any_float(DBL_MAX);
    case 12: return INT(INT64_MAX);
    default: return STR("1");
    }
}

TEST(any_numbers_are_equal_by_value_and_so_are_their_places_in_sets)
{
    for (int a = 0; a < 14; a++)
        for (int b = 0; b < 14; b++)
            for (int form = 0; form < 9; form++) {
                shoal_any *x = made(number(a, form / 3)), *y = made(number(b, form % 3));
                ASSERT_EQ_INT(shoal_any_equal(x, y), a == b);
                /* In a set with an index. */
                shoal_any *set = made(shoal_any_set());
                for (int i = 100; i < 130; i++)
                    ASSERT_OK(shoal_any_add(set, INT(i)));
                ASSERT_OK(shoal_any_add(set, x));
                ASSERT_EQ_INT(shoal_any_contains(set, y), a == b);
                shoal_any_free(y);
                shoal_any_free(set);
            }
}

TEST(any_nan_is_equal_to_nothing)
{
    shoal_any *a = made(shoal_any_list(shoal_any_float(NAN))), *set = made(shoal_any_set());
    ASSERT_EQ_INT(shoal_any_equal(a, a), 0);
    ASSERT_OK(shoal_any_add(set, shoal_any_float(NAN)));
    ASSERT_OK(shoal_any_add(set, shoal_any_float(NAN)));
    ASSERT_EQ_INT(shoal_any_equal(set, set), 0);
    shoal_any_free(a);
    shows(set, "{nan, nan}");
}

/* Pairs of which the first two are equal and the third is not. */
TEST(any_containers_are_equal_as_in_python)
{
#define E(...) shoal_any_construct("ValueError", shoal_any_tuple(__VA_ARGS__))
    shoal_any *all[][3] = {
        {shoal_any_list(INT(1), STR("a")), shoal_any_list(shoal_any_float(1), STR("a")),
         shoal_any_list(STR("a"), INT(1))},
        {shoal_any_tuple(INT(1)), shoal_any_tuple(INT(1)), shoal_any_list(INT(1))},
        {STR("a"), STR("a"), shoal_any_bytes("a", 1)},
        {shoal_any_dict(INT(1), INT(2), INT(3), INT(4)),
         shoal_any_dict(INT(3), INT(4), INT(1), INT(2)),
         shoal_any_dict(INT(1), INT(4), INT(3), INT(2))},
        {shoal_any_dict(INT(1), shoal_any_list(INT(2))),
         shoal_any_dict(INT(1), shoal_any_list(INT(2))),
         shoal_any_dict(INT(2), shoal_any_list(INT(2)))},
        {shoal_any_set(INT(1), INT(2), STR("x")), shoal_any_frozenset(STR("x"), INT(2), INT(1)),
         shoal_any_set(INT(1), INT(2), STR("y"))},
        {shoal_any_set(shoal_any_frozenset(shoal_any_frozenset(INT(1)), INT(2))),
         shoal_any_set(shoal_any_frozenset(INT(2), shoal_any_frozenset(INT(1)))),
         shoal_any_set(shoal_any_frozenset(INT(1), shoal_any_frozenset(INT(2))))},
        {shoal_any_dict(), shoal_any_dict(), shoal_any_set()},
        {shoal_any_none(), shoal_any_none(), shoal_any_bool(false)},
        {E(STR("a")), E(STR("a")), E(STR("b"))},
        {E(STR("a")), E(STR("a")), shoal_any_construct("TypeError", shoal_any_tuple(STR("a")))},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (int k = 0; k < 3; k++)
            made(all[i][k]);
        ASSERT_EQ_INT(shoal_any_equal(all[i][0], all[i][1]), 1);
        ASSERT_EQ_INT(shoal_any_equal(all[i][1], all[i][0]), 1);
        ASSERT_EQ_INT(shoal_any_equal(all[i][0], all[i][2]), 0);
        ASSERT_EQ_INT(shoal_any_equal(all[i][2], all[i][0]), 0);
        for (int k = 0; k < 3; k++)
            shoal_any_free(all[i][k]);
    }
}

TEST(any_large_sets_and_dicts_are_equal_in_any_order)
{
    enum { N = 20000 };
    shoal_any *a = made(shoal_any_set()), *b = made(shoal_any_set()), *c = made(shoal_any_dict()),
              *d = made(shoal_any_dict());
    char text[32];
    for (int i = 0; i < N; i++) {
        snprintf(text, sizeof text, "key %d", i);
        ASSERT_OK(shoal_any_add(a, STR(text)));
        ASSERT_OK(shoal_any_put(c, STR(text), INT(i)));
        snprintf(text, sizeof text, "key %d", N - 1 - i);
        ASSERT_OK(shoal_any_add(b, STR(text)));
        ASSERT_OK(shoal_any_put(d, STR(text), INT(N - 1 - i)));
    }
    ASSERT_EQ_INT(shoal_any_equal(a, b), 1);
    ASSERT_EQ_INT(shoal_any_equal(c, d), 1);
    ASSERT_OK(shoal_any_put(d, STR("key 7"), INT(8)));
    ASSERT_EQ_INT(shoal_any_equal(c, d), 0);
    ASSERT_OK(shoal_any_add(a, INT(1)));
    ASSERT_OK(shoal_any_add(b, INT(2)));
    ASSERT_EQ_INT(shoal_any_equal(a, b), 0);
    shoal_any_free(a);
    shoal_any_free(b);
    shoal_any_free(c);
    shoal_any_free(d);
}

/* ---- repr ---- */

TEST(any_repr_of_floats_is_the_shortest_that_comes_back)
{
    static const struct {
        double value;
        const char *shown;
    } cases[] = {
        {0, "0.0"},
        {-0.0, "-0.0"},
        {1, "1.0"},
        {0.1, "0.1"},
        {-2.5, "-2.5"},
        {1e15, "1000000000000000.0"},
        {1e16, "1e+16"},
        {123456789012345680.0, "1.2345678901234568e+17"},
        {9007199254740993.0, "9007199254740992.0"},
        {0.0001, "0.0001"},
        {0.00001, "1e-05"},
        {0.000123456, "0.000123456"},
        {1e100, "1e+100"},
        {1.0 / 3, "0.3333333333333333"},
        {5e-324, "5e-324"},
        {DBL_MIN, "2.2250738585072014e-308"},
        {DBL_MAX, "1.7976931348623157e+308"},
        {0x1p-44, "5.684341886080802e-14"}, /* the nearest 16 digits are another number's */
        {0x1p-24, "5.960464477539063e-08"},
        {9.5367431640625e-07, "9.5367431640625e-07"},
        {1e22, "1e+22"},
        {1e23, "1e+23"},
        {INFINITY, "inf"},
        {-INFINITY, "-inf"},
        {NAN, "nan"},
        {12345.678, "12345.678"},
        {100, "100.0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        shows(shoal_any_float(cases[i].value), cases[i].shown);
}

TEST(any_repr_of_text_is_quoted_and_escaped_as_python_does)
{
    shows(STR("it's"), "\"it's\"");
    shows(STR("\"it's\""), "'\"it\\'s\"'");
    shows(STR("a\\b\n\r\t\x01\x1f\x7f"), "'a\\\\b\\n\\r\\t\\x01\\x1f\\x7f'");
    shows(STR("\xc2\x80\xc2\x9f\xc2\xa0\xc2\xa1\xc2\xad\xc3\xbf"),
          "'\\x80\\x9f\\xa0\xc2\xa1\\xad\xc3\xbf'");
    shows(STR("\xed\xa0\x80\xe2\x82\xac\xe2\x80\xa8\xef\xbb\xbf"),
          "'\\ud800\xe2\x82\xac\\u2028\\ufeff'");
    shows(STR("\xf0\x9f\x98\x80\xf3\xb0\x80\x80"), "'\xf0\x9f\x98\x80\\U000f0000'");
    shows(shoal_any_bytes("it's\0\xff\n", 7), "b\"it's\\x00\\xff\\n\"");
    shows(shoal_any_bytes("'\"\\", 3), "b'\\'\"\\\\'");
    shows(shoal_any_bytes("", 0), "b''");
}

TEST(any_repr_of_ints_goes_to_4300_digits_and_then_to_hexadecimal)
{
    static unsigned char bytes[3000];
    char *text;
    shows(INT(INT64_MIN), "-9223372036854775808");
    shows(big(64, 0), "18446744073709551616");
    shows(big(129, 5), "680564733841876926926749214863536422917");
    memset(bytes, 0, sizeof bytes);
    bytes[1785] = 0x10;
    shoal_any *a = made(shoal_any_int_bytes(bytes, 1786));
    ASSERT_OK(shoal_any_repr(a, &text));
    ASSERT_EQ_INT(strlen(text), 4300);
    free(text);
    shoal_any_free(a);
    bytes[1785] = 0;
    bytes[2000] = 0x10;
    a = made(shoal_any_int_bytes(bytes, sizeof bytes));
    ASSERT_OK(shoal_any_repr(a, &text));
    ASSERT_EQ_INT(strlen(text), 2 + 2 * 2001);
    ASSERT_MEM(text, "0x10000", 7);
    free(text);
    shoal_any_free(a);
    memset(bytes, 0xff, sizeof bytes);
    bytes[2000] = 0xef;
    a = made(shoal_any_int_bytes(bytes, sizeof bytes));
    ASSERT_OK(shoal_any_repr(a, &text));
    ASSERT_MEM(text, "-0x100000", 9);
    free(text);
    shoal_any_free(a);
}

TEST(any_constructs_are_those_of_the_table_with_arguments_that_fit)
{
#define ARGS(...) shoal_any_tuple(__VA_ARGS__)
#define C(name, ...) shoal_any_construct(name, ARGS(__VA_ARGS__))
    shows(C("range", INT(0), INT(5), INT(1)), "range(0, 5)");
    shows(C("range", INT(0), big(70, 0), INT(-2)), "range(0, 1180591620717411303424, -2)");
    shows(C("slice", INT(1), shoal_any_none(), shoal_any_none()), "slice(1, None, None)");
    shows(C("complex", shoal_any_float(1), shoal_any_float(-2)), "(1-2j)");
    shows(C("complex", shoal_any_float(0), shoal_any_float(2.5)), "2.5j");
    shows(C("complex", shoal_any_float(-0.0), shoal_any_float(NAN)), "(-0+nanj)");
    shows(C("bytearray", shoal_any_bytes("x", 1)), "bytearray(b'x')");
    shows(C("bytearray", shoal_any_bytes("it's", 4)), "bytearray(b\"it\\'s\")"); /* as Python */
    shows(C("ValueError", STR("no"), INT(1)), "ValueError('no', 1)");
    shows(C("KeyError", STR("k")), "KeyError('k')");
    shows(shoal_any_construct("queue.Empty", shoal_any_tuple()), "Empty()");
    shows(shoal_any_construct("queue.Full", shoal_any_tuple()), "Full()");
    is_refused(C("os.system", STR("rm")), "os.system");
    is_refused(C("set", shoal_any_list()), "set is none");
    is_refused(shoal_any_construct("_codecs.encode", shoal_any_tuple()), "none");
    is_refused(C("range", INT(0), INT(5)), "range: cannot");
    is_refused(C("range", INT(0), INT(5), INT(0)), "range: cannot");
    is_refused(C("range", INT(0), INT(5), shoal_any_float(1)), "range: cannot");
    is_refused(C("complex", shoal_any_float(1), INT(2)), "complex: cannot");
    is_refused(C("bytearray", STR("x")), "bytearray: cannot");
    is_refused(shoal_any_construct("ValueError", STR("x")), "ValueError: cannot");
}

TEST(any_constructs_are_keys_where_python_lets_them)
{
    shows(shoal_any_set(C("range", INT(0), INT(5), INT(1)), C("range", INT(0), INT(5), INT(1))),
          "{range(0, 5)}");
    shows(shoal_any_set(C("ValueError", shoal_any_list(INT(1)))), "{ValueError([1])}");
    is_refused(shoal_any_set(C("bytearray", shoal_any_bytes("x", 1))), "cannot be in a set");
    is_refused(shoal_any_set(C("slice", shoal_any_list(), INT(1), INT(1))), "cannot be in a set");
}

TEST(any_construct_gives_its_name_and_arguments)
{
    const char *name;
    const shoal_any *arguments;
    shoal_any *a = made(C("queue.Full", INT(7)));
    ASSERT_OK(shoal_any_as_construct(a, &name, &arguments));
    ASSERT_STR(name, "queue.Full");
    ASSERT_EQ_INT(shoal_any_kind(arguments), SHOAL_ANY_TUPLE);
    ASSERT_EQ_INT(shoal_any_count(arguments), 1);
    ASSERT_ERR(shoal_any_state(a, &arguments), -ENOENT);
    shoal_any_free(a);
}
