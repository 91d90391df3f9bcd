/* sync.c - locks, semaphores, events, conditions. */
#include "bench.h"
#include "os/os.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <shoal/sync.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { TIMES = 200000, CROWD = 1000, PAIR_ROUNDS = 61 };
#define ROUND \
    4e6 /* ns that a round of two processes takes; short, so that some are left alone by what else runs */
#define SECOND 1e9
#define CROWD_SECONDS 14

/* ---- the objects: each process that is a world makes its own, before it forks ---- */

static shoal_lock *lock(void)
{
    static shoal_lock *l;
    if (!l)
        bench_must(shoal_lock_create(&l, NULL), "shoal_lock_create");
    return l;
}

static shoal_semaphore *semaphore(void)
{
    static shoal_semaphore *s;
    if (!s)
        bench_must(shoal_semaphore_create(&s, 1, NULL), "shoal_semaphore_create");
    return s;
}

static shoal_event *event(int who)
{
    static shoal_event *e[2];
    for (int i = 0; i < 2 && !e[i]; i++)
        bench_must(shoal_event_create(&e[i], NULL), "shoal_event_create");
    return e[who];
}

static pthread_mutex_t *mutex(void)
{
    static pthread_mutex_t *m;
    if (!m) {
        m = (pthread_mutex_t *)(void *)bench_shared->objects[0];
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        bench_must(-pthread_mutex_init(m, &attributes), "pthread_mutex_init");
    }
    return m;
}

static sem_t *posix_semaphore(void)
{
    static sem_t *s;
    if (!s) {
        s = (sem_t *)(void *)bench_shared->objects[1];
        bench_must(sem_init(s, 1, 1), "sem_init");
    }
    return s;
}

/* ---- alone ---- */

static double lock_alone(void)
{
    shoal_lock *l = lock();
    double begin = bench_now();
    for (int i = 0; i < TIMES; i++) {
        shoal_lock_acquire(l, SHOAL_FOREVER);
        shoal_lock_release(l);
    }
    return (bench_now() - begin) / TIMES;
}

static double mutex_alone(void)
{
    pthread_mutex_t *m = mutex();
    double begin = bench_now();
    for (int i = 0; i < TIMES; i++) {
        pthread_mutex_lock(m);
        pthread_mutex_unlock(m);
    }
    return (bench_now() - begin) / TIMES;
}

static double semaphore_alone(void)
{
    shoal_semaphore *s = semaphore();
    double begin = bench_now();
    for (int i = 0; i < TIMES; i++) {
        shoal_semaphore_acquire(s, SHOAL_FOREVER);
        shoal_semaphore_release(s);
    }
    return (bench_now() - begin) / TIMES;
}

static double posix_semaphore_alone(void)
{
    sem_t *s = posix_semaphore();
    double begin = bench_now();
    for (int i = 0; i < TIMES; i++) {
        sem_wait(s);
        sem_post(s);
    }
    return (bench_now() - begin) / TIMES;
}

/* ---- two contend ---- */

static double contend_for;

/* Some tens of nanoseconds that the compiler cannot shorten. */
BENCH_INLINE void work_outside(uint64_t *x)
{
    for (int i = 0; i < 32; i++) {
        *x = *x * 6364136223846793005u + 1442695040888963407u;
        __asm__ volatile("" : "+r"(*x));
    }
}

BENCH_INLINE void contend(int who, void (*take)(void), void (*give)(void))
{
    uint64_t x = (uint64_t)who;
    long n = 0;
    double end = bench_now() + contend_for;
    while (!atomic_load_explicit(&bench_shared->stop, memory_order_relaxed)) {
        take();
        bench_shared->guarded++;
        give();
        work_outside(&x);
        if (!(++n % 64) && !who && bench_now() >= end)
            atomic_store(&bench_shared->stop, 1);
    }
    bench_shared->count[who] = n;
}

static void take_lock(void)
{
    shoal_lock_acquire(lock(), SHOAL_FOREVER);
}

static void give_lock(void)
{
    shoal_lock_release(lock());
}

static void take_mutex(void)
{
    pthread_mutex_lock(mutex());
}

static void give_mutex(void)
{
    pthread_mutex_unlock(mutex());
}

static void contend_lock(int who)
{
    contend(who, take_lock, give_lock);
}

static void contend_mutex(int who)
{
    contend(who, take_mutex, give_mutex);
}

