/* containers.c: every change of lists, dicts and namespaces, killed and stopped everywhere. What a container holds is told as a text: of how it was before,
 * and of how it would be, which a twin in setup tells; whoever looks at whatever time must see one of both, and at the end it is the
 * latter if the call has returned. */
#define _GNU_SOURCE
#include "family.h"

#include "manager/container.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The container of a scenario: one of these. */
struct thing {
    shoal_list *list;
    shoal_dict *dict;
    shoal_namespace *space;
};

/* What a scenario does. */
struct plan {
    int kind; /* 'l', 'd', 'n' */
    void (*fill)(struct thing *t);
    void (*act)(struct thing *t);
};

struct state {
    struct note *note;
    const struct plan *plan;
    struct thing thing;
    char *before, *after;
    int more; /* objects that there are then */
};

/* ---- values ---- */

/* Takes the any over: for builders in arguments. */
#define WITH(any, call)             \
    __extension__({                 \
        shoal_any *it = (any);      \
        ASSERT_NOT_NULL(it);        \
        int64_t with_result = call; \
        shoal_any_free(it);         \
        with_result;                \
    })

static shoal_any *text_of(int size, int letter)
{
    char text[4000];

    memset(text, letter, sizeof(text));
    return shoal_any_str_sized(text, (size_t)size);
}
#define SHORT_TEXT(letter) text_of(5, letter)
#define TEXT(letter) text_of(40, letter)
#define LONG_TEXT(letter) text_of(3000, letter)

/* ---- what there is, as a text ---- */

static void add_value(FILE *f, const shoal_any *any)
{
    char *repr;
    shoal_reference r;
    shoal_list *list;

    if (shoal_any_kind(any) == SHOAL_ANY_OBJECT) {
        ASSERT_OK(shoal_any_as_reference(any, &r));
        ASSERT_OK(shoal_list_open(&list, &r));
        fprintf(f, "a list of %d, ", (int)shoal_list_length(list));
        shoal_list_close(list);
        return;
    }
    ASSERT_OK(shoal_any_repr(any, &repr));
    fprintf(f, "%.60s of %d, ", repr, (int)strlen(repr));
    free(repr);
}

static char *text_now(const struct thing *t)
{
    char *text;
    size_t size;
    shoal_any *any;
    const shoal_any *key, *value;
    FILE *f = open_memstream(&text, &size);

    ASSERT_NOT_NULL(f);
    if (t->list)
        ASSERT_OK(shoal_list_slice(t->list, NULL, &any));
    else if (t->dict)
        ASSERT_OK(shoal_dict_copy(t->dict, &any));
    else
        ASSERT_OK(shoal_namespace_copy(t->space, &any));
    for (int64_t i = 0; i < shoal_any_count(any); i++) {
        if (t->list) {
            ASSERT_OK(shoal_any_at(any, i, &value));
        } else {
            ASSERT_OK(shoal_any_entry(any, i, &key, &value));
            add_value(f, key);
        }
        add_value(f, value);
    }
    shoal_any_free(any);
    fclose(f);
    return text;
}

/* 1: as it was before; 2: as it is to be; 3: both. */
static int which_text(struct state *s)
{
    char *now = text_now(&s->thing);
    int is = (strcmp(now, s->before) ? 0 : 1) | (strcmp(now, s->after) ? 0 : 2);

    if (!is)
        FAIL("it is %.500s\nand was %.500s\nand should be %.500s", now, s->before, s->after);
    free(now);
    return is;
}

/* ---- setup ---- */

static struct header *header_of_thing(const struct thing *t)
{
    const void *handle = t->list   ? (const void *)t->list
                         : t->dict ? (const void *)t->dict
                                   : (const void *)t->space;

    return handle_of(handle)->header;
}

static void make(struct thing *t, const struct plan *plan)
{
    struct site site;

    *t = (struct thing){0};
    if (plan->kind == 'l')
        ASSERT_OK(shoal_list_create(&t->list, NULL));
    else if (plan->kind == 'd')
        ASSERT_OK(shoal_dict_create(&t->dict, NULL));
    else
        ASSERT_OK(shoal_namespace_create(&t->space, NULL));
    /* The same way each time: which part a key belongs to follows from what is secret. */
    site_at(&site, header_of_thing(t));
    site.head->secret[0] = 0x0123456789abcdef;
    site.head->secret[1] = 0xfedcba9876543210;
    plan->fill(t);
}

static void end(struct thing *t)
{
    shoal_list_close(t->list);
    shoal_dict_close(t->dict);
    shoal_namespace_close(t->space);
}

static uint32_t objects(void)
{
    shoal_statistics st;

    ASSERT_OK(shoal_memory_statistics(&st));
    return st.objects;
}

