/*
 * runner.c: runs each test in its own process and looks at what it left behind; see runner.h.
 *
 * The runner is a child subreaper, so that every process which a test lost becomes the runner's own
 * child: it is found by its parent id, and nothing is ever killed by name or by group alone.
 */
#define _GNU_SOURCE
#include "runner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct runner_test *first_test, **last_test = &first_test;
static double default_timeout = 60;
static int verbose;
static int children_allowed;

void runner_register(struct runner_test *test)
{
    *last_test = test;
    last_test = &test->next;
}

void runner_allow_children(void)
{
    children_allowed = 1;
}

__attribute__((weak)) void runner_before_test(const char *name)
{
    (void)name;
}

__attribute__((weak)) const char *runner_after_test(const char *name)
{
    (void)name;
    return NULL;
}

__attribute__((weak)) void runner_on_failure(const char *name, int pid)
{
    (void)name;
    (void)pid;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void nap(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

    nanosleep(&t, NULL);
}

/* ---- what a process has: lists of names, sorted, so that two of them can be compared ---- */

struct list {
    char **names;
    size_t count, room;
};

static void list_add(struct list *l, const char *name)
{
    if (l->count == l->room) {
        l->room = l->room ? l->room * 2 : 32;
        l->names = realloc(l->names, l->room * sizeof(*l->names));
    }
    char *copy = l->names ? strdup(name) : NULL;
    if (!copy) {
        fprintf(stderr, "the test runner is out of memory\n");
        _exit(1);
    }
    l->names[l->count++] = copy;
}

static void list_free(struct list *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->names[i]);
    free(l->names);
    memset(l, 0, sizeof(*l));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Appends to text what is in after and not in before (names may repeat). Returns how many. */
static int list_new(struct list *before, struct list *after, const char *what, char *text,
                    size_t size)
{
    size_t i = 0;
    int count = 0;

    if (before->count)
        qsort(before->names, before->count, sizeof(char *), by_name);
    if (after->count)
        qsort(after->names, after->count, sizeof(char *), by_name);
    for (size_t j = 0; j < after->count; j++) {
        while (i < before->count && strcmp(before->names[i], after->names[j]) < 0)
            i++;
        if (i < before->count && !strcmp(before->names[i], after->names[j])) {
            i++;
            continue;
        }
        size_t used = strlen(text);
        snprintf(text + used, size - used, "left behind: %s %s\n", what, after->names[j]);
        count++;
    }
    return count;
}

static void list_descriptors(struct list *l)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *e;

    while (dir && (e = readdir(dir))) {
        char path[300], target[300], name[600];
        if (e->d_name[0] == '.' || atoi(e->d_name) == dirfd(dir))
            continue;
        snprintf(path, sizeof(path), "/proc/self/fd/%s", e->d_name);
        ssize_t n = readlink(path, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = 0;
        snprintf(name, sizeof(name), "%s (%s)", e->d_name, target);
        list_add(l, name);
    }
    if (dir)
        closedir(dir);
}

/* Shared mappings without their addresses: libraries may map private memory as they like, nobody else maps shared. */
static void list_mappings(struct list *l)
{
    FILE *f = fopen("/proc/self/maps", "re");
    char line[600], perms[8], name[500];
    unsigned long from, to;

    while (f && fgets(line, sizeof(line), f)) {
        name[0] = 0;
        if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %499[^\n]", &from, &to, perms, name) < 3 ||
            perms[3] != 's')
            continue;
        char text[560];
        snprintf(text, sizeof(text), "%lu KiB of %s", (to - from) / 1024,
                 name[0] ? name : "shared memory");
        list_add(l, text);
    }
    if (f)
        fclose(f);
}

static void list_shm(struct list *l)
{
    DIR *dir = opendir("/dev/shm");
    struct dirent *e;

    while (dir && (e = readdir(dir))) {
        if (e->d_name[0] != '.')
            list_add(l, e->d_name);
    }
    if (dir)
        closedir(dir);
}

/* Reads parent, state and name of a process. Returns 0, or -1 if there is none. */
static int process_look(int pid, int *parent, char *state, char *name, size_t size)
{
    char path[40], line[400];

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return -1;
    size_t n = fread(line, 1, sizeof(line) - 1, f);
    fclose(f);
    line[n] = 0;
    char *open = strchr(line, '('), *close = strrchr(line, ')');
    if (!open || !close || sscanf(close + 1, " %c %d", state, parent) != 2)
        return -1;
    *close = 0;
    snprintf(name, size, "%s", open + 1);
    return 0;
}

