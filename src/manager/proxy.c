/* Proxies: the client's side, of shoal's servers and of Python's.
 *
 * What the server itself is asked (make this, give that up) goes by a connection of its own, as Python's
 * clients do it. Calls go by one that each thread keeps for them (a link): the server takes who calls by
 * the same connection for one and the same, so an rlock is a thread's here as there. Links end with their
 * thread. A child that was forked makes its own, and closes its copies of its parent's at once: it may live on for long, and the
 * server is to learn when its parent ends.
 */
#include "manager/manager.h"
#include "message/any.h"
#include "message/endpoint.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct link {
    const struct shoal_manager *manager;
    const void *thread;
    uint32_t epoch; /* of the process that made it */
    shoal_connection *connection;
    struct link *next;
};
struct shoal_proxy {
    struct shoal_manager *manager;
    char *type, *id;
    uint32_t epoch; /* of the process that has the reference */
};

static struct os_mutex mutex; /* the list; held over a fork */
static struct link *all;
static uint32_t epoch;
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static struct link *unlink_if(bool (*which)(const struct link *l, const void *argument),
                              const void *argument)
{
    struct link *found = NULL, *l;
    os_mutex_lock(&mutex);
    for (struct link **at = &all; (l = *at);) {
        if (which(l, argument)) {
            *at = l->next;
            l->next = found;
            found = l;
        } else {
            at = &l->next;
        }
    }
    os_mutex_unlock(&mutex);
    return found;
}

static void free_links(struct link *l)
{
    while (l) {
        struct link *next = l->next;
        shoal_connection_close(l->connection);
        free(l);
        l = next;
    }
}

static bool is_of_thread(const struct link *l, const void *thread)
{
    return l->thread == thread;
}
static bool is_of_manager(const struct link *l, const void *manager)
{
    return l->manager == manager;
}
static bool is_inherited(const struct link *l, const void *unused)
{
    (void)unused;
    return l->epoch != epoch;
}

static void thread_end(void *thread)
{
    free_links(unlink_if(is_of_thread, thread));
}

static void before_fork(void)
{
    os_mutex_lock(&mutex);
}
static void after_fork_parent(void)
{
    os_mutex_unlock(&mutex);
}
static void after_fork_child(void)
{
    epoch++;
    os_mutex_unlock(&mutex);
    free_links(unlink_if(is_inherited, NULL));
}

