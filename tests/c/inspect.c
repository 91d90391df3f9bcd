/* What a snapshot shows of processes and objects. */
#include "snapshots.h"

/* ---- what there is ---- */

TEST(inspect_without_a_place_for_the_snapshot_is_an_error)
{
    ASSERT_ERR(shoal_inspect(NULL), -EINVAL);
    ASSERT_ERR(shoal_inspect_process(NULL, getpid()), -EINVAL);
}

TEST(inspect_shows_the_calling_process_and_its_children)
{
    words = words_open();
    pid_t me = getpid();
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        shoal_any *snapshot = look();
        const shoal_any *mine = find_number(snapshot, "processes", "pid", getpid());
        ASSERT_EQ_INT(number(mine, "parent"), me);
        ASSERT_STR(text(mine, "status"), "running");
        ASSERT_STR(text(mine, "name"), "(forked)");
        ASSERT_EQ_INT(number(mine, "threads"), 1);
        ASSERT_EQ_INT(shoal_any_count(get(snapshot, "processes")), 2);
        const shoal_any *root = find_number(snapshot, "processes", "pid", me);
        ASSERT_STR(text(root, "name"), "MainProcess");
        ASSERT_EQ_INT(number(root, "parent"), 0);
        shoal_any_free(snapshot);
        _exit(0);
    }
    ends_well(pid); /* which gives nothing back, and nobody has noticed */
    shoal_any *snapshot = look();
    ASSERT_STR(text(find_number(snapshot, "processes", "pid", pid), "status"), "dead");
    shoal_any_free(snapshot);
    words_close();
}

TEST(inspect_counts_as_the_statistics_do)
{
    shoal_statistics s;
    shoal_memory *m;
    shoal_memory_options options = {.name = "large"};
    ASSERT_OK(shoal_memory_set_quota(100 << 20));
    ASSERT_OK(shoal_memory_create(&m, 1 << 20, &options));
    words = words_open();
    kill_and_reap(somebody());
    until_deaths(1);
    shoal_any *snapshot = look();
    ASSERT_OK(shoal_memory_statistics(&s));
    const shoal_any *memory = get(snapshot, "memory"), *counters = get(snapshot, "counters");
    ASSERT_EQ_INT(number(memory, "used"), (int64_t)s.used);
    ASSERT_EQ_INT(number(memory, "objects"), s.objects);
    ASSERT_EQ_INT(number(memory, "reserved"), (int64_t)s.reserved);
    ASSERT_EQ_INT(number(memory, "populated"), (int64_t)s.populated);
    ASSERT_EQ_INT(number(counters, "deaths"), 1);
    ASSERT_EQ_INT(number(counters, "repairs"), (int64_t)s.repairs);
    const shoal_any *me = find_number(snapshot, "processes", "pid", getpid());
    ASSERT_EQ_INT(number(me, "quota"), 100 << 20);
    ASSERT_EQ_INT(number(me, "charged"), (int64_t)s.charged);
    ASSERT_EQ_INT(of_object(snapshot, "large", "bytes"), 1 << 20);
    ASSERT_STR(text(find(snapshot, "objects", "name", "large"), "type"), "memory");
    shoal_any_free(snapshot);
    shoal_memory_close(m);
    words_close();
}

TEST(inspect_shows_who_has_an_object_open)
{
    shoal_lock *lock;
    shoal_sync_options options = {.name = "open"};
    words = words_open();
    ASSERT_OK(shoal_lock_create(&lock, &options));
    pid_t pid = somebody();
    shoal_any *snapshot = look();
    const shoal_any *holders = get(find(snapshot, "objects", "name", "open"), "holders");
    ASSERT_EQ_INT(shoal_any_count(holders), 2);
    for (int i = 0; i < 2; i++) {
        int64_t one;
        ASSERT_OK(shoal_any_as_int(at(holders, i), &one));
        ASSERT_TRUE(one == pid || one == getpid());
    }
    shoal_any_free(snapshot);
    kill_and_reap(pid);
    until_deaths(1); /* which held it too */
    shoal_lock_close(lock);
    snapshot = look();
    ASSERT_NULL(find(snapshot, "objects", "name", "open"));
    shoal_any_free(snapshot);
    words_close();
}

TEST(inspect_shows_names_that_are_no_text)
{
    shoal_lock *lock;
    shoal_sync_options options = {.name = "a\xff\xfe"};
    ASSERT_OK(shoal_lock_create(&lock, &options));
    shoal_any *snapshot = look();
    ASSERT_NOT_NULL(find(snapshot, "objects", "name", "a??"));
    shoal_any_free(snapshot);
    shoal_lock_close(lock);
}

