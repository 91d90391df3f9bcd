/* pool.c: pools. The victim is a worker, led through the worker's own code; a partner is the process whose pool it is, with the real code,
 * and takes the victim in as worker 0 of its pool, which it did not start itself. Or the other way round: the victim is that process, and a
 * partner is its worker.
 *
 * What a worker does is asked for by orders; what has been done is counted outside of the region. */
#define _GNU_SOURCE
#include "family.h"

#include "pool/pool.h"
#include "pool/worker.h"
#include "region/life.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
    ITEMS = 6,
    FAILS = 1 /* this one of them, if any */,
    LONG = 300,
    MOST = 1000,
    OTHERS = 10,
    UNTIL_ASLEEP = 2
};

/* What the processes of a case tell one another. */
static struct common {
    struct worker_start start;
    uint32_t slot, generation; /* of whoever is taken in */
    pid_t pid;
    int there, attached, adopted;     /* the pool; its worker; and both know */
    int entered, release;             /* of a function that waits */
    int given;                        /* a task, to who sleeps */
    int over;                         /* what is to happen beside the stopped one has happened */
    int item_waits;                   /* UNTIL_ASLEEP */
    int refuse;                       /* initializers */
    int runs[4];                      /* of the function, by number of the order */
    int calls[ITEMS], victims[ITEMS]; /* of items: all, and by the victim */
} * share;

static bool is_taken_in; /* a worker that the pool's process did not start */

struct state {
    struct note *note;
    int workers;
    bool threaded, fails;
    shoal_memory *memory; /* where a result goes */
    shoal_task_options options;
    struct order *order; /* what the victim is to do; NULL: a map */
};

/* The pool's process: its handles. */
static shoal_pool *pool;

static struct own *own_of(void)
{
    int rc;
    struct own *p = pool_of(pool, "pool.c", &rc);

    ASSERT_NOT_NULL(p);
    return p;
}

/* ---- what workers do ---- */

struct order {
    unsigned number;
    size_t argument, result; /* sizes */
    int value;               /* what the function returns; with a sentence of `result` bytes */
    bool any, unknown;
    unsigned char waits; /* for `release`, or UNTIL_ASLEEP */
};

static void sentence(char *to, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[i] = (char)('a' + i % 26);
    to[size] = 0;
}

static void wait_as_told(unsigned char how)
{
    if (how == UNTIL_ASLEEP) {
        kill_await_asleep(1); /* the pool's process waits for it, each time */
    } else if (how) {
        family_set(&share->entered);
        family_await(&share->release);
    }
}

static int work(shoal_task *task)
{
    struct order order;
    size_t size;
    const unsigned char *bytes = shoal_task_bytes(task, &size);
    char said[300];
    void *to;

    memcpy(&order, bytes, sizeof(order) < size ? sizeof(order) : size);
    if (size > sizeof(order))
        ASSERT_EQ_INT(bytes[size - 1], 0x5c);
    __atomic_add_fetch(&share->runs[order.number], 1, __ATOMIC_SEQ_CST);
    wait_as_told(order.waits);
    if (order.value) {
        sentence(said, order.result);
        return shoal_task_fail(order.value, "%s", said);
    }
    if (order.any) {
        unsigned char many[MOST];
        memset(many, 0x3b, order.result);
        shoal_any *any = shoal_any_bytes(many, order.result);
        ASSERT_NOT_NULL(any);
        int rc = shoal_task_return(task, any);
        shoal_any_free(any);
        return rc;
    }
    ASSERT_OK(shoal_task_reserve(task, &to, order.result));
    memset(to, 0x3b, order.result);
    return 0;
}

/* An order in the unit: its argument is short. */
static int work_short(shoal_task *task)
{
    size_t size;
    const unsigned char *bytes = shoal_task_bytes(task, &size);

    ASSERT_EQ_INT(size, 3);
    __atomic_add_fetch(&share->runs[bytes[0]], 1, __ATOMIC_SEQ_CST);
    wait_as_told(bytes[1]);
    if (bytes[2] == 1)
        return shoal_task_fail(7, "no");
    return shoal_task_return_bytes(task, "12345678", 8);
}

/* The pool's process alone gives it a name, so the victim does not know it. */
static int unknown(shoal_task *task)
{
    (void)task;
    return 3;
}

/* Functions that nobody has asked for. */
#define OTHER(n)                           \
    static int other_##n(shoal_task *task) \
    {                                      \
        (void)task;                        \
        FAIL("function %d was called", n); \
        return n;                          \
    }
OTHER(0)
OTHER(1)
OTHER(2)
OTHER(3)
OTHER(4)
OTHER(5)
OTHER(6)
OTHER(7)
OTHER(8)
OTHER(9)
static const shoal_function others[OTHERS] = {other_0, other_1, other_2, other_3, other_4,
                                              other_5, other_6, other_7, other_8, other_9};

static int count_item(const void *in, void *out)
{
    int i = *(const int *)in;

    if (is_taken_in)
        share->victims[i]++;
    __atomic_add_fetch(&share->calls[i], 1, __ATOMIC_SEQ_CST);
    *(int *)out = i * i;
    if (i == 0 && share->item_waits)
        kill_await_asleep(1);
    return i;
}

/* The last one takes so long that who waits sleeps by then, and has been told of the birth of whoever took the victim's place (20 ms,
 * wait.c). */
static int item(const void *in, void *out)
{
    struct timespec t = {0, 40000000};

    if (count_item(in, out) == ITEMS - 1 && !is_taken_in)
        nanosleep(&t, NULL);
    return 0;
}