/* Nanoseconds per acquisition, of both together. */
static double contended(void (*body)(int who), double duration)
{
    contend_for = duration;
    bench_shared->guarded = 0;
    double took = bench_pair(body);
    long n = bench_shared->count[0] + bench_shared->count[1];
    if (bench_shared->guarded != (uint64_t)n)
        bench_must(-EBADMSG, "the lock let two in at once");
    return took / (double)n;
}

static double lock_contended(void)
{
    lock();
    return contended(contend_lock, ROUND);
}

static double mutex_contended(void)
{
    mutex();
    return contended(contend_mutex, ROUND);
}

static double share_of_slower(void)
{
    long a = bench_shared->count[0], b = bench_shared->count[1];
    return (double)(a < b ? a : b) / (double)(a + b);
}

static double lock_share(void)
{
    lock();
    contended(contend_lock, SECOND);
    return share_of_slower();
}

static double mutex_share(void)
{
    mutex();
    contended(contend_mutex, SECOND);
    return share_of_slower();
}

/* ---- ping-pong: the ball goes to the other and comes back ---- */

BENCH_INLINE void rally(int who, void (*send)(int to), void (*await)(int me))
{
    double end = bench_now() + ROUND;
    for (bool last = false; !last; bench_shared->count[who]++) {
        if (!who) {
            last = !(bench_shared->count[0] % 16) && bench_now() >= end;
            if (last)
                atomic_store(&bench_shared->stop, 1);
            send(1);
            await(0);
        } else {
            await(1);
            last = atomic_load(&bench_shared->stop);
            send(0);
        }
    }
}

static double round_trip(void (*body)(int who))
{
    double took = bench_pair(body);
    return took / (double)bench_shared->count[0];
}

static void send_event(int to)
{
    shoal_event_set(event(to));
}

static void await_event(int me)
{
    bench_must(shoal_event_wait(event(me), SHOAL_FOREVER), "shoal_event_wait");
    shoal_event_clear(event(me));
}

static void rally_event(int who)
{
    rally(who, send_event, await_event);
}

static double event_round_trip(void)
{
    event(0);
    return round_trip(rally_event);
}

/* Whose turn it is lies under the lock. */
static shoal_condition *condition(void)
{
    static shoal_condition *c;
    if (!c)
        bench_must(shoal_condition_create(&c, lock(), NULL, NULL), "shoal_condition_create");
    return c;
}

static int turn(void *me)
{
    return bench_shared->guarded == *(uint64_t *)me;
}

static void send_turn(int to)
{
    shoal_lock_acquire(lock(), SHOAL_FOREVER);
    bench_shared->guarded = (uint64_t)to;
    bench_must(shoal_condition_notify(condition(), 1), "shoal_condition_notify");
    shoal_lock_release(lock());
}

static void await_turn(int me)
{
    uint64_t mine = (uint64_t)me;
    shoal_lock_acquire(lock(), SHOAL_FOREVER);
    bench_must(shoal_condition_wait_for(condition(), turn, &mine, SHOAL_FOREVER, NULL),
               "shoal_condition_wait_for");
    shoal_lock_release(lock());
}

static void rally_condition(int who)
{
    rally(who, send_turn, await_turn);
}

static double condition_round_trip(void)
{
    condition();
    bench_shared->guarded = 0;
    return round_trip(rally_condition);
}

/* The ball is the number of the one who is to go on, and lies in a cache line of its own. */
static void send_ball(int to)
{
    atomic_store_explicit(&bench_shared->ball, (uint32_t)to, memory_order_release);
}

static void await_ball(int me)
{
    while (atomic_load_explicit(&bench_shared->ball, memory_order_acquire) != (uint32_t)me)
        os_pause();
}

static void rally_line(int who)
{
    rally(who, send_ball, await_ball);
}

double bench_line_round_trip(void)
{
    return round_trip(rally_line);
}

