// SPDX-License-Identifier: GPL-2.0-or-later
/* Lengths and goals of instructions, compared with what objdump says of whole libraries; and what
 * the walk needs to know of registers, by hand. */
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node-capture/tls/instruction.h"

/* " 1234:\t48 8d 35 ...\tlea    0x10(%rip),%rsi        # 5678 <name>" */
typedef struct Line {
    uint64_t address;
    uint8_t bytes[16];
    size_t length;
    const char *text;
} Line;

static bool parse(char *line, Line *ret)
{
    char *bytes = strchr(line, '\t'), *end;
    char *text = bytes ? strchr(bytes + 1, '\t') : NULL;
    /* Tables among the code are no instructions: objdump shows a lone prefix of them as if it were
     * one. */
    if (!text || strstr(text, "(bad)") || strncmp(text + 1, "rex", 3) == 0) {
        return false;
    }
    ret->address = g_ascii_strtoull(line, &end, 16);
    ret->text = text + 1;
    for (ret->length = 0; ret->length < sizeof(ret->bytes); ret->length++) {
        while (*bytes == ' ' || *bytes == '\t') {
            bytes++;
        }
        if (bytes >= text) {
            break;
        }
        ret->bytes[ret->length] = (uint8_t)strtoul(bytes, &bytes, 16);
    }
    return *end == ':' && ret->length > 0;
}

/* True: the text names a goal that our answer has to be. */
static bool goal_of(const Line *line, const Instruction *found, uint64_t *ret_goal)
{
    const char *operand = strchr(line->text, ' '), *comment = strstr(line->text, "# ");
    switch (found->operation) {
    case OPERATION_CALL:
    case OPERATION_JUMP:
    case OPERATION_BRANCH:
        g_assert_nonnull(operand);
        *ret_goal = g_ascii_strtoull(operand, NULL, 16);
        return *line->text == 'c' || *line->text == 'j';
    case OPERATION_CONSTANT:
        *ret_goal = comment ? g_ascii_strtoull(comment + 2, NULL, 16) : 0;
        return comment && strncmp(line->text, "lea", 3) == 0;
    default:
        return false;
    }
}

static void compare(const char *library)
{
    g_autofree char *command =
        g_strdup_printf("objdump -d -w --insn-width=16 --section=.text %s", library);
    FILE *pipe = popen(command, "r");
    g_assert_nonnull(pipe);
    char text[1024];
    unsigned count = 0, goals = 0;
    while (fgets(text, sizeof(text), pipe)) {
        Line line;
        Instruction found;
        uint64_t goal;
        /* XOP, which some processors of one maker had, is not known to us. */
        if (!parse(text, &line) || (line.bytes[0] == 0x8f && (line.bytes[1] & 0x1f) >= 8)) {
            continue;
        }
        bool ok = instruction_x86(line.bytes, sizeof(line.bytes), line.address, &found);
        if (!ok || found.length != line.length) {
            g_error("%s: %s is %u bytes long for us", library, text, ok ? found.length : 0);
        }
        if (goal_of(&line, &found, &goal)) {
            g_assert_cmphex((uint64_t)found.value, ==, goal);
            goals++;
        }
        count++;
    }
    g_assert_cmpint(pclose(pipe), ==, 0);
    g_test_message("%s: %u instructions, %u with a goal", library, count, goals);
    g_assert_cmpuint(count, >, 50000);
    g_assert_cmpuint(goals, >, 5000);
}

static void test_objdump(gconstpointer library)
{
    if (!g_file_test(library, G_FILE_TEST_EXISTS)) {
        g_test_skip("it is not here");
        return;
    }
    compare(library);
}

