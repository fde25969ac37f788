# SPDX-License-Identifier: GPL-2.0-or-later
"""Benchmarks of one program alone: the collector's pure parts, and tshark with the plugin."""
import os
import re
import statistics
import subprocess

MERGE_TARGET_NS = 150
PLUGIN_TARGET = 1.05


def merge(build, report, pairs):
    """Merge and names for 100 streams; the row has the time with the choice of the vantage point too."""
    times = {"merge, names": [], "merge, vantage, names": []}
    for _ in range(pairs):
        text = subprocess.run([os.path.join(build, "bench/merge/merge-bench"), "100", "3000000"], check=True,
                              text=True, capture_output=True).stdout
        for name, values in times.items():
            values.append(float(re.search(rf"^{name}\s*: ([0-9.]+) ns", text, re.M)[1]))
    for name, values in times.items():
        ratios = sorted(value / MERGE_TARGET_NS for value in values)
        report.add(f"{name}, 100 streams", statistics.median(values), MERGE_TARGET_NS,
                   (statistics.median(ratios), ratios[0], ratios[-1]),
                   1 if name == "merge, names" else None, "ns a packet; theirs: the target")


def plugin(build, report, pairs):
    """User time, and instructions for machines where time is too noisy to tell one part in twenty."""
    os.environ["REMORA_BUILD"] = build
    os.environ["REMORA_SOURCE"] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    import importlib
    cost = importlib.import_module("plugin-cost")
    cost.Cost.setUpClass()
    try:
        bench = cost.Cost()
        bench.file = bench.write("cost.pcapng", cost.capture(1_000_000))
        for name, loaded, target in (("tshark -r, A/A control", False, None),
                                     ("tshark -r with the plugin", True, PLUGIN_TARGET)):
            ratios, seconds = bench.ratio(max(pairs, 7), (("-n",), loaded), (("-n",), False))
            median = statistics.median(ratios)
            report.add(f"{name}, a million packets", seconds * median, seconds,
                       (median, min(ratios), max(ratios)), target, "user s")
        ours, theirs = bench.instructions(True), bench.instructions(False)
        report.add("tshark -r with the plugin, instructions", ours, theirs, (ours / theirs,) * 3, PLUGIN_TARGET,
                   "a packet")
    finally:
        cost.Cost.doClassCleanups()
