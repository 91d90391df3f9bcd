/* First in, first out, of many producers and many consumers.
 *
 * Each producer (a thread) writes into a lane of its own, so that nothing of a half-written message
 * is anybody else's business; consumers look at all lanes and take the oldest message.
 *
 *     put    write header and bytes behind the lane's last record, zero the header behind it, then
 *            store the record's header  == COMMIT (unbounded)
 *     take   find the oldest record; copy it; CAS head: its position -> its end  == COMMIT
 *
 * Who dies before a commit has done nothing that anybody sees; who dies after it has done all but
 * wake others, which the repairer does (docs/design.md 3). Who is stopped is waited for by nobody.
 * A consumer that was slow may have copied what was overwritten meanwhile: then head has moved, its
 * CAS fails and the copy is dropped. Positions never go back, so a CAS cannot mistake.
 *
 * Which is the oldest? If one put has returned before another began, it is taken before it.
 *   One lane: its order. A record that was begun when there was only one lane has stamp 0, and is older
 *   than all others: whoever opens a second lane raises `high` before its first put.
 *   Unbounded, several lanes: a stamp taken during the put (os_stamp). The smallest first. A lane
 *   that was seen empty is looked at again after the candidate was found, until nothing smaller
 *   turns up: what was put before the candidate was begun can be seen by then. So can `high`, which
 *   is read again for lanes that were opened meanwhile.
 *   Bounded: stamps are tickets, which also count against maxsize. The ticket word names the lane whose
 *   put is under way, and what it becomes is written down before (next): so taking a ticket == COMMIT,
 *   and whoever meets it moves tail for it (help). All below tail can be taken.
 *
 * The end. Who puts says that a put is under way (puts), and then looks whether the lanes were shut. Who finds
 * them shut and empty looks, after a membarrier, whether a put is under way. So either it is seen, and waited
 * for, or it sees that they are shut; and after an end was told nothing comes.
 *
 * Memory. A lane writes into a ring (segment); when it is full, and the lane may grow, into a
 * larger one: a record LINK leads there. What was left behind is given back by who takes the first
 * record beyond it, after a membarrier, if no record's `reading` says that somebody reads in this
 * queue; otherwise a later one gives it back. Runs are named by the segments, which is the truth
 * about them (region/unit.c).
 *
 * Lanes outlive their producers. When the owner is gone a lane is nobody's, with what it holds;
 * the next new producer goes on in it. Tending a lane (settle) finishes what the owner's last put
 * left undone: its words follow from what is visible.
 */
#include "message/lanes_inner.h"
#include <limits.h>

/* ---- tending a lane whose owner is gone ---- */

/* Finishes the put that the ticket word names. */
void lanes_help(struct lanes *q, uint64_t ticket)
{
    struct lane *lane = lane_at(q, (uint32_t)(ticket >> LANE_SHIFT) - 1);
    uint64_t tail = atomic_load(&lane->tail), next = atomic_load(&lane->next);
    if (atomic_load(&q->ticket) != ticket || MUTANT(123))
        return; /* its owner has gone on: next may speak of another put */
    if (tail < next)
        atomic_compare_exchange_strong(&lane->tail, &tail, next);
    atomic_compare_exchange_strong(&q->ticket, &ticket, ticket & COUNT_MASK);
    wait_wake(&q->items, 1); /* its owner may be stopped before it wakes somebody */
}

/* The same, if it names this lane; NULL: whichever. */
static void help_if(struct lanes *q, const struct lane *lane)
{
    uint64_t t = atomic_load(&q->ticket);
    if (t >> LANE_SHIFT && (!lane || lane_at(q, (uint32_t)(t >> LANE_SHIFT) - 1) == lane))
        lanes_help(q, t);
}

