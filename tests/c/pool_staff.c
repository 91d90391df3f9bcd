/* pool: workers that the program starts itself (src/pool/staff.c). */
#include "message/pickle.h"
#include "pool/pool.h"
#include "pool/worker.h"
#include "pools.h"
#include <pthread.h>

static int add_one(shoal_task *task)
{
    int n;
    memcpy(&n, shoal_task_bytes(task, NULL), sizeof n);
    if (n < 0)
        kill(getpid(), SIGKILL);
    n++;
    return shoal_task_return_bytes(task, &n, sizeof n);
}

static struct own *mine(void)
{
    int rc;
    struct own *p = pool_of(pool, "a test", &rc);
    ASSERT_TRUE(p);
    return p;
}

/* ---- workers ---- */

static int refused; /* what their initializer comes to */
static shoal_process *worker[64];
static int workers;

static int work(void *argument)
{
    struct worker_start *start = argument;
    start->later = true;
    os_signals_block(&start->signals);
    os_signals_restore(&start->signals);
    if (!worker_begin(start))
        return 1;
    worker_ready(refused);
    if (refused)
        return 1;
    while (worker_step())
        ;
    worker_end(start);
    return 0;
}

/* As many as are wanted. */
static int hire(void)
{
    int place, n = 0;
    while ((place = pool_vacancy(pool)) >= 0) {
        struct worker_start start = {.index = (unsigned)place};
        ASSERT_OK(object_reference(pool, TYPE_POOL, "a test", &start.pool));
        ASSERT_TRUE(workers < 64);
        ASSERT_OK(shoal_process_start(&worker[workers], work, &start,
                                      &(shoal_process_options){.flags = SHOAL_DAEMON}));
        ASSERT_OK(pool_hired(pool, place, worker[workers]));
        ASSERT_TRUE(pool_employs(pool, shoal_process_pid(worker[workers])));
        workers++;
        n++;
    }
    ASSERT_EQ_INT(place, -EAGAIN);
    return n;
}

static void setup_staff(void)
{
    ASSERT_OK(pool_create_staffed(&pool, &(shoal_pool_options){.workers = 2}));
}

static void done_staff(void)
{
    pool = shoal_pool_free(pool);
    for (int i = 0; i < workers; i++) {
        ASSERT_EQ_INT(shoal_process_is_alive(worker[i]), 0);
        ASSERT_OK(shoal_process_close(worker[i]));
    }
    workers = 0;
    all_free(0);
    end_keeper();
}

static int apply(int n, int *ret)
{
    shoal_result *r;
    const void *bytes;
    ASSERT_OK(shoal_pool_apply_async(pool, &r, add_one, &n, sizeof n, NULL));
    int rc;
    while ((rc = shoal_result_get(r, &bytes, NULL, SHOAL_FOREVER)) == -ERESTART)
        hire();
    if (!rc)
        memcpy(ret, bytes, sizeof *ret);
    shoal_result_free(r);
    return rc;
}

TEST(pool_staffed_who_waits_is_told_that_workers_are_wanted)
{
    setup_staff();
    int n = 0;
    ASSERT_OK(apply(41, &n));
    ASSERT_EQ_INT(n, 42);
    ASSERT_EQ_INT(workers, 2);
    ASSERT_EQ_INT(hire(), 0);
    done_staff();
}

TEST(pool_staffed_who_dies_is_wanted_again)
{
    setup_staff();
    int n = 0;
    for (int i = 0; i < 5; i++) {
        ASSERT_EQ_INT(apply(-1, &n), -EOWNERDEAD);
        ASSERT_OK(apply(i, &n));
        ASSERT_EQ_INT(n, i + 1);
    }
    ASSERT_TRUE(workers >= 6);
    done_staff();
}

TEST(pool_staffed_closes_and_is_joined)
{
    setup_staff();
    int n = 0;
    ASSERT_OK(apply(1, &n));
    ASSERT_OK(shoal_pool_close(pool));
    ASSERT_OK(shoal_pool_join(pool, SHOAL_FOREVER));
    ASSERT_EQ_INT(pool_vacancy(pool), -EAGAIN);
    done_staff();
}

