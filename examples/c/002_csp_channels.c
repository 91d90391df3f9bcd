/* 002_csp_channels.c - two processes joined by two channels. The first retires its end when it is done;
 * the second learns of it at its next read, and so ends too. */
#include "check.h"
#include <errno.h>
#include <shoal/shoal.h>

static int read_number(shoal_channel_end *end, long *ret)
{
    size_t size;
    return shoal_channel_read_bytes(end, ret, sizeof *ret, &size, SHOAL_FOREVER);
}

static int write_number(shoal_channel_end *end, long number)
{
    return shoal_channel_write_bytes(end, &number, sizeof number, SHOAL_FOREVER);
}

/* ends: to the second, from the second */
static int process1(void *argument, shoal_channel_end *const ends[])
{
    (void)argument;
    for (long i = 0; i < 5; i++) {
        long got;
        check(write_number(ends[0], i));
        check(read_number(ends[1], &got));
        printf("1 got %ld\n", got);
    }
    return shoal_channel_retire(ends[0]);
}

/* ends: from the first, to the first */
static int process2(void *argument, shoal_channel_end *const ends[])
{
    long number;
    int rc;
    (void)argument;
    do {
        rc = read_number(ends[0], &number);
        if (!rc)
            rc = write_number(ends[1], number * 10);
    } while (!rc);
    return rc; /* -EPIPE: it was retired, and so are the ends of this process */
}

int main(void)
{
    shoal_channel *channel1, *channel2;
    shoal_channel_end *first[2], *second[2];

    check(shoal_channel_create(&channel1, NULL));
    check(shoal_channel_create(&channel2, NULL));
    check(shoal_channel_writer(channel1, &first[0]));
    check(shoal_channel_reader(channel2, &first[1]));
    check(shoal_channel_reader(channel1, &second[0]));
    check(shoal_channel_writer(channel2, &second[1]));
    const shoal_csp_process network[] = {
        {.target = process1, .ends = first, .n_ends = 2},
        {.target = process2, .ends = second, .n_ends = 2},
    };
    check(shoal_parallel(network, 2, 0));
    puts("Terminating");
    shoal_channel_close(channel1);
    shoal_channel_close(channel2);
    return 0;
}
