/* csp.c: channels: writing, reading, alternating on both sides, retiring and poisoning, killed and stopped everywhere. Each message is
 * received once, or by the victim and is gone with it; a write that has returned was received; and nobody waits for who is dead or
 * stopped. */
#define _GNU_SOURCE
#include "family.h"

#include "region/region.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LONG = 200, MOST = 256, LAST = 99 };

struct state {
    struct note *note;
    shoal_event *event;
    shoal_channel *channels[2];
    shoal_channel_end *in[2], *out[2];
    size_t size;    /* of a message */
    int alternates; /* by guards of both channels */
    int buffered;
};

/* note->at[value]: how often a message was received, values 1 to 3; and: */
enum { TOLD = 7 };

static void *setup_with(size_t size, int alternates, uint64_t buffer)
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    s->size = size;
    s->alternates = alternates;
    s->buffered = buffer != 0;
    for (int i = 0; i < 2; i++) {
        ASSERT_OK(
            shoal_channel_create(&s->channels[i], &(shoal_channel_options){.buffer = buffer}));
        ASSERT_OK(shoal_channel_reader(s->channels[i], &s->in[i]));
        ASSERT_OK(shoal_channel_writer(s->channels[i], &s->out[i]));
    }
    family_ready(s->note);
    return s;
}

static void *setup_short(void)
{
    return setup_with(8, 0, 0);
}

static void *setup_long(void)
{
    return setup_with(LONG, 0, 0);
}

static void *setup_alternating(void)
{
    return setup_with(8, 1, 0);
}

static void *setup_alternating_long(void)
{
    return setup_with(LONG, 1, 0);
}

static void *setup_buffered(void)
{
    return setup_with(8, 0, 1);
}

static void *setup_alternating_buffered(void)
{
    return setup_with(8, 1, 1);
}

static void prepare(void *s)
{
    family_prepare(s);
    family_calm();
}

/* ---- messages ---- */

static void fill(const struct state *s, unsigned char *message, int value)
{
    memset(message, value, s->size);
}

static void write_value(struct state *s, int value)
{
    unsigned char message[MOST];

    fill(s, message, value);
    if (!s->alternates) {
        ASSERT_OK(shoal_channel_write_bytes(s->out[0], message, s->size, SHOAL_FOREVER));
        return;
    }
    shoal_guard guards[2];
    memset(guards, 0, sizeof(guards));
    for (int i = 0; i < 2; i++) {
        guards[i].kind = SHOAL_OUTPUT;
        guards[i].end = s->out[(i + value) % 2];
        guards[i].bytes = message;
        guards[i].size = s->size;
    }
    ASSERT_OK(shoal_alternate(guards, 2, SHOAL_ALT, SHOAL_FOREVER));
}

/* Receives one, looks whether it is whole, and counts it: its value. */
static int read_value(struct state *s)
{
    unsigned char message[2][MOST];
    size_t size = 0;
    int which = 0;

    if (!s->alternates) {
        int rc = shoal_channel_read_bytes(s->in[0], message[0], MOST, &size, SHOAL_FOREVER);
        if (rc)
            return rc;
    } else {
        shoal_guard guards[2];
        memset(guards, 0, sizeof(guards));
        for (int i = 0; i < 2; i++) {
            guards[i].kind = SHOAL_INPUT;
            guards[i].end = s->in[i];
            guards[i].buffer = message[i];
            guards[i].capacity = MOST;
        }
        which = shoal_alternate(guards, 2, SHOAL_ALT, SHOAL_FOREVER);
        if (which < 0)
            return which;
        size = guards[which].size;
    }
    ASSERT_EQ_INT(size, s->size);
    ASSERT_EQ_INT(message[which][0], message[which][size - 1]);
    int value = message[which][0];
    if (value < TOLD)
        __atomic_add_fetch(&s->note->at[value], 1, __ATOMIC_SEQ_CST);
    return value;
}

static void read_all(struct state *s)
{
    while (ASSERT_OK(read_value(s)) != LAST)
        ;
}

static void count_rest(struct state *s, int i)
{
    unsigned char message[MOST];
    size_t size;

    while (!shoal_channel_read_bytes(s->in[i], message, MOST, &size, SHOAL_NOW))
        if (message[0] < TOLD)
            s->note->at[message[0]]++;
}

/* Every message once; one that the victim may have taken, or may not have written, perhaps. */
static void last(void *p)
{
    struct state *s = p;

    family_settle();
    for (int i = 0; i < 2 && s->buffered; i++) /* what nobody has read */
        count_rest(s, i);
    for (int value = 1; value < TOLD; value++)
        ASSERT_LE_INT(s->note->at[value], 1);
    if (!kill_victim_was_killed() || s->note->entered == 2)
        ASSERT_EQ_INT(s->note->at[1], 1);
    family_check(s->note->before);
}

