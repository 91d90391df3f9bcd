/* 000_pipe.c - a child says hello through a pipe. */
#include "check.h"
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int worker(void *argument)
{
    shoal_connection *end = argument;
    const char *hello = "Hello, world!";

    check(shoal_connection_send_bytes(end, hello, strlen(hello), SHOAL_FOREVER));
    shoal_connection_close(end);
    return 0;
}

int main(void)
{
    shoal_connection *parent_end, *child_end;
    shoal_process *process;
    void *text;
    size_t size;

    check(shoal_pipe(&parent_end, &child_end, NULL));
    check(shoal_process_start(&process, worker, child_end, NULL));
    shoal_connection_close(child_end); /* only the child has it now: if it dies, recv says so */

    check(shoal_connection_recv_bytes(parent_end, &text, &size, SHOAL_FOREVER));
    puts(text);
    free(text);

    check(shoal_process_join(process, SHOAL_FOREVER));
    check(shoal_process_close(process));
    shoal_connection_close(parent_end);
    return 0;
}
