# SPDX-License-Identifier: GPL-2.0-or-later
"""TLS without keys: what programs in pods say over TLS is read by tshark in the capture, and only that of the pods that were
asked for. The truth is what curl writes to SSLKEYLOGFILE, and what the server was asked for."""
import contextlib
import glob
import os
import re
import subprocess
import time

from common import (Cluster, REMORADUMP, captured, check, check_equal, key_lines, main, packets, start_nodes, stop, wait_for,
                    wireshark)
from blocks import key_log
from demo import settled
from nginx import start_nginx, tls_server

FULL_SIZE = bool(os.environ.get("REMORA_FULL_SIZE"))
SHORT_LIVED = 1000 if FULL_SIZE else 200
RATE, SECONDS, CURLS = 200, 60 if FULL_SIZE else 5, 4  # new connections a second, from so many processes
DROPCOUNT = 4    # epb_dropcount
CLOSING = 8444  # the server's port that is for one request a connection
VERSIONS = {"1.2": "0x0303", "1.3": "0x0304"}

class Pods(Cluster):
    """Two clients and a server."""

    def build(self):
        self.add_host("worker-1", "10.99.0.11", "10.244.1.0/24")
        self.add_pod("shop", "server", "worker-1", "10.244.1.2")
        self.add_pod("shop", "client", "worker-1", "10.244.1.3")
        self.add_pod("other", "stranger", "worker-1", "10.244.1.4")

    def make_certificate(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", "/CN=server", "-addext", "subjectAltName=IP:10.244.1.2", "-keyout",
                        f"{self.folder}/tls.key", "-out", f"{self.folder}/tls.crt"], check=True, capture_output=True)

    def start_server(self):
        self.make_certificate()
        answer = 'location / { return 200 "you asked for $request_uri\\n"; }'
        versions = "ssl_protocols TLSv1.2 TLSv1.3;"
        start_nginx(self, "server", "nginx", tls_server(self.folder, "8443 ssl", versions, answer) +
                    tls_server(self.folder, f"{CLOSING} ssl", versions, "keepalive_timeout 0;", answer), CLOSING)

    def curl(self, pod, *urls, version="1.3", log=None):
        """Returns what the server answered."""
        environment = dict(os.environ, SSLKEYLOGFILE=log) if log else os.environ
        return self.exec(pod, ["curl", "-sS", "--max-time", "20", "--cacert", f"{self.folder}/tls.crt",
                               f"--tlsv{version}", "--tls-max", version,
                               *(f"https://10.244.1.2:8443{url}" for url in urls)],
                         env=environment, text=True, capture_output=True).stdout


def links(process):
    """BPF links that a process holds to functions of programs."""
    found = 0
    for name in glob.glob(f"/proc/{process.pid}/fdinfo/*"):
        try:
            with open(name, encoding="ascii") as file:
                text = file.read()
            found += bool(re.search(r"link_type:\tu(ret)?probe_multi|link_type:\tperf", text))
        except OSError:
            pass
    return found


def body_text(value):
    """http.file_data, which is text up to Wireshark 4.2 and bytes later."""
    try:
        return bytes.fromhex(value.replace(":", "")).decode()
    except ValueError:
        return value.replace("\\n", "\n")


