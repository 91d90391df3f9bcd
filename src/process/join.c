/* Waiting for the end of processes, and what they left. */
#include "process/forkserver.h"
#include "region/life.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SLICE_MOST = 10000000 };

/* ---- one look ---- */

/* What the child itself recorded, for when the kernel's answer went to somebody else. The slot may
 * be another's by now; reads are in this order so that a status is believed only if it was still
 * the child's when it was read. */
static int32_t recorded(const struct child *child)
{
    if (!child_in_family(child))
        return SHOAL_EXIT_UNKNOWN;
    const struct slot *slot = slot_at(child->slot);
    uint32_t status = atomic_load(&slot->exit_status);
    uint64_t word = atomic_load(&slot->word);
    bool same = (uint32_t)(word >> 32) == child->generation ||
                ((uint32_t)(word >> 32) == child->generation + 1 && slot_status(word) == SLOT_FREE);
    if (!same || status == EXIT_NONE)
        return SHOAL_EXIT_UNKNOWN;
    return status & EXIT_SIGNAL ? -(int32_t)(status & 0xff) : (int32_t)(status & 0xff);
}

/* Where the word came by a socket, its other end has kept the child's number for it until now, as a parent
 * does (python/shoal/forkserver.py). Readable it stays. A pipe's other end has nothing to hear. */
static void say_known(int fd)
{
    int error = errno;
    shutdown(fd, SHUT_RDWR);
    errno = error;
}

/* The fork server's word about a clean child. */
static bool clean_ended(struct child *child)
{
    struct ending ending;
    struct pollfd p = {.fd = descriptor_number(&child->end), .events = POLLIN};
    if (child->status != SHOAL_EXIT_RUNNING)
        return true;
    if (p.fd >= 0) {
        if (poll(&p, 1, 0) <= 0)
            return false;
        ssize_t n = read(p.fd, &ending, sizeof ending);
        if (n == sizeof ending) {
            child->status = ending.status;
            child->died = ending.died;
            say_known(p.fd);
            return true;
        }
        if (n < 0)
            return false;
    }
    /* The server is gone, or the program has closed the pipe; the child may live on. */
    if (os_process_ended(child->pid) != 1)
        return false;
    child->status = recorded(child);
    return true;
}

bool child_ended(struct child *child, bool *fresh)
{
    int32_t status;
    *fresh = false;
    if (child->status != SHOAL_EXIT_RUNNING)
        return true;
    if (child->kind == CLEAN)
        return *fresh = clean_ended(child);
    int rc = os_child_wait(child->pid, false, true, &status);
    if (rc == -ECHILD)
        status = recorded(child);
    else if (rc <= 0)
        return false;
    child->status = status;
    *fresh = true;
    return true;
}

void child_gone(const struct child *child)
{
    if (child->died && life_on_death)
        life_on_death(child->pid, child->name);
    if (child_in_family(child) && self_known())
        life_ended(child->slot, child->generation, child->status >= 0);
}

bool child_look(struct child *child)
{
    bool fresh;
    os_mutex_lock(&child_mutex);
    bool ended = child_ended(child, &fresh);
    struct child copy;
    if (fresh)
        copy = *child; /* another thread may close it */
    os_mutex_unlock(&child_mutex);
    if (fresh)
        child_gone(&copy);
    return ended;
}

/* ---- waiting ---- */

/* Whether this process's parent is there still. Its number may be another's once its slot is. */
static bool parent_lives(const struct child *parent)
{
    if (!parent->pid)
        return false;
    if (getppid() == parent->pid)
        return true;
    if (child_in_family(parent) &&
        atomic_load(&slot_at(parent->slot)->word) >> 32 != parent->generation)
        return false;
    return os_process_ended(parent->pid) == 0;
}

int child_pollable(struct child *child)
{
    bool fresh = false, ended = false;
    os_mutex_lock(&child_mutex);
    int fd = descriptor_number(&child->end);
    bool known = fd >= 0;
    if (!known && child->kind != CLEAN && os_features()->pidfd &&
        child->status == SHOAL_EXIT_RUNNING) {
        fd = os_pidfd_open(child->pid);
        /* Whoever has the number is still the child if it can be waited for. */
        bool over = child->kind == CHILD    ? child_ended(child, &fresh)
                    : child->kind == PARENT ? !parent_lives(child)
                                            : false;
        if (fd >= 0 && over) {
            close(fd);
            fd = -1;
        }
        ended = over;
    }
    if (fd < 0 && (ended || child->status != SHOAL_EXIT_RUNNING)) { /* always readable */
        fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0)
            fd = -errno;
    }
    if (fd >= 0 && !known)
        descriptor_keep(&child->end, fd);
    os_mutex_unlock(&child_mutex);
    if (fresh)
        child_gone(child);
    return fd >= 0 ? fd : fd == -1 ? -ENOTSUP : fd;
}