static void *begin(const struct plan *plan)
{
    struct state *s = calloc(1, sizeof(*s));
    struct thing twin;

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    s->plan = plan;
    make(&twin, plan);
    uint32_t were = objects();
    plan->act(&twin);
    s->more = (int)objects() - (int)were;
    s->after = text_now(&twin);
    end(&twin);
    make(&s->thing, plan);
    s->before = text_now(&s->thing);
    family_ready(s->note);
    return s;
}

/* ---- who does what ---- */

static void act(void *p)
{
    struct state *s = p;

    s->plan->act(&s->thing);
    s->note->entered = 2;
}

/* Changes it, and changes it back. */
static void change(void *p, int i)
{
    struct state *s = p;
    shoal_any *mine = shoal_any_tuple(shoal_any_str("survivor"), shoal_any_int(i));
    char name[20] = {0};

    snprintf(name, sizeof(name), "survivor %d", i);
    ASSERT_NOT_NULL(mine);
    if (s->thing.list) {
        ASSERT_OK(shoal_list_append(s->thing.list, mine));
        ASSERT_OK(shoal_list_remove(s->thing.list, mine));
    } else if (s->thing.dict) {
        for (int k = 0; k < 16; k++) { /* of all parts */
            name[19] = (char)k;
            ASSERT_OK(shoal_dict_set_int(s->thing.dict, name, sizeof(name), k));
        }
        for (int k = 0; k < 16; k++) {
            name[19] = (char)k;
            ASSERT_OK(shoal_dict_delete_bytes(s->thing.dict, name, sizeof(name)));
        }
    } else {
        ASSERT_OK(shoal_namespace_set(s->thing.space, name, mine));
        ASSERT_OK(shoal_namespace_delete(s->thing.space, name));
    }
    shoal_any_free(mine);
}

/* Beside one that is stopped: looks, which must not wait, and sees one of both. */
static void look_beside(void *p, int i)
{
    struct state *s = p;

    (void)i;
    which_text(s);
    which_text(s);
}

/* Succeeds who died, and changes nothing. */
static void repair(void *p)
{
    struct state *s = p;

    family_look();
    if (s->thing.list) {
        ASSERT_OK(shoal_list_acquire(s->thing.list, SHOAL_FOREVER));
        ASSERT_OK(shoal_list_release(s->thing.list));
    } else if (s->thing.dict) {
        ASSERT_OK(shoal_dict_acquire(s->thing.dict, SHOAL_FOREVER));
        ASSERT_OK(shoal_dict_release(s->thing.dict));
    }
}

/* But for stamps, which are another one each time. */
static void hash_bytes(uint64_t *hash, const void *from, size_t size)
{
    const uint64_t *words = from;
    uint64_t now = os_stamp(view.region->stamps), about = 1ull << 40;

    for (size_t i = 0; i < size / 8; i++)
        if (words[i] > now || words[i] + about < now)
            *hash = (*hash ^ words[i]) * 0x9e3779b97f4a7c15u;
}

/* What lies in the arenas, up to where it was ever used, and the journal. */
static uint64_t state(void *p)
{
    struct state *s = p;
    struct site site;
    uint64_t hash = family_state(p);

    site_at(&site, header_of_thing(&s->thing));
    for (unsigned i = 0; i < site.count; i++)
        for (int k = 0; k < 2; k++) {
            uint64_t payload = atomic_load(&site.stores[i].runs[k].payload);
            uint64_t units = atomic_load(&site.stores[i].runs[k].units);
            if (payload && units <= 8 && region_is_populated(view.heap + (payload - 1) * 64))
                hash_bytes(&hash, view.heap + (payload - 1) * 64, UNIT);
        }
    return hash;
}

static void finish(void *p)
{
    struct state *s = p;
    struct site site;

    family_settle();
    change(s, 9); /* who died inside is succeeded */
    int is = which_text(s);
    if (s->note->entered == 2)
        ASSERT_TRUE(is & 2);
    site_at(&site, header_of_thing(&s->thing));
    for (unsigned i = 0; i < site.count; i++) {
        owner_t owner = atomic_load(&site.stores[i].owner);
        ASSERT_TRUE(!owner || owner_dead(owner)); /* of a part that nobody came to */
    }
    for (int i = 0; s->thing.dict && i < 64; i++) /* in which case somebody does */
        shoal_dict_delete_bytes(s->thing.dict, &i, sizeof(i));
    ASSERT_EQ_INT(which_text(s), is);
    family_check(s->note->before + (uint32_t)(is == 2 ? s->more : 0));
    /* And it works. */
    s->plan->act(&s->thing);
}

/* ---- lists: how they are before ---- */

static void nothing(struct thing *t)
{
    (void)t;
}

