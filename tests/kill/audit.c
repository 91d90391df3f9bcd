/* audit.c: see audit.h. It knows the region's structs: what must hold in them is written in docs/design.md. */
#define _GNU_SOURCE
#include "audit.h"

#include "../runner/check.h"
#include "region/life.h"
#include "region/object.h"
#include "region/wait.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NET_SECONDS 8.0 /* until it is said who is left */

/* A slot that is neither free nor a running process's. */
static uint32_t unsettled(pid_t other)
{
    uint32_t high = atomic_load(&view.region->slots_high);

    for (uint32_t s = 1; s < high; s++) {
        uint64_t w = atomic_load(&slot_at(s)->word);
        pid_t pid = atomic_load(&slot_at(s)->pid);
        if (slot_status(w) != SLOT_FREE &&
            (slot_status(w) != SLOT_ALIVE || (pid != os_getpid() && pid != other)))
            return s;
    }
    return 0;
}

void audit_settle(pid_t other)
{
    int64_t soonest, net = os_now() + (int64_t)(NET_SECONDS * 1e9);
    struct timespec nap = {0, 500000};
    owner_t me;
    uint32_t s;

    ASSERT_OK(self(&me));
    for (;;) {
        life_look_all(true, &soonest);
        s = unsettled(other);
        if (!s)
            return;
        if (os_now() > net)
            FAIL("slot %u (pid %d) is left with status %d, word %#llx", s,
                 (int)atomic_load(&slot_at(s)->pid),
                 (int)slot_status(atomic_load(&slot_at(s)->word)),
                 (unsigned long long)atomic_load(&slot_at(s)->word));
        nanosleep(&nap, NULL);
    }
}

static void check_records(void)
{
    uint32_t high = atomic_load(&view.region->slots_high);
    uint32_t ranges[2][2] = {{1, high}, {SLOTS, atomic_load(&view.region->records_high)}};

    for (int k = 0; k < 2; k++) {
        for (uint32_t r = ranges[k][0]; r < ranges[k][1]; r++) {
            struct record *record = record_at(r);
            uint64_t w = atomic_load(&record->word);
            uint32_t s = (uint32_t)(w >> 16) & 0xffff;
            if ((w & 0xff) && slot_status(atomic_load(&slot_at(s)->word)) != SLOT_ALIVE)
                FAIL("record %u is used for slot %u, which is no process's", r, s);
            for (int i = 0; i < FRAMES; i++) {
                if (atomic_load(&record->frames[i]))
                    FAIL("record %u says that it sleeps on object %d", r,
                         (int)atomic_load(&record->frames[i]) - 1);
            }
            if ((uint32_t)atomic_load(&record->reading))
                FAIL("record %u says that it reads in object %d", r,
                     (int)atomic_load(&record->reading) - 1);
        }
    }
    for (uint32_t s = 1; s < high; s++) {
        if (slot_status(atomic_load(&slot_at(s)->word)) == SLOT_FREE)
            ASSERT_EQ_INT(atomic_load(&slot_at(s)->pid), 0);
    }
}

/* Who holds it, of the living. Dead ones, and marks of closing, may not be there. */
static int holders(uint32_t id)
{
    uint32_t high = atomic_load(&view.region->slots_high);
    int n = 0;

    for (uint32_t s = 1; s < high; s++) {
        const unsigned char *row = object_row(id / GROUP, s);
        int hold = row ? row[id % GROUP] : HOLD_NONE;
        if (hold == HOLD_NONE)
            continue;
        if (hold != HOLD_HELD)
            FAIL("object %u: the hold of slot %u says %d", id, s, hold);
        if (slot_status(atomic_load(&slot_at(s)->word)) != SLOT_ALIVE)
            FAIL("object %u is held by slot %u, which is no process's", id, s);
        n++;
    }
    return n;
}

