/* csp: what csp.h promises of channels and their ends. Alternation and networks have files of their own. */
#include "channels.h"

static void write_five(void)
{
    for (long i = 0; i < 5; i++)
        say(out, i);
}

TEST(csp_a_reader_gets_what_a_writer_wrote_in_order)
{
    setup(0);
    pid_t pid = child(write_five);
    for (long i = 0; i < 5; i++)
        expect(in, i);
    ends_well(pid);
    done();
}

static void write_and_tell(void)
{
    say(out, 7);
    atomic_store(shared, 1);
}

TEST(csp_a_write_returns_only_after_a_reader_took_it)
{
    setup(0);
    pid_t pid = child(write_and_tell);
    for (int i = 0; i < 20; i++)
        nap();
    ASSERT_EQ_INT(atomic_load(shared), 0);
    expect(in, 7);
    ends_well(pid);
    ASSERT_EQ_INT(atomic_load(shared), 1);
    done();
}

TEST(csp_a_buffered_write_returns_when_it_is_in)
{
    setup(2);
    say(out, 1);
    say(out, 2);
    ASSERT_ERR(shoal_channel_write_bytes(out, "x", 1, SHOAL_NOW), -EAGAIN);
    expect(in, 1);
    say(out, 3);
    expect(in, 2);
    expect(in, 3);
    done();
}

