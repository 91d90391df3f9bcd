/* pipe.c: ends of pipes, killed and stopped everywhere. A message that a send has reported is received once; who waits for the other
 * side is told of its end, whichever way it came; and when all ends are closed nothing of the pipe is left. */
#define _GNU_SOURCE
#include "family.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 6000, FULL = 4 /* of 4000 bytes, and a thread has no room for another one */ };

struct state {
    struct note *note;
    shoal_connection *here, *there;
    size_t size; /* of a message */
    int first;   /* messages that lie there from the beginning */
};

/* note->at: */
enum { MADE, OPENED, RECEIVED };

static void send(struct state *s)
{
    unsigned char message[MOST];

    memset(message, 7, s->size);
    ASSERT_OK(shoal_connection_send_bytes(s->there, message, s->size, SHOAL_FOREVER));
}

/* Receives one, looks whether it is whole, and counts it. */
static int receive(struct state *s, int64_t deadline)
{
    unsigned char message[MOST];
    size_t size;
    int rc = shoal_connection_recv_bytes_into(s->here, message, sizeof(message), &size, deadline);

    if (rc)
        return rc;
    ASSERT_EQ_INT(size, s->size);
    ASSERT_EQ_INT(message[0], 7);
    ASSERT_EQ_INT(message[size - 1], 7);
    __atomic_add_fetch(&s->note->at[RECEIVED], 1, __ATOMIC_SEQ_CST);
    return 0;
}

/* ---- the case's process has both ends ---- */

static void *setup_with(size_t size, int first, size_t room)
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    s->size = size;
    s->first = first;
    ASSERT_OK(shoal_pipe(&s->here, &s->there, &(shoal_pipe_options){.room = room}));
    ASSERT_OK(shoal_connection_reference(s->there, &s->note->reference));
    for (int i = 0; i < first; i++)
        send(s);
    family_ready(s->note);
    s->note->before -= s->size > 4096 ? (uint32_t)first : 0; /* they will be received */
    return s;
}

static void *setup_empty(void)
{
    return setup_with(16, 0, 0);
}

static void *setup_long(void)
{
    return setup_with(5000, 0, 0);
}

static void *setup_two(void)
{
    return setup_with(16, 2, 0);
}

static void *setup_two_long(void)
{
    return setup_with(5000, 2, 0);
}

static void *setup_small(void)
{
    return setup_with(4000, 0, 1);
}

static void prepare_full(void *p)
{
    struct state *s = p;

    family_prepare(p);
    for (int i = 0; i < FULL; i++)
        send(s);
}

static void send_once(void *p)
{
    struct state *s = p;

    send(s);
    s->note->entered = 2;
}

static void receive_once(void *p)
{
    struct state *s = p;

    ASSERT_OK(receive(s, SHOAL_FOREVER));
    s->note->entered = 2;
}

static void open_and_close(void *p)
{
    struct state *s = p;
    shoal_connection *end;

    ASSERT_OK(shoal_connection_open(&end, &s->note->reference));
    shoal_connection_close(end);
    shoal_connection_close(s->there);
    s->note->entered = 2;
}

static void make_and_close(void *p)
{
    struct state *s = p;
    shoal_connection *one, *other;

    ASSERT_OK(shoal_pipe(&one, &other, NULL));
    ASSERT_OK(shoal_connection_send_bytes(one, "x", 1, SHOAL_FOREVER));
    shoal_connection_close(one);
    shoal_connection_close(other);
    s->note->entered = 2;
}

static void survive(void *p, int i)
{
    struct state *s = p;

    (void)i;
    ASSERT_OK(shoal_connection_send_bytes(s->here, "x", 1, SHOAL_FOREVER));
}

/* Beside one that is stopped in a step that another may have to wait for. */
static void receive_beside(void *p, int i)
{
    struct state *s = p;

    (void)i;
    int rc = shoal_connection_poll(s->here, SHOAL_NOW);
    if (rc)
        ASSERT_ERR(rc, -EAGAIN);
}

static void receive_when_asleep(void *p, int i)
{
    struct state *s = p;

    (void)i;
    kill_partner_ready();
    kill_await_asleep(1);
    for (int k = 0; k < 2; k++) /* one may leave as little as what a ring's end takes */
        ASSERT_OK(receive(s, SHOAL_NOW));
}

static void look(void *p)
{
    (void)p;
    family_look();
}

static void finish_with(struct state *s, int least, int most)
{
    family_settle();
    while (!receive(s, SHOAL_NOW))
        ;
    ASSERT_LE_INT(s->note->at[RECEIVED], most);
    ASSERT_LE_INT(least, s->note->at[RECEIVED]);
    ASSERT_ERR(shoal_connection_poll(s->here, SHOAL_NOW), -EAGAIN); /* the case has both ends */
    family_check(s->note->before);
}

static void finish_send(void *p)
{
    struct state *s = p;

    finish_with(s, s->note->entered == 2, 1);
}

static void finish_full(void *p)
{
    struct state *s = p;

    finish_with(s, FULL + (s->note->entered == 2), FULL + 1);
}

