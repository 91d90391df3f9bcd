/* Starting another program as a member of the family.
 *
 * The child is reserved and forked like any other; the region's fork handler leaves its slot
 * STARTING, and the new image takes it at its first call of shoal: the environment tells it the
 * region's descriptor and the slot. That exec worked shows by the closing of the report's pipe.
 */
#include "process/child.h"
#include "process/processes.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Its parent's keeper ends a daemon with what is below it. The signal would end the program alone,
 * and what it has started be nobody's. */
static void leave_daemon_to_keeper(const struct launch *l)
{
    uint32_t s = l->birth.slot;
    if (!(atomic_load(&slot_at(s)->flags) & SLOT_FLAG_DAEMON) || !os_features()->proc ||
        !keeper_of_parent(s))
        return;
    os_signal_at_parent_end(0);
    if (getppid() != l->parent) /* the keeper may have looked before there was anything to see */
        launch_fail(l, fail(-EPIPE, "shoal_process_start_exec: the parent has ended"));
}

void launch_program(const struct launch *l, const char *path, char *const argv[])
{
    char text[96];
    const struct slot *slot = slot_at(l->birth.slot);
    int fd = region_fd();
    if (fd < 0 || fcntl(fd, F_SETFD, 0))
        launch_fail(
            l, fail(-EBADF,
                    "shoal_process_start_exec: the program has closed the region's descriptor"));
    snprintf(text, sizeof text, SELF_FORMAT, fd, l->birth.slot, l->birth.generation, slot->parent,
             slot->parent_generation, atomic_load(&slot->flags) & SLOT_FLAG_DAEMON);
    if (setenv(SELF_ENVIRONMENT, text, 1))
        launch_fail(l, fail(-ENOMEM, "shoal_process_start_exec: no memory for the environment"));
    leave_daemon_to_keeper(l);
    execvp(path, argv);
    launch_fail(l, fail(-errno, "shoal_process_start_exec: %s: %s", path, strerror(errno)));
}

int shoal_process_start_exec(shoal_process **ret, const char *path, char *const argv[],
                             const shoal_process_options *options)
{
    struct launch l;
    int before = errno;
    if (!ret || !path || !argv || !argv[0])
        return fail(-EINVAL, "shoal_process_start_exec: no %s",
                    !ret    ? "place for the handle"
                    : !path ? "path"
                            : "arguments");
    int rc = launch_begin(&l, "shoal_process_start_exec", options, true, BIRTH_EXEC);
    if (rc)
        return rc;
    pid_t pid = fork();
    if (!pid) {
        launch_settle(&l);
        launch_program(&l, path, argv);
    }
    rc = launch_end(&l, pid, errno);
    errno = before;
    if (!rc)
        *ret = child_handle(l.child);
    return rc;
}
