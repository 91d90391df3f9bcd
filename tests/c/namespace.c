/* namespace: what container.h promises of namespaces. */
#include "containers.h"

static int use(shoal_namespace *n)
{
    int rc = shoal_namespace_contains(n, "x");
    return rc < 0 ? rc : 0;
}
static int create(shoal_namespace **ret)
{
    return shoal_namespace_create(ret, NULL);
}
COMMON_TESTS(namespace, create, use)

TEST(namespace_has_attributes_by_name)
{
    shoal_namespace *n;
    shoal_any *any;
    ASSERT_OK(shoal_namespace_create(&n, NULL));
    ASSERT_ERR(shoal_namespace_get(n, "x", &any), -ENOENT);
    ASSERT_OK(WITH(shoal_any_int(10), shoal_namespace_set(n, "x", it)));
    ASSERT_OK(WITH(shoal_any_str("hello"), shoal_namespace_set(n, "y", it)));
    ASSERT_OK(WITH(shoal_any_int(1), shoal_namespace_add(n, "x", it, NULL)));
    ASSERT_OK(shoal_namespace_get(n, "x", &any));
    ASSERT_SAME(any, shoal_any_int(11));
    ASSERT_OK(shoal_namespace_copy(n, &any));
    ASSERT_SAME(any, shoal_any_dict(shoal_any_str("x"), shoal_any_int(11), shoal_any_str("y"),
                                    shoal_any_str("hello")));
    ASSERT_EQ_INT(shoal_namespace_contains(n, "y"), 1);
    ASSERT_OK(shoal_namespace_delete(n, "y"));
    ASSERT_ERR(shoal_namespace_delete(n, "y"), -ENOENT);
    ASSERT_ERR(shoal_namespace_get(n, NULL, &any), -EINVAL);
    ASSERT_ERR(shoal_namespace_get(n, "\xff", &any), -EINVAL);
    ASSERT_ERR(shoal_namespace_set(n, "z", NULL), -EINVAL);
    shoal_any *expected = shoal_any_int(11);
    ASSERT_EQ_INT(WITH(shoal_any_int(12), shoal_namespace_compare_and_set(n, "x", expected, it)),
                  1);
    ASSERT_EQ_INT(WITH(shoal_any_int(12), shoal_namespace_compare_and_set(n, "x", expected, it)),
                  0);
    shoal_any_free(expected);
    ASSERT_OK(shoal_namespace_acquire(n, SHOAL_NOW));
    ASSERT_OK(WITH(shoal_any_int(10), shoal_namespace_set(n, "x", it)));
    ASSERT_OK(shoal_namespace_release(n));
    ASSERT_LT_INT(0, shoal_namespace_bytes(n));
    shoal_namespace_close(n);
}
