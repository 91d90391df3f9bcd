/* The public side of a manager: what it is made of, and the process that serves. */
#include "manager/manager.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MAGIC = 0x6d616e61 };

static struct shoal_manager *good(const shoal_manager *manager, const char *what, int *rc)
{
    *rc = 0;
    if (manager && manager->magic == MAGIC)
        return (struct shoal_manager *)(uintptr_t)manager;
    *rc = manager ? fail(-EBADF, "%s: not an open manager", what)
                  : fail(-EINVAL, "%s: NULL is not a handle", what);
    return NULL;
}

/* ---- beginning ---- */

/* A copy of an address, its text in the manager. */
static int keep_address(struct shoal_manager *m, const shoal_address *a, const char *what)
{
    const char *text = a->host ? a->host : a->path;
    if (!text)
        return fail(-EINVAL, "%s: no address", what);
    size_t size = a->path && a->path_size && !a->host ? a->path_size : strlen(text);
    if (size >= sizeof m->text)
        return fail(-EINVAL, "%s: an address of %zu bytes", what, size);
    memcpy(m->text, text, size);
    m->text[size] = 0;
    m->address = (shoal_address){.port = a->port, .path_size = a->path_size};
    *(a->host ? &m->address.host : &m->address.path) = m->text;
    return 0;
}

static int check_options(const shoal_manager_options *o, unsigned flags, const char *what)
{
    if (o->flags & ~flags)
        return fail(-EINVAL, "%s: unknown flags %#x", what, o->flags);
    if (!(o->handshake >= 0 && o->handshake <= 1e6))
        return fail(-EINVAL, "%s: %g seconds for a handshake", what, o->handshake);
    if (o->objects > 1u << 24)
        return fail(-EINVAL, "%s: %u objects, %u at most", what, o->objects, 1u << 24);
    return 0;
}

static int make(struct shoal_manager **ret, const shoal_manager_options *o, unsigned flags,
                const char *what)
{
    static const shoal_manager_options defaults;
    if (!ret)
        return fail(-EINVAL, "%s: nowhere to write the handle (NULL)", what);
    if (!o)
        o = &defaults;
    int rc = check_options(o, flags, what);
    if (rc)
        return rc;
    struct shoal_manager *m = calloc(1, sizeof *m);
    if (!m)
        return fail(-ENOMEM, "%s: no memory", what);
    rc = key_copy(&m->key, o->authkey, o->authkey_size, what);
    if (rc) {
        free(m);
        return rc;
    }
    m->magic = MAGIC;
    m->options = *o;
    m->options.waiting = o->waiting ? o->waiting : 4096;
    m->maker = os_getpid();
    m->server = (struct server){
        .manager = m,
        .epoll = -1,
        .key = m->key,
        .most = o->clients ? o->clients : 4096,
        .message = o->message ? o->message : 64 << 20,
        .handshake = (int64_t)((o->handshake != 0 ? o->handshake : 10) * 1e9),
        .objects.most = o->objects ? o->objects : 65536,
    };
    *ret = m;
    return 0;
}

int shoal_manager_create(shoal_manager **ret, const shoal_manager_options *options)
{
    struct shoal_manager *m = NULL;
    int rc = make(ret ? &m : NULL, options, 0, "shoal_manager_create");
    if (rc)
        return rc;
    if (options && options->address)
        rc = keep_address(m, options->address, "shoal_manager_create");
    if (rc)
        shoal_manager_close(m);
    else
        *ret = m;
    return rc;
}

/* ---- what it exports ---- */

static bool is_taken(const struct shoal_manager *m, const char *name)
{
    const struct server *s = &m->server;
    for (unsigned i = 0; i < s->n_own; i++)
        if (!strcmp(s->own[i].name, name))
            return true;
    for (unsigned i = 0; i < s->objects.n_names; i++)
        if (!strcmp(s->objects.names[i].name, name))
            return true;
    return false;
}

static int may_add(const shoal_manager *manager, const char *name, const char *what)
{
    int rc;
    const struct shoal_manager *m = good(manager, what, &rc);
    if (!m)
        return rc;
    if (!name || !*name)
        return fail(-EINVAL, "%s: no name", what);
    if (m->serves)
        return fail(-EBUSY, "%s: it serves already", what);
    return is_taken(m, name) ? fail(-EALREADY, "%s: there is a '%s'", what, name) : 0;
}

