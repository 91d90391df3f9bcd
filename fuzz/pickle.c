/* Pickle from outside: whatever the bytes are, reading them is -EBADMSG or gives a value that is
 * right in itself: it can be shown, compared, copied, and written; what was written is read as the
 * same value, and written again is the same bytes. The first byte says how: its lowest bit whether
 * there are objects of a family beside the bytes, the others how little memory there may be. */
#include "message/pickle.h"
#include <shoal/shoal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct any_object objects[3] = {
    {.reference = {1, 2, 3}, .type = 4},
    {.reference = {5, 6, 7}, .type = 8},
    {.reference = {9, 10, 11}, .type = 12},
};

static void check(bool right)
{
    if (!right)
        abort();
}

static unsigned char *write_all(const shoal_any *any, size_t *size, struct pickle_objects *beside)
{
    check(!pickle_measure(any, size, beside));
    unsigned char *bytes = malloc(*size);
    check(bytes != NULL);
    pickle_write(any, bytes);
    return bytes;
}

/* Not so where a nan is in it. */
static bool equals_itself(const shoal_any *any)
{
    int equal = shoal_any_equal(any, any);
    check(equal >= 0);
    return equal;
}

static void examine(shoal_any *any)
{
    struct pickle_objects beside = {0}, beside_again = {0};
    size_t size, size_again;
    char *shown = NULL, *shown_again = NULL;
    shoal_any *again, *copy = shoal_any_copy(any);
    check(copy && !shoal_any_repr(any, &shown));
    unsigned char *bytes = write_all(any, &size, &beside);
    check(!pickle_read(&again, bytes, size, &(shoal_any_limits){.bytes = SIZE_MAX}, beside.at,
                       beside.count));
    check(!shoal_any_repr(again, &shown_again) && !strcmp(shown, shown_again));
    if (equals_itself(any))
        check(shoal_any_equal(any, again) == 1 && shoal_any_equal(copy, any) == 1);
    unsigned char *bytes_again = write_all(again, &size_again, &beside_again);
    check(size == size_again && !memcmp(bytes, bytes_again, size));
    shoal_any *set = shoal_any_set(copy); /* hashed, unless it cannot be a key */
    if (set && equals_itself(any))
        check(shoal_any_contains(set, again) == 1);
    shoal_any_free(set);
    shoal_any_free(again);
    free(shown);
    free(shown_again);
    free(bytes);
    free(bytes_again);
    pickle_objects_free(&beside);
    pickle_objects_free(&beside_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    shoal_any *any;
    if (!size)
        return 0;
    bool some = data[0] & 1;
    unsigned little = data[0] >> 1;
    shoal_any_limits limits = {.nodes = 20000, .bytes = little ? little * 64 : 4 << 20};
    int rc = pickle_read(&any, data + 1, size - 1, &limits, some ? objects : NULL, some ? 3 : 0);
    check(!rc || rc == -EBADMSG);
    if (rc) {
        check(*shoal_error_detail());
        return 0;
    }
    examine(any);
    shoal_any_free(any);
    return 0;
}
