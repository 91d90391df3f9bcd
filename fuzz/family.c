/* What a process believes of its parent: the variable SHOAL_FAMILY and the file that it names
 * (started by exec, a program joins the family that they describe). The input is the variable's
 * text, a zero byte, and what the file begins with; "%d" in the text stands for the file's
 * descriptor. Whatever they say, the first call is an error or works, and the process can leave
 * again. */
#include "region/self.h"
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Replaces the first %d. */
static void fill_in(char *ret, size_t room, const char *text, int fd)
{
    const char *at = strstr(text, "%d");
    if (at)
        snprintf(ret, room, "%.*s%d%s", (int)(at - text), text, fd, at + 2);
    else
        snprintf(ret, room, "%s", text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[256] = "", variable[300];
    shoal_statistics statistics;
    size_t length = strnlen((const char *)data, size < sizeof text ? size : sizeof text - 1);
    memcpy(text, data, length);
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 64 << 20))
        abort();
    if (length < size && write(fd, data + length + 1, size - length - 1) < 0)
        abort();
    fill_in(variable, sizeof variable, text, fd);
    setenv(SELF_ENVIRONMENT, variable, 1);
    int rc = shoal_memory_statistics(&statistics);
    if (getenv(SELF_ENVIRONMENT))
        abort(); /* children must not inherit it */
    if (!rc && shoal_detach())
        abort();
    region_unmap(); /* of a family that could be mapped but not joined */
    close(fd);
    return 0;
}
