/* memory.c: creating, opening, closing and inheriting objects, killed everywhere; then nothing may have leaked. */
#define _GNU_SOURCE
#include "family.h"

#include "region/object.h"
#include "region/wait.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct state {
    struct note *note;
    size_t size;
    const char *name;
    int fill; /* so many of the size were created before: 64 fill a group */
    int stale;
    shoal_lock *lock;
    shoal_memory *memory;
    shoal_memory *others[64];
};

static void *setup_size(size_t size, const char *name, int fill)
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    s->size = size;
    s->name = name;
    s->fill = fill;
    family_ready(s->note);
    return s;
}

static void create(struct state *s, shoal_memory **ret)
{
    int zero = s->size <= 256; /* each instruction of it is a step */
    shoal_memory_options options = {.name = s->name, .flags = zero ? SHOAL_ZERO : 0};

    ASSERT_OK(shoal_memory_create(ret, s->size, &options));
    unsigned char *bytes = shoal_memory_address(*ret);
    if (zero)
        ASSERT_EQ_INT(bytes[0] | bytes[s->size - 1], 0);
    bytes[0] = 0xa5;
    bytes[s->size - 1] = 0xa5;
}

/* What the victim creates in has been used by it before: its own group is nearly full, or there is none yet. */
static void prepare(void *p)
{
    struct state *s = p;

    family_prepare(p);
    for (int i = 0; i < s->fill; i++)
        create(s, &s->others[i]);
}

static void create_and_close(void *p)
{
    struct state *s = p;
    shoal_memory *memory, *second;

    create(s, &memory);
    create(s, &second);
    shoal_memory_close(memory);
    shoal_memory_close(second);
}

static void survive(void *p, int i)
{
    (void)i;
    create_and_close(p);
}

static void last(void *p)
{
    struct state *s = p;

    family_settle();
    family_check(s->note->before);
}

/* To repair; where a repairer creates too, each instruction of that is stepped over for each state that a victim left. */
static void look(void *p)
{
    (void)p;
    family_look();
}

/* A repairer meets the same for each size that comes from a group, and for each that has a run of its own: of each kind one has a
 * state. */
#define CREATES(id, size, name, fill, ...)                              \
    static void *setup_##id(void)                                       \
    {                                                                   \
        return setup_size(size, name, fill);                            \
    }                                                                   \
    KILL_SCENARIO(create_##id, .setup = setup_##id, .prepare = prepare, \
                  .victim = create_and_close, .survivor = survive, .final = last, __VA_ARGS__)

CREATES(of_64, 64, NULL, 0, .repair = look, .state = family_state);
CREATES(in_a_group_of_its_own, 64, NULL, 3, .state = family_state);
CREATES(in_a_full_group, 128, NULL, 63, .repair = NULL);
CREATES(of_200, 200, NULL, 0, .repair = NULL);
CREATES(named, 1000, "a name", 1, .repair = look, .state = family_state);
CREATES(of_4096, 4096, NULL, 0, .repair = NULL);
CREATES(of_5000, 5000, NULL, 0, .repair = NULL);
CREATES(of_5000_named, 5000, "a name", 1, .state = family_state);

/* ---- locks: a header without payload ---- */

static void lock_create_and_close(void *p)
{
    struct state *s = p;
    shoal_sync_options named = {.name = s->name};
    shoal_lock *lock;

    ASSERT_OK(shoal_lock_create(&lock, s->name ? &named : NULL));
    ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_NOW), 0);
    shoal_lock_close(lock);
}

static void lock_survive(void *p, int i)
{
    (void)i;
    lock_create_and_close(p);
}

static void *setup_locks(void)
{
    return setup_size(0, NULL, 0);
}

static void *setup_lock_named(void)
{
    return setup_size(0, "a name", 0);
}

KILL_SCENARIO(create_lock, .setup = setup_locks, .prepare = family_prepare,
              .victim = lock_create_and_close, .survivor = lock_survive, .final = last,
              .state = family_state);
