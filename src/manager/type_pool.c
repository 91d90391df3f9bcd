/* Pools as Python's multiprocessing.pool.Pool. What a client cannot send is a function: that would be code. It names one of those that the
 * program has registered with the manager, as a str. Such a function is given the tuple of its arguments, as an any.
 *
 * The pool is the server's own, and its workers are its children; they close what they inherit of the server's sockets, since a client learns by
 * the end of a connection that its server is gone. A map is as many tasks as it has items. What a client waits for in vain, as it is gone,
 * is cancelled; results that it has given up are not, as in Python.
 */
#include "manager/type.h"
#include "message/any.h"
#include "message/construct.h"
#include <dirent.h>
#include <shoal/pool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_ITEMS = 1 << 20 };

/* A pool; what is given to it holds it too. */
struct served {
    shoal_pool *pool;
    _Atomic unsigned refs;
    struct address server; /* where that listens */
};

/* What was given at once: a task, or as many as a map has items. */
struct given {
    struct served *served;
    bool single;
    bool unordered;
    struct os_mutex mutex; /* of `next` and `taken` */
    size_t next;           /* of an iterator */
    bool *taken;
    size_t n;
    shoal_result *of[];
};

/* ---- pools ---- */

static struct address address_of(int fd)
{
    struct address a = {.size = sizeof a.room};
    if (getsockname(fd, &a.any, &a.size))
        a.size = 0;
    return a;
}

static bool is_servers(const struct served *p, int fd)
{
    struct address a = address_of(fd);
    if (!a.size || a.any.sa_family != p->server.any.sa_family)
        return false;
    switch (a.any.sa_family) {
    case AF_INET: return a.ip4.sin_port == p->server.ip4.sin_port;
    case AF_INET6: return a.ip6.sin6_port == p->server.ip6.sin6_port;
    default: return a.size == p->server.size && !memcmp(&a.any, &p->server.any, a.size);
    }
}

/* In a worker: connections that have been accepted have the listener's address. */
static int close_servers(void *argument)
{
    DIR *all = opendir("/proc/self/fd");
    const struct dirent *one;
    while (all && (one = readdir(all))) {
        int fd = atoi(one->d_name);
        if (fd > 2 && fd != dirfd(all) && is_servers(argument, fd))
            close(fd);
    }
    for (int fd = 3; !all && fd < 4096; fd++)
        if (is_servers(argument, fd))
            close(fd);
    if (all)
        closedir(all);
    return 0;
}

static bool is_none(const shoal_any *a)
{
    return !a || a->kind == SHOAL_ANY_NONE;
}

static int pool_create(void **ret, shoal_call *call)
{
    const shoal_any *processes = shoal_call_argument(call, 0, "processes");
    const shoal_any *tasks = shoal_call_argument(call, 3, "maxtasksperchild");
    int64_t workers = 0, each = 0;
    int rc = call->server->n_functions
                 ? 0
                 : shoal_call_raise(call, "ValueError", "the server has no functions for pools");
    if (!rc && !is_none(processes))
        rc = call_int(call, 0, "processes", 0, &workers);
    if (!rc && !is_none(tasks))
        rc = call_int(call, 3, "maxtasksperchild", 0, &each);
    if (!rc && !is_none(shoal_call_argument(call, 1, "initializer")))
        rc =
            shoal_call_raise(call, "TypeError", "an initializer is a function, and cannot be sent");
    if (!rc && ((!is_none(processes) && workers < 1) || workers > SHOAL_POOL_WORKERS ||
                (!is_none(tasks) && each < 1)))
        rc = call_raisef(call, "ValueError", "1 to %d processes, and 1 task or more for each",
                         SHOAL_POOL_WORKERS);
    if (rc)
        return rc;
    struct served *p = calloc(1, sizeof *p);
    if (!p)
        return fail(-ENOMEM, "no memory for a pool");
    p->refs = 1;
    p->server = address_of(shoal_listener_fileno(call->server->listener));
    shoal_pool_options options = {.workers = (int)workers,
                                  .tasks_per_worker = (uint64_t)each,
                                  .initializer = close_servers,
                                  .argument = p};
    rc = shoal_pool_create(&p->pool, &options);
    if (rc)
        free(p);
    else
        *ret = p;
    return rc;
}

static void unserve(struct served *p)
{
    if (atomic_fetch_sub(&p->refs, 1) > 1)
        return;
    shoal_pool_free(p->pool);
    free(p);
}

static void pool_destroy(void *object)
{
    unserve(object);
}

/* ---- giving ---- */