int child_to_poll(struct child *child, short told)
{
    return told && child->kind == CLEAN ? -1 : child_pollable(child);
}

int child_poll(struct pollfd *fds, size_t n, int64_t deadline, int64_t slice)
{
    int64_t left = deadline == SHOAL_FOREVER ? INT64_MAX : deadline - os_now();
    int error = errno;
    if (left > slice)
        left = slice;
    if (left < 0)
        left = 0;
    struct timespec t = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
    int rc = ppoll(fds, n, left == INT64_MAX ? NULL : &t, NULL);
    int result = rc < 0 ? -errno : 0;
    errno = error;
    return result;
}

int64_t child_slice(int64_t slice)
{
    return slice < SLICE_MOST ? 2 * slice : slice;
}

static int late(int64_t deadline)
{
    if (deadline <= SHOAL_NOW)
        return not_now(deadline);
    return os_now() >= deadline ? -ETIMEDOUT : 0;
}

/* Of a wait that ended without one: -EAGAIN, -ETIMEDOUT; `who` still runs. */
static int still_runs(int rc, const char *call, const char *who, int64_t deadline)
{
    enum { MINUTE = 60 };
    int64_t past = rc == -ETIMEDOUT ? (os_now() - deadline) / 1000000000 : 0;
    if (rc == -EINVAL)
        return waited(rc, call, NULL, 0, deadline);
    if (past >= MINUTE)
        return fail(rc,
                    "%s: %s still runs; the deadline lay %lld s in the past: deadlines are "
                    "absolute, shoal_after(seconds) makes one",
                    call, who, (long long)past);
    return fail(rc, "%s: %s still runs", call, who);
}

/* The way of most joins: nothing but a wait. Where there are other threads it leaves the status, and
 * with it the number, to child_ended: two threads may join at once, and one may be about to send it a
 * signal. 0, -EINTR. */
static int wait_kernel(struct child *child)
{
    int32_t status;
    bool reap = os_single_threaded(), fresh;
    int rc = os_child_wait(child->pid, true, reap, &status);
    if (rc == 1 && reap) {
        os_mutex_lock(&child_mutex);
        fresh = child->status == SHOAL_EXIT_RUNNING; /* or a signal handler found it reaped */
        child->status = status;
        os_mutex_unlock(&child_mutex);
        if (fresh)
            child_gone(child);
    }
    return rc == -EINTR ? rc : 0;
}

static int join(struct child *child, int64_t deadline)
{
    int rc;
    if (deadline == SHOAL_FOREVER && child->kind == CHILD && child->status == SHOAL_EXIT_RUNNING) {
        rc = wait_kernel(child);
        if (rc)
            return fail(rc, "shoal_process_join: a signal handler ran");
    }
    struct pollfd p = {.fd = -1, .events = POLLIN};
    for (int64_t slice = CHILD_SLICE; !child_look(child); slice = child_slice(slice)) {
        rc = late(deadline);
        if (rc) {
            char who[NAME + 32];
            snprintf(who, sizeof who, "process %s (pid %d)", child->name, (int)child->pid);
            return still_runs(rc, "shoal_process_join", who, deadline);
        }
        p.fd = child_to_poll(child, p.revents);
        rc = child_poll(&p, 1, deadline, p.fd >= 0 ? SHOAL_FOREVER : slice);
        if (rc)
            return fail(rc, "shoal_process_join: %s", shoal_strerror(rc));
    }
    return 0;
}

int shoal_process_join(shoal_process *process, int64_t deadline)
{
    owner_t me;
    int rc = self(&me);
    if (rc)
        return rc;
    struct child *child = child_own(process, "shoal_process_join", &rc);
    if (!child)
        return rc;
    if (!child_in_family(child))
        return join(child, deadline);
    /* For inspection. A signal handler may join inside of a join. */
    struct record *record = shoal_thread.record;
    uint64_t was = atomic_load_explicit(&record->joins, memory_order_relaxed);
    uint64_t now = (uint64_t)child->generation << 32 | child->slot;
    atomic_store_explicit(&record->joins, now, memory_order_relaxed);
    rc = join(child, deadline);
    if (likely(self_known() == me)) /* what was called on a death may have left the family */
        atomic_store_explicit(&record->joins, was, memory_order_relaxed);
    return rc;
}

