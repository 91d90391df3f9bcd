/* queue: messages that are filled in and read where they lie; and what happens while there is no room. */
#include "processes.h"
#include "region/object.h"
#include <stdlib.h>
#include <string.h>

static shoal_queue *queue;
static _Atomic long *shared;
static const unsigned kinds[] = {SHOAL_FIFO, SHOAL_LIFO, SHOAL_PRIORITY};

static void setup(unsigned kind, uint64_t maxsize)
{
    shared = words_open();
    ASSERT_OK(shoal_queue_create(&queue, &(shoal_queue_options){.kind = kind, .maxsize = maxsize}));
}

static void done(void)
{
    shoal_queue_close(queue);
    words_close();
}

static shoal_message reserved(size_t size, int fill)
{
    shoal_message m = {NULL, 0, NULL};
    ASSERT_OK(shoal_queue_reserve(queue, &m, size, SHOAL_NOW));
    ASSERT_EQ_INT(m.size, size);
    ASSERT_EQ_INT((uintptr_t)m.bytes % 64, 0);
    memset(m.bytes, fill, size);
    return m;
}

static void commit(shoal_message *m)
{
    ASSERT_OK(shoal_queue_commit(queue, m, SHOAL_NOW));
    ASSERT_NULL(m->bytes);
    ASSERT_NULL(m->handle);
    ASSERT_EQ_INT(m->size, 0);
}

static shoal_message viewed(size_t size, int fill)
{
    shoal_message m;
    ASSERT_OK(shoal_queue_view(queue, &m, SHOAL_NOW));
    ASSERT_EQ_INT(m.size, size);
    ASSERT_EQ_INT((uintptr_t)m.bytes % 16, 0);
    for (size_t i = 0; i < size; i++)
        ASSERT_EQ_INT(((unsigned char *)m.bytes)[i], (unsigned char)fill);
    return m;
}

TEST(in_place_messages_come_as_they_were_filled)
{
    for (unsigned k = 0; k < 3; k++) {
        static const size_t sizes[] = {0, 1, 64, 4096, 4097, 1 << 20};
        setup(kinds[k], 0);
        uint32_t before = objects();
        for (unsigned i = 0; i < 6; i++) {
            shoal_message m = reserved(sizes[i], (int)i + 1);
            commit(&m);
            ASSERT_EQ_INT(shoal_queue_qsize(queue), 1);
            m = viewed(sizes[i], (int)i + 1);
            ASSERT_EQ_INT(shoal_queue_qsize(queue), 0);
            shoal_message_release(&m);
            ASSERT_NULL(m.bytes);
        }
        ASSERT_EQ_INT(objects(), before);
        done();
    }
}

TEST(in_place_messages_and_copied_ones_are_the_same)
{
    for (unsigned k = 0; k < 3; k++) {
        unsigned char bytes[5000];
        size_t size;
        setup(kinds[k], 0);
        uint32_t before = objects();
        for (size_t n = 0; n <= sizeof bytes; n += 2500) {
            memset(bytes, 7, n);
            ASSERT_OK(shoal_queue_put_bytes(queue, bytes, n, SHOAL_NOW));
            shoal_message m = viewed(n, 7);
            shoal_message_release(&m);
            m = reserved(n, 9);
            commit(&m);
            ASSERT_OK(shoal_queue_get_bytes_into(queue, bytes, sizeof bytes, &size, SHOAL_NOW));
            ASSERT_EQ_INT(size, n);
            ASSERT_TRUE(!n || (bytes[0] == 9 && bytes[n - 1] == 9));
        }
        ASSERT_EQ_INT(objects(), before);
        done();
    }
}

TEST(in_place_messages_can_be_made_shorter)
{
    setup(SHOAL_FIFO, 0);
    shoal_message m = reserved(10000, 3);
    m.size = 10001;
    ASSERT_ERR(shoal_queue_commit(queue, &m, SHOAL_NOW), -EINVAL);
    ASSERT_NOT_NULL(m.bytes);
    m.size = 5;
    commit(&m);
    m = viewed(5, 3);
    m.size = 6; /* what was given up does not come back */
    ASSERT_ERR(shoal_queue_commit(queue, &m, SHOAL_NOW), -EINVAL);
    shoal_message_release(&m);
    done();
}

