/* shoal/manager.h - objects for programs outside the family, and on other machines.
 *
 * A manager is a server that exports objects: lists, dicts, namespaces, queues, locks, …, and types of
 * one's own. It speaks what Python's multiprocessing.managers speaks, so a Python program that has
 * nothing but its standard library is a client of a C manager, and a C program of either's.
 *
 *     server:   shoal_manager_create(&m, &(shoal_manager_options){.address = &address,
 *                                        .authkey = "secret", .authkey_size = 6});
 *               shoal_manager_export(m, "get_jobs", queue);       an object that the family has anyway
 *               shoal_manager_register(m, &counter_type);         a type of one's own
 *               shoal_manager_start(m);                           a process that serves; or
 *               shoal_manager_serve_forever(m);                   this one
 *     Python:   class Manager(SyncManager): pass
 *               Manager.register("get_jobs")
 *               m = Manager(("10.0.0.1", 5000), b"secret"); m.connect()
 *               m.get_jobs().put("hello"); d = m.dict(); d["x"] = 1
 *     C:        shoal_manager_connect(&m, &address, &options, deadline);
 *               shoal_manager_get(m, &proxy, "get_jobs", NULL, NULL, deadline);
 *               shoal_proxy_call(proxy, "put", shoal_any_tuple(shoal_any_str("hello")), NULL, deadline);
 *
 * What can be made by name, with Python's arguments: list, dict, Namespace, Value, Array, Queue,
 * JoinableQueue, Event, Lock, RLock, Semaphore, BoundedSemaphore, Condition, Barrier, Pool. Methods,
 * results and exceptions are those that the standard library's own server would give.
 *
 * Whoever has the key may do everything that the exported objects can do, and may end the server.
 * Without the key nothing of what a client sends is decoded. Messages are plain data (any.h): no client can
 * have the server call anything but the methods in its tables.
 *
 * A client that ends, however it does, gives back what it has: its locks (the next to acquire is told,
 * SHOAL_OWNER_DIED, if it is of the family), permits that it took by `with`, its place in a
 * condition or barrier (which is broken then), and the objects that only it refers to. Of a
 * client that is no process of this machine, connected by TCP, references end with its decref only,
 * as there is nothing whose end would tell.
 */
#ifndef SHOAL_MANAGER_H
#define SHOAL_MANAGER_H

#include <shoal/any.h>
#include <shoal/error.h>
#include <shoal/memory.h>
#include <shoal/pipe.h>
#include <shoal/pool.h>
#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct shoal_manager shoal_manager;
typedef struct shoal_proxy shoal_proxy;
typedef struct shoal_call shoal_call;

/* A positive result: the method raised an exception, which is what was returned. */
#define SHOAL_RAISED 3

/* ---- types of one's own ---- */

/* A method of an exported object. 0: what shoal_call_return was given is returned, or None. -errno: an
 * exception that says what shoal_error_detail says: KeyError for -ENOENT, IndexError for -ERANGE,
 * ValueError for -EINVAL, TimeoutError for -ETIMEDOUT, PermissionError for -EPERM, MemoryError for
 * -ENOMEM, otherwise RuntimeError. SHOAL_RAISED: the one that shoal_call_raise was given.
 *   Calls of methods without SHOAL_WAITS come one after another, all in one thread; nobody else is served
 * meanwhile. */
typedef int (*shoal_method)(void *object, shoal_call *call);

/* In flags of a method: it may wait or take long, so it is called in a thread of its own, beside other calls.
 * If its client is gone, its thread is sent a signal, so that what it waits in ends with -EINTR
 * (shoal_call_is_gone tells). */
#define SHOAL_WAITS 1u

typedef struct shoal_method_entry {
    const char *name;
    shoal_method method;
    unsigned flags;
} shoal_method_entry;

typedef struct shoal_type {
    const char *name; /* by which clients make one */
    /* Makes one, with the arguments of the call; as a method, but that *ret is the object. */
    int (*create)(void **ret, shoal_call *call, void *argument);
    void (*destroy)(void *object);     /* nobody refers to it any more; NULL: nothing to do */
    const shoal_method_entry *methods; /* the last one's name is NULL */
    void *argument;                    /* for create */
} shoal_type;

