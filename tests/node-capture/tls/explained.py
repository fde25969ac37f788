# SPDX-License-Identifier: GPL-2.0-or-later
"""What remora-node --explain-tls says, taken apart, and what other tools say of the same files."""
import os
import re
import subprocess

SOURCE = os.environ.get("REMORA_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))))
BUILD = os.environ.get("REMORA_BUILD") or os.path.join(SOURCE, "build/dev")
NODE = os.path.join(BUILD, "node-capture/remora-node")


def run(*command, **options):
    result = subprocess.run(command, text=True, capture_output=True, check=False, timeout=120, **options)
    check(result.returncode == 0, f"{' '.join(command)}: {result.stderr}")
    return result.stdout


def go_build(path, source, *options):
    """All tests use one cache: what they share is compiled once."""
    run("go", "build", *options, "-o", path, source,
        env=dict(os.environ, GOCACHE=os.path.join(BUILD, "go-cache"), GO111MODULE="off", GOFLAGS="", CGO_ENABLED="0"))


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def check_equal(got, expected, message):
    check(got == expected, f"{message}: got {got!r}, expected {expected!r}")


class Implementation:
    """One library in one file."""

    def __init__(self, text):
        head = re.match(r"  (.+?) \(by (.+?)\): (can be hooked|doubtful, not hooked|not hooked)(?:, because (.*))?\n", text)
        check(head, f"not understood: {text}")
        self.library, self.evidence, self.verdict, self.reason = head.groups()
        function = re.search(r"key-log function: address 0x([0-9a-f]+), offset in the file 0x([0-9a-f]+)", text)
        self.address, self.offset = (int(n, 16) for n in function.groups()) if function else (None, None)
        votes = re.search(r"(\d+) of (\d+) references", text)
        self.votes, self.sites = (int(n) for n in votes.groups()) if votes else (None, None)
        chain = re.search(r"client random: (\[*session\S*?),", text)
        self.chain = [int(n, 16) for n in re.findall(r"\+0x([0-9a-f]+)", chain.group(1))] if chain else None
        self.agrees = "says the same" in text
        self.text = text


def points(path):
    """Where plaintext can be taken: {(kind, function): [address]}, and the reason where it cannot."""
    code, text, err = explain_text(path)
    check(code == 0, f"{path}: {err}")
    found = {}
    for kind, name, address, offset in re.findall(
            r"^    (client handshake|server handshake|read unseen|write unseen|read|write|role|new|begin|end|client|server|handshake) (.+?): address 0x([0-9a-f]+), "
            r"offset in the file 0x([0-9a-f]+)", text, flags=re.M):
        check_equal(int(offset, 16), file_offset(path, int(address, 16)), f"{name} in {path}")
        found.setdefault((kind, name), []).append(int(address, 16))
    reason = re.search(r"plaintext cannot be taken, because (.*)", text)
    return found, reason.group(1) if reason else None


def explain_text(target):
    result = subprocess.run([NODE, "--explain-tls", str(target)], text=True, capture_output=True, check=False)
    return result.returncode, result.stdout, result.stderr


def implementations(text):
    """{path: [Implementation]}"""
    found = {}
    path = None
    for block in re.split(r"^(?=\S)|^(?=  \S)", text, flags=re.M):
        if block and not block.startswith(" "):
            path = block.strip()
            found[path] = []
        elif " (by " in block:
            found[path].append(Implementation(block))
    return found


def explain(path):
    code, out, err = explain_text(path)
    check(code == 0, f"{path}: {err}")
    return implementations(out)[str(path)]


def only(path):
    found = explain(path)
    check_equal(len(found), 1, f"implementations in {path}")
    return found[0]


def symbol(path, name, tool="nm"):
    """The address that the linker gave a function, where the symbols are still there."""
    for line in run(tool, path).splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[1] in "tT" and parts[2] == name:
            return int(parts[0], 16)
    raise AssertionError(f"no {name} in {path}")


def file_offset(path, address):
    """By the program headers, as readelf prints them."""
    for line in run("readelf", "-lW", path).splitlines():
        parts = line.split()
        if parts[:1] == ["LOAD"]:
            offset, start, size = int(parts[1], 16), int(parts[2], 16), int(parts[4], 16)
            if start <= address < start + size:
                return address - start + offset
    raise AssertionError(f"0x{address:x} is not in {path}")
