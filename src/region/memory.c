/* shoal/memory.h and shoal/error.h: the public face of the region. */
#include "region/object.h"
#include "region/wait.h"
#include <math.h>
#include <shoal/pipe.h>
#include <string.h>

int shoal_init(const shoal_options *options)
{
    if (options && options->flags)
        return fail(-EINVAL, "shoal_init: unknown flags %#x", options->flags);
    int rc = self_init(options ? options->reserve : 0);
    if (!rc && options && options->quota)
        rc = object_set_quota(options->quota);
    return rc;
}

int shoal_memory_create(shoal_memory **ret, size_t size, const shoal_memory_options *options)
{
    struct header *h;
    unsigned flags = options ? options->flags : 0;
    if (!ret || !size)
        return fail(-EINVAL, !ret ? "shoal_memory_create: nowhere to write the handle (NULL)"
                                  : "shoal_memory_create: 0 bytes");
    if (flags & ~SHOAL_ZERO)
        return fail(-EINVAL, "shoal_memory_create: unknown flags %#x", flags);
    int rc = object_create(&h, TYPE_MEMORY, size, options ? options->name : NULL,
                           flags & SHOAL_ZERO ? OBJECT_ZERO : OBJECT_RAW);
    if (rc)
        return rc;
    *ret = object_publish(h);
    return 0;
}

void *shoal_memory_address(const shoal_memory *memory)
{
    struct header *h = header_of(memory, TYPE_MEMORY);
    if (!h) {
        bad_handle(memory, "shoal_memory_address");
        return NULL;
    }
    return header_payload(h);
}

size_t shoal_memory_size(const shoal_memory *memory)
{
    struct header *h = header_of(memory, TYPE_MEMORY);
    if (!h) {
        bad_handle(memory, "shoal_memory_size");
        return 0;
    }
    return h->size;
}

int shoal_memory_reference(const shoal_memory *memory, shoal_reference *ret)
{
    return object_reference(memory, TYPE_MEMORY, "shoal_memory_reference", ret);
}

int shoal_memory_open(shoal_memory **ret, const shoal_reference *reference)
{
    return object_open((void **)ret, TYPE_MEMORY, "shoal_memory_open", reference);
}

shoal_memory *shoal_memory_close(shoal_memory *memory)
{
    object_close(memory, TYPE_MEMORY);
    return NULL;
}

int shoal_memory_set_quota(uint64_t bytes)
{
    owner_t me;
    int rc = self(&me);
    return rc ? rc : object_set_quota(bytes);
}

int shoal_memory_statistics(shoal_statistics *ret)
{
    owner_t me;
    if (!ret)
        return fail(-EINVAL, "shoal_memory_statistics: nowhere to write them (NULL)");
    int rc = self(&me);
    if (rc)
        return rc;
    const struct slot *slot = slot_at(process_self.slot);
    shoal_statistics s = {
        .reserved = view.at.size,
        .populated = region_populated(),
        .quota = atomic_load(&slot->quota),
        .charged = object_charged(),
        .deaths = atomic_load(&view.region->deaths),
        .repairs = atomic_load(&view.region->repairs),
    };
    object_count(&s.objects, &s.used);
    uint32_t high = atomic_load(&view.region->slots_high);
    for (uint32_t i = 1; i < high; i++)
        s.processes += slot_status(atomic_load(&slot_at(i)->word)) == SLOT_ALIVE;
    *ret = s;
    return 0;
}

int64_t shoal_after(double seconds)
{
    if (isnan(seconds) || seconds <= 0)
        return SHOAL_NOW;
    if (seconds > 9.2e9)
        return SHOAL_FOREVER;
    return os_now() + (int64_t)(seconds * 1e9);
}

const char *shoal_error_detail(void)
{
    return fail_sentence();
}

const char *shoal_strerror(int result)
{
    switch (result) {
    case SHOAL_OWNER_DIED: return "held; its former holder died";
    case SHOAL_UNDER_WAY: return "under way";
    case -EAGAIN: return "not now";
    case -ETIMEDOUT: return "the deadline passed";
    case -EINTR: return "a signal handler ran";
    case -EBADF: return "not an open handle of this kind";
    case -ESTALE: return "no such object any more in this family";
    case -EINVAL: return "an argument makes no sense";
    case -EPERM: return "not permitted, or not the caller's";
    case -ENOMEM: return "out of memory";
    case -ENOSPC: return "no place for one more";
    case -ECANCELED: return "cancelled; of a barrier: it is broken";
    case -EPIPE: return "the other side is gone, or it was shut down";
    case -EOVERFLOW: return "a count would pass its bound";
    case -ERANGE: return "out of range";
    case -ENOENT: return "there is none";
    case -EMSGSIZE: return "longer than there is room for";
    case -EBADMSG: return "not what these bytes should be";
    case -EPROTO: return "the peer sent no message";
    case -EDEADLK: return "would wait for itself";
    case -EBUSY: return "still in use";
    case -EALREADY: return "it is so already";
    case -ECHILD: return "another process started it";
    case -ENODATA: return "the system does not say";
    case -ENOTSUP: return "not supported here";
    case -ETIME: return "a peer, or a task, was too slow";
    case -EHOSTUNREACH: return "the host cannot be found or reached";
    case -EOWNERDEAD:
        return "a process died: a task's worker; of condition_wait: the lock's former holder, it "
               "is held";
    case -EREMOTEIO: return "the task returned an error";
    case -ECONNABORTED: return "the pool has given up, or a peer broke off";
    case -ENOEXEC: return "a function that workers do not find";
    }
    if (result >= 0)
        return "success";
    /* For a number that means nothing libc's text would be a buffer that does not last. */
    if (result < -EHWPOISON || result == -41 || result == -58)
        return "unknown error";
    return strerror(-result);
}
