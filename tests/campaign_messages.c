/* campaign_messages.c: messages in the random campaign, and their conservation.
 *
 * Each message has a number, of which all its bytes are made, and a fate, which lies outside of the region. There its putter writes that it begins, and after the call that it was
 * reported or refused; who takes it writes that it was taken. Of one that is killed it is known what it was about to put or take, so only that is unknown. What must hold:
 *
 *     each is taken once    but for those that were gone with a killed one, of one call at most
 *     none is taken that nobody put, or whose put was refused; each is whole, in the place where it was put
 *     order                 FIFO queues and pipes: what one put later is not taken before by one; nor what was begun after the other's put had returned
 *     empty ones            have no number, so they are counted
 *     the queue's counts    qsize, and what task_done counts
 *     the end of a pipe     comes behind all that was sent, however its peer ended
 *     what is carried       objects in anys open, and are the ones that were put
 *
 * A message that is handed on from queue to queue is rewritten to a new one on the way.
 */
#define _GNU_SOURCE
#include "campaign.h"

#include "runner/check.h"

#include <errno.h>
#include <shoal/shoal.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LONGEST = 70000,
    SEVERAL = 6,
    MOST_MESSAGES = 1 << 26, /* with half of them workers have done enough */
    /* until there are so many more are put, then more taken until there are few */
    MOST_WAITING = 2000,
    RUN = 300,
};

/* Where messages are put and taken: a queue, or one direction of a pipe. */
struct channel {
    const char *name;
    unsigned kind;
    uint64_t maxsize;
    bool anys;
    int pipe; /* 1 + number of the pipe, the second half of them backwards; 0: a queue */
    shoal_queue *queue;
    shoal_connection *in, *out;
};

static struct channel channels[] = {
    {.name = "FIFO"},
    {.name = "FIFO of 8", .maxsize = 8},
    {.name = "LIFO", .kind = SHOAL_LIFO},
    {.name = "PRIORITY", .kind = SHOAL_PRIORITY},
    {.name = "PRIORITY of 8", .kind = SHOAL_PRIORITY, .maxsize = 8},
    {.name = "FIFO, anys", .anys = true},
    {.name = "LIFO of 8, anys", .kind = SHOAL_LIFO, .maxsize = 8, .anys = true},
    {.name = "PRIORITY, anys", .kind = SHOAL_PRIORITY, .anys = true},
    {.name = "pipe", .pipe = 1},
    {.name = "pipe, backwards", .pipe = 3},
    {.name = "pipe, anys", .pipe = 2, .anys = true},
    {.name = "pipe, anys, backwards", .pipe = 4, .anys = true},
};
enum { CHANNELS = sizeof(channels) / sizeof(*channels), PLAIN_QUEUES = 5, PIPES = 2 };

enum { REPORTED = 1, REFUSED = 2, TAKEN = 4, EMPTY = 8 };

struct fate {
    uint32_t life;     /* who put it */
    uint32_t size;     /* of an any, of the bytes in it */
    uint32_t returned; /* so many were begun when its put had returned; 0: it had not */
    uint8_t channel, flags;
};

/* A worker's, as in campaign.c. */
struct line {
    uint32_t life;                /* each process has another one */
    int channel, putting, taking; /* how many at most are under way */
    uint64_t put_empty[CHANNELS], took_empty[CHANNELS];
} __attribute__((aligned(64)));

static struct shared {
    uint32_t lives, begun;
    uint32_t over; /* refused or taken, but for what killed ones did */
    bool takes;    /* more than is put */
    /* by the root: what killed ones had under way */
    uint64_t unknown_put[CHANNELS], unknown_taken[CHANNELS];
    struct line line[MOST_WORKERS + 1];
    struct fate fate[MOST_MESSAGES];
} * shared;

static struct line *mine;
static shoal_connection *ends[PIPES][2];
static unsigned char buffer[SEVERAL * LONGEST];
static bool ended;    /* the root: nothing is put any more */
static bool in_a_run; /* short messages, and nothing in between */

static int number_of(const struct channel *c)
{
    return (int)(c - channels);
}

/* ---- what a message consists of ---- */

