/*
 * harness_trace.c: leads one process along an operation by ptrace, and finds its kill points.
 *
 * Finding: the operation is single-stepped from its begin marker to its end marker. Before each
 * step the instruction is decoded and its address computed from the registers. System calls are not
 * stepped over but entered with PTRACE_SYSCALL, which stops at their entry and return.
 *
 * Going to a point again: a hardware breakpoint stands on the point's instruction and the process
 * runs natively from one system call or visit to the next, until it has visited that instruction as
 * often as it had then. Without hardware breakpoints it is stepped as before.
 */
#define _GNU_SOURCE
#include "harness_internal.h"

#if defined(__x86_64__)

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED 0
#endif

#define STEP_LIMIT 1000000 /* an operation that is longer does not end */

/* The markers are breakpoint instructions at known places: a native run stops at them by itself. */
__asm__(".text\n"
        ".globl trace_begin\n.hidden trace_begin\n.type trace_begin, @function\n"
        "trace_begin: int3\n ret\n.size trace_begin, . - trace_begin\n"
        ".globl trace_end\n.hidden trace_end\n.type trace_end, @function\n"
        "trace_end: int3\n ret\n.size trace_end, . - trace_end\n");

/* ---- small tables: visits of instructions, and instructions already decoded ---- */

#define TABLE_SIZE 32768 /* a power of two */

struct visit {
    uint64_t rip;
    uint32_t count;
    uint8_t known;
    struct decoded d;
};

/* of this process: a case traces two processes at most, one after the other */
static struct visit *visits;

static struct visit *visit_of(uint64_t rip)
{
    uint64_t i = rip * 0x9e3779b97f4a7c15u >> 40;

    for (unsigned n = 0; n < TABLE_SIZE; n++, i++) {
        struct visit *v = &visits[i & (TABLE_SIZE - 1)];
        if (v->rip == rip)
            return v;
        if (!v->rip) {
            v->rip = rip;
            return v;
        }
    }
    return NULL;
}

/* Of many visits of a loop only some are points. */
static int visit_counts(uint32_t n)
{
    return n <= 16 || !(n & (n - 1));
}

/* ---- looking at the process ---- */

static void read_code(pid_t pid, uint64_t rip, uint8_t *bytes)
{
    uint64_t words[3] = {0};
    uint64_t from = rip & ~7ull;

    for (int i = 0; i < 3; i++) {
        errno = 0;
        long word = ptrace(PTRACE_PEEKTEXT, pid, from + 8u * (unsigned)i, 0);
        if (errno)
            break; /* the end of the text; the instruction ends before it */
        words[i] = (uint64_t)word;
    }
    memcpy(bytes, (uint8_t *)words + (rip & 7), 16);
}

static uint64_t reg(const struct user_regs_struct *r, int n)
{
    switch (n) {
    case 0: return r->rax;
    case 1: return r->rcx;
    case 2: return r->rdx;
    case 3: return r->rbx;
    case 4: return r->rsp;
    case 5: return r->rbp;
    case 6: return r->rsi;
    case 7: return r->rdi;
    case 8: return r->r8;
    case 9: return r->r9;
    case 10: return r->r10;
    case 11: return r->r11;
    case 12: return r->r12;
    case 13: return r->r13;
    case 14: return r->r14;
    case 15: return r->r15;
    default: return 0;
    }
}

static int in_region(const struct control *c, uint64_t address)
{
    for (uint32_t i = 0; i < c->ranges; i++) {
        /* A wide store may begin before the range. */
        if (address + 63 >= c->range[i].base && address < c->range[i].base + c->range[i].size)
            return 1;
    }
    return 0;
}

