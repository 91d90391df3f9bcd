/* What shoal_error_detail says: which call failed, on which object, and why; never what an older
 * failure said. */
#include "runner.h"
#include <errno.h>
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define says(...) says_(__LINE__, (const char *const[]){__VA_ARGS__, NULL})

/* All of these parts are in the sentence. */
static void says_(int line, const char *const parts[])
{
    const char *detail = shoal_error_detail();
    for (; *parts; parts++)
        if (!strstr(detail, *parts))
            FAIL("line %d: says \"%s\", not \"%s\"", line, detail, *parts);
}

/* An older failure, whose sentence is nobody's afterwards. */
static void fail_before(void)
{
    ASSERT_ERR(shoal_event_set(NULL), -EINVAL);
}

static int returns(void *argument)
{
    return *(int *)argument;
}

static int fails_in_shoal(void *argument)
{
    (void)argument;
    return shoal_event_set(NULL);
}

TEST(what_a_callback_returned_is_told_as_such)
{
    shoal_once *once;
    shoal_barrier *barrier;
    shoal_condition *condition;
    int result = -EIO;
    ASSERT_OK(shoal_once_create(&once, NULL));
    ASSERT_OK(shoal_barrier_create(&barrier, 1, NULL));
    ASSERT_OK(shoal_condition_create(&condition, NULL, NULL, NULL));
    fail_before();
    ASSERT_ERR(shoal_once_run(once, returns, &result, SHOAL_NOW), -EIO);
    says("shoal_once_run", "returned -5");
    ASSERT_ERR(shoal_once_run(once, fails_in_shoal, NULL, SHOAL_NOW), -EINVAL);
    says("shoal_once_run", "returned -22", "shoal_event_set");
    fail_before();
    ASSERT_ERR(shoal_barrier_wait_action(barrier, returns, &result, SHOAL_NOW), -EIO);
    says("shoal_barrier_wait_action", "returned -5");
    ASSERT_ERR(shoal_barrier_wait(barrier, SHOAL_NOW), -ECANCELED);
    says("shoal_barrier_wait:", "broken");
    fail_before();
    ASSERT_OK(shoal_condition_acquire(condition, SHOAL_NOW));
    ASSERT_ERR(shoal_condition_wait_for(condition, returns, &result, SHOAL_NOW, NULL), -EIO);
    says("shoal_condition_wait_for", "returned -5");
    ASSERT_OK(shoal_condition_release(condition));
    shoal_condition_close(condition);
    shoal_barrier_close(barrier);
    shoal_once_close(once);
}

static shoal_sync_options name_is(const char *name)
{
    return (shoal_sync_options){.name = name};
}

TEST(a_wait_in_vain_names_call_and_object)
{
    shoal_lock *lock;
    shoal_event *event;
    shoal_semaphore *semaphore;
    shoal_condition *condition;
    shoal_barrier *barrier;
    shoal_sync_options l = name_is("jobs"), e = name_is("ready"), c = name_is("news"),
                       b = name_is("all here");
    shoal_semaphore_options s = {.name = "seats"};
    ASSERT_OK(shoal_lock_create(&lock, &l));
    ASSERT_OK(shoal_event_create(&event, &e));
    ASSERT_OK(shoal_semaphore_create(&semaphore, 0, &s));
    ASSERT_OK(shoal_condition_create(&condition, NULL, NULL, &c));
    ASSERT_OK(shoal_barrier_create(&barrier, 2, &b));
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_NOW));
    ASSERT_OK(shoal_condition_acquire(condition, SHOAL_NOW));

    ASSERT_ERR(shoal_lock_acquire(lock, SHOAL_NOW), -EAGAIN);
    says("shoal_lock_acquire", "'jobs'", "at once");
    ASSERT_ERR(shoal_event_wait(event, shoal_after(0.001)), -ETIMEDOUT);
    says("shoal_event_wait", "'ready'", "the deadline passed");
    ASSERT_ERR(shoal_semaphore_acquire(semaphore, SHOAL_NOW), -EAGAIN);
    says("shoal_semaphore_acquire", "'seats'", "at once");
    ASSERT_ERR(shoal_condition_wait(condition, SHOAL_NOW), -ETIMEDOUT);
    says("shoal_condition_wait:", "'news'", "the deadline");
    ASSERT_ERR(shoal_condition_wait_for(condition, returns, &(int){0}, shoal_after(0.001), NULL),
               -ETIMEDOUT);
    says("shoal_condition_wait_for:", "'news'", "the deadline passed");
    ASSERT_ERR(shoal_barrier_wait(barrier, shoal_after(0.001)), -ETIMEDOUT);
    says("shoal_barrier_wait:", "'all here'", "the deadline passed");

    /* An object without a name, or that is closed by the time somebody asks. */
    ASSERT_ERR(shoal_lock_acquire(lock, SHOAL_NOW), -EAGAIN);
    shoal_lock_close(lock);
    says("shoal_lock_acquire: it could not");
    ASSERT_OK(shoal_condition_release(condition));
    shoal_barrier_close(barrier);
    shoal_condition_close(condition);
    shoal_semaphore_close(semaphore);
    shoal_event_close(event);
}

