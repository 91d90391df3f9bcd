/* shoal-bench [--list] [--json FILE] [PART] - measures, prints a table, writes the same to FILE.
 * PART: only rows whose name contains it.
 *
 * A row's figure and its yardstick's are medians of rounds that alternate; its ratio is the median
 * of the rounds' ratios, so that what disturbs the machine for longer than a round disturbs both
 * alike. Exit status 1: something could not be measured. A target that is missed is a result, not
 * an error.
 */
#include "bench.h"
#include "world.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 15, ROUNDS_MOST = 63 };

struct result {
    const struct bench *bench;
    unsigned pinning;
    double figure, yardstick, ratio, low,
        high; /* low, high: of the ratio, or of the figure where there is no yardstick */
};

static struct part {
    const struct bench *list;
    const unsigned *count;
} parts[] = {
    {bench_sync, &bench_sync_count},
    {bench_memory, &bench_memory_count},
    {bench_process, &bench_process_count},
    {bench_queue, &bench_queue_count},
    {bench_pool, &bench_pool_count},
    {bench_any, &bench_any_count},
    {bench_container, &bench_container_count},
    {bench_manager, &bench_manager_count},
    {bench_csp, &bench_csp_count},
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, unsigned n)
{
    qsort(values, n, sizeof *values, compare);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static bool measure(struct result *r)
{
    const struct bench *b = r->bench;
    unsigned rounds = b->rounds ? b->rounds : ROUNDS;
    double ours[ROUNDS_MOST], theirs[ROUNDS_MOST], ratios[ROUNDS_MOST], warm;
    if (rounds > ROUNDS_MOST)
        rounds = ROUNDS_MOST;
    /* What is done once only (attaching, making objects) is not measured. */
    if (rounds >= ROUNDS && b->world != FRESH && !world_run(b->world, b->ours, r->pinning, &warm))
        return false;
    for (unsigned i = 0; i < rounds; i++) {
        if (!world_run(b->world, b->ours, r->pinning, &ours[i]))
            return false;
        if (!b->yardstick)
            continue;
        if (!world_run(PLAIN, b->theirs, r->pinning, &theirs[i]))
            return false;
        ratios[i] = ours[i] / theirs[i];
    }
    r->figure = median(ours, rounds);
    double *spread = ours;
    if (b->yardstick) {
        r->yardstick = median(theirs, rounds);
        r->ratio = median(ratios, rounds);
        spread = ratios;
    }
    r->low = spread[0];
    r->high = spread[rounds - 1];
    return true;
}

/* ---- what came out ---- */

static const char *pinning_name(unsigned pinning)
{
    return pinning == PIN_ONE ? "one core" : pinning == PIN_TWO ? "two cores" : "unpinned";
}

static bool judged(const struct result *r)
{
    return r->bench->judged & r->pinning;
}

static bool reached(const struct result *r)
{
    switch (r->bench->judge) {
    case RATIO_AT_MOST: return r->ratio <= r->bench->target;
    case FIGURE_AT_MOST: return r->figure <= r->bench->target;
    case FIGURE_AT_LEAST: return r->figure >= r->bench->target;
    }
    return false;
}

static void print_head(void)
{
    printf("%-38s %-9s %10s %-4s %-30s %10s %7s %15s  %-9s %s\n", "row", "pinning", "figure",
           "unit", "yardstick", "its figure", "ratio", "(min … max)", "target", "reached");
}

static void print_row(const struct result *r)
{
    static const struct sign {
        const char *before, *after;
    } signs[] = {{"<= ", "x"}, {"<= ", ""}, {">= ", ""}};
    const struct bench *b = r->bench;
    char figure[32] = "", ratio[32] = "", spread[32], target[32] = "-";
    if (b->yardstick) {
        snprintf(figure, sizeof figure, "%.4g", r->yardstick);
        snprintf(ratio, sizeof ratio, "%.2f", r->ratio);
    }
    snprintf(spread, sizeof spread, "%.3g … %.3g", r->low, r->high);
    if (judged(r))
        snprintf(target, sizeof target, "%s%g%s", signs[b->judge].before, b->target,
                 signs[b->judge].after);
    printf("%-38s %-9s %10.4g %-4s %-30s %10s %7s %17s  %-9s %s\n", b->name,
           pinning_name(r->pinning), r->figure, b->unit, b->yardstick ? b->yardstick : "-", figure,
           ratio, spread, target, judged(r) ? reached(r) ? "yes" : "no" : "-");
    fflush(stdout);
}

static void write_number(FILE *f, const char *name, bool there, double value)
{
    if (there)
        fprintf(f, ", \"%s\": %.6g", name, value);
    else
        fprintf(f, ", \"%s\": null", name);
}

static bool write_json(const char *path, const struct result *results, unsigned n)
{
    static const char *const judge[] = {"ratio at most", "figure at most", "figure at least"};
    FILE *f = fopen(path, "w");
    if (!f) {
        perror(path);
        return false;
    }
    fprintf(f, "[");
    for (unsigned i = 0; i < n; i++) {
        const struct result *r = &results[i];
        const struct bench *b = r->bench;
        /* Names are ours: nothing in them needs escaping. */
        fprintf(f, "%s\n {\"name\": \"%s\"", i ? "," : "", b->name);
        write_number(f, "figure", true, r->figure);
        fprintf(f, ", \"unit\": \"%s\", \"pinning\": \"%s\"", b->unit, pinning_name(r->pinning));
        if (b->yardstick)
            fprintf(f, ", \"yardstick\": \"%s\"", b->yardstick);
        else
            fprintf(f, ", \"yardstick\": null");
        write_number(f, "yardstick_figure", b->yardstick, r->yardstick);
        write_number(f, "ratio", b->yardstick, r->ratio);
        write_number(f, "lowest", true, r->low);
        write_number(f, "highest", true, r->high);
        write_number(f, "target", judged(r), b->target);
        if (judged(r))
            fprintf(f, ", \"judged\": \"%s\", \"reached\": %s}", judge[b->judge],
                    reached(r) ? "true" : "false");
        else
            fprintf(f, ", \"judged\": null, \"reached\": null}");
    }
    fprintf(f, "\n]\n");
    if (fclose(f)) {
        perror(path);
        return false;
    }
    return true;
}

/* ---- */

static int run(const char *only, bool list, const char *json)
{
    static struct result results[256];
    unsigned n = 0, cpus = world_cpus(), missed = 0, targets = 0, failed = 0;
    if (!list)
        print_head();
    for (unsigned p = 0; p < BENCH_COUNT(parts); p++)
        for (unsigned i = 0; i < *parts[p].count; i++)
            for (unsigned pinning = PIN_ONE; pinning <= PIN_NONE; pinning *= 2) {
                const struct bench *b = &parts[p].list[i];
                struct result *r = &results[n];
                if (!(b->pinnings & pinning) || (only && !strstr(b->name, only)))
                    continue;
                if (list) {
                    printf("%-38s %s\n", b->name, pinning_name(pinning));
                    continue;
                }
                if (pinning == PIN_TWO && cpus < 2) {
                    printf("%-38s %-9s skipped: there is one core only\n", b->name,
                           pinning_name(pinning));
                    continue;
                }
                *r = (struct result){.bench = b, .pinning = pinning};
                if (n == BENCH_COUNT(results) - 1 || !measure(r)) {
                    printf("%-38s %-9s could not be measured\n", b->name, pinning_name(pinning));
                    failed++;
                    continue;
                }
                print_row(r);
                targets += judged(r);
                missed += judged(r) && !reached(r);
                n++;
            }
    if (list)
        return 0;
    if (!n && !failed) {
        fprintf(stderr, "bench: no row's name contains \"%s\"; --list shows them\n",
                only ? only : "");
        return 2;
    }
    printf("%u rows, %u of %u targets reached\n", n, targets - missed, targets);
    return (json && !write_json(json, results, n)) || failed;
}

int main(int argc, char **argv)
{
    const char *only = NULL, *json = NULL;
    bool list = false;
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--list"))
            list = true;
        else if (!strcmp(argv[i], "--json") && i + 1 < argc)
            json = argv[++i];
        else if (argv[i][0] == '-' || only) {
            fprintf(stderr, "usage: shoal-bench [--list] [--json FILE] [PART]\n");
            return 2;
        } else
            only = argv[i];
    signal(SIGPIPE, SIG_IGN); /* a candidate's process that died is reported, not died of */
    world_begin();
    int status = run(only, list, json);
    world_end();
    return status;
}
