// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/instruction.h"

static int64_t sign_extend(uint64_t value, unsigned bits)
{
    return (int64_t)(value << (64 - bits)) >> (64 - bits);
}

static void set(Instruction *ret, Operation operation, uint32_t target, uint32_t source,
                int64_t value)
{
    ret->operation = operation;
    ret->target = (uint8_t)target;
    ret->source = (uint8_t)source;
    ret->value = value;
}

/* The low `bits` of the field count instructions from the address. */
static int64_t goal(uint64_t address, uint32_t field, unsigned bits)
{
    uint64_t distance = (uint64_t)sign_extend(field & ((1u << bits) - 1), bits);
    return (int64_t)(address + distance * 4);
}

static bool branches(uint32_t word, uint64_t address, Instruction *ret)
{
    int64_t goal26 = goal(address, word, 26), goal19 = goal(address, word >> 5, 19);
    int64_t goal14 = goal(address, word >> 5, 14);
    if ((word & 0x7c000000) == 0x14000000) {
        set(ret, word >> 31 ? OPERATION_CALL : OPERATION_JUMP, REGISTER_NONE, REGISTER_NONE,
            goal26);
    } else if ((word & 0xff000000) == 0x54000000 || (word & 0x7e000000) == 0x34000000) {
        set(ret, OPERATION_BRANCH, REGISTER_NONE, REGISTER_NONE, goal19); /* b.cond, cbz, cbnz */
    } else if ((word & 0x7e000000) == 0x36000000) {
        set(ret, OPERATION_BRANCH, REGISTER_NONE, REGISTER_NONE, goal14); /* tbz, tbnz */
    } else if ((word & 0xfe000000) == 0xd6000000) {
        unsigned kind = word >> 21 & 7; /* br blr ret, with pointer authentication or without */
        ret->operation = kind == 1   ? OPERATION_CALL_INDIRECT
                         : kind == 2 ? OPERATION_RETURN
                                     : OPERATION_JUMP_INDIRECT;
    } else if ((word & 0xff000000) == 0xd4000000 || word < 0x10000) {
        /* svc goes on; brk, hlt and udf do not. */
        ret->operation = (word & 0xffe0001f) == 0xd4000001 ? OPERATION_OTHER : OPERATION_TRAP;
    } else {
        return false;
    }
    return true;
}

static bool addresses(uint32_t word, uint64_t address, Instruction *ret)
{
    uint32_t target = word & 31, source = word >> 5 & 31;
    int64_t immediate = sign_extend((word >> 5 & 0x7ffff) << 2 | (word >> 29 & 3), 21);
    int64_t low = (word >> 10 & 0xfff) << (word >> 22 & 1 ? 12 : 0);
    if ((word & 0x9f000000) == 0x90000000) {
        set(ret, OPERATION_PAGE, target, REGISTER_NONE,
            (int64_t)((address & ~UINT64_C(0xfff)) + ((uint64_t)immediate << 12)));
    } else if ((word & 0x9f000000) == 0x10000000) {
        set(ret, OPERATION_CONSTANT, target, REGISTER_NONE,
            (int64_t)(address + (uint64_t)immediate));
    } else if ((word & 0xff800000) == 0x91000000 || (word & 0xff800000) == 0xd1000000) {
        set(ret, OPERATION_ADD, target, source,
            word >> 30 & 1 ? -low : low); /* add, sub (64 bits) */
    } else if ((word & 0xffe0ffe0) == 0xaa0003e0) {
        set(ret, OPERATION_MOVE, target, word >> 16 & 31, 0); /* orr xd, xzr, xm */
    } else if ((word & 0x7f800000) == 0x52800000) {
        set(ret, OPERATION_CONSTANT, target, REGISTER_NONE, /* movz */
            (int64_t)((uint64_t)(word >> 5 & 0xffff) << ((word >> 21 & 3) * 16)));
    } else {
        return false;
    }
    return true;
}

/* Loads and stores of one or two registers; those with write-back spoil the base. */
static bool memory(uint32_t word, Instruction *ret)
{
    uint32_t target = word & 31, source = word >> 5 & 31;
    bool is_vector = word >> 26 & 1;
    if ((word & 0xffc00000) == 0xf9400000) {
        set(ret, OPERATION_LOAD, target, source, (int64_t)(word >> 10 & 0xfff) * 8);
    } else if ((word & 0xffc00000) == 0xf9000000) {
        set(ret, OPERATION_STORE, source, target, (int64_t)(word >> 10 & 0xfff) * 8);
    } else if ((word & 0xffe00c00) == 0xf8400000) {
        set(ret, OPERATION_LOAD, target, source, sign_extend(word >> 12 & 0x1ff, 9)); /* ldur */
    } else if ((word & 0x3a000000) == 0x38000000) {
        bool is_unsigned_offset = word >> 24 & 1;
        bool is_load = word >> 22 & 3,
             writes_back = !is_unsigned_offset && !(word >> 21 & 1) && (word >> 10 & 1);
        ret->target = is_load && !is_vector ? (uint8_t)target : REGISTER_NONE;
        ret->also = writes_back ? (uint8_t)source : REGISTER_NONE;
    } else if ((word & 0x3a000000) == 0x28000000) {
        bool is_load = word >> 22 & 1, writes_back = word >> 23 & 1;
        ret->target = is_load && !is_vector ? (uint8_t)target : REGISTER_NONE;
        ret->also = is_load && !is_vector ? (uint8_t)(word >> 10 & 31) : REGISTER_NONE;
        if (writes_back && source != 31) {
            /* Three registers change: that is rare but with sp. */
            ret->operation = ret->also == REGISTER_NONE ? OPERATION_OTHER : OPERATION_TRAP;
            ret->also = (uint8_t)source;
        }
    } else {
        return false;
    }
    return true;
}

bool instruction_arm64(const uint8_t *bytes, size_t length, uint64_t address, Instruction *ret)
{
    if (length < 4) {
        return false;
    }
    uint32_t word = elf_u32(bytes);
    *ret = (Instruction){
        .length = 4, .target = REGISTER_NONE, .source = REGISTER_NONE, .also = REGISTER_NONE};
    if (branches(word, address, ret) || addresses(word, address, ret) || memory(word, ret)) {
        return true;
    }
    /* Data processing writes its lowest field; hints and barriers have 31 there, as comparisons do.
     */
    bool is_vector = (word & 0x0e000000) == 0x0e000000;
    ret->target = is_vector ? REGISTER_NONE : (uint8_t)(word & 31);
    return true;
}
