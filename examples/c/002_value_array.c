/* 002_value_array.c - a number and an array that a child changes and its parent sees changed. */
#include "check.h"
#include <shoal/shoal.h>
#include <stdio.h>

enum { LENGTH = 10 };

struct shared {
    shoal_value *number;
    shoal_array *array;
};

static int change(void *argument)
{
    const struct shared *shared = argument;

    check(shoal_value_set(shared->number, &(double){3.1415927}, sizeof(double), SHOAL_FOREVER));
    check(shoal_array_acquire(shared->array, SHOAL_FOREVER));
    int *items = shoal_array_address(shared->array); /* as C does, with the lock held */
    for (size_t i = 0; i < shoal_array_length(shared->array); i++)
        items[i] = -items[i];
    check(shoal_array_release(shared->array));
    return 0;
}

int main(void)
{
    struct shared shared;
    shoal_process *process;
    double number;
    int items[LENGTH];

    for (int i = 0; i < LENGTH; i++)
        items[i] = i;
    check(shoal_value_create(&shared.number, 'd', NULL, 0, NULL));
    check(shoal_array_create(&shared.array, 'i', LENGTH, items, sizeof items, NULL));

    check(shoal_process_start(&process, change, &shared, NULL));
    check(shoal_process_join(process, SHOAL_FOREVER));
    check(shoal_process_close(process));

    check(shoal_value_get(shared.number, &number, sizeof number, SHOAL_FOREVER));
    check(shoal_array_get(shared.array, 0, LENGTH, items, sizeof items, SHOAL_FOREVER));
    printf("%.7f\n[", number);
    for (int i = 0; i < LENGTH; i++)
        printf("%s%d", i ? ", " : "", items[i]);
    printf("]\n");
    shoal_value_close(shared.number);
    shoal_array_close(shared.array);
    return 0;
}
