/* polls.h: what the tests of polling share. The net is off but where it is tested, so that a wake-up that
 * is lost hangs. */
#ifndef TESTS_POLLS_H
#define TESTS_POLLS_H

#include "programs.h"
#include <stdlib.h>

enum { MANY = 150 };

/* What the words say. */
enum { GO, DONE, TAKEN, LAST };

static shoal_queue *queue;
static shoal_connection *here, *there, *ends[MANY][2];
static _Atomic long *words;

static inline void begin(void)
{
    ASSERT_SYS(setenv("SHOAL_TEST_NET", "0", 1));
}

static inline void put(shoal_queue *q, const char *text)
{
    ASSERT_OK(shoal_queue_put_bytes(q, text, strlen(text), SHOAL_FOREVER));
}

/* 0, or what get said. */
static inline int get(shoal_queue *q)
{
    char buffer[100];
    size_t size;
    return shoal_queue_get_bytes_into(q, buffer, sizeof buffer, &size, SHOAL_NOW);
}

static inline int receive(shoal_connection *c)
{
    char buffer[100];
    size_t size;
    return shoal_connection_recv_bytes_into(c, buffer, sizeof buffer, &size, SHOAL_NOW);
}

/* ---- children ---- */

static inline void put_and_die(void)
{
    put(queue, "the last");
    kill(getpid(), SIGKILL);
}

/* Of each pipe the second end; the parent has the first. */
static inline void holds_all(void)
{
    for (int i = 0; i < MANY; i++)
        shoal_connection_close(ends[i][0]);
    atomic_store(&words[GO], 1);
    pause();
}

#endif
