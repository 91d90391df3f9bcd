/* Channels, alternation and barriers between threads: what ThreadSanitizer looks at. What a message speaks of is plain memory on
 * purpose: it was written before the write, and is read after the read. */
#include "runner.h"
#include <errno.h>
#include <pthread.h>
#include <shoal/shoal.h>
#include <stdatomic.h>
#include <string.h>

enum { THREADS = 4, ROUNDS = 1000, LONG = 300 };

static shoal_channel *channels[2];
static shoal_channel_end *in[2], *out[2];
static long cells[THREADS][ROUNDS]; /* each is written once, and told by a message */
static _Atomic long taken;
static size_t size_of_messages;
static bool alternating;

struct mail {
    long who, number;
};

static void run(void *(*function)(void *))
{
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++)
        ASSERT_EQ_INT(pthread_create(&threads[i], NULL, function, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        ASSERT_EQ_INT(pthread_join(threads[i], NULL), 0);
}

static void tell(unsigned char *bytes, long who, long number)
{
    struct mail m = {who, number};
    cells[who][number] = who * ROUNDS + number;
    memcpy(bytes, &m, sizeof m);
    memset(bytes + sizeof m, (int)number, size_of_messages - sizeof m);
}

static void told(const unsigned char *bytes)
{
    struct mail m;
    memcpy(&m, bytes, sizeof m);
    ASSERT_EQ_INT(cells[m.who][m.number], m.who * ROUNDS + m.number);
    for (size_t i = sizeof m; i < size_of_messages; i++)
        ASSERT_EQ_INT(bytes[i], (unsigned char)m.number);
    cells[m.who][m.number] = -1; /* who took it has it alone */
    atomic_fetch_add(&taken, 1);
}

/* Odd threads write, even ones read; each by both channels if they alternate. */
static void *write_or_read(void *argument)
{
    long me = (long)argument;
    unsigned char bytes[LONG];
    for (long i = 0; i < ROUNDS; i++) {
        bool writes = me % 2;
        size_t size = size_of_messages;
        if (writes)
            tell(bytes, me, i);
        if (alternating) {
            shoal_guard guards[2];
            memset(guards, 0, sizeof guards);
            for (int k = 0; k < 2; k++) {
                guards[k].kind = writes ? SHOAL_OUTPUT : SHOAL_INPUT;
                guards[k].end = writes ? out[(k + i) % 2] : in[(k + i) % 2];
                guards[k].bytes = bytes;
                guards[k].size = size_of_messages;
                guards[k].buffer = bytes;
                guards[k].capacity = sizeof bytes;
            }
            int which = (int)ASSERT_OK(shoal_alternate(guards, 2, SHOAL_PRI, SHOAL_FOREVER));
            size = guards[which].size;
        } else if (writes) {
            ASSERT_OK(shoal_channel_write_bytes(out[0], bytes, size, SHOAL_FOREVER));
        } else {
            ASSERT_OK(shoal_channel_read_bytes(in[0], bytes, sizeof bytes, &size, SHOAL_FOREVER));
        }
        if (!writes) {
            ASSERT_EQ_INT(size, size_of_messages);
            told(bytes);
        }
    }
    return NULL;
}

static void pass(uint64_t buffer, size_t size, bool alternates)
{
    taken = 0;
    size_of_messages = size;
    alternating = alternates;
    for (int i = 0; i < 2; i++) {
        ASSERT_OK(shoal_channel_create(&channels[i], &(shoal_channel_options){.buffer = buffer}));
        ASSERT_OK(shoal_channel_reader(channels[i], &in[i]));
        ASSERT_OK(shoal_channel_writer(channels[i], &out[i]));
    }
    run(write_or_read);
    ASSERT_EQ_INT(taken, THREADS / 2 * ROUNDS);
    for (int i = 0; i < 2; i++) {
        shoal_channel_end_close(in[i]);
        shoal_channel_end_close(out[i]);
        shoal_channel_close(channels[i]);
    }
}

TEST(a_channel_orders_what_was_written_before_a_write)
{
    pass(0, sizeof(struct mail), false);
    pass(0, LONG, false);
    pass(3, sizeof(struct mail), false);
}

TEST(an_alternation_orders_what_was_written_before_it)
{
    pass(0, sizeof(struct mail), true);
    pass(0, LONG, true);
    pass(3, sizeof(struct mail), true);
}

/* In even rounds each writes its own cell, in odd ones it reads its neighbour's. */
static shoal_channel *barrier;

static shoal_channel_end *enrolled[THREADS];

static void *write_and_look(void *argument)
{
    long me = (long)argument;
    for (long i = 0; i < ROUNDS; i++) {
        cells[me][0] = i;
        ASSERT_OK(shoal_channel_sync(enrolled[me], SHOAL_FOREVER));
        ASSERT_EQ_INT(cells[(me + 1) % THREADS][0], i);
        ASSERT_OK(shoal_channel_sync(enrolled[me], SHOAL_FOREVER));
    }
    return NULL;
}

TEST(a_barrier_of_channels_orders_what_was_written_before_it)
{
    ASSERT_OK(shoal_channel_create_barrier(&barrier, NULL));
    for (int i = 0; i < THREADS; i++)
        ASSERT_OK(shoal_channel_enrol(barrier, &enrolled[i]));
    run(write_and_look);
    for (int i = 0; i < THREADS; i++)
        shoal_channel_end_close(enrolled[i]);
    shoal_channel_close(barrier);
}