TEST(pool_staffed_that_is_terminated_while_somebody_hires_waits_for_him)
{
    setup_staff();
    int place = pool_vacancy(pool);
    ASSERT_TRUE(place >= 0);
    struct worker_start start = {.index = (unsigned)place};
    ASSERT_OK(object_reference(pool, TYPE_POOL, "a test", &start.pool));
    ASSERT_OK(shoal_process_start(&worker[workers], work, &start,
                                  &(shoal_process_options){.flags = SHOAL_DAEMON}));
    ASSERT_OK(shoal_pool_terminate(pool));
    ASSERT_EQ_INT(shoal_pool_join(pool, shoal_after(0.02)), -ETIMEDOUT);
    ASSERT_OK(pool_hired(pool, place, worker[workers++]));
    ASSERT_OK(shoal_pool_join(pool, SHOAL_FOREVER));
    done_staff();
}

TEST(pool_staffed_whose_workers_are_never_ready_gives_up)
{
    setup_staff();
    int n, rc = -EOWNERDEAD;
    refused = 7;
    for (int i = 0; i < 5 && rc == -EOWNERDEAD; i++)
        rc = apply(1, &n);
    ASSERT_EQ_INT(rc, -ECONNABORTED);
    refused = 0;
    done_staff();
}

TEST(pool_staffed_worker_that_could_not_be_started_is_wanted_again)
{
    setup_staff();
    int place = pool_vacancy(pool), n = 0;
    ASSERT_TRUE(place >= 0);
    ASSERT_OK(pool_hired(pool, place, NULL));
    ASSERT_OK(apply(1, &n));
    ASSERT_EQ_INT(n, 2);
    done_staff();
}

/* ---- minding ---- */

static void *mind(void *argument)
{
    struct own *p = argument;
    struct result *r;
    for (int rc; (rc = pool_mind(p, SHOAL_FOREVER)) != 0;) {
        if (rc == -ERESTART)
            hire();
        os_mutex_lock(&p->mutex);
        while ((r = arrivals_take(&p->due)))
            (*(int *)r->tag)++;
        os_mutex_unlock(&p->mutex);
    }
    pool_unmind(p);
    return NULL;
}

TEST(pool_staffed_minder_hires_and_is_told_of_what_is_due)
{
    setup_staff();
    struct own *p = mine();
    pthread_t thread;
    int told = 0;
    uint16_t code;
    struct result *r[10];
    ASSERT_EQ_INT(pthread_create(&thread, NULL, mind, p), 0);
    ASSERT_OK(code_number(p, (const void *)(uintptr_t)add_one, "a test", &code));
    for (int i = 0; i < 10; i++) {
        os_mutex_lock(&p->mutex);
        ASSERT_OK(task_give(p, &r[i], code, NULL, &i, sizeof i,
                            &(shoal_task_options){.flags = TASK_CARES}, NULL, "a test"));
        r[i]->row = &p->due;
        r[i]->tag = &told;
        p->due.pending++;
        os_mutex_unlock(&p->mutex);
    }
    ASSERT_OK(shoal_pool_close(pool));
    os_mutex_lock(&p->mutex);
    pool_turn(p);
    os_mutex_unlock(&p->mutex);
    pthread_join(thread, NULL);
    ASSERT_EQ_INT(told, 10);
    for (int i = 0; i < 10; i++)
        result_drop(r[i]);
    done_staff();
}

/* ---- arrivals ---- */

TEST(pool_arrivals_that_nobody_takes_go_with_the_last)
{
    setup_staff();
    struct own *p = mine();
    uint16_t code;
    struct arrivals *row = calloc(1, sizeof *row);
    int n = 0;
    ASSERT_OK(code_number(p, (const void *)(uintptr_t)add_one, "a test", &code));
    for (int i = 0; i < 10; i++) {
        struct result *r;
        os_mutex_lock(&p->mutex);
        ASSERT_OK(task_give(p, &r, code, NULL, &i, sizeof i, NULL, NULL, "a test"));
        r->row = row;
        row->pending++;
        os_mutex_unlock(&p->mutex);
    }
    os_mutex_lock(&p->mutex);
    arrivals_leave(row);
    os_mutex_unlock(&p->mutex);
    ASSERT_OK(apply(1, &n)); /* and all before it */
    done_staff();
}