static int item_that_may_fail(const void *in, void *out)
{
    count_item(in, out);
    return *(const int *)in == FAILS ? shoal_task_fail(5, "five") : 0;
}

/* ---- the pool's process ---- */

/* Of the worker whose place is to be taken: it ends at once. */
static int refuse(void *argument)
{
    (void)argument;
    return __atomic_load_n(&share->refuse, __ATOMIC_SEQ_CST);
}

static void make_pool(struct state *s)
{
    shoal_pool_options options = {.workers = s->workers,
                                  .initializer = refuse,
                                  .most_deaths = UINT_MAX};

    share->refuse = 1;
    ASSERT_OK(shoal_pool_create(&pool, &options));
    struct own *p = own_of();
    for (int i = 0; i < s->workers; i++) {
        ASSERT_OK(shoal_process_join(p->members[i].process, SHOAL_FOREVER));
        ASSERT_OK(shoal_process_close(p->members[i].process));
        p->members[i] = (struct member){.process = NULL};
        memset(&p->shared->worker[i], 0, sizeof(struct worker));
    }
    share->refuse = 0;
    share->start = (struct worker_start){.signals = p->signals, .options = p->options};
    ASSERT_OK(object_reference(pool, TYPE_POOL, "pool.c", &share->start.pool));
}

/* From now on whoever has attached is worker 0. */
static void adopt(const struct state *s)
{
    struct own *p = own_of();

    os_mutex_lock(&p->mutex);
    os_mutex_lock(&child_mutex);
    struct child *child = child_new(CLEAN);
    ASSERT_NOT_NULL(child);
    child->pid = share->pid;
    child->family = view.region->family;
    child->slot = share->slot;
    child->generation = share->generation;
    os_mutex_unlock(&child_mutex);
    p->members[0] =
        (struct member){child_handle(child), share->pid, share->slot, share->generation, 0};
    if (s->threaded)
        ASSERT_OK(thread_start(p));
    os_mutex_unlock(&p->mutex);
}

/* Before this a partner that sleeps is held to be at its place, and the victim is forked already. */
static void await_victim(const struct state *s)
{
    family_set(&share->there);
    kill_partner_ready();
    kill_await_begun();
    adopt(s);
}

/* All of those that there should be. */
static void start_workers(void)
{
    struct own *p = own_of();

    os_mutex_lock(&p->mutex);
    ASSERT_OK(workers_start(p));
    os_mutex_unlock(&p->mutex);
}

/* But for worker 0, whose place is taken for that long. */
static void start_the_other(void)
{
    struct own *p = own_of();

    os_mutex_lock(&p->mutex);
    p->members[0].process = shoal_process_current();
    ASSERT_OK(workers_start(p));
    p->members[0].process = NULL;
    os_mutex_unlock(&p->mutex);
}

/* Without the pool's thread. */
static struct result *give(shoal_function function, const void *bytes, size_t size,
                           const shoal_task_options *options)
{
    struct own *p = own_of();
    struct result *r;
    uint16_t code;

    os_mutex_lock(&p->mutex);
    ASSERT_OK(code_number(p, (const void *)(uintptr_t)function, "pool.c", &code));
    ASSERT_OK(task_give(p, &r, code, NULL, bytes, size, options, NULL, "pool.c"));
    result_hand_out(r);
    os_mutex_unlock(&p->mutex);
    return r;
}

static struct result *give_short(unsigned char number, unsigned char waits)
{
    unsigned char bytes[3] = {number, waits, 0};

    return give(work_short, bytes, sizeof(bytes), NULL);
}

/* So that whatever number a worker takes for a function's is one. */
static void name_others(void)
{
    struct own *p = own_of();
    uint16_t code;

    os_mutex_lock(&p->mutex);
    for (int i = 0; i < OTHERS; i++)
        ASSERT_OK(code_number(p, (const void *)(uintptr_t)others[i], "pool.c", &code));
    os_mutex_unlock(&p->mutex);
}

static struct result *give_order(struct state *s)
{
    struct order *o = s->order;
    unsigned char bytes[MOST];
    shoal_task_options *options =
        s->options.retries || s->options.limit > 0 || s->options.out || s->options.priority
            ? &s->options
            : NULL;

    if (o->unknown) {
        ASSERT_OK(shoal_function_register("pool.c", (shoal_code)unknown));
        name_others();
        return give(unknown, "abc", 3, options);
    }
    if (!o->argument) {
        unsigned char few[3] = {(unsigned char)o->number, o->waits, o->value != 0};
        return give(work_short, few, sizeof(few), options);
    }
    memset(bytes, 0x5c, o->argument);
    memcpy(bytes, o, sizeof(*o));
    return give(work, bytes, o->argument, options);
}

