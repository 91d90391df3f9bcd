/* pool.h - what the files of the pool share. pool.c says how it works. */
#ifndef SHOAL_PYTHON_POOL_H
#define SHOAL_PYTHON_POOL_H

#include "plain.h"
#include "pool/pool.h"
#include "python.h"

/* ---- pool_code.c: tasks and their results as bytes ---- */

/* How the bytes behind it are to be read. */
enum { PICKLED, BUFFERED, FLAT, FAILED };

/* An object as bytes: a plain one's; or a pickle, and buffers beside it. */
struct encoded {
    size_t size; /* of all */
    uint8_t how;
    bool is_plain;
    PyObject *buffers; /* a list of memoryviews; NULL: none */
    Py_buffer pickle;
    PyObject *flat; /* the list that it is of */
    struct plain plain;
};
int encode(struct encoded *ret, PyObject *object); /* 0, -1 */
/* The same of a chunk of a map, which is read as a list. */
int encode_chunk(struct encoded *ret, PyObject *chunk);
void encoded_write(const struct encoded *e, unsigned char *to);
void encoded_free(struct encoded *e);
PyObject *decode(uint8_t how, const unsigned char *bytes, size_t size);

/* pool_flat.c: how long it is; 0: it is not flat. */
size_t flat_size(PyObject *list);
void flat_write(PyObject *list, unsigned char *to);
PyObject *flat_read(const unsigned char *bytes, size_t size);

/* A task's first bytes.
 *   id, generation  memory that holds the function's pickle; CALL_ALL: unused
 */
struct head {
    uint32_t id, generation;
    uint8_t kind, how;
};
enum { HEAD = 10 };
enum kind {
    CALL,       /* arguments: function(*arguments) */
    CALL_NAMED, /* (arguments, named ones) */
    CALL_ALL,   /* (function, arguments, named ones) */
    ITEM,       /* function(item) */
    ITEM_STAR,  /* function(*item) */
    CHUNK,      /* [function(item) for item in items] */
    CHUNK_STAR,
};

/* A function, pickled once, in memory that the workers read it from. */
struct function {
    PyObject_HEAD shoal_memory *memory;
    shoal_reference reference;
};

/* What python/shoal/pool.py gives. */
struct helpers {
    PyObject *dumps;          /* dumps(object): (pickle, list of buffers) */
    PyObject *dumps_plain;    /* pickle.dumps */
    PyObject *loads;          /* pickle.loads */
    PyObject *encode_failure; /* encode_failure(exception): bytes */
    PyObject *decode_failure; /* decode_failure(bytes): exception */
    PyObject *failure;        /* failure(error, pid, exit code, text): exception */
    /* types of functions that are pickled in a way of their own: custom() */
    PyObject *custom;
};
extern struct helpers pool_helpers;

/* ---- pool_engine.c, pool_give.c ---- */

/*   functions  those that are known to be pickled by name, with what they are to workers
 *   kept       functions of maps that nobody waits for any more
 *   watched    maps whose callbacks are due when they are ready
 *   hungry     rows of inputs that are not all given
 *   feeding    rows whose inputs are not all given
 *   closing    it closes when they are
 *   ended      it was terminated
 */
struct engine {
    PyObject_HEAD shoal_pool *handle;
    struct own *own;
    PyObject *functions, *kept, *watched, *hungry;
    shoal_task_options options;
    bool optioned, closing, ended;
    unsigned feeding;
    uint16_t code;
    unsigned long minder; /* the thread that minds it; 0: none */
};
/* Waits without the GIL, starting workers where they are wanted: as pool_wait; -EINTR: with an exception. */
int engine_wait(struct engine *e, bool (*ready)(void *), void *argument, int64_t deadline);
/* What must hold before a task is given: 0, -1. */
int engine_open(struct engine *e);
/* Asks for its thread: 0, -1. */
int engine_minded(struct engine *e);
/* What a function is to workers, and to be given back by Py_DECREF; NULL with no exception: it is to be given in each task. */
struct function *engine_function(struct engine *e, PyObject *function);
/* A pickle of its own, whatever it is. */
struct function *function_make(PyObject *function);
/* Who wants its result: whoever asks some time; the pool's thread is told, too; the giver waits for it now. */
enum interest { ANY_TIME, MINDED, AT_ONCE };
/* Gives a task: 0, -1. Takes nothing over. */
int engine_give(struct engine *e, struct result **ret, enum kind kind,
                const struct function *function, PyObject *argument, struct arrivals *row,
                void *tag, enum interest interest);
/* The same of function(*arguments, **named), as short as it can be said: *f is what it is to workers, or NULL. */
int engine_call(struct engine *e, struct result **ret, struct function **f, PyObject *function,
                PyObject *arguments, PyObject *named, struct arrivals *row, void *tag,
                enum interest interest);
void engine_not_running(void); /* raises that */
extern PyTypeObject *Engine;
int engine_add(PyObject *module);
int give_add(PyObject *module);
/* A row of inputs is all given. */
void engine_fed(struct engine *e);

/* ---- pool_result.c ---- */
enum { WAITING, GOOD, BAD };
struct outcome {
    PyObject_HEAD struct engine *engine;
    PyObject *pool; /* until it is ready */
    struct function *function;
    struct result *r; /* of a task, until it was looked at */
    PyObject *callback, *error_callback;
    PyObject *value; /* or the exception */
    _Atomic uint8_t state;
    bool calls;
    unsigned waiters;  /* threads that look at what it waits for */
    _Atomic bool told; /* its callbacks have been called */
};
struct map_outcome {
    struct outcome base;
    struct arrivals *row;
    Py_ssize_t items, chunksize, chunks;
    Py_ssize_t given; /* chunks that have a task; the others failed at once */
    Py_ssize_t taken; /* that are in `value`, or failed */
    Py_ssize_t bad;   /* which was the first that failed; or chunks */
    PyObject *values, *failure;
};
PyObject *map_new(PyObject *pool, struct engine *e, PyObject *const *args);
extern PyTypeObject *ApplyResult, *MapResult;
struct outcome *outcome_new(PyTypeObject *type, struct engine *e, PyObject *pool,
                            PyObject *callback, PyObject *error_callback);
/* It is bad, by the exception that is set. */
void outcome_fail(struct outcome *o);
/* On the pool's thread: calls what is due, if it is ready: 1, 0. */
int outcome_tell(struct outcome *o);
/* What a result that is ready came to: GOOD, BAD, or -1: an exception that concerns who asks. */
int result_value(struct result *r, PyObject **ret);
int result_add(PyObject *module);

/* ---- pool_imap.c ---- */
PyObject *imap_new(PyObject *pool, struct engine *e, PyObject *const *args);
/* On the pool's thread: gives what there is room for: 1: there is more. */
int imap_feed(PyObject *self);
int imap_add(PyObject *module);

/* ---- pool_work.c ---- */
int python_task(shoal_task *task);
int work_add(PyObject *module);

#endif
