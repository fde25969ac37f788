#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Each kind of workload is called, from the same and from the other node, over IPv4 and IPv6. Every packet of every call
must carry pod, namespace, owner, node, container and service of both ends, and those of a connection whose addresses are
rewritten one flow id; what was called, by which address and port, and who answered, is known from the pods themselves."""
import contextlib
import json
import os
import tempfile

import cluster as lab
import remora
import truth
from settings import HERE, node_ip, path
from truth import Leg, pod_end

CALLS = 10


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def bare(name, node, **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "restartPolicy": "Never",
                     "containers": [{"name": "work", "image": "localhost/work:1"}], **spec}}


def job(name, address, owner=None):
    """Calls once it runs: its first packets are what it exists for."""
    metadata = {"name": name}
    if owner:
        metadata["ownerReferences"] = [{"apiVersion": "batch/v1beta1", "kind": "CronJob", "name": owner["metadata"]["name"],
                                        "uid": owner["metadata"]["uid"], "controller": True}]
    container = {"name": "task", "image": "localhost/work:1",
                 "command": ["traffic", "http", address, "80", name, "--count", str(CALLS)]}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata,
            "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": {"app": name}},
                                                     "spec": {"restartPolicy": "Never", "containers": [container]}}}}


@contextlib.contextmanager
def static_pod(cluster, namespace, node):
    """A file that the kubelet follows. Yields the name of its mirror pod."""
    manifest = bare("static", node)
    manifest["metadata"]["namespace"] = namespace
    manifest["spec"].pop("nodeName")
    manifest["spec"]["restartPolicy"] = "Always"
    manifest["spec"]["containers"][0].update(command=["traffic", "serve"], readinessProbe={
        "httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1})
    file_name = path(node, "manifests", "static.yaml")
    with open(file_name, "w", encoding="utf-8") as file:
        json.dump(manifest, file)
    try:
        yield f"static-{node}"
    finally:
        os.unlink(file_name)


class World:
    """The workloads, and the calls that were made."""

    def __init__(self, cluster, namespace):
        self.cluster, self.namespace = cluster, namespace
        self.calls = []  # (what, name of the calling pod, its container or None, lines that it logged)
        self.refresh()

    def refresh(self):
        items = self.cluster.api.get(f"/api/v1/namespaces/{self.namespace}/pods")["items"]
        self.pods = {pod["metadata"]["name"]: pod for pod in items}

    def of(self, app, node=None):
        return next(pod for pod in self.pods.values() if pod["metadata"]["labels"]["app"] == app and
                    node in (None, pod["spec"]["nodeName"]))

    def service(self, name):
        return self.cluster.api.get(f"/api/v1/namespaces/{self.namespace}/services/{name}")["spec"]

    def call(self, what, pod, address, port, protocol="http", container=None):
        tag = f"{what}-{pod}".replace(" ", "-")
        lines = self.cluster.execute(pod, "traffic", protocol, address, str(port), tag, "--count", str(CALLS),
                                     namespace=self.namespace, container=container).splitlines()
        told = [json.loads(line) for line in lines]
        check(len(told) == CALLS and all(line["act"] == "sent" for line in told), f"{what} of {pod}: {lines}")
        self.calls.append((what, pod, container, told))

    def answered(self):
        """{(tag, sequence): line} of HTTP requests, and of datagrams, as the servers logged them."""
        found = {}
        for name, pod in self.pods.items():
            for container in pod["spec"]["containers"]:
                for line in self.cluster.told(name, self.namespace, container["name"]):
                    if line["act"] == "answered" and line["path"].count("/") == 2:
                        _, tag, sequence = line["path"].split("/")
                    elif line["act"] == "received":
                        _, tag, sequence = line["payload"].split()
                    else:
                        continue
                    found[tag, int(sequence)] = {**line, "server": name, "container": container["name"]}
        return found


OWNERS = {"web": ("Deployment", "web"), "db": ("StatefulSet", "db"), "front": ("Deployment", "front"),
          "agent": ("DaemonSet", "agent"), "once": ("Job", "once"), "nightly-27000000": ("CronJob", "nightly"),
          "static": ("Node", "node1")}
SERVICES = {"web": "web", "db": "db", "front": "front"}


def end_of(pod, container=None):
    app = pod["metadata"]["labels"]["app"]
    return pod_end(pod, OWNERS.get(app, ("", "")), SERVICES.get(app, ""), container)


def addresses(pod):
    return {entry["ip"] for entry in pod["status"]["podIPs"]}


def legs_of(world):
    """Where client and server are: the client's leg ends at the address that was called, the server's begins at what
    it took for the client. Returns legs, pairs of those that are one connection, and how many clients were masked."""
    answered = world.answered()
    services = {address: name for name in ("web", "front") for address in world.service(name)["clusterIPs"]}
    legs, pairs, masked = [], [], 0
    for what, caller, container, told in world.calls:
        client = world.pods[caller]
        for line in told:
            answer = answered[line["tag"], line["sequence"]]
            server = world.pods[answer["server"]]
            protocol, least = ("tcp", 4) if line["protocol"] == "http" else ("udp", 1)
            near, called = (line["src"], line["sport"]), (line["dst"], line["dport"])
            # A datagram's receiver does not know which of its addresses it came to; services are called over IPv4 only.
            own = answer["dst"] or server["status"]["podIP"]
            far, serving = (answer["src"], answer["sport"]), (own, answer["dport"])
            name = f"{what} {line['sequence']}"
            if called == serving and near == far:
                if not client["spec"].get("hostNetwork") or not server["spec"].get("hostNetwork"):
                    legs.append(Leg(name, protocol, near, called, client_end(client, container),
                                    end_of(server, answer["container"]), least))
                continue
            # Translated on its way: the client sees what it called, ...
            end = {"pod.name": server["metadata"]["name"], "container.name": answer["container"],
                   "service.name": services.get(called[0], SERVICES[server["metadata"]["labels"]["app"]])}
            before = Leg(f"{name}, called", protocol, near, called, client_end(client, container), end, least)
            # ... and the server itself, and the client or whom the node put in its place.
            end = client_end(client, container)
            if far != near:
                masked += 1
                end = {"pod.name": client["metadata"]["name"]}
            behind = Leg(f"{name}, answered", protocol, far, serving, end, end_of(server, answer["container"]), least)
            legs.append(behind)
            if not client["spec"].get("hostNetwork"):
                legs.append(before)
                pairs.append((before, behind))
    return legs, pairs, masked


def client_end(pod, container):
    """Also of a pod on the node's network: by its process."""
    return {**end_of(pod, container), "service.name": ""}


