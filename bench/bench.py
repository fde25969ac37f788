#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Benchmarks. Each prints rows of docs/performance.md; the method is in measure.py and in that page."""
import argparse
import os
import subprocess
import sys

import chain
import engines_bench
import live
import merge
import plugin
from measure import Report

BENCHES = {
    "capture": (engines_bench.capture, "node capture against tcpdump -w, CPU per packet"),
    "chain": (chain.cpu, "node -> gRPC -> collector -> file against ssh tcpdump -U, CPU per packet"),
    "rate": (chain.rate, "the same, highest rate without loss"),
    "merge": (merge.run, "merge and annotate, 100 streams, ns per packet"),
    "live": (live.run, "live through dumpcap against dumpcap alone"),
    "plugin": (plugin.run, "tshark -r with and without the plugin"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="\n".join(f"  {k:9} {v[1]}" for k, v in BENCHES.items()))
    parser.add_argument("--build", required=True)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("name", nargs="*", choices=[*BENCHES, []], help="default: all")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench: must be root, to make network namespaces")
    subprocess.run(["sync"], check=True)
    report = Report()
    print("| what | ours | theirs | unit | ratio (range) | target | met |\n|---|---|---|---|---|---|---|")
    for name in options.name or BENCHES:
        BENCHES[name][0](os.path.abspath(options.build), report, options.pairs)
    sys.exit(0 if report.met else 1)


if __name__ == "__main__":
    main()
