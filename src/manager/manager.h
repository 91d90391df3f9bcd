/* manager/manager.h - what the parts of a manager share.
 *
 *     server.c     the loop: who calls, proves the key, asks; what is read and written, never waiting
 *     request.c    what the server itself is asked: create, incref, get_methods, …
 *     threads.c    calls that wait: a thread each
 *     objects.c    what is exported: idents, references, who has them
 *     client.c     whose the references are
 *     holder.c     who holds locks and permits
 *     call.c       one call of a method: arguments, results, exceptions
 *     type_*.c     the methods of each type
 *     manager.c    the public side of a server
 *     proxy.c      the other end
 *     local.c      clients that become one of the family
 */
#ifndef SHOAL_MANAGER_MANAGER_H
#define SHOAL_MANAGER_MANAGER_H

#include "message/address.h"
#include "message/authenticate.h"
#include "region/object.h"
#include "region/self.h"
#include <shoal/manager.h>
#include <shoal/process.h>

/* ---- types ---- */

enum method_flags {
    METHOD_WAITS = SHOAL_WAITS, /* always in a thread */
    METHOD_TRIES = 2,           /* may wait, but is tried without waiting before it gets a thread */
    METHOD_OWNS = 4,            /* what it takes is the connection's: called in its name */
    METHOD_HIDDEN = 8, /* not told to clients that make up a proxy from what they are told */
};

struct manager_type;
struct method {
    const char *name;
    int (*call)(void *object, shoal_call *call);
    unsigned flags;
    const struct manager_type *makes; /* what it returns becomes an object of this type */
};
struct manager_type {
    const char *name;
    const char *proxy; /* Python's class for it; NULL: one made up of its methods */
    enum type type;    /* of the region's object behind it; TYPE_NONE: there is none */
    const void *(*handle)(void *object); /* its handle; NULL: the object itself */
    int (*create)(void **ret, shoal_call *call);
    void (*destroy)(void *object);
    const struct method *methods; /* until one without a name */
    /* str and repr; NULL: as Python shows an object that has none */
    int (*repr)(void *object, shoal_call *call);
    int (*value)(void *object, shoal_call *call); /* a copy of it, for #GETVALUE */
    bool (*has)(void *object); /* the calling owner has something of it; NULL: nobody can */
    /* Gives back what it has. *event: who sleeps there is to be woken when the owner is no more. */
    void (*leave)(void *object, _Atomic uint32_t **event);
    int (*open)(void **ret, const void *handle); /* another open of an exported handle */
    int (*reopen)(void **ret, const shoal_reference *reference);
    const shoal_type *own; /* a type of the program's */
};
extern const struct manager_type *const manager_types[]; /* until NULL */
extern const struct manager_type list_type, dict_type, namespace_type, iterator_type;
extern const struct manager_type lock_type, rlock_type, semaphore_type, bounded_semaphore_type;
extern const struct manager_type condition_type, event_type, barrier_type;
extern const struct manager_type queue_type, joinable_queue_type, value_type, array_type;
extern const struct manager_type pool_type, async_result_type, pool_iterator_type;

/* ---- calls ---- */

struct session;
struct server;
struct entry;
struct shoal_call {
    const shoal_any *args, *kwds; /* a tuple or list, a dict; kwds may be NULL */
    shoal_any *ret;               /* what it returns or raises; NULL: None */
    bool raised;
    bool tries;     /* it may not wait now; if it would, `waits` says so */
    int64_t latest; /* no later than that */
    bool begun;     /* `until` was computed from what the caller wants */
    int64_t until;
    /* of a server's */
    struct session *session; /* NULL: none, a local call */
    struct holder *holder;   /* in whose name it is made; NULL: the thread's own */
    struct server *server;
    struct entry *entry;
    const struct method *method;
    void *object;
    shoal_any *request; /* what args lie in */
    void *made;         /* by a method that returns another object, which is to be that */
    int result;
    struct shoal_call *next;
};
/* Until when a call waits that says (block, timeout): seconds, or None for ever. *ret is SHOAL_NOW while
 * it only tries. SHOAL_RAISED: what is no number. */
