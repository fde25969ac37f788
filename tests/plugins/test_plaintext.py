#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Plaintext of TLS as packets: made by the node's codec, read by tshark with the plugin. Bodies come
out byte for byte, Wireshark has nothing to say against the packets, what is missing is seen to be,
and the packets of the encrypted connection in the same file stay apart."""
import os
import subprocess

from annotated import Pcapng, WiresharkTest, identity, main, pod, tcp

START = 1_700_000_000 * 10**9
STEP = 1_000_000
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
SETTINGS = bytes.fromhex("000000040000000000")
PING = bytes.fromhex("000008060000000000") + b"12345678"
GET = b"GET /items HTTP/1.1\r\nHost: shop\r\n\r\n"
CHECKED = ("-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE")


def text(length):
    return b"".join(b"%07d\n" % i for i in range(length // 8))


def answer(body):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


class Calls:
    """What the codec is told: connections of one process each."""

    def __init__(self):
        self.lines, self.number, self.time = [], 0, START

    def connection(self, local, remote, server=False, start=True, netns=1):
        self.number += 1
        calls, number, offsets = self, self.number, {"read": 0, "written": 0}
        ends = f"local={local} remote={remote}" if local else ""

        class Connection:
            def tell(self, direction, data, chunk=16384, back_ns=0):
                for at in range(0, len(data), chunk):
                    calls.time += STEP
                    part = data[at:at + chunk]
                    calls.lines.append(
                        f"connection={number} netns={netns} time={calls.time - back_ns} direction={direction} "
                        f"server={int(server)} start={int(start)} offset={offsets[direction]} {ends} {part.hex()}")
                    offsets[direction] += len(part)
                return self

            def lose(self, direction, count):
                offsets[direction] += count
                return self

            def end(self):
                calls.time += STEP
                calls.lines.append(f"connection={number} netns={netns} time={calls.time} end=1 "
                                   f"server={int(server)} {ends}")
                return self
        return Connection()


class Plaintext(WiresharkTest):
    def make(self, name, calls, interface="lab/node-a/plaintext"):
        program = os.path.join(os.environ["REMORA_BUILD"], "tests/node-capture/tls/make-plaintext")
        made = subprocess.run([program, interface], input="\n".join(calls.lines).encode() + b"\n",
                              stdout=subprocess.PIPE, check=True, timeout=60)
        return self.write(name, made.stdout)

    def check_sound(self, file):
        self.assertEqual(self.frames(file, "tcp.analysis.flags || _ws.malformed || tls || ip.checksum.status == 0 || "
                                           "tcp.checksum.status == 0", CHECKED), [])

    def bodies(self, file, where="http.response"):
        return [bytes(row[0].replace("\\n", "\n"), "ascii")
                for row in self.fields(file, "http.file_data", where=where)]

    def test_http(self):
        """Either end, IPv4 and IPv6, small chunks and large, on the port of HTTPS and another."""
        body, upload = text(400_000), text(200_000)
        calls = Calls()
        calls.connection("10.1.0.1/40000", "10.1.0.2/443").tell("written", GET).tell("read", answer(body)).end()
        post = b"POST /up HTTP/1.1\r\nHost: shop\r\nContent-Length: %d\r\n\r\n" % len(upload) + upload
        calls.connection("2001:db8::2/8443", "2001:db8::1/40001", server=True) \
            .tell("read", post, chunk=len(post)).tell("written", answer(b"")).end()
        file = self.make("http.pcapng", calls)
        self.check_sound(file)
        self.assertEqual(self.bodies(file)[0], body)
        self.assertEqual(self.bodies(file, "http.request.method == POST"), [upload])
        self.assertEqual(self.fields(file, "http.request.uri", "tcp.dstport", "tcp.stream", where="http.request"),
                         [("/items", "443", "0"), ("/up", "8443", "1")])
        # Who began it is told by the SYN; the times are those of the calls.
        self.assertEqual(self.fields(file, "tcp.dstport", "frame.time_epoch", where="tcp.flags == 2"),
                         [("443", "1700000000.001000000"), ("8443", "1700000000.028000000")])
        self.assertEqual(len(self.frames(file, "tcp.flags.fin == 1")), 4)
        self.assertEqual({row for row in self.fields(file, "k8s.l7")}, {("http",)})

    def test_protocols(self):
        calls = Calls()
        for number, (data, reply, protocol) in enumerate(self.PROTOCOLS):
            calls.connection(f"10.1.0.1/{41000 + number}", f"10.1.0.2/{993 if protocol == 'imap' else 443}") \
                .tell("written", data).tell("read", reply)
        file = self.make("protocols.pcapng", calls)
        self.check_sound(file)
        seen = self.fields(file, "tcp.port", "frame.protocols", where="tcp.len > 0")
        for number, (_, _, protocol) in enumerate(self.PROTOCOLS):
            with self.subTest(protocol=protocol):
                names = [names.split(":")[3:] for ports, names in seen if str(41000 + number) in ports]
                self.assertTrue(names)
                self.assertEqual({name for each in names for name in each[:1]}, {protocol})

    PROTOCOLS = [
        (PREFACE + PING, SETTINGS, "http2"),
        (b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n", "resp"),
        (bytes.fromhex("0000001300030000") + b"user\0x\0\0\0\0\0"[:11], b"R\0\0\0\x08\0\0\0\0", "pgsql"),
        (b"AMQP\0\x01\0\0", b"AMQP\0\x01\0\0" + bytes.fromhex("0000000802000000"), "amqp"),
        (bytes.fromhex("300c020101600702010304008000"), bytes.fromhex("300c02010161070a010004000400"),
         "ldap"),
        (b"a1 NOOP\r\n", b"a1 OK\r\n", "imap"),  # by what is inside of TLS on that port
        (b"HELO shop\r\n", b"", "data"),  # nobody's, and not TLS
    ]

    def test_cut_off(self):
        """No SYN: the connection was there before, or the packets are a slice of a file."""
        calls = Calls()
        calls.connection("10.1.0.1/40000", "10.1.0.2/443", start=False).lose("read", 5000) \
            .tell("written", GET).tell("read", answer(text(800)))
        calls.connection("10.1.0.1/40001", "10.1.0.2/443").tell("written", PREFACE).tell("read", SETTINGS) \
            .tell("written", PING)
        file = self.make("cut.pcapng", calls)
        self.check_sound(file)
        self.assertEqual(self.frames(file, "tcp.flags.syn == 1 && tcp.port == 40000"), [])
        self.assertEqual(self.bodies(file), [text(800)])
        ping, = self.frames(file, "http2.type == 6")
        self.run_program("editcap", "-r", file, self.path("slice.pcapng"), str(ping), plugin=False)
        self.assertEqual(self.frames(self.path("slice.pcapng"), "http2.type == 6"), [1])

    def test_hole(self):
        calls = Calls()
        calls.connection("10.1.0.1/40000", "10.1.0.2/443").tell("written", GET) \
            .tell("read", answer(text(8000)), chunk=1000).lose("read", 500).tell("read", answer(text(800)))
        file = self.make("hole.pcapng", calls)
        lost, = self.frames(file, "tcp.analysis.flags")
        self.assertEqual(self.frames(file, "tcp.analysis.lost_segment"), [lost])
        self.assertEqual(self.bodies(file)[0], text(8000))

    def test_times_that_cross(self):
        """One thread reads, another writes: what each acknowledges was there at that time."""
        calls = Calls()
        connection = calls.connection("10.1.0.1/40000", "10.1.0.2/443").tell("written", GET)
        for number in range(20):
            connection.tell("read", answer(b"%08d" % number))
            connection.tell("written", GET, back_ns=STEP + STEP // 2)
        file = self.make("crossed.pcapng", calls)
        ordered = self.path("ordered.pcapng")
        self.run_program("reordercap", file, ordered, plugin=False)
        self.check_sound(ordered)
        self.assertEqual(len(self.frames(ordered, "http.request")), 21)

    def test_unknown_socket(self):
        calls = Calls()
        for _ in range(2):
            calls.connection(None, None).tell("written", GET).tell("read", answer(b"12345678"))
        file = self.make("unknown.pcapng", calls)
        self.check_sound(file)
        self.assertEqual(self.fields(file, "tcp.stream", "ip.src", "ip.dst", where="http.response"),
                         [("0", "0.0.0.0", "0.0.0.0"), ("1", "0.0.0.0", "0.0.0.0")])

    def test_beside_the_encrypted_connection(self):
        """The same addresses and ports: in the plaintext of both ends, and in the encrypted packets."""
        body = text(8000)
        for number, ends in enumerate((("10.1.0.1/40000", "10.1.0.2/443", False),
                                       ("10.1.0.2/443", "10.1.0.1/40000", True))):
            calls = Calls()
            sends, gets = ("read", "written") if ends[2] else ("written", "read")
            for _ in range(2):  # the ports serve twice
                calls.connection(*ends).tell(sends, GET).tell(gets, answer(body), chunk=1000).end()
            self.make(f"end-{number}.pcapng", calls, f"lab/node-{number}/plaintext")
        wire = Pcapng().interface("lab/node-a")
        client, server = ("10.1.0.1", "10.1.0.2", 40000, 443), ("10.1.0.2", "10.1.0.1", 443, 40000)
        names = identity(pod("shop", "a"), pod("shop", "b"))
        record = b"\x17\x03\x03\x00\x05hello"
        wire.packet(tcp(*client, seq=100, ack=0, flags=2), names, step_ns=0)
        wire.packet(tcp(*server, seq=900, ack=101, flags=0x12), names, step_ns=0)
        wire.packet(tcp(*client, seq=101, ack=901, flags=0x10), names, step_ns=0)
        for number in range(24):
            wire.packet(tcp(*client, seq=101 + 10 * number, ack=901 + 10 * number, payload=record), names)
            wire.packet(tcp(*server, seq=901 + 10 * number, ack=111 + 10 * number, payload=record), names, step_ns=1000)
        self.write("wire.pcapng", wire)
        file = self.path("beside.pcapng")
        self.run_program("mergecap", "-w", file, self.path("end-0.pcapng"), self.path("end-1.pcapng"),
                         self.path("wire.pcapng"), plugin=False)
        for passes in ((), ("-2",)):
            with self.subTest(passes=passes):
                rows = self.fields(file, "frame.interface_name", "tcp.stream", "tcp.analysis.flags", "frame.protocols",
                                   "http.file_data", more=passes)
                self.assertEqual([row for row in rows if row[2]], [])
                encrypted = [row for row in rows if "tls" in row[3].split(":")]
                self.assertEqual((len(encrypted), {row[0] for row in encrypted}), (48, {"lab/node-a"}))
                self.assertEqual([row[4].replace("\\n", "\n").encode() for row in rows if row[4]], [body] * 4)
                streams = {row[:2] for row in rows}
                self.assertEqual(len(streams), 5, streams)
                self.assertEqual(len({stream for _, stream in streams}), 5)
        # Following a stream finds the one, not the other.
        number = next(stream for name, stream in streams if name.endswith("1/plaintext"))
        followed = self.tshark(file, "-q", "-z", f"follow,tcp,ascii,{number}")
        self.assertIn("GET /items", followed)
        self.assertNotIn("hello", followed)


if __name__ == "__main__":
    main()
