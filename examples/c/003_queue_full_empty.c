/* 003_queue_full_empty.c - a queue with room for one message: how long one waits in vain to put
 * another one in, and to take one out when there is none. */
#include "check.h"
#include <errno.h>
#include <shoal/shoal.h>
#include <stdio.h>
#include <time.h>

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* What a call that waited in vain returned; any other result is checked as usual. */
static int in_vain(int result)
{
    return result == -ETIMEDOUT || result == -EAGAIN;
}

static void try_put(shoal_queue *queue, double seconds)
{
    double start = now();
    int rc = shoal_queue_put_bytes(queue, "two", sizeof "two", shoal_after(seconds));

    if (!in_vain(rc))
        check(rc);
    else
        printf("Full after %.1f\n", now() - start);
}

static void try_get(shoal_queue *queue, double seconds)
{
    double start = now();
    char text[4];
    size_t size;
    int rc = shoal_queue_get_bytes_into(queue, text, sizeof text, &size, shoal_after(seconds));

    if (!in_vain(rc))
        check(rc);
    else
        printf("Empty after %.1f\n", now() - start);
}

int main(void)
{
    shoal_queue *queue;
    char text[4];
    size_t size;

    check(shoal_queue_create(&queue, &(shoal_queue_options){.maxsize = 1}));
    check(shoal_queue_put_bytes(queue, "one", sizeof "one", SHOAL_FOREVER));
    try_put(queue, 0.2);
    try_put(queue, 0); /* SHOAL_NOW: does not wait */

    check(shoal_queue_get_bytes_into(queue, text, sizeof text, &size, SHOAL_FOREVER));
    puts(text);
    try_get(queue, 0.2);
    try_get(queue, 0);
    shoal_queue_close(queue);
    return 0;
}
