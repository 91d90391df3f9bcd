/* queue.c - queues and pipes, beside Boost's message queue, ZeroMQ, sockets, bare memory, and what a cache line costs. */
#include "bench.h"
#include "boost.h"
#include "os/os.h"
#include "zeromq.h"
#include <errno.h>
#include <shoal/shoal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* Where Boost or ZeroMQ is not installed nothing is measured with it. */
#define YARDSTICK __attribute__((unused)) static

enum { SIZE = 64, BATCH = 64, STREAM = 1000000, BOOST_STREAM = 100000, ROUNDS = 31 };
enum { LARGE = 1 << 20, LARGE_STREAM = 512, RING = 4096 };

/* The first has had several producers when the later rows come to it, and looks at a lane of each then;
 * those that go there and back have had one each. */
enum { USED, USED_BACK, THERE, BACK, BOUNDED, LARGE_ONES, QUEUES };

static shoal_queue *queue(int which)
{
    static shoal_queue *q[QUEUES];
    static const uint64_t maxsize[QUEUES] = {[BOUNDED] = 1000, [LARGE_ONES] = 3};
    for (int i = 0; i < QUEUES && !q[i]; i++)
        bench_must(shoal_queue_create(&q[i], &(shoal_queue_options){.maxsize = maxsize[i]}),
                   "shoal_queue_create");
    return q[which];
}

static void put(int which, const void *bytes, size_t size)
{
    bench_must(shoal_queue_put_bytes(queue(which), bytes, size, SHOAL_FOREVER), "put");
}

static void get(int which, void *bytes, size_t capacity)
{
    size_t size;
    bench_must(shoal_queue_get_bytes_into(queue(which), bytes, capacity, &size, SHOAL_FOREVER),
               "get");
}

/* ---- streams of 64 bytes, each published at once: who 0 takes, who 1 puts ---- */

static int through; /* which queue */

static void stream(int who)
{
    unsigned char message[SIZE] = {0};
    for (long i = 0; i < STREAM; i++) {
        if (who) {
            memcpy(message, &i, sizeof i);
            put(through, message, SIZE);
        } else {
            get(through, message, SIZE);
            if (memcmp(message, &i, sizeof i))
                bench_must(-EBADMSG, "a message out of order");
        }
    }
}

static double queue_stream(void)
{
    through = USED;
    queue(USED);
    return bench_pair(stream) / STREAM;
}

static double bounded_stream(void)
{
    through = BOUNDED;
    queue(BOUNDED);
    return bench_pair(stream) / STREAM;
}

static void stream_batches(int who)
{
    static unsigned char bytes[BATCH * SIZE];
    shoal_bytes messages[BATCH];
    for (int i = 0; i < BATCH; i++)
        messages[i] = (shoal_bytes){bytes + (size_t)i * SIZE, SIZE};
    for (long done = 0; done < STREAM / BATCH * BATCH;) {
        int n = who ? shoal_queue_put_many(queue(USED), messages, BATCH, SHOAL_FOREVER)
                    : shoal_queue_get_many(queue(USED), messages, BATCH, bytes, sizeof bytes,
                                           SHOAL_FOREVER);
        bench_must(n, "many");
        done += n;
    }
}

static double queue_batches(void)
{
    queue(USED);
    return bench_pair(stream_batches) / STREAM;
}

/* The least that a ring between two can be: slots of 64 bytes, its ends published once a batch. */
struct ring {
    _Alignas(64) _Atomic uint64_t tail;
    _Alignas(64) _Atomic uint64_t head;
    _Alignas(64) unsigned char slots[RING][SIZE];
};

static struct ring *ring(void)
{
    static struct ring *r;
    if (!r) {
        r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        bench_must(r == MAP_FAILED ? -ENOMEM : 0, "mmap");
    }
    return r;
}

