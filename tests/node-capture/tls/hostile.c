// SPDX-License-Identifier: GPL-2.0-or-later
/* Files that lie: the finder ends, stays inside the bytes (each case is as large as its allocation,
 * for the address sanitizer) and says what is wrong. That the work is bounded is counted, not
 * timed. */
#include <elf.h>
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "node-capture/tls/finder.h"
#include "tests/node-capture/tls/made-elf.h"

static int find_copy(const uint8_t *bytes, size_t length, TlsFile *ret)
{
    g_autofree uint8_t *copy = g_malloc(length ? length : 1);
    memcpy(copy, bytes, length);
    int error = tls_find(copy, length, ret);
    g_assert_true(error == 0 || error == -ENOEXEC || error == -ENOTSUP || error == -ENOSYS ||
                  error == -EBADMSG);
    if (!error) {
        g_assert_cmpuint(ret->work, <=, ret->work_limit);
    }
    return error;
}

/* What all damage is done to is found. */
static void test_made(void)
{
    uint8_t elf[MADE_ELF_BYTES];
    TlsFile file;
    made_elf(elf);
    g_assert_cmpint(find_copy(elf, sizeof(elf), &file), ==, 0);
    g_assert_cmpuint(file.n_implementations, ==, 1);
    const TlsImplementation *found = &file.implementations[0];
    g_assert_cmpint(found->library, ==, TLS_OPENSSL);
    g_assert_cmpstr(found->reason, ==, "");
    g_assert_cmpint(found->verdict, ==, TLS_HOOKED);
    g_assert_cmphex(found->key_log.address, ==, MADE_ELF_FUNCTION);
    g_assert_cmphex(found->key_log.offset, ==, MADE_ELF_CODE);
    g_assert_cmpuint(found->key_log.votes, ==, 3);
    g_assert_cmpint(found->key_log.begins_function, ==, 1);
    g_assert_cmpint(found->key_log.random_origin, ==, TLS_RANDOM_ACCESSOR);
    g_assert_cmpuint(found->key_log.random_chain.count, ==, 2);
    g_assert_cmphex(found->key_log.random_chain.offsets[0], ==, MADE_ELF_POINTER);
    g_assert_cmphex(found->key_log.random_chain.offsets[1], ==, MADE_ELF_RANDOM);
    g_assert_true(found->key_log.random_agrees);
    g_assert_cmpmem(file.build_id, file.build_id_length, "buildid!", 8);
}

static void test_cut_off(void)
{
    uint8_t elf[MADE_ELF_BYTES];
    TlsFile file;
    made_elf(elf);
    for (size_t length = 0; length < sizeof(elf); length++) {
        g_assert_cmpint(find_copy(elf, length, &file), !=, 0);
    }
}

/* Each field of headers and tables, and each byte of the code, with values that are wrong in every
 * way. */
static void test_lying_fields(void)
{
    static const uint64_t values[] = {0,
                                      1,
                                      3,
                                      0xff,
                                      0x7fff,
                                      0xfffe,
                                      0x10000,
                                      0x7fffffff,
                                      UINT32_MAX,
                                      MADE_ELF_BYTES,
                                      INT64_MAX,
                                      UINT64_MAX,
                                      UINT64_MAX - 7,
                                      UINT64_C(1) << 63};
    static const struct {
        size_t from, to;
    } areas[] = {{0, MADE_ELF_HEADERS + 4 * sizeof(Elf64_Phdr)},
                 {MADE_ELF_DYNAMIC, MADE_ELF_DYNAMIC + 96},
                 {MADE_ELF_HASH, MADE_ELF_HASH + 36},
                 {MADE_ELF_SYMBOLS, MADE_ELF_SYMBOLS + 72},
                 {MADE_ELF_UNWIND, MADE_ELF_UNWIND + 20},
                 {MADE_ELF_CODE, MADE_ELF_CODE + 12},
                 {MADE_ELF_CODE + 0x100, MADE_ELF_CODE + 0x10d},
                 {MADE_ELF_CODE + 0x200, MADE_ELF_CODE + 0x20c},
                 {MADE_ELF_SECTIONS, MADE_ELF_SECTIONS + 3 * sizeof(Elf64_Shdr)}};
    uint8_t elf[MADE_ELF_BYTES];
    TlsFile file;
    for (unsigned a = 0; a < G_N_ELEMENTS(areas); a++) {
        for (size_t at = areas[a].from; at < areas[a].to; at++) {
            for (unsigned v = 0; v < G_N_ELEMENTS(values); v++) {
                for (unsigned size = 1; size <= 8; size *= 2) {
                    made_elf(elf);
                    made_elf_put(elf + at, values[v], size);
                    find_copy(elf, sizeof(elf), &file);
                }
            }
        }
    }
}

static void test_refused(void)
{
    uint8_t elf[MADE_ELF_BYTES];
    TlsFile file;
    made_elf(elf);
    elf[EI_CLASS] = ELFCLASS32;
    g_assert_cmpint(find_copy(elf, sizeof(elf), &file), ==, -ENOTSUP);
    made_elf(elf);
    made_elf_put(elf + offsetof(Elf64_Ehdr, e_machine), EM_S390, 2);
    g_assert_cmpint(find_copy(elf, sizeof(elf), &file), ==, -ENOSYS);
    made_elf(elf);
    made_elf_put(elf + offsetof(Elf64_Ehdr, e_type), ET_REL, 2);
    g_assert_cmpint(find_copy(elf, sizeof(elf), &file), ==, -EBADMSG);
    made_elf(elf);
    made_elf_put(elf + MADE_ELF_HEADERS + 8, MADE_ELF_BYTES - 8,
                 8); /* the segment runs over the end */
    g_assert_cmpint(find_copy(elf, sizeof(elf), &file), ==, -EBADMSG);
    g_assert_cmpint(find_copy((const uint8_t *)"#!/bin/sh\n#################", 27, &file), ==,
                    -ENOEXEC);
}

