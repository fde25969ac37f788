// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/key-log-function.h"

#include <stdio.h>
#include <string.h>

#define CANDIDATES_MAX 32
#define ARGUMENTS      6
#define PATH_STEPS     96  /* from the label to the call */
#define SITE_STEPS     600 /* on all paths of a site */
#define STUB_STEPS     4

typedef struct Candidate {
    uint64_t address;
    unsigned argument; /* that the label stands in */
    bool has_length;   /* the next argument is the label's length */
    unsigned votes, labels;
} Candidate;

/* What follows a site: a call that gets the label, and before it a jump with the label in the same
 * place as for a call, which may be a call at the end of a function, or stay inside. */
typedef struct Trail {
    Candidate call, jump;
} Trail;

typedef struct Tally {
    ElfImage *image;
    const LabelSite *site;
    Trail trail; /* of this site */
    Candidate candidates[CANDIDATES_MAX];
    unsigned n_candidates;
} Tally;

static bool holds(const Tally *tally, const FlowState *state, unsigned argument, uint64_t number)
{
    uint8_t reg = instruction_argument(tally->image->arch, argument);
    return reg < REGISTERS && state->registers[reg].kind == FLOW_CONSTANT &&
           (uint64_t)state->registers[reg].constant == number;
}

/* The function that a jump leads to is another library's: a stub of the linker's. */
static bool is_stub(ElfImage *image, uint64_t address)
{
    for (unsigned i = 0; i < STUB_STEPS; i++) {
        Instruction instruction;
        ElfRange code = elf_at(image, address);
        if (!instruction_decode(image->arch, code.bytes, code.length, address, &instruction) ||
            instruction.operation == OPERATION_JUMP_INDIRECT) {
            return true;
        }
        bool goes_on = instruction.operation <= OPERATION_STORE;
        if (!goes_on || (image->arch == ELF_X86_64 && instruction.target < REGISTERS)) {
            return false;
        }
        address += instruction.length;
    }
    return false;
}

static FlowNext look_for_call(void *context, const FlowState *state, const Instruction *instruction,
                              bool after)
{
    Tally *tally = context;
    bool is_call = instruction->operation == OPERATION_CALL;
    if (after || (!is_call && instruction->operation != OPERATION_JUMP)) {
        return FLOW_ON;
    }
    const LabelString *string = &tally->site->string;
    unsigned argument = 0;
    while (argument < ARGUMENTS && !holds(tally, state, argument, string->address)) {
        argument++;
    }
    uint64_t length = strlen(tls_label_name(string->label));
    Candidate candidate = {.address = (uint64_t)instruction->value,
                           .argument = argument,
                           .has_length = holds(tally, state, argument + 1, length)};
    if (argument == ARGUMENTS || (is_call && is_stub(tally->image, candidate.address)) ||
        (!string->is_terminated && !candidate.has_length)) {
        return FLOW_ON;
    }
    if (is_call) {
        tally->trail.call = candidate;
        return FLOW_END;
    }
    if (!tally->trail.jump.address) {
        tally->trail.jump = candidate;
    }
    return FLOW_ON;
}

static Candidate *candidate_of(Tally *tally, const Candidate *like, bool creates)
{
    for (unsigned i = 0; i < tally->n_candidates; i++) {
        Candidate *candidate = &tally->candidates[i];
        if (candidate->address == like->address && candidate->argument == like->argument &&
            candidate->has_length == like->has_length) {
            return candidate;
        }
    }
    if (!creates || tally->n_candidates == CANDIDATES_MAX) {
        return NULL;
    }
    tally->candidates[tally->n_candidates] = *like;
    return &tally->candidates[tally->n_candidates++];
}

static Trail follow(Tally *tally, const LabelSite *site)
{
    FlowState start = {.address = site->next};
    start.registers[site->reg] =
        (FlowValue){.kind = FLOW_CONSTANT, .constant = (int64_t)site->string.address};
    tally->site = site;
    tally->trail = (Trail){0};
    flow_walk(tally->image, &start, PATH_STEPS, SITE_STEPS, look_for_call, tally);
    return tally->trail;
}

