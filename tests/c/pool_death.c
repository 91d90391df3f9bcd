/* pool: what it does about workers that die, and about its own process's death. */
#include "limits.h"
#include "pools.h"
#include "region/life.h"
#include <sys/mman.h>
#include <sys/resource.h>

static int die(shoal_task *task)
{
    (void)task;
    kill(getpid(), SIGKILL);
    return 0;
}

static int leave(shoal_task *task)
{
    (void)task;
    exit(7);
}

static int crash(shoal_task *task)
{
    (void)task;
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
    return 0;
}

TEST(pool_death_fails_its_task_alone_and_tells_how)
{
    setup();
    shoal_result *r[3], *after;
    shoal_failure f;
    ASSERT_OK(shoal_pool_apply_async(pool, &r[0], die, NULL, 0, NULL));
    ASSERT_OK(shoal_pool_apply_async(pool, &r[1], leave, NULL, 0, NULL));
    ASSERT_OK(shoal_pool_apply_async(pool, &r[2], crash, NULL, 0, NULL));
    ASSERT_OK(shoal_pool_apply_async(pool, &after, echo, "x", 1, NULL));
    const int codes[] = {-SIGKILL, 7, -SIGSEGV};
    for (int i = 0; i < 3; i++) {
        ASSERT_ERR(shoal_result_get(r[i], NULL, NULL, SHOAL_FOREVER), -EOWNERDEAD);
        ASSERT_OK(shoal_result_failure(r[i], &f));
        ASSERT_EQ_INT(f.exit_code, codes[i]);
        ASSERT_EQ_INT(f.index, i);
        ASSERT_TRUE(f.pid > 0);
        char text[160];
        snprintf(text, sizeof text,
                 i == 1 ? "(pid %d) ended with exit code 7" : "(pid %d) was killed by signal %d (",
                 (int)f.pid, -codes[i]);
        ASSERT_TRUE(strstr(f.text, text) != NULL);
        shoal_result_free(r[i]);
    }
    ASSERT_OK(shoal_result_get(after, NULL, NULL, SHOAL_FOREVER));
    shoal_result_free(after);
    done();
}

static int die_at_multiples_of_100(const void *in, void *out)
{
    int n = *(const int *)in;
    if (n && n % 100 == 0)
        kill(getpid(), SIGKILL);
    *(int *)out = n + 1;
    return 0;
}

TEST(pool_death_in_a_map_fails_one_item)
{
    enum { N = 1000 };
    int in[N], out[N] = {0};
    shoal_result *r;
    shoal_failure f;
    setup();
    for (int i = 0; i < N; i++)
        in[i] = i;
    ASSERT_OK(shoal_pool_map_async(pool, &r, die_at_multiples_of_100, in, sizeof *in, out,
                                   sizeof *out, N, NULL));
    ASSERT_ERR(shoal_result_get(r, NULL, NULL, SHOAL_FOREVER), -EOWNERDEAD);
    ASSERT_OK(shoal_result_failure(r, &f));
    ASSERT_EQ_INT(f.index, 100);
    ASSERT_EQ_INT(f.failed, 9);
    ASSERT_EQ_INT(f.exit_code, -SIGKILL);
    for (int i = 0; i < N; i++)
        if (!i || i % 100)
            ASSERT_EQ_INT(out[i], i + 1);
    shoal_result_free(r);
    done();
}

static int die_twice(shoal_task *task)
{
    shoal_memory *memory;
    shoal_reference reference;
    memcpy(&reference, shoal_task_bytes(task, NULL), sizeof reference);
    int rc = shoal_memory_open(&memory, &reference);
    if (rc)
        return rc;
    _Atomic int *count = shoal_memory_address(memory);
    if (++*count < 3)
        kill(getpid(), SIGKILL);
    return shoal_task_return_bytes(task, (const void *)(uintptr_t)count, sizeof *count);
}

