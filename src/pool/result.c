/* Results, and the memory that handles of results and iterators point to. */
#include "message/pickle.h"
#include "pool/pool.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- cells ---- */

struct os_mutex cells_mutex;
static struct cell *unused[CELL_KINDS];
static const size_t cell_size[CELL_KINDS] = {sizeof(struct result), 384};
enum { CELLS = 64 /* that are made at once */ };

/* Under cells_mutex. */
static void make_cells(enum cell_kind kind)
{
    unsigned char *block = aligned_alloc(CELL_ALIGN, CELLS * cell_size[kind]);
    for (unsigned i = CELLS; block && i-- > 0;) {
        struct cell *cell = (struct cell *)(void *)(block + i * cell_size[kind]);
        *cell = (struct cell){.next = unused[kind]};
        unused[kind] = cell;
    }
}

static uint32_t open_check(const struct cell *cell, enum cell_kind kind)
{
    return (uint32_t)kind << 16 | 0x100 | cell->tag;
}

struct cell *cell_new(enum cell_kind kind)
{
    os_mutex_lock(&cells_mutex);
    if (!unused[kind])
        make_cells(kind);
    struct cell *cell = unused[kind];
    if (cell)
        unused[kind] = cell->next;
    os_mutex_unlock(&cells_mutex);
    if (!cell)
        return NULL;
    uint32_t tag = (cell->tag + 1) % CELL_ALIGN;
    memset(cell, 0, cell_size[kind]);
    cell->tag = tag;
    atomic_store_explicit(&cell->check, open_check(cell, kind), memory_order_relaxed);
    return cell;
}

void cell_close(struct cell *cell)
{
    atomic_store_explicit(&cell->check, 0, memory_order_relaxed);
}

void cell_free(struct cell *cell, enum cell_kind kind)
{
    cell_close(cell);
    os_mutex_lock(&cells_mutex);
    cell->next = unused[kind];
    unused[kind] = cell;
    os_mutex_unlock(&cells_mutex);
}

void *cell_handle(const struct cell *cell)
{
    return (unsigned char *)(uintptr_t)cell + cell->tag;
}

struct cell *cell_of(const void *handle, enum cell_kind kind, const char *what, int *rc)
{
    uintptr_t address = (uintptr_t)handle;
    struct cell *cell = (struct cell *)(address & ~(uintptr_t)(CELL_ALIGN - 1));
    if (!handle)
        *rc = fail(-EINVAL, "%s: NULL is not a handle", what);
    else if (atomic_load_explicit(&cell->check, memory_order_relaxed) !=
             ((uint32_t)kind << 16 | 0x100 | (address & (CELL_ALIGN - 1))))
        *rc = fail(-EBADF, "%s: not an open handle of this kind", what);
    else
        return cell;
    return NULL;
}

/* ---- a result's life ---- */

struct result *result_of(const shoal_result *result, const char *what, int *rc)
{
    return (struct result *)(void *)cell_of(result, CELL_RESULT, what, rc);
}

struct extra *result_extra(struct result *r)
{
    if (!r->extra)
        r->extra = calloc(1, sizeof *r->extra);
    return r->extra;
}

struct result *result_new(struct own *p, bool extra)
{
    struct result *r = (struct result *)(void *)cell_new(CELL_RESULT);
    if (!r)
        return NULL;
    if (extra && !result_extra(r)) {
        cell_free(&r->cell, CELL_RESULT);
        return NULL;
    }
    r->pool = p;
    r->index = p->index;
    atomic_store_explicit(&r->holders, 2 * HELD, memory_order_relaxed);
    return r;
}

static void give_back(struct result *r)
{
    if (r->message)
        object_close(r->message, TYPE_MESSAGE);
    shoal_any_free(r->any);
    if (r->extra) {
        map_free(r->extra->map);
        free(r->extra->text);
        free(r->extra);
    }
    cell_free(&r->cell, CELL_RESULT);
}

void result_call(struct result *r, void (*callback)(shoal_result *, void *), void *argument)
{
    os_mutex_lock(&cells_mutex);
    r->called = true;
    atomic_store_explicit(&r->cell.check, open_check(&r->cell, CELL_RESULT), memory_order_relaxed);
    os_mutex_unlock(&cells_mutex);
    callback(cell_handle(&r->cell), argument);
    os_mutex_lock(&cells_mutex);
    r->called = false;
    if (r->freed)
        cell_close(&r->cell);
    os_mutex_unlock(&cells_mutex);
}

