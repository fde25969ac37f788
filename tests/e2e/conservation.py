# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets sent = packets delivered + packets told as lost: slow consumer, stopped consumer, killed node."""
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time

from common import (NODE, REMORADUMP, SOURCE, Cluster, captured, check, check_equal, main, packets, pcapng,
                    options, start_nodes, stop, wait_for)

PORT = 9999
SINKS = {"sender-1": "10.99.0.12", "sender-2": "10.99.0.11"}  # the other host: no pod, one vantage
GENERATOR = os.path.join(SOURCE, "tests/e2e/generator.py")


class Senders(Cluster):
    """Two hosts with a pod each that sends numbered datagrams to the other host."""

    def build(self):
        self.add_host("worker-1", "10.99.0.11", "10.244.1.0/24")
        self.add_host("worker-2", "10.99.0.12", "10.244.2.0/24")
        for host in self.hosts:  # a sink that answers nothing
            rule = (f"table ip sink {{\nchain input {{\ntype filter hook input priority 0\n"
                    f"udp dport {PORT} drop\n}}\n}}\n")
            self.exec(host, ["nft", "-f", "-"], input=rule, text=True)
        self.add_pod("test", "sender-1", "worker-1", "10.244.1.2")
        self.add_pod("test", "sender-2", "worker-2", "10.244.2.2")

    def send(self, pod, count, rate):
        return self.spawn(pod, [sys.executable, GENERATOR, SINKS[pod], str(PORT), str(count), str(rate)],
                          stdout=subprocess.PIPE, text=True)


