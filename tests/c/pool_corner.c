/* pool: corners: handles in several hands, extreme numbers, forks and exits beside a pool. */
#include "pool/pool.h"
#include "pools.h"
#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <sys/mman.h>

static int doze(shoal_task *task)
{
    (void)task;
    usleep(20000);
    return 0;
}

static int die(shoal_task *task)
{
    (void)task;
    kill(getpid(), SIGKILL);
    return 0;
}

/* ---- numbers ---- */

TEST(pool_limit_without_end_is_none)
{
    setup();
    const double limits[] = {INFINITY, 1e300, 1e10};
    for (int i = 0; i < 3; i++) {
        shoal_result *r;
        ASSERT_OK(shoal_pool_apply_async(pool, &r, doze, NULL, 0,
                                         &(shoal_task_options){.limit = limits[i]}));
        ASSERT_OK(shoal_result_get(r, NULL, NULL, SHOAL_FOREVER));
        shoal_result_free(r);
    }
    done();
}

TEST(pool_most_deaths_in_any_time)
{
    setup_with(&(shoal_pool_options){.workers = 1, .most_deaths = 3, .in_seconds = INFINITY});
    int rc = -EOWNERDEAD;
    for (int i = 0; i < 10 && rc == -EOWNERDEAD; i++)
        rc = shoal_pool_apply(pool, NULL, NULL, die, NULL, 0, SHOAL_FOREVER);
    ASSERT_EQ_INT(rc, -ECONNABORTED);
    done();
}

static int take_memory(shoal_task *task)
{
    (void)task;
    void *memory = mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return shoal_task_fail(-ENOMEM, "no memory");
    munmap(memory, 64 << 20);
    return 0;
}

TEST(pool_memory_limit_that_is_more_than_there_can_be_is_none)
{
    setup_with(&(shoal_pool_options){.workers = 1, .memory_per_worker = UINT64_MAX});
    ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, take_memory, NULL, 0, SHOAL_FOREVER));
    done();
}

static int first_of(const void *const in[], void *out)
{
    (void)in;
    (void)out;
    return 0;
}

TEST(pool_starmap_of_more_bytes_than_can_be_counted_is_an_error)
{
    setup();
    int64_t some[4] = {0};
    const void *in[4] = {some, some, some, some};
    size_t sizes[4] = {8, 8, 8, 8};
    ASSERT_ERR(shoal_pool_starmap(pool, first_of, in, sizes, 4, NULL, 0, SIZE_MAX / 32, NULL,
                                  SHOAL_FOREVER),
               -EMSGSIZE);
    done();
}

/* ---- results in several hands ---- */

static int long_any(shoal_task *task)
{
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    shoal_any *any = shoal_any_list(shoal_any_str(text), shoal_any_int(7));
    int rc = shoal_task_return(task, any);
    shoal_any_free(any);
    return rc;
}

static shoal_result *shared_result;
static pthread_barrier_t start;

static void *ask(void *argument)
{
    const shoal_any *any;
    (void)argument;
    pthread_barrier_wait(&start);
    ASSERT_OK(shoal_result_get_any(shared_result, &any, SHOAL_FOREVER));
    ASSERT_EQ_INT(shoal_any_count(any), 2);
    return (void *)(uintptr_t)any;
}

TEST(pool_result_may_be_asked_for_as_an_any_by_several_threads_at_once)
{
    enum { THREADS = 4 };
    setup();
    pthread_barrier_init(&start, NULL, THREADS);
    for (int i = 0; i < 100; i++) {
        pthread_t threads[THREADS];
        void *any, *first = NULL;
        ASSERT_OK(shoal_pool_apply_async(pool, &shared_result, long_any, NULL, 0, NULL));
        ASSERT_OK(shoal_result_wait(shared_result, SHOAL_FOREVER));
        for (int k = 0; k < THREADS; k++)
            ASSERT_EQ_INT(pthread_create(&threads[k], NULL, ask, NULL), 0);
        for (int k = 0; k < THREADS; k++) {
            pthread_join(threads[k], &any);
            ASSERT_TRUE(!first || any == first);
            first = any;
        }
        shoal_result_free(shared_result);
    }
    done();
}