static void fill(unsigned char *to, uint32_t number, size_t size)
{
    for (size_t i = 0; i < size; i += 4) {
        uint32_t word = number + (uint32_t)i * 0x9e3779b9u;
        memcpy(to + i, &word, size - i < 4 ? size - i : 4);
    }
}

static void must_be_whole(const struct channel *c, const unsigned char *bytes, uint32_t number,
                          size_t size)
{
    for (size_t i = 0; i < size; i += 4) {
        uint32_t word = number + (uint32_t)i * 0x9e3779b9u;
        if (memcmp(bytes + i, &word, size - i < 4 ? size - i : 4))
            FAIL("%s: message %u of %zu bytes is not whole, from byte %zu on", c->name, number,
                 size, i);
    }
}

static uint32_t some_size(void)
{
    static const uint32_t sizes[] = {0,    0,    4,    4,    8,    17,   60,   300,
                                     1000, 2000, 4095, 4096, 4097, 5000, 9000, LONGEST};

    return sizes[random_below(in_a_run ? 6 : 16)];
}

static void pause_perhaps(void)
{
    if (!in_a_run)
        linger();
}

static int64_t until(void)
{
    return in_a_run || random_below(4) ? SHOAL_NOW : some_deadline();
}

/* What travels in an any beside its bytes, made of the number: nothing, memory, a queue, or an end of a pipe, with the number in it. */
static shoal_any *carried(uint32_t number)
{
    shoal_any *any;
    shoal_memory *memory;
    shoal_queue *queue;
    shoal_connection *here, *there;

    switch (number % 5) {
    case 0:
        ASSERT_OK(shoal_memory_create(&memory, 100, NULL));
        memcpy(shoal_memory_address(memory), &number, sizeof(number));
        any = shoal_any_object(memory);
        shoal_memory_close(memory);
        return any;
    case 1:
        ASSERT_OK(shoal_queue_create(&queue, NULL));
        ASSERT_OK(shoal_queue_put_bytes(queue, &number, sizeof(number), SHOAL_FOREVER));
        any = shoal_any_object(queue);
        shoal_queue_close(queue);
        return any;
    case 2:
        ASSERT_OK(shoal_pipe(&here, &there, NULL));
        ASSERT_OK(shoal_connection_send_bytes(there, &number, sizeof(number), SHOAL_FOREVER));
        shoal_connection_close(there);
        any = shoal_any_object(here);
        shoal_connection_close(here);
        return any;
    default: return shoal_any_none();
    }
}

static void must_carry(const shoal_any *any, uint32_t number)
{
    shoal_reference reference;
    shoal_memory *memory;
    shoal_queue *queue;
    shoal_connection *end;
    uint32_t there = 0;
    size_t size;

    if (number % 5 > 2) {
        ASSERT_EQ_INT(shoal_any_kind(any), SHOAL_ANY_NONE);
        return;
    }
    ASSERT_OK(shoal_any_as_reference(any, &reference));
    switch (number % 5) {
    case 0:
        ASSERT_OK(shoal_memory_open(&memory, &reference));
        memcpy(&there, shoal_memory_address(memory), sizeof(there));
        shoal_memory_close(memory);
        break;
    case 1:
        ASSERT_OK(shoal_queue_open(&queue, &reference));
        ASSERT_OK(shoal_queue_get_bytes_into(queue, &there, sizeof(there), &size, SHOAL_NOW));
        shoal_queue_close(queue);
        break;
    default:
        ASSERT_OK(shoal_connection_open(&end, &reference));
        ASSERT_OK(shoal_connection_recv_bytes_into(end, &there, sizeof(there), &size, SHOAL_NOW));
        ASSERT_ERR(shoal_connection_recv_bytes_into(end, &size, sizeof(size), &size, SHOAL_NOW),
                   -EPIPE);
        shoal_connection_close(end);
        break;
    }
    ASSERT_EQ_INT(there, number);
}

/* ---- writing down ---- */

/* The first of n numbers. */
static uint32_t begin_put(const struct channel *c, int n, const uint32_t sizes[])
{
    mine->channel = number_of(c);
    __atomic_store_n(&mine->putting, n, __ATOMIC_SEQ_CST);
    uint32_t first = __atomic_fetch_add(&shared->begun, (uint32_t)n, __ATOMIC_SEQ_CST);
    for (int i = 0; i < n; i++)
        shared->fate[first + (uint32_t)i] = (struct fate){.life = mine->life,
                                                          .size = sizes[i],
                                                          .channel = (uint8_t)number_of(c),
                                                          .flags = sizes[i] || c->anys ? 0 : EMPTY};
    return first;
}

