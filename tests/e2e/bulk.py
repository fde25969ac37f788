# SPDX-License-Identifier: GPL-2.0-or-later
"""A bulk TCP transfer between two nodes, with packets lost on the way: what is analysed in a file of ours is what is
analysed in tcpdump's file of the same pod, packet for packet."""
import os
import re
import signal
import subprocess
import sys

from common import (REMORADUMP, Cluster, captured, check, check_equal, main, start_nodes, stop, tcpdump, wait_for,
                    wireshark)
from demo import settled

CLIENT, SERVER, PORT = "client-0", "server-0", 5001
BYTES, RATE, SNAP_LENGTH = 200_000_000, 20_000_000, 128  # RATE: bytes a second
ANALYSIS = ("retransmission", "fast_retransmission", "spurious_retransmission", "lost_segment", "out_of_order",
            "duplicate_ack")
LOST_PERMILLE = 5  # of the packets, at each of two places

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


def lose(cluster, name, hook):
    """Drops packets of the transfer at random at a hook of a namespace's network. Not those that open it: without them
    the server's pod does not see the connection in time, and it is the client's pod that is in the file."""
    cluster.exec(name, ["nft", "-f", "-"], text=True, input=f"""table ip loss {{
  chain {hook} {{
    type filter hook {hook} priority 0;
    tcp dport {PORT} tcp flags & syn == 0 numgen random mod 1000 < {LOST_PERMILLE} counter drop
    tcp sport {PORT} tcp flags & syn == 0 numgen random mod 1000 < {LOST_PERMILLE} counter drop
  }}
}}
""")


def dump(endpoints, path, *options):
    return subprocess.Popen([REMORADUMP, "-w", path, "--snap-length", str(SNAP_LENGTH), "--endpoint",
                             ",".join(endpoints), *options, "tcp"], stderr=subprocess.PIPE, text=True)


def record(cluster, ours, theirs):
    """A transfer, seen in each pod by us and by tcpdump; `ours` and `theirs` are {pod: path}."""
    # Between the pods: neither end has them. In the server's pod, behind the device: it is sent again, and seen twice.
    lose(cluster, "worker-1", "forward")
    lose(cluster, SERVER, "input")
    endpoints, _ = start_nodes(cluster)
    truth = [tcpdump(cluster, pod, "eth0", path, "-B", "32768", "-s", str(SNAP_LENGTH), "tcp")
             for pod, path in theirs.items()]
    # Of both pods that have the connection one is in the file: the server's.
    dumps = [dump(endpoints.values(), ours[SERVER]), dump(endpoints.values(), ours[CLIENT], "--pod", f"bulk/{CLIENT}")]
    try:
        wait_for(lambda: any(d.poll() is not None for d in dumps) or captured(endpoints.values()) == 2,
                 "capture of both pods")
        check_equal(transfer(cluster), BYTES, "bytes that the server got")
        for path in (*ours.values(), *theirs.values()):
            settled(path)
    finally:
        statuses = [stop(d) for d in dumps]
    for process, status in zip(dumps, statuses):
        text = process.stderr.read()
        check_equal(status, 0, f"remoradump's exit status ({text})")
        check("none lost" in text, f"the capture lost packets: {text}")
    for process in truth:
        cluster.kill(process, signal.SIGINT)
    for pod in theirs:
        with open(os.path.join(cluster.folder, f"tcpdump-{pod}-eth0.log"), encoding="utf-8") as file:
            told = file.read()
        check(re.search(r"^0 packets dropped by kernel", told, re.M), f"tcpdump lost packets: {told}")


def analysis(tools, path):
    """Of each packet: its port, sequence numbers and length, and what is wrong with it."""
    return tools.fields(path, "tcp", "tcp.srcport", "tcp.seq_raw", "tcp.ack_raw", "tcp.len",
                        *(f"tcp.analysis.{name}" for name in ANALYSIS))


def bulk(folder):
    tools = wireshark(folder)
    ours = {pod: os.path.join(folder, f"{pod}.pcapng") for pod in (CLIENT, SERVER)}
    theirs = {pod: os.path.join(folder, f"{pod}.pcap") for pod in (CLIENT, SERVER)}
    with Pair(os.path.join(folder, "pair")) as cluster:
        record(cluster, ours, theirs)
    for pod in (CLIENT, SERVER):
        found, expected = analysis(tools, ours[pod]), analysis(tools, theirs[pod])
        counts = {name: sum(bool(row[4 + i]) for row in expected) for i, name in enumerate(ANALYSIS)}
        print(f"  {pod}: {len(expected)} packets, {counts}", flush=True)
        check(sum(int(row[3]) for row in expected) >= BYTES, "tcpdump did not see all of the transfer")
        check(counts["retransmission"] and counts["duplicate_ack"], "nothing was sent again: the test shows nothing")
        check(pod == CLIENT or counts["lost_segment"] or counts["out_of_order"], "no gap at the server")
        check_equal(len(found), len(expected), f"{pod}: packets")
        for number, (row, other) in enumerate(zip(found, expected), 1):
            check_equal(row, other, f"{pod}: packet {number}")


if __name__ == "__main__":
    main(bulk)