static void stream_ring(int who)
{
    struct ring *r = ring();
    static unsigned char bytes[BATCH][SIZE];
    for (uint64_t at = 0; at < STREAM / BATCH * BATCH; at += BATCH) {
        if (who) {
            while (at + BATCH - atomic_load_explicit(&r->head, memory_order_acquire) > RING)
                os_pause();
            memcpy(r->slots[at % RING], bytes, sizeof bytes);
            atomic_store_explicit(&r->tail, at + BATCH, memory_order_release);
        } else {
            while (atomic_load_explicit(&r->tail, memory_order_acquire) < at + BATCH)
                os_pause();
            memcpy(bytes, r->slots[at % RING], sizeof bytes);
            atomic_store_explicit(&r->head, at + BATCH, memory_order_release);
        }
    }
}

static double ring_batches(void)
{
    ring()->head = ring()->tail = 0;
    return bench_pair(stream_ring) / STREAM;
}

/* The same with a header for each message, which is published by writing to it: what a queue does, but for
 * all that keeps it whole when somebody dies, more producers and consumers, and waiting. */
enum { BARE = 1 << 16, RECORD = SIZE + 16 };
struct bare {
    _Alignas(64) uint64_t tail;
    uint64_t room_end;
    _Alignas(64) _Atomic uint64_t head;
    _Alignas(64) unsigned char bytes[BARE];
};

static _Atomic uint64_t *bare_header(struct bare *b, uint64_t at)
{
    return (_Atomic uint64_t *)(void *)(b->bytes + at);
}

/* Behind the record at `at`, or at the beginning. */
static uint64_t bare_next(uint64_t at)
{
    return at + RECORD + RECORD > BARE ? 0 : at + RECORD;
}

static struct bare *bare(void)
{
    static struct bare *b;
    if (!b) {
        b = mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        bench_must(b == MAP_FAILED ? -ENOMEM : 0, "mmap");
    }
    return b;
}

static void bare_put(struct bare *b, const void *message)
{
    uint64_t at = b->tail, next = bare_next(at);
    while (b->room_end == next &&
           (b->room_end = atomic_load_explicit(&b->head, memory_order_acquire)) == next)
        os_pause();
    atomic_store_explicit(bare_header(b, next), 0, memory_order_relaxed);
    memcpy(b->bytes + at + 16, message, SIZE);
    atomic_store_explicit(bare_header(b, at), SIZE, memory_order_release);
    b->tail = next;
}

static void bare_get(struct bare *b, void *message)
{
    uint64_t at = atomic_load_explicit(&b->head, memory_order_relaxed);
    while (!atomic_load_explicit(bare_header(b, at), memory_order_acquire))
        for (int i = 0; i < 40; i++) /* as a queue lets some come */
            os_pause();
    memcpy(message, b->bytes + at + 16, SIZE);
    atomic_store_explicit(&b->head, bare_next(at), memory_order_release);
}

static void stream_bare(int who)
{
    struct bare *b = bare();
    unsigned char message[SIZE] = {0};
    for (long i = 0; i < STREAM; i++)
        if (who)
            bare_put(b, message);
        else
            bare_get(b, message);
}

static double bare_stream(void)
{
    memset(bare(), 0, sizeof(struct bare));
    return bench_pair(stream_bare) / STREAM;
}

/* ---- Boost.Interprocess ---- */

static void stream_boost(int who)
{
    unsigned char message[SIZE] = {0};
    for (long i = 0; i < BOOST_STREAM; i++) {
        if (who)
            boost_put(message, SIZE);
        else
            boost_get(message, SIZE);
    }
}

YARDSTICK double boost_stream(void)
{
    boost_open();
    return bench_pair(stream_boost) / BOOST_STREAM;
}

/* ---- several: producers and consumers each do their part; one of the consumers runs here ---- */

static int producers, consumers;
static long several; /* messages in all */

static void do_part(int who)
{
    unsigned char message[SIZE] = {0};
    bool puts = who > 0 && who <= producers;
    long n = several / (puts ? producers : consumers);
    for (long i = 0; i < n; i++)
        if (puts)
            put(USED, message, SIZE);
        else
            get(USED, message, SIZE);
}

