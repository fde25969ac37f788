#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Plaintext of real programs in pods: beside their encrypted packets, from one end, and only where it was asked for."""
import contextlib
import os
import subprocess
import sys

from common import check, check_equal, main, start_nodes, wait_for, wireshark
from tls import VERSIONS, Capture, pods, until_hooked
from tls_told import counters

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


# A client that keeps its connection, and asks on it for what it is told.
CLIENT = """
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
        self.process = cluster.spawn("client", [sys.executable, "-c", CLIENT, f"{cluster.folder}/tls.crt"], text=True,
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
    main(of_both_ends, joined_later)
