/* connection: what pipe.h promises of messages on stream sockets. */
#include "os/os.h"
#include "processes.h"
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>

static shoal_connection *here, *there;
static int raw; /* the other end, where it is no connection */

static shoal_connection *from(int fd)
{
    shoal_connection *c;
    ASSERT_OK(shoal_connection_from_fd(&c, fd));
    return c;
}

/* Two connections, or one and a bare descriptor. */
static void setup_pair(bool both)
{
    int fds[2];
    ASSERT_SYS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
    here = from(fds[0]);
    raw = fds[1];
    there = both ? from(fds[1]) : NULL;
}

static void done_pair(void)
{
    here = shoal_connection_close(here);
    if (there)
        there = shoal_connection_close(there);
    else if (raw >= 0)
        close(raw);
}

static void raw_write(const void *bytes, size_t size)
{
    for (const char *p = bytes; size;) {
        ssize_t n = ASSERT_SYS(send(raw, p, size, MSG_NOSIGNAL));
        p += n;
        size -= (size_t)n;
    }
}

static void raw_read(void *bytes, size_t size)
{
    for (char *p = bytes; size;) {
        ssize_t n = ASSERT_SYS(read(raw, p, size));
        ASSERT_GT_INT(n, 0);
        p += n;
        size -= (size_t)n;
    }
}

static unsigned char byte_at(size_t i, unsigned seed)
{
    return (unsigned char)(i * 31 + seed + (i >> 11));
}

static unsigned char *pattern(size_t size, unsigned seed)
{
    unsigned char *bytes = calloc(1, size + 1);
    ASSERT_NOT_NULL(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_at(i, seed);
    return bytes;
}

static void is_pattern(const unsigned char *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != byte_at(i, seed))
            FAIL("byte %zu of %zu is %u", i, size, bytes[i]);
}

