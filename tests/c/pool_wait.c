/* pool: waiting: deadlines, several threads of the program, progress, what workers keep while nothing is to be done. */
#include "pool/pool.h"
#include "pools.h"
#include "region/self.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>

static int doze(shoal_task *task)
{
    (void)task;
    usleep(20000);
    return 0;
}

static int square(const void *in, void *out)
{
    *(int64_t *)out = *(const int64_t *)in * *(const int64_t *)in;
    return 0;
}

static int slow_square(const void *in, void *out)
{
    usleep(1000);
    return square(in, out);
}

TEST(pool_calls_keep_their_deadlines)
{
    setup();
    int64_t in[2] = {1, 2}, out[2];
    shoal_result *r;
    ASSERT_ERR(shoal_pool_apply(pool, NULL, NULL, for_ever, NULL, 0, shoal_after(0.02)),
               -ETIMEDOUT);
    ASSERT_ERR(shoal_pool_apply(pool, NULL, NULL, for_ever, NULL, 0, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_pool_map(pool, slow_square, in, 8, out, 8, 2, NULL, SHOAL_NOW), -EAGAIN);
    /* what was cancelled keeps no worker */
    for (int i = 0; i < 4; i++)
        ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, doze, NULL, 0, SHOAL_FOREVER));
    ASSERT_OK(shoal_pool_apply_async(pool, &r, for_ever, NULL, 0, NULL));
    ASSERT_ERR(shoal_result_wait(r, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_result_wait(r, shoal_after(0.01)), -ETIMEDOUT);
    ASSERT_ERR(shoal_result_wait(r, -1), -EINVAL);
    ASSERT_ERR(shoal_result_get(r, NULL, NULL, SHOAL_NOW), -EAGAIN);
    shoal_failure f;
    ASSERT_ERR(shoal_result_failure(r, &f), -EBUSY);
    ASSERT_ERR(shoal_result_successful(r), -EBUSY);
    ASSERT_OK(shoal_pool_close(pool));
    ASSERT_ERR(shoal_pool_join(pool, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_pool_join(pool, shoal_after(0.01)), -ETIMEDOUT);
    ASSERT_OK(shoal_pool_terminate(pool));
    shoal_result_free(r);
    done();
}

static void *use(void *argument)
{
    int first = *(int *)argument;
    for (int i = first; i < first + 300; i++) {
        void *bytes;
        size_t size;
        if (i % 50 == 0) {
            int64_t in[100], out[100];
            for (int k = 0; k < 100; k++)
                in[k] = i + k;
            ASSERT_OK(shoal_pool_map(pool, square, in, 8, out, 8, 100, NULL, SHOAL_FOREVER));
            for (int k = 0; k < 100; k++)
                ASSERT_EQ_INT(out[k], (int64_t)(i + k) * (i + k));
        }
        ASSERT_OK(shoal_pool_apply(pool, &bytes, &size, echo, &i, sizeof i, SHOAL_FOREVER));
        ASSERT_EQ_INT(*(int *)bytes, i);
        free(bytes);
    }
    return NULL;
}

TEST(pool_serves_several_threads_at_once)
{
    pthread_t threads[4];
    int first[4];
    setup();
    for (int i = 0; i < 4; i++) {
        first[i] = i * 1000;
        ASSERT_EQ_INT(pthread_create(&threads[i], NULL, use, &first[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        ASSERT_EQ_INT(pthread_join(threads[i], NULL), 0);
    done();
}

static void note_signal(int number)
{
    (void)number;
}

TEST(pool_sync_calls_go_on_after_a_signal)
{
    setup();
    struct sigaction action = {.sa_handler = note_signal};
    sigaction(SIGUSR1, &action, NULL);
    pid_t me = getpid(), pid = fork();
    if (!pid) {
        for (int i = 0; i < 10; i++) {
            usleep(3000);
            kill(me, SIGUSR1);
        }
        shoal_detach();
        _exit(0);
    }
    for (int i = 0; i < 4; i++)
        ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, doze, NULL, 0, SHOAL_FOREVER));
    waitpid(pid, NULL, 0);
    done();
}

static struct {
    _Atomic int calls;
    shoal_progress last;
} told;

static void tell(const shoal_progress *progress, void *argument)
{
    ASSERT_TRUE(argument == &told);
    ASSERT_TRUE(progress->done >= told.last.done && progress->done <= progress->total);
    told.calls++;
    told.last = *progress;
}

TEST(pool_map_tells_its_progress)
{
    enum { N = 600 };
    int64_t in[N] = {0}, out[N];
    shoal_task_options options = {.progress = tell, .progress_argument = &told};
    setup();
    ASSERT_OK(shoal_pool_map(pool, slow_square, in, 8, out, 8, N, &options, SHOAL_FOREVER));
    ASSERT_TRUE(told.calls >= 2);
    ASSERT_EQ_INT(told.last.done, N);
    ASSERT_EQ_INT(told.last.total, N);
    ASSERT_EQ_INT(told.last.failed, 0);
    ASSERT_TRUE(told.last.rate > 0 && told.last.seconds > 0);
    /* the bar says nothing where there is no terminal */
    int error = dup(STDERR_FILENO), fds[2];
    char byte;
    ASSERT_SYS(pipe(fds));
    dup2(fds[1], STDERR_FILENO);
    shoal_progress_bar(&told.last, NULL);
    dup2(error, STDERR_FILENO);
    close(fds[1]);
    ASSERT_EQ_INT(read(fds[0], &byte, 1), 0);
    close(fds[0]);
    close(error);
    done();
}

TEST(pool_map_async_tells_its_progress_while_nobody_waits)
{
    enum { N = 1000 };
    int64_t in[N] = {0}, out[N];
    shoal_result *r;
    shoal_task_options options = {.progress = tell, .progress_argument = &told};
    setup();
    /* the thread sleeps by then */
    ASSERT_OK(shoal_pool_apply_async(pool, &r, doze, NULL, 0, NULL));
    ASSERT_OK(shoal_result_wait(r, SHOAL_FOREVER));
    shoal_result_free(r);
    usleep(10000);
    ASSERT_OK(shoal_pool_map_async(pool, &r, slow_square, in, 8, out, 8, N, &options));
    while (told.calls < 2)
        usleep(1000);
    ASSERT_EQ_INT(shoal_result_ready(r), 0);
    ASSERT_OK(shoal_result_get(r, NULL, NULL, SHOAL_FOREVER));
    ASSERT_EQ_INT(told.last.done, N);
    shoal_result_free(r);
    done();
}

/* What the bar writes to a terminal. */
static void bar(const shoal_progress *progress, char *ret, size_t size)
{
    int terminal = posix_openpt(O_RDWR | O_NOCTTY), error = dup(STDERR_FILENO);
    if (terminal < 0)
        SKIP("no terminal can be had here");
    ASSERT_SYS(grantpt(terminal));
    ASSERT_SYS(unlockpt(terminal));
    int slave = (int)ASSERT_SYS(open(ptsname(terminal), O_RDWR | O_NOCTTY));
    dup2(slave, STDERR_FILENO);
    char title[] = "items";
    shoal_progress_bar(progress, title);
    dup2(error, STDERR_FILENO);
    ssize_t n = read(terminal, ret, size - 1);
    ASSERT_TRUE(n > 0);
    ret[n] = 0;
    close(slave);
    close(terminal);
    close(error);
}

TEST(pool_progress_bar_on_a_terminal)
{
    char text[300];
    bar(&(shoal_progress){.done = 50, .total = 100, .seconds = 10, .rate = 5}, text, sizeof text);
    ASSERT_STR(text, "\ritems [###############...............]  50 % 50/100, 5/s, 10 s left\033[K");
    bar(&(shoal_progress){.done = 100, .failed = 2, .total = 100, .seconds = 20, .rate = 5e6}, text,
        sizeof text);
    ASSERT_STR(text, "\ritems [##############################] 100 % 100/100, 5.0 M/s, 20 s, 2 "
                     "failed\033[K\r\n");
    bar(&(shoal_progress){.done = 7, .seconds = 2, .rate = 3.5}, text, sizeof text);
    ASSERT_STR(text, "\ritems 7 done, 4/s, 2 s\033[K");
}

static uint64_t used(void)
{
    shoal_statistics s;
    ASSERT_OK(shoal_memory_statistics(&s));
    return s.used;
}

TEST(pool_keeps_nothing_of_a_map_when_it_is_over)
{
    enum { N = 1 << 20 };
    int64_t *in = calloc(N, sizeof *in), *out = calloc(N, sizeof *out);
    setup();
    uint64_t before = used();
    ASSERT_OK(shoal_pool_map(pool, square, in, 8, out, 8, N, NULL, SHOAL_FOREVER));
    /* the workers let go of its memory before they sleep */
    while (used() > before + (1 << 20))
        usleep(1000);
    free(in);
    free(out);
    done();
}

static int counts(shoal_task *task)
{
    static int count;
    count++;
    return shoal_task_return_bytes(task, &count, sizeof count);
}

TEST(pool_task_that_takes_long_keeps_its_place_while_millions_come_and_go)
{
    setup();
    shoal_result *long_one, *r[3 * UNITS];
    const void *bytes;
    int rc;
    struct own *p = pool_of(pool, "a test", &rc);
    ASSERT_OK(shoal_pool_apply_async(pool, &long_one, for_ever, NULL, 0, NULL));
    for (int i = 1; i < UNITS; i++)
        ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, counts, NULL, 0, SHOAL_FOREVER));
    /* as if as many had come and gone as the directory has places for */
    os_mutex_lock(&p->mutex);
    p->tail[1] = (uint64_t)RUNS * UNITS;
    atomic_store(&p->shared->level[1].next, p->tail[1]);
    units_publish(p->shared, 1, p->tail[1], 0);
    os_mutex_unlock(&p->mutex);
    for (int i = 0; i < 3 * UNITS; i++)
        ASSERT_OK(shoal_pool_apply_async(pool, &r[i], counts, NULL, 0, NULL));
    for (int i = 0; i < 3 * UNITS; i++) {
        ASSERT_OK(shoal_result_get(r[i], &bytes, NULL, SHOAL_FOREVER));
        ASSERT_EQ_INT(*(const int *)bytes, UNITS + i); /* one worker did all */
        shoal_result_free(r[i]);
    }
    ASSERT_EQ_U64(p->tail[1], (uint64_t)RUNS * UNITS + 4 * UNITS);
    ASSERT_ERR(shoal_result_wait(long_one, SHOAL_NOW), -EAGAIN);
    ASSERT_OK(shoal_result_cancel(long_one));
    ASSERT_ERR(shoal_result_get(long_one, NULL, NULL, SHOAL_FOREVER), -ECANCELED);
    shoal_result_free(long_one);
    done();
}

TEST(pool_apply_wakes_a_worker_that_sleeps)
{
    setup();
    for (int i = 0; i < 20; i++) {
        usleep(2000); /* all sleep by then */
        ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, counts, NULL, 0, SHOAL_FOREVER));
    }
    done();
}