TEST(csp_nobody_there_is_told_at_once_or_at_the_deadline)
{
    char byte;
    size_t size;
    setup(0);
    ASSERT_ERR(shoal_channel_write_bytes(out, "x", 1, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_channel_read_bytes(in, &byte, 1, &size, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_channel_write_bytes(out, "x", 1, shoal_after(0.01)), -ETIMEDOUT);
    ASSERT_ERR(shoal_channel_read_bytes(in, &byte, 1, &size, shoal_after(0.01)), -ETIMEDOUT);
    ASSERT_ERR(shoal_channel_write_bytes(out, "x", 1, -1), -EINVAL);
    done();
}

/* What is over leaves nothing behind: there is room for some 5,000 who wait. */
TEST(csp_reads_in_vain_leave_nothing)
{
    char byte;
    size_t size;
    setup(0);
    for (int i = 0; i < 6000; i++)
        ASSERT_ERR(shoal_channel_read_bytes(in, &byte, 1, &size, 5), -ETIMEDOUT);
    done();
}

TEST(csp_an_end_goes_one_way)
{
    shoal_any *any;
    setup(0);
    ASSERT_ERR(shoal_channel_read(out, &any, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_channel_write_bytes(in, "x", 1, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_channel_write(out, NULL, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_channel_write_bytes(NULL, "x", 1, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_channel_retire(NULL), -EINVAL);
    done();
}

static size_t length;

static void write_long(void)
{
    unsigned char *bytes = malloc(length + 1);
    memset(bytes, 9, length + 1);
    ASSERT_OK(shoal_channel_write_bytes(out, bytes, length, SHOAL_FOREVER));
    free(bytes);
}

static void sends_long(uint64_t buffer, size_t n, int reader_first)
{
    size_t size = 0;
    unsigned char *bytes = malloc(n + 1);
    setup(buffer);
    length = n;
    pid_t pid = child(write_long);
    for (int i = 0; !reader_first && i < 10; i++)
        nap();
    if (n)
        ASSERT_ERR(shoal_channel_read_bytes(in, bytes, n - 1, &size, SHOAL_FOREVER), -EMSGSIZE);
    if (n)
        ASSERT_EQ_INT(size, n);
    ASSERT_OK(shoal_channel_read_bytes(in, bytes, n, &size, SHOAL_FOREVER));
    ASSERT_EQ_INT(size, n);
    for (size_t i = 0; i < n; i++)
        ASSERT_EQ_INT(bytes[i], 9);
    ends_well(pid);
    free(bytes);
    done();
}

TEST(csp_messages_of_any_length)
{
    static const size_t sizes[] = {0, 1, 8, 103, 104, 105, 5000, 1 << 20};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        sends_long(0, sizes[i], 0);
        sends_long(0, sizes[i], 1);
        sends_long(3, sizes[i], 0);
    }
}

/* ---- many ---- */

enum { MANY = 4, EACH = 500 };

static void write_many(void)
{
    long number = atomic_fetch_add(&shared[0], 1);
    for (long i = 0; i < EACH; i++)
        say(out, number * EACH + i);
}

static void read_until_retired(void)
{
    long value;
    size_t size;
    int rc;
    shoal_channel_end_close(out);
    while (!(rc = shoal_channel_read_bytes(in, &value, sizeof value, &size, SHOAL_FOREVER))) {
        atomic_fetch_add(&shared[1], 1);
        atomic_fetch_add(&shared[2], value);
    }
    ASSERT_EQ_INT(rc, -EPIPE);
}

static void any_to_any(uint64_t buffer)
{
    pid_t pids[2 * MANY];
    setup(buffer);
    for (int i = 0; i < MANY; i++) {
        pids[i] = child(write_many);
        pids[MANY + i] = child(read_until_retired);
    }
    for (int i = 0; i < MANY; i++)
        ends_well(pids[i]);
    ASSERT_OK(shoal_channel_retire(out));
    for (int i = MANY; i < 2 * MANY; i++)
        ends_well(pids[i]);
    ASSERT_EQ_INT(atomic_load(&shared[1]), MANY * EACH);
    ASSERT_EQ_INT(atomic_load(&shared[2]), (long)MANY * EACH * (MANY * EACH - 1) / 2);
    done();
}

TEST(csp_any_to_any_each_message_is_received_once)
{
    any_to_any(0);
}

TEST(csp_any_to_any_through_a_buffer)
{
    any_to_any(3);
}

/* ---- retire ---- */

static void expect_retired(void)
{
    long value;
    size_t size;
    ASSERT_ERR(shoal_channel_read_bytes(in, &value, sizeof value, &size, SHOAL_FOREVER), -EPIPE);
    ASSERT_ERR(shoal_channel_write_bytes(out, &value, sizeof value, SHOAL_FOREVER), -EPIPE);
}

TEST(csp_the_last_writer_that_is_retired_retires_the_channel)
{
    shoal_channel_end *other;
    setup(0);
    ASSERT_OK(shoal_channel_writer(channel, &other));
    ASSERT_OK(shoal_channel_retire(out));
    ASSERT_ERR(shoal_channel_write_bytes(out, "x", 1, SHOAL_FOREVER), -EPIPE);
    ASSERT_OK(shoal_channel_retire(out));
    pid_t pid = child(write_five);
    int status;
    ASSERT_SYS(waitpid(pid, &status, 0));
    ASSERT_NE_INT(status, 0); /* its end is retired */
    check_report->taken = 0;
    ASSERT_ERR(shoal_channel_write_bytes(other, "x", 1, SHOAL_NOW), -EAGAIN);
    ASSERT_OK(shoal_channel_retire(other));
    expect_retired();
    shoal_channel_end_close(other);
    done();
}

TEST(csp_what_is_buffered_is_read_before_the_retired_writers_end)
{
    setup(3);
    say(out, 1);
    say(out, 2);
    ASSERT_OK(shoal_channel_retire(out));
    expect(in, 1);
    expect(in, 2);
    expect_retired();
    done();
}

TEST(csp_what_is_buffered_is_dropped_when_the_readers_retire)
{
    setup(3);
    say(out, 1);
    ASSERT_OK(shoal_channel_retire(in));
    expect_retired();
    done();
}

TEST(csp_a_closed_end_is_retired)
{
    setup(0);
    in = shoal_channel_end_close(in);
    ASSERT_ERR(shoal_channel_write_bytes(out, "x", 1, SHOAL_FOREVER), -EPIPE);
    done();
}

static void wait_for_retire(void)
{
    shoal_channel_end_close(out);
    atomic_store(shared, 1);
    long value;
    size_t size;
    ASSERT_ERR(shoal_channel_read_bytes(in, &value, sizeof value, &size, SHOAL_FOREVER), -EPIPE);
}

static void die_with_the_writer(void)
{
    shoal_channel_end_close(in);
    atomic_store(shared + 1, 1);
    pause();
}

static void death_retires(uint64_t buffer)
{
    setup(buffer);
    pid_t dying = child(die_with_the_writer), waiting = child(wait_for_retire);
    while (!atomic_load(shared) || !atomic_load(shared + 1))
        nap();
    out = shoal_channel_end_close(out);
    for (int i = 0; i < 10; i++)
        nap();
    kill_and_reap(dying);
    ends_well(waiting);
    done();
}

TEST(csp_a_process_that_dies_counts_as_retired)
{
    death_retires(0);
    death_retires(2);
}

/* ---- poison ---- */

static void expect_poisoned(void)
{
    long value;
    size_t size;
    ASSERT_ERR(shoal_channel_read_bytes(in, &value, sizeof value, &size, SHOAL_FOREVER),
               -ECANCELED);
    ASSERT_ERR(shoal_channel_write_bytes(out, &value, sizeof value, SHOAL_FOREVER), -ECANCELED);
}

TEST(csp_poison_ends_a_channel_at_once)
{
    shoal_channel_end *other;
    setup(0);
    ASSERT_OK(shoal_channel_writer(channel, &other));
    ASSERT_OK(shoal_channel_poison(other));
    expect_poisoned();
    shoal_channel_end_close(other);
    done();
}

TEST(csp_a_buffer_is_read_before_a_writers_poison_and_not_before_a_readers)
{
    setup(3);
    say(out, 1);
    ASSERT_OK(shoal_channel_poison(out));
    ASSERT_ERR(shoal_channel_write_bytes(out, "x", 1, SHOAL_FOREVER), -ECANCELED);
    expect(in, 1);
    expect_poisoned();
    done();
    setup(3);
    say(out, 1);
    ASSERT_OK(shoal_channel_poison(in));
    expect_poisoned();
    done();
}

static void wait_for_poison(void)
{
    long value;
    size_t size;
    atomic_store(shared, 1);
    ASSERT_ERR(shoal_channel_read_bytes(in, &value, sizeof value, &size, SHOAL_FOREVER),
               -ECANCELED);
}

TEST(csp_poison_wakes_who_waits)
{
    for (uint64_t buffer = 0; buffer < 2; buffer++) {
        setup(buffer);
        pid_t pid = child(wait_for_poison);
        while (!atomic_load(shared))
            nap();
        for (int i = 0; i < 10; i++)
            nap();
        ASSERT_OK(shoal_channel_poison(out));
        ends_well(pid);
        done();
    }
}

/* ---- anys, and ends that travel ---- */

static void write_anys(void)
{
    shoal_any *any = shoal_any_list(shoal_any_int(1), shoal_any_str("two"));
    ASSERT_OK(shoal_channel_write(out, any, SHOAL_FOREVER));
    shoal_any_free(any);
    any = shoal_any_int(-5);
    ASSERT_OK(shoal_channel_write(out, any, SHOAL_FOREVER));
    shoal_any_free(any);
}

TEST(csp_anys_come_as_they_were_written)
{
    shoal_any *any;
    char *text;
    setup(0);
    pid_t pid = child(write_anys);
    ASSERT_OK(shoal_channel_read(in, &any, SHOAL_FOREVER));
    ASSERT_OK(shoal_any_repr(any, &text));
    ASSERT_STR(text, "[1, 'two']");
    free(text);
    shoal_any_free(any);
    ASSERT_OK(shoal_channel_read(in, &any, SHOAL_FOREVER));
    ASSERT_OK(shoal_any_repr(any, &text));
    ASSERT_STR(text, "-5");
    free(text);
    shoal_any_free(any);
    ends_well(pid);
    done();
}

TEST(csp_bytes_that_are_no_any_end_with_the_read_that_took_them)
{
    shoal_any *any;
    setup(1);
    ASSERT_OK(shoal_channel_write_bytes(out, "no any", 6, SHOAL_FOREVER));
    ASSERT_ERR(shoal_channel_read(in, &any, SHOAL_FOREVER), -EBADMSG);
    ASSERT_ERR(shoal_channel_read(in, &any, SHOAL_NOW), -EAGAIN);
    done();
}

/* Who gets a writer's end uses it; the sender has it no more. */
static void send_an_end(void)
{
    shoal_channel *other;
    shoal_channel_end *mine, *theirs;
    long value;
    size_t size;
    ASSERT_OK(shoal_channel_create(&other, NULL));
    ASSERT_OK(shoal_channel_reader(other, &mine));
    ASSERT_OK(shoal_channel_writer(other, &theirs));
    shoal_any *any = shoal_any_object(theirs);
    shoal_channel_end_close(theirs);
    ASSERT_OK(shoal_channel_write(out, any, SHOAL_FOREVER));
    shoal_any_free(any);
    ASSERT_OK(shoal_channel_read_bytes(mine, &value, sizeof value, &size, SHOAL_FOREVER));
    ASSERT_EQ_INT(value, 12);
    ASSERT_ERR(shoal_channel_read_bytes(mine, &value, sizeof value, &size, SHOAL_FOREVER), -EPIPE);
    shoal_channel_end_close(mine);
    shoal_channel_close(other);
}

TEST(csp_an_end_travels_through_a_channel)
{
    for (uint64_t buffer = 0; buffer < 2; buffer++) {
        shoal_any *any;
        shoal_reference reference;
        shoal_channel_end *end;
        long value = 12;
        setup(buffer);
        pid_t pid = child(send_an_end);
        ASSERT_OK(shoal_channel_read(in, &any, SHOAL_FOREVER));
        ASSERT_OK(shoal_any_as_reference(any, &reference));
        ASSERT_OK(shoal_channel_end_open(&end, &reference));
        shoal_any_free(any);
        ASSERT_OK(shoal_channel_write_bytes(end, &value, sizeof value, SHOAL_FOREVER));
        shoal_channel_end_close(end);
        ends_well(pid);
        done();
    }
}

static void *write_in_thread(void *argument)
{
    (void)argument;
    write_five();
    return NULL;
}

TEST(csp_threads_of_one_process_meet)
{
    pthread_t thread;
    setup(0);
    ASSERT_EQ_INT(pthread_create(&thread, NULL, write_in_thread, NULL), 0);
    for (long i = 0; i < 5; i++)
        expect(in, i);
    ASSERT_EQ_INT(pthread_join(thread, NULL), 0);
    done();
}

/* More ends and more who wait than the first rows have room for. */
enum { CROWD = 20 };

static void read_one(void)
{
    long value;
    size_t size;
    ASSERT_OK(shoal_channel_read_bytes(in, &value, sizeof value, &size, SHOAL_FOREVER));
    atomic_fetch_add(shared, value);
}

TEST(csp_many_wait_on_one_channel)
{
    pid_t pids[CROWD];
    shoal_channel_end *ends[CROWD];
    setup(0);
    for (int i = 0; i < CROWD; i++)
        ASSERT_OK(shoal_channel_writer(channel, &ends[i]));
    for (int i = 0; i < CROWD; i++)
        pids[i] = child(read_one);
    for (int i = 0; i < 10; i++)
        nap();
    for (long i = 0; i < CROWD; i++)
        ASSERT_OK(shoal_channel_write_bytes(ends[i], &i, sizeof i, SHOAL_FOREVER));
    for (int i = 0; i < CROWD; i++)
        ends_well(pids[i]);
    ASSERT_EQ_INT(atomic_load(shared), CROWD * (CROWD - 1) / 2);
    for (int i = 0; i < CROWD; i++)
        shoal_channel_end_close(ends[i]);
    ASSERT_EQ_INT(shoal_channel_read_bytes(in, NULL, 0, &length, SHOAL_NOW), -EAGAIN);
    done();
}

/* A reader that is stopped after it was met keeps no writer waiting for it. */
static void read_three(void)
{
    for (int i = 0; i < 3; i++)
        read_one();
}

TEST(csp_a_writer_goes_on_beside_a_reader_that_is_stopped)
{
    setup(0);
    pid_t slow = child(read_one);
    for (int i = 0; i < 20; i++)
        nap();
    ASSERT_SYS(kill(slow, SIGSTOP));
    say(out, 1);
    pid_t other = child(read_three);
    say(out, 10);
    say(out, 100);
    say(out, 1000);
    ends_well(other);
    ASSERT_EQ_INT(atomic_load(shared), 1110);
    ASSERT_SYS(kill(slow, SIGCONT));
    ends_well(slow);
    ASSERT_EQ_INT(atomic_load(shared), 1111);
    done();
}