/* What a task of this order came to: 1 if it was told that its worker died. */
static int expect(struct result *r, const struct order *o, bool may_die)
{
    shoal_result *handle = cell_handle(&r->cell);
    const void *got;
    const unsigned char *bytes;
    size_t size, result = o->argument ? o->result : o->value ? 2 : 8;
    shoal_failure f;
    char said[300];
    int runs, rc = shoal_result_get(handle, &got, &size, SHOAL_FOREVER);

    runs = __atomic_load_n(&share->runs[o->number], __ATOMIC_SEQ_CST);
    if (rc == -EOWNERDEAD) {
        kill_await_over();
        ASSERT_TRUE(may_die && kill_victim_was_killed());
        ASSERT_LE_INT(runs, 1);
    } else if (o->unknown) {
        ASSERT_OK(shoal_result_failure(handle, &f));
        if (rc == -ENOEXEC) {
            ASSERT_TRUE(strstr(f.text, "does not know the function") != NULL);
        } else { /* by a worker that was started later, and knows it */
            kill_await_over();
            ASSERT_TRUE(kill_victim_was_killed());
            ASSERT_ERR(rc, -EREMOTEIO);
            ASSERT_EQ_INT(f.value, 3);
        }
    } else if (o->value) {
        ASSERT_ERR(rc, -EREMOTEIO);
        ASSERT_OK(shoal_result_failure(handle, &f));
        ASSERT_EQ_INT(f.value, o->value);
        sentence(said, o->argument ? o->result : 0);
        ASSERT_STR(f.text, o->argument ? said : "no");
    } else if (o->any) {
        const shoal_any *any;
        ASSERT_OK(rc);
        ASSERT_OK(shoal_result_get_any(handle, &any, SHOAL_NOW));
        ASSERT_EQ_INT(shoal_any_kind(any), SHOAL_ANY_BYTES);
    } else {
        ASSERT_OK(rc);
        ASSERT_EQ_INT(size, result);
        bytes = got;
        for (size_t i = 0; i < size; i++)
            ASSERT_EQ_INT(bytes[i], o->argument ? 0x3b : '1' + (int)i);
    }
    shoal_result_free(handle);
    return rc == -EOWNERDEAD;
}

static const struct order plain = {.number = 1};

/* One more, which nothing may befall. */
static void go_on(unsigned char number)
{
    struct order o = plain;

    o.number = number;
    expect(give_short(number, false), &o, false);
    ASSERT_EQ_INT(share->runs[number], 1);
}

/* Nothing of a task is left: there are the pool, and its queue. */
static void check_objects(const struct state *s)
{
    shoal_statistics statistics;

    ASSERT_OK(shoal_memory_statistics(&statistics));
    ASSERT_EQ_INT(statistics.objects, s->note->before + 2);
}

static void end_pool(void)
{
    ASSERT_OK(shoal_pool_close(pool));
    ASSERT_OK(shoal_pool_join(pool, SHOAL_FOREVER));
    pool = shoal_pool_free(pool);
}

/* ---- the worker ---- */

static void attach(void)
{
    ASSERT_TRUE(worker_begin(&share->start));
    share->slot = process_self.slot;
    share->generation = process_self.generation;
    share->pid = os_getpid();
    is_taken_in = true;
    family_set(&share->attached);
}

static void prepare_worker(void *p)
{
    family_await(&share->there);
    family_prepare(p);
    attach();
}

static void step(void *p)
{
    (void)p;
    ASSERT_TRUE(worker_step());
}

/* The task may be another's by then. After it the worker ends without a word. */
static void step_if_any(void *p)
{
    (void)p;
    worker_step();
}

/* Until it sleeps, where the harness ends it. */
static void steps_to_sleep(void *p)
{
    (void)p;
    while (worker_step())
        ;
}

/* The pool, as the worker sees it. */
static struct pool *own_shared(void)
{
    return header_payload(header_at(share->start.pool.id));
}

static void remaining_steps(void *p)
{
    (void)p;
    while (worker_step())
        ;
    worker_end(&share->start);
}

/* ---- scenarios ---- */

static struct state *begin(int workers)
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    share = mmap(NULL, sizeof(*share), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_TRUE(share != MAP_FAILED);
    s->workers = workers;
    family_ready(s->note);
    return s;
}

static void *with_order(const struct order *o)
{
    struct state *s = begin(1);

    s->order = malloc(sizeof(*o));
    ASSERT_NOT_NULL(s->order);
    *s->order = *o;
    return s;
}

/* Its pool has the victim as its only worker, then another. */
static void pool_process(void *p, int i)
{
    struct state *s = p;
    struct order o = *s->order;

    (void)i;
    make_pool(s);
    await_victim(s);
    int dead = expect(give_order(s), &o, true);
    if (!dead && !o.unknown && !s->options.retries)
        ASSERT_EQ_INT(share->runs[o.number], 1);
    go_on(2);
    go_on(3);
    check_objects(s);
    end_pool();
}

static void last(void *p)
{
    struct state *s = p;

    family_settle();
    family_check(s->note->before);
}

static void *setup_short(void)
{
    return with_order(&(struct order){.number = 1});
}

static void *setup_long(void)
{
    return with_order(&(struct order){.number = 1, .argument = LONG, .result = LONG});
}

static void *setup_failing(void)
{
    return with_order(&(struct order){.number = 1, .value = 7});
}

static void *setup_failing_at_length(void)
{
    return with_order(&(struct order){.number = 1, .argument = 100, .result = 200, .value = 9});
}

static void *setup_any(void)
{
    return with_order(&(struct order){.number = 1, .argument = 100, .result = LONG, .any = true});
}

static void *setup_unknown(void)
{
    return with_order(&(struct order){.number = 1, .unknown = true});
}

static void *setup_retries(void)
{
    struct state *s = setup_short();

    s->options.retries = 1;
    return s;
}

static void *setup_out(void)
{
    struct state *s = with_order(&(struct order){.number = 1, .argument = 100, .result = LONG});

    ASSERT_OK(shoal_memory_create(&s->memory, LONG, NULL));
    s->options.out = shoal_memory_address(s->memory);
    s->options.out_size = LONG;
    family_ready(s->note);
    return s;
}

#define WORKER(name, how, way, ...)                                             \
    KILL_SCENARIO(name, .setup = how, .prepare = prepare_worker, .victim = way, \
                  .after = remaining_steps, .partner = pool_process, .final = last, __VA_ARGS__)

