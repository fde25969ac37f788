# SPDX-License-Identifier: GPL-2.0-or-later
"""k8s.tls.source and k8s.tls.reason on the packets of TLS connections, of real handshakes, in one pass and in two."""
import os
import ssl
import subprocess

from annotated import SECRETS, Pcapng, WiresharkTest, identity, main, pod, tcp

CLIENT, SERVER, PORTS = "10.0.0.1", "10.0.0.2", (40000, 443)
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
PASSES = {"one pass": (), "two passes": ("-2",)}


class Connection:
    """A client and a server in this process; what they send to each other, flight by flight."""

    def __init__(self, folder, version):
        self.flights = []  # (of the client, bytes)
        self.log = os.path.join(folder, f"keys-{version}.log")
        client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        client.keylog_filename = self.log
        server.load_cert_chain(os.path.join(folder, "tls.crt"), os.path.join(folder, "tls.key"))
        for context in (client, server):
            context.minimum_version = context.maximum_version = VERSIONS[version]
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ends = (client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True))
        self.pipes = (to_server, to_client)
        self.handshake()
        self.ends[0].write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.carry(0)
        self.ends[1].read(1000)
        self.ends[1].write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.carry(1)

    def carry(self, end):
        """A copy of what the end has sent; the pipe itself is read by the other end."""
        data = self.pipes[end].read()
        self.pipes[end].write(data)
        if data:
            self.flights.append((end == 0, data))

    def handshake(self):
        done = [False, False]
        while not all(done):
            for end in (0, 1):
                before = self.pipes[end].pending
                try:
                    self.ends[end].do_handshake()
                    done[end] = True
                except ssl.SSLWantReadError:
                    pass
                if self.pipes[end].pending > before:
                    self.carry(end)

    def key_log(self):
        with open(self.log, "rb") as file:
            return file.read()


def capture(connection, keys, flags=SECRETS, flights=None, l7=None, told_from=0, **reasons):
    """The connection's flights as packets, with all secrets ahead or none. `reasons`: no_secrets of client and server, on the
    packets of the flights from `told_from` on."""
    file = Pcapng().interface("c/node")
    if keys:
        file.secrets(connection.key_log())
    sent = {True: 1, False: 1}
    packet = {"l7": l7} if l7 else {}

    def add(of_client, data, known, tcp_flags=0x18):
        names = {end: pod("shop", end, **({"no_secrets": reasons[end]} if known and end in reasons else {}))
                 for end in ("client", "server")}
        ends = (CLIENT, SERVER, *PORTS) if of_client else (SERVER, CLIENT, *PORTS[::-1])
        src, dst = ("client", "server") if of_client else ("server", "client")
        file.packet(tcp(*ends, seq=sent[of_client], ack=sent[not of_client], flags=tcp_flags, payload=data),
                    identity(names[src], names[dst], packet, flags=flags))
        sent[of_client] += len(data)

    for number, (of_client, data) in enumerate(connection.flights if flights is None else flights):
        for at in range(0, len(data), 1000):
            add(of_client, data[at:at + 1000], number >= told_from)
            add(not of_client, b"", number >= told_from, 0x10)
    return file


class Tls(WiresharkTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", "/CN=server", "-keyout", cls.path("tls.key"), "-out", cls.path("tls.crt")],
                       check=True, capture_output=True)
        cls.connections = {version: Connection(cls.folder, version) for version in VERSIONS}

    def each(self, *versions):
        for version in versions or VERSIONS:
            connection = self.connections[version]
            for name, more in PASSES.items():
                with self.subTest(version=version, passes=name):
                    yield connection, more

    def told(self, file, more):
        return self.fields(self.write("tls.pcapng", file), "k8s.tls.source", "k8s.tls.reason", more=more)

    def check_all(self, file, more, source, reason):
        """Every packet says so that says anything: in two passes all, in one those at the end."""
        rows = self.told(file, more)
        self.assertEqual({row for row in rows if row != ("", "")}, {(source, reason)}, rows)
        self.assertEqual(rows[-1], (source, reason))
        self.assertEqual(rows[-2], (source, reason))
        if more:
            self.assertNotIn(("", ""), rows)

    def test_keys(self):
        for connection, more in self.each():
            file = capture(connection, keys=True)
            self.check_all(file, more, "keys", "")
            self.assertEqual(self.fields(self.path("tls.pcapng"), "http.request.method", where="http.request", more=more),
                             [("GET",)])

    def test_no_secrets_came(self):
        for connection, more in self.each():
            self.check_all(capture(connection, keys=False), more, "none", "no secrets came from its processes")

    def test_not_asked(self):
        for connection, more in self.each("1.2"):
            self.check_all(capture(connection, keys=False, flags=0), more, "none", "no secrets were asked for")

    def test_told_by_the_node(self):
        """Of either end, of both, and the same in both directions."""
        for connection, more in self.each("1.3"):
            self.check_all(capture(connection, keys=False, client="NSS is not hooked"), more, "none", "NSS is not hooked")
            self.check_all(capture(connection, keys=False, client="b", server="a"), more, "none", "a; b")
            self.check_all(capture(connection, keys=False, client="a", server="a"), more, "none", "a")
            self.check_all(capture(connection, keys=True, client="NSS is not hooked"), more, "keys", "")

    def test_told_late(self):
        """Once a process is known: from there on in one pass, everywhere in two."""
        for connection, more in self.each("1.2"):
            file = capture(connection, keys=False, client="Java is not hooked", told_from=len(connection.flights) - 2)
            rows = self.told(file, more)
            self.assertEqual(rows[-1], ("none", "Java is not hooked"))
            if more:
                self.assertEqual(set(rows), {("none", "Java is not hooked")})

    def test_began_before(self):
        for connection, more in self.each():
            tail = connection.flights[-2:]
            self.check_all(capture(connection, keys=True, flights=tail), more, "none",
                           "the connection began before the capture")

    def test_not_answered(self):
        """Told once the whole file is known."""
        for connection, more in self.each():
            rows = self.told(capture(connection, keys=True, flights=connection.flights[:1]), more)
            expected = ("none", "its handshake was not answered") if more else ("", "")
            self.assertEqual(set(rows), {expected})

    def test_no_tls(self):
        file = capture(self.connections["1.3"], keys=True, flights=[(True, b"GET / HTTP/1.1\r\n\r\n")])
        self.assertEqual(set(self.told(file, ())), {("", "")})

    def test_plaintext(self):
        """Packets of a plaintext interface are no TLS, but stand for it."""
        file = capture(self.connections["1.3"], keys=False, flights=[(True, b"GET / HTTP/1.1\r\n\r\n")], l7="http")
        self.assertEqual(set(self.told(file, ())), {("plaintext", "")})

    def test_filter(self):
        """A filter for the field alone makes the dissector do its work, too."""
        for connection, more in self.each("1.3"):
            path = self.write("tls.pcapng", capture(connection, keys=True))
            self.assertTrue(self.frames(path, 'k8s.tls.source == "keys"', more))
            self.assertEqual(self.frames(path, "k8s.tls.reason", more), [])


if __name__ == "__main__":
    main()
