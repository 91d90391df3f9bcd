/* pool: what pool.h promises, without deaths (pool_death.c). */
#include "pool/pool.h"
#include "pools.h"

static int no_such_file(shoal_task *task)
{
    size_t size;
    const char *name = shoal_task_bytes(task, &size);
    return shoal_task_fail(-ENOENT, "there is no file %.*s", (int)size, name);
}

static int nothing(shoal_task *task)
{
    (void)task;
    return 0;
}

static int doze(shoal_task *task)
{
    (void)task;
    usleep(100000);
    return 0;
}

static int twice(shoal_task *task)
{
    int64_t n = 0;
    int rc = shoal_any_as_int(shoal_task_any(task), &n);
    if (rc)
        return shoal_task_fail(rc, "%s", shoal_error_detail());
    shoal_any *answer = shoal_any_list(shoal_any_int(2 * n),
                                       shoal_any_str("and a text that is longer than a unit"));
    rc = shoal_task_return(task, answer);
    shoal_any_free(answer);
    return rc;
}

static int square(const void *in, void *out)
{
    int64_t n;
    memcpy(&n, in, sizeof n);
    n *= n;
    memcpy(out, &n, sizeof n);
    return 0;
}

static int odd_fails(const void *in, void *out)
{
    int64_t n;
    memcpy(&n, in, sizeof n);
    memcpy(out, &n, sizeof n);
    return n % 2 ? shoal_task_fail(7, "%lld is odd, which nobody could have known before",
                                   (long long)n)
                 : 0;
}

static int product(const void *const in[], void *out)
{
    *(int64_t *)out = *(const int64_t *)in[0] * *(const int32_t *)in[1];
    return 0;
}

TEST(pool_options_are_checked)
{
    shoal_pool *p = NULL;
    ASSERT_ERR(shoal_pool_create(NULL, NULL), -EINVAL);
    ASSERT_ERR(shoal_pool_create(&p, &(shoal_pool_options){.workers = -1}), -EINVAL);
    ASSERT_ERR(shoal_pool_create(&p, &(shoal_pool_options){.workers = SHOAL_POOL_WORKERS + 1}),
               -EINVAL);
    ASSERT_ERR(shoal_pool_create(&p, &(shoal_pool_options){.flags = 1}), -EINVAL);
    ASSERT_ERR(shoal_pool_create(&p, &(shoal_pool_options){.name = ""}), -EINVAL);
    ASSERT_ERR(shoal_pool_create(&p,
                                 &(shoal_pool_options){
                                     .name = "a name of more than forty bytes, it is too long"}),
               -EINVAL);
    ASSERT_ERR(shoal_pool_create(&p, &(shoal_pool_options){.in_seconds = -1}), -EINVAL);
    ASSERT_NULL(p);
}

TEST(pool_apply_gives_back_what_the_task_returned)
{
    setup();
    for (size_t size = 0; size < 100000; size = size * 3 + 1) {
        char *in = malloc(size + 1);
        void *out;
        size_t n;
        memset(in, 'a' + (int)(size % 26), size);
        ASSERT_OK(shoal_pool_apply(pool, &out, &n, echo, in, size, SHOAL_FOREVER));
        ASSERT_EQ_INT(n, size);
        ASSERT_TRUE(!memcmp(in, out, size));
        free(out);
        free(in);
    }
    done();
}

TEST(pool_tells_the_error_of_a_task)
{
    setup();
    shoal_result *r;
    shoal_failure f;
    ASSERT_ERR(shoal_pool_apply(pool, NULL, NULL, no_such_file, "x", 1, SHOAL_FOREVER), -EREMOTEIO);
    ASSERT_STR(shoal_error_detail(), "shoal_pool_apply: task 0: there is no file x");
    const char *name = "one that is longer than a unit has room for";
    ASSERT_OK(shoal_pool_apply_async(pool, &r, no_such_file, name, strlen(name), NULL));
    ASSERT_ERR(shoal_result_get(r, NULL, NULL, SHOAL_FOREVER), -EREMOTEIO);
    ASSERT_STR(
        shoal_error_detail(),
        "shoal_result_get: task 1: there is no file one that is longer than a unit has room for");
    ASSERT_OK(shoal_result_failure(r, &f));
    ASSERT_EQ_INT(f.error, -EREMOTEIO);
    ASSERT_EQ_INT(f.value, -ENOENT);
    ASSERT_EQ_INT(f.index, 1);
    ASSERT_STR(f.text, "there is no file one that is longer than a unit has room for");
    ASSERT_EQ_INT(shoal_result_successful(r), 0);
    shoal_result_free(r);
    done();
}

