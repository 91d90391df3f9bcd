/* 000_process.c - starts a function in a process of its own, and waits for its end. */
#include "check.h"
#include <shoal/shoal.h>
#include <stdio.h>

static int worker(void *argument)
{
    (void)argument;
    printf("Worker process is working.\n");
    return 0;
}

int main(void)
{
    shoal_process *process;

    check(shoal_process_start(&process, worker, NULL, NULL));
    check(shoal_process_join(process, SHOAL_FOREVER));
    check(shoal_process_close(process));
    return 0;
}
