/* 000_queue.c - a child says hello through a queue. */
#include "check.h"
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>

static int worker(void *argument)
{
    shoal_queue *queue = argument;
    const char hello[] = "Hello, world!";

    check(shoal_queue_put_bytes(queue, hello, sizeof hello, SHOAL_FOREVER)); /* its zero byte too */
    return 0;
}

int main(void)
{
    shoal_queue *queue;
    shoal_process *process;
    void *text;
    size_t size;

    check(shoal_queue_create(&queue, NULL));
    check(shoal_process_start(&process, worker, queue, NULL));

    check(shoal_queue_get_bytes(queue, &text, &size, SHOAL_FOREVER));
    puts(text);
    free(text);

    check(shoal_process_join(process, SHOAL_FOREVER));
    check(shoal_process_close(process));
    shoal_queue_close(queue);
    return 0;
}
