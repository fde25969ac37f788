# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes behind a name: a real name server, and real remora-nodes that join, leave and come back while a capture runs."""
import os
import signal
import subprocess
import struct

from common import NODE, REMORADUMP, check, check_equal, main, options, stop, wait_for, wireshark
from cluster import Cluster

ENDPOINT = "dns:///nodes.remora"  # the port is the usual one
PORT = 7470
WORKERS = ("worker-1", "worker-2", "worker-3")
VIEWER, SERVER = "viewer", "192.168.77.53"
PATIENCE = 40  # of all that a name server's answer must bring about; it is asked every 5 to 10 s


class Nodes(Cluster):
    """Three hosts with a pod each that pings, one with the name server, and one from which all is watched."""

    def build(self):
        for index, host in enumerate(WORKERS, 1):
            self.add_host(host, f"192.168.77.{10 + index}", f"10.244.{index}.0/24")
            self._ip(host, [f"address add 192.168.77.{20 + index}/24 dev eth0"])
            self.add_pod("shop", f"pod-{index}", host, f"10.244.{index}.2")
        self.add_host(VIEWER, "192.168.77.100", "10.244.100.0/24")
        self.add_host("dns", SERVER, "10.244.53.0/24")
        for host, address in (("worker-1", "fd77::11"), (VIEWER, "fd77::100")):
            for device in ("lo", "eth0"):  # gRPC takes a machine without ::1 for one without IPv6
                self.sysctl(host, f"net.ipv6.conf.{device}.disable_ipv6", 0)
            self._ip(host, [f"address add {address}/64 dev eth0 nodad"])
        self.names = os.path.join(self.folder, "names")
        self.write_names()
        self.dnsmasq = self.spawn("dns", ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root",
                                          "--pid-file=", "--conf-file=/dev/null", "--local=/remora/", "--local-ttl=0",
                                          f"--addn-hosts={self.names}"], log="dnsmasq.log")
        self.wait_port("dns", 53, SERVER)
        for index, host in enumerate(WORKERS, 1):
            self.spawn(f"pod-{index}", ["ping", "-n", "-q", "-i", "0.1", self.hosts[host]["address"]], log="ping.log")

    def write_names(self, *addresses):
        with open(self.names, "w", encoding="ascii") as file:
            file.writelines(f"{address} nodes.remora\n" for address in addresses)

    def name(self, *addresses):
        """From now on these are the name's addresses."""
        self.write_names(*addresses)
        self.dnsmasq.send_signal(signal.SIGHUP)

    def start(self, host, address=None):
        node = self.start_node(NODE, host, f"[::]:{PORT}", self.write_inventory(), "--insecure")
        self.wait_port(host, PORT, address or self.hosts[host]["address"])
        return node

    def watch(self, argv, **kwargs):
        """Runs a program where the name is resolved."""
        return self.spawn(VIEWER, argv, resolver=SERVER, **kwargs)

    def ask(self, *argv):
        """Like watch(), to its end: exit status, standard output, standard error."""
        process = self.watch([REMORADUMP, *argv, "--insecure", "--endpoint", ENDPOINT], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err


def blocks(path):
    """(type, body) of the whole blocks of a file that may still grow."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return
    offset = 0
    while offset + 12 <= len(data):
        kind, length = struct.unpack_from("<II", data, offset)
        if offset + length > len(data):
            return
        yield kind, data[offset + 8:offset + length - 4]
        offset += length


class Content:
    """What a capture has: interfaces by name in their order, packets and statistics of each."""

    def __init__(self, path):
        self.interfaces, self.requests, self.statistics, self.comments, self.kinds = [], {}, {}, [], []
        for kind, body in blocks(path):
            self.kinds.append(kind)
            if kind == 1:
                name = options(body[8:])[2][0].decode()
                self.interfaces.append(name)
                self.requests[name] = []
            elif kind == 6:
                self._packet(body)
            elif kind == 5:
                name = self.interfaces[struct.unpack_from("<I", body)[0]]
                self.statistics[name] = options(body[12:])

    def _packet(self, body):
        interface, _, _, length, _ = struct.unpack_from("<IIIII", body)
        frame = body[20:20 + length]
        if frame[12:14] == b"\x08\x00" and frame[23] == 1 and frame[34] == 8:  # ICMP echo request
            self.requests[self.interfaces[interface]].append(struct.unpack_from(">HH", frame, 38))
        self.comments += [c.decode() for c in options(body[20 + (length + 3) // 4 * 4:]).get(1, [])]

    def count(self, host):
        return len(self.requests.get(f"demo/{host}", []))


def goes_on(paths, hosts, what):
    """Waits until all the files have further packets of all the hosts."""
    before = {path: Content(path) for path in paths}
    wait_for(lambda: all(Content(path).count(host) > before[path].count(host) + 5 for path in paths for host in hosts),
             what, PATIENCE)


def joins_and_leaves(folder):
    tools = wireshark(folder)
    with Nodes(os.path.join(folder, "nodes")) as cluster:
        alone, live = os.path.join(folder, "alone.pcapng"), os.path.join(folder, "live.pcapng")
        paths = (alone, live)
        log = os.path.join(cluster.folder, "remoradump.log")

        def said(text):
            with open(log, encoding="utf-8") as file:
                return file.read().count(text)

        cluster.start("worker-1")
        second = cluster.start("worker-2")
        cluster.name("192.168.77.11", "192.168.77.12")
        dump = cluster.watch([REMORADUMP, "-w", alone, "--insecure", "--endpoint", ENDPOINT], log="remoradump.log")
        tshark = cluster.watch([*tools.prefix, "tshark", "-q", "-i", "k8s", "-w", live, "-o", "extcap.k8s.insecure:true",
                                "-o", f"extcap.k8s.endpoint:{ENDPOINT}"], env=tools.environment, log="tshark.log")
        goes_on(paths, ("worker-1", "worker-2"), "packets of the first two nodes")

        cluster.start("worker-3")
        cluster.name("192.168.77.11", "192.168.77.12", "192.168.77.13")
        goes_on(paths, WORKERS, "packets of the node that joins")
        check_equal(said("worker-3 has joined, at 192.168.77.13:7470"), 1, "notes of the one that joins")

        cluster.kill(second)
        cluster.name("192.168.77.11", "192.168.77.13")
        wait_for(lambda: said("worker-2 has left: dns:///nodes.remora"), "the end of worker-2", PATIENCE)
        goes_on(paths, ("worker-1", "worker-3"), "packets of the nodes that stay")

        cluster.start("worker-2", "192.168.77.22")  # another process, at another address
        cluster.name("192.168.77.11", "192.168.77.13", "192.168.77.22")
        goes_on(paths, WORKERS, "packets of the node that is back")
        check_equal(said("worker-2 is back"), 1, "notes of the return")

        cluster.name()  # NXDOMAIN
        wait_for(lambda: said("the name is not known"), "the note of the missing name", PATIENCE)
        goes_on(paths, WORKERS, "packets without a name")
        cluster.dnsmasq.send_signal(signal.SIGSTOP)
        wait_for(lambda: said("no name server gives an answer"), "the note of the silent server", PATIENCE)
        goes_on(paths, WORKERS, "packets without a name server")
        cluster.write_names("192.168.77.11", "fd77::11", "192.168.77.13", "192.168.77.22")
        cluster.dnsmasq.send_signal(signal.SIGCONT)
        cluster.dnsmasq.send_signal(signal.SIGHUP)
        wait_for(lambda: said("192.168.77.11:7470 and [fd77::11]:7470 are the same node, worker-1"), "the note of the second address", PATIENCE)
        goes_on(paths, WORKERS, "packets with two addresses of a node")
        check_equal(said("has left"), 1, "nodes that left")
        check_equal(said("Lost the connection"), 1, "connections that were lost")

        check_equal(stop(dump), 0, "exit status of remoradump")
        check_equal(stop(tshark), 0, "exit status of tshark")
        for path in paths:
            check_file(Content(path), path)
            tools.tshark(path)  # raises if it cannot read the file to its end
        # dumpcap is gone before ours has ended, so only here: also of the one that left and is back.
        check_equal(sorted(Content(alone).statistics), [f"demo/{host}" for host in WORKERS], "statistics")


def check_file(content, path):
    check_equal(sorted(content.interfaces), [f"demo/{host}" for host in WORKERS], f"interfaces in {path}")
    check(1 in content.kinds[content.kinds.index(6):], f"no interface after the first packet in {path}")
    for name, requests in content.requests.items():
        check_equal(len(set(requests)), len(requests), f"each request once, of {name} in {path}")
    # What the nodes that never were away captured is there without a hole.
    for host in ("worker-1", "worker-3"):
        numbers = [sequence for _, sequence in content.requests[f"demo/{host}"]]
        check_equal(numbers, list(range(numbers[0], numbers[0] + len(numbers))), f"requests of {host} in {path}")
    gaps = [c for c in content.comments if "was away" in c]
    check(len(gaps) == 1 and "worker-2" in gaps[0] and "(restarted)" in gaps[0], f"gaps in {path}: {gaps}")


def lists(folder):
    with Nodes(os.path.join(folder, "nodes")) as cluster:
        for host in WORKERS:
            cluster.start(host)
        cluster.name("192.168.77.11", "192.168.77.12", "192.168.77.22", "192.168.77.13")  # worker-2 twice
        code, out, err = cluster.ask("--list-targets")
        check_equal((code, err), (0, ""), "--list-targets")
        check_equal(sorted(line.split()[1] for line in out.splitlines()[1:]), ["shop/pod-1", "shop/pod-2", "shop/pod-3"],
                    "pods")
        code, out, err = cluster.ask("--status")
        check_equal((code, err), (0, ""), "--status")
        check_equal(sorted(line.split()[1] for line in out.splitlines() if line.startswith("node ")), list(WORKERS),
                    "nodes")
        code, out, err = cluster.ask("--extcap-config", "--extcap-interface", "k8s", "--extcap-reload-option", "pod")
        check_equal((code, err), (0, ""), "the dialog's list")
        for index in (1, 2, 3):
            check_equal(out.count(f"{{value=shop/pod-{index}}}"), 1, f"pod-{index} in {out}")

        cluster.name("192.168.77.11", "192.168.77.99")  # one that is no node
        code, out, err = cluster.ask("--list-targets")
        check_equal(code, 1, "exit status with a node that does not answer")
        check("shop/pod-1" in out and "192.168.77.99:7470" in err, f"{out}{err}")


def errors(folder):
    with Nodes(os.path.join(folder, "nodes")) as cluster:
        path = os.path.join(folder, "out.pcapng")
        for ask in (("--list-targets",), ("--status",), ("-w", path)):
            code, _, err = cluster.ask(*ask)
            check_equal(code, 1, f"exit status of {ask}")
            check(f"{ENDPOINT}: the name is not known, or has no addresses" in err, f"{ask}: {err}")
        check(not os.path.exists(path) or os.path.getsize(path) == 0, "a capture without nodes has bytes")
        cluster.name("192.168.77.11")
        code, _, err = cluster.ask("-w", path)
        check_equal(code, 1, "exit status without a node")
        check(f"{ENDPOINT}, 192.168.77.11:7470: " in err and "remora-node" in err, err)
        cluster.dnsmasq.send_signal(signal.SIGSTOP)
        code, _, err = cluster.ask("-w", path)
        check_equal(code, 1, "exit status without a name server")
        check("no name server gives an answer" in err, err)


if __name__ == "__main__":
    main(joins_and_leaves, lists, errors)