static void do_part_boost(int who)
{
    unsigned char message[SIZE] = {0};
    bool puts = who > 0 && who <= producers;
    long n = several / (puts ? producers : consumers);
    for (long i = 0; i < n; i++)
        if (puts)
            boost_put(message, SIZE);
        else
            boost_get(message, SIZE);
}

static double several_took;

static void take_here(const int *pids, unsigned n)
{
    (void)pids;
    (void)n;
    double begin = bench_now();
    do_part(0);
    several_took = bench_now() - begin;
}

static void take_here_boost(const int *pids, unsigned n)
{
    (void)pids;
    (void)n;
    double begin = bench_now();
    do_part_boost(0);
    several_took = bench_now() - begin;
}

static double run_several(int p, int c)
{
    queue(USED);
    producers = p;
    consumers = c;
    several = STREAM / 4;
    bench_crowd((unsigned)(p + c - 1), do_part, take_here);
    return several_took / (double)several;
}

static double run_several_boost(int p, int c)
{
    boost_open();
    producers = p;
    consumers = c;
    several = BOOST_STREAM / 2;
    bench_crowd((unsigned)(p + c - 1), do_part_boost, take_here_boost);
    return several_took / (double)several;
}

static double two_and_one(void)
{
    return run_several(2, 1);
}

static double one_and_two(void)
{
    return run_several(1, 2);
}

static double two_and_two(void)
{
    return run_several(2, 2);
}

YARDSTICK double boost_two_and_one(void)
{
    return run_several_boost(2, 1);
}

YARDSTICK double boost_one_and_two(void)
{
    return run_several_boost(1, 2);
}

YARDSTICK double boost_two_and_two(void)
{
    return run_several_boost(2, 2);
}

/* ---- there and back ---- */

enum { TRIPS = 20000, FUTEX_TRIPS = 2000 };

static long trips(void)
{
    return bench_pinning() == PIN_TWO ? TRIPS : FUTEX_TRIPS;
}

static int there, back;

static void rally(int who)
{
    unsigned char message[SIZE] = {0};
    for (long i = 0, n = trips(); i < n; i++) {
        if (!who)
            put(there, message, SIZE);
        get(who ? there : back, message, SIZE);
        if (who)
            put(back, message, SIZE);
    }
}

static double round_trip(int to, int from)
{
    queue(to);
    there = to;
    back = from;
    return bench_pair(rally) / (double)trips();
}

static double queue_round_trip(void)
{
    return round_trip(THERE, BACK);
}

static double used_queue_round_trip(void)
{
    return round_trip(USED, USED_BACK);
}

/* ---- a pipe ---- */

static shoal_connection *ends[2];

static void rally_pipe(int who)
{
    unsigned char message[SIZE] = {0};
    size_t size;
    for (long i = 0, n = trips(); i < n; i++) {
        if (!who)
            bench_must(shoal_connection_send_bytes(ends[0], message, SIZE, SHOAL_FOREVER), "send");
        bench_must(shoal_connection_recv_bytes_into(ends[who], message, SIZE, &size, SHOAL_FOREVER),
                   "recv");
        if (who)
            bench_must(shoal_connection_send_bytes(ends[1], message, SIZE, SHOAL_FOREVER), "send");
    }
}

static double pipe_round_trip(void)
{
    if (!ends[0])
        bench_must(shoal_pipe(&ends[0], &ends[1], NULL), "shoal_pipe");
    return bench_pair(rally_pipe) / (double)trips();
}

/* ---- a Unix socket; ZeroMQ ---- */

static int sockets[2];

