/* listener, client, authentication: what pipe.h promises. Python as the peer: tests/python. */
#include "processes.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static shoal_listener *listener;
static shoal_address address; /* where it listens; children inherit it */
static const char key[] = "a key", other_key[] = "another key";

static shoal_listener_options with_key(void)
{
#if SHOAL_CRYPTO
    return (shoal_listener_options){.authkey = key, .authkey_size = sizeof key};
#else
    SKIP("built without libcrypto");
#endif
}

static void listen_with(const shoal_address *where, const shoal_listener_options *options)
{
    ASSERT_OK(shoal_listener_create(&listener, where, options));
    ASSERT_OK(shoal_listener_address(listener, &address));
}

static void listen_with_key(void)
{
    shoal_listener_options options = with_key();
    listen_with(NULL, &options);
}

static void listen_without_key(const shoal_address *where)
{
    listen_with(where, &(shoal_listener_options){.flags = SHOAL_NO_AUTHKEY});
}

static void done_listener(void)
{
    ASSERT_NULL(shoal_listener_close(listener));
}

/* A bare socket that has called at a Unix socket. */
static int call(void)
{
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    strcpy(where.sun_path, address.path);
    int fd = (int)ASSERT_SYS(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_SYS(connect(fd, (struct sockaddr *)&where, sizeof where));
    return fd;
}

static void raw_write(int fd, const void *bytes, size_t size)
{
    ASSERT_EQ_INT(ASSERT_SYS(send(fd, bytes, size, MSG_NOSIGNAL)), (long long)size);
}

/* To one that may have closed its end: it needs no more to know that this is nonsense. */
static void raw_offer(int fd, const void *bytes, size_t size)
{
    if (send(fd, bytes, size, MSG_NOSIGNAL) < 0)
        ASSERT_TRUE(errno == EPIPE || errno == ECONNRESET);
}

/* A message as it is framed; its length. */
static size_t raw_message(int fd, char *ret, size_t room)
{
    unsigned char header[4];
    ASSERT_EQ_INT(ASSERT_SYS(recv(fd, header, 4, MSG_WAITALL)), 4);
    size_t size =
        (size_t)header[0] << 24 | (size_t)header[1] << 16 | (size_t)header[2] << 8 | header[3];
    ASSERT_LE_INT(size, room);
    ASSERT_EQ_INT(ASSERT_SYS(recv(fd, ret, size, MSG_WAITALL)), (long long)size);
    return size;
}

static void expect(shoal_connection *c, const char *text)
{
    void *bytes = NULL;
    size_t size = 0;
    ASSERT_EQ_INT(shoal_connection_recv_bytes(c, &bytes, &size, SHOAL_FOREVER), 0);
    ASSERT_STR((char *)bytes, text);
    free(bytes);
}

static void say(shoal_connection *c, const char *text)
{
    ASSERT_EQ_INT(shoal_connection_send_bytes(c, text, strlen(text), SHOAL_FOREVER), 0);
}

/* ---- the client's side, in children ---- */

static shoal_client_options client_options;

static int try_client(shoal_connection **ret)
{
    return shoal_client(ret, &address, &client_options, SHOAL_FOREVER);
}

static void client_talks(void)
{
    shoal_connection *c;
    ASSERT_OK(try_client(&c));
    say(c, "from the client");
    expect(c, "from the listener");
    shoal_connection_close(c);
}

static void client_is_refused(void)
{
    shoal_connection *c = NULL;
    ASSERT_ERR(try_client(&c), -EACCES);
    ASSERT_TRUE(strstr(shoal_error_detail(), "key"));
    ASSERT_NULL(c);
}

static pid_t client(const void *authkey, size_t size, void (*body)(void))
{
    client_options = (shoal_client_options){.flags = authkey || size ? 0 : SHOAL_NO_AUTHKEY,
                                            .authkey = authkey,
                                            .authkey_size = size};
    return child(body);
}

/* The listener is as good as new: somebody with the key gets through. */
static void still_serves(void)
{
    shoal_connection *c;
    pid_t pid = client(key, sizeof key, client_talks);
    ASSERT_EQ_INT(shoal_listener_accept(listener, &c, SHOAL_FOREVER), 0);
    expect(c, "from the client");
    say(c, "from the listener");
    shoal_connection_close(c);
    ends_well(pid);
}

/* ---- where ---- */

static void serves_without_a_key(void)
{
    shoal_connection *c;
    pid_t pid = client(NULL, 0, client_talks);
    ASSERT_EQ_INT(shoal_listener_accept(listener, &c, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT(fcntl(shoal_connection_fileno(c), F_GETFD), FD_CLOEXEC);
    expect(c, "from the client");
    say(c, "from the listener");
    shoal_connection_close(c);
    ends_well(pid);
}

TEST(listener_without_an_address_has_a_private_directory_until_its_close)
{
    struct stat s;
    char directory[120];
    listen_without_key(NULL);
    ASSERT_NOT_NULL(address.path);
    ASSERT_EQ_INT(address.path_size, strlen(address.path));
    strcpy(directory, address.path);
    *strrchr(directory, '/') = 0;
    ASSERT_SYS(stat(directory, &s));
    ASSERT_EQ_INT(s.st_mode & 0777, 0700);
    ASSERT_EQ_INT(fcntl(shoal_listener_fileno(listener), F_GETFD), FD_CLOEXEC);
    serves_without_a_key();
    done_listener();
    ASSERT_EQ_INT(stat(directory, &s), -1);
}

static void close_in_child(void)
{
    done_listener();
}

static char place[64];
static const char *new_place(void)
{
    strcpy(place, "/tmp/shoal-test-XXXXXX");
    ASSERT_NOT_NULL(mkdtemp(place));
    strcat(place, "/socket");
    return place;
}

static void no_place(void)
{
    *strrchr(place, '/') = 0;
    ASSERT_SYS(rmdir(place)); /* it is empty */
}

TEST(listener_path_is_removed_by_its_maker_alone)
{
    listen_without_key(&(shoal_address){.path = new_place()});
    ASSERT_STR(address.path, place);
    ends_well(child(close_in_child));
    serves_without_a_key(); /* so it is still there */
    done_listener();
    no_place();
}

static void exit_with_listener(void)
{
    listen_without_key(&(shoal_address){.path = place});
    exit(0);
}

TEST(listener_path_is_removed_at_exit)
{
    new_place();
    ends_well(child(exit_with_listener));
    no_place();
}

TEST(listener_path_of_another_is_left_alone)
{
    struct stat s;
    listen_without_key(&(shoal_address){.path = new_place()});
    ASSERT_SYS(unlink(place));
    int fd = (int)ASSERT_SYS(open(place, O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    close(fd);
    done_listener();
    ASSERT_SYS(stat(place, &s));
    ASSERT_SYS(unlink(place));
    no_place();
}

TEST(listener_may_have_an_abstract_name)
{
    char name[40] = "";
    size_t size = 1 + (size_t)snprintf(name + 1, sizeof name - 2, "shoal test %d", getpid()) + 1;
    name[size++] = 'z'; /* a zero byte inside */
    listen_without_key(&(shoal_address){.path = name, .path_size = size});
    ASSERT_EQ_INT(address.path_size, size);
    ASSERT_MEM(address.path, name, size);
    serves_without_a_key();
    done_listener();
}

TEST(listener_on_tcp_tells_its_port)
{
    listen_without_key(&(shoal_address){.host = "127.0.0.1"});
    ASSERT_STR(address.host, "127.0.0.1");
    ASSERT_NULL(address.path);
    ASSERT_GT_INT(address.port, 0);
    serves_without_a_key();
    shoal_listener *second = NULL;
    ASSERT_ERR(shoal_listener_create(&second, &address, NULL),
               SHOAL_CRYPTO ? -EADDRINUSE : -ENOTSUP);
    ASSERT_NULL(second);
    done_listener();
}

TEST(listener_on_tcp_of_IPv6_tells_its_port)
{
    struct sockaddr_in6 own = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof own)) {
        close(fd);
        SKIP("this machine has no ::1");
    }
    close(fd);
    listen_without_key(&(shoal_address){.host = "::1"});
    ASSERT_STR(address.host, "::1");
    ASSERT_GT_INT(address.port, 0);
    serves_without_a_key();
    done_listener();
}

TEST(listener_on_a_name_is_where_Python_looks_for_it)
{
    shoal_address where = {.host = "localhost"};
    int rc = shoal_listener_create(&listener, &where,
                                   &(shoal_listener_options){.flags = SHOAL_NO_AUTHKEY});
    if (rc == -EHOSTUNREACH)
        SKIP("this machine does not know localhost");
    ASSERT_OK(rc);
    ASSERT_OK(shoal_listener_address(listener, &address));
    ASSERT_STR(address.host, "127.0.0.1");
    address.host = "localhost";
    serves_without_a_key();
    done_listener();
}

TEST(listener_addresses_that_make_no_sense_are_errors)
{
    char path[200];
    shoal_listener *l = NULL;
    shoal_connection *c = NULL;
    memset(path, 'p', sizeof path);
    path[0] = '/';
    path[108] = 0;
    const struct {
        shoal_address address;
        int rc;
    } bad[] = {
        {{.path = "/tmp/x", .host = "127.0.0.1"}, -EINVAL},
        {{.port = 80}, -EINVAL},
        {{.path = ""}, -EINVAL},
        {{.host = ""}, -EINVAL},
        {{.path = "/a\0b", .path_size = 4}, -EINVAL},
        {{.host = "127.0.0.1", .port = 65536}, -EINVAL},
        {{.path = path}, -ENAMETOOLONG},
    };
    shoal_listener_options open_listener = {.flags = SHOAL_NO_AUTHKEY};
    shoal_client_options open_client = {.flags = SHOAL_NO_AUTHKEY};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        ASSERT_ERR(shoal_listener_create(&l, &bad[i].address, &open_listener), bad[i].rc);
        ASSERT_ERR(shoal_client(&c, &bad[i].address, &open_client, SHOAL_NOW), bad[i].rc);
    }
    ASSERT_ERR(shoal_listener_create(&l, &(shoal_address){.path = "/nowhere/x"}, &open_listener),
               -ENOENT);
    ASSERT_NULL(l);
    ASSERT_NULL(c);
}

TEST(listener_options_that_make_no_sense_are_errors)
{
    shoal_listener *l = NULL;
    shoal_connection *c = NULL;
    const shoal_listener_options bad[] = {
        {.flags = 2},
        {.flags = SHOAL_NO_AUTHKEY, .backlog = -1},
        {.flags = SHOAL_NO_AUTHKEY, .handshake = -1},
        {.flags = SHOAL_NO_AUTHKEY, .handshake = 1e300},
        {.flags = SHOAL_NO_AUTHKEY, .pending = 1u << 31},
    };
    shoal_address where = {.path = "/tmp/x"};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        ASSERT_ERR(shoal_listener_create(&l, NULL, &bad[i]), -EINVAL);
    int none = SHOAL_CRYPTO ? -EINVAL : -ENOTSUP;
    ASSERT_ERR(shoal_listener_create(&l, NULL, &(shoal_listener_options){.authkey = "", 0}), none);
    ASSERT_ERR(shoal_listener_create(NULL, NULL, NULL), -EINVAL);
    ASSERT_ERR(shoal_client(&c, &where, &(shoal_client_options){.flags = 2}, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_client(&c, &where, &(shoal_client_options){.authkey = ""}, SHOAL_NOW), none);
    ASSERT_ERR(shoal_client(NULL, &where, NULL, SHOAL_NOW), -EINVAL);
    ASSERT_NULL(l);
    ASSERT_NULL(c);
}

/* ---- accept ---- */

TEST(listener_handles_that_are_null_closed_or_of_another_type_are_errors)
{
    shoal_connection *c = NULL;
    listen_without_key(NULL);
    shoal_listener *old = listener;
    ASSERT_ERR(shoal_listener_accept(listener, NULL, SHOAL_NOW), -EINVAL);
    ASSERT_ERR(shoal_listener_address(listener, NULL), -EINVAL);
    ASSERT_ERR(shoal_listener_accept(NULL, &c, SHOAL_NOW), -EINVAL);
    done_listener();
    ASSERT_ERR(shoal_listener_accept(old, &c, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_listener_address(old, &address), -EBADF);
    ASSERT_ERR(shoal_listener_fileno(old), -EBADF);
    ASSERT_NULL(shoal_listener_close(old));
    ASSERT_NULL(shoal_listener_close(NULL));
    ASSERT_NULL(c);
}

static _Atomic long *words;

static void accept_interrupted(void)
{
    shoal_connection *c;
    let_signals_interrupt();
    ASSERT_ERR(shoal_listener_accept(listener, &c, SHOAL_FOREVER), -EINTR);
}

TEST(listener_accept_ends_at_its_deadline_and_at_signals)
{
    shoal_connection *c = NULL;
    listen_without_key(NULL);
    ASSERT_ERR(shoal_listener_accept(listener, &c, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_listener_accept(listener, &c, shoal_after(0.01)), -ETIMEDOUT);
    pid_t pid = child(accept_interrupted);
    until_asleep(pid);
    interrupt_until_end(pid);
    ASSERT_NULL(c);
    done_listener();
}

static _Atomic pid_t thread_id;
static _Atomic int thread_result;

static void *accept_one(void *argument)
{
    shoal_connection *c;
    (void)argument;
    atomic_store(&thread_id, gettid());
    atomic_store(&thread_result, shoal_listener_accept(listener, &c, SHOAL_FOREVER));
    return NULL;
}

TEST(listener_close_ends_the_accepts_of_other_threads)
{
    const shoal_address tcp = {.host = "127.0.0.1"};
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        listen_without_key(i ? &tcp : NULL);
        atomic_store(&thread_id, 0);
        ASSERT_EQ_INT(pthread_create(&thread, NULL, accept_one, NULL), 0);
        while (!atomic_load(&thread_id))
            nap();
        until_asleep(atomic_load(&thread_id));
        done_listener();
        ASSERT_EQ_INT(pthread_join(thread, NULL), 0);
        ASSERT_EQ_INT(thread_result, -EBADF);
    }
}

/* ---- authentication ---- */

TEST(listener_and_client_with_one_key_talk)
{
    const shoal_address tcp = {.host = "127.0.0.1"};
    shoal_listener_options options = with_key();
    for (int i = 0; i < 2; i++) {
        listen_with(i ? &tcp : NULL, &options);
        still_serves();
        still_serves();
        done_listener();
    }
}

TEST(listener_and_client_of_one_family_have_its_key)
{
    shoal_connection *c;
    with_key();
    listen_with(NULL, NULL);
    client_options = (shoal_client_options){0};
    pid_t pid = child(client_talks);
    ASSERT_EQ_INT(shoal_listener_accept(listener, &c, SHOAL_FOREVER), 0);
    expect(c, "from the client");
    say(c, "from the listener");
    shoal_connection_close(c);
    ends_well(pid);
    pid = client(key, sizeof key, client_is_refused);
    ASSERT_ERR(shoal_listener_accept(listener, &c, SHOAL_FOREVER), -EACCES);
    ends_well(pid);
    done_listener();
}

TEST(listener_keys_may_be_long)
{
    static char large[5000];
    shoal_connection *c;
    with_key();
    memset(large, 'k', sizeof large);
    listen_with(NULL, &(shoal_listener_options){.authkey = large, .authkey_size = sizeof large});
    pid_t pid = client(large, sizeof large - 1, client_is_refused);
    ASSERT_ERR(shoal_listener_accept(listener, &c, SHOAL_FOREVER), -EACCES);
    ends_well(pid);
    pid = client(large, sizeof large, client_talks);
    ASSERT_EQ_INT(shoal_listener_accept(listener, &c, SHOAL_FOREVER), 0);
    expect(c, "from the client");
    say(c, "from the listener");
    shoal_connection_close(c);
    ends_well(pid);
    done_listener();
}

TEST(listener_refuses_another_key_and_goes_on)
{
    shoal_connection *c = NULL;
    listen_with_key();
    pid_t pid = client(other_key, sizeof other_key, client_is_refused);
    ASSERT_ERR(shoal_listener_accept(listener, &c, SHOAL_FOREVER), -EACCES);
    ASSERT_TRUE(strstr(shoal_error_detail(), "process")); /* who it was */
    ASSERT_NULL(c);
    ends_well(pid);
    still_serves();
    done_listener();
}

/* What a peer without any idea of keys sends, and what accept says to it. */
static void accept_says(const void *bytes, size_t size, bool goes, int rc)
{
    shoal_connection *c = NULL;
    int fd = call();
    if (size)
        raw_write(fd, bytes, size);
    if (goes)
        close(fd);
    ASSERT_ERR(shoal_listener_accept(listener, &c, SHOAL_FOREVER), rc);
    ASSERT_NULL(c);
    if (!goes)
        close(fd);
}

TEST(listener_refuses_garbage_and_goes_on)
{
    static char large[400] = "\0\0\1\1";
    listen_with_key();
    accept_says("GET / HTTP/1.0\r\n\r\n", 18, false, -EBADMSG);
    accept_says("\377\377\377\376", 4, false, -EBADMSG);
    accept_says("\377\377\377\377\377\377\377\377\377\377\377\377", 12, false, -EBADMSG);
    accept_says("\0\0\0\0", 4, false, -EBADMSG);
    accept_says("\0\0\0\5hello", 9, false, -EBADMSG);
    accept_says("\0\0\0\12{sha256}xy", 14, false, -EBADMSG);
    accept_says("\0\0\0\12{sha999}xy", 14, false, -EBADMSG);
    accept_says(large, sizeof large, false, -EBADMSG); /* 257 bytes announced */
    large[2] = 0;
    large[3] = 16; /* the old form's length */
    accept_says(large, 20, false, -EACCES);
    still_serves();
    done_listener();
}

TEST(listener_tells_of_peers_that_go_in_the_handshake)
{
    listen_with_key();
    accept_says("", 0, true, -ECONNABORTED);
    accept_says("\0\0", 2, true, -ECONNABORTED);
    accept_says("\0\0\0\50{sha256}", 12, true, -ECONNABORTED);
    still_serves();
    done_listener();
}

TEST(listener_tells_of_peers_that_stall_in_the_handshake)
{
    shoal_connection *c = NULL;
    shoal_listener_options options = with_key();
    options.handshake = 0.02;
    listen_with(NULL, &options);
    accept_says("", 0, false, -ETIME);
    accept_says("\0\0\0\50{sha256}", 12, false, -ETIME);
    int fd = call(); /* late also where accept never waits */
    int rc;
    while ((rc = shoal_listener_accept(listener, &c, SHOAL_NOW)) == -EAGAIN)
        nap();
    ASSERT_ERR(rc, -ETIME);
    close(fd);
    done_listener();
    listen_with_key();
    still_serves();
    done_listener();
}

TEST(listener_lets_nobody_wait_for_peers_that_stall)
{
    shoal_connection *c;
    int fds[5];
    shoal_listener_options options = with_key();
    options.handshake = 10000;
    listen_with(NULL, &options);
    for (int i = 0; i < 5; i++) {
        fds[i] = call();
        raw_write(fds[i], "\0\0\0\50{sha256}", (size_t)i * 2);
    }
    still_serves();
    still_serves();
    ASSERT_ERR(shoal_listener_accept(listener, &c, SHOAL_NOW), -EAGAIN);
    for (int i = 0; i < 5; i++)
        close(fds[i]);
    done_listener();
}

TEST(listener_drops_the_oldest_of_too_many_peers)
{
    shoal_connection *c = NULL;
    char byte, challenge[256];
    int fds[4];
    shoal_listener_options options = with_key();
    options.pending = 3;
    options.handshake = 10000;
    listen_with(NULL, &options);
    for (int i = 0; i < 3; i++) {
        fds[i] = call();
        ASSERT_ERR(shoal_listener_accept(listener, &c, SHOAL_NOW), -EAGAIN);
        ASSERT_EQ_INT(raw_message(fds[i], challenge, sizeof challenge), 11 + 8 + 40);
        ASSERT_MEM(challenge, "#CHALLENGE#{sha256}", 19);
    }
    fds[3] = call();
    ASSERT_ERR(shoal_listener_accept(listener, &c, SHOAL_NOW), -ETIME);
    ASSERT_EQ_INT(read(fds[0], &byte, 1), 0); /* the first is the one */
    ASSERT_EQ_INT(recv(fds[1], &byte, 1, MSG_DONTWAIT), -1);
    close(fds[0]);
    fds[0] = call();
    pid_t pid = client(key, sizeof key, client_talks); /* in the others' place */
    int rc, dropped = 0;
    while ((rc = shoal_listener_accept(listener, &c, SHOAL_FOREVER)) == -ETIME)
        dropped++;
    ASSERT_EQ_INT(rc, 0);
    ASSERT_EQ_INT(dropped, 2);
    expect(c, "from the client");
    say(c, "from the listener");
    shoal_connection_close(c);
    ends_well(pid);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    done_listener();
}

static void wait_for_parent(void)
{
    until_word(words, 1);
}

TEST(listener_peers_are_not_inherited_by_fork)
{
    shoal_connection *c;
    char challenge[256], byte;
    words = words_open();
    listen_with_key();
    int fd = call();
    ASSERT_ERR(shoal_listener_accept(listener, &c, SHOAL_NOW), -EAGAIN);
    raw_message(fd, challenge, sizeof challenge);
    pid_t pid = child(wait_for_parent);
    done_listener();
    ASSERT_EQ_INT(read(fd, &byte, 1), 0); /* the end, though the child lives */
    close(fd);
    atomic_store(&words[0], 1);
    ends_well(pid);
    words_close();
}

static void accept_in_child(void)
{
    shoal_connection *c;
    ASSERT_EQ_INT(shoal_listener_accept(listener, &c, SHOAL_FOREVER), 0);
    expect(c, "from the client");
    say(c, "from the listener");
    shoal_connection_close(c);
}

TEST(listener_may_be_used_by_children)
{
    listen_with_key();
    pid_t servers[2] = {child(accept_in_child), child(accept_in_child)};
    for (int i = 0; i < 2; i++)
        ends_well(client(key, sizeof key, client_talks));
    for (int i = 0; i < 2; i++)
        ends_well(servers[i]);
    done_listener();
}

static void client_with_no_key_speaks(void)
{
    shoal_connection *c;
    void *bytes;
    size_t size;
    ASSERT_OK(try_client(&c));
    say(c, "hello, a message and no answer to a challenge");
    /* The challenge, that it does not take, and the end. */
    ASSERT_OK(shoal_connection_recv_bytes(c, &bytes, &size, SHOAL_FOREVER));
    ASSERT_MEM(bytes, "#CHALLENGE#", 11);
    free(bytes);
    ASSERT_OK(shoal_connection_recv_bytes(c, &bytes, &size, SHOAL_FOREVER));
    ASSERT_MEM(bytes, "#FAILURE#", 9);
    free(bytes);
    ASSERT_ERR(shoal_connection_recv_bytes(c, &bytes, &size, SHOAL_FOREVER), -EPIPE);
    shoal_connection_close(c);
}

TEST(listener_refuses_a_client_without_a_key)
{
    shoal_connection *c = NULL;
    listen_with_key();
    pid_t pid = client(NULL, 0, client_with_no_key_speaks);
    ASSERT_ERR(shoal_listener_accept(listener, &c, SHOAL_FOREVER), -EBADMSG);
    ends_well(pid);
    still_serves();
    done_listener();
}

/* ---- clients ---- */

TEST(client_tells_that_nobody_listens)
{
    shoal_connection *c = NULL;
    shoal_client_options options = {.flags = SHOAL_NO_AUTHKEY};
    ASSERT_ERR(shoal_client(&c, &(shoal_address){.path = "/tmp/shoal-nobody"}, &options,
                            SHOAL_FOREVER),
               -ENOENT);
    listen_without_key(&(shoal_address){.host = "127.0.0.1"});
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof own;
    int fd = (int)ASSERT_SYS(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_SYS(bind(fd, (struct sockaddr *)&own, sizeof own)); /* a port on which nobody listens */
    ASSERT_SYS(getsockname(fd, (struct sockaddr *)&own, &size));
    address.port = ntohs(own.sin_port);
    ASSERT_ERR(shoal_client(&c, &address, &options, SHOAL_FOREVER), -ECONNREFUSED);
    ASSERT_TRUE(strstr(shoal_error_detail(), "refused"));
    close(fd);
    ASSERT_NULL(c);
    done_listener();
}

/* A bare socket that listens, in `place`. */
static int bare_listener(int backlog)
{
    struct sockaddr_un own = {.sun_family = AF_UNIX};
    strcpy(own.sun_path, new_place());
    int fd = (int)ASSERT_SYS(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_SYS(bind(fd, (struct sockaddr *)&own, sizeof own));
    ASSERT_SYS(listen(fd, backlog));
    address = (shoal_address){.path = place};
    return fd;
}

static void no_bare_listener(int fd)
{
    close(fd);
    ASSERT_SYS(unlink(place));
    no_place();
}

TEST(client_gives_up_at_its_deadline)
{
    shoal_connection *c = NULL;
    with_key();
    shoal_client_options options = {.authkey = key, .authkey_size = sizeof key};
    int fd = bare_listener(5); /* it never says anything */
    ASSERT_ERR(shoal_client(&c, &address, &options, shoal_after(0.02)), -ETIMEDOUT);
    ASSERT_ERR(shoal_client(&c, &address, &options, SHOAL_NOW), -EAGAIN);
    no_bare_listener(fd);
    fd = bare_listener(0); /* one waits for it, another finds no room */
    int first = call();
    options.flags = SHOAL_NO_AUTHKEY;
    ASSERT_ERR(shoal_client(&c, &address, &options, shoal_after(0.02)), -ETIMEDOUT);
    ASSERT_ERR(shoal_client(&c, &address, &options, 1), -ETIMEDOUT);
    ASSERT_ERR(shoal_client(&c, &address, &options, SHOAL_NOW), -EAGAIN);
    close(first);
    no_bare_listener(fd);
    ASSERT_NULL(c);
}

static void client_interrupted(void)
{
    shoal_connection *c;
    let_signals_interrupt();
    client_options = (shoal_client_options){.authkey = key, .authkey_size = sizeof key};
    ASSERT_ERR(shoal_client(&c, &address, &client_options, SHOAL_FOREVER), -EINTR);
}

TEST(client_is_ended_by_signals)
{
    with_key();
    int fd = bare_listener(5);
    pid_t pid = child(client_interrupted);
    until_asleep(pid);
    interrupt_until_end(pid);
    no_bare_listener(fd);
}

/* What a listener says that knows nothing of keys, or too much, and what the client makes of it. */
static const struct {
    const char *message; /* sent with its length before it */
    const char *more;    /* sent as it is */
    size_t size;
    int rc;
} nonsense[] = {
    {"hello", "", 0, -EBADMSG},
    {"", "", 0, -EBADMSG},
    {NULL, "SSH-2.0-OpenSSH_9.2\r\n", 21, -EBADMSG},
    {NULL, "\377\377\377\376", 4, -EBADMSG},
    {"#CHALLENGE#nineteen bytes, not", "", 0, -EBADMSG},
    {"#CHALLENGE#{sha1}a digest that nobody uses", "", 0, -EBADMSG},
    {"#CHALLENGE#more than twenty bytes without a digest", "", 0, -EBADMSG},
    /* The old form, and strange verdicts. */
    {"#CHALLENGE#twenty bytes, no key", "\0\0\0\1?", 5, -EBADMSG},
    {"#CHALLENGE#twenty bytes, no key", "\0\0\0\11#FAILURE#", 13, -EACCES},
    {"#CHALLENGE#twenty bytes, no key", "\0\0\0\11#WELCOME#\0\0\0\0", 17, -EBADMSG},
    {"#CHALLENGE#twenty bytes, no key", "\0\0\0\11#WELCOME#", 13, -EPIPE},
    {"#CHALLENGE#{sha256}welcome unseen", "\0\0\0\11#WELCOME#\0\0\0\20sixteen, but no.", 33,
     -EACCES},
    {NULL, "\0\0\0", 3, -EPIPE},
    {NULL, "", 0, -EPIPE},
};
static int nonsense_at;

static void client_hears_nonsense(void)
{
    shoal_connection *c = NULL;
    client_options = (shoal_client_options){.authkey = key, .authkey_size = sizeof key};
    ASSERT_ERR(try_client(&c), nonsense[nonsense_at].rc);
    ASSERT_NULL(c);
}

TEST(client_tells_what_is_wrong_with_a_listener)
{
    with_key();
    int fd = bare_listener(5);
    for (nonsense_at = 0; nonsense_at < (int)(sizeof nonsense / sizeof *nonsense); nonsense_at++) {
        pid_t pid = child(client_hears_nonsense);
        int peer = (int)ASSERT_SYS(accept4(fd, NULL, NULL, SOCK_CLOEXEC));
        const char *message = nonsense[nonsense_at].message;
        if (message) {
            raw_offer(peer, (unsigned char[]){0, 0, 0, (unsigned char)strlen(message)}, 4);
            raw_offer(peer, message, strlen(message));
        }
        raw_offer(peer, nonsense[nonsense_at].more, nonsense[nonsense_at].size);
        shutdown(peer, SHUT_WR);
        ends_well(pid);
        close(peer);
    }
    no_bare_listener(fd);
}

/* ---- built without libcrypto ---- */

#if !SHOAL_CRYPTO
TEST(listener_and_client_without_libcrypto_say_so)
{
    shoal_listener *l = NULL;
    shoal_connection *c = NULL;
    ASSERT_ERR(shoal_listener_create(&l, NULL, NULL), -ENOTSUP);
    ASSERT_ERR(shoal_client(&c, &(shoal_address){.path = "/tmp/x"}, NULL, SHOAL_NOW), -ENOTSUP);
}
#endif
