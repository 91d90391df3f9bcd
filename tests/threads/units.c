/* A pool's units between threads of one process: what ThreadSanitizer looks at. What a unit speaks of is plain memory on purpose: it
 * was written before the unit was given, and what its worker writes is read once it is told. */
#include "pool/units.h"
#include "runner.h"
#include <pthread.h>
#include <string.h>

enum { WORKERS = 3, GIVEN = 20000, PAGES = 4 };

static struct pool *q;
static long asked[GIVEN], answered[GIVEN];

static void *work(void *argument)
{
    unsigned me = (unsigned)(uintptr_t)argument;
    for (;;) {
        unit_name name = units_claim(q, me);
        if (!name) {
            if (atomic_load(&q->closed))
                return NULL;
            os_yield();
            continue;
        }
        struct work *w = &unit_at(q, name)->work;
        long n = asked[w->first];
        ASSERT_EQ_INT(n, (long)w->first * 3);
        answered[w->first] = n + 1;
        memcpy(w->bytes, &n, sizeof n);
        ASSERT_TRUE(units_commit(q, me, name, true, false));
    }
}

/* How many units of each run are not told. */
static unsigned open_units[PAGES];
static int pages[PAGES];
static int page_of[GIVEN / UNITS + 1];

static long tell(void)
{
    long told = 0;
    for (unit_name name = units_finished(q), next; name; name = next) {
        struct unit *unit = unit_at(q, name);
        next = atomic_load(&unit->next);
        long n;
        memcpy(&n, unit->work.bytes, sizeof n);
        ASSERT_EQ_INT(n, (long)unit->work.first * 3);
        ASSERT_EQ_INT(answered[unit->work.first], n + 1);
        asked[unit->work.first] = -1;
        atomic_store_explicit(&unit->claim, claim_make(name, 0, UNIT_NONE), memory_order_release);
        open_units[page_of[unit_position(name) / UNITS]]--;
        told++;
    }
    return told;
}

TEST(a_unit_orders_what_was_written_before_it_was_given_and_before_it_was_done)
{
    shoal_pool *handle;
    shoal_queue *results;
    pthread_t threads[WORKERS];
    long told = 0;
    ASSERT_OK(units_create(&handle, "units", WORKERS, &results));
    q = header_payload(handle_of(handle)->header);
    for (int i = 0; i < PAGES; i++)
        pages[i] = (int)ASSERT_OK(units_run(q));
    for (uintptr_t i = 0; i < WORKERS; i++)
        ASSERT_EQ_INT(pthread_create(&threads[i], NULL, work, (void *)i), 0);
    for (uint64_t position = 0; position < GIVEN; position++) {
        int page = position % UNITS ? page_of[position / UNITS] : 0;
        if (position % UNITS == 0) {
            while (open_units[page]) {
                page = (page + 1) % PAGES;
                told += tell();
            }
            page_of[position / UNITS] = page;
            open_units[page] = UNITS;
            ASSERT_OK(units_place(q, 1, position, (unsigned)pages[page]));
        }
        unit_name name = unit_make(1, position);
        struct unit *unit = unit_at(q, name);
        asked[position] = (long)position * 3;
        unit->work = (struct work){.first = position};
        atomic_store_explicit(&unit->claim, claim_make(name, 0, UNIT_FREE), memory_order_release);
        units_publish(q, 1, position + 1, 1);
    }
    while (told < GIVEN)
        told += tell();
    atomic_store(&q->closed, POOL_CLOSED);
    for (int i = 0; i < WORKERS; i++)
        ASSERT_EQ_INT(pthread_join(threads[i], NULL), 0);
    object_close(handle, TYPE_POOL);
    shoal_queue_close(results);
}
