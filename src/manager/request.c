/* What a server itself is asked, and the bytes of requests and answers.
 *
 * A request is (ident, name, arguments, named arguments), an answer (kind, value). The kinds are
 * #RETURN, #ERROR (an exception, which the caller raises), #PROXY (what was returned is another object
 * of the server's: its methods and its Token), #TRACEBACK (text: the request was wrong) and
 * #UNSERIALIZABLE.
 */
#include "manager/type.h"
#include "message/any.h"
#include "message/construct.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- bytes ---- */

static bool is_sequence(const shoal_any *a)
{
    return a->kind == SHOAL_ANY_TUPLE || a->kind == SHOAL_ANY_LIST;
}

static int parts_of(struct request *ret, shoal_any *whole)
{
    const struct any_items *items = whole->items;
    *ret = (struct request){.whole = whole,
                            .ident = &items->at[0],
                            .name = (const char *)items->at[1].bytes->at,
                            .args = &items->at[2],
                            .kwds = &items->at[3]};
    return 0;
}

int request_read(struct request *ret, const void *bytes, size_t size)
{
    shoal_any *whole;
    int rc = shoal_any_decode(&whole, bytes, size, NULL);
    if (rc)
        return rc;
    if (!is_sequence(whole) || whole->items->count != 4 ||
        whole->items->at[1].kind != SHOAL_ANY_STR || !is_sequence(&whole->items->at[2]) ||
        whole->items->at[3].kind != SHOAL_ANY_DICT) {
        shoal_any_free(whole);
        return fail(-EBADMSG, "not a request: (ident, name, arguments, named arguments)");
    }
    return parts_of(ret, whole);
}

int answer_write(const char *kind, shoal_any *value, void **bytes, size_t *size)
{
    shoal_any *answer = shoal_any_tuple(shoal_any_str(kind), value);
    int rc = answer ? shoal_any_encode(answer, bytes, size) : -ENOMEM;
    shoal_any_free(answer);
    return rc;
}

/* ---- proxies ---- */

shoal_any *address_any(const shoal_address *a)
{
    if (a->host)
        return shoal_any_tuple(shoal_any_str(a->host), shoal_any_int(a->port));
    if (!a->path[0])
        return shoal_any_bytes(a->path, a->path_size);
    return shoal_any_str(a->path);
}

static shoal_any *method_names(const struct manager_type *type, bool hidden)
{
    shoal_any *names[128];
    size_t n = 0;
    if (type->own)
        for (const shoal_method_entry *m = type->own->methods; m->name && n < 128; m++)
            names[n++] = shoal_any_str(m->name);
    else
        for (const struct method *m = type->methods; m->name && n < 128; m++)
            if (hidden || !(m->flags & METHOD_HIDDEN))
                names[n++] = shoal_any_str(m->name);
    return shoal_any_tuple_from(names, n);
}

shoal_any *request_proxy(struct server *server, struct session *session,
                         const struct manager_type *type, void *object)
{
    struct entry *e;
    char ident[IDENT];
    if (objects_add(&server->objects, type, object, &e)) {
        type->destroy(object);
        return NULL;
    }
    int rc = client_refer(session->client, e);
    entry_unref(&server->objects, e);
    if (rc)
        return NULL;
    entry_ident(e, ident);
    shoal_any *token = shoal_any_construct("multiprocessing.Token",
                                           shoal_any_tuple(shoal_any_str(type->name),
                                                           address_any(&server->manager->address),
                                                           shoal_any_str(ident)));
    return shoal_any_tuple(method_names(type, true), token);
}

/* ---- proxies in values ----
 *
 * What a client stores in a list may be a proxy of another of the server's objects. Within the family that is
 * an object in an any, which the list holds; on its way out it becomes a proxy again. What is no object of
 * the family (a type of the program's own) stays a proxy in the list, and stays from then on, as with
 * Python's server.
 */

static bool same_address(const struct server *server, const shoal_any *address)
{
    shoal_any *mine = address_any(&server->manager->address);
    bool same = mine && any_equal(mine, address);
    shoal_any_free(mine);
    return same;
}