class Reader(threading.Thread):
    """Reads remoradump's output at a rate that can be changed: bytes a second, 0 stopped, None unlimited."""

    def __init__(self, stream, rate=None):
        super().__init__(daemon=True)
        self.stream, self.rate, self.parts = stream, rate, []
        self.start()

    def run(self):
        while True:
            if self.rate == 0:
                time.sleep(0.01)
                continue
            size = 65536 if self.rate is None else max(1, self.rate // 50)
            data = self.stream.read1(size)
            if not data:
                return
            self.parts.append(data)
            if self.rate:
                time.sleep(len(data) / self.rate)

    def data(self):
        return b"".join(self.parts)


def dump(folder, endpoints, *extra):
    """remoradump to a pipe; its notes and the summary go to a file."""
    log = open(os.path.join(folder, "remoradump.log"), "wb")
    process = subprocess.Popen([REMORADUMP, "--capture", "--extcap-interface", "k8s", "--fifo", "-",
                                "--endpoint", ",".join(endpoints), "--extcap-capture-filter",
                                f"udp port {PORT}", *extra], stdout=subprocess.PIPE, stderr=log)
    log.close()
    return process


def sequence_numbers(data):
    """{sender's address: [sequence numbers in file order]}"""
    found = {}
    for _, _, packet, _ in packets(data):
        check_equal(struct.unpack_from("!H", packet, 36)[0], PORT, "destination port")
        found.setdefault(packet[26:30], []).append(struct.unpack_from("!Q", packet, 42)[0])
    return found


def drops_in_file(data):
    """Lost packets by the file's own account: isb_ifdrop and isb_osdrop of every interface."""
    total = 0
    for kind, body in pcapng(data):
        if kind == 5:
            found = options(body[12:])
            total += sum(struct.unpack("<Q", v)[0] for code in (5, 7) for v in found.get(code, []))
    return total


def dropcounts(data):
    return sum(struct.unpack("<Q", value)[0] for _, _, _, found in packets(data)
               for value in found.get(4, []))


def conserve(folder, cluster, process, reader, sent, what):
    """After the senders are done: reads on until nothing comes, then balances."""
    reader.rate = None
    size, since = -1, time.monotonic()
    while time.monotonic() - since < 1.5:
        if len(reader.parts) != size:
            size, since = len(reader.parts), time.monotonic()
        time.sleep(0.05)
    status = stop(process)
    reader.join(20)
    check_equal(status, 0, f"remoradump's exit status, see {folder}")
    data = reader.data()
    delivered = 0
    for numbers in sequence_numbers(data).values():
        check_equal(len(set(numbers)), len(numbers), f"{what}: packets delivered twice")
        check_equal(numbers, sorted(numbers), f"{what}: order of one sender's packets")
        delivered += len(numbers)
    lost = drops_in_file(data)
    check_equal(delivered + lost, sent, f"{what}: delivered {delivered} + told lost {lost}")
    return delivered, lost, data


def sent_by(processes):
    return sum(int(process.communicate(timeout=120)[0]) for process in processes)


def run(folder, rates, what, must_lose, stopped=False):
    with Senders(os.path.join(folder, "cluster")) as cluster:
        endpoints, _ = start_nodes(cluster, "--queue-size", "1M")
        process = dump(folder, endpoints.values())
        reader = Reader(process.stdout, rates)
        try:
            wait_for(lambda: captured(endpoints.values()) == 2, "capture")
            if stopped:
                reader.rate = 0
            sent = sent_by([cluster.send("sender-1", 60000, 15000), cluster.send("sender-2", 60000, 15000)])
            delivered, lost, data = conserve(folder, cluster, process, reader, sent, what)
        finally:
            process.kill()
            process.wait()
    check(not must_lose or lost > 1000, f"{what}: only {lost} lost, so nothing was tested")
    if must_lose:
        check(dropcounts(data) > 0, f"{what}: no epb_dropcount tells where the loss was")
    print(f"  {what}: sent {sent}, delivered {delivered}, told lost {lost}")


def unhindered(folder):
    run(folder, None, "unhindered", False)


def slow_consumer(folder):
    # 30,000 packets a second of about 200 bytes offered, a tenth of it read.
    run(folder, 600_000, "slow consumer", True)


def stopped_consumer(folder):
    run(folder, None, "stopped consumer", True, stopped=True)


def killed_node(folder):
    with Senders(os.path.join(folder, "cluster")) as cluster:
        endpoints, nodes = start_nodes(cluster)
        process = dump(folder, endpoints.values())
        reader = Reader(process.stdout)
        try:
            wait_for(lambda: captured(endpoints.values()) == 2, "capture")
            senders = [cluster.send(pod, 20000, 4000) for pod in SINKS]
            wait_for(lambda: len(reader.data()) > 200_000, "first packets")
            killed_ns = time.time_ns()
            cluster.kill(nodes["worker-1"], signal.SIGKILL)
            time.sleep(0.5)  # the length of the outage, not a wait for something
            cluster.start_node(NODE, "worker-1", endpoints["worker-1"],
                               f"{cluster.folder}/inventory.json")
            wait_for(lambda: captured(endpoints.values()) == 2, "capture after the restart", 15)
            captured_ns = time.time_ns()
            sent_by(senders)
            time.sleep(0.3)
            settle = -1
            while settle != len(reader.parts):
                settle = len(reader.parts)
                time.sleep(0.5)
            check_equal(stop(process), 0, "exit status")
            reader.join(20)
        finally:
            process.kill()
            process.wait()
    data = reader.data()
    numbers = sequence_numbers(data)
    other = numbers[bytes([10, 244, 2, 2])]
    check_equal(other, list(range(20000)), "packets of the node that stayed")
    mine = numbers[bytes([10, 244, 1, 2])]
    check_equal(len(set(mine)), len(mine), "packets delivered twice")
    missing = sorted(set(range(20000)) - set(mine))
    check(missing, "nothing was missing though the node was away")
    check_equal(missing, list(range(missing[0], missing[-1] + 1)), "one gap")
    # The gap lies within the outage: what came before it had been sent 0.2 s before the kill at the earliest.
    times = {struct.unpack_from("!Q", p, 42)[0]: t for _, t, p, _ in packets(data)
             if p[26:30] == bytes([10, 244, 1, 2])}
    check(times[missing[0] - 1] > killed_ns - 500_000_000, "packets from long before the kill are missing")
    check(times[missing[-1] + 1] < captured_ns + 100_000_000, "capture began late after the restart")
    comments = [value.decode() for _, _, _, found in packets(data) for value in found.get(1, [])]
    check(any("worker-1" in text for text in comments), f"no comment in the file tells of the gap: {comments}")
    log = open(os.path.join(folder, "remoradump.log"), encoding="utf-8").read()
    check(re.search("worker-1", log), f"no note told of the node: {log}")


if __name__ == "__main__":
    main(unhindered, slow_consumer, stopped_consumer, killed_node)
