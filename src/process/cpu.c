/* How many CPUs this process may use: its affinity, and the quota of its cgroups (v2 cpu.max, v1
 * cpu.cfs_quota_us). */
#include "process/child.h"
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int by_affinity(void)
{
    /* The kernel wants room for all CPUs that it could have. */
    for (int most = 1024; most <= 1 << 16; most *= 2) {
        size_t size = CPU_ALLOC_SIZE(most);
        cpu_set_t *set = CPU_ALLOC(most);
        if (!set)
            break;
        int rc = sched_getaffinity(0, size, set);
        int count = rc ? 0 : CPU_COUNT_S(size, set);
        CPU_FREE(set);
        if (!rc)
            return count;
        if (errno != EINVAL)
            break;
    }
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

static bool read_line(const char *folder, const char *file, char *ret, size_t size)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", folder, file) >= (int)sizeof path)
        return false;
    FILE *f = fopen(path, "re");
    bool good = f && fgets(ret, (int)size, f);
    if (f)
        fclose(f);
    return good;
}

/* CPUs that one cgroup grants, rounded up; INT_MAX if it sets no bound. */
static int by_group(const char *folder, bool v2)
{
    char text[64];
    long long quota = -1, period = 0;
    if (v2) {
        if (!read_line(folder, "cpu.max", text, sizeof text) ||
            sscanf(text, "%lld %lld", &quota, &period) != 2) /* "max 100000" */
            return INT_MAX;
    } else {
        if (!read_line(folder, "cpu.cfs_quota_us", text, sizeof text))
            return INT_MAX;
        quota = atoll(text);
        if (!read_line(folder, "cpu.cfs_period_us", text, sizeof text))
            return INT_MAX;
        period = atoll(text);
    }
    if (quota <= 0 || period <= 0)
        return INT_MAX;
    long long count = (quota + period - 1) / period;
    return count < INT_MAX ? (int)count : INT_MAX;
}

/* Whether a list with commas has the word. */
static bool lists(const char *list, const char *word)
{
    size_t length = strlen(word);
    while (*list) {
        size_t n = strcspn(list, ",\n");
        if (n == length && !strncmp(list, word, n))
            return true;
        list += n + (list[n] != 0);
    }
    return false;
}

/* This process's path in the hierarchy, from a line of /proc/self/cgroup: "0::/path" or
 * "4:cpu,cpuacct:/path". */
static bool own_path(bool v2, char *ret, size_t size)
{
    char line[PATH_MAX + 256];
    bool found = false;
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && !found && fgets(line, sizeof line, f)) {
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        path[strcspn(path, "\n")] = 0;
        found = v2 ? !strncmp(line, "0:", 2) : lists(controllers + 1, "cpu");
        if (found)
            snprintf(ret, size, "%s", path);
    }
    if (f)
        fclose(f);
    return found;
}

/* Where the hierarchy is mounted, and which of its folders is seen there, from a line of
 * /proc/self/mountinfo: "36 35 98:0 /root /mount/point options … - type source options". */
static bool mounted(bool v2, char *root, char *point, size_t size)
{
    char line[2 * PATH_MAX + 512];
    bool found = false;
    FILE *f = fopen("/proc/self/mountinfo", "re");
    while (f && !found && fgets(line, sizeof line, f)) {
        char a[PATH_MAX], b[PATH_MAX], type[32], options[512] = "";
        const char *rest = strstr(line, " - ");
        if (!rest || sscanf(rest, " - %31s %*s %511s", type, options) < 1 ||
            sscanf(line, "%*s %*s %*s %4095s %4095s", a, b) != 2)
            continue;
        found = v2 ? !strcmp(type, "cgroup2") : !strcmp(type, "cgroup") && lists(options, "cpu");
        if (found) {
            snprintf(root, size, "%s", a);
            snprintf(point, size, "%s", b);
        }
    }
    if (f)
        fclose(f);
    return found;
}

/* The least that this process's cgroup and those above it grant. */
static int by_hierarchy(bool v2)
{
    char path[PATH_MAX], root[PATH_MAX], point[PATH_MAX], folder[2 * PATH_MAX];
    int least = INT_MAX;
    if (!own_path(v2, path, sizeof path) || !mounted(v2, root, point, sizeof root))
        return INT_MAX;
    size_t skip = strcmp(root, "/") ? strlen(root) : 0;
    const char *below = strncmp(path, root, skip) ? "" : path + skip;
    snprintf(folder, sizeof folder, "%s%s", point, below);
    for (;;) {
        int count = by_group(folder, v2);
        least = count < least ? count : least;
        char *slash = strrchr(folder, '/');
        if (!slash || slash < folder + strlen(point))
            return least;
        *slash = 0;
    }
}

int shoal_cpu_count(void)
{
    int error = errno, least = by_affinity();
    for (int v2 = 0; v2 < 2; v2++) {
        int count = by_hierarchy(v2);
        least = count < least ? count : least;
    }
    errno = error;
    return least < 1 ? 1 : least;
}
