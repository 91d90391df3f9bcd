/* csp: alternation chooses one guard, which happens once, whoever alternates on the other side. */
#include "channels.h"

static shoal_channel *second;
static shoal_channel_end *in2, *out2;

static void setup_two(uint64_t buffer)
{
    setup(buffer);
    ASSERT_OK(shoal_channel_create(&second, &(shoal_channel_options){.buffer = buffer}));
    ASSERT_OK(shoal_channel_reader(second, &in2));
    ASSERT_OK(shoal_channel_writer(second, &out2));
}

static void done_two(void)
{
    in2 = shoal_channel_end_close(in2);
    out2 = shoal_channel_end_close(out2);
    second = shoal_channel_close(second);
    done();
}

static shoal_guard input(shoal_channel_end *end, long *value)
{
    return (
        shoal_guard){.kind = SHOAL_INPUT, .end = end, .buffer = value, .capacity = sizeof *value};
}

static shoal_guard output(shoal_channel_end *end, const long *value)
{
    return (shoal_guard){.kind = SHOAL_OUTPUT, .end = end, .bytes = value, .size = sizeof *value};
}

static void say_first(void)
{
    say(out, 1);
}

static void say_second(void)
{
    say(out2, 2);
}

TEST(csp_alternation_takes_the_guard_that_is_ready)
{
    for (uint64_t buffer = 0; buffer < 2; buffer++) {
        long a = 0, b = 0;
        setup_two(buffer);
        shoal_guard guards[] = {input(in, &a), input(in2, &b)};
        pid_t pid = child(say_second);
        ASSERT_EQ_INT(shoal_alternate(guards, 2, SHOAL_ALT, SHOAL_FOREVER), 1);
        ASSERT_EQ_INT(b, 2);
        ASSERT_EQ_INT(guards[1].size, sizeof b);
        ends_well(pid);
        pid = child(say_first);
        ASSERT_EQ_INT(shoal_alternate(guards, 2, SHOAL_ALT, SHOAL_FOREVER), 0);
        ASSERT_EQ_INT(a, 1);
        ends_well(pid);
        ASSERT_EQ_INT(shoal_alternate(guards, 2, SHOAL_ALT, SHOAL_NOW), -EAGAIN);
        ASSERT_EQ_INT(shoal_alternate(guards, 2, SHOAL_ALT, shoal_after(0.01)), -ETIMEDOUT);
        done_two();
    }
}

TEST(csp_pri_takes_the_first_of_those_that_are_ready)
{
    long a = 0, b = 0;
    setup_two(4);
    shoal_guard guards[] = {input(in, &a), input(in2, &b)};
    for (int i = 0; i < 4; i++) {
        say(out, i);
        say(out2, i);
    }
    for (int i = 0; i < 4; i++)
        ASSERT_EQ_INT(shoal_alternate(guards, 2, SHOAL_PRI, SHOAL_FOREVER), 0);
    for (int i = 0; i < 4; i++)
        ASSERT_EQ_INT(shoal_alternate(guards, 2, SHOAL_PRI, SHOAL_FOREVER), 1);
    done_two();
}

TEST(csp_fair_takes_turns)
{
    long a = 0, b = 0;
    setup_two(4);
    shoal_guard guards[] = {input(in, &a), {.kind = SHOAL_SKIP}, input(in2, &b)};
    for (int i = 0; i < 4; i++) {
        say(out, i);
        say(out2, i);
    }
    for (int i = 0; i < 8; i++)
        ASSERT_EQ_INT(shoal_alternate(guards, 3, SHOAL_FAIR, SHOAL_FOREVER), i % 2 * 2);
    ASSERT_EQ_INT(shoal_alternate(guards, 3, SHOAL_FAIR, SHOAL_FOREVER), 1);
    ASSERT_EQ_U64(guards[0].chosen, 4);
    done_two();
}

