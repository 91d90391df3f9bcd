/* The guard of the unit map, whose owner may die: who waits for it learns of that, and the map is built anew
 * from what the objects say, some of which become other objects meanwhile. */
#include "message/lanes.h"
#include "processes.h"
#include "region/life.h"
#include "region/object.h"
#include "region/wait.h"
#include <stdlib.h>

static _Atomic long *words;
static shoal_queue *queue;

static void begin(void)
{
    ASSERT_SYS(setenv("SHOAL_TEST_NET", "0", 1));
    words = words_open();
    ASSERT_OK(shoal_queue_create(&queue, NULL));
}

static void finish(void)
{
    queue = shoal_queue_close(queue);
    words_close();
}

/* Holds the guard from now on. */
static void hold_guard(void)
{
    owner_t me;
    ASSERT_OK(self(&me));
    ASSERT_TRUE(owner_try(&view.region->guard, me));
    atomic_store(&words[0], 1);
    for (;;)
        pause();
}

/* ---- deep in repairs ---- */

enum { DEEP = FRAMES, TELLS = 8 /* of words: its slot, of each that dies */ };

/* Only it has the object, so its repairer needs the guard. */
static void hold_memory(void)
{
    shoal_memory *memory;
    ASSERT_OK(shoal_memory_create(&memory, 25 * UNIT, NULL));
    atomic_fetch_add(&words[1], 1);
    atomic_store(&words[TELLS + atomic_load(&words[1]) - 1], process_self.slot);
    for (;;)
        pause();
}

static void await_message(void)
{
    size_t size;
    char byte;
    ASSERT_OK(shoal_queue_get_bytes_into(queue, &byte, 1, &size, SHOAL_FOREVER));
}

/* One waits in a queue, in the repair of a dead one for the guard, there in the repair of another one … until
 * it can wait no deeper. */
TEST_WITH_TIMEOUT(guard_its_owners_death_is_told_however_deep_one_is_in_repairs, 20)
{
    pid_t dying[DEEP];
    begin();
    ASSERT_OK(shoal_queue_put_bytes(queue, "", 1, SHOAL_NOW)); /* the next put needs no memory */
    await_message();
    for (int i = 0; i < DEEP; i++) {
        dying[i] = child(hold_memory);
        until_word(&words[TELLS + i], 1);
    }
    pid_t owner = child(hold_guard), waiting = child(await_message);
    until_word(&words[0], 1);
    until_asleep(waiting);
    for (int i = 0; i < DEEP; i++) {
        const _Atomic uint64_t *word = &slot_at((uint32_t)atomic_load(&words[TELLS + i]))->word;
        kill_and_reap(dying[i]);
        while (slot_status(atomic_load(word)) != SLOT_DEAD)
            nap();
    }
    kill_and_reap(owner);
    ASSERT_OK(shoal_queue_put_bytes(queue, "", 1, SHOAL_NOW));
    ends_well(waiting);
    finish();
}

/* ---- objects that become others while the map is built anew ---- */

/* Where the object lies that is looked at: words[4]. */
static void *page(void)
{
    uintptr_t at = (uintptr_t)atomic_load(&words[4]) & ~(uintptr_t)(UNIT - 1);
    return (void *)at; /* NOLINT(performance-no-int-to-ptr) */
}

/* At the first look into the payload: it stands still until that is another object's. */
static void at_first_look(int signal)
{
    (void)signal;
    if (atomic_load(&words[2])) /* a true fault */
        _exit(1);
    atomic_store(&words[2], 1);
    until_word(&words[3], 1);
    /* NOLINTNEXTLINE(bugprone-signal-handler,cert-sig30-c): a system call */
    if (mprotect(page(), UNIT, PROT_READ | PROT_WRITE))
        _exit(1);
}

static void build_anew(void)
{
    shoal_memory *memory;
    owner_t me;
    ASSERT_OK(self(&me));
    until_word(&words[1], 1);
    ASSERT_SYS(sigaction(SIGSEGV, &(struct sigaction){.sa_handler = at_first_look}, NULL));
    ASSERT_SYS(mprotect(page(), UNIT, PROT_NONE));
    ASSERT_OK(shoal_memory_create(&memory, 25 * UNIT, NULL));
    memset(shoal_memory_address(memory), 0x11, 25 * UNIT);
    shoal_memory_close(memory);
}

/* What it reads as the runs of a queue is anything. `byte`: what there is instead. */
static void become_another(int byte)
{
    enum { MOST = 60, SIZE = 2000 };
    shoal_memory *others[MOST], *memory;
    shoal_queue *gone;
    bool again = false;
    int n = 0;
    begin();
    queue = shoal_queue_close(queue); /* the other one lies alone on its page */
    pid_t owner = child(hold_guard), builder = child(build_anew);
    until_word(&words[0], 1);
    ASSERT_OK(shoal_queue_create(&gone, NULL)); /* which nobody else has */
    void *payload = header_payload(handle_of(gone)->header);
    atomic_store(&words[4], (long)(uintptr_t)payload);
    uint64_t before = atomic_load(&view.region->units_used);
    kill_and_reap(owner);
    atomic_store(&words[1], 1);
    until_word(&words[2], 1);
    shoal_queue_close(gone);
    for (; n < MOST && !again; n++) {
        ASSERT_OK(shoal_memory_create(&others[n], SIZE, NULL));
        memset(shoal_memory_address(others[n]), byte, SIZE);
        again = shoal_memory_address(others[n]) == payload;
    }
    ASSERT_TRUE(again);
    atomic_store(&words[3], 1);
    ends_well(builder);
    ASSERT_EQ_U64(atomic_load(&view.region->units_used), before);
    for (int i = 0; i < n; i++)
        shoal_memory_close(others[i]);
    ASSERT_OK(shoal_memory_create(&memory, 25 * UNIT, NULL));
    shoal_memory_close(memory);
    finish();
}

TEST(guard_who_builds_the_map_anew_believes_no_object_that_became_another)
{
    become_another(0xee);
}

/* Where the region is large enough what is read names units that there are. */
TEST(guard_who_builds_the_map_anew_takes_nothing_for_a_run_that_is_none)
{
    become_another(1);
}