TEST(what_one_call_does_by_way_of_another_is_told_of_the_first)
{
    shoal_lock *lock;
    shoal_condition *plain, *own;
    shoal_value *value;
    shoal_array *array;
    int n;
    ASSERT_OK(shoal_lock_create(&lock, NULL));
    ASSERT_OK(shoal_condition_create(&plain, lock, NULL, NULL));
    ASSERT_OK(shoal_condition_create(&own, NULL, NULL, NULL));
    ASSERT_OK(shoal_value_create(&value, 'i', NULL, 0, NULL));
    ASSERT_OK(shoal_array_create(&array, 'i', 3, NULL, 0, NULL));
    ASSERT_ERR(shoal_condition_release(plain), -EPERM);
    says("shoal_condition_release:");
    ASSERT_ERR(shoal_condition_release(own), -EPERM);
    says("shoal_condition_release:");
    ASSERT_ERR(shoal_condition_notify_all(own), -EPERM);
    says("shoal_condition_notify_all:");
    ASSERT_ERR(shoal_value_release(value), -EPERM);
    says("shoal_value_release:");
    ASSERT_ERR(shoal_array_release(array), -EPERM);
    says("shoal_array_release:");
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_NOW));
    ASSERT_ERR(shoal_condition_acquire(plain, SHOAL_NOW), -EAGAIN);
    says("shoal_condition_acquire:");
    ASSERT_OK(shoal_lock_release(lock));

    ASSERT_OK(shoal_array_acquire(array, SHOAL_NOW));
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        ASSERT_ERR(shoal_array_get(array, 0, 1, &n, sizeof n, SHOAL_NOW), -EAGAIN);
        says("shoal_array_get:");
        ASSERT_ERR(shoal_array_acquire(array, SHOAL_NOW), -EAGAIN);
        says("shoal_array_acquire:");
        exit(0);
    }
    int status;
    ASSERT_SYS(waitpid(pid, &status, 0));
    ASSERT_EQ_INT(status, 0);
    ASSERT_OK(shoal_array_release(array));
    shoal_array_close(array);
    shoal_value_close(value);
    shoal_condition_close(own);
    shoal_condition_close(plain);
    shoal_lock_close(lock);
}

TEST(a_negative_deadline_is_none)
{
    shoal_lock *lock;
    shoal_rwlock *rwlock;
    shoal_event *event;
    shoal_semaphore *semaphore;
    shoal_condition *condition;
    shoal_barrier *barrier;
    shoal_queue *queue;
    shoal_connection *first, *second;
    void *bytes;
    size_t size;
    ASSERT_OK(shoal_lock_create(&lock, NULL));
    ASSERT_OK(shoal_rwlock_create(&rwlock, NULL));
    ASSERT_OK(shoal_event_create(&event, NULL));
    ASSERT_OK(shoal_semaphore_create(&semaphore, 0, NULL));
    ASSERT_OK(shoal_condition_create(&condition, NULL, NULL, NULL));
    ASSERT_OK(shoal_barrier_create(&barrier, 2, NULL));
    ASSERT_OK(shoal_queue_create(&queue, &(shoal_queue_options){.maxsize = 1}));
    ASSERT_OK(shoal_pipe(&first, &second, NULL));
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_NOW));
    ASSERT_OK(shoal_condition_acquire(condition, SHOAL_NOW));

    ASSERT_ERR(shoal_lock_acquire(lock, -1), -EINVAL);
    says("shoal_lock_acquire", "-1", "shoal_after");
    ASSERT_ERR(shoal_event_wait(event, INT64_MIN), -EINVAL);
    says("shoal_event_wait", "shoal_after");
    ASSERT_ERR(shoal_semaphore_acquire(semaphore, -1), -EINVAL);
    says("shoal_semaphore_acquire", "shoal_after");
    ASSERT_ERR(shoal_condition_wait(condition, -1), -EINVAL);
    says("shoal_condition_wait", "shoal_after");
    ASSERT_OK(shoal_condition_release(condition)); /* it is still held */
    ASSERT_ERR(shoal_barrier_wait(barrier, -1), -EINVAL);
    says("shoal_barrier_wait", "shoal_after");
    ASSERT_EQ_INT(shoal_barrier_broken(barrier), 0);
    ASSERT_ERR(shoal_queue_get_bytes(queue, &bytes, &size, -1), -EINVAL);
    says("shoal_queue_get_bytes", "shoal_after");
    ASSERT_OK(shoal_queue_put_bytes(queue, "a", 1, -1)); /* nothing to wait for */
    ASSERT_ERR(shoal_queue_put_bytes(queue, "b", 1, -1), -EINVAL);
    says("shoal_queue_put_bytes", "shoal_after");
    ASSERT_ERR(shoal_queue_join(queue, -1), -EINVAL);
    says("shoal_queue_join", "shoal_after");
    ASSERT_ERR(shoal_connection_recv_bytes(first, &bytes, &size, -1), -EINVAL);
    says("shoal_connection_recv_bytes", "shoal_after");
    ASSERT_ERR(shoal_connection_poll(first, -1), -EINVAL);
    says("shoal_connection_poll", "shoal_after");

    ASSERT_OK(shoal_rwlock_acquire_read(rwlock, SHOAL_NOW));
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        ASSERT_ERR(shoal_rwlock_acquire_write(rwlock, -1), -EINVAL);
        says("shoal_rwlock_acquire_write", "shoal_after");
        exit(0);
    }
    int status;
    ASSERT_SYS(waitpid(pid, &status, 0));
    ASSERT_EQ_INT(status, 0);
    ASSERT_OK(shoal_rwlock_release(rwlock));
    shoal_connection_close(second);
    shoal_connection_close(first);
    shoal_queue_close(queue);
    shoal_barrier_close(barrier);
    shoal_condition_close(condition);
    shoal_semaphore_close(semaphore);
    shoal_event_close(event);
    shoal_rwlock_close(rwlock);
    shoal_lock_close(lock);
}