TEST(csp_skip_and_timeout_are_guards)
{
    long a = 0;
    setup(0);
    shoal_guard skips[] = {input(in, &a), {.kind = SHOAL_SKIP}};
    ASSERT_EQ_INT(shoal_alternate(skips, 2, SHOAL_PRI, SHOAL_FOREVER), 1);
    shoal_guard times[] = {input(in, &a), {.kind = SHOAL_TIMEOUT, .deadline = shoal_after(0.01)}};
    ASSERT_EQ_INT(shoal_alternate(times, 2, SHOAL_PRI, SHOAL_FOREVER), 1);
    shoal_guard only[] = {{.kind = SHOAL_TIMEOUT, .deadline = shoal_after(0.01)}};
    ASSERT_EQ_INT(shoal_alternate(only, 1, SHOAL_PRI, SHOAL_FOREVER), 0);
    ASSERT_ERR(shoal_alternate(only, 0, SHOAL_PRI, SHOAL_FOREVER), -EINVAL);
    ASSERT_ERR(shoal_alternate(only, 1, 7, SHOAL_FOREVER), -EINVAL);
    done();
}

static int count_action(shoal_guard *guard, void *argument)
{
    (void)guard;
    ++*(int *)argument;
    return *(int *)argument == 2 ? -ERANGE : 0;
}

