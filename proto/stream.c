// SPDX-License-Identifier: GPL-2.0-or-later
#include "proto/stream.h"

#include <assert.h>
#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

/* Wire types and the form of keys: https://protobuf.dev/programming-guides/encoding/ */
enum {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    WIRE_FIXED32 = 5,
};

/* Field numbers of remora.proto: StreamResponse and Packets. */
enum {
    RESPONSE_SEQUENCE = 1,
    RESPONSE_HELLO = REMORA__V1__STREAM_RESPONSE__BODY_HELLO,
    RESPONSE_PACKETS = REMORA__V1__STREAM_RESPONSE__BODY_PACKETS,
    RESPONSE_FACTS = REMORA__V1__STREAM_RESPONSE__BODY_FACTS,
    RESPONSE_LAST = RESPONSE_FACTS,
    FACTS_FACT = 1,
};

enum {
    PACKETS_COUNT = 1,
    PACKETS_FIRST = 2,
    PACKETS_LAST = 3,
    PACKETS_WATERMARK = 4,
    PACKETS_BLOCKS = 15,
};

/* StreamMessageType follows the field numbers of the bodies. */
static_assert(RESPONSE_HELLO - 1 == STREAM_HELLO, "order of bodies");
static_assert(RESPONSE_PACKETS - 1 == STREAM_PACKETS, "order of bodies");
static_assert(RESPONSE_LAST - 1 == STREAM_FACTS, "order of bodies");

/* A fact alone and one among several are the same bytes. */
#define SAME(body)                                                   \
    static_assert((int)REMORA__V1__FACT__BODY_##body ==              \
                      (int)REMORA__V1__STREAM_RESPONSE__BODY_##body, \
                  "a fact")
SAME(TLS_SECRETS);
SAME(TRANSLATION);
SAME(SOCKET_OWNER);
SAME(NOTICE);

typedef struct Reader {
    const uint8_t *at, *end;
} Reader;

typedef struct Field {
    uint32_t number;
    unsigned wire;
    uint64_t value;       /* WIRE_VARINT */
    const uint8_t *bytes; /* WIRE_BYTES */
    size_t length;
} Field;

static bool read_varint(Reader *reader, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (reader->at == reader->end)
            return false;
        uint8_t byte = *reader->at++;
        /* The tenth byte has room for one bit. */
        if (shift == 63 && byte > 1)
            return false;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static bool read_bytes(Reader *reader, uint64_t length, Field *field)
{
    if (length > (size_t)(reader->end - reader->at))
        return false;
    field->bytes = reader->at;
    field->length = (size_t)length;
    reader->at += length;
    return true;
}

/* Next field of a message; groups (wire types 3 and 4) do not exist in proto3 and are errors. */
static bool read_field(Reader *reader, Field *ret)
{
    uint64_t key, length;
    if (!read_varint(reader, &key) || key > UINT32_MAX || key >> 3 == 0)
        return false;
    *ret = (Field){.number = (uint32_t)(key >> 3), .wire = key & 7};
    switch (ret->wire) {
    case WIRE_VARINT:
        return read_varint(reader, &ret->value);
    case WIRE_FIXED64:
        return read_bytes(reader, 8, ret);
    case WIRE_FIXED32:
        return read_bytes(reader, 4, ret);
    case WIRE_BYTES:
        return read_varint(reader, &length) && read_bytes(reader, length, ret);
    default:
        return false;
    }
}

static int decode_packets(const uint8_t *bytes, size_t length, StreamPackets *ret)
{
    Reader reader = {bytes, bytes + length};
    Field field;
    while (reader.at < reader.end) {
        if (!read_field(&reader, &field))
            return -EBADMSG;
        bool known = field.number <= PACKETS_WATERMARK || field.number == PACKETS_BLOCKS;
        if (!known)
            continue;
        if (field.wire != (field.number == PACKETS_BLOCKS ? WIRE_BYTES : WIRE_VARINT))
            return -EBADMSG;
        switch (field.number) {
        case PACKETS_COUNT:
            if (field.value > UINT32_MAX)
                return -EBADMSG;
            ret->count = (uint32_t)field.value;
            break;
        case PACKETS_FIRST:
            ret->first_unix_ns = field.value;
            break;
        case PACKETS_LAST:
            ret->last_unix_ns = field.value;
            break;
        case PACKETS_WATERMARK:
            ret->watermark_unix_ns = field.value;
            break;
        case PACKETS_BLOCKS:
            ret->blocks = field.bytes;
            ret->blocks_length = field.length;
            break;
        }
    }
    return 0;
}

/* What protobuf-c may still allocate. Never given back while unpacking, as merging repeated
 * submessages costs quadratic time in memory that is freed again. */
typedef struct Budget {
    size_t left;
    bool exceeded;
} Budget;

static void *budget_alloc(void *data, size_t size)
{
    enum { MALLOC_OVERHEAD = 32 }; /* at most, for the smallest pieces */
    Budget *budget = data;
    if (size > STREAM_UNPACKED_MAX || size + MALLOC_OVERHEAD > budget->left) {
        budget->exceeded = true;
        return NULL;
    }
    budget->left -= size + MALLOC_OVERHEAD;
    return malloc(size);
}

static void budget_free(void *data, void *pointer)
{
    free(pointer);
}

int stream_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t length,
                  ProtobufCMessage **ret)
{
    if (length > STREAM_MESSAGE_MAX)
        return -EMSGSIZE;
    Budget budget = {STREAM_UNPACKED_MAX, false};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, length, bytes);
    if (!message)
        return budget.exceeded ? -EMSGSIZE : -EBADMSG;
    *ret = message;
    return 0;
}

