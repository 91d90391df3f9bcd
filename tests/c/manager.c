/* manager.h: a C server and C clients. Python's clients: tests/python/manager.py. */
#include "processes.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#if SHOAL_CRYPTO
static shoal_manager *manager;
static shoal_address address;

static void start(void)
{
    runner_allow_children(); /* the keeper */
    ASSERT_OK(shoal_manager_start(manager));
}

static void serve(const shoal_manager_options *options)
{
    ASSERT_OK(shoal_manager_create(&manager, options));
    start();
    ASSERT_OK(shoal_manager_address(manager, &address));
}

static void done(void)
{
    ASSERT_OK(shoal_manager_shutdown(manager, SHOAL_FOREVER));
    ASSERT_NULL(shoal_manager_close(manager));
}

static shoal_proxy *get(const char *type, shoal_any *args)
{
    shoal_proxy *p;
    ASSERT_OK(shoal_manager_get(manager, &p, type, args, NULL, SHOAL_FOREVER));
    return p;
}

/* What a call returns, as its repr. */
static void returns(shoal_proxy *p, const char *method, shoal_any *args, const char *wanted)
{
    shoal_any *ret = NULL;
    char *text;
    int rc = shoal_proxy_call(p, method, args, &ret, SHOAL_FOREVER);
    if (rc)
        FAIL("%s: %d %s", method, rc, shoal_error_detail());
    ASSERT_OK(shoal_any_repr(ret, &text));
    ASSERT_STR(text, wanted);
    free(text);
    shoal_any_free(ret);
}

static void raises(shoal_proxy *p, const char *method, shoal_any *args, const char *wanted)
{
    shoal_any *ret = NULL;
    const shoal_any *arguments;
    const char *name;
    ASSERT_EQ_INT(shoal_proxy_call(p, method, args, &ret, SHOAL_FOREVER), SHOAL_RAISED);
    ASSERT_OK(shoal_any_as_construct(ret, &name, &arguments));
    ASSERT_STR(name, wanted);
    ASSERT_TRUE(
        strstr(shoal_error_detail(), strchr(wanted, '.') ? strchr(wanted, '.') + 1 : wanted));
    shoal_any_free(ret);
}

#define INT(n) shoal_any_tuple(shoal_any_int(n))

TEST(manager_lists_dicts_and_namespaces_of_a_c_client)
{
    serve(NULL);
    shoal_proxy *list = get("list", shoal_any_tuple(shoal_any_list(shoal_any_int(1))));
    shoal_proxy *dict = get("dict", NULL), *names = get("Namespace", NULL);
    returns(list, "append", INT(2), "None");
    returns(list, "__len__", NULL, "2");
    returns(list, "__getitem__", INT(-1), "2");
    raises(list, "__getitem__", INT(5), "IndexError");
    returns(dict, "__setitem__", shoal_any_tuple(shoal_any_str("x"), shoal_any_float(1.5)), "None");
    returns(dict, "__getitem__", shoal_any_tuple(shoal_any_str("x")), "1.5");
    raises(dict, "__getitem__", INT(5), "KeyError");
    returns(dict, "__repr__", NULL, "\"{'x': 1.5}\"");
    returns(names, "__setattr__", shoal_any_tuple(shoal_any_str("a"), shoal_any_int(1)), "None");
    returns(names, "__getattribute__", shoal_any_tuple(shoal_any_str("a")), "1");
    raises(names, "__getattribute__", shoal_any_tuple(shoal_any_str("b")), "AttributeError");
    ASSERT_EQ_INT(shoal_manager_count(manager, SHOAL_FOREVER), 3);
    ASSERT_STR(shoal_proxy_type(list), "list");
    ASSERT_NULL(shoal_proxy_close(list));
    shoal_proxy_close(dict);
    shoal_proxy_close(names);
    ASSERT_EQ_INT(shoal_manager_count(manager, SHOAL_FOREVER), 0);
    done();
}

