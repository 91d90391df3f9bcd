/* csp: what is left behind where a side of a channel is gone, where memory lacks, where nobody sleeps. */
#include "channels.h"
#include "csp/channel.h"

static shoal_channel *second;
static shoal_channel_end *in2, *out2;

static void setup_two(uint64_t buffer)
{
    setup(buffer);
    ASSERT_OK(shoal_channel_create(&second, NULL));
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

/* ---- an end in a buffer that nobody will read ---- */

/* The second channel's only writer lies in the first one's buffer from now on. */
static void put_the_writer_away(void)
{
    shoal_any *any = shoal_any_object(out2);
    out2 = shoal_channel_end_close(out2);
    ASSERT_OK(shoal_channel_write(out, any, SHOAL_FOREVER));
    shoal_any_free(any);
}

static void expect_second_retired(void)
{
    long value;
    size_t size;
    ASSERT_ERR(shoal_channel_read_bytes(in2, &value, sizeof value, &size, SHOAL_FOREVER), -EPIPE);
}

static void expect_second_in_use(void)
{
    long value;
    size_t size;
    ASSERT_ERR(shoal_channel_read_bytes(in2, &value, sizeof value, &size, SHOAL_NOW), -EAGAIN);
}

TEST(csp_an_end_in_a_buffer_is_retired_with_the_last_reader_however_that_ends)
{
    for (int how = 0; how < 3; how++) {
        setup_two(3);
        say(out, 1);
        put_the_writer_away();
        expect_second_in_use();
        if (how == 0)
            in = shoal_channel_end_close(in);
        else if (how == 1)
            ASSERT_OK(shoal_channel_retire(in));
        else
            ASSERT_OK(shoal_channel_poison(in));
        expect_second_retired();
        done_two();
    }
}

static void hold_until_killed(void)
{
    shoal_channel_end_close(out);
    shoal_channel_end_close(in2);
    atomic_store(&shared[0], 1);
    for (;;)
        pause();
}

TEST(csp_an_end_in_a_buffer_is_retired_with_the_last_reader_that_dies)
{
    setup_two(3);
    put_the_writer_away();
    pid_t pid = child(hold_until_killed);
    until_word(&shared[0], 1);
    in = shoal_channel_end_close(in);
    expect_second_in_use();
    ASSERT_SYS(kill(pid, SIGKILL));
    expect_second_retired(); /* it sleeps, and is told */
    ASSERT_SYS(waitpid(pid, NULL, 0));
    done_two();
}

TEST(csp_an_end_in_a_buffer_is_kept_by_a_writers_poison_until_it_is_read)
{
    shoal_any *any;
    long value = 3, got;
    size_t size;
    setup_two(3);
    put_the_writer_away();
    ASSERT_OK(shoal_channel_poison(out));
    expect_second_in_use();
    ASSERT_OK(shoal_channel_read(in, &any, SHOAL_NOW));
    shoal_reference reference;
    ASSERT_OK(shoal_any_as_reference(any, &reference));
    ASSERT_OK(shoal_channel_end_open(&out2, &reference));
    shoal_any_free(any);
    ASSERT_ERR(shoal_channel_read(in, &any, SHOAL_FOREVER), -ECANCELED);
    ASSERT_ERR(shoal_channel_write_bytes(out2, &value, sizeof value, SHOAL_NOW), -EAGAIN);
    out2 = shoal_channel_end_close(out2);
    ASSERT_ERR(shoal_channel_read_bytes(in2, &got, sizeof got, &size, SHOAL_FOREVER), -EPIPE);
    done_two();
}

/* Who has the channel's reader in its own buffer holds nothing: the ring ends. */
TEST(csp_a_channel_whose_reader_lies_in_its_own_buffer_ends)
{
    setup(2);
    shoal_any *any = shoal_any_object(in);
    in = shoal_channel_end_close(in);
    ASSERT_OK(shoal_channel_write(out, any, SHOAL_FOREVER));
    shoal_any_free(any);
    done();
}

/* ---- where memory lacks ---- */

enum { QUOTA = 1 << 20 };

/* Short messages lack room in the buffer's ring, long ones are objects of their own. */
static void alternate_without_memory(size_t length)
{
    static unsigned char bytes[1000];
    size_t size;
    int puts = 0, rc, most = 4 * QUOTA / (int)length;
    setup((uint64_t)most);
    ASSERT_OK(shoal_memory_set_quota(QUOTA));
    shoal_guard guards[] = {
        {.kind = SHOAL_OUTPUT, .end = out, .bytes = bytes, .size = length},
        {.kind = SHOAL_TIMEOUT, .deadline = SHOAL_FOREVER},
    };
    while (!(rc = shoal_channel_write_bytes(out, bytes, length, SHOAL_NOW)))
        ASSERT_LT_INT(++puts, most);
    ASSERT_ERR(rc, -EAGAIN);
    while (!(rc = shoal_alternate(guards, 2, SHOAL_PRI, SHOAL_NOW)))
        ASSERT_LT_INT(++puts, most);
    ASSERT_ERR(rc, -EAGAIN);
    ASSERT_ERR(shoal_alternate(guards, 2, SHOAL_PRI, shoal_after(0.02)), -ETIMEDOUT);
    guards[1].deadline = shoal_after(0.02);
    ASSERT_EQ_INT(shoal_alternate(guards, 2, SHOAL_PRI, SHOAL_FOREVER), 1);
    guards[1] = (shoal_guard){.kind = SHOAL_SKIP};
    ASSERT_EQ_INT(shoal_alternate(guards, 2, SHOAL_PRI, SHOAL_FOREVER), 1);
    for (int i = 0; i < puts; i++)
        ASSERT_OK(shoal_channel_read_bytes(in, bytes, sizeof bytes, &size, SHOAL_NOW));
    ASSERT_EQ_INT(shoal_alternate(guards, 1, SHOAL_PRI, SHOAL_FOREVER), 0);
    ASSERT_OK(shoal_memory_set_quota(0));
    done();
}

TEST(csp_an_alternation_without_memory_for_a_buffer_waits_until_there_is_some)
{
    alternate_without_memory(64);
    alternate_without_memory(1000);
}

/* ---- who never sleeps ---- */

static void hold_reader_until_killed(void)
{
    shoal_channel_end_close(out);
    atomic_store(&shared[0], 1);
    for (;;)
        pause();
}

TEST(csp_a_write_that_never_waits_is_told_of_the_last_readers_death)
{
    int rc;
    for (int alternating = 0; alternating < 2; alternating++) {
        setup(1);
        say(out, 1);
        pid_t pid = child(hold_reader_until_killed);
        until_word(&shared[0], 1);
        in = shoal_channel_end_close(in);
        kill_and_reap(pid);
        shoal_guard guard = {.kind = SHOAL_OUTPUT, .end = out, .bytes = "x", .size = 1};
        do
            rc = alternating ? shoal_alternate(&guard, 1, SHOAL_ALT, SHOAL_NOW)
                             : shoal_channel_write_bytes(out, "x", 1, SHOAL_NOW);
        while (rc == -EAGAIN);
        ASSERT_EQ_INT(rc, -EPIPE);
        done();
    }
}

static shoal_channel *barrier;
static shoal_channel_end *mine, *others;

static void hold_enrolment_until_killed(void)
{
    shoal_channel_end_close(mine);
    atomic_store(&shared[0], 1);
    for (;;)
        pause();
}

TEST(csp_a_sync_that_never_waits_is_told_of_a_death)
{
    int rc;
    shared = words_open();
    before = objects();
    ASSERT_OK(shoal_channel_create_barrier(&barrier, NULL));
    ASSERT_OK(shoal_channel_enrol(barrier, &mine));
    ASSERT_OK(shoal_channel_enrol(barrier, &others));
    pid_t pid = child(hold_enrolment_until_killed);
    until_word(&shared[0], 1);
    shoal_channel_end_close(others);
    ASSERT_ERR(shoal_channel_sync(mine, SHOAL_NOW), -EAGAIN);
    kill_and_reap(pid);
    while ((rc = shoal_channel_sync(mine, SHOAL_NOW)) == -EAGAIN)
        ;
    ASSERT_OK(rc);
    shoal_channel_end_close(mine);
    channel = barrier;
    done();
}

/* As if who retired this end before were stopped just behind the step that says so. */
TEST(csp_an_end_that_another_is_just_retiring_may_be_retired)
{
    setup(0);
    atomic_store(&end_body(handle_of(in)->header)->retired, 1);
    ASSERT_ERR(shoal_channel_write_bytes(out, "x", 1, SHOAL_NOW), -EAGAIN);
    ASSERT_OK(shoal_channel_retire(in));
    ASSERT_ERR(shoal_channel_write_bytes(out, "x", 1, SHOAL_FOREVER), -EPIPE);
    done();
}

/* ---- how one sleeps ---- */

enum { GUARDED = 50 };
static shoal_channel *channels[GUARDED];
static shoal_channel_end *readers[GUARDED], *writers[GUARDED];

static void choose_among_many(void)
{
    long value;
    shoal_guard guards[GUARDED];
    for (int i = 0; i < GUARDED; i++)
        guards[i] = (shoal_guard){.kind = SHOAL_INPUT,
                                  .end = readers[i],
                                  .buffer = &value,
                                  .capacity = sizeof value};
    ASSERT_EQ_INT(shoal_alternate(guards, GUARDED, SHOAL_ALT, SHOAL_FOREVER), GUARDED - 1);
}

static long switches(pid_t pid)
{
    char path[64], line[128];
    long n = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    ASSERT_NOT_NULL(f);
    while (fgets(line, sizeof line, f))
        if (!strncmp(line, "voluntary_ctxt_switches:", 24))
            n = atol(line + 24);
    fclose(f);
    return n;
}

/* By looking now and then it would wake again and again. (The net may come once in this time.) */
TEST(csp_who_waits_for_one_of_many_guards_sleeps)
{
    setup(0);
    for (int i = 0; i < GUARDED; i++) {
        ASSERT_OK(shoal_channel_create(&channels[i], &(shoal_channel_options){.buffer = i % 2}));
        ASSERT_OK(shoal_channel_reader(channels[i], &readers[i]));
        ASSERT_OK(shoal_channel_writer(channels[i], &writers[i]));
    }
    pid_t pid = child(choose_among_many);
    until_asleep(pid);
    long before_nap = switches(pid);
    for (int i = 0; i < 100; i++)
        nap();
    ASSERT_LE_INT(switches(pid), before_nap + 2);
    say(writers[GUARDED - 1], 1);
    ends_well(pid);
    for (int i = 0; i < GUARDED; i++) {
        shoal_channel_end_close(readers[i]);
        shoal_channel_end_close(writers[i]);
        shoal_channel_close(channels[i]);
    }
    done();
}

/* ---- a network that cannot be made ---- */

static int do_nothing(void *argument, shoal_channel_end *const ends[])
{
    (void)argument;
    (void)ends;
    return 0;
}

TEST(csp_a_network_with_too_many_ends_closes_those_that_it_was_given)
{
    shoal_network *network;
    setup_two(0);
    shoal_csp_process processes[] = {
        {.target = do_nothing, .ends = &in, .n_ends = 1, .replicas = 6000},
        {.target = do_nothing, .ends = &in2, .n_ends = 1},
    };
    ASSERT_ERR(shoal_spawn(&network, processes, 2, 0), -ENOSPC);
    ASSERT_ERR(shoal_channel_write_bytes(out, "x", 1, SHOAL_FOREVER), -ECANCELED);
    ASSERT_ERR(shoal_channel_write_bytes(out2, "x", 1, SHOAL_FOREVER), -ECANCELED);
    in = in2 = NULL;
    done_two();
}
