// SPDX-License-Identifier: GPL-2.0-or-later
#include <glib.h>
#include <string.h>

#include "collector/packet.h"
#include "fixture.h"

static void assert_address(const IpAddress *address, const char *expected)
{
    char text[46];
    ip_address_format(address, text);
    g_assert_cmpstr(text, ==, expected);
}

static void test_tcp(void)
{
    uint8_t frame[FIXTURE_PACKET_MAX];
    size_t length = fixture_frame(&(FixturePacket){.src = "10.0.0.1",
                                                   .dst = "10.0.0.2",
                                                   .protocol = 6,
                                                   .src_port = 40000,
                                                   .dst_port = 80,
                                                   .tcp_flags = 2,
                                                   .tcp_seq = 0x01020304},
                                  frame);
    PacketInfo info;
    packet_parse(1, frame, length, &info);
    g_assert_true(info.is_ip && info.has_ports && !info.is_group && !info.is_fragment);
    assert_address(&info.src, "10.0.0.1");
    assert_address(&info.dst, "10.0.0.2");
    g_assert_cmpuint(info.src_port, ==, 40000);
    g_assert_cmpuint(info.dst_port, ==, 80);
    g_assert_cmpuint(info.tcp_flags, ==, PACKET_TCP_SYN);
    g_assert_cmpuint(info.tcp_seq, ==, 0x01020304);
    packet_parse(101, frame + 14, length - 14, &info);
    g_assert_cmpuint(info.dst_port, ==, 80);

    /* Cut anywhere: never more than is there. */
    for (size_t cut = 0; cut < length; cut++) {
        uint8_t *exact = g_memdup2(frame, cut);
        packet_parse(1, exact, cut, &info);
        g_assert_cmpint(info.is_ip, ==, cut >= 34);
        g_assert_cmpint(info.has_ports, ==, cut >= 38);
        g_free(exact);
    }
}

static void test_vlan(void)
{
    uint8_t frame[FIXTURE_PACKET_MAX], tagged[FIXTURE_PACKET_MAX + 8];
    size_t length = fixture_frame(
        &(FixturePacket){
            .src = "10.0.0.1", .dst = "10.0.0.2", .protocol = 17, .src_port = 1, .dst_port = 53},
        frame);
    memcpy(tagged, frame, 12);
    memcpy(tagged + 12, "\x88\xa8\x00\x01\x81\x00\x00\x02", 8);
    memcpy(tagged + 20, frame + 12, length - 12);
    PacketInfo info;
    packet_parse(1, tagged, length + 8, &info);
    g_assert_true(info.has_ports);
    g_assert_cmpuint(info.dst_port, ==, 53);
}

static void test_ipv6_extensions(void)
{
    uint8_t packet[80] = {0x60, [6] = 0, [7] = 64};
    packet[23] = 1;
    packet[39] = 2;
    packet[8] = packet[24] = 0xfd;
    packet[40] = 60; /* hop by hop, then destination options */
    packet[48] = 17; /* then UDP */
    memcpy(packet + 56, "\x12\x34\x00\x35", 4);
    PacketInfo info;
    packet_parse(101, packet, sizeof packet, &info);
    g_assert_cmpuint(info.protocol, ==, PACKET_UDP);
    g_assert_cmpuint(info.src_port, ==, 0x1234);
    g_assert_cmpuint(info.dst_port, ==, 53);
    assert_address(&info.src, "fd00::1");

    packet[40] = 0; /* hop by hop without end */
    packet[48] = 0;
    packet[57] = 255;
    packet_parse(101, packet, sizeof packet, &info);
    g_assert_true(info.is_ip && !info.has_ports);
}

static void test_others(void)
{
    const uint8_t arp[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, [12] = 8, 6};
    PacketInfo info;
    packet_parse(1, arp, sizeof arp, &info);
    g_assert_true(!info.is_ip && info.is_group);
    packet_parse(147, arp, sizeof arp, &info); /* a link type for private use */
    g_assert_false(info.is_ip);
}

static void test_fragments(void)
{
    PacketFragments *fragments = g_new0(PacketFragments, 1);
    uint8_t frame[FIXTURE_PACKET_MAX];
    FixturePacket packet = {.src = "10.0.0.1",
                            .dst = "10.0.0.2",
                            .protocol = 17,
                            .src_port = 1000,
                            .dst_port = 53,
                            .fragment_id = 7,
                            .more_fragments = true};
    PacketInfo info;
    packet_parse(1, frame, fixture_frame(&packet, frame), &info);
    g_assert_true(info.is_fragment && info.has_ports);
    packet_fragments_resolve(fragments, 1, &info);

    packet.fragment_offset = 100;
    packet.more_fragments = false;
    packet_parse(1, frame, fixture_frame(&packet, frame), &info);
    g_assert_true(info.is_fragment && !info.has_ports);
    PacketInfo elsewhere = info, other_id = info;
    packet_fragments_resolve(fragments, 1, &info);
    g_assert_true(info.has_ports);
    g_assert_cmpuint(info.dst_port, ==, 53);
    packet_fragments_resolve(fragments, 2, &elsewhere);
    g_assert_false(elsewhere.has_ports);
    other_id.fragment_id = 8;
    packet_fragments_resolve(fragments, 1, &other_id);
    g_assert_false(other_id.has_ports);
    g_free(fragments);
}

static void test_direction(void)
{
    const uint8_t flags[] = {1, 0, 2, 0, 'h', 'i', 0, 0, 2, 0, 4, 0, 2, 0, 0, 0, 0, 0, 0, 0};
    g_assert_cmpuint(packet_direction(flags, sizeof flags), ==, PCAPNG_DIRECTION_OUTBOUND);
    g_assert_cmpuint(packet_direction(flags, 8), ==, 0);
    g_assert_cmpuint(packet_direction(flags, 13), ==, 0);
    g_assert_cmpuint(packet_direction(NULL, 0), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/packet/tcp", test_tcp);
    g_test_add_func("/packet/vlan", test_vlan);
    g_test_add_func("/packet/ipv6-extensions", test_ipv6_extensions);
    g_test_add_func("/packet/others", test_others);
    g_test_add_func("/packet/fragments", test_fragments);
    g_test_add_func("/packet/direction", test_direction);
    return g_test_run();
}
