/* A worker: claims units, and does them. units.c says what must hold of the order of its steps. */
#include "pool/worker.h"
#include "message/message.h"
#include "message/pickle.h"
#include "message/queue.h"
#include "pool/code.h"
#include "pool/pool.h"
#include <limits.h>
#include <shoal/queue.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { TEXT = 256 };
/* ns that a new worker looks for its first task before it sleeps: its parent may be about to fork the others */
#define FIRST_PATIENCE 200000
#define ROOM_FOR_RESULTS 1000000000 /* ns that a result waits for room in the region */

/* ---- what it knows ---- */

static struct self_worker {
    struct pool *q;
    unsigned me;
    uint32_t id; /* the pool's */
    shoal_queue *results;
    const void *codes[CODES]; /* found so far */
    void *state;
    bool begun; /* it has waited for something to do */
    /* a map's memory, and where results go: still held from the last unit */
    shoal_reference held[2];
} self_worker;

static _Thread_local char text[TEXT]; /* what shoal_task_fail said */

int shoal_worker_set_state(void *state)
{
    if (!self_worker.q)
        return fail(-EPERM, "shoal_worker_set_state: this is no worker of a pool");
    self_worker.state = state;
    return 0;
}

void *shoal_worker_state(void)
{
    return self_worker.state;
}

int shoal_task_fail(int error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    text[0] = 0;
    if (format)
        vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return error;
}

/* Holds the object until another takes its place, or the worker sleeps: what it writes to is nobody else's by then, even if its parent has
 * died and this process is about to. */
static void let_go(unsigned which)
{
    shoal_reference *held = &self_worker.held[which];
    if (held->family)
        object_unhold(held, header_at(held->id)->type);
    *held = (shoal_reference){0};
}

static int hold(unsigned which, uint32_t id, uint32_t generation)
{
    shoal_reference *held = &self_worker.held[which], now = {view.region->family, id, generation};
    if (likely(held->id == id && held->generation == generation && held->family))
        return 0;
    let_go(which);
    int rc = object_hold(&now, header_at(id)->type, "a worker's memory");
    if (!rc)
        *held = now;
    return rc;
}

/* ---- a task ---- */

struct shoal_task {
    unit_name name;
    const struct elsewhere *out; /* NULL: its result goes where there is room */
    const void *bytes;
    size_t size;
    void *argument; /* the message that it lies in, or NULL */
    bool is_any;
    shoal_any *any; /* decoded */
    /* what it gives back */
    _Alignas(16) unsigned char here[IN_UNIT];
    size_t given;
    void *message; /* NULL: it lies here, or in `out` */
    uint8_t flags;
    int error; /* of the last shoal_task_return… */
};

const void *shoal_task_bytes(shoal_task *task, size_t *size)
{
    if (!task) {
        fail_detail("shoal_task_bytes: no task (NULL)");
        return NULL;
    }
    if (size)
        *size = task->size;
    return task->bytes;
}

const shoal_any *shoal_task_any(shoal_task *task)
{
    if (!task || task->any)
        return task ? task->any : NULL;
    if (!task->is_any) {
        fail_detail("shoal_task_any: the task was given bytes");
        return NULL;
    }
    int rc = task->argument ? message_read_any(task->argument, &task->any)
                            : pickle_read(&task->any, task->bytes, task->size, NULL, NULL, 0);
    if (rc)
        fail_in(rc, "shoal_task_any");
    return rc ? NULL : task->any;
}

static void forget(struct shoal_task *task)
{
    if (task->message)
        object_close(task->message, TYPE_MESSAGE);
    task->message = NULL;
    task->given = 0;
    task->flags = 0;
    task->error = 0;
}

/* Room for the tag of a long result: the unit's name, in a key behind the bytes. */
static int make_long(struct shoal_task *task, const char *call, const shoal_any *any, size_t size,
                     struct pickle_objects *objects, unsigned char **bytes)
{
    struct place p;
    struct lanes *q = queue_of(self_worker.results, call, &p);
    if (!q)
        return bad_handle(self_worker.results, call);
    struct shortage shortage = shortage_of(q, &p, os_now() + ROOM_FOR_RESULTS);
    unsigned char *behind;
    int rc;
    if (any) {
        rc = message_encode(&task->message, any, sizeof task->name, &shortage, &behind);
    } else {
        size_t tag = sizeof task->name;
        rc = objects ? message_create_carrying(&task->message, size, tag, objects, &shortage, bytes)
                     : message_create(&task->message, size, tag, &shortage, bytes);
        behind = *bytes + size;
    }
    if (rc == -ETIMEDOUT)
        rc = fail(-ENOMEM, "%s: the region, or this worker's quota, has no room for %zu bytes",
                  call, size);
    if (!rc)
        memcpy(behind, &task->name, sizeof task->name);
    else
        task->message = NULL;
    return rc;
}

