/* queues.h: queues of messages that say who put them. */
#ifndef TESTS_QUEUES_H
#define TESTS_QUEUES_H

#include "processes.h"

static shoal_queue *queue, *back;
static _Atomic long *shared;

/* A message says who put it and how manieth of that one's it is. */
struct mail {
    long who, number;
};

static inline void setup_with(uint64_t maxsize)
{
    shared = words_open();
    ASSERT_OK(shoal_queue_create(&queue, &(shoal_queue_options){.maxsize = maxsize}));
    ASSERT_OK(shoal_queue_create(&back, NULL));
}

static inline void setup(void)
{
    setup_with(0);
}

static inline void done(void)
{
    shoal_queue_close(queue);
    shoal_queue_close(back);
    words_close();
}

static inline int put(long who, long number, int64_t deadline)
{
    struct mail m = {who, number};
    return shoal_queue_put_bytes(queue, &m, sizeof m, deadline);
}

static inline int get(struct mail *m, int64_t deadline)
{
    size_t size;
    int rc = shoal_queue_get_bytes_into(queue, m, sizeof *m, &size, deadline);
    if (!rc)
        ASSERT_EQ_INT(size, sizeof *m);
    return rc;
}

/* Bytes that depend on where they stand and on the message. */
static inline void fill(unsigned char *bytes, size_t size, size_t seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(i * 31 + (i >> 8) + seed);
}

#endif
