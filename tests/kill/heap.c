/* heap.c: put and get of queues that are SHOAL_LIFO or SHOAL_PRIORITY, killed and stopped everywhere. Every message has a number, and
 * whoever takes one counts it, as in queue.c; and what is left at the end must come out in the queue's order. */
#define _GNU_SOURCE
#include "family.h"

#include "message/heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* The victim's come out first, those of survivors last, if it is the smallest that does. */
enum { VICTIMS = 0, FIRST = 10, SURVIVORS = 1000, NUMBERS = 1200, MOST = 6000, FULL = 511 };

struct state {
    struct note *note;
    shoal_queue *queue;
    int *counts; /* shared: how often each number was taken */
    int first;   /* numbers FIRST … FIRST + first - 1 are in the queue from the beginning */
    int taken;   /* of these, before the victim came */
    int many;    /* messages that the victim puts or takes */
    size_t size; /* of a message */
    unsigned kind;
    uint64_t bound; /* maxsize */
    bool anys;      /* put as tuples */
};

static struct heap *heap_of(struct state *s)
{
    return header_payload(handle_of(s->queue)->header);
}

static void put(struct state *s, int number)
{
    unsigned char message[MOST];

    if (s->anys) {
        shoal_any *any = shoal_any_tuple(shoal_any_int(number / 2), shoal_any_int(number));
        ASSERT_NOT_NULL(any);
        ASSERT_OK(shoal_queue_put(s->queue, any, SHOAL_FOREVER));
        shoal_any_free(any);
        return;
    }
    memset(message, number & 0xff, s->size);
    message[0] = (unsigned char)(number >> 8);
    ASSERT_OK(shoal_queue_put_bytes(s->queue, message, s->size, SHOAL_FOREVER));
}

/* The number of a message, which is whole. */
static int number_of(struct state *s, const unsigned char *message, size_t size)
{
    ASSERT_EQ_INT(size, s->size);
    for (size_t i = 2; i < size; i += 1 + size / 16) /* each instruction is a step */
        ASSERT_EQ_INT(message[i], message[1]);
    ASSERT_EQ_INT(message[size - 1], message[1]);
    return message[0] << 8 | message[1];
}

static int count(struct state *s, int number)
{
    ASSERT_LT_INT(number, NUMBERS);
    __atomic_add_fetch(&s->counts[number], 1, __ATOMIC_SEQ_CST);
    return number;
}

/* Takes one and counts it: its number, or -errno. */
static int get(struct state *s, int64_t deadline)
{
    unsigned char message[MOST];
    size_t size;
    int64_t number;

    if (s->anys) {
        shoal_any *any;
        const shoal_any *item;
        int rc = shoal_queue_get(s->queue, &any, deadline);
        if (rc)
            return rc;
        ASSERT_OK(shoal_any_at(any, 1, &item));
        ASSERT_OK(shoal_any_as_int(item, &number));
        shoal_any_free(any);
        return count(s, (int)number);
    }
    int rc = shoal_queue_get_bytes_into(s->queue, message, sizeof(message), &size, deadline);
    return rc ? rc : count(s, number_of(s, message, size));
}

/* ---- setups ---- */

static struct state *begin(unsigned kind, size_t size, uint64_t bound)
{
    struct state *s = calloc(1, sizeof(*s));
    shoal_queue_options options = {.maxsize = bound, .kind = kind};

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    s->counts = mmap(NULL, NUMBERS * sizeof(int), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_TRUE(s->counts != MAP_FAILED);
    s->kind = kind;
    s->size = size;
    s->bound = bound;
    s->many = 1;
    ASSERT_OK(shoal_queue_create(&s->queue, &options));
    return s;
}

static void *ready(struct state *s)
{
    family_ready(s->note);
    s->note->before -= (uint32_t)(s->first - s->taken); /* these will be taken */
    return s;
}

/* In an order in which the heap, without the first one, would not be one. */
static struct state *with(struct state *s, int first)
{
    static const int eight[] = {0, 5, 1, 6, 7, 2, 3, 4};

