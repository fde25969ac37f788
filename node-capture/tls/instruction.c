// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/instruction.h"

uint8_t instruction_argument(ElfArch arch, unsigned argument)
{
    static const uint8_t x86[] = {7, 6, 2, 1, 8, 9};
    if (arch == ELF_ARM64) {
        return argument < 8 ? (uint8_t)argument : REGISTER_NONE;
    }
    return argument < sizeof(x86) ? x86[argument] : REGISTER_NONE;
}

uint8_t instruction_stack_pointer(ElfArch arch)
{
    return arch == ELF_ARM64 ? 31 : 4;
}

bool instruction_is_saved(ElfArch arch, unsigned reg)
{
    if (arch == ELF_ARM64) {
        return reg >= 19 && reg <= 29;
    }
    return reg == 3 || reg == 4 || reg == 5 || (reg >= 12 && reg <= 15);
}
