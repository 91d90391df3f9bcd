/* region/wait.h - sleeping on an object and waking who sleeps (docs/design.md 3 and 4).
 *
 *     struct waiter w;                                      the right loop:
 *     if ((rc = wait_begin(&w, id)))  return rc;
 *     for (;;) {
 *         uint32_t seen = wait_announce(&w, &body->event);  // sets the sleepers bit, full fence in
 *             all processes
 *         if (try())  break;                                // look *after* announcing, never before only
 *         rc = wait_park(&w, &body->event, seen, deadline); // 0: look again
 *         if (rc)  break;                                   // -ETIMEDOUT, -EINTR, -EAGAIN for SHOAL_NOW, -EINVAL for less
 *     }
 *     wait_end(&w);
 * The wrong loop looks, then announces: a change in between wakes nobody.
 */
#ifndef SHOAL_REGION_WAIT_H
#define SHOAL_REGION_WAIT_H

#include "region/self.h"

/* In an eventcount, which is {sequence:30, ARMED:1, SLEEPERS:1}. ARMED: somebody polls a descriptor that
 * is to be rung (poll.h). */
enum { SLEEPERS = 1, ARMED = 2, EVENT_STEP = 4 };
#define WAIT_GUARD 0xfffffffeu /* the frame's id for the guard of the unit map */

struct waiter {
    _Atomic uint64_t *frame;
    struct os_robust *role; /* held from the first sleep to wait_end */
    uint32_t group;         /* of slots that it watches */
    int64_t slice;          /* how soon to look at doubtful lives again; grows */
    bool slices;            /* membarrier was refused: sleep in slices */
    bool doubt;             /* its last look left a life in doubt: somebody must go on looking */
};

int wait_begin(struct waiter *w, uint32_t id);
void wait_end(struct waiter *w);
uint32_t wait_announce(struct waiter *w, _Atomic uint32_t *event);
/* Sleeps while *word == value, watching over the family; 0: look again. -ETIMEDOUT, -EAGAIN
 * (SHOAL_NOW), -EINVAL (less), -EINTR. */
int wait_park(struct waiter *w, const _Atomic uint32_t *word, uint32_t value, int64_t deadline);

/* Wakes up to n sleepers, clearing their bit first, and rings all pollers, clearing theirs afterwards;
 * called where one of the bits was seen. */
void wait_wake_slow(_Atomic uint32_t *event, int n);
/* For state changes made by a locked instruction (a full fence; on other machines than x86 a fence
 * of its own). */
static inline void wait_wake(_Atomic uint32_t *event, int n)
{
#if !defined(__x86_64__)
    atomic_thread_fence(memory_order_seq_cst);
#endif
    if (unlikely(atomic_load_explicit(event, memory_order_relaxed) & (SLEEPERS | ARMED)))
        wait_wake_slow(event, n);
}

/* Busy waiting before sleeping: pauses for about 1 us, then yields for some tens. False when it is
 * time to sleep. A thread that found its core shared yields at once: pausing would only keep the
 * one it waits for from running. */
struct spin {
    int left, step;
    int64_t until;
};
static inline struct spin spin_begin(void)
{
    return (struct spin){.left = shoal_thread.shares_core ? 0 : process_self.keep.spin, .step = 1};
}
bool spin_yield(struct spin *s);
static inline bool spin_once(struct spin *s)
{
    if (likely(s->left > 0)) {
        s->left -= s->step;
        for (int i = 0; i < s->step; i++)
            os_pause();
        return true;
    }
    return spin_yield(s);
}
/* Looks rarely, and then less and less often: for a word that its holder writes, since each look
 * takes the cache line away from it. */
static inline void spin_back_off(struct spin *s)
{
    s->step = s->step < 8 ? 8 : s->step < 32 ? s->step * 2 : 32;
}

/* ---- owner words that can be waited for: the core of lock, rlock, rwlock, once and the guard
 * ---- */

/* Takes *word for `me`, waiting on *event; a dead owner is succeeded. `id`: of the object, for the
 * frame. 0, SHOAL_OWNER_DIED (*dead tells whom), -errno. */
int owner_acquire_slow(_Atomic owner_t *word, _Atomic uint32_t *event, uint32_t id, owner_t me,
                       int64_t deadline, owner_t *dead);
static inline bool owner_try(_Atomic owner_t *word, owner_t me)
{
    owner_t none = 0;
    return atomic_compare_exchange_strong_explicit(word, &none, me,
                                                   MUTANT(3) ? memory_order_relaxed
                                                             : memory_order_acquire,
                                                   memory_order_relaxed);
}
/* *word == me, and nobody else changes it meanwhile. */
static inline void owner_release(_Atomic owner_t *word, _Atomic uint32_t *event)
{
    if (likely(process_self.keep.asymmetric)) {
        atomic_store_explicit(word, 0, MUTANT(2) ? memory_order_relaxed : memory_order_release);
        atomic_signal_fence(memory_order_seq_cst);
    } else {
        atomic_exchange(word, 0);
#if !defined(__x86_64__)
        atomic_thread_fence(memory_order_seq_cst);
#endif
    }
    if (unlikely(atomic_load_explicit(event, memory_order_relaxed) & SLEEPERS) && !MUTANT(4))
        wait_wake_slow(event, 1);
}

#endif
