/* Starting children from a clean process: a program with threads asks its fork server. */
#include "process/forkserver.h"
#include "process/processes.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Under server_mutex. Believed by the process that started it only. */
static struct {
    pid_t owner; /* 0: there is none */
    pid_t pid;
    struct descriptor socket;
    struct child place; /* slot, generation and family, for its repair */
} server;

/* In a fresh child: its parent's server is not its own. */
static void after_fork_child(void)
{
    if (!server.owner)
        return; /* without a write: it would copy a page in every child */
    descriptor_close(&server.socket);
    server.owner = 0;
}

/* Only processes that have, or had, a server pay for a handler. */
static void add_handler(void)
{
    pthread_atfork(NULL, NULL, after_fork_child);
}

/* Locked, if this process has a server. */
static int lock_server(const char *what)
{
    os_mutex_lock(&children->server_mutex);
    if (server.owner == getpid())
        return 0;
    os_mutex_unlock(&children->server_mutex);
    return fail(-EPIPE, "%s: this process has no fork server", what);
}

static int make_server(void)
{
    int pair[2] = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return fail(-errno, "shoal_forkserver_start: %s", strerror(errno));
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pid_t parent = getpid();
    pthread_once(&once, add_handler);
    streams_flush();
    os_mutex_lock(&child_mutex);
    static const char name[NAME] = "ForkServer", identity[NAME] = "";
    struct birth birth = {.flags =
                              atomic_load(&slot_at(process_self.slot)->flags) & SLOT_FLAG_DAEMON};
    self_start_begin(&birth, name, identity);
    pid_t pid = fork();
    int error = errno;
    if (pid)
        self_start_end();
    if (!pid) {
        close(pair[0]);
        if (!birth.slot)
            _exit(127);
        streams_forget();
        server_run(pair[1], parent);
    }
    close(pair[1]);
    server.place = (struct child){.family = view.region->family,
                                  .slot = birth.slot,
                                  .generation = birth.generation};
    os_mutex_unlock(&child_mutex);
    if (pid > 0 && birth.slot) {
        server.owner = parent;
        server.pid = pid;
        descriptor_keep(&server.socket, pair[0]);
        return 0;
    }
    close(pair[0]);
    if (pid > 0) {
        waitpid(pid, NULL, 0);
        return -EAGAIN; /* the fork handler has left the sentence */
    }
    child_gone(&server.place);
    return fail(-error, "shoal_forkserver_start: fork: %s", strerror(error));
}

int shoal_forkserver_start(void)
{
    owner_t me;
    int rc = self(&me);
    if (rc)
        return rc;
    child_begin();
    os_mutex_lock(&children->server_mutex);
    rc = server.owner == getpid() ? fail(-EALREADY, "shoal_forkserver_start: there is one")
                                  : make_server();
    os_mutex_unlock(&children->server_mutex);
    return rc;
}

struct cleaned {
    bool busy;
    struct child gone; /* a copy: one that was found to have ended */
};

static int look_at_clean(struct child *child, void *argument)
{
    struct cleaned *c = argument;
    bool fresh = false;
    if (child->kind == CLEAN && !child_ended(child, &fresh))
        c->busy = true;
    if (fresh)
        c->gone = *child;
    return fresh;
}

static bool clean_children_run(void)
{
    struct cleaned c;
    for (bool again = true; again;) {
        c = (struct cleaned){.busy = false};
        os_mutex_lock(&child_mutex);
        again = child_each(look_at_clean, &c);
        os_mutex_unlock(&child_mutex);
        if (again)
            child_gone(&c.gone);
    }
    return c.busy;
}

int shoal_forkserver_stop(void)
{
    int rc = lock_server("shoal_forkserver_stop");
    if (rc)
        return rc;
    if (clean_children_run()) {
        rc = fail(-EBUSY, "shoal_forkserver_stop: a process that it forked still runs");
    } else {
        descriptor_close(&server.socket);
        server.owner = 0;
        while (waitpid(server.pid, NULL, 0) < 0 && errno == EINTR)
            ;
        child_gone(&server.place);
    }
    os_mutex_unlock(&children->server_mutex);
    return rc;
}

/* What the server met while it forked. */
static int hear_deaths(int fd, unsigned n)
{
    for (struct shoal_death death; n; n--) {
        int rc = wire_receive(fd, &death, sizeof death);
        if (rc)
            return rc;
        if (life_on_death)
            life_on_death(death.pid, death.name);
    }
    return 0;
}

/* One request and its answer; -EPIPE if the server is gone. */
static int ask(const struct request *r, const int fds[], unsigned n, const void *bytes,
               struct answer *answer)
{
    int fd = descriptor_number(&server.socket);
    int rc = fd < 0 ? -EPIPE : wire_send_request(fd, r, fds, n);
    if (!rc && r->size)
        rc = wire_send(fd, bytes, r->size);
    if (!rc)
        rc = wire_receive(fd, answer, sizeof *answer);
    if (!rc)
        rc = hear_deaths(fd, answer->n_deaths);
    if (rc == -EPIPE)
        return fail(-EPIPE, "the fork server (pid %d) is gone", (int)server.pid);
    if (rc)
        return fail(rc, "shoal_process_start_clean: one of the descriptors: %s", strerror(-rc));
    if (answer->result) {
        answer->detail[sizeof answer->detail - 1] = 0;
        return fail(answer->result, "%s", answer->detail);
    }
    return 0;
}

