/* process.c: forks, starts and joins. The parent dies anywhere inside a fork; what its child inherited stays. The child dies anywhere while it is being born. */
#define _GNU_SOURCE
#include "family.h"

#include "region/life.h"
#include "region/object.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
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

/* ---- the parent dooms its child, as the beginning of the end of a tree, and kills it ---- */

static int child_until_over(void *p)
{
    struct timespec t = {0, 500000};

    (void)p;
    while (!kill_victim_was_killed())
        nanosleep(&t, NULL);
    return 0;
}

static void doom(void *p)
{
    shoal_process *process;

    ASSERT_OK(shoal_process_start(&process, child_until_over, p, NULL));
    pid_t pid = shoal_process_pid(process);
    for (uint32_t i = 1; i < view.region->slots_high; i++)
        if (slot_at(i)->pid == pid)
            ASSERT_TRUE(life_doom(i, (uint32_t)(slot_at(i)->word >> 32)));
    ASSERT_OK(shoal_process_kill(process));
}

static void join_doomed(void *p)
{
    struct state *s = p;
    int status;

    s->note->dead++;
    while (wait(&status) > 0)
        ;
}

KILL_SCENARIO(process_doomed, .setup = setup, .prepare = family_prepare, .victim = doom,
              .after = join_doomed, .survivor = survive, .final = last_of_birth);

/* ---- a child that ran no handler: a bare system call made it. Its page was wiped, its thread is called what its parent is ---- */

static owner_t parent;

static void *setup_bare(void)
{
    struct state *s = setup();

    /* otherwise it is its parent's alone */
    ASSERT_OK(shoal_lock_reference(s->lock, &s->note->reference));
    parent = shoal_thread.me;
    return s;
}

static void prepare_bare(void *p)
{
    family_prepare(p);
    family_leave();
    process_self = (struct process){.slot = 0};
    shoal_thread.me = parent;
}

static void attach_bare(void *p)
{
    use_lock(p);
    ASSERT_EQ_U64(slot_at(family_slot())->parent, owner_record(parent));
}

KILL_SCENARIO(attach_of_a_bare_child, .setup = setup_bare, .prepare = prepare_bare,
              .victim = attach_bare, .survivor = survive, .final = last_of_birth);

/* ---- what a child finds in the middle of its parent's other threads' work: an object that one creates, and one that one has closed ---- */

static void *setup_several(void)
{
    struct state *s = setup();
    shoal_memory *made, *closed;

    ASSERT_OK(shoal_memory_create(&made, SIZE, NULL));
    ASSERT_OK(shoal_memory_create(&closed, SIZE, NULL));
    struct handle *handle = handle_of(closed), was = *handle;
    shoal_memory_close(closed);
    atomic_store(&handle->check, atomic_load(&was.check));
    handle->header = was.header;
    handle->generation = was.generation;
    handle->refs = 1;
    atomic_store(&handle_of(made)->check, 0);
    atomic_fetch_add(&process_self.threads, 1);
    family_ready(s->note);
    return s;
}

KILL_SCENARIO(born_beside_threads, .setup = setup_several, .victim = use_lock, .partner = make_room,
              .survivor = survive, .final = last_of_birth, .flags = KILL_FROM_BIRTH);

/* ---- a child that is about to be another program, and the program, which joins ---- */

static struct birth of_exec = {.flags = BIRTH_EXEC};
static int forks;

static void before_exec(void)
{
    static const char name[NAME] = "program";

    if (++forks == 2) /* the partner is the first, the victim the second */
        self_start_begin(&of_exec, name, name);
}

static void after_exec(void)
{
    self_start_end();
}

static void *setup_exec(void)
{
    struct state *s = setup();

    ASSERT_OK(shoal_lock_reference(s->lock, &s->note->reference));
    forks = 0;
    ASSERT_EQ_INT(pthread_atfork(before_exec, after_exec, NULL), 0);
    return s;
}

/* As the new image, which has mapped nothing yet; the kernel gives it the same place again. */
static void join(void *p)
{
    struct state *s = p;
    char text[96];
    int fd = dup(region_fd());

    snprintf(text, sizeof(text), SELF_FORMAT, fd, of_exec.slot, of_exec.generation,
             slot_at(of_exec.slot)->parent, (unsigned)slot_at(of_exec.slot)->parent_generation, 0u);
    ASSERT_SYS(setenv(SELF_ENVIRONMENT, text, 1));
    ASSERT_OK(shoal_detach());
    ASSERT_OK(shoal_lock_open(&s->lock, &s->note->reference));
    use_lock(p);
    ASSERT_EQ_INT(family_slot(), of_exec.slot);
}

KILL_SCENARIO(born_to_be_a_program, .setup = setup_exec, .victim = join, .partner = make_room,
              .survivor = survive, .final = last_of_birth, .flags = KILL_FROM_BIRTH);

/* ---- what a reference names is another's, and of another type ---- */

static void own_lock(void *p, int i)
{
    struct state *s = p;
    shoal_lock *lock;

    (void)i;
    ASSERT_OK(shoal_lock_create(&lock, NULL));
    ASSERT_OK(shoal_lock_reference(lock, &s->note->reference));
    kill_partner_ready();
    kill_await_over();
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_FOREVER));
    ASSERT_OK(shoal_lock_release(lock));
    shoal_lock_close(lock);
}

static void open_as_memory(void *p)
{
    struct state *s = p;

    ASSERT_ERR(shoal_memory_open(&s->memory, &s->note->reference), -EINVAL);
}

KILL_SCENARIO(open_as_another_type, .setup = setup, .prepare = family_prepare,
              .victim = open_as_memory, .partner = own_lock, .survivor = survive,
              .final = last_of_birth);
