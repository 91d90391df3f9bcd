/* process/descriptor.h - a descriptor that is kept from call to call. */
#ifndef SHOAL_DESCRIPTOR_H
#define SHOAL_DESCRIPTOR_H

#include <sys/types.h>

struct descriptor {
    int fd; /* -1: none */
    dev_t device;
    ino_t inode;
};
void descriptor_keep(struct descriptor *kept, int fd);
/* Its number, or -1 if it is not that file any more. Does not set errno to anything that matters:
 * callers keep theirs. */
int descriptor_number(const struct descriptor *kept);
void descriptor_close(struct descriptor *kept);

#endif
