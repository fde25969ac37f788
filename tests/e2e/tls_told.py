# SPDX-License-Identifier: GPL-2.0-or-later
"""What is told of TLS: which programs of a pod are hooked and why not the others, in the list of targets, in the reader's
messages, in the numbers, and on the packets of each connection."""
import os
import subprocess
import sys

from common import REMORADUMP, check, check_equal, main, start_nodes, wait_for, wireshark
from tls import Capture, links, pods, until_hooked

LIBRARY = "/usr/lib/x86_64-linux-gnu/libssl.so.3"
NSS = "libssl3.so"
REASON = "LibreSSL is not hooked: it has the functions that set a key log, but no labels: they do nothing"

# A client that connects when it is told to, so that it is known by then.
CLIENT = """
import ssl, socket, sys
print("ready", flush=True)
sys.stdin.readline()
context = ssl.create_default_context(cafile=sys.argv[1])
with socket.create_connection(("10.244.1.2", 8443), 20) as plain, context.wrap_socket(plain, server_hostname="10.244.1.2") as tls:
    tls.sendall(b"GET /unseen HTTP/1.0\\r\\n\\r\\n")
    print(tls.recv(4096)[:12].decode(), flush=True)
"""
LOADS_NSS = "import ctypes, sys; ctypes.CDLL(sys.argv[1]); print('ready', flush=True); sys.stdin.readline()"


def without_labels(folder):
    """OpenSSL as it is but for the names that its key log gives to secrets: a library that cannot be hooked."""
    with open(LIBRARY, "rb") as file:
        data = file.read()
    for name in (b"CLIENT_", b"SERVER_", b"EXPORTER_", b"EARLY_"):
        for label in (b"RANDOM\0", b"EARLY_TRAFFIC_SECRET\0", b"HANDSHAKE_TRAFFIC_SECRET\0", b"TRAFFIC_SECRET_0\0",
                      b"SECRET\0", b"EXPORTER_SECRET\0"):
            data = data.replace(name + label, b"x" * (len(name + label) - 1) + b"\0")
    os.makedirs(f"{folder}/hidden")
    with open(f"{folder}/hidden/libssl.so.3", "wb") as file:
        file.write(data)
    os.chmod(f"{folder}/hidden/libssl.so.3", 0o755)
    return f"{folder}/hidden"


def start(cluster, pod, *command, **environment):
    process = cluster.spawn(pod, [sys.executable, "-c", *command], env=dict(os.environ, **environment), text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    check_equal(process.stdout.readline(), "ready\n", f"{pod}'s program")
    return process


def listed(endpoints):
    """Lines about TLS of remoradump --list-targets."""
    result = subprocess.run([REMORADUMP, "--list-targets", "--endpoint", ",".join(endpoints)], text=True, capture_output=True,
                            check=True)
    head, _, tls = result.stdout.partition("\n\n")
    check(head.startswith("NODE"), result.stdout)
    return tls.splitlines()


def row(endpoints, *parts):
    """The line that has all of these, once there is one."""
    found = []

    def look():
        found[:] = [line for line in listed(endpoints) if all(part in line for part in parts)]
        return found
    wait_for(look, f"a line with {parts}")
    check_equal(len(found), 1, f"lines with {parts}: {found}")
    return found[0]


def counters(endpoints):
    result = subprocess.run([REMORADUMP, "--status", "--endpoint", ",".join(endpoints)], text=True, capture_output=True, check=True)
    return {cells[0]: int(cells[1]) for cells in map(str.split, result.stdout.splitlines())
            if len(cells) == 2 and cells[1].isdigit()}


def told(folder):
    tools, path = wireshark(folder), os.path.join(folder, "told.pcapng")
    hidden = without_labels(folder)
    with pods(folder) as cluster:
        cluster.start_server()
        endpoints, processes = start_nodes(cluster)
        endpoints = list(endpoints.values())
        capture = Capture(cluster, endpoints, path, "--tls", "keys", "--pod", "client", "--pod", "stranger", pods=2)
        with capture:
            until_hooked(processes["worker-1"], cluster, "client")
            for number in range(3):
                cluster.curl("client", f"/seen/{number}")
            stranger = start(cluster, "stranger", CLIENT, f"{cluster.folder}/tls.crt", LD_LIBRARY_PATH=hidden)
            nss = start(cluster, "client", LOADS_NSS, NSS)

            line = row(endpoints, "other/stranger", hidden)
            check("LibreSSL  not hooked" in line and f"python3 {stranger.pid}" in line and REASON.split(": ", 1)[1] in line, line)
            line = row(endpoints, "shop/client", NSS)
            check("NSS " in line and "not hooked" in line and f"python3 {nss.pid}" in line, line)
            line = row(endpoints, "shop/client", "libssl.so.3", "OpenSSL")
            check(" hooked " in line, line)

            out, _ = stranger.communicate("go\n", timeout=60)
            check_equal(out, "HTTP/1.1 200\n", "the stranger's answer")
            line = row(endpoints, "shop/client", "connections seen")
            seen, with_secrets = int(line.split()[1]), int(line.split()[5])
            check(seen >= with_secrets >= 3, line)
            now = counters(endpoints)
            check(now["tls_hooked_files"] >= 1 and now["tls_hook_taken_total"] >= 15, now)
            check_equal((now["tls_hook_lost_total"], now["tls_hook_unreadable_total"], now["tls_hooks_withdrawn_total"]), (0, 0, 0),
                        "losses")
            nss.communicate("\n", timeout=60)
        wait_for(lambda: links(processes["worker-1"]) == 0, "hooks to go with the stream")
        check_equal(listed(endpoints), [], "what is listed when nobody asks")
        check_equal(counters(endpoints)["tls_hooked_files"], 0, "hooked files when nobody asks")
    said = [line for line in capture.said.splitlines() if "no TLS secrets" in line]
    for parts in (("other/stranger: ", hidden, REASON), ("shop/client: ", NSS, "NSS is not hooked: ")):
        lines = [line for line in said if all(part in line for part in parts)]
        check_equal(len(lines), 1, f"sentences with {parts} among {said}")
    for more in ((), ("-2",)):
        rows = set(tools.fields(path, "http.request.uri contains \"/seen/\"", "k8s.tls.source", "k8s.tls.reason", more=more))
        check_equal(rows, {("keys", "")}, f"connections of the hooked client ({more})")
        # From the ServerHello on in one pass.
        rows = set(tools.fields(path, "tls.app_data && k8s.pod.name == \"stranger\"", "k8s.tls.source", "k8s.tls.reason", more=more))
        check_equal(rows, {("none", REASON)}, f"the stranger's connection ({more})")


def not_asked(folder):
    """Who does not ask for secrets is told just that, on the packets."""
    tools, path = wireshark(folder), os.path.join(folder, "quiet.pcapng")
    with pods(folder) as cluster:
        cluster.start_server()
        endpoints, _ = start_nodes(cluster)
        capture = Capture(cluster, list(endpoints.values()), path)
        with capture:
            cluster.curl("client", "/quiet")
            check_equal(listed(endpoints.values()), [], "programs though nobody asked")
    check("no TLS secrets" not in capture.said, capture.said)
    rows = set(tools.fields(path, "tls.app_data", "k8s.tls.source", "k8s.tls.reason"))
    check_equal(rows, {("none", "no secrets were asked for")}, "fields")


if __name__ == "__main__":
    main(told, not_asked)
