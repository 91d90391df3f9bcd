/*
 * harness_main.c: main of a program of registered scenarios.
 *
 *     program [--only SUBSTRING] [--mode kill|stop|repair] [--thin N] [--rotate K] [--deadline SECONDS]
 *             [--failures N] [--verbose] [--list] [--cover PATTERN ...] [--known FILE] [--below PATTERN ...]
 *
 * Each scenario runs in every mode that it allows. --thin N tries every N-th point; --rotate K says
 * with which to begin, and differs by itself from scenario to scenario. --failures N: a scenario
 * ends after N failing points (5).
 *
 * --cover PATTERN (a shell pattern for function names; may be repeated) compares, after all
 * scenarios, with the disassembly: each instruction of a matching function that stores through a
 * register other than the stack's must have been a kill point, or must have been executed and
 * written elsewhere, or must stand in the --known file, one a line:
 *
 *     function: text of the source line ## reason          (function *: any)
 *
 * --below PATTERN (a shell pattern; may be repeated) leaves out instructions whose source file's path matches none: others have functions of the same names.
 *
 * Last line: "N passed, N failed" and ", N skipped" if any; one of these is a scenario in one mode,
 * and the coverage.
 */
#define _GNU_SOURCE
#include "harness_internal.h"

#include <stdlib.h>
#include <string.h>

#define MAX_PATTERNS 512

static struct kill_scenario *first, **last = &first;

void kill_register(struct kill_scenario *scenario)
{
    *last = scenario;
    last = &scenario->next;
}

static int usage(const char *program)
{
    fprintf(stderr,
            "usage: %s [--only SUBSTRING] [--mode kill|stop|repair] [--thin N] [--rotate K]\n"
            "       [--deadline SECONDS] [--failures N] [--verbose] [--list] [--cover PATTERN] "
            "[--known FILE] [--below PATTERN ...]\n",
            program);
    return 2;
}

struct sums {
    int passed, failed, skipped;
    long points, tried, points_failed;
};

static void run_modes(const struct kill_scenario *s, struct kill_options *o, unsigned modes,
                      struct sums *sums)
{
    for (unsigned mode = KILL_MODE_KILL; mode <= KILL_MODE_REPAIR; mode *= 2) {
        struct kill_result result;
        if (!(modes & mode) || (mode == KILL_MODE_STOP && !s->stopped) ||
            (mode == KILL_MODE_REPAIR && (!s->state || (!s->repair && !s->survivor))))
            continue;
        o->mode = mode;
        kill_run(s, o, &result);
        o->offset++;
        sums->points += result.points;
        sums->tried += result.tried;
        sums->points_failed += result.failed;
        if (result.skipped)
            sums->skipped++;
        else if (result.failed)
            sums->failed++;
        else
            sums->passed++;
    }
}

int main(int argc, char **argv)
{
    struct kill_options o = {0};
    struct sums sums = {0};
    const char *only = NULL, *known = NULL, *patterns[MAX_PATTERNS];
    unsigned modes = KILL_MODE_KILL | KILL_MODE_STOP | KILL_MODE_REPAIR;
    int list = 0, pattern_count = 0, below_count = 0;

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(argv[i], "--verbose")) {
            o.verbose = 1;
            continue;
        }
        if (!strcmp(argv[i], "--list")) {
            list = 1;
            continue;
        }
        if (!value)
            return usage(argv[0]);
        if (!strcmp(argv[i], "--only"))
            only = value;
        else if (!strcmp(argv[i], "--thin"))
            o.thin = atoi(value);
        else if (!strcmp(argv[i], "--rotate"))
            o.offset = abs(atoi(value));
        else if (!strcmp(argv[i], "--deadline"))
            o.deadline = atof(value);
        else if (!strcmp(argv[i], "--failures"))
            o.max_failures = atoi(value);
        else if (!strcmp(argv[i], "--known"))
            known = value;
        else if (!strcmp(argv[i], "--below") && below_count < COVER_BELOW)
            cover_below[below_count++] = value;
        else if (!strcmp(argv[i], "--cover") && pattern_count < MAX_PATTERNS)
            patterns[pattern_count++] = value;
        else if (!strcmp(argv[i], "--mode") && !strcmp(value, "kill"))
            modes = KILL_MODE_KILL;
        else if (!strcmp(argv[i], "--mode") && !strcmp(value, "stop"))
            modes = KILL_MODE_STOP;
        else if (!strcmp(argv[i], "--mode") && !strcmp(value, "repair"))
            modes = KILL_MODE_REPAIR;
        else
            return usage(argv[0]);
        i++;
    }
    for (const struct kill_scenario *s = first; s; s = s->next) {
        if (only && !strstr(s->name, only))
            continue;
        if (list)
            printf("%s\n", s->name);
        else
            run_modes(s, &o, modes, &sums);
    }
    if (list)
        return 0;
    if (pattern_count && kill_unavailable()) {
        printf("skipped  coverage: %s\n", kill_unavailable());
        sums.skipped++;
    } else if (pattern_count && cover_report(patterns, pattern_count, known)) {
        sums.failed++;
    } else if (pattern_count) {
        sums.passed++;
    }
    printf("%ld kill points, %ld tried, %ld failed\n", sums.points, sums.tried, sums.points_failed);
    printf("%d passed, %d failed", sums.passed, sums.failed);
    if (sums.skipped)
        printf(", %d skipped", sums.skipped);
    printf("\n");
    return sums.failed > 0;
}
