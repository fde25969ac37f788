// SPDX-License-Identifier: GPL-2.0-or-later
/* Plaintext of TLS connections -> the TCP/IP packets that would have carried it, as Enhanced Packet
 * Blocks. docs/tls.md, "Plaintext in the capture", has it in prose.
 *
 * A connection begins with SYN, SYN/ACK and ACK at the time of its first bytes, and ends with FINs.
 * Sequence numbers follow the offsets of the bytes, so bytes that are missing are a hole in the
 * sequence. Any bytes in any order of calls are safe; memory is bounded. No I/O, no clock. One
 * thread. */
#pragma once

#include <stdint.h>

#include "node-capture/source/source.h"
#include "node-capture/tls/keys.h"

/* Some 400 bytes each. Beyond it the one that was silent longest is forgotten; if it goes on, so
 * does its sequence. */
#define PLAINTEXT_CONNECTIONS_MAX 16384u

/* Of a connection inside of one network namespace both ends may be told: the one that was told
 * first is taken, unless it was silent for so long. */
#define PLAINTEXT_OTHER_END_NS (60u * 1000000000ull)

typedef struct PlaintextFlow PlaintextFlow;

typedef struct PlaintextFlowStats {
    uint64_t packets;
    uint64_t bytes;       /* of plaintext in them */
    uint64_t missing;     /* bytes that the offsets say were lost */
    uint64_t other_end;   /* bytes left out: the other end of the connection told them */
    uint64_t forgotten;   /* connections, because there were too many */
    uint32_t connections; /* now */
} PlaintextFlowStats;

/* What was lost ahead of the bytes of a call. */
typedef struct PlaintextHole {
    uint64_t bytes;          /* 0: nothing */
    uint64_t from_ns, to_ns; /* after the bytes before, up to those behind */
} PlaintextHole;

/* `max_connections` 0: PLAINTEXT_CONNECTIONS_MAX. */
PlaintextFlow *plaintext_flow_new(unsigned max_connections);
PlaintextFlow *plaintext_flow_free(PlaintextFlow *flow); /* NULL is fine; returns NULL */

/* Gives the packets of these bytes to `take` (none, one batch or, of many bytes, several), which
 * gets the reference. Their interface id is 0. *ret_hole is set by then. */
void plaintext_flow_add(PlaintextFlow *flow, const TlsPlaintext *plaintext,
                        void (*take)(Batch *batch, void *userdata), void *userdata,
                        PlaintextHole *ret_hole);
void plaintext_flow_stats(const PlaintextFlow *flow, PlaintextFlowStats *ret);

/* Of a batch that nobody else has yet. */
void plaintext_batch_set_interface(Batch *batch, uint32_t interface_id);
