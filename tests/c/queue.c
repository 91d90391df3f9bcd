/* queue: what queue.h promises. */
#include "message/any.h"
#include "processes.h"
#include "region/life.h"
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>

enum { LONG = 1 << 20, PRODUCERS = 4 };

static shoal_queue *queue, *back;
static _Atomic long *shared;

/* A message says who put it and how manieth of that one's it is. */
struct mail {
    long who, number;
};

static void setup_with(uint64_t maxsize)
{
    shared = words_open();
    ASSERT_OK(shoal_queue_create(&queue, &(shoal_queue_options){.maxsize = maxsize}));
    ASSERT_OK(shoal_queue_create(&back, NULL));
}

static void setup(void)
{
    setup_with(0);
}

static void done(void)
{
    shoal_queue_close(queue);
    shoal_queue_close(back);
    words_close();
}

static int queue_create(shoal_queue **ret)
{
    return shoal_queue_create(ret, NULL);
}

COMMON_TESTS(queue, queue_create, shoal_queue_empty)

static int put(long who, long number, int64_t deadline)
{
    struct mail m = {who, number};
    return shoal_queue_put_bytes(queue, &m, sizeof m, deadline);
}

static int get(struct mail *m, int64_t deadline)
{
    size_t size;
    int rc = shoal_queue_get_bytes_into(queue, m, sizeof *m, &size, deadline);
    if (!rc)
        ASSERT_EQ_INT(size, sizeof *m);
    return rc;
}

static uint64_t used(void)
{
    shoal_statistics s;
    ASSERT_OK(shoal_memory_statistics(&s));
    return s.populated;
}

