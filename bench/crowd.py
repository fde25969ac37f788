#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Many pods and services for an API server, in seconds: one of each kind is created at the API server, the others are
written into its etcd as copies of what it stored there, with names, addresses and ids of their own of the same length.

usage: crowd.py KUBECONFIG ETCD_URL PODS SERVICES    in the network namespace of both; prints what there is as JSON"""
import base64
import http.client
import json
import os
import sys
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests/cluster"))
from api import Api  # noqa: E402

NAMESPACES, NODES = 50, 500
OPERATIONS = 100  # of a transaction; etcd takes 128
ENDPOINTS = 10


def pod_ip(index):
    """All of one length. 10.100.100.100 is the template's."""
    index += 1
    return f"10.{100 + index // 24336 % 100}.{100 + index // 156 % 156}.{100 + index % 156}"


def service_ip(index):
    index += 1
    return f"10.96.{100 + index // 156}.{100 + index % 156}"


def node_ip(index):
    return f"192.168.{100 + index // 156}.{100 + index % 156}"


def uid(kind, index):
    return f"{kind:08x}-1b2c-4d5e-8f90-{index:012x}"


def node_name(index):
    return f"worker-{index % NODES:03}.example.internal"


def namespace_name(index):
    return f"tenant-{index % NAMESPACES:03}"


def pod_name(index):
    return f"catalog-{index // ENDPOINTS:04}-7d9f8b6c5-{index:05}"


def service_name(index):
    return f"catalog-{index:04}"


def container(name, image, port):
    return {"name": name, "image": image, "ports": [{"name": "http", "containerPort": port}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}


CONTAINERS = [container("catalog", "registry.example/shop/catalog:1.4.2", 8080),
              container("proxy", "docker.io/envoyproxy/envoy:v1.30.1", 15001)]


def pod():
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "catalog-0000-7d9f8b6c5", "uid": uid(9, 0),
             "controller": True, "blockOwnerDeletion": True}
    labels = {"app.kubernetes.io/name": "catalog", "app.kubernetes.io/instance": "catalog-0000",
              "app.kubernetes.io/version": "1.4.2", "pod-template-hash": "7d9f8b6c5", "tier": "backend"}
    return {"metadata": {"name": pod_name(0), "labels": labels, "ownerReferences": [owner],
                         "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"}},
            "spec": {"nodeName": node_name(0), "containers": CONTAINERS}}


def pod_status():
    time = "2023-11-14T22:13:20Z"
    conditions = [{"type": kind, "status": "True", "lastTransitionTime": time}
                  for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")]
    statuses = [{"name": c["name"], "image": c["image"], "imageID": c["image"].split(":")[0] + "@sha256:" + "ab" * 32,
                 "containerID": "containerd://" + mark * 64, "ready": True, "restartCount": 0, "started": True,
                 "state": {"running": {"startedAt": time}}} for c, mark in zip(CONTAINERS, "cd")]
    return {"phase": "Running", "podIP": "10.100.100.100", "podIPs": [{"ip": "10.100.100.100"}], "startTime": time,
            "hostIP": node_ip(0), "conditions": conditions, "containerStatuses": statuses, "qosClass": "Burstable"}


def node_status():
    images = [{"names": [f"registry.example/image-{i:03}@sha256:{'ef' * 32}", f"registry.example/image-{i:03}:1.0"],
               "sizeBytes": 100000000} for i in range(20)]
    return {"addresses": [{"type": "InternalIP", "address": node_ip(0)}, {"type": "Hostname", "address": node_name(0)}],
            "capacity": {"cpu": "16", "memory": "64Gi", "pods": "250"}, "images": images}


def service():
    return {"metadata": {"name": service_name(0), "labels": {"app.kubernetes.io/name": "catalog"}},
            "spec": {"clusterIP": "10.96.100.100", "selector": {"app.kubernetes.io/instance": "catalog-0000"},
                     "ports": [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "admin", "port": 9901}]}}


def endpoint_slice():
    def endpoint(index):
        reference = {"kind": "Pod", "namespace": namespace_name(0), "name": pod_name(index), "uid": uid(1, index)}
        return {"addresses": [pod_ip(index)], "conditions": {"ready": True}, "targetRef": reference,
                "topology": {"kubernetes.io/hostname": node_name(index)}}
    return {"metadata": {"name": f"{service_name(0)}-00000", "labels": {"kubernetes.io/service-name": service_name(0)}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}, {"name": "admin", "port": 9901}],
            "endpoints": [endpoint(index) for index in range(ENDPOINTS)]}


