/* The table of pollers: who is to be rung, and ringing (docs/design.md 4c).
 *
 * A poller is a datagram socket whose name follows from its place in the table, so whoever wakes can
 * send to it, with a socket that he makes and closes, and nothing has to be handed around. What is sent
 * is one byte that says nothing: the socket is readable then. Anybody on the machine may send to it, and
 * does no harm. A socket that is full is readable, so nobody ever waits here for anybody.
 *
 *     poller   drain;  armed += 1;  event: e -> (e + STEP) | ARMED;  [membarrier];  look: something? ring oneself
 *     waker    change the state;  [fence];  e = event;  if e & ARMED:  ring all whose armed != rung, each:
 *              send, then rung = armed as it was read;  CAS event: e -> e & ~ARMED
 *
 * Either the poller's look sees the change, or the waker's e has the poller's ARMED in it, or one that
 * came after. If the waker finds the bit clear, another has cleared it since, and had rung the poller
 * before. A waker clears only what it has rung for: whoever has armed since its look has changed e, its
 * CAS fails and the bit stays. So who is killed or stopped before he has rung leaves the bit, and the
 * next who puts something rings (for sleepers the bit is cleared first: they set it again before they
 * sleep, and only one of them is to be woken). What the killed had put is there already; that he is dead
 * makes everything readable (lives.c).
 *
 * rung only keeps one who is armed for many from being sent to again and again. It may be written late:
 * then it is no longer armed, and the next ring is one too many.
 *
 * A place is taken from nobody, or from a dead owner. What its last owner left there may make others
 * ring for nothing. Its name counts the lives, so late rings go nowhere.
 */
#include "region/poll.h"
#include "region/wait.h"
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static struct poller *poller_at(uint32_t i)
{
    return &view.pollers[i];
}

/* ---- names ---- */

static char *hex(char *to, uint64_t number, unsigned digits)
{
    while (digits--)
        *to++ = "0123456789abcdef"[number >> 4 * digits & 15];
    return to;
}

/* In the abstract namespace, so that no file is left behind. */
static socklen_t name_of(struct sockaddr_un *ret, uint32_t i)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    char *to = ret->sun_path + 1;
    memcpy(to, "shoal-", 6);
    to = hex(to + 6, view.region->family, 16);
    *to++ = '-';
    to = hex(to, i, 4);
    *to++ = '-';
    to = hex(to, atomic_load(&poller_at(i)->life), 8);
    return (socklen_t)(to - (char *)ret);
}

/* ---- ringing ---- */

/* False: the kernel had no memory for it. */
static bool ring(int fd, uint32_t i)
{
    struct sockaddr_un name;
    uint32_t armed = atomic_load(&poller_at(i)->armed);
    socklen_t size = name_of(&name, i);
    ssize_t n;
    do
        n = sendto(fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&name, size);
    while (n < 0 && errno == EINTR);
    /* EAGAIN: it is full, so it is readable. ECONNREFUSED: it is gone. */
    if (n < 0 && errno != EAGAIN && errno != ECONNREFUSED)
        return false;
    atomic_store(&poller_at(i)->rung, armed);
    return true;
}

static bool is_to_ring(uint32_t i, uint64_t event)
{
    struct poller *p = poller_at(i);
    return atomic_load(&p->event) == event && atomic_load(&p->owner) &&
           atomic_load(&p->armed) != atomic_load(&p->rung);
}

static uint32_t next_to_ring(uint32_t i, uint64_t event)
{
    uint32_t high = atomic_load(&view.region->pollers_high);
    while (i < high && !is_to_ring(i, event))
        i++;
    return i < high ? i : UINT32_MAX;
}

