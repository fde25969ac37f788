// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/instruction.h"

#include <string.h>

#define LENGTH_MAX 15

/* What follows an opcode: nothing `.`, ModRM `m`; immediates of 8 bits `b`, of 32 (16 with prefix
 * 66) `z`, with ModRM `M` and `Z`; `v` as z but 64 bits with REX.W; jumps `j` (8 bits) `J` (32);
 * `o` an address of 64 bits; `w` 16 bits; `e` 24 bits; `3` ModRM and an immediate if its /r is 0 or
 * 1 (test); `x` not in 64-bit mode. Prefixes and escapes (`p`) are seen to before. */
static const char one_byte[257] = "mmmmbzxxmmmmbzxp" /* 00 */
                                  "mmmmbzxxmmmmbzxx"
                                  "mmmmbzpxmmmmbzpx"
                                  "mmmmbzpxmmmmbzpx"
                                  "pppppppppppppppp" /* 40 */
                                  "................"
                                  "xxpmppppzZbM...."
                                  "jjjjjjjjjjjjjjjj"
                                  "MZxMmmmmmmmmmmmm" /* 80 */
                                  "..........x....."
                                  "oooo....bz......"
                                  "bbbbbbbbvvvvvvvv"
                                  "MMw.ppMZe.w..bx." /* c0 */
                                  "mmmmxxx.mmmmmmmm"
                                  "jjjjbbbbJJxj...."
                                  "p.pp..33......mm";
static const char two_byte[257] = "mmmmx.....x.xm.M" /* 00 */
                                  "mmmmmmmmmmmmmmmm"
                                  "mmmmxxxxmmmmmmmm"
                                  "......x.pxpxxxxx"
                                  "mmmmmmmmmmmmmmmm" /* 40 */
                                  "mmmmmmmmmmmmmmmm"
                                  "mmmmmmmmmmmmmmmm"
                                  "MMMMmmm.mmxxmmmm"
                                  "JJJJJJJJJJJJJJJJ" /* 80 */
                                  "mmmmmmmmmmmmmmmm"
                                  "...mMmmm...mMmmm"
                                  "mmmmmmmmmmMmmmmm"
                                  "mmMmMMMm........" /* c0 */
                                  "mmmmmmmmmmmmmmmm"
                                  "mmmmmmmmmmmmmmmm"
                                  "mmmmmmmmmmmmmmmm";

enum { MAP_ONE, MAP_0F, MAP_0F38, MAP_0F3A };

typedef struct Decoder {
    const uint8_t *bytes;
    size_t length, at;
    uint64_t address;
    uint8_t rex, map, opcode, mode, reg, rm;
    bool has_66, is_vector, has_modrm;
    uint8_t base; /* of the operand in memory, or REGISTER_NONE */
    bool is_rip_relative, has_index;
    int64_t displacement; /* with is_rip_relative: without the address yet */
    int64_t immediate;
} Decoder;

static bool take(Decoder *d, unsigned count, int64_t *ret)
{
    if (count > d->length - d->at) {
        return false;
    }
    uint64_t value = elf_get(d->bytes + d->at, count);
    unsigned spare = 64 - 8 * count;
    *ret = count == 8 ? (int64_t)value : (int64_t)(value << spare) >> spare;
    d->at += count;
    return true;
}

static bool take_byte(Decoder *d, uint8_t *ret)
{
    int64_t value = 0;
    bool ok = take(d, 1, &value);
    *ret = (uint8_t)value;
    return ok;
}

/* VEX (c4, c5) and EVEX (62): the map stands in the prefix, the opcode comes next. */
static bool read_vector_prefix(Decoder *d, uint8_t escape)
{
    uint8_t first, more;
    d->is_vector = true;
    if (!take_byte(d, &first)) {
        return false;
    }
    d->rex = (uint8_t)((first & 0x80 ? 0 : 4) | (escape != 0xc5 && !(first & 0x20) ? 1 : 0));
    d->map = escape == 0xc5 ? MAP_0F : first & (escape == 0xc4 ? 0x1f : 7);
    for (int i = escape == 0xc5 ? 0 : escape == 0xc4 ? 1 : 2; i > 0; i--) {
        if (!take_byte(d, &more)) {
            return false;
        }
    }
    return d->map >= MAP_0F && d->map <= MAP_0F3A && take_byte(d, &d->opcode);
}

