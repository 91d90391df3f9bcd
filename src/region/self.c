/* Who the calling thread is: attaching a process and its threads to the family, forks, leaving; and
 * what went wrong last.
 *
 * Forks. Before any fork the parent reserves the child's slot and copies its holds there. In the
 * child the identity page is wiped; the handler writes the child's pid into the slot first of all,
 * then adopts it. If the parent dies in between, others tell by the pid, or, where there is none
 * yet, by looking for a process that maps the region and has no slot, whether a child was born
 * (life.c). A child that ran no handler (raw clone) attaches anew at its first call and holds
 * nothing; it has its parent's key and quota, and is known to descend from it.
 */
#define _GNU_SOURCE
#include "region/self.h"
#include "region/life.h"
#include "region/object.h"
#include "region/poll.h"
#include "region/wait.h"
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct process before_attach; /* until the page exists */
struct process *process_page = &before_attach;
_Thread_local struct thread shoal_thread __attribute__((tls_model("initial-exec")));
/* Of the fork under way: the starter's, or, where the program forks by itself, plain_birth. Written
 * where it differs from the last: a page less to be copied. */
static _Thread_local struct birth *birth __attribute__((tls_model("initial-exec")));
static _Thread_local struct birth plain_birth __attribute__((tls_model("initial-exec")));

void (*self_on_join)(void);
static pthread_key_t thread_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* ---- errors ---- */

void fail_detail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(shoal_thread.detail, sizeof shoal_thread.detail, format, arguments);
    va_end(arguments);
    shoal_thread.vain.result = 0;
    shoal_thread.failures++;
}

void vain_note(int rc, const char *call, const void *handle, unsigned type, int64_t deadline)
{
    struct vain *v = &shoal_thread.vain;
    if (v->result != rc) /* it has a sentence */
        return;
    *v = (struct vain){rc, type, call, handle, deadline, rc == -ETIMEDOUT ? os_now() : 0};
}

/* How a sentence begins: the call, the object's name if it has one and is still open. */
static void tell_where(char *where, size_t size, const char *call, const void *handle,
                       unsigned type)
{
    const struct header *h = type ? header_of(handle, (enum type)type) : NULL;
    const char *name = h ? object_name(h) : "";
    where[0] = 0;
    if (call)
        snprintf(where, size, *name ? "%s: '%s': " : "%s: ", call, name);
}

/* The sentence of a wait in vain. */
static void tell_vain(struct vain v)
{
    enum { MINUTE = 60 };
    char where[160];
    int64_t late = v.at ? (v.at - v.deadline) / 1000000000 : 0;
    tell_where(where, sizeof where, v.call, v.handle, v.type);
    if (v.result == -EINVAL)
        fail_detail("%sthe deadline %lld is negative: deadlines are absolute, shoal_after(seconds) "
                    "makes one",
                    where, (long long)v.deadline);
    else if (v.result == -ETIMEDOUT && late >= MINUTE)
        fail_detail("%sthe deadline lay %lld s in the past: deadlines are absolute, "
                    "shoal_after(seconds) makes one",
                    where, (long long)late);
    else if (v.result == -ETIMEDOUT)
        fail_detail("%sthe deadline passed before it could be done", where);
    else if (v.result == -EINTR)
        fail_detail("%sa signal handler ran during the wait; call again with the same deadline",
                    where);
    else
        fail_detail("%sit could not be done at once", where);
}

const char *fail_sentence(void)
{
    unsigned failures = shoal_thread.failures;
    if (shoal_thread.vain.result)
        tell_vain(shoal_thread.vain);
    shoal_thread.failures = failures;
    return shoal_thread.detail;
}

int fail_in(int result, const char *call)
{
    char why[sizeof shoal_thread.detail];
    if (shoal_thread.vain.result)
        return result;
    snprintf(why, sizeof why, "%s", shoal_thread.detail);
    return fail(result, "%s: %s", call, why);
}

int owner_died(owner_t dead, const char *call, const void *handle, unsigned type)
{
    int32_t pid;
    char name[NAME], where[160];
    bool ended;
    tell_where(where, sizeof where, call, handle, type);
    if (life_grave(dead, &pid, name, &ended))
        return fail(SHOAL_OWNER_DIED,
                    "%sits holder, process %s (pid %d), %s; the caller holds it now", where, name,
                    (int)pid, ended ? "ended without releasing it" : "died");
    return fail(SHOAL_OWNER_DIED, "%sits holder died; the caller holds it now", where);
}

