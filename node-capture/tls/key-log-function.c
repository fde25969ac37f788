// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/key-log-function.h"

#include <stdio.h>
#include <string.h>

#define CANDIDATES_MAX 32
#define ARGUMENTS      6
#define PATH_STEPS     96  /* from the label to the call */
#define SITE_STEPS     600 /* on all paths of a site */

typedef struct Candidate {
    uint64_t address;
    unsigned argument; /* that the label stands in */
    unsigned votes, labels;
    bool is_called; /* else only jumped to, which may be inside a function */
} Candidate;

typedef struct Tally {
    const LabelSites *sites;
    const LabelSite *site;
    ElfArch arch;
    Candidate candidates[CANDIDATES_MAX];
    unsigned n_candidates;
    /* of the site at hand */
    Candidate found;
    Candidate jump;
} Tally;

/* The argument that holds the label of this site, or ARGUMENTS. */
static unsigned label_argument(const Tally *tally, const FlowState *state)
{
    for (unsigned i = 0; i < ARGUMENTS; i++) {
        const FlowValue *value = &state->registers[instruction_argument(tally->arch, i)];
        if (value->kind == FLOW_CONSTANT && (uint64_t)value->constant == tally->site->string) {
            return i;
        }
    }
    return ARGUMENTS;
}

static FlowNext look_for_call(void *context, const FlowState *state, const Instruction *instruction,
                              bool after)
{
    Tally *tally = context;
    bool is_call = instruction->operation == OPERATION_CALL;
    if (after || (!is_call && instruction->operation != OPERATION_JUMP)) {
        return FLOW_ON;
    }
    unsigned argument = label_argument(tally, state);
    if (argument == ARGUMENTS) {
        return FLOW_ON;
    }
    Candidate candidate = {.address = (uint64_t)instruction->value, .argument = argument};
    if (!is_call) {
        tally->jump = candidate; /* a tail call, if others call it too */
        return FLOW_ON;
    }
    tally->found = candidate;
    return FLOW_END;
}

static Candidate *candidate_of(Tally *tally, const Candidate *like)
{
    for (unsigned i = 0; i < tally->n_candidates; i++) {
        Candidate *candidate = &tally->candidates[i];
        if (candidate->address == like->address && candidate->argument == like->argument) {
            return candidate;
        }
    }
    if (tally->n_candidates == CANDIDATES_MAX) {
        return NULL;
    }
    tally->candidates[tally->n_candidates] = *like;
    return &tally->candidates[tally->n_candidates++];
}

static void vote(Tally *tally, const Candidate *chosen, bool is_called)
{
    Candidate *candidate = candidate_of(tally, chosen);
    if (candidate) {
        candidate->votes++;
        candidate->labels |= 1u << tally->site->label;
        candidate->is_called |= is_called;
    }
}

static void ask_site(ElfImage *image, Tally *tally, const LabelSite *site)
{
    FlowState start = {.address = site->next};
    start.registers[site->reg] =
        (FlowValue){.kind = FLOW_CONSTANT, .constant = (int64_t)site->string};
    tally->site = site;
    tally->found = tally->jump = (Candidate){0};
    flow_walk(image, &start, PATH_STEPS, SITE_STEPS, look_for_call, tally);
    if (tally->jump.address && !(tally->found.address && tally->found.argument == 1)) {
        vote(tally, &tally->jump, false);
    } else if (tally->found.address) {
        vote(tally, &tally->found, true);
    }
}

/* Most votes; what is only jumped to is none. *ret_sites: votes for all. */
static const Candidate *winner(const Tally *tally, unsigned *ret_sites)
{
    const Candidate *best = NULL;
    *ret_sites = 0;
    for (unsigned i = 0; i < tally->n_candidates; i++) {
        const Candidate *candidate = &tally->candidates[i];
        if (!candidate->is_called) {
            continue;
        }
        *ret_sites += candidate->votes;
        if (!best || candidate->votes > best->votes) {
            best = candidate;
        }
    }
    return best;
}

/* Compiled to nothing: all that it does is to return. */
static bool is_empty(ElfImage *image, uint64_t address)
{
    for (unsigned i = 0; i < 3; i++) {
        Instruction instruction;
        ElfRange code = elf_at(image, address);
        if (!instruction_decode(image->arch, code.bytes, code.length, address, &instruction)) {
            return false;
        }
        if (instruction.operation == OPERATION_RETURN) {
            return true;
        }
        if (instruction.operation != OPERATION_OTHER || instruction.target < REGISTERS - 1) {
            return false; /* no landing pad (endbr64, bti) */
        }
        address += instruction.length;
    }
    return false;
}

static TlsVerdict judge(ElfImage *image, const Candidate *best, unsigned sites, TlsKeyLog *ret,
                        char reason[static TLS_REASON_SIZE])
{
    unsigned labels = (unsigned)__builtin_popcount(best->labels);
    ret->begins_function = elf_function_begins(image, best->address);
    if (!elf_is_code(image, best->address) || !elf_offset(image, best->address, &ret->offset)) {
        snprintf(reason, TLS_REASON_SIZE, "the labels lead to 0x%llx, where no code is",
                 (unsigned long long)best->address);
        return TLS_NOT_HOOKED;
    }
    if (is_empty(image, best->address)) {
        snprintf(reason, TLS_REASON_SIZE, "its key-log function was compiled to nothing");
        return TLS_NOT_HOOKED;
    }
    if (best->argument != 1) {
        snprintf(reason, TLS_REASON_SIZE,
                 "the function that gets the labels takes them as argument %u, not as the second",
                 best->argument + 1);
        return TLS_DOUBTFUL;
    }
    if (labels < 2 || best->votes * 2 <= sites) {
        snprintf(reason, TLS_REASON_SIZE, "%u of %u references, of %u labels, lead to one function",
                 best->votes, sites, labels);
        return TLS_DOUBTFUL;
    }
    if (ret->begins_function == 0) {
        snprintf(reason, TLS_REASON_SIZE, "no function begins where the labels lead to");
        return TLS_DOUBTFUL;
    }
    return TLS_HOOKED;
}

