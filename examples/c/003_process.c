/* 003_process.c - five processes that tell their pids. */
#include "check.h"
#include <shoal/shoal.h>
#include <stdio.h>
#include <unistd.h>

enum { CHILDREN = 5 };

static int run_proc(void *argument)
{
    const int *name = argument;

    printf("Child process %d %d Running\n", *name, (int)getpid());
    return 0;
}

int main(void)
{
    shoal_process *processes[CHILDREN];

    printf("Parent process %d is Running\n", (int)getpid());
    for (int i = 0; i < CHILDREN; i++) {
        printf("process start\n");
        check(shoal_process_start(&processes[i], run_proc, &i, NULL));
    }
    for (int i = 0; i < CHILDREN; i++) {
        check(shoal_process_join(processes[i], SHOAL_FOREVER));
        check(shoal_process_close(processes[i]));
    }
    printf("Process close\n");
    return 0;
}
