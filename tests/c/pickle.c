/* pickle: what any.h promises of bytes, and pickle.h of objects. Against Python itself:
 * tests/python/codec. */
#include "message/pickle.h"
#include "region/life.h"
#include "runner.h"
#include <errno.h>
#include <pthread.h>
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INT(n) shoal_any_int(n)
#define STR(s) shoal_any_str(s)
#define BYTES(s) (s), sizeof(s) - 1

static shoal_any *made(shoal_any *any)
{
    if (!any)
        FAIL("could not be built: %s", shoal_error_detail());
    return any;
}

static void shows(const shoal_any *any, const char *wanted)
{
    char *text;
    ASSERT_OK(shoal_any_repr(any, &text));
    ASSERT_STR(text, wanted);
    free(text);
}

static void reads(const char *bytes, size_t size, const char *wanted)
{
    shoal_any *any;
    int rc = shoal_any_decode(&any, bytes, size, NULL);
    if (rc)
        FAIL("%s: %s: %s", wanted, shoal_strerror(rc), shoal_error_detail());
    shows(any, wanted);
    shoal_any_free(any);
}

/* With a copy of exactly this size, so that a sanitizer sees a look beyond it. */
static int decode_with(shoal_any **ret, const void *bytes, size_t size,
                       const shoal_any_limits *limits)
{
    void *copy = malloc(size ? size : 1);
    memcpy(copy, bytes, size);
    int rc = shoal_any_decode(ret, copy, size, limits);
    free(copy);
    return rc;
}

static void refuses(const char *bytes, size_t size, const char *why)
{
    shoal_any *untouched = (shoal_any *)&untouched, *any = untouched;
    int rc = decode_with(&any, bytes, size, NULL);
    if (rc != -EBADMSG)
        FAIL("\"%s\": %d, not -EBADMSG", why, rc);
    if (!strstr(shoal_error_detail(), why))
        FAIL("says \"%s\", not \"%s\"", shoal_error_detail(), why);
    ASSERT_EQ_PTR(any, untouched);
}

/* ---- what CPython writes ---- */

TEST(pickle_of_every_protocol_is_read)
{
    reads(BYTES("\x80\x02]q\0(K*NX\5\0\0\0helloq\1e."), "[42, None, 'hello']");
    reads(BYTES("\x80\3]q\0(K*NX\5\0\0\0helloq\1e."), "[42, None, 'hello']");
    reads(BYTES("\x80\4\x95\x10\0\0\0\0\0\0\0]\x94(K*N\x8c\5hello\x94"
                "e."),
          "[42, None, 'hello']");
    reads(BYTES("\x80\5\x95\x10\0\0\0\0\0\0\0]\x94(K*N\x8c\5hello\x94"
                "e."),
          "[42, None, 'hello']");
    reads(BYTES("\x80\2}q\0X\1\0\0\0aq\1K\1s."), "{'a': 1}");
    reads(BYTES("\x80\2c__builtin__\nset\nq\0]q\1(K\1K\2e\x85q\2Rq\3."), "{1, 2}");
    reads(BYTES("\x80\3cbuiltins\nset\nq\0]q\1(K\1K\2e\x85q\2Rq\3."), "{1, 2}");
    reads(BYTES("\x80\4\x95\t\0\0\0\0\0\0\0\x8f\x94(K\1K\2\x90."), "{1, 2}");
    reads(BYTES("\x80\2c__builtin__\nfrozenset\nq\0]q\1K\1a\x85q\2Rq\3."), "frozenset({1})");
    reads(BYTES("\x80\4\x95\6\0\0\0\0\0\0\0(K\1\x91\x94."), "frozenset({1})");
    reads(BYTES("\x80\2c_codecs\nencode\nq\0X\2\0\0\0\xc3\xbfq\1X\6\0\0\0latin1q\2\x86q\3Rq\4."),
          "b'\\xff'");
    reads(BYTES("\x80\2c__builtin__\nbytes\nq\0)Rq\1."), "b''");
    reads(BYTES("\x80\4\x95\"\0\0\0\0\0\0\0\x8c\x08"
                "builtins\x94\x8c\tbytearray\x94\x93\x94"
                "C\1x\x94\x85\x94R\x94."),
          "bytearray(b'x')");
    reads(BYTES("\x80\4\x95\x1d\0\0\0\0\0\0\0\x8c\x08"
                "builtins\x94\x8c\tbytearray\x94\x93\x94)R\x94."),
          "bytearray(b'')");
    reads(BYTES("\x80\5\x95\x0c\0\0\0\0\0\0\0\x96\1\0\0\0\0\0\0\0x\x94."), "bytearray(b'x')");
    reads(BYTES("\x80\2c__builtin__\ncomplex\nq\0G?\xf0\0\0\0\0\0\0G@\0\0\0\0\0\0\0\x86q\1Rq\2."),
          "(1+2j)");
    reads(BYTES("\x80\2c__builtin__\nxrange\nq\0K\0K\3K\1\x87q\1Rq\2."), "range(0, 3)");
    reads(BYTES("\x80\3cbuiltins\nrange\nq\0K\0K\3K\1\x87q\1Rq\2."), "range(0, 3)");
    reads(BYTES("\x80\3cbuiltins\nslice\nq\0K\1K\2N\x87q\1Rq\2."), "slice(1, 2, None)");
    reads(BYTES("\x80\2cexceptions\nValueError\nq\0X\2\0\0\0noq\1\x85q\2Rq\3."),
          "ValueError('no')");
    reads(BYTES("\x80\3c_queue\nEmpty\nq\0)Rq\1."), "Empty()");
    reads(BYTES("\x80\2cQueue\nFull\nq\0)Rq\1."), "Full()");
}

