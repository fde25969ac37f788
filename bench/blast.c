// SPDX-License-Identifier: GPL-2.0-or-later
/* Sends numbered UDP datagrams at a steady rate, past sockets, routing and queueing disciplines:
 * the load of our benchmarks and conservation tests. The payload begins with a 64-bit sequence
 * number (network order), which remora-tally counts. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/options.h"

#define BURST     64u
#define DEVICES   1024u
#define FRAME_MAX 65535u
/* Below this a sleep would come back too late. */
#define SPIN_NS 120000u

typedef struct Header {
    struct ethhdr ethernet;
    struct iphdr ip;
    struct udphdr udp;
    uint64_t sequence;
} __attribute__((packed)) Header;

typedef struct Values {
    bool help;
    char **devices;
    uint64_t length, count, rate, first;
    char *source, *destination, *source_mac, *destination_mac;
    uint64_t source_port, destination_port;
} Values;

static const Option options[] = {
    {"help", 'h', OPTION_FLAG, NULL, NULL, "show this help", .offset = offsetof(Values, help)},
    {"device", 'd', OPTION_LIST, "DEVICE[,...]", NULL, "send out of these, in turn",
     .offset = offsetof(Values, devices)},
    {"length", 'l', OPTION_UINT, "BYTES", "64", "frame length with the Ethernet header",
     .minimum = sizeof(Header), .maximum = FRAME_MAX, .offset = offsetof(Values, length)},
    {"count", 'c', OPTION_UINT, "N", "1000000", "frames to send",
     .offset = offsetof(Values, count)},
    {"rate", 'r', OPTION_UINT, "N", "0", "frames a second; 0: as fast as it goes",
     .offset = offsetof(Values, rate)},
    {"first", 'f', OPTION_UINT, "N", "0", "first sequence number",
     .offset = offsetof(Values, first)},
    {"source", 0, OPTION_STRING, "IP", "10.244.255.1", "source address",
     .offset = offsetof(Values, source)},
    {"destination", 0, OPTION_STRING, "IP", "10.244.255.2", "destination address",
     .offset = offsetof(Values, destination)},
    {"source-port", 0, OPTION_UINT, "N", "9998", "source port", .maximum = 65535,
     .offset = offsetof(Values, source_port)},
    {"destination-port", 0, OPTION_UINT, "N", "9999", "destination port", .maximum = 65535,
     .offset = offsetof(Values, destination_port)},
    {"source-mac", 0, OPTION_STRING, "MAC", "02:00:00:00:00:01", "source MAC address",
     .offset = offsetof(Values, source_mac)},
    {"destination-mac", 0, OPTION_STRING, "MAC", "02:00:00:00:00:99",
     "destination MAC address; the default is nobody's, so that no stack answers",
     .offset = offsetof(Values, destination_mac)},
    {0},
};

static const OptionTable table = {
    .program = "remora-blast",
    .summary = "send numbered UDP datagrams at a steady rate",
    .usage = "--device DEVICE[,...] [OPTION...]",
    .options = options,
};

typedef struct Blast {
    int fd;
    uint32_t length;
    int devices[DEVICES];
    unsigned device_count;
    Header headers[BURST];
    struct sockaddr_ll addresses[BURST];
    struct iovec parts[BURST][2];
    struct mmsghdr messages[BURST];
} Blast;

static void fail(const char *what)
{
    fprintf(stderr, "remora-blast: %s\n", what);
    exit(2);
}

