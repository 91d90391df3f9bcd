/* dict: lists under keys (see dict.c): an append to the shared list that is a key's value, made if there is none.
 *
 * It is one step, made with the locks of both, the key's store and the list's: so nobody takes the key away in between, and the commit is the
 * list's own. But somebody may have acquired the list and want to change the dict. So who has the key's lock waits
 * for the list's only for a moment; if that was too short he lets go of the former, waits for the latter alone, and begins anew.
 */
#include "manager/dict.h"
#include "manager/list.h"

struct appending {
    const shoal_any *any;
    struct item item; /* the same, for a list that is there */
    struct item made; /* a new list with it */
    bool is_made;
    shoal_list *busy; /* somebody else changes it */
};

/* The shared list that is the value. */
static int list_of(const struct site *p, const struct fetched *value, shoal_list **ret)
{
    shoal_any *any;
    shoal_reference reference;
    int rc = word_any(value->word, value->bytes, value->size, &any, p->call);
    if (rc)
        return rc;
    rc = any->kind == SHOAL_ANY_OBJECT ? shoal_any_as_reference(any, &reference) : -EINVAL;
    if (!rc)
        rc = shoal_list_open(ret, &reference);
    if (rc == -EINVAL)
        rc = fail(rc, "%s: the value is %s, not a shared list", p->call, any_kind_name(any));
    shoal_any_free(any);
    return rc;
}

static int append_it(const struct site *p, const struct fetched *old, struct item *new,
                     void *argument)
{
    struct appending *a = argument;
    struct site its;
    shoal_list *list;
    if (!old) {
        if (!a->is_made)
            return DICT_KEEP;
        *new = a->made;
        return DICT_PUT;
    }
    int rc = list_of(p, old, &list);
    if (rc)
        return rc;
    rc = site_of(&its, list, TYPE_LIST, p->call);
    if (!rc)
        rc = store_lock(&its, its.stores, MUTANT(313) ? SHOAL_FOREVER : os_now() + HURRY);
    if (rc == -ETIMEDOUT) {
        a->busy = list;
        return DICT_KEEP;
    }
    if (!rc) {
        rc = list_push(&its, &a->item, 1);
        store_unlock(&its, its.stores);
    }
    shoal_list_close(list);
    return rc ? rc : DICT_DONE;
}

static int make_list(const struct site *p, struct appending *a)
{
    shoal_list *list;
    int rc = shoal_list_create(&list, NULL);
    if (rc)
        return fail_in(rc, p->call);
    rc = shoal_list_append(list, a->any);
    shoal_any *any = rc ? NULL : shoal_any_object(list);
    if (!rc)
        rc = any ? item_of_any(&a->made, p, any) : -ENOMEM;
    a->is_made = !rc;
    shoal_any_free(any);
    shoal_list_close(list);
    return rc;
}

static int await_list(const struct site *p, struct appending *a)
{
    struct site its;
    int rc = site_of(&its, a->busy, TYPE_LIST, p->call);
    if (!rc)
        rc = store_lock(&its, its.stores, SHOAL_FOREVER);
    if (!rc)
        store_unlock(&its, its.stores);
    a->busy = shoal_list_close(a->busy);
    return rc;
}

int shoal_dict_append(shoal_dict *dict, const shoal_any *key, const shoal_any *item)
{
    struct site p;
    struct key k;
    struct appending a = {.any = item};
    int rc = site_of(&p, dict, TYPE_DICT, "shoal_dict_append");
    if (!rc)
        rc = item_of_any(&a.item, &p, item);
    if (rc)
        return rc;
    rc = key_of_any(&k, &p, key);
    if (!rc) {
        while (!(rc = dict_change(&p, &k, append_it, &a)) && /* DICT_KEEP: not yet */
               !(rc = a.busy ? await_list(&p, &a) : make_list(&p, &a)))
            ;
        key_end(&k);
    }
    item_end(&a.item);
    item_end(&a.made);
    return rc < 0 ? rc : 0;
}
