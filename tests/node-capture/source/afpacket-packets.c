// SPDX-License-Identifier: GPL-2.0-or-later
/* What is captured of which packet: bytes, direction, device, length. On veth pairs, lo and tun in
 * namespaces of our own. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/pcapng/pcapng.h"
#include "tests/node-capture/source/capture-log.h"
#include "tests/node-capture/source/netns.h"
#include "tests/node-capture/source/sender.h"

#define BUDGET   (32u << 20)
#define TARGET   7u
#define FRAMES   100u
#define ETHERNET 1u
#define RAW_IP   101u

static void send_from_inside(void *data)
{
    Sender sender;
    sender_open(&sender, "eth0", 200);
    sender_send(&sender, FRAMES);
    sender_close(&sender);
}

static void check_frames(const CaptureLog *log, guint first, uint32_t flags, uint32_t length)
{
    for (guint i = 0; i < FRAMES; i++) {
        const LoggedPacket *packet = capture_log_packet(log, first + i);
        g_assert_cmpint(sender_sequence(packet->data, packet->captured_length), ==, i);
        g_assert_cmpuint(packet->captured_length, ==, length);
        g_assert_cmpuint(packet->original_length, ==, length);
        g_assert_cmpuint(packet->flags, ==, flags);
        const LoggedInterface *interface = capture_log_interface(log, packet);
        g_assert_cmpstr(interface->device, ==, "eth0");
        g_assert_cmpuint(interface->link_type, ==, ETHERNET);
        g_assert_false(interface->loopback);
    }
}

static void test_both_directions(void)
{
    int pod = netns_new();
    netns_veth(pod, "veth0", "eth0");
    CaptureLog log;
    capture_log_open(&log, BUDGET);
    capture_log_add(&log, TARGET, pod);
    uint64_t start_ns = clock_unix_ns();
    Sender sender;
    sender_open(&sender, "veth0", 300);
    sender_send(&sender, FRAMES);
    sender_close(&sender);
    capture_log_settle(&log);
    g_assert_cmpuint(capture_log_count(&log), ==, FRAMES);
    check_frames(&log, 0, PCAPNG_DIRECTION_INBOUND, 300);

    netns_run(pod, send_from_inside, NULL);
    capture_log_settle(&log);
    g_assert_cmpuint(capture_log_count(&log), ==, 2 * FRAMES);
    check_frames(&log, FRAMES, PCAPNG_DIRECTION_OUTBOUND, 200);

    uint64_t before_ns = start_ns;
    for (guint i = 0; i < 2 * FRAMES; i++) {
        const LoggedPacket *packet = capture_log_packet(&log, i);
        g_assert_cmpuint(packet->time_ns, >=, before_ns);
        before_ns = packet->time_ns;
    }
    g_assert_cmpuint(before_ns, <=, clock_unix_ns());
    g_assert_cmpuint(log.interfaces->len, ==, 1);
    g_assert_cmpuint(log.lost, ==, 0);
    SourceTargetStats stats;
    log.source->ops->stats(log.source, TARGET, &stats);
    g_assert_cmpuint(stats.packets, ==, 2 * FRAMES);
    g_assert_cmpuint(stats.bytes, ==, FRAMES * (300 + 200));
    g_assert_cmpuint(stats.lost, ==, 0);
    capture_log_close(&log);
    close(pod);
}

static void talk_to_self(void *data)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, length), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&address, &length), ==, 0);
    for (unsigned i = 0; i < FRAMES; i++)
        g_assert_cmpint(sendto(fd, &i, sizeof i, 0, (struct sockaddr *)&address, length), ==,
                        sizeof i);
    close(fd);
}

static void test_loopback_once(void)
{
    int pod = netns_new();
    CaptureLog log;
    capture_log_open(&log, BUDGET);
    capture_log_add(&log, TARGET, pod);
    netns_run(pod, talk_to_self, NULL);
    capture_log_settle(&log);
    g_assert_cmpuint(capture_log_count(&log), ==, FRAMES);
    const uint32_t headers = 14 + 20 + 8;
    for (unsigned i = 0; i < FRAMES; i++) {
        const LoggedPacket *packet = capture_log_packet(&log, i);
        g_assert_cmpuint(packet->captured_length, ==, headers + sizeof i);
        g_assert_cmpmem(packet->data + headers, sizeof i, &i, sizeof i);
        const LoggedInterface *interface = capture_log_interface(&log, packet);
        g_assert_cmpstr(interface->device, ==, "lo");
        g_assert_true(interface->loopback);
        g_assert_cmpuint(interface->link_type, ==, ETHERNET);
    }
    capture_log_close(&log);
    close(pod);
}

/* A frame with an 802.1Q tag in its bytes; the receiving side takes the tag out of them. */
static void send_tagged(size_t length, uint8_t *frame)
{
    static const uint8_t head[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,    0,    0,
                                   0,    0,    1,    0x81, 0x00, 0x60, 0x2a, 0x88, 0xb5};
    for (size_t i = 0; i < length; i++)
        frame[i] = (uint8_t)i;
    memcpy(frame, head, sizeof head);
    Sender sender;
    sender_open(&sender, "veth0", 60);
    g_assert_cmpint(send(sender.fd, frame, length, 0), ==, length);
    sender_close(&sender);
}

