/* Addresses of listeners: paths, abstract names, TCP. */
#include "message/address.h"
#include "region/self.h"
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

static int resolve_path(struct address *ret, const shoal_address *a, const char *what)
{
    size_t size = a->path_size ? a->path_size : strlen(a->path);
    size_t room = sizeof ret->path.sun_path;
    if (!size || (a->path[0] && memchr(a->path, 0, size)))
        return fail(-EINVAL, "%s: %s", what, size ? "a path with a zero byte" : "an empty path");
    /* A path's own zero byte belongs to it; an abstract name has only its length. */
    if (size > (a->path[0] ? room - 1 : room))
        return fail(-ENAMETOOLONG, "%s: a path of %zu bytes; %zu at most", what, size, room - 1);
    *ret = (struct address){.path.sun_family = AF_UNIX};
    memcpy(ret->path.sun_path, a->path, size);
    ret->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + (a->path[0] != 0));
    return 1;
}

/* Adds those of one family to n others. */
static int take_family(struct address ret[ADDRESSES], int n, const struct addrinfo *found,
                       int family)
{
    for (; found && n < ADDRESSES; found = found->ai_next) {
        if (found->ai_family != family || found->ai_addrlen > sizeof ret[n].room)
            continue;
        memcpy(&ret[n].room, found->ai_addr, found->ai_addrlen);
        ret[n++].size = found->ai_addrlen;
    }
    return n;
}

/* IPv4 first: for Python's standard library a host and a port are always that. */
static int resolve_host(struct address ret[ADDRESSES], const shoal_address *a, const char *what)
{
    char port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found;
    int n = 0;
    if (a->port > 65535)
        return fail(-EINVAL, "%s: port %u", what, a->port);
    snprintf(port, sizeof port, "%u", a->port);
    int rc = getaddrinfo(a->host, port, &hints, &found);
    if (rc == EAI_MEMORY)
        return fail(-ENOMEM, "%s: host %s: no memory", what, a->host);
    if (rc)
        return fail(-EHOSTUNREACH, "%s: host %s: %s", what, a->host, gai_strerror(rc));
    n = take_family(ret, 0, found, AF_INET);
    n = take_family(ret, n, found, AF_INET6);
    freeaddrinfo(found);
    return n ? n : fail(-EHOSTUNREACH, "%s: host %s has no address", what, a->host);
}

int address_resolve(struct address ret[ADDRESSES], const shoal_address *a, const char *what)
{
    if (!a || !a->path == !a->host)
        return fail(-EINVAL, "%s: an address has either a path or a host", what);
    if (a->host && !a->host[0])
        return fail(-EINVAL, "%s: an empty host; 0.0.0.0 and :: are all of this machine's", what);
    return a->path ? resolve_path(ret, a, what) : resolve_host(ret, a, what);
}

void address_parts(const struct address *a, char text[ADDRESS_TEXT], shoal_address *ret)
{
    size_t head = offsetof(struct sockaddr_un, sun_path);
    *ret = (shoal_address){0};
    memset(text, 0, ADDRESS_TEXT);
    switch (a->any.sa_family) {
    case AF_UNIX:
        ret->path_size = a->size > head ? a->size - head : 0;
        memcpy(text, a->path.sun_path, ret->path_size);
        if (text[0])
            ret->path_size = strlen(text);
        ret->path = text;
        return;
    case AF_INET6:
        inet_ntop(AF_INET6, &a->ip6.sin6_addr, text, ADDRESS_TEXT);
        if (a->ip6.sin6_scope_id)
            snprintf(text + strlen(text), 16, "%%%u", a->ip6.sin6_scope_id);
        ret->port = ntohs(a->ip6.sin6_port);
        break;
    case AF_INET:
        inet_ntop(AF_INET, &a->ip4.sin_addr, text, ADDRESS_TEXT);
        ret->port = ntohs(a->ip4.sin_port);
        break;
    }
    ret->host = text;
}

void address_of_peer(int fd, char text[ADDRESS_TEXT])
{
    struct address a = {.size = sizeof a.room};
    struct ucred who = {0};
    socklen_t size = sizeof who;
    shoal_address parts;
    if (getpeername(fd, &a.any, &a.size)) {
        snprintf(text, ADDRESS_TEXT, "a peer that has gone");
        return;
    }
    if (a.any.sa_family == AF_UNIX) {
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size);
        snprintf(text, ADDRESS_TEXT, "process %d", (int)who.pid);
        return;
    }
    address_parts(&a, text, &parts);
    size_t n = strlen(text);
    snprintf(text + n, ADDRESS_TEXT - n, " port %u", parts.port);
}
