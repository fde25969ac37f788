// SPDX-License-Identifier: GPL-2.0-or-later
/* A small library as the finder likes it: one segment, some labels, calls with them to a function,
 * its accessor, symbols, hash table, build id, unwind index. x86-64, written by hand. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define MADE_ELF_BYTES 4096
#define MADE_ELF_FUNCTION                                                  \
    0x1000u /* the key-log function's address; the file is mapped at 0xc00 \
             */
#define MADE_ELF_ADDRESS 0xc00u
#define MADE_ELF_RANDOM  0x140 /* [session+0x28]+0x140 */
#define MADE_ELF_POINTER 0x28

/* Where things stand in it, for tests that damage them. */
enum {
    MADE_ELF_HEADERS = 64,
    MADE_ELF_DYNAMIC = 0x180,
    MADE_ELF_HASH = 0x240,
    MADE_ELF_SYMBOLS = 0x280,
    MADE_ELF_UNWIND = 0x300,
    MADE_ELF_CODE = 0x400,
    MADE_ELF_LABELS = 0x800,
    MADE_ELF_SECTIONS = 0xa00,
};

void made_elf(uint8_t ret[static MADE_ELF_BYTES]);
/* `value` in `size` bytes, little-endian. */
void made_elf_put(uint8_t *at, uint64_t value, unsigned size);