class Etcd:
    """The JSON gateway of etcd 3."""

    def __init__(self, url):
        self.address = urllib.parse.urlsplit(url).netloc

    def call(self, method, body):
        connection = http.client.HTTPConnection(self.address, timeout=60)
        connection.request("POST", f"/v3/kv/{method}", json.dumps(body))
        response = connection.getresponse()
        text = response.read()
        connection.close()
        if response.status != 200:
            raise RuntimeError(f"etcd {method}: {response.status} {text[:200]!r}")
        return json.loads(text)

    def get(self, key):
        return base64.b64decode(self.call("range", {"key": base64.b64encode(key.encode()).decode()})["kvs"][0]["value"])

    def put_all(self, pairs):
        """pairs: an iterator of (key, value)."""
        def put(batch):
            self.call("txn", {"success": [{"requestPut": {"key": base64.b64encode(key.encode()).decode(),
                                                          "value": base64.b64encode(value).decode()}}
                                          for key, value in batch]})

        with ThreadPoolExecutor(max_workers=4) as pool:
            waiting, batch = [], []
            for pair in pairs:
                batch.append(pair)
                if len(batch) == OPERATIONS:
                    waiting.append(pool.submit(put, batch))
                    batch = []
            waiting.append(pool.submit(put, batch))
            for job in waiting:
                job.result()


def copies(template, count, changes):
    """changes: (text in the template, function of the index to what stands there in a copy)."""
    for old, _ in changes:
        assert old.encode() in template, f"the template has no {old}"
    for index in range(count):
        value = template
        for old, new in changes:
            text = new(index)
            assert len(text) == len(old), (old, text)
            value = value.replace(old.encode(), text.encode())
        yield index, value


def fill(api, etcd, pods, services):
    space = namespace_name(0)
    made = api.post("/api/v1/namespaces", {"metadata": {"name": space}})
    # Without its service account, pods are refused.
    api.wait(f"/api/v1/namespaces/{space}/serviceaccounts", lambda items: any(i.get("secrets") for i in items),
             f"the service account of {space}")
    changes = [(space, namespace_name), (made["metadata"]["uid"], lambda i: uid(2, i))]
    template = etcd.get(f"/registry/namespaces/{space}")
    etcd.put_all((f"/registry/namespaces/{namespace_name(i)}", value)
                 for i, value in copies(template, NAMESPACES, changes))

    made = api.post("/api/v1/nodes", {"metadata": {"name": node_name(0), "labels": {"kubernetes.io/os": "linux"}}})
    api.patch(f"/api/v1/nodes/{node_name(0)}/status", {"status": node_status()})
    changes = [(node_name(0), node_name), (node_ip(0), node_ip), (made["metadata"]["uid"], lambda i: uid(3, i))]
    template = etcd.get(f"/registry/minions/{node_name(0)}")
    etcd.put_all((f"/registry/minions/{node_name(i)}", value) for i, value in copies(template, NODES, changes))

    made = api.post(f"/api/v1/namespaces/{space}/pods", pod())
    api.patch(f"/api/v1/namespaces/{space}/pods/{pod_name(0)}/status", {"status": pod_status()})
    # The longer names first: a shorter one is part of them.
    changes = [(pod_name(0), pod_name), ("catalog-0000", lambda i: service_name(i // ENDPOINTS)),
               (space, namespace_name), (node_name(0), node_name), ("10.100.100.100", pod_ip), (node_ip(0), node_ip_of),
               (made["metadata"]["uid"], lambda i: uid(1, i)), ("c" * 64, lambda i: f"{i:064x}"),
               ("d" * 64, lambda i: f"{i:064x}")]
    template = etcd.get(f"/registry/pods/{space}/{pod_name(0)}")
    pod_bytes = len(template)
    etcd.put_all((f"/registry/pods/{namespace_name(i)}/{pod_name(i)}", value)
                 for i, value in copies(template, pods, changes))

    made = api.post(f"/api/v1/namespaces/{space}/services", service())
    changes = [(service_name(0), service_name), (space, namespace_name), ("10.96.100.100", service_ip),
               (made["metadata"]["uid"], lambda i: uid(4, i))]
    template = etcd.get(f"/registry/services/specs/{space}/{service_name(0)}")
    etcd.put_all((f"/registry/services/specs/{namespace_name(i)}/{service_name(i)}", value)
                 for i, value in copies(template, services, changes))

    made = api.post(f"/apis/discovery.k8s.io/v1beta1/namespaces/{space}/endpointslices", endpoint_slice())
    changes = [(service_name(0) + "-00000", lambda i: f"{service_name(i)}-00000")]
    for j in range(ENDPOINTS):
        changes += [(pod_name(j), lambda i, j=j: pod_name(i * ENDPOINTS + j)),
                    (uid(1, j), lambda i, j=j: uid(1, i * ENDPOINTS + j)),
                    (pod_ip(j), lambda i, j=j: pod_ip(i * ENDPOINTS + j))]
    changes += [(service_name(0), service_name), (space, namespace_name),
                (made["metadata"]["uid"], lambda i: uid(5, i))]
    template = etcd.get(f"/registry/endpointslices/{space}/{service_name(0)}-00000")
    etcd.put_all((f"/registry/endpointslices/{namespace_name(i)}/{service_name(i)}-00000", value)
                 for i, value in copies(template, services, changes))
    return {"pods": pods, "services": services, "pod_bytes": pod_bytes}


def node_ip_of(index):
    return node_ip(index % NODES)


def main():
    api, etcd = Api(sys.argv[1]), Etcd(sys.argv[2])
    print(json.dumps(fill(api, etcd, int(sys.argv[3]), int(sys.argv[4]))))


if __name__ == "__main__":
    main()
