/* The fork server: a child without threads, which forks in its parent's name.
 *
 * Its children are the kernel's children of its own, so it takes their statuses and passes them on.
 * It ends when its parent closes the socket, or ends: other processes may hold copies of the
 * parent's end, so it watches the parent too.
 */
#include "process/forkserver.h"
#include "region/life.h"
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Children, and the pipe where each one's status is awaited. */
static struct served {
    struct child *child;
    int status_fd;
} * served;
static size_t n_served, room;

/* How signals were, for the children. */
static struct sigaction old_child, old_interrupt;
static sigset_t old_mask;
static void (*old_on_death)(int32_t pid, const char *name);
static int socket_fd, parent_fd;

static void on_child(int signal)
{
    (void)signal; /* it only ends a ppoll */
}

/* Deaths that the server met: what is told of them is told where the program asked for it. */
static struct shoal_death deaths[MOST_DEATHS];
static unsigned n_deaths;

static void note_death(int32_t pid, const char *name)
{
    if (n_deaths == MOST_DEATHS)
        return;
    deaths[n_deaths].pid = pid;
    memcpy(deaths[n_deaths++].name, name, NAME);
}

/* Whether the child's is one of them; then its ending tells it. */
static bool take_death(pid_t pid)
{
    unsigned i = 0;
    while (i < n_deaths && deaths[i].pid != pid)
        i++;
    if (i == n_deaths)
        return false;
    deaths[i] = deaths[--n_deaths];
    return true;
}

static void take_statuses(void)
{
    for (size_t i = 0; i < n_served;) {
        struct child *child = served[i].child;
        if (!child_look(child)) {
            i++;
            continue;
        }
        struct ending ending = {child->status, take_death(child->pid)};
        ssize_t n = write(served[i].status_fd, &ending, sizeof ending);
        (void)n; /* nobody reads it any more */
        close(served[i].status_fd);
        os_mutex_lock(&child_mutex);
        child_drop(child);
        os_mutex_unlock(&child_mutex);
        served[i] = served[--n_served];
    }
}

/* ---- a start ---- */

/* What was sent, as options that point into `bytes`. */
struct unpacked {
    shoal_process_options options;
    void *argument;
    const char **environment;
};

static int unpack(struct unpacked *u, const struct request *r, unsigned char *bytes,
                  const int fds[])
{
    unsigned char *p = bytes;
    u->options = (shoal_process_options){.name = r->name, .flags = r->flags, .nice = r->nice};
    u->options.limits = (const shoal_limit *)(void *)p;
    u->options.n_limits = r->n_limits;
    p += r->n_limits * sizeof(shoal_limit);
    u->argument = p;
    p += (r->argument + 15) / 16 * 16;
    u->options.cpus = (const int *)(void *)p;
    u->options.n_cpus = r->n_cpus;
    p += r->n_cpus * sizeof(int);
    const char *text = (const char *)p;
    if (r->directory) {
        u->options.directory = text;
        text += strlen(text) + 1;
    }
    if (r->environment) {
        u->environment = calloc(r->n_environment + 1, sizeof *u->environment);
        if (!u->environment)
            return fail(-ENOMEM, "shoal_process_start_clean: no memory in the fork server");
        for (size_t i = 0; i < r->n_environment; i++) {
            u->environment[i] = text;
            text += strlen(text) + 1;
        }
        u->options.environment = u->environment;
    }
    int *streams[3] = {&u->options.stdin_fd, &u->options.stdout_fd, &u->options.stderr_fd};
    for (unsigned i = 0, at = 1; i < 3; i++)
        if (r->streams[i])
            *streams[i] = fds[at++];
    return 0;
}

/* In the child: nothing of the server's stays open, and signals and deaths go where they did. */
static void leave_server(void)
{
    close(socket_fd);
    if (parent_fd >= 0)
        close(parent_fd);
    for (size_t i = 0; i < n_served; i++)
        close(served[i].status_fd);
    sigaction(SIGCHLD, &old_child, NULL);
    sigaction(SIGINT, &old_interrupt, NULL);
    sigprocmask(SIG_SETMASK, &old_mask, NULL);
    life_on_death = old_on_death;
}

