/* csp_ring.c - a token goes round a ring of processes. When the first has seen it often enough it ends, and so does the ring, one
 * process after the other.
 *
 *     csp_ring [PROCESSES] [ROUNDS]
 */
#include "check.h"
#include <shoal/shoal.h>

static long rounds = 100;

/* ends: in, out. argument: of the first only */
static int pass(void *argument, shoal_channel_end *const ends[])
{
    long token = 0, turns = 0;
    size_t size;
    int rc = argument ? shoal_channel_write_bytes(ends[1], &token, sizeof token, SHOAL_FOREVER) : 0;
    while (!rc) {
        rc = shoal_channel_read_bytes(ends[0], &token, sizeof token, &size, SHOAL_FOREVER);
        if (!rc && argument && ++turns == rounds) {
            printf("after %ld rounds the token is %ld\n", rounds, token + 1);
            return 0;
        }
        token++;
        if (!rc)
            rc = shoal_channel_write_bytes(ends[1], &token, sizeof token, SHOAL_FOREVER);
    }
    return rc;
}

int main(int argc, char *argv[])
{
    int n = argc > 1 ? atoi(argv[1]) : 20;
    if (argc > 2)
        rounds = atol(argv[2]);
    if (n < 1 || n > 1000)
        return 1;
    shoal_channel **channels = calloc((size_t)n, sizeof(shoal_channel *));
    shoal_channel_end *(*ends)[2] = calloc((size_t)n, sizeof *ends);
    shoal_csp_process *network = calloc((size_t)n, sizeof *network);
    if (!channels || !ends || !network) {
        free(channels);
        free(ends);
        free(network);
        return 1;
    }
    for (int i = 0; i < n; i++)
        check(shoal_channel_create(&channels[i], NULL));
    for (int i = 0; i < n; i++) {
        check(shoal_channel_reader(channels[i], &ends[i][0]));
        check(shoal_channel_writer(channels[(i + 1) % n], &ends[i][1]));
        network[i] = (shoal_csp_process){.target = pass,
                                         .argument = i ? NULL : &rounds,
                                         .ends = ends[i],
                                         .n_ends = 2};
    }
    printf("%d failed\n", check(shoal_parallel(network, (size_t)n, 0)));
    for (int i = 0; i < n; i++)
        shoal_channel_close(channels[i]);
    free(channels);
    free(ends);
    free(network);
    return 0;
}
