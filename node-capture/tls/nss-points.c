// SPDX-License-Identifier: GPL-2.0-or-later
/* NSS. A program reads and writes by NSPR's descriptors, of which each layer has a table of
 * functions (PRIOMethods of prio.h, which has not changed since NSPR 4.0, as programs are compiled
 * with it). libssl3's functions are in no symbol table, and its table is made at run time, by code
 * that stores their addresses one after the other. That code is found by PR_EmulateAcceptRead,
 * which is imported for this table alone, and followed: what it stores where. Where that is such a
 * table (the kind of a layer at its beginning, that function in its place), it is sure. */
#include <string.h>

#include "node-capture/tls/instruction.h"
#include "node-capture/tls/points-find.h"

#define STEPS_MAX     256
#define STORES_MAX    96
#define VECTORS       16
#define STACK_POINTER 4
#define IMPORTED      UINT64_MAX /* the value: the address of PR_EmulateAcceptRead */

/* PRIOMethods: bytes from its beginning. */
enum {
    AT_CLOSE = 8,
    AT_READ = 16,
    AT_WRITE = 24,
    AT_WRITEV = 88,
    AT_ACCEPT = 104,
    AT_RECV = 136,
    AT_SEND = 144,
    AT_ACCEPT_READ = 176,
};
#define KIND_LAYERED 4 /* PR_DESC_LAYERED */

typedef struct Store {
    uint64_t address, value;
    bool on_stack;
} Store;

/* Values: addresses, small numbers, IMPORTED; 0: not known. */
typedef struct Machine {
    ElfImage *image;
    uint64_t slot; /* where the import's address will stand */
    uint64_t registers[16], vectors[VECTORS][2];
    Store stores[STORES_MAX];
    unsigned n_stores;
    bool is_full;
} Machine;

/* An operand in memory. */
typedef struct Place {
    bool known, on_stack;
    uint64_t address;
} Place;

/* An instruction of those that are followed. */
typedef struct Form {
    uint8_t prefix; /* 66, f2, f3 or 0 */
    bool is_wide, is_two_byte, is_register;
    uint8_t opcode, reg, rm;
    Place place;
} Form;

/* ---- Memory ---------------------------------------------------------------------------------- */

static uint64_t load(const Machine *machine, Place place)
{
    if (!place.known) {
        return 0;
    }
    if (!place.on_stack && place.address == machine->slot) {
        return IMPORTED;
    }
    for (unsigned i = machine->n_stores; i > 0; i--) {
        const Store *store = &machine->stores[i - 1];
        if (store->address == place.address && store->on_stack == place.on_stack) {
            return store->value;
        }
    }
    return 0;
}

static void store(Machine *machine, Place place, uint64_t value)
{
    if (!place.known) {
        return;
    }
    if (machine->n_stores == STORES_MAX) {
        machine->is_full = true;
        return;
    }
    machine->stores[machine->n_stores++] = (Store){place.address, value, place.on_stack};
}

static Place behind(Place place, unsigned bytes)
{
    place.address += bytes;
    return place;
}

/* ---- Instructions ---------------------------------------------------------------------------- */

static int64_t signed_value(const uint8_t *at, unsigned size)
{
    return size == 1 ? (int8_t)at[0] : (int32_t)elf_u32(at);
}

/* `at`: behind the byte of modes, with `left` bytes to the instruction's end. */
static Place place_of(const Machine *machine, uint8_t rex, uint8_t modes, const uint8_t *at,
                      unsigned left, uint64_t next)
{
    uint8_t mode = modes >> 6, low = modes & 7, base = (uint8_t)(low | (rex & 1) << 3);
    unsigned needed = (low == 4) + (mode == 1 ? 1u : mode == 2 || low == 5 ? 4u : 0u);
    if (left < needed) { /* it has no operand in memory at all */
        return (Place){0};
    }
    if (mode == 0 && low == 5) {
        return (Place){true, false, next + (uint64_t)signed_value(at, 4)};
    }
    if (low == 4) {
        uint8_t index = (uint8_t)((at[0] >> 3 & 7) | (rex & 2) << 2);
        base = (uint8_t)((at[0] & 7) | (rex & 1) << 3);
        if (index != 4 || (mode == 0 && (at[0] & 7) == 5)) {
            return (Place){0};
        }
        at++;
    }
    uint64_t distance = mode == 0 ? 0 : (uint64_t)signed_value(at, mode == 1 ? 1 : 4);
    if (base == STACK_POINTER) {
        return (Place){true, true, distance};
    }
    uint64_t value = machine->registers[base];
    return (Place){value != 0 && value != IMPORTED, false, value + distance};
}

