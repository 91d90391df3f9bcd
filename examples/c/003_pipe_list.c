/* 003_pipe_list.c - a list goes through a pipe of one direction. */
#include "check.h"
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>

static int send_list(void *argument)
{
    shoal_connection *sends = argument;
    shoal_any *list = shoal_any_list(shoal_any_str("spam"));

    check(shoal_any_append(list, shoal_any_int(42)));
    check(shoal_any_append(list, shoal_any_str("egg")));
    check(shoal_connection_send(sends, list, SHOAL_FOREVER));
    shoal_any_free(list);
    shoal_connection_close(sends);
    return 0;
}

int main(void)
{
    shoal_connection *receives, *sends;
    shoal_process *sender;
    shoal_any *list;
    char *text;

    check(shoal_pipe(&receives, &sends, &(shoal_pipe_options){.flags = SHOAL_ONE_WAY}));
    check(shoal_process_start(&sender, send_list, sends, NULL));
    shoal_connection_close(sends);

    check(shoal_connection_recv(receives, &list, SHOAL_FOREVER));
    check(shoal_any_repr(list, &text));
    printf("con2 got: %s\n", text);
    free(text);
    shoal_any_free(list);

    check(shoal_process_join(sender, SHOAL_FOREVER));
    check(shoal_process_close(sender));
    shoal_connection_close(receives);
    return 0;
}