void result_drop(struct result *r)
{
    if (atomic_fetch_sub(&r->holders, HELD) == HELD)
        give_back(r);
}

void result_text(struct result *r, const char *format, ...)
{
    va_list arguments;
    char text[400];
    struct extra *extra = result_extra(r);
    if (!extra || extra->text)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    extra->text = strdup(text);
}

void result_finish(struct result *r, int error)
{
    struct own *p = r->pool;
    struct extra *extra = r->extra;
    r->error = error;
    r->unit = 0;
    bool calls = extra && (error ? extra->options.on_error : extra->options.on_success);
    if (calls) {
        atomic_fetch_add(&r->holders, HELD);
        extra->next_call = NULL;
        if (p->last_call)
            p->last_call->extra->next_call = r;
        else
            p->calls = r;
        p->last_call = r;
        p->calling++;
    }
    if (extra && extra->iterator)
        iterator_ready(extra->iterator, r);
    struct arrivals *row = r->row;
    atomic_store_explicit(&r->state, RESULT_READY, memory_order_release);
    if (row)
        arrivals_add(row, r);
    result_drop(r);
}

/* ---- asking ---- */

static bool ready(void *argument)
{
    return result_is_ready(argument);
}

static int await(const shoal_result *result, const char *call, struct result **ret,
                 int64_t deadline)
{
    int rc = 0;
    struct result *r = result_of(result, call, &rc);
    if (!r)
        return rc ? rc : -EBADF; /* it is not 0 */
    *ret = r;
    if (likely(result_is_ready(r)))
        return 0;
    struct own *p = r->pool;
    own_enter(p);
    if (!result_is_ready_now(r))
        rc = pool_wait(p, ready, r, deadline);
    own_leave(p);
    return waited(rc, call, NULL, 0, deadline);
}

int shoal_result_wait(shoal_result *result, int64_t deadline)
{
    struct result *r;
    return await(result, "shoal_result_wait", &r, deadline);
}

int shoal_result_ready(shoal_result *result)
{
    struct result *r;
    int rc = await(result, "shoal_result_ready", &r, SHOAL_NOW);
    return rc == -EAGAIN ? 0 : rc ? rc : 1;
}

int shoal_result_successful(shoal_result *result)
{
    struct result *r;
    int rc = await(result, "shoal_result_successful", &r, SHOAL_NOW);
    if (rc == -EAGAIN)
        return fail(-EBUSY, "shoal_result_successful: it is not ready");
    return rc ? rc : !r->error;
}

uint64_t shoal_result_index(const shoal_result *result)
{
    int rc = 0;
    struct result *r = result_of(result, "shoal_result_index", &rc);
    return r ? r->index : 0;
}

int result_error(struct result *r, const char *call)
{
    const struct extra *extra = r->extra;
    char which[64];
    if (extra && extra->map)
        snprintf(which, sizeof which, "item %llu of map %llu", (unsigned long long)extra->item,
                 (unsigned long long)r->index);
    else
        snprintf(which, sizeof which, "task %llu", (unsigned long long)r->index);
    return fail(r->error, "%s: %s: %s", call, which,
                extra && extra->text ? extra->text : shoal_strerror(r->error));
}

static void bytes_of(struct result *r, const void **ret, size_t *size)
{
    if (r->flags & UNIT_MESSAGE) {
        *ret = message_bytes(r->message);
        *size = message_size(r->message);
    } else if (r->flags & UNIT_SHARED) {
        uint64_t length;
        memcpy(&length, r->bytes, sizeof length);
        *ret = r->extra->options.out;
        *size = length;
    } else {
        *ret = r->bytes;
        *size = r->n;
    }
}

int shoal_result_get(shoal_result *result, const void **ret, size_t *size, int64_t deadline)
{
    struct result *r;
    const void *bytes;
    size_t n;
    int rc = await(result, "shoal_result_get", &r, deadline);
    if (rc)
        return rc;
    if (r->error)
        return result_error(r, "shoal_result_get");
    bytes_of(r, &bytes, &n);
    if (ret)
        *ret = bytes;
    if (size)
        *size = n;
    return 0;
}

