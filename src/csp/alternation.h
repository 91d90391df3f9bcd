/* csp/alternation.h - one call that communicates while it is under way, for the files that do its steps: meet.c one round
 * of looking for partners, alternation.c offering and waiting, communicate.c what programs call.
 */
#ifndef SHOAL_ALTERNATION_H
#define SHOAL_ALTERNATION_H

#include "csp/channel.h"

/* A guard of a channel, as the call works with it. */
struct offer {
    struct header *channel, *end;
    struct channel *c;
    enum side side;
    bool buffered, wanting;
    unsigned box; /* of a WRITER whose letter is no object */
    struct cell *cell;
    uint64_t offered; /* what the cell says */
    size_t capacity;  /* of a READER */
    struct letter letter;
};

/* What came. */
struct got {
    size_t size;
    void *object;
    unsigned char bytes[INLINE_MOST];
};

struct choice {
    struct party *me;
    uint32_t number, sequence;
    struct offer *offers; /* by guard; channel NULL: it is none of a channel */
    const shoal_guard *guards;
    const unsigned *order; /* NULL: as they stand */
    unsigned n;
    int64_t deadline, until; /* the call's; or when a TIMEOUT is ready, if that is sooner */
    bool enrolled, barrier;  /* barrier: refused by the kernel */
    unsigned rounds;         /* in which it found somebody and left WAITING for him */
    unsigned wanting;        /* guards that lack memory for what they are to write */
    struct got *got;
    const char *call;
};

static inline int64_t sooner(int64_t x, int64_t y)
{
    return x < y ? x : y;
}

/* ---- one round (meet.c) ---- */

/* Why nothing can be done with it: 0, -EPIPE, -ECANCELED. */
int offer_over(const struct offer *o);
/* The first guard that is ready, carried out: its index. -EAGAIN: none. While the caller's word is PRIVATE. */
int choice_attempt(struct choice *a);
/* The same, asked only; while WAITING. Readers are told of what only they can meet. */
bool choice_look(const struct choice *a);
/* Whoever waits there and has been met by one that is stopped before it could wake him is woken now: the caller, who
 * would meet him again, is about to sleep. */
void choice_wake_met(const struct choice *a);
/* It has been met: a reader copies what it got. Its guard. */
int choice_take_in(struct choice *a);

/* ---- all of it (alternation.c) ---- */

/* Waits until a guard is ready, and carries it out: its index, or -errno. */
int choice_run(struct choice *a);

/* ---- for who makes and reads messages himself (communicate.c) ---- */

struct pickle_objects;
/* Makes a message of `size` bytes for that channel, which the caller holds and writes to *bytes. It holds these objects,
 * which are open here, and what belongs to them. As shoal_channel_write. */
int channel_reserve(shoal_channel_end *end, void **ret, size_t size, struct pickle_objects *objects,
                    unsigned char **bytes, int64_t deadline);
/* Writes it, and gives up the caller's hold: 0. Otherwise it stays the caller's. As shoal_channel_write. */
int channel_write_message(shoal_channel_end *end, void *message, int64_t deadline);
/* Reads: bytes, or an object that the caller holds and closes (message_close). As shoal_channel_read. */
int channel_read_message(shoal_channel_end *end, struct got *got, int64_t deadline);
/* As shoal_alternate: messages[i], if not NULL, is what guard i writes; it stays the caller's unless that was chosen, and
 * is NULL then. What was read is in *got, as channel_read_message has it. No action is called. */
int channel_alternate(shoal_guard guards[], size_t n, enum shoal_choice choice, void *messages[],
                      struct got *got, int64_t deadline);

#endif
