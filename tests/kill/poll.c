/* poll.c: descriptors that are polled. Who puts, closes or polls is killed and stopped everywhere; whenever a descriptor is not readable
 * there is nothing to take, and no message is lost. Here all is seen at one moment, after which nobody is rung any more: the partner,
 * which polls, looks before any survivor does something. */
#define _GNU_SOURCE
#include "family.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SURVIVORS = 2 };

struct state {
    struct note *note;
    shoal_queue *queue, *other;
    shoal_connection *here, *there;
    int fd;
};

/* note->at: */
enum { LOOKED, MADE, OPENED, FROM_VICTIM, FROM_STOPPED, FROM_SURVIVORS };

static int readable(int fd, int timeout)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return (int)ASSERT_SYS(poll(&p, 1, timeout)) != 0;
}

static void put(struct state *s, const char *what)
{
    ASSERT_OK(shoal_queue_put_bytes(s->queue, what, 1, SHOAL_FOREVER));
}

/* Takes one, and counts it; 0, or what get said. */
static int take(struct state *s, shoal_queue *queue)
{
    char what;
    size_t size;
    int rc = shoal_queue_get_bytes_into(queue, &what, 1, &size, SHOAL_NOW);

    if (!rc)
        __atomic_add_fetch(&s->note->at[what == 'v'   ? FROM_VICTIM
                                        : what == 's' ? FROM_STOPPED
                                                      : FROM_SURVIVORS],
                           1, __ATOMIC_SEQ_CST);
    return rc;
}

static void take_while_readable(struct state *s, shoal_queue *queue, int fd)
{
    while (readable(fd, 0)) {
        int rc = take(s, queue);
        if (rc)
            ASSERT_ERR(rc, -EAGAIN);
    }
}

