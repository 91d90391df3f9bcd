/*
 * harness_symbols.c: names of code addresses, and which storing instructions were a kill point.
 *
 * Names come from the symbol table of the program or library that is mapped at the address; source
 * lines from addr2line, where it is installed.
 */
#define _GNU_SOURCE
#include "harness_internal.h"

#include <elf.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- symbols ---- */

struct symbol {
    uint64_t from, size; /* as in the file */
    const char *name;
};

struct module {
    char path[400];
    uint64_t bias, from, to; /* addresses in memory: address in the file + bias */
    struct symbol *symbols;
    size_t count;
};

static struct module *modules;
static size_t module_count;

static void read_symbols(struct module *m)
{
    int fd = open(m->path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) || st.st_size < (off_t)sizeof(ElfW(Ehdr))) {
        if (fd >= 0)
            close(fd);
        return;
    }
    /* Private and kept: the names are used from it. */
    const char *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (file == MAP_FAILED)
        return;
    const ElfW(Ehdr) *head = (const void *)file;
    const ElfW(Shdr) *sections = (const void *)(file + head->e_shoff), *table = NULL;
    if (memcmp(head->e_ident, ELFMAG, SELFMAG) || head->e_shoff == 0)
        return;
    for (int i = 0; i < head->e_shnum; i++) {
        if (sections[i].sh_type == SHT_SYMTAB || (sections[i].sh_type == SHT_DYNSYM && !table))
            table = &sections[i];
    }
    if (!table)
        return;
    const ElfW(Sym) *symbols = (const void *)(file + table->sh_offset);
    const char *names = file + sections[table->sh_link].sh_offset;
    size_t n = table->sh_size / sizeof(*symbols);
    m->symbols = calloc(n, sizeof(*m->symbols));
    for (size_t i = 0; m->symbols && i < n; i++) {
        if ((symbols[i].st_info & 15) != STT_FUNC || !symbols[i].st_value)
            continue;
        m->symbols[m->count++] =
            (struct symbol){symbols[i].st_value, symbols[i].st_size, names + symbols[i].st_name};
    }
}

static int add_module(struct dl_phdr_info *info, size_t size, void *data)
{
    struct module m = {.bias = info->dlpi_addr, .from = UINT64_MAX};

    (void)size;
    (void)data;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD)
            continue;
        if (info->dlpi_addr + p->p_vaddr < m.from)
            m.from = info->dlpi_addr + p->p_vaddr;
        if (info->dlpi_addr + p->p_vaddr + p->p_memsz > m.to)
            m.to = info->dlpi_addr + p->p_vaddr + p->p_memsz;
    }
    snprintf(m.path, sizeof(m.path), "%s", info->dlpi_name);
    /* The program itself comes first, and has no name or a relative one. (What the link says is a path
     * outside, in a chroot, once the runner has a mount namespace of its own.) */
    if (module_count == 0)
        snprintf(m.path, sizeof(m.path), "/proc/%d/exe", (int)getpid());
    struct module *more = realloc(modules, (module_count + 1) * sizeof(*modules));
    if (!more)
        return 1;
    modules = more;
    modules[module_count++] = m;
    return 0;
}

static struct module *module_of(uint64_t address)
{
    if (!modules)
        dl_iterate_phdr(add_module, NULL);
    for (size_t i = 0; modules && i < module_count; i++) {
        if (address >= modules[i].from && address < modules[i].to) {
            if (!modules[i].symbols)
                read_symbols(&modules[i]);
            return &modules[i];
        }
    }
    return NULL;
}

static const struct symbol *symbol_of(const struct module *m, uint64_t address)
{
    uint64_t wanted = address - m->bias;
    const struct symbol *best = NULL;

    for (size_t i = 0; i < m->count; i++) {
        const struct symbol *s = &m->symbols[i];
        if (s->from <= wanted && (!best || s->from > best->from))
            best = s;
    }
    return best && (best->size == 0 || wanted < best->from + best->size) ? best : NULL;
}

