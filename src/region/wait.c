/* Sleeping, watching over the family while asleep, and waking (docs/design.md 3 and 4). */
#include "region/wait.h"
#include "region/life.h"
#include "region/object.h"
#include "region/poll.h"
#include <limits.h>

enum { NET = 2000000000, UNARMED_SLICE = 20000000, UNSURE_SLICE = 100000 };
enum { PLAIN_SLICE = 10000000, PLAIN_SLICE_ORDINARY = 500000000, BARRIER_SLICE = 1000000 };
enum { YIELDED = 800 /* a yield that took longer let somebody else run */ };
enum { AHEAD = 4 /* free slots are watched too, so that a newborn need not wake anybody */ };

bool spin_yield(struct spin *s)
{
    if (!process_self.keep.yield)
        return false;
    int64_t now = os_now();
    if (!s->until)
        s->until = now + process_self.keep.yield;
    if (now >= s->until)
        return false;
    os_yield();
    shoal_thread.shares_core = os_now() - now > YIELDED;
    return true;
}

int wait_begin(struct waiter *w, uint32_t id)
{
    struct thread *t = &shoal_thread;
    *w = (struct waiter){.frame = NULL};
    if (t->depth == FRAMES)
        return fail(-EDEADLK, "signal handlers interrupted one another's waits %d deep", FRAMES);
    self_arm();
    *w = (struct waiter){.frame = &t->record->frames[t->depth], .slice = UNSURE_SLICE};
    t->depth++; /* before the frame is written: a handler that comes now takes the next */
    atomic_signal_fence(memory_order_seq_cst);
    if (id != WAIT_GUARD)
        object_slept_on(id); /* before the frame says so */
    atomic_store(w->frame, (uint64_t)id + 1);
    return 0;
}

static struct os_robust *role_of(uint32_t group, uint32_t role)
{
    return &view.roles[group * ROLES + role];
}

/* Slots below it are watched: those in use and a few more. */
static uint32_t watch_end(void)
{
    uint32_t high = atomic_load(&view.region->slots_high);
    uint32_t end = (high + AHEAD) / AHEAD * AHEAD;
    return end < SLOTS ? end : SLOTS;
}

static uint32_t groups_of(uint32_t end)
{
    return (end + WATCH_GROUP - 1) / WATCH_GROUP;
}

/* Whether some group but `mine` has nobody to watch it. */
static bool unwatched(uint32_t groups, uint32_t mine)
{
    for (uint32_t g = 0; g < groups; g++)
        if (g != mine && !os_robust_held(atomic_load(os_robust_word(role_of(g, 0)))))
            return true;
    return false;
}

/* Wakes an ordinary sleeper, which takes the role, and one more: two leavers may both wake the same
 * one, and that one may die (models/watch.pml). If it looked after groups that nobody watches, two
 * other watchers take that over first; if its own has nobody after it, its unlock tells the watcher
 * of the group before, which waits on it. */
static void leave_role(struct os_robust *role, uint32_t group)
{
    uint32_t sleepers = atomic_load_explicit(&view.region->slots_high, memory_order_relaxed) +
                        atomic_load_explicit(&view.region->records_high, memory_order_relaxed) -
                        SLOTS;
    uint32_t groups = groups_of(watch_end());
    if (unlikely(groups > 1) && unwatched(groups, group) && !MUTANT(81)) {
        atomic_fetch_add(&view.region->changed, 1);
        os_futex_wake(&view.region->changed, 2);
    }
    os_robust_release(role);
    if (sleepers > ROLES && !MUTANT(10))
        os_futex_wake(os_robust_word(role), 1);
}

/* A life word wakes one sleeper, once. One that leaves while it still looks at a life again and
 * again lets another do so: it marks nothing any more. */
static void pass_on_doubts(void)
{
    uint32_t high = atomic_load(&view.region->slots_high);
    for (uint32_t s = 1; s < high; s++) {
        _Atomic uint32_t *life = os_robust_word(&slot_at(s)->life);
        if (s != process_self.slot && slot_status(atomic_load(&slot_at(s)->word)) >= SLOT_ALIVE &&
            !os_robust_held(atomic_load(life)))
            os_futex_wake(life, 1);
    }
}

