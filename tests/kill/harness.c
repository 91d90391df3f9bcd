/*
 * harness.c: the cases of a scenario: one process with fresh state for each, the processes that
 * take part in it, and the sums. harness.h is the manual.
 */
#define _GNU_SOURCE
#include "harness_internal.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE 10.0 /* seconds for survivors and partners */
#define CASE_NET 60.0 /* more than all nets inside a case */
#define FINDS 2       /* ways found anew, when points of the first cannot be reached again */
#define TRIES 3       /* runs of a case that leaves the known way */

static struct shared *shared; /* of the kill_run under way */
static int my_partner = -1;   /* in a partner: its number */

double harness_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void harness_nap(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

    nanosleep(&t, NULL);
}

/* ---- what the processes of a case tell each other ---- */

/* Whoever waits for something looks again. */
static void look_again(void)
{
    struct control *c = &shared->control;

    __atomic_add_fetch(&c->version, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &c->version, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the builtin writes it */
static void tell(uint32_t *what)
{
    __atomic_store_n(what, 1, __ATOMIC_SEQ_CST);
    look_again();
}

static void await_word(const uint32_t *word, uint32_t least)
{
    struct control *c = &shared->control;

    for (;;) {
        uint32_t seen = __atomic_load_n(&c->version, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(word, __ATOMIC_SEQ_CST) >= least ||
            __atomic_load_n(&c->over, __ATOMIC_SEQ_CST))
            break;
        if (my_partner >= 0)
            __atomic_store_n(&c->partners[my_partner].awaiting, seen + 1, __ATOMIC_SEQ_CST);
        syscall(SYS_futex, &c->version, FUTEX_WAIT, seen, NULL, NULL, 0);
    }
    if (my_partner >= 0)
        __atomic_store_n(&c->partners[my_partner].awaiting, 0, __ATOMIC_SEQ_CST);
}

void kill_region(const void *base, size_t size)
{
    struct control *c = &shared->control;

    if (c->ranges == MAX_RANGES)
        FAIL("more than %d regions", MAX_RANGES);
    c->range[c->ranges].base = (uint64_t)(uintptr_t)base;
    c->range[c->ranges].size = size;
    c->ranges++;
}

void kill_region_named(const char *text)
{
    FILE *f = fopen("/proc/self/maps", "re");
    char line[600], perms[8];
    unsigned long from, to;
    int found = 0;

    while (f && fgets(line, sizeof(line), f)) {
        const char *name = strchr(line, '/');
        if (sscanf(line, "%lx-%lx %7s", &from, &to, perms) != 3 || perms[3] != 's' || !name ||
            !strstr(name, text))
            continue;
        kill_region((const void *)(uintptr_t)from, to - from);
        found++;
    }
    if (f)
        fclose(f);
    if (!found)
        FAIL("no shared mapping is called %s", text);
}

static void (*end_slices)(void);

void kill_slices(void (*end)(void))
{
    end_slices = end;
}

void kill_partner_ready(void)
{
    if (my_partner >= 0)
        __atomic_store_n(&shared->control.partners[my_partner].ready, 1, __ATOMIC_SEQ_CST);
}

void kill_await_begun(void)
{
    await_word(&shared->control.begun, 1);
}

void kill_await_asleep(int times)
{
    await_word(&shared->control.asleep, (uint32_t)times);
}

void kill_await_stopped(void)
{
    await_word(&shared->control.stopped, 1);
}

void kill_await_over(void)
{
    await_word(&shared->control.over, 1);
}

int kill_victim_pid(void)
{
    return __atomic_load_n(&shared->control.victim, __ATOMIC_SEQ_CST);
}

int kill_victim_was_killed(void)
{
    return (int)__atomic_load_n(&shared->control.killed, __ATOMIC_SEQ_CST);
}

int kill_victim_is_stopped(void)
{
    return (int)__atomic_load_n(&shared->control.stopped, __ATOMIC_SEQ_CST);
}

/* ---- the processes of a case ---- */

struct member {
    const char *role;
    int number;
    pid_t pid;
    int ended, status;
};

struct request {
    const struct kill_scenario *scenario;
    enum kill_mode mode;
    double deadline;
    struct target victim, repairer;
    int quiet;
    int only_state; /* mode REPAIR: end as CASE_SAME if the state the victim leaves is known */
};

struct playing {
    const struct request *request;
    void *state;
    struct member partners[KILL_MAX_PARTNERS];
    int partner_count;
    sigset_t mask; /* as it was before the case blocked SIGCHLD */
};

enum role { ROLE_PARTNER, ROLE_VICTIM, ROLE_SURVIVOR, ROLE_STOPPED, ROLE_REPAIRER, ROLE_FINAL };
static const char *const role_names[] = {"partner",      "the victim",
                                         "survivor",     "survivor (beside the stopped one)",
                                         "the repairer", "the final check"};

static _Noreturn void case_end(enum case_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Ends the case process; what is left of its children is killed by kill_run's process, their next parent. */
static _Noreturn void case_end(enum case_status status, const char *format, ...)
{
    char text[sizeof(shared->failure)];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (n < 0 || n >= (int)sizeof(text))
        n = (int)strlen(text);
    if (status != CASE_PASSED && __atomic_load_n(&shared->report.taken, __ATOMIC_ACQUIRE) == 2)
        snprintf(text + n, sizeof(text) - (size_t)n, "%s%.1500s", n ? "; " : "",
                 shared->report.text);
    memcpy(shared->failure, text, sizeof(text));
    shared->status = status;
    _exit(0);
}

/* The read end of a pipe, in a fork whose child is traced from there on; else -1. */
static int birth_gate = -1, birth_other_end;

static void await_tracer(int gate)
{
    char byte;

    if (read(gate, &byte, 1) < 0)
        _exit(1);
    close(gate);
}

/* In the child of a fork. Registered before anybody else's handler, so it runs first. */
static void at_birth(void)
{
    int gate = birth_gate;

    birth_gate = -1;
    if (gate < 0)
        return;
    close(birth_other_end);
    await_tracer(gate);
    trace_begin();
}

static _Noreturn void play_role(struct playing *p, enum role role, int number)
{
    const struct kill_scenario *s = p->request->scenario;
    /* What is copied from the stack takes a way that depends on its place in a page (glibc's memmove): it is the
     * same one in each run. */
    volatile char *below = __builtin_alloca((uintptr_t)__builtin_frame_address(0) % 4096 + 16);

    below[0] = 0;
    sigprocmask(SIG_SETMASK, &p->mask, NULL);
    switch (role) {
    case ROLE_PARTNER:
        my_partner = number;
        s->partner(p->state, number);
        break;
    case ROLE_VICTIM:
        if (s->prepare && !(s->flags & KILL_FROM_BIRTH))
            s->prepare(p->state);
        if (!(s->flags & KILL_FROM_BIRTH))
            trace_begin();
        s->victim(p->state);
        trace_end();
        if (s->after)
            s->after(p->state);
        break;
    case ROLE_REPAIRER:
        trace_begin();
        if (s->repair)
            s->repair(p->state);
        else
            s->survivor(p->state, 0);
        trace_end();
        break;
    case ROLE_SURVIVOR: s->survivor(p->state, number); break;
    case ROLE_STOPPED: s->stopped(p->state, number); break;
    case ROLE_FINAL: s->final(p->state); break;
    }
    exit(0);
}

static struct member start(struct playing *p, enum role role, int number)
{
    struct member m = {.role = role_names[role], .number = number};

    /* The begin marker must not be run before the tracer is there. */
    int pair[2] = {-1, -1};
    int traced = role == ROLE_VICTIM || role == ROLE_REPAIRER;
    if (traced && pipe(pair))
        case_end(CASE_FAILED, "pipe: %s", strerror(errno));
    int born = role == ROLE_VICTIM && (p->request->scenario->flags & KILL_FROM_BIRTH);
    if (born) {
        birth_gate = pair[0];
        birth_other_end = pair[1];
    }
    if (role == ROLE_STOPPED && p->request->scenario->flags & KILL_UNNOTICED)
        m.pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    else
        m.pid = fork();
    birth_gate = -1;
    if (m.pid < 0)
        case_end(CASE_FAILED, "fork: %s", strerror(errno));
    if (m.pid == 0) {
        if (traced && !born) {
            close(pair[1]);
            await_tracer(pair[0]);
        }
        play_role(p, role, number);
    }
    if (traced) {
        close(pair[0]);
        m.status = pair[1]; /* kept for begin() */
    }
    return m;
}

/* Adds what is known of the ends and failures among members. Returns how many have not ended. */
static int collect(struct member *members, int count)
{
    int running = 0;

    for (int i = 0; i < count; i++) {
        struct member *m = &members[i];
        if (!m->ended && waitpid(m->pid, &m->status, WNOHANG | __WALL) == m->pid)
            m->ended = 1;
        running += !m->ended;
    }
    return running;
}

/* Says of each member how it failed. late: the time is over, who has not ended hangs. */
static void judge(const struct member *members, int count, int late, char *text, size_t size)
{
    size_t n = strlen(text);

    for (int i = 0; i < count && n < size; i++) {
        const struct member *m = &members[i];
        const char *between = n ? ", " : "";
        if (!m->ended && !late)
            continue;
        if (!m->ended) {
            char call[200] = "", path[40];
            snprintf(path, sizeof(path), "/proc/%d/syscall", (int)m->pid);
            FILE *f = fopen(path, "re");
            if (f) {
                if (!fgets(call, sizeof(call), f))
                    call[0] = 0;
                fclose(f);
            }
            call[strcspn(call, "\n")] = 0;
            n += (size_t)snprintf(text + n, size - n, "%s%s %d hung (%s)", between, m->role,
                                  m->number, call);
        } else if (WIFSIGNALED(m->status)) {
            n += (size_t)snprintf(text + n, size - n, "%s%s %d was ended by signal %d (%s)",
                                  between, m->role, m->number, WTERMSIG(m->status),
                                  strsignal(WTERMSIG(m->status)));
        } else if (WEXITSTATUS(m->status)) {
            n += (size_t)snprintf(text + n, size - n, "%s%s %d ended with status %d", between,
                                  m->role, m->number, WEXITSTATUS(m->status));
        }
    }
}

/* Waits for the members, and for more (partners), until the deadline; ends the case if not all is well. */
static void all_must_end(struct playing *p, struct member *members, int count, int with_partners)
{
    double deadline = harness_now() + p->request->deadline;
    sigset_t set;
    char text[1000] = "";
    int late = 0;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (;;) {
        int running = collect(members, count);
        if (with_partners)
            running += collect(p->partners, p->partner_count);
        if (!running)
            break;
        late = harness_now() > deadline;
        if (late)
            break;
        /* A failure need not wait for those whom it left hanging. */
        if (__atomic_load_n(&shared->report.taken, __ATOMIC_ACQUIRE) == 2)
            break;
        if (end_slices)
            end_slices();
        struct timespec slice = {0, 10000000};
        sigtimedwait(&set, NULL, &slice);
    }
    if (__atomic_load_n(&shared->report.taken, __ATOMIC_ACQUIRE) == 2) {
        harness_nap(0.002); /* let it end: its role tells more than its text */
        collect(members, count);
        collect(p->partners, p->partner_count);
    }
    judge(members, count, late, text, sizeof(text));
    if (with_partners)
        judge(p->partners, p->partner_count, late, text, sizeof(text));
    if (text[0] || shared->report.taken)
        case_end(CASE_FAILED, "%s", text);
}

/* Every partner sleeps somewhere, waits for the harness, or is gone. */
static int settle(void *data)
{
    struct playing *p = data;
    struct control *c = &shared->control;
    double deadline = harness_now() + p->request->deadline;

    look_again();
    uint32_t looked = c->version + 1; /* nobody but this process changes it */
    for (;;) {
        int moving = 0;
        for (int i = 0; i < p->partner_count; i++) {
            struct member *m = &p->partners[i];
            collect(m, 1);
            if (!m->ended &&
                __atomic_load_n(&c->partners[i].awaiting, __ATOMIC_SEQ_CST) != looked &&
                !process_sleeps(m->pid))
                moving++;
        }
        if (!moving)
            return 0;
        if (harness_now() > deadline)
            return -1;
        harness_nap(0.0002);
    }
}

static void start_partners(struct playing *p)
{
    const struct kill_scenario *s = p->request->scenario;
    double deadline = harness_now() + p->request->deadline;
    int count = s->partner ? (s->partners ? s->partners : 1) : 0;

    if (count > KILL_MAX_PARTNERS)
        case_end(CASE_FAILED, "more than %d partners", KILL_MAX_PARTNERS);
    for (; p->partner_count < count; p->partner_count++)
        p->partners[p->partner_count] = start(p, ROLE_PARTNER, p->partner_count);
    for (int i = 0; i < count; i++) {
        struct member *m = &p->partners[i];
        while (!__atomic_load_n(&shared->control.partners[i].ready, __ATOMIC_SEQ_CST) &&
               !__atomic_load_n(&shared->control.partners[i].awaiting, __ATOMIC_SEQ_CST) &&
               collect(m, 1) && !process_sleeps(m->pid)) {
            if (harness_now() > deadline)
                case_end(CASE_FAILED, "partner %d does not come to its place", i);
            harness_nap(0.0001);
        }
    }
}

static uint64_t state_of(void *data)
{
    const struct playing *p = data;
    uint64_t hash = p->request->scenario->state(p->state);

    return hash + !hash; /* 0: unknown */
}

/* Starts a process that is traced, and brings it to its begin marker. */
static struct tracer begin(struct playing *p, enum role role)
{
    char why[300];
    struct member m = start(p, role, 0);
    struct tracer t = {.pid = m.pid,
                       .flags = p->request->scenario->flags,
                       .deadline = p->request->deadline,
                       .control = &shared->control,
                       .settle = settle,
                       .data = p};

    if (role == ROLE_REPAIRER)
        t.flags &= ~(unsigned)KILL_ENDS_ASLEEP;
    /* Partners may change what a death has left, if they notice it. */
    if (p->request->mode == KILL_MODE_REPAIR && !p->partner_count)
        t.state = state_of;
    if (trace_start(&t, m.status, why, sizeof(why)))
        case_end(CASE_FAILED, "%s: %s", m.role, why);
    return t;
}

static void reap_killed(const struct tracer *t)
{
    int status;

    kill(t->pid, SIGKILL);
    while (waitpid(t->pid, &status, __WALL) == t->pid && !WIFSIGNALED(status) && !WIFEXITED(status))
        ;
    if (end_slices)
        end_slices();
}

/* The traced process stands at its end, or has ended, or sleeps for good: lets it come to its end. */
static void finish(struct playing *p, struct tracer *t, enum trace_end end, enum role role)
{
    if (end == TRACE_ASLEEP) {
        reap_killed(t);
        shared->control.killed = 1;
    } else if (end == TRACE_AT_END) {
        struct member m = {.role = role_names[role], .pid = t->pid};
        trace_release(t);
        all_must_end(p, &m, 1, 0);
    }
}

static void run_all(struct playing *p, enum role role, int with_partners)
{
    const struct kill_scenario *s = p->request->scenario;
    struct member members[MAX_SURVIVORS];
    int count = s->survivors ? s->survivors : 2;

    if (count > MAX_SURVIVORS)
        case_end(CASE_FAILED, "more than %d survivors", MAX_SURVIVORS);
    if (role == ROLE_FINAL)
        count = !!s->final;
    else if (role == ROLE_SURVIVOR && !s->survivor)
        count = 0;
    for (int i = 0; i < count; i++)
        members[i] = start(p, role, i);
    all_must_end(p, members, count, with_partners);
}

/* The place of a hash, or an empty one for it; NULL if there is no more room: then nothing is known. */
static uint64_t *seen_place(struct seen *seen, uint64_t hash)
{
    uint64_t i = (hash + 1) * 0x9e3779b97f4a7c15u >> 40;

    for (unsigned n = 0; n < SEEN_SIZE; n++, i++) {
        uint64_t *place = &seen->hash[i & (SEEN_SIZE - 1)];
        if (*place == hash || !*place)
            return place;
    }
    return NULL;
}

static int is_seen(struct seen *seen, uint64_t hash)
{
    const uint64_t *place = seen_place(seen, hash);

    return place && *place;
}

/* Of the state that a kill at this point leaves. */
static int is_known(struct seen *seen, const struct path *path, int index)
{
    return path->hash[index] && is_seen(seen, path->hash[index]);
}

static void add_seen(struct seen *seen, uint64_t hash)
{
    uint64_t *place = seen_place(seen, hash);

    if (place)
        *place = hash;
}

/* What the one who was killed at its point has left: most often what was there when its way was found. */
static uint64_t state_left(struct playing *p, const struct target *by)
{
    uint64_t hash = state_of(p), foreseen = by->path->hash[by->index];

    shared->unforeseen += foreseen && foreseen != hash;
    return hash;
}

/* The victim is dead; another process repairs, and is traced. */
static void play_repairer(struct playing *p)
{
    const struct request *r = p->request;
    char why[1000];

    /* Partners who noticed the death have done by then what they do about it. */
    if (settle(p))
        case_end(CASE_FAILED, "the partners did not settle before the repairer began");
    /* Added to the known ones by whoever sees this case through: it may have to be repeated. */
    shared->hash = state_left(p, &r->victim);
    if (r->only_state && is_seen(&shared->victims, shared->hash))
        case_end(CASE_SAME, "%s", "");
    struct tracer t = begin(p, ROLE_REPAIRER);
    enum trace_end end = trace_run(&t, &r->repairer, why, sizeof(why));
    if (end == TRACE_FAILED || end == TRACE_DIVERGED)
        case_end(end == TRACE_FAILED ? CASE_FAILED : CASE_DIVERGED, "the repairer: %s", why);
    if (end != TRACE_AT_POINT) {
        finish(p, &t, end, ROLE_REPAIRER);
        return;
    }
    reap_killed(&t);
    uint64_t left = state_left(p, &r->repairer);
    if (is_seen(&shared->repairers, left))
        case_end(CASE_SAME, "%s", "");
    add_seen(&shared->repairers, left);
}

static _Noreturn void play(const struct request *request)
{
    struct playing p = {.request = request};
    const struct kill_scenario *s = request->scenario;
    char why[1000];
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, &p.mask);
    check_report = &shared->report;
    p.state = s->setup ? s->setup() : NULL;
    start_partners(&p);

    struct tracer t = begin(&p, ROLE_VICTIM);
    tell(&shared->control.begun);
    if (settle(&p))
        case_end(CASE_FAILED, "the partners did not settle before the victim began");
    enum trace_end end = trace_run(&t, &request->victim, why, sizeof(why));

    if (end == TRACE_AT_POINT && request->mode == KILL_MODE_STOP) {
        /* Asleep, it is not stopped yet. */
        if (request->victim.path->points[request->victim.index].kind == POINT_ASLEEP &&
            trace_interrupt(&t))
            case_end(CASE_DIVERGED, "the sleeper could not be stopped");
        tell(&shared->control.stopped);
        run_all(&p, ROLE_STOPPED, 0);
        __atomic_store_n(&shared->control.stopped, 0, __ATOMIC_SEQ_CST);
        struct target to_end = {-1, NULL};
        end = trace_run(&t, &to_end, why, sizeof(why));
    }
    if (end == TRACE_FAILED)
        case_end(CASE_FAILED, "the victim: %s", why);
    if (end == TRACE_DIVERGED)
        case_end(CASE_DIVERGED, "%s", why);
    if (end == TRACE_AT_POINT) {
        reap_killed(&t);
        shared->control.killed = 1;
    } else {
        finish(&p, &t, end, ROLE_VICTIM);
    }
    tell(&shared->control.over);
    if (request->mode == KILL_MODE_REPAIR && end == TRACE_AT_POINT)
        play_repairer(&p);
    run_all(&p, ROLE_SURVIVOR, 1);
    run_all(&p, ROLE_FINAL, 0);
    case_end(CASE_PASSED, "%s", "");
}

/* ---- many cases ---- */

static size_t children_of_mine(pid_t *pids, size_t room)
{
    DIR *dir = opendir("/proc");
    struct dirent *e;
    size_t count = 0;

    while (dir && (e = readdir(dir)) && count < room) {
        char path[300], line[400];
        int parent;
        if (atoi(e->d_name) <= 0)
            continue;
        snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
        FILE *f = fopen(path, "re");
        if (!f)
            continue;
        line[fread(line, 1, sizeof(line) - 1, f)] = 0;
        fclose(f);
        const char *close = strrchr(line, ')');
        if (close && sscanf(close + 1, " %*c %d", &parent) == 1 && parent == getpid())
            pids[count++] = atoi(e->d_name);
    }
    if (dir)
        closedir(dir);
    return count;
}

/* Whoever the case left behind is ours now: there are no other children. */
static void kill_leftovers(void)
{
    pid_t pids[64];

    for (;;) {
        pid_t got;
        while ((got = waitpid(-1, NULL, WNOHANG | __WALL)) > 0)
            ;
        if (got < 0) /* no children: most often at once, and no folder needs to be read */
            return;
        size_t n = children_of_mine(pids, 64);
        for (size_t i = 0; i < n; i++)
            kill(pids[i], SIGKILL);
        harness_nap(0.0005);
    }
}

static enum case_status run_case(const struct request *request)
{
    double net = harness_now() + CASE_NET + 4 * request->deadline;
    int status = 0;
    sigset_t set, old;

    memset(&shared->control, 0, sizeof(shared->control));
    memset(&shared->report, 0, sizeof(shared->report));
    shared->status = CASE_LOST;
    shared->failure[0] = 0;
    fflush(NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, &old);
    pid_t pid = fork();
    if (pid == 0) {
        sigprocmask(SIG_SETMASK, &old, NULL);
        if (request->quiet && !freopen("/dev/null", "w", stderr))
            _exit(1);
        play(request);
    }
    while (pid > 0) {
        pid_t got = waitpid(pid, &status, WNOHANG);
        if (got == pid)
            break;
        if (harness_now() > net) {
            snprintf(shared->failure, sizeof(shared->failure),
                     "the case did not end within its net of time");
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            break;
        }
        struct timespec slice = {0, 100000000};
        sigtimedwait(&set, NULL, &slice);
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
    kill_leftovers();
    if (shared->status == CASE_LOST) {
        size_t n = strlen(shared->failure);
        if (pid < 0)
            snprintf(shared->failure, sizeof(shared->failure), "fork: %s", strerror(errno));
        else if (!n)
            snprintf(shared->failure, sizeof(shared->failure),
                     "setup ended with status 0x%x: %.1500s", (unsigned)status,
                     shared->report.taken == 2 ? shared->report.text : "");
        return CASE_FAILED;
    }
    return shared->status;
}

static const char *point_text(const struct path *path, int index, char *text, size_t size)
{
    static const char *const kinds[] = {"before", "after", "at the entry of", "asleep in",
                                        "returned from"};
    char where[400];

    if (index < 0 || index >= path->count) {
        snprintf(text, size, "undisturbed");
        return text;
    }
    const struct point *p = &path->points[index];
    symbol_text(p->rip, where, sizeof(where));
    if (p->kind >= POINT_ENTRY)
        snprintf(text, size, "%d: %s system call %d at %s", index, kinds[p->kind], p->call, where);
    else
        snprintf(text, size, "%d: %s %s, visit %u", index, kinds[p->kind], where, p->visit);
    return text;
}

/* Runs a case, again where it left the known way, and counts. A last CASE_DIVERGED is for the caller
 * to count, who may know better. */
static enum case_status run_tries(const struct request *request, const struct kill_options *o,
                                  struct kill_result *result)
{
    enum case_status status = CASE_DIVERGED;

    for (int i = 0; i < TRIES && status == CASE_DIVERGED; i++) {
        if (i > 0)
            result->repeated++;
        status = run_case(request);
        if (status == CASE_DIVERGED && !o->quiet && o->verbose)
            printf("    repeated: %s\n", shared->failure);
    }
    return status;
}

/* Counts a failure, and says which point it was. */
static void note_case(const struct request *request, enum case_status status,
                      const struct kill_options *o, struct kill_result *result)
{
    int failed = status == CASE_FAILED || status == CASE_DIVERGED;
    char first[500], second[500] = "";

    if (!failed && !o->verbose)
        return;
    point_text(request->victim.path, request->victim.index, first, sizeof(first));
    if (request->mode == KILL_MODE_REPAIR && request->victim.index >= 0)
        point_text(request->repairer.path, request->repairer.index, second, sizeof(second));
    if (failed && !result->failed++)
        snprintf(result->failure, sizeof(result->failure), "%s%s%s%s: %.1500s", first,
                 second[0] ? "; the repairer " : "", second,
                 status == CASE_DIVERGED ? ": diverged" : "", shared->failure);
    if (!o->quiet)
        printf("    %s %s%s%s%s%s%s\n", failed ? "FAILED" : "passed", first,
               second[0] ? "; the repairer " : "", second, failed ? ": " : "",
               status == CASE_DIVERGED ? "diverged: " : "", failed ? shared->failure : "");
    fflush(stdout);
}

static void try_point(const struct point *p, enum case_status status)
{
    if (p->kind <= POINT_AFTER && status != CASE_DIVERGED)
        cover_note(p->rip, COVER_TRIED);
}

/* Finds the repairer's way after the victim died at its point. */
static enum case_status find_repairer(struct request *r, const struct kill_options *o,
                                      struct kill_result *result)
{
    r->repairer.index = -1;
    enum case_status status = run_tries(r, o, result);
    r->only_state = 0;
    if (status == CASE_SAME)
        result->same++;
    else if (status != CASE_DIVERGED)
        add_seen(&shared->victims, shared->hash);
    return status;
}

/* The repairer's own points, after the victim died at its point. CASE_DIVERGED: the way to it is not
 * what it was. */
static enum case_status run_repairers(struct request *r, const struct kill_options *o,
                                      struct kill_result *result, int max_failures)
{
    struct path *path = &shared->repairer;
    int anew = FINDS;

    r->only_state = 1;
    enum case_status status = find_repairer(r, o, result);
    if (status != CASE_PASSED) {
        if (status != CASE_DIVERGED)
            note_case(r, status, o, result);
        return status;
    }
    result->points += path->count;
    for (int i = 0; i < path->count && result->failed < max_failures; i++) {
        if (is_known(&shared->repairers, path, i)) {
            result->same++;
            continue;
        }
        r->repairer.index = i;
        status = run_tries(r, o, result);
        if (status == CASE_DIVERGED && anew-- > 0) {
            result->repeated++;
            status = find_repairer(r, o, result);
            if (status == CASE_DIVERGED)
                return status;
            if (status == CASE_PASSED) {
                i = -1;
                continue;
            }
        }
        note_case(r, status, o, result);
        try_point(&path->points[i], status);
        result->tried++;
        result->same += status == CASE_SAME;
    }
    return CASE_PASSED;
}

static const char *mode_name(unsigned mode)
{
    return mode == KILL_MODE_STOP ? "stop" : mode == KILL_MODE_REPAIR ? "repair" : "kill";
}

static const char *not_possible(const struct kill_scenario *s, unsigned mode)
{
    if (mode == KILL_MODE_STOP && !s->stopped)
        return "it has no stopped()";
    if (mode == KILL_MODE_REPAIR && (!s->state || (!s->repair && !s->survivor)))
        return "it has no state() or nobody who repairs";
    return kill_unavailable();
}

/* Finds the victim's way. Returns 1 if its points can be tried. */
static int find_victim(struct request *r, const struct kill_options *o, struct kill_result *result)
{
    const struct path *path = &shared->victim;

    r->victim.index = -1;
    enum case_status status = run_tries(r, o, result);
    note_case(r, status, o, result);
    result->points = path->count;
    result->steps = path->steps;
    result->slept = path->slept;
    result->tried = 0;
    if (status == CASE_PASSED && path->count == 0) {
        result->failed++;
        snprintf(result->failure, sizeof(result->failure),
                 "the operation has no kill point: does it write what kill_region names?");
    }
    return status == CASE_PASSED && path->count > 0;
}

static void run_points(struct request *r, const struct kill_options *o, struct kill_result *result)
{
    struct path *path = &shared->victim;
    int max_failures = o->max_failures > 0 ? o->max_failures : 5, anew = FINDS;
    int stride = o->thin > 1 ? o->thin : 1, begin = o->offset % stride;

    if (!find_victim(r, o, result))
        return;
    /* Few points are not thinned away wholly. */
    for (int i = begin < path->count ? begin : 0; i < path->count; i += stride) {
        if (result->failed >= max_failures)
            return;
        if (r->mode == KILL_MODE_REPAIR && is_known(&shared->victims, path, i)) {
            result->same++;
            continue;
        }
        r->victim.index = i;
        enum case_status status = r->mode == KILL_MODE_REPAIR
                                      ? run_repairers(r, o, result, max_failures)
                                      : run_tries(r, o, result);
        /* Perhaps it was the first run that took an uncommon way. */
        if (status == CASE_DIVERGED && anew-- > 0) {
            result->repeated++;
            if (!find_victim(r, o, result))
                return;
            i = (begin < path->count ? begin : 0) - stride;
            continue;
        }
        if (r->mode != KILL_MODE_REPAIR) {
            note_case(r, status, o, result);
            try_point(&path->points[i], status);
            result->tried++;
        } else if (status == CASE_DIVERGED) {
            note_case(r, status, o, result);
        }
    }
}

int kill_run(const struct kill_scenario *scenario, const struct kill_options *options,
             struct kill_result *result)
{
    static const struct kill_options defaults;
    const struct kill_options *o = options ? options : &defaults;
    struct kill_result own = {0};
    struct request r = {.scenario = scenario,
                        .mode = o->mode ? (enum kill_mode)o->mode : KILL_MODE_KILL,
                        .quiet = o->quiet};
    double start_time = harness_now();
    static int registered;

    if (!registered++)
        pthread_atfork(NULL, NULL, at_birth);
    result = result ? result : &own;
    memset(result, 0, sizeof(*result));
    const char *why = not_possible(scenario, r.mode);
    if (why) {
        result->skipped = 1;
        snprintf(result->failure, sizeof(result->failure), "%s", why);
        if (!o->quiet)
            printf("skipped  %s, %s: %s\n", scenario->name, mode_name(r.mode), why);
        return 0;
    }
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (shared == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    int reaper = 0;
    prctl(PR_GET_CHILD_SUBREAPER, &reaper);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    r.deadline = o->deadline > 0          ? o->deadline
                 : scenario->deadline > 0 ? scenario->deadline
                                          : DEADLINE;
    r.victim = (struct target){-1, &shared->victim};
    r.repairer = (struct target){-1, &shared->repairer};
    run_points(&r, o, result);
    prctl(PR_SET_CHILD_SUBREAPER, reaper);
    unsigned unforeseen = shared->unforeseen;
    munmap(shared, sizeof(*shared));
    shared = NULL;
    if (!o->quiet) {
        printf("%-8s %s, %s: %d points, %d tried, %d failed", result->failed ? "FAILED" : "passed",
               scenario->name, mode_name(r.mode), result->points, result->tried, result->failed);
        if (result->same)
            printf(", %d left a known state", result->same);
        if (unforeseen)
            printf(", %u left another state than was foreseen", unforeseen);
        if (result->repeated)
            printf(", %d runs repeated", result->repeated);
        printf(" (%d instructions, %.1f s)\n", result->steps, harness_now() - start_time);
        fflush(stdout);
    }
    return result->failed > 0;
}