TEST(pool_anys_go_there_and_back)
{
    setup();
    shoal_any *ret, *n = shoal_any_int(21);
    char *text;
    ASSERT_OK(shoal_pool_apply_any(pool, &ret, twice, n, SHOAL_FOREVER));
    ASSERT_OK(shoal_any_repr(ret, &text));
    ASSERT_STR(text, "[42, 'and a text that is longer than a unit']");
    free(text);
    shoal_any_free(ret);
    shoal_any_free(n);
    n = shoal_any_str("a str, and a long one: it does not lie in a unit");
    ASSERT_ERR(shoal_pool_apply_any(pool, &ret, twice, n, SHOAL_FOREVER), -EREMOTEIO);
    shoal_any_free(n);
    done();
}

TEST(pool_many_tasks_are_all_done)
{
    enum { N = 20000 };
    setup();
    static shoal_result *r[N];
    for (int i = 0; i < N; i++)
        ASSERT_OK(shoal_pool_apply_async(pool, &r[i], echo, &i, sizeof i, NULL));
    for (int i = 0; i < N; i++) {
        const void *bytes;
        size_t size;
        ASSERT_OK(shoal_result_get(r[i], &bytes, &size, SHOAL_FOREVER));
        ASSERT_EQ_INT(size, sizeof i);
        ASSERT_TRUE(!memcmp(bytes, &i, sizeof i));
        ASSERT_EQ_INT(shoal_result_index(r[i]), i);
        shoal_result_free(r[i]);
    }
    done();
}

TEST(pool_map_in_private_and_in_shared_memory)
{
    enum { N = 10000 };
    static int64_t in[N], out[N];
    setup();
    for (int i = 0; i < N; i++)
        in[i] = i;
    for (size_t n = 0; n <= N; n = n ? n * 10 : 1) {
        memset(out, 0, sizeof out);
        ASSERT_OK(
            shoal_pool_map(pool, square, in, sizeof *in, out, sizeof *out, n, NULL, SHOAL_FOREVER));
        for (size_t i = 0; i < n; i++)
            ASSERT_EQ_INT(out[i], (int64_t)(i * i));
        ASSERT_TRUE(n == N || !out[n]);
    }
    shoal_memory *memory;
    ASSERT_OK(shoal_memory_create(&memory, 2 * sizeof in, NULL));
    int64_t *from = shoal_memory_address(memory), *to = from + N;
    memcpy(from, in, sizeof in);
    ASSERT_OK(
        shoal_pool_map(pool, square, from, sizeof *in, to, sizeof *out, N, NULL, SHOAL_FOREVER));
    for (int i = 0; i < N; i++)
        ASSERT_EQ_INT(to[i], (int64_t)i * i);
    shoal_memory_close(memory);
    done();
}

TEST(pool_map_tells_the_first_item_that_failed)
{
    enum { N = 1000 };
    int64_t in[N], out[N];
    shoal_result *r;
    shoal_failure f;
    setup();
    for (int i = 0; i < N; i++)
        in[i] = i < 500 ? 2 * i : i;
    ASSERT_OK(shoal_pool_map_async(pool, &r, odd_fails, in, sizeof *in, out, sizeof *out, N, NULL));
    ASSERT_ERR(shoal_result_get(r, NULL, NULL, SHOAL_FOREVER), -EREMOTEIO);
    ASSERT_OK(shoal_result_failure(r, &f));
    ASSERT_EQ_INT(f.index, 501);
    ASSERT_EQ_INT(f.failed, 250);
    ASSERT_EQ_INT(f.value, 7);
    ASSERT_STR(f.text, "501 is odd, which nobody could have known before");
    ASSERT_EQ_INT(out[999], 999);
    shoal_result_free(r);
    done();
}