static void ints(struct thing *t, int n)
{
    for (int i = 0; i < n; i++)
        ASSERT_OK(shoal_list_append_int(t->list, (i * 7) % 10));
}

static void few(struct thing *t)
{
    ints(t, 5);
}

static void eight(struct thing *t)
{
    ints(t, 8);
}

static void two_chunks(struct thing *t)
{
    ints(t, 512 + 20);
}

static void one_chunk(struct thing *t)
{
    ints(t, 512);
}

static void chunk_and_one(struct thing *t)
{
    ints(t, 512 + 1);
}

static void one_and_more(struct thing *t) /* of the first chunk one is left */
{
    two_chunks(t);
    for (int i = 0; i < 511; i++)
        ASSERT_OK(shoal_list_pop(t->list, 0, NULL));
}

static void nine_in_a_run(struct thing *t) /* eight have place in the object */
{
    ints(t, 200);
    while (shoal_list_length(t->list) > 9)
        ASSERT_OK(shoal_list_pop(t->list, -1, NULL));
}

static void room_before(struct thing *t)
{
    few(t);
    ASSERT_OK(shoal_list_pop(t->list, 0, NULL));
}

static void all_kinds(struct thing *t)
{
    ints(t, 3);
    ASSERT_OK(WITH(TEXT('a'), shoal_list_append(t->list, it)));
    ASSERT_OK(WITH(LONG_TEXT('b'), shoal_list_append(t->list, it)));
    ASSERT_OK(WITH(SHORT_TEXT('c'), shoal_list_append(t->list, it)));
    ASSERT_OK(WITH(LONG_TEXT('d'), shoal_list_append(t->list, it)));
    ASSERT_OK(WITH(TEXT('e'), shoal_list_append(t->list, it)));
}

static void nearly_full(struct thing *t)
{
    for (int i = 0; i < 9; i++)
        ASSERT_OK(WITH(TEXT('a' + i), shoal_list_append(t->list, it)));
}

static void texts_freed(struct thing *t) /* blocks come from lists of free ones */
{
    ints(t, 100);
    for (int i = 0; i < 9; i++)
        ASSERT_OK(WITH(TEXT('a' + i), shoal_list_append(t->list, it)));
    for (int i = 0; i < 4; i++)
        ASSERT_OK(shoal_list_pop(t->list, -2, NULL));
}

static void with_lists(struct thing *t)
{
    shoal_list *inner;

    ASSERT_OK(shoal_list_create(&inner, NULL));
    ASSERT_OK(shoal_list_append_int(inner, 1));
    ASSERT_OK(WITH(shoal_any_object(inner), shoal_list_append(t->list, it)));
    ASSERT_OK(WITH(shoal_any_object(t->list), shoal_list_append(inner, it)));
    shoal_list_close(inner);
}

/* ---- and what is done to them ---- */

static void append_int(struct thing *t)
{
    ASSERT_OK(shoal_list_append_int(t->list, 42));
}
static void append_text(struct thing *t)
{
    ASSERT_OK(WITH(TEXT('x'), shoal_list_append(t->list, it)));
}
static void append_long(struct thing *t)
{
    ASSERT_OK(WITH(LONG_TEXT('x'), shoal_list_append(t->list, it)));
}
static void insert_first(struct thing *t)
{
    ASSERT_OK(WITH(shoal_any_int(42), shoal_list_insert(t->list, 0, it)));
}
static void insert_second(struct thing *t)
{
    ASSERT_OK(WITH(TEXT('y'), shoal_list_insert(t->list, 2, it)));
}
static void set_int(struct thing *t)
{
    ASSERT_OK(shoal_list_set_int(t->list, 1, 77));
}
static void set_text_by_long(struct thing *t)
{
    ASSERT_OK(WITH(LONG_TEXT('z'), shoal_list_set(t->list, 3, it)));
}
static void set_long_by_text(struct thing *t)
{
    ASSERT_OK(WITH(TEXT('z'), shoal_list_set(t->list, 4, it)));
}
static void add_number(struct thing *t)
{
    ASSERT_OK(WITH(shoal_any_int(5), shoal_list_add(t->list, 0, it, NULL)));
}
static void pop_last(struct thing *t)
{
    ASSERT_OK(shoal_list_pop(t->list, -1, NULL));
}
static void pop_first(struct thing *t)
{
    ASSERT_OK(shoal_list_pop(t->list, 0, NULL));
}
static void pop_long(struct thing *t)
{
    shoal_any *any;

    ASSERT_OK(shoal_list_pop(t->list, 4, &any));
    shoal_any_free(any);
}
static void pop_third(struct thing *t)
{
    ASSERT_OK(shoal_list_pop(t->list, 2, NULL));
}
static void extend_all(struct thing *t)
{
    ASSERT_OK(WITH(shoal_any_list(shoal_any_int(1), LONG_TEXT('m'), TEXT('n'), LONG_TEXT('o')),
                   shoal_list_extend(t->list, it)));
}
static void clear_list(struct thing *t)
{
    ASSERT_OK(shoal_list_clear(t->list));
}
static void sort_list(struct thing *t)
{
    ASSERT_OK(shoal_list_sort(t->list, 0));
}
static void reverse_list(struct thing *t)
{
    ASSERT_OK(shoal_list_reverse(t->list));
}
static void set_slice(struct thing *t)
{
    ASSERT_OK(WITH(shoal_any_list(LONG_TEXT('p'), shoal_any_int(8), TEXT('q')),
                   shoal_list_set_slice(t->list, &(shoal_slice){3, 6, 1}, it)));
}

