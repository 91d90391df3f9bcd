/* One call of a method: its arguments, what it returns or raises. */
#include "manager/manager.h"
#include "message/any.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- arguments ---- */

const shoal_any *shoal_call_argument(const shoal_call *call, unsigned i, const char *name)
{
    const shoal_any *found = NULL;
    if (!call)
        return NULL;
    if (call->args && i < (unsigned)shoal_any_count(call->args))
        shoal_any_at(call->args, i, &found);
    else if (name && call->kwds && shoal_any_count(call->kwds))
        shoal_any_get_str(call->kwds, name, &found);
    return found;
}

unsigned shoal_call_count(const shoal_call *call)
{
    if (!call)
        return 0;
    return (unsigned)((call->args ? shoal_any_count(call->args) : 0) +
                      (call->kwds ? shoal_any_count(call->kwds) : 0));
}

int shoal_call_is_gone(const shoal_call *call)
{
    return call && call->session && call->session->gone;
}

int call_takes(shoal_call *call, unsigned least, unsigned most)
{
    unsigned n = shoal_call_count(call);
    bool named = call->kwds && shoal_any_count(call->kwds);
    if (n < least || n > most || named)
        return call_raisef(call, "TypeError",
                           named ? "no such named argument" : "%u arguments given, %u to %u wanted",
                           n, least, most);
    return 0;
}

bool any_is_true(const shoal_any *any)
{
    if (any->kind == SHOAL_ANY_BOOL || (any->kind == SHOAL_ANY_INT && !any->big))
        return any->integer != 0;
    if (any->kind == SHOAL_ANY_FLOAT)
        return any->real != 0;
    if (any->kind == SHOAL_ANY_STR || any->kind == SHOAL_ANY_BYTES)
        return any->bytes->size;
    if (any_has_items(any) && any->kind != SHOAL_ANY_CONSTRUCT)
        return any->items->count;
    return any->kind != SHOAL_ANY_NONE;
}

int call_int(shoal_call *call, unsigned i, const char *name, int64_t otherwise, int64_t *ret)
{
    const shoal_any *a = shoal_call_argument(call, i, name);
    *ret = otherwise;
    if (!a)
        return 0;
    int rc = shoal_any_as_int(a, ret);
    if (rc == -ERANGE)
        return call_raisef(call, "OverflowError", "an int that is too large");
    return rc ? call_raisef(call, "TypeError", "%s where an int is wanted", any_kind_name(a)) : 0;
}

int call_deadline(shoal_call *call, const shoal_any *block, const shoal_any *timeout, int64_t *ret)
{
    double seconds;
    if (!call->begun) {
        call->until = SHOAL_FOREVER;
        if (block && !any_is_true(block)) {
            call->until = SHOAL_NOW;
        } else if (timeout && timeout->kind != SHOAL_ANY_NONE) {
            if (shoal_any_as_float(timeout, &seconds))
                return call_raisef(call, "TypeError", "a timeout that is %s",
                                   any_kind_name(timeout));
            call->until = shoal_after(seconds);
        }
        if (call->until > call->latest)
            call->until = call->latest;
        call->begun = true;
    }
    *ret = call->tries ? SHOAL_NOW : call->until;
    return 0;
}

bool call_would_wait(const shoal_call *call, int rc)
{
    return call->tries && call->begun && call->until != SHOAL_NOW && rc == -EAGAIN;
}

/* ---- results ---- */

int shoal_call_return(shoal_call *call, shoal_any *value)
{
    if (!call || !value)
        return any_is_null("shoal_call_return");
    shoal_any_free(call->ret);
    call->ret = value;
    call->raised = false;
    return 0;
}

int call_return_none(shoal_call *call)
{
    call->ret = shoal_any_free(call->ret);
    return 0;
}

int call_return_bool(shoal_call *call, int rc)
{
    return rc < 0 ? rc : shoal_call_return(call, shoal_any_bool(rc));
}

int call_return_int(shoal_call *call, int64_t value)
{
    return value < 0 && value >= -4095 ? (int)value : shoal_call_return(call, shoal_any_int(value));
}

int shoal_call_raise(shoal_call *call, const char *exception, const char *text)
{
    if (!call || !exception)
        return fail(-EINVAL, "shoal_call_raise: NULL");
    shoal_any *arguments =
        text ? shoal_any_tuple(shoal_any_str(text)) : shoal_any_tuple_from(NULL, 0);
    shoal_any *made = shoal_any_construct(exception, arguments);
    if (!made)
        return shoal_thread.detail[0] ? -EINVAL : -ENOMEM;
    shoal_any_free(call->ret);
    call->ret = made;
    call->raised = true;
    return SHOAL_RAISED;
}

int call_raisef(shoal_call *call, const char *exception, const char *format, ...)
{
    char text[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return shoal_call_raise(call, exception, text);
}

static const char *exception_name(int rc)
{
    switch (rc) {
    case -ENOENT: return "KeyError";
    case -ERANGE: return "IndexError";
    case -EINVAL: return "ValueError";
    case -EAGAIN:
    case -ETIMEDOUT: return "TimeoutError";
    case -EPERM: return "PermissionError";
    case -ENOMEM: return "MemoryError";
    case -EOVERFLOW: return "OverflowError";
    case -EINTR: return "InterruptedError";
    default: return "RuntimeError";
    }
}

shoal_any *call_exception(int rc)
{
    const char *text = fail_sentence();
    if (!*text)
        text = shoal_strerror(rc);
    shoal_any *made = shoal_any_construct(exception_name(rc), shoal_any_tuple(shoal_any_str(text)));
    return made ? made : shoal_any_construct(exception_name(rc), shoal_any_tuple_from(NULL, 0));
}

const char *call_outcome(shoal_call *call, shoal_any **ret)
{
    *ret = call->ret;
    call->ret = NULL;
    if (call->result == SHOAL_RAISED && call->raised && *ret)
        return "#ERROR";
    if (call->result >= 0) {
        if (!*ret)
            *ret = shoal_any_none();
        return "#RETURN";
    }
    shoal_any_free(*ret);
    *ret = call_exception(call->result);
    return "#ERROR";
}

void call_run(shoal_call *call)
{
    struct session *s = call->session;
    struct holder *own = call->holder;
    owner_t me;
    call->result = own ? self(&me) : 0;
    if (call->result)
        return;
    if (own)
        persona_swap(&own->persona);
    do
        call->result = call->method->call(call->object, call);
    while (call->result == -EINTR && !(s && s->gone) && s);
    if (own)
        persona_swap(&own->persona);
}
