/* message/message.h - a message that is an object of its own: long ones, and all those of heaps. It is held by the process that fills it in, then by the queue that it lies in, then
 * by the process that took it.
 */
#ifndef SHOAL_MESSAGE_H
#define SHOAL_MESSAGE_H

#include "message/lanes.h"
#include <shoal/any.h>

/* Where a message lies in a lane is never struck out again: that it was taken is seen by the lane's
 * head. In a heap `queue` itself says whether it is in it (message/heap.c). */
struct message {
    /* the object that it lies in, a queue or a pipe: 0: in none, or its id + 1 */
    _Atomic uint32_t queue, generation;
    union {
        struct { /* of lanes */
            uint64_t position;
            uint16_t lane;
            uint16_t which;
        };
        struct { /* of a heap */
            uint64_t sequence;
            uint32_t index; /* only while a heap is being rebuilt */
        };
        struct {
            uint64_t reserved;
            uint32_t reserved2;
            uint32_t key; /* bytes of the key behind the message; 0: its bytes are the key */
        };
    };
};
static_assert(sizeof(struct message) <= BODY, "fits in the header");

static inline struct message *message_body(const struct header *h)
{
    return (struct message *)(uintptr_t)h->body;
}

/* An object that a message holds. First those of the any in it, as pickle_measure numbers them, then
 * what belongs to them. */
struct carried {
    uint32_t id, generation, type;
};

/* What to do while the region has no room for a message: wait for that until `deadline`, at `event`,
 * unless *closed says LANES_SHUT. */
struct shortage {
    const struct place *place;
    _Atomic uint32_t *event;
    const _Atomic uint32_t *closed;
    int64_t deadline;
};
static inline struct shortage shortage_of(struct lanes *q, const struct place *p, int64_t deadline)
{
    return (struct shortage){p, &q->space, &q->closed, deadline};
}

/* Makes one of `size` bytes, with room for a key behind them, held by the caller: *bytes is where to write them. -EMSGSIZE: the region, or
 * the caller's quota, will never have room for it; -EPIPE, or as the deadline says: it has none now. */
int message_create(void **ret, size_t size, size_t key, const struct shortage *shortage,
                   unsigned char **bytes);
/* The message of an any, which holds what objects there are in it, with room for a key: *behind is
 * where to write that. As message_create. */
int message_encode(void **ret, const shoal_any *any, size_t key, const struct shortage *shortage,
                   unsigned char **behind);
/* As message_create: it holds these objects, each of which is open here, and what belongs to them. -EINVAL: one is of
 * another family. */
struct pickle_objects;
int message_create_carrying(void **ret, size_t size, size_t key, struct pickle_objects *objects,
                            const struct shortage *shortage, unsigned char **bytes);
/* Object i of those that it holds: false if there are not as many. */
bool message_carried(const void *message, size_t i, struct carried *ret);
void message_close(void *message);
int message_open(void **ret, uint32_t id, uint32_t generation);
unsigned char *message_bytes(const void *message);
size_t message_size(const void *message);
/* Puts it, and gives up the caller's hold if that went well. */
int message_put(void *message, struct lanes *q, const struct place *p, int64_t deadline);

/* Puts a copy of more than INLINE_MOST bytes: as shoal_queue_put_bytes. */
int message_put_long(struct lanes *q, const struct place *p, const void *bytes, size_t size,
                     int64_t deadline);
/* The bytes of one that was taken, to a buffer that is as long; it is closed. */
void message_unpack(void *message, void *buffer);
/* The any that it is, which holds what objects there are in it for itself. */
int message_read_any(const void *message, shoal_any **ret);
/* The same; the message is closed in any case. */
int message_unpack_any(void *message, shoal_any **ret);

/* Encodes straight to where the message lies; as put_bytes. The message holds what objects there are in
 * the any. */
int message_put_any(struct lanes *q, const struct place *p, const shoal_any *any, int64_t deadline);
/* Takes a message of at most `most` bytes, and decodes it: as shoal_queue_get. *size: if that is
 * -EMSGSIZE. */
int message_take_any(struct lanes *q, const struct place *p, shoal_any **ret, size_t most,
                     size_t *size, int64_t deadline);

/* What inspection shows of an object of this layer. */
describe message_describe, queue_describe, value_describe, pipe_describe, pipe_end_describe;
/* The living end that receives what lies in a pipe's lanes, or NULL; of any content. (pipe.c) */
struct header *pipe_reader(struct header *pipe, unsigned which, uint32_t *generation);

#endif