TEST(pickle_ints_floats_and_texts_of_every_form_are_read)
{
    reads(BYTES("\x80\2K\xff."), "255");
    reads(BYTES("\x80\2M\xff\xff."), "65535");
    reads(BYTES("\x80\2J\xff\xff\xff\xff."), "-1");
    reads(BYTES("\x80\2\x8a\0."), "0");
    reads(BYTES("\x80\2\x8a\5\0\0\0\x80\0."), "2147483648");
    reads(BYTES("\x80\2\x8a\t\0\0\0\0\0\0\0\x80\xff."), "-9223372036854775808");
    reads(BYTES("\x80\2\x8b\t\0\0\0\0\0\0\0\0\0\0\x80\0."), "9223372036854775808");
    reads(BYTES("\x80\2G\xbf\xf0\0\0\0\0\0\0."), "-1.0");
    reads(BYTES("\x80\4\x88."), "True");
    reads(BYTES("\x80\4\x89."), "False");
    reads(BYTES("\x80\4X\3\0\0\0abc."), "'abc'");
    reads(BYTES("\x80\4\x8d\3\0\0\0\0\0\0\0abc."), "'abc'");
    reads(BYTES("\x80\4\x8c\4x\xed\xb2\x80."), "'x\\udc80'");
    reads(BYTES("\x80\4B\3\0\0\0abc."), "b'abc'");
    reads(BYTES("\x80\4\x8e\3\0\0\0\0\0\0\0abc."), "b'abc'");
    reads(BYTES("\x80\4)."), "()");
    reads(BYTES("\x80\4K\1K\2K\3\x87."), "(1, 2, 3)");
    reads(BYTES("\x80\4(K\1K\2K\3K\4t."), "(1, 2, 3, 4)");
}

TEST(pickle_memo_of_every_form_is_read)
{
    reads(BYTES("\x80\2](X\1\0\0\0ap0\ng0\ne."), "['a', 'a']");
    reads(BYTES("\x80\2](X\1\0\0\0aq\0h\0e."), "['a', 'a']");
    reads(BYTES("\x80\2](X\1\0\0\0ar\1\0\0\0j\1\0\0\0e."), "['a', 'a']");
    reads(BYTES("\x80\4](\x8c\1a\x94h\0e."), "['a', 'a']");
    reads(BYTES("\x80\4](]\x94(K\1K\2eh\0h\0e."), "[[1, 2], [1, 2], [1, 2]]");
    /* CPython 3.12 and up: an exception whose state has its arguments again. */
    reads(BYTES("\x80\4\x8c\x08"
                "builtins\x94\x8c\x0e"
                "AttributeError\x94\x93\x94\x8c\1x\x94\x85\x94R\x94}\x94\x8c\4args\x94h\4sb."),
          "AttributeError('x')");
}

TEST(pickle_state_of_an_exception_is_kept_and_written)
{
    static const char bytes[] = "\x80\3cbuiltins\nImportError\nq\0X\1\0\0\0xq\1\x85q\2Rq\3}q\4X\4\0"
                                "\0\0nameq\5X\1\0\0\0nq\6sb.";
    shoal_any *any, *again;
    const shoal_any *state;
    void *written;
    size_t size;
    ASSERT_OK(shoal_any_decode(&any, BYTES(bytes), NULL));
    shows(any, "ImportError('x')");
    ASSERT_OK(shoal_any_state(any, &state));
    shows(state, "{'name': 'n'}");
    ASSERT_OK(shoal_any_encode(any, &written, &size));
    ASSERT_OK(shoal_any_decode(&again, written, size, NULL));
    ASSERT_OK(shoal_any_state(again, &state));
    shows(state, "{'name': 'n'}");
    ASSERT_EQ_INT(shoal_any_equal(any, again), 1);
    shoal_any_free(any);
    shoal_any_free(again);
    free(written);
}

TEST(pickle_duplicate_keys_and_members_are_as_python_keeps_them)
{
    reads(BYTES("\x80\4}(K\1\x8c\1aG?\xf0\0\0\0\0\0\0\x8c\1bu."), "{1: 'b'}");
    reads(BYTES("\x80\4\x8f(K\1\x88K\1\x90."), "{1}");
    reads(BYTES("\x80\4(\x88K\1\x91."), "frozenset({True})");
}

/* ---- what is refused ---- */

