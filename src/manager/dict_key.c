/* dict: the calls that are about one key (see dict.c). */
#include "manager/dict.h"
#include <string.h>

/* ---- what all who look for a key come to ---- */

int dict_no_key(const struct site *p)
{
    return fail(-ENOENT, "%s: no such key", p->call);
}

int dict_get_any(const struct site *p, const struct key *key, shoal_any **ret)
{
    struct fetched f;
    int rc;
    if (!ret)
        return nowhere(p);
    do {
        if (!dict_get(p, key, &f))
            return dict_no_key(p);
        rc = word_any(f.word, f.bytes, f.size, ret, p->call);
    } while (rc == -ESTALE); /* taken out meanwhile */
    return rc;
}

struct taken_item {
    struct item *item;
    const shoal_any *any; /* a number, or what is expected */
    shoal_any **ret;
    int64_t sum;
    bool plain; /* sum is wanted */
};

int dict_set_any(const struct site *p, const struct key *key, const shoal_any *value)
{
    struct item item;
    int rc = item_of_any(&item, p, value);
    return rc ? rc : dict_put(p, key, &item);
}

static int remove_it(const struct site *p, const struct fetched *old, struct item *new,
                     void *argument)
{
    const struct taken_item *t = argument;
    (void)new;
    if (!old)
        return dict_no_key(p);
    int rc = t->ret ? word_any(old->word, old->bytes, old->size, t->ret, p->call) : 0;
    return rc ? rc : DICT_REMOVE;
}

int dict_delete_key(const struct site *p, const struct key *key, shoal_any **ret)
{
    shoal_any *taken = NULL;
    struct taken_item t = {.ret = ret ? &taken : NULL};
    int rc = dict_change(p, key, remove_it, &t);
    if (rc < 0)
        shoal_any_free(taken);
    else if (ret)
        *ret = taken;
    return rc < 0 ? rc : 0;
}

static int add_it(const struct site *p, const struct fetched *old, struct item *new, void *argument)
{
    struct taken_item *t = argument;
    shoal_any number, *made = NULL;
    const shoal_any *a = old ? &number : NULL;
    if (old && !word_number(old->word, old->bytes, &number)) {
        int rc = word_any(old->word, old->bytes, old->size, &made, p->call);
        if (rc)
            return rc;
        a = made;
    }
    int rc = container_sum(new, p, a, t->any);
    shoal_any_free(made);
    if (!rc && t->ret)
        rc = word_any(new->word, &new->raw, new->size, t->ret, p->call);
    if (!rc && t->plain) {
        word_number(new->word, &new->raw, &number);
        if (number.kind != SHOAL_ANY_INT)
            rc = fail(-EINVAL, "%s: the value is no int of 64 bits", p->call);
        t->sum = number.integer;
    }
    return rc ? rc : DICT_PUT;
}

int dict_add_any(const struct site *p, const struct key *key, const shoal_any *number,
                 shoal_any **ret)
{
    shoal_any *sum = NULL;
    struct taken_item t = {.any = number, .ret = ret ? &sum : NULL};
    if (!number)
        return any_is_null(p->call);
    int rc = dict_change(p, key, add_it, &t);
    if (rc < 0)
        shoal_any_free(sum);
    else if (ret)
        *ret = sum;
    return rc < 0 ? rc : 0;
}

struct comparison {
    const shoal_any *expected;
    struct item *item; /* NULL: it is to be deleted */
};

static int compare_it(const struct site *p, const struct fetched *old, struct item *new,
                      void *argument)
{
    const struct comparison *t = argument;
    int rc = !old && !t->expected;
    if (old && t->expected)
        rc = word_equals(old->word, old->bytes, old->size, t->expected, p->call);
    if (rc <= 0)
        return rc; /* DICT_KEEP */
    if (t->item)
        *new = *t->item;
    return t->item ? DICT_PUT : old ? DICT_REMOVE : DICT_DONE;
}