static int check_type(const shoal_type *type, const char *what)
{
    if (!type || !type->methods)
        return fail(-EINVAL, "%s: no type, or one without methods", what);
    return 0;
}

static void make_type(struct manager_type *ret, const shoal_type *type)
{
    *ret = (struct manager_type){.name = type->name, .own = type};
}

int shoal_manager_register(shoal_manager *m, const shoal_type *type)
{
    const char *what = "shoal_manager_register";
    int rc = check_type(type, what);
    if (!rc)
        rc = may_add(m, type->name, what);
    if (!rc && !type->create)
        rc = fail(-EINVAL, "%s: it has no create", what);
    if (rc)
        return rc;
    struct manager_type *own =
        realloc(m->server.own, (m->server.n_own + 1) * sizeof *m->server.own);
    if (!own)
        return fail(-ENOMEM, "%s: no memory", what);
    make_type(&own[m->server.n_own++], type);
    m->server.own = own;
    return 0;
}

int shoal_manager_register_function(shoal_manager *m, const char *name, shoal_function function)
{
    const char *what = "shoal_manager_register_function";
    struct server *server = m ? &m->server : NULL;
    int rc = may_add(m, name, what);
    if (!rc && !function)
        rc = fail(-EINVAL, "%s: no function (NULL)", what);
    for (unsigned i = 0; !rc && i < server->n_functions; i++)
        if (!strcmp(server->functions[i].name, name))
            rc = fail(-EALREADY, "%s: there is a '%s'", what, name);
    if (rc)
        return rc;
    struct server_function *more =
        realloc(server->functions, (server->n_functions + 1) * sizeof *more);
    char *copy = more ? strdup(name) : NULL;
    if (more)
        server->functions = more;
    if (!copy)
        return fail(-ENOMEM, "%s: no memory", what);
    more[server->n_functions++] = (struct server_function){copy, function};
    return 0;
}

static int add_name(struct shoal_manager *m, const char *name, const struct manager_type *type,
                    struct manager_type *own, void *object)
{
    struct objects *o = &m->server.objects;
    struct named *names = realloc(o->names, (o->n_names + 1) * sizeof *names);
    char *copy = names ? strdup(name) : NULL;
    if (names)
        o->names = names;
    if (!copy)
        return fail(-ENOMEM, "no memory for the name '%s'", name);
    names[o->n_names++] =
        (struct named){.name = copy, .type = own ? own : type, .own = own, .object = object};
    return 0;
}

int shoal_manager_export(shoal_manager *m, const char *name, const void *handle)
{
    const char *what = "shoal_manager_export";
    shoal_reference reference;
    void *object;
    int rc = may_add(m, name, what);
    if (rc)
        return rc;
    enum type type = object_type(handle, what, &reference);
    if (type == TYPE_NONE)
        return -EBADF;
    const struct manager_type *const *t = manager_types;
    while (*t && !((*t)->type == type && (*t)->open))
        t++;
    if (!*t)
        return fail(-EINVAL, "%s: objects of its type are not exported", what);
    rc = (*t)->open(&object, handle);
    if (rc)
        return rc;
    rc = add_name(m, name, *t, NULL, object);
    if (rc)
        (*t)->destroy(object);
    return rc;
}

int shoal_manager_export_type(shoal_manager *m, const char *name, const shoal_type *type,
                              void *object)
{
    const char *what = "shoal_manager_export_type";
    int rc = check_type(type, what);
    if (!rc)
        rc = may_add(m, name, what);
    if (rc)
        return rc;
    struct manager_type *own = malloc(sizeof *own);
    if (!own)
        return fail(-ENOMEM, "%s: no memory", what);
    make_type(own, type);
    rc = add_name(m, name, NULL, own, object);
    if (rc)
        free(own);
    return rc;
}

/* ---- serving ---- */

int shoal_manager_listen(shoal_manager *manager)
{
    int rc;
    struct shoal_manager *m = good(manager, "shoal_manager_listen", &rc);
    if (!m || m->listens)
        return m ? 0 : rc;
    shoal_listener_options options = {.authkey = m->key.bytes,
                                      .authkey_size = m->key.size,
                                      .backlog = 4096,
                                      .pending = 1};
    rc = shoal_listener_create(&m->server.listener,
                               m->address.path || m->address.host ? &m->address : NULL, &options);
    if (rc)
        return rc;
    shoal_address at;
    shoal_listener_address(m->server.listener, &at);
    m->listens = true;
    m->serves = true;
    return keep_address(m, &at, "shoal_manager_listen");
}

