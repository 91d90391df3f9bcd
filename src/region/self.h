/* region/self.h - who the calling thread is; attaching and detaching; errors.
 *
 * A thread's identity (an owner word) lies in thread-local storage and is believed only while
 * `process_self.attached` is set: that word lies in a page that a fork wipes, so that a child never
 * speaks in its parent's name.
 */
#ifndef SHOAL_SELF_H
#define SHOAL_SELF_H

#include "region/region.h"
#include <errno.h>
#include <stdarg.h>

/* A wait that was in vain (not now, too late, interrupted, no deadline at all): what the sentence
 * needs, which is made when somebody asks for it. */
struct vain {
    int result;       /* 0: there is a sentence */
    unsigned type;    /* of the handle; 0: none */
    const char *call; /* which function was called; NULL: not noted */
    const void *handle;
    int64_t deadline, at; /* and when it was too late */
};

/* Everything that a thread keeps for itself. */
struct thread {
    owner_t me; /* 0: not attached */
    struct record *record;
    unsigned depth;              /* frames in use */
    uint32_t group[CLASSES];     /* object.c: the group it creates in, per size class; 0: none */
    uint64_t free_ids[CLASSES];  /* and which ids in it seem free */
    uint64_t ready_ids[CLASSES]; /* and which payloads in it are known to have memory */
    bool holds_life;             /* this thread's end marks the process's life word */
    bool attaching;
    bool keyed;       /* thread_end is told of its end */
    bool shares_core; /* wait.c: its last yield let somebody else run */
    char detail[256];
    struct vain vain;  /* the last failure needs no sentence of its own */
    unsigned failures; /* grows with each failing call */
    unsigned unbuilt;  /* any_build.c: what it was when a builder returned NULL */
};
extern _Thread_local struct thread shoal_thread __attribute__((tls_model("initial-exec")));

/* What a process keeps for itself. It lies in the page that a fork wipes, so that the child's first
 * look finds it is not attached, and so that neither side pays for a copy of it: for the parent
 * every other private page that it writes after a fork is a page fault, and for the child every
 * page at all. `keep` says what the child's handler carries over. */
struct process {
    _Atomic uint32_t attached;
    uint32_t slot;
    uint32_t generation;
    _Atomic unsigned threads;     /* of this process that are attached */
    struct os_mutex mutex;        /* open, close, fork */
    struct os_mutex attach_mutex; /* attaching and leaving of threads, fork */
    uint32_t spare;               /* records of threads that have ended: the first, 0 for none */
    _Atomic bool creates;         /* a thread of it has owned an object group */
    struct keep {
        _Atomic uint32_t
            forks; /* grows before and after each fork of this process: handles older than the last, and those made while it is odd, are shared */
        int spin;  /* pauses before yielding; 0 under SHOAL_TEST_SPIN=0 */
        int64_t yield; /* nanoseconds of yielding before sleeping */
        bool net;      /* the waiting net; off under SHOAL_TEST_NET=0 */
        /* Of sleepers that no word tells of a death; off under SHOAL_TEST_SLICES=0, where the test
         * wakes them instead. */
        bool slices;
        bool waitv;
        bool asymmetric;
        bool robust; /* the end of its threads marks what they hold */
        bool known;  /* these are set; not in a child that ran no handler */
    } keep;
    struct start {
        struct thread *_Atomic thread; /* which forks; NULL: none */
        struct birth *birth;
        const char *name, *identity;
    } start;
    _Alignas(64) unsigned char children[192]; /* the process layer's: struct children */
};
extern struct process *process_page; /* never NULL */
#define process_self (*process_page)

/* The calling thread's owner word, 0 if it has to attach first. */
static inline owner_t self_known(void)
{
    return likely(atomic_load_explicit(&process_self.attached, memory_order_relaxed))
               ? shoal_thread.me
               : 0;
}
/* Attaches process and thread as needed: 0 or -errno. */
int self_attach(void);
/* Makes the family's region first; -EALREADY if there is one. */
int self_init(uint64_t reserve);
/* Whether the process belongs to no family yet, neither by a call that it has made nor by its start. */
bool self_alone(void);
/* Joins the family whose region's descriptor this is, as a process of its own that has nothing of anybody's. It is the
 * region's from then on; where this fails it is the caller's. -EALREADY: the process is not alone. */
int self_join(int fd);
static inline int self(owner_t *ret)
{
    *ret = self_known();
    if (likely(*ret))
        return 0;
    int rc = self_attach();
    *ret = shoal_thread.me;
    return rc;
}

