/* family.h: what the scenarios of shoal's own objects share: a family to kill in, and a look at the whole region when all is over.
 *
 *     setup      family_begin(NET_OFF), create objects, return the state
 *     prepare    family_prepare, or something that calls it: makes room below the victim's slot. Whoever is forked later gets a slot there;
 *                otherwise the fork would meet the dead victim, and repair it in place of those whose work it is.
 *     final      family_settle() (all the dead are repaired now), ask the objects, family_check(objects)
 *     state      family_state, for mode REPAIR
 */
#ifndef TESTS_KILL_FAMILY_H
#define TESTS_KILL_FAMILY_H

#include "harness.h"

#include <shoal/shoal.h>

enum { NET_OFF, NET_ON };

/* In memory of its own, outside of the region: what processes tell one another about the run. */
struct note {
    int entered;     /* the victim: 1 surely holds it, 3 lets go of it, 2 has let go, 0 otherwise */
    int died;        /* how often SHOAL_OWNER_DIED was seen */
    int taken;       /* how often it was acquired */
    int inside;      /* how many are inside at this moment */
    int runs;        /* of the function of a once */
    int at[8];       /* free for a scenario */
    uint32_t dead;   /* by family_die_after */
    uint32_t before; /* objects that there were when setup was done */
    shoal_reference reference, reference2;
};

/* Makes the family's region: small, spins off, the net as said. Writes to it become kill points. */
struct note *family_begin(int net);
void family_prepare(void *s);
/* At the end of a prepare: who sleeps already learns that no child is about to be born any more. Otherwise it wakes every 20 ms to look whether one was,
 * and may find what the victim is doing before it is told. */
void family_calm(void);
/* A system call that does nothing: a kill point. */
void family_point(void);
/* Counts the objects that stay. At the end of setup. */
void family_ready(struct note *note);

/* All who have died are repaired, and nobody but the case's process and this one is left. */
void family_settle(void);
/* Looks at the whole region: nothing half done, nothing that belongs to the dead, so many objects; after family_settle. */
void family_check(uint32_t objects);
/* Hashes what a repair may find, for mode REPAIR. */
uint64_t family_state(void *s);

/* How many threads have announced that they sleep on the object; waits until n have, or the victim is killed. */
int family_sleepers(const void *opaque);
void family_await_sleepers(const void *opaque, int n);

/* Looks at all lives, and repairs whom it finds dead. */
void family_look(void);
/* The same, until nobody is being repaired by another: what the dead had under way is settled. */
void family_await_repair(void);
/* For a partner that has killed somebody while the victim is led along: sleepers notice it by futex_waitv; where that is not, no slice
 * ends meanwhile, and the caller looks. */
void family_notice(pid_t pid);
/* Who polls is told of nobody's birth any more: that would wake it, and hide that another wake-up was lost. Only of the ends of those
 * whom it knows. */
void family_deafen(void);
/* Gives everything up, but stays mapped: as a child of a raw clone, the process attaches anew at its next call. */
void family_leave(void);
/* The caller's slot is still its own. */
void family_alive(void);

/* The caller's slot; and whether a slot is nobody's, asked without a look at anybody's life. */
unsigned family_slot(void);
int family_is_free(unsigned slot);

/* Sleeping and waking on a word of the note. */
void family_await(int *word);
void family_set(int *word);

/* Runs f(argument) in a child that dies right after it, holding whatever it holds. */
void family_die_after(void (*f)(void *argument), void *argument);

#endif
