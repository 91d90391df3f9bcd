/* Starting a child by fork, and its end.
 *
 * The region's fork handlers reserve the child's slot and copy what the parent holds; what is here
 * names the child, makes the handle and carries out options. A child that cannot do what was asked
 * reports that through a pipe and ends before its target runs; without options there is no pipe.
 */
#include "process/child.h"
#include "process/processes.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const shoal_process_options no_options;

/* What a child that failed says. */
struct report {
    int result;
    char detail[sizeof shoal_thread.detail];
};

/* By hand, as the usual function's stack would be one more page to copy. Returns where it ends. */
static char *append(char *at, const char *end, const char *text)
{
    while (*text && at < end)
        *at++ = *text++;
    *at = 0;
    return at;
}

void launch_name(struct child *child, const char *name, char identity[NAME])
{
    const char *mine = slot_at(process_self.slot)->identity;
    enum { PREFIX = sizeof "Process-" - 1, DIGITS = 11 };
    char digits[DIGITS], *number = digits + DIGITS - 1;
    unsigned n = ++children->count;
    *number = 0;
    do
        *--number = (char)('0' + n % 10);
    while (n /= 10);
    char *at = append(identity, identity + NAME - 1 - PREFIX - DIGITS, mine);
    if (*mine)
        *at++ = ':';
    append(at, identity + NAME - 1 - PREFIX, number);
    at = append(child->name, child->name + NAME - 1, name ? name : "Process-");
    if (!name)
        append(at, child->name + NAME - 1, identity);
}

int launch_begin(struct launch *l, const char *call, const shoal_process_options *options,
                 bool reports, unsigned flags)
{
    owner_t me;
    int rc = self(&me);
    if (rc)
        return rc;
    *l = (struct launch){.call = call,
                         .options = options ? options : &no_options,
                         .report = {-1, -1}};
    rc = option_check(l->options, call);
    if (rc)
        return rc;
    child_begin();
    streams_flush(); /* so that it comes before what the child prints */
    os_mutex_lock(&child_mutex);
    if ((reports || option_any(l->options)) && pipe2(l->report, O_CLOEXEC)) {
        rc = fail(-errno, "%s: no pipe: %s", call, strerror(errno));
        os_mutex_unlock(&child_mutex);
        return rc;
    }
    l->child = child_new(CHILD);
    if (!l->child) {
        launch_end(l, -1, ENOMEM);
        return fail(-ENOMEM, "%s: no memory for a handle", call);
    }
    l->parent = l->child->owner;
    /* Whatever is below a daemon is one. */
    if (atomic_load(&slot_at(process_self.slot)->flags) & SLOT_FLAG_DAEMON)
        flags |= SLOT_FLAG_DAEMON;
    if (l->options->flags & SHOAL_DAEMON)
        flags |= SLOT_FLAG_DAEMON;
    l->child->daemon = flags & SLOT_FLAG_DAEMON;
    if (l->child->daemon)
        daemon_expect();
    if (l->child->daemon && !(flags & BIRTH_CLEAN))
        keeper_start();
    launch_name(l->child, l->options->name, l->identity);
    l->birth.flags = flags;
    self_start_begin(&l->birth, l->child->name, l->identity);
    return 0;
}

/* Under child_mutex: what fork made of it; 0 or -errno. */
static int born(struct launch *l, pid_t pid, int error)
{
    const struct birth *b = &l->birth;
    self_start_end();
    if (pid < 0) {
        if (b->slot)
            life_ended(b->slot, b->generation, true);
        return fail(-error, "%s: fork: %s", l->call, strerror(error));
    }
    l->child->pid = pid;
    l->child->family = view.region->family;
    l->child->slot = b->slot;
    l->child->generation = b->generation;
    child_number_reused(l->child);
    if (b->slot)
        return 0;
    waitpid(pid, NULL, 0); /* it saw that it has no slot, and ended */
    return -EAGAIN;        /* the handler that looked for one has left the sentence */
}

