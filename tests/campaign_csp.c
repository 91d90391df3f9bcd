/* campaign_csp.c: random networks of processes that communicate, killed at random.
 *
 *     shoal-campaign-csp [--kills N] [--seed N]
 *
 * Each network is a ring, a tree, or any-to-any; its channels have buffers or not; its members read, write and alternate on both sides, some also
 * wait at a barrier; some of them have, as threads of theirs, a network of their own. While it runs some members are killed. What must hold:
 *
 *     it ends            whoever is left is told that the others are gone: the waiting net is off. The members do what comes to their minds, so they may all come to wait
 *                        for one another; then main looks at the family from outside. No two that could meet may sleep, and nobody at what is
 *                        over or ready; if that is so, it kills one more
 *     messages           each has a number, and is received once, or not at all: a member writes down what it received, before it goes on. One that was
 *                        not received, of a write that returned, lay in a buffer, or its reader was killed
 *     nothing is left    at the end of all, every object, slot and record is free again
 *
 * Last line: "N passed, N failed".
 */
#define _GNU_SOURCE
#include "kill/audit.h"
#include "runner/check.h"

#include <errno.h>
#include <shoal/shoal.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MEMBERS = 7, CHANNELS = 8, ENDS = 6, MESSAGES = 4000, LONGEST = 300, THREADS = 3 };
#define HANG_SECONDS 30.0

/* What a message was, and became: written by who writes it and by who receives it. Its number is its place. */
struct mail {
    _Atomic unsigned char under_way, written, received;
    unsigned char buffered;
};

static struct shared {
    int judged;
    struct check_report report;
    _Atomic long progress; /* of all members */
    const char *shape;     /* of the network under way: a literal */
    unsigned long network;
    _Atomic uint32_t next; /* number of a message */
    _Atomic pid_t pids[MEMBERS];
    uint64_t seeds[MEMBERS];
    struct mail mail[MESSAGES];
} * shared;

/* What a member is to do; of each of its ends, in their order, whether it writes there, and whether there is a buffer. */
struct plan {
    int number, n_ends;
    bool writes[ENDS], buffered[ENDS], is_barrier[ENDS];
    bool has_threads;
    int rounds;
};

static struct plan plans[MEMBERS];
static shoal_channel_end *ends[MEMBERS][ENDS];
static shoal_channel *channels[CHANNELS];
static bool is_buffered[CHANNELS];
static uint64_t seed;

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

/* ---- messages ---- */

/* Its number, and so much more that some are too long for a box. */
struct letter {
    uint32_t number;
    unsigned char rest[LONGEST];
};

/* 0: there are no more numbers. */
static size_t new_letter(struct letter *l, uint64_t *state, bool buffered)
{
    uint32_t number = atomic_fetch_add(&shared->next, 1);
    size_t size = random_of(state, 4) ? random_of(state, 90) : 110 + random_of(state, 150);
    if (number >= MESSAGES)
        return 0;
    l->number = number;
    memset(l->rest, (int)number, size);
    shared->mail[number].buffered = buffered;
    atomic_store(&shared->mail[number].under_way, 1);
    return offsetof(struct letter, rest) + size;
}

static void received(const struct letter *l, size_t size)
{
    ASSERT_LT_INT(l->number, MESSAGES);
    for (size_t i = 0; i < size - offsetof(struct letter, rest); i++)
        ASSERT_EQ_INT(l->rest[i], (unsigned char)l->number);
    ASSERT_EQ_INT(atomic_fetch_add(&shared->mail[l->number].received, 1), 0);
}

static void written(const struct letter *l)
{
    atomic_store(&shared->mail[l->number].written, 1);
}

static int64_t some_deadline(uint64_t *state)
{
    uint32_t n = random_of(state, 8);
    return n == 0 ? SHOAL_NOW : n < 3 ? shoal_after(random_of(state, 2000) * 1e-6) : SHOAL_FOREVER;
}

/* Whether the member may go on after it; what ended channels is no failure. */
static bool goes_on(int rc)
{
    if (rc >= 0 || rc == -ETIMEDOUT || rc == -EAGAIN)
        return true;
    if (rc != -EPIPE && rc != -ECANCELED)
        FAIL("a call gave %d: %s", rc, shoal_error_detail());
    return false;
}