TEST(pool_arrivals_that_are_cancelled_are_all_ready)
{
    setup_staff();
    struct own *p = mine();
    uint16_t code;
    struct arrivals row = {0};
    ASSERT_OK(code_number(p, (const void *)(uintptr_t)add_one, "a test", &code));
    for (int i = 0; i < 10; i++) {
        struct result *r;
        os_mutex_lock(&p->mutex);
        ASSERT_OK(task_give(p, &r, code, NULL, &i, sizeof i, NULL, NULL, "a test"));
        r->row = &row;
        row.pending++;
        os_mutex_unlock(&p->mutex);
    }
    os_mutex_lock(&p->mutex);
    ASSERT_EQ_INT(arrivals_cancel(p, &row, true), 10);
    ASSERT_EQ_INT(row.pending, 0);
    for (int i = 0; i < 10; i++) {
        struct result *r = arrivals_take(&row);
        ASSERT_TRUE(r);
        ASSERT_EQ_INT(r->error, -ECANCELED);
        result_drop(r);
    }
    ASSERT_TRUE(!arrivals_take(&row));
    os_mutex_unlock(&p->mutex);
    done_staff();
}

/* A lock of the worker's own, which nobody but its result holds when the task is over. */
static int make_lock(shoal_task *task)
{
    shoal_lock *lock;
    void *to;
    struct any_object object = {.type = TYPE_LOCK, .held = true};
    struct pickle_objects table = {0};
    int rc = shoal_lock_create(&lock, NULL);
    if (!rc)
        rc = shoal_lock_reference(lock, &object.reference);
    if (!rc)
        rc = pickle_objects_add(&table, &object);
    if (!rc)
        rc = task_reserve_carrying(task, &to, sizeof object.reference, &table);
    if (!rc)
        memcpy(to, &object.reference, sizeof object.reference);
    pickle_objects_free(&table);
    shoal_lock_close(lock);
    return rc;
}

TEST(pool_result_holds_the_objects_that_its_task_gave_it)
{
    setup_staff();
    shoal_result *r;
    shoal_lock *lock;
    const void *bytes;
    shoal_reference reference;
    size_t size;
    int rc;
    ASSERT_OK(shoal_pool_apply_async(pool, &r, make_lock, NULL, 0, NULL));
    while ((rc = shoal_result_get(r, &bytes, &size, SHOAL_FOREVER)) == -ERESTART)
        hire();
    ASSERT_OK(rc);
    ASSERT_EQ_INT(size, sizeof reference);
    memcpy(&reference, bytes, sizeof reference);
    ASSERT_OK(shoal_lock_open(&lock, &reference));
    shoal_lock_close(lock);
    ASSERT_OK(shoal_lock_open(&lock, &reference)); /* the result holds it */
    shoal_lock_close(lock);
    shoal_result_free(r);
    ASSERT_ERR(shoal_lock_open(&lock, &reference), -ESTALE);
    done_staff();
}

TEST(pool_result_is_withdrawn_until_it_has_begun)
{
    setup_staff();
    struct own *p = mine();
    uint16_t code;
    struct result *r;
    int n = 1;
    ASSERT_OK(code_number(p, (const void *)(uintptr_t)add_one, "a test", &code));
    os_mutex_lock(&p->mutex);
    ASSERT_OK(task_give(p, &r, code, NULL, &n, sizeof n, NULL, NULL, "a test"));
    ASSERT_TRUE(result_withdraw(p, r));
    ASSERT_FALSE(result_withdraw(p, r));
    ASSERT_EQ_INT(r->error, -ECANCELED);
    result_drop(r);
    ASSERT_OK(task_give(p, &r, code, NULL, &n, sizeof n, NULL, NULL, "a test"));
    os_mutex_unlock(&p->mutex);
    ASSERT_OK(apply(1, &n)); /* which begins behind it */
    os_mutex_lock(&p->mutex);
    ASSERT_FALSE(result_withdraw(p, r));
    os_mutex_unlock(&p->mutex);
    while (shoal_result_wait(cell_handle(&r->cell), SHOAL_FOREVER))
        hire();
    ASSERT_EQ_INT(r->error, 0);
    result_drop(r);
    done_staff();
}
