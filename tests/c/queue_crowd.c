/* queue: what queue.h promises of several that put and take at once: nothing lost, nothing twice, in order. */
#include "os/os.h"
#include "queues.h"
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>

enum { PRODUCERS = 4 };

static void echo(void)
{
    char text[100];
    size_t size;
    for (int i = 0; i < 2000; i++) {
        ASSERT_OK(shoal_queue_get_bytes_into(queue, text, sizeof text, &size, SHOAL_FOREVER));
        ASSERT_OK(shoal_queue_put_bytes(back, text, size, SHOAL_FOREVER));
    }
}

TEST(queue_there_and_back)
{
    setup();
    pid_t pid = child(echo);
    for (int i = 0; i < 2000; i++) {
        int k = -1;
        size_t size;
        ASSERT_OK(shoal_queue_put_bytes(queue, &i, sizeof i, SHOAL_FOREVER));
        ASSERT_OK(shoal_queue_get_bytes_into(back, &k, sizeof k, &size, SHOAL_FOREVER));
        ASSERT_EQ_INT(k, i);
        if (i % 500 == 499)
            nap(); /* it sleeps by now */
    }
    ends_well(pid);
    done();
}

static long each, message_size;

static void produce(void)
{
    long who = atomic_fetch_add(&shared[0], 1);
    unsigned char message[10000];
    for (long i = 0; i < each; i++) {
        fill(message, (size_t)message_size, (size_t)(who + i));
        memcpy(message, &(struct mail){who, i}, sizeof(struct mail));
        ASSERT_OK(shoal_queue_put_bytes(queue, message, (size_t)message_size, SHOAL_FOREVER));
    }
}

/* Each producer's messages arrive in their order; every message arrives once. Ends at a message of
 * nobody, which it puts back for the others. */
static void consume(void)
{
    long last[16];
    unsigned char message[10000], wanted[10000];
    size_t size;
    for (int i = 0; i < 16; i++)
        last[i] = -1;
    for (;;) {
        struct mail m;
        ASSERT_OK(shoal_queue_get_bytes_into(queue, message, sizeof message, &size, SHOAL_FOREVER));
        memcpy(&m, message, sizeof m);
        if (m.who < 0) {
            ASSERT_OK(shoal_queue_put_bytes(queue, message, size, SHOAL_FOREVER));
            return;
        }
        ASSERT_GT_INT(m.number, last[m.who]);
        last[m.who] = m.number;
        fill(wanted, (size_t)message_size, (size_t)(m.who + m.number));
        ASSERT_MEM(message + sizeof m, wanted + sizeof m, size - sizeof m);
        atomic_fetch_add(&shared[1], 1);
        atomic_fetch_add(&shared[2], m.number);
    }
}

static void crowd(int producers, int consumers, uint64_t maxsize)
{
    pid_t pids[16];
    setup_with(maxsize);
    for (int i = 0; i < consumers; i++)
        pids[i] = child(consume);
    for (int i = 0; i < producers; i++)
        pids[consumers + i] = child(produce);
    for (int i = 0; i < producers; i++)
        ends_well(pids[consumers + i]);
    ASSERT_OK(put(-1, 0, SHOAL_FOREVER));
    for (int i = 0; i < consumers; i++)
        ends_well(pids[i]);
    ASSERT_EQ_INT(atomic_load(&shared[1]), producers * each);
    ASSERT_EQ_INT(atomic_load(&shared[2]), producers * (each * (each - 1) / 2));
    done();
}

TEST(queue_of_one_producer_and_one_consumer_keeps_all_in_order)
{
    each = 200000;
    message_size = 64;
    crowd(1, 1, 0);
    crowd(1, 1, 7);
}

TEST(queue_of_several_producers_and_consumers_loses_and_doubles_nothing)
{
    each = 20000;
    message_size = 100;
    crowd(4, 1, 0);
    crowd(1, 4, 0);
    crowd(3, 3, 0);
    crowd(3, 3, 1);
    crowd(4, 2, 100);
}

