/* lanes.c: what befalls lanes between those who share them: rings that become smaller again, producers that are dead but not repaired, places
 * for segments that are used again, ends that are told beside a put; and what is counted around queues. As in queue.c every message has a
 * number, and whoever takes one counts it. */
#define _GNU_SOURCE
#include "family.h"

#include "message/lanes_inner.h"
#include "message/message.h"
#include "region/life.h"

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

enum { SHORT = 16, LONG = 5000, MOST = 6000, VICTIMS = 60, OTHERS = 100, NUMBERS = 250 };
enum { DONE = 3, OVER, CALLS, PIDS }; /* of note->at */
enum { SYS_FUTEX_WAITV = 449 };       /* older headers do not name it */

struct state {
    struct note *note;
    shoal_queue *queue;
    int *counts;           /* shared: how often each number was taken */
    int first;             /* numbers 0 … first - 1 were put before */
    int many;              /* VICTIMS … are the victim's */
    size_t long_ones;      /* the first of all numbers: so many are long */
    shoal_message message; /* that the victim has reserved */
};

static struct lanes *lanes_of(struct state *s)
{
    return header_payload(handle_of(s->queue)->header);
}

static struct place place_of(struct state *s)
{
    struct header *h = handle_of(s->queue)->header;

    return (struct place){h, header_id(h), handle_of(s->queue)->generation, 0, "lanes.c"};
}

static size_t size_of(struct state *s, int number)
{
    return (size_t)number < s->long_ones ? LONG : SHORT;
}

static int try_put(struct state *s, int number)
{
    unsigned char message[MOST];

    memset(message, number, size_of(s, number));
    return shoal_queue_put_bytes(s->queue, message, size_of(s, number), SHOAL_FOREVER);
}

static void put(struct state *s, int number)
{
    ASSERT_OK(try_put(s, number));
}

/* Takes one, looks whether it is whole, and counts it. */
static int get(struct state *s, int64_t deadline)
{
    unsigned char message[MOST];
    size_t size;
    int rc = shoal_queue_get_bytes_into(s->queue, message, sizeof(message), &size, deadline);

    if (rc)
        return rc;
    ASSERT_EQ_INT(size, size_of(s, message[0]));
    for (size_t i = 1; i < size; i += 1 + size / 16)
        ASSERT_EQ_INT(message[i], message[0]);
    ASSERT_EQ_INT(message[size - 1], message[0]);
    __atomic_add_fetch(&s->counts[message[0]], 1, __ATOMIC_SEQ_CST);
    return 0;
}

/* Each with a number of its own; at[1] counts those that were put. */
static void put_another(struct state *s)
{
    put(s, OTHERS + __atomic_fetch_add(&s->note->at[2], 1, __ATOMIC_SEQ_CST));
    __atomic_add_fetch(&s->note->at[1], 1, __ATOMIC_SEQ_CST);
}

static void take_all(struct state *s)
{
    int rc;

    while (!(rc = get(s, SHOAL_NOW)))
        ;
    if (rc != -EPIPE)
        ASSERT_ERR(rc, -EAGAIN);
}

static void put_first(void *p)
{
    struct state *s = p;

    for (int i = 0; i < s->first; i++)
        put(s, i);
}

