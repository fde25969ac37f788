# SPDX-License-Identifier: GPL-2.0-or-later
"""Hooks on real programs against the key logs that these write themselves: the same lines, none missing, none besides. This
also proves what the finder found. Needs root."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from explained import BUILD, check, check_equal, run

KEY_LOG = os.path.join(BUILD, "tests/node-capture/tls/tls-key-log")
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
OPENSSL, GNUTLS = f"{LIBRARIES}/libssl.so.3", f"{LIBRARIES}/libgnutls.so.30"
VERSIONS = ("1.2", "1.3")


class Hooks:
    """Lines of the hooks while it is open; then `lines` [(line, pid)] and `counters`."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([KEY_LOG, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        check_equal(self.process.stdout.readline(), "# ready\n", "hooks are set")

    def close(self):
        out, _ = self.process.communicate(timeout=60)
        check_equal(self.process.returncode, 0, "hooks ended")
        *lines, last = out.splitlines()
        self.lines = [(line.split(" # ")[0], int(line.split(" # ")[1])) for line in lines]
        words = last.split()[1:]
        self.counters = {name: int(number) for name, number in zip(words[::2], words[1::2])}
        return self

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            if kind:
                self.process.kill()
                self.process.communicate()
            else:
                self.close()


def key_log(path):
    with open(path, encoding="ascii") as file:
        return [line.strip() for line in file if line.strip() and not line.startswith("#")]


def compare(hooks, path, connections, pid=None):
    """The hooks of one process (or of all) against its key log."""
    truth = key_log(path)
    check(len(truth) >= connections, f"{len(truth)} lines of {connections} connections")
    got = [line for line, owner in hooks.lines if pid is None or owner == pid]
    check_equal(sorted(set(truth) - set(got)), [], "missing")
    check_equal(sorted(set(got) - set(truth)), [], "besides")
    return truth, got


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_listening(port, process):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        check(process.poll() is None, "the server ended")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("nobody listens")


def certificate(folder):
    key, cert = os.path.join(folder, "key.pem"), os.path.join(folder, "cert.pem")
    if not os.path.exists(cert):
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    return key, cert


