/* Who waits for whom, and every cycle of it. */
#include "takers.h"

static int index_of(int n, const pid_t pids[], int64_t pid)
{
    for (int i = 0; i < n; i++)
        if (pids[i] == pid)
            return i;
    FAIL("process %d is none of them", (int)pid);
}

/* Takers of which each waits for what the next one has, and who are all in the one cycle there is. */
static void cycle_of(int n, const char *const what[], const char *const names[])
{
    pid_t pids[MANY];
    shoal_any *snapshot = let_wait(n, what, pids);
    ASSERT_EQ_INT(deadlocks(snapshot), 1);
    const shoal_any *cycle = at(get(snapshot, "deadlocks"), 0);
    ASSERT_EQ_INT(shoal_any_count(cycle), n);
    int before = -1;
    for (int i = 0; i < n; i++) {
        const shoal_any *one = at(cycle, i);
        int k = index_of(n, pids, number(one, "pid"));
        ASSERT_STR(text(one, "name"), names[k]);
        ASSERT_EQ_INT(number(one, "thread"), pids[k]);
        ASSERT_STR(text(one, "process"), "(forked)");
        ASSERT_TRUE(i == 0 || k == (before + 1) % n);
        before = k;
        const shoal_any *object = find(snapshot, "objects", "name", names[k]);
        ASSERT_NOT_NULL(find_number(object, "waiters", "pid", pids[k]));
        const shoal_any *wait = find_number(snapshot, "waits", "pid", pids[k]);
        ASSERT_EQ_INT(number(wait, "object"), number(object, "id"));
        ASSERT_NOT_NULL(find_number(wait, "held_by", "pid", pids[(k + 1) % n]));
        const shoal_any *process = find_number(snapshot, "processes", "pid", pids[k]);
        int64_t id;
        ASSERT_OK(shoal_any_as_int(at(get(process, "waits_for"), 0), &id));
        ASSERT_EQ_INT(id, number(object, "id"));
    }
    end_all(n, pids, snapshot);
}

TEST(inspect_shows_two_processes_that_wait_for_each_other)
{
    cycle_of(2, (const char *const[]){"ab", "ba"}, (const char *const[]){"b", "a"});
}

TEST(inspect_shows_a_cycle_of_three_processes)
{
    cycle_of(3, (const char *const[]){"ab", "bc", "ca"}, (const char *const[]){"b", "c", "a"});
}

TEST(inspect_shows_a_cycle_through_an_rlock)
{
    cycle_of(2, (const char *const[]){"YYa", "aY"}, (const char *const[]){"a", "r"});
}

TEST(inspect_shows_a_cycle_through_a_writer)
{
    cycle_of(2, (const char *const[]){"Wa", "aR"}, (const char *const[]){"a", "rw"});
    cycle_of(2, (const char *const[]){"Wa", "aW"}, (const char *const[]){"a", "rw"});
}

TEST(inspect_shows_a_cycle_through_a_reader)
{
    cycle_of(2, (const char *const[]){"Ra", "aW"}, (const char *const[]){"a", "rw"});
}

TEST(inspect_shows_a_cycle_through_the_last_permit)
{
    cycle_of(2, (const char *const[]){"SSa", "aS"}, (const char *const[]){"a", "s"});
}

/* The other permit's owner may give it back. */
TEST(inspect_shows_no_deadlock_where_another_permit_may_come_back)
{
    pid_t pids[3];
    shoal_any *snapshot = let_wait(3, (const char *const[]){"Sa", "aS", "SE"}, pids);
    ASSERT_EQ_INT(deadlocks(snapshot), 0);
    end_all(3, pids, snapshot);
}

TEST(inspect_shows_a_chain_and_no_deadlock)
{
    pid_t pids[3];
    shoal_any *snapshot = let_wait(3, (const char *const[]){"ab", "bc", "cE"}, pids);
    ASSERT_EQ_INT(deadlocks(snapshot), 0);
    const shoal_any *wait = find_number(snapshot, "waits", "pid", pids[0]);
    ASSERT_STR(text(wait, "name"), "b");
    ASSERT_EQ_INT(number(at(get(wait, "held_by"), 0), "pid"), pids[1]);
    wait = find_number(snapshot, "waits", "pid", pids[2]);
    ASSERT_STR(text(wait, "type"), "event");
    ASSERT_EQ_INT(shoal_any_count(get(wait, "held_by")), 0);
    end_all(3, pids, snapshot);
}