/* ---- the victim writes ---- */

static void write_once(void *p)
{
    struct state *s = p;

    write_value(s, 1);
    s->note->entered = 2;
}

static void write_last(void *p, int i)
{
    (void)i;
    write_value(p, LAST);
}

static void write_beside(void *p, int i)
{
    (void)i;
    write_value(p, 2);
}

static void reader(void *p, int i)
{
    (void)i;
    kill_partner_ready();
    read_all(p);
}

/* Comes when the victim sleeps. */
static void late_reader(void *p, int i)
{
    (void)i;
    kill_partner_ready();
    kill_await_asleep(1);
    read_all(p);
}

/* Who writes and who reads beside one that is stopped, wherever: they meet. (Others may read there, too.) */
static void meet_beside(void *p, int i)
{
    struct state *s = p;
    unsigned char message[MOST];
    pid_t pid = fork();

    (void)i;
    ASSERT_SYS(pid);
    if (!pid) {
        while (ASSERT_OK(read_value(s)) == 1)
            ;
        exit(0);
    }
    fill(s, message, TOLD + 1); /* is not counted */
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        int rc = shoal_channel_write_bytes(s->out[0], message, s->size, shoal_after(0.01));
        ASSERT_TRUE(!rc || rc == -ETIMEDOUT);
    }
}

/* What is long, or lies in a buffer, needs memory of the region, and that is handed out under a lock. Settled: of two who give a long message
 * back, or are told that a channel is over, the one who was woken comes first. */
#define WRITES(name, how, beside)                                                                \
    KILL_SCENARIO(name, .setup = (how), .prepare = prepare, .victim = write_once,                \
                  .partner = reader, .partners = 1, .survivor = write_last, .survivors = 1,      \
                  .stopped = (beside) ? write_beside : NULL, .final = last,                      \
                  .flags = KILL_SETTLED);                                                        \
    KILL_SCENARIO(name##_asleep, .setup = (how), .prepare = prepare, .victim = write_once,       \
                  .partner = late_reader, .partners = 1, .survivor = write_last, .survivors = 1, \
                  .stopped = (beside) ? meet_beside : NULL, .final = last, .flags = KILL_SETTLED)

WRITES(csp_write, setup_short, 1);
WRITES(csp_write_long, setup_long, 0);
WRITES(csp_alternate_outputs, setup_alternating, 1);
WRITES(csp_alternate_outputs_long, setup_alternating_long, 0);

/* There is room: it need not sleep. */
KILL_SCENARIO(csp_alternate_outputs_buffered, .setup = setup_alternating_buffered,
              .prepare = prepare, .victim = write_once, .partner = reader, .partners = 1,
              .survivor = write_last, .survivors = 1, .final = last);

/* ---- the victim meets one that hears of no death ---- */

static void *setup_unaware(void)
{
    struct state *s = setup_short();

    ASSERT_OK(shoal_event_create(&s->event, NULL));
    family_ready(s->note);
    return s;
}

/* All but the last partner sleep elsewhere and take all the roles there are to watch the family; so the last has to be woken. */
static void unaware(void *p, int i)
{
    struct state *s = p;

    if (i < ROLES) {
        kill_partner_ready();
        ASSERT_OK(shoal_event_wait(s->event, SHOAL_FOREVER));
        return;
    }
    family_await_sleepers(s->event, ROLES);
    kill_partner_ready();
    int rc = read_value(s);
    ASSERT_TRUE(rc == 1 || rc == -EPIPE);
}

static void end_it(void *p, int i)
{
    struct state *s = p;

    (void)i;
    ASSERT_OK(shoal_channel_retire(s->out[0]));
    while (family_sleepers(s->in[0])) /* nobody needs the event to be woken */
        usleep(500);
    ASSERT_OK(shoal_event_set(s->event));
}

KILL_SCENARIO(csp_met_unaware, .setup = setup_unaware, .prepare = prepare, .victim = write_once,
              .partner = unaware, .partners = ROLES + 1, .survivor = end_it, .survivors = 1,
              .final = last);

/* ---- the victim reads ---- */

static void read_once(void *p)
{
    struct state *s = p;

    int value = (int)ASSERT_OK(read_value(s));
    s->note->entered = value == 1 ? 2 : 0;
}

static void write_all(struct state *s)
{
    for (int value = 1; value <= 3; value++)
        write_value(s, value);
    write_value(s, LAST);
}

static void writer(void *p, int i)
{
    (void)i;
    kill_partner_ready();
    write_all(p);
}

static void late_writer(void *p, int i)
{
    (void)i;
    kill_partner_ready();
    kill_await_asleep(1);
    write_all(p);
}

static void read_last(void *p, int i)
{
    (void)i;
    read_all(p);
}