/* An owner that is no thread: what a manager's remote connection holds is the connection's. Threads of the
 * process that made it take turns to be it, one at a time; while a thread is, it creates no objects. */
struct persona {
    owner_t me; /* 0: none */
    struct record *record;
    unsigned depth;
};
int persona_create(struct persona *ret); /* 0, -EAGAIN, -ENOMEM */
/* The calling thread becomes it; with the next call it is itself again. */
void persona_swap(struct persona *persona);
/* From now on it is a dead owner. What it still has is taken over as what any dead owner has; who sleeps on
 * that is the caller's to wake. */
void persona_end(struct persona *persona);

/* Takes the process's life word if nobody holds it (its thread ended). */
void self_arm(void);

/* A child that is being born: what the handlers around a fork tell one another. The child reads its
 * copy, and the parent writes nothing to it after the fork. */
struct birth {
    uint32_t slot; /* 0: none could be had; the child attaches anew and holds nothing */
    uint32_t generation;
    uint32_t flags;
    bool prepared, several;
    struct keep keep;
};
/* Before fork, in the parent: the calling thread starts a child. `birth` lies on its stack, a page
 * that both write anyway. After it *birth tells the slot. One thread at a time. */
static inline void self_start_begin(struct birth *birth, const char name[NAME],
                                    const char identity[NAME])
{
    process_self.start.birth = birth;
    process_self.start.name = name;
    process_self.start.identity = identity;
    atomic_store(&process_self.start.thread, &shoal_thread);
}
static inline void self_start_end(void)
{
    atomic_store(&process_self.start.thread, NULL);
}
static inline bool self_starts(void)
{
    return atomic_load(&process_self.start.thread) == &shoal_thread;
}
enum {
    /* in flags: */
    BIRTH_EXEC = 1u << 16,  /* the child will exec, and the new image takes the slot */
    BIRTH_CLEAN = 1u << 17, /* it is another process's, in whose name this one forks */
};

/* Gives everything up, at the end of the process. 0 or -errno. */
int self_leave(void);
/* The same in a process that goes on: its handles are bad afterwards, the region is unmapped, and
 * its next call begins a family of its own. */
int self_detach(void);

/* Called in a program that was started by exec, when it has joined the family; NULL: nothing. */
extern void (*self_on_join)(void);

/* Attaches to the family whose descriptor a parent left in the environment (start by exec): tried
 * by self_attach. */
#define SELF_ENVIRONMENT "SHOAL_FAMILY"
#define SELF_FORMAT "%d:%u:%u:%u:%u:%u" /* descriptor, slot, generation; of the parent; daemon */

/* ---- errors ---- */
/* For results that come often and mean nothing is wrong: -EAGAIN, -ETIMEDOUT, -EINTR of a wait. */
static inline int in_vain(int result)
{
    shoal_thread.failures++;
    shoal_thread.vain.call = NULL;
    return shoal_thread.vain.result = result;
}
/* The result where nothing waits, as the deadline is SHOAL_NOW or less: -EAGAIN; -EINVAL for a
 * negative one, which is none. */
static inline int not_now(int64_t deadline)
{
    return in_vain(deadline < 0 ? -EINVAL : -EAGAIN);
}
/* Before anything that would have to be undone: -EINVAL for a negative deadline. */
static inline int check_deadline(int64_t deadline)
{
    return likely(deadline >= 0) ? 0 : in_vain(-EINVAL);
}
void vain_note(int rc, const char *call, const void *handle, unsigned type, int64_t deadline);
/* `rc`, on its way to the caller of `call`, which waited: what the sentence is to name, if it was in
 * vain. `handle`: of an object of `type`, or NULL and 0. */
static inline int waited(int rc, const char *call, const void *handle, unsigned type,
                         int64_t deadline)
{
    if (unlikely(rc < 0))
        vain_note(rc, call, handle, type, deadline);
    return rc;
}
/* Remembers a sentence for shoal_error_detail and is `result`. */
#define fail(result, ...) (fail_detail(__VA_ARGS__), (result))
void fail_detail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for positive results of acquiring. */
int owner_died(owner_t dead, const char *call, const void *handle, unsigned type);
/* The same for what a function of the program's returned that `what` called; `failures`: as they
 * were before. */
int fail_callback(int result, const char *what, unsigned failures);
/* `result`: its sentence says `call` first; a wait in vain gets that by waited. */
int fail_in(int result, const char *call);
/* The last failure's sentence; "" if there was none. */
const char *fail_sentence(void);

#endif
