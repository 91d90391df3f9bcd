/* pool/worker.h - what a worker is told when it begins. */
#ifndef SHOAL_POOL_WORKER_H
#define SHOAL_POOL_WORKER_H

#include "pool/units.h"

struct worker_start {
    shoal_reference pool;
    unsigned index;
    uint64_t signals; /* to be blocked, as where the pool was made */
    shoal_pool_options options;
};

/* A worker's life, as the target of a process: argument is a struct worker_start. */
int worker_main(void *argument);
/* Its parts: it is ready, or false; it has done one unit, or false: there will be none; it ends in order. */
bool worker_begin(const struct worker_start *start);
bool worker_step(void);
void worker_end(const struct worker_start *start);

#endif
