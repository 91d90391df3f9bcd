/* shoal/version.h - which shoal this is. */
#ifndef SHOAL_VERSION_H
#define SHOAL_VERSION_H

#include <shoal/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version that a program is compiled against. */
#define SHOAL_VERSION "0.1.0"

/* The version that it runs with. Never NULL, never freed; may be called anywhere. */
SHOAL_API const char *shoal_version(void);

#ifdef __cplusplus
}
#endif
#endif
