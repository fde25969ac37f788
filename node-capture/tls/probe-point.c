// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/probe-point.h"

#include "node-capture/tls/instruction.h"

#define STEPS_MAX 12
#define VALUES    6

/* Registers that hold each of the values now, a bit each. */
typedef struct Homes {
    uint32_t of[VALUES];
    bool on_stack; /* one of them is, which must not move */
} Homes;

static TlsPlace *value_at(TlsProbe *probe, unsigned i)
{
    TlsPlace *const values[VALUES] = {&probe->session, &probe->label,         &probe->label_length,
                                      &probe->secret,  &probe->secret_length, &probe->random};
    return values[i];
}

static Homes homes_of(TlsProbe *probe)
{
    Homes homes = {.on_stack = false};
    for (unsigned i = 0; i < VALUES; i++) {
        int reg = tls_place_register(TLS_X86_64, *value_at(probe, i));
        homes.on_stack |= value_at(probe, i)->kind == TLS_STACK;
        homes.of[i] = reg >= 0 ? 1u << reg : 0;
    }
    return homes;
}

static uint32_t bit_of(uint8_t reg)
{
    return reg < REGISTERS ? 1u << reg : 0;
}

/* False: one of the values is in no register any more, or something else happens than moves. */
static bool follow(Homes *homes, const Instruction *instruction)
{
    if (instruction->operation > OPERATION_STORE) {
        return false;
    }
    bool is_move = instruction->operation == OPERATION_MOVE;
    uint32_t target = instruction->operation == OPERATION_STORE ? 0 : bit_of(instruction->target);
    uint32_t written = target | bit_of(instruction->also);
    if (homes->on_stack && (written & bit_of(instruction_stack_pointer(ELF_X86_64)))) {
        return false;
    }
    for (unsigned i = 0; i < VALUES; i++) {
        uint32_t before = homes->of[i];
        bool moved = is_move && (before & bit_of(instruction->source));
        homes->of[i] = (before & ~written) | (moved ? target : 0);
        if (before && !homes->of[i]) {
            return false;
        }
    }
    return true;
}

/* What the kernel executes itself, by arch/x86/kernel/uprobes.c (pushes since Linux 4.20): pushes,
 * jumps and branches. Code that is passed once only: a jump out of the function, a push (they stand
 * where it begins), and the branch of Go's check of the stack. */
static bool is_cheap(const ElfImage *image, ElfRange code, const Instruction *instruction,
                     bool is_go)
{
    const uint8_t *bytes = code.bytes;
    if (instruction->operation == OPERATION_JUMP) {
        return elf_function_begins(image, (uint64_t)instruction->value) == 1;
    }
    if (instruction->operation == OPERATION_BRANCH) {
        return is_go && (bytes[0] == 0x0f || (bytes[0] & 0xf0) == 0x70);
    }
    const uint8_t *push = bytes[0] == 0x41 && instruction->length == 2 ? bytes + 1 : bytes;
    return instruction->operation == OPERATION_OTHER && (*push & 0xf8) == 0x50 &&
           push + 1 == bytes + instruction->length;
}

static void settle(TlsProbe *probe, const Homes *homes)
{
    for (unsigned i = 0; i < VALUES; i++) {
        if (homes->of[i]) {
            *value_at(probe, i) = (TlsPlace){TLS_REGISTER, (uint32_t)__builtin_ctz(homes->of[i])};
        }
    }
}

static void find_cheaper(ElfImage *image, bool is_go, uint64_t address, TlsProbe *probe)
{
    Homes homes = homes_of(probe);
    for (unsigned i = 0; i < STEPS_MAX; i++) {
        Instruction instruction;
        ElfRange code = elf_at(image, address);
        if (!elf_is_code(image, address) ||
            !instruction_decode(image->arch, code.bytes, code.length, address, &instruction)) {
            return;
        }
        if (is_cheap(image, code, &instruction, is_go)) {
            if (i > 0 && elf_offset(image, address, &probe->offset)) {
                settle(probe, &homes);
            }
            return;
        }
        if (!follow(&homes, &instruction)) {
            return;
        }
        address += instruction.length;
    }
}

void probe_point_find(ElfImage *image, TlsKeyLog *log)
{
    bool is_go = log->label.kind == TLS_GO_ARGUMENT || log->label.kind == TLS_STACK;
    log->probe = (TlsProbe){.offset = log->offset,
                            .session = log->session,
                            .label = log->label,
                            .label_length = log->label_length,
                            .secret = log->secret,
                            .secret_length = log->secret_length,
                            .random = log->random};
    if (image->arch == ELF_X86_64) {
        find_cheaper(image, is_go, log->address, &log->probe);
    }
}
