/* shoal-inspect PID - what goes on in the family of a process. It uses nothing that other programs
 * could not. */
#include "inspect/text.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static int usage(FILE *to, int status)
{
    fprintf(
        to,
        "usage: shoal-inspect [--any | --dot] PID\n"
        "Shows the family of shoal that process PID belongs to: deadlocks, processes, who waits "
        "for whom,\nobjects, memory. The family goes on meanwhile and notices nothing.\n"
        "  --any   the snapshot as one value, in Python's notation\n"
        "  --dot   only its networks of channels, as a drawing for Graphviz\n");
    return status;
}

enum form { WORDS, ANY, DOT };

static int show(pid_t pid, enum form form)
{
    shoal_any *snapshot;
    char *shown = NULL;
    int rc = shoal_inspect_process(&snapshot, pid);
    if (rc) {
        const char *why = shoal_error_detail(), *call = "shoal_inspect_process: ";
        if (!strncmp(why, call, strlen(call)))
            why += strlen(call);
        fprintf(stderr, "shoal-inspect: %s\n", why);
        return 1;
    }
    if (form == WORDS)
        text_print(stdout, snapshot);
    else if (form == ANY && !(rc = shoal_any_repr(snapshot, &shown)))
        puts(shown);
    else if (form == DOT && !(rc = shoal_inspect_draw(&shown, snapshot)))
        fputs(shown, stdout);
    free(shown);
    shoal_any_free(snapshot);
    if (rc || fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "shoal-inspect: %s\n",
                rc ? "out of memory" : "the output cannot be written");
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    enum form form = argc > 1 && !strcmp(argv[1], "--any")   ? ANY
                     : argc > 1 && !strcmp(argv[1], "--dot") ? DOT
                                                             : WORDS;
    const char *text = argv[argc - 1];
    char *end;
    if (argc == 2 && !strcmp(text, "--help"))
        return usage(stdout, 0);
    if (argc != 2 + (form != WORDS))
        return usage(stderr, 1);
    errno = 0;
    long pid = strtol(text, &end, 10);
    if (errno || end == text || *end || pid <= 0 || pid > INT_MAX) {
        fprintf(stderr, "shoal-inspect: %s is not the number of a process\n", text);
        return 1;
    }
    return show((pid_t)pid, form);
}
