/* Whose the references are. Python's clients count them by connections that last for one request, so
 * no connection's end tells anything. What tells is the end of the process: the kernel knows who is at
 * the other end of a Unix socket, and a descriptor of that process is readable once it has ended. Its
 * references, and what its connections left behind (holder.c), go when it has ended and the last connection that it made is gone, too: a child may go on
 * with one. Nobody gives up what is another's.
 */
#include "manager/manager.h"
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static bool has_ended(const struct client *c)
{
    struct pollfd fd = {.fd = c->pidfd, .events = POLLIN};
    return c->ended || poll(&fd, 1, 0) > 0;
}

struct client *client_of(struct server *server, int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) || peer.pid <= 0)
        return NULL;
    struct client *c = server->clients;
    while (c && !(c->pid == peer.pid && !has_ended(c)))
        c = c->next;
    if (!c) {
        int pidfd = os_features()->pidfd ? os_pidfd_open(peer.pid) : -ENOSYS;
        bool ended = pidfd == -ESRCH; /* already: what it asks for goes with this connection */
        if (pidfd < 0 && !ended)
            return NULL;
        c = calloc(1, sizeof *c);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (!c || (!ended && epoll_ctl(server->epoll, EPOLL_CTL_ADD, pidfd, &event))) {
            free(c);
            if (!ended)
                close(pidfd);
            return NULL;
        }
        *c = (struct client){.watch.kind = WATCH_CLIENT,
                             .pid = peer.pid,
                             .pidfd = pidfd,
                             .ended = ended,
                             .next = server->clients};
        server->clients = c;
    }
    c->connections++;
    return c;
}

static void end(struct server *server, struct client *c)
{
    struct client **at = &server->clients;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    while (c->left) {
        struct holder *left = c->left;
        c->left = left->next;
        holder_end(server, left);
        free(left);
    }
    for (unsigned i = 0; i < c->n; i++)
        for (; c->shares[i].count; c->shares[i].count--) {
            c->shares[i].entry->shared--;
            entry_unref(&server->objects, c->shares[i].entry);
        }
    if (c->pidfd >= 0)
        close(c->pidfd);
    free(c->shares);
    free(c);
}

void client_ended(struct server *server, struct client *c)
{
    if (c->pidfd >= 0)
        epoll_ctl(server->epoll, EPOLL_CTL_DEL, c->pidfd, NULL);
    c->ended = true;
    if (!c->connections)
        end(server, c);
}

void client_leave(struct server *server, struct client *c)
{
    if (c && !--c->connections && c->ended)
        end(server, c);
}

static unsigned share_of(const struct client *c, const struct entry *entry)
{
    unsigned i = 0;
    while (i < c->n && c->shares[i].entry != entry)
        i++;
    return i;
}

int client_refer(struct client *c, struct entry *entry)
{
    if (!c) {
        entry->refs++;
        return 0;
    }
    unsigned i = share_of(c, entry);
    if (i == c->room) {
        unsigned room = c->room ? c->room * 2 : 8;
        struct references *shares = realloc(c->shares, room * sizeof *shares);
        if (!shares)
            return fail(-ENOMEM, "no memory for a reference");
        c->shares = shares;
        c->room = room;
    }
    if (i == c->n)
        c->shares[c->n++] = (struct references){entry, 0};
    c->shares[i].count++;
    entry->shared++;
    entry->refs++;
    return 0;
}

bool client_unrefer(struct client *c, struct entry *entry)
{
    unsigned i = c ? share_of(c, entry) : 0;
    if (!c || i == c->n) /* of a client that is not known, then */
        return entry->refs > entry->shared + entry->named;
    if (!--c->shares[i].count)
        c->shares[i] = c->shares[--c->n];
    entry->shared--;
    return true;
}