/* Bytes that depend on where they stand and on the message. */
static void fill(unsigned char *bytes, size_t size, size_t seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(i * 31 + (i >> 8) + seed);
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

/* ---- between processes ---- */

static void echo(void)
{
    char text[100];
    size_t size;
    for (int i = 0; i < 2000; i++) {
        ASSERT_OK(shoal_queue_get_bytes_into(queue, text, sizeof text, &size, SHOAL_FOREVER));
        ASSERT_OK(shoal_queue_put_bytes(back, text, size, SHOAL_FOREVER));
    }
}

TEST(queue_there_and_back)
{
    setup();
    pid_t pid = child(echo);
    for (int i = 0; i < 2000; i++) {
        int k = -1;
        size_t size;
        ASSERT_OK(shoal_queue_put_bytes(queue, &i, sizeof i, SHOAL_FOREVER));
        ASSERT_OK(shoal_queue_get_bytes_into(back, &k, sizeof k, &size, SHOAL_FOREVER));
        ASSERT_EQ_INT(k, i);
        if (i % 500 == 499)
            nap(); /* it sleeps by now */
    }
    ends_well(pid);
    done();
}

static long each, message_size;

static void produce(void)
{
    long who = atomic_fetch_add(&shared[0], 1);
    unsigned char message[10000];
    for (long i = 0; i < each; i++) {
        fill(message, (size_t)message_size, (size_t)(who + i));
        memcpy(message, &(struct mail){who, i}, sizeof(struct mail));
        ASSERT_OK(shoal_queue_put_bytes(queue, message, (size_t)message_size, SHOAL_FOREVER));
    }
}

/* Each producer's messages arrive in their order; every message arrives once. Ends at a message of
 * nobody, which it puts back for the others. */
static void consume(void)
{
    long last[16];
    unsigned char message[10000], wanted[10000];
    size_t size;
    for (int i = 0; i < 16; i++)
        last[i] = -1;
    for (;;) {
        struct mail m;
        ASSERT_OK(shoal_queue_get_bytes_into(queue, message, sizeof message, &size, SHOAL_FOREVER));
        memcpy(&m, message, sizeof m);
        if (m.who < 0) {
            ASSERT_OK(shoal_queue_put_bytes(queue, message, size, SHOAL_FOREVER));
            return;
        }
        ASSERT_GT_INT(m.number, last[m.who]);
        last[m.who] = m.number;
        fill(wanted, (size_t)message_size, (size_t)(m.who + m.number));
        ASSERT_MEM(message + sizeof m, wanted + sizeof m, size - sizeof m);
        atomic_fetch_add(&shared[1], 1);
        atomic_fetch_add(&shared[2], m.number);
    }
}

static void crowd(int producers, int consumers, uint64_t maxsize)
{
    pid_t pids[16];
    setup_with(maxsize);
    for (int i = 0; i < consumers; i++)
        pids[i] = child(consume);
    for (int i = 0; i < producers; i++)
        pids[consumers + i] = child(produce);
    for (int i = 0; i < producers; i++)
        ends_well(pids[consumers + i]);
    ASSERT_OK(put(-1, 0, SHOAL_FOREVER));
    for (int i = 0; i < consumers; i++)
        ends_well(pids[i]);
    ASSERT_EQ_INT(atomic_load(&shared[1]), producers * each);
    ASSERT_EQ_INT(atomic_load(&shared[2]), producers * (each * (each - 1) / 2));
    done();
}

TEST(queue_of_one_producer_and_one_consumer_keeps_all_in_order)
{
    each = 200000;
    message_size = 64;
    crowd(1, 1, 0);
    crowd(1, 1, 7);
}

TEST(queue_of_several_producers_and_consumers_loses_and_doubles_nothing)
{
    each = 20000;
    message_size = 100;
    crowd(4, 1, 0);
    crowd(1, 4, 0);
    crowd(3, 3, 0);
    crowd(3, 3, 1);
    crowd(4, 2, 100);
}

TEST(queue_of_several_producers_and_consumers_hands_over_long_messages)
{
    each = 3000;
    message_size = 9000;
    crowd(3, 3, 0);
    crowd(3, 3, 5);
}

/* The order that `for p in producers: p.join(); q.put(None)` needs: what has returned comes before
 * what begins then. */
static void order(uint64_t maxsize, int rounds)
{
    enum { EACH = 5 };
    setup_with(maxsize);
    each = EACH;
    message_size = sizeof(struct mail);
    for (int round = 0; round < rounds; round++) {
        pid_t pids[PRODUCERS];
        struct mail m;
        atomic_store(&shared[0], 0);
        for (int i = 0; i < PRODUCERS; i++)
            pids[i] = child(produce);
        for (int i = 0; i < PRODUCERS; i++)
            ends_well(pids[i]);
        ASSERT_OK(put(-1, round, SHOAL_FOREVER));
        for (int i = 0; i < PRODUCERS * EACH; i++) {
            ASSERT_OK(get(&m, SHOAL_FOREVER));
            ASSERT_GE_INT(m.who, 0);
        }
        ASSERT_OK(get(&m, SHOAL_FOREVER));
        ASSERT_EQ_INT(m.who, -1);
    }
    done();
}

TEST(queue_order_of_producers_that_were_joined_and_a_sentinel)
{
    order(0, 100);
    order(1000, 100);
}

/* The same with processes that live: 10,000 rounds, each put after another's has returned. */
static void put_in_turn(void)
{
    long me = atomic_fetch_add(&shared[0], 1);
    for (long round = 0; round < 10000; round++) {
        while (atomic_load(&shared[1]) != round * (PRODUCERS + 1) + me)
            sched_yield();
        ASSERT_OK(put(me, round, SHOAL_FOREVER));
        atomic_fetch_add(&shared[1], 1);
    }
}

static void take_in_turn(void)
{
    struct mail m;
    for (long round = 0; round < 10000; round++)
        for (long i = 0; i <= PRODUCERS; i++) {
            ASSERT_OK(get(&m, SHOAL_FOREVER));
            ASSERT_EQ_INT(m.number, round);
            ASSERT_EQ_INT(m.who, i);
        }
}

TEST(queue_order_between_producers_in_10000_rounds)
{
    for (int bounded = 0; bounded < 2; bounded++) {
        pid_t pids[PRODUCERS + 1];
        setup_with(bounded ? 1000 : 0);
        for (int i = 0; i < PRODUCERS; i++)
            pids[i] = child(put_in_turn);
        pids[PRODUCERS] = child(take_in_turn);
        until_word(&shared[0], PRODUCERS);
        for (long round = 0; round < 10000; round++) {
            while (atomic_load(&shared[1]) != round * (PRODUCERS + 1) + PRODUCERS)
                sched_yield();
            ASSERT_OK(put(PRODUCERS, round, SHOAL_FOREVER)); /* the sentinel */
            atomic_fetch_add(&shared[1], 1);
        }
        for (int i = 0; i <= PRODUCERS; i++)
            ends_well(pids[i]);
        done();
    }
}

static void put_one(void)
{
    ASSERT_OK(put(1, 1, SHOAL_FOREVER));
}

TEST(queue_what_was_put_outlives_its_producers)
{
    struct mail m;
    for (int bounded = 0; bounded < 2; bounded++) {
        setup_with(bounded ? 1000 : 0);
        for (int i = 0; i < 200; i++) /* far more than there are lanes */
            ends_well(child(put_one));
        until_deaths((uint64_t)(bounded + 1) * 200);
        ASSERT_EQ_INT(shoal_queue_qsize(queue), 200);
        for (int i = 0; i < 200; i++)
            ASSERT_OK(get(&m, SHOAL_NOW));
        ASSERT_ERR(get(&m, SHOAL_NOW), -EAGAIN);
        done();
    }
}

static void put_and_stay(void)
{
    put_one();
    atomic_fetch_add(&shared[3], 1);
    pause();
}

TEST(queue_of_100_living_producers)
{
    pid_t pids[100];
    struct mail m;
    for (int bounded = 0; bounded < 2; bounded++) {
        setup_with(bounded ? 1000 : 0);
        for (int i = 0; i < 100; i++)
            pids[i] = child(put_and_stay);
        until_word(&shared[3], 100);
        ASSERT_EQ_INT(shoal_queue_qsize(queue), 100);
        for (int i = 0; i < 100; i++)
            ASSERT_OK(get(&m, SHOAL_NOW));
        ASSERT_ERR(get(&m, SHOAL_NOW), -EAGAIN);
        for (int i = 0; i < 100; i++)
            kill_and_reap(pids[i]);
        done();
    }
}

static void wait_for_message(void)
{
    struct mail m;
    atomic_fetch_add(&shared[0], 1);
    ASSERT_OK(get(&m, SHOAL_FOREVER));
}

TEST(queue_wakes_as_many_as_there_are_messages)
{
    setup();
    for (int round = 0; round < 5; round++) {
        pid_t pids[4];
        shoal_bytes messages[4];
        struct mail m = {0, 0};
        for (int i = 0; i < 4; i++) {
            pids[i] = child(wait_for_message);
            messages[i] = (shoal_bytes){&m, sizeof m};
        }
        for (int i = 0; i < 4; i++)
            until_asleep(pids[i]);
        if (round % 2)
            for (int i = 0; i < 4; i++)
                ASSERT_OK(put(0, 0, SHOAL_NOW));
        else
            ASSERT_EQ_INT(shoal_queue_put_many(queue, messages, 4, SHOAL_NOW), 4);
        for (int i = 0; i < 4; i++)
            ends_well(pids[i]);
    }
    done();
}

static void put_two(void)
{
    ASSERT_OK(put(0, 0, SHOAL_FOREVER));
    ASSERT_OK(put(0, 1, SHOAL_FOREVER));
}

TEST(queue_put_into_a_full_one_sleeps_until_there_is_place)
{
    struct mail m;
    setup_with(1);
    pid_t pids[3];
    for (int i = 0; i < 3; i++)
        pids[i] = child(put_two);
    for (int i = 0; i < 3; i++)
        until_asleep(pids[i]);
    ASSERT_EQ_INT(shoal_queue_qsize(queue), 1);
    for (int i = 0; i < 6; i++)
        ASSERT_OK(get(&m, SHOAL_FOREVER));
    for (int i = 0; i < 3; i++)
        ends_well(pids[i]);
    ASSERT_EQ_INT(shoal_queue_empty(queue), 1);
    done();
}

static void get_or_interrupted(void)
{
    struct mail m;
    let_signals_interrupt();
    ASSERT_ERR(get(&m, SHOAL_FOREVER), -EINTR);
}

TEST(queue_get_is_interrupted_by_a_signal)
{
    setup();
    pid_t pid = child(get_or_interrupted);
    until_asleep(pid);
    interrupt_until_end(pid);
    done();
}

/* ---- finished ---- */

static void work(void)
{
    struct mail m;
    for (;;) {
        ASSERT_OK(get(&m, SHOAL_FOREVER));
        if (m.who < 0)
            return;
        atomic_fetch_add(&shared[0], 1);
        ASSERT_OK(shoal_queue_task_done(queue));
    }
}

TEST(queue_join_waits_until_all_is_finished)
{
    setup();
    ASSERT_OK(shoal_queue_join(queue, SHOAL_NOW));
    ASSERT_ERR(shoal_queue_task_done(queue), -EINVAL);
    pid_t pids[2] = {child(work), child(work)};
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 100; i++)
            ASSERT_OK(put(0, i, SHOAL_NOW));
        ASSERT_OK(shoal_queue_join(queue, SHOAL_FOREVER));
        ASSERT_EQ_INT(atomic_load(&shared[0]), (round + 1) * 100);
    }
    ASSERT_ERR(shoal_queue_task_done(queue), -EINVAL);
    ASSERT_OK(put(-1, 0, SHOAL_NOW));
    ASSERT_OK(put(-1, 0, SHOAL_NOW));
    ends_well(pids[0]);
    ends_well(pids[1]);
    ASSERT_ERR(shoal_queue_join(queue, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_queue_join(queue, shoal_after(0.005)), -ETIMEDOUT);
    done();
}