TEST(queue_of_several_producers_and_consumers_hands_over_long_messages)
{
    each = 3000;
    message_size = 9000;
    crowd(3, 3, 0);
    crowd(3, 3, 5);
}

/* The order that `for p in producers: p.join(); q.put(None)` needs: what has returned comes before
 * what begins then. */
static void order(uint64_t maxsize, int rounds)
{
    enum { EACH = 5 };
    setup_with(maxsize);
    each = EACH;
    message_size = sizeof(struct mail);
    for (int round = 0; round < rounds; round++) {
        pid_t pids[PRODUCERS];
        struct mail m;
        atomic_store(&shared[0], 0);
        for (int i = 0; i < PRODUCERS; i++)
            pids[i] = child(produce);
        for (int i = 0; i < PRODUCERS; i++)
            ends_well(pids[i]);
        ASSERT_OK(put(-1, round, SHOAL_FOREVER));
        for (int i = 0; i < PRODUCERS * EACH; i++) {
            ASSERT_OK(get(&m, SHOAL_FOREVER));
            ASSERT_GE_INT(m.who, 0);
        }
        ASSERT_OK(get(&m, SHOAL_FOREVER));
        ASSERT_EQ_INT(m.who, -1);
    }
    done();
}

TEST(queue_order_of_producers_that_were_joined_and_a_sentinel)
{
    int rounds = memory_can_be_removed() ? 100 : 20; /* an emulator takes 25 ms for each start */
    order(0, rounds);
    order(1000, rounds);
}

/* The same with processes that live: 10,000 rounds, each put after another's has returned. */
static void put_in_turn(void)
{
    long me = atomic_fetch_add(&shared[0], 1);
    for (long round = 0; round < 10000; round++) {
        while (atomic_load(&shared[1]) != round * (PRODUCERS + 1) + me)
            sched_yield();
        ASSERT_OK(put(me, round, SHOAL_FOREVER));
        atomic_fetch_add(&shared[1], 1);
    }
}

static void take_in_turn(void)
{
    struct mail m;
    for (long round = 0; round < 10000; round++)
        for (long i = 0; i <= PRODUCERS; i++) {
            ASSERT_OK(get(&m, SHOAL_FOREVER));
            ASSERT_EQ_INT(m.number, round);
            ASSERT_EQ_INT(m.who, i);
        }
}

TEST(queue_order_between_producers_in_10000_rounds)
{
    for (int bounded = 0; bounded < 2; bounded++) {
        pid_t pids[PRODUCERS + 1];
        setup_with(bounded ? 1000 : 0);
        for (int i = 0; i < PRODUCERS; i++)
            pids[i] = child(put_in_turn);
        pids[PRODUCERS] = child(take_in_turn);
        until_word(&shared[0], PRODUCERS);
        for (long round = 0; round < 10000; round++) {
            while (atomic_load(&shared[1]) != round * (PRODUCERS + 1) + PRODUCERS)
                sched_yield();
            ASSERT_OK(put(PRODUCERS, round, SHOAL_FOREVER)); /* the sentinel */
            atomic_fetch_add(&shared[1], 1);
        }
        for (int i = 0; i <= PRODUCERS; i++)
            ends_well(pids[i]);
        done();
    }
}

static void put_one(void)
{
    ASSERT_OK(put(1, 1, SHOAL_FOREVER));
}

TEST(queue_what_was_put_outlives_its_producers)
{
    struct mail m;
    for (int bounded = 0; bounded < 2; bounded++) {
        setup_with(bounded ? 1000 : 0);
        for (int i = 0; i < 200; i++) /* far more than there are lanes */
            ends_well(child(put_one));
        until_deaths((uint64_t)(bounded + 1) * 200);
        ASSERT_EQ_INT(shoal_queue_qsize(queue), 200);
        for (int i = 0; i < 200; i++)
            ASSERT_OK(get(&m, SHOAL_NOW));
        ASSERT_ERR(get(&m, SHOAL_NOW), -EAGAIN);
        done();
    }
}

