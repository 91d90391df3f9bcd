/* Looking into a family from outside: shoal-inspect, and what is no family. */
#include "programs.h"
#include "region/life.h"
#include "takers.h"
#include <sys/mman.h>

static char inspect_path[4200];

/* Beside the folder of the test program; asked before main, as in programs.h. */
__attribute__((constructor)) static void find_inspect(void)
{
    ssize_t n = readlink("/proc/self/exe", inspect_path, 4096);
    for (int i = 0; i < 2 && n > 0; i++)
        for (n--; n > 0 && inspect_path[n - 1] != '/'; n--)
            ;
    snprintf(inspect_path + (n > 0 ? n : 0), 100, "shoal-inspect");
}

/* Runs shoal-inspect: its status; what it printed, on both descriptors. */
static int inspect(const char *arguments, char *ret, size_t size)
{
    char command[4400];
    member(); /* skips where no program of this build can be executed */
    ASSERT_OK(access(inspect_path, X_OK));
    snprintf(command, sizeof command, "%s %s 2>&1", inspect_path, arguments);
    FILE *f = popen(command, "re");
    ASSERT_NOT_NULL(f);
    size_t n = fread(ret, 1, size - 1, f);
    ret[n] = 0;
    return WEXITSTATUS(pclose(f));
}

static int inspect_pid(const char *option, pid_t pid, char *ret, size_t size)
{
    char arguments[40];
    snprintf(arguments, sizeof arguments, "%s%d", option, (int)pid);
    return inspect(arguments, ret, size);
}

static void says(const char *whole, const char *part)
{
    if (!strstr(whole, part))
        FAIL("\"%s\" is not in:\n%s", part, whole);
}

TEST(the_program_tells_a_deadlock_in_plain_words)
{
    static char shown[20000], wanted[400];
    pid_t pids[2];
    shoal_any *snapshot = let_wait(2, (const char *const[]){"ab", "ba"}, pids);
    for (int i = 0; i < 2; i++) {
        ASSERT_EQ_INT(inspect_pid("", pids[i], shown, sizeof shown), 0);
        snprintf(wanted, sizeof wanted,
                 "deadlock: (forked) (pid %d) holds lock 'a' and waits for lock 'b'; "
                 "(forked) (pid %d) holds lock 'b' and waits for lock 'a'\n",
                 (int)pids[0], (int)pids[1]);
        says(shown, wanted);
        says(shown, "MainProcess: running");
        snprintf(wanted, sizeof wanted,
                 "(forked) (pid %d) waits for lock 'b', which is held by (forked) (pid %d)\n",
                 (int)pids[0], (int)pids[1]);
        says(shown, wanted);
        says(shown, "event 'e': open in 3");
        says(shown, "\nmemory: ");
    }
    ASSERT_EQ_INT(inspect_pid("--any ", pids[0], shown, sizeof shown), 0);
    says(shown, "{'processes': [{'pid': ");
    says(shown, "'deadlocks': [[{'pid': ");
    ASSERT_EQ_INT(inspect_pid("--dot ", pids[0], shown, sizeof shown), 0);
    ASSERT_STR(shown, "digraph network {\n    rankdir=LR;\n}\n"); /* there is no channel */
    end_all(2, pids, snapshot);
}

static int wait_for_a(void *argument)
{
    (void)argument;
    return shoal_lock_acquire(locks[0], SHOAL_FOREVER);
}

TEST(the_program_tells_a_join_that_never_ends_in_plain_words)
{
    static char shown[20000], wanted[400];
    shoal_process *p;
    make_all();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        take('a');
        ASSERT_OK(shoal_process_start(&p, wait_for_a, NULL, NULL));
        atomic_store(&words[HAVE], shoal_process_pid(p));
        shoal_process_join(p, SHOAL_FOREVER);
        _exit(0);
    }
    until_word(&words[HAVE], 1);
    pid_t worker = (pid_t)atomic_load(&words[HAVE]);
    until_asleep(pid);
    until_asleep(worker);
    ASSERT_EQ_INT(inspect_pid("", worker, shown, sizeof shown), 0);
    says(shown, "deadlock: (forked) (pid ");
    says(shown, " holds lock 'a' and waits for the end of process '");
    snprintf(wanted, sizeof wanted, " (pid %d) waits for lock 'a'\n", (int)worker);
    says(shown, wanted);
    kill(worker, SIGKILL);
    ends_well(pid);
    close_all();
}