static int writes_region(const struct control *c, const struct decoded *d,
                         const struct user_regs_struct *r)
{
    if (!(d->flags & DECODE_WRITES))
        return 0;
    if (d->flags & DECODE_ANYWHERE)
        return 1;
    /* What is relative to rip cannot be told without the instruction's length; no region lies there. */
    if ((d->flags & DECODE_STATIC) && !d->segment)
        return 0;
    uint64_t rest = reg(r, d->base) + reg(r, d->index) * (d->index < 0 ? 0 : (uint64_t)d->scale);
    if (d->segment)
        rest += d->segment == 'f' ? r->fs_base : r->gs_base;
    if (d->bit_offset >= 0)
        rest += (uint64_t)((int64_t)reg(r, d->bit_offset) >> 3);
    for (int64_t scale = 1; scale <= (d->evex_disp8 ? 64 : 1); scale *= 2) {
        uint64_t address = rest + (uint64_t)(d->displacement * scale);
        if (d->narrow)
            address &= 0xffffffffu;
        if (in_region(c, address))
            return 1;
    }
    return 0;
}

static int read_proc(pid_t pid, const char *what, char *text, size_t size)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
    FILE *f = fopen(path, "re");
    if (!f)
        return -1;
    size_t n = fread(text, 1, size - 1, f);
    text[n] = 0;
    fclose(f);
    return 0;
}

/* State and number of context switches. */
static char look(pid_t pid, unsigned long *switches)
{
    char text[4000];
    const char *state, *n;

    *switches = 0;
    if (read_proc(pid, "status", text, sizeof(text)))
        return 0;
    state = strstr(text, "\nState:");
    n = strstr(text, "\nvoluntary_ctxt_switches:");
    if (n)
        *switches = strtoul(strchr(n, ':') + 1, NULL, 10);
    return state ? state[8] : 0;
}

int process_sleeps(pid_t pid)
{
    unsigned long first, later;

    if (look(pid, &first) != 'S')
        return 0;
    for (int i = 0; i < 4; i++) {
        harness_nap(0.0005);
        if (look(pid, &later) != 'S' || later != first)
            return 0;
    }
    return 1;
}

/* ---- moving the process ---- */

enum event {
    EVENT_STEP, /* a step was done, or a breakpoint reached */
    EVENT_CALL, /* entry or return of a system call */
    EVENT_GONE,
    EVENT_SLEEPS, /* only while in a system call */
};

/* Waits for the process to stop. may_sleep: it may also be found asleep. */
static enum event await(struct tracer *t, int may_sleep, int *status)
{
    double next_look = 0;

    for (unsigned n = 0;; n++) {
        int got = waitpid(t->pid, status, __WALL | (may_sleep ? WNOHANG : 0));
        if (got == t->pid)
            break;
        if (got < 0 && errno != EINTR) {
            *status = 0;
            return EVENT_GONE;
        }
        if (got != 0 || !may_sleep)
            continue;
        if (n < 20) {
            sched_yield();
            continue;
        }
        if (harness_now() >= next_look) {
            if (process_sleeps(t->pid))
                return EVENT_SLEEPS;
            next_look = harness_now() + 0.001;
        }
        harness_nap(0.0001);
    }
    if (WIFEXITED(*status) || WIFSIGNALED(*status))
        return EVENT_GONE;
    if (WSTOPSIG(*status) == (SIGTRAP | 0x80))
        return EVENT_CALL;
    if (WSTOPSIG(*status) != SIGTRAP && !(*status >> 16))
        t->signal = WSTOPSIG(*status);
    return EVENT_STEP;
}

static void resume(struct tracer *t, int how)
{
    int signal = t->signal;

    t->signal = 0;
    /* ESRCH: it was killed meanwhile; the next wait tells. */
    ptrace(how, t->pid, 0, (long)signal);
}

static void set_breakpoint(struct tracer *t, uint64_t rip)
{
    long control = rip ? 1 : 0;

    if (ptrace(PTRACE_POKEUSER, t->pid, offsetof(struct user, u_debugreg[7]), 0L) ||
        ptrace(PTRACE_POKEUSER, t->pid, offsetof(struct user, u_debugreg[0]), (long)rip) ||
        ptrace(PTRACE_POKEUSER, t->pid, offsetof(struct user, u_debugreg[7]), control))
        t->stepping = 1;
}

static int at(uint64_t rip, void (*marker)(void))
{
    return rip == (uint64_t)(uintptr_t)marker || rip == (uint64_t)(uintptr_t)marker + 1;
}

