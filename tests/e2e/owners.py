# SPDX-License-Identifier: GPL-2.0-or-later
"""Which process is at each end of a packet: real clients and servers, from the first packet on."""
import os
import subprocess
import sys

from common import captured, check, check_equal, main, start_nodes, stop, wait_for, wireshark
from demo import settled
import shop

CLIENTS = 200
# Each child has a name of its own, makes one connection, and says who it was on which port.
CROWD = f"""
import os, socket, sys
for number in range({CLIENTS}):
    child = os.fork()
    if child == 0:
        with open("/proc/self/comm", "w") as comm:
            comm.write(f"crowd-{{number}}")
        with socket.create_connection((sys.argv[1], 6379), 20) as link:
            link.sendall(b"PING\\r\\n")
            assert link.recv(64) == b"+PONG\\r\\n"
            print(f"crowd-{{number}}", os.getpid(), link.getsockname()[1], flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


def expected(cluster, pod, port, far_port):
    """Who in a pod holds a socket of that port: the demo's servers stand on ports of their own."""
    if pod == shop.COREDNS:
        return "dnsmasq"
    if pod == shop.REDIS:
        return "redis-server"
    if pod in (shop.CLIENT_1, shop.CLIENT_2):
        return cluster.python
    if pod in (shop.CATALOG_1, shop.CATALOG_2) and (port == "8000" or far_port in ("53", "6379")):
        return cluster.python
    return "nginx"


def comm_of_python(cluster):
    """What this machine's Python is called in /proc."""
    process = cluster.spawn(shop.CLIENT_1, [sys.executable, "-c", "print(open('/proc/self/comm').read(), end='')"],
                            log="comm")
    check_equal(process.wait(60), 0, "python")
    with open(os.path.join(cluster.folder, "comm"), encoding="ascii") as file:
        return file.read().strip()


def pids_of(cluster, pod):
    """Processes in a pod's network namespace."""
    inode = os.stat(cluster.netns_path(pod)).st_ino
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{pid}/ns/net").st_ino == inode:
                found.add(pid)
        except OSError:
            pass
    return found


FIELDS = [f"k8s.{end}.{name}" for end in ("src", "dst") for name in ("pod.name", "process.name", "process.pid")]


def ends(tools, path, display_filter):
    """(frame, pod, process, pid, port, far port, whether a SYN) of each end of each packet."""
    for frame, sport, dport, flags, *who in tools.fields(
            path, display_filter, "frame.number", "tcp.srcport", "tcp.dstport", "tcp.flags", *FIELDS):
        syn = flags and int(flags, 16) & 0x12 == 0x02
        yield frame, *who[:3], sport, dport, syn
        yield frame, *who[3:], dport, sport, syn


def capture(folder, traffic):
    tools = wireshark(folder)
    path = os.path.join(folder, "owners.pcapng")
    with shop.Shop(os.path.join(folder, "shop")) as cluster:
        cluster.python = comm_of_python(cluster)
        endpoints, _ = start_nodes(cluster)
        tshark = tools.capture(endpoints.values(), "-q", "-w", path, stderr=subprocess.PIPE, text=True)
        try:
            wait_for(lambda: tshark.poll() is not None or captured(endpoints.values()) == len(cluster.pods),
                     "capture of all pods")
            result = traffic(cluster)
            settled(path)
        finally:
            status = stop(tshark)
        check_equal(status, 0, f"tshark's exit status ({tshark.stderr.read()})")
    return tools, path, cluster, result


def everybody(folder):
    """Each packet of the shop has the right process at every end that is a pod."""
    def traffic(cluster):
        pids = {pod: pids_of(cluster, pod) for pod in cluster.pods if pod not in (shop.CLIENT_1, shop.CLIENT_2)}
        cluster.traffic(rounds=8)
        return pids

    tools, path, cluster, pids = capture(folder, traffic)
    total, first, wrong = 0, 0, []
    for frame, pod, process, pid, port, far_port, syn in ends(tools, path, "tcp"):
        if not pod:
            continue
        total += 1
        first += bool(syn)
        want = expected(cluster, pod, port, far_port)
        if process != want or (pod in pids and pid not in pids[pod]) or not pid:
            wrong.append((frame, pod, process, pid, port, far_port, want))
    print(f"  {total} ends of TCP packets, {first} of them of first packets; {len(wrong)} not right")
    check(total > 500 and first > 50, f"too little traffic: {total} ends, {first} first")
    check(not wrong, f"{len(wrong)} of {total} not right: {wrong[:5]}")

    # A UDP socket that was not bound is told as its first datagram leaves, which may be a moment too late for that one.
    sockets, rows, wrong, late = set(), tools.fields(path, "dns", "ip.src", "udp.srcport", *FIELDS), [], 0
    for row in rows:
        is_first = row[:2] not in sockets
        sockets.add(row[:2])
        for number, (pod, process) in enumerate((row[2:4], row[5:7])):
            if is_first and number == 0 and not process:
                late += 1
            elif pod and process != expected(cluster, pod, "", "53"):
                wrong.append(row)
    print(f"  {len(rows)} DNS packets, {len(sockets)} sockets; first packets without a process: {late}")
    check(len(rows) > 10, f"only {len(rows)} DNS packets")
    check(not wrong, f"{len(wrong)} ends of {len(rows)} DNS packets not right: {wrong[:5]}")
    check(late <= len(sockets) / 10, f"{late} of {len(sockets)} first packets without a process")


def crowd(folder):
    """Processes that live for one connection: every packet of each is its own, the first one too."""
    def traffic(cluster):
        service = next(s["address"] for s in cluster.services if s["name"] == "cart")
        process = cluster.spawn(shop.CLIENT_1, [sys.executable, "-c", CROWD, service], log="crowd")
        check_equal(process.wait(240), 0, "the crowd's exit status")
        with open(os.path.join(cluster.folder, "crowd"), encoding="ascii") as file:
            return {port: (name, pid) for name, pid, port in map(str.split, file)}

    tools, path, _, who = capture(folder, traffic)
    check_equal(len(who), CLIENTS, "connections")
    total, firsts, wrong, wrong_firsts = 0, 0, [], 0
    for frame, pod, process, pid, port, _, syn in ends(tools, path, "tcp.port == 6379"):
        if pod != shop.CLIENT_1:
            continue
        total += 1
        firsts += bool(syn)
        if (process, pid) != who[port]:
            wrong.append((frame, process, pid, who[port]))
            wrong_firsts += bool(syn)
    print(f"  {CLIENTS} connections, {total} packets; first packets right: {firsts - wrong_firsts} of {firsts}")
    check_equal(firsts, CLIENTS, "first packets")
    check(not wrong, f"{len(wrong)} of {total} not right: {wrong[:5]}")


def switched_off(folder):
    tools = wireshark(folder)
    path = os.path.join(folder, "off.pcapng")
    with shop.Shop(os.path.join(folder, "shop")) as cluster:
        endpoints, _ = start_nodes(cluster, "--no-processes")
        tshark = tools.capture(endpoints.values(), "-q", "-w", path, stderr=subprocess.DEVNULL)
        wait_for(lambda: captured(endpoints.values()) == len(cluster.pods), "capture of all pods")
        cluster.traffic(rounds=1)
        settled(path)
        stop(tshark)
    check(tools.fields(path, "tcp && k8s.src.pod.name", "frame.number"), "no packets")
    check_equal(tools.fields(path, "k8s.process.name || k8s.process.pid", "frame.number"), [], "processes")


if __name__ == "__main__":
    main(everybody, crowd, switched_off)
