# SPDX-License-Identifier: GPL-2.0-or-later
"""usage: server.py CERTIFICATE KEY PORT: answers each request with what was asked for."""
import http.server
import ssl
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"you asked for {self.path}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server = http.server.ThreadingHTTPServer(("", int(sys.argv[3])), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