TEST(in_place_messages_are_handed_on)
{
    shoal_queue *next;
    for (unsigned k = 0; k < 3; k++)
        for (unsigned long n = 10; n < 100000; n *= 100) {
            setup(kinds[k], 0);
            ASSERT_OK(
                shoal_queue_create(&next, &(shoal_queue_options){.kind = kinds[(k + 1) % 3]}));
            uint32_t before = objects();
            unsigned char *bytes = calloc(1, n);
            ASSERT_OK(shoal_queue_put_bytes(queue, bytes, n, SHOAL_NOW));
            shoal_message m = viewed(n, 0);
            memset(m.bytes, 5, n);
            ASSERT_OK(shoal_queue_commit(next, &m, SHOAL_NOW));
            ASSERT_OK(shoal_queue_view(next, &m, SHOAL_NOW));
            ASSERT_EQ_INT(((unsigned char *)m.bytes)[n - 1], 5);
            ASSERT_OK(shoal_queue_commit(queue, &m, SHOAL_NOW)); /* and back */
            m = viewed(n, 5);
            shoal_message_release(&m);
            free(bytes);
            ASSERT_EQ_INT(objects(), before);
            shoal_queue_close(next);
            done();
        }
}

TEST(in_place_anys_are_handed_on_whole)
{
    shoal_any *any = NULL;
    const char *text;
    setup(SHOAL_PRIORITY, 0);
    shoal_any *put = shoal_any_list(shoal_any_int(1), shoal_any_str("hello"));
    ASSERT_OK(shoal_queue_put(queue, put, SHOAL_NOW));
    shoal_message m;
    ASSERT_OK(shoal_queue_view(queue, &m, SHOAL_NOW));
    m.size--;
    ASSERT_ERR(shoal_queue_commit(queue, &m, SHOAL_NOW), -EINVAL);
    m.size++;
    commit(&m);
    ASSERT_OK(shoal_queue_put(queue, put, SHOAL_NOW)); /* compared by its key still */
    ASSERT_OK(shoal_queue_get(queue, &any, SHOAL_NOW));
    char *repr;
    ASSERT_OK(shoal_any_repr(any, &repr));
    text = repr;
    ASSERT_STR(text, "[1, 'hello']");
    free(repr);
    shoal_any_free(any);
    shoal_any_free(put);
    done();
}

TEST(in_place_messages_that_are_not_put_stay_the_callers)
{
    for (unsigned k = 0; k < 3; k++) {
        setup(kinds[k], 1);
        uint32_t before = objects();
        shoal_message m = reserved(100, 1), n = reserved(100, 2);
        commit(&m);
        ASSERT_ERR(shoal_queue_commit(queue, &n, SHOAL_NOW), -EAGAIN);
        ASSERT_ERR(shoal_queue_commit(queue, &n, shoal_after(0.01)), -ETIMEDOUT);
        ASSERT_NOT_NULL(n.bytes);
        m = viewed(100, 1);
        commit(&n);
        shoal_message_release(&m);
        ASSERT_OK(shoal_queue_shutdown(queue, 0));
        ASSERT_ERR(shoal_queue_reserve(queue, &m, 1, SHOAL_NOW), -EPIPE);
        m = viewed(100, 2);
        ASSERT_ERR(shoal_queue_commit(queue, &m, SHOAL_NOW), -EPIPE);
        ASSERT_ERR(shoal_queue_view(queue, &n, SHOAL_NOW), -EPIPE);
        shoal_message_release(&m);
        ASSERT_EQ_INT(objects(), before);
        done();
    }
}