static struct entry *entry_of_proxy(struct server *server, const shoal_any *a)
{
    if (a->kind != SHOAL_ANY_CONSTRUCT ||
        strcmp(constructs[a->name].shown, "multiprocessing.RebuildProxy") != 0)
        return NULL;
    const shoal_any *token = &a->items->at[0].items->at[1];
    const shoal_any *parts = token->items->at[0].items->at;
    return same_address(server, &parts[1]) ? objects_find(&server->objects, &parts[2]) : NULL;
}

enum { PROXY_LEVELS = 4 /* so deep a proxy is at least */ };

static bool has_proxy(struct server *server, const shoal_any *a)
{
    if (any_depth(a) < PROXY_LEVELS)
        return false;
    if (entry_of_proxy(server, a))
        return true;
    for (size_t i = 0; i < a->items->count; i++)
        if (has_proxy(server, &a->items->at[i]))
            return true;
    return false;
}

static bool has_object(const shoal_any *a)
{
    return a->kind == SHOAL_ANY_OBJECT || (any_has_items(a) && a->items->objects);
}

/* A copy of `a` in which some values are others. */
struct exchange {
    struct server *server;
    struct session *session;
    bool (*within)(struct server *server, const shoal_any *a); /* whether there may be one */
    /* What is to be there instead: false: a copy. NULL: no memory. */
    bool (*instead)(struct exchange *x, const shoal_any *a, shoal_any **ret);
};

static shoal_any *exchanged(struct exchange *x, const shoal_any *a)
{
    shoal_any *ret;
    if (!x->within(x->server, a))
        return shoal_any_copy(a);
    if (x->instead(x, a, &ret))
        return ret;
    if (!any_has_items(a) || a->kind == SHOAL_ANY_CONSTRUCT)
        return shoal_any_copy(a);
    size_t n = a->items->count;
    shoal_any **all = calloc(n + 1, sizeof(shoal_any *));
    if (!all)
        return NULL;
    for (size_t i = 0; i < n; i++)
        all[i] = exchanged(x, &a->items->at[i]);
    switch (a->kind) {
    case SHOAL_ANY_LIST: ret = shoal_any_list_from(all, n); break;
    case SHOAL_ANY_TUPLE: ret = shoal_any_tuple_from(all, n); break;
    case SHOAL_ANY_DICT: ret = shoal_any_dict_from(all, n); break;
    default: ret = a->frozen ? shoal_any_frozenset_from(all, n) : shoal_any_set_from(all, n); break;
    }
    free(all);
    return ret;
}

static bool proxy_to_object(struct exchange *x, const shoal_any *a, shoal_any **ret)
{
    struct entry *e = entry_of_proxy(x->server, a);
    const void *handle = e ? entry_handle(e) : NULL;
    if (!e)
        return false;
    if (!handle)
        e->pinned = true;
    *ret = handle ? shoal_any_object(handle) : shoal_any_copy(a);
    return true;
}

int request_localize(struct server *server, struct request *request)
{
    struct exchange x = {.server = server, .within = has_proxy, .instead = proxy_to_object};
    if (!has_proxy(server, request->whole))
        return 0;
    shoal_any *whole = exchanged(&x, request->whole);
    if (!whole)
        return -ENOMEM;
    shoal_any_free(request->whole);
    return parts_of(request, whole);
}

/* ---- the other way ---- */

static int lend(struct session *s, struct entry *e)
{
    struct entry **lent = realloc(s->lent, (s->n_lent + 1) * sizeof(struct entry *));
    if (!lent)
        return fail(-ENOMEM, "no memory for a reference");
    s->lent = lent;
    lent[s->n_lent++] = e;
    entry_use(e);
    return 0;
}

void session_return(struct server *server, struct session *s)
{
    for (unsigned i = 0; i < s->n_lent; i++)
        entry_unuse(&server->objects, s->lent[i]);
    free(s->lent);
    s->lent = NULL;
    s->n_lent = 0;
}