static void remove_one(struct thing *t)
{
    int64_t rc = WITH(shoal_any_int(4), shoal_list_remove(t->list, it));
    ASSERT_TRUE(!rc || rc == -ENOENT);
}
static void delete_slice(struct thing *t)
{
    ASSERT_OK(shoal_list_delete_slice(t->list, &(shoal_slice){2, 7, 2}));
}
static void compare_and_set(struct thing *t)
{
    shoal_any *expected = LONG_TEXT('b');

    ASSERT_OK(WITH(LONG_TEXT('y'), shoal_list_compare_and_set(t->list, 4, expected, it)));
    shoal_any_free(expected);
}

/* ---- dicts ---- */

static void set_key(shoal_dict *dict, int key, shoal_any *value)
{
    shoal_any *k = shoal_any_str((const char[]){(char)key, 0});

    ASSERT_NOT_NULL(k);
    ASSERT_NOT_NULL(value);
    ASSERT_OK(shoal_dict_set(dict, k, value));
    shoal_any_free(k);
    shoal_any_free(value);
}

static void entries(struct thing *t)
{
    set_key(t->dict, 'a', shoal_any_int(1));
    set_key(t->dict, 'b', TEXT('b'));
    set_key(t->dict, 'c', LONG_TEXT('c'));
    set_key(t->dict, 'd', shoal_any_int(4));
    set_key(t->dict, 'e', LONG_TEXT('e'));
}

static void spread_entries(struct thing *t)
{
    entries(t);
    for (int i = 0; i < 70; i++)
        ASSERT_OK(shoal_dict_set_int(t->dict, &i, sizeof(i), i));
    for (int i = 0; i < 70; i++)
        ASSERT_OK(shoal_dict_delete_bytes(t->dict, &i, sizeof(i)));
}

static void nearly_spread(struct thing *t)
{
    for (int i = 100; i < 100 + 64; i++)
        ASSERT_OK(shoal_dict_set_int(t->dict, &i, sizeof(i), i));
}

static void nearly_grown(struct thing *t)
{
    for (int i = 100; i < 100 + 36; i++)
        ASSERT_OK(shoal_dict_set_bytes(t->dict, &i, sizeof(i), "0123456789abcdef0123", 20));
}

static void fill_forty(shoal_dict *dict)
{
    char text[1000];

    memset(text, 't', sizeof(text));
    for (int i = 100; i < 140; i++)
        ASSERT_OK(shoal_dict_set_bytes(dict, &i, sizeof(i), text, sizeof(text)));
}

static int shrinking; /* the deletion that makes the arena anew, a smaller one */

static void nearly_shrunk(struct thing *t)
{
    shoal_dict *other;

    ASSERT_OK(shoal_dict_create(&other, NULL));
    fill_forty(other);
    int64_t bytes = shoal_dict_bytes(other);
    shrinking = 99;
    do {
        shrinking++;
        ASSERT_OK(shoal_dict_delete_bytes(other, &shrinking, sizeof(shrinking)));
    } while (shoal_dict_bytes(other) == bytes);
    shoal_dict_close(other);
    fill_forty(t->dict);
    for (int i = 100; i < shrinking; i++)
        ASSERT_OK(shoal_dict_delete_bytes(t->dict, &i, sizeof(i)));
}

