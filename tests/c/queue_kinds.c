/* queue: what queue.h promises of the kinds SHOAL_LIFO and SHOAL_PRIORITY. */
#include "message/any.h"
#include "message/any_order.h"
#include "message/heap.h"
#include "processes.h"
#include "region/object.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>

static shoal_queue *queue;
static _Atomic long *shared;

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

/* What is put most here: big-endian numbers, so that memcmp compares them. */
static int put(uint64_t number, int64_t deadline)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(number >> 8 * (7 - i));
    return shoal_queue_put_bytes(queue, bytes, sizeof bytes, deadline);
}

/* The number, or -errno. */
static int64_t get(int64_t deadline)
{
    unsigned char bytes[8];
    size_t size;
    uint64_t number = 0;
    int rc = shoal_queue_get_bytes_into(queue, bytes, sizeof bytes, &size, deadline);
    if (rc)
        return rc;
    ASSERT_EQ_INT(size, sizeof bytes);
    for (int i = 0; i < 8; i++)
        number = number << 8 | bytes[i];
    return (int64_t)number;
}

static uint32_t random_next(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

static int put_any(shoal_any *any)
{
    ASSERT_NOT_NULL(any);
    int rc = shoal_queue_put(queue, any, SHOAL_NOW);
    shoal_any_free(any);
    return rc;
}

static shoal_any *get_any(void)
{
    shoal_any *any;
    ASSERT_OK(shoal_queue_get(queue, &any, SHOAL_NOW));
    return any;
}

static void expect_any(shoal_any *wanted)
{
    shoal_any *any = get_any();
    char *a, *b;
    ASSERT_OK(shoal_any_repr(any, &a));
    ASSERT_OK(shoal_any_repr(wanted, &b));
    ASSERT_STR(a, b);
    free(a);
    free(b);
    shoal_any_free(any);
    shoal_any_free(wanted);
}

TEST(queue_of_a_kind_that_there_is_not_is_refused)
{
    shoal_queue *q = NULL;
    ASSERT_ERR(shoal_queue_create(&q, &(shoal_queue_options){.kind = 3}), -EINVAL);
    ASSERT_NULL(q);
    ASSERT_OK(shoal_queue_create(&q, &(shoal_queue_options){.kind = SHOAL_LIFO, .name = "heap"}));
    shoal_queue_close(q);
}

/* ---- order ---- */

TEST(queue_lifo_gives_the_newest_first)
{
    setup(SHOAL_LIFO, 0);
    for (uint32_t i = 0; i < 1000; i++)
        ASSERT_OK(put(i, SHOAL_NOW));
    for (uint32_t i = 1000; i-- > 500;)
        ASSERT_EQ_INT(get(SHOAL_NOW), i);
    for (uint32_t i = 500; i < 600; i++)
        ASSERT_OK(put(i, SHOAL_NOW));
    for (uint32_t i = 600; i-- > 0;)
        ASSERT_EQ_INT(get(SHOAL_NOW), i);
    ASSERT_ERR((int)get(SHOAL_NOW), -EAGAIN);
    done();
}

TEST(queue_lifo_takes_anys_and_bytes_side_by_side)
{
    setup(SHOAL_LIFO, 0);
    ASSERT_OK(put_any(shoal_any_tuple(shoal_any_int(3), shoal_any_dict_from(NULL, 0))));
    ASSERT_OK(put(7, SHOAL_NOW));
    ASSERT_OK(put_any(shoal_any_float(NAN)));
    shoal_any_free(get_any());
    ASSERT_EQ_INT(get(SHOAL_NOW), 7);
    expect_any(shoal_any_tuple(shoal_any_int(3), shoal_any_dict_from(NULL, 0)));
    done();
}

/* In whatever order things are put and taken: what comes is the smallest of what there is. */
TEST(queue_priority_gives_the_smallest_first)
{
    enum { NUMBERS = 50, ROUNDS = 40000 };
    uint32_t there[NUMBERS] = {0}, total = 0;
    setup(SHOAL_PRIORITY, 0);
    for (uint32_t round = 0; round < ROUNDS || total; round++) {
        if (random_next() % ROUNDS > round) { /* more and more gets */
            uint32_t i = random_next() % NUMBERS;
            ASSERT_OK(put(i, SHOAL_NOW));
            there[i]++;
            total++;
            continue;
        }
        uint32_t least = 0;
        while (least < NUMBERS && !there[least])
            least++;
        int64_t got = get(SHOAL_NOW);
        ASSERT_EQ_INT(got, least < NUMBERS ? (int64_t)least : -EAGAIN);
        if (got >= 0) {
            there[got]--;
            total--;
        }
        ASSERT_EQ_INT(shoal_queue_qsize(queue), total);
    }
    done();
}

/* 1 and 1.0 are equal: which comes out tells which of them went in first. */
TEST(queue_priority_gives_the_oldest_of_equal_ones_first)
{
    enum { NUMBERS = 8, MOST = 3000 };
    static unsigned char kinds[NUMBERS][MOST];
    unsigned put[NUMBERS] = {0}, got[NUMBERS] = {0};
    setup(SHOAL_PRIORITY, 0);
    for (unsigned round = 0; round < MOST || shoal_queue_qsize(queue); round++) {
        if (round < MOST && random_next() % 3) {
            unsigned i = random_next() % NUMBERS, real = random_next() % 2;
            kinds[i][put[i]++] = real ? SHOAL_ANY_FLOAT : SHOAL_ANY_INT;
            ASSERT_OK(put_any(real ? shoal_any_float(i) : shoal_any_int(i)));
        } else if (shoal_queue_qsize(queue)) {
            unsigned i = 0;
            while (got[i] == put[i])
                i++;
            shoal_any *any = get_any();
            double value;
            int64_t integer;
            ASSERT_EQ_INT(shoal_any_kind(any), kinds[i][got[i]++]);
            if (shoal_any_kind(any) == SHOAL_ANY_INT) {
                ASSERT_OK(shoal_any_as_int(any, &integer));
                ASSERT_EQ_INT(integer, i);
            } else {
                ASSERT_OK(shoal_any_as_float(any, &value));
                ASSERT_EQ_DOUBLE(value, i);
            }
            shoal_any_free(any);
        }
    }
    done();
}

TEST(queue_priority_of_bytes_is_that_of_memcmp_and_the_shorter_first)
{
    static const shoal_bytes sorted[] = {{"", 0},       {"\0", 1},      {"\0\0", 2}, {"\0a", 2},
                                         {"a", 1},      {"a\0", 2},     {"aa", 2},   {"ab", 2},
                                         {"b", 1},      {"\x7f", 1},    {"\x80", 1}, {"\xff", 1},
                                         {"\xff\0", 2}, {"\xff\xff", 2}};
    enum { N = sizeof sorted / sizeof *sorted };
    setup(SHOAL_PRIORITY, 0);
    for (unsigned i = 0; i < N; i++) {
        const shoal_bytes *m = &sorted[i * 5 % N]; /* 5 and 14 have no divisor in common */
        ASSERT_OK(shoal_queue_put_bytes(queue, m->bytes, m->size, SHOAL_NOW));
    }
    for (unsigned i = 0; i < N; i++) {
        void *out;
        size_t size;
        ASSERT_OK(shoal_queue_get_bytes(queue, &out, &size, SHOAL_NOW));
        ASSERT_EQ_INT(size, sorted[i].size);
        ASSERT_MEM(out, sorted[i].bytes, size);
        free(out);
    }
    done();
}

/* ---- anys ---- */

static shoal_any *power(unsigned exponent, int add) /* 2 ** exponent + add */
{
    unsigned char bytes[200] = {0};
    int carry = add;
    bytes[exponent / 8] = (unsigned char)(1u << exponent % 8);
    for (size_t i = 0; i < sizeof bytes; i++) {
        carry += bytes[i];
        bytes[i] = (unsigned char)carry;
        carry >>= 8;
    }
    return shoal_any_int_bytes(bytes, sizeof bytes);
}

static shoal_any *minus_power(unsigned exponent, int add) /* - 2 ** exponent + add */
{
    unsigned char bytes[200];
    int carry = add;
    memset(bytes, 0, sizeof bytes);
    for (size_t i = exponent / 8; i < sizeof bytes; i++)
        bytes[i] = 0xff;
    bytes[exponent / 8] = (unsigned char)(0xffu << exponent % 8);
    for (size_t i = 0; i < sizeof bytes; i++) {
        carry += bytes[i];
        bytes[i] = (unsigned char)carry;
        carry >>= 8;
    }
    return shoal_any_int_bytes(bytes, sizeof bytes);
}

enum { MOST = 64 };

/* In ascending order. */
static unsigned numbers(shoal_any *ret[MOST])
{
    shoal_any *all[] = {
        shoal_any_float(-INFINITY),
        minus_power(1200, 0),
        shoal_any_float(-DBL_MAX),
        minus_power(1023, 0),
        minus_power(64, -1),
        minus_power(64, 0),
        minus_power(64, 1),
        minus_power(63, -1),
        shoal_any_int(INT64_MIN),
        shoal_any_int(INT64_MIN + 1),
        shoal_any_int(-9007199254740993),
        shoal_any_float(-9007199254740992.0),
        shoal_any_int(-9007199254740991),
        shoal_any_int(-65536),
        shoal_any_int(-257),
        shoal_any_int(-256),
        shoal_any_int(-255),
        shoal_any_float(-1.5),
        shoal_any_int(-1),
        shoal_any_float(-0.75),
        shoal_any_float(-DBL_MIN),
        shoal_any_float(-4.9406564584124654e-324),
        shoal_any_int(0),
        shoal_any_float(4.9406564584124654e-324),
        shoal_any_float(1e-320),
        shoal_any_float(DBL_MIN),
        shoal_any_float(0.5),
        shoal_any_bool(true),
        shoal_any_float(1.0000000000000002),
        shoal_any_int(2),
        shoal_any_int(255),
        shoal_any_int(256),
        shoal_any_float(256.5),
        shoal_any_int(257),
        shoal_any_int(65536),
        shoal_any_int(9007199254740991),
        shoal_any_float(9007199254740992.0),
        shoal_any_int(9007199254740993),
        shoal_any_int(INT64_MAX),
        shoal_any_float(9223372036854775808.0),
        power(63, 1),
        shoal_any_uint(UINT64_MAX),
        power(64, 0),
        power(64, 1),
        power(1023, 0),
        shoal_any_float(DBL_MAX),
        power(1200, 0),
        shoal_any_float(INFINITY),
    };
    memcpy(ret, all, sizeof all);
    return sizeof all / sizeof *all;
}

static unsigned texts(shoal_any *ret[MOST])
{
    shoal_any *all[] = {
        shoal_any_str(""),
        shoal_any_str_sized("\0", 1),
        shoal_any_str_sized("\0\0", 2),
        shoal_any_str_sized("\0\xc2\x80", 3),
        shoal_any_str("\1"),
        shoal_any_str("a"),
        shoal_any_str_sized("a\0", 2),
        shoal_any_str("aa"),
        shoal_any_str("b"),
        shoal_any_str("\xc3\xa9"),         /* U+E9 */
        shoal_any_str("\xed\xa0\x80"),     /* U+D800 */
        shoal_any_str("\xef\xbf\xbf"),     /* U+FFFF */
        shoal_any_str("\xf0\x90\x80\x80"), /* U+10000 */
    };
    memcpy(ret, all, sizeof all);
    return sizeof all / sizeof *all;
}

static shoal_any *one(int64_t value)
{
    return shoal_any_int(value);
}

static unsigned tuples(shoal_any *ret[MOST])
{
    shoal_any *all[] = {
        shoal_any_tuple(),
        shoal_any_tuple(one(-5), shoal_any_str("z")),
        shoal_any_tuple(one(1)),
        shoal_any_tuple(one(1), shoal_any_str("")),
        shoal_any_tuple(one(1), shoal_any_str(""), one(0)),
        shoal_any_tuple(shoal_any_float(1), shoal_any_str("a")),
        shoal_any_tuple(shoal_any_bool(true), shoal_any_str("b"), shoal_any_none(), one(3)),
        shoal_any_tuple(one(1), shoal_any_str("b"), shoal_any_none(), one(4)),
        shoal_any_tuple(one(2), shoal_any_list()),
        shoal_any_tuple(one(2), shoal_any_list(shoal_any_list(one(3)))),
        shoal_any_tuple(one(2), shoal_any_list(shoal_any_list(one(3)), one(-1))),
        shoal_any_tuple(one(2), shoal_any_list(shoal_any_list(one(3), one(0)))),
        shoal_any_tuple(one(2), shoal_any_list(shoal_any_list(one(4)))),
        shoal_any_tuple(one(3), shoal_any_dict_from(NULL, 0)),
        shoal_any_tuple(one(4), shoal_any_float(NAN)),
        shoal_any_tuple(one(5), shoal_any_bytes("\xff", 1)),
        shoal_any_tuple(one(5), shoal_any_bytes("\xff\0", 2)),
    };
    memcpy(ret, all, sizeof all);
    return sizeof all / sizeof *all;
}

/* Each two of them, in each order, come out in order; and all of them together. */
static void check_sorted(unsigned make(shoal_any *ret[MOST]))
{
    shoal_any *all[MOST], *out;
    unsigned n = make(all), step = 7;
    setup(SHOAL_PRIORITY, 0);
    for (unsigned i = 0; i < n; i++) {
        ASSERT_NOT_NULL(all[i]);
        for (unsigned k = 0; k < i; k++)
            for (unsigned turn = 0; turn < 2; turn++) {
                ASSERT_OK(shoal_queue_put(queue, all[turn ? i : k], SHOAL_NOW));
                ASSERT_OK(shoal_queue_put(queue, all[turn ? k : i], SHOAL_NOW));
                for (unsigned m = 0; m < 2; m++) {
                    unsigned char wanted[1000], got[1000];
                    size_t size = any_key(all[m ? i : k], wanted);
                    out = get_any();
                    ASSERT_EQ_INT(any_key(out, NULL), size);
                    any_key(out, got);
                    if (memcmp(got, wanted, size))
                        FAIL("of values %u and %u (put %s) the wrong one came first", k, i,
                             turn ? "last first" : "first first");
                    shoal_any_free(out);
                }
            }
    }
    while (n % step == 0)
        step++;
    for (unsigned i = 0; i < n; i++)
        ASSERT_OK(shoal_queue_put(queue, all[i * step % n], SHOAL_NOW));
    for (unsigned i = 0; i < n; i++)
        expect_any(all[i]);
    done();
}

TEST(queue_priority_of_numbers_is_exact_whatever_their_size_and_kind)
{
    check_sorted(numbers);
}

TEST(queue_priority_of_strs_is_that_of_code_points)
{
    check_sorted(texts);
}

TEST(queue_priority_of_tuples_is_that_of_what_first_differs)
{
    check_sorted(tuples);
}

TEST(queue_priority_numbers_that_are_equal_have_one_key)
{
    unsigned char a[300], b[300];
    static const double values[] = {0, 1, -1, 2, 255, -256, 65536, 1.0 / (1 << 20), 1e300, -1e25};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        unsigned char bytes[BIG_FLOAT];
        shoal_any *real = shoal_any_float(values[i]), *integer;
        if (fabs(values[i]) >= 9.2e18)
            integer = shoal_any_int_bytes(bytes, any_float_bytes(values[i], bytes));
        else if (values[i] == (double)(int64_t)values[i])
            integer = shoal_any_int((int64_t)values[i]);
        else
            integer = shoal_any_copy(real);
        size_t size = any_key(real, a);
        ASSERT_LE_INT(size, sizeof a);
        ASSERT_EQ_INT(any_key(integer, b), size);
        ASSERT_MEM(a, b, size);
        shoal_any_free(real);
        shoal_any_free(integer);
    }
    shoal_any *minus = shoal_any_float(-0.0), *zero = shoal_any_int(0);
    size_t size = any_key(minus, a);
    ASSERT_EQ_INT(any_key(zero, b), size);
    ASSERT_MEM(a, b, size);
    shoal_any_free(minus);
    shoal_any_free(zero);
}

