/* queue.c: put and get, killed and stopped everywhere. Every message has a number, and whoever takes one counts it: what a put has
 * reported is taken once, by whomever; what the victim was putting is there or not; what it was taking is there, or gone with it. */
#define _GNU_SOURCE
#include "family.h"

#include "message/lanes.h"
#include "message/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MOST = 6000, VICTIMS = 60, SURVIVORS = 100, NUMBERS = 250 };

struct state {
    struct note *note;
    shoal_queue *queue;
    int *counts;    /* shared: how often each number was taken */
    int first;      /* numbers 0 … first - 1 are in the queue from the beginning */
    int many;       /* messages that the victim puts or takes */
    size_t size;    /* of a message */
    uint64_t bound; /* maxsize */
};

static struct lanes *lanes_of(struct state *s)
{
    return header_payload(handle_of(s->queue)->header);
}

static void put(struct state *s, int number)
{
    unsigned char message[MOST];

    memset(message, number, s->size);
    ASSERT_OK(shoal_queue_put_bytes(s->queue, message, s->size, SHOAL_FOREVER));
}

/* Takes one, looks whether it is whole, and counts it. */
static int get(struct state *s, int64_t deadline)
{
    unsigned char message[MOST];
    size_t size;
    int rc = shoal_queue_get_bytes_into(s->queue, message, sizeof(message), &size, deadline);

    if (rc)
        return rc;
    ASSERT_EQ_INT(size, s->size);
    for (size_t i = 1; i < size; i += 1 + size / 16) /* each instruction is a step */
        ASSERT_EQ_INT(message[i], message[0]);
    ASSERT_EQ_INT(message[size - 1], message[0]);
    __atomic_add_fetch(&s->counts[message[0]], 1, __ATOMIC_SEQ_CST);
    return 0;
}

/* ---- setups ---- */

