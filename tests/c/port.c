/* Ports: queues and pipes for who writes and reads messages himself; and messages that hold objects. */
#include "message/port.h"
#include "message/message.h"
#include "message/pickle.h"
#include "processes.h"
#include "region/object.h"
#include <poll.h>
#include <string.h>

static shoal_queue *queue;
static shoal_connection *first, *second;
static uint32_t before;

static void setup(void)
{
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    ASSERT_OK(shoal_pipe(&first, &second, NULL));
    before = objects();
}

static void done(void)
{
    ASSERT_EQ_INT(objects(), before);
    shoal_queue_close(queue);
    shoal_connection_close(first);
    shoal_connection_close(second);
}

/* Where to put, and where that is taken from. */
static void ports(bool pipe, struct port *in, struct port *out)
{
    if (pipe) {
        ASSERT_OK(port_of_end(in, first, true, "test"));
        ASSERT_OK(port_of_end(out, second, false, "test"));
    } else {
        ASSERT_OK(port_of_queue(in, queue, "test"));
        ASSERT_OK(port_of_queue(out, queue, "test"));
    }
}

TEST(port_messages_of_any_length_come_as_they_were_put)
{
    static unsigned char bytes[70000], buffer[INLINE_MOST];
    static const size_t sizes[] = {0, 1, 4096, 4097, 70000};
    setup();
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7);
    for (int pipe = 0; pipe < 2; pipe++) {
        struct port in, out;
        struct taken t;
        unsigned char *at;
        void *message;
        ports(pipe, &in, &out);
        for (unsigned i = 0; i < 5; i++) {
            ASSERT_OK(port_put(&in, bytes, sizes[i], SHOAL_NOW));
            ASSERT_OK(port_reserve(&in, &message, sizes[i], NULL, &at, SHOAL_NOW));
            ASSERT_EQ_INT((uintptr_t)at % 64, 0);
            memcpy(at, bytes, sizes[i]);
            ASSERT_OK(port_commit(&in, message, SHOAL_NOW));
            for (int k = 0; k < 2; k++) {
                ASSERT_OK(port_poll(&out, SHOAL_NOW));
                ASSERT_OK(port_take(&out, buffer, &t, SHOAL_NOW));
                ASSERT_EQ_INT(t.size, sizes[i]);
                ASSERT_MEM(t.object ? message_bytes(t.object) : buffer, bytes, t.size);
                ASSERT_TRUE(t.object || !k);
                if (t.object)
                    message_close(t.object);
            }
            ASSERT_ERR(port_take(&out, buffer, &t, SHOAL_NOW), -EAGAIN);
        }
    }
    done();
}

