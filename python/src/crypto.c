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

/* NOLINTBEGIN(readability-non-const-parameter): as it is declared */
unsigned char *HMAC(const EVP_MD *evp_md, const void *key, int key_len, const unsigned char *data,
                    size_t data_len, unsigned char *md, unsigned *md_len)
{
    (void)evp_md;
    (void)key;
    (void)key_len;
    (void)data;
    (void)data_len;
    (void)md;
    (void)md_len;
    return NULL;
}
/* NOLINTEND(readability-non-const-parameter) */

int CRYPTO_memcmp(const void *in_a, const void *in_b, size_t len)
{
    (void)in_a;
    (void)in_b;
    (void)len;
    return 1;
}

void OPENSSL_cleanse(void *ptr, size_t len)
{
    explicit_bzero(ptr, len);
}
#endif