TEST(inspect_shows_both_of_two_deadlocks_and_not_who_waits_for_them)
{
    pid_t pids[5];
    shoal_any *snapshot = let_wait(5, (const char *const[]){"ab", "ba", "cd", "dc", "a"}, pids);
    ASSERT_EQ_INT(deadlocks(snapshot), 2);
    for (int i = 0; i < 2; i++)
        ASSERT_EQ_INT(shoal_any_count(at(get(snapshot, "deadlocks"), i)), 2);
    end_all(5, pids, snapshot);
}

TEST(inspect_shows_a_thread_that_waits_for_itself)
{
    pid_t pids[1];
    shoal_any *snapshot = let_wait(1, (const char *const[]){"aa"}, pids);
    ASSERT_EQ_INT(deadlocks(snapshot), 1);
    ASSERT_EQ_INT(shoal_any_count(at(get(snapshot, "deadlocks"), 0)), 1);
    end_all(1, pids, snapshot);
}

TEST(inspect_shows_no_deadlock_any_more_when_one_of_it_died)
{
    pid_t pids[2];
    shoal_any *snapshot = let_wait(2, (const char *const[]){"ab", "ba"}, pids);
    ASSERT_EQ_INT(deadlocks(snapshot), 1);
    shoal_any_free(snapshot);
    kill_and_reap(pids[0]);
    int status;
    ASSERT_SYS(waitpid(pids[1], &status, 0)); /* gets SHOAL_OWNER_DIED, which is no 0 */
    snapshot = look();
    ASSERT_EQ_INT(deadlocks(snapshot), 0);
    shoal_any_free(snapshot);
    close_all();
}

static int wait_for_a(void *argument)
{
    (void)argument;
    return shoal_lock_acquire(locks[0], SHOAL_FOREVER);
}

static void join_with_a(void)
{
    shoal_process *p;
    take('a');
    ASSERT_OK(
        shoal_process_start(&p, wait_for_a, NULL, &(shoal_process_options){.name = "worker"}));
    atomic_store(&words[HAVE], shoal_process_pid(p));
    shoal_process_join(p, SHOAL_FOREVER);
}

TEST(inspect_shows_a_parent_that_waits_for_a_child_which_waits_for_it)
{
    make_all();
    pid_t pid = child(join_with_a);
    until_word(&words[HAVE], 1);
    pid_t worker = (pid_t)atomic_load(&words[HAVE]);
    until_asleep(pid);
    until_asleep(worker);
    shoal_any *snapshot = look();
    ASSERT_EQ_INT(deadlocks(snapshot), 1);
    const shoal_any *one = find_number(snapshot, "waits", "pid", pid);
    ASSERT_STR(text(one, "type"), "process");
    ASSERT_STR(text(one, "name"), "worker");
    ASSERT_EQ_INT(number(one, "object"), worker);
    shoal_any_free(snapshot);
    kill(worker, SIGKILL);
    ends_well(pid);
    close_all();
}

static void hurry(void)
{
    while (!atomic_load(&words[GO])) {
        for (int i = 0; i < MANY; i++)
            ASSERT_OK(shoal_lock_acquire(locks[i], SHOAL_FOREVER));
        for (int i = 0; i < MANY; i++)
            ASSERT_OK(shoal_lock_release(locks[i]));
    }
}

TEST(inspect_shows_no_deadlock_where_there_is_none_but_much_waiting)
{
    pid_t pids[MANY];
    make_all();
    for (int i = 0; i < MANY; i++)
        pids[i] = child(hurry);
    for (int i = 0; i < 1000; i++) {
        shoal_any *snapshot = look();
        ASSERT_EQ_INT(deadlocks(snapshot), 0);
        shoal_any_free(snapshot);
    }
    atomic_store(&words[GO], 1);
    for (int i = 0; i < MANY; i++)
        ends_well(pids[i]);
    close_all();
}
