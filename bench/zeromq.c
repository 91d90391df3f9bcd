/* zeromq.c - see zeromq.h. */
#include "zeromq.h"
#include "bench.h"
#include <errno.h>
#include <stdio.h>
#include <zmq.h>

static void *context, *end;

static void must(int rc, const char *what)
{
    bench_must(rc < 0 ? -errno : rc, what);
}

void zeromq_open(int who, unsigned name)
{
    char address[64];
    int soon = 1; /* ms, until it tries again to connect */
    snprintf(address, sizeof address, "ipc://@shoal-bench-%u", name);
    context = zmq_ctx_new();
    end = context ? zmq_socket(context, ZMQ_PAIR) : NULL;
    must(end ? 0 : -1, "zmq_socket");
    must(zmq_setsockopt(end, ZMQ_RECONNECT_IVL, &soon, sizeof soon), "zmq_setsockopt");
    must(who ? zmq_connect(end, address) : zmq_bind(end, address), "zmq_connect or zmq_bind");
}

void zeromq_put(const void *bytes, size_t size)
{
    must(zmq_send(end, bytes, size, 0), "zmq_send");
}

void zeromq_get(void *bytes, size_t capacity)
{
    must(zmq_recv(end, bytes, capacity, 0), "zmq_recv");
}

void zeromq_close(void)
{
    zmq_close(end);
    zmq_ctx_term(context);
}
