// SPDX-License-Identifier: GPL-2.0-or-later
/* Where the probe goes: behind straight code that moves the arguments, to what the kernel executes
 * itself. */
#include <glib.h>
#include <string.h>

#include "node-capture/tls/finder.h"
#include "tests/node-capture/tls/made-elf.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9 };
#define AT_ENTRY 0

typedef struct Case {
    const char *name;
    uint8_t code[32];
    unsigned at;                           /* where the probe is to be, from the entry on */
    uint32_t session, label, secret, size; /* registers there, unless at the entry */
} Case;

/* "F" is patched: a jump of four bytes to the function itself. */
static const Case cases[] = {
    {"push", {0x55, 0xc3}, AT_ENTRY, 0, 0, 0, 0},
    {"landing pad", {0xf3, 0x0f, 0x1e, 0xfa, 0x41, 0x56, 0xc3}, 4, RDI, RSI, RDX, RCX},
    /* mov rax,rdi; mov r8,rdx; mov rdi,rsi; mov r9,rcx; lea rdx,[rax+0x160]; mov ecx,32; mov
       rsi,rax; jmp */
    {"moved, and a jump out of it",
     {0x48, 0x89, 0xf8, 0x49, 0x89, 0xd0, 0x48, 0x89, 0xf7, 0x49, 0x89, 0xc9, 0x48, 0x8d,
      0x90, 0x60, 0x01, 0x00, 0x00, 0xb9, 0x20, 0x00, 0x00, 0x00, 0x48, 0x89, 0xc6, 0xe9},
     27,
     RAX,
     RDI,
     R8,
     R9},
    /* xor esi,esi; push rbp */
    {"the label is lost", {0x31, 0xf6, 0x55, 0xc3}, AT_ENTRY, 0, 0, 0, 0},
    /* mov rdx,[rdx]; push rbp */
    {"the secret is lost", {0x48, 0x8b, 0x12, 0x55, 0xc3}, AT_ENTRY, 0, 0, 0, 0},
    /* mov rax,rcx; mov rcx,rdx; mov rdx,rax; push rbp */
    {"exchanged",
     {0x48, 0x89, 0xc8, 0x48, 0x89, 0xd1, 0x48, 0x89, 0xc2, 0x55, 0xc3},
     9,
     RDI,
     RSI,
     RCX,
     RAX},
    /* mov eax,edi is a part of it only; xor edi,edi; push rbp */
    {"half of the session", {0x89, 0xf8, 0x31, 0xff, 0x55, 0xc3}, AT_ENTRY, 0, 0, 0, 0},
    /* test edi,edi; je +1; push rbp: passed or not */
    {"behind a branch", {0x85, 0xff, 0x74, 0x01, 0x55, 0xc3}, AT_ENTRY, 0, 0, 0, 0},
    /* nop; jmp +0: to the middle of the function, which may come again */
    {"a jump inside", {0x90, 0xeb, 0x00, 0xc3}, AT_ENTRY, 0, 0, 0, 0},
};

static void check_place(TlsPlace place, uint32_t reg)
{
    g_assert_cmpint(place.kind, ==, TLS_REGISTER);
    g_assert_cmpuint(place.number, ==, reg);
}

static void test_cases(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        const Case *one = &cases[i];
        g_test_message("%s", one->name);
        uint8_t elf[MADE_ELF_BYTES];
        TlsFile file;
        made_elf(elf);
        memcpy(elf + MADE_ELF_CODE, one->code, sizeof(one->code));
        if (one->code[one->at] == 0xe9) {
            made_elf_put(elf + MADE_ELF_CODE + one->at + 1, (uint64_t) - (int64_t)(one->at + 5), 4);
        }
        g_assert_cmpint(tls_find(elf, sizeof(elf), &file), ==, 0);
        g_assert_cmpuint(file.n_implementations, ==, 1);
        const TlsKeyLog *log = &file.implementations[0].key_log;
        g_assert_cmphex(log->offset, ==, MADE_ELF_CODE);
        g_assert_cmphex(log->probe.offset, ==, MADE_ELF_CODE + one->at);
        if (one->at == AT_ENTRY) {
            g_assert_cmpmem(&log->probe.label, sizeof(TlsPlace), &log->label, sizeof(TlsPlace));
            continue;
        }
        check_place(log->probe.session, one->session);
        check_place(log->probe.label, one->label);
        check_place(log->probe.secret, one->secret);
        check_place(log->probe.secret_length, one->size);
        g_assert_cmpint(log->probe.label_length.kind, ==, TLS_NOWHERE);
        g_assert_cmpint(log->probe.random.kind, ==, TLS_NOWHERE);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tls/probe-point/cases", test_cases);
    return g_test_run();
}
