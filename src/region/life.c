/* Noticing, confirming and repairing deaths (docs/design.md 3).
 *
 * A repair is a list of steps that may each be done twice; whoever finds the repairer dead begins
 * again at the first. Everything that a dead process had names it by generation, so that what was
 * given back once is not given back again.
 */
#include "region/life.h"
#include "region/object.h"
#include "region/poll.h"
#include "region/wait.h"
#include <limits.h>
#include <string.h>

static const struct type_repair *const life_types[TYPES] = {
    [TYPE_LOCK] = &lock_repair,           [TYPE_RLOCK] = &rlock_repair,
    [TYPE_ONCE] = &once_repair,           [TYPE_EVENT] = &event_repair,
    [TYPE_CONDITION] = &condition_repair, [TYPE_BARRIER] = &barrier_repair,
    [TYPE_SEMAPHORE] = &semaphore_repair, [TYPE_RWLOCK] = &rwlock_repair,
    [TYPE_MESSAGE] = &message_repair,     [TYPE_QUEUE] = &queue_repair,
    [TYPE_PIPE] = &pipe_repair,           [TYPE_END] = &pipe_end_repair,
    [TYPE_VALUE] = &value_repair,         [TYPE_ARRAY] = &value_repair,
    [TYPE_POOL] = &pool_repair,           [TYPE_LIST] = &container_repair,
    [TYPE_DICT] = &container_repair,      [TYPE_NAMESPACE] = &container_repair,
    [TYPE_CHANNEL] = &channel_repair,     [TYPE_CHANNEL_END] = &channel_end_repair,
};
void (*life_on_death)(int32_t pid, const char *name);

/* The slot that is leaving in this thread: its owners count as gone for its own repair steps. */
static _Thread_local uint32_t leaving;
/* How many repairs this thread is in: one may find another (an unborn child of the dead), and a signal
 * handler that waits may begin one. */
static _Thread_local unsigned repairing;
/* It has taken over repairs which it has not begun. */
static _Thread_local bool inherited;

const struct type_repair *life_type(unsigned type)
{
    return type < TYPES ? life_types[type] : NULL;
}

bool owner_gone(owner_t owner)
{
    if (owner_dead(owner))
        return true;
    return leaving && record_slot(atomic_load(&record_at(owner_record(owner))->word)) == leaving;
}

bool owner_over(owner_t owner)
{
    uint32_t i = owner_record(owner);
    uint64_t word = i < RECORDS ? atomic_load(&record_at(i)->word) : 0;
    if ((uint32_t)(word >> 32) != owner_generation(owner) || !(word & 0xff))
        return true;
    uint64_t slot = atomic_load(&slot_at(record_slot(word))->word);
    return (slot_status(slot) == SLOT_DEAD || slot_status(slot) == SLOT_LEAVING) &&
           (uint32_t)slot >> 8 == owner_record(shoal_thread.me);
}

/* ---- who died ---- */

static void dig_grave(uint32_t s, uint64_t word)
{
    uint32_t n = atomic_fetch_add(&view.region->graves, 1);
    struct grave *grave = &view.graves[n % GRAVES];
    atomic_store(&grave->stamp, 0);
    atomic_store(&grave->pid, atomic_load(&slot_at(s)->pid));
    memcpy(grave->name, slot_at(s)->name, NAME);
    grave->ended = atomic_load(&slot_at(s)->flags) & SLOT_FLAG_CLEAN;
    atomic_store(&grave->stamp, (word & 0xffffffff00000000) | s);
}

/* What the slot itself still says of its process of that generation: not repaired yet, or it left by
 * itself, which digs no grave, and nobody has had the slot since. */
