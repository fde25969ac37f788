#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Plaintext of real programs in pods: beside their encrypted packets, from one end, and only where it was asked for."""
import contextlib
import os
import subprocess
import sys
from typing import NamedTuple

from common import check, check_equal, main, start_nodes, wait_for, wireshark
from tls import VERSIONS, Capture, body_text, links, pods, until_hooked
from tls_told import counters
from tls_matrix import PORT, PYTHON, Library, ask as ask_library, program, server, start_tls_server

PLAINTEXT = 'frame.interface_name contains "/plaintext"'


def ask(cluster):
    """Two requests on each of a few connections; returns what was asked."""
    asked = []
    for number in range(3):
        for version in VERSIONS:
            urls = [f"/{version}/{number}/{part}" for part in "ab"]
            check_equal(cluster.curl("client", *urls, version=version), "".join(f"you asked for {url}\n" for url in urls), "answers")
            asked += urls
    return asked


def of_both_ends(folder):
    tools = wireshark(folder)
    with pods(folder) as cluster:
        cluster.start_server()
        endpoints, processes = start_nodes(cluster)
        paths, asked = {}, {}
        for mode in ("plaintext", "auto"):
            paths[mode] = os.path.join(folder, f"{mode}.pcapng")
            with Capture(cluster, endpoints.values(), paths[mode], "--tls", mode):
                until_hooked(processes["worker-1"], cluster, "client")
                cluster.curl("client", "/warm")
                asked[mode] = ask(cluster)
    for mode, where in (("plaintext", PLAINTEXT), ("auto", f"tls && !({PLAINTEXT})")):
        rows = tools.fields(paths[mode], f'http.request && {where} && http.request.uri matches "^/1"', "http.request.uri",
                            "k8s.src.name", "k8s.dst.name", "k8s.capture.pod.name")
        check_equal(rows, [(url, "shop/client", "shop/server", "shop/server") for url in asked[mode]], f"{mode}: requests")
        bodies = tools.fields(paths[mode], f'http.response && {where} && http.file_data contains "/1."', "http.file_data")
        check_equal([row[0].replace("\\n", "") for row in bodies], [f"you asked for {url}" for url in asked[mode]], f"{mode}: bodies")
    check_equal(tools.fields(paths["plaintext"], f"tcp.analysis.flags && {PLAINTEXT}", "_ws.col.Info"), [], "anything strange")
    check_equal(tools.fields(paths["auto"], PLAINTEXT, "frame.number"), [], "plaintext beside secrets")
    check_equal(tools.fields(paths["plaintext"], f"http && !({PLAINTEXT})", "frame.number"), [], "decrypted without secrets")
    check(tools.fields(paths["plaintext"], "tls.handshake.type == 1", "frame.number"), "the encrypted packets are there")


MEMORY = {
    "node": Library(["node", program("client.js")], server("node", program("server.js"))),
    "asyncio": Library([PYTHON, program("asynchronous.py"), "client"], server(PYTHON, program("asynchronous.py"), "server")),
}
ENDS = ("client", "server")
CLIENT, SERVER = ("10.244.1.3", "shop/client"), ("10.244.1.2", "shop/server")


class Packet(NamedTuple):
    pod: str        # that it was captured in
    source: tuple   # address, pod
    target: tuple   # address, pod, port
    port: str       # the client's
    syn: bool
    fin: bool
    payload: bytes
    uri: str
    body: str
    strange: str


def plaintext_packets(tools, path):
    """In one pass, as each takes seconds."""
    found = []
    for pod, ip, name, port, to_ip, to_name, to_port, syn, fin, payload, uri, body, strange in tools.fields(
            path, PLAINTEXT, "k8s.capture.pod.name", "ip.src", "k8s.src.name", "tcp.srcport", "ip.dst", "k8s.dst.name", "tcp.dstport",
            "tcp.flags.syn", "tcp.flags.fin", "tcp.payload", "http.request.uri", "http.file_data", "tcp.analysis.flags"):
        is_client = int(to_port) in range(PORT, PORT + len(MEMORY))
        found.append(Packet(pod, (ip, name), (to_ip, to_name, to_port), port if is_client else to_port, syn == "1", fin == "1",
                            bytes.fromhex(payload.replace(":", "")), uri, body, strange))
    return found


def ask_memory(cluster, mode):
    """Two connections of each library and version; returns what was asked of which port."""
    asked = []
    for number, (name, library) in enumerate(MEMORY.items()):
        for version in VERSIONS:
            paths = [f"/{mode}/{name}/{version}/{part}" for part in "ab"]
            answers = ask_library(cluster, library.client, PORT + number, version, paths)
            check_equal([body for _, body in answers], [f"you asked for {path}" for path in paths], f"{name}, {version}")
            asked += [(path, str(PORT + number)) for path in paths]
    return asked