/* What is there, and what then cannot be put. */
TEST(queue_priority_put_of_what_cannot_be_compared_is_an_error_and_puts_nothing)
{
    struct {
        shoal_any *there, *other;
        bool fits;
    } cases[] = {
        {shoal_any_int(1), shoal_any_str("1"), false},
        {shoal_any_str("1"), shoal_any_bytes("1", 1), false},
        {shoal_any_none(), shoal_any_int(0), false},
        {shoal_any_none(), shoal_any_none(), true},
        {shoal_any_float(NAN), shoal_any_float(1), false},
        {shoal_any_float(NAN), shoal_any_float(NAN), false},
        {shoal_any_dict_from(NULL, 0), shoal_any_dict_from(NULL, 0), false},
        {shoal_any_list(one(1)), shoal_any_tuple(one(1)), false},
        {shoal_any_list(one(1)), shoal_any_list(one(1)), true},
        {shoal_any_list(one(1), shoal_any_none()), shoal_any_list(one(1)), true},
        {shoal_any_list(one(1), shoal_any_none()), shoal_any_list(one(1), one(1)), false},
        {shoal_any_tuple(one(1), shoal_any_dict_from(NULL, 0)),
         shoal_any_tuple(one(1), shoal_any_dict_from(NULL, 0)), false},
        {shoal_any_tuple(one(1), shoal_any_dict_from(NULL, 0)),
         shoal_any_tuple(one(2), shoal_any_str("")), true},
        {shoal_any_tuple(one(-70000), shoal_any_str("a")),
         shoal_any_tuple(one(-70000), shoal_any_list()), false},
        {shoal_any_tuple(shoal_any_str_sized("\0a", 2), one(1)),
         shoal_any_tuple(shoal_any_str_sized("\0a", 2), shoal_any_str("")), false},
        {shoal_any_str("\2"), shoal_any_str("\3"), true},
        {shoal_any_float(-INFINITY), shoal_any_int(-3), true},
    };
    setup(SHOAL_PRIORITY, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int turn = 0; turn < 2; turn++) {
            const shoal_any *there = turn ? cases[i].other : cases[i].there;
            uint32_t before = objects();
            ASSERT_OK(shoal_queue_put(queue, there, SHOAL_NOW));
            uint32_t with = objects();
            int rc = shoal_queue_put(queue, turn ? cases[i].there : cases[i].other, SHOAL_NOW);
            if (rc != (cases[i].fits ? 0 : -EINVAL))
                FAIL("case %zu, %s: %d", i, turn ? "turned" : "as it stands", rc);
            if (rc) {
                ASSERT_NOT_NULL(strstr(shoal_error_detail(), "cannot be compared with"));
                ASSERT_EQ_INT(objects(), with);
                ASSERT_EQ_INT(shoal_queue_qsize(queue), 1);
            } else {
                shoal_any_free(get_any());
            }
            shoal_any_free(get_any());
            ASSERT_EQ_INT(objects(), before);
        }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        shoal_any_free(cases[i].there);
        shoal_any_free(cases[i].other);
    }
    done();
}