static bool slot_remembers(uint32_t s, uint32_t generation, int32_t *pid, char name[NAME],
                           bool *ended)
{
    const struct slot *slot = slot_at(s);
    uint64_t word = atomic_load(&slot->word);
    bool left = word == slot_make(generation + 1, 0, SLOT_FREE);
    if (word >> 32 != generation && !left)
        return false;
    *pid = left ? 0 : atomic_load(&slot->pid);
    if (!*pid) /* or it is about to be free */
        *pid = atomic_load(&slot->last_pid);
    memcpy(name, slot->name, NAME);
    name[NAME - 1] = 0;
    *ended =
        left || slot_status(word) == SLOT_LEAVING || (atomic_load(&slot->flags) & SLOT_FLAG_CLEAN);
    return atomic_load(&slot->word) == word;
}

bool life_grave(owner_t owner, int32_t *pid, char name[NAME], bool *ended)
{
    uint32_t r = owner_record(owner), s = r, generation = owner_generation(owner);
    if (r >=
        SLOTS) { /* a further thread: its record's slot may have moved on; believed only while it has not */
        uint64_t word = atomic_load(&record_at(r)->word);
        if ((uint32_t)(word >> 32) != generation)
            return false;
        s = record_slot(word);
        generation = (uint32_t)(atomic_load(&slot_at(s)->word) >> 32);
    }
    for (unsigned i = 0; i < GRAVES; i++) {
        struct grave *grave = &view.graves[i];
        if (atomic_load(&grave->stamp) == ((uint64_t)generation << 32 | s)) {
            *pid = atomic_load(&grave->pid);
            memcpy(name, grave->name, NAME);
            name[NAME - 1] = 0;
            *ended = grave->ended;
            return true;
        }
    }
    return slot_remembers(s, generation, pid, name, ended);
}

/* ---- the steps of a repair ---- */

/* Slots that the dead one was repairing are taken over now: once its records have moved on, nobody
 * could tell that their repairer is dead. */
static void inherit_repairs(uint32_t s, uint32_t me)
{
    uint32_t high = atomic_load(&view.region->slots_high);
    for (uint32_t t = 1; t < high; t++) {
        uint64_t w = atomic_load(&slot_at(t)->word);
        uint32_t r = (uint32_t)w >> 8;
        if (t != s && slot_status(w) == SLOT_DEAD &&
            record_slot(atomic_load(&record_at(r)->word)) == s)
            inherited |=
                atomic_compare_exchange_strong(&slot_at(t)->word, &w,
                                               slot_make((uint32_t)(w >> 32), me, SLOT_DEAD));
    }
}

/* Types give back what the gone have in the objects that the process held. Its hold keeps them there meanwhile. What it
 * was closing or opening may be gone at any moment, or be another object; a process that has closed an object has nothing
 * in it. */
CHILD_PATH static void repair_objects(uint32_t s)
{
    for (uint32_t g = 0; (g = object_next_group(s, g)) != UINT32_MAX; g++) {
        const unsigned char *row = object_row(g, s);
        for (unsigned i = 0; row && i < GROUP; i++) {
            struct header *h = header_at(g * GROUP + i);
            if (row[i] != HOLD_HELD || state_status(atomic_load(&h->state)) != OBJECT_LIVE)
                continue;
            const struct type_repair *type = life_type(h->type);
            if (type && type->repair)
                type->repair(h);
            if (type && type->tend)
                type->tend(h, s);
        }
    }
}

CHILD_PATH static void free_records(uint32_t s, uint32_t generation, bool creates)
{
    uint32_t high = atomic_load(&view.region->records_high);
    for (uint32_t r = SLOTS; r < high; r++) {
        struct record *record = record_at(r);
        uint64_t w = atomic_load(&record->word);
        if (!(w & 0xff) || record_slot(w) != s)
            continue;
        for (unsigned i = 0; i < FRAMES; i++)
            atomic_store(&record->frames[i], 0);
        atomic_store(&record->reading, 0);
        if (creates)
            object_disown(owner_make((uint32_t)(w >> 32), r));
        atomic_store(&record->word, record_make((uint32_t)(w >> 32) + 1, 0, false));
    }
    struct record *first = record_at(s);
    for (unsigned i = 0; i < FRAMES; i++)
        atomic_store(&first->frames[i], 0);
    atomic_store(&first->reading, 0);
    if (creates && !MUTANT(24))
        object_disown(owner_make(generation, s));
    atomic_store(&first->word, record_make(generation + 1, s, false));
}

