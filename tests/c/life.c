/* Lives that are no plain ones: processes that go on without their first thread, children that ran
 * no fork handler, programs that stand in for others; and wake-ups that get lost when whoever was
 * told of a death, or of a thread's end, has something else to do. */
#include "message/lanes.h"
#include "processes.h"
#include "region/object.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static _Atomic long *words;
static shoal_lock *lock;
static shoal_event *event;

static void begin(void)
{
    words = words_open();
    ASSERT_OK(shoal_lock_create(&lock, NULL));
    ASSERT_OK(shoal_event_create(&event, NULL));
}

static void finish(void)
{
    lock = shoal_lock_close(lock);
    event = shoal_event_close(event);
    words_close();
}

/* ---- the first thread has ended ---- */

static void *hold_on(void *unused)
{
    (void)unused;
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_FOREVER));
    atomic_store(&words[0], 1);
    while (!atomic_load(&words[1])) /* computes: no call of shoal */
        nap();
    ASSERT_EQ_INT(shoal_lock_release(lock), 0);
#ifdef __SANITIZE_ADDRESS__
    _exit(0); /* LeakSanitizer takes what the first thread's stack points to for lost */
#endif
    /* Not by returning: musl 1.2.3 lets a forked process's last thread wait for its first then. */
    exit(0);
}

/* Holds the lock in a further thread; the first one, which was attached, ends. */
static void headless(void)
{
    pthread_t thread;
    ASSERT_EQ_INT(shoal_lock_locked(lock), 0);
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_FOREVER));
    ASSERT_OK(shoal_lock_release(lock));
    ASSERT_EQ_INT(pthread_create(&thread, NULL, hold_on, NULL), 0);
    until_word(&words[0], 1);
    pthread_exit(NULL);
}

/* Until the first thread of a process has ended, and others run. */
static void until_headless(pid_t pid)
{
    for (;; nap()) {
        char path[64], line[400];
        snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        FILE *f = fopen(path, "re");
        ASSERT_NOT_NULL(f);
        line[fread(line, 1, sizeof line - 1, f)] = 0;
        fclose(f);
        if (strrchr(line, ')')[2] == 'Z')
            return;
    }
}

TEST(life_a_process_whose_first_thread_has_ended_lives)
{
    begin();
    pid_t pid = child(headless);
    until_headless(pid);
    ASSERT_ERR(shoal_lock_acquire(lock, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_lock_acquire(lock, shoal_after(0.2)), -ETIMEDOUT);
    atomic_store(&words[1], 1);
    ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_FOREVER), 0);
    ASSERT_OK(shoal_lock_release(lock));
    ends_well(pid);
    finish();
}

TEST(life_a_process_whose_first_thread_has_ended_can_die)
{
    begin();
    pid_t pid = child(headless);
    until_headless(pid);
    ASSERT_ERR(shoal_lock_acquire(lock, shoal_after(0.05)), -ETIMEDOUT);
    ASSERT_SYS(kill(pid, SIGKILL));
    ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    ASSERT_OK(shoal_lock_release(lock));
    ASSERT_SYS(waitpid(pid, NULL, 0));
    finish();
}

static int headless_target(void *unused)
{
    (void)unused;
    headless();
    return 0;
}

TEST(life_a_tree_whose_top_has_lost_its_first_thread_can_be_killed)
{
    shoal_process *p;
    begin();
    ASSERT_OK(shoal_process_start(&p, headless_target, NULL, NULL));
    until_headless(shoal_process_pid(p));
    ASSERT_EQ_INT(shoal_process_kill_tree(p), 1);
    ASSERT_OK(shoal_process_join(p, SHOAL_FOREVER));
    ASSERT_OK(shoal_process_close(p));
    finish();
}

/* ---- who was told goes away ---- */

static void wait_for_event(void)
{
    ASSERT_OK(shoal_event_wait(event, SHOAL_FOREVER));
    atomic_store(&words[3], 1);
    until_word(&words[4], 1);
}

