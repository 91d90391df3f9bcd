/* Timers: the clock of all deadlines, read and waited for. */
#include "region/self.h"
#include <shoal/csp.h>

int64_t shoal_timer_read(void)
{
    return os_now();
}

int shoal_timer_wait(int64_t deadline)
{
    shoal_guard after = {.kind = SHOAL_TIMEOUT, .deadline = deadline};
    if (deadline < 0)
        return fail(-EINVAL, "shoal_timer_wait: a negative deadline");
    int rc = shoal_alternate(&after, 1, SHOAL_ALT, SHOAL_FOREVER);
    return rc < 0 ? rc : 0;
}