/* The entry of an object of the family, made if it has none; lent to the session, whose client refers to it
 * before it asks for anything else. NULL: it is none that is exported. */
static struct entry *entry_of_object(struct exchange *x, const shoal_any *a)
{
    struct objects *o = &x->server->objects;
    struct entry *e = objects_find_reference(o, &a->object->reference);
    if (e)
        return lend(x->session, e) ? NULL : e;
    const struct manager_type *const *t = manager_types;
    while (*t && !((*t)->type == a->object->type && (*t)->reopen))
        t++;
    void *object;
    if (!*t || (*t)->reopen(&object, &a->object->reference))
        return NULL;
    if (objects_add(o, *t, object, &e)) {
        (*t)->destroy(object);
        return NULL;
    }
    int rc = lend(x->session, e);
    entry_unref(o, e);
    return rc ? NULL : e;
}

static bool any_object_within(struct server *server, const shoal_any *a)
{
    (void)server;
    return has_object(a);
}

static bool object_to_proxy(struct exchange *x, const shoal_any *a, shoal_any **ret)
{
    char ident[IDENT];
    struct entry *e = a->kind == SHOAL_ANY_OBJECT ? entry_of_object(x, a) : NULL;
    if (!e)
        return false;
    const struct manager_type *type = e->type;
    entry_ident(e, ident);
    shoal_any *class = shoal_any_construct(type->proxy ? type->proxy : "multiprocessing.AutoProxy",
                                           shoal_any_tuple_from(NULL, 0));
    shoal_any *token =
        shoal_any_construct("multiprocessing.Token",
                            shoal_any_tuple(shoal_any_str(type->name),
                                            address_any(&x->server->manager->address),
                                            shoal_any_str(ident)));
    shoal_any *named = type->proxy
                           ? shoal_any_dict_from(NULL, 0)
                           : shoal_any_dict(shoal_any_str("exposed"), method_names(type, false));
    *ret = shoal_any_construct("multiprocessing.RebuildProxy",
                               shoal_any_tuple(class, token, shoal_any_str("pickle"), named));
    return true;
}

shoal_any *request_export(struct server *server, struct session *session, shoal_any *value)
{
    struct exchange x = {.server = server,
                         .session = session,
                         .within = any_object_within,
                         .instead = object_to_proxy};
    if (!value || !has_object(value))
        return value;
    shoal_any *ret = exchanged(&x, value);
    shoal_any_free(value);
    return ret;
}

/* ---- what the server is asked ---- */

static const struct manager_type *type_named(const struct server *server, const char *name)
{
    for (unsigned i = 0; i < server->n_own; i++)
        if (!strcmp(server->own[i].name, name))
            return &server->own[i];
    for (unsigned i = 0; manager_types[i]; i++)
        if (!strcmp(manager_types[i]->name, name))
            return manager_types[i];
    return NULL;
}

static struct named *object_named(struct server *server, const char *name)
{
    for (unsigned i = 0; i < server->objects.n_names; i++)
        if (!strcmp(server->objects.names[i].name, name))
            return &server->objects.names[i];
    return NULL;
}

static shoal_any *created(const struct entry *e, bool hidden)
{
    char ident[IDENT];
    entry_ident(e, ident);
    return shoal_any_tuple(shoal_any_str(ident), method_names(e->type, hidden));
}

static int get_named(struct server *server, struct session *session, struct named *named,
                     shoal_any **ret)
{
    int rc = 0;
    if (!named->entry) {
        rc = objects_add(&server->objects, named->type, named->object, &named->entry);
        if (!rc)
            named->entry->named = true;
    }
    if (!rc)
        rc = client_refer(session->client, named->entry);
    if (!rc)
        *ret = created(named->entry, named->type->own);
    return rc;
}

static int raised(shoal_call *call)
{
    char *text = NULL;
    if (!call->ret || shoal_any_repr(call->ret, &text))
        return fail(-EINVAL, "create: an exception");
    int rc = fail(-EINVAL, "%s", text);
    free(text);
    return rc;
}

