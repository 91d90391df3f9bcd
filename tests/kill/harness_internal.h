/* harness_internal.h: what the parts of the kill harness share; users include harness.h. */
#ifndef TESTS_KILL_HARNESS_INTERNAL_H
#define TESTS_KILL_HARNESS_INTERNAL_H

#include "harness.h"

#include <stdio.h>
#include <sys/types.h>

/* By hand: musl-gcc does not see the kernel's headers. */
#define FUTEX_WAIT 0
#define FUTEX_WAKE 1

/* ---- harness_decode.c: what one x86-64 instruction does to memory ---- */

enum {
    DECODE_WRITES = 1, /* may write the memory operand below */
    DECODE_SYSCALL = 2,
    DECODE_REPEATS = 4, /* a string instruction with rep: a single step is one round */
    DECODE_STACK = 8,   /* the operand's base is the stack pointer */
    /* the operand is at a fixed place (relative to rip), or in thread-local memory */
    DECODE_STATIC = 16,
    DECODE_ANYWHERE = 32 /* the address cannot be told from the registers: treat as every address */
};

struct decoded {
    unsigned flags;
    /* Address = base + index * scale + displacement; register numbers as in the encoding, or -1. */
    int base, index, scale;
    int64_t displacement;
    int narrow;     /* address size 32 */
    int segment;    /* 0, or 'f' or 'g' */
    int bit_offset; /* bts and its like: -1, or the register whose value / 8 is added */
    int evex_disp8; /* the displacement is scaled by an unknown power of two up to 64 */
};

/* bytes must hold 16 readable bytes. */
void decode(const uint8_t *bytes, struct decoded *d);

/* ---- shared memory of one kill_run ---- */

enum point_kind { POINT_BEFORE, POINT_AFTER, POINT_ENTRY, POINT_ASLEEP, POINT_RETURNED };

struct point {
    uint64_t rip;
    uint32_t visit; /* how often execution has come to rip, this time included */
    uint32_t round; /* of a rep instruction */
    uint32_t calls; /* system calls entered so far (its own included) */
    uint16_t call;  /* number of the system call, for the last three kinds */
    uint8_t kind;
};

#define MAX_POINTS 65536
#define MAX_RANGES 8
#define MAX_SURVIVORS 16

/* What the processes of a case tell each other. Words that are waited for are futexes. */
struct control {
    uint32_t version; /* changes, and is woken, whenever something below does */
    uint32_t begun, asleep, stopped, over, killed;
    int victim;
    struct {
        uint32_t ready, awaiting;
    } partners[KILL_MAX_PARTNERS];
    uint32_t ranges;
    struct {
        uint64_t base, size;
    } range[MAX_RANGES];
};

enum case_status { CASE_LOST, CASE_PASSED, CASE_FAILED, CASE_DIVERGED, CASE_SAME };

struct path {
    int count, steps, slept;
    struct point points[MAX_POINTS];
    uint64_t hash[MAX_POINTS]; /* of what a kill there leaves; 0: unknown */
};

/* How far a traced process is to go: to its point number `index` (then it is killed or stopped), or
 * with index -1 to its end, writing its points down on the way. */
struct target {
    int index;
    struct path *path;
};

#define SEEN_SIZE 65536 /* states known in mode REPAIR; a power of two */
struct seen {
    uint64_t hash[SEEN_SIZE];
};

struct shared {
    struct control control;
    struct check_report report;
    enum case_status status;
    char failure[2000];
    uint64_t hash;       /* mode REPAIR: of what the victim left */
    unsigned unforeseen; /* kills that left something else than was there when the way was found */
    struct seen victims, repairers;
    struct path victim, repairer;
};

/* ---- harness_trace.c ---- */

struct tracer {
    pid_t pid;
    int processor; /* where it runs */
    int in_call;   /* between the entry and the exit stop of a system call */
    uint16_t call; /* number of the latest system call */
    uint32_t calls;
    int signal;      /* to be delivered when it goes on */
    int stepping;    /* no hardware breakpoints */
    unsigned flags;  /* enum kill_flag */
    double deadline; /* seconds that it may sleep without being woken */
    struct control *control;
    /* Called when it has fallen asleep. Returns 0 once all partners are settled, or -1 (hang). */
    int (*settle)(void *data);
    /* The hash of the state as it is, while its way is found; NULL: is not known. */
    uint64_t (*state)(void *data);
    void *data;
};

enum trace_end {
    TRACE_AT_END,   /* came to the end marker; stands before it */
    TRACE_EXITED,   /* ended with status 0 */
    TRACE_AT_POINT, /* stands at the wanted point (asleep: is not stopped, but sleeps) */
    TRACE_ASLEEP,   /* sleeps for good (KILL_ENDS_ASLEEP) */
    TRACE_FAILED,   /* ended otherwise: why says how */
    TRACE_DIVERGED, /* left the known way: why says where */
};

/* In the process to be traced: waits until it is traced; the markers. */
void trace_begin(void);
void trace_end(void);

/* Attaches to a child that waits for the other end of the pipe gate to close and is then going to call trace_begin; lets
 * it come there. 0, or -1 with why. */
int trace_start(struct tracer *t, int gate, char *why, size_t size);
enum trace_end trace_run(struct tracer *t, const struct target *target, char *why, size_t size);
/* Stops one that sleeps (KILL_MODE_STOP). */
int trace_interrupt(struct tracer *t);
/* Lets it run freely from TRACE_AT_END on. */
void trace_release(struct tracer *t);
/* 1 if the process sleeps in a system call, confirmed over about 2 ms. */
int process_sleeps(pid_t pid);

/* ---- harness_symbols.c ---- */

/* "shoal_lock_acquire+0x42 (lock.c:120)" */
const char *symbol_text(uint64_t address, char *text, size_t size);

/* Coverage: one entry for each storing instruction that was executed while traced. Shared by all cases. */
enum { COVER_STORED = 1, COVER_REGION = 2, COVER_TRIED = 4 };
void cover_note(uint64_t rip, unsigned flags);
/* Patterns of source files, up to the first NULL; if there is none: everything. */
enum { COVER_BELOW = 8 };
extern const char *cover_below[COVER_BELOW];
/* See harness_main.c. Returns how many instructions are neither tried nor on the list; prints them. */
int cover_report(const char *const *patterns, int count, const char *known);

double harness_now(void);
void harness_nap(double seconds);

#endif
