/* check.c: the assertions' other half; see check.h. */
#include "check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct check_report *check_report;

const char *check_errno_name(int error)
{
    static const struct {
        int value;
        const char *name;
    } names[] = {
#define NAME(e) {e, #e}
        NAME(EPERM),        NAME(ENOENT),        NAME(ESRCH),           NAME(EINTR),
        NAME(EIO),          NAME(ENXIO),         NAME(E2BIG),           NAME(ENOEXEC),
        NAME(EBADF),        NAME(ECHILD),        NAME(EAGAIN),          NAME(ENOMEM),
        NAME(EACCES),       NAME(EFAULT),        NAME(EBUSY),           NAME(EEXIST),
        NAME(EXDEV),        NAME(ENODEV),        NAME(ENOTDIR),         NAME(EISDIR),
        NAME(EINVAL),       NAME(ENFILE),        NAME(EMFILE),          NAME(ENOTTY),
        NAME(ETXTBSY),      NAME(EFBIG),         NAME(ENOSPC),          NAME(ESPIPE),
        NAME(EROFS),        NAME(EMLINK),        NAME(EPIPE),           NAME(EDOM),
        NAME(ERANGE),       NAME(EDEADLK),       NAME(ENAMETOOLONG),    NAME(ENOLCK),
        NAME(ENOSYS),       NAME(ENOTEMPTY),     NAME(ELOOP),           NAME(ENOMSG),
        NAME(EIDRM),        NAME(ENODATA),       NAME(ETIME),           NAME(EPROTO),
        NAME(EBADMSG),      NAME(EOVERFLOW),     NAME(EILSEQ),          NAME(EUSERS),
        NAME(ENOTSOCK),     NAME(EDESTADDRREQ),  NAME(EMSGSIZE),        NAME(EPROTOTYPE),
        NAME(ENOPROTOOPT),  NAME(EOPNOTSUPP),    NAME(EPROTONOSUPPORT), NAME(EAFNOSUPPORT),
        NAME(EADDRINUSE),   NAME(EADDRNOTAVAIL), NAME(ENETDOWN),        NAME(ENETUNREACH),
        NAME(ECONNABORTED), NAME(ECONNRESET),    NAME(ENOBUFS),         NAME(EISCONN),
        NAME(ENOTCONN),     NAME(ETIMEDOUT),     NAME(ECONNREFUSED),    NAME(EHOSTDOWN),
        NAME(EHOSTUNREACH), NAME(EALREADY),      NAME(EINPROGRESS),     NAME(ESTALE),
        NAME(EDQUOT),       NAME(ECANCELED),     NAME(EOWNERDEAD),      NAME(ENOTRECOVERABLE),
#undef NAME
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i].value == error)
            return names[i].name;
    }
    return NULL;
}

const char *check_show_int(long long value, char *buffer, size_t size)
{
    const char *name = value < 0 && value > -4096 ? check_errno_name((int)-value) : NULL;

    if (name)
        snprintf(buffer, size, "%lld (-%s)", value, name);
    else
        snprintf(buffer, size, "%lld", value);
    return buffer;
}

static void report(int skipped, const char *text)
{
    struct check_report *r = check_report;
    int empty = 0;

    if (!r ||
        !__atomic_compare_exchange_n(&r->taken, &empty, 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return;
    r->skipped = skipped;
    snprintf(r->text, sizeof(r->text), "%s", text);
    __atomic_store_n(&r->taken, 2, __ATOMIC_RELEASE);
}

_Noreturn void check_fail(const char *file, int line, const char *format, ...)
{
    char text[sizeof(check_report->text)];
    const char *base = strrchr(file, '/');
    va_list args;
    int n = snprintf(text, sizeof(text), "%s:%d: ", base ? base + 1 : file, line);

    va_start(args, format);
    vsnprintf(text + n, sizeof(text) - (size_t)n, format, args);
    va_end(args);
    fflush(stdout);
    fprintf(stderr, "%s\n", text);
    report(0, text);
    _exit(1);
}

_Noreturn void check_skip(const char *format, ...)
{
    char text[sizeof(check_report->text)];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    report(1, text);
    _exit(CHECK_SKIPPED);
}

static int compare(const char *how, int less, int equal)
{
    if (how[0] == '=')
        return equal;
    if (how[0] == '!')
        return !equal;
    if (how[0] == '<')
        return less || (how[1] == '=' && equal);
    return how[1] == '=' ? !less : !less && !equal;
}

void check_int(const char *file, int line, const char *left, const char *how, const char *right,
               long long a, long long b)
{
    char sa[60], sb[60];

    if (!compare(how, a < b, a == b))
        check_fail(file, line, "%s %s %s is false: left %s, right %s", left, how, right,
                   check_show_int(a, sa, sizeof(sa)), check_show_int(b, sb, sizeof(sb)));
}

void check_u64(const char *file, int line, const char *left, const char *how, const char *right,
               uint64_t a, uint64_t b)
{
    if (!compare(how, a < b, a == b))
        check_fail(file, line, "%s %s %s is false: left %llu (0x%llx), right %llu (0x%llx)", left,
                   how, right, (unsigned long long)a, (unsigned long long)a, (unsigned long long)b,
                   (unsigned long long)b);
}

void check_double(const char *file, int line, const char *left, const char *how, const char *right,
                  double a, double b)
{
    /* Not a number compares false with everything, "!=" included. */
    if (a != a || b != b || !compare(how, a < b, a == b))
        check_fail(file, line, "%s %s %s is false: left %.17g, right %.17g", left, how, right, a,
                   b);
}

long long check_ok(const char *file, int line, const char *text, long long value)
{
    char shown[60];

    if (value < 0)
        check_fail(file, line, "%s failed: %s", text, check_show_int(value, shown, sizeof(shown)));
    return value;
}

long long check_sys(const char *file, int line, const char *text, long long value)
{
    int error = errno;
    const char *name = check_errno_name(error);

    if (value == -1)
        check_fail(file, line, "%s failed: errno %d (%s)", text, error, name ? name : "?");
    return value;
}

void check_err(const char *file, int line, const char *text, long long value, long long wanted)
{
    char sa[60], sb[60];

    if (value != wanted)
        check_fail(file, line, "%s gave %s, wanted %s", text, check_show_int(value, sa, sizeof(sa)),
                   check_show_int(wanted, sb, sizeof(sb)));
}

void check_str(const char *file, int line, const char *left, const char *right, const char *a,
               const char *b)
{
    if (a == b || (a && b && !strcmp(a, b)))
        return;
    check_fail(file, line, "%s == %s is false: left %s%s%s, right %s%s%s", left, right,
               a ? "\"" : "", a ? a : "NULL", a ? "\"" : "", b ? "\"" : "", b ? b : "NULL",
               b ? "\"" : "");
}

void check_mem(const char *file, int line, const char *left, const char *right, const void *a,
               const void *b, size_t size)
{
    const unsigned char *x = a, *y = b;

    for (size_t i = 0; i < size; i++) {
        if (x[i] != y[i])
            check_fail(file, line,
                       "%s and %s differ from byte %zu of %zu on: left 0x%02x, right 0x%02x", left,
                       right, i, size, x[i], y[i]);
    }
}

void check_ptr(const char *file, int line, const char *left, const char *how, const char *right,
               const void *a, const void *b)
{
    if (!compare(how, 0, a == b))
        check_fail(file, line, "%s %s %s is false: left %p, right %p", left, how, right, a, b);
}

void check_true(const char *file, int line, const char *text, int value, int wanted)
{
    if (value != wanted)
        check_fail(file, line, "%s is %s", text, value ? "true" : "false");
}
