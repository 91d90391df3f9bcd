/* rwlock: what sync.h promises. */
#include "processes.h"

static shoal_rwlock *lock;
static _Atomic long *shared;

static void setup(void)
{
    shared = words_open();
    ASSERT_OK(shoal_rwlock_create(&lock, NULL));
}

static void done(void)
{
    shoal_rwlock_close(lock);
    words_close();
}

COMMON_OPTION_TESTS(rwlock)
COMMON_TESTS(rwlock, rwlock_create, shoal_rwlock_locked)

TEST(rwlock_calls_refuse_a_closed_handle)
{
    shoal_holder holder;
    setup();
    done();
    ASSERT_ERR(shoal_rwlock_acquire_read(lock, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_rwlock_acquire_write(lock, SHOAL_NOW), -EBADF);
    ASSERT_ERR(shoal_rwlock_release(lock), -EBADF);
    ASSERT_ERR(shoal_rwlock_readers(lock), -EBADF);
    ASSERT_ERR(shoal_rwlock_holder(lock, &holder), -EBADF);
}

TEST(rwlock_says_who_reads_and_who_writes)
{
    shoal_holder holder;
    setup();
    ASSERT_EQ_INT(shoal_rwlock_locked(lock), 0);
    ASSERT_EQ_INT(shoal_rwlock_holder(lock, &holder), 0);
    ASSERT_ERR(shoal_rwlock_release(lock), -EPERM);
    ASSERT_EQ_INT(shoal_rwlock_acquire_read(lock, SHOAL_NOW), 0);
    ASSERT_EQ_INT(shoal_rwlock_locked(lock), 1);
    ASSERT_EQ_INT(shoal_rwlock_readers(lock), 1);
    ASSERT_EQ_INT(shoal_rwlock_holder(lock, &holder), 1);
    ASSERT_EQ_INT(holder.tid, gettid());
    ASSERT_OK(shoal_rwlock_release(lock));
    ASSERT_ERR(shoal_rwlock_release(lock), -EPERM);
    ASSERT_EQ_INT(shoal_rwlock_acquire_write(lock, SHOAL_NOW), 0);
    ASSERT_EQ_INT(shoal_rwlock_locked(lock), 2);
    ASSERT_EQ_INT(shoal_rwlock_readers(lock), 0);
    ASSERT_EQ_INT(shoal_rwlock_holder(lock, &holder), 1);
    ASSERT_EQ_INT(holder.pid, getpid());
    ASSERT_OK(shoal_rwlock_release(lock));
    ASSERT_EQ_INT(shoal_rwlock_locked(lock), 0);
    done();
}

TEST(rwlock_share_may_be_acquired_again_by_its_thread)
{
    setup();
    for (int i = 0; i < 255; i++)
        ASSERT_OK(shoal_rwlock_acquire_read(lock, SHOAL_NOW));
    ASSERT_ERR(shoal_rwlock_acquire_read(lock, SHOAL_NOW), -EOVERFLOW);
    ASSERT_EQ_INT(shoal_rwlock_readers(lock), 1);
    for (int i = 0; i < 255; i++)
        ASSERT_OK(shoal_rwlock_release(lock));
    ASSERT_ERR(shoal_rwlock_release(lock), -EPERM);
    done();
}

TEST(rwlock_that_would_wait_for_its_own_thread_says_so)
{
    setup();
    ASSERT_OK(shoal_rwlock_acquire_read(lock, SHOAL_NOW));
    ASSERT_ERR(shoal_rwlock_acquire_write(lock, SHOAL_FOREVER), -EDEADLK);
    ASSERT_OK(shoal_rwlock_release(lock));
    ASSERT_OK(shoal_rwlock_acquire_write(lock, SHOAL_NOW));
    ASSERT_ERR(shoal_rwlock_acquire_write(lock, SHOAL_FOREVER), -EDEADLK);
    ASSERT_ERR(shoal_rwlock_acquire_read(lock, SHOAL_FOREVER), -EDEADLK);
    ASSERT_OK(shoal_rwlock_release(lock));
    ASSERT_EQ_INT(shoal_rwlock_locked(lock), 0);
    done();
}

/* ---- between processes ---- */

static void read_and_stay(void)
{
    ASSERT_OK(shoal_rwlock_acquire_read(lock, SHOAL_FOREVER));
    atomic_fetch_add(&shared[0], 1);
    for (;;)
        pause();
}

static void write_and_stay(void)
{
    ASSERT_OK(shoal_rwlock_acquire_write(lock, SHOAL_FOREVER));
    atomic_fetch_add(&shared[0], 1);
    for (;;)
        pause();
}

static pid_t start_holder(void (*body)(void))
{
    long n = shared[0];
    pid_t pid = child(body);
    until_word(&shared[0], n + 1);
    return pid;
}

static void refuse_writer(void)
{
    ASSERT_ERR(shoal_rwlock_release(lock), -EPERM);
    ASSERT_ERR(shoal_rwlock_acquire_write(lock, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_rwlock_acquire_write(lock, shoal_after(0.005)), -ETIMEDOUT);
    ASSERT_EQ_INT(shoal_rwlock_acquire_read(lock, SHOAL_NOW), 0); /* it withdrew */
    ASSERT_EQ_INT(shoal_rwlock_readers(lock), 2);
    ASSERT_OK(shoal_rwlock_release(lock));
}

static void refuse_all(void)
{
    ASSERT_ERR(shoal_rwlock_release(lock), -EPERM);
    ASSERT_ERR(shoal_rwlock_acquire_write(lock, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_rwlock_acquire_write(lock, shoal_after(0.005)), -ETIMEDOUT);
    ASSERT_ERR(shoal_rwlock_acquire_read(lock, SHOAL_NOW), -EAGAIN);
    ASSERT_ERR(shoal_rwlock_acquire_read(lock, shoal_after(0.005)), -ETIMEDOUT);
    ASSERT_EQ_INT(shoal_rwlock_readers(lock), 0);
}

static void *in_thread(void *body)
{
    (*(void (**)(void))body)();
    return NULL;
}

static void run_in_thread(void (*body)(void))
{
    pthread_t thread;
    pthread_create(&thread, NULL, in_thread, &body);
    pthread_join(thread, NULL);
}

TEST(rwlock_readers_keep_writers_out_and_writers_everybody)
{
    setup();
    ASSERT_OK(shoal_rwlock_acquire_read(lock, SHOAL_NOW));
    ends_well(child(refuse_writer));
    run_in_thread(refuse_writer);
    ASSERT_OK(shoal_rwlock_release(lock));
    ASSERT_OK(shoal_rwlock_acquire_write(lock, SHOAL_NOW));
    ends_well(child(refuse_all));
    run_in_thread(refuse_all);
    ASSERT_OK(shoal_rwlock_release(lock));
    done();
}

static void read_once(void)
{
    atomic_fetch_add(&shared[1], 1);
    int rc = shoal_rwlock_acquire_read(lock, SHOAL_FOREVER);
    ASSERT_OK(rc);
    atomic_fetch_add(&shared[2], 1);
    atomic_fetch_add(&shared[4], rc == SHOAL_OWNER_DIED);
    ASSERT_OK(shoal_rwlock_release(lock));
}

static void write_once(void)
{
    atomic_fetch_add(&shared[1], 1);
    int rc = shoal_rwlock_acquire_write(lock, SHOAL_FOREVER);
    ASSERT_OK(rc);
    atomic_fetch_add(&shared[3], 1);
    atomic_fetch_add(&shared[4], rc == SHOAL_OWNER_DIED);
    atomic_store(&shared[5], shared[2]); /* how many had read before */
    ASSERT_OK(shoal_rwlock_release(lock));
}

static pid_t start_sleeper(void (*body)(void))
{
    long n = shared[1];
    pid_t pid = child(body);
    until_word(&shared[1], n + 1);
    until_asleep(pid);
    return pid;
}

TEST(rwlock_waiting_writer_goes_before_readers_that_come_later)
{
    setup();
    for (int round = 0; round < 10; round++) {
        pid_t pids[3];
        long read = shared[2];
        ASSERT_OK(shoal_rwlock_acquire_read(lock, SHOAL_FOREVER));
        pids[0] = start_sleeper(write_once);
        for (int i = 1; i < 3; i++)
            pids[i] = start_sleeper(read_once);
        ASSERT_OK(shoal_rwlock_acquire_read(lock, SHOAL_NOW)); /* again, by one who reads */
        ASSERT_OK(shoal_rwlock_release(lock));
        ASSERT_OK(shoal_rwlock_release(lock));
        for (int i = 0; i < 3; i++)
            ends_well(pids[i]);
        ASSERT_EQ_INT(shared[5], read);
        ASSERT_EQ_INT(shared[2], read + 2);
    }
    done();
}

TEST(rwlock_release_of_a_writer_wakes_who_sleeps)
{
    setup();
    for (int round = 0; round < 10; round++) {
        pid_t pids[5];
        ASSERT_OK(shoal_rwlock_acquire_write(lock, SHOAL_FOREVER));
        for (int i = 0; i < 5; i++)
            pids[i] = start_sleeper(i % 2 ? write_once : read_once);
        ASSERT_OK(shoal_rwlock_release(lock));
        for (int i = 0; i < 5; i++)
            ends_well(pids[i]);
    }
    ASSERT_EQ_INT(shared[4], 0);
    done();
}

static void give_up_writing(void)
{
    atomic_fetch_add(&shared[1], 1);
    ASSERT_ERR(shoal_rwlock_acquire_write(lock, shoal_after(0.05)), -ETIMEDOUT);
}

TEST(rwlock_writer_that_gives_up_lets_the_readers_in)
{
    setup();
    ASSERT_OK(shoal_rwlock_acquire_read(lock, SHOAL_NOW));
    pid_t writer = start_sleeper(give_up_writing);
    pid_t reader = child(read_once);
    ends_well(writer);
    ends_well(reader);
    ASSERT_OK(shoal_rwlock_release(lock));
    done();
}

static void be_interrupted(void)
{
    let_signals_interrupt();
    ASSERT_ERR(shoal_rwlock_acquire_write(lock, SHOAL_FOREVER), -EINTR);
}

static void be_interrupted_reading(void)
{
    let_signals_interrupt();
    ASSERT_ERR(shoal_rwlock_acquire_read(lock, SHOAL_FOREVER), -EINTR);
}

TEST(rwlock_acquire_ends_when_a_signal_handler_ran)
{
    setup();
    let_signals_interrupt();
    ASSERT_OK(shoal_rwlock_acquire_read(lock, SHOAL_NOW));
    interrupt_until_end(child(be_interrupted)); /* waits for readers */
    ASSERT_OK(shoal_rwlock_release(lock));
    ASSERT_OK(shoal_rwlock_acquire_write(lock, SHOAL_NOW));
    interrupt_until_end(child(be_interrupted)); /* waits for a writer */
    interrupt_until_end(child(be_interrupted_reading));
    ASSERT_OK(shoal_rwlock_release(lock));
    ASSERT_EQ_INT(shoal_rwlock_locked(lock), 0);
    done();
}

/* ---- deaths ---- */

TEST(rwlock_share_of_a_dead_reader_is_gone_without_notice)
{
    setup();
    for (int round = 0; round < 10; round++) {
        kill_and_reap(start_holder(read_and_stay));
        ASSERT_EQ_INT(shoal_rwlock_acquire_write(lock, round % 2 ? SHOAL_NOW : SHOAL_FOREVER), 0);
        ASSERT_OK(shoal_rwlock_release(lock));
        pid_t reader = start_holder(read_and_stay), writer = start_sleeper(write_once);
        kill_and_reap(reader);
        ends_well(writer);
    }
    ASSERT_EQ_INT(shared[4], 0);
    ASSERT_EQ_INT(shoal_rwlock_readers(lock), 0);
    done();
}

TEST(rwlock_of_a_dead_writer_is_acquired_with_notice_and_only_once)
{
    char expected[40];
    setup();
    for (int round = 0; round < 20; round++) {
        int (*acquire)(shoal_rwlock *, int64_t) =
            round % 2 ? shoal_rwlock_acquire_read : shoal_rwlock_acquire_write;
        pid_t pid = start_holder(write_and_stay);
        kill_and_reap(pid);
        ASSERT_EQ_INT(acquire(lock, round % 4 < 2 ? SHOAL_NOW : SHOAL_FOREVER), SHOAL_OWNER_DIED);
        snprintf(expected, sizeof expected, "(pid %d)", (int)pid);
        ASSERT_NOT_NULL(strstr(shoal_error_detail(), expected));
        if (round % 2) { /* other readers may come in, and are not told */
            ends_well(child(read_once));
            ASSERT_EQ_INT(shared[4], 0);
        }
        ASSERT_OK(shoal_rwlock_release(lock));
        ASSERT_EQ_INT(shoal_rwlock_acquire_read(lock, SHOAL_NOW), 0);
        ASSERT_OK(shoal_rwlock_release(lock));
        ASSERT_EQ_INT(shoal_rwlock_acquire_write(lock, SHOAL_NOW), 0);
        ASSERT_OK(shoal_rwlock_release(lock));
    }
    done();
}

static void be_told_and_stay(void)
{
    ASSERT_EQ_INT(shoal_rwlock_acquire_read(lock, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    atomic_fetch_add(&shared[0], 1);
    for (;;)
        pause();
}

TEST(rwlock_notice_passes_on_when_the_one_who_got_it_dies)
{
    setup();
    kill_and_reap(start_holder(write_and_stay));
    kill_and_reap(start_holder(be_told_and_stay));
    pid_t told = start_holder(be_told_and_stay);
    pid_t writer = start_sleeper(write_once);
    kill_and_reap(told);
    ends_well(writer);
    ASSERT_EQ_INT(shared[4], 1);
    ASSERT_EQ_INT(shoal_rwlock_acquire_write(lock, SHOAL_NOW), 0);
    ASSERT_OK(shoal_rwlock_release(lock));
    done();
}

/* No process begins, sleeps or joins between the death and the acquire, so it is the acquire that
 * has to ask. */
TEST(rwlock_notice_passes_on_though_nobody_has_met_the_death)
{
    setup();
    kill_and_reap(start_holder(write_and_stay));
    pid_t told = start_holder(be_told_and_stay);
    kill_and_reap(told);
    ASSERT_EQ_INT(shoal_rwlock_acquire_read(lock, SHOAL_NOW), SHOAL_OWNER_DIED);
    ASSERT_OK(shoal_rwlock_release(lock));
    ASSERT_EQ_INT(shoal_rwlock_acquire_read(lock, SHOAL_NOW), 0);
    ASSERT_OK(shoal_rwlock_release(lock));
    done();
}

TEST(rwlock_notice_outlives_a_writer_that_gives_up)
{
    setup();
    pid_t reader = start_holder(read_and_stay);
    /* A writer that dies while it waits held nothing. */
    pid_t waiting = start_sleeper(write_once);
    kill_and_reap(waiting);
    ASSERT_EQ_INT(shoal_rwlock_acquire_read(lock, SHOAL_FOREVER), 0);
    ASSERT_OK(shoal_rwlock_release(lock));
    kill_and_reap(reader);
    kill_and_reap(start_holder(write_and_stay));
    reader = start_holder(be_told_and_stay);
    ends_well(child(give_up_writing));
    kill_and_reap(reader);
    ASSERT_EQ_INT(shoal_rwlock_acquire_write(lock, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    ASSERT_OK(shoal_rwlock_release(lock));
    done();
}

TEST(rwlock_sleepers_go_on_when_the_writer_dies)
{
    setup();
    for (int round = 0; round < 10; round++) {
        pid_t pids[5], holder = start_holder(write_and_stay);
        for (int i = 0; i < 5; i++)
            pids[i] = start_sleeper(i % 2 ? write_once : read_once);
        if (round % 2) {
            kill_and_reap(pids[0]);
            pids[0] = start_sleeper(read_once);
        }
        kill_and_reap(holder);
        for (int i = 0; i < 5; i++)
            ends_well(pids[i]);
        ASSERT_EQ_INT(shared[4], round + 1);
    }
    done();
}

static shoal_event *elsewhere;

static void sleep_elsewhere(void)
{
    atomic_fetch_add(&shared[1], 1);
    ASSERT_OK(shoal_event_wait(elsewhere, SHOAL_FOREVER));
}

TEST(rwlock_sleepers_go_on_when_somebody_else_repairs)
{
    setup();
    ASSERT_OK(shoal_event_create(&elsewhere, NULL));
    pid_t bystander = start_sleeper(sleep_elsewhere); /* the first to hear of a death */
    for (int round = 0; round < 10; round++) {
        pid_t holder = start_holder(read_and_stay), pids[3];
        pids[0] = start_sleeper(write_once); /* waits for the reader */
        pids[1] = start_sleeper(write_once); /* for the writer */
        pids[2] = start_sleeper(read_once);
        kill_and_reap(round % 2 ? holder : pids[0]);
        if (round % 2)
            ends_well(pids[0]);
        else
            kill_and_reap(holder);
        ends_well(pids[1]);
        ends_well(pids[2]);
    }
    ASSERT_OK(shoal_event_set(elsewhere));
    ends_well(bystander);
    shoal_event_close(elsewhere);
    done();
}

/* ---- contention ---- */

enum { PROCESSES = 4, ROUNDS = 2000 };

static void mix(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        int64_t deadline = i % 7 ? SHOAL_FOREVER : shoal_after(0.0001);
        bool write = i % 3 == 0;
        int rc = write ? shoal_rwlock_acquire_write(lock, deadline)
                       : shoal_rwlock_acquire_read(lock, deadline);
        if (rc == -ETIMEDOUT)
            continue;
        ASSERT_EQ_INT(rc, 0);
        long n = atomic_load_explicit(&shared[8], memory_order_relaxed);
        ASSERT_EQ_INT(atomic_load_explicit(&shared[9], memory_order_relaxed), n);
        if (write) {
            atomic_store_explicit(&shared[8], n + 1, memory_order_relaxed);
            atomic_store_explicit(&shared[9], n + 1, memory_order_relaxed);
            atomic_fetch_add(&shared[10], 1);
        }
        ASSERT_OK(shoal_rwlock_release(lock));
    }
}

TEST(rwlock_readers_never_see_half_a_write)
{
    pid_t pids[PROCESSES];
    pthread_t threads[2];
    void (*body)(void) = mix;
    setup();
    for (int i = 0; i < PROCESSES; i++)
        pids[i] = child(mix);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, in_thread, &body);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < PROCESSES; i++)
        ends_well(pids[i]);
    ASSERT_EQ_INT(shared[8], shared[10]);
    ASSERT_GT_INT(shared[10], 0);
    ASSERT_EQ_INT(shoal_rwlock_locked(lock), 0);
    done();
}

/* Whoever finds the two different has been told that a writer died. */
static void mix_mortally(void)
{
    for (int i = 0;; i++) {
        bool write = i % 2 == 0;
        int rc = write ? shoal_rwlock_acquire_write(lock, SHOAL_FOREVER)
                       : shoal_rwlock_acquire_read(lock, SHOAL_FOREVER);
        ASSERT_OK(rc);
        if (write) {
            if (rc != SHOAL_OWNER_DIED && !shared[11])
                ASSERT_EQ_INT(shared[8], shared[9]);
            atomic_store(&shared[11], 0);
            atomic_store(&shared[9], shared[8]);
            atomic_fetch_add(&shared[8], 1);
            atomic_fetch_add(&shared[9], 1);
        } else if (rc == SHOAL_OWNER_DIED) {
            atomic_store(&shared[11], 1); /* told, and cannot mend: for the next writer */
        }
        ASSERT_OK(shoal_rwlock_release(lock));
        atomic_fetch_add(&shared[7], 1);
    }
}

TEST(rwlock_goes_on_while_its_users_are_killed)
{
    pid_t pids[PROCESSES];
    setup();
    for (int i = 0; i < PROCESSES; i++)
        pids[i] = child(mix_mortally);
    for (int kills = 0; kills < 80; kills++) {
        until_word(&shared[7], shared[7] + 20);
        kill_and_reap(pids[kills % PROCESSES]);
        pids[kills % PROCESSES] = child(mix_mortally);
    }
    for (int i = 0; i < PROCESSES; i++)
        kill_and_reap(pids[i]);
    ASSERT_OK(shoal_rwlock_acquire_write(lock, SHOAL_FOREVER));
    ASSERT_EQ_INT(shoal_rwlock_readers(lock), 0);
    done();
}

/* More readers than one page of cells has room for, and threads whose homes coincide. */
static void *read_together(void *barrier)
{
    ASSERT_OK(shoal_rwlock_acquire_read(lock, SHOAL_FOREVER));
    pthread_barrier_wait(barrier);
    pthread_barrier_wait(barrier);
    ASSERT_OK(shoal_rwlock_release(lock));
    return NULL;
}

TEST(rwlock_has_room_for_many_readers)
{
    enum { MANY = 600 };
    static pthread_t threads[MANY];
    pthread_barrier_t barrier;
    pthread_attr_t small;
    setup();
    pthread_barrier_init(&barrier, NULL, MANY + 1);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 128 << 10);
    for (int i = 0; i < MANY; i++)
        ASSERT_EQ_INT(pthread_create(&threads[i], &small, read_together, &barrier), 0);
    pthread_barrier_wait(&barrier);
    ASSERT_EQ_INT(shoal_rwlock_readers(lock), MANY);
    ASSERT_ERR(shoal_rwlock_acquire_write(lock, SHOAL_NOW), -EAGAIN);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < MANY; i++)
        pthread_join(threads[i], NULL);
    ASSERT_EQ_INT(shoal_rwlock_acquire_write(lock, SHOAL_NOW), 0);
    pthread_attr_destroy(&small);
    pthread_barrier_destroy(&barrier);
    done();
}
