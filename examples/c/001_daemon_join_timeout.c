/* 001_daemon_join_timeout.c - a daemon that has much to do: waiting for it with a deadline is in
 * vain, and it ends with its parent. */
#include "check.h"
#include <errno.h>
#include <shoal/shoal.h>
#include <stdio.h>
#include <unistd.h>

static int piao(void *argument)
{
    const char *name = argument;

    printf("%s is piaoing\n", name);
    fflush(stdout);
    sleep(30);
    printf("%s is piao end\n", name);
    return 0;
}

static const char *text(int truth)
{
    return truth ? "True" : "False";
}

int main(void)
{
    shoal_process *process;
    unsigned char key[64];
    char name[] = "egon";

    check(shoal_process_start(&process, piao, name,
                              &(shoal_process_options){.name = name, .flags = SHOAL_DAEMON}));

    int joined = shoal_process_join(process, shoal_after(0.0001));
    if (joined != -ETIMEDOUT)
        check(joined);

    printf("start %s %s %s %d\n", shoal_process_name(process), text(shoal_process_pid(process) > 0),
           text(check(shoal_process_is_alive(process))),
           check(shoal_process_authkey(key, sizeof key)));
    return 0; /* and with this the daemon ends too */
}
