/* After each test: what is left of its family. Every object must have been closed and every process
 * have left; then the test's process leaves too, which must take the region with it. */
#include "region/life.h"
#include "region/self.h"
#include "runner.h"
#include <shoal/shoal.h>
#include <stdio.h>

const char *runner_after_test(const char *name)
{
    static char left[200];
    shoal_statistics s;
    (void)name;
    if (!self_known())
        return NULL;
    int rc = shoal_memory_statistics(&s);
    if (rc)
        return shoal_strerror(rc);
    int64_t ignored;
    life_look_all(true, &ignored); /* who has just been killed is given the chance to be noticed */
    ASSERT_OK(shoal_memory_statistics(&s));
    rc = self_detach();
    if (s.objects || s.processes != 1 || rc) {
        snprintf(left, sizeof left, "%u objects, %u other processes%s", s.objects, s.processes - 1,
                 rc ? "; the process cannot leave" : "");
        return left;
    }
    return NULL;
}