TEST(port_takes_many_at_once_up_to_an_object_and_to_what_there_is_room_for)
{
    static unsigned char bytes[INLINE_MOST], buffer[2 * INLINE_MOST], long_one[2 * INLINE_MOST + 1];
    setup();
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7);
    for (int pipe = 0; pipe < 2; pipe++) {
        struct port in, out;
        struct taken t[8];
        ports(pipe, &in, &out);
        ASSERT_ERR(port_take_many(&out, buffer, sizeof buffer, t, 8, SHOAL_NOW), -EAGAIN);
        ASSERT_ERR(port_take_many(&out, buffer, sizeof buffer, t, 8, shoal_after(0.001)),
                   -ETIMEDOUT);
        for (size_t i = 1; i < 6; i++)
            ASSERT_OK(port_put(&in, bytes, i, SHOAL_NOW));
        ASSERT_EQ_INT(port_take_many(&out, buffer, sizeof buffer, t, 3, SHOAL_NOW), 3);
        ASSERT_EQ_INT(t[0].size + 10 * t[1].size + 100 * t[2].size, 321);
        ASSERT_MEM(buffer, bytes, 1);
        ASSERT_MEM(buffer + 1, bytes, 2);
        ASSERT_MEM(buffer + 3, bytes, 3);
        ASSERT_OK(port_put(&in, long_one, INLINE_MOST + 1, SHOAL_NOW));
        ASSERT_EQ_INT(port_take_many(&out, buffer, sizeof buffer, t, 8, SHOAL_NOW), 2);
        ASSERT_EQ_INT(port_take_many(&out, buffer, sizeof buffer, t, 8, SHOAL_NOW), 1);
        ASSERT_TRUE(t[0].object != NULL);
        message_close(t[0].object);
        for (int i = 0; i < 3; i++)
            ASSERT_OK(port_put(&in, bytes, sizeof bytes, SHOAL_NOW));
        ASSERT_EQ_INT(port_take_many(&out, buffer, sizeof buffer, t, 8, SHOAL_NOW), 2);
        ASSERT_MEM(buffer + t[0].size, bytes, sizeof bytes);
        ASSERT_EQ_INT(port_take_many(&out, buffer, sizeof buffer, t, 8, SHOAL_NOW), 1);
        ASSERT_OK(port_put(&in, long_one, sizeof long_one, SHOAL_NOW));
        ASSERT_ERR(port_take_many(&out, buffer, sizeof buffer, t, 8, SHOAL_NOW), -EMSGSIZE);
        ASSERT_OK(port_take(&out, buffer, t, SHOAL_NOW)); /* it is there still */
        ASSERT_EQ_INT(t[0].size, sizeof long_one);
        message_close(t[0].object);
    }
    done();
}

static void put_long(struct port *port, size_t size)
{
    unsigned char *at;
    void *message;
    ASSERT_OK(port_reserve(port, &message, size, NULL, &at, SHOAL_NOW));
    ASSERT_OK(port_commit(port, message, SHOAL_NOW));
}

TEST(port_keeps_pace_with_who_takes_and_waits_for_nobody_else)
{
    enum { LONG = 2 << 20 };
    unsigned char buffer[INLINE_MOST];
    setup();
    for (int pipe = 0; pipe < 2; pipe++) {
        struct port in, out;
        struct taken t;
        int put = 0;
        ports(pipe, &in, &out);
        port_linger(&out);            /* in vain */
        for (int i = 0; i < 100; i++) /* as the last one was not waited for, perhaps */
            port_is_ahead(&in, LONG);
        ASSERT_FALSE(port_is_ahead(&in, LONG));
        if (!pipe) {
            put_long(&in, LONG);
            ASSERT_FALSE(port_is_ahead(&in, LONG));
            put_long(&in, LONG);
            ASSERT_FALSE(port_is_ahead(&in, 1000));
            ASSERT_TRUE(port_is_ahead(&in, LONG));
            port_keep_pace(&in, LONG); /* nobody takes: so not the next time */
            ASSERT_FALSE(port_is_ahead(&in, LONG));
            for (int i = 0; i < 100; i++)
                port_is_ahead(&in, LONG);
            ASSERT_TRUE(port_is_ahead(&in, LONG));
            put = 2;
        }
        for (int i = 0; i < put; i++) {
            port_linger(&out); /* it is there */
            ASSERT_OK(port_take(&out, buffer, &t, SHOAL_NOW));
            message_close(t.object);
        }
        ASSERT_FALSE(port_is_ahead(&in, LONG));
    }
    done();
}

