#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""tshark -i k8s from outside of the nodes: the one name of the headless service leads to all of them, and what both see
comes as one stream, in order and named."""
import contextlib
import os
import subprocess
import tempfile

import cluster as lab
import namesakes
import processes
import remora
from namesakes import check
from settings import CONTROL_PLANE

NAME = "remora-node.remora"
PACKETS = 40  # from each node
FIELDS = ("frame.time_epoch", *namesakes.FIELDS)


@contextlib.contextmanager
def resolver(cluster, folder, addresses):
    """A name server in the control plane's network, which answers as the cluster's own would. Yields the words before a
    command that run it there with that server."""
    names, config = os.path.join(folder, "names"), os.path.join(folder, "resolv.conf")
    with open(names, "w", encoding="ascii") as file:
        file.writelines(f"{address} {NAME}\n" for address in addresses)
    with open(config, "w", encoding="ascii") as file:
        file.write("nameserver 127.0.0.1\n")
    inside = cluster.enter(CONTROL_PLANE, mounts=False)
    server = subprocess.Popen([*inside, "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root",
                               "--pid-file=", "--conf-file=/dev/null", "--local=/remora/", "--local-ttl=0",
                               "--listen-address=127.0.0.1", "--bind-interfaces", f"--addn-hosts={names}"])
    try:
        yield [*inside, "unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', config]
    finally:
        server.terminate()
        server.wait()


def rows_of(file):
    with open(file, encoding="utf-8") as text:
        return [line.rstrip("\n").split("\t") for line in text if line.endswith("\n")]


def of_each_node(cluster, found):
    return [sum(d.to_server and d.interface == f"lab/{node}" for d in found) for node in cluster.nodes]


def datagrams(file):
    """What tshark has shown, but for what follows its time."""
    return [d for d in (namesakes.parse(row[1:]) for row in rows_of(file)) if d]


def test_outside(cluster):
    with cluster.namespace("outside") as namespace, remora.deployed(cluster, "overlays/insecure") as daemon, \
            tempfile.TemporaryDirectory() as folder:
        servers = namesakes.start_servers(cluster, namespace)
        for node in cluster.nodes:
            namesakes.create_pod(cluster, namespace, f"sender-{node}", namesakes.spec(
                node, *namesakes.traffic(servers[namesakes.other(cluster, node)], 1000000, 0.05)))
        addresses = cluster.wait_endpoints("remora-node", len(cluster.nodes), remora.NAMESPACE)
        live = os.path.join(folder, "live.txt")
        words = [word for field in FIELDS for word in ("-e", field)]
        with resolver(cluster, folder, addresses) as inside, open(live, "w", encoding="utf-8") as output:
            tools = daemon.wireshark()
            tshark = subprocess.Popen([*inside, *tools.prefix, "tshark", "-i", "k8s", "-o", f"extcap.k8s.endpoint:dns:///{NAME}",
                                       "-o", "extcap.k8s.insecure:true", "-f", f"udp port {namesakes.PORT}", "-l", "-T",
                                       "fields", *words], env=tools.environment, stdout=output)
            try:
                processes.wait_for(lambda: min(of_each_node(cluster, datagrams(live))) >= PACKETS or tshark.poll() is not None,
                                   "packets of both nodes", namesakes.PATIENCE)
            finally:
                tshark.terminate()
                tshark.wait()
        found = datagrams(live)
        print(f"{len(found)} packets; requests of each node: {of_each_node(cluster, found)}")
        check(min(of_each_node(cluster, found)) >= PACKETS, "tshark ended early")
        times = [float(row[0]) for row in rows_of(live)]
        check(times == sorted(times), "the stream is not in the order of time")
        namesakes.check_names(found, namespace)


if __name__ == "__main__":
    lab.main(test_outside)