/* As many segments as there can be, and all are the whole of a file full of what is searched for.
 */
static void test_too_much_work(void)
{
    const size_t length = 8 << 20;
    const unsigned count = 65535;
    g_autofree uint8_t *elf = g_malloc0(length);
    made_elf(elf);
    for (size_t at = MADE_ELF_BYTES; at + 16 <= length; at += 16) {
        memcpy(elf + at, "EXPORTER_SECRET", 16);
    }
    size_t table = 4 << 20;
    made_elf_put(elf + offsetof(Elf64_Ehdr, e_phoff), table, 8);
    made_elf_put(elf + offsetof(Elf64_Ehdr, e_phnum), count, 2);
    for (unsigned i = 0; i < count; i++) {
        uint8_t *segment = elf + table + i * sizeof(Elf64_Phdr);
        memset(segment, 0, sizeof(Elf64_Phdr));
        made_elf_put(segment, PT_LOAD, 4);
        made_elf_put(segment + 4, PF_R | PF_X, 4);
        made_elf_put(segment + 16, (uint64_t)i * length, 8);
        made_elf_put(segment + 32, length, 8);
    }
    TlsFile file;
    g_assert_cmpint(tls_find(elf, length, &file), ==, 0);
    g_assert_cmpuint(file.work, ==, file.work_limit);
    g_assert_cmpuint(file.work_limit, <=, 16 * length + (16 << 20));
    for (unsigned i = 0; i < file.n_implementations; i++) {
        g_assert_cmpint(file.implementations[i].verdict, !=, TLS_HOOKED);
    }
}

/* Two references of three to one function are enough, one is not, and two that are the same label
 * are not. */
static void test_doubtful(void)
{
    uint8_t elf[MADE_ELF_BYTES];
    TlsFile file;
    const size_t first = MADE_ELF_CODE + 0x100;
    made_elf(elf);
    made_elf_put(elf + first + 8, MADE_ELF_CODE + 0x300 - (first + 12), 4);
    elf[MADE_ELF_CODE + 0x300] = 0x50; /* no longer empty */
    find_copy(elf, sizeof(elf), &file);
    g_assert_cmpint(file.implementations[0].verdict, ==, TLS_HOOKED);
    g_assert_cmpuint(file.implementations[0].key_log.votes, ==, 2);
    g_assert_cmpuint(file.implementations[0].key_log.sites, ==, 3);

    memset(elf + first + 32, 0x90, 13); /* now one against one */
    find_copy(elf, sizeof(elf), &file);
    g_assert_cmpint(file.implementations[0].verdict, ==, TLS_DOUBTFUL);

    made_elf(elf);
    strcpy((char *)elf + MADE_ELF_LABELS, "EXPORTER_SECRET");
    strcpy((char *)elf + MADE_ELF_LABELS + 64, "EXPORTER_SECRET");
    find_copy(elf, sizeof(elf), &file);
    g_assert_cmpint(file.implementations[0].verdict, ==, TLS_DOUBTFUL);

    made_elf(elf); /* in the middle of a function, as the unwind tables say */
    made_elf_put(elf + MADE_ELF_UNWIND + 12, MADE_ELF_CODE - 4 - MADE_ELF_UNWIND, 4);
    made_elf_put(elf + MADE_ELF_UNWIND + 32 + 12, 64, 4);
    find_copy(elf, sizeof(elf), &file);
    g_assert_cmpint(file.implementations[0].verdict, ==, TLS_DOUBTFUL);

    made_elf(elf);
    elf[MADE_ELF_CODE] = 0xc3;
    find_copy(elf, sizeof(elf), &file);
    g_assert_cmpint(file.implementations[0].verdict, ==, TLS_NOT_HOOKED);
    g_assert_nonnull(strstr(file.implementations[0].reason, "compiled to nothing"));
}

/* Accessor and function say where the random is; where none of them can be read, the wire must. */
static void test_random(void)
{
    uint8_t elf[MADE_ELF_BYTES];
    TlsFile file;
    made_elf(elf);
    elf[MADE_ELF_CODE + 0x200] = 0xc3;
    find_copy(elf, sizeof(elf), &file);
    g_assert_cmpint(file.implementations[0].key_log.random_origin, ==, TLS_RANDOM_BODY);
    g_assert_cmphex(file.implementations[0].key_log.random_chain.offsets[1], ==, MADE_ELF_RANDOM);
    elf[MADE_ELF_CODE] = 0x50; /* push, and then something that is no pointer's */
    elf[MADE_ELF_CODE + 1] = 0xcc;
    find_copy(elf, sizeof(elf), &file);
    g_assert_cmpint(file.implementations[0].verdict, ==, TLS_HOOKED);
    g_assert_cmpint(file.implementations[0].key_log.random_origin, ==, TLS_RANDOM_ON_THE_WIRE);
    g_assert_cmpuint(file.implementations[0].key_log.random_chain.count, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tls/hostile/made", test_made);
    g_test_add_func("/tls/hostile/cut-off", test_cut_off);
    g_test_add_func("/tls/hostile/lying-fields", test_lying_fields);
    g_test_add_func("/tls/hostile/refused", test_refused);
    g_test_add_func("/tls/hostile/too-much-work", test_too_much_work);
    g_test_add_func("/tls/hostile/doubtful", test_doubtful);
    g_test_add_func("/tls/hostile/random", test_random);
    return g_test_run();
}