TEST(queue_priority_takes_either_anys_or_bytes)
{
    setup(SHOAL_PRIORITY, 0);
    ASSERT_OK(put(1, SHOAL_NOW));
    ASSERT_ERR(put_any(shoal_any_bytes("a", 1)), -EINVAL);
    ASSERT_EQ_INT(get(SHOAL_NOW), 1);
    ASSERT_OK(put_any(shoal_any_bytes("a", 1)));
    ASSERT_ERR(put(1, SHOAL_NOW), -EINVAL);
    expect_any(shoal_any_bytes("a", 1));
    ASSERT_EQ_INT(shoal_queue_qsize(queue), 0);
    done();
}

/* ---- lengths, many ---- */

static void lengths(unsigned kind)
{
    static const size_t sizes[] = {0, 1, 15, 16, 63, 64, 4095, 4096, 4097, 100000, 3 << 20};
    enum { N = sizeof sizes / sizeof *sizes };
    static unsigned char in[3 << 20], out[3 << 20];
    setup(kind, 0);
    uint32_t before = objects();
    for (unsigned i = 0; i < N; i++) { /* all zeroes: the shorter comes first */
        memset(in, kind == SHOAL_LIFO ? (int)i : 0, sizes[i]);
        ASSERT_OK(shoal_queue_put_bytes(queue, in, sizes[i], SHOAL_NOW));
    }
    ASSERT_EQ_INT(shoal_queue_qsize(queue), N);
    for (unsigned i = 0; i < N; i++) {
        size_t wanted = sizes[kind == SHOAL_LIFO ? N - 1 - i : i], size = 77;
        if (wanted) {
            ASSERT_ERR(shoal_queue_get_bytes_into(queue, out, wanted - 1, &size, SHOAL_NOW),
                       -EMSGSIZE);
            ASSERT_EQ_INT(size, wanted);
        }
        ASSERT_OK(shoal_queue_get_bytes_into(queue, out, sizeof out, &size, SHOAL_NOW));
        ASSERT_EQ_INT(size, wanted);
        memset(in, kind == SHOAL_LIFO ? (int)(N - 1 - i) : 0, size);
        ASSERT_MEM(out, in, size);
    }
    ASSERT_EQ_INT(objects(), before);
    ASSERT_ERR(shoal_queue_put_bytes(queue, in, SIZE_MAX, SHOAL_NOW), -EMSGSIZE);
    done();
}

