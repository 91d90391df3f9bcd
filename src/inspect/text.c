/* A snapshot in words: what is wrong first, then who is there, what they hold and wait for, memory. It
 * reads the any as every program can; what is missing there is left out. */
#include "inspect/text.h"
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

static int64_t number(const shoal_any *dict, const char *key)
{
    const shoal_any *value;
    int64_t n;
    return shoal_any_get_str(dict, key, &value) || shoal_any_as_int(value, &n) ? 0 : n;
}

static const char *text(const shoal_any *dict, const char *key)
{
    const shoal_any *value;
    const char *s;
    return shoal_any_get_str(dict, key, &value) || shoal_any_as_str(value, &s, NULL) ? "" : s;
}

static const shoal_any *list(const shoal_any *dict, const char *key)
{
    const shoal_any *value;
    return shoal_any_get_str(dict, key, &value) ? NULL : value;
}

/* The next item of a list; NULL at the end. */
static const shoal_any *item(const shoal_any *of, int64_t i)
{
    const shoal_any *value;
    return of && i < shoal_any_count(of) && !shoal_any_at(of, i, &value) ? value : NULL;
}

/* ---- writing ---- */

/* Names come from the program: nothing in them may move the cursor. */
static void put_name(FILE *to, const char *name)
{
    for (; *name; name++)
        if ((unsigned char)*name < ' ' || *name == 127)
            fprintf(to, "\\x%02x", (unsigned char)*name);
        else
            fputc(*name, to);
}