TEST(pickle_that_is_cut_off_anywhere_is_refused)
{
    static const char *const whole[] = {
        "\x80\4\x95\x10\1\1\1\1\1\1\1", /* a frame beyond the end */
        "\x80\3cbuiltins\nrange\nq\1K\1K\3K\1\x87q\1Rq\2h\2\x86.",
        "\x80\2]q\1(X\1\1\1\1",
    };
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        for (size_t size = 0; size < strlen(whole[i]); size++)
            refuses(whole[i], size, "");
    static const char all[] =
        "\x80\4\x95\x2d\0\0\0\0\0\0\0](K\1M\1\1J\1\1\1\1\x8a\1\1\x8b\1\0\0\0\1G"
        "\1\1\1\1\1\1\1\1\x8c\1aC\1aX\1\0\0\0aB\1\0\0\0a\x94h\0e.";
    reads(BYTES(all),
          "[1, 257, 16843009, 1, 1, 7.748604185489348e-304, 'a', b'a', 'a', b'a', b'a']");
    for (size_t size = 0; size < sizeof all - 1; size++)
        refuses(all, size, "");
}

TEST(pickle_of_another_protocol_or_of_none_is_refused)
{
    refuses(BYTES(""), "ends in the middle");
    refuses(BYTES("I1\n."), "not protocol");
    refuses(BYTES("\x80\1K\1."), "not protocol");
    refuses(BYTES("\x80\6K\1."), "not protocol");
    refuses(BYTES("{\"json\": 1}"), "not protocol");
}

TEST(pickle_opcodes_that_make_no_plain_value_are_refused)
{
    char bytes[16] = {'\x80', 4};
    static const char known[] = "NJKMGXBC\x88\x89\x8a\x8b\x8c\x8d\x8e\x96]})(\x8f\x95";
    for (int opcode = 0; opcode < 256; opcode++) {
        bytes[2] = (char)opcode;
        memset(bytes + 3, 0, 12);
        if (!memchr(known, opcode, sizeof known - 1))
            refuses(bytes, sizeof bytes, "");
    }
    refuses(BYTES("\x80\5\x97."), "out of band");
    refuses(BYTES("\x80\5K\1\x98."), "out of band");
    refuses(BYTES("\x80\4K\1Q."), "object");
    refuses(BYTES("\x80\4P1\n."), "opcode 0x50");
    refuses(BYTES("\x80\2cbuiltins\nrange\n)\x81."), "opcode 0x81");
    refuses(BYTES("\x80\2\x82\1."), "opcode 0x82");
    refuses(BYTES("\x80\2(i__main__\nC\n."), "opcode 0x69");
}

/* What Python's managers send, as its pickle writes it. */
#define MANAGERS "\x8c\x18multiprocessing.managers\x94"

TEST(pickle_of_a_proxy_is_read_and_written)
{
    shoal_any *any, *again;
    const shoal_any *arguments, *class, *none;
    const char *name;
    void *bytes;
    size_t size;
    static const char proxy[] =
        "\x80\4" MANAGERS
        "\x8c\x0cRebuildProxy\x94\x93\x94(h\0\x8c\x09ListProxy\x94\x93\x94h\0\x8c\5Token"
        "\x94\x93\x94)\x81\x94\x8c\4list\x94\x8c\1h\x94K\5\x86\x94\x8c\4"
        "7f00\x94\x87\x94"
        "b\x8c\6pickle\x94}\x94t\x94R\x94.";
    ASSERT_OK(decode_with(&any, proxy, sizeof proxy - 1, NULL));
    ASSERT_OK(shoal_any_as_construct(any, &name, &arguments));
    ASSERT_STR(name, "multiprocessing.RebuildProxy");
    ASSERT_OK(shoal_any_at(arguments, 0, &class));
    ASSERT_OK(shoal_any_as_construct(class, &name, &none));
    ASSERT_STR(name, "multiprocessing.ListProxy");
    ASSERT_EQ_INT(shoal_any_count(none), 0);
    ASSERT_OK(shoal_any_encode(any, &bytes, &size));
    ASSERT_OK(decode_with(&again, bytes, size, NULL));
    ASSERT_TRUE(shoal_any_equal(any, again));
    free(bytes);
    shoal_any_free(any);
    shoal_any_free(again);
    reads(BYTES("\x80\4\x8c\5array\x8c\5array\x93\x8c\1bC\2\1\2\x86R."),
          "array('b', b'\\x01\\x02')");
    reads(BYTES("\x80\4\x8c\x08"
                "builtins\x8c\4list\x93]K\1a\x85R."),
          "[1]");
}

TEST(pickle_of_a_proxy_that_is_none_is_refused)
{
    refuses(BYTES("\x80\4" MANAGERS "\x8c\5Token\x93)\x81."), "a blank is no plain value");
    refuses(BYTES("\x80\4" MANAGERS "\x8c\5Token\x93)\x81\x85."), "a blank is no value");
    refuses(BYTES("\x80\4" MANAGERS "\x8c\5Token\x93)\x81N"
                  "b."),
            "cannot be called");
    refuses(BYTES("\x80\4" MANAGERS "\x8c\5Token\x93)\x81K\1K\2K\3\x87"
                  "b."),
            "cannot be called");
    refuses(BYTES("\x80\4" MANAGERS "\x8c\5Token\x93K\1\x85\x81."), "opcode 0x81");
    refuses(BYTES("\x80\4" MANAGERS "\x8c\x0cRebuildProxy\x93)R."), "cannot be called");
    refuses(BYTES("\x80\4" MANAGERS "\x8c\x0bSyncManager\x93)R."), "SyncManager");
    refuses(BYTES("\x80\4\x8c\x08"
                  "builtins\x8c\4list\x93K\1\x85R."),
            "a list of something");
}

