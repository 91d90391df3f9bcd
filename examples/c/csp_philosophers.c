/* csp_philosophers.c - five philosophers and five forks, each a process. A fork waits for the philosopher on its left or on its right, whoever
 * comes first. The fifth takes its forks the other way round, so they never wait for one another in a ring. */
#include "check.h"
#include <shoal/shoal.h>

enum { PHILOSOPHERS = 5, MEALS = 10 };

/* ends: of its left and its right fork; to write to. One message picks a fork up, the next puts it down. */
static int philosopher(void *argument, shoal_channel_end *const ends[])
{
    int who = *(int *)argument, first = who == PHILOSOPHERS - 1;
    for (int i = 0; i < MEALS; i++) {
        check(shoal_channel_write_bytes(ends[first], "up", 2, SHOAL_FOREVER));
        check(shoal_channel_write_bytes(ends[!first], "up", 2, SHOAL_FOREVER));
        check(shoal_channel_write_bytes(ends[!first], "down", 4, SHOAL_FOREVER));
        check(shoal_channel_write_bytes(ends[first], "down", 4, SHOAL_FOREVER));
    }
    printf("philosopher %d has eaten %d times\n", who, MEALS);
    return 0;
}

/* ends: from both sides. Who sits on one side may leave earlier than the other. */
static int fork_process(void *argument, shoal_channel_end *const ends[])
{
    char what[4];
    size_t size;
    (void)argument;
    int rc, served = 0;
    while (served < 2 * MEALS) {
        shoal_guard guards[2];
        for (int i = 0; i < 2; i++)
            guards[i] = (shoal_guard){.kind = SHOAL_INPUT,
                                      .end = ends[i],
                                      .buffer = what,
                                      .capacity = sizeof what};
        rc = shoal_alternate(guards, 2, SHOAL_ALT, SHOAL_FOREVER);
        if (rc < 0) /* one of them has left: serve the other */
            break;
        check(shoal_channel_read_bytes(ends[rc], what, sizeof what, &size, SHOAL_FOREVER));
        served++;
    }
    for (int i = 0; i < 2; i++)
        while (!shoal_channel_read_bytes(ends[i], what, sizeof what, &size, SHOAL_FOREVER))
            ;
    return 0;
}

int main(void)
{
    shoal_channel *channels[PHILOSOPHERS][2]; /* of each philosopher: to its left and right fork */
    shoal_channel_end *writers[PHILOSOPHERS][2], *readers[PHILOSOPHERS][2];
    shoal_csp_process network[2 * PHILOSOPHERS];
    int numbers[PHILOSOPHERS];

    for (int i = 0; i < PHILOSOPHERS; i++)
        for (int k = 0; k < 2; k++) {
            check(shoal_channel_create(&channels[i][k], NULL));
            check(shoal_channel_writer(channels[i][k], &writers[i][k]));
            check(shoal_channel_reader(channels[i][k], &readers[(i + k) % PHILOSOPHERS][k]));
        }
    for (int i = 0; i < PHILOSOPHERS; i++) {
        numbers[i] = i;
        network[2 * i] = (shoal_csp_process){.target = philosopher,
                                             .argument = &numbers[i],
                                             .ends = writers[i],
                                             .n_ends = 2};
        network[2 * i + 1] =
            (shoal_csp_process){.target = fork_process, .ends = readers[i], .n_ends = 2};
    }
    printf("%d failed\n", check(shoal_parallel(network, 2 * PHILOSOPHERS, 0)));
    for (int i = 0; i < PHILOSOPHERS; i++)
        for (int k = 0; k < 2; k++)
            shoal_channel_close(channels[i][k]);
    return 0;
}
