/* carried.c: objects in messages, killed and stopped everywhere. What a put has reported arrives with its objects; and when nobody can reach
 * an object any more it is gone, whoever died on the way. */
#define _GNU_SOURCE
#include "family.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { DEEP = 5 }; /* queues: with the messages more levels than a drop goes down */

struct state {
    struct note *note;
    shoal_queue *queue;  /* of all */
    shoal_queue *victim; /* the victim's own */
    shoal_connection *one, *two;
    shoal_value *value;
    shoal_memory *memory;
    shoal_any *any;
    int first; /* messages that there are from the beginning */
};

/* note->at: */
enum { RECEIVED };

static void *begin(int first)
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    ASSERT_OK(shoal_queue_create(&s->queue, NULL));
    s->first = first;
    return s;
}

/* A value of the calling process, which comes with its lock. */
static void make(struct state *s)
{
    ASSERT_OK(shoal_value_create(&s->value, 'i', NULL, 0, NULL));
    s->any = shoal_any_object(s->value);
    ASSERT_NOT_NULL(s->any);
}

static void put_and_close(struct state *s, shoal_queue *queue)
{
    ASSERT_OK(shoal_queue_put(queue, s->any, SHOAL_FOREVER));
    if (kill_victim_pid() == getpid())
        s->note->entered = 1;
    s->any = shoal_any_free(s->any);
    s->value = shoal_value_close(s->value);
}

/* Takes a message, and what is in it is whole. */
static int get(struct state *s)
{
    shoal_any *any;
    shoal_reference reference;
    shoal_value *value;
    int rc = shoal_queue_get(s->queue, &any, SHOAL_NOW);

    if (rc)
        return rc;
    ASSERT_OK(shoal_any_as_reference(any, &reference));
    ASSERT_OK(shoal_value_open(&value, &reference));
    shoal_any_free(any);
    ASSERT_OK(shoal_value_acquire(value, SHOAL_FOREVER));
    ASSERT_OK(shoal_value_release(value));
    shoal_value_close(value);
    __atomic_add_fetch(&s->note->at[RECEIVED], 1, __ATOMIC_SEQ_CST);
    return 0;
}

static void *setup_empty(void)
{
    struct state *s = begin(0);

    family_ready(s->note);
    return s;
}

static void *setup_one(void)
{
    struct state *s = begin(1);

    family_ready(s->note);
    make(s);
    put_and_close(s, s->queue);
    return s;
}

/* Does what the victim does, beside or after it. */
static void survive(void *p, int i)
{
    struct state *s = p;

    (void)i;
    make(s);
    put_and_close(s, s->queue);
    while (!get(s))
        ;
}

static void look_beside(void *p, int i)
{
    struct state *s = p;

    (void)i;
    ASSERT_TRUE(shoal_queue_qsize(s->queue) >= 0);
}

static void look(void *p)
{
    (void)p;
    family_look();
}

static void finish_with(struct state *s, int least, int most)
{
    family_settle();
    while (!get(s))
        ;
    ASSERT_LE_INT(s->note->at[RECEIVED], most);
    ASSERT_LE_INT(least, s->note->at[RECEIVED]);
    family_check(s->note->before);
}

/* ---- put ---- */

static void prepare_put(void *p)
{
    family_prepare(p);
    make(p);
}

static void put_it(void *p)
{
    struct state *s = p;

    put_and_close(s, s->queue);
}

static void finish_put(void *p)
{
    struct state *s = p;

    finish_with(s, s->note->entered != 0, 1);
}

/* The survivors' two are there besides. */
static void finish_put_of_all(void *p)
{
    struct state *s = p;

    finish_with(s, 2 + (s->note->entered != 0), 3);
}

/* ---- get ---- */

static void get_it(void *p)
{
    struct state *s = p;

    ASSERT_OK(get(s));
    s->note->entered = 2;
}

static void finish_get(void *p)
{
    struct state *s = p;

    finish_with(s, s->first - (s->note->entered != 2), s->first);
}

/* ---- the end of what holds them ---- */

static void prepare_drop(void *p)
{
    struct state *s = p;

    prepare_put(p);
    ASSERT_OK(shoal_queue_create(&s->victim, NULL));
    ASSERT_OK(shoal_queue_reference(s->victim, &s->note->reference));
    put_and_close(s, s->victim);
}

