/* Queues as Python's queue.Queue. What a client puts is decoded once, to be checked, and encoded again. */
#include "manager/type.h"
#include "message/any.h"

static int queue_create(void **ret, shoal_call *call)
{
    int64_t maxsize = 0;
    int rc = call_int(call, 0, "maxsize", 0, &maxsize);
    shoal_queue_options options = {.maxsize = maxsize > 0 ? (uint64_t)maxsize : 0};
    return rc ? rc : shoal_queue_create((shoal_queue **)ret, &options);
}

static void queue_destroy(void *object)
{
    shoal_queue_close(object);
}

TYPE_OPEN(queue)

static int deadline_from(shoal_call *call, unsigned at, int64_t *ret)
{
    const shoal_any *block = shoal_call_argument(call, at, "block");
    const shoal_any *timeout = shoal_call_argument(call, at + 1, "timeout");
    double seconds;
    if ((!block || any_is_true(block)) && timeout && !shoal_any_as_float(timeout, &seconds) &&
        seconds < 0)
        return shoal_call_raise(call, "ValueError", "'timeout' must be a non-negative number");
    return call_deadline(call, block, timeout, ret);
}

/* What a put or get that failed raises. */
static int failed(shoal_call *call, int rc, const char *in_vain)
{
    if (call_would_wait(call, rc))
        return rc;
    if (rc == -EAGAIN || rc == -ETIMEDOUT)
        return shoal_call_raise(call, in_vain, NULL);
    if (rc == -EPIPE) /* what those before 3.13 know */
        return shoal_call_raise(call, in_vain, "the queue was shut down");
    return rc;
}

static int put(void *object, shoal_call *call, int64_t deadline)
{
    const shoal_any *item = shoal_call_argument(call, 0, "item");
    if (!item)
        return shoal_call_raise(call, "TypeError", "put() missing 1 required argument: 'item'");
    int rc = shoal_queue_put(object, item, deadline);
    return rc < 0 ? failed(call, rc, "queue.Full") : 0;
}

static int queue_put_(void *object, shoal_call *call)
{
    int64_t deadline = 0;
    int rc = deadline_from(call, 1, &deadline);
    return rc ? rc : put(object, call, deadline);
}

static int queue_put_nowait(void *object, shoal_call *call)
{
    return put(object, call, SHOAL_NOW);
}

static int get(void *object, shoal_call *call, int64_t deadline)
{
    shoal_any *item;
    int rc = shoal_queue_get(object, &item, deadline);
    return rc < 0 ? failed(call, rc, "queue.Empty") : shoal_call_return(call, item);
}

static int queue_get_(void *object, shoal_call *call)
{
    int64_t deadline = 0;
    int rc = deadline_from(call, 0, &deadline);
    return rc ? rc : get(object, call, deadline);
}

static int queue_get_nowait(void *object, shoal_call *call)
{
    return get(object, call, SHOAL_NOW);
}

static int queue_qsize(void *object, shoal_call *call)
{
    return call_return_int(call, shoal_queue_qsize(object));
}

static int queue_empty(void *object, shoal_call *call)
{
    return call_return_bool(call, shoal_queue_empty(object));
}

static int queue_full(void *object, shoal_call *call)
{
    return call_return_bool(call, shoal_queue_full(object));
}

static int queue_task_done(void *object, shoal_call *call)
{
    int rc = shoal_queue_task_done(object);
    return rc == -EINVAL ? shoal_call_raise(call, "ValueError", "task_done() called too many times")
                         : rc;
}

static int queue_join(void *object, shoal_call *call)
{
    int64_t deadline = 0;
    int rc = call_deadline(call, NULL, NULL, &deadline);
    return rc ? rc : shoal_queue_join(object, deadline);
}

static int queue_shutdown(void *object, shoal_call *call)
{
    const shoal_any *at_once = shoal_call_argument(call, 0, "immediate");
    return shoal_queue_shutdown(object, at_once && any_is_true(at_once));
}

static const struct method queue_methods[] = {
    {"empty", queue_empty, 0, NULL},
    {"full", queue_full, 0, NULL},
    {"get", queue_get_, METHOD_TRIES, NULL},
    {"get_nowait", queue_get_nowait, 0, NULL},
    {"join", queue_join, METHOD_TRIES, NULL},
    {"put", queue_put_, METHOD_TRIES, NULL},
    {"put_nowait", queue_put_nowait, 0, NULL},
    {"qsize", queue_qsize, 0, NULL},
    {"shutdown", queue_shutdown, 0, NULL},
    {"task_done", queue_task_done, 0, NULL},
    {NULL, NULL, 0, NULL},
};
const struct manager_type queue_type = {.name = "Queue",
                                        .type = TYPE_QUEUE,
                                        .create = queue_create,
                                        .destroy = queue_destroy,
                                        .methods = queue_methods,
                                        .open = queue_open,
                                        .reopen = queue_reopen};
const struct manager_type joinable_queue_type = {.name = "JoinableQueue",
                                                 .type = TYPE_QUEUE,
                                                 .create = queue_create,
                                                 .destroy = queue_destroy,
                                                 .methods = queue_methods};