static void wait_for_lock(void)
{
    ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    ASSERT_OK(shoal_lock_release(lock));
}

static void headless_when_told(void)
{
    pthread_t thread;
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_FOREVER));
    ASSERT_OK(shoal_lock_release(lock));
    ASSERT_EQ_INT(pthread_create(&thread, NULL, hold_on, NULL), 0);
    until_word(&words[2], 1);
    pthread_exit(NULL);
}

/* The end of the first thread tells one sleeper to keep an eye on the process. That sleeper leaves,
 * then the process dies. */
TEST(life_a_watcher_that_leaves_tells_another_of_a_process_in_doubt)
{
    begin();
    pid_t holder = child(headless_when_told);
    until_word(&words[0], 1);
    pid_t first = child(wait_for_event);
    until_asleep(first);
    pid_t second = child(wait_for_lock);
    until_asleep(second);
    atomic_store(&words[2], 1);
    until_headless(holder);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    ASSERT_OK(shoal_event_set(event));
    until_word(&words[3], 1);
    kill_and_reap(holder);
    ends_well(second);
    atomic_store(&words[4], 1);
    ends_well(first);
    finish();
}

/* Whoever is taking the life word of its process, whose former holder has ended, has taken it and not
 * yet said that others wait for it. */
static void hold_half_armed(void)
{
    const uint32_t waiters = 1u << 31;
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_FOREVER));
    atomic_fetch_and(os_robust_word(&slot_at(process_self.slot)->life), ~waiters);
    atomic_store(&words[0], 1);
    for (;;)
        pause();
}

TEST_WITH_TIMEOUT(life_a_process_that_is_killed_while_it_takes_its_life_word_is_noticed, 10)
{
    ASSERT_SYS(setenv("SHOAL_TEST_NET", "0", 1));
    begin();
    pid_t holder = child(hold_half_armed);
    until_word(&words[0], 1);
    pid_t pid = child(wait_for_lock);
    until_asleep(pid);
    kill_and_reap(holder);
    ends_well(pid);
    finish();
}

/* ---- who repairs ends in the middle of it ---- */

static void repair_another(void)
{
    enum { DEAD = 2 };
    until_word(&words[0], 1);
    uint64_t w = slot_make((uint32_t)(atomic_load(&slot_at(DEAD)->word) >> 32),
                           owner_record(shoal_thread.me), SLOT_DEAD);
    atomic_store(&slot_at(DEAD)->word, w);
    atomic_store(&words[1], 1);
    for (;;)
        pause();
}

static void end_at_death(const shoal_death *death, void *argument)
{
    (void)death;
    (void)argument;
    exit(0);
}

static void look_and_end(void)
{
    int64_t soonest;
    ASSERT_OK(shoal_process_on_death(end_at_death, NULL));
    until_word(&words[2], 1);
    life_look_all(true, &soonest);
    _exit(1);
}

static void sleep_on(void)
{
    atomic_store(&words[3], 1); /* attached */
    for (;;)
        pause();
}

/* It has taken over what the one had been repairing whose death it is told of. */
TEST(life_a_program_may_end_when_it_is_told_of_a_death)
{
    begin();
    pid_t first = child(sleep_on), second = child(repair_another), third = child(look_and_end);
    until_word(&words[3], 1);
    kill_and_reap(first);
    atomic_store(&words[0], 1);
    until_word(&words[1], 1);
    kill_and_reap(second);
    atomic_store(&words[2], 1);
    ends_well(third);
    until_deaths(2);
    for (uint32_t s = 2; s <= 4; s++)
        ASSERT_EQ_INT(slot_status(atomic_load(&slot_at(s)->word)), SLOT_FREE);
    finish();
}

/* ---- a process to which membarrier was refused later ---- */

static void refuse_membarrier(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        _exit(77);
}

static void repair_without_membarrier(void)
{
    int64_t soonest;
    refuse_membarrier();
    until_word(&words[0], 1);
    ASSERT_GE_INT(life_look_all(true, &soonest), 1);
}