static void put_and_stay(void)
{
    put_one();
    atomic_fetch_add(&shared[3], 1);
    pause();
}

TEST(queue_of_100_living_producers)
{
    pid_t pids[100];
    struct mail m;
    for (int bounded = 0; bounded < 2; bounded++) {
        setup_with(bounded ? 1000 : 0);
        for (int i = 0; i < 100; i++)
            pids[i] = child(put_and_stay);
        until_word(&shared[3], 100);
        ASSERT_EQ_INT(shoal_queue_qsize(queue), 100);
        for (int i = 0; i < 100; i++)
            ASSERT_OK(get(&m, SHOAL_NOW));
        ASSERT_ERR(get(&m, SHOAL_NOW), -EAGAIN);
        for (int i = 0; i < 100; i++)
            kill_and_reap(pids[i]);
        done();
    }
}

static void put_and_get(void)
{
    enum { TIMES = 200000 };
    struct mail m;
    for (int i = 0; i < TIMES; i++) {
        ASSERT_OK(put(0, 0, SHOAL_NOW));
        ASSERT_OK(get(&m, SHOAL_NOW));
    }
}

TEST(queue_is_never_empty_where_each_puts_before_it_takes)
{
    for (int round = 0; round < 2; round++) {
        pid_t pids[2];
        setup_with(round ? 100 : 0);
        for (int i = 0; i < 2; i++)
            pids[i] = child(put_and_get);
        for (int i = 0; i < 2; i++)
            ends_well(pids[i]);
        done();
    }
}

/* It holds nothing before its first call, which must not reach what lies there by then. */
TEST(queue_that_is_gone_is_a_bad_handle_in_a_raw_fork)
{
    if (!os_features()->wipe_on_fork)
        SKIP("without MADV_WIPEONFORK such a child cannot know that it is one");
    for (int puts = 0; puts < 2; puts++) {
        shoal_memory *memory[20];
        setup();
        ASSERT_OK(put(0, 0, SHOAL_NOW));
        pid_t pid = (pid_t)ASSERT_SYS(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
        if (!pid) {
            struct mail m;
            until_word(shared, 1);
            ASSERT_ERR(puts ? put(0, 0, SHOAL_NOW) : get(&m, SHOAL_NOW), -EBADF);
            _exit(0);
        }
        queue = shoal_queue_close(queue);
        for (int i = 0; i < 20; i++) {
            ASSERT_OK(shoal_memory_create(&memory[i], 2000, NULL));
            memset(shoal_memory_address(memory[i]), 0, 2000);
        }
        atomic_store(shared, 1);
        ends_well(pid);
        for (int i = 0; i < 20; i++) {
            const unsigned char *bytes = shoal_memory_address(memory[i]);
            for (int k = 0; k < 2000; k++)
                ASSERT_EQ_INT(bytes[k], 0);
            shoal_memory_close(memory[i]);
        }
        done();
    }
}

/* ---- threads, signal handlers ---- */

static void *produce_in_thread(void *argument)
{
    (void)argument;
    produce();
    return NULL;
}

TEST(queue_threads_of_one_process_put_beside_one_another)
{
    pthread_t threads[4];
    struct mail m;
    long last[4] = {-1, -1, -1, -1};
    setup();
    each = 10000;
    message_size = sizeof m;
    for (int i = 0; i < 4; i++)
        ASSERT_EQ_INT(pthread_create(&threads[i], NULL, produce_in_thread, NULL), 0);
    for (int i = 0; i < 40000; i++) {
        ASSERT_OK(get(&m, SHOAL_FOREVER));
        ASSERT_EQ_INT(m.number, last[m.who] + 1);
        last[m.who] = m.number;
    }
    for (int i = 0; i < 4; i++)
        ASSERT_EQ_INT(pthread_join(threads[i], NULL), 0);
    done();
}
