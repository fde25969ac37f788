# SPDX-License-Identifier: GPL-2.0-or-later
"""Live through dumpcap: what the chain gets through dumpcap's fifo against a fifo that is simply fed the same bytes."""
import os
import signal
import subprocess
import sys
import tempfile
import time

from measure import paired
from traffic import RAM, Bench, packets_in, wait_for
from chain import ENDPOINT, settled


def through_dumpcap(feed, count):
    """Packets a second that dumpcap takes from a fifo that feed(path) fills, over `count` of them."""
    with tempfile.TemporaryDirectory(prefix="remora-bench-") as folder:
        fifo, out = f"{folder}/fifo", f"{RAM}/remora-bench-live.pcapng"
        os.mkfifo(fifo)
        dumpcap = subprocess.Popen(["dumpcap", "-q", "-i", fifo, "-w", out, "-c", str(count)],
                                   stderr=subprocess.DEVNULL)
        stop = feed(fifo)
        try:
            # From the first packets on: how long a program takes to start is another question.
            wait_for(lambda: os.path.exists(out) and os.path.getsize(out) > 4096, "first packets")
            start, before = time.monotonic(), os.path.getsize(out)
            dumpcap.wait(60)
            seconds = time.monotonic() - start
        finally:
            dumpcap.kill()
            dumpcap.wait()
            stop()
        delivered = packets_in(out) * (1 - before / os.path.getsize(out))
        os.unlink(out)
        return delivered / seconds


def record(bench, length, count, path):
    """A file with `count` packets, none lost: captured at a rate that the chain takes easily."""
    dump = bench.remoradump("--endpoint", ENDPOINT, "-w", path, stderr=subprocess.DEVNULL)
    try:
        wait_for(bench.captured, "capture")
        bench.blast(length, count, SOURCE_RATE)
        settled(path)
    finally:
        bench.kill(dump, signal.SIGINT)
    recorded = packets_in(path)
    if recorded < count:
        sys.exit(f"bench live: the source for cat has {recorded} of {count} packets")


def run(build, report, pairs):
    """Both are offered more than dumpcap can take, for as long as it takes: it alone from a file that remoradump has
    captured."""
    with tempfile.TemporaryDirectory(prefix="remora-bench-") as folder, Bench(build, folder) as bench:
        bench.start_remora()
        for length in (64, 1400):
            source = f"{RAM}/remora-bench-source.pcapng"
            record(bench, length, COUNT, source)

            def alone(fifo):
                load = bench.start_blast(length, RATE[length])
                cat = subprocess.Popen(["sh", "-c", 'exec cat "$0" > "$1"', source, fifo],
                                       stderr=subprocess.DEVNULL)
                return lambda: (cat.kill(), cat.wait(), bench.kill(load))

            def chain(fifo):
                dump = bench.remoradump("--capture", "--extcap-interface", "k8s", "--fifo", fifo, "--endpoint",
                                        ENDPOINT, stderr=subprocess.DEVNULL)
                wait_for(bench.captured, "capture")
                load = bench.start_blast(length, RATE[length])
                return lambda: (bench.kill(dump), bench.kill(load))

            median, low, high, a, b = paired(lambda: through_dumpcap(chain, COUNT),
                                             lambda: through_dumpcap(alone, COUNT), pairs)
            os.unlink(source)
            report.add_least(f"live through dumpcap, {length} B", a / 1000, b / 1000, (median, low, high), 0.9,
                             "kpps")


COUNT = 300_000
SOURCE_RATE = 25_000
RATE = {64: 400_000, 1400: 300_000}  # above what dumpcap can take; the load is the same in both: on two cores it takes one
