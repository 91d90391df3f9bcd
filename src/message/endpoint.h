/* message/endpoint.h - handles of what lies in private memory, not in the region: connections of
 * sockets, and listeners.
 *
 * A handle points to a block of 256 bytes that is never freed, with a tag of eight bits added that
 * changes with each use of the block, so that a handle kept beyond its close is told from the one
 * that took its place. A call enters the block and leaves it; close marks it, and whoever is the last
 * to leave ends it: its descriptor cannot become another's under a call that still uses it.
 */
#ifndef SHOAL_ENDPOINT_H
#define SHOAL_ENDPOINT_H

#include "region/self.h"
#include <poll.h>

enum endpoint_kind { ENDPOINT_CONNECTION = 1, ENDPOINT_LISTENER };

/* The head of a block. */
struct endpoint {
    _Atomic uint32_t word;  /* {tag:8, open:1, kind:3, calls inside:20} */
    uint32_t forks;         /* how often this process had forked when it was made */
    struct endpoint *next;  /* all blocks, newest first; never changes */
    struct endpoint *spare; /* the next one that is free */
    int fd;
};
enum { ENDPOINT_SIZE = 256 };

/* Forks are looked after from now on. A fork's child calls handlers in the order in which they were registered: who registers one that
 * closes endpoints calls this before. */
void endpoint_first_time(void);
/* A block that is open, with fd -1 and the rest zero; NULL: no memory. */
struct endpoint *endpoint_new(enum endpoint_kind kind);
void *endpoint_handle(const struct endpoint *endpoint);
/* The block of an open handle, which stays until endpoint_leave; or NULL and *rc. */
struct endpoint *endpoint_enter(const void *handle, enum endpoint_kind kind, const char *what,
                                int *rc);
void endpoint_leave(struct endpoint *endpoint);
/* Whether it was closed meanwhile. */
bool endpoint_closed(const struct endpoint *endpoint);
/* From now on the handle is bad; others' waits on the descriptor end where that harms nobody else.
 * Bad handles are ignored. */
void endpoint_close(const void *handle, enum endpoint_kind kind);
/* Calls visit for every block that is open. Not while others may open or close. */
void endpoint_each(enum endpoint_kind kind, void (*visit)(struct endpoint *endpoint));

/* What each kind adds: `end` gives back what it has, when nobody is inside any more; `forked` makes a
 * block good in a child, where no other thread is inside any more. */
struct endpoint_type {
    void (*end)(struct endpoint *endpoint);
    void (*forked)(struct endpoint *endpoint);
};
extern const struct endpoint_type connection_type, listener_type;

/* ---- one at a time ---- */

/* 0: nobody's turn, 1: taken, 2: taken, and somebody may sleep. */
typedef _Atomic uint32_t turn_t;
int turn_take(turn_t *turn, int64_t deadline); /* 0, -EAGAIN, -ETIMEDOUT, -EINTR, -EINVAL */
bool turn_try(turn_t *turn);
void turn_give(turn_t *turn);

/* Waits until some are ready: how many, -EAGAIN, -ETIMEDOUT, -EINTR, -EINVAL. */
int endpoint_wait(struct pollfd *fds, unsigned n, int64_t deadline);

#endif