static void close_queue(void *p)
{
    struct state *s = p;

    s->victim = shoal_queue_close(s->victim);
    s->note->entered = 2;
}

static void put_into(shoal_queue *queue, const void *handle)
{
    shoal_any *any = shoal_any_object(handle);

    ASSERT_NOT_NULL(any);
    ASSERT_OK(shoal_queue_put(queue, any, SHOAL_FOREVER));
    shoal_any_free(any);
}

/* Two queues in each other, one in itself besides, and something that both lead to. */
static void prepare_ring(void *p)
{
    struct state *s = p;
    shoal_queue *other;

    prepare_drop(p);
    ASSERT_OK(shoal_queue_create(&other, NULL));
    put_into(s->victim, s->victim);
    put_into(s->victim, other);
    put_into(other, s->victim);
    make(s);
    put_and_close(s, other);
    ASSERT_OK(shoal_queue_reference(other, &s->note->reference2));
    shoal_queue_close(other);
}

/* A queue in a queue in a queue …: deeper than one thing's end goes at once. */
static void prepare_deep(void *p)
{
    struct state *s = p;

    prepare_drop(p);
    for (int i = 1; i < DEEP; i++) {
        shoal_queue *outer;
        ASSERT_OK(shoal_queue_create(&outer, NULL));
        put_into(outer, s->victim);
        shoal_queue_close(s->victim);
        s->victim = outer;
    }
    ASSERT_OK(shoal_queue_reference(s->victim, &s->note->reference));
}

/* The end of a pipe in the pipe itself, and an object on the way to each end. */
static void prepare_pipe(void *p)
{
    struct state *s = p;
    shoal_any *any;

    prepare_put(p);
    ASSERT_OK(shoal_pipe(&s->one, &s->two, NULL));
    any = shoal_any_object(s->two);
    ASSERT_OK(shoal_connection_send(s->two, any, SHOAL_FOREVER));
    shoal_any_free(any);
    ASSERT_OK(shoal_connection_send(s->one, s->any, SHOAL_FOREVER));
    ASSERT_OK(shoal_connection_send(s->two, s->any, SHOAL_FOREVER));
    s->any = shoal_any_free(s->any);
    s->value = shoal_value_close(s->value);
}

static void close_ends(void *p)
{
    struct state *s = p;

    s->two = shoal_connection_close(s->two);
    s->one = shoal_connection_close(s->one);
    s->note->entered = 2;
}

/* Opens what is being closed, or comes too late; whoever is last ends it. */
static void open_it_beside(void *p, int i)
{
    struct state *s = p;
    shoal_queue *queue;
    shoal_any *any;

    (void)i;
    int rc = shoal_queue_open(&queue, &s->note->reference);
    if (rc) {
        ASSERT_ERR(rc, -ESTALE);
        return;
    }
    rc = shoal_queue_get(queue, &any, SHOAL_NOW);
    if (!rc)
        shoal_any_free(any);
    shoal_queue_close(queue);
}

static void finish_closed(void *p)
{
    struct state *s = p;

    finish_with(s, 0, 0);
}

/* ---- two who close each one of a ring ---- */

static void prepare_shared_ring(void *p)
{
    struct state *s = p;

    prepare_ring(p);
    family_set(&s->note->at[1]);
    family_await(&s->note->at[2]);
}

static void hold_the_other(void *p, int i)
{
    struct state *s = p;
    shoal_queue *other;

    (void)i;
    family_await(&s->note->at[1]);
    ASSERT_OK(shoal_queue_open(&other, &s->note->reference2));
    family_set(&s->note->at[2]);
    kill_partner_ready();
    if (!kill_victim_was_killed())
        kill_await_stopped();
    shoal_queue_close(other);
}

/* ---- what holds it is handed on while its closer looks ---- */

/* Memory in a queue in the queue of all. */
static void *setup_in_queue(void)
{
    struct state *s = begin(0);
    shoal_queue *inner;
    shoal_memory *memory;

    family_ready(s->note);
    ASSERT_OK(shoal_queue_create(&inner, NULL));
    ASSERT_OK(shoal_memory_create(&memory, 100, NULL));
    ASSERT_OK(shoal_memory_reference(memory, &s->note->reference));
    put_into(inner, memory);
    put_into(s->queue, inner);
    shoal_memory_close(memory);
    shoal_queue_close(inner);
    return s;
}