TEST(pool_starmap_takes_several_arrays)
{
    enum { N = 1000 };
    int64_t a[N], out[N];
    int32_t b[N];
    setup();
    for (int i = 0; i < N; i++) {
        a[i] = i;
        b[i] = -i;
    }
    ASSERT_OK(shoal_pool_starmap(pool, product, (const void *[]){a, b},
                                 (size_t[]){sizeof *a, sizeof *b}, 2, out, sizeof *out, N, NULL,
                                 SHOAL_FOREVER));
    for (int i = 0; i < N; i++)
        ASSERT_EQ_INT(out[i], -(int64_t)i * i);
    done();
}

struct row {
    int next, n;
};

static int next_number(void *argument, const void **bytes, size_t *size)
{
    struct row *row = argument;
    if (row->next == row->n)
        return 0;
    row->next++;
    *bytes = &row->next;
    *size = sizeof row->next;
    return 1;
}

TEST(pool_imap_gives_results_in_order_and_looks_ahead_no_further_than_told)
{
    setup();
    shoal_iterator *it;
    shoal_result *r;
    struct row row = {0, 1000};
    ASSERT_OK(
        shoal_pool_imap(pool, &it, echo, next_number, &row, &(shoal_imap_options){.ahead = 10}));
    for (int i = 1; i <= 1000; i++) {
        const void *bytes;
        ASSERT_EQ_INT(shoal_iterator_next(it, &r, SHOAL_FOREVER), 1);
        ASSERT_OK(shoal_result_get(r, &bytes, NULL, SHOAL_NOW));
        ASSERT_EQ_INT(*(const int *)bytes, i);
        ASSERT_TRUE(row.next <= i + 9);
        shoal_result_free(r);
    }
    ASSERT_EQ_INT(shoal_iterator_next(it, &r, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT(shoal_iterator_next(it, &r, SHOAL_FOREVER), 0);
    shoal_iterator_free(it);
    done();
}

TEST(pool_imap_unordered_gives_each_result_once)
{
    setup();
    shoal_iterator *it;
    shoal_result *r;
    struct row row = {0, 1000};
    long sum = 0;
    int rc;
    ASSERT_OK(
        shoal_pool_imap(pool, &it, echo, next_number, &row, &(shoal_imap_options){.unordered = 1}));
    while ((rc = shoal_iterator_next(it, &r, SHOAL_FOREVER)) == 1) {
        const void *bytes;
        ASSERT_OK(shoal_result_get(r, &bytes, NULL, SHOAL_NOW));
        sum += *(const int *)bytes;
        shoal_result_free(r);
    }
    ASSERT_EQ_INT(rc, 0);
    ASSERT_EQ_INT(sum, 500500);
    shoal_iterator_free(it);
    /* and one that is given up in between */
    row = (struct row){0, 1000};
    ASSERT_OK(shoal_pool_imap(pool, &it, doze, next_number, &row, NULL));
    ASSERT_EQ_INT(shoal_iterator_next(it, &r, SHOAL_FOREVER), 1);
    shoal_result_free(r);
    shoal_iterator_free(it);
    done();
}

static _Atomic int good, bad;

static void on_good(shoal_result *result, void *argument)
{
    ASSERT_EQ_INT(shoal_result_successful(result), 1);
    ASSERT_EQ_INT(*(int *)argument, 5);
    good++;
}

static void on_bad(shoal_result *result, void *argument)
{
    (void)argument;
    ASSERT_ERR(shoal_result_get(result, NULL, NULL, SHOAL_NOW), -EREMOTEIO);
    bad++;
}

TEST(pool_callbacks_are_called_while_the_caller_computes)
{
    setup();
    int five = 5;
    shoal_task_options options = {.on_success = on_good, .on_error = on_bad, .argument = &five};
    for (int i = 0; i < 100; i++) {
        ASSERT_OK(shoal_pool_apply_async(pool, NULL, echo, "x", 1, &options));
        ASSERT_OK(shoal_pool_apply_async(pool, NULL, no_such_file, "x", 1, &options));
    }
    while (good + bad < 200)
        usleep(1000);
    done();
    ASSERT_EQ_INT(good, 100);
    ASSERT_EQ_INT(bad, 100);
}

TEST(pool_cancel_of_a_task_that_waits_and_of_one_that_runs)
{
    setup_with(&(shoal_pool_options){.workers = 1});
    shoal_result *runs, *waits, *later;
    shoal_failure f;
    ASSERT_OK(shoal_pool_apply_async(pool, &runs, for_ever, NULL, 0, NULL));
    ASSERT_OK(shoal_pool_apply_async(pool, &waits, for_ever, NULL, 0, NULL));
    ASSERT_OK(shoal_pool_apply_async(pool, &later, echo, "x", 1, NULL));
    ASSERT_ERR(shoal_result_wait(runs, shoal_after(0.05)), -ETIMEDOUT);
    ASSERT_OK(shoal_result_cancel(waits));
    ASSERT_ERR(shoal_result_get(waits, NULL, NULL, SHOAL_NOW), -ECANCELED);
    ASSERT_OK(shoal_result_cancel(runs));
    ASSERT_ERR(shoal_result_get(runs, NULL, NULL, SHOAL_FOREVER), -ECANCELED);
    ASSERT_OK(shoal_result_failure(runs, &f));
    ASSERT_TRUE(f.pid > 0);
    ASSERT_ERR(shoal_result_cancel(runs), -EALREADY);
    ASSERT_OK(shoal_result_get(later, NULL, NULL, SHOAL_FOREVER));
    shoal_result_free(runs);
    shoal_result_free(waits);
    shoal_result_free(later);
    done();
}

TEST(pool_limit_ends_a_task_that_takes_too_long)
{
    setup();
    shoal_result *r, *ok;
    shoal_failure f;
    shoal_task_options options = {.limit = 0.05};
    ASSERT_OK(shoal_pool_apply_async(pool, &r, for_ever, NULL, 0, &options));
    ASSERT_OK(shoal_pool_apply_async(pool, &ok, echo, "x", 1, &options));
    ASSERT_ERR(shoal_result_get(r, NULL, NULL, SHOAL_FOREVER), -ETIME);
    ASSERT_OK(shoal_result_failure(r, &f));
    ASSERT_EQ_INT(f.exit_code, -SIGKILL);
    ASSERT_OK(shoal_result_get(ok, NULL, NULL, SHOAL_FOREVER));
    shoal_result_free(r);
    shoal_result_free(ok);
    done();
}

TEST(pool_limit_wakes_the_thread_that_sleeps)
{
    shoal_result *r;
    setup();
    ASSERT_OK(shoal_pool_apply_async(pool, &r, echo, "x", 1, NULL));
    ASSERT_OK(shoal_result_get(r, NULL, NULL, SHOAL_FOREVER));
    shoal_result_free(r);
    usleep(60000); /* nobody looks after newborns any more */
    ASSERT_OK(
        shoal_pool_apply_async(pool, &r, for_ever, NULL, 0, &(shoal_task_options){.limit = 0.02}));
    ASSERT_ERR(shoal_result_get(r, NULL, NULL, SHOAL_FOREVER), -ETIME);
    shoal_result_free(r);
    done();
}

TEST(pool_terminate_ends_what_runs_and_what_waits)
{
    setup();
    shoal_result *r[10];
    for (int i = 0; i < 10; i++)
        ASSERT_OK(shoal_pool_apply_async(pool, &r[i], for_ever, NULL, 0, NULL));
    ASSERT_OK(shoal_pool_terminate(pool));
    ASSERT_ERR(shoal_pool_apply_async(pool, NULL, echo, NULL, 0, NULL), -ECANCELED);
    ASSERT_OK(shoal_pool_join(pool, SHOAL_FOREVER));
    for (int i = 0; i < 10; i++) {
        ASSERT_ERR(shoal_result_get(r[i], NULL, NULL, SHOAL_NOW), -ECANCELED);
        shoal_result_free(r[i]);
    }
    pool = shoal_pool_free(pool);
    all_free(0);
}

TEST(pool_closed_does_what_was_given_and_takes_nothing_more)
{
    setup();
    shoal_result *r[10];
    ASSERT_ERR(shoal_pool_join(pool, SHOAL_NOW), -EBUSY);
    for (int i = 0; i < 10; i++)
        ASSERT_OK(shoal_pool_apply_async(pool, &r[i], i < 2 ? doze : echo, &i, sizeof i, NULL));
    ASSERT_OK(shoal_pool_close(pool));
    ASSERT_OK(shoal_pool_close(pool));
    ASSERT_ERR(shoal_pool_apply(pool, NULL, NULL, echo, NULL, 0, SHOAL_FOREVER), -EPIPE);
    ASSERT_ERR(shoal_pool_map(pool, square, NULL, 8, NULL, 0, 0, NULL, SHOAL_FOREVER), -EPIPE);
    ASSERT_OK(shoal_pool_join(pool, SHOAL_FOREVER));
    for (int i = 0; i < 10; i++) {
        ASSERT_OK(shoal_result_get(r[i], NULL, NULL, SHOAL_NOW));
        shoal_result_free(r[i]);
    }
    pool = shoal_pool_free(pool);
    all_free(0);
}

TEST(pool_bad_input_is_an_error_and_the_pool_lives_on)
{
    setup();
    shoal_result *r = NULL;
    int64_t in[4] = {0}, out[4];
    const void *arrays[] = {in};
    size_t sizes[] = {8};
    ASSERT_ERR(shoal_pool_apply(pool, NULL, NULL, NULL, NULL, 0, SHOAL_FOREVER), -EINVAL);
    ASSERT_ERR(shoal_pool_apply(pool, NULL, NULL, echo, NULL, 1, SHOAL_FOREVER), -EINVAL);
    ASSERT_ERR(shoal_pool_apply(pool, NULL, NULL, echo, NULL, 0, -1), -EINVAL);
    ASSERT_ERR(shoal_pool_apply_async(pool, &r, echo, NULL, 0,
                                      &(shoal_task_options){.priority = 2}),
               -EINVAL);
    ASSERT_ERR(shoal_pool_apply_async(pool, &r, echo, NULL, 0, &(shoal_task_options){.limit = -1}),
               -EINVAL);
    ASSERT_ERR(shoal_pool_apply_async(pool, &r, echo, NULL, 0, &(shoal_task_options){.flags = 1}),
               -EINVAL);
    ASSERT_ERR(shoal_pool_apply_async(pool, &r, echo, NULL, 0,
                                      &(shoal_task_options){.out = out, .out_size = 8}),
               -EINVAL);
    ASSERT_ERR(shoal_pool_apply_async_any(pool, &r, echo, NULL, NULL), -EINVAL);
    ASSERT_ERR(shoal_pool_map(pool, NULL, in, 8, out, 8, 4, NULL, SHOAL_FOREVER), -EINVAL);
    ASSERT_ERR(shoal_pool_map(pool, square, NULL, 8, out, 8, 4, NULL, SHOAL_FOREVER), -EINVAL);
    ASSERT_ERR(shoal_pool_map(pool, square, in, 8, NULL, 8, 4, NULL, SHOAL_FOREVER), -EINVAL);
    ASSERT_ERR(shoal_pool_map(pool, square, in, 8, out, 8, SIZE_MAX, NULL, SHOAL_FOREVER),
               -EMSGSIZE);
    ASSERT_ERR(shoal_pool_starmap(pool, product, arrays, sizes, 0, out, 8, 4, NULL, SHOAL_FOREVER),
               -EINVAL);
    ASSERT_ERR(shoal_pool_starmap(pool, product, arrays, sizes, 9, out, 8, 4, NULL, SHOAL_FOREVER),
               -EINVAL);
    ASSERT_ERR(shoal_pool_apply_async(pool, &r, (shoal_function)(uintptr_t)in, NULL, 0, NULL),
               -ENOEXEC);
    ASSERT_NULL(r);
    ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, echo, NULL, 0, SHOAL_FOREVER));
    ASSERT_ERR(shoal_result_get(NULL, NULL, NULL, SHOAL_NOW), -EINVAL);
    shoal_pool *p = pool;
    done();
    ASSERT_ERR(shoal_pool_apply(p, NULL, NULL, echo, NULL, 0, SHOAL_FOREVER), -EBADF);
    ASSERT_ERR(shoal_pool_close(p), -EBADF);
}

