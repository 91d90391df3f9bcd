/* Maps: a function for each item of arrays, in parts that workers claim. The parts are large at first and small at the end, so that all
 * workers end together: guided self-scheduling (Polychronopoulos and Kuck, 1987), with half of what each worker's share would be.
 *
 * Where the arrays are in shared memory they are used there; otherwise the map's own memory has copies: the inputs'
 * from the beginning, the outputs' until the end.
 */
#include "pool/pool.h"
#include <limits.h>
#include <shoal/memory.h>
#include <stdlib.h>
#include <string.h>

/* Under the pool's mutex.
 *   parts    names of those that were given and may not be over; open: how many are not
 *   first    the lowest of the items that failed, whose error it is
 */
struct map {
    struct map *next, **before; /* in the pool's list, while it is not ready */
    struct result *result;
    shoal_memory *memory; /* NULL for a map of nothing */
    struct job *job;
    void *out; /* to copy to; NULL: it is used in place */
    size_t out_size;
    uint64_t n, done, failed, first;
    int error, value, exit_code;
    pid_t pid;
    unit_name *parts;
    size_t n_parts, room, open;
    struct work work;
    unsigned level;
    int64_t began;
    uint64_t shown; /* as progress */
    bool cancelled;
};

void map_free(struct map *map)
{
    if (!map)
        return;
    if (map->memory)
        shoal_memory_close(map->memory);
    free(map->parts);
    free(map);
}

struct map *map_next(struct map *map)
{
    return map->next;
}

/* ---- parts ---- */

static int add_part(struct own *p, struct map *map, uint64_t first, uint64_t n)
{
    int rc = 0;
    if (map->n_parts == map->room) {
        size_t more = map->room ? 2 * map->room : 64;
        unit_name *parts = realloc(map->parts, more * sizeof *parts);
        if (!parts)
            return fail(-ENOMEM, "no memory for parts of a map");
        map->parts = parts;
        map->room = more;
    }
    map->work.first = first;
    map->work.n = (uint32_t)n;
    unit_name name = unit_add(p, map->level, map->result, &map->work, &rc);
    if (!name)
        return rc;
    map->parts[map->n_parts++] = name;
    map->open++;
    return 0;
}

static int cut(struct own *p, struct map *map)
{
    uint64_t first = 0, many = 2 * (uint64_t)p->workers;
    while (first < map->n) {
        uint64_t n = (map->n - first) / many;
        n = n < 1 ? 1 : n > UINT32_MAX ? UINT32_MAX : n;
        int rc = add_part(p, map, first, n);
        if (rc)
            return rc;
        first += n;
    }
    return 0;
}

/* ---- the end ---- */

static void finish(struct map *map)
{
    struct result *r = map->result;
    struct extra *extra = r->extra;
    if (map->before) {
        *map->before = map->next;
        if (map->next)
            map->next->before = map->before;
    }
    if (map->out && map->n)
        memcpy(map->out, view.heap + map->job->out.place, map->n * map->out_size);
    if (map->memory)
        map->memory = shoal_memory_close(map->memory);
    if (extra->options.progress) {
        double seconds = (double)(os_now() - map->began) / 1e9;
        shoal_progress all = {.done = map->n,
                              .failed = map->failed,
                              .total = map->n,
                              .seconds = seconds,
                              .rate = seconds > 0 ? (double)map->n / seconds : 0};
        pool_tell(r->pool, extra->options.progress, &all, extra->options.progress_argument);
    }
    extra->failed = map->failed;
    extra->item = map->first;
    extra->value = map->value;
    extra->pid = map->pid;
    extra->exit_code = map->exit_code;
    result_finish(r, map->error);
}

/* `failed` items of a part, the first of them `item`, with this error. True: it is the map's error now. */
static bool note(struct map *map, uint64_t failed, uint64_t item, int error)
{
    map->failed += failed;
    if (!failed || (map->error && item >= map->first))
        return false;
    map->first = item;
    map->error = error;
    map->value = map->exit_code = 0;
    map->pid = 0;
    free(map->result->extra->text);
    map->result->extra->text = NULL;
    return true;
}

static void note_returned(struct own *p, struct map *map, unit_name name, const struct work *w)
{
    void *message = w->flags & UNIT_MESSAGE ? long_result(p, name) : NULL;
    int error = w->function ? -(int)w->function : -EREMOTEIO;
    if (note(map, (uint32_t)atomic_load(&w->part.failed), w->part.first_failed, error)) {
        map->value = w->part.error;
        if (message)
            result_text(map->result, "%.*s", (int)message_size(message),
                        (const char *)message_bytes(message));
        else
            result_text(map->result, "the function returned %d", map->value);
    }
    if (message)
        object_close(message, TYPE_MESSAGE);
}