static int create(struct server *server, struct session *session, const struct request *request,
                  shoal_any **ret)
{
    const char *name;
    if (!request->args->items->count || shoal_any_as_str(&request->args->items->at[0], &name, NULL))
        return fail(-EINVAL, "TypeError: create: no name of a type");
    struct named *named = object_named(server, name);
    if (named)
        return get_named(server, session, named, ret);
    const struct manager_type *type = type_named(server, name);
    if (!type)
        return fail(-ENOENT, "KeyError: '%s': no such type is registered", name);
    struct any_items rest = *request->args->items;
    rest.at++;
    rest.count--;
    shoal_any args = node_of_items(SHOAL_ANY_TUPLE, &rest);
    shoal_call call = {.args = &args,
                       .kwds = request->kwds,
                       .latest = SHOAL_FOREVER,
                       .session = session,
                       .server = server};
    void *object = NULL;
    int rc = type->own ? type->own->create(&object, &call, type->own->argument)
                       : type->create(&object, &call);
    if (rc == SHOAL_RAISED)
        rc = raised(&call);
    shoal_any_free(call.ret);
    if (rc < 0)
        return rc;
    struct entry *e;
    rc = objects_add(&server->objects, type, object, &e);
    if (rc) {
        if (!type->own)
            type->destroy(object);
        else if (type->own->destroy)
            type->own->destroy(object);
        return rc;
    }
    rc = client_refer(session->client, e);
    if (!rc)
        *ret = created(e, true);
    entry_unref(&server->objects, e);
    return rc;
}

static int no_object(const shoal_any *ident)
{
    char *text = NULL;
    if (shoal_any_repr(ident, &text))
        return -ENOMEM;
    int rc = fail(-ENOENT, "KeyError: %.60s: there is no such object", text);
    free(text);
    return rc;
}

static int of_ident(struct server *server, const struct request *request, struct entry **ret)
{
    if (request->args->items->count != 1)
        return fail(-EINVAL, "TypeError: %s takes one argument", request->name);
    const shoal_any *ident = &request->args->items->at[0];
    if (ident->kind == SHOAL_ANY_CONSTRUCT && constructs[ident->name].takes == TAKES_TOKEN)
        ident = &ident->items->at[0].items->at[2];
    *ret = objects_find(&server->objects, ident);
    return *ret ? 0 : no_object(ident);
}

static int decref(struct server *server, struct session *session, struct entry *e)
{
    if (!client_unrefer(session->client, e))
        return fail(-EPERM, "AssertionError: the references that it has are not this client's");
    entry_unref(&server->objects, e);
    return 0;
}

static bool is_thread(const struct request *request)
{
    const char *name;
    return request->args->items->count == 1 &&
           !shoal_any_as_str(&request->args->items->at[0], &name, NULL) && !strcmp(name, LINK_NAME);
}

static shoal_any *debug_info(struct server *server)
{
    struct objects *o = &server->objects;
    size_t size = 0;
    char *text = NULL;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    for (uint32_t i = 0; i < o->count; i++) {
        char ident[IDENT];
        if (!o->at[i]->type)
            continue;
        entry_ident(o->at[i], ident);
        fprintf(out, "%s  %s:       refcount=%" PRIu32 "\n    %s", ftell(out) ? "\n" : "", ident,
                o->at[i]->refs, o->at[i]->type->name);
    }
    fclose(out);
    shoal_any *ret = shoal_any_str(text ? text : "");
    free(text);
    return ret;
}

