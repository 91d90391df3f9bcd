/* manager.c - a manager's objects over a wire, beside an echo of as many bytes over the same wire. */
#include "bench.h"
#include <shoal/shoal.h>

#if SHOAL_CRYPTO
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a get of a short key and its answer are as bytes of the stream (about). */
enum { TRIPS = 2000, ASKED = 64, ANSWERED = 40, ROUNDS = 15 };

static double remote_get(void)
{
    static shoal_manager *m;
    static shoal_proxy *dict;
    int64_t n = 0;
    if (!m) {
        shoal_address at = {.host = "127.0.0.1"};
        bench_must(shoal_manager_create(&m, &(shoal_manager_options){.address = &at}),
                   "shoal_manager_create");
        bench_must(shoal_manager_start(m), "shoal_manager_start");
        bench_must(shoal_manager_get(m, &dict, "dict", NULL, NULL, SHOAL_FOREVER),
                   "shoal_manager_get");
        bench_must(shoal_proxy_call(dict, "__setitem__",
                                    shoal_any_tuple(shoal_any_str("key"), shoal_any_int(1)), NULL,
                                    SHOAL_FOREVER),
                   "set");
    }
    double begin = bench_now();
    for (int i = 0; i < TRIPS; i++) {
        shoal_any *value = NULL;
        bench_must(shoal_proxy_call(dict, "__getitem__", shoal_any_tuple(shoal_any_str("key")),
                                    &value, SHOAL_FOREVER),
                   "get");
        bench_must(shoal_any_as_int(value, &n), "an int");
        shoal_any_free(value);
    }
    return (bench_now() - begin) / TRIPS;
}

static void must(long rc, const char *what)
{
    if (rc < 0)
        bench_must(-errno, what);
}

static void whole(int fd, char *bytes, size_t size)
{
    for (size_t got = 0; got < size;) {
        ssize_t n = read(fd, bytes + got, size - got);
        if (n <= 0)
            _exit(n < 0); /* the other has ended */
        got += (size_t)n;
    }
}

static int echo(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0), other;
    must(bind(listener, (struct sockaddr *)&at, sizeof at), "bind");
    must(listen(listener, 1), "listen");
    must(getsockname(listener, (struct sockaddr *)&at, &size), "getsockname");
    must(connect(fd, (struct sockaddr *)&at, sizeof at), "connect");
    must(other = accept(listener, NULL, NULL), "accept");
    must(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)), "TCP_NODELAY");
    must(setsockopt(other, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)), "TCP_NODELAY");
    close(listener);
    pid_t pid = fork();
    must(pid, "fork");
    if (!pid) {
        char bytes[ASKED] = {0};
        close(fd);
        for (;;) {
            whole(other, bytes, ASKED);
            must(write(other, bytes, ANSWERED), "write");
        }
    }
    close(other);
    return fd;
}

static double bare_echo(void)
{
    static int fd = -1;
    char bytes[ASKED] = {0};
    if (fd < 0)
        fd = echo();
    double begin = bench_now();
    for (int i = 0; i < TRIPS; i++) {
        must(write(fd, bytes, ASKED), "write");
        whole(fd, bytes, ANSWERED);
    }
    return (bench_now() - begin) / TRIPS;
}

const struct bench bench_manager[] = {
    {"manager: dict get by TCP", "ns", remote_get, FAMILY, "echo by TCP", bare_echo, PIN_NONE,
     PIN_NONE, RATIO_AT_MOST, 1.5, ROUNDS},
};
const unsigned bench_manager_count = BENCH_COUNT(bench_manager);
#else
const struct bench bench_manager[1];
const unsigned bench_manager_count = 0;
#endif
