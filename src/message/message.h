/* message/message.h - a message that is an object of its own: long ones, and those that carry
 * references. It is held by the process that fills it in, then by the queue that it lies in, then
 * by the process that took it.
 */
#ifndef SHOAL_MESSAGE_H
#define SHOAL_MESSAGE_H

#include "message/lanes.h"
#include <shoal/any.h>

/* Where a message lies is never struck out again: that it was taken is seen by the lane's head. */
struct message {
    /* the object that it lies in, a queue or a pipe: 0: in none yet, or its id + 1 */
    _Atomic uint32_t queue, generation;
    uint64_t position;
    uint16_t lane;
    uint16_t which;
    uint32_t references; /* of objects, behind the bytes */
};
static_assert(sizeof(struct message) <= BODY, "fits in the header");

/* Makes one of `size` bytes, held by the caller: *bytes is where to write them. */
int message_create(void **ret, size_t size, unsigned char **bytes);
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

/* Encodes straight to where the message lies; as put_bytes, and -EINVAL: an object is in it. */
int message_put_any(struct lanes *q, const struct place *p, const shoal_any *any, int64_t deadline);
/* Takes a message of at most `most` bytes, and decodes it: as shoal_queue_get. *size: if that is
 * -EMSGSIZE. */
int message_take_any(struct lanes *q, const struct place *p, shoal_any **ret, size_t most,
                     size_t *size, int64_t deadline);

/* What inspection shows of an object of this layer. */
describe message_describe, queue_describe, value_describe, pipe_describe, pipe_end_describe;

#endif
