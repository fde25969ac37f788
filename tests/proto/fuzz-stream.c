// SPDX-License-Identifier: GPL-2.0-or-later
/* Any bytes as a StreamResponse. What protobuf-c thinks of them is the second opinion: what is
 * decoded here without it must say the same. */
#include "proto/stream.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
    if (!condition)
        abort();
}

static void compare_packets(const uint8_t *data, size_t size, const StreamMessage *message)
{
    ProtobufCMessage *unpacked;
    if (stream_unpack(&remora__v1__stream_response__descriptor, data, size, &unpacked) < 0)
        return;
    const Remora__V1__StreamResponse *theirs = (Remora__V1__StreamResponse *)unpacked;
    const StreamPackets *packets = &message->packets;
    check(theirs->sequence == message->sequence);
    check(theirs->body_case == REMORA__V1__STREAM_RESPONSE__BODY_PACKETS);
    check(theirs->packets->count == packets->count);
    check(theirs->packets->first_unix_ns == packets->first_unix_ns);
    check(theirs->packets->last_unix_ns == packets->last_unix_ns);
    check(theirs->packets->watermark_unix_ns == packets->watermark_unix_ns);
    check(theirs->packets->blocks.len == packets->blocks_length);
    if (packets->blocks_length) {
        check(packets->blocks >= data && packets->blocks + packets->blocks_length <= data + size);
        check(!memcmp(theirs->packets->blocks.data, packets->blocks, packets->blocks_length));
    }
    protobuf_c_message_free_unpacked(unpacked, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    StreamMessage message;
    if (stream_message_decode(data, size, &message) == 0) {
        check((message.response != NULL) ==
              (message.type != STREAM_UNKNOWN && message.type != STREAM_PACKETS));
        if (message.type == STREAM_PACKETS)
            compare_packets(data, size, &message);
        else if (message.response)
            check(message.response->sequence == message.sequence &&
                  message.response->body_case == message.type + 1);
        stream_message_clear(&message);
    }

    /* The other messages that come from a peer. */
    static const ProtobufCMessageDescriptor *const types[] = {
        &remora__v1__stream_request__descriptor,
        &remora__v1__list_targets_request__descriptor,
        &remora__v1__list_targets_response__descriptor,
        &remora__v1__get_status_response__descriptor,
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        ProtobufCMessage *unpacked;
        if (stream_unpack(types[i], data, size, &unpacked) == 0)
            protobuf_c_message_free_unpacked(unpacked, NULL);
    }
    return 0;
}