static uint64_t expect_units(unsigned char *used, uint32_t payload, uint32_t n)
{
    uint32_t unit = (payload - 1) / (UNIT / 64);

    for (uint32_t i = unit; i < unit + n; i++) {
        if (used[i]++)
            FAIL("unit %u belongs to two", i);
    }
    return n;
}

struct expected {
    unsigned char *used;
    uint64_t sum;
};

static void expect_run(uint32_t payload, uint32_t units, void *argument)
{
    struct expected *e = argument;

    e->sum += expect_units(e->used, payload, units);
}

/* The unit map says what groups and headers say. */
static void check_units(void)
{
    uint32_t high = atomic_load(&view.region->groups_high);
    unsigned char *used = calloc(view.at.max_units + 64, 1);
    struct expected e = {used, 0};

    ASSERT_NOT_NULL(used);
    for (uint32_t g = 0; g <= high && g < view.at.max_groups; g++) {
        const struct group *group = group_at(g);
        if (!region_is_populated(group))
            continue;
        if (atomic_load(&group->payload))
            expect_run(atomic_load(&group->payload), (group->size - 1) * GROUP / UNIT, &e);
        for (uint32_t i = 0; i < GROUP && region_is_populated(header_at(g * GROUP)); i++) {
            struct header *h = header_at(g * GROUP + i);
            const struct type_repair *type = life_type(h->type);
            if (h->units && atomic_load(&h->payload))
                expect_run(atomic_load(&h->payload), h->units, &e);
            if (type && type->runs && state_status(atomic_load(&h->state)) == OBJECT_LIVE)
                type->runs(h, expect_run, &e);
        }
    }
    for (uint32_t unit = 0; unit < view.at.max_units; unit++) {
        bool bit = region_is_populated(&view.unit_map[unit / 64]) &&
                   (atomic_load(&view.unit_map[unit / 64]) >> unit % 64 & 1);
        if (bit != (used[unit] != 0))
            FAIL("unit %u: the map says %d, headers and groups %d", unit, bit, used[unit]);
    }
    ASSERT_EQ_U64(atomic_load(&view.region->units_used), e.sum);
    free(used);
}

void audit_check(uint32_t objects)
{
    shoal_memory *memory;
    uint32_t high, living = 0;

    check_records();
    /* Whoever died under the guard is succeeded now. */
    ASSERT_OK(shoal_memory_create(&memory, 3 * UNIT, NULL));
    memset(shoal_memory_address(memory), 0x5a, 3 * UNIT);
    shoal_memory_close(memory);
    high = atomic_load(&view.region->groups_high);
    for (uint32_t g = 0; g <= high && g < view.at.max_groups; g++) {
        struct group *group = group_at(g);
        if (!region_is_populated(group))
            continue;
        owner_t owner = atomic_load(&group->owner);
        if (owner && owner_dead(owner))
            FAIL("object group %u is owned by a dead thread", g);
        for (uint32_t i = 0; i < GROUP && region_is_populated(header_at(g * GROUP)); i++) {
            uint32_t id = g * GROUP + i;
            struct header *h = header_at(id);
            enum object_status status = state_status(atomic_load(&h->state));
            int held = holders(id);
            if (status != OBJECT_FREE && status != OBJECT_LIVE)
                FAIL("object %u is left half made or half freed (%d)", id, (int)status);
            const struct type_repair *type = life_type(h->type);
            bool sent = h->flags & (OBJECT_SENT | OBJECT_CARRIES);
            if (status == OBJECT_LIVE && !held &&
                !(sent ? object_reach(h) == REACHED : type && type->held && type->held(h)))
                FAIL("object %u (type %d) lives and nobody holds it", id, h->type);
            if (status == OBJECT_FREE && held)
                FAIL("object %u is free and held by %d", id, held);
            if (status == OBJECT_FREE && h->units && atomic_load(&h->payload))
                FAIL("object %u is free and has kept its memory", id);
            living += status == OBJECT_LIVE;
        }
    }
    ASSERT_EQ_INT(living, objects);
    check_units();
}