/* ---- a member ---- */

static int use_one(const struct plan *p, shoal_channel_end *const mine[], int i, uint64_t *state)
{
    struct letter l;
    size_t size;
    int rc;
    if (p->is_barrier[i])
        return shoal_channel_sync(mine[i], shoal_after(random_of(state, 1000) * 1e-6));
    if (p->writes[i]) {
        size = new_letter(&l, state, p->buffered[i]);
        rc = size ? shoal_channel_write_bytes(mine[i], &l, size, some_deadline(state)) : -EPIPE;
        if (!rc)
            written(&l);
    } else {
        rc = shoal_channel_read_bytes(mine[i], &l, sizeof(l), &size, some_deadline(state));
        if (!rc)
            received(&l, size);
    }
    return rc;
}

static int use_several(const struct plan *p, shoal_channel_end *const mine[], uint64_t *state)
{
    static _Thread_local struct letter letters[ENDS];
    shoal_guard guards[ENDS + 1];
    size_t n = 0;
    memset(guards, 0, sizeof(guards));
    for (int i = 0; i < p->n_ends; i++) {
        if (p->is_barrier[i])
            continue;
        shoal_guard *g = &guards[n];
        g->end = mine[i];
        g->off = random_of(state, 8) == 0;
        if (!p->writes[i]) {
            g->kind = SHOAL_INPUT;
            g->buffer = &letters[n];
            g->capacity = sizeof(letters[n]);
        } else {
            g->kind = SHOAL_OUTPUT;
            g->bytes = &letters[n];
            g->size = new_letter(&letters[n], state, p->buffered[i]);
            if (!g->size)
                return -EPIPE;
        }
        n++;
    }
    guards[n].kind = SHOAL_TIMEOUT;
    guards[n].deadline = shoal_after(0.002);
    int chosen = shoal_alternate(guards, n + 1, (enum shoal_choice)random_of(state, 3),
                                 some_deadline(state));
    if (chosen < 0 || guards[chosen].kind == SHOAL_TIMEOUT)
        return chosen;
    if (guards[chosen].kind == SHOAL_INPUT)
        received(&letters[chosen], guards[chosen].size);
    else
        written(&letters[chosen]);
    return 0;
}

static int work(const struct plan *p, shoal_channel_end *const mine[], uint64_t *state)
{
    int rc = 0;
    for (int round = 0; round < p->rounds && goes_on(rc); round++) {
        atomic_fetch_add(&shared->progress, 1);
        if (random_of(state, 3) == 0)
            rc = use_several(p, mine, state);
        else
            rc = use_one(p, mine, (int)random_of(state, (uint32_t)p->n_ends), state);
    }
    if (!goes_on(rc))
        return rc;
    return random_of(state, 30) ? -EPIPE : -ECANCELED; /* seldom it poisons */
}

/* A network of its own: threads that write to one another, with the same ends as the member. */
static int work_as_thread(void *argument, shoal_channel_end *const given[])
{
    const struct plan *p = argument;
    uint64_t state = shared->seeds[p->number] + (uint64_t)(uintptr_t)given;
    return work(p, given, &state);
}

static int work_as_process(void *argument, shoal_channel_end *const mine[])
{
    struct plan *p = argument;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    atomic_store(&shared->pids[p->number], getpid());
    if (!p->has_threads) {
        int rc = work(p, mine, &shared->seeds[p->number]);
        atomic_store(&shared->pids[p->number], 0);
        return rc;
    }
    shoal_csp_process threads = {.target = work_as_thread,
                                 .argument = p,
                                 .ends = mine,
                                 .n_ends = (size_t)p->n_ends,
                                 .replicas = THREADS};
    ASSERT_OK(shoal_parallel(&threads, 1, SHOAL_CSP_THREADS));
    atomic_store(&shared->pids[p->number], 0);
    return 0;
}

/* ---- a network ---- */

