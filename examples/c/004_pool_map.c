/* 004_pool_map.c - a function for each item of an array, by all workers of a pool. */
#include "check.h"
#include <shoal/shoal.h>
#include <stdio.h>

enum { N = 5 };

static int square(const void *in, void *out)
{
    const int *number = in;
    int *result = out;

    *result = *number * *number;
    return 0;
}

static void print(const int results[])
{
    printf("[");
    for (int i = 0; i < N; i++)
        printf("%d%s", results[i], i < N - 1 ? ", " : "]\n");
}

int main(void)
{
    int numbers[N] = {1, 2, 3, 4, 5}, results[N];
    shoal_pool *pool;
    shoal_result *result;

    check(shoal_pool_create(&pool, &(shoal_pool_options){.workers = 4}));
    check(shoal_pool_map(pool, square, numbers, sizeof *numbers, results, sizeof *results, N, NULL,
                         SHOAL_FOREVER));
    print(results);
    check(shoal_pool_map_async(pool, &result, square, numbers, sizeof *numbers, results,
                               sizeof *results, N, NULL));
    check(shoal_result_get(result, NULL, NULL, shoal_after(10)));
    print(results);
    shoal_result_free(result);
    shoal_pool_free(pool);
    return 0;
}