TEST(queue_lifo_messages_of_any_length_come_out_as_they_went_in)
{
    lengths(SHOAL_LIFO);
}

TEST(queue_priority_messages_of_any_length_come_out_as_they_went_in)
{
    lengths(SHOAL_PRIORITY);
}

TEST(queue_kinds_put_many_and_get_many_go_the_queues_way)
{
    static const shoal_bytes in[] = {{"b", 1}, {"dddd", 4}, {"", 0}, {"cc", 2}};
    for (unsigned kind = SHOAL_LIFO; kind <= SHOAL_PRIORITY; kind++) {
        static const char *const wanted[][4] =
            {[SHOAL_LIFO] = {"cc", "", "dddd", "b"}, [SHOAL_PRIORITY] = {"", "b", "cc", "dddd"}};
        shoal_bytes out[8], none = {NULL, 3};
        char buffer[100];
        setup(kind, 0);
        ASSERT_EQ_INT(shoal_queue_put_many(queue, in, 4, SHOAL_NOW), 4);
        ASSERT_ERR(shoal_queue_put_many(queue, &none, 1, SHOAL_NOW), -EINVAL);
        ASSERT_EQ_INT(shoal_queue_get_many(queue, out, 8, buffer, sizeof buffer, SHOAL_NOW), 4);
        for (int i = 0; i < 4; i++) {
            ASSERT_EQ_INT(out[i].size, strlen(wanted[kind][i]));
            ASSERT_MEM(out[i].bytes, wanted[kind][i], out[i].size);
        }
        ASSERT_ERR(shoal_queue_get_many(queue, out, 8, buffer, sizeof buffer, SHOAL_NOW), -EAGAIN);
        ASSERT_EQ_INT(shoal_queue_put_many(queue, in, 4, SHOAL_NOW), 4);
        ASSERT_EQ_INT(shoal_queue_get_many(queue, out, 2, buffer, sizeof buffer, SHOAL_NOW), 2);
        /* as many as fit: LIFO has dddd and b yet, PRIORITY cc and dddd */
        ASSERT_EQ_INT(shoal_queue_get_many(queue, out, 8, buffer, kind == SHOAL_LIFO ? 4 : 5,
                                           SHOAL_NOW),
                      1);
        if (kind == SHOAL_PRIORITY)
            ASSERT_ERR(shoal_queue_get_many(queue, out, 8, buffer, 3, SHOAL_NOW), -EMSGSIZE);
        ASSERT_EQ_INT(shoal_queue_get_many(queue, out, 8, buffer, 4, SHOAL_NOW), 1);
        done();
    }
}

