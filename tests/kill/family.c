/* family.c: see family.h. It knows the region's structs: what must hold in them is written in docs/design.md. */
#define _GNU_SOURCE
#include "family.h"

#include "audit.h"
#include "region/life.h"
#include "region/object.h"
#include "region/poll.h"
#include "region/wait.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NET_SECONDS 8.0 /* until a survivor that waits says for whom */
#define SPARE 12        /* slots kept free below the victim's */

static struct note *family_note;
static uint32_t first_spare;

static void nap(void)
{
    struct timespec t = {0, 500000};

    nanosleep(&t, NULL);
}

/* Whom the thread's wait in the region is woken from looks at all lives before it sleeps again. */
static void wake(uint32_t tid)
{
    char path[64], text[300];
    unsigned long long call, word;

    snprintf(path, sizeof(path), "/proc/%u/syscall", tid);
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    text[fread(text, 1, sizeof(text) - 1, f)] = 0;
    fclose(f);
    if (sscanf(text, "%llu %llx", &call, &word) == 2 && call == SYS_futex &&
        word - (uintptr_t)view.base < view.at.size)
        os_futex_wake((_Atomic uint32_t *)(uintptr_t)word,
                      INT32_MAX); /* NOLINT(performance-no-int-to-ptr) */
}

static void end_slices(void)
{
    uint32_t ranges[2][2] = {{1, atomic_load(&view.region->slots_high)},
                             {SLOTS, atomic_load(&view.region->records_high)}};

    for (int k = 0; k < 2; k++)
        for (uint32_t r = ranges[k][0]; r < ranges[k][1]; r++)
            for (int i = 0; i < FRAMES; i++)
                if (atomic_load(&record_at(r)->frames[i]))
                    wake(atomic_load(&record_at(r)->tid));
}