static void wait_for_held(void)
{
    ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_FOREVER), 0);
    ASSERT_OK(shoal_lock_release(lock));
}

/* What a living releaser has stored may not be seen yet: that the lock seems held is no reason not to
 * wake. */
TEST(life_a_repairer_without_membarrier_wakes_whoever_sleeps)
{
    int status;
    begin();
    if (!view.region->asymmetric)
        SKIP("without membarrier a release is seen at once");
    pid_t dead = child(sleep_on), repairer = child(repair_without_membarrier);
    until_word(&words[3], 1);
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_FOREVER));
    pid_t sleeper = child(wait_for_held);
    until_asleep(sleeper);
    ASSERT_SYS(kill(sleeper, SIGSTOP)); /* it would notice the death itself */
    ASSERT_SYS(waitpid(sleeper, NULL, WUNTRACED));
    struct header *h = header_of(lock, TYPE_LOCK);
    const _Atomic uint32_t *word = (const void *)(h->body + sizeof(owner_t));
    uint32_t before = atomic_load(word);
    kill_and_reap(dead);
    atomic_store(&words[0], 1);
    ASSERT_SYS(waitpid(repairer, &status, 0));
    uint32_t after = atomic_load(word);
    ASSERT_SYS(kill(sleeper, SIGCONT));
    ASSERT_OK(shoal_lock_release(lock));
    ends_well(sleeper);
    finish();
    if (WEXITSTATUS(status) == 77)
        SKIP("no seccomp here");
    ASSERT_EQ_INT(status, 0);
    ASSERT_NE_U64(after >> 1, before >> 1);
}

static shoal_queue *queue;

static void wait_for_place(void)
{
    ASSERT_OK(shoal_queue_put_bytes(queue, "2", 1, SHOAL_FOREVER));
}

static void repair_plainly(void)
{
    int64_t soonest;
    until_word(&words[0], 1);
    ASSERT_GE_INT(life_look_all(true, &soonest), 1);
}

/* Who sleeps on a queue's further eventcount is woken in the dead one's name: it may have died between
 * making place and waking. */
static void rouse_from_further_event(void (*repair)(void))
{
    int status;
    size_t size;
    char byte;
    begin();
    ASSERT_OK(shoal_queue_create(&queue, &(shoal_queue_options){.maxsize = 1}));
    ASSERT_OK(shoal_queue_put_bytes(queue, "1", 1, SHOAL_NOW));
    pid_t dead = child(sleep_on), repairer = child(repair);
    until_word(&words[3], 1);
    pid_t sleeper = child(wait_for_place);
    until_asleep(sleeper);
    ASSERT_SYS(kill(sleeper, SIGSTOP)); /* it would notice the death itself */
    ASSERT_SYS(waitpid(sleeper, NULL, WUNTRACED));
    struct lanes *q = header_payload(header_of(queue, TYPE_QUEUE));
    uint32_t before = atomic_load(&q->space);
    kill_and_reap(dead);
    atomic_store(&words[0], 1);
    ASSERT_SYS(waitpid(repairer, &status, 0));
    uint32_t after = atomic_load(&q->space);
    ASSERT_OK(shoal_queue_get_bytes_into(queue, &byte, 1, &size, SHOAL_NOW));
    ASSERT_SYS(kill(sleeper, SIGCONT));
    ends_well(sleeper);
    shoal_queue_close(queue);
    finish();
    if (status && WEXITSTATUS(status) == 77)
        SKIP("no seccomp here");
    ASSERT_EQ_INT(status, 0);
    ASSERT_NE_U64(after / EVENT_STEP, before / EVENT_STEP);
}

TEST(life_a_repairer_wakes_whoever_sleeps_on_a_further_eventcount)
{
    rouse_from_further_event(repair_plainly);
}

TEST(life_a_repairer_without_membarrier_wakes_whoever_sleeps_on_a_further_eventcount)
{
    rouse_from_further_event(repair_without_membarrier);
}

