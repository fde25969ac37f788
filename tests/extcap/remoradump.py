# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs remoradump, the real one or that with the fake collector, apart from the user's own configuration."""
import os
import shutil
import struct
import subprocess
import tempfile
import threading
import time
import unittest

BUILD = os.environ["REMORA_BUILD"]
REAL = os.path.join(BUILD, "extcap/remoradump")
FAKE = os.path.join(BUILD, "tests/extcap/remoradump-fake")
TIMEOUT = 20  # of everything that must not hang

SECTION, INTERFACE, STATISTICS, PACKET = 0x0A0D0D0A, 1, 5, 6


class Case(unittest.TestCase):
    """A test with a folder of its own, which is also the user's home."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="remoradump-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("REMORA_", "XDG_", "WIRESHARK_"))}
        self.environment.update(HOME=self.folder, LC_ALL="C.UTF-8")

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, content):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb" if isinstance(content, bytes) else "w") as file:
            file.write(content)
        return self.path(name)

    def fifo(self, name):
        os.mkfifo(self.path(name))
        return self.path(name)

    def read_all(self, fifo):
        """Reads as dumpcap does; what to call for the bytes, once they should have come."""
        result = []

        def read():
            with open(fifo, "rb") as file:
                result.append(file.read())
        thread = threading.Thread(target=read, daemon=True)
        thread.start()

        def join():
            thread.join(TIMEOUT)
            self.assertFalse(thread.is_alive(), "the fifo was not opened and closed: tshark 4.0 would hang")
            return result[0]
        return join

    def start(self, *options, program=FAKE, **kwargs):
        process = subprocess.Popen([program, *options], env=self.environment, stdin=subprocess.DEVNULL, **kwargs)

        def end():
            if process.poll() is None:
                process.kill()
            process.communicate()
        self.addCleanup(end)
        return process

    def run_it(self, *options, program=FAKE, text=True, **kwargs):
        return subprocess.run([program, *options], env=self.environment, stdin=subprocess.DEVNULL, text=text,
                              capture_output=True, timeout=TIMEOUT, check=False, **kwargs)

    def good(self, *options, **kwargs):
        """Standard output of a run that succeeds and has no complaints."""
        result = self.run_it(*options, **kwargs)
        self.assertEqual((result.returncode, result.stderr), (0, "" if kwargs.get("text", True) else b""))
        return result.stdout

    def assert_fails(self, result, *parts):
        """One line on standard error, with all the parts, and an exit code that is no signal and no sanitizer's."""
        self.assertIn(result.returncode, (1, 2))
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertTrue(result.stderr.startswith("remoradump: "), result.stderr)
        for part in parts:
            self.assertIn(part, result.stderr)


def wait_until(condition, what, seconds=TIMEOUT):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"no {what} after {seconds} s")
        time.sleep(0.01)


def blocks(data):
    """(type, block) of little endian pcapng that must be whole to its last byte."""
    at, result = 0, []
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert length >= 12 and length % 4 == 0 and at + length <= len(data), f"torn block at {at}"
        assert struct.unpack_from("<I", data, at + length - 4)[0] == length, f"lengths differ at {at}"
        result.append((kind, data[at:at + length]))
        at += length
    return result


def numbers(data):
    """What the fake collector numbered its packets."""
    return [struct.unpack_from(">Q", block, 28 + 14)[0] for kind, block in blocks(data) if kind == PACKET]


def file_blocks(path):
    with open(path, "rb") as file:
        return blocks(file.read())


def file_numbers(path):
    with open(path, "rb") as file:
        return numbers(file.read())
