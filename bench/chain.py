# SPDX-License-Identifier: GPL-2.0-or-later
"""Node -> gRPC -> collector -> file against ssh tcpdump -U, both over loopback into a file in memory."""
import os
import signal
import subprocess
import tempfile
import time

from measure import Cpu, paired
from traffic import RAM, Bench, packets_in, wait_for

ENDPOINT = "127.0.0.1:7777"


def warm(size):
    """Has the system use `size` bytes of memory and give them back: the first touch of a page of a virtual machine costs
    ten times what a file's page costs else, whoever happens to come to it first."""
    path, block = f"{RAM}/remora-bench-warm", bytes(1 << 20)
    with open(path, "wb") as file:
        for _ in range(0, size, len(block)):
            file.write(block)
    os.unlink(path)


def settled(path):
    size, since = -1, time.monotonic()
    while time.monotonic() - since < 1:
        now = os.path.getsize(path) if os.path.exists(path) else 0
        if now != size:
            size, since = now, time.monotonic()
        time.sleep(0.05)


class Ssh:
    """An sshd of our own on the bench host's loopback, with keys of its own."""

    def __init__(self, bench):
        self.bench, folder = bench, bench.folder
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}"], check=True)
        os.makedirs("/run/sshd", exist_ok=True)
        self.daemon = bench.spawn("worker-1", [
            "/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-p", "2222", "-h", f"{folder}/host",
            "-o", "ListenAddress=127.0.0.1", "-o", f"AuthorizedKeysFile={folder}/user.pub",
            "-o", "PermitRootLogin=yes", "-o", "StrictModes=no", "-o", "UsePAM=no", "-o", "PidFile=none"],
            log="sshd.log")
        bench.wait_port("worker-1", 2222)

    def start(self, path):
        remote = (f"exec nsenter --net={self.bench.netns_path('sink')} "
                  "tcpdump -i eth0 -U -w - udp 2>/dev/null")
        with open(path, "wb") as file:
            return self.bench.spawn("worker-1", [
                "ssh", "-q", "-p", "2222", "-i", f"{self.bench.folder}/user", "-o", "StrictHostKeyChecking=no",
                "-o", "UserKnownHostsFile=/dev/null", "root@127.0.0.1", remote], stdout=file,
                stderr=subprocess.DEVNULL)


def ours(bench, node, length, count, rate):
    """(packets delivered, CPU seconds of all processes in the path)"""
    path = f"{RAM}/remora-bench.pcapng"
    warm(count * (length + 200))
    dump = bench.remoradump("--endpoint", ENDPOINT, "-w", path, stderr=subprocess.DEVNULL)
    try:
        wait_for(bench.captured, "capture")
        with Cpu(node.pid, dump.pid) as cpu:
            bench.blast(length, count, rate)
            settled(path)
    finally:
        bench.kill(dump, signal.SIGINT)
    delivered = packets_in(path)
    os.unlink(path)
    return delivered, cpu.seconds


def theirs(bench, ssh, length, count, rate):
    path = f"{RAM}/remora-bench.pcap"
    warm(count * (length + 200))
    client = ssh.start(path)
    try:
        wait_for(lambda: os.path.getsize(path) >= 24, "tcpdump through ssh")
        with Cpu(ssh.daemon.pid, client.pid) as cpu:
            bench.blast(length, count, rate)
            settled(path)
    finally:
        bench.kill(client)
    delivered = packets_in(path)
    os.unlink(path)
    return delivered, cpu.seconds


def cpu(build, report, pairs):
    with tempfile.TemporaryDirectory(prefix="remora-bench-") as folder, Bench(build, folder) as bench:
        node, ssh = bench.start_remora(), Ssh(bench)
        for length, rate, count in ((64, 100_000, 600_000), (1400, 40_000, 200_000)):
            def per_million(runner, tool):
                delivered, seconds = runner(bench, tool, length, count, rate)
                return seconds / max(delivered, 1) * 1e6
            median, low, high, a, b = paired(lambda: per_million(ours, node),
                                             lambda: per_million(theirs, ssh), pairs)
            report.add(f"chain to a file against ssh tcpdump -U, {length} B at {rate // 1000} kpps", a, b,
                       (median, low, high), 0.35, "CPU s/M packets")


def highest(runner, length):
    """The highest rate, in packets a second, at which a run of two seconds loses nothing."""
    low, high = 0, None
    rate = 50_000
    while rate <= 1_000_000 and (high is None or high / max(low, 1) > 1.12):
        count = rate * 2
        if runner(length, count, rate) >= count:
            low = rate
        else:
            high = rate
        if high is None:
            rate *= 2
        else:
            rate = int((low + high) / 2)
            if low == 0 and rate < 5_000:
                break
    return low


def rate(build, report, pairs):
    with tempfile.TemporaryDirectory(prefix="remora-bench-") as folder, Bench(build, folder) as bench:
        node, ssh = bench.start_remora(), Ssh(bench)
        for length in (64, 1400):
            median, low, high, a, b = paired(
                lambda: highest(lambda *run: ours(bench, node, *run)[0], length) / 1000,
                lambda: highest(lambda *run: theirs(bench, ssh, *run)[0], length) / 1000, min(pairs, 3))
            report.add_least(f"highest rate without loss, {length} B", a, b, (median, low, high), 3,
                             "kpps")