TEST(pickle_names_outside_the_table_are_refused_by_name)
{
    refuses(BYTES("\x80\2cos\nsystem\nX\2\0\0\0rm\x85R."), "os.system");
    refuses(BYTES("\x80\4\x8c\2os\x8c\6system\x93\x8c\2rm\x85R."), "os.system");
    refuses(BYTES("\x80\4\x8c\x08"
                  "builtins\x8c\4eval\x93."),
            "builtins.eval");
    refuses(BYTES("\x80\3c__builtin__\nset\n]\x85R."), "__builtin__.set"); /* of protocol 2 only */
    refuses(BYTES("\x80\4\x8c\x08"
                  "builtins\x8c\x0frange.__class__\x93."),
            "range.__class__");
    refuses(BYTES("\x80\2c\x01\xff\n\x1b[2J\n."), "??.?[2J");
    refuses(BYTES("\x80\2cbuiltins\nrange"), "ends in the middle");
    refuses(BYTES("\x80\4K\1\x8c\1x\x93."), "no str");
}

TEST(pickle_names_are_no_values)
{
    refuses(BYTES("\x80\3cbuiltins\nValueError\n."), "a class");
    refuses(BYTES("\x80\3]cbuiltins\nValueError\na."), "a class");
    refuses(BYTES("\x80\3}K\1cbuiltins\nValueError\ns."), "a class");
    refuses(BYTES("\x80\4\x8f(cbuiltins\nValueError\n\x90."), "a class");
    refuses(BYTES("\x80\3cbuiltins\nValueError\n\x85."), "a class");
    refuses(BYTES("\x80\4(."), "");
    refuses(BYTES("\x80\4K\1(."), "2 values");
}

TEST(pickle_calls_with_arguments_that_do_not_fit_are_refused)
{
    refuses(BYTES("\x80\3cbuiltins\nset\nK\1\x85R."), "a set of something");
    refuses(BYTES("\x80\3cbuiltins\nset\n]]\x86R."), "a set of something");
    refuses(BYTES("\x80\3cbuiltins\nset\n]]a\x85R."), "cannot be in a set");
    refuses(BYTES("\x80\3cbuiltins\nbytes\nK\1\x85R."), "bytes of something");
    refuses(BYTES("\x80\3cbuiltins\nrange\nK\1\x85R."), "range: cannot");
    refuses(BYTES("\x80\3cbuiltins\nrange\nK\1K\1K\0\x87R."), "range: cannot");
    refuses(BYTES("\x80\3c_codecs\nencode\nX\1\0\0\0aX\4\0\0\0utf8\x86R."), "latin1");
    refuses(BYTES("\x80\3c_codecs\nencode\nX\2\0\0\0\xc4\x80X\6\0\0\0latin1\x86R."), "beyond 255");
    refuses(BYTES("\x80\3c_codecs\nencode\n)R."), "latin1");
    refuses(BYTES("\x80\3cbuiltins\nrange\n]R."), "a list");
    refuses(BYTES("\x80\3K\1)R."), "an int");
    refuses(BYTES("\x80\3cbuiltins\nrange\nK\1K\1K\1\x87R}b."), "no such state");
    refuses(BYTES("\x80\3cbuiltins\nKeyError\n)RK\1b."), "no such state");
    refuses(BYTES("\x80\3cbuiltins\nKeyError\n)R}K\1K\1sb."), "name of an attribute");
    refuses(BYTES("\x80\3cbuiltins\nKeyError\n)R}b}b."), "any more");
    refuses(BYTES("\x80\3]}b."), "sets the state of a list");
}

TEST(pickle_that_refers_to_itself_is_refused)
{
    refuses(BYTES("\x80\4]\x94h\0a."), "itself");
    refuses(BYTES("\x80\4]\x94(h\0e."), "itself");
    refuses(BYTES("\x80\4}\x94\x8c\1ah\0s."), "itself");
    refuses(BYTES("\x80\4}\x94(\x8c\1ah\0u."), "itself");
    refuses(BYTES("\x80\4]\x94h\0\x85\x94"
                  "a."),
            "itself"); /* L = []; L.append((L,)) */
    refuses(BYTES("\x80\3cbuiltins\nKeyError\n)Rq\0}X\1\0\0\0ah\0sb."), "any more");
    refuses(BYTES("\x80\4]\x94]h\0a\x94h\0K\1a."), "itself"); /* changes after it was used */
    refuses(BYTES("\x80\4\x8f\x94h\0(K\1\x90."), "itself");
}

