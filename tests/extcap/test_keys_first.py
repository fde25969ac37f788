#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""remoradump --keys-first: how it is called, what it refuses, and what it leaves behind."""
import os
import struct
import subprocess
import unittest

from remoradump import Case, INTERFACE, PACKET, REAL, SECTION, TIMEOUT, blocks

SECRETS = 10
CLASSIC = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)


def block(kind, body):
    body += bytes(-len(body) % 4)
    return struct.pack("<II", kind, 12 + len(body)) + body + struct.pack("<I", 12 + len(body))


HEADER = block(SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
DEVICE = block(INTERFACE, struct.pack("<HHI", 1, 0, 0))


def packet(number, length=60):
    return block(PACKET, struct.pack("<IIIII", 0, 0, number, length, length) + bytes(length))


def secrets(lines):
    return block(SECRETS, struct.pack("<4sI", b"KSLT", len(lines)) + lines)


ONE, TWO = secrets(b"CLIENT_RANDOM 00 11\n"), secrets(b"CLIENT_RANDOM 22 33\n")
LATE = HEADER + DEVICE + packet(1) + ONE + packet(2) + TWO
FIRST = HEADER + DEVICE + ONE + TWO + packet(1) + packet(2)


class KeysFirst(Case):
    def setUp(self):
        super().setUp()
        self.source, self.out = self.write("in.pcapng", LATE), self.path("out.pcapng")
        self.spool = self.path("spool")
        os.mkdir(self.spool)
        self.environment["TMPDIR"] = self.spool

    def keys_first(self, *files, **kwargs):
        return self.run_it("--keys-first", *files, program=REAL, **kwargs)

    def piped(self, data, *files):
        return subprocess.run([REAL, "--keys-first", *files], env=self.environment, input=data, capture_output=True,
                              timeout=TIMEOUT, check=False)

    def assert_out(self, expected):
        with open(self.out, "rb") as file:
            self.assertEqual(file.read(), expected)

    def test_file(self):
        result = self.keys_first(self.source, self.out)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("2 blocks of secrets", result.stderr)
        self.assertIn("2 of them stood further behind", result.stderr)
        self.assert_out(FIRST)

    def test_standard_output(self):
        result = self.keys_first(self.source, "-", text=False)
        self.assertEqual((result.returncode, result.stdout), (0, FIRST))

    def test_standard_input(self):
        """A pipe cannot be read twice, a file can; neither leaves anything behind."""
        more = [packet(i, 40000) for i in range(20)]
        result = self.piped(LATE + b"".join(more), "-", self.out)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assert_out(FIRST + b"".join(more))
        with open(self.source, "rb") as file:
            result = subprocess.run([REAL, "--keys-first", "-", "-"], env=self.environment, stdin=file,
                                    capture_output=True, timeout=TIMEOUT, check=False)
        self.assertEqual((result.returncode, result.stdout), (0, FIRST))
        self.assertEqual(os.listdir(self.spool), [])

    def test_no_room_for_standard_input(self):
        self.environment["TMPDIR"] = self.path("none")
        result = self.piped(LATE, "-", self.out)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"TMPDIR", result.stderr)
        self.assertIn(b"standard input", result.stderr)
        # A file needs none.
        self.assertEqual(self.keys_first(self.source, self.out).returncode, 0)

    def test_fifo(self):
        fifo = self.fifo("fifo")
        process = self.start("--keys-first", fifo, self.out, program=REAL, stderr=subprocess.PIPE)
        with open(fifo, "wb") as file:
            file.write(LATE)
        self.assertEqual(process.wait(TIMEOUT), 0, process.stderr.read())
        self.assert_out(FIRST)

    def test_torn(self):
        torn = self.write("torn.pcapng", LATE[:-len(TWO) - 2])
        offset = len(HEADER + DEVICE + packet(1) + ONE)
        self.assert_fails(self.keys_first(torn, self.out), "torn.pcapng", f"offset {offset}:", "1 blocks of secrets")
        self.assert_out(HEADER + DEVICE + ONE + packet(1))
        result = self.piped(LATE[:-len(TWO) - 2], "-", self.out)
        self.assertIn(f"offset {offset}:".encode(), result.stderr)
        self.assert_out(HEADER + DEVICE + ONE + packet(1))

    def test_file_that_grows(self):
        """What is appended once the secrets were looked for is left alone, for its secrets could no longer be put in front."""
        packets = b"".join(packet(i, 40000) for i in range(100))
        source = self.write("growing.pcapng", LATE + packets)
        process = self.start("--keys-first", source, "-", program=REAL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        begin = process.stdout.read(len(FIRST))  # and there it waits, as a pipe holds little of the rest
        with open(source, "ab") as file:
            file.write(packet(3) + ONE + packet(4))
        self.assertEqual(begin + process.stdout.read(), FIRST + packets)
        self.assertEqual(process.wait(TIMEOUT), 0)

    def test_without_secrets(self):
        plain = self.write("plain.pcapng", HEADER + DEVICE + packet(1))
        result = self.keys_first(plain, self.out)
        self.assertEqual(result.returncode, 0)
        self.assertIn("no secrets", result.stderr)
        self.assert_out(HEADER + DEVICE + packet(1))

    def test_refused(self):
        self.assert_fails(self.keys_first(self.source, self.source), "same file")
        link = self.path("link")
        os.link(self.source, link)
        self.assert_fails(self.keys_first(self.source, link), "same file")
        with open(self.source, "rb") as file:
            self.assertEqual(file.read(), LATE)
            result = subprocess.run([REAL, "--keys-first", "-", self.source], env=self.environment, stdin=file,
                                    text=True, capture_output=True, timeout=TIMEOUT, check=False)
            self.assert_fails(result, "overwrite the input")
        with open(self.source, "rb") as file:
            self.assertEqual(file.read(), LATE)
        self.assert_fails(self.keys_first(self.source), "--keys-first", "IN and OUT")
        self.assert_fails(self.keys_first(self.source, self.out, "more"), "IN and OUT")
        self.assert_fails(self.keys_first(self.path("none"), self.path("untouched")), self.path("none"))
        self.assertFalse(os.path.exists(self.path("untouched")))
        self.assert_fails(self.keys_first(self.write("in.pcap", CLASSIC), self.out), "in.pcap", "holds no secrets")

    def limited(self, mebibytes, source):
        return subprocess.run(["prlimit", f"--data={mebibytes << 20}", REAL, "--keys-first", source, self.out],
                              env=self.environment, capture_output=True, timeout=TIMEOUT, check=False).returncode == 0

    def test_memory_does_not_grow_with_the_file(self):
        """What is enough for a small file is, with 1 MiB more, enough for 200,000 secrets among as many packets."""
        if "asan" in subprocess.run(["ldd", REAL], text=True, capture_output=True, check=True).stdout:
            self.skipTest("a sanitizer takes all addresses that there are")
        part = packet(1) + secrets(b"x" * 100)
        large = self.write("large.pcapng", HEADER + DEVICE)
        with open(large, "ab") as file:
            for _ in range(2000):
                file.write(part * 100)
        enough = next((size for size in range(1, 128) if self.limited(size, self.source)), None)
        self.assertIsNotNone(enough, "fails whatever memory it is given")
        self.assertTrue(self.limited(enough + 1, large), f"{enough + 1} MiB of data are not enough")
        self.assertEqual(os.path.getsize(self.out), os.path.getsize(large))
        with open(self.out, "rb") as file:
            kinds = [kind for kind, _ in blocks(file.read())]
        self.assertEqual(kinds, [SECTION, INTERFACE] + [SECRETS] * 200000 + [PACKET] * 200000)


if __name__ == "__main__":
    unittest.main()