static bool read_opcode(Decoder *d)
{
    uint8_t byte;
    do {
        if (!take_byte(d, &byte)) {
            return false;
        }
        d->has_66 |= byte == 0x66;
        d->rex = 0;
        if ((byte & 0xf0) == 0x40) {
            d->rex = byte;
            if (!take_byte(d, &byte)) {
                return false;
            }
            break;
        }
    } while (byte == 0x66 || byte == 0x67 || byte == 0xf0 || byte == 0xf2 || byte == 0xf3 ||
             (byte & 0xe7) == 0x26 || byte == 0x64 || byte == 0x65);
    if (byte == 0xc4 || byte == 0xc5 || byte == 0x62) {
        return read_vector_prefix(d, byte);
    }
    if (byte == 0x0f) {
        d->map = MAP_0F;
        if (!take_byte(d, &byte)) {
            return false;
        }
        if (byte == 0x38 || byte == 0x3a) {
            d->map = byte == 0x38 ? MAP_0F38 : MAP_0F3A;
            if (!take_byte(d, &byte)) {
                return false;
            }
        }
    }
    d->opcode = byte;
    return true;
}

static bool read_modrm(Decoder *d)
{
    uint8_t byte, sib = 0;
    if (!take_byte(d, &byte)) {
        return false;
    }
    d->has_modrm = true;
    d->mode = byte >> 6;
    d->reg = (uint8_t)((byte >> 3 & 7) | (d->rex & 4) << 1);
    d->rm = (uint8_t)((byte & 7) | (d->rex & 1) << 3);
    d->base = d->rm;
    if (d->mode == 3) {
        return true;
    }
    if ((byte & 7) == 4) {
        if (!take_byte(d, &sib)) {
            return false;
        }
        d->has_index = (sib >> 3 & 7) != 4 || (d->rex & 2);
        d->base = (uint8_t)((sib & 7) | (d->rex & 1) << 3);
        if ((sib & 7) == 5 && d->mode == 0) {
            d->base = REGISTER_NONE;
            return take(d, 4, &d->displacement);
        }
    } else if ((byte & 7) == 5 && d->mode == 0) {
        d->base = REGISTER_NONE;
        d->is_rip_relative = true;
        return take(d, 4, &d->displacement);
    }
    return d->mode == 0 || take(d, d->mode == 1 ? 1 : 4, &d->displacement);
}

static bool read_operands(Decoder *d)
{
    char kind = d->map == MAP_ONE    ? one_byte[d->opcode]
                : d->map == MAP_0F   ? two_byte[d->opcode]
                : d->map == MAP_0F38 ? 'm'
                                     : 'M';
    unsigned wide = d->has_66 && !(d->rex & 8) ? 2 : 4;
    if (strchr("mMZ3", kind) && !read_modrm(d)) {
        return false;
    }
    switch (kind) {
    case '.':
    case 'm':
        return true;
    case 'b':
    case 'M':
    case 'j':
        return take(d, 1, &d->immediate);
    case 'z':
    case 'Z':
        return take(d, wide, &d->immediate);
    case 'v':
        return take(d, d->rex & 8 ? 8 : wide, &d->immediate);
    case 'J':
        return take(d, 4, &d->immediate);
    case 'o':
        return take(d, 8, &d->immediate);
    case 'w':
        return take(d, 2, &d->immediate);
    case 'e':
        return take(d, 3, &d->immediate);
    case '3':
        return (d->reg & 7) > 1 || take(d, d->opcode == 0xf6 ? 1 : wide, &d->immediate);
    default:
        return false;
    }
}

/* ---- Meaning -------------------------------------------------------------------------------- */

static void set(Instruction *ret, Operation operation, uint8_t target, uint8_t source,
                int64_t value)
{
    ret->operation = operation;
    ret->target = target;
    ret->source = source;
    ret->value = value;
}

static void spoil_rm(const Decoder *d, Instruction *ret)
{
    if (d->mode == 3) {
        ret->target = d->rm;
    }
}

