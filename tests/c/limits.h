/* limits.h: whether this machine keeps to limits. */
#ifndef TESTS_LIMITS_H
#define TESTS_LIMITS_H

#include "runner.h"
#include <sys/mman.h>
#include <sys/resource.h>

/* Sanitizers need more themselves; qemu-user does not keep to it. */
static inline void needs_address_limit(void)
{
#ifdef __SANITIZE_ADDRESS__
    SKIP("the sanitizer's own address space does not fit");
#endif
    struct rlimit before, most = {.rlim_cur = 64 << 20, .rlim_max = RLIM_INFINITY};
    ASSERT_SYS(getrlimit(RLIMIT_AS, &before));
    most.rlim_max = before.rlim_max;
    ASSERT_SYS(setrlimit(RLIMIT_AS, &most));
    void *large = mmap(NULL, 1 << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_SYS(setrlimit(RLIMIT_AS, &before));
    if (large != MAP_FAILED)
        SKIP("nothing limits the address space here");
}

#endif
