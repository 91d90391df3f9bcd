/* Functions travel as an offset in a module, which its build id tells (the note that linkers write), or as a name. A
 * module without one is told by a sum over its program headers and its file's name. */
#include "pool/code.h"
#include <elf.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ---- */

static struct named_code {
    struct named_code *next;
    const void *address;
    char name[CODE_NAME_MOST + 1];
} * _Atomic registered; /* only grows */

static const struct named_code *by_name(const char *name)
{
    const struct named_code *n = atomic_load(&registered);
    while (n && strcmp(n->name, name) != 0)
        n = n->next;
    return n;
}

int shoal_function_register(const char *name, shoal_code function)
{
    static struct os_mutex mutex;
    const void *address = (const void *)(uintptr_t)function;
    size_t size = name ? strlen(name) : 0;
    if (!function || !size || size > CODE_NAME_MOST)
        return fail(-EINVAL, "shoal_function_register: %s",
                    !function ? "no function (NULL)"
                    : !size   ? "no name"
                              : "the name is longer than 62 bytes");
    os_mutex_lock(&mutex);
    const struct named_code *known = by_name(name);
    struct named_code *n = known ? NULL : malloc(sizeof *n);
    if (n) {
        n->next = atomic_load(&registered);
        n->address = address;
        memcpy(n->name, name, size + 1);
        atomic_store(&registered, n);
    }
    os_mutex_unlock(&mutex);
    if (known && known->address != address)
        return fail(-EALREADY, "shoal_function_register: another function is called '%s'", name);
    return known || n ? 0 : fail(-ENOMEM, "shoal_function_register: no memory");
}

/* ---- modules ---- */

static void sum(uint64_t *fnv, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        *fnv = (*fnv ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
}

/* Its build id, cut to what there is room for; false: it has none. */
static bool build_id(const struct dl_phdr_info *module, struct code *ret)
{
    for (int i = 0; i < module->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &module->dlpi_phdr[i];
        if (segment->p_type != PT_NOTE)
            continue;
        const unsigned char *at = (const unsigned char *)(module->dlpi_addr + segment->p_vaddr),
                            *end = at + segment->p_memsz;
        while (end - at >= (ptrdiff_t)sizeof(ElfW(Nhdr))) {
            ElfW(Nhdr) note;
            memcpy(&note, at, sizeof note);
            const unsigned char *name = at + sizeof note,
                                *value = name + (((size_t)note.n_namesz + 3) & ~(size_t)3),
                                *next = value + (((size_t)note.n_descsz + 3) & ~(size_t)3);
            if (value > end || next > end || next < at)
                break;
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && !memcmp(name, "GNU", 4) &&
                note.n_descsz) {
                ret->size =
                    (uint8_t)(note.n_descsz < sizeof ret->id ? note.n_descsz : sizeof ret->id);
                memcpy(ret->id, value, ret->size);
                return true;
            }
            at = next;
        }
    }
    return false;
}

static void identify(const struct dl_phdr_info *module, struct code *ret)
{
    if (build_id(module, ret))
        return;
    uint64_t fnv = 0xcbf29ce484222325u;
    sum(&fnv, module->dlpi_name, strlen(module->dlpi_name));
    sum(&fnv, module->dlpi_phdr, module->dlpi_phnum * sizeof *module->dlpi_phdr);
    memcpy(ret->id, &fnv, sizeof fnv);
    ret->size = sizeof fnv;
}

static bool executes(const struct dl_phdr_info *module, uintptr_t address)
{
    for (int i = 0; i < module->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &module->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && segment->p_flags & PF_X &&
            address - (module->dlpi_addr + segment->p_vaddr) < segment->p_memsz)
            return true;
    }
    return false;
}

struct search {
    uintptr_t address; /* in */
    struct code *code; /* out, or the other way round */
};

static int has_address(struct dl_phdr_info *module, size_t size, void *argument)
{
    struct search *s = argument;
    (void)size;
    if (!executes(module, s->address))
        return 0;
    identify(module, s->code);
    s->code->kind = CODE_MODULE;
    s->code->offset = s->address - module->dlpi_addr;
    return 1;
}

static int is_module(struct dl_phdr_info *module, size_t size, void *argument)
{
    struct search *s = argument;
    struct code code = {.kind = CODE_MODULE};
    uintptr_t address = module->dlpi_addr + s->code->offset;
    (void)size;
    identify(module, &code);
    if (code.size != s->code->size || memcmp(code.id, s->code->id, code.size) != 0 ||
        !executes(module, address))
        return 0;
    s->address = address;
    return 1;
}

/* ---- both ---- */

int code_make(const void *address, struct code *ret)
{
    *ret = (struct code){.kind = CODE_NONE};
    for (const struct named_code *n = atomic_load(&registered); n; n = n->next)
        if (n->address == address) {
            ret->kind = CODE_NAME;
            memcpy((char *)ret + offsetof(struct code, size), n->name, strlen(n->name) + 1);
            return 0;
        }
    struct search s = {(uintptr_t)address, ret};
    if (dl_iterate_phdr(has_address, &s))
        return 0;
    return fail(
        -ENOEXEC,
        "the function at %p is in no file that workers could find it in; give it a name with "
        "shoal_function_register",
        address);
}

const void *code_find(const struct code *code)
{
    struct code copy = *code;
    struct search s = {0, &copy};
    if (code->kind == CODE_NAME) {
        ((char *)&copy)[sizeof copy - 1] = 0;
        const struct named_code *n = by_name((const char *)&copy + offsetof(struct code, size));
        return n ? n->address : NULL;
    }
    return dl_iterate_phdr(is_module, &s) ? (const void *)s.address : NULL;
}