TEST(manager_says_what_is_not_there)
{
    shoal_proxy *untouched = (shoal_proxy *)&untouched, *p = untouched;
    serve(NULL);
    ASSERT_ERR(shoal_manager_get(manager, &p, "no such type", NULL, NULL, SHOAL_FOREVER), -ENOENT);
    ASSERT_TRUE(strstr(shoal_error_detail(), "no such type"));
    ASSERT_ERR(shoal_manager_get(manager, &p, "list", INT(5), NULL, SHOAL_FOREVER), -EINVAL);
    ASSERT_EQ_PTR(p, untouched);
    ASSERT_ERR(shoal_manager_get(manager, &p, "list", shoal_any_int(1), NULL, SHOAL_FOREVER),
               -EINVAL);
    p = get("list", NULL);
    ASSERT_ERR(shoal_proxy_call(p, "no_such_method", NULL, NULL, SHOAL_FOREVER), -ENOENT);
    ASSERT_ERR(shoal_proxy_call(p, "append", shoal_any_int(1), NULL, SHOAL_FOREVER), -EINVAL);
    ASSERT_ERR(shoal_proxy_call(NULL, "append", NULL, NULL, SHOAL_FOREVER), -EINVAL);
    ASSERT_ERR(shoal_proxy_call(p, "append", NULL, NULL, -5), -EINVAL);
    shoal_proxy_close(p);
    ASSERT_ERR(shoal_manager_start(manager), -EBUSY);
    ASSERT_ERR(shoal_manager_register(manager,
                                      &(shoal_type){.name = "x",
                                                    .methods =
                                                        (shoal_method_entry[]){{NULL, NULL, 0}}}),
               -EBUSY);
    done();
    ASSERT_ERR(shoal_manager_create(NULL, NULL), -EINVAL);
    ASSERT_ERR(shoal_manager_create(&manager, &(shoal_manager_options){.flags = 4}), -EINVAL);
    ASSERT_ERR(shoal_manager_connect(NULL, &address, NULL, SHOAL_FOREVER), -EINVAL);
    ASSERT_ERR(shoal_manager_connect(&manager, NULL, NULL, SHOAL_FOREVER), -EINVAL);
    ASSERT_ERR(shoal_manager_start(NULL), -EINVAL);
    ASSERT_NULL(shoal_manager_close(NULL));
    ASSERT_NULL(shoal_proxy_close(NULL));
}

/* ---- exported objects ---- */

TEST(manager_exports_what_the_family_has)
{
    shoal_queue *queue;
    shoal_lock *lock;
    shoal_any *any;
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    ASSERT_OK(shoal_lock_create(&lock, NULL));
    ASSERT_OK(shoal_manager_create(&manager, NULL));
    ASSERT_OK(shoal_manager_export(manager, "jobs", queue));
    ASSERT_OK(shoal_manager_export(manager, "lock", lock));
    ASSERT_ERR(shoal_manager_export(manager, "lock", lock), -EALREADY);
    ASSERT_ERR(shoal_manager_export(manager, "other", &queue), -EBADF);
    ASSERT_ERR(shoal_manager_export(manager, NULL, lock), -EINVAL);
    start();
    shoal_proxy *jobs = get("jobs", NULL), *same = get("jobs", NULL), *locks = get("lock", NULL);
    ASSERT_STR(shoal_proxy_id(jobs), shoal_proxy_id(same));
    returns(jobs, "put", shoal_any_tuple(shoal_any_str("by wire")), "None");
    ASSERT_OK(shoal_queue_get(queue, &any, SHOAL_FOREVER));
    shoal_any_free(any);
    any = shoal_any_int(5);
    ASSERT_OK(shoal_queue_put(queue, any, SHOAL_FOREVER));
    shoal_any_free(any);
    returns(same, "get", NULL, "5");
    returns(locks, "acquire", NULL, "True");
    ASSERT_ERR(shoal_lock_acquire(lock, SHOAL_NOW), -EAGAIN);
    returns(locks, "release", NULL, "None");
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_NOW));
    returns(locks, "acquire", shoal_any_tuple(shoal_any_bool(false)), "False");
    ASSERT_OK(shoal_lock_release(lock));
    shoal_proxy_close(jobs);
    shoal_proxy_close(same);
    shoal_proxy_close(locks);
    done();
    shoal_queue_close(queue);
    shoal_lock_close(lock);
}