int call_deadline(shoal_call *call, const shoal_any *block, const shoal_any *timeout, int64_t *ret);
/* The result of one that waited in vain: whether it is to be called again in a thread. */
bool call_would_wait(const shoal_call *call, int rc);
/* The method's result as the wire has it: "#RETURN" or "#ERROR", and the value, which is the caller's. */
const char *call_outcome(shoal_call *call, shoal_any **ret);
shoal_any *call_exception(int rc);
int call_return_none(shoal_call *call);
int call_return_bool(shoal_call *call, int rc); /* 1 or 0; or -errno, passed on */
int call_return_int(shoal_call *call, int64_t value);
/* Raises TypeError unless it has between least and most arguments, all of them without names. */
int call_takes(shoal_call *call, unsigned least, unsigned most);
/* An int that is given, or `otherwise`: 0, SHOAL_RAISED */
int call_int(shoal_call *call, unsigned i, const char *name, int64_t otherwise, int64_t *ret);
/* Raises `exception` with a formatted text. */
int call_raisef(shoal_call *call, const char *exception, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool any_is_true(const shoal_any *any);

/* ---- what is exported ---- */

struct entry {
    const struct manager_type *type;
    void *object;
    uint32_t generation; /* of the place */
    uint32_t refs;       /* of clients, and 1 if it has a name */
    uint32_t shared;     /* of these, those of clients that are known */
    uint32_t uses;       /* calls under way, and sessions that hold something of it */
    uint32_t index;
    uint32_t next_free;
    shoal_reference reference; /* of the region's object; all zero: there is none */
    struct entry *same;        /* another whose reference has the same hash */
    bool named;
    bool pinned; /* it was sent into another object: it stays, as with Python's server */
};
struct named {
    char *name;
    const struct manager_type *type;
    struct manager_type *own; /* is the name's own, and ends with it; or NULL */
    void *object;
    struct entry *entry; /* once somebody has asked for it */
};
struct objects {
    struct entry **at;
    uint32_t count, room, most, free, used;
    struct entry *buckets[256]; /* those with a reference */
    struct named *names;
    unsigned n_names;
};
enum { IDENT = 20 };
void entry_ident(const struct entry *entry, char ret[IDENT]);
struct entry *objects_find(struct objects *objects, const shoal_any *ident);
/* With one reference; the object is its from now on. */
int objects_add(struct objects *objects, const struct manager_type *type, void *object,
                struct entry **ret);
void entry_unref(struct objects *objects, struct entry *entry);
void entry_use(struct entry *entry);
void entry_unuse(struct objects *objects, struct entry *entry);
/* The region's object behind an entry, or NULL; and the entry of an object, or NULL. */
const void *entry_handle(const struct entry *entry);
struct entry *objects_find_reference(struct objects *objects, const shoal_reference *reference);
void objects_free(struct objects *objects);

/* ---- whose references ---- */

struct client;
/* The process at the other end of a Unix socket, or NULL. */
struct client *client_of(struct server *server, int fd);
void client_leave(struct server *server, struct client *client); /* a connection less */
int client_refer(struct client *client, struct entry *entry);    /* one more; client may be NULL */
/* One less: false if none of the references is this client's. */
bool client_unrefer(struct client *client, struct entry *entry);
void client_ended(struct server *server, struct client *client);

/* ---- who holds something ---- */

/* An owner, and of what it may have something. Python's clients close a connection whenever they have
 * no proxy at hand, and go on with another; so what a connection leaves behind is its process's, and
 * comes back when that has ended. */
struct holder {
    struct persona persona;
    struct entry **of;
    unsigned n, room;
    bool busy;           /* in a thread */
    struct holder *next; /* of the same client, whose connections have ended */
};
/* it may have something of this now */
int holder_begin(struct holder *holder, struct entry *entry);
/* Which of a session's holders a call is to be made as. */
struct holder *holder_for(struct session *session, const struct entry *entry);
/* It gives back all; or what it has becomes its client's, which lives. */
void holder_end(struct server *server, struct holder *holder);
void holder_leave(struct server *server, struct holder *holder, struct client *client);

/* ---- the server ---- */

enum watch_kind { WATCH_LISTENER, WATCH_DONE, WATCH_SESSION, WATCH_CLIENT };
struct watch {
    enum watch_kind kind;
};
struct client {
    struct watch watch;
    int pidfd;
    pid_t pid;
    unsigned connections;
    bool ended;
    struct references {
        struct entry *entry;
        uint32_t count;
    } * shares;
    unsigned n, room;
    struct holder *left; /* by connections that have ended */
    struct client *next;
};

enum session_state {
    SESSION_HANDSHAKE,
    SESSION_ASKS,    /* its one request is to come */
    SESSION_STREAMS, /* calls of methods, one after another */
    SESSION_OVER,    /* ends when its answer has left */
};
struct session {
    struct watch watch;
    enum session_state state;
    shoal_connection *connection;
    int fd;
    uint32_t watched;  /* events */
    _Atomic bool gone; /* the peer is; a thread is still busy for it */
    bool dead;         /* to be freed after this round */
    bool last;         /* the server ends when its answer has left */
    bool gives;        /* the region's descriptor follows it */
    bool thread;       /* it is a thread's of a C client (LINK_NAME) */
    struct handshake handshake;
    int64_t deadline; /* of the handshake */
    struct client *client;
    struct holder holder;
    struct entry **lent; /* named in the last answer: they stay until the next request */
    unsigned n_lent;
    shoal_call *call; /* in a thread */
    void *out;        /* an answer that could not be sent at all yet */
    size_t out_size;
    struct session *previous, *next;
};
struct server {
    struct shoal_manager *manager;
    int epoll;
    shoal_listener *listener;
    struct watch listening, finished;
    struct key key;
    struct objects objects;
    const struct manager_type **types; /* until NULL */
    struct manager_type *own;
    unsigned n_own;
    struct server_function { /* which pools run */
        char *name;
        shoal_function function;
    } * functions;
    unsigned n_functions;
    struct session *first, *last; /* in the handshake, the oldest first */
    struct session *sessions;     /* all others */
    struct session *graves;
    struct client *clients;
    unsigned n, most;
    size_t message;
    int64_t handshake;
    bool deaf; /* no descriptor was left: the listener is not watched */
    bool stop;
    unsigned gone; /* sessions whose peer is gone and whose call has not returned */
    struct threads *threads;
};
int loop_begin(struct server *server);
int loop_round(struct server *server); /* waits for something, and does it */
/* A caller, whose descriptor it takes; and one who has proved that he has the key. NULL: no memory. */
struct session *session_begin(struct server *server, int fd);
void session_proved(struct server *server, struct session *session);
int loop_run(struct server *server); /* 0 when it was shut down, -EINTR, -errno */
void loop_end(struct server *server);

/* Answers what the server is asked itself; *ret is what it returns. 0, or -errno: a traceback. */
struct request {
    shoal_any *whole; /* what all lies in */
    const shoal_any *ident;
    const char *name;
    const shoal_any *args, *kwds;
};
int request_read(struct request *ret, const void *bytes, size_t size);
/* Proxies of this server's objects become objects of the family, so that a list holds what is in it. */
int request_localize(struct server *server, struct request *request);
/* The other way round, in an answer: `value` is taken over. NULL: no memory. */
shoal_any *request_export(struct server *server, struct session *session, shoal_any *value);
void session_return(struct server *server, struct session *session); /* what it was lent */
int request_serve(struct server *server, struct session *session, const struct request *request,
                  shoal_any **ret);
/* Begins a call of a method. 0: call is ready to be made; otherwise a traceback. */
int request_call(struct server *server, struct session *session, const struct request *request,
                 shoal_call *call);
/* An entry's token and methods as #PROXY has them */
shoal_any *request_proxy(struct server *server, struct session *session,
                         const struct manager_type *type, void *object);
shoal_any *address_any(const shoal_address *address);

/* Writes (kind, value), which is taken over, as bytes: 0, -errno. */
int answer_write(const char *kind, shoal_any *value, void **bytes, size_t *size);

/* ---- threads for calls that wait ---- */
int threads_create(struct threads **ret, unsigned most);
int threads_fd(const struct threads *threads);               /* readable when some calls are over */
int threads_give(struct threads *threads, shoal_call *call); /* -EAGAIN: too many wait */
shoal_call *threads_take(struct threads *threads);           /* one that is over, or NULL */
void threads_kick(struct threads *threads); /* those whose session is gone get a signal */
void threads_free(struct threads *threads); /* when none is busy */

/* Makes the call, in the connection's name if need be. */
void call_run(shoal_call *call);

/* ---- the manager ---- */
struct shoal_manager {
    uint64_t magic;
    struct server server;
    bool serves;           /* or has */
    shoal_address address; /* where it is, or is to be; the texts lie in `text` */
    char text[ADDRESS_TEXT];
    bool listens;
    struct key key;
    shoal_process *process; /* that serves */
    pid_t maker;
    shoal_manager_options options;
    struct links *links; /* proxy.c: connections */
    bool connected;      /* to a server that somebody else has */
    uint64_t family;     /* which this process is of, if it is the server's; 0: it is none */
};

/* What C's clients say where Python's say which thread it is (accept_connection): each thread keeps its connection until it ends, so
 * the connection's end is the thread's. */
#define LINK_NAME "shoal"

/* ---- clients that become one of the family (local.c) ---- */
int local_offer(const struct server *server, struct session *session, const struct request *request,
                shoal_any **ret);
void local_give(const struct session *session); /* behind its answer */
shoal_any *local_reference(const struct entry *entry);
/* Does what an answer to shoal_family says: 0, also if the process stays outside; or what waiting comes to. */
int local_join(struct shoal_manager *manager, shoal_connection *connection, const shoal_any *answer,
               int64_t deadline);

/* ---- the other end ---- */
int link_join(struct shoal_manager *manager, int64_t deadline); /* the server's family, if it can */
int link_connect(struct shoal_manager *manager, int64_t deadline);
int link_shutdown(struct shoal_manager *manager, int64_t deadline); /* asks the server to end */
void links_free(struct shoal_manager *manager);

#endif
