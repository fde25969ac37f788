#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Benchmarks. Each prints rows of docs/performance.md; the method is in measure.py and in that page."""
import argparse
import os
import signal
import sys

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(SOURCE, "bench/engines"), os.path.join(SOURCE, "tests/plugins")]
# The lab's settings are read when they are first imported, and a lab of ./dev lab is not to be measured in.
os.environ.setdefault("REMORA_LAB_STATE", "/var/lib/remora-lab-bench")

import chain  # noqa: E402
import identity  # noqa: E402
import live  # noqa: E402
import rest  # noqa: E402
import run as engines  # noqa: E402
import singles  # noqa: E402
import tls  # noqa: E402
from measure import Report  # noqa: E402

BENCHES = {
    "capture": (engines.capture, "node capture against tcpdump -w, CPU per packet, and losses"),
    "chain": (chain.cpu, "node -> gRPC -> collector -> file against ssh tcpdump -U, CPU per packet"),
    "rate": (chain.rate, "the same, highest rate without loss"),
    "merge": (singles.merge, "merge and names, 100 streams, ns per packet"),
    "identity": (identity.run, "memory, look-ups, changes; 50,000 pods from an API server against curl"),
    "rest": (rest.run, "remora-node with 250 pods: memory, CPU; how soon a new pod is captured"),
    "live": (live.run, "live through dumpcap against dumpcap alone"),
    "tls": (tls.run, "requests and connections a second of HTTPS with TLS secrets taken, against without"),
    "plugin": (singles.plugin, "tshark -r of a million packets with and without the plugin"),
}


def engines_only(build, _, pairs):
    engines.compare_engines(build, pairs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="\n".join(f"  {k:9} {v[1]}" for k, v in BENCHES.items()))
    parser.add_argument("--build", required=True)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("name", nargs="*", help="default: all; engines: the capture engines against each other")
    options = parser.parse_args()
    benches = {**{name: bench for name, (bench, _) in BENCHES.items()}, "engines": engines_only}
    unknown = [name for name in options.name if name not in benches]
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)} (there are: {', '.join(benches)})")
    if os.geteuid() != 0:
        sys.exit("bench: must be root, to make network namespaces")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that nothing is left behind
    report = Report()
    print("| what | ours | theirs | unit | ratio (range) | target | met |\n|---|---|---|---|---|---|---|")
    for name in options.name or BENCHES:
        benches[name](os.path.abspath(options.build), report, options.pairs)
    sys.exit(0 if report.met else 1)


if __name__ == "__main__":
    main()