/* A list that the family has is the one that clients see, and what they nest in it is an object of the family. */
TEST(manager_lists_are_the_familys_and_nest)
{
    shoal_list *list;
    shoal_dict *inner;
    shoal_any *item, *key = shoal_any_str("x"), *value;
    const shoal_any *parts, *class;
    shoal_reference reference;
    const char *name;
    int64_t n;
    ASSERT_OK(shoal_list_create(&list, NULL));
    ASSERT_OK(shoal_manager_create(&manager, NULL));
    ASSERT_OK(shoal_manager_export(manager, "list", list));
    start();
    shoal_proxy *p = get("list", NULL), *dict = get("dict", NULL);
    returns(p, "append", INT(7), "None");
    ASSERT_OK(shoal_list_get_int(list, 0, &n));
    ASSERT_EQ_INT(n, 7);
    ASSERT_OK(shoal_list_append_int(list, 8));
    returns(p, "__getitem__", INT(1), "8");
    /* A dict of the family's in it comes to a client as a proxy. */
    ASSERT_OK(shoal_dict_create(&inner, NULL));
    item = shoal_any_object(inner);
    ASSERT_OK(shoal_list_append(list, item));
    shoal_any_free(item);
    ASSERT_EQ_INT(shoal_proxy_call(p, "__getitem__", INT(2), &item, SHOAL_FOREVER), 0);
    ASSERT_OK(shoal_any_as_construct(item, &name, &parts));
    ASSERT_STR(name, "multiprocessing.RebuildProxy");
    ASSERT_OK(shoal_any_at(parts, 0, &class));
    ASSERT_OK(shoal_any_as_construct(class, &name, &parts));
    ASSERT_STR(name, "multiprocessing.DictProxy");
    /* And back again: the same one, for the family. */
    returns(p, "append", shoal_any_tuple(item), "None");
    ASSERT_OK(shoal_list_get(list, 3, &item));
    ASSERT_OK(shoal_any_as_reference(item, &reference));
    shoal_dict *again;
    ASSERT_OK(shoal_dict_open(&again, &reference));
    ASSERT_EQ_PTR(again, inner);
    shoal_dict_close(again);
    shoal_any_free(item);
    /* Somebody of the family keeps others out for a while: a client waits, others are served. */
    ASSERT_OK(shoal_list_acquire(list, SHOAL_FOREVER));
    ASSERT_ERR(shoal_proxy_call(p, "append", INT(1), NULL, shoal_after(0.05)), -ETIMEDOUT);
    returns(dict, "__setitem__", shoal_any_tuple(shoal_any_copy(key), shoal_any_int(1)), "None");
    returns(p, "__len__", NULL, "4");
    ASSERT_OK(shoal_list_release(list));
    returns(dict, "__getitem__", shoal_any_tuple(shoal_any_copy(key)), "1");
    value = shoal_any_free(key);
    ASSERT_NULL(value);
    shoal_proxy_close(p);
    shoal_proxy_close(dict);
    done();
    shoal_dict_close(inner);
    shoal_list_close(list);
}

/* ---- the ends of clients ---- */

static _Atomic long *words;

static void client_takes_the_lock_and_waits_for_its_end(void)
{
    shoal_manager *m;
    shoal_proxy *p;
    ASSERT_OK(shoal_manager_connect(&m, &address, NULL, SHOAL_FOREVER));
    ASSERT_OK(shoal_manager_get(m, &p, "lock", NULL, NULL, SHOAL_FOREVER));
    ASSERT_OK(shoal_proxy_call(p, "acquire", NULL, NULL, SHOAL_FOREVER));
    atomic_store(words, 1);
    pause();
}

/* The connection is an owner of its own, which is dead when the client has ended. */
static void lock_of_a_killed_client(const shoal_address *where)
{
    shoal_lock *lock;
    words = words_open();
    ASSERT_OK(shoal_lock_create(&lock, NULL));
    ASSERT_OK(shoal_manager_create(&manager, &(shoal_manager_options){.address = where}));
    ASSERT_OK(shoal_manager_export(manager, "lock", lock));
    start();
    ASSERT_OK(shoal_manager_address(manager, &address));
    pid_t pid = child(client_takes_the_lock_and_waits_for_its_end);
    until_word(words, 1);
    ASSERT_ERR(shoal_lock_acquire(lock, SHOAL_NOW), -EAGAIN);
    kill_and_reap(pid);
    ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    ASSERT_OK(shoal_lock_release(lock));
    done();
    shoal_lock_close(lock);
    words_close();
}