KILL_SCENARIO(create_lock_named, .setup = setup_lock_named, .prepare = family_prepare,
              .victim = lock_create_and_close, .survivor = lock_survive, .final = last);

/* ---- opened by reference ---- */

static void own(struct state *s)
{
    create(s, &s->memory);
    memset(shoal_memory_address(s->memory), 0x77, s->size);
    ASSERT_OK(shoal_memory_reference(s->memory, &s->note->reference));
}

/* The partner has it and keeps it. */
static void own_until_over(void *p, int i)
{
    (void)i;
    own(p);
    kill_partner_ready();
    kill_await_over();
    struct state *s = p;
    ASSERT_EQ_INT(*(unsigned char *)shoal_memory_address(s->memory), 0x77);
    shoal_memory_close(s->memory);
}

static void open_it(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_memory_open(&s->memory, &s->note->reference));
    ASSERT_EQ_INT(((unsigned char *)shoal_memory_address(s->memory))[s->size - 1], 0x77);
}

static void prepare_open(void *p)
{
    family_prepare(p);
    open_it(p);
}

static void open_and_close(void *p)
{
    struct state *s = p;

    open_it(p);
    shoal_memory_close(s->memory);
}

static void close_it(void *p)
{
    struct state *s = p;

    shoal_memory_close(s->memory);
}

static void open_or_stale(void *p, int i)
{
    struct state *s = p;

    (void)i;
    int rc = shoal_memory_open(&s->memory, &s->note->reference);
    if (rc == -ESTALE)
        return;
    ASSERT_OK(rc);
    ASSERT_EQ_INT(((unsigned char *)shoal_memory_address(s->memory))[s->size - 1], 0x77);
    shoal_memory_close(s->memory);
}

static void open_stale(void *p)
{
    struct state *s = p;

    ASSERT_ERR(shoal_memory_open(&s->memory, &s->note->reference), -ESTALE);
}

static void last_and_stale(void *p)
{
    struct state *s = p;

    family_settle();
    ASSERT_ERR(shoal_memory_open(&s->memory, &s->note->reference), -ESTALE);
    family_check(s->note->before);
}

/* The partner makes it and goes once the victim holds it too: so the victim is the last. */
static void own_until_held(void *p, int i)
{
    struct state *s = p;

    (void)i;
    own(p);
    kill_partner_ready();
    kill_await_begun();
    shoal_memory_close(s->memory);
    __atomic_store_n(&s->note->at[0], 1, __ATOMIC_SEQ_CST);
}

static void close_when_begun(void *p, int i)
{
    struct state *s = p;

    (void)i;
    own(p);
    kill_partner_ready();
    kill_await_begun();
    shoal_memory_close(s->memory);
}

static void *setup_small(void)
{
    return setup_size(500, NULL, 0);
}

static void *setup_large(void)
{
    return setup_size(9000, NULL, 0);
}

KILL_SCENARIO(open_by_reference, .setup = setup_small, .prepare = family_prepare,
              .victim = open_and_close, .partner = own_until_over, .survivor = open_or_stale,
              .final = last_and_stale, .state = family_state);
KILL_SCENARIO(open_what_is_gone, .setup = setup_small, .prepare = family_prepare,
              .victim = open_stale, .partner = close_when_begun, .survivor = open_or_stale,
              .final = last_and_stale);
KILL_SCENARIO(close_as_the_last, .setup = setup_small, .prepare = prepare_open, .victim = close_it,
              .partner = own_until_held, .survivor = open_or_stale, .final = last_and_stale,
              .state = family_state);
/* Its creator closes it, and can open it again, as the victim holds it still. */
static void own_and_open_again(void *p, int i)
{
    struct state *s = p;

    own_until_held(p, i);
    int rc = shoal_memory_open(&s->memory, &s->note->reference);
    if (kill_victim_was_killed() && rc == -ESTALE)
        return;
    ASSERT_OK(rc);
    family_set(&s->note->at[1]);
    shoal_memory_close(s->memory);
}

