# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the demo's cluster dual stack: IPv6 on hosts and pods, one service that has addresses of both families, as
kube-proxy and the API server would have it."""
import shop

SERVICE, PORT = "fd00:10:96::20", 8086
NODE_PORT = 30086
SERVER = """
import http.server, socket
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
Server(("::", %d), http.server.SimpleHTTPRequestHandler).serve_forever()
""" % PORT


def of_pod(pod):
    """10.244.1.3 -> fd00:10:244:1::3"""
    _, _, node, number = pod["address"].split(".")
    return f"fd00:10:244:{node}::{number}"


def of_host(host):
    return f"fd00:10:99::{host['address'].split('.')[3]}"


def _subnet(host):
    return f"fd00:10:244:{host['cidr'].split('.')[2]}::"


def _enable(cluster):
    hosts = list(cluster.hosts.values())
    for name in [*cluster.hosts, *cluster.pods]:
        for scope in ("all", "default"):
            cluster.sysctl(name, f"net.ipv6.conf.{scope}.disable_ipv6", 0)
    for host in hosts:
        cluster.sysctl(host["name"], "net.ipv6.conf.all.forwarding", 1)
        cluster._ip(host["name"], [f"address add {of_host(host)}/64 dev eth0 nodad"])
    for host in hosts:
        cluster._ip(host["name"], [f"route add {_subnet(other)}/64 via {of_host(other)}" for other in hosts if other is not host])
    for number, pod in enumerate(cluster.pods.values(), 1):
        gateway = f"{_subnet(cluster.hosts[pod['host']])}fffe"
        cluster._ip(pod["host"], [f"address add {gateway}/128 dev p{number} nodad", f"route add {of_pod(pod)}/128 dev p{number}"])
        cluster._ip(pod["name"], [f"address add {of_pod(pod)}/128 dev eth0 nodad", f"route add {gateway}/128 dev eth0",
                                  f"route add default via {gateway} dev eth0"])


def _rules(cluster, server):
    for host in cluster.hosts.values():
        cluster.exec(host["name"], ["nft", "-f", "-"], text=True, input=f"""
            table ip6 services {{
              chain prerouting {{ type nat hook prerouting priority -100;
                ip6 daddr {SERVICE} tcp dport 80 dnat ip6 to [{server}]:{PORT};
                ip6 daddr {of_host(host)} tcp dport {NODE_PORT} ct mark set 8 dnat ip6 to [{server}]:{PORT}; }}
              chain postrouting {{ type nat hook postrouting priority 100; ct mark 8 masquerade; }}
            }}""")


def _inventory(cluster, server):
    plain = cluster.inventory
    by_name = {**{name: of_pod(pod) for name, pod in cluster.pods.items()},
               **{name: of_host(host) for name, host in cluster.hosts.items()}}

    def slice_of(item):
        slice_ = cluster._object("discovery.k8s.io/v1", "EndpointSlice", "shop", "frontend-ipv6")
        slice_["metadata"]["labels"] = item["metadata"]["labels"]
        ends = [{**end, "addresses": [server]} for end in item["endpoints"]]
        return {**slice_, "addressType": "IPv6", "endpoints": ends, "ports": [{"name": "v6", "protocol": "TCP", "port": PORT}]}

    def inventory():
        everything = plain()
        for item in list(everything["items"]):
            kind, name = item["kind"], item["metadata"]["name"]
            if kind == "Pod":
                item["status"]["podIPs"].append({"ip": by_name[name]})
            elif kind == "Node":
                item["status"]["addresses"].append({"type": "InternalIP", "address": by_name[name]})
            elif kind == "Service" and name == "frontend":
                item["spec"]["clusterIPs"].append(SERVICE)
                item["spec"]["ports"].append({"name": "v6", "protocol": "TCP", "port": 81, "nodePort": NODE_PORT})
            elif kind == "EndpointSlice" and name.startswith("frontend-"):
                everything["items"].append(slice_of(item))
        return everything

    cluster.inventory = inventory


def make(cluster):
    """Before its nodes are started. The frontend's pod serves HTTP on IPv6 as well."""
    server = of_pod(cluster.pods[shop.FRONTEND])
    _enable(cluster)
    _rules(cluster, server)
    _inventory(cluster, server)
    cluster.spawn(shop.FRONTEND, ["python3", "-c", SERVER], log="ipv6.log")
    cluster.wait_port(shop.FRONTEND, PORT, "::1")