TEST(queue_shutdown_lets_the_rest_be_taken)
{
    struct mail m;
    setup();
    ASSERT_OK(put(0, 0, SHOAL_NOW));
    ASSERT_OK(shoal_queue_shutdown(queue, 0));
    ASSERT_ERR(put(0, 1, SHOAL_FOREVER), -EPIPE);
    ASSERT_OK(get(&m, SHOAL_FOREVER));
    ASSERT_ERR(get(&m, SHOAL_FOREVER), -EPIPE);
    done();
}

TEST(queue_shutdown_at_once_drops_the_rest)
{
    static char text[10000];
    struct mail m;
    setup();
    uint32_t before = objects();
    ASSERT_OK(put(0, 0, SHOAL_NOW));
    ASSERT_OK(shoal_queue_put_bytes(queue, text, sizeof text, SHOAL_NOW));
    ASSERT_OK(shoal_queue_shutdown(queue, 1));
    ASSERT_ERR(get(&m, SHOAL_FOREVER), -EPIPE);
    ASSERT_OK(shoal_queue_join(queue, SHOAL_NOW));
    ASSERT_EQ_INT(objects(), before);
    done();
}

/* ---- who is woken, and does not take ---- */

/* Whoever is not woken sleeps on: nobody looks by himself now and then, or is told of the end of others. */
static void setup_without_net(uint64_t maxsize)
{
    setenv("SHOAL_TEST_NET", "0", 1);
    setup_with(maxsize);
}