static void give(int member, int channel, bool writes, bool barrier)
{
    struct plan *p = &plans[member];
    if (p->n_ends == ENDS)
        return;
    int i = p->n_ends++;
    p->writes[i] = writes;
    p->buffered[i] = is_buffered[channel];
    p->is_barrier[i] = barrier;
    ASSERT_OK(barrier  ? shoal_channel_enrol(channels[channel], &ends[member][i])
              : writes ? shoal_channel_writer(channels[channel], &ends[member][i])
                       : shoal_channel_reader(channels[channel], &ends[member][i]));
}

/* The last channel is the barrier. */
static void make_network(int members)
{
    shoal_channel_end *both[CHANNELS - 1][2];
    for (int c = 0; c < CHANNELS - 1; c++) {
        is_buffered[c] = random_of(&seed, 3) == 0;
        uint64_t buffer = is_buffered[c] ? 1 + random_of(&seed, 5) : 0;
        ASSERT_OK(shoal_channel_create(&channels[c], &(shoal_channel_options){.buffer = buffer}));
        ASSERT_OK(shoal_channel_reader(channels[c], &both[c][0]));
        ASSERT_OK(shoal_channel_writer(channels[c], &both[c][1]));
    }
    ASSERT_OK(shoal_channel_create_barrier(&channels[CHANNELS - 1], NULL));
    memset(plans, 0, sizeof(plans));
    uint32_t shape = random_of(&seed, 3);
    shared->shape = shape == 0 ? "a ring" : shape == 1 ? "a tree" : "any-to-any";
    for (int m = 0; m < members; m++) {
        plans[m].number = m;
        plans[m].rounds = 5 + (int)random_of(&seed, 100);
        plans[m].has_threads = random_of(&seed, 8) == 0;
        if (shape == 0) { /* member m reads from channel m */
            give(m, m, false, false);
            give(m, (m + 1) % members, true, false);
        } else if (shape == 1) { /* channel m leads from m's parent to it, or back */
            if (m)
                give(m, m, m % 2, false);
            if (m)
                give((m - 1) / 2, m, !(m % 2), false);
        } else {
            give(m, 0, m % 2, false);
            give(m, 1, !(m % 2), false);
            give(m, 2 + (int)random_of(&seed, 3), random_of(&seed, 2), false);
        }
    }
    for (int m = 0; m < members; m++)
        if (random_of(&seed, 4) == 0)
            give(m, CHANNELS - 1, false, true);
    /* A side that nobody was given is over. */
    for (int c = 0; c < CHANNELS - 1; c++) {
        shoal_channel_end_close(both[c][0]);
        shoal_channel_end_close(both[c][1]);
    }
}

static void judge_messages(bool killed)
{
    uint32_t n = atomic_load(&shared->next);
    for (uint32_t i = 0; i < n && i < MESSAGES; i++) {
        const struct mail *m = &shared->mail[i];
        ASSERT_LE_INT(atomic_load(&m->received), 1);
        if (atomic_load(&m->received) && !atomic_load(&m->under_way))
            FAIL("message %u was received, and nobody had written it", i);
        if (!killed && !m->buffered)
            ASSERT_EQ_INT(atomic_load(&m->written), atomic_load(&m->received));
    }
}

/* Kills up to `most` of them: how many. */
static long kill_some(int members, uint32_t most)
{
    long killed = 0;
    for (uint32_t k = 0; k < most; k++) {
        int who = (int)random_of(&seed, (uint32_t)members);
        nap(random_of(&seed, random_of(&seed, 4) ? 800 : 6000));
        pid_t pid = atomic_exchange(&shared->pids[who], 0);
        killed += pid && !kill(pid, SIGKILL);
    }
    return killed;
}

