# SPDX-License-Identifier: GPL-2.0-or-later
"""usage: tls_http3.py ROOT: HTTP/3 and OpenSSL 3.5, with the programs of Debian 13 in a folder of its own, made by
`debootstrap --variant=minbase --include=nginx-light,curl,ca-certificates trixie ROOT`. One end is hooked at a time."""
import os
import shutil
import sys

from common import check_equal, main, start_nodes, wait_for, wireshark
from tls import Capture, Pods, links

PORT = 8443
COUNT = 5
ROOT = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else None
CONFIGURATION = """
daemon off; user root; worker_processes 2; pid /srv/remora/pid; error_log stderr;
events { }
http {
  access_log off;
  server {
    listen PORT ssl; listen PORT quic reuseport; ssl_certificate /srv/remora/tls.crt; ssl_certificate_key /srv/remora/tls.key;
    location / { default_type text/plain; return 200 "you asked for $request_uri\\n"; }
  }
}
"""


def start_server(cluster):
    cluster.make_certificate()
    os.makedirs(f"{ROOT}/srv/remora", exist_ok=True)
    for name in ("tls.crt", "tls.key"):
        shutil.copy(f"{cluster.folder}/{name}", f"{ROOT}/srv/remora/{name}")
    with open(f"{ROOT}/srv/remora/nginx.conf", "w", encoding="ascii") as file:
        file.write(CONFIGURATION.replace("PORT", str(PORT)))
    cluster.spawn("server", ["chroot", ROOT, "nginx", "-e", "stderr", "-c", "/srv/remora/nginx.conf"], log="nginx.log")
    cluster.wait_port("server", PORT)


def ask(cluster, uri, *options):
    out = cluster.exec("client", ["chroot", ROOT, "curl", "-sS", "--max-time", "20", "--cacert", "/srv/remora/tls.crt", *options,
                                  f"https://10.244.1.2:{PORT}{uri}"], text=True, capture_output=True).stdout
    check_equal(out, f"you asked for {uri}\n", "answer")


def capture(folder, pod):
    tools, path = wireshark(folder), os.path.join(folder, f"{pod}.pcapng")
    with Pods(os.path.join(folder, "pods")) as cluster:
        start_server(cluster)
        endpoints, processes = start_nodes(cluster)
        with Capture(cluster, endpoints.values(), path, "--tls", "keys", "--pod", pod):
            wait_for(lambda: links(processes["worker-1"]) > 0 or ask(cluster, "/first"), "hooks")
            for number in range(COUNT):
                ask(cluster, f"/3/{number}", "--http3-only")
                for version in ("1.2", "1.3"):
                    ask(cluster, f"/{version}/{number}", "--http1.1", "--tls-max", version)
    payloads = [row[0] for row in tools.fields(path, f"http3.frame_payload && udp.srcport == {PORT}", "http3.frame_payload")]
    bodies = [bytes.fromhex(value.replace(":", "")) for payload in payloads for value in payload.split(",")]
    for number in range(COUNT):
        check_equal(bodies.count(f"you asked for /3/{number}\n".encode()), 1, f"HTTP/3, answer {number}")
    got = {row[0] for row in tools.fields(path, "http.request", "http.request.uri")} - {"/first"}
    check_equal(got, {f"/{version}/{number}" for version in ("1.2", "1.3") for number in range(COUNT)}, "requests over TCP")
    print(f"  {pod}: {COUNT} times HTTP/3, {len(got)} times HTTP/1.1")


def client(folder):
    capture(folder, "client")


def server(folder):
    capture(folder, "server")


if __name__ == "__main__":
    if not ROOT:
        sys.exit(__doc__)
    main(client, server)