/* An argument: the i-th, or the one of this name (NULL: none has); NULL: it was not given. Valid during
 * the call. */
SHOAL_API const shoal_any *shoal_call_argument(const shoal_call *call, unsigned i,
                                               const char *name);
/* How many arguments there are, named ones too. */
SHOAL_API unsigned shoal_call_count(const shoal_call *call);
/* What the method returns; it is the call's from now on. 0; -EINVAL for NULL, so that a failed builder
 * becomes an exception. */
SHOAL_API int shoal_call_return(shoal_call *call, shoal_any *value);
/* The method raises an exception of this name (shoal_any_construct): SHOAL_RAISED, to be returned. */
SHOAL_API int shoal_call_raise(shoal_call *call, const char *exception, const char *text);
/* 1 or 0: whether the client that called is gone, so that nobody waits for the result. */
SHOAL_API int shoal_call_is_gone(const shoal_call *call);

/* ---- server ---- */

typedef struct shoal_manager_options {
    const shoal_address *address; /* NULL: a Unix socket in a directory of its own */
    const void *authkey;          /* NULL: that of the calling process (process.h) */
    size_t authkey_size;
    unsigned flags; /* 0 */
    /* Limits of a server; 0: the default */
    unsigned clients; /* connections at once; 4096 */
    unsigned objects; /* 65536 */
    unsigned waiting; /* calls that wait at once; 4096 */
    size_t message;   /* bytes of a request; 64 MiB */
    double handshake; /* seconds to authenticate; 10 */
} shoal_manager_options;

/* A manager that does not serve yet. options may be NULL. 0, -EINVAL, -ENOMEM; -ENOTSUP: built without
 * libcrypto. */
SHOAL_API int shoal_manager_create(shoal_manager **ret, const shoal_manager_options *options);
/* Adds a type, before it serves. The struct and what it points to stay the caller's, and as they are.
 * -EALREADY: there is one of this name. -EBUSY: it serves. */
SHOAL_API int shoal_manager_register(shoal_manager *manager, const shoal_type *type);
/* Adds a function, before it serves, for the tasks of clients' pools: they cannot send one, and name it by a str
 * (p.map("square", range(10))). It is given the tuple of its arguments (shoal_task_any), in a worker. -EALREADY: there is one of
 * this name. -EBUSY. */
SHOAL_API int shoal_manager_register_function(shoal_manager *manager, const char *name,
                                              shoal_function function);
/* Exports an object that the caller holds, by its handle (a lock, queue, event, value, array, …) and a
 * name by which clients get it, before it serves: create(name) is that object, whoever asks. -EINVAL: of
 * a type that is not exported. -EALREADY, -EBUSY. */
SHOAL_API int shoal_manager_export(shoal_manager *manager, const char *name, const void *handle);
/* The same of an object of one's own type, which destroy is never called for. */
SHOAL_API int shoal_manager_export_type(shoal_manager *manager, const char *name,
                                        const shoal_type *type, void *object);

/* Serves in a child, a daemon (process.h), which ends with shoal_manager_shutdown, with its parent, or when
 * a client says so. 0 once it listens; or as shoal_listener_create, shoal_process_start. */
SHOAL_API int shoal_manager_start(shoal_manager *manager);
/* Serves in the calling thread until a client says shutdown: 0. -EINTR: a signal handler ran; call again.
 * Threads wait for calls that wait; they block all signals but SIGRTMAX - 3, which it takes
 * for itself. */
SHOAL_API int shoal_manager_serve_forever(shoal_manager *manager);
/* Listens, without serving yet: for who wants to know the address before serve_forever. */
SHOAL_API int shoal_manager_listen(shoal_manager *manager);
/* Where it listens, or where it was connected to; the texts are the manager's. -EBUSY: it does not yet. */
SHOAL_API int shoal_manager_address(shoal_manager *manager, shoal_address *ret);
/* The server process, 0: none that this process started. */
SHOAL_API pid_t shoal_manager_pid(const shoal_manager *manager);
/* Asks the server to end, and waits for that if the caller started it; it is killed at the deadline, and at
 * once if it is not there. 0, or as shoal_manager_connect. */
