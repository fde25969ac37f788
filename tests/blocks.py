# SPDX-License-Identifier: GPL-2.0-or-later
"""Blocks of little endian pcapng files, for tests."""
import struct

SECRETS = 10  # Decryption Secrets Block


def pcapng(data):
    """(type, body) of each block of little endian pcapng bytes."""
    offset = 0
    while offset + 12 <= len(data):
        kind, length = struct.unpack_from("<II", data, offset)
        assert length >= 12 and length % 4 == 0 and offset + length <= len(data), f"bad block length {length} at {offset}"
        assert struct.unpack_from("<I", data, offset + length - 4)[0] == length, f"trailing length at {offset}"
        yield kind, data[offset + 8:offset + length - 4]
        offset += length
    assert offset == len(data), "bytes behind the last block"


def key_lines(path):
    """The lines of all secrets in a capture file."""
    lines = []
    with open(path, "rb") as file:
        for kind, body in pcapng(file.read()):
            if kind == SECRETS:
                length = int.from_bytes(body[4:8], "little")
                lines += key_log(body[8:8 + length].decode("ascii"))
    return lines


def key_log(text):
    """The lines of a key log that have secrets."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]