static int start(const struct request *r, const struct unpacked *u, const int fds[], unsigned n,
                 struct answer *answer)
{
    struct launch l;
    if (n_served == room) {
        struct served *more = realloc(served, (2 * room + 16) * sizeof *served);
        if (!more)
            return fail(-ENOMEM, "shoal_process_start_clean: no memory in the fork server");
        served = more;
        room = 2 * room + 16;
    }
    int rc = launch_begin(&l, "shoal_process_start_clean", &u->options, false, BIRTH_CLEAN);
    if (rc)
        return rc;
    memcpy(l.identity, r->identity, NAME);
    l.follows = r->parent;
    l.follows_start = r->parent_start;
    l.follows_slot = r->slot;
    l.follows_generation = r->generation;
    pid_t pid = fork();
    if (!pid) {
        leave_server();
        launch_settle(&l);
        launch_ready(&l);
        for (unsigned i = 0; i < n; i++)
            close(fds[i]);
        process_finish(r->target(u->argument));
    }
    rc = launch_end(&l, pid, errno);
    if (rc)
        return rc;
    served[n_served++] = (struct served){l.child, fds[0]};
    answer->pid = l.child->pid;
    answer->slot = l.child->slot;
    answer->generation = l.child->generation;
    return 0;
}

static void serve_start(const struct request *r, const int fds[], unsigned n, struct answer *answer)
{
    struct unpacked u = {.environment = NULL};
    unsigned char *bytes = aligned_alloc(16, (r->size + 31) / 16 * 16);
    if (!bytes || wire_receive(socket_fd, bytes, r->size))
        process_finish(1); /* the stream cannot be followed any more */
    answer->result = unpack(&u, r, bytes, fds);
    if (!answer->result)
        answer->result = start(r, &u, fds, n, answer);
    /* The status pipe's end is kept where there is a child. */
    for (unsigned i = answer->result ? 0 : 1; i < n; i++)
        close(fds[i]);
    free(u.environment);
    free(bytes);
}

static int serve_signal(const struct request *r)
{
    for (size_t i = 0; i < n_served; i++)
        if (served[i].child->pid == r->pid)
            return kill(r->pid, r->signal) ? -errno : 0;
    return 0; /* it has ended, and been reaped */
}

static void serve(void)
{
    struct request r;
    struct answer answer = {.result = 0};
    int fds[REQUEST_FDS];
    unsigned n;
    if (wire_receive_request(socket_fd, &r, fds, &n))
        process_finish(0);
    shoal_thread.detail[0] = 0;
    if (r.kind == REQUEST_START)
        serve_start(&r, fds, n, &answer);
    else
        answer.result = serve_signal(&r);
    memcpy(answer.detail, shoal_thread.detail, sizeof answer.detail);
    answer.n_deaths = n_deaths;
    if (wire_send(socket_fd, &answer, sizeof answer) ||
        wire_send(socket_fd, deaths, n_deaths * sizeof *deaths))
        process_finish(0);
    n_deaths = 0;
}

/* ---- its life ---- */

void server_run(int fd, pid_t parent)
{
    struct sigaction child = {.sa_handler = on_child}, ignore = {.sa_handler = SIG_IGN};
    struct timespec slice = {.tv_nsec = 50000000};
    sigset_t blocked, waiting;
    socket_fd = fd;
    old_on_death = life_on_death;
    life_on_death = note_death;
    parent_fd = os_features()->pidfd ? os_pidfd_open(parent) : -1;
    sigaction(SIGCHLD, &child, &old_child);
    sigaction(SIGINT, &ignore, &old_interrupt); /* a terminal sends it to all; the parent decides */
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGCHLD);
    sigprocmask(SIG_BLOCK, &blocked, &old_mask);
    waiting = old_mask;
    sigdelset(&waiting, SIGCHLD);
    struct pollfd p[2] = {{.fd = socket_fd, .events = POLLIN}, {.fd = parent_fd, .events = POLLIN}};
    while (getppid() == parent && !p[1].revents) {
        take_statuses();
        p[0].revents = p[1].revents = 0;
        int n = ppoll(p, 2, parent_fd < 0 ? &slice : NULL, &waiting);
        if (n > 0 && p[0].revents)
            serve();
    }
    take_statuses();
    process_finish(0);
}
