/* The handshake of Python's multiprocessing.connection (Lib/multiprocessing/connection.py of CPython
 * 3.8 to 3.13). Each side in turn: one sends #CHALLENGE# and random bytes, the other answers with
 * their HMAC under the key, and is told #WELCOME# or #FAILURE#. Until 3.11 the digest is always MD5;
 * since 3.12 the bytes after #CHALLENGE# begin with {digest}, and so does the answer.
 *
 * What is sent and taken here is what 3.13 sends and takes: challenges ask for SHA-256; an answer may
 * be made with any digest of the list, and in the old form, which has no {digest}, with MD5; a
 * challenge of the old form, 20 bytes, gets an answer of that form. The HMAC covers the {digest} of the challenge,
 * so that nobody between the two can make them use a weaker one. No message of the handshake is
 * longer than 256 bytes.
 */
#include "message/authenticate.h"
#include <stdlib.h>
#include <string.h>

#if SHOAL_CRYPTO
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

enum {
    MOST = 256,         /* bytes of a message */
    OLD_CHALLENGE = 20, /* bytes */
    OLD_ANSWER = 16,
};
static const char challenge_word[] = "#CHALLENGE#", welcome[] = "#WELCOME#",
                  failure[] = "#FAILURE#";
enum {
    WORD = sizeof challenge_word - 1,
    WELCOME = sizeof welcome - 1,
    FAILURE = sizeof failure - 1
};

static const struct digest {
    const char *name; /* with its braces */
    const EVP_MD *(*method)(void);
} digests[] = {
    {"{sha256}", EVP_sha256},     {"{sha384}", EVP_sha384}, {"{sha3_256}", EVP_sha3_256},
    {"{sha3_384}", EVP_sha3_384}, {"{md5}", EVP_md5},
};
static const struct digest preferred = {"{sha256}", EVP_sha256}, old = {"", EVP_md5};
static_assert(sizeof "{sha256}" == DIGEST_NAME + 1, "its place in a challenge");

/* Which digest a challenge or an answer names at its beginning, or that it is of the old form; NULL:
 * neither. */
static const struct digest *digest_of(const unsigned char *bytes, size_t size)
{
    if (size == OLD_CHALLENGE || size == OLD_ANSWER)
        return &old;
    for (size_t i = 0; i < sizeof digests / sizeof *digests; i++) {
        size_t n = strlen(digests[i].name);
        if (size >= n && !memcmp(bytes, digests[i].name, n))
            return &digests[i];
    }
    return NULL;
}

/* The HMAC of a challenge, in EVP_MAX_MD_SIZE bytes: its size, or 0. */
static size_t hmac(const struct digest *digest, const struct key *key, const unsigned char *bytes,
                   size_t size, unsigned char *ret)
{
    unsigned n = 0;
    return HMAC(digest->method(), key->bytes, (int)key->size, bytes, size, ret, &n) ? n : 0;
}

/* ---- the messages ---- */

/* Beginnings that the kernel does not take at once are flushed before the next step. */
static int say(shoal_connection *c, const void *bytes, size_t size)
{
    int rc = socket_send_as(c, bytes, size, SHOAL_NOW, "handshake");
    return rc == SHOAL_UNDER_WAY ? 0 : rc;
}

static int send_challenge(struct handshake *h, shoal_connection *c)
{
    unsigned char message[WORD + sizeof h->challenge];
    memcpy(h->challenge, preferred.name, DIGEST_NAME);
    os_random(h->challenge + DIGEST_NAME, CHALLENGE_RANDOM);
    memcpy(message, challenge_word, WORD);
    memcpy(message + WORD, h->challenge, sizeof h->challenge);
    return say(c, message, sizeof message);
}

static int verify(struct handshake *h, const unsigned char *answer, size_t size)
{
    unsigned char expected[EVP_MAX_MD_SIZE];
    const struct digest *digest = digest_of(answer, size);
    if (!digest)
        return fail(-EBADMSG, "handshake: an answer of %zu bytes that names no known digest", size);
    size_t name = strlen(digest->name);
    size_t n = hmac(digest, h->key, h->challenge, sizeof h->challenge, expected);
    if (!n)
        return fail(-EACCES, "handshake: libcrypto has no HMAC of the digest %s", digest->name);
    if (n != size - name)
        return fail(-EBADMSG, "handshake: an answer of %zu bytes, where its digest has %zu",
                    size - name, n);
    if (CRYPTO_memcmp(expected, answer + name, n))
        return fail(-EACCES, "handshake: the peer has another key");
    return 0;
}

static int receive_answer(struct handshake *h, shoal_connection *c, const unsigned char *answer,
                          size_t size)
{
    int rc = verify(h, answer, size);
    if (!rc)
        return say(c, welcome, WELCOME);
    say(c, failure, FAILURE);
    return verify(h, answer, size); /* its sentence, not that of a peer that has gone */
}