static int reserve(shoal_task *task, const char *call, void **ret, size_t size,
                   struct pickle_objects *objects)
{
    unsigned char *bytes;
    forget(task);
    if (task->out) {
        if (size > task->out->room)
            return task->error = fail(-EMSGSIZE, "%s: %zu bytes where there is room for %llu", call,
                                      size, (unsigned long long)task->out->room);
        *ret = view.heap + task->out->out;
        task->flags = UNIT_SHARED;
    } else if (size <= IN_UNIT && !objects) {
        *ret = task->here;
    } else {
        int rc = make_long(task, call, NULL, size, objects, &bytes);
        if (rc)
            return task->error = rc;
        task->flags = UNIT_MESSAGE;
        *ret = bytes;
    }
    task->given = size;
    return 0;
}

int shoal_task_reserve(shoal_task *task, void **ret, size_t size)
{
    if (!task || !ret)
        return fail(-EINVAL, "shoal_task_reserve: no %s (NULL)",
                    task ? "place for the address" : "task");
    return reserve(task, "shoal_task_reserve", ret, size, NULL);
}

int task_reserve_carrying(shoal_task *task, void **ret, size_t size, struct pickle_objects *objects)
{
    const char *call = "shoal_task_reserve";
    if (task->out)
        return task->error =
                   fail(-EINVAL, "%s: where its result goes, its options say, and there go bytes",
                        call);
    return reserve(task, call, ret, size, objects->count ? objects : NULL);
}

static bool in_message(const void *message, const void *address)
{
    const unsigned char *at = address, *bytes = message_bytes(message);
    return at >= bytes && at < bytes + message_size(message);
}

int shoal_task_return_bytes(shoal_task *task, const void *bytes, size_t size)
{
    void *to;
    if (!task || (!bytes && size))
        return fail(-EINVAL, "shoal_task_return_bytes: %s",
                    task ? "bytes at NULL" : "no task (NULL)");
    void *before = task->message; /* they may be a piece of what it has reserved */
    if (before && in_message(before, bytes))
        task->message = NULL;
    else
        before = NULL;
    int rc = reserve(task, "shoal_task_return_bytes", &to, size, NULL);
    if (!rc && size)
        memmove(to, bytes, size);
    if (before)
        object_close(before, TYPE_MESSAGE);
    return rc;
}

int shoal_task_return(shoal_task *task, const shoal_any *any)
{
    const char *call = "shoal_task_return";
    if (!task)
        return fail(-EINVAL, "%s: no task (NULL)", call);
    forget(task);
    int rc = any_may_travel(any, call);
    if (rc)
        return task->error = rc;
    if (task->out)
        return task->error =
                   fail(-EINVAL, "%s: where its result goes, its options say, and there go bytes",
                        call);
    size_t size;
    unsigned char *bytes = NULL;
    struct pickle_objects objects = {0};
    rc = pickle_measure(any, &size, &objects);
    if (!rc && (objects.count || size > IN_UNIT))
        rc = make_long(task, call, any, size, NULL, &bytes);
    else if (!rc)
        pickle_write(any, task->here);
    pickle_objects_free(&objects);
    if (rc)
        return task->error = rc;
    task->flags = UNIT_ANY | (task->message ? UNIT_MESSAGE : 0);
    task->given = size;
    return 0;
}

/* ---- doing ---- */

static const void *code_at(unsigned i)
{
    if (likely(self_worker.codes[i] != NULL))
        return self_worker.codes[i];
    if (i >= atomic_load(&self_worker.q->codes_count))
        return NULL;
    return self_worker.codes[i] = code_find(&self_worker.q->code[i]);
}

/* Puts a long result where the parent finds it by its tag: before the commit, so that it is there then. */
static int put_long(void **message)
{
    struct place p;
    struct lanes *q = queue_of(self_worker.results, "a worker", &p);
    int rc = q ? message_put(*message, q, &p, os_now() + ROOM_FOR_RESULTS)
               : bad_handle(self_worker.results, "a worker");
    if (!rc)
        *message = NULL;
    return rc;
}

