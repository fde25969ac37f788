// SPDX-License-Identifier: GPL-2.0-or-later
/* The messages of remora.v1.Capture/Stream, encoded and decoded without copying packet bytes. No
 * I/O. Source: remora.proto and README.md beside it; the wire form is protocol buffers, version 3.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/remora.pb-c.h"

#define REMORA_PROTOCOL_VERSION    2u
#define REMORA_PROTOCOL_FACTS      2u /* from here on several facts may come in one message */
#define REMORA_METHOD_STREAM       "/remora.v1.Capture/Stream"
#define REMORA_METHOD_GET_STATUS   "/remora.v1.Capture/GetStatus"
#define REMORA_METHOD_LIST_TARGETS "/remora.v1.Capture/ListTargets"

#define STREAM_MESSAGE_MAX  (4u * 1024u * 1024u)
#define STREAM_UNPACKED_MAX (32u * 1024u * 1024u) /* memory a message may take when unpacked */
#define STREAM_BATCH_BYTES  (256u * 1024u)
#define STREAM_BATCH_NS     (50u * 1000000u)
#define STREAM_HEADER_MAX   96u /* bytes in front of the blocks of a Packets message */

typedef enum StreamMessageType {
    STREAM_UNKNOWN, /* a body that this version does not know: skip it */
    STREAM_HELLO,
    STREAM_INTERFACE,
    STREAM_IDENTITY,
    STREAM_TLS_SECRETS,
    STREAM_PACKETS,
    STREAM_LOSS,
    STREAM_HEARTBEAT,
    STREAM_END,
    STREAM_TRANSLATION,
    STREAM_SOCKET_OWNER,
    STREAM_NOTICE,
    STREAM_FACTS,
} StreamMessageType;

typedef struct StreamPackets {
    uint32_t count;
    uint64_t first_unix_ns, last_unix_ns, watermark_unix_ns;
    /* Into the message that was decoded; not checked: see pcapng_packet_parse(). */
    const uint8_t *blocks;
    size_t blocks_length;
} StreamPackets;

typedef struct StreamMessage {
    StreamMessageType type;
    uint64_t sequence;
    StreamPackets packets; /* STREAM_PACKETS */
    /* All other known types, else NULL. Owned, see stream_message_clear(). */
    Remora__V1__StreamResponse *response;
} StreamMessage;

/* 0 with *ret set, or -EBADMSG for what is not a StreamResponse, -EMSGSIZE over STREAM_MESSAGE_MAX
 * or STREAM_UNPACKED_MAX. Fields may stand in any order, unknown ones are skipped; two bodies in
 * one message are an error. Allocates nothing for Packets. */
int stream_message_decode(const uint8_t *bytes, size_t length, StreamMessage *ret);
void stream_message_clear(StreamMessage *message);

/* The facts that the message has, one or several: false beyond the last one, and for messages of
 * any other type. *ret refers to what the message owns. A fact that this version does not know has
 * no body. */
bool stream_message_fact(const StreamMessage *message, size_t index, Remora__V1__Fact *ret);

/* Writes what stands in front of the blocks of a Packets message to `header` (STREAM_HEADER_MAX
 * bytes); the message is that, then packets->blocks as they are. Returns the header's length. */
size_t stream_packets_header(uint8_t *header, uint64_t sequence, const StreamPackets *packets);

/* The sequence number alone: in front of a StreamResponse that was encoded with none. Returns the
 * length. */
size_t stream_sequence_header(uint8_t *header, uint64_t sequence);

/* Appends a StreamResponse that was encoded with no sequence number, of one fact, to a Facts
 * message in `at`. Room for STREAM_FACT_EXTRA bytes besides the response is needed. Returns the
 * end. */
#define STREAM_FACT_EXTRA 6u
uint8_t *stream_facts_append(uint8_t *at, const uint8_t *response, size_t length);
/* What stands in front of `length` such bytes, in STREAM_HEADER_MAX bytes. Returns its length. */
size_t stream_facts_header(uint8_t *header, uint64_t sequence, size_t length);

/* Unpacks a message of any other type (requests, the answers of unary calls) in bounded memory:
 * what TYPE__unpack() does, but that takes up to a hundred times the message's length, and time
 * quadratic in it. 0 with *ret set (free with TYPE__free_unpacked(), allocator NULL), or -EBADMSG,
 * -EMSGSIZE as above. */
int stream_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t length,
                  ProtobufCMessage **ret);

/* Encodes any message but Packets. Sets response->sequence first. *ret: free with g_free(). */
void stream_response_encode(Remora__V1__StreamResponse *response, uint64_t sequence, uint8_t **ret,
                            size_t *ret_length);
