/* os/os.h - the only code that calls Linux. What the kernel can do is probed once;
 * SHOAL_WITHOUT=futex_waitv,membarrier,… switches a feature off. */
#ifndef SHOAL_OS_H
#define SHOAL_OS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#if defined(__GLIBC__) && __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define OS_SINGLE_THREADED __libc_single_threaded
#else
#define OS_SINGLE_THREADED false
#endif

/* Whether this build is broken in way n, on purpose: tests/mutants. */
#define MUTANT(n) (SHOAL_MUTANT == (n))

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* What every child runs between its fork and its end. Such functions lie side by side, since a child
 * has to fault in each 64 KiB of code that it touches. */
#define CHILD_PATH __attribute__((hot))

/* A system call without libc's wrapper: -errno is the result, errno is untouched. Besides being
 * short, it touches no page of libc's code, which after a fork would be a page fault each. */
static inline long os_call(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
#else
#error "os_call: x86-64 and aarch64 only"
#endif
}

struct os_features {
    bool futex_waitv;  /* Linux 5.16 */
    bool membarrier;   /* MEMBARRIER_CMD_GLOBAL_EXPEDITED, registered for this process */
    bool populate;     /* MADV_POPULATE_WRITE, Linux 5.14 */
    bool wipe_on_fork; /* MADV_WIPEONFORK */
    bool pidfd;        /* pidfd_open, Linux 5.3 */
    bool robust;       /* the kernel marks robust words; some emulators do not */
    bool proc;         /* /proc/PID/maps can be read */
    /* the processor's clock is the same on all of them: the kernel keeps time by it */
    bool stamps;
};
/* Probed at the first call; registers for membarrier. After exec it is called anew, as everything
 * is. */
const struct os_features *os_features(void);
/* Registers this process for membarrier again (a child made by a raw clone); true if it works. */
bool os_membarrier_register(void);
/* Full fence in every running thread of every registered process. */
bool os_membarrier(void); /* false: the kernel refused */

/* Clock ticks since boot, the unit of a process's start time in /proc/PID/stat, rounded down. */
uint64_t os_ticks(void);
/* Nanoseconds of CLOCK_MONOTONIC. */
int64_t os_now(void);
static inline void os_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}
/* A stamp that is greater than any that was taken before something that the caller has seen, by any
 * thread of this machine. `processor`: from the processor's own clock, which takes os_features()
 * ->stamps; all who compare must take them the same way. */
static inline uint64_t os_stamp(bool processor)
{
#if defined(__x86_64__)
    if (likely(processor)) {
        uint32_t low, high, cpu;
        /* waits for what was loaded before it; a store after it is not seen before it was read */
        __asm__ volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(cpu)::"memory");
        return (uint64_t)high << 32 | low;
    }
#elif defined(__aarch64__)
    if (likely(processor)) {
        uint64_t now;
        __asm__ volatile("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(now)::"memory");
        return now;
    }
#endif
    return (uint64_t)os_now();
}
void os_yield(void);
void os_sleep(int64_t nanoseconds); /* returns early after a signal */
/* No signal handler runs in the calling thread from now on, but for faults of its own; *ret: what
 * there was before. */
void os_signals_block(uint64_t *ret);
void os_signals_restore(const uint64_t *mask);
/* Whether the calling thread is for certain the only one of its process, and no other can begin
 * before it begins one. */
static inline bool os_single_threaded(void)
{
    return OS_SINGLE_THREADED;
}
pid_t os_gettid(void);
pid_t os_getpid(void); /* asked anew each time */
void os_random(void *ret, size_t size);

/* ---- futexes, shared between processes; deadline INT64_MAX: none ---- */
struct os_wait {
    const _Atomic uint32_t *word;
    uint32_t value;
};
/* 0: woken, or the value differs. -ETIMEDOUT, -EINTR. */
int os_futex_wait(const _Atomic uint32_t *word, uint32_t value, int64_t deadline);
/* The same on any of n (at most 128) words: the index of the one woken, -EAGAIN if one of the
 * values differs, -ETIMEDOUT, -EINTR. */
int os_futex_waitv(const struct os_wait *waits, unsigned n, int64_t deadline);
/* Wakes up to n; returns how many. */
int os_futex_wake(_Atomic uint32_t *word, int n);

/* ---- a mutex between the threads of a process; all zero is free ---- libc's would do, but for its
 * code: in a child of a fork that is a page fault. */
struct os_mutex {
    _Atomic uint32_t word; /* 1: held, 2: and somebody may sleep */
};
void os_mutex_wait(struct os_mutex *mutex);
static inline void os_mutex_lock(struct os_mutex *mutex)
{
    uint32_t free = 0;
    if (unlikely(!atomic_compare_exchange_strong(&mutex->word, &free, 1)))
        os_mutex_wait(mutex);
}
static inline void os_mutex_unlock(struct os_mutex *mutex)
{
    if (unlikely(atomic_exchange(&mutex->word, 0) == 2))
        os_futex_wake(&mutex->word, 1);
}

/* ---- robust words: marked by the kernel when the thread that holds them ends ---- A
 * process-shared robust mutex of libc, which keeps the thread's list that the kernel walks. The
 * waiters bit is set as soon as it is held, since the kernel wakes somebody only then. */
#define OS_ROBUST_SIZE 48
struct os_robust {
    _Alignas(8) unsigned char mutex[OS_ROBUST_SIZE];
};
void os_robust_prepare(void); /* once, before all others */
/* The calling thread's number, before its first try, and anew in a child of a fork. */
void os_robust_thread(pid_t tid);
/* Whether libc and the kernel agree on who the calling thread is: not in a child that was made by a
 * bare system call, whose end marks nothing. */
