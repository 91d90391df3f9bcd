/* Barriers: what sync.h promises, also when parties die. */
#include "runner.h"
#include "sync/sync.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <shoal/shoal.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct shared {
    _Atomic int go, done, actions, results[128], numbers[128];
    _Atomic int arrived[16];
} * shared;
static shoal_memory *shared_memory;
static shoal_barrier *barrier;

static void set_up(unsigned parties)
{
    shoal_memory_options zero = {.flags = SHOAL_ZERO};
    ASSERT_OK(shoal_memory_create(&shared_memory, sizeof *shared, &zero));
    shared = shoal_memory_address(shared_memory);
    ASSERT_OK(shoal_barrier_create(&barrier, parties, NULL));
}

/* The runner looks whether anything is left (family.c). */
static void tear_down(void)
{
    shoal_memory_close(shared_memory);
    shoal_barrier_close(barrier);
}

static pid_t child(void (*run)(int), int argument)
{
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        run(argument);
        _exit(0);
    }
    return pid;
}

static void ended(pid_t pid)
{
    int status;
    ASSERT_SYS(waitpid(pid, &status, 0));
    ASSERT_EQ_INT(status, 0);
}

static void killed(pid_t pid)
{
    int status;
    ASSERT_SYS(kill(pid, SIGKILL));
    ASSERT_SYS(waitpid(pid, &status, 0));
    ASSERT_EQ_INT(status, SIGKILL);
}

static void stopped(pid_t pid)
{
    int status;
    ASSERT_SYS(kill(pid, SIGSTOP));
    ASSERT_SYS(waitpid(pid, &status, WUNTRACED));
    ASSERT_TRUE(WIFSTOPPED(status));
}

/* n wait and have had the time to fall asleep. */
static void until_waiting(int n)
{
    while (ASSERT_OK(shoal_barrier_n_waiting(barrier)) != n)
        usleep(200);
    usleep(2000);
}

static int result_of(int number)
{
    return atomic_load(&shared->results[number]);
}

static void wait_once(int number)
{
    int rc = shoal_barrier_wait(barrier, SHOAL_FOREVER);
    atomic_store(&shared->results[number], rc);
    if (rc >= 0)
        atomic_fetch_add(&shared->numbers[rc], 1);
    atomic_fetch_add(&shared->done, 1);
}