static void rally_socket(int who)
{
    unsigned char message[SIZE] = {0};
    for (int i = 0; i < FUTEX_TRIPS; i++) {
        if (!who && write(sockets[0], message, SIZE) != SIZE)
            bench_must(-errno, "write");
        if (read(sockets[who], message, SIZE) != SIZE)
            bench_must(-errno, "read");
        if (who && write(sockets[1], message, SIZE) != SIZE)
            bench_must(-errno, "write");
    }
}

static double socket_round_trip(void)
{
    if (!sockets[0] && socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets))
        bench_must(-errno, "socketpair");
    return bench_pair(rally_socket) / FUTEX_TRIPS;
}

#if HAVE_ZEROMQ
enum { ZEROMQ_STREAM = 200000 };
static unsigned zeromq_rounds;

static void rally_zeromq(int who)
{
    unsigned char message[SIZE] = {0};
    zeromq_open(who, (unsigned)getpgrp() + zeromq_rounds);
    for (int i = 0; i < FUTEX_TRIPS; i++) {
        if (!who)
            zeromq_put(message, SIZE);
        zeromq_get(message, SIZE);
        if (who)
            zeromq_put(message, SIZE);
    }
    zeromq_close();
}

static double zeromq_round_trip(void)
{
    zeromq_rounds++;
    return bench_pair(rally_zeromq) / FUTEX_TRIPS;
}

static void stream_zeromq(int who)
{
    unsigned char message[SIZE] = {0};
    zeromq_open(who, (unsigned)getpgrp() + zeromq_rounds);
    for (int i = 0; i < ZEROMQ_STREAM; i++)
        if (who)
            zeromq_put(message, SIZE);
        else
            zeromq_get(message, SIZE);
    zeromq_close();
}

static double zeromq_stream(void)
{
    zeromq_rounds++;
    return bench_pair(stream_zeromq) / ZEROMQ_STREAM;
}
#endif

/* ---- 1 MiB ---- */

static void stream_large(int who)
{
    static unsigned char message[LARGE];
    memset(message, who, sizeof message);
    for (int i = 0; i < LARGE_STREAM; i++)
        if (who)
            put(LARGE_ONES, message, LARGE);
        else
            get(LARGE_ONES, message, LARGE);
}

static double queue_large(void)
{
    queue(LARGE_ONES);
    return bench_pair(stream_large) / LARGE_STREAM;
}

static double copy_large(void)
{
    static unsigned char from[LARGE], between[LARGE], to[LARGE];
    memset(from, 1, sizeof from);
    double begin = bench_now();
    for (int i = 0; i < LARGE_STREAM; i++) {
        memcpy(between, from, LARGE);
        bench_hide(between);
        memcpy(to, between, LARGE);
        bench_hide(to);
    }
    return (bench_now() - begin) / LARGE_STREAM;
}

/* ---- without a copy ---- */

static uint64_t sum(const void *bytes, size_t size)
{
    const uint64_t *words = bytes;
    uint64_t s = 0;
    for (size_t i = 0; i < size / sizeof *words; i++)
        s += words[i];
    return s;
}

static void view(int which, shoal_message *m)
{
    bench_must(shoal_queue_view(queue(which), m, SHOAL_FOREVER), "view");
}

static void commit(int which, shoal_message *m)
{
    bench_must(shoal_queue_commit(queue(which), m, SHOAL_FOREVER), "commit");
}

static void reserve(shoal_message *m)
{
    bench_must(shoal_queue_reserve(queue(USED), m, LARGE, SHOAL_FOREVER), "reserve");
}

/* One message there and back, which nobody fills. */
static void hand_over(int who)
{
    shoal_message m;
    if (!who)
        reserve(&m);
    for (int i = 0; i < TRIPS; i++) {
        if (!who)
            commit(THERE, &m);
        view(who ? THERE : BACK, &m);
        if (who)
            commit(BACK, &m);
    }
    if (!who)
        shoal_message_release(&m);
}

/* Against messages of 64 bytes that are copied. */
static double large_handed_over(void)
{
    queue(USED);
    double large = bench_pair(hand_over) / TRIPS;
    return large / queue_round_trip();
}