/* What the task gave back, as an any; the bytes stay. */
static int make_any(struct result *r, shoal_any **ret)
{
    const void *bytes;
    size_t n;
    int rc = 0;
    bytes_of(r, &bytes, &n);
    if (!(r->flags & UNIT_ANY))
        rc = (*ret = shoal_any_bytes(bytes, n)) ? 0 : fail(-ENOMEM, "no memory");
    else if (r->flags & UNIT_MESSAGE) /* with its objects */
        rc = message_read_any(r->message, ret);
    else
        rc = pickle_read(ret, bytes, n, NULL, NULL, 0);
    return rc ? fail_in(rc, "shoal_result_get_any") : 0;
}

int shoal_result_get_any(shoal_result *result, const shoal_any **ret, int64_t deadline)
{
    struct result *r;
    shoal_any *mine, *others = NULL;
    int rc = await(result, "shoal_result_get_any", &r, deadline);
    if (!rc && r->error)
        rc = result_error(r, "shoal_result_get_any");
    if (!rc && !atomic_load(&r->any)) {
        rc = make_any(r, &mine);
        if (!rc && !atomic_compare_exchange_strong(&r->any, &others, mine))
            shoal_any_free(mine); /* another thread asked at the same time */
    }
    if (!rc && ret)
        *ret = atomic_load(&r->any);
    return rc;
}

int shoal_result_failure(shoal_result *result, shoal_failure *ret)
{
    struct result *r;
    if (!ret)
        return fail(-EINVAL, "shoal_result_failure: nowhere to write it (NULL)");
    int rc = await(result, "shoal_result_failure", &r, SHOAL_NOW);
    if (rc == -EAGAIN)
        return fail(-EBUSY, "shoal_result_failure: it is not ready");
    if (rc)
        return rc;
    const struct extra *extra = r->extra;
    *ret = (shoal_failure){.error = r->error, .index = r->index, .text = ""};
    if (extra) {
        ret->value = extra->value;
        ret->pid = extra->pid;
        ret->exit_code = extra->exit_code;
        ret->index = extra->map ? extra->item : r->index;
        ret->failed = extra->failed;
        ret->text = extra->text ? extra->text : "";
    }
    return 0;
}

static int cancel(struct own *p, struct result *r)
{
    if (result_is_ready_now(r))
        return -EALREADY;
    if (!pool_is_mine(p))
        return -ECHILD;
    if (pool_telling == p)
        return -EDEADLK;
    os_mutex_lock(&p->mutex);
    pool_settle(p);
    bool late = result_is_ready(r);
    if (!late) {
        if (r->extra && r->extra->map)
            map_cancel(p, r->extra->map);
        else
            unit_end(p, r->unit, -ECANCELED);
    }
    pool_turn(p);
    os_mutex_unlock(&p->mutex);
    return late ? -EALREADY : 0;
}

int shoal_result_cancel(shoal_result *result)
{
    int rc = 0;
    struct result *r = result_of(result, "shoal_result_cancel", &rc);
    if (!r)
        return rc;
    struct own *p = r->pool;
    own_enter(p);
    rc = cancel(p, r);
    own_leave(p);
    return !rc ? 0
               : fail(rc, "shoal_result_cancel: %s",
                      rc == -EALREADY ? "it is ready"
                      : rc == -ECHILD ? "another process made the pool"
                                      : "a progress callback may not call the pool");
}

shoal_result *shoal_result_free(shoal_result *result)
{
    int rc;
    struct result *r = result ? result_of(result, "shoal_result_free", &rc) : NULL;
    if (!r)
        return NULL;
    /* from now on the handle is bad, but for its callback */
    os_mutex_lock(&cells_mutex);
    uint32_t held = atomic_fetch_and(&r->holders, ~(uint32_t)HELD_BY_PROGRAM);
    r->freed |= (held & HELD_BY_PROGRAM) != 0;
    if (r->freed && !r->called)
        cell_close(&r->cell);
    os_mutex_unlock(&cells_mutex);
    if (held == HELD_BY_PROGRAM)
        give_back(r);
    return NULL;
}
