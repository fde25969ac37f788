#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes with five addresses for pods, and 100 pods one after another: each packet carries the pod of its time, as it is
shown live and when the file is read afterwards."""
import os
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import cluster as lab
import namesakes
import processes
import remora
from namesakes import check

PODS = int(os.environ.get("REMORA_REUSE_PODS") or 100)
COUNT = 3  # datagrams of a pod


def one_after_another(cluster, namespace, node, address):
    for number in range(PODS // len(cluster.nodes)):
        name = f"sender-{node}-{number}"
        namesakes.create_pod(cluster, namespace, name, namesakes.spec(node, *namesakes.traffic(address, COUNT, 0.05)))
        cluster.wait_pod_finished(name, namespace)
        namesakes.delete_pod(cluster, namespace, name)


def shown(file):
    with open(file, encoding="utf-8") as text:
        rows = [line.rstrip("\n").split("\t") for line in text if line.endswith("\n")]
    return [d for d in map(namesakes.parse, rows) if d]


def ip_reuse(cluster):
    with remora.deployed(cluster) as daemon, cluster.namespace("reuse") as namespace, \
            tempfile.TemporaryDirectory() as folder:
        servers = namesakes.start_servers(cluster, namespace)
        file, live = os.path.join(folder, "reuse.pcapng"), os.path.join(folder, "live.txt")
        fields = [word for field in namesakes.FIELDS for word in ("-e", field)]
        with open(live, "w", encoding="utf-8") as output:
            tshark = daemon.tshark(file, "-f", f"udp port {namesakes.PORT}", "-P", "-l", "-T", "fields", *fields,
                                   stdout=output)
            try:
                daemon.wait_streams(count=1)
                with ThreadPoolExecutor() as pool:
                    list(pool.map(lambda node: one_after_another(cluster, namespace, node,
                                                                 servers[namesakes.other(cluster, node)]), cluster.nodes))
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
        check(len(users) <= 10, f"addresses were not used again: {len(users)} for {PODS} pods")
        for what, found in (("live", shown(live)), ("file", namesakes.datagrams(daemon, file))):
            print(f"{what}: {len(found)} packets")
            check({(d.sender, d.sequence) for d in found if d.to_server} == set(got), f"{what}: packets are missing")
            namesakes.check_names(found, namespace)


if __name__ == "__main__":
    lab.main(ip_reuse, prefix=29)