WORKER(pool_short_task, setup_short, step, .flags = KILL_EVERY_INSTRUCTION);
WORKER(pool_task_long, setup_long, step, .flags = 0);
WORKER(pool_task_failing, setup_failing, step, .flags = 0);
WORKER(pool_task_failing_at_length, setup_failing_at_length, step, .flags = 0);
WORKER(pool_task_any, setup_any, step, .flags = 0);
WORKER(pool_task_unknown, setup_unknown, step, .flags = 0);
WORKER(pool_task_retried, setup_retries, step, .flags = 0);
WORKER(pool_task_out, setup_out, step, .flags = 0);

/* ---- maps ---- */

/* Every item was called once and is done, but for the one at which the victim died; what failed is counted once. */
static void check_map(int rc, const int *out, const shoal_failure *f, bool fails)
{
    int dead = -1;

    if (rc == -EOWNERDEAD)
        dead = (int)f->index;
    for (int i = 0; i < ITEMS && dead < 0; i++)
        if (!share->calls[i]) /* it was about to */
            dead = i;
    for (int i = FAILS + 1; i < ITEMS && fails && dead < 0 && f->failed > 1; i++)
        if (share->victims[i]) /* it was about to go on to the next */
            dead = i;
    if (dead >= 0) {
        kill_await_over();
        ASSERT_TRUE(kill_victim_was_killed());
    }
    fails = fails && dead != FAILS;
    if (dead >= 0 && !(fails && FAILS < dead)) {
        ASSERT_ERR(rc, -EOWNERDEAD);
        ASSERT_EQ_INT(f->index, dead);
    } else if (fails) {
        ASSERT_ERR(rc, -EREMOTEIO);
        ASSERT_EQ_INT(f->index, FAILS);
        ASSERT_EQ_INT(f->value, 5);
    } else {
        ASSERT_OK(rc);
    }
    ASSERT_EQ_INT(f->failed, fails + (dead >= 0));
    for (int i = 0; i < ITEMS; i++) {
        if (i != dead)
            ASSERT_EQ_INT(share->calls[i], 1);
        if (i != dead && !rc)
            ASSERT_EQ_INT(out[i], i * i);
    }
}

/* Without the pool's thread, whose sleeps would make each way another one. */
static shoal_result *give_map(shoal_item_function function, const int *in, int *out)
{
    struct own *p = own_of();
    shoal_result *r;

    p->threaded = true;
    ASSERT_OK(
        shoal_pool_map_async(pool, &r, function, in, sizeof(int), out, sizeof(int), ITEMS, NULL));
    p->threaded = false;
    return r;
}

static void pool_process_of_map(void *p, int i)
{
    struct state *s = p;
    int in[ITEMS], out[ITEMS];
    shoal_failure f;

    for (i = 0; i < ITEMS; i++) {
        in[i] = i;
        out[i] = -1;
    }
    make_pool(s);
    await_victim(s);
    shoal_result *r = give_map(s->fails ? item_that_may_fail : item, in, out);
    int rc = shoal_result_get(r, NULL, NULL, SHOAL_FOREVER);
    ASSERT_OK(shoal_result_failure(r, &f));
    shoal_result_free(r);
    check_map(rc, out, &f, s->fails);
    go_on(2);
    go_on(3);
    family_await_sleepers(pool, 1);
    check_objects(s);
    end_pool();
}

static void *setup_map(void)
{
    return begin(1);
}

static void *setup_map_failing(void)
{
    struct state *s = begin(1);

    s->fails = true;
    return s;
}

static void step_4_times(void *p)
{
    for (int i = 0; i < 4; i++)
        step(p);
}

KILL_SCENARIO(pool_map, .setup = setup_map, .prepare = prepare_worker, .victim = step_4_times,
              .after = remaining_steps, .partner = pool_process_of_map, .final = last);
KILL_SCENARIO(pool_map_failing, .setup = setup_map_failing, .prepare = prepare_worker,
              .victim = step, .after = remaining_steps, .partner = pool_process_of_map,
              .final = last);

/* ---- the whole life of a worker ---- */

static void live(void *p)
{
    (void)p;
    ASSERT_EQ_INT(worker_main(&share->start), 0);
}

/* It attaches here too, but is known before. */
static void prepare_life(void *p)
{
    family_await(&share->there);
    family_prepare(p);
    share->slot = process_self.slot;
    share->generation = process_self.generation;
    share->pid = os_getpid();
}

/* Each of three tasks may be the one that it dies at. Nobody sleeps until it is over, so that its way does not depend on who is quick. */
static void pool_process_of_life(void *p, int i)
{
    struct state *s = p;
    struct result *r[3];
    int dead = 0;

    make_pool(s);
    await_victim(s);
    for (i = 0; i < 3; i++)
        r[i] = give_short((unsigned char)(i + 1), false);
    ASSERT_OK(shoal_pool_close(pool));
    kill_await_over();
    for (i = 0; i < 3; i++) {
        struct order o = {.number = (unsigned)i + 1};
        dead += expect(r[i], &o, true);
    }
    ASSERT_LE_INT(dead, 1);
    end_pool();
}

KILL_SCENARIO(pool_worker, .setup = setup_short, .prepare = prepare_life, .victim = live,
              .partner = pool_process_of_life, .final = last);

/* ---- a worker that sleeps until there is something to do ---- */

static void pool_process_of_sleeper(void *p, int i)
{
    struct state *s = p;
    struct order o = plain;

    (void)i;
    make_pool(s);
    await_victim(s);
    kill_await_asleep(1);
    expect(give_short(1, false), &o, true);
    go_on(2);
    end_pool();
}