    s->first = first;
    for (int i = 0; i < first; i++)
        put(s, FIRST + (s->kind == SHOAL_LIFO ? i : first == 8 ? eight[i] : (i * 11 + 3) % first));
    return s;
}

static void *lifo_empty(void)
{
    return ready(begin(SHOAL_LIFO, 16, 0));
}

static void *lifo_of_three(void)
{
    return ready(with(begin(SHOAL_LIFO, 16, 0), 3));
}

static void *lifo_of_one(void)
{
    return ready(with(begin(SHOAL_LIFO, 16, 0), 1));
}

static void *lifo_nearly_grown(void)
{
    return ready(with(begin(SHOAL_LIFO, 16, 0), FULL));
}

static void *lifo_full(void)
{
    return ready(with(begin(SHOAL_LIFO, 16, 2), 2));
}

static void *heap_empty(void)
{
    return ready(begin(SHOAL_PRIORITY, 16, 0));
}

static void *heap_of_eight(void)
{
    return ready(with(begin(SHOAL_PRIORITY, 16, 0), 8));
}

static void *heap_of_one(void)
{
    return ready(with(begin(SHOAL_PRIORITY, 16, 0), 1));
}

static void *heap_of_anys(void)
{
    struct state *s = begin(SHOAL_PRIORITY, 16, 0);

    s->anys = true;
    return ready(with(s, 8));
}

static void *heap_of_long(void)
{
    return ready(with(begin(SHOAL_PRIORITY, 5000, 0), 3));
}

static void *heap_nearly_grown(void)
{
    return ready(with(begin(SHOAL_PRIORITY, 16, 0), FULL));
}

static void *heap_nearly_shrunk(void) /* with the next that is taken it fills an eighth */
{
    struct state *s = with(begin(SHOAL_PRIORITY, 16, 0), FULL + 10);

    while (s->first - s->taken > 1024 / 8 - 1) {
        s->counts[get(s, SHOAL_NOW)] = 0;
        s->taken++;
    }
    return ready(s);
}

static void *heap_full(void)
{
    return ready(with(begin(SHOAL_PRIORITY, 16, 2), 2));
}

static void *heap_several(void)
{
    struct state *s = with(begin(SHOAL_PRIORITY, 16, 0), 8);

    s->many = 3;
    return ready(s);
}

/* ---- victims ---- */

static void put_once(void *p)
{
    struct state *s = p;

    put(s, VICTIMS);
    s->note->entered = 2;
}

static void put_many(void *p)
{
    struct state *s = p;
    unsigned char bytes[4][16];
    shoal_bytes messages[4];

    for (int i = 0; i < s->many; i++) {
        memset(bytes[i], VICTIMS + s->many - 1 - i, sizeof(bytes[i]));
        bytes[i][0] = 0;
        messages[i] = (shoal_bytes){bytes[i], sizeof(bytes[i])};
    }
    ASSERT_EQ_INT(shoal_queue_put_many(s->queue, messages, (size_t)s->many, SHOAL_FOREVER),
                  s->many);
    s->note->entered = 2;
}

static void get_once(void *p)
{
    struct state *s = p;

    ASSERT_OK(get(s, SHOAL_FOREVER));
    s->note->entered = 2;
}

static void get_many(void *p)
{
    struct state *s = p;
    unsigned char bytes[256];
    shoal_bytes messages[8];
    int n = (int)ASSERT_OK(shoal_queue_get_many(s->queue, messages, (size_t)s->many, bytes,
                                                sizeof(bytes), SHOAL_FOREVER));

    for (int i = 0; i < n; i++)
        count(s, number_of(s, messages[i].bytes, messages[i].size));
    s->note->entered = 2;
}

static void shut_at_once(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_queue_shutdown(s->queue, 1));
    s->note->entered = 2;
}

static void close_full(void *p)
{
    struct state *s = p;
    shoal_queue_options options = {.kind = s->kind};
    shoal_queue *queue;

    ASSERT_OK(shoal_queue_create(&queue, &options));
    for (int i = 0; i < 2; i++)
        ASSERT_OK(shoal_queue_put_bytes(queue, "ab", 2, SHOAL_FOREVER));
    shoal_queue_close(queue);
    s->note->entered = 2;
}

