# SPDX-License-Identifier: GPL-2.0-or-later
"""TLS without keys, by library: programs at one end whose library is hooked, while the other end is a pod that nobody asked
for. Each request and answer is found by tshark, of full and of resumed connections, of TLS 1.2 and 1.3, and what was found must
be what docs/tls.md says. REMORA_FULL_SIZE=1 takes more programs, and with --write puts the table there."""
import functools
import os
import subprocess
import sys
import tempfile
from typing import NamedTuple

from common import SOURCE, check, check_equal, main, start_nodes, wait_for, wireshark
from tls import FULL_SIZE, VERSIONS, Capture, Pods, body_text, links

PROGRAMS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tls-programs")
PORT = 9443  # of the first server
PYTHON = "/usr/bin/python3"
BUILT = tempfile.TemporaryDirectory(prefix="remora-tls-programs-")  # once for all tests
TABLE = os.path.join(SOURCE, "docs/tls.md")
BEGIN, END = "<!-- written by tests/e2e/tls_matrix.py --write: begin -->\n", "<!-- end -->\n"
HEADER = """| library, in pods | end | 1.2, full | 1.2, resumed | 1.3, full | 1.3, resumed | older than the hook |
|---|---|---|---|---|---|---|
"""
GNUTLS_ANSWER = "what gnutls-serv always says"
OLDER = "no: its secrets were made before"  # of a connection that was open already


def program(name):
    return os.path.join(PROGRAMS, name)


@functools.cache
def go_program(*options, name, source=program("program.go")):
    """Builds it, once; returns its path."""
    folder = BUILT.name
    subprocess.run(["go", "build", *options, "-o", f"{folder}/{name}", source], cwd=folder, check=True,
                   env=dict(os.environ, HOME=folder, GOCACHE=f"{folder}/go-cache", GOFLAGS="-mod=mod", GO111MODULE="off"))
    return f"{folder}/{name}"


class Library(NamedTuple):
    client: list            # argv; what follows: CA HOST PORT VERSION PATH...
    server: object = None   # argv, a function of (certificate, key, port)
    answer: str = ""        # of the server, always; "": what it was asked for


def server(*argv):
    return lambda certificate, key, port: [*argv, certificate, key, port]


def gnutls_serv(answer):
    path = f"{BUILT.name}/gnutls-answer"
    with open(path, "w", encoding="ascii") as file:
        file.write(answer)
    return lambda certificate, key, port: ["gnutls-serv", "--http", "--httpdata", path, "--x509certfile", certificate,
                                           "--x509keyfile", key, "--port", port]


def go(*options, name):
    path = go_program(*options, name=name)
    return Library([path, "client"], server(path, "server"))


@functools.cache
def build():
    """{name in docs/tls.md: Library}"""
    gnutls = f"{BUILT.name}/client-gnutls"
    subprocess.run(["gcc", "-O2", "-o", gnutls, program("client.c"), "-lgnutls"], check=True)
    boringssl = [PYTHON, program("boringssl.py")]
    libraries = {
        "OpenSSL 3.0, shared (python3)": Library([PYTHON, program("client.py")], server(PYTHON, program("server.py"))),
        "OpenSSL, static (node 20)": Library(["node", program("client.js")], server("node", program("server.js"))),
        "GnuTLS 3.7, shared": Library([gnutls], gnutls_serv(GNUTLS_ANSWER), GNUTLS_ANSWER),
        "BoringSSL 13, shared": Library([*boringssl, "client"], server(*boringssl, "server")),
        "Go 1.19": go(name="program-go"),
        "Go 1.19, stripped": go("-ldflags=-s -w", name="program-go-stripped"),
    }
    if FULL_SIZE:  # all of Go's library is compiled for that
        libraries["Go 1.19, stripped, PIE"] = go("-ldflags=-s -w", "-buildmode=pie", name="program-go-pie")
    return libraries


def ask(cluster, argv, port, version, paths):
    """What a client printed: of each path whether the session was resumed, and the answer."""
    result = cluster.exec("client", [*argv, f"{cluster.folder}/tls.crt", "10.244.1.2", str(port), version, *paths], text=True,
                          capture_output=True, timeout=60)
    return [tuple(line.split(" ", 1)) for line in result.stdout.splitlines()]


def start_tls_server(cluster, argv, port):
    cluster.spawn("server", argv(f"{cluster.folder}/tls.crt", f"{cluster.folder}/tls.key", str(port)), log=f"server-{port}.log")
    cluster.wait_port("server", port)


def until_hooked(node, count, cluster, client, port):
    """The first process of a library may be gone before that is looked at: runs it until there are so many hooks."""
    wait_for(lambda: links(node) >= count or (ask(cluster, client, port, "1.3", ["/first"]) and False), f"{count} hooks")


PATHS = {version: [f"/{version}/full", f"/{version}/again"] for version in VERSIONS}


def ask_all(cluster, argv, port, name, answer=""):
    """A full and a resumed connection of each version."""
    for version, paths in PATHS.items():
        check_equal(ask(cluster, argv, port, version, paths),
                    [(how, answer or f"you asked for {path}") for how, path in zip(("full", "resumed"), paths)],
                    f"{name}, {version}")