TEST(pickle_stack_tricks_are_refused)
{
    refuses(BYTES("\x80\4."), "0 values");
    refuses(BYTES("\x80\4K\1K\2."), "2 values");
    refuses(BYTES("\x80\4K\1.K\2."), "3 bytes behind");
    refuses(BYTES("\x80\4a."), "empty stack");
    refuses(BYTES("\x80\4]a."), "empty stack");
    refuses(BYTES("\x80\4K\1K\1a."), "puts into an int");
    refuses(BYTES("\x80\4e."), "no mark");
    refuses(BYTES("\x80\4(e."), "empty stack");
    refuses(BYTES("\x80\4K\1(K\1e."), "puts into an int");
    refuses(BYTES("\x80\4](K\1a."), "empty stack"); /* not through a mark */
    refuses(BYTES("\x80\4](\x85."), "empty stack");
    refuses(BYTES("\x80\4](\x94."), "empty stack");
    refuses(BYTES("\x80\4}(K\1u."), "without a value");
    refuses(BYTES("\x80\4(K\1\x91(K\2\x90."), "puts into a set");
    refuses(BYTES("\x80\4}]K\1s."), "a list cannot be a key");
    refuses(BYTES("\x80\4\x8f(\x8f\x90."), "a set cannot be in a set");
    refuses(BYTES("\x80\4\x8f(}\x85\x90."), "cannot be in a set");
}

TEST(pickle_memo_tricks_are_refused)
{
    refuses(BYTES("\x80\4h\0."), "refers to number 0");
    refuses(BYTES("\x80\4K\1\x94h\1\x86."), "refers to number 1");
    refuses(BYTES("\x80\4K\1j\xff\xff\xff\xff."), "refers to number");
    refuses(BYTES("\x80\4K\1r\xff\xff\xff\xff."), "a memo with number");
    refuses(BYTES("\x80\4K\1q\xff."), "a memo with number");
    refuses(BYTES("\x80\4K\1p99\n."), "a memo with number");
    refuses(BYTES("\x80\4K\1p4294967296\n."), "a memo with number");
    refuses(BYTES("\x80\4K\1p99999999999\n."), "11 digits");
    refuses(BYTES("\x80\4K\1p-1\n."), "a number that is none");
    refuses(BYTES("\x80\4K\1p\n."), "0 digits");
    refuses(BYTES("\x80\4K\1p1"), "ends in the middle");
    refuses(BYTES("\x80\4\x94."), "empty stack");
}

TEST(pickle_lengths_beyond_the_end_are_refused)
{
    refuses(BYTES("\x80\4\x8c\xff"
                  "a."),
            "ends in the middle");
    refuses(BYTES("\x80\4X\xff\xff\xff\xff"
                  "a."),
            "ends in the middle");
    refuses(BYTES("\x80\4\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
                  "a."),
            "ends in the middle");
    refuses(BYTES("\x80\4\x8e\xff\xff\xff\xff\xff\xff\xff\x7f"
                  "a."),
            "ends in the middle");
    refuses(BYTES("\x80\5\x96\xf8\xff\xff\xff\xff\xff\xff\xff"
                  "a."),
            "ends in the middle");
    refuses(BYTES("\x80\4\x8b\xff\xff\xff\xff"
                  "a."),
            "ends in the middle");
    refuses(BYTES("\x80\4\x95\xff\xff\xff\xff\xff\xff\xff\xffN."), "ends in the middle");
}

TEST(pickle_texts_that_are_not_utf8_are_refused)
{
    refuses(BYTES("\x80\4\x8c\1\xff."), "UTF-8");
    refuses(BYTES("\x80\4\x8c\x12sixteen letters.\xc3."), "");
    refuses(BYTES("\x80\4X\x03\0\0\0\xe2\x82\x28."), "UTF-8");
    refuses(BYTES("\x80\4\x8d\2\0\0\0\0\0\0\0\xc0\x80."), "UTF-8");
}

/* `begin`, then n times `each`, then n times `back` and a STOP. */
static char *repeat(const char *begin, const char *each, size_t each_size, const char *back,
                    size_t back_size, size_t n, size_t *size)
{
    size_t first = strlen(begin);
    char *bytes = malloc(first + n * (each_size + back_size) + 1), *p = bytes;
    memcpy(p, begin, first);
    p += first;
    for (size_t i = 0; i < n; i++, p += each_size)
        memcpy(p, each, each_size);
    for (size_t i = 0; i < n; i++, p += back_size)
        memcpy(p, back, back_size);
    *p++ = '.';
    *size = (size_t)(p - bytes);
    return bytes;
}

TEST(pickle_nested_deeper_than_the_limit_is_refused)
{
    size_t size;
    shoal_any *any;
    char *deep = repeat("\x80\4N", BYTES(""), BYTES("\x85"), 1000, &size);
    ASSERT_OK(shoal_any_decode(&any, deep, size, NULL));
    shoal_any_free(any);
    ASSERT_ERR(shoal_any_decode(&any, deep, size, &(shoal_any_limits){.depth = 999}), -EBADMSG);
    ASSERT_OK(shoal_any_decode(&any, deep, size, &(shoal_any_limits){.depth = 1000}));
    shoal_any_free(any);
    ASSERT_ERR(shoal_any_decode(&any, deep, size, &(shoal_any_limits){.depth = 1001}), -EINVAL);
    free(deep);
    deep = repeat("\x80\4N", BYTES(""), BYTES("\x85"), 1001, &size);
    refuses(deep, size, "deeper");
    free(deep);
    deep = repeat("\x80\4", BYTES("]"), BYTES("a"), 1000000, &size);
    refuses(deep, size, "deeper");
    free(deep);
    deep = repeat("\x80\4", BYTES("("), BYTES("t"), 1000000, &size);
    refuses(deep, size, "deeper");
    free(deep);
    deep = repeat("\x80\4", BYTES("("), BYTES("\x91"), 1000, &size);
    refuses(deep, size, "sets in sets");
    free(deep);
}

