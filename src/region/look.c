/* Reading a region without touching it. */
#include "region/look.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SMALLEST = 64 << 20 };

void look_own(struct look *ret)
{
    *ret = (struct look){.fd = region_fd(), .base = view.base, .at = view.at};
}

int look_open(struct look *ret, int fd)
{
    struct stat st;
    struct region region;
    if (fstat(fd, &st))
        return -errno;
    uint64_t size = (uint64_t)st.st_size;
    if (!S_ISREG(st.st_mode) || size < SMALLEST || size > RESERVE_MOST || size % UNIT)
        return -EBADMSG;
    *ret = (struct look){.fd = fd};
    region_layout(size, &ret->at);
    if (!look_read(ret, look_slot(ret, 0), &region, sizeof region) || region.magic != REGION_MAGIC)
        return -EBADMSG;
    if (region.layout != REGION_LAYOUT)
        return -ENOTSUP;
    return region.size == size ? 0 : -EBADMSG;
}

/* From this process's own mapping: pages without memory are zero, and stay without. */
static void read_own(const struct look *look, uint64_t at, unsigned char *ret, size_t size)
{
    while (size) {
        size_t part = UNIT - at % UNIT;
        if (part > size)
            part = size;
        if (region_is_populated(look->base + at))
            memcpy(ret, look->base + at, part);
        else
            memset(ret, 0, part);
        at += part;
        ret += part;
        size -= part;
    }
}

bool look_read(const struct look *look, uint64_t at, void *ret, size_t size)
{
    unsigned char *to = ret;
    size_t done = 0;
    if (at > look->at.size || size > look->at.size - at) {
        memset(ret, 0, size);
        return false;
    }
    if (look->fd < 0) {
        read_own(look, at, to, size);
        return true;
    }
    while (done < size) {
        ssize_t n = pread(look->fd, to + done, size - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            memset(to + done, 0, size - done);
            return false;
        }
        done += (size_t)n;
    }
    return true;
}

bool look_run(const struct look *look, uint32_t payload, uint64_t from, void *ret, size_t size)
{
    uint64_t end = (uint64_t)look->at.max_units * UNIT, at = (uint64_t)(payload - 1) * 64;
    if (!payload || at > end || from > end - at || size > end - at - from) {
        memset(ret, 0, size);
        return false;
    }
    return look_read(look, at + from, ret, size);
}

bool look_payload(const struct look *look, const struct header *header, uint64_t from, void *ret,
                  size_t size)
{
    return look_run(look, atomic_load(&header->payload), from, ret, size);
}

/* ---- describing ---- */

static struct fact *new_fact(struct description *d, const char *name)
{
    assert(d->n < FACTS);
    struct fact *fact = &d->facts[d->n++];
    *fact = (struct fact){.name = name};
    return fact;
}

void describe_number(struct description *d, const char *name, uint64_t number)
{
    new_fact(d, name)->number = number > INT64_MAX ? INT64_MAX : (int64_t)number;
}

void describe_flag(struct description *d, const char *name, bool flag)
{
    struct fact *fact = new_fact(d, name);
    fact->kind = FACT_FLAG;
    fact->number = flag;
}

void describe_letter(struct description *d, const char *name, char letter)
{
    struct fact *fact = new_fact(d, name);
    fact->kind = FACT_TEXT;
    fact->text[0] = letter > ' ' && letter < 127 ? letter : '?';
}

static bool lives(const struct look *look, owner_t owner)
{
    uint64_t word, slot;
    uint32_t record = owner_record(owner);
    if (record >= RECORDS || !look_read(look, look_record(look, record), &word, sizeof word) ||
        (uint32_t)(word >> 32) != owner_generation(owner) || !(word & 0xff))
        return false;
    uint32_t s = (uint32_t)(word >> 16) & 0xffff;
    return s < SLOTS && look_read(look, look_slot(look, s), &slot, sizeof slot) &&
           slot_status(slot) != SLOT_DEAD;
}

bool describe_share(struct description *d, owner_t owner, const char *as)
{
    owner &= ~(owner_t)0xff;
    if (!owner)
        return false;
    if (d->count == d->room) {
        size_t room = d->room ? d->room * 2 : 4;
        struct share *more = realloc(d->shares, room * sizeof *more);
        if (!more) {
            d->short_of_memory = true;
            return false;
        }
        d->shares = more;
        d->room = room;
    }
    struct share *share = &d->shares[d->count++];
    *share = (struct share){owner, as, lives(d->look, owner)};
    return share->lives;
}

void describe_carried(struct description *d, uint32_t id)
{
    if (d->carries_count == MOST_CARRIED)
        return;
    if (!d->carries && !(d->carries = malloc(MOST_CARRIED * sizeof *d->carries)))
        d->short_of_memory = true;
    else
        d->carries[d->carries_count++] = id;
}

void description_free(struct description *d)
{
    free(d->shares);
    free(d->carries);
    d->shares = NULL;
    d->carries = NULL;
    d->count = d->room = d->carries_count = 0;
}
