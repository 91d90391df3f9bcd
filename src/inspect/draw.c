/* A network of processes as a drawing for Graphviz: processes and channels are nodes, an end that a process holds is an arrow. It
 * is made of a snapshot, and reads that as every program can: what is missing there is left out.
 */
#include "region/self.h"
#include <inttypes.h>
#include <shoal/inspect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

static const shoal_any *part(const shoal_any *dict, const char *key)
{
    const shoal_any *value;
    return shoal_any_get_str(dict, key, &value) ? NULL : value;
}

static int64_t number(const shoal_any *dict, const char *key)
{
    const shoal_any *value = part(dict, key);
    int64_t n;
    return !value || shoal_any_as_int(value, &n) ? 0 : n;
}

static bool flag(const shoal_any *dict, const char *key)
{
    const shoal_any *value = part(dict, key);
    bool is = false;
    return value && !shoal_any_as_bool(value, &is) && is;
}

/* A str, or the bytes of a name that is none. */
static const char *text(const shoal_any *dict, const char *key, size_t *size)
{
    const shoal_any *value = part(dict, key);
    const char *s;
    const void *bytes;
    *size = 0;
    if (value && !shoal_any_as_str(value, &s, size))
        return s;
    return value && !shoal_any_as_bytes(value, &bytes, size) ? bytes : "";
}

static bool is(const shoal_any *dict, const char *key, const char *wanted)
{
    size_t size;
    const char *s = text(dict, key, &size);
    return size == strlen(wanted) && !memcmp(s, wanted, size);
}

/* The next item of a list; NULL at the end. */
static const shoal_any *item(const shoal_any *list, int64_t i)
{
    const shoal_any *value;
    return list && i < shoal_any_count(list) && !shoal_any_at(list, i, &value) ? value : NULL;
}

static const shoal_any *find(const shoal_any *list, const char *key, int64_t wanted)
{
    const shoal_any *one;
    for (int64_t i = 0; (one = item(list, i)); i++)
        if (number(one, key) == wanted)
            return one;
    return NULL;
}

/* ---- writing ---- */

/* Into a string in double quotes. Names are the program's: anything may stand in them, UTF-8 or not. */
static void put_text(FILE *to, const char *s, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < ' ' || c >= 127)
            fprintf(to, "\\\\x%02x", c);
        else
            fprintf(to, c == '"' || c == '\\' ? "\\%c" : "%c", c);
    }
}

/* Its name, or what it is and its number. */
static void put_name(FILE *to, const shoal_any *dict, const char *what, const char *number_key)
{
    size_t size;
    const char *name = text(dict, "name", &size);
    if (size)
        put_text(to, name, size);
    else
        fprintf(to, "%s %" PRId64, what, number(dict, number_key));
}

static void put_process(FILE *to, const shoal_any *process)
{
    size_t size;
    const char *status = text(process, "status", &size);
    bool runs = is(process, "status", "running");
    fprintf(to, "    p%" PRId64 " [shape=box, label=\"", number(process, "pid"));
    put_name(to, process, "process", "pid");
    fprintf(to, "\\npid %" PRId64, number(process, "pid"));
    if (!runs) {
        fprintf(to, "\\n");
        put_text(to, status, size);
    }
    fprintf(to, "\"%s];\n", runs ? "" : ", style=dashed");
}

static bool is_barrier(const shoal_any *channel)
{
    return part(channel, "round") != NULL;
}

static void put_channel(FILE *to, const shoal_any *channel)
{
    bool over = flag(channel, "no readers") || flag(channel, "no writers");
    bool poisoned = flag(channel, "poisoned");
    fprintf(to, "    c%" PRId64 " [shape=%s, label=\"", number(channel, "id"),
            is_barrier(channel) ? "diamond" : "ellipse");
    put_name(to, channel, "channel", "id");
    if (part(channel, "maxsize"))
        fprintf(to, "\\n%" PRId64 " of %" PRId64 " buffered", number(channel, "buffered"),
                number(channel, "maxsize"));
    if (poisoned)
        fprintf(to, "\\npoisoned");
    else if (over)
        fprintf(to, "\\nretired");
    fprintf(to, "\"%s];\n", poisoned || over ? ", style=dashed" : "");
}