/* Source file and line of an address, innermost inlined function. line 0: unknown. */
static int source_line(const struct module *m, uint64_t address, char *file, size_t size)
{
    char command[600], text[600];
    int line = 0;

    file[0] = 0;
    if (strchr(m->path, '\''))
        return 0;
    snprintf(command, sizeof(command), "addr2line -e '%s' 0x%llx 2>/dev/null", m->path,
             (unsigned long long)(address - m->bias));
    FILE *f = popen(command, "r");
    if (!f)
        return 0;
    if (fgets(text, sizeof(text), f)) {
        char *colon = strrchr(text, ':');
        if (colon && text[0] != '?' && atoi(colon + 1) > 0) {
            line = atoi(colon + 1);
            *colon = 0;
            snprintf(file, size, "%s", text);
        }
    }
    pclose(f);
    return line;
}

const char *symbol_text(uint64_t address, char *text, size_t size)
{
    const struct module *m = module_of(address);
    const struct symbol *s = m ? symbol_of(m, address) : NULL;
    char file[600];
    int line = m ? source_line(m, address, file, sizeof(file)) : 0;
    const char *base = line ? strrchr(file, '/') : NULL;

    if (s)
        snprintf(text, size, "%s+0x%llx", s->name,
                 (unsigned long long)(address - m->bias - s->from));
    else
        snprintf(text, size, "0x%llx", (unsigned long long)address);
    if (line) {
        size_t n = strlen(text);
        snprintf(text + n, size - n, " (%s:%d)", base ? base + 1 : file, line);
    }
    return text;
}

/* ---- coverage ---- */

#define COVER_SIZE 32768 /* a power of two */

static struct {
    uint64_t rip;
    uint32_t flags;
} * cover;

