// SPDX-License-Identifier: GPL-2.0-or-later
/* What OpenSSL's functions that read and write all come to: ssl_read_internal(session, buffer,
 * length, size_t *count), and ssl_write_internal, since 3.3 with flags in front of `count`. They
 * are not exported; but SSL_read and SSL_read_ex do little else than call the first, and a BIO that
 * is a session calls it without them. They begin with an instruction that a probe is cheap on. */
#include "node-capture/tls/flow.h"
#include "node-capture/tls/points-find.h"

#define STEPS_MAX 200
#define ARGUMENTS 6

typedef struct Search {
    const ElfImage *image;
    uint64_t callee;
    bool on_stack[ARGUMENTS]; /* arguments that were made from the stack pointer last */
    int count;                /* the argument that was so at the call, or -1 */
} Search;

/* The stack pointer, or the frame pointer. */
static bool is_stack(const Search *search, uint8_t reg)
{
    return search->image->arch == ELF_X86_64 ? reg == 4 || reg == 5 : reg == 31 || reg == 29;
}

static FlowNext visit(void *context, const FlowState *state, const Instruction *instruction,
                      bool after)
{
    Search *search = context;
    ElfArch arch = search->image->arch;
    if (after) {
        return FLOW_ON;
    }
    if (instruction->operation != OPERATION_CALL) {
        for (unsigned i = 0; i < ARGUMENTS; i++) {
            if (instruction->target == instruction_argument(arch, i)) {
                search->on_stack[i] = (instruction->operation == OPERATION_MOVE ||
                                       instruction->operation == OPERATION_ADD) &&
                                      is_stack(search, instruction->source);
            }
        }
        return FLOW_ON;
    }
    const FlowValue *session = &state->registers[instruction_argument(arch, 0)];
    const FlowValue *buffer = &state->registers[instruction_argument(arch, 1)];
    if (session->kind != FLOW_OBJECT || session->chain.count != 1 || session->chain.offsets[0] ||
        buffer->kind != FLOW_OUTPUT || buffer->constant) {
        return FLOW_ON;
    }
    search->callee = (uint64_t)instruction->value;
    search->count = search->on_stack[3] ? 3 : search->on_stack[4] ? 4 : -1;
    return FLOW_END;
}

/* The first function that gets session and buffer as they came, or 0. */
static uint64_t callee_of(ElfImage *image, uint64_t function, int *ret_count)
{
    Search search = {.image = image, .count = -1};
    FlowState state;
    flow_enter(image, function, &state);
    flow_walk(image, &state, STEPS_MAX, STEPS_MAX, visit, &search);
    *ret_count = search.count;
    return search.callee;
}

bool points_find_openssl(ElfImage *image, const OpensslFunctions *functions, TlsPoint *ret_read,
                         TlsPoint *ret_write)
{
    int read_count, write_count, ignored;
    uint64_t read = callee_of(image, functions->read, &read_count);
    uint64_t write = callee_of(image, functions->write, &write_count);
    if (!read || !write || read == write || read_count != 3 || write_count < 0 ||
        callee_of(image, functions->read_ex, &ignored) != read ||
        elf_function_begins(image, read) == 0 || elf_function_begins(image, write) == 0 ||
        !elf_is_code(image, read) || !elf_is_code(image, write)) {
        return false;
    }
    /* Since 3.3, SSL_write_ex goes by way of SSL_write_ex2. */
    uint64_t by_ex = callee_of(image, functions->write_ex, &ignored);
    if (by_ex != write &&
        (!functions->write_ex2 || callee_of(image, functions->write_ex2, &ignored) != write)) {
        return false;
    }
    *ret_read =
        (TlsPoint){.kind = TLS_POINT_READ_EX, .name = "what SSL_read calls", .address = read};
    *ret_write = (TlsPoint){.kind = write_count == 3 ? TLS_POINT_WRITE_EX : TLS_POINT_WRITE_EX2,
                            .name = "what SSL_write calls",
                            .address = write};
    return true;
}