TEST(pickle_that_is_small_and_becomes_huge_is_refused)
{
    /* A tuple of lists, each of which holds the one before it sixteen times. */
    char bytes[2000], *p = bytes;
    p += sprintf(p, "\x80\4(]\x94(NNNNNNNNNNNNNNNNe");
    for (int i = 0; i < 30; i++) {
        p += sprintf(p, "]\x94(");
        for (int k = 0; k < 16; k++) {
            *p++ = 'h';
            *p++ = (char)i;
        }
        *p++ = 'e';
    }
    p += sprintf(p, "t.");
    refuses(bytes, (size_t)(p - bytes), "more values than the limit");
}

/* Sets of eight, each member a tuple of the set before it and a number. To find one among the eight by
 * comparing all would take some 30 times as long on each level as on the one below. */
TEST(pickle_of_keys_that_begin_alike_is_read_in_time)
{
    char bytes[1000], *p = bytes;
    shoal_any *any, *again;
    p += sprintf(p, "\x80\4((\x91\x94");
    for (int level = 0; level < 7; level++) {
        *p++ = '(';
        for (int i = 0; i < 8; i++, p += 5)
            memcpy(p, (char[]){'h', (char)level, 'K', (char)i, '\x86'}, 5);
        p += sprintf(p, "\x91\x94");
    }
    p += sprintf(p, "t.");
    ASSERT_OK(shoal_any_decode(&any, bytes, (size_t)(p - bytes), NULL));
    ASSERT_OK(shoal_any_decode(&again, bytes, (size_t)(p - bytes), NULL));
    ASSERT_EQ_INT(shoal_any_equal(any, again), 1);
    shoal_any_free(any);
    shoal_any_free(again);
}

TEST(pickle_of_one_long_text_referred_to_often_is_refused)
{
    enum { SIZE = 1 << 20, TIMES = 2000 };
    char *bytes = malloc(SIZE + 3 * TIMES + 100), *p = bytes;
    shoal_any *any;
    p += sprintf(p, "\x80\4](X");
    *p++ = 0, *p++ = 0, *p++ = 16, *p++ = 0;
    memset(p, 'a', SIZE);
    p += SIZE;
    *p++ = '\x94';
    for (int i = 0; i < TIMES; i++) {
        *p++ = 'h';
        *p++ = 0;
    }
    p += sprintf(p, "e.");
    refuses(bytes, (size_t)(p - bytes), "limit");
    ASSERT_OK(shoal_any_decode(&any, bytes, (size_t)(p - bytes),
                               &(shoal_any_limits){.bytes = (size_t)4 << 30}));
    shoal_any_free(any);
    free(bytes);
}

TEST(pickle_limits_are_kept_exactly)
{
    static const char list[] = "\x80\4](NNNNNNNNNNe.";
    shoal_any *any;
    ASSERT_OK(shoal_any_decode(&any, BYTES(list), &(shoal_any_limits){.nodes = 10}));
    shoal_any_free(any);
    ASSERT_ERR(shoal_any_decode(&any, BYTES(list), &(shoal_any_limits){.nodes = 9}), -EBADMSG);
    ASSERT_ERR(shoal_any_decode(&any, BYTES("\x80\4](]\x94h\0h\0e."),
                                &(shoal_any_limits){.nodes = 4}),
               -EBADMSG); /* both references count, too */
}

/* Every place where reading takes memory may be the one where there is none left. */
TEST(pickle_that_needs_more_memory_than_the_limit_is_refused_everywhere)
{
    shoal_any *any = NULL, *list = made(shoal_any_list());
    void *bytes;
    size_t size, most = 1;
    for (int i = 0; i < 40; i++) {
        ASSERT_OK(shoal_any_append(
            list, shoal_any_dict(INT(i), shoal_any_set(STR("a text of more than 16 bytes"), INT(i)),
                                 STR("x"), shoal_any_int_bytes("0123456789abcdefgh", 18))));
        ASSERT_OK(shoal_any_append(list, shoal_any_construct("KeyError", shoal_any_tuple(INT(i)))));
    }
    ASSERT_OK(shoal_any_encode(list, &bytes, &size));
    shoal_any_free(list);
    int rc = -EBADMSG;
    for (; rc == -EBADMSG; most += 7) {
        rc = decode_with(&any, bytes, size, &(shoal_any_limits){.bytes = most});
        if (rc)
            ASSERT_EQ_INT(rc, -EBADMSG);
    }
    ASSERT_GT_INT(most, 80 * 64);
    ASSERT_LT_INT(most, 80 * 1024);
    shoal_any_free(any);
    free(bytes);
}