void map_done(struct own *p, struct result *r, unit_name name, const struct work *w)
{
    struct map *map = r->extra->map;
    map->done += w->n;
    note_returned(p, map, name, w);
    if (!--map->open)
        finish(map);
}

void map_lost(struct own *p, struct result *r, unit_name name, const struct work *work, uint64_t at,
              int error, pid_t pid, int exit_code)
{
    struct map *map = r->extra->map;
    struct work w = *work;
    uint64_t end = w.first + w.n;
    bool over = map->cancelled || p->over == -ECANCELED || p->over == -ECONNABORTED || !pid;
    bool begun = at >= w.first && at < end;
    w.flags &= (uint8_t)~UNIT_MESSAGE;
    w.function = 0;
    if (begun) { /* what the worker had found wrong by then */
        note_returned(p, map, name, &w);
        uint64_t failed = atomic_load(&w.part.failed);
        /* The item that it was at had returned, and it had not begun the next one. */
        if ((uint32_t)failed && failed >> 32 == at - w.first && !MUTANT(263)) {
            begun = false;
            at++;
        }
    } else {
        at = w.first;
    }
    /* Of a part that was not begun no item is to blame. */
    uint64_t ended = over ? end - at : begun ? 1 : 0, rest = at + ended;
    map->done += at - w.first + ended;
    if (note(map, ended, at, error)) {
        map->pid = pid;
        map->exit_code = exit_code;
        if (error == -EOWNERDEAD)
            result_text(r, "%s", p->last_death);
        else if (error == -ETIME)
            result_text(
                r, "its part took longer than the limit of %g s, so its worker (pid %d) was killed",
                r->extra->options.limit, (int)pid);
    }
    /* What is behind it is a part of its own; and from now on each part wakes who waits, since this one never counts. */
    atomic_store(&map->job->left, 0);
    if (rest < end) {
        int rc = add_part(p, map, rest, end - rest);
        if (rc) {
            map->done += end - rest;
            note(map, end - rest, rest, rc);
        } else {
            unit_publish(p, map->level, 1);
        }
    }
    if (!--map->open)
        finish(map);
}

void maps_uncounted(struct own *p)
{
    for (struct map *map = p->maps; map && !MUTANT(261); map = map->next)
        atomic_store(&map->job->left, 0);
}

void map_cancel(struct own *p, struct map *map)
{
    map->cancelled = true;
    map->open++; /* it is not to end in between */
    for (size_t i = 0; i < map->n_parts; i++) {
        unit_name name = map->parts[i];
        /* not if its place is another's by now */
        if (claim_names(atomic_load(&unit_at(p->shared, name)->claim), name) &&
            unit_owner(p, name) == map->result)
            unit_end(p, name, -ECANCELED);
    }
    if (!--map->open)
        finish(map);
}

/* ---- progress ---- */

bool map_progress(struct own *p, struct map *map, shoal_progress *ret,
                  shoal_progress_callback *callback, void **argument)
{
    *callback = map->result->extra->options.progress;
    *argument = map->result->extra->options.progress_argument;
    if (!*callback)
        return false;
    int64_t now = os_now();
    uint64_t done = map->done;
    for (unsigned i = 0; i < p->workers; i++) { /* and what is done of parts */
        unit_name name = atomic_load(&p->shared->worker[i].want);
        uint64_t at = atomic_load(&p->shared->worker[i].item);
        const struct work *w =
            name && unit_owner(p, name) == map->result ? &unit_at(p->shared, name)->work : NULL;
        if (w && at >= w->first && at < w->first + w->n)
            done += at - w->first;
    }
    /* what is done and not told is missed for a moment */
    done = done > map->n ? map->n : done < map->shown ? map->shown : done;
    map->shown = done;
    double seconds = (double)(now - map->began) / 1e9;
    *ret = (shoal_progress){.done = done,
                            .failed = map->failed,
                            .total = map->n,
                            .seconds = seconds,
                            .rate = seconds > 0 ? (double)done / seconds : 0};
    return true;
}

/* ---- giving ---- */

/* What a map is asked for. */
struct asked {
    const void *function;
    bool star;
    const void *const *in;
    const size_t *in_sizes;
    size_t n_in;
    void *out;
    size_t out_size, n;
    const shoal_task_options *options;
};

/* Bytes of an array: so that those of all of them can be added. */
#define MOST (SIZE_MAX / (2 * SOURCES))

