# SPDX-License-Identifier: GPL-2.0-or-later
"""Annotated pcapng files, encoded here from docs/pcapng-identity.md and the pcapng draft alone, and
the real tshark to read them. Nothing is shared with the encoder under test."""
import ipaddress
import os
import shutil
import struct
import subprocess
import tempfile
import unittest

ENTERPRISE = 32473
CUSTOM_BINARY = 2989
VERSION = 1
ATTRIBUTES = 1
SECRETS = 2
UNKNOWN, POD, SERVICE, NODE, EXTERNAL = range(5)

SCOPES = {"packet": 0, "src": 1, "dst": 2}
TYPES = {
    "entity": (1, ">Q"), "type": (2, ">B"), "namespace": (3, None), "pod": (4, None),
    "service": (5, None), "service_namespace": (6, None), "node": (7, None),
    "owner_type": (8, None), "owner_name": (9, None), "container": (10, None),
    "process_name": (11, None), "process_pid": (12, ">I"), "no_secrets": (13, None),
    "cluster": (32, None), "capture_node": (33, None), "capture_device": (34, None),
    "capture_pod": (35, None), "l7": (36, None), "flow": (37, ">Q"),
    "uid": (64, None), "label": (65, None), "container_name": (66, None),
    "container_image": (67, None),
}


# --- the identity option ---------------------------------------------------------------------

def tlv(number, scope, value):
    return struct.pack(">BBH", number, scope, len(value)) + value


def tlvs(scope, fields):
    """fields: {name: value}, or pairs where order or repetition matters."""
    out = b""
    for name, value in fields.items() if isinstance(fields, dict) else fields:
        number, layout = TYPES[name]
        value = struct.pack(layout, value) if layout else \
            value if isinstance(value, bytes) else value.encode()
        out += tlv(number, SCOPES[scope], value)
    return out


def header(flags=0, version=VERSION, magic=b"RM"):
    return magic + bytes([version, flags])


def identity(src=(), dst=(), packet=(), flags=None):
    """The option's content, from the magic on."""
    body = tlvs("src", src) + tlvs("dst", dst) + tlvs("packet", packet)
    if flags is None:
        names = [n for part in (src, dst) for n in (dict(part) if part else {})]
        flags = ATTRIBUTES if any(TYPES[n][0] >= 64 for n in names) else 0
    return header(flags) + body


def pod(namespace, name, **more):
    return {"type": POD, "namespace": namespace, "pod": name, **more}


# --- pcapng ----------------------------------------------------------------------------------

def pad(data):
    return data + bytes(-len(data) % 4)


class Pcapng:
    """Builds a file in memory. `order` is '<' or '>'."""

    def __init__(self, order="<"):
        self.order = order
        self.data = self.block(0x0A0D0D0A, self.pack("IHHq", 0x1A2B3C4D, 1, 0, -1))
        self.time_ns = 1_700_000_000 * 10**9

    def pack(self, layout, *values):
        return struct.pack(self.order + layout, *values)

    def block(self, kind, body):
        length = 12 + len(body)
        return self.pack("II", kind, length) + body + self.pack("I", length)

    def options(self, options):
        out = b"".join(self.pack("HH", code, len(value)) + pad(value) for code, value in options)
        return out + self.pack("HH", 0, 0) if options else b""

    def interface(self, name, linktype=1):
        options = [(2, name.encode()), (9, b"\x09")]
        self.data += self.block(1, self.pack("HHI", linktype, 0, 262144) + self.options(options))
        return self

    def secrets(self, key_log):
        """Decryption Secrets Block with lines of a key log."""
        head = self.pack("II", 0x544C534B, len(key_log))
        self.data += self.block(10, head + pad(key_log))
        return self

    def custom(self, content, enterprise=ENTERPRISE, code=CUSTOM_BINARY):
        return (code, self.pack("I", enterprise) + content)

    def packet(self, frame, *contents, options=None, step_ns=1_000_000):
        """One frame with an identity option for each of `contents`, or with `options` as they are."""
        self.time_ns += step_ns
        if options is None:
            options = [self.custom(content) for content in contents]
        head = self.pack("IIIII", 0, self.time_ns >> 32, self.time_ns & 0xFFFFFFFF,
                         len(frame), len(frame))
        self.data += self.block(6, head + pad(frame) + self.options(options))
        return self


# --- frames ----------------------------------------------------------------------------------

def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(payload, kind=0x0800):
    return bytes.fromhex("020000000002 020000000001") + struct.pack("!H", kind) + payload


