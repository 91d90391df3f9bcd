/* boost.h - Boost.Interprocess's message queue as a yardstick, where the package is installed. */
#ifndef SHOAL_BENCH_BOOST_H
#define SHOAL_BENCH_BOOST_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A queue of 1,000 messages of up to 64 bytes; once for this process and its children. */
void boost_open(void);
void boost_put(const void *bytes, size_t size);
void boost_get(void *bytes, size_t capacity);

#ifdef __cplusplus
}
#endif
#endif
