# SPDX-License-Identifier: GPL-2.0-or-later
"""Pods come and go during a capture: no name is wrong, and neither the nodes nor the reader grow."""
import os
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import growth
import namesakes
import processes
from namesakes import check

SECONDS = 300 if namesakes.FULL_SIZE else 30
LEAST = 60 if namesakes.FULL_SIZE else 5  # pods; a machine with other work makes few in a minute
AT_ONCE = 3  # of each node
# Anonymous memory that a window of the churn may add for each of its pods.
# The reader: the versions of a pod's names, about five of a kilobyte, are kept for ten minutes after its end, longer than this
# lasts. And each direction of its one connection takes a place in the cache of names, which grows by pages as places
# far apart are used, up to 32768 places: two pages a place, some of them across a page's end, so 16 to 20 kB.
# A node forgets a pod that is gone, but a stream remembers the interfaces that it told: less than a kilobyte until it ends.
KB_A_POD = {"remoradump": 26, "node": 2}
UNREST_KB = 256  # the allocators', which is not the pods'


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
                             namesakes.spec(node, *namesakes.datagrams_without_end(address)))
        self.cluster.api.wait(f"/api/v1/namespaces/{self.namespace}/pods",
                              lambda pods: any(pod["status"].get("phase") == "Running" for pod in pods), name,
                              namesakes.PATIENCE, fieldSelector=f"metadata.name={name}")
        namesakes.delete_pod(self.cluster, self.namespace, name)

    def run(self, node):
        while time.monotonic() < self.end:
            self.one(node)


def measure(watched, churn, samples, stop):
    while not stop.wait(1):
        for name, pid in watched.items():
            samples[name].append((churn.made, growth.held(pid)))


def window(name, rows):
    """(growth in kB, pods, limit in kB) of a window"""
    pods = rows[-1][0] - rows[0][0]
    limit = KB_A_POD.get(name, KB_A_POD["node"]) * pods + UNREST_KB
    return rows[-1][1]["rss"] - rows[0][1]["rss"], pods, limit


def judge(samples, before, after):
    """The faults; prints the figures. After a third to get warm, a leak shows in both of two windows, and what is allocated
    once in one of them at most."""
    faults = []
    for name, rows in samples.items():
        third = len(rows) // 3
        windows = [window(name, rows[third:2 * third + 1]), window(name, rows[2 * third:])]
        told = ", ".join(f"{grown:+d} kB with {pods} pods (at most {limit})" for grown, pods, limit in windows)
        print(f"{name}: anonymous memory {before[name]['rss']} -> {after[name]['rss']} kB: {told}; "
              f"held {growth.descriptors(after[name])}")
        if all(grown > limit for grown, _, limit in windows):
            faults.append(f"{name} grows: {told}")
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
            cluster.wait_pods_ready(len(cluster.nodes), "", namespace, namesakes.PATIENCE)
            after = {}

            def settled():
                after.update({name: growth.held(pid) for name, pid in watched.items()})
                return all(growth.descriptors(after[name]) == growth.descriptors(before[name]) for name in watched)

            try:
                processes.wait_for(settled, "descriptors to be as before", namesakes.PATIENCE)
            except processes.LabError:
                pass  # judge() tells which
            got = namesakes.received(cluster, namespace)
            capture.until(f"udp.dstport == {namesakes.PORT}", len(got), 10)
        found = namesakes.datagrams(daemon, file)
        print(f"{state.made} pods in {SECONDS} s, {len({sender for sender, _ in got})} of which sent; {len(got)} datagrams arrived, {len(found)} packets in the file")
        senders = {sender for sender, _ in got}
        check(len(senders) >= LEAST, f"only {len(senders)} of {state.made} pods sent anything in {SECONDS} s")
        missing = set(got) - {(d.sender, d.sequence) for d in found if d.to_server}
        check(not missing, f"{len(missing)} of {len(got)} datagrams are not in the file")
        namesakes.check_names(found, namespace, notes=capture.notes)
        faults = judge(samples, before, after)
        check(not faults, "\n".join(faults))
