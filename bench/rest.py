# SPDX-License-Identifier: GPL-2.0-or-later
"""remora-node on a machine with 250 pods: what it takes while nothing happens, and how soon a new pod is captured.

The pods are processes in control groups named as a kubelet names them, each with a network namespace of its own, so the
node finds them in the kernel as it does in a cluster; their names come from a small API server in this process."""
import os
import re
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

from traffic import RAM, SOURCE, wait_for

sys.path[:0] = [os.path.join(SOURCE, name) for name in ("tests/cluster", "tests/k8s-enrich/api", "tests/e2e")]
import cgroups  # noqa: E402
from common import packets, stop  # noqa: E402
from fake_server import Fake  # noqa: E402

PODS, SERVICES, SECONDS, PROGRAMS = 250, 100, 60, 80
RESIDENT_MB, CPU_PERCENT, CAPTURED_MS = 40, 0.5, 50
# By default there are rings for 256 pods. The others are there before.
OTHERS, ALONE, BURSTS, TOGETHER, ALIVE_MS = 200, 200, 20, 10, 300
NODE_NAME = "bench-node"


def uid(number):
    return f"{number:08x}-1b2c-4d5e-8f90-00000000cafe"


def metadata(kind, number, **more):
    return {"name": f"{kind}-{number}-7d9f8b6c5-{number:05x}", "namespace": "production", "uid": uid(number), **more}


class Machine:
    """A context manager: control groups, pods, the API server and the node."""

    def __init__(self, build, folder):
        self.build, self.folder = build, folder
        self.root = os.path.join(cgroups.tracking(), f"remora-bench-{os.getpid()}")
        self.fake, self.pods, self.processes, self.groups = Fake(protobuf=True), [], [], []

    def __enter__(self):
        os.mkdir(self.root)
        self.groups.append(self.root)
        self.fake.put("nodes", {"metadata": {"name": NODE_NAME, "uid": "uid-of-the-node"}})
        for number in range(SERVICES):
            self.fake.put("services", {"metadata": metadata("catalog", 1 << 20 | number)})
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes + self.pods):
            if process.poll() is None:
                process.kill()
            process.wait()
        self.fake.close()
        for group in reversed(self.groups):
            wait_for(lambda g=group: self.remove(g), f"end of {group}")

    @staticmethod
    def remove(group):
        try:
            os.rmdir(group)
        except OSError:
            return False
        return True

    def declare(self, number):
        """A pod as the API server has it before any process of it runs; returns its control group's file of processes."""
        labels = {"app.kubernetes.io/name": "catalog", "app.kubernetes.io/instance": f"catalog-{number // 10}",
                  "app.kubernetes.io/version": "1.4.2", "pod-template-hash": "7d9f8b6c5", "tier": "backend"}
        owner = {"kind": "ReplicaSet", "name": f"catalog-{number // 10}-7d9f8b6c5"}
        self.fake.put("pods", {"metadata": metadata("catalog", number, labels=labels, ownerReferences=[owner]),
                               "spec": {"nodeName": NODE_NAME}, "status": {"phase": "Running", "podIP": ""}})
        group = self.root
        for part in ("kubepods", "burstable", f"pod{uid(number)}", f"{number:064x}"):
            group = os.path.join(group, part)
            if not os.path.exists(group):
                os.mkdir(group)
                self.groups.append(group)
        return os.path.join(group, "cgroup.procs")

    def bear(self, number, procs, milliseconds):
        process = subprocess.Popen([os.path.join(self.build, "bench/remora-newborn"), procs, str(number),
                                    str(milliseconds)], stdout=subprocess.PIPE)
        self.pods.append(process)
        return process

    def fill(self, count):
        for number in range(count):
            process = self.bear(number, self.declare(number), 0)
            assert process.stdout.readline() == b"ready\n", "a pod did not start"
            address = f"10.200.{number // 250}.{number % 250 + 1}"
            subprocess.run(["nsenter", f"--net=/proc/{process.pid}/ns/net", "ip", "-batch", "-"], check=True, text=True,
                           input=f"link set lo up\nlink add eth0 type veth peer name peer0\n"
                                 f"address add {address}/32 dev eth0\nlink set eth0 up\nlink set peer0 up\n")

    def start_node(self):
        config, socket = os.path.join(self.folder, "kubeconfig"), os.path.join(self.folder, "node.sock")
        with open(config, "w", encoding="ascii") as file:
            file.write(f"current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n"
                       f"clusters: [{{name: k, cluster: {{server: \"http://127.0.0.1:{self.fake.port}\"}}}}]\n"
                       f"users: [{{name: u, user: {{}}}}]\n")
        prefix = self.root[len(cgroups.tracking()):]
        self.endpoint = f"unix:{socket}"
        with open(os.path.join(self.folder, "node.log"), "wb") as log:
            node = subprocess.Popen([os.path.join(self.build, "node-capture/remora-node"), "--listen", self.endpoint,
                                     "--node-name", NODE_NAME, "--kubeconfig", config, "--cgroup-prefix", prefix],
                                    stderr=log)
        self.processes.append(node)
        return node

    def targets(self, word):
        text = subprocess.run([os.path.join(self.build, "extcap/remoradump"), "--list-targets", "--endpoint",
                               self.endpoint], capture_output=True, text=True, check=False).stdout
        return sum(f" {word} " in f"{line} " and "catalog-" in line for line in text.splitlines())

    def open_stream(self, path):
        dump = subprocess.Popen([os.path.join(self.build, "extcap/remoradump"), "--endpoint", self.endpoint, "-w", path],
                                stderr=subprocess.DEVNULL)
        self.processes.append(dump)
        return dump