TEST(queue_kinds_of_10000_messages_keep_them_and_give_the_memory_back)
{
    enum { MANY = 10000 };
    for (unsigned kind = SHOAL_LIFO; kind <= SHOAL_PRIORITY; kind++) {
        setup(kind, 0);
        struct heap *heap = header_payload(handle_of(queue)->header);
        uint32_t before = objects();
        for (uint64_t i = 0; i < MANY; i++)
            ASSERT_OK(put(i * 7919 % MANY, SHOAL_NOW));
        ASSERT_EQ_INT(shoal_queue_qsize(queue), MANY);
        ASSERT_EQ_INT(objects(), before + MANY);
        ASSERT_EQ_INT(heap->runs[heap->now].units, 32); /* of 512 names */
        for (uint64_t i = 0; i < MANY; i++)
            ASSERT_EQ_INT(get(SHOAL_NOW), kind == SHOAL_LIFO ? (MANY - 1 - i) * 7919 % MANY : i);
        ASSERT_ERR((int)get(SHOAL_NOW), -EAGAIN);
        ASSERT_EQ_INT(objects(), before);
        ASSERT_EQ_INT(heap->runs[heap->now].units, 1);
        ASSERT_EQ_INT(heap->runs[!heap->now].payload, 0);
        done();
    }
}