/* ---- what is written ---- */

TEST(pickle_is_written_in_protocol_4)
{
    void *bytes;
    size_t size;
    shoal_any *list = made(shoal_any_list(INT(42), shoal_any_none(), STR("hello")));
    ASSERT_OK(shoal_any_encode(list, &bytes, &size));
    ASSERT_EQ_INT(size, 25);
    ASSERT_MEM(bytes, "\x80\4\x95\x0e\0\0\0\0\0\0\0](K*N\x8c\5helloe.", 25);
    shoal_any_free(list);
    free(bytes);
}

/* Writes between two canaries, and compares what comes back. Frees it. */
static void round_trip(shoal_any *any)
{
    size_t size;
    shoal_any *again;
    ASSERT_OK(pickle_measure(made(any), &size, NULL));
    unsigned char *out = malloc(size + 32);
    memset(out, 0xa5, size + 32);
    pickle_write(any, out + 16);
    for (int i = 0; i < 16; i++) {
        ASSERT_EQ_INT(out[i], 0xa5);
        ASSERT_EQ_INT(out[size + 16 + i], 0xa5);
    }
    ASSERT_EQ_INT(out[size + 15], '.');
    ASSERT_OK(decode_with(&again, out + 16, size, NULL));
    ASSERT_EQ_INT(shoal_any_equal(any, again), 1);
    ASSERT_EQ_INT(shoal_any_kind(any), shoal_any_kind(again));
    size_t size_again;
    ASSERT_OK(pickle_measure(again, &size_again, NULL));
    ASSERT_EQ_INT(size, size_again);
    free(out);
    shoal_any_free(any);
    shoal_any_free(again);
}

TEST(pickle_writes_as_many_bytes_as_it_measures)
{
    static char text[70000];
    static const size_t sizes[] = {0,   1,   3,     4,     7,     8,     15,    16,    17,
                                   255, 256, 65500, 65518, 65519, 65520, 65521, 65535, 65536};
    memset(text, 'x', sizeof text - 1);
    for (int shift = 0; shift < 64; shift++)
        for (int add = -1; add <= 1; add++) {
            round_trip(INT((int64_t)((1ull << shift) + (uint64_t)add)));
            round_trip(INT((int64_t)(-(1ull << shift) + (uint64_t)add)));
        }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        round_trip(shoal_any_str_sized(text, sizes[i]));
        round_trip(shoal_any_bytes(text, sizes[i]));
        round_trip(shoal_any_int_bytes(text, sizes[i]));
        round_trip(shoal_any_list(shoal_any_bytes(text, sizes[i]), shoal_any_none()));
    }
    for (size_t n = 0; n < 6; n++) {
        shoal_any *items[8];
        for (int kind = 0; kind < 5; kind++) {
            static shoal_any *(*const from[])(shoal_any *const *,
                                              size_t) = {shoal_any_list_from, shoal_any_tuple_from,
                                                         shoal_any_set_from,
                                                         shoal_any_frozenset_from,
                                                         shoal_any_dict_from};
            for (size_t i = 0; i < n / 2 * 2; i++)
                items[i] = INT((int64_t)i);
            round_trip(from[kind](items, n / 2 * 2));
            if (kind < 4) {
                for (size_t i = 0; i < n; i++)
                    items[i] = STR(text + sizeof text - 2 - i);
                round_trip(from[kind](items, n));
            }
        }
    }
    round_trip(shoal_any_float(1.5));
    round_trip(shoal_any_bool(true));
    round_trip(shoal_any_none());
    round_trip(shoal_any_construct("ModuleNotFoundError", shoal_any_tuple(STR("x"))));
    round_trip(shoal_any_construct("queue.Empty", shoal_any_tuple()));
    round_trip(shoal_any_construct("range", shoal_any_tuple(INT(0), INT(300), INT(-70000))));
}

TEST(pickle_writes_frozensets_where_only_they_can_be)
{
    round_trip(shoal_any_set(shoal_any_frozenset(INT(1)), shoal_any_tuple(shoal_any_frozenset())));
    round_trip(shoal_any_dict(shoal_any_frozenset(INT(1)), shoal_any_set(INT(1))));
}

/* ---- objects ---- */

static shoal_any *object(uint32_t id)
{
    return any_from_object(&(shoal_reference){7, id, id + 1}, TYPE_LOCK);
}