TEST(manager_lock_of_a_killed_client_goes_to_the_family_which_is_told)
{
    lock_of_a_killed_client(NULL);
}

TEST(manager_lock_of_a_killed_client_by_tcp_too)
{
    lock_of_a_killed_client(&(shoal_address){.host = "127.0.0.1"});
}

static shoal_proxy *inherited;
static void child_calls_what_its_parent_refers_to(void)
{
    returns(inherited, "append", INT(2), "None");
    shoal_proxy_close(inherited);
}

TEST(manager_a_child_goes_on_with_its_parents_proxy_by_connections_of_its_own)
{
    serve(NULL);
    inherited = get("list", NULL);
    returns(inherited, "append", INT(1), "None");
    ends_well(child(child_calls_what_its_parent_refers_to));
    returns(inherited, "__getitem__", INT(-1), "2");
    shoal_proxy_close(inherited);
    done();
}

/* ---- who joins the family ---- */

/* What processes that are of no family tell one another, made before they are of any. */
static struct outside {
    _Atomic int step;
    char name[40]; /* of an abstract address */
} * outside;

static shoal_address outside_address(void)
{
    return (shoal_address){.path = outside->name, .path_size = 1 + strlen(outside->name + 1)};
}

static void until_step(int step)
{
    while (atomic_load(&outside->step) < step)
        nap();
}

/* Runs `body` in a process that is of no family. */
static pid_t outsider(void (*body)(void))
{
    outside =
        mmap(NULL, sizeof *outside, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_TRUE(outside != MAP_FAILED);
    snprintf(outside->name + 1, sizeof outside->name - 1, "shoal-test-%d", (int)getpid());
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        until_step(1);
        body();
        _exit(0);
    }
    return pid;
}

static void outside_over(void)
{
    ASSERT_SYS(munmap(outside, sizeof *outside));
}

static void connect_local(unsigned flags)
{
    shoal_address at = outside_address();
    ASSERT_OK(shoal_manager_connect(&manager, &at,
                                    &(shoal_manager_options){.authkey = "key",
                                                             .authkey_size = 3,
                                                             .flags = flags},
                                    SHOAL_FOREVER));
}

static void serve_outside(void)
{
    shoal_address at = outside_address();
    ASSERT_OK(shoal_manager_create(&manager, &(shoal_manager_options){.address = &at,
                                                                      .authkey = "key",
                                                                      .authkey_size = 3}));
}

static void work_on_the_very_objects(void)
{
    shoal_list *list;
    shoal_lock *lock;
    shoal_reference r;
    connect_local(SHOAL_MANAGER_LOCAL);
    ASSERT_EQ_INT(shoal_manager_is_local(manager), 1);
    shoal_proxy *p = get("list", NULL), *l = get("lock", NULL), *mine = get("dict", NULL);
    ASSERT_OK(shoal_proxy_reference(p, &r, SHOAL_FOREVER));
    ASSERT_OK(shoal_list_open(&list, &r));
    for (int i = 0; i < 1000; i++)
        ASSERT_OK(shoal_list_append_int(list, i));
    returns(p, "__len__", NULL, "1000"); /* by the wire it is the same */
    shoal_dict *dict;
    ASSERT_OK(shoal_proxy_reference(mine, &r, SHOAL_FOREVER));
    ASSERT_OK(shoal_dict_open(&dict, &r));
    shoal_proxy_close(mine);
    ASSERT_OK(shoal_dict_set_int(dict, "a", 1, 1)); /* it lives, as this process holds it */
    ASSERT_OK(shoal_list_append(list, shoal_any_object(dict)));
    ASSERT_OK(shoal_proxy_reference(l, &r, SHOAL_FOREVER));
    ASSERT_OK(shoal_lock_open(&lock, &r));
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_FOREVER));
    atomic_store(&outside->step, 2);
    for (;;)
        pause();
}

