/* pool/code.h - functions, so that another process finds them. */
#ifndef SHOAL_POOL_CODE_H
#define SHOAL_POOL_CODE_H

#include "pool/units.h"

/* The name of a function: 0; -ENOEXEC: it is in no file, and has no name of its own. */
int code_make(const void *address, struct code *ret);
/* The function in this process; NULL: there is none. */
const void *code_find(const struct code *code);

#endif
