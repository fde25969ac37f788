# SPDX-License-Identifier: GPL-2.0-or-later
"""Sidecars that speak TLS with each other and ask for each other's certificates: what the client says to its sidecar, the
sidecars to each other, and the other one to its server, is all read by tshark, each with the names of both ends."""
import os
import subprocess

from common import Cluster, check_equal, main, start_nodes, wait_for, wireshark
from nginx import start_nginx
from tls import Capture, body_text, links

COUNT = 10
MUTUAL, CLEAR = 15006, 8000
SERVER, CLIENT = "10.244.2.2", "10.244.1.2"
VERSIONS = {"1.2": 15002, "1.3": 15003}  # the client's sidecar listens there

OUTGOING = """
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass https://{peer}; proxy_ssl_protocols TLSv{version}; proxy_ssl_certificate {keys}/front.crt;
      proxy_ssl_certificate_key {keys}/front.key; proxy_ssl_trusted_certificate {keys}/ca.crt; proxy_ssl_verify on;
      proxy_ssl_name back;
    }}
  }}
"""
INCOMING = """
  server {{
    listen {port} ssl; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {keys}/back.crt; ssl_certificate_key {keys}/back.key;
    ssl_client_certificate {keys}/ca.crt; ssl_verify_client on;
    location / {{ proxy_pass http://127.0.0.1:{clear}; proxy_set_header X-Client $ssl_client_s_dn; }}
  }}
"""
APPLICATION = """
  server {{
    listen 127.0.0.1:{clear};
    location / {{ default_type text/plain; return 200 "$http_x_client asked for $request_uri\\n"; }}
  }}
"""


class Mesh(Cluster):
    """A client and a server on two hosts, each with a sidecar in its pod."""

    def build(self):
        self.add_host("worker-1", "10.99.0.11", "10.244.1.0/24")
        self.add_host("worker-2", "10.99.0.12", "10.244.2.0/24")
        self.add_pod("shop", "front", "worker-1", CLIENT)
        self.add_pod("shop", "back", "worker-2", SERVER)

    def openssl(self, *words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=self.folder)

    def make_certificates(self):
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        self.openssl("req", "-x509", *curve, "-days", "2", "-subj", "/CN=mesh", "-keyout", "ca.key", "-out", "ca.crt")
        for name in ("front", "back"):
            self.openssl("req", *curve, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
            self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days",
                         "2", "-out", f"{name}.crt")

    def start(self):
        self.make_certificates()
        common = {"keys": self.folder, "clear": CLEAR}
        start_nginx(self, "back", "application", APPLICATION.format(**common), CLEAR)
        start_nginx(self, "back", "incoming", INCOMING.format(port=MUTUAL, **common), MUTUAL)
        start_nginx(self, "front", "outgoing", "".join(
            OUTGOING.format(peer=f"{SERVER}:{MUTUAL}", version=version, port=port, **common)
            for version, port in VERSIONS.items()), max(VERSIONS.values()))

    def ask(self, version, path):
        return self.exec("front", ["curl", "-sS", "--max-time", "20", f"http://127.0.0.1:{VERSIONS[version]}{path}"], text=True,
                         capture_output=True).stdout


LEGS = {
    "client to its sidecar": (VERSIONS.values(), ("front", "front", "lo")),
    "sidecar to sidecar": ([MUTUAL], ("front", "back", "eth0")),
    "sidecar to server": ([CLEAR], ("back", "back", "lo")),
}


def check_legs(tools, path, asked):
    """One pass over the file. In TLS 1.3 the client's certificate is encrypted: it stands in a record of application data."""
    rows = tools.fields(path, "http || tls.handshake.type == 15", "tcp.srcport", "tcp.dstport", "k8s.src.pod.name",
                        "k8s.dst.pod.name", "k8s.capture.device", "http.request.uri", "http.response_for.uri", "http.file_data",
                        "x509sat.uTF8String", "tls.record.opaque_type")
    for name, (ports, (source, target, device)) in LEGS.items():
        there = [row for row in rows if int(row[1]) in ports and row[5]]
        check_equal([(row[5], *row[2:5]) for row in there], [(uri, source, target, device) for uri in asked], f"{name}: requests")
        back = [row for row in rows if int(row[0]) in ports and row[6]]
        check_equal([(body_text(row[7]), *row[2:5]) for row in back],
                    [(f"CN=front asked for {uri}\n", target, source, device) for uri in asked], f"{name}: answers")
    for version, encrypted in (("1.2", False), ("1.3", True)):
        shown = {(row[8], *row[2:4]) for row in rows if int(row[1]) == MUTUAL and row[8] and bool(row[9]) == encrypted}
        check_equal(shown, {("mesh,front", "front", "back")}, f"client's certificates, TLS {version}")


def sidecars(folder):
    tools, path = wireshark(folder), os.path.join(folder, "sidecars.pcapng")
    with Mesh(os.path.join(folder, "pods")) as cluster:
        cluster.start()
        endpoints, processes = start_nodes(cluster)
        asked = [(version, f"/{version}/{number}") for version in VERSIONS for number in range(COUNT)]
        with Capture(cluster, endpoints.values(), path, "--tls", "keys"):
            for name, process in processes.items():
                wait_for(lambda p=process: links(p) > 0, f"hooks on {name}")
            for version, uri in asked:
                check_equal(cluster.ask(version, uri), f"CN=front asked for {uri}\n", "answer")
    check_legs(tools, path, [uri for _, uri in asked])


if __name__ == "__main__":
    main(sidecars)
