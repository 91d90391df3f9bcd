/* campaign_pool.c: many tasks of all kinds in a pool whose workers are killed at random; then pools whose parents are.
 *
 *     shoal-campaign-pool [--kills N] [--tasks N] [--parents N] [--seed N]
 *
 * Each task's result must be right, or its error must name a death; what may be tried again for ever must succeed. There are no more tasks that tell of a
 * death than there were kills. In the end nothing is left: no process, no object. The waiting net is off. Last line: "N passed, N failed".
 */
#define _GNU_SOURCE
#include "kill/audit.h"
#include "runner/check.h"

#include <errno.h>
#include <limits.h>
#include <shoal/shoal.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 3, WINDOW = 512, ITEMS = 400, KINDS = 16 };

static struct shared {
    int judged;
    struct check_report report;
} * shared;

static uint64_t seed;
static shoal_pool *pool;

static uint32_t random_below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 20) % n;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void nap(uint32_t us)
{
    nanosleep(&(struct timespec){.tv_nsec = us * 1000L}, NULL);
}

/* ---- tasks: each is given its number ---- */

static int64_t number_of(shoal_task *task)
{
    int64_t n;

    memcpy(&n, shoal_task_bytes(task, NULL), sizeof n);
    for (volatile int i = n % 32 ? 0 : 20000; i; i--) /* some take their time, and die at it */
        ;
    return n;
}

static int64_t answer(int64_t n)
{
    return (int64_t)((uint64_t)n * 0x9e3779b97f4a7c15u + 1);
}

static int give_short(shoal_task *task)
{
    int64_t n = answer(number_of(task));

    return shoal_task_return_bytes(task, &n, sizeof n);
}

static int give_long(shoal_task *task)
{
    int64_t n = number_of(task), *to;
    int rc = shoal_task_reserve(task, (void **)&to, 1000 * sizeof n);

    for (int i = 0; !rc && i < 1000; i++)
        to[i] = answer(n + i);
    return rc;
}

static int give_any(shoal_task *task)
{
    int64_t n = 0;
    int rc = shoal_any_as_int(shoal_task_any(task), &n);

    if (!rc) {
        shoal_any *any = shoal_any_list(shoal_any_int(answer(n)),
                                        shoal_any_str("a text that makes it long enough"));
        rc = shoal_task_return(task, any);
        shoal_any_free(any);
    }
    return rc;
}

static int give_error(shoal_task *task)
{
    return shoal_task_fail(3, "the error of task %lld, as it is called here",
                           (long long)number_of(task));
}

static int item(const void *in, void *out)
{
    *(int64_t *)out = answer(*(const int64_t *)in);
    return 0;
}

/* ---- what was given, and what came of it ---- */

static struct given {
    shoal_result *result;
    int64_t number;
    unsigned kind;
    bool always, cancelled;
} window[WINDOW];

static struct {
    long done, dead, cancelled, killed, items_dead;
} counts;

static void give(struct given *g, int64_t n)
{
    static const shoal_function functions[KINDS] =
        {[1] = give_long, [2] = give_any, [3] = give_error};
    shoal_task_options options = {.priority = (int)random_below(3) - 1};
    shoal_function function;

    *g = (struct given){.number = n, .kind = random_below(KINDS), .always = random_below(2)};
    options.retries = g->always ? UINT_MAX : 0;
    function = functions[g->kind] ? functions[g->kind] : give_short;
    if (g->kind == 2) {
        shoal_any *any = shoal_any_int(n);
        ASSERT_OK(shoal_pool_apply_async_any(pool, &g->result, function, any, &options));
        shoal_any_free(any);
    } else {
        ASSERT_OK(shoal_pool_apply_async(pool, &g->result, function, &n, sizeof n, &options));
    }
    if (!random_below(200)) {
        int rc = shoal_result_cancel(g->result);
        ASSERT_TRUE(!rc || rc == -EALREADY);
        g->cancelled = true;
    }
}

