/* What a client sends to a manager. The input is
 *
 *   byte 0        0: the rest is what somebody sends who has proved nothing; 1: requests of one who has; 2: calls of
 *                 methods, of one whose connection was accepted
 *   then          messages: two bytes of length, the lower first, and as many bytes, or what is left
 *
 * An object of each type is there, with idents from 1000000 on. Whatever comes, the server goes on; when the client has
 * gone, nothing of it is left, and without the proof nothing is answered but the handshake.
 */
#include "manager/manager.h"
#include <errno.h>
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#if SHOAL_CRYPTO
static struct shoal_manager *manager;

/* Says what failed: not everything that fails does so a second time. */
#define must(holds) ((holds) ? (void)0 : fails(__LINE__, #holds))

_Noreturn static void fails(int line, const char *what)
{
    fprintf(stderr, "fuzz/manager.c:%d: %s is false; errno %d, \"%s\"\n", line, what, errno,
            shoal_error_detail());
    abort();
}

static void make(const struct manager_type *type, shoal_any *args)
{
    void *object = NULL;
    struct entry *e;
    shoal_any *none = shoal_any_dict_from(NULL, 0);
    shoal_call call = {.args = args, .kwds = none, .latest = SHOAL_FOREVER};
    must(args && !type->create(&object, &call));
    must(!objects_add(&manager->server.objects, type, object, &e));
    shoal_any_free(args);
    shoal_any_free(none);
}

/* A new one for each input: what breaks it, breaks it alone. */
static void begin(void)
{
    char name[40] = "";
    int n = snprintf(name + 1, sizeof name - 1, "shoal-fuzz-%d", (int)getpid());
    shoal_address address = {.path = name, .path_size = (size_t)n + 1};
    shoal_manager_options options = {.address = &address,
                                     .authkey = "key",
                                     .authkey_size = 3,
                                     .message = 1 << 20,
                                     .objects = 100};
    shoal_any *numbers = shoal_any_list(shoal_any_int(1), shoal_any_int(2), shoal_any_int(3));
    must(!shoal_manager_create(&manager, &options));
    must(!shoal_manager_listen(manager));
    must(!loop_begin(&manager->server));
    make(&list_type, shoal_any_tuple(shoal_any_copy(numbers)));
    make(&dict_type, shoal_any_tuple_from(NULL, 0));
    make(&namespace_type, shoal_any_tuple_from(NULL, 0));
    make(&value_type, shoal_any_tuple(shoal_any_str("i"), shoal_any_int(1)));
    make(&array_type, shoal_any_tuple(shoal_any_str("h"), numbers));
    make(&queue_type, shoal_any_tuple(shoal_any_int(3)));
    make(&lock_type, shoal_any_tuple_from(NULL, 0));
    make(&rlock_type, shoal_any_tuple_from(NULL, 0));
    make(&semaphore_type, shoal_any_tuple(shoal_any_int(2)));
    make(&bounded_semaphore_type, shoal_any_tuple(shoal_any_int(2)));
    make(&condition_type, shoal_any_tuple_from(NULL, 0));
    make(&event_type, shoal_any_tuple_from(NULL, 0));
    make(&barrier_type, shoal_any_tuple(shoal_any_int(2)));
}

/* What the server has answered is read away; how many bytes. */
static size_t drain(int fd)
{
    char bytes[4096];
    size_t all = 0;
    for (ssize_t n; (n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0;)
        all += (size_t)n;
    return all;
}

/* Lets the server do what there is to do now: after it, nothing is read or written. */
static size_t settle(int fd)
{
    struct pollfd ready = {.fd = manager->server.epoll, .events = POLLIN};
    size_t answered = drain(fd);
    while (poll(&ready, 1, 0) > 0) {
        must(!loop_round(&manager->server));
        answered += drain(fd);
    }
    return answered;
}

static void put(int fd, const void *bytes, size_t size)
{
    send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void put_message(int fd, const uint8_t *bytes, size_t size)
{
    uint8_t header[4] = {0, 0, (uint8_t)(size >> 8), (uint8_t)size};
    put(fd, header, 4);
    put(fd, bytes, size);
}

static void accept_it(int fd)
{
    shoal_any *request = shoal_any_tuple(shoal_any_none(), shoal_any_str("accept_connection"),
                                         shoal_any_tuple(shoal_any_str("x")), shoal_any_dict());
    void *bytes = NULL;
    size_t size = 0;
    must(request && !shoal_any_encode(request, &bytes, &size));
    put_message(fd, bytes, size);
    must(settle(fd));
    free(bytes);
    shoal_any_free(request);
}

static void messages(int fd, const uint8_t *data, size_t size)
{
    while (size >= 2) {
        size_t n = data[0] | (size_t)data[1] << 8;
        data += 2;
        size -= 2;
        if (n > size)
            n = size;
        put_message(fd, data, n);
        settle(fd);
        data += n;
        size -= n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { CHALLENGE = 4 + 11 + 48, FAILURE = 4 + 9 };
    int fds[2];
    if (!size)
        return 0;
    begin();
    must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
    struct session *s = session_begin(&manager->server, fds[0]);
    must(s);
    if (data[0] % 3 == 0) {
        put(fds[1], data + 1, size - 1);
        must(settle(fds[1]) <= CHALLENGE + FAILURE);
        must(!manager->server.sessions); /* of those who have proved it */
    } else {
        session_proved(&manager->server, s);
        if (data[0] % 3 == 2)
            accept_it(fds[1]);
        messages(fds[1], data + 1, size - 1);
    }
    close(fds[1]);
    while (manager->server.n)
        must(!loop_round(&manager->server));
    manager = shoal_manager_close(manager);
    return 0;
}

#else
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)data, (void)size;
    return 0;
}
#endif
