# SPDX-License-Identifier: GPL-2.0-or-later
"""TLS in real containers: ten of one image, on two nodes that share a kernel and so each file of that image. Each connection of
the pods that were asked for is decrypted, its secrets come once, and none come from the others."""
import json
import os
import subprocess
import sys
import tempfile

import cluster as lab
import processes
import remora
from namesakes import check

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.dirname(HERE))
from blocks import key_lines, key_log  # noqa: E402

PODS = 5     # of each node; the last is none of those that are asked for
EACH = 4     # connections of each pod
PORT = 8443
SERVER = os.path.join(os.path.dirname(HERE), "e2e/tls-programs/server.py")


def certificate(folder):
    files = [os.path.join(folder, name) for name in ("tls.crt", "tls.key")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                    "2", "-subj", "/CN=server", "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


def content(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def pod(name, node, app, *command, volumes=()):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": app}},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0,
                     "volumes": [{"name": v, "configMap": {"name": v}} for v in volumes],
                     "containers": [{"name": "work", "image": "localhost/work:1", "command": list(command),
                                     "volumeMounts": [{"name": v, "mountPath": f"/{v}"} for v in volumes]}]}}


def start_pods(cluster, namespace, folder):
    """Returns the server's address, and the clients: {name: whether it is asked for}."""
    crt, key = certificate(folder)
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "server"},
                   "data": {"server.py": content(SERVER), "tls.crt": content(crt), "tls.key": content(key)}},
                  pod("server", cluster.nodes[0], "server", "python3", "/server/server.py", "/server/tls.crt",
                      "/server/tls.key", str(PORT), volumes=["server"]), namespace=namespace)
    clients = {}
    for node in cluster.nodes:
        for number in range(PODS):
            asked = number < PODS - 1
            clients[f"{node}-{number}"] = asked
            cluster.apply(pod(f"{node}-{number}", node, "asked" if asked else "other", "sleep", "1000000"), namespace=namespace)
    pods = cluster.wait_pods_ready(1 + len(clients), "", namespace, 120)
    return next(p["status"]["podIP"] for p in pods if p["metadata"]["name"] == "server"), clients


def ask(cluster, namespace, name, address, paths, log="/dev/null"):
    """A process and a connection for each path. The server may not be up yet."""
    commands = [f"until curl -sk --max-time 10 https://{address}:{PORT}{path}; do sleep 0.2; done" for path in paths]
    return cluster.execute(name, "sh", "-c", f"export SSLKEYLOGFILE={log}; {'; '.join(commands)}", namespace=namespace)


def tls(cluster):
    remora.load_image(cluster)
    daemon = remora.apply(cluster)
    with cluster.namespace("tls") as namespace, tempfile.TemporaryDirectory() as folder:
        address, clients = start_pods(cluster, namespace, folder)
        file = os.path.join(folder, "tls.pcapng")
        with daemon.capture(file, "--tls", "keys", "--selector", "app=asked", "--namespace", namespace) as capture:
            for node in cluster.nodes:
                # The first processes of a library may be gone before that is looked at.
                processes.wait_for(lambda n=node: any("libssl" in line and ": hooked" in line
                                                      for line in daemon.logs(n).splitlines())
                                   or not ask(cluster, namespace, f"{n}-0", address, ["/first"]), f"hooks on {node}", 60)
            truth, paths = {}, {}
            for name in clients:
                paths[name] = [f"/{name}/{number}" for number in range(EACH)]
                got = ask(cluster, namespace, name, address, paths[name], "/tmp/keys")
                check(got.splitlines() == [f"you asked for {path}" for path in paths[name]], f"{name} got {got!r}")
                truth[name] = key_log(cluster.execute(name, "cat", "/tmp/keys", namespace=namespace))
                check(len(truth[name]) >= 4 * EACH, f"{name} wrote {len(truth[name])} lines")
            asked = [name for name, is_asked in clients.items() if is_asked]
            capture.until("http.response", EACH * len(asked), 20)
        lines = key_lines(file)
        check(len(lines) == len(set(lines)), "secrets told twice")
        wanted = {line for name in asked for line in truth[name]}
        others = {line for name in clients if name not in asked for line in truth[name]}
        check(not others & set(lines), "secrets of pods that were not asked for")
        check(wanted <= set(lines), f"{len(wanted - set(lines))} of {len(wanted)} lines are missing")
        rows = daemon.fields(file, "http.request", "http.request.uri", "k8s.src.pod.name")
        found = {uri: name for uri, name in rows if uri != "/first"}
        check(found == {path: name for name in asked for path in paths[name]}, f"decrypted and named: {json.dumps(found)}")
        print(f"{len(found)} connections of {len(asked)} pods decrypted, {len(lines)} secrets")


if __name__ == "__main__":
    lab.main(tls)
