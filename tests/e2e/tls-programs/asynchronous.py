# SPDX-License-Identifier: GPL-2.0-or-later
"""usage: asynchronous.py client CA HOST PORT VERSION PATH... | server CERTIFICATE KEY PORT: as client.py, without sessions, and
server.py, by asyncio, whose TLS gets nothing but memory."""
import asyncio
import ssl
import sys

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


async def client(ca, host, port, version, *paths):
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = context.maximum_version = VERSIONS[version]
    for path in paths:
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        print("full", answer.partition(b"\r\n\r\n")[2].decode().strip(), flush=True)


async def answer_one(reader, writer):
    request = await reader.readuntil(b"\r\n\r\n")
    body = f"you asked for {request.split()[1].decode()}\n".encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()
    writer.close()


async def server(certificate, key, port):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = await asyncio.start_server(answer_one, "", int(port), ssl=context)
    await listener.serve_forever()


asyncio.run({"client": client, "server": server}[sys.argv[1]](*sys.argv[2:]))
