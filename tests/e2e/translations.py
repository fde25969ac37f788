# SPDX-License-Identifier: GPL-2.0-or-later
"""Both legs of connections whose addresses are rewritten: named alike, tied by k8s.flow.id, against tcpdump's word."""
import collections
import subprocess

from common import captured, check, check_equal, main, start_nodes, stop, wait_for, wireshark
import shop
from demo import settled

NODE_PORT = 30080
ROUNDS = 20
FETCH = """
import sys, urllib.request
for _ in range(int(sys.argv[2])):
    urllib.request.urlopen(sys.argv[1], timeout=20).read()
"""


def more_services(cluster):
    """As kube-proxy does: a node port, and masquerading for it and for a pod that calls itself."""
    frontend = cluster.pods[shop.FRONTEND]
    for host in cluster.hosts.values():
        # Not masquerade: that would be the demo's gateway, a link-local address, which means another one in every pod.
        own = " ".join(f"ip saddr {p['address']} ip daddr {p['address']} snat ip to {host['address']};"
                       for p in cluster.pods.values())
        cluster.exec(host["name"], ["nft", "-f", "-"], text=True, input=f"""
            table ip nodeport {{
              chain prerouting {{ type nat hook prerouting priority -90;
                ip daddr {host['address']} tcp dport {NODE_PORT} counter ct mark set 7 dnat ip to {frontend['address']}:8080; }}
              chain postrouting {{ type nat hook postrouting priority 100; ct mark 7 masquerade; {own} }}
            }}""")


def inventory_with_node_port(cluster):
    plain = cluster.inventory

    def inventory():
        everything = plain()
        for item in everything["items"]:
            if item["kind"] == "Service" and item["metadata"]["name"] == "frontend":
                item["spec"]["type"] = "NodePort"
                item["spec"]["ports"][0]["nodePort"] = NODE_PORT
        return everything

    cluster.inventory = inventory


def fetch(cluster, pod, url):
    process = cluster.spawn(pod, ["python3", "-c", FETCH, url, str(ROUNDS)], log="fetch.log")
    check_equal(process.wait(240), 0, f"{pod} fetching {url}")


def traffic(cluster):
    cluster.traffic(rounds=5)
    other = cluster.hosts["worker-2"]["address"]
    fetch(cluster, shop.CLIENT_1, f"http://{other}:{NODE_PORT}/")  # there and back between the nodes
    fetch(cluster, shop.CLIENT_2, f"http://{other}:{NODE_PORT}/")
    fetch(cluster, shop.FRONTEND, "http://10.96.0.20/")  # itself


def record(folder, vantage):
    tools = wireshark(folder)
    path = f"{folder}/{vantage}.pcapng"
    with shop.Shop(f"{folder}/shop-{vantage}") as cluster:
        more_services(cluster)
        inventory_with_node_port(cluster)
        endpoints, _ = start_nodes(cluster)
        tshark = tools.capture(endpoints.values(), "-o", f"extcap.k8s.vantage:{vantage}", "-q", "-w", path,
                               stderr=subprocess.PIPE, text=True)
        try:
            wait_for(lambda: tshark.poll() is not None or captured(endpoints.values()) == len(cluster.pods),
                     "capture of all pods")
            traffic(cluster)
            settled(path)
        finally:
            status = stop(tshark)
        check_equal(status, 0, f"tshark's exit status ({tshark.stderr.read()})")
        return tools, path, cluster.pods


HANDSHAKE = 'tcp.flags.syn == 1 && tcp.flags.ack == 0 && k8s.capture.device == "eth0"'
COLUMNS = ("tcp.seq_raw", "ip.src", "ip.dst", "tcp.dstport", "k8s.flow.id", "k8s.src.pod.name", "k8s.dst.pod.name",
           "k8s.dst.service.name")


def both_legs(folder):
    """The client's initial sequence number is what no rewriting changes: it tells which legs are one connection."""
    tools, path, pods = record(folder, "all")
    addresses = {pod["address"]: name for name, pod in pods.items()}
    legs = collections.defaultdict(list)
    for row in tools.fields(path, HANDSHAKE, *COLUMNS):
        legs[row[0]].append(row)
    translated = {seq: rows for seq, rows in legs.items() if len({row[1:4] for row in rows}) == 2}
    check(len(translated) > 3 * ROUNDS, f"hardly any connection was rewritten: {len(translated)}")
    wrong = []
    for rows in translated.values():
        client = next((addresses[r[1]] for r in rows if r[3] in ("80", "6379", "53", str(NODE_PORT))
                       and r[1] in addresses), None)
        server = next(addresses[r[2]] for r in rows if r[2] in addresses)
        ids = {row[4] for row in rows}
        names = {row[5:7] for row in rows}
        services = {row[7] for row in rows}
        if len(ids) != 1 or "" in ids or names != {(client, server)} or len(services) != 1 or "" in services:
            wrong.append(rows)
    first_right = 1 - len(wrong) / len(translated)
    print(f"# {len(translated)} rewritten connections, {first_right:.1%} right from the first packet")
    check(not wrong, f"{len(wrong)} of {len(translated)}: {wrong[:3]}")
    every = [rows[0][4] for rows in translated.values()]
    check_equal(len(set(every)), len(every), "flow ids that are used once each")
    one = every[0]
    ends = {row[:2] for row in tools.fields(path, f"k8s.flow.id == {one}", "ip.src", "ip.dst")}
    check_equal(len(ends), 4, f"both legs in both directions of {one}")
    plain = [row for row in tools.fields(path, "k8s.flow.id", *COLUMNS[1:3], "tcp.dstport", "tcp.srcport")]
    check(plain, "no packet with a flow id")
    datagrams = tools.fields(path, 'dns && k8s.capture.device == "eth0"', "dns.id", "ip.src", "ip.dst", "k8s.flow.id")
    check(datagrams and all(row[3] for row in datagrams), "DNS without a flow id")


def one_leg(folder):
    """What `one` keeps: of each rewritten connection the server's leg alone."""
    tools, path, _ = record(folder, "one")
    legs = collections.defaultdict(set)
    for row in tools.fields(path, HANDSHAKE, *COLUMNS):
        legs[row[0]].add(row[1:])
    doubled = {seq: rows for seq, rows in legs.items() if len(rows) > 1}
    check(not doubled, f"connections shown twice: {list(doubled.values())[:3]}")
    node_port = [row for rows in legs.values() for row in rows if row[6] == "frontend"]
    check(len(node_port) >= 3 * ROUNDS, f"connections to the frontend: {len(node_port)}")
    check(all(row[2] == "8080" for row in node_port), "a leg to the service where the pod's was seen")
    clients = {row[4] for row in node_port}
    check_equal(clients, {shop.CLIENT_1, shop.CLIENT_2, shop.FRONTEND}, "who called the frontend")


if __name__ == "__main__":
    main(both_legs, one_leg)
