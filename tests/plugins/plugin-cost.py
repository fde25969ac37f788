#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the plugin costs tshark: user time of reading an annotated file with and without it, in pairs
A B B A, as a ratio with its range; with it, A against A, to tell the noise. The kernel's time is the same work in
both, and most of the noise. bench/ counts instructions too, which no noise changes.

    REMORA_BUILD=build/dev REMORA_SOURCE=. tests/plugins/plugin-cost.py [PACKETS [PAIRS]]"""
import os
import re
import resource
import statistics
import struct
import sys

from annotated import (EXTERNAL, Pcapng, WiresharkTest, identity, pod, tcp, udp)

PODS = 40


def capture(packets):
    """TCP segments of many connections between annotated pods, some UDP to the outside."""
    ends = [pod("shop", f"frontend-6c9f7d5b8-{i:05d}", entity=1000 + i, node=f"node-{i % 8}",
                owner_type="Deployment", owner_name="frontend") for i in range(PODS)]
    common = {"cluster": "lab", "capture_node": "node-1", "capture_device": "eth0",
              "capture_pod": "shop/frontend-6c9f7d5b8-00000"}
    frames, options = [], []
    for i in range(PODS):
        src, dst = dict(ends[i]), dict(ends[(i * 7 + 3) % PODS], service="catalog")
        options.append((identity(src, dst, common), identity(dst, src, common),
                        identity(src, {"type": EXTERNAL}, common)))
    file = Pcapng().interface("lab/node-1")
    parts = [file.data]
    for n in range(packets):
        i, turn = n % PODS, n // PODS
        client, server = f"10.1.0.{i + 1}", f"10.1.1.{i + 1}"
        seq = 1 + 100 * (turn // 2)
        if n % 20 == 0:
            frame, option = udp(client, "198.51.100.7", 40000, 9999, bytes(60)), options[i][2]
        elif turn % 2 == 0:
            frame, option = tcp(client, server, 30000 + i, 7777, seq, seq, payload=bytes(100)), \
                options[i][0]
        else:
            frame, option = tcp(server, client, 7777, 30000 + i, seq, seq + 100,
                                payload=bytes(100)), options[i][1]
        file.data = b""
        parts.append(file.packet(frame, option, step_ns=10_000).data)
    return b"".join(parts)


class Cost(WiresharkTest):
    def cpu(self, *arguments, plugin):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.run_program("tshark", "-r", self.file, *arguments, plugin=plugin)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime

    def instructions(self, plugin, few=10_000, many=30_000):
        """Instructions that tshark takes for a packet: the difference of two files, so without its start."""
        log, counts = self.path("cachegrind.log"), []
        for packets in (few, many):
            file = self.write("count.pcapng", capture(packets))
            self.run_program("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null",
                             f"--log-file={log}", "tshark", "-n", "-r", file, plugin=plugin, timeout=900)
            with open(log, encoding="utf-8") as text:
                counts.append(int(re.search(r"I\s+refs:\s+([\d,]+)", text.read())[1].replace(",", "")))
            os.unlink(log)
        return (counts[1] - counts[0]) / (many - few)

    def ratio(self, pairs, with_plugin, without):
        """CPU of the first over CPU of the second, each a (arguments, plugin)."""
        ratios = []
        for _ in range(pairs):
            first = [self.cpu(*with_plugin[0], plugin=with_plugin[1])]
            second = [self.cpu(*without[0], plugin=without[1]) for _ in range(2)]
            first.append(self.cpu(*with_plugin[0], plugin=with_plugin[1]))
            ratios.append(sum(first) / sum(second))
        return ratios, sum(second) / 2

    def report(self, packets, pairs):
        self.file = self.write("cost.pcapng", capture(packets))
        plain, where = ("-n",), ("-n", "-Y", 'k8s.pod.name == "x"')
        lines = [
            ("plain tshark -r, A against A", (plain, False), (plain, False)),
            ("plain tshark -r", (plain, True), (plain, False)),
            ("-Y k8s.pod.name == \"x\", against -Y frame.len == 1", (where, True),
             (("-n", "-Y", "frame.len == 1"), False)),
        ]
        for title, ours, base in lines:
            ratios, seconds = self.ratio(pairs, ours, base)
            print(f"{title}: median {statistics.median(ratios):.3f}, "
                  f"{min(ratios):.3f} to {max(ratios):.3f}, {pairs} pairs; "
                  f"base {seconds * 1e6 / packets:.2f} s/M packets", flush=True)


if __name__ == "__main__":
    Cost.setUpClass()
    try:
        Cost().report(int(sys.argv[1]) if len(sys.argv) > 1 else 300_000,
                      int(sys.argv[2]) if len(sys.argv) > 2 else 7)
    finally:
        Cost.doClassCleanups()
