/* any.c - values to bytes and back, beside CPython's pickle, which python3 runs. */
#include "bench.h"
#include <errno.h>
#include <shoal/any.h>
#include <stdio.h>
#include <stdlib.h>

enum { SHORT = 100000, RECORDS = 1000, LONG = 20 };

static double there_and_back(const shoal_any *any, int times)
{
    double begin = bench_now();
    for (int i = 0; i < times; i++) {
        void *bytes;
        size_t size;
        shoal_any *again;
        bench_must(shoal_any_encode(any, &bytes, &size), "shoal_any_encode");
        bench_must(shoal_any_decode(&again, bytes, size, NULL), "shoal_any_decode");
        free(bytes);
        shoal_any_free(again);
    }
    return (bench_now() - begin) / times;
}

static double ours_short(void)
{
    shoal_any *any = shoal_any_list(shoal_any_int(42), shoal_any_none(), shoal_any_str("hello"));
    bench_must(any ? 0 : -ENOMEM, "shoal_any_list");
    double took = there_and_back(any, SHORT);
    shoal_any_free(any);
    return took;
}

static double ours_records(void)
{
    shoal_any *list = shoal_any_list();
    for (int i = 0; i < RECORDS; i++)
        bench_must(shoal_any_append(list,
                                    shoal_any_dict(shoal_any_str("id"), shoal_any_int(i),
                                                   shoal_any_str("name"), shoal_any_str("somebody"),
                                                   shoal_any_str("at"),
                                                   shoal_any_tuple(shoal_any_float(i * 0.5),
                                                                   shoal_any_float(1.25)))),
                   "shoal_any_append");
    double took = there_and_back(list, LONG);
    shoal_any_free(list);
    return took / RECORDS;
}

/* What `value` takes to go there and back `times` times, divided by `by`, as a Python loop sees
 * it. */
static double pickle(const char *value, int times, int by)
{
    char command[600];
    double took = 0;
    snprintf(command, sizeof command,
             "python3 -S -E -c \"from pickle import dumps, loads\n"
             "from time import perf_counter\n"
             "v = %s\n"
             "def run(n):\n"
             "    begin = perf_counter()\n"
             "    for _ in range(n):\n"
             "        loads(dumps(v))\n"
             "    return (perf_counter() - begin) / n\n"
             "run(%d)\n"
             "print('%%.3f' %% (run(%d) * 1e9 / %d))\"",
             value, times / 10 + 1, times, by);
    FILE *python = popen(command, "r"); /* NOLINT(cert-env33-c): the command is ours */
    if (!python || fscanf(python, "%lf", &took) != 1)
        bench_must(-ENOENT, "python3");
    pclose(python);
    return took;
}

static double pickle_short(void)
{
    return pickle("[42, None, 'hello']", SHORT / 4, 1);
}

static double pickle_records(void)
{
    return pickle("[{'id': i, 'name': 'somebody', 'at': (i * 0.5, 1.25)} for i in range(1000)]",
                  LONG, RECORDS);
}

const struct bench bench_any[] = {
    {"encode + decode [42, None, 'hello']", "ns", ours_short, FAMILY, "CPython dumps + loads",
     pickle_short, PIN_ONE, PIN_ONE, RATIO_AT_MOST, 1.0 / 6, 0},
    {"encode + decode 1000 records, for each", "ns", ours_records, FAMILY, "CPython dumps + loads",
     pickle_records, PIN_ONE, 0, RATIO_AT_MOST, 0, 0},
};
const unsigned bench_any_count = BENCH_COUNT(bench_any);