/* Text as the unit's result; what is too long for it goes as a message, or, without room for that, is cut. */
static void give_text(struct shoal_task *task, const char *said)
{
    size_t size = strlen(said);
    void *to;
    if (size > IN_UNIT && reserve(task, "a worker", &to, size, NULL) == 0 && task->message) {
        memcpy(to, said, size);
        return;
    }
    forget(task);
    task->given = size < IN_UNIT ? size : IN_UNIT;
    memcpy(task->here, said, task->given);
}

/* What it came to: `value` is what the function returned, `error` what the pool has to say, if it is not 0. */
static void fill_in(struct work *w, struct shoal_task *task, int value, int error, const char *said)
{
    uint8_t failed = 0;
    task->out = NULL; /* text never goes there */
    if (value || error) {
        failed = UNIT_FAILED;
        forget(task);
        give_text(task, said);
    }
    if (task->message && put_long(&task->message)) {
        failed = UNIT_FAILED;
        if (!error && !value)
            error = -ENOMEM;
        give_text(task, "");
    }
    w->flags = task->flags | failed;
    w->n = task->message || task->flags & (UNIT_SHARED | UNIT_MESSAGE) ? 0 : (uint32_t)task->given;
    w->function = (uint16_t)-error;
    if (failed)
        w->first = (uint64_t)(int64_t)value;
    else
        w->first = task->given;
    if (!(task->flags & (UNIT_SHARED | UNIT_MESSAGE)))
        memcpy(w->bytes, task->here, task->given);
}

static void do_task(unit_name name, struct work *w, struct worker *line)
{
    struct elsewhere elsewhere = w->elsewhere;
    shoal_function function = (shoal_function)(uintptr_t)code_at(w->function);
    struct shoal_task task = {.name = name,
                              .bytes = w->bytes,
                              .size = w->n,
                              .is_any = w->flags & UNIT_ANY};
    _Alignas(16) unsigned char here[IN_UNIT];
    int value = 0, rc = 0;
    text[0] = 0;
    if (w->flags & UNIT_OUT) {
        task.out = &elsewhere;
        rc = hold(1, elsewhere.id, elsewhere.generation);
    }
    if (w->flags & UNIT_MESSAGE && !rc) {
        rc = message_open(&task.argument, (uint32_t)w->first, (uint32_t)(w->first >> 32));
        if (!rc) {
            task.bytes = message_bytes(task.argument);
            task.size = message_size(task.argument);
        }
    } else if (w->flags & UNIT_SHARED) {
        task.bytes = view.heap + w->first;
        task.size = elsewhere.size;
    } else { /* not where its result will be */
        memcpy(here, w->bytes, w->n);
        task.bytes = here;
    }
    if (!function && !rc)
        rc = fail(
            -ENOEXEC,
            "the worker does not know the function: it is in no file that was loaded there, and "
            "has no name there");
    /* Also if it is not called: from here on the unit may be half a result, and is not given again as it is. */
    if ((!MUTANT(260) || !rc) && !MUTANT(275))
        atomic_store_explicit(&line->item, 0, memory_order_relaxed);
    if (!rc) {
        value = function(&task);
        if (MUTANT(275))
            atomic_store_explicit(&line->item, 0, memory_order_relaxed);
        rc = value ? 0 : task.error;
    }
    fill_in(w, &task, value, rc, rc ? fail_sentence() : text);
    if (task.argument)
        object_close(task.argument, TYPE_MESSAGE);
    shoal_any_free(task.any);
}

/* Calls it for each item; the part says what failed. */
static void do_items(const struct job *job, const void *function, struct work *w,
                     struct worker *line, char *said)
{
    struct part *part = &w->part;
    unsigned char *out = view.heap + job->out.place + w->first * job->out.size;
    const unsigned char *in = view.heap + job->source[0].place + w->first * job->source[0].size;
    uint64_t out_step = job->out.size, in_step = job->source[0].size;
    shoal_item_function one = (shoal_item_function)(uintptr_t)function;
    shoal_star_function star = (shoal_star_function)(uintptr_t)function;
    unsigned n_sources = job->n_sources;
    for (uint64_t i = w->first, end = w->first + w->n; i < end; i++) {
        int value;
        atomic_store_explicit(&line->item, i, memory_order_relaxed);
        if (likely(!n_sources)) {
            value = one(in, out);
        } else {
            const void *all[SOURCES];
            for (unsigned k = 0; k < n_sources; k++)
                all[k] = view.heap + job->source[k].place + i * job->source[k].size;
            value = star(all, out);
        }
        in += in_step;
        out += out_step;
        if (likely(!value))
            continue;
        uint32_t many = (uint32_t)atomic_load_explicit(&part->failed, memory_order_relaxed);
        if (MUTANT(262))
            atomic_store(&part->failed, part_failed(i - w->first, many + 1));
        if (!many) {
            part->first_failed = i;
            part->error = value;
            memcpy(said, text, TEXT);
        }
        atomic_store_explicit(&part->failed, part_failed(i - w->first, many + 1),
                              memory_order_release);
        text[0] = 0;
    }
}

