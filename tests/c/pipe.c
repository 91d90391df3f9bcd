/* pipe: what pipe.h promises of pipes. */
#include "processes.h"
#include <stdlib.h>

enum { LONG = 1 << 20, N = 2000 };

static shoal_connection *here, *there;
static _Atomic long *shared;
static uint32_t before;

static void setup_with(unsigned flags)
{
    shared = words_open();
    before = objects();
    ASSERT_OK(shoal_pipe(&here, &there, &(shoal_pipe_options){.flags = flags, .name = "mine"}));
}

static void setup(void)
{
    setup_with(0);
}

/* With both ends goes all that the pipe had, as soon as children that had them are known to have
 * ended. */
static void done(void)
{
    here = shoal_connection_close(here);
    there = shoal_connection_close(there);
    while (objects() != before) {
        ASSERT_OK(shoal_pipe(&here, &there, NULL));
        ASSERT_ERR(shoal_connection_poll(here, SHOAL_NOW), -EAGAIN);
        here = shoal_connection_close(here);
        there = shoal_connection_close(there);
        nap();
    }
    words_close();
}

static void say(shoal_connection *c, const char *text)
{
    ASSERT_OK(shoal_connection_send_bytes(c, text, strlen(text), SHOAL_FOREVER));
}

static void expect(shoal_connection *c, const char *text)
{
    char *got;
    size_t size;
    ASSERT_OK(shoal_connection_recv_bytes(c, (void **)&got, &size, SHOAL_FOREVER));
    ASSERT_EQ_INT(got[size], 0);
    ASSERT_STR(got, text);
    free(got);
}

/* Both ways of receiving say it, and go on saying it; and so does poll, that there is an end. */
static void expect_end(shoal_connection *c)
{
    char buffer[4], *got = NULL;
    shoal_any *any = NULL;
    size_t size = 77;
    for (int i = 0; i < 2; i++) {
        ASSERT_OK(shoal_connection_poll(c, SHOAL_NOW));
        ASSERT_ERR(shoal_connection_recv_bytes(c, (void **)&got, &size, SHOAL_FOREVER), -EPIPE);
        ASSERT_ERR(shoal_connection_recv_bytes_into(c, buffer, 4, &size, SHOAL_NOW), -EPIPE);
        ASSERT_ERR(shoal_connection_recv(c, &any, SHOAL_FOREVER), -EPIPE);
    }
    ASSERT_TRUE(strstr(shoal_error_detail(), "the peer is gone"));
    ASSERT_NULL(got);
    ASSERT_NULL(any);
    ASSERT_EQ_INT(size, 77);
}

static void expect_nobody(shoal_connection *c)
{
    static char bytes[LONG];
    shoal_any *any = shoal_any_int(1);
    ASSERT_ERR(shoal_connection_send_bytes(c, "x", 1, SHOAL_FOREVER), -EPIPE);
    ASSERT_ERR(shoal_connection_send_bytes(c, bytes, LONG, SHOAL_FOREVER), -EPIPE);
    ASSERT_ERR(shoal_connection_send(c, any, SHOAL_FOREVER), -EPIPE);
    shoal_any_free(any);
}

static void fill(unsigned char *bytes, size_t size, size_t seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(i * 31 + (i >> 8) + seed);
}

