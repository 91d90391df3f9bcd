/* Descriptors that are kept from call to call. The program may close them without knowing
 * (closerange), and their numbers become other files, so each is asked which file it is before it
 * is used or closed. */
#include "process/descriptor.h"
#include <sys/stat.h>
#include <unistd.h>

void descriptor_keep(struct descriptor *kept, int fd)
{
    struct stat st;
    *kept = (struct descriptor){.fd = -1};
    if (fd >= 0 && !fstat(fd, &st))
        *kept = (struct descriptor){fd, st.st_dev, st.st_ino};
}

int descriptor_number(const struct descriptor *kept)
{
    struct stat st;
    if (kept->fd < 0 || fstat(kept->fd, &st) || st.st_dev != kept->device ||
        st.st_ino != kept->inode)
        return -1;
    return kept->fd;
}

void descriptor_close(struct descriptor *kept)
{
    int fd = descriptor_number(kept);
    if (fd >= 0)
        close(fd);
    kept->fd = -1;
}