def of_memory(folder):
    """Libraries that never see a socket: the same addresses and names as of others, each with the ports of its own
    encrypted connection."""
    tools, paths, asked = wireshark(folder), {}, {}
    with pods(folder) as cluster:
        cluster.make_certificate()
        for number, library in enumerate(MEMORY.values()):
            start_tls_server(cluster, library.server, PORT + number)
        endpoints, processes = start_nodes(cluster)
        for mode in ("plaintext", "auto"):
            paths[mode] = os.path.join(folder, f"{mode}.pcapng")
            with Capture(cluster, endpoints.values(), paths[mode], "--tls", mode, "--vantage", "all"):
                # In each of the two files: secrets, entries, returns.
                wait_for(lambda: links(processes["worker-1"]) >= 6, "hooks in both servers")
                asked[mode] = ask_memory(cluster, mode)
    encrypted = tools.fields(paths["plaintext"], "tls.handshake.type == 1", "tcp.srcport", "tcp.dstport")
    packets = plaintext_packets(tools, paths["plaintext"])
    requests = [packet for packet in packets if packet.uri]
    ports = {packet.uri: packet.port for packet in requests}
    check_equal(sorted((ports[path], port) for path, port in asked["plaintext"]), sorted(set(encrypted)),
                "ports of the encrypted connections")
    check_equal(sorted((packet.uri, packet.pod, packet.source, packet.target) for packet in requests),
                sorted((path, f"shop/{end}", CLIENT, (*SERVER, port)) for path, port in asked["plaintext"] for end in ENDS), "requests")
    answers = [(packet.port, packet.pod, packet.source, packet.target, body_text(packet.body).strip()) for packet in packets
               if packet.body]
    check_equal(sorted(answers), sorted((ports[path], f"shop/{end}", SERVER, (*CLIENT, ports[path]), f"you asked for {path}")
                                        for path, _ in asked["plaintext"] for end in ENDS), "answers")
    check_equal({packet.strange for packet in packets}, {""}, "anything strange")
    for flag in ("syn", "fin"):  # begun and ended by the same two ends
        check_equal(sum(getattr(packet, flag) for packet in packets), 2 * len(requests), flag)
    check_equal(tools.fields(paths["auto"], PLAINTEXT, "frame.number"), [], "plaintext beside secrets")
    check_equal(tools.fields(paths["plaintext"], f"http && !({PLAINTEXT})", "frame.number"), [], "decrypted without secrets")
    check(tools.fields(paths["plaintext"], "tls.handshake.type == 1", "frame.number"), "the encrypted packets are there")


def nss_database(cluster):
    """The server's certificate as NSS wants it; also for the client, which needs some database."""
    folder = f"{cluster.folder}/nss"
    os.mkdir(folder)
    for argv in (["certutil", "-N", "-d", f"sql:{folder}", "--empty-password"],
                 ["openssl", "pkcs12", "-export", "-in", f"{cluster.folder}/tls.crt", "-inkey", f"{cluster.folder}/tls.key",
                  "-name", "server", "-passout", "pass:", "-out", f"{folder}/server.p12"],
                 ["pk12util", "-i", f"{folder}/server.p12", "-d", f"sql:{folder}", "-W", ""]):
        subprocess.run(argv, check=True, capture_output=True)
    return f"sql:{folder}"


