/* A manager for programs in other languages (tests/python):
 *
 *     shoal-manager ADDRESS KEY     serves, prints `at ADDRESS`; ends by a shutdown, or when standard input does
 *
 * ADDRESS is /a/path, @an-abstract-name, or HOST:PORT. Beside the types that every manager has it exports get_jobs
 * (a queue), get_lock, get_event, get_counter (a value), a type of its own, Sum: add(n), total(), slow(seconds), fail(), and functions for
 * pools: total(...), pause(seconds), refuse(), die().
 */
#include <errno.h>
#include <poll.h>
#include <shoal/shoal.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static shoal_address parse(char *text)
{
    shoal_address a = {0};
    char *colon = strrchr(text, ':');
    if (text[0] == '/') {
        a.path = text;
    } else if (text[0] == '@') {
        a.path_size = strlen(text);
        text[0] = 0;
        a.path = text;
    } else if (colon) {
        *colon = 0;
        a.host = text;
        a.port = (unsigned)atoi(colon + 1);
    }
    return a;
}

static int must(int rc, const char *what)
{
    if (rc < 0) {
        printf("%s: %d %s\n", what, rc, shoal_error_detail());
        exit(1);
    }
    return rc;
}

/* ---- a type of its own ---- */

static int sum_create(void **ret, shoal_call *call, void *argument)
{
    int64_t *sum = calloc(1, sizeof *sum);
    const shoal_any *first = shoal_call_argument(call, 0, "start");
    (void)argument;
    if (sum && first && shoal_any_as_int(first, sum)) {
        free(sum);
        return shoal_call_raise(call, "TypeError", "start must be an int");
    }
    *ret = sum;
    return sum ? 0 : -12;
}

static int sum_add(void *object, shoal_call *call)
{
    int64_t *sum = object, n;
    const shoal_any *a = shoal_call_argument(call, 0, "n");
    if (!a || shoal_any_as_int(a, &n))
        return shoal_call_raise(call, "TypeError", "add takes an int");
    *sum += n;
    return 0;
}

static int sum_total(void *object, shoal_call *call)
{
    return shoal_call_return(call, shoal_any_int(*(int64_t *)object));
}

static int sum_slow(void *object, shoal_call *call)
{
    double seconds = 0;
    const shoal_any *a = shoal_call_argument(call, 0, NULL);
    if (a)
        shoal_any_as_float(a, &seconds);
    poll(NULL, 0, (int)(seconds * 1000));
    return sum_total(object, call);
}

static int sum_fail(void *object, shoal_call *call)
{
    int64_t n;
    (void)object;
    (void)call;
    return shoal_any_as_int(NULL, &n);
}

static const shoal_method_entry sum_methods[] = {
    {"add", sum_add, 0},   {"total", sum_total, 0}, {"slow", sum_slow, SHOAL_WAITS},
    {"fail", sum_fail, 0}, {NULL, NULL, 0},
};
static const shoal_type sum_type = {.name = "Sum",
                                    .create = sum_create,
                                    .destroy = free,
                                    .methods = sum_methods};

/* ---- functions for pools ---- */

static int total(shoal_task *task)
{
    const shoal_any *args = shoal_task_any(task), *one;
    int64_t sum = 0, n;
    for (int64_t i = 0; i < shoal_any_count(args); i++) {
        if (shoal_any_at(args, i, &one) || shoal_any_as_int(one, &n))
            return shoal_task_fail(-EINVAL, "total takes ints");
        sum += n;
    }
    shoal_any *any = shoal_any_int(sum);
    int rc = shoal_task_return(task, any);
    shoal_any_free(any);
    return rc;
}

static int pause_for(shoal_task *task)
{
    const shoal_any *one;
    double seconds = 0;
    if (!shoal_any_at(shoal_task_any(task), 0, &one))
        shoal_any_as_float(one, &seconds);
    poll(NULL, 0, (int)(seconds * 1000));
    return 0;
}

static int refuse(shoal_task *task)
{
    (void)task;
    return shoal_task_fail(-ENOENT, "it is refused");
}

static int die(shoal_task *task)
{
    (void)task;
    return raise(SIGKILL);
}

int main(int argc, char **argv)
{
    shoal_manager *m;
    shoal_queue *jobs;
    shoal_lock *lock;
    shoal_event *event;
    shoal_value *counter;
    if (argc != 3)
        return 2;
    shoal_address where = parse(argv[1]), at;
    shoal_manager_options options = {.address = &where,
                                     .authkey = argv[2],
                                     .authkey_size = strlen(argv[2]),
                                     .handshake = 2};
    must(shoal_queue_create(&jobs, NULL), "queue");
    must(shoal_lock_create(&lock, NULL), "lock");
    must(shoal_event_create(&event, NULL), "event");
    must(shoal_value_create(&counter, 'i', NULL, 0, NULL), "value");
    must(shoal_manager_create(&m, &options), "create");
    must(shoal_manager_export(m, "get_jobs", jobs), "export");
    must(shoal_manager_export(m, "get_lock", lock), "export");
    must(shoal_manager_export(m, "get_event", event), "export");
    must(shoal_manager_export(m, "get_counter", counter), "export");
    must(shoal_manager_register(m, &sum_type), "register");
    must(shoal_manager_register_function(m, "total", total), "function");
    must(shoal_manager_register_function(m, "pause", pause_for), "function");
    must(shoal_manager_register_function(m, "refuse", refuse), "function");
    must(shoal_manager_register_function(m, "die", die), "function");
    must(shoal_manager_start(m), "start");
    must(shoal_manager_address(m, &at), "address");
    if (at.host)
        printf("at %s:%u\n", at.host, at.port);
    else if (!at.path[0])
        printf("at @%.*s\n", (int)at.path_size - 1, at.path + 1);
    else
        printf("at %s\n", at.path);
    fflush(stdout);
    struct pollfd ends = {.fd = 0, .events = POLLIN};
    while (poll(&ends, 1, 50) == 0 && !kill(shoal_manager_pid(m), 0))
        ;
    printf("end %d\n", shoal_manager_shutdown(m, shoal_after(10)));
    shoal_manager_close(m);
    shoal_queue_close(jobs);
    shoal_lock_close(lock);
    shoal_event_close(event);
    shoal_value_close(counter);
    return 0;
}
