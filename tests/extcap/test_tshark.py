#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The contract as tshark itself uses it, with the extcap in the user's folder for extcaps."""
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

from remoradump import Case, FAKE, REAL, TIMEOUT

# Seconds that a capture which fails may take longer than one that ends at once, for the same programs start in both.
AT_ONCE = 0.75
CONNECTING = 1 + AT_ONCE  # remoradump tries for a second


class Tshark(Case):
    def setUp(self):
        super().setUp()
        # Up to Wireshark 4.2, and from 4.4 on.
        for folder in (".config/wireshark/extcap", ".local/lib/wireshark/extcap"):
            os.makedirs(self.path(folder))
        self.use(FAKE)

    def use(self, program):
        for folder in (".config/wireshark/extcap", ".local/lib/wireshark/extcap"):
            link = self.path(f"{folder}/remoradump")
            if os.path.lexists(link):
                os.unlink(link)
            os.symlink(program, link)

    def tshark(self, *options, seconds=20):
        try:
            return subprocess.run(["tshark", *options], env=self.environment, stdin=subprocess.DEVNULL, text=True,
                                  capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired as error:
            self.fail(f"tshark hangs: {error.stdout} {error.stderr}")

    def capture(self, endpoint, *options, **kwargs):
        return self.tshark("-i", "k8s", "-o", f"extcap.k8s.endpoint:{endpoint}", *options, **kwargs)

    def test_lists_the_interface(self):
        for program in (FAKE, REAL):
            self.use(program)
            self.assertRegex(self.tshark("-D").stdout, r"(?m)^\d+\. k8s \(Kubernetes cluster: pods' traffic\)$")

    def test_link_types(self):
        self.assertIn("EN10MB (Ethernet)", self.tshark("-L", "-i", "k8s").stdout)

    def test_preferences(self):
        text = self.tshark("-G", "currentprefs").stdout
        for name in ("endpoint", "insecure", "namespace", "pod", "selector", "snaplength", "vantage", "maxwait"):
            self.assertIn(f"extcap.k8s.{name}:", text)

    def test_captures(self):
        result = self.capture("fake:packets=20;end", "-T", "fields", "-e", "frame.number", "-e", "frame.interface_name")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout.splitlines(), [f"{i}\tfake/node" for i in range(1, 21)])
        self.assertNotIn("Error by extcap pipe", result.stderr)

    def test_stops_by_itself(self):
        for stop in ("duration:1", "packets:5"):
            result = self.capture("fake:packets=1000000;rate=1000", "-a", stop, "-w", self.path("out.pcapng"))
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertNotIn("Error by extcap pipe", result.stderr)

    def test_values_survive(self):
        """Colons, commas and flags, as preferences: unix:/path and lists of endpoints."""
        self.use(self.write_recorder())
        self.tshark("-i", "k8s", "-a", "duration:1", "-f", "tcp port 80", "-o", "extcap.k8s.endpoint:unix:/run/a.sock,[::1]:70",
                    "-o", "extcap.k8s.pod:shop/web-*,cart", "-o", "extcap.k8s.comments:true", "-o",
                    "extcap.k8s.selector:app in (a,b),tier=x", "-o", "extcap.k8s.snaplength:96")
        with open(self.path("arguments"), encoding="utf-8") as file:
            arguments = file.read().split("\0")
        for name, value in (("--endpoint", "unix:/run/a.sock,[::1]:70"), ("--pod", "shop/web-*,cart"),
                            ("--selector", "app in (a,b),tier=x"), ("--snap-length", "96"),
                            ("--extcap-capture-filter", "tcp port 80"), ("--extcap-interface", "k8s")):
            self.assertEqual(arguments[arguments.index(name) + 1], value)
        self.assertIn("--comments", arguments)
        self.assertNotIn("--insecure", arguments)
        self.assertNotIn("--max-wait", arguments)

    def write_recorder(self):
        """An extcap that notes what it is called with, and lets remoradump answer."""
        path = self.write("recorder", f"""#!{sys.executable}
import os, sys
if "--capture" in sys.argv:
    with open({self.path("arguments")!r}, "w") as file:
        file.write("\\0".join(sys.argv))
os.execv({FAKE!r}, [{FAKE!r}] + sys.argv[1:])
""")
        os.chmod(path, 0o755)
        return path

    def time_of_a_capture(self):
        self.use(FAKE)
        start = time.monotonic()
        result = self.capture("fake:packets=1;end")
        self.assertEqual(result.returncode, 0, result.stderr)
        return time.monotonic() - start

    def assert_fails_in_time(self, *options, parts, allowed=AT_ONCE):
        """Best of five, each beside its own measure: what else the machine has to do is not what is measured."""
        extra = []
        for _ in range(5):
            usual = self.time_of_a_capture()
            self.use(REAL)
            start = time.monotonic()
            result = self.tshark("-i", "k8s", "-a", "duration:30", *options)
            extra.append(time.monotonic() - start - usual)
            self.assertIn("Error by extcap pipe: remoradump: ", result.stderr)
            for part in parts:
                self.assertIn(part, result.stderr)
            self.assertEqual(result.stderr.count("remoradump:"), 1, result.stderr)
            if extra[-1] < allowed:
                return
        self.fail(f"took {min(extra):.2f} s longer than a capture that ends at once, allowed are {allowed} s")

    def test_no_endpoint(self):
        self.assert_fails_in_time(parts=["no endpoint", "extcap.k8s.endpoint"])

    def test_connection_refused(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))  # and does not listen
            endpoint = f"127.0.0.1:{unused.getsockname()[1]}"
            self.assert_fails_in_time("-o", f"extcap.k8s.endpoint:{endpoint}", parts=[endpoint, "remora-node"],
                                      allowed=CONNECTING)
        endpoint = f"unix:{self.path('none.sock')}"
        self.assert_fails_in_time("-o", f"extcap.k8s.endpoint:{endpoint}", parts=[endpoint, "remora-node"],
                                      allowed=CONNECTING)

    def test_bad_filter(self):
        self.assert_fails_in_time("-o", f"extcap.k8s.endpoint:unix:{self.path('none')}", "-f", "tcp prot 80",
                                  parts=["tcp prot 80", "syntax error"])

    def test_bad_value(self):
        self.assert_fails_in_time("-o", "extcap.k8s.snaplength:many", parts=["--snap-length", "many"])

    def test_stopped_before_a_node_answered(self):
        """dumpcap has then read nothing of the fifo, and tells of the interrupted wait; we tell of no error."""
        self.use(REAL)
        path, out = self.path("silent.sock"), self.path("out.pcapng")
        with socket.socket(socket.AF_UNIX) as node:
            node.bind(path)
            node.listen()
            node.settimeout(TIMEOUT)
            # In a session of its own: the signal goes to all, as that of a terminal's Ctrl-C.
            process = subprocess.Popen(["tshark", "-i", "k8s", "-o", f"extcap.k8s.endpoint:unix:{path}", "-w", out],
                                       env=self.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                       text=True, start_new_session=True)
            try:
                with node.accept()[0]:
                    os.killpg(process.pid, signal.SIGINT)
                    _, text = process.communicate(timeout=TIMEOUT)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.communicate()
        self.assertIn("0 packets captured", text)
        self.assertNotIn("remoradump", text)
        self.assertNotIn("extcap pipe", text)

    def test_not_local(self):
        """192.0.2.0/24 is for documentation; nothing is sent there."""
        self.assert_fails_in_time("-o", "extcap.k8s.endpoint:192.0.2.1:70", parts=["192.0.2.1:70", "insecure"])


if __name__ == "__main__":
    if not shutil.which("tshark"):
        print("tshark is not installed")
        sys.exit(77)
    unittest.main()
