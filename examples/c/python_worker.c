/* A C program that works for a Python one: takes lists of numbers from a Python queue, and puts their sums into
 * another, until it takes None. examples/python/with_c.py starts it as
 *
 *     python_worker FAMILY:ID:GENERATION FAMILY:ID:GENERATION      the two queues' references
 */
#include "check.h"
#include <inttypes.h>
#include <shoal/shoal.h>

static void open_queue(shoal_queue **ret, const char *text)
{
    shoal_reference r;
    if (sscanf(text, "%" SCNx64 ":%" SCNx32 ":%" SCNx32, &r.family, &r.id, &r.generation) != 3) {
        fprintf(stderr, "%s is no reference\n", text);
        exit(2);
    }
    check(shoal_queue_open(ret, &r));
}

static double sum(const shoal_any *list)
{
    double sum = 0, number;
    const shoal_any *item;
    for (int64_t i = 0; !shoal_any_at(list, i, &item); i++)
        if (!shoal_any_as_float(item, &number)) /* what is no number counts as none */
            sum += number;
    return sum;
}

int main(int n, char **words)
{
    shoal_queue *in, *out;
    shoal_any *task;
    if (n != 3) {
        fprintf(stderr, "usage: %s QUEUE QUEUE\n", words[0]);
        return 2;
    }
    open_queue(&in, words[1]);
    open_queue(&out, words[2]);
    for (;;) {
        check(shoal_queue_get(in, &task, SHOAL_FOREVER));
        if (shoal_any_kind(task) == SHOAL_ANY_NONE)
            break;
        shoal_any *answer = shoal_any_tuple(shoal_any_copy(task), shoal_any_float(sum(task)));
        check(shoal_queue_put(out, answer, SHOAL_FOREVER));
        shoal_any_free(answer);
        shoal_any_free(task);
    }
    shoal_any_free(task);
    shoal_queue_close(in);
    shoal_queue_close(out);
    return 0;
}
