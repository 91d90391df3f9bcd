/* zeromq.h - ZeroMQ as a yardstick, where the package is installed: a pair of sockets (ipc). */
#ifndef SHOAL_BENCH_ZEROMQ_H
#define SHOAL_BENCH_ZEROMQ_H

#include <stddef.h>

/* `name` tells rounds apart. In each of both processes, for a round: a context does not outlive a fork. */
void zeromq_open(int who, unsigned name);
void zeromq_put(const void *bytes, size_t size);
void zeromq_get(void *bytes, size_t capacity);
void zeromq_close(void);

#endif