/* ---- others ---- */

/* Each with a number of its own; at[1] counts them. */
static void put_another(struct state *s)
{
    put(s, SURVIVORS + __atomic_fetch_add(&s->note->at[2], 1, __ATOMIC_SEQ_CST));
    __atomic_add_fetch(&s->note->at[1], 1, __ATOMIC_SEQ_CST);
}

static void survive(void *p, int i)
{
    struct state *s = p;

    (void)i;
    put_another(s);
    ASSERT_OK(get(s, SHOAL_FOREVER));
}

/* The queue is full or nearly: takes first. */
static void survive_full(void *p, int i)
{
    struct state *s = p;

    (void)i;
    ASSERT_OK(get(s, SHOAL_FOREVER));
    put_another(s);
}

static void survive_closing(void *p, int i)
{
    (void)i;
    close_full(p);
}

/* Beside one that is stopped, perhaps inside: comes to nothing then, but comes back. */
static void take_beside(void *p, int i)
{
    struct state *s = p;

    (void)i;
    int rc = get(s, shoal_after(0.002));
    if (rc < 0)
        ASSERT_ERR(rc, -ETIMEDOUT);
    ASSERT_OK(shoal_queue_qsize(s->queue));
}

/* The same, where the victim needs what there is. */
static void count_beside(void *p, int i)
{
    struct state *s = p;

    (void)i;
    ASSERT_OK(shoal_queue_qsize(s->queue));
}

static void look(void *p)
{
    (void)p;
    family_look();
}

static uint64_t state(void *p)
{
    struct state *s = p;
    struct heap *heap = heap_of(s);
    uint64_t hash = family_state(p);

    for (int i = 0; i < 2; i++) {
        uint32_t payload = atomic_load(&heap->runs[i].payload);
        const uint64_t *names =
            (const uint64_t *)(const void *)(view.heap + (uint64_t)(payload - 1) * 64);
        for (uint64_t k = 0; payload && k < atomic_load(&heap->count) + 2 && k < FULL; k++)
            hash = (hash ^ names[k]) * 0x9e3779b97f4a7c15u;
    }
    return hash;
}

static void put_when_asleep(void *p, int i)
{
    (void)i;
    kill_await_asleep(1);
    put_another(p);
}

static void get_when_asleep(void *p, int i)
{
    (void)i;
    kill_await_asleep(1);
    ASSERT_OK(get(p, SHOAL_FOREVER));
}

static void await_message(void *p, int i)
{
    struct state *s = p;

    (void)i;
    kill_await_begun();
    ASSERT_OK(get(s, SHOAL_FOREVER));
    family_set(&s->note->at[7]);
}

static void await_place(void *p, int i)
{
    struct state *s = p;

    (void)i;
    kill_await_begun();
    put_another(s);
    family_set(&s->note->at[7]);
}

/* Lives on until who waited has been woken: by its call, not by its end. */
static void await_woken(void *p)
{
    struct state *s = p;

    family_await(&s->note->at[7]);
}

/* What the victim did not come to put, who waits needs all the same. */
static void put_the_missing(void *p, int i)
{
    struct state *s = p;

    (void)i;
    family_await_repair();
    if (!atomic_load(&heap_of(s)->puts))
        put_another(s);
}

/* The victim took one, or it is still there: somebody must take it for who waits. */
static void take_the_remaining(void *p, int i)
{
    struct state *s = p;

    (void)i;
    family_await_repair();
    if (shoal_queue_qsize(s->queue) == (int64_t)s->bound)
        ASSERT_OK(get(s, SHOAL_FOREVER));
}

static void await_end(void *p, int i)
{
    struct state *s = p;

    (void)i;
    kill_await_begun();
    ASSERT_ERR(get(s, SHOAL_FOREVER), -EPIPE);
}

static void shut_too(void *p, int i)
{
    (void)i;
    shut_at_once(p);
}

/* ---- the end ---- */

