/* message/address.h - where listeners listen: between shoal_address and the kernel's form. */
#ifndef SHOAL_ADDRESS_H
#define SHOAL_ADDRESS_H

#include <netinet/in.h>
#include <shoal/pipe.h>
#include <sys/socket.h>
#include <sys/un.h>

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_un path;
        struct sockaddr_in ip4;
        struct sockaddr_in6 ip6;
        struct sockaddr_storage room;
    };
    socklen_t size;
};
enum { ADDRESSES = 8 /* of one name */, ADDRESS_TEXT = 120 };

/* All that it may mean, the best first: how many, up to ADDRESSES; -EINVAL, -ENAMETOOLONG,
 * -EHOSTUNREACH (no such name). */
int address_resolve(struct address ret[ADDRESSES], const shoal_address *address, const char *what);
/* Its parts; `text` holds path or host. */
void address_parts(const struct address *address, char text[ADDRESS_TEXT], shoal_address *ret);
/* "127.0.0.1 port 80", "process 4711" (of a Unix socket): for sentences. */
void address_of_peer(int fd, char text[ADDRESS_TEXT]);

#endif