/* Then there is nothing. Only while nobody puts: a message is there a moment before it is readable. */
static void take_all(struct state *s, shoal_queue *queue, int fd)
{
    take_while_readable(s, queue, fd);
    ASSERT_EQ_INT(shoal_queue_qsize(queue), 0);
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* Until so many have been taken. Who puts stays alive for that long: its end would make all readable. */
static void stay_until(struct state *s, int from, int n)
{
    while (__atomic_load_n(&s->note->at[from], __ATOMIC_SEQ_CST) < n)
        nap();
}

/* Sleeps on the descriptor until so many of them have come. */
static void take_until(struct state *s, int from, int n)
{
    while (__atomic_load_n(&s->note->at[from], __ATOMIC_SEQ_CST) < n) {
        readable(s->fd, -1);
        int rc = take(s, s->queue);
        if (rc)
            ASSERT_ERR(rc, -EAGAIN);
    }
}

static void *setup_kind(unsigned kind, uint64_t maxsize)
{
    shoal_queue_options options = {.kind = kind, .maxsize = maxsize};
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    ASSERT_OK(shoal_queue_create(&s->queue, &options));
    ASSERT_OK(shoal_queue_create(&s->other, &options));
    family_ready(s->note);
    return s;
}

static void *setup(void)
{
    return setup_kind(SHOAL_FIFO, 0);
}

static void *setup_bounded(void)
{
    return setup_kind(SHOAL_FIFO, 10);
}

static void *setup_lifo(void)
{
    return setup_kind(SHOAL_LIFO, 0);
}

/* ---- who puts ---- */

/* It has a lane with memory: who is stopped while he gets one keeps others from getting theirs. */
static void prepare_to_put(void *p)
{
    struct state *s = p;
    char what;
    size_t size;

    family_prepare(p);
    put(s, "p");
    ASSERT_OK(shoal_queue_get_bytes_into(s->queue, &what, 1, &size, SHOAL_NOW));
}

static void put_one(void *p)
{
    struct state *s = p;

    put(s, "v");
    s->note->entered = 2;
}

/* Polls, and knows of the victim before that begins. */
static void open_descriptor(struct state *s)
{
    s->fd = (int)ASSERT_OK(shoal_queue_fileno(s->queue));
    kill_partner_ready();
    kill_await_begun();
    take_all(s, s->queue, s->fd);
}

static void poll_queue(void *p, int i)
{
    struct state *s = p;

    (void)i;
    open_descriptor(s);
    kill_await_over();
    take_all(s, s->queue, s->fd);
    if (s->note->entered == 2)
        ASSERT_EQ_INT(s->note->at[FROM_VICTIM], 1);
    family_set(&s->note->at[LOOKED]);
    take_until(s, FROM_SURVIVORS, SURVIVORS);
}

static void sleep_on_descriptor(void *p, int i)
{
    struct state *s = p;

    (void)i;
    open_descriptor(s);
    for (int k = 0; k < 25; k++) { /* longer than a slice: the victim is watched by then */
        take_while_readable(s, s->queue, s->fd);
        nap();
    }
    family_deafen();
    family_set(&s->note->at[LOOKED]);
    take_until(s, FROM_SURVIVORS, SURVIVORS);
}

static void stay(void *p)
{
    stay_until(p, FROM_VICTIM, 1);
}

/* One event, a death, is for both, whichever is looked at first. */
static void poll_both(void *p, int i)
{
    struct state *s = p;

    (void)i;
    int fd = (int)ASSERT_OK(shoal_queue_fileno(s->other));
    open_descriptor(s);
    take_all(s, s->other, fd);
    kill_await_over();
    take_all(s, s->other, fd);
    take_all(s, s->queue, s->fd);
    family_set(&s->note->at[LOOKED]);
    take_until(s, FROM_SURVIVORS, SURVIVORS);
}

static void put_beside(void *p, int i)
{
    (void)i;
    put(p, "s");
    stay_until(p, FROM_STOPPED, SURVIVORS);
}

static void put_and_leave(void *p, int i)
{
    (void)i;
    put(p, "s");
}

static void put_later(void *p, int i)
{
    struct state *s = p;

    (void)i;
    family_await(&s->note->at[LOOKED]);
    put(s, "w");
    stay_until(s, FROM_SURVIVORS, SURVIVORS);
}

static void finish(void *p)
{
    struct state *s = p;

    family_settle();
    take_all(s, s->queue, (int)ASSERT_OK(shoal_queue_fileno(s->queue)));
    ASSERT_LE_INT(s->note->at[FROM_VICTIM], 1);
    if (s->note->entered == 2)
        ASSERT_EQ_INT(s->note->at[FROM_VICTIM], 1);
    ASSERT_EQ_INT(s->note->at[FROM_SURVIVORS], SURVIVORS);
    family_check(s->note->before);
}

/* ---- who polls ---- */

static void prepare_to_poll(void *p)
{
    struct state *s = p;

    family_prepare(p);
    s->fd = (int)ASSERT_OK(shoal_queue_fileno(s->queue));
    put(s, "v");
    ASSERT_OK(take(s, s->queue));
}

/* Is readable, finds nothing, and waits again. */
static void find_nothing(void *p)
{
    struct state *s = p;

    ASSERT_TRUE(readable(s->fd, 0));
    int rc = take(s, s->queue); /* what came beside it, perhaps */
    if (rc)
        ASSERT_ERR(rc, -EAGAIN);
    s->note->entered = 2;
}

static void find_all(void *p)
{
    struct state *s = p;

    take_all(s, s->queue, s->fd);
}

/* A descriptor for one queue that is new, beside one of another that is not. */
static void open_and_close(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_queue_fileno(s->queue));
    shoal_queue_close(s->queue);
    s->note->entered = 2;
}

static void poll_beside(void *p, int i)
{
    struct state *s = p;

    (void)i;
    s->fd = (int)ASSERT_OK(shoal_queue_fileno(s->queue));
    take_all(s, s->queue, s->fd);
    put(s, "w");
    ASSERT_TRUE(readable(s->fd, 0));
}

static void look(void *p)
{
    (void)p;
    family_look();
}

static void finish_polling(void *p)
{
    struct state *s = p;

    family_settle();
    take_all(s, s->queue, (int)ASSERT_OK(shoal_queue_fileno(s->queue)));
    family_check(s->note->before);
}

/* ---- the victim alone has the other end of a pipe ---- */

static void *setup_apart(void)
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    family_ready(s->note);
    return s;
}

static void prepare_apart(void *p)
{
    struct state *s = p;

    family_prepare(p);
    ASSERT_OK(shoal_pipe(&s->here, &s->there, NULL));
    ASSERT_OK(shoal_connection_reference(s->here, &s->note->reference));
    family_set(&s->note->at[MADE]);
    family_await(&s->note->at[OPENED]);
    s->here = shoal_connection_close(s->here);
}

