/* 002_pipe.c - a list of different things goes through a pipe, and is looked at item by item. */
#include "check.h"
#include <inttypes.h>
#include <shoal/shoal.h>
#include <stdio.h>

static int f(void *argument)
{
    shoal_connection *end = argument;
    shoal_any *list = shoal_any_list(shoal_any_int(42), shoal_any_none(), shoal_any_str("hello"));

    check(shoal_connection_send(end, list, SHOAL_FOREVER));
    shoal_any_free(list);
    shoal_connection_close(end);
    return 0;
}

static void print_item(const shoal_any *item)
{
    int64_t number;
    const char *text;

    switch (check(shoal_any_kind(item))) {
    case SHOAL_ANY_NONE: printf("None"); break;
    case SHOAL_ANY_INT:
        check(shoal_any_as_int(item, &number));
        printf("%" PRId64, number);
        break;
    case SHOAL_ANY_STR:
        check(shoal_any_as_str(item, &text, NULL));
        printf("'%s'", text);
        break;
    default: printf("something else");
    }
}

int main(void)
{
    shoal_connection *parent_end, *child_end;
    shoal_process *process;
    shoal_any *list;
    const shoal_any *item;

    check(shoal_pipe(&parent_end, &child_end, NULL));
    check(shoal_process_start(&process, f, child_end, NULL));
    shoal_connection_close(child_end);

    check(shoal_connection_recv(parent_end, &list, SHOAL_FOREVER));
    printf("[");
    for (int64_t i = 0; i < shoal_any_count(list); i++) {
        check(shoal_any_at(list, i, &item));
        printf("%s", i ? ", " : "");
        print_item(item);
    }
    printf("]\n");
    shoal_any_free(list);

    check(shoal_process_join(process, SHOAL_FOREVER));
    check(shoal_process_close(process));
    shoal_connection_close(parent_end);
    return 0;
}