/* The word says which life of the slot it is about, generation + 1, and only grows: who writes it may
 * be late. False if it said so, or more, before. */
static bool grow(_Atomic uint32_t *word, uint32_t generation)
{
    uint32_t now = atomic_load(word);
    while ((int32_t)(generation + 1 - now) > 0)
        if (atomic_compare_exchange_weak(word, &now, generation + 1))
            return true;
    return false;
}

void life_forked(uint32_t s, uint32_t generation)
{
    grow(&slot_at(s)->forked, generation);
}

bool life_doom(uint32_t s, uint32_t generation)
{
    return grow(&slot_at(s)->doomed, generation);
}

static bool is_forked(struct slot *slot, uint32_t generation)
{
    return (int32_t)(atomic_load(&slot->forked) - (generation + 1)) >= 0;
}

/* Children of the gone one that were reserved and not yet born. */
CHILD_PATH static void release_unborn(uint32_t parent)
{
    uint32_t high = atomic_load(&view.region->slots_high);
    for (uint32_t t = 1; t < high; t++) {
        uint64_t w = atomic_load(&slot_at(t)->word);
        if (slot_status(w) != SLOT_STARTING ||
            record_slot(atomic_load(&record_at((uint32_t)w >> 8)->word)) != parent)
            continue;
        /* From here on nobody asks after the parent, whose record will be another's. */
        life_forked(t, (uint32_t)(w >> 32));
        life_look(t, true);
    }
}

/* What a frame says that its thread sleeps on: its eventcount and its type, false if it is gone.
 * `shield`: it is kept from being freed and becoming something else under our hands, however slow
 * we are, by a hold of the slot that is repaired; otherwise only what has been shielded is seen. */
CHILD_PATH static bool sleeps_on(uint32_t s, bool shield, const _Atomic uint64_t *frame,
                                 _Atomic uint32_t **event, struct header **header)
{
    uint64_t id = atomic_load(frame);
    if (!id--)
        return false;
    *header = NULL;
    *event = NULL;
    if (id == WAIT_GUARD) {
        *event = &view.region->guard_event;
        return true;
    }
    if (id >= (uint64_t)atomic_load(&view.region->groups_high) * GROUP)
        return false;
    /* Its process gives up its hold after the sleeper has left: either it sees ours, or we see the
     * frame empty. */
    if (!(shield ? object_shield((uint32_t)id, s) && atomic_load(frame) == id + 1
                 : object_shielded((uint32_t)id, s)))
        return false;
    *header = header_at((uint32_t)id);
    if (state_status(atomic_load(&(*header)->state)) != OBJECT_LIVE || (*header)->type >= TYPES ||
        !life_types[(*header)->type])
        return false;
    if (life_types[(*header)->type]->event)
        *event = life_types[(*header)->type]->event(*header);
    return true;
}

/* How many there seemed to be. visit NULL: only that. */
CHILD_PATH static unsigned each_frame(uint32_t s, bool shield,
                                      void (*visit)(_Atomic uint32_t *event, struct header *header))
{
    uint32_t ranges[2][2] = {{1, atomic_load(&view.region->slots_high)},
                             {SLOTS, atomic_load(&view.region->records_high)}};
    unsigned n = 0;
    for (unsigned k = 0; k < 2; k++)
        for (uint32_t r = ranges[k][0]; r < ranges[k][1]; r++)
            for (unsigned i = 0; i < FRAMES; i++) {
                const _Atomic uint64_t *frame = &record_at(r)->frames[i];
                _Atomic uint32_t *event;
                struct header *header;
                if (!atomic_load(frame))
                    continue;
                n++;
                if (visit && sleeps_on(s, shield, frame, &event, &header))
                    visit(event, header);
            }
    return n;
}

/* Its i-th further eventcount, or NULL. */
static _Atomic uint32_t *further_event(struct header *header, unsigned i)
{
    const struct type_repair *type = header ? life_types[header->type] : NULL;
    return type && type->further ? type->further(header, i) : NULL;
}