static void close_when_opened(void *p)
{
    struct state *s = p;

    family_await(&s->note->at[1]);
    close_it(p);
}

KILL_SCENARIO(close_after_its_creator, .setup = setup_small, .prepare = prepare_open,
              .victim = close_when_opened, .partner = own_and_open_again, .survivor = open_or_stale,
              .final = last_and_stale);
KILL_SCENARIO(close_large_as_the_last, .setup = setup_large, .prepare = prepare_open,
              .victim = close_it, .partner = own_until_held, .survivor = open_or_stale,
              .final = last_and_stale, .state = family_state);
KILL_SCENARIO(close_one_of_two, .setup = setup_large, .prepare = prepare_open, .victim = close_it,
              .partner = own_until_over, .survivor = open_or_stale, .final = last_and_stale,
              .state = family_state);

/* ---- of the whole family: made in setup, held by everybody ---- */

static void *setup_shared(void)
{
    struct state *s = setup_size(900, NULL, 0);

    own(s);
    family_ready(s->note);
    return s;
}

KILL_SCENARIO(close_inherited, .setup = setup_shared, .prepare = family_prepare, .victim = close_it,
              .survivor = open_or_stale, .final = last, .state = family_state);

/* A program that was started by exec has not opened what it inherited: here it forgets that it has. */
static void prepare_unopened(void *p)
{
    struct state *s = p;

    family_prepare(p);
    atomic_store(&handle_of(s->memory)->check, 0);
    atomic_store(&handle_of(s->memory)->shared, HANDLE_INHERITED);
}

static void release_unopened(void *p)
{
    (void)p;
    object_release_unopened();
}

KILL_SCENARIO(release_unopened, .setup = setup_shared, .prepare = prepare_unopened,
              .victim = release_unopened, .survivor = open_or_stale, .final = last);

static void prepare_opened(void *p)
{
    struct state *s = p;

    prepare_open(p);
    atomic_store(&handle_of(s->memory)->check, 0);
    atomic_store(&handle_of(s->memory)->shared, HANDLE_INHERITED);
}

/* Its creator has closed it by then. */
static void release_the_last(void *p)
{
    struct state *s = p;

    family_await(&s->note->at[0]);
    object_release_unopened();
    open_stale(p);
}

KILL_SCENARIO(release_unopened_as_the_last, .setup = setup_small, .prepare = prepare_opened,
              .victim = release_the_last, .partner = own_until_held, .survivor = open_or_stale,
              .final = last_and_stale);

/* ---- two at once: one stands at each point of its call, the other does the whole of its own ---- */

static void open_perhaps(void *p)
{
    open_or_stale(p, 0);
}

static void close_when_stopped(void *p, int i)
{
    struct state *s = p;

    (void)i;
    own(p);
    kill_partner_ready();
    kill_await_stopped();
    shoal_memory_close(s->memory);
    family_set(&s->note->at[0]);
}

/* The partner closes, and then what was free is used anew. */
static void beside_close(void *p, int i)
{
    struct state *s = p;

    (void)i;
    family_await(&s->note->at[0]);
    create_and_close(s);
    open_or_stale(s, i);
}

static void beside_open(void *p, int i)
{
    open_or_stale(p, i);
    create_and_close(p);
}

KILL_SCENARIO(open_meets_close, .setup = setup_small, .prepare = family_prepare,
              .victim = open_perhaps, .partner = close_when_stopped, .survivor = open_or_stale,
              .stopped = beside_close, .final = last_and_stale);
KILL_SCENARIO(close_meets_close, .setup = setup_small, .prepare = prepare_open, .victim = close_it,
              .partner = close_when_stopped, .survivor = open_or_stale, .stopped = beside_close,
              .final = last_and_stale);
KILL_SCENARIO(close_meets_open, .setup = setup_small, .prepare = prepare_open, .victim = close_it,
              .partner = own_until_held, .survivor = open_or_stale, .stopped = beside_open,
              .final = last_and_stale);
