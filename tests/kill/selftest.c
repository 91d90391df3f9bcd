/*
 * selftest.c: the kill harness judged on toys in shared memory. Each broken toy has one mistake of
 * the kind that the harness is for, and must be caught; the sound toys must pass everywhere.
 */
#define _GNU_SOURCE
#include "../runner/runner.h"
#include "harness.h"
#include "harness_internal.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The net for toys that hang for certain. It decides nothing: they would hang for ever. */
/* s: what is caught as a hang takes so long; and others must have settled by then */
#define SHORT_NET 3

/* ---- the toy: a lock, and two numbers that must be equal when nobody holds it ---- */

enum mistake {
    SOUND,
    NO_REPAIR,      /* nobody asks whether the owner is dead */
    OWNER_LATER,    /* taken in one step, the owner named in the next */
    LOST_WAKE,      /* a sleeper trusts that the wake-up comes */
    LEAKED_COUNT,   /* a count of sleepers that the dead do not leave */
    NO_DATA_REPAIR, /* the lock comes back, the data stays half done */
    STEALS,         /* takes the lock from who holds it for long */
};

struct toy {
    uint32_t owner; /* pid */
    uint32_t sequence;
    uint32_t sleepers;
    uint32_t a, b;
    uint64_t permit; /* {holder, count} */
    enum mistake mistake;
};

#define NOBODY (1u << 31) /* taken, says who made the mistake OWNER_LATER, but by whom? */

static enum mistake mistake; /* of the toys that setup makes */

