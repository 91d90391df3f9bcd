#include <shoal/version.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    int wrong = strcmp(shoal_version(), SHOAL_VERSION) != 0;
    printf("%d passed, %d failed\n", !wrong, wrong);
    return wrong;
}