/* ---- families of more processes than one sleeper can watch ---- */

/* Without the net, which must not be what helps here. */
static void begin_many(void)
{
    ASSERT_SYS(setenv("SHOAL_TEST_NET", "0", 1));
    begin();
}

/* Whoever is born now gets a slot of the second group. */
static void fill_first_group(void)
{
    for (uint32_t s = process_self.slot + 1; s < WATCH_GROUP; s++) {
        ASSERT_OK(region_populate(slot_at(s), sizeof(struct slot)));
        if (slot_status(atomic_load(&slot_at(s)->word)) == SLOT_FREE)
            atomic_store(&slot_at(s)->word,
                         slot_make(0, owner_record(shoal_thread.me), SLOT_STARTING));
    }
    if (atomic_load(&view.region->slots_high) < WATCH_GROUP)
        atomic_store(&view.region->slots_high, WATCH_GROUP);
}

static void empty_first_group(void)
{
    for (uint32_t s = process_self.slot + 1; s < WATCH_GROUP; s++)
        if (slot_status(atomic_load(&slot_at(s)->word)) == SLOT_STARTING)
            atomic_store(&slot_at(s)->word, slot_make(0, 0, SLOT_FREE));
}

static void wait_for_lock_that_is_held(void)
{
    until_word(&words[0], 1);
    ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    ASSERT_OK(shoal_lock_release(lock));
}

static void hold_and_sleep(void)
{
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_FOREVER));
    atomic_store(&words[0], 1);
    until_word(&words[1], 1);
    ASSERT_OK(shoal_event_wait(event, SHOAL_FOREVER));
    until_word(&words[2], 1);
}

/* One sleeper watches the first group, another the second, in which it is itself. */
static void watch_two_groups(pid_t *first, pid_t *second)
{
    begin_many();
    *first = child(wait_for_lock_that_is_held);
    fill_first_group();
    *second = child(hold_and_sleep);
    empty_first_group();
    until_word(&words[0], 1);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    until_asleep(*first);
    atomic_store(&words[1], 1);
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    until_asleep(*second);
}

TEST_WITH_TIMEOUT(life_the_only_watcher_of_a_group_is_watched_by_another, 10)
{
    pid_t first, second;
    watch_two_groups(&first, &second);
    kill_and_reap(second);
    ends_well(first);
    finish();
}

TEST_WITH_TIMEOUT(life_a_group_whose_only_watcher_leaves_is_watched_by_another, 10)
{
    pid_t first, second;
    watch_two_groups(&first, &second);
    ASSERT_OK(shoal_event_set(event));
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    kill_and_reap(second);
    ends_well(first);
    finish();
}

static shoal_event *other;

static void hold_and_compute(void)
{
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_FOREVER));
    atomic_store(&words[0], 1);
    until_word(&words[5], 1);
}

static void wait_for_other(void)
{
    ASSERT_OK(shoal_event_wait(other, SHOAL_FOREVER));
    until_word(&words[4], 1);
}

static void leave_watch(shoal_event *of)
{
    ASSERT_OK(shoal_event_set(of));
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
}

/* Two watch the second group and leave; two of the three others hear of it and look after that group,
 * until they leave too. */
TEST_WITH_TIMEOUT(life_a_watcher_that_leaves_tells_another_of_a_group_that_nobody_watches, 10)
{
    begin_many();
    ASSERT_OK(shoal_event_create(&other, NULL));
    fill_first_group();
    pid_t holder = child(hold_and_compute);
    empty_first_group();
    until_word(&words[0], 1);
    void (*const sleepers[])(void) = {wait_for_other, wait_for_event, wait_for_other,
                                      wait_for_event, wait_for_lock};
    enum { N = sizeof sleepers / sizeof *sleepers };
    pid_t pids[N];
    for (int i = 0; i < N; i++) {
        pids[i] = child(sleepers[i]);
        until_asleep(pids[i]);
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL); /* who looks in slices settles */
    }
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    leave_watch(event);
    leave_watch(other);
    kill_and_reap(holder);
    ends_well(pids[N - 1]);
    atomic_store(&words[4], 1);
    for (int i = 0; i < N - 1; i++)
        ends_well(pids[i]);
    other = shoal_event_close(other);
    finish();
}