/* The job, which is held until a part of another; NULL: it could not be. */
static struct job *do_part(unit_name name, struct work *w, struct worker *line)
{
    struct shoal_task task = {.name = name};
    const void *function = code_at(w->function);
    char said[TEXT] = "";
    text[0] = 0;
    int rc = hold(0, w->part.id, w->part.generation);
    struct job *job = rc ? NULL : header_payload(header_at(w->part.id));
    if (!rc && job->id)
        rc = hold(1, job->id - 1, job->generation);
    if (!rc && !function)
        rc = fail(
            -ENOEXEC,
            "the worker does not know the function: it is in no file that was loaded there, and "
            "has no name there");
    if (rc) { /* none was called */
        atomic_store(&w->part.failed, part_failed(w->n - 1, w->n));
        w->part.first_failed = w->first;
        w->part.error = 0;
        memcpy(said, fail_sentence(), TEXT);
    } else {
        do_items(job, function, w, line, said);
    }
    w->function = (uint16_t)-rc;
    uint8_t flags = w->flags & (uint8_t)~UNIT_MESSAGE;
    if (said[0]) {
        said[TEXT - 1] = 0;
        size_t size = strlen(said);
        /* always as a message: the unit's bytes are the part's */
        unsigned char *bytes = NULL;
        if (!make_long(&task, "a worker", NULL, size, NULL, &bytes) && bytes) {
            memcpy(bytes, said, size);
            if (!put_long(&task.message))
                flags |= UNIT_MESSAGE;
        }
        forget(&task);
    }
    w->flags = flags;
    return job;
}

static _Noreturn void wait_for_the_end(void)
{
    for (;;)
        pause();
}

uint64_t worker_next_now(void)
{
    return units_claim(self_worker.q, self_worker.me);
}

void worker_do(uint64_t name)
{
    struct pool *q = self_worker.q;
    struct worker *line = &q->worker[self_worker.me];
    struct work *w = &unit_at(q, name)->work;
    bool limited = w->flags & UNIT_LIMITED, cares = w->flags & UNIT_CARE, wakes = true;
    struct job *job = NULL;
    uint64_t tasks = 1;
    if (limited) {
        atomic_store(&line->began, os_now());
        if (!MUTANT(285))
            wait_wake(&q->care, INT_MAX);
    }
    if (w->kind == UNIT_TASK) {
        do_task(name, w, line);
    } else {
        tasks = w->n;
        job = do_part(name, w, line);
    }
    if (limited)
        atomic_store(&line->began, 0);
    atomic_store_explicit(&line->tasks,
                          atomic_load_explicit(&line->tasks, memory_order_relaxed) + tasks,
                          memory_order_relaxed);
    if (job)
        wakes = false;
    if (!units_commit(q, self_worker.me, name, wakes, wakes && cares))
        wait_for_the_end();
    if (job && atomic_fetch_sub(&job->left, 1) <= 1 && !MUTANT(282)) {
        wait_wake(&q->done, INT_MAX);
        if (cares)
            wait_wake(&q->care, INT_MAX);
    }
}

/* ---- waiting ---- */

static bool closed(const struct pool *q)
{
    return atomic_load(&q->closed) & POOL_CLOSED;
}

/* Sleeps until there is something: which, or 0: there will be nothing more, or, unless that is NULL, a signal's handler ran. */
static unit_name sleep_for_unit(struct pool *q, bool *interrupted)
{
    struct waiter w;
    unit_name name = 0;
    for (unsigned i = 0; i < 2 && !MUTANT(270); i++)
        let_go(i);
    if (wait_begin(&w, self_worker.id))
        _exit(1); /* unreachable: only signal handlers nest so deep */
    for (;;) {
        uint32_t seen = wait_announce(&w, &q->work);
        name = units_claim(q, self_worker.me);
        if (name)
            break;
        if (closed(q)) { /* what was given is all there, and some of it perhaps since that look */
            name = units_claim(q, self_worker.me);
            break;
        }
        int rc = wait_park(&w, &q->work, seen, SHOAL_FOREVER);
        /* At once, as who gives units sets the bit for the others who sleep. */
        name = units_claim(q, self_worker.me);
        if (name)
            break;
        if (rc == -EINTR && interrupted) {
            *interrupted = true;
            break;
        }
    }
    wait_end(&w);
    return name;
}

