/* process/processes.h - processes as the region and /proc show them, without handles: daemons, their
 * keepers, trees. Much of it runs in signal handlers and in processes that bare clones made. */
#ifndef SHOAL_PROCESSES_H
#define SHOAL_PROCESSES_H

#include "region/life.h"

/* The slot of a process's parent, as long as that one has it; NULL: it has none, or has ended. */
static inline const struct slot *slot_of_parent(const struct slot *slot)
{
    const struct slot *parent = slot_at(slot->parent);
    bool its = slot->parent && atomic_load(&parent->word) >> 32 == slot->parent_generation;
    return its ? parent : NULL;
}

/* ---- daemon.c ---- */
/* In the child: from now on it ends when its parent ends: `forker`, or, if that is not 0, `parent`,
 * in whose name the forker acted. */
void daemon_arm(pid_t forker, pid_t parent, uint64_t parent_start);
/* There will be a daemon: from now on daemon_end_all has something to do, in this process or one
 * below. */
void daemon_expect(void);
/* This process ends normally: its daemons end too. */
void daemon_end_all(void);

/* ---- keeper.c ---- */
/* Under child_mutex: sees to it that this process has a keeper, if one can be had. */
void keeper_start(void);
/* At a normal end, when this process has ended those of its daemons that are its own children. */
void keeper_stop(void);
/* Whether the parent of slot s's process has one. Async-signal-safe. */
bool keeper_of_parent(uint32_t s);

/* ---- tree.c ---- */
/* SIGKILL to `top` (0: it is gone already) and everything below it or below {slot, generation} (0:
 * not attached), stopped first; `spare` is left alone. How many were killed. Async-signal-safe. */
int tree_kill(pid_t top, uint32_t slot, uint32_t generation, pid_t spare);

#endif
