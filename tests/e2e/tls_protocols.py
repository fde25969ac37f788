# SPDX-License-Identifier: GPL-2.0-or-later
"""What is inside of TLS is decoded as what it is: real servers and clients of HTTP/2, gRPC, WebSocket, Redis, PostgreSQL, LDAP
and AMQP in two pods. The exact question and the exact answer are found in the protocol's own fields."""
import os
import pwd
import shutil
import subprocess
from typing import NamedTuple

from common import check, check_equal, main, start_nodes, wait_for, wireshark
from nginx import start_nginx, tls_server
from tls import Capture, Pods, links
from tls_matrix import PYTHON, program

HOST = "10.244.1.2"
POSTGRES = "/usr/lib/postgresql"
WORD = "word"  # what is asked for
ANSWER = f"you asked for {WORD}"

SLAPD = """
include /etc/ldap/schema/core.schema
pidfile {folder}/slapd.pid
TLSCertificateFile {folder}/tls.crt
TLSCertificateKeyFile {folder}/tls.key
database ldif
suffix "o={word}"
directory {folder}/slapd
"""


class Protocol(NamedTuple):
    """`question`, `answer`: fields, and what they hold; of the packets of `port`."""
    port: int
    start: object       # starts the server: a method of Servers
    client: object      # its argv: a function of (CA, port)
    printed: str        # what the client prints at least
    question: tuple
    answer: tuple


def text(word):
    """As tshark shows bytes."""
    return word.encode().hex()