def resident_bytes(pid):
    """(all but rings, rings): a ring is a mapping of a packet socket."""
    sizes, name = {True: 0, False: 0}, ""
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as file:
        for line in file:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                name = line.split(None, 5)[5].strip() if len(line.split(None, 5)) > 5 else ""
            elif line.startswith("Rss:"):
                sizes[name.startswith("socket:")] += int(line.split()[1]) * 1024
    return sizes[False], sizes[True]


def used(pid):
    """(nanoseconds of CPU time, wake-ups) of all threads so far. The threads at rest live as long as the node."""
    nanoseconds = wakes = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
            nanoseconds += int(file.read().split()[0])
        with open(f"/proc/{pid}/task/{task}/status", encoding="utf-8") as file:
            wakes += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", file.read(), re.M).group(1))
    return nanoseconds, wakes


def started():
    """Processes that this machine has started: the node is told of each program, whoever runs it."""
    with open("/proc/stat", encoding="ascii") as file:
        return int(re.search(r"^processes (\d+)", file.read(), re.M).group(1))


def add(report, what, value, target, unit):
    ratio = value / target
    report.add(what, value, target, (ratio, ratio, ratio), 1, f"{unit}; theirs: the target")


class Programs:
    """A context manager: starts so many programs a second, outside of pods."""

    def __init__(self, rate):
        self.rate, self.over = rate, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        due = time.monotonic()
        while not self.over.wait(max(0, due - time.monotonic())):
            subprocess.run(["/bin/true"], check=True)
            due += 1 / self.rate

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def at_rest(report, pid, how):
    before, processes, start = used(pid), started(), time.monotonic()
    time.sleep(SECONDS)  # what is measured is that nothing happens
    seconds, after, processes = time.monotonic() - start, used(pid), started() - processes
    memory, rings = resident_bytes(pid)
    add(report, f"remora-node, {PODS} pods, {how}: resident besides {rings / 1e6:.0f} MB of rings", memory / 1e6,
        RESIDENT_MB, "MB")
    add(report, f"the same: CPU over {SECONDS} s, {(after[1] - before[1]) / seconds:.1f} wake-ups/s while the machine "
        f"started {processes / seconds:.1f} processes/s",
        (after[0] - before[0]) / seconds / 1e7, CPU_PERCENT, "% of a core")


