# SPDX-License-Identifier: GPL-2.0-or-later
"""Both ends of TLS connections whose words are known in advance. A request is "SEED LENGTH\\n" and as many bytes of that seed;
the answer are as many of the next seed.

serve KEY CERT | serve-async KEY CERT | serve-http KEY CERT: prints its port, serves until its standard input ends
connect PORT: does what lines tell, prints a line when it is done:
  many VERSION THREADS FIRST LENGTH    each thread one connection, seeds FIRST, FIRST + 2...
  each VERSION COUNT FIRST LENGTH      one after the other; prints how many addresses the sessions had
  open VERSION NAME | say NAME SEED LENGTH"""
import asyncio
import ctypes
import http.server
import random
import socket
import ssl
import sys
import threading

HOST = "127.0.0.1"


def body(seed, length):
    return random.Random(seed).randbytes(length)


def receive(read, length):
    parts = []
    while length:
        part = read(min(length, 50000))
        if not part:
            raise EOFError("closed")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def serve_one(connection):
    with connection:
        while True:
            line = b""
            while not line.endswith(b"\n"):
                byte = connection.recv(1)
                if not byte:
                    return
                line += byte
            seed, length = map(int, line.split())
            assert receive(connection.recv, length) == body(seed, length)
            connection.sendall(body(seed + 1, length))


def server_context(key, cert):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def serve(key, cert):
    context = server_context(key, cert)
    listener = socket.create_server((HOST, 0), backlog=128)
    print(listener.getsockname()[1], flush=True)

    def one(plain):
        plain.settimeout(30)
        try:
            serve_one(context.wrap_socket(plain, server_side=True))
        except OSError:
            pass

    def accept():
        while True:
            threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


async def serve_async(key, cert):
    async def one(reader, writer):
        try:
            while line := await reader.readline():
                seed, length = map(int, line.split())
                assert await reader.readexactly(length) == body(seed, length)
                writer.write(body(seed + 1, length))
                await writer.drain()
        finally:
            writer.close()
    listener = await asyncio.start_server(one, HOST, 0, ssl=server_context(key, cert))
    print(listener.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def serve_http(key, cert):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seed, length = map(int, self.path.strip("/").split("/"))
            self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body(seed, length))

        def log_message(self, *_):
            pass
    listener = http.server.HTTPServer((HOST, 0), Handler)
    listener.socket = server_context(key, cert).wrap_socket(listener.socket, server_side=True)
    print(listener.server_port, flush=True)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    sys.stdin.read()


class Client:
    def __init__(self, port):
        self.port = port
        self.open_ones = {}

    def open(self, version):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2 if version == "1.2" else ssl.TLSVersion.TLSv1_3
        plain = socket.create_connection((HOST, self.port))
        plain.settimeout(30)
        return context.wrap_socket(plain)

    @staticmethod
    def say(connection, seed, length):
        connection.sendall(b"%d %d\n" % (seed, length) + body(seed, length))
        assert receive(connection.recv, length) == body(seed + 1, length)

    def one(self, version, seed, length):
        with self.open(version) as connection:
            self.say(connection, seed, length)
            # PyObject_HEAD, weak references' socket, then the session (Modules/_ssl.c).
            return ctypes.cast(id(connection._sslobj) + 24, ctypes.POINTER(ctypes.c_void_p))[0]

    def do(self, word, *arguments):
        if word == "many":
            version, count, first, length = arguments[0], *map(int, arguments[1:])
            threads = [threading.Thread(target=self.one, args=(version, first + 2 * i, length)) for i in range(count)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        elif word == "each":
            version, count, first, length = arguments[0], *map(int, arguments[1:])
            return len({self.one(version, first + 2 * i, length) for i in range(count)})
        elif word == "open":
            self.open_ones[arguments[1]] = self.open(arguments[0])
        elif word == "say":
            self.say(self.open_ones[arguments[0]], *map(int, arguments[1:]))
        return "done"


def connect(port):
    client = Client(int(port))
    print("ready", flush=True)
    for line in sys.stdin:
        print(client.do(*line.split()), flush=True)


if __name__ == "__main__":
    kind, *rest = sys.argv[1:]
    if kind == "serve-async":
        asyncio.run(serve_async(*rest))
    else:
        {"serve": serve, "serve-http": serve_http, "connect": connect}[kind](*rest)
