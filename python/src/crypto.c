/* The extension makes no handshakes: its listeners and clients are the standard library's (../shoal/connection.py), and a manager's
 * objects travel in the region. So it goes without libcrypto, which takes each new interpreter more than a millisecond to load. What
 * the library's handshakes would call is here: none of them comes to pass, for want of a digest.
 */
#include <stddef.h>
#if SHOAL_CRYPTO
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

const EVP_MD *EVP_md5(void)
{
    return NULL;
}

const EVP_MD *EVP_sha256(void)
{
    return NULL;
}

const EVP_MD *EVP_sha384(void)
{
    return NULL;
}

const EVP_MD *EVP_sha3_256(void)
{
    return NULL;
}

const EVP_MD *EVP_sha3_384(void)
{
    return NULL;
}

unsigned char *HMAC(const EVP_MD *digest, const void *key, int key_size, const unsigned char *bytes,
                    size_t size, unsigned char *ret, unsigned *ret_size)
{
    (void)digest;
    (void)key;
    (void)key_size;
    (void)bytes;
    (void)size;
    (void)ret;
    (void)ret_size;
    return NULL;
}

int CRYPTO_memcmp(const void *a, const void *b, size_t size)
{
    (void)a;
    (void)b;
    (void)size;
    return 1;
}

void OPENSSL_cleanse(void *at, size_t size)
{
    explicit_bzero(at, size);
}
#endif