/* The call told `rc`; unless that is an error, `put` of n messages were put. */
static void end_put(const struct channel *c, uint32_t first, int n, int rc, int put)
{
    uint32_t begun = __atomic_load_n(&shared->begun, __ATOMIC_SEQ_CST);

    if (rc < 0 && !came_to_nothing(rc))
        FAIL("%s: the put of message %u told %d: %s", c->name, first, rc, shoal_error_detail());
    if (rc < 0)
        put = 0;
    for (int i = 0; i < n; i++) {
        struct fate *f = &shared->fate[first + (uint32_t)i];
        if (__atomic_load_n(&f->flags, __ATOMIC_RELAXED) & EMPTY) {
            __atomic_add_fetch(&shared->over, 1, __ATOMIC_RELAXED); /* of those nothing is known */
            mine->put_empty[number_of(c)] += i < put;
            continue;
        }
        if (i < put)
            __atomic_store_n(&f->returned, begun, __ATOMIC_SEQ_CST);
        int flags = __atomic_fetch_or(&f->flags, i < put ? REPORTED : REFUSED, __ATOMIC_SEQ_CST);
        if (i >= put)
            __atomic_add_fetch(&shared->over, 1, __ATOMIC_RELAXED);
        if (i >= put && flags & TAKEN)
            FAIL("%s: message %u was taken, and its put told %d", c->name, first + (uint32_t)i, rc);
    }
    __atomic_store_n(&mine->putting, 0, __ATOMIC_SEQ_CST);
}

static void begin_take(const struct channel *c, int most)
{
    mine->channel = number_of(c);
    __atomic_store_n(&mine->taking, most, __ATOMIC_SEQ_CST);
}

static int end_take(int rc)
{
    if (rc < 0 && !came_to_nothing(rc) && !(ended && rc == -EPIPE))
        FAIL("%s: a take told %d: %s", channels[mine->channel].name, rc, shoal_error_detail());
    __atomic_store_n(&mine->taking, 0, __ATOMIC_SEQ_CST);
    return rc;
}

/* What this process took before, and its ancestors. */
static void check_order(const struct channel *c, const struct fate *f, uint32_t number)
{
    static struct last {
        uint32_t life, number;
    } lasts[CHANNELS][MOST_WORKERS + 1];
    static uint32_t newest[CHANNELS];
    struct last *last = &lasts[number_of(c)][f->life % (MOST_WORKERS + 1)];
    uint32_t returned = __atomic_load_n(&f->returned, __ATOMIC_SEQ_CST);

    if (last->life == f->life && last->number >= number)
        FAIL("%s: message %u came after %u, which the same one put later", c->name, number,
             last->number);
    if (returned && newest[number_of(c)] >= returned)
        FAIL("%s: message %u came after %u, which was not begun when its put had returned", c->name,
             number, newest[number_of(c)]);
    *last = (struct last){f->life, number};
    if (number > newest[number_of(c)])
        newest[number_of(c)] = number;
}

static void write_down(const struct channel *c, uint32_t number, size_t size)
{
    uint32_t begun = __atomic_load_n(&shared->begun, __ATOMIC_SEQ_CST);
    struct fate *f = &shared->fate[number % MOST_MESSAGES];

    if (number >= begun)
        FAIL("%s: a message of %zu bytes says that it is number %u, and %u were begun", c->name,
             size, number, begun);
    if (f->channel != number_of(c) || f->size != size)
        FAIL("%s: message %u has %zu bytes; it was put into %s, with %u", c->name, number, size,
             channels[f->channel].name, f->size);
    int flags = __atomic_fetch_or(&f->flags, TAKEN, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&shared->over, 1, __ATOMIC_RELAXED);
    if (flags & TAKEN)
        FAIL("%s: message %u was taken twice", c->name, number);
    if (flags & REFUSED)
        FAIL("%s: message %u was taken, and its put came to nothing", c->name, number);
    if (c->kind == SHOAL_FIFO)
        check_order(c, f, number);
}

