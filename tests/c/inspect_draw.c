/* A running network is drawn: who holds which end of what, and who waits there. */
#include "snapshots.h"
#include <shoal/csp.h>

static shoal_channel *channels[2];
static shoal_channel_end *in[2], *out[2];

static void open_channels(void)
{
    shoal_channel_options options[] = {{.name = "a \"b\\\n"}, {.buffer = 3}};
    words = words_open();
    for (int i = 0; i < 2; i++) {
        ASSERT_OK(shoal_channel_create(&channels[i], &options[i]));
        ASSERT_OK(shoal_channel_reader(channels[i], &in[i]));
        ASSERT_OK(shoal_channel_writer(channels[i], &out[i]));
    }
}

static void close_channels(void)
{
    for (int i = 0; i < 2; i++) {
        shoal_channel_end_close(in[i]);
        shoal_channel_end_close(out[i]);
        shoal_channel_close(channels[i]);
    }
    words_close();
}

static char *drawing(void)
{
    char *ret = NULL;
    shoal_any *snapshot = look();
    ASSERT_OK(shoal_inspect_draw(&ret, snapshot));
    shoal_any_free(snapshot);
    return ret;
}

static int has(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

static int64_t id_of(const char *type, int nth)
{
    shoal_any *snapshot = look();
    const shoal_any *all = get(snapshot, "objects");
    int64_t id = -1;
    for (int64_t i = 0; i < shoal_any_count(all); i++)
        if (!strcmp(text(at(all, i), "type"), type) && !nth--)
            id = number(at(all, i), "id");
    shoal_any_free(snapshot);
    ASSERT_GE_INT(id, 0);
    return id;
}

/* Waits in an alternation over both channels, on different sides. */
static void wait_for_both(void)
{
    unsigned char byte;
    shoal_guard guards[] = {
        {.kind = SHOAL_INPUT, .end = in[0], .buffer = &byte, .capacity = 1},
        {.kind = SHOAL_INPUT, .end = in[1], .buffer = &byte, .capacity = 1},
    };
    ASSERT_EQ_INT(shoal_alternate(guards, 2, SHOAL_ALT, SHOAL_FOREVER), 0);
}

static int waits_there(pid_t pid)
{
    shoal_any *snapshot = look();
    int n = 0;
    const shoal_any *all = get(snapshot, "waits");
    for (int64_t i = 0; i < shoal_any_count(all); i++)
        n += number(at(all, i), "pid") == pid;
    shoal_any_free(snapshot);
    return n;
}

TEST(inspect_draws_processes_channels_and_who_waits_where)
{
    char line[200];
    open_channels();
    pid_t pid = child(wait_for_both);
    while (!waits_there(pid))
        usleep(1000);
    char *text = drawing();
    int64_t c0 = id_of("channel", 0), c1 = id_of("channel", 1);
    ASSERT_EQ_INT(strncmp(text, "digraph network {\n", 18), 0);
    ASSERT_STR(text + strlen(text) - 2, "}\n");
    ASSERT_TRUE(has(text, "label=\"a \\\"b\\\\\\\\x0a\""));
    snprintf(line, sizeof line, "p%d [shape=box, label=\"(forked)\\npid %d\"];", (int)pid,
             (int)pid);
    ASSERT_TRUE(has(text, line));
    snprintf(line, sizeof line, "c%ld -> p%d [color=red, label=\"waits\"];", (long)c0, (int)pid);
    ASSERT_TRUE(has(text, line));
    snprintf(line, sizeof line, "p%d -> c%ld [];", (int)getpid(), (long)c0);
    ASSERT_TRUE(has(text, line));
    snprintf(line, sizeof line, "c%ld [shape=ellipse, label=\"channel %ld\\n", (long)c1, (long)c1);
    ASSERT_TRUE(has(text, line));
    ASSERT_TRUE(has(text, " of 3 buffered"));
    free(text);
    ASSERT_OK(shoal_channel_write_bytes(out[0], "x", 1, SHOAL_FOREVER));
    ends_well(pid);
    close_channels();
}

TEST(inspect_draws_what_is_over_and_what_travels)
{
    char line[200], *text;
    shoal_channel *post;
    shoal_channel_end *read_post, *write_post;
    open_channels();
    int64_t c0 = id_of("channel", 0);
    ASSERT_OK(shoal_channel_create(&post, &(shoal_channel_options){.buffer = 1, .name = "post"}));
    ASSERT_OK(shoal_channel_reader(post, &read_post));
    ASSERT_OK(shoal_channel_writer(post, &write_post));
    shoal_any *letter = shoal_any_object(out[0]);
    ASSERT_OK(shoal_channel_write(write_post, letter, SHOAL_FOREVER));
    shoal_any_free(letter);
    out[0] = shoal_channel_end_close(out[0]);
    ASSERT_OK(shoal_channel_retire(in[0]));
    ASSERT_OK(shoal_channel_poison(out[1]));
    text = drawing();
    ASSERT_TRUE(has(text, "\\nretired\", style=dashed];"));
    ASSERT_TRUE(has(text, "poisoned\", style=dashed];"));
    snprintf(line, sizeof line, "c%ld -> p%d [style=dashed, label=\"retired\"];", (long)c0,
             (int)getpid());
    ASSERT_TRUE(has(text, line));
    ASSERT_TRUE(has(text, "[shape=note, label=\"in a message\"];"));
    snprintf(line, sizeof line, " -> c%ld [];", (long)c0);
    ASSERT_TRUE(has(text, line));
    free(text);
    shoal_channel_end_close(read_post);
    shoal_channel_end_close(write_post);
    shoal_channel_close(post);
    close_channels();
}

static void sync_there(void)
{
    ASSERT_OK(shoal_channel_sync(in[0], SHOAL_FOREVER));
}

TEST(inspect_draws_a_barrier)
{
    char line[200], *text;
    words = words_open();
    ASSERT_OK(shoal_channel_create_barrier(&channels[0], "all"));
    ASSERT_OK(shoal_channel_enrol(channels[0], &in[0]));
    ASSERT_OK(shoal_channel_enrol(channels[0], &in[1]));
    pid_t pid = child(sync_there);
    while (!waits_there(pid))
        usleep(1000);
    int64_t c = id_of("channel", 0);
    text = drawing();
    snprintf(line, sizeof line, "c%ld [shape=diamond, label=\"all\"];", (long)c);
    ASSERT_TRUE(has(text, line));
    snprintf(line, sizeof line, "c%ld -> p%d [dir=none, color=red, label=\"waits\"];", (long)c,
             (int)pid);
    ASSERT_TRUE(has(text, line));
    free(text);
    ASSERT_OK(shoal_channel_sync(in[1], SHOAL_FOREVER));
    ends_well(pid);
    shoal_channel_end_close(in[0]);
    shoal_channel_end_close(in[1]);
    shoal_channel_close(channels[0]);
    words_close();
}

TEST(inspect_draws_nothing_of_what_is_no_snapshot)
{
    char *text;
    shoal_any *none = shoal_any_none();
    ASSERT_ERR(shoal_inspect_draw(&text, NULL), -EINVAL);
    ASSERT_ERR(shoal_inspect_draw(&text, none), -EINVAL);
    ASSERT_ERR(shoal_inspect_draw(NULL, none), -EINVAL);
    shoal_any_free(none);
}
