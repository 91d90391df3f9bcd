/* Options that the child carries out on itself before its target runs. */
#include "process/child.h"
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool option_any(const shoal_process_options *o)
{
    return o->directory || o->environment || o->stdin_fd || o->stdout_fd || o->stderr_fd ||
           o->n_limits || o->n_cpus || o->nice;
}

int option_check(const shoal_process_options *o, const char *call)
{
    if (o->flags & ~SHOAL_DAEMON)
        return fail(-EINVAL, "%s: unknown flags %#x", call, o->flags & ~SHOAL_DAEMON);
    if (o->name && (!*o->name || strlen(o->name) >= NAME))
        return fail(-EINVAL, "%s: a name has 1 to %d bytes", call, NAME - 1);
    if ((o->n_limits && !o->limits) || (o->n_cpus && !o->cpus))
        return fail(-EINVAL, "%s: a count of limits or cpus, and no list", call);
    if (o->stdin_fd < 0 || o->stdout_fd < 0 || o->stderr_fd < 0)
        return fail(-EINVAL, "%s: a negative descriptor", call);
    for (size_t i = 0; i < o->n_cpus; i++)
        if (o->cpus[i] < 0 || o->cpus[i] >= 1 << 16)
            return fail(-EINVAL, "%s: no such cpu: %d", call, o->cpus[i]);
    return 0;
}

/* The three at once, since one's number may be another's target. */
static int redirect(const shoal_process_options *o, const char *call)
{
    const int from[3] = {o->stdin_fd, o->stdout_fd, o->stderr_fd};
    int copy[3] = {-1, -1, -1}, rc = 0;
    for (int i = 0; i < 3 && !rc; i++)
        if (from[i]) {
            copy[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 3);
            if (copy[i] < 0)
                rc = fail(-errno, "%s: descriptor %d for the child's %d: %s", call, from[i], i,
                          strerror(errno));
        }
    for (int i = 0; i < 3; i++)
        if (copy[i] >= 0) {
            if (!rc && dup2(copy[i], i) < 0)
                rc = fail(-errno, "%s: descriptor %d: %s", call, i, strerror(errno));
            close(copy[i]);
        }
    return rc;
}

static int set_environment(const char *const *environment, const char *call)
{
    size_t n = 0;
    while (environment[n])
        n++;
    char **copy = calloc(n + 1, sizeof *copy);
    bool good = copy;
    for (size_t i = 0; good && i < n; i++) {
        copy[i] = strdup(environment[i]);
        good = copy[i];
    }
    if (good) {
        environ = copy;
        return 0;
    }
    while (copy && n)
        free(copy[--n]);
    free(copy);
    return fail(-ENOMEM, "%s: no memory for the environment", call);
}

static int set_cpus(const shoal_process_options *o, const char *call)
{
    int most = 0, rc = 0;
    for (size_t i = 0; i < o->n_cpus; i++)
        most = o->cpus[i] > most ? o->cpus[i] : most;
    cpu_set_t *set = CPU_ALLOC(most + 1);
    size_t size = CPU_ALLOC_SIZE(most + 1);
    if (!set)
        return fail(-ENOMEM, "%s: no memory for a set of %d cpus", call, most + 1);
    CPU_ZERO_S(size, set);
    for (size_t i = 0; i < o->n_cpus; i++)
        CPU_SET_S(o->cpus[i], size, set);
    if (sched_setaffinity(0, size, set))
        rc = fail(-errno, "%s: the child may not run on those cpus: %s", call, strerror(errno));
    CPU_FREE(set);
    return rc;
}

static int add_nice(int by, const char *call)
{
    errno = 0;
    if (nice(by) == -1 && errno)
        return fail(-errno, "%s: niceness %+d: %s", call, by, strerror(errno));
    return 0;
}

int option_apply(const shoal_process_options *o, const char *call)
{
    int rc = 0;
    if (o->directory && chdir(o->directory))
        return fail(-errno, "%s: directory %s: %s", call, o->directory, strerror(errno));
    if (o->environment)
        rc = set_environment(o->environment, call);
    if (!rc)
        rc = redirect(o, call);
    if (!rc && o->n_cpus)
        rc = set_cpus(o, call);
    if (!rc && o->nice)
        rc = add_nice(o->nice, call);
    for (size_t i = 0; i < o->n_limits && !rc; i++)
        if (setrlimit(o->limits[i].resource, &o->limits[i].limit))
            rc = fail(-errno, "%s: resource limit %d: %s", call, o->limits[i].resource,
                      strerror(errno));
    return rc;
}
