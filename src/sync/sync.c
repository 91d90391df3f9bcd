/* What the synchronisation objects share. */
#include "sync/sync.h"
#include <string.h>

int sync_create(struct header **header, void *ret, enum type type, size_t payload,
                const shoal_sync_options *options, const char *what)
{
    if (!ret)
        return fail(-EINVAL, "%s: nowhere to write the handle (NULL)", what);
    if (options && options->flags)
        return fail(-EINVAL, "%s: unknown flags %#x", what, options->flags);
    return object_create(header, type, payload, options ? options->name : NULL,
                         payload ? OBJECT_ZERO : OBJECT_RAW);
}

bool sync_lives(owner_t owner)
{
    owner_t me;
    if (owner && !owner_dead(owner) && !self(&me))
        life_ask(owner);
    return owner && !owner_dead(owner);
}

int sync_holder(owner_t owner, shoal_holder *ret, const char *call)
{
    shoal_holder holder = {.pid = 0};
    if (!ret)
        return fail(-EINVAL, "%s: nowhere to write the holder (NULL)", call);
    if (sync_lives(owner)) {
        const struct record *record = record_at(owner_record(owner));
        uint32_t s = (uint32_t)(atomic_load(&record->word) >> 16) & 0xffff;
        holder.pid = atomic_load(&slot_at(s)->pid);
        holder.tid = (pid_t)atomic_load(&record->tid);
        memcpy(holder.name, slot_at(s)->name, sizeof holder.name);
        holder.name[sizeof holder.name - 1] = 0;
        if (owner_dead(owner)) /* it ended while we read */
            holder = (shoal_holder){.pid = 0};
    }
    *ret = holder;
    return holder.pid != 0;
}
