/* world.h - for the driver: having a candidate run a round in the process that is its world. */
#ifndef SHOAL_BENCH_WORLD_H
#define SHOAL_BENCH_WORLD_H

#include "bench.h"

/* How many CPUs there are to pin to: 0, 1 or 2. First of all. */
unsigned world_cpus(void);
void world_begin(void);
void world_end(void);
/* One round: false if its process died. */
bool world_run(enum world world, double (*candidate)(void), unsigned pinned, double *ret);

#endif