static int receive_challenge(struct handshake *h, shoal_connection *c, const unsigned char *message,
                             size_t size)
{
    unsigned char answer[DIGEST_NAME + 8 + EVP_MAX_MD_SIZE];
    if (size < WORD + OLD_CHALLENGE || memcmp(message, challenge_word, WORD))
        return fail(-EBADMSG, "handshake: %zu bytes that are no challenge", size);
    message += WORD;
    size -= WORD;
    const struct digest *digest = digest_of(message, size);
    if (!digest)
        return fail(-EBADMSG, "handshake: a challenge of %zu bytes that names no known digest",
                    size);
    size_t name = strlen(digest->name);
    memcpy(answer, digest->name, name);
    size_t n = hmac(digest, h->key, message, size, answer + name);
    if (!n)
        return fail(-EACCES,
                    "handshake: libcrypto has no HMAC of the digest that the peer asks for");
    return say(c, answer, name + n);
}

static int receive_verdict(const unsigned char *message, size_t size)
{
    if (size == WELCOME && !memcmp(message, welcome, WELCOME))
        return 0;
    if (size == FAILURE && !memcmp(message, failure, FAILURE))
        return fail(-EACCES, "handshake: the peer does not take this side's key");
    return fail(-EBADMSG, "handshake: %zu bytes where it had to say whether the key is right",
                size);
}

/* ---- the order ---- */

void handshake_begin(struct handshake *h, const struct key *key, bool listener)
{
    *h = (struct handshake){.key = key,
                            .listener = listener,
                            .stage = listener ? HANDSHAKE_CHALLENGE : HANDSHAKE_ANSWER};
}

static int next_message(struct handshake *h, shoal_connection *c)
{
    unsigned char message[MOST];
    size_t size;
    int rc = 0;
    if (h->stage == HANDSHAKE_CHALLENGE) {
        rc = send_challenge(h, c);
        if (!rc)
            h->stage = HANDSHAKE_VERIFY;
        return rc;
    }
    rc = socket_recv_into_as(c, message, sizeof message, &size, SHOAL_NOW, "handshake");
    if (rc == -EMSGSIZE)
        return fail(-EBADMSG, "handshake: a message of %zu bytes, %d at most", size, MOST);
    if (rc)
        return rc == -EPROTO ? fail(-EBADMSG, "handshake: what came is no message") : rc;
    switch (h->stage) {
    case HANDSHAKE_VERIFY:
        rc = receive_answer(h, c, message, size);
        h->stage = h->listener ? HANDSHAKE_ANSWER : HANDSHAKE_DONE;
        break;
    case HANDSHAKE_ANSWER:
        rc = receive_challenge(h, c, message, size);
        h->stage = HANDSHAKE_VERDICT;
        break;
    case HANDSHAKE_VERDICT:
        rc = receive_verdict(message, size);
        h->stage = h->listener ? HANDSHAKE_DONE : HANDSHAKE_CHALLENGE;
        break;
    case HANDSHAKE_CHALLENGE:
    case HANDSHAKE_DONE: break;
    }
    return rc;
}

int handshake_step(struct handshake *h, shoal_connection *c, short *events)
{
    for (;;) {
        *events = POLLOUT;
        int rc = socket_flush_as(c, SHOAL_NOW, "handshake");
        if (rc || h->stage == HANDSHAKE_DONE)
            return rc;
        *events = h->stage == HANDSHAKE_CHALLENGE ? POLLOUT : POLLIN;
        rc = next_message(h, c);
        if (rc)
            return rc;
    }
}

/* ---- keys ---- */

int key_copy(struct key *ret, const void *given, size_t size, const char *what)
{
    unsigned char own[sizeof view.slots->authkey];
    if (!given) {
        owner_t me;
        int rc = self(&me);
        if (rc)
            return rc;
        const struct slot *slot = slot_at(process_self.slot);
        size = slot->authkey_size;
        memcpy(own, slot->authkey, sizeof own);
        given = own;
    }
    if (!size || size > INT_MAX)
        return fail(-EINVAL, "%s: a key of %zu bytes", what, size);
    ret->bytes = malloc(size);
    if (!ret->bytes)
        return fail(-ENOMEM, "%s: no memory for the key", what);
    memcpy(ret->bytes, given, size);
    ret->size = size;
    OPENSSL_cleanse(own, sizeof own);
    return 0;
}

void key_free(struct key *key)
{
    if (key->bytes)
        OPENSSL_cleanse(key->bytes, key->size);
    free(key->bytes);
    *key = (struct key){0};
}

#else

int key_copy(struct key *ret, const void *given, size_t size, const char *what)
{
    (void)ret, (void)given, (void)size;
    return fail(-ENOTSUP, "%s: this shoal was built without libcrypto, so it knows no keys", what);
}

void key_free(struct key *key)
{
    (void)key;
}

/* Never called: there are no keys. */
void handshake_begin(struct handshake *h, const struct key *key, bool listener)
{
    *h = (struct handshake){.key = key, .listener = listener, .stage = HANDSHAKE_DONE};
}

int handshake_step(struct handshake *h, shoal_connection *c, short *events)
{
    (void)h, (void)c, (void)events;
    return fail(-ENOTSUP, "handshake: built without libcrypto");
}

#endif
