# SPDX-License-Identifier: GPL-2.0-or-later
"""A bulk TCP transfer between two nodes: the analysis of our file finds no more wrong than that of tcpdump's."""
import os
import re
import signal
import subprocess
import sys

from common import REMORADUMP, Cluster, captured, check, check_equal, main, start_nodes, stop, wait_for, wireshark
from demo import settled

CLIENT, SERVER, PORT = "client-0", "server-0", 5001
BYTES, RATE, SNAP_LENGTH = 100_000_000, 20_000_000, 128  # RATE: bytes a second
ANALYSIS = ("retransmission", "lost_segment", "out_of_order", "duplicate_ack")

RECEIVE = """
import socket, sys
with socket.create_server(("0.0.0.0", int(sys.argv[1]))) as listener:
    print("ready", flush=True)
    connection, total = listener.accept()[0], 0
    while data := connection.recv(1 << 20):
        total += len(data)
    print(total, flush=True)
"""
# The kernel paces TCP itself, so that this does not depend on a queueing discipline that it may not have.
SEND = """
import socket, sys
SO_MAX_PACING_RATE = 47
connection = socket.socket()
connection.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, int(sys.argv[4]))
connection.connect((sys.argv[1], int(sys.argv[2])))
left, data = int(sys.argv[3]), bytes(1 << 16)
while left:
    left -= connection.send(data[:left])
connection.close()
"""


class Pair(Cluster):
    """A pod on each of two hosts."""

    def build(self):
        self.add_host("worker-1", "10.99.0.11", "10.244.1.0/24")
        self.add_host("worker-2", "10.99.0.12", "10.244.2.0/24")
        self.add_pod("bulk", CLIENT, "worker-1", "10.244.1.2")
        self.add_pod("bulk", SERVER, "worker-2", "10.244.2.2")


def transfer(cluster):
    """Returns how many bytes the server has got."""
    server = cluster.spawn(SERVER, [sys.executable, "-c", RECEIVE, str(PORT)], stdout=subprocess.PIPE, text=True)
    check_equal(server.stdout.readline(), "ready\n", "the server's greeting")
    client = cluster.spawn(CLIENT, [sys.executable, "-c", SEND, cluster.pods[SERVER]["address"], str(PORT),
                                    str(BYTES), str(RATE)], log="client.log")
    check_equal(client.wait(60), 0, "the sender's exit status")
    return int(server.stdout.readline())


def tcpdump(cluster, path):
    process = cluster.spawn(SERVER, ["tcpdump", "-i", "eth0", "-U", "-B", "32768", "-s", str(SNAP_LENGTH), "-w", path,
                                     "-Z", "root", "tcp"], log="tcpdump.log")
    wait_for(lambda: os.path.exists(path) and os.path.getsize(path) >= 24, "tcpdump")
    return process


def record(folder, ours, theirs):
    with Pair(os.path.join(folder, "pair")) as cluster:
        endpoints, _ = start_nodes(cluster)
        truth = tcpdump(cluster, theirs)
        dump = subprocess.Popen([REMORADUMP, "-w", ours, "--snap-length", str(SNAP_LENGTH), "--endpoint",
                                 ",".join(endpoints.values()), "tcp"], stderr=subprocess.PIPE, text=True)
        try:
            wait_for(lambda: dump.poll() is not None or captured(endpoints.values()) == 2, "capture of both pods")
            check_equal(transfer(cluster), BYTES, "bytes that the server got")
            settled(ours)
            settled(theirs)
        finally:
            status = stop(dump)
        text = dump.stderr.read()
        check_equal(status, 0, f"remoradump's exit status ({text})")
        cluster.kill(truth, signal.SIGINT)
        with open(os.path.join(cluster.folder, "tcpdump.log"), encoding="utf-8") as file:
            told = file.read()
    check("none lost" in text, f"the capture lost packets: {text}")
    check(re.search(r"^0 packets dropped by kernel", told, re.M), f"tcpdump lost packets: {told}")


def counts(tools, path):
    """{what: how many packets} of the analysis, the packets, and the payload's bytes."""
    rows = tools.fields(path, "tcp", "tcp.len", *(f"tcp.analysis.{name}" for name in ANALYSIS))
    found = {name: sum(bool(row[i + 1]) for row in rows) for i, name in enumerate(ANALYSIS)}
    return found, len(rows), sum(int(row[0]) for row in rows)


def bulk(folder):
    tools = wireshark(folder)
    ours, theirs = os.path.join(folder, "ours.pcapng"), os.path.join(folder, "theirs.pcap")
    record(folder, ours, theirs)
    found, packets, payload = counts(tools, ours)
    expected, expected_packets, expected_payload = counts(tools, theirs)
    check(expected_payload >= BYTES, f"tcpdump saw {expected_payload} bytes only")
    check_equal((packets, payload), (expected_packets, expected_payload), "packets and bytes of payload")
    for name in ANALYSIS:
        check(found[name] <= expected[name], f"tcp.analysis.{name}: {found[name]}, {expected[name]} with tcpdump")


if __name__ == "__main__":
    main(bulk)
