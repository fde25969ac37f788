# SPDX-License-Identifier: GPL-2.0-or-later
"""remora-node as a DaemonSet in the lab, from the manifests in deploy/, and captures from outside of it.

    with remora.deployed(cluster) as daemon:
        with daemon.capture(path, "udp port 9") as capture:
            ...                             # what happens here is captured
            capture.until("udp", 20)
        rows = daemon.fields(path, "udp", "k8s.src.pod.name", "k8s.dst.pod.name")
        daemon.status("node1").counters["packets_captured_total"], daemon.targets()

Readers run on the machine and come in by the sockets of the nodes, as root of a node does."""
import contextlib
import glob
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import processes
from settings import HERE, LabError, NAME, path

SOURCE = os.environ.get("REMORA_SOURCE") or os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("REMORA_BUILD") or os.path.join(SOURCE, "build/dev")
# Behind the others: demo has a cluster.py too.
sys.path.append(os.path.join(SOURCE, "demo"))
from wireshark import Wireshark  # noqa: E402

NAMESPACE = "remora"
SELECTOR = "app.kubernetes.io/name=remora-node"
SOCKET = "/run/remora/node.sock"
PATIENCE = 180  # a kubelet that has to take a pod away before the next one may take a minute for that
REMORADUMP = os.path.join(BUILD, "extcap/remoradump")
REMORA_NODE = os.path.join(BUILD, "node-capture/remora-node")
IMAGE = "localhost/remora-node"

# What is particular to the lab: its nodes share one kernel, with groups and network namespaces below the machine's own.
ENVIRONMENT = {"REMORA_CLUSTER": "lab", "REMORA_CGROUP_PREFIX": f"/{NAME}/$(NODE_NAME)/kubepods",
               "REMORA_HOST_NETNS": "/run/remora-lab/netns"}


def _patch(environment, arguments):
    container = "/spec/template/spec/containers/0"
    patch = [{"op": "add", "path": f"{container}/env/-", "value": {"name": name, "value": value}}
             for name, value in {**ENVIRONMENT, **environment}.items()]
    patch += [{"op": "add", "path": f"{container}/args/-", "value": argument} for argument in arguments]
    # A new program under the same name of image makes new pods.
    patch.append({"op": "add", "path": "/spec/template/metadata/annotations/remora.dev~1program", "value": image_digest()})
    # Both nodes' pods are replaced at once.
    patch.append({"op": "replace", "path": "/spec/updateStrategy/rollingUpdate/maxUnavailable", "value": "100%"})
    return patch + [
        {"op": "add", "path": f"{container}/volumeMounts/-",
         "value": {"name": "lab", "mountPath": "/run/remora-lab", "readOnly": True}},
        {"op": "add", "path": "/spec/template/spec/volumes/-",
         "value": {"name": "lab", "hostPath": {"path": "/run/remora-lab", "type": "Directory"}}}]


def write_overlay(base="base", environment=None, arguments=()):
    """A kustomization over one of deploy/'s folders; returns its folder."""
    folder = path("remora")
    os.makedirs(folder, exist_ok=True)
    target = {"group": "apps", "version": "v1", "kind": "DaemonSet", "name": "remora-node", "namespace": NAMESPACE}
    # bases and patchesJson6902: the only words that kustomize within kubectl 1.20 and of today both know.
    kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
                     "bases": [os.path.relpath(os.path.join(SOURCE, "deploy", base), folder)],
                     "images": [{"name": "remora-node", "newName": IMAGE, "newTag": "1"}],
                     "patchesJson6902": [{"target": target, "path": "lab.yaml"}]}
    for name, content in (("kustomization.yaml", kustomization), ("lab.yaml", _patch(environment or {}, arguments))):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
    return folder


class Status:
    """What GetStatus says of a node. counters and values: {name: value}; problems: ["subject: message"]."""

    def __init__(self, text):
        self.text = text
        self.counters, self.values, self.problems = {}, {}, []
        for line in text.splitlines():
            name, _, value = line.partition("  ")
            value = value.strip()
            if name == "problem":
                self.problems.append(value)
            elif "_" in name:
                self.counters[name] = int(value)
            else:
                self.values[name] = int(value) if value.isdigit() else value


