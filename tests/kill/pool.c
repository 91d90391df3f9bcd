/* pool.c: workers of pools, killed and stopped everywhere. The victim is a worker; a partner is the process whose pool it is. */
#define _GNU_SOURCE
#include "pools.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- scenarios ---- */

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

    with_out(s);
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