static struct state *begin(uint64_t bound)
{
    struct state *s = calloc(1, sizeof(*s));
    shoal_queue_options options = {.maxsize = bound};

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    s->counts = mmap(NULL, NUMBERS * sizeof(int), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_TRUE(s->counts != MAP_FAILED);
    s->many = 1;
    ASSERT_OK(shoal_queue_create(&s->queue, &options));
    return s;
}

static void *ready(struct state *s)
{
    family_ready(s->note);
    s->note->before -= (uint32_t)s->long_ones; /* they will be taken */
    return s;
}

static void *setup_empty(void)
{
    return ready(begin(0));
}

static void *setup_bounded(void)
{
    return ready(begin(3));
}

static void look(void *p)
{
    (void)p;
    family_look();
}

/* ---- the end ---- */

/* What was reported as put was taken, by whomever, once; what the victim did not come to report, at most once. */
static void check_all_taken(struct state *s)
{
    int others = 0, mine = 0;

    for (int i = 0; i < NUMBERS; i++) {
        if (s->counts[i] > 1)
            FAIL("number %d was taken %d times", i, s->counts[i]);
        if (i < s->first)
            ASSERT_EQ_INT(s->counts[i], 1);
        others += i >= OTHERS && s->counts[i];
        mine += i >= VICTIMS && i < OTHERS && s->counts[i];
    }
    ASSERT_EQ_INT(others, s->note->at[1]);
    if (s->note->entered == 2)
        ASSERT_EQ_INT(mine, s->many);
}

static void finish(void *p)
{
    struct state *s = p;

    family_settle();
    take_all(s);
    ASSERT_EQ_INT(shoal_queue_qsize(s->queue), 0);
    check_all_taken(s);
    family_check(s->note->before);
}

/* ---- a ring that becomes smaller again ---- */

enum { BURST = 4000, LARGE_UNITS = 256, FEW_UNITS = 64 };

static void put_and_get(struct state *s, const void *bytes, size_t size)
{
    unsigned char message[BURST];

    ASSERT_OK(shoal_queue_put_bytes(s->queue, bytes, size, SHOAL_NOW));
    ASSERT_OK(shoal_queue_get_bytes_into(s->queue, message, sizeof(message), &size, SHOAL_NOW));
}

static uint64_t units_of(struct state *s)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < LANES_FIRST; i++)
        for (unsigned k = 0; k < LANE_SEGMENTS; k++)
            if (atomic_load(&lanes_of(s)->first[i].segments[k].payload))
                sum += atomic_load(&lanes_of(s)->first[i].segments[k].units);
    return sum;
}

/* After a burst its ring is large, and once round but for a header; behind that lies its oldest record, taken long since. What lies
 * in it is little. */
static void prepare_large_ring(void *p)
{
    static const unsigned char burst[BURST];
    struct state *s = p;
    struct lane *lane = &lanes_of(s)->first[0];
    unsigned char message[BURST];
    size_t size;

    family_prepare(p);
    do
        ASSERT_OK(shoal_queue_put_bytes(s->queue, burst, BURST, SHOAL_NOW));
    while (atomic_load(&newest(lane)->units) < LARGE_UNITS);
    while (!shoal_queue_get_bytes_into(s->queue, message, sizeof(message), &size, SHOAL_NOW))
        ;
    ASSERT_EQ_U64(units_of(s), LARGE_UNITS);
    uint64_t last = (uint64_t)s->first * record_size(SHORT) + RECORD;
    while (atomic_load(&lane->write) + record_size(BURST) + last < lane->room_end)
        put_and_get(s, burst, BURST);
    size = lane->room_end - atomic_load(&lane->write) - last;
    if (size)
        put_and_get(s, burst, size - RECORD);
    put_first(p);
    ASSERT_EQ_U64(atomic_load(&lane->write) + RECORD, lane->room_end);
    ASSERT_EQ_U64(units_of(s), LARGE_UNITS);
}

static void *setup_large(void)
{
    struct state *s = begin(0);

    s->first = 3;
    s->many = 2;
    return ready(s);
}

static void put_several(void *p)
{
    struct state *s = p;

    for (int i = 0; i < s->many; i++)
        put(s, VICTIMS + i);
    s->note->entered = 2;
}

/* Who goes over to the small ring gives the large one back. */
static void take_over(void *p)
{
    struct state *s = p;

    take_all(s);
    ASSERT_LE_INT(units_of(s), FEW_UNITS);
}

static void take_beside(void *p, int i)
{
    (void)i;
    take_all(p);
}

static void go_on(void *p, int i)
{
    (void)i;
    family_look();
    put_another(p);
    ASSERT_OK(get(p, SHOAL_FOREVER));
}

/* What the victim left is the next producer's. */
static void finish_small(void *p)
{
    struct state *s = p;

    family_settle();
    take_all(s);
    put_another(s);
    ASSERT_OK(get(s, SHOAL_NOW));
    ASSERT_LE_INT(units_of(s), FEW_UNITS);
    finish(s);
}

KILL_SCENARIO(lanes_ring_that_becomes_smaller, .setup = setup_large, .prepare = prepare_large_ring,
              .victim = put_several, .after = take_over, .survivor = go_on, .survivors = 1,
              .stopped = take_beside, .state = family_state, .repair = look, .final = finish_small);