TEST(manager_gives_a_local_client_the_region_which_then_is_one_of_the_family)
{
    pid_t pid = outsider(work_on_the_very_objects);
    shoal_list *list;
    shoal_lock *lock;
    shoal_dict *dict;
    shoal_any *any;
    shoal_reference r;
    int64_t n;
    ASSERT_OK(shoal_list_create(&list, NULL));
    ASSERT_OK(shoal_lock_create(&lock, NULL));
    serve_outside();
    ASSERT_OK(shoal_manager_export(manager, "list", list));
    ASSERT_OK(shoal_manager_export(manager, "lock", lock));
    start();
    ASSERT_EQ_INT(shoal_manager_is_local(manager), 1);
    atomic_store(&outside->step, 1);
    until_step(2);
    ASSERT_EQ_INT(shoal_list_length(list), 1001);
    ASSERT_ERR(shoal_lock_acquire(lock, SHOAL_NOW), -EAGAIN);
    /* Its death is noticed and repaired like any of the family's. */
    kill_and_reap(pid);
    ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    ASSERT_OK(shoal_lock_release(lock));
    ASSERT_OK(shoal_list_get(list, -1, &any));
    ASSERT_OK(shoal_any_as_reference(any, &r));
    ASSERT_OK(shoal_dict_open(&dict, &r));
    shoal_any_free(any);
    ASSERT_OK(shoal_dict_get_int(dict, "a", 1, &n));
    shoal_dict_close(dict);
    done();
    shoal_lock_close(lock);
    shoal_list_close(list);
    outside_over();
}

static void stay_outside(void)
{
    shoal_list *own;
    shoal_reference r;
    ASSERT_OK(shoal_list_create(&own, NULL));
    connect_local(SHOAL_MANAGER_LOCAL);
    ASSERT_EQ_INT(shoal_manager_is_local(manager), 0);
    shoal_proxy *list = get("list", NULL);
    returns(list, "append", INT(1), "None");
    ASSERT_ERR(shoal_proxy_reference(list, &r, SHOAL_FOREVER), -ESTALE);
    shoal_proxy_close(list);
    shoal_manager_close(manager);
    connect_local(0);
    ASSERT_EQ_INT(shoal_manager_is_local(manager), 0);
    shoal_manager_close(manager);
    shoal_list_close(own);
}

TEST(manager_client_of_another_family_stays_outside)
{
    pid_t pid = outsider(stay_outside);
    serve_outside();
    start();
    atomic_store(&outside->step, 1);
    ends_well(pid);
    /* Who is of the family need not be given anything. */
    shoal_manager *first = manager;
    shoal_reference r;
    connect_local(SHOAL_MANAGER_LOCAL);
    ASSERT_EQ_INT(shoal_manager_is_local(manager), 1);
    shoal_proxy *list = get("list", NULL), *other = get("Semaphore", INT(1));
    ASSERT_OK(shoal_proxy_reference(list, &r, SHOAL_FOREVER));
    ASSERT_ERR(shoal_proxy_reference(list, &r, -1), -EINVAL);
    ASSERT_ERR(shoal_proxy_reference(NULL, &r, SHOAL_NOW), -EINVAL);
    shoal_proxy_close(list);
    shoal_proxy_close(other);
    shoal_manager_close(manager);
    manager = first;
    done();
    outside_over();
}

static void be_another_user(void)
{
    if (geteuid())
        return;
    ASSERT_SYS(setgid(65534));
    ASSERT_SYS(setuid(65534));
    connect_local(SHOAL_MANAGER_LOCAL);
    ASSERT_TRUE(strstr(shoal_error_detail(), "another user"));
    ASSERT_EQ_INT(shoal_manager_is_local(manager), 0);
    shoal_proxy *list = get("list", NULL);
    returns(list, "append", INT(1), "None");
    shoal_proxy_close(list);
    shoal_manager_close(manager);
}

TEST(manager_client_of_another_user_stays_outside)
{
    pid_t pid = outsider(be_another_user);
    serve_outside();
    start();
    atomic_store(&outside->step, 1);
    ends_well(pid);
    done();
    outside_over();
}

/* ---- the end of the server ---- */