int fail_callback(int result, const char *what, unsigned failures)
{
    char inside[sizeof shoal_thread.detail];
    if (shoal_thread.failures == failures)
        return fail(result, "%s: the function that it called returned %d (%s)", what, result,
                    shoal_strerror(result));
    snprintf(inside, sizeof inside, "%s", fail_sentence());
    return fail(result, "%s: the function that it called returned %d, after: %s", what, result,
                inside);
}

/* ---- threads ---- */

/* Under attach_mutex. */
static int claim_record(uint32_t *ret)
{
    /* A record stays with its process when its thread ends, so that what that thread still holds
     * names a living process. */
    if (process_self.spare) {
        *ret = process_self.spare;
        if (!MUTANT(103))
            process_self.spare = record_at(*ret)->next_spare;
        return 0;
    }
    for (uint32_t r = SLOTS; r < RECORDS; r++) {
        struct record *record = record_at(r);
        int rc = region_populate(record, sizeof *record);
        if (rc)
            return fail(rc, "no memory for another thread");
        uint32_t high = atomic_load(&view.region->records_high);
        while (high <= r && !atomic_compare_exchange_weak(&view.region->records_high, &high, r + 1))
            ;
        uint64_t w = atomic_load(&record->word);
        if (!(w & 0xff) && atomic_compare_exchange_strong(&record->word, &w,
                                                          record_make((uint32_t)(w >> 32),
                                                                      process_self.slot, true))) {
            *ret = r;
            return 0;
        }
    }
    return fail(-EAGAIN, "the family has no room for another thread (%d)", RECORDS - SLOTS);
}

CHILD_PATH static void use_record(uint32_t r, pid_t tid)
{
    struct thread *t = &shoal_thread;
    struct record *record = record_at(r);
    memset(t->group, 0, sizeof t->group);
    memset(t->free_ids, 0, sizeof t->free_ids);
    t->depth = 0;
    t->holds_life = false;
    t->record = record;
    atomic_store_explicit(&record->joins, 0, memory_order_relaxed);
    atomic_store(&record->tid, (uint32_t)tid);
    t->me = owner_make((uint32_t)(atomic_load(&record->word) >> 32), r);
    if (!t->keyed) /* a fork copies it: the child is spared the call */
        pthread_setspecific(thread_key, t);
    t->keyed = true;
    atomic_fetch_add(&process_self.threads, 1);
}

static void thread_end(void *argument)
{
    struct thread *t = argument;
    t->keyed = false;
    if (!self_known())
        return;
    uint32_t r = owner_record(t->me);
    os_mutex_lock(&process_self.attach_mutex);
    if (t->holds_life) /* another thread takes it at its next call; till then its death is looked for */
        os_robust_release(&slot_at(process_self.slot)->life);
    object_thread_end();
    record_at(r)->next_spare = process_self.spare;
    process_self.spare = r;
    t->me = 0;
    atomic_fetch_sub(&process_self.threads, 1);
    os_mutex_unlock(&process_self.attach_mutex);
}

int persona_create(struct persona *ret)
{
    owner_t me;
    uint32_t r;
    int rc = self(&me);
    if (rc)
        return rc;
    os_mutex_lock(&process_self.attach_mutex);
    rc = claim_record(&r);
    os_mutex_unlock(&process_self.attach_mutex);
    if (rc)
        return rc;
    struct record *record = record_at(r);
    atomic_store_explicit(&record->joins, 0, memory_order_relaxed);
    atomic_store(&record->tid, 0);
    *ret = (struct persona){.me = owner_make((uint32_t)(atomic_load(&record->word) >> 32), r),
                            .record = record};
    return 0;
}

void persona_swap(struct persona *p)
{
    struct thread *t = &shoal_thread;
    struct persona was = {t->me, t->record, t->depth};
    atomic_store_explicit(&p->record->tid, atomic_load(&t->record->tid), memory_order_relaxed);
    t->me = p->me;
    t->record = p->record;
    t->depth = p->depth;
    *p = was;
}

/* Nobody is it, so it sleeps nowhere and reads nothing. As with the dead the generation tells. */
void persona_end(struct persona *p)
{
    if (!p->me)
        return;
    atomic_store(&p->record->tid, 0);
    if (!MUTANT(105))
        atomic_store(&p->record->word,
                     record_make(owner_generation(p->me) + !MUTANT(104), 0, false));
    *p = (struct persona){.me = 0};
}