static void given_free(struct given *g, bool cancel)
{
    for (size_t i = 0; i < g->n; i++) {
        if (cancel)
            shoal_result_cancel(g->of[i]);
        shoal_result_free(g->of[i]);
    }
    unserve(g->served);
    free(g->taken);
    free(g);
}

static int function_of(shoal_call *call, shoal_function *ret)
{
    const shoal_any *name = shoal_call_argument(call, 0, "func");
    const char *text;
    if (!name || shoal_any_as_str(name, &text, NULL))
        return call_raisef(
            call, "TypeError",
            "a function is named by a str, as the server has registered it, not by %s",
            name ? any_kind_name(name) : "nothing");
    for (unsigned i = 0; i < call->server->n_functions; i++)
        if (!strcmp(call->server->functions[i].name, text)) {
            *ret = call->server->functions[i].function;
            return 0;
        }
    return call_raisef(call, "ValueError", "no function '%.60s' is registered with the server",
                       text);
}

/* What the function is given: a tuple. NULL, with a sentence: it is none. */
static shoal_any *arguments(shoal_any *item, bool star)
{
    if (!item || !star)
        return shoal_any_tuple(item);
    if (item->kind == SHOAL_ANY_TUPLE)
        return item;
    if (item->kind != SHOAL_ANY_LIST) {
        fail_detail("%s is not a tuple of arguments", any_kind_name(item));
        shoal_any_free(item);
        return NULL;
    }
    size_t n = item->items->count;
    shoal_any **all = calloc(n + 1, sizeof(shoal_any *));
    for (size_t i = 0; all && i < n; i++)
        all[i] = shoal_any_copy(&item->items->at[i]);
    shoal_any *made = all ? shoal_any_tuple_from(all, n) : NULL;
    free(all);
    shoal_any_free(item);
    return made;
}

enum { ONE, EACH, STAR };

/* Gives a task, or one for each item. */
static int give(struct served *p, shoal_call *call, int kind, struct given **ret)
{
    shoal_function function = NULL;
    const shoal_any *args = shoal_call_argument(call, 1, kind == ONE ? "args" : "iterable");
    const shoal_any *kwds = kind == ONE ? shoal_call_argument(call, 2, "kwds") : NULL;
    struct any_items nothing = {0};
    const shoal_any none = node_of_items(SHOAL_ANY_TUPLE, &nothing);
    int rc = function_of(call, &function);
    if (!rc && kwds && any_is_true(kwds))
        rc = shoal_call_raise(call, "TypeError",
                              "a function of the server's takes no named arguments");
    if (!rc && (!is_none(shoal_call_argument(call, 3, "callback")) ||
                !is_none(shoal_call_argument(call, 4, "error_callback"))))
        rc = shoal_call_raise(call, "TypeError", "a callback is a function, and cannot be sent");
    if (!args && kind == ONE)
        args = &none;
    int64_t n = args ? iterable_count(args) : -1;
    if (!rc && (n < 0 || n > MOST_ITEMS))
        rc = call_raisef(call, "TypeError", "%s where %d items at most can be iterated over",
                         args ? any_kind_name(args) : "nothing", MOST_ITEMS);
    if (rc)
        return rc;
    if (kind == ONE)
        n = 1;
    struct given *g = calloc(1, sizeof *g + (size_t)n * sizeof(shoal_result *));
    if (!g)
        return fail(-ENOMEM, "no memory for %lld tasks", (long long)n);
    g->served = p;
    g->single = kind == ONE;
    atomic_fetch_add(&p->refs, 1);
    for (int64_t i = 0; i < n && !rc; i++) {
        shoal_any *one =
            arguments(kind == ONE ? shoal_any_copy(args) : iterable_at(args, i), kind != EACH);
        rc = one ? shoal_pool_apply_async_any(p->pool, &g->of[i], function, one, NULL) : -EINVAL;
        shoal_any_free(one);
        g->n += !rc;
    }
    if (rc) {
        given_free(g, true);
        return rc == -EPIPE || rc == -ECANCELED
                   ? shoal_call_raise(call, "ValueError", "Pool not running")
                   : rc;
    }
    *ret = g;
    return 0;
}

/* ---- results ---- */

static int wait_all(const struct given *g, int64_t deadline)
{
    int rc = 0;
    for (size_t i = 0; i < g->n && !rc; i++)
        rc = shoal_result_wait(g->of[i], deadline);
    return rc;
}

