// SPDX-License-Identifier: GPL-2.0-or-later
/* The pcapng stream that comes out: one section header, an interface per node and link type,
 * secrets, packets, and statistics at the end. Losses are written on the next packet of their node.
 *
 * Bytes gather in a buffer and go to the sink when it is full or at output_flush(). Large packets
 * are not copied there, if the sink takes pieces. Functions
 * return 0 or what the sink's write() returned; after a failure every further call returns it
 * again. One thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "collector/capture-point.h"
#include "collector/collector.h"
#include "collector/merge.h"

#define OUTPUT_SECRETS_MAX                                                 \
    200000u /* bytes of one block of secrets: dumpcap refuses large blocks \
             */

typedef struct Output Output;

typedef enum OutputLossStage { OUTPUT_LOST_BY_OS, OUTPUT_LOST_ELSEWHERE } OutputLossStage;

typedef struct OutputPacket {
    const uint8_t *block; /* passed by pcapng_packet_parse() */
    MergeBuffer *buffer;  /* where it stands: the output may refer to it up to the flush; NULL: the
                             block is copied */
    uint32_t length;
    uint32_t interface;
    uint64_t time_ns;
    const uint8_t *options; /* whole encoded options to add */
    size_t options_length;
} OutputPacket;

/* Writes the section header, for the next flush. */
Output *output_new(const CollectorSink *sink, void *userdata);
Output *output_free(Output *output); /* NULL is fine; does not flush */

/* The interface of a capture point's node and link type; written when it is new. */
uint32_t output_interface(Output *output, const CapturePoint *point, uint32_t snap_length,
                          const char *filter, const char *hardware, const char *os);
int output_packet(Output *output, const OutputPacket *packet);
/* Key log lines, each once and none before the first interface, in blocks of at most
 * OUTPUT_SECRETS_MAX, cut between lines; a longer line is left out. */
int output_secrets(Output *output, const uint8_t *key_log, size_t length);
int output_flush(Output *output);

/* Counts packets that came from the node for this interface, whether written in the end or not. */
void output_received(Output *output, uint32_t interface, uint64_t packets);
/* Loss on an interface: counted, and said on the next packet that is not older than `from_ns`.
 * `text` is for a person; several before that packet are joined. `packets` 0: how many is not
 * known. */
void output_loss(Output *output, uint32_t interface, OutputLossStage stage, uint64_t packets,
                 uint64_t from_ns, const char *text);
/* The statistics of all interfaces, with what no packet has said of losses as a comment. */
int output_statistics(Output *output, uint64_t time_ns);

uint64_t output_packets(const Output *output);
uint64_t output_bytes(const Output *output);