TEST(a_deadline_long_past_is_told_as_such)
{
    shoal_event *event;
    ASSERT_OK(shoal_event_create(&event, NULL));
    /* 5 s after the machine has started: that is past, and the sentence is about it if it was more
     * than a minute ago. */
    int64_t five_seconds = 5000000000, now = shoal_after(1e-9);
    ASSERT_ERR(shoal_event_wait(event, five_seconds), -ETIMEDOUT);
    if (now > 70000000000)
        says("shoal_event_wait", "s in the past", "shoal_after");
    else
        says("shoal_event_wait", "the deadline passed");
    shoal_event_close(event);
}

static shoal_lock *held;

static int ends_with_it(void *argument)
{
    (void)argument;
    return shoal_lock_acquire(held, SHOAL_NOW);
}

TEST(a_holder_that_ended_normally_is_named)
{
    shoal_process *process;
    char pid[32];
    ASSERT_OK(shoal_lock_create(&held, NULL));
    ASSERT_OK(shoal_process_start(&process, ends_with_it, NULL,
                                  &(shoal_process_options){.name = "careless"}));
    snprintf(pid, sizeof pid, "(pid %d)", (int)shoal_process_pid(process));
    ASSERT_OK(shoal_process_join(process, SHOAL_FOREVER));
    ASSERT_EQ_INT(shoal_lock_acquire(held, SHOAL_NOW), SHOAL_OWNER_DIED);
    says("careless", pid, "ended without releasing it");
    ASSERT_OK(shoal_lock_release(held));
    ASSERT_OK(shoal_process_close(process));
    shoal_lock_close(held);
}

TEST(null_for_an_any_is_told_by_the_call_that_was_given_it)
{
    shoal_any *list = shoal_any_list(), *dict = shoal_any_dict();
    ASSERT_NOT_NULL(list);
    ASSERT_NOT_NULL(dict);
    fail_before();
    ASSERT_ERR(shoal_any_append(list, NULL), -EINVAL);
    says("shoal_any_append: NULL");
    fail_before();
    ASSERT_ERR(shoal_any_put(dict, shoal_any_int(1), NULL), -EINVAL);
    says("shoal_any_put: NULL");
    /* what could not be built has a reason of its own, which goes through */
    ASSERT_ERR(shoal_any_append(list, shoal_any_list(shoal_any_str("\xff"), shoal_any_int(1))),
               -EINVAL);
    says("shoal_any_str", "UTF-8");
    shoal_queue *queue;
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    ASSERT_ERR(shoal_queue_put(queue, shoal_any_str("\xff"), SHOAL_NOW), -EINVAL);
    says("shoal_any_str", "UTF-8");
    /* and only there */
    ASSERT_ERR(shoal_event_set(NULL), -EINVAL);
    ASSERT_ERR(shoal_queue_put(queue, NULL, SHOAL_NOW), -EINVAL);
    says("shoal_queue_put: NULL");
    ASSERT_OK(shoal_queue_put_bytes(queue, "?", 1, SHOAL_NOW));
    ASSERT_ERR(shoal_queue_get(queue, &list, SHOAL_NOW), -EBADMSG);
    says("shoal_queue_get: pickle: ");
    shoal_queue_close(queue);
    ASSERT_ERR(shoal_any_append(list, NULL), -EINVAL);
    says("shoal_any_append: NULL");
    ASSERT_ERR(shoal_any_put(dict, shoal_any_list(), shoal_any_none()), -EINVAL);
    says("shoal_any_put: a list cannot be a key");
    shoal_any_free(dict);
    shoal_any_free(list);
}

