// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/node-capture/tls/made-elf.h"

#include <elf.h>
#include <string.h>

#define STRINGS 0xb00
#define NOTE    0xc00

void made_elf_put(uint8_t *at, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t address(size_t offset)
{
    return MADE_ELF_ADDRESS + offset;
}

static void put_segment(uint8_t *elf, unsigned i, uint32_t type, uint32_t flags, size_t offset,
                        size_t length)
{
    uint8_t *segment = elf + MADE_ELF_HEADERS + i * sizeof(Elf64_Phdr);
    made_elf_put(segment, type, 4);
    made_elf_put(segment + 4, flags, 4);
    made_elf_put(segment + 8, offset, 8);
    made_elf_put(segment + 16, address(offset), 8);
    made_elf_put(segment + 32, length, 8);
    made_elf_put(segment + 40, length, 8);
}

static void put_header(uint8_t *elf)
{
    memcpy(elf, ELFMAG, SELFMAG);
    elf[EI_CLASS] = ELFCLASS64;
    elf[EI_DATA] = ELFDATA2LSB;
    made_elf_put(elf + offsetof(Elf64_Ehdr, e_type), ET_DYN, 2);
    made_elf_put(elf + offsetof(Elf64_Ehdr, e_machine), EM_X86_64, 2);
    made_elf_put(elf + offsetof(Elf64_Ehdr, e_phoff), MADE_ELF_HEADERS, 8);
    made_elf_put(elf + offsetof(Elf64_Ehdr, e_phentsize), sizeof(Elf64_Phdr), 2);
    made_elf_put(elf + offsetof(Elf64_Ehdr, e_phnum), 4, 2);
    made_elf_put(elf + offsetof(Elf64_Ehdr, e_shoff), MADE_ELF_SECTIONS, 8);
    made_elf_put(elf + offsetof(Elf64_Ehdr, e_shentsize), sizeof(Elf64_Shdr), 2);
    made_elf_put(elf + offsetof(Elf64_Ehdr, e_shnum), 3, 2);
    made_elf_put(elf + offsetof(Elf64_Ehdr, e_shstrndx), 1, 2);
    put_segment(elf, 0, PT_LOAD, PF_R | PF_X, 0, MADE_ELF_BYTES);
    put_segment(elf, 1, PT_DYNAMIC, PF_R, MADE_ELF_DYNAMIC, 8 * sizeof(Elf64_Dyn));
    put_segment(elf, 2, PT_NOTE, PF_R, NOTE, 24);
    put_segment(elf, 3, PT_GNU_EH_FRAME, PF_R, MADE_ELF_UNWIND, 20);
    made_elf_put(elf + NOTE, 4, 4);
    made_elf_put(elf + NOTE + 4, 8, 4);
    made_elf_put(elf + NOTE + 8, NT_GNU_BUILD_ID, 4);
    memcpy(elf + NOTE + 12, "GNU\0buildid!", 12);
}

/* Null, the function that sets the callback, the accessor. */
static void put_symbols(uint8_t *elf)
{
    static const char strings[] =
        "\0SSL_CTX_set_keylog_callback\0SSL_get_client_random\0libmade.so";
    const uint64_t dynamic[][2] = {
        {DT_SYMTAB, address(MADE_ELF_SYMBOLS)},
        {DT_STRTAB, address(STRINGS)},
        {DT_STRSZ, sizeof(strings)},
        {DT_GNU_HASH, address(MADE_ELF_HASH)},
        {DT_SONAME, 50},
        {DT_NULL, 0},
    };
    for (unsigned i = 0; i < sizeof(dynamic) / sizeof(*dynamic); i++) {
        made_elf_put(elf + MADE_ELF_DYNAMIC + i * 16, dynamic[i][0], 8);
        made_elf_put(elf + MADE_ELF_DYNAMIC + i * 16 + 8, dynamic[i][1], 8);
    }
    memcpy(elf + STRINGS, strings, sizeof(strings));
    /* One bucket, from symbol 1 on; no filter but one word; the chain ends with symbol 2. */
    const uint32_t hash[] = {1, 1, 1, 0, 0, 0, 1, 2, 3};
    for (unsigned i = 0; i < sizeof(hash) / sizeof(*hash); i++) {
        made_elf_put(elf + MADE_ELF_HASH + i * 4, hash[i], 4);
    }
    const uint32_t names[] = {0, 1, 29};
    for (unsigned i = 1; i < 3; i++) {
        uint8_t *symbol = elf + MADE_ELF_SYMBOLS + i * sizeof(Elf64_Sym);
        made_elf_put(symbol, names[i], 4);
        made_elf_put(symbol + 6, 1, 2);
        made_elf_put(symbol + 8, address(i == 1 ? MADE_ELF_CODE + 0x300 : MADE_ELF_CODE + 0x200),
                     8);
    }
    uint8_t *section = elf + MADE_ELF_SECTIONS + sizeof(Elf64_Shdr);
    made_elf_put(section + 4, SHT_STRTAB, 4);
    made_elf_put(section + 24, STRINGS, 8);
    made_elf_put(section + 32, sizeof(strings), 8);
}

static void put_code(uint8_t *elf)
{
    static const char *const labels[] = {"CLIENT_RANDOM", "CLIENT_TRAFFIC_SECRET_0",
                                         "EXPORTER_SECRET"};
    size_t label = MADE_ELF_LABELS, at = MADE_ELF_CODE + 0x100;
    for (unsigned i = 0; i < 3; i++) {
        strcpy((char *)elf + label, labels[i]);
        static const uint8_t site[] = {0x48, 0x8d, 0x35, 0, 0, 0, 0, 0xe8, 0, 0, 0, 0, 0xc3};
        memcpy(elf + at, site, sizeof(site)); /* lea rsi, [label]; call function; ret */
        made_elf_put(elf + at + 3, label - (at + 7), 4);
        made_elf_put(elf + at + 8, MADE_ELF_CODE - (at + 12), 4);
        at += 32;
        label += 64;
    }
    /* mov rax, [rdi+0x28]; lea rcx, [rax+0x140]; ret */
    static const uint8_t form[] = {0x48,
                                   0x8b,
                                   0x47,
                                   MADE_ELF_POINTER,
                                   0x48,
                                   0x8d,
                                   0x88,
                                   MADE_ELF_RANDOM & 0xff,
                                   MADE_ELF_RANDOM >> 8,
                                   0,
                                   0,
                                   0xc3};
    memcpy(elf + MADE_ELF_CODE, form, sizeof(form));
    memcpy(elf + MADE_ELF_CODE + 0x200, form, sizeof(form));
    elf[MADE_ELF_CODE + 0x300] = 0xc3;
}

static void put_unwind(uint8_t *elf)
{
    static const uint8_t encodings[] = {1, 0x1b, 0x03, 0x3b};
    uint8_t *index = elf + MADE_ELF_UNWIND;
    memcpy(index, encodings, sizeof(encodings));
    made_elf_put(index + 8, 1, 4);
    made_elf_put(index + 12, MADE_ELF_CODE - MADE_ELF_UNWIND, 4);
    made_elf_put(index + 16, 32, 4);
}

void made_elf(uint8_t ret[static MADE_ELF_BYTES])
{
    memset(ret, 0, MADE_ELF_BYTES);
    put_header(ret);
    put_symbols(ret);
    put_code(ret);
    put_unwind(ret);
}
