/* pools.h: what the tests of pools have in common. */
#ifndef TESTS_POOLS_H
#define TESTS_POOLS_H

#include "process/child.h"
#include "process/processes.h"
#include "processes.h"
#include <shoal/shoal.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static shoal_pool *pool;

static inline void setup_with(const shoal_pool_options *options)
{
    ASSERT_OK(shoal_pool_create(&pool, options));
}

static inline void setup(void)
{
    setup_with(&(shoal_pool_options){.workers = 2});
}

/* The process's keeper would stay as long as the test. */
static inline void end_keeper(void)
{
    os_mutex_lock(&child_mutex);
    keeper_stop();
    os_mutex_unlock(&child_mutex);
}

/* No process and no object of the pool is left, but `objects` of the test's own. */
static inline void all_free(unsigned objects)
{
    shoal_statistics s;
    ASSERT_EQ_INT(shoal_process_active_children(NULL, 0), 0);
    ASSERT_OK(shoal_memory_statistics(&s));
    ASSERT_EQ_INT(s.objects, objects);
    end_keeper();
}

static inline void done(void)
{
    ASSERT_OK(shoal_pool_close(pool));
    ASSERT_OK(shoal_pool_join(pool, SHOAL_FOREVER));
    pool = shoal_pool_free(pool);
    ASSERT_NULL(pool);
    all_free(0);
}

/* ---- what tasks do ---- */

static inline int echo(shoal_task *task)
{
    size_t size;
    const void *bytes = shoal_task_bytes(task, &size);
    return shoal_task_return_bytes(task, bytes, size);
}

static inline int for_ever(shoal_task *task)
{
    (void)task;
    for (;;)
        pause();
    return 0;
}

#endif