KILL_SCENARIO(pool_sleeper, .setup = setup_short, .prepare = prepare_worker, .victim = step,
              .after = remaining_steps, .partner = pool_process_of_sleeper, .final = last);

/* Two tasks for two who sleep; the first of them ends only when the other one has. The victim, which slept first, is woken for the first. */
static void pool_process_of_sleepers(void *p, int i)
{
    struct state *s = p;
    struct order first = plain, second = {.number = 2};

    (void)i;
    make_pool(s);
    await_victim(s);
    kill_await_asleep(1);
    start_workers();
    family_await_sleepers(pool, 2);
    struct result *r1 = give_short(1, true), *r2 = give_short(2, false);
    expect(r2, &second, true);
    family_set(&share->release);
    expect(r1, &first, true);
    go_on(3);
    end_pool();
}

static void *setup_two(void)
{
    struct state *s = begin(2);

    s->order = calloc(1, sizeof(*s->order));
    ASSERT_NOT_NULL(s->order);
    s->order->number = 1;
    return s;
}

/* What the pool's process does while the victim stands. */
static void await_over(void *p, int i)
{
    (void)p;
    (void)i;
    family_await(&share->over);
}

KILL_SCENARIO(pool_sleepers, .setup = setup_two, .prepare = prepare_worker, .victim = step,
              .after = remaining_steps, .partner = pool_process_of_sleepers, .final = last);

/* ---- others go on beside a worker that is stopped ---- */

/* The other worker is kept busy until the victim has had its chance. */
static void pool_process_beside(void *p, int i)
{
    struct state *s = p;
    struct order busy = {.number = 0};

    (void)i;
    make_pool(s);
    p = give_short(0, true);
    start_the_other();
    family_await(&share->entered);
    await_victim(s);
    struct result *r = give_order(s);
    kill_await_stopped();
    family_set(&share->release);
    expect(p, &busy, false);
    go_on(2);
    go_on(3);
    family_set(&share->over);
    expect(r, s->order, true);
    kill_await_over();
    ASSERT_LE_INT(share->runs[s->order->number], 1);
    end_pool();
}

static void *setup_two_long(void)
{
    struct state *s = setup_two();

    s->order->argument = s->order->result = LONG;
    return s;
}

static void *setup_two_failing(void)
{
    struct state *s = setup_two();

    s->order->value = 7;
    return s;
}

#define BESIDE(name, how, way, ...)                                                     \
    KILL_SCENARIO(name, .setup = how, .prepare = prepare_worker, .victim = way,         \
                  .partner = pool_process_beside, .final = last, .stopped = await_over, \
                  .survivors = 1, __VA_ARGS__)

BESIDE(pool_task_beside_another, setup_two, step_if_any, .flags = KILL_ENDS_ASLEEP);
BESIDE(pool_task_long_beside_another, setup_two_long, steps_to_sleep, .flags = KILL_ENDS_ASLEEP);
BESIDE(pool_task_failing_beside_another, setup_two_failing, steps_to_sleep,
       .flags = KILL_ENDS_ASLEEP);

/* The victim has been woken and stands: another who sleeps is woken for what is given now. */
static void pool_process_of_woken(void *p, int i)
{
    struct state *s = p;

    (void)i;
    make_pool(s);
    await_victim(s);
    kill_await_asleep(1);
    start_workers();
    family_await_sleepers(pool, 2);
    struct result *r = give_short(1, false);
    share->given = 1;
    kill_await_stopped();
    go_on(2);
    go_on(3);
    family_set(&share->over);
    expect(r, &plain, true);
    end_pool();
}

static void await_over_if_given(void *p, int i)
{
    if (share->given)
        await_over(p, i);
}

KILL_SCENARIO(pool_sleeper_beside_another, .setup = setup_two, .prepare = prepare_worker,
              .victim = step_if_any, .partner = pool_process_of_woken, .final = last,
              .stopped = await_over_if_given, .survivors = 1, .flags = KILL_ENDS_ASLEEP);

/* ---- a worker that has claimed, and not begun ---- */

/* What it had before it had begun. */
static void prepare_second_claim(void *p)
{
    prepare_worker(p);
    struct worker *line = &own_shared()->worker[0];
    atomic_store(&line->item, 0);
}

static void claim_only(void *p)
{
    (void)p;
    ASSERT_TRUE(units_claim(own_shared(), 0) != 0);
}

/* The task is given again, and nobody is to blame. */
static void pool_process_of_claim(void *p, int i)
{
    struct state *s = p;

    (void)i;
    make_pool(s);
    await_victim(s);
    go_on(1);
    go_on(2);
    end_pool();
}

KILL_SCENARIO(pool_claim, .setup = setup_short, .prepare = prepare_second_claim,
              .victim = claim_only, .partner = pool_process_of_claim, .final = last,
              .flags = KILL_EVERY_INSTRUCTION);

/* ---- others name what they have finished, and nobody is told, while a worker is about to name its own ---- */

static void pool_process_of_finished(void *p, int i)
{
    struct state *s = p;
    struct order first = {.number = 0}, third = {.number = 2};

    (void)i;
    make_pool(s);
    struct result *r1 = give_short(0, 1);
    start_the_other();
    family_await(&share->entered);
    await_victim(s);
    struct result *r2 = give_short(1, 0);
    kill_await_stopped();
    struct result *r3 = give_short(2, 0);
    family_set(&share->release);
    family_await_sleepers(pool, 1); /* it has done them */
    family_set(&share->over);
    kill_await_over();
    expect(r1, &first, false);
    expect(r2, &plain, true);
    expect(r3, &third, false);
    end_pool();
}