static void set_bit(_Atomic uint32_t *event, struct header *header)
{
    if (event && !MUTANT(14))
        atomic_fetch_or(event, SLEEPERS);
    for (unsigned i = 1; (event = further_event(header, i)); i++)
        atomic_fetch_or(event, SLEEPERS);
}

static void wake_ready(_Atomic uint32_t *event, struct header *header)
{
    const struct type_repair *type = header ? life_types[header->type] : NULL;
    if (leaving && type && type->undisturbed && type->undisturbed(header))
        return;
    if (event && (!type || !type->ready || type->ready(header)))
        wait_wake_slow(event, type && type->ready ? 1 : INT_MAX);
    for (unsigned i = 1; !MUTANT(196) && (event = further_event(header, i)); i++)
        wait_wake_slow(event, INT_MAX);
    if (type && type->rouse)
        type->rouse(header);
}

static void wake_all(_Atomic uint32_t *event, struct header *header)
{
    if (event)
        wait_wake_slow(event, INT_MAX);
    for (unsigned i = 1; !MUTANT(197) && (event = further_event(header, i)); i++)
        wait_wake_slow(event, INT_MAX);
    if (header && life_types[header->type]->rouse)
        life_types[header->type]->rouse(header);
}

/* Everybody who sleeps looks again. The bit is set first and the barrier drains the stores of
 * living releasers: either such a one sees the bit, or we see its store; where the kernel refuses the
 * barrier, we may not, and wake whatever we see. */
CHILD_PATH static bool rouse_sleepers(uint32_t s)
{
    if (!each_frame(s, true, set_bit))
        return false;
    bool seen = !view.region->asymmetric || MUTANT(15) || os_membarrier() || MUTANT(101);
    each_frame(s, false, seen ? wake_ready : wake_all);
    object_release_all(s);
    return true;
}

CHILD_PATH static bool anybody_sleeps(void)
{
    return each_frame(0, false, NULL) && !MUTANT(12);
}

static void fill_roles(void)
{
    uint32_t groups = atomic_load(&view.region->slots_high) / WATCH_GROUP + 1;
    for (uint32_t i = 0; i < groups * ROLES && i < WATCH_GROUPS * ROLES; i++) {
        _Atomic uint32_t *word = os_robust_word(&view.roles[i]);
        if (!os_robust_held(atomic_load(word)))
            os_futex_wake(word, 1);
    }
}

/* The whole of it, for a slot that this thread has the right to repair (or that is leaving). */
CHILD_PATH static void repair(uint32_t s, uint64_t word, bool by_itself, bool orderly)
{
    struct slot *slot = slot_at(s);
    uint32_t generation = (uint32_t)(word >> 32);
    int32_t pid = atomic_load(&slot->pid);
    bool death = !by_itself && !orderly && !(slot->flags & SLOT_FLAG_CLEAN) && pid;
    char name[NAME];
    memcpy(name, slot->name, NAME);

    if (!by_itself) {
        atomic_fetch_add(&view.region->repairs, 1);
        dig_grave(s, word);
        if (!MUTANT(18))
            inherit_repairs(s, owner_record(shoal_thread.me));
    }
    if (!MUTANT(19))
        repair_objects(s);
    if (!MUTANT(23))
        object_release_all(s);
    if (!MUTANT(20))
        release_unborn(s);
    /* A process that never created knows that no group is its own: looking at them all would be a
     * page fault for each. */
    free_records(s, generation, !by_itself || atomic_load(&process_self.creates));
    bool sleepers = !MUTANT(13) && rouse_sleepers(s);
    if (death)
        atomic_fetch_add(&view.region->deaths, 1);
    /* Until now the kernel marks it if it dies; before the slot is free, since it is its next
     * process's then. Should it die between here and there, whoever watches must have seen the word
     * free: they wrote a frame before they read it, and the kernel reads it again before they sleep,
     * so either we see the frame and wake one, or they see the word. */
    if (by_itself && shoal_thread.holds_life) {
        shoal_thread.holds_life = false;
        os_robust_release_for(&slot->life, anybody_sleeps);
    }
    /* A leaving process may be overtaken as soon as its pid is 0, and the slot be a newborn's:
     * nothing is written after that but by the last step. */
    memset(slot->ancestors, 0, sizeof slot->ancestors);
    atomic_store(&slot->keeper, 0);
    atomic_store(&slot->flags, 0);
    /* another repairer came as far as the next step */
    int32_t last = pid ? pid : atomic_load(&slot->last_pid);
    atomic_store_explicit(&slot->last_pid, last, memory_order_relaxed);
    atomic_store(&slot->pid, 0);
    /* One step, and only if the right was not taken from us: a leaving process has done all by now,
     * and may be overtaken while it is merely slow. */
    if (MUTANT(21))
        word = atomic_load(&slot->word);
    atomic_compare_exchange_strong(&slot->word, &word, slot_make(generation + 1, 0, SLOT_FREE));
    if (sleepers && !by_itself && !MUTANT(16))
        fill_roles();
    if (!by_itself && !MUTANT(178))
        poll_tell();
    if (death && life_on_death)
        life_on_death(pid, name);
}