TEST(pool_result_handles_are_bad_when_freed)
{
    setup();
    shoal_result *r;
    ASSERT_OK(shoal_pool_apply_async(pool, &r, nothing, NULL, 0, NULL));
    ASSERT_OK(shoal_result_wait(r, SHOAL_FOREVER));
    shoal_result_free(r);
    ASSERT_ERR(shoal_result_wait(r, SHOAL_FOREVER), -EBADF);
    ASSERT_ERR(shoal_result_get(r, NULL, NULL, SHOAL_NOW), -EBADF);
    shoal_result_free(r);
    ASSERT_OK(shoal_pool_apply_async(pool, &r, nothing, NULL, 0, NULL));
    shoal_result_free(r); /* it is done all the same */
    done();
}

TEST(pool_priorities_come_first)
{
    setup_with(&(shoal_pool_options){.workers = 1});
    shoal_result *first;
    ASSERT_OK(shoal_pool_apply_async(pool, &first, doze, NULL, 0, NULL));
    shoal_result *low, *high;
    ASSERT_OK(
        shoal_pool_apply_async(pool, &low, doze, NULL, 0, &(shoal_task_options){.priority = -1}));
    ASSERT_OK(
        shoal_pool_apply_async(pool, &high, doze, NULL, 0, &(shoal_task_options){.priority = 1}));
    ASSERT_OK(shoal_result_wait(high, SHOAL_FOREVER));
    ASSERT_EQ_INT(shoal_result_ready(low), 0);
    ASSERT_OK(shoal_result_wait(low, SHOAL_FOREVER));
    shoal_result_free(first);
    shoal_result_free(low);
    shoal_result_free(high);
    done();
}

