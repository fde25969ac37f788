// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts what remora-blast sent in a capture file, by sequence number: pcap or pcapng, "-" for
 * standard input. */
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <pcap/pcap.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <glib.h>

#define SEQUENCE_OFFSET (sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct udphdr))
#define SEQUENCE_MAX    (1ull << 33) /* a bit each: 1 GB */

typedef struct Tally {
    uint16_t port;
    GByteArray *seen; /* one bit for each sequence number */
    uint64_t packets, ours, distinct, duplicates, bytes;
} Tally;

static bool has_sequence(const Tally *tally, const struct pcap_pkthdr *header, const u_char *data,
                         uint64_t *ret_sequence)
{
    if (header->caplen < SEQUENCE_OFFSET + sizeof *ret_sequence || data[12] != 0x08 ||
        data[13] != 0x00 || data[14] != 0x45 || data[23] != IPPROTO_UDP)
        return false;
    const u_char *udp = data + sizeof(struct ethhdr) + sizeof(struct iphdr);
    if ((udp[2] << 8 | udp[3]) != tally->port)
        return false;
    memcpy(ret_sequence, data + SEQUENCE_OFFSET, sizeof *ret_sequence);
    *ret_sequence = GUINT64_FROM_BE(*ret_sequence);
    return *ret_sequence < SEQUENCE_MAX;
}

static void count(u_char *user, const struct pcap_pkthdr *header, const u_char *data)
{
    Tally *tally = (Tally *)user;
    tally->packets++;
    tally->bytes += header->caplen;
    uint64_t sequence;
    if (!has_sequence(tally, header, data, &sequence))
        return;
    tally->ours++;
    guint byte = (guint)(sequence / 8), old = tally->seen->len;
    if (byte >= old) {
        g_byte_array_set_size(tally->seen, MAX(byte + 1, 2 * old));
        memset(tally->seen->data + old, 0, tally->seen->len - old);
    }
    uint8_t bit = (uint8_t)(1u << sequence % 8);
    if (tally->seen->data[byte] & bit)
        tally->duplicates++;
    else
        tally->distinct++;
    tally->seen->data[byte] |= bit;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fputs("usage: remora-tally FILE [DESTINATION-PORT]\n", stderr);
        return 2;
    }
    char message[PCAP_ERRBUF_SIZE];
    pcap_t *pcap = pcap_open_offline(argv[1], message);
    if (!pcap) {
        fprintf(stderr, "remora-tally: %s\n", message);
        return 1;
    }
    Tally tally = {
        .port = argc == 3 ? (uint16_t)g_ascii_strtoull(argv[2], NULL, 10) : 9999,
        .seen = g_byte_array_new(),
    };
    int result = pcap_loop(pcap, -1, count, (u_char *)&tally);
    if (result < 0)
        fprintf(stderr, "remora-tally: %s: %s\n", argv[1], pcap_geterr(pcap));
    printf("{\"packets\": %" G_GUINT64_FORMAT ", \"numbered\": %" G_GUINT64_FORMAT
           ", \"distinct\": %" G_GUINT64_FORMAT ", \"duplicates\": %" G_GUINT64_FORMAT
           ", \"bytes\": %" G_GUINT64_FORMAT "}\n",
           tally.packets, tally.ours, tally.distinct, tally.duplicates, tally.bytes);
    pcap_close(pcap);
    g_byte_array_unref(tally.seen);
    return result < 0 ? 1 : 0;
}
