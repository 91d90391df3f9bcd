/*
 * harness_decode.c: where does this x86-64 instruction write?
 *
 * Not a disassembler. It answers one question for user-space code as compilers and C libraries
 * write it: may the instruction store to memory, and how is the address made up. Pushes and calls,
 * which write below the stack pointer, do not count. An encoding that it does not know is taken to
 * have an operand that is only read; the self-test compares memory before and after each step with
 * what is said here.
 */
#include "harness_internal.h"

#include <string.h>

struct reader {
    const uint8_t *at;
    unsigned rex; /* W R X B as in the prefix */
    int operand16, repne, rep, narrow, segment;
};

enum map { MAP_ONE = 0, MAP_0F = 1, MAP_0F38 = 2, MAP_0F3A = 3, MAP_5 = 5, MAP_6 = 6 };

/* Does opcode of the map without VEX have a ModRM byte? */
static int has_modrm(enum map map, unsigned op)
{
    if (map == MAP_0F38 || map == MAP_0F3A)
        return 1;
    if (map == MAP_0F) {
        if (op == 0x05 || op == 0x06 || op == 0x07 || op == 0x08 || op == 0x09 || op == 0x0b ||
            op == 0x0e)
            return 0;
        if ((op >= 0x30 && op <= 0x37) || op == 0x77 || (op >= 0x80 && op <= 0x8f))
            return 0;
        return !((op >= 0xa0 && op <= 0xa2) || (op >= 0xa8 && op <= 0xaa) ||
                 (op >= 0xc8 && op <= 0xcf));
    }
    if (op < 0x40)
        return (op & 7) < 4;
    if (op < 0x84)
        return op == 0x63 || op == 0x69 || op == 0x6b || (op >= 0x80 && op < 0x84);
    if (op < 0x90)
        return 1;
    return op == 0xc0 || op == 0xc1 || op == 0xc6 || op == 0xc7 || (op >= 0xd0 && op <= 0xd3) ||
           (op >= 0xd8 && op <= 0xdf) || op == 0xf6 || op == 0xf7 || op >= 0xfe;
}

/* The part of the ModRM byte that extends the opcode is one of these? */
static int among(unsigned reg, unsigned mask)
{
    return (int)(mask >> reg & 1);
}

static int x87_writes(unsigned op, unsigned reg)
{
    static const unsigned masks[8] = {[1] = 1u << 2 | 1u << 3 | 1u << 6 | 1u << 7,
                                      [3] = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 7,
                                      [5] = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 6 | 1u << 7,
                                      [7] = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 6 | 1u << 7};

    return among(reg, masks[op - 0xd8]);
}

static int one_byte_writes(unsigned op, unsigned reg)
{
    if (op < 0x38)
        return (op & 7) < 2;
    switch (op) {
    case 0x80:
    case 0x81:
    case 0x83: return reg != 7; /* not cmp */
    case 0x86:
    case 0x87:
    case 0x88:
    case 0x89:
    case 0x8c:
    case 0x8f:
    case 0xc0:
    case 0xc1:
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
    case 0xc6:
    case 0xc7: return 1;
    case 0xf6:
    case 0xf7: return reg == 2 || reg == 3; /* not, neg */
    case 0xfe:
    case 0xff: return reg < 2; /* inc, dec */
    default: return op >= 0xd8 && op <= 0xdf && x87_writes(op, reg);
    }
}

/* Stores that look the same with and without VEX or EVEX. rep: the F3 prefix (or VEX.pp 2). */
static int vector_store(unsigned op, int rep)
{
    switch (op) {
    case 0x11:
    case 0x13:
    case 0x17:
    case 0x29:
    case 0x2b:
    case 0x7f:
    case 0xd6:
    case 0xe7: return 1;
    case 0x7e: return !rep; /* with F3 it is a load */
    default: return 0;
    }
}

