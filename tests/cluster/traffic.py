#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic of test pods, /bin/traffic in the work image. Each act is told as a line of JSON on standard output, so that
a test knows from the pod itself what was sent, whatever a capture says.

  traffic serve [--http PORT] [--udp PORT]                answers with the pod's name; echoes datagrams
  traffic udp HOST PORT TAG [--count N] [--interval S]    datagrams "remora TAG SEQUENCE"; no answer is awaited
  traffic http HOST PORT TAG [--count N] [--interval S]   GET /TAG/SEQUENCE, each on a connection of its own
"""
import argparse
import http.client
import http.server
import json
import os
import socket
import sys
import threading
import time

NAME = os.environ.get("POD_NAME") or socket.gethostname()


def tell(act, protocol, source, destination, **more):
    line = {"act": act, "pod": NAME, "protocol": protocol, "src": source[0], "sport": source[1],
            "dst": destination[0], "dport": destination[1], "time": time.time(), **more}
    # One write a line: threads share the output.
    os.write(1, (json.dumps(line) + "\n").encode())


def plain(address):
    """(host, port) without what IPv6 adds, and IPv4 as such where the socket takes both."""
    host = address[0]
    return (host[7:] if host.startswith("::ffff:") else host, address[1])


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"{NAME}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        tell("answered", "http", plain(self.client_address), plain(self.connection.getsockname()), path=self.path)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 128

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def serve_udp(port):
    listener = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", port))
    while True:
        data, peer = listener.recvfrom(65535)
        tell("received", "udp", plain(peer), ("", port), payload=data.decode(errors="replace"))
        listener.sendto(data, peer)


def serve(options):
    if options.udp:
        threading.Thread(target=serve_udp, args=(options.udp,), daemon=True).start()
    Server(("::", options.http), Answer).serve_forever()


def each(options, act):
    """The nth act is due n intervals after the first, however long one takes. Returns how many failed."""
    start, failed = time.monotonic(), 0
    for sequence in range(options.count):
        time.sleep(max(0, start + sequence * options.interval - time.monotonic()))
        try:
            act(sequence)
        except (OSError, http.client.HTTPException) as error:
            failed += 1
            tell("failed", options.command, ("", 0), (options.host, options.port), tag=options.tag, sequence=sequence,
                 error=str(error))
    return failed


def send_udp(options):
    family, _, _, _, address = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as out:
        out.connect(address)

        def act(sequence):
            out.send(f"remora {options.tag} {sequence}".encode())
            tell("sent", "udp", out.getsockname(), out.getpeername(), tag=options.tag, sequence=sequence)

        return each(options, act)


def send_http(options):
    def act(sequence):
        connection = http.client.HTTPConnection(options.host, options.port, timeout=10)
        connection.connect()
        source, destination = connection.sock.getsockname(), connection.sock.getpeername()
        connection.request("GET", f"/{options.tag}/{sequence}")
        answer = connection.getresponse().read().decode().strip()
        connection.close()
        tell("sent", "http", source, destination, tag=options.tag, sequence=sequence, answer=answer)

    return each(options, act)


def main():
    parser = argparse.ArgumentParser(prog="traffic")
    commands = parser.add_subparsers(dest="command", required=True)
    server = commands.add_parser("serve")
    server.add_argument("--http", type=int, default=8080)
    server.add_argument("--udp", type=int)
    for name in ("udp", "http"):
        sender = commands.add_parser(name)
        sender.add_argument("host")
        sender.add_argument("port", type=int)
        sender.add_argument("tag")
        sender.add_argument("--count", type=int, default=1)
        sender.add_argument("--interval", type=float, default=0)
    options = parser.parse_args()
    if options.command == "serve":
        serve(options)
    else:
        sys.exit(1 if (send_udp if options.command == "udp" else send_http)(options) else 0)


main()