TlsVerdict key_log_function_find(ElfImage *image, const LabelSites *sites, TlsKeyLog *ret,
                                 char reason[static TLS_REASON_SIZE])
{
    Tally tally = {.sites = sites, .arch = image->arch};
    for (unsigned i = 0; i < sites->n_sites; i++) {
        ask_site(image, &tally, &sites->sites[i]);
    }
    /* A jump into a function that others call is a vote for it. */
    unsigned count;
    const Candidate *best = winner(&tally, &count);
    if (!best) {
        snprintf(reason, TLS_REASON_SIZE,
                 sites->n_sites ? "no call was found that gets one of its labels"
                                : "no instruction takes the address of one of its labels");
        return TLS_NOT_HOOKED;
    }
    *ret = (TlsKeyLog){
        .address = best->address,
        .session = {TLS_C_ARGUMENT, 0},
        .label = {TLS_C_ARGUMENT, 1},
        .secret = {TLS_C_ARGUMENT, 2},
        .secret_length = {TLS_C_ARGUMENT, 3},
        .sites = count,
        .votes = best->votes,
        .labels = best->labels,
    };
    return judge(image, best, count, ret, reason);
}

/* ---- The client random ---------------------------------------------------------------------- */

#define RANDOM_BYTES      32
#define ACCESSOR_STEPS    256 /* on one path */
#define ACCESSOR_ALL      4000
#define BODY_STEPS        400

/* Addresses inside the session, or inside what it points to, that a function forms. */
typedef struct Addresses {
    bool wants_stored; /* only what is stored to where the second argument points (gnutls_datum_t.data) */
    ElfArch arch;
    TlsChain chain; /* count 0: none yet */
    bool is_contradicted;
} Addresses;

static void add_address(Addresses *addresses, const TlsChain *chain)
{
    TlsChain *known = &addresses->chain;
    if (!known->count) {
        *known = *chain;
        return;
    }
    unsigned last = known->count - 1;
    bool is_same_object = chain->count == known->count &&
                          memcmp(chain->offsets, known->offsets, last * sizeof(int32_t)) == 0;
    int32_t distance = is_same_object ? chain->offsets[last] - known->offsets[last] : -1;
    /* A copy in pieces forms addresses inside the random, too. */
    if (distance < 0 || distance > RANDOM_BYTES) {
        addresses->is_contradicted = true;
    }
}

static FlowNext look_for_address(void *context, const FlowState *state,
                                 const Instruction *instruction, bool after)
{
    Addresses *addresses = context;
    if (addresses->wants_stored) {
        const FlowValue *target = &state->registers[instruction->target & (REGISTERS - 1)];
        const FlowValue *source = &state->registers[instruction->source & (REGISTERS - 1)];
        if (!after && instruction->operation == OPERATION_STORE && target->kind == FLOW_OUTPUT &&
            target->constant + instruction->value == 0 && source->kind == FLOW_OBJECT) {
            add_address(addresses, &source->chain);
        }
        return FLOW_ON;
    }
    if (after && instruction->operation == OPERATION_ADD) {
        const FlowValue *value = &state->registers[instruction->target & (REGISTERS - 1)];
        if (value->kind == FLOW_OBJECT && value->chain.offsets[value->chain.count - 1] > 0) {
            add_address(addresses, &value->chain);
        }
    }
    return FLOW_ON;
}

static TlsChain chain_of(ElfImage *image, uint64_t function, bool wants_stored, unsigned path_steps)
{
    FlowState start;
    Addresses addresses = {.wants_stored = wants_stored, .arch = image->arch};
    flow_enter(image, function, &start);
    flow_walk(image, &start, path_steps, ACCESSOR_ALL, look_for_address, &addresses);
    return addresses.is_contradicted ? (TlsChain){0} : addresses.chain;
}

static bool is_same_chain(const TlsChain *a, const TlsChain *b)
{
    return a->count == b->count && memcmp(a->offsets, b->offsets, a->count * sizeof(int32_t)) == 0;
}

void client_random_find(ElfImage *image, uint64_t accessor, bool is_gnutls, TlsKeyLog *key_log)
{
    TlsChain outside = {0};
    if (accessor) {
        outside = chain_of(image, accessor, is_gnutls, ACCESSOR_STEPS);
    }
    TlsChain inside = chain_of(image, key_log->address, false, BODY_STEPS);
    key_log->random_agrees = outside.count && is_same_chain(&outside, &inside);
    if (outside.count) {
        key_log->random_chain = outside;
        key_log->random_origin = TLS_RANDOM_ACCESSOR;
    } else if (inside.count) {
        key_log->random_chain = inside;
        key_log->random_origin = TLS_RANDOM_BODY;
    } else {
        key_log->random_origin = TLS_RANDOM_ON_THE_WIRE;
    }
}
