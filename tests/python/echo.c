/* shoal-pickle-echo - reads and writes pickle for tests/python/codec: frames on standard input, each
 * answered on standard output.
 *
 *   asked     'd', a pickle           decode
 *             '=', two pickles        decode both, compare
 *   answered  result, texts           of 'd': repr and what encode writes; on failure the sentence
 *
 * A frame is a kind (asked) or an int32 (answered), how many parts follow (one byte), and for each
 * its size (uint32) and its bytes.
 */
#include <shoal/shoal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct part {
    void *bytes;
    uint32_t size;
};

static void take(void *ret, size_t size)
{
    if (fread(ret, 1, size, stdin) != size)
        exit(1);
}

static void give(const void *bytes, size_t size)
{
    if (fwrite(bytes, 1, size, stdout) != size)
        exit(1);
}

static void answer(int32_t result, const struct part *parts, unsigned char n)
{
    give(&result, sizeof result);
    give(&n, 1);
    for (int i = 0; i < n; i++) {
        give(&parts[i].size, sizeof parts[i].size);
        give(parts[i].bytes, parts[i].size);
    }
    if (fflush(stdout))
        exit(1);
}

static void complain(int32_t result)
{
    char *detail = strdup(shoal_error_detail());
    struct part part = {detail, (uint32_t)strlen(detail)};
    answer(result, &part, 1);
    free(detail);
}

static void decode(const struct part *part)
{
    shoal_any *any;
    char *repr;
    void *bytes;
    size_t size;
    int rc = shoal_any_decode(&any, part->bytes, part->size, NULL);
    if (rc) {
        complain(rc);
        return;
    }
    if (shoal_any_repr(any, &repr) || shoal_any_encode(any, &bytes, &size))
        exit(1);
    struct part parts[] = {{repr, (uint32_t)strlen(repr)}, {bytes, (uint32_t)size}};
    answer(0, parts, 2);
    shoal_any_free(any);
    free(repr);
    free(bytes);
}

static void compare(const struct part *parts)
{
    shoal_any *a, *b = NULL;
    int rc = shoal_any_decode(&a, parts[0].bytes, parts[0].size, NULL);
    if (!rc) {
        rc = shoal_any_decode(&b, parts[1].bytes, parts[1].size, NULL);
        if (!rc)
            rc = shoal_any_equal(a, b);
        shoal_any_free(b);
        shoal_any_free(a);
    }
    if (rc < 0)
        complain(rc);
    else
        answer(rc, NULL, 0);
}

int main(void)
{
    for (;;) {
        unsigned char kind, n;
        struct part parts[2] = {{NULL, 0}, {NULL, 0}};
        if (fread(&kind, 1, 1, stdin) != 1)
            return 0;
        take(&n, 1);
        if (n > 2)
            return 1;
        for (int i = 0; i < n; i++) {
            take(&parts[i].size, sizeof parts[i].size);
            /* Of this size exactly, so that a sanitizer sees a look beyond it. */
            parts[i].bytes = malloc(parts[i].size ? parts[i].size : 1);
            if (!parts[i].bytes)
                return 1;
            take(parts[i].bytes, parts[i].size);
        }
        if (kind == 'd')
            decode(&parts[0]);
        else
            compare(parts);
        free(parts[0].bytes);
        free(parts[1].bytes);
    }
}