/* Whose number it is: 0 for an empty one. */
static uint32_t took(const struct channel *c, const void *bytes, size_t size)
{
    uint32_t number = UINT32_MAX;

    if (!size) {
        mine->took_empty[number_of(c)]++;
        return 0;
    }
    memcpy(&number, bytes, size < 4 ? size : 4);
    write_down(c, number, size);
    must_be_whole(c, bytes, number, size);
    return number;
}

/* ---- putting ---- */

static void put_one(const struct channel *c, int64_t deadline)
{
    uint32_t size = some_size(), number = begin_put(c, 1, &size);

    fill(buffer, number, size);
    int rc = c->queue ? shoal_queue_put_bytes(c->queue, buffer, size, deadline)
                      : shoal_connection_send_bytes(c->out, buffer, size, deadline);
    end_put(c, number, 1, rc, 1);
}

static void put_any(const struct channel *c, int64_t deadline)
{
    uint32_t size = some_size(), number = begin_put(c, 1, &size);

    fill(buffer, number, size);
    shoal_any *any =
        shoal_any_list(shoal_any_uint(number), shoal_any_bytes(buffer, size), carried(number));
    int rc = c->queue ? shoal_queue_put(c->queue, any, deadline)
                      : shoal_connection_send(c->out, any, deadline);
    shoal_any_free(any);
    end_put(c, number, 1, rc, 1);
}

static void put_several(const struct channel *c, int64_t deadline)
{
    int n = 1 + (int)random_below(SEVERAL);
    shoal_bytes messages[SEVERAL];
    uint32_t sizes[SEVERAL] = {0};

    for (int i = 0; i < n; i++)
        sizes[i] = some_size();
    uint32_t first = begin_put(c, n, sizes);
    for (int i = 0; i < n; i++) {
        messages[i] = (shoal_bytes){buffer + i * LONGEST, sizes[i]};
        fill(buffer + i * LONGEST, first + (uint32_t)i, sizes[i]);
    }
    int rc = shoal_queue_put_many(c->queue, messages, (size_t)n, deadline);
    end_put(c, first, n, rc, rc);
}

/* Puts a message that is the caller's, as a new one. */
static void commit(const struct channel *c, shoal_message *m, uint32_t size, int64_t deadline)
{
    uint32_t number = begin_put(c, 1, &size);

    fill(m->bytes, number, size);
    m->size = size;
    pause_perhaps();
    int rc = shoal_queue_commit(c->queue, m, deadline);
    end_put(c, number, 1, rc, 1);
    shoal_message_release(m);
}

static void put_reserved(const struct channel *c, int64_t deadline)
{
    uint32_t size = some_size();
    shoal_message m;

    int rc = shoal_queue_reserve(c->queue, &m, size + (random_below(2) ? 0 : 100), deadline);
    if (came_to_nothing(rc))
        return;
    ASSERT_OK(rc);
    commit(c, &m, size, deadline);
}

/* ---- taking: as the calls do ---- */

static int take_one(const struct channel *c, int64_t deadline)
{
    void *bytes;
    size_t size;

    begin_take(c, 1);
    int rc = c->queue ? shoal_queue_get_bytes(c->queue, &bytes, &size, deadline)
                      : shoal_connection_recv_bytes(c->in, &bytes, &size, deadline);
    if (!rc) {
        took(c, bytes, size);
        free(bytes);
    }
    return end_take(rc);
}

static int take_into(const struct channel *c, int64_t deadline)
{
    size_t size, capacity = random_below(3) ? LONGEST : 100;

    begin_take(c, 1);
    int rc = c->queue ? shoal_queue_get_bytes_into(c->queue, buffer, capacity, &size, deadline)
                      : shoal_connection_recv_bytes_into(c->in, buffer, capacity, &size, deadline);
    if (!rc)
        took(c, buffer, size);
    if (rc == -EMSGSIZE && size > capacity) /* and it stays */
        rc = -EAGAIN;
    return end_take(rc);
}