static void test_vlan(void)
{
    int pod = netns_new();
    netns_veth(pod, "veth0", "eth0");
    CaptureLog log;
    capture_log_open(&log, BUDGET);
    capture_log_add(&log, TARGET, pod);
    uint8_t frame[400];
    send_tagged(sizeof frame, frame);
    capture_log_settle(&log);
    g_assert_cmpuint(capture_log_count(&log), ==, 1);
    const LoggedPacket *packet = capture_log_packet(&log, 0);
    g_assert_cmpmem(packet->data, packet->captured_length, frame, sizeof frame);
    g_assert_cmpuint(packet->original_length, ==, sizeof frame);

    /* The snap length counts the tag; a frame that is cut within the tag ends before it. */
    const struct {
        uint32_t snap_length, captured;
    } cuts[] = {{100, 100}, {17, 17}, {16, 16}, {15, 12}, {13, 12}, {12, 12}, {3, 3}};
    for (guint i = 0; i < G_N_ELEMENTS(cuts); i++) {
        log.source->ops->set_snap_length(log.source, cuts[i].snap_length);
        send_tagged(sizeof frame, frame);
        capture_log_settle(&log);
        g_assert_cmpuint(capture_log_count(&log), ==, i + 2);
        packet = capture_log_packet(&log, i + 1);
        g_assert_cmpmem(packet->data, packet->captured_length, frame, cuts[i].captured);
        g_assert_cmpuint(packet->original_length, ==, sizeof frame);
    }
    capture_log_close(&log);
    close(pod);
}

static void test_snap_length(void)
{
    int pods[2];
    CaptureLog log;
    capture_log_open(&log, BUDGET);
    for (uint32_t i = 0; i < 2; i++) {
        pods[i] = netns_new();
        g_autofree char *outside = g_strdup_printf("veth%u", i);
        netns_veth(pods[i], outside, "eth0");
    }
    capture_log_add(&log, 0, pods[0]);
    g_assert_cmpint(log.source->ops->set_snap_length(log.source, 96), ==, 0);
    capture_log_add(&log, 1, pods[1]); /* holds for later ones as well */
    Sender senders[2];
    for (int i = 0; i < 2; i++) {
        sender_open(&senders[i], i ? "veth1" : "veth0", 1400);
        sender_send(&senders[i], 1);
    }
    capture_log_settle(&log);
    g_assert_cmpuint(capture_log_count(&log), ==, 2);
    for (guint i = 0; i < 2; i++) {
        const LoggedPacket *packet = capture_log_packet(&log, i);
        g_assert_cmpuint(packet->captured_length, ==, 96);
        g_assert_cmpuint(packet->original_length, ==, 1400);
        g_assert_cmpint(sender_sequence(packet->data, 96), ==, 0);
    }
    g_assert_cmpint(log.source->ops->set_snap_length(log.source, 0), ==, 0);
    sender_send(&senders[0], 1);
    capture_log_settle(&log);
    g_assert_cmpuint(capture_log_packet(&log, 2)->captured_length, ==, 1400);
    for (int i = 0; i < 2; i++) {
        sender_close(&senders[i]);
        close(pods[i]);
    }
    capture_log_close(&log);
}

#define STREAM_BYTES (8u << 20)

