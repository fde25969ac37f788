// SPDX-License-Identifier: GPL-2.0-or-later
/* Follows code along its paths and knows of each register whether it holds a constant, or something
 * reached from the first argument of the function (a chain of dereferences), or the second
 * argument. Nothing is executed; a loop is walked a few times, and steps are counted. */
#pragma once

#include "node-capture/tls/finder.h"
#include "node-capture/tls/instruction.h"

typedef enum FlowKind {
    FLOW_UNKNOWN,
    FLOW_CONSTANT, /* `constant`, which may be an address */
    FLOW_OBJECT,   /* what `chain` leads to from the first argument */
    FLOW_OUTPUT,   /* the second argument + `constant` */
} FlowKind;

typedef struct FlowValue {
    FlowKind kind;
    TlsChain chain;
    int64_t constant;
} FlowValue;

typedef struct FlowState {
    uint64_t address; /* of the next instruction */
    unsigned steps;   /* on this path so far */
    FlowValue registers[REGISTERS];
} FlowState;

typedef enum FlowNext { FLOW_ON, FLOW_END_PATH, FLOW_END } FlowNext;

/* Called before each instruction takes effect, and once more, with `after` set, when it has changed
 * registers. */
typedef FlowNext (*FlowVisit)(void *context, const FlowState *state, const Instruction *instruction,
                              bool after);

/* At the beginning of a function: its arguments are known. */
void flow_enter(const ElfImage *image, uint64_t address, FlowState *ret);
/* Walks until all paths have ended (return, indirect jump, `path_steps`), or `steps` are done, or
 * `visit` says so. */
void flow_walk(ElfImage *image, const FlowState *start, unsigned path_steps, unsigned steps,
               FlowVisit visit, void *context);
