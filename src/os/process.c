/* Other processes as the kernel and /proc show them. */
#define _GNU_SOURCE
#include "os/os.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

/* Reads a small file whole; the number of bytes or -errno. */
static ssize_t read_file(const char *path, char *ret, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n;
    do
        n = read(fd, ret, size - 1);
    while (n < 0 && errno == EINTR);
    int error = errno;
    close(fd);
    if (n < 0)
        return -error;
    ret[n] = 0;
    return n;
}

/* The state from /proc/PID/stat; the command's name may hold spaces and parentheses. */
static int read_state(pid_t pid, char *state)
{
    char path[40], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    ssize_t n = read_file(path, text, sizeof text);
    if (n < 0)
        return (int)n;
    char *p = strrchr(text, ')');
    if (!p || p[1] != ' ')
        return -EBADMSG;
    *state = p[2];
    return 0;
}

int os_pidfd_open(pid_t pid)
{
    int error = errno;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    int result = fd < 0 ? -errno : fd;
    errno = error;
    return result;
}

int os_process_ended(pid_t pid)
{
    int error = errno, result = 0;
    int fd = os_features()->pidfd ? os_pidfd_open(pid) : -ENOSYS;
    if (fd == -ESRCH) {
        result = 1;
    } else if (fd >= 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        result = poll(&p, 1, 0) > 0;
        close(fd);
    } else if (kill(pid, 0) && errno == ESRCH) {
        result = 1;
    } else {
        /* Without pidfd the state is all there is. */
        char state;
        int rc = read_state(pid, &state);
        if (rc == -ENOENT && !access("/proc/self/stat", F_OK))
            result = 1;
        else
            result = rc ? rc : state == 'Z' || state == 'X';
    }
    errno = error;
    return result;
}

int os_process_maps(pid_t pid, dev_t device, ino_t inode)
{
    char path[40], *line = NULL;
    size_t size = 0;
    int error = errno, result = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file) {
        result = -errno;
        errno = error;
        return result;
    }
    while (getline(&line, &size, file) >= 0) {
        unsigned major, minor;
        uint64_t number;
        if (sscanf(line, "%*s %*s %*s %x:%x %" SCNu64, &major, &minor, &number) == 3 &&
            number == (uint64_t)inode && makedev(major, minor) == device) {
            result = 1;
            break;
        }
    }
    free(line);
    fclose(file);
    errno = error;
    return result;
}

int os_each_process(bool (*visit)(pid_t pid, void *argument), void *argument)
{
    int error = errno, result = 0;
    DIR *proc = opendir("/proc");
    if (!proc) {
        result = -errno;
        errno = error;
        return result;
    }
    for (struct dirent *entry; !result && (entry = readdir(proc));)
        if (isdigit((unsigned char)entry->d_name[0]))
            result = visit((pid_t)atoi(entry->d_name), argument);
    closedir(proc);
    errno = error;
    return result;
}