static int two_byte_writes(unsigned op, unsigned reg, int rep)
{
    if (vector_store(op, rep) || (op >= 0x90 && op <= 0x9f)) /* and setcc */
        return 1;
    switch (op) {
    case 0x00: return reg < 2;
    case 0x01: return reg == 0 || reg == 1 || reg == 4;
    case 0xa4:
    case 0xa5:
    case 0xac:
    case 0xad: /* shld, shrd */
    case 0xab:
    case 0xb3:
    case 0xbb: /* bts, btr, btc */
    case 0xb0:
    case 0xb1:
    case 0xc0:
    case 0xc1:
    case 0xc3: /* cmpxchg, xadd, movnti */ return 1;
    case 0xba: return reg >= 5;
    /* fxsave, stmxcsr, xsave, xsaveopt */
    case 0xae: return reg == 0 || reg == 3 || reg == 4 || reg == 6;
    /* cmpxchg8b and 16b, xsavec, xsaves */
    case 0xc7: return reg == 1 || reg == 4 || reg == 5;
    default: return 0;
    }
}

static int extract_store(unsigned op)
{
    return (op >= 0x14 && op <= 0x17) || op == 0x19 || op == 0x1b || op == 0x39 || op == 0x3b ||
           op == 0x1d;
}

static int vex_writes(int evex, enum map map, unsigned op, unsigned reg, unsigned pp)
{
    switch (map) {
    case MAP_0F:
        return vector_store(op, pp == 2) || (op == 0xae && reg == 3) || (!evex && op == 0x91);
    case MAP_0F38:
        if (!evex)
            return op == 0x2e || op == 0x2f || op == 0x8e;
        return op == 0x63 || op == 0x8a || op == 0x8b || (op >= 0xa0 && op <= 0xa3) ||
               (pp == 2 && ((op >= 0x10 && op <= 0x15) || (op >= 0x20 && op <= 0x25) ||
                            (op >= 0x30 && op <= 0x35)));
    case MAP_0F3A: return extract_store(op);
    default: return op == 0x11 || op == 0x7e;
    }
}

/* Reads ModRM, SIB and displacement at p into d. Returns 0 if the operand is a register. */
static int read_operand(const struct reader *r, const uint8_t *p, struct decoded *d)
{
    unsigned mod = *p >> 6, rm = *p & 7;
    int32_t displacement = 0;

    if (mod == 3)
        return 0;
    p++;
    if (rm == 4) {
        unsigned sib = *p++;
        d->scale = 1 << (sib >> 6);
        d->index = (int)((sib >> 3 & 7) | (r->rex & 2 ? 8u : 0));
        d->base = (int)((sib & 7) | (r->rex & 1 ? 8u : 0));
        if (d->index == 4)
            d->index = -1;
        if ((sib & 7) == 5 && mod == 0) {
            d->base = -1;
            mod = 2;
        }
    } else if (rm == 5 && mod == 0) {
        d->flags |= DECODE_STATIC;
        d->base = -1;
        mod = 2;
    } else {
        d->base = (int)(rm | (r->rex & 1 ? 8u : 0));
    }
    if (mod == 1)
        displacement = *p < 0x80 ? *p : *p - 0x100;
    else if (mod == 2)
        memcpy(&displacement, p, 4);
    d->displacement = displacement;
    if (mod != 1)
        d->evex_disp8 = 0;
    if (d->base == 4)
        d->flags |= DECODE_STACK;
    return 1;
}

static void string_store(const struct reader *r, struct decoded *d)
{
    d->flags |= DECODE_WRITES;
    d->base = 7; /* rdi */
    if (r->rep || r->repne)
        d->flags |= DECODE_REPEATS;
}

static void decode_vex(struct reader *r, struct decoded *d)
{
    const uint8_t *p = r->at;
    unsigned first = *p, pp, map, op;

    if (first == 0xc5) {
        r->rex = p[1] & 0x80 ? 0 : 4;
        pp = p[1] & 3;
        map = MAP_0F;
        p += 2;
    } else {
        r->rex = (unsigned)(~p[1] >> 5 & 7);
        map = p[1] & (first == 0x62 ? 7 : 31);
        pp = p[2] & 3;
        p += first == 0x62 ? 4 : 3;
    }
    op = *p++;
    if (map == MAP_0F && op == 0x77)
        return;                        /* vzeroupper has no operand */
    if (map == MAP_0F && op == 0xf7) { /* vmaskmovdqu */
        string_store(r, d);
        return;
    }
    d->evex_disp8 = first == 0x62;
    if (!vex_writes(first == 0x62, (enum map)map, op, *p >> 3 & 7, pp) || !read_operand(r, p, d))
        return;
    d->flags |= DECODE_WRITES;
    if (first == 0x62 && map == MAP_0F38 && op >= 0xa0 && op <= 0xa3)
        d->flags |= DECODE_ANYWHERE; /* scatter: the index is a vector */
}

