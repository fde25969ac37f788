#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Wireshark's own tools read what the builder makes, and copy it without losing the identity option.

The option is looked for as docs/pcapng-identity.md tells others to do it: with the program in that file.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

SOURCE = os.environ["REMORA_SOURCE"]
MAKE_PCAPNG = sys.argv[1]
TOOLS = ["tshark", "capinfos", "editcap", "mergecap", "reordercap"]


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def documented_program():
    """The Python program of the documentation, as a reader would copy it."""
    with open(f"{SOURCE}/docs/pcapng-identity.md", encoding="utf-8") as file:
        return re.search(r"```python\n(.*?)```", file.read(), re.S).group(1)


def check_tshark(path):
    fields = ["frame.time_epoch", "frame.cap_len", "frame.len", "frame.interface_name",
              "frame.interface_description", "frame.comment", "frame.packet_flags_direction",
              "arp.dst.proto_ipv4"]
    columns = [argument for field in fields for argument in ("-e", field)]
    lines = run("tshark", "-r", path, "-Y", "arp", "-T", "fields", *columns).splitlines()
    expected = [
        f"1700000000.{123456789 + i}\t42\t60\t"
        + ("shop/node-a\teth0 of frontend-1" if i % 2 == 0 else "shop/node-b\t")
        + "\ta comment\t0x00000002\t10.0.0.2"
        for i in range(4)
    ]
    assert lines == expected, lines


def check_capinfos(path):
    text = run("capinfos", path)
    for expected in [r"Capture hardware: +a machine", r"Capture oper-sys: +an os",
                     r"Capture application: +make-pcapng", r"Number of packets: +4",
                     r"Number of interfaces in file: +2", r"Name = shop/node-a",
                     r"Description = eth0 of frontend-1", r"Hardware = veth",
                     r"Time precision = nanoseconds \(9\)", r"Number of stat entries = 1",
                     r"Number of decryption secrets in file: +1"]:
        assert re.search(expected, text), f"{expected}\n{text}"


def check_identity(path, packets):
    lines = run(sys.executable, "-c", documented_program(), path).splitlines()
    pairs = [line.split(" ", 1)[1] for line in lines]
    assert pairs == ["src namespace=shop", "src pod=frontend-1"] * packets, lines


def check_copies(path, folder):
    copy = f"{folder}/copy.pcapng"
    commands = {
        "tshark": ["tshark", "-r", path, "-Y", "frame.number > 1", "-w", copy],
        "editcap": ["editcap", "-r", path, copy, "2-3"],
        "mergecap": ["mergecap", "-w", copy, path, path],
        "reordercap": ["reordercap", path, copy],
    }
    for (name, command), packets in zip(commands.items(), [3, 2, 8, 4]):
        run(*command)
        check_identity(copy, packets)
        print(f"{name}: {packets} packets with their identity")


def main():
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        print("not installed:", *missing)
        return 77
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/made.pcapng"
        with open(path, "wb") as file:
            subprocess.run([MAKE_PCAPNG], check=True, stdout=file)
        check_tshark(path)
        check_capinfos(path)
        check_identity(path, 4)
        check_copies(path, folder)
    return 0


sys.exit(main())