static uint16_t ip_checksum(const struct iphdr *ip)
{
    uint16_t words[sizeof *ip / 2];
    memcpy(words, ip, sizeof words);
    uint32_t sum = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
        sum += words[i];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static in_addr_t parse_ip(const char *text, const char *option)
{
    struct in_addr address;
    if (inet_pton(AF_INET, text, &address) != 1) {
        fprintf(stderr, "remora-blast: %s %s: no IPv4 address\n", option, text);
        exit(2);
    }
    return address.s_addr;
}

static void parse_mac(const char *text, const char *option, uint8_t ret[ETH_ALEN])
{
    struct ether_addr mac;
    if (!ether_aton_r(text, &mac)) {
        fprintf(stderr, "remora-blast: %s %s: no MAC address\n", option, text);
        exit(2);
    }
    memcpy(ret, &mac, ETH_ALEN);
}

static Header make_header(const Values *values)
{
    uint16_t ip_length = (uint16_t)(values->length - sizeof(struct ethhdr));
    struct iphdr ip = {
        .version = 4,
        .ihl = sizeof ip / 4,
        .tot_len = htons(ip_length),
        .ttl = 64,
        .protocol = IPPROTO_UDP,
        .saddr = parse_ip(values->source, "--source"),
        .daddr = parse_ip(values->destination, "--destination"),
    };
    ip.check = ip_checksum(&ip);
    Header header = {
        .ethernet.h_proto = htons(ETH_P_IP),
        .ip = ip,
        .udp = {.source = htons((uint16_t)values->source_port),
                .dest = htons((uint16_t)values->destination_port),
                .len = htons((uint16_t)(ip_length - sizeof ip))},
    };
    parse_mac(values->source_mac, "--source-mac", header.ethernet.h_source);
    parse_mac(values->destination_mac, "--destination-mac", header.ethernet.h_dest);
    return header;
}

static void find_devices(Blast *blast, char **names)
{
    for (; names && *names; names++) {
        if (blast->device_count == DEVICES)
            fail("too many devices");
        int index = (int)if_nametoindex(*names);
        if (!index) {
            fprintf(stderr, "remora-blast: --device %s: %s\n", *names, strerror(errno));
            exit(2);
        }
        blast->devices[blast->device_count++] = index;
    }
    if (!blast->device_count)
        fail("--device is missing, see --help");
}

static void open_socket(Blast *blast)
{
    blast->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    int on = 1;
    if (blast->fd < 0 ||
        setsockopt(blast->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) < 0) {
        perror("remora-blast: packet socket");
        exit(1);
    }
}

static void prepare(Blast *blast, const Values *values)
{
    static uint8_t filler[FRAME_MAX];
    const Header header = make_header(values);
    blast->length = (uint32_t)values->length;
    for (unsigned i = 0; i < BURST; i++) {
        blast->headers[i] = header;
        blast->addresses[i] = (struct sockaddr_ll){.sll_family = AF_PACKET, .sll_halen = ETH_ALEN};
        blast->parts[i][0] = (struct iovec){&blast->headers[i], sizeof header};
        blast->parts[i][1] = (struct iovec){filler, blast->length - sizeof header};
        blast->messages[i].msg_hdr = (struct msghdr){
            .msg_name = &blast->addresses[i],
            .msg_namelen = sizeof blast->addresses[i],
            .msg_iov = blast->parts[i],
            .msg_iovlen = 2,
        };
    }
}

static void wait_until(uint64_t due_ns)
{
    uint64_t now;
    while ((now = clock_monotonic_ns()) < due_ns) {
        if (due_ns - now < SPIN_NS)
            continue;
        uint64_t sleep_ns = due_ns - now - SPIN_NS / 2;
        const struct timespec pause = {(time_t)(sleep_ns / 1000000000u),
                                       (long)(sleep_ns % 1000000000u)};
        nanosleep(&pause, NULL);
    }
}

/* Sends up to `count` frames from sequence number `first` on; returns how many went out. */
static unsigned send_burst(Blast *blast, uint64_t first, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        blast->headers[i].sequence = GUINT64_TO_BE(first + i);
        blast->addresses[i].sll_ifindex = blast->devices[(first + i) % blast->device_count];
    }
    int sent = sendmmsg(blast->fd, blast->messages, count, 0);
    if (sent >= 0)
        return (unsigned)sent;
    if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR) {
        perror("remora-blast: sendmmsg");
        exit(1);
    }
    return 0;
}

static void run(Blast *blast, const Values *values)
{
    uint64_t start = clock_monotonic_ns(), sent = 0;
    /* At low rates smaller bursts, so that frames come evenly. */
    uint64_t burst = values->rate ? CLAMP(values->rate / 2000, 1, BURST) : BURST;
    while (sent < values->count) {
        if (values->rate)
            wait_until(start + (uint64_t)((double)sent / (double)values->rate * 1e9));
        sent += send_burst(blast, values->first + sent, (unsigned)MIN(burst, values->count - sent));
    }
    double seconds = (double)(clock_monotonic_ns() - start) / 1e9;
    printf("{\"sent\": %" G_GUINT64_FORMAT ", \"seconds\": %.3f, \"rate\": %.0f}\n", sent, seconds,
           seconds > 0 ? (double)sent / seconds : 0);
}

int main(int argc, char **argv)
{
    Values values = {0};
    char **operands;
    g_autoptr(GError) error = NULL;
    if (!options_parse(&table, argc, argv, NULL, false, &values, &operands, &error))
        fail(error->message);
    if (values.help) {
        options_print_help(&table, stdout);
        return 0;
    }
    static Blast blast;
    find_devices(&blast, values.devices);
    open_socket(&blast);
    prepare(&blast, &values);
    run(&blast, &values);
    close(blast.fd);
    options_clear(&table, &values);
    return 0;
}