SHOAL_API int shoal_manager_shutdown(shoal_manager *manager, int64_t deadline);
/* Takes NULL; returns NULL. A server that the caller started is killed. Proxies are to be closed before. */
SHOAL_API shoal_manager *shoal_manager_close(shoal_manager *manager);

/* ---- client ---- */

/* For flags: the process joins the server's family, if it can. */
#define SHOAL_MANAGER_LOCAL 1u

/* Connects to a server, of shoal or Python's; of the options only key and flags count. 0, or as shoal_client.
 * Who started a server, and its children, need not: their manager is connected already.
 *   SHOAL_MANAGER_LOCAL: where it can, the calling process becomes one of the server's family: it gets the region,
 * and from then on everything that processes of one family can do with one another. So it can open what a proxy is of
 * (shoal_proxy_reference), and works on that directly. It can if the server is one of shoal's, on a Unix socket, of the same user and
 * in the same namespace of processes, and if the caller belongs to no family yet: its first call of
 * shoal that makes or opens anything begins one of its own, and so does a NULL for the key. Its key is from then on the one that it connected
 * with. Otherwise it is connected as without the flag, and shoal_error_detail says why; that is no failure. */
SHOAL_API int shoal_manager_connect(shoal_manager **ret, const shoal_address *address,
                                    const shoal_manager_options *options, int64_t deadline);
/* 1: the calling process is of the server's family, 0: it is not. */
SHOAL_API int shoal_manager_is_local(const shoal_manager *manager);
/* Makes an object, or gets the one of that name: type is list, dict, Queue, … or what was registered or
 * exported. args: a tuple, kwds: a dict, either may be NULL; they are taken over, also on failure.
 * 0; -ENOENT: there is no such type, or it does not take these arguments, in words; -EPIPE: the server is gone; -EAGAIN, -ETIMEDOUT,
 * -EINTR: it may have been made; then the server keeps it for the calling process until that ends (of a client by TCP: until the server
 * does). Otherwise as shoal_client. */
SHOAL_API int shoal_manager_get(shoal_manager *manager, shoal_proxy **ret, const char *type,
                                shoal_any *args, shoal_any *kwds, int64_t deadline);
/* How many objects the server has, or -errno. */
SHOAL_API int64_t shoal_manager_count(shoal_manager *manager, int64_t deadline);

/* Calls a method and waits for what it returns. args: a tuple or NULL, taken over, also on failure. *ret,
 * where not NULL, is the caller's to free. 0. SHOAL_RAISED: it raised an exception, which is *ret;
 * shoal_error_detail has it in words. -ENOENT: the object or the method is not there. -EPIPE: the server is
 * gone. -EAGAIN, -ETIMEDOUT, -EINTR: whether it was done is unknown; the thread's connection was given up, and
 * with it what the thread held by it (locks).
 *   Each thread has a connection of its own, so that an rlock is its thread's; what a
 * thread holds is given back when it ends. A child that was forked has its own ones, too. */
SHOAL_API int shoal_proxy_call(shoal_proxy *proxy, const char *method, shoal_any *args,
                               shoal_any **ret, int64_t deadline);
/* With named arguments, a dict. */
SHOAL_API int shoal_proxy_call_named(shoal_proxy *proxy, const char *method, shoal_any *args,
                                     shoal_any *kwds, shoal_any **ret, int64_t deadline);
/* What to open it by (shoal_list_open, shoal_dict_open, shoal_queue_open, …), for a process of the server's family: it lives while
 * the proxy does. 0; -ESTALE: the caller is of another family; -ENOTSUP: it is no object of the region, or the server is not shoal's.
 * Otherwise as shoal_client. */
SHOAL_API int shoal_proxy_reference(shoal_proxy *proxy, shoal_reference *ret, int64_t deadline);
/* What Python's managers call its type and its id. Valid until its close. */
SHOAL_API const char *shoal_proxy_type(const shoal_proxy *proxy);
SHOAL_API const char *shoal_proxy_id(const shoal_proxy *proxy);
/* Gives up the reference. Takes NULL; returns NULL. */
SHOAL_API shoal_proxy *shoal_proxy_close(shoal_proxy *proxy);

#ifdef __cplusplus
}
#endif
#endif
