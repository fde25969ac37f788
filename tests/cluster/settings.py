# SPDX-License-Identifier: GPL-2.0-or-later
"""Names, addresses and folders of the lab. Everything that it makes is under STATE or carries NAME."""
import os

HERE = os.path.dirname(os.path.abspath(__file__))
# On a disk rather than in /run, which is often mounted noexec and small.
STATE = os.environ.get("REMORA_LAB_STATE") or "/var/lib/remora-lab"
NAME = os.path.basename(STATE)

CONTROL_PLANE = "control-plane"
CONTROL_PLANE_IP = "10.99.0.1"
CONTROL_PLANE_IP6 = "fd00:10:99::1"
API_URL = f"https://{CONTROL_PLANE_IP}:6443"
ETCD_URL = "http://127.0.0.1:2379"
SERVICE_CIDRS = "10.96.0.0/16,fd00:10:96::/112"
FIRST_SERVICE_IP = "10.96.0.1"
POD_CIDRS = "10.244.0.0/16,fd00:10:244::/48"
NODES = ("node1", "node2")

PAUSE_IMAGE = "localhost/pause:1"
WORK_IMAGE = "localhost/work:1"

# Folders that kubelet and CNI have fixed: each node mounts its own over them, but the mount point must exist.
MOUNT_POINTS = ("/var/lib/kubelet", "/var/lib/cni")


class LabError(Exception):
    """Told to the person as it is, without a trace."""


class Unsupported(LabError):
    """This machine cannot run the lab; tests are skipped."""


def path(*parts):
    return os.path.join(STATE, *parts)


def number(node):
    return NODES.index(node) + 1


def node_ip(node):
    return f"10.99.0.1{number(node)}"


def node_ip6(node):
    return f"fd00:10:99::1{number(node)}"


def pod_cidr(node, prefix=24):
    """The node's pods: a longer prefix makes addresses scarce, so that they are soon used again."""
    return f"10.244.{number(node)}.0/{prefix}"


def pod_cidr6(node):
    return f"fd00:10:244:{number(node)}::/64"
