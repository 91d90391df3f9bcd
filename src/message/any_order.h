/* message/any_order.h - which of two anys is smaller, as Python's < says. */
#ifndef SHOAL_MESSAGE_ANY_ORDER_H
#define SHOAL_MESSAGE_ANY_ORDER_H

#include "message/any.h"

/* The key of a value: bytes (one at least) that stand in the order of the values, compared as memcmp does.
 * Returns how many there are; out NULL: only that. */
size_t any_key(const shoal_any *a, unsigned char *out);

/* Whether what two keys were made of cannot be compared; their bytes have an order all the same.
 * what[]: then, the kinds that met. */
bool any_keys_apart(const unsigned char *a, size_t a_size, const unsigned char *b, size_t b_size,
                    const char *what[2]);

#endif