/* On one processor a step costs a fifth of what it costs on two. */
static void stay_on(pid_t pid, int processor)
{
    cpu_set_t here;

    CPU_ZERO(&here);
    CPU_SET(processor, &here);
    sched_setaffinity(pid, sizeof(here), &here);
}

int trace_start(struct tracer *t, int gate, char *why, size_t size)
{
    struct user_regs_struct r;
    int status;

    if (!visits)
        visits = calloc(TABLE_SIZE, sizeof(*visits));
    if (!visits) {
        snprintf(why, size, "out of memory");
        return -1;
    }
    t->processor = sched_getcpu();
    stay_on(t->pid, t->processor);
    if (ptrace(PTRACE_SEIZE, t->pid, 0, (long)(PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD))) {
        snprintf(why, size, "PTRACE_SEIZE failed: %s", strerror(errno));
        return -1;
    }
    close(gate);
    __atomic_store_n(&t->control->victim, (int)t->pid, __ATOMIC_RELEASE);
    for (;;) {
        if (await(t, 0, &status) == EVENT_GONE) {
            snprintf(why, size, "it ended before its operation began (status 0x%x)",
                     (unsigned)status);
            return -1;
        }
        if (!ptrace(PTRACE_GETREGS, t->pid, 0, &r) && at(r.rip, trace_begin))
            return 0;
        resume(t, PTRACE_CONT);
    }
}

/* ---- along the way ---- */

/* One walk. Finding writes points down in path; otherwise wanted is the point to go to, or NULL for the end. */
struct run {
    struct tracer *t;
    struct path *path;
    const struct point *wanted;
    char *why;
    size_t size;
};

#define GO_ON (-1)

/* The process stands at a point. Returns 1 if it is the wanted one. */
static int reach(struct run *run, struct point p)
{
    const struct point *w = run->wanted;
    struct path *path = run->path;

    if (path) {
        if (path->count < MAX_POINTS) {
            path->hash[path->count] = run->t->state ? run->t->state(run->t->data) : 0;
            path->points[path->count++] = p;
        }
        path->slept += p.kind == POINT_ASLEEP;
    }
    /* A native walk does not count the visits of system calls, but the calls themselves. */
    return w && w->kind == p.kind && w->calls == p.calls &&
           (p.kind >= POINT_ENTRY ||
            (w->rip == p.rip && w->visit == p.visit && w->round == p.round));
}

static int failed(struct run *run, const char *what)
{
    snprintf(run->why, run->size, "%s", what);
    return TRACE_FAILED;
}

static int diverged(struct run *run, const char *what, uint64_t rip)
{
    char here[300], there[300];

    snprintf(run->why, run->size, "%s at %s, on the way to %s", what,
             symbol_text(rip, here, sizeof(here)),
             symbol_text(run->wanted->rip, there, sizeof(there)));
    return TRACE_DIVERGED;
}