KILL_SCENARIO(pool_finish_beside_another, .setup = setup_two, .prepare = prepare_worker,
              .victim = step_if_any, .partner = pool_process_of_finished, .final = last,
              .stopped = await_over, .survivors = 1, .flags = KILL_ENDS_ASLEEP);

/* ---- a callback, on the pool's thread ---- */

static void called(shoal_result *result, void *argument)
{
    int rc = shoal_result_get(result, NULL, NULL, SHOAL_NOW);

    if (rc)
        ASSERT_ERR(rc, -EOWNERDEAD);
    family_set(argument);
}

static void pool_process_that_is_called(void *p, int i)
{
    struct state *s = p;
    const unsigned char bytes[3] = {1, 0, 0};
    shoal_task_options options = {.on_success = called,
                                  .on_error = called,
                                  .argument = &share->over};

    (void)i;
    make_pool(s);
    await_victim(s);
    struct result *r = give(work_short, bytes, sizeof(bytes), &options);
    family_await(&share->over);
    expect(r, &plain, true);
    go_on(2);
    end_pool();
}

static void *setup_called(void)
{
    struct state *s = setup_short();

    s->threaded = true;
    return s;
}

KILL_SCENARIO(pool_task_with_a_callback, .setup = setup_called, .prepare = prepare_worker,
              .victim = step, .after = remaining_steps, .partner = pool_process_that_is_called,
              .final = last);

/* ---- a task that is cancelled, or whose time is up, while a worker is at it ---- */

/* The victim is led along, and must not be killed by others: it is held to be somebody else's child while the pool means to. */
static void spare(bool is)
{
    struct own *p = own_of();
    int rc;

    if (!p->members[0].process || p->members[0].pid != share->pid)
        return; /* it was killed before, and another has its place */
    const struct child *child = child_of(p->members[0].process, "pool.c", &rc);
    ASSERT_NOT_NULL(child);
    ((struct child *)(uintptr_t)child)->kind = is ? PARENT : CLEAN;
}

static void pool_process_that_ends_it(void *p, int i)
{
    struct state *s = p;
    struct own *own;
    bool cancels = !(s->options.limit > 0);
    int rc, doomed;

    (void)i;
    make_pool(s);
    await_victim(s);
    own = own_of();
    struct result *r = give_order(s);
    shoal_result *handle = cell_handle(&r->cell);
    kill_await_stopped();
    spare(true);
    if (cancels) {
        rc = shoal_result_cancel(handle);
        if (rc)
            ASSERT_ERR(rc, -EALREADY);
    } else {
        os_mutex_lock(&own->mutex);
        workers_limits(own);
        os_mutex_unlock(&own->mutex);
    }
    spare(false);
    doomed = own->members[0].reason;
    family_set(&share->over);
    kill_await_over(); /* at the latest asleep the victim is ended by the harness */
    rc = shoal_result_get(handle, NULL, NULL, SHOAL_FOREVER);
    if (doomed) {
        ASSERT_ERR(rc, doomed);
        ASSERT_ERR(rc, cancels ? -ECANCELED : -ETIME);
        ASSERT_TRUE(kill_victim_was_killed());
    } else if (rc == -EOWNERDEAD) {
        ASSERT_TRUE(kill_victim_was_killed());
    } else if (rc == -ECANCELED) {
        ASSERT_TRUE(cancels);
        ASSERT_EQ_INT(share->runs[1], 0);
    } else {
        ASSERT_OK(rc);
        ASSERT_EQ_INT(share->runs[1], 1);
    }
    shoal_result_free(handle);
    go_on(2);
    end_pool();
}

static void *setup_limit(void)
{
    struct state *s = setup_short();

    s->options.limit = 1e-9;
    return s;
}

static void *setup_cancel_long(void)
{
    return setup_long();
}

#define ENDED(name, how, way, ...)                                                            \
    KILL_SCENARIO(name, .setup = how, .prepare = prepare_worker, .victim = way,               \
                  .partner = pool_process_that_ends_it, .final = last, .stopped = await_over, \
                  .survivors = 1, __VA_ARGS__)

ENDED(pool_task_cancelled, setup_short, steps_to_sleep, .flags = KILL_ENDS_ASLEEP);
ENDED(pool_task_long_cancelled, setup_cancel_long, steps_to_sleep, .flags = KILL_ENDS_ASLEEP);
ENDED(pool_task_limited, setup_limit, steps_to_sleep, .flags = KILL_ENDS_ASLEEP);

/* A map, of whose items the victim may go on with some until it is killed: told once, and not touched afterwards. */
static void pool_process_that_ends_a_map(void *p, int i)
{
    struct state *s = p;
    int in[ITEMS], out[ITEMS];
    shoal_failure f;

    for (i = 0; i < ITEMS; i++)
        in[i] = i;
    make_pool(s);
    await_victim(s);
    shoal_result *r = give_map(item_that_may_fail, in, out);
    kill_await_stopped();
    spare(true);
    int rc = shoal_result_cancel(r);
    if (rc)
        ASSERT_ERR(rc, -EALREADY);
    spare(false);
    family_set(&share->over);
    kill_await_over();
    rc = shoal_result_get(r, NULL, NULL, SHOAL_FOREVER);
    ASSERT_OK(shoal_result_failure(r, &f));
    ASSERT_LE_INT(f.failed, ITEMS);
    if (rc == -EREMOTEIO)
        ASSERT_EQ_INT(f.index, FAILS);
    else if (rc != -EOWNERDEAD)
        ASSERT_ERR(rc, -ECANCELED);
    int calls = 0;
    for (i = 0; i < ITEMS; i++) {
        ASSERT_LE_INT(share->calls[i], 1);
        calls += share->calls[i];
    }
    if (f.failed == 1 && rc == -EREMOTEIO)
        ASSERT_EQ_INT(calls, ITEMS);
    else
        ASSERT_GE_INT(calls + (int)f.failed, ITEMS);
    shoal_result_free(r);
    go_on(2);
    family_await_sleepers(pool, 1);
    check_objects(s);
    end_pool();
}