static void dict_shrink_it(struct thing *t)
{
    int rc = shoal_dict_delete_bytes(t->dict, &shrinking, sizeof(shrinking));
    ASSERT_TRUE(!rc || rc == -ENOENT);
}
static void dict_set_default(struct thing *t)
{
    shoal_any *key = shoal_any_str("w");

    ASSERT_OK(WITH(LONG_TEXT('w'), shoal_dict_setdefault(t->dict, key, it, NULL)));
    shoal_any_free(key);
}
static void dict_compare_and_delete(struct thing *t)
{
    shoal_any *key = shoal_any_str("c");

    ASSERT_OK(WITH(LONG_TEXT('c'), shoal_dict_compare_and_set(t->dict, key, it, NULL)));
    shoal_any_free(key);
}
static void dict_set_new(struct thing *t)
{
    set_key(t->dict, 'z', shoal_any_int(9));
}
static void dict_set_new_text(struct thing *t)
{
    set_key(t->dict, 'z', TEXT('z'));
}
static void dict_set_new_long(struct thing *t)
{
    set_key(t->dict, 'z', LONG_TEXT('z'));
}
static void dict_set_int(struct thing *t)
{
    set_key(t->dict, 'a', shoal_any_int(9));
}
static void dict_set_text(struct thing *t)
{
    set_key(t->dict, 'b', TEXT('x'));
}
static void dict_set_long(struct thing *t)
{
    set_key(t->dict, 'c', LONG_TEXT('x'));
}
static void dict_delete(struct thing *t)
{
    shoal_any *key = shoal_any_str("b");

    int rc = shoal_dict_delete(t->dict, key);
    ASSERT_TRUE(!rc || rc == -ENOENT);
    shoal_any_free(key);
}
static void dict_pop_long(struct thing *t)
{
    shoal_any *key = shoal_any_str("c"), *any = NULL;

    int rc = shoal_dict_pop(t->dict, key, &any);
    ASSERT_TRUE(!rc || rc == -ENOENT);
    shoal_any_free(key);
    shoal_any_free(any);
}
static void dict_popitem(struct thing *t)
{
    ASSERT_OK(shoal_dict_popitem(t->dict, NULL, NULL));
}
static void dict_clear(struct thing *t)
{
    ASSERT_OK(shoal_dict_clear(t->dict));
}
static void dict_update(struct thing *t)
{
    ASSERT_OK(WITH(shoal_any_dict(shoal_any_str("c"), shoal_any_int(3), shoal_any_str("b"),
                                  LONG_TEXT('u'), shoal_any_str("n"), TEXT('n'), shoal_any_str("o"),
                                  LONG_TEXT('o')),
                   shoal_dict_update(t->dict, it)));
}
static void dict_update_much(struct thing *t) /* more than what a journal is for */
{
    shoal_any *more = shoal_any_dict();

    for (int i = 0; i < 14; i++)
        ASSERT_OK(shoal_any_put(more, shoal_any_int(i), shoal_any_int(i)));
    ASSERT_OK(shoal_any_put(more, shoal_any_str("c"), LONG_TEXT('u')));
    ASSERT_OK(shoal_any_put(more, shoal_any_str("o"), LONG_TEXT('u')));
    ASSERT_OK(WITH(more, shoal_dict_update(t->dict, it)));
}
static void dict_add(struct thing *t)
{
    shoal_any *key = shoal_any_str("a");

    ASSERT_OK(WITH(shoal_any_int(5), shoal_dict_add(t->dict, key, it, NULL)));
    shoal_any_free(key);
}
static void dict_append(struct thing *t)
{
    shoal_any *key = shoal_any_str("w");

    ASSERT_OK(WITH(shoal_any_int(5), shoal_dict_append(t->dict, key, it)));
    shoal_any_free(key);
}
static void with_a_list(struct thing *t)
{
    entries(t);
    dict_append(t);
}
static void dict_grow(struct thing *t)
{
    for (int i = 200; i < 204; i++)
        ASSERT_OK(shoal_dict_set_bytes(t->dict, "k", 1, "0123456789abcdef0123", 20));
}
static void dict_spread(struct thing *t)
{
    ASSERT_OK(shoal_dict_set_int(t->dict, "k", 1, 1));
}

static void space_set(struct thing *t)
{
    ASSERT_OK(WITH(shoal_any_int(3), shoal_namespace_set(t->space, "x", it)));
}
static void space_two(struct thing *t)
{
    ASSERT_OK(WITH(shoal_any_int(3), shoal_namespace_set(t->space, "x", it)));
    ASSERT_OK(WITH(TEXT('y'), shoal_namespace_set(t->space, "y", it)));
}
static void space_add(struct thing *t)
{
    ASSERT_OK(WITH(shoal_any_int(3), shoal_namespace_add(t->space, "x", it, NULL)));
}

static void space_delete(struct thing *t)
{
    int rc = shoal_namespace_delete(t->space, "y");
    ASSERT_TRUE(!rc || rc == -ENOENT);
}

/* ---- all of them ---- */

