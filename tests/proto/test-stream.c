// SPDX-License-Identifier: GPL-2.0-or-later
/* proto/stream.c against what protobuf-c itself packs and unpacks. */
#include "proto/stream.h"

#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <string.h>

typedef Remora__V1__StreamResponse Response;

/* ---- Encoding --------------------------------------------------------------------------------*/

static const uint64_t NUMBERS[] = {0,     1,          127,        128,       16383,
                                   16384, UINT32_MAX, 1ull << 62, UINT64_MAX};

static void check_packets(uint64_t sequence, const StreamPackets *packets)
{
    uint8_t header[STREAM_HEADER_MAX];
    size_t header_length = stream_packets_header(header, sequence, packets);
    g_assert_cmpuint(header_length, <=, STREAM_HEADER_MAX);
    size_t length = header_length + packets->blocks_length;
    g_autofree uint8_t *bytes = g_malloc(length);
    memcpy(bytes, header, header_length);
    if (packets->blocks_length)
        memcpy(bytes + header_length, packets->blocks, packets->blocks_length);

    /* Byte by byte what protobuf-c writes. */
    Response response = REMORA__V1__STREAM_RESPONSE__INIT;
    Remora__V1__Packets theirs = REMORA__V1__PACKETS__INIT;
    response.sequence = sequence;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_PACKETS;
    response.packets = &theirs;
    theirs.count = packets->count;
    theirs.first_unix_ns = packets->first_unix_ns;
    theirs.last_unix_ns = packets->last_unix_ns;
    theirs.watermark_unix_ns = packets->watermark_unix_ns;
    theirs.blocks = (ProtobufCBinaryData){packets->blocks_length, (uint8_t *)packets->blocks};
    g_autofree uint8_t *expected = g_malloc(length + 100);
    size_t expected_length = remora__v1__stream_response__pack(&response, expected);
    g_assert_cmpmem(bytes, length, expected, expected_length);

    StreamMessage message;
    g_assert_cmpint(stream_message_decode(bytes, length, &message), ==, 0);
    g_assert_cmpint(message.type, ==, STREAM_PACKETS);
    g_assert_cmpuint(message.sequence, ==, sequence);
    g_assert_null(message.response);
    g_assert_cmpuint(message.packets.count, ==, packets->count);
    g_assert_cmpuint(message.packets.first_unix_ns, ==, packets->first_unix_ns);
    g_assert_cmpuint(message.packets.last_unix_ns, ==, packets->last_unix_ns);
    g_assert_cmpuint(message.packets.watermark_unix_ns, ==, packets->watermark_unix_ns);
    g_assert_cmpuint(message.packets.blocks_length, ==, packets->blocks_length);
    if (packets->blocks_length) /* not copied */
        g_assert_true(message.packets.blocks == bytes + header_length);
    stream_message_clear(&message);
}

static void test_packets(void)
{
    static uint8_t blocks[300000];
    static const size_t lengths[] = {0, 1, 127, 128, 20000, sizeof blocks};
    memset(blocks, 0xa5, sizeof blocks);
    for (size_t i = 0; i < G_N_ELEMENTS(NUMBERS); i++)
        for (size_t j = 0; j < G_N_ELEMENTS(lengths); j++) {
            const StreamPackets packets = {
                .count = (uint32_t)NUMBERS[i],
                .first_unix_ns = NUMBERS[i],
                .last_unix_ns = NUMBERS[(i + j) % G_N_ELEMENTS(NUMBERS)],
                .watermark_unix_ns = NUMBERS[j],
                .blocks = blocks,
                .blocks_length = lengths[j],
            };
            check_packets(NUMBERS[G_N_ELEMENTS(NUMBERS) - 1 - i], &packets);
        }
}

