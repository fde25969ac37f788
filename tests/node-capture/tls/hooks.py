# SPDX-License-Identifier: GPL-2.0-or-later
"""Hooks on real programs against the key logs that these write themselves: the same lines, none missing, none besides. This
also proves what the finder found. Needs root."""
import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from explained import BUILD, check, check_equal, go_build, run

KEY_LOG = os.path.join(BUILD, "tests/node-capture/tls/tls-key-log")
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
OPENSSL, GNUTLS = f"{LIBRARIES}/libssl.so.3", f"{LIBRARIES}/libgnutls.so.30"
VERSIONS = ("1.2", "1.3")


class Namespace:
    """A network namespace of our own: a probe is in a file, and others on this machine use that, too."""

    CLONE_NEWNET = 0x40000000

    def __init__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)

    def __enter__(self):
        self.before = os.open("/proc/self/ns/net", os.O_RDONLY)
        if self.libc.unshare(self.CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        self.inside = os.open("/proc/self/ns/net", os.O_RDONLY)
        run("ip", "link", "set", "lo", "up")
        return self

    def __exit__(self, *_):
        self.enter(self.before)
        os.close(self.before)
        os.close(self.inside)

    def enter(self, fd):
        if self.libc.setns(fd, self.CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    @contextlib.contextmanager
    def left(self):
        """Back where we were."""
        self.enter(self.before)
        try:
            yield
        finally:
            self.enter(self.inside)


NAMESPACE = Namespace()


class Hooks:
    """Lines of the hooks while it is open; then `lines` [(line, pid)] and `counters`."""

    def __init__(self, *arguments):
        namespace = str(os.stat("/proc/self/ns/net").st_ino)
        self.process = subprocess.Popen([KEY_LOG, "-n", namespace, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        check_equal(self.process.stdout.readline(), "# ready\n", "hooks are set")

    def detach(self):
        """All of them; lines that come before are lost to the test."""
        self.process.stdin.write("d")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("#"):
                check_equal(line, "# detached\n", "hooks are taken off")
                return

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


def wait_until(condition, message):
    deadline = time.monotonic() + 60
    while not condition():
        check(time.monotonic() < deadline, message)
        time.sleep(0.01)


def s_client(folder, port, done, *options):
    """A connection that is closed when `done` of what s_client has said so far."""
    said = os.path.join(folder, "said")
    with open(said, "w+", encoding="utf-8") as file, \
            subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options], stdin=subprocess.PIPE,
                             stdout=file, stderr=subprocess.DEVNULL) as process:
        def is_done():
            check(process.poll() is None, "s_client ended")
            file.seek(0)
            return done(file.read())
        wait_until(is_done, "s_client has not come so far")


def test_resumption_and_early_data(folder):
    """s_client with a session of before; in TLS 1.3 with early data."""
    early = os.path.join(folder, "early")
    with open(early, "w", encoding="ascii") as file:
        file.write("GET / HTTP/1.0\r\n\r\n")
    for version, label in (("-tls1_2", "CLIENT_RANDOM"), ("-tls1_3", "CLIENT_EARLY_TRAFFIC_SECRET")):
        log, session = os.path.join(folder, f"log{version}"), os.path.join(folder, f"session{version}")
        with Hooks(OPENSSL) as hooks:
            with server(folder, version, *(["-early_data"] if version == "-tls1_3" else [])) as (port, _):
                common = ("-keylogfile", log, version)
                s_client(folder, port, lambda said: "New, TLSv1" in said and os.path.exists(session) and os.path.getsize(session),
                         *common, "-sess_out", session)
                extra = ["-early_data", early] if version == "-tls1_3" else []
                s_client(folder, port, lambda said: "Reused, TLSv1" in said, *common, "-sess_in", session, *extra)
            hooks.close()
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


BORINGSSL = f"{LIBRARIES}/android/libssl.so.0"
BORINGSSL_CLIENT = f"""
import ctypes, socket, sys
ssl = ctypes.CDLL("{BORINGSSL}")
for name in ("TLS_method", "SSL_CTX_new", "SSL_new"):
    getattr(ssl, name).restype = ctypes.c_void_p
session = ctypes.c_void_p(ssl.SSL_new(ctypes.c_void_p(ssl.SSL_CTX_new(ctypes.c_void_p(ssl.TLS_method())))))
server = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
ssl.SSL_set_fd(session, server.fileno())
assert ssl.SSL_connect(session) == 1
ssl.SSL_write(session, b"GET / HTTP/1.0\\r\\n\\r\\n", 18)
assert ssl.SSL_read(session, ctypes.create_string_buffer(1000), 1000) > 0
"""


def test_boringssl(folder):
    """No program of Debian's speaks TLS with it, so one is made; the server, which is not hooked, says what is right."""
    for version in ("-tls1_2", "-tls1_3"):
        log = os.path.join(folder, f"log{version}")
        with Hooks(BORINGSSL) as hooks:
            with server(folder, version, "-keylogfile", log) as (port, _):
                for _ in range(3):
                    run(sys.executable, "-c", BORINGSSL_CLIENT, str(port))
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
    go_build(path, source, "-ldflags", "-s -w")
    with Hooks(path) as hooks:
        with server(folder) as (port, _):
            run(path, f"127.0.0.1:{port}", log)
        hooks.close()
    compare(hooks, log, 3)


def test_only_targets(folder):
    """A probe is in the file: what runs in other network namespaces passes, and is counted."""
    log, other = os.path.join(folder, "log"), os.path.join(folder, "other")
    with Hooks(OPENSSL) as hooks:
        with server(folder) as (port, _):
            curl(port, log, "1.3")
        with NAMESPACE.left(), server(folder) as (port, _):
            curl(port, other, "1.3")
        hooks.close()
    others = key_log(other)
    check(others, "the other one has secrets")
    check_equal(sorted(set(key_log(log)) ^ {line for line, _ in hooks.lines}), [], "lines")
    check(hooks.counters["passed"] >= 2 * len(others), f"{hooks.counters}, and {len(others)} at each end of the other connection")


def test_detached(folder):
    """What was hooked and is no longer gives nothing."""
    log = os.path.join(folder, "log")
    with Hooks(OPENSSL, GNUTLS) as hooks:
        hooks.detach()
        with server(folder) as (port, _):
            curl(port, log, "1.3")
        hooks.close()
    check(key_log(log), "there was a connection")
    check_equal(hooks.lines, [], "lines")
    check_equal(hooks.counters["taken"], 0, "taken")


def programs():
    """Numbers of all programs that are loaded."""
    return {program["id"] for program in json.loads(run("bpftool", "-j", "prog"))}


def programs_of(pid):
    numbers = set()
    for name in os.listdir(f"/proc/{pid}/fdinfo"):
        # Some are open for a moment only.
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/fdinfo/{name}", encoding="ascii") as file:
            numbers |= {int(line.split()[1]) for line in file if line.startswith("prog_id:")}
    return numbers


def test_nothing_is_left(_):
    """After the end, also a violent one, no program of ours is loaded."""
    with Hooks(OPENSSL, GNUTLS) as hooks:
        ours = programs_of(hooks.process.pid)
        check(len(ours) == 2 and ours <= programs(), f"loaded now: {ours}")
        hooks.process.kill()
        hooks.process.wait(30)
        hooks.process.stdin.close()
        hooks.process.stdout.close()
    wait_until(lambda: not ours & programs(), "a program is left")


TESTS = [test_openssl, test_resumption_and_early_data, test_gnutls, test_boringssl, test_go, test_only_targets, test_detached, test_nothing_is_left]

if __name__ == "__main__":
    if os.geteuid() != 0 or os.uname().machine != "x86_64":
        print("needs root, and the libraries of x86-64")
        sys.exit(77)
    wanted = sys.argv[1:]
    for test in TESTS:
        if not wanted or test.__name__ in wanted:
            with NAMESPACE, tempfile.TemporaryDirectory(prefix="remora-tls-") as scratch:
                test(scratch)
            print(f"ok - {test.__name__}", flush=True)