int dict_compare_any(const struct site *p, const struct key *key, const shoal_any *expected,
                     const shoal_any *value)
{
    struct item item = {0};
    struct comparison t = {expected, value ? &item : NULL};
    int rc = value ? item_of_any(&item, p, value) : 0;
    if (rc)
        return rc;
    rc = dict_change(p, key, compare_it, &t);
    item_end(&item);
    return rc < 0 ? rc : rc != DICT_KEEP;
}

/* ---- public: anys ---- */

/* The dict and the key of a call. */
static int begin(struct site *p, struct key *k, const shoal_dict *dict, const shoal_any *key,
                 const char *call)
{
    int rc = site_of(p, dict, TYPE_DICT, call);
    return rc ? rc : key_of_any(k, p, key);
}

int shoal_dict_get(const shoal_dict *dict, const shoal_any *key, shoal_any **ret)
{
    struct site p;
    struct key k;
    int rc = begin(&p, &k, dict, key, "shoal_dict_get");
    if (rc)
        return rc;
    rc = dict_get_any(&p, &k, ret);
    key_end(&k);
    return rc;
}

int shoal_dict_contains(const shoal_dict *dict, const shoal_any *key)
{
    struct site p;
    struct key k;
    struct fetched f;
    int rc = begin(&p, &k, dict, key, "shoal_dict_contains");
    if (rc)
        return rc;
    rc = dict_get(&p, &k, &f);
    key_end(&k);
    return rc;
}

int shoal_dict_set(shoal_dict *dict, const shoal_any *key, const shoal_any *value)
{
    struct site p;
    struct key k;
    int rc = begin(&p, &k, dict, key, "shoal_dict_set");
    if (rc)
        return rc;
    rc = dict_set_any(&p, &k, value);
    key_end(&k);
    return rc;
}

int shoal_dict_delete(shoal_dict *dict, const shoal_any *key)
{
    struct site p;
    struct key k;
    int rc = begin(&p, &k, dict, key, "shoal_dict_delete");
    if (rc)
        return rc;
    rc = dict_delete_key(&p, &k, NULL);
    key_end(&k);
    return rc;
}

int shoal_dict_pop(shoal_dict *dict, const shoal_any *key, shoal_any **ret)
{
    struct site p;
    struct key k;
    int rc = begin(&p, &k, dict, key, "shoal_dict_pop");
    if (rc)
        return rc;
    rc = dict_delete_key(&p, &k, ret);
    key_end(&k);
    return rc;
}

static int set_if_none(const struct site *p, const struct fetched *old, struct item *new,
                       void *argument)
{
    const struct taken_item *t = argument;
    if (!old) {
        *new = *t->item;
        return DICT_PUT;
    }
    int rc = t->ret ? word_any(old->word, old->bytes, old->size, t->ret, p->call) : 0;
    return rc ? rc : DICT_KEEP;
}

int shoal_dict_setdefault(shoal_dict *dict, const shoal_any *key, const shoal_any *value,
                          shoal_any **ret)
{
    struct site p;
    struct key k;
    struct item item;
    shoal_any *there = NULL;
    struct taken_item t = {.item = &item, .ret = ret ? &there : NULL};
    int rc = begin(&p, &k, dict, key, "shoal_dict_setdefault");
    if (rc)
        return rc;
    rc = item_of_any(&item, &p, value);
    if (!rc) {
        shoal_any *copy = ret ? shoal_any_copy(value) : NULL;
        rc = ret && !copy ? -ENOMEM : dict_change(&p, &k, set_if_none, &t);
        item_end(&item);
        if (rc == DICT_PUT && ret)
            *ret = copy;
        else
            shoal_any_free(copy);
        if (rc == DICT_KEEP && ret)
            *ret = there;
    }
    key_end(&k);
    return rc < 0 ? rc : rc == DICT_PUT;
}

int shoal_dict_add(shoal_dict *dict, const shoal_any *key, const shoal_any *number, shoal_any **ret)
{
    struct site p;
    struct key k;
    int rc = begin(&p, &k, dict, key, "shoal_dict_add");
    if (rc)
        return rc;
    rc = dict_add_any(&p, &k, number, ret);
    key_end(&k);
    return rc;
}

