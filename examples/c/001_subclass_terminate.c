/* 001_subclass_terminate.c - ends a process with SIGTERM, and looks at what became of it. */
#include "check.h"
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct piao {
    const char *name;
};

static int run(void *argument)
{
    const struct piao *self = argument;

    printf("%s is piaoing\n", self->name);
    srandom((unsigned)getpid());
    sleep(1 + (unsigned)(random() % 4));
    printf("%s is piao end\n", self->name);
    return 0;
}

static void print_alive(shoal_process *process)
{
    printf("%s\n", check(shoal_process_is_alive(process)) ? "True" : "False");
}

int main(void)
{
    shoal_process *p1;
    struct piao egon1 = {.name = "egon1"};
    int code;

    check(shoal_process_start(&p1, run, &egon1, NULL));
    check(shoal_process_terminate(p1));
    print_alive(p1); /* a signal takes its time: both answers are right */

    nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
    printf("start\n");
    print_alive(p1);

    check(shoal_process_join(p1, SHOAL_FOREVER));
    check(shoal_process_exit_code(p1, &code)); /* -N: ended by signal N */
    printf("exitcode %d\n", code);
    check(shoal_process_close(p1));
    return 0;
}