/* Whatever this thread has the right to repair. */
CHILD_PATH static void repair_mine(void)
{
    uint32_t high = atomic_load(&view.region->slots_high);
    for (uint32_t t = 1; t < high; t++) {
        uint64_t w = atomic_load(&slot_at(t)->word);
        if (slot_status(w) == SLOT_DEAD && (uint32_t)w >> 8 == owner_record(shoal_thread.me))
            repair(t, w, false, false);
    }
}

/* What the dead had been repairing is ours by now, and what those had; also if a signal handler took
 * it over, which leaves it to the call that it interrupted, wherever that was. */
CHILD_PATH static void end_repair(void)
{
    for (;;) {
        while (repairing == 1 && inherited) {
            inherited = false;
            repair_mine();
        }
        repairing--;
        if (repairing || !inherited)
            return;
        repairing++;
    }
}

CHILD_PATH void life_leave(void)
{
    uint32_t s = process_self.slot;
    uint64_t w = slot_make(process_self.generation, 0, SLOT_ALIVE);
    uint64_t mine = slot_make(process_self.generation, owner_record(shoal_thread.me), SLOT_LEAVING);
    if (!atomic_compare_exchange_strong(&slot_at(s)->word, &w, mine))
        return;
    /* The program may have ended itself in the middle of a repair, when it was told of a death. */
    if (repairing && !MUTANT(99)) {
        life_on_death = NULL; /* it would only end itself again */
        repairing = 1;
        inherited = true;
        end_repair();
    }
    leaving = s;
    repair(s, mine, true, true);
    leaving = 0;
}

/* ---- noticing ---- */

/* Takes the right to repair and uses it. */
static enum life take_and_repair(uint32_t s, uint64_t word, bool orderly)
{
    uint64_t mine = slot_make((uint32_t)(word >> 32), owner_record(shoal_thread.me), SLOT_DEAD);
    repairing++; /* before the right is ours: a signal handler that comes now must not use it too */
    bool taken = atomic_compare_exchange_strong(&slot_at(s)->word, &word, mine) || MUTANT(102);
    if (taken)
        repair(s, mine, false, orderly);
    if (taken || !MUTANT(100))
        end_repair();
    else
        repairing--;
    return taken ? LIFE_REPAIRED : LIFE_WELL; /* else somebody else did */
}

/* Whether another slot's process, which lives, has the number. */
static bool is_anothers(uint32_t s, pid_t pid)
{
    uint32_t high = atomic_load(&view.region->slots_high);
    for (uint32_t t = 1; t < high; t++)
        if (t != s && atomic_load(&slot_at(t)->pid) == pid &&
            slot_status(atomic_load(&slot_at(t)->word)) == SLOT_ALIVE &&
            os_robust_held(atomic_load(os_robust_word(&slot_at(t)->life))))
            return true;
    return false;
}