static void mean_move(const Decoder *d, Instruction *ret)
{
    bool is_wide = d->rex & 8;
    if (d->has_index) {
        ret->target = d->opcode == 0x89 ? REGISTER_NONE : d->reg;
    } else if (d->opcode == 0x8d) {
        if (d->is_rip_relative) {
            set(ret, OPERATION_CONSTANT, d->reg, REGISTER_NONE,
                (int64_t)(d->address + d->at + (uint64_t)d->displacement));
        } else if (is_wide && d->base != REGISTER_NONE) {
            set(ret, OPERATION_ADD, d->reg, d->base, d->displacement);
        } else {
            ret->target = d->reg;
        }
    } else if (d->mode == 3) {
        uint8_t to = d->opcode == 0x89 ? d->rm : d->reg, from = d->opcode == 0x89 ? d->reg : d->rm;
        set(ret, is_wide ? OPERATION_MOVE : OPERATION_OTHER, to, from, 0);
    } else if (d->opcode == 0x8b) {
        bool is_known = is_wide && d->base != REGISTER_NONE;
        set(ret, is_known ? OPERATION_LOAD : OPERATION_OTHER, d->reg, d->base, d->displacement);
    } else if (is_wide && d->base != REGISTER_NONE) {
        set(ret, OPERATION_STORE, d->base, d->reg, d->displacement);
    }
}

/* add, or, adc, sbb, and, sub, xor, cmp with an immediate */
static void mean_arithmetic(const Decoder *d, Instruction *ret)
{
    unsigned kind = d->reg & 7;
    if (d->mode != 3 || kind == 7) {
        return;
    }
    ret->target = d->rm;
    if ((d->rex & 8) && d->opcode != 0x80 && (kind == 0 || kind == 5)) {
        set(ret, OPERATION_ADD, d->rm, d->rm, kind == 0 ? d->immediate : -d->immediate);
    }
}

static void mean_group_ff(const Decoder *d, Instruction *ret)
{
    unsigned kind = d->reg & 7;
    if (kind == 2 || kind == 3) {
        ret->operation = OPERATION_CALL_INDIRECT;
    } else if (kind == 4 || kind == 5) {
        ret->operation = OPERATION_JUMP_INDIRECT;
    } else if (kind < 2) {
        spoil_rm(d, ret);
    }
}

static void mean_one_byte(const Decoder *d, Instruction *ret)
{
    uint8_t op = d->opcode;
    uint64_t next = d->address + d->at;
    int64_t goal = (int64_t)(next + (uint64_t)d->immediate);
    uint8_t low = (uint8_t)((op & 7) | (d->rex & 1) << 3);
    if (op < 0x40) {
        if ((op & 7) < 4 && (op & 0x38) != 0x38) {
            if (op & 2) {
                ret->target = d->reg;
            } else {
                spoil_rm(d, ret);
            }
        } else if ((op & 7) < 6 && (op & 0x38) != 0x38) {
            ret->target = 0;
        }
    } else if (op == 0x89 || op == 0x8b || op == 0x8d) {
        mean_move(d, ret);
    } else if (op >= 0xb8 && op <= 0xbf) {
        set(ret, OPERATION_CONSTANT, low, REGISTER_NONE,
            d->rex & 8 ? d->immediate : (int64_t)(uint32_t)d->immediate);
    } else if (op == 0xc7 && d->mode == 3) {
        set(ret, OPERATION_CONSTANT, d->rm, REGISTER_NONE,
            d->rex & 8 ? d->immediate : (int64_t)(uint32_t)d->immediate);
    } else if (op == 0x80 || op == 0x81 || op == 0x83) {
        mean_arithmetic(d, ret);
    } else if (op == 0xe8 || op == 0xe9 || op == 0xeb) {
        set(ret, op == 0xe8 ? OPERATION_CALL : OPERATION_JUMP, REGISTER_NONE, REGISTER_NONE, goal);
    } else if ((op >= 0x70 && op <= 0x7f) || (op >= 0xe0 && op <= 0xe3)) {
        set(ret, OPERATION_BRANCH, REGISTER_NONE, REGISTER_NONE, goal);
    } else if (op == 0xc2 || op == 0xc3) {
        ret->operation = OPERATION_RETURN;
    } else if (op == 0xcc || op == 0xf4) {
        ret->operation = OPERATION_TRAP;
    } else if (op == 0xff || op == 0xfe) {
        mean_group_ff(d, ret);
    } else if (op >= 0x58 && op <= 0x5f) {
        ret->target = low;
    } else if (op == 0x63 || op == 0x69 || op == 0x6b || op == 0x8a) {
        ret->target = d->reg;
    } else if (op == 0x86 || op == 0x87) {
        spoil_rm(d, ret);
        ret->also = d->reg;
    } else if (op >= 0x91 && op <= 0x97) {
        ret->target = low;
        ret->also = 0;
    } else if ((op == 0xf6 || op == 0xf7) && (d->reg & 7) >= 4) {
        ret->target = 0;
        ret->also = 2;
    } else if (op == 0xa4 || op == 0xa5 || op == 0xaa || op == 0xab) {
        ret->target = 7; /* movs, stos: rdi, and rsi or rcx */
        ret->also = op >= 0xaa ? 1 : 6;
    } else if (d->has_modrm && op != 0x84 && op != 0x85 && !(op >= 0xd8 && op <= 0xdf) &&
               !((op == 0xf6 || op == 0xf7) && (d->reg & 7) < 2)) {
        spoil_rm(d, ret);
    } else if (op == 0x98 || op == 0x99) {
        ret->target = op == 0x98 ? 0 : 2;
    }
}