static void expect(shoal_connection *c, const char *text)
{
    void *bytes = NULL;
    size_t size = 0;
    ASSERT_EQ_INT(shoal_connection_recv_bytes(c, &bytes, &size, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT(size, strlen(text));
    ASSERT_STR((char *)bytes, text); /* there is a zero byte behind it */
    free(bytes);
}

static void say(shoal_connection *c, const char *text)
{
    ASSERT_EQ_INT(shoal_connection_send_bytes(c, text, strlen(text), SHOAL_FOREVER), 0);
}

/* ---- messages ---- */

static const size_t sizes[] = {0,     1,     3,     4,     5,       255,
                               16383, 16384, 16385, 65536, 1 << 20, (3 << 20) + 7};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void send_all_sizes(void)
{
    for (unsigned i = 0; i < SIZES; i++) {
        unsigned char *bytes = pattern(sizes[i], i);
        ASSERT_EQ_INT(shoal_connection_send_bytes(there, bytes, sizes[i], SHOAL_FOREVER), 0);
        free(bytes);
    }
}

TEST(connection_messages_arrive_whole_and_in_order)
{
    setup_pair(true);
    pid_t pid = child(send_all_sizes);
    for (unsigned i = 0; i < SIZES; i++) {
        void *bytes;
        size_t size;
        ASSERT_EQ_INT(shoal_connection_recv_bytes(here, &bytes, &size, SHOAL_FOREVER), 0);
        ASSERT_EQ_INT(size, sizes[i]);
        is_pattern(bytes, size, i);
        free(bytes);
    }
    ends_well(pid);
    pid = child(send_all_sizes);
    unsigned char *buffer = malloc(4 << 20);
    ASSERT_NOT_NULL(buffer);
    for (unsigned i = 0; i < SIZES; i++) {
        size_t size;
        ASSERT_EQ_INT(shoal_connection_recv_bytes_into(here, buffer, 4 << 20, &size, SHOAL_FOREVER),
                      0);
        ASSERT_EQ_INT(size, sizes[i]);
        is_pattern(buffer, size, i);
    }
    free(buffer);
    ends_well(pid);
    done_pair();
}

TEST(connection_lengths_go_before_messages_in_four_bytes)
{
    unsigned char bytes[9];
    setup_pair(false);
    say(here, "hello");
    raw_read(bytes, 9);
    ASSERT_MEM(bytes, "\0\0\0\5hello", 9);
    raw_write("\0\0\0\2ab\0\0\0\0\0\0\0\1c", 15);
    expect(here, "ab");
    expect(here, "");
    expect(here, "c");
    done_pair();
}

TEST(connection_lengths_in_the_long_form_are_understood)
{
    setup_pair(false);
    raw_write("\377\377\377\377\0\0\0\0\0\0\0\5hello\0\0\0\1x", 22);
    expect(here, "hello");
    expect(here, "x");
    done_pair();
}

/* More than 2 GiB of addresses, with 1 MiB of memory behind them. */
enum { WINDOW = 1 << 20 };
static const size_t giant = (size_t)INT32_MAX + 6;

static char *giant_map(void)
{
    size_t room = (giant + WINDOW - 1) / WINDOW * WINDOW;
    int fd = (int)ASSERT_SYS(memfd_create("window", MFD_CLOEXEC));
    ASSERT_SYS(ftruncate(fd, WINDOW));
    char *base = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT_TRUE(base != MAP_FAILED);
    for (size_t at = 0; at < room; at += WINDOW)
        ASSERT_TRUE(mmap(base + at, WINDOW, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
                         0) != MAP_FAILED);
    close(fd);
    return base;
}

static void send_giant(void)
{
    char *bytes = giant_map();
    memset(bytes, 'g', WINDOW);
    ASSERT_EQ_INT(shoal_connection_send_bytes(there, bytes, giant, SHOAL_FOREVER), 0);
    say(there, "after");
}

TEST_WITH_TIMEOUT(connection_messages_beyond_2_GiB_arrive, 300)
{
    size_t size;
    if (!os_features()->robust)
        SKIP("an emulator, which would take a minute for it");
    setup_pair(true);
    pid_t pid = child(send_giant);
    char *buffer = giant_map();
    ASSERT_EQ_INT(shoal_connection_recv_bytes_into(here, buffer, giant, &size, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT((long long)size, (long long)giant);
    ASSERT_EQ_INT(buffer[WINDOW - 1], 'g');
    expect(here, "after");
    munmap(buffer, (giant + WINDOW - 1) / WINDOW * WINDOW);
    ends_well(pid);
    done_pair();
}

/* ---- anys ---- */

TEST(connection_carries_anys)
{
    shoal_any *any = shoal_any_list(shoal_any_int(42), shoal_any_none(), shoal_any_str("hello")),
              *got = NULL;
    setup_pair(true);
    ASSERT_NOT_NULL(any);
    for (int i = 0; i < 3; i++)
        ASSERT_EQ_INT(shoal_connection_send(there, any, SHOAL_FOREVER), 0);
    for (int i = 0; i < 3; i++) {
        ASSERT_EQ_INT(shoal_connection_recv(here, &got, SHOAL_FOREVER), 0);
        ASSERT_EQ_INT(shoal_any_equal(any, got), 1);
        got = shoal_any_free(got);
    }
    ASSERT_ERR(shoal_connection_recv(here, &got, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_connection_send(here, NULL, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_connection_recv(here, NULL, SHOAL_NOW), -EINVAL);
    ASSERT_NULL(got);
    shoal_any_free(any);
    done_pair();
}

TEST(connection_message_that_is_no_any_is_an_error_and_the_next_one_comes)
{
    shoal_any *any = shoal_any_int(1), *got = NULL;
    setup_pair(true);
    say(there, "no pickle");
    say(there, "");
    say(there, "cos\nsystem\n(S'false'\ntR.");
    ASSERT_EQ_INT(shoal_connection_send(there, any, SHOAL_FOREVER), 0);
    for (int i = 0; i < 3; i++)
        ASSERT_ERR(shoal_connection_recv(here, &got, SHOAL_FOREVER), -EBADMSG);
    ASSERT_NULL(got);
    ASSERT_EQ_INT(shoal_connection_recv(here, &got, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT(shoal_any_equal(any, got), 1);
    shoal_any_free(got);
    shoal_any_free(any);
    done_pair();
}

TEST(connection_any_may_be_received_as_bytes_and_in_parts)
{
    static const char pickle[] = "\0\0\0\5\200\4K\7."; /* 7 */
    shoal_any *got = NULL;
    int64_t value = 0;
    setup_pair(false);
    for (size_t i = 0; i < sizeof pickle - 2; i++) {
        raw_write(pickle + i, 1);
        ASSERT_ERR(shoal_connection_recv(here, &got, SHOAL_NOW), -EAGAIN);
    }
    raw_write(pickle + sizeof pickle - 2, 1);
    ASSERT_EQ_INT(shoal_connection_recv(here, &got, SHOAL_NOW), 0);
    ASSERT_OK(shoal_any_as_int(got, &value));
    ASSERT_EQ_INT(value, 7);
    ASSERT_EQ_INT(shoal_connection_send(here, got, SHOAL_FOREVER), 0);
    unsigned char header[4];
    raw_read(header, 4);
    ASSERT_EQ_INT(header[0] + header[1] + header[2], 0);
    char bytes[100];
    ASSERT_LE_INT(header[3], sizeof bytes);
    raw_read(bytes, header[3]);
    ASSERT_MEM(bytes, "\200\4", 2);
    ASSERT_OK(shoal_connection_set_limit(here, 4));
    raw_write(pickle, sizeof pickle - 1);
    shoal_any *none = NULL;
    ASSERT_ERR(shoal_connection_recv(here, &none, SHOAL_NOW), -EMSGSIZE);
    ASSERT_NULL(none);
    shoal_any_free(got);
    done_pair();
}

/* ---- interrupted receiving ---- */

TEST(connection_recv_goes_on_where_a_deadline_had_ended_it)
{
    static const char stream[] =
        "\0\0\0\7message\377\377\377\377\0\0\0\0\0\0\0\4long\0\0\0\0\0\0\0\2ok";
    setup_pair(false);
    void *bytes;
    size_t size;
    char buffer[16];
    const char *wanted[] = {"message", "long", "", "ok"};
    unsigned n = 0;
    for (size_t i = 0; i < sizeof stream - 1;
         i++) { /* a byte at a time, each kind of recv in turn */
        raw_write(stream + i, 1);
        int rc;
        if (i % 2) {
            rc = shoal_connection_recv_bytes(here, &bytes, &size, i % 4 == 1 ? SHOAL_NOW : 1);
            if (!rc) {
                memcpy(buffer, bytes, size);
                free(bytes);
            }
        } else {
            rc = shoal_connection_recv_bytes_into(here, buffer, sizeof buffer, &size,
                                                  i % 4 ? SHOAL_NOW : 1);
        }
        if (rc) {
            ASSERT_ERR(rc, i % 4 == 1 || i % 4 == 2 ? -EAGAIN : -ETIMEDOUT);
            continue;
        }
        ASSERT_LT_INT(n, 4);
        ASSERT_EQ_INT(size, strlen(wanted[n]));
        ASSERT_MEM(buffer, wanted[n], size);
        n++;
    }
    ASSERT_EQ_INT(n, 4);
    done_pair();
}

static _Atomic long *words;

static void receive_interrupted(void)
{
    char buffer[8];
    size_t size;
    int rc;
    let_signals_interrupt();
    atomic_store(&words[0], 1);
    while ((rc = shoal_connection_recv_bytes_into(here, buffer, 8, &size, SHOAL_FOREVER)) == -EINTR)
        atomic_fetch_add(&words[0], 1);
    ASSERT_EQ_INT(rc, 0);
    ASSERT_MEM(buffer, "message", 7);
}

TEST(connection_recv_goes_on_where_a_signal_had_ended_it)
{
    words = words_open();
    setup_pair(false);
    raw_write("\0\0\0\7mess", 8);
    pid_t pid = child(receive_interrupted);
    while (atomic_load(&words[0]) < 3) {
        if (atomic_load(&words[0]))
            kill(pid, SIGUSR1);
        nap();
    }
    raw_write("age", 3);
    ends_well(pid);
    done_pair();
    words_close();
}

/* ---- what does not fit ---- */

TEST(connection_message_beyond_the_buffer_stays_the_next_one)
{
    char buffer[16] = "untouched";
    size_t size = 0;
    setup_pair(true);
    say(there, "0123456789");
    say(there, "next");
    for (int i = 0; i < 2; i++) {
        ASSERT_ERR(shoal_connection_recv_bytes_into(here, buffer, 9, &size, SHOAL_NOW), -EMSGSIZE);
        ASSERT_EQ_INT(size, 10);
        ASSERT_STR(buffer, "untouched");
        ASSERT_EQ_INT(shoal_connection_poll(here, SHOAL_NOW), 0);
    }
    ASSERT_TRUE(strstr(shoal_error_detail(), "10"));
    ASSERT_EQ_INT(shoal_connection_recv_bytes_into(here, buffer, 10, &size, SHOAL_NOW), 0);
    ASSERT_MEM(buffer, "0123456789", 10);
    ASSERT_ERR(shoal_connection_recv_bytes_into(here, NULL, 0, &size, SHOAL_NOW), -EMSGSIZE);
    expect(here, "next");
    done_pair();
}

TEST(connection_message_beyond_the_limit_stays_the_next_one)
{
    void *bytes = NULL;
    size_t size = 0;
    setup_pair(true);
    ASSERT_OK(shoal_connection_set_limit(here, 4));
    say(there, "four");
    say(there, "fives");
    expect(here, "four");
    ASSERT_ERR(shoal_connection_recv_bytes(here, &bytes, &size, SHOAL_NOW), -EMSGSIZE);
    ASSERT_EQ_INT(size, 5);
    ASSERT_NULL(bytes);
    say(here, "sending goes on, limits are for receiving");
    ASSERT_OK(shoal_connection_set_limit(here, 5));
    expect(here, "fives");
    ASSERT_OK(shoal_connection_set_limit(here, 0));
    say(there, "any length");
    expect(here, "any length");
    expect(there, "sending goes on, limits are for receiving");
    done_pair();
}

TEST(connection_announced_length_takes_no_memory)
{
    void *bytes;
    size_t size;
    setup_pair(false);
    raw_write("\377\377\377\377\0\0\100\0\0\0\0\0only this", 21); /* 64 TiB */
    ASSERT_ERR(shoal_connection_recv_bytes(here, &bytes, &size, SHOAL_NOW), -EAGAIN);
    close(raw);
    raw = -1;
    ASSERT_ERR(shoal_connection_recv_bytes(here, &bytes, &size, SHOAL_NOW), -EPIPE);
    done_pair();
}

TEST(connection_length_that_makes_no_sense_is_an_error)
{
    static const char *const bad[] = {"\200\0\0\0", "\377\377\377\376", "\377\377\377\376\0\0\0\0"};
    void *bytes;
    size_t size;
    for (unsigned i = 0; i < 3; i++) {
        setup_pair(false);
        raw_write(bad[i], i < 2 ? 4 : 8);
        ASSERT_ERR(shoal_connection_recv_bytes(here, &bytes, &size, SHOAL_NOW), -EPROTO);
        ASSERT_ERR(shoal_connection_recv_bytes(here, &bytes, &size, SHOAL_NOW), -EPROTO);
        ASSERT_EQ_INT(shoal_connection_poll(here, SHOAL_NOW), 0);
        done_pair();
    }
    setup_pair(false);
    raw_write("\377\377\377\377\377\377\377\377\377\377\377\377", 12);
    ASSERT_ERR(shoal_connection_recv_bytes(here, &bytes, &size, SHOAL_NOW), -EMSGSIZE);
    done_pair();
}

/* ---- sending what the peer does not take ---- */

enum { BIG = 8 << 20 }; /* more than any socket holds by default */

static void receive_three(void)
{
    void *bytes;
    size_t size;
    ASSERT_EQ_INT(shoal_connection_recv_bytes(there, &bytes, &size, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT(size, BIG);
    is_pattern(bytes, size, 1);
    free(bytes);
    expect(there, "second");
    say(there, "answer");
}

TEST(connection_send_that_has_begun_counts_as_sent_and_what_has_not_is_not)
{
    setup_pair(true);
    unsigned char *big = pattern(BIG, 1);
    ASSERT_EQ_INT(shoal_connection_send_bytes(here, big, BIG, SHOAL_NOW), SHOAL_UNDER_WAY);
    memset(big, 0, BIG); /* the rest was copied */
    ASSERT_ERR(shoal_connection_send_bytes(here, "never", 5, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_connection_send_bytes(here, "never", 5, shoal_after(0.01)), -ETIMEDOUT);
    ASSERT_ERR(shoal_connection_flush(here, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_connection_flush(here, shoal_after(0.01)), -ETIMEDOUT);
    pid_t pid = child(receive_three);
    ASSERT_EQ_INT(shoal_connection_flush(here, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT(shoal_connection_flush(here, SHOAL_NOW), 0);
    say(here, "second");
    expect(here, "answer");
    ends_well(pid);
    free(big);
    done_pair();
}

static void answer_big(void)
{
    void *bytes;
    size_t size;
    ASSERT_EQ_INT(shoal_connection_recv_bytes(there, &bytes, &size, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT(size, BIG);
    free(bytes);
    say(there, "got it");
}

TEST(connection_recv_and_poll_send_what_is_under_way)
{
    setup_pair(true);
    unsigned char *big = pattern(BIG, 1);
    for (int i = 0; i < 2; i++) {
        ASSERT_EQ_INT(shoal_connection_send_bytes(here, big, BIG, SHOAL_NOW), SHOAL_UNDER_WAY);
        pid_t pid = child(answer_big);
        if (i)
            ASSERT_EQ_INT(shoal_connection_poll(here, SHOAL_FOREVER), 0);
        expect(here, "got it");
        ends_well(pid);
    }
    free(big);
    done_pair();
}

static void on_counted_signal(int signal)
{
    (void)signal;
    atomic_fetch_add(&words[1], 1);
}

static void send_counting(void)
{
    struct sigaction action = {.sa_handler = on_counted_signal};
    ASSERT_SYS(sigaction(SIGUSR1, &action, NULL));
    unsigned char *big = pattern(BIG, 1);
    atomic_store(&words[0], 1);
    ASSERT_EQ_INT(shoal_connection_send_bytes(there, big, BIG, SHOAL_FOREVER), 0);
    free(big);
}

TEST(connection_send_without_a_deadline_is_not_cut_by_signals)
{
    void *bytes;
    size_t size;
    words = words_open();
    setup_pair(true);
    pid_t pid = child(send_counting);
    ASSERT_EQ_INT(shoal_connection_poll(here, SHOAL_FOREVER), 0); /* it has begun */
    while (atomic_load(&words[1]) < 5) {
        kill(pid, SIGUSR1);
        nap();
    }
    ASSERT_EQ_INT(shoal_connection_recv_bytes(here, &bytes, &size, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT(size, BIG);
    is_pattern(bytes, size, 1);
    free(bytes);
    ends_well(pid);
    done_pair();
    words_close();
}

static void send_until_interrupted(void)
{
    unsigned char *big = pattern(BIG, 1);
    let_signals_interrupt();
    ASSERT_EQ_INT(shoal_connection_send_bytes(there, big, BIG, SHOAL_NOW), SHOAL_UNDER_WAY);
    free(big);
    atomic_store(&words[0], 1);
    ASSERT_ERR(shoal_connection_send_bytes(there, "x", 1, SHOAL_FOREVER), -EINTR);
    ASSERT_ERR(shoal_connection_flush(there, SHOAL_FOREVER), -EINTR);
}

TEST(connection_send_that_has_not_begun_is_ended_by_signals)
{
    words = words_open();
    setup_pair(true);
    pid_t pid = child(send_until_interrupted);
    until_word(words, 1);
    interrupt_until_end(pid);
    done_pair();
    words_close();
}

/* ---- the peer's end ---- */

static void send_and_die(void)
{
    say(there, "first");
    say(there, "second");
    ASSERT_EQ_INT(shoal_connection_send_bytes(there, NULL, 0, SHOAL_FOREVER), 0);
    raise(SIGKILL);
}

TEST(connection_delivers_what_a_killed_peer_had_sent_and_then_tells)
{
    void *bytes = NULL;
    size_t size;
    int status;
    setup_pair(true);
    pid_t pid = child(send_and_die);
    there = shoal_connection_close(there);
    raw = -1;
    ASSERT_SYS(waitpid(pid, &status, 0));
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    expect(here, "first");
    expect(here, "second");
    expect(here, "");
    for (int i = 0; i < 2; i++) {
        ASSERT_EQ_INT(shoal_connection_poll(here, SHOAL_FOREVER), 0);
        ASSERT_ERR(shoal_connection_recv_bytes(here, &bytes, &size, SHOAL_FOREVER), -EPIPE);
        ASSERT_ERR(shoal_connection_send_bytes(here, "x", 1, SHOAL_FOREVER), -EPIPE);
    }
    ASSERT_NULL(bytes);
    done_pair();
}

TEST(connection_never_delivers_a_part_of_a_message)
{
    void *bytes = NULL;
    size_t size;
    for (size_t n = 1; n < 9; n++) { /* all but the last byte at most */
        setup_pair(false);
        raw_write("\0\0\0\5hello", n);
        close(raw);
        raw = -1;
        ASSERT_ERR(shoal_connection_recv_bytes(here, &bytes, &size, SHOAL_FOREVER), -EPIPE);
        ASSERT_NULL(bytes);
        ASSERT_TRUE(strstr(shoal_error_detail(), "middle"));
        done_pair();
    }
}

TEST(connection_that_is_reset_delivers_the_rest_first)
{
    void *bytes;
    size_t size;
    setup_pair(false);
    say(here, "unread"); /* the peer closes with this unread: a reset */
    raw_write("\0\0\0\4rest", 8);
    close(raw);
    raw = -1;
    expect(here, "rest");
    ASSERT_ERR(shoal_connection_recv_bytes(here, &bytes, &size, SHOAL_FOREVER), -EPIPE);
    ASSERT_ERR(shoal_connection_recv_bytes(here, &bytes, &size, SHOAL_FOREVER), -EPIPE);
    done_pair();
}

TEST(connection_sending_to_nobody_raises_no_signal)
{
    setup_pair(false);
    close(raw);
    raw = -1;
    ASSERT_SYS(signal(SIGPIPE, SIG_DFL) == SIG_ERR ? -1 : 0);
    ASSERT_ERR(shoal_connection_send_bytes(here, "x", 1, SHOAL_FOREVER), -EPIPE);
    ASSERT_ERR(shoal_connection_send_bytes(here, "x", 1, SHOAL_FOREVER), -EPIPE);
    done_pair();
}

TEST(connection_that_loses_its_peer_during_a_message_tells_so)
{
    setup_pair(false);
    unsigned char *big = pattern(BIG, 1);
    ASSERT_EQ_INT(shoal_connection_send_bytes(here, big, BIG, SHOAL_NOW), SHOAL_UNDER_WAY);
    close(raw);
    raw = -1;
    ASSERT_ERR(shoal_connection_flush(here, SHOAL_FOREVER), -EPIPE);
    ASSERT_ERR(shoal_connection_send_bytes(here, "x", 1, SHOAL_FOREVER), -EPIPE);
    free(big);
    done_pair();
}

/* ---- all of it at once ---- */

enum { MIXED = 400, MIXED_SIZE = 150000 };

static unsigned next_random(unsigned *state)
{
    *state = *state * 1103515245 + 12345;
    return *state >> 8;
}

static int64_t some_deadline(unsigned *state)
{
    switch (next_random(state) % 4) {
    case 0: return SHOAL_NOW;
    case 1: return shoal_after(0.0001);
    case 2: return 1;
    default: return SHOAL_FOREVER;
    }
}

/* Large ones seldom. */
static size_t mixed_size(unsigned i)
{
    return i % 7 ? i * 37 % 300 : i * 7919 % MIXED_SIZE;
}

static void signal_often(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    ASSERT_SYS(sigaction(SIGALRM, &action, NULL));
    struct itimerval often = {{.tv_usec = 700}, {.tv_usec = 700}};
    ASSERT_SYS(setitimer(ITIMER_REAL, &often, NULL));
}

static void send_mixed(void)
{
    unsigned state = 1;
    signal_often();
    for (unsigned i = 0; i < MIXED; i++) {
        unsigned char *bytes = pattern(mixed_size(i), i);
        int rc;
        while ((rc = shoal_connection_send_bytes(there, bytes, mixed_size(i),
                                                 some_deadline(&state))) < 0)
            ASSERT_TRUE(rc == -EAGAIN || rc == -ETIMEDOUT || rc == -EINTR);
        free(bytes);
    }
    int rc;
    while ((rc = shoal_connection_flush(there, SHOAL_FOREVER)) == -EINTR)
        ;
    ASSERT_EQ_INT(rc, 0);
}

TEST(connection_stays_whole_whatever_deadlines_and_signals_do)
{
    unsigned state = 2;
    static unsigned char buffer[MIXED_SIZE];
    setup_pair(true);
    int small = 20000;
    ASSERT_SYS(
        setsockopt(shoal_connection_fileno(there), SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
    pid_t pid = child(send_mixed);
    signal_often();
    for (unsigned i = 0; i < MIXED;) {
        void *got = buffer;
        size_t size, capacity = next_random(&state) % 2 ? sizeof buffer : 200;
        bool into = next_random(&state) % 2;
        int64_t deadline = some_deadline(&state);
        int rc = into ? shoal_connection_recv_bytes_into(here, buffer, capacity, &size, deadline)
                      : shoal_connection_recv_bytes(here, &got, &size, deadline);
        if (rc == -EMSGSIZE) {
            ASSERT_EQ_INT(size, mixed_size(i));
            ASSERT_GT_INT(size, capacity);
        } else if (rc < 0) {
            ASSERT_TRUE(rc == -EAGAIN || rc == -ETIMEDOUT || rc == -EINTR);
        } else {
            ASSERT_EQ_INT(size, mixed_size(i));
            is_pattern(got, size, i);
            if (got != buffer)
                free(got);
            i++;
        }
    }
    ASSERT_SYS(setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL));
    ends_well(pid);
    ASSERT_ERR(shoal_connection_poll(here, SHOAL_NOW), -EAGAIN);
    done_pair();
}

/* ---- poll ---- */

TEST(connection_poll_tells_whether_there_is_something_to_receive)
{
    setup_pair(true);
    struct pollfd fd = {.fd = shoal_connection_fileno(here), .events = POLLIN};
    ASSERT_ERR(shoal_connection_poll(here, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_connection_poll(here, shoal_after(0.01)), -ETIMEDOUT);
    ASSERT_EQ_INT(poll(&fd, 1, 0), 0);
    say(there, "x");
    ASSERT_EQ_INT(shoal_connection_poll(here, SHOAL_NOW), 0);
    ASSERT_EQ_INT(shoal_connection_poll(here, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT(poll(&fd, 1, 0), 1);
    expect(here, "x");
    ASSERT_ERR(shoal_connection_poll(here, SHOAL_NOW), -EAGAIN);
    there = shoal_connection_close(there);
    raw = -1;
    ASSERT_EQ_INT(shoal_connection_poll(here, SHOAL_NOW), 0);
    done_pair();
}

/* ---- handles ---- */

static void all_fail(shoal_connection *c, int rc)
{
    void *bytes = NULL;
    shoal_any *any = NULL;
    ASSERT_ERR(shoal_connection_send(c, any, SHOAL_NOW), rc);
    ASSERT_ERR(shoal_connection_recv(c, &any, SHOAL_NOW), rc);
    size_t size;
    char buffer[1];
    ASSERT_ERR(shoal_connection_send_bytes(c, "x", 1, SHOAL_NOW), rc);
    ASSERT_ERR(shoal_connection_flush(c, SHOAL_NOW), rc);
    ASSERT_ERR(shoal_connection_recv_bytes(c, &bytes, &size, SHOAL_NOW), rc);
    ASSERT_ERR(shoal_connection_recv_bytes_into(c, buffer, 1, &size, SHOAL_NOW), rc);
    ASSERT_ERR(shoal_connection_poll(c, SHOAL_NOW), rc);
    ASSERT_ERR(shoal_connection_set_limit(c, 1), rc);
    ASSERT_ERR(shoal_connection_fileno(c), rc);
    ASSERT_TRUE(shoal_error_detail()[0]);
    ASSERT_NULL(shoal_connection_close(c));
}

TEST(connection_handles_that_are_null_closed_or_of_another_type_are_errors)
{
    shoal_lock *lock;
    shoal_listener *listener;
    all_fail(NULL, -EINVAL);
    setup_pair(true);
    shoal_connection *old = here;
    here = shoal_connection_close(here);
    all_fail(old, -EBADF);
    int fds[2];
    ASSERT_SYS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
    here = from(fds[0]); /* in its place */
    close(fds[1]);
    all_fail(old, -EBADF);
    ASSERT_OK(shoal_lock_create(&lock, NULL));
    all_fail((shoal_connection *)(void *)lock, -EBADF);
    ASSERT_ERR(shoal_lock_acquire((shoal_lock *)(void *)here, SHOAL_NOW), -EBADF);
    shoal_lock_close(lock);
    ASSERT_OK(shoal_listener_create(&listener, NULL,
                                    &(shoal_listener_options){.flags = SHOAL_NO_AUTHKEY}));
    all_fail((shoal_connection *)(void *)listener, -EBADF);
    shoal_listener_close(listener);
    done_pair();
}

TEST(connection_arguments_that_make_no_sense_are_errors)
{
    void *bytes;
    size_t size;
    char buffer[1];
    shoal_connection *c = NULL;
    setup_pair(true);
    ASSERT_ERR(shoal_connection_send_bytes(here, NULL, 1, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_connection_recv_bytes(here, NULL, &size, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_connection_recv_bytes(here, &bytes, NULL, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_connection_recv_bytes_into(here, NULL, 1, &size, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_connection_recv_bytes_into(here, buffer, 1, NULL, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_connection_from_fd(NULL, shoal_connection_fileno(here)), -EINVAL);
    ASSERT_ERR(shoal_connection_from_fd(&c, -1), -EBADF);
    int fd = (int)ASSERT_SYS(open("/dev/null", O_RDWR | O_CLOEXEC));
    ASSERT_ERR(shoal_connection_from_fd(&c, fd), -ENOTSOCK);
    close(fd);
    fd = (int)ASSERT_SYS(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ASSERT_ERR(shoal_connection_from_fd(&c, fd), -EINVAL);
    close(fd);
    ASSERT_NULL(c);
    done_pair();
}

TEST(connection_calls_leave_errno_alone_and_descriptors_close_on_exec)
{
    void *bytes;
    size_t size;
    int fds[2];
    ASSERT_SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    here = from(fds[0]);
    ASSERT_EQ_INT(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
    errno = 12345;
    ASSERT_ERR(shoal_connection_recv_bytes(here, &bytes, &size, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_connection_poll(here, SHOAL_NOW), -EAGAIN);
    close(fds[1]);
    ASSERT_EQ_INT(errno, 12345);
    ASSERT_ERR(shoal_connection_send_bytes(here, "x", 1, SHOAL_NOW), -EPIPE);
    here = shoal_connection_close(here);
    ASSERT_EQ_INT(errno, 12345);
}

TEST(connection_blocks_are_reused_many_times)
{
    shoal_connection *old = NULL;
    for (int i = 0; i < 600; i++) {
        setup_pair(true);
        if (old)
            ASSERT_TRUE(here != old); /* whatever block it is, the tag differs */
        say(here, "x");
        expect(there, "x");
        old = there;
        done_pair();
    }
}

/* ---- threads ---- */

enum { THREADS = 4, ROUNDS = 500 };
static _Atomic long received[THREADS];

struct note {
    unsigned sender, number, size;
    unsigned char bytes[1200];
};

static void *send_many(void *argument)
{
    struct note note = {.sender = (unsigned)(uintptr_t)argument};
    for (note.number = 0; note.number < ROUNDS; note.number++) {
        note.size = (note.number * 7 + note.sender) % sizeof note.bytes;
        memset(note.bytes, (int)(note.sender + note.number), note.size);
        ASSERT_EQ_INT(shoal_connection_send_bytes(here, &note,
                                                  offsetof(struct note, bytes) + note.size,
                                                  SHOAL_FOREVER),
                      0);
    }
    return NULL;
}

static void *receive_many(void *argument)
{
    struct note note;
    size_t size;
    (void)argument;
    for (int i = 0; i < ROUNDS; i++) {
        ASSERT_EQ_INT(shoal_connection_recv_bytes_into(there, &note, sizeof note, &size,
                                                       SHOAL_FOREVER),
                      0);
        ASSERT_EQ_INT(size, offsetof(struct note, bytes) + note.size);
        for (unsigned k = 0; k < note.size; k++)
            ASSERT_EQ_INT(note.bytes[k], (unsigned char)(note.sender + note.number));
        ASSERT_LT_INT(note.sender, THREADS);
        atomic_fetch_add(&received[note.sender], 1);
    }
    return NULL;
}

TEST(connection_may_be_used_by_many_threads_at_once)
{
    pthread_t threads[2 * THREADS];
    setup_pair(true);
    for (uintptr_t i = 0; i < THREADS; i++) {
        ASSERT_EQ_INT(pthread_create(&threads[i], NULL, send_many, (void *)i), 0);
        ASSERT_EQ_INT(pthread_create(&threads[THREADS + i], NULL, receive_many, NULL), 0);
    }
    for (unsigned i = 0; i < 2 * THREADS; i++)
        ASSERT_EQ_INT(pthread_join(threads[i], NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        ASSERT_EQ_INT(received[i], ROUNDS);
    done_pair();
}

static _Atomic pid_t thread_id;
static _Atomic int thread_result;

static void *receive_one(void *argument)
{
    void *bytes;
    size_t size;
    (void)argument;
    atomic_store(&thread_id, gettid());
    int rc = shoal_connection_recv_bytes(here, &bytes, &size, SHOAL_FOREVER);
    if (!rc)
        free(bytes);
    atomic_store(&thread_result, rc);
    return NULL;
}

static pthread_t receiver(void)
{
    pthread_t thread;
    atomic_store(&thread_id, 0);
    atomic_store(&thread_result, 1);
    ASSERT_EQ_INT(pthread_create(&thread, NULL, receive_one, NULL), 0);
    while (!atomic_load(&thread_id))
        nap();
    until_asleep(atomic_load(&thread_id));
    return thread;
}

TEST(connection_close_ends_the_calls_of_other_threads)
{
    setup_pair(true);
    pthread_t thread = receiver();
    ASSERT_ERR(shoal_connection_poll(here, SHOAL_NOW), -EAGAIN); /* it is the other's turn */
    shoal_connection *old = here;
    here = shoal_connection_close(here);
    ASSERT_EQ_INT(pthread_join(thread, NULL), 0);
    ASSERT_EQ_INT(thread_result, -EBADF);
    all_fail(old, -EBADF);
    done_pair();
}

static void send_from_child(void)
{
    void *bytes;
    size_t size;
    /* Another thread of the parent was receiving when this process was forked. */
    ASSERT_ERR(shoal_connection_recv_bytes(here, &bytes, &size, SHOAL_FOREVER), -EPIPE);
    until_word(words, 1); /* the parent has closed its own */
    say(here, "from the child");
}

TEST(connection_close_leaves_a_childs_copy_alone)
{
    words = words_open();
    setup_pair(true);
    pthread_t thread = receiver();
    pid_t pid = child(send_from_child);
    here = shoal_connection_close(here);
    atomic_store(&words[0], 1);
    expect(there, "from the child");
    ends_well(pid);
    say(there, "for the thread, whose call still has the descriptor");
    ASSERT_EQ_INT(pthread_join(thread, NULL), 0);
    ASSERT_EQ_INT(thread_result, 0);
    done_pair();
    words_close();
}

static void close_and_send_in_child(void)
{
    char *nothing = NULL;
    ASSERT_ERR(shoal_connection_send_bytes(here, &nothing, 1, SHOAL_NOW), -EPIPE);
    ASSERT_ERR(shoal_connection_poll(here, SHOAL_NOW), -EAGAIN);
    here = shoal_connection_close(here);
}

TEST(connection_sends_what_is_under_way_once_whoever_forks)
{
    setup_pair(true);
    unsigned char *big = pattern(BIG, 1);
    ASSERT_EQ_INT(shoal_connection_send_bytes(here, big, BIG, SHOAL_NOW), SHOAL_UNDER_WAY);
    pid_t reader = child(receive_three);
    ends_well(child(close_and_send_in_child));
    say(here, "second");
    expect(here, "answer");
    ends_well(reader);
    free(big);
    done_pair();
}

static void talk_in_child(void)
{
    expect(here, "to the child");
    say(here, "from the child");
}

TEST(connection_is_inherited_by_fork)
{
    setup_pair(true);
    say(there, "to the child");
    ends_well(child(talk_in_child));
    expect(there, "from the child");
    say(here, "from the parent");
    expect(there, "from the parent");
    done_pair();
}