/* ---- children that ran no handler ---- */

static void raw_hold(void)
{
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_FOREVER));
    atomic_store(&words[0], 1);
    for (;;)
        pause();
}

static void can_know(void)
{
    if (!os_features()->wipe_on_fork)
        SKIP("without MADV_WIPEONFORK such a child cannot know that it is one");
}

static pid_t raw_child(void (*body)(void))
{
    can_know();
    pid_t pid = (pid_t)ASSERT_SYS(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    if (!pid) {
        body();
        _exit(0);
    }
    return pid;
}

TEST(life_the_death_of_a_child_that_ran_no_handler_is_noticed)
{
    shoal_reference r;
    begin();
    ASSERT_OK(shoal_lock_reference(lock, &r));
    pid_t pid = raw_child(raw_hold);
    until_word(&words[0], 1);
    ASSERT_ERR(shoal_lock_acquire(lock, shoal_after(0.05)), -ETIMEDOUT);
    ASSERT_SYS(kill(pid, SIGKILL));
    ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    ASSERT_OK(shoal_lock_release(lock));
    ASSERT_SYS(waitpid(pid, NULL, 0));
    finish();
}

static void raw_wait(void)
{
    ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    ASSERT_OK(shoal_lock_release(lock));
}

TEST(life_a_child_that_ran_no_handler_waits_and_watches_like_any_other)
{
    shoal_reference r;
    begin();
    ASSERT_OK(shoal_lock_reference(lock, &r));
    pid_t holder = child(raw_hold);
    until_word(&words[0], 1);
    pid_t pid = raw_child(raw_wait);
    until_asleep(pid);
    kill_and_reap(holder);
    ends_well(pid);
    finish();
}

static shoal_lock *private_lock;

static void raw_private(void)
{
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_FOREVER));
    ASSERT_ERR(shoal_lock_acquire(private_lock, SHOAL_NOW), -EBADF);
    ASSERT_OK(shoal_lock_release(lock));
}

/* Nobody tells the parent that its objects have one more user: so what it could close without a
 * look is not that child's. */
TEST(life_a_child_that_ran_no_handler_has_what_was_referenced)
{
    shoal_reference r;
    begin();
    ASSERT_OK(shoal_lock_reference(lock, &r));
    ASSERT_OK(shoal_lock_create(&private_lock, NULL));
    ends_well(raw_child(raw_private));
    private_lock = shoal_lock_close(private_lock);
    finish();
}

static void raw_hold_nothing(void)
{
    ASSERT_EQ_INT(shoal_process_authkey((unsigned char[64]){0}, 64), 3);
}

static void raw_heir(void)
{
    unsigned char key[64];
    ASSERT_EQ_INT(shoal_process_authkey(key, sizeof key), 3);
    ASSERT_MEM(key, "key", 3);
    ASSERT_EQ_INT(shoal_process_pid(shoal_process_parent()), getppid());
    ASSERT_ERR(shoal_memory_create(&(shoal_memory *){NULL}, 2 << 20, NULL), -ENOMEM);
    ends_well(child(raw_hold_nothing));
}

TEST(life_a_child_that_ran_no_handler_inherits_like_any_other)
{
    begin();
    ASSERT_OK(shoal_process_set_authkey((const unsigned char *)"key", 3));
    ASSERT_OK(shoal_memory_set_quota(1 << 20));
    ends_well(raw_child(raw_heir));
    finish();
}

static int raw_grandparent(void *argument)
{
    pid_t pid = raw_child(raw_hold);
    until_word(&words[0], 1);
    atomic_store(&words[2], pid);
    pause();
    return argument != NULL;
}

