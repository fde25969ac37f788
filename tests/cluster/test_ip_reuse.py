#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Few addresses on each node, and pods one after another: each packet carries the pod of its time, as tshark shows it live
and when the file is read afterwards. By itself it brings up a lab whose nodes have a /29 for pods."""
import contextlib
import os
import tempfile
import time
from collections import defaultdict

import cluster as lab
import namesakes
import processes
import remora
from namesakes import check
from settings import pod_cidr

PODS = 100 if namesakes.FULL_SIZE else 12
COUNT = 3  # datagrams of a pod
ADDRESSES = 5  # of each node: as many as a /29 leaves for pods
NARROW = 29


@contextlib.contextmanager
def few_addresses(cluster):
    """In a lab with more of them, some at the end of the range: those at its beginning are in use."""
    if cluster.settings["prefix"] >= NARROW:
        yield
        return
    try:
        for node in cluster.nodes:
            base = pod_cidr(node).rpartition(".")[0]
            cluster.pod_addresses(node, f"{base}.{200}", f"{base}.{200 + ADDRESSES - 1}")
        yield
    finally:
        for node in cluster.nodes:
            cluster.pod_addresses(node)


def shown(file):
    with open(file, encoding="utf-8") as text:
        rows = [line.rstrip("\n").split("\t") for line in text if line.endswith("\n")]
    return [d for d in map(namesakes.parse, rows) if d]


def ip_reuse(cluster, daemon):
    with cluster.namespace("reuse") as namespace, tempfile.TemporaryDirectory() as folder, few_addresses(cluster):
        servers = namesakes.start_servers(cluster, namespace)
        file, live = os.path.join(folder, "reuse.pcapng"), os.path.join(folder, "live.txt")
        fields = [word for field in namesakes.FIELDS for word in ("-e", field)]
        pods = {}
        for number in range(PODS):
            node = cluster.nodes[number % len(cluster.nodes)]
            pods[f"sender-{number}"] = namesakes.spec(
                node, *namesakes.traffic(servers[namesakes.other(cluster, node)], COUNT, 0.05))
        with open(live, "w", encoding="utf-8") as output:
            tshark = daemon.tshark(file, "-f", f"udp port {namesakes.PORT}", "-P", "-l", "-T", "fields", *fields,
                                   stdout=output)
            try:
                daemon.wait_streams(count=1)
                begin = time.monotonic()
                namesakes.run_to_end(cluster, namespace, pods, 1)
                print(f"{PODS} pods in {time.monotonic() - begin:.0f} s")
                got = namesakes.received(cluster, namespace)
                processes.wait_for(lambda: sum(d.to_server for d in shown(live)) >= len(got), "the packets to be shown", 30)
            finally:
                tshark.terminate()
                tshark.wait()
        check(len(got) == PODS * COUNT, f"the servers got {len(got)} datagrams")
        users = defaultdict(set)
        for (sender, _), address in got.items():
            users[address].add(sender)
        print(f"{len(users)} addresses for {PODS} pods: {sorted(map(len, users.values()))}")
        check(len(users) <= ADDRESSES * len(cluster.nodes), f"addresses were not used again: {users}")
        for what, found in (("live", shown(live)), ("file", namesakes.datagrams(daemon, file))):
            print(f"{what}: {len(found)} packets")
            check({(d.sender, d.sequence) for d in found if d.to_server} == set(got), f"{what}: packets are missing")
            namesakes.check_names(found, namespace)


def test_ip_reuse(cluster):
    with remora.deployed(cluster) as daemon:
        ip_reuse(cluster, daemon)


if __name__ == "__main__":
    lab.main(test_ip_reuse, prefix=NARROW)
