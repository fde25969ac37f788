#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The k8s.* fields: values, filters, tables, attributes, and that nothing else changes."""
import json
import os
import re
import struct

from annotated import (EXTERNAL, NODE, SERVICE, UNKNOWN, Pcapng, WiresharkTest, arp, ethernet,
                       identity, ipv4, ipv6, main, pod, tcp, tcp_segment, tlv, udp)

FRONTEND = pod("shop", "frontend-xyz", entity=0x1111, node="node-a", owner_type="Deployment",
               owner_name="frontend", container="nginx", process_name="nginx", process_pid=4242)
CATALOG = pod("shop", "catalog-abc", entity=0x2222, node="node-b", service="catalog")
WHERE = {"cluster": "lab", "capture_node": "node-a", "capture_device": "eth0",
         "capture_pod": "shop/frontend-xyz", "l7": "http"}
REQUEST = b"GET /items HTTP/1.1\r\nHost: catalog\r\n\r\n"
ANSWER = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


def shop(order="<"):
    """1, 2: a call; 3: to the outside; 4: to a ClusterIP; 5: from a node; 6: nothing known; 7: bare."""
    return (
        Pcapng(order).interface("lab/node-a")
        .packet(tcp("10.1.0.1", "10.1.0.2", 40000, 80, payload=REQUEST),
                identity(FRONTEND, CATALOG, WHERE))
        .packet(tcp("10.1.0.2", "10.1.0.1", 80, 40000, seq=1, ack=1 + len(REQUEST), payload=ANSWER),
                identity(CATALOG, FRONTEND, WHERE))
        .packet(udp("10.1.0.2", "198.51.100.7", 9999, 9999, b"x"),
                identity(CATALOG, {"type": EXTERNAL}))
        .packet(tcp("10.1.0.1", "10.96.0.7", 40001, 6379, flags=2),
                identity(FRONTEND, {"type": SERVICE, "namespace": "shop", "service": "cache"}))
        .packet(tcp("192.168.7.7", "10.1.0.1", 40002, 80, flags=2),
                identity({"type": NODE, "node": "node-b"}, FRONTEND))
        .packet(arp(), identity(FRONTEND, {"type": UNKNOWN}))
        .packet(udp("10.1.0.9", "10.1.0.8", 1, 2, b"bare"))
    )


