#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""remora-node on real network namespaces: two pods that ping each other, read by stream-reader. Needs root."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BUILD = os.environ.get("REMORA_BUILD", "build")
NODE = os.path.join(BUILD, "node-capture", "remora-node")
READER = os.path.join(BUILD, "tests", "node-capture", "stream-reader")
PREFIX = f"remora-t{os.getpid()}"
WAIT_S = 10


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def netns(pod):
    return f"{PREFIX}-{pod}"


def add_namespace(pod):
    run("ip", "netns", "add", netns(pod))
    run("ip", "-n", netns(pod), "link", "set", "lo", "up")


def delete_namespace(pod):
    subprocess.run(["ip", "netns", "del", netns(pod)], stderr=subprocess.DEVNULL)


def join(a, b):
    """eth0 of a (10.77.0.1) and of b (10.77.0.2), back to back."""
    run("ip", "link", "add", "eth0", "netns", netns(a), "type", "veth", "peer", "name", "eth0", "netns", netns(b))
    for pod, address in ((a, "10.77.0.1/24"), (b, "10.77.0.2/24")):
        run("ip", "-n", netns(pod), "addr", "add", address, "dev", "eth0")
        run("ip", "-n", netns(pod), "link", "set", "eth0", "up")


def ping(pod, address, count):
    run("ip", "netns", "exec", netns(pod), "ping", "-q", "-c", str(count), "-i", "0.05", address)


