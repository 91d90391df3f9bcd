/* region/poll.h - descriptors that tell that there may be something to take, for epoll loops
 * (docs/design.md 4c). Of two parts: the family's table of pollers, whom to ring and how (poll.c); and
 * what a process keeps for itself, a descriptor for each handle that is polled (pollable.c), which also
 * watches over the family while its process sleeps where no futex reaches it (lives.c).
 */
#ifndef SHOAL_POLL_H
#define SHOAL_POLL_H

#include "region/object.h"

/* ---- the table ---- */

/* In place of an eventcount: rung when a process is born, or has been repaired. No eventcount lies
 * there, as they are aligned. */
#define POLLS_LIVES 1

/* Where an eventcount lies. */
static inline uint64_t poll_event(const _Atomic uint32_t *event)
{
    return (uint64_t)((uintptr_t)event - (uintptr_t)view.base);
}

/* The event's ARMED was seen in the value e: rings all that wait for it, and then clears the bit. Returns
 * the event's value. */
uint32_t poll_wake(_Atomic uint32_t *event, uint32_t e);
/* A process is about to be born, or has been repaired: who polls looks at all lives again. */
void poll_tell(void);

/* A socket with its place in the table. */
struct bell {
    int fd;
    ino_t inode; /* of the socket */
    uint32_t entry;
    owner_t owner;
};
/* -ENOSPC, -ENOMEM, -EMFILE, -ENFILE …, with a sentence. It is rung for nothing yet. */
int bell_make(struct bell *ret, const char *call);
/* From now on it is rung for `event`, or for POLLS_LIVES, if it is armed. */
void bell_hang(const struct bell *bell, uint64_t event);
/* Its descriptor is the socket still: the program may have closed it, and its number be another's. */
bool bell_good(const struct bell *bell);
/* Makes it unreadable. Whoever does goes on with bell_arm. */
void bell_drain(const struct bell *bell);
/* From here on it is rung. The caller looks now, and rings it itself if there is something. */
void bell_arm(const struct bell *bell);
bool bell_armed(const struct bell *bell);
/* Rings it, armed or not, from the descriptor of a good bell. */
void bell_ring(const struct bell *from, uint32_t entry);
void bell_end(struct bell *bell);

/* ---- a handle's descriptor ---- */

/* Whether there is something to take, or an end. */
typedef bool poll_look(void *argument);
/* The descriptor of an open handle, made at the first call: readable if there may be something to take. */
int pollable_open(struct handle *handle, _Atomic uint32_t *event, poll_look *ready, void *argument,
                  const char *call);
/* The caller has found nothing to take: the descriptor, if there is one, waits for something. */
void pollable_wait(struct handle *handle, _Atomic uint32_t *event, poll_look *ready,
                   void *argument);
static inline void pollable_in_vain(struct handle *handle, int rc, _Atomic uint32_t *event,
                                    poll_look *ready, void *argument)
{
    if (unlikely(atomic_load_explicit(&handle->pollable, memory_order_relaxed)) &&
        (rc == -EAGAIN || rc == -ETIMEDOUT || rc == -EINTR))
        pollable_wait(handle, event, ready, argument);
}
/* The handle is closed. Under process_self.mutex. */
void pollable_close(struct handle *handle);
/* All of this process's: it has left the family. */
void pollable_forget(void);

/* ---- lives.c ---- */

enum { LIVES_USERS = 32 /* descriptors that share one; see there */ };
struct watch {
    uint32_t generation; /* of the slot, as last seen */
    int32_t pid;
    int fd; /* its pidfd + 1; 0: none */
};
/* An epoll descriptor that is readable if somebody has died, or was born and is not watched yet. */
struct lives {
    uint64_t process; /* whose this is; 0: nobody's */
    int epoll, timer;
    struct bell bell;
    unsigned users;
    _Atomic uint32_t user[LIVES_USERS]; /* their entries + 1 */
    _Atomic uint32_t busy;              /* one looks at a time */
    _Atomic uint32_t blind;             /* the kernel has refused a barrier: time has to help */
    int64_t slice;
    struct watch *watches; /* one a slot */
};
/* Under process_self.mutex. */
int lives_make(struct lives *ret, uint64_t process, const char *call);
void lives_end(struct lives *lives);
/* What a forked process has of its parent's is closed. */
void lives_inherited(struct lives *lives);
bool lives_good(const struct lives *lives);
/* It was readable: takes in who was born and who has died, and repairs these. */
void lives_look(struct lives *lives);

/* Of descriptors that are registered with one another, which proves them to be what they were. */
bool poll_registered(int epoll, int fd, uint64_t tag);
int poll_register(int epoll, int fd, uint64_t tag); /* 0 or -errno */

#endif
