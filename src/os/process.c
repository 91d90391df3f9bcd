/* Other processes as the kernel and /proc show them. All of it may be called in signal handlers:
 * nothing but system calls and the stack. */
#include "os/os.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

int os_pidfd_open(pid_t pid)
{
    return (int)os_call(SYS_pidfd_open, pid, 0, 0, 0, 0, 0);
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
        struct os_process process;
        int rc = os_process_look(pid, &process);
        if (rc == -ESRCH)
            result = !access("/proc/self/stat", F_OK);
        else
            result = rc ? rc : os_process_over(&process);
    }
    errno = error;
    return result;
}

uint64_t os_pid_namespace(void)
{
    struct stat st;
    int error = errno;
    bool there = !stat("/proc/self/ns/pid", &st);
    errno = error;
    return there ? st.st_ino : 0;
}

int os_process_await(pid_t pid, int64_t ns)
{
    int error = errno, fd = os_features()->pidfd ? os_pidfd_open(pid) : -ENOSYS;
    struct timespec t = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int rc = fd == -ESRCH ? 1 : ppoll(&p, fd >= 0, &t, NULL);
    if (rc < 0)
        rc = -errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return rc;
}

int os_child_wait(pid_t pid, bool block, bool reap, int32_t *status)
{
    siginfo_t info = {.si_pid = 0};
    int options = WEXITED | (block ? 0 : WNOHANG) | (reap ? 0 : WNOWAIT);
    /* Not by libc's function: errno would be written, or saved and written back, and its page copied
     * if another child has it still. */
    int rc = (int)os_call(SYS_waitid, P_PID, pid, (long)&info, options, 0, 0);
    if (rc || !info.si_pid)
        return rc;
    *status = info.si_code == CLD_EXITED ? info.si_status & 0xff : -info.si_status;
    return 1;
}

/* Appends a number; `least` digits. */
static char *append(char *to, uint64_t number, unsigned base, unsigned least)
{
    char digits[24];
    unsigned n = 0;
    do
        digits[n++] = "0123456789abcdef"[number % base];
    while (number /= base);
    while (n < least)
        digits[n++] = '0';
    while (n)
        *to++ = digits[--n];
    return to;
}

static void path_of(char path[40], pid_t pid, const char *file)
{
    memcpy(path, "/proc/", 6);
    char *end = append(path + 6, (uint64_t)pid, 10, 1);
    strcpy(end, file);
}

int os_process_maps(pid_t pid, dev_t device, ino_t inode)
{
    /* Each line has " device inode " after three other fields: as "00:01 4711". */
    char path[40], needle[64] = " ", text[4096 + sizeof needle];
    char *end = append(needle + 1, major(device), 16, 2);
    *end++ = ':';
    end = append(end, minor(device), 16, 2);
    *end++ = ' ';
    end = append(end, inode, 10, 1);
    *end++ = ' ';
    size_t length = (size_t)(end - needle), kept = 0;
    int error = errno, result = 0;
    path_of(path, pid, "/maps");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd;
    bool empty = true;
    while (n >= 0) {
        n = read(fd, text + kept, sizeof text - kept);
        if (n <= 0)
            break;
        empty = false;
        size_t have = kept + (size_t)n;
        if (memmem(text, have, needle, length)) {
            result = 1;
            break;
        }
        kept = have < length ? have : length - 1;
        memmove(text, text + have - kept, kept);
    }
    if (n < 0)
        result = -errno;
    else if (empty)
        result = -ENODATA;
    if (fd >= 0)
        close(fd);
    errno = error;
    return result;
}

bool os_process_foreign(pid_t pid)
{
    char path[40];
    struct stat st;
    int error = errno;
    path_of(path, pid, "");
    /* A process that may not be dumped belongs to root in /proc, whoever runs it; so does a child
     * that it forks. */
    bool foreign =
        !stat(path, &st) && st.st_uid != geteuid() && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1;
    errno = error;
    return foreign;
}