int request_serve(struct server *server, struct session *session, const struct request *request,
                  shoal_any **ret)
{
    const char *name = request->name;
    struct entry *e;
    int rc = 0;
    *ret = NULL;
    if (!strcmp(name, "create")) {
        rc = create(server, session, request, ret);
        if (!rc && !*ret)
            rc = -ENOMEM;
        return rc;
    }
    if (!strcmp(name, "incref")) {
        rc = of_ident(server, request, &e);
        if (!rc)
            rc = client_refer(session->client, e);
    } else if (!strcmp(name, "decref")) {
        rc = of_ident(server, request, &e);
        if (!rc)
            rc = decref(server, session, e);
    } else if (!strcmp(name, "get_methods")) {
        rc = of_ident(server, request, &e);
        if (!rc)
            *ret = method_names(e->type, false);
    } else if (!strcmp(name, "number_of_objects")) {
        *ret = shoal_any_int(server->objects.used);
    } else if (!strcmp(name, "debug_info")) {
        *ret = debug_info(server);
    } else if (!strcmp(name, "shoal_family")) {
        rc = local_offer(server, session, request, ret);
    } else if (!strcmp(name, "shoal_reference")) {
        rc = of_ident(server, request, &e);
        if (!rc)
            *ret = local_reference(e);
    } else if (!strcmp(name, "accept_connection")) {
        session->state = SESSION_STREAMS;
        session->thread = is_thread(request);
    } else if (!strcmp(name, "shutdown")) {
        session->last = true;
    } else if (strcmp(name, "dummy") != 0) {
        return fail(-ENOENT, "AssertionError: '%.60s' unrecognized", name);
    }
    if (!rc && !*ret)
        *ret = shoal_any_none();
    return rc || *ret ? rc : -ENOMEM;
}

/* ---- calls of methods ---- */

static int whole_value(void *object, shoal_call *call)
{
    return call->entry->type->value(object, call);
}
static int text_of(void *object, shoal_call *call)
{
    return call->entry->type->repr(object, call);
}
static int no_text_of(void *object, shoal_call *call)
{
    char text[100];
    (void)object;
    snprintf(text, sizeof text, "<shoal %s object>", call->entry->type->name);
    return shoal_call_return(call, shoal_any_str(text));
}
static const struct method fallbacks[] = {{"__str__", text_of, 0, NULL},
                                          {"__repr__", text_of, 0, NULL},
                                          {"#GETVALUE", whole_value, 0, NULL}};
static const struct method no_text = {"__repr__", no_text_of, 0, NULL};

/* Methods of the program's own types, called through this one. */
static int own_method(void *object, shoal_call *call)
{
    const shoal_method_entry *m = call->entry->type->own->methods;
    const char *name = call->request->items->at[1].bytes
                           ? (const char *)call->request->items->at[1].bytes->at
                           : "";
    while (strcmp(m->name, name) != 0)
        m++;
    return m->method(object, call);
}
static const struct method own_quick = {"", own_method, 0, NULL};
static const struct method own_waits = {"", own_method, METHOD_WAITS, NULL};

static const struct method *method_of(const struct manager_type *type, const char *name)
{
    if (type->own) {
        for (const shoal_method_entry *m = type->own->methods; m->name; m++)
            if (!strcmp(m->name, name))
                return m->flags & SHOAL_WAITS ? &own_waits : &own_quick;
    } else {
        for (const struct method *m = type->methods; m->name; m++)
            if (!strcmp(m->name, name))
                return m;
    }
    for (int i = 0; i < 2; i++)
        if (!strcmp(fallbacks[i].name, name))
            return type->repr ? &fallbacks[i] : &no_text;
    return type->value && !strcmp(fallbacks[2].name, name) ? &fallbacks[2] : NULL;
}

int request_call(struct server *server, struct session *session, const struct request *request,
                 shoal_call *call)
{
    struct entry *e = objects_find(&server->objects, request->ident);
    if (!e)
        return no_object(request->ident);
    const struct method *method = method_of(e->type, request->name);
    if (!method)
        return fail(-ENOENT, "AttributeError: method '%.60s' of a %s is not exposed", request->name,
                    e->type->name);
    struct holder *holder = NULL;
    if (method->flags & METHOD_OWNS) {
        holder = holder_for(session, e);
        int rc = holder_begin(holder, e);
        if (rc)
            return rc;
    }
    *call = (shoal_call){.args = request->args,
                         .kwds = request->kwds,
                         .latest = SHOAL_FOREVER,
                         .tries = method->flags & METHOD_TRIES,
                         .session = session,
                         .holder = holder,
                         .server = server,
                         .entry = e,
                         .method = method,
                         .object = e->object,
                         .request = request->whole};
    return 0;
}
