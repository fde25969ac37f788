#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What many nodes ask of the API server, by its own audit log: no node lists or watches all pods, and each asks for each
other resource once."""
import collections
import contextlib
import os
import queue
import subprocess
import tempfile
import threading
import time
import uuid
from urllib.parse import parse_qs, urlsplit

import cluster as lab_cluster
import pki
from settings import CONTROL_PLANE, path

WATCH_PRINT = os.path.join(os.environ["REMORA_BUILD"], "tests/k8s-enrich/api/watch-print")
REMORA_NODE = os.path.join(os.environ["REMORA_BUILD"], "node-capture/remora-node")
RESOURCES = {"pods", "services", "endpointslices", "nodes", "namespaces"}
# Users of their own in each run: the audit log may be older.
RUN = uuid.uuid4().hex[:6]
NODES = [f"simulated-{RUN}-{i}" for i in range(5)]
DAEMON = f"simulated-{RUN}-daemon"
PODS = 4  # of each node


class Reader:
    """A node's client by itself; it prints what it is told."""

    def __init__(self, cluster, node):
        self.node, self.lines, self.seen = node, queue.Queue(), []
        self.process = subprocess.Popen([*cluster.enter(CONTROL_PLANE, mounts=False), WATCH_PRINT, kubeconfig(node), node],
                                        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip())
        self.lines.put("")

    def wait(self, start, timeout=60):
        deadline = time.monotonic() + timeout
        while True:
            line = self.lines.get(timeout=max(0.01, deadline - time.monotonic()))
            assert line, f"{self.node} ended"
            self.seen.append(line)
            if line.startswith(start):
                return line

    def pods(self):
        """Names and nodes of the pods that it was told of."""
        words = [line.split() for line in self.seen if line.startswith("known pod ")]
        return {(word[2], word[4]) for word in words}

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)


def kubeconfig(node):
    """Each node is a user of its own, so that the log tells them apart."""
    if not os.path.exists(path("pki", f"{node}.crt")):
        pki.make_certificate(node, f"/O=system:masters/CN={node}")
    return pki.write_kubeconfig(node, node)


def asked(cluster):
    """{user: {(verb, resource): [queries]}}; a watch is logged twice and counts once."""
    found = collections.defaultdict(lambda: collections.defaultdict(dict))
    for entry in cluster.audit():
        user = entry["user"].get("username")
        if user in (*NODES, DAEMON):
            url = urlsplit(entry["requestURI"])
            found[user][entry["verb"], url.path.rpartition("/")[2]][entry["auditID"]] = parse_qs(url.query)
    return {user: {key: list(requests.values()) for key, requests in table.items()} for user, table in found.items()}


def wait_asked(cluster, users, verb, times=1, timeout=60):
    """Returns what was asked once all of them have asked for everything."""
    deadline = time.monotonic() + timeout
    while True:
        found = asked(cluster)
        if all(len(found.get(user, {}).get((verb, resource), [])) >= times for user in users
               for resource in RESOURCES):
            return found
        assert time.monotonic() < deadline, f"not everybody asked to {verb}: {found}"
        time.sleep(0.2)


def check_scope(found):
    for user, requests in found.items():
        assert {resource for _, resource in requests} == RESOURCES, requests.keys()
        for verb in ("list", "watch"):
            for query in requests.get((verb, "pods"), []):
                assert query.get("fieldSelector") == [f"spec.nodeName={user}"], f"{user}: {verb} of pods: {query}"


@contextlib.contextmanager
def nodes(cluster):
    """Clients of all nodes, which have begun to watch. Their watches are logged when they end."""
    readers = []
    with tempfile.TemporaryDirectory() as folder:
        daemon = subprocess.Popen([*cluster.enter(CONTROL_PLANE, mounts=False), REMORA_NODE, "--kubeconfig",
                                   kubeconfig(DAEMON), "--node-name", DAEMON, "--cgroup-prefix", "/no-such-group",
                                   "--listen", f"unix:{folder}/node.sock"], stderr=subprocess.DEVNULL)
        try:
            readers += [Reader(cluster, node) for node in NODES]
            for reader in readers:
                reader.wait("synced")
                wait_count(reader, "watches", len(RESOURCES))
            wait_asked(cluster, [DAEMON], "list")
            yield readers
        finally:
            for reader in readers:
                reader.close()
            daemon.terminate()
            daemon.wait(20)


def put_pods(cluster, namespace):
    for node in NODES:
        for i in range(PODS):
            cluster.api.post(f"/api/v1/namespaces/{namespace}/pods", {
                "metadata": {"name": f"{node}-{i}"},
                "spec": {"nodeName": node, "containers": [{"name": "c", "image": "none"}]}})


def test_no_node_asks_for_all_pods(cluster):
    with cluster.namespace("requests") as namespace, nodes(cluster) as readers:
        put_pods(cluster, namespace)
        for reader in readers:
            expected = {(f"{namespace}/{reader.node}-{i}", f"node={reader.node}") for i in range(PODS)}
            while reader.pods() != expected:
                reader.wait("known pod ")
            # The versions of endpoint slices; these pods belong to no Job.
            assert count(stats(reader), "gets") == 1, reader.node
    found = wait_asked(cluster, NODES, "watch")
    check_scope(found)
    for user, requests in found.items():
        for key, queries in requests.items():
            assert len(queries) == 1, f"{user}: {key}: {queries}"
        # From the server's cache, not from what it has stored.
        assert all(requests["list", name][0].get("resourceVersion") == ["0"] for name in RESOURCES)


def test_too_old_watches(cluster):
    """All watches at once: the worst that the server can be asked for. Each is listed once more, and no more widely."""
    before = {user: len(requests["list", "pods"]) for user, requests in asked(cluster).items()}
    with nodes(cluster) as readers:
        cluster.expire_watches()
        for reader in readers:
            wait_count(reader, "relists", len(RESOURCES))
            wait_count(reader, "watches", 2 * len(RESOURCES))
    found = wait_asked(cluster, NODES, "watch", 2)
    check_scope(found)
    for user in NODES:
        for name in RESOURCES:
            lists = len(found[user]["list", name]) - before.get(user, 0)
            assert lists == 2, f"{user}: {lists} lists of {name}"


def stats(reader):
    reader.process.stdin.write("stats\n")
    reader.process.stdin.flush()
    return reader.wait("stats ")


def count(line, name):
    return int(dict(word.split("=") for word in line.split()[1:])[name])


def wait_count(reader, name, least, timeout=60):
    deadline = time.monotonic() + timeout
    while count(line := stats(reader), name) < least:
        assert time.monotonic() < deadline, f"{reader.node}: {name} does not reach {least}: {line}"
        time.sleep(0.1)


if __name__ == "__main__":
    lab_cluster.main(test_no_node_asks_for_all_pods, test_too_old_watches, nodes=0)
