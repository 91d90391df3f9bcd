#include "runner.h"

#include <shoal/version.h>

TEST(the_library_has_the_version_of_its_headers)
{
    ASSERT_STR(shoal_version(), SHOAL_VERSION);
}