TEST(csp_the_action_of_the_chosen_guard_is_called)
{
    int n = 0;
    shoal_guard guards[] = {{.kind = SHOAL_SKIP, .action = count_action, .argument = &n}};
    ASSERT_EQ_INT(shoal_alternate(guards, 1, SHOAL_PRI, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT(n, 1);
    ASSERT_ERR(shoal_alternate(guards, 1, SHOAL_PRI, SHOAL_FOREVER), -ERANGE);
}

TEST(csp_alternation_is_told_of_retired_and_poisoned_channels)
{
    for (uint64_t buffer = 0; buffer < 2; buffer++) {
        long a = 0, b = 0;
        setup_two(buffer);
        shoal_guard guards[] = {input(in, &a), input(in2, &b)};
        ASSERT_OK(shoal_channel_retire(out2));
        ASSERT_ERR(shoal_alternate(guards, 2, SHOAL_ALT, SHOAL_FOREVER), -EPIPE);
        ASSERT_OK(shoal_channel_poison(in));
        ASSERT_ERR(shoal_alternate(guards, 2, SHOAL_ALT, SHOAL_FOREVER), -ECANCELED);
        done_two();
    }
}

static void expect_first(void)
{
    expect(in, 5);
}

static void expect_second(void)
{
    expect(in2, 6);
}

TEST(csp_output_guards_write_what_is_their_own)
{
    for (uint64_t buffer = 0; buffer < 2; buffer++) {
        long a = 5, b = 6;
        setup_two(buffer);
        shoal_guard guards[] = {output(out, &a), output(out2, &b)};
        pid_t pid = child(expect_second);
        if (!buffer)
            ASSERT_EQ_INT(shoal_alternate(guards, 2, SHOAL_ALT, SHOAL_FOREVER), 1);
        else
            ASSERT_EQ_INT(shoal_alternate(guards + 1, 1, SHOAL_ALT, SHOAL_FOREVER), 0);
        ends_well(pid);
        pid = child(expect_first);
        ASSERT_EQ_INT(shoal_alternate(guards, 2, SHOAL_ALT, SHOAL_FOREVER), 0);
        ends_well(pid);
        done_two();
    }
}

/* ---- both sides alternate ---- */

enum { ROUNDS = 2000 };

static void write_both(void)
{
    for (long i = 0; i < ROUNDS; i++) {
        long a = i, b = i;
        shoal_guard guards[] = {output(out, &a), output(out2, &b)};
        ASSERT_OK(shoal_alternate(guards, 2, SHOAL_ALT, SHOAL_FOREVER));
        atomic_fetch_add(&shared[0], i);
    }
}

static void read_both(void)
{
    for (long i = 0; i < ROUNDS; i++) {
        long a = -1, b = -1;
        shoal_guard guards[] = {input(in2, &b), input(in, &a)};
        int which = (int)ASSERT_OK(shoal_alternate(guards, 2, SHOAL_FAIR, SHOAL_FOREVER));
        ASSERT_TRUE((which ? a : b) >= 0 && (which ? b : a) == -1);
        atomic_fetch_add(&shared[1], which ? a : b);
    }
}

static void both_sides(int n)
{
    pid_t pids[8];
    setup_two(0);
    for (int i = 0; i < n; i++) {
        pids[i] = child(write_both);
        pids[n + i] = child(read_both);
    }
    for (int i = 0; i < 2 * n; i++)
        ends_well(pids[i]);
    ASSERT_EQ_INT(atomic_load(&shared[0]), atomic_load(&shared[1]));
    ASSERT_EQ_INT(atomic_load(&shared[0]), (long)n * ROUNDS * (ROUNDS - 1) / 2);
    done_two();
}

TEST(csp_both_sides_may_alternate)
{
    both_sides(1);
    both_sides(2);
    both_sides(4);
}

/* Each may read from all and write to all: whoever they meet, it is another one. */
static void mix(void)
{
    long sum = 0;
    for (long i = 0; i < ROUNDS; i++) {
        long a = -1, b = -1, c = 1, d = 1;
        shoal_guard guards[] = {output(out, &c), input(in2, &b), output(out2, &d), input(in, &a)};
        int which = shoal_alternate(guards, 4, i % 2 ? SHOAL_ALT : SHOAL_FAIR, shoal_after(10));
        if (which == -ETIMEDOUT && atomic_load(&shared[1]))
            break; /* the others are through */
        ASSERT_OK(which);
        sum += which % 2 ? -1 : 1;
    }
    atomic_fetch_add(&shared[0], sum);
    atomic_fetch_add(&shared[1], 1);
}

TEST(csp_whoever_reads_and_writes_in_one_alternation_meets_another)
{
    pid_t pids[2];
    setup_two(0);
    for (int i = 0; i < 2; i++)
        pids[i] = child(mix);
    for (int i = 0; i < 2; i++)
        ends_well(pids[i]);
    ASSERT_EQ_INT(atomic_load(&shared[0]), 0);
    done_two();
}

/* More outputs than a party has boxes, and long messages. */
TEST(csp_an_alternation_may_have_many_guards)
{
    enum { N = 100 };
    static shoal_channel *channels[N];
    static shoal_channel_end *readers[N], *writers[N];
    static shoal_guard guards[N];
    static long values[N];
    setup(0);
    for (int i = 0; i < N; i++) {
        ASSERT_OK(shoal_channel_create(&channels[i], NULL));
        ASSERT_OK(shoal_channel_reader(channels[i], &readers[i]));
        ASSERT_OK(shoal_channel_writer(channels[i], &writers[i]));
        values[i] = i;
        guards[i] = output(writers[i], &values[i]);
    }
    for (int k = 0; k < 10; k++) {
        int which = k * 11;
        pid_t pid = (pid_t)ASSERT_SYS(fork());
        if (!pid) {
            expect(readers[which], which);
            _exit(0);
        }
        ASSERT_EQ_INT(shoal_alternate(guards, N, SHOAL_ALT, SHOAL_FOREVER), which);
        ends_well(pid);
    }
    for (int i = 0; i < N; i++) {
        shoal_channel_end_close(readers[i]);
        shoal_channel_end_close(writers[i]);
        shoal_channel_close(channels[i]);
    }
    done();
}

/* ---- buffers ---- */

static void put_all(void)
{
    for (long i = 0; i < ROUNDS; i++)
        say(i % 2 ? out : out2, i);
}

TEST(csp_alternation_over_buffers_loses_nothing)
{
    long a, b, sum = 0;
    setup_two(2);
    shoal_guard guards[] = {input(in, &a), input(in2, &b)};
    pid_t pid = child(put_all);
    for (long i = 0; i < ROUNDS; i++) {
        int which = (int)ASSERT_OK(shoal_alternate(guards, 2, SHOAL_FAIR, SHOAL_FOREVER));
        sum += which ? b : a;
    }
    ASSERT_EQ_INT(sum, (long)ROUNDS * (ROUNDS - 1) / 2);
    ends_well(pid);
    done_two();
}