/* A jump to what others call is a vote for that. */
static void count_votes(Tally *tally, const LabelSites *sites, const Trail *trails)
{
    for (unsigned i = 0; i < sites->n_sites; i++) {
        if (trails[i].call.address && !trails[i].jump.address) {
            candidate_of(tally, &trails[i].call, true);
        }
    }
    for (unsigned i = 0; i < sites->n_sites; i++) {
        Candidate *candidate = NULL;
        if (trails[i].jump.address) {
            candidate = candidate_of(tally, &trails[i].jump, false);
        }
        if (!candidate && trails[i].call.address) {
            candidate = candidate_of(tally, &trails[i].call, true);
        }
        if (candidate) {
            candidate->votes++;
            candidate->labels |= 1u << sites->sites[i].string.label;
        }
    }
}

/* *ret_sites: votes for all. Of as many votes, one for what gets the label as second argument
 * counts more. */
static const Candidate *winner(const Tally *tally, unsigned *ret_sites)
{
    const Candidate *best = NULL;
    *ret_sites = 0;
    for (unsigned i = 0; i < tally->n_candidates; i++) {
        const Candidate *candidate = &tally->candidates[i];
        *ret_sites += candidate->votes;
        if (!best || candidate->votes > best->votes ||
            (candidate->votes == best->votes && candidate->argument == 1)) {
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
    Tally tally = {.image = image};
    Trail trails[LABEL_SITES_MAX];
    for (unsigned i = 0; i < sites->n_sites; i++) {
        trails[i] = follow(&tally, &sites->sites[i]);
    }
    count_votes(&tally, sites, trails);
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
        .label_length = {best->has_length ? TLS_C_ARGUMENT : TLS_NOWHERE, 2},
        .secret = {TLS_C_ARGUMENT, best->has_length ? 3 : 2},
        .secret_length = {TLS_C_ARGUMENT, best->has_length ? 4 : 3},
        .sites = count,
        .votes = best->votes,
        .labels = best->labels,
    };
    return judge(image, best, count, ret, reason);
}

/* ---- The client random ---------------------------------------------------------------------- */

#define RANDOM_BYTES   32
#define ACCESSOR_STEPS 256  /* on one path */
#define READER_STEPS   4000 /* on all paths */
#define BODY_STEPS     400

/* Addresses inside the session, or inside what it points to, that a function forms. */
typedef enum Reader {
    READS_COPY,  /* copies it to where the second argument points */
    READS_DATUM, /* stores its address there (gnutls_datum_t.data) */
    READS_BYTES, /* passes it on, or looks at its bytes one by one */
} Reader;

typedef struct Addresses {
    Reader reader;
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
    if (addresses->reader == READS_DATUM) {
        const FlowValue *target = &state->registers[instruction->target & (REGISTERS - 1)];
        const FlowValue *source = &state->registers[instruction->source & (REGISTERS - 1)];
        if (!after && instruction->operation == OPERATION_STORE && target->kind == FLOW_OUTPUT &&
            target->constant + instruction->value == 0 && source->kind == FLOW_OBJECT) {
            add_address(addresses, &source->chain);
        }
        return FLOW_ON;
    }
    if (!after && instruction->operation == OPERATION_INDEXED && addresses->reader == READS_BYTES) {
        FlowValue value = state->registers[instruction->source & (REGISTERS - 1)];
        int64_t offset = value.kind == FLOW_OBJECT ? value.chain.offsets[value.chain.count - 1] : 0;
        offset += instruction->value;
        if (value.kind == FLOW_OBJECT && offset > 0 && offset <= TLS_OFFSET_MAX) {
            value.chain.offsets[value.chain.count - 1] = (int32_t)offset;
            add_address(addresses, &value.chain);
        }
    } else if (after && instruction->operation == OPERATION_ADD) {
        const FlowValue *value = &state->registers[instruction->target & (REGISTERS - 1)];
        if (value->kind == FLOW_OBJECT && value->chain.offsets[value->chain.count - 1] > 0) {
            add_address(addresses, &value->chain);
        }
    }
    return FLOW_ON;
}

static TlsChain chain_of(ElfImage *image, uint64_t function, Reader reader, unsigned path_steps)
{
    FlowState start;
    Addresses addresses = {.reader = reader};
    flow_enter(image, function, &start);
    flow_walk(image, &start, path_steps, READER_STEPS, look_for_address, &addresses);
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
        outside = chain_of(image, accessor, is_gnutls ? READS_DATUM : READS_COPY, ACCESSOR_STEPS);
    }
    TlsChain inside = chain_of(image, key_log->address, READS_BYTES, BODY_STEPS);
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
