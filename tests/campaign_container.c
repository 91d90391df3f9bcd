/* campaign_container.c: many processes change one dict and one list at random, and are killed at random.
 *
 *     shoal-campaign-container [--kills N] [--seed N]
 *
 * Each process has keys of its own, and keeps a model of them in memory that is shared outside of the region: what each is, and what it is about to become.
 * When it was killed, each of its keys must be as the model says, and those that its last call was about all as before it, or all as after it.
 * The same of its items of the list, which are in the order in which they were appended. What all add to is the sum of what each has added. In the
 * end nothing is left. The waiting net is off. Last line: "N passed, N failed".
 */
#define _GNU_SOURCE
#include "kill/audit.h"
#include "runner/check.h"

#include <errno.h>
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

enum { WORKERS = 5, KEYS = 60, ITEMS = 64, LONGEST = 3000 };

/* A worker's model. Values are numbers that say what lies there, 0 nothing; of an item its number. */
struct model {
    uint32_t seed;
    uint32_t now[KEYS], next[KEYS];           /* they differ while a call is under way */
    uint32_t items[ITEMS], next_items[ITEMS]; /* in order, 0 behind the last */
    uint32_t number;
    int64_t sum, next_sum;
    long calls;
};

static struct shared {
    int judged;
    struct check_report report;
    struct model models[WORKERS];
} * shared;

static uint64_t seed;
static shoal_dict *dict;
static shoal_list *list;

static uint32_t random_of(uint64_t *state, uint32_t n)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 20) % n;
}

static void nap(uint32_t us)
{
    nanosleep(&(struct timespec){.tv_nsec = us * 1000L}, NULL);
}

/* ---- values by number, of each way in which one may lie there ---- */

static shoal_any *value_of(uint32_t n)
{
    char text[LONGEST];

    if (n % 4 == 0)
        return shoal_any_int(n);
    if (n % 4 == 1)
        return shoal_any_tuple(shoal_any_int(n), shoal_any_str("of several"));
    size_t size = n % 4 == 2 || n % 100 >= 20 ? n % 50 : 2100 + n % 800;
    memset(text, 'a' + (int)(n % 26), sizeof(text));
    return shoal_any_str_sized(text, size);
}

static shoal_any *key_of(int who, int k)
{
    return shoal_any_tuple(shoal_any_int(who), shoal_any_int(k));
}

static bool is_value(const shoal_any *any, uint32_t n)
{
    if (!any || !n)
        return !any && !n;
    shoal_any *wanted = value_of(n);
    ASSERT_NOT_NULL(wanted);
    bool is = shoal_any_equal(any, wanted) == 1;
    shoal_any_free(wanted);
    return is;
}

static shoal_any *item_of(int who, uint32_t number)
{
    return shoal_any_tuple(shoal_any_int(who), shoal_any_int(number), value_of(number));
}

/* ---- a worker ---- */

static void changed(struct model *m)
{
    memcpy(m->now, m->next, sizeof(m->now));
    memcpy(m->items, m->next_items, sizeof(m->items));
    m->sum = m->next_sum;
    m->calls++;
}

static int call(shoal_any *key, shoal_any *value,
                int (*f)(shoal_dict *, const shoal_any *, const shoal_any *))
{
    ASSERT_NOT_NULL(key);
    int rc = f(dict, key, value);
    shoal_any_free(key);
    shoal_any_free(value);
    return rc;
}

static int delete (shoal_dict *d, const shoal_any *key, const shoal_any *value)
{
    (void)value;
    return shoal_dict_delete(d, key);
}

static void change_list(struct model *m, int who, uint64_t *state)
{
    int n = 0;

    while (n < ITEMS && m->items[n])
        n++;
    if (n < ITEMS && (n < 4 || random_of(state, 2))) {
        shoal_any *item = item_of(who, ++m->number);
        m->next_items[n] = m->number;
        ASSERT_NOT_NULL(item);
        if (random_of(state, 8))
            ASSERT_OK(shoal_list_append(list, item));
        else
            ASSERT_OK(shoal_list_insert(list, INT64_MAX, item));
        shoal_any_free(item);
        return;
    }
    int at = (int)random_of(state, (uint32_t)n);
    shoal_any *item = item_of(who, m->items[at]);
    memmove(m->next_items + at, m->next_items + at + 1, (size_t)(n - at - 1) * sizeof(uint32_t));
    m->next_items[n - 1] = 0;
    ASSERT_OK(shoal_list_remove(list, item));
    shoal_any_free(item);
}

static void update_some(struct model *m, int who, uint64_t *state)
{
    shoal_any *some = shoal_any_dict();
    int n = random_of(state, 6) ? 5 : KEYS;

    for (int i = 0; i < n; i++) {
        int k = n == KEYS ? i : (int)random_of(state, KEYS);
        m->next[k] = 1 + random_of(state, 1000000);
        ASSERT_OK(shoal_any_put(some, key_of(who, k), value_of(m->next[k])));
    }
    ASSERT_OK(shoal_dict_update(dict, some));
    shoal_any_free(some);
}

static void work(int who)
{
    struct model *m = &shared->models[who];
    uint64_t state = 0x9e3779b97f4a7c15u + ++m->seed * 77 + (uint64_t)who;

    for (;;) {
        int k = (int)random_of(&state, KEYS), what = (int)random_of(&state, 16);
        uint32_t n = 1 + random_of(&state, 1000000);
        if (what < 6) {
            m->next[k] = n;
            ASSERT_OK(call(key_of(who, k), value_of(n), shoal_dict_set));
        } else if (what < 9) {
            m->next[k] = 0;
            ASSERT_EQ_INT(call(key_of(who, k), NULL, delete), m->now[k] ? 0 : -ENOENT);
        } else if (what < 11) {
            m->next_sum++;
            ASSERT_OK(shoal_dict_add_int(dict, "sum", 3, 1, NULL));
        } else if (what < 12) {
            update_some(m, who, &state);
        } else {
            change_list(m, who, &state);
        }
        changed(m);
    }
}