static int check(const struct asked *a, const char *call)
{
    if (a->n_in < 1 || a->n_in > SOURCES || !a->in || !a->in_sizes)
        return fail(-EINVAL, "%s: %zu arrays; 1 to %d can be given", call, a->n_in, SOURCES);
    for (size_t i = 0; i < a->n_in; i++) {
        if (!a->in[i] && a->n && a->in_sizes[i])
            return fail(-EINVAL, "%s: %zu items at NULL", call, a->n);
        if (a->in_sizes[i] && a->n > MOST / a->in_sizes[i])
            return fail(-EMSGSIZE, "%s: %zu items of %zu bytes", call, a->n, a->in_sizes[i]);
    }
    if (!a->out && a->out_size)
        return fail(-EINVAL, "%s: items of %zu bytes go to NULL", call, a->out_size);
    if (a->out_size && a->n > MOST / a->out_size)
        return fail(-EMSGSIZE, "%s: %zu items of %zu bytes", call, a->n, a->out_size);
    if (a->options && (a->options->out || a->options->retries))
        return fail(-EINVAL, "%s: %s is for tasks, not for maps", call,
                    a->options->out ? "out" : "retries");
    return options_check(a->options, call);
}

static size_t rounded(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

/* The map's memory: the job, and copies of what is not shared. */
static int make_job(struct map *map, const struct asked *a, const char *call)
{
    size_t size = rounded(sizeof(struct job));
    shoal_reference out = {0}, reference;
    bool shared_out = a->out_size && in_region(a->out, a->n * a->out_size);
    for (size_t i = 0; i < a->n_in; i++)
        size += in_region(a->in[i], a->n * a->in_sizes[i]) ? 0 : rounded(a->n * a->in_sizes[i]);
    size += shared_out ? 0 : rounded(a->n * a->out_size);
    int rc = shared_out ? object_at(a->out, a->n * a->out_size, &out) : 0;
    if (!rc)
        rc = shoal_memory_create(&map->memory, size, NULL);
    if (!rc)
        rc = shoal_memory_reference(map->memory, &reference);
    if (!rc)
        object_inner(map->memory);
    if (rc)
        return fail_in(rc, call);
    map->work.part.id = reference.id;
    map->work.part.generation = reference.generation;
    unsigned char *at = shoal_memory_address(map->memory);
    struct job *job = map->job = (struct job *)(void *)at;
    *job = (struct job){.n_sources = a->star ? (uint32_t)a->n_in : 0};
    at += rounded(sizeof *job);
    for (size_t i = 0; i < a->n_in; i++) {
        const unsigned char *from = a->in[i];
        size_t bytes = a->n * a->in_sizes[i];
        if (!in_region(from, bytes)) {
            if (bytes)
                memcpy(at, from, bytes);
            from = at;
            at += rounded(bytes);
        }
        job->source[i].place = (uint64_t)(from - view.heap);
        job->source[i].size = a->in_sizes[i];
    }
    const unsigned char *to = shared_out ? a->out : at;
    job->out.place = (uint64_t)(to - view.heap);
    job->out.size = a->out_size;
    if (shared_out) {
        job->id = out.id + 1;
        job->generation = out.generation;
    } else if (a->out_size) {
        map->out = a->out;
        map->out_size = a->out_size;
    }
    return 0;
}

/* Under the mutex. `handle`: where the program gets it, or NULL. */
static int give(struct own *p, struct result **ret, const struct asked *a, const char *call,
                shoal_result **handle)
{
    struct result *r = NULL;
    struct map *map = calloc(1, sizeof *map);
    uint16_t code;
    int rc = code_number(p, a->function, call, &code);
    if (!rc && map)
        r = result_new(p, true);
    if (!rc && !r)
        rc = fail(-ENOMEM, "%s: no memory for a result", call);
    if (!rc && a->n)
        rc = make_job(map, a, call);
    if (rc) {
        map_free(map);
        if (r) {
            result_drop(r);
            result_drop(r);
        }
        return rc;
    }
    if (a->options)
        r->extra->options = *a->options;
    r->extra->map = map;
    map->result = r;
    map->n = a->n;
    map->level = level_of(a->options);
    map->began = os_now();
    map->work.kind = UNIT_PART;
    map->work.function = code;
    if (p->threaded)
        map->work.flags |= UNIT_CARE;
    if (a->options && a->options->limit > 0)
        map->work.flags |= UNIT_LIMITED;
    p->index++;
    if (!a->n) {
        *ret = r;
        if (handle)
            *handle = result_hand_out(r);
        finish(map);
        return 0;
    }
    map->next = p->maps;
    map->before = &p->maps;
    if (map->next)
        map->next->before = &map->next;
    p->maps = map;
    rc = cut(p, map);
    atomic_store(&map->job->left, (int32_t)map->open);
    if (rc) { /* the parts that could be had are done for nothing */
        map->out = NULL;
        /* nor is anybody told of it */
        r->extra->options.on_success = r->extra->options.on_error = NULL;
        r->extra->options.progress = NULL;
        map_cancel(p, map);
        result_drop(r);
        return fail_in(rc, call);
    }
    *ret = r;
    if (handle)
        *handle = result_hand_out(r);
    unit_publish(p, map->level, map->n_parts < p->workers ? (int)map->n_parts : (int)p->workers);
    if (p->threaded && r->extra->options.progress)
        wait_wake(&p->shared->care, 1);
    return 0;
}

static int give_map(shoal_pool *pool, struct result **ret, const struct asked *a, const char *call,
                    shoal_result **handle)
{
    int rc = check(a, call);
    if (rc)
        return rc;
    bool called =
        a->options && (a->options->on_success || a->options->on_error || a->options->limit > 0);
    struct own *p = pool_open(pool, call, &rc);
    if (!p)
        return rc;
    if (handle || called)
        rc = thread_start(p);
    if (!rc)
        rc = give(p, ret, a, call, handle);
    os_mutex_unlock(&p->mutex);
    return rc;
}

static int give_async(shoal_pool *pool, shoal_result **ret, const struct asked *a, const char *call)
{
    struct result *r;
    if (!ret)
        return fail(-EINVAL, "%s: nowhere to write the result (NULL)", call);
    return give_map(pool, &r, a, call, ret);
}

/* Waits, and tells; a deadline that has passed ends it. */
static int wait_map(int rc, struct result *r, const char *call, int64_t deadline)
{
    if (rc)
        return rc;
    assert(r);
    shoal_result *result = cell_handle(&r->cell);
    while ((rc = shoal_result_wait(result, deadline)) == -EINTR)
        ;
    if (rc) {
        shoal_result_cancel(result);
        /* nobody writes to `out` once this has returned */
        while (shoal_result_wait(result, SHOAL_FOREVER) == -EINTR)
            ;
        waited(in_vain(rc), call, NULL, 0, deadline);
    } else if (r->error) {
        rc = result_error(r, call);
    }
    result_drop(r);
    return rc;
}

int shoal_pool_map_async(shoal_pool *pool, shoal_result **ret, shoal_item_function function,
                         const void *in, size_t in_size, void *out, size_t out_size, size_t n,
                         const shoal_task_options *options)
{
    struct asked a =
        {(const void *)(uintptr_t)function, false, &in, &in_size, 1, out, out_size, n, options};
    return give_async(pool, ret, &a, "shoal_pool_map_async");
}

int shoal_pool_map(shoal_pool *pool, shoal_item_function function, const void *in, size_t in_size,
                   void *out, size_t out_size, size_t n, const shoal_task_options *options,
                   int64_t deadline)
{
    struct result *r = NULL;
    struct asked a =
        {(const void *)(uintptr_t)function, false, &in, &in_size, 1, out, out_size, n, options};
    int rc = waited(check_deadline(deadline), "shoal_pool_map", NULL, 0, deadline);
    if (!rc)
        rc = give_map(pool, &r, &a, "shoal_pool_map", NULL);
    return wait_map(rc, r, "shoal_pool_map", deadline);
}

int shoal_pool_starmap_async(shoal_pool *pool, shoal_result **ret, shoal_star_function function,
                             const void *const in[], const size_t in_sizes[], size_t n_in,
                             void *out, size_t out_size, size_t n,
                             const shoal_task_options *options)
{
    struct asked a =
        {(const void *)(uintptr_t)function, true, in, in_sizes, n_in, out, out_size, n, options};
    return give_async(pool, ret, &a, "shoal_pool_starmap_async");
}

int shoal_pool_starmap(shoal_pool *pool, shoal_star_function function, const void *const in[],
                       const size_t in_sizes[], size_t n_in, void *out, size_t out_size, size_t n,
                       const shoal_task_options *options, int64_t deadline)
{
    struct result *r = NULL;
    struct asked a =
        {(const void *)(uintptr_t)function, true, in, in_sizes, n_in, out, out_size, n, options};
    int rc = waited(check_deadline(deadline), "shoal_pool_starmap", NULL, 0, deadline);
    if (!rc)
        rc = give_map(pool, &r, &a, "shoal_pool_starmap", NULL);
    return wait_map(rc, r, "shoal_pool_starmap", deadline);
}
