# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo's cluster: two hosts and a small shop of real servers in pods.

    client (customers) --> frontend (nginx) --> catalog x2 (nginx sidecar -> Python API) --> cart (redis)
    every name through coredns (dnsmasq); every arrow through a ClusterIP.
"""
import os
import sys

from cluster import Cluster

HERE = os.path.dirname(os.path.abspath(__file__))
DNS = "10.96.0.10"
DOMAIN = "svc.cluster.local"
FRONTEND, CLIENT_1, CLIENT_2 = "frontend-6c8f9d7b54-x2x4q", "client-1-7hk2p", "client-2-m9d4s"
CATALOG_1, CATALOG_2 = "catalog-5f7c6d8b9-4vkzq", "catalog-5f7c6d8b9-t8wns"
REDIS, COREDNS = "cart-0", "coredns-787d4945fb-kx5vj"


class Shop(Cluster):
    def build(self):
        self._network()
        self._servers()

    def _network(self):
        self.add_host("worker-1", "10.99.0.11", "10.244.1.0/24")
        self.add_host("worker-2", "10.99.0.12", "10.244.2.0/24")

        def pod(namespace, name, host, address, owner, app, *containers):
            self.add_pod(namespace, name, host, address, owner, {"app": app}, containers)

        dns = ("dnsmasq", "registry.example/dnsmasq:2.90", {"dns": 53})
        nginx = ("nginx", "registry.example/nginx:1.22", {"http": 8080})
        sidecar = ("proxy", "registry.example/nginx:1.22", {"http": 8080})
        api = ("api", "registry.example/catalog:1.4", {})
        redis = ("redis", "registry.example/redis:7.0", {"redis": 6379})
        client = ("client", "registry.example/client:2.1", {})
        pod("kube-system", COREDNS, "worker-1", "10.244.1.2", ("Deployment", "coredns"), "dns", dns)
        pod("shop", FRONTEND, "worker-1", "10.244.1.3", ("Deployment", "frontend"), "frontend", nginx)
        pod("shop", CATALOG_1, "worker-1", "10.244.1.4", ("Deployment", "catalog"), "catalog",
            sidecar, api)
        pod("shop", CATALOG_2, "worker-2", "10.244.2.4", ("Deployment", "catalog"), "catalog",
            sidecar, api)
        pod("shop", REDIS, "worker-2", "10.244.2.3", ("StatefulSet", "cart"), "cart", redis)
        pod("customers", CLIENT_1, "worker-1", "10.244.1.5", ("Job", "client-1"), "client", client)
        pod("customers", CLIENT_2, "worker-2", "10.244.2.5", ("Job", "client-2"), "client", client)
        self.add_service("kube-system", "kube-dns", DNS,
                         {"dns": ("udp", 53, 53), "dns-tcp": ("tcp", 53, 53)}, [COREDNS])
        self.add_service("shop", "frontend", "10.96.0.20", {"http": ("tcp", 80, 8080)}, [FRONTEND])
        self.add_service("shop", "catalog", "10.96.0.30", {"http": ("tcp", 80, 8080)},
                         [CATALOG_1, CATALOG_2])
        self.add_service("shop", "cart", "10.96.0.40", {"redis": ("tcp", 6379, 6379)}, [REDIS])
        self.apply_services()

    def _servers(self):
        names = [f"--address=/{s['name']}.{s['namespace']}.{DOMAIN}/{s['address']}"
                 for s in self.services]
        self.spawn(COREDNS, ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts",
                             "--user=root", "--pid-file=", "--conf-file=/dev/null",
                             f"--local=/{DOMAIN}/", *names], log="dnsmasq.log")
        self.spawn(REDIS, ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no",
                           "--save", "", "--appendonly", "no", "--dir", self.folder],
                   log="redis.log")
        self._nginx(FRONTEND, f"""
            location = / {{ default_type text/html; return 200 "<h1>shop</h1>\\n"; }}
            location / {{ resolver {DNS} valid=2s ipv6=off; set $upstream catalog.shop.{DOMAIN};
                          proxy_pass http://$upstream$request_uri; }}""")
        for pod in (CATALOG_1, CATALOG_2):
            self._nginx(pod, "location / { proxy_pass http://127.0.0.1:8000; }")
            self.spawn(pod, [sys.executable, os.path.join(HERE, "catalog.py"),
                             f"cart.shop.{DOMAIN}"], log=f"{pod}.log", resolver=DNS)
        for pod, port in ((REDIS, 6379), (COREDNS, 53), (FRONTEND, 8080), (CATALOG_1, 8080),
                          (CATALOG_2, 8080), (CATALOG_1, 8000), (CATALOG_2, 8000)):
            self.wait_port(pod, port)

    def _nginx(self, pod, locations):
        folder = os.path.join(self.folder, pod)
        os.makedirs(folder, exist_ok=True)
        conf = os.path.join(folder, "nginx.conf")
        temp = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in
                        ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        with open(conf, "w", encoding="utf-8") as file:
            file.write(f"daemon off; user root; worker_processes 1; pid {folder}/pid; error_log stderr;\n"
                       f"events {{ }}\nhttp {{ access_log {folder}/access.log; {temp}\n"
                       f" server {{ listen 8080; {locations} }} }}\n")
        self.spawn(pod, ["nginx", "-p", folder, "-e", "stderr", "-c", conf], log=f"{pod}.log")

    # ---- traffic ----

    def browse(self, client, count):
        """One client's requests: a running process."""
        return self.spawn(client, [sys.executable, os.path.join(HERE, "client.py"),
                                   f"frontend.shop.{DOMAIN}", str(count)],
                          log=f"{client}.log", resolver=DNS)

    def ping(self, pod, address, count=3):
        return self.spawn(pod, ["ping", "-n", "-q", "-i", "0.2", "-c", str(count), address],
                          log="ping.log")

    def traffic(self, rounds=5):
        """All of the demo's traffic; returns when it is over. Raises if any of it failed."""
        started = [self.browse(CLIENT_1, rounds), self.browse(CLIENT_2, rounds),
                   self.ping(CLIENT_1, self.pods[REDIS]["address"]),
                   self.ping(CLIENT_2, self.pods[CATALOG_2]["address"])]
        for process in started:
            if process.wait(240):
                raise RuntimeError(f"traffic failed: {process.args[-4:]} see {self.folder}")
            self.processes.remove(process)