def make_calls(world):
    web, front = world.service("web"), world.service("front")
    node_port = front["ports"][0]["nodePort"]
    for caller in ("caller-node1", "caller-node2"):
        for family, address in zip(("IPv4", "IPv6"), web["clusterIPs"]):
            world.call(f"ClusterIP {family}", caller, address, 80)
        world.call("ClusterIP UDP", caller, web["clusterIP"], 90, "udp")
        for node in world.cluster.nodes:
            for address in addresses(world.of("web", node)):
                world.call(f"pod on {node} {address}", caller, address, 8080)
            world.call(f"StatefulSet on {node}", caller, world.of("db", node)["status"]["podIP"], 5432)
            world.call(f"host network on {node}", caller, node_ip(node), 8090)
            world.call(f"NodePort at {node}", caller, node_ip(node), node_port)
        world.call("static pod", caller, world.of("static")["status"]["podIP"], 8080)
    # On its own node a pod sees the bridge's address in the node's place.
    for node in world.cluster.nodes:
        agent = world.of("agent", node)["metadata"]["name"]
        for address in addresses(world.of("web", "node1")):
            world.call(f"from the node's network to {address}", agent, address, 8080)
        world.call("ClusterIP from the node's network", agent, web["clusterIP"], 80)
    for address in ("127.0.0.1", "::1"):
        world.call(f"sidecar over {address}", "meshed", address, 8080, container="sidecar")