/* ---- what types tell ---- */

static int hold_once(void *argument)
{
    shoal_any *snapshot = look();
    const shoal_any *once = find(snapshot, "objects", "name", "once");
    ASSERT_EQ_INT(number(once, "done"), 0);
    ASSERT_STR(text(at(get(once, "owners"), 0), "as"), "runs the function");
    shoal_any_free(snapshot);
    return argument != NULL;
}

TEST(inspect_shows_what_locks_and_their_like_are_doing)
{
    shoal_lock *lock;
    shoal_rlock *rlock;
    shoal_rwlock *rwlock;
    shoal_once *once;
    ASSERT_OK(shoal_lock_create(&lock, &(shoal_sync_options){.name = "lock"}));
    ASSERT_OK(shoal_rlock_create(&rlock, &(shoal_sync_options){.name = "rlock"}));
    ASSERT_OK(shoal_rwlock_create(&rwlock, &(shoal_sync_options){.name = "rwlock"}));
    ASSERT_OK(shoal_once_create(&once, &(shoal_sync_options){.name = "once"}));
    shoal_any *snapshot = look();
    ASSERT_EQ_INT(of_object(snapshot, "lock", "locked"), 0);
    ASSERT_EQ_INT(of_object(snapshot, "rlock", "levels"), 0);
    ASSERT_EQ_INT(of_object(snapshot, "rwlock", "written"), 0);
    ASSERT_EQ_INT(of_object(snapshot, "rwlock", "readers"), 0);
    shoal_any_free(snapshot);

    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_NOW));
    ASSERT_OK(shoal_rlock_acquire(rlock, SHOAL_NOW));
    ASSERT_OK(shoal_rlock_acquire(rlock, SHOAL_NOW));
    ASSERT_OK(shoal_rwlock_acquire_read(rwlock, SHOAL_NOW));
    ASSERT_OK(shoal_once_run(once, hold_once, NULL, SHOAL_FOREVER));
    snapshot = look();
    ASSERT_EQ_INT(of_object(snapshot, "lock", "locked"), 1);
    const shoal_any *owner = at(get(find(snapshot, "objects", "name", "lock"), "owners"), 0);
    ASSERT_EQ_INT(number(owner, "pid"), getpid());
    ASSERT_EQ_INT(number(owner, "thread"), getpid());
    ASSERT_STR(text(owner, "process"), "MainProcess");
    ASSERT_STR(text(owner, "as"), "holder");
    ASSERT_EQ_INT(number(owner, "alive"), 1);
    ASSERT_EQ_INT(of_object(snapshot, "rlock", "levels"), 2);
    ASSERT_EQ_INT(of_object(snapshot, "rwlock", "readers"), 1);
    ASSERT_EQ_INT(of_object(snapshot, "once", "done"), 1);
    shoal_any_free(snapshot);

    ASSERT_OK(shoal_rwlock_release(rwlock));
    ASSERT_OK(shoal_rwlock_acquire_write(rwlock, SHOAL_NOW));
    snapshot = look();
    ASSERT_EQ_INT(of_object(snapshot, "rwlock", "written"), 1);
    ASSERT_EQ_INT(of_object(snapshot, "rwlock", "readers"), 0);
    shoal_any_free(snapshot);
    shoal_lock_close(lock);
    shoal_rlock_close(rlock);
    shoal_rwlock_close(rwlock);
    shoal_once_close(once);
}

