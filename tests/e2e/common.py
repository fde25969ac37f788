# SPDX-License-Identifier: GPL-2.0-or-later
"""What the end-to-end tests share: the built programs, the demo's cluster, checks with a message, a pcapng reader."""
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback

SOURCE = os.environ.get("REMORA_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.environ.get("REMORA_BUILD") or os.path.join(SOURCE, "build/dev")
sys.path[:0] = [os.path.join(SOURCE, "demo"), os.path.join(SOURCE, "tests")]

from blocks import key_lines, pcapng  # noqa: E402,F401
from cluster import Cluster, wait_for  # noqa: E402,F401
from wireshark import Wireshark  # noqa: E402

NODE = os.path.join(BUILD, "node-capture/remora-node")
REMORADUMP = os.path.join(BUILD, "extcap/remoradump")


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def check_equal(got, expected, message):
    check(got == expected, f"{message}: got {got!r}, expected {expected!r}")


def main(*tests):
    """Runs each test in a folder of its own; keeps the folder of one that fails."""
    if os.geteuid() != 0:
        print("not root: network namespaces cannot be made")
        sys.exit(77)
    failed = 0
    for test in tests:
        folder = tempfile.mkdtemp(prefix=f"remora-{test.__name__}-")
        try:
            test(folder)
            print(f"ok - {test.__name__}", flush=True)
            shutil.rmtree(folder)
        except Exception:  # each test reports; the others still run
            traceback.print_exc()
            print(f"not ok - {test.__name__} (files in {folder})", flush=True)
            failed += 1
    sys.exit(1 if failed else 0)


def wireshark(folder, plugin=True):
    return Wireshark(BUILD, os.path.join(folder, "wireshark" if plugin else "bare"), SOURCE, plugin)


def start_nodes(cluster, *options):
    """One remora-node a host; returns {host: endpoint} once all of them listen."""
    inventory = cluster.write_inventory()
    endpoints = {host: f"unix:{cluster.folder}/{host}.sock" for host in cluster.hosts}
    processes = {host: cluster.start_node(NODE, host, endpoint, inventory, *options)
                 for host, endpoint in endpoints.items()}
    for host, endpoint in endpoints.items():
        wait_for(lambda h=host, e=endpoint: os.path.exists(e[5:]) or processes[h].poll() is not None,
                 f"node on {host}")
        check(processes[host].poll() is None, f"remora-node on {host} ended: see {cluster.folder}")
    return endpoints, processes


def tcpdump(cluster, pod, device, path, *arguments):
    """A tcpdump in a pod, the independent truth. It has each packet at once: else it holds back up to a second of them,
    which are lost when it is stopped."""
    process = cluster.spawn(pod, ["tcpdump", "-i", device, "--immediate-mode", "-U", "-w", path, "-Z", "root",
                                  *arguments], log=f"tcpdump-{pod}-{device}.log")
    wait_for(lambda: os.path.exists(path) and os.path.getsize(path) >= 24, f"tcpdump on {device} of {pod}")
    return process


def targets(endpoints, tool=None):
    """Rows of remoradump --list-targets."""
    result = subprocess.run([REMORADUMP, "--list-targets", "--endpoint", ",".join(endpoints)],
                            text=True, capture_output=True, check=False)
    return result.stdout.splitlines()


def captured(endpoints):
    return sum(" captured " in f"{line} " for line in targets(endpoints))


def stop(process, signum=signal.SIGINT, seconds=120):
    """Asks a program to stop and returns its exit status. Asks again, as tshark does not heed a signal that comes while it
    starts its capture."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(signum)
        try:
            return process.wait(20)
        except subprocess.TimeoutExpired:
            pass
    if process.poll() is None:
        process.kill()
        process.wait()
        raise TimeoutError(f"{process.args} did not stop within {seconds} s")
    return process.returncode


def packets(data):
    """(interface, nanoseconds, packet bytes, {option: [values]}) of each packet."""
    for kind, body in pcapng(data):
        if kind == 6:
            interface, high, low, captured_length, _ = struct.unpack_from("<IIIII", body)
            end = 20 + (captured_length + 3) // 4 * 4
            yield interface, high << 32 | low, body[20:20 + captured_length], options(body[end:])


def options(data):
    found, offset = {}, 0
    while offset + 4 <= len(data):
        code, length = struct.unpack_from("<HH", data, offset)
        if code == 0:
            break
        found.setdefault(code, []).append(data[offset + 4:offset + 4 + length])
        offset += 4 + (length + 3) // 4 * 4
    return found