static void read_beside(void *p, int i)
{
    (void)i;
    ASSERT_OK(read_value(p));
}

#define READS(name, how, beside)                                                                   \
    KILL_SCENARIO(name, .setup = (how), .prepare = prepare, .victim = read_once,                   \
                  .partner = writer, .partners = 1, .survivor = read_last, .survivors = 1,         \
                  .stopped = (beside) ? read_beside : NULL, .final = last, .flags = KILL_SETTLED); \
    KILL_SCENARIO(name##_asleep, .setup = (how), .prepare = prepare, .victim = read_once,          \
                  .partner = late_writer, .partners = 1, .survivor = read_last, .survivors = 1,    \
                  .stopped = (beside) ? meet_beside : NULL, .final = last, .flags = KILL_SETTLED)

READS(csp_read, setup_short, 1);
READS(csp_read_long, setup_long, 1);
READS(csp_alternate_inputs, setup_alternating, 1);
READS(csp_alternate_inputs_long, setup_alternating_long, 1);
READS(csp_alternate_inputs_buffered, setup_alternating_buffered, 0);

/* ---- the victim ends a channel ---- */

static void told(void *p, int i)
{
    struct state *s = p;

    (void)i;
    kill_partner_ready();
    int rc = read_value(s);
    ASSERT_TRUE(rc == -EPIPE || rc == -ECANCELED);
    __atomic_store_n(&s->note->at[TOLD], rc, __ATOMIC_SEQ_CST);
}

static void retire(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_channel_retire(s->out[0]));
}

static void poison(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_channel_poison(s->out[0]));
}

static void retire_too(void *p, int i)
{
    (void)i;
    retire(p);
}

static void poison_too(void *p, int i)
{
    (void)i;
    poison(p);
}

static void last_told(void *p)
{
    struct state *s = p;

    family_settle();
    ASSERT_TRUE(s->note->at[TOLD] < 0);
    family_check(s->note->before);
}

#define ENDS(name, how, what, again)                                                             \
    KILL_SCENARIO(name, .setup = (how), .prepare = prepare, .victim = (what), .partner = told,   \
                  .partners = 2, .survivor = (again), .state = family_state, .final = last_told, \
                  .flags = KILL_SETTLED)

ENDS(csp_retire, setup_short, retire, retire_too);
ENDS(csp_retire_alternated, setup_alternating, retire, retire_too);
ENDS(csp_retire_buffered, setup_alternating_buffered, retire, retire_too);
ENDS(csp_poison, setup_short, poison, poison_too);
ENDS(csp_poison_buffered, setup_alternating_buffered, poison, poison_too);

/* ---- the victim ends a channel in whose buffer the only writer of another lies ---- */

static void *setup_carrying(void)
{
    struct state *s = setup_with(8, 0, 2);
    shoal_any *any = shoal_any_object(s->out[1]);

    ASSERT_NOT_NULL(any);
    s->out[1] = shoal_channel_end_close(s->out[1]);
    ASSERT_OK(shoal_channel_write(s->out[0], any, SHOAL_FOREVER));
    shoal_any_free(any);
    family_ready(s->note);
    return s;
}

/* Nothing lies in the other's buffer, and nobody will write there. */
static void told_of_the_other(void *p, int i)
{
    struct state *s = p;
    unsigned char message[MOST];
    size_t size;

    (void)i;
    kill_partner_ready();
    int rc = shoal_channel_read_bytes(s->in[1], message, MOST, &size, SHOAL_FOREVER);
    ASSERT_EQ_INT(rc, -EPIPE);
    __atomic_store_n(&s->note->at[TOLD], rc, __ATOMIC_SEQ_CST);
}

/* The message has ended, and the end in it. */
static void last_told_of_the_other(void *p)
{
    struct state *s = p;

    family_settle();
    ASSERT_EQ_INT(s->note->at[TOLD], -EPIPE);
    family_check(s->note->before - 2);
}

static void retire_reader(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_channel_retire(s->in[0]));
}

static void poison_reader(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_channel_poison(s->in[0]));
}

static void retire_reader_too(void *p, int i)
{
    (void)i;
    retire_reader(p);
}

static void poison_reader_too(void *p, int i)
{
    (void)i;
    poison_reader(p);
}

/* That the channel is poisoned is one step; who sleeps there learns of it from whoever repairs, not from another poison. */
static void poison_unless_it_is(void *p, int i)
{
    struct state *s = p;
    unsigned char message[MOST];
    size_t size;

    (void)i;
    if (shoal_channel_read_bytes(s->in[0], message, MOST, &size, SHOAL_NOW) != -ECANCELED)
        poison_reader(p);
}

ENDS(csp_poison_sleepers, setup_buffered, poison_reader, poison_unless_it_is);