@contextlib.contextmanager
def server(folder, *options):
    """openssl s_server that answers over HTTP; its port and process. By default its own secrets come from OpenSSL, too."""
    key, cert = certificate(folder)
    port = free_port()
    # Without -www it ends with its standard input.
    process = subprocess.Popen(["openssl", "s_server", *([] if "-early_data" in options else ["-www"]), "-quiet", "-accept", str(port), "-key", key, "-cert", cert,
                                *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.PIPE)
    try:
        wait_listening(port, process)
        yield port, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.stdin.close()
        process.wait(30)


def curl(port, log, version, times=1):
    for _ in range(times):
        run("curl", "-sk", "--tlsv1.2", "--tls-max", version, "-o", "/dev/null", f"https://127.0.0.1:{port}/",
            env=dict(os.environ, SSLKEYLOGFILE=log))


def test_openssl(folder):
    """curl against s_server, both ends hooked: both see the same secrets, each once."""
    for version in VERSIONS:
        client, peer = os.path.join(folder, f"client-{version}"), os.path.join(folder, f"server-{version}")
        with Hooks(OPENSSL) as hooks:
            with server(folder, "-keylogfile", peer) as (port, process):
                curl(port, client, version, times=5)
            hooks.close()
        _, by_server = compare(hooks, peer, 5, process.pid)
        compare(hooks, client, 5)
        check_equal(len(by_server), len(set(by_server)), "the server's lines are told once")
        check_equal((hooks.counters["lost"], hooks.counters["unreadable"]), (0, 0), "counters")


def s_client(port, log, session, *options):
    """A connection that is closed when the session for the next one is there; what s_client said."""
    if os.path.exists(session):
        os.rename(session, session + ".before")
    with subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-keylogfile", log, "-sess_out", session,
                           *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        deadline = time.monotonic() + 60
        while not os.path.exists(session) or not os.path.getsize(session):
            check(process.poll() is None and time.monotonic() < deadline, "no session")
            time.sleep(0.01)
        return process.communicate(timeout=60)[0]


def test_resumption_and_early_data(folder):
    """s_client with a session of before; in TLS 1.3 with early data."""
    early = os.path.join(folder, "early")
    with open(early, "w", encoding="ascii") as file:
        file.write("GET / HTTP/1.0\r\n\r\n")
    for version, label in (("-tls1_2", "CLIENT_RANDOM"), ("-tls1_3", "CLIENT_EARLY_TRAFFIC_SECRET")):
        log, session = os.path.join(folder, f"log{version}"), os.path.join(folder, f"session{version}")
        with Hooks(OPENSSL) as hooks:
            with server(folder, version, *(["-early_data"] if version == "-tls1_3" else [])) as (port, _):
                first = s_client(port, log, session, version)
                extra = ["-early_data", early] if version == "-tls1_3" else []
                second = s_client(port, log, session, version, "-sess_in", session + ".before", *extra)
            hooks.close()
        check("New, TLSv1" in first and "Reused, TLSv1" in second, "the second one is resumed")
        truth, _ = compare(hooks, log, 2)
        check(any(line.startswith(label + " ") for line in truth), f"no {label}")


def test_gnutls(folder):
    """wget is a client with GnuTLS, against a server whose library is not hooked."""
    wget = shutil.which("wget")
    check(wget and "libgnutls" in run("ldd", wget), "wget with GnuTLS")
    for version in VERSIONS:
        log = os.path.join(folder, f"log-{version}")
        with Hooks(GNUTLS) as hooks:
            with server(folder, "-tls1_2" if version == "1.2" else "-tls1_3") as (port, _):
                for _ in range(3):
                    run(wget, "-q", "--no-check-certificate", "-O", "/dev/null", f"https://127.0.0.1:{port}/",
                        env=dict(os.environ, SSLKEYLOGFILE=log))
            hooks.close()
        compare(hooks, log, 3)


GO_CLIENT = """package main
import ("crypto/tls"; "os"; "io")
func main() {
    log, _ := os.OpenFile(os.Args[2], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0600)
    for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13, tls.VersionTLS13} {
        c, err := tls.Dial("tcp", os.Args[1], &tls.Config{InsecureSkipVerify: true, KeyLogWriter: log, MaxVersion: version})
        if err != nil { panic(err) }
        io.WriteString(c, "GET / HTTP/1.0\\r\\n\\r\\n")
        io.Copy(io.Discard, c)
        c.Close()
    }
}
"""


def test_go(folder):
    source, path, log = (os.path.join(folder, name) for name in ("main.go", "client", "log"))
    with open(source, "w", encoding="ascii") as file:
        file.write(GO_CLIENT)
    run("go", "build", "-ldflags", "-s -w", "-o", path, source,
        env=dict(os.environ, GOCACHE=os.path.join(folder, "cache"), GO111MODULE="off", GOFLAGS="", CGO_ENABLED="0"))
    with Hooks(path) as hooks:
        with server(folder) as (port, _):
            run(path, f"127.0.0.1:{port}", log)
        hooks.close()
    compare(hooks, log, 3)


def test_only_targets(folder):
    """A probe is in the file: what runs in other control groups passes, and is counted."""
    group = f"/sys/fs/cgroup/remora-tls-{os.getpid()}"
    log, other = os.path.join(folder, "log"), os.path.join(folder, "other")
    os.mkdir(group)
    try:
        with Hooks("-g", str(os.stat(group).st_ino), OPENSSL) as hooks:
            with server(folder) as (port, _):
                curl(port, other, "1.3")
                run("sh", "-c", f'echo $$ > {group}/cgroup.procs; exec curl -sk -o /dev/null https://127.0.0.1:{port}/',
                    env=dict(os.environ, SSLKEYLOGFILE=log))
            hooks.close()
    finally:
        os.rmdir(group)
    compare(hooks, log, 1)
    check(hooks.counters["passed"] >= 2 * len(key_log(log)), f"{hooks.counters}: the server and the other client passed")


def test_nothing_is_left(_):
    """After the end, also a violent one, no program of ours is loaded."""
    with Hooks(OPENSSL, GNUTLS) as hooks:
        check("on_key_log" in run("bpftool", "prog"), "it is loaded now")
        hooks.process.kill()
        hooks.process.wait(30)
        hooks.process.stdin.close()
        hooks.process.stdout.close()
    deadline = time.monotonic() + 30
    while "on_key_log" in run("bpftool", "prog"):
        check(time.monotonic() < deadline, "a program is left")
        time.sleep(0.05)


TESTS = [test_openssl, test_resumption_and_early_data, test_gnutls, test_go, test_only_targets, test_nothing_is_left]

if __name__ == "__main__":
    if os.geteuid() != 0 or os.uname().machine != "x86_64":
        print("needs root, and the libraries of x86-64")
        sys.exit(77)
    wanted = sys.argv[1:]
    for test in TESTS:
        if not wanted or test.__name__ in wanted:
            with tempfile.TemporaryDirectory(prefix="remora-tls-") as scratch:
                test(scratch)
            print(f"ok - {test.__name__}", flush=True)
