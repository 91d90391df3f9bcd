/* audit.h: a look at the whole region when all is over, for tests that kill. */
#ifndef TESTS_KILL_AUDIT_H
#define TESTS_KILL_AUDIT_H

#include <stdint.h>
#include <sys/types.h>

/* Repairs all who have died, and waits until nobody but `other` (a process of the family, or 0) and the caller is left. */
void audit_settle(pid_t other);
/* Nothing is half done, nothing belongs to the dead, the unit map says what the objects say, and so many objects live. After audit_settle. */
void audit_check(uint32_t objects);

#endif
