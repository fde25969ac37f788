#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration of a pod, with a service account of a real API server: the token's file is where a kubelet mounts it,
is replaced as a kubelet replaces it, and the token is revoked."""
import base64
import os
import queue
import re
import subprocess
import tempfile
import threading
import time

import cluster as lab_cluster
from settings import CONTROL_PLANE, CONTROL_PLANE_IP

WATCH_PRINT = os.path.join(os.environ["REMORA_BUILD"], "tests/k8s-enrich/api/watch-print")
FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
RULES = [{"apiGroups": [""], "resources": ["pods", "services", "nodes", "namespaces"], "verbs": ["list", "watch"]},
         {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}]
# In a namespace of mounts of its own: /var/run is /run, where a file system of the test's own covers what is there.
MOUNT = (f'mount -t tmpfs none "$(readlink -f /var/run)" && mkdir -p {FOLDER} && mount --bind "$0" {FOLDER} && '
         f'exec "$@"')


class Mounted:
    """A folder as a kubelet fills it: the files are links through ..data, which is replaced at once."""

    def __init__(self, folder):
        self.folder, self.versions = folder, 0

    def write(self, **files):
        self.versions += 1
        version = f"..{self.versions}"
        os.mkdir(os.path.join(self.folder, version))
        for name, data in files.items():
            with open(os.path.join(self.folder, version, name), "wb") as file:
                file.write(data)
            if not os.path.lexists(os.path.join(self.folder, name)):
                os.symlink(f"..data/{name}", os.path.join(self.folder, name))
        os.symlink(version, os.path.join(self.folder, "..new"))
        os.rename(os.path.join(self.folder, "..new"), os.path.join(self.folder, "..data"))


class Reader:
    def __init__(self, cluster, folder):
        environment = {**os.environ, "KUBERNETES_SERVICE_HOST": CONTROL_PLANE_IP, "KUBERNETES_SERVICE_PORT": "6443"}
        self.process = subprocess.Popen([*cluster.enter(CONTROL_PLANE, mounts=False), "unshare", "--mount", "sh", "-c", MOUNT,
                                         folder, WATCH_PRINT, "--in-cluster=", "-", "3", "5", "1"], text=True,
                                        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lines, self.seen = queue.Queue(), []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip())
        self.lines.put("")

    def wait(self, pattern, timeout=60):
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self.lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {pattern!r}; the last: {self.seen[-5:]}") from None
            assert line, f"ended before {pattern!r}; the last: {self.seen[-5:]}"
            self.seen.append(line)
            if re.search(pattern, line):
                return line

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)


def grant(cluster, namespace):
    """Returns what the account's secret holds, and the secret's name."""
    api = cluster.api
    api.post(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "reader"}})
    api.post("/apis/rbac.authorization.k8s.io/v1/clusterroles", {"metadata": {"name": namespace}, "rules": RULES})
    api.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
        "metadata": {"name": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": namespace},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}]})
    secret = api.wait(f"/api/v1/namespaces/{namespace}/secrets",
                      lambda items: next((i for i in items if i["metadata"]["name"].startswith("reader-token-")
                                          and "token" in (i.get("data") or {})), None), "the account's token")
    data = {name: base64.b64decode(value) for name, value in secret["data"].items()}
    return data, secret["metadata"]["name"]


def new_token(cluster, namespace):
    answer = cluster.api.post(f"/api/v1/namespaces/{namespace}/serviceaccounts/reader/token",
                              {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                               "spec": {"expirationSeconds": 600}})
    return answer["status"]["token"].encode()


def wait_revoked(cluster, token, timeout=60):
    """The server remembers for ten seconds that a token was good."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token.decode()}}
    deadline = time.monotonic() + timeout
    while cluster.api.post("/apis/authentication.k8s.io/v1/tokenreviews", review)["status"].get("authenticated"):
        assert time.monotonic() < deadline, "the token is still good"
        time.sleep(0.2)


def put_pod(cluster, namespace, name):
    cluster.api.post(f"/api/v1/namespaces/{namespace}/pods", {
        "metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "none"}]}})


def test_service_account(cluster):
    with cluster.namespace("account") as namespace, tempfile.TemporaryDirectory() as folder:
        reader = None
        try:
            data, secret = grant(cluster, namespace)
            mounted = Mounted(folder)
            mounted.write(**{"token": data["token"], "ca.crt": data["ca.crt"], "namespace": data["namespace"]})
            reader = Reader(cluster, folder)
            reader.wait("^synced")
            put_pod(cluster, namespace, "first")
            reader.wait(f"^known pod {namespace}/first ")

            # A kubelet has put a new token there before the old one ends: nobody is alarmed.
            problems = sum(line.startswith("problem") for line in reader.seen)
            mounted.write(**{"token": new_token(cluster, namespace), "ca.crt": data["ca.crt"],
                             "namespace": data["namespace"]})
            cluster.api.delete(f"/api/v1/namespaces/{namespace}/secrets/{secret}")
            wait_revoked(cluster, data["token"])
            put_pod(cluster, namespace, "second")
            reader.wait(f"^known pod {namespace}/second ")
            assert sum(line.startswith("problem") for line in reader.seen) == problems, reader.seen[-5:]

            # The token is no longer good and no other is there yet: told, and well again with the next.
            mounted.write(**{"token": data["token"], "ca.crt": data["ca.crt"], "namespace": data["namespace"]})
            reader.wait("^problem Kubernetes API: .*401.*the credentials are not accepted")
            mounted.write(**{"token": new_token(cluster, namespace), "ca.crt": data["ca.crt"],
                             "namespace": data["namespace"]})
            put_pod(cluster, namespace, "third")
            reader.wait(f"^known pod {namespace}/third ")
            assert not any(line.startswith("gone pod") for line in reader.seen)
        finally:
            if reader:
                reader.close()
            for kind in ("clusterrolebindings", "clusterroles"):
                cluster.api.delete(f"/apis/rbac.authorization.k8s.io/v1/{kind}/{namespace}")


if __name__ == "__main__":
    lab_cluster.main(test_service_account, nodes=0)
