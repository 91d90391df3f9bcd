/* What is written, made ready: short bytes in the caller's memory, anything else as a message object. */
#include "csp/channel.h"
#include "message/any.h"
#include "message/message.h"
#include "message/pickle.h"
#include <string.h>

static struct shortage shortage_in(struct channel *c, const struct place *p, int64_t deadline)
{
    return (struct shortage){p, &c->memory, &c->closed, deadline};
}

static int write_any(struct letter *l, const struct place *p, const shoal_any *any,
                     int64_t deadline)
{
    unsigned char *behind;
    int rc = any_may_travel(any, p->call);
    if (rc)
        return rc;
    if (!any_has_items(any) && any->kind != SHOAL_ANY_OBJECT) {
        rc = pickle_measure(any, &l->size, NULL);
        if (rc)
            return rc;
        if (l->size <= sizeof l->own) {
            pickle_write(any, l->own);
            l->bytes = l->own;
            return 0;
        }
    } else {
        struct pickle_objects objects = {0};
        rc = pickle_measure(any, &l->size, &objects);
        bool plain = !objects.count;
        pickle_objects_free(&objects);
        if (rc)
            return rc;
        if (plain && l->size <= sizeof l->own) {
            pickle_write(any, l->own);
            l->bytes = l->own;
            return 0;
        }
    }
    struct shortage shortage = shortage_in(channel_of(p->header), p, deadline);
    return message_encode(&l->object, any, 0, &shortage, &behind);
}

int letter_write(struct letter *l, struct header *channel, const shoal_any *any, const void *bytes,
                 size_t size, int64_t deadline, const char *call)
{
    struct place p = channel_place(channel, call);
    unsigned char *at;
    l->object = NULL;
    l->size = size;
    if (any)
        return write_any(l, &p, any, deadline);
    if (!bytes && size)
        return fail(-EINVAL, "%s: %zu bytes at NULL", call, size);
    l->bytes = bytes;
    if (size <= BOX_BYTES)
        return 0;
    struct shortage shortage = shortage_in(channel_of(channel), &p, deadline);
    int rc = message_create(&l->object, size, 0, &shortage, &at);
    if (!rc)
        memcpy(at, bytes, size);
    return rc;
}

void letter_of_message(struct letter *l, void *message)
{
    l->object = message;
    l->bytes = message_bytes(message);
    l->size = message_size(message);
}

void letter_end(struct letter *l)
{
    if (l->object)
        object_close(l->object, TYPE_MESSAGE);
    l->object = NULL;
}