static int take_any(const struct channel *c, int64_t deadline)
{
    shoal_any *any;
    const shoal_any *items[3];
    const void *bytes;
    uint64_t number;
    size_t size;

    begin_take(c, 1);
    int rc = c->queue ? shoal_queue_get(c->queue, &any, deadline)
                      : shoal_connection_recv(c->in, &any, deadline);
    if (rc)
        return end_take(rc);
    for (int i = 0; i < 3; i++)
        ASSERT_OK(shoal_any_at(any, i, &items[i]));
    ASSERT_OK(shoal_any_as_uint(items[0], &number));
    ASSERT_OK(shoal_any_as_bytes(items[1], &bytes, &size));
    write_down(c, (uint32_t)number, size);
    must_be_whole(c, bytes, (uint32_t)number, size);
    end_take(0);
    must_carry(items[2], (uint32_t)number);
    shoal_any_free(any);
    return 0;
}

static int take_several(const struct channel *c, int64_t deadline)
{
    int most = 1 + (int)random_below(SEVERAL);
    shoal_bytes messages[SEVERAL];

    begin_take(c, most);
    int rc = shoal_queue_get_many(c->queue, messages, (size_t)most, buffer,
                                  random_below(2) ? LONGEST : sizeof(buffer), deadline);
    for (int i = 0; i < rc; i++)
        took(c, messages[i].bytes, messages[i].size);
    return end_take(rc);
}

/* It ends here, or is handed on to some other queue. */
static int take_viewed(const struct channel *c, int64_t deadline)
{
    shoal_message m;

    begin_take(c, 1);
    int rc = shoal_queue_view(c->queue, &m, deadline);
    if (rc)
        return end_take(rc);
    uint32_t number = took(c, m.bytes, m.size);
    end_take(0);
    pause_perhaps();
    if (random_below(2)) {
        bool cut = m.size > 4 && random_below(2);
        doing("handing a message on");
        commit(&channels[random_below(PLAIN_QUEUES)], &m,
               cut ? 4 + random_below((uint32_t)m.size - 4) : (uint32_t)m.size, until());
    } else {
        must_be_whole(c, m.bytes, number, m.size); /* nobody has changed it */
        shoal_message_release(&m);
    }
    return 0;
}

/* ---- what workers and the root do ---- */

static void put_somehow(const struct channel *c)
{
    static void (*const ways[])(const struct channel *, int64_t) = {put_one, put_several,
                                                                    put_reserved};

    if (c->anys)
        put_any(c, until());
    else
        ways[c->pipe ? 0 : random_below(3)](c, until());
}

static void take_somehow(const struct channel *c)
{
    static int (*const ways[])(const struct channel *, int64_t) = {take_one, take_into,
                                                                   take_several, take_viewed};

    if (c->anys)
        take_any(c, until());
    else
        ways[random_below(c->pipe ? 2 : 4)](c, until());
}

