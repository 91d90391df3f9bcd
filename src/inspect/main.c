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
        "usage: shoal-inspect [--any] PID\n"
        "Shows the family of shoal that process PID belongs to: deadlocks, processes, who waits "
        "for whom,\nobjects, memory. The family goes on meanwhile and notices nothing.\n"
        "  --any   the snapshot as one value, in Python's notation\n");
    return status;
}

static int show(pid_t pid, bool as_any)
{
    shoal_any *snapshot;
    char *repr = NULL;
    int rc = shoal_inspect_process(&snapshot, pid);
    if (rc) {
        const char *why = shoal_error_detail(), *call = "shoal_inspect_process: ";
        if (!strncmp(why, call, strlen(call)))
            why += strlen(call);
        fprintf(stderr, "shoal-inspect: %s\n", why);
        return 1;
    }
    if (!as_any)
        text_print(stdout, snapshot);
    else if (!(rc = shoal_any_repr(snapshot, &repr)))
        puts(repr);
    free(repr);
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
    bool as_any = argc > 1 && !strcmp(argv[1], "--any");
    const char *text = argv[argc - 1];
    char *end;
    if (argc == 2 && !strcmp(text, "--help"))
        return usage(stdout, 0);
    if (argc != 2 + as_any)
        return usage(stderr, 1);
    errno = 0;
    long pid = strtol(text, &end, 10);
    if (errno || end == text || *end || pid <= 0 || pid > INT_MAX) {
        fprintf(stderr, "shoal-inspect: %s is not the number of a process\n", text);
        return 1;
    }
    return show((pid_t)pid, as_any);
}