/* What the owner's last put left undone. (Who dies in here is repaired, and so all are roused.) */
static void settle_puts(struct lanes *q, struct lane *lane)
{
    uint64_t puts = atomic_load(&lane->puts), at = atomic_load(&lane->write);
    uint64_t under_way = puts >> COUNT_BITS;
    struct found f;
    if (q->maxsize) {
        help_if(q, lane);
        uint64_t tail = atomic_load(&lane->tail);
        if (under_way && !MUTANT(130))
            atomic_store(&lane->puts,
                         tail > at ? puts & COUNT_MASK : (puts & COUNT_MASK) - under_way);
        if (tail > at)
            atomic_store(&lane->write, tail);
        if (under_way) /* perhaps fewer were put than was thought */
            wait_wake(&q->finished, INT_MAX);
        return;
    }
    bool visible = record_from(lane, &at, UINT64_MAX, &f);
    if (under_way && !MUTANT(120))
        atomic_store(&lane->puts, visible ? puts & COUNT_MASK : (puts & COUNT_MASK) - under_way);
    for (; visible; visible = record_from(lane, &at, UINT64_MAX, &f))
        at = f.end;
    if (!MUTANT(121))
        atomic_store(&lane->write, at);
    if (under_way)
        wait_wake(&q->finished, INT_MAX);
}

bool lanes_settle(struct lanes *q, struct lane *lane)
{
    settle_puts(q, lane);
    return lane_free_unlinked(lane);
}

/* Whether a lane that the caller tends, settled, holds no message. */
static bool drained(struct lanes *q, struct lane *lane, uint32_t id)
{
    struct found f;
    uint64_t was = reading_begin(id);
    bool any = peek(lane, q->maxsize, &f);
    reading_end(was);
    return !any;
}

/* Becomes the one that tends the lane, if its owner is gone, and has been repaired, or the caller is who
 * repairs it: before it gives up what the dead held it must have settled the lane, since only then is seen
 * that a long message was put. */
bool lanes_tend(struct lane *lane)
{
    owner_t owner = atomic_load(&lane->owner);
    if (owner && !(MUTANT(186) ? owner_dead(owner & ~0xffull) : owner_over(owner & ~0xffull)))
        return false;
    return atomic_compare_exchange_strong(&lane->owner, &owner, shoal_thread.me | TENDED);
}

/* An empty lane keeps no memory. False: some cannot be given back yet. */
bool lanes_clear(struct lanes *q, struct lane *lane, uint32_t id)
{
    uint64_t write = atomic_load(&lane->write);
    if (!drained(q, lane, id))
        return true;
    /* beyond links that lead to nothing */
    atomic_store(&lane->head, write);
    if (q->maxsize)
        atomic_store(&lane->tail, write);
    return lane_free_all(lane, id);
}

void lanes_repair(struct lanes *q, const struct place *p)
{
    uint32_t high = atomic_load(&q->high);
    for (uint32_t i = 0; i < high; i++) {
        struct lane *lane = lane_at(q, i);
        if (lane && atomic_load(&lane->owner) && !MUTANT(129) && lanes_tend(lane)) {
            lanes_settle(q, lane);
            lanes_clear(q, lane, p->id);
            atomic_store(&lane->owner, 0); /* nobody's, with what it holds */
        }
    }
}

static bool has_memory(const struct lane *lane)
{
    for (unsigned i = 0; i < LANE_SEGMENTS; i++)
        if (atomic_load_explicit(&lane->segments[i].payload, memory_order_relaxed))
            return true;
    return false;
}

/* Who finds nothing, and has time, gives back the memory of lanes that are nobody's any more. */
static void sweep(struct lanes *q, const struct place *p)
{
    uint32_t high = atomic_load(&q->high);
    for (uint32_t i = 0; i < high; i++) {
        struct lane *lane = lane_at(q, i);
        if (!lane || !has_memory(lane) || MUTANT(250) || !lanes_tend(lane))
            continue;
        lanes_settle(q, lane);
        lanes_clear(q, lane, p->id);
        atomic_store(&lane->owner, 0);
    }
}

/* ---- waiting ---- */

_Thread_local struct pace lanes_pace __attribute__((tls_model("initial-exec")));
enum { STREAM = 2, PROBE = 64, LET_COME = 40 /* pauses, about a microsecond */ };

void lanes_let_come(void)
{
    if (!shoal_thread.shares_core && process_self.keep.spin)
        for (int i = 0; i < LET_COME; i++)
            os_pause();
}

/* Tries until it is not -EAGAIN. `slice`: tries again after so many ns without being woken, too; an attempt
 * may be dear then. */
