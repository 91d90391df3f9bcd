/* Queues, pipes and values between threads of one process: what ThreadSanitizer looks at. What a message
 * speaks of is plain memory on purpose: it was written before the put, and is read after the get. */
#include "runner.h"
#include <pthread.h>
#include <shoal/shoal.h>
#include <stdatomic.h>
#include <string.h>

enum { THREADS = 4, ROUNDS = 2000, LONG = 6000 };

static shoal_queue *queue;
static shoal_connection *ends[2];
static shoal_value *value;
static long cells[THREADS][ROUNDS]; /* each is written once, and told by a message */
static _Atomic long taken;
static size_t size_of_messages;

struct mail {
    long who, number;
};

static void run(void *(*function)(void *), int n)
{
    pthread_t threads[16];
    for (long i = 0; i < n; i++)
        ASSERT_EQ_INT(pthread_create(&threads[i], NULL, function, (void *)i), 0);
    for (int i = 0; i < n; i++)
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

static void *put_or_get(void *argument)
{
    long me = (long)argument;
    unsigned char bytes[LONG];
    for (long i = 0; i < ROUNDS; i++) {
        size_t size;
        if (me % 2) {
            tell(bytes, me, i);
            ASSERT_OK(shoal_queue_put_bytes(queue, bytes, size_of_messages, SHOAL_FOREVER));
        } else {
            ASSERT_OK(shoal_queue_get_bytes_into(queue, bytes, sizeof bytes, &size, SHOAL_FOREVER));
            ASSERT_EQ_INT(size, size_of_messages);
            told(bytes);
        }
    }
    return NULL;
}

static void pass(unsigned kind, uint64_t maxsize, size_t size)
{
    taken = 0;
    size_of_messages = size;
    ASSERT_OK(shoal_queue_create(&queue, &(shoal_queue_options){.kind = kind, .maxsize = maxsize}));
    run(put_or_get, THREADS);
    ASSERT_EQ_INT(taken, THREADS / 2 * ROUNDS);
    shoal_queue_close(queue);
}

TEST(a_queue_orders_what_was_written_before_a_put)
{
    pass(SHOAL_FIFO, 0, sizeof(struct mail));
}

TEST(a_bounded_queue_orders_what_was_written_before_a_put)
{
    pass(SHOAL_FIFO, 3, sizeof(struct mail));
}

TEST(a_queue_of_long_messages_orders_what_was_written_before_a_put)
{
    pass(SHOAL_FIFO, 0, LONG);
    pass(SHOAL_FIFO, 3, LONG);
}

TEST(a_stack_orders_what_was_written_before_a_put)
{
    pass(SHOAL_LIFO, 0, 64);
    pass(SHOAL_LIFO, 3, LONG);
}

TEST(a_priority_queue_orders_what_was_written_before_a_put)
{
    pass(SHOAL_PRIORITY, 0, 64);
    pass(SHOAL_PRIORITY, 3, LONG);
}

/* Messages that are filled in and read where they lie. */
static void *fill_or_view(void *argument)
{
    long me = (long)argument;
    for (long i = 0; i < ROUNDS; i++) {
        shoal_message m;
        if (me % 2) {
            ASSERT_OK(shoal_queue_reserve(queue, &m, size_of_messages, SHOAL_FOREVER));
            tell(m.bytes, me, i);
            ASSERT_OK(shoal_queue_commit(queue, &m, SHOAL_FOREVER));
        } else {
            ASSERT_OK(shoal_queue_view(queue, &m, SHOAL_FOREVER));
            told(m.bytes);
            shoal_message_release(&m);
        }
    }
    return NULL;
}

TEST(a_message_in_place_is_its_takers_alone)
{
    static const unsigned kinds[] = {SHOAL_FIFO, SHOAL_LIFO, SHOAL_PRIORITY};
    for (unsigned k = 0; k < 3; k++) {
        taken = 0;
        size_of_messages = LONG;
        ASSERT_OK(shoal_queue_create(&queue, &(shoal_queue_options){.kind = kinds[k]}));
        run(fill_or_view, THREADS);
        ASSERT_EQ_INT(taken, THREADS / 2 * ROUNDS);
        shoal_queue_close(queue);
    }
}

/* Half of the threads send on one end and half receive on the other. */
static void *send_or_receive(void *argument)
{
    long me = (long)argument;
    unsigned char bytes[LONG];
    for (long i = 0; i < ROUNDS; i++) {
        size_t size;
        if (me % 2) {
            tell(bytes, me, i);
            ASSERT_OK(shoal_connection_send_bytes(ends[0], bytes, size_of_messages, SHOAL_FOREVER));
        } else {
            ASSERT_OK(shoal_connection_recv_bytes_into(ends[1], bytes, sizeof bytes, &size,
                                                       SHOAL_FOREVER));
            told(bytes);
        }
    }
    return NULL;
}

TEST(a_pipe_orders_what_was_written_before_a_send)
{
    static const size_t sizes[] = {sizeof(struct mail), LONG};
    for (unsigned i = 0; i < 2; i++) {
        taken = 0;
        size_of_messages = sizes[i];
        ASSERT_OK(shoal_pipe(&ends[0], &ends[1], NULL));
        run(send_or_receive, THREADS);
        ASSERT_EQ_INT(taken, THREADS / 2 * ROUNDS);
        shoal_connection_close(ends[0]);
        shoal_connection_close(ends[1]);
    }
}

/* Who finishes the last message sees what all takers have done. */
static long done[THREADS];

static void *finish_or_join(void *argument)
{
    long me = (long)argument;
    struct mail m;
    size_t size;
    if (!me) {
        ASSERT_OK(shoal_queue_join(queue, SHOAL_FOREVER));
        for (int i = 1; i < THREADS; i++)
            ASSERT_EQ_INT(done[i], ROUNDS);
        return NULL;
    }
    for (int i = 0; i < ROUNDS; i++) {
        ASSERT_OK(shoal_queue_get_bytes_into(queue, &m, sizeof m, &size, SHOAL_NOW));
        done[me]++;
        ASSERT_OK(shoal_queue_task_done(queue));
    }
    return NULL;
}

TEST(who_joins_a_queue_sees_what_was_done)
{
    struct mail m = {0, 0};
    memset(done, 0, sizeof done);
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    for (int i = 0; i < (THREADS - 1) * ROUNDS; i++)
        ASSERT_OK(shoal_queue_put_bytes(queue, &m, sizeof m, SHOAL_NOW));
    run(finish_or_join, THREADS);
    shoal_queue_close(queue);
}

/* A value under its lock is plain memory. */
static void *count(void *argument)
{
    (void)argument;
    int64_t *number = shoal_value_address(value);
    for (int i = 0; i < ROUNDS; i++) {
        ASSERT_OK(shoal_value_acquire(value, SHOAL_FOREVER));
        ++*number;
        ASSERT_OK(shoal_value_release(value));
    }
    return NULL;
}

TEST(a_value_is_ordered_by_its_lock)
{
    int64_t n;
    ASSERT_OK(shoal_value_create(&value, 'q', NULL, 0, NULL));
    run(count, THREADS);
    n = *(int64_t *)shoal_value_address(value);
    ASSERT_EQ_INT(n, THREADS * ROUNDS);
    shoal_value_close(value);
}
