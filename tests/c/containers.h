/* containers.h: what tests of lists, dicts and namespaces share: values by number, comparing. */
#ifndef TESTS_CONTAINERS_H
#define TESTS_CONTAINERS_H

#include "processes.h"
#include <stdlib.h>

static inline uint32_t random_next(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

/* A value of each way in which one may lie in a container; the same for the same number. */
static inline shoal_any *value_of(uint32_t n)
{
    char text[6000];
    size_t size = 0;
    switch (n % 11) {
    case 0: return shoal_any_none();
    case 1: return shoal_any_bool(n / 11 % 2);
    case 2:
    case 3: return shoal_any_int((int32_t)n);
    case 4: return shoal_any_int((int64_t)((uint64_t)n << 40 | 1ULL << 62));
    case 5: return shoal_any_float(n * 0.5);
    case 6: return shoal_any_float(n / 3.0);
    case 7: return shoal_any_tuple(shoal_any_int(n), shoal_any_str("in a tuple"));
    case 8: size = n % 9; break;
    case 9: size = n % 400; break;
    default: size = n % 61 ? n % 40 : 2000 + n % 4000; break;
    }
    memset(text, 'a' + (int)(n % 26), size);
    return n & 64 ? shoal_any_str_sized(text, size) : shoal_any_bytes(text, size);
}

/* Both are freed. */
static inline void check_same(const char *file, int line, shoal_any *a, shoal_any *b)
{
    if (shoal_any_equal(a, b) != 1) {
        char *x = NULL, *y = NULL;
        shoal_any_repr(a, &x);
        shoal_any_repr(b, &y);
        check_fail(file, line, "%.700s is not %.700s", x ? x : "NULL", y ? y : "NULL");
    }
    shoal_any_free(a);
    shoal_any_free(b);
}
#define ASSERT_SAME(a, b) check_same(CHECK_HERE, (a), (b))

/* Whatever call takes an any, which is freed. */
#define WITH(any, call)             \
    __extension__({                 \
        shoal_any *it = (any);      \
        ASSERT_NOT_NULL(it);        \
        int64_t with_result = call; \
        shoal_any_free(it);         \
        with_result;                \
    })

static inline uint64_t used_bytes(void)
{
    shoal_statistics s;
    ASSERT_OK(shoal_memory_statistics(&s));
    return s.used;
}

#endif