class Fields(WiresharkTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.file = cls.write("shop.pcapng", shop())

    def test_every_core_field(self):
        expected = {
            "name": "shop/frontend-xyz", "type": "1", "namespace.name": "shop",
            "pod.name": "frontend-xyz", "node.name": "node-a", "owner.type": "Deployment",
            "owner.name": "frontend", "container.name": "nginx", "process.name": "nginx",
            "process.pid": "4242", "service.name": "", "service.namespace": "", "label": "",
            "pod.uid": "", "container.image": "",
        }
        names = list(expected)
        rows = self.fields(self.file, *[f"k8s.src.{n}" for n in names], where="frame.number == 1")
        self.assertEqual(dict(zip(names, rows[0])), expected)
        # The same pod answers in packet 2, so it is the destination there.
        rows = self.fields(self.file, *[f"k8s.dst.{n}" for n in names], where="frame.number == 2")
        self.assertEqual(dict(zip(names, rows[0])), expected)

    def test_fields_of_the_packet(self):
        rows = self.fields(self.file, "k8s.cluster.name", "k8s.capture.node.name",
                           "k8s.capture.device", "k8s.capture.pod.name", "k8s.l7")
        self.assertEqual(rows[0], ("lab", "node-a", "eth0", "shop/frontend-xyz", "http"))
        self.assertEqual(rows[2], ("", "", "", "", ""))

    def test_names_by_type(self):
        self.assertEqual(self.fields(self.file, "k8s.src.name", "k8s.src.type", "k8s.dst.name",
                                     "k8s.dst.type"), [
            ("shop/frontend-xyz", "1", "shop/catalog-abc", "1"),
            ("shop/catalog-abc", "1", "shop/frontend-xyz", "1"),
            ("shop/catalog-abc", "1", "198.51.100.7", "4"),
            ("shop/frontend-xyz", "1", "shop/cache", "2"),
            ("node-b", "3", "shop/frontend-xyz", "1"),
            ("shop/frontend-xyz", "1", "02:00:00:00:00:02", "0"),
            ("", "", "", ""),
        ])

    def test_either_direction(self):
        rows = self.fields(self.file, "k8s.name", "k8s.namespace.name", "k8s.pod.name", "k8s.type")
        self.assertEqual(rows[0], ("shop/frontend-xyz|shop/catalog-abc", "shop|shop",
                                   "frontend-xyz|catalog-abc", "1|1"))
        self.assertEqual(rows[6], ("", "", "", ""))

    def test_filters(self):
        expected = [
            ("k8s", [1, 2, 3, 4, 5, 6]),
            ('k8s.src.pod.name == "catalog-abc"', [2, 3]),
            ('k8s.dst.pod.name == "catalog-abc"', [1]),
            ('k8s.pod.name == "catalog-abc"', [1, 2, 3]),
            ('k8s.pod.name == "nobody"', []),
            ('k8s.src.type == "pod"', [1, 2, 3, 4, 6]),
            ('k8s.type == "external"', [3]),
            ('k8s.dst.type == "service"', [4]),
            ('k8s.src.type == "node" || k8s.dst.type == "unknown"', [5, 6]),
            ("k8s.src.type == 3", [5]),
            ('k8s.service.name == "catalog"', [1, 2, 3]),
            ('k8s.dst.service.name == "catalog" && http.request', [1]),
            ('k8s.src.service.namespace == "shop" && http.response.code == 503', [2]),
            ('k8s.owner.name == "frontend" && !tcp', [6]),
            ("k8s.process.pid > 4000 && k8s.process.pid < 5000", [1, 2, 4, 5, 6]),
            ('k8s.container.name matches "^ng"', [1, 2, 4, 5, 6]),
            ('k8s.l7 == "http"', [1, 2]),
            ("k8s.malformed || k8s.unknown_version", [])]
        filters = [where for where, _ in expected]
        for passes in ((), ("-2",)):
            with self.subTest(passes=passes):
                self.assertEqual(list(zip(filters, self.frames_of_each(self.file, filters, passes))), expected)
        self.assertEqual(self.frames(self.file, filters[1]), expected[1][1], "alone")

    def test_big_endian_file(self):
        file = self.write("big.pcapng", shop(">"))
        names = ("k8s.src.name", "k8s.dst.name", "k8s.src.process.pid", "k8s.capture.pod.name")
        self.assertEqual(self.fields(file, *names), self.fields(self.file, *names))

    def test_tree(self):
        text = self.tshark(self.file, "-O", "k8s", "-Y", "frame.number == 1 || frame.number == 4")
        self.assertIn("[Kubernetes: shop/frontend-xyz -> shop/catalog-abc (service catalog)]\n"
                      "    [Source: shop/frontend-xyz]\n"
                      "        [Source type: pod (1)]\n", text)
        self.assertIn("\n    [Destination: shop/catalog-abc]\n", text)
        self.assertIn("[Kubernetes: shop/frontend-xyz -> shop/cache]\n", text)
        self.assertNotIn("[Pod:", text, "fields without direction are hidden")

    def test_service_of_another_namespace(self):
        other = dict(CATALOG, service_namespace="platform")
        file = self.write("other.pcapng", Pcapng().interface("i").packet(
            tcp("10.1.0.1", "10.1.0.2", 1, 2), identity(FRONTEND, other)))
        self.assertEqual(self.fields(file, "k8s.dst.service.namespace", "k8s.dst.namespace.name",
                                     "k8s.service.namespace"), [("platform", "shop", "platform")])
        self.assertIn("-> shop/catalog-abc (service platform/catalog)]", self.tshark(file, "-O", "k8s"))

    def test_json(self):
        packets = json.loads(self.tshark(self.file, "-T", "json", "-J", "k8s"))
        k8s = packets[0]["_source"]["layers"]["k8s"]
        self.assertEqual(k8s["k8s.src.name"], "shop/frontend-xyz")
        self.assertEqual(k8s["k8s.dst.name_tree"]["k8s.dst.service.name"], "catalog")
        self.assertNotIn("k8s", packets[6]["_source"]["layers"])

    def test_icmp_error_keeps_the_outer_addresses(self):
        quoted = ipv4("10.1.0.1", "203.0.113.1", 17, struct.pack("!HHHH", 1, 2, 8, 0))
        error = ethernet(ipv4("198.51.100.1", "10.1.0.1", 1,
                              struct.pack("!BBHI", 3, 1, 0, 0) + quoted))
        file = self.write("icmp.pcapng", Pcapng().interface("i").packet(
            error, identity({"type": EXTERNAL}, {"type": UNKNOWN})))
        self.assertEqual(self.fields(file, "k8s.src.name", "k8s.dst.name"),
                         [("198.51.100.1", "10.1.0.1")])

    def test_ipv6_peer(self):
        segment = tcp_segment("2001:db8::1", "2001:db8::2", 1, 2, 1, 1, 0x10)
        file = self.write("six.pcapng", Pcapng().interface("i").packet(
            ethernet(ipv6("2001:db8::1", "2001:db8::2", 6, segment), 0x86DD),
            identity({"type": EXTERNAL}, FRONTEND)))
        self.assertEqual(self.fields(file, "k8s.src.name", "k8s.dst.name"),
                         [("2001:db8::1", "shop/frontend-xyz")])

    def test_options_of_others_and_the_last_of_ours(self):
        ours, later = identity(FRONTEND, CATALOG), identity(CATALOG, FRONTEND)
        frame = udp("10.1.0.1", "10.1.0.2", 1, 2, b"x")
        file = Pcapng().interface("i")
        foreign = [file.custom(b"XY" + ours[2:]),               # same number, other magic
                   file.custom(ours, enterprise=64999),         # other number, same content
                   file.custom(ours, code=19373)]               # not to be copied: not ours
        file.packet(frame, options=foreign)
        file.packet(frame, options=[file.custom(ours), *foreign, (1, b"a comment")])
        file.packet(frame, options=[file.custom(ours), file.custom(later)])
        path = self.write("several.pcapng", file)
        self.assertEqual(self.fields(path, "k8s.src.pod.name", "k8s.malformed"),
                         [("", ""), ("frontend-xyz", ""), ("catalog-abc", "")])

    def test_text_is_utf8_or_made_so(self):
        file = self.write("text.pcapng", Pcapng().interface("i").packet(
            udp("10.1.0.1", "10.1.0.2", 1, 2, b"x"),
            identity(pod("größe", "a"), pod("n", b"bad-\xff-byte"))))
        self.assertEqual(self.fields(file, "k8s.src.name", "k8s.dst.name"),
                         [("größe/a", "n/bad-\ufffd-byte")])

    def test_nothing_else_changes(self):
        with_plugin = self.tshark(self.file, "-V")
        kept = re.sub(r"^\[Kubernetes.*\n(?:    .*\n)*", "", with_plugin, flags=re.MULTILINE)
        self.assertNotEqual(kept, with_plugin)
        self.assertEqual(kept, self.tshark(self.file, "-V", plugin=False))
        self.assertEqual(self.tshark(self.file), self.tshark(self.file, plugin=False))
        self.assertEqual(self.tshark(self.file, "-T", "fields", "-e", "frame.protocols"),
                         self.tshark(self.file, "-T", "fields", "-e", "frame.protocols", plugin=False))

    def test_conversations(self):
        table = self.tshark(self.file, "-q", "-z", "conv,k8s")
        rows = re.findall(r"^(\S+)\s+<-> (\S+)\s+(\d+) \d+ bytes\s+(\d+) \d+ bytes", table,
                          re.MULTILINE)
        self.assertEqual(
            {frozenset(row[:2]): {int(row[2]), int(row[3])} for row in rows},
            {frozenset(("shop/frontend-xyz", "shop/catalog-abc")): {1, 1},
             frozenset(("shop/catalog-abc", "198.51.100.7")): {0, 1},
             frozenset(("shop/frontend-xyz", "shop/cache")): {0, 1},
             frozenset(("node-b", "shop/frontend-xyz")): {0, 1},
             frozenset(("shop/frontend-xyz", "02:00:00:00:00:02")): {0, 1}}, table)

    def test_conversations_with_a_filter(self):
        table = self.tshark(self.file, "-q", "-z", 'conv,k8s,k8s.type == "external"')
        self.assertIn("198.51.100.7", table)
        self.assertEqual(table.count("<->"), 1, table)

    def test_endpoints(self):
        table = self.tshark(self.file, "-q", "-z", "endpoints,k8s")
        rows = {m[1]: tuple(int(n) for n in m[2].split()) for m in
                re.finditer(r"^(\S+)((?:\s+\d+){6})\s*$", table, re.MULTILINE)}
        packets = {name: (row[0], row[2], row[4]) for name, row in rows.items()}
        self.assertEqual(packets, {  # all, sent, received
            "shop/frontend-xyz": (5, 3, 2), "shop/catalog-abc": (3, 2, 1),
            "198.51.100.7": (1, 0, 1), "shop/cache": (1, 0, 1), "node-b": (1, 1, 0),
            "02:00:00:00:00:02": (1, 0, 1)}, table)


class Attributes(WiresharkTest):
    """Told once, valid from their frame on, the same in one pass and in two."""

    FRONTEND = {"entity": 7, **pod("shop", "frontend-xyz")}
    CATALOG = {"entity": 8, **pod("shop", "catalog-abc")}

    @staticmethod
    def told(end, version):
        return [*end.items(), ("uid", "uid-7"), ("label", "app=frontend"),
                ("label", f"version={version}"), ("container_name", "nginx"),
                ("container_image", "nginx:1.25"), ("container_name", "proxy"),
                ("container_image", "envoy:1.30")]

    def setUp(self):
        frame = udp("10.1.0.1", "10.1.0.2", 1, 2, b"x")
        back = udp("10.1.0.2", "10.1.0.1", 2, 1, b"y")
        src, dst = self.FRONTEND, self.CATALOG
        self.file = self.write("attributes.pcapng", Pcapng().interface("i")
            .packet(frame, identity(src, dst))                       # 1: not yet told
            .packet(frame, identity(self.told(src, 1), dst))         # 2: told
            .packet(back, identity(dst, src))                        # 3: the other direction
            .packet(frame, identity(self.told(src, 2), dst))         # 4: changed
            .packet(frame, identity(dict(src, container="proxy"), dst))      # 5: a known container
            .packet(frame, identity(dict(src, container="gone"), dst)))      # 6: an unknown one

    def test_by_frame(self):
        expected = [("", ""), ("app=frontend|version=1", "uid-7"), ("", ""),
                    ("app=frontend|version=2", "uid-7"), ("app=frontend|version=2", "uid-7"),
                    ("app=frontend|version=2", "uid-7")]
        for passes in ((), ("-2",)):
            with self.subTest(passes=passes):
                rows = self.fields(self.file, "k8s.src.label", "k8s.src.pod.uid", "k8s.dst.label", more=passes)
                self.assertEqual([row[:2] for row in rows], expected)
                self.assertEqual(rows[2][2], "app=frontend|version=1")
                self.assertEqual(self.frames(self.file, 'k8s.label == "version=1"', passes), [2, 3])
                self.assertEqual(self.frames(self.file, 'k8s.label == "app=frontend"', passes),
                                 [2, 3, 4, 5, 6])

    def test_told_while_another_field_is_filtered(self):
        self.assertEqual(self.frames(self.file, 'k8s.label == "version=1" && k8s.dst.label'), [3])
        self.assertEqual(
            self.fields(self.file, "k8s.label", more=("-2", "-R", "ip.src == 10.1.0.2")),
            [("app=frontend|version=1",)], "a read filter hides the packet, not what it taught")

    def test_containers(self):
        names = ("k8s.src.container.name", "k8s.src.container.image")
        rows = self.fields(self.file, *names)
        self.assertEqual(rows[0], ("", ""))
        self.assertEqual(rows[1], ("nginx|proxy", "nginx:1.25|envoy:1.30"))
        self.assertEqual(rows[4], ("proxy", "envoy:1.30"))
        self.assertEqual(rows[5], ("gone", ""))
        self.assertEqual(self.frames(self.file, 'k8s.container.image == "nginx:1.25"'), [2, 3, 4])

    def test_flag_absent_nothing_learned(self):
        """The flag is what lets a reader skip the rest, so it alone decides."""
        frame = udp("10.1.0.1", "10.1.0.2", 1, 2, b"x")
        file = self.write("flag.pcapng", Pcapng().interface("i").packet(
            frame, identity(self.told(self.FRONTEND, 1), self.CATALOG, flags=0)))
        self.assertEqual(self.fields(file, "k8s.label", "k8s.malformed"), [("", "")])

    def test_unknown_tlvs_are_skipped(self):
        frame = udp("10.1.0.1", "10.1.0.2", 1, 2, b"x")
        option = identity(self.FRONTEND, self.CATALOG)
        newer = option + tlv(200, 1, b"later") + tlv(3, 9, b"scope") + tlv(4, 0, b"scope")
        file = self.write("newer.pcapng", Pcapng().interface("i").packet(frame, newer))
        self.assertEqual(self.fields(file, "k8s.src.name", "k8s.malformed"),
                         [("shop/frontend-xyz", "")])


class Documentation(WiresharkTest):
    def test_table_is_complete(self):
        """docs/fields.md names each field that is registered, with its type, and no other."""
        registered = {}
        for line in self.run_program("tshark", "-G", "fields").stdout.splitlines():
            part = line.split("\t")
            if part[0] == "F" and part[2].startswith("k8s."):
                registered[part[2]] = part[3]
        documented = {}
        with open(os.path.join(os.environ["REMORA_SOURCE"], "docs/fields.md")) as file:
            for line in file:
                cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
                if not line.startswith("| `"):
                    continue
                for name in re.findall(r"`(k8s\.[a-z0-9_.]+)`", cells[0]):
                    self.assertNotIn(name, documented)
                    documented[name] = cells[1]
        self.assertGreater(len(registered), 40)
        self.assertEqual(documented, registered)


if __name__ == "__main__":
    main()