TEST(port_message_holds_the_objects_that_it_was_made_with)
{
    setup();
    for (int pipe = 0; pipe < 2; pipe++) {
        struct port in, out;
        struct taken t;
        unsigned char *at, buffer[INLINE_MOST];
        void *message;
        shoal_lock *lock;
        shoal_condition *condition;
        struct any_object object = {.type = TYPE_CONDITION, .held = true};
        struct pickle_objects objects_table = {0};
        struct carried carried;
        ports(pipe, &in, &out);
        ASSERT_OK(shoal_lock_create(&lock, NULL));
        ASSERT_OK(shoal_condition_create(&condition, lock, NULL, NULL));
        ASSERT_OK(shoal_condition_reference(condition, &object.reference));
        ASSERT_OK(pickle_objects_add(&objects_table, &object));
        ASSERT_OK(port_reserve(&in, &message, 3, &objects_table, &at, SHOAL_NOW));
        memcpy(at, "abc", 3);
        ASSERT_OK(port_commit(&in, message, SHOAL_NOW));
        ASSERT_EQ_INT(objects_table.count, 1); /* as it was: the lock was not added for good */
        pickle_objects_free(&objects_table);
        shoal_condition_close(condition);
        shoal_lock_close(lock);
        ASSERT_EQ_INT(objects(), before + 3); /* the message, the condition and its lock */

        ASSERT_OK(port_take(&out, buffer, &t, SHOAL_NOW));
        ASSERT_NOT_NULL(t.object);
        ASSERT_MEM(message_bytes(t.object), "abc", 3);
        ASSERT_TRUE(message_carried(t.object, 0, &carried));
        ASSERT_EQ_INT(carried.type, TYPE_CONDITION);
        ASSERT_EQ_INT(carried.id, object.reference.id);
        ASSERT_FALSE(message_carried(t.object, 2, &carried));
        ASSERT_OK(shoal_condition_open(&condition, &object.reference));
        message_close(t.object);
        shoal_condition_close(condition);
        ASSERT_EQ_INT(objects(), before);
    }
    done();
}

TEST(port_settle_makes_the_descriptor_unreadable_when_all_was_taken)
{
    setup();
    for (int pipe = 0; pipe < 2; pipe++) {
        struct port in, out;
        struct taken t;
        unsigned char buffer[INLINE_MOST];
        ports(pipe, &in, &out);
        struct pollfd fd = {.events = POLLIN,
                            .fd =
                                pipe ? shoal_connection_fileno(second) : shoal_queue_fileno(queue)};
        ASSERT_SYS(fd.fd);
        ASSERT_EQ_INT(poll(&fd, 1, 0), 0);
        ASSERT_OK(port_put(&in, "x", 1, SHOAL_NOW));
        ASSERT_OK(port_put(&in, "y", 1, SHOAL_NOW));
        ASSERT_EQ_INT(poll(&fd, 1, 0), 1);
        ASSERT_OK(port_take(&out, buffer, &t, SHOAL_NOW));
        port_settle(&out);
        ASSERT_EQ_INT(poll(&fd, 1, 0), 1);
        ASSERT_OK(port_take(&out, buffer, &t, SHOAL_NOW));
        port_settle(&out);
        ASSERT_EQ_INT(poll(&fd, 1, 0), 0);
        ASSERT_OK(port_put(&in, "z", 1, SHOAL_NOW));
        ASSERT_EQ_INT(poll(&fd, 1, 0), 1);
        ASSERT_OK(port_take(&out, buffer, &t, SHOAL_NOW));
    }
    done();
}

TEST(port_of_something_else_is_refused)
{
    struct port port;
    shoal_queue *newest;
    shoal_connection *in, *out;
    setup();
    ASSERT_OK(shoal_queue_create(&newest, &(shoal_queue_options){.kind = SHOAL_LIFO}));
    ASSERT_OK(shoal_pipe(&in, &out, &(shoal_pipe_options){.flags = SHOAL_ONE_WAY}));
    ASSERT_ERR(port_of_queue(&port, newest, "test"), -EINVAL);
    ASSERT_ERR(port_of_queue(&port, (shoal_queue *)in, "test"), -EBADF);
    ASSERT_ERR(port_of_queue(&port, NULL, "test"), -EINVAL);
    ASSERT_ERR(port_of_end(&port, in, true, "test"), -EBADF);
    ASSERT_ERR(port_of_end(&port, out, false, "test"), -EBADF);
    shoal_queue_close(newest);
    shoal_connection_close(in);
    shoal_connection_close(out);
    done();
}