/* ---- a producer that is dead, and not repaired yet ---- */

/* A long message, with the step that puts it, but without what its owner writes down after that. */
static void put_unnoted(struct state *s, int number)
{
    struct lanes *q = lanes_of(s);
    struct place place = place_of(s);
    struct shortage shortage = shortage_of(q, &place, SHOAL_NOW);
    unsigned char *bytes;
    void *message;
    struct room r;

    ASSERT_OK(message_create(&message, LONG, 0, &shortage, &bytes));
    memset(bytes, number, LONG);
    struct header *h = handle_of(message)->header;
    struct named named = {header_id(h), handle_of(message)->generation, LONG};
    ASSERT_OK(lanes_begin(q, &place, &r, sizeof(named), &named, SHOAL_NOW));
    memcpy(r.bytes, &named, sizeof(named));
    struct message *m = message_body(h);
    m->position = r.record;
    m->lane = (uint16_t)r.index;
    m->which = 0;
    m->generation = place.generation;
    m->queue = place.id + 1;
    struct segment *segment = newest(r.lane);
    struct record_header *record = record_in(segment, r.at);
    atomic_store(&record_in(segment, r.end)->word, 0);
    record->stamp = r.stamp;
    atomic_store(&r.lane->puts, 1ull << COUNT_BITS | (atomic_load(&r.lane->puts) + 1));
    atomic_store(&record->word, r.word);
}