void self_arm(void)
{
    struct slot *slot = slot_at(process_self.slot);
    if (likely(os_robust_held(atomic_load(os_robust_word(&slot->life)))))
        return;
    if (process_self.keep.robust && os_robust_try(&slot->life))
        shoal_thread.holds_life = true;
}

/* ---- processes ---- */

/* What a process has from its parent; of the parent 0, which is nobody, nothing. Whom it descends
 * from is noted so that it is found below them even when those in between have ended. */
static void inherit(struct slot *slot, uint32_t parent, uint32_t generation)
{
    const struct slot *from = slot_at(parent);
    unsigned n = 0;
    slot->parent = parent;
    slot->parent_generation = generation;
    memset(slot->ancestors, 0, sizeof slot->ancestors);
    /* The key of the slot's former process is nobody's business. */
    slot->authkey_size = parent ? from->authkey_size : 0;
    atomic_store(&slot->quota, parent ? atomic_load(&from->quota) : 0);
    if (!parent)
        return;
    memcpy(slot->authkey, from->authkey, sizeof slot->authkey);
    for (; n < ANCESTORS && from->ancestors[n]; n++)
        slot->ancestors[n] = from->ancestors[n];
    if (n < ANCESTORS)
        slot->ancestors[n] = (uint64_t)generation << 32 | parent;
}

/* The slot of the process that `owner` is a thread of; 0 if its record has moved on. */
static uint32_t slot_of(owner_t owner)
{
    uint64_t word = atomic_load(&record_at(owner_record(owner))->word);
    return (uint32_t)(word >> 32) == owner_generation(owner) ? (uint32_t)(word >> 16) & 0xffff : 0;
}

/* The same for one for which its parent has reserved nothing: nothing if that has ended by now. */
static void inherit_late(struct slot *slot, uint32_t parent, uint32_t generation)
{
    const struct slot *from = slot_at(parent);
    uint64_t word = slot_make(generation, 0, SLOT_ALIVE);
    if (!parent || atomic_load(&from->word) != word)
        return;
    inherit(slot, parent, generation);
    atomic_fetch_or(&slot->flags, atomic_load(&from->flags) & SLOT_FLAG_DAEMON);
    if (atomic_load(&from->word) != word) { /* we may have read what is another's */
        inherit(slot, 0, 0);
        atomic_fetch_and(&slot->flags, ~(uint32_t)SLOT_FLAG_DAEMON);
    }
}

/* Reserves a free slot: STARTING. */
static int reserve_slot(uint32_t parent, struct birth *ret)
{
    uint64_t now = os_ticks();
    for (uint32_t s = 1; s < SLOTS; s++) {
        struct slot *slot = slot_at(s);
        int rc = region_populate(slot, sizeof *slot);
        if (rc)
            return fail(rc, "no memory for another process");
        uint64_t w = atomic_load(&slot->word);
        /* The dead that nobody has met yet make room first. */
        if (slot_status(w) == SLOT_ALIVE &&
            os_robust_marked(atomic_load(os_robust_word(&slot->life)))) {
            life_look(s, false);
            w = atomic_load(&slot->word);
        }
        if (slot_status(w) != SLOT_FREE)
            continue;
        uint32_t generation = (uint32_t)(w >> 32), high = atomic_load(&view.region->slots_high);
        bool passed = false;
        while (high <= s &&
               !(passed = atomic_compare_exchange_weak(&view.region->slots_high, &high, s + 1)))
            ;
        /* Names its parent in the same step; pid and flags were zeroed when it became free. */
        if (!atomic_compare_exchange_strong(&slot->word, &w,
                                            slot_make(generation,
                                                      parent ? owner_record(shoal_thread.me) : 0,
                                                      SLOT_STARTING)))
            continue;
        atomic_store(&slot->exit_status, EXIT_NONE);
        atomic_store(&slot->born_at, 0);
        slot->reserved_at = now;
        slot->name[0] = 0;
        slot->identity[0] = 0;
        inherit(slot, parent, parent ? process_self.generation : 0);
        atomic_store(&slot->charged, 0);
        if (passed) { /* sleeping watchers look a few slots ahead; now there are more */
            atomic_fetch_add(&view.region->changed, 1);
            os_futex_wake(&view.region->changed, INT_MAX);
        }
        poll_tell(); /* before its process exists */
        ret->slot = s;
        ret->generation = generation;
        return 0;
    }
    return fail(-EAGAIN, "the family has no room for another process (%d)", SLOTS - 1);
}

