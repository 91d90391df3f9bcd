/* Objects in messages: what any.h, queue.h and pipe.h promise of shoal_any_object. */
#include "processes.h"
#include "region/life.h"
#include <stdlib.h>
#include <sys/socket.h>

static shoal_queue *queue, *other;
static shoal_connection *here, *there;
static _Atomic long *words;

/* Deaths may have to be noticed first. */
static void until_objects(uint32_t n)
{
    int64_t soonest;
    while (life_look_all(true, &soonest), objects() != n)
        nap();
}

static uint32_t before;

static void setup(void)
{
    words = words_open();
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    ASSERT_OK(shoal_pipe(&here, &there, NULL));
    before = objects();
}

static void done(void)
{
    ASSERT_EQ_INT(objects(), before);
    shoal_queue_close(queue);
    shoal_connection_close(here);
    shoal_connection_close(there);
    words_close();
    until_objects(0);
}

static void put_into(shoal_queue *q, const void *handle)
{
    shoal_any *any = shoal_any_object(handle);
    ASSERT_NOT_NULL(any);
    ASSERT_OK(shoal_queue_put(q, any, SHOAL_NOW));
    shoal_any_free(any);
}

/* ---- every kind ---- */

struct kind {
    const char *name;
    void *(*make)(void);
    int (*open)(void **ret, const shoal_reference *reference);
    void (*use)(void *handle); /* what its maker left in it is there */
    void (*close)(void *handle);
};

#define OPEN_AND_CLOSE(type)                                             \
    static int open_##type(void **ret, const shoal_reference *reference) \
    {                                                                    \
        return shoal_##type##_open((shoal_##type **)ret, reference);     \
    }                                                                    \
    static void close_##type(void *handle)                               \
    {                                                                    \
        shoal_##type##_close(handle);                                    \
    }
