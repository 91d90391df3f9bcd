/* process.c: forks, starts and joins. The parent dies anywhere inside a fork; what its child inherited stays. The child dies anywhere while it is being born. */
#define _GNU_SOURCE
#include "family.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct state {
    struct note *note;
    shoal_memory *memory;
    shoal_lock *lock;
};

static void *setup(void)
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    ASSERT_OK(shoal_lock_create(&s->lock, NULL));
    family_ready(s->note);
    return s;
}

enum { SIZE = 700 };

/* Only the victim has it: if its child did not hold it, it would be freed with the victim. */
static void own(struct state *s)
{
    ASSERT_OK(shoal_memory_create(&s->memory, SIZE, NULL));
    memset(shoal_memory_address(s->memory), 0x3c, SIZE);
    ASSERT_OK(shoal_memory_reference(s->memory, &s->note->reference));
}

static void prepare(void *p)
{
    family_prepare(p);
    own(p);
}

static void check_memory(struct state *s)
{
    const unsigned char *bytes = shoal_memory_address(s->memory);

    ASSERT_NOT_NULL(bytes);
    for (int i = 0; i < SIZE; i++)
        ASSERT_EQ_INT(bytes[i], 0x3c);
}

/* What the child does: it looks when its parent is gone, if it is to go, and others have used what was free. */
static int child(void *p)
{
    struct state *s = p;
    struct timespec t = {0, 500000};

    while (!kill_victim_was_killed() && !__atomic_load_n(&s->note->at[0], __ATOMIC_SEQ_CST))
        nanosleep(&t, NULL);
    check_memory(s);
    ASSERT_OK(shoal_lock_acquire(s->lock, SHOAL_FOREVER));
    ASSERT_OK(shoal_lock_release(s->lock));
    check_memory(s);
    return 7;
}

static void fork_and_close(void *p)
{
    struct state *s = p;
    pid_t pid = fork();

    ASSERT_SYS(pid);
    if (!pid) {
        child(s);
        exit(0);
    }
    shoal_memory_close(s->memory);
}

/* What the parent closed is the child's still: what is created now lies elsewhere. */
static void reap(void *p)
{
    struct state *s = p;
    shoal_memory *memory[2];
    int status;

    for (int k = 0; k < 2; k++) {
        ASSERT_OK(shoal_memory_create(&memory[k], SIZE, NULL));
        memset(shoal_memory_address(memory[k]), 0xee, SIZE);
    }
    __atomic_store_n(&s->note->at[0], 1, __ATOMIC_SEQ_CST);
    while (wait(&status) > 0)
        ASSERT_EQ_INT(status, 0);
    for (int k = 0; k < 2; k++)
        shoal_memory_close(memory[k]);
}

static int child_at_once(void *p)
{
    struct state *s = p;

    check_memory(s);
    return 7;
}

static void start_and_join(void *p)
{
    struct state *s = p;
    shoal_process *process;
    int code;

    ASSERT_OK(shoal_process_start(&process, child_at_once, s, NULL));
    ASSERT_OK(shoal_process_join(process, SHOAL_FOREVER));
    ASSERT_OK(shoal_process_exit_code(process, &code));
    ASSERT_EQ_INT(code, 7);
    ASSERT_OK(shoal_process_close(process));
}

static void join_only(void *p)
{
    struct state *s = p;
    shoal_process *process = NULL;

    (void)s;
    ASSERT_OK(shoal_process_start(&process, child_at_once, p, NULL));
    ASSERT_OK(shoal_process_join(process, SHOAL_FOREVER));
}

/* Whatever was free is written to: what a child holds must not be among it. */
static void survive(void *p, int i)
{
    struct state *s = p;
    shoal_memory *memory[8];

    (void)i;
    for (int k = 0; k < 8; k++) {
        ASSERT_OK(shoal_memory_create(&memory[k], SIZE, NULL));
        memset(shoal_memory_address(memory[k]), 0xee, SIZE);
    }
    ASSERT_OK(shoal_lock_acquire(s->lock, SHOAL_FOREVER));
    ASSERT_OK(shoal_lock_release(s->lock));
    for (int k = 0; k < 8; k++)
        shoal_memory_close(memory[k]);
}

static void last(void *p)
{
    struct state *s = p;

    family_settle();
    ASSERT_ERR(shoal_memory_open(&s->memory, &s->note->reference), -ESTALE);
    family_check(s->note->before);
}

static void last_of_birth(void *p)
{
    struct state *s = p;

    family_settle();
    family_check(s->note->before);
}

static void use_lock(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_lock_acquire(s->lock, SHOAL_FOREVER));
    ASSERT_OK(shoal_lock_release(s->lock));
}

static void make_room(void *p, int i)
{
    (void)i;
    kill_await_begun();
    family_prepare(p);
}

KILL_SCENARIO(fork_with_holds, .setup = setup, .prepare = prepare, .victim = fork_and_close,
              .after = reap, .survivor = survive, .final = last);
/* The lower slots stay reserved: the child's is one that nobody had yet. */
static void own_only(void *p)
{
    own(p);
}

static void last_with_spares(void *p)
{
    family_prepare(p);
    last(p);
}

KILL_SCENARIO(fork_beyond_all_slots, .setup = setup, .prepare = own_only, .victim = fork_and_close,
              .after = reap, .survivor = survive, .final = last_with_spares);
KILL_SCENARIO(process_start_and_join, .setup = setup, .prepare = prepare, .victim = start_and_join,
              .survivor = survive, .final = last);
KILL_SCENARIO(process_join, .setup = setup, .prepare = prepare, .victim = join_only,
              .survivor = survive, .final = last);
KILL_SCENARIO(born, .setup = setup, .victim = use_lock, .partner = make_room, .survivor = survive,
              .final = last_of_birth, .flags = KILL_FROM_BIRTH);