static struct state *begin(size_t size, uint64_t bound)
{
    struct state *s = calloc(1, sizeof(*s));
    shoal_queue_options options = {.maxsize = bound};

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    s->counts = mmap(NULL, NUMBERS * sizeof(int), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_TRUE(s->counts != MAP_FAILED);
    s->size = size;
    s->bound = bound;
    s->many = 1;
    ASSERT_OK(shoal_queue_create(&s->queue, &options));
    return s;
}

static void *ready(struct state *s)
{
    family_ready(s->note);
    s->note->before -= s->size > INLINE_MOST ? (uint32_t)s->first : 0; /* they will be taken */
    return s;
}

static void put_first(void *p)
{
    struct state *s = p;

    for (int i = 0; i < s->first; i++)
        put(s, i);
}

static void *setup_empty(void)
{
    return ready(begin(16, 0));
}

static void *setup_two(void) /* in a lane of the case's process */
{
    struct state *s = begin(16, 0);

    s->first = 2;
    s->many = 2;
    put_first(s);
    return ready(s);
}

static void *setup_two_and_one(void) /* the victim puts one */
{
    struct state *s = setup_two();

    s->many = 1;
    return s;
}

static void *setup_of_the_dead(void) /* in a lane of a process that is gone */
{
    struct state *s = begin(16, 0);

    s->first = 2;
    family_die_after(put_first, s);
    return ready(s);
}

static void *setup_long(void)
{
    return ready(begin(5000, 0));
}

static void *setup_two_long(void)
{
    struct state *s = begin(5000, 0);

    s->first = 2;
    put_first(s);
    return ready(s);
}

static void *setup_bounded(void)
{
    return ready(begin(16, 3));
}

static void *setup_bounded_two(void)
{
    struct state *s = begin(16, 5);

    s->first = 2;
    put_first(s);
    return ready(s);
}

static void *setup_full(void)
{
    struct state *s = begin(16, 2);

    s->first = 2;
    put_first(s);
    return ready(s);
}

static void *setup_nearly_grown(void) /* the victim's ring has room for two more */
{
    struct state *s = begin(200, 0);

    s->first = 16;
    s->many = 4;
    return ready(s);
}

static void *setup_large_chain(void) /* the last leads into the next segment, and frees the first */
{
    struct state *s = begin(200, 0);

    s->first = 20;
    s->many = 4;
    put_first(s);
    for (int i = 0; i < 16; i++)
        ASSERT_OK(get(s, SHOAL_NOW));
    return ready(s);
}

static void *setup_end_of_chain(void) /* the same, and the victim takes one of the four */
{
    struct state *s = setup_large_chain();

    s->many = 1;
    return s;
}

static void *setup_many(void)
{
    struct state *s = begin(16, 0);

    s->many = 4;
    return ready(s);
}

static void *setup_many_bounded(void)
{
    struct state *s = begin(16, 8);

    s->many = 4;
    return ready(s);
}

/* ---- victims ---- */

static void put_once(void *p)
{
    struct state *s = p;

    put(s, VICTIMS);
    s->note->entered = 2;
}

static void prepare_lane(void *p) /* it has put and taken before */
{
    struct state *s = p;

    family_prepare(p);
    put(s, VICTIMS + 1);
    ASSERT_OK(get(s, SHOAL_NOW));
    s->counts[VICTIMS + 1] = 0;
    s->note->at[0] = 1; /* puts beside those that are counted */
}

static void prepare_first(void *p)
{
    family_prepare(p);
    put_first(p);
}

static void put_several(void *p)
{
    struct state *s = p;

    for (int i = 0; i < s->many; i++)
        put(s, VICTIMS + i);
    s->note->entered = 2;
}

static void put_many(void *p)
{
    struct state *s = p;
    unsigned char bytes[8][16];
    shoal_bytes messages[8];

    for (int i = 0; i < s->many; i++) {
        memset(bytes[i], VICTIMS + i, sizeof(bytes[i]));
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

static void get_several(void *p)
{
    struct state *s = p;

    for (int i = 0; i < s->many; i++)
        ASSERT_OK(get(s, SHOAL_FOREVER));
    s->note->entered = 2;
}

static void get_many(void *p)
{
    struct state *s = p;
    unsigned char bytes[256];
    shoal_bytes messages[8];
    int n = (int)ASSERT_OK(
        shoal_queue_get_many(s->queue, messages, 8, bytes, sizeof(bytes), SHOAL_FOREVER));

    for (int i = 0; i < n; i++)
        s->counts[*(const unsigned char *)messages[i].bytes]++;
    s->note->entered = 2;
}

static void commit_once(void *p)
{
    struct state *s = p;
    shoal_message message;

    ASSERT_OK(shoal_queue_reserve(s->queue, &message, s->size, SHOAL_FOREVER));
    memset(message.bytes, VICTIMS, s->size);
    ASSERT_OK(shoal_queue_commit(s->queue, &message, SHOAL_FOREVER));
    s->note->entered = 2;
}

static void view_once(void *p)
{
    struct state *s = p;
    shoal_message message;

    ASSERT_OK(shoal_queue_view(s->queue, &message, SHOAL_FOREVER));
    __atomic_add_fetch(&s->counts[*(const unsigned char *)message.bytes], 1, __ATOMIC_SEQ_CST);
    shoal_message_release(&message);
    s->note->entered = 2;
}

/* Takes one, and puts it back. */
static void forward(void *p)
{
    struct state *s = p;
    shoal_message message;

    ASSERT_OK(shoal_queue_view(s->queue, &message, SHOAL_FOREVER));
    ASSERT_OK(shoal_queue_commit(s->queue, &message, SHOAL_FOREVER));
    s->note->entered = 2;
}

static void close_it(void *p)
{
    struct state *s = p;

    shoal_queue_close(s->queue);
    s->note->entered = 2;
}

static void shut_it(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_queue_shutdown(s->queue, 0));
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

/* The same in the lane that the victim has left, if it was killed. */
static void go_on(void *p, int i)
{
    family_look();
    survive(p, i);
}

/* More than the ring has room for that the victim has left. */
static void grow_again(void *p, int i)
{
    (void)i;
    family_look();
    for (int k = 0; k < 4; k++)
        put_another(p);
}

/* Beside one that may be stopped under the guard of the unit map, where who needs a new run waits. */
static void take_beside(void *p, int i)
{
    struct state *s = p;

    (void)i;
    int rc = get(s, SHOAL_NOW);
    if (rc)
        ASSERT_ERR(rc, -EAGAIN);
    ASSERT_OK(shoal_queue_qsize(s->queue));
}

/* The same, where the victim needs what there is. */
static void count_beside(void *p, int i)
{
    struct state *s = p;

    (void)i;
    ASSERT_OK(shoal_queue_qsize(s->queue));
}

/* What lies in the older segment, and what leads on from there. */
static void take_three(void *p, int i)
{
    (void)i;
    for (int k = 0; k < 3; k++)
        ASSERT_OK(get(p, SHOAL_NOW));
}

static void look(void *p)
{
    (void)p;
    family_look();
}

/* The queue is full or nearly: takes first. */
static void survive_full(void *p, int i)
{
    struct state *s = p;

    (void)i;
    ASSERT_OK(get(s, SHOAL_FOREVER));
    put_another(s);
}

static void put_when_asleep(void *p, int i)
{
    struct state *s = p;

    (void)i;
    kill_await_asleep(1);
    put_another(s);
}

static void get_when_asleep(void *p, int i)
{
    struct state *s = p;

    (void)i;
    kill_await_asleep(1);
    ASSERT_OK(get(s, SHOAL_FOREVER));
}

static void await_message(void *p, int i)
{
    struct state *s = p;

    (void)i;
    kill_await_begun();
    ASSERT_OK(get(s, SHOAL_FOREVER));
    if (__atomic_add_fetch(&s->note->at[6], 1, __ATOMIC_SEQ_CST) == s->many)
        family_set(&s->note->at[7]);
}

/* Lives on until all who waited have been woken: by its call, not by its end. */
static void await_woken(void *p)
{
    struct state *s = p;

    family_await(&s->note->at[7]);
}

/* What the victim did not come to put, those who wait need all the same; what it did put they must
 * have been woken for. */
static void put_the_missing(void *p, int i)
{
    struct state *s = p;

    (void)i;
    family_await_repair();
    for (int have = (int)lanes_puts(lanes_of(s)); have < s->many; have++)
        put_another(s);
}

static void await_place(void *p, int i)
{
    struct state *s = p;

    (void)i;
    kill_await_begun();
    put_another(s);
    family_set(&s->note->at[7]);
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
    struct state *s = p;

    (void)i;
    if (!(atomic_load(&lanes_of(s)->closed) & LANES_SHUT))
        ASSERT_OK(shoal_queue_shutdown(s->queue, 0));
}

/* ---- order: the victim is stopped while it looks; two put meanwhile, one after the other ---- */

enum { OPENED = 3, EARLIER, LATER }; /* of note->at */

static void put_number(struct state *s, unsigned char number)
{
    unsigned char message[16] = {number};

    ASSERT_OK(shoal_queue_put_bytes(s->queue, message, sizeof(message), SHOAL_FOREVER));
}

/* Where it finds one it is the earlier one. */
static void take_the_earlier(void *p)
{
    struct state *s = p;
    unsigned char message[16];
    size_t size;
    int rc = shoal_queue_get_bytes_into(s->queue, message, sizeof(message), &size, SHOAL_NOW);

    if (rc)
        ASSERT_ERR(rc, -EAGAIN);
    else
        ASSERT_EQ_INT(message[0], EARLIER);
}

static void take_many_the_earlier(void *p)
{
    struct state *s = p;
    unsigned char bytes[64];
    shoal_bytes messages[2];
    int rc = shoal_queue_get_many(s->queue, messages, 2, bytes, sizeof(bytes), SHOAL_NOW);

    if (rc < 0)
        ASSERT_ERR(rc, -EAGAIN);
    else
        ASSERT_EQ_INT(bytes[0], EARLIER);
}

/* A lane of one's own, with nothing in it. */
static void open_lane(struct state *s)
{
    unsigned char message[16];
    size_t size;

    put_number(s, 0);
    ASSERT_OK(shoal_queue_get_bytes_into(s->queue, message, sizeof(message), &size, SHOAL_NOW));
}

static void put_later(struct state *s)
{
    family_await(&s->note->at[EARLIER]);
    put_number(s, LATER);
    family_set(&s->note->at[LATER]);
}

static void put_earlier(struct state *s)
{
    put_number(s, EARLIER);
    family_set(&s->note->at[EARLIER]);
}

static void later_in_the_first_lane(void *p, int i)
{
    struct state *s = p;

    (void)i;
    open_lane(s);
    kill_partner_ready();
    kill_await_stopped();
    if (kill_victim_is_stopped())
        put_later(s);
}

static void earlier_in_a_new_lane(void *p, int i)
{
    struct state *s = p;

    (void)i;
    put_earlier(s);
    family_await(&s->note->at[LATER]);
}

static void one_after_the_other(void *p, int i)
{
    struct state *s = p;

    if (i)
        family_await(&s->note->at[OPENED]);
    open_lane(s);
    family_set(&s->note->at[OPENED]);
    kill_partner_ready();
    kill_await_stopped();
    if (!kill_victim_is_stopped())
        return;
    if (i)
        put_later(s);
    else
        put_earlier(s);
}

static void await_both(void *p, int i)
{
    struct state *s = p;

    (void)i;
    family_await(&s->note->at[LATER]);
}

static void finish_order(void *p)
{
    struct state *s = p;
    unsigned char message[16];
    size_t size;

    family_settle();
    while (!shoal_queue_get_bytes_into(s->queue, message, sizeof(message), &size, SHOAL_NOW))
        ;
    family_check(s->note->before);
}

/* ---- the end ---- */

/* Whatever was put was taken once, but for what the victim did not come to put or took along. */
static void check_counts(struct state *s, bool took)
{
    int lost = 0, theirs = 0;

    for (int i = 0; i < NUMBERS; i++) {
        if (s->counts[i] > 1)
            FAIL("number %d was taken %d times", i, s->counts[i]);
        theirs += i >= SURVIVORS && s->counts[i];
        lost += i < s->first && !s->counts[i];
    }
    lost += s->note->at[1] - theirs;
    int put = 0;
    for (int i = 0; i < s->many; i++)
        put += s->counts[VICTIMS + i];
    if (s->note->entered == 2) {
        ASSERT_EQ_INT(lost, 0);
        if (!took)
            ASSERT_EQ_INT(put, s->many);
    }
    ASSERT_LE_INT(lost, took ? s->many : 0);
    /* The counters agree: so many were put, no more and no fewer. */
    int puts = s->first + s->note->at[0] + s->note->at[1] + put;
    if (!took)
        ASSERT_EQ_INT(lanes_puts(lanes_of(s)), puts);
    else
        ASSERT_EQ_INT(lanes_puts(lanes_of(s)), puts - put);
}

static void finish(struct state *s, bool took)
{
    family_settle();
    while (!get(s, SHOAL_NOW))
        ;
    ASSERT_EQ_INT(shoal_queue_qsize(s->queue), 0);
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

static void finish_forward(void *p)
{
    struct state *s = p;
    int lost = 0;

    family_settle();
    while (!get(s, SHOAL_NOW))
        ;
    for (int i = 0; i < NUMBERS; i++) {
        ASSERT_LE_INT(s->counts[i], 1);
        lost += i < s->first && !s->counts[i];
    }
    ASSERT_LE_INT(lost, s->note->entered != 2);
    ASSERT_EQ_INT(shoal_queue_qsize(s->queue), 0);
    family_check(s->note->before);
}

static void finish_shut(void *p)
{
    struct state *s = p;

    family_settle();
    ASSERT_ERR(get(s, SHOAL_FOREVER), -EPIPE);
    family_check(s->note->before);
}

/* The case's process holds it still; then the last one closes it, with what is in it. */
static void finish_close(void *p)
{
    struct state *s = p;

    family_settle();
    while (!get(s, SHOAL_NOW))
        ;
    s->many = 0;
    check_counts(s, false);
    family_check(s->note->before);
}

/* ---- putting ---- */
KILL_SCENARIO(queue_put_first, .setup = setup_empty, .prepare = family_prepare, .victim = put_once,
              .survivor = survive, .stopped = take_beside, .final = finish_put);
KILL_SCENARIO(queue_put, .setup = setup_empty, .prepare = prepare_lane, .victim = put_once,
              .survivor = survive, .stopped = survive, .final = finish_put,
              .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(queue_put_gone_on_with, .setup = setup_empty, .prepare = prepare_lane,
              .victim = put_once, .survivor = go_on, .survivors = 1, .final = finish_put,
              .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(queue_put_beside_another, .setup = setup_two_and_one, .prepare = prepare_lane,
              .victim = put_once, .survivor = survive, .stopped = survive, .state = family_state,
              .repair = look, .final = finish_put);
KILL_SCENARIO(queue_put_after_the_dead, .setup = setup_of_the_dead, .prepare = family_prepare,
              .victim = put_once, .survivor = survive, .stopped = survive, .final = finish_put);
KILL_SCENARIO(queue_put_long, .setup = setup_long, .prepare = family_prepare, .victim = put_once,
              .survivor = survive, .stopped = take_beside, .state = family_state, .repair = look,
              .final = finish_put);
KILL_SCENARIO(queue_put_bounded, .setup = setup_bounded, .prepare = prepare_lane,
              .victim = put_once, .survivor = survive, .stopped = survive, .state = family_state,
              .repair = look, .final = finish_put);
KILL_SCENARIO(queue_put_bounded_beside_another, .setup = setup_bounded_two,
              .prepare = family_prepare, .victim = put_once, .survivor = survive,
              .stopped = take_beside, .final = finish_put);
KILL_SCENARIO(queue_put_that_grows, .setup = setup_nearly_grown, .prepare = prepare_first,
              .victim = put_several, .survivor = survive, .stopped = take_beside,
              .state = family_state, .repair = look, .final = finish_put);
KILL_SCENARIO(queue_put_that_grows_gone_on_with, .setup = setup_nearly_grown,
              .prepare = prepare_first, .victim = put_several, .survivor = grow_again,
              .survivors = 1, .final = finish_put);
KILL_SCENARIO(queue_put_many, .setup = setup_many, .prepare = family_prepare, .victim = put_many,
              .survivor = survive, .stopped = take_beside, .final = finish_put);
KILL_SCENARIO(queue_put_many_bounded, .setup = setup_many_bounded, .prepare = family_prepare,
              .victim = put_many, .survivor = survive, .stopped = take_beside, .final = finish_put);
KILL_SCENARIO(queue_put_waits_for_place, .setup = setup_full, .prepare = family_prepare,
              .victim = put_once, .partner = get_when_asleep, .survivor = survive_full,
              .final = finish_put);
KILL_SCENARIO(queue_put_for_sleepers, .setup = setup_empty, .prepare = family_prepare,
              .victim = put_once, .partner = await_message, .partners = 1,
              .survivor = put_the_missing, .survivors = 1, .after = await_woken,
              .stopped = count_beside, .final = finish_put);
KILL_SCENARIO(queue_put_many_for_sleepers, .setup = setup_many, .prepare = family_prepare,
              .victim = put_many, .partner = await_message, .partners = 4,
              .survivor = put_the_missing, .survivors = 1, .after = await_woken,
              .stopped = count_beside, .final = finish_put);

/* ---- a queue that goes while a long message is in it; who leaves while another sleeps in one ---- */

static void close_full(void *p)
{
    struct state *s = p;
    unsigned char message[MOST] = {0};
    shoal_queue *queue;

    ASSERT_OK(shoal_queue_create(&queue, NULL));
    ASSERT_OK(shoal_queue_put_bytes(queue, message, s->size, SHOAL_FOREVER));
    shoal_queue_close(queue);
}

static void survive_closing(void *p, int i)
{
    (void)i;
    close_full(p);
}

static void last_of_closing(void *p)
{
    struct state *s = p;

    family_settle();
    family_check(s->note->before);
}

static void get_one(void *p, int i)
{
    (void)i;
    kill_partner_ready();
    ASSERT_OK(get(p, SHOAL_FOREVER));
}

static void leave(void *p)
{
    (void)p;
    family_leave();
}

static void put_for_sleeper(void *p, int i)
{
    (void)i;
    put(p, VICTIMS);
}

KILL_SCENARIO(queue_closed_with_a_message, .setup = setup_long, .prepare = family_prepare,
              .victim = close_full, .survivor = survive_closing, .final = last_of_closing);
KILL_SCENARIO(queue_sleeper_beside_who_leaves, .setup = setup_empty, .prepare = family_prepare,
              .victim = leave, .partner = get_one, .survivor = put_for_sleeper, .survivors = 1,
              .final = last_of_closing);
/* ---- taking ---- */
KILL_SCENARIO(queue_get, .setup = setup_two, .prepare = family_prepare, .victim = get_once,
              .survivor = survive, .stopped = survive, .final = finish_get,
              .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(queue_get_of_the_dead, .setup = setup_of_the_dead, .prepare = family_prepare,
              .victim = get_once, .survivor = survive, .stopped = survive, .final = finish_get);
KILL_SCENARIO(queue_get_long, .setup = setup_two_long, .prepare = family_prepare,
              .victim = get_once, .survivor = survive, .stopped = count_beside,
              .state = family_state, .repair = look, .final = finish_get);
KILL_SCENARIO(queue_get_bounded, .setup = setup_bounded_two, .prepare = family_prepare,
              .victim = get_once, .survivor = survive, .stopped = survive, .final = finish_get);
KILL_SCENARIO(queue_get_that_frees, .setup = setup_large_chain, .prepare = family_prepare,
              .victim = get_several, .survivor = survive, .stopped = count_beside,
              .state = family_state, .repair = look, .final = finish_get);
KILL_SCENARIO(queue_get_where_memory_is_given_back, .setup = setup_end_of_chain,
              .prepare = family_prepare, .victim = get_once, .survivor = survive, .survivors = 1,
              .stopped = take_three, .final = finish_get, .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(queue_get_many, .setup = setup_two, .prepare = family_prepare, .victim = get_many,
              .survivor = survive, .stopped = survive, .final = finish_get);
KILL_SCENARIO(queue_get_waits, .setup = setup_empty, .prepare = family_prepare, .victim = get_once,
              .partner = put_when_asleep, .survivor = survive, .final = finish_get);
KILL_SCENARIO(queue_get_for_sleepers, .setup = setup_full, .prepare = family_prepare,
              .victim = get_once, .partner = await_place, .partners = 1,
              .survivor = take_the_remaining, .survivors = 1, .after = await_woken,
              .stopped = count_beside, .final = finish_get);
KILL_SCENARIO(queue_get_meets_new_producer, .setup = setup_empty, .prepare = family_prepare,
              .victim = take_the_earlier, .partner = later_in_the_first_lane,
              .stopped = earlier_in_a_new_lane, .survivors = 1, .final = finish_order,
              .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(queue_get_many_meets_new_producer, .setup = setup_empty, .prepare = family_prepare,
              .victim = take_many_the_earlier, .partner = later_in_the_first_lane,
              .stopped = earlier_in_a_new_lane, .survivors = 1, .final = finish_order,
              .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(queue_get_meets_two_producers, .setup = setup_empty, .prepare = family_prepare,
              .victim = take_the_earlier, .partner = one_after_the_other, .partners = 2,
              .stopped = await_both, .survivors = 1, .final = finish_order,
              .flags = KILL_EVERY_INSTRUCTION);
/* ---- a put that meets the end ---- */

static void put_or_come_too_late(void *p)
{
    struct state *s = p;
    unsigned char message[16];

    memset(message, VICTIMS, sizeof(message));
    int rc = shoal_queue_put_bytes(s->queue, message, sizeof(message), SHOAL_FOREVER);
    if (rc)
        ASSERT_ERR(rc, -EPIPE);
    else
        s->note->entered = 2;
}

/* Whether that is the end; after it nothing comes. */
static void shut_and_take(void *p, int i)
{
    struct state *s = p;
    int rc;

    (void)i;
    ASSERT_OK(shoal_queue_shutdown(s->queue, 0));
    while (!(rc = get(s, SHOAL_NOW)))
        ASSERT_EQ_INT(s->note->at[4], 0);
    if (rc == -EPIPE)
        s->note->at[4] = 1;
    else
        ASSERT_ERR(rc, -EAGAIN);
}

static void finish_shut_beside(void *p)
{
    struct state *s = p;
    int rc, more = 0;

    family_settle();
    while (!(rc = get(s, SHOAL_NOW)))
        more++;
    ASSERT_ERR(rc, -EPIPE);
    if (s->note->at[4])
        ASSERT_EQ_INT(more, 0);
    ASSERT_LE_INT(s->counts[VICTIMS], 1);
    if (s->note->entered == 2)
        ASSERT_EQ_INT(s->counts[VICTIMS], 1);
    ASSERT_EQ_INT(shoal_queue_qsize(s->queue), 0);
    family_check(s->note->before);
}

KILL_SCENARIO(queue_put_meets_shutdown, .setup = setup_empty, .prepare = prepare_lane,
              .victim = put_or_come_too_late, .survivor = shut_and_take, .stopped = shut_and_take,
              .survivors = 1, .final = finish_shut_beside, .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(queue_put_bounded_meets_shutdown, .setup = setup_bounded, .prepare = prepare_lane,
              .victim = put_or_come_too_late, .survivor = shut_and_take, .stopped = shut_and_take,
              .survivors = 1, .final = finish_shut_beside, .flags = KILL_EVERY_INSTRUCTION);
/* ---- the place of a long message that was not put ---- */

/* All of a put, but for the step that it is. */
static void nearly_put(void *p)
{
    struct state *s = p;
    struct lanes *q = lanes_of(s);
    struct header *h = handle_of(s->queue)->header;
    struct place place = {h, header_id(h), handle_of(s->queue)->generation, 0, "nearly_put"};
    struct shortage shortage = shortage_of(q, &place, SHOAL_NOW);
    unsigned char *bytes;
    void *message;
    struct room room;

    put(s, 0); /* so that the lane keeps its memory, and nobody needs the guard */
    ASSERT_OK(message_create(&message, s->size, 0, &shortage, &bytes));
    ASSERT_OK(lanes_begin(q, &place, &room, sizeof(struct named), &(struct named){0}, SHOAL_NOW));
    struct message *m = message_body(handle_of(message)->header);
    m->position = room.record;
    m->lane = (uint16_t)room.index;
    m->which = 0;
    m->generation = place.generation;
    m->queue = place.id + 1;
}

static void *setup_nearly_put(void)
{
    struct state *s = begin(16, 0);

    s->first = 1;
    s->many = 0;
    family_die_after(nearly_put, s);
    ready(s);
    s->note->before--; /* it ends with its maker */
    family_prepare(s); /* nobody else's fork meets the dead */
    return s;
}

static void repair_it(void *p)
{
    struct state *s = p;

    family_look();
    s->note->entered = 2;
}

/* In its maker's lane, as soon as that is nobody's. */
static void put_in_its_place(void *p, int i)
{
    (void)i;
    put_another(p);
}

KILL_SCENARIO(queue_put_where_another_nearly_did, .setup = setup_nearly_put,
              .prepare = family_prepare, .victim = repair_it, .survivor = put_in_its_place,
              .survivors = 1, .stopped = put_in_its_place, .final = finish_put);
/* ---- where they lie ---- */
KILL_SCENARIO(queue_commit, .setup = setup_empty, .prepare = family_prepare, .victim = commit_once,
              .survivor = survive, .stopped = take_beside, .state = family_state, .repair = look,
              .final = finish_put);
KILL_SCENARIO(queue_commit_long, .setup = setup_long, .prepare = family_prepare,
              .victim = commit_once, .survivor = survive, .stopped = take_beside,
              .final = finish_put);
KILL_SCENARIO(queue_commit_bounded, .setup = setup_bounded, .prepare = family_prepare,
              .victim = commit_once, .survivor = survive, .stopped = take_beside,
              .final = finish_put);
KILL_SCENARIO(queue_view, .setup = setup_two, .prepare = family_prepare, .victim = view_once,
              .survivor = survive, .stopped = count_beside, .final = finish_get);
KILL_SCENARIO(queue_view_long, .setup = setup_two_long, .prepare = family_prepare,
              .victim = view_once, .survivor = survive, .stopped = count_beside,
              .state = family_state, .repair = look, .final = finish_get);
KILL_SCENARIO(queue_forward_long, .setup = setup_two_long, .prepare = family_prepare,
              .victim = forward, .survivor = survive, .stopped = count_beside,
              .state = family_state, .repair = look, .final = finish_forward);
/* ---- and otherwise ---- */
KILL_SCENARIO(queue_close, .setup = setup_two, .prepare = prepare_lane, .victim = close_it,
              .survivor = survive, .final = finish_close);
KILL_SCENARIO(queue_shutdown_for_sleepers, .setup = setup_empty, .prepare = family_prepare,
              .victim = shut_it, .partner = await_end, .partners = 2, .survivor = shut_too,
              .survivors = 1, .final = finish_shut);