def ipv4(src, dst, protocol, payload):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0,
                       ipaddress.ip_address(src).packed, ipaddress.ip_address(dst).packed)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ipv6(src, dst, protocol, payload):
    return struct.pack("!IHBB16s16s", 6 << 28, len(payload), protocol, 64,
                       ipaddress.ip_address(src).packed, ipaddress.ip_address(dst).packed) + payload


def tcp_segment(src, dst, sport, dport, seq, ack, flags, payload=b""):
    head = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 0x50, flags, 65535, 0, 0)
    pseudo = ipaddress.ip_address(src).packed + ipaddress.ip_address(dst).packed + \
        struct.pack("!BBH", 0, 6, len(head) + len(payload))
    return head[:16] + struct.pack("!H", checksum(pseudo + head + payload)) + head[18:] + payload


def tcp(src, dst, sport, dport, seq=1, ack=1, flags=0x18, payload=b""):
    return ethernet(ipv4(src, dst, 6, tcp_segment(src, dst, sport, dport, seq, ack, flags, payload)))


def udp(src, dst, sport, dport, payload):
    return ethernet(ipv4(src, dst, 17,
                         struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload))


def arp():
    return ethernet(bytes.fromhex("0001080006040001 020000000001 0a000001 000000000000 0a000002"),
                    0x0806)


# --- tshark ----------------------------------------------------------------------------------

def skip(reason):
    """Exit 77 is how CTest learns that a test could not run."""
    print(f"skipped: {reason}")
    raise SystemExit(77)


class WiresharkTest(unittest.TestCase):
    """Runs Wireshark's programs with the plugin that was built, in a folder of its own.

    Wireshark honours WIRESHARK_PLUGIN_DIR and HOME only where it was not started by root, so root
    runs it as nobody; hence copies in a folder that nobody may read."""
    preload = os.environ.get("REMORA_PRELOAD", "")

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="remora-plugin-")
        os.chmod(cls.folder, 0o777)
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        built = os.path.join(os.environ["REMORA_BUILD"], "wireshark-plugins")
        shutil.copytree(built, os.path.join(cls.folder, "plugins"))
        os.mkdir(os.path.join(cls.folder, "no-plugins"))
        profiles = os.path.join(cls.folder, "home/.config/wireshark/profiles")
        shutil.copytree(os.path.join(os.environ["REMORA_SOURCE"], "plugins/profile"), profiles)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    @classmethod
    def write(cls, name, capture):
        with open(cls.path(name), "wb") as file:
            file.write(capture.data if isinstance(capture, Pcapng) else capture)
        return cls.path(name)

    def run_program(self, *command, plugin=True, check=True, timeout=120):
        """A finished process with text output. `check`: exit 0, and nothing said on stderr."""
        environment = {
            "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC",
            "HOME": self.path("home"),
            "WIRESHARK_PLUGIN_DIR": self.path("plugins" if plugin else "no-plugins"),
        }
        if self.preload and plugin and command[0] == "tshark":
            environment.update(LD_PRELOAD=self.preload, ASAN_OPTIONS="detect_leaks=0",
                               G_SLICE="always-malloc", WIRESHARK_DEBUG_WMEM_OVERRIDE="simple")
        nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(command, env=environment, cwd=self.folder, capture_output=True,
                              encoding="utf-8", errors="surrogateescape", timeout=timeout, **nobody)
        if check:
            self.assertEqual((done.returncode, done.stderr), (0, ""), command)
        return done

    def tshark(self, capture, *arguments, **how):
        return self.run_program("tshark", "-r", capture, *arguments, **how).stdout

    def fields(self, capture, *names, where=None, more=()):
        """A row of the fields' values for each packet shown; values of one field joined by '|'."""
        command = ["-T", "fields", "-E", "aggregator=|", *more]
        if where:
            command += ["-Y", where]
        for name in names:
            command += ["-e", name]
        return [tuple(line.split("\t")) for line in
                self.tshark(capture, *command).splitlines()]

    def frames(self, capture, where, more=()):
        """Numbers of the packets that a display filter shows."""
        return [int(row[0]) for row in self.fields(capture, "frame.number", where=where, more=more)]

    def frames_of_each(self, capture, filters, more=()):
        """The same for many filters in one run: packets are a millisecond apart, and so is what is counted. The last packet
        is left out by io,stat; no filter may have a comma."""
        text = self.tshark(capture, *more, "-q", "-z", f"io,stat,0.001,{','.join(filters)}")
        rows = [line.split("|")[2:-1] for line in text.splitlines() if "<>" in line]
        return [[number for number, row in enumerate(rows, 1) if int(row[2 * i])] for i in range(len(filters))]


def main():
    for program in ("tshark", "editcap", "mergecap", "reordercap"):
        if not shutil.which(program):
            skip(f"{program} is not installed")
    unittest.main(verbosity=2)
