/* trees.h: what tests of daemons, of their keepers and of whole trees share. */
#ifndef TESTS_TREES_H
#define TESTS_TREES_H

#include "processes.h"
#include <fcntl.h>
#include <spawn.h>

/* Every process of a tree holds the write end of a pipe for as long as it lives: its end is read
 * when the last is gone. Orphans come to the test's process. */
static int alive[2];
static _Atomic long *words;
enum { BEGUN /* how many have */, GO_ON /* whether the parent may go on, or end */ };

static inline void open_all(void)
{
    words = words_open();
    ASSERT_SYS(pipe(alive));
    adopt_orphans();
}

/* Within a net of 10 s all that hold the pipe are gone, a keeper too. */
static inline void all_gone(void)
{
    char c;
    close(alive[1]);
    fcntl(alive[0], F_SETFL, O_NONBLOCK);
    for (int i = 0; read(alive[0], &c, 1) < 0; nap())
        ASSERT_LT_INT(i++, 5000);
    close(alive[0]);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    ASSERT_EQ_INT(errno, ECHILD);
    words_close();
}

/* A target. */
static inline int wait_for_ever(void *argument)
{
    atomic_fetch_add(&words[BEGUN], 1);
    while (pause() < 0)
        ;
    return argument != NULL;
}

/* A program that knows nothing of the family. */
static inline void run_sleep(void)
{
    pid_t pid;
    char name[] = "sleep", seconds[] = "1000", *argv[] = {name, seconds, NULL}, *none[] = {NULL};
    ASSERT_EQ_INT(posix_spawn(&pid, "/bin/sleep", NULL, NULL, argv, none), 0);
}

#endif
