# SPDX-License-Identifier: GPL-2.0-or-later
"""As client.py and server.py in one, with Debian's shared BoringSSL, for which there is no program:
boringssl.py client CA HOST PORT VERSION PATH... | boringssl.py server CERTIFICATE KEY PORT"""
import ctypes
import socket
import sys
import threading

LIBRARY = ctypes.CDLL("/usr/lib/x86_64-linux-gnu/android/libssl.so.0")
VERSIONS = {"1.2": 0x0303, "1.3": 0x0304}
PEM, VERIFY_PEER, CACHE_CLIENT = 1, 1, 1
ON_SESSION = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


def call(name, *arguments, kind=ctypes.c_int):
    """Pointers come and go as c_void_p; a result of 0 is an error where it is a pointer."""
    function = getattr(LIBRARY, name)
    function.restype = kind
    result = function(*arguments)
    if kind is ctypes.c_void_p:
        if not result:
            raise OSError(name)
        return ctypes.c_void_p(result)
    return result


def good(name, *arguments):
    if call(name, *arguments) != 1:
        raise OSError(name)


class Connection:
    def __init__(self, context, link, session=None):
        self.link = link
        self.ssl = call("SSL_new", context, kind=ctypes.c_void_p)
        good("SSL_set_fd", self.ssl, link.fileno())
        if session:
            good("SSL_set_session", self.ssl, session)

    def read(self):
        """What there is; empty at the end."""
        buffer = ctypes.create_string_buffer(65536)
        length = call("SSL_read", self.ssl, buffer, len(buffer))
        return buffer.raw[:max(length, 0)]

    def write(self, data):
        if call("SSL_write", self.ssl, data, len(data)) != len(data):
            raise OSError("SSL_write")

    def close(self):
        call("SSL_shutdown", self.ssl)
        call("SSL_free", self.ssl, kind=None)
        self.link.close()


def client(ca, host, port, version, *paths):
    sessions = []

    def keep(_, session):
        sessions.append(ctypes.c_void_p(session))
        return 1

    callback = ON_SESSION(keep)
    context = call("SSL_CTX_new", call("TLS_method", kind=ctypes.c_void_p), kind=ctypes.c_void_p)
    good("SSL_CTX_load_verify_locations", context, ca.encode(), None)
    call("SSL_CTX_set_verify", context, VERIFY_PEER, None, kind=None)
    call("SSL_CTX_set_session_cache_mode", context, CACHE_CLIENT)
    call("SSL_CTX_sess_set_new_cb", context, callback, kind=None)
    for bound in ("min", "max"):
        good(f"SSL_CTX_set_{bound}_proto_version", context, VERSIONS[version])
    for path in paths:
        connection = Connection(context, socket.create_connection((host, int(port)), 20), sessions[-1] if sessions else None)
        connection.link.settimeout(None)
        good("SSL_connect", connection.ssl)
        connection.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while more := connection.read():
            answer += more
        print("resumed" if call("SSL_session_reused", connection.ssl) else "full",
              answer.partition(b"\r\n\r\n")[2].decode().strip(), flush=True)
        connection.close()


def serve(context, link):
    connection = Connection(context, link)
    if call("SSL_accept", connection.ssl) == 1:
        request = b""
        while b"\r\n\r\n" not in request and (more := connection.read()):
            request += more
        body = b"you asked for " + request.split(b" ")[1] + b"\n"
        connection.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    connection.close()


def server(certificate, key, port):
    context = call("SSL_CTX_new", call("TLS_method", kind=ctypes.c_void_p), kind=ctypes.c_void_p)
    good("SSL_CTX_use_certificate_chain_file", context, certificate.encode())
    good("SSL_CTX_use_PrivateKey_file", context, key.encode(), PEM)
    listener = socket.create_server(("", int(port)))
    while True:
        threading.Thread(target=serve, args=(context, listener.accept()[0])).start()


{"client": client, "server": server}[sys.argv[1]](*sys.argv[2:])
