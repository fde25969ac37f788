# SPDX-License-Identifier: GPL-2.0-or-later
"""What TLS 1.3 connections do besides: requests in their first flight (0-RTT), and new keys on the way (KeyUpdate). nginx is
hooked; openssl s_client, which is not, does as it is told."""
import os
import subprocess
import threading

from common import check, check_equal, main, start_nodes, wait_for, wireshark
from nginx import start_nginx, tls_server
from tls import Capture, Pods, links

PORT = 8443
class Server(Pods):
    def start(self):
        self.make_certificate()
        start_nginx(self, "server", "nginx", tls_server(
            self.folder, f"{PORT} ssl", "ssl_protocols TLSv1.3; ssl_early_data on;",
            'location / { return 200 "you asked for $request_uri.\\n"; }'), PORT)

    def s_client(self, *options):
        return subprocess.Popen(self.entering("client", ["openssl", "s_client", "-connect", f"10.244.1.2:{PORT}", "-CAfile",
                                                       f"{self.folder}/tls.crt", *options]),
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


class Client:
    """An openssl s_client that is told line by line what to do, and what it prints."""

    def __init__(self, cluster, *options):
        self.process = cluster.s_client(*options)
        self.text, self.seen = b"", 0
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        while piece := self.process.stdout.read1():
            self.text += piece

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdin.close()
        self.process.stdout.close()

    def say(self, text, answer):
        """Waits until it has printed the answer, behind those before."""
        self.process.stdin.write(text)
        self.process.stdin.flush()
        wait_for(lambda: self.text.find(answer, self.seen) >= 0, repr(answer), 30)
        self.seen = self.text.find(answer, self.seen) + len(answer)


def request(uri, keep=True):
    return f"GET {uri} HTTP/1.1\nHost: server\nConnection: {'keep-alive' if keep else 'close'}\n\n".replace("\n", "\r\n").encode()


def handshakes(folder):
    tools, path, session, early = wireshark(folder), *(os.path.join(folder, name) for name in ("out.pcapng", "session", "early"))
    with open(early, "wb") as file:
        file.write(request("/early", keep=False))
    with Server(os.path.join(folder, "pods")) as cluster:
        cluster.start()
        endpoints, processes = start_nodes(cluster)
        with Capture(cluster, endpoints.values(), path, "--tls", "keys", "--pod", "server"):
            wait_for(lambda: links(processes["worker-1"]) > 0, "hooks")
            with Client(cluster, "-sess_out", session) as client:
                client.say(request("/before"), b"for /before.")
                # K: new keys of our own, and the other one's are asked for.
                for uri in ("/updated", "/updated-again"):
                    client.say(b"K\n", b"KEYUPDATE")
                    client.say(request(uri), f"for {uri}.".encode())
                check(os.path.exists(session), "no session was kept")
            with Client(cluster, "-sess_in", session, "-early_data", early) as client:
                client.say(b"", b"for /early.")
    wanted = ["/before", "/updated", "/updated-again", "/early"]
    for kind, field in (("request", "http.request.uri"), ("response", "http.response_for.uri")):
        got = [row[0].removeprefix("http://server").removeprefix("https://server")
               for row in tools.fields(path, f"http.{kind}", field)]
        check_equal(got, wanted, kind)
    updates = tools.fields(path, "tls.handshake.type == 24", "tcp.srcport")
    check(len(updates) == 4 and [row[0] for row in updates].count(str(PORT)) == 2, f"KeyUpdate of each side, twice: {updates}")
    # In the client's first flight: before the server has said anything.
    first = tools.fields(path, 'http.request.uri == "/early" && tcp.seq < 2000', "frame.number", "tcp.stream")[0]
    hello = tools.fields(path, f"tls.handshake.type == 2 && tcp.stream == {first[1]}", "frame.number")[0]
    check(int(first[0]) < int(hello[0]), f"early data in packet {first[0]}, the server's hello in {hello[0]}")
    print(f"  early data, {len(updates)} KeyUpdates", flush=True)


if __name__ == "__main__":
    main(handshakes)
