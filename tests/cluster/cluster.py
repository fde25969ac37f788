# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab for tests: brought up once and shared, with manifests, waits by watch, commands in pods, logs and faults.

    def test_something(cluster):
        with cluster.namespace() as name: ...

    if __name__ == "__main__":
        cluster.main(test_something)

A lab that is already up at REMORA_LAB_STATE is used and left; else one is brought up and taken down."""
import contextlib
import json
import signal
import subprocess
import sys
import traceback
import uuid
from concurrent.futures import ThreadPoolExecutor

import control_plane
import lab
import node as lab_node
import processes
from api import Api, ApiError, condition_of
from settings import CONTROL_PLANE, LabError, NODES, Unsupported, path


class Cluster:
    nodes = NODES

    def __init__(self):
        self.settings = lab.load()
        if self.settings is None:
            raise LabError("the lab is not up")
        self.kubeconfig = path("admin.kubeconfig")
        # For programs that run in the control plane's or a node's network (see enter).
        self.inside_kubeconfig = path("inside.kubeconfig")
        self.api = Api(self.kubeconfig)

    # Objects

    def kubectl(self, *words, data=None, check=True, timeout=120):
        """Returns standard output, or with check=False the whole CompletedProcess."""
        result = subprocess.run([path("kubectl"), f"--kubeconfig={self.kubeconfig}", *words], input=data, text=True,
                                capture_output=True, timeout=timeout, check=False)
        if not check:
            return result
        if result.returncode:
            raise LabError(f"kubectl {' '.join(words)}: {result.stderr.strip()}")
        return result.stdout

    def apply(self, *manifests, namespace="default"):
        """Each a text of YAML or an object."""
        for manifest in manifests:
            data = manifest if isinstance(manifest, str) else json.dumps(manifest)
            self.kubectl("apply", "-n", namespace, "-f", "-", data=data)

    @contextlib.contextmanager
    def namespace(self, prefix="test"):
        """A namespace of its own, with its service account ready; deleted with all in it afterwards."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        self.api.post("/api/v1/namespaces", {"metadata": {"name": name}})
        try:
            # Without it, pods are refused.
            self.api.wait(f"/api/v1/namespaces/{name}/serviceaccounts", lambda items: any(i.get("secrets") for i in items),
                          f"the service account of {name}")
            yield name
        finally:
            self.api.delete(f"/api/v1/namespaces/{name}")
            self.api.wait("/api/v1/namespaces", lambda items: not items, f"{name} to go", 120,
                          fieldSelector=f"metadata.name={name}")

    def wait_pods_ready(self, count, selector="", namespace="default", timeout=60):
        """Returns the pods: that many are ready, and there are no others."""
        def ready(pods):
            return len(pods) == count and all(condition_of(pod, "Ready") for pod in pods) and (pods or True)
        return self.api.wait(f"/api/v1/namespaces/{namespace}/pods", ready, f"{count} ready pods of {selector or namespace}",
                             timeout, labelSelector=selector)

    def wait_pod_finished(self, name, namespace="default", timeout=60):
        """Returns the pod, whose containers have all ended."""
        return self.api.wait(f"/api/v1/namespaces/{namespace}/pods",
                             lambda pods: next((p for p in pods if p["status"].get("phase") in ("Succeeded", "Failed")), None),
                             f"{name} to end", timeout, fieldSelector=f"metadata.name={name}")

    def wait_endpoints(self, service, count, namespace="default", timeout=60):
        """Returns the addresses once that many of IPv4 are ready behind the service."""
        def addresses(slices):
            found = [a for s in slices if s["addressType"] == "IPv4" for e in s["endpoints"] or []
                     if e.get("conditions", {}).get("ready") for a in e["addresses"]]
            return len(found) == count and found
        return self.api.wait(f"/apis/discovery.k8s.io/v1beta1/namespaces/{namespace}/endpointslices", addresses,
                             f"{count} endpoints of {service}", timeout,
                             labelSelector=f"kubernetes.io/service-name={service}")

    def execute(self, pod, *words, namespace="default", container=None, timeout=60):
        """A command's standard output."""
        extra = ["-c", container] if container else []
        return self.kubectl("exec", "-n", namespace, pod, *extra, "--", *words, timeout=timeout)

    def logs(self, pod, namespace="default", container=None):
        query = f"?container={container}" if container else ""
        return self.api.call("GET", f"/api/v1/namespaces/{namespace}/pods/{pod}/log{query}")

    def told(self, pod, namespace="default", container=None):
        """What /bin/traffic logged in a pod: a dict a line."""
        return [json.loads(line) for line in self.logs(pod, namespace, container).splitlines() if line.startswith("{")]

    # Nodes

    def enter(self, place, mounts=True):
        """The words before a command that run it on a node or in the control plane."""
        return processes.enter(place, mounts)

    def load_image(self, archive):
        nodes = self.settings["nodes"]
        with ThreadPoolExecutor(max_workers=max(1, len(nodes))) as pool:
            list(pool.map(lambda name: lab_node.load_image(name, archive), nodes))

    def pod_addresses(self, node, first=None, last=None):
        """New pods of a node get addresses from first to last only, for example 10.244.1.50 to 10.244.1.54; without
        them the whole range. containerd follows the file within moments."""
        lab_node.write_cni_config(node, first=first, last=last)

    # Faults

    def kill_api_server(self):
        processes.stop("kube-apiserver", signal.SIGKILL)

    def start_api_server(self):
        processes.start_again("kube-apiserver")
        control_plane.wait_api_ready()

    def compact_etcd(self):
        control_plane.compact_etcd()

    def expire_watches(self):
        """Afterwards a watch or a list that names a version from before gets 410 Gone."""
        self.kill_api_server()
        self.compact_etcd()
        self.start_api_server()

    def newest_version(self):
        """A version to watch from."""
        return self.api.get("/api/v1/pods?limit=1")["metadata"]["resourceVersion"]

    def is_expired(self, version):
        """Whether a watch from there on is answered 410 Gone."""
        connection, response = self.api.open("GET", f"/api/v1/pods?watch=1&timeoutSeconds=1&resourceVersion={version}")
        with contextlib.closing(connection):
            line = response.readline()
        return bool(line) and json.loads(line)["object"].get("code") == 410

    def restart(self, process):
        """kubelet-node1, containerd-node2, kube-proxy-node1, kube-scheduler, etcd, ..."""
        processes.stop(process)
        processes.start_again(process)

    def audit(self):
        """The lists and watches that the API server was asked for: dicts with verb, user, requestURI, ..."""
        with open(path("log/audit.jsonl"), encoding="utf-8") as file:
            return [json.loads(line) for line in file]


@contextlib.contextmanager
def session(count=2, prefix=24):
    if lab.load() is not None:
        yield Cluster()
        return
    lab.up(count, prefix)
    try:
        yield Cluster()
    finally:
        lab.down()


def main(*tests, nodes=2, prefix=24):
    """Runs each test with the cluster; all in one lab, which has so many nodes unless it is up already."""
    failed = 0
    try:
        with session(nodes, prefix) as cluster:
            for test in tests:
                try:
                    test(cluster)
                    print(f"ok - {test.__name__}", flush=True)
                except Exception:  # each test reports; the others still run
                    traceback.print_exc()
                    print(f"not ok - {test.__name__}", flush=True)
                    failed += 1
    except Unsupported as reason:
        print(f"skipped: {reason}")
        sys.exit(77)
    sys.exit(1 if failed else 0)


__all__ = ["ApiError", "CONTROL_PLANE", "Cluster", "LabError", "Unsupported", "main", "session"]