TEST(pool_bytes_of_a_result_stay_good_when_it_is_asked_for_as_an_any)
{
    setup();
    shoal_result *r;
    const void *bytes, *again;
    const shoal_any *any;
    size_t size;
    ASSERT_OK(shoal_pool_apply_async(pool, &r, long_any, NULL, 0, NULL));
    ASSERT_OK(shoal_result_get(r, &bytes, &size, SHOAL_FOREVER));
    char *copy = malloc(size);
    memcpy(copy, bytes, size);
    ASSERT_OK(shoal_result_get_any(r, &any, SHOAL_FOREVER));
    ASSERT_OK(shoal_result_get(r, &again, NULL, SHOAL_FOREVER));
    ASSERT_TRUE(again == bytes);
    ASSERT_TRUE(!memcmp(bytes, copy, size));
    free(copy);
    shoal_result_free(r);
    done();
}

static shoal_result *_Atomic next_result;

static void free_and_give(shoal_result *result, void *argument)
{
    (void)argument;
    shoal_result_free(result);
    shoal_result *next;
    ASSERT_OK(shoal_pool_apply_async(pool, &next, doze, NULL, 0, NULL));
    next_result = next;
}

TEST(pool_callback_may_free_a_result_that_nobody_wants)
{
    setup();
    ASSERT_OK(shoal_pool_apply_async(pool, NULL, doze, NULL, 0,
                                     &(shoal_task_options){.on_success = free_and_give}));
    while (!next_result)
        usleep(1000);
    ASSERT_OK(shoal_result_get(next_result, NULL, NULL, SHOAL_FOREVER));
    usleep(10000);
    ASSERT_OK(shoal_result_get(next_result, NULL, NULL, SHOAL_FOREVER));
    shoal_result_free(next_result);
    done();
}

static int some_more(void *argument, const void **bytes, size_t *size)
{
    int *n = argument;
    *bytes = n;
    *size = sizeof *n;
    return (*n)-- > 0;
}

static _Atomic int freed;

static void free_it(shoal_result *result, void *argument)
{
    (void)argument;
    shoal_result_free(result);
    freed++;
}

TEST(pool_callback_of_an_imap_does_not_free_what_is_not_taken_yet)
{
    setup();
    shoal_iterator *it;
    shoal_result *r, *other;
    int n = 4, rc, got = 0;
    ASSERT_OK(shoal_pool_imap(pool, &it, echo, some_more, &n,
                              &(shoal_imap_options){
                                  .task = &(shoal_task_options){.on_success = free_it}}));
    ASSERT_EQ_INT(shoal_iterator_next(it, &r, SHOAL_FOREVER), 1); /* its callback may be late */
    while (freed < 4)
        usleep(1000);
    while ((rc = shoal_iterator_next(it, &r, SHOAL_FOREVER)) == 1) {
        ASSERT_OK(shoal_pool_apply_async(pool, &other, doze, NULL, 0, NULL));
        ASSERT_OK(shoal_result_get(r, NULL, NULL, SHOAL_NOW));
        shoal_result_free(r);
        shoal_result_free(other);
        got++;
    }
    ASSERT_EQ_INT(rc, 0);
    ASSERT_EQ_INT(got, 3);
    shoal_iterator_free(it);
    done();
}

static int nothing(const void *in, void *out)
{
    (void)in;
    (void)out;
    return 0;
}

static void never(shoal_result *result, void *argument)
{
    (void)result;
    (void)argument;
    freed++;
}

static void never_told(const shoal_progress *progress, void *argument)
{
    (void)progress;
    (void)argument;
    freed++;
}

