/* 002_namespace.c - a namespace that lives in a manager, changed by another process. */
#include "check.h"
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>

static int64_t get(shoal_proxy *space, const char *name)
{
    shoal_any *value;
    int64_t number;
    check(shoal_proxy_call(space, "__getattribute__", shoal_any_tuple(shoal_any_str(name)), &value,
                           SHOAL_FOREVER));
    check(shoal_any_as_int(value, &number));
    shoal_any_free(value);
    return number;
}

static void set(shoal_proxy *space, const char *name, int64_t number)
{
    check(shoal_proxy_call(space, "__setattr__",
                           shoal_any_tuple(shoal_any_str(name), shoal_any_int(number)), NULL,
                           SHOAL_FOREVER));
}

static void print(const char *when, shoal_proxy *space)
{
    shoal_any *text;
    const char *shown;
    check(shoal_proxy_call(space, "__repr__", NULL, &text, SHOAL_FOREVER));
    check(shoal_any_as_str(text, &shown, NULL));
    printf("%s %s\n", when, shown);
    shoal_any_free(text);
}

static int change(void *space)
{
    set(space, "x", get(space, "x") + 5);
    set(space, "y", get(space, "y") * 10);
    return 0;
}

int main(void)
{
    shoal_manager *manager;
    shoal_proxy *space;
    shoal_process *process;

    check(shoal_manager_create(&manager, NULL));
    check(shoal_manager_start(manager));
    check(shoal_manager_get(manager, &space, "Namespace", NULL, NULL, SHOAL_FOREVER));
    set(space, "x", 1);
    set(space, "y", 1);

    print("before", space);
    check(shoal_process_start(&process, change, space, NULL));
    check(shoal_process_join(process, SHOAL_FOREVER));
    check(shoal_process_close(process));
    print("after", space);

    shoal_proxy_close(space);
    check(shoal_manager_shutdown(manager, SHOAL_FOREVER));
    shoal_manager_close(manager);
    return 0;
}
