/* Networks of processes: start all, wait for all. Each member has its ends and no others, so that what it holds says when
 * a side of a channel is over: a process gives back at its beginning what other ends it has inherited.
 */
#include "csp/channel.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct member {
    shoal_csp_target target;
    void *argument;
    const char *name;
    shoal_channel_end **ends;
    size_t n_ends;
    int *result;
    int value;
    bool thread, started;
    pthread_t id;
    shoal_process *process;
};

struct shoal_network {
    size_t n;
    unsigned flags;
    shoal_channel_end **ends; /* of all members, one after the other */
    struct member members[];
};

/* ---- a member ---- */

/* Those of the calling process that are none of these n. */
static void close_others(shoal_channel_end *const ends[], size_t n)
{
    for (uint32_t g = 0; (g = object_next_group(process_self.slot, g)) != UINT32_MAX; g++) {
        const unsigned char *row = object_row(g, process_self.slot);
        for (uint32_t id = g * GROUP; row && id < (g + 1) * GROUP; id++) {
            size_t i = 0;
            if (row[id % GROUP] != HOLD_HELD || header_at(id)->type != TYPE_CHANNEL_END)
                continue;
            while (i < n && handle_of(ends[i]) != &handles[id])
                i++;
            void *end = (unsigned char *)&handles[id] + (handles[id].generation & TAG_MASK);
            while (i == n && header_of(end, TYPE_CHANNEL_END))
                shoal_channel_end_close(end);
        }
    }
}

/* Passes on that it was ended. */
static int run(const struct member *m)
{
    int rc = m->target(m->argument, m->ends);
    for (size_t i = 0; i < m->n_ends; i++) {
        if (rc == -ECANCELED)
            shoal_channel_poison(m->ends[i]);
        shoal_channel_retire(m->ends[i]);
        shoal_channel_end_close(m->ends[i]);
    }
    if (rc == -EPIPE || rc == -ECANCELED)
        return 0;
    return rc < 0 || rc > 255 ? 255 : rc;
}

static int in_process(void *argument)
{
    const struct member *m = argument;
    close_others(m->ends, m->n_ends);
    return run(m);
}

static void *in_thread(void *argument)
{
    struct member *m = argument;
    m->value = run(m);
    return NULL;
}

static int start(struct member *m)
{
    shoal_process_options options = {.name = m->name};
    int rc = m->thread ? -pthread_create(&m->id, NULL, in_thread, m)
                       : shoal_process_start(&m->process, in_process, m, &options);
    if (rc && m->thread)
        rc = fail(rc, "a network: no thread: %s", strerror(-rc));
    m->started = !rc;
    return rc;
}

/* Waits for its end: its result. */
static int join(struct member *m)
{
    int rc;
    if (m->thread) {
        pthread_join(m->id, NULL);
        return m->value;
    }
    do
        rc = shoal_process_join(m->process, SHOAL_FOREVER);
    while (rc == -EINTR);
    if (!rc)
        rc = shoal_process_exit_code(m->process, &m->value);
    if (!rc)
        shoal_process_close(m->process);
    return rc ? rc : m->value;
}

/* ---- all of them ---- */

static int check(const shoal_csp_process *p, size_t i)
{
    if (!p->target)
        return fail(-EINVAL, "a network: process %zu has no function (NULL)", i);
    if (!p->ends && p->n_ends)
        return fail(-EINVAL, "a network: process %zu has %zu ends at NULL", i, p->n_ends);
    for (size_t k = 0; k < p->n_ends; k++)
        if (!header_of(p->ends[k], TYPE_CHANNEL_END))
            return bad_handle(p->ends[k], "an end for a process of a network");
    return 0;
}

/* Another end of the same side of the same channel. */
static int fresh(const shoal_channel_end *end, shoal_channel_end **ret)
{
    const struct end_body *e = end_body(header_of(end, TYPE_CHANNEL_END));
    void *channel = (unsigned char *)&handles[e->channel] + (e->generation & TAG_MASK);
    if (channel_barrier(header_at(e->channel)))
        return shoal_channel_enrol(channel, ret);
    return e->side == READER ? shoal_channel_reader(channel, ret)
                             : shoal_channel_writer(channel, ret);
}

/* The ends that it has now, or was to have: those that were given, too. */
static void drop_ends(struct member *m, bool poison)
{
    for (size_t k = 0; k < m->n_ends; k++) {
        if (poison)
            shoal_channel_poison(m->ends[k]);
        if (!m->thread || !m->started) /* a thread closes its own */
            shoal_channel_end_close(m->ends[k]);
    }
}

