/* The key that a family's processes inherit. It lies in the slot, so that a child started by exec
 * has it too. */
#include "process/child.h"
#include <string.h>

int shoal_process_authkey(unsigned char *ret, size_t size)
{
    owner_t me;
    int rc = self(&me);
    if (rc)
        return rc;
    const struct slot *slot = slot_at(process_self.slot);
    if (!ret)
        return fail(-EINVAL, "shoal_process_authkey: nowhere to put it");
    if (size < slot->authkey_size)
        return fail(-EMSGSIZE, "shoal_process_authkey: it has %u bytes, there is room for %zu",
                    slot->authkey_size, size);
    memcpy(ret, slot->authkey, slot->authkey_size);
    return (int)slot->authkey_size;
}

int shoal_process_set_authkey(const unsigned char *key, size_t size)
{
    owner_t me;
    int rc = self(&me);
    if (rc)
        return rc;
    struct slot *slot = slot_at(process_self.slot);
    if (!key || !size || size > sizeof slot->authkey)
        return fail(-EINVAL, "shoal_process_set_authkey: a key has 1 to %zu bytes",
                    sizeof slot->authkey);
    memcpy(slot->authkey, key, size);
    slot->authkey_size = (uint32_t)size;
    return 0;
}
