// SPDX-License-Identifier: GPL-2.0-or-later
/* One machine instruction, as far as it moves pointers from register to register or goes elsewhere.
 * What else an instruction computes is told only as "this register holds something else now".
 *
 * Source: Intel SDM volume 2 (chapter 2 and appendix A: lengths), Arm ARM C4 (A64 encodings). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node-capture/tls/elf-image.h"

/* Numbers as the instructions encode them: rax rcx rdx rbx rsp rbp rsi rdi r8-r15, x0-x31 (31: sp
 * or none). */
#define REGISTERS     32
#define REGISTER_NONE 0xff

typedef enum Operation {
    OPERATION_OTHER,    /* `target` holds something else, if it is a register */
    OPERATION_MOVE,     /* target = source, 64 bits */
    OPERATION_ADD,      /* target = source + value, 64 bits */
    OPERATION_CONSTANT, /* target = value */
    OPERATION_PAGE,     /* target = value, of which the low 12 bits follow (adrp) */
    OPERATION_LOAD,     /* target = 64 bits at source + value */
    OPERATION_INDEXED,  /* a byte at source + value + an index to target */
    OPERATION_STORE,    /* 64 bits of `source` to `target` + value */
    OPERATION_CALL,     /* of the function at `value` */
    OPERATION_CALL_INDIRECT,
    OPERATION_JUMP, /* to `value` */
    OPERATION_JUMP_INDIRECT,
    OPERATION_BRANCH, /* to `value`, or on */
    OPERATION_RETURN,
    OPERATION_TRAP, /* nothing follows, or nothing that was understood */
} Operation;

typedef struct Instruction {
    Operation operation;
    uint8_t length;
    uint8_t target, source;
    uint8_t also; /* another register that holds something else now, or REGISTER_NONE */
    int64_t value;
} Instruction;

/* The instruction at the beginning of `bytes`, of which there are `length`, and which is at
 * `address`. False: it is cut off or unknown. */
bool instruction_x86(const uint8_t *bytes, size_t length, uint64_t address, Instruction *ret);
bool instruction_arm64(const uint8_t *bytes, size_t length, uint64_t address, Instruction *ret);

static inline bool instruction_decode(ElfArch arch, const uint8_t *bytes, size_t length,
                                      uint64_t address, Instruction *ret)
{
    return arch == ELF_X86_64 ? instruction_x86(bytes, length, address, ret)
                              : instruction_arm64(bytes, length, address, ret);
}

/* The register of an integer argument of the C ABI: 0-5 (0-7 on arm64). */
uint8_t instruction_argument(ElfArch arch, unsigned argument);
uint8_t instruction_stack_pointer(ElfArch arch);
/* Does a call leave it as it was? */
bool instruction_is_saved(ElfArch arch, unsigned reg);