static int begin(void *argument)
{
    shoal_worker_set_state(strdup(argument));
    return 0;
}

static void end(void *argument)
{
    (void)argument;
    free(shoal_worker_state());
}

static int tell_state(shoal_task *task)
{
    const char *state = shoal_worker_state();
    return shoal_task_return_bytes(task, state, strlen(state) + 1);
}

TEST(pool_initializers_run_in_each_worker_and_a_worker_ends_after_its_tasks)
{
    char text[] = "a state";
    pid_t pids[2] = {0, 0};
    setup_with(&(shoal_pool_options){.workers = 2,
                                     .initializer = begin,
                                     .finalizer = end,
                                     .argument = text,
                                     .tasks_per_worker = 3});
    ASSERT_NULL(shoal_worker_state());
    int changes = 0;
    for (int i = 0; i < 50; i++) {
        void *bytes;
        shoal_worker_statistics s[2];
        ASSERT_OK(shoal_pool_apply(pool, &bytes, NULL, tell_state, NULL, 0, SHOAL_FOREVER));
        ASSERT_STR((char *)bytes, "a state");
        free(bytes);
        ASSERT_EQ_INT(shoal_pool_statistics(pool, s, 2), 2);
        for (int k = 0; k < 2; k++)
            changes += s[k].pid != pids[k];
        pids[0] = s[0].pid;
        pids[1] = s[1].pid;
    }
    ASSERT_TRUE(changes > 10); /* 50 tasks make 16 workers */
    done();
}