TEST(pool_map_that_could_not_be_given_calls_nobody)
{
    enum { N = 64 };
    setup_with(&(shoal_pool_options){.workers = 64});
    shoal_result *r = NULL;
    int rc;
    char in[1000];
    struct own *p = pool_of(pool, "a test", &rc);
    ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, doze, NULL, 0, SHOAL_FOREVER));
    uint32_t owned = atomic_load(&p->shared->owned_count);
    /* as if there were no room for another run of units */
    atomic_store(&p->shared->owned_count, RUNS);
    rc = shoal_pool_map_async(pool, &r, nothing, in, 1, NULL, 0, sizeof in,
                              &(shoal_task_options){.on_error = never,
                                                    .on_success = never,
                                                    .progress = never_told});
    atomic_store(&p->shared->owned_count, owned);
    ASSERT_ERR(rc, -ENOSPC);
    ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, doze, NULL, 0, SHOAL_FOREVER));
    ASSERT_EQ_INT(freed, 0);
    done();
}

static void *wait_for_it(void *argument)
{
    return (void *)(intptr_t)shoal_result_wait(argument, SHOAL_FOREVER);
}

static void *wait_for_next(void *argument)
{
    shoal_result *r;
    int rc = shoal_iterator_next(argument, &r, SHOAL_FOREVER);
    if (rc == 1) {
        ASSERT_ERR(shoal_result_get(r, NULL, NULL, SHOAL_NOW), -ECANCELED);
        shoal_result_free(r);
    }
    return (void *)(intptr_t)rc;
}

TEST(pool_may_be_given_back_while_threads_wait_for_its_results)
{
    enum { THREADS = 8 };
#ifdef M_PERTURB
    mallopt(M_PERTURB, 0x55);
#endif
    for (int round = 0; round < 10; round++) {
        pthread_t threads[THREADS], next;
        shoal_result *r[THREADS];
        shoal_iterator *it;
        void *rc;
        int n = 100;
        setup();
        for (int i = 0; i < THREADS; i++) {
            ASSERT_OK(shoal_pool_apply_async(pool, &r[i], for_ever, NULL, 0, NULL));
            ASSERT_EQ_INT(pthread_create(&threads[i], NULL, wait_for_it, r[i]), 0);
        }
        ASSERT_OK(shoal_pool_imap(pool, &it, for_ever, some_more, &n, NULL));
        ASSERT_EQ_INT(pthread_create(&next, NULL, wait_for_next, it), 0);
        usleep(round * 2000);
        pool = shoal_pool_free(pool);
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], &rc);
            ASSERT_EQ_INT((int)(intptr_t)rc, 0);
            ASSERT_ERR(shoal_result_get(r[i], NULL, NULL, SHOAL_NOW), -ECANCELED);
            shoal_result_free(r[i]);
        }
        pthread_join(next, &rc);
        ASSERT_TRUE((int)(intptr_t)rc == 1 || (int)(intptr_t)rc == -ECANCELED ||
                    (int)(intptr_t)rc == -EBADF);
        shoal_iterator_free(it);
    }
    all_free(0);
}

static int shrink(shoal_task *task)
{
    void *to;
    int rc = shoal_task_reserve(task, &to, 200000);
    if (rc)
        return rc;
    for (int i = 0; i < 200000; i++)
        ((unsigned char *)to)[i] = (unsigned char)(i % 251);
    return shoal_task_return_bytes(task, (char *)to + 1, 100000);
}

TEST(pool_task_may_return_a_piece_of_what_it_has_reserved)
{
    setup();
    void *bytes;
    size_t size;
    ASSERT_OK(shoal_pool_apply(pool, &bytes, &size, shrink, NULL, 0, SHOAL_FOREVER));
    ASSERT_EQ_INT(size, 100000);
    for (int i = 0; i < 100000; i++)
        ASSERT_EQ_INT(((unsigned char *)bytes)[i], (i + 1) % 251);
    free(bytes);
    done();
}