uint64_t worker_next(bool *interrupted)
{
    struct pool *q = self_worker.q;
    struct worker *line = &q->worker[self_worker.me];
    unit_name name = units_claim(q, self_worker.me);
    if (likely(name))
        return name;
    int64_t idle_since = 0;
    struct spin s = spin_begin();
    if (!self_worker.begun && process_self.keep.yield)
        s.until = os_now() + FIRST_PATIENCE;
    self_worker.begun = true;
    while (!closed(q) && spin_once(&s)) {
        if (!idle_since && s.left <= 0) /* what is shorter is not counted */
            idle_since = os_now();
        if (units_waiting(q) && (name = units_claim(q, self_worker.me)))
            break;
    }
    if (!name)
        name = closed(q) ? units_claim(q, self_worker.me) : sleep_for_unit(q, interrupted);
    if (idle_since)
        atomic_store_explicit(&line->idle,
                              atomic_load_explicit(&line->idle, memory_order_relaxed) + os_now() -
                                  idle_since,
                              memory_order_relaxed);
    return name;
}

/* ---- its life ---- */

static void limit_memory(uint64_t bytes)
{
    unsigned long pages = 0;
    FILE *f = bytes ? fopen("/proc/self/statm", "re") : NULL;
    if (!f)
        return;
    int n = fscanf(f, "%lu", &pages);
    fclose(f);
    struct rlimit limit = {.rlim_max = RLIM_INFINITY};
    if (n != 1 || getrlimit(RLIMIT_AS, &limit))
        return;
    uint64_t most = pages * (uint64_t)sysconf(_SC_PAGESIZE) + bytes;
    if (most > bytes && most < limit.rlim_max)
        limit.rlim_cur = limit.rlim_max = most;
    setrlimit(RLIMIT_AS, &limit);
}

bool worker_begin(const struct worker_start *start)
{
    const shoal_pool_options *o = &start->options;
    shoal_pool *handle;
    let_go(0); /* it may have been forked by another pool's worker */
    let_go(1);
    self_worker = (struct self_worker){.q = NULL};
    os_signals_restore(&start->signals);
    /* Other tasks' arguments and results, and maps' memory: they would stay as long as the worker. */
    if (!MUTANT(269))
        object_close_inner();
    int rc = object_open((void **)&handle, TYPE_POOL, "a worker", &start->pool);
    if (rc)
        return false;
    pools_leave(handle);
    struct pool *q = header_payload(handle_of(handle)->header);
    rc = shoal_queue_open(&self_worker.results, &q->results);
    if (rc)
        return false;
    self_worker.q = q;
    self_worker.me = start->index;
    self_worker.id = (uint32_t)(handle_of(handle) - handles);
    struct worker *line = &q->worker[start->index];
    atomic_store(&line->since, os_now());
    limit_memory(o->memory_per_worker);
    if (o->initializer) {
        rc = o->initializer(o->argument);
        if (rc) {
            worker_ready(rc);
            return false;
        }
    }
    if (!start->later)
        worker_ready(0);
    return true;
}

void worker_ready(int refused)
{
    struct worker *line = &self_worker.q->worker[self_worker.me];
    atomic_store(&line->refused, refused);
    atomic_store(&line->state, refused ? WORKER_REFUSED : WORKER_READY);
}

bool worker_step(void)
{
    unit_name name = worker_next(NULL);
    if (name)
        worker_do(name);
    return name != 0;
}

void worker_end(const struct worker_start *start)
{
    if (start->options.finalizer)
        start->options.finalizer(start->options.argument);
    atomic_store(&self_worker.q->worker[self_worker.me].state, WORKER_RETIRED);
}

int worker_main(void *argument)
{
    const struct worker_start *start = argument;
    uint64_t most = start->options.tasks_per_worker;
    signal(SIGINT, SIG_IGN);
    if (!worker_begin(start))
        return 1;
    for (uint64_t done = 0; (!most || done < most) && worker_step(); done++)
        ;
    worker_end(start);
    return 0;
}