/* Whether a thread of that process waits on that side. */
static bool waits(const shoal_any *channel, bool reads, int64_t pid)
{
    const shoal_any *one, *owners = part(channel, "owners");
    if (is_barrier(channel))
        return find(part(channel, "waiters"), "pid", pid) != NULL;
    for (int64_t i = 0; (one = item(owners, i)); i++)
        if (is(one, "as", reads ? "waiting reader" : "waiting writer") && number(one, "pid") == pid)
            return true;
    return false;
}

/* An arrow in the direction in which messages go. */
static void put_end(FILE *to, const shoal_any *end, const shoal_any *channel, const char *who,
                    int64_t number_of_who, bool waiting)
{
    bool reads = flag(end, "reader");
    int64_t c = number(channel, "id");
    if (reads)
        fprintf(to, "    c%" PRId64 " -> %s%" PRId64, c, who, number_of_who);
    else
        fprintf(to, "    %s%" PRId64 " -> c%" PRId64, who, number_of_who, c);
    fprintf(to, " [%s%s%s];\n", is_barrier(channel) ? "dir=none, " : "",
            flag(end, "retired") ? "style=dashed, label=\"retired\"" : "",
            waiting ? "color=red, label=\"waits\"" : "");
}

static void put_ends(FILE *to, const shoal_any *objects)
{
    const shoal_any *end, *holder;
    for (int64_t i = 0; (end = item(objects, i)); i++) {
        const shoal_any *channel, *holders = part(end, "holders"), *messages;
        int64_t pid;
        if (!is(end, "type", "channel end") ||
            !(channel = find(objects, "id", number(end, "channel"))))
            continue;
        for (int64_t k = 0; (holder = item(holders, k)); k++)
            if (!shoal_any_as_int(holder, &pid))
                put_end(to, end, channel, "p", pid,
                        !flag(end, "retired") && waits(channel, flag(end, "reader"), pid));
        messages = part(end, "messages");
        for (int64_t k = 0; (holder = item(messages, k)); k++)
            if (!shoal_any_as_int(holder, &pid)) {
                fprintf(to, "    m%" PRId64 " [shape=note, label=\"in a message\"];\n", pid);
                put_end(to, end, channel, "m", pid, false);
            }
    }
}

/* Whether the process holds an end. */
static bool takes_part(const shoal_any *objects, int64_t pid)
{
    const shoal_any *o, *holder;
    int64_t one;
    for (int64_t i = 0; (o = item(objects, i)); i++)
        for (int64_t k = 0; is(o, "type", "channel end") && (holder = item(part(o, "holders"), k));
             k++)
            if (!shoal_any_as_int(holder, &one) && one == pid)
                return true;
    return false;
}

static void draw(FILE *to, const shoal_any *snapshot)
{
    const shoal_any *processes = part(snapshot, "processes"), *objects = part(snapshot, "objects");
    const shoal_any *one;
    fprintf(to, "digraph network {\n    rankdir=LR;\n");
    for (int64_t i = 0; (one = item(processes, i)); i++)
        if (takes_part(objects, number(one, "pid")))
            put_process(to, one);
    for (int64_t i = 0; (one = item(objects, i)); i++)
        if (is(one, "type", "channel"))
            put_channel(to, one);
    put_ends(to, objects);
    fprintf(to, "}\n");
}

int shoal_inspect_draw(char **ret, const shoal_any *snapshot)
{
    const char *call = "shoal_inspect_draw";
    char *drawing = NULL;
    size_t size;
    int error = errno;
    if (!ret || !snapshot || !part(snapshot, "objects"))
        return fail(-EINVAL, "%s: %s", call,
                    ret ? "that is no snapshot" : "nowhere to write (NULL)");
    FILE *to = open_memstream(&drawing, &size);
    bool good = to != NULL;
    if (to) {
        draw(to, snapshot);
        good = !ferror(to);
        good = !fclose(to) && good;
    }
    errno = error;
    if (!good) {
        free(drawing);
        return fail(-ENOMEM, "%s: no memory for the drawing", call);
    }
    *ret = drawing;
    return 0;
}
