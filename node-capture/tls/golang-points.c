// SPDX-License-Identifier: GPL-2.0-or-later
/* Where Go's crypto/tls has plaintext. Nothing may hang on a return address, as Go moves its
 * stacks: what Read has read is taken at the instructions that return from it, where the arguments
 * still stand in the places that the caller has left for them. */
#include <stdio.h>
#include <string.h>

#include "node-capture/tls/golang.h"
#include "node-capture/tls/instruction.h"
#include "node-capture/tls/points-find.h"

#define PREFIX          "crypto/tls.(*Conn)."
#define FUNCTION_MAX    65536 /* bytes */
#define CHECK_MAX       8     /* instructions of the check of the stack */
#define PROLOGUE_MAX    40
#define RETURNS_MAX     24
#define REGISTER_RAX    0
#define REGISTER_RBX    3
#define REGISTER_RSP    4
#define ARGUMENT_CONN   8 /* from the stack pointer at the entry */
#define ARGUMENT_BUFFER 16

typedef struct Function {
    const char *name;
    ElfRange code;
    GoAbi abi;
} Function;

static bool fail(TlsPoints *points, const char *name, const char *what)
{
    snprintf(points->reason, sizeof(points->reason), "%s: %s", name, what);
    return false;
}

static bool look_up(ElfImage *image, const GoTable *table, const char *name, Function *ret,
                    TlsPoints *points)
{
    uint64_t end = 0, address = golang_table_look_up(image, table, name, &end);
    ElfRange code = elf_at(image, address);
    if (end <= address || end - address > FUNCTION_MAX || code.length < end - address ||
        !elf_is_code(image, address)) {
        return fail(points, name, "the table of functions leads out of the code");
    }
    code.length = (size_t)(end - address);
    *ret = (Function){name, code, golang_abi(image, table, address)};
    return ret->abi != GO_ABI_UNKNOWN ||
           fail(points, name, "what it begins with is not understood");
}

static bool decode(const Function *function, size_t at, Instruction *ret)
{
    return instruction_x86(function->code.bytes + at, function->code.length - at,
                           function->code.address + at, ret);
}

/* Behind the branch, or branches, to where the stack is made larger, from where the function is
 * entered again. */
static size_t after_check(const Function *function)
{
    size_t at = 0, after = 0;
    int64_t goal = 0;
    Instruction instruction;
    for (unsigned i = 0; i < CHECK_MAX && decode(function, at, &instruction); i++) {
        at += instruction.length;
        if (instruction.operation == OPERATION_BRANCH && (!after || instruction.value == goal)) {
            after = at;
            goal = instruction.value;
        }
    }
    return after;
}

static bool add_entry(ElfImage *image, const GoTable *table, const char *name, TlsPointKind kind,
                      TlsPoints *points)
{
    Function function;
    if (!look_up(image, table, name, &function, points)) {
        return false;
    }
    size_t after = after_check(&function);
    if (!after) {
        return fail(points, name, "what it begins with is not understood");
    }
    return points_add(image, points,
                      (TlsPoint){.kind = kind,
                                 .name = name,
                                 .on_stack = function.abi == GO_ABI_STACK,
                                 .address = function.code.address + after}) ||
           fail(points, name, "it is not a place for a hook");
}

static bool is_push(const uint8_t *code)
{
    return (code[0] & 0xf8) == 0x50 || (code[0] == 0x41 && (code[1] & 0xf8) == 0x50);
}

/* Are the connection and the buffer, which come in registers, stored where the caller has left room
 * for them? There the compiler keeps what it needs after a call, and the collector moves them with
 * the stack. */
static bool keeps_arguments(const Function *function)
{
    int64_t depth = 0; /* of the stack pointer below that at the entry */
    bool conn = false, buffer = false;
    Instruction instruction;
    size_t at = 0;
    for (unsigned i = 0; i < PROLOGUE_MAX && decode(function, at, &instruction); i++) {
        const uint8_t *code = function->code.bytes + at;
        if (instruction.operation == OPERATION_CALL || instruction.operation == OPERATION_RETURN) {
            break;
        }
        if (instruction.length <= 2 && function->code.length - at >= 2 && is_push(code)) {
            depth += 8;
        } else if (instruction.operation == OPERATION_ADD && instruction.target == REGISTER_RSP &&
                   instruction.source == REGISTER_RSP) {
            depth -= instruction.value;
        } else if (instruction.operation == OPERATION_STORE && instruction.target == REGISTER_RSP) {
            conn |=
                instruction.source == REGISTER_RAX && instruction.value == depth + ARGUMENT_CONN;
            buffer |=
                instruction.source == REGISTER_RBX && instruction.value == depth + ARGUMENT_BUFFER;
        }
        at += instruction.length;
    }
    return conn && buffer;
}

static bool add_returns(ElfImage *image, const Function *function, TlsPoints *points)
{
    Instruction instruction;
    unsigned returns = 0;
    for (size_t at = 0; at < function->code.length; at += instruction.length) {
        if (!elf_work(image, 16) || !decode(function, at, &instruction)) {
            return fail(points, function->name, "an instruction in it is not understood");
        }
        if (instruction.operation == OPERATION_RETURN) {
            const TlsPoint point = {.kind = TLS_POINT_GO_READ,
                                    .name = function->name,
                                    .on_stack = function->abi == GO_ABI_STACK,
                                    .address = function->code.address + at};
            if (++returns > RETURNS_MAX || !points_add(image, points, point)) {
                return fail(points, function->name, "it returns in too many places");
            }
        }
    }
    return returns || fail(points, function->name, "it does not return");
}

static bool add_read(ElfImage *image, const GoTable *table, TlsPoints *points)
{
    Function function;
    const char *name = PREFIX "Read";
    if (!look_up(image, table, name, &function, points)) {
        return false;
    }
    if (function.abi == GO_ABI_REGISTERS && !keeps_arguments(&function)) {
        return fail(points, name, "where it keeps its arguments is not understood");
    }
    return add_returns(image, &function, points);
}

/* The linker drops what is not called. */
static bool has(ElfImage *image, const GoTable *table, const char *name)
{
    return golang_table_look_up(image, table, name, NULL) != 0;
}

static bool add_all(ElfImage *image, const GoTable *table, TlsPoints *points)
{
    static const struct {
        const char *name;
        TlsPointKind kind;
    } entries[] = {
        {PREFIX "clientHandshake", TLS_POINT_GO_CLIENT},
        {PREFIX "serverHandshake", TLS_POINT_GO_SERVER},
        {PREFIX "writeRecordLocked", TLS_POINT_GO_WRITE},
        {PREFIX "Close", TLS_POINT_GO_END},
    };
    unsigned before = points->count;
    for (size_t i = 0; i < sizeof(entries) / sizeof(*entries); i++) {
        if (has(image, table, entries[i].name) &&
            !add_entry(image, table, entries[i].name, entries[i].kind, points)) {
            return false;
        }
    }
    if (points->count == before) {
        return fail(points, "crypto/tls", "the linker left out or inlined its functions");
    }
    return !has(image, table, PREFIX "Read") || add_read(image, table, points);
}

void points_find_golang(ElfImage *image, TlsPoints *points)
{
    GoTable table;
    unsigned before = points->count;
    if (!golang_table_find(image, &table)) {
        return;
    }
    if (image->arch != ELF_X86_64) {
        fail(points, "crypto/tls", "its functions are not understood on this processor yet");
        return;
    }
    if (!add_all(image, &table, points)) {
        points->count = before;
        return;
    }
    points->reason[0] = '\0';
}