/* One network, from its making to its end: how many were killed. A result tells whether they were still there to be killed. */
static long run_network(void)
{
    shoal_csp_process processes[MEMBERS];
    int results[MEMBERS], members = 3 + (int)random_of(&seed, MEMBERS - 2), failed = 0;
    long killed = 0;
    shoal_network *network;

    memset(shared->mail, 0, sizeof(shared->mail));
    atomic_store(&shared->next, 0);
    shared->network++;
    make_network(members);
    for (int m = 0; m < members; m++) {
        atomic_store(&shared->pids[m], 0);
        shared->seeds[m] = seed + (uint64_t)m * 0x9e3779b97f4a7c15u + 1;
        processes[m] = (shoal_csp_process){.target = work_as_process,
                                           .argument = &plans[m],
                                           .ends = ends[m],
                                           .n_ends = (size_t)plans[m].n_ends,
                                           .results = &results[m]};
    }
    ASSERT_OK(shoal_spawn(&network, processes, (size_t)members, 0));
    kill_some(members, 1 + random_of(&seed, 4));
    ASSERT_OK(shoal_network_join(network));
    for (int m = 0; m < members; m++) {
        killed += results[m] == -SIGKILL;
        failed += results[m] && results[m] != -SIGKILL;
    }
    if (failed || check_report->taken)
        FAIL("%d members of %s failed", failed, shared->shape);
    for (int c = 0; c < CHANNELS; c++)
        shoal_channel_close(channels[c]);
    judge_messages(killed > 0);
    return killed;
}

static void campaign(long kills)
{
    long killed = 0, messages = 0;

    while (killed < kills) {
        killed += run_network();
        uint32_t n = atomic_load(&shared->next);
        messages += n < MESSAGES ? n : MESSAGES;
    }
    audit_settle(0);
    audit_check(0);
    printf("%lu networks, %ld messages, %ld members killed\n", shared->network, messages, killed);
    shared->judged = 1;
}

/* ---- when nothing moves ---- */

static int64_t number_in(const shoal_any *dict, const char *key)
{
    const shoal_any *value;
    int64_t n;
    return shoal_any_get_str(dict, key, &value) || shoal_any_as_int(value, &n) ? -1 : n;
}

static bool flag_in(const shoal_any *dict, const char *key)
{
    const shoal_any *value;
    bool flag = false;
    return !shoal_any_get_str(dict, key, &value) && !shoal_any_as_bool(value, &flag) && flag;
}

static bool text_is(const shoal_any *dict, const char *key, const char *text)
{
    const shoal_any *value;
    const char *s;
    return !shoal_any_get_str(dict, key, &value) && !shoal_any_as_str(value, &s, NULL) &&
           !strcmp(s, text);
}

static bool sleeps(int64_t tid)
{
    char path[64], line[400];
    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)tid);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    line[fread(line, 1, sizeof(line) - 1, f)] = 0;
    fclose(f);
    const char *state = strrchr(line, ')');
    return state && state[2] == 'S';
}

/* Of those who wait on a side of a channel, how many sleep; *one: one of them. */
static int sleepers(const shoal_any *channel, const char *as, int64_t *one)
{
    const shoal_any *owners, *owner;
    int n = 0;
    if (shoal_any_get_str(channel, "owners", &owners))
        return 0;
    for (int64_t i = 0; i < shoal_any_count(owners) && !shoal_any_at(owners, i, &owner); i++)
        if (text_is(owner, "as", as) && flag_in(owner, "alive") &&
            sleeps(number_in(owner, "thread"))) {
            n++;
            *one = number_in(owner, "thread");
        }
    return n;
}

/* Ends of that side that somebody still has. */
static int ends_of(const shoal_any *objects, int64_t channel, const char *side)
{
    const shoal_any *one, *holders, *messages;
    int n = 0;
    for (int64_t i = 0; !shoal_any_at(objects, i, &one); i++)
        if (text_is(one, "type", "channel end") && number_in(one, "channel") == channel &&
            flag_in(one, side) && !flag_in(one, "retired") &&
            !shoal_any_get_str(one, "holders", &holders) &&
            !shoal_any_get_str(one, "messages", &messages))
            n += shoal_any_count(holders) || shoal_any_count(messages);
    return n;
}