static void stop_listening(struct shoal_manager *m)
{
    m->server.listener = shoal_listener_close(m->server.listener);
    m->listens = false;
}

int shoal_manager_serve_forever(shoal_manager *manager)
{
    int rc;
    struct shoal_manager *m = good(manager, "shoal_manager_serve_forever", &rc);
    if (!m)
        return rc;
    if (m->process)
        return fail(-EBUSY, "shoal_manager_serve_forever: another process serves");
    rc = shoal_manager_listen(m);
    if (rc)
        return rc;
    int error = errno;
    rc = loop_run(&m->server);
    if (rc != -EINTR) {
        stop_listening(m);
        loop_end(&m->server);
    }
    errno = error;
    return rc;
}

/* What the child tells its parent: a result, and the address or what was wrong. */
struct begun {
    struct shoal_manager *manager;
    shoal_connection *mine, *parents;
};

static void raise_limit(void)
{
    struct rlimit limit;
    if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max < 1 << 20 ? limit.rlim_max : 1 << 20;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int serve(void *argument)
{
    const struct begun *begun = argument;
    struct shoal_manager *m = begun->manager;
    shoal_connection_close(begun->parents);
    signal(SIGINT, SIG_IGN); /* from the terminal it is for the parent, who ends this one */
    raise_limit();
    int rc = shoal_manager_listen(m);
    shoal_any *told =
        rc ? shoal_any_tuple(shoal_any_int(rc), shoal_any_str(shoal_error_detail()))
           : shoal_any_tuple(shoal_any_int(0), shoal_any_bytes(m->text, sizeof m->text),
                             shoal_any_int(m->address.port),
                             shoal_any_int((int64_t)m->address.path_size),
                             shoal_any_bool(m->address.host != NULL));
    shoal_connection_send(begun->mine, told, SHOAL_FOREVER);
    shoal_any_free(told);
    shoal_connection_close(begun->mine);
    while (!rc && (rc = shoal_manager_serve_forever(m)) == -EINTR)
        rc = 0;
    return rc ? 1 : 0;
}

static int learn(struct shoal_manager *m, const shoal_any *told)
{
    const shoal_any *part[5] = {NULL};
    const void *bytes;
    const char *text;
    size_t size;
    int64_t number[3] = {0};
    bool host;
    for (int i = 0; i < 5 && i < shoal_any_count(told); i++)
        shoal_any_at(told, i, &part[i]);
    shoal_any_as_int(part[0], &number[0]);
    if (number[0]) {
        shoal_any_as_str(part[1], &text, NULL);
        return fail((int)number[0], "%s", text);
    }
    shoal_any_as_bytes(part[1], &bytes, &size);
    shoal_any_as_int(part[2], &number[1]);
    shoal_any_as_int(part[3], &number[2]);
    shoal_any_as_bool(part[4], &host);
    memcpy(m->text, bytes, size < sizeof m->text ? size : sizeof m->text);
    m->address = (shoal_address){.port = (unsigned)number[1], .path_size = (size_t)number[2]};
    *(host ? &m->address.host : &m->address.path) = m->text;
    return 0;
}

static int start(struct shoal_manager *m)
{
    struct begun begun = {.manager = m};
    shoal_any *told = NULL;
    int rc = shoal_pipe(&begun.parents, &begun.mine, NULL);
    if (rc)
        return rc;
    rc = shoal_process_start(&m->process, serve, &begun,
                             &(shoal_process_options){.name = "Manager", .flags = SHOAL_DAEMON});
    shoal_connection_close(begun.mine);
    if (!rc)
        rc = shoal_connection_recv(begun.parents, &told, SHOAL_FOREVER);
    shoal_connection_close(begun.parents);
    if (!rc)
        rc = learn(m, told);
    else if (m->process)
        rc = fail(-EPIPE, "shoal_manager_start: the server ended before it listened");
    shoal_any_free(told);
    if (rc && m->process) {
        shoal_process_kill(m->process);
        shoal_process_join(m->process, SHOAL_FOREVER);
        shoal_process_close(m->process);
        m->process = NULL;
    }
    return rc;
}

int shoal_manager_start(shoal_manager *manager)
{
    int rc;
    struct shoal_manager *m = good(manager, "shoal_manager_start", &rc);
    if (!m)
        return rc;
    if (m->serves)
        return fail(-EBUSY, "shoal_manager_start: it serves already");
    m->serves = true;
    rc = start(m);
    if (rc)
        m->serves = false;
    return rc;
}

/* ---- looking, ending ---- */

int shoal_manager_address(shoal_manager *manager, shoal_address *ret)
{
    int rc;
    const struct shoal_manager *m = good(manager, "shoal_manager_address", &rc);
    if (!m)
        return rc;
    if (!ret)
        return fail(-EINVAL, "shoal_manager_address: nowhere to write it (NULL)");
    if (!m->serves)
        return fail(-EBUSY, "shoal_manager_address: it does not listen yet");
    *ret = m->address;
    return 0;
}

pid_t shoal_manager_pid(const shoal_manager *manager)
{
    int rc;
    const struct shoal_manager *m = good(manager, "shoal_manager_pid", &rc);
    return m && m->process && m->maker == os_getpid() ? shoal_process_pid(m->process) : 0;
}

/* A path that its server could not remove itself. */
static void remove_path(const struct shoal_manager *m)
{
    char directory[ADDRESS_TEXT];
    if (!m->address.path || !m->address.path[0])
        return;
    unlink(m->address.path);
    char *slash = strrchr(strcpy(directory, m->address.path), '/');
    if (!m->options.address && slash) { /* it was made for the socket */
        *slash = 0;
        rmdir(directory);
    }
}

static void end_process(struct shoal_manager *m, int64_t deadline)
{
    if (!m->process || m->maker != os_getpid())
        return;
    if (shoal_process_join(m->process, deadline) < 0) {
        shoal_process_kill(m->process);
        while (shoal_process_join(m->process, SHOAL_FOREVER) == -EINTR)
            ;
    }
    int code;
    if (shoal_process_exit_code(m->process, &code) || code)
        remove_path(m);
    shoal_process_close(m->process);
    m->process = NULL;
}

int shoal_manager_shutdown(shoal_manager *manager, int64_t deadline)
{
    int rc;
    struct shoal_manager *m = good(manager, "shoal_manager_shutdown", &rc);
    if (!m)
        return rc;
    if (!m->serves)
        return fail(-EBUSY, "shoal_manager_shutdown: nobody serves");
    bool mine = m->process && m->maker == os_getpid();
    rc = link_shutdown(m, deadline);
    end_process(m, rc ? SHOAL_NOW : deadline);
    return mine ? 0 : rc;
}

shoal_manager *shoal_manager_close(shoal_manager *manager)
{
    int rc, error = errno;
    struct shoal_manager *m = good(manager, "shoal_manager_close", &rc);
    if (!m)
        return NULL;
    links_free(m);
    if (m->process && m->maker == os_getpid()) {
        shoal_process_kill(m->process);
        end_process(m, SHOAL_FOREVER);
    }
    if (m->server.listener)
        stop_listening(m);
    loop_end(&m->server);
    free(m->server.own);
    for (unsigned i = 0; i < m->server.n_functions; i++)
        free(m->server.functions[i].name);
    free(m->server.functions);
    key_free(&m->key);
    m->magic = 0;
    free(m);
    errno = error;
    return NULL;
}

int shoal_manager_connect(shoal_manager **ret, const shoal_address *address,
                          const shoal_manager_options *options, int64_t deadline)
{
    const char *what = "shoal_manager_connect";
    struct shoal_manager *m = NULL;
    if (!address)
        return fail(-EINVAL, "%s: no address (NULL)", what);
    int rc = check_deadline(deadline);
    if (!rc)
        rc = make(ret ? &m : NULL, options, SHOAL_MANAGER_LOCAL, what);
    if (rc)
        return waited(rc, what, NULL, 0, deadline);
    rc = keep_address(m, address, what);
    m->serves = true;
    m->connected = true;
    if (!rc)
        rc = m->options.flags & SHOAL_MANAGER_LOCAL ? link_join(m, deadline)
                                                    : link_connect(m, deadline);
    if (rc)
        shoal_manager_close(m);
    else
        *ret = m;
    return rc;
}
