# SPDX-License-Identifier: GPL-2.0-or-later
"""What a process holds, and whether it grows."""
import os
import re
from collections import Counter


def kind(target):
    """socket:[12] -> socket, anon_inode:bpf-map -> bpf-map, net:[12] -> net, a path -> file."""
    if target.startswith("anon_inode:"):
        return target.partition(":")[2].strip("[]")
    return re.match(r"(\w+):\[", target)[1] if re.match(r"\w+:\[", target) else "file"


def held(pid):
    """{what: how many}: memory in kB, descriptors by kind, mapped rings, threads."""
    counts = Counter()
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            counts[kind(os.readlink(f"/proc/{pid}/fd/{entry}"))] += 1
        except OSError:
            pass  # closed meanwhile
    with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
        counts["ring"] = sum("socket:[" in line for line in file)
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        status = dict(line.split(":", 1) for line in file)
    counts["rss"], counts["threads"] = int(status["RssAnon"].split()[0]), int(status["Threads"])
    return counts


def descriptors(counts):
    """Without memory, and without threads, of which gRPC has as many as it likes."""
    return {name: count for name, count in counts.items() if name not in ("rss", "threads") and count}

