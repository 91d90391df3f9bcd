/* A handle's descriptor: an epoll descriptor of a socket that is rung (poll.c) and of the lives of the
 * family (lives.c). The program waits until it is readable, in an epoll loop of its own, say.
 *
 * It is readable while there may be something to take. A call that finds nothing makes it unreadable, and
 * then looks again (arm): if there is something after all, it rings itself. So no thread needs to know of
 * another's calls: whoever empties the socket looks afterwards.
 *
 * All of it is private memory. A fork copies it, and the descriptors; they are the parent's, and the
 * child uses neither: each struct says whose it is. When the child polls something itself, it closes what
 * it has of its parent's first. The program may close descriptors without knowing (closerange), and
 * their numbers become other files. So nothing is read or closed that has not proved to be ours: a socket
 * by its inode, all else by being registered in its epoll, together with it.
 */
#include "region/poll.h"
#include "region/wait.h"
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BELL, LIVES };

/* Under process_self.mutex, but for who has the handle open. */
struct pollable {
    uint64_t process; /* whose it is; 0: nobody's */
    struct bell bell;
    int epoll;
    struct lives *lives;
};

/* Each at the place that its bell has in the family's table. */
static struct table {
    uint64_t process; /* the one that used it last */
    struct pollable pollable[POLLERS];
    struct lives lives[POLLERS / LIVES_USERS];
} * table;

/* No other process of any family is the same. */
static uint64_t this_process(void)
{
    return view.region->family ^ ((uint64_t)process_self.generation << 32 | process_self.slot);
}

/* ---- waiting ---- */

static void arm(struct pollable *p, _Atomic uint32_t *event, poll_look *ready, void *argument)
{
    bell_drain(&p->bell);
    bell_arm(&p->bell);
    /* It becomes another value even if the bit is set: who rings just now must not clear it. */
    uint32_t e = atomic_load(event), step = MUTANT(172) ? 0 : EVENT_STEP;
    while (!atomic_compare_exchange_weak(event, &e, (e + step) | ARMED))
        ;
    if (process_self.keep.asymmetric && !os_membarrier()) {
        atomic_store(&p->lives->blind, 1);
        bell_ring(&p->bell, p->lives->bell.entry);
    }
    if (!MUTANT(175) && ready(argument))
        bell_ring(&p->bell, p->bell.entry);
}

/* Repairing others may have said something about this thread's failures. */
static void look_at_lives(struct lives *lives)
{
    struct vain vain = shoal_thread.vain;
    unsigned failures = shoal_thread.failures;
    lives_look(lives);
    if (vain.result) {
        shoal_thread.vain = vain;
        shoal_thread.failures = failures;
    }
}

void pollable_wait(struct handle *handle, _Atomic uint32_t *event, poll_look *ready, void *argument)
{
    int error = errno;
    uint32_t i = atomic_load(&handle->pollable);
    struct pollable *p = i && table ? &table->pollable[i - 1] : NULL;
    if (!p || !self_known() || p->process != this_process())
        return;
    struct pollfd fds[] = {{.fd = p->bell.fd, .events = POLLIN},
                           {.fd = p->lives->epoll, .events = POLLIN}};
    poll(fds, 2, 0); /* of whatever file: it takes nothing */
    if (fds[1].revents & POLLIN)
        look_at_lives(p->lives);
    /* Nobody has rung since it was armed: it still is. */
    bool still = !fds[0].revents && bell_armed(&p->bell) && atomic_load(event) & ARMED;
    if (!still && bell_good(&p->bell))
        arm(p, event, ready, argument);
    errno = error;
}

/* ---- making and ending, under process_self.mutex ---- */

static bool is_good(const struct pollable *p)
{
    return bell_good(&p->bell) && poll_registered(p->epoll, p->bell.fd, BELL) &&
           lives_good(p->lives) && poll_registered(p->epoll, p->lives->epoll, LIVES);
}

static void leave_lives(struct lives *lives, uint32_t entry)
{
    for (unsigned i = 0; i < LIVES_USERS; i++)
        if (atomic_load(&lives->user[i]) == entry + 1)
            atomic_store(&lives->user[i], 0);
    if (!--lives->users)
        lives_end(lives);
}

static void end(struct pollable *p)
{
    struct lives *lives = p->lives;
    if (bell_good(&p->bell) && poll_registered(p->epoll, p->bell.fd, BELL)) {
        /* A copy of it, a child's, keeps the program's epoll from forgetting it: it never says anything
         * again. */
        epoll_ctl(p->epoll, EPOLL_CTL_DEL, p->bell.fd, NULL);
        epoll_ctl(p->epoll, EPOLL_CTL_DEL, lives->epoll, NULL);
        close(p->epoll);
    }
    bell_end(&p->bell);
    p->process = 0;
    leave_lives(lives, p->bell.entry);
}