/* What one that is ready came to: an any of the caller's, or the error that it returned, with its sentence. */
static int take(shoal_result *result, shoal_any **ret)
{
    const void *bytes;
    const shoal_any *any;
    size_t size;
    shoal_failure f;
    int rc = shoal_result_get(result, &bytes, &size, SHOAL_NOW);
    if (!rc) {
        if (!size)
            *ret = shoal_any_none();
        else if (!shoal_result_get_any(result, &any, SHOAL_NOW))
            *ret = shoal_any_copy(any);
        else
            *ret = shoal_any_bytes(bytes, size);
        return *ret ? 0 : -ENOMEM;
    }
    if (shoal_result_failure(result, &f))
        return rc;
    /* What it returned tells which exception it is, but for what would mean something else here. */
    bool its = f.error == -EREMOTEIO && f.value < 0 && f.value >= -4095 && f.value != -EAGAIN &&
               f.value != -ETIMEDOUT && f.value != -EINTR;
    return fail(its ? f.value : -EREMOTEIO, "%s", f.text);
}

static int collect(shoal_call *call, const struct given *g)
{
    shoal_any *any = NULL;
    if (g->single) {
        int rc = take(g->of[0], &any);
        return rc ? rc : shoal_call_return(call, any);
    }
    shoal_any *list = shoal_any_list_from(NULL, 0);
    int rc = list ? 0 : -ENOMEM;
    for (size_t i = 0; i < g->n && !rc; i++) {
        rc = take(g->of[i], &any);
        if (!rc)
            rc = shoal_any_append(list, any);
    }
    if (!rc)
        return shoal_call_return(call, list);
    shoal_any_free(list);
    return rc;
}

/* Gives and waits, in a thread. */
static int do_now(void *object, shoal_call *call, int kind)
{
    struct given *g = NULL;
    int rc = give(object, call, kind, &g);
    if (!g)
        return rc;
    while ((rc = wait_all(g, SHOAL_FOREVER)) == -EINTR && !shoal_call_is_gone(call))
        ;
    if (!rc)
        rc = collect(call, g);
    given_free(g, shoal_call_is_gone(call));
    return rc;
}

static int pool_apply(void *object, shoal_call *call)
{
    return do_now(object, call, ONE);
}
static int pool_map(void *object, shoal_call *call)
{
    return do_now(object, call, EACH);
}
static int pool_starmap(void *object, shoal_call *call)
{
    return do_now(object, call, STAR);
}

/* Gives, and returns what is told of it: an object of its own. */
static int do_later(void *object, shoal_call *call, int kind, bool unordered)
{
    struct given *g = NULL;
    int rc = give(object, call, kind, &g);
    if (g) {
        g->unordered = unordered;
        call->made = g;
    }
    return rc;
}

static int pool_apply_async(void *object, shoal_call *call)
{
    return do_later(object, call, ONE, false);
}
static int pool_map_async(void *object, shoal_call *call)
{
    return do_later(object, call, EACH, false);
}
static int pool_starmap_async(void *object, shoal_call *call)
{
    return do_later(object, call, STAR, false);
}
static int pool_imap(void *object, shoal_call *call)
{
    return do_later(object, call, EACH, false);
}
static int pool_imap_unordered(void *object, shoal_call *call)
{
    return do_later(object, call, EACH, true);
}

static int pool_close(void *object, shoal_call *call)
{
    (void)call;
    return shoal_pool_close(((struct served *)object)->pool);
}

static int pool_terminate(void *object, shoal_call *call)
{
    (void)call;
    return shoal_pool_terminate(((struct served *)object)->pool);
}

static int pool_join(void *object, shoal_call *call)
{
    int rc = shoal_pool_join(((struct served *)object)->pool, SHOAL_FOREVER);
    return rc == -EBUSY ? shoal_call_raise(call, "ValueError", "Pool is still running") : rc;
}

static const struct method pool_methods[] = {
    {"apply", pool_apply, METHOD_WAITS, NULL},
    {"apply_async", pool_apply_async, 0, &async_result_type},
    {"close", pool_close, 0, NULL},
    {"imap", pool_imap, 0, &pool_iterator_type},
    {"imap_unordered", pool_imap_unordered, 0, &pool_iterator_type},
    {"join", pool_join, METHOD_WAITS, NULL},
    {"map", pool_map, METHOD_WAITS, NULL},
    {"map_async", pool_map_async, 0, &async_result_type},
    {"starmap", pool_starmap, METHOD_WAITS, NULL},
    {"starmap_async", pool_starmap_async, 0, &async_result_type},
    {"terminate", pool_terminate, METHOD_WAITS, NULL},
    {NULL, NULL, 0, NULL},
};
const struct manager_type pool_type = {.name = "Pool",
                                       .proxy = "multiprocessing.PoolProxy",
                                       .create = pool_create,
                                       .destroy = pool_destroy,
                                       .methods = pool_methods};