TEST(pipe_options_and_arguments_are_checked)
{
    shoal_connection *a = NULL, *b = NULL;
    void *bytes;
    size_t size;
    ASSERT_ERR(shoal_pipe(NULL, &b, NULL), -EINVAL);
    ASSERT_ERR(shoal_pipe(&a, NULL, NULL), -EINVAL);
    ASSERT_ERR(shoal_pipe(&a, &b, &(shoal_pipe_options){.flags = 2}), -EINVAL);
    char name[100] = {0};
    memset(name, 'x', sizeof name - 1);
    ASSERT_ERR(shoal_pipe(&a, &b, &(shoal_pipe_options){.name = name}), -EINVAL);
    ASSERT_TRUE(!a && !b);
    setup();
    ASSERT_ERR(shoal_connection_send_bytes(here, NULL, 1, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_connection_send(here, NULL, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_connection_recv(here, NULL, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_connection_recv_bytes(here, NULL, &size, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_connection_recv_bytes_into(here, NULL, 1, &size, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_connection_reference(here, NULL), -EINVAL);
    ASSERT_OK(shoal_connection_flush(here, SHOAL_NOW));
    shoal_connection *closed = here;
    done();
    ASSERT_ERR(shoal_connection_send_bytes(closed, "x", 1, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_connection_send(closed, NULL, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_connection_recv_bytes(closed, &bytes, &size, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_connection_poll(closed, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_connection_set_limit(closed, 1), -EBADF);
    ASSERT_ERR(shoal_connection_fileno(closed), -EBADF);
    ASSERT_ERR(shoal_connection_flush(closed, SHOAL_NOW), -EBADF);
    ASSERT_NULL(shoal_connection_close(closed));
}

TEST(pipe_carries_messages_both_ways_in_order)
{
    setup();
    say(here, "one");
    say(there, "uno");
    say(here, "");
    say(here, "three");
    say(there, "due");
    expect(there, "one");
    expect(here, "uno");
    expect(there, "");
    expect(there, "three");
    expect(here, "due");
    ASSERT_ERR(shoal_connection_poll(here, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_connection_poll(there, SHOAL_NOW), -EAGAIN);
    done();
}

TEST(pipe_one_way_refuses_the_other)
{
    void *bytes;
    size_t size;
    setup_with(SHOAL_ONE_WAY);
    say(there, "x");
    ASSERT_ERR(shoal_connection_send_bytes(here, "x", 1, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_connection_flush(here, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_connection_recv_bytes(there, &bytes, &size, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_connection_poll(there, SHOAL_NOW), -EBADF);
    expect(here, "x");
    there = shoal_connection_close(there);
    expect_end(here);
    done();
    setup_with(SHOAL_ONE_WAY);
    here = shoal_connection_close(here);
    expect_nobody(there);
    done();
}

TEST(pipe_carries_anys)
{
    shoal_any *any = shoal_any_list(shoal_any_int(42), shoal_any_none(), shoal_any_str("hello")),
              *got = NULL;
    setup();
    ASSERT_OK(shoal_connection_send(here, any, SHOAL_NOW));
    say(here, "no pickle");
    ASSERT_OK(shoal_connection_send(here, any, SHOAL_NOW));
    ASSERT_OK(shoal_connection_recv(there, &got, SHOAL_FOREVER));
    ASSERT_EQ_INT(shoal_any_equal(any, got), 1);
    got = shoal_any_free(got);
    ASSERT_ERR(shoal_connection_recv(there, &got, SHOAL_FOREVER), -EBADMSG);
    ASSERT_NULL(got);
    ASSERT_OK(shoal_connection_recv(there, &got, SHOAL_FOREVER));
    ASSERT_EQ_INT(shoal_any_equal(any, got), 1);
    shoal_any_free(got);
    shoal_any_free(any);
    done();
}

/* Lists that each have the one before it sixteen times in them. */
TEST(pipe_send_of_an_any_that_no_recv_would_decode_is_refused)
{
    char bytes[1000], *p = bytes;
    shoal_any *any, *got = NULL;
    p += sprintf(p, "\x80\4](]\x94");
    for (int level = 0; level < 7; level++) {
        p += sprintf(p, "](");
        for (int k = 0; k < 16; k++, p += 2)
            memcpy(p, (char[]){'h', (char)level}, 2);
        p += sprintf(p, "e\x94");
    }
    p += sprintf(p, "e.");
    ASSERT_OK(shoal_any_decode(&any, bytes, (size_t)(p - bytes),
                               &(shoal_any_limits){.nodes = SIZE_MAX, .bytes = (size_t)1 << 40}));
    setup();
    ASSERT_ERR(shoal_connection_send(here, any, SHOAL_NOW), -EMSGSIZE);
    ASSERT_ERR(shoal_connection_recv(there, &got, SHOAL_NOW), -EAGAIN);
    done();
    shoal_any_free(any);
}

TEST(pipe_messages_of_any_length_come_out_as_they_went_in)
{
    static const size_t sizes[] = {0, 1, 16, 4095, 4096, 4097, 70000, LONG};
    static unsigned char out[LONG], in[LONG];
    setup();
    for (int round = 0; round < 4; round++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            void *got;
            size_t size;
            shoal_connection *from = round & 1 ? here : there, *to = round & 1 ? there : here;
            fill(out, sizes[i], i);
            ASSERT_OK(shoal_connection_send_bytes(from, out, sizes[i], SHOAL_NOW));
            if (round & 2) {
                ASSERT_OK(shoal_connection_recv_bytes_into(to, in, LONG, &size, SHOAL_NOW));
                got = in;
            } else {
                ASSERT_OK(shoal_connection_recv_bytes(to, &got, &size, SHOAL_NOW));
                ASSERT_EQ_INT(((char *)got)[size], 0);
            }
            ASSERT_EQ_INT(size, sizes[i]);
            ASSERT_EQ_INT(memcmp(got, out, size), 0);
            if (got != in)
                free(got);
        }
    done();
}

TEST(pipe_message_that_is_too_long_stays_the_next_one)
{
    static char bytes[LONG];
    static const size_t sizes[] = {9, LONG};
    setup();
    for (int i = 0; i < 2; i++) {
        char buffer[8];
        void *got = NULL;
        shoal_any *any = NULL;
        size_t size = 0;
        ASSERT_OK(shoal_connection_send_bytes(here, bytes, sizes[i], SHOAL_NOW));
        ASSERT_ERR(shoal_connection_recv_bytes_into(there, buffer, 8, &size, SHOAL_NOW), -EMSGSIZE);
        ASSERT_EQ_INT(size, sizes[i]);
        size = 0;
        ASSERT_OK(shoal_connection_set_limit(there, 8));
        ASSERT_ERR(shoal_connection_recv_bytes(there, &got, &size, SHOAL_NOW), -EMSGSIZE);
        ASSERT_EQ_INT(size, sizes[i]);
        ASSERT_ERR(shoal_connection_recv(there, &any, SHOAL_NOW), -EMSGSIZE);
        ASSERT_NULL(got);
        ASSERT_NULL(any);
        ASSERT_OK(shoal_connection_set_limit(there, 0));
        ASSERT_OK(shoal_connection_recv_bytes(there, &got, &size, SHOAL_NOW));
        ASSERT_EQ_INT(size, sizes[i]);
        free(got);
    }
    done();
}

TEST(pipe_recv_and_poll_wait_until_their_deadline)
{
    char buffer[4];
    size_t size;
    setup();
    ASSERT_ERR(shoal_connection_recv_bytes_into(here, buffer, 4, &size, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_connection_recv_bytes_into(here, buffer, 4, &size, shoal_after(0.01)),
               -ETIMEDOUT);
    ASSERT_ERR(shoal_connection_poll(here, shoal_after(0.01)), -ETIMEDOUT);
    say(there, "x");
    ASSERT_OK(shoal_connection_poll(here, SHOAL_NOW));
    ASSERT_OK(shoal_connection_poll(here, SHOAL_FOREVER));
    expect(here, "x");
    ASSERT_ERR(shoal_connection_poll(here, SHOAL_NOW), -EAGAIN);
    done();
}

/* ---- the end ---- */

TEST(pipe_rest_is_received_after_the_peer_has_closed_its_end)
{
    static char bytes[LONG];
    void *got;
    size_t size;
    setup();
    say(there, "one");
    ASSERT_OK(shoal_connection_send_bytes(there, bytes, LONG, SHOAL_NOW));
    say(there, "three");
    say(here, "nobody receives it");
    ASSERT_OK(shoal_connection_send_bytes(here, bytes, LONG, SHOAL_NOW));
    there = shoal_connection_close(there);
    expect_nobody(here);
    expect(here, "one");
    ASSERT_OK(shoal_connection_recv_bytes(here, &got, &size, SHOAL_FOREVER));
    ASSERT_EQ_INT(size, LONG);
    free(got);
    expect(here, "three");
    expect_end(here);
    done();
}

TEST(pipe_end_that_a_child_has_too_is_open_until_both_have_closed_it)
{
    setup();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        here = shoal_connection_close(here);
        until_word(shared, 1);
        say(there, "still here");
        there = shoal_connection_close(there);
        until_word(shared, 2);
        _exit(0);
    }
    there = shoal_connection_close(there);
    ASSERT_ERR(shoal_connection_poll(here, SHOAL_NOW), -EAGAIN);
    atomic_store(shared, 1);
    expect(here, "still here");
    ASSERT_OK(shoal_connection_poll(here, SHOAL_FOREVER));
    expect_end(here);
    expect_nobody(here);
    atomic_store(shared, 2);
    ends_well(pid);
    done();
}

static void answer(void)
{
    char buffer[64];
    size_t size;
    here = shoal_connection_close(here);
    while (!shoal_connection_recv_bytes_into(there, buffer, sizeof buffer, &size, SHOAL_FOREVER))
        ASSERT_OK(shoal_connection_send_bytes(there, buffer, size, SHOAL_FOREVER));
    expect_end(there);
}

TEST(pipe_child_answers_until_the_parent_closes_its_end)
{
    setup();
    pid_t pid = child(answer);
    there = shoal_connection_close(there);
    for (long i = 0; i < N; i++) {
        long back;
        size_t size;
        ASSERT_OK(shoal_connection_send_bytes(here, &i, sizeof i, SHOAL_FOREVER));
        ASSERT_OK(shoal_connection_recv_bytes_into(here, &back, sizeof back, &size, SHOAL_FOREVER));
        ASSERT_EQ_INT(back, i);
    }
    here = shoal_connection_close(here);
    ends_well(pid);
    done();
}

static void send_two_and_stay(void)
{
    static char bytes[LONG];
    here = shoal_connection_close(here);
    say(there, "one");
    ASSERT_OK(shoal_connection_send_bytes(there, bytes, LONG, SHOAL_FOREVER));
    atomic_store(shared, 1);
    pause();
}

TEST(pipe_killed_writer_leaves_what_it_sent_then_the_end)
{
    void *got;
    size_t size;
    setup();
    pid_t pid = child(send_two_and_stay);
    there = shoal_connection_close(there);
    until_word(shared, 1);
    kill_and_reap(pid);
    expect(here, "one");
    ASSERT_OK(shoal_connection_recv_bytes(here, &got, &size, SHOAL_FOREVER));
    ASSERT_EQ_INT(size, LONG);
    free(got);
    ASSERT_OK(shoal_connection_poll(here, SHOAL_FOREVER));
    expect_end(here);
    expect_nobody(here);
    done();
}

TEST(pipe_killed_peer_is_seen_by_who_does_not_wait)
{
    char buffer[4];
    size_t size;
    int rc;
    setup();
    pid_t pid = child(send_two_and_stay);
    there = shoal_connection_close(there);
    until_word(shared, 1);
    kill_and_reap(pid);
    void *got;
    expect(here, "one");
    ASSERT_OK(shoal_connection_recv_bytes(here, &got, &size, SHOAL_NOW));
    free(got);
    while ((rc = shoal_connection_recv_bytes_into(here, buffer, 4, &size, SHOAL_NOW)) == -EAGAIN)
        nap();
    ASSERT_ERR(rc, -EPIPE);
    done();
}

static void receive_the_end(void)
{
    void *got = NULL;
    size_t size;
    there = shoal_connection_close(there);
    ASSERT_ERR(shoal_connection_recv_bytes(here, &got, &size, SHOAL_FOREVER), -EPIPE);
}

static void poll_the_end(void)
{
    there = shoal_connection_close(there);
    ASSERT_OK(shoal_connection_poll(here, SHOAL_FOREVER));
    expect_end(here);
}

static void just_stay(void)
{
    here = shoal_connection_close(here);
    atomic_store(shared, 1);
    pause();
}

/* Of several who sleep each is told, whoever it is that repairs. */
TEST(pipe_killed_peer_wakes_all_who_sleep)
{
    setup();
    pid_t holder = child(just_stay);
    until_word(shared, 1);
    pid_t sleepers[4];
    for (int i = 0; i < 4; i++)
        sleepers[i] = child(i % 2 ? receive_the_end : poll_the_end);
    here = shoal_connection_close(here);
    there = shoal_connection_close(there);
    for (int i = 0; i < 4; i++)
        until_asleep(sleepers[i]);
    kill_and_reap(holder);
    for (int i = 0; i < 4; i++)
        ends_well(sleepers[i]);
    done();
}

TEST(pipe_closed_peer_wakes_all_who_sleep)
{
    setup();
    pid_t sleepers[4];
    for (int i = 0; i < 4; i++)
        sleepers[i] = child(i % 2 ? receive_the_end : poll_the_end);
    here = shoal_connection_close(here);
    for (int i = 0; i < 4; i++)
        until_asleep(sleepers[i]);
    there = shoal_connection_close(there);
    for (int i = 0; i < 4; i++)
        ends_well(sleepers[i]);
    done();
}

TEST(pipe_killed_reader_is_told_to_the_writer)
{
    setup_with(SHOAL_ONE_WAY);
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        there = shoal_connection_close(there);
        atomic_store(shared, 1);
        pause();
    }
    here = shoal_connection_close(here);
    until_word(shared, 1);
    say(there, "nobody receives it");
    kill_and_reap(pid);
    int rc, sends = 0;
    while (!(rc = shoal_connection_send_bytes(there, "x", 1, SHOAL_FOREVER)))
        ASSERT_LE_INT(++sends, 64);
    ASSERT_ERR(rc, -EPIPE);
    expect_nobody(there);
    done();
}

/* ---- how much may be on its way ---- */

enum { ROOM = 100000 };

static void setup_room(void)
{
    shared = words_open();
    before = objects();
    ASSERT_OK(shoal_pipe(&here, &there, &(shoal_pipe_options){.room = ROOM}));
}

/* How many of these can be sent; the last one cannot. */
static int fill_with(size_t size)
{
    static unsigned char bytes[LONG];
    int rc, n = 0;
    for (; !(rc = shoal_connection_send_bytes(there, bytes, size, SHOAL_NOW)); n++)
        ASSERT_LE_INT(n, 1000000);
    ASSERT_ERR(rc, -EAGAIN);
    return n;
}

static void receive(int n, size_t size)
{
    for (int i = 0; i < n; i++) {
        void *got;
        size_t n_bytes;
        ASSERT_OK(shoal_connection_recv_bytes(here, &got, &n_bytes, SHOAL_FOREVER));
        ASSERT_EQ_INT(n_bytes, size);
        free(got);
    }
}

TEST(pipe_has_room_for_so_many_bytes_of_each_sender)
{
    static const size_t sizes[] = {10, 1000, 4096, 5000, 30000};
    setup_room();
    for (int round = 0; round < 3; round++)
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            size_t each = sizes[i] > 4096 ? sizes[i] : 16 + (sizes[i] + 15) / 16 * 16;
            int n = fill_with(sizes[i]);
            ASSERT_LE_INT(n * each, ROOM);
            ASSERT_LE_INT(ROOM / 2, n * each);
            receive(n / 2 + 1, sizes[i]);
            ASSERT_LE_INT(n / 4, fill_with(sizes[i]));
            while (!shoal_connection_poll(here, SHOAL_NOW))
                receive(1, sizes[i]);
        }
    for (int round = 0; round < 3; round++) { /* a longer one when there is no other */
        ASSERT_EQ_INT(fill_with(LONG), 1);
        receive(1, LONG);
    }
    done();
}

static void receive_all(void)
{
    there = shoal_connection_close(there);
    receive(N, 1000);
    receive(20, LONG);
}

TEST(pipe_send_waits_until_there_is_room)
{
    static unsigned char bytes[LONG];
    setup_room();
    pid_t pid = child(receive_all);
    for (int i = 0; i < N; i++)
        ASSERT_OK(shoal_connection_send_bytes(there, bytes, 1000, SHOAL_FOREVER));
    for (int i = 0; i < 20; i++)
        ASSERT_OK(shoal_connection_send_bytes(there, bytes, LONG, SHOAL_FOREVER));
    ends_well(pid);
    done();
}

static void stay_to_receive(void)
{
    there = shoal_connection_close(there);
    atomic_store(shared, 1);
    pause();
}

static void send_until_the_end(void)
{
    char byte[1000] = {0};
    int rc;
    here = shoal_connection_close(here);
    while (!(rc = shoal_connection_send_bytes(there, byte, sizeof byte, SHOAL_FOREVER)))
        ;
    ASSERT_ERR(rc, -EPIPE);
}

TEST(pipe_killed_or_closed_reader_wakes_who_waits_for_room)
{
    for (int killed = 0; killed < 2; killed++) {
        setup_room();
        pid_t holder = killed ? child(stay_to_receive) : 0;
        if (killed)
            until_word(shared, 1);
        pid_t writers[3];
        for (int i = 0; i < 3; i++)
            writers[i] = child(send_until_the_end);
        there = shoal_connection_close(there);
        for (int i = 0; i < 3; i++)
            until_asleep(writers[i]);
        here = shoal_connection_close(here);
        if (killed)
            kill_and_reap(holder);
        for (int i = 0; i < 3; i++)
            ends_well(writers[i]);
        done();
    }
}

/* ---- handing on ---- */

TEST(pipe_end_is_handed_on_by_its_reference)
{
    shoal_connection *hand[2];
    shoal_reference reference;
    setup();
    ASSERT_OK(shoal_pipe(&hand[0], &hand[1], NULL));
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        size_t size;
        shoal_connection *end;
        here = shoal_connection_close(here);
        there = shoal_connection_close(there);
        hand[0] = shoal_connection_close(hand[0]);
        ASSERT_OK(shoal_connection_recv_bytes_into(hand[1], &reference, sizeof reference, &size,
                                                   SHOAL_FOREVER));
        ASSERT_OK(shoal_connection_open(&end, &reference));
        say(hand[1], "have it");
        expect(end, "hello");
        say(end, "bye");
        _exit(0);
    }
    hand[1] = shoal_connection_close(hand[1]);
    ASSERT_OK(shoal_connection_reference(there, &reference));
    ASSERT_OK(shoal_connection_send_bytes(hand[0], &reference, sizeof reference, SHOAL_NOW));
    expect(hand[0], "have it");
    there = shoal_connection_close(there);
    say(here, "hello");
    expect(here, "bye");
    ASSERT_OK(shoal_connection_poll(here, SHOAL_FOREVER));
    expect_end(here);
    ends_well(pid);
    shoal_connection_close(hand[0]);
    done();
    ASSERT_ERR(shoal_connection_open(&hand[0], &reference), -ESTALE);
}

TEST(pipe_end_opened_twice_is_closed_twice)
{
    shoal_reference reference;
    shoal_connection *again;
    setup();
    ASSERT_OK(shoal_connection_reference(there, &reference));
    ASSERT_OK(shoal_connection_open(&again, &reference));
    there = shoal_connection_close(there);
    say(here, "x");
    expect(again, "x");
    shoal_connection_close(again);
    expect_end(here);
    done();
}

/* ---- many ---- */

TEST(pipe_ten_thousand_work)
{
    enum { MANY = 10000 };
    static shoal_connection *ends[MANY][2];
    setup();
    for (int i = 0; i < MANY; i++)
        ASSERT_OK(shoal_pipe(&ends[i][0], &ends[i][1], NULL));
    for (int i = 0; i < MANY; i++)
        say(ends[i][i & 1], "x");
    for (int i = 0; i < MANY; i++)
        expect(ends[i][!(i & 1)], "x");
    for (int i = 0; i < MANY; i++)
        for (int k = 0; k < 2; k++)
            shoal_connection_close(ends[i][k]);
    done();
}