static int raw_family(void *argument)
{
    shoal_process *p;
    ASSERT_OK(shoal_process_start(&p, raw_grandparent, NULL, NULL));
    until_word(&words[2], 1);
    ASSERT_OK(shoal_process_kill(p)); /* /proc does not show whose grandchild it is any more */
    ASSERT_OK(shoal_process_join(p, SHOAL_FOREVER));
    atomic_store(&words[3], 1);
    pause();
    return argument != NULL;
}

TEST(life_a_child_that_ran_no_handler_is_part_of_the_tree)
{
    shoal_process *p;
    shoal_reference r;
    can_know();
    begin();
    ASSERT_OK(shoal_lock_reference(lock, &r));
    adopt_orphans();
    ASSERT_OK(shoal_process_start(&p, raw_family, NULL, NULL));
    until_word(&words[3], 1);
    ASSERT_EQ_INT(shoal_process_kill_tree(p), 2);
    ASSERT_OK(shoal_process_join(p, SHOAL_FOREVER));
    ASSERT_OK(shoal_process_close(p));
    ASSERT_EQ_INT(waitpid((pid_t)words[2], NULL, 0), words[2]);
    ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    ASSERT_OK(shoal_lock_release(lock));
    finish();
}

/* ---- threads that come and go ---- */

static pthread_barrier_t together;

static void *come_and_go(void *unused)
{
    (void)unused;
    ASSERT_ERR(shoal_event_wait(event, shoal_after(0.001)), -ETIMEDOUT);
    pthread_barrier_wait(&together);
    return NULL;
}

TEST(life_records_of_threads_that_have_ended_are_used_again)
{
    enum { THREADS = 300, TIMES = 3 };
    pthread_t threads[THREADS];
    pthread_attr_t small;
    begin();
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    pthread_barrier_init(&together, NULL, THREADS);
    for (int n = 0; n < TIMES; n++) {
        for (int i = 0; i < THREADS; i++)
            ASSERT_EQ_INT(pthread_create(&threads[i], &small, come_and_go, NULL), 0);
        for (int i = 0; i < THREADS; i++)
            ASSERT_EQ_INT(pthread_join(threads[i], NULL), 0);
    }
    ASSERT_LE_U64(atomic_load(&view.region->records_high), SLOTS + THREADS);
    pthread_barrier_destroy(&together);
    finish();
}

static void *create_and_close(void *unused)
{
    shoal_lock *mine;
    (void)unused;
    ASSERT_OK(shoal_lock_create(&mine, NULL));
    shoal_lock_close(mine);
    return NULL;
}

/* However many objects there are: a thread that begins to create looks at some of the groups only.
 */
TEST(life_object_groups_of_threads_that_have_ended_are_used_again)
{
    enum { MANY = 70 * GROUP, THREADS = 100 };
    static shoal_lock *locks[MANY];
    pthread_t thread;
    begin();
    for (int i = 0; i < MANY; i++)
        ASSERT_OK(shoal_lock_create(&locks[i], NULL));
    uint32_t before = atomic_load(&view.region->groups_high);
    for (int i = 0; i < THREADS; i++) {
        ASSERT_EQ_INT(pthread_create(&thread, NULL, create_and_close, NULL), 0);
        ASSERT_EQ_INT(pthread_join(thread, NULL), 0);
    }
    ASSERT_LE_U64(atomic_load(&view.region->groups_high), before + 8);
    for (int i = 0; i < MANY; i++)
        shoal_lock_close(locks[i]);
    finish();
}

/* ---- what a thread makes and closes while another is in the middle of a fork ---- */

/* The test's fork handlers run inside of shoal's: it has copied the holds already, and has not yet
 * noted that the fork is over. */
static _Atomic pid_t maker;
static shoal_event *made;