static void finish_receive(void *p)
{
    struct state *s = p;

    finish_with(s, s->first - (s->note->entered != 2), s->first);
}

static void finish_same(void *p)
{
    struct state *s = p;

    finish_with(s, s->first, s->first);
}

/* ---- the victim alone has the one end, its partners the other ---- */

static void *setup_apart(void)
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    s->size = 5000;
    family_ready(s->note);
    return s;
}

static void prepare_apart(void *p)
{
    struct state *s = p;

    family_prepare(p);
    ASSERT_OK(shoal_pipe(&s->here, &s->there, NULL));
    ASSERT_OK(shoal_connection_reference(s->here, &s->note->reference));
    ASSERT_OK(shoal_connection_reference(s->there, &s->note->reference2));
    family_set(&s->note->at[MADE]);
    family_await(&s->note->at[OPENED]);
    s->here = shoal_connection_close(s->here);
}

static void open_here(struct state *s)
{
    family_await(&s->note->at[MADE]);
    ASSERT_OK(shoal_connection_open(&s->here, &s->note->reference));
    family_set(&s->note->at[OPENED]);
    kill_partner_ready();
}

/* Sleeps until there is an end. Its own it closes later: the victim's way is the same each time. */
static void sleep_until_the_end(void *p, int i)
{
    struct state *s = p;

    (void)i;
    open_here(s);
    ASSERT_ERR(receive(s, SHOAL_FOREVER), -EPIPE);
    kill_await_over();
    shoal_connection_close(s->here);
}

/* Takes what was sent, until there is an end. */
static void receive_all(void *p, int i)
{
    struct state *s = p;
    int rc;

    (void)i;
    open_here(s);
    kill_await_over();
    while (!(rc = receive(s, SHOAL_FOREVER)))
        ;
    ASSERT_ERR(rc, -EPIPE);
    shoal_connection_close(s->here);
}

static void close_it(void *p)
{
    struct state *s = p;

    shoal_connection_close(s->there);
    s->note->entered = 2;
}

static void send_and_close(void *p)
{
    struct state *s = p;

    send(s);
    s->note->entered = 2;
    shoal_connection_close(s->there);
}

/* Opens the end that is being closed, or comes too late; whoever is last closes it. */
static void open_it_beside(void *p, int i)
{
    struct state *s = p;
    shoal_connection *end;

    (void)i;
    int rc = shoal_connection_open(&end, &s->note->reference2);
    if (rc) {
        ASSERT_ERR(rc, -ESTALE);
        return;
    }
    shoal_connection_close(end);
}

static void finish_apart(void *p)
{
    struct state *s = p;

    family_settle();
    ASSERT_LE_INT(s->note->at[RECEIVED], 1);
    family_check(s->note->before);
}

static void finish_sent(void *p)
{
    struct state *s = p;

    if (s->note->entered == 2)
        ASSERT_EQ_INT(s->note->at[RECEIVED], 1);
    finish_apart(p);
}

KILL_SCENARIO(pipe_send, .setup = setup_empty, .prepare = family_prepare, .victim = send_once,
              .survivor = survive, .stopped = receive_beside, .state = family_state, .repair = look,
              .final = finish_send);
KILL_SCENARIO(pipe_send_long, .setup = setup_long, .prepare = family_prepare, .victim = send_once,
              .survivor = survive, .stopped = receive_beside, .state = family_state, .repair = look,
              .final = finish_send);
KILL_SCENARIO(pipe_send_waits_for_room, .setup = setup_small, .prepare = prepare_full,
              .victim = send_once, .partner = receive_when_asleep, .survivor = survive,
              .final = finish_full);
KILL_SCENARIO(pipe_recv, .setup = setup_two, .prepare = family_prepare, .victim = receive_once,
              .survivor = survive, .stopped = receive_beside, .final = finish_receive);
KILL_SCENARIO(pipe_recv_long, .setup = setup_two_long, .prepare = family_prepare,
              .victim = receive_once, .survivor = survive, .stopped = receive_beside,
              .state = family_state, .repair = look, .final = finish_receive);
KILL_SCENARIO(pipe_open, .setup = setup_two, .prepare = family_prepare, .victim = open_and_close,
              .survivor = survive, .stopped = receive_beside, .final = finish_same);
KILL_SCENARIO(pipe_make, .setup = setup_empty, .prepare = family_prepare, .victim = make_and_close,
              .survivor = survive, .stopped = receive_beside, .state = family_state, .repair = look,
              .final = finish_same);
KILL_SCENARIO(pipe_close_for_sleepers, .setup = setup_apart, .prepare = prepare_apart,
              .victim = close_it, .partner = sleep_until_the_end, .partners = 1,
              .stopped = open_it_beside, .survivors = 1, .final = finish_apart);
KILL_SCENARIO(pipe_send_and_close, .setup = setup_apart, .prepare = prepare_apart,
              .victim = send_and_close, .partner = receive_all, .partners = 1,
              .stopped = open_it_beside, .survivors = 1, .final = finish_sent);
