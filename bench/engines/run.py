#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The capture engines against each other in 10 and 250 network namespaces, and the chosen one against tcpdump -w."""
import argparse
import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from measure import Report, paired  # noqa: E402

RAM = "/dev/shm"  # so that no disk is measured
LOAD = "remora-bench-load"  # the namespace that sends
# tcpdump hands its buffer over after a second at the latest.
SETTLE_SECONDS = 1.2
COUNT = {64: 500_000, 1400: 300_000}
# Below what any of the programs can take.
ENGINE_RATE = {64: 250_000, 1400: 150_000}
TCPDUMP_RATE = {64: 150_000, 1400: 60_000}
TCPDUMP_TARGET = {64: 1.0, 1400: 0.9}
LOSS_COUNT = 500_000
LOSS_RATES = (100_000, 150_000, 200_000, 300_000, 400_000, 0)  # 0: as fast as it goes
NEIGHBOURS_PER_CPU = 2


def run(*argv, **kwargs):
    return subprocess.run(argv, check=True, **kwargs)


class Namespaces:
    """`count` namespaces, each with an eth0 whose other end is in the one that sends."""

    def __init__(self, count):
        self.names = [f"remora-bench-{i}" for i in range(count)]
        self.devices = [f"pod{i}" for i in range(count)]

    def __enter__(self):
        self.__exit__()
        for name in [LOAD, *self.names]:
            run("ip", "netns", "add", name)
            # Its own packets would be in the way.
            run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
                "net.ipv6.conf.default.disable_ipv6=1")
        for name, device in zip(self.names, self.devices):
            run("ip", "-n", LOAD, "link", "add", device, "up", "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "-n", name, "link", "set", "eth0", "up")
        return self

    def __exit__(self, *_):
        for name in [LOAD, *self.names]:
            if os.path.exists(f"/run/netns/{name}"):
                run("ip", "netns", "del", name)


def cpu_seconds(pid):
    """Time on a CPU so far, to the nanosecond: /proc/PID/stat counts ticks."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total / 1e9


class Result:
    """What one run took and gave."""

    def __init__(self, sent, rate, tally, capture_cpu, sender_cpu):
        self.sent, self.rate, self.got = sent, rate, tally["distinct"]
        self.duplicates = tally["duplicates"]
        self.loss = 1 - self.got / sent
        self.capture = capture_cpu / max(self.got, 1) * 1e6
        self.total = (capture_cpu + sender_cpu) / sent * 1e6


class Programs:
    def __init__(self, build, namespaces, folder):
        self.build, self.namespaces, self.folder = build, namespaces, folder

    def blast(self, length, count, rate):
        """Sends. Returns the rate it reached and the CPU seconds it took; the capture hook runs on its time."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = run("ip", "netns", "exec", LOAD, f"{self.build}/bench/remora-blast", "--device",
                   ",".join(self.namespaces.devices), "--length", str(length), "--count", str(count), "--rate",
                   str(rate), capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (json.loads(done.stdout)["rate"],
                after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    def measure(self, process, output, length, count, rate):
        """One run beside a capture that is ready."""
        before = cpu_seconds(process.pid)
        reached, sender_cpu = self.blast(length, count, rate)
        time.sleep(SETTLE_SECONDS)
        capture_cpu = cpu_seconds(process.pid) - before
        process.send_signal(signal.SIGTERM)  # children of a script may ignore SIGINT
        process.wait()
        tally = json.loads(run(f"{self.build}/bench/remora-tally", output, capture_output=True, text=True).stdout)
        os.unlink(output)
        return Result(count, reached, tally, capture_cpu, sender_cpu)

    def engine(self, program, length, count, rate, *options):
        output = f"{self.folder}/{program}.pcapng"
        with subprocess.Popen([f"{self.build}/bench/engines/{program}", "--output", output, "--namespace",
                               ",".join(self.namespaces.names), *options], stdout=subprocess.PIPE,
                              text=True) as process:
            if process.stdout.readline() != "ready\n":
                sys.exit(f"{program} did not start")
            return self.measure(process, output, length, count, rate)

    def afpacket(self, length, count, rate):
        return self.engine("capture-file", length, count, rate)

    def ringbuf(self, length, count, rate):
        return self.engine("capture-ringbuf", length, count, rate, "--rings", "64M")

    def tcpdump(self, length, count, rate):
        output = f"{self.folder}/tcpdump.pcap"
        # nsenter and not "ip netns exec": the process started is the one measured, either way.
        with subprocess.Popen(["nsenter", f"--net=/run/netns/{self.namespaces.names[0]}", "tcpdump", "-i", "eth0",
                               "-w", output, "-Z", "root"], stderr=subprocess.PIPE, text=True) as process:
            while "listening on" not in (line := process.stderr.readline()):
                if not line:
                    sys.exit("tcpdump did not start")
            return self.measure(process, output, length, count, rate)


@contextlib.contextmanager
def programs(build, count):
    folder = tempfile.mkdtemp(prefix="remora-bench-", dir=RAM)
    try:
        with Namespaces(count) as namespaces:
            yield Programs(build, namespaces, folder)
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def neighbours():
    """Busy processes beside the capture, as on a node that does its work. On an idle machine nobody loses anything."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"])
            for _ in range(NEIGHBOURS_PER_CPU * os.cpu_count())]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


class Keep:
    """A runner for paired() that keeps whole results."""

    def __init__(self, runner, what, *arguments):
        self.runner, self.what, self.arguments, self.results = runner, what, arguments, []

    def __call__(self):
        self.results.append(self.runner(*self.arguments))
        return getattr(self.results[-1], self.what)

    def loss(self):
        return 100 * max(result.loss for result in self.results)


def compare_engines(build, pairs):
    print("\n| namespaces | frame | TPACKET_V3, CPU s/M (capture) | BPF ring buffer, CPU s/M (capture) | "
          "ratio of all CPU (range) | worst loss, TPACKET_V3 | worst loss, BPF |\n|---|---|---|---|---|---|---|")
    for count in (10, 250):
        with programs(build, count) as program:
            for length in (64, 1400):
                load = (length, COUNT[length], ENGINE_RATE[length])
                a, b = Keep(program.afpacket, "total", *load), Keep(program.ringbuf, "total", *load)
                ratio, low, high, ours, theirs = paired(a, b, pairs)
                captures = [sorted(r.capture for r in x.results)[pairs // 2] for x in (a, b)]
                print(f"| {count} | {length} B | {ours:.2f} ({captures[0]:.3f}) | {theirs:.2f} ({captures[1]:.3f}) | "
                      f"**{ratio:.2f}** ({low:.2f}-{high:.2f}) | {a.loss():.2f} % | {b.loss():.2f} % |", flush=True)
            if count == 10:
                load = (64, COUNT[64], ENGINE_RATE[64])
                a, b = (Keep(program.afpacket, "total", *load) for _ in range(2))
                ratio, low, high, *_ = paired(a, b, pairs)
                control = f"{ratio:.2f} ({low:.2f}-{high:.2f})"
    print(f"\nA/A control (TPACKET_V3 against itself, 10 namespaces, 64 B): {control}")


def where_tcpdump_loses(program, length):
    """The lowest rate tried at which tcpdump loses 10 %, or the highest; what both lose there (we: worst of 3)."""
    with neighbours():
        for rate in LOSS_RATES:
            theirs = program.tcpdump(length, LOSS_COUNT, rate)
            if theirs.loss >= 0.1:
                break
        ours = [program.afpacket(length, LOSS_COUNT, rate).loss for _ in range(3)]
    return theirs.rate, 100 * theirs.loss, 100 * max(ours)


def capture(build, report, pairs):
    """Against tcpdump -w: rows for ./dev bench."""
    with programs(build, 1) as program:
        for length in (64, 1400):
            load = (length, COUNT[length], TCPDUMP_RATE[length])
            ours, theirs = Keep(program.afpacket, "capture", *load), Keep(program.tcpdump, "capture", *load)
            median, low, high, a, b = paired(ours, theirs, pairs)
            report.add(f"capture to a file, {length} B", a, b, (median, low, high), TCPDUMP_TARGET[length],
                       "CPU s per million packets")
            rate, their_loss, our_loss = where_tcpdump_loses(program, length)
            report.add(f"lost at {rate / 1000:.0f} kpps beside busy neighbours, {length} B", our_loss, their_loss,
                       (our_loss,) * 3, 0, "%")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--pairs", type=int, default=7)
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("engines: must be root, to make network namespaces")
    build, report = os.path.abspath(options.build), Report()
    print("| what | ours | tcpdump | unit | ratio (range) | target | met |\n|---|---|---|---|---|---|---|")
    capture(build, report, options.pairs)
    compare_engines(build, options.pairs)
    sys.exit(0 if report.met else 1)


if __name__ == "__main__":
    main()