TEST(pool_retries_begin_a_task_anew)
{
    setup();
    shoal_memory *memory;
    shoal_reference reference;
    shoal_result *r;
    const void *bytes;
    ASSERT_OK(
        shoal_memory_create(&memory, sizeof(int), &(shoal_memory_options){.flags = SHOAL_ZERO}));
    ASSERT_OK(shoal_memory_reference(memory, &reference));
    ASSERT_OK(shoal_pool_apply_async(pool, &r, die_twice, &reference, sizeof reference,
                                     &(shoal_task_options){.retries = 1}));
    ASSERT_ERR(shoal_result_get(r, NULL, NULL, SHOAL_FOREVER), -EOWNERDEAD);
    shoal_result_free(r);
    *(int *)shoal_memory_address(memory) = 0;
    ASSERT_OK(shoal_pool_apply_async(pool, &r, die_twice, &reference, sizeof reference,
                                     &(shoal_task_options){.retries = 2}));
    ASSERT_OK(shoal_result_get(r, &bytes, NULL, SHOAL_FOREVER));
    ASSERT_EQ_INT(*(const int *)bytes, 3);
    shoal_result_free(r);
    shoal_memory_close(memory);
    done();
}

TEST(pool_crash_loop_ends_with_an_error)
{
    setup_with(&(shoal_pool_options){.workers = 2, .most_deaths = 5, .in_seconds = 60});
    shoal_result *r[20];
    int dead = 0, given_up = 0;
    for (int i = 0; i < 20; i++)
        ASSERT_OK(shoal_pool_apply_async(pool, &r[i], die, NULL, 0, NULL));
    for (int i = 0; i < 20; i++) {
        int rc = shoal_result_get(r[i], NULL, NULL, SHOAL_FOREVER);
        dead += rc == -EOWNERDEAD;
        given_up += rc == -ECONNABORTED;
        shoal_result_free(r[i]);
    }
    ASSERT_EQ_INT(dead + given_up, 20);
    ASSERT_TRUE(dead >= 5 && dead <= 7);
    ASSERT_ERR(shoal_pool_apply(pool, NULL, NULL, echo, NULL, 0, SHOAL_FOREVER), -ECONNABORTED);
    ASSERT_TRUE(strstr(shoal_error_detail(), "was killed by signal 9") != NULL);
    done();
}

TEST(pool_deaths_that_end_tasks_are_no_crash_loop)
{
    setup();
    for (int i = 0; i < 40; i++)
        ASSERT_ERR(shoal_pool_apply(pool, NULL, NULL, die, NULL, 0, SHOAL_FOREVER), -EOWNERDEAD);
    ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, echo, NULL, 0, SHOAL_FOREVER));
    done();
}

static int refuses(void *argument)
{
    (void)argument;
    return -ENODEV;
}

TEST(pool_initializer_that_fails_always_ends_the_pool_with_its_error)
{
    setup_with(&(shoal_pool_options){.workers = 2, .initializer = refuses});
    ASSERT_ERR(shoal_pool_apply(pool, NULL, NULL, echo, NULL, 0, SHOAL_FOREVER), -ECONNABORTED);
    ASSERT_TRUE(strstr(shoal_error_detail(), "initializer of worker") != NULL);
    ASSERT_TRUE(strstr(shoal_error_detail(), "returned -19") != NULL);
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

TEST(pool_memory_limit_holds_for_each_worker)
{
    needs_address_limit();
    setup_with(&(shoal_pool_options){.workers = 1, .memory_per_worker = 16 << 20});
    ASSERT_ERR(shoal_pool_apply(pool, NULL, NULL, take_memory, NULL, 0, SHOAL_FOREVER), -EREMOTEIO);
    ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, echo, NULL, 0, SHOAL_FOREVER));
    done();
    setup();
    ASSERT_OK(shoal_pool_apply(pool, NULL, NULL, take_memory, NULL, 0, SHOAL_FOREVER));
    done();
}

static pid_t *pids; /* shared */

