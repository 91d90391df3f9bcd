/* queue: what becomes of its memory when producers come and go, and when a process is stopped while it
 * holds the guard of the region's units. */
#include "message/lanes_inner.h"
#include "processes.h"
#include "region/life.h"
#include "region/object.h"
#include "region/wait.h"
#include <string.h>

static shoal_queue *queue;
static _Atomic long *shared;

enum { PRODUCERS = 6, MESSAGES = 1000, SIZE = 4000 };

static int produce(void *none)
{
    unsigned char bytes[SIZE] = {1};
    for (int i = 0; i < MESSAGES; i++)
        ASSERT_OK(shoal_queue_put_bytes(queue, bytes, sizeof bytes, SHOAL_FOREVER));
    /* All at once, so that each has a lane of its own. */
    atomic_fetch_add(&shared[0], 1);
    while (atomic_load(&shared[0]) < PRODUCERS)
        usleep(1000);
    return none != NULL;
}

static void take_all(void)
{
    unsigned char bytes[SIZE];
    size_t size;
    for (int i = 0; i < PRODUCERS * MESSAGES; i++)
        ASSERT_OK(shoal_queue_get_bytes_into(queue, bytes, sizeof bytes, &size, SHOAL_NOW));
    ASSERT_ERR(shoal_queue_get_bytes_into(queue, bytes, sizeof bytes, &size, os_now() + 1000000),
               -ETIMEDOUT);
}

TEST(queue_gives_back_the_memory_of_processes_that_have_ended)
{
    shoal_process *producers[PRODUCERS];
    shared = words_open();
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    uint64_t before = unit_used();
    for (int i = 0; i < PRODUCERS; i++)
        ASSERT_OK(shoal_process_start(&producers[i], produce, NULL, NULL));
    for (int i = 0; i < PRODUCERS; i++)
        ASSERT_EQ_INT(joined(producers[i]), 0);
    ASSERT_TRUE(unit_used() - before > PRODUCERS * MESSAGES * SIZE / UNIT);
    take_all();
    ASSERT_LE_U64(unit_used(), before + 1);
    shoal_queue_close(queue);
    words_close();
}

static void hold_guard(void)
{
    owner_t me;
    ASSERT_OK(self(&me));
    ASSERT_TRUE(owner_try(&view.region->guard, me));
    atomic_store(&shared[0], 1);
    for (;;)
        pause();
}

static pid_t somebody_in_guard(void)
{
    atomic_store(&shared[0], 0);
    pid_t pid = child(hold_guard);
    until_word(&shared[0], 1);
    return pid;
}

TEST(queue_put_ends_at_its_deadline_beside_a_stopped_process_that_allocates)
{
    enum { LONG = 1 << 20 };
    static unsigned char bytes[LONG];
    static const unsigned kinds[] = {SHOAL_FIFO, SHOAL_LIFO, SHOAL_PRIORITY};
    shared = words_open();
    for (unsigned k = 0; k < 3; k++) {
        ASSERT_OK(shoal_queue_create(&queue, &(shoal_queue_options){.kind = kinds[k]}));
        pid_t pid = somebody_in_guard();
        ASSERT_ERR(shoal_queue_put_bytes(queue, bytes, LONG, SHOAL_NOW), -EAGAIN);
        ASSERT_ERR(shoal_queue_put_bytes(queue, bytes, LONG, os_now() + 1000000), -ETIMEDOUT);
        ASSERT_ERR(shoal_queue_put_bytes(queue, bytes, 8, SHOAL_NOW), -EAGAIN);
        kill_and_reap(pid);
        ASSERT_OK(shoal_queue_put_bytes(queue, bytes, LONG, SHOAL_FOREVER));
        shoal_queue_close(queue);
    }
    words_close();
}

TEST(queue_put_without_room_takes_nothing_with_each_attempt)
{
    unsigned char bytes[1000] = {0}; /* of a class in which there is nothing yet */
    shared = words_open();
    ASSERT_OK(shoal_queue_create(&queue, &(shoal_queue_options){.kind = SHOAL_LIFO}));
    pid_t pid = somebody_in_guard();
    uint32_t before = atomic_load(&view.region->groups_high);
    for (int i = 0; i < 4; i++)
        ASSERT_ERR(shoal_queue_put_bytes(queue, bytes, sizeof bytes, SHOAL_NOW), -EAGAIN);
    ASSERT_LE_U64(atomic_load(&view.region->groups_high), before + 1);
    kill_and_reap(pid);
    ASSERT_OK(shoal_queue_put_bytes(queue, bytes, sizeof bytes, SHOAL_FOREVER));
    shoal_queue_close(queue);
    words_close();
}

