/* Where another process's region is: among its mappings, and then among its descriptors, or, if it has
 * closed that one, as the file of the mapping. */
#include "inspect/inspect.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct mapping {
    char range[64]; /* as in /proc/PID/map_files */
    dev_t device;
    ino_t inode;
};

/* The next mapping of a memfd of shoal's. */
static bool next_mapping(FILE *maps, struct mapping *ret)
{
    char line[512];
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to, inode;
        unsigned major, minor;
        if (!strstr(line, " /memfd:shoal (deleted)\n") ||
            sscanf(line, "%lx-%lx %*s %*s %x:%x %lu", &from, &to, &major, &minor, &inode) != 5)
            continue;
        snprintf(ret->range, sizeof ret->range, "%lx-%lx", from, to);
        ret->device = makedev(major, minor);
        ret->inode = inode;
        return true;
    }
    return false;
}

static bool is_mapped(int fd, const struct mapping *mapping)
{
    struct stat st;
    return fd >= 0 && !fstat(fd, &st) && st.st_dev == mapping->device &&
           st.st_ino == mapping->inode;
}

/* The process's descriptor of it, opened anew and only for reading; -1 if it has none. */
static int open_descriptor(pid_t pid, const struct mapping *mapping)
{
    char path[300];
    struct stat st;
    const struct dirent *entry;
    int fd = -1;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *folder = opendir(path);
    while (folder && fd < 0 && (entry = readdir(folder))) {
        snprintf(path, sizeof path, "/proc/%d/fd/%s", (int)pid, entry->d_name);
        /* looked at first: to open a pipe or a device might do something */
        if (stat(path, &st) || !S_ISREG(st.st_mode) || st.st_dev != mapping->device ||
            st.st_ino != mapping->inode)
            continue;
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd >= 0 && !is_mapped(fd, mapping)) {
            close(fd);
            fd = -1;
        }
    }
    if (folder)
        closedir(folder);
    return fd;
}

static int open_mapping(pid_t pid, const struct mapping *mapping)
{
    char path[128];
    snprintf(path, sizeof path, "/proc/%d/map_files/%s", (int)pid, mapping->range);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 && !is_mapped(fd, mapping)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int not_there(pid_t pid, int error)
{
    if (error == EACCES || error == EPERM)
        return fail(-EPERM, "shoal_inspect_process: not permitted to look into process %d",
                    (int)pid);
    return fail(-ESRCH, "shoal_inspect_process: there is no process %d", (int)pid);
}

/* /proc shows an entry for a thread's number too, but that is no process's. */
int region_of(pid_t pid)
{
    char path[64];
    struct mapping mapping;
    struct look look;
    int fd = -1, rc = -ENODATA;
    if (pid <= 0)
        return fail(-ESRCH, "shoal_inspect_process: there is no process %d", (int)pid);
    /* Where there is none, processes hold locks on the region's file: one of this family would lose
     * its own when it closes another descriptor of it. */
    if (!os_features()->proc)
        return fail(-ENOTSUP, "shoal_inspect_process: /proc is not mounted, or cannot be read");
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    if (!maps)
        return not_there(pid, errno);
    bool any = false, denied = false;
    errno = 0;
    while (rc && next_mapping(maps, &mapping)) {
        any = true;
        fd = open_descriptor(pid, &mapping);
        if (fd < 0)
            fd = open_mapping(pid, &mapping);
        denied |= fd < 0;
        rc = fd < 0 ? rc : look_open(&look, fd);
        if (rc && fd >= 0)
            close(fd);
    }
    bool unreadable = ferror(maps);
    fclose(maps);
    if (!rc)
        return fd;
    if (unreadable || (any && denied))
        return not_there(pid, unreadable ? errno : EPERM);
    if (rc == -ENOTSUP)
        return fail(rc, "shoal_inspect_process: process %d uses another version of shoal",
                    (int)pid);
    return fail(-ENODATA,
                "shoal_inspect_process: process %d has no region of shoal: it has not used it yet, "
                "has left its family, or has ended",
                (int)pid);
}