static void stay_until_all_are_through(void)
{
    atomic_fetch_add(&shared[1], 1);
    until_word(&shared[2], 1);
}

static void put_one_more(void)
{
    ASSERT_OK(put(1, 0, SHOAL_FOREVER));
    stay_until_all_are_through();
}

TEST(queue_get_of_several_wakes_all_for_whom_there_is_place)
{
    for (int many = 0; many < 2; many++) {
        struct mail mails[3];
        shoal_bytes got[3];
        pid_t pids[3];
        setup_without_net(3);
        for (int i = 0; i < 3; i++)
            ASSERT_OK(put(0, i, SHOAL_NOW));
        for (int i = 0; i < 3; i++)
            pids[i] = child(put_one_more);
        for (int i = 0; i < 3; i++)
            until_asleep(pids[i]);
        if (many)
            ASSERT_EQ_INT(shoal_queue_get_many(queue, got, 3, mails, sizeof mails, SHOAL_NOW), 3);
        for (int i = 0; i < 3 && !many; i++)
            ASSERT_OK(get(&mails[i], SHOAL_NOW));
        until_word(&shared[1], 3);
        atomic_store(&shared[2], 1);
        for (int i = 0; i < 3; i++)
            ends_well(pids[i]);
        done();
    }
}

static void get_into_too_little(void)
{
    char byte;
    size_t size;
    ASSERT_ERR(shoal_queue_get_bytes_into(queue, &byte, 1, &size, SHOAL_FOREVER), -EMSGSIZE);
    stay_until_all_are_through();
}

