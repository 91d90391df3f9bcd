/* csp.c - channels and networks, beside what a cache line, a queue and bare pipes cost. */
#include "bench.h"
#include <errno.h>
#include <shoal/shoal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MEETINGS = 100000, STREAM = 1000000, COMMS = 5000, LOCAL = 100000, MOST = 100, ROUNDS = 15 };

struct line {
    shoal_channel *channel;
    shoal_channel_end *in, *out;
};

static void open_line(struct line *l, uint64_t buffer)
{
    bench_must(shoal_channel_create(&l->channel, &(shoal_channel_options){.buffer = buffer}),
               "shoal_channel_create");
    bench_must(shoal_channel_reader(l->channel, &l->in), "shoal_channel_reader");
    bench_must(shoal_channel_writer(l->channel, &l->out), "shoal_channel_writer");
}

static void close_line(struct line *l)
{
    shoal_channel_end_close(l->in);
    shoal_channel_end_close(l->out);
    shoal_channel_close(l->channel);
}

static long get(const struct line *l)
{
    long value = -1;
    size_t size;
    bench_must(shoal_channel_read_bytes(l->in, &value, sizeof value, &size, SHOAL_FOREVER), "read");
    return value;
}

static void put(const struct line *l, long value)
{
    bench_must(shoal_channel_write_bytes(l->out, &value, sizeof value, SHOAL_FOREVER), "write");
}

/* ---- two processes ---- */

static struct line one;
static long many;

static void meet(int who)
{
    for (long i = 0; i < many; i++)
        if (who)
            put(&one, i);
        else if (get(&one) != i)
            bench_must(-EBADMSG, "a message out of order");
}

static double through_line(uint64_t buffer, long n)
{
    many = n;
    open_line(&one, buffer);
    double each = bench_pair(meet) / (double)n;
    close_line(&one);
    return each;
}

static double rendezvous(void)
{
    return through_line(0, bench_pinning() == PIN_TWO ? MEETINGS : MEETINGS / 10);
}

enum { BUFFER = 1000 };

static double buffered(void)
{
    return through_line(BUFFER, STREAM);
}

/* The queue with the same bound. */
static shoal_queue *bounded;

static void pass_bounded(int who)
{
    for (long i = 0, value; i < STREAM; i++) {
        size_t size;
        if (who)
            bench_must(shoal_queue_put_bytes(bounded, &i, sizeof i, SHOAL_FOREVER), "put");
        else
            bench_must(shoal_queue_get_bytes_into(bounded, &value, sizeof value, &size,
                                                  SHOAL_FOREVER),
                       "get");
    }
}

static double queue_bounded(void)
{
    bench_must(shoal_queue_create(&bounded, &(shoal_queue_options){.maxsize = BUFFER}),
               "shoal_queue_create");
    double each = bench_pair(pass_bounded) / STREAM;
    shoal_queue_close(bounded);
    return each;
}

/* ---- CommsTime: Prefix, Delta2, Successor, Consumer ---- */

/* a, b, c, d: from whom the member reads, to whom it writes (and delta2 to another, too) */
enum { A, B, C, D };
static const int from[] = {C, A, B, D}, to[] = {A, B, C, -1};

static struct line lines[4];
static int pipes[4][2];

static void comms(int who, long (*receive)(int), void (*send)(int, long))
{
    double start = 0;
    for (long i = 0; i <= COMMS; i++) {
        if (who == 0)
            send(to[who], i);
        long n = who || i < COMMS ? receive(from[who]) : 0;
        if (who == 1)
            send(D, n);
        if (who == 1 || (who == 2 && i < COMMS))
            send(to[who], n);
        if (who == 3 && i == 0)
            start = bench_now();
    }
    if (who == 3)
        bench_shared->count[0] = (long)((bench_now() - start) * 1000 / COMMS / 4);
}

static long line_receive(int which)
{
    return get(&lines[which]);
}

static void line_send(int which, long n)
{
    put(&lines[which], n);
}

static long pipe_receive(int which)
{
    long n = 0;
    bench_must(read(pipes[which][0], &n, sizeof n) == sizeof n ? 0 : -EIO, "read");
    return n;
}

static void pipe_send(int which, long n)
{
    bench_must(write(pipes[which][1], &n, sizeof n) == sizeof n ? 0 : -EIO, "write");
}

/* A crowd's members are counted from 1 on. On two cores two are on each: Prefix and Successor, Delta2 and Consumer. */
static void comms_channels(int who)
{
    bench_pin((who - 1) % 2);
    comms(who - 1, line_receive, line_send);
}

static void comms_pipes(int who)
{
    bench_pin((who - 1) % 2);
    comms(who - 1, pipe_receive, pipe_send);
}

static void only_wait(const int *pids, unsigned n)
{
    (void)pids;
    (void)n;
}

static double commstime(void)
{
    for (int i = 0; i < 4; i++)
        open_line(&lines[i], 0);
    bench_crowd(4, comms_channels, only_wait);
    for (int i = 0; i < 4; i++)
        close_line(&lines[i]);
    return (double)bench_shared->count[0] / 1000;
}

