/* What a program is told of deaths; leaving the family. */
#include "process/child.h"
#include "region/life.h"
#include <string.h>

/* One of each per process; written by whoever asks for them last. */
static _Atomic(shoal_death_callback) wanted;
static void *_Atomic wanted_argument;

static void tell(int32_t pid, const char *name)
{
    shoal_death_callback callback = atomic_load(&wanted);
    struct shoal_death death = {.pid = pid};
    memcpy(death.name, name, sizeof death.name);
    death.name[sizeof death.name - 1] = 0;
    if (callback)
        callback(&death, atomic_load(&wanted_argument));
}

int shoal_process_on_death(shoal_death_callback callback, void *argument)
{
    static_assert(sizeof((struct shoal_death *)0)->name == NAME, "a name fits");
    atomic_store(&wanted, NULL);
    atomic_store(&wanted_argument, argument);
    atomic_store(&wanted, callback);
    life_on_death = tell;
    return 0;
}

int shoal_detach(void)
{
    return self_detach();
}