static void decode_one_byte(struct reader *r, unsigned op, struct decoded *d)
{
    const uint8_t *p = r->at;

    if (op == 0xa4 || op == 0xa5 || op == 0xaa || op == 0xab || op == 0x6c || op == 0x6d) {
        string_store(r, d);
    } else if (op == 0xa6 || op == 0xa7 || op == 0xac || op == 0xad || op == 0xae || op == 0xaf) {
        if (r->rep || r->repne)
            d->flags |= DECODE_REPEATS;
    } else if (op == 0xa2 || op == 0xa3) { /* mov to an absolute address */
        if (r->narrow) {
            uint32_t address;
            memcpy(&address, p, 4);
            d->displacement = address;
        } else {
            memcpy(&d->displacement, p, 8);
        }
        d->flags |= DECODE_WRITES;
    } else if (has_modrm(MAP_ONE, op) && one_byte_writes(op, *p >> 3 & 7) &&
               read_operand(r, p, d)) {
        d->flags |= DECODE_WRITES;
    }
}

static void decode_0f(struct reader *r, struct decoded *d)
{
    unsigned op = *r->at++, reg;
    int writes;

    if (op == 0x05) {
        d->flags = DECODE_SYSCALL;
        return;
    }
    if (op == 0x38 || op == 0x3a) {
        unsigned third = *r->at++;
        if (op == 0x38 && third == 0xf8) {
            d->flags = DECODE_WRITES | DECODE_ANYWHERE; /* movdir64b */
            return;
        }
        writes = op == 0x38 ? (third == 0xf1 && !r->repne) || third == 0xf5 || third == 0xf6 ||
                                  third == 0xf9
                            : extract_store(third);
        if (op == 0x38 && third == 0xf6 && (r->rep || r->operand16))
            writes = 0; /* adcx, adox */
    } else {
        if (!has_modrm(MAP_0F, op))
            return;
        reg = *r->at >> 3 & 7;
        if (op == 0xf7) { /* maskmovq, maskmovdqu */
            string_store(r, d);
            d->flags &= ~(unsigned)DECODE_REPEATS;
            return;
        }
        writes = two_byte_writes(op, reg, r->rep);
        if (op == 0xab || op == 0xb3 || op == 0xbb)
            d->bit_offset = (int)(reg | (r->rex & 4 ? 8u : 0));
    }
    if (writes && read_operand(r, r->at, d))
        d->flags |= DECODE_WRITES;
}

void decode(const uint8_t *bytes, struct decoded *d)
{
    struct reader r = {.at = bytes};

    memset(d, 0, sizeof(*d));
    d->base = d->index = d->bit_offset = -1;
    d->scale = 1;
    for (;; r.at++) {
        unsigned b = *r.at;
        if (r.at == bytes + 14)
            return;
        if (b == 0x66)
            r.operand16 = 1;
        else if (b == 0x67)
            r.narrow = 1;
        else if (b == 0xf2)
            r.repne = 1;
        else if (b == 0xf3)
            r.rep = 1;
        else if (b == 0x64 || b == 0x65)
            r.segment = b == 0x64 ? 'f' : 'g';
        else if (b != 0xf0 && b != 0x2e && b != 0x36 && b != 0x3e && b != 0x26)
            break;
    }
    if (*r.at >= 0x40 && *r.at <= 0x4f)
        r.rex = *r.at++ & 15;
    d->narrow = r.narrow;
    d->segment = r.segment;
    if (r.segment)
        d->flags |= DECODE_STATIC;
    if (*r.at == 0xc4 || *r.at == 0xc5 || *r.at == 0x62) {
        decode_vex(&r, d);
    } else if (*r.at == 0x0f) {
        r.at++;
        decode_0f(&r, d);
    } else {
        unsigned op = *r.at++;
        decode_one_byte(&r, op, d);
    }
}