static void *receive_stream(void *data)
{
    int fd = accept(GPOINTER_TO_INT(data), NULL, NULL);
    g_assert_cmpint(fd, >=, 0);
    static uint8_t buffer[1 << 16];
    size_t received = 0;
    ssize_t count;
    while ((count = read(fd, buffer, sizeof buffer)) > 0)
        received += (size_t)count;
    close(fd);
    return GSIZE_TO_POINTER(received);
}

static void listen_inside(void *data)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(80)};
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    *(int *)data = fd;
}

static void send_stream(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(80)};
    inet_pton(AF_INET, "10.9.0.2", &address.sin_addr);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    g_autofree uint8_t *bytes = g_malloc0(STREAM_BYTES);
    for (size_t done = 0; done < STREAM_BYTES;) {
        ssize_t count = write(fd, bytes + done, STREAM_BYTES - done);
        g_assert_cmpint(count, >, 0);
        done += (size_t)count;
    }
    close(fd);
}

/* A piece of a connection's one direction, by sequence numbers relative to the SYN's. */
typedef struct Piece {
    uint32_t begin, end;
} Piece;

static gint compare_pieces(gconstpointer a, gconstpointer b)
{
    const Piece *one = a, *other = b;
    return one->begin < other->begin ? -1 : one->begin > other->begin;
}

static bool is_tcp_inbound(const LoggedPacket *packet)
{
    return packet->flags == PCAPNG_DIRECTION_INBOUND && packet->data[12] == 0x08 &&
           packet->data[13] == 0x00 && packet->data[23] == IPPROTO_TCP;
}

/* Bytes without a hole from the first on. They may have come in any order, and TCP may have sent
 * some again. */
static uint32_t stream_length(const CaptureLog *log)
{
    g_autoptr(GArray) pieces = g_array_new(FALSE, FALSE, sizeof(Piece));
    uint32_t first = 0;
    for (guint i = 0; i < log->packets->len; i++) {
        const LoggedPacket *packet = capture_log_packet(log, i);
        if (!is_tcp_inbound(packet))
            continue;
        struct tcphdr tcp;
        const uint32_t offset = 14 + 20;
        memcpy(&tcp, packet->data + offset, sizeof tcp);
        if (tcp.syn)
            first = ntohl(tcp.seq) + 1;
        Piece piece = {.begin = ntohl(tcp.seq) + tcp.syn - first};
        piece.end = piece.begin + packet->captured_length - offset - tcp.doff * 4u;
        g_array_append_val(pieces, piece);
    }
    g_array_sort(pieces, compare_pieces);
    uint32_t length = 0;
    for (guint i = 0; i < pieces->len; i++) {
        const Piece *piece = &g_array_index(pieces, Piece, i);
        if (piece->begin <= length)
            length = MAX(length, piece->end);
    }
    return length;
}

static void test_gso_whole(void)
{
    int pod = netns_new();
    netns_veth(pod, "veth0", "eth0");
    netns_shell(-1, "ip addr add 10.9.0.1/24 dev veth0");
    netns_shell(pod, "ip addr add 10.9.0.2/24 dev eth0");
    CaptureLog log;
    capture_log_open(&log, 256u << 20);
    capture_log_add(&log, TARGET, pod);
    capture_log_await_ring(&log, TARGET, 16u << 20); /* nobody serves it while the bytes are sent */
    int listener;
    netns_run(pod, listen_inside, &listener);
    GThread *receiver = g_thread_new("receiver", receive_stream, GINT_TO_POINTER(listener));
    send_stream();
    g_assert_cmpuint(GPOINTER_TO_SIZE(g_thread_join(receiver)), ==, STREAM_BYTES);
    capture_log_settle(&log);
    uint32_t largest = 0;
    for (guint i = 0; i < log.packets->len; i++) {
        const LoggedPacket *packet = capture_log_packet(&log, i);
        g_assert_cmpuint(packet->captured_length, ==, packet->original_length);
        largest = MAX(largest, packet->captured_length);
    }
    g_assert_cmpuint(stream_length(&log), ==, STREAM_BYTES);
    g_assert_cmpuint(largest, >, 30000); /* the kernel does build such */
    g_assert_cmpuint(log.lost, ==, 0);
    close(listener);
    capture_log_close(&log);
    close(pod);
}