bool os_robust_works(void);
void os_robust_init(struct os_robust *robust);
/* Whether the calling thread is in a signal handler that came while it was taking or giving back such
 * a word, or a robust mutex of the program's: until that goes on, none can be taken. */
bool os_robust_busy(void);
/* 1: taken, 0: a living thread has it, or busy. One left behind by a dead thread is taken. */
bool os_robust_try(struct os_robust *robust);
void os_robust_release(struct os_robust *robust); /* wakes one waiter */
/* Wakes one if `anybody`, asked after the release, says that there may be one. */
void os_robust_release_for(struct os_robust *robust, bool (*anybody)(void));
_Atomic uint32_t *os_robust_word(struct os_robust *robust);
/* The value to sleep on: who has just taken it and not yet said that others wait is helped. */
uint32_t os_robust_watch(struct os_robust *robust);
/* What the word says. */
bool os_robust_marked(uint32_t value); /* its holder died */
bool os_robust_held(uint32_t value);   /* held by a living thread */

/* ---- processes, as the kernel and /proc show them ---- */
int os_pidfd_open(pid_t pid); /* descriptor or -errno */
/* 1: has ended (or is a zombie); 0: a process of this number runs; -errno: cannot tell. */
int os_process_ended(pid_t pid);
/* Waits for that, `ns` at most: 1, 0; -EINTR. */
int os_process_await(pid_t pid, int64_t ns);
/* In which namespace processes have the numbers that the caller knows; 0: that cannot be told. */
uint64_t os_pid_namespace(void);
/* A child of this process: 1, and *status (its exit code, or -N for signal N) once it has ended; 0 if
 * not; -ECHILD; -EINTR. `block`: sleeps until then. `reap`: its number is free afterwards. */
int os_child_wait(pid_t pid, bool block, bool reap, int32_t *status);
/* Whether /proc/PID/maps lists this inode of this device: 1, 0, -errno; -ENODATA: it lists nothing
 * at all, as when the first thread has ended, be it alone or as the first of all. */
int os_process_maps(pid_t pid, dev_t device, ino_t inode);
/* Whether it certainly runs as another user, so that what cannot be read of it need not be. */
bool os_process_foreign(pid_t pid);
/* Calls `visit` with the pid of every process that /proc shows; stops when it returns true. 1, 0,
 * -errno. Async-signal-safe, if visit is. */
int os_each_process(bool (*visit)(pid_t pid, void *argument), void *argument);

/* ---- processes as a tree; everything here may be called in signal handlers ---- */
struct os_process {
    pid_t pid, parent;
    uint64_t start; /* field 22 of /proc/PID/stat: tells two processes of one number apart */
    char state;
};
/* It had ended when it was looked at. */
static inline bool os_process_over(const struct os_process *process)
{
    return process->state == 'Z' || process->state == 'X';
}
/* What /proc shows of one process: 0, -ESRCH, -errno. */
int os_process_look(pid_t pid, struct os_process *ret);
/* The same of all, by rising pid, up to n; how many there are, -errno. */
long os_process_list(struct os_process *ret, size_t n);
/* A signal to the process that was seen, and to no other that has its number by now: 0, -ESRCH,
 * -errno. */
int os_process_signal(const struct os_process *process, int signal);
int os_pidfd_signal(int fd, int signal); /* 0, -errno */
/* What it may be doing, as it was sent SIGSTOP: nothing, as it has ended or all of its threads have stopped (or are traced);
 * waiting in the kernel, as who waits until its vfork child executes a program, which cannot be stopped; or anything, a fork
 * too. */
enum os_rest { OS_RESTS, OS_WAITS, OS_RUNS };
enum os_rest os_process_rest(const struct os_process *process);
/* The calling process stops (SIGSTOP). */
void os_stop(void);
/* A child that runs none of the fork handlers: it may call only what signal handlers may. Its end
 * sends its parent `end_signal`; if that is 0, only who waits for it with __WALL sees it. */
pid_t os_fork_plain(int end_signal);
/* Closes all descriptors but two, either of which may be none (below 0). */
void os_close_all_but(int a, int b);
void os_name_thread(const char *name);
/* The calling process gets `signal` when the thread that forked it ends. */
int os_signal_at_parent_end(int signal);
/* And every `period` ns, from now on. */
int os_signal_every(int signal, int64_t period);

/* ---- shared memory ---- */
/* A new memfd of `size` bytes (made smaller by halves down to `least` until it works), sealed,
 * mapped, left out of core dumps. */
int os_memory_create(uint64_t *size, uint64_t least, int *ret_fd, void **ret_base);
int os_memory_map(int fd, uint64_t size, void **ret_base);
/* Puts memory behind [address, address + size): 0 or -ENOMEM, never SIGBUS. `fd` may be -1 if it is
 * gone. */
int os_memory_populate(void *address, size_t size, int fd, uint64_t offset);
/* Gives it back; it reads as zero afterwards. */
void os_memory_remove(void *address, size_t size);
/* Gives back what a fork has copied, but for code, what belongs to its files, the caller's stack and
 * thread-local storage. */
void os_memory_shed(void);
/* One page, zero, which a fork wipes in the child. */
void *os_memory_wiped_page(void);

/* ---- byte locks on the region's file ---- */
int os_byte_lock(int fd, uint64_t byte); /* POSIX: belongs to this process; 0, -errno */
int os_byte_locked_by(int fd, uint64_t byte,
                      pid_t *ret); /* another process's: 1 and its pid, 0 nobody's, -errno */
#endif