TEST(the_program_becomes_no_member_and_takes_no_memory)
{
    static char shown[20000];
    shoal_statistics before, after;
    make_all();
    ASSERT_OK(shoal_memory_statistics(&before));
    ASSERT_EQ_INT(inspect_pid("", getpid(), shown, sizeof shown), 0);
    says(shown, "no deadlock\n");
    says(shown, "processes: 1\n");
    ASSERT_OK(shoal_memory_statistics(&after));
    ASSERT_MEM(&before, &after, sizeof before);
    close_all();
}

/* A region can be read where its descriptor was closed only by who may see mappings as files. */
static void close_descriptors(void)
{
    for (int fd = 3; fd < 1000; fd++)
        close(fd);
    shoal_any *snapshot = look();
    ASSERT_EQ_INT(of_object(snapshot, "a", "locked"), 0);
    shoal_any_free(snapshot);
    atomic_store(&words[HAVE], 1);
    until_word(&words[GO], 1);
}

TEST(inspect_looks_into_a_family_whose_descriptor_was_closed)
{
    shoal_any *snapshot;
    make_all();
    pid_t pid = child(close_descriptors);
    until_word(&words[HAVE], 1);
    int rc = shoal_inspect_process(&snapshot, pid);
    if (rc != -EPERM) {
        ASSERT_OK(rc);
        ASSERT_EQ_INT(of_object(snapshot, "a", "locked"), 0);
        shoal_any_free(snapshot);
    }
    atomic_store(&words[GO], 1);
    ends_well(pid);
    close_all();
}

TEST(the_program_says_what_is_wrong_in_a_sentence)
{
    char shown[1000];
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        execl("/bin/sleep", "sleep", "1000", NULL);
        _exit(1);
    }
    char path[64], name[4096] = "";
    do { /* until it is another program */
        nap();
        snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
        ssize_t n = readlink(path, name, sizeof name - 1);
        name[n > 0 ? n : 0] = 0;
    } while (strstr(name, "shoal"));
    ASSERT_EQ_INT(inspect_pid("", pid, shown, sizeof shown), 1);
    says(shown, "has no region of shoal");
    kill_and_reap(pid);
    ASSERT_EQ_INT(inspect_pid("", pid, shown, sizeof shown), 1);
    says(shown, "shoal-inspect: there is no process");
    ASSERT_EQ_INT(inspect("x", shown, sizeof shown), 1);
    says(shown, "x is not the number of a process");
    ASSERT_EQ_INT(inspect("", shown, sizeof shown), 1);
    says(shown, "usage: ");
    ASSERT_EQ_INT(inspect("--any", shown, sizeof shown), 1);
    ASSERT_EQ_INT(inspect("1 2", shown, sizeof shown), 1);
    ASSERT_EQ_INT(inspect("--help", shown, sizeof shown), 0);
    says(shown, "usage: ");
}

TEST(who_may_not_look_into_a_process_is_told_so)
{
    shoal_any *snapshot;
    if (geteuid())
        SKIP("only root can become another user");
    make_all();
    pid_t other = somebody();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        ASSERT_OK(shoal_detach());
        ASSERT_SYS(setresuid(65534, 65534, 65534));
        ASSERT_ERR(shoal_inspect_process(&snapshot, other), -EPERM);
        says(shoal_error_detail(), "not permitted");
        _exit(0);
    }
    ends_well(pid);
    kill_and_reap(other);
    close_all();
}

/* ---- what is no family ---- */

static uint64_t seed = 1;
static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

/* Garbage of which much looks like something: small numbers, and a bit here and there. */
static void garbage(unsigned char *at, size_t size)
{
    uint64_t *to = (uint64_t *)(void *)at;
    for (size_t i = 0; i < size / 8; i++)
        switch (next_random() % 4) {
        case 0: to[i] = next_random(); break;
        case 1: to[i] = next_random() % 4096; break;
        case 2: to[i] = 1ull << next_random() % 64; break;
        default: to[i] = 0; break;
        }
}

enum { FALSE_SIZE = 64 << 20 };