TEST(manager_that_is_killed_is_told_at_once_and_the_familys_objects_live_on)
{
    shoal_queue *queue;
    shoal_any *one = shoal_any_int(1), *any;
    ASSERT_OK(shoal_queue_create(&queue, NULL));
    ASSERT_OK(shoal_manager_create(&manager, NULL));
    ASSERT_OK(shoal_manager_export(manager, "queue", queue));
    start();
    shoal_proxy *p = get("queue", NULL), *list = get("list", NULL);
    returns(list, "append", INT(1), "None");
    ASSERT_SYS(kill(shoal_manager_pid(manager), SIGKILL));
    ASSERT_ERR(shoal_proxy_call(list, "append", INT(1), NULL, SHOAL_FOREVER), -EPIPE);
    ASSERT_TRUE(shoal_proxy_call(p, "get", NULL, NULL, SHOAL_FOREVER) < 0);
    ASSERT_OK(shoal_queue_put(queue, one, SHOAL_FOREVER));
    ASSERT_OK(shoal_queue_get(queue, &any, SHOAL_FOREVER));
    shoal_any_free(any);
    shoal_any_free(one);
    shoal_proxy_close(p);
    shoal_proxy_close(list);
    done();
    shoal_queue_close(queue);
}

static void client_waits_for_what_never_comes(void)
{
    shoal_proxy *p = get("Queue", NULL);
    atomic_store(words, 1);
    ASSERT_ERR(shoal_proxy_call(p, "get", NULL, NULL, SHOAL_FOREVER), -EPIPE);
}

TEST(manager_that_is_killed_ends_calls_that_wait)
{
    words = words_open();
    serve(NULL);
    pid_t pid = child(client_waits_for_what_never_comes);
    until_word(words, 1);
    until_asleep(pid);
    ASSERT_SYS(kill(shoal_manager_pid(manager), SIGKILL));
    ends_well(pid);
    done();
    words_close();
}

TEST(manager_shutdown_ends_calls_that_wait)
{
    words = words_open();
    serve(NULL);
    pid_t pid = child(client_waits_for_what_never_comes);
    until_word(words, 1);
    until_asleep(pid);
    done();
    ends_well(pid);
    words_close();
}

/* ---- deadlines ---- */

static shoal_lock *exported_lock;

static shoal_proxy *serve_a_lock(void)
{
    ASSERT_OK(shoal_lock_create(&exported_lock, NULL));
    ASSERT_OK(shoal_manager_create(&manager, NULL));
    ASSERT_OK(shoal_manager_export(manager, "lock", exported_lock));
    start();
    ASSERT_OK(shoal_manager_address(manager, &address));
    return get("lock", NULL);
}

