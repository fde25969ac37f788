// SPDX-License-Identifier: GPL-2.0-or-later
/* The registers behind places. Source: System V ABI for x86-64, AAPCS64, Go's
 * src/cmd/compile/abi-internal.md; struct pt_regs of the kernel's arch/x86/include/asm/ptrace.h and
 * arch/arm64/include/uapi/asm/ptrace.h. */
#include <stdio.h>

#include "node-capture/tls/finder.h"

#define ARM64_SP_OFFSET        (31 * 8)
#define ARM64_GOROUTINE_OFFSET (28 * 8)

typedef struct Register {
    const char *name;
    int offset;
} Register;

/* By their numbers in instructions. */
static const Register x86_registers[] = {{"rax", 80},  {"rcx", 88}, {"rdx", 96},  {"rbx", 40},
                                         {"rsp", 152}, {"rbp", 32}, {"rsi", 104}, {"rdi", 112},
                                         {"r8", 72},   {"r9", 64},  {"r10", 56},  {"r11", 48},
                                         {"r12", 24},  {"r13", 16}, {"r14", 8},   {"r15", 0}};
static const uint8_t x86_c[] = {7, 6, 2, 1, 8, 9}, x86_go[] = {0, 3, 1, 7, 6, 8, 9, 10, 11};
enum { X86_STACK = 4, X86_GOROUTINE = 14 };
static const char *const arm64_names[] = {"x0", "x1", "x2",  "x3",  "x4",  "x5",  "x6",  "x7",
                                          "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15"};

static int x86_number(TlsPlace place)
{
    switch (place.kind) {
    case TLS_GO_ROUTINE:
        return X86_GOROUTINE;
    case TLS_C_ARGUMENT:
        return place.number < sizeof(x86_c) ? x86_c[place.number] : -1;
    case TLS_GO_ARGUMENT:
        return place.number < sizeof(x86_go) ? x86_go[place.number] : -1;
    case TLS_REGISTER:
        return place.number < sizeof(x86_registers) / sizeof(*x86_registers) ? (int)place.number
                                                                             : -1;
    default:
        return -1;
    }
}

int tls_place_register(TlsArch arch, TlsPlace place)
{
    return arch == TLS_X86_64 ? x86_number(place) : -1;
}

static const Register *x86_register(TlsPlace place)
{
    int number = place.kind == TLS_STACK ? X86_STACK : x86_number(place);
    return number < 0 ? NULL : &x86_registers[number];
}

static bool is_arm64_register(TlsPlace place)
{
    return (place.kind == TLS_C_ARGUMENT && place.number < 8) ||
           (place.kind == TLS_GO_ARGUMENT && place.number < 16);
}

int tls_place_pt_regs(TlsArch arch, TlsPlace place)
{
    if (arch == TLS_X86_64) {
        const Register *found = x86_register(place);
        return found ? found->offset : -1;
    }
    if (place.kind == TLS_STACK) {
        return ARM64_SP_OFFSET;
    }
    if (place.kind == TLS_GO_ROUTINE) {
        return ARM64_GOROUTINE_OFFSET;
    }
    return is_arm64_register(place) ? (int)place.number * 8 : -1;
}

const char *tls_place_name(TlsArch arch, TlsPlace place, char buffer[static 16])
{
    if (tls_place_pt_regs(arch, place) < 0) {
        return "nowhere";
    }
    if (place.kind == TLS_STACK) {
        snprintf(buffer, 16, "[sp+%u]", place.number);
        return buffer;
    }
    if (place.kind == TLS_GO_ROUTINE && arch == TLS_ARM64) {
        return "x28";
    }
    return arch == TLS_X86_64 ? x86_register(place)->name : arm64_names[place.number];
}

const char *tls_chain_text(const TlsChain *chain, char buffer[static TLS_CHAIN_TEXT])
{
    static const char brackets[TLS_CHAIN_MAX] = "[[[";
    unsigned pointers = chain->count ? chain->count - 1 : 0;
    int length = snprintf(buffer, TLS_CHAIN_TEXT, "%.*ssession", (int)pointers, brackets);
    for (unsigned i = 0; i < chain->count; i++) {
        int32_t offset = chain->offsets[i];
        length += snprintf(
            buffer + length, TLS_CHAIN_TEXT - (size_t)length, "%s0x%x%s", offset < 0 ? "-" : "+",
            (unsigned)(offset < 0 ? -(int64_t)offset : offset), i < pointers ? "]" : "");
    }
    return buffer;
}