/* Whether the process of slot s is dead for certain. */
static bool confirm(uint32_t s, bool marked)
{
    pid_t pid = atomic_load(&slot_at(s)->pid), holder;
    if (!pid) /* it had left but for the last step */
        return true;
    if (os_process_ended(pid) == 1)
        return true;
    /* The number may be another process's by now, or the process has left by exec: who maps
     * something, but not the region, is not ours. Who maps nothing is a first thread that has
     * ended; others may still run, so that is not yet a death. */
    int maps = os_process_maps(pid, view.device, view.inode);
    if (maps == 0)
        return true;
    if (maps == 1) /* it lives, unless the number is that of another process of the family by now */
        return is_anothers(s, pid);
    /* /proc does not say (another user, no /proc): marked, and its lock on the file gone, is an
     * exec. */
    int fd = region_fd();
    return marked && (atomic_load(&slot_at(s)->flags) & SLOT_FLAG_LOCKED) && fd >= 0 &&
           os_byte_locked_by(fd, s, &holder) == 0;
}

bool life_process(uint32_t s, uint64_t word, struct os_process *ret)
{
    struct slot *slot = slot_at(s);
    enum slot_status status = slot_status(word);
    pid_t pid = atomic_load(&slot->pid);
    if (status == SLOT_FREE || status == SLOT_DEAD || !pid || os_process_look(pid, ret))
        return false;
    uint64_t born_at = atomic_load(&slot->born_at);
    if (status != SLOT_STARTING && os_robust_held(atomic_load(os_robust_word(&slot->life))))
        born_at = ret->start; /* it has lived all the time */
    bool its = born_at ? ret->start <= born_at
                       : os_process_maps(pid, view.device, view.inode) == 1 && !is_anothers(s, pid);
    return its && atomic_load(&slot->word) == word && atomic_load(&slot->pid) == pid;
}

/* The slot whose child is looked for, whether it was reserved by a parent (else by a process for
 * itself), and who is known not to be it (NULL: nobody). */
struct search {
    const struct slot *slot;
    bool by_parent;
    bool (*known)(pid_t pid, void *argument);
    void *argument;
};

/* A process that maps the region and has no slot: perhaps the child that was being born. */
static bool slotless(pid_t pid, void *argument)
{
    const struct search *search = argument;
    struct os_process process;
    if (search->known && search->known(pid, search->argument))
        return false;
    /* What began before the slot was reserved is nobody's child of then: most of what cannot be
     * read drops out here. */
    if (search->by_parent && !os_process_look(pid, &process) &&
        process.start < search->slot->reserved_at)
        return false;
    int maps = os_process_maps(pid, view.device, view.inode);
    /* Others come and go meanwhile; one that maps nothing is about to end. */
    if (maps == 0 || maps == -ENOENT || maps == -ESRCH || maps == -ENODATA)
        return false;
    /* A child before its attach is its parent's user; and nobody's child is the first process,
     * which may be closed even to its own user (in a container). */
    if (maps < 0 && (pid == 1 || os_process_foreign(pid)))
        return false;
    /* It has a slot if one names it that is its own for certain, and not that of a dead process
     * whose number it has got. */
    uint32_t high = atomic_load(&view.region->slots_high);
    for (uint32_t s = 1; s < high; s++) {
        struct slot *slot = slot_at(s);
        enum slot_status status = slot_status(atomic_load(&slot->word));
        if (atomic_load(&slot->pid) == pid &&
            (status == SLOT_STARTING || ((status == SLOT_ALIVE || status == SLOT_LEAVING) &&
                                         os_robust_held(atomic_load(os_robust_word(&slot->life))))))
            return false;
    }
    return true;
}

bool life_unborn(uint32_t s, uint64_t word, bool (*known)(pid_t pid, void *argument),
                 void *argument)
{
    struct search search = {slot_at(s), (uint32_t)word >> 8, known, argument};
    return os_each_process(slotless, &search) != 0;
}