class Lines:
    """The lines that a program prints, as they come."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.rest = b""
        self.lines = []

    def read(self):
        data = self.process.stdout.read()
        if data:
            *whole, self.rest = (self.rest + data).split(b"\n")
            self.lines += [line.decode() for line in whole]
        return data

    def wait(self, done, what):
        """Reads until done(lines), for WAIT_S at most."""
        import select
        end = time.monotonic() + WAIT_S
        while not done(self.lines):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0] or self.read() == b"":
                raise AssertionError(f"{what} did not come; there was:\n" + "\n".join(l[:120] for l in self.lines if not l.startswith("heartbeat")))
        return self.lines

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def has(prefix, count=1):
    return lambda lines: sum(line.startswith(prefix) for line in lines) >= count


def pings(lines, interface=None):
    """(type, sequence) of every ICMP echo packet, of one interface or all."""
    found = []
    for line in lines:
        words = line.split()
        if words[0] == "packet" and (interface is None or words[1] == interface):
            data = bytes.fromhex(words[5])
            if data[12:14] == b"\x08\x00" and data[23] == 1 and data[34] in (0, 8):
                found.append((data[34], int.from_bytes(data[40:42], "big")))
    return found


class EndToEnd(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="remora-")
        self.endpoint = f"unix:{self.folder}/node.sock"
        self.inventory = os.path.join(self.folder, "inventory.json")
        self.log = open(os.path.join(self.folder, "log"), "w+")
        self.programs = []
        for pod in "ab":
            add_namespace(pod)
        join("a", "b")
        self.write_inventory("a", "b")
        self.node = None

    def tearDown(self):
        for program in self.programs:
            program.stop()
        if self.node and self.node.poll() is None:
            self.node.kill()
            self.node.wait()
        for pod in "abc":
            delete_namespace(pod)
        self.log.close()
        shutil.rmtree(self.folder)

    def write_inventory(self, *pods):
        items = [{"kind": "Pod", "apiVersion": "v1",
                  "metadata": {"name": pod, "namespace": "shop", "uid": f"uid-{pod}",
                               "annotations": {"remora.dev/netns": f"/run/netns/{netns(pod)}"}},
                  "spec": {"nodeName": "n1"}, "status": {"phase": "Running", "podIPs": [{"ip": "10.77.0.1"}]}}
                 for pod in pods]
        with open(self.inventory + ".new", "w") as file:
            json.dump({"kind": "List", "apiVersion": "v1", "items": items}, file)
        os.rename(self.inventory + ".new", self.inventory)

    def start_node(self, *options, prefix=()):
        self.node = subprocess.Popen([*prefix, NODE, "--listen", self.endpoint, "--node-name", "n1",
                                      "--inventory", self.inventory, *options], stderr=self.log)

    def open_stream(self, *wishes):
        """Tries until the node is there."""
        end = time.monotonic() + WAIT_S
        while True:
            reader = Lines(READER, self.endpoint, "stream", *wishes)
            self.programs.append(reader)
            lines = reader.wait(lambda lines: has("synced")(lines) or has("closed")(lines), "an answer")
            if has("synced")(lines):
                return reader
            self.assertLess(time.monotonic(), end, lines)

    def ask(self, what):
        return subprocess.run([READER, self.endpoint, what], check=True, stdout=subprocess.PIPE,
                              timeout=WAIT_S).stdout.decode()

    def stop_node(self):
        begin = time.monotonic()
        self.node.send_signal(signal.SIGTERM)
        self.assertEqual(self.node.wait(WAIT_S), 0)
        self.assertLess(time.monotonic() - begin, 1)

    def test_ping(self):
        """Every echo and reply at both ends, once; and nothing is captured before or after."""
        self.start_node()
        reader = self.open_stream("filter=icmp")
        ping("a", "10.77.0.2", 20)
        expected = sorted((kind, number) for kind in (0, 8) for number in range(1, 21))
        lines = reader.wait(lambda lines: len(pings(lines)) >= 80, "80 packets")
        uids = {line.split()[1]: line.split()[3] for line in lines if line.startswith("interface")}
        self.assertEqual(sorted(uids.values()), ["uid-a", "uid-b"])
        for interface in uids:
            self.assertEqual(sorted(pings(lines, interface)), expected)
        self.assertIn("targets_captured 2\n", self.ask("status"))
        self.stop_node()
        reader.wait(has("closed"), "the end")
        self.assertTrue(has("end ")(reader.lines))
        self.assertEqual(len(pings(reader.lines)), 80)
        self.assertFalse(has("loss 1")(reader.lines) or has("loss 2")(reader.lines))

    def test_idle_without_readers(self):
        self.start_node()
        reader = self.open_stream("pods=a")
        self.assertIn("targets_captured 1\n", self.ask("status"))
        reader.stop()
        end = time.monotonic() + WAIT_S
        while "targets_captured 0\n" not in self.ask("status"):
            self.assertLess(time.monotonic(), end)
        self.stop_node()

    def test_pods_come_and_go(self):
        """A pod whose namespace is made later, one that is made anew, and one that leaves."""
        self.start_node()
        reader = self.open_stream("filter=icmp", "snap=100")
        self.write_inventory("a", "b", "c")
        reader.wait(has("identity 1 c"), "pod c")
        add_namespace("c")
        end = time.monotonic() + WAIT_S
        while "targets_captured 3\n" not in self.ask("status"):
            self.assertLess(time.monotonic(), end)
        ping("c", "127.0.0.1", 3)
        reader.wait(lambda lines: len(pings(lines)) >= 6, "pings on lo of c")

        run("ip", "-n", netns("a"), "link", "del", "eth0")
        delete_namespace("b")
        add_namespace("b")
        join("a", "b")
        while self.ask("status").count("targets_opened_total 4\n") == 0:
            self.assertLess(time.monotonic(), end)
        ping("b", "10.77.0.1", 3)
        reader.wait(lambda lines: len(pings(lines)) >= 6 + 12, "pings between a and the new b")

        self.write_inventory("a", "b")
        reader.wait(has("identity 1 c deleted"), "the end of c")
        self.stop_node()

    def test_broken_inventory(self):
        self.start_node()
        self.open_stream()
        with open(self.inventory, "w") as file:
            file.write("{")
        end = time.monotonic() + WAIT_S
        while "problem " + self.inventory not in self.ask("status"):
            self.assertLess(time.monotonic(), end)
        self.assertEqual(self.ask("targets").count("target "), 2)
        self.stop_node()

    def check_refused(self, *words, prefix=(), options=()):
        self.start_node(*options, prefix=prefix)
        self.assertEqual(self.node.wait(WAIT_S), 1)
        self.log.seek(0)
        text = self.log.read()
        for word in words:
            self.assertIn(word, text)

    def test_missing_capability(self):
        self.check_refused("CAP_NET_RAW", "setpriv", prefix=("setpriv", "--bounding-set", "-net_raw"))

    def test_missing_capabilities(self):
        self.check_refused("CAP_NET_RAW", "CAP_SYS_ADMIN",
                           prefix=("setpriv", "--bounding-set", "-net_raw,-sys_admin"))

    def test_bad_options(self):
        self.check_refused("column 7", options=("--selector", "app in"))
        self.check_refused("--insecure", options=("--listen", "0.0.0.0:0"))


if __name__ == "__main__":
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("ping"):
        print("needs root, ip and ping")
        sys.exit(77)
    unittest.main()
