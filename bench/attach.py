# SPDX-License-Identifier: GPL-2.0-or-later
"""How soon a TLS hook is in place, and what the node's memory for it is. In place: the probed byte of a process's own
memory is a breakpoint, which is looked at until it is one."""
import os
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

from traffic import Bench, wait_for

ENDPOINT = "127.0.0.1:7777"
BREAKPOINT = 0xCC
ROUNDS = 5
LIBSSL_MS, GO_MS, KNOWN_MS = 100, 1000, 100
MEMORY_MB = 16  # docs/tls.md reckons it
SLOWEST_S = 20


def offset_of(build, path):
    """Where in a file the probe goes."""
    text = subprocess.run([f"{build}/node-capture/remora-node", "--explain-tls", path], check=True, capture_output=True,
                          text=True).stdout
    moved = re.search(r"probed at offset 0x([0-9a-f]+)", text)
    return int((moved or re.search(r"offset in the file 0x([0-9a-f]+)", text))[1], 16)


def mapped_at(pid, path, offset):
    """The address of that byte of the file in a process, or None: not mapped yet."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps:
        for line in maps:
            fields = line.split()
            if len(fields) == 6 and fields[5] == path and "x" in fields[1]:
                first, last = (int(part, 16) for part in fields[0].split("-"))
                begin = int(fields[2], 16)
                if begin <= offset < begin + last - first:
                    return first + offset - begin
    return None


def is_hooked(pid, path, offset):
    address = mapped_at(pid, path, offset)
    if address is None:
        return False
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(1)[0] == BREAKPOINT


def milliseconds_until(condition):
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > SLOWEST_S:
            raise RuntimeError("it was never hooked")
        time.sleep(0.001)  # looking at the byte all the time would take a processor
    return (time.monotonic() - start) * 1000


class Attach(Bench):
    """Processes that stand still, with a file mapped that nobody has looked into before."""

    def prepare(self):
        self.node = self.start_remora()
        self.log = os.path.join(self.folder, "node.log")
        go = next(path for path in map(os.path.realpath, ("/usr/bin/kubectl", "/usr/bin/containerd")) if os.path.exists(path))
        self.files = {"libssl": os.path.realpath("/usr/lib/x86_64-linux-gnu/libssl.so.3"), "Go": go}
        self.offsets = {kind: offset_of(self.binaries, path) for kind, path in self.files.items()}

    def copy(self, kind):
        """A new file with the same bytes."""
        with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
            with open(self.files[kind], "rb") as source:
                shutil.copyfileobj(source, file)
            os.chmod(file.name, 0o755)
        return file.name

    def start(self, kind, path):
        """A process of the pod that has mapped it. A program is stopped before it gets far."""
        if kind == "Go":
            process = self.spawn("sink", [path, "--help"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        else:
            process = self.spawn("sink", ["env", f"LD_PRELOAD={path}", "sleep", "600"])
        if kind == "Go":
            wait_for(lambda: mapped_at(process.pid, path, self.offsets[kind]) is not None, "program", 10)
            os.kill(process.pid, signal.SIGSTOP)
        return process

    def stream(self, mode="keys"):
        """remoradump, as soon as the node has had its request."""
        before = os.path.getsize(self.log)
        dump = self.remoradump("--endpoint", ENDPOINT, "--tls", mode, "-w", os.path.join(self.folder, "c.pcapng"),
                               "udp port 9", stderr=subprocess.DEVNULL)
        with open(self.log, encoding="utf-8") as log:
            log.seek(before)
            text = ""
            while " opened by " not in text:
                text += log.read()
        return dump

    def by_request(self, kind):
        """Milliseconds from the request of a stream until what runs already is hooked."""
        path = self.copy(kind)
        process = self.start(kind, path)
        wait_for(lambda: mapped_at(process.pid, path, self.offsets[kind]) is not None, "library", 10)
        dump = self.stream()
        try:
            return milliseconds_until(lambda: is_hooked(process.pid, path, self.offsets[kind]))
        finally:
            self.kill(dump, signal.SIGINT)
            self.kill(process, signal.SIGKILL)

    def by_start(self, kind):
        """The same from the start of a process on, while a stream is there: of a new file, and of the same once more."""
        path, times = self.copy(kind), []
        for _ in range(2):
            start = time.monotonic()
            process = self.start(kind, path)
            milliseconds_until(lambda p=process: is_hooked(p.pid, path, self.offsets[kind]))
            times.append((time.monotonic() - start) * 1000)
            self.kill(process, signal.SIGKILL)
        return times


def row(report, what, times, most):
    report.add_most(what, statistics.median(times), max(times), most, "ms")


def resident_mb(pid):
    """Memory of its own and what it shares with the kernel but packet rings: BPF's and perf's rings."""
    with open(f"/proc/{pid}/smaps", encoding="ascii") as smaps:
        parts = re.findall(r"^[0-9a-f]+-[0-9a-f]+ (.*)\n(?:.*\n)*?Rss:\s+(\d+) kB", smaps.read(), re.M)
    return sum(int(size) for name, size in parts if "socket:" not in name) / 1024


def memory(bench):
    """Of the node with a stream that asks for secrets, and with a hook, above that with one that does not."""
    path, sizes = bench.copy("libssl"), []
    for mode in ("off", "keys"):
        process, dump = bench.start("libssl", path), bench.stream(mode)
        wait_for(bench.captured, "capture")
        if mode == "keys":
            milliseconds_until(lambda p=process: is_hooked(p.pid, path, bench.offsets["libssl"]))
        sizes.append(resident_mb(bench.node.pid))
        bench.kill(dump, signal.SIGINT)
        bench.kill(process, signal.SIGKILL)
    return sizes


def run(build, report):
    with tempfile.TemporaryDirectory(prefix="remora-bench-") as folder, Attach(build, folder) as bench:
        bench.prepare()
        without, with_secrets = memory(bench)
        report.add_most("remora-node's memory for TLS, before there are secrets", with_secrets - without, with_secrets,
                        MEMORY_MB, "MB")
        for kind, most in (("libssl", LIBSSL_MS), ("Go", GO_MS)):
            what = f"{kind}, {os.path.getsize(bench.files[kind]) / 1e6:.1f} MB, hooked after"
            row(report, f"{what} a stream's request", [bench.by_request(kind) for _ in range(ROUNDS)], most)
            dump = bench.stream()
            times = [bench.by_start(kind) for _ in range(ROUNDS)]
            bench.kill(dump, signal.SIGINT)
            row(report, f"{what} the start of a process", [pair[0] for pair in times], most)
            row(report, f"{what} the start of a process, the file being known", [pair[1] for pair in times], KNOWN_MS)