struct note *family_begin(int net)
{
    static const shoal_options options = {.reserve = 64 << 20};
    struct note *note =
        mmap(NULL, sizeof(*note), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ASSERT_TRUE(note != MAP_FAILED);
    ASSERT_SYS(setenv("SHOAL_TEST_SPIN", "0", 1));
    ASSERT_SYS(setenv("SHOAL_TEST_NET", net == NET_ON ? "1" : "0", 1));
    ASSERT_SYS(setenv("SHOAL_TEST_SLICES", "0", 1));
    ASSERT_OK(shoal_init(&options));
    kill_slices(process_self.keep.waitv ? NULL : end_slices);
    /* As if the case's process had reserved them for children. */
    first_spare = process_self.slot + 1;
    for (uint32_t i = first_spare; i < first_spare + SPARE; i++) {
        ASSERT_OK(region_populate(slot_at(i), sizeof(struct slot)));
        atomic_store(&slot_at(i)->word, slot_make(0, owner_record(shoal_thread.me), SLOT_STARTING));
    }
    atomic_store(&view.region->slots_high, first_spare + SPARE);
    family_note = note;
    kill_region(view.base, view.at.size);
    return note;
}

void family_prepare(void *s)
{
    (void)s;
    for (uint32_t i = first_spare; i < first_spare + SPARE; i++) {
        if (slot_status(atomic_load(&slot_at(i)->word)) == SLOT_STARTING &&
            !atomic_load(&slot_at(i)->pid))
            atomic_store(&slot_at(i)->word, slot_make(0, 0, SLOT_FREE));
    }
}

void family_calm(void)
{
    atomic_fetch_add(&view.region->changed, 1);
    os_futex_wake(&view.region->changed, INT32_MAX);
}

void family_point(void)
{
    os_getpid();
}

static uint32_t count(void)
{
    shoal_statistics s;

    ASSERT_OK(shoal_memory_statistics(&s));
    return s.objects;
}

void family_ready(struct note *note)
{
    note->before = count();
}

/* ---- the end ---- */

void family_settle(void)
{
    audit_settle(getppid());
}

void family_check(uint32_t objects)
{
    /* Who was merely stopped was not taken for dead. */
    if (!kill_victim_was_killed())
        ASSERT_EQ_U64(atomic_load(&view.region->deaths), family_note->dead);
    audit_check(objects);
}

/* ---- state, for mode REPAIR ---- */

static void add(uint64_t *hash, uint64_t value)
{
    *hash = (*hash ^ value) * 0x9e3779b97f4a7c15u;
    *hash ^= *hash >> 32;
}

static void add_owner(uint64_t *hash, owner_t owner)
{
    add(hash, !owner ? 0 : owner_dead(owner) ? 1 : 2 + owner_record(owner));
}

static void add_object(uint64_t *hash, struct header *h)
{
    uint64_t state = atomic_load(&h->state);
    enum object_status status = state_status(state);
    const _Atomic uint32_t *body = (const _Atomic uint32_t *)(const void *)h->body;

    add(hash, (uint64_t)status);
    add(hash, h->units);
    add(hash, h->flags);
    add(hash, atomic_load(&h->payload));
    if (status == OBJECT_CREATING || status == OBJECT_DEAD)
        add(hash, state_version(state));
    if (status != OBJECT_LIVE || h->type == TYPE_MEMORY)
        return;
    if (h->type == TYPE_LOCK || h->type == TYPE_RLOCK || h->type == TYPE_ONCE) {
        add_owner(hash, *(const _Atomic owner_t *)(const void *)h->body);
        add(hash, atomic_load(&body[2]) & SLEEPERS);
        add(hash, atomic_load(&body[3]));
        return;
    }
    for (int i = 0; i < BODY / 4; i++)
        add(hash, atomic_load(&body[i]));
    for (size_t i = 0; atomic_load(&h->payload) && i < h->size && i < 1024; i += 4)
        add(hash, *(const uint32_t *)(const void *)((char *)header_payload(h) + i));
    uint32_t id, generation;
    for (unsigned i = 0;
         h->flags & OBJECT_CARRIES && life_type(h->type)->names(h, i, &id, &generation); i++)
        add(hash, id);
}

uint64_t family_state(void *s)
{
    uint64_t hash = 0xcbf29ce484222325u;
    uint32_t high = atomic_load(&view.region->slots_high);
    uint32_t groups = atomic_load(&view.region->groups_high);
    uint32_t ranges[2][2] = {{1, high}, {SLOTS, atomic_load(&view.region->records_high)}};

    (void)s;
    for (uint32_t i = 1; i < high; i++) {
        uint64_t w = atomic_load(&slot_at(i)->word);
        add(&hash, (uint32_t)w);
        add(&hash, atomic_load(&slot_at(i)->pid) != 0);
    }
    for (int k = 0; k < 2; k++) {
        for (uint32_t r = ranges[k][0]; r < ranges[k][1]; r++) {
            add(&hash, (uint32_t)atomic_load(&record_at(r)->word));
            for (int i = 0; i < FRAMES; i++)
                add(&hash, atomic_load(&record_at(r)->frames[i]));
        }
    }
    for (uint32_t g = 0; g <= groups && g < view.at.max_groups; g++) {
        struct group *group = group_at(g);
        if (!region_is_populated(group))
            continue;
        add_owner(&hash, atomic_load(&group->owner));
        add(&hash, group->size);
        add(&hash, atomic_load(&group->payload));
        add(&hash, atomic_load(&group->carries));
        for (uint32_t i = 0; i < GROUP && region_is_populated(header_at(g * GROUP)); i++)
            add_object(&hash, header_at(g * GROUP + i));
        for (uint32_t i = 1; i < high; i++) {
            const unsigned char *row = object_row(g, i);
            for (uint32_t k = 0; row && k < GROUP; k++)
                add(&hash, row[k]);
        }
    }
    add_owner(&hash, atomic_load(&view.region->guard));
    add(&hash, atomic_load(&view.region->guard_event) & SLEEPERS);
    for (uint32_t unit = 0; unit < 4096; unit += 64)
        add(&hash, region_is_populated(&view.unit_map[unit / 64])
                       ? atomic_load(&view.unit_map[unit / 64])
                       : 0);
    return hash;
}

/* ---- in between ---- */

int family_sleepers(const void *opaque)
{
    uint64_t frame = (uint64_t)header_id(handle_of(opaque)->header) + 1;
    uint32_t ranges[2][2] = {{1, atomic_load(&view.region->slots_high)},
                             {SLOTS, atomic_load(&view.region->records_high)}};
    int n = 0;

    for (int k = 0; k < 2; k++)
        for (uint32_t r = ranges[k][0]; r < ranges[k][1]; r++)
            for (int i = 0; i < FRAMES; i++)
                n += atomic_load(&record_at(r)->frames[i]) == frame;
    return n;
}

void family_await_sleepers(const void *opaque, int n)
{
    int64_t net = os_now() + (int64_t)(NET_SECONDS * 1e9);

    while (family_sleepers(opaque) < n && !kill_victim_was_killed()) {
        if (os_now() > net)
            FAIL("only %d sleep, not %d", family_sleepers(opaque), n);
        nap();
    }
    /* Announced; asleep a moment later. It matters for the schedule only, not for what must hold. */
    for (int i = 0; i < 4; i++)
        nap();
}

void family_look(void)
{
    int64_t soonest;
    owner_t me;

    ASSERT_OK(self(&me));
    life_look_all(true, &soonest);
}

void family_await_repair(void)
{
    for (bool dead = true; dead;) {
        family_look();
        dead = false;
        for (uint32_t s = 1; s < atomic_load(&view.region->slots_high); s++)
            dead |= slot_status(atomic_load(&slot_at(s)->word)) == SLOT_DEAD;
        if (dead)
            nap();
    }
}

void family_notice(pid_t pid)
{
    while (os_process_ended(pid) != 1)
        nap();
    if (!process_self.keep.waitv)
        family_look();
}

void family_deafen(void)
{
    uint32_t high = atomic_load(&view.region->pollers_high);

    for (uint32_t i = 0; i < high; i++)
        if (atomic_load(&view.pollers[i].event) == POLLS_LIVES)
            atomic_store(&view.pollers[i].event, 0);
}

void family_leave(void)
{
    ASSERT_OK(self_leave());
}

unsigned family_slot(void)
{
    return process_self.slot;
}

int family_is_free(unsigned slot)
{
    return slot_status(atomic_load(&slot_at(slot)->word)) == SLOT_FREE;
}

void family_alive(void)
{
    ASSERT_EQ_U64(atomic_load(&slot_at(process_self.slot)->word),
                  slot_make(process_self.generation, 0, SLOT_ALIVE));
    ASSERT_FALSE(owner_dead(shoal_thread.me));
}

void family_await(int *word)
{
    while (!__atomic_load_n(word, __ATOMIC_SEQ_CST))
        os_futex_wait((const _Atomic uint32_t *)(const void *)word, 0, INT64_MAX);
}

void family_set(int *word)
{
    __atomic_store_n(word, 1, __ATOMIC_SEQ_CST);
    os_futex_wake((_Atomic uint32_t *)(void *)word, INT32_MAX);
}

void family_die_after(void (*f)(void *argument), void *argument)
{
    int status;
    pid_t pid = fork();

    ASSERT_SYS(pid);
    if (!pid) {
        f(argument);
        kill(getpid(), SIGKILL);
    }
    ASSERT_EQ_INT(waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    family_note->dead++;
}