#define CHANGE(id, kind_of, filled, done, ...)                                       \
    static const struct plan id##_plan = {kind_of, filled, done};                    \
    static void *id##_setup(void)                                                    \
    {                                                                                \
        return begin(&id##_plan);                                                    \
    }                                                                                \
    KILL_SCENARIO(id, .setup = id##_setup, .prepare = family_prepare, .victim = act, \
                  .survivor = change, .stopped = look_beside, .final = finish, __VA_ARGS__)

CHANGE(list_append, 'l', few, append_int, .flags = KILL_EVERY_INSTRUCTION);
CHANGE(list_append_first, 'l', nothing, append_int, .state = state, .repair = repair);
CHANGE(list_append_text, 'l', few, append_text, .state = state, .repair = repair);
CHANGE(list_append_text_where_one_was, 'l', texts_freed, append_text, .flags = 0);
CHANGE(list_append_long, 'l', few, append_long, .state = state, .repair = repair);
CHANGE(list_append_that_widens, 'l', eight, append_int, .state = state, .repair = repair);
CHANGE(list_append_to_a_full_chunk, 'l', one_chunk, append_int, .flags = 0);
CHANGE(list_append_that_grows, 'l', nearly_full, append_text, .state = state, .repair = repair);
CHANGE(list_insert_first, 'l', few, insert_first, .flags = 0);
CHANGE(list_insert_first_of_many, 'l', two_chunks, insert_first, .flags = 0);
CHANGE(list_insert_where_there_was_one, 'l', room_before, insert_first, .flags = 0);
CHANGE(list_insert, 'l', few, insert_second, .flags = 0);
CHANGE(list_insert_into_a_full_chunk, 'l', two_chunks, insert_second, .flags = 0);
CHANGE(list_set, 'l', few, set_int, .flags = KILL_EVERY_INSTRUCTION);
CHANGE(list_set_text_by_long, 'l', all_kinds, set_text_by_long, .flags = 0);
CHANGE(list_set_long_by_text, 'l', all_kinds, set_long_by_text, .flags = 0);
CHANGE(list_add, 'l', few, add_number, .flags = 0);
CHANGE(list_pop_last, 'l', few, pop_last, .flags = 0);
CHANGE(list_pop_text, 'l', all_kinds, pop_last, .flags = 0);
CHANGE(list_pop_first, 'l', few, pop_first, .flags = 0);
CHANGE(list_pop_long, 'l', all_kinds, pop_long, .flags = 0);
CHANGE(list_pop_of_many, 'l', two_chunks, pop_third, .flags = 0);
CHANGE(list_pop_that_empties_the_last_chunk, 'l', chunk_and_one, pop_last, .flags = 0);
CHANGE(list_pop_that_empties_the_first_chunk, 'l', one_and_more, pop_first, .flags = 0);
CHANGE(list_pop_that_shrinks, 'l', nine_in_a_run, pop_last, .state = state, .repair = repair);
CHANGE(list_removed, 'l', few, remove_one, .flags = 0);
CHANGE(list_slice_deleted, 'l', all_kinds, delete_slice, .flags = 0);
CHANGE(list_compared_and_set, 'l', all_kinds, compare_and_set, .flags = 0);
CHANGE(list_extend, 'l', all_kinds, extend_all, .flags = 0);
CHANGE(list_clear, 'l', all_kinds, clear_list, .state = state, .repair = repair);
CHANGE(list_sort, 'l', few, sort_list, .flags = 0);
CHANGE(list_reverse, 'l', all_kinds, reverse_list, .flags = 0);
CHANGE(list_set_slice, 'l', all_kinds, set_slice, .flags = 0);
CHANGE(list_of_lists_cleared, 'l', with_lists, clear_list, .flags = 0);

CHANGE(dict_first, 'd', nothing, dict_set_new, .state = state, .repair = repair);
CHANGE(dict_new, 'd', entries, dict_set_new, .flags = KILL_EVERY_INSTRUCTION);
CHANGE(dict_new_text, 'd', entries, dict_set_new_text, .flags = 0);
CHANGE(dict_new_long, 'd', entries, dict_set_new_long, .state = state, .repair = repair);
CHANGE(dict_set_again, 'd', entries, dict_set_int, .flags = KILL_EVERY_INSTRUCTION);
CHANGE(dict_set_text_again, 'd', entries, dict_set_text, .flags = 0);
CHANGE(dict_set_long_again, 'd', entries, dict_set_long, .state = state, .repair = repair);
CHANGE(dict_deleted, 'd', entries, dict_delete, .state = state, .repair = repair);
CHANGE(dict_deleted_that_shrinks, 'd', nearly_shrunk, dict_shrink_it, .flags = 0);
CHANGE(dict_set_by_default, 'd', entries, dict_set_default, .flags = 0);
CHANGE(dict_compared_and_deleted, 'd', entries, dict_compare_and_delete, .flags = 0);
CHANGE(dict_popped, 'd', entries, dict_pop_long, .flags = 0);
CHANGE(dict_popped_item, 'd', spread_entries, dict_popitem, .flags = 0);
CHANGE(dict_cleared, 'd', entries, dict_clear, .flags = 0);
CHANGE(dict_cleared_where_spread, 'd', spread_entries, dict_clear, .flags = 0);
CHANGE(dict_updated, 'd', entries, dict_update, .state = state, .repair = repair);
CHANGE(dict_updated_where_spread, 'd', spread_entries, dict_update, .flags = 0);
CHANGE(dict_updated_by_much, 'd', entries, dict_update_much, .flags = 0);
CHANGE(dict_added, 'd', entries, dict_add, .flags = 0);
CHANGE(dict_list_made, 'd', entries, dict_append, .flags = 0);
CHANGE(dict_list_appended, 'd', with_a_list, dict_append, .flags = 0);
CHANGE(dict_grown, 'd', nearly_grown, dict_grow, .flags = 0);
CHANGE(dict_spread_out, 'd', nearly_spread, dict_spread, .flags = 0);

CHANGE(namespace_first, 'n', nothing, space_set, .flags = 0);
CHANGE(namespace_deleted, 'n', space_two, space_delete, .flags = 0);
CHANGE(namespace_add, 'n', space_two, space_add, .flags = 0);

/* ---- nobody comes to it any more: who repairs has left nothing in it that is not there ---- */

static void look_for_the_dead(void *p, int i)
{
    (void)p;
    (void)i;
    family_look();
}

static void repair_the_dead(void *p)
{
    look_for_the_dead(p, 0);
}

static void finish_untouched(void *p)
{
    struct state *s = p;
    struct site site;

    family_settle();
    int is = which_text(s);
    if (s->note->entered == 2)
        ASSERT_TRUE(is & 2);
    site_at(&site, header_of_thing(&s->thing));
    for (unsigned i = 0; i < site.count; i++)
        ASSERT_EQ_U64(atomic_load(&site.stores[i].owner), 0);
    family_check(s->note->before + (uint32_t)(is == 2 ? s->more : 0));
}

#define LEFT_ALONE(id, kind_of, filled, done, ...)                                          \
    static const struct plan id##_plan = {kind_of, filled, done};                           \
    static void *id##_setup(void)                                                           \
    {                                                                                       \
        return begin(&id##_plan);                                                           \
    }                                                                                       \
    KILL_SCENARIO(id, .setup = id##_setup, .prepare = family_prepare, .victim = act,        \
                  .survivor = look_for_the_dead, .survivors = 1, .repair = repair_the_dead, \
                  .final = finish_untouched, __VA_ARGS__)

LEFT_ALONE(list_left_where_long_was_appended, 'l', few, append_long, .state = state);
LEFT_ALONE(list_left_where_long_was_taken, 'l', all_kinds, pop_long, .state = state);
LEFT_ALONE(list_left_where_lists_were_cleared, 'l', with_lists, clear_list, .flags = 0);
LEFT_ALONE(dict_left_where_long_was_set, 'd', entries, dict_set_long, .flags = 0);
LEFT_ALONE(dict_left_where_much_was_updated, 'd', spread_entries, dict_update, .flags = 0);

/* A pipe's end, which is put in: what waits at the other one is told of its end, or it is in the list. */
struct piped {
    struct state s; /* first: what all others know */
    shoal_queue *way;
    shoal_connection *peer;
    shoal_any *end; /* the victim's */
};

static void *piped_setup(void)
{
    struct piped *p = calloc(1, sizeof(*p));
    shoal_connection *end;

    ASSERT_NOT_NULL(p);
    p->s.note = family_begin(NET_OFF);
    ASSERT_OK(shoal_list_create(&p->s.thing.list, NULL));
    ASSERT_OK(shoal_queue_create(&p->way, NULL));
    ASSERT_OK(shoal_pipe(&end, &p->peer, NULL));
    ASSERT_OK(WITH(shoal_any_object(end), shoal_queue_put(p->way, it, SHOAL_NOW)));
    shoal_connection_close(end); /* the queue has it, from where the victim takes it */
    family_ready(p->s.note);
    return p;
}

static void prepare_end(void *argument)
{
    struct piped *p = argument;

    family_prepare(p);
    ASSERT_OK(shoal_queue_get(p->way, &p->end, SHOAL_NOW));
}

static void put_end(void *argument)
{
    struct piped *p = argument;

    ASSERT_OK(shoal_list_append(p->s.thing.list, p->end));
    p->s.note->entered = 2;
}

static void await_end(void *argument, int i)
{
    struct piped *p = argument;
    char c;
    size_t n;

    (void)i;
    kill_partner_ready();
    kill_await_over();
    if (!kill_victim_was_killed() || shoal_list_length(p->s.thing.list))
        return;
    ASSERT_ERR(shoal_connection_recv_bytes_into(p->peer, &c, 1, &n, SHOAL_FOREVER), -EPIPE);
}

static void finish_piped(void *argument)
{
    struct piped *p = argument;
    uint32_t there = shoal_list_length(p->s.thing.list) ? 0 : 2; /* the message, and the end */

    family_settle();
    if (p->s.note->entered == 2)
        ASSERT_EQ_INT(shoal_list_length(p->s.thing.list), 1);
    family_check(p->s.note->before - there);
}

KILL_SCENARIO(list_gets_a_pipe_end, .setup = piped_setup, .prepare = prepare_end, .victim = put_end,
              .partner = await_end, .final = finish_piped);

/* ---- acquired ---- */

static void acquire_change_release(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_list_acquire(s->thing.list, SHOAL_FOREVER));
    s->note->entered = 1;
    append_int(&s->thing);
    s->note->entered = 3;
    ASSERT_OK(shoal_list_release(s->thing.list));
    s->note->entered = 2;
}

/* Who comes after one that died while he had it is told. */
static void acquire_too(void *p, int i)
{
    struct state *s = p;

    (void)i;
    int rc = (int)ASSERT_OK(shoal_list_acquire(s->thing.list, SHOAL_FOREVER));
    if (rc == SHOAL_OWNER_DIED) {
        ASSERT_TRUE(kill_victim_was_killed());
        s->note->died++;
    }
    which_text(s);
    ASSERT_OK(shoal_list_release(s->thing.list));
}

static void finish_acquired(void *p)
{
    struct state *s = p;

    family_settle();
    if (s->note->entered == 1)
        ASSERT_LE_INT(1, s->note->died);
    ASSERT_LE_INT(s->note->died, 2); /* in mode REPAIR there are two who died */
    ASSERT_OK(shoal_list_acquire(s->thing.list, SHOAL_NOW));
    ASSERT_OK(shoal_list_release(s->thing.list));
    family_check(s->note->before);
}

static const struct plan list_acquired_plan = {'l', few, append_int};
static void *list_acquired_setup(void)
{
    return begin(&list_acquired_plan);
}
KILL_SCENARIO(list_acquired, .setup = list_acquired_setup, .prepare = family_prepare,
              .victim = acquire_change_release, .survivor = acquire_too, .stopped = look_beside,
              .state = state, .final = finish_acquired);

/* ---- looking, where all is changed in the middle of it ---- */

static void count_all(void *p)
{
    struct state *s = p;
    int64_t n = shoal_dict_length(s->thing.dict);

    if (n != 5 && n != 5 + 14)
        FAIL("a length of %d: some of what was put at once", (int)n);
    s->note->entered = 2;
}

static void put_all(void *p, int i)
{
    struct state *s = p;
    shoal_any *more = shoal_any_dict();

    (void)i;
    for (int k = 0; k < 14; k++) /* in all parts */
        ASSERT_OK(shoal_any_put(more, shoal_any_int(k), shoal_any_int(k)));
    ASSERT_OK(WITH(more, shoal_dict_update(s->thing.dict, it)));
}

static void finish_counting(void *p)
{
    struct state *s = p;

    family_settle();
    family_check(s->note->before);
}

static const struct plan dict_counted_plan = {'d', spread_entries, dict_set_int};
static void *dict_counted_setup(void)
{
    return begin(&dict_counted_plan);
}
KILL_SCENARIO(dict_counted_beside_changes, .setup = dict_counted_setup, .prepare = family_prepare,
              .victim = count_all, .survivor = put_all, .survivors = 1, .stopped = put_all,
              .final = finish_counting, .flags = KILL_EVERY_INSTRUCTION);

/* ---- held by nobody else: it ends with who dies, half changed ---- */

static void *alone_setup(void)
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    family_ready(s->note);
    return s;
}

static void make_alone(void *p)
{
    struct state *s = p;

    family_prepare(p);
    ASSERT_OK(shoal_list_create(&s->thing.list, NULL));
    for (int i = 0; i < 8; i++)
        ASSERT_OK(WITH(LONG_TEXT('a' + i), shoal_list_append(s->thing.list, it)));
}

static void insert_alone(void *p)
{
    struct state *s = p;

    insert_first(&s->thing);
}

static void finish_alone(void *p)
{
    struct state *s = p;

    family_settle();
    family_check(s->note->before);
}

KILL_SCENARIO(list_ends_half_changed, .setup = alone_setup, .prepare = make_alone,
              .victim = insert_alone, .survivor = look_for_the_dead, .final = finish_alone);
