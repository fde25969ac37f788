#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job, end to end: a shop on two hosts, captured by two nodes, named, in tshark."""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import shop
from cluster import wait_for
from wireshark import Wireshark

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TABLE = "(http || resp || dns || icmp) && !(tcp.analysis.retransmission)"


def settled(path, seconds=0.5):
    """Waits until a growing file has stopped growing."""
    size, since = -1, time.monotonic()
    while time.monotonic() - since < seconds:
        if os.path.getsize(path) != size:
            size, since = os.path.getsize(path), time.monotonic()
        time.sleep(0.05)


def captured_targets(wireshark, endpoints):
    text = wireshark.run(wireshark.remoradump, "--list-targets", "--endpoint", ",".join(endpoints))
    return sum(" captured " in line for line in text.splitlines())


def capture(cluster, wireshark, node_binary, path):
    inventory = cluster.write_inventory()
    endpoints = [f"unix:{cluster.folder}/{host}.sock" for host in cluster.hosts]
    for host, endpoint in zip(cluster.hosts, endpoints):
        cluster.start_node(node_binary, host, endpoint, inventory)
    wait_for(lambda: all(os.path.exists(e[5:]) for e in endpoints), "capture daemons")
    tshark = wireshark.capture(endpoints, "-q", "-w", path, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: tshark.poll() is not None or
                 captured_targets(wireshark, endpoints) == len(cluster.pods), "capture of all pods")
        if tshark.poll() is None:
            print(f"capturing {len(cluster.pods)} pods on {len(cluster.hosts)} nodes; the shop is busy ...")
            cluster.traffic()
            settled(path)
    finally:
        if tshark.poll() is None:
            tshark.send_signal(signal.SIGINT)
        _, text = tshark.communicate(timeout=40)
    if tshark.returncode:
        raise RuntimeError(f"tshark: exit {tshark.returncode}: {text}")


def show(wireshark, path):
    print("\n== who talks to whom: tshark -C Kubernetes -r demo.pcapng ==\n")
    lines = wireshark.tshark(path, "-C", "Kubernetes", "-Y", TABLE).splitlines()
    print("\n".join(lines[:40]))
    if len(lines) > 40:
        print(f"... and {len(lines) - 40} more")
    print("\n== conversations by pod: tshark -q -z conv,k8s -r demo.pcapng ==\n")
    print(wireshark.tshark(path, "-q", "-z", "conv,k8s"))
    print("== requests to the service catalog, by field ==\n")
    for row in wireshark.fields(path, 'k8s.dst.service.name == "catalog" && http.request',
                                "k8s.src.pod.name", "k8s.dst.namespace.name", "http.request.uri"):
        print("  ".join(row))


def check(wireshark, path):
    """The demo is only worth showing if it is right."""
    expected = {
        "HTTP to a service, both nodes": 'http.request && k8s.src.namespace.name == "customers" && k8s.dst.service.name == "frontend"',
        "HTTP across nodes": f'http.request && k8s.src.pod.name == "{shop.FRONTEND}" && k8s.dst.pod.name == "{shop.CATALOG_2}"',
        "HTTP on one node": f'http.request && k8s.src.pod.name == "{shop.FRONTEND}" && k8s.dst.pod.name == "{shop.CATALOG_1}"',
        "sidecar traffic on lo": f'http.request && k8s.capture.device == "lo" && k8s.dst.pod.name == "{shop.CATALOG_1}"',
        "Redis": f'resp && k8s.dst.pod.name == "{shop.REDIS}" && k8s.dst.service.name == "cart"',
        "DNS": f'dns.flags.response == 0 && k8s.dst.service.name == "kube-dns" && k8s.dst.pod.name == "{shop.COREDNS}"',
        "ICMP": f'icmp.type == 8 && k8s.src.pod.name == "{shop.CLIENT_1}" && k8s.dst.pod.name == "{shop.REDIS}"',
    }
    missing = [name for name, text in expected.items() if not wireshark.fields(path, text, "frame.number")]
    unnamed = wireshark.fields(path, "(ip || ipv6) && !(k8s.src.name && k8s.dst.name)", "frame.number")
    if missing or unnamed:
        raise RuntimeError(f"not seen: {', '.join(missing) or '-'}; packets without names: {len(unnamed)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--output", default="demo.pcapng")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("demo: must be root, to make network namespaces")
    folder = tempfile.mkdtemp(prefix="remora-demo-")
    wireshark = Wireshark(options.build, f"{folder}/wireshark", SOURCE)
    try:
        with shop.Shop(folder) as cluster:
            capture(cluster, wireshark, os.path.abspath(f"{options.build}/node-capture/remora-node"),
                    options.output)
        show(wireshark, options.output)
        check(wireshark, options.output)
    except BaseException:
        print(f"demo: failed; logs are kept in {folder}", file=sys.stderr)
        raise
    shutil.rmtree(folder)
    print(f"\nThe capture is in {options.output}. To open it with names in Wireshark on this machine:\n"
          "  ./dev install && wireshark -C Kubernetes demo.pcapng\n"
          "Live, from running nodes: wireshark -C Kubernetes -k -i k8s -o extcap.k8s.endpoint:ENDPOINT[,...]")


if __name__ == "__main__":
    main()