#define ENDS_CARRYING(name, what, again)                                                  \
    KILL_SCENARIO(name, .setup = setup_carrying, .prepare = prepare, .victim = (what),    \
                  .partner = told_of_the_other, .partners = 1, .survivor = (again),       \
                  .survivors = 1, .state = family_state, .final = last_told_of_the_other, \
                  .flags = KILL_SETTLED)

ENDS_CARRYING(csp_retire_carrying, retire_reader, retire_reader_too);
ENDS_CARRYING(csp_poison_carrying, poison_reader, poison_reader_too);

/* ---- the victim makes one, and ends it by closing ---- */

static void make_and_close(void *p)
{
    struct state *s = p;
    shoal_channel *channel;
    shoal_channel_end *one, *other;

    (void)s;
    ASSERT_OK(shoal_channel_create(&channel, &(shoal_channel_options){.buffer = 1}));
    ASSERT_OK(shoal_channel_reader(channel, &one));
    ASSERT_OK(shoal_channel_writer(channel, &other));
    ASSERT_OK(shoal_channel_write_bytes(other, "x", 1, SHOAL_FOREVER));
    shoal_channel_end_close(one);
    ASSERT_ERR(shoal_channel_write_bytes(other, "x", 1, SHOAL_FOREVER), -EPIPE);
    shoal_channel_end_close(other);
    shoal_channel_close(channel);
}

static void last_made(void *p)
{
    struct state *s = p;

    family_settle();
    family_check(s->note->before);
}

KILL_SCENARIO(csp_make_and_close, .setup = setup_short, .prepare = prepare,
              .victim = make_and_close, .state = family_state, .final = last_made);

/* ---- the victim waits at a barrier ---- */

static void *setup_barrier(void)
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    ASSERT_OK(shoal_channel_create_barrier(&s->channels[0], NULL));
    family_ready(s->note);
    return s;
}

static void enrol(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_channel_enrol(s->channels[0], &s->in[0]));
}

static void prepare_enrolled(void *p)
{
    family_prepare(p);
    enrol(p);
    family_calm();
}

static void sync_and_resign(void *p)
{
    struct state *s = p;

    for (int i = 1; i <= 2; i++) {
        ASSERT_OK(shoal_channel_sync(s->in[0], SHOAL_FOREVER));
        __atomic_add_fetch(&s->note->at[i], 1, __ATOMIC_SEQ_CST);
    }
    shoal_channel_end_close(s->in[0]);
}

/* Is there before the victim, and waits for it or for its end. */
static void sync_before(void *p, int i)
{
    (void)i;
    enrol(p);
    kill_await_begun();
    sync_and_resign(p);
}

/* Waits for the victim's sleep before it comes. */
static void sync_after(void *p, int i)
{
    (void)i;
    enrol(p);
    kill_partner_ready();
    kill_await_asleep(1);
    sync_and_resign(p);
}

static void sync_too(void *p, int i)
{
    struct state *s = p;

    (void)i;
    enrol(p);
    ASSERT_OK(shoal_channel_sync(s->in[0], SHOAL_FOREVER));
    shoal_channel_end_close(s->in[0]);
}

/* Who is stopped and has not arrived is waited for; who comes there in vain has not arrived either. */
static void sync_in_vain(void *p, int i)
{
    struct state *s = p;

    (void)i;
    enrol(p);
    int rc = shoal_channel_sync(s->in[0], shoal_after(0.002));
    ASSERT_TRUE(!rc || rc == -ETIMEDOUT);
    shoal_channel_end_close(s->in[0]);
}

static void last_synced(void *p)
{
    struct state *s = p;

    family_settle();
    for (int i = 1; i <= 2; i++)
        ASSERT_GE_INT(s->note->at[i], kill_victim_was_killed() ? 1 : 2);
    family_check(s->note->before);
}

#define SYNCS(name, comes)                                                       \
    KILL_SCENARIO(name, .setup = setup_barrier, .prepare = prepare_enrolled,     \
                  .victim = sync_and_resign, .partner = (comes), .partners = 1,  \
                  .survivor = sync_too, .survivors = 1, .stopped = sync_in_vain, \
                  .final = last_synced, .flags = KILL_SETTLED)

SYNCS(csp_barrier, sync_before);
SYNCS(csp_barrier_asleep, sync_after);

/* Whoever comes next has to repair first: otherwise it would wait for the dead. */
static void last_alone(void *p)
{
    struct state *s = p;

    family_settle();
    family_check(s->note->before);
}

KILL_SCENARIO(csp_barrier_of_the_dead, .setup = setup_barrier, .prepare = prepare_enrolled,
              .victim = sync_and_resign, .survivor = sync_too, .survivors = 1,
              .state = family_state, .final = last_alone);