static int nested(shoal_task *task)
{
    void *bytes;
    size_t size, n;
    const void *argument = shoal_task_bytes(task, &n);
    shoal_pool *inner;
    int rc = shoal_pool_create(&inner, &(shoal_pool_options){.workers = 1});
    if (!rc)
        rc = shoal_pool_apply(inner, &bytes, &size, echo, argument, n, SHOAL_FOREVER);
    if (!rc) {
        rc = shoal_task_return_bytes(task, bytes, size);
        free(bytes);
        shoal_pool_free(inner);
    }
    return rc ? shoal_task_fail(rc, "%s", shoal_error_detail()) : 0;
}

TEST(pool_task_may_have_a_pool_of_its_own)
{
    setup();
    for (int i = 0; i < 5; i++) {
        void *bytes;
        int64_t in[3] = {1, 2, 3}, out[3];
        ASSERT_OK(shoal_pool_map(pool, square, in, 8, out, 8, 3, NULL, SHOAL_FOREVER));
        ASSERT_OK(shoal_pool_apply(pool, &bytes, NULL, nested, "inner", 6, SHOAL_FOREVER));
        ASSERT_STR((char *)bytes, "inner");
        free(bytes);
    }
    done();
}

TEST(pool_memory_does_not_grow_with_the_number_of_tasks)
{
    setup();
    uint64_t first = 0;
    for (int i = 0; i < 20000; i++) {
        ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, echo, &i, sizeof i, SHOAL_FOREVER));
        if (i == 1000)
            first = used();
    }
    ASSERT_EQ_U64(used(), first);
    done();
}

