/* csp_sieve.c - a sieve that grows: each process keeps the first number that it gets, a prime, and passes on what that does not
 * divide, to a process that it starts itself. */
#include "check.h"
#include <shoal/shoal.h>

enum { LIMIT = 50 };

static int get(shoal_channel_end *end, long *ret)
{
    size_t size;
    return shoal_channel_read_bytes(end, ret, sizeof *ret, &size, SHOAL_FOREVER);
}

static int numbers(void *argument, shoal_channel_end *const ends[])
{
    (void)argument;
    for (long i = 2; i < LIMIT; i++)
        check(shoal_channel_write_bytes(ends[0], &i, sizeof i, SHOAL_FOREVER));
    return 0;
}

static int sieve(void *argument, shoal_channel_end *const ends[])
{
    long prime, n;
    shoal_channel *channel;
    shoal_channel_end *in, *out;
    shoal_network *rest;
    (void)argument;
    if (get(ends[0], &prime))
        return 0; /* there are no more */
    printf("%ld\n", prime);
    fflush(stdout);
    check(shoal_channel_create(&channel, NULL));
    check(shoal_channel_reader(channel, &in));
    check(shoal_channel_writer(channel, &out));
    const shoal_csp_process next = {.target = sieve, .ends = &in, .n_ends = 1};
    check(shoal_spawn(&rest, &next, 1, 0));
    while (!get(ends[0], &n))
        if (n % prime)
            check(shoal_channel_write_bytes(out, &n, sizeof n, SHOAL_FOREVER));
    shoal_channel_end_close(out);
    check(shoal_network_join(rest));
    shoal_channel_close(channel);
    return 0;
}

int main(void)
{
    shoal_channel *channel;
    shoal_channel_end *in, *out;

    check(shoal_channel_create(&channel, NULL));
    check(shoal_channel_reader(channel, &in));
    check(shoal_channel_writer(channel, &out));
    const shoal_csp_process network[] = {
        {.target = numbers, .ends = &out, .n_ends = 1},
        {.target = sieve, .ends = &in, .n_ends = 1},
    };
    printf("%d failed\n", check(shoal_parallel(network, 2, 0)));
    shoal_channel_close(channel);
    return 0;
}