/* Encodes the response, decodes it, and compares what came out by packing it again. */
static void check_response(Response *response, int body_case, StreamMessageType type)
{
    response->body_case = body_case;
    g_autofree uint8_t *bytes = NULL;
    size_t length;
    stream_response_encode(response, 77, &bytes, &length);
    StreamMessage message;
    g_assert_cmpint(stream_message_decode(bytes, length, &message), ==, 0);
    g_assert_cmpint(message.type, ==, type);
    g_assert_cmpuint(message.sequence, ==, 77);
    g_assert_nonnull(message.response);
    g_autofree uint8_t *again = g_malloc(length + 1);
    g_assert_cmpuint(remora__v1__stream_response__get_packed_size(message.response), ==, length);
    remora__v1__stream_response__pack(message.response, again);
    g_assert_cmpmem(bytes, length, again, length);
    stream_message_clear(&message);
    g_assert_null(message.response);
    stream_message_clear(&message);
}

#define BODY(name) REMORA__V1__STREAM_RESPONSE__BODY_##name

static void test_small_bodies(void)
{
    Response response = REMORA__V1__STREAM_RESPONSE__INIT;
    Remora__V1__Hello hello = REMORA__V1__HELLO__INIT;
    hello.node = (char *)"node-a";
    hello.boot_id = (char *)"b";
    hello.protocol_version = REMORA_PROTOCOL_VERSION;
    response.hello = &hello;
    check_response(&response, BODY(HELLO), STREAM_HELLO);
    Remora__V1__Interface interface = REMORA__V1__INTERFACE__INIT;
    interface.id = 3;
    interface.loopback = true;
    response.interface = &interface;
    check_response(&response, BODY(INTERFACE), STREAM_INTERFACE);
    Remora__V1__TlsSecrets secrets = REMORA__V1__TLS_SECRETS__INIT;
    secrets.key_log = (ProtobufCBinaryData){4, (uint8_t *)"a\0b\n"};
    response.tls_secrets = &secrets;
    check_response(&response, BODY(TLS_SECRETS), STREAM_TLS_SECRETS);
    Remora__V1__Loss loss = REMORA__V1__LOSS__INIT;
    loss.stage = REMORA__V1__LOSS_STAGE__LOSS_STAGE_KERNEL_RING;
    loss.packets = UINT64_MAX;
    response.loss = &loss;
    check_response(&response, BODY(LOSS), STREAM_LOSS);
    Remora__V1__Heartbeat heartbeat = REMORA__V1__HEARTBEAT__INIT;
    response.heartbeat = &heartbeat;
    check_response(&response, BODY(HEARTBEAT), STREAM_HEARTBEAT);
    Remora__V1__End end = REMORA__V1__END__INIT;
    end.reason = (char *)"restart";
    end.retry = true;
    response.end = &end;
    check_response(&response, BODY(END), STREAM_END);
}

static void test_identity(void)
{
    Response response = REMORA__V1__STREAM_RESPONSE__INIT;
    Remora__V1__IdentityEvent identity = REMORA__V1__IDENTITY_EVENT__INIT;
    Remora__V1__Entity entity = REMORA__V1__ENTITY__INIT;
    Remora__V1__Label label = REMORA__V1__LABEL__INIT;
    Remora__V1__Endpoint endpoint = REMORA__V1__ENDPOINT__INIT;
    label.key = (char *)"app";
    label.value = (char *)"shop";
    Remora__V1__Label *labels[] = {&label, &label};
    ProtobufCBinaryData addresses[] = {{4, (uint8_t *)"\x0a\0\0\1"}, {0, NULL}};
    Remora__V1__Endpoint *endpoints[1000];
    for (size_t i = 0; i < G_N_ELEMENTS(endpoints); i++)
        endpoints[i] = &endpoint;
    endpoint.n_addresses = 2;
    endpoint.addresses = addresses;
    endpoint.target_uid = (char *)"6f9c1d0e-0000-4000-8000-000000000001";
    entity.uid = (char *)"u";
    entity.n_labels = 2;
    entity.labels = labels;
    entity.n_endpoints = G_N_ELEMENTS(endpoints);
    entity.endpoints = endpoints;
    identity.entity = &entity;
    response.identity = &identity;
    check_response(&response, BODY(IDENTITY), STREAM_IDENTITY);
}

/* ---- Decoding what others may write ----------------------------------------------------------*/

