/* manager.c - a manager for Python programs that have nothing but their standard library: they put jobs into
 * a queue that C processes work at, and use a type of this program's. manager_client.py is one. */
#include "check.h"
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>

static const char key[] = "secret password";

/* ---- a type of one's own: a running mean ---- */

struct mean {
    double sum;
    int64_t n;
};

static int mean_create(void **ret, shoal_call *call, void *argument)
{
    (void)call, (void)argument;
    *ret = calloc(1, sizeof(struct mean));
    return *ret ? 0 : -12; /* -ENOMEM */
}

static int mean_add(void *object, shoal_call *call)
{
    struct mean *mean = object;
    const shoal_any *value = shoal_call_argument(call, 0, "value");
    double number;
    if (!value || shoal_any_as_float(value, &number))
        return shoal_call_raise(call, "TypeError", "add takes a number");
    mean->sum += number;
    mean->n++;
    return 0;
}

static int mean_get(void *object, shoal_call *call)
{
    const struct mean *mean = object;
    if (!mean->n)
        return shoal_call_raise(call, "ZeroDivisionError", "the mean of nothing");
    return shoal_call_return(call, shoal_any_float(mean->sum / (double)mean->n));
}

static const shoal_method_entry mean_methods[] = {{"add", mean_add, 0},
                                                  {"get", mean_get, 0},
                                                  {NULL, NULL, 0}};
static const shoal_type mean_type = {.name = "Mean",
                                     .create = mean_create,
                                     .destroy = free,
                                     .methods = mean_methods};

/* ---- queues that this family works with, and others by the manager ---- */

static shoal_queue *jobs, *results;

static int square(void *unused)
{
    shoal_any *job;
    int64_t n;
    (void)unused;
    while (!shoal_queue_get(jobs, &job, SHOAL_FOREVER)) {
        shoal_any *result = shoal_any_as_int(job, &n) ? shoal_any_none() : shoal_any_int(n * n);
        check(shoal_queue_put(results, result, SHOAL_FOREVER));
        shoal_any_free(result);
        shoal_any_free(job);
    }
    return 0;
}

int main(void)
{
    shoal_manager *manager;
    shoal_process *worker;
    shoal_address address;
    shoal_manager_options options = {.authkey = key, .authkey_size = sizeof key - 1};

    check(shoal_queue_create(&jobs, NULL));
    check(shoal_queue_create(&results, NULL));
    check(shoal_process_start(&worker, square, NULL, NULL));

    check(shoal_manager_create(&manager, &options));
    check(shoal_manager_export(manager, "get_jobs", jobs));
    check(shoal_manager_export(manager, "get_results", results));
    check(shoal_manager_register(manager, &mean_type));
    check(shoal_manager_listen(manager));
    check(shoal_manager_address(manager, &address));
    printf("serving at %s\n", address.path);
    fflush(stdout);
    check(shoal_manager_serve_forever(manager)); /* until a client says so */

    check(shoal_queue_shutdown(jobs, 0));
    check(shoal_process_join(worker, SHOAL_FOREVER));
    check(shoal_process_close(worker));
    shoal_manager_close(manager);
    shoal_queue_close(jobs);
    shoal_queue_close(results);
    puts("done");
    return 0;
}