static void get_one(void)
{
    struct mail m;
    ASSERT_OK(get(&m, SHOAL_FOREVER));
    stay_until_all_are_through();
}

/* Those who began to sleep first are woken first. */
TEST(queue_message_that_is_too_long_for_one_wakes_another)
{
    setup_without_net(0);
    pid_t small = child(get_into_too_little);
    until_asleep(small);
    pid_t large = child(get_one);
    until_asleep(large);
    ASSERT_OK(put(0, 0, SHOAL_NOW));
    while (shoal_queue_qsize(queue)) /* the one for whom it is short enough takes it */
        nap();
    ASSERT_OK(put(0, 0, SHOAL_NOW)); /* if the other was not woken for the first */
    until_word(&shared[1], 2);
    atomic_store(&shared[2], 1);
    ends_well(large);
    ends_well(small);
    done();
}

static void put_and_get(void)
{
    enum { TIMES = 200000 };
    struct mail m;
    for (int i = 0; i < TIMES; i++) {
        ASSERT_OK(put(0, 0, SHOAL_NOW));
        ASSERT_OK(get(&m, SHOAL_NOW));
    }
}

TEST(queue_is_never_empty_where_each_puts_before_it_takes)
{
    for (int round = 0; round < 2; round++) {
        pid_t pids[2];
        setup_with(round ? 100 : 0);
        for (int i = 0; i < 2; i++)
            pids[i] = child(put_and_get);
        for (int i = 0; i < 2; i++)
            ends_well(pids[i]);
        done();
    }
}

/* It holds nothing before its first call, which must not reach what lies there by then. */
TEST(queue_that_is_gone_is_a_bad_handle_in_a_raw_fork)
{
    for (int puts = 0; puts < 2; puts++) {
        shoal_memory *memory[20];
        setup();
        ASSERT_OK(put(0, 0, SHOAL_NOW));
        pid_t pid = (pid_t)ASSERT_SYS(syscall(SYS_fork));
        if (!pid) {
            struct mail m;
            until_word(shared, 1);
            ASSERT_ERR(puts ? put(0, 0, SHOAL_NOW) : get(&m, SHOAL_NOW), -EBADF);
            _exit(0);
        }
        queue = shoal_queue_close(queue);
        for (int i = 0; i < 20; i++) {
            ASSERT_OK(shoal_memory_create(&memory[i], 2000, NULL));
            memset(shoal_memory_address(memory[i]), 0, 2000);
        }
        atomic_store(shared, 1);
        ends_well(pid);
        for (int i = 0; i < 20; i++) {
            const unsigned char *bytes = shoal_memory_address(memory[i]);
            for (int k = 0; k < 2000; k++)
                ASSERT_EQ_INT(bytes[k], 0);
            shoal_memory_close(memory[i]);
        }
        done();
    }
}

/* ---- the end ---- */