static bool read_form(const Machine *machine, const uint8_t *bytes, unsigned length,
                      uint64_t address, Form *ret)
{
    unsigned at = 0;
    uint8_t rex = 0;
    *ret = (Form){0};
    if (bytes[at] == 0x66 || bytes[at] == 0xf2 || bytes[at] == 0xf3) {
        ret->prefix = bytes[at++];
    }
    if (at < length && (bytes[at] & 0xf0) == 0x40) {
        rex = bytes[at++];
    }
    if (at < length && bytes[at] == 0x0f) {
        ret->is_two_byte = true;
        at++;
    }
    if (at + 2 > length) {
        return false;
    }
    ret->opcode = bytes[at++];
    uint8_t modes = bytes[at++];
    ret->is_wide = rex & 8;
    ret->reg = (uint8_t)((modes >> 3 & 7) | (rex & 4) << 1);
    ret->rm = (uint8_t)((modes & 7) | (rex & 1) << 3);
    ret->is_register = modes >> 6 == 3;
    if (!ret->is_register) {
        ret->place = place_of(machine, rex, modes, bytes + at, length - at, address + length);
    }
    return true;
}

/* mov, lea of 64 bits; mov of a number of 32 bits to memory. False: none of these. */
static bool follow_general(Machine *machine, const Form *form, const uint8_t *end)
{
    if (form->opcode == 0xc7 && !form->is_register && !form->is_wide && !form->prefix) {
        store(machine, form->place, elf_u32(end - 4));
        return true;
    }
    if (!form->is_wide) {
        return false;
    }
    switch (form->opcode) {
    case 0x8d:
        machine->registers[form->reg] =
            form->place.known && !form->place.on_stack ? form->place.address : 0;
        return true;
    case 0x8b:
        machine->registers[form->reg] =
            form->is_register ? machine->registers[form->rm] : load(machine, form->place);
        return true;
    case 0x89:
        if (form->is_register) {
            machine->registers[form->rm] = machine->registers[form->reg];
        } else {
            store(machine, form->place, machine->registers[form->reg]);
        }
        return true;
    default:
        return false;
    }
}

static bool is_one_of(uint8_t opcode, const char *opcodes)
{
    return opcode && strchr(opcodes, opcode);
}

/* Vectors of two addresses. */
static bool follow_vector(Machine *machine, const Form *form)
{
    uint64_t *target = machine->vectors[form->reg], *source = machine->vectors[form->rm];
    bool is_memory = !form->is_register, is_plain = !form->prefix, is_66 = form->prefix == 0x66;
    bool is_f3 = form->prefix == 0xf3;
    uint8_t opcode = form->opcode;
    if (is_66 && form->is_wide && opcode == 0x6e) { /* movq from a register or memory */
        target[0] = is_memory ? load(machine, form->place) : machine->registers[form->rm];
        target[1] = 0;
    } else if (is_f3 && opcode == 0x7e) { /* movq */
        target[0] = is_memory ? load(machine, form->place) : source[0];
        target[1] = 0;
    } else if (is_66 && opcode == 0xd6 && is_memory) { /* movq */
        store(machine, form->place, target[0]);
    } else if (is_66 && opcode == 0x6c && !is_memory) { /* punpcklqdq */
        target[1] = source[0];
    } else if ((is_plain || is_66) && opcode == 0x16) { /* movhps, movlhps */
        target[1] = is_memory ? load(machine, form->place) : source[0];
    } else if ((is_plain || is_66) && opcode == 0x12 && is_memory) { /* movlps */
        target[0] = load(machine, form->place);
    } else if (((is_plain || is_66) && is_one_of(opcode, "\x10\x28")) ||
               ((is_66 || is_f3) && opcode == 0x6f)) { /* movups and the like */
        target[0] = is_memory ? load(machine, form->place) : source[0];
        target[1] = is_memory ? load(machine, behind(form->place, 8)) : source[1];
    } else if ((((is_plain || is_66) && is_one_of(opcode, "\x11\x29")) ||
                ((is_66 || is_f3) && opcode == 0x7f)) &&
               is_memory) {
        store(machine, form->place, target[0]);
        store(machine, behind(form->place, 8), target[1]);
    } else {
        target[0] = target[1] = 0;
        return false;
    }
    return true;
}

/* The register holds something else now; if it is the stack pointer, so does the stack. */
static void forget(Machine *machine, uint8_t reg)
{
    if (reg < 16) {
        machine->registers[reg] = 0;
    }
    for (unsigned i = 0; reg == STACK_POINTER && i < machine->n_stores; i++) {
        machine->stores[i].value = machine->stores[i].on_stack ? 0 : machine->stores[i].value;
    }
}

