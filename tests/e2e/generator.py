# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends COUNT UDP datagrams with 64-bit sequence numbers to ADDRESS PORT at RATE a second; prints how many went out."""
import socket
import struct
import sys
import time

address, port, count, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
padding = b"x" * 56
connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
start = time.monotonic()
sent = 0
while sent < count:
    due = min(count, int((time.monotonic() - start) * rate) + 1)
    while sent < due:
        connection.sendto(struct.pack("!Q", sent) + padding, (address, port))
        sent += 1
    time.sleep(0.001)
print(sent)
