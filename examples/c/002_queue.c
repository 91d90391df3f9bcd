/* 002_queue.c - a list of different things goes through a queue. */
#include "check.h"
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>

static int f(void *argument)
{
    shoal_queue *queue = argument;
    shoal_any *list = shoal_any_list(shoal_any_int(42), shoal_any_none(), shoal_any_str("hello"));

    check(shoal_queue_put(queue, list, SHOAL_FOREVER));
    shoal_any_free(list);
    return 0;
}

int main(void)
{
    shoal_queue *queue;
    shoal_process *process;
    shoal_any *list;
    char *text;

    check(shoal_queue_create(&queue, NULL));
    check(shoal_process_start(&process, f, queue, NULL));

    check(shoal_queue_get(queue, &list, SHOAL_FOREVER));
    check(shoal_any_repr(list, &text));
    puts(text);
    free(text);
    shoal_any_free(list);

    check(shoal_process_join(process, SHOAL_FOREVER));
    check(shoal_process_close(process));
    shoal_queue_close(queue);
    return 0;
}