void wait_end(struct waiter *w)
{
    if (unlikely(w->doubt))
        pass_on_doubts();
    if (w->role)
        leave_role(w->role, w->group);
    atomic_store_explicit(w->frame, 0, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
    shoal_thread.depth--;
}

uint32_t wait_announce(struct waiter *w, _Atomic uint32_t *event)
{
    uint32_t seen =
        MUTANT(6) && w->role ? atomic_load(event) : atomic_fetch_or(event, SLEEPERS) | SLEEPERS;
    if (process_self.keep.asymmetric && !MUTANT(7) && !os_membarrier())
        w->slices = true;
    return seen;
}

void wait_wake_slow(_Atomic uint32_t *event, int n)
{
    uint32_t e = atomic_load(event);
    if (unlikely(e & ARMED))
        e = poll_wake(event, e);
    while (e & SLEEPERS)
        if (MUTANT(8) && os_futex_wake(event, n) >= 0) {
            atomic_fetch_and(event, ~(uint32_t)SLEEPERS);
            return;
        } else if (atomic_compare_exchange_weak(event, &e,
                                                (e + EVENT_STEP) & ~(uint32_t)SLEEPERS)) {
            os_futex_wake(event, n);
            return;
        }
}

/* ---- parking ---- */

/* Takes the first free role, spread over the groups; false: all are taken, *group is one to wait
 * on. */
static bool take_role(struct waiter *w, uint32_t groups)
{
    if (w->role)
        return true;
    for (uint32_t role = 0; role < ROLES; role++)
        for (uint32_t g = 0; g < groups; g++)
            if (os_robust_try(role_of(g, role))) {
                w->role = role_of(g, role);
                w->group = g;
                return true;
            }
    w->group = owner_record(shoal_thread.me) % groups;
    return false;
}

/* The two role words of w's group that an ordinary sleeper waits on. */
static struct os_robust *role_waited_on(const struct waiter *w, uint32_t groups, unsigned i)
{
    return role_of(w->group, (owner_record(shoal_thread.me) / groups + i) % ROLES);
}

/* An ordinary sleeper that was woken has perhaps taken the only wake-up that a leaver left on a
 * role, and takes whichever role is free: it passes on what it did not take. Each one woken does
 * the same, so it ends when all roles are taken or nobody listens (models/watch.pml). */
static void pass_on(const struct waiter *w, uint32_t group, uint32_t groups)
{
    struct waiter was = *w;
    was.group = group;
    for (unsigned i = 0; i < 2; i++) {
        _Atomic uint32_t *word = os_robust_word(role_waited_on(&was, groups, i));
        if (!os_robust_held(atomic_load(word)))
            os_futex_wake(word, 1);
    }
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* How long to trust the watchers. The whole family's cost of the net stays the same however many
 * sleep. */
static int64_t net(void)
{
    if (!process_self.keep.net)
        return INT64_MAX;
    int64_t many = atomic_load_explicit(&view.region->slots_high, memory_order_relaxed) / 128;
    return NET * (many > 1 ? many : 1);
}

/* Looks at all lives: true if something was repaired; *slice: when to look again. */
static bool look(struct waiter *w, bool unarmed, int64_t *slice)
{
    int64_t soonest;
    unsigned repaired = life_look_all(unarmed, &soonest);
    *slice = INT64_MAX;
    w->doubt = soonest != INT64_MAX;
    if (soonest == 0) { /* a marked life word that is not confirmed: soon, then less often */
        *slice = w->slice;
        w->slice = sooner(w->slice * 2, UNARMED_SLICE);
    } else if (soonest != INT64_MAX) {
        *slice = soonest;
    }
    return repaired;
}

/* Without futex_waitv, or without the right to a role: one word, in slices. */
static int park_plain(struct waiter *w, const _Atomic uint32_t *word, uint32_t value,
                      int64_t deadline)
{
    uint32_t groups = groups_of(watch_end());
    int64_t slice;
    /* Without robust words nobody would inherit a dead one's role: everybody looks. So does a signal
     * handler that can take none. */
    bool watcher = !process_self.keep.robust || os_robust_busy() || take_role(w, groups);
    if (watcher && look(w, true, &slice))
        return 0;
    int64_t until = INT64_MAX;
    if (process_self.keep.slices)
        until = os_now() + (watcher ? PLAIN_SLICE : PLAIN_SLICE_ORDINARY);
    int rc = os_futex_wait(word, value, sooner(deadline, until));
    if (rc != -ETIMEDOUT)
        return rc == -EINTR ? in_vain(rc) : rc;
    if (os_now() >= deadline)
        return in_vain(-ETIMEDOUT);
    look(w, true, &slice);
    return 0;
}

int wait_park(struct waiter *w, const _Atomic uint32_t *word, uint32_t value, int64_t deadline)
{
    if (deadline <= SHOAL_NOW)
        return not_now(deadline);
    int64_t now = os_now();
    if (now >= deadline)
        return in_vain(-ETIMEDOUT);
    if (w->slices)
        deadline = sooner(deadline, now + BARRIER_SLICE);
    if (!process_self.keep.waitv || os_robust_busy()) {
        int rc = park_plain(w, word, value, deadline);
        return rc == -ETIMEDOUT && w->slices ? 0 : rc;
    }

    struct os_wait waits[2 + WATCH_GROUP + 1] = {{word, value}};
    unsigned n = 1;
    uint32_t changed = atomic_load(&view.region->changed);
    uint32_t end = watch_end(), groups = groups_of(end);
    int64_t until = net() == INT64_MAX ? INT64_MAX : now + net(), slice = INT64_MAX;
    bool watcher = take_role(w, groups), unborn = false;
    if (watcher) {
        waits[n++] = (struct os_wait){&view.region->changed, changed};
        uint32_t first = w->group * WATCH_GROUP, last = first + WATCH_GROUP;
        bool doubt = false;
        for (uint32_t s = first ? first : 1; s < end && s < last; s++) {
            struct slot *slot = slot_at(s);
            if (s == process_self.slot)
                continue;
            uint32_t seen = os_robust_watch(&slot->life);
            enum slot_status status = slot_status(atomic_load(&slot->word));
            if (status == SLOT_DEAD || (status >= SLOT_ALIVE && !os_robust_held(seen)))
                doubt = true;
            unborn |= status == SLOT_STARTING;
            waits[n++] = (struct os_wait){os_robust_word(&slot->life), seen};
        }
        if (doubt && look(w, true, &slice))
            return 0;
        /* who watches the next group may be all that watches itself */
        if (groups > 1 && !MUTANT(80)) {
            struct os_robust *next = role_of((w->group + 1) % groups, 0);
            waits[n++] = (struct os_wait){os_robust_word(next), os_robust_watch(next)};
        }
        if (groups > 1 && unwatched(groups, groups)) {
            int64_t other;
            if (look(w, false, &other))
                return 0;
            slice = sooner(slice, UNARMED_SLICE);
        }
    } else {
        for (unsigned i = 0; i < 2; i++) {
            struct os_robust *role = role_waited_on(w, groups, i);
            uint32_t seen = os_robust_watch(role);
            if (!os_robust_held(seen))
                return 0; /* free by now: take it next time round */
            waits[n++] = (struct os_wait){os_robust_word(role), seen};
        }
    }
    if (unborn) /* a child that dies before it is attached marks nothing */
        slice = sooner(slice, UNARMED_SLICE);
    if (slice != INT64_MAX)
        until = sooner(until, now + slice);
    int rc = os_futex_waitv(waits, n, sooner(deadline, until));
    if (rc == 0 || rc == -EAGAIN || rc == -EINTR)
        return rc == -EINTR ? in_vain(rc) : 0;
    if (rc < 0 && rc != -ETIMEDOUT)
        return fail(rc, "futex_waitv: %s", shoal_strerror(rc));
    if (rc == -ETIMEDOUT && os_now() >= deadline) {
        if (unborn)
            look(w, true, &slice);
        return w->slices ? 0 : in_vain(-ETIMEDOUT);
    }
    /* A life or role word, or the net. The kernel tells only the last word of those that were
     * woken, so the caller looks at its own too. A vacant role is taken before anything else: the
     * one who left it woke nobody but us. */
    if (!watcher) {
        uint32_t group = w->group;
        take_role(w, groups);
        if (rc > 0 && !MUTANT(11))
            pass_on(w, group, groups);
    }
    look(w, rc == -ETIMEDOUT, &slice);
    return 0;
}

/* ---- owner words ---- */

/* One look: 1 taken from nobody, 2 taken from the dead, 0 a living one has it. */
static int owner_take(_Atomic owner_t *word, owner_t me, owner_t *dead)
{
    owner_t w = atomic_load(word);
    while (!w || owner_dead(w)) {
        owner_t was = w;
        if (MUTANT(1))
            atomic_store(word, w = 0);
        if (atomic_compare_exchange_strong(word, &w, me)) {
            *dead = was;
            return was ? 2 : 1;
        }
    }
    return 0;
}

int owner_acquire_slow(_Atomic owner_t *word, _Atomic uint32_t *event, uint32_t id, owner_t me,
                       int64_t deadline, owner_t *dead)
{
    int got = owner_take(word, me, dead);
    if (!got && deadline <= SHOAL_NOW) {
        owner_t w = atomic_load(word);
        if (w)
            life_ask(w);
        got = owner_take(word, me, dead);
        if (!got)
            return not_now(deadline);
    }
    struct spin s = spin_begin();
    for (spin_back_off(&s); !got && spin_once(&s); spin_back_off(&s))
        if (!atomic_load_explicit(word, memory_order_relaxed))
            got = owner_take(word, me, dead);
    if (!got) {
        struct waiter w;
        int rc = wait_begin(&w, id);
        if (rc)
            return rc;
        for (;;) {
            uint32_t seen = MUTANT(9) ? 0 : wait_announce(&w, event);
            got = owner_take(word, me, dead);
            if (got)
                break;
            if (MUTANT(9))
                seen = wait_announce(&w, event);
            rc = wait_park(&w, event, seen, deadline);
            if (rc)
                break;
        }
        wait_end(&w);
        if (!got)
            return rc;
    }
    return got == 2 ? SHOAL_OWNER_DIED : 0;
}
