# SPDX-License-Identifier: GPL-2.0-or-later
"""A small cluster without Kubernetes: hosts and pods as network namespaces, ClusterIPs by nftables.

Hosts hang on one bridge in a namespace of its own. A pod has a /32 address, its gateway is the
link-local 169.254.1.1 on its host, and ClusterIPs are translated by the host as kube-proxy does.
Everything belongs to one Cluster object and goes away with close(), also after a failure.
"""
import json
import os
import signal
import subprocess
import time

GATEWAY = "169.254.1.1"


def run(*argv, **kwargs):
    return subprocess.run(argv, check=True, **kwargs)


def wait_for(condition, what, seconds=180.0):
    """Polls a condition; an error that names what was waited for when time is over."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} within {seconds:g} s")
        time.sleep(0.01)


class Cluster:
    """Use as a context manager: namespaces are named PREFIX-..., files lie below `folder`."""

    def __init__(self, folder, prefix=None):
        self.folder = folder
        self.prefix = prefix or f"rm{os.getpid()}"
        self.hosts, self.pods, self.services, self.processes = {}, {}, [], []
        self.namespaces = []
        os.makedirs(folder, exist_ok=True)

    def __enter__(self):
        try:
            self._netns("switch")
            self._ip("switch", ["link add br0 type bridge", "link set br0 up"])
            self.build()
        except BaseException:
            self.close()
            raise
        return self

    def build(self):
        """Hosts, pods and servers of a particular cluster: for subclasses."""

    def __exit__(self, *_):
        self.close()

    def close(self):
        for process in reversed(self.processes):
            self.kill(process)
        for name in reversed(self.namespaces):
            subprocess.run(["ip", "netns", "del", name], check=False)
        self.namespaces, self.processes = [], []

    # ---- network ----

    def netns(self, name):
        return f"{self.prefix}-{name}"

    def netns_path(self, name):
        return f"/run/netns/{self.netns(name)}"

    def _netns(self, name):
        run("ip", "netns", "add", self.netns(name))
        self.namespaces.append(self.netns(name))
        self._ip(name, ["link set lo up"])
        for scope in ("all", "default"):  # IPv4 only: no router solicitations among the traffic
            self.sysctl(name, f"net.ipv6.conf.{scope}.disable_ipv6", 1)

    def _ip(self, name, commands):
        run("ip", "-netns", self.netns(name), "-batch", "-", input="\n".join(commands) + "\n",
            text=True)

    def add_host(self, name, address, pod_cidr):
        index = len(self.hosts) + 1
        self._netns(name)
        self._ip("switch", [f"link add h{index} type veth peer name eth0 netns {self.netns(name)}",
                            f"link set h{index} master br0 up"])
        self._ip(name, [f"address add {address}/24 dev eth0", "link set eth0 up"])
        self.sysctl(name, "net.ipv4.ip_forward", 1)
        for other in self.hosts.values():
            self._ip(name, [f"route add {other['cidr']} via {other['address']}"])
            self._ip(other["name"], [f"route add {pod_cidr} via {address}"])
        self.hosts[name] = {"name": name, "address": address, "cidr": pod_cidr}

    def sysctl(self, name, key, value):
        self.exec(name, ["sh", "-c", f"echo {value} > /proc/sys/{key.replace('.', '/')}"])

    def add_pod(self, namespace, name, host, address, owner=None, labels=None, containers=()):
        """containers: (name, image, {port name: port}); owner: (kind, name)."""
        link = f"p{len(self.pods) + 1}"
        self._netns(name)
        self._ip(host, [f"link add {link} type veth peer name eth0 netns {self.netns(name)}",
                        f"address add {GATEWAY}/32 dev {link}", f"link set {link} up",
                        f"route add {address}/32 dev {link}"])
        self._ip(name, [f"address add {address}/32 dev eth0", "link set eth0 up",
                        f"route add {GATEWAY} dev eth0", f"route add default via {GATEWAY}"])
        self.pods[name] = {"namespace": namespace, "name": name, "host": host, "address": address,
                           "owner": owner, "labels": labels or {}, "containers": containers,
                           "created": time.time()}
        return self.pods[name]

    def remove_pod(self, name):
        """The pod's namespace goes; its processes must have been killed."""
        del self.pods[name]
        run("ip", "netns", "del", self.netns(name))
        self.namespaces.remove(self.netns(name))

    def add_service(self, namespace, name, address, ports, pods):
        """ports: {name: (protocol, port, target port)}; pods: names of the endpoints."""
        self.services.append({"namespace": namespace, "name": name, "address": address,
                              "ports": ports, "pods": pods})

    def apply_services(self):
        rules = []
        for service in self.services:
            for protocol, port, target in service["ports"].values():
                ends = [f"{i} : {self.pods[p]['address']} . {target}"
                        for i, p in enumerate(service["pods"])]
                rules.append(f"ip daddr {service['address']} {protocol} dport {port} dnat ip to "
                             f"numgen inc mod {len(ends)} map {{ {', '.join(ends)} }}")
        table = ("table ip services {\n chain prerouting { type nat hook prerouting priority -100;\n  "
                 + "\n  ".join(rules) + "\n }\n}\n")
        for host in self.hosts:
            self.exec(host, ["nft", "-f", "-"], input=table, text=True)

    # ---- processes ----

    def entering(self, name, argv):
        """argv that runs it in that namespace."""
        return ["nsenter", f"--net={self.netns_path(name)}", "--", *argv]

    def exec(self, name, argv, **kwargs):
        return run(*self.entering(name, argv), **kwargs)

    def spawn(self, name, argv, log=None, resolver=None, **kwargs):
        """Starts a program in a namespace; `resolver` gives it an /etc/resolv.conf of its own."""
        if resolver:
            path = os.path.join(self.folder, "resolv.conf")
            with open(path, "w", encoding="ascii") as file:
                file.write(f"nameserver {resolver}\noptions timeout:5 attempts:3\n")
            mounts = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
            argv = ["unshare", "-m", "sh", "-c", mounts, path, *argv]
        if log:
            kwargs["stdout"] = kwargs["stderr"] = open(os.path.join(self.folder, log), "ab")
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen(self.entering(name, argv), start_new_session=True, **kwargs)
        if log:
            kwargs["stdout"].close()
        self.processes.append(process)
        return process

    def kill(self, process, signum=signal.SIGTERM):
        """Ends a process group that spawn() started."""
        if process.poll() is None:
            os.killpg(process.pid, signum)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process in self.processes:
            self.processes.remove(process)

    def wait_port(self, name, port, address="127.0.0.1"):
        probe = ("import socket,sys\ntry: socket.create_connection((sys.argv[1],int(sys.argv[2])),1)"
                 "\nexcept OSError: sys.exit(1)")
        argv = self.entering(name, ["python3", "-c", probe, address, str(port)])
        wait_for(lambda: subprocess.run(argv, check=False).returncode == 0, f"port {port} in {name}")

    def start_node(self, binary, host, listen, inventory, *options):
        return self.spawn(host, [binary, "--listen", listen, "--node-name", host, "--cluster", "demo",
                                 "--inventory", inventory, *options], log=f"remora-{host}.log")

    # ---- what the API server would know ----

    def inventory(self):
        items = []
        for namespace in sorted({p["namespace"] for p in self.pods.values()}):
            items.append(self._object("v1", "Namespace", None, namespace))
        for host in self.hosts.values():
            node = self._object("v1", "Node", None, host["name"])
            node["status"] = {"addresses": [{"type": "InternalIP", "address": host["address"]},
                                            {"type": "Hostname", "address": host["name"]}]}
            items.append(node)
        items += [self._pod(pod) for pod in self.pods.values()]
        for service in self.services:
            items += self._service(service)
        return {"apiVersion": "v1", "kind": "List", "items": items}

    def write_inventory(self, path=None):
        path = path or os.path.join(self.folder, "inventory.json")
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.inventory(), file, indent=1)
        os.rename(path + ".new", path)
        return path

    def _object(self, version, kind, namespace, name, created=None):
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created or time.time() - 60))
        meta = {"name": name, "uid": f"{kind.lower()}-{namespace or ''}-{name}",
                "creationTimestamp": stamp}
        if namespace:
            meta["namespace"] = namespace
        return {"apiVersion": version, "kind": kind, "metadata": meta}

    def _pod(self, pod):
        item = self._object("v1", "Pod", pod["namespace"], pod["name"], pod["created"])
        meta = item["metadata"]
        meta["labels"] = dict(pod["labels"])
        meta["annotations"] = {"remora.dev/netns": self.netns_path(pod["name"])}
        if pod["owner"]:
            kind, name = pod["owner"]
            if kind == "Deployment":  # as the API shows it: through the ReplicaSet and its hash
                hash_ = pod["name"][len(name) + 1:].split("-")[0]
                meta["labels"]["pod-template-hash"] = hash_
                kind, name = "ReplicaSet", f"{name}-{hash_}"
            meta["ownerReferences"] = [{"apiVersion": "apps/v1", "kind": kind, "name": name,
                                        "uid": f"{kind}-{name}", "controller": True}]
        item["spec"] = {"nodeName": pod["host"], "containers": [
            {"name": name, "image": image,
             "ports": [{"name": n, "containerPort": p, "protocol": "TCP"} for n, p in ports.items()]}
            for name, image, ports in pod["containers"]]}
        item["status"] = {"phase": "Running", "podIP": pod["address"],
                          "podIPs": [{"ip": pod["address"]}],
                          "hostIP": self.hosts[pod["host"]]["address"]}
        return item

    def _service(self, service):
        namespace, name = service["namespace"], service["name"]
        item = self._object("v1", "Service", namespace, name)
        item["spec"] = {"type": "ClusterIP", "clusterIP": service["address"],
                        "clusterIPs": [service["address"]],
                        "ports": [{"name": n, "protocol": proto.upper(), "port": port,
                                   "targetPort": target}
                                  for n, (proto, port, target) in service["ports"].items()]}
        slice_ = self._object("discovery.k8s.io/v1", "EndpointSlice", namespace, f"{name}-7x2kq")
        slice_["metadata"]["labels"] = {"kubernetes.io/service-name": name}
        slice_["addressType"] = "IPv4"
        slice_["ports"] = [{"name": n, "protocol": proto.upper(), "port": target}
                           for n, (proto, _, target) in service["ports"].items()]
        slice_["endpoints"] = [
            {"addresses": [self.pods[p]["address"]], "conditions": {"ready": True},
             "nodeName": self.pods[p]["host"],
             "targetRef": {"kind": "Pod", "namespace": self.pods[p]["namespace"], "name": p,
                           "uid": f"pod-{self.pods[p]['namespace']}-{p}"}}
            for p in service["pods"]]
        return [item, slice_]