class Capture:
    """A file that is being written. `notes`, at the end: what remoradump told."""

    def __init__(self, remora, file, process):
        self.remora, self.file, self.process = remora, file, process
        self.notes = ""

    def until(self, display_filter, count, timeout=30):
        """Until that many packets are in the file, or the time is over: what is missing is for the test to find."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            # check=False: the last block may be half there.
            rows = self.remora.wireshark().run("tshark", "-r", self.file, "-Y", display_filter, "-T", "fields", "-e",
                                               "frame.number", check=False).splitlines()
            if len(rows) >= count:
                return
            time.sleep(0.2)


class Remora:
    """The DaemonSet that runs in the lab."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.nodes = list(cluster.settings["nodes"])
        self._wireshark = None

    # Where readers connect

    def endpoint(self, node):
        """The socket on a node, through the node's mounts: no program has to run inside of it."""
        pid = processes.pid_of(node)
        if pid is None:
            raise LabError(f"{node} does not run")
        return f"unix:/proc/{pid}/root{SOCKET}"

    def endpoints(self):
        return ",".join(self.endpoint(node) for node in self.nodes)

    # The pods

    def pods(self):
        """{node: pod} of the DaemonSet."""
        items = self.cluster.api.get(f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={SELECTOR}")["items"]
        return {item["spec"]["nodeName"]: item for item in items}

    def pid(self, node):
        """Process id of remora-node on a node, as this machine has it."""
        pid = self.find_process(self.pods()[node])
        if pid is None:
            raise LabError(f"no process of remora-node on {node}")
        return pid

    @staticmethod
    def find_process(pod):
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.path.basename(os.readlink(f"/proc/{entry}/exe")) == "remora-node":
                    with open(f"/proc/{entry}/cgroup", encoding="utf-8") as file:
                        if f"pod{pod['metadata']['uid']}" in file.read():
                            return int(entry)
        return None

    def logs(self, node):
        return self.cluster.logs(self.pods()[node]["metadata"]["name"], NAMESPACE)

    def wait_ready(self, timeout=PATIENCE):
        """As the last apply asked for: every node's pod is of the newest version and ready."""
        def done(items):
            status = items[0]["status"] if items else {}
            return (status.get("observedGeneration") == items[0]["metadata"]["generation"] and
                    all(status.get(key, 0) == len(self.nodes)
                        for key in ("desiredNumberScheduled", "updatedNumberScheduled", "numberReady")))
        try:
            self.cluster.api.wait(f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets", done, "remora-node on every node",
                                  timeout, fieldSelector="metadata.name=remora-node")
        except TimeoutError as error:
            raise LabError(f"{error}\n{self.describe()}") from error

    def describe(self):
        events = self.cluster.kubectl("get", "events", "-n", NAMESPACE, check=False).stdout
        logs = self.cluster.kubectl("logs", "-n", NAMESPACE, "-l", SELECTOR, "--prefix", "--tail=20", check=False)
        return f"{events}\n{logs.stdout}{logs.stderr}"

    # Captures

    @contextlib.contextmanager
    def capture(self, file, *words, timeout=60):
        """remoradump writes `file` from before the block's first line on; words: its options and a capture filter. Yields
        a Capture, whose until() waits for what must be in the file, as packets need a moment to get there."""
        process = subprocess.Popen([REMORADUMP, "-w", file, "--endpoint", self.endpoints(), *words], text=True,
                                   stderr=subprocess.PIPE)
        capture = Capture(self, file, process)
        try:
            self.wait_streams(process)
            yield capture
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            capture.notes = process.communicate(timeout=timeout)[1]
        if process.returncode:
            raise LabError(f"remoradump ended with {process.returncode}: {capture.notes}")

    def wait_streams(self, process=None, count=1, timeout=30):
        """Until every node has that many streams: each has then opened all pods that were asked for."""
        deadline = time.monotonic() + timeout
        while any(self.status(node).values.get("streams", 0) < count for node in self.nodes):
            if process and process.poll() is not None:
                raise LabError(f"the reader ended with {process.returncode}: {process.communicate()[1]}")
            if time.monotonic() > deadline:
                raise LabError(f"the nodes have fewer than {count} streams")
            time.sleep(0.05)

    def tshark(self, file, *words, **kwargs):
        """Starts `tshark -i k8s` from all nodes into a file."""
        return self.wireshark().capture([self.endpoints()], "-w", file, *words, **kwargs)

    def wireshark(self):
        if self._wireshark is None:
            self._wireshark = Wireshark(BUILD, tempfile.mkdtemp(prefix="wireshark-", dir=path()), SOURCE)
        return self._wireshark

    def fields(self, file, display_filter, *fields):
        return self.wireshark().fields(file, display_filter, *fields)

    # What the nodes tell

    def status(self, node):
        return Status(self._ask("--status", self.endpoint(node)))

    def targets(self):
        """{(namespace, pod): row}, a row with node, state, packets, lost, reason."""
        rows = {}
        for line in self._ask("--list-targets", self.endpoints()).splitlines()[1:]:
            node, pod, state, packets, lost, reason = line.split(None, 5)
            namespace, _, name = pod.partition("/")
            rows[namespace, name] = {"node": node, "state": state, "packets": int(packets), "lost": int(lost),
                                     "reason": "" if reason == "-" else reason}
        return rows

    @staticmethod
    def _ask(what, endpoints):
        result = subprocess.run([REMORADUMP, what, "--endpoint", endpoints], text=True, capture_output=True, check=False,
                                timeout=60)
        if result.returncode:
            raise LabError(f"remoradump {what}: {result.stderr}")
        return result.stdout


def image_digest():
    with open(REMORA_NODE, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def load_image(cluster):
    """The built remora-node, unless the lab has just this one. The archive stays in the build tree."""
    mark, digest = path("remora-image"), image_digest()
    with contextlib.suppress(FileNotFoundError), open(mark, encoding="ascii") as file:
        if file.read() == digest:
            return
    archive = os.path.join(BUILD, f"remora-node-{digest[:12]}.tar")
    if not os.path.exists(archive):
        for old in glob.glob(os.path.join(BUILD, "remora-node-*.tar")):
            os.unlink(old)
        subprocess.run([os.path.join(HERE, "images.sh"), "remora-node", REMORA_NODE, archive], check=True)
    cluster.load_image(archive)
    with open(mark, "w", encoding="ascii") as file:
        file.write(digest)


def apply(cluster, base="base", environment=None, arguments=(), timeout=PATIENCE):
    """Deploys, or changes what is deployed; returns once every node is ready."""
    cluster.kubectl("apply", "-k", write_overlay(base, environment, arguments))
    daemon = Remora(cluster)
    daemon.wait_ready(timeout)
    return daemon


def remove(cluster):
    """Returns once nothing is left of it."""
    daemon = Remora(cluster)
    pids = [pid for pid in map(daemon.find_process, daemon.pods().values()) if pid]
    cluster.kubectl("delete", "-k", write_overlay(), "--ignore-not-found", "--wait=false")
    # Kubelets of this version take half a minute to find that a pod is gone; nothing waits for its end here.
    cluster.kubectl("delete", "pods", "-n", NAMESPACE, "--all", "--grace-period=0", "--force", "--wait=false", check=False)
    cluster.api.wait("/api/v1/namespaces", lambda items: not items, f"{NAMESPACE} to go", 120,
                     fieldSelector=f"metadata.name={NAMESPACE}")
    processes.wait_for(lambda: not any(map(processes.start_time, pids)), "the end of remora-node", 30)


@contextlib.contextmanager
def deployed(cluster, base="base", environment=None, arguments=()):
    """environment and arguments: further variables and options of remora-node."""
    load_image(cluster)
    try:
        yield apply(cluster, base, environment, arguments)
    finally:
        remove(cluster)
