#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Malformed identity options: named as such, never an assertion, never a crash, and the other packets
are as they were. A decoder of its own says what is to be expected of each."""
import re
import struct

from annotated import (EXTERNAL, TYPES, VERSION, Pcapng, WiresharkTest, header, identity, main, pod,
                       tlv, tlvs, udp)

FRAME = udp("10.1.0.1", "10.1.0.2", 1, 2, b"x")
SRC = [("entity", 7), *pod("shop", "frontend-xyz").items(), ("node", "n"), ("process_pid", 9),
       ("uid", "u-7"), ("label", "app=a"), ("container_name", "c"), ("container_image", "i:1")]
DST = [("entity", 8), *pod("shop", "catalog").items(), ("service", "catalog")]
PACKET = [("cluster", "lab"), ("capture_node", "n")]
WHOLE = identity(SRC, DST, PACKET)
NUMBERS = {code: struct.calcsize(layout) for code, layout in TYPES.values() if layout}
OF_AN_END = range(1, 14)
OF_THE_PACKET = range(32, 37)
UID, LABEL, CONTAINER, IMAGE = 64, 65, 66, 67


def verdict(option):
    """'', 'foreign', 'version' or 'malformed'."""
    if len(option) < 4:
        return "malformed"
    if option[:2] != b"RM":
        return "foreign"
    if option[2] != VERSION:
        return "version"
    at, entity, containers = 4, {}, set()
    while at < len(option):
        if len(option) - at < 4:
            return "malformed"
        kind, scope, length = struct.unpack_from(">BBH", option, at)
        value = option[at + 4:at + 4 + length]
        at += 4 + length
        if len(value) < length:
            return "malformed"
        known = kind in OF_THE_PACKET if scope == 0 else \
            scope in (1, 2) and (kind in OF_AN_END or UID <= kind <= IMAGE)
        if not known:
            continue
        if kind in NUMBERS:
            if length != NUMBERS[kind]:
                return "malformed"
            if kind == 1:
                entity[scope] = any(value)
        elif 0 in value:
            return "malformed"
        if kind == CONTAINER:
            containers.add(scope)
        if kind in (UID, LABEL, CONTAINER) and not entity.get(scope):
            return "malformed"
        if kind == IMAGE and scope not in containers:
            return "malformed"
    return ""


class Hostile(WiresharkTest):
    def check_all(self, name, options):
        """One packet each, and a good one behind; one pass, two passes, with everything printed."""
        capture = Pcapng().interface("i")
        for option in options:
            capture.packet(FRAME, option)
        capture.packet(FRAME, WHOLE)
        file = self.write(name, capture)
        expected = [verdict(option) for option in options] + [""]
        kinds = {"": (False, False, True), "foreign": (False, False, False),
                 "version": (False, True, True), "malformed": (True, False, True)}
        for passes in ((), ("-2",)):
            rows = self.fields(file, "k8s.malformed", "k8s.unknown_version", "k8s", "k8s.src.name", "k8s.dst.name", more=passes)
            self.assertEqual(len(rows), len(options) + 1)
            for i, row in enumerate(rows):
                self.assertEqual(tuple(cell != "" for cell in row[:3]), kinds[expected[i]],
                                 (name, i, expected[i], options[i:i + 1]))
            self.assertEqual(rows[-1][3:], ("shop/frontend-xyz", "shop/catalog"))
        text = self.tshark(file, "-V")
        self.assertEqual(len(re.findall("^Frame ", text, re.MULTILINE)), len(options) + 1)
        for bad in ("Dissector bug", "Malformed Packet"):
            self.assertNotIn(bad, text)
        for arguments in (("-T", "json"), ("-q", "-z", "conv,k8s", "-z", "endpoints,k8s"), ()):
            self.tshark(file, *arguments)
        return expected

    def test_whole(self):
        self.assertEqual(verdict(WHOLE), "")

    def test_each_truncation(self):
        expected = self.check_all("cut.pcapng", [WHOLE[:n] for n in range(len(WHOLE) + 1)])
        # Whole are: the bare header, the cut behind each TLV, and the good one behind all.
        self.assertEqual(expected.count(""), 1 + len(SRC) + len(DST) + len(PACKET) + 1)

    def test_each_byte_changed(self):
        flips = (0xFF, 0x01, 0x80)
        expected = self.check_all("flip.pcapng", [WHOLE[:i] + bytes([WHOLE[i] ^ flip]) + WHOLE[i + 1:]
                                                  for flip in flips for i in range(len(WHOLE))])
        for i in range(len(flips)):
            self.assertEqual(set(expected[i * len(WHOLE):(i + 1) * len(WHOLE)]), {"", "foreign", "version", "malformed"})

    def test_made_to_hurt(self):
        end = tlvs("src", [("entity", 7)])
        self.check_all("hurt.pcapng", [
            b"", b"R", header(), header(version=0), header(version=255), header(magic=b"XY"),
            header() + b"\x04", header() + struct.pack(">BBH", 4, 1, 0xFFFF),
            header(1) + tlvs("src", [("label", "of=nobody")]),
            header(1) + tlvs("src", [("entity", 0), ("label", "of=zero")]),
            header(1) + end + tlvs("src", [("container_image", "of-none")]),
            header(1) + end + tlvs("src", [("label", b"nul\0inside")]),
            header(1) + end + tlv(LABEL, 1, b""),
            header(1) + end + tlv(CONTAINER, 1, b"") + tlv(IMAGE, 1, b"") * 50,
            header(1) + end + tlv(LABEL, 1, b"") * 10000,
            header(1) + end + tlvs("src", [("label", "k=" + "v" * 60000)]),
            header() + tlvs("src", [("type", 200)]),
            header() + tlvs("src", [("type", 1)]),
            header() + tlvs("src", [("type", 1), ("pod", ""), ("namespace", "only")]),
            header() + tlvs("dst", [("type", 2), ("service", "no-namespace")]),
            header() + tlvs("src", [("type", 1), ("pod", "%s%n%d")]),
            header() + tlvs("src", [("process_pid", 1)])[:-1],
            header() + tlv(12, 1, bytes(3)), header() + tlv(2, 1, b""), header() + tlv(1, 1, bytes(9)),
        ])

    def test_faults_of_what_came_before_the_fault(self):
        """What precedes the fault is shown; attributes are not learned from it."""
        broken = header(1) + tlvs("src", SRC) + b"\x04"
        file = self.write("before.pcapng", Pcapng().interface("i").packet(FRAME, broken))
        self.assertEqual(self.fields(file, "k8s.src.name", "k8s.src.label", "k8s.dst.name"),
                         [("shop/frontend-xyz", "", "10.1.0.2")])

    def test_told_as_expert_information(self):
        file = self.write("expert.pcapng", Pcapng().interface("i")
                          .packet(FRAME, WHOLE[:-1]).packet(FRAME, header(version=9)))
        out = self.tshark(file, "-q", "-z", "expert")
        self.assertRegex(out, r"1 +Malformed +Kubernetes +Malformed identity option")
        self.assertRegex(out, r"1 +Undecoded +Kubernetes +Identity option of a version")

    def test_display_of_unknown_types(self):
        option = header() + tlvs("src", [("type", 200)]) + tlvs("dst", [("type", EXTERNAL)])
        file = self.write("type.pcapng", Pcapng().interface("i").packet(FRAME, option))
        self.assertEqual(self.fields(file, "k8s.src.type", "k8s.src.name"), [("200", "10.1.0.1")])


if __name__ == "__main__":
    main()
