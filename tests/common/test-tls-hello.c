// SPDX-License-Identifier: GPL-2.0-or-later
/* ClientHellos in packets made by hand; and no byte read beyond any packet. */
#include <glib.h>
#include <stdbool.h>
#include <string.h>

#include "common/tls-hello.h"

#define ETHERNET 1
#define RAW      101

static const uint8_t hello[] = {0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3};

static GByteArray *bytes_of(const void *bytes, size_t length)
{
    GByteArray *array = g_byte_array_new();
    return g_byte_array_append(array, bytes, (guint)length);
}

static void put_random(GByteArray *packet)
{
    uint8_t random[TLS_HELLO_RANDOM_BYTES];
    for (unsigned i = 0; i < sizeof(random); i++) {
        random[i] = (uint8_t)(0x40 + i);
    }
    g_byte_array_append(packet, random, sizeof(random));
}

/* An IP packet with a TCP header of `words` words. */
static GByteArray *tcp(bool is_v6, unsigned words)
{
    const uint8_t v4[20] = {[0] = 0x45, [9] = 6, [12] = 10, 0, 0, 1, 10, 0, 0, 2};
    const uint8_t v6[40] = {[0] = 0x60, [6] = 6, [8] = 0xfd, [23] = 1, [24] = 0xfd, [39] = 2};
    uint8_t header[60] = {0x9c, 0x41, 0x01, 0xbb, [12] = (uint8_t)(words << 4)};
    GByteArray *packet = is_v6 ? bytes_of(v6, sizeof(v6)) : bytes_of(v4, sizeof(v4));
    return g_byte_array_append(packet, header, words * 4);
}

static GByteArray *with_hello(GByteArray *packet)
{
    g_byte_array_append(packet, hello, sizeof(hello));
    put_random(packet);
    return packet;
}

static GByteArray *in_ethernet(GByteArray *ip, bool has_tag)
{
    const bool is_v6 = ip->data[0] >> 4 == 6;
    const uint8_t type[2] = {is_v6 ? 0x86 : 0x08, is_v6 ? 0xdd : 0x00}, tag[4] = {0x81, 0, 0, 5};
    const uint8_t addresses[12] = {0};
    GByteArray *packet = bytes_of(addresses, sizeof(addresses));
    if (has_tag) {
        g_byte_array_append(packet, tag, sizeof(tag));
    }
    g_byte_array_append(packet, type, sizeof(type));
    g_byte_array_append(packet, ip->data, ip->len);
    g_byte_array_unref(ip);
    return packet;
}

/* From address 1 to 2. */
static void assert_fields(const TlsHelloFields *fields)
{
    unsigned first = fields->is_v6 ? 0xfd : 10, last = fields->is_v6 ? 15 : 3;
    for (unsigned i = 0; i < TLS_HELLO_RANDOM_BYTES; i++) {
        g_assert_cmpuint(fields->random[i], ==, 0x40 + i);
    }
    g_assert_cmpuint(fields->from[0], ==, first);
    g_assert_cmpuint(fields->to[0], ==, first);
    g_assert_cmpuint(fields->from[last], ==, 1);
    g_assert_cmpuint(fields->to[last], ==, 2);
    g_assert_cmpuint(fields->from_port, ==, 40001);
    g_assert_cmpuint(fields->to_port, ==, 443);
}

/* In memory of exactly its length, so that the sanitizer sees what is read beyond it. */
static TlsHello find(uint16_t link_type, const GByteArray *packet, guint length)
{
    g_autofree uint8_t *exact = g_memdup2(packet->data, length);
    TlsHelloFields fields;
    TlsHello found = tls_hello_find(link_type, exact, length, &fields);
    g_assert_true((found == TLS_HELLO_RANDOM) == (fields.random != NULL));
    if (fields.random) {
        assert_fields(&fields);
    }
    return found;
}

/* Found in the whole packet, and in none that is cut. */
static void assert_found(uint16_t link_type, GByteArray *packet)
{
    g_assert_cmpint(find(link_type, packet, packet->len), ==, TLS_HELLO_RANDOM);
    for (guint length = 0; length < packet->len; length++) {
        g_assert_cmpint(find(link_type, packet, length), ==, TLS_HELLO_NONE);
    }
    g_byte_array_unref(packet);
}

static void assert_not_found(uint16_t link_type, GByteArray *packet)
{
    g_assert_cmpint(find(link_type, packet, packet->len), ==, TLS_HELLO_NONE);
    g_byte_array_unref(packet);
}

static void test_found(void)
{
    assert_found(ETHERNET, in_ethernet(with_hello(tcp(false, 5)), false));
    assert_found(ETHERNET, in_ethernet(with_hello(tcp(true, 8)), false));
    assert_found(ETHERNET, in_ethernet(with_hello(tcp(false, 15)), true));
    assert_found(RAW, with_hello(tcp(true, 5)));
}

static GByteArray *changed(unsigned at, uint8_t value)
{
    GByteArray *packet = with_hello(tcp(false, 5));
    packet->data[at] = value;
    return packet;
}

static void test_not_found(void)
{
    assert_not_found(RAW, changed(40, 0x17)); /* application data */
    assert_not_found(RAW, changed(41, 0xfe)); /* no TLS */
    assert_not_found(RAW, changed(45, 2));    /* ServerHello */
    assert_not_found(RAW, changed(9, 50));    /* ESP */
    assert_not_found(RAW, changed(7, 1));     /* a later fragment */
    assert_not_found(RAW, changed(0, 0x41));  /* header too short */
    assert_not_found(RAW, changed(32, 0x40)); /* header too short */
    assert_not_found(113, with_hello(tcp(false, 5)));
}