static uint32_t load(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the builtin writes it */
static int cas(uint32_t *word, uint32_t from, uint32_t to)
{
    return __atomic_compare_exchange_n(word, &from, to, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static void wait_slice(const uint32_t *word, uint32_t value)
{
    /* How often it wakes in vain belongs to the victim's way, and must not depend on time. */
    struct timespec slice = {getpid() == kill_victim_pid() ? 100 : 0, 20000000};

    syscall(SYS_futex, word, FUTEX_WAIT, value, &slice, NULL, 0);
}

static int is_dead(uint32_t pid)
{
    return pid && pid != NOBODY && kill((pid_t)pid, 0) && errno == ESRCH;
}

/* Returns 1 if the lock came from a dead owner; -1 if it could not be had in so many slices (0: no limit). */
static int toy_acquire(struct toy *t, int slices)
{
    uint32_t me = (uint32_t)getpid();

    for (int n = 1;; n++) {
        uint32_t seen = load(&t->sequence), owner = load(&t->owner);
        if (!owner) {
            if (t->mistake == OWNER_LATER) {
                if (cas(&t->owner, 0, NOBODY)) {
                    __atomic_store_n(&t->owner, me, __ATOMIC_SEQ_CST);
                    return 0;
                }
            } else if (cas(&t->owner, 0, me)) {
                return 0;
            }
            continue;
        }
        if (t->mistake != NO_REPAIR && is_dead(owner) && cas(&t->owner, owner, me))
            return 1;
        if (t->mistake == STEALS && n > 3 && cas(&t->owner, owner, me))
            return 1;
        if (slices && n > slices)
            return -1;
        if (t->mistake == LEAKED_COUNT)
            __atomic_add_fetch(&t->sleepers, 1, __ATOMIC_SEQ_CST);
        wait_slice(&t->sequence, seen);
        while (t->mistake == LOST_WAKE && load(&t->sequence) == seen) {
            if (is_dead(owner) && cas(&t->owner, owner, me))
                return 1;
            wait_slice(&t->sequence, seen);
        }
        if (t->mistake == LEAKED_COUNT)
            __atomic_sub_fetch(&t->sleepers, 1, __ATOMIC_SEQ_CST);
    }
}

static void toy_release(struct toy *t)
{
    ASSERT_TRUE(cas(&t->owner, (uint32_t)getpid(), 0));
    __atomic_add_fetch(&t->sequence, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &t->sequence, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void toy_change(struct toy *t, int recovered)
{
    if (recovered && t->mistake != NO_DATA_REPAIR)
        __atomic_store_n(&t->b, t->a, __ATOMIC_SEQ_CST);
    ASSERT_EQ_INT(t->a, t->b);
    __atomic_store_n(&t->a, t->a + 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&t->b, t->b + 1, __ATOMIC_SEQ_CST);
}

static void *toy_setup(void)
{
    struct toy *t =
        mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ASSERT_TRUE(t != MAP_FAILED);
    t->mistake = mistake;
    t->permit = 1;
    kill_region(t, sizeof(*t));
    return t;
}

static void toy_use(void *p)
{
    int recovered = toy_acquire(p, 0);

    toy_change(p, recovered);
    toy_release(p);
}

static void toy_survive(void *p, int i)
{
    (void)i;
    toy_use(p);
}

static void toy_hold(void *p, int i)
{
    (void)i;
    int recovered = toy_acquire(p, 0);
    toy_change(p, recovered);
    kill_partner_ready();
    kill_await_asleep(1);
    toy_release(p);
}

static void toy_take(void *p)
{
    ASSERT_EQ_INT(toy_acquire(p, 0), 0);
}

static void toy_change_and_release(void *p)
{
    toy_change(p, 0);
    toy_release(p);
}

static void toy_want(void *p, int i)
{
    (void)i;
    kill_await_begun();
    toy_use(p);
}

/* While the owner stands, its lock may not be had; where nobody owns it, it may. */
static void toy_beside_stopped(void *p, int i)
{
    struct toy *t = p;
    int got = toy_acquire(t, 8);

    (void)i;
    if (got < 0)
        return;
    toy_change(t, got);
    toy_release(t);
}

static void toy_last(void *p)
{
    struct toy *t = p;

    ASSERT_EQ_INT(t->owner, 0);
    ASSERT_EQ_INT(t->a, t->b);
    ASSERT_EQ_INT(t->sleepers, 0);
}

static uint64_t toy_state(void *p)
{
    struct toy *t = p;

    return (uint64_t)(t->owner != 0) | (uint64_t)(t->a - t->b) << 1 | (uint64_t)t->a << 32;
}

static const struct kill_scenario uncontended = {.name = "toy_uncontended",
                                                 .setup = toy_setup,
                                                 .victim = toy_use,
                                                 .survivor = toy_survive,
                                                 .stopped = toy_beside_stopped,
                                                 .state = toy_state,
                                                 .final = toy_last};
static const struct kill_scenario blocked = {.name = "toy_victim_blocks",
                                             .setup = toy_setup,
                                             .victim = toy_use,
                                             .partner = toy_hold,
                                             .survivor = toy_survive,
                                             .final = toy_last};
/* Without survivors: one who comes later would wake those whom the victim forgot. */
static const struct kill_scenario awaited = {.name = "toy_others_wait_for_victim",
                                             .setup = toy_setup,
                                             .prepare = toy_take,
                                             .victim = toy_change_and_release,
                                             .partner = toy_want,
                                             .partners = 2,
                                             .final = toy_last};

static struct kill_result run(const struct kill_scenario *s, enum mistake m, unsigned mode,
                              double net)
{
    struct kill_options o = {.mode = mode, .deadline = net, .max_failures = 1, .quiet = m != SOUND};
    struct kill_result r;

    if (kill_unavailable())
        SKIP("%s", kill_unavailable());
    mistake = m;
    kill_run(s, &o, &r);
    printf("%s, mistake %d: %s\n", s->name, (int)m, r.failure);
    return r;
}

static void must_pass(const struct kill_scenario *s, unsigned mode)
{
    struct kill_result r = run(s, SOUND, mode, 0);

    if (r.failed)
        FAIL("%d failed: %s", r.failed, r.failure);
    ASSERT_GT_INT(r.tried, 5);
    if (mode != KILL_MODE_REPAIR)
        ASSERT_EQ_INT(r.tried, r.points);
}

static void must_be_caught(const struct kill_scenario *s, enum mistake m, unsigned mode, double net,
                           const char *how)
{
    struct kill_result r = run(s, m, mode, net);

    ASSERT_EQ_INT(r.failed, 1);
    if (!strstr(r.failure, how))
        FAIL("caught, but not by \"%s\": %s", how, r.failure);
}

TEST(a_sound_lock_survives_a_kill_at_every_write)
{
    must_pass(&uncontended, KILL_MODE_KILL);
}

TEST(a_sound_lock_survives_a_kill_at_every_instruction)
{
    struct kill_scenario s = uncontended;

    s.flags = KILL_EVERY_INSTRUCTION;
    must_pass(&s, KILL_MODE_KILL);
}

TEST(a_sound_lock_survives_a_kill_of_who_blocks)
{
    struct kill_result r = run(&blocked, SOUND, KILL_MODE_KILL, 0);

    if (r.failed)
        FAIL("%s", r.failure);
    ASSERT_EQ_INT(r.slept, 1);
}

TEST(a_sound_lock_survives_a_kill_of_who_wakes)
{
    must_pass(&awaited, KILL_MODE_KILL);
}

TEST(a_sound_lock_survives_a_stop_at_every_write)
{
    must_pass(&uncontended, KILL_MODE_STOP);
}

TEST(a_sound_lock_survives_a_stop_of_who_blocks)
{
    struct kill_scenario s = blocked;

    s.stopped = toy_beside_stopped;
    must_pass(&s, KILL_MODE_STOP);
}

TEST(a_sound_lock_survives_a_kill_of_its_repairer)
{
    must_pass(&uncontended, KILL_MODE_REPAIR);
}

TEST(the_same_points_are_reached_with_and_without_breakpoints)
{
    struct kill_scenario s = blocked;
    struct kill_result native = run(&s, SOUND, KILL_MODE_KILL, 0), stepped;

    s.flags = KILL_NO_BREAKPOINT;
    stepped = run(&s, SOUND, KILL_MODE_KILL, 0);
    ASSERT_EQ_INT(native.failed + stepped.failed, 0);
    ASSERT_EQ_INT(native.points, stepped.points);
}

TEST(a_dead_owner_whom_nobody_replaces_is_caught_as_a_hang)
{
    must_be_caught(&uncontended, NO_REPAIR, KILL_MODE_KILL, SHORT_NET, "hung");
}

TEST(an_owner_named_one_step_too_late_is_caught_as_a_hang)
{
    must_be_caught(&uncontended, OWNER_LATER, KILL_MODE_KILL, SHORT_NET, "hung");
}

TEST(a_wake_up_lost_between_store_and_wake_is_caught_as_a_hang)
{
    must_be_caught(&awaited, LOST_WAKE, KILL_MODE_KILL, SHORT_NET, "partner 0 hung");
}

TEST(a_count_that_a_dead_sleeper_leaves_behind_is_caught)
{
    must_be_caught(&blocked, LEAKED_COUNT, KILL_MODE_KILL, 0, "t->sleepers == 0 is false");
}

TEST(data_left_half_done_is_caught)
{
    must_be_caught(&uncontended, NO_DATA_REPAIR, KILL_MODE_KILL, 0, "t->a == t->b is false");
}

TEST(a_lock_stolen_from_a_stopped_owner_is_caught_only_by_stopping)
{
    struct kill_result r = run(&uncontended, STEALS, KILL_MODE_KILL, 0);

    ASSERT_EQ_INT(r.failed, 0);
    must_be_caught(&uncontended, STEALS, KILL_MODE_STOP, 0, "the victim");
}

/* ---- a permit that comes back from the dead ---- */

static int permit_in_two_steps;

static void permit_repair(struct toy *t)
{
    uint64_t seen = __atomic_load_n(&t->permit, __ATOMIC_SEQ_CST);

    if (!is_dead((uint32_t)(seen >> 32)))
        return;
    if (permit_in_two_steps) {
        __atomic_add_fetch(&t->permit, 1, __ATOMIC_SEQ_CST);
        __atomic_and_fetch(&t->permit, 0xffffffff, __ATOMIC_SEQ_CST);
    } else {
        __atomic_compare_exchange_n(&t->permit, &seen, 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
}

static void permit_use(void *p)
{
    struct toy *t = p;
    uint64_t free_permit = 1, mine = (uint64_t)getpid() << 32;

    ASSERT_TRUE(__atomic_compare_exchange_n(&t->permit, &free_permit, mine, 0, __ATOMIC_SEQ_CST,
                                            __ATOMIC_SEQ_CST));
    ASSERT_TRUE(
        __atomic_compare_exchange_n(&t->permit, &mine, 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
}

static void permit_survive(void *p, int i)
{
    (void)i;
    permit_repair(p);
}

static void permit_last(void *p)
{
    struct toy *t = p;

    ASSERT_EQ_U64(t->permit, 1);
}

static uint64_t permit_state(void *p)
{
    struct toy *t = p;

    return (t->permit & 0xffffffff) << 1 | (t->permit >> 32 != 0);
}

static const struct kill_scenario permit = {.name = "toy_permit",
                                            .setup = toy_setup,
                                            .victim = permit_use,
                                            .survivor = permit_survive,
                                            .survivors = 1,
                                            .state = permit_state,
                                            .final = permit_last};

TEST(a_repair_in_two_steps_is_caught_only_by_killing_the_repairer)
{
    struct kill_result r;

    r = run(&permit, SOUND, KILL_MODE_REPAIR, 0);
    ASSERT_EQ_INT(r.failed, 0);
    ASSERT_GT_INT(r.same, 0);
    permit_in_two_steps = 1;
    r = run(&permit, SOUND, KILL_MODE_KILL, 0);
    ASSERT_EQ_INT(r.failed, 0);
    must_be_caught(&permit, SOUND, KILL_MODE_REPAIR, 0, "t->permit == 1 is false");
}

/* ---- every kind of store is a kill point ---- */

#if defined(__x86_64__)

#define STORES 26
static uint8_t *places;     /* STORES * 64 bytes: the region */
static uint8_t *seen_after; /* in how many runs exactly so many stores were done */

static void *stores_setup(void)
{
    places = mmap(NULL, STORES * 64, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_TRUE(places != MAP_FAILED);
    kill_region(places, STORES * 64);
    return places;
}

/* Each line makes the byte at its own place other than 0. */
static void stores_run(void *p)
{
    uint8_t *at = p;
    uint8_t source[16];

    memset(source, 0xff, sizeof(source));
    const uint8_t *from = source;
/* %0 is the place, %1 sixteen bytes of ones, %2 a register full of ones. */
#define STORE(text)                                                           \
    __asm__ volatile(text /* NOLINT(bugprone-macro-parentheses): a literal */ \
                     : "+D"(at), "+S"(from)                                   \
                     : "r"(-1L)                                               \
                     : "rax", "rbx", "rcx", "rdx", "xmm0", "memory", "cc");   \
    at += 64
    STORE("movb $1, (%0)");
    STORE("movw %w2, (%0)");
    STORE("xor %%eax, %%eax\n movl %k2, (%0,%%rax,4)");
    STORE("movq %2, (%0)");
    STORE("lea 64(%0), %%rax\n movq $7, -64(%%rax)");
    STORE("lea -4096(%0), %%rax\n movl $7, 4096(%%rax)");
    STORE("mov %2, %%rax\n xchg %%rax, (%0)");
    STORE("mov %2, %%rax\n lock xaddq %%rax, (%0)");
    STORE("xor %%eax, %%eax\n lock cmpxchgq %2, (%0)");
    STORE("xor %%eax, %%eax\n xor %%edx, %%edx\n mov $1, %%ebx\n xor %%ecx, %%ecx\n lock "
          "cmpxchg16b (%0)");
    STORE("lock orl $1, (%0)");
    STORE("lock incq (%0)");
    STORE("lock decb (%0)");
    STORE("addl $1, (%0)");
    STORE("notb (%0)");
    STORE("lock btsl $3, (%0)");
    STORE("mov $2, %%eax\n btsq %%rax, (%0)");
    STORE("cmp %0, %0\n sete (%0)");
    STORE("movups (%1), %%xmm0\n movups %%xmm0, (%0)");
    STORE("movups (%1), %%xmm0\n movq %%xmm0, (%0)");
    STORE("movups (%1), %%xmm0\n movntdq %%xmm0, (%0)");
    STORE("movups (%1), %%xmm0\n movss %%xmm0, (%0)");
    STORE("movnti %2, (%0)");
    STORE("mov $1, %%eax\n stosb\n dec %0");
    STORE("mov $1, %%eax\n mov $40, %%ecx\n rep stosb\n sub $40, %0");
    STORE("mov $2, %%ecx\n rep movsq\n sub $16, %0\n sub $16, %1");
    ASSERT_EQ_INT((at - (uint8_t *)p) / 64, STORES);
}

static void stores_last(void *p)
{
    const uint8_t *at = p;
    int done = 0;

    while (done < STORES && at[done * 64])
        done++;
    for (int i = done; i < STORES; i++)
        ASSERT_EQ_INT(at[i * 64], 0);
    seen_after[done] = 1;
}

static const struct kill_scenario stores = {.name = "stores",
                                            .setup = stores_setup,
                                            .victim = stores_run,
                                            .final = stores_last};

TEST(every_kind_of_store_is_a_kill_point)
{
    seen_after = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_TRUE(seen_after != MAP_FAILED);
    struct kill_result r = run(&stores, SOUND, KILL_MODE_KILL, 0);
    ASSERT_EQ_INT(r.failed, 0);
    for (int i = 0; i <= STORES; i++) {
        if (!seen_after[i])
            FAIL("never killed between store %d and the next", i);
    }
    munmap(seen_after, 4096);
}

#endif

/* ---- the harness tells what it could not do ---- */

static uint32_t *runs;

/* One system call more each time. */
static void wanders(void *p)
{
    struct toy *t = p;

    for (uint32_t n = __atomic_add_fetch(runs, 1, __ATOMIC_SEQ_CST); n > 0; n--)
        syscall(SYS_getppid);
    __atomic_add_fetch(&t->a, 1, __ATOMIC_SEQ_CST);
}

TEST(a_way_that_changes_from_run_to_run_is_reported)
{
    struct kill_scenario s = {.name = "wanders", .setup = toy_setup, .victim = wanders};

    runs = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_TRUE(runs != MAP_FAILED);
    struct kill_result r = run(&s, NO_REPAIR, KILL_MODE_KILL, 0);
    ASSERT_EQ_INT(r.failed, 1);
    ASSERT_GT_INT(r.repeated, 0);
    ASSERT_NOT_NULL(strstr(r.failure, "diverged"));
    munmap(runs, 4096);
}

static void sleeps_for_ever(void *p)
{
    struct toy *t = p;

    __atomic_add_fetch(&t->a, 1, __ATOMIC_SEQ_CST);
    for (;;)
        syscall(SYS_futex, &t->b, FUTEX_WAIT, 0, NULL, NULL, 0);
}

TEST(a_victim_that_nobody_wakes_is_a_failure_unless_the_scenario_says_so)
{
    struct kill_scenario s = {.name = "sleeps_for_ever",
                              .setup = toy_setup,
                              .victim = sleeps_for_ever};
    struct kill_result r = run(&s, NO_REPAIR, KILL_MODE_KILL, SHORT_NET);

    ASSERT_EQ_INT(r.failed, 1);
    ASSERT_NOT_NULL(strstr(r.failure, "hung: sleeps in system call"));
    s.flags = KILL_ENDS_ASLEEP;
    r = run(&s, SOUND, KILL_MODE_KILL, 0);
    ASSERT_EQ_INT(r.failed, 0);
    ASSERT_EQ_INT(r.slept, 1);
}

static void writes_nothing(void *p)
{
    (void)p;
}

TEST(an_operation_without_a_kill_point_is_a_failure)
{
    struct kill_scenario s = {.name = "writes_nothing",
                              .setup = toy_setup,
                              .victim = writes_nothing};
    struct kill_result r = run(&s, NO_REPAIR, KILL_MODE_KILL, 0);

    ASSERT_EQ_INT(r.failed, 1);
}

/* ---- coverage ---- */

/* Not optimised away: the branch is never taken, and neither the compiler nor the linker knows. */
__attribute__((noinline)) void selftest_covered(struct toy *t, int never);
__attribute__((noinline)) void selftest_covered(struct toy *t, int never)
{
    __atomic_add_fetch(&t->a, 1, __ATOMIC_SEQ_CST);
    if (never)
        __atomic_add_fetch(&t->b, 2, __ATOMIC_SEQ_CST);
}

static volatile int never_true;

static void covered_run(void *p)
{
    selftest_covered(p, never_true);
}

static const struct kill_scenario covered = {.name = "covered",
                                             .setup = toy_setup,
                                             .victim = covered_run};

TEST(a_store_that_was_never_a_kill_point_is_missed_unless_it_is_known)
{
    const char *pattern = "selftest_covered";
    char path[] = "/tmp/known-XXXXXX";
    struct kill_result r = run(&covered, SOUND, KILL_MODE_KILL, 0);

    ASSERT_EQ_INT(r.failed, 0);
    if (system("objdump --version >/dev/null 2>&1"))
        SKIP("no objdump");
    ASSERT_EQ_INT(cover_report(&pattern, 1, NULL), 1);
    int fd = (int)ASSERT_SYS(mkstemp(path));
    FILE *f = fdopen(fd, "w");
    ASSERT_NOT_NULL(f);
    fprintf(f, "selftest_covered: __atomic_add_fetch(&t->b, 2, __ATOMIC_SEQ_CST); ## never true\n");
    fclose(f);
    int missing = cover_report(&pattern, 1, path);
    unlink(path);
    if (missing && system("addr2line --version >/dev/null 2>&1"))
        SKIP("no addr2line");
    ASSERT_EQ_INT(missing, 0);
}