TEST(keys_and_indices_that_are_not_there_are_told_by_the_call)
{
    const shoal_any *item;
    shoal_any *dict = shoal_any_dict(shoal_any_str("a"), shoal_any_int(1));
    ASSERT_NOT_NULL(dict);
    ASSERT_ERR(shoal_any_get_str(dict, "b", &item), -ENOENT);
    says("shoal_any_get_str: no key 'b'");
    ASSERT_ERR(shoal_any_get_str(dict, "b\xff", &item), -EINVAL);
    says("shoal_any_get_str", "byte 1", "0xff");
    ASSERT_ERR(shoal_any_entry(dict, 1, NULL, NULL), -ERANGE);
    says("shoal_any_entry: index 1 of 1");
    shoal_any_free(dict);
}

TEST(a_sockets_connection_names_its_calls)
{
    int fds[2];
    shoal_connection *c;
    shoal_any *any = NULL;
    void *bytes;
    size_t size;
    char buffer[8];
    ASSERT_SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    ASSERT_OK(shoal_connection_from_fd(&c, fds[0]));
    ASSERT_ERR(shoal_connection_recv_bytes(c, &bytes, &size, SHOAL_NOW), -EAGAIN);
    says("shoal_connection_recv_bytes: it could not");
    ASSERT_ERR(shoal_connection_poll(c, shoal_after(0.001)), -ETIMEDOUT);
    says("shoal_connection_poll: the deadline passed");
    ASSERT_ERR(shoal_connection_recv(c, &any, -1), -EINVAL);
    says("shoal_connection_recv: the deadline -1");
    ASSERT_ERR(shoal_connection_send(c, NULL, SHOAL_NOW), -EINVAL);
    says("shoal_connection_send: NULL");
    ASSERT_ERR(shoal_connection_send(c, shoal_any_str("\xff"), SHOAL_NOW), -EINVAL);
    says("shoal_any_str", "UTF-8");
    ASSERT_SYS(write(fds[1], "\0\0\0\1?", 5));
    ASSERT_ERR(shoal_connection_recv(c, &any, SHOAL_FOREVER), -EBADMSG);
    says("shoal_connection_recv: pickle: ");
    close(fds[1]);
    ASSERT_ERR(shoal_connection_recv_bytes_into(c, buffer, sizeof buffer, &size, SHOAL_NOW),
               -EPIPE);
    says("shoal_connection_recv_bytes_into: the peer has closed");
    ASSERT_ERR(shoal_connection_recv(c, &any, SHOAL_NOW), -EPIPE);
    says("shoal_connection_recv: the peer has closed");
    ASSERT_ERR(shoal_connection_send_bytes(c, "a", 1, SHOAL_NOW), -EPIPE);
    says("shoal_connection_send_bytes: the peer is gone");
    shoal_connection_close(c);
}

TEST(each_result_has_a_text_of_its_own)
{
    static const int results[] = {0,          SHOAL_OWNER_DIED, SHOAL_UNDER_WAY, -EAGAIN,
                                  -ETIMEDOUT, -EINTR,           -EBADF,          -ESTALE,
                                  -EINVAL,    -EPERM,           -ENOMEM,         -ENOSPC,
                                  -EOVERFLOW, -ERANGE,          -ENOENT,         -EMSGSIZE,
                                  -EBADMSG,   -EDEADLK,         -EBUSY,          -EALREADY,
                                  -ECHILD,    -ECANCELED,       -EPIPE,          -ENOTSUP,
                                  -EOWNERDEAD};
    enum { N = sizeof results / sizeof *results };
    for (int i = 0; i < N; i++)
        for (int k = i + 1; k < N; k++)
            if (!strcmp(shoal_strerror(results[i]), shoal_strerror(results[k])))
                FAIL("%d and %d: both \"%s\"", results[i], results[k], shoal_strerror(results[i]));
}