/* ---- what is told of tasks ---- */

static int given_create(void **ret, shoal_call *call)
{
    *ret = call->made;
    call->made = NULL;
    return *ret ? 0 : -EINVAL; /* it is nothing that a client could make */
}

static void given_destroy(void *object)
{
    given_free(object, false);
}

static int result_get(void *object, shoal_call *call)
{
    int64_t deadline = 0;
    int rc = call_deadline(call, NULL, shoal_call_argument(call, 0, "timeout"), &deadline);
    if (!rc)
        rc = wait_all(object, deadline);
    if (call_would_wait(call, rc))
        return rc;
    if (rc == -EAGAIN || rc == -ETIMEDOUT)
        return shoal_call_raise(call, "multiprocessing.TimeoutError", NULL);
    return rc ? rc : collect(call, object);
}

static int result_wait(void *object, shoal_call *call)
{
    int64_t deadline = 0;
    int rc = call_deadline(call, NULL, shoal_call_argument(call, 0, "timeout"), &deadline);
    if (!rc)
        rc = wait_all(object, deadline);
    return (rc == -EAGAIN && !call_would_wait(call, rc)) || rc == -ETIMEDOUT ? 0 : rc;
}

static bool are_ready(const struct given *g)
{
    bool ready = true;
    for (size_t i = 0; i < g->n && ready; i++)
        ready = shoal_result_ready(g->of[i]) > 0;
    return ready;
}

static int result_ready(void *object, shoal_call *call)
{
    return call_return_bool(call, are_ready(object));
}

static int result_successful(void *object, shoal_call *call)
{
    const struct given *g = object;
    bool all = true;
    if (!are_ready(g))
        return shoal_call_raise(call, "ValueError", "it is not ready");
    for (size_t i = 0; i < g->n && all; i++)
        all = shoal_result_successful(g->of[i]) > 0;
    return call_return_bool(call, all);
}

static const struct method result_methods[] = {
    {"get", result_get, METHOD_TRIES, NULL},
    {"ready", result_ready, 0, NULL},
    {"successful", result_successful, 0, NULL},
    {"wait", result_wait, METHOD_TRIES, NULL},
    {NULL, NULL, 0, NULL},
};
const struct manager_type async_result_type = {.name = "AsyncResult",
                                               .create = given_create,
                                               .destroy = given_destroy,
                                               .methods = result_methods};

/* Which result comes next; n: there is none any more. Unordered: one that is ready, if there is one. */
static size_t next_of(const struct given *g)
{
    size_t first = g->n;
    for (size_t i = g->n; i-- > g->next;)
        if (!g->taken[i])
            first = i;
    for (size_t i = first; g->unordered && i < g->n; i++)
        if (!g->taken[i] && shoal_result_ready(g->of[i]) > 0)
            return i;
    return first;
}

/* Several may call it at the same time: whoever has waited looks again which comes next. */
static int iterator_next(void *object, shoal_call *call)
{
    struct given *g = object;
    shoal_any *any = NULL;
    int64_t deadline = 0;
    int rc = call_deadline(call, NULL, shoal_call_argument(call, 0, "timeout"), &deadline);
    while (!rc) {
        os_mutex_lock(&g->mutex);
        if (!g->taken)
            g->taken = calloc(g->n + 1, sizeof *g->taken);
        size_t i = g->taken ? next_of(g) : 0;
        bool ready = g->taken && i < g->n && shoal_result_ready(g->of[i]) > 0;
        if (ready) {
            g->taken[i] = true;
            while (g->next < g->n && g->taken[g->next])
                g->next++;
        }
        os_mutex_unlock(&g->mutex);
        if (!g->taken)
            return fail(-ENOMEM, "no memory for an iterator");
        if (i == g->n)
            return shoal_call_raise(call, "StopIteration", NULL);
        if (ready) {
            rc = take(g->of[i], &any);
            return rc ? rc : shoal_call_return(call, any);
        }
        rc = shoal_result_wait(g->of[i], deadline);
    }
    if (call_would_wait(call, rc))
        return rc;
    return rc == -EAGAIN || rc == -ETIMEDOUT
               ? shoal_call_raise(call, "multiprocessing.TimeoutError", NULL)
               : rc;
}

static const struct method pool_iterator_methods[] = {
    {"__next__", iterator_next, METHOD_TRIES, NULL},
    {"next", iterator_next, METHOD_TRIES, NULL},
    {NULL, NULL, 0, NULL},
};
const struct manager_type pool_iterator_type = {.name = "Iterator",
                                                .create = given_create,
                                                .destroy = given_destroy,
                                                .methods = pool_iterator_methods};
