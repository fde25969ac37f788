# SPDX-License-Identifier: GPL-2.0-or-later
"""TLS without keys, by library: programs at one end whose library is hooked, while the other end is a pod that nobody asked
for. Each request and answer is found by tshark, of full and of resumed connections, of TLS 1.2 and 1.3."""
import functools
import os
import subprocess
import tempfile

from common import check_equal, main, start_nodes, wait_for, wireshark
from tls import VERSIONS, Capture, Pods, links

PROGRAMS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tls-programs")
PORT = 9443  # of the first server
PYTHON = "/usr/bin/python3"
BUILT = tempfile.TemporaryDirectory(prefix="remora-tls-programs-")  # once for all tests


def program(name):
    return os.path.join(PROGRAMS, name)


@functools.cache
def go_program(*options, name, source=program("program.go")):
    """Builds it, once; returns its path."""
    folder = BUILT.name
    subprocess.run(["go", "build", *options, "-o", f"{folder}/{name}", source], cwd=folder, check=True,
                   env=dict(os.environ, HOME=folder, GOCACHE=f"{folder}/go-cache", GOFLAGS="-mod=mod", GO111MODULE="off"))
    return f"{folder}/{name}"


@functools.cache
def build():
    """{library: (client's argv, server's argv or None)}; its name is what docs/tls.md calls it."""
    folder = BUILT.name
    go, pie = go_program(name="program-go"), go_program("-ldflags=-s -w", "-buildmode=pie", name="program-go-pie")
    subprocess.run(["gcc", "-O2", "-o", f"{folder}/client-gnutls", program("client.c"), "-lgnutls"], check=True)
    return {
        "OpenSSL, shared (python3)": ([PYTHON, program("client.py")], [PYTHON, program("server.py")]),
        "OpenSSL, inside node": (["node", program("client.js")], ["node", program("server.js")]),
        "Go": ([go, "client"], [go, "server"]),
        "Go, stripped, PIE": ([pie, "client"], [pie, "server"]),
        "GnuTLS": ([f"{folder}/client-gnutls"], None),
    }


def ask(cluster, argv, port, version, paths):
    """What a client printed: of each path whether the session was resumed, and the answer."""
    result = cluster.exec("client", [*argv, f"{cluster.folder}/tls.crt", "10.244.1.2", str(port), version, *paths], text=True,
                          capture_output=True, timeout=60)
    return [tuple(line.split(" ", 1)) for line in result.stdout.splitlines()]


def start_tls_server(cluster, argv, port):
    cluster.spawn("server", [*argv, f"{cluster.folder}/tls.crt", f"{cluster.folder}/tls.key", str(port)], log=f"server-{port}.log")
    cluster.wait_port("server", port)


def until_hooked(node, count, cluster, client, port):
    """The first process of a library may be gone before that is looked at: runs it until there are so many hooks."""
    wait_for(lambda: links(node) >= count or (ask(cluster, client, port, "1.3", ["/first"]) and False), f"{count} hooks")


def check_cell(tools, path, name, side, port, told):
    for version, rows in told.items():
        check_equal(rows, [("full", f"you asked for /{version}/full"), ("resumed", f"you asked for /{version}/again")],
                    f"{name}, {side}, {version}")
    wanted = [f"/{version}/{which}" for version in VERSIONS for which in ("full", "again")]
    here = f'tcp.port == {port} and not http.request.uri == "/first" and not http.response_for.uri contains "/first"'
    got = [row[0] for row in tools.fields(path, f"http.request and {here}", "http.request.uri")]
    check_equal(got, wanted, f"{name}, {side}: requests")
    answers = [row[0] for row in tools.fields(path, f"http.response and {here}", "http.response_for.uri")]
    check_equal([answer.removeprefix("https://10.244.1.2") for answer in answers], wanted, f"{name}, {side}: answers")
    print(f"  {name}: {side}: TLS 1.2 and 1.3, full and resumed", flush=True)


PATHS = {version: [f"/{version}/full", f"/{version}/again"] for version in VERSIONS}


def clients(folder):
    """The server's pod is not among the targets."""
    tools, path, told = wireshark(folder), os.path.join(folder, "clients.pcapng"), {}
    with Pods(os.path.join(folder, "pods")) as cluster:
        cluster.make_certificate()
        libraries = build()
        endpoints, processes = start_nodes(cluster)
        with Capture(cluster, endpoints.values(), path, "--tls", "keys", "--pod", "client"):
            for number, (name, (client, _)) in enumerate(libraries.items()):
                # A port of its own for each, by which its packets are known again.
                start_tls_server(cluster, [PYTHON, program("server.py")], PORT + number)
                until_hooked(processes["worker-1"], number + 1, cluster, client, PORT + number)
                told[name] = {version: ask(cluster, client, PORT + number, version, PATHS[version]) for version in VERSIONS}
    for number, name in enumerate(libraries):
        check_cell(tools, path, name, "client", PORT + number, told[name])


def servers(folder):
    """The client's pod is not among the targets."""
    tools, path, told = wireshark(folder), os.path.join(folder, "servers.pcapng"), {}
    with Pods(os.path.join(folder, "pods")) as cluster:
        cluster.make_certificate()
        libraries = {name: server for name, (_, server) in build().items() if server}
        endpoints, processes = start_nodes(cluster)
        for number, server in enumerate(libraries.values()):
            start_tls_server(cluster, server, PORT + number)
        with Capture(cluster, endpoints.values(), path, "--tls", "keys", "--pod", "server"):
            wait_for(lambda: links(processes["worker-1"]) >= len(libraries), "hooks in all servers")
            for number, name in enumerate(libraries):
                client = [PYTHON, program("client.py")]
                told[name] = {version: ask(cluster, client, PORT + number, version, PATHS[version]) for version in VERSIONS}
    for number, name in enumerate(libraries):
        check_cell(tools, path, name, "server", PORT + number, told[name])


if __name__ == "__main__":
    main(clients, servers)
