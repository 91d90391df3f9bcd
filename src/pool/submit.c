/* Giving units to the workers: where they lie, and what they say. */
#include "message/any.h"
#include "message/pickle.h"
#include "pool/code.h"
#include "pool/pool.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- units ---- */

/* A run that is free, or a new one. */
static struct run *take_run(struct own *p, int *rc)
{
    struct run *run = p->free_runs;
    if (run) {
        p->free_runs = run->next_free;
        return run;
    }
    run = calloc(1, sizeof *run);
    int k = run ? units_run(p->shared) : fail(-ENOMEM, "no memory for more tasks");
    if (k < 0) {
        *rc = k;
        free(run);
        return NULL;
    }
    run->number = (unsigned)k;
    run->next = p->runs;
    p->runs = run;
    return run;
}

static void free_run(struct own *p, struct run *run)
{
    run->next_free = p->free_runs;
    p->free_runs = run;
}

static uint32_t place_of(uint64_t position)
{
    return position / UNITS % RUNS;
}

/* The directory's entry for `position`, made if need be; NULL: no memory. */
static struct run **entry_of(struct own *p, unsigned level, uint64_t position)
{
    uint32_t i = place_of(position), room = p->room_at[level];
    if (i >= room) {
        uint32_t more = room ? 2 * room : UNITS;
        while (more <= i)
            more *= 2;
        struct run **at = realloc(p->run_at[level], more * sizeof(struct run *));
        if (!at)
            return NULL;
        memset(at + room, 0, (more - room) * sizeof(struct run *));
        p->run_at[level] = at;
        p->room_at[level] = more;
    }
    return &p->run_at[level][i];
}

/* Whether a unit that is not over has its run where that of `position` would be: all the others since are over. */
static bool is_taken(const struct own *p, unsigned level, uint64_t position)
{
    uint32_t i = place_of(position);
    const struct run *run = i < p->room_at[level] ? p->run_at[level][i] : NULL;
    return run && run->open && run->level == level && run->position < position &&
           (position - run->position) % ((uint64_t)RUNS * UNITS) == 0;
}

/* Positions whose place in the directory is taken are left out: who looks there finds other names. */
static int leave_out(struct own *p, unsigned level)
{
    for (unsigned i = 0; is_taken(p, level, p->tail[level]); i++) {
        if (i == RUNS)
            return fail(-ENOSPC, "%d tasks and parts of maps are waiting, which is the most",
                        RUNS * UNITS);
        p->tail[level] += UNITS;
    }
    return 0;
}

static struct run *run_of(const struct own *p, unit_name name)
{
    return p->run_at[unit_level(name)][place_of(unit_position(name))];
}

unit_name unit_add(struct own *p, unsigned level, struct result *owner, const struct work *work,
                   int *rc)
{
    if (p->tail[level] % UNITS == 0 && !MUTANT(268) && (*rc = leave_out(p, level)))
        return 0;
    uint64_t position = p->tail[level];
    if (position % UNITS == 0) {
        struct run **at = entry_of(p, level, position);
        struct run *run = at ? take_run(p, rc) : NULL;
        if (!at)
            *rc = fail(-ENOMEM, "no memory for more tasks");
        if (run && (*rc = units_place(p->shared, level, position, run->number))) {
            free_run(p, run);
            run = NULL;
        }
        if (!run)
            return 0;
        *at = run;
        run->open = UNITS;
        run->level = level;
        run->position = position;
    }
    unit_name name = unit_make(level, position);
    struct unit *unit = unit_at(p->shared, name);
    run_of(p, name)->owner[position % UNITS] = owner;
    unit->work = *work;
    atomic_store_explicit(&unit->claim, claim_make(name, 0, UNIT_FREE), memory_order_release);
    p->tail[level] = position + 1;
    p->outstanding++;
    p->limited += (work->flags & UNIT_LIMITED) != 0;
    return name;
}

struct result *unit_owner(const struct own *p, unit_name name)
{
    return run_of(p, name)->owner[unit_position(name) % UNITS];
}

void unit_over(struct own *p, unit_name name)
{
    struct run *run = run_of(p, name);
    struct unit *unit = unit_at(p->shared, name);
    run->owner[unit_position(name) % UNITS] = NULL;
    atomic_store_explicit(&unit->claim, claim_make(name, 0, UNIT_NONE), memory_order_release);
    p->outstanding--;
    if (!--run->open)
        free_run(p, run);
}

/* ---- functions ---- */

int code_number(struct own *p, const void *function, const char *call, uint16_t *ret)
{
    if (!function)
        return fail(-EINVAL, "%s: no function (NULL)", call);
    unsigned i = p->last_code;
    if (unlikely(i >= p->n_codes || p->codes[i] != function)) {
        for (i = 0; i < p->n_codes && p->codes[i] != function; i++)
            ;
        if (i == p->n_codes) {
            if (i == CODES)
                return fail(-ENOSPC,
                            "%s: the pool's tasks have named %d functions, which is the most", call,
                            CODES);
            struct code *code = &p->shared->code[i];
            int rc = region_populate(code, sizeof *code);
            if (!rc)
                rc = code_make(function, code);
            if (rc)
                return fail_in(rc, call);
            p->codes[i] = function;
            p->n_codes = i + 1;
            atomic_store(&p->shared->codes_count, i + 1);
        }
        p->last_code = i;
    }
    *ret = (uint16_t)i;
    return 0;
}

