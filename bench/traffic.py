# SPDX-License-Identifier: GPL-2.0-or-later
"""A host with one pod that remora-blast sends numbered datagrams to, and the programs under test beside it."""
import os
import subprocess
import sys

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(SOURCE, "demo"))
from cluster import Cluster, wait_for  # noqa: E402,F401

RAM = "/dev/shm"  # so that no disk is measured
ENDLESS = 10**9


class Bench(Cluster):
    def __init__(self, build, folder):
        super().__init__(folder)
        self.binaries = build

    def build(self):
        self.add_host("worker-1", "10.99.0.11", "10.244.1.0/24")
        self.add_pod("bench", "sink", "worker-1", "10.244.1.2")

    def blast(self, length, count, rate):
        """Sends `count` frames of `length` bytes at `rate` a second into the pod; returns when they are out."""
        self.exec("worker-1", [os.path.join(self.binaries, "bench/remora-blast"), "--device", "p1", "--length",
                               str(length), "--count", str(count), "--rate", str(rate)],
                  stdout=subprocess.DEVNULL)

    def start_blast(self, length, rate):
        """The same without an end; to be killed."""
        return self.spawn("worker-1", [os.path.join(self.binaries, "bench/remora-blast"), "--device", "p1", "--length",
                                       str(length), "--count", str(ENDLESS), "--rate", str(rate)],
                          stdout=subprocess.DEVNULL)

    def start_remora(self, endpoint="127.0.0.1:7777"):
        node = self.start_node_at(endpoint)
        return node

    def start_node_at(self, endpoint):
        process = self.spawn("worker-1", [os.path.join(self.binaries, "node-capture/remora-node"), "--listen",
                                          endpoint, "--node-name", "worker-1", "--inventory",
                                          self.write_inventory()], log="node.log")
        self.wait_port("worker-1", int(endpoint.rsplit(":", 1)[1]))
        return process

    def remoradump(self, *options, **kwargs):
        return self.spawn("worker-1", [os.path.join(self.binaries, "extcap/remoradump"), *options], **kwargs)

    def captured(self, endpoint="127.0.0.1:7777"):
        argv = self.entering("worker-1", [os.path.join(self.binaries, "extcap/remoradump"), "--list-targets",
                                        "--endpoint", endpoint])
        return " captured " in subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def packets_in(path):
    """Packets of a capture file."""
    text = subprocess.run(["capinfos", "-c", "-M", "-T", "-r", path], check=False, text=True,
                          capture_output=True).stdout
    try:
        return int(text.split()[-1])
    except (IndexError, ValueError):
        return 0
