/* inspect/text.h - a snapshot in words, for the program shoal-inspect. */
#ifndef SHOAL_INSPECT_TEXT_H
#define SHOAL_INSPECT_TEXT_H

#include <shoal/inspect.h>
#include <stdio.h>

void text_print(FILE *to, const shoal_any *snapshot);

#endif