void child_abandon(struct child *child)
{
    while (!child_look(child))
        wait_kernel(child);
    os_mutex_lock(&child_mutex);
    child_drop(child);
    os_mutex_unlock(&child_mutex);
}

/* How many of n have ended; which, if `ended` is given. */
static int count_ended(struct child *const all[], size_t n, int ended[])
{
    int count = 0;
    for (size_t i = 0; i < n; i++) {
        bool is = child_look(all[i]);
        if (ended)
            ended[i] = is;
        count += is;
    }
    return count;
}

int shoal_process_wait(shoal_process *const processes[], size_t n, int ended[], int64_t deadline)
{
    owner_t me;
    int rc = self(&me);
    if (rc)
        return rc;
    if (!n || !processes || n > SLOTS)
        return fail(-EINVAL, "shoal_process_wait: for %zu processes", n);
    struct child *few[64], **all = few;
    struct pollfd few_fds[64], *fds = few_fds;
    if (n > 64) {
        all = calloc(n, sizeof *all);
        fds = calloc(n, sizeof *fds);
        if (!all || !fds) {
            rc = fail(-ENOMEM, "shoal_process_wait: no memory for %zu processes", n);
            goto out;
        }
    }
    for (size_t i = 0; i < n; i++) {
        all[i] = child_own(processes[i], "shoal_process_wait", &rc);
        if (!all[i])
            goto out;
        fds[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    }
    for (int64_t slice = CHILD_SLICE;; slice = child_slice(slice)) {
        rc = count_ended(all, n, NULL);
        if (rc) {
            rc = count_ended(all, n, ended); /* only now, as a failure leaves it as it was */
            goto out;
        }
        rc = late(deadline);
        if (rc) {
            char who[48];
            snprintf(who, sizeof who, "each of %zu processes", n);
            still_runs(rc, "shoal_process_wait", who, deadline);
            goto out;
        }
        bool every = true;
        for (size_t i = 0; i < n; i++) {
            fds[i].fd = child_to_poll(all[i], fds[i].revents);
            every = every && fds[i].fd >= 0;
        }
        rc = child_poll(fds, n, deadline, every ? SHOAL_FOREVER : slice);
        if (rc) {
            fail_detail("shoal_process_wait: %s", shoal_strerror(rc));
            goto out;
        }
    }
out:
    if (n > 64) {
        free(all);
        free(fds);
    }
    return rc;
}

/* ---- what it left ---- */

int shoal_process_is_alive(shoal_process *process)
{
    int rc;
    struct child *child = child_of(process, "shoal_process_is_alive", &rc);
    if (!child)
        return rc;
    if (child->kind == SELF)
        return 1;
    if (child->kind == PARENT)
        return parent_lives(child);
    child = child_own(process, "shoal_process_is_alive", &rc);
    return child ? !child_look(child) : rc;
}

int shoal_process_exit_code(shoal_process *process, int *ret)
{
    int rc;
    struct child *child = child_of(process, "shoal_process_exit_code", &rc);
    if (!child)
        return rc;
    if (!ret)
        return fail(-EINVAL, "shoal_process_exit_code: nowhere to put it");
    if (child->kind == SELF) {
        *ret = SHOAL_EXIT_RUNNING;
        return 0;
    }
    if (child->kind == PARENT) {
        *ret = parent_lives(child) ? SHOAL_EXIT_RUNNING : SHOAL_EXIT_UNKNOWN;
        return 0;
    }
    child = child_own(process, "shoal_process_exit_code", &rc);
    if (!child)
        return rc;
    child_look(child);
    *ret = child->status;
    return 0;
}

int shoal_process_sentinel(shoal_process *process)
{
    int rc;
    struct child *child = child_of(process, "shoal_process_sentinel", &rc);
    if (child && child->kind != PARENT)
        child = child_own(process, "shoal_process_sentinel", &rc);
    if (!child)
        return rc;
    rc = child_pollable(child);
    return rc >= 0 ? rc
                   : fail(rc, "shoal_process_sentinel: no descriptor for process %s: %s",
                          child->name, shoal_strerror(rc));
}