/* Waits for the child's word about its options; a function of its own, so that other starts touch
 * less stack. */
__attribute__((noinline)) static int take_report(struct launch *l)
{
    struct report report = {0};
    ssize_t n;
    while ((n = read(l->report[0], &report, sizeof report)) < 0 && errno == EINTR)
        ;
    close(l->report[0]);
    if (n != sizeof report || !report.result)
        return 0;
    child_abandon(l->child);
    report.detail[sizeof report.detail - 1] = 0;
    return fail(report.result, "%s", report.detail);
}

int launch_end(struct launch *l, pid_t pid, int error)
{
    int rc = l->child ? born(l, pid, error) : -error;
    if (l->report[1] >= 0)
        close(l->report[1]);
    if (rc && l->child)
        child_drop(l->child);
    os_mutex_unlock(&child_mutex);
    if (l->report[0] < 0)
        return rc;
    if (!rc)
        return take_report(l);
    close(l->report[0]);
    return rc;
}

/* ---- in the child ---- */

void launch_fail(const struct launch *l, int result)
{
    struct report report = {.result = result};
    memcpy(report.detail, shoal_thread.detail, sizeof report.detail);
    /* A pipe takes that much at once; if the parent is gone there is nobody to tell. */
    ssize_t n = write(l->report[1], &report, sizeof report);
    (void)n;
    atomic_fetch_or(&slot_at(l->birth.slot)->flags, SLOT_FLAG_CLEAN);
    self_leave();
    _exit(127);
}

CHILD_PATH void launch_settle(const struct launch *l)
{
    const struct birth *b = &l->birth;
    if (!b->slot)
        _exit(127);
    streams_forget();
    if (l->follows) {
        struct slot *slot = slot_at(b->slot);
        slot->parent = l->follows_slot;
        slot->parent_generation = l->follows_generation;
        /* inherited from it, not from the server */
        const struct slot *parent = slot_at(l->follows_slot);
        slot->authkey_size = parent->authkey_size;
        memcpy(slot->authkey, parent->authkey, sizeof slot->authkey);
        atomic_store(&slot->quota, atomic_load(&parent->quota));
    }
    if (b->flags & SLOT_FLAG_DAEMON)
        daemon_arm(l->parent, l->follows, l->follows_start);
    if (l->report[1] < 0)
        return;
    int rc = option_apply(l->options, l->call);
    if (rc)
        launch_fail(l, rc);
}

CHILD_PATH void launch_ready(const struct launch *l)
{
    if (l->report[1] < 0)
        return;
    close(l->report[0]); /* the pipe's end says so */
    close(l->report[1]);
}

CHILD_PATH void process_finish(int code)
{
    owner_t me;
    daemon_end_all();
    streams_finish();
    if (!self(&me)) {
        struct slot *slot = slot_at(process_self.slot);
        atomic_store(&slot->exit_status, EXIT_CODE | (code & 0xff));
        if (self_leave()) /* other threads are inside: whoever sees it gone gives everything back */
            atomic_fetch_or(&slot->flags, SLOT_FLAG_CLEAN);
    }
    _exit(code & 0xff);
}

CHILD_PATH int shoal_process_start(shoal_process **ret, shoal_target target, void *argument,
                                   const shoal_process_options *options)
{
    struct launch l;
    int before = errno;
    const char *call = "shoal_process_start";
    if (!ret || !target)
        return fail(-EINVAL, "%s: no %s", call, ret ? "target" : "place for the handle");
    int rc = launch_begin(&l, call, options, false, 0);
    if (rc)
        return rc;
    pid_t pid = fork();
    if (!pid) {
        launch_settle(&l);
        launch_ready(&l);
        process_finish(target(argument));
    }
    rc = launch_end(&l, pid, errno);
    if (errno != before) /* a write would have to copy its page, which the child has too */
        errno = before;
    if (!rc)
        *ret = child_handle(l.child);
    return rc;
}