static uint64_t summed;

static void fill_and_sum(int who)
{
    shoal_message m;
    uint64_t s = 0;
    for (int i = 0; i < LARGE_STREAM; i++)
        if (who) {
            reserve(&m);
            memset(m.bytes, i + 1, LARGE);
            commit(LARGE_ONES, &m);
        } else {
            view(LARGE_ONES, &m);
            s += sum(m.bytes, LARGE);
            shoal_message_release(&m);
        }
    summed = s;
}

static double large_filled_and_summed(void)
{
    queue(LARGE_ONES);
    return bench_pair(fill_and_sum) / LARGE_STREAM;
}

static double private_filled_and_summed(void)
{
    static unsigned char bytes[LARGE];
    uint64_t s = 0;
    double begin = bench_now();
    for (int i = 0; i < LARGE_STREAM; i++) {
        memset(bytes, i + 1, LARGE);
        bench_hide(bytes);
        s += sum(bytes, LARGE);
    }
    summed = s;
    return (bench_now() - begin) / LARGE_STREAM;
}

/* ---- memory ---- */

/* So many in one family, each of which works. */
static double ten_thousand(void)
{
    enum { MANY = 10000 };
    static shoal_queue *many[MANY];
    int works = 0;
    for (int i = 0; i < MANY; i++)
        bench_must(shoal_queue_create(&many[i], NULL), "shoal_queue_create");
    for (int i = 0; i < MANY; i++)
        bench_must(shoal_queue_put_bytes(many[i], &i, sizeof i, SHOAL_NOW), "put");
    for (int i = 0; i < MANY; i++) {
        int got;
        size_t size;
        bench_must(shoal_queue_get_bytes_into(many[i], &got, sizeof got, &size, SHOAL_NOW), "get");
        works += got == i;
    }
    for (int i = 0; i < MANY; i++)
        shoal_queue_close(many[i]);
    return works;
}

/* Growth of what lies behind the region, over so many. */
static double memory_of_one(void)
{
    enum { MANY = 2000 };
    static shoal_queue *many[MANY];
    shoal_statistics before, after;
    queue(USED);
    shoal_memory_statistics(&before);
    for (int i = 0; i < MANY; i++)
        bench_must(shoal_queue_create(&many[i], NULL), "shoal_queue_create");
    shoal_memory_statistics(&after);
    for (int i = 0; i < MANY; i++)
        shoal_queue_close(many[i]);
    return (double)(after.populated - before.populated) / MANY;
}

double bench_queue_stream(void)
{
    return queue_stream();
}

