/*
 * check.h: assertions of the tests. They are always compiled in, are typed, and say on failure
 * where they stand, what was asked, and both values; a negative value that looks like an error is
 * named (-EINVAL).
 *
 * A failing assertion ends its process with status 1. If the process shares a report with whoever
 * started it (the runner and the kill harness both see to that), the text also goes there: an
 * assertion that fails in a child fails the test, even if the test forgets to look at the child's
 * exit status.
 *
 * Each argument is evaluated once. ASSERT_OK gives back its value: int fd = ASSERT_OK(open(...)).
 */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#define CHECK_SKIPPED 77 /* exit status of a test that was skipped */

/* In memory shared between the processes of a test. The first process that fails fills it in. */
struct check_report {
    int taken; /* 0: empty; 1: being written; 2: text is complete */
    int skipped;
    char text[2000];
};

/* The report of this process; inherited by fork. May be NULL. */
extern struct check_report *check_report;

/* Prints to stderr, fills the report, ends the process with status 1. */
_Noreturn void check_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
_Noreturn void check_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "EINVAL" for EINVAL, NULL if unknown. */
const char *check_errno_name(int error);
/* "-22 (-EINVAL)"; the text lives in the given buffer. */
const char *check_show_int(long long value, char *buffer, size_t size);

long long check_ok(const char *file, int line, const char *text, long long value);
void check_int(const char *file, int line, const char *left, const char *how, const char *right,
               long long a, long long b);
void check_u64(const char *file, int line, const char *left, const char *how, const char *right,
               uint64_t a, uint64_t b);
void check_err(const char *file, int line, const char *text, long long value, long long wanted);
void check_double(const char *file, int line, const char *left, const char *how, const char *right,
                  double a, double b);
void check_str(const char *file, int line, const char *left, const char *right, const char *a,
               const char *b);
void check_mem(const char *file, int line, const char *left, const char *right, const void *a,
               const void *b, size_t size);
void check_ptr(const char *file, int line, const char *left, const char *how, const char *right,
               const void *a, const void *b);
void check_true(const char *file, int line, const char *text, int value, int wanted);

#define CHECK_HERE __FILE__, __LINE__

#define ASSERT_TRUE(expr) check_true(CHECK_HERE, #expr, !!(expr), 1)
#define ASSERT_FALSE(expr) check_true(CHECK_HERE, #expr, !!(expr), 0)

#define ASSERT_EQ_INT(a, b) check_int(CHECK_HERE, #a, "==", #b, (a), (b))
#define ASSERT_NE_INT(a, b) check_int(CHECK_HERE, #a, "!=", #b, (a), (b))
#define ASSERT_LT_INT(a, b) check_int(CHECK_HERE, #a, "<", #b, (a), (b))
#define ASSERT_LE_INT(a, b) check_int(CHECK_HERE, #a, "<=", #b, (a), (b))
#define ASSERT_GT_INT(a, b) check_int(CHECK_HERE, #a, ">", #b, (a), (b))
#define ASSERT_GE_INT(a, b) check_int(CHECK_HERE, #a, ">=", #b, (a), (b))

/* Unsigned 64-bit values; shown in hexadecimal too. */
#define ASSERT_EQ_U64(a, b) check_u64(CHECK_HERE, #a, "==", #b, (a), (b))
#define ASSERT_NE_U64(a, b) check_u64(CHECK_HERE, #a, "!=", #b, (a), (b))
#define ASSERT_LE_U64(a, b) check_u64(CHECK_HERE, #a, "<=", #b, (a), (b))

#define ASSERT_EQ_DOUBLE(a, b) check_double(CHECK_HERE, #a, "==", #b, (a), (b))
#define ASSERT_LE_DOUBLE(a, b) check_double(CHECK_HERE, #a, "<=", #b, (a), (b))

/* 0 or more is success; gives the value back. */
#define ASSERT_OK(expr) check_ok(CHECK_HERE, #expr, (expr))
/* The call must fail with exactly this error: ASSERT_ERR(shoal_lock_release(l), -EPERM). */
#define ASSERT_ERR(expr, wanted) check_err(CHECK_HERE, #expr, (expr), (wanted))
/* A classic system call: -1 is failure and errno says which. */
#define ASSERT_SYS(expr) check_sys(CHECK_HERE, #expr, (expr))
long long check_sys(const char *file, int line, const char *text, long long value);

#define ASSERT_STR(a, b) check_str(CHECK_HERE, #a, #b, (a), (b))
#define ASSERT_MEM(a, b, size) check_mem(CHECK_HERE, #a, #b, (a), (b), (size))
#define ASSERT_EQ_PTR(a, b) check_ptr(CHECK_HERE, #a, "==", #b, (a), (b))
#define ASSERT_NE_PTR(a, b) check_ptr(CHECK_HERE, #a, "!=", #b, (a), (b))
#define ASSERT_NULL(a) check_ptr(CHECK_HERE, #a, "==", "NULL", (a), NULL)
#define ASSERT_NOT_NULL(a) check_ptr(CHECK_HERE, #a, "!=", "NULL", (a), NULL)

#define FAIL(...) check_fail(CHECK_HERE, __VA_ARGS__)
/* Ends the test; it counts as skipped, with this reason. Only from the test's own process. */
#define SKIP(...) check_skip(__VA_ARGS__)

#endif