TEST(pool_child_that_inherited_it_may_not_use_it)
{
    setup();
    shoal_result *r;
    ASSERT_OK(shoal_pool_apply_async(pool, &r, for_ever, NULL, 0, NULL));
    pid_t pid = fork();
    if (!pid) {
        int ok = shoal_pool_apply(pool, NULL, NULL, echo, NULL, 0, SHOAL_FOREVER) == -ECHILD &&
                 shoal_result_wait(r, SHOAL_FOREVER) == -ECHILD &&
                 shoal_pool_close(pool) == -ECHILD && !shoal_pool_free(pool);
        shoal_detach();
        _exit(ok ? 0 : 1);
    }
    int status;
    ASSERT_EQ_INT(waitpid(pid, &status, 0), pid);
    ASSERT_EQ_INT(status, 0);
    ASSERT_OK(shoal_result_cancel(r));
    shoal_result_free(r);
    done();
}

static int fill(shoal_task *task)
{
    void *to;
    int rc = shoal_task_reserve(task, &to, 1000);
    if (rc)
        return rc;
    memset(to, 'f', 1000);
    return 0;
}

TEST(pool_results_go_where_they_are_to_go)
{
    setup();
    shoal_memory *memory;
    shoal_result *r;
    const void *bytes;
    size_t size;
    ASSERT_OK(shoal_memory_create(&memory, 3000, &(shoal_memory_options){.flags = SHOAL_ZERO}));
    char *at = shoal_memory_address(memory);
    ASSERT_OK(shoal_pool_apply_async(pool, &r, fill, at, 1000,
                                     &(shoal_task_options){.out = at + 1000, .out_size = 1000}));
    ASSERT_OK(shoal_result_get(r, &bytes, &size, SHOAL_FOREVER));
    ASSERT_TRUE(bytes == at + 1000);
    ASSERT_EQ_INT(size, 1000);
    ASSERT_EQ_INT(at[999], 0);
    ASSERT_EQ_INT(at[1000], 'f');
    ASSERT_EQ_INT(at[1999], 'f');
    ASSERT_EQ_INT(at[2000], 0);
    shoal_result_free(r);
    ASSERT_OK(shoal_pool_apply_async(pool, &r, fill, at, 1000,
                                     &(shoal_task_options){.out = at + 1000, .out_size = 999}));
    ASSERT_ERR(shoal_result_get(r, &bytes, &size, SHOAL_FOREVER), -EREMOTEIO);
    shoal_result_free(r);
    shoal_memory_close(memory);
    done();
}

