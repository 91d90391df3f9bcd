/* pool/worker.h - what a worker is told when it begins. */
#ifndef SHOAL_POOL_WORKER_H
#define SHOAL_POOL_WORKER_H

#include "pool/units.h"

struct worker_start {
    shoal_reference pool;
    unsigned index;
    uint64_t signals; /* to be blocked, as where the pool was made */
    bool later;       /* it says itself when it is ready: worker_ready */
    shoal_pool_options options;
};

struct pickle_objects;
/* As shoal_task_reserve: and what is returned holds these objects, which are open here, until it is given back. */
int task_reserve_carrying(shoal_task *task, void **ret, size_t size,
                          struct pickle_objects *objects);

/* A worker's life, as the target of a process: argument is a struct worker_start. */
int worker_main(void *argument);
/* Its parts: it is ready, or false; it has done one unit, or false: there will be none; it ends in order. */
bool worker_begin(const struct worker_start *start);
bool worker_step(void);
void worker_end(const struct worker_start *start);
/* And their parts: 0: it is ready; else: it will never be. */
void worker_ready(int refused);
/* A unit to do; 0: there is none now. */
uint64_t worker_next_now(void);
/* The same, and waits for it: 0: there will be none; or a signal's handler ran, if that is asked for. */
uint64_t worker_next(bool *interrupted);
void worker_do(uint64_t name);

#endif
