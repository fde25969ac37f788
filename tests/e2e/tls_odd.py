# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that the finder cannot fully know: one whose client random is found by its first connections on the wire, and one
whose accessor lies, whose hook is found out and taken back."""
import os
import shutil
import subprocess

from common import check, check_equal, key_lines, main, start_nodes, wait_for, wireshark
from tls import Capture, pods
from tls_told import counters, row

HERE = os.path.dirname(os.path.abspath(__file__))
ARCHIVE = "/usr/lib/x86_64-linux-gnu/libssl.a"
LATER = 10
LIES, AFTER = 12, 6  # connections: before its hook is withdrawn, for which 5 are enough, and after
HELLOS = "tls.handshake.type == 2"


def run(*command):
    subprocess.run(command, check=True, capture_output=True, text=True)


def build(folder, name, symbol, *options):
    """A stripped program with Debian's OpenSSL in it, in which `symbol` is the program's own."""
    member = subprocess.run(["ar", "t", ARCHIVE], check=True, capture_output=True, text=True).stdout.split()
    member = next(one for one in member if one.endswith("-ssl_lib.o"))
    run("ar", "x", "--output", folder, ARCHIVE, member)
    run("objcopy", "--redefine-sym", f"{symbol}=real_{symbol}", f"{folder}/{member}", f"{folder}/{name}.o")
    run("gcc", "-O2", f"-D{name.upper()}", f"{HERE}/tls-programs/odd.c", f"{folder}/{name}.o", "-o", f"{folder}/{name}", "-s",
        *options, "-Wl,-Bstatic", "-lssl", "-lcrypto", "-Wl,-Bdynamic", "-ldl", "-lpthread")
    return f"{folder}/{name}"


class Client:
    """One of these programs in a pod."""

    def __init__(self, cluster, pod, program):
        self.process = cluster.spawn(pod, [program, f"{cluster.folder}/tls.crt", "10.244.1.2", "8443"], text=True,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        check_equal(self.process.stdout.readline(), "ready\n", f"{program}")

    def ask(self, url):
        """On a connection of its own."""
        self.process.stdin.write(f"{url}\n")
        self.process.stdin.flush()
        check_equal(self.process.stdout.readline(), f"you asked for {url}\n", "answer")

    def end(self):
        self.process.communicate(timeout=60)


def odd(folder):
    tools, path = wireshark(folder), os.path.join(folder, "odd.pcapng")
    wraps = build(folder, "wraps", "ssl_log_secret")
    lies = build(folder, "lies", "SSL_get_client_random", "-Wl,--export-dynamic-symbol=SSL_get_client_random")
    copy = shutil.copy(wraps, os.path.join(folder, "same"))
    with pods(folder) as cluster:
        cluster.start_server()
        endpoints, _ = start_nodes(cluster)
        endpoints = list(endpoints.values())
        capture = Capture(cluster, endpoints, path, "--tls", "keys", "--pod", "client", "--pod", "stranger", pods=2)
        with capture:
            liar, honest = Client(cluster, "stranger", lies), Client(cluster, "client", wraps)
            line = row(endpoints, "other/stranger", lies)
            check(" hooked " in line, line)
            line = row(endpoints, "shop/client", wraps)
            check(" calibrating " in line, line)
            for number in range(LIES):
                liar.ask(f"/lie/{number}")
            connections = calibrate(endpoints, honest, wraps)
            for number in range(LATER):
                honest.ask(f"/later/{number}")
            # The same library in another file: it is known, and so its first connection is read.
            other = Client(cluster, "client", copy)
            line = row(endpoints, "shop/client", copy)
            check(" hooked " in line and "calibrated on the wire" in line, line)
            other.ask("/same/0")
            line = row(endpoints, "other/stranger", lies, "withdrawn")
            check("never seen on the wire" in line, line)
            check_equal(counters(endpoints)["tls_hooks_withdrawn_total"], 1, "hooks withdrawn")
            for number in range(AFTER):
                liar.ask(f"/after/{number}")
            honest.ask("/last")
            for client in (liar, honest, other):
                client.end()
    print(f"  {connections} connections until the client random was found")
    check(any("other/stranger: " in line and "no longer hooked" in line for line in capture.said.splitlines()), capture.said)
    got = [one[0] for one in tools.fields(path, "http.request", "http.request.uri") if not one[0].startswith("/first/")]
    check_equal(got, [f"/later/{number}" for number in range(LATER)] + ["/same/0", "/last"], "requests that are read")
    randoms_in_lines(tools, path)


def calibrate(endpoints, client, program):
    """Asks until its random is found; returns how often."""
    asked = []

    def found():
        client.ask(f"/first/{len(asked)}")
        asked.append(1)
        return " hooked " in row(endpoints, "shop/client", program)
    wait_for(found, "a client random that is found on the wire")
    check("calibrated on the wire" in row(endpoints, "shop/client", program), "how it was found")
    check(len(asked) >= 2, f"one connection cannot be enough: {len(asked)}")
    return len(asked)


def randoms_in_lines(tools, path):
    """Lines of the liar are of before only; all others are of ClientHellos."""
    named = {one.split()[1] for one in key_lines(path)}
    clients = {one[0].replace(":", "") for one in tools.fields(path, "tls.handshake.type == 1", "tls.handshake.random")}
    servers = [one[0].replace(":", "")
               for one in tools.fields(path, f'{HELLOS} && k8s.dst.pod.name == "stranger"', "tls.handshake.random")]
    check_equal(len(servers), LIES + AFTER, "connections of the liar")
    check_equal([one in named for one in servers], [True] * LIES + [False] * AFTER, "whether the liar's lines were taken")
    check_equal(named - clients, set(servers[:LIES]), "lines of no ClientHello")


if __name__ == "__main__":
    main(odd)