static double commstime_pipes(void)
{
    for (int i = 0; i < 4; i++)
        bench_must(pipe(pipes[i]) ? -errno : 0, "pipe");
    bench_crowd(4, comms_pipes, only_wait);
    for (int i = 0; i < 4; i++) {
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
    return (double)bench_shared->count[0] / 1000;
}

static int comms_thread(void *argument, shoal_channel_end *const ends[])
{
    (void)ends;
    comms_channels(*(int *)argument + 1);
    return 0;
}

static double commstime_threads(void)
{
    int who[4] = {0, 1, 2, 3};
    shoal_csp_process network[4];
    for (int i = 0; i < 4; i++) {
        open_line(&lines[i], 0);
        network[i] = (shoal_csp_process){.target = comms_thread, .argument = &who[i]};
    }
    bench_must(shoal_parallel(network, 4, SHOAL_CSP_THREADS), "shoal_parallel");
    for (int i = 0; i < 4; i++)
        close_line(&lines[i]);
    return (double)bench_shared->count[0] / 1000;
}

/* ---- alternation, in one process: what is written is read ---- */

static double alternate(unsigned n)
{
    static struct line all[MOST];
    static shoal_guard guards[MOST];
    long value;
    for (unsigned i = 0; i < n; i++) {
        open_line(&all[i], 1);
        guards[i] = (shoal_guard){.kind = SHOAL_INPUT,
                                  .end = all[i].in,
                                  .buffer = &value,
                                  .capacity = sizeof value};
    }
    double start = bench_now();
    for (long i = 0; i < LOCAL; i++) {
        put(&all[n - 1], i);
        if (n == 1)
            value = get(&all[0]);
        else
            bench_must(shoal_alternate(guards, n, SHOAL_ALT, SHOAL_FOREVER), "shoal_alternate");
    }
    double each = (bench_now() - start) / LOCAL;
    for (unsigned i = 0; i < n; i++)
        close_line(&all[i]);
    return each;
}

static double plain(void)
{
    return alternate(1);
}

static double alternate_2(void)
{
    return alternate(2);
}

static double alternate_10(void)
{
    return alternate(10);
}

static double alternate_100(void)
{
    return alternate(100);
}

/* ---- a ring of many ---- */

enum { MEMBERS = 200, TURNS = 20 };

static int pass(void *argument, shoal_channel_end *const ends[])
{
    long token = 0;
    size_t size;
    int rc = 0;
    for (int i = 0; !rc && i < TURNS; i++) {
        if (argument || i)
            rc = shoal_channel_write_bytes(ends[1], &token, sizeof token, SHOAL_FOREVER);
        if (!rc)
            rc = shoal_channel_read_bytes(ends[0], &token, sizeof token, &size, SHOAL_FOREVER);
    }
    return rc;
}

static double ring_of(unsigned n)
{
    static struct line all[MEMBERS];
    static shoal_channel_end *ends[MEMBERS][2];
    static shoal_csp_process network[MEMBERS];
    int first = 1;
    for (unsigned i = 0; i < n; i++)
        open_line(&all[i], 0);
    for (unsigned i = 0; i < n; i++) {
        ends[i][0] = all[i].in;
        ends[i][1] = all[(i + 1) % n].out;
        network[i] = (shoal_csp_process){.target = pass,
                                         .argument = i ? NULL : &first,
                                         .ends = ends[i],
                                         .n_ends = 2};
    }
    double start = bench_now();
    bench_must(shoal_parallel(network, n, 0), "shoal_parallel");
    double each = (bench_now() - start) / n / 1000;
    for (unsigned i = 0; i < n; i++)
        shoal_channel_close(all[i].channel);
    return each;
}

static double ring_200(void)
{
    return ring_of(MEMBERS);
}

static double ring_100(void)
{
    return ring_of(100);
}

static double ring_20(void)
{
    return ring_of(20);
}

/* ---- networks in networks, and many channels ---- */

static int nest(void *argument, shoal_channel_end *const ends[])
{
    long depth = *(const long *)argument - 1;
    (void)ends;
    return depth ? shoal_parallel(&(shoal_csp_process){.target = nest, .argument = &depth}, 1, 0)
                 : 0;
}

static double nested(long depth)
{
    double start = bench_now();
    bench_must(shoal_parallel(&(shoal_csp_process){.target = nest, .argument = &depth}, 1, 0),
               "shoal_parallel");
    return (bench_now() - start) / (double)depth / 1000;
}

/* What the kernel asks for it: each generation's pages hang on all those before it. */
static void fork_nested(long depth)
{
    pid_t pid = depth ? fork() : 1;
    int status;
    if (!pid) {
        fork_nested(depth - 1);
        _exit(0);
    }
    if (depth)
        bench_must(pid > 0 && waitpid(pid, &status, 0) == pid && !status ? 0 : -ECHILD, "fork");
}

static double forks(long depth)
{
    double start = bench_now();
    fork_nested(depth);
    return (bench_now() - start) / (double)depth / 1000;
}

static double forks_20(void)
{
    return forks(20);
}

static double forks_100(void)
{
    return forks(100);
}

static double nested_20(void)
{
    return nested(20);
}

static double nested_100(void)
{
    return nested(100);
}

/* Each is made, written to by one process, read from by another in the same order, and closed. */
enum { MANY = 1000 };
static struct line crowd[MANY];
static unsigned crowded;

static void meet_all(int who)
{
    for (unsigned i = 0; i < crowded; i++)
        if (who)
            put(&crowd[i], i);
        else if (get(&crowd[i]) != i)
            bench_must(-EBADMSG, "a message out of order");
}

static double channels(unsigned n)
{
    crowded = n;
    double start = bench_now();
    for (unsigned i = 0; i < n; i++)
        open_line(&crowd[i], 0);
    bench_pair(meet_all);
    for (unsigned i = 0; i < n; i++)
        close_line(&crowd[i]);
    return (bench_now() - start) / n / 1000;
}

static double channels_100(void)
{
    return channels(100);
}

static double channels_1000(void)
{
    return channels(MANY);
}

const struct bench bench_csp[] = {
    {"channel, rendezvous", "ns", rendezvous, FAMILY, "cache line, spinning", bench_line_round_trip,
     PIN_TWO, PIN_TWO, RATIO_AT_MOST, 3, ROUNDS},
    {"channel, rendezvous against futex", "ns", rendezvous, FAMILY, "futex", bench_futex_round_trip,
     PIN_ONE | PIN_NONE, 0, RATIO_AT_MOST, 1, ROUNDS},
    {"channel, buffered, one way", "ns", buffered, FAMILY, "queue", bench_queue_stream, PIN_TWO,
     PIN_TWO, RATIO_AT_MOST, 1.5, ROUNDS},
    {"channel, buffered, against a queue of that bound", "ns", buffered, FAMILY, "queue, bounded",
     queue_bounded, PIN_TWO, PIN_TWO, RATIO_AT_MOST, 1.5, ROUNDS},
    {"CommsTime, a communication, on one core", "ns", commstime, FAMILY, "bare pipes",
     commstime_pipes, PIN_ONE, PIN_ONE, RATIO_AT_MOST, 0.7, ROUNDS},
    {"CommsTime, a communication, on two cores", "ns", commstime, FAMILY, "bare pipes",
     commstime_pipes, PIN_TWO | PIN_NONE, PIN_TWO, RATIO_AT_MOST, 0.15, ROUNDS},
    {"CommsTime with threads, on one core", "ns", commstime_threads, FAMILY, "bare pipes",
     commstime_pipes, PIN_ONE, PIN_ONE, RATIO_AT_MOST, 0.7, ROUNDS},
    {"CommsTime with threads, on two cores", "ns", commstime_threads, FAMILY, "bare pipes",
     commstime_pipes, PIN_TWO | PIN_NONE, PIN_TWO, RATIO_AT_MOST, 0.15, ROUNDS},
    {"alternation, 2 guards, the last one ready", "ns", alternate_2, FAMILY, NULL, NULL, PIN_NONE,
     0, FIGURE_AT_MOST, 0, ROUNDS},
    {"alternation, 10 guards, the last one ready", "ns", alternate_10, FAMILY, NULL, NULL, PIN_NONE,
     0, FIGURE_AT_MOST, 0, ROUNDS},
    {"alternation, 100 guards, the last one ready", "ns", alternate_100, FAMILY, NULL, NULL,
     PIN_NONE, 0, FIGURE_AT_MOST, 0, ROUNDS},
    {"alternation, instead: a write and a plain read", "ns", plain, FAMILY, NULL, NULL, PIN_NONE, 0,
     FIGURE_AT_MOST, 0, ROUNDS},
    {"token ring of 20 processes, a member", "us", ring_20, FAMILY, NULL, NULL, PIN_NONE, 0,
     FIGURE_AT_MOST, 0, 5},
    {"token ring of 100 processes, a member", "us", ring_100, FAMILY, NULL, NULL, PIN_NONE, 0,
     FIGURE_AT_MOST, 0, 5},
    {"token ring of 200 processes, a member", "us", ring_200, FAMILY, NULL, NULL, PIN_NONE, 0,
     FIGURE_AT_MOST, 0, 5},
    {"parallels nested 20 deep, each", "us", nested_20, FAMILY, "bare forks", forks_20, PIN_NONE, 0,
     FIGURE_AT_MOST, 0, 5},
    {"parallels nested 100 deep, each", "us", nested_100, FAMILY, "bare forks", forks_100, PIN_NONE,
     0, FIGURE_AT_MOST, 0, 5},
    {"100 channels, each with a message", "us", channels_100, FAMILY, NULL, NULL, PIN_TWO, 0,
     FIGURE_AT_MOST, 0, ROUNDS},
    {"1,000 channels, each with a message", "us", channels_1000, FAMILY, NULL, NULL, PIN_TWO, 0,
     FIGURE_AT_MOST, 0, ROUNDS},
};
const unsigned bench_csp_count = BENCH_COUNT(bench_csp);
