#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Plaintext of TLS from the seam in the node to Wireshark: a node whose kernel is the test, remoradump, tshark with
the plugin. What real processes' plaintext is taken from is the subject of other tests."""
import contextlib
import os
import signal
import subprocess

from common import BUILD, REMORADUMP, check_equal, main, pcapng, wait_for, wireshark

NODE = os.path.join(BUILD, "tests/node-capture/plaintext-node")
PACKET = 6
GET = b"GET /%s HTTP/1.1\r\nHost: shop\r\n\r\n"
BODY = b"".join(b"%07d\n" % i for i in range(25_000))
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")


def call(connection, direction, data, **more):
    words = {"connection": connection, "direction": direction, "local": f"10.1.0.1/{40000 + connection}",
             "remote": "10.1.0.2/443", "offset": 0, **more}
    return " ".join(f"{key}={value}" for key, value in words.items()) + f" {data.hex()}\n"


def exchange(connection, path, **more):
    """A request and its answer, read in pieces."""
    lines = [call(connection, "written", GET % path, **more)]
    for at in range(0, len(ANSWER), 16384):
        lines.append(call(connection, "read", ANSWER[at:at + 16384], offset=at, **more))
    return lines + [call(connection, "read", b"", **more, end=1)]


def packets(path):
    """How many packets a file has whose writing is under way."""
    with contextlib.suppress(OSError, AssertionError):
        with open(path, "rb") as file:
            return sum(kind == PACKET for kind, _ in pcapng(file.read()))
    return 0


def subscribers(endpoint):
    text = subprocess.run([REMORADUMP, "--status", "--endpoint", endpoint], capture_output=True, text=True, check=True).stdout
    return "streams_opened_total 3" in " ".join(text.split())


@contextlib.contextmanager
def readers(endpoint, folder, *modes):
    paths = {mode: os.path.join(folder, f"{mode}.pcapng") for mode in modes}
    running = [subprocess.Popen([REMORADUMP, "--endpoint", endpoint, "--tls", mode, "-w", paths[mode]]) for mode in modes]
    try:
        yield paths
    finally:
        for reader in running:
            reader.send_signal(signal.SIGINT)
        for reader in running:
            reader.wait(30)


def from_seam_to_wireshark(folder):
    node = subprocess.Popen([NODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                            env=dict(os.environ, TMPDIR=folder))
    try:
        endpoint = node.stdout.readline().strip()
        with readers(endpoint, folder, "keys", "auto", "plaintext") as paths:
            check_equal(node.stdout.readline(), "asked\n", "a stream asks")
            wait_for(lambda: subscribers(endpoint), "the three streams")
            node.stdin.writelines(exchange(1, b"told") + exchange(2, b"decrypted", secrets=1))
            node.stdin.writelines([call(3, "written", PREFACE), call(4, "written", GET % b"lost"),
                                   call(4, "written", GET % b"behind", offset=1000)])
            node.stdin.flush()
            # Handshake, request, answer, end; then two connections that go on.
            each = 3 + 1 + -(-len(ANSWER) // 16384) + 3
            wait_for(lambda: packets(paths["plaintext"]) == 2 * each + 4 + 5, "all packets")
            wait_for(lambda: packets(paths["auto"]) == each + 4 + 5, "the packets of connections without secrets")
        check_equal(packets(paths["keys"]), 0, "packets of who asked for keys")
    finally:
        node.kill()
        node.wait()
    tools = wireshark(folder)
    for mode, requests in (("auto", ["/told", "/lost", "/behind"]), ("plaintext", ["/told", "/decrypted", "/lost", "/behind"])):
        rows = tools.fields(paths[mode], "http.request", "http.request.uri", "k8s.src.name", "k8s.dst.type", "k8s.l7",
                            "frame.interface_name", "tcp.dstport")
        check_equal(rows, [(uri, "shop/cart", "4", "http", "test/n1/plaintext", "443") for uri in requests], f"{mode}: requests")
        bodies = tools.fields(paths[mode], "http.response", "http.file_data")
        check_equal([row[0].replace("\\n", "\n").encode() for row in bodies], [BODY] * (len(requests) - 2), f"{mode}: bodies")
        check_equal(len(tools.fields(paths[mode], "http2.magic", "frame.number")), 1, f"{mode}: HTTP/2")
        check_equal(tools.fields(paths[mode], "tls || _ws.malformed", "frame.number"), [], f"{mode}: nothing of TLS")
        strange = tools.fields(paths[mode], "tcp.analysis.flags", "http.request.uri", "frame.comment")
        check_equal([uri for uri, _ in strange], ["/behind"], f"{mode}: what is missing")
        check_equal("the hooks lost" in strange[0][1], True, f"{mode}: it says so: {strange}")


if __name__ == "__main__":
    main(from_seam_to_wireshark)
