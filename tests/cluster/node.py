# SPDX-License-Identifier: GPL-2.0-or-later
"""A node: a holder of its network and mount namespaces, and in them containerd, kubelet and kube-proxy."""
import json
import os
import subprocess

import cgroups
import network
import pki
import processes
from settings import (HERE, LabError, NAME, PAUSE_IMAGE, POD_CIDRS, node_ip, node_ip6, path, pod_cidr, pod_cidr6)

SOCKET = "/run/containerd/containerd.sock"
GATES = {"IPv6DualStack": True, "DevicePlugins": False}


def group(node):
    """Pods are beside it, in NODE/kubepods: in version 2 a group with children holds no processes itself."""
    return f"{node}/system"


def start_holder(node):
    cgroups.make(node)
    cgroups.make(group(node))
    folder = path(node)
    os.makedirs(folder)
    processes.start(node, ["unshare", "--net", "--mount", os.path.join(HERE, "node-mounts.sh"), folder], group(node))
    processes.wait_for(lambda: os.path.exists(f"{folder}/mounted"), f"the mounts of {node}", 10, node)


def _snapshotter():
    """overlayfs does not stack on the overlay that containers have as their root."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", path()], text=True, capture_output=True, check=True).stdout.strip()
    return "native" if kind == "overlayfs" else "overlayfs"


def write_containerd_config(node):
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE a pod's score cannot be lowered, and no pod would start.
    with open(path(node, "containerd.toml"), "w", encoding="utf-8") as file:
        file.write(f"""version = 2
root = "{path(node, 'containerd')}"
state = "/run/containerd"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{path(node, 'opt')}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  disable_tcp_service = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{_snapshotter()}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "/usr/sbin/runc"
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{path(node, 'cni')}"
""")


def write_cni_config(node, prefix=24, first=None, last=None):
    """containerd follows the file. first, last: the addresses to give out, for the reuse of few."""
    address_range = {"subnet": pod_cidr(node, prefix)}
    if first:
        address_range.update(rangeStart=first, rangeEnd=last)
    config = {"cniVersion": "0.4.0", "name": "pods", "plugins": [
        {"type": "bridge", "bridge": "cni0", "isGateway": True, "isDefaultGateway": True, "hairpinMode": True,
         "ipam": {"type": "host-local", "ranges": [[address_range], [{"subnet": pod_cidr6(node)}]]}},
        {"type": "portmap", "capabilities": {"portMappings": True}}]}
    os.makedirs(path(node, "cni"), exist_ok=True)
    file_name = path(node, "cni", "10-pods.conflist")
    with open(file_name + ".new", "w", encoding="utf-8") as file:
        json.dump(config, file, indent=1)
    os.rename(file_name + ".new", file_name)


def write_kubelet_config(node):
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "address": node_ip(node), "healthzBindAddress": "127.0.0.1",
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                           "x509": {"clientCAFile": path("pki/ca.crt")}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": path("pki", f"{node}.crt"), "tlsPrivateKeyFile": path("pki", f"{node}.key"),
        "cgroupDriver": "cgroupfs", "cgroupRoot": f"/{NAME}/{node}", "cgroupsPerQOS": True,
        "failSwapOn": False, "maxPods": 250, "resolvConf": path(node, "resolv.conf"),
        "staticPodPath": path(node, "manifests"), "fileCheckFrequency": "2s", "volumePluginDir": path(node, "plugins"),
        # A machine that is short of disk or memory is not the lab's subject.
        "imageGCHighThresholdPercent": 100, "evictionHard": {"memory.available": "50Mi"},
        "nodeStatusUpdateFrequency": "2s", "featureGates": GATES,
        # As kubelets of today have it: with the 5 requests a second of this version, pods wait for their status alone.
        "kubeAPIQPS": 50, "kubeAPIBurst": 100, "eventRecordQPS": 50, "eventBurst": 100,
    }
    os.makedirs(path(node, "manifests"), exist_ok=True)
    with open(path(node, "resolv.conf"), "w", encoding="ascii") as file:
        file.write("# no DNS in the lab\n")
    with open(path(node, "kubelet.yaml"), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=1)


def start_containerd(node, nodes, prefix):
    network.set_up_node(node, nodes)
    pki.make_node(node)
    write_cni_config(node, prefix)
    write_containerd_config(node)
    write_kubelet_config(node)
    processes.start(f"containerd-{node}", ["containerd", "--config", path(node, "containerd.toml")], group(node), node)


def ctr(node, *words):
    return subprocess.run([*processes.enter(node), "ctr", "--address", SOCKET, "--namespace", "k8s.io", *words],
                          text=True, capture_output=True, check=False)


def wait_containerd(node):
    processes.wait_for(lambda: ctr(node, "version").returncode == 0, f"containerd on {node}", 30, f"containerd-{node}")


def load_image(node, archive):
    """An archive that images.sh made; an image of the same name is replaced for containers to come."""
    result = ctr(node, "images", "import", archive)
    if result.returncode:
        raise LabError(f"{archive} cannot be imported on {node}: {result.stderr.strip()}")


def start_kubelet(node, binaries):
    processes.start(f"kubelet-{node}", [
        f"{binaries}/kubelet", f"--config={path(node, 'kubelet.yaml')}", f"--kubeconfig={path(f'{node}.kubeconfig')}",
        f"--hostname-override={node}", f"--node-ip={node_ip(node)},{node_ip6(node)}", "--container-runtime=remote",
        f"--container-runtime-endpoint=unix://{SOCKET}", f"--pod-infra-container-image={PAUSE_IMAGE}", "--v=2",
    ], group(node), node)
    # Limits of conntrack are the machine's, not a network namespace's.
    processes.start(f"kube-proxy-{node}", [
        f"{binaries}/kube-proxy", f"--kubeconfig={path('kube-proxy.kubeconfig')}", f"--hostname-override={node}",
        "--proxy-mode=iptables", f"--cluster-cidr={POD_CIDRS}", "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s",
        "--feature-gates=IPv6DualStack=true", "--iptables-min-sync-period=0s", "--v=1",
    ], group(node), node)