TEST(pickle_objects_travel_beside_the_bytes)
{
    struct pickle_objects objects = {0};
    shoal_any *any = made(shoal_any_list(object(5), shoal_any_dict(STR("a"), object(6)), INT(1),
                                         shoal_any_list(INT(2)), shoal_any_tuple(object(5)))),
              *again;
    const shoal_any *item;
    shoal_reference reference;
    size_t size;
    ASSERT_OK(pickle_measure(any, &size, &objects));
    ASSERT_EQ_INT(objects.count, 3);
    ASSERT_EQ_INT(objects.at[1].reference.id, 6);
    ASSERT_EQ_INT(objects.at[1].type, TYPE_LOCK);
    unsigned char *bytes = malloc(size);
    pickle_write(any, bytes);
    ASSERT_OK(pickle_read(&again, bytes, size, NULL, objects.at, objects.count));
    ASSERT_EQ_INT(shoal_any_equal(any, again), 1);
    ASSERT_OK(shoal_any_at(again, 0, &item));
    ASSERT_EQ_INT(shoal_any_kind(item), SHOAL_ANY_OBJECT);
    ASSERT_OK(shoal_any_as_reference(item, &reference));
    ASSERT_EQ_INT(reference.id, 5);
    ASSERT_EQ_INT(reference.generation, 6);
    objects.at[0].reference.generation++;
    shoal_any_free(again);
    ASSERT_OK(pickle_read(&again, bytes, size, NULL, objects.at, objects.count));
    ASSERT_EQ_INT(shoal_any_equal(any, again), 0);
    shoal_any_free(again);
    ASSERT_ERR(pickle_read(&again, bytes, size, NULL, objects.at, 2), -EBADMSG);
    ASSERT_ERR(pickle_read(&again, bytes, size, NULL, NULL, 0), -EBADMSG);
    ASSERT_ERR(pickle_read(&again, BYTES("\x80\4J\xff\xff\xff\xffQ."), NULL, objects.at, 3),
               -EBADMSG);
    ASSERT_ERR(pickle_read(&again, BYTES("\x80\4\x8c\1aQ."), NULL, objects.at, 3), -EBADMSG);
    free(bytes);
    pickle_objects_free(&objects);
    shoal_any_free(any);
}

TEST(pickle_objects_do_not_leave_their_family)
{
    void *bytes;
    size_t size;
    shoal_any *any = made(shoal_any_list(shoal_any_list(object(1)))), *copy;
    ASSERT_ERR(shoal_any_encode(any, &bytes, &size), -EINVAL);
    ASSERT_STR(shoal_error_detail(),
               "an object of the family cannot leave it: elsewhere it means nothing");
    ASSERT_ERR(pickle_measure(any, &size, NULL), -EINVAL);
    copy = made(shoal_any_copy(any));
    shoal_any_free(any);
    shows(copy, "[[<object 1.2 of type 2>]]");
    shoal_any_free(copy);
}

TEST(pickle_numbers_as_many_objects_as_there_are)
{
    enum { MANY = 1000 };
    struct pickle_objects objects = {0};
    shoal_any *list = made(shoal_any_list()), *again;
    size_t size;
    for (uint32_t i = 0; i < MANY; i++)
        ASSERT_OK(shoal_any_append(list, object(i)));
    ASSERT_OK(pickle_measure(list, &size, &objects));
    ASSERT_EQ_INT(objects.count, MANY);
    unsigned char *bytes = malloc(size);
    pickle_write(list, bytes);
    ASSERT_OK(pickle_read(&again, bytes, size, NULL, objects.at, objects.count));
    ASSERT_EQ_INT(shoal_any_equal(list, again), 1);
    free(bytes);
    pickle_objects_free(&objects);
    shoal_any_free(list);
    shoal_any_free(again);
}

/* ---- bytes that change while they are read ---- */

static unsigned char changing[64];
static _Atomic bool stop;

static void *change_bytes(void *original)
{
    unsigned seed = 1;
    while (!stop) {
        seed = seed * 1103515245 + 12345;
        size_t at = seed >> 8 & 63;
        volatile unsigned char *p = &changing[at];
        *p = (unsigned char)(seed >> 20);
        *p = ((const unsigned char *)original)[at];
    }
    return NULL;
}

TEST(pickle_that_changes_while_it_is_read_gives_an_error_or_a_whole_value)
{
    static const unsigned char original[64] =
        "\x80\4](\x8c\7\xc3\xa4\xc3\xa4"
        "abc\x94\x8a\x0a\1\2\3\4\5\6\7\x8\x9\x7f}(K\1h\0\x8c\x04\xe2\x82\xac.\x86K\2NuC\5xxxxxe.";
    pthread_t thread;
    int read = 0;
    memcpy(changing, original, sizeof changing);
    size_t size = sizeof original;
    while (original[size - 1] != '.')
        size--;
    ASSERT_EQ_INT(pthread_create(&thread, NULL, change_bytes, (void *)(uintptr_t)original), 0);
    for (int i = 0; i < 100000; i++) {
        shoal_any *any, *again;
        void *bytes;
        size_t n;
        int rc = shoal_any_decode(&any, changing, size, NULL);
        if (rc) {
            ASSERT_EQ_INT(rc, -EBADMSG);
            continue;
        }
        /* What was built is right in itself: valid text, ints in their one form. */
        read++;
        ASSERT_OK(shoal_any_encode(any, &bytes, &n));
        ASSERT_OK(shoal_any_decode(&again, bytes, n, NULL));
        free(bytes);
        shoal_any_free(any);
        shoal_any_free(again);
    }
    stop = true;
    ASSERT_EQ_INT(pthread_join(thread, NULL), 0);
    ASSERT_GT_INT(read, 0);
}