static void is_given_back(void)
{
    ASSERT_EQ_INT(shoal_lock_acquire(exported_lock, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    ASSERT_OK(shoal_lock_release(exported_lock));
}

static void done_with_the_lock(shoal_proxy *lock)
{
    shoal_proxy_close(lock);
    done();
    shoal_lock_close(exported_lock);
}

TEST(manager_call_ends_at_its_deadline_and_what_the_thread_held_is_given_back)
{
    shoal_proxy *lock = serve_a_lock(), *queue = get("Queue", NULL);
    shoal_any *ret;
    returns(lock, "acquire", NULL, "True");
    ASSERT_ERR(shoal_proxy_call(queue, "get", NULL, NULL, shoal_after(0.05)), -ETIMEDOUT);
    is_given_back();
    returns(lock, "acquire", shoal_any_tuple(shoal_any_bool(false)), "True");
    returns(lock, "release", NULL, "None");
    returns(queue, "put", INT(5), "None");
    returns(queue, "get", NULL, "5");
    ASSERT_EQ_INT(shoal_proxy_call(queue, "get",
                                   shoal_any_tuple(shoal_any_bool(true), shoal_any_float(0.01)),
                                   &ret, SHOAL_FOREVER),
                  SHOAL_RAISED);
    shoal_any_free(ret);
    shoal_proxy_close(queue);
    done_with_the_lock(lock);
}

static void *take_in_a_thread(void *lock)
{
    returns(lock, "acquire", NULL, "True");
    return NULL;
}

TEST(manager_lock_of_a_thread_that_ends_is_given_back)
{
    pthread_t thread;
    shoal_proxy *lock = serve_a_lock();
    ASSERT_EQ_INT(pthread_create(&thread, NULL, take_in_a_thread, lock), 0);
    ASSERT_EQ_INT(pthread_join(thread, NULL), 0);
    is_given_back();
    done_with_the_lock(lock);
}

static void client_takes_the_lock_and_has_a_child(void)
{
    shoal_manager *m;
    shoal_proxy *p;
    ASSERT_OK(shoal_manager_connect(&m, &address, NULL, SHOAL_FOREVER));
    ASSERT_OK(shoal_manager_get(m, &p, "lock", NULL, NULL, SHOAL_FOREVER));
    ASSERT_OK(shoal_proxy_call(p, "acquire", NULL, NULL, SHOAL_FOREVER));
    if (!ASSERT_SYS(fork())) {
        atomic_store(words, getpid());
        for (;;)
            pause();
    }
    for (;;)
        pause();
}

/* The child has a copy of whatever its parent has open. */
TEST(manager_lock_of_a_killed_client_whose_child_lives_on_is_given_back)
{
    adopt_orphans();
    words = words_open();
    shoal_proxy *lock = serve_a_lock();
    pid_t pid = child(client_takes_the_lock_and_has_a_child);
    until_word(words, 1);
    kill_and_reap(pid);
    is_given_back();
    kill_and_reap((pid_t)atomic_load(words));
    done_with_the_lock(lock);
    words_close();
}

/* ---- limits ---- */

TEST(manager_refuses_more_objects_than_it_may_have)
{
    shoal_proxy *p[3], *more;
    serve(&(shoal_manager_options){.objects = 3});
    for (int i = 0; i < 3; i++)
        p[i] = get("list", NULL);
    ASSERT_TRUE(shoal_manager_get(manager, &more, "list", NULL, NULL, SHOAL_FOREVER) < 0);
    ASSERT_TRUE(strstr(shoal_error_detail(), "3 objects"));
    shoal_proxy_close(p[0]);
    p[0] = get("dict", NULL);
    for (int i = 0; i < 3; i++)
        shoal_proxy_close(p[i]);
    done();
}

TEST(manager_ends_a_connection_whose_message_is_too_long)
{
    char *text = calloc(1, 100001);
    serve(&(shoal_manager_options){.message = 100000});
    memset(text, 'x', 100000);
    shoal_proxy *p = get("list", NULL);
    returns(p, "append", INT(1), "None");
    ASSERT_ERR(shoal_proxy_call(p, "append", shoal_any_tuple(shoal_any_str(text)), NULL,
                                SHOAL_FOREVER),
               -EPIPE);
    text[90000] = 0;
    returns(p, "append", shoal_any_tuple(shoal_any_str(text)), "None");
    returns(p, "__len__", NULL, "2");
    shoal_proxy_close(p);
    free(text);
    done();
}

TEST(manager_refuses_more_waiting_calls_than_it_may_have)
{
    shoal_any *ret;
    words = words_open();
    serve(&(shoal_manager_options){.waiting = 1});
    pid_t pid = child(client_waits_for_what_never_comes);
    until_word(words, 1);
    until_asleep(pid);
    shoal_proxy *p = get("Queue", NULL);
    while (shoal_proxy_call(p, "get", NULL, &ret, shoal_after(0.05)) == -ETIMEDOUT)
        ; /* the other is not there yet */
    ASSERT_TRUE(strstr(shoal_error_detail(), "no thread"));
    shoal_any_free(ret);
    shoal_proxy_close(p);
    done();
    ends_well(pid);
    words_close();
}

/* A bare socket that has called. */
static int call(void)
{
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    strcpy(where.sun_path, address.path);
    int fd = (int)ASSERT_SYS(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_SYS(connect(fd, (struct sockaddr *)&where, sizeof where));
    return fd;
}

TEST(manager_drops_the_oldest_who_has_not_proved_the_key_for_who_comes)
{
    char bytes[100];
    int fds[8];
    serve(&(shoal_manager_options){.clients = 8});
    for (int i = 0; i < 8; i++)
        fds[i] = call();
    shoal_proxy *p = get("list", NULL);
    returns(p, "append", INT(1), "None");
    while (ASSERT_SYS(recv(fds[0], bytes, sizeof bytes, 0)))
        ;
    for (int i = 0; i < 8; i++)
        close(fds[i]);
    shoal_proxy_close(p);
    done();
}

TEST(manager_of_another_key_is_refused)
{
    shoal_manager *m;
    serve(NULL);
    ASSERT_ERR(shoal_manager_connect(&m, &address,
                                     &(shoal_manager_options){.authkey = "x", .authkey_size = 1},
                                     SHOAL_FOREVER),
               -EACCES);
    shoal_proxy *p = get("list", NULL);
    shoal_proxy_close(p);
    done();
}

/* ---- many ---- */

enum { MANY = 1000, THREADS = 50 };
static shoal_proxy *shared_list, *gate;

static void *one_client(void *unused)
{
    (void)unused;
    returns(shared_list, "append", INT(1), "None");
    atomic_fetch_add(words, 1);
    returns(gate, "wait", NULL, "True");
    returns(shared_list, "append", INT(2), "None");
    return NULL;
}

/* Of one process: each thread has a connection of its own, and is a client of its own. */
static void many_clients(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        ASSERT_EQ_INT(pthread_create(&threads[i], NULL, one_client, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        ASSERT_EQ_INT(pthread_join(threads[i], NULL), 0);
    shoal_proxy_close(shared_list);
    shoal_proxy_close(gate);
}

TEST_WITH_TIMEOUT(manager_serves_a_thousand_clients_at_once_all_of_which_wait, 300)
{
    pid_t pids[MANY / THREADS];
    words = words_open();
    serve(NULL);
    shared_list = get("list", NULL);
    gate = get("Event", NULL);
    for (int i = 0; i < MANY / THREADS; i++)
        pids[i] = child(many_clients);
    until_word(words, MANY);
    returns(shared_list, "__len__", NULL, "1000");
    returns(gate, "set", NULL, "None");
    for (int i = 0; i < MANY / THREADS; i++)
        ends_well(pids[i]);
    returns(shared_list, "__len__", NULL, "2000");
    shoal_proxy_close(shared_list);
    shoal_proxy_close(gate);
    done();
    words_close();
}

/* ---- in this process ---- */

static int doubled(void *object, shoal_call *call)
{
    int64_t n = 0;
    const shoal_any *a = shoal_call_argument(call, 0, "n");
    (void)object;
    if (!a || shoal_any_as_int(a, &n))
        return -EINVAL;
    if (n == 13)
        return shoal_call_raise(call, "LookupError", "thirteen");
    return shoal_call_return(call, shoal_any_int(2 * n));
}
static const shoal_method_entry doubler_methods[] = {{"of", doubled, 0},
                                                     {"waits", doubled, SHOAL_WAITS},
                                                     {NULL, NULL, 0}};
static const shoal_type doubler = {.name = "doubler", .methods = doubler_methods};

static void client_of_a_doubler(void)
{
    ASSERT_OK(shoal_manager_connect(&manager, &address, NULL, SHOAL_FOREVER));
    shoal_proxy *p = get("the doubler", NULL);
    returns(p, "of", INT(4), "8");
    returns(p, "waits", INT(5), "10");
    raises(p, "of", INT(13), "LookupError");
    raises(p, "of", NULL, "ValueError");
    shoal_any *ret = NULL;
    ASSERT_OK(shoal_proxy_call_named(p, "of", NULL,
                                     shoal_any_dict(shoal_any_str("n"), shoal_any_int(8)), &ret,
                                     SHOAL_FOREVER));
    int64_t n;
    ASSERT_OK(shoal_any_as_int(ret, &n));
    ASSERT_EQ_INT(n, 16);
    shoal_any_free(ret);
    shoal_proxy_close(p);
    ASSERT_OK(shoal_manager_shutdown(manager, SHOAL_FOREVER));
    shoal_manager_close(manager);
}

TEST(manager_serves_in_the_calling_thread)
{
    int64_t object = 0;
    ASSERT_OK(shoal_manager_create(&manager, NULL));
    ASSERT_OK(shoal_manager_export_type(manager, "the doubler", &doubler, &object));
    ASSERT_ERR(shoal_manager_register(manager, &doubler), -EINVAL);
    ASSERT_OK(shoal_manager_listen(manager));
    ASSERT_OK(shoal_manager_address(manager, &address));
    pid_t pid = child(client_of_a_doubler);
    ASSERT_EQ_INT(shoal_manager_serve_forever(manager), 0);
    ends_well(pid);
    shoal_manager_close(manager);
}
#endif