static void check_good(struct given *g)
{
    const void *bytes;
    size_t size;

    if (g->kind == 2) {
        const shoal_any *any, *first;
        int64_t n;
        ASSERT_OK(shoal_result_get_any(g->result, &any, SHOAL_NOW));
        ASSERT_OK(shoal_any_at(any, 0, &first));
        ASSERT_OK(shoal_any_as_int(first, &n));
        ASSERT_EQ_INT(n, answer(g->number));
        return;
    }
    ASSERT_OK(shoal_result_get(g->result, &bytes, &size, SHOAL_NOW));
    const int64_t *numbers = bytes;
    ASSERT_EQ_INT(size, g->kind == 1 ? 8000 : 8);
    for (int i = 0; i < (g->kind == 1 ? 1000 : 1); i++)
        ASSERT_EQ_INT(numbers[i], answer(g->number + i));
}

static void take(struct given *g)
{
    char text[100];
    shoal_failure f;
    int rc = shoal_result_get(g->result, NULL, NULL, SHOAL_FOREVER);

    ASSERT_OK(shoal_result_failure(g->result, &f));
    if (rc == -EOWNERDEAD) {
        ASSERT_TRUE(!g->always && f.pid > 0 && f.exit_code == -SIGKILL);
        counts.dead++;
    } else if (rc == -ECANCELED) {
        ASSERT_TRUE(g->cancelled);
        counts.cancelled++;
    } else if (g->kind == 3) {
        snprintf(text, sizeof text, "the error of task %lld, as it is called here",
                 (long long)g->number);
        ASSERT_EQ_INT(rc, -EREMOTEIO);
        ASSERT_EQ_INT(f.value, 3);
        ASSERT_STR(f.text, text);
        counts.done++;
    } else {
        ASSERT_EQ_INT(rc, 0);
        check_good(g);
        counts.done++;
    }
    shoal_result_free(g->result);
}

static void kill_one(void)
{
    shoal_worker_statistics s[WORKERS];

    ASSERT_EQ_INT(shoal_pool_statistics(pool, s, WORKERS), WORKERS);
    pid_t pid = s[random_below(WORKERS)].pid;
    if (!pid)
        return;
    if (!random_below(4)) { /* it stands for a moment first */
        kill(pid, SIGSTOP);
        nap(random_below(300));
    } else if (!random_below(4)) {
        nap(random_below(300));
    }
    counts.killed += !kill(pid, SIGKILL);
}

/* An item that was at a worker when that was killed, and no other, may be missing. */
static void map_some(int64_t n, bool kills)
{
    int64_t in[ITEMS], out[ITEMS];
    shoal_result *r;
    shoal_failure f;
    uint64_t wrong = 0;

    for (int i = 0; i < ITEMS; i++) {
        in[i] = n + i;
        out[i] = 0;
    }
    ASSERT_OK(shoal_pool_map_async(pool, &r, item, in, sizeof *in, out, sizeof *out, ITEMS, NULL));
    if (kills)
        kill_one();
    int rc = shoal_result_get(r, NULL, NULL, SHOAL_FOREVER);
    ASSERT_OK(shoal_result_failure(r, &f));
    for (int i = 0; i < ITEMS; i++)
        wrong += out[i] != answer(n + i);
    ASSERT_TRUE(rc == 0 || rc == -EOWNERDEAD);
    ASSERT_LE_U64(wrong, f.failed);
    counts.items_dead += (long)f.failed;
    shoal_result_free(r);
}

static void load(long tasks, long kills)
{
    long each = tasks / (kills ? kills : 1) * 8 / 10; /* so that all come before the end */

    memset(window, 0, sizeof window);
    for (int64_t n = 0; n < tasks + WINDOW; n++) {
        struct given *g = &window[n % WINDOW];
        if (g->result)
            take(g);
        g->result = NULL;
        if (n < tasks)
            give(g, n);
        if (counts.killed < kills && (each < 2 || !random_below((uint32_t)each)))
            kill_one();
        if (n % 5003 == 0)
            map_some(n, counts.killed < kills);
    }
}

