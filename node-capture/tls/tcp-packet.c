// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/tcp-packet.h"

#include <string.h>

#define IPV4_LENGTH  20u
#define IPV6_LENGTH  40u
#define TCP_LENGTH   20u
#define SYN_OPTIONS  8u
#define PROTOCOL_TCP 6u
#define HOPS         64u
#define WINDOW_SCALE 14u /* RFC 7323: the largest, so that no window is ever seen to be full */

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value & 0xffff);
}

/* RFC 1071. Sums of 32-bit words in the host's order fold to the same as those of 16-bit words. */
static uint64_t add_bytes(uint64_t sum, const uint8_t *bytes, size_t length)
{
    uint32_t word;
    for (; length >= sizeof word; bytes += sizeof word, length -= sizeof word) {
        memcpy(&word, bytes, sizeof word);
        sum += word;
    }
    word = 0;
    memcpy(&word, bytes, length);
    return sum + word;
}

static void put_checksum(uint8_t *at, uint64_t sum)
{
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    uint16_t checksum = (uint16_t)~sum;
    memcpy(at, &checksum, sizeof checksum);
}

static size_t put_ipv4(uint8_t *out, const TcpPacket *packet, size_t tcp_length)
{
    memset(out, 0, IPV4_LENGTH);
    out[0] = 0x45;
    put16(out + 2, (uint32_t)(IPV4_LENGTH + tcp_length));
    out[6] = 0x40; /* is not to be fragmented */
    out[8] = HOPS;
    out[9] = PROTOCOL_TCP;
    memcpy(out + 12, packet->src->bytes, 4);
    memcpy(out + 16, packet->dst->bytes, 4);
    put_checksum(out + 10, add_bytes(0, out, IPV4_LENGTH));
    return IPV4_LENGTH;
}

static size_t put_ipv6(uint8_t *out, const TcpPacket *packet, size_t tcp_length)
{
    memset(out, 0, IPV6_LENGTH);
    out[0] = 0x60;
    put16(out + 4, (uint32_t)tcp_length);
    out[6] = PROTOCOL_TCP;
    out[7] = HOPS;
    memcpy(out + 8, packet->src->bytes, 16);
    memcpy(out + 24, packet->dst->bytes, 16);
    return IPV6_LENGTH;
}

static void put_syn_options(uint8_t *out)
{
    static const uint8_t scale[] = {1, 3, 3, WINDOW_SCALE}; /* behind one byte of filling */
    out[0] = 2;
    out[1] = 4;
    put16(out + 2, TCP_PACKET_DATA_MAX);
    memcpy(out + 4, scale, sizeof scale);
}

static uint64_t pseudo_header(const TcpPacket *packet, size_t tcp_length)
{
    uint8_t tail[8] = {[7] = PROTOCOL_TCP};
    put32(tail, (uint32_t)tcp_length);
    size_t address = packet->is_v6 ? 16 : 4;
    uint64_t sum = add_bytes(0, packet->src->bytes, address);
    sum = add_bytes(sum, packet->dst->bytes, address);
    return add_bytes(sum, tail, sizeof tail);
}

size_t tcp_packet_write(uint8_t *out, const TcpPacket *packet)
{
    size_t header = TCP_LENGTH + (packet->flags & TCP_SYN ? SYN_OPTIONS : 0);
    size_t tcp_length = header + packet->length;
    size_t at =
        packet->is_v6 ? put_ipv6(out, packet, tcp_length) : put_ipv4(out, packet, tcp_length);
    uint8_t *tcp = out + at;
    memset(tcp, 0, TCP_LENGTH);
    put16(tcp, packet->src->port);
    put16(tcp + 2, packet->dst->port);
    put32(tcp + 4, packet->seq);
    put32(tcp + 8, packet->flags & TCP_ACK ? packet->ack : 0);
    tcp[12] = (uint8_t)(header / 4 << 4);
    tcp[13] = packet->flags;
    put16(tcp + 14, 0xffff);
    if (packet->flags & TCP_SYN) {
        put_syn_options(tcp + TCP_LENGTH);
    }
    if (packet->length) {
        memcpy(tcp + header, packet->data, packet->length);
    }
    put_checksum(tcp + 16, add_bytes(pseudo_header(packet, tcp_length), tcp, tcp_length));
    return at + tcp_length;
}