static void *make_and_close(void *unused)
{
    shoal_event *mine;
    (void)unused;
    ASSERT_OK(shoal_event_create(&mine, NULL)); /* so that its place is known */
    shoal_event_close(mine);
    atomic_store(&maker, os_gettid());
    until_word(&words[0], 1);
    ASSERT_OK(shoal_event_create(&made, NULL));
    atomic_store(&words[1], 1);
    until_word(&words[2], 1);
    shoal_event_close(made);
    atomic_store(&words[3], 1);
    return NULL;
}

static void make_before_fork(void)
{
    atomic_store(&words[0], 1);
    until_word(&words[1], 1);
}

/* Closed, or waiting for the end of the fork. */
static void close_after_fork(void)
{
    until_word(&words[4], 1); /* the child has what it can have of it */
    atomic_store(&words[2], 1);
    for (int i = 0; i < 100 && !atomic_load(&words[3]); i++)
        nap();
}

static void check_made(void)
{
    atomic_store(&words[4], 1);
    until_word(&words[3], 1);
    shoal_reference r;
    if (shoal_event_reference(made, &r) == -EBADF)
        return;
    uint64_t state = atomic_load(&handle_of(made)->header->state);
    ASSERT_EQ_U64(state_generation(state), handle_of(made)->generation);
    ASSERT_EQ_INT(state_status(state), OBJECT_LIVE);
}

TEST(life_what_is_made_and_closed_during_a_fork_is_the_childs_or_is_not)
{
    pthread_t thread;
    ASSERT_EQ_INT(pthread_atfork(make_before_fork, close_after_fork, NULL), 0);
    begin();
    ASSERT_EQ_INT(pthread_create(&thread, NULL, make_and_close, NULL), 0);
    while (!atomic_load(&maker))
        nap();
    ends_well(child(check_made));
    ASSERT_EQ_INT(pthread_join(thread, NULL), 0);
    finish();
}

/* ---- what a repairer touches ---- */

static void nothing(void)
{
}

/* A repairer may be slow: what it found by a sleeper's frame stays what it is until it is done,
 * also when the sleeper has left and closed it. */
TEST(life_an_object_that_a_repairer_looks_at_is_not_used_anew)
{
    shoal_statistics before, s;
    begin();
    ends_well(child(nothing));
    until_deaths(1);
    shoal_event_close(event);
    ASSERT_OK(shoal_event_create(&event, NULL)); /* which no fork has shared */
    enum { GONE = 2 };                           /* its slot */
    ASSERT_EQ_INT(slot_status(atomic_load(&slot_at(GONE)->word)), SLOT_FREE);
    ASSERT_ERR(shoal_event_wait(event, shoal_after(0.001)), -ETIMEDOUT);
    struct header *h = header_of(event, TYPE_EVENT);
    ASSERT_OK(shoal_memory_statistics(&before));
    ASSERT_TRUE(object_shield(header_id(h), GONE));
    event = shoal_event_close(event);
    ASSERT_OK(shoal_event_create(&other, NULL));
    ASSERT_TRUE(header_of(other, TYPE_EVENT) != h);
    shoal_event_close(other);
    ASSERT_OK(shoal_memory_statistics(&s));
    ASSERT_EQ_INT(s.objects, before.objects);
    object_release_all(GONE);
    ASSERT_OK(shoal_memory_statistics(&s));
    ASSERT_EQ_INT(s.objects, before.objects - 1);
    ASSERT_OK(shoal_event_create(&event, NULL));
    finish();
}

/* ---- looking ---- */

static struct {
    shoal_rlock *rlock;
    shoal_rwlock *read, *written;
    shoal_semaphore *semaphore;
    shoal_condition *condition;
    shoal_barrier *barrier;
} all;

static void hold_lock(void)
{
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_NOW));
}

static void hold_rlock(void)
{
    ASSERT_OK(shoal_rlock_acquire(all.rlock, SHOAL_NOW));
}

static void hold_to_read(void)
{
    ASSERT_OK(shoal_rwlock_acquire_read(all.read, SHOAL_NOW));
}

