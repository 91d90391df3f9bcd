/* namespace: a dict whose keys are names. */
#include "manager/dict.h"
#include <string.h>

static int begin(struct site *p, struct key *k, const shoal_namespace *space, const char *name,
                 const char *call)
{
    int rc = site_of(p, space, TYPE_NAMESPACE, call);
    if (rc)
        return rc;
    if (!name)
        return fail(-EINVAL, "%s: NULL is no name", call);
    size_t size = strlen(name), valid = any_utf8_valid((const unsigned char *)name, size);
    if (valid < size)
        return fail(-EINVAL, "%s: byte %zu of the name, 0x%02x, is not UTF-8", call, valid,
                    (unsigned char)name[valid]);
    return key_of_text(k, p, KEY_STR, name, size);
}

int shoal_namespace_get(const shoal_namespace *space, const char *name, shoal_any **ret)
{
    struct site p;
    struct key k;
    int rc = begin(&p, &k, space, name, "shoal_namespace_get");
    return rc ? rc : dict_get_any(&p, &k, ret);
}

int shoal_namespace_set(shoal_namespace *space, const char *name, const shoal_any *value)
{
    struct site p;
    struct key k;
    int rc = begin(&p, &k, space, name, "shoal_namespace_set");
    return rc ? rc : dict_set_any(&p, &k, value);
}

int shoal_namespace_delete(shoal_namespace *space, const char *name)
{
    struct site p;
    struct key k;
    int rc = begin(&p, &k, space, name, "shoal_namespace_delete");
    return rc ? rc : dict_delete_key(&p, &k, NULL);
}

int shoal_namespace_contains(const shoal_namespace *space, const char *name)
{
    struct site p;
    struct key k;
    struct fetched f;
    int rc = begin(&p, &k, space, name, "shoal_namespace_contains");
    return rc ? rc : dict_get(&p, &k, &f);
}

int shoal_namespace_add(shoal_namespace *space, const char *name, const shoal_any *number,
                        shoal_any **ret)
{
    struct site p;
    struct key k;
    int rc = begin(&p, &k, space, name, "shoal_namespace_add");
    return rc ? rc : dict_add_any(&p, &k, number, ret);
}

int shoal_namespace_compare_and_set(shoal_namespace *space, const char *name,
                                    const shoal_any *expected, const shoal_any *value)
{
    struct site p;
    struct key k;
    int rc = begin(&p, &k, space, name, "shoal_namespace_compare_and_set");
    return rc ? rc : dict_compare_any(&p, &k, expected, value);
}

int shoal_namespace_copy(const shoal_namespace *space, shoal_any **ret)
{
    struct site p;
    int rc = site_of(&p, space, TYPE_NAMESPACE, "shoal_namespace_copy");
    return rc ? rc : dict_entries(&p, DICT_ALL, ret);
}