/* A region in which everything but the first words is made up. It may be looked at meanwhile. */
static void make_up(unsigned char *base, uint64_t round)
{
    struct layout l;
    region_layout(FALSE_SIZE, &l);
    seed = round * 0x9e3779b97f4a7c15 + 1;
    struct region *region = (struct region *)(void *)(base + l.size - sizeof(struct slot));
    garbage(base + l.size - 40 * sizeof(struct slot), 39 * sizeof(struct slot));
    garbage((unsigned char *)&region->family, sizeof *region - offsetof(struct region, family));
    garbage(base + l.records, 200 * sizeof(struct record));
    garbage(base, 1 << 20);
    region->magic = REGION_MAGIC;
    region->layout = REGION_LAYOUT;
    region->size = FALSE_SIZE;
    region->slots_high = round % 3 ? 40 : (uint32_t)next_random();
    region->records_high = round % 2 ? SLOTS + 200 : (uint32_t)next_random();
    region->groups_high = round % 5 ? 2 : (uint32_t)next_random();
    for (uint32_t id = 0; id < 2 * GROUP; id++) {
        struct header *h =
            (struct header *)(void *)(base + l.groups - (id / GROUP + 1ull) * GROUP_BLOCK) +
            id % GROUP;
        garbage((unsigned char *)h, sizeof *h);
        h->state = state_make(1, 0, OBJECT_LIVE);
        h->type = (uint16_t)(next_random() % (TYPE_END + 3));
        if (next_random() % 4)
            h->payload = (uint32_t)(next_random() % 16000) + 1;
    }
    for (uint32_t s = 1; s < 40; s++) { /* many are there, and wait for each other */
        struct slot *slot = (struct slot *)(void *)(base + l.size - (s + 1) * sizeof *slot);
        if (next_random() % 4)
            slot->word = slot_make(1, 0, SLOT_ALIVE);
        slot->first.word = record_make(1, s, true);
        slot->first.frames[0] = next_random() % (2 * GROUP) + 1;
        slot->first.joins = next_random() % 8 ? 0 : 1ull << 32 | next_random() % 40;
        uint32_t id = (uint32_t)next_random() % (2 * GROUP);
        struct header *h =
            (struct header *)(void *)(base + l.groups - (id / GROUP + 1ull) * GROUP_BLOCK) +
            id % GROUP;
        h->type = TYPE_LOCK;
        owner_t owner = owner_make(1, s);
        memcpy(h->body, &owner, sizeof owner);
    }
}

/* Words that two processes share which are of no family. */
static void *flags;
static _Atomic long *flags_open(void)
{
    flags = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_TRUE(flags != MAP_FAILED);
    return flags;
}

static void flags_close(void)
{
    ASSERT_SYS(munmap(flags, 4096));
}

static unsigned char *false_region(void)
{
    int fd = (int)ASSERT_SYS(memfd_create("shoal", MFD_CLOEXEC));
    ASSERT_SYS(ftruncate(fd, FALSE_SIZE));
    void *base = mmap(NULL, FALSE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ASSERT_TRUE(base != MAP_FAILED);
    return base;
}

/* Nothing but that it ends, and gives something that can be walked; sanitizers see the rest. */
TEST(a_region_that_somebody_made_up_does_no_harm)
{
    _Atomic long *go = flags_open();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        unsigned char *base = false_region();
        for (long round = 1;; round++) {
            make_up(base, (uint64_t)round);
            atomic_store(&go[0], round);
            while (atomic_load(&go[1]) < round)
                nap();
        }
    }
    for (long round = 1; round <= 40; round++) {
        shoal_any *snapshot;
        char *shown;
        until_word(&go[0], round);
        ASSERT_OK(shoal_inspect_process(&snapshot, pid));
        ASSERT_OK(shoal_any_repr(snapshot, &shown));
        free(shown);
        shoal_any_free(snapshot);
        atomic_store(&go[1], round);
    }
    kill_and_reap(pid);
    flags_close();
}

/* While it is being written, as fast as it can. */
TEST(a_region_that_changes_all_the_time_does_no_harm)
{
    _Atomic long *go = flags_open();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        unsigned char *base = false_region();
        for (uint64_t round = 1;; round++) {
            make_up(base, round);
            atomic_store(&go[0], 1);
        }
    }
    until_word(&go[0], 1);
    for (int i = 0; i < 20; i++) {
        shoal_any *snapshot;
        ASSERT_OK(shoal_inspect_process(&snapshot, pid));
        shoal_any_free(snapshot);
    }
    kill_and_reap(pid);
    flags_close();
}

TEST(a_region_of_another_version_is_told_to_be_one)
{
    _Atomic long *go = flags_open();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        unsigned char *base = false_region();
        make_up(base, 1);
        struct region *region = (struct region *)(void *)(base + FALSE_SIZE - sizeof(struct slot));
        region->layout = REGION_LAYOUT + 1;
        atomic_store(&go[0], 1);
        until_word(&go[1], 1);
        region->magic = 0;
        atomic_store(&go[0], 2);
        for (;;)
            pause();
    }
    shoal_any *snapshot;
    until_word(&go[0], 1);
    ASSERT_ERR(shoal_inspect_process(&snapshot, pid), -ENOTSUP);
    says(shoal_error_detail(), "another version");
    atomic_store(&go[1], 1);
    until_word(&go[0], 2);
    ASSERT_ERR(shoal_inspect_process(&snapshot, pid), -ENODATA);
    kill_and_reap(pid);
    flags_close();
}