/* Whatever was put was taken once, but for what the victim did not come to put or took along; and the counter says the same. */
static void check_counts(struct state *s, bool took)
{
    int lost = 0, theirs = 0, put = 0;

    for (int i = 0; i < NUMBERS; i++) {
        if (s->counts[i] > 1)
            FAIL("number %d was taken %d times", i, s->counts[i]);
        theirs += i >= SURVIVORS && s->counts[i];
        lost += i >= FIRST && i < FIRST + s->first && !s->counts[i];
        put += i < FIRST && s->counts[i];
    }
    lost += s->note->at[1] - theirs - s->taken;
    if (s->note->entered == 2) {
        ASSERT_EQ_INT(lost, 0);
        if (!took)
            ASSERT_EQ_INT(put, s->many);
    }
    ASSERT_LE_INT(lost, took ? s->many : 0);
    ASSERT_EQ_U64(atomic_load(&heap_of(s)->puts), (uint64_t)(s->first + s->note->at[1] + put));
}

/* Takes all that is left, in order: of a stack, those that setup put. */
static void drain(struct state *s)
{
    int last = s->kind == SHOAL_LIFO ? NUMBERS : -1;

    for (int number; (number = get(s, SHOAL_NOW)) >= 0;) {
        if (s->kind == SHOAL_PRIORITY) {
            ASSERT_LT_INT(last, number);
            last = number;
        } else if (number >= FIRST && number < SURVIVORS) {
            ASSERT_LT_INT(number, last);
            last = number;
        }
    }
    ASSERT_EQ_INT(shoal_queue_qsize(s->queue), 0);
}

static void finish(struct state *s, bool took)
{
    family_settle();
    ASSERT_EQ_U64(atomic_load(&heap_of(s)->owner), 0);
    drain(s);
    check_counts(s, took);
    for (uint64_t i = 0; i < s->bound; i++)
        put(s, 0);
    if (s->bound)
        ASSERT_ERR(shoal_queue_put_bytes(s->queue, "", 1, SHOAL_NOW), -EAGAIN);
    for (uint64_t i = 0; i < s->bound; i++)
        ASSERT_OK(get(s, SHOAL_NOW));
    family_check(s->note->before);
}

static void finish_put(void *p)
{
    finish(p, false);
}

static void finish_get(void *p)
{
    finish(p, true);
}

static void finish_shut(void *p)
{
    struct state *s = p;

    family_settle();
    ASSERT_ERR(get(s, SHOAL_FOREVER), -EPIPE);
    family_check(s->note->before);
}

static void finish_close(void *p)
{
    struct state *s = p;

    family_settle();
    family_check(s->note->before);
}

/* ---- putting ---- */
/* Who repairs goes through the whole array: it is killed, too, where that is short. */
KILL_SCENARIO(heap_put_first, .setup = heap_empty, .prepare = family_prepare, .victim = put_once,
              .survivor = survive, .stopped = count_beside, .state = state, .repair = look,
              .final = finish_put);
