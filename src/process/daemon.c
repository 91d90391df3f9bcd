/* Daemons: processes that end with their parent, however that ended, and take everything below them
 * along.
 *
 * The kernel sends DAEMON_SIGNAL when the *thread* that forked the daemon ends, so the handler
 * looks whether the process is gone; if it is not, nothing but the parent's keeper (keeper.c) will
 * tell when it goes, and where there is none a timer makes the handler look from then on. A daemon
 * computes while its parent dies, so all of this is a handler that calls nothing but the kernel. It
 * does not kill the tree itself, since its own process's other threads could go on forking: it forks
 * a last child, which runs no handlers, stops
 * the daemon and everything below it, and kills them. At the parent's normal end the parent does
 * it, whatever signals its daemons block.
 */
#include "process/child.h"
#include "process/processes.h"
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#define DAEMON_SIGNAL (SIGRTMAX - 2)
enum { PERIOD = 50000000 };

/* Written before the handler is installed. */
static struct {
    pid_t kernel_parent; /* who forked it; -1: somebody in between */
    pid_t parent;        /* whose death it follows, if somebody else forked it; 0: the same */
    uint64_t parent_start;
    pid_t me; /* 0: this process is no daemon */
    uint32_t slot, generation;
    bool timer;
} armed;

static bool parent_gone(void)
{
    struct os_process parent;
    if (getppid() == armed.kernel_parent)
        return false;
    if (!armed.parent)
        return true;
    int rc = os_process_look(armed.parent, &parent);
    if (rc == -ESRCH) /* or /proc is not there */
        return kill(armed.parent, 0) && errno == ESRCH;
    return !rc && (parent.start != armed.parent_start || os_process_over(&parent));
}

/* Never returns to what the daemon did. */
static void end_tree(void)
{
    pid_t me = getpid();
    pid_t last = os_fork_plain(SIGCHLD);
    if (last == 0) {
        tree_kill(me, armed.slot, armed.generation, 0);
        if (getppid() == me) /* /proc did not show it */
            kill(me, SIGKILL);
        _exit(0);
    }
    if (last > 0)
        for (;;)
            pause();
    /* No process can be had: as well as it goes. */
    tree_kill(0, armed.slot, armed.generation, me);
    kill(me, SIGKILL);
}

static void on_signal(int number)
{
    int error = errno;
    if (armed.me == getpid()) {
        if (parent_gone())
            end_tree();
        if (!armed.timer && !keeper_of_parent(armed.slot))
            armed.timer = !os_signal_every(number, PERIOD);
    }
    errno = error;
}

/* Asks the kernel, and looks whether the parent went before it was asked. */
static void arm(void)
{
    armed.me = getpid();
    armed.timer = false;
    os_signal_at_parent_end(DAEMON_SIGNAL);
    if (parent_gone())
        on_signal(DAEMON_SIGNAL);
}

/* A child of a daemon is one too, even by a fork that shoal did not make; the parent's handler is
 * inherited. */
static void after_fork_child(void)
{
    if (!armed.me || armed.me == getpid())
        return;
    armed.kernel_parent = armed.me;
    armed.parent = 0;
    armed.slot = process_self.slot;
    armed.generation = process_self.generation;
    arm();
}

static void install(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigset_t set;
    sigemptyset(&action.sa_mask);
    sigaction(DAEMON_SIGNAL, &action, NULL);
    sigemptyset(&set);
    sigaddset(&set, DAEMON_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void daemon_arm(pid_t forker, pid_t parent, uint64_t parent_start)
{
    static bool handlers;
    if (armed.me == getpid())
        return; /* its fork handler did it */
    armed.me = 0;
    armed.kernel_parent = forker;
    armed.parent = parent;
    armed.parent_start = parent_start;
    armed.slot = process_self.slot;
    armed.generation = process_self.generation;
    install();
    if (!handlers)
        pthread_atfork(NULL, NULL, after_fork_child);
    handlers = true;
    arm();
}

/* A program that has joined, or a child of a bare clone. If its parent did not fork it itself (a
 * shell that it was started through did, which may have ended by now), it follows that parent. */
static void joined(void)
{
    const struct slot *slot = slot_at(process_self.slot);
    struct os_process process = {.start = 0};
    if (!(atomic_load(&slot->flags) & SLOT_FLAG_DAEMON))
        return;
    pid_t pid = atomic_load(&slot_at(slot->parent)->pid);
    os_process_look(pid, &process);
    bool there = pid && pid != getppid() && slot_of_parent(slot);
    daemon_arm(there || !pid ? -1 : pid, there ? pid : 0, process.start);
    if (there)
        on_signal(DAEMON_SIGNAL);
}

__attribute__((constructor)) static void hook(void)
{
    self_on_join = joined;
}

/* ---- the parent's normal end ---- */

static bool expected;

void daemon_expect(void)
{
    expected = true;
}

static int end_one(struct child *child, void *argument)
{
    bool fresh;
    (void)argument;
    if (child->daemon && !child_ended(child, &fresh) &&
        tree_kill(child->pid, child_slot(child), child->generation, 0) < 0)
        kill(child->pid, SIGKILL); /* ours, and not reaped: no other has its number */
    return 0;
}

CHILD_PATH void daemon_end_all(void)
{
    if (!expected)
        return;
    os_mutex_lock(&child_mutex);
    child_each(end_one, NULL);
    keeper_stop();
    os_mutex_unlock(&child_mutex);
}