KILL_SCENARIO(close_large_meets_open, .setup = setup_large, .prepare = prepare_open,
              .victim = close_it, .partner = own_until_held, .survivor = open_or_stale,
              .stopped = open_or_stale, .final = last_and_stale);

/* ---- the same object, or its place, in two threads of the victim: one stands at each point of its
 * call, the other creates what takes the place ---- */

/* In note->at */
enum { CREATE, HANDED_OUT, HELD_ELSEWHERE, READY, CREATED };
static pthread_t creator;
static shoal_memory *created;

static void *create_in_place(void *p)
{
    struct state *s = p;

    for (int i = 0; i < GROUP; i++) /* all of a group */
        create(s, &s->others[i]);
    s->memory = s->others[GROUP - 1];
    ASSERT_OK(shoal_memory_reference(s->memory, &s->note->reference));
    family_set(&s->note->at[HANDED_OUT]);
    family_await(&s->note->at[HELD_ELSEWHERE]);
    if (s->stale)
        shoal_memory_close(s->memory);
    family_set(&s->note->at[READY]);
    family_await(&s->note->at[CREATE]);
    create(s, &created);
    family_set(&s->note->at[CREATED]);
    return NULL;
}

static void prepare_creator(void *p)
{
    struct state *s = p;

    family_prepare(p);
    ASSERT_EQ_INT(pthread_create(&creator, NULL, create_in_place, p), 0);
    family_await(&s->note->at[READY]);
}

/* The partner holds it too, closes it when the victim stands, and has the other thread create. */
static void close_and_let_create(void *p, int i)
{
    struct state *s = p;

    (void)i;
    family_await(&s->note->at[HANDED_OUT]);
    ASSERT_OK(shoal_memory_open(&s->memory, &s->note->reference));
    if (s->stale)
        shoal_memory_close(s->memory);
    family_set(&s->note->at[HELD_ELSEWHERE]);
    kill_await_stopped();
    if (!s->stale)
        shoal_memory_close(s->memory);
    family_set(&s->note->at[CREATE]);
}

static void beside_creator(void *p, int i)
{
    struct state *s = p;

    (void)i;
    family_await(&s->note->at[CREATED]);
}

/* What the other thread has created is its own, and nobody has taken it for something else. */
static void check_created(void *p)
{
    struct state *s = p;
    struct handle *handle;

    family_set(&s->note->at[CREATE]);
    ASSERT_EQ_INT(pthread_join(creator, NULL), 0);
    handle = handle_of(created);
    ASSERT_EQ_U64(atomic_load(&handle->header->state),
                  state_make(handle->generation, 0, OBJECT_LIVE));
    ASSERT_EQ_INT(hold_row(header_id(handle->header) / GROUP,
                           process_self.slot)[header_id(handle->header) % GROUP],
                  HOLD_HELD);
    shoal_memory_close(created);
    for (int i = 0; i < GROUP - 1; i++)
        shoal_memory_close(s->others[i]);
}

/* The other thread is in the middle of creating while the victim goes on: it waits for the guard of
 * the unit map, which the partner has. */
static void close_and_let_begin_to_create(void *p, int i)
{
    struct state *s = p;
    struct timespec t = {0, 5000000};

    (void)i;
    family_await(&s->note->at[HANDED_OUT]);
    ASSERT_OK(shoal_memory_open(&s->memory, &s->note->reference));
    family_set(&s->note->at[HELD_ELSEWHERE]);
    kill_await_stopped();
    shoal_memory_close(s->memory);
    ASSERT_TRUE(owner_try(&view.region->guard, shoal_thread.me));
    family_set(&s->note->at[CREATE]);
    nanosleep(&t, NULL);
    family_set(&s->note->at[CREATED]);
    while (kill_victim_is_stopped())
        nanosleep(&t, NULL);
    nanosleep(&t, NULL);
    owner_release(&view.region->guard, &view.region->guard_event);
}

/* ---- another thread forks: what the child's handles name is its own ---- */