/* A reserved slot becomes this process's, and this its first thread. */
CHILD_PATH static void adopt_slot(uint32_t s, uint32_t generation, pid_t pid, pid_t tid)
{
    struct slot *slot = slot_at(s);
    process_self.slot = s;
    process_self.generation = generation;
    atomic_store(&slot->born_at, 0); /* it may be another process than the one that was forked */
    atomic_store(&slot->pid, pid);
    os_robust_init(&slot->life);
    os_robust_thread(tid);
    bool armed = process_self.keep.robust && os_robust_try(&slot->life);
    atomic_store(&record_at(s)->word, record_make(generation, s, true));
    process_self.spare = 0;
    atomic_store(&process_self.threads, 0);
    use_record(s, tid);
    shoal_thread.holds_life = armed;
    process_self.keep.asymmetric = view.region->asymmetric;
    atomic_store(&slot->word, slot_make(generation, 0, SLOT_ALIVE));
    int fd = os_features()->proc ? -1 : region_fd();
    if (fd >= 0 && !os_byte_lock(fd, s))
        atomic_fetch_or(&slot->flags, SLOT_FLAG_LOCKED);
    atomic_store(&process_self.attached, 1);
}

static void at_exit(void)
{
    if (!atomic_load(&process_self.attached))
        return;
    if (!shoal_thread.me || atomic_load(&process_self.threads) > 1) {
        /* Others may still be inside: the kernel's mark, after they are gone, is what gives
         * everything back. */
        atomic_fetch_or(&slot_at(process_self.slot)->flags, SLOT_FLAG_CLEAN);
        return;
    }
    self_leave();
}

static void before_fork(void)
{
    bool starts = self_starts();
    struct birth *b = starts ? process_self.start.birth : &plain_birth;
    if (birth != b)
        birth = b;
    b->slot = 0;
    if (atomic_load(&process_self.attached) && !shoal_thread.me)
        self_attach(); /* a thread's first call */
    os_mutex_lock(&process_self.attach_mutex);
    os_mutex_lock(&process_self.mutex);
    atomic_fetch_add(&process_self.keep.forks, 1);
    b->keep = process_self.keep;
    b->prepared = self_known();
    if (!b->prepared)
        return;
    if (reserve_slot(process_self.slot, b)) {
        b->slot = 0;
    } else {
        struct slot *slot = slot_at(b->slot);
        atomic_fetch_or(&slot->flags, b->flags & SLOT_FLAG_DAEMON);
        if (starts) {
            memcpy(slot->name, process_self.start.name, NAME);
            memcpy(slot->identity, process_self.start.identity, NAME);
        } else {
            memcpy(slot->name, "(forked)", sizeof "(forked)");
        }
        if (object_copy_holds(process_self.slot, b->slot)) {
            life_ended(b->slot, b->generation, true);
            b->slot = 0;
        }
    }
    b->several = atomic_load(&process_self.threads) > 1;
    /* The child's slot is reserved: who dooms this process from now on sees it. */
    while (atomic_load(&slot_at(process_self.slot)->doomed) == process_self.generation + 1)
        os_stop();
}

static void after_fork_parent(void)
{
    struct birth *b = birth;
    if (b->prepared && b->slot && !MUTANT(55))
        life_forked(b->slot, b->generation);
    atomic_fetch_add(&process_self.keep.forks, 1);
    os_mutex_unlock(&process_self.mutex);
    os_mutex_unlock(&process_self.attach_mutex);
}

CHILD_PATH static void after_fork_child(void)
{
    struct birth *b = birth;
    /* The page is wiped: all zero. Where the kernel cannot, it is done here. */
    process_self = (struct process){.keep = b->keep};
    /* Here and in the parent once more: another thread may have made an object between the handler
     * before the fork and the fork, and then both have it. Even again: no fork is under way. */
    atomic_fetch_add(&process_self.keep.forks, 1);
    uint32_t parent = owner_record(shoal_thread.me);
    if (!b->prepared || !b->slot)
        return;
    /* Nobody takes it from a child that exists; if somebody has all the same, it is not ours to
     * write to: we attach anew. The look is a write, since at a first read the kernel would look for
     * more pages to map. */
    uint64_t word = slot_make(b->generation, parent, SLOT_STARTING);
    if (!atomic_compare_exchange_strong(&slot_at(b->slot)->word, &word, word)) {
        b->slot = 0;
        return;
    }
    if (b->flags & BIRTH_EXEC)
        atomic_store(&slot_at(b->slot)->born_at, os_ticks());
    pid_t pid = os_getpid();
    atomic_store(&slot_at(b->slot)->pid, pid);
    if (b->flags & BIRTH_EXEC)
        return; /* the new image takes the slot */
    adopt_slot(b->slot, b->generation, pid, pid);
    if (b->several)
        object_check_handles(false);
}

