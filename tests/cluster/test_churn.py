# SPDX-License-Identifier: GPL-2.0-or-later
"""Pods come and go during a capture: no name is wrong, and neither the nodes nor the reader grow. REMORA_CHURN_SECONDS says
for how long."""
import os
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import growth
import namesakes
import processes
from namesakes import check

SECONDS = float(os.environ.get("REMORA_CHURN_SECONDS") or 60)
AT_ONCE = 3  # of each node
LEAST = 60
# A pod costs the nodes and the reader nothing for good but what is remembered of it to name packets that come late.
KB_A_POD = 24


class Churn:
    def __init__(self, cluster, namespace, servers):
        self.cluster, self.namespace, self.servers = cluster, namespace, servers
        self.lock, self.made, self.end = threading.Lock(), 0, time.monotonic() + SECONDS

    def number(self):
        with self.lock:
            self.made += 1
            return self.made

    def one(self, node):
        name = f"churn-{self.number()}"
        address = self.servers[namesakes.other(self.cluster, node)]
        namesakes.create_pod(self.cluster, self.namespace, name,
                             namesakes.spec(node, *namesakes.traffic(address, 1000000, 0.1)))
        self.cluster.api.wait(f"/api/v1/namespaces/{self.namespace}/pods",
                              lambda pods: any(pod["status"].get("phase") == "Running" for pod in pods), name,
                              fieldSelector=f"metadata.name={name}")
        namesakes.delete_pod(self.cluster, self.namespace, name)

    def run(self, node):
        while time.monotonic() < self.end:
            self.one(node)


def measure(watched, churn, samples, stop):
    while not stop.wait(1):
        for name, pid in watched.items():
            samples[name].append((churn.made, growth.held(pid)))


def judge(samples, before, after):
    """The faults; prints the figures."""
    faults = []
    for name, rows in samples.items():
        warm = rows[len(rows) // 3:]
        pods = warm[-1][0] - warm[0][0]
        kb = growth.slope([(made, counts["rss"]) for made, counts in warm])
        print(f"{name}: anonymous memory {before[name]['rss']} -> {after[name]['rss']} kB, {kb:.1f} kB a pod over the last "
              f"{pods} pods; descriptors {growth.descriptors(before[name])} -> {growth.descriptors(after[name])}")
        if kb > KB_A_POD:
            faults.append(f"{name} grows by {kb:.1f} kB a pod")
        if growth.descriptors(after[name]) != growth.descriptors(before[name]):
            faults.append(f"{name} held {growth.descriptors(before[name])}, now {growth.descriptors(after[name])}")
    return faults


def churn(cluster, daemon):
    with cluster.namespace("churn") as namespace, tempfile.TemporaryDirectory() as folder:
        servers = namesakes.start_servers(cluster, namespace)
        file = os.path.join(folder, "churn.pcapng")
        with daemon.capture(file, f"udp port {namesakes.PORT}") as capture:
            watched = {node: daemon.pid(node) for node in daemon.nodes} | {"remoradump": capture.process.pid}
            state = Churn(cluster, namespace, servers)
            before = {name: growth.held(pid) for name, pid in watched.items()}
            samples, stop = {name: [] for name in watched}, threading.Event()
            meter = threading.Thread(target=measure, args=(watched, state, samples, stop))
            meter.start()
            try:
                with ThreadPoolExecutor(AT_ONCE * len(cluster.nodes)) as pool:
                    list(pool.map(state.run, list(cluster.nodes) * AT_ONCE))
            finally:
                stop.set()
                meter.join()
            cluster.wait_pods_ready(len(cluster.nodes), "", namespace)
            after = {}

            def settled():
                after.update({name: growth.held(pid) for name, pid in watched.items()})
                return all(growth.descriptors(after[name]) == growth.descriptors(before[name]) for name in watched)

            try:
                processes.wait_for(settled, "descriptors to be as before", 30)
            except processes.LabError:
                pass  # judge() tells which
            got = namesakes.received(cluster, namespace)
            capture.until(f"udp.dstport == {namesakes.PORT}", len(got), 10)
        found = namesakes.datagrams(daemon, file)
        print(f"{state.made} pods in {SECONDS:.0f} s, {len(got)} datagrams arrived, {len(found)} packets in the file")
        check(state.made >= LEAST, f"only {state.made} pods in {SECONDS:.0f} s")
        missing = set(got) - {(d.sender, d.sequence) for d in found if d.to_server}
        check(not missing, f"{len(missing)} of {len(got)} datagrams are not in the file")
        namesakes.check_names(found, namespace)
        faults = judge(samples, before, after)
        check(not faults, "\n".join(faults))