static int socket_new(void)
{
    return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static bool ring_all(int fd, uint64_t event)
{
    bool all = fd >= 0;
    for (uint32_t i = 0; fd >= 0 && (i = next_to_ring(i, event)) != UINT32_MAX; i++)
        all &= ring(fd, i);
    return all;
}

/* This process has no descriptor left. A copy of it has a table of its own, and makes room in that. */
static bool ring_from_copy(uint64_t event)
{
    int status = -1;
    pid_t pid = os_fork_plain(0);
    if (!pid) {
        os_close_all_but(-1, -1);
        _exit(!ring_all(socket_new(), event));
    }
    while (pid > 0 && waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
        ;
    return !status;
}

/* Rings all that are armed for the event. False: perhaps not all. */
static bool ring_for(uint64_t event)
{
    int error = errno;
    bool all = true;
    if (next_to_ring(0, event) != UINT32_MAX) {
        int fd = socket_new();
        all = fd >= 0 ? ring_all(fd, event) : MUTANT(176) || ring_from_copy(event);
        if (fd >= 0)
            close(fd);
    }
    errno = error;
    return all;
}

uint32_t poll_wake(_Atomic uint32_t *event, uint32_t e)
{
    uint64_t at = poll_event(event);
    if (MUTANT(171))
        atomic_compare_exchange_strong(event, &e, e & ~(uint32_t)ARMED);
    if ((MUTANT(170) || ring_for(at)) && !MUTANT(171))
        atomic_compare_exchange_strong(event, &e, e & ~(uint32_t)ARMED);
    return e;
}

void poll_tell(void)
{
    if (unlikely(atomic_load(&view.region->pollers_high)) && !MUTANT(173))
        ring_for(POLLS_LIVES);
}

/* ---- bells ---- */

static int claim(struct bell *b, const char *call)
{
    for (uint32_t i = 0; i < POLLERS; i++) {
        struct poller *p = poller_at(i);
        uint32_t high = atomic_load(&view.region->pollers_high);
        int rc = i >= high ? region_populate(p, sizeof *p) : 0;
        if (rc)
            return fail(rc, "%s: no memory for another descriptor that is polled", call);
        while (i >= high && !atomic_compare_exchange_weak(&view.region->pollers_high, &high, i + 1))
            ;
        owner_t owner = atomic_load(&p->owner);
        if ((owner && !owner_dead(owner)) ||
            !atomic_compare_exchange_strong(&p->owner, &owner, shoal_thread.me))
            continue;
        atomic_store(&p->event, 0);
        b->entry = i;
        b->owner = shoal_thread.me;
        return 0;
    }
    return fail(-ENOSPC, "%s: the family polls %d descriptors already", call, POLLERS);
}

/* It is the owner's process's, unless that has left and another has it by now. */
static void disclaim(struct bell *b)
{
    atomic_compare_exchange_strong(&poller_at(b->entry)->owner, &b->owner, 0);
}

int bell_make(struct bell *ret, const char *call)
{
    enum { TRIES = 100 /* somebody may have taken the name, to do harm */ };
    struct bell b;
    struct sockaddr_un name;
    struct stat st;
    int rc = claim(&b, call);
    if (rc)
        return rc;
    b.fd = socket_new();
    rc = b.fd < 0 ? -errno : -EADDRINUSE;
    for (int i = 0; rc == -EADDRINUSE && i < TRIES; i++) {
        atomic_fetch_add(&poller_at(b.entry)->life, 1);
        socklen_t size = name_of(&name, b.entry);
        rc = bind(b.fd, (struct sockaddr *)&name, size) ? -errno : 0;
    }
    if (!rc && fstat(b.fd, &st))
        rc = -errno;
    if (rc) {
        if (b.fd >= 0)
            close(b.fd);
        disclaim(&b);
        return fail(rc, "%s: no socket to poll: %s", call, strerror(-rc));
    }
    b.inode = st.st_ino;
    *ret = b;
    return 0;
}

void bell_hang(const struct bell *bell, uint64_t event)
{
    atomic_store(&poller_at(bell->entry)->event, event);
}

bool bell_good(const struct bell *bell)
{
    struct stat st;
    return !fstat(bell->fd, &st) && S_ISSOCK(st.st_mode) &&
           (st.st_ino == bell->inode || MUTANT(177));
}

void bell_drain(const struct bell *bell)
{
    enum { MOST = 64 /* strangers that send without an end keep nobody here */ };
    char bytes[16];
    for (int i = 0; i < MOST; i++)
        if (recv(bell->fd, bytes, sizeof bytes, MSG_DONTWAIT) < 0 && errno != EINTR)
            break;
}

void bell_arm(const struct bell *bell)
{
    atomic_fetch_add(&poller_at(bell->entry)->armed, 1);
}

bool bell_armed(const struct bell *bell)
{
    const struct poller *p = poller_at(bell->entry);
    return atomic_load(&p->armed) != atomic_load(&p->rung);
}

void bell_ring(const struct bell *from, uint32_t entry)
{
    ring(from->fd, entry);
}

void bell_end(struct bell *bell)
{
    if (bell_good(bell))
        close(bell->fd);
    disclaim(bell);
}

/* ---- epoll ---- */

int poll_register(int epoll, int fd, uint64_t tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = tag};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

bool poll_registered(int epoll, int fd, uint64_t tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = tag};
    return !epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
}
