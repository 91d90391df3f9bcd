/* What must compile in C and in C++ (tools/check-headers). */
#include <shoal/any.h>

shoal_any *any_in_one_expression(void);

shoal_any *any_in_one_expression(void)
{
    return shoal_any_list(shoal_any_int(42), shoal_any_none(), shoal_any_str("hello"),
                          shoal_any_dict(shoal_any_str("key"), shoal_any_tuple()),
                          shoal_any_tuple(shoal_any_set(), shoal_any_frozenset(shoal_any_int(1))),
                          shoal_any_list(), shoal_any_dict(), shoal_any_set(shoal_any_int(1)),
                          shoal_any_construct("range",
                                              shoal_any_tuple(shoal_any_int(0), shoal_any_int(3),
                                                              shoal_any_int(1))));
}