static int number(const char *name, int otherwise)
{
    const char *text = getenv(name);
    return text && *text ? atoi(text) : otherwise;
}

/* What the environment says; again in a child of a raw clone, whose page was wiped. */
static void configure(void)
{
    process_self.keep.spin = number("SHOAL_TEST_SPIN", 60);
    process_self.keep.yield = process_self.keep.spin ? 50000 : 0;
    process_self.keep.net = number("SHOAL_TEST_NET", 1);
    process_self.keep.slices = number("SHOAL_TEST_SLICES", 1);
    process_self.keep.robust = os_features()->robust && os_robust_works();
    process_self.keep.waitv = os_features()->futex_waitv && process_self.keep.robust;
    process_self.keep.known = true;
}

static void first_time(void)
{
    os_robust_prepare();
    pthread_key_create(&thread_key, thread_end);
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
    atexit(at_exit);
    /* One page for good; without it what is here stays in use, and the fork handler does what the
     * kernel would. */
    struct process *page = os_memory_wiped_page();
    static_assert(sizeof *page <= 4096, "one page");
    if (page)
        process_page = page;
    configure();
}

/* Whose child a process is that has a slot reserved by nobody. */
struct descent {
    uint32_t parent, generation;
    bool daemon;
};

/* A family that the parent left in the environment (start by exec). -EAGAIN: mapped, but the slot
 * is another's: a shell has run more than one program, or has ended before this one joined. */
static int join_family(struct descent *descent)
{
    const char *text = getenv(SELF_ENVIRONMENT);
    unsigned slot, generation, daemon;
    int fd;
    if (!text)
        return -ENOENT;
    bool good = sscanf(text, SELF_FORMAT, &fd, &slot, &generation, &descent->parent,
                       &descent->generation, &daemon) == 6 &&
                slot && slot < SLOTS && descent->parent < SLOTS;
    unsetenv(SELF_ENVIRONMENT); /* not for children of ours that are not of the family */
    if (!good)
        return fail(-EINVAL, SELF_ENVIRONMENT " is not what a parent writes there");
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    int rc = region_map(fd);
    if (rc)
        return fail(rc, "the parent's region cannot be joined: %s", strerror(-rc));
    rc = object_attach();
    if (rc) {
        region_unmap();
        return fail(rc, "the parent's region cannot be joined: %s", strerror(-rc));
    }
    descent->daemon = daemon;
    /* Of several programs that a shell runs one has the slot: who takes it from its parent. */
    uint64_t word = atomic_load(&slot_at(slot)->word);
    if (slot_status(word) != SLOT_STARTING || word >> 32 != generation || !((uint32_t)word >> 8) ||
        !atomic_compare_exchange_strong(&slot_at(slot)->word, &word,
                                        slot_make(generation, 0, SLOT_STARTING)))
        return -EAGAIN;
    if (atomic_load(&slot_at(slot)->pid) != os_getpid())
        poll_tell(); /* it is another process than was forked, whom nobody watches */
    adopt_slot(slot, generation, os_getpid(), os_gettid());
    object_inherit();
    if (self_on_join)
        self_on_join();
    return 0;
}

/* All of it or nothing: the next call begins anew. */
static int begin_family(uint64_t reserve)
{
    int rc = object_attach(); /* first, since the region takes whatever room there is */
    if (!rc)
        rc = region_create(reserve);
    switch (rc) {
    case 0: return 0;
    case -EINVAL: return fail(rc, "a region reserves 256 GiB at most");
    case -EFBIG: return fail(rc, "no region: the limit on the size of files is below 64 MiB");
    case -ENOMEM: return fail(rc, "no room for a region of 100 MiB of address space");
    default: return fail(rc, "no region: %s", strerror(-rc));
    }
}

