/* queue: what queue.h promises of one process's calls: messages, lengths, bounds, memory. */
#include "message/any.h"
#include "queues.h"
#include "region/life.h"
#include <stdlib.h>

enum { LONG = 1 << 20 };

static int queue_create(shoal_queue **ret)
{
    return shoal_queue_create(ret, NULL);
}

COMMON_TESTS(queue, queue_create, shoal_queue_empty)

static uint64_t used(void)
{
    shoal_statistics s;
    ASSERT_OK(shoal_memory_statistics(&s));
    return s.populated;
}

TEST(queue_options_are_checked)
{
    shoal_queue *q = NULL;
    ASSERT_ERR(shoal_queue_create(&q, &(shoal_queue_options){.flags = 1u << 30}), -EINVAL);
    ASSERT_NULL(q);
    ASSERT_OK(shoal_queue_create(&q, &(shoal_queue_options){.name = "mine"}));
    shoal_queue_close(q);
}

TEST(queue_calls_refuse_what_makes_no_sense)
{
    setup();
    void *bytes;
    size_t size;
    shoal_bytes none = {NULL, 3};
    ASSERT_ERR(shoal_queue_put_bytes(queue, NULL, 1, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_queue_put_many(queue, NULL, 1, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_queue_put_many(queue, &none, 1, SHOAL_NOW), -EINVAL);
    ASSERT_EQ_INT(shoal_queue_put_many(queue, NULL, 0, SHOAL_NOW), 0);
    ASSERT_ERR(shoal_queue_get_bytes(queue, NULL, &size, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_queue_get_bytes_into(queue, NULL, 1, &size, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_queue_get_many(queue, NULL, 1, NULL, 0, SHOAL_NOW), -EINVAL);
    ASSERT_EQ_INT(shoal_queue_empty(queue), 1);
    done();
    ASSERT_ERR(shoal_queue_put_bytes(queue, "", 0, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_queue_put_many(queue, NULL, 0, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_queue_get_bytes(queue, &bytes, &size, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_queue_get_bytes_into(queue, NULL, 0, &size, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_queue_get_many(queue, NULL, 1, NULL, 0, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_queue_qsize(queue), -EBADF);
    ASSERT_ERR(shoal_queue_full(queue), -EBADF);
    ASSERT_ERR(shoal_queue_task_done(queue), -EBADF);
    ASSERT_ERR(shoal_queue_join(queue, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_queue_shutdown(queue, 0), -EBADF);
}

TEST(queue_messages_of_any_length_come_out_as_they_went_in)
{
    static const size_t sizes[] = {0,    1,    7,    15,   16,   17,   63,    64,      65,   255,
                                   1000, 4079, 4080, 4095, 4096, 4097, 65536, 1000001, LONG, 3};
    static unsigned char out[LONG], in[LONG];
    enum { N = sizeof sizes / sizeof *sizes };
    setup();
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < N; i++) {
            fill(out, sizes[i], (size_t)round + (size_t)i);
            ASSERT_OK(shoal_queue_put_bytes(queue, out, sizes[i], SHOAL_NOW));
        }
        ASSERT_EQ_INT(shoal_queue_qsize(queue), N);
        for (int i = 0; i < N; i++) {
            void *bytes = in;
            size_t size = 0;
            if (round % 2)
                ASSERT_OK(shoal_queue_get_bytes(queue, &bytes, &size, SHOAL_NOW));
            else
                ASSERT_OK(shoal_queue_get_bytes_into(queue, in, sizeof in, &size, SHOAL_NOW));
            ASSERT_EQ_INT(size, sizes[i]);
            fill(out, size, (size_t)round + (size_t)i);
            ASSERT_MEM(bytes, out, size);
            if (bytes != in)
                free(bytes);
        }
        ASSERT_EQ_INT(shoal_queue_empty(queue), 1);
    }
    done();
}

/* ---- anys ---- */

static int64_t number_in(shoal_any *any)
{
    const shoal_any *item;
    int64_t number = -1;
    ASSERT_OK(shoal_any_at(any, 0, &item));
    ASSERT_OK(shoal_any_as_int(item, &number));
    return number;
}

TEST(queue_carries_anys_between_processes_in_order)
{
    enum { N = 300 };
    setup();
    shoal_any *got = NULL, *last = shoal_any_str("last");
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        for (int i = 0; i < N; i++) {
            shoal_any *any =
                shoal_any_list(shoal_any_int(i), shoal_any_none(), shoal_any_str("hello"));
            ASSERT_OK(shoal_queue_put(queue, any, SHOAL_FOREVER));
            shoal_any_free(any);
        }
        ASSERT_OK(shoal_queue_put(queue, last, SHOAL_FOREVER));
        _exit(0);
    }
    for (int i = 0; i < N; i++) {
        ASSERT_OK(shoal_queue_get(queue, &got, SHOAL_FOREVER));
        ASSERT_EQ_INT(shoal_any_count(got), 3);
        ASSERT_EQ_INT(number_in(got), i);
        got = shoal_any_free(got);
    }
    ASSERT_OK(shoal_queue_get(queue, &got, SHOAL_FOREVER));
    ASSERT_EQ_INT(shoal_any_equal(last, got), 1);
    got = shoal_any_free(got);
    ends_well(pid);
    ASSERT_ERR(shoal_queue_get(queue, &got, SHOAL_NOW), -EAGAIN);
    ASSERT_NULL(got);
    shoal_any_free(last);
    done();
}

TEST(queue_anys_of_every_length_are_what_their_pickle_is)
{
    static const size_t lengths[] = {0, 4070, 4081, 4082, 4083, 4090, 4096, 70000, LONG};
    static unsigned char in[LONG];
    setup_with(2);
    uint32_t before = objects();
    fill(in, sizeof in, 5);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        shoal_any *any = shoal_any_bytes(in, lengths[i]), *got = NULL;
        void *bytes, *encoded;
        size_t size, encoded_size;
        ASSERT_OK(shoal_any_encode(any, &encoded, &encoded_size));
        ASSERT_OK(shoal_queue_put(queue, any, SHOAL_NOW));
        ASSERT_OK(shoal_queue_put(queue, any, SHOAL_NOW));
        ASSERT_ERR(shoal_queue_put(queue, any, SHOAL_NOW), -EAGAIN);
        ASSERT_OK(shoal_queue_get(queue, &got, SHOAL_NOW));
        ASSERT_EQ_INT(shoal_any_equal(any, got), 1);
        ASSERT_OK(shoal_queue_get_bytes(queue, &bytes, &size, SHOAL_NOW));
        ASSERT_EQ_INT(size, encoded_size);
        ASSERT_EQ_INT(memcmp(bytes, encoded, size), 0);
        ASSERT_OK(shoal_queue_put_bytes(queue, encoded, encoded_size, SHOAL_NOW));
        shoal_any_free(got);
        ASSERT_OK(shoal_queue_get(queue, &got, SHOAL_NOW));
        ASSERT_EQ_INT(shoal_any_equal(any, got), 1);
        shoal_any_free(got);
        shoal_any_free(any);
        free(bytes);
        free(encoded);
    }
    ASSERT_EQ_INT(objects(), before);
    done();
}

TEST(queue_message_that_is_no_any_is_an_error_and_the_next_one_comes)
{
    static char junk[5000];
    setup();
    uint32_t before = objects();
    shoal_any *any = shoal_any_int(1), *got = NULL, *with_object = NULL;
    ASSERT_OK(shoal_queue_put_bytes(queue, "no pickle", 9, SHOAL_NOW));
    ASSERT_OK(shoal_queue_put_bytes(queue, "", 0, SHOAL_NOW));
    ASSERT_OK(shoal_queue_put_bytes(queue, junk, sizeof junk, SHOAL_NOW));
    ASSERT_OK(shoal_queue_put(queue, any, SHOAL_NOW));
    for (int i = 0; i < 3; i++)
        ASSERT_ERR(shoal_queue_get(queue, &got, SHOAL_NOW), -EBADMSG);
    ASSERT_NULL(got);
    ASSERT_OK(shoal_queue_get(queue, &got, SHOAL_NOW));
    ASSERT_EQ_INT(shoal_any_equal(any, got), 1);
    shoal_any_free(got);
    ASSERT_EQ_INT(objects(), before);
    ASSERT_ERR(shoal_queue_put(queue, NULL, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_queue_get(queue, NULL, SHOAL_NOW), -EINVAL);
    with_object = shoal_any_list(any_from_object(&(shoal_reference){7, 5, 6}, TYPE_LOCK));
    ASSERT_NOT_NULL(with_object);
    ASSERT_ERR(shoal_queue_put(queue, with_object, SHOAL_NOW), -EINVAL);
    ASSERT_EQ_INT(shoal_queue_empty(queue), 1);
    shoal_any_free(with_object);
    ASSERT_OK(shoal_queue_shutdown(queue, 0));
    ASSERT_ERR(shoal_queue_put(queue, any, SHOAL_NOW), -EPIPE);
    got = NULL;
    ASSERT_ERR(shoal_queue_get(queue, &got, SHOAL_NOW), -EPIPE);
    done();
    ASSERT_ERR(shoal_queue_put(queue, any, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_queue_get(queue, &got, SHOAL_NOW), -EBADF);
    ASSERT_NULL(got);
    shoal_any_free(any);
}

static unsigned char *repeat(unsigned char *to, const char *what, size_t size, int times)
{
    for (int i = 0; i < times; i++, to += size)
        memcpy(to, what, size);
    return to;
}

/* A list of SHOAL_ANY_NODES values, and `more` of them. It takes next to no memory, since it refers to two
 * lists in it again and again: one of 1,024 values with itself, and one of 65,536. */
static shoal_any *list_of_most(int more)
{
    static unsigned char bytes[10000];
    unsigned char *p = repeat(bytes, "\x80\4](](", 6, 1);
    shoal_any *any;
    p = repeat(p, "N", 1, 1023);
    p = repeat(p, "e\x94](", 4, 1);
    p = repeat(p, "h\0", 2, 63);
    p = repeat(p, "N", 1, 1023);
    p = repeat(p, "e\x94", 2, 1);
    p = repeat(p, "h\1", 2, 1022);
    p = repeat(p, "h\0", 2, 63);
    p = repeat(p, "N", 1, more);
    p = repeat(p, "e.", 2, 1);
    ASSERT_OK(shoal_any_decode(&any, bytes, (size_t)(p - bytes),
                               &(shoal_any_limits){.nodes = SIZE_MAX, .bytes = (size_t)1 << 40}));
    return any;
}

TEST(queue_put_of_an_any_that_no_get_would_decode_is_refused)
{
    setup();
    shoal_any *most = list_of_most(0), *more = list_of_most(1);
    for (unsigned kind = SHOAL_FIFO; kind <= SHOAL_PRIORITY; kind++) {
        shoal_queue *q;
        ASSERT_OK(shoal_queue_create(&q, &(shoal_queue_options){.kind = kind}));
        ASSERT_ERR(shoal_queue_put(q, more, SHOAL_NOW), -EMSGSIZE);
        ASSERT_STR(shoal_error_detail(),
                   "shoal_queue_put: an any of 67108865 values; in a message there are 67108864 at "
                   "most");
        ASSERT_EQ_INT(shoal_queue_empty(q), 1);
        shoal_queue_close(q);
    }
    ASSERT_OK(shoal_queue_put(queue, most, SHOAL_NOW)); /* got, it would be a GiB */
    shoal_any_free(most);
    shoal_any_free(more);
    done();
}

/* ---- lengths ---- */

TEST(queue_get_of_a_message_that_is_too_long_leaves_it_and_tells_its_length)
{
    static char text[5000] = "abc";
    size_t size = 0;
    setup();
    ASSERT_OK(shoal_queue_put_bytes(queue, text, 100, SHOAL_NOW));
    ASSERT_OK(shoal_queue_put_bytes(queue, text, sizeof text, SHOAL_NOW));
    for (int i = 0; i < 2; i++) {
        size_t wanted = i ? sizeof text : 100;
        char *copy = malloc(wanted);
        ASSERT_ERR(shoal_queue_get_bytes_into(queue, copy, wanted - 1, &size, SHOAL_NOW),
                   -EMSGSIZE);
        ASSERT_EQ_INT(size, wanted);
        ASSERT_EQ_INT(shoal_queue_qsize(queue), 2 - i);
        ASSERT_OK(shoal_queue_get_bytes_into(queue, copy, wanted, &size, SHOAL_NOW));
        ASSERT_STR(copy, "abc");
        free(copy);
    }
    done();
}

TEST(queue_get_waits_until_its_deadline)
{
    struct mail m;
    setup();
    ASSERT_ERR(get(&m, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(get(&m, 1), -ETIMEDOUT);
    ASSERT_ERR(get(&m, shoal_after(0.005)), -ETIMEDOUT);
    ASSERT_OK(put(1, 2, SHOAL_NOW));
    ASSERT_OK(get(&m, 1)); /* long past, but there is one */
    ASSERT_EQ_INT(m.number, 2);
    done();
}

TEST(queue_with_a_bound_is_full_at_it_exactly)
{
    struct mail m;
    setup_with(3);
    for (int round = 0; round < 1000; round++) {
        for (int i = 0; i < 3; i++) {
            ASSERT_EQ_INT(shoal_queue_full(queue), 0);
            ASSERT_OK(put(0, i, SHOAL_NOW));
        }
        ASSERT_EQ_INT(shoal_queue_full(queue), 1);
        ASSERT_ERR(put(0, 3, SHOAL_NOW), -EAGAIN);
        ASSERT_ERR(put(0, 3, shoal_after(round ? 0 : 0.005)), round ? -EAGAIN : -ETIMEDOUT);
        for (int i = 0; i < 3; i++) {
            ASSERT_OK(get(&m, SHOAL_NOW));
            ASSERT_EQ_INT(m.number, i);
        }
        ASSERT_ERR(get(&m, SHOAL_NOW), -EAGAIN);
    }
    done();
}

TEST(queue_put_many_into_a_bounded_queue_puts_what_there_is_place_for)
{
    struct mail out[5] = {{0, 0}, {0, 1}, {0, 2}, {0, 3}, {0, 4}}, m;
    shoal_bytes messages[5];
    setup_with(3);
    for (int i = 0; i < 5; i++)
        messages[i] = (shoal_bytes){&out[i], sizeof out[i]};
    ASSERT_EQ_INT(shoal_queue_put_many(queue, messages, 5, SHOAL_NOW), 3);
    ASSERT_ERR(shoal_queue_put_many(queue, messages, 5, SHOAL_NOW), -EAGAIN);
    ASSERT_EQ_INT(shoal_queue_qsize(queue), 3);
    ASSERT_OK(get(&m, SHOAL_NOW));
    ASSERT_EQ_INT(shoal_queue_put_many(queue, messages + 3, 2, SHOAL_NOW), 1);
    for (int i = 1; i < 4; i++) {
        ASSERT_OK(get(&m, SHOAL_NOW));
        ASSERT_EQ_INT(m.number, i);
    }
    ASSERT_EQ_INT(shoal_queue_empty(queue), 1);
    done();
}

TEST(queue_put_many_and_get_many_keep_the_order_and_every_length)
{
    enum { N = 500 };
    static unsigned char out[N][300], buffer[N * 300];
    shoal_bytes messages[N], in[N];
    setup();
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < N; i++) {
            size_t size = (size_t)(i * 7 + round * 13) % 300;
            fill(out[i], size, (size_t)i);
            messages[i] = (shoal_bytes){out[i], size};
        }
        ASSERT_EQ_INT(shoal_queue_put_many(queue, messages, N, SHOAL_NOW), N);
        ASSERT_EQ_INT(shoal_queue_qsize(queue), N);
        for (int i = 0; i < N;) {
            int n = (int)ASSERT_OK(
                shoal_queue_get_many(queue, in, N, buffer, sizeof buffer, SHOAL_NOW));
            ASSERT_GT_INT(n, 0);
            for (int k = 0; k < n; k++, i++) {
                ASSERT_EQ_INT(in[k].size, messages[i].size);
                ASSERT_MEM(in[k].bytes, messages[i].bytes, messages[i].size);
            }
        }
        ASSERT_ERR(shoal_queue_get_many(queue, in, N, buffer, sizeof buffer, SHOAL_NOW), -EAGAIN);
    }
    ASSERT_OK(shoal_queue_put_bytes(queue, out, 200, SHOAL_NOW));
    ASSERT_ERR(shoal_queue_get_many(queue, in, N, buffer, 199, SHOAL_NOW), -EMSGSIZE);
    done();
}

TEST(queue_many_with_long_ones_between)
{
    static unsigned char out[3][9000], buffer[30000];
    shoal_bytes messages[3] = {{out[0], 5}, {out[1], 9000}, {out[2], 7}}, in[3] = {{0}};
    setup();
    for (int i = 0; i < 3; i++)
        fill(out[i], sizeof out[i], (size_t)i);
    ASSERT_EQ_INT(shoal_queue_put_many(queue, messages, 3, SHOAL_NOW), 3);
    for (int i = 0; i < 3;) {
        int n =
            (int)ASSERT_OK(shoal_queue_get_many(queue, in, 3, buffer, sizeof buffer, SHOAL_NOW));
        ASSERT_LE_INT(i + n, 3);
        for (int k = 0; k < n && i < 3; k++, i++) {
            ASSERT_EQ_INT(in[k].size, messages[i].size);
            ASSERT_MEM(in[k].bytes, messages[i].bytes, messages[i].size);
        }
    }
    done();
}

/* ---- memory ---- */

TEST(queue_that_is_unbounded_grows_and_gives_the_memory_back)
{
    enum { N = 2000000 };
    struct mail m;
    setup();
    uint64_t before = used();
    for (long i = 0; i < N; i++)
        ASSERT_OK(put(0, i, SHOAL_NOW));
    ASSERT_TRUE(used() > before + 32u * N);
    for (long i = 0; i < N; i++) {
        ASSERT_OK(get(&m, SHOAL_NOW));
        ASSERT_EQ_INT(m.number, i);
    }
    /* The next puts find the large ring hardly used. */
    for (long i = 0; i < N; i++) {
        ASSERT_OK(put(0, i, SHOAL_NOW));
        ASSERT_OK(get(&m, SHOAL_NOW));
    }
    if (memory_can_be_removed())
        ASSERT_LE_U64(used(), before + (70u << 20)); /* what the heap keeps at hand */
    done();
}

TEST(queue_with_messages_in_it_takes_them_along_when_it_is_closed)
{
    static char text[20000];
    setup();
    uint32_t before = objects();
    for (int i = 0; i < 100; i++) {
        ASSERT_OK(shoal_queue_put_bytes(queue, text, sizeof text, SHOAL_NOW));
        ASSERT_OK(shoal_queue_put_bytes(queue, text, 100, SHOAL_NOW));
    }
    ASSERT_EQ_INT(objects(), before + 100);
    shoal_queue_close(queue);
    ASSERT_EQ_INT(objects(), before - 1);
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    done();
}

TEST(queue_of_a_full_region_waits_and_goes_on_when_there_is_room)
{
    static char text[4000];
    size_t size;
    long n = 0;
    ASSERT_OK(shoal_init(&(shoal_options){.reserve = 64 << 20}));
    setup();
    int rc;
    while (!(rc = shoal_queue_put_bytes(queue, text, sizeof text, SHOAL_NOW)))
        n++;
    ASSERT_EQ_INT(rc, -EAGAIN);
    ASSERT_ERR(shoal_queue_put_bytes(queue, text, sizeof text, shoal_after(0.02)), -ETIMEDOUT);
    ASSERT_GT_INT(n, 2000);
    for (long i = 0; i < n; i++)
        ASSERT_OK(shoal_queue_get_bytes_into(queue, text, sizeof text, &size, SHOAL_NOW));
    ASSERT_ERR(shoal_queue_get_bytes_into(queue, text, sizeof text, &size, SHOAL_NOW), -EAGAIN);
    ASSERT_OK(shoal_queue_put_bytes(queue, text, sizeof text, SHOAL_NOW));
    done();
}

TEST(queue_message_longer_than_the_region_is_refused)
{
    setup();
    ASSERT_ERR(shoal_queue_put_bytes(queue, "", (size_t)1 << 45, SHOAL_FOREVER), -EMSGSIZE);
    ASSERT_EQ_INT(shoal_queue_empty(queue), 1);
    done();
}

TEST(queue_ten_thousand_work)
{
    enum { N = 10000 };
    static shoal_queue *many[N];
    size_t size;
    setup();
    uint64_t before = used();
    for (int i = 0; i < N; i++)
        ASSERT_OK(shoal_queue_create(&many[i], NULL));
    ASSERT_LE_U64(used() - before, (uint64_t)N * 4096);
    for (int i = 0; i < N; i++)
        ASSERT_OK(shoal_queue_put_bytes(many[i], &i, sizeof i, SHOAL_NOW));
    for (int i = 0; i < N; i++) {
        int k;
        ASSERT_OK(shoal_queue_get_bytes_into(many[i], &k, sizeof k, &size, SHOAL_NOW));
        ASSERT_EQ_INT(k, i);
        shoal_queue_close(many[i]);
    }
    done();
}
