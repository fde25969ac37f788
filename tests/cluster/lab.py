#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab: a real Kubernetes of two nodes on this machine, in network namespaces. docs/lab.md tells more.

usage: ./dev lab up [--nodes N] [--pod-prefix BITS]   bring it up; N 0 is the control plane alone
       ./dev lab up --anew                            the same; takes down first what is up or was left
       ./dev lab down                                 take it down, whatever state it is in
       ./dev lab status
       ./dev lab enter control-plane|node1|node2 [COMMAND...]   run a command, or a shell, in there
       ./dev lab remora                               deploy the built remora-node; prints its endpoints
       ./dev lab load ARCHIVE                         an image that tests/cluster/images.sh made, onto all nodes
"""
import argparse
import glob
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import cgroups
import control_plane
import network
import node
import pki
import processes
from api import Api, condition_of
from settings import CONTROL_PLANE, CONTROL_PLANE_IP, HERE, LabError, MOUNT_POINTS, NODES, STATE, Unsupported, path
from settings import pod_cidr, pod_cidr6

MARK = "made-by-remora-lab"
TOOLS = ("etcd", "etcdctl", "containerd", "ctr", "runc", "iptables", "ip6tables", "nsenter", "unshare", "ip", "curl",
         "openssl")


class Progress:
    """Says what takes long, with the time since the start."""

    def __init__(self):
        self.start = time.monotonic()

    def __call__(self, text):
        print(f"lab: {time.monotonic() - self.start:5.1f} s  {text}", file=sys.stderr, flush=True)


def check_machine():
    if os.geteuid() != 0:
        raise Unsupported("not root: network namespaces and control groups cannot be made")
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        raise Unsupported(f"these programs are missing: {' '.join(missing)}; ./dev setup lab installs them")
    if not os.path.isdir("/usr/lib/cni"):
        raise Unsupported("/usr/lib/cni is missing; ./dev setup lab installs it")
    cgroups.check()
    test = subprocess.run(["unshare", "--net", "--mount", "true"], text=True, capture_output=True, check=False)
    if test.returncode:
        raise Unsupported(f"namespaces cannot be made here: {test.stderr.strip()}")


def script(name, *words):
    """Runs one of the folder's scripts, whose progress is shown, and returns the line it prints."""
    result = subprocess.run([os.path.join(HERE, name), *words], text=True, stdout=subprocess.PIPE, check=False)
    if result.returncode:
        raise LabError(f"{name} failed")
    return result.stdout.strip()


def save(settings):
    with open(path("lab.json"), "w", encoding="utf-8") as file:
        json.dump(settings, file)


def load():
    """What was asked for at up; None without a lab."""
    try:
        with open(path("lab.json"), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def make_mount_points():
    """The mark says which of them are the labs', whichever lab made them."""
    for folder in MOUNT_POINTS:
        if not os.path.exists(folder):
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, MARK), "w", encoding="ascii"):
                pass


def remove_mount_points():
    """Not while another lab uses them: a folder that goes takes along what other namespaces have mounted on it."""
    for folder in MOUNT_POINTS:
        mark = os.path.join(folder, MARK)
        if os.path.exists(mark) and not mounted_anywhere(folder):
            os.unlink(mark)
            os.rmdir(folder)


def mounted_anywhere(folder):
    for file_name in glob.glob("/proc/[0-9]*/mountinfo"):
        try:
            with open(file_name, encoding="utf-8") as file:
                if any(line.split()[4] == folder for line in file):
                    return True
        except OSError:
            pass  # the process ended
    return False