/* What is wrong with those who sleep at it; NULL: nothing. */
static const char *wrong_at(const shoal_any *objects, const shoal_any *channel)
{
    int64_t reader = 0, writer = 0, buffered = number_in(channel, "buffered");
    int64_t id = number_in(channel, "id");
    int readers = sleepers(channel, "waiting reader", &reader);
    int writers = sleepers(channel, "waiting writer", &writer);
    if (buffered < 0 && readers && writers && (readers + writers > 2 || reader != writer))
        return "a reader and a writer that could meet sleep";
    if (flag_in(channel, "poisoned") && (readers || writers) && (buffered <= 0 || writers))
        return "somebody sleeps at a poisoned channel";
    if (writers && !ends_of(objects, id, "reader"))
        return "a writer sleeps that nobody will read";
    if (readers && !ends_of(objects, id, "writer"))
        return "a reader sleeps to whom nobody will write";
    if (buffered > 0 && readers)
        return "a reader sleeps beside what is in the buffer";
    if (buffered >= 0 && buffered < number_in(channel, "maxsize") && writers)
        return "a writer sleeps beside room in the buffer";
    return NULL;
}

/* Whether a thread that sleeps at an end is one of those who can be met. */
static bool can_be_met(const shoal_any *objects, int64_t thread)
{
    const shoal_any *one, *owners, *owner;
    for (int64_t i = 0; !shoal_any_at(objects, i, &one); i++)
        if (text_is(one, "type", "channel") && !shoal_any_get_str(one, "owners", &owners))
            for (int64_t k = 0; !shoal_any_at(owners, k, &owner); k++)
                if (number_in(owner, "thread") == thread)
                    return true;
    return false;
}

static const char *look(pid_t root)
{
    shoal_any *snapshot;
    const shoal_any *objects, *waits, *one;
    const char *wrong = NULL;
    if (shoal_inspect_process(&snapshot, root))
        return NULL;
    ASSERT_OK(shoal_any_get_str(snapshot, "objects", &objects));
    ASSERT_OK(shoal_any_get_str(snapshot, "waits", &waits));
    for (int64_t i = 0; !wrong && !shoal_any_at(objects, i, &one); i++)
        if (text_is(one, "type", "channel"))
            wrong = wrong_at(objects, one);
    for (int64_t i = 0; !wrong && !shoal_any_at(waits, i, &one); i++)
        if (text_is(one, "type", "channel end") && sleeps(number_in(one, "thread")) &&
            !can_be_met(objects, number_in(one, "thread")))
            wrong = "somebody sleeps who has been met";
    shoal_any_free(snapshot);
    return wrong;
}

static long moved(void)
{
    return atomic_load(&shared->progress) + (long)shared->network;
}

/* It stands still: is it right to? One is killed then. True: it has stood wrongly for long. */
static bool judge_rest(pid_t root)
{
    long progress = moved();
    const char *wrong = NULL;
    for (int n = 0; n < 50; n++) {
        const char *now = look(root);
        if (!now || (wrong && now != wrong) || moved() != progress) {
            wrong = NULL;
            break;
        }
        wrong = now;
        nap(20000);
    }
    if (wrong) {
        printf("%s\n", wrong);
        return true;
    }
    for (int m = 0; m < MEMBERS && moved() == progress; m++) {
        pid_t pid = atomic_exchange(&shared->pids[m], 0);
        if (pid) {
            kill(pid, SIGKILL);
            break;
        }
    }
    return false;
}

/* Until it has ended, or does not although nobody is left to be killed. */
static int await(pid_t root)
{
    double still = 0;
    long progress = -1;
    int status = 0;

    while (waitpid(root, &status, WNOHANG) == 0) {
        nap(5000);
        still = moved() == progress ? still + 0.005 : 0;
        progress = moved();
        if (still > HANG_SECONDS || (still > 0.012 && judge_rest(root))) {
            printf("network %lu, %s, does not end\n", shared->network, shared->shape);
            kill(root, SIGKILL);
            waitpid(root, &status, 0);
            break;
        }
    }
    return status;
}

int main(int argc, char **argv)
{
    long kills = 300, chosen = 0;

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
    int status = await(root);
    if (!shared->judged)
        printf("FAILED  it ended early, with status %#x (--seed %ld), in network %lu, %s: %s\n",
               (unsigned)status, chosen, shared->network, shared->shape ? shared->shape : "",
               shared->report.text);
    printf("%d passed, %d failed\n", shared->judged, !shared->judged);
    return !shared->judged;
}
