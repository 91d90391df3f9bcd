/* csp/party.h - a thread that communicates: the one word that says whether it may be met, on which it sleeps, and what it
 * has written. alternation.c says how it is used, and why that is correct.
 */
#ifndef SHOAL_PARTY_H
#define SHOAL_PARTY_H

#include "region/life.h"
#include "region/self.h"

/* A party's word:
 *   {sequence:32, …, sleeping:1, state:3}          PRIVATE: nobody but its owner changes it
 *   {sequence:32, pokes:28, sleeping:1, state:3}   WAITING: may be met or poked by anybody
 *   {sequence:32, box:2, partner:14, guard:12, sleeping:1, state:3}   MET: only its owner changes it
 * box and partner: where what a reader has got lies. */
enum party_state { PRIVATE, WAITING, MET };
enum { STATE_MASK = 7, SLEEPING = 8, POKE = 16 };
enum { GUARD_SHIFT = 4, PARTNER_SHIFT = 16, BOX_SHIFT = 30, GUARDS = 4096 };
static_assert(PARTIES <= 1 << 14, "a partner's number fits");

static inline uint64_t word_of(uint32_t sequence, enum party_state state)
{
    return (uint64_t)sequence << 32 | (uint32_t)state;
}
static inline uint32_t word_sequence(uint64_t word)
{
    return (uint32_t)(word >> 32);
}
static inline enum party_state word_state(uint64_t word)
{
    return (enum party_state)(word & STATE_MASK);
}
static inline uint64_t word_met(uint64_t word, uint32_t guard, uint32_t partner, unsigned box)
{
    return (word & (0xffffffff00000000u | SLEEPING)) | MET | guard << GUARD_SHIFT |
           (uint64_t)partner << PARTNER_SHIFT | (uint64_t)box << BOX_SHIFT;
}

/* A message that has been written and not copied yet. Written by its party, before the word that
 * offers it is WAITING or before who is to have it is MET; read by whoever may get it, and what was
 * read counts if a compare-and-swap of the party's word, or the reader's own word, then says so.
 *   reader, met   whose word it was given to, and what that is until it has been copied */
enum { BOXES = 3, BOX_WORDS = 13, BOX_BYTES = BOX_WORDS * 8 };
struct box {
    _Atomic uint64_t met;
    _Atomic uint32_t reader; /* + 1 */
    _Atomic uint32_t size;
    _Atomic uint64_t words[BOX_WORDS];
    uint64_t unused;
};

/*   owner   the thread; CAS 0 or a dead one -> me
 *   word    see above
 *   at      its owner's: the object that its frame names while it sleeps */
struct party {
    _Alignas(64) _Atomic owner_t owner;
    _Atomic uint64_t word;
    _Atomic uint32_t at;
    uint32_t unused[11];
    _Alignas(64) struct box boxes[BOXES];
    uint64_t unused2[8];
};
static_assert(sizeof(struct party) == PARTY, "as the region lays them out");

static inline struct party *party_at(uint32_t i)
{
    return (struct party *)(void *)(view.parties + (uint64_t)i * PARTY);
}
static inline _Atomic uint32_t *party_futex(struct party *p)
{
    return (_Atomic uint32_t *)(uintptr_t)&p->word;
}
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the state lies in the first half");

/* The calling thread's: its number, or -errno. Its word is PRIVATE. */
int party_mine(void);

/* The first of my boxes from that one on from which nobody has still to copy; BOXES: none, as the readers are stopped or
 * slow. */
unsigned party_box(const struct party *p, unsigned from);

/* It may have become ready: it looks again. */
void party_poke(struct party *p);
/* All whose frames name the object; wakes those who have been met, too. */
void party_poke_at(uint32_t object);
void party_wake(struct party *p, uint64_t was);

#endif