static void open_pool(void)
{
    ASSERT_OK(shoal_pool_create(&pool, &(shoal_pool_options){.workers = WORKERS,
                                                             .most_deaths = UINT_MAX}));
}

static void close_pool(void)
{
    ASSERT_OK(shoal_pool_close(pool));
    ASSERT_OK(shoal_pool_join(pool, SHOAL_FOREVER));
    pool = shoal_pool_free(pool);
}

/* ---- pools whose parent is killed ---- */

static void parent(void)
{
    for (;;) {
        open_pool();
        load(300, random_below(3));
        if (random_below(2))
            close_pool();
        else
            pool = shoal_pool_free(pool);
    }
}

static void kill_parents(long parents)
{
    for (long i = 0; i < parents; i++) {
        fflush(stdout);
        pid_t pid = fork();
        ASSERT_SYS(pid);
        if (!pid) {
            seed += (uint64_t)i * 0x9e3779b97f4a7c15u + 2;
            parent();
        }
        nap(random_below(15000));
        kill(pid, SIGKILL);
        /* its workers become this process's children, and end */
        while (waitpid(-1, NULL, 0) > 0)
            ;
        audit_settle(0);
        audit_check(0);
    }
}

/* ---- all ---- */

static void campaign(long tasks, long kills, long parents)
{
    double begun = now();
    shoal_statistics s;

    ASSERT_SYS(prctl(PR_SET_CHILD_SUBREAPER, 1));
    open_pool();
    load(tasks, kills);
    close_pool();
    ASSERT_EQ_INT(counts.done + counts.dead + counts.cancelled, tasks);
    ASSERT_LE_INT(counts.dead + counts.items_dead, counts.killed);
    ASSERT_OK(shoal_memory_statistics(&s));
    ASSERT_EQ_INT(s.objects, 0);
    ASSERT_EQ_INT(shoal_process_active_children(NULL, 0), 0);
    printf("%ld tasks: %ld done, %ld told of a death, %ld cancelled; %ld items of maps lost; %ld "
           "workers killed (%.1f s)\n",
           tasks, counts.done, counts.dead, counts.cancelled, counts.items_dead, counts.killed,
           now() - begun);
    audit_settle(0);
    audit_check(0);
    begun = now();
    kill_parents(parents);
    printf("%ld parents killed (%.1f s)\n", parents, now() - begun);
    shared->judged = 1;
}

int main(int argc, char **argv)
{
    long kills = 200, tasks = 20000, parents = 20, chosen = 0;
    int status;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i += 2) {
        long value = i + 1 < argc ? atol(argv[i + 1]) : -1,
             *to = !strcmp(argv[i], "--kills")     ? &kills
                   : !strcmp(argv[i], "--tasks")   ? &tasks
                   : !strcmp(argv[i], "--parents") ? &parents
                   : !strcmp(argv[i], "--seed")    ? &chosen
                                                   : NULL;
        if (!to || value < 0) {
            fprintf(stderr, "usage: %s [--kills N] [--tasks N] [--parents N] [--seed N]\n",
                    argv[0]);
            return 2;
        }
        *to = value;
    }
    seed = 0x9e3779b97f4a7c15u + (uint64_t)chosen * 2;
    setenv("SHOAL_TEST_NET", "0", 1);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_TRUE(shared != MAP_FAILED);
    check_report = &shared->report;
    pid_t root = fork();
    ASSERT_SYS(root);
    if (!root) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        campaign(tasks, kills, parents);
        exit(0);
    }
    ASSERT_EQ_INT(waitpid(root, &status, 0), root);
    if (!shared->judged)
        printf("FAILED  it ended early, with status %#x (--seed %ld): %s\n", (unsigned)status,
               chosen, shared->report.text);
    printf("%d passed, %d failed\n", shared->judged, !shared->judged);
    return !shared->judged;
}