static int register_me(shoal_task *task)
{
    return echo(task);
}

TEST(pool_function_that_the_worker_does_not_know_is_an_error)
{
    ASSERT_ERR(shoal_function_register(NULL, (shoal_code)register_me), -EINVAL);
    ASSERT_ERR(shoal_function_register("", (shoal_code)register_me), -EINVAL);
    ASSERT_ERR(shoal_function_register("x", NULL), -EINVAL);
    ASSERT_OK(shoal_function_register("echo", (shoal_code)echo));
    ASSERT_OK(shoal_function_register("echo", (shoal_code)echo));
    ASSERT_ERR(shoal_function_register("echo", (shoal_code)register_me), -EALREADY);
    setup();
    int64_t in[4] = {0}, out[4];
    ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, echo, NULL, 0, SHOAL_FOREVER));
    ASSERT_OK(shoal_function_register("later", (shoal_code)register_me));
    ASSERT_OK(shoal_function_register("square", (shoal_code)square));
    ASSERT_ERR(shoal_pool_apply(pool, NULL, NULL, register_me, NULL, 0, SHOAL_FOREVER), -ENOEXEC);
    ASSERT_TRUE(strstr(shoal_error_detail(), "does not know the function") != NULL);
    ASSERT_ERR(shoal_pool_map(pool, square, in, 8, out, 8, 4, NULL, SHOAL_FOREVER), -ENOEXEC);
    ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, echo, NULL, 0, SHOAL_FOREVER));
    done();
}

TEST(pool_two_pools_know_nothing_of_one_another)
{
    shoal_pool *other;
    setup();
    ASSERT_OK(shoal_pool_create(&other, &(shoal_pool_options){.workers = 1, .name = "other"}));
    ASSERT_OK(shoal_pool_apply(other, NULL, NULL, doze, NULL, 0, SHOAL_FOREVER));
    ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, doze, NULL, 0, SHOAL_FOREVER));
    shoal_pool_free(pool);
    /* whose workers do not keep the first one's memory */
    shoal_statistics s = {.objects = 3};
    while (s.objects > 2) {
        ASSERT_OK(shoal_memory_statistics(&s));
        usleep(1000);
    }
    pool = other;
    ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, doze, NULL, 0, SHOAL_FOREVER));
    done();
}