KILL_SCENARIO(pool_map_cancelled, .setup = setup_map_failing, .prepare = prepare_worker,
              .victim = steps_to_sleep, .partner = pool_process_that_ends_a_map, .final = last,
              .stopped = await_over, .survivors = 1, .flags = KILL_ENDS_ASLEEP);

/* The pool is terminated while the victim is at its first task, and another waits. */
static void pool_process_that_terminates(void *p, int i)
{
    struct state *s = p;
    struct result *r[2];

    make_pool(s);
    await_victim(s);
    r[0] = give_order(s);
    r[1] = give_short(2, 0);
    kill_await_stopped();
    spare(true);
    ASSERT_OK(shoal_pool_terminate(pool));
    spare(false);
    family_set(&share->over);
    kill_await_over();
    ASSERT_OK(shoal_pool_join(pool, SHOAL_FOREVER));
    for (i = 0; i < 2; i++) {
        shoal_result *handle = cell_handle(&r[i]->cell);
        int rc = shoal_result_get(handle, NULL, NULL, SHOAL_NOW);
        ASSERT_LE_INT(share->runs[i + 1], 1);
        if (!rc)
            ASSERT_EQ_INT(share->runs[i + 1], 1);
        else if (rc != -EOWNERDEAD)
            ASSERT_ERR(rc, -ECANCELED);
        shoal_result_free(handle);
    }
    ASSERT_ERR(shoal_pool_apply(pool, NULL, NULL, work_short, "abc", 3, SHOAL_FOREVER), -ECANCELED);
    family_look(); /* a process that is not the pool's child is not repaired by its end */
    check_objects(s);
    pool = shoal_pool_free(pool);
}

KILL_SCENARIO(pool_terminated, .setup = setup_cancel_long, .prepare = prepare_worker,
              .victim = steps_to_sleep, .partner = pool_process_that_terminates, .final = last,
              .stopped = await_over, .survivors = 1, .flags = KILL_ENDS_ASLEEP);

/* ---- the pool's process is killed; a partner is its worker ---- */

static void worker(void *p, int i)
{
    (void)i;
    family_await(&share->there);
    attach();
    kill_partner_ready();
    remaining_steps(p);
}

static void prepare_parent(void *p)
{
    struct state *s = p;

    family_prepare(p);
    make_pool(s);
    family_set(&share->there);
    family_await(&share->attached);
    adopt(s);
    family_await_sleepers(pool, s->threaded ? 2 : 1);
}

/* Nobody but its workers has it any more, and the one that is not its child does not end with it. */
static void close_orphan(void *p, int i)
{
    shoal_pool *orphan;

    (void)p;
    (void)i;
    family_set(&share->release);
    if (object_open((void **)&orphan, TYPE_POOL, "pool.c", &share->start.pool))
        return;
    struct pool *q = header_payload(handle_of(orphan)->header);
    atomic_fetch_or(&q->closed, POOL_CLOSED);
    wait_wake(&q->work, INT_MAX);
    object_close(orphan, TYPE_POOL);
}

static void after_all(void *p)
{
    (void)p;
    family_set(&share->release);
    go_on(3);
    end_pool();
}

static void apply_it(unsigned char how)
{
    const unsigned char bytes[3] = {1, how, 0};
    void *got;
    size_t size;

    ASSERT_OK(shoal_pool_apply(pool, &got, &size, work_short, bytes, 3, SHOAL_FOREVER));
    ASSERT_EQ_INT(size, 8);
    free(got);
}

/* The victim's way goes through a sleep each time, not now and then. */
static void apply(void *p)
{
    (void)p;
    apply_it(UNTIL_ASLEEP);
}

static void apply_long(void *p)
{
    struct state *s = p;

    ASSERT_EQ_INT(expect(give_order(s), s->order, false), 0);
}

static void apply_async(void *p)
{
    const unsigned char bytes[3] = {1, UNTIL_ASLEEP, 0};
    shoal_result *r;

    (void)p;
    ASSERT_OK(shoal_pool_apply_async(pool, &r, work_short, bytes, 3, NULL));
    ASSERT_OK(shoal_result_get(r, NULL, NULL, SHOAL_FOREVER));
    shoal_result_free(r);
}

static void map(void *p)
{
    int in[ITEMS], out[ITEMS];

    (void)p;
    for (int i = 0; i < ITEMS; i++)
        in[i] = i;
    share->item_waits = 1;
    ASSERT_OK(
        shoal_pool_map(pool, item, in, sizeof(int), out, sizeof(int), ITEMS, NULL, SHOAL_FOREVER));
    for (int i = 0; i < ITEMS; i++)
        ASSERT_EQ_INT(out[i], i * i);
}

static struct result *busy;

static void prepare_busy(void *p)
{
    prepare_parent(p);
    busy = give_short(0, 1);
    family_await(&share->entered);
}