static Instruction decode(ElfArch arch, const char *hex)
{
    uint8_t bytes[16] = {0};
    size_t length = strlen(hex) / 2;
    for (size_t i = 0; i < length; i++) {
        char digits[3] = {hex[2 * i], hex[2 * i + 1], 0};
        bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    Instruction found;
    g_assert_true(instruction_decode(arch, bytes, length, 0x1000, &found));
    g_assert_cmpuint(found.length, ==, length);
    for (size_t cut = 0; cut < length; cut++) {
        Instruction none;
        g_assert_false(instruction_decode(arch, bytes, cut, 0x1000, &none) && none.length > cut);
    }
    return found;
}

typedef struct Case {
    ElfArch arch;
    const char *hex;
    Instruction expected; /* length is that of `hex` */
} Case;

#define NO REGISTER_NONE

/* Bytes as the assemblers of GNU and LLVM make them of the text behind. */
static const Case cases[] = {
    {ELF_X86_64, "4889fb", {OPERATION_MOVE, 0, 3, 7, NO, 0}},            /* mov rbx, rdi */
    {ELF_X86_64, "89fb", {OPERATION_OTHER, 0, 3, 7, NO, 0}},             /* mov ebx, edi */
    {ELF_X86_64, "4c8b6730", {OPERATION_LOAD, 0, 12, 7, NO, 0x30}},      /* mov r12, [rdi+48] */
    {ELF_X86_64, "488d8f88010000", {OPERATION_ADD, 0, 1, 7, NO, 0x188}}, /* lea rcx, [rdi+392] */
    {ELF_X86_64, "4883c030", {OPERATION_ADD, 0, 0, 0, NO, 0x30}},        /* add rax, 48 */
    {ELF_X86_64, "4883e830", {OPERATION_ADD, 0, 0, 0, NO, -0x30}},       /* sub rax, 48 */
    {ELF_X86_64, "488906", {OPERATION_STORE, 0, 6, 0, NO, 0}},           /* mov [rsi], rax */
    {ELF_X86_64, "be78563412", {OPERATION_CONSTANT, 0, 6, NO, NO, 0x12345678}}, /* mov esi, imm32 */
    {ELF_X86_64,
     "410fb6540530",
     {OPERATION_INDEXED, 0, 2, 13, NO, 0x30}},                   /* movzx edx, byte [r13+rax+48] */
    {ELF_X86_64, "4839fa", {OPERATION_OTHER, 0, NO, NO, NO, 0}}, /* cmp rdx, rdi */
    {ELF_X86_64, "4885ff", {OPERATION_OTHER, 0, NO, NO, NO, 0}}, /* test rdi, rdi */
    {ELF_X86_64, "f30f1efa", {OPERATION_OTHER, 0, NO, NO, NO, 0}},     /* endbr64 */
    {ELF_X86_64, "0f1007", {OPERATION_OTHER, 0, NO, NO, NO, 0}},       /* movups xmm0, [rdi] */
    {ELF_X86_64, "ffd0", {OPERATION_CALL_INDIRECT, 0, NO, NO, NO, 0}}, /* call rax */
    {ELF_X86_64, "ff2500000000", {OPERATION_JUMP_INDIRECT, 0, NO, NO, NO, 0}}, /* jmp [rip] */
    {ELF_ARM64, "ea0313aa", {OPERATION_MOVE, 0, 10, 19, NO, 0}},               /* mov x10, x19 */
    {ELF_ARM64, "61600491", {OPERATION_ADD, 0, 1, 3, NO, 280}},       /* add x1, x3, #280 */
    {ELF_ARM64, "615440f9", {OPERATION_LOAD, 0, 1, 3, NO, 168}},      /* ldr x1, [x3, #168] */
    {ELF_ARM64, "240000f9", {OPERATION_STORE, 0, 1, 4, NO, 0}},       /* str x4, [x1] */
    {ELF_ARM64, "08048052", {OPERATION_CONSTANT, 0, 8, NO, NO, 32}},  /* mov w8, #32 */
    {ELF_ARM64, "c0035fd6", {OPERATION_RETURN, 0, NO, NO, NO, 0}},    /* ret */
    {ELF_ARM64, "01000094", {OPERATION_CALL, 0, NO, NO, NO, 0x1004}}, /* bl +4 */
    {ELF_ARM64, "010000b0", {OPERATION_PAGE, 0, 1, NO, NO, 0x2000}},  /* adrp x1, +1 page */
    {ELF_ARM64, "fd7bbea9", {OPERATION_OTHER, 0, NO, NO, NO, 0}}, /* stp x29, x30, [sp, #-32]! */
};

static void test_meaning(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        const Instruction *expected = &cases[i].expected;
        Instruction found = decode(cases[i].arch, cases[i].hex);
        g_test_message("%s", cases[i].hex);
        g_assert_cmpint(found.operation, ==, expected->operation);
        g_assert_cmpuint(found.target, ==, expected->target);
        g_assert_cmpuint(found.also, ==, expected->also);
        if (expected->operation != OPERATION_OTHER) {
            g_assert_cmpuint(found.source, ==, expected->source);
            g_assert_cmpint(found.value, ==, expected->value);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tls/instructions/meaning", test_meaning);
#ifdef __x86_64__
    static const char *const libraries[] = {"libssl.so.3", "libgnutls.so.30", "libc.so.6"};
    for (unsigned i = 0; i < G_N_ELEMENTS(libraries); i++) {
        char *name = g_strdup_printf("/tls/instructions/%s", libraries[i]);
        char *path = g_strdup_printf("/usr/lib/x86_64-linux-gnu/%s", libraries[i]);
        g_test_add_data_func_full(name, path, test_objdump, g_free);
        g_free(name);
    }
#endif
    return g_test_run();
}
