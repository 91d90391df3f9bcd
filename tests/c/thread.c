/* What a thread does whose first call it is: closing and detaching, too. */
#include "processes.h"
#include "region/object.h"
#include "region/wait.h"

static void *in_thread(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    void *result;
    ASSERT_EQ_INT(pthread_create(&thread, NULL, function, argument), 0);
    ASSERT_EQ_INT(pthread_join(thread, &result), 0);
    return result;
}

static void *close_queue(void *queue)
{
    return shoal_queue_close(queue);
}

static void *close_lock(void *lock)
{
    return shoal_lock_close(lock);
}

static void *close_value(void *value)
{
    return shoal_value_close(value);
}

static void *close_end(void *end)
{
    shoal_connection_close(end);
    return NULL;
}

static void *release_message(void *message)
{
    shoal_message_release(message);
    return NULL;
}

static void *free_any(void *any)
{
    shoal_any_free(any);
    return NULL;
}

TEST(thread_may_close_with_its_first_call)
{
    shoal_queue *queue;
    shoal_lock *lock;
    shoal_value *value;
    uint32_t before;
    ASSERT_OK(shoal_init(NULL));
    before = objects();
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    ASSERT_OK(shoal_lock_create(&lock, NULL));
    ASSERT_OK(shoal_value_create(&value, 'i', NULL, 0, NULL));
    in_thread(close_queue, queue);
    in_thread(close_lock, lock);
    in_thread(close_value, value);
    ASSERT_ERR(shoal_queue_put_bytes(queue, "x", 1, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_lock_acquire(lock, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_value_acquire(value, SHOAL_NOW), -EBADF);
    ASSERT_EQ_INT(objects(), before);
}

TEST(thread_may_close_a_pipes_end_with_its_first_call)
{
    shoal_connection *ends[2];
    char byte;
    size_t size;
    ASSERT_OK(shoal_pipe(&ends[0], &ends[1], NULL));
    in_thread(close_end, ends[1]);
    ASSERT_ERR(shoal_connection_recv_bytes_into(ends[0], &byte, 1, &size, SHOAL_FOREVER), -EPIPE);
    shoal_connection_close(ends[0]);
}

TEST(thread_may_release_a_message_with_its_first_call)
{
    enum { LONG = 1 << 20 };
    static char bytes[LONG];
    shoal_queue *queue;
    shoal_message m;
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    uint32_t before = objects();
    ASSERT_OK(shoal_queue_put_bytes(queue, bytes, LONG, SHOAL_NOW));
    ASSERT_OK(shoal_queue_view(queue, &m, SHOAL_NOW));
    in_thread(release_message, &m);
    ASSERT_EQ_INT(objects(), before);
    shoal_queue_close(queue);
}

TEST(thread_may_free_an_any_that_holds_an_object_with_its_first_call)
{
    shoal_lock *lock;
    ASSERT_OK(shoal_init(NULL));
    uint32_t before = objects();
    ASSERT_OK(shoal_lock_create(&lock, NULL));
    shoal_any *any = shoal_any_object(lock);
    ASSERT_NOT_NULL(any);
    shoal_lock_close(lock);
    ASSERT_EQ_INT(objects(), before + 1);
    in_thread(free_any, any);
    ASSERT_EQ_INT(objects(), before);
}

static void *detach(void *none)
{
    ASSERT_ERR(shoal_detach(), -EBUSY);
    return none;
}

TEST(thread_cannot_detach_with_its_first_call_while_others_use_shoal)
{
    shoal_lock *lock;
    ASSERT_OK(shoal_lock_create(&lock, NULL));
    in_thread(detach, NULL);
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_NOW));
    ASSERT_OK(shoal_lock_release(lock));
    shoal_lock_close(lock);
}

TEST(thread_frees_anys_after_its_process_has_left)
{
    shoal_lock *lock;
    ASSERT_OK(shoal_lock_create(&lock, NULL));
    shoal_any *any = shoal_any_object(lock);
    ASSERT_NOT_NULL(any);
    ASSERT_OK(shoal_detach());
    shoal_any_free(any);
    ASSERT_NULL(view.base); /* no family was begun for that */
    ASSERT_ERR(shoal_lock_acquire(lock, SHOAL_NOW), -EBADF);
}

static void *create_large(void *none)
{
    shoal_memory *memory = none;
    ASSERT_OK(shoal_memory_create(&memory, 5000, NULL));
    return memory;
}

/* What this process holds without an open handle: it is being made. */
static bool being_made(void)
{
    for (uint32_t g = 0; (g = object_next_group(process_self.slot, g)) != UINT32_MAX; g++) {
        const unsigned char *row = object_row(g, process_self.slot);
        for (unsigned i = 0; row && i < GROUP; i++)
            if (row[i] == HOLD_HELD && !atomic_load(&handles[g * GROUP + i].check))
                return true;
    }
    return false;
}

TEST(thread_keeps_what_it_makes_while_another_gives_up_what_was_inherited)
{
    pthread_t thread;
    void *memory;
    ASSERT_OK(shoal_init(NULL));
    ASSERT_TRUE(owner_try(&view.region->guard, shoal_thread.me)); /* the thread waits for it */
    ASSERT_EQ_INT(pthread_create(&thread, NULL, create_large, NULL), 0);
    while (!being_made())
        sched_yield();
    object_release_unopened();
    owner_release(&view.region->guard, &view.region->guard_event);
    ASSERT_EQ_INT(pthread_join(thread, &memory), 0);
    ASSERT_TRUE(object_shielded((uint32_t)(handle_of(memory) - handles), process_self.slot));
    shoal_memory_close(memory);
}