static void test_later_device(void)
{
    int pod = netns_new();
    CaptureLog log;
    capture_log_open(&log, BUDGET);
    capture_log_add(&log, TARGET, pod);
    capture_log_settle(&log);
    netns_veth(pod, "veth0", "net1");
    Sender sender;
    sender_open(&sender, "veth0", 100);
    sender_send(&sender, 3);
    capture_log_settle(&log);
    g_assert_cmpuint(capture_log_count(&log), ==, 3);
    g_assert_cmpstr(capture_log_interface(&log, capture_log_packet(&log, 0))->device, ==, "net1");
    sender_close(&sender);

    /* Gone before anyone asked for its name. */
    netns_veth(pod, "veth1", "net2");
    sender_open(&sender, "veth1", 100);
    sender_send(&sender, 1);
    sender_close(&sender);
    netns_shell(-1, "ip link del veth1");
    capture_log_settle(&log);
    g_assert_cmpuint(capture_log_count(&log), ==, 4);
    const char *name = capture_log_interface(&log, capture_log_packet(&log, 3))->device;
    g_assert_true(g_str_has_prefix(name, "if"));
    capture_log_close(&log);
    close(pod);
}

/* A tun device of some ARPHRD_ kind, up. */
typedef struct Tun {
    int hatype, fd;
} Tun;

static void open_tun(void *data)
{
    Tun *tun = data;
    tun->fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    g_assert_cmpint(tun->fd, >=, 0);
    struct ifreq request = {.ifr_name = "tun0", .ifr_flags = IFF_TUN | IFF_NO_PI};
    g_assert_cmpint(ioctl(tun->fd, TUNSETIFF, &request), ==, 0);
    g_assert_cmpint(ioctl(tun->fd, TUNSETLINK, (unsigned long)tun->hatype), ==, 0);
}

static const uint8_t ip_packet[28] = {0x45, 0, 0,  28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1,
                                      0,    1, 10, 1,  0, 2, 0, 1, 0,  2,  0, 8, 0,  0};

static void write_tun(CaptureLog *log, int hatype, unsigned count)
{
    int pod = netns_new();
    capture_log_open(log, BUDGET);
    capture_log_add(log, TARGET, pod);
    Tun tun = {.hatype = hatype};
    netns_run(pod, open_tun, &tun);
    netns_shell(pod, "ip link set tun0 up");
    for (unsigned i = 0; i < count; i++)
        g_assert_cmpint(write(tun.fd, ip_packet, sizeof ip_packet), ==, sizeof ip_packet);
    capture_log_settle(log);
    close(tun.fd);
    close(pod);
}

static void test_raw_ip(void)
{
    CaptureLog log;
    write_tun(&log, ARPHRD_NONE, 1);
    g_assert_cmpuint(capture_log_count(&log), ==, 1);
    const LoggedPacket *packet = capture_log_packet(&log, 0);
    g_assert_cmpmem(packet->data, packet->captured_length, ip_packet, sizeof ip_packet);
    g_assert_cmpuint(capture_log_interface(&log, packet)->link_type, ==, RAW_IP);
    capture_log_close(&log);
}

/* What has no link type of ours is no packet, but it is not passed over in silence. */
static void test_inexpressible(void)
{
    CaptureLog log;
    write_tun(&log, ARPHRD_INFINIBAND, 5);
    g_assert_cmpuint(capture_log_count(&log), ==, 0);
    g_assert_cmpuint(log.interfaces->len, ==, 0);
    g_assert_cmpuint(log.lost, ==, 5);
    capture_log_close(&log);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!netns_enter_own())
        return 77;
    g_test_add_func("/source/afpacket/both-directions", test_both_directions);
    g_test_add_func("/source/afpacket/loopback-once", test_loopback_once);
    g_test_add_func("/source/afpacket/vlan", test_vlan);
    g_test_add_func("/source/afpacket/snap-length", test_snap_length);
    g_test_add_func("/source/afpacket/gso-whole", test_gso_whole);
    g_test_add_func("/source/afpacket/later-device", test_later_device);
    g_test_add_func("/source/afpacket/raw-ip", test_raw_ip);
    g_test_add_func("/source/afpacket/inexpressible", test_inexpressible);
    return g_test_run();
}
