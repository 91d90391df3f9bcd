/* A snapshot: copied (processes.c, objects.c), searched for deadlocks (waits.c), then made an any. */
#include "inspect/inspect.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- making anys ---- */

void build_put(struct build *b, shoal_any *dict, const char *key, shoal_any *value)
{
    if (shoal_any_put(dict, shoal_any_str(key), value))
        b->rc = -ENOMEM;
}

void build_append(struct build *b, shoal_any *list, shoal_any *item)
{
    if (shoal_any_append(list, item))
        b->rc = -ENOMEM;
}

static uint64_t populated(const struct look *look)
{
    struct stat st;
    return look->fd >= 0 && !fstat(look->fd, &st) ? (uint64_t)st.st_blocks * 512 : 0;
}

static int build_all(const struct snapshot *s, shoal_any **ret)
{
    struct build b = {.s = s};
    shoal_any *all = shoal_any_dict(), *memory = shoal_any_dict(), *counters = shoal_any_dict();
    build_put(&b, memory, "reserved", shoal_any_uint(s->look.at.size));
    build_put(&b, memory, "populated", shoal_any_uint(populated(&s->look)));
    build_put(&b, memory, "used", shoal_any_uint(s->used));
    build_put(&b, memory, "objects", shoal_any_uint(s->objects_count));
    build_put(&b, counters, "deaths", shoal_any_uint(atomic_load(&s->region.deaths)));
    build_put(&b, counters, "repairs", shoal_any_uint(atomic_load(&s->region.repairs)));
    build_put(&b, all, "processes", build_processes(&b));
    build_put(&b, all, "objects", build_objects(&b));
    build_put(&b, all, "waits", build_waits(&b));
    build_put(&b, all, "deadlocks", build_deadlocks(&b));
    build_put(&b, all, "memory", memory);
    build_put(&b, all, "counters", counters);
    if (b.rc) {
        shoal_any_free(all);
        return b.rc;
    }
    *ret = all;
    return 0;
}

/* ---- taking one ---- */

void snapshot_free(struct snapshot *s)
{
    for (size_t i = 0; i < s->objects_count; i++) {
        free(s->objects[i].holders);
        description_free(&s->objects[i].more);
    }
    for (size_t i = 0; i < s->cycles_count; i++)
        free(s->cycles[i].threads);
    free(s->cycles);
    free(s->objects);
    free(s->threads);
    free(s->charged);
    free(s->over);
    free(s->slots);
}

static int take(const struct look *look, bool near, shoal_any **ret, const char *call)
{
    struct snapshot s = {.look = *look, .near = near};
    look_read(look, look_slot(look, 0), &s.region, sizeof s.region);
    int rc = snapshot_processes(&s);
    if (!rc)
        rc = snapshot_objects(&s);
    if (!rc)
        rc = snapshot_deadlocks(&s);
    if (!rc)
        rc = build_all(&s, ret);
    snapshot_free(&s);
    return rc ? fail(rc, "%s: no memory for the snapshot", call) : 0;
}

int shoal_inspect(shoal_any **ret)
{
    const char *call = "shoal_inspect";
    shoal_any *any = NULL;
    struct look look;
    owner_t me;
    if (!ret)
        return fail(-EINVAL, "%s: nowhere to write the snapshot (NULL)", call);
    int rc = self(&me);
    if (rc)
        return rc;
    int error = errno;
    look_own(&look);
    rc = take(&look, true, &any, call);
    if (look.fd >= 0 && region_fd() != look.fd) { /* the program closed it under us */
        shoal_any_free(any);
        look.fd = -1;
        rc = take(&look, true, &any, call);
    }
    errno = error;
    if (!rc)
        *ret = any;
    return rc;
}

/* Whether the process counts processes as this one does; if that cannot be told, it does not. */
static bool is_near(pid_t pid)
{
    char path[64];
    struct stat mine, its;
    snprintf(path, sizeof path, "/proc/%d/ns/pid", (int)pid);
    return !stat("/proc/self/ns/pid", &mine) && !stat(path, &its) && mine.st_ino == its.st_ino &&
           mine.st_dev == its.st_dev;
}

int shoal_inspect_process(shoal_any **ret, pid_t pid)
{
    const char *call = "shoal_inspect_process";
    struct look look;
    if (!ret)
        return fail(-EINVAL, "%s: nowhere to write the snapshot (NULL)", call);
    int error = errno, fd = region_of(pid), rc = fd < 0 ? fd : look_open(&look, fd);
    if (!rc)
        rc = take(&look, is_near(pid), ret, call);
    if (fd >= 0) {
        if (rc == -EBADMSG) /* it was one a moment ago */
            rc = fail(-ENODATA, "%s: process %d has no region of shoal any more", call, (int)pid);
        close(fd);
    }
    errno = error;
    return rc;
}