static int receive(struct state *s)
{
    char byte;
    size_t size;

    return shoal_connection_recv_bytes_into(s->here, &byte, 1, &size, SHOAL_NOW);
}

/* Sleeps on the descriptor until there is an end. */
static void poll_until_the_end(void *p, int i)
{
    struct state *s = p;
    int rc;

    (void)i;
    family_await(&s->note->at[MADE]);
    ASSERT_OK(shoal_connection_open(&s->here, &s->note->reference));
    s->fd = (int)ASSERT_OK(shoal_connection_fileno(s->here));
    family_set(&s->note->at[OPENED]);
    kill_partner_ready();
    kill_await_begun();
    while (readable(s->fd, 0))
        ASSERT_ERR(receive(s), -EAGAIN);
    kill_await_over();
    do
        readable(s->fd, -1);
    while ((rc = receive(s)) == -EAGAIN);
    if (!rc) {
        ASSERT_TRUE(readable(s->fd, -1));
        while ((rc = receive(s)) == -EAGAIN)
            readable(s->fd, -1);
    }
    ASSERT_ERR(rc, -EPIPE);
    ASSERT_TRUE(readable(s->fd, 0));
    shoal_connection_close(s->here);
}

static void close_it(void *p)
{
    struct state *s = p;

    shoal_connection_close(s->there);
}

static void send_and_close(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_connection_send_bytes(s->there, "x", 1, SHOAL_FOREVER));
    shoal_connection_close(s->there);
}

static void finish_apart(void *p)
{
    struct state *s = p;

    family_settle();
    family_check(s->note->before);
}

KILL_SCENARIO(poll_put, .setup = setup, .prepare = prepare_to_put, .victim = put_one,
              .partner = poll_queue, .survivor = put_later, .survivors = SURVIVORS,
              .final = finish);
KILL_SCENARIO(poll_put_bounded, .setup = setup_bounded, .prepare = prepare_to_put,
              .victim = put_one, .partner = poll_queue, .survivor = put_later,
              .survivors = SURVIVORS, .final = finish);
KILL_SCENARIO(poll_put_for_sleeper, .setup = setup, .prepare = prepare_to_put, .victim = put_one,
              .after = stay, .partner = sleep_on_descriptor, .survivor = put_later,
              .survivors = SURVIVORS, .stopped = put_beside, .final = finish);
KILL_SCENARIO(poll_put_bounded_for_sleeper, .setup = setup_bounded, .prepare = prepare_to_put,
              .victim = put_one, .after = stay, .partner = sleep_on_descriptor,
              .survivor = put_later, .survivors = SURVIVORS, .stopped = put_beside,
              .final = finish);
KILL_SCENARIO(poll_put_lifo_for_sleeper, .setup = setup_lifo, .prepare = prepare_to_put,
              .victim = put_one, .after = stay, .partner = sleep_on_descriptor,
              .survivor = put_later, .survivors = SURVIVORS, .final = finish);
/* Who is stopped under the lock keeps others out. */
KILL_SCENARIO(poll_put_lifo, .setup = setup_lifo, .prepare = prepare_to_put, .victim = put_one,
              .partner = poll_queue, .survivor = put_later, .survivors = SURVIVORS,
              .final = finish);
KILL_SCENARIO(poll_put_two_polled, .setup = setup, .prepare = prepare_to_put, .victim = put_one,
              .partner = poll_both, .survivor = put_later, .survivors = SURVIVORS, .final = finish);
KILL_SCENARIO(poll_in_vain, .setup = setup, .prepare = prepare_to_poll, .victim = find_nothing,
              .after = find_all, .survivor = poll_beside, .survivors = 1, .stopped = put_and_leave,
              .state = family_state, .repair = look, .final = finish_polling);
KILL_SCENARIO(poll_open_and_close, .setup = setup, .prepare = family_prepare,
              .victim = open_and_close, .survivor = poll_beside, .survivors = 1,
              .stopped = put_and_leave, .state = family_state, .repair = look,
              .final = finish_polling);
KILL_SCENARIO(poll_close_for_pollers, .setup = setup_apart, .prepare = prepare_apart,
              .victim = close_it, .partner = poll_until_the_end, .survivors = 1,
              .final = finish_apart);
KILL_SCENARIO(poll_send_and_close, .setup = setup_apart, .prepare = prepare_apart,
              .victim = send_and_close, .partner = poll_until_the_end, .survivors = 1,
              .final = finish_apart);
