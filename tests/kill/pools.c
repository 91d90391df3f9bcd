/* pools.c: what the scenarios about pools share: see pools.h. */
#define _GNU_SOURCE
#include "pools.h"

#include "region/life.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

struct common *share;
shoal_pool *pool;
static bool is_taken_in; /* a worker that the pool's process did not start */

struct own *own_of(void)
{
    int rc;
    struct own *p = pool_of(pool, "pool.c", &rc);

    ASSERT_NOT_NULL(p);
    return p;
}
/* ---- what workers do ---- */

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
int work_short(shoal_task *task)
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
int item(const void *in, void *out)
{
    struct timespec t = {0, 40000000};

    if (count_item(in, out) == ITEMS - 1 && !is_taken_in)
        nanosleep(&t, NULL);
    return 0;
}

int item_that_may_fail(const void *in, void *out)
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

void make_pool(struct state *s)
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
void adopt(const struct state *s)
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
    p->members[0] = (struct member){.process = child_handle(child),
                                    .pid = share->pid,
                                    .slot = share->slot,
                                    .generation = share->generation};
    if (s->threaded)
        ASSERT_OK(thread_start(p));
    os_mutex_unlock(&p->mutex);
}

/* Before this a partner that sleeps is held to be at its place, and the victim is forked already. */
void await_victim(const struct state *s)
{
    family_set(&share->there);
    kill_partner_ready();
    kill_await_begun();
    adopt(s);
}

/* All of those that there should be. */
void start_workers(void)
{
    struct own *p = own_of();

    os_mutex_lock(&p->mutex);
    ASSERT_OK(workers_start(p));
    os_mutex_unlock(&p->mutex);
}

/* But for worker 0, whose place is taken for that long. */
void start_the_other(void)
{
    struct own *p = own_of();

    os_mutex_lock(&p->mutex);
    p->members[0].process = shoal_process_current();
    ASSERT_OK(workers_start(p));
    p->members[0].process = NULL;
    os_mutex_unlock(&p->mutex);
}

/* Without the pool's thread. */
struct result *give(shoal_function function, const void *bytes, size_t size,
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

struct result *give_short(unsigned char number, unsigned char waits)
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

struct result *give_order(struct state *s)
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
int expect(struct result *r, const struct order *o, bool may_die)
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

const struct order plain = {.number = 1};

/* One more, which nothing may befall. */
void go_on(unsigned char number)
{
    struct order o = plain;

    o.number = number;
    expect(give_short(number, false), &o, false);
    ASSERT_EQ_INT(share->runs[number], 1);
}

/* Nothing of a task is left: there are the pool, and its queue. */
void check_objects(const struct state *s)
{
    shoal_statistics statistics;

    ASSERT_OK(shoal_memory_statistics(&statistics));
    ASSERT_EQ_INT(statistics.objects, s->note->before + 2);
}

void end_pool(void)
{
    ASSERT_OK(shoal_pool_close(pool));
    ASSERT_OK(shoal_pool_join(pool, SHOAL_FOREVER));
    pool = shoal_pool_free(pool);
}

/* ---- the worker ---- */

void attach(void)
{
    ASSERT_TRUE(worker_begin(&share->start));
    share->slot = process_self.slot;
    share->generation = process_self.generation;
    share->pid = os_getpid();
    is_taken_in = true;
    family_set(&share->attached);
}

/* The pool, as the worker sees it. */
struct pool *own_shared(void)
{
    return header_payload(header_at(share->start.pool.id));
}

void remaining_steps(void *p)
{
    (void)p;
    while (worker_step())
        ;
    worker_end(&share->start);
}

struct state *begin(int workers)
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

void *with_order(const struct order *o)
{
    struct state *s = begin(1);

    s->order = malloc(sizeof(*o));
    ASSERT_NOT_NULL(s->order);
    *s->order = *o;
    return s;
}

void with_out(struct state *s)
{
    ASSERT_OK(shoal_memory_create(&s->memory, LONG, NULL));
    s->options.out = shoal_memory_address(s->memory);
    s->options.out_size = LONG;
    family_ready(s->note);
}

void last(void *p)
{
    struct state *s = p;

    family_settle();
    family_check(s->note->before);
}

void *setup_short(void)
{
    return with_order(&(struct order){.number = 1});
}

void *setup_long(void)
{
    return with_order(&(struct order){.number = 1, .argument = LONG, .result = LONG});
}