/* ---- forks, and ends ---- */

static _Atomic int over;

static void *give_all_the_time(void *argument)
{
    (void)argument;
    while (!over) {
        shoal_result *r;
        if (!shoal_pool_map_async(pool, &r, nothing, NULL, 0, NULL, 0, 0, NULL))
            shoal_result_free(r);
    }
    return NULL;
}

TEST(pool_child_may_have_pools_of_its_own_whatever_its_parent_was_at)
{
    pthread_t thread;
    if (!os_features()->robust)
        SKIP("an emulator, where the child of a process that has such a thread ends with status "
             "127");
    setup();
    ASSERT_EQ_INT(pthread_create(&thread, NULL, give_all_the_time, NULL), 0);
    for (int i = 0; i < 60; i++) {
        pid_t pid = fork();
        if (!pid) {
            shoal_pool *mine = NULL;
            shoal_result *r = NULL;
            int ok = !shoal_pool_create(&mine, &(shoal_pool_options){.workers = 1}) &&
                     !shoal_pool_apply_async(mine, &r, echo, "x", 1, NULL) &&
                     !shoal_result_get(r, NULL, NULL, SHOAL_FOREVER);
            shoal_result_free(r);
            shoal_pool_free(mine);
            shoal_detach();
            _exit(ok ? 0 : 1);
        }
        int status, waited = 0;
        while (!waitpid(pid, &status, WNOHANG) && waited++ < 5000)
            usleep(1000);
        if (waited > 5000)
            kill(pid, SIGKILL);
        ASSERT_TRUE(waited <= 5000);
        ASSERT_EQ_INT(status, 0);
    }
    over = 1;
    pthread_join(thread, NULL);
    done();
}

TEST(pool_child_that_gives_it_back_keeps_nothing_of_it)
{
    setup();
    int to[2], from[2];
    char byte = 0;
    ASSERT_SYS(pipe(to));
    ASSERT_SYS(pipe(from));
    pid_t pid = fork();
    if (!pid) {
        shoal_pool_free(pool);
        close(to[1]);
        ssize_t n = write(from[1], "x", 1);
        n += read(to[0], &byte, 1);
        shoal_detach();
        _exit(n ? 0 : 1);
    }
    ASSERT_EQ_INT(read(from[0], &byte, 1), 1);
    done();
    close(to[1]);
    waitpid(pid, NULL, 0);
    close(to[0]);
    close(from[0]);
    close(from[1]);
}

TEST(pool_program_may_close_the_handle_of_a_worker_that_has_ended)
{
    setup();
    shoal_process *workers[2];
    ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, doze, NULL, 0, SHOAL_FOREVER));
    ASSERT_EQ_INT(shoal_process_active_children(workers, 2), 2);
    for (int i = 0; i < 2; i++) {
        ASSERT_OK(shoal_process_kill(workers[i]));
        ASSERT_OK(shoal_process_join(workers[i], SHOAL_FOREVER));
        ASSERT_OK(shoal_process_close(workers[i]));
    }
    ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, doze, NULL, 0, shoal_after(10)));
    done();
}

TEST(pool_of_a_family_that_was_left_is_bad_beside_one_of_the_next)
{
    pid_t pid = fork();
    if (!pid) {
        shoal_pool *left;
        ASSERT_OK(shoal_detach());
        ASSERT_OK(shoal_pool_create(&left, &(shoal_pool_options){.workers = 1}));
        ASSERT_OK(shoal_pool_apply(left, NULL, NULL, doze, NULL, 0, SHOAL_FOREVER));
        ASSERT_OK(shoal_detach());
        ASSERT_ERR(shoal_pool_apply(left, NULL, NULL, doze, NULL, 0, SHOAL_FOREVER), -EBADF);
        ASSERT_OK(shoal_pool_create(&pool, &(shoal_pool_options){.workers = 1}));
        ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, doze, NULL, 0, SHOAL_FOREVER));
        shoal_pool_free(pool);
        exit(0);
    }
    int status;
    ASSERT_EQ_INT(waitpid(pid, &status, 0), pid);
    ASSERT_EQ_INT(status, 0);
}