/* ---- after a death ---- */

/* Of the keys that differ in the model all must be as now, or all as next; then the model is what is there. */
static void check_keys(int who)
{
    struct model *m = &shared->models[who];
    int was = 0, is = 0;

    for (int k = 0; k < KEYS; k++) {
        shoal_any *key = key_of(who, k), *any = NULL;
        int rc = shoal_dict_get(dict, key, &any);
        ASSERT_TRUE(!rc || rc == -ENOENT);
        bool now = is_value(any, m->now[k]), next = is_value(any, m->next[k]);
        if (!now && !next)
            FAIL("key %d of worker %d is neither what it was nor what it was to be", k, who);
        was += now && !next;
        is += next && !now;
        shoal_any_free(any);
        shoal_any_free(key);
    }
    if (was && is)
        FAIL("of what worker %d changed at once %d are changed, and %d are not", who, is, was);
    memcpy(was ? m->next : m->now, was ? m->now : m->next, sizeof(m->now));
}

static bool are_items(const shoal_any *all, int who, const uint32_t items[])
{
    int n = 0;

    for (int64_t i = 0; i < shoal_any_count(all); i++) {
        const shoal_any *item, *part;
        int64_t owner, number;
        ASSERT_OK(shoal_any_at(all, i, &item));
        ASSERT_OK(shoal_any_at(item, 0, &part));
        ASSERT_OK(shoal_any_as_int(part, &owner));
        ASSERT_OK(shoal_any_at(item, 1, &part));
        ASSERT_OK(shoal_any_as_int(part, &number));
        ASSERT_OK(shoal_any_at(item, 2, &part));
        if (owner != who)
            continue;
        if (!is_value(part, (uint32_t)number) || n == ITEMS || items[n] != number)
            return false;
        n++;
    }
    return n == ITEMS || !items[n];
}

static void check_items(int who)
{
    struct model *m = &shared->models[who];
    shoal_any *all;

    ASSERT_OK(shoal_list_slice(list, NULL, &all));
    bool now = are_items(all, who, m->items), next = are_items(all, who, m->next_items);
    if (!now && !next)
        FAIL("the items of worker %d are neither what they were nor what they were to be", who);
    memcpy(next ? m->items : m->next_items, next ? m->next_items : m->items, sizeof(m->items));
    shoal_any_free(all);
}

static pid_t start(int who)
{
    pid_t pid = fork();

    ASSERT_SYS(pid);
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        work(who);
    }
    return pid;
}

static void campaign(long kills)
{
    pid_t pids[WORKERS];
    long calls = 0, unsure = 0;
    int64_t sum, least = 0;

    ASSERT_OK(shoal_dict_create(&dict, NULL));
    ASSERT_OK(shoal_list_create(&list, NULL));
    for (int i = 0; i < WORKERS; i++)
        pids[i] = start(i);
    for (long n = 0; n < kills; n++) {
        int who = (int)random_of(&seed, WORKERS), status;
        nap(random_of(&seed, 4000));
        ASSERT_SYS(kill(pids[who], SIGKILL));
        ASSERT_EQ_INT(waitpid(pids[who], &status, 0), pids[who]);
        if (!WIFSIGNALED(status))
            FAIL("worker %d ended with status %#x", who, (unsigned)status);
        check_keys(who);
        check_items(who);
        struct model *m = &shared->models[who];
        unsure += m->next_sum != m->sum; /* its last add was, or was not */
        m->next_sum = m->sum;
        pids[who] = start(who);
    }
    for (int i = 0; i < WORKERS; i++) {
        ASSERT_SYS(kill(pids[i], SIGKILL));
        ASSERT_EQ_INT(waitpid(pids[i], NULL, 0), pids[i]);
        check_keys(i);
        check_items(i);
        unsure += shared->models[i].next_sum != shared->models[i].sum;
        least += shared->models[i].sum;
        calls += shared->models[i].calls;
    }
    ASSERT_OK(shoal_dict_get_int(dict, "sum", 3, &sum));
    ASSERT_LE_INT(least, sum);
    ASSERT_LE_INT(sum, least + unsure);
    audit_settle(0);
    shoal_dict_close(dict);
    shoal_list_close(list);
    audit_check(0);
    printf("%ld calls, %ld workers killed\n", calls, kills);
    shared->judged = 1;
}

int main(int argc, char **argv)
{
    long kills = 300, chosen = 0;
    int status;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i += 2) {
        long value = i + 1 < argc ? atol(argv[i + 1]) : -1;
        long *to = !strcmp(argv[i], "--kills")  ? &kills
                   : !strcmp(argv[i], "--seed") ? &chosen
                                                : NULL;
        if (!to || value < 0) {
            fprintf(stderr, "usage: %s [--kills N] [--seed N]\n", argv[0]);
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
        campaign(kills);
        exit(0);
    }
    ASSERT_EQ_INT(waitpid(root, &status, 0), root);
    if (!shared->judged)
        printf("FAILED  it ended early, with status %#x (--seed %ld): %s\n", (unsigned)status,
               chosen, shared->report.text);
    printf("%d passed, %d failed\n", shared->judged, !shared->judged);
    return !shared->judged;
}
