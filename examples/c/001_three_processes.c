/* 001_three_processes.c - three processes with names and arguments of their own. */
#include "check.h"
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int piao(void *argument)
{
    const char *name = argument;

    printf("%s piaoing\n", name);
    srandom((unsigned)getpid());
    sleep(1 + (unsigned)(random() % 4));
    printf("%s piao end\n", name);
    return 0;
}

int main(void)
{
    char names[3][4] = {"aaa", "bbb", "ccc"};
    shoal_process *processes[3];

    for (int i = 0; i < 3; i++)
        check(shoal_process_start(&processes[i], piao, names[i],
                                  &(shoal_process_options){.name = names[i]}));
    printf("main process\n");

    for (int i = 0; i < 3; i++) {
        check(shoal_process_join(processes[i], SHOAL_FOREVER));
        check(shoal_process_close(processes[i]));
    }
    return 0;
}
