/* campaign.h: what the halves of the random campaign share: campaign.c has the processes, the kills and the objects, campaign_messages.c the messages. */
#ifndef TESTS_CAMPAIGN_H
#define TESTS_CAMPAIGN_H

#include <stdbool.h>
#include <stdint.h>

enum { MOST_WORKERS = 64 }; /* numbers of workers are below; this is the root's */

uint32_t random_below(uint32_t n);
/* Sometimes long, mostly not: so that others come to wait and to be killed while they do. */
void linger(void);
int64_t some_deadline(void);
bool came_to_nothing(int rc);
/* What the calling worker is about to do, for who finds that it hangs: a literal. */
void doing(const char *what);
void verdict(bool good, const char *what);

/* ---- messages ---- */

/* By the root, before it starts any worker. */
void messages_create(void);
/* By each worker, first of all. */
void messages_begin(int worker);
/* One step of a worker. */
void messages_use(void);
/* By the root, now and then: so that nobody waits for what nobody puts or takes. */
void messages_feed(void);
/* By the root, of a worker that was killed and reaped. */
void messages_bury(int worker);
/* By the root, when nobody else is left: takes all that is there, closes all, says whether what was put was taken. */
void messages_judge(void);

#endif
