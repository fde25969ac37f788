#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The toolbar's two pipes, from Wireshark's side (ui/qt/interface_toolbar.cpp)."""
import os
import subprocess
import threading
import time
import unittest

from remoradump import Case, TIMEOUT, numbers, wait_until

SET, ADD, STATUS_BAR = 1, 2, 6


def messages(data):
    result = []
    while data:
        assert data[0:1] == b"T" and len(data) >= 6, data[:20]
        length = int.from_bytes(data[1:4], "big")
        assert len(data) >= 4 + length, "torn message"
        result.append((data[4], data[5], data[6:4 + length].decode()))
        data = data[4 + length:]
    return result


class Toolbar(Case):
    def start_capture(self, endpoint, *options):
        self.fifos = [self.fifo(name) for name in ("fifo", "to-extcap", "from-extcap")]
        return self.start("--capture", "--extcap-interface", "k8s", "--fifo", self.fifos[0], "--extcap-control-in",
                          self.fifos[1], "--extcap-control-out", self.fifos[2], "--endpoint", endpoint, *options,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def open_as_wireshark(self):
        """The GUI's own thread opens our control-in, and waits there for as long as nobody reads it."""
        opened = []
        thread = threading.Thread(target=lambda: opened.append(os.open(self.fifos[1], os.O_WRONLY)), daemon=True)
        thread.start()
        thread.join(TIMEOUT)
        self.assertTrue(opened, "control-in was not opened: Wireshark would hang")
        self.addCleanup(os.close, opened[0])
        return opened[0]

    def read_in_background(self, path):
        """What comes, from opening to end of file."""
        data = bytearray()

        def read():
            with open(path, "rb", buffering=0) as file:
                while part := file.read(65536):
                    data.extend(part)
        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return data, thread

    def test_notes_status_and_nothing_on_stderr(self):
        process = self.start_capture("fake:packets=50;rate=100;note=node-1 is there;warn=node-2 lost 3 packets;lost=3")
        packets, packet_reader = self.read_in_background(self.fifos[0])
        control = self.open_as_wireshark()
        os.write(control, b"T\0\0\2\0\0")  # initialized
        data, reader = self.read_in_background(self.fifos[2])
        wait_until(lambda: any(m[:2] == (0, SET) and "50 packets" in m[2] for m in whole(data)), "status")
        process.terminate()
        out, err = process.communicate(timeout=TIMEOUT)
        self.assertEqual((process.returncode, out, err), (0, b"", b""))
        reader.join(TIMEOUT)
        packet_reader.join(TIMEOUT)
        self.assertEqual(numbers(bytes(packets)), list(range(50)))
        told = messages(bytes(data))
        self.assertTrue(any(m[:2] == (1, ADD) and m[2].endswith(" node-1 is there\n") for m in told), told)
        self.assertTrue(any(m[:2] == (1, ADD) and m[2].endswith(" node-2 lost 3 packets\n") for m in told), told)
        self.assertIn("node-2 lost 3 packets", [m[2] for m in told if m[1] == STATUS_BAR])
        self.assertNotIn("node-1 is there", [m[2] for m in told if m[1] == STATUS_BAR])
        self.assertIn("1 of 1 nodes, 50 packets, 3 lost", [m[2] for m in told if m[:2] == (0, SET)])

    def test_wireshark_that_never_opens_the_pipes(self):
        process = self.start_capture("fake:packets=10;end;note=x")
        with open(self.fifos[0], "rb") as fifo:
            self.assertEqual(numbers(fifo.read()), list(range(10)))
        self.assertEqual(process.communicate(timeout=TIMEOUT), (b"", b""))
        self.assertEqual(process.returncode, 0)

    def test_failure_waits_until_wireshark_has_opened(self):
        """Wireshark opens control-in some time after it has started us; by then somebody must be there, however early we failed."""
        process = self.start_capture("fake:refuse")
        with open(self.fifos[0], "rb") as fifo:
            time.sleep(0.3)  # what Wireshark does meanwhile; not waited for by this test
            self.open_as_wireshark()
            self.assertEqual(fifo.read(), b"")
        _, err = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 1)
        self.assertIn(b"connection refused", err)


def whole(data):
    try:
        return messages(bytes(data))
    except AssertionError:
        return []


if __name__ == "__main__":
    unittest.main()