static int await(struct lanes *q, const struct place *p, _Atomic uint32_t *event, int64_t deadline,
                 int64_t slice, attempt *try, void *argument)
{
    int rc = -EAGAIN;
    if (deadline <= SHOAL_NOW)
        return not_now(deadline);
    if (lanes_pace.run >= STREAM || ++lanes_pace.waits % PROBE == 0)
        lanes_let_come();
    lanes_pace.run = 0;
    for (struct spin s = spin_begin(); !slice && spin_once(&s);)
        if ((rc = try(q, p, argument)) != -EAGAIN)
            return rc;
    if (q && event == &q->items)
        sweep(q, p);
    struct waiter w;
    rc = wait_begin(&w, p->id);
    if (rc)
        return rc;
    for (;;) {
        uint32_t seen = wait_announce(&w, event);
        rc = try(q, p, argument);
        if (rc != -EAGAIN)
            break;
        int64_t until = slice ? os_now() + slice : INT64_MAX;
        rc = wait_park(&w, event, seen, deadline < until ? deadline : until);
        if (rc && !(rc == -ETIMEDOUT && deadline > until))
            break;
    }
    wait_end(&w);
    return rc;
}

int lanes_await(struct lanes *q, const struct place *p, _Atomic uint32_t *event, int64_t deadline,
                int64_t slice, attempt *try, void *argument)
{
    int rc = await(q, p, event, deadline, slice, try, argument);
    /* A pipe's handle is open in no process: its name is not told. */
    const void *handle = (unsigned char *)&handles[p->id] + (p->generation & TAG_MASK);
    return waited(rc, p->call, handle, p->header->type, deadline);
}

/* ---- looking ---- */

uint64_t lanes_size(struct lanes *q, const struct place *p)
{
    uint64_t was = reading_begin(p->id), sum = 0;
    uint32_t high = atomic_load(&q->high);
    for (uint32_t i = 0; i < high; i++) {
        struct lane *lane = lane_at(q, i);
        struct found f;
        if (lane && peek(lane, q->maxsize, &f))
            sum += (uint32_t)atomic_load(&lane->puts) - (uint32_t)(f.word >> 32);
    }
    reading_end(was);
    return sum;
}

uint64_t lanes_puts(struct lanes *q)
{
    uint64_t sum = 0;
    uint32_t high = atomic_load(&q->high);
    for (uint32_t i = 0; i < high; i++) {
        struct lane *lane = lane_at(q, i);
        if (lane)
            sum += atomic_load(&lane->puts) & COUNT_MASK;
    }
    return sum;
}

void lanes_shut(struct lanes *q, uint32_t how)
{
    atomic_fetch_or(&q->closed, how);
    wait_wake(&q->items, INT_MAX);
    wait_wake(&q->space, INT_MAX);
    if (!MUTANT(195))
        wait_wake(&q->finished, INT_MAX);
}

/* Whether the record at a position names the message. While reading; of any content. */
static bool record_names(struct lane *lane, uint64_t position, uint32_t id, uint32_t generation)
{
    const struct segment *s = segment_of(lane, position);
    struct named named;
    if (!s)
        return false;
    uint64_t payload = atomic_load_explicit(&s->payload, memory_order_relaxed);
    uint64_t base = atomic_load_explicit(&s->base, memory_order_relaxed);
    uint64_t offset = (position - base) & (segment_size(s) - 1), at = (payload - 1) * 64 + offset;
    if (!payload || offset % RECORD || offset >= view.at.size ||
        at + RECORD + sizeof named > view.at.size)
        return false;
    const struct record_header *record = (const void *)(view.heap + at);
    uint64_t word = atomic_load_explicit(&record->word, memory_order_acquire);
    memcpy(&named, record + 1, sizeof named);
    return (word & 0xff) == KIND_OBJECT && named.id == id && named.generation == generation;
}