KILL_SCENARIO(heap_put, .setup = heap_of_eight, .prepare = family_prepare, .victim = put_once,
              .survivor = survive, .stopped = take_beside, .final = finish_put,
              .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(heap_put_any, .setup = heap_of_anys, .prepare = family_prepare, .victim = put_once,
              .survivor = survive, .stopped = take_beside, .final = finish_put);
KILL_SCENARIO(heap_put_long, .setup = heap_of_long, .prepare = family_prepare, .victim = put_once,
              .survivor = survive, .stopped = count_beside, .final = finish_put);
KILL_SCENARIO(heap_put_that_grows, .setup = heap_nearly_grown, .prepare = family_prepare,
              .victim = put_once, .survivor = survive, .stopped = count_beside,
              .final = finish_put);
KILL_SCENARIO(heap_put_many, .setup = heap_several, .prepare = family_prepare, .victim = put_many,
              .survivor = survive, .stopped = count_beside, .state = state, .repair = look,
              .final = finish_put);
KILL_SCENARIO(heap_put_waits_for_place, .setup = heap_full, .prepare = family_prepare,
              .victim = put_once, .partner = get_when_asleep, .survivor = survive_full,
              .final = finish_put);
KILL_SCENARIO(heap_put_for_sleepers, .setup = heap_empty, .prepare = family_prepare,
              .victim = put_once, .partner = await_message, .partners = 1,
              .survivor = put_the_missing, .survivors = 1, .after = await_woken,
              .stopped = count_beside, .final = finish_put);
KILL_SCENARIO(heap_put_onto_a_stack, .setup = lifo_of_three, .prepare = family_prepare,
              .victim = put_once, .survivor = survive, .stopped = take_beside, .final = finish_put);
KILL_SCENARIO(heap_put_onto_a_stack_first, .setup = lifo_empty, .prepare = family_prepare,
              .victim = put_once, .survivor = survive, .stopped = count_beside,
              .final = finish_put);
KILL_SCENARIO(heap_put_onto_a_stack_that_grows, .setup = lifo_nearly_grown,
              .prepare = family_prepare, .victim = put_once, .survivor = survive,
              .stopped = count_beside, .final = finish_put);
KILL_SCENARIO(heap_put_onto_a_full_stack, .setup = lifo_full, .prepare = family_prepare,
              .victim = put_once, .partner = get_when_asleep, .survivor = survive_full,
              .final = finish_put);

/* ---- taking ---- */
KILL_SCENARIO(heap_get, .setup = heap_of_eight, .prepare = family_prepare, .victim = get_once,
              .survivor = survive, .stopped = take_beside, .final = finish_get,
              .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(heap_get_last, .setup = heap_of_one, .prepare = family_prepare, .victim = get_once,
              .survivor = survive, .stopped = count_beside, .state = state, .repair = look,
              .final = finish_get);
KILL_SCENARIO(heap_get_any, .setup = heap_of_anys, .prepare = family_prepare, .victim = get_once,
              .survivor = survive, .stopped = take_beside, .final = finish_get);
KILL_SCENARIO(heap_get_long, .setup = heap_of_long, .prepare = family_prepare, .victim = get_once,
              .survivor = survive, .stopped = count_beside, .final = finish_get);
KILL_SCENARIO(heap_get_that_shrinks, .setup = heap_nearly_shrunk, .prepare = family_prepare,
              .victim = get_once, .survivor = survive, .stopped = count_beside,
              .final = finish_get);
KILL_SCENARIO(heap_get_many, .setup = heap_several, .prepare = family_prepare, .victim = get_many,
              .survivor = survive, .stopped = count_beside, .state = state, .repair = look,
              .final = finish_get);
KILL_SCENARIO(heap_get_waits, .setup = heap_empty, .prepare = family_prepare, .victim = get_once,
              .partner = put_when_asleep, .survivor = survive, .final = finish_get);
KILL_SCENARIO(heap_get_for_sleepers, .setup = heap_full, .prepare = family_prepare,
              .victim = get_once, .partner = await_place, .partners = 1,
              .survivor = take_the_remaining, .survivors = 1, .after = await_woken,
              .stopped = count_beside, .final = finish_get);
KILL_SCENARIO(heap_get_from_a_stack, .setup = lifo_of_three, .prepare = family_prepare,
              .victim = get_once, .survivor = survive, .stopped = take_beside, .final = finish_get);
KILL_SCENARIO(heap_get_last_from_a_stack, .setup = lifo_of_one, .prepare = family_prepare,
              .victim = get_once, .survivor = survive, .stopped = count_beside,
              .final = finish_get);

/* ---- and otherwise ---- */
KILL_SCENARIO(heap_closed_with_messages, .setup = heap_empty, .prepare = family_prepare,
              .victim = close_full, .survivor = survive_closing, .state = state, .repair = look,
              .final = finish_close);
KILL_SCENARIO(heap_shutdown_for_sleepers, .setup = heap_empty, .prepare = family_prepare,
              .victim = shut_at_once, .partner = await_end, .partners = 2, .survivor = shut_too,
              .survivors = 1, .final = finish_shut);
KILL_SCENARIO(heap_shutdown_at_once, .setup = heap_several, .prepare = family_prepare,
              .victim = shut_at_once, .survivor = shut_too, .final = finish_shut);
