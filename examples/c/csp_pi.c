/* csp_pi.c - pi by throwing darts: workers take how many to throw from one channel and put how many hit into another. When
 * there is no more to do the channel is retired, and so the workers end, and then who adds up. */
#include "check.h"
#include <shoal/shoal.h>

enum { TASKS = 40, DARTS = 100000, WORKERS = 4 };

static int producer(void *argument, shoal_channel_end *const ends[])
{
    (void)argument;
    for (long i = 0; i < TASKS; i++)
        check(shoal_channel_write_bytes(ends[0], &i, sizeof i, SHOAL_FOREVER));
    return shoal_channel_retire(ends[0]);
}

/* ends: tasks in, hits out */
static int worker(void *argument, shoal_channel_end *const ends[])
{
    long task;
    size_t size;
    int rc;
    (void)argument;
    while (!(rc = shoal_channel_read_bytes(ends[0], &task, sizeof task, &size, SHOAL_FOREVER))) {
        unsigned short seed[3] = {1, 2, (unsigned short)task};
        long hits = 0;
        for (int i = 0; i < DARTS; i++) {
            double x = erand48(seed), y = erand48(seed);
            hits += x * x + y * y < 1;
        }
        rc = shoal_channel_write_bytes(ends[1], &hits, sizeof hits, SHOAL_FOREVER);
        if (rc)
            break;
    }
    return rc; /* retires its other end */
}

static int consumer(void *argument, shoal_channel_end *const ends[])
{
    long hits, sum = 0, tasks = 0;
    size_t size;
    (void)argument;
    while (!shoal_channel_read_bytes(ends[0], &hits, sizeof hits, &size, SHOAL_FOREVER)) {
        sum += hits;
        tasks++;
    }
    printf("%ld tasks\n", tasks);
    printf("pi is about %.2f\n", 4.0 * (double)sum / ((double)tasks * DARTS));
    return 0;
}

int main(void)
{
    shoal_channel *tasks, *hits;
    shoal_channel_end *out, *in, *both[2];

    check(shoal_channel_create(&tasks, NULL));
    check(shoal_channel_create(&hits, NULL));
    check(shoal_channel_writer(tasks, &out));
    check(shoal_channel_reader(tasks, &both[0]));
    check(shoal_channel_writer(hits, &both[1]));
    check(shoal_channel_reader(hits, &in));
    const shoal_csp_process network[] = {
        {.target = producer, .ends = &out, .n_ends = 1},
        {.target = worker, .ends = both, .n_ends = 2, .replicas = WORKERS},
        {.target = consumer, .ends = &in, .n_ends = 1},
    };
    check(shoal_parallel(network, 3, 0));
    shoal_channel_close(tasks);
    shoal_channel_close(hits);
    return 0;
}