static int put_much(void *none)
{
    unsigned char bytes[SIZE] = {1};
    for (int i = 0; i < MESSAGES; i++)
        ASSERT_OK(shoal_queue_put_bytes(queue, bytes, sizeof bytes, SHOAL_FOREVER));
    return none != NULL;
}

/* The ring of one who is gone is to be given back, by who looks for a message and by who puts in his lane. */
TEST(queue_calls_end_at_their_deadlines_where_memory_cannot_be_given_back)
{
    shoal_process *producer;
    unsigned char bytes[SIZE];
    size_t size;
    shared = words_open();
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    ASSERT_OK(shoal_process_start(&producer, put_much, NULL, NULL));
    ASSERT_EQ_INT(joined(producer), 0);
    for (int i = 0; i < MESSAGES; i++)
        ASSERT_OK(shoal_queue_get_bytes_into(queue, bytes, sizeof bytes, &size, SHOAL_NOW));
    pid_t pid = somebody_in_guard();
    ASSERT_ERR(shoal_queue_get_bytes_into(queue, bytes, sizeof bytes, &size, os_now() + 1000000),
               -ETIMEDOUT);
    ASSERT_ERR(shoal_queue_put_bytes(queue, bytes, 8, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_queue_put_bytes(queue, bytes, 8, os_now() + 1000000), -ETIMEDOUT);
    kill_and_reap(pid);
    ASSERT_OK(shoal_queue_put_bytes(queue, bytes, 8, SHOAL_FOREVER));
    ASSERT_OK(shoal_queue_get_bytes_into(queue, bytes, sizeof bytes, &size, SHOAL_NOW));
    ASSERT_EQ_INT(size, 8);
    shoal_queue_close(queue);
    words_close();
}

/* ---- one who died with his ticket ---- */

/* As he is who was killed when he had his ticket, and nobody has helped him yet. */
static void die_with_ticket(void)
{
    struct lanes *q = header_payload(handle_of(queue)->header);
    struct lane *lane = &q->first[0];
    uint64_t at = atomic_load(&lane->write), puts = atomic_load(&lane->puts);
    ASSERT_OK(shoal_queue_put_bytes(queue, "x", 1, SHOAL_NOW));
    uint64_t ticket = atomic_load(&q->ticket);
    atomic_store(&lane->next, atomic_load(&lane->write));
    atomic_store(&q->ticket, ticket | 1ull << LANE_SHIFT);
    atomic_store(&lane->tail, at);
    atomic_store(&lane->write, at);
    atomic_store(&lane->puts, 1ull << COUNT_BITS | (puts + 1));
    atomic_store(&shared[1], process_self.slot);
    kill(getpid(), SIGKILL);
}

TEST(queue_that_is_shut_has_what_the_dead_had_put)
{
    size_t size;
    char byte;
    owner_t me;
    shared = words_open();
    ASSERT_OK(shoal_queue_create(&queue, &(shoal_queue_options){.maxsize = 3}));
    ASSERT_OK(self(&me));
    pid_t pid = child(die_with_ticket);
    ASSERT_SYS(waitpid(pid, NULL, 0));
    uint32_t slot = (uint32_t)atomic_load(&shared[1]);
    uint64_t word = atomic_load(&slot_at(slot)->word);
    /* Somebody is about to repair him. */
    atomic_store(&slot_at(slot)->word,
                 slot_make((uint32_t)(word >> 32), owner_record(me), SLOT_DEAD));
    ASSERT_OK(shoal_queue_shutdown(queue, 0));
    ASSERT_OK(shoal_queue_get_bytes_into(queue, &byte, 1, &size, SHOAL_NOW));
    ASSERT_ERR(shoal_queue_get_bytes_into(queue, &byte, 1, &size, SHOAL_NOW), -EPIPE);
    atomic_store(&slot_at(slot)->word, word);
    shoal_queue_close(queue);
    words_close();
}