def rest(build, report, _):
    with tempfile.TemporaryDirectory(prefix="remora-bench-") as folder, Machine(build, folder) as machine:
        machine.fill(PODS)
        node = machine.start_node()
        wait_for(lambda: machine.targets("idle") == PODS or machine.targets("ready") == PODS, f"{PODS} pods", 30)
        at_rest(report, node.pid, "no stream")
        with Programs(PROGRAMS):
            at_rest(report, node.pid, f"no stream, {PROGRAMS} programs a second started outside of pods")
        path = f"{RAM}/remora-bench-rest.pcapng"
        try:
            dump = machine.open_stream(path)
            wait_for(lambda: machine.targets("captured") == PODS, f"{PODS} pods captured", 60)
            at_rest(report, node.pid, "one stream")
            with Programs(PROGRAMS):
                at_rest(report, node.pid, f"one stream, {PROGRAMS} programs a second started outside of pods")
            stop(dump)
        finally:
            if os.path.exists(path):
                os.unlink(path)


def first_captured(path):
    """{number: (milliseconds from the namespace to the first packet that was captured, its serial number)}"""
    found = {}
    with open(path, "rb") as file:
        data = file.read()
    for _, time_ns, frame, _ in packets(data):
        if len(frame) >= 58 and frame[12:14] == b"\x08\x00" and frame[23] == 17 and frame[36:38] == b"\x27\x0f":
            number, serial, born_ns = struct.unpack_from("=IIQ", frame, 42)
            found[number] = min(found.get(number, (1e9, 0)), ((time_ns - born_ns) / 1e6, serial))
    return found


def tell(report, what, firsts):
    """A first packet with the number 0 says that the pod was captured before, perhaps long before."""
    delays, missed = sorted(delay for delay, _ in firsts), sum(serial > 0 for _, serial in firsts)
    p95 = delays[len(delays) * 95 // 100]
    add(report, f"{what}: slowest of {len(delays)} (median {statistics.median(delays):.1f}, 95 % {p95:.1f}); {missed} of "
        "them had sent something before", delays[-1], CAPTURED_MS, "ms")


def newborn(build, report, _):
    """Pods one after the other, then ten at a time, beside 200 that rest."""
    with tempfile.TemporaryDirectory(prefix="remora-bench-") as folder, Machine(build, folder) as machine:
        machine.fill(OTHERS)
        numbers = range(OTHERS, OTHERS + ALONE + BURSTS * TOGETHER)
        procs = {number: machine.declare(number) for number in numbers}
        machine.start_node()
        path = f"{RAM}/remora-bench-newborn.pcapng"
        try:
            wait_for(lambda: machine.targets("") >= OTHERS, f"{OTHERS} pods", 30)
            dump = machine.open_stream(path)
            wait_for(lambda: machine.targets("captured") == OTHERS, f"{OTHERS} pods captured", 60)
            for number in numbers[:ALONE]:
                assert machine.bear(number, procs[number], ALIVE_MS).wait() == 0, "a pod failed"
            for first in range(ALONE, len(numbers), TOGETHER):
                group = [machine.bear(n, procs[n], ALIVE_MS) for n in numbers[first:first + TOGETHER]]
                assert not any([pod.wait() for pod in group]), "a pod failed"
            stop(dump, signal.SIGINT)
            found = first_captured(path)
        finally:
            if os.path.exists(path):
                os.unlink(path)
        # Of a pod that was never captured it is known only that it took longer than it lived.
        firsts = [found.get(number, (ALIVE_MS, ALIVE_MS)) for number in numbers]
        tell(report, "a new pod is captured, from its network namespace on", firsts[:ALONE])
        tell(report, f"{TOGETHER} new pods at a time", firsts[ALONE:])


def run(build, report, pairs):
    rest(build, report, pairs)
    newborn(build, report, pairs)