static void send_futex(int to)
{
    atomic_store(&bench_shared->ball, (uint32_t)to);
    syscall(SYS_futex, &bench_shared->ball, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void await_futex(int me)
{
    while (atomic_load(&bench_shared->ball) != (uint32_t)me)
        syscall(SYS_futex, &bench_shared->ball, FUTEX_WAIT, !me, NULL, NULL, 0);
}

static void rally_futex(int who)
{
    rally(who, send_futex, await_futex);
}

double bench_futex_round_trip(void)
{
    return round_trip(rally_futex);
}

/* ---- many asleep ---- */

static double crowd_cpu;

static void block(int who)
{
    (void)who;
    shoal_lock_acquire(lock(), SHOAL_FOREVER);
    shoal_lock_release(lock());
}

/* Of all of them, in nanoseconds, as the scheduler counts it. */
static double cpu_of(const int *pids, unsigned n)
{
    double sum = 0;
    for (unsigned i = 0; i < n; i++) {
        clockid_t clock = 0;
        struct timespec t = {0};
        int rc = clock_getcpuclockid(pids[i], &clock);
        bench_must(rc ? -rc : clock_gettime(clock, &t) ? -errno : 0, "a process's CPU clock");
        sum += (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
    }
    return sum;
}

static void watch_crowd(const int *pids, unsigned n)
{
    sleep(2); /* until all are asleep */
    double begin = bench_now(), before = cpu_of(pids, n);
    sleep(CROWD_SECONDS);
    crowd_cpu = (cpu_of(pids, n) - before) / (bench_now() - begin) * 1e3;
    shoal_lock_release(lock());
}

/* Milliseconds of CPU per second. The window is as long as the time after which each sleeper looks
 * around once. */
static double crowd(void)
{
    shoal_lock_acquire(lock(), SHOAL_FOREVER);
    bench_crowd(CROWD, block, watch_crowd);
    return crowd_cpu;
}

#define MUTEX "robust mutex"
#define LINE "cache line, spinning"
const struct bench bench_sync[] = {
    {"lock, uncontended", "ns", lock_alone, FAMILY, MUTEX, mutex_alone, PIN_ONE | PIN_NONE,
     PIN_ONE | PIN_NONE, RATIO_AT_MOST, 0.55, PAIR_ROUNDS},
    {"lock, uncontended, no membarrier", "ns", lock_alone, NO_MEMBARRIER, MUTEX, mutex_alone,
     PIN_ONE, 0, RATIO_AT_MOST, 0.55, PAIR_ROUNDS},
    {"lock, contended", "ns", lock_contended, FAMILY, MUTEX, mutex_contended,
     PIN_ONE | PIN_TWO | PIN_NONE, PIN_TWO, RATIO_AT_MOST, 0.5, PAIR_ROUNDS},
    {"lock, contended, no membarrier", "ns", lock_contended, NO_MEMBARRIER, MUTEX, mutex_contended,
     PIN_TWO, 0, RATIO_AT_MOST, 0.5, PAIR_ROUNDS},
    {"lock, contended: share of the slower", "", lock_share, FAMILY, MUTEX, mutex_share, PIN_TWO,
     PIN_TWO, FIGURE_AT_LEAST, 0.25, 3},
    {"semaphore, uncontended", "ns", semaphore_alone, FAMILY, "sem_t", posix_semaphore_alone,
     PIN_ONE | PIN_NONE, PIN_ONE | PIN_NONE, RATIO_AT_MOST, 0.8, PAIR_ROUNDS},
    {"semaphore, uncontended, no membarrier", "ns", semaphore_alone, NO_MEMBARRIER, "sem_t",
     posix_semaphore_alone, PIN_ONE, 0, RATIO_AT_MOST, 0.8, PAIR_ROUNDS},
    {"event, ping-pong", "ns", event_round_trip, FAMILY, LINE, bench_line_round_trip, PIN_TWO,
     PIN_TWO, RATIO_AT_MOST, 3, PAIR_ROUNDS},
    {"event, ping-pong, no membarrier", "ns", event_round_trip, NO_MEMBARRIER, LINE,
     bench_line_round_trip, PIN_TWO, 0, RATIO_AT_MOST, 3, PAIR_ROUNDS},
    {"event, ping-pong against futex", "ns", event_round_trip, FAMILY, "futex",
     bench_futex_round_trip, PIN_ONE | PIN_NONE, PIN_ONE, RATIO_AT_MOST, 1.1, PAIR_ROUNDS},
    {"condition, ping-pong", "ns", condition_round_trip, FAMILY, LINE, bench_line_round_trip,
     PIN_TWO, PIN_TWO, RATIO_AT_MOST, 6, PAIR_ROUNDS},
    {"condition, ping-pong, no membarrier", "ns", condition_round_trip, NO_MEMBARRIER, LINE,
     bench_line_round_trip, PIN_TWO, 0, RATIO_AT_MOST, 6, PAIR_ROUNDS},
    {"condition, ping-pong against futex", "ns", condition_round_trip, FAMILY, "futex",
     bench_futex_round_trip, PIN_ONE | PIN_NONE, PIN_ONE, RATIO_AT_MOST, 1.1, PAIR_ROUNDS},
    {"1,000 blocked in acquire, CPU per second", "ms", crowd, FRESH, NULL, NULL, PIN_NONE, PIN_NONE,
     FIGURE_AT_MOST, 20, 1},
};
const unsigned bench_sync_count = BENCH_COUNT(bench_sync);