static shoal_memory *ran;

static int note_that_it_runs(shoal_task *task)
{
    (void)task;
    ++*(_Atomic int *)shoal_memory_address(ran);
    for (;;)
        pause();
    return 0;
}

static bool lingers;

static void linger(void)
{
    if (lingers)
        usleep(200000);
}

/* So that it runs after those of shoal. */
__attribute__((constructor)) static void at_exit(void)
{
    atexit(linger);
}

static int exits(void *argument)
{
    (void)argument;
    lingers = true;
    ASSERT_OK(shoal_pool_create(&pool, &(shoal_pool_options){.workers = 2}));
    for (int i = 0; i < 10; i++)
        ASSERT_OK(shoal_pool_apply_async(pool, NULL, note_that_it_runs, NULL, 0, NULL));
    while (*(_Atomic int *)shoal_memory_address(ran) < 2)
        usleep(1000);
    exit(0);
}

TEST(pool_begins_no_task_when_its_process_exits)
{
    shoal_process *process;
    ASSERT_OK(shoal_memory_create(&ran, sizeof(int), &(shoal_memory_options){.flags = SHOAL_ZERO}));
    ASSERT_OK(shoal_process_start(&process, exits, NULL, NULL));
    ASSERT_OK(shoal_process_join(process, SHOAL_FOREVER));
    ASSERT_OK(shoal_process_close(process));
    ASSERT_EQ_INT(*(_Atomic int *)shoal_memory_address(ran), 2);
    shoal_memory_close(ran);
}

/* ---- calls from where they may not come ---- */

static int wrong[3];

static void wrong_progress(const shoal_progress *progress, void *argument)
{
    shoal_worker_statistics s;
    (void)progress;
    (void)argument;
    wrong[0] = shoal_pool_statistics(pool, &s, 1);
    wrong[1] = shoal_pool_apply(pool, NULL, NULL, echo, NULL, 0, SHOAL_FOREVER);
}

TEST(pool_progress_callback_that_asks_the_pool_gets_an_error)
{
    setup();
    char in[10];
    ASSERT_OK(shoal_pool_map(pool, nothing, in, 1, NULL, 0, sizeof in,
                             &(shoal_task_options){.progress = wrong_progress}, SHOAL_FOREVER));
    ASSERT_EQ_INT(wrong[0], -EDEADLK);
    ASSERT_EQ_INT(wrong[1], -EDEADLK);
    done();
}

static void wrong_callback(shoal_result *result, void *argument)
{
    (void)result;
    (void)argument;
    shoal_pool_free(pool);
    shoal_pool_close(pool);
    wrong[2] = shoal_pool_join(pool, SHOAL_FOREVER);
}

TEST(pool_callback_that_joins_or_frees_the_pool_gets_an_error)
{
    setup();
    ASSERT_OK(shoal_pool_apply_async(pool, NULL, echo, NULL, 0,
                                     &(shoal_task_options){.on_success = wrong_callback}));
    while (!*(volatile int *)&wrong[2])
        usleep(1000);
    ASSERT_EQ_INT(wrong[2], -EDEADLK);
    done();
}

static shoal_iterator *row;

static int asks_for_itself(void *argument, const void **bytes, size_t *size)
{
    int *n = argument;
    shoal_result *r;
    *bytes = "x";
    *size = 1;
    wrong[*n] = shoal_iterator_next(row, &r, SHOAL_FOREVER);
    shoal_iterator_free(row);
    return (*n)++ < 2;
}