TEST(in_place_bad_input_is_refused)
{
    setup(SHOAL_FIFO, 0);
    shoal_message m = {NULL, 0, NULL};
    ASSERT_ERR(shoal_queue_reserve(NULL, &m, 1, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_queue_reserve(queue, NULL, 1, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_queue_reserve(queue, &m, SIZE_MAX, SHOAL_NOW), -EMSGSIZE);
    ASSERT_ERR(shoal_queue_commit(queue, NULL, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_queue_commit(queue, &m, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_queue_view(queue, NULL, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_queue_view(NULL, &m, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_queue_view(queue, &m, SHOAL_NOW), -EAGAIN);
    ASSERT_NULL(m.bytes);
    shoal_message_release(NULL);
    shoal_message_release(&m);
    m = reserved(10, 1);
    shoal_message twin = m;
    commit(&m);
    ASSERT_ERR(shoal_queue_commit(queue, &twin, SHOAL_NOW), -EBADF);
    shoal_message_release(&twin); /* of a handle that is closed: nothing */
    m = viewed(10, 1);
    shoal_message_release(&m);
    done();
}

TEST(in_place_short_messages_that_were_viewed_are_put_as_they_are_or_shorter)
{
    shoal_message m;
    for (unsigned k = 0; k < 3; k++) {
        setup(kinds[k], 0);
        ASSERT_OK(shoal_queue_put_bytes(queue, "hello", 5, SHOAL_NOW));
        ASSERT_OK(shoal_queue_view(queue, &m, SHOAL_NOW));
        m.size = 6;
        ASSERT_ERR(shoal_queue_commit(queue, &m, SHOAL_NOW), -EINVAL);
        m.size = 60000;
        ASSERT_ERR(shoal_queue_commit(queue, &m, SHOAL_NOW), -EINVAL);
        m.size = 4;
        shoal_message twin = m;
        pid_t pid = (pid_t)ASSERT_SYS(fork());
        if (!pid) { /* one of them puts it: of a copy that is the one that viewed it */
            int rc = k == SHOAL_FIFO ? shoal_queue_commit(queue, &twin, SHOAL_NOW) : -EINVAL;
            shoal_message_release(&twin);
            _exit(-rc != EINVAL);
        }
        ends_well(pid);
        commit(&m);
        ASSERT_OK(shoal_queue_view(queue, &m, SHOAL_NOW));
        ASSERT_EQ_INT(m.size, 4);
        ASSERT_TRUE(!memcmp(m.bytes, "hell", 4));
        shoal_message_release(&m);
        ASSERT_ERR(shoal_queue_view(queue, &m, SHOAL_NOW), -EAGAIN);
        done();
    }
}

TEST(in_place_messages_are_put_once_by_forked_processes)
{
    setup(SHOAL_FIFO, 0);
    uint32_t before = objects();
    shoal_message m = reserved(5000, 1), twin = m; /* the child has it too */
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid)
        _exit(-shoal_queue_commit(queue, &twin, SHOAL_NOW));
    ends_well(pid);
    ASSERT_ERR(shoal_queue_commit(queue, &m, SHOAL_NOW), -EINVAL);
    shoal_message_release(&m);
    m = viewed(5000, 1);
    shoal_message_release(&m);
    ASSERT_EQ_INT(objects(), before);
    done();
}

/* ---- no room ---- */

static void await(int which)
{
    while (!shared[which])
        nap();
}

static void hold_and_release(void)
{
    shoal_message m;
    ASSERT_OK(shoal_queue_view(queue, &m, SHOAL_FOREVER));
    shared[0] = 1;
    await(1);
    shoal_message_release(&m);
}

enum { QUOTA = 1 << 20 };

TEST(queue_put_waits_while_the_quota_is_used_up)
{
    for (unsigned k = 0; k < 3; k++) {
        shoal_message m;
        unsigned char *bytes = calloc(1, QUOTA);
        setup(kinds[k], 0);
        ASSERT_OK(shoal_memory_set_quota(QUOTA));
        ASSERT_ERR(shoal_queue_put_bytes(queue, bytes, QUOTA, SHOAL_FOREVER), -EMSGSIZE);
        ASSERT_ERR(shoal_queue_reserve(queue, &m, QUOTA, SHOAL_FOREVER), -EMSGSIZE);
        shoal_message first = reserved(QUOTA / 2, 1);
        commit(&first);
        ASSERT_ERR(shoal_queue_put_bytes(queue, bytes, QUOTA / 2, SHOAL_NOW), -EAGAIN);
        ASSERT_ERR(shoal_queue_put_bytes(queue, bytes, QUOTA / 2, shoal_after(0.02)), -ETIMEDOUT);
        ASSERT_ERR(shoal_queue_reserve(queue, &m, QUOTA / 2, SHOAL_NOW), -EAGAIN);
        ASSERT_ERR(shoal_queue_reserve(queue, &m, QUOTA / 2, shoal_after(0.02)), -ETIMEDOUT);
        pid_t pid = child(hold_and_release);
        await(0); /* it has it */
        ASSERT_ERR(shoal_queue_put_bytes(queue, bytes, QUOTA / 2, SHOAL_NOW), -EAGAIN);
        shared[1] = 1;
        ASSERT_OK(shoal_queue_put_bytes(queue, bytes, QUOTA / 2, SHOAL_FOREVER));
        ends_well(pid);
        m = viewed(QUOTA / 2, 0);
        shoal_message_release(&m);
        ASSERT_OK(shoal_memory_set_quota(0));
        free(bytes);
        done();
    }
}

TEST(queue_short_messages_count_against_the_quota)
{
    unsigned char bytes[1000] = {0};
    size_t size;
    int puts = 0, rc;
    setup(SHOAL_FIFO, 0);
    ASSERT_OK(shoal_memory_set_quota(QUOTA));
    while (!(rc = shoal_queue_put_bytes(queue, bytes, sizeof bytes, SHOAL_NOW)))
        ASSERT_LE_INT(++puts, QUOTA / 1000);
    ASSERT_ERR(rc, -EAGAIN);
    ASSERT_LE_INT(QUOTA / 1000 / 2, puts);
    ASSERT_ERR(shoal_queue_put_bytes(queue, bytes, sizeof bytes, shoal_after(0.02)), -ETIMEDOUT);
    for (int i = 0; i < puts; i++)
        ASSERT_OK(shoal_queue_get_bytes_into(queue, bytes, sizeof bytes, &size, SHOAL_NOW));
    for (int i = 0; i < puts * 3 / 4; i++) /* there is room again, in other pieces perhaps */
        ASSERT_OK(shoal_queue_put_bytes(queue, bytes, sizeof bytes, SHOAL_NOW));
    ASSERT_OK(shoal_memory_set_quota(0));
    done();
}

/* Whatever is in the way: messages, a heap's array, objects. */
TEST(queue_put_waits_while_the_region_is_full)
{
    enum { LONG = 1 << 20, SHORT = 5000 };
    unsigned char *bytes = calloc(1, LONG);
    size_t size;
    ASSERT_OK(shoal_init(&(shoal_options){.reserve = 1})); /* as little as can be */
    for (unsigned k = 0; k < 3; k++) {
        int puts = 0, shorts = 0, rc;
        setup(kinds[k], 0);
        uint32_t before = objects();
        while (!(rc = shoal_queue_put_bytes(queue, bytes, LONG, SHOAL_NOW)))
            puts++;
        ASSERT_ERR(rc, -EAGAIN);
        ASSERT_LE_INT(10, puts);
        while (!(rc = shoal_queue_put_bytes(queue, bytes, SHORT, SHOAL_NOW)))
            shorts++;
        ASSERT_ERR(rc, -EAGAIN);
        ASSERT_ERR(shoal_queue_put_bytes(queue, bytes, SHORT, shoal_after(0.02)), -ETIMEDOUT);
        ASSERT_EQ_INT(shoal_queue_qsize(queue), puts + shorts);
        for (int i = 0; i < puts + shorts; i++)
            ASSERT_OK(shoal_queue_get_bytes_into(queue, bytes, LONG, &size, SHOAL_NOW));
        ASSERT_EQ_INT(objects(), before);
        ASSERT_OK(shoal_queue_put_bytes(queue, bytes, LONG, SHOAL_NOW));
        done();
    }
    free(bytes);
}
