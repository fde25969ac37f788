# SPDX-License-Identifier: GPL-2.0-or-later
"""usage: talk-websocket.py server CERTIFICATE KEY PORT | client CA HOST PORT WORD. The answer is the word with "you asked for "
in front."""
import asyncio
import ssl
import sys

import websockets


async def answer(link):
    async for word in link:
        await link.send(f"you asked for {word}")


async def server(certificate, key, port):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with websockets.serve(answer, "0.0.0.0", int(port), ssl=context, compression=None):
        await asyncio.Future()


async def client(ca, host, port, word):
    context = ssl.create_default_context(cafile=ca)
    async with websockets.connect(f"wss://{host}:{port}/", ssl=context, compression=None) as link:
        await link.send(word)
        print(await link.recv())


asyncio.run({"server": server, "client": client}[sys.argv[1]](*sys.argv[2:]))
