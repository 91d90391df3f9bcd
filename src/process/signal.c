/* Signals to a process. */
#include "process/child.h"
#include <signal.h>
#include <unistd.h>

static int send_signal(shoal_process *process, int number, const char *what)
{
    int rc;
    struct child *child = child_of(process, what, &rc);
    if (!child)
        return rc;
    if (child->kind == SELF)
        return raise(number) ? fail(-errno, "%s: %s", what, shoal_strerror(-errno)) : 0;
    child = child_own(process, what, &rc);
    if (!child)
        return rc;
    if (child_look(child))
        return 0;
    if (child->kind == CLEAN) {
        rc = forkserver_signal(child, number);
        return rc ? fail(rc, "%s: process %s (pid %d): %s", what, child->name, (int)child->pid,
                         shoal_strerror(rc))
                  : 0;
    }
    /* It is not reaped while the mutex is held, so the number is its own. */
    bool fresh;
    os_mutex_lock(&child_mutex);
    if (!child_ended(child, &fresh)) {
        int error = errno;
        if (kill(child->pid, number) && errno != ESRCH)
            rc = fail(-errno, "%s: process %s (pid %d): %s", what, child->name, (int)child->pid,
                      shoal_strerror(-errno));
        errno = error;
    }
    os_mutex_unlock(&child_mutex);
    if (fresh)
        child_gone(child);
    return rc;
}

int shoal_process_terminate(shoal_process *process)
{
    return send_signal(process, SIGTERM, "shoal_process_terminate");
}

int shoal_process_interrupt(shoal_process *process)
{
    return send_signal(process, SIGINT, "shoal_process_interrupt");
}

int shoal_process_kill(shoal_process *process)
{
    return send_signal(process, SIGKILL, "shoal_process_kill");
}