/* ---- tasks ---- */

int options_check(const shoal_task_options *options, const char *call)
{
    if (!options)
        return 0;
    if (options->flags)
        return fail(-EINVAL, "%s: unknown flags %#x", call, options->flags);
    if (options->priority < -1 || options->priority > 1)
        return fail(-EINVAL, "%s: priority %d is none of -1, 0, 1", call, options->priority);
    if (isnan(options->limit) || options->limit < 0)
        return fail(-EINVAL, "%s: a limit of %g seconds", call, options->limit);
    if (options->out && !in_region(options->out, options->out_size))
        return fail(-EINVAL, "%s: out, %p, does not lie in memory of the family", call,
                    options->out);
    return 0;
}

/* What it is given goes into the unit, or into a message that is held until it is done, or lies where it is. */
static int give_argument(struct own *p, struct result *r, struct work *w, const shoal_any *any,
                         const void *bytes, size_t size, const char *call)
{
    struct place place;
    struct lanes *q = queue_of(p->results, call, &place);
    struct shortage shortage = shortage_of(q, &place, SHOAL_NOW);
    struct pickle_objects objects = {0};
    unsigned char *to = NULL, *behind;
    int rc = 0;
    if (any) {
        w->flags |= UNIT_ANY;
        rc = pickle_measure(any, &size, &objects);
        if (rc)
            fail_in(rc, call);
    }
    bool here = !rc && size <= IN_UNIT && !objects.count && !(w->flags & UNIT_OUT);
    if (here) {
        w->n = (uint32_t)size;
        if (any)
            pickle_write(any, w->bytes);
        else if (size)
            memcpy(w->bytes, bytes, size);
    } else if (!any && in_region(bytes, size)) {
        w->flags |= UNIT_SHARED;
        w->first = (uint64_t)((const unsigned char *)bytes - view.heap);
        w->elsewhere.size = size;
    } else if (!rc) {
        rc = any ? message_encode(&r->message, any, 0, &shortage, &behind)
                 : message_create(&r->message, size, 0, &shortage, &to);
        if (!rc) {
            if (to && size)
                memcpy(to, bytes, size);
            const struct handle *handle = handle_of(r->message);
            w->flags |= UNIT_MESSAGE;
            w->first = (uint64_t)handle->generation << 32 | header_id(handle->header);
            object_inner(r->message);
        } else {
            r->message = NULL;
            if (rc == -EAGAIN)
                rc = fail(-ENOMEM, "%s: the region, or the quota, has no room for %zu bytes", call,
                          size);
        }
    }
    pickle_objects_free(&objects);
    return rc;
}

static int give_out(struct work *w, const shoal_task_options *options, const char *call)
{
    shoal_reference reference;
    if (!options || !options->out)
        return 0;
    int rc = object_at(options->out, options->out_size, &reference);
    if (rc)
        return fail_in(rc, call);
    w->flags |= UNIT_OUT;
    w->elsewhere = (struct elsewhere){.out = (uint64_t)((unsigned char *)options->out - view.heap),
                                      .room = options->out_size,
                                      .id = reference.id,
                                      .generation = reference.generation};
    return 0;
}

int task_give(struct own *p, struct result **ret, uint16_t code, const shoal_any *any,
              const void *bytes, size_t size, const shoal_task_options *options,
              struct iterator *iterator, const char *call)
{
    struct work w = {.kind = UNIT_TASK, .function = code};
    struct result *r = result_new(p, options != NULL);
    if (!r)
        return fail(-ENOMEM, "%s: no memory for a result", call);
    int rc = give_out(&w, options, call);
    if (!rc)
        rc = give_argument(p, r, &w, any, bytes, size, call);
    if (options) {
        r->extra->options = *options;
        r->extra->tries = options->retries;
        w.flags |= options->limit > 0 ? UNIT_LIMITED : 0;
        w.flags |=
            options->on_success || options->on_error || options->flags & TASK_CARES ? UNIT_CARE : 0;
        r->extra->work = w;
        r->extra->iterator = iterator;
    }
    if (!rc)
        r->unit = unit_add(p, level_of(options), r, &w, &rc);
    if (rc) {
        result_drop(r);
        result_drop(r);
        return rc;
    }
    r->index = iterator ? iterator_given(iterator) : p->index++;
    unit_publish(p, level_of(options), !p->quiet);
    if (p->quiet) /* now, as another who waits may have looked just before */
        atomic_store(&p->unwoken, true);
    *ret = r;
    return 0;
}