/* Who puts says how many it put. */
static void put_all_the_time(void)
{
    long n = 0;
    int rc;
    while (!(rc = shoal_queue_put_bytes(queue, "x", 1, SHOAL_FOREVER)))
        if (++n == 100)
            atomic_fetch_add(&shared[1], 1);
    ASSERT_ERR(rc, -EPIPE);
    atomic_fetch_add(&shared[0], n);
}

/* Shut down while one or two put: after its end was told there is nothing, now and later. */
TEST(queue_that_was_shut_down_has_an_end)
{
    enum { ROUNDS = 60 };
    char byte;
    size_t size;
    for (int round = 0; round < 4 * ROUNDS; round++) {
        int producers = 1 + round % 2, at_once = round / 2 % 2, rc;
        long got = 0;
        pid_t pids[2];
        setup_with(round % 3 ? 0 : 1000);
        for (int i = 0; i < producers; i++)
            pids[i] = child(put_all_the_time);
        while (shared[1] < producers) {
            rc = shoal_queue_get_bytes_into(queue, &byte, 1, &size, SHOAL_NOW);
            if (rc)
                ASSERT_ERR(rc, -EAGAIN);
            got += !rc;
        }
        ASSERT_OK(shoal_queue_shutdown(queue, at_once));
        while (!(rc = shoal_queue_get_bytes_into(queue, &byte, 1, &size, SHOAL_FOREVER)))
            got++;
        ASSERT_ERR(rc, -EPIPE);
        for (int i = 0; i < producers; i++)
            ends_well(pids[i]);
        ASSERT_EQ_INT(shoal_queue_qsize(queue), 0);
        ASSERT_ERR(shoal_queue_get_bytes_into(queue, &byte, 1, &size, SHOAL_NOW), -EPIPE);
        if (at_once)
            ASSERT_OK(shoal_queue_join(queue, SHOAL_NOW));
        else
            ASSERT_EQ_INT(got, shared[0]);
        done();
    }
}

static void get_until_shut(void)
{
    struct mail m;
    ASSERT_ERR(get(&m, SHOAL_FOREVER), -EPIPE);
}

static void put_until_shut(void)
{
    int rc = put(0, 0, SHOAL_FOREVER);
    if (!rc)
        rc = put(0, 1, SHOAL_FOREVER);
    ASSERT_EQ_INT(rc, -EPIPE);
}

TEST(queue_shutdown_wakes_all_who_wait)
{
    pid_t pids[3];
    setup();
    for (int i = 0; i < 3; i++)
        pids[i] = child(get_until_shut);
    for (int i = 0; i < 3; i++)
        until_asleep(pids[i]);
    ASSERT_OK(shoal_queue_shutdown(queue, 0));
    for (int i = 0; i < 3; i++)
        ends_well(pids[i]);
    done();
    setup_with(1);
    for (int i = 0; i < 3; i++)
        pids[i] = child(put_until_shut);
    for (int i = 0; i < 3; i++)
        until_asleep(pids[i]);
    ASSERT_OK(shoal_queue_shutdown(queue, 0));
    for (int i = 0; i < 3; i++)
        ends_well(pids[i]);
    done();
}

/* ---- threads, signal handlers ---- */

static void *produce_in_thread(void *argument)
{
    (void)argument;
    produce();
    return NULL;
}

TEST(queue_threads_of_one_process_put_beside_one_another)
{
    pthread_t threads[4];
    struct mail m;
    long last[4] = {-1, -1, -1, -1};
    setup();
    each = 10000;
    message_size = sizeof m;
    for (int i = 0; i < 4; i++)
        ASSERT_EQ_INT(pthread_create(&threads[i], NULL, produce_in_thread, NULL), 0);
    for (int i = 0; i < 40000; i++) {
        ASSERT_OK(get(&m, SHOAL_FOREVER));
        ASSERT_EQ_INT(m.number, last[m.who] + 1);
        last[m.who] = m.number;
    }
    for (int i = 0; i < 4; i++)
        ASSERT_EQ_INT(pthread_join(threads[i], NULL), 0);
    done();
}
