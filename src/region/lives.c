/* Watching over the family from where no futex reaches: for who waits in the program's own epoll_wait.
 *
 * A descriptor that the program polls is an epoll descriptor with two things in it: the socket that is
 * rung when something is put (poll.c), and a struct lives, of which there is one for some of them
 * (Linux lets no more than 100 ways lead from one descriptor, through three epolls, to their readers; so
 * 32 each leaves room for programs that have several, or nest them). That is an epoll descriptor too,
 * with a pidfd of each living process of the family. A death makes all readable. Whoever finds
 * nothing to take then looks here: the dead are repaired, and are watched no more.
 *
 * Nobody may be overlooked, though processes come and go meanwhile. Each slot's generation is kept as it
 * was last seen: if it has moved on, somebody has lived and ended, seen or not. That is passed on to all
 * descriptors that this one is for, as what the dead had put may be for any of them, and its repairer
 * rings nobody for it. And nobody comes unseen: who reserves a slot, for a child or for itself, rings all
 * lives (poll_tell) before there is such a process; from there until the slot's process is known and has
 * a pidfd here, time helps (a slice, then a longer one). Who repairs one tells too, when all is done: the
 * pidfd of one who is being repaired is no use any more.
 *
 * Who has no pidfd here, as the program has no descriptors to spare, is looked at in slices.
 * A pidfd stands for the slot's process if that was seen to live after it was opened. Deaths by exec
 * make no pidfd readable: as for all sleepers, there is the net. It also helps where ringing has failed.
 */
#include "region/poll.h"
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define NET 2000000000
#define SLICE_LEAST 1000000
#define SLICE_MOST 20000000
enum { BELL = 0 /* nobody's slot */, TIMER = SLOTS }; /* what an event speaks of; or a slot */
enum { WATCHES = SLOTS * sizeof(struct watch) };

/* What a look has found. */
struct seen {
    bool passed; /* somebody has ended */
    bool doubt;  /* somebody is not watched yet */
    bool full;   /* no descriptor is left to watch anybody with */
};

/* ---- one process ---- */

/* Closed only if it is ours still, which is so as long as it can be found in the epoll. */
static void drop(struct lives *l, struct watch *w)
{
    if (w->fd && !epoll_ctl(l->epoll, EPOLL_CTL_DEL, w->fd - 1, NULL))
        close(w->fd - 1);
    w->fd = 0;
}

/* Whether slot s has come to another life than when it was last seen. */
static void follow(struct lives *l, uint32_t s, struct seen *seen)
{
    struct watch *w = &l->watches[s];
    uint32_t generation = (uint32_t)(atomic_load(&slot_at(s)->word) >> 32);
    if (generation == w->generation)
        return;
    drop(l, w);
    *w = (struct watch){.generation = generation};
    seen->passed = true;
}

/* A quarter of the numbers that the process may use is left to the program. */
static bool is_too_high(int fd)
{
    struct rlimit limit;
    return !getrlimit(RLIMIT_NOFILE, &limit) && (rlim_t)fd >= limit.rlim_cur - limit.rlim_cur / 4;
}

static void watch(struct lives *l, uint32_t s, pid_t pid, struct seen *seen)
{
    struct watch *w = &l->watches[s];
    if (w->pid == pid) /* which is watched, or has ended */
        return;
    drop(l, w);
    w->pid = 0;
    int fd = os_features()->pidfd && !seen->full ? os_pidfd_open(pid) : -1;
    seen->full |= fd == -EMFILE || fd == -ENFILE || (fd >= 0 && is_too_high(fd));
    if (fd >= 0 && (seen->full || poll_register(l->epoll, fd, s))) {
        close(fd);
        fd = -1;
    }
    if (fd >= 0)
        *w = (struct watch){w->generation, pid, fd + 1};
}

static void look_at(struct lives *l, uint32_t s, struct seen *seen)
{
    follow(l, s, seen);
    uint64_t word = atomic_load(&slot_at(s)->word);
    enum slot_status status = slot_status(word);
    pid_t pid = atomic_load(&slot_at(s)->pid);
    if (status == SLOT_FREE)
        return;
    if (status != SLOT_DEAD && pid)
        watch(l, s, pid, seen);
    enum life life = life_look(s, true); /* after its pidfd was opened */
    follow(l, s, seen);
    bool unsure = life == LIFE_UNSURE || life == LIFE_UNARMED;
    if (status == SLOT_STARTING) /* its process is known, or may still become another's */
        unsure = !((uint32_t)word >> 8);
    if (status != SLOT_DEAD && (unsure || !l->watches[s].fd))
        seen->doubt = true;
}

/* Its pidfd says that it has ended. */
static void ended(struct lives *l, uint32_t s)
{
    uint64_t word = atomic_load(&slot_at(s)->word);
    enum slot_status status = slot_status(word);
    uint32_t generation = l->watches[s].generation;
    drop(l, &l->watches[s]);
    if (word >> 32 != generation || life_look(s, true) == LIFE_REPAIRED)
        return;
    if ((status == SLOT_ALIVE || status == SLOT_LEAVING) && atomic_load(&slot_at(s)->word) == word)
        life_ended(s, generation, false);
}

