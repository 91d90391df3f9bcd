/* 002_manager_list.c - a list that lives in a manager: one process appends to it, another prints it. */
#include "check.h"
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>

static shoal_any *record(const char *name, int score)
{
    return shoal_any_tuple(shoal_any_str(name), shoal_any_int(score));
}

static int insert_record(void *records)
{
    check(shoal_proxy_call(records, "append", shoal_any_tuple(record("English", 3)), NULL,
                           SHOAL_FOREVER));
    puts("A New record is added\n");
    return 0;
}

static int print_records(void *records)
{
    shoal_any *all;
    check(shoal_proxy_call(records, "copy", NULL, &all, SHOAL_FOREVER));
    for (int64_t i = 0; i < shoal_any_count(all); i++) {
        const shoal_any *one, *name, *score;
        const char *text;
        int64_t number;
        check(shoal_any_at(all, i, &one));
        check(shoal_any_at(one, 0, &name));
        check(shoal_any_at(one, 1, &score));
        check(shoal_any_as_str(name, &text, NULL));
        check(shoal_any_as_int(score, &number));
        printf("Name: %s\nScore: %lld\n\n", text, (long long)number);
    }
    shoal_any_free(all);
    return 0;
}

static void run(shoal_target target, shoal_proxy *records)
{
    shoal_process *process;
    check(shoal_process_start(&process, target, records, NULL));
    check(shoal_process_join(process, SHOAL_FOREVER));
    check(shoal_process_close(process));
}

int main(void)
{
    shoal_manager *manager;
    shoal_proxy *records;
    shoal_any *first =
        shoal_any_list(record("Computers", 1), record("Histoty", 5), record("Hindi", 9));

    check(shoal_manager_create(&manager, NULL));
    check(shoal_manager_start(manager));
    check(
        shoal_manager_get(manager, &records, "list", shoal_any_tuple(first), NULL, SHOAL_FOREVER));
    run(insert_record, records);
    run(print_records, records);
    shoal_proxy_close(records);
    check(shoal_manager_shutdown(manager, SHOAL_FOREVER));
    shoal_manager_close(manager);
    return 0;
}