/* Before main: all cases, in whatever process they run, share it. */
__attribute__((constructor)) static void cover_make(void)
{
    cover = mmap(NULL, COVER_SIZE * sizeof(*cover), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (cover == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
}

void cover_note(uint64_t rip, unsigned flags)
{
    uint64_t i = rip * 0x9e3779b97f4a7c15u >> 40;
    for (unsigned n = 0; rip && n < COVER_SIZE; n++, i++) {
        uint64_t k = i & (COVER_SIZE - 1);
        if (!cover[k].rip)
            cover[k].rip = rip;
        if (cover[k].rip == rip) {
            cover[k].flags |= flags;
            return;
        }
    }
}

static unsigned cover_flags(uint64_t rip)
{
    uint64_t i = rip * 0x9e3779b97f4a7c15u >> 40;

    for (unsigned n = 0; n < COVER_SIZE; n++, i++) {
        uint64_t k = i & (COVER_SIZE - 1);
        if (cover[k].rip == rip)
            return cover[k].flags;
        if (!cover[k].rip)
            break;
    }
    return 0;
}

static void trim(char *text)
{
    size_t n = strlen(text), skip = strspn(text, " \t");

    memmove(text, text + skip, n - skip + 1);
    n -= skip;
    while (n && strchr(" \t\r\n", text[n - 1]))
        text[--n] = 0;
}

/* The text of a source line, or a number where there is none. */
static void source_text(const struct module *m, const struct symbol *s, uint64_t address,
                        char *text, size_t size)
{
    char file[600];
    int line = source_line(m, address, file, sizeof(file));
    FILE *f = line ? fopen(file, "re") : NULL;

    snprintf(text, size, "+0x%llx", (unsigned long long)(address - m->bias - s->from));
    if (!f)
        return;
    for (int i = 1; i <= line; i++) {
        if (!fgets(text, (int)size, f)) {
            text[0] = 0;
            break;
        }
    }
    fclose(f);
    trim(text);
}

/* Is "function: text" on the list of known ones? Lines of it: "function: text ## reason"; function * is any (what is inlined where, the compiler decides). */
static int is_known(const char *known, const char *function, const char *text)
{
    FILE *f = known ? fopen(known, "re") : NULL;
    char line[1000], wanted[1000], anywhere[1000];
    int found = 0;

    snprintf(wanted, sizeof(wanted), "%s: %s", function, text);
    snprintf(anywhere, sizeof(anywhere), "*: %s", text);
    while (f && !found && fgets(line, sizeof(line), f)) {
        char *reason = strstr(line, "##");
        if (line[0] == '#' || !reason)
            continue;
        *reason = 0;
        trim(line);
        found = (!strcmp(line, wanted) || !strcmp(line, anywhere)) &&
                strspn(reason + 1, "# \t\n") < strlen(reason + 1);
    }
    if (f)
        fclose(f);
    return found;
}

const char *cover_below[COVER_BELOW];

struct tally {
    int stores, tried, elsewhere, known, missing;
};

static int is_below(struct module *m, uint64_t address)
{
    char file[600];

    if (!cover_below[0])
        return 1;
    if (!source_line(m, address, file, sizeof(file)))
        return 0;
    for (int i = 0; i < COVER_BELOW && cover_below[i]; i++) {
        if (!fnmatch(cover_below[i], file, 0))
            return 1;
    }
    return 0;
}

static void cover_instruction(struct module *m, const struct symbol *s, uint64_t address,
                              const uint8_t *bytes, const char *text, const char *known,
                              struct tally *tally)
{
    struct decoded d;
    char source[700];

    decode(bytes, &d);
    if (!(d.flags & DECODE_WRITES) || (d.flags & (DECODE_STACK | DECODE_STATIC)))
        return;
    tally->stores++;
    unsigned flags = cover_flags(address);
    if (flags & COVER_TRIED) {
        tally->tried++;
        return;
    }
    if ((flags & COVER_STORED) && !(flags & COVER_REGION)) {
        tally->elsewhere++;
        return;
    }
    if (!is_below(m, address)) {
        tally->stores--;
        return;
    }
    source_text(m, s, address, source, sizeof(source));
    if (is_known(known, s->name, source)) {
        tally->known++;
        return;
    }
    tally->missing++;
    printf("  never a kill point%s: %s: %s    [%s]\n",
           flags & COVER_REGION ? ", though executed" : "", s->name, source, text);
}

static int matches(const char *name, const char *const *patterns, int count)
{
    for (int i = 0; i < count; i++) {
        if (!fnmatch(patterns[i], name, 0))
            return 1;
    }
    return 0;
}

static int cover_function(struct module *m, const struct symbol *s, const char *known,
                          struct tally *tally)
{
    char command[700], line[600];
    uint8_t bytes[32] = {0};
    char text[300] = "";
    uint64_t address = 0;
    size_t n = 0;

    snprintf(command, sizeof(command),
             "objdump -d -w --start-address=0x%" PRIx64 " --stop-address=0x%" PRIx64
             " '%s' 2>/dev/null",
             s->from, s->from + s->size, m->path);
    FILE *f = popen(command, "r");
    while (f && fgets(line, sizeof(line), f)) {
        char hex[120] = "";
        unsigned long long at;
        if (sscanf(line, " %llx:\t%119[0-9a-f ]\t%299[^\n]", &at, hex, text) != 3)
            continue;
        memset(bytes, 0, sizeof(bytes));
        n = 0;
        for (char *h = strtok(hex, " "); h && n < 16; h = strtok(NULL, " "))
            bytes[n++] = (uint8_t)strtoul(h, NULL, 16);
        address = at + m->bias;
        cover_instruction(m, s, address, bytes, text, known, tally);
    }
    return f && pclose(f) == 0 && address ? 0 : -1;
}

int cover_report(const char *const *patterns, int count, const char *known)
{
    struct tally tally = {0};
    int functions = 0;

    if (known && access(known, R_OK)) {
        printf("FAILED   coverage: %s cannot be read\n", known);
        return 1;
    }
    module_of(1);
    for (size_t i = 0; i < module_count; i++) {
        struct module *m = &modules[i];
        module_of(m->from);
        for (size_t j = 0; j < m->count; j++) {
            if (!matches(m->symbols[j].name, patterns, count) || m->symbols[j].size == 0)
                continue;
            functions++;
            if (cover_function(m, &m->symbols[j], known, &tally)) {
                printf("FAILED   coverage: objdump cannot show %s\n", m->symbols[j].name);
                return 1;
            }
        }
    }
    int failed = tally.missing > 0 || functions == 0;
    printf("%-8s coverage: %d functions, %d stores: %d were kill points, %d wrote elsewhere, %d "
           "are known, %d missing\n",
           failed ? "FAILED" : "passed", functions, tally.stores, tally.tried, tally.elsewhere,
           tally.known, tally.missing);
    return failed;
}
