// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/tls-hello.h"

#include <string.h>

enum { /* https://www.tcpdump.org/linktypes.html */
       LINK_ETHERNET = 1,
       LINK_RAW = 101,
       LINK_IPV4 = 228,
       LINK_IPV6 = 229,
};

enum { ETHERTYPE_IPV4 = 0x0800, ETHERTYPE_VLAN = 0x8100, ETHERTYPE_IPV6 = 0x86dd };
enum { TCP = 6, UDP = 17 };

/* Of a record (RFC 8446, 5.1), then of a handshake message: type, length, version, random. */
enum {
    RECORD_HANDSHAKE = 0x16,
    CLIENT_HELLO = 1,
    SERVER_HELLO = 2,
    AT_MESSAGE = 5,
    AT_RANDOM = AT_MESSAGE + 6,
};

#define QUIC_INITIAL_MIN 1200u /* bytes of a datagram: RFC 9000, 14.1 */

typedef struct Bytes {
    const uint8_t *at;
    size_t left;
} Bytes;

static bool skip(Bytes *bytes, size_t length)
{
    if (bytes->left < length) {
        return false;
    }
    bytes->at += length;
    bytes->left -= length;
    return true;
}

static unsigned load_be16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

static bool skip_ethernet(Bytes *bytes)
{
    if (bytes->left < 18) {
        return false;
    }
    unsigned type = load_be16(bytes->at + 12);
    size_t length = 14;
    if (type == ETHERTYPE_VLAN) {
        type = load_be16(bytes->at + 16);
        length = 18;
    }
    return (type == ETHERTYPE_IPV4 || type == ETHERTYPE_IPV6) && skip(bytes, length);
}

static bool skip_link(uint16_t link_type, Bytes *bytes)
{
    switch (link_type) {
    case LINK_ETHERNET:
        return skip_ethernet(bytes);
    case LINK_RAW:
    case LINK_IPV4:
    case LINK_IPV6:
        return true;
    default:
        return false;
    }
}

/* What is behind extension headers, or a later fragment, is not looked at. */
static bool skip_ip(Bytes *bytes, uint8_t *ret_protocol, TlsHelloFields *ret)
{
    const uint8_t *at = bytes->at;
    if (bytes->left >= 20 && bytes->at[0] >> 4 == 4) {
        size_t header = (size_t)(bytes->at[0] & 15) * 4;
        *ret_protocol = at[9];
        ret->from = at + 12;
        ret->to = at + 16;
        return header >= 20 && (load_be16(bytes->at + 6) & 0x1fff) == 0 && skip(bytes, header);
    }
    if (bytes->left >= 40 && bytes->at[0] >> 4 == 6) {
        *ret_protocol = at[6];
        ret->is_v6 = true;
        ret->from = at + 8;
        ret->to = at + 24;
        return skip(bytes, 40);
    }
    return false;
}

/* By the cipher suite, which stands behind the session id: 1301 to 1305 are those of TLS 1.3
 * (RFC 8446, B.4). */
static bool is_tls13_server(Bytes bytes)
{
    static const uint8_t retry[4] = {0xcf, 0x21, 0xad, 0x74}; /* RFC 8446, 4.1.3 */
    const size_t at_session = AT_RANDOM + TLS_HELLO_RANDOM_BYTES;
    if (bytes.left <= at_session || memcmp(bytes.at + AT_RANDOM, retry, sizeof(retry)) == 0) {
        return false;
    }
    size_t at_suite = at_session + 1 + bytes.at[at_session];
    return bytes.left >= at_suite + 2 && bytes.at[at_suite] == 0x13 &&
           bytes.at[at_suite + 1] >= 1 && bytes.at[at_suite + 1] <= 5;
}

#define EXTENSION_ECH 0xfe0du

/* Skips a vector that begins with its length, of `width` bytes. */
static bool skip_vector(Bytes *bytes, size_t width)
{
    if (bytes->left < width) {
        return false;
    }
    size_t length = width == 1 ? bytes->at[0] : load_be16(bytes->at);
    return skip(bytes, width) && skip(bytes, length);
}

bool tls_hello_may_be_outer(const uint8_t *random, const uint8_t *end)
{
    /* Before it stand the lengths of the record and, in three bytes, of the message. */
    const uint8_t *message = random - 2;
    size_t length = (size_t)message[-3] << 16 | load_be16(message - 2);
    size_t there = (size_t)(end - message);
    if (length > there || length + 4 > load_be16(message - 6)) {
        return true;
    }
    Bytes bytes = {message, length};
    if (!skip(&bytes, 2 + TLS_HELLO_RANDOM_BYTES) || !skip_vector(&bytes, 1) ||
        !skip_vector(&bytes, 2) || !skip_vector(&bytes, 1)) {
        return true;
    }
    if (bytes.left == 0) {
        return false; /* of TLS 1.2, without extensions */
    }
    if (!skip(&bytes, 2)) {
        return true;
    }
    while (bytes.left > 0) {
        if (bytes.left < 4 || load_be16(bytes.at) == EXTENSION_ECH || !skip(&bytes, 2) ||
            !skip_vector(&bytes, 2)) {
            return true;
        }
    }
    return false;
}

static TlsHello in_tcp(Bytes bytes, TlsHelloFields *ret)
{
    const uint8_t *tcp = bytes.at;
    size_t header = bytes.left >= 20 ? (size_t)(bytes.at[12] >> 4) * 4 : 0;
    if (header < 20 || !skip(&bytes, header) || bytes.left < AT_RANDOM + TLS_HELLO_RANDOM_BYTES) {
        return TLS_HELLO_NONE;
    }
    const uint8_t *record = bytes.at;
    if (record[0] != RECORD_HANDSHAKE || record[1] != 3 || record[2] > 4 ||
        record[AT_MESSAGE + 4] != 3) {
        return TLS_HELLO_NONE;
    }
    if (record[AT_MESSAGE] == SERVER_HELLO) {
        return is_tls13_server(bytes) ? TLS_HELLO_SERVER : TLS_HELLO_NONE;
    }
    if (record[AT_MESSAGE] != CLIENT_HELLO) {
        return TLS_HELLO_NONE;
    }
    ret->random = record + AT_RANDOM;
    ret->from_port = (uint16_t)load_be16(tcp);
    ret->to_port = (uint16_t)load_be16(tcp + 2);
    return TLS_HELLO_RANDOM;
}

static TlsHello in_udp(Bytes bytes)
{
    if (!skip(&bytes, 8) || bytes.left < 5) {
        return TLS_HELLO_NONE;
    }
    size_t length = load_be16(bytes.at - 4);
    const uint8_t *at = bytes.at;
    bool is_quic = length >= QUIC_INITIAL_MIN && (at[0] & 0xc0) == 0xc0 &&
                   (at[1] | at[2] | at[3] | at[4]) != 0;
    bool is_dtls = at[0] == RECORD_HANDSHAKE && at[1] == 0xfe;
    return is_quic || is_dtls ? TLS_HELLO_HIDDEN : TLS_HELLO_NONE;
}

TlsHello tls_hello_find(uint16_t link_type, const uint8_t *packet, size_t length,
                        TlsHelloFields *ret)
{
    Bytes bytes = {packet, length};
    uint8_t protocol;
    *ret = (TlsHelloFields){0};
    if (!skip_link(link_type, &bytes) || !skip_ip(&bytes, &protocol, ret)) {
        return TLS_HELLO_NONE;
    }
    return protocol == TCP ? in_tcp(bytes, ret) : protocol == UDP ? in_udp(bytes) : TLS_HELLO_NONE;
}
