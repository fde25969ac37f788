# SPDX-License-Identifier: GPL-2.0-or-later
"""The API server is away for a while, and what it knew of the past is gone when it comes back (410): capture and names go
on, the outage is told while it lasts, and the state recovers by itself."""
import os
import subprocess
import tempfile
import time

import namesakes
import processes
from namesakes import check

SECONDS = 60 if namesakes.FULL_SIZE else 15
USER = "system:serviceaccount:remora:remora-node"


def problems(daemon, node):
    return [text for text in daemon.status(node).problems if text.startswith("Kubernetes API")]


def probe(cluster, node, address, what):
    """The HTTP status, as the kubelet would ask for it."""
    return subprocess.run([*cluster.enter(node, mounts=False), "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
                           "--max-time", "5", f"http://{address}:7471/{what}"], text=True, capture_output=True,
                          check=False).stdout


def watch_outage(cluster, daemon, addresses):
    """Until the time is over; every node tells the outage, lives, and stays ready."""
    end = time.monotonic() + SECONDS
    processes.wait_for(lambda: all(problems(daemon, node) for node in daemon.nodes), "the outage to be told",
                       namesakes.PATIENCE)
    while time.monotonic() < end:
        for node in daemon.nodes:
            check(problems(daemon, node), f"{node} no longer tells the outage")
            for what in ("healthz", "readyz"):
                status = probe(cluster, node, addresses[node], what)
                check(status == "200", f"/{what} of {node} answers {status} while the API server is away")
        time.sleep(0.5)


def lists(cluster):
    return sum(entry["verb"] == "list" and entry["user"]["username"] == USER for entry in cluster.audit())


def expired(daemon):
    """How often each node was answered 410."""
    return {node: daemon.status(node).counters["api_expired_total"] for node in daemon.nodes}


def last_sent(capture, daemon):
    """{sender: its newest sequence number in the file}"""
    newest = {}
    for d in namesakes.datagrams(daemon, capture.file):
        if d.to_server:
            newest[d.sender] = max(newest.get(d.sender, -1), d.sequence)
    return newest


def outage(cluster, daemon):
    addresses = {node: pod["status"]["podIP"] for node, pod in daemon.pods().items()}
    pids = {node: daemon.pid(node) for node in daemon.nodes}
    with cluster.namespace("outage") as namespace, tempfile.TemporaryDirectory() as folder:
        servers = namesakes.start_servers(cluster, namespace)
        file = os.path.join(folder, "outage.pcapng")
        with daemon.capture(file, f"udp port {namesakes.PORT}") as capture:
            def start(prefix):
                for node in cluster.nodes:
                    namesakes.create_pod(cluster, namespace, f"{prefix}-{node}", namesakes.spec(
                        node, *namesakes.traffic(servers[namesakes.other(cluster, node)], 1000000, 0.05)))

            start("old")
            capture.until(f"udp.dstport == {namesakes.PORT}", 20)
            asked, expired_before = lists(cluster), expired(daemon)
            old = cluster.newest_version()
            cluster.kill_api_server()
            try:
                cluster.compact_etcd()
                watch_outage(cluster, daemon, addresses)
            finally:
                # What it knew before is gone from etcd, and with its end from its own cache.
                cluster.start_api_server()
            check(cluster.is_expired(old), "the API server still knows the past: 410 was not forced")
            start("new")
            back = time.monotonic()
            processes.wait_for(lambda: not any(problems(daemon, node) for node in daemon.nodes), "the outage to be over",
                               namesakes.PATIENCE)
            known = last_sent(capture, daemon)
            print(f"problems gone {time.monotonic() - back:.1f} s after the API server is back")
            gone = {node: count - expired_before[node] for node, count in expired(daemon).items()}
            print(f"answers 410 to each node: {gone}")
            check(all(gone.values()), f"a node got no 410: {gone}")
            names = [f"{prefix}-{node}" for prefix in ("old", "new") for node in cluster.nodes]
            processes.wait_for(lambda: last_sent(capture, daemon).keys() >= set(names), "new pods to be captured",
                               namesakes.PATIENCE)
            uids = {pod["metadata"]["name"]: pod["metadata"]["uid"]
                    for pod in cluster.api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]}
            for name in names:
                namesakes.delete_pod(cluster, namespace, name)
            cluster.wait_pods_ready(len(cluster.nodes), "", namespace, namesakes.PATIENCE)
            got = namesakes.received(cluster, namespace)
            capture.until(f"udp.dstport == {namesakes.PORT}", len(got), 10)
        found = namesakes.datagrams(daemon, file)
        print(f"{len(got)} datagrams arrived, {len(found)} packets in the file; {lists(cluster) - asked} lists anew")
        check(lists(cluster) - asked >= sum(gone.values()), "what was too old was not listed anew")
        check({node: daemon.pid(node) for node in daemon.nodes} == pids, "remora-node was started again")
        missing = set(got) - {(d.sender, d.sequence) for d in found if d.to_server}
        check(not missing, f"{len(missing)} of {len(got)} datagrams are not in the file")
        # Until a node has read the API server's word again it knows of a new pod what the kernel says, its uid.
        early = [d for d in found if d.sender.startswith("new-") and d.sequence <= known.get(d.sender, -1) and
                 (d.end.pod, d.end.namespace, d.end.node) == (uids[d.sender], "", d.node)]
        print(f"{len(early)} packets carry their pod's uid")
        namesakes.check_names([d for d in found if d not in early], namespace)