static int gone(struct run *run, int status)
{
    if (run->wanted) {
        snprintf(run->why, run->size, "ended (status 0x%x) before it came to the wanted point",
                 (unsigned)status);
        return TRACE_DIVERGED;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return TRACE_EXITED;
    if (WIFEXITED(status))
        snprintf(run->why, run->size, "ended with status %d", WEXITSTATUS(status));
    else
        snprintf(run->why, run->size, "was ended by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    return TRACE_FAILED;
}

/* The process fell asleep: whoever waits for that is told, and gets the time to act. */
static int fell_asleep(struct run *run)
{
    struct tracer *t = run->t;

    __atomic_add_fetch(&t->control->asleep, 1, __ATOMIC_SEQ_CST);
    if (t->settle(t->data))
        return failed(run, "it fell asleep, and then the partners did not settle");
    if ((t->flags & KILL_ENDS_ASLEEP) && !run->wanted && process_sleeps(t->pid))
        return TRACE_ASLEEP;
    return GO_ON;
}

/* A mask of signals in /proc/PID/status. */
static uint64_t signals_of(const char *status, const char *name)
{
    const char *line = strstr(status, name);

    return line ? strtoull(line + strlen(name), NULL, 16) : 0;
}

/* Whether a signal is waiting for which there is a handler. */
static int is_to_be_handled(pid_t pid)
{
    char path[40], text[4096];

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    return ((signals_of(text, "SigPnd:") | signals_of(text, "ShdPnd:")) &
            ~signals_of(text, "SigBlk:") & signals_of(text, "SigCgt:")) != 0;
}

/* At the return stop of a system call: whether it was only interrupted, and begins again. Before a
 * handler it has ended: what the handler does are calls of its own. */
static int is_interrupted(const struct tracer *t)
{
    struct user_regs_struct r;

    return !ptrace(PTRACE_GETREGS, t->pid, 0, &r) && (int64_t)r.rax <= -512 &&
           (int64_t)r.rax >= -516 && !is_to_be_handled(t->pid);
}

/* By a signal that nobody handles (SIGCHLD), which only a traced process gets to see: it is the same call. */
static int enter_again(struct run *run)
{
    struct tracer *t = run->t;
    struct user_regs_struct r = {0};
    enum event e;
    int status;

    do {
        resume(t, PTRACE_SYSCALL);
        e = await(t, 0, &status);
    } while (e == EVENT_STEP);
    if (e == EVENT_GONE)
        return gone(run, status);
    ptrace(PTRACE_GETREGS, t->pid, 0, &r);
    if (r.orig_rax != t->call && r.orig_rax != SYS_restart_syscall)
        return failed(run, "a system call was interrupted by a signal that is handled");
    return GO_ON;
}

/* From the entry stop of a system call to its return stop. entry 0: without the point at the entry. */
static int through_call(struct run *run, uint64_t rip, uint32_t visit, int entry)
{
    struct tracer *t = run->t;
    struct point p = {rip, visit, 0, t->calls, t->call, POINT_ENTRY};
    double patience = 0; /* 0: has not slept */
    int status, end;

    if (entry && reach(run, p))
        return TRACE_AT_POINT;
    resume(t, PTRACE_SYSCALL);
    for (;;) {
        enum event e = await(t, 1, &status);
        if (e == EVENT_GONE)
            return gone(run, status);
        if (e == EVENT_CALL && !is_interrupted(t))
            break;
        if (e == EVENT_CALL) {
            if ((end = enter_again(run)) != GO_ON)
                return end;
            resume(t, PTRACE_SYSCALL);
        } else if (e == EVENT_STEP) { /* a signal on its way, or the end of an interruption */
            resume(t, PTRACE_SYSCALL);
        } else if (patience == 0) {
            patience = harness_now() + t->deadline;
            p.kind = POINT_ASLEEP;
            if (reach(run, p))
                return TRACE_AT_POINT;
            if ((end = fell_asleep(run)) != GO_ON)
                return end;
        } else if (harness_now() > patience) {
            char where[300];
            snprintf(run->why, run->size,
                     "hung: sleeps in system call %d and nobody wakes it, at %s", t->call,
                     symbol_text(rip, where, sizeof(where)));
            return TRACE_FAILED;
        }
    }
    t->in_call = 0;
    p.kind = POINT_RETURNED;
    if (reach(run, p))
        return TRACE_AT_POINT;
    if (run->wanted && run->wanted->kind == POINT_ASLEEP && run->wanted->calls == t->calls)
        return diverged(run, "did not fall asleep", rip);
    if ((t->flags & KILL_SETTLED) && t->settle(t->data))
        return failed(run, "the partners did not settle behind a system call");
    return GO_ON;
}

static void note_entry(struct tracer *t, const struct user_regs_struct *r)
{
    t->in_call = 1;
    t->calls++;
    t->call = (uint16_t)r->orig_rax;
}

/* Stands before a system call instruction: goes to its entry stop. */
static int enter_call(struct run *run, struct user_regs_struct *r)
{
    int status;

    for (;;) {
        resume(run->t, PTRACE_SYSCALL);
        enum event e = await(run->t, 0, &status);
        if (e == EVENT_GONE)
            return gone(run, status);
        if (e == EVENT_CALL)
            break;
    }
    ptrace(PTRACE_GETREGS, run->t->pid, 0, r);
    note_entry(run->t, r);
    return GO_ON;
}

/* Single steps: finds the points, or (without breakpoints) goes to one as it was found. */
static int walk_stepping(struct run *run)
{
    struct tracer *t = run->t;
    struct point after = {0};
    struct user_regs_struct r;
    uint64_t last = 0;
    uint32_t round = 0;
    int owes_after = 0, end, status;

    memset(visits, 0, TABLE_SIZE * sizeof(*visits));
    for (int steps = 0;; steps++) {
        if (ptrace(PTRACE_GETREGS, t->pid, 0, &r))
            return failed(run, "its registers cannot be read");
        if (run->path)
            run->path->steps = steps;
        struct visit *v = visit_of(r.rip);
        if (steps > STEP_LIMIT || !v)
            return failed(run, "the operation is too long to be stepped");
        if (!v->known) {
            uint8_t bytes[16];
            read_code(t->pid, r.rip, bytes);
            decode(bytes, &v->d);
            v->known = 1;
        }
        const struct decoded *d = &v->d;
        int again = last == r.rip && (d->flags & DECODE_REPEATS);
        int over = at(r.rip, trace_end), call = !!(d->flags & DECODE_SYSCALL);
        int writes = !over && writes_region(t->control, d, &r);
        round = again ? round + 1 : 0;
        v->count += !again;
        last = r.rip;
        if (run->path && (d->flags & DECODE_WRITES))
            cover_note(r.rip, COVER_STORED | (writes ? COVER_REGION : 0u));
        int counts = visit_counts(v->count);
        int before = counts && !over && !call && round < 2 &&
                     (writes || (t->flags & KILL_EVERY_INSTRUCTION));
        /* Behind one instruction and before the next is one point, not two; between two rounds none. */
        if (owes_after && !again) {
            owes_after = 0;
            if (!before && reach(run, after))
                return TRACE_AT_POINT;
        }
        if (over)
            return run->wanted ? diverged(run, "came to its end", r.rip) : TRACE_AT_END;
        if (call) {
            if ((end = enter_call(run, &r)) != GO_ON)
                return end;
            if ((end = through_call(run, last, v->count, 1)) != GO_ON)
                return end;
            continue;
        }
        if (before && reach(run, (struct point){r.rip, v->count, round, t->calls, 0, POINT_BEFORE}))
            return TRACE_AT_POINT;
        if (writes && counts) {
            after = (struct point){r.rip, v->count, 0, t->calls, 0, POINT_AFTER};
            owes_after = 1;
        }
        resume(t, PTRACE_SINGLESTEP);
        if (await(t, 0, &status) == EVENT_GONE)
            return gone(run, status);
    }
}

/* Stands before the wanted point's instruction, at the right visit. */
static int last_steps(struct run *run)
{
    const struct point *w = run->wanted;
    struct tracer *t = run->t;
    struct user_regs_struct r;
    uint32_t round = 0;
    int status;

    set_breakpoint(t, 0);
    for (;;) {
        if (w->kind == POINT_BEFORE && round == w->round)
            return TRACE_AT_POINT;
        resume(t, PTRACE_SINGLESTEP);
        if (await(t, 0, &status) == EVENT_GONE)
            return gone(run, status);
        if (t->signal)
            continue;
        ptrace(PTRACE_GETREGS, t->pid, 0, &r);
        round++;
        if (r.rip != w->rip)
            return w->kind == POINT_AFTER
                       ? TRACE_AT_POINT
                       : diverged(run, "a string instruction was over too early", r.rip);
    }
}

/* Native, with a breakpoint on the wanted instruction. */
static int walk_native(struct run *run)
{
    struct tracer *t = run->t;
    const struct point *w = run->wanted;
    int in_code = w && w->kind <= POINT_AFTER;
    struct user_regs_struct r = {0};
    uint32_t visited = 0;
    int status, end;

    if (t->in_call && (end = through_call(run, 0, 0, 0)) != GO_ON)
        return end;
    for (;;) {
        resume(t, PTRACE_SYSCALL);
        enum event e = await(t, 0, &status);
        if (e == EVENT_GONE)
            return gone(run, status);
        ptrace(PTRACE_GETREGS, t->pid, 0, &r);
        if (e == EVENT_CALL) {
            note_entry(t, &r);
            if (w && !in_code && t->calls == w->calls &&
                (t->call != w->call || r.rip - 2 != w->rip))
                return diverged(run, "another system call", r.rip - 2);
            if ((end = through_call(run, r.rip - 2, 0, 1)) != GO_ON)
                return end;
        } else if (t->signal || status >> 16) {
            continue;
        } else if (at(r.rip, trace_end)) {
            return w ? diverged(run, "came to its end", r.rip) : TRACE_AT_END;
        } else if (in_code && r.rip == w->rip && ++visited == w->visit) {
            if (t->calls != w->calls)
                return diverged(run, "another number of system calls", r.rip);
            return last_steps(run);
        }
    }
}

enum trace_end trace_run(struct tracer *t, const struct target *target, char *why, size_t size)
{
    struct run run = {.t = t, .why = why, .size = size};
    cpu_set_t mine;
    int end, moved = !sched_getaffinity(0, sizeof(mine), &mine);

    why[0] = 0;
    stay_on(0, t->processor);
    if (target->index >= 0)
        run.wanted = &target->path->points[target->index];
    else
        run.path = target->path;
    if (run.path)
        run.path->count = run.path->steps = run.path->slept = 0;
    if (t->flags & KILL_NO_BREAKPOINT)
        t->stepping = 1;
    if (run.wanted && run.wanted->kind <= POINT_AFTER && !t->stepping)
        set_breakpoint(t, run.wanted->rip);
    /* To the end without a list of points: after a stop. Native, wherever it stands. */
    if (run.path || (run.wanted && t->stepping))
        end = walk_stepping(&run);
    else
        end = walk_native(&run);
    if (!t->stepping)
        set_breakpoint(t, 0);
    if (moved)
        sched_setaffinity(0, sizeof(mine), &mine); /* those to come run where they like */
    return (enum trace_end)end;
}

int trace_interrupt(struct tracer *t)
{
    int status;

    if (ptrace(PTRACE_INTERRUPT, t->pid, 0, 0))
        return -1;
    enum event e = await(t, 0, &status);
    if (e == EVENT_CALL)
        t->in_call = 0;
    return e == EVENT_GONE ? -1 : 0;
}

void trace_release(struct tracer *t)
{
    struct user_regs_struct r;

    if (!ptrace(PTRACE_GETREGS, t->pid, 0, &r) && at(r.rip, trace_end)) {
        r.rip = (uint64_t)(uintptr_t)trace_end + 1;
        ptrace(PTRACE_SETREGS, t->pid, 0, &r);
    }
    ptrace(PTRACE_DETACH, t->pid, 0, 0);
}

const char *kill_unavailable(void)
{
    static char why[200];
    static int tried;
    int status;

    if (tried)
        return why[0] ? why : NULL;
    tried = 1;
#if SANITIZED
    snprintf(why, sizeof(why), "the sanitizers' own work would be stepped too");
    return why;
#endif
    pid_t pid = fork();
    if (pid == 0) {
        for (;;)
            pause();
    }
    if (pid < 0 || ptrace(PTRACE_SEIZE, pid, 0, (long)PTRACE_O_EXITKILL))
        snprintf(why, sizeof(why), "no process can be traced here: %s", strerror(errno));
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, __WALL);
    }
    return why[0] ? why : NULL;
}

#else /* not x86-64 */

void trace_begin(void)
{
}

void trace_end(void)
{
}

int process_sleeps(pid_t pid)
{
    (void)pid;
    return 0;
}

int trace_start(struct tracer *t, int gate, char *why, size_t size)
{
    (void)t;
    (void)gate;
    snprintf(why, size, "only x86-64 is traced");
    return -1;
}

enum trace_end trace_run(struct tracer *t, const struct target *target, char *why, size_t size)
{
    (void)t;
    (void)target;
    snprintf(why, size, "only x86-64 is traced");
    return TRACE_FAILED;
}

int trace_interrupt(struct tracer *t)
{
    (void)t;
    return -1;
}

void trace_release(struct tracer *t)
{
    (void)t;
}

const char *kill_unavailable(void)
{
    return "only x86-64 is traced";
}

#endif