class Capture:
    """remoradump to a file, for as long as the block lasts."""

    def __init__(self, cluster, endpoints, path, *options, pods=None):
        self.path, self.pods = path, pods or (1 if "--pod" in options else len(cluster.pods))
        self.endpoints, self.said = endpoints, ""
        self.process = subprocess.Popen([REMORADUMP, "--endpoint", ",".join(endpoints), "-w", path, *options],
                                        stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        wait_for(lambda: self.process.poll() is not None or captured(self.endpoints) == self.pods, "capture of all pods")
        return self

    def __exit__(self, kind, *_):
        if not kind:
            settled(self.path)
        status = stop(self.process)
        self.said = self.process.stderr.read()
        if not kind:
            check_equal(status, 0, f"remoradump's exit status ({self.said})")


def pods(folder):
    return Pods(os.path.join(folder, "pods"))


def wait_hooked(process):
    wait_for(lambda: links(process) > 0, "hooks")


def until_hooked(process, cluster, pod):
    """The first processes of a library may be gone before that is looked at: runs them until there is a hook."""
    wait_for(lambda: links(process) > 0 or not cluster.curl(pod, "/first"), "hooks")


def decrypted(folder):
    """Each request and answer, of both versions of TLS, and exactly the secrets that the clients knew."""
    tools, path = wireshark(folder), os.path.join(folder, "tls.pcapng")
    with pods(folder) as cluster:
        cluster.start_server()
        endpoints, processes = start_nodes(cluster)
        node = processes["worker-1"]
        check_equal(links(node), 0, "hooks before anybody asks")
        log = os.path.join(folder, "keys.log")
        with Capture(cluster, endpoints.values(), path, "--tls", "keys", "--pod", "server"):
            wait_hooked(node)
            asked = {version: [f"/{version}/{number}" for number in range(20)] for version in VERSIONS}
            for version, urls in asked.items():
                for url in urls:
                    check_equal(cluster.curl("client", url, version=version, log=log), f"you asked for {url}\n", "answer")
                # One connection for several requests.
                cluster.curl("client", f"/{version}/a", f"/{version}/b", version=version, log=log)
                urls += [f"/{version}/a", f"/{version}/b"]
        wait_for(lambda: links(node) == 0, "hooks to go with the stream")
    got = tools.fields(path, "http.request", "tls.handshake.version", "http.request.uri")
    check_equal([row[-1] for row in got], asked["1.2"] + asked["1.3"], "requests")
    bodies = tools.fields(path, "http.response", "http.file_data")
    check_equal([body_text(row[0]).strip() for row in bodies],
                [f"you asked for {url}" for url in asked["1.2"] + asked["1.3"]], "bodies")
    with open(log, encoding="ascii") as file:
        known = key_log(file.read())
    lines = key_lines(path)
    check(len(known) > 100, f"curl wrote {len(known)} lines only")
    check_equal(len(lines), len(set(lines)), "secrets told twice")
    check_equal(sorted(lines), sorted(set(known)), "secrets")


def off(folder):
    """Who does not ask is given nothing, and nothing is hooked; a node may refuse."""
    path = os.path.join(folder, "off.pcapng")
    with pods(folder) as cluster:
        cluster.start_server()
        endpoints, processes = start_nodes(cluster)
        with Capture(cluster, endpoints.values(), path):
            cluster.curl("client", "/quiet")
            check_equal(links(processes["worker-1"]), 0, "hooks though nobody asked")
        check_equal(key_lines(path), [], "secrets though nobody asked")
        cluster.kill(processes["worker-1"])
        os.unlink(f"{cluster.folder}/worker-1.sock") if os.path.exists(f"{cluster.folder}/worker-1.sock") else None
        endpoints, processes = start_nodes(cluster, "--tls", "off")
        result = subprocess.run([REMORADUMP, "--endpoint", ",".join(endpoints.values()), "-w", path, "--tls", "keys"],
                                text=True, capture_output=True, timeout=60, check=False)
        check(result.returncode != 0 and "--tls off" in result.stderr, f"not refused: {result.stderr}")


def others(folder):
    """A library is one file for all pods: what it says in a pod that was not asked for stays there."""
    path, log = os.path.join(folder, "others.pcapng"), {pod: os.path.join(folder, pod) for pod in ("client", "stranger")}
    with pods(folder) as cluster:
        cluster.start_server()
        endpoints, processes = start_nodes(cluster)
        with Capture(cluster, endpoints.values(), path, "--tls", "keys", "--pod", "client"):
            until_hooked(processes["worker-1"], cluster, "client")
            for number in range(10):
                for pod in ("client", "stranger"):
                    cluster.curl(pod, f"/{pod}/{number}", log=log[pod])
    known = {}
    for pod, name in log.items():
        with open(name, encoding="ascii") as file:
            known[pod] = set(key_log(file.read()))
    got = set(key_lines(path))
    check(not got & known["stranger"], "secrets of a pod that nobody asked for")
    check(known["client"] <= got, f"{len(known['client'] - got)} of {len(known['client'])} lines are missing")


def both_ends(folder):
    """Client and server are asked for: by one reader, who gets each secret once; and by one reader each, who get all of theirs."""
    log, paths = os.path.join(folder, "keys.log"), {name: os.path.join(folder, f"{name}.pcapng")
                                                    for name in ("all", "client", "server")}
    with pods(folder) as cluster:
        cluster.start_server()
        endpoints, processes = start_nodes(cluster)
        with contextlib.ExitStack() as stack:
            for name, path in paths.items():
                stack.enter_context(Capture(cluster, endpoints.values(), path, "--tls", "keys",
                                            *(() if name == "all" else ("--pod", name)), pods=3))
            wait_hooked(processes["worker-1"])
            for number in range(10):
                cluster.curl("client", f"/{number}", log=log)
    with open(log, encoding="ascii") as file:
        known = sorted(key_log(file.read()))
    for name, path in paths.items():
        check_equal(sorted(key_lines(path)), known, f"secrets for who asked for {name}")


def short_lived(folder):
    """Many processes of a few milliseconds each, in a pod that runs nothing else."""
    tools, path = wireshark(folder), os.path.join(folder, "short.pcapng")
    with pods(folder) as cluster:
        cluster.start_server()
        endpoints, processes = start_nodes(cluster)
        with Capture(cluster, endpoints.values(), path, "--tls", "keys", "--pod", "client"):
            until_hooked(processes["worker-1"], cluster, "client")
            for number in range(SHORT_LIVED):
                cluster.curl("client", f"/short/{number}")
    got = {row[0] for row in tools.fields(path, "http.request", "http.request.uri")}
    found = sum(f"/short/{number}" in got for number in range(SHORT_LIVED))
    print(f"  {found} of {SHORT_LIVED} short-lived processes decrypted")
    check(found >= 0.99 * SHORT_LIVED, f"{found} of {SHORT_LIVED}")


def many(folder):
    """So many new connections a second, at a server of several processes that is hooked."""
    tools, path = wireshark(folder), os.path.join(folder, "many.pcapng")
    each = RATE * SECONDS // CURLS
    with pods(folder) as cluster:
        cluster.start_server()
        endpoints, processes = start_nodes(cluster)
        with Capture(cluster, endpoints.values(), path, "--tls", "keys", "--pod", "server"):
            wait_hooked(processes["worker-1"])
            begin = time.monotonic()
            # Half of them with TLS 1.2; half of these, and of the others, never with a session of before.
            curls = [cluster.spawn("client", [
                "curl", "-sS", "--cacert", f"{cluster.folder}/tls.crt", "--rate", f"{RATE // CURLS}/s", "--tls-max",
                ("1.2", "1.3")[number % 2], *(("--no-sessionid",) if number < CURLS // 2 else ()),
                f"https://10.244.1.2:{CLOSING}/{number}/[1-{each}]"], log=f"curl-{number}.log") for number in range(CURLS)]
            for curl in curls:
                check_equal(curl.wait(10 * SECONDS + 60), 0, "curl's exit status")
            seconds = time.monotonic() - begin
    asked = {f"/{number}/{one}" for number in range(CURLS) for one in range(1, each + 1)}
    got = [row[0] for row in tools.fields(path, f"http.request && tcp.port == {CLOSING}", "http.request.uri")]
    with open(path, "rb") as file:
        lost = sum(int.from_bytes(value, "little") for *_, options in packets(file.read())
                   for value in options.get(DROPCOUNT, []))
    print(f"  {len(set(got) & asked)} of {len(asked)} connections decrypted, {len(asked) / seconds:.0f} a second; "
          f"{lost} packets lost")
    check_equal(len({line.split()[1] for line in key_lines(path)}), len(asked), "connections whose secrets were taken")
    check_equal(len(got), len(set(got)), "requests")
    # A machine that is too slow loses packets, and says so.
    check(set(got) <= asked and len(asked - set(got)) <= lost,
          f"{len(asked - set(got))} of {len(asked)} connections are not decrypted, {lost} packets were lost")


if __name__ == "__main__":
    main(decrypted, off, others, both_ends, short_lived, many)
