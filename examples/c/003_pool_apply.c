/* 003_pool_apply.c - tasks for a pool, each awaited before the next one is given. */
#include "check.h"
#include <shoal/shoal.h>
#include <stdio.h>
#include <unistd.h>

static int run_task(shoal_task *task)
{
    const int *name = shoal_task_bytes(task, NULL);

    printf("Task %d pid %d is running, parent id is %d\n", *name, (int)getpid(), (int)getppid());
    fflush(stdout);
    sleep(1);
    printf("Task %d end.\n", *name);
    fflush(stdout);
    return 0;
}

int main(void)
{
    shoal_pool *pool;

    printf("current process %d\n", (int)getpid());
    check(shoal_pool_create(&pool, &(shoal_pool_options){.workers = 3}));
    for (int i = 0; i < 6; i++)
        check(shoal_pool_apply(pool, NULL, NULL, run_task, &i, sizeof i, SHOAL_FOREVER));
    printf("Waiting for all subprocesses done...\n");
    fflush(stdout);
    check(shoal_pool_close(pool));
    check(shoal_pool_join(pool, SHOAL_FOREVER));
    shoal_pool_free(pool);
    printf("All processes done!\n");
    return 0;
}
