/* boost.cc - see boost.h. */
#include "boost.h"
#include <boost/interprocess/ipc/message_queue.hpp>
#include <cstdio>
#include <unistd.h>

using boost::interprocess::message_queue;

static message_queue *queue;

void boost_open(void)
{
    if (queue)
        return;
    char name[64];
    std::snprintf(name, sizeof name, "shoal-bench-%d", static_cast<int>(getpid()));
    message_queue::remove(name);
    queue = new message_queue(boost::interprocess::create_only, name, 1000, 64);
    message_queue::remove(name); /* what is mapped stays */
}

void boost_put(const void *bytes, size_t size)
{
    queue->send(bytes, size, 0);
}

void boost_get(void *bytes, size_t capacity)
{
    message_queue::size_type size;
    unsigned priority;
    queue->receive(bytes, capacity, size, priority);
}