/* Its suite stands behind a session id of 32 bytes. */
static GByteArray *server_hello(uint8_t first_of_random, uint8_t suite)
{
    GByteArray *packet = with_hello(tcp(false, 5));
    const uint8_t end[] = {0x13, suite};
    uint8_t session[33] = {32};
    packet->data[45] = 2;
    packet->data[51] = first_of_random;
    if (first_of_random == 0xcf) {
        memcpy(packet->data + 51, (uint8_t[]){0xcf, 0x21, 0xad, 0x74}, 4);
    }
    g_byte_array_append(packet, session, sizeof(session));
    return g_byte_array_append(packet, end, sizeof(end));
}

static void test_server(void)
{
    GByteArray *packet = server_hello(1, 2);
    g_assert_cmpint(find(RAW, packet, packet->len), ==, TLS_HELLO_SERVER);
    for (guint length = 0; length < packet->len; length++) {
        g_assert_cmpint(find(RAW, packet, length), ==, TLS_HELLO_NONE);
    }
    g_byte_array_unref(packet);
    assert_not_found(RAW, server_hello(1, 9));
    assert_not_found(RAW, server_hello(0xcf, 2)); /* HelloRetryRequest */
}

static GByteArray *udp(unsigned length)
{
    const uint8_t v4[20] = {[0] = 0x45, [9] = 17};
    const uint8_t header[8] = {[4] = (uint8_t)(length >> 8), [5] = (uint8_t)length};
    GByteArray *packet = bytes_of(v4, sizeof(v4));
    return g_byte_array_append(packet, header, sizeof(header));
}

static void test_hidden(void)
{
    const uint8_t quic[] = {0xc3, 0, 0, 0, 1, 8}, dtls[] = {0x16, 0xfe, 0xfd, 0, 0, 0};
    const uint8_t negotiation[] = {0xc3, 0, 0, 0, 0, 8};
    GByteArray *packet = g_byte_array_append(udp(1208), quic, sizeof(quic));
    g_assert_cmpint(find(RAW, packet, packet->len), ==, TLS_HELLO_HIDDEN);
    g_byte_array_unref(packet);
    packet = g_byte_array_append(udp(60), dtls, sizeof(dtls));
    g_assert_cmpint(find(RAW, packet, packet->len), ==, TLS_HELLO_HIDDEN);
    g_byte_array_unref(packet);
    assert_not_found(RAW, g_byte_array_append(udp(60), quic, sizeof(quic)));
    assert_not_found(RAW, g_byte_array_append(udp(1208), negotiation, sizeof(negotiation)));
}

/* A ClientHello with these extensions. */
static GByteArray *whole_hello(const uint8_t *extensions, uint8_t length)
{
    GByteArray *packet = with_hello(tcp(false, 5));
    const uint8_t middle[] = {3, 1, 2, 3, 0, 2, 0x13, 1, 1, 0, 0, length};
    g_byte_array_append(packet, middle, sizeof(middle));
    g_byte_array_append(packet, extensions, length);
    guint message = packet->len - 40 - 9;
    packet->data[40 + 4] = (uint8_t)(message + 4);
    packet->data[40 + 8] = (uint8_t)message;
    return packet;
}

static bool may_be_outer(const GByteArray *packet, guint length)
{
    g_autofree uint8_t *exact = g_memdup2(packet->data, length);
    TlsHelloFields fields;
    g_assert_cmpint(tls_hello_find(RAW, exact, length, &fields), ==, TLS_HELLO_RANDOM);
    return tls_hello_may_be_outer(fields.random, exact + length);
}

static void test_outer(void)
{
    const uint8_t without[] = {0, 43, 0, 3, 2, 3, 4, 0xfe, 0x0c, 0, 0},
                  with[] = {0, 43, 0, 3, 2, 3, 4, 0xfe, 0x0d, 0, 1, 0},
                  lying[] = {0, 43, 0, 30, 2, 3, 4};
    GByteArray *packet = whole_hello(without, sizeof(without));
    g_assert_false(may_be_outer(packet, packet->len));
    for (guint length = 40 + 11 + TLS_HELLO_RANDOM_BYTES; length < packet->len; length++) {
        g_assert_true(may_be_outer(packet, length)); /* it cannot be told */
    }
    packet->data[40 + 4]--; /* goes on in another record */
    g_assert_true(may_be_outer(packet, packet->len));
    g_byte_array_unref(packet);
    packet = whole_hello(with, sizeof(with));
    g_assert_true(may_be_outer(packet, packet->len));
    g_byte_array_unref(packet);
    packet = whole_hello(lying, sizeof(lying));
    g_assert_true(may_be_outer(packet, packet->len));
    g_byte_array_unref(packet);
    packet = whole_hello(NULL, 0);
    g_assert_false(may_be_outer(packet, packet->len));
    g_byte_array_unref(packet);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tls-hello/found", test_found);
    g_test_add_func("/tls-hello/not-found", test_not_found);
    g_test_add_func("/tls-hello/server", test_server);
    g_test_add_func("/tls-hello/hidden", test_hidden);
    g_test_add_func("/tls-hello/outer", test_outer);
    return g_test_run();
}
