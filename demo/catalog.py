# SPDX-License-Identifier: GPL-2.0-or-later
"""The shop's catalog: a small HTTP API on 127.0.0.1:8000 (a sidecar stands in front) with redis as its store."""
import http.server
import json
import socket
import sys


def redis(*words):
    """One command to the cart's redis, by its service name."""
    request = b"*%d\r\n" % len(words) + b"".join(
        b"$%d\r\n%s\r\n" % (len(w), w) for w in (str(word).encode() for word in words))
    with socket.create_connection((sys.argv[1], 6379), 3) as connection:
        connection.sendall(request)
        reader = connection.makefile("rb")
        line = reader.readline()
        if line.startswith(b"$") and line != b"$-1\r\n":
            return reader.read(int(line[1:])).decode()
        return line[1:].decode().strip()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        item = self.path.rsplit("/", 1)[-1]
        if item.isdigit():
            views = redis("INCR", f"views:{item}")
            self.answer(200, {"item": int(item), "views": int(views)})
        else:
            self.answer(404, {"error": f"no item {item}"})

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