TEST(queue_kinds_take_what_is_in_them_along_when_they_are_closed)
{
    for (unsigned kind = SHOAL_LIFO; kind <= SHOAL_PRIORITY; kind++) {
        shared = words_open();
        uint32_t before = objects();
        uint64_t units = unit_used();
        words_close();
        for (int round = 0; round < 2; round++) {
            setup(kind, 0);
            for (uint64_t i = 0; i < 2000; i++)
                ASSERT_OK(put(i, SHOAL_NOW));
            done();
            shared = words_open();
            ASSERT_EQ_INT(objects(), before);
            words_close();
            if (round) /* groups of objects keep their payloads */
                ASSERT_EQ_U64(unit_used(), units);
            units = unit_used();
        }
    }
}

/* ---- waiting ---- */

TEST(queue_kinds_wait_until_their_deadlines)
{
    for (unsigned kind = SHOAL_LIFO; kind <= SHOAL_PRIORITY; kind++) {
        setup(kind, 2);
        ASSERT_EQ_INT(shoal_queue_empty(queue), 1);
        ASSERT_ERR((int)get(SHOAL_NOW), -EAGAIN);
        ASSERT_ERR((int)get(-5), -EINVAL);
        ASSERT_ERR((int)get(shoal_after(0.005)), -ETIMEDOUT);
        ASSERT_OK(put(1, SHOAL_NOW));
        ASSERT_EQ_INT(shoal_queue_full(queue), 0);
        ASSERT_OK(put(2, SHOAL_NOW));
        ASSERT_EQ_INT(shoal_queue_full(queue), 1);
        uint32_t before = objects();
        ASSERT_ERR(put(3, SHOAL_NOW), -EAGAIN);
        ASSERT_ERR(put(3, shoal_after(0.005)), -ETIMEDOUT);
        ASSERT_NOT_NULL(strstr(shoal_error_detail(), "shoal_queue_put_bytes"));
        ASSERT_EQ_INT(objects(), before);
        ASSERT_EQ_INT(get(SHOAL_NOW), kind == SHOAL_LIFO ? 2 : 1);
        ASSERT_OK(put(3, SHOAL_NOW));
        ASSERT_EQ_INT(shoal_queue_qsize(queue), 2);
        done();
    }
}

enum { PRODUCERS = 3, CONSUMERS = 3, EACH = 4000 };

static void produce(void)
{
    long who = atomic_fetch_add(&shared[0], 1);
    for (long i = 0; i < EACH; i++)
        ASSERT_OK(put((uint64_t)(who << 32 | i), SHOAL_FOREVER));
}

