/* The objects whose descriptors this process polls, so that its own starts and joins do not make them readable for nothing.
 *
 * A birth or a death in the family makes them readable until the process looks (docs/design.md 4c, 12). Of its own children it knows when
 * that is, and looks itself: after a join, and after a start as soon as the child has said who it is, which is the first thing that it does.
 */
#include "polled.h"
#include "region/self.h"
#include <time.h>

enum { PATIENCE = 1000 /* ms that a newborn may need for its first instructions */ };

static struct {
    PyObject **at;
    size_t n, room;
    uint64_t process; /* whose they are: a fork's child polls nothing yet */
} polled;

static uint64_t this_process(void)
{
    return (uint64_t)process_self.generation << 32 | process_self.slot;
}

static bool is_mine(void)
{
    if (polled.process != this_process())
        polled.n = 0;
    polled.process = this_process();
    return polled.n;
}

int polled_begin(PyObject *object)
{
    is_mine();
    for (size_t i = 0; i < polled.n; i++)
        if (polled.at[i] == object)
            return 0;
    if (polled.n == polled.room) {
        size_t room = polled.room ? polled.room * 2 : 16;
        PyObject **at = PyMem_Realloc(polled.at, room * sizeof *at);
        if (!at)
            return PyErr_NoMemory(), -1;
        polled.at = at;
        polled.room = room;
    }
    polled.at[polled.n++] = object;
    return 0;
}

void polled_end(PyObject *object)
{
    for (size_t i = 0; i < polled.n; i++)
        if (polled.at[i] == object) {
            polled.at[i] = polled.at[--polled.n];
            return;
        }
}

void polled_settle(void)
{
    enum {
        ROUNDS = 2 /* the first one's look at the lives rings the others, and those before it */
    };
    if (!is_mine())
        return;
    for (int round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < polled.n; i++)
            if (!queue_look(polled.at[i]))
                connection_look(polled.at[i]);
}

void polled_settle_birth(unsigned slot)
{
    const struct timespec moment = {.tv_nsec = 50000};
    if (!is_mine())
        return;
    if (slot && !atomic_load(&slot_at(slot)->pid)) {
        Py_BEGIN_ALLOW_THREADS;
        for (int i = 0; i < PATIENCE * 20 && !atomic_load(&slot_at(slot)->pid); i++)
            nanosleep(&moment, NULL);
        Py_END_ALLOW_THREADS;
    }
    polled_settle();
}