/* Closes what a forked process has of its parent's. */
static void close_inherited(void)
{
    if (table->process == this_process())
        return;
    for (uint32_t i = 0; i < POLLERS && table->process; i++) {
        struct pollable *p = &table->pollable[i];
        if (p->process && bell_good(&p->bell)) {
            if (poll_registered(p->epoll, p->bell.fd, BELL))
                close(p->epoll);
            close(p->bell.fd);
        }
        p->process = 0;
    }
    for (uint32_t i = 0; i < POLLERS / LIVES_USERS && table->process; i++)
        if (table->lives[i].process)
            lives_inherited(&table->lives[i]);
    table->process = this_process();
}

static int find_lives(struct lives **ret, const char *call)
{
    struct lives *unused = NULL;
    for (uint32_t i = 0; i < POLLERS / LIVES_USERS; i++) {
        struct lives *l = &table->lives[i];
        if (l->process && l->users < LIVES_USERS && lives_good(l)) {
            *ret = l;
            return 0;
        }
        if (!l->process) {
            unused = l;
            break;
        }
    }
    if (!unused)
        return fail(-ENOSPC, "%s: this process polls too many descriptors", call);
    *ret = unused;
    return lives_make(unused, this_process(), call);
}

/* -errno without a sentence: the kernel's. */
static int make_epoll(const struct bell *bell, const struct lives *lives)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    int rc = fd < 0 ? -errno : poll_register(fd, bell->fd, BELL);
    if (!rc)
        rc = poll_register(fd, lives->epoll, LIVES);
    if (rc && fd >= 0)
        close(fd);
    return rc ? rc : fd;
}

static int make(struct pollable **ret, const char *call)
{
    struct bell bell;
    struct lives *lives;
    int rc = find_lives(&lives, call);
    if (rc)
        return rc;
    rc = bell_make(&bell, call);
    int fd = rc ? -1 : make_epoll(&bell, lives);
    if (!rc && fd < 0) {
        rc = fail(fd, "%s: no descriptor to poll: %s", call, strerror(-fd));
        bell_end(&bell);
    }
    if (rc) {
        if (!lives->users)
            lives_end(lives);
        return rc;
    }
    for (unsigned i = 0; i < LIVES_USERS; i++)
        if (!atomic_load(&lives->user[i])) {
            atomic_store(&lives->user[i], bell.entry + 1);
            break;
        }
    lives->users++;
    *ret = &table->pollable[bell.entry];
    **ret = (struct pollable){.bell = bell, .epoll = fd, .lives = lives, .process = this_process()};
    return 0;
}

static int open_descriptor(struct handle *handle, _Atomic uint32_t *event, poll_look *ready,
                           void *argument, const char *call)
{
    if (!table) {
        void *memory = mmap(NULL, sizeof *table, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED)
            return fail(-ENOMEM, "%s: no memory to poll with", call);
        table = memory;
    }
    close_inherited();
    uint32_t i = atomic_load(&handle->pollable);
    struct pollable *p = i ? &table->pollable[i - 1] : NULL;
    if (p && p->process == this_process() && is_good(p))
        return p->epoll;
    if (p && p->process == this_process())
        end(p);
    atomic_store(&handle->pollable, 0);
    int rc = make(&p, call);
    if (rc)
        return rc;
    bell_hang(&p->bell, poll_event(event));
    arm(p, event, ready, argument);
    /* Its close takes the mutex. */
    atomic_store_explicit(&handle->shared, 1, memory_order_relaxed);
    atomic_store(&handle->pollable, p->bell.entry + 1);
    return p->epoll;
}

int pollable_open(struct handle *handle, _Atomic uint32_t *event, poll_look *ready, void *argument,
                  const char *call)
{
    owner_t me;
    int error = errno, rc = self(&me);
    if (rc)
        return rc;
    os_mutex_lock(&process_self.mutex);
    int fd = open_descriptor(handle, event, ready, argument, call);
    os_mutex_unlock(&process_self.mutex);
    if (fd >= 0) /* the first look at lives, without the mutex */
        pollable_wait(handle, event, ready, argument);
    errno = error;
    return fd;
}

void pollable_close(struct handle *handle)
{
    int error = errno;
    uint32_t i = atomic_load(&handle->pollable);
    atomic_store(&handle->pollable, 0);
    if (i && table && table->pollable[i - 1].process == this_process())
        end(&table->pollable[i - 1]);
    errno = error;
}

void pollable_forget(void)
{
    uint32_t entries = atomic_load(&view.region->pollers_high);
    for (uint32_t i = 0; table && table->process == this_process() && i < entries; i++)
        if (table->pollable[i].process == this_process())
            end(&table->pollable[i]);
    uint32_t high = atomic_load(&view.region->groups_high);
    for (uint32_t id = 0; table && id < high * GROUP; id++)
        if (atomic_load(&handles[id].pollable))
            atomic_store(&handles[id].pollable, 0);
}