int stream_message_decode(const uint8_t *bytes, size_t length, StreamMessage *ret)
{
    if (length > STREAM_MESSAGE_MAX)
        return -EMSGSIZE;
    StreamMessage message = {.type = STREAM_UNKNOWN};
    Reader reader = {bytes, bytes + length};
    Field field, body = {0};
    while (reader.at < reader.end) {
        if (!read_field(&reader, &field))
            return -EBADMSG;
        if (field.number == RESPONSE_SEQUENCE) {
            if (field.wire != WIRE_VARINT)
                return -EBADMSG;
            message.sequence = field.value;
        } else if (field.number >= RESPONSE_HELLO && field.number <= RESPONSE_LAST) {
            /* A second body would be legal for protocol buffers (the last one wins, or both
             * merge), but nobody writes it. */
            if (field.wire != WIRE_BYTES || body.number)
                return -EBADMSG;
            body = field;
        }
    }

    int r = 0;
    if (body.number == RESPONSE_PACKETS)
        r = decode_packets(body.bytes, body.length, &message.packets);
    else if (body.number)
        r = stream_unpack(&remora__v1__stream_response__descriptor, bytes, length,
                          (ProtobufCMessage **)&message.response);
    if (r < 0)
        return r;
    if (body.number)
        message.type = (StreamMessageType)(body.number - 1);
    *ret = message;
    return 0;
}

bool stream_message_fact(const StreamMessage *message, size_t index, Remora__V1__Fact *ret)
{
    const Remora__V1__StreamResponse *response = message->response;
    if (message->type == STREAM_FACTS) {
        if (index >= response->facts->n_facts)
            return false;
        *ret = *response->facts->facts[index];
        return true;
    }
    bool is_fact = message->type == STREAM_TLS_SECRETS || message->type == STREAM_TRANSLATION ||
                   message->type == STREAM_SOCKET_OWNER || message->type == STREAM_NOTICE;
    if (!is_fact || index > 0)
        return false;
    *ret = (Remora__V1__Fact)REMORA__V1__FACT__INIT;
    ret->body_case = (Remora__V1__Fact__BodyCase)response->body_case;
    ret->notice = response->notice; /* of a union of pointers */
    return true;
}

void stream_message_clear(StreamMessage *message)
{
    if (message->response)
        remora__v1__stream_response__free_unpacked(message->response, NULL);
    *message = (StreamMessage){.type = STREAM_UNKNOWN};
}

static uint8_t *write_varint(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

static uint8_t *write_key(uint8_t *at, uint32_t number, unsigned wire)
{
    return write_varint(at, number << 3 | wire);
}

/* As proto3 has it, zero is not written. */
static uint8_t *write_uint(uint8_t *at, uint32_t number, uint64_t value)
{
    return value ? write_varint(write_key(at, number, WIRE_VARINT), value) : at;
}

size_t stream_packets_header(uint8_t *header, uint64_t sequence, const StreamPackets *packets)
{
    /* All fields of Packets up to its blocks: four keys of a byte, their values, key and length. */
    uint8_t inner[4 * (1 + 10) + 1 + 10];
    static_assert(sizeof inner + 2 * (1 + 10) <= STREAM_HEADER_MAX, "header too small");

    uint8_t *at = write_uint(inner, PACKETS_COUNT, packets->count);
    at = write_uint(at, PACKETS_FIRST, packets->first_unix_ns);
    at = write_uint(at, PACKETS_LAST, packets->last_unix_ns);
    at = write_uint(at, PACKETS_WATERMARK, packets->watermark_unix_ns);
    if (packets->blocks_length)
        at = write_varint(write_key(at, PACKETS_BLOCKS, WIRE_BYTES), packets->blocks_length);
    size_t inner_length = (size_t)(at - inner);

    at = write_uint(header, RESPONSE_SEQUENCE, sequence);
    at = write_varint(write_key(at, RESPONSE_PACKETS, WIRE_BYTES),
                      inner_length + packets->blocks_length);
    memcpy(at, inner, inner_length);
    return (size_t)(at - header) + inner_length;
}

size_t stream_sequence_header(uint8_t *header, uint64_t sequence)
{
    return (size_t)(write_uint(header, RESPONSE_SEQUENCE, sequence) - header);
}

uint8_t *stream_facts_append(uint8_t *at, const uint8_t *response, size_t length)
{
    at = write_varint(write_key(at, FACTS_FACT, WIRE_BYTES), length);
    memcpy(at, response, length);
    return at + length;
}

size_t stream_facts_header(uint8_t *header, uint64_t sequence, size_t length)
{
    uint8_t *at = write_uint(header, RESPONSE_SEQUENCE, sequence);
    return (size_t)(write_varint(write_key(at, RESPONSE_FACTS, WIRE_BYTES), length) - header);
}

void stream_response_encode(Remora__V1__StreamResponse *response, uint64_t sequence, uint8_t **ret,
                            size_t *ret_length)
{
    response->sequence = sequence;
    *ret_length = remora__v1__stream_response__get_packed_size(response);
    *ret = g_malloc(*ret_length);
    remora__v1__stream_response__pack(response, *ret);
}
