/* process/forkserver.h - what a process and its fork server say to each other, over a pair of
 * stream sockets.
 *
 * A request is a struct request, with descriptors attached, then `size` bytes: limits, argument,
 * cpus, texts. The answer is a struct answer, then the deaths that the server has met since the
 * last one and that are told to nobody else. The server's word about a child's end, a struct
 * ending, goes through a pipe of that child's own, which is also its sentinel. Both are the same program image, so
 * pointers to code mean the same.
 */
#ifndef SHOAL_FORKSERVER_H
#define SHOAL_FORKSERVER_H

#include "process/child.h"

enum request_kind { REQUEST_START, REQUEST_SIGNAL };
struct request {
    enum request_kind kind;
    pid_t pid;  /* SIGNAL: whom */
    int signal; /* and which */
    /* START: */
    shoal_target target;
    unsigned flags;
    int nice;
    bool streams[3];             /* which descriptors follow the status pipe's */
    bool directory, environment; /* which texts there are */
    size_t size;                 /* of what follows */
    size_t n_limits, argument, n_cpus, n_environment; /* in this order, `argument` in bytes */
    pid_t parent;                                     /* who asks: the logical parent */
    uint64_t parent_start;
    uint32_t slot, generation;
    char name[NAME], identity[NAME];
};
struct answer {
    int result;
    pid_t pid;
    uint32_t slot, generation;
    char detail[sizeof shoal_thread.detail];
    unsigned n_deaths;
};
struct ending {
    int32_t status;
    bool died; /* and it was the server that repaired what it left */
};

enum { REQUEST_FDS = 4, MOST_DEATHS = 64 };

/* All of it, or -EPIPE. */
int wire_send(int fd, const void *bytes, size_t size);
int wire_receive(int fd, void *bytes, size_t size);
/* With descriptors. */
int wire_send_request(int fd, const struct request *r, const int fds[], unsigned n);
/* *n: how many came; close-on-exec, all above 2. */
int wire_receive_request(int fd, struct request *r, int fds[REQUEST_FDS], unsigned *n);

/* What the server does until its parent closes the socket or ends. */
_Noreturn void server_run(int fd, pid_t parent);

#endif