static void hold_to_write(void)
{
    ASSERT_OK(shoal_rwlock_acquire_write(all.written, SHOAL_NOW));
}

static void own_a_permit(void)
{
    ASSERT_OK(shoal_semaphore_acquire_owned(all.semaphore, SHOAL_NOW));
}

static void wait_for_notice(void)
{
    ASSERT_OK(shoal_condition_acquire(all.condition, SHOAL_NOW));
    shoal_condition_wait(all.condition, SHOAL_FOREVER);
}

static void wait_for_parties(void)
{
    shoal_barrier_wait(all.barrier, SHOAL_FOREVER);
}

static void (*held)(void);
static void hold_and_stay(void)
{
    held();
    for (;;)
        pause();
}

/* Does something, sleeps, and is killed; nobody has met its death. */
static void died_after(void (*body)(void))
{
    held = body;
    pid_t pid = child(hold_and_stay);
    until_asleep(pid);
    kill_and_reap(pid);
}

TEST(life_looking_at_an_object_counts_nobody_who_has_died)
{
    shoal_holder holder;
    begin();
    ASSERT_OK(shoal_rlock_create(&all.rlock, NULL));
    ASSERT_OK(shoal_rwlock_create(&all.read, NULL));
    ASSERT_OK(shoal_rwlock_create(&all.written, NULL));
    ASSERT_OK(shoal_semaphore_create(&all.semaphore, 1, &(shoal_semaphore_options){.owned = 1}));
    ASSERT_OK(shoal_condition_create(&all.condition, NULL, NULL, NULL));
    ASSERT_OK(shoal_barrier_create(&all.barrier, 2, NULL));

    died_after(hold_lock);
    ASSERT_EQ_INT(shoal_lock_locked(lock), 0);
    died_after(hold_rlock);
    ASSERT_EQ_INT(shoal_rlock_holder(all.rlock, &holder), 0);
    ASSERT_EQ_INT(holder.pid, 0);
    died_after(hold_to_read);
    ASSERT_EQ_INT(shoal_rwlock_readers(all.read), 0);
    died_after(hold_to_write);
    ASSERT_EQ_INT(shoal_rwlock_locked(all.written), 0);
    died_after(own_a_permit);
    ASSERT_EQ_INT(shoal_semaphore_value(all.semaphore), 1);
    died_after(own_a_permit);
    ASSERT_EQ_INT(shoal_semaphore_holders(all.semaphore, &holder, 1), 0);
    died_after(wait_for_notice);
    ASSERT_EQ_INT(shoal_condition_waiters(all.condition), 0);
    died_after(wait_for_parties);
    ASSERT_EQ_INT(shoal_barrier_n_waiting(all.barrier), 0);
    ASSERT_OK(shoal_barrier_reset(all.barrier));
    died_after(wait_for_parties);
    ASSERT_EQ_INT(shoal_barrier_broken(all.barrier), 1);

    /* Looking took nothing away. */
    ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_NOW), SHOAL_OWNER_DIED);
    ASSERT_EQ_INT(shoal_rlock_acquire(all.rlock, SHOAL_NOW), SHOAL_OWNER_DIED);
    ASSERT_EQ_INT(shoal_rwlock_acquire_read(all.written, SHOAL_NOW), SHOAL_OWNER_DIED);

    shoal_rlock_close(all.rlock);
    shoal_rwlock_close(all.read);
    shoal_rwlock_close(all.written);
    shoal_semaphore_close(all.semaphore);
    shoal_condition_close(all.condition);
    shoal_barrier_close(all.barrier);
    finish();
}

/* Any living process may release a lock; but what a dead one held the next to acquire is told of. */
TEST(life_nobody_releases_what_a_dead_process_held)
{
    begin();
    died_after(hold_lock);
    ASSERT_ERR(shoal_lock_release(lock), -EPERM);
    ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_NOW), SHOAL_OWNER_DIED);
    ASSERT_EQ_INT(shoal_lock_release(lock), 0);
    finish();
}
