/* Processes as a tree. All of it may be called in signal handlers: nothing but system calls and the
 * stack. */
#include "os/os.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

/* As the kernel fills it in; libc's own reader allocates. */
struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

static uint64_t number(const char **text)
{
    uint64_t n = 0;
    while (**text >= '0' && **text <= '9')
        n = n * 10 + (uint64_t)(*(*text)++ - '0');
    return n;
}

/* Appends a text, or a number; returns the end. */
static char *put(char *at, const char *text)
{
    size_t n = strlen(text);
    memcpy(at, text, n + 1);
    return at + n;
}

static char *put_number(char *at, pid_t number)
{
    char digits[12] = "";
    char *p = digits + sizeof digits - 1;
    do
        *--p = (char)('0' + number % 10);
    while (number /= 10);
    return put(at, p);
}

/* "/proc/PID/stat"; of one of its threads: "/proc/PID/task/TID/stat" */
static void stat_path(char path[48], pid_t pid, pid_t tid)
{
    char *at = put_number(put(path, "/proc/"), pid);
    if (tid)
        at = put_number(put(at, "/task/"), tid);
    put(at, "/stat");
}

/* The command's name stands in parentheses and may hold parentheses itself. */
static bool parse(const char *text, struct os_process *ret, uint64_t *threads)
{
    const char *p = strrchr(text, ')');
    if (!p || p[1] != ' ' || !p[2] || p[3] != ' ')
        return false;
    ret->state = p[2];
    p += 4;
    ret->parent = (pid_t)number(&p);
    for (int field = 5; field <= 22; field++) {
        p = strchr(p, ' ');
        if (!p)
            return false;
        const char *at = ++p;
        if (field == 20)
            *threads = number(&at);
    }
    ret->start = number(&p);
    return true;
}

/* The state is the thread's; tid 0: the first one's. */
static int look(pid_t pid, pid_t tid, struct os_process *ret, uint64_t *threads)
{
    char path[48], text[1024];
    int error = errno, result = 0;
    stat_path(path, pid, tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n < 0) {
        result = errno == ENOENT || errno == ESRCH ? -ESRCH : -errno;
    } else {
        text[n] = 0;
        ret->pid = pid;
        result = parse(text, ret, threads) ? 0 : -EBADMSG;
    }
    if (fd >= 0)
        close(fd);
    errno = error;
    return result;
}

int os_process_look(pid_t pid, struct os_process *ret)
{
    uint64_t threads = 1;
    int rc = look(pid, 0, ret, &threads);
    if (!rc && ret->state == 'Z' && threads > 1) /* the first may end before others do */
        ret->state = 'S';
    return rc;
}

/* Puts it where it belongs; /proc lists by rising pid, so that is nearly always the end. */
static void insert(struct os_process *list, size_t at, struct os_process new)
{
    for (; at && list[at - 1].pid > new.pid; at--)
        list[at] = list[at - 1];
    list[at] = new;
}

/* Calls `visit` for every number in the folder, until it returns true. 1, 0, -errno. */
static int each_number(const char *folder, bool (*visit)(pid_t number, void *argument),
                       void *argument)
{
    _Alignas(8) char buffer[4096] = {0};
    long got = 0;
    bool any = false;
    int error = errno, result = 0;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        result = -errno;
    while (!result && (got = os_call(SYS_getdents64, fd, (long)buffer, sizeof buffer, 0, 0, 0)) > 0)
        for (long at = 0; !result && at < got;) {
            const struct entry *entry = (const void *)(buffer + at);
            const char *name = entry->name;
            at += entry->length;
            pid_t one = (pid_t)number(&name);
            if (*name || !one)
                continue;
            any = true;
            result = visit(one, argument);
        }
    if (got < 0)
        result = (int)got;
    else if (!any && !result)
        result = -ENODATA; /* not mounted: it always shows the caller */
    if (fd >= 0)
        close(fd);
    errno = error;
    return result;
}

int os_each_process(bool (*visit)(pid_t pid, void *argument), void *argument)
{
    return each_number("/proc", visit, argument);
}

struct list {
    struct os_process *processes;
    size_t n, found;
};

static bool add(pid_t pid, void *argument)
{
    struct list *list = argument;
    struct os_process one = {.pid = 0};
    if (os_process_look(pid, &one))
        return false;
    if (list->found < list->n)
        insert(list->processes, list->found, one);
    list->found++;
    return false;
}