/* ---- all of them ---- */

/* What made it readable. */
static void take_events(struct lives *l, struct seen *seen)
{
    struct epoll_event events[64];
    uint64_t ticks;
    int n = epoll_wait(l->epoll, events, 64, 0);
    for (int i = 0; i < n; i++)
        switch (events[i].data.u64) {
        case BELL: bell_drain(&l->bell); break;
        case TIMER:
            /* the net, not a slice */
            seen->passed |= poll_registered(l->epoll, l->timer, TIMER) &&
                            read(l->timer, &ticks, sizeof ticks) > 0 && !l->slice;
            break;
        default: ended(l, (uint32_t)events[i].data.u64);
        }
}

static void set_timer(struct lives *l, bool doubt)
{
    int64_t slice = l->slice ? l->slice * 2 : SLICE_LEAST;
    l->slice = !doubt ? 0 : slice < SLICE_MOST ? slice : SLICE_MOST;
    int64_t next = doubt ? l->slice : process_self.keep.net ? NET : 0;
    struct itimerspec t = {.it_value = {next / 1000000000, next % 1000000000}};
    if (poll_registered(l->epoll, l->timer, TIMER))
        timerfd_settime(l->timer, 0, &t, NULL);
}

static void look(struct lives *l)
{
    struct seen seen = {false, false, false};
    take_events(l, &seen);
    bell_arm(&l->bell); /* who comes from now on rings */
    uint32_t high = atomic_load(&view.region->slots_high);
    for (uint32_t s = 1; s < high; s++)
        if (s != process_self.slot)
            look_at(l, s, &seen);
    bool blind = atomic_load(&l->blind);
    set_timer(l, seen.doubt || blind);
    for (unsigned i = 0; (seen.passed || blind) && !MUTANT(174) && i < LIVES_USERS; i++)
        if (atomic_load(&l->user[i]))
            bell_ring(&l->bell, atomic_load(&l->user[i]) - 1);
}

void lives_look(struct lives *l)
{
    if (atomic_exchange(&l->busy,
                        1)) /* by another thread; it is readable as long as there is need */
        return;
    if (lives_good(l))
        look(l);
    atomic_store(&l->busy, 0);
}

bool lives_good(const struct lives *l)
{
    return bell_good(&l->bell) && poll_registered(l->epoll, l->bell.fd, BELL);
}

/* ---- making and ending ---- */

int lives_make(struct lives *ret, uint64_t process, const char *call)
{
    struct lives l = {.epoll = -1, .timer = -1};
    int rc = bell_make(&l.bell, call);
    if (rc)
        return rc;
    void *watches = mmap(NULL, WATCHES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    l.epoll = watches != MAP_FAILED ? epoll_create1(EPOLL_CLOEXEC) : -1;
    l.timer = l.epoll >= 0 ? timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK) : -1;
    rc = l.timer < 0 ? -errno : poll_register(l.epoll, l.bell.fd, BELL);
    if (!rc)
        rc = poll_register(l.epoll, l.timer, TIMER);
    if (rc) {
        if (watches != MAP_FAILED)
            munmap(watches, WATCHES);
        if (l.epoll >= 0)
            close(l.epoll);
        if (l.timer >= 0)
            close(l.timer);
        bell_end(&l.bell);
        return fail(rc, "%s: no descriptors to watch the family with: %s", call, strerror(-rc));
    }
    l.watches = watches;
    uint32_t high = atomic_load(&view.region->slots_high);
    for (uint32_t s = 1; s < high; s++)
        l.watches[s].generation = (uint32_t)(atomic_load(&slot_at(s)->word) >> 32);
    l.process = process;
    *ret = l;
    bell_hang(&ret->bell, POLLS_LIVES);
    bell_ring(&ret->bell, ret->bell.entry); /* for the first look */
    return 0;
}

void lives_end(struct lives *l)
{
    if (atomic_exchange(&l->busy, 1)) /* somebody looks here, who should not; it stays for others */
        return;
    if (lives_good(l)) {
        for (uint32_t s = 1; s < SLOTS; s++)
            drop(l, &l->watches[s]);
        if (poll_registered(l->epoll, l->timer, TIMER))
            close(l->timer);
        close(l->epoll);
    }
    bell_end(&l->bell);
    munmap(l->watches, WATCHES);
    *l = (struct lives){.process = 0};
}

void lives_inherited(struct lives *l)
{
    if (lives_good(l)) { /* the epoll is the parent's too: nothing is taken out of it */
        for (uint32_t s = 1; s < SLOTS; s++)
            if (l->watches[s].fd && poll_registered(l->epoll, l->watches[s].fd - 1, s))
                close(l->watches[s].fd - 1);
        if (poll_registered(l->epoll, l->timer, TIMER))
            close(l->timer);
        close(l->epoll);
        close(l->bell.fd);
    }
    munmap(l->watches, WATCHES);
    *l = (struct lives){.process = 0};
}