static void prepare_to_close(void *p)
{
    struct state *s = p;

    family_prepare(p);
    ASSERT_OK(shoal_memory_open(&s->memory, &s->note->reference));
}

static void close_memory(void *p)
{
    struct state *s = p;

    s->memory = shoal_memory_close(s->memory);
}

/* Takes the queue out of the queue while the victim stands, and puts it back when it is over. */
static void keep_meanwhile(void *p, int i)
{
    struct state *s = p;

    (void)i;
    kill_partner_ready();
    kill_await_stopped();
    ASSERT_OK(shoal_queue_get(s->queue, &s->any, SHOAL_NOW));
    family_set(&s->note->at[1]);
    kill_await_over();
    ASSERT_OK(shoal_queue_put(s->queue, s->any, SHOAL_FOREVER));
    shoal_any_free(s->any);
}

static void await_kept(void *p, int i)
{
    struct state *s = p;

    (void)i;
    family_await(&s->note->at[1]);
}

static void finish_kept(void *p)
{
    struct state *s = p;
    shoal_reference reference;
    shoal_queue *inner;

    family_settle();
    ASSERT_OK(shoal_queue_get(s->queue, &s->any, SHOAL_NOW));
    ASSERT_OK(shoal_any_as_reference(s->any, &reference));
    ASSERT_OK(shoal_queue_open(&inner, &reference));
    shoal_any_free(s->any);
    ASSERT_OK(shoal_queue_get(inner, &s->any, SHOAL_NOW));
    ASSERT_OK(shoal_any_as_reference(s->any, &reference));
    ASSERT_OK(shoal_memory_open(&s->memory, &reference));
    shoal_any_free(s->any);
    shoal_memory_close(s->memory);
    shoal_queue_close(inner);
    family_check(s->note->before);
}

KILL_SCENARIO(carried_moved_meanwhile, .setup = setup_in_queue, .prepare = prepare_to_close,
              .victim = close_memory, .partner = keep_meanwhile, .partners = 1,
              .stopped = await_kept, .survivors = 1, .final = finish_kept,
              .flags = KILL_EVERY_INSTRUCTION | KILL_UNNOTICED);
KILL_SCENARIO(carried_put, .setup = setup_empty, .prepare = prepare_put, .victim = put_it,
              .stopped = look_beside, .state = family_state, .repair = look, .final = finish_put);
KILL_SCENARIO(carried_put_by_all, .setup = setup_empty, .prepare = prepare_put, .victim = put_it,
              .survivor = survive, .final = finish_put_of_all);
KILL_SCENARIO(carried_get, .setup = setup_one, .prepare = family_prepare, .victim = get_it,
              .stopped = look_beside, .state = family_state, .repair = look, .final = finish_get);
KILL_SCENARIO(carried_dropped, .setup = setup_empty, .prepare = prepare_drop, .victim = close_queue,
              .stopped = open_it_beside, .survivors = 1, .state = family_state, .repair = look,
              .final = finish_closed);
KILL_SCENARIO(carried_in_a_ring, .setup = setup_empty, .prepare = prepare_ring,
              .victim = close_queue, .stopped = open_it_beside, .survivors = 1,
              .state = family_state, .repair = look, .final = finish_closed);
KILL_SCENARIO(carried_in_a_ring_of_two, .setup = setup_empty, .prepare = prepare_shared_ring,
              .victim = close_queue, .partner = hold_the_other, .partners = 1,
              .stopped = open_it_beside, .survivors = 1, .final = finish_closed);
KILL_SCENARIO(carried_deep, .setup = setup_empty, .prepare = prepare_deep, .victim = close_queue,
              .stopped = open_it_beside, .survivors = 1, .state = family_state, .repair = look,
              .final = finish_closed);
KILL_SCENARIO(carried_through_its_pipe, .setup = setup_empty, .prepare = prepare_pipe,
              .victim = close_ends, .stopped = look_beside, .survivors = 1, .state = family_state,
              .repair = look, .final = finish_closed);