/* A pipe to a child that ends while it sends, or is killed: what it had sent is heard, and then that it is gone. */
static void hear_a_child(void)
{
    static const struct channel c = {.name = "a child's pipe"};
    shoal_connection *here, *there;
    uint32_t got = 0;
    size_t size;
    int rc;

    doing(c.name);
    uint32_t *sent =
        mmap(NULL, sizeof(*sent), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_TRUE(sent != MAP_FAILED);
    ASSERT_OK(shoal_pipe(&here, &there, NULL));
    pid_t pid = fork();
    ASSERT_SYS(pid);
    if (!pid) {
        for (uint32_t i = 0; i < 50; i++) {
            fill(buffer, i, i * 100);
            ASSERT_OK(shoal_connection_send_bytes(there, buffer, i * 100, SHOAL_FOREVER));
            __atomic_store_n(sent, i + 1, __ATOMIC_SEQ_CST);
        }
        if (random_below(2))
            exit(0);
        _exit(0);
    }
    shoal_connection_close(there);
    linger();
    if (random_below(2))
        kill(pid, SIGKILL);
    while (!(rc = shoal_connection_recv_bytes_into(here, buffer, LONGEST, &size, SHOAL_FOREVER))) {
        ASSERT_EQ_INT(size, got * 100);
        must_be_whole(&c, buffer, got++, size);
    }
    ASSERT_EQ_INT(rc, -EPIPE);
    uint32_t reported = __atomic_load_n(sent, __ATOMIC_SEQ_CST);
    if (got < reported || got > reported + 1)
        FAIL("%s: %u messages came, and it had sent %u", c.name, got, reported);
    waitpid(pid, NULL, 0);
    shoal_connection_close(here);
    munmap(sent, sizeof(*sent));
}

/* One, or many in a run: so that some are killed between the steps of a put or take, and not only beside them. */
void messages_use(void)
{
    const struct channel *c = &channels[random_below(CHANNELS)];
    uint32_t begun = __atomic_load_n(&shared->begun, __ATOMIC_RELAXED);
    int32_t waiting = (int32_t)(begun - __atomic_load_n(&shared->over, __ATOMIC_RELAXED));
    bool takes = __atomic_load_n(&shared->takes, __ATOMIC_RELAXED);
    if (takes ? waiting < MOST_WAITING / 10 : waiting > MOST_WAITING)
        __atomic_store_n(&shared->takes, takes = !takes, __ATOMIC_RELAXED);
    bool puts = random_below(100) < (takes ? 35u : 55u);

    if (begun > MOST_MESSAGES / 2)
        return;
    if (!random_below(600)) {
        hear_a_child();
        return;
    }
    in_a_run = !random_below(12);
    for (int i = 0; i < (in_a_run ? RUN : 1); i++) {
        doing(c->name);
        puts ? put_somehow(c) : take_somehow(c);
    }
}

void messages_feed(void)
{
    for (const struct channel *c = channels; c < channels + CHANNELS; c++) {
        if (!random_below(2))
            c->anys ? take_any(c, SHOAL_NOW) : take_one(c, SHOAL_NOW);
        else if (c->anys)
            put_any(c, SHOAL_NOW);
        else
            put_one(c, SHOAL_NOW);
    }
}

void messages_begin(int worker)
{
    mine = &shared->line[worker];
    mine->life = __atomic_add_fetch(&shared->lives, 1, __ATOMIC_SEQ_CST) * (MOST_WORKERS + 1) +
                 (uint32_t)worker;
}

void messages_bury(int worker)
{
    struct line *line = &shared->line[worker];

    shared->unknown_put[line->channel] += (uint64_t)line->putting;
    shared->unknown_taken[line->channel] += (uint64_t)line->taking;
    line->putting = line->taking = 0;
}

void messages_create(void)
{
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT_TRUE(shared != MAP_FAILED);
    for (int i = 0; i < PIPES; i++)
        ASSERT_OK(shoal_pipe(&ends[i][0], &ends[i][1], NULL));
    for (struct channel *c = channels; c < channels + CHANNELS; c++) {
        shoal_queue_options options = {.kind = c->kind, .maxsize = c->maxsize};
        if (c->pipe) {
            bool backwards = c->pipe > PIPES;
            c->in = ends[(c->pipe - 1) % PIPES][backwards];
            c->out = ends[(c->pipe - 1) % PIPES][!backwards];
        } else {
            ASSERT_OK(shoal_queue_create(&c->queue, &options));
        }
    }
    messages_begin(MOST_WORKERS);
}

/* ---- judging ---- */

/* Of a channel. */
struct tally {
    uint64_t reported, taken, lost, put_empty, took_empty;
    uint32_t a_lost_one;
};

/* Takes all that is there: whether it was as much as the queue says. */
static bool drain(const struct channel *c)
{
    int64_t says = c->queue ? shoal_queue_qsize(c->queue) : 0, n = 0;
    int rc;

    if (c->queue)
        ASSERT_OK(shoal_queue_shutdown(c->queue, 0));
    while (!(rc = c->anys ? take_any(c, SHOAL_NOW) : take_one(c, SHOAL_NOW)))
        n++;
    ASSERT_EQ_INT(rc, c->queue ? -EPIPE : -EAGAIN);
    if (c->queue && n != says)
        printf("%s: %lld messages were in it, and its size was %lld\n", c->name, (long long)n,
               (long long)says);
    return !c->queue || n == says;
}

/* Begun, and neither reported nor refused: how many. */
static uint64_t count(struct tally tallies[])
{
    uint64_t unknown = 0;

    for (uint32_t i = 0; i < shared->begun; i++) {
        const struct fate *f = &shared->fate[i];
        struct tally *t = &tallies[f->channel];
        if (f->flags & EMPTY)
            continue;
        unknown += !(f->flags & (REPORTED | REFUSED));
        t->reported += !!(f->flags & REPORTED);
        t->taken += !!(f->flags & TAKEN);
        if ((f->flags & (REPORTED | TAKEN)) == REPORTED) {
            t->lost++;
            t->a_lost_one = i;
        }
    }
    for (int w = 0; w <= MOST_WORKERS; w++) {
        for (int i = 0; i < CHANNELS; i++) {
            tallies[i].put_empty += shared->line[w].put_empty[i];
            tallies[i].took_empty += shared->line[w].took_empty[i];
        }
    }
    return unknown;
}

static bool conserved(const struct channel *c, const struct tally *t)
{
    uint64_t gone = shared->unknown_taken[number_of(c)], put = shared->unknown_put[number_of(c)];
    uint64_t lost_empty = t->put_empty > t->took_empty ? t->put_empty - t->took_empty : 0;
    uint64_t reported = t->reported + t->put_empty;
    bool good = true;

    if (t->lost + lost_empty > gone) {
        printf("%s: %llu messages and %llu empty ones of %llu were put and not taken, number %u "
               "for one; %llu can have gone with killed ones\n",
               c->name, (unsigned long long)t->lost, (unsigned long long)lost_empty,
               (unsigned long long)reported, t->a_lost_one, (unsigned long long)gone);
        good = false;
    }
    if (t->took_empty > t->put_empty + put) {
        printf("%s: %llu empty messages were taken, %llu put, and %llu by killed ones, perhaps\n",
               c->name, (unsigned long long)t->took_empty, (unsigned long long)t->put_empty,
               (unsigned long long)put);
        good = false;
    }
    return good;
}

/* What has been put is reported finished once each, also what is gone. */
static bool finished(const struct channel *c, const struct tally *t)
{
    uint64_t taken = t->taken + t->took_empty, gone = shared->unknown_taken[number_of(c)], n = 0;
    int rc;

    if (!c->queue)
        return true;
    while (!(rc = shoal_queue_task_done(c->queue)))
        n++;
    ASSERT_EQ_INT(rc, -EINVAL);
    ASSERT_EQ_INT(shoal_queue_join(c->queue, SHOAL_NOW), 0);
    if (n >= taken && n <= taken + gone)
        return true;
    printf("%s: counts %llu messages; %llu were taken, and %llu more with killed ones, perhaps\n",
           c->name, (unsigned long long)n, (unsigned long long)taken, (unsigned long long)gone);
    return false;
}

static void close_all(void)
{
    for (int i = 0; i < PIPES; i++)
        shoal_connection_close(ends[i][0]);
    for (struct channel *c = channels; c < channels + CHANNELS; c++) {
        if (c->pipe > PIPES) /* from the end that is closed */
            ASSERT_EQ_INT(c->anys ? take_any(c, SHOAL_NOW) : take_one(c, SHOAL_NOW), -EPIPE);
        shoal_queue_close(c->queue);
    }
    for (int i = 0; i < PIPES; i++)
        shoal_connection_close(ends[i][1]);
}

void messages_judge(void)
{
    struct tally tallies[CHANNELS] = {{0}};
    uint64_t begun_by_killed = 0, taken = 0, lost = 0, gone = 0;
    bool sized = true, good = true, counted = true;

    ended = true;
    for (const struct channel *c = channels; c < channels + CHANNELS; c++)
        sized &= drain(c);
    uint64_t unknown = count(tallies);
    for (int i = 0; i < CHANNELS; i++) {
        good &= conserved(&channels[i], &tallies[i]);
        counted &= finished(&channels[i], &tallies[i]);
        begun_by_killed += shared->unknown_put[i];
        taken += tallies[i].taken + tallies[i].took_empty;
        lost += tallies[i].lost;
        gone += shared->unknown_taken[i];
    }
    if (unknown > begun_by_killed) {
        printf("%llu messages were begun and neither put nor refused; killed ones had begun %llu\n",
               (unsigned long long)unknown, (unsigned long long)begun_by_killed);
        good = false;
    }
    close_all();
    printf("%u messages begun, %llu taken, %llu lost with killed ones, of whom takes of %llu were "
           "under way, and puts of %llu\n",
           shared->begun, (unsigned long long)taken, (unsigned long long)lost,
           (unsigned long long)gone, (unsigned long long)begun_by_killed);
    verdict(good, "messages are conserved");
    verdict(sized && counted, "queues have counted them");
}
