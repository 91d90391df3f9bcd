/* The region itself: making it, mapping it, putting memory behind its parts.
 *
 * The page map has a bit for each page of the region that has memory behind it. A bit is set after
 * the memory is there and cleared before it is given back, so a set bit may be believed; a clear
 * one costs a system call, no more.
 */
#include "region/region.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESERVE_DEFAULT (64ull << 30)
#define RESERVE_LEAST (64ull << 20)
#define PAGE 4096ull

struct view view = {.fd = -1};

/* Which pages of the page map this process has seen to have memory. */
static _Atomic uint64_t map_seen[64];

static uint64_t up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

/* The next table below *at. */
static uint64_t below(uint64_t *at, uint64_t size)
{
    return *at -= up(size, PAGE);
}

void region_layout(uint64_t size, struct layout *ret)
{
    uint64_t objects = MOST_OBJECTS;
    while (objects > 1024 && objects > size / 65536)
        objects /= 2;
    uint32_t groups = (uint32_t)(objects / GROUP);
    uint64_t at = size - SLOTS * sizeof(struct slot);
    *ret = (struct layout){.size = size, .groups = at, .max_groups = groups};
    at -= (uint64_t)groups * GROUP_BLOCK;
    ret->records = below(&at, (RECORDS - SLOTS) * sizeof(struct record));
    ret->roles = below(&at, WATCH_GROUPS * ROLES * sizeof(struct os_robust));
    ret->graves = below(&at, GRAVES * sizeof(struct grave));
    ret->pollers = below(&at, POLLERS * sizeof(struct poller));
    ret->parties = below(&at, (uint64_t)PARTIES * PARTY);
    ret->page_map = below(&at, size / PAGE / 8);
    ret->unit_map = below(&at, at / UNIT / 8 + 8);
    ret->max_units = (uint32_t)(at / UNIT);
}

static int adopt(int fd, void *base, uint64_t size)
{
    struct stat st;
    if (fstat(fd, &st))
        return -errno;
    view.base = base;
    view.fd = fd;
    view.device = st.st_dev;
    view.inode = st.st_ino;
    region_layout(size, &view.at);
    view.slots = (struct slot *)(void *)(view.base + size);
    view.region = (struct region *)(void *)slot_at(0);
    view.graves = (struct grave *)(void *)(view.base + view.at.graves);
    view.more_records = (struct record *)(void *)(view.base + view.at.records);
    view.roles = (struct os_robust *)(void *)(view.base + view.at.roles);
    view.pollers = (struct poller *)(void *)(view.base + view.at.pollers);
    view.parties = view.base + view.at.parties;
    view.groups = view.base + view.at.groups;
    view.unit_map = (_Atomic uint64_t *)(void *)(view.base + view.at.unit_map);
    view.heap = view.base;
    memset(map_seen, 0, sizeof map_seen);
    return 0;
}

int region_create(uint64_t reserve)
{
    uint64_t size = up(reserve ? reserve : RESERVE_DEFAULT, 1 << 20);
    void *base;
    int fd;
    if (size < RESERVE_LEAST)
        size = RESERVE_LEAST;
    if (size > RESERVE_MOST)
        return -EINVAL;
    int rc = os_memory_create(&size, RESERVE_LEAST, &fd, &base);
    if (rc)
        return rc;
    rc = adopt(fd, base, size);
    if (!rc)
        rc = os_memory_populate(view.base + size - PAGE, PAGE, fd, size - PAGE);
    if (!rc)
        rc = region_populate(view.graves, GRAVES * sizeof(struct grave));
    if (!rc)
        rc = region_populate(view.roles, WATCH_GROUPS * ROLES * sizeof(struct os_robust));
    if (rc) {
        region_unmap();
        return rc;
    }
    struct region *r = view.region;
    r->size = size;
    r->layout = REGION_LAYOUT;
    r->asymmetric = os_features()->membarrier;
    r->stamps = os_features()->stamps;
    os_random(&r->family, sizeof r->family);
    r->slots_high = 1;
    r->records_high = SLOTS;
    for (unsigned i = 0; i < WATCH_GROUPS * ROLES; i++)
        os_robust_init(&view.roles[i]);
    r->magic = REGION_MAGIC;
    return 0;
}

