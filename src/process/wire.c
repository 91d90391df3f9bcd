/* Bytes and descriptors between a process and its fork server. */
#include "process/forkserver.h"
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int wire_send(int fd, const void *bytes, size_t size)
{
    const char *p = bytes;
    while (size) {
        ssize_t n = send(fd, p, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -EPIPE;
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

int wire_receive(int fd, void *bytes, size_t size)
{
    char *p = bytes;
    while (size) {
        ssize_t n = recv(fd, p, size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -EPIPE;
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

union control {
    char bytes[CMSG_SPACE(REQUEST_FDS * sizeof(int))];
    struct cmsghdr align;
};

int wire_send_request(int fd, const struct request *r, const int fds[], unsigned n)
{
    union control control;
    struct iovec part = {.iov_len = sizeof *r};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    struct request copy = *r;
    ssize_t sent;
    part.iov_base = &copy;
    if (n) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = (socklen_t)CMSG_SPACE(n * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = (socklen_t)CMSG_LEN(n * sizeof(int)); /* its type is libc's affair */
        memcpy(CMSG_DATA(c), fds, n * sizeof(int));
    }
    while ((sent = sendmsg(fd, &message, MSG_NOSIGNAL)) < 0 && errno == EINTR)
        ;
    if (sent < 0)
        return errno == EBADF ? -EBADF : -EPIPE;
    return wire_send(fd, (char *)&copy + sent, sizeof copy - (size_t)sent);
}

/* 0, 1 and 2 mean something: a descriptor that came with such a number moves up. */
static int move_up(int fd)
{
    if (fd > 2)
        return fd;
    int up = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    close(fd);
    return up;
}

int wire_receive_request(int fd, struct request *r, int fds[REQUEST_FDS], unsigned *n)
{
    union control control;
    struct iovec part = {.iov_base = r, .iov_len = sizeof *r};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control};
    ssize_t got;
    *n = 0;
    while ((got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        ;
    if (got <= 0)
        return -EPIPE;
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        *n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(c), *n * sizeof(int));
        for (unsigned i = 0; i < *n; i++)
            fds[i] = move_up(fds[i]);
    }
    return wire_receive(fd, (char *)r + got, sizeof *r - (size_t)got);
}