static int decode(const char *bytes, size_t length, StreamMessage *ret)
{
    /* Of its own allocation, so that the address sanitizer sees a read past the end. */
    g_autofree uint8_t *copy = g_memdup2(bytes, length);
    int r = stream_message_decode(copy, length, ret);
    if (r == 0)
        ret->packets.blocks = NULL;
    return r;
}

#define DECODE(bytes, ret) decode(bytes, sizeof(bytes) - 1, ret)

static void test_order(void)
{
    StreamMessage message;
    /* blocks "ab", an unknown field of each wire type, watermark, count; and the sequence last */
    g_assert_cmpint(DECODE("\x32\x1b"
                           "\x7a\x02"
                           "ab"
                           "\x30\x81\x01"
                           "\x31"
                           "12345678"
                           "\x3d"
                           "1234"
                           "\x42\x00"
                           "\x20\x09\x08\x02"
                           "\x08\x05",
                           &message),
                    ==, 0);
    g_assert_cmpint(message.type, ==, STREAM_PACKETS);
    g_assert_cmpuint(message.sequence, ==, 5);
    g_assert_cmpuint(message.packets.count, ==, 2);
    g_assert_cmpuint(message.packets.watermark_unix_ns, ==, 9);
    g_assert_cmpuint(message.packets.blocks_length, ==, 2);
    /* The last of a repeated scalar counts. */
    g_assert_cmpint(DECODE("\x08\x05\x08\x06\x32\x04\x08\x01\x08\x02", &message), ==, 0);
    g_assert_cmpuint(message.sequence, ==, 6);
    g_assert_cmpuint(message.packets.count, ==, 2);
    /* A body of the future, and none at all. */
    g_assert_cmpint(DECODE("\x08\x07\x7a\x03xyz", &message), ==, 0);
    g_assert_cmpint(message.type, ==, STREAM_UNKNOWN);
    g_assert_cmpuint(message.sequence, ==, 7);
    g_assert_null(message.response);
    g_assert_cmpint(decode("", 0, &message), ==, 0);
    g_assert_cmpint(message.type, ==, STREAM_UNKNOWN);
    /* Something unknown beside a known body. */
    g_assert_cmpint(DECODE("\x08\x07\xa2\x06\x01?\x42\x02\x08\x03", &message), ==, 0);
    g_assert_cmpint(message.type, ==, STREAM_HEARTBEAT);
    g_assert_cmpuint(message.response->heartbeat->watermark_unix_ns, ==, 3);
    stream_message_clear(&message);
}