static int boss(void *argument)
{
    (void)argument;
    setup();
    for (int i = 0; i < 2; i++)
        ASSERT_OK(shoal_pool_apply_async(pool, NULL, for_ever, NULL, 0, NULL));
    shoal_worker_statistics s[2];
    ASSERT_EQ_INT(shoal_pool_statistics(pool, s, 2), 2);
    pids[0] = s[0].pid;
    pids[1] = s[1].pid;
    for (;;)
        pause();
    return 0;
}

/* Its workers, and what they had: all but the memory of `pids`. */
static void all_gone(void)
{
    shoal_statistics s = {.objects = 2};
    for (int i = 0; i < 2; i++)
        while (!kill(pids[i], 0)) /* init reaps it */
            usleep(1000);
    while (s.objects > 1) {
        int64_t soonest;
        life_look_all(true, &soonest);
        ASSERT_OK(shoal_memory_statistics(&s));
        usleep(1000);
    }
}

TEST(pool_workers_end_when_their_parent_is_killed)
{
    shoal_memory *memory;
    shoal_process *process;
    ASSERT_OK(shoal_memory_create(&memory, 2 * sizeof *pids,
                                  &(shoal_memory_options){.flags = SHOAL_ZERO}));
    pids = shoal_memory_address(memory);
    ASSERT_OK(shoal_process_start(&process, boss, NULL, NULL));
    while (!((volatile pid_t *)pids)[1])
        usleep(1000);
    ASSERT_OK(shoal_process_kill(process));
    ASSERT_OK(shoal_process_join(process, SHOAL_FOREVER));
    ASSERT_OK(shoal_process_close(process));
    all_gone();
    shoal_memory_close(memory);
}

static int prompt(void *argument)
{
    setpgid(0, 0);
    signal(SIGINT, SIG_DFL); /* who runs tests in the background may have it ignored */
    return boss(argument);
}

TEST(pool_control_c_leaves_nothing)
{
    shoal_memory *memory;
    shoal_process *process;
    int code;
    ASSERT_OK(shoal_memory_create(&memory, 2 * sizeof *pids,
                                  &(shoal_memory_options){.flags = SHOAL_ZERO}));
    pids = shoal_memory_address(memory);
    ASSERT_OK(shoal_process_start(&process, prompt, NULL, NULL));
    while (!((volatile pid_t *)pids)[1])
        usleep(1000);
    ASSERT_SYS(kill(-shoal_process_pid(process), SIGINT)); /* as the terminal does */
    ASSERT_OK(shoal_process_join(process, SHOAL_FOREVER));
    ASSERT_OK(shoal_process_exit_code(process, &code));
    ASSERT_EQ_INT(code, -SIGINT);
    ASSERT_OK(shoal_process_close(process));
    all_gone();
    shoal_memory_close(memory);
}

static int slow(shoal_task *task)
{
    usleep(500);
    return echo(task);
}

TEST(pool_random_kills_leave_each_task_done_or_told_of)
{
    enum { N = 4000 };
    static shoal_result *r[N];
    setup();
    unsigned seed = 1;
    int dead = 0, kills = 0;
    for (int i = 0; i < N; i++)
        ASSERT_OK(shoal_pool_apply_async(pool, &r[i], slow, &i, sizeof i,
                                         &(shoal_task_options){.retries = i % 2 ? UINT32_MAX : 0}));
    for (int i = 0; i < N; i++) {
        const void *bytes;
        shoal_worker_statistics s[2];
        if (rand_r(&seed) % 20 == 0) {
            shoal_pool_statistics(pool, s, 2);
            pid_t pid = s[rand_r(&seed) % 2].pid;
            kills += pid && !kill(pid, SIGKILL);
        }
        int rc = shoal_result_get(r[i], &bytes, NULL, SHOAL_FOREVER);
        if (rc) {
            ASSERT_EQ_INT(rc, -EOWNERDEAD);
            ASSERT_EQ_INT(i % 2, 0);
            dead++;
        } else {
            ASSERT_EQ_INT(*(const int *)bytes, i);
        }
        shoal_result_free(r[i]);
    }
    ASSERT_TRUE(kills > 20 && dead <= kills);
    done();
}
