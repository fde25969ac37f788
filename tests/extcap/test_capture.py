#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the packets go: files, standard output and fifos; how a capture ends."""
import os
import pty
import resource
import signal
import socket
import subprocess
import time
import unittest

from remoradump import (Case, FAKE, PACKET, REAL, SECTION, STATISTICS, TIMEOUT, blocks, file_blocks, file_numbers,
                        numbers, wait_until)


class Files(Case):
    def test_all_blocks_and_a_summary(self):
        out = self.path("out.pcapng")
        result = self.run_it("--write", out, "--endpoint", "fake:packets=5000;end;lost=7")
        self.assertEqual((result.returncode, result.stdout), (0, ""))
        self.assertEqual(file_numbers(out), list(range(5000)))
        kinds = [kind for kind, _ in file_blocks(out)]
        self.assertEqual((kinds[0], kinds[-1]), (SECTION, STATISTICS))
        self.assertIn("5000 packets", result.stderr)
        self.assertIn(out, result.stderr)
        self.assertIn("7 in their queues", result.stderr)

    def test_no_summary_of_what_never_began(self):
        result = self.run_it("--write", self.path("out.pcapng"), "--endpoint", "fake:refuse")
        self.assertEqual(result.returncode, 1)
        warning, error = result.stderr.splitlines()
        self.assertIn("trying again", warning)
        self.assertIn("connection refused", error)

    def test_replaces_an_older_file(self):
        out = self.write("out.pcapng", b"x" * 1000000)
        self.run_it("--write", out, "--endpoint", "fake:packets=1;end")
        self.assertEqual(file_numbers(out), [0])

    def test_a_file_stays_if_the_capture_never_begins(self):
        out, new = self.write("out.pcapng", b"precious"), self.path("new.pcapng")
        for path in (out, new):
            self.assertEqual(self.run_it("--write", path, "--endpoint", "fake:refuse").returncode, 1)
        with open(out, "rb") as file:
            self.assertEqual(file.read(), b"precious")
        self.assertFalse(os.path.exists(new))

    def test_standard_output(self):
        for option in ("--fifo", "--write"):
            result = self.run_it("--capture", "--extcap-interface", "k8s", option, "-", "--endpoint",
                                 "fake:packets=3;end", text=False)
            self.assertEqual(result.returncode, 0)
            self.assertEqual(numbers(result.stdout), [0, 1, 2])

    def test_standard_output_that_does_not_block(self):
        ours, theirs = os.pipe()
        os.set_blocking(theirs, False)
        process = self.start("--write", "-", "--endpoint", "fake:packets=5000;size=1000;end", stdout=theirs,
                             stderr=subprocess.PIPE)
        os.close(theirs)
        time.sleep(0.3)  # until the pipe is full
        with open(ours, "rb") as pipe:
            self.assertEqual(len(numbers(pipe.read())), 5000)
        self.assertEqual(process.wait(TIMEOUT), 0)

    def test_no_pcapng_for_a_terminal(self):
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        process = self.start("--write", "-", "--endpoint", "fake:packets=1;end", stdout=theirs, stderr=subprocess.PIPE)
        os.close(theirs)
        _, text = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 2)
        self.assertIn(b"terminal", text)

    def test_cannot_open(self):
        self.assert_fails(self.run_it("--write", self.path("no/folder"), "--endpoint", "fake:end"),
                          self.path("no/folder"), "No such file or directory")

    def test_full_device(self):
        self.assert_last_line("No space left on device", "/dev/full",
                              self.run_it("--write", "/dev/full", "--endpoint", "fake:packets=5;end"))

    def assert_last_line(self, reason, path, result):
        self.assertEqual(result.returncode, 1)
        last = result.stderr.splitlines()[-1]
        self.assertTrue(last.startswith(f"remoradump: cannot write {path}: {reason}"), result.stderr)

    def test_full_disk_leaves_whole_blocks(self):
        self.fill_disk("fake:packets=100000;end")

    def test_full_disk_in_the_middle_of_pieces(self):
        self.fill_disk("fake:packets=100000;pieces;end")

    def fill_disk(self, endpoint):
        """A limit on the size of files stands for the disk: the write that meets it is cut short."""
        out, limit = self.path("out.pcapng"), 700001
        result = self.run_it("--write", out, "--endpoint", endpoint, preexec_fn=lambda:
                             resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        self.assert_last_line("File too large", out, result)
        found = file_numbers(out)
        self.assertEqual(found, list(range(len(found))))
        self.assertGreater(os.path.getsize(out), limit - 200)
        self.assertIn(f"{os.path.getsize(out)} bytes", result.stderr)


class Limits(Case):
    def test_packets(self):
        for count in (1, 999, 5000):
            out = self.path("out.pcapng")
            result = self.run_it("-w", out, "-c", str(count), "--endpoint", "fake:packets=20000")
            self.assertEqual(result.returncode, 0)
            self.assertEqual(file_numbers(out), list(range(count)))
            self.assertEqual(file_blocks(out)[-1][0], STATISTICS)
            self.assertIn(f" {count} packets, ", result.stderr)

    def test_pieces(self):
        out = self.path("out.pcapng")
        self.run_it("-w", out, "-c", "20000", "--endpoint", "fake:packets=20000;pieces")
        self.assertEqual(file_numbers(out), list(range(20000)))
        self.run_it("-w", out, "--endpoint", "fake:packets=20000;pieces;end")
        self.assertEqual(file_numbers(out), list(range(20000)))
        self.run_it("-w", out, "-c", "777", "--endpoint", "fake:packets=20000;pieces")
        self.assertEqual(file_numbers(out), list(range(777)))

    def test_packets_across_batches(self):
        out = self.path("out.pcapng")
        self.run_it("-w", out, "-c", "777", "--endpoint", "fake:packets=2000;size=1400")
        self.assertEqual(file_numbers(out), list(range(777)))

    def test_duration(self):
        out = self.path("out.pcapng")
        result = self.run_it("-w", out, "--duration", "300ms", "--endpoint", "fake:packets=10")
        self.assertEqual(result.returncode, 0)
        self.assertEqual(file_numbers(out), list(range(10)))


class Signals(Case):
    def test_stops_cleanly(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            out = self.path("out.pcapng")
            process = self.start("-w", out, "--endpoint", "fake:packets=1000000;rate=5000", stderr=subprocess.PIPE)
            wait_until(lambda o=out: os.path.exists(o) and os.path.getsize(o) > 10000, "packets")
            process.send_signal(number)
            process.communicate(timeout=TIMEOUT)
            self.assertEqual(process.returncode, 0)
            found = file_blocks(out)
            self.assertEqual(found[-1][0], STATISTICS)
            self.assertGreater(sum(kind == PACKET for kind, _ in found), 50)
            os.unlink(out)

    def test_a_file_stays_if_stopped_before_a_node_answered(self):
        """The node takes the connection and says nothing."""
        old, new = self.write("old.pcapng", b"precious"), self.path("new.pcapng")
        for number, out in ((1, old), (2, new)):
            path = self.path(f"{number}.sock")
            with socket.socket(socket.AF_UNIX) as node:
                node.bind(path)
                node.listen()
                node.settimeout(TIMEOUT)
                process = self.start("-w", out, "--endpoint", f"unix:{path}", program=REAL, stderr=subprocess.PIPE,
                                     text=True)
                with node.accept()[0]:
                    process.send_signal(signal.SIGINT)
                    _, text = process.communicate(timeout=TIMEOUT)
            self.assertEqual(process.returncode, 0, text)
            self.assertIn("before a node answered", text)
        with open(old, "rb") as file:
            self.assertEqual(file.read(), b"precious")
        self.assertFalse(os.path.exists(new))

    def test_second_signal_ends_at_once(self):
        """The reader does not read, so the capture cannot flush; whoever asks twice means it."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        process = self.start("-w", "-", "--endpoint", "fake:packets=1000000;size=1400", stdout=writer,
                             stderr=subprocess.PIPE)
        os.close(writer)
        wait_until(lambda: stuck_in_write(process.pid), "full pipe")
        process.send_signal(signal.SIGTERM)
        with self.assertRaises(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=5), 128 + signal.SIGTERM)

    def test_reader_goes_away(self):
        reader, writer = os.pipe()
        process = self.start("-w", "-", "--endpoint", "fake:packets=1000000;size=1400", stdout=writer,
                             stderr=subprocess.PIPE)
        os.close(writer)
        os.read(reader, 100000)
        os.close(reader)
        _, text = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 0, text)


def stuck_in_write(pid):
    with open(f"/proc/{pid}/wchan", encoding="ascii") as file:
        name = file.read()
    return "pipe" in name


class Fifo(Case):
    """Wireshark's fifo: it is opened for reading, and what is on standard error is shown as an error."""

    def test_silent_on_success(self):
        fifo = self.fifo("fifo")
        join = self.read_all(fifo)
        self.good("--capture", "--extcap-interface", "k8s", "--fifo", fifo, "--endpoint",
                  "fake:packets=100;end;note=something")
        self.assertEqual(numbers(join()), list(range(100)))

    def test_tshark_has_no_toolbar_and_is_told_of_losses(self):
        fifo = self.fifo("fifo")
        join = self.read_all(fifo)
        result = self.run_it("--capture", "--fifo", fifo, "--endpoint", "fake:packets=1;end;warn=packets were lost")
        join()
        self.assertEqual(result.returncode, 0)
        self.assertIn("packets were lost", result.stderr)

    def test_every_failure_opens_and_closes_the_fifo(self):
        for options, part in ((("--endpoint", "fake:refuse"), "connection refused"), ((), "no endpoint"),
                              (("--endpoint", "fake:end", "--extcap-capture-filter", "tcp tcp"), "syntax error"),
                              (("--endpoint", "fake:end", "--snap-length", "x"), "--snap-length"),
                              (("--endpoint", "fake:end", "--nonsense"), "--nonsense"),
                              (("--endpoint", "fake:end", "--inventory", "/none"), "/none"),
                              (("--endpoint", "fake:end", "--extcap-interface", "other"), "other")):
            with self.subTest(options):
                fifo = self.fifo("fifo")
                join = self.read_all(fifo)
                self.assert_fails(self.run_it("--capture", "--fifo", fifo, *options), part)
                self.assertEqual(join(), b"")
                os.unlink(fifo)

    def test_a_failure_does_not_wait_for_ever_for_a_reader(self):
        self.assert_fails(self.run_it("--capture", "--fifo", self.fifo("fifo")), "no endpoint")

    def test_fifo_that_is_none(self):
        self.assert_fails(self.run_it("--capture", "--fifo", self.path("none")), "no endpoint")
        self.assertFalse(os.path.exists(self.path("none")))


class Selection(Case):
    def test_says_when_nothing_matches(self):
        pods = "fake:end;pod=shop/web;pod=infra/dns"
        result = self.run_it("-w", self.path("o"), "--endpoint", pods, "--namespace", "shpo")
        self.assertEqual(result.returncode, 0)
        self.assertIn("no pod matches", result.stderr)
        self.assertIn("infra, shop", result.stderr)
        for options in (("--namespace", "shop"), ("--pod", "we?"), ("--pod", "infra/*"), ()):
            result = self.run_it("-w", self.path("o"), "--endpoint", pods, *options)
            self.assertNotIn("no pod matches", result.stderr)

    def test_nodes_that_do_not_answer_hold_up_the_end_only_once(self):
        endpoints = ",".join(f"fake:end;mute;word{i}" for i in range(5))
        start = time.monotonic()
        result = self.run_it("-w", self.path("o"), "--endpoint", endpoints, "--pod", "web")
        self.assertEqual(result.returncode, 0)
        self.assertLess(time.monotonic() - start, 5)


if __name__ == "__main__":
    unittest.main()
