/* csp_commstime.c - CommsTime: Prefix, Delta2, Successor and Consumer in a ring, and how long one communication takes.
 *
 *     csp_commstime [ROUNDS] [threads]
 */
#include "check.h"
#include <shoal/shoal.h>
#include <string.h>
#include <time.h>

static int get(shoal_channel_end *end, long *ret)
{
    size_t size;
    return shoal_channel_read_bytes(end, ret, sizeof *ret, &size, SHOAL_FOREVER);
}

static int put(shoal_channel_end *end, long number)
{
    return shoal_channel_write_bytes(end, &number, sizeof number, SHOAL_FOREVER);
}

/* ends: in, out */
static int prefix(void *argument, shoal_channel_end *const ends[])
{
    long n = 0;
    int rc;
    (void)argument;
    do
        rc = put(ends[1], n);
    while (!rc && !(rc = get(ends[0], &n)));
    return rc;
}

/* ends: in, two outs */
static int delta2(void *argument, shoal_channel_end *const ends[])
{
    long n;
    int rc;
    (void)argument;
    while (!(rc = get(ends[0], &n)) && !(rc = put(ends[1], n)) && !(rc = put(ends[2], n)))
        ;
    return rc;
}

static int successor(void *argument, shoal_channel_end *const ends[])
{
    long n;
    int rc;
    (void)argument;
    while (!(rc = get(ends[0], &n)) && !(rc = put(ends[1], n + 1)))
        ;
    return rc;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int consumer(void *argument, shoal_channel_end *const ends[])
{
    long rounds = *(long *)argument, n = -1;
    check(get(ends[0], &n)); /* all run */
    double start = now();
    for (long i = 1; i < rounds; i++)
        check(get(ends[0], &n));
    double each = (now() - start) / (double)rounds / 4;
    printf("the last number is %ld\n", n);
    printf("%.0f ns a communication\n", each);
    return shoal_channel_poison(ends[0]);
}

int main(int argc, char *argv[])
{
    long rounds = argc > 1 ? atol(argv[1]) : 10000;
    unsigned flags = argc > 2 && !strcmp(argv[2], "threads") ? SHOAL_CSP_THREADS : 0;
    shoal_channel *a, *b, *c, *d;
    shoal_channel_end *e[9];

    check(shoal_channel_create(&a, NULL));
    check(shoal_channel_create(&b, NULL));
    check(shoal_channel_create(&c, NULL));
    check(shoal_channel_create(&d, NULL));
    check(shoal_channel_reader(c, &e[0]));
    check(shoal_channel_writer(a, &e[1]));
    check(shoal_channel_reader(a, &e[2]));
    check(shoal_channel_writer(b, &e[3]));
    check(shoal_channel_writer(d, &e[4]));
    check(shoal_channel_reader(b, &e[5]));
    check(shoal_channel_writer(c, &e[6]));
    check(shoal_channel_reader(d, &e[7]));
    const shoal_csp_process network[] = {
        {.target = prefix, .ends = e, .n_ends = 2},
        {.target = delta2, .ends = e + 2, .n_ends = 3},
        {.target = successor, .ends = e + 5, .n_ends = 2},
        {.target = consumer, .argument = &rounds, .ends = e + 7, .n_ends = 1},
    };
    check(shoal_parallel(network, 4, flags));
    shoal_channel_close(a);
    shoal_channel_close(b);
    shoal_channel_close(c);
    shoal_channel_close(d);
    return 0;
}