/* The children of a process, one name each: "pid (name, state)". pids may be NULL. */
static size_t list_children(int of, struct list *l, int *pids, size_t room)
{
    DIR *dir = opendir("/proc");
    struct dirent *e;
    size_t count = 0;

    while (dir && (e = readdir(dir))) {
        int pid = atoi(e->d_name), parent;
        char state, name[60], text[120];
        if (pid <= 0 || process_look(pid, &parent, &state, name, sizeof(name)) || parent != of)
            continue;
        if (pids && count < room)
            pids[count] = pid;
        count++;
        snprintf(text, sizeof(text), "%d (%s, state %c)", pid, name, state);
        if (l)
            list_add(l, text);
    }
    if (dir)
        closedir(dir);
    return count;
}

/* ---- the test's process ---- */

static void run_test(const struct runner_test *test)
{
    static char left[4000];
    struct list fds[2] = {{0}}, maps[2] = {{0}}, shm[2] = {{0}}, children = {0}, none = {0};
    const char *more;
    int count = 0;

    runner_before_test(test->name);
    list_descriptors(&fds[0]);
    list_mappings(&maps[0]);
    list_shm(&shm[0]);

    test->run();

    /* First of all, since it may give back what is compared then. */
    more = runner_after_test(test->name);
    if (more) {
        size_t used = strlen(left);
        snprintf(left + used, sizeof(left) - used, "left behind: %s\n", more);
        count++;
    }
    list_descriptors(&fds[1]);
    list_mappings(&maps[1]);
    list_shm(&shm[1]);
    count += list_new(&fds[0], &fds[1], "descriptor", left, sizeof(left));
    count += list_new(&maps[0], &maps[1], "mapping", left, sizeof(left));
    count += list_new(&shm[0], &shm[1], "/dev/shm entry", left, sizeof(left));
    if (!children_allowed && list_children(getpid(), &children, NULL, 0))
        count += list_new(&none, &children, "child", left, sizeof(left));
    for (int i = 0; i < 2; i++) {
        list_free(&fds[i]);
        list_free(&maps[i]);
        list_free(&shm[i]);
    }
    list_free(&children);
    if (count) {
        size_t used = strlen(left);
        left[used - 1] = 0; /* the last end of line */
        check_fail(test->file, 0, "%s", left);
    }
}

/* ---- the runner ---- */

/* Kills and reaps every child there is, and what becomes one while doing so; gives their names. */
static void kill_leftovers(struct list *names)
{
    double patience = now() + 1;
    int pids[256];

    /* Who is just about to end (a daemon whose parent went) may do so. */
    for (;;) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (!list_children(getpid(), NULL, NULL, 0))
            return;
        if (now() > patience)
            break;
        nap(0.005);
    }
    list_children(getpid(), names, NULL, 0);
    for (;;) {
        size_t n = list_children(getpid(), NULL, pids, 256);
        if (!n)
            return;
        for (size_t i = 0; i < n && i < 256; i++)
            kill(pids[i], SIGKILL);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        nap(0.002);
    }
}

/* Says where each process of the test is, before it is killed. */
static void show_processes(int root, int depth)
{
    int pids[64];
    char path[64], wchan[64] = "", call[200] = "", name[60], state;
    int parent;

    if (process_look(root, &parent, &state, name, sizeof(name)))
        return;
    snprintf(path, sizeof(path), "/proc/%d/wchan", root);
    FILE *f = fopen(path, "re");
    if (f) {
        if (!fgets(wchan, sizeof(wchan), f))
            wchan[0] = 0;
        fclose(f);
    }
    snprintf(path, sizeof(path), "/proc/%d/syscall", root);
    f = fopen(path, "re");
    if (f) {
        if (!fgets(call, sizeof(call), f))
            call[0] = 0;
        fclose(f);
    }
    call[strcspn(call, "\n")] = 0;
    printf("    %*s%d (%s) state %c, in %s, system call %s\n", depth * 2, "", root, name, state,
           wchan, call);
    size_t n = list_children(root, NULL, pids, 64);
    for (size_t i = 0; i < n && i < 64 && depth < 8; i++)
        show_processes(pids[i], depth + 1);
}

