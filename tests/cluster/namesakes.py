# SPDX-License-Identifier: GPL-2.0-or-later
"""Pods that write their own names into their datagrams: each packet then says itself which names it has to carry, and the
logs of the servers that get them say which packets there were. A payload is "remora NODE/POD SEQUENCE"."""
import contextlib
import os
import queue
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

# As much as is asked for before a release, or as much as there is time for with every change.
FULL_SIZE = os.environ.get("REMORA_FULL_SIZE") == "1"
PATIENCE = 120  # for what a kubelet does in a second or two where it has the machine for itself
PORT = 9000
FIELDS = ("frame.interface_name", "ip.src", "ip.dst", "udp.dstport", "udp.payload", *(
    f"k8s.{end}.{name}" for end in ("src", "dst")
    for name in ("pod.name", "namespace.name", "node.name", "owner.type", "owner.name")))

End = namedtuple("End", "pod namespace node owner_type owner")
# What the payload says (node, sender, sequence) and what the packet carries (end: the sender's, server: the other).
Datagram = namedtuple("Datagram", "interface node sender sequence address to_server end server")

ENVIRONMENT = [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
               {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]


def spec(node, *command, restart="Never"):
    """Of a pod that is bound to its node, so that no scheduler takes its time."""
    return {"nodeName": node, "restartPolicy": restart, "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "work", "image": "localhost/work:1", "command": list(command), "env": ENVIRONMENT}]}


def datagram(address):
    return ["datagram", address, str(PORT), "remora $(NODE)/$(POD_NAME)"]


def datagrams_without_end(address):
    """From the first moment on, where `traffic` takes a second or more to start if the machine has other work."""
    return [*datagram(address), "100"]


def traffic(address, count, interval):
    return ["traffic", "udp", address, str(PORT), "$(NODE)/$(POD_NAME)", "--count", str(count), "--interval", str(interval)]


def create_pod(cluster, namespace, name, pod_spec):
    cluster.api.post(f"/api/v1/namespaces/{namespace}/pods",
                     {"metadata": {"name": name, "labels": {"app": "sender"}}, "spec": pod_spec})


def delete_pod(cluster, namespace, name):
    cluster.api.delete(f"/api/v1/namespaces/{namespace}/pods/{name}?gracePeriodSeconds=0")


def run_to_end(cluster, namespace, pods, at_once):
    """pods: {name: spec}. Each is created, runs to its end and is deleted; so many of a node at a time."""
    waiting = {node: queue.SimpleQueue() for node in cluster.nodes}
    for name, pod_spec in pods.items():
        waiting[pod_spec["nodeName"]].put((name, pod_spec))

    def work(node):
        with contextlib.suppress(queue.Empty):
            while True:
                name, pod_spec = waiting[node].get_nowait()
                create_pod(cluster, namespace, name, pod_spec)
                cluster.wait_pod_finished(name, namespace, PATIENCE)
                delete_pod(cluster, namespace, name)

    with ThreadPoolExecutor(at_once * len(cluster.nodes)) as pool:
        list(pool.map(work, list(cluster.nodes) * at_once))


def start_servers(cluster, namespace):
    """One on each node; returns {node: address}."""
    for node in cluster.nodes:
        pod_spec = spec(node, "traffic", "serve", "--udp", str(PORT), restart="Always")
        pod_spec["containers"][0]["readinessProbe"] = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
        cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"server-{node}", "labels": {"app": "server"}},
                       "spec": pod_spec}, namespace=namespace)
    pods = cluster.wait_pods_ready(len(cluster.nodes), "app=server", namespace, PATIENCE)
    return {pod["spec"]["nodeName"]: pod["status"]["podIP"] for pod in pods}


def other(cluster, node):
    return next(name for name in cluster.nodes if name != node)


def received(cluster, namespace):
    """{(sender, sequence): the sender's address} of what the servers got."""
    found = {}
    for node in cluster.nodes:
        for line in cluster.told(f"server-{node}", namespace):
            if line["act"] == "received":
                _, sender, sequence = line["payload"].split()
                found[sender.partition("/")[2], int(sequence)] = line["src"]
    return found


def parse(row):
    """A row of FIELDS, or None for what is no such datagram."""
    row = dict(zip(FIELDS, row))
    payload = bytes.fromhex(row["udp.payload"].replace(":", "")).decode(errors="replace").split()
    if len(payload) != 3 or payload[0] != "remora":
        return None
    ends = [End(*(row[f"k8s.{end}.{name}"] for name in ("pod.name", "namespace.name", "node.name", "owner.type",
                                                       "owner.name"))) for end in ("src", "dst")]
    node, _, sender = payload[1].partition("/")
    to_server = row["udp.dstport"] == str(PORT)
    return Datagram(row["frame.interface_name"], node, sender, int(payload[2]), row["ip.src" if to_server else "ip.dst"],
                    to_server, *(ends if to_server else reversed(ends)))


def datagrams(daemon, file):
    return [d for d in map(parse, daemon.fields(file, f"udp.port == {PORT}", *FIELDS)) if d]


def faults(found, namespace, owners=None):
    """What is wrong with the names, as texts. owners: {sender: (kind, name)}; without it the senders have none."""
    wrong = []
    for d in found:
        expected = End(d.sender, namespace, d.node, *(owners[d.sender] if owners else ("", "")))
        if d.end != expected:
            wrong.append(f"{'from' if d.to_server else 'to'} {d.address}, {d.sequence}, on {d.interface}: {tuple(d.end)}, not {tuple(expected)}")
        if not d.server.pod.startswith("server-") or d.server.namespace != namespace:
            wrong.append(f"the server's end is {tuple(d.server)}")
    return wrong


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def check_names(found, namespace, owners=None, notes=""):
    """notes: what the reader told, for the message."""
    wrong = faults(found, namespace, owners)
    check(not wrong, f"{len(wrong)} of {len(found)} packets are named wrong:\n" + "\n".join(wrong[:20]) + f"\n{notes}")