def decrypted(tools, path):
    """{(port, path): (requests, bodies of answers)} in one pass over the file."""
    found = {}
    for source, target, asked, answered, body in tools.fields(path, "http", "tcp.srcport", "tcp.dstport", "http.request.uri",
                                                              "http.response_for.uri", "http.file_data"):
        if asked:
            found.setdefault((int(target), asked), ([], []))[0].append(asked)
        elif answered:
            key = (int(source), answered.removeprefix("https://10.244.1.2"))
            found.setdefault(key, ([], []))[1].append(body_text(body))
    return found


def check_rows(tools, path, end, libraries):
    """A row of the table for each library, which must be as docs/tls.md has it."""
    found = decrypted(tools, path)
    with open(TABLE, encoding="utf-8") as file:
        told = file.read()
    wrong = []
    for number, (name, library) in enumerate(libraries.items()):
        cells = []
        for uri in [uri for paths in PATHS.values() for uri in paths]:
            asked, answers = found.get((PORT + number, uri), ([], []))
            answer = (end == "server" and library.answer) or f"you asked for {uri}"
            cells.append("yes" if len(asked) == 1 and [text.strip() for text in answers] == [answer] else "no")
        row = f"| {name} | {end} | {' | '.join(cells)} | {OLDER} |\n"
        print(f"  {row}", end="", flush=True)
        ROWS.append(row)
        wrong += [row] if row not in told else []
    check(not wrong or "--write" in sys.argv, f"docs/tls.md says otherwise: {wrong}")


ROWS = []


def clients(folder):
    """The server's pod is not among the targets."""
    tools, path = wireshark(folder), os.path.join(folder, "clients.pcapng")
    libraries = build()
    with Pods(os.path.join(folder, "pods")) as cluster:
        cluster.make_certificate()
        # A port of its own for each, by which its packets are known again.
        for number in range(len(libraries)):
            start_tls_server(cluster, server(PYTHON, program("server.py")), PORT + number)
        endpoints, processes = start_nodes(cluster)
        with Capture(cluster, endpoints.values(), path, "--tls", "keys", "--pod", "client"):
            for number, (name, library) in enumerate(libraries.items()):
                until_hooked(processes["worker-1"], number + 1, cluster, library.client, PORT + number)
                ask_all(cluster, library.client, PORT + number, name)
    check_rows(tools, path, "client", libraries)


def servers(folder):
    """The client's pod is not among the targets."""
    tools, path = wireshark(folder), os.path.join(folder, "servers.pcapng")
    libraries = build()
    with Pods(os.path.join(folder, "pods")) as cluster:
        cluster.make_certificate()
        for number, library in enumerate(libraries.values()):
            start_tls_server(cluster, library.server, PORT + number)
        endpoints, processes = start_nodes(cluster)
        with Capture(cluster, endpoints.values(), path, "--tls", "keys", "--pod", "server"):
            wait_for(lambda: links(processes["worker-1"]) >= len(libraries), "hooks in all servers")
            for number, (name, library) in enumerate(libraries.items()):
                ask_all(cluster, [PYTHON, program("client.py")], PORT + number, name, library.answer)
    check_rows(tools, path, "server", libraries)


def older(folder):
    """What is asked for over connections that were open before anybody wanted to know cannot be read by secrets, and does
    no harm to those that come then."""
    tools, path, held = wireshark(folder), os.path.join(folder, "older.pcapng"), {}
    with Pods(os.path.join(folder, "pods")) as cluster:
        cluster.make_certificate()
        start_tls_server(cluster, server(PYTHON, program("server.py")), PORT)
        for version in VERSIONS:
            held[version] = subprocess.Popen(
                cluster.entering("client", [PYTHON, program("client.py"), f"{cluster.folder}/tls.crt", "10.244.1.2", str(PORT),
                                            version, f"/{version}/older", f"/{version}/newer"]),
                env=dict(os.environ, HOLD="1"), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            cluster.processes.append(held[version])
            check_equal(held[version].stdout.readline(), "connected\n", "client")
        endpoints, processes = start_nodes(cluster)
        with Capture(cluster, endpoints.values(), path, "--tls", "keys", "--pod", "server"):
            wait_for(lambda: links(processes["worker-1"]) > 0, "hooks")
            for version, process in held.items():
                out = process.communicate("go on\n", 60)[0]
                check_equal(out.splitlines()[0], f"full you asked for /{version}/older", "answer")
    got = sorted(uri for _, uri in decrypted(tools, path))
    check_equal(got, [f"/{version}/newer" for version in VERSIONS], "decrypted")


def write():
    """The rows of this run, a library's together."""
    with open(TABLE, encoding="utf-8") as file:
        before, _, rest = file.read().partition(BEGIN)
    after = rest.partition(END)[2]
    names = [name for name in build()]
    rows = sorted(ROWS, key=lambda row: names.index(row.split(" | ")[0].removeprefix("| ")))
    with open(TABLE, "w", encoding="utf-8") as file:
        file.write(before + BEGIN + HEADER + "".join(rows) + END + after)


def table(_):
    """What docs/tls.md has are these rows, and no others."""
    if "--write" in sys.argv:
        write()
    with open(TABLE, encoding="utf-8") as file:
        told = file.read().partition(BEGIN)[2].partition(END)[0]
    check(told.startswith(HEADER), "docs/tls.md: the table's header")
    for row in told.removeprefix(HEADER).splitlines():
        check(row + "\n" in ROWS or (not FULL_SIZE and "PIE" in row), f"docs/tls.md: nothing was run for {row!r}")


if __name__ == "__main__":
    main(clients, servers, older, table)