/* Each sum of what was taken tells whether all came, and came once. */
static void consume(void)
{
    for (int64_t got; (got = get(SHOAL_FOREVER)) >= 0;) {
        if (got >> 32 == PRODUCERS)
            return;
        atomic_fetch_add(&shared[1], 1);
        atomic_fetch_add(&shared[2 + (got >> 32)], (long)(got & 0xffffffff) + 1);
    }
    FAIL("a get failed: %s", shoal_error_detail());
}

static void conserve(unsigned kind, uint64_t maxsize)
{
    pid_t producers[PRODUCERS], consumers[CONSUMERS];
    setup(kind, maxsize);
    uint32_t before = objects();
    for (int i = 0; i < CONSUMERS; i++)
        consumers[i] = child(consume);
    for (int i = 0; i < PRODUCERS; i++)
        producers[i] = child(produce);
    for (int i = 0; i < PRODUCERS; i++)
        ends_well(producers[i]);
    while (shoal_queue_qsize(queue))
        nap();
    for (int i = 0; i < CONSUMERS; i++)
        ASSERT_OK(put((uint64_t)PRODUCERS << 32, SHOAL_FOREVER));
    for (int i = 0; i < CONSUMERS; i++)
        ends_well(consumers[i]);
    ASSERT_EQ_INT(atomic_load(&shared[1]), PRODUCERS * EACH);
    for (int i = 0; i < PRODUCERS; i++)
        ASSERT_EQ_INT(atomic_load(&shared[2 + i]), (long)EACH * (EACH + 1) / 2);
    ASSERT_EQ_INT(shoal_queue_qsize(queue), 0);
    ASSERT_EQ_INT(objects(), before);
    done();
}

TEST(queue_lifo_of_several_producers_and_consumers_loses_and_doubles_nothing)
{
    conserve(SHOAL_LIFO, 0);
}

TEST(queue_lifo_with_a_bound_of_several_producers_and_consumers)
{
    conserve(SHOAL_LIFO, 3);
}

TEST(queue_priority_of_several_producers_and_consumers_loses_and_doubles_nothing)
{
    conserve(SHOAL_PRIORITY, 0);
}

TEST(queue_priority_with_a_bound_of_several_producers_and_consumers)
{
    conserve(SHOAL_PRIORITY, 3);
}

static void get_one(void)
{
    ASSERT_LE_INT(0, get(SHOAL_FOREVER));
}

static void put_one(void)
{
    ASSERT_OK(put(1, SHOAL_FOREVER));
}

TEST(queue_kinds_wake_as_many_as_there_are_messages_or_places)
{
    for (unsigned kind = SHOAL_LIFO; kind <= SHOAL_PRIORITY; kind++) {
        pid_t pids[4];
        setup(kind, 4);
        for (int i = 0; i < 4; i++)
            until_asleep(pids[i] = child(get_one));
        for (int i = 0; i < 4; i++)
            ASSERT_OK(put(1, SHOAL_NOW));
        for (int i = 0; i < 4; i++)
            ends_well(pids[i]);
        for (int i = 0; i < 4; i++)
            ASSERT_OK(put(1, SHOAL_NOW));
        for (int i = 0; i < 4; i++)
            until_asleep(pids[i] = child(put_one));
        for (int i = 0; i < 4; i++)
            ASSERT_EQ_INT(get(SHOAL_NOW), 1);
        for (int i = 0; i < 4; i++)
            ends_well(pids[i]);
        ASSERT_EQ_INT(shoal_queue_qsize(queue), 4);
        done();
    }
}

static void get_interrupted(void)
{
    ASSERT_ERR((int)get(SHOAL_FOREVER), -EINTR);
}

TEST(queue_kinds_get_is_interrupted_by_a_signal)
{
    setup(SHOAL_PRIORITY, 0);
    let_signals_interrupt();
    interrupt_until_end(child(get_interrupted));
    done();
}

/* ---- counting, ends ---- */

static void work(void)
{
    while (get(SHOAL_FOREVER) != 9999) {
        atomic_fetch_add(&shared[0], 1);
        ASSERT_OK(shoal_queue_task_done(queue));
    }
}

TEST(queue_kinds_join_waits_until_all_is_finished)
{
    for (unsigned kind = SHOAL_LIFO; kind <= SHOAL_PRIORITY; kind++) {
        setup(kind, 0);
        ASSERT_OK(shoal_queue_join(queue, SHOAL_NOW));
        ASSERT_ERR(shoal_queue_task_done(queue), -EINVAL);
        pid_t pid = child(work);
        for (int round = 1; round <= 20; round++) {
            for (uint64_t i = 0; i < 50; i++)
                ASSERT_OK(put(i, SHOAL_NOW));
            ASSERT_OK(shoal_queue_join(queue, SHOAL_FOREVER));
            ASSERT_EQ_INT(atomic_load(&shared[0]), round * 50);
        }
        ASSERT_ERR(shoal_queue_task_done(queue), -EINVAL);
        ASSERT_OK(put(9999, SHOAL_NOW));
        ends_well(pid);
        ASSERT_ERR(shoal_queue_join(queue, SHOAL_NOW), -EAGAIN);
        ASSERT_ERR(shoal_queue_join(queue, shoal_after(0.005)), -ETIMEDOUT);
        done();
    }
}