static void check_if_open(struct state *s)
{
    struct handle *handle = handle_of(s->memory);
    shoal_reference reference;
    int rc = shoal_memory_reference(s->memory, &reference);

    if (rc == -EBADF)
        return;
    ASSERT_OK(rc);
    uint64_t state = atomic_load(&handle->header->state);
    ASSERT_EQ_INT(state_status(state), OBJECT_LIVE);
    ASSERT_EQ_U64(state_generation(state), handle->generation);
}

static void *fork_when_told(void *p)
{
    struct state *s = p;
    int status;

    family_set(&s->note->at[READY]);
    family_await(&s->note->at[CREATE]);
    pid_t pid = fork();
    ASSERT_SYS(pid);
    if (!pid) {
        family_set(&s->note->at[CREATED]);
        family_await(&s->note->at[HELD_ELSEWHERE]); /* closed by now */
        check_if_open(s);
        exit(0);
    }
    ASSERT_EQ_INT(waitpid(pid, &status, 0), pid);
    ASSERT_EQ_INT(status, 0);
    return NULL;
}

static void prepare_forker(void *p)
{
    struct state *s = p;

    family_prepare(p);
    create(s, &s->memory);
    ASSERT_EQ_INT(pthread_create(&creator, NULL, fork_when_told, p), 0);
    family_await(&s->note->at[READY]);
}

static void let_fork(void *p, int i)
{
    struct state *s = p;

    (void)i;
    kill_await_stopped();
    family_set(&s->note->at[CREATE]);
}

static void check_forked(void *p)
{
    struct state *s = p;

    family_set(&s->note->at[HELD_ELSEWHERE]);
    family_set(&s->note->at[CREATE]);
    ASSERT_EQ_INT(pthread_join(creator, NULL), 0);
}

KILL_SCENARIO(close_meets_fork, .setup = setup_small, .prepare = prepare_forker, .victim = close_it,
              .after = check_forked, .partner = let_fork, .stopped = beside_creator, .final = last,
              .flags = KILL_EVERY_INSTRUCTION);

static void *setup_stale(void)
{
    struct state *s = setup_small();

    s->stale = 1;
    return s;
}

KILL_SCENARIO(close_meets_create, .setup = setup_small, .prepare = prepare_creator,
              .victim = close_it, .after = check_created, .partner = close_and_let_create,
              .stopped = beside_creator, .final = last_and_stale);
KILL_SCENARIO(close_meets_creating, .setup = setup_large, .prepare = prepare_creator,
              .victim = close_it, .after = check_created, .partner = close_and_let_begin_to_create,
              .stopped = beside_creator, .final = last_and_stale);
KILL_SCENARIO(open_what_is_gone_meets_create, .setup = setup_stale, .prepare = prepare_creator,
              .victim = open_stale, .after = check_created, .partner = close_and_let_create,
              .stopped = beside_creator, .final = last_and_stale);

/* ---- reserved memory is full, and afterwards everything works ---- */

static void create_too_much(void *p)
{
    struct state *s = p;
    shoal_memory *memory;

    ASSERT_ERR(shoal_memory_create(&memory, 100 << 20, NULL), -ENOMEM);
    create_and_close(s);
}

KILL_SCENARIO(create_too_large, .setup = setup_large, .prepare = family_prepare,
              .victim = create_too_much, .survivor = survive, .final = last);

/* ---- joining and leaving the family ---- */

static void detach(void *p)
{
    (void)p;
    ASSERT_OK(shoal_detach());
}

static void prepare_detached(void *p)
{
    family_prepare(p);
    family_leave();
}

static void prepare_holds(void *p)
{
    struct state *s = p;

    family_prepare(p);
    for (int i = 0; i < 3; i++)
        create(s, &s->others[i]);
}

static void attach(void *p)
{
    struct state *s = p;

    create(s, &s->memory);
}

KILL_SCENARIO(detach, .setup = setup_large, .prepare = prepare_holds, .victim = detach,
              .repair = look, .survivor = survive, .final = last, .state = family_state);
