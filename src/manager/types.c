/* The types that a manager exports, and what several of them need. */
#include "manager/type.h"
#include "message/any.h"
#include "message/construct.h"

const struct manager_type *const manager_types[] = {
    &list_type,      &dict_type,    &namespace_type,      &value_type,
    &array_type,     &queue_type,   &joinable_queue_type, &event_type,
    &lock_type,      &rlock_type,   &semaphore_type,      &bounded_semaphore_type,
    &condition_type, &barrier_type, &pool_type,           NULL,
};

bool is_slice(const shoal_any *a)
{
    return a->kind == SHOAL_ANY_CONSTRUCT && !strcmp(constructs[a->name].shown, "slice");
}

/* A number of a slice: 0 and *given, SHOAL_RAISED. Those beyond an int64_t are as good as its ends. */
static int slice_part(shoal_call *call, const shoal_any *a, bool *given, int64_t *ret)
{
    *given = a->kind != SHOAL_ANY_NONE;
    if (!*given)
        return 0;
    int rc = shoal_any_as_int(a, ret);
    if (rc == -ERANGE) {
        *ret = a->bytes->at[a->bytes->size - 1] & 0x80 ? INT64_MIN / 2 : INT64_MAX / 2;
        return 0;
    }
    if (rc)
        return shoal_call_raise(call, "TypeError", "slice indices must be integers or None");
    if (*ret > INT64_MAX / 2)
        *ret = INT64_MAX / 2;
    if (*ret < INT64_MIN / 2)
        *ret = INT64_MIN / 2;
    return 0;
}

static int64_t clamp(int64_t at, int64_t length, int64_t least, int64_t most)
{
    if (at < 0)
        at += length;
    return at < least ? least : at > most ? most : at;
}

int slice_of(shoal_call *call, const shoal_any *slice, int64_t length, struct slice *ret)
{
    const shoal_any *part = slice->items->at[0].items->at;
    int64_t start = 0, stop = 0, step = 1;
    bool has_start, has_stop, has_step;
    int rc = slice_part(call, &part[0], &has_start, &start);
    if (!rc)
        rc = slice_part(call, &part[1], &has_stop, &stop);
    if (!rc)
        rc = slice_part(call, &part[2], &has_step, &step);
    if (rc)
        return rc;
    if (!step)
        return shoal_call_raise(call, "ValueError", "slice step cannot be zero");
    int64_t least = step < 0 ? -1 : 0, most = step < 0 ? length - 1 : length;
    start = has_start ? clamp(start, length, least, most) : step < 0 ? most : least;
    stop = has_stop ? clamp(stop, length, least, most) : step < 0 ? least : most;
    ret->start = start;
    ret->step = step;
    if (step > 0)
        ret->count = stop > start ? (stop - start - 1) / step + 1 : 0;
    else
        ret->count = start > stop ? (start - stop - 1) / -step + 1 : 0;
    return 0;
}

static bool is_range(const shoal_any *a)
{
    return a->kind == SHOAL_ANY_CONSTRUCT && !strcmp(constructs[a->name].shown, "range");
}

int64_t iterable_count(const shoal_any *a)
{
    int64_t at[3];
    if (a->kind == SHOAL_ANY_BYTES)
        return (int64_t)a->bytes->size;
    if (!any_has_items(a))
        return -1;
    if (a->kind != SHOAL_ANY_CONSTRUCT)
        return (int64_t)(a->kind == SHOAL_ANY_DICT ? a->items->count / 2 : a->items->count);
    if (!is_range(a))
        return -1;
    for (int i = 0; i < 3; i++) {
        const shoal_any *part;
        if (shoal_any_at(&a->items->at[0], i, &part) || shoal_any_as_int(part, &at[i]) ||
            at[i] > INT32_MAX || at[i] < INT32_MIN)
            return -1;
    }
    int64_t span = at[2] < 0 ? at[0] - at[1] : at[1] - at[0], step = at[2] < 0 ? -at[2] : at[2];
    return span <= 0 || !step ? 0 : (span - 1) / step + 1;
}

shoal_any *iterable_at(const shoal_any *a, int64_t i)
{
    int64_t start = 0, step = 1;
    if (a->kind == SHOAL_ANY_BYTES)
        return shoal_any_int(a->bytes->at[i]);
    if (a->kind != SHOAL_ANY_CONSTRUCT)
        return shoal_any_copy(&a->items->at[a->kind == SHOAL_ANY_DICT ? i * 2 : i]);
    shoal_any_as_int(&a->items->at[0].items->at[0], &start);
    shoal_any_as_int(&a->items->at[0].items->at[2], &step);
    return shoal_any_int(start + i * step);
}
