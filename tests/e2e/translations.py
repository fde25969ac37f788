# SPDX-License-Identifier: GPL-2.0-or-later
"""Both legs of connections whose addresses are rewritten, of IPv4 and IPv6: named alike, tied by k8s.flow.id."""
import collections
import subprocess

from common import captured, check, check_equal, main, start_nodes, stop, wait_for, wireshark
import dual_stack
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
    other6 = dual_stack.of_host(cluster.hosts["worker-2"])
    fetch(cluster, shop.CLIENT_1, f"http://{other}:{NODE_PORT}/")  # there and back between the nodes
    fetch(cluster, shop.CLIENT_2, f"http://{other}:{NODE_PORT}/")
    fetch(cluster, shop.FRONTEND, "http://10.96.0.20/")  # itself
    for client in (shop.CLIENT_1, shop.CLIENT_2):  # on the server's node, and on the other
        fetch(cluster, client, f"http://[{dual_stack.SERVICE}]/")
        fetch(cluster, client, f"http://[{other6}]:{dual_stack.NODE_PORT}/")


def record(folder, vantage):
    tools = wireshark(folder)
    path = f"{folder}/{vantage}.pcapng"
    with shop.Shop(f"{folder}/shop-{vantage}") as cluster:
        more_services(cluster)
        inventory_with_node_port(cluster)
        dual_stack.make(cluster)
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
COLUMNS = ("tcp.seq_raw", "tcp.dstport", "k8s.flow.id", "k8s.src.pod.name", "k8s.dst.pod.name", "k8s.dst.service.name")
ADDRESSES = ("ip.src", "ip.dst", "ipv6.src", "ipv6.dst")
CALLED = {"80", "6379", "53", str(NODE_PORT), str(dual_stack.NODE_PORT)}


def handshakes(tools, path):
    """(sequence number, (src, dst, port), flow id, pods, service) of each first packet."""
    for seq, port, flow, src, dst, service, src4, dst4, src6, dst6 in tools.fields(path, HANDSHAKE, *COLUMNS, *ADDRESSES):
        yield seq, (src4 or src6, dst4 or dst6, port), flow, (src, dst), service


def both_legs(folder):
    """The client's initial sequence number is what no rewriting changes: it tells which legs are one connection."""
    tools, path, pods = record(folder, "all")
    addresses = {address: name for name, pod in pods.items() for address in (pod["address"], dual_stack.of_pod(pod))}
    legs = collections.defaultdict(list)
    for row in handshakes(tools, path):
        legs[row[0]].append(row)
    translated = {seq: rows for seq, rows in legs.items() if len({row[1] for row in rows}) == 2}
    of_ipv6 = [rows for rows in translated.values() if ":" in rows[0][1][0]]
    check(len(translated) - len(of_ipv6) > 3 * ROUNDS, f"hardly any connection was rewritten: {len(translated)}")
    check_equal(len(of_ipv6), 4 * ROUNDS, "rewritten connections of IPv6")
    wrong = []
    for rows in translated.values():
        client = next((addresses[src] for _, (src, _, port), *_ in rows if port in CALLED and src in addresses), None)
        server = next(addresses[dst] for _, (_, dst, _), *_ in rows if dst in addresses)
        ids = {row[2] for row in rows}
        names = {row[3] for row in rows}
        services = {row[4] for row in rows}
        if len(ids) != 1 or "" in ids or names != {(client, server)} or len(services) != 1 or "" in services:
            wrong.append(rows)
    first_right = 1 - len(wrong) / len(translated)
    print(f"# {len(translated)} rewritten connections, {first_right:.1%} right from the first packet")
    check(not wrong, f"{len(wrong)} of {len(translated)}: {wrong[:3]}")
    every = [rows[0][2] for rows in translated.values()]
    check_equal(len(set(every)), len(every), "flow ids that are used once each")
    for one in (every[0], of_ipv6[0][0][2]):
        ends = set(tools.fields(path, f"k8s.flow.id == {one}", *ADDRESSES))
        check_equal(len(ends), 4, f"both legs in both directions of {one}")
    datagrams = tools.fields(path, 'dns && k8s.capture.device == "eth0"', "dns.id", "ip.src", "ip.dst", "k8s.flow.id")
    check(datagrams and all(row[3] for row in datagrams), "DNS without a flow id")


def one_leg(folder):
    """What `one` keeps: of each rewritten connection the server's leg alone."""
    tools, path, _ = record(folder, "one")
    legs = collections.defaultdict(set)
    for row in handshakes(tools, path):
        legs[row[0]].add(row[1:])
    doubled = {seq: rows for seq, rows in legs.items() if len(rows) > 1}
    check(not doubled, f"connections shown twice: {list(doubled.values())[:3]}")
    frontend = [row for rows in legs.values() for row in rows if row[3] == "frontend"]
    check(len(frontend) >= 7 * ROUNDS, f"connections to the frontend: {len(frontend)}")
    check({row[0][2] for row in frontend} == {"8080", str(dual_stack.PORT)}, "a leg to the service where the pod's was seen")
    clients = {row[2][0] for row in frontend}
    check_equal(clients, {shop.CLIENT_1, shop.CLIENT_2, shop.FRONTEND}, "who called the frontend")


if __name__ == "__main__":
    main(both_legs, one_leg)