int region_map(int fd)
{
    struct stat st;
    void *base;
    if (fstat(fd, &st))
        return -errno;
    if (st.st_size < (off_t)RESERVE_LEAST || st.st_size % (off_t)PAGE)
        return -EBADMSG;
    int rc = os_memory_map(fd, (uint64_t)st.st_size, &base);
    if (rc)
        return rc;
    rc = adopt(fd, base, (uint64_t)st.st_size);
    if (!rc && (view.region->magic != REGION_MAGIC || view.region->layout != REGION_LAYOUT ||
                view.region->size != (uint64_t)st.st_size))
        rc = -EBADMSG;
    /* Releases of others are plain stores: this process must take part in their barriers. */
    if (!rc && view.region->asymmetric && !os_membarrier_register())
        rc = -ENOTSUP;
    if (rc) {
        view.fd = -1;
        region_unmap();
    }
    return rc;
}

void region_unmap(void)
{
    if (!view.base)
        return;
    munmap(view.base, view.at.size);
    int fd = region_fd();
    if (fd >= 0)
        close(fd);
    view = (struct view){.fd = -1};
}

int region_fd(void)
{
    struct stat st;
    if (view.fd < 0 || fstat(view.fd, &st) || st.st_dev != view.device || st.st_ino != view.inode)
        return -1;
    return view.fd;
}

/* ---- memory behind it ---- */

static _Atomic uint64_t *map_word(uint64_t page)
{
    return (_Atomic uint64_t *)(void *)(view.base + view.at.page_map) + page / 64;
}

/* Memory behind the part of the page map that speaks of `page`. */
CHILD_PATH static int map_ready(uint64_t page)
{
    uint64_t map_page =
        page / 8 / PAGE; /* up to 4096 of them at 512 GiB; more are populated each time */
    bool known = map_page < sizeof map_seen * 8;
    if (known &&
        (atomic_load_explicit(&map_seen[map_page / 64], memory_order_relaxed) >> map_page % 64 & 1))
        return 0;
    uint64_t offset = view.at.page_map + map_page * PAGE;
    int rc = os_memory_populate(view.base + offset, PAGE, region_fd(), offset);
    if (!rc && known)
        atomic_fetch_or(&map_seen[map_page / 64], 1ull << map_page % 64);
    return rc;
}

CHILD_PATH bool region_is_populated(const void *address)
{
    uint64_t page = (uint64_t)((const unsigned char *)address - view.base) / PAGE;
    return !map_ready(page) && (atomic_load(map_word(page)) >> page % 64 & 1);
}

int region_populate(const void *address, size_t size)
{
    uint64_t begin = (uint64_t)((const unsigned char *)address - view.base);
    uint64_t first = begin / PAGE, end = (begin + size + PAGE - 1) / PAGE;
    for (uint64_t page = first; page < end;) {
        int rc = map_ready(page);
        if (rc)
            return rc;
        if (atomic_load_explicit(map_word(page), memory_order_acquire) >> page % 64 & 1) {
            page++;
            continue;
        }
        /* the longest run of pages without memory, within what the ready part of the map tells */
        uint64_t stop = page + 1, most = (page / (PAGE * 8) + 1) * PAGE * 8;
        while (stop < end && stop < most && !(atomic_load(map_word(stop)) >> stop % 64 & 1))
            stop++;
        rc = os_memory_populate(view.base + page * PAGE, (stop - page) * PAGE, region_fd(),
                                page * PAGE);
        if (rc)
            return rc;
        for (; page < stop; page++)
            atomic_fetch_or(map_word(page), 1ull << page % 64);
    }
    return 0;
}

void region_unpopulate(const void *address, size_t size)
{
    uint64_t begin = (uint64_t)((const unsigned char *)address - view.base);
    for (uint64_t page = begin / PAGE; page < (begin + size) / PAGE; page++)
        if (!map_ready(page))
            atomic_fetch_and(map_word(page), ~(1ull << page % 64));
}

uint64_t region_populated(void)
{
    struct stat st;
    int fd = region_fd();
    return fd >= 0 && !fstat(fd, &st) ? (uint64_t)st.st_blocks * 512 : 0;
}