bool lanes_holds(struct lanes *q, uint32_t id, uint32_t i, uint64_t position, uint32_t message,
                 uint32_t generation)
{
    struct lane *lane = i < atomic_load(&q->high) ? lane_at(q, i) : NULL;
    if (!lane)
        return false;
    /* Committed? Until its owner has noted it, the owner holds it itself. Who died before he committed
     * has left the position to another, who may have put something else there by now. */
    uint64_t end = q->maxsize ? atomic_load(&lane->tail) : atomic_load(&lane->write);
    if (position >= end || position < atomic_load(&lane->head))
        return false;
    uint64_t was = reading_begin(id);
    bool names = MUTANT(163) || record_names(lane, position, message, generation);
    reading_end(was);
    return names && position >= atomic_load(&lane->head);
}

/* ---- for the types ---- */

/* Messages that are objects, up to a position. */
static void drop_objects(struct lane *lane, uint64_t until, uint32_t slot)
{
    struct found f;
    uint64_t at = atomic_load(&lane->head);
    for (; record_from(lane, &at, until, &f); at = f.end) {
        struct named named;
        memcpy(&named, f.record + 1, sizeof named);
        if ((f.word & 0xff) == KIND_OBJECT)
            object_drop(named.id, named.generation, slot);
    }
}

void lanes_drop(struct lanes *q, uint32_t id, uint32_t slot)
{
    uint64_t was = reading_begin(id);
    uint32_t high = atomic_load(&q->high);
    for (uint32_t i = 0; i < high; i++) {
        struct lane *lane = lane_at(q, i);
        if (lane)
            drop_objects(lane, atomic_load(q->maxsize ? &lane->tail : &lane->write), slot);
    }
    reading_end(was);
}

void lanes_destroy(struct lanes *q, uint32_t slot)
{
    uint32_t high = atomic_load(&q->high);
    for (uint32_t i = 0; i < high; i++) {
        struct lane *lane = lane_at(q, i);
        if (!lane)
            continue;
        drop_objects(lane, q->maxsize ? atomic_load(&lane->tail) : UINT64_MAX, slot);
        for (unsigned k = 0; k < LANE_SEGMENTS; k++) { /* see free_all */
            struct segment *s = oldest(lane, k);
            if (atomic_load(&s->payload))
                unit_free(&s->payload, atomic_load(&s->units));
        }
    }
    for (unsigned c = LANE_CHUNKS;
         c-- > 0;) /* the last first: lanes are found through all before */
        if (atomic_load(&q->chunks[c]))
            unit_free(&q->chunks[c], chunk_units(c));
}

/* Asked of what may just have become something else. */
static uint32_t plausible_high(struct lanes *q)
{
    uint32_t most = LANES_FIRST, high = atomic_load(&q->high);
    for (unsigned c = 0; c < LANE_CHUNKS; c++)
        most += chunk_lanes(c);
    return high < most ? high : most;
}

void lanes_runs(struct lanes *q, void (*visit)(uint32_t payload, uint32_t units, void *argument),
                void *argument)
{
    uint32_t high = plausible_high(q);
    for (unsigned c = 0; c < LANE_CHUNKS; c++)
        if (atomic_load(&q->chunks[c]))
            visit(atomic_load(&q->chunks[c]), chunk_units(c), argument);
    for (uint32_t i = 0; i < high; i++) {
        struct lane *lane = lane_at(q, i);
        for (unsigned k = 0; lane && k < LANE_SEGMENTS; k++)
            if (atomic_load(&lane->segments[k].payload))
                visit(atomic_load(&lane->segments[k].payload),
                      atomic_load(&lane->segments[k].units), argument);
    }
}

uint64_t lanes_charged(struct lanes *q, uint32_t slot)
{
    uint32_t high = plausible_high(q);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < high; i++) {
        struct lane *lane = lane_at(q, i);
        owner_t owner = lane ? atomic_load(&lane->owner) : 0;
        uint32_t record = owner & TENDED ? 0 : owner_record(owner);
        if (!record || record >= RECORDS ||
            record_slot(atomic_load(&record_at(record)->word)) != slot)
            continue;
        for (unsigned k = 0; k < LANE_SEGMENTS; k++)
            if (atomic_load(&lane->segments[k].payload))
                sum += segment_size(&lane->segments[k]);
    }
    return sum;
}

_Atomic uint32_t *lanes_event(struct lanes *q, unsigned i)
{
    return i == 1 ? &q->space : i == 2 ? &q->finished : NULL;
}
