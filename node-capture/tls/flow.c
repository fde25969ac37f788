// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/flow.h"

#include <string.h>

#define PENDING_MAX  24
#define BRANCHES_MAX 128 /* that are followed to both sides */
#define PASSES_MAX   3   /* of one branch */
#define STEP_WORK    64  /* bytes of searching that a step costs as much as */

typedef struct Walk {
    ElfImage *image;
    FlowState pending[PENDING_MAX];
    unsigned n_pending;
    struct {
        uint64_t address;
        unsigned passes;
    } branches[BRANCHES_MAX];
    unsigned n_branches;
} Walk;

void flow_enter(const ElfImage *image, uint64_t address, FlowState *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->address = address;
    ret->registers[instruction_argument(image->arch, 0)] =
        (FlowValue){.kind = FLOW_OBJECT, .chain = {.count = 1}};
    ret->registers[instruction_argument(image->arch, 1)] = (FlowValue){.kind = FLOW_OUTPUT};
}

static bool add_offset(TlsChain *chain, int64_t value)
{
    int64_t sum = chain->offsets[chain->count - 1] + value;
    chain->offsets[chain->count - 1] = (int32_t)sum;
    return sum >= -TLS_OFFSET_MAX && sum <= TLS_OFFSET_MAX;
}

static FlowValue added(FlowValue value, int64_t number)
{
    if (value.kind == FLOW_OBJECT) {
        if (!add_offset(&value.chain, number)) {
            value.kind = FLOW_UNKNOWN;
        }
    } else {
        value.constant = (int64_t)((uint64_t)value.constant + (uint64_t)number);
    }
    return value;
}

static FlowValue loaded(FlowValue value, int64_t offset)
{
    if (value.kind != FLOW_OBJECT || value.chain.count == TLS_CHAIN_MAX ||
        !add_offset(&value.chain, offset)) {
        return (FlowValue){.kind = FLOW_UNKNOWN};
    }
    value.chain.offsets[value.chain.count++] = 0;
    return value;
}

static void assign(FlowState *state, uint8_t reg, FlowValue value)
{
    if (reg < REGISTERS) {
        state->registers[reg] = value;
    }
}

static FlowValue value_of(const FlowState *state, uint8_t reg)
{
    return reg < REGISTERS ? state->registers[reg] : (FlowValue){.kind = FLOW_UNKNOWN};
}

static void take_effect(ElfArch arch, FlowState *state, const Instruction *instruction)
{
    FlowValue source = value_of(state, instruction->source);
    switch (instruction->operation) {
    case OPERATION_MOVE:
        assign(state, instruction->target, source);
        break;
    case OPERATION_ADD:
        assign(state, instruction->target, added(source, instruction->value));
        break;
    case OPERATION_LOAD:
        assign(state, instruction->target, loaded(source, instruction->value));
        break;
    case OPERATION_CONSTANT:
    case OPERATION_PAGE:
        assign(state, instruction->target,
               (FlowValue){.kind = FLOW_CONSTANT, .constant = instruction->value});
        break;
    case OPERATION_CALL:
    case OPERATION_CALL_INDIRECT:
        for (unsigned reg = 0; reg < REGISTERS; reg++) {
            if (!instruction_is_saved(arch, reg)) {
                state->registers[reg].kind = FLOW_UNKNOWN;
            }
        }
        break;
    case OPERATION_STORE:
        break;
    default: /* OPERATION_INDEXED and OPERATION_OTHER */
        assign(state, instruction->target, (FlowValue){.kind = FLOW_UNKNOWN});
    }
    assign(state, instruction->also, (FlowValue){.kind = FLOW_UNKNOWN});
}

/* The other side of a branch is walked later, unless that was done often enough. */
static void remember_branch(Walk *walk, const FlowState *state, uint64_t goal)
{
    unsigned i = 0;
    while (i < walk->n_branches && walk->branches[i].address != state->address) {
        i++;
    }
    if (i == BRANCHES_MAX || walk->n_pending == PENDING_MAX) {
        return;
    }
    if (i == walk->n_branches) {
        walk->branches[walk->n_branches++].address = state->address;
    }
    if (walk->branches[i].passes++ < PASSES_MAX) {
        walk->pending[walk->n_pending] = *state;
        walk->pending[walk->n_pending++].address = goal;
    }
}

static FlowNext step(Walk *walk, FlowState *state, FlowVisit visit, void *context)
{
    Instruction instruction;
    ElfRange code = elf_at(walk->image, state->address);
    if (!elf_is_code(walk->image, state->address) ||
        !instruction_decode(walk->image->arch, code.bytes, code.length, state->address,
                            &instruction)) {
        return FLOW_END_PATH;
    }
    FlowNext next = visit(context, state, &instruction, false);
    if (next != FLOW_ON) {
        return next;
    }
    uint64_t following = state->address + instruction.length;
    switch (instruction.operation) {
    case OPERATION_RETURN:
    case OPERATION_TRAP:
    case OPERATION_JUMP_INDIRECT:
        return FLOW_END_PATH;
    case OPERATION_BRANCH:
        remember_branch(walk, state, (uint64_t)instruction.value);
        break;
    case OPERATION_JUMP:
        following = (uint64_t)instruction.value;
        break;
    default:
        take_effect(walk->image->arch, state, &instruction);
        next = visit(context, state, &instruction, true);
    }
    state->address = following;
    state->steps++;
    return next;
}

void flow_walk(ElfImage *image, const FlowState *start, unsigned path_steps, unsigned steps,
               FlowVisit visit, void *context)
{
    Walk walk = {.image = image, .n_pending = 1};
    walk.pending[0] = *start;
    walk.pending[0].steps = 0;
    while (walk.n_pending) {
        FlowState state = walk.pending[--walk.n_pending];
        FlowNext next = FLOW_ON;
        while (next == FLOW_ON && state.steps < path_steps) {
            if (steps-- == 0 || !elf_work(image, STEP_WORK)) {
                return;
            }
            next = step(&walk, &state, visit, context);
        }
        if (next == FLOW_END) {
            return;
        }
    }
}
