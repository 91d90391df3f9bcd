/* shoal-python-containers LIST DICT NAMESPACE - a member of a Python program's family reads what that has put into its
 * containers, and fills them itself (tests/python/package/test_c.py). Each is named FAMILY:ID:GENERATION.
 *
 *   reads   what repr says of the three, to dict["list"], dict["dict"], dict["namespace"]; what a get of dict["opaque"] comes to,
 *           to dict["refused"]
 *   fills   the list with values of all kinds, dict["values"] and namespace.values with a list of its own that holds the same;
 *           dict with keys of all kinds; dict["lock"] with a lock
 *   steps   list[0] += 1, dict["count"] += 5, namespace.count += 7, and one compare_and_set each that goes well, and one that does not
 */
#include <inttypes.h>
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int rc, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %d, %s\n", what, rc, shoal_error_detail());
    exit(1);
}
#define CHECK(call) check(call, #call)

static shoal_reference reference_of(const char *text)
{
    shoal_reference r;
    if (sscanf(text, "%" SCNx64 ":%" SCNx32 ":%" SCNx32, &r.family, &r.id, &r.generation) != 3)
        exit(2);
    return r;
}

/* dict[key] = value, which it takes over. */
static void set(shoal_dict *dict, shoal_any *key, shoal_any *value)
{
    CHECK(shoal_dict_set(dict, key, value));
    shoal_any_free(key);
    shoal_any_free(value);
}

/* dict[key] = repr(any), which it takes over. */
static void tell(shoal_dict *dict, const char *key, shoal_any *any)
{
    char *text;
    CHECK(shoal_any_repr(any, &text));
    shoal_any_free(any);
    set(dict, shoal_any_str(key), shoal_any_str(text));
    free(text);
}

/* Whether it can be read: 0, or the error. */
static int look(const shoal_dict *dict, const char *name)
{
    shoal_any *key = shoal_any_str(name), *any = NULL;
    int rc = shoal_dict_get(dict, key, &any);
    shoal_any_free(key);
    shoal_any_free(any);
    return rc;
}

static shoal_any *values(void)
{
    static char text[5000];
    static const unsigned char big[9] = {[8] = 64}; /* 2 ** 70 */
    memset(text, 'x', sizeof text - 1);
    shoal_any *pair = shoal_any_tuple(shoal_any_int(-1), shoal_any_str("\xc3\xa9"));
    return shoal_any_list(shoal_any_none(), shoal_any_bool(true), shoal_any_int(-7),
                          shoal_any_int(INT64_MAX), shoal_any_int_bytes(big, sizeof big),
                          shoal_any_float(0.5), shoal_any_float(1e300), shoal_any_str(""),
                          shoal_any_str("short"), shoal_any_str(text), shoal_any_bytes("\0\xff", 2),
                          shoal_any_bytes(text, sizeof text), pair,
                          shoal_any_list(shoal_any_int(1), shoal_any_list()),
                          shoal_any_dict(shoal_any_str("k"),
                                         shoal_any_set(shoal_any_int(1), shoal_any_int(2))),
                          shoal_any_frozenset(shoal_any_str("f")),
                          shoal_any_construct("complex", shoal_any_tuple(shoal_any_float(1),
                                                                         shoal_any_float(2))));
}

static void fill(shoal_list *list, shoal_dict *dict, shoal_namespace *space)
{
    shoal_list *own;
    shoal_lock *lock;
    shoal_any *all = values();
    CHECK(shoal_list_extend(list, all));
    CHECK(shoal_list_create(&own, NULL));
    CHECK(shoal_list_extend(own, all));
    set(dict, shoal_any_str("values"), shoal_any_object(own));
    shoal_any *object = shoal_any_object(own);
    CHECK(shoal_namespace_set(space, "values", object));
    shoal_any_free(object);
    shoal_list_close(own); /* the containers hold it */
    set(dict, shoal_any_int(1), shoal_any_str("int"));
    set(dict, shoal_any_float(0.5), shoal_any_str("float"));
    set(dict, shoal_any_none(), shoal_any_str("None"));
    set(dict, shoal_any_bytes("b", 1), shoal_any_str("bytes"));
    set(dict, shoal_any_tuple(shoal_any_int(1), shoal_any_str("a")), shoal_any_str("tuple"));
    set(dict, shoal_any_frozenset(shoal_any_int(1)), shoal_any_str("frozenset"));
    CHECK(shoal_lock_create(&lock, NULL));
    set(dict, shoal_any_str("lock"), shoal_any_object(lock));
    shoal_lock_close(lock);
    shoal_any_free(all);
}

static void expect(int rc, int wanted, const char *what)
{
    check(rc, what);
    if (rc == wanted)
        return;
    fprintf(stderr, "%s: %d, not %d\n", what, rc, wanted);
    exit(1);
}

static void step(shoal_list *list, shoal_dict *dict, shoal_namespace *space)
{
    shoal_any *one = shoal_any_int(1), *five = shoal_any_int(5), *seven = shoal_any_int(7);
    shoal_any *count = shoal_any_str("count"), *wrong = shoal_any_str("no"),
              *right = shoal_any_str("yes"), *key = shoal_any_str("state"), *sum;
    CHECK(shoal_list_add(list, 0, one, NULL));
    CHECK(shoal_dict_add(dict, count, five, &sum));
    shoal_any_free(sum);
    CHECK(shoal_namespace_add(space, "count", seven, NULL));
    expect(shoal_list_compare_and_set(list, 1, wrong, right), 0, "list, another value");
    expect(shoal_list_compare_and_set(list, 1, right, wrong), 1, "list");
    expect(shoal_dict_compare_and_set(dict, key, wrong, right), 0, "dict, another value");
    expect(shoal_dict_compare_and_set(dict, key, right, wrong), 1, "dict");
    expect(shoal_namespace_compare_and_set(space, "state", wrong, right), 0,
           "namespace, another value");
    expect(shoal_namespace_compare_and_set(space, "state", right, wrong), 1, "namespace");
    shoal_any *all[] = {one, five, seven, count, wrong, right, key};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        shoal_any_free(all[i]);
}

int main(int n, char **words)
{
    shoal_list *list;
    shoal_dict *dict;
    shoal_namespace *space;
    shoal_any *any, *opaque = shoal_any_str("opaque");
    if (n != 4)
        return 2;
    shoal_reference r = reference_of(words[1]);
    CHECK(shoal_list_open(&list, &r));
    r = reference_of(words[2]);
    CHECK(shoal_dict_open(&dict, &r));
    r = reference_of(words[3]);
    CHECK(shoal_namespace_open(&space, &r));
    int refused = look(dict, "opaque");
    CHECK(shoal_dict_delete(dict, opaque));
    shoal_any_free(opaque);
    CHECK(shoal_dict_copy(dict, &any));
    tell(dict, "dict", any);
    CHECK(shoal_list_slice(list, NULL, &any));
    tell(dict, "list", any);
    CHECK(shoal_namespace_copy(space, &any));
    tell(dict, "namespace", any);
    set(dict, shoal_any_str("refused"), shoal_any_int(refused));
    step(list, dict, space);
    fill(list, dict, space);
    shoal_list_close(list);
    shoal_dict_close(dict);
    shoal_namespace_close(space);
    return 0;
}