TEST(inspect_shows_what_semaphores_events_barriers_and_conditions_are_doing)
{
    shoal_semaphore *semaphore, *owned;
    shoal_event *event;
    shoal_barrier *barrier;
    shoal_lock *lock;
    shoal_condition *condition;
    ASSERT_OK(shoal_semaphore_create(&semaphore, 7, &(shoal_semaphore_options){.name = "plain"}));
    ASSERT_OK(shoal_semaphore_create(&owned, 3,
                                     &(shoal_semaphore_options){.name = "owned",
                                                                .bound = 3,
                                                                .owned = 3}));
    ASSERT_OK(shoal_event_create(&event, &(shoal_sync_options){.name = "event"}));
    ASSERT_OK(shoal_barrier_create(&barrier, 3, &(shoal_sync_options){.name = "barrier"}));
    ASSERT_OK(shoal_lock_create(&lock, &(shoal_sync_options){.name = "lock"}));
    ASSERT_OK(
        shoal_condition_create(&condition, lock, NULL, &(shoal_sync_options){.name = "condition"}));
    ASSERT_OK(shoal_semaphore_acquire(semaphore, SHOAL_NOW));
    ASSERT_OK(shoal_semaphore_acquire_owned(owned, SHOAL_NOW));
    ASSERT_OK(shoal_semaphore_acquire_owned(owned, SHOAL_NOW));
    ASSERT_OK(shoal_event_set(event));
    shoal_barrier_abort(barrier);
    shoal_any *snapshot = look();
    ASSERT_EQ_INT(of_object(snapshot, "plain", "value"), 6);
    ASSERT_EQ_INT(of_object(snapshot, "owned", "value"), 1);
    ASSERT_EQ_INT(of_object(snapshot, "owned", "owned"), 2);
    ASSERT_EQ_INT(of_object(snapshot, "owned", "bound"), 3);
    ASSERT_EQ_INT(shoal_any_count(get(find(snapshot, "objects", "name", "owned"), "owners")), 2);
    ASSERT_EQ_INT(of_object(snapshot, "event", "set"), 1);
    ASSERT_EQ_INT(of_object(snapshot, "event", "sets"), 1);
    ASSERT_EQ_INT(of_object(snapshot, "barrier", "parties"), 3);
    ASSERT_EQ_INT(of_object(snapshot, "barrier", "broken"), 1);
    ASSERT_EQ_INT(of_object(snapshot, "condition", "waiting"), 0);
    ASSERT_EQ_INT(of_object(snapshot, "condition", "lock"), of_object(snapshot, "lock", "id"));
    shoal_any_free(snapshot);
    shoal_condition_close(condition);
    shoal_lock_close(lock);
    shoal_barrier_close(barrier);
    shoal_event_close(event);
    shoal_semaphore_close(owned);
    shoal_semaphore_close(semaphore);
}

static shoal_queue *queue;
static void put_three(void)
{
    char long_one[10000] = "";
    ASSERT_OK(shoal_queue_put_bytes(queue, "a", 1, SHOAL_FOREVER));
    ASSERT_OK(shoal_queue_put_bytes(queue, long_one, sizeof long_one, SHOAL_FOREVER));
    ASSERT_OK(shoal_queue_put_bytes(queue, "b", 1, SHOAL_FOREVER));
    atomic_fetch_add(&words[HAVE], 1);
    until_word(&words[GO], 1);
}

/* More lanes than lie beside the queue. */
static void queue_shows(uint64_t maxsize)
{
    enum { PRODUCERS = 7 };
    pid_t pids[PRODUCERS];
    void *bytes;
    size_t size;
    words = words_open();
    ASSERT_OK(
        shoal_queue_create(&queue, &(shoal_queue_options){.name = "queue", .maxsize = maxsize}));
    for (int i = 0; i < PRODUCERS; i++)
        pids[i] = child(put_three);
    until_word(&words[HAVE], PRODUCERS);
    for (int left = 3 * PRODUCERS; left >= 0; left--) {
        shoal_any *snapshot = look();
        ASSERT_EQ_INT(of_object(snapshot, "queue", "size"), left);
        if (maxsize)
            ASSERT_EQ_INT(of_object(snapshot, "queue", "maxsize"), (int64_t)maxsize);
        shoal_any_free(snapshot);
        if (!left)
            break;
        ASSERT_OK(shoal_queue_get_bytes(queue, &bytes, &size, SHOAL_NOW));
        free(bytes);
    }
    atomic_store(&words[GO], 1);
    for (int i = 0; i < PRODUCERS; i++)
        ends_well(pids[i]);
    shoal_queue_close(queue);
    words_close();
}

TEST(inspect_shows_how_many_messages_lie_in_a_queue)
{
    queue_shows(0);
}

TEST(inspect_shows_how_many_messages_lie_in_a_bounded_queue)
{
    queue_shows(100);
}