TEST(pool_input_that_asks_its_own_iterator_gets_an_error)
{
    setup();
    int n = 0;
    shoal_result *r;
    ASSERT_OK(shoal_pool_imap(pool, &row, echo, asks_for_itself, &n, NULL));
    for (int i = 0; i < 2; i++) {
        ASSERT_EQ_INT(shoal_iterator_next(row, &r, SHOAL_FOREVER), 1);
        shoal_result_free(r);
    }
    ASSERT_EQ_INT(shoal_iterator_next(row, &r, SHOAL_FOREVER), 0);
    for (int i = 0; i < 3; i++)
        ASSERT_EQ_INT(wrong[i], -EDEADLK);
    shoal_iterator_free(row);
    done();
}

static void *next_for_ever(void *argument)
{
    shoal_result *r;
    int rc = shoal_iterator_next(argument, &r, SHOAL_FOREVER);
    if (rc == 1)
        shoal_result_free(r);
    return (void *)(intptr_t)rc;
}

TEST(pool_iterator_keeps_the_deadline_of_each_thread)
{
    setup();
    pthread_t thread;
    shoal_iterator *it;
    shoal_result *r;
    void *rc;
    int n = 4;
    ASSERT_OK(shoal_pool_imap(pool, &it, for_ever, some_more, &n, NULL));
    ASSERT_EQ_INT(pthread_create(&thread, NULL, next_for_ever, it), 0);
    usleep(20000);
    ASSERT_ERR(shoal_iterator_next(it, &r, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_iterator_next(it, &r, shoal_after(0.01)), -ETIMEDOUT);
    ASSERT_OK(shoal_pool_terminate(pool));
    pthread_join(thread, &rc);
    ASSERT_EQ_INT((int)(intptr_t)rc, 1);
    shoal_iterator_free(it);
    done();
}

static int sleeps(shoal_task *task)
{
    usleep(50000);
    return echo(task);
}

static int no_end(void *argument, const void **bytes, size_t *size)
{
    (void)argument;
    *bytes = "x";
    *size = 1;
    return 1;
}

static _Atomic int seen;

static void sees_it(shoal_result *result, void *argument)
{
    (void)argument;
    ASSERT_OK(shoal_result_get(result, NULL, NULL, SHOAL_NOW));
    seen++;
}

TEST(pool_handles_are_bad_as_soon_as_they_are_freed_but_for_callbacks)
{
    shoal_result *r;
    shoal_iterator *it;
    setup();
    ASSERT_OK(shoal_pool_apply_async(pool, &r, sleeps, NULL, 0,
                                     &(shoal_task_options){.on_success = sees_it}));
    shoal_result_free(r);
    ASSERT_ERR(shoal_result_get(r, NULL, NULL, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_result_cancel(r), -EBADF);
    shoal_result_free(r);
    ASSERT_OK(shoal_pool_imap(pool, &it, sleeps, no_end, NULL, NULL));
    ASSERT_EQ_INT(shoal_iterator_next(it, &r, SHOAL_FOREVER), 1);
    ASSERT_EQ_U64(shoal_result_index(r), 0);
    shoal_iterator_free(it);
    ASSERT_ERR(shoal_iterator_next(it, &r, SHOAL_NOW), -EBADF);
    shoal_result_free(r);
    shoal_iterator_free(it);
    while (!seen)
        usleep(1000);
    done();
}

TEST(pool_sentences_name_the_call_and_the_reason)
{
    setup();
    ASSERT_ERR(shoal_pool_apply(pool, NULL, NULL, sleeps, NULL, 0, -5), -EINVAL);
    ASSERT_STR(shoal_error_detail(), "shoal_pool_apply: the deadline -5 is negative: deadlines are "
                                     "absolute, shoal_after(seconds) makes one");
    ASSERT_ERR(shoal_pool_apply(pool, NULL, NULL, for_ever, NULL, 0, SHOAL_NOW), -EAGAIN);
    ASSERT_STR(shoal_error_detail(), "shoal_pool_apply: it could not be done at once");
    done();
}
