# SPDX-License-Identifier: GPL-2.0-or-later
"""etcd, the API server, the controller manager and the scheduler, in a network namespace of their own."""
import json
import subprocess

import cgroups
import processes
from settings import API_URL, CONTROL_PLANE, CONTROL_PLANE_IP, ETCD_URL, LabError, SERVICE_CIDRS, path

GATES = "--feature-gates=IPv6DualStack=true"


def _start(name, *argv):
    processes.start(name, argv, CONTROL_PLANE, CONTROL_PLANE)


def start_holder():
    cgroups.make(CONTROL_PLANE)
    # Mounts stay the machine's, as a namespace of mounts would hold those that the machine drops meanwhile.
    pid = processes.start(CONTROL_PLANE, ["unshare", "--net", "sleep", "infinity"], CONTROL_PLANE)
    processes.wait_for(lambda: _namespace(pid) != _namespace("self"), "a network namespace", 10, CONTROL_PLANE)


def _namespace(pid):
    result = subprocess.run(["readlink", f"/proc/{pid}/ns/net"], text=True, capture_output=True, check=False)
    return result.stdout


def start_etcd():
    # Nothing here outlives the lab, so that etcd need not wait for the disk.
    _start("etcd", "etcd", "--name=lab", f"--data-dir={path('etcd')}", "--unsafe-no-fsync",
           f"--listen-client-urls={ETCD_URL}", f"--advertise-client-urls={ETCD_URL}",
           "--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
           "--initial-cluster=lab=http://127.0.0.1:2380", "--quota-backend-bytes=8589934592")


def write_audit_policy():
    """Lists and watches are logged: they tell how much each client asks the API server for."""
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
              "rules": [{"level": "Metadata", "verbs": ["list", "watch"]}, {"level": "None"}]}
    with open(path("audit-policy.yaml"), "w", encoding="utf-8") as file:
        json.dump(policy, file)


def start_api_server(binaries):
    write_audit_policy()
    _start("kube-apiserver", f"{binaries}/kube-apiserver", f"--etcd-servers={ETCD_URL}", GATES,
           f"--bind-address={CONTROL_PLANE_IP}", f"--advertise-address={CONTROL_PLANE_IP}", "--secure-port=6443",
           "--insecure-port=0", f"--tls-cert-file={path('pki/apiserver.crt')}",
           f"--tls-private-key-file={path('pki/apiserver.key')}", f"--client-ca-file={path('pki/ca.crt')}",
           "--service-account-issuer=https://kubernetes.default.svc",
           f"--service-account-key-file={path('pki/sa.pub')}",
           f"--service-account-signing-key-file={path('pki/sa.key')}", "--authorization-mode=Node,RBAC",
           f"--service-cluster-ip-range={SERVICE_CIDRS}", "--allow-privileged=true",
           f"--kubelet-client-certificate={path('pki/apiserver-kubelet.crt')}",
           f"--kubelet-client-key={path('pki/apiserver-kubelet.key')}",
           f"--kubelet-certificate-authority={path('pki/ca.crt')}", "--kubelet-preferred-address-types=InternalIP",
           f"--audit-policy-file={path('audit-policy.yaml')}", f"--audit-log-path={path('log/audit.jsonl')}",
           "--v=1")


def api_ready():
    """Asked from inside, so that it does not depend on the relay."""
    result = subprocess.run([*processes.enter(CONTROL_PLANE, mounts=False), "curl", "-s", "--max-time", "2",
                             "--cacert", path("pki/ca.crt"), "--cert", path("pki/admin.crt"), "--key",
                             path("pki/admin.key"), f"{API_URL}/readyz"], text=True, capture_output=True, check=False)
    return result.stdout == "ok"


def wait_api_ready(timeout=60):
    processes.wait_for(api_ready, "the API server", timeout, "etcd", "kube-apiserver")


def start_controllers(binaries):
    config = path("kube-controller-manager.kubeconfig")
    _start("kube-controller-manager", f"{binaries}/kube-controller-manager", f"--kubeconfig={config}",
           f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}", "--port=0", GATES,
           f"--service-account-private-key-file={path('pki/sa.key')}", f"--root-ca-file={path('pki/ca.crt')}",
           "--use-service-account-credentials=true", "--leader-elect=false",
           f"--cluster-signing-cert-file={path('pki/ca.crt')}", f"--cluster-signing-key-file={path('pki/ca.key')}",
           "--allocate-node-cidrs=false", f"--service-cluster-ip-range={SERVICE_CIDRS}", "--v=1")
    config = path("kube-scheduler.kubeconfig")
    _start("kube-scheduler", f"{binaries}/kube-scheduler", f"--kubeconfig={config}",
           f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}", "--port=0", GATES,
           "--leader-elect=false", "--v=1")


def etcdctl(*words):
    result = subprocess.run([*processes.enter(CONTROL_PLANE, mounts=False), "env", "ETCDCTL_API=3", "etcdctl",
                             f"--endpoints={ETCD_URL}", *words], text=True, capture_output=True, check=False)
    if result.returncode:
        raise LabError(f"etcdctl {words[0]}: {result.stderr.strip()}")
    return result.stdout


def compact_etcd():
    """Forgets all older revisions. Called while no API server runs, so that all watches stand at an older revision than
    the one that is left, and get 410 Gone from the next API server: its cache begins there."""
    written = json.loads(etcdctl("put", "/newer", "", "--write-out=json"))
    etcdctl("compact", str(written["header"]["revision"]))
