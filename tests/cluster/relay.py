#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Passes connections on from a port of the machine's loopback into a holder's network namespace, so that the lab needs
no address and no device on the machine. A socket stays in the namespace it was made in: the listening one is made first.
usage: relay.py FD NAMESPACE HOST PORT   (FD: a listening socket)"""
import asyncio
import ctypes
import os
import socket
import sys

CLONE_NEWNET = 0x40000000


async def copy(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()


async def serve(listener, host, port):
    async def connected(reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
        far_writer.close()
        writer.close()

    server = await asyncio.start_server(connected, sock=listener)
    await server.serve_forever()


def main():
    listener = socket.socket(fileno=int(sys.argv[1]))
    namespace = os.open(sys.argv[2], os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET):
        sys.exit(f"relay: setns: {os.strerror(ctypes.get_errno())}")
    asyncio.run(serve(listener, sys.argv[3], int(sys.argv[4])))


main()
