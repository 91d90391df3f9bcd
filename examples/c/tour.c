/* tour.c - what `make run` shows. */
#include <shoal/version.h>

#include <stdio.h>

int main(void)
{
    printf("shoal %s\n", shoal_version());
    return 0;
}