static void test_bad(void)
{
#define BAD(bytes)               \
    {                            \
        bytes, sizeof(bytes) - 1 \
    }
    static const struct {
        const char *bytes;
        size_t length;
    } bad[] = {
        BAD("\x08"),     /* value is missing */
        BAD("\x08\x80"), /* value is torn */
        BAD("\x0d"
            "1234"),                                         /* sequence as fixed32 */
        BAD("\x0a\x01x"),                                    /* sequence as bytes */
        BAD("\x30\x01"),                                     /* packets as varint */
        BAD("\x10\x01"),                                     /* hello as varint */
        BAD("\x32\x05\x08\x01"),                             /* longer than the message */
        BAD("\x32\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), /* much longer */
        BAD("\x32\x02\x7a\x01"),                             /* blocks reach beyond Packets */
        BAD("\x32\x02\x0a\x00"),                             /* count as bytes */
        BAD("\x32\x02\x78\x01"),                             /* blocks as varint */
        BAD("\x32\x09\x11"
            "12345678"),                                         /* first_unix_ns as fixed64 */
        BAD("\x32\x06\x08\x80\x80\x80\x80\x10"),                 /* count of 2^32 */
        BAD("\x32\x01\x0b"),                                     /* a group */
        BAD("\x32\x01\x0f"),                                     /* wire type 7 */
        BAD("\x00\x01"),                                         /* field number 0 */
        BAD("\x88\x80\x80\x80\x80\x01\x01"),                     /* field number beyond 2^29 */
        BAD("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),     /* more than 64 bits */
        BAD("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"), /* eleven bytes */
        BAD("\x32\x00\x32\x00"),                                 /* two bodies */
        BAD("\x32\x00\x42\x00"),
        BAD("\x42\x01\x08"), /* torn inside a body that protobuf-c reads */
        BAD("\x22\x02\x0a\x05"),
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        StreamMessage message = {.sequence = 4711};
        int r = decode(bad[i].bytes, bad[i].length, &message);
        if (r != -EBADMSG)
            g_error("input %zu gave %d", i, r);
        g_assert_cmpuint(message.sequence, ==, 4711); /* not touched */
    }
}

/* Each prefix of a good message is bad, or lacks its end only. */
static void test_torn(void)
{
    static const char whole[] = "\x08\x05\x32\x08\x08\x01\x20\x09\x7a\x02"
                                "ab";
    for (size_t length = 0; length < sizeof whole - 1; length++) {
        StreamMessage message;
        int r = decode(whole, length, &message);
        g_assert_cmpint(r, ==, length == 0 || length == 2 ? 0 : -EBADMSG);
    }
}

/* ---- Bombs -----------------------------------------------------------------------------------*/

static GByteArray *wrap(unsigned field, GByteArray *inner)
{
    GByteArray *outer = g_byte_array_new();
    uint8_t head[11] = {(uint8_t)(field << 3 | 2)};
    size_t n = 1;
    size_t rest = inner->len;
    for (; rest >= 0x80; rest >>= 7)
        head[n++] = (uint8_t)(rest | 0x80);
    head[n++] = (uint8_t)rest;
    g_byte_array_append(outer, head, (guint)n);
    g_byte_array_append(outer, inner->data, inner->len);
    g_byte_array_unref(inner);
    return outer;
}

static GByteArray *repeat(const char *bytes, size_t length, size_t total)
{
    GByteArray *array = g_byte_array_new();
    while (array->len + length <= total)
        g_byte_array_append(array, (const uint8_t *)bytes, (guint)length);
    return array;
}

static void check_bomb(GByteArray *bomb)
{
    StreamMessage message;
    g_assert_cmpuint(bomb->len, <=, STREAM_MESSAGE_MAX);
    g_assert_cmpint(stream_message_decode(bomb->data, bomb->len, &message), ==, -EMSGSIZE);
    g_byte_array_unref(bomb);
}

static void test_bombs(void)
{
    enum { ROOM = STREAM_MESSAGE_MAX - 100 };
    /* Empty endpoints, labels and addresses of an entity: two bytes each, a hundred in memory. */
    check_bomb(wrap(4, wrap(1, repeat("\x72\x00", 2, ROOM))));
    check_bomb(wrap(4, wrap(1, repeat("\x42\x00", 2, ROOM))));
    check_bomb(wrap(4, wrap(1, repeat("\x52\x00", 2, ROOM))));
    /* Unknown fields, which protobuf-c keeps. */
    check_bomb(wrap(4, repeat("\xf8\x07\x01", 3, ROOM)));
    /* An entity given again and again, each time merged with all before: quadratic. */
    check_bomb(wrap(4, repeat("\x0a\x02\x42\x00", 4, ROOM)));

    static uint8_t large[STREAM_MESSAGE_MAX + 1];
    StreamMessage message;
    ProtobufCMessage *unpacked;
    g_assert_cmpint(stream_message_decode(large, sizeof large, &message), ==, -EMSGSIZE);
    g_assert_cmpint(
        stream_unpack(&remora__v1__stream_request__descriptor, large, sizeof large, &unpacked), ==,
        -EMSGSIZE);
}

/* The largest message that makes sense is within the bound. */
static void test_large(void)
{
    GByteArray *secrets = wrap(5, wrap(2, repeat("x", 1, STREAM_MESSAGE_MAX - 20)));
    StreamMessage message;
    g_assert_cmpint(stream_message_decode(secrets->data, secrets->len, &message), ==, 0);
    g_assert_cmpuint(message.response->tls_secrets->key_log.len, ==, STREAM_MESSAGE_MAX - 20);
    stream_message_clear(&message);
    g_byte_array_unref(secrets);
}

static Response translation_response(Remora__V1__Translation *translation)
{
    Response response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = BODY(TRANSLATION);
    response.translation = translation;
    return response;
}

/* One alone and several together are read in the same way. */
static void test_facts(void)
{
    uint8_t header[STREAM_HEADER_MAX];
    g_autoptr(GByteArray) all = g_byte_array_new();
    for (uint32_t i = 1; i <= 300; i++) {
        Remora__V1__Translation translation = REMORA__V1__TRANSLATION__INIT;
        translation.client_port = i;
        translation.client =
            (ProtobufCBinaryData){i % 200, header}; /* of one and of two bytes of length */
        memset(header, 0, sizeof(header));
        translation.client.len %= sizeof(header);
        Response response = translation_response(&translation);
        g_autofree uint8_t *bytes = NULL;
        size_t length;
        stream_response_encode(&response, 0, &bytes, &length);
        guint before = all->len;
        g_byte_array_set_size(all, before + (guint)length + STREAM_FACT_EXTRA);
        uint8_t *end = stream_facts_append(all->data + before, bytes, length);
        g_byte_array_set_size(all, (guint)(end - all->data));

        StreamMessage alone;
        Remora__V1__Fact fact;
        g_assert_cmpint(stream_message_decode(bytes, length, &alone), ==, 0);
        g_assert_true(stream_message_fact(&alone, 0, &fact));
        g_assert_cmpuint(fact.translation->client_port, ==, i);
        g_assert_false(stream_message_fact(&alone, 1, &fact));
        stream_message_clear(&alone);
    }
    size_t length = stream_facts_header(header, 9, all->len);
    g_byte_array_prepend(all, header, (guint)length);
    StreamMessage message;
    g_assert_cmpint(stream_message_decode(all->data, all->len, &message), ==, 0);
    g_assert_cmpint(message.type, ==, STREAM_FACTS);
    g_assert_cmpuint(message.sequence, ==, 9);
    Remora__V1__Fact fact;
    for (uint32_t i = 1; i <= 300; i++) {
        g_assert_true(stream_message_fact(&message, i - 1, &fact));
        g_assert_cmpint(fact.body_case, ==, REMORA__V1__FACT__BODY_TRANSLATION);
        g_assert_cmpuint(fact.translation->client_port, ==, i);
    }
    g_assert_false(stream_message_fact(&message, 300, &fact));
    stream_message_clear(&message);

    Remora__V1__Heartbeat heartbeat = REMORA__V1__HEARTBEAT__INIT;
    Response other = REMORA__V1__STREAM_RESPONSE__INIT;
    other.body_case = BODY(HEARTBEAT);
    other.heartbeat = &heartbeat;
    g_autofree uint8_t *bytes = NULL;
    stream_response_encode(&other, 1, &bytes, &length);
    g_assert_cmpint(stream_message_decode(bytes, length, &message), ==, 0);
    g_assert_false(stream_message_fact(&message, 0, &fact));
    stream_message_clear(&message);
}

static void test_unpack(void)
{
    ProtobufCMessage *unpacked;
    g_assert_cmpint(stream_unpack(&remora__v1__stream_request__descriptor,
                                  (const uint8_t *)"\x08\x01\x22\x03tcp", 7, &unpacked),
                    ==, 0);
    Remora__V1__StreamRequest *request = (Remora__V1__StreamRequest *)unpacked;
    g_assert_cmpuint(request->protocol_version, ==, 1);
    g_assert_cmpstr(request->filter, ==, "tcp");
    remora__v1__stream_request__free_unpacked(request, NULL);
    g_assert_cmpint(stream_unpack(&remora__v1__stream_request__descriptor,
                                  (const uint8_t *)"\x22\x03", 2, &unpacked),
                    ==, -EBADMSG);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/stream/packets", test_packets);
    g_test_add_func("/stream/small-bodies", test_small_bodies);
    g_test_add_func("/stream/identity", test_identity);
    g_test_add_func("/stream/order", test_order);
    g_test_add_func("/stream/bad", test_bad);
    g_test_add_func("/stream/torn", test_torn);
    g_test_add_func("/stream/bombs", test_bombs);
    g_test_add_func("/stream/large", test_large);
    g_test_add_func("/stream/facts", test_facts);
    g_test_add_func("/stream/unpack", test_unpack);
    return g_test_run();
}
