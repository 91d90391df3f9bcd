/* message/authenticate.h - the mutual proof that both ends of a connection have the same key, as
 * Python's multiprocessing.connection exchanges it. Nobody waits in it: who drives it, waits. */
#ifndef SHOAL_AUTHENTICATE_H
#define SHOAL_AUTHENTICATE_H

#include "message/connection.h"

/* A key of one's own, to be given back by key_free. */
struct key {
    unsigned char *bytes;
    size_t size;
};
/* `given` NULL: the key of the calling process. 0, -EINVAL, -ENOMEM; -ENOTSUP: no libcrypto. */
int key_copy(struct key *ret, const void *given, size_t size, const char *what);
void key_free(struct key *key);

/* What the next message is. A listener delivers its challenge first; a client answers first. */
enum handshake_stage {
    HANDSHAKE_CHALLENGE, /* send a challenge */
    HANDSHAKE_VERIFY,    /* receive the answer to it */
    HANDSHAKE_ANSWER,    /* receive the peer's challenge, and answer it */
    HANDSHAKE_VERDICT,   /* receive what it says to that */
    HANDSHAKE_DONE,
};
enum { DIGEST_NAME = 8, CHALLENGE_RANDOM = 40 };
struct handshake {
    const struct key *key;
    bool listener;
    enum handshake_stage stage;
    unsigned char challenge[DIGEST_NAME + CHALLENGE_RANDOM];
};
void handshake_begin(struct handshake *h, const struct key *key, bool listener);
/* Goes on as far as it goes without waiting. 0: both have proved it. -EAGAIN: again when the
 * descriptor shows one of *events. -EACCES, -EBADMSG, -EPIPE, -ENOMEM: it has failed. */
int handshake_step(struct handshake *h, shoal_connection *c, short *events);

#endif