def start_relay():
    """Returns the port of the machine's loopback that leads to the API server."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    holder = processes.pid_of(CONTROL_PLANE)
    processes.start("relay", [sys.executable, os.path.join(HERE, "relay.py"), str(listener.fileno()),
                              f"/proc/{holder}/ns/net", CONTROL_PLANE_IP, "6443"], CONTROL_PLANE,
                    pass_fds=[listener.fileno()])
    port = listener.getsockname()[1]
    listener.close()
    return port


def start_nodes(nodes, prefix, images):
    """Up to containerd with its images: all that needs no API server."""
    for name in nodes:
        node.start_holder(name)
    for name in nodes:
        node.start_containerd(name, nodes, prefix)

    def prepare(name):
        node.wait_containerd(name)
        for archive in ("pause.tar", "work.tar"):
            node.load_image(name, os.path.join(images, archive))

    pool = ThreadPoolExecutor(max_workers=max(1, len(nodes)))
    return [pool.submit(prepare, name) for name in nodes]


def wait_nodes_ready(api, nodes):
    for name in nodes:
        api.wait("/api/v1/nodes", lambda items: any(items), f"{name} to register", fieldSelector=f"metadata.name={name}")
        # No controller gives out ranges, as CNI has its own; the API tells the same ones.
        api.patch(f"/api/v1/nodes/{name}", {"spec": {"podCIDR": pod_cidr(name), "podCIDRs": [pod_cidr(name),
                                                                                            pod_cidr6(name)]}})
    api.wait("/api/v1/nodes", lambda items: sum(condition_of(item, "Ready") for item in items) == len(nodes),
             "the nodes to be ready")


def up(count=2, prefix=24, say=None, anew=False):
    """Returns when nodes are ready and pods can be created. Takes down what a failed bring-up leaves; anew: whatever is up."""
    say = say or Progress()
    check_machine()
    if anew:
        down(say=lambda text: None)
    if os.path.exists(STATE):
        raise LabError(f"{STATE} exists: the lab is up, or was not taken down; "
                       "see ./dev lab status, or take it down with ./dev lab down")
    binaries = script("build-kubernetes.sh")
    images = script("images.sh", "lab")
    nodes = NODES[:count]
    os.makedirs(STATE, mode=0o700)
    try:
        _bring_up(nodes, prefix, binaries, images, say)
    except BaseException as error:
        say(f"bringing up failed; taking down{'' if isinstance(error, Exception) else ' (interrupted)'}")
        if os.environ.get("REMORA_LAB_KEEP_FAILED"):
            raise
        down(say=lambda text: None)
        raise


def _bring_up(nodes, prefix, binaries, images, say):
    save({"nodes": list(nodes), "prefix": prefix, "binaries": binaries, "images": images})
    make_mount_points()
    say("certificates, network, etcd and API server")
    pki.make_control_plane()
    control_plane.start_holder()
    network.set_up_control_plane()
    control_plane.start_etcd()
    control_plane.start_api_server(binaries)
    prepared = start_nodes(nodes, prefix, images)
    admin = pki.write_kubeconfig("admin", "admin", f"https://127.0.0.1:{start_relay()}")
    os.symlink(f"{binaries}/kubectl", path("kubectl"))
    control_plane.wait_api_ready()
    control_plane.start_controllers(binaries)
    say("API server ready; waiting for nodes and service accounts" if nodes else "API server ready")
    for job in prepared:
        job.result()
    for name in nodes:
        node.start_kubelet(name, binaries)
    api = Api(admin)
    wait_nodes_ready(api, nodes)
    # Pods are refused until their namespace has its service account.
    api.wait("/api/v1/namespaces/default/serviceaccounts", lambda items: any(i.get("secrets") for i in items),
             "the default service account", fieldSelector="metadata.name=default")
    say("up")


def down(say=None):
    """Works from whatever is left, also without a state folder. Says nothing where there is nothing."""
    say = say or Progress()
    if os.geteuid() != 0:
        raise LabError("not root")
    if not os.path.exists(STATE) and not cgroups.folders():
        remove_mount_points()  # which another lab may have left
        say("the lab is not up")
        return
    processes.kill_all()
    cgroups.remove()
    for line in open("/proc/self/mounts", encoding="utf-8").read().splitlines()[::-1]:
        if line.split()[1].startswith(STATE + "/"):
            subprocess.run(["umount", "--lazy", line.split()[1]], check=True)
    remove_mount_points()
    if os.path.exists(STATE):
        shutil.rmtree(STATE)
    say("down; nothing is left")


def status():
    """Prints the state; returns whether all runs."""
    settings = load()
    if settings is None:
        print("the lab is not up" + (f", but {STATE} exists: ./dev lab down" if os.path.exists(STATE) else ""))
        return False
    good = True
    for name in processes.load():
        pid = processes.pid_of(name)
        good = good and pid is not None
        print(f"{name:26} {f'pid {pid}' if pid else 'NOT RUNNING: ' + processes.log_file(name)}")
    try:
        api = Api(path("admin.kubeconfig"))
        for item in api.get("/api/v1/nodes")["items"]:
            ready = condition_of(item, "Ready")
            good = good and ready
            pods = api.get(f"/api/v1/pods?fieldSelector=spec.nodeName={item['metadata']['name']}")["items"]
            print(f"{item['metadata']['name']:26} {'ready' if ready else 'NOT READY'}, {len(pods)} pods")
    except Exception as error:  # whatever it is, it is told
        print(f"the API server does not answer: {error}")
        good = False
    return good


def usage():
    return f"""
  export KUBECONFIG={path('admin.kubeconfig')} PATH={STATE}:$PATH
  kubectl get nodes -o wide
  kubectl run web --image=localhost/work:1 -- traffic serve
  ./dev lab enter node1             # a shell in a node: its network, /run, /var/log, /var/lib/kubelet
  ./dev lab down
logs: {path('log')}"""


def deploy():
    # These build upon this module.
    from cluster import Cluster  # pylint: disable=import-outside-toplevel
    import remora  # pylint: disable=import-outside-toplevel
    cluster = Cluster()
    remora.load_image(cluster)
    print(remora.apply(cluster).endpoints())


def parse(words):
    parser = argparse.ArgumentParser(prog="./dev lab", usage=__doc__.partition("usage: ")[2])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("up", "down", "status", "enter", "load", "remora"):
        command = commands.add_parser(name)
        if name == "up":
            command.add_argument("--nodes", type=int, choices=range(len(NODES) + 1), default=len(NODES))
            command.add_argument("--pod-prefix", type=int, choices=range(24, 31), default=24)
            command.add_argument("--anew", action="store_true")
        elif name == "enter":
            command.add_argument("place", choices=(CONTROL_PLANE, *NODES))
            command.add_argument("words", nargs=argparse.REMAINDER)
        elif name == "load":
            command.add_argument("archive")
    return parser.parse_args(words)


def main():
    options = parse(sys.argv[1:])
    try:
        if options.command == "up":
            up(options.nodes, options.pod_prefix, anew=options.anew)
            print(usage())
        elif options.command == "down":
            down()
        elif options.command == "status":
            sys.exit(0 if status() else 1)
        elif options.command == "enter":
            words = options.words or [os.environ.get("SHELL") or "/bin/sh"]
            line = [*processes.enter(options.place), *words]
            os.execvp(line[0], line)
        elif options.command == "remora":
            deploy()
        elif options.command == "load":
            for name in (load() or {"nodes": []})["nodes"]:
                node.load_image(name, os.path.abspath(options.archive))
    except Unsupported as error:
        print(f"lab: {error}", file=sys.stderr)
        sys.exit(77)
    except (LabError, TimeoutError) as error:
        print(f"lab: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