static void cancel_waiting(void *p)
{
    (void)p;
    shoal_result *r = cell_handle(&give_short(1, 0)->cell);
    ASSERT_OK(shoal_result_cancel(r));
    ASSERT_ERR(shoal_result_get(r, NULL, NULL, SHOAL_NOW), -ECANCELED);
    shoal_result_free(r);
}

static void after_busy(void *p)
{
    struct order o = {.number = 0};

    family_set(&share->release);
    expect(busy, &o, false);
    ASSERT_EQ_INT(share->runs[1], 0);
    after_all(p);
}

static void close_and_join(void *p)
{
    (void)p;
    ASSERT_OK(shoal_pool_close(pool));
    ASSERT_OK(shoal_pool_join(pool, SHOAL_FOREVER));
}

static void free_it(void *p)
{
    (void)p;
    pool = shoal_pool_free(pool);
}

/* The worker does what it was busy with, and what has been given meanwhile, and sleeps. */
static void release_it(void *p, int i)
{
    (void)p;
    (void)i;
    family_set(&share->release);
    while (atomic_load(&own_shared()->level[1].next) < atomic_load(&own_shared()->level[1].tail))
        sched_yield();
    ASSERT_OK(object_open((void **)&pool, TYPE_POOL, "pool.c", &share->start.pool));
    family_await_sleepers(pool, 1);
    object_close(pool, TYPE_POOL);
}

/* A task that may have been done before it was cancelled. */
static void cancel_one_that_waits(void *p)
{
    (void)p;
    shoal_result *r = cell_handle(&give_short(1, 0)->cell);
    int rc = shoal_result_cancel(r);
    if (rc)
        ASSERT_ERR(rc, -EALREADY);
    rc = shoal_result_get(r, NULL, NULL, SHOAL_NOW);
    if (rc) {
        ASSERT_ERR(rc, -ECANCELED);
        ASSERT_EQ_INT(share->runs[1], 0);
    } else {
        ASSERT_EQ_INT(share->runs[1], 1);
    }
    shoal_result_free(r);
}

static struct result *done;

static void prepare_done_and_busy(void *p)
{
    prepare_parent(p);
    done = give_short(1, 0);
    busy = give_short(0, 1);
    family_await(&share->entered);
}

/* What is done is taken in; another is finished meanwhile. */
static void take_in(void *p)
{
    (void)p;
    expect(done, &plain, false);
}

static void after_release(void *p)
{
    struct order o = {.number = 0};

    family_set(&share->release);
    expect(busy, &o, false);
    after_all(p);
}

#define PARENT(name, how, ready, way, then, ...)                                              \
    KILL_SCENARIO(name, .setup = how, .prepare = ready, .victim = way, .after = then,         \
                  .partner = worker, .survivor = close_orphan, .survivors = 1, .final = last, \
                  __VA_ARGS__)

static void *setup_long_awaited(void)
{
    struct state *s = setup_long();

    s->order->waits = UNTIL_ASLEEP;
    return s;
}

static void *setup_threaded(void)
{
    struct state *s = setup_short();

    s->threaded = true;
    return s;
}

PARENT(pool_apply, setup_short, prepare_parent, apply, after_all, .flags = 0);
PARENT(pool_apply_long, setup_long_awaited, prepare_parent, apply_long, after_all, .flags = 0);
PARENT(pool_apply_async, setup_threaded, prepare_parent, apply_async, after_all, .flags = 0);
PARENT(pool_apply_map, setup_short, prepare_parent, map, after_all, .flags = 0);
PARENT(pool_cancel, setup_short, prepare_busy, cancel_waiting, after_busy, .flags = 0);
PARENT(pool_cancel_beside_worker, setup_short, prepare_busy, cancel_one_that_waits, after_release,
       .stopped = release_it, .flags = 0);
PARENT(pool_take_in_beside_worker, setup_short, prepare_done_and_busy, take_in, after_release,
       .stopped = release_it, .flags = 0);
PARENT(pool_close_and_join, setup_short, prepare_parent, close_and_join, free_it, .flags = 0);

/* ---- it is killed while it has children of its own, which end with it ---- */

static void prepare_nothing(void *p)
{
    family_prepare(p);
}

static void create(void *p)
{
    struct state *s = p;
    shoal_pool_options options = {.workers = s->workers};

    ASSERT_OK(shoal_pool_create(&pool, &options));
}

static void prepare_created(void *p)
{
    family_prepare(p);
    create(p);
    apply_it(0);
}

static void *setup_parent(void)
{
    return begin(1);
}

static void after_create(void *p)
{
    (void)p;
    apply_it(0);
    end_pool();
}

KILL_SCENARIO(pool_create, .setup = setup_parent, .prepare = prepare_nothing, .victim = create,
              .after = after_create, .final = last);
/* Its worker was killed. */
static void count_worker(void *p)
{
    struct state *s = p;

    s->note->dead++;
}

/* With memory of its own, which who repairs it gives back before the pool: if it died under the guard of the unit map, that is when the
 * map is built anew. */
static void prepare_closed(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_memory_create(&s->memory, 5000, NULL));
    prepare_created(p);
    close_and_join(p);
}

static void look(void *p)
{
    (void)p;
    family_look();
}

KILL_SCENARIO(pool_free, .setup = setup_parent, .prepare = prepare_closed, .victim = free_it,
              .state = family_state, .repair = look, .final = last);
KILL_SCENARIO(pool_free_at_once, .setup = setup_parent, .prepare = prepare_created,
              .victim = free_it, .after = count_worker, .final = last);
