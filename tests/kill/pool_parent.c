/* pool_parent.c: the process whose pool it is, killed and stopped in its calls; a partner is its worker. */
#define _GNU_SOURCE
#include "pools.h"

#include "region/life.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>

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

/* A row of one, so that its result is waited for asleep. */
static int one_input(void *argument, const void **bytes, size_t *size)
{
    static const unsigned char order[3] = {1, UNTIL_ASLEEP, 0};
    int *given = argument;

    *bytes = order;
    *size = sizeof(order);
    return (*given)++ == 0;
}

static void imap(void *p)
{
    shoal_iterator *row;
    shoal_result *r;
    int given = 0;

    (void)p;
    ASSERT_OK(shoal_pool_imap(pool, &row, work_short, one_input, &given, NULL));
    ASSERT_EQ_INT(shoal_iterator_next(row, &r, SHOAL_FOREVER), 1);
    ASSERT_OK(shoal_result_get(r, NULL, NULL, SHOAL_NOW));
    shoal_result_free(r);
    ASSERT_EQ_INT(shoal_iterator_next(row, &r, SHOAL_FOREVER), 0);
    shoal_iterator_free(row);
}

static void called(shoal_result *result, void *argument)
{
    (void)argument;
    ASSERT_OK(shoal_result_get(result, NULL, NULL, SHOAL_NOW));
    family_set(&share->over);
}

/* The worker does it when the victim is done or gone: then the callback comes, on the pool's thread. */
static void give_to_be_called(void *p)
{
    const unsigned char bytes[3] = {1, 1, 0};
    shoal_task_options options = {.on_success = called};
    shoal_result *r;

    (void)p;
    ASSERT_OK(shoal_pool_apply_async(pool, &r, work_short, bytes, 3, &options));
    shoal_result_free(r);
}

static void after_call(void *p)
{
    family_set(&share->release);
    family_await(&share->over);
    after_all(p);
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

/* The worker does what it was busy with, and the other task that has been given, and sleeps. If that has not been given yet it stays
 * busy: it would be at that one while it is cancelled. */
static void release_it(void *p, int i)
{
    const struct pool *q = own_shared();

    (void)p;
    (void)i;
    if (atomic_load(&q->level[1].tail) < 2)
        return;
    family_set(&share->release);
    while (atomic_load(&q->level[1].next) < 2)
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

static void *setup_out_awaited(void)
{
    struct state *s = setup_long_awaited();

    with_out(s);
    return s;
}

static void *setup_limited(void)
{
    struct state *s = setup_short();

    s->order->waits = UNTIL_ASLEEP;
    s->options.limit = 1000;
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
PARENT(pool_apply_out, setup_out_awaited, prepare_parent, apply_long, after_all, .flags = 0);
PARENT(pool_apply_async, setup_threaded, prepare_parent, apply_async, after_all, .flags = 0);
PARENT(pool_apply_map, setup_short, prepare_parent, map, after_all, .flags = 0);
PARENT(pool_imap, setup_threaded, prepare_parent, imap, after_all, .flags = 0);
PARENT(pool_apply_with_callback, setup_threaded, prepare_parent, give_to_be_called, after_call,
       .flags = 0);
PARENT(pool_apply_limited, setup_limited, prepare_parent, apply_long, after_all, .flags = 0);
PARENT(pool_cancel, setup_short, prepare_busy, cancel_waiting, after_busy, .flags = 0);
PARENT(pool_cancel_beside_worker, setup_short, prepare_busy, cancel_one_that_waits, after_release,
       .stopped = release_it, .flags = 0);
PARENT(pool_take_in_beside_worker, setup_short, prepare_done_and_busy, take_in, after_release,
       .stopped = release_it, .flags = 0);
PARENT(pool_close_and_join, setup_short, prepare_parent, close_and_join, free_it,
       .flags = KILL_NO_BREAKPOINT);

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