static void put_bytes(FILE *to, int64_t n)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)n;
    unsigned unit = 0;
    for (; value >= 1024 && unit < 4; unit++)
        value /= 1024;
    fprintf(to, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

static void put_process(FILE *to, const shoal_any *who, const char *name_key)
{
    int64_t pid = number(who, "pid"), thread = number(who, "thread");
    if (!pid) {
        fprintf(to, "one that is gone");
        return;
    }
    put_name(to, text(who, name_key));
    fprintf(to, " (pid %" PRId64, pid);
    if (thread && thread != pid)
        fprintf(to, ", thread %" PRId64, thread);
    fputc(')', to);
}

/* "lock 'a'", "lock 17" */
static void put_object(FILE *to, const shoal_any *what, const char *id_key)
{
    const char *name = text(what, "name");
    fprintf(to, "%s ", text(what, "type"));
    if (*name) {
        fputc('\'', to);
        put_name(to, name);
        fputc('\'', to);
    }
    if (!strcmp(text(what, "type"), "process"))
        fprintf(to, " (pid %" PRId64 ")", number(what, id_key));
    else if (!*name)
        fprintf(to, "%" PRId64, number(what, id_key));
}

static bool is_process(const shoal_any *wait)
{
    return !strcmp(text(wait, "type"), "process");
}

/* ---- the parts ---- */

static void put_deadlock(FILE *to, const shoal_any *cycle)
{
    int64_t n = shoal_any_count(cycle);
    fprintf(to, "deadlock: ");
    for (int64_t i = 0; i < n; i++) {
        const shoal_any *one = item(cycle, i), *before = item(cycle, (i + n - 1) % n);
        put_process(to, one, "process");
        if (!is_process(before)) { /* else it is the process that is waited for */
            fprintf(to, " holds ");
            put_object(to, before, "object");
            fprintf(to, " and");
        }
        fprintf(to, is_process(one) ? " waits for the end of " : " waits for ");
        put_object(to, one, "object");
        fprintf(to, i + 1 < n ? "; " : "\n");
    }
}

static void put_processes(FILE *to, const shoal_any *processes)
{
    const shoal_any *p;
    fprintf(to, "\nprocesses: %" PRId64 "\n", shoal_any_count(processes));
    for (int64_t i = 0; (p = item(processes, i)); i++) {
        const shoal_any *daemon;
        bool is_daemon = false;
        if (!shoal_any_get_str(p, "daemon", &daemon))
            shoal_any_as_bool(daemon, &is_daemon);
        fprintf(to, "  %7" PRId64 "  ", number(p, "pid"));
        put_name(to, text(p, "name"));
        fprintf(to, ": %s", text(p, "status"));
        if (is_daemon)
            fprintf(to, ", daemon");
        if (number(p, "parent"))
            fprintf(to, ", child of %" PRId64, number(p, "parent"));
        if (number(p, "threads") != 1)
            fprintf(to, ", %" PRId64 " threads", number(p, "threads"));
        fprintf(to, ", has allocated ");
        put_bytes(to, number(p, "charged"));
        if (number(p, "quota")) {
            fprintf(to, " of ");
            put_bytes(to, number(p, "quota"));
        }
        fputc('\n', to);
    }
}

static void put_waits(FILE *to, const shoal_any *waits)
{
    const shoal_any *w;
    if (!shoal_any_count(waits))
        return;
    fprintf(to, "\nwaiting: %" PRId64 "\n", shoal_any_count(waits));
    for (int64_t i = 0; (w = item(waits, i)); i++) {
        const shoal_any *by = list(w, "held_by"), *one;
        fprintf(to, "  ");
        put_process(to, w, "process");
        fprintf(to, is_process(w) ? " waits for the end of " : " waits for ");
        put_object(to, w, "object");
        for (int64_t k = 0; !is_process(w) && (one = item(by, k)); k++) {
            fprintf(to, k ? ", " : ", which is held by ");
            put_process(to, one, "process");
        }
        fputc('\n', to);
    }
}

/* What the type tells, in the order in which it does: the keys that are not known to all. */
static void put_facts(FILE *to, const shoal_any *object)
{
    static const char *const known[] = {"id",     "generation", "type",     "name", "holders",
                                        "owners", "waiters",    "messages", "bytes"};
    const shoal_any *key, *value;
    for (int64_t i = 0; !shoal_any_entry(object, i, &key, &value); i++) {
        const char *name;
        char *shown;
        bool skip = shoal_any_as_str(key, &name, NULL) != 0;
        for (size_t k = 0; !skip && k < sizeof known / sizeof *known; k++)
            skip = !strcmp(name, known[k]);
        if (skip || shoal_any_repr(value, &shown))
            continue;
        fprintf(to, ", %s %s", name,
                !strcmp(shown, "True")    ? "yes"
                : !strcmp(shown, "False") ? "no"
                                          : shown);
        free(shown);
    }
}

static void put_objects(FILE *to, const shoal_any *objects)
{
    const shoal_any *o, *one;
    int64_t others = 0;
    fprintf(to, "\nobjects that have a name, an owner or somebody who waits:\n");
    for (int64_t i = 0; (o = item(objects, i)); i++) {
        const shoal_any *owners = list(o, "owners"), *waiters = list(o, "waiters");
        if (!*text(o, "name") && !item(owners, 0) && !item(waiters, 0)) {
            others++;
            continue;
        }
        fprintf(to, "  ");
        put_object(to, o, "id");
        fprintf(to, ": open in %" PRId64 ", ", shoal_any_count(list(o, "holders")));
        int64_t in = shoal_any_count(list(o, "messages"));
        if (in)
            fprintf(to, "in %" PRId64 " message%s, ", in, in == 1 ? "" : "s");
        put_bytes(to, number(o, "bytes"));
        put_facts(to, o);
        fputc('\n', to);
        for (int64_t k = 0; (one = item(owners, k)); k++) {
            fprintf(to, "      %s: ", text(one, "as"));
            put_process(to, one, "process");
            fputc('\n', to);
        }
        for (int64_t k = 0; (one = item(waiters, k)); k++) {
            fprintf(to, "      waits: ");
            put_process(to, one, "process");
            fputc('\n', to);
        }
    }
    if (others)
        fprintf(to, "  and %" PRId64 " other%s\n", others, others == 1 ? "" : "s");
}

void text_print(FILE *to, const shoal_any *snapshot)
{
    const shoal_any *deadlocks = list(snapshot, "deadlocks"), *cycle;
    const shoal_any *memory = list(snapshot, "memory"), *counters = list(snapshot, "counters");
    for (int64_t i = 0; (cycle = item(deadlocks, i)); i++)
        put_deadlock(to, cycle);
    if (!shoal_any_count(deadlocks))
        fprintf(to, "no deadlock\n");
    put_processes(to, list(snapshot, "processes"));
    put_waits(to, list(snapshot, "waits"));
    put_objects(to, list(snapshot, "objects"));
    fprintf(to, "\nmemory: ");
    put_bytes(to, number(memory, "used"));
    fprintf(to, " in %" PRId64 " objects, ", number(memory, "objects"));
    put_bytes(to, number(memory, "populated"));
    fprintf(to, " behind it of ");
    put_bytes(to, number(memory, "reserved"));
    fprintf(to, "\ndeaths: %" PRId64 ", repairs: %" PRId64 "\n", number(counters, "deaths"),
            number(counters, "repairs"));
}