/* One step; false: the code goes elsewhere. */
static bool follow(Machine *machine, const uint8_t *bytes, uint64_t address,
                   const Instruction *instruction)
{
    Form form;
    switch (instruction->operation) {
    case OPERATION_CALL:
    case OPERATION_CALL_INDIRECT:
        for (unsigned reg = 0; reg < 16; reg++) {
            if (!instruction_is_saved(ELF_X86_64, reg)) {
                machine->registers[reg] = 0;
            }
        }
        memset(machine->vectors, 0, sizeof(machine->vectors));
        return true;
    case OPERATION_JUMP:
    case OPERATION_JUMP_INDIRECT:
    case OPERATION_RETURN:
    case OPERATION_TRAP:
        return false;
    default:
        break;
    }
    if (bytes[0] == 0xc4 || bytes[0] == 0xc5 || bytes[0] == 0x62) { /* VEX, EVEX: not followed */
        memset(machine->vectors, 0, sizeof(machine->vectors));
    } else if (read_form(machine, bytes, instruction->length, address, &form)) {
        bool followed = form.is_two_byte
                            ? follow_vector(machine, &form)
                            : follow_general(machine, &form, bytes + instruction->length);
        if (followed) {
            return true;
        }
    }
    forget(machine, instruction->target);
    forget(machine, instruction->also);
    return true;
}

static void run(Machine *machine, uint64_t address)
{
    for (unsigned steps = 0; steps < STEPS_MAX; steps++) {
        ElfRange code = elf_at(machine->image, address);
        Instruction instruction;
        if (!elf_is_code(machine->image, address) || !elf_work(machine->image, 16) ||
            !instruction_x86(code.bytes, code.length, address, &instruction) ||
            !follow(machine, code.bytes, address, &instruction)) {
            return;
        }
        address += instruction.length;
    }
}

/* ---- The table ------------------------------------------------------------------------------- */

/* The one instruction that has the slot's address, by its last four bytes; 0: none, or several. */
static uint64_t find_use(ElfImage *image, uint64_t slot)
{
    uint64_t found = 0;
    for (unsigned i = 0; i < image->n_loads; i++) {
        ElfRange range = elf_load_range(image, i);
        if (!(image->loads[i].flags & ELF_EXECUTE) || !elf_work(image, range.length)) {
            continue;
        }
        for (size_t at = 0; at + 4 <= range.length; at++) {
            uint64_t next = range.address + at + 4;
            if (next + (uint64_t)(int64_t)(int32_t)elf_u32(range.bytes + at) == slot) {
                if (found) {
                    return 0;
                }
                found = range.address + at;
            }
        }
    }
    return found;
}

static uint64_t method(const Machine *machine, uint64_t table, unsigned at)
{
    return load(machine, (Place){true, false, table + at});
}

/* The table's address, or 0. */
static uint64_t find_table(const Machine *machine)
{
    uint64_t found = 0;
    for (unsigned i = 0; i < machine->n_stores; i++) {
        const Store *one = &machine->stores[i];
        uint64_t table = one->address - AT_ACCEPT_READ;
        if (one->value != IMPORTED || one->on_stack || table == found ||
            method(machine, table, 0) != KIND_LAYERED) {
            continue;
        }
        if (found) {
            return 0;
        }
        found = table;
    }
    return machine->is_full ? 0 : found;
}

bool points_find_nss(ElfImage *image, TlsPoints *points)
{
    static const struct {
        unsigned at;
        TlsPointKind kind;
        const char *name;
    } methods[] = {
        {AT_READ, TLS_POINT_READ, "libssl3's read"},
        {AT_RECV, TLS_POINT_RECV, "libssl3's recv"},
        {AT_WRITE, TLS_POINT_WRITE, "libssl3's write"},
        {AT_SEND, TLS_POINT_WRITE, "libssl3's send"},
        {AT_WRITEV, TLS_POINT_WRITEV, "libssl3's writev"},
        {AT_ACCEPT, TLS_POINT_NEW, "libssl3's accept"},
        {AT_CLOSE, TLS_POINT_END, "libssl3's close"},
    };
    Machine machine = {.image = image};
    machine.slot = elf_import_slot(image, "PR_EmulateAcceptRead");
    uint64_t use = machine.slot && image->arch == ELF_X86_64 ? find_use(image, machine.slot) : 0;
    uint64_t function = use ? elf_function_of(image, use) : 0;
    if (!function) {
        return false;
    }
    run(&machine, function);
    uint64_t table = find_table(&machine);
    TlsPoints found = {0};
    for (unsigned i = 0; table && i < sizeof(methods) / sizeof(*methods); i++) {
        uint64_t address = method(&machine, table, methods[i].at);
        TlsPoint point = {.kind = methods[i].kind,
                          .by_descriptor = true,
                          .name = methods[i].name,
                          .address = address};
        /* One address twice is refused, too. */
        if (elf_function_begins(image, address) != 1 || !points_add(image, &found, point)) {
            return false;
        }
    }
    for (unsigned i = 0; i < found.count; i++) {
        points_add(image, points, found.points[i]);
    }
    return table;
}