/* A reserved slot: its child has ended before it was attached, or was never born. A child that has
 * written its pid is asked after like any process. Before that only the parent knows; where the
 * parent is gone, or says that its fork is over, any process without a slot that maps the region
 * may be the child, and the slot waits for it. */
static enum life look_unborn(uint32_t s, uint64_t word)
{
    struct slot *slot = slot_at(s);
    uint32_t parent = record_slot(atomic_load(&record_at((uint32_t)word >> 8)->word));
    pid_t pid = atomic_load(&slot->pid);
    /* a number may be that of its shell, which has ended */
    bool by_itself = !((uint32_t)word >> 8);
    if (pid && os_process_ended(pid) != 1)
        return LIFE_UNARMED;
    if (!pid || by_itself) {
        bool parent_lives =
            parent && slot_status(atomic_load(&slot_at(parent)->word)) == SLOT_ALIVE;
        if (parent_lives && !is_forked(slot, (uint32_t)(word >> 32)))
            return LIFE_WELL;
        if (life_unborn(s, word, NULL, NULL) || atomic_load(&slot->pid) != pid)
            return LIFE_UNARMED;
    }
    return atomic_load(&slot->word) == word ? take_and_repair(s, word, false) : LIFE_WELL;
}

enum life life_look(uint32_t s, bool confirm_unarmed)
{
    struct slot *slot = slot_at(s);
    uint64_t word = atomic_load(&slot->word);
    uint32_t life = atomic_load(os_robust_word(&slot->life));
    if (s == process_self.slot)
        return LIFE_WELL;
    switch (slot_status(word)) {
    case SLOT_FREE: return LIFE_WELL;
    case SLOT_STARTING: return confirm_unarmed ? look_unborn(s, word) : LIFE_UNARMED;
    case SLOT_DEAD: {
        uint32_t r = (uint32_t)word >> 8, by = record_slot(atomic_load(&record_at(r)->word));
        return by && by != s && by != process_self.slot ? life_look(by, confirm_unarmed)
                                                        : LIFE_WELL;
    }
    case SLOT_ALIVE:
    case SLOT_LEAVING: break;
    }
    bool marked = os_robust_marked(life);
    if (os_robust_held(life) && (os_features()->robust || !confirm_unarmed))
        return LIFE_WELL;
    if (!marked && !confirm_unarmed)
        return LIFE_UNARMED;
    if (!confirm(s, marked))
        return marked ? LIFE_UNSURE : LIFE_UNARMED;
    return take_and_repair(s, word, false);
}

unsigned life_look_all(bool confirm_unarmed, int64_t *soonest)
{
    uint32_t high = atomic_load(&view.region->slots_high);
    unsigned repaired = 0;
    *soonest = INT64_MAX;
    for (uint32_t s = 1; s < high; s++)
        switch (life_look(s, confirm_unarmed)) {
        case LIFE_WELL: break;
        case LIFE_REPAIRED: repaired++; break;
        case LIFE_UNSURE: *soonest = 0; break;
        case LIFE_UNARMED:
            if (*soonest)
                *soonest = 20000000;
            break;
        }
    return repaired;
}

void life_ask(owner_t owner)
{
    uint64_t word = atomic_load(&record_at(owner_record(owner))->word);
    uint32_t s = record_slot(word);
    if (!owner_dead(owner) && s && s < SLOTS)
        life_look(s, true);
}

void life_ended(uint32_t s, uint32_t generation, bool orderly)
{
    uint64_t word = atomic_load(&slot_at(s)->word);
    enum slot_status status = slot_status(word);
    if ((uint32_t)(word >> 32) != generation || status == SLOT_FREE)
        return;
    /* The slot may have become that of another process than the one that was reaped: a program that
     * a wrapper started in the background. */
    pid_t pid = atomic_load(&slot_at(s)->pid);
    /* by such a program, just now */
    bool taken = status == SLOT_STARTING && !((uint32_t)word >> 8);
    if (status == SLOT_DEAD || taken || (pid && os_process_ended(pid) != 1))
        life_look(s, true);
    else
        take_and_repair(s, word, orderly && status == SLOT_STARTING);
}
