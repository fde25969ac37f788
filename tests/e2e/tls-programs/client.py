# SPDX-License-Identifier: GPL-2.0-or-later
"""usage: client.py CA HOST PORT VERSION PATH...: a connection for each path, all but the first with the session of the one
before. Prints of each whether it was resumed, and the answer's body. With HOLD in the environment it says when the first one
is connected, and goes on with it when it is told a line."""
import os
import socket
import ssl
import sys

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def main(ca, host, port, version, *paths):
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = context.maximum_version = VERSIONS[version]
    session = None
    for path in paths:
        with socket.create_connection((host, int(port)), 20) as link:
            with context.wrap_socket(link, server_hostname=host, session=session) as tls:
                if "HOLD" in os.environ and not session:
                    print("connected", flush=True)
                    sys.stdin.readline()
                tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                answer = b""
                while more := tls.recv(65536):
                    answer += more
                session = tls.session
                print("resumed" if tls.session_reused else "full", answer.partition(b"\r\n\r\n")[2].decode().strip(),
                      flush=True)


main(*sys.argv[1:])
