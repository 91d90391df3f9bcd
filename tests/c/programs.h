/* programs.h: what tests share that start the program shoal-member (member.c) by exec. */
#ifndef TESTS_PROGRAMS_H
#define TESTS_PROGRAMS_H

#include "processes.h"
#include <spawn.h>

/* Beside the test program. Asked before main: the runner's own mount namespace makes the answer a
 * path from outside in a chroot. */
static char member_path[4200];

__attribute__((constructor)) static void find_member(void)
{
    ssize_t n = readlink("/proc/self/exe", member_path, 4096);
    while (n > 0 && member_path[n - 1] != '/')
        n--;
    if (n > 0)
        snprintf(member_path + n, sizeof member_path - (size_t)n, "shoal-member");
}

static inline char *member(void)
{
    pid_t pid;
    int status;
    char name[] = "member", what[] = "exit", code[] = "0";
    char *argv[] = {name, what, code, NULL}, *none[] = {NULL};
    ASSERT_TRUE(member_path[0]);
    if (posix_spawn(&pid, member_path, NULL, NULL, argv, none) || waitpid(pid, &status, 0) != pid ||
        status) /* under qemu-user, for one */
        SKIP("the kernel cannot execute this build's programs by itself");
    return member_path;
}

/* The words as member.c takes them. */
static inline char *words_reference(void)
{
    static char text[80];
    shoal_reference r;
    ASSERT_OK(shoal_memory_reference(words_memory, &r));
    snprintf(text, sizeof text, "%lx:%u:%u", (unsigned long)r.family, r.id, r.generation);
    return text;
}

#endif
