/* What must not compile in C (tools/check-headers), and would without its last item: the 65th. */
#include <shoal/any.h>

#define FOUR shoal_any_int(1), shoal_any_int(2), shoal_any_int(3), shoal_any_int(4)
#define SIXTEEN FOUR, FOUR, FOUR, FOUR

shoal_any *list_of_65(void);

shoal_any *list_of_65(void)
{
    return shoal_any_list(SIXTEEN, SIXTEEN, SIXTEEN, SIXTEEN, shoal_any_int(5));
}
