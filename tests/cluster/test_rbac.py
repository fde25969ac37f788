#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A right that is missing: GetStatus names the rule to add, and all else works on."""
import os
import tempfile
import time

import cluster as lab
import remora

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "caller", "labels": {"app": "caller"}},
       "spec": {"nodeName": "node1", "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "work", "image": "localhost/work:1"}]}}
ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles/remora-node"


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def without_slices(cluster):
    """Takes the verb list of endpointslices out of the role; remora-node is started anew to ask again."""
    rules = cluster.api.get(ROLE)["rules"]
    check(any("endpointslices" in rule["resources"] for rule in rules), f"the role has {rules}")
    for rule in rules:
        if "endpointslices" in rule["resources"]:
            rule["verbs"] = ["watch"]
    cluster.api.patch(ROLE, {"rules": rules})


def test_missing_verb(cluster):
    with cluster.namespace() as namespace, remora.deployed(cluster) as daemon, tempfile.TemporaryDirectory() as folder:
        cluster.apply(POD, namespace=namespace)
        without_slices(cluster)
        patch = {"spec": {"template": {"metadata": {"annotations": {"remora.dev/restarted": "1"}}}}}
        cluster.api.patch(f"/apis/apps/v1/namespaces/{remora.NAMESPACE}/daemonsets/remora-node", patch)
        daemon.wait_ready(120)
        pod = cluster.wait_pods_ready(1, "app=caller", namespace)[0]
        deadline, problems = time.monotonic() + 20, []
        while not problems and time.monotonic() < deadline:
            problems = [text for text in daemon.status("node1").problems if "endpointslices" in text]
        check(len(problems) == 1, f"problems: {daemon.status('node1').problems}")
        for word in ("403", "ClusterRole", "discovery.k8s.io", "list", "watch"):
            check(word in problems[0], f"{word} is not in: {problems[0]}")
        file = os.path.join(folder, "rbac.pcapng")
        with daemon.capture(file, "udp port 9", "--namespace", namespace) as capture:
            cluster.execute("caller", "traffic", "udp", "10.244.2.250", "9", "rbac", "--count", "5", namespace=namespace)
            capture.until("udp.dstport == 9", 5)
        rows = daemon.fields(file, "udp.dstport == 9", "k8s.src.pod.name", "k8s.src.namespace.name", "k8s.src.node.name")
        check(rows == [("caller", namespace, pod["spec"]["nodeName"])] * 5, f"packets: {rows}")


if __name__ == "__main__":
    lab.main(test_missing_verb)
