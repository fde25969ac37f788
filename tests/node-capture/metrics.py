#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""/metrics, /healthz and /readyz of remora-node, while it captures a real network namespace. Needs root."""

import http.client
import importlib.util
import os
import re
import shutil
import socket
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
DOCS = os.path.join(HERE, "..", "..", "docs", "node.md")

spec = importlib.util.spec_from_file_location("end_to_end", os.path.join(HERE, "end-to-end.py"))
base = importlib.util.module_from_spec(spec)
spec.loader.exec_module(base)

SAMPLE = re.compile(r'^(remora_node_[a-z_]+)(\{[a-z]+="[^"\n]*"(?:,[a-z]+="[^"\n]*")*\})? ([0-9.]+)$')


def documented(section, until):
    """The names in backquotes in the tables of a section of docs/node.md."""
    with open(DOCS) as file:
        text = file.read()
    text = text[text.index(f"## {section}\n"):text.index(f"## {until}\n")]
    return [name for line in text.splitlines() if line.startswith("|")
            for name in re.findall(r"`([a-z_]+)`", line)]


def parse(text):
    """Samples by name; every one must have its HELP and TYPE before it."""
    samples, kinds, helped = {}, {}, set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped.add(line.split()[2])
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            kinds[name] = kind
        else:
            match = SAMPLE.match(line)
            assert match, line
            name = match[1]
            assert name in helped and kinds[name] in ("counter", "gauge") and name not in samples, line
            assert (kinds[name] == "counter") == name.endswith("_total"), line
            samples[name] = float(match[3])
    return samples


class Metrics(unittest.TestCase):
    setUpBase = base.EndToEnd.setUp
    tearDown = base.EndToEnd.tearDown
    write_inventory = base.EndToEnd.write_inventory
    start_node = base.EndToEnd.start_node
    open_stream = base.EndToEnd.open_stream
    ask = base.EndToEnd.ask
    stop_node = base.EndToEnd.stop_node

    def setUp(self):
        self.setUpBase()
        self.start_node("--metrics", "127.0.0.1:0")
        self.port = self.wait_port()

    def wait_port(self):
        end = time.monotonic() + base.WAIT_S
        while True:
            with open(self.log.name) as file:
                match = re.search(r"metrics on .*, port (\d+)", file.read())
            if match:
                return int(match[1])
            self.assertLess(time.monotonic(), end)
            self.assertIsNone(self.node.poll())
            time.sleep(0.01)

    def get(self, path, method="GET", source="127.0.0.1"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=base.WAIT_S,
                                                source_address=(source, 0))
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode()
        finally:
            connection.close()

    def scrape(self):
        status, headers, text = self.get("/metrics")
        self.assertEqual(status, 200)
        self.assertTrue(headers["Content-Type"].startswith("text/plain; version=0.0.4"))
        return parse(text)

    def test_counters(self):
        """Every documented counter is there, the same ones as in GetStatus, and they rise."""
        reader = self.open_stream("filter=icmp")
        before = self.scrape()
        counters = documented("Status", "Metrics")
        self.assertIn("packets_lost_kernel_total", counters)
        for name in counters:
            self.assertIn("remora_node_" + name, before)
        told = {line.split()[0] for line in self.ask("status").splitlines()}
        self.assertEqual(set(counters) - told, set())
        for name in re.findall(r"\b[a-z_]+_total\b", " ".join(told)):
            self.assertIn(name, counters)
        self.assertEqual((before["remora_node_targets_known"], before["remora_node_targets_captured"],
                          before["remora_node_targets_failing"], before["remora_node_subscribers"]), (2, 2, 0, 1))
        self.assertGreater(before["remora_node_ring_bytes"], 0)
        self.assertEqual(before["remora_node_synced"], 1)
        self.assertLess(abs(before["remora_node_start_time_seconds"] - time.time()), 60)

        base.ping("a", "10.77.0.2", 10)
        reader.wait(lambda lines: len(base.pings(lines)) >= 40, "40 packets")
        after = self.scrape()
        for name, rise in (("packets_captured_total", 40), ("bytes_captured_total", 40 * 98),
                           ("packets_offered_total", 40), ("packets_sent_total", 40), ("bytes_sent_total", 40 * 98),
                           ("messages_sent_total", 1)):
            name = "remora_node_" + name
            self.assertGreaterEqual(after[name] - before[name], rise, name)
        for name in before:
            if name.endswith("_total"):
                self.assertGreaterEqual(after[name], before[name], name)
        self.stop_node()

    def test_paths(self):
        end = time.monotonic() + base.WAIT_S
        while self.get("/readyz")[0] != 200:
            self.assertLess(time.monotonic(), end)
        self.assertEqual(self.get("/healthz")[0], 200)
        self.assertEqual(self.get("/metrics", "HEAD")[2], "")
        self.assertEqual(self.get("/nothing")[0], 404)
        status, headers, _ = self.get("/metrics", "POST")
        self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD"))
        self.stop_node()

    def test_slow_clients(self):
        """Half requests hold up nobody, nor the end of the program."""
        slow = []
        try:
            for _ in range(8):
                client = socket.create_connection(("127.0.0.1", self.port), timeout=base.WAIT_S)
                client.sendall(b"GET /metrics HTTP/1.1\r\nHos")
                slow.append(client)
            begin = time.monotonic()
            self.assertEqual(self.get("/healthz")[0], 200)
            self.assertLess(time.monotonic() - begin, 2)
            self.stop_node()
        finally:
            for client in slow:
                client.close()

    def test_limit(self):
        """One address that takes all connections it can get leaves room for others."""
        greedy = []
        try:
            for _ in range(100):
                greedy.append(socket.create_connection(("127.0.0.1", self.port), timeout=base.WAIT_S))
            self.assertEqual(greedy[-1].recv(1), b"")  # closed: over the limit
            self.assertEqual(self.get("/healthz", source="127.0.0.2")[0], 200)
            self.stop_node()
        finally:
            for client in greedy:
                client.close()


if __name__ == "__main__":
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("ping"):
        print("needs root, ip and ping")
        sys.exit(77)
    unittest.main()