/* build/shoal-inspect, beside the folder of the test program. Asked before main: the runner's own mount
 * namespace makes the answer a path from outside in a chroot. A runner that a test starts has it from there. */
static char inspect_path[4200];

__attribute__((constructor)) static void find_inspect(void)
{
    const char *known = getenv("RUNNER_INSPECT");
    if (known) {
        snprintf(inspect_path, sizeof(inspect_path), "%s", known);
        return;
    }
    ssize_t n = readlink("/proc/self/exe", inspect_path, 4096);
    for (int i = 0; i < 2 && n > 0; i++)
        for (n--; n > 0 && inspect_path[n - 1] != '/'; n--)
            ;
    snprintf(inspect_path + (n > 0 ? n : 0), 100, "shoal-inspect");
    setenv("RUNNER_INSPECT", inspect_path, 1);
}

/* What the processes that share the region of this one hold and wait for: 1 if it has one. */
static int show_family(int pid)
{
    char number[16];
    int status;

    fflush(NULL);
    snprintf(number, sizeof(number), "%d", pid);
    int child = fork();
    if (child < 0)
        return 0;
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (null >= 0) /* that it has no region, or that the program was not built, is no news */
            dup2(null, 2);
        alarm(20);
        execl(inspect_path, inspect_path, number, (char *)NULL);
        _exit(127);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The test's process has ended: what it left behind may tell. */
static void show_family_left(void)
{
    int pids[16];
    size_t n = list_children(getpid(), NULL, pids, 16);

    for (size_t i = 0; i < n && i < 16; i++)
        if (show_family(pids[i]))
            return;
}

static void copy_output(int fd)
{
    char buffer[4096];
    off_t at = 0;
    ssize_t n;
    char last = '\n';

    while ((n = pread(fd, buffer, sizeof(buffer), at)) > 0) {
        fwrite(buffer, 1, (size_t)n, stdout);
        last = buffer[n - 1];
        at += n;
    }
    if (last != '\n')
        putchar('\n');
}

enum outcome { PASSED, FAILED, SKIPPED };

/* Waits for the test's process, reaping orphans meanwhile. Returns 1 with its status, 0 if the time is over. */
static int await(int pid, double deadline, int *status)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (;;) {
        int st, got;
        while ((got = waitpid(-1, &st, WNOHANG)) > 0) {
            if (got == pid) {
                *status = st;
                return 1;
            }
        }
        double left = deadline - now();
        if (left <= 0)
            return 0;
        if (left > 1)
            left = 1; /* signals of one kind merge; look now and then */
        struct timespec t = {(time_t)left, (long)((left - (double)(time_t)left) * 1e9)};
        sigtimedwait(&set, NULL, &t);
    }
}

static enum outcome run_forked(const struct runner_test *test, struct check_report *report)
{
    static char why[sizeof(report->text) + 200];
    struct list left = {0};
    enum outcome outcome = PASSED;
    int status = 0;
    sigset_t old, set;
    double start = now();

    why[0] = 0;
    memset(report, 0, sizeof(*report));
    int output = memfd_create("test output", MFD_CLOEXEC);
    fflush(NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, &old);
    int pid = fork();
    if (pid < 0 || output < 0) {
        perror("fork, memfd_create");
        exit(1);
    }
    if (pid == 0) {
        sigprocmask(SIG_SETMASK, &old, NULL);
        setsid();
        if (!verbose) {
            dup2(output, 1);
            dup2(output, 2);
        }
        close(output);
        check_report = report;
        run_test(test);
        /* not _exit: the leak sanitizer and a library's own end of process are part of the test */
        exit(0);
    }