/* Others look at one who leaves and is stopped in the middle; if they free its slot, one of the newborns takes it, whom the leaver must not
 * harm. (So many that one does, whatever other slots become free.) */
enum { NEWBORNS = 5 };

static void *setup_with_lock(void)
{
    struct state *s = setup_small();

    ASSERT_OK(shoal_lock_create(&s->lock, NULL));
    family_ready(s->note);
    return s;
}

static void look_and_fork(void *p, int i)
{
    struct state *s = p;
    int status;

    (void)i;
    kill_partner_ready();
    kill_await_stopped();
    family_look();
    for (int k = 0; k < NEWBORNS; k++) {
        pid_t pid = fork();
        ASSERT_SYS(pid);
        if (!pid) {
            if (!k)
                ASSERT_OK(shoal_lock_acquire(s->lock, SHOAL_FOREVER));
            __atomic_add_fetch(&s->note->at[0], 1, __ATOMIC_SEQ_CST);
            kill_await_over();
            family_alive();
            if (!k)
                ASSERT_OK(shoal_lock_release(s->lock));
            exit(0);
        }
    }
    for (int k = 0; k < NEWBORNS; k++) {
        ASSERT_SYS(wait(&status));
        ASSERT_EQ_INT(status, 0);
    }
}

static void beside_newborn(void *p, int i)
{
    struct state *s = p;

    (void)i;
    while (__atomic_load_n(&s->note->at[0], __ATOMIC_SEQ_CST) < NEWBORNS &&
           kill_victim_is_stopped())
        usleep(1000);
    family_look();
}

static void last_without_spares(void *p)
{
    family_prepare(p);
    last(p);
}

KILL_SCENARIO(detach_meets_look, .setup = setup_with_lock, .victim = detach,
              .partner = look_and_fork, .survivor = survive, .stopped = beside_newborn,
              .final = last_without_spares);
/* The same for one who looks at the dead, and is stopped: another may be quicker. */
static void die_at_once(void *p)
{
    (void)p;
}

static void prepare_dead(void *p)
{
    family_die_after(die_at_once, p);
}

KILL_SCENARIO(look_meets_look, .setup = setup_with_lock, .prepare = prepare_dead, .victim = look,
              .partner = look_and_fork, .survivor = survive, .stopped = beside_newborn,
              .final = last_without_spares);

/* Somebody sleeps, and watches, while the victim leaves: wherever that ends, its slot becomes free, and nobody else looks. */
static void *setup_with_held_lock(void)
{
    struct state *s = setup_with_lock();

    ASSERT_EQ_INT(shoal_lock_acquire(s->lock, SHOAL_FOREVER), 0); /* by the case's process */
    return s;
}

static void watch(void *p, int i)
{
    struct state *s = p;

    (void)i;
    kill_partner_ready();
    ASSERT_EQ_INT(shoal_lock_acquire(s->lock, SHOAL_FOREVER), 0);
    ASSERT_OK(shoal_lock_release(s->lock));
}

static void note_slot(void *p)
{
    struct state *s = p;

    family_prepare(p);
    /* While the victim was STARTING the watcher woke up every 20 ms by itself: that would hide that nobody wakes it. */
    usleep(100000);
    s->note->at[0] = (int)family_slot();
}

static void await_free_slot(void *p, int i)
{
    struct state *s = p;

    (void)i;
    while (!family_is_free((unsigned)s->note->at[0]))
        usleep(1000);
    /* the first call: until now only the partner could repair */
    ASSERT_OK(shoal_lock_release(s->lock));
}

KILL_SCENARIO(detach_beside_a_watcher, .setup = setup_with_held_lock, .prepare = note_slot,
              .victim = detach, .partner = watch, .survivor = await_free_slot, .survivors = 1,
              .final = last);
KILL_SCENARIO(attach, .setup = setup_small, .prepare = prepare_detached, .victim = attach,
              .survivor = survive, .final = last, .state = family_state);