TEST(inspect_shows_lifo_and_priority_queues)
{
    static const struct {
        unsigned kind;
        const char *name;
    } kinds[] = {{SHOAL_LIFO, "lifo"}, {SHOAL_PRIORITY, "priority"}};
    for (int i = 0; i < 2; i++) {
        shoal_queue *heap;
        ASSERT_OK(shoal_queue_create(&heap, &(shoal_queue_options){.kind = kinds[i].kind,
                                                                   .name = "queue",
                                                                   .maxsize = i ? 10 : 0}));
        for (int n = 0; n < 5; n++)
            ASSERT_OK(shoal_queue_put_bytes(heap, "x", 1, SHOAL_NOW));
        for (int shut = 0; shut < 2; shut++) {
            shoal_any *snapshot = look();
            const shoal_any *shown = find(snapshot, "objects", "name", "queue"), *none;
            ASSERT_EQ_INT(number(shown, "size"), 5);
            get(shown, kinds[i].name);
            ASSERT_ERR(shoal_any_get_str(shown, kinds[!i].name, &none), -ENOENT);
            if (i)
                ASSERT_EQ_INT(number(shown, "maxsize"), 10);
            else
                ASSERT_ERR(shoal_any_get_str(shown, "maxsize", &none), -ENOENT);
            ASSERT_EQ_INT(shoal_any_get_str(shown, "closed", &none), shut ? 0 : -ENOENT);
            shoal_any_free(snapshot);
            ASSERT_OK(shoal_queue_shutdown(heap, 0));
        }
        shoal_queue_close(heap);
    }
}

TEST(inspect_shows_pipes_values_and_arrays)
{
    shoal_connection *first, *second;
    shoal_value *value;
    shoal_array *array;
    ASSERT_OK(shoal_pipe(&first, &second, &(shoal_pipe_options){.name = "pipe"}));
    ASSERT_OK(shoal_connection_send_bytes(first, "a", 1, SHOAL_NOW));
    ASSERT_OK(shoal_connection_send_bytes(first, "b", 1, SHOAL_NOW));
    ASSERT_OK(shoal_value_create(&value, 'i', NULL, 0, &(shoal_value_options){.name = "value"}));
    ASSERT_OK(shoal_array_create(&array, 'd', 5, NULL, 0,
                                 &(shoal_value_options){.name = "array", .flags = SHOAL_UNLOCKED}));
    shoal_any *snapshot = look();
    ASSERT_EQ_INT(of_object(snapshot, "pipe", "to first") +
                      of_object(snapshot, "pipe", "to second"),
                  2);
    const shoal_any *end =
        find_number(snapshot, "objects", "id", of_object(snapshot, "pipe", "first"));
    ASSERT_STR(text(end, "type"), "connection");
    ASSERT_EQ_INT(number(end, "pipe"), of_object(snapshot, "pipe", "id"));
    ASSERT_STR(text(find(snapshot, "objects", "name", "value"), "of"), "i");
    ASSERT_STR(text(find(snapshot, "objects", "name", "array"), "of"), "d");
    ASSERT_EQ_INT(of_object(snapshot, "array", "length"), 5);
    const shoal_any *lock =
        find_number(snapshot, "objects", "id", of_object(snapshot, "value", "lock"));
    ASSERT_STR(text(lock, "type"), "rlock");
    shoal_any_free(snapshot);
    shoal_value_close(value);
    shoal_array_close(array);
    shoal_connection_close(first);
    shoal_connection_close(second);
}

TEST(inspect_shows_that_an_object_is_held_by_a_message)
{
    shoal_queue *all;
    shoal_value *value;
    ASSERT_OK(shoal_queue_create(&all, &(shoal_queue_options){.name = "queue"}));
    ASSERT_OK(shoal_value_create(&value, 'i', NULL, 0, &(shoal_value_options){.name = "value"}));
    shoal_any *snapshot = look();
    const shoal_any *held = find(snapshot, "objects", "name", "value"), *id;
    ASSERT_EQ_INT(shoal_any_count(get(held, "messages")), 0);
    shoal_any_free(snapshot);
    for (int i = 0; i < 2; i++) {
        shoal_any *any = shoal_any_list(shoal_any_object(value), shoal_any_object(value));
        ASSERT_OK(shoal_queue_put(all, any, SHOAL_NOW));
        shoal_any_free(any);
    }
    shoal_value_close(value);
    snapshot = look();
    held = find(snapshot, "objects", "name", "value");
    const shoal_any *messages = get(held, "messages");
    ASSERT_EQ_INT(shoal_any_count(get(held, "holders")), 0);
    ASSERT_EQ_INT(shoal_any_count(messages), 2);
    for (int i = 0; i < 2; i++) {
        int64_t n;
        ASSERT_OK(shoal_any_at(messages, i, &id));
        ASSERT_OK(shoal_any_as_int(id, &n));
        const shoal_any *message = find_number(snapshot, "objects", "id", n);
        ASSERT_STR(text(message, "type"), "message");
        ASSERT_EQ_INT(number(message, "in"), of_object(snapshot, "queue", "id"));
    }
    shoal_any_free(snapshot);
    shoal_queue_close(all);
}