long os_process_list(struct os_process *ret, size_t n)
{
    struct list list = {ret, n, 0};
    int rc = os_each_process(add, &list);
    return rc < 0 ? rc : (long)list.found;
}

static enum os_rest rest_of(char state)
{
    return strchr("TtZX", state) ? OS_RESTS : state == 'D' ? OS_WAITS : OS_RUNS;
}

struct threads {
    pid_t pid;
    uint64_t count;
    enum os_rest rest; /* of the one that rests least */
};

static bool look_at_thread(pid_t tid, void *argument)
{
    struct threads *t = argument;
    struct os_process one = {.pid = 0};
    uint64_t threads;
    enum os_rest rest = look(t->pid, tid, &one, &threads) ? OS_RUNS : rest_of(one.state);
    t->rest = rest > t->rest ? rest : t->rest;
    t->count++;
    return false;
}

enum os_rest os_process_rest(const struct os_process *process)
{
    char folder[48];
    struct threads t = {.pid = process->pid};
    struct os_process now = {.pid = 0};
    uint64_t threads = 1;
    int rc = look(process->pid, 0, &now, &threads);
    if (rc == -ESRCH || (!rc && now.start != process->start))
        return OS_RESTS;
    if (rc || threads == 1)
        return rc ? OS_RUNS : rest_of(now.state);
    put(put_number(put(folder, "/proc/"), process->pid), "/task");
    if (each_number(folder, look_at_thread, &t) < 0)
        return OS_RUNS;
    /* One that was listed in vain has ended; another may have begun meanwhile. */
    rc = look(process->pid, 0, &now, &threads);
    return rc || threads != t.count ? OS_RUNS : t.rest;
}

int os_pidfd_signal(int fd, int signal)
{
    return (int)os_call(SYS_pidfd_send_signal, fd, signal, 0, 0, 0, 0);
}

int os_process_signal(const struct os_process *process, int signal)
{
    struct os_process now = {.pid = 0};
    int error = errno;
    int fd = os_features()->pidfd ? os_pidfd_open(process->pid) : -ENOSYS;
    int rc = fd == -ESRCH ? -ESRCH : os_process_look(process->pid, &now);
    if (!rc && now.start != process->start)
        rc = -ESRCH;
    if (!rc) {
        rc = fd >= 0 ? os_pidfd_signal(fd, signal) : kill(process->pid, signal) ? -errno : 0;
    }
    if (fd >= 0)
        close(fd);
    errno = error;
    return rc;
}

void os_stop(void)
{
    os_call(SYS_kill, os_getpid(), SIGSTOP, 0, 0, 0, 0);
    os_sleep(1000000); /* where it has no effect, as on a container's first process */
}

pid_t os_fork_plain(int end_signal)
{
    return (pid_t)os_call(SYS_clone, end_signal, 0, 0, 0, 0, 0);
}

static void close_from_to(unsigned from, unsigned to)
{
    if (from > to || !os_call(SYS_close_range, from, to, 0, 0, 0, 0))
        return;
    unsigned most = (unsigned)sysconf(_SC_OPEN_MAX); /* Linux 5.8 and before */
    for (unsigned fd = from; fd <= to && fd < most; fd++)
        close((int)fd);
}

void os_close_all_but(int a, int b)
{
    /* each is one more than a descriptor, 0 is none */
    unsigned one = a < 0 ? 0 : (unsigned)a + 1, other = b < 0 ? 0 : (unsigned)b + 1;
    unsigned low = one < other ? one : other, high = one < other ? other : one;
    if (low > 1)
        close_from_to(0, low - 2);
    if (high > low + 1)
        close_from_to(low, high - 2);
    close_from_to(high, UINT32_MAX);
}

void os_name_thread(const char *name)
{
    prctl(PR_SET_NAME, name);
}

int os_signal_at_parent_end(int signal)
{
    return prctl(PR_SET_PDEATHSIG, signal) ? -errno : 0;
}

int os_signal_every(int signal, int64_t period)
{
    /* By the bare call: libc's own allocates. */
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal};
    struct itimerspec t = {.it_value = {period / 1000000000, period % 1000000000},
                           .it_interval = {period / 1000000000, period % 1000000000}};
    int error = errno, id, result = 0;
    if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id) ||
        syscall(SYS_timer_settime, id, 0, &t, NULL))
        result = -errno;
    errno = error;
    return result;
}
