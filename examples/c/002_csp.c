/* 002_csp.c - two processes side by side, and what comes when both have ended. */
#include "check.h"
#include <shoal/shoal.h>
#include <unistd.h>

static int wait_and_say(void *argument, shoal_channel_end *const ends[])
{
    (void)ends;
    sleep(1);
    printf("%s exiting\n", (const char *)argument);
    return 0;
}

int main(void)
{
    char first[] = "P1", second[] = "P2";
    const shoal_csp_process network[] = {
        {.target = wait_and_say, .argument = first},
        {.target = wait_and_say, .argument = second},
    };
    check(shoal_parallel(network, 2, 0));
    puts("Terminating");
    return 0;
}