#define MAKE(type, ...)                                       \
    static void *make_##type(void)                            \
    {                                                         \
        shoal_##type *made;                                   \
        ASSERT_OK(shoal_##type##_create(&made, __VA_ARGS__)); \
        return made;                                          \
    }                                                         \
    OPEN_AND_CLOSE(type)

MAKE(lock, NULL)
MAKE(rlock, NULL)
MAKE(rwlock, NULL)
MAKE(once, NULL)
MAKE(semaphore, 3, NULL)
MAKE(condition, NULL, NULL, NULL)
MAKE(barrier, 1, NULL)
MAKE(value, 'i', &(int){42}, sizeof(int), NULL)
MAKE(array, 'q', 1000, NULL, 0, NULL)
OPEN_AND_CLOSE(event)
OPEN_AND_CLOSE(memory)
OPEN_AND_CLOSE(queue)
OPEN_AND_CLOSE(connection)

static void *make_event(void)
{
    shoal_event *event;
    ASSERT_OK(shoal_event_create(&event, NULL));
    ASSERT_OK(shoal_event_set(event));
    return event;
}

static void *make_memory(void)
{
    shoal_memory *memory;
    ASSERT_OK(shoal_memory_create(&memory, 100000, NULL));
    memset(shoal_memory_address(memory), 7, 100000);
    return memory;
}

static void *make_queue(void)
{
    shoal_queue *q;
    ASSERT_OK(shoal_queue_create(&q, NULL));
    ASSERT_OK(shoal_queue_put_bytes(q, "inside", 6, SHOAL_NOW));
    return q;
}

static void *make_connection(void) /* the peer is gone when it arrives; what it sent is there */
{
    shoal_connection *one, *two;
    ASSERT_OK(shoal_pipe(&one, &two, NULL));
    ASSERT_OK(shoal_connection_send_bytes(two, "inside", 6, SHOAL_NOW));
    shoal_connection_close(two);
    return one;
}

static void use_lock(void *p)
{
    ASSERT_OK(shoal_lock_acquire(p, SHOAL_NOW));
    ASSERT_OK(shoal_lock_release(p));
}

static void use_rlock(void *p)
{
    ASSERT_OK(shoal_rlock_acquire(p, SHOAL_NOW));
    ASSERT_OK(shoal_rlock_release(p));
}

static void use_rwlock(void *p)
{
    ASSERT_OK(shoal_rwlock_acquire_write(p, SHOAL_NOW));
    ASSERT_OK(shoal_rwlock_release(p));
}

static int run_once(void *argument)
{
    *(int *)argument = 1;
    return 0;
}

static void use_once(void *p)
{
    int ran = 0;
    ASSERT_OK(shoal_once_run(p, run_once, &ran, SHOAL_NOW));
    ASSERT_EQ_INT(ran, 1);
}

static void use_semaphore(void *p)
{
    for (int i = 0; i < 3; i++)
        ASSERT_OK(shoal_semaphore_acquire(p, SHOAL_NOW));
    ASSERT_ERR(shoal_semaphore_acquire(p, SHOAL_NOW), -EAGAIN);
}

static void use_condition(void *p) /* its lock came with it */
{
    ASSERT_OK(shoal_condition_acquire(p, SHOAL_NOW));
    ASSERT_OK(shoal_condition_notify(p, 1));
    ASSERT_OK(shoal_condition_release(p));
}

static void use_barrier(void *p)
{
    ASSERT_OK(shoal_barrier_wait(p, SHOAL_FOREVER));
}

static void use_value(void *p)
{
    int n = 0;
    ASSERT_OK(shoal_value_get(p, &n, sizeof n, SHOAL_NOW));
    ASSERT_EQ_INT(n, 42);
}

static void use_array(void *p)
{
    ASSERT_EQ_INT(shoal_array_length(p), 1000);
    ASSERT_OK(shoal_array_acquire(p, SHOAL_NOW));
    ASSERT_OK(shoal_array_release(p));
}

static void use_event(void *p)
{
    ASSERT_EQ_INT(shoal_event_is_set(p), 1);
}

static void use_memory(void *p)
{
    const unsigned char *at = shoal_memory_address(p);
    ASSERT_EQ_INT(at[0], 7);
    ASSERT_EQ_INT(at[99999], 7);
}

static void use_queue(void *p)
{
    char text[10];
    size_t size;
    ASSERT_OK(shoal_queue_get_bytes_into(p, text, sizeof text, &size, SHOAL_NOW));
    ASSERT_EQ_INT(size, 6);
}

static void use_connection(void *p)
{
    char text[10];
    size_t size;
    ASSERT_OK(shoal_connection_recv_bytes_into(p, text, sizeof text, &size, SHOAL_NOW));
    ASSERT_EQ_INT(size, 6);
    ASSERT_ERR(shoal_connection_recv_bytes_into(p, text, sizeof text, &size, SHOAL_FOREVER),
               -EPIPE);
}

#define KIND(type)                                                \
    {                                                             \
#type, make_##type, open_##type, use_##type, close_##type \
    }
static const struct kind kinds[] = {KIND(lock),   KIND(rlock),     KIND(rwlock),
                                    KIND(once),   KIND(semaphore), KIND(condition),
                                    KIND(event),  KIND(memory),    KIND(queue),
                                    KIND(value),  KIND(array),     KIND(connection),
                                    KIND(barrier)};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* Opens what an any names, and uses it when the any is gone. */
static void use_what_arrives(const struct kind *kind, shoal_any *any, const shoal_any *object)
{
    shoal_reference reference;
    void *handle;
    ASSERT_EQ_INT(shoal_any_kind(object), SHOAL_ANY_OBJECT);
    ASSERT_OK(shoal_any_as_reference(object, &reference));
    ASSERT_OK(kind->open(&handle, &reference));
    shoal_any_free(any);
    kind->use(handle);
    kind->close(handle);
}

static const struct kind *the_kind;

static void get_and_use(void)
{
    shoal_any *any;
    until_word(&words[0], 1);
    ASSERT_OK(shoal_queue_get(queue, &any, SHOAL_NOW));
    use_what_arrives(the_kind, any, any);
}

static void recv_and_use(void)
{
    shoal_any *any;
    until_word(&words[0], 1);
    ASSERT_OK(shoal_connection_recv(here, &any, SHOAL_NOW));
    use_what_arrives(the_kind, any, any);
}

/* The receiver is there before there is anything to receive, and takes it when its maker has nothing of
 * it any more. */
static void travels(const struct kind *kind, bool by_pipe)
{
    words[0] = 0;
    the_kind = kind;
    pid_t receiver = child(by_pipe ? recv_and_use : get_and_use);
    void *handle = kind->make();
    shoal_any *any = shoal_any_object(handle);
    ASSERT_NOT_NULL(any);
    kind->close(handle);
    if (by_pipe)
        ASSERT_OK(shoal_connection_send(there, any, SHOAL_NOW));
    else
        ASSERT_OK(shoal_queue_put(queue, any, SHOAL_NOW));
    shoal_any_free(any);
    words[0] = 1;
    ends_well(receiver);
    until_objects(before);
}

TEST(carried_by_a_queue_every_kind_arrives_when_its_maker_has_closed_it)
{
    setup();
    for (int i = 0; i < KINDS; i++)
        travels(&kinds[i], false);
    done();
}

TEST(carried_by_a_pipe_every_kind_arrives_when_its_maker_has_closed_it)
{
    setup();
    for (int i = 0; i < KINDS; i++)
        travels(&kinds[i], true);
    done();
}

/* ---- anys hold ---- */

TEST(carried_any_holds_its_object_as_long_as_it_is_there)
{
    setup();
    for (int i = 0; i < KINDS; i++) {
        void *handle = kinds[i].make();
        shoal_any *any = shoal_any_object(handle), *copy = shoal_any_copy(any);
        shoal_any *list = shoal_any_list(any, shoal_any_int(1));
        shoal_reference reference;
        ASSERT_NOT_NULL(list);
        ASSERT_OK(shoal_any_append(list, copy));
        kinds[i].close(handle);
        copy = shoal_any_copy(list);
        shoal_any_free(list);
        const shoal_any *item;
        ASSERT_OK(shoal_any_at(copy, -1, &item));
        ASSERT_OK(shoal_any_as_reference(item, &reference));
        use_what_arrives(&kinds[i], copy, item);
        ASSERT_ERR(kinds[i].open(&handle, &reference), -ESTALE);
        ASSERT_EQ_INT(objects(), before);
    }
    done();
}

static shoal_any *kept;

static void use_kept(void)
{
    shoal_any_free(shoal_any_copy(kept));
    until_word(&words[0], 1);
    use_what_arrives(&kinds[0], kept, kept);
}

TEST(carried_any_holds_in_a_forked_child_too)
{
    setup();
    void *handle = kinds[0].make();
    kept = shoal_any_object(handle);
    kinds[0].close(handle);
    pid_t pid = child(use_kept);
    shoal_any_free(kept);
    words[0] = 1;
    ends_well(pid);
    until_objects(before);
    done();
}

TEST(carried_objects_are_only_what_travels)
{
    shoal_connection *client;
    int fds[2];
    char *text;
    setup();
    ASSERT_NULL(shoal_any_object(NULL));
    ASSERT_TRUE(strstr(shoal_error_detail(), "NULL"));
    ASSERT_SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    ASSERT_OK(shoal_connection_from_fd(&client, fds[0]));
    ASSERT_NULL(shoal_any_object(client));
    ASSERT_TRUE(strstr(shoal_error_detail(), "a socket's connection is none"));
    shoal_lock *lock;
    ASSERT_OK(shoal_lock_create(&lock, NULL));
    shoal_any *any = shoal_any_object(lock);
    shoal_lock_close(lock);
    ASSERT_ERR(shoal_connection_send(client, any, SHOAL_NOW), -EINVAL);
    ASSERT_TRUE(strstr(shoal_error_detail(), "cannot leave"));
    ASSERT_OK(shoal_any_repr(any, &text));
    free(text);
    shoal_any_free(any);
    ASSERT_NULL(shoal_any_object(lock));
    ASSERT_TRUE(strstr(shoal_error_detail(), "closed"));
    shoal_connection_close(client);
    close(fds[1]);
    done();
}

/* ---- messages hold ---- */

TEST(carried_with_others_each_object_arrives_where_it_stood)
{
    shoal_any *any;
    const shoal_any *item, *key;
    shoal_reference a, b, c;
    setup();
    void *lock = kinds[0].make(), *condition = kinds[5].make();
    any = shoal_any_dict(shoal_any_str("one"), shoal_any_list(shoal_any_object(lock)),
                         shoal_any_object(condition),
                         shoal_any_tuple(shoal_any_object(lock), shoal_any_bytes("", 0)));
    ASSERT_NOT_NULL(any);
    ASSERT_OK(shoal_queue_put(queue, any, SHOAL_NOW));
    shoal_any_free(any);
    ASSERT_OK(shoal_any_as_reference(any = shoal_any_object(lock), &a));
    shoal_any_free(any);
    kinds[0].close(lock);
    kinds[5].close(condition);
    ASSERT_OK(shoal_queue_get(queue, &any, SHOAL_NOW));
    ASSERT_OK(shoal_any_get_str(any, "one", &item));
    ASSERT_OK(shoal_any_at(item, 0, &item));
    ASSERT_OK(shoal_any_as_reference(item, &b));
    ASSERT_EQ_INT(b.id, a.id);
    ASSERT_OK(shoal_any_entry(any, 1, &key, &item));
    ASSERT_OK(shoal_any_as_reference(key, &c));
    ASSERT_TRUE(c.id != a.id);
    ASSERT_OK(shoal_any_at(item, 0, &item));
    ASSERT_OK(shoal_any_as_reference(item, &b));
    ASSERT_EQ_INT(b.id, a.id);
    use_what_arrives(&kinds[5], any, key);
    done();
}

TEST(carried_objects_end_with_a_message_that_is_read_as_bytes)
{
    char bytes[100];
    size_t size;
    setup();
    void *lock = kinds[0].make();
    put_into(queue, lock);
    kinds[0].close(lock);
    ASSERT_EQ_INT(objects(), before + 2);
    ASSERT_OK(shoal_queue_get_bytes_into(queue, bytes, sizeof bytes, &size, SHOAL_NOW));
    ASSERT_EQ_INT(bytes[size - 1], '.');
    done();
}

TEST(carried_objects_end_with_a_message_that_is_dropped)
{
    setup();
    ASSERT_OK(shoal_queue_create(&other, NULL));
    uint32_t with_other = objects();
    for (int i = 0; i < KINDS; i++) {
        void *handle = kinds[i].make();
        put_into(other, handle);
        kinds[i].close(handle);
    }
    ASSERT_TRUE(objects() >= with_other + 2 * KINDS);
    ASSERT_OK(shoal_queue_shutdown(other, 1));
    ASSERT_EQ_INT(objects(), with_other);
    shoal_queue_close(other);
    done();
}

TEST(carried_objects_end_with_the_queue)
{
    setup();
    ASSERT_OK(shoal_queue_create(&other, NULL));
    for (int i = 0; i < KINDS; i++) {
        void *handle = kinds[i].make();
        put_into(other, handle);
        kinds[i].close(handle);
    }
    shoal_queue_close(other);
    done();
}

TEST(carried_objects_end_with_the_end_that_would_receive_them)
{
    shoal_connection *one, *two;
    setup();
    ASSERT_OK(shoal_pipe(&one, &two, NULL));
    uint32_t with_pipe = objects();
    for (int i = 0; i < KINDS; i++) {
        void *handle = kinds[i].make();
        shoal_any *any = shoal_any_object(handle);
        ASSERT_OK(shoal_connection_send(one, any, SHOAL_NOW));
        shoal_any_free(any);
        kinds[i].close(handle);
    }
    shoal_connection_close(two);
    ASSERT_EQ_INT(objects(), with_pipe - 1);
    shoal_connection_close(one);
    done();
}

TEST(carried_in_vain_an_object_is_as_it_was)
{
    shoal_queue *full;
    setup();
    ASSERT_OK(shoal_queue_create(&full, &(shoal_queue_options){.maxsize = 1}));
    ASSERT_OK(shoal_queue_put_bytes(full, "", 0, SHOAL_NOW));
    void *lock = kinds[0].make();
    shoal_any *any = shoal_any_object(lock);
    ASSERT_ERR(shoal_queue_put(full, any, SHOAL_NOW), -EAGAIN);
    ASSERT_OK(shoal_queue_shutdown(full, 0));
    ASSERT_ERR(shoal_queue_put(full, any, SHOAL_FOREVER), -EPIPE);
    shoal_any_free(any);
    use_lock(lock);
    kinds[0].close(lock);
    shoal_queue_close(full);
    done();
}

/* A queue that has the object in it goes from one queue to the other and back. */
static void hand_on(void)
{
    shoal_any *any;
    until_word(&words[2], 1);
    for (unsigned n = 0; !words[0]; n++) {
        ASSERT_OK(shoal_queue_get(n % 2 ? other : queue, &any, SHOAL_NOW));
        ASSERT_OK(shoal_queue_put(n % 2 ? queue : other, any, SHOAL_NOW));
        shoal_any_free(any);
        words[1]++;
    }
}

TEST(carried_by_what_is_handed_on_all_the_time_an_object_stays)
{
    enum { CLOSES = 100000, HANDED = 100000 };
    shoal_queue *inner;
    shoal_reference reference;
    setup();
    ASSERT_OK(shoal_queue_create(&other, NULL));
    pid_t pid = child(hand_on); /* which has nothing of what follows but by the queues */
    shoal_lock *lock = make_lock();
    ASSERT_OK(shoal_queue_create(&inner, NULL));
    put_into(inner, lock);
    put_into(queue, inner);
    shoal_queue_close(inner);
    ASSERT_OK(shoal_lock_reference(lock, &reference));
    words[2] = 1;
    for (long i = 0; i < CLOSES || words[1] < HANDED; i++) {
        shoal_lock_close(lock);
        ASSERT_OK(shoal_lock_open(&lock, &reference));
    }
    words[0] = 1;
    ends_well(pid);
    ASSERT_OK(shoal_queue_shutdown(queue, 1));
    shoal_queue_close(other);
    shoal_lock_close(lock);
    until_objects(before);
    done();
}

/* ---- cycles ---- */

TEST(carried_by_itself_a_queue_ends_with_its_last_hold)
{
    setup();
    for (int many = 1; many < 4; many++) {
        ASSERT_OK(shoal_queue_create(&other, NULL));
        for (int i = 0; i < many; i++)
            put_into(other, other);
        shoal_queue_close(other);
        ASSERT_EQ_INT(objects(), before);
    }
    done();
}

TEST(carried_by_each_other_queues_end_with_the_last_hold_of_any)
{
    enum { RING = 60 };
    shoal_queue *ring[RING];
    setup();
    for (int n = 2; n <= RING; n += 29) {
        for (int i = 0; i < n; i++)
            ASSERT_OK(shoal_queue_create(&ring[i], NULL));
        for (int i = 0; i < n; i++)
            put_into(ring[(i + 1) % n], ring[i]);
        ASSERT_EQ_INT(objects(), before + (uint32_t)n * 2);
        for (int i = 0; i < n; i++) { /* the others are held by the last one, all around */
            ASSERT_EQ_INT(objects(), before + (uint32_t)n * 2);
            shoal_queue_close(ring[i]);
        }
        ASSERT_EQ_INT(objects(), before);
    }
    done();
}

TEST(carried_through_its_own_pipe_an_end_ends_with_the_last_hold)
{
    shoal_connection *one, *two;
    shoal_any *any;
    setup();
    for (int way = 0; way < 4; way++) { /* which end travels, and through which */
        ASSERT_OK(shoal_pipe(&one, &two, NULL));
        any = shoal_any_object(way & 1 ? one : two);
        ASSERT_OK(shoal_connection_send(way & 2 ? one : two, any, SHOAL_NOW));
        shoal_any_free(any);
        shoal_connection_close(one);
        shoal_connection_close(two);
        ASSERT_EQ_INT(objects(), before);
    }
    done();
}

TEST(carried_to_where_nobody_receives_an_end_is_the_end_for_its_peer)
{
    shoal_connection *one, *two;
    shoal_any *any;
    char byte;
    size_t size;
    setup();
    ASSERT_OK(shoal_pipe(&one, &two, NULL));
    any = shoal_any_object(two);
    ASSERT_OK(shoal_connection_send(one, any, SHOAL_NOW)); /* into itself */
    shoal_any_free(any);
    shoal_connection_close(two);
    ASSERT_ERR(shoal_connection_recv_bytes_into(one, &byte, 1, &size, SHOAL_FOREVER), -EPIPE);
    shoal_connection_close(one);
    done();
}

/* The outermost is closed; each message's end is the next queue's. */
TEST(carried_each_in_the_next_10000_queues_end_together)
{
    enum { CHAIN = 10000 };
    shoal_queue *inner, *outer = NULL;
    setup();
    ASSERT_OK(shoal_queue_create(&inner, NULL));
    for (int i = 1; i < CHAIN; i++) {
        ASSERT_OK(shoal_queue_create(&outer, NULL));
        put_into(outer, inner);
        shoal_queue_close(inner);
        inner = outer;
    }
    ASSERT_EQ_INT(objects(), before + 2 * CHAIN - 1);
    shoal_queue_close(outer);
    done();
}

/* ---- deaths ---- */

static void hold_all_and_wait(void)
{
    shoal_any *any;
    for (int i = 0; i < KINDS; i++) {
        put_into(queue, kinds[i].make());
        ASSERT_OK(shoal_queue_get(queue, &any, SHOAL_NOW));
        put_into(other, kinds[i].make());
    }
    words[0] = 1;
    for (;;)
        pause();
}

TEST(carried_by_the_killed_objects_end_or_wait_in_their_queue)
{
    shoal_any *any;
    setup();
    ASSERT_OK(shoal_queue_create(&other, NULL));
    pid_t pid = child(hold_all_and_wait);
    until_word(&words[0], 1);
    kill_and_reap(pid);
    until_deaths(1);
    for (int i = 0; i < KINDS; i++) {
        ASSERT_OK(shoal_queue_get(other, &any, SHOAL_NOW));
        use_what_arrives(&kinds[i], any, any);
    }
    shoal_queue_close(other);
    until_objects(before);
    done();
}

/* Takes what comes, puts it back together with something new, drops some, makes rings. */
static void play(void)
{
    for (unsigned n = 1;; n++) {
        shoal_any *any = NULL;
        if (n % 3)
            shoal_queue_get(n % 2 ? queue : other, &any, SHOAL_NOW);
        void *made = kinds[n % KINDS].make();
        shoal_any *list = shoal_any_list(shoal_any_object(made), shoal_any_object(other));
        if (any && n % 7 && shoal_any_count(any) < 0)
            shoal_any_append(list, any);
        else
            shoal_any_free(any);
        kinds[n % KINDS].close(made);
        if (n % 5)
            shoal_queue_put(n % 2 ? other : queue, list, SHOAL_NOW);
        else
            shoal_connection_send(there, list, SHOAL_NOW);
        shoal_any_free(list);
        if (n % 4 == 0 && !shoal_connection_recv(here, &any, SHOAL_NOW))
            shoal_any_free(any);
        atomic_fetch_add(&words[1], 1);
    }
}

TEST(carried_by_those_who_are_killed_anywhere_nothing_is_left)
{
    enum { PLAYERS = 3, ROUNDS = 60 };
    pid_t players[PLAYERS];
    setup();
    ASSERT_OK(shoal_queue_create(&other, NULL));
    for (int i = 0; i < PLAYERS; i++)
        players[i] = child(play);
    unsigned chance = 7;
    for (int i = 0; i < ROUNDS; i++) {
        chance = chance * 1103515245 + 12345;
        long until = atomic_load(&words[1]) + 20 + (chance >> 16) % 50;
        while (atomic_load(&words[1]) < until) {
            int status;
            for (int k = 0; k < PLAYERS; k++)
                if (waitpid(players[k], &status, WNOHANG) > 0)
                    FAIL("after %d deaths one ended by itself, status %#x", i, status);
            nap();
        }
        int which = (int)((chance >> 24) % PLAYERS);
        kill_and_reap(players[which]);
        players[which] = child(play);
    }
    for (int i = 0; i < PLAYERS; i++)
        kill_and_reap(players[i]);
    shoal_queue_close(other);
    ASSERT_OK(shoal_queue_shutdown(queue, 1));
    shoal_connection_close(here);
    shoal_connection_close(there);
    until_objects(before - 3);
    ASSERT_OK(shoal_pipe(&here, &there, NULL));
    done();
}
