/* The region's memory: a sealed memfd, populated before it is used; the page that a fork wipes;
 * byte locks on the file. */
#define _GNU_SOURCE
#include "os/os.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

int os_memory_map(int fd, uint64_t size, void **ret_base)
{
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base == MAP_FAILED)
        return -errno;
    /* A crashing worker's core dump would fill the whole reserve in. */
    madvise(base, size, MADV_DONTDUMP);
    *ret_base = base;
    return 0;
}

static uint64_t half(uint64_t n)
{
    return n / 2 / 4096 * 4096;
}

int os_memory_create(uint64_t *size, uint64_t least, int *ret_fd, void **ret_base)
{
    struct rlimit file;
    int fd = memfd_create("shoal", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    fchmod(fd, 0600);
    uint64_t n = *size;
    if (!getrlimit(RLIMIT_FSIZE, &file) && file.rlim_cur != RLIM_INFINITY) {
        while (n > file.rlim_cur && n > least)
            n = half(n); /* ftruncate beyond it would be a signal */
        if (n > file.rlim_cur) {
            close(fd);
            return -EFBIG;
        }
    }
    for (; n >= least; n = half(n)) {
        if (ftruncate(fd, (off_t)n))
            continue;
        if (os_memory_map(fd, n, ret_base))
            continue;
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
        *size = n;
        *ret_fd = fd;
        return 0;
    }
    close(fd);
    return -ENOMEM;
}

int os_memory_populate(void *address, size_t size, int fd, uint64_t offset)
{
    int error = errno, result = 0;
    if (os_features()->populate) {
        while (madvise(address, size, MADV_POPULATE_WRITE)) {
            if (errno == EINTR || errno == EAGAIN)
                continue;
            result = -ENOMEM;
            break;
        }
    } else if (fd >= 0) {
        while (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size)) {
            if (errno == EINTR)
                continue;
            result = -ENOMEM;
            break;
        }
    } else {
        result = -ENOMEM; /* the descriptor is gone (closerange): no safe way to get memory */
    }
    errno = error;
    return result;
}

void os_memory_remove(void *address, size_t size)
{
    int error = errno;
    madvise(address, size, MADV_REMOVE);
    errno = error;
}

/* ---- shedding ---- */

/* Theirs is memory that looks like any other, and they are called by libc's functions. */
__attribute__((weak)) void __asan_init(void);
__attribute__((weak)) void __tsan_init(void);
__attribute__((weak)) void __msan_init(void);

/* What a line of /proc/self/maps says: "start-end rw-p offset device inode name". */
struct mapping {
    uintptr_t start, end;
    bool writable, executable, shared, file;
};

static uintptr_t parse_hex(const char **text)
{
    uintptr_t n = 0;
    for (;; (*text)++) {
        char c = **text;
        if (c >= '0' && c <= '9')
            n = n * 16 + (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            n = n * 16 + (uintptr_t)(c - 'a' + 10);
        else
            return n;
    }
}

static struct mapping parse_mapping(const char *line)
{
    struct mapping m = {.start = parse_hex(&line)};
    if (*line == '-')
        line++;
    m.end = parse_hex(&line);
    m.writable = strlen(line) > 4 && line[2] == 'w';
    m.executable = m.writable ? line[3] == 'x' : strlen(line) > 4 && line[3] == 'x';
    m.shared = strlen(line) > 4 && line[4] == 's';
    for (int field = 0; field < 4 && line; field++) {
        line = strchr(line, ' ');
        line = line ? line + 1 : NULL;
    }
    m.file = line && *line != '0';
    return m;
}

/* A file's private mapping is a library's, or costs nothing; the one right behind it may be a
 * library's too, what it begins with as zeroes. */
static void shed(const struct mapping *m, const struct mapping *before)
{
    uintptr_t stack = (uintptr_t)__builtin_frame_address(0), local = (uintptr_t)&errno;
    bool mine = (stack >= m->start && stack < m->end) || (local >= m->start && local < m->end);
    if (mine || m->executable)
        return;
    if (m->shared)
        munmap((void *)m->start, m->end - m->start);
    else if (m->writable && !m->file && !(before->file && before->end == m->start))
        madvise((void *)m->start, m->end - m->start, MADV_DONTNEED);
}

void os_memory_shed(void)
{
    char text[1024], line[128] = "";
    size_t length = 0;
    ssize_t n;
    struct mapping before = {.end = 0};
    int fd = __asan_init || __tsan_init || __msan_init
                 ? -1
                 : open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && (n = read(fd, text, sizeof text)) > 0)
        for (ssize_t i = 0; i < n; i++) {
            if (text[i] != '\n') {
                if (length < sizeof line - 1)
                    line[length++] = text[i];
                continue;
            }
            line[length] = 0;
            length = 0;
            struct mapping m = parse_mapping(line);
            shed(&m, &before);
            before = m;
        }
    if (fd >= 0)
        close(fd);
}

void *os_memory_wiped_page(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return NULL;
    if (os_features()->wipe_on_fork)
        madvise(page, 4096, MADV_WIPEONFORK); /* elsewhere pthread_atfork does it */
    return page;
}

int os_byte_lock(int fd, uint64_t byte)
{
    struct flock lock = {.l_type = F_WRLCK,
                         .l_whence = SEEK_SET,
                         .l_start = (off_t)byte,
                         .l_len = 1};
    return fcntl(fd, F_SETLK, &lock) ? -errno : 0;
}

int os_byte_locked_by(int fd, uint64_t byte, pid_t *ret)
{
    struct flock lock = {.l_type = F_WRLCK,
                         .l_whence = SEEK_SET,
                         .l_start = (off_t)byte,
                         .l_len = 1};
    if (fcntl(fd, F_GETLK, &lock))
        return -errno;
    if (lock.l_type == F_UNLCK)
        return 0;
    *ret = lock.l_pid;
    return 1;
}
