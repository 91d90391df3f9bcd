/* csp: messages that who writes has made, and that hold objects until who reads has opened them. */
#include "channels.h"
#include "csp/alternation.h"
#include "message/message.h"
#include "message/pickle.h"
#include "region/life.h"

static shoal_lock *lock;
static shoal_reference reference;

/* A message of `end`'s that is all that holds the lock. */
static void *only_holder(shoal_channel_end *end)
{
    struct pickle_objects table = {0};
    struct any_object object = {.type = TYPE_LOCK, .held = true};
    unsigned char *bytes;
    void *message;
    ASSERT_OK(shoal_lock_create(&lock, NULL));
    ASSERT_OK(shoal_lock_reference(lock, &reference));
    object.reference = reference;
    ASSERT_OK(pickle_objects_add(&table, &object));
    ASSERT_OK(channel_reserve(end, &message, 3, &table, &bytes, SHOAL_NOW));
    pickle_objects_free(&table);
    memcpy(bytes, "abc", 3);
    lock = shoal_lock_close(lock);
    return message;
}

/* It holds the lock, and gives it up. */
static void expect_holder(const struct got *got)
{
    struct carried carried;
    ASSERT_NOT_NULL(got->object);
    ASSERT_EQ_INT(got->size, 3);
    ASSERT_MEM(message_bytes(got->object), "abc", 3);
    ASSERT_TRUE(message_carried(got->object, 0, &carried));
    ASSERT_EQ_INT(carried.id, reference.id);
    ASSERT_OK(shoal_lock_open(&lock, &reference));
    message_close(got->object);
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_NOW));
    ASSERT_OK(shoal_lock_release(lock));
    lock = shoal_lock_close(lock);
}

/* Nobody holds it any more, as soon as children that had inherited the message are known to have ended. */
static void expect_gone(const shoal_reference *gone)
{
    int64_t soonest;
    int rc;
    for (int i = 0; !(rc = shoal_lock_open(&lock, gone)); i++) {
        ASSERT_LT_INT(i, 2000);
        lock = shoal_lock_close(lock);
        life_look_all(true, &soonest);
        nap();
    }
    ASSERT_ERR(rc, -ESTALE);
}

static void write_holder(void)
{
    ASSERT_OK(channel_write_message(out, only_holder(out), SHOAL_FOREVER));
}

static void read_holder(void)
{
    struct got got;
    struct carried carried;
    ASSERT_OK(channel_read_message(in, &got, SHOAL_FOREVER));
    ASSERT_NOT_NULL(got.object);
    ASSERT_TRUE(message_carried(got.object, 0, &carried));
    reference = (shoal_reference){view.region->family, carried.id, carried.generation};
    expect_holder(&got);
}

TEST(csp_a_message_holds_its_objects_until_it_is_read)
{
    for (uint64_t buffer = 0; buffer < 2; buffer++) {
        setup(buffer);
        pid_t pid = child(write_holder);
        if (buffer)
            ends_well(pid); /* its writer is gone, as is all that it held */
        read_holder();
        if (!buffer)
            ends_well(pid);
        expect_gone(&reference);
        done();
    }
}

TEST(csp_a_message_that_nobody_read_frees_its_objects)
{
    setup(2);
    ASSERT_OK(channel_write_message(out, only_holder(out), SHOAL_NOW));
    ASSERT_OK(shoal_lock_open(&lock, &reference));
    lock = shoal_lock_close(lock);
    done();
}

TEST(csp_a_message_that_was_not_written_stays_its_makers)
{
    struct got got;
    setup(1);
    void *first = only_holder(out), *second = only_holder(out);
    ASSERT_OK(channel_write_message(out, first, SHOAL_NOW));
    ASSERT_ERR(channel_write_message(out, second, SHOAL_NOW), -EAGAIN);
    message_close(second);
    expect_gone(&reference);
    ASSERT_OK(channel_read_message(in, &got, SHOAL_NOW));
    message_close(got.object);
    done();
    setup(0);
    first = only_holder(out);
    ASSERT_ERR(channel_write_message(out, first, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(channel_write_message(out, first, shoal_after(0.001)), -ETIMEDOUT);
    ASSERT_ERR(channel_write_message(in, first, SHOAL_NOW), -EBADF);
    pid_t pid = child(read_holder);
    ASSERT_OK(channel_write_message(out, first, SHOAL_FOREVER));
    ends_well(pid);
    expect_gone(&reference);
    done();
}

TEST(csp_a_short_message_comes_as_bytes)
{
    for (uint64_t buffer = 0; buffer < 2; buffer++) {
        struct got got;
        setup(buffer);
        shoal_guard guard = {.kind = SHOAL_INPUT, .end = in};
        void *none[1] = {NULL};
        if (buffer) {
            say(out, 7);
            ASSERT_OK(channel_read_message(in, &got, SHOAL_NOW));
            ASSERT_NULL(got.object);
            ASSERT_EQ_INT(got.size, sizeof(long));
            ASSERT_MEM(got.bytes, &(long){7}, sizeof(long));
            say(out, 7);
            ASSERT_EQ_INT(channel_alternate(&guard, 1, SHOAL_ALT, none, &got, SHOAL_NOW), 0);
            ASSERT_NULL(got.object);
            ASSERT_MEM(got.bytes, &(long){7}, sizeof(long));
            ASSERT_EQ_INT(guard.chosen, 1);
        }
        ASSERT_ERR(channel_read_message(in, &got, SHOAL_NOW), -EAGAIN);
        ASSERT_ERR(channel_alternate(&guard, 1, SHOAL_ALT, none, &got, SHOAL_NOW), -EAGAIN);
        done();
    }
}

TEST(csp_alternation_writes_the_message_that_it_chose_and_leaves_the_others)
{
    for (uint64_t buffer = 0; buffer < 2; buffer++) {
        struct got got;
        shoal_channel *other;
        shoal_channel_end *in2, *out2;
        setup(buffer);
        ASSERT_OK(shoal_channel_create(&other, &(shoal_channel_options){.buffer = buffer}));
        ASSERT_OK(shoal_channel_reader(other, &in2));
        ASSERT_OK(shoal_channel_writer(other, &out2));
        if (buffer)
            say(out2, 1); /* so that there is no room */
        void *messages[2] = {only_holder(out2), NULL};
        shoal_reference left = reference;
        messages[1] = only_holder(out);
        shoal_guard guards[] = {{.kind = SHOAL_OUTPUT, .end = out2},
                                {.kind = SHOAL_OUTPUT, .end = out}};
        pid_t pid = buffer ? 0 : child(read_holder);
        ASSERT_EQ_INT(channel_alternate(guards, 2, SHOAL_PRI, messages, &got, SHOAL_FOREVER), 1);
        ASSERT_NULL(messages[1]);
        ASSERT_NOT_NULL(messages[0]);
        ASSERT_OK(shoal_lock_open(&lock, &left));
        lock = shoal_lock_close(lock);
        message_close(messages[0]);
        if (buffer) {
            shoal_guard guard = {.kind = SHOAL_INPUT, .end = in};
            void *none[1] = {NULL};
            ASSERT_EQ_INT(channel_alternate(&guard, 1, SHOAL_ALT, none, &got, SHOAL_NOW), 0);
            expect_holder(&got);
        } else {
            ends_well(pid);
        }
        expect_gone(&left);
        expect_gone(&reference);
        shoal_channel_end_close(in2);
        shoal_channel_end_close(out2);
        shoal_channel_close(other);
        done();
    }
}