int shoal_dict_compare_and_set(shoal_dict *dict, const shoal_any *key, const shoal_any *expected,
                               const shoal_any *value)
{
    struct site p;
    struct key k;
    int rc = begin(&p, &k, dict, key, "shoal_dict_compare_and_set");
    if (rc)
        return rc;
    rc = dict_compare_any(&p, &k, expected, value);
    key_end(&k);
    return rc;
}

/* ---- public: bytes ---- */

static inline int begin_bytes(struct site *p, struct key *k, const shoal_dict *dict,
                              const void *key, size_t size, const char *call)
{
    int rc = site_of(p, dict, TYPE_DICT, call);
    return rc ? rc : key_of_text(k, p, KEY_BYTES, key, size);
}

int shoal_dict_set_int(shoal_dict *dict, const void *key, size_t key_size, int64_t value)
{
    struct site p;
    struct key k;
    struct item item;
    int rc = begin_bytes(&p, &k, dict, key, key_size, "shoal_dict_set_int");
    if (rc)
        return rc;
    item_of_int(&item, value);
    return dict_put(&p, &k, &item);
}

int shoal_dict_get_int(const shoal_dict *dict, const void *key, size_t key_size, int64_t *ret)
{
    struct site p;
    struct key k;
    struct fetched f;
    shoal_any number;
    int rc = begin_bytes(&p, &k, dict, key, key_size, "shoal_dict_get_int");
    if (rc)
        return rc;
    if (unlikely(!ret))
        return nowhere(&p);
    if (unlikely(!dict_get(&p, &k, &f)))
        return dict_no_key(&p);
    if (unlikely(!word_number(f.word, f.bytes, &number)) || number.kind != SHOAL_ANY_INT)
        return fail(-EINVAL, "%s: the value is no int of 64 bits", p.call);
    *ret = number.integer;
    return 0;
}

int shoal_dict_add_int(shoal_dict *dict, const void *key, size_t key_size, int64_t number,
                       int64_t *ret)
{
    struct site p;
    struct key k;
    shoal_any any = {.kind = SHOAL_ANY_INT, .integer = number};
    struct taken_item t = {.any = &any, .plain = true};
    int rc = begin_bytes(&p, &k, dict, key, key_size, "shoal_dict_add_int");
    if (!rc)
        rc = dict_change(&p, &k, add_it, &t);
    if (rc >= 0 && ret)
        *ret = t.sum;
    return rc < 0 ? rc : 0;
}

int shoal_dict_set_bytes(shoal_dict *dict, const void *key, size_t key_size, const void *bytes,
                         size_t size)
{
    struct site p;
    struct key k;
    struct item item;
    int rc = begin_bytes(&p, &k, dict, key, key_size, "shoal_dict_set_bytes");
    if (!rc && !bytes && size)
        rc = fail(-EINVAL, "%s: %zu bytes at NULL", p.call, size);
    if (!rc)
        rc = item_of_bytes(&item, &p, bytes, size);
    return rc ? rc : dict_put(&p, &k, &item);
}

int shoal_dict_get_bytes(const shoal_dict *dict, const void *key, size_t key_size, void *buffer,
                         size_t capacity, size_t *size)
{
    struct site p;
    struct key k;
    struct fetched f;
    int rc = begin_bytes(&p, &k, dict, key, key_size, "shoal_dict_get_bytes");
    if (rc)
        return rc;
    do {
        if (!dict_get(&p, &k, &f))
            return dict_no_key(&p);
        rc = fetched_bytes(&p, &f, buffer, capacity, size);
    } while (rc == -ESTALE);
    return rc;
}

int shoal_dict_delete_bytes(shoal_dict *dict, const void *key, size_t key_size)
{
    struct site p;
    struct key k;
    int rc = begin_bytes(&p, &k, dict, key, key_size, "shoal_dict_delete_bytes");
    return rc ? rc : dict_delete_key(&p, &k, NULL);
}

int shoal_dict_contains_bytes(const shoal_dict *dict, const void *key, size_t key_size)
{
    struct site p;
    struct key k;
    struct fetched f;
    int rc = begin_bytes(&p, &k, dict, key, key_size, "shoal_dict_contains_bytes");
    return rc ? rc : dict_get(&p, &k, &f);
}
