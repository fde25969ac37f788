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
SERVER_HELLO, KEY_UPDATE = "2", "24"
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
    rows = [(int(number), stream, port, types.split(","), asked, answered) for number, stream, port, types, asked, answered in
            tools.fields(path, "http || tls.handshake.type", "frame.number", "tcp.stream", "tcp.srcport", "tls.handshake.type",
                         "http.request.uri", "http.response_for.uri")]
    wanted = ["/before", "/updated", "/updated-again", "/early"]
    check_equal([row[4] for row in rows if row[4]], wanted, "requests")
    check_equal([row[5].rpartition("/")[2] for row in rows if row[5]], [uri[1:] for uri in wanted], "answers")
    updates = [row[2] == str(PORT) for row in rows if KEY_UPDATE in row[3]]
    check_equal(sorted(updates), [False, False, True, True], "KeyUpdate of each side, twice")
    # In the client's first flight: before the server has said anything.
    early_number, stream = next(row[:2] for row in rows if row[4] == "/early")
    hello = next(row[0] for row in rows if SERVER_HELLO in row[3] and row[1] == stream)
    check(early_number < hello, f"early data in packet {early_number}, the server's hello in {hello}")


if __name__ == "__main__":
    main(handshakes)