/* `was`: what the calling thread was called before, in the process that forked this one. */
static int attach_process(owner_t was)
{
    struct descent descent = {.parent = 0};
    if (!view.base) {
        int rc = join_family(&descent);
        if (rc == -ENOENT)
            rc = begin_family(0);
        else if (!rc)
            return 0;
        if (rc && rc != -EAGAIN)
            return rc;
    } else {
        descent.parent = slot_of(was);
        descent.generation = (uint32_t)(atomic_load(&slot_at(descent.parent)->word) >> 32);
    }
    /* The root, a child of a raw clone, or a program that comes late: a slot of its own, no holds. */
    bool raw = !process_self.keep.known;
    configure();
    bool root = atomic_load(&view.region->slots_high) == 1;
    struct birth b = {.slot = 0};
    int rc = reserve_slot(0, &b);
    if (rc)
        return rc;
    struct slot *slot = slot_at(b.slot);
    snprintf(slot->name, NAME, "%s", root ? "MainProcess" : "(attached)");
    if (root) {
        slot->authkey_size = 32;
        os_random(slot->authkey, 32);
    } else {
        inherit_late(slot, descent.parent, descent.generation);
        atomic_fetch_or(&slot->flags, slot->parent && descent.daemon ? SLOT_FLAG_DAEMON : 0);
    }
    adopt_slot(b.slot, b.generation, os_getpid(), os_gettid());
    if (!root)
        object_check_handles(raw);
    if (!root && self_on_join)
        self_on_join();
    return 0;
}

int self_init(uint64_t reserve)
{
    pthread_once(&once, first_time);
    os_mutex_lock(&process_self.attach_mutex);
    int rc = view.base ? fail(-EALREADY, "this process belongs to a family already")
                       : begin_family(reserve);
    os_mutex_unlock(&process_self.attach_mutex);
    return rc ? rc : self_attach();
}

bool self_alone(void)
{
    return !view.base && !getenv(SELF_ENVIRONMENT);
}

int self_join(int fd)
{
    pthread_once(&once, first_time);
    os_mutex_lock(&process_self.attach_mutex);
    int rc = self_alone() ? region_map(fd) : -EALREADY;
    if (!rc && object_attach()) {
        rc = -ENOMEM;
        view.fd = -1;
        region_unmap();
    }
    os_mutex_unlock(&process_self.attach_mutex);
    if (rc == -EALREADY)
        return fail(rc, "this process belongs to a family already");
    if (rc)
        return fail(rc, "the region cannot be mapped: %s", strerror(-rc));
    rc = self_attach();
    if (rc && !atomic_load(&process_self.attached)) {
        view.fd = -1;
        region_unmap();
    }
    return rc;
}

int self_attach(void)
{
    pthread_once(&once, first_time);
    if (shoal_thread.attaching)
        return fail(-EDEADLK, "a signal handler called shoal while its thread was attaching");
    shoal_thread.attaching = true;
    os_mutex_lock(&process_self.attach_mutex);
    int rc = 0;
    if (!atomic_load(&process_self.attached)) {
        owner_t was = shoal_thread.me;
        shoal_thread.me = 0;
        rc = attach_process(was);
    }
    if (!rc && !shoal_thread.me) {
        uint32_t r = 0;
        rc = claim_record(&r);
        if (!rc) {
            pid_t tid = os_gettid();
            os_robust_thread(tid);
            use_record(r, tid);
            self_arm();
        }
    }
    os_mutex_unlock(&process_self.attach_mutex);
    shoal_thread.attaching = false;
    return rc;
}

CHILD_PATH int self_leave(void)
{
    if (!self_known())
        return 0;
    os_mutex_lock(&process_self.attach_mutex);
    if (atomic_load(&process_self.threads) > 1) {
        os_mutex_unlock(&process_self.attach_mutex);
        return fail(-EBUSY, "other threads of this process use shoal");
    }
    life_leave();
    shoal_thread.me = 0;
    atomic_store(&process_self.threads, 0);
    atomic_store(&process_self.attached, 0);
    os_mutex_unlock(&process_self.attach_mutex);
    return 0;
}

int self_detach(void)
{
    owner_t me;
    /* The calling thread may be one that has never called: then it is as before, if others use shoal. */
    bool anew = !self_known();
    int rc = atomic_load(&process_self.attached) ? self(&me) : 0;
    if (!rc)
        rc = self_leave();
    if (rc && anew)
        thread_end(&shoal_thread);
    if (!rc && view.base) {
        pollable_forget();
        object_forget();
        region_unmap();
    }
    return rc;
}
