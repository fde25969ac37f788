// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/golang.h"

#include <stdio.h>
#include <string.h>

#include "node-capture/tls/golang-table.h"

#define FUNCTION      "crypto/tls.(*Config).writeKeyLog"
#define BUILD_INFO    "\xff Go buildinf:"
#define PROLOGUE_MAX  64
#define VERSION_BYTES 32

/* What is passed: config, label, length, random, length, capacity, secret, length, capacity: words
 * 0, 1, ... */
enum {
    WORD_CONFIG,
    WORD_LABEL,
    WORD_LABEL_LENGTH,
    WORD_RANDOM,
    WORD_SECRET = 6,
    WORD_SECRET_LENGTH
};

/* ---- The version, for people ---------------------------------------------------------------- */

static void copy_version(const uint8_t *text, uint64_t length, char ret[static TLS_VERSION_SIZE])
{
    if (!text || length < 3 || length >= TLS_VERSION_SIZE || memcmp(text, "go", 2) != 0) {
        return;
    }
    for (uint64_t i = 0; i < length; i++) {
        ret[i] = (char)(text[i] > ' ' && text[i] < 0x7f ? text[i] : '?');
    }
    ret[length] = '\0';
}

/* Source: src/debug/buildinfo/buildinfo.go. Since 1.18 the string stands there, before it is
 * pointed to. */
static void read_version(ElfImage *image, char ret[static TLS_VERSION_SIZE])
{
    for (unsigned i = 0; i < image->n_loads && !*ret; i++) {
        ElfRange range = elf_load_range(image, i);
        const uint8_t *found = (image->loads[i].flags & ELF_EXECUTE)
                                   ? NULL
                                   : elf_search(image, range, BUILD_INFO, sizeof(BUILD_INFO) - 1);
        size_t at = found ? (size_t)(found - range.bytes) : range.length;
        if (range.length - at < 32 + 1 + VERSION_BYTES) {
            continue;
        }
        uint64_t string = 0, text = 0, length = 0;
        if (found[15] & 2) {
            copy_version(found + 33, found[32] < VERSION_BYTES ? found[32] : 0, ret);
        } else if (elf_pointer(image, range.address + at + 16, &string) &&
                   elf_pointer(image, string, &text) && elf_pointer(image, string + 8, &length) &&
                   length < VERSION_BYTES) {
            copy_version(elf_bytes_at(image, text, length), length, ret);
        }
    }
}

/* ---- How arguments are passed --------------------------------------------------------------- */

/* Every function that is not tiny begins by comparing its stack with the limit in the running
 * goroutine: that is found by r14 where arguments come in registers, by thread-local storage where
 * they come on the stack. */
static GoAbi abi_x86(const uint8_t *code)
{
    static const uint8_t by_r14[] = {0x49, 0x3b, 0x66, 0x10};       /* cmp rsp, [r14+16] */
    static const uint8_t by_r14_large[] = {0x4d, 0x3b, 0x66, 0x10}; /* cmp r12, [r14+16] */
    static const uint8_t by_fs[] = {0x64, 0x48, 0x8b, 0x0c, 0x25};  /* mov rcx, fs:... */
    static const uint8_t by_fs_moved[] = {0x64, 0x48, 0x8b, 0x09};  /* mov rcx, fs:[rcx] */
    for (unsigned i = 0; i < 24; i++) {
        if (memcmp(code + i, by_r14, 4) == 0 || memcmp(code + i, by_r14_large, 4) == 0) {
            return GO_ABI_REGISTERS;
        }
        if (memcmp(code + i, by_fs, 5) == 0 || memcmp(code + i, by_fs_moved, 4) == 0) {
            return GO_ABI_STACK;
        }
    }
    return GO_ABI_UNKNOWN;
}

/* x28 is the goroutine in both; registers came with the table of 1.18. */
static GoAbi abi_arm64(const uint8_t *code, const GoTable *table)
{
    for (unsigned i = 0; i < 4; i++) {
        uint32_t word = elf_u32(code + i * 4);
        if ((word & 0xffffffe0) == 0xf9400b80) { /* ldr xN, [x28, #16] */
            return table->version >= GO_TABLE_1_18 ? GO_ABI_REGISTERS : GO_ABI_STACK;
        }
    }
    return GO_ABI_UNKNOWN;
}

GoAbi golang_abi(const ElfImage *image, const GoTable *table, uint64_t address)
{
    const uint8_t *code = elf_bytes_at(image, address, PROLOGUE_MAX);
    if (!code) {
        return GO_ABI_UNKNOWN;
    }
    return image->arch == ELF_X86_64 ? abi_x86(code) : abi_arm64(code, table);
}

static TlsPlace place_of(GoAbi abi, uint32_t word)
{
    return abi == GO_ABI_REGISTERS ? (TlsPlace){TLS_GO_ARGUMENT, word}
                                   : (TlsPlace){TLS_STACK, 8 + word * 8};
}

static void describe(const ElfImage *image, const GoTable *table, TlsImplementation *ret)
{
    TlsKeyLog *log = &ret->key_log;
    if (!elf_bytes_at(image, log->address, PROLOGUE_MAX) || !elf_is_code(image, log->address) ||
        !elf_offset(image, log->address, &log->offset)) {
        ret->verdict = TLS_NOT_HOOKED;
        snprintf(ret->reason, sizeof(ret->reason), "the table of functions leads out of the code");
        return;
    }
    GoAbi abi = golang_abi(image, table, log->address);
    if (abi == GO_ABI_UNKNOWN) {
        ret->verdict = TLS_DOUBTFUL;
        snprintf(ret->reason, sizeof(ret->reason),
                 "what " FUNCTION " begins with is not understood");
        return;
    }
    unsigned minor = 0;
    sscanf(ret->version, "go1.%3u", &minor);
    if (table->version == GO_TABLE_1_2 && minor < 12) {
        /* Before 1.12 it got no label: the one thing that no structure tells. */
        ret->verdict = TLS_DOUBTFUL;
        snprintf(ret->reason, sizeof(ret->reason),
                 "Go is older than 1.12, or its version is not told");
        return;
    }
    ret->verdict = TLS_HOOKED;
    log->label = place_of(abi, WORD_LABEL);
    log->label_length = place_of(abi, WORD_LABEL_LENGTH);
    log->random = place_of(abi, WORD_RANDOM);
    log->secret = place_of(abi, WORD_SECRET);
    log->secret_length = place_of(abi, WORD_SECRET_LENGTH);
}

bool golang_find(ElfImage *image, TlsImplementation *ret, bool *ret_has_tls)
{
    GoTable table;
    *ret_has_tls = false;
    if (!golang_table_find(image, &table)) {
        return false;
    }
    *ret = (TlsImplementation){.library = TLS_GO, .evidence = ".gopclntab"};
    read_version(image, ret->version);
    ret->key_log.address = golang_table_look_up(image, &table, FUNCTION, NULL);
    ret->key_log.by_symbol = true;
    ret->key_log.begins_function = ret->key_log.address ? 1 : -1;
    ret->key_log.random_origin = TLS_RANDOM_ARGUMENT;
    if (ret->key_log.address) {
        *ret_has_tls = true;
        describe(image, &table, ret);
    } else if (golang_table_look_up(image, &table, "crypto/tls.(*Conn).Handshake", NULL)) {
        *ret_has_tls = true;
        ret->verdict = TLS_NOT_HOOKED;
        snprintf(ret->reason, sizeof(ret->reason),
                 "crypto/tls is in it, but not " FUNCTION ": the linker left it out or inlined it");
    }
    return true;
}