TEST(queue_kinds_shutdown_lets_the_rest_be_taken_or_drops_it)
{
    for (unsigned kind = SHOAL_LIFO; kind <= SHOAL_PRIORITY; kind++) {
        setup(kind, 0);
        uint32_t before = objects();
        ASSERT_OK(put(1, SHOAL_NOW));
        ASSERT_OK(shoal_queue_shutdown(queue, 0));
        ASSERT_ERR(put(2, SHOAL_FOREVER), -EPIPE);
        ASSERT_EQ_INT(get(SHOAL_FOREVER), 1);
        ASSERT_ERR((int)get(SHOAL_FOREVER), -EPIPE);
        ASSERT_OK(shoal_queue_task_done(queue));
        ASSERT_EQ_INT(objects(), before);
        done();
        setup(kind, 0);
        ASSERT_OK(put(1, SHOAL_NOW));
        ASSERT_OK(put(2, SHOAL_NOW));
        ASSERT_OK(shoal_queue_shutdown(queue, 1));
        ASSERT_ERR((int)get(SHOAL_FOREVER), -EPIPE);
        ASSERT_OK(shoal_queue_join(queue, SHOAL_NOW));
        ASSERT_EQ_INT(objects(), before);
        done();
    }
}

static void get_until_shut(void)
{
    ASSERT_ERR((int)get(SHOAL_FOREVER), -EPIPE);
}

static void put_until_shut(void)
{
    ASSERT_ERR(put(0, SHOAL_FOREVER), -EPIPE);
}

TEST(queue_kinds_shutdown_wakes_all_who_wait)
{
    for (unsigned kind = SHOAL_LIFO; kind <= SHOAL_PRIORITY; kind++)
        for (int full = 0; full < 2; full++) {
            pid_t pids[3];
            setup(kind, 1);
            if (full)
                ASSERT_OK(put(1, SHOAL_NOW));
            for (int i = 0; i < 3; i++)
                until_asleep(pids[i] = child(full ? put_until_shut : get_until_shut));
            ASSERT_OK(shoal_queue_shutdown(queue, 0));
            for (int i = 0; i < 3; i++)
                ends_well(pids[i]);
            done();
        }
}

static shoal_reference travels;

static void open_and_get(void)
{
    shoal_queue *q;
    ASSERT_OK(shoal_queue_open(&q, &travels));
    queue = q;
    ASSERT_EQ_INT(get(SHOAL_NOW), 1);
    ASSERT_EQ_INT(get(SHOAL_NOW), 2);
    shoal_queue_close(q);
}

TEST(queue_kinds_are_opened_by_reference_as_what_they_are)
{
    setup(SHOAL_PRIORITY, 0);
    ASSERT_OK(put(2, SHOAL_NOW));
    ASSERT_OK(put(1, SHOAL_NOW));
    ASSERT_OK(shoal_queue_reference(queue, &travels));
    ends_well(child(open_and_get));
    ASSERT_EQ_INT(shoal_queue_qsize(queue), 0);
    done();
}

/* ---- who is inside ---- */

/* The lock is somebody's who stands still: who comes waits until its deadline, and goes on then. */
TEST(queue_kinds_with_one_stopped_inside_are_waited_for_until_the_deadline)
{
    setup(SHOAL_PRIORITY, 0);
    struct heap *heap = header_payload(handle_of(queue)->header);
    ASSERT_OK(put(1, SHOAL_NOW));
    atomic_store(&heap->owner, shoal_thread.me);
    ASSERT_ERR(put(2, SHOAL_NOW), -EDEADLK);
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        ASSERT_ERR(put(2, SHOAL_NOW), -EAGAIN);
        ASSERT_ERR(put(2, shoal_after(0.005)), -ETIMEDOUT);
        ASSERT_ERR((int)get(shoal_after(0.005)), -ETIMEDOUT);
        ASSERT_EQ_INT(shoal_queue_qsize(queue), 1);
        atomic_store(&shared[0], 1);
        ASSERT_OK(put(2, SHOAL_FOREVER));
        _exit(0);
    }
    until_word(&shared[0], 1);
    until_asleep(pid);
    owner_release(&heap->owner, &heap->event);
    ends_well(pid);
    ASSERT_EQ_INT(get(SHOAL_NOW), 1);
    ASSERT_EQ_INT(get(SHOAL_NOW), 2);
    done();
}