/* If it fails all ends that were given are there nevertheless, to be dropped. */
static int fill(shoal_network *net, const shoal_csp_process processes[], size_t n)
{
    shoal_channel_end **ends = net->ends;
    int rc = 0;
    for (size_t i = 0; i < n; i++) {
        const shoal_csp_process *p = &processes[i];
        for (size_t r = 0; r < (p->replicas ? p->replicas : 1); r++) {
            struct member *m = &net->members[net->n++];
            *m = (struct member){.target = p->target,
                                 .argument = p->argument,
                                 .name = p->name,
                                 .ends = ends,
                                 .result = p->results ? &p->results[r] : NULL,
                                 .thread = net->flags & SHOAL_CSP_THREADS};
            for (; m->n_ends < p->n_ends; m->n_ends++, ends++) {
                *ends = p->ends[m->n_ends];
                if (r && !rc)
                    rc = fresh(p->ends[m->n_ends], ends);
                if (r && rc)
                    break;
            }
        }
    }
    return rc;
}

static void free_network(shoal_network *net)
{
    free(net->ends);
    free(net);
}

int shoal_network_join(shoal_network *net)
{
    int failed = 0;
    if (!net)
        return fail(-EINVAL, "shoal_network_join: NULL is not a handle");
    for (size_t i = 0; i < net->n; i++) {
        struct member *m = &net->members[i];
        int value = m->started ? join(m) : 0;
        if (m->result)
            *m->result = value;
        failed += value != 0;
    }
    free_network(net);
    return failed;
}

/* All its members, with their ends: all are there before anybody can end one. */
static int make(shoal_network **ret, const shoal_csp_process processes[], size_t n, unsigned flags)
{
    size_t members = 0, ends = 0;
    owner_t me;
    if (!processes && n)
        return fail(-EINVAL, "a network: NULL");
    if (flags & ~SHOAL_CSP_THREADS)
        return fail(-EINVAL, "a network: unknown flags %#x", flags);
    int rc = self(&me);
    for (size_t i = 0; !rc && i < n; i++) {
        size_t replicas = processes[i].replicas ? processes[i].replicas : 1;
        members += replicas;
        ends += replicas * processes[i].n_ends;
        rc = check(&processes[i], i);
    }
    if (rc)
        return rc;
    shoal_network *net = calloc(1, sizeof *net + members * sizeof net->members[0]);
    if (net)
        net->ends = calloc(ends ? ends : 1, sizeof(shoal_channel_end *));
    if (!net || !net->ends) {
        free(net);
        return fail(-ENOMEM, "a network: no memory for %zu processes", members);
    }
    net->flags = flags;
    rc = fill(net, processes, n);
    if (rc) {
        for (size_t i = 0; i < net->n; i++)
            drop_ends(&net->members[i], true);
        free_network(net);
        return rc;
    }
    *ret = net;
    return 0;
}

int shoal_spawn(shoal_network **ret, const shoal_csp_process processes[], size_t n, unsigned flags)
{
    shoal_network *net = NULL;
    if (!ret)
        return fail(-EINVAL, "shoal_spawn: nowhere to write the handle (NULL)");
    int rc = make(&net, processes, n, flags);
    if (rc || !net)
        return rc;
    for (size_t i = 0; !rc && i < net->n; i++)
        rc = start(&net->members[i]);
    for (size_t i = 0; i < net->n; i++)
        drop_ends(&net->members[i], rc);
    if (rc) {
        shoal_network_join(net);
        return rc;
    }
    *ret = net;
    return 0;
}

int shoal_parallel(const shoal_csp_process processes[], size_t n, unsigned flags)
{
    shoal_network *net = NULL;
    int rc = shoal_spawn(&net, processes, n, flags);
    return rc ? rc : shoal_network_join(net);
}

int shoal_sequence(const shoal_csp_process processes[], size_t n, unsigned flags)
{
    shoal_network *net = NULL;
    int failed = 0, rc = make(&net, processes, n, flags);
    if (rc || !net)
        return rc;
    for (size_t i = 0; i < net->n; i++) {
        struct member *m = &net->members[i];
        if (!rc)
            rc = start(m);
        drop_ends(m, rc);
        int value = m->started ? join(m) : 0;
        if (m->result)
            *m->result = value;
        failed += value != 0;
    }
    free_network(net);
    return rc ? rc : failed;
}