#if HAVE_BOOST
#define BOOST(f) "Boost message_queue", f
#else
#define BOOST(f) NULL, NULL
#endif
#if HAVE_ZEROMQ
#define ZEROMQ(f) "ZeroMQ", f
#else
#define ZEROMQ(f) NULL, NULL
#endif
#define ALL (PIN_ONE | PIN_TWO | PIN_NONE)
const struct bench bench_queue[] = {
    {"queue, 64 bytes", "ns", queue_stream, FAMILY, BOOST(boost_stream), ALL, PIN_TWO,
     RATIO_AT_MOST, 1 / 14.0, ROUNDS},
    {"queue, 64 bytes, against a bare ring", "ns", queue_stream, FAMILY, "bare ring, one by one",
     bare_stream, PIN_TWO, 0, RATIO_AT_MOST, 1, ROUNDS},
    {"queue, 64 bytes, no membarrier", "ns", queue_stream, NO_MEMBARRIER, BOOST(boost_stream),
     PIN_TWO, 0, RATIO_AT_MOST, 1 / 14.0, ROUNDS},
    {"queue, 64 bytes, bounded", "ns", bounded_stream, FAMILY, BOOST(boost_stream), ALL, 0,
     RATIO_AT_MOST, 1, ROUNDS},
    {"queue, 64 bytes, against ZeroMQ", "ns", queue_stream, FAMILY, ZEROMQ(zeromq_stream),
     PIN_TWO | PIN_NONE, 0, RATIO_AT_MOST, 1, 5},
    {"queue, put_many and get_many", "ns", queue_batches, FAMILY, "bare ring, in batches",
     ring_batches, PIN_TWO, PIN_TWO, RATIO_AT_MOST, 2, ROUNDS},
    {"queue, two producers", "ns", two_and_one, FAMILY, BOOST(boost_two_and_one),
     PIN_TWO | PIN_NONE, PIN_TWO, RATIO_AT_MOST, 1, ROUNDS},
    {"queue, two consumers", "ns", one_and_two, FAMILY, BOOST(boost_one_and_two),
     PIN_TWO | PIN_NONE, PIN_TWO, RATIO_AT_MOST, 1, ROUNDS},
    {"queue, two producers, two consumers", "ns", two_and_two, FAMILY, BOOST(boost_two_and_two),
     PIN_TWO | PIN_NONE, PIN_TWO, RATIO_AT_MOST, 1, ROUNDS},
    {"queue, there and back", "ns", queue_round_trip, FAMILY, "cache line, spinning",
     bench_line_round_trip, PIN_TWO, PIN_TWO, RATIO_AT_MOST, 2.2, ROUNDS},
    {"queue that had two producers, there and back", "ns", used_queue_round_trip, FAMILY,
     "cache line, spinning", bench_line_round_trip, PIN_TWO, 0, RATIO_AT_MOST, 2.2, ROUNDS},
    {"queue, there and back against futex", "ns", queue_round_trip, FAMILY, "futex",
     bench_futex_round_trip, PIN_ONE | PIN_NONE, PIN_ONE, RATIO_AT_MOST, 1, ROUNDS},
    {"queue, there and back against ZeroMQ", "ns", queue_round_trip, FAMILY,
     ZEROMQ(zeromq_round_trip), PIN_TWO | PIN_NONE, 0, RATIO_AT_MOST, 1, 5},
    {"pipe, there and back", "ns", pipe_round_trip, FAMILY, "cache line, spinning",
     bench_line_round_trip, PIN_TWO, PIN_TWO, RATIO_AT_MOST, 2.2, ROUNDS},
    {"pipe, there and back against futex", "ns", pipe_round_trip, FAMILY, "futex",
     bench_futex_round_trip, PIN_ONE | PIN_NONE, PIN_ONE, RATIO_AT_MOST, 1, ROUNDS},
    {"pipe, there and back against a socket", "ns", pipe_round_trip, FAMILY, "Unix socket",
     socket_round_trip, PIN_TWO | PIN_NONE, 0, RATIO_AT_MOST, 1, ROUNDS},
    {"queue, 1 MiB copied in and out", "ns", queue_large, FAMILY, "copied twice by one process",
     copy_large, PIN_TWO, PIN_TWO, RATIO_AT_MOST, 1 / 1.5, ROUNDS},
    {"queue, 1 MiB handed over, against 64 bytes", "x", large_handed_over, FAMILY, NULL, NULL,
     PIN_TWO, PIN_TWO, FIGURE_AT_MOST, 1.3, ROUNDS},
    {"queue, 1 MiB filled and summed", "ns", large_filled_and_summed, FAMILY, "in private memory",
     private_filled_and_summed, PIN_TWO, PIN_TWO, RATIO_AT_MOST, 1 / 0.9, ROUNDS},
    {"10,000 queues, all of which work", "", ten_thousand, FRESH, NULL, NULL, PIN_NONE, PIN_NONE,
     FIGURE_AT_LEAST, 10000, 1},
    {"a queue's memory", "B", memory_of_one, FRESH, NULL, NULL, PIN_NONE, PIN_NONE, FIGURE_AT_MOST,
     4096, 1},
};
const unsigned bench_queue_count = BENCH_COUNT(bench_queue);