int forkserver_signal(struct child *child, int number)
{
    struct request r = {.kind = REQUEST_SIGNAL, .pid = child->pid, .signal = number};
    struct answer answer = {.result = 0};
    int rc = lock_server("signal");
    if (!rc) {
        rc = ask(&r, NULL, 0, NULL, &answer);
        os_mutex_unlock(&children->server_mutex);
    }
    if (rc == -EPIPE && os_process_ended(child->pid) == 0)
        rc = kill(child->pid, number) ? -errno : 0;
    return rc;
}

/* ---- a start ---- */

static size_t text_size(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

/* Limits, argument, cpus, texts, as server.c unpacks them. */
static unsigned char *pack(struct request *r, const shoal_process_options *o, const void *argument,
                           size_t size)
{
    size_t limits = o->n_limits * sizeof *o->limits, cpus = o->n_cpus * sizeof *o->cpus;
    size_t padded = (size + 15) / 16 * 16;
    r->size = limits + padded + cpus + text_size(o->directory);
    for (size_t i = 0; o->environment && o->environment[i]; i++) {
        r->size += text_size(o->environment[i]);
        r->n_environment++;
    }
    r->n_limits = o->n_limits;
    r->argument = size;
    r->n_cpus = o->n_cpus;
    r->nice = o->nice;
    r->flags = o->flags;
    r->directory = o->directory;
    r->environment = o->environment;
    unsigned char *bytes = calloc(1, r->size + 1), *p = bytes;
    if (!bytes)
        return NULL;
    if (limits)
        memcpy(p, o->limits, limits);
    p += limits;
    if (size)
        memcpy(p, argument, size);
    p += padded;
    if (cpus)
        memcpy(p, o->cpus, cpus);
    p += cpus;
    if (o->directory) {
        memcpy(p, o->directory, text_size(o->directory));
        p += text_size(o->directory);
    }
    for (size_t i = 0; i < r->n_environment; i++) {
        memcpy(p, o->environment[i], text_size(o->environment[i]));
        p += text_size(o->environment[i]);
    }
    return bytes;
}

/* Names the child and says whose it is; the handle exists before the process does. */
static struct child *prepare(struct request *r, const shoal_process_options *o)
{
    struct os_process me;
    os_mutex_lock(&child_mutex);
    struct child *child = child_new(CLEAN);
    if (child) {
        const struct slot *slot = slot_at(process_self.slot);
        launch_name(child, o->name, r->identity);
        memcpy(r->name, child->name, NAME);
        child->daemon = (o->flags & SHOAL_DAEMON) || (atomic_load(&slot->flags) & SLOT_FLAG_DAEMON);
        if (child->daemon) {
            r->flags |= SHOAL_DAEMON;
            daemon_expect();
            keeper_start();
        }
        r->parent = child->owner;
        r->parent_start = os_process_look(r->parent, &me) ? 0 : me.start;
        r->slot = process_self.slot;
        r->generation = process_self.generation;
    }
    os_mutex_unlock(&child_mutex);
    return child;
}

int shoal_process_start_clean(shoal_process **ret, shoal_target target, const void *argument,
                              size_t size, const shoal_process_options *options)
{
    static const shoal_process_options none;
    const shoal_process_options *o = options ? options : &none;
    struct request r = {.kind = REQUEST_START, .target = target};
    struct answer answer = {.result = 0};
    owner_t me;
    int status[2] = {-1, -1}, fds[REQUEST_FDS], rc = self(&me);
    unsigned n = 0;
    int before = errno;
    if (rc)
        return rc;
    if (!ret || !target || (size && !argument))
        return fail(-EINVAL, "shoal_process_start_clean: no %s",
                    !ret      ? "place for the handle"
                    : !target ? "target"
                              : "argument");
    rc = option_check(o, "shoal_process_start_clean");
    if (rc)
        return rc;
    rc = lock_server("shoal_process_start_clean");
    if (rc)
        return rc;
    unsigned char *bytes = pack(&r, o, argument, size);
    struct child *child = bytes ? prepare(&r, o) : NULL;
    if (!child) {
        rc = fail(-ENOMEM, "shoal_process_start_clean: no memory for %zu bytes", r.size);
        goto out;
    }
    if (pipe2(status, O_CLOEXEC)) {
        rc = fail(-errno, "shoal_process_start_clean: no pipe: %s", strerror(errno));
        goto drop;
    }
    descriptor_keep(&child->end, status[0]);
    fds[n++] = status[1];
    const int streams[3] = {o->stdin_fd, o->stdout_fd, o->stderr_fd};
    for (unsigned i = 0; i < 3; i++)
        if (streams[i]) {
            r.streams[i] = true;
            fds[n++] = streams[i];
        }
    rc = ask(&r, fds, n, bytes, &answer);
    close(status[1]);
    if (!rc) {
        os_mutex_lock(&child_mutex);
        child->pid = answer.pid;
        child->family = view.region->family;
        child->slot = answer.slot;
        child->generation = answer.generation;
        os_mutex_unlock(&child_mutex);
        *ret = child_handle(child);
        goto out;
    }
drop:
    os_mutex_lock(&child_mutex);
    child_drop(child);
    os_mutex_unlock(&child_mutex);
out:
    os_mutex_unlock(&children->server_mutex);
    free(bytes);
    errno = before;
    return rc;
}
