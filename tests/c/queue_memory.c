/* queue: what becomes of its memory when producers come and go, and when a process is stopped while it
 * holds the guard of the region's units. */
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

TEST(queue_put_ends_at_its_deadline_beside_a_stopped_process_that_allocates)
{
    enum { LONG = 1 << 20 };
    static unsigned char bytes[LONG];
    static const unsigned kinds[] = {SHOAL_FIFO, SHOAL_LIFO, SHOAL_PRIORITY};
    shared = words_open();
    for (unsigned k = 0; k < 3; k++) {
        ASSERT_OK(shoal_queue_create(&queue, &(shoal_queue_options){.kind = kinds[k]}));
        atomic_store(&shared[0], 0);
        pid_t pid = child(hold_guard);
        while (!atomic_load(&shared[0]))
            usleep(1000);
        ASSERT_ERR(shoal_queue_put_bytes(queue, bytes, LONG, SHOAL_NOW), -EAGAIN);
        ASSERT_ERR(shoal_queue_put_bytes(queue, bytes, LONG, os_now() + 1000000), -ETIMEDOUT);
        kill_and_reap(pid);
        ASSERT_OK(shoal_queue_put_bytes(queue, bytes, LONG, SHOAL_FOREVER));
        shoal_queue_close(queue);
    }
    words_close();
}