TEST(a_barrier_has_1_to_4096_parties)
{
    shoal_barrier *b = NULL;
    shoal_sync_options named = {.name = "a barrier"}, flags = {.flags = 1};
    ASSERT_ERR(shoal_barrier_create(&b, 0, NULL), -EINVAL);
    ASSERT_ERR(shoal_barrier_create(&b, 4097, NULL), -EINVAL);
    ASSERT_ERR(shoal_barrier_create(&b, 2, &flags), -EINVAL);
    ASSERT_ERR(shoal_barrier_create(NULL, 2, NULL), -EINVAL);
    ASSERT_NULL(b);
    ASSERT_OK(shoal_barrier_create(&b, 4096, &named));
    ASSERT_EQ_INT(shoal_barrier_parties(b), 4096);
    ASSERT_EQ_INT(shoal_barrier_n_waiting(b), 0);
    ASSERT_EQ_INT(shoal_barrier_broken(b), 0);
    ASSERT_NULL(shoal_barrier_close(b));
    ASSERT_ERR(shoal_barrier_wait(b, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_barrier_reset(NULL), -EINVAL);
    ASSERT_ERR(shoal_barrier_abort(b), -EBADF);
    ASSERT_NULL(shoal_barrier_close(NULL));
}

TEST(a_barrier_of_one_never_waits)
{
    set_up(1);
    for (int i = 0; i < 100; i++)
        ASSERT_EQ_INT(shoal_barrier_wait(barrier, SHOAL_NOW), 0);
    tear_down();
}

static void open_and_wait(int fd)
{
    shoal_reference reference;
    ASSERT_EQ_INT(read(fd, &reference, sizeof reference), sizeof reference);
    ASSERT_OK(shoal_barrier_open(&barrier, &reference));
    ASSERT_EQ_INT(shoal_barrier_parties(barrier), 2);
    wait_once(0);
    shoal_barrier_close(barrier);
}

TEST(a_barrier_can_be_opened_by_its_reference)
{
    int ends[2];
    shoal_reference reference;
    ASSERT_SYS(pipe(ends));
    shoal_memory_options zero = {.flags = SHOAL_ZERO};
    ASSERT_OK(shoal_memory_create(&shared_memory, sizeof *shared, &zero));
    shared = shoal_memory_address(shared_memory);
    pid_t pid = child(open_and_wait, ends[0]);
    ASSERT_OK(shoal_barrier_create(&barrier, 2, NULL));
    ASSERT_OK(shoal_barrier_reference(barrier, &reference));
    ASSERT_EQ_INT(write(ends[1], &reference, sizeof reference), sizeof reference);
    ASSERT_OK(shoal_barrier_wait(barrier, SHOAL_FOREVER));
    ended(pid);
    close(ends[0]);
    close(ends[1]);
    tear_down();
}

TEST(everybody_gets_a_number_of_its_own)
{
    enum { N = 20 };
    pid_t pids[N];
    set_up(N);
    for (int i = 0; i < N - 1; i++)
        pids[i] = child(wait_once, i);
    until_waiting(N - 1);
    ASSERT_EQ_INT(atomic_load(&shared->done), 0);
    pids[N - 1] = child(wait_once, N - 1);
    for (int i = 0; i < N; i++)
        ended(pids[i]);
    for (int i = 0; i < N; i++)
        ASSERT_EQ_INT(atomic_load(&shared->numbers[i]), 1);
    ASSERT_EQ_INT(shoal_barrier_n_waiting(barrier), 0);
    ASSERT_EQ_INT(shoal_barrier_broken(barrier), 0);
    tear_down();
}

/* ---- again and again ---- */

enum { PHASES = 10000 };

/* Nobody is ever more than one phase ahead of another. */
static void go_through(int number)
{
    for (int phase = 0; phase < PHASES; phase++) {
        atomic_store(&shared->arrived[number], phase);
        int rc = shoal_barrier_wait(barrier, SHOAL_FOREVER);
        ASSERT_TRUE(rc >= 0 && rc < 3);
        for (int i = 0; i < 3; i++) {
            int other = atomic_load(&shared->arrived[i]);
            ASSERT_TRUE(other == phase || other == phase + 1);
        }
    }
    atomic_store(&shared->arrived[number], PHASES);
}

TEST(three_processes_pass_ten_thousand_phases)
{
    set_up(3);
    pid_t a = child(go_through, 0), b = child(go_through, 1);
    go_through(2);
    ended(a);
    ended(b);
    tear_down();
}

static void *go_through_thread(void *number)
{
    go_through((int)(intptr_t)number);
    return NULL;
}

TEST(two_threads_and_a_process_pass_ten_thousand_phases)
{
    pthread_t thread;
    set_up(3);
    pid_t a = child(go_through, 0);
    ASSERT_EQ_INT(pthread_create(&thread, NULL, go_through_thread, (void *)(intptr_t)1), 0);
    go_through(2);
    ended(a);
    ASSERT_EQ_INT(pthread_join(thread, NULL), 0);
    tear_down();
}

/* More come than there are parties: each phase takes any two of six. */
static void pass_often(int number)
{
    (void)number;
    for (int i = 0; i < 2000; i++) {
        ASSERT_OK(shoal_barrier_wait(barrier, SHOAL_FOREVER));
        atomic_fetch_add(&shared->done, 1);
    }
}

static void keep_passing(int number)
{
    (void)number;
    while (shoal_barrier_wait(barrier, SHOAL_FOREVER) >= 0)
        atomic_fetch_add(&shared->done, 1);
}

TEST(more_threads_than_parties_can_share_a_barrier)
{
    enum { N = 6 };
    pid_t pids[N], last;
    set_up(2);
    last = child(keep_passing, 0); /* so that the last of the others finds somebody */
    for (int i = 0; i < N; i++)
        pids[i] = child(pass_often, i);
    for (int i = 0; i < N; i++)
        ended(pids[i]);
    ASSERT_OK(shoal_barrier_abort(barrier));
    ended(last);
    tear_down();
}

/* ---- actions ---- */

static int act(void *argument)
{
    _Atomic int *count = argument;
    ASSERT_EQ_INT(atomic_load(&shared->done), 0); /* nobody has gone on */
    return atomic_fetch_add(count, 1);
}

static int act_in_vain(void *argument)
{
    (void)argument;
    return -ENODATA;
}

static void wait_acting(int number)
{
    int rc = shoal_barrier_wait_action(barrier, act, &shared->actions, SHOAL_FOREVER);
    atomic_store(&shared->results[number], rc);
    atomic_fetch_add(&shared->done, 1);
}

static void wait_failing(int number)
{
    int rc = shoal_barrier_wait_action(barrier, act_in_vain, NULL, SHOAL_FOREVER);
    atomic_store(&shared->results[number], rc);
    atomic_fetch_add(&shared->done, 1);
}

TEST(the_last_to_arrive_runs_its_action_before_the_others_go_on)
{
    pid_t pids[4];
    set_up(4);
    for (int i = 0; i < 4; i++)
        pids[i] = child(wait_acting, i);
    for (int i = 0; i < 4; i++) {
        ended(pids[i]);
        ASSERT_GE_INT(result_of(i), 0);
    }
    ASSERT_EQ_INT(atomic_load(&shared->actions), 1);
    tear_down();
}

TEST(an_action_that_fails_breaks_the_barrier)
{
    set_up(2);
    pid_t a = child(wait_once, 0);
    until_waiting(1);
    pid_t b = child(wait_failing, 1);
    ended(a);
    ended(b);
    ASSERT_EQ_INT(result_of(0), -ECANCELED);
    ASSERT_EQ_INT(result_of(1), -ENODATA);
    ASSERT_EQ_INT(shoal_barrier_broken(barrier), 1);
    ASSERT_ERR(shoal_barrier_wait(barrier, SHOAL_FOREVER), -ECANCELED);
    ASSERT_OK(shoal_barrier_reset(barrier));
    ASSERT_EQ_INT(shoal_barrier_broken(barrier), 0);
    a = child(wait_once, 0);
    ASSERT_OK(shoal_barrier_wait(barrier, SHOAL_FOREVER));
    ended(a);
    tear_down();
}

static int act_long(void *argument)
{
    (void)argument;
    atomic_fetch_add(&shared->actions, 1);
    while (!atomic_load(&shared->go))
        usleep(200);
    return 0;
}

static void wait_acting_long(int number)
{
    int rc = shoal_barrier_wait_action(barrier, act_long, NULL, SHOAL_FOREVER);
    atomic_store(&shared->results[number], rc);
    atomic_fetch_add(&shared->done, 1);
}

TEST(the_death_of_who_runs_the_action_breaks_the_barrier)
{
    set_up(2);
    pid_t a = child(wait_once, 0);
    until_waiting(1);
    pid_t b = child(wait_acting_long, 1);
    until_waiting(2);
    killed(b);
    ended(a);
    ASSERT_EQ_INT(result_of(0), -ECANCELED);
    ASSERT_EQ_INT(shoal_barrier_broken(barrier), 1);
    tear_down();
}

TEST(an_abort_during_the_action_breaks_for_all)
{
    set_up(2);
    pid_t a = child(wait_once, 0);
    until_waiting(1);
    pid_t b = child(wait_acting_long, 1);
    until_waiting(2);
    ASSERT_OK(shoal_barrier_abort(barrier));
    ended(a);
    atomic_store(&shared->go, 1);
    ended(b);
    ASSERT_EQ_INT(result_of(0), -ECANCELED);
    ASSERT_EQ_INT(result_of(1), -ECANCELED);
    tear_down();
}

TEST(who_comes_during_the_action_belongs_to_the_next_phase)
{
    set_up(2);
    pid_t a = child(wait_once, 0);
    until_waiting(1);
    pid_t b = child(wait_acting_long, 1);
    until_waiting(2);
    ASSERT_ERR(shoal_barrier_wait(barrier, shoal_after(0.005)), -ETIMEDOUT);
    ASSERT_EQ_INT(shoal_barrier_broken(barrier), 0);
    pid_t c = child(wait_once, 2);
    usleep(5000);
    ASSERT_EQ_INT(atomic_load(&shared->done), 0);
    atomic_store(&shared->go, 1);
    ended(a);
    ended(b);
    until_waiting(1);
    ASSERT_EQ_INT(shoal_barrier_wait(barrier, SHOAL_FOREVER), 1);
    ended(c);
    ASSERT_EQ_INT(result_of(2), 0);
    tear_down();
}

/* ---- broken ---- */

TEST(a_deadline_breaks_the_barrier_for_all)
{
    set_up(3);
    ASSERT_ERR(shoal_barrier_wait(barrier, SHOAL_NOW), -ETIMEDOUT);
    ASSERT_EQ_INT(shoal_barrier_broken(barrier), 1);
    ASSERT_OK(shoal_barrier_reset(barrier));
    pid_t a = child(wait_once, 0);
    until_waiting(1);
    ASSERT_ERR(shoal_barrier_wait(barrier, shoal_after(0.01)), -ETIMEDOUT);
    ended(a);
    ASSERT_EQ_INT(result_of(0), -ECANCELED);
    ASSERT_EQ_INT(shoal_barrier_broken(barrier), 1);
    ASSERT_EQ_INT(shoal_barrier_n_waiting(barrier), 0);
    tear_down();
}

static void nothing(int signal)
{
    (void)signal;
}

static void wait_interrupted(int number)
{
    struct sigaction action = {.sa_handler = nothing};
    ASSERT_SYS(sigaction(SIGUSR1, &action, NULL));
    wait_once(number);
}

TEST(a_signal_handler_breaks_it_too)
{
    set_up(3);
    pid_t a = child(wait_once, 0), b = child(wait_interrupted, 1);
    until_waiting(2);
    while (atomic_load(&shared->done) < 2) {
        ASSERT_SYS(kill(b, SIGUSR1));
        usleep(5000);
    }
    ended(a);
    ended(b);
    ASSERT_EQ_INT(result_of(0), -ECANCELED);
    ASSERT_EQ_INT(result_of(1), -EINTR);
    ASSERT_EQ_INT(shoal_barrier_broken(barrier), 1);
    tear_down();
}

/* How often it was asked lies where the parent sees it. */
static bool goes_on(void)
{
    atomic_fetch_add(&shared->actions, 1);
    return true;
}

static void wait_asking(int number)
{
    struct sigaction action = {.sa_handler = nothing};
    ASSERT_SYS(sigaction(SIGUSR1, &action, NULL));
    int rc = barrier_meet(barrier, NULL, NULL, SHOAL_FOREVER, goes_on, "a wait");
    atomic_store(&shared->results[number], rc);
}

TEST(who_goes_on_after_a_signal_handler_breaks_nothing)
{
    set_up(3);
    pid_t a = child(wait_once, 0), b = child(wait_asking, 1);
    until_waiting(2);
    while (atomic_load(&shared->actions) < 3) {
        ASSERT_SYS(kill(b, SIGUSR1));
        usleep(5000);
    }
    ASSERT_EQ_INT(shoal_barrier_n_waiting(barrier), 2);
    ASSERT_EQ_INT(shoal_barrier_wait(barrier, SHOAL_FOREVER), 2);
    ended(a);
    ended(b);
    ASSERT_EQ_INT(result_of(0) + result_of(1), 1);
    tear_down();
}

TEST(abort_breaks_until_reset)
{
    set_up(2);
    pid_t a = child(wait_once, 0);
    until_waiting(1);
    ASSERT_OK(shoal_barrier_abort(barrier));
    ASSERT_OK(shoal_barrier_abort(barrier));
    ended(a);
    ASSERT_EQ_INT(result_of(0), -ECANCELED);
    ASSERT_EQ_INT(shoal_barrier_broken(barrier), 1);
    ASSERT_ERR(shoal_barrier_wait(barrier, SHOAL_FOREVER), -ECANCELED);
    ASSERT_OK(shoal_barrier_reset(barrier));
    a = child(wait_once, 0);
    ASSERT_OK(shoal_barrier_wait(barrier, SHOAL_FOREVER));
    ended(a);
    tear_down();
}

TEST(reset_sends_away_who_waits_and_leaves_it_as_new)
{
    set_up(3);
    ASSERT_OK(shoal_barrier_reset(barrier));
    pid_t a = child(wait_once, 0), b = child(wait_once, 1);
    until_waiting(2);
    ASSERT_OK(shoal_barrier_reset(barrier));
    ended(a);
    ended(b);
    ASSERT_EQ_INT(result_of(0), -ECANCELED);
    ASSERT_EQ_INT(result_of(1), -ECANCELED);
    ASSERT_EQ_INT(shoal_barrier_broken(barrier), 0);
    ASSERT_EQ_INT(shoal_barrier_n_waiting(barrier), 0);
    a = child(wait_once, 0);
    b = child(wait_once, 1);
    ASSERT_OK(shoal_barrier_wait(barrier, SHOAL_FOREVER));
    ended(a);
    ended(b);
    tear_down();
}

enum { RESETS = 2000 };

static void be_sent_away(int number)
{
    (void)number;
    for (int i = 0; i < RESETS; i++) {
        ASSERT_ERR(shoal_barrier_wait(barrier, SHOAL_FOREVER), -ECANCELED);
        ASSERT_OK(shoal_barrier_wait(barrier, SHOAL_FOREVER));
    }
}

TEST(who_is_sent_away_by_a_reset_and_comes_again_does_not_find_it_broken)
{
    set_up(3);
    pid_t a = child(be_sent_away, 0), b = child(be_sent_away, 1);
    for (int i = 0; i < RESETS; i++) {
        while (ASSERT_OK(shoal_barrier_n_waiting(barrier)) != 2)
            sched_yield();
        ASSERT_OK(shoal_barrier_reset(barrier));
        ASSERT_OK(shoal_barrier_wait(barrier, SHOAL_FOREVER));
    }
    ended(a);
    ended(b);
    tear_down();
}

/* ---- late ones ---- */

TEST(who_wakes_many_phases_later_still_learns_that_his_tripped)
{
    set_up(2);
    pid_t late = child(wait_once, 0);
    until_waiting(1);
    stopped(late);
    ASSERT_EQ_INT(shoal_barrier_wait(barrier, SHOAL_FOREVER), 1);
    for (int i = 0; i < 5; i++) { /* the next phases trip, break and are reset without him */
        pid_t other = child(wait_once, 1);
        ASSERT_OK(shoal_barrier_wait(barrier, SHOAL_FOREVER));
        ended(other);
        ASSERT_ERR(shoal_barrier_wait(barrier, SHOAL_NOW), -ETIMEDOUT);
        ASSERT_OK(shoal_barrier_reset(barrier));
    }
    ASSERT_OK(shoal_barrier_abort(barrier));
    ASSERT_SYS(kill(late, SIGCONT));
    ended(late);
    ASSERT_EQ_INT(result_of(0), 0);
    tear_down();
}

TEST(who_wakes_many_phases_later_still_learns_that_his_broke)
{
    set_up(2);
    pid_t late = child(wait_once, 0);
    until_waiting(1);
    stopped(late);
    ASSERT_OK(shoal_barrier_reset(barrier));
    for (int i = 0; i < 5; i++) {
        pid_t other = child(wait_once, 1);
        ASSERT_OK(shoal_barrier_wait(barrier, SHOAL_FOREVER));
        ended(other);
    }
    ASSERT_SYS(kill(late, SIGCONT));
    ended(late);
    ASSERT_EQ_INT(result_of(0), -ECANCELED);
    tear_down();
}

TEST(one_that_dies_after_its_phase_has_tripped_breaks_nothing)
{
    set_up(2);
    pid_t late = child(wait_once, 0);
    until_waiting(1);
    stopped(late);
    ASSERT_EQ_INT(shoal_barrier_wait(barrier, SHOAL_FOREVER), 1);
    pid_t other = child(wait_once, 1);
    until_waiting(1);
    killed(late);
    usleep(20000);
    ASSERT_EQ_INT(shoal_barrier_broken(barrier), 0);
    ASSERT_EQ_INT(shoal_barrier_wait(barrier, SHOAL_FOREVER), 1);
    ended(other);
    ASSERT_EQ_INT(result_of(1), 0);
    tear_down();
}

/* ---- deaths ---- */

TEST(the_death_of_a_waiting_party_breaks_the_barrier)
{
    enum { N = 5 };
    pid_t pids[N];
    set_up(N + 1);
    for (int i = 0; i < N; i++)
        pids[i] = child(wait_once, i);
    until_waiting(N);
    killed(pids[2]);
    for (int i = 0; i < N; i++)
        if (i != 2) {
            ended(pids[i]);
            ASSERT_EQ_INT(result_of(i), -ECANCELED);
        }
    ASSERT_ERR(shoal_barrier_wait(barrier, SHOAL_FOREVER), -ECANCELED);
    ASSERT_OK(shoal_barrier_reset(barrier));
    for (int i = 0; i < N; i++)
        pids[i] = child(wait_once, i);
    ASSERT_OK(shoal_barrier_wait(barrier, SHOAL_FOREVER));
    for (int i = 0; i < N; i++)
        ended(pids[i]);
    tear_down();
}

TEST(a_party_that_comes_after_the_death_finds_it_broken)
{
    set_up(2);
    pid_t a = child(wait_once, 0);
    until_waiting(1);
    killed(a);
    /* Noticed before we come: broken. Not yet: we trip with the dead, who had arrived. */
    int rc = shoal_barrier_wait(barrier, SHOAL_FOREVER);
    ASSERT_TRUE(rc == -ECANCELED || rc == 1);
    tear_down();
}

/* A death in the crowd breaks the barrier; whoever sees that resets it. */
static void keep_going(int number)
{
    for (;;) {
        int rc = shoal_barrier_wait_action(barrier, number % 2 ? act_in_vain : NULL, NULL,
                                           shoal_after(number % 3 ? 1000 : 0.002));
        ASSERT_TRUE((rc >= 0 && rc < 3) || rc == -ECANCELED || rc == -ETIMEDOUT || rc == -ENODATA);
        if (rc < 0)
            ASSERT_OK(shoal_barrier_reset(barrier));
        atomic_fetch_add(&shared->done, 1);
    }
}

TEST(a_crowd_survives_a_hundred_deaths_at_any_moment_in_a_barrier)
{
    enum { N = 5 };
    pid_t pids[N];
    unsigned random = 54321;
    set_up(3);
    for (int i = 0; i < N; i++)
        pids[i] = child(keep_going, i);
    for (int k = 0; k < 100; k++) {
        random = random * 1664525 + 1013904223;
        usleep(random >> 20);
        int i = (int)(random >> 16) % N;
        killed(pids[i]);
        int now = atomic_load(&shared->done);
        while (atomic_load(&shared->done) < now + 10)
            usleep(200);
        pids[i] = child(keep_going, i);
    }
    for (int i = 0; i < N; i++)
        killed(pids[i]);
    tear_down();
}