def run_jobs(world):
    cluster, namespace = world.cluster, world.namespace
    nightly = cluster.api.get(f"/apis/batch/v1beta1/namespaces/{namespace}/cronjobs/nightly")
    address = world.service("web")["clusterIP"]
    cluster.apply(job("once", address), job("nightly-27000000", address, nightly), namespace=namespace)
    for name in ("once", "nightly-27000000"):
        cluster.api.wait(f"/apis/batch/v1/namespaces/{namespace}/jobs", lambda items: items[0]["status"].get("succeeded"),
                         f"Job {name} to succeed", fieldSelector=f"metadata.name={name}")
    world.refresh()
    for name in ("once", "nightly-27000000"):
        pod = world.of(name)["metadata"]["name"]
        world.calls.append((f"Job {name}", pod, None, cluster.told(pod, namespace)))


def list_targets(daemon, world):
    """Every pod of both nodes is told with its state, and why if it is not captured."""
    namespace, rows = world.namespace, daemon.targets()
    expected = {"web": "captured", "db": "captured", "caller-node1": "captured", "static": "captured", "agent": "excluded",
                "once": "absent"}
    for name, pod in world.pods.items():
        row = rows[namespace, name]
        check(row["node"] == pod["spec"]["nodeName"], f"{name} is listed on {row['node']}")
        state = expected.get(pod["metadata"]["labels"]["app"])
        check(state in (None, row["state"]), f"{name} is listed as {row}")
        check(row["lost"] == 0, f"packets of {name} were lost: {row}")
    check("node's network" in rows[namespace, world.of("agent")["metadata"]["name"]]["reason"], "no reason for the agent")
    once = rows[namespace, world.of("once")["metadata"]["name"]]
    check(once["reason"] == "has ended" and once["packets"] >= 8 * CALLS, f"the Job's pod is listed as {once}")
    own = rows[remora.NAMESPACE, daemon.pods()["node1"]["metadata"]["name"]]
    check(own["state"] == "excluded" and "remora-node itself" in own["reason"], f"remora-node's own pod: {own}")


def test_workloads(cluster):
    with contextlib.ExitStack() as stack:
        namespace = stack.enter_context(cluster.namespace())
        with open(os.path.join(HERE, "workloads.yaml"), encoding="utf-8") as file:
            cluster.apply(file.read(), *(bare(f"caller-{node}", node) for node in cluster.nodes), namespace=namespace)
        stack.enter_context(static_pod(cluster, namespace, "node1"))
        daemon = stack.enter_context(remora.deployed(cluster))
        cluster.wait_pods_ready(11, namespace=namespace, timeout=90)
        cluster.wait_endpoints("web", 2, namespace)
        world = World(cluster, namespace)
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        file = os.path.join(folder, "workloads.pcapng")
        with daemon.capture(file, "--vantage", "all", "--namespace", namespace) as capture:
            run_jobs(world)
            make_calls(world)
            legs, pairs, masked = legs_of(world)
            list_targets(daemon, world)
            last = legs[-1]
            capture.until(f"tcp.srcport == {last.client[1]} && tcp.flags.fin == 1 || "
                          f"tcp.dstport == {last.client[1]} && tcp.flags.fin == 1", 2)
        check("none lost" in capture.notes, f"remoradump says: {capture.notes}")
        check(masked, "no call was masked: the NodePort was not tested")
        found = truth.packets(daemon, file)
        faults = truth.check_legs(found, legs) + truth.check_flows(found, pairs)
        check(not faults, f"{len(faults)} faults in {len(found)} packets of {len(legs)} legs, {len(pairs)} pairs:\n" + "\n".join(faults[:40]))
        print(f"{len(found)} packets, {len(legs)} legs, {len(pairs)} rewritten connections", flush=True)


if __name__ == "__main__":
    lab.main(test_workloads)
