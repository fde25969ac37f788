#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""remoradump --annotate: packets that tcpdump captured, named from what kubectl prints."""
import ipaddress
import json
import os
import struct
import unittest

from remoradump import Case, PACKET, REAL, blocks

ENTERPRISE = 32473  # docs/pcapng-identity.md
WEB, CART, OUTSIDE = "10.1.0.5", "10.1.1.7", "203.0.113.9"


def pod(namespace, name, ip):
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": namespace, "name": name, "uid": f"uid-{name}"},
            "spec": {"nodeName": "node-a", "containers": [{"name": "main", "image": "nginx"}]},
            "status": {"podIP": ip, "podIPs": [{"ip": ip}], "phase": "Running"}}


def udp_packet(src, dst, payload):
    udp = struct.pack(">HHHH", 40000, 7777, 8 + len(payload), 0) + payload
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0,
                     ipaddress.IPv4Address(src).packed, ipaddress.IPv4Address(dst).packed)
    return bytes(12) + b"\x08\x00" + ip + udp


def pcap(packets):
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
    for i, packet in enumerate(packets):
        data += struct.pack("<IIII", 1700000000, i, len(packet), len(packet)) + packet
    return data


def epb(block):
    """(packet, {option code: [values]}) of an Enhanced Packet Block."""
    length = struct.unpack_from("<I", block, 20)[0]
    options, at = {}, 28 + (length + 3) // 4 * 4
    while at + 4 <= len(block) - 4:
        code, size = struct.unpack_from("<HH", block, at)
        if code == 0:
            break
        options.setdefault(code, []).append(block[at + 4:at + 4 + size])
        at += 4 + (size + 3) // 4 * 4
    return block[28:28 + length], options


class Annotate(Case):
    def setUp(self):
        super().setUp()
        self.inventory = self.write("inventory.json", json.dumps(
            {"apiVersion": "v1", "kind": "List", "items": [pod("shop", "web", WEB), pod("shop", "cart", CART)]}))
        self.packets = [udp_packet(WEB, CART, b"one"), udp_packet(CART, WEB, b"two!"),
                        udp_packet(OUTSIDE, WEB, b"three")]
        self.source = self.write("in.pcap", pcap(self.packets))

    def annotate(self, source, target, *options, **kwargs):
        return self.run_it("--annotate", source, target, "--inventory", self.inventory, *options, program=REAL, **kwargs)

    def read(self, path):
        with open(path, "rb") as file:
            return [epb(block) for kind, block in blocks(file.read()) if kind == PACKET]

    def identities(self, path):
        result = []
        for _, options in self.read(path):
            values = [v for v in options.get(2989, []) if v[:4] == struct.pack("<I", ENTERPRISE)]
            self.assertEqual(len(values), 1)
            result.append(values[0])
        return result

    def test_names_both_ends(self):
        result = self.annotate(self.source, self.path("out.pcapng"))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("3 packets", result.stderr)
        self.assertEqual([packet for packet, _ in self.read(self.path("out.pcapng"))], self.packets)
        first, second, third = self.identities(self.path("out.pcapng"))
        for identity, names in ((first, (b"web", b"cart", b"shop")), (second, (b"web", b"cart")), (third, (b"web",))):
            for name in names:
                self.assertIn(name, identity)
        self.assertNotIn(b"cart", third)

    def test_comments(self):
        self.annotate(self.source, self.path("out.pcapng"), "--comments")
        _, options = self.read(self.path("out.pcapng"))[0]
        self.assertIn(b"shop/web", options[1][0])

    def test_standard_output(self):
        result = self.annotate(self.source, "-", text=False)
        self.assertEqual(result.returncode, 0)
        self.assertEqual(sum(kind == PACKET for kind, _ in blocks(result.stdout)), 3)

    def test_torn_input_keeps_what_came_before(self):
        torn = self.write("torn.pcap", pcap(self.packets)[:-3])
        self.assert_fails(self.annotate(torn, self.path("out.pcapng")), "torn.pcap")
        self.assertEqual([packet for packet, _ in self.read(self.path("out.pcapng"))], self.packets[:2])

    def test_refused(self):
        out = self.path("out.pcapng")
        self.assert_fails(self.annotate(self.source, self.source), "same file")
        self.assert_fails(self.run_it("--annotate", self.source, program=REAL), "IN and OUT")
        self.assert_fails(self.run_it("--annotate", self.source, out, program=REAL), "--inventory", "kubectl get")
        self.assert_fails(self.annotate(self.path("none"), out), self.path("none"))
        self.assertNotIn("written", self.annotate(self.path("none"), out).stderr)
        broken = self.write("broken.json", '{"kind": "List",\n"items": [}')
        self.assert_fails(self.run_it("--annotate", self.source, out, "--inventory", broken, program=REAL), broken, "2")
        self.assertFalse(os.path.exists(out))


if __name__ == "__main__":
    unittest.main()