    double timeout = test->timeout > 0 ? test->timeout : default_timeout;
    int ended = await(pid, start + timeout, &status);
    if (!ended) {
        outcome = FAILED;
        snprintf(why, sizeof(why), "no end within %g s", timeout);
    } else if (WIFSIGNALED(status)) {
        outcome = FAILED;
        snprintf(why, sizeof(why), "killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    } else if (WEXITSTATUS(status) == CHECK_SKIPPED && report->skipped) {
        outcome = SKIPPED;
        snprintf(why, sizeof(why), "%s", report->text);
    } else if (WEXITSTATUS(status)) {
        outcome = FAILED;
        snprintf(why, sizeof(why), "ended with status %d", WEXITSTATUS(status));
    }
    if (__atomic_load_n(&report->taken, __ATOMIC_ACQUIRE) == 2 && !report->skipped) {
        if (outcome == PASSED)
            snprintf(why, sizeof(why), "in a child: %s", report->text);
        else
            snprintf(why, sizeof(why), "%s%s", ended ? "" : "no end after: ", report->text);
        outcome = FAILED;
    }

    if (!ended) {
        printf("  the processes of %s:\n", test->name);
        show_processes(pid, 0);
        show_family(pid);
        runner_on_failure(test->name, pid);
        fflush(NULL);
        int pids[256];
        size_t n = list_children(pid, NULL, pids, 256);
        kill(pid, SIGKILL);
        for (size_t i = 0; i < n && i < 256; i++)
            kill(pids[i], SIGKILL);
        /* What those had started becomes ours now, and is no news: the test failed already. */
    } else if (outcome == FAILED) {
        show_family_left();
        runner_on_failure(test->name, pid);
    }
    kill_leftovers(&left);
    if (ended && outcome == PASSED && left.count) {
        size_t used = 0;
        outcome = FAILED;
        for (size_t i = 0; i < left.count && used < sizeof(why); i++)
            used += (size_t)snprintf(why + used, sizeof(why) - used, "left behind: process %s ",
                                     left.names[i]);
    }
    list_free(&left);
    sigprocmask(SIG_SETMASK, &old, NULL);

    static const char *const words[] = {"passed", "FAILED", "skipped"};
    printf("%-8s %s (%.2f s)%s%s\n", words[outcome], test->name, now() - start, why[0] ? ": " : "",
           why);
    if (outcome == FAILED && !verbose)
        copy_output(output);
    close(output);
    fflush(stdout);
    return outcome;
}

/*
 * A /dev/shm of our own, where the right to mount allows it, so that what other programs of this
 * machine put there at the same time is not taken for the test's. Otherwise the common one is
 * compared.
 */
static void private_shm(void)
{
    if (unshare(CLONE_NEWNS))
        return;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || access("/dev/shm", F_OK))
        return;
    if (mount("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"))
        return;
}

static int usage(const char *program)
{
    fprintf(stderr,
            "usage: %s [--list] [--timeout SECONDS] [--verbose] [--no-fork] [SUBSTRING ...]\n",
            program);
    return 2;
}

static int chosen(const struct runner_test *test, int argc, char **argv, int from)
{
    if (from == argc)
        return 1;
    for (int i = from; i < argc; i++) {
        if (strstr(test->name, argv[i]))
            return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    int counts[3] = {0}, list = 0, no_fork = 0, i;

    for (i = 1; i < argc && argv[i][0] == '-'; i++) {
        if (!strcmp(argv[i], "--list"))
            list = 1;
        else if (!strcmp(argv[i], "--verbose"))
            verbose = 1;
        else if (!strcmp(argv[i], "--no-fork"))
            no_fork = 1;
        else if (!strcmp(argv[i], "--timeout") && i + 1 < argc && atof(argv[i + 1]) > 0)
            default_timeout = atof(argv[++i]);
        else
            return usage(argv[0]);
    }

    struct check_report *report =
        mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (report == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    if (!list && !no_fork) {
        private_shm();
        if (prctl(PR_SET_CHILD_SUBREAPER, 1))
            perror("PR_SET_CHILD_SUBREAPER (orphans will not be found)");
    }
    for (struct runner_test *test = first_test; test; test = test->next) {
        if (!chosen(test, argc, argv, i))
            continue;
        if (list) {
            printf("%s\n", test->name);
        } else if (no_fork) {
            run_test(test);
            counts[PASSED]++;
        } else {
            counts[run_forked(test, report)]++;
        }
    }
    if (list)
        return 0;
    printf("%d passed, %d failed", counts[PASSED], counts[FAILED]);
    if (counts[SKIPPED])
        printf(", %d skipped", counts[SKIPPED]);
    printf("\n");
    return counts[FAILED] > 0;
}