/* Vector instructions that write a general register are few. */
static void mean_two_byte(const Decoder *d, Instruction *ret)
{
    uint8_t op = d->opcode;
    if (op >= 0x80 && op <= 0x8f) {
        set(ret, OPERATION_BRANCH, REGISTER_NONE, REGISTER_NONE,
            (int64_t)(d->address + d->at + (uint64_t)d->immediate));
    } else if (op == 0x0b || op == 0xb9 || op == 0xff) {
        ret->operation = OPERATION_TRAP;
    } else if (d->has_index && (op == 0xb6 || op == 0xbe)) {
        set(ret, OPERATION_INDEXED, d->reg, d->base, d->displacement);
    } else if ((op >= 0x40 && op <= 0x4f) || op == 0x2c || op == 0x2d || op == 0x50 || op == 0xd7 ||
               op == 0xaf || (op >= 0xb6 && op <= 0xbf && op != 0xba) || op == 0x02 || op == 0x03) {
        ret->target = d->reg;
    } else if ((op >= 0x90 && op <= 0x9f) || op == 0x7e || op == 0xa4 || op == 0xa5 || op == 0xab ||
               op == 0xac || op == 0xad || op == 0xb0 || op == 0xb1 || op == 0xb3 || op == 0xba ||
               op == 0xc7) {
        spoil_rm(d, ret);
        ret->also = op == 0xb0 || op == 0xb1 ? 0 : REGISTER_NONE;
    } else if (op == 0xc0 || op == 0xc1) {
        spoil_rm(d, ret);
        ret->also = d->reg;
    } else if (op >= 0xc8 && op <= 0xcf) {
        ret->target = (uint8_t)((op & 7) | (d->rex & 1) << 3);
    } else if (op == 0xa2) {
        ret->target = 0;
        ret->also = 2; /* cpuid; rbx and rcx hold no pointers where it is used */
    }
}

bool instruction_x86(const uint8_t *bytes, size_t length, uint64_t address, Instruction *ret)
{
    Decoder d = {.bytes = bytes,
                 .length = length < LENGTH_MAX ? length : LENGTH_MAX,
                 .address = address,
                 .base = REGISTER_NONE};
    if (!read_opcode(&d) || !read_operands(&d)) {
        return false;
    }
    *ret = (Instruction){.length = (uint8_t)d.at,
                         .target = REGISTER_NONE,
                         .source = REGISTER_NONE,
                         .also = REGISTER_NONE};
    if (d.map == MAP_ONE) {
        mean_one_byte(&d, ret);
    } else if (d.map == MAP_0F && !d.is_vector) {
        mean_two_byte(&d, ret);
    } else if (d.has_modrm) {
        ret->target = d.reg; /* bit manipulation and checksums write the first, others a vector */
    }
    return true;
}
