# SPDX-License-Identifier: GPL-2.0-or-later
"""Pods whose only act is one datagram at their start: all of them are captured in the pod itself and where they arrive, and
named right."""
import os
import tempfile

import namesakes
from namesakes import check

PODS = int(os.environ.get("REMORA_FIRST_PODS") or 200)
AT_ONCE = 8  # of each node


def job(node, address, count):
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": f"first-{node}"},
            "spec": {"completions": count, "parallelism": AT_ONCE, "backoffLimit": 0,
                     "template": {"spec": namesakes.spec(node, *namesakes.datagram(address))}}}


def wait_jobs(cluster, namespace):
    def done(items):
        return len(items) == len(cluster.nodes) and all(
            any(c["status"] == "True" for c in item["status"].get("conditions") or []) for item in items)
    cluster.api.wait(f"/apis/batch/v1/namespaces/{namespace}/jobs", done, "the jobs", 300)


def first_packet(cluster, daemon):
    with cluster.namespace("first") as namespace, tempfile.TemporaryDirectory() as folder:
        servers = namesakes.start_servers(cluster, namespace)
        file = os.path.join(folder, "first.pcapng")
        # All vantage points: the packet as it left its pod is what is asked for here.
        with daemon.capture(file, "--vantage=all", f"udp port {namesakes.PORT}") as capture:
            for node in cluster.nodes:
                cluster.apply(job(node, servers[namesakes.other(cluster, node)], PODS // len(cluster.nodes)),
                              namespace=namespace)
            wait_jobs(cluster, namespace)
            capture.until(f"udp.dstport == {namesakes.PORT}", 2 * PODS, 10)
        pods = cluster.api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
        owners = {pod["metadata"]["name"]: ("Job", pod["metadata"]["ownerReferences"][0]["name"])
                  for pod in pods if pod["metadata"]["name"].startswith("first-")}
        got, found = namesakes.received(cluster, namespace), namesakes.datagrams(daemon, file)
        print(f"{len(got)} datagrams arrived, {len(found)} packets in the file")
        check({sender for sender, _ in got} == set(owners) and len(got) == PODS, f"the servers got {len(got)} datagrams")
        sent = [d for d in found if d.to_server]
        for what, here in (("left", True), ("arrived", False)):
            seen = {d.sender for d in sent if d.interface.endswith(f"/{d.node}") == here}
            check(seen == set(owners), f"{len(set(owners) - seen)} of {PODS} are not captured where they {what}")
        check(len(sent) == 2 * PODS, f"{len(sent)} packets for {PODS} datagrams")
        namesakes.check_names(found, namespace, owners)
