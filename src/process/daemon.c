/* Daemons: placeholders of this first step are replaced below. */
#include "process/child.h"
