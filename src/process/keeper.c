/* The keeper: a process beside each that has daemons, which ends them when that one has ended,
 * however it did.
 *
 * A daemon ends by itself, too (daemon.c), and sooner; but not where it is stopped or blocks the
 * signal, nor where it is a program that does not know of shoal, which the signal would kill before
 * anybody could look what is below it. The keeper needs nothing of them. It sleeps until its parent
 * has ended, looks in the region which daemons that one had, and kills them with all that is below
 * them.
 *
 * It is made by a bare clone, so it runs no handlers and holds nothing; its end is told to nobody,
 * so that the program's own waitpid(-1) does not meet it. It is in a session of its own, and leaves
 * the program's memory, descriptors and working folder, but for the region's descriptor. Whoever
 * makes daemons looks first whether it is there, and makes another if it is not.
 */
#include "process/child.h"
#include "process/processes.h"
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLICE = 20000000, AGAIN = 1000000, MOST = 2000 };

/* Whose keeper it is. */
struct kept {
    pid_t pid;
    uint32_t slot, generation;
};

/* ---- what it does in the end ---- */

/* Without /proc: what certainly lives is killed, and nobody knows what is below it. */
static void kill_unseen(struct slot *slot, uint64_t word)
{
    pid_t pid = atomic_load(&slot->pid);
    int fd = os_features()->pidfd ? os_pidfd_open(pid) : -1;
    if (fd < 0)
        return;
    if (os_robust_held(atomic_load(os_robust_word(&slot->life))) &&
        atomic_load(&slot->word) == word && atomic_load(&slot->pid) == pid)
        os_pidfd_signal(fd, SIGKILL);
    close(fd);
}

/* Whether slot s has to be looked at again. The caller's own children are its own affair. */
static bool end_daemon(const struct kept *kept, uint32_t s)
{
    struct slot *slot = slot_at(s);
    uint64_t word = atomic_load(&slot->word);
    struct os_process process;
    /* The flag is set after the parent is written, and zeroed before the slot is free. */
    if (!(atomic_load(&slot->flags) & SLOT_FLAG_DAEMON) || slot->parent != kept->slot ||
        slot->parent_generation != kept->generation)
        return false;
    if (!life_process(s, word, &process)) {
        kill_unseen(slot, word);
        return atomic_load(&slot->word) != word;
    }
    if (os_process_over(&process) || process.parent == getpid())
        return false;
    tree_kill(process.pid, s, (uint32_t)(word >> 32), 0);
    return true;
}

static bool end_daemons(const struct kept *kept)
{
    uint32_t high = atomic_load(&view.region->slots_high);
    bool more = false;
    for (uint32_t s = 1; s < high; s++)
        more = end_daemon(kept, s) || more;
    return more;
}

/* ---- in the keeper ---- */

static void leave_program(int fd, int parent_fd)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    setsid();
    os_name_thread("shoal-keeper");
    os_close_all_but(fd, parent_fd);
    int rc = chdir("/");
    (void)rc;
    if (fd >= 0) /* else it could not be mapped again */
        os_memory_shed();
}

static void until_gone(pid_t parent, int parent_fd)
{
    struct pollfd p = {.fd = parent_fd, .events = POLLIN};
    while (getppid() == parent && !p.revents)
        if (parent_fd < 0)
            os_sleep(SLICE);
        else
            poll(&p, 1, -1);
}

static _Noreturn void keep(const struct kept *kept)
{
    int fd = region_fd(), parent_fd = os_features()->pidfd ? os_pidfd_open(kept->pid) : -1;
    leave_program(fd, parent_fd);
    until_gone(kept->pid, parent_fd);
    bool more = fd < 0 || !region_map(fd);
    for (int i = 0; more && i < MOST; i++) {
        more = end_daemons(kept);
        os_sleep(AGAIN); /* they have been sent SIGKILL, and need the time to end */
    }
    _exit(0);
}

/* ---- in its parent ---- */

/* Whether it is there; if it has ended, it is reaped. */
static bool is_there(pid_t keeper)
{
    siginfo_t info = {.si_pid = 0};
    return keeper && !waitid(P_PID, (id_t)keeper, &info, WEXITED | WNOHANG | __WALL) &&
           !info.si_pid;
}

void keeper_start(void)
{
    struct slot *slot = slot_at(process_self.slot);
    struct kept kept = {os_getpid(), process_self.slot, process_self.generation};
    int error = errno;
    if (!is_there(atomic_load(&slot->keeper))) {
        pid_t pid = os_fork_plain(0);
        if (!pid)
            keep(&kept);
        atomic_store(&slot->keeper, pid > 0 ? pid : 0);
    }
    errno = error;
}

void keeper_stop(void)
{
    if (!self_known())
        return;
    struct slot *slot = slot_at(process_self.slot);
    struct kept kept = {os_getpid(), process_self.slot, process_self.generation};
    pid_t pid = atomic_load(&slot->keeper);
    int error = errno;
    end_daemons(&kept); /* those whose fathers, shells perhaps, have ended */
    atomic_store(&slot->keeper, 0);
    if (is_there(pid)) { /* and not reaped, so the number is its own */
        kill(pid, SIGKILL);
        waitpid(pid, NULL, __WALL);
    }
    errno = error;
}

bool keeper_of_parent(uint32_t s)
{
    const struct slot *parent = slot_of_parent(slot_at(s));
    return parent && atomic_load(&parent->keeper);
}