class Servers(Pods):
    def write(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(content)
        return path

    def nginx(self, port):
        start_nginx(self, "server", "nginx", tls_server(self.folder, f"{port} ssl http2",
                                                        'location / { return 200 "you asked for $arg_q"; }'), port)

    def talk(self, name, port):
        self.spawn("server", [PYTHON, program(f"talk-{name}.py"), "server", f"{self.folder}/tls.crt", f"{self.folder}/tls.key",
                              str(port)], log=f"{name}.log")

    def grpc(self, port):
        self.talk("grpc", port)

    def websocket(self, port):
        self.talk("websocket", port)

    def amqp(self, port):
        self.talk("amqp", port)

    def redis(self, port):
        self.spawn("server", ["redis-server", "--port", "0", "--tls-port", str(port), "--tls-cert-file", f"{self.folder}/tls.crt",
                              "--tls-key-file", f"{self.folder}/tls.key", "--tls-auth-clients", "no", "--protected-mode", "no",
                              "--save", "", "--appendonly", "no", "--dir", self.folder], log="redis.log")

    def slapd(self, port):
        os.makedirs(f"{self.folder}/slapd")
        path = self.write("slapd.conf", SLAPD.format(folder=self.folder, word=WORD))
        self.spawn("server", ["slapd", "-d", "0", "-h", f"ldaps://0.0.0.0:{port}", "-f", path], log="slapd.log")

    def postgres(self, port):
        """It refuses to run as root, and wants its key to be its own."""
        version = max(os.listdir(POSTGRES), key=int)
        user, folder = pwd.getpwnam("postgres"), f"{self.folder}/postgres"
        for name in (os.path.dirname(self.folder), self.folder):
            os.chmod(name, 0o711)
        os.makedirs(folder)
        os.chown(folder, user.pw_uid, user.pw_gid)
        for name in ("tls.crt", "tls.key"):
            shutil.copy(f"{self.folder}/{name}", f"{folder}/{name}")
            os.chown(f"{folder}/{name}", user.pw_uid, user.pw_gid)
            os.chmod(f"{folder}/{name}", 0o600)
        postgres = {"user": "postgres", "group": "postgres", "extra_groups": [], "cwd": folder}
        subprocess.run([f"{POSTGRES}/{version}/bin/initdb", "--no-sync", "--locale", "C", "--auth", "trust", "-D",
                        f"{folder}/data"], check=True, capture_output=True, **postgres)
        with open(f"{folder}/data/pg_hba.conf", "a", encoding="ascii") as file:
            file.write("hostssl all all all trust\n")
        settings = {"listen_addresses": "*", "port": port, "ssl": "on", "ssl_cert_file": f"{folder}/tls.crt",
                    "ssl_key_file": f"{folder}/tls.key", "unix_socket_directories": folder, "fsync": "off"}
        # In a namespace of the network it is still root that enters, so that runuser takes it from there.
        self.spawn("server", ["runuser", "-u", "postgres", "--", f"{POSTGRES}/{version}/bin/postgres", "-D", f"{folder}/data",
                              *(word for name, value in settings.items() for word in ("-c", f"{name}={value}"))],
                   log="postgres.log")


def talk(name):
    return lambda ca, port: [PYTHON, program(f"talk-{name}.py"), "client", ca, HOST, str(port), WORD]


QUERY = f"select 'you asked for ' || '{WORD}'"
PROTOCOLS = {
    "HTTP/2": Protocol(8443, Servers.nginx, lambda ca, port: ["curl", "-sS", "--http2", "--cacert", ca,
                                                              f"https://{HOST}:{port}/?q={WORD}"], ANSWER,
                       ("http2.headers.path", f"/?q={WORD}"), ("http2.data.data", text(ANSWER))),
    "gRPC": Protocol(8444, Servers.grpc, talk("grpc"), ANSWER, ("protobuf.field.value", text(WORD)),
                     ("protobuf.field.value", text(ANSWER))),
    "WebSocket": Protocol(8445, Servers.websocket, talk("websocket"), ANSWER, ("websocket.payload.text", WORD),
                          ("websocket.payload.text", ANSWER)),
    "Redis": Protocol(6380, Servers.redis, lambda ca, port: ["redis-cli", "--tls", "--cacert", ca, "-h", HOST, "-p", str(port),
                                                             "ECHO", ANSWER], ANSWER,
                      ("resp.bulk_string.value", text(ANSWER)), ("resp.bulk_string.value", text(ANSWER))),
    "PostgreSQL": Protocol(5432, Servers.postgres, lambda ca, port: [
        "psql", f"host={HOST} port={port} user=postgres dbname=postgres sslmode=verify-ca sslrootcert={ca}", "-Atc", QUERY],
        ANSWER, ("pgsql.query", QUERY), ("pgsql.val.data", text(ANSWER))),
    "LDAP": Protocol(636, Servers.slapd, lambda ca, port: [
        "env", f"LDAPTLS_CACERT={ca}", "ldapsearch", "-LLL", "-x", "-H", f"ldaps://{HOST}:{port}", "-b", "", "-s", "base",
        "namingContexts"], f"namingContexts: o={WORD}",
        ("ldap.AttributeDescription", "namingContexts"), ("ldap.AttributeValue", text(f"o={WORD}"))),
    "AMQP": Protocol(5671, Servers.amqp, talk("amqp"), ANSWER, ("amqp.message.messageId.string", WORD),
                     ("amqp.message.messageId.string", ANSWER)),
}


def check_protocols(tools, path):
    """One pass over the file: of each packet its ports, the names of its ends, and the protocols' fields."""
    fields = sorted({field for protocol in PROTOCOLS.values() for field, _ in (protocol.question, protocol.answer)})
    rows = tools.fields(path, f"tls && ({' || '.join(fields)})", "tcp.srcport", "tcp.dstport", "k8s.src.pod.name",
                        "k8s.dst.pod.name", *fields)
    for name, protocol in PROTOCOLS.items():
        for (field, wanted), column, ends in ((protocol.question, 1, ("client", "server")),
                                              (protocol.answer, 0, ("server", "client"))):
            got = [(row[4 + fields.index(field)], row[2:4]) for row in rows if row[column] == str(protocol.port)]
            check(any(wanted in value.replace(":", "").split(",") for value, _ in got),
                  f"{name}: no {wanted!r} in {field} of {ends[0]}: {got}")
            check_equal({names for _, names in got}, {ends}, f"{name}: names")
        print(f"  {name}", flush=True)


def protocols(folder):
    tools, path = wireshark(folder), os.path.join(folder, "protocols.pcapng")
    with Servers(os.path.join(folder, "pods")) as cluster:
        cluster.make_certificate()
        for protocol in PROTOCOLS.values():
            protocol.start(cluster, protocol.port)
        for protocol in PROTOCOLS.values():
            cluster.wait_port("server", protocol.port)
        endpoints, processes = start_nodes(cluster)
        with Capture(cluster, endpoints.values(), path, "--tls", "keys", "--pod", "server"):
            wait_for(lambda: links(processes["worker-1"]) >= 2, "hooks in OpenSSL and GnuTLS")
            for name, protocol in PROTOCOLS.items():
                out = cluster.exec("client", protocol.client(f"{cluster.folder}/tls.crt", protocol.port), text=True,
                                   capture_output=True, timeout=60).stdout
                check(protocol.printed in out, f"{name}: {out!r}")
    check_protocols(tools, path)


if __name__ == "__main__":
    main(protocols)