def ask_selfserv(cluster, database, version, request):
    """What the client prints: the answer, which has the request in it. Both ends would wait for the other to close."""
    argv = ["tstclnt", "-h", "10.244.1.2", "-p", str(PORT), "-d", database, "-o", "-V", f"tls{version}:tls{version}"]
    with subprocess.Popen(["timeout", "60", *cluster.entering("client", argv)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as client:
        client.stdin.write(request)
        client.stdin.flush()
        answer = b""
        while not answer.endswith(b"EOF\r\n\r\n\r\n"):
            more = os.read(client.stdout.fileno(), 65536)
            check(more, f"the client has ended: {answer}")
            answer += more
        client.terminate()
    check(request in answer, f"{version}: not the answer: {answer}")
    return answer


def of_nss(folder):
    """No secrets of it can be had, so who asks for them gets the plaintext: byte for byte what the client has said and got."""
    tools, path, got = wireshark(folder), os.path.join(folder, "nss.pcapng"), {}
    requests = {version: f"GET /nss/{version} HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n".encode() for version in VERSIONS}
    with pods(folder) as cluster:
        cluster.make_certificate()
        database = nss_database(cluster)
        cluster.exec("server", ["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0"])  # selfserv binds to ::
        cluster.spawn("server", ["selfserv", "-p", str(PORT), "-n", "server", "-d", database, "-V", "tls1.2:tls1.3"], log="selfserv.log")
        cluster.wait_port("server", PORT)
        endpoints, processes = start_nodes(cluster)
        with Capture(cluster, endpoints.values(), path, "--tls", "auto", "--vantage", "all"):
            wait_for(lambda: links(processes["worker-1"]) >= 2, "entries and returns")
            # The server has waited in accept() since before the hooks: of that connection they do not see the beginning.
            ask_selfserv(cluster, database, "1.3", b"GET /first HTTP/1.1\r\n\r\n")
            for version, request in requests.items():
                got[version] = ask_selfserv(cluster, database, version, request)
    packets = plaintext_packets(tools, path)
    ports = {packet.uri: packet.port for packet in packets if packet.uri}
    for version, request in requests.items():
        for end in ENDS:
            said = {}
            for packet in packets:
                if packet.port == ports[f"/nss/{version}"] and packet.pod == f"shop/{end}":
                    said[packet.source] = said.get(packet.source, b"") + packet.payload
            check_equal(said, {CLIENT: request, SERVER: got[version]}, f"{version}, at the {end}")
    check_equal({packet.strange for packet in packets}, {""}, "anything strange")
    ends = len(ENDS) * (len(requests) + 1)
    for flag, count in (("syn", ends - 1), ("fin", ends)):
        check_equal(sum(getattr(packet, flag) for packet in packets), 2 * count, flag)


# A client that keeps its connection, and asks on it for what it is told.
KEEPING = """
import ssl, socket, sys
context = ssl.create_default_context(cafile=sys.argv[1])
with socket.create_connection(("10.244.1.2", 8443), 20) as plain, context.wrap_socket(plain, server_hostname="10.244.1.2") as tls:
    print("ready", flush=True)
    answers = tls.makefile("rb")
    for url in sys.stdin:
        tls.sendall(f"GET {url.strip()} HTTP/1.1\\r\\nHost: server\\r\\n\\r\\n".encode())
        while (line := answers.readline().strip()):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        print(answers.read(length).decode().strip(), flush=True)
"""


class Client:
    def __init__(self, cluster):
        self.process = cluster.spawn("client", [sys.executable, "-c", KEEPING, f"{cluster.folder}/tls.crt"], text=True,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        check_equal(self.process.stdout.readline(), "ready\n", "the client is connected")

    def ask(self, *urls):
        for url in urls:
            self.process.stdin.write(f"{url}\n")
            self.process.stdin.flush()
            check_equal(self.process.stdout.readline(), f"you asked for {url}\n", "answer")


def until_taken(endpoints, ask):
    """Until there is plaintext of what is asked meanwhile."""
    def taken():
        return counters(endpoints)["tls_plaintext_packets_total"]
    before = taken()
    wait_for(lambda: ask() or taken() > before, "plaintext")


def joined_later(folder):
    """Three readers, one after the other: each can read what was said since he came, on connections of before as well, by
    secrets or in plaintext, and nothing looks lost."""
    tools, paths = wireshark(folder), {name: os.path.join(folder, f"{name}.pcapng") for name in ("first", "second", "third")}
    with pods(folder) as cluster, contextlib.ExitStack() as stack:
        cluster.start_server()
        endpoints, processes = start_nodes(cluster)
        endpoints = list(endpoints.values())

        captures = {}

        def join(name, mode):
            captures[name] = Capture(cluster, endpoints, paths[name], "--tls", mode, "--pod", "client")
            stack.enter_context(captures[name])
        join("first", "auto")
        until_hooked(processes["worker-1"], cluster, "client")
        old = Client(cluster)
        old.ask("/first/0")
        join("second", "auto")
        until_taken(endpoints, lambda: old.ask("/warm"))
        new = Client(cluster)
        old.ask("/second/0")
        new.ask("/second/1")
        join("third", "plaintext")
        until_taken(endpoints, lambda: cluster.curl("client", "/warm") and None)
        old.ask("/third/0")
        new.ask("/third/1")
        for client in (old, new):
            client.process.communicate(timeout=60)
    asked = ["/first/0", "/second/0", "/second/1", "/third/0", "/third/1"]

    def requests(name, where):
        rows = tools.fields(paths[name], f'http.request && {where} && http.request.uri matches "^/(first|second|third)/"',
                            "http.request.uri")
        return sorted(row[0] for row in rows)
    check_equal(requests("first", f"!({PLAINTEXT})"), asked, "by the first one's secrets")
    check_equal(tools.fields(paths["first"], PLAINTEXT, "frame.number"), [], "plaintext beside them")
    check_equal(requests("second", PLAINTEXT), ["/second/0", "/third/0"], "the second one's plaintext")
    check_equal(requests("second", f"!({PLAINTEXT})"), ["/second/1", "/third/1"], "by the second one's secrets")
    check_equal(requests("third", PLAINTEXT), ["/third/0", "/third/1"], "the third one's plaintext")
    for name in ("second", "third"):
        check_equal(tools.fields(paths[name], f"tcp.analysis.flags && {PLAINTEXT}", "_ws.col.Info"), [], f"{name}: anything strange")
        check("none lost" in captures[name].said, captures[name].said)


if __name__ == "__main__":
    main(of_both_ends, of_memory, of_nss, joined_later)
