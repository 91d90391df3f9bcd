/* Waiting for whichever of many comes first: a look at each, then poll, on their descriptors. Those of
 * queues and pipes wait from a look in vain on (region/pollable.c), so what comes between look and poll
 * is not overlooked. */
#include "message/poll.h"
#include "process/child.h"
#include <limits.h>
#include <poll.h>
#include <shoal/wait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FEW = 64 };

/* What is wrong with item i. */
static int wrong(int rc, size_t i)
{
    char call[48];
    snprintf(call, sizeof call, "shoal_wait: item %zu", i);
    return fail_in(rc, call);
}

/* ---- looking ---- */

/* 1, 0, -errno. A descriptor is looked at later, with all others. */
static int look_at(const shoal_waitable *item)
{
    int rc = 0;
    switch (item->kind) {
    case SHOAL_WAIT_QUEUE: rc = queue_poll(item->queue, "a queue"); break;
    case SHOAL_WAIT_CONNECTION: rc = connection_poll(item->connection); break;
    case SHOAL_WAIT_PROCESS: {
        struct child *child = child_own(item->process, "a process", &rc);
        return child ? child_look(child) : rc;
    }
    case SHOAL_WAIT_FD: return item->fd < 0 ? fail(-EBADF, "%d is not a descriptor", item->fd) : 0;
    default: return fail(-EINVAL, "there is no kind %u", item->kind);
    }
    return rc == -EAGAIN ? 0 : rc < 0 ? rc : 1;
}

static bool is_descriptor(const shoal_waitable *item)
{
    return item->kind == SHOAL_WAIT_FD;
}

/* What is known of an item. */
struct known {
    bool ready;
    short told; /* by its last poll */
};

struct many {
    size_t n;
    const shoal_waitable *items;
    struct pollfd *fds;
    struct known *known;
};

/* How many of the descriptors are ready now. */
static int look_at_descriptors(const struct many *m)
{
    int count = 0, error = errno;
    for (size_t i = 0; i < m->n; i++) /* below 0 is left alone */
        m->fds[i] = (struct pollfd){is_descriptor(&m->items[i]) ? m->items[i].fd : -1, POLLIN, 0};
    int rc = poll(m->fds, m->n, 0) < 0 && errno != EINTR ? -errno : 0;
    errno = error;
    if (rc)
        return fail(rc, "shoal_wait: poll: %s", strerror(-rc));
    for (size_t i = 0; i < m->n; i++) {
        if (m->fds[i].revents & POLLNVAL)
            return wrong(fail(-EBADF, "%d is not an open descriptor", m->items[i].fd), i);
        if (m->fds[i].revents)
            m->known[i].ready = true;
        count += m->fds[i].revents != 0;
    }
    return count;
}

/* How many are ready. */
static int look(const struct many *m)
{
    int count = 0;
    bool descriptors = false;
    for (size_t i = 0; i < m->n; i++) {
        int rc = look_at(&m->items[i]);
        if (rc < 0)
            return wrong(rc, i);
        m->known[i].ready = rc;
        descriptors = descriptors || is_descriptor(&m->items[i]);
        count += rc;
    }
    int rc = descriptors ? look_at_descriptors(m) : 0;
    return rc < 0 ? rc : count + rc;
}

/* ---- sleeping ---- */

/* What to poll for item i; *every: there is a descriptor for each until here. */
static int prepare(const struct many *m, size_t i, bool *every)
{
    const shoal_waitable *item = &m->items[i];
    short events = POLLIN;
    int fd = -1, rc = 0;
    switch (item->kind) {
    case SHOAL_WAIT_QUEUE: rc = fd = shoal_queue_fileno(item->queue); break;
    case SHOAL_WAIT_CONNECTION: rc = fd = connection_descriptor(item->connection, &events); break;
    case SHOAL_WAIT_PROCESS: {
        struct child *child = child_own(item->process, "a process", &rc);
        if (child)
            fd = child_to_poll(child, m->known[i].told);
        *every = *every && fd >= 0;
        break;
    }
    default: fd = item->fd;
    }
    m->fds[i] = (struct pollfd){.fd = fd, .events = events};
    return rc < 0 ? wrong(rc, i) : 0;
}

static int wait_for(const struct many *m, int64_t deadline)
{
    for (int64_t slice = CHILD_SLICE;; slice = child_slice(slice)) {
        int rc = look(m);
        if (rc)
            return rc;
        if (deadline <= SHOAL_NOW)
            return not_now(deadline);
        if (os_now() >= deadline)
            return in_vain(-ETIMEDOUT);
        bool every = true;
        for (size_t i = 0; i < m->n && !rc; i++)
            rc = prepare(m, i, &every);
        if (rc)
            return rc;
        rc = child_poll(m->fds, m->n, deadline, every ? SHOAL_FOREVER : slice);
        if (rc)
            return rc == -EINTR ? in_vain(rc) : fail(rc, "shoal_wait: poll: %s", strerror(-rc));
        for (size_t i = 0; i < m->n; i++)
            m->known[i].told = m->fds[i].revents;
    }
}

int shoal_wait(shoal_waitable items[], size_t n, int64_t deadline)
{
    struct pollfd few_fds[FEW];
    struct known few[FEW] = {{false, 0}};
    struct many m = {n, items, few_fds, few};
    owner_t me;
    int rc = self(&me);
    if (rc)
        return rc;
    if (!items || !n || n > INT_MAX / sizeof(struct pollfd))
        return fail(-EINVAL, "shoal_wait: for %zu items at %p", n, (void *)items);
    if (n > FEW) {
        m.fds = calloc(n, sizeof *m.fds);
        m.known = calloc(n, sizeof *m.known);
    }
    rc = m.fds && m.known ? wait_for(&m, deadline)
                          : fail(-ENOMEM, "shoal_wait: no memory for %zu items", n);
    for (size_t i = 0; rc > 0 && i < n; i++) /* only now, as a failure leaves it as it was */
        items[i].ready = m.known[i].ready;
    if (n > FEW) {
        free(m.fds);
        free(m.known);
    }
    return waited(rc, "shoal_wait", NULL, 0, deadline);
}