static void first_time(void)
{
    endpoint_first_time(); /* which makes a child's connections good before they are closed */
    pthread_key_create(&key, thread_end);
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

void links_free(struct shoal_manager *m)
{
    free_links(unlink_if(is_of_manager, m));
}

/* ---- asking ---- */

static int reach(const struct shoal_manager *m, shoal_connection **ret, int64_t deadline)
{
    shoal_client_options options = {.authkey = m->key.bytes, .authkey_size = m->key.size};
    return shoal_client(ret, &m->address, &options, deadline);
}

/* What a server's complaint means: text, the last line of which names an exception. */
static int refused(const shoal_any *text, const char *what)
{
    const char *s = "", *line = NULL;
    size_t n = 0;
    if (shoal_any_as_str(text, &s, &n))
        return fail(-EBADMSG, "%s: the server answers with %s", what, any_kind_name(text));
    while (n && (s[n - 1] == '\n' || s[n - 1] == ' '))
        n--;
    for (size_t i = 0; i < n; i++)
        if (!i || s[i - 1] == '\n')
            line = s + i;
    if (!line)
        line = "nothing";
    int size = (int)(s + n - line < 200 ? s + n - line : 200);
    bool missing = !strncmp(line, "KeyError", 8) || !strncmp(line, "AttributeError", 14);
    return fail(missing ? -ENOENT : -EINVAL, "%s: %.*s", what, size, line);
}

static int take_answer(shoal_any *answer, shoal_any **ret, const char *what)
{
    const shoal_any *kind = NULL, *value = NULL;
    const char *name;
    char *text;
    if (shoal_any_count(answer) == 2) {
        shoal_any_at(answer, 0, &kind);
        shoal_any_at(answer, 1, &value);
    }
    if (!kind || shoal_any_as_str(kind, &name, NULL))
        return fail(-EBADMSG, "%s: what came is no answer", what);
    if (!strcmp(name, "#TRACEBACK") || !strcmp(name, "#UNSERIALIZABLE"))
        return refused(value, what);
    bool raised = !strcmp(name, "#ERROR");
    if (!raised && strcmp(name, "#RETURN") != 0)
        return fail(-ENOTSUP, "%s: an answer of the kind '%.40s'", what, name);
    if (raised && !shoal_any_repr(value, &text)) {
        fail_detail("%s: %s", what, text);
        free(text);
    }
    if (ret) {
        *ret = shoal_any_copy(value);
        if (!*ret)
            return -ENOMEM;
    }
    return raised ? SHOAL_RAISED : 0;
}

/* Asks and waits for the answer. args and kwds are taken over. *lost: the connection is of no use any
 * more. */
static int ask(shoal_connection *c, shoal_any *ident, const char *name, shoal_any *args,
               shoal_any *kwds, shoal_any **ret, int64_t deadline, bool *lost)
{
    shoal_any *answer = NULL;
    *lost = false;
    shoal_any *request =
        shoal_any_tuple(ident, shoal_any_str(name), args ? args : shoal_any_tuple_from(NULL, 0),
                        kwds ? kwds : shoal_any_dict_from(NULL, 0));
    if (!request)
        return any_is_null(name);
    int rc = shoal_connection_send(c, request, deadline);
    shoal_any_free(request);
    if (rc >= 0)
        rc = shoal_connection_recv(c, &answer, deadline);
    *lost = rc < 0 && rc != -EINVAL && rc != -EBADMSG;
    if (rc < 0)
        return rc;
    rc = take_answer(answer, ret, name);
    shoal_any_free(answer);
    return rc;
}

/* By a connection of its own. */
static int ask_once(const struct shoal_manager *m, const char *name, shoal_any *args,
                    shoal_any *kwds, shoal_any **ret, int64_t deadline)
{
    shoal_connection *c;
    bool lost;
    int rc = reach(m, &c, deadline);
    if (rc) {
        shoal_any_free(args);
        shoal_any_free(kwds);
        return rc;
    }
    rc = ask(c, shoal_any_none(), name, args, kwds, ret, deadline, &lost);
    shoal_connection_close(c);
    return rc == SHOAL_RAISED ? -EBADMSG : rc;
}

int link_connect(struct shoal_manager *m, int64_t deadline)
{
    return ask_once(m, "dummy", NULL, NULL, NULL, deadline);
}

int link_join(struct shoal_manager *m, int64_t deadline)
{
    shoal_connection *c;
    shoal_any *answer = NULL;
    bool lost;
    int rc = reach(m, &c, deadline);
    if (rc)
        return rc;
    int64_t space = (int64_t)os_pid_namespace();
    rc = ask(c, shoal_any_none(), "shoal_family",
             shoal_any_tuple(self_alone() ? shoal_any_int(space) : shoal_any_none()), NULL, &answer,
             deadline, &lost);
    if (!rc)
        rc = local_join(m, c, answer, deadline);
    else if (!lost) /* a server that does not know of it */
        rc = 0;
    shoal_any_free(answer);
    shoal_connection_close(c);
    return rc;
}

int link_shutdown(struct shoal_manager *m, int64_t deadline)
{
    return ask_once(m, "shutdown", NULL, NULL, NULL, deadline);
}

/* ---- links ---- */

static struct link *find_link(const struct shoal_manager *m)
{
    os_mutex_lock(&mutex);
    struct link *l = all;
    while (l && !(l->manager == m && l->thread == &shoal_thread && l->epoch == epoch))
        l = l->next;
    os_mutex_unlock(&mutex);
    return l;
}

static int make_link(const struct shoal_manager *m, struct link **ret, int64_t deadline)
{
    bool lost;
    struct link *l = calloc(1, sizeof *l);
    if (!l)
        return fail(-ENOMEM, "no memory for a connection to a manager");
    int rc = reach(m, &l->connection, deadline);
    if (!rc)
        rc = ask(l->connection, shoal_any_none(), "accept_connection",
                 shoal_any_tuple(shoal_any_str(LINK_NAME)), NULL, NULL, deadline, &lost);
    if (rc) {
        shoal_connection_close(l->connection);
        free(l);
        return rc;
    }
    l->manager = m;
    l->thread = &shoal_thread;
    pthread_setspecific(key, &shoal_thread);
    os_mutex_lock(&mutex);
    l->epoch = epoch;
    l->next = all;
    all = l;
    os_mutex_unlock(&mutex);
    *ret = l;
    return 0;
}

static bool is_this(const struct link *l, const void *this)
{
    return l == this;
}

/* ---- the calls ---- */

static struct shoal_manager *served(shoal_manager *m, const char *what, int *rc)
{
    shoal_address at;
    *rc = m ? shoal_manager_address(m, &at) : fail(-EINVAL, "NULL is no manager");
    if (*rc)
        fail_in(*rc, what);
    pthread_once(&once, first_time);
    return *rc ? NULL : m;
}

static int keep(struct shoal_proxy **ret, struct shoal_manager *m, const char *type,
                const shoal_any *made)
{
    const shoal_any *id = NULL;
    const char *text;
    if (shoal_any_count(made) < 1 || shoal_any_at(made, 0, &id) ||
        shoal_any_as_str(id, &text, NULL))
        return fail(-EBADMSG, "shoal_manager_get: what came is no id of an object");
    struct shoal_proxy *p = calloc(1, sizeof *p);
    if (p) {
        *p = (struct shoal_proxy){.manager = m,
                                  .type = strdup(type),
                                  .id = strdup(text),
                                  .epoch = epoch};
        if (p->type && p->id) {
            *ret = p;
            return 0;
        }
        free(p->type);
        free(p->id);
        free(p);
    }
    ask_once(m, "decref", shoal_any_tuple(shoal_any_str(text)), NULL, NULL, SHOAL_FOREVER);
    return fail(-ENOMEM, "shoal_manager_get: no memory");
}

int shoal_manager_get(shoal_manager *manager, shoal_proxy **ret, const char *type, shoal_any *args,
                      shoal_any *kwds, int64_t deadline)
{
    int rc, error = errno;
    const char *what = "shoal_manager_get";
    shoal_any *all_args = NULL, *made = NULL;
    struct shoal_manager *m = served(manager, what, &rc);
    if (m && (!ret || !type))
        rc = fail(-EINVAL, "%s: no type, or nowhere to write the proxy (NULL)", what);
    if (!rc && args && args->kind != SHOAL_ANY_TUPLE)
        rc = fail(-EINVAL, "%s: the arguments are %s, not a tuple", what, any_kind_name(args));
    size_t n = !rc && args ? args->items->count : 0;
    shoal_any **parts = rc ? NULL : calloc(n + 1, sizeof(shoal_any *));
    if (!rc && parts) {
        parts[0] = shoal_any_str(type);
        for (size_t i = 0; i < n; i++)
            parts[i + 1] = shoal_any_copy(&args->items->at[i]);
        all_args = shoal_any_tuple_from(parts, n + 1);
    }
    free(parts);
    shoal_any_free(args);
    if (!rc && !all_args)
        rc = any_is_null(what);
    if (rc) {
        shoal_any_free(kwds);
        return rc;
    }
    rc = ask_once(m, "create", all_args, kwds, &made, deadline);
    if (!rc)
        rc = keep(ret, m, type, made);
    shoal_any_free(made);
    errno = error;
    return waited(rc, what, NULL, 0, deadline);
}

int64_t shoal_manager_count(shoal_manager *manager, int64_t deadline)
{
    int rc;
    shoal_any *count = NULL;
    int64_t n = 0;
    struct shoal_manager *m = served(manager, "shoal_manager_count", &rc);
    if (m)
        rc = ask_once(m, "number_of_objects", NULL, NULL, &count, deadline);
    if (!rc)
        rc = shoal_any_as_int(count, &n);
    shoal_any_free(count);
    return rc ? rc : n;
}

/* A child's own reference to what its parent referred to. */
static int own_reference(struct shoal_proxy *p, int64_t deadline)
{
    if (p->epoch == epoch)
        return 0;
    int rc =
        ask_once(p->manager, "incref", shoal_any_tuple(shoal_any_str(p->id)), NULL, NULL, deadline);
    if (!rc)
        p->epoch = epoch;
    return rc;
}

int shoal_proxy_call_named(shoal_proxy *p, const char *method, shoal_any *args, shoal_any *kwds,
                           shoal_any **ret, int64_t deadline)
{
    int rc = 0, error = errno;
    const char *what = "shoal_proxy_call";
    bool lost = false;
    struct link *l = NULL;
    if (!p || !method)
        rc = fail(-EINVAL, "%s: NULL", what);
    if (!rc && args && args->kind != SHOAL_ANY_TUPLE)
        rc = fail(-EINVAL, "%s: the arguments are %s, not a tuple", what, any_kind_name(args));
    if (!rc)
        rc = check_deadline(deadline);
    if (!rc)
        rc = own_reference(p, deadline);
    if (!rc) {
        l = find_link(p->manager);
        if (!l)
            rc = make_link(p->manager, &l, deadline);
    }
    if (rc) {
        shoal_any_free(args);
        shoal_any_free(kwds);
    } else {
        rc = ask(l->connection, shoal_any_str(p->id), method, args, kwds, ret, deadline, &lost);
    }
    if (lost)
        free_links(unlink_if(is_this, l));
    errno = error;
    return waited(rc, what, NULL, 0, deadline);
}

int shoal_proxy_call(shoal_proxy *proxy, const char *method, shoal_any *args, shoal_any **ret,
                     int64_t deadline)
{
    return shoal_proxy_call_named(proxy, method, args, NULL, ret, deadline);
}

int shoal_proxy_reference(shoal_proxy *p, shoal_reference *ret, int64_t deadline)
{
    int64_t number[3];
    const char *what = "shoal_proxy_reference";
    shoal_any *answer = NULL;
    const shoal_any *part;
    int rc = p && ret ? check_deadline(deadline) : fail(-EINVAL, "%s: NULL", what);
    if (!rc)
        rc = own_reference(p, deadline);
    if (rc)
        return waited(rc, what, NULL, 0, deadline);
    rc = ask_once(p->manager, "shoal_reference", shoal_any_tuple(shoal_any_str(p->id)), NULL,
                  &answer, deadline);
    if (rc == -EINVAL || rc == -ENOENT) /* an AssertionError, or whatever it says */
        rc = fail(-ENOTSUP, "%s: the server does not know of it, it is not shoal's", what);
    if (!rc && (!answer || answer->kind == SHOAL_ANY_NONE))
        rc = fail(-ENOTSUP, "%s: it is no object of the region", what);
    for (int i = 0; i < 3 && !rc; i++)
        rc = shoal_any_at(answer, i, &part) || shoal_any_as_int(part, &number[i]) ? -EBADMSG : 0;
    shoal_any_free(answer);
    if (rc)
        return waited(rc, what, NULL, 0, deadline);
    if (!view.base || view.region->family != (uint64_t)number[0])
        return fail(-ESTALE, "%s: the calling process is not of the server's family", what);
    *ret = (shoal_reference){(uint64_t)number[0], (uint32_t)number[1], (uint32_t)number[2]};
    return 0;
}

const char *shoal_proxy_type(const shoal_proxy *proxy)
{
    return proxy ? proxy->type : NULL;
}

const char *shoal_proxy_id(const shoal_proxy *proxy)
{
    return proxy ? proxy->id : NULL;
}

shoal_proxy *shoal_proxy_close(shoal_proxy *p)
{
    int error = errno;
    if (!p)
        return NULL;
    if (p->epoch == epoch)
        ask_once(p->manager, "decref", shoal_any_tuple(shoal_any_str(p->id)), NULL, NULL,
                 shoal_after(10));
    free(p->type);
    free(p->id);
    free(p);
    errno = error;
    return NULL;
}