/* Marks one who has died so, and dies before it has repaired anything. */
static void die_repairing(void *p)
{
    struct state *s = p;
    unsigned slot = 0;
    int status;
    pid_t pid = fork();

    ASSERT_SYS(pid);
    if (!pid) {
        s->note->at[CALLS] = (int)family_slot();
        put_unnoted(s, 0);
        kill(getpid(), SIGKILL);
    }
    ASSERT_EQ_INT(waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    slot = (unsigned)s->note->at[CALLS];
    uint64_t word = atomic_load(&slot_at(slot)->word);
    ASSERT_EQ_INT(slot_status(word), SLOT_ALIVE);
    atomic_store(&slot_at(slot)->word,
                 slot_make((uint32_t)(word >> 32), owner_record(shoal_thread.me), SLOT_DEAD));
}

static void *setup_dead_producer(void)
{
    struct state *s = begin(0);

    s->first = 1;
    s->long_ones = 1;
    family_die_after(die_repairing, s);
    s->note->dead++;
    ready(s);
    family_prepare(s); /* nobody else's fork meets the dead */
    return s;
}

static void *setup_dead_repairer(void) /* nobody puts but the others */
{
    struct state *s = setup_dead_producer();

    s->many = 0;
    return s;
}

/* In its lane, or beside it. */
static void put_once(void *p)
{
    struct state *s = p;

    put(s, VICTIMS);
    s->note->entered = 2;
}

static void repair_beside(void *p, int i)
{
    (void)i;
    look(p);
}

/* The other way round. */
static void repair_once(void *p)
{
    struct state *s = p;

    look(p);
    s->note->entered = 2;
}

static void put_and_take_beside(void *p, int i)
{
    (void)i;
    put_another(p);
    take_all(p);
}

KILL_SCENARIO(lanes_put_meets_repair, .setup = setup_dead_producer, .prepare = family_prepare,
              .victim = put_once, .survivor = go_on, .survivors = 1, .stopped = repair_beside,
              .final = finish);
KILL_SCENARIO(lanes_repair_meets_put, .setup = setup_dead_repairer, .prepare = family_prepare,
              .victim = repair_once, .survivor = go_on, .survivors = 1,
              .stopped = put_and_take_beside, .state = family_state, .repair = look,
              .final = finish);
/* ---- places for segments that are used again ---- */

/* Its lane leads on into another segment. */
static void lead_on(struct state *s)
{
    ASSERT_OK(lane_grow(&lanes_of(s)->first[0], place_of(s).id, SHORT, true));
}

/* The victim has taken the first message of the newest of two segments. All others get new contents, and its own, too; those in
 * between are taken, but for the last one's. */
static void go_once_round(void *p, int i)
{
    struct state *s = p;
    struct lane *lane = &lanes_of(s)->first[0];

    (void)i;
    put(s, 0);
    lead_on(s);
    put(s, 1);
    kill_partner_ready();
    kill_await_stopped();
    if (!kill_victim_is_stopped())
        return;
    uint32_t victims = atomic_load(&lane->last);
    for (unsigned k = 1; k < LANE_SEGMENTS; k++) {
        lead_on(s);
        put_another(s);
        if (k < LANE_SEGMENTS - 1)
            ASSERT_OK(get(s, SHOAL_NOW));
    }
    put_another(s);
    lead_on(s);
    ASSERT_EQ_U64(atomic_load(&lane->last), victims);
    put_another(s);
    family_set(&s->note->at[DONE]);
}

static void *setup_two_segments(void)
{
    struct state *s = begin(0);

    s->first = 2;
    s->many = 0;
    return ready(s);
}

static void prepare_beyond_link(void *p)
{
    family_prepare(p);
    take_all(p);
}

/* What every take does that leads into another segment. */
static void give_memory_back(void *p)
{
    struct state *s = p;

    lane_free_drained(&lanes_of(s)->first[0], place_of(s).id);
    s->note->entered = 2;
}

static void await_done(void *p, int i)
{
    struct state *s = p;

    (void)i;
    family_await(&s->note->at[DONE]);
}

KILL_SCENARIO(lanes_places_go_once_round, .setup = setup_two_segments,
              .prepare = prepare_beyond_link, .victim = give_memory_back, .partner = go_once_round,
              .survivor = go_on, .survivors = 1, .stopped = await_done, .final = finish,
              .flags = KILL_EVERY_INSTRUCTION);
/* ---- an end that is told beside a put, to those who sleep ---- */

static void prepare_lane(void *p)
{
    struct state *s = p;

    family_prepare(p);
    put(s, 0);
    ASSERT_OK(get(s, SHOAL_NOW));
    ASSERT_OK(shoal_queue_task_done(s->queue));
    s->counts[0] = 0;
}

static void note_put(struct state *s, int rc)
{
    if (rc)
        ASSERT_ERR(rc, -EPIPE);
    else
        s->note->entered = 2;
}

static void put_or_come_too_late(void *p)
{
    note_put(p, try_put(p, VICTIMS));
}

static void commit_or_come_too_late(void *p)
{
    struct state *s = p;
    shoal_message message;
    int rc = shoal_queue_reserve(s->queue, &message, SHORT, SHOAL_FOREVER);

    if (!rc) {
        memset(message.bytes, VICTIMS, SHORT);
        rc = shoal_queue_commit(s->queue, &message, SHOAL_FOREVER);
        if (rc)
            shoal_message_release(&message);
    }
    note_put(s, rc);
}

/* Nobody ends before both are awake: that would wake the other. */
static void leave_sleep(struct state *s)
{
    if (__atomic_add_fetch(&s->note->at[CALLS], 1, __ATOMIC_SEQ_CST) == 2)
        family_set(&s->note->at[OVER]);
    family_await(&s->note->at[OVER]);
}

/* Shuts it when the victim has stopped (or is over), and then the one sleeps until all has been taken, and the other one until all
 * is finished, if the put is under way. */
static void await_end(void *p, int i)
{
    struct state *s = p;
    int rc;

    s->note->at[PIDS + i] = getpid();
    kill_await_stopped();
    ASSERT_OK(shoal_queue_shutdown(s->queue, 0));
    if (i) {
        ASSERT_OK(shoal_queue_join(s->queue, SHOAL_FOREVER));
    } else {
        while (!(rc = get(s, SHOAL_FOREVER)))
            ASSERT_OK(shoal_queue_task_done(s->queue));
        ASSERT_ERR(rc, -EPIPE);
    }
    leave_sleep(s);
}

/* Whether partner k sleeps in a futex by now. */
static bool sleeps(struct state *s, int k)
{
    char path[64], text[100];
    long call;

    snprintf(path, sizeof(path), "/proc/%d/syscall", s->note->at[PIDS + k]);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    text[fread(text, 1, sizeof(text) - 1, f)] = 0;
    fclose(f);
    return sscanf(text, "%ld", &call) == 1 && (call == SYS_futex || call == SYS_FUTEX_WAITV);
}

static int awake(struct state *s)
{
    return __atomic_load_n(&s->note->at[CALLS], __ATOMIC_SEQ_CST);
}

/* Until each sleeps in its call, if it has not come back from there. It leaves first: its end would wake them. */
static void await_sleepers(void *p, int i)
{
    struct state *s = p;
    struct timespec nap = {0, 500000};

    (void)i;
    family_leave();
    while (awake(s) < 2 &&
           (awake(s) + family_sleepers(s->queue) < 2 || !sleeps(s, 0) || !sleeps(s, 1)))
        nanosleep(&nap, NULL);
}

/* It lives on until they were woken: by its call, not by its end. */
static void outlive(void *p)
{
    struct state *s = p;

    if (atomic_load(&lanes_of(s)->closed) & LANES_SHUT)
        family_await(&s->note->at[OVER]);
}

static void find_end(void *p, int i)
{
    struct state *s = p;

    (void)i;
    family_look();
    family_await(&s->note->at[OVER]);
    ASSERT_ERR(get(s, SHOAL_FOREVER), -EPIPE);
    ASSERT_OK(shoal_queue_join(s->queue, SHOAL_FOREVER));
}

KILL_SCENARIO(lanes_put_meets_end_and_sleepers, .setup = setup_empty, .prepare = prepare_lane,
              .victim = put_or_come_too_late, .after = outlive, .partner = await_end, .partners = 2,
              .survivor = find_end, .survivors = 1, .stopped = await_sleepers, .final = finish,
              .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(lanes_put_bounded_meets_end_and_sleepers, .setup = setup_bounded,
              .prepare = prepare_lane, .victim = put_or_come_too_late, .after = outlive,
              .partner = await_end, .partners = 2, .survivor = find_end, .survivors = 1,
              .stopped = await_sleepers, .final = finish);
KILL_SCENARIO(lanes_commit_meets_end_and_sleepers, .setup = setup_empty, .prepare = prepare_lane,
              .victim = commit_or_come_too_late, .after = outlive, .partner = await_end,
              .partners = 2, .survivor = find_end, .survivors = 1, .stopped = await_sleepers,
              .final = finish);
/* ---- what is finished ---- */

/* Two were put and taken, and neither is finished. */
static void *setup_unfinished(void)
{
    struct state *s = begin(0);

    s->first = 2;
    put_first(s);
    take_all(s);
    s->many = 0;
    return ready(s);
}

static void prepare_one_finished(void *p)
{
    struct state *s = p;

    family_prepare(p);
    ASSERT_OK(shoal_queue_task_done(s->queue));
}

/* Others may be quicker. */
static void finish_one(void *p)
{
    struct state *s = p;
    int rc = shoal_queue_task_done(s->queue);

    if (rc)
        ASSERT_ERR(rc, -EINVAL);
    s->note->entered = 2;
}

static void finish_both(void *p)
{
    finish_one(p);
    finish_one(p);
}

static void join(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_queue_join(s->queue, SHOAL_FOREVER));
    s->note->entered = 2;
}

static void await_finished(void *p, int i)
{
    struct state *s = p;

    (void)i;
    kill_await_begun();
    ASSERT_OK(shoal_queue_join(s->queue, SHOAL_FOREVER));
    family_set(&s->note->at[OVER]);
}

static void outlive_joiner(void *p)
{
    struct state *s = p;

    family_await(&s->note->at[OVER]);
}

/* What the victim did not come to. */
static void finish_the_rest(void *p, int i)
{
    struct state *s = p;
    int rc;

    (void)i;
    family_look();
    while (!(rc = shoal_queue_task_done(s->queue)))
        ;
    ASSERT_ERR(rc, -EINVAL);
    ASSERT_OK(shoal_queue_join(s->queue, SHOAL_NOW));
}

static void finish_when_asleep(void *p, int i)
{
    (void)i;
    kill_await_asleep(1);
    finish_both(p);
}

static void finish_finished(void *p)
{
    struct state *s = p;

    ASSERT_EQ_U64(atomic_load(&lanes_of(s)->done), 2);
    ASSERT_ERR(shoal_queue_task_done(s->queue), -EINVAL);
    finish(p);
}

KILL_SCENARIO(lanes_task_done_for_joiner, .setup = setup_unfinished,
              .prepare = prepare_one_finished, .victim = finish_one, .after = outlive_joiner,
              .partner = await_finished, .survivor = finish_the_rest, .survivors = 1,
              .stopped = finish_the_rest, .final = finish_finished,
              .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(lanes_task_done_twice, .setup = setup_unfinished, .prepare = family_prepare,
              .victim = finish_both, .survivor = finish_the_rest, .survivors = 1,
              .stopped = finish_the_rest, .state = family_state, .repair = look,
              .final = finish_finished);
KILL_SCENARIO(lanes_join_waits, .setup = setup_unfinished, .prepare = family_prepare,
              .victim = join, .partner = finish_when_asleep, .survivor = finish_the_rest,
              .survivors = 1, .stopped = finish_the_rest, .state = family_state, .repair = look,
              .final = finish_finished);
/* ---- an end at once ---- */

static void *setup_one(void)
{
    struct state *s = begin(0);

    s->first = 1;
    put_first(s);
    return ready(s);
}

static void *setup_one_long(void)
{
    struct state *s = begin(0);

    s->first = 1;
    s->long_ones = 1;
    put_first(s);
    return ready(s);
}

static void drop_all(void *p)
{
    struct state *s = p;

    ASSERT_OK(shoal_queue_shutdown(s->queue, 1));
    s->note->entered = 2;
}

/* After its own call nothing is left, whoever else was about it. */
static void drop_too(void *p, int i)
{
    struct state *s = p;

    (void)i;
    ASSERT_OK(shoal_queue_shutdown(s->queue, 1));
    ASSERT_ERR(try_put(s, VICTIMS), -EPIPE);
    ASSERT_ERR(get(s, SHOAL_FOREVER), -EPIPE);
    ASSERT_OK(shoal_queue_join(s->queue, SHOAL_FOREVER));
}

static void finish_dropped(void *p)
{
    struct state *s = p;

    family_settle();
    ASSERT_ERR(get(s, SHOAL_FOREVER), -EPIPE);
    ASSERT_EQ_INT(shoal_queue_qsize(s->queue), 0);
    family_check(s->note->before);
}

KILL_SCENARIO(lanes_shutdown_at_once_for_joiner, .setup = setup_one, .prepare = family_prepare,
              .victim = drop_all, .after = outlive_joiner, .partner = await_finished,
              .survivor = drop_too, .survivors = 1, .stopped = drop_too, .final = finish_dropped);
KILL_SCENARIO(lanes_shutdown_at_once_of_long, .setup = setup_one_long, .prepare = family_prepare,
              .victim = drop_all, .survivor = drop_too, .survivors = 1, .stopped = drop_too,
              .state = family_state, .repair = look, .final = finish_dropped);
/* ---- a message that is not put after all ---- */

static void reserve(struct state *s, size_t size)
{
    ASSERT_OK(shoal_queue_reserve(s->queue, &s->message, size, SHOAL_FOREVER));
    ((unsigned char *)s->message.bytes)[0] = VICTIMS;
}

static void release(void *p)
{
    struct state *s = p;

    shoal_message_release(&s->message);
    ASSERT_NULL(s->message.bytes);
}

static void reserve_and_release(void *p)
{
    reserve(p, SHORT);
    release(p);
}

static void prepare_released(void *p)
{
    family_prepare(p);
    reserve_and_release(p);
}

static void prepare_reserved(void *p)
{
    family_prepare(p);
    reserve(p, LONG);
}

static void count_beside(void *p, int i)
{
    struct state *s = p;

    (void)i;
    ASSERT_EQ_INT(shoal_queue_qsize(s->queue), 0);
}

KILL_SCENARIO(lanes_reserved_and_released, .setup = setup_empty, .prepare = prepare_released,
              .victim = reserve_and_release, .survivor = go_on, .survivors = 1,
              .stopped = count_beside, .final = finish, .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(lanes_reserved_long_and_released, .setup = setup_empty, .prepare = prepare_reserved,
              .victim = release, .survivor = go_on, .survivors = 1, .stopped = count_beside,
              .state = family_state, .repair = look, .final = finish);