static int too_much(shoal_task *task)
{
    void *to;
    shoal_task_reserve(task, &to, (size_t)1 << 50);
    return 0;
}

TEST(pool_result_that_is_too_large_is_an_error_also_if_the_function_does_not_say_so)
{
    setup();
    ASSERT_ERR(shoal_pool_apply(pool, NULL, NULL, too_much, NULL, 0, SHOAL_FOREVER), -EMSGSIZE);
    ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, echo, NULL, 0, SHOAL_FOREVER));
    done();
}

static void keep_progress(const shoal_progress *progress, void *argument)
{
    *(shoal_progress *)argument = *progress;
}

TEST(pool_map_any_gives_a_list)
{
    setup();
    shoal_any *items = shoal_any_list(shoal_any_int(1), shoal_any_int(2)), *ret;
    char *text;
    ASSERT_OK(shoal_pool_map_any(pool, &ret, twice, items, NULL, SHOAL_FOREVER));
    ASSERT_OK(shoal_any_repr(ret, &text));
    ASSERT_STR(text, "[[2, 'and a text that is longer than a unit'], [4, 'and a text that is "
                     "longer than a unit']]");
    free(text);
    shoal_any_free(ret);
    shoal_progress seen = {.done = 0};
    ASSERT_OK(shoal_pool_map_any(pool, &ret, twice, items,
                                 &(shoal_task_options){.progress = keep_progress,
                                                       .progress_argument = &seen},
                                 SHOAL_FOREVER));
    shoal_any_free(ret);
    ASSERT_EQ_U64(seen.done, 2);
    ASSERT_EQ_U64(seen.total, 2);
    ASSERT_ERR(shoal_pool_map_any(pool, &ret, twice, items,
                                  &(shoal_task_options){.out = &seen, .out_size = sizeof seen},
                                  SHOAL_FOREVER),
               -EINVAL);
    shoal_any_append(items, shoal_any_str("no"));
    ASSERT_ERR(shoal_pool_map_any(pool, &ret, twice, items, NULL, SHOAL_FOREVER), -EREMOTEIO);
    shoal_any_free(items);
    done();
}

TEST(pool_knows_that_there_is_memory_behind_its_units)
{
    int rc;
    setup();
    ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, echo, "x", 1, SHOAL_FOREVER));
    const struct own *p = pool_of(pool, "test", &rc);
    ASSERT_NOT_NULL(p);
    ASSERT_TRUE(region_is_populated(unit_at(p->shared, unit_make(1, 0))));
    done();
}
