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

static const Register x86_c[] = {{"rdi", 112}, {"rsi", 104}, {"rdx", 96},
                                 {"rcx", 88},  {"r8", 72},   {"r9", 64}};
static const Register x86_go[] = {{"rax", 80}, {"rbx", 40}, {"rcx", 88}, {"rdi", 112}, {"rsi", 104},
                                  {"r8", 72},  {"r9", 64},  {"r10", 56}, {"r11", 48}};
static const Register x86_stack = {"rsp", 152};
static const Register x86_goroutine = {"r14", 8};
static const char *const arm64_names[] = {"x0", "x1", "x2",  "x3",  "x4",  "x5",  "x6",  "x7",
                                          "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15"};

static const Register *x86_register(TlsPlace place)
{
    if (place.kind == TLS_STACK) {
        return &x86_stack;
    }
    if (place.kind == TLS_GO_ROUTINE) {
        return &x86_goroutine;
    }
    if (place.kind == TLS_C_ARGUMENT && place.number < sizeof(x86_c) / sizeof(*x86_c)) {
        return &x86_c[place.number];
    }
    if (place.kind == TLS_GO_ARGUMENT && place.number < sizeof(x86_go) / sizeof(*x86_go)) {
        return &x86_go[place.number];
    }
    return NULL;
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
