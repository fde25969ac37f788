# SPDX-License-Identifier: GPL-2.0-or-later
"""Real connections through real DNAT and masquerading in network namespaces: IPv4 and IPv6, TCP and UDP."""
import os
import subprocess
import sys
import time

PRINT = sys.argv[1]
PREFIX = f"rmct{os.getpid()}"
RULES = """
table inet nat {
  chain prerouting { type nat hook prerouting priority -100;
    ip daddr 10.96.0.1 tcp dport 80 dnat ip to 10.1.2.2:8080
    ip daddr 10.96.0.1 udp dport 53 dnat ip to 10.1.2.2:5353
    ip6 daddr fd00:96::1 tcp dport 80 dnat ip6 to [fd00:2::2]:8080
    ip6 daddr fd00:96::1 udp dport 53 dnat ip6 to [fd00:2::2]:5353
  }
  chain postrouting { type nat hook postrouting priority 100;
    ip daddr 10.1.2.2 tcp dport 8080 masquerade
    ip6 daddr fd00:2::2 udp dport 5353 masquerade
  }
}
"""
# In the server's namespace: everything is answered.
SERVER = """
import selectors, socket, sys
chosen = selectors.DefaultSelector()
for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
    for kind, port in ((socket.SOCK_STREAM, 8080), (socket.SOCK_DGRAM, 5353)):
        s = socket.socket(family, kind)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.bind((host, port))
        if kind == socket.SOCK_STREAM:
            s.listen()
        chosen.register(s, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in chosen.select():
        s = key.fileobj
        if s.type == socket.SOCK_STREAM:
            s.accept()[0].close()
        else:
            s.sendto(*s.recvfrom(100))
"""
# In the client's: one exchange, from a port of its own.
CLIENT = """
import socket, sys
kind = socket.SOCK_STREAM if sys.argv[1] == "tcp" else socket.SOCK_DGRAM
family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
s = socket.socket(family, kind)
s.settimeout(5)
s.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", int(sys.argv[4])))
s.connect((sys.argv[2], int(sys.argv[3])))
if kind == socket.SOCK_DGRAM:
    s.send(b"x")
s.recv(1)
"""


def ip(*argv):
    subprocess.run(["ip", *argv], check=True)


def inside(name, *argv, **kwargs):
    return subprocess.Popen(["nsenter", f"--net=/run/netns/{PREFIX}{name}", "--", *argv], text=True, **kwargs)


def build():
    for name in ("r", "c", "s"):
        ip("netns", "add", PREFIX + name)
        ip("-n", PREFIX + name, "link", "set", "lo", "up")
    for number, name in ((1, "c"), (2, "s")):
        ip("-n", PREFIX + "r", "link", "add", f"to{name}", "type", "veth", "peer", "name", "eth0", "netns", PREFIX + name)
        for where, device, last in ((PREFIX + "r", f"to{name}", 1), (PREFIX + name, "eth0", 2)):
            ip("-n", where, "address", "add", f"10.1.{number}.{last}/24", "dev", device)
            ip("-n", where, "address", "add", f"fd00:{number}::{last}/64", "dev", device, "nodad")
            ip("-n", where, "link", "set", device, "up")
        ip("-n", PREFIX + name, "route", "add", "default", "via", f"10.1.{number}.1")
        ip("-n", PREFIX + name, "route", "add", "default", "via", f"fd00:{number}::1")
    router = "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; nft -f -"
    process = inside("r", "sh", "-c", router, stdin=subprocess.PIPE)
    process.communicate(RULES)
    assert process.returncode == 0, "nft"


def exchange(protocol, address, port, own):
    assert inside("c", sys.executable, "-c", CLIENT, protocol, address, str(port), str(own)).wait() == 0, \
        f"{protocol} to {address}"


class Lines:
    """What conntrack-print says, by the first words of a line."""

    def __init__(self, process):
        self.process, self.lines = process, []
        os.set_blocking(process.stdout.fileno(), False)
        self.rest = ""

    def read(self):
        try:
            self.rest += os.read(self.process.stdout.fileno(), 65536).decode()
        except BlockingIOError:
            pass
        *lines, self.rest = self.rest.split("\n")
        self.lines += [tuple(line.split(" ")) for line in lines]

    def wait(self, *expected):
        deadline = time.monotonic() + 10
        while True:
            self.read()
            for line in self.lines:
                if line[:len(expected)] == expected:
                    return line
            assert time.monotonic() < deadline, f"no {expected} in {self.lines}"
            time.sleep(0.01)


def test():
    server = inside("s", sys.executable, "-c", SERVER, stdout=subprocess.PIPE)
    watcher = None
    try:
        assert server.stdout.readline() == "ready\n"
        exchange("tcp", "10.96.0.1", 80, 40001)  # before anybody looks
        exchange("tcp", "10.1.2.2", 8080, 40002)  # the source alone is rewritten
        watcher = subprocess.Popen([PRINT, f"/run/netns/{PREFIX}r"], text=True, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        lines = Lines(watcher)
        old = lines.wait("begin", "6", "10.1.1.2", "40001", "10.96.0.1", "80", "10.1.2.2", "8080", "10.1.2.1")
        assert old[-2:] == ("0", "0"), old
        lines.wait("begin", "6", "10.1.1.2", "40002", "10.1.2.2", "8080", "10.1.2.2", "8080", "10.1.2.1")
        before = time.time_ns()
        exchange("tcp", "10.96.0.1", 80, 40003)
        new = lines.wait("begin", "6", "10.1.1.2", "40003", "10.96.0.1", "80", "10.1.2.2", "8080", "10.1.2.1")
        assert before <= int(new[-2]) <= time.time_ns() and new[-1] == "0", new
        exchange("udp", "10.96.0.1", 53, 40004)  # not masqueraded
        lines.wait("begin", "17", "10.1.1.2", "40004", "10.96.0.1", "53", "10.1.2.2", "5353", "10.1.1.2", "40004")
        exchange("tcp", "fd00:96::1", 80, 40005)
        lines.wait("begin", "6", "fd00:1::2", "40005", "fd00:96::1", "80", "fd00:2::2", "8080", "fd00:1::2", "40005")
        exchange("udp", "fd00:96::1", 53, 40006)
        lines.wait("begin", "17", "fd00:1::2", "40006", "fd00:96::1", "53", "fd00:2::2", "5353", "fd00:2::1")
        exchange("tcp", "fd00:2::2", 8080, 40008)  # not rewritten at all
        inside("r", "conntrack", "-D", "-p", "udp", "--orig-port-src", "40004", stdout=subprocess.DEVNULL,
               stderr=subprocess.DEVNULL).wait()
        end = lines.wait("end", "17", "10.1.1.2", "40004")
        assert int(end[-1]) >= int(end[-2]) > before, end
        assert not [line for line in lines.lines if "40008" in line], lines.lines
        assert not [line for line in lines.lines if line[0] == "problem"], lines.lines
        # Without the right to listen: told, and no more than that.
        denied = subprocess.run(["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", PRINT,
                                 f"/run/netns/{PREFIX}r"], text=True, stdin=subprocess.DEVNULL,
                                capture_output=True, check=True)
        assert "CAP_NET_ADMIN is missing" in denied.stdout, denied
    finally:
        for process in (server, watcher):
            if process:
                process.kill()
                process.wait()


def main():
    if os.geteuid() != 0:
        print("not root: network namespaces cannot be made")
        sys.exit(77)
    try:
        build()
        test()
    finally:
        for name in ("c", "s", "r"):
            subprocess.run(["ip", "netns", "del", PREFIX + name], check=False)


main()
