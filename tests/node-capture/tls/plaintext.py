# SPDX-License-Identifier: GPL-2.0-or-later
"""Plaintext that is taken from real programs against what these said: byte for byte, in order, and of nobody else. Needs root."""
import contextlib
import ctypes
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from explained import BUILD, check, check_equal, go_build, run
from hooks import BORINGSSL, GNUTLS, NAMESPACE, certificate, curl, programs, programs_of, server, wait_until

TAKEN = os.path.join(BUILD, "tests/node-capture/tls/tls-plaintext-taken")
PEER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "plaintext-peer.py")
KEYS, REST, EVERY = 1, 2, 4
MEGABYTE = 1000000
HOST = "127.0.0.1"


def body(seed, length):
    """The same in plaintext-peer.py and in both ends."""
    return random.Random(seed).randbytes(length)


class Connection:
    """What was told of one."""

    def __init__(self, folder, number, pid):
        self.folder, self.number, self.pid = folder, number, pid
        self.pieces = {"r": [], "w": []}  # (offset, length)
        self.flags, self.sockets = set(), set()
        self.ended = False

    def told(self, direction, offset, length, from_start, secrets, is_server, family, local, remote):
        check(not self.ended, f"{self.number} goes on after its end")
        self.pieces[direction].append((int(offset), int(length)))
        self.flags.add((int(from_start), int(secrets), int(is_server)))
        self.sockets.add((int(family), local, remote))

    def bytes(self, direction):
        """Without holes, each byte once, in order."""
        position = 0
        for offset, length in self.pieces[direction]:
            check_equal(offset, position, f"{self.number} {direction}: what comes next")
            position += length
        if not position:
            return b""
        with open(f"{self.folder}/{self.number}.{direction}", "rb") as file:
            return file.read()


class Taken:
    """What TlsKeys tells of this network namespace while it is open."""

    def __init__(self, folder, take):
        self.folder = tempfile.mkdtemp(dir=folder)
        namespace = str(os.stat("/proc/self/ns/net").st_ino)
        self.connections, self.keys, self.problems = {}, [], []
        self.process = subprocess.Popen([TAKEN, self.folder, namespace, str(take)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.error = None
        self.reader.start()

    def read(self):
        try:
            for line in self.process.stdout:
                first, second, *rest = line.split()
                if first == "key":
                    self.keys.append(rest[0])
                elif first == "problem":
                    self.problems.append(line)
                elif rest == ["end"]:
                    self.connections[second].ended = True
                else:
                    self.connections.setdefault(second, Connection(self.folder, second, int(first))).told(*rest)
        except (AssertionError, KeyError, ValueError) as error:
            self.error = error

    def want(self, take):
        self.process.stdin.write(f"{take}\n")
        self.process.stdin.flush()

    def links(self):
        """Kinds of links that the process holds."""
        found = []
        for name in os.listdir(f"/proc/{self.process.pid}/fdinfo"):
            with contextlib.suppress(OSError), open(f"/proc/{self.process.pid}/fdinfo/{name}", encoding="ascii") as file:
                found += [line.split()[1] for line in file if line.startswith("link_type:")]
        return found

    def wait_hooks(self, count):
        """In functions: one of secrets in each library, two of plaintext; more where the kernel makes one of each point."""
        self.wait(lambda: sum("probe_multi" in kind or kind == "perf" for kind in self.links()) >= count, "no hooks")

    def of(self, *pids):
        return [connection for connection in list(self.connections.values()) if connection.pid in pids]

    def wait(self, condition, message):
        wait_until(lambda: self.check() and condition(), message)

    def check(self):
        if self.error:
            raise self.error
        return True

    def __enter__(self):
        self.wait(lambda: "raw_tracepoint" in self.links() or self.problems, "nothing is loaded")
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.process.kill()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(60)
        self.reader.join()
        self.check()
        check(kind or self.process.returncode == 0, "it ended badly")


class Peer:
    """A program of plaintext-peer.py, which does what it is told by lines."""

    def __init__(self, *arguments, command=(sys.executable, PEER)):
        self.process = subprocess.Popen([*command, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        self.first = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        check(line, "the peer has ended")
        return line.strip()

    def do(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def hooked(folder, take, *arguments, kind="serve"):
    """A server that answers each request with as many bytes of the next seed, and the hooks, which have seen a connection."""
    with Taken(folder, take) as taken, Peer(kind, *certificate(folder)) as peer:
        peer.port = int(peer.first)
        taken.wait_hooks(3)
        yield taken, peer


def said(seed, length):
    return b"%d %d\n" % (seed, length) + body(seed, length)


def compare(taken, pids, seeds, length, *, server_pid=None, family=4, ends=True):
    """Of each seed one connection at each end that is looked at, with all that was said."""
    both = set(pids) | ({server_pid} if server_pid else set())
    def is_done():
        found = taken.of(*both)
        return sum(sum(n for _, n in c.pieces["r"] + c.pieces["w"]) for c in found) >= total and (
            not ends or all(c.ended for c in found))
    expected = {said(seed, length): body(seed + 1, length) for seed in seeds}
    total = sum(map(len, [*expected, *expected.values()])) * (2 if server_pid else 1)
    with contextlib.suppress(AssertionError):
        taken.wait(is_done, "not all was told")
    for ours, up, down in [(pids, "w", "r")] + ([((server_pid,), "r", "w")] if server_pid else []):
        got = {connection.bytes(up): connection for connection in taken.of(*ours)}
        check_equal(len(got), len(expected), f"connections {up}")
        for request, answer in expected.items():
            check(request in got, f"{up}: a request is not there as it was said")
            check(got[request].bytes(down) == answer, f"{down}: an answer is not as it was said")
        for connection in got.values():
            check_equal({flags[2] for flags in connection.flags}, {int(up == "r")} if family else {connection_role(connection)}, "role")
            check_equal({socket[0] for socket in connection.sockets}, {family}, "family")
            check(connection.ended or not ends, "its end")
    if server_pid and family:
        client = {socket[1:] for c in taken.of(*pids) for socket in c.sockets}
        check_equal({socket[:0:-1] for c in taken.of(server_pid) for socket in c.sockets}, client, "addresses of both ends")


def connection_role(connection):
    return next(iter(connection.flags))[2]


def test_python_threads(folder):
    """Four threads at each end, a megabyte each way, sockets that do not block."""
    with hooked(folder, EVERY) as (taken, peer), Peer("connect", peer.port) as client:
        for version in ("1.2", "1.3"):
            client.do("many", version, 4, 1000, MEGABYTE)
            compare(taken, [client.pid], range(1000, 1008, 2), MEGABYTE, server_pid=peer.pid)
            check_equal({flags[:2] for c in taken.of(client.pid, peer.pid) for flags in c.flags}, {(1, 0)}, "from the start, no secrets")
            taken.connections.clear()
    check_equal(taken.problems, [], "problems")


def test_address_reuse(folder):
    """Fifty connections, one after the other: the library uses the same memory again."""
    with hooked(folder, EVERY) as (taken, peer), Peer("connect", peer.port) as client:
        addresses = int(client.do("each", "1.3", 50, 3000, 500))
        compare(taken, [client.pid], range(3000, 3100, 2), 500, server_pid=peer.pid)
        check(addresses < 50, "no address was used again")


def test_began_before(folder):
    """What is said from the hook on, of a connection that was there; and which secrets it is known to have told."""
    with Peer("serve", *certificate(folder)) as peer, Peer("connect", int(peer.first)) as client:
        client.do("open", "1.3", "old")
        client.do("say", "old", 10, 100)
        with Taken(folder, KEYS | EVERY) as taken:
            taken.wait_hooks(3)
            client.do("say", "old", 12, 100)
            client.do("open", "1.3", "new")
            client.do("say", "new", 14, 100)
            taken.wait(lambda: len(taken.of(client.pid)) == 2 and len(taken.of(peer.pid)) == 2 and
                       all(c.pieces["r"] and c.pieces["w"] for c in taken.of(client.pid, peer.pid)), "both connections")
            found = {c.bytes("w"): c for c in taken.of(client.pid)}
            check_equal(set(found), {said(12, 100), said(14, 100)}, "what was said")
            check_equal(found[said(12, 100)].flags, {(0, 0, 0)}, "the old one")
            check_equal(found[said(14, 100)].flags, {(1, 1, 0)}, "the new one")
            check_equal({f for c in taken.of(peer.pid) for f in c.flags}, {(0, 0, 1), (1, 1, 1)}, "their servers'")
            check(taken.keys, "there are secrets")
            # From now on only what has no secrets.
            taken.want(KEYS | REST)
            client.do("open", "1.2", "newest")
            wait_until(lambda: is_rest(client, taken, found[said(12, 100)]), "the old one goes on")
            before = len(found[said(14, 100)].pieces["w"])
            client.do("say", "new", 16, 100)
            client.do("say", "newest", 18, 100)
            client.do("say", "old", 20, 100)
            taken.wait(lambda: found[said(12, 100)].bytes("w").endswith(said(20, 100)), "the old one goes on")
            check_equal(len(found[said(14, 100)].pieces["w"]), before, "of the new one nothing more")
            check_equal(len(taken.of(client.pid)), 2, "and nothing of the newest")


def is_rest(client, taken, old):
    """The process has heard what is wanted now: of a connection with secrets nothing comes any more."""
    counts = len(old.pieces["r"]), sum(len(c.pieces["r"]) for c in taken.of(client.pid) if c is not old)
    client.do("say", "new", 22, 10)
    client.do("say", "old", 24, 10)
    taken.wait(lambda: len(old.pieces["r"]) > counts[0], "the old one goes on")
    return sum(len(c.pieces["r"]) for c in taken.of(client.pid) if c is not old) == counts[1]


def test_killed(folder):
    """The end of a process is the end of its connections."""
    with hooked(folder, EVERY) as (taken, peer), Peer("connect", peer.port) as client:
        client.do("open", "1.3", "c")
        client.do("say", "c", 30, 10)
        taken.wait(lambda: len(taken.of(client.pid)) == 1, "the connection")
        client.process.send_signal(signal.SIGKILL)
        taken.wait(lambda: taken.of(client.pid)[0].ended and taken.of(peer.pid)[0].ended, "both ends' end")


def test_memory_bios(folder):
    """asyncio reads sockets by itself: the bytes are right, the socket is not known by nesting."""
    with hooked(folder, EVERY, kind="serve-async") as (taken, peer), Peer("connect", peer.port) as client:
        client.do("many", "1.3", 4, 1000, 100000)
        compare(taken, [client.pid], range(1000, 1008, 2), 100000)
        compare_server(taken, peer.pid, range(1000, 1008, 2), 100000)


def compare_server(taken, pid, seeds, length):
    """No captured packets are told here, so what has no socket comes when that was waited for."""
    total = sum(len(said(seed, length)) + length for seed in seeds)
    with contextlib.suppress(AssertionError):
        taken.wait(lambda: sum(n for c in taken.of(pid) for n in map(lambda p: p[1], c.pieces["r"] + c.pieces["w"])) >= total, "all")
    got = {c.bytes("r"): c.bytes("w") for c in taken.of(pid)}
    check_equal(got, {said(seed, length): body(seed + 1, length) for seed in seeds}, "the server's")


def test_openssl_programs(folder):
    """curl and s_server, which writes through a BIO: what curl prints is the truth."""
    with Taken(folder, EVERY) as taken, server(folder) as (port, process):
        taken.wait_hooks(3)
        page = subprocess.run(["curl", "-ski", "--max-time", "20", f"https://{HOST}:{port}/"], capture_output=True, check=True).stdout
        taken.wait(lambda: len(taken.connections) == 2 and all(c.ended for c in taken.connections.values()), "both ends")
        ends = taken.of(process.pid), [c for c in taken.connections.values() if c.pid != process.pid]
        check_equal(ends[0][0].bytes("w"), page, "what s_server has written")
        check_equal(ends[1][0].bytes("r"), page, "what curl has read")
        check_equal(ends[0][0].bytes("r"), ends[1][0].bytes("w"), "the request")


def test_gnutls(folder):
    """wget's answer of a megabyte, from a server with OpenSSL."""
    out = os.path.join(folder, "page")
    with hooked(folder, EVERY, kind="serve-http") as (taken, peer):
        # The first process of a library may be too early for it to be hooked.
        with Peer(command=(sys.executable, "-c", f"import ctypes, sys; ctypes.CDLL('{GNUTLS}'); print(1, flush=True); sys.stdin.read()")):
            taken.wait_hooks(6)
        for seed in (40, 42):
            run("wget", "-q", "--no-check-certificate", "-O", out, f"https://{HOST}:{peer.port}/{seed}/{MEGABYTE}")
            with open(out, "rb") as file:
                check(file.read() == body(seed, MEGABYTE), "wget has read it")
        taken.wait(lambda: len(taken.connections) == 4 and all(c.ended for c in taken.connections.values()), "both ends")
        servers, clients = taken.of(peer.pid), [c for c in taken.connections.values() if c.pid != peer.pid]
        check_equal([c.bytes("r") for c in clients], [c.bytes("w") for c in servers], "what both have said")
        for seed, c in zip((40, 42), clients):
            check(c.bytes("r").endswith(b"\r\n\r\n" + body(seed, MEGABYTE)), "a page")
            check_equal((c.flags, {s[0] for s in c.sockets}), ({(1, 0, 0)}, {4}), "client")


BORINGSSL_CLIENT = f"""
import ctypes, socket, sys
sys.path.insert(0, {os.path.dirname(PEER)!r})
from random import Random
ssl = ctypes.CDLL("{BORINGSSL}")
for name in ("TLS_method", "SSL_CTX_new", "SSL_new"):
    getattr(ssl, name).restype = ctypes.c_void_p
session = ctypes.c_void_p(ssl.SSL_new(ctypes.c_void_p(ssl.SSL_CTX_new(ctypes.c_void_p(ssl.TLS_method())))))
print("ready", flush=True)
sys.stdin.readline()
server = socket.create_connection(("{HOST}", int(sys.argv[1])))
ssl.SSL_set_fd(session, server.fileno())
assert ssl.SSL_connect(session) == 1
text = b"50 70000\\n" + Random(50).randbytes(70000)
assert ssl.SSL_write(session, text, len(text)) == len(text)
got, buffer = b"", ctypes.create_string_buffer(9000)
while len(got) < 70000:
    n = ssl.SSL_read(session, buffer, 9000)
    assert n > 0
    got += buffer.raw[:n]
ssl.SSL_free(session)
print("done", flush=True)
"""


def test_boringssl(folder):
    with hooked(folder, EVERY) as (taken, peer), Peer(peer.port, command=(sys.executable, "-c", BORINGSSL_CLIENT)) as client:
        taken.wait_hooks(6)
        client.do("go")
        compare(taken, [client.pid], [50], 70000, server_pid=peer.pid)


GNUTLS_CLIENT = f"""
import ctypes, socket, sys
sys.path.insert(0, {os.path.dirname(PEER)!r})
from random import Random
tls = ctypes.CDLL("{GNUTLS}")
session, trust, packet, server = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p(), socket.socket()
print("ready", flush=True)
sys.stdin.readline()
server.connect(("{HOST}", int(sys.argv[1])))
tls.gnutls_certificate_allocate_credentials(ctypes.byref(trust))
tls.gnutls_init(ctypes.byref(session), 2)
tls.gnutls_set_default_priority(session)
tls.gnutls_credentials_set(session, 1, trust)
tls.gnutls_transport_set_int2(session, server.fileno(), server.fileno())
assert tls.gnutls_handshake(session) == 0
text = b"50 20000\\n" + Random(50).randbytes(20000)
while text:
    text = text[tls.gnutls_record_send(session, text, len(text)):]
first = AGAIN = -28
while first == AGAIN:
    first = got = tls.gnutls_record_recv_packet(session, ctypes.byref(packet))
tls.gnutls_packet_deinit(packet)
buffer = ctypes.create_string_buffer(9000)
while got < 20000:
    more = tls.gnutls_record_recv(session, buffer, 9000)
    assert more > 0 or more == AGAIN
    got += max(more, 0)
tls.gnutls_deinit(session)
print(first, flush=True)
"""


def test_unseen(folder):
    """What was read in a way that cannot be taken is a hole of just its size."""
    with hooked(folder, EVERY) as (taken, peer), Peer(peer.port, command=(sys.executable, "-c", GNUTLS_CLIENT)) as client:
        taken.wait_hooks(6)
        first = int(client.do("go"))
        check(0 < first < 20000, first)
        taken.wait(lambda: taken.of(client.pid) and taken.of(client.pid)[0].ended, "its end")
        connection, = taken.of(client.pid)
        check_equal(connection.bytes("w"), said(50, 20000), "what it has said")
        check_equal(connection.pieces["r"][0][0], first, "where the rest begins")
        with open(f"{connection.folder}/{connection.number}.r", "rb") as file:
            check_equal(file.read(), bytes(first) + body(51, 20000)[first:], "what it has read")


def test_go(folder):
    """Eight goroutines at each end, in a program without symbols."""
    path = os.path.join(folder, "peer")
    go_build(path, os.path.join(os.path.dirname(PEER), "plaintext-peer.go"), "-ldflags", "-s -w")
    key, cert = certificate(folder)
    for version in ("1.2", "1.3"):
        with Taken(folder, KEYS | EVERY) as taken, Peer("serve", key, cert, command=[path]) as peer, \
                Peer("connect", peer.first, version, command=[path]) as client:
            taken.wait_hooks(2)
            client.do("many", 8, 100000)
            seeds = range(8)
            both = {c.bytes("w"): c.bytes("r") for c in wait_all(taken, client.pid, 8, 200000)}
            check_equal(both, {b"%c" % (65 + i) * 100000: b"%c" % (97 + i) * 100000 for i in seeds}, "what the client said")
            both = {c.bytes("r"): c.bytes("w") for c in wait_all(taken, peer.pid, 8, 200000)}
            check_equal(both, {b"%c" % (65 + i) * 100000: b"%c" % (97 + i) * 100000 for i in seeds}, "what the server said")
            check_equal({f for c in taken.of(client.pid) for f in c.flags}, {(1, 1, 0)}, "the client's")
            check_equal({f for c in taken.of(peer.pid) for f in c.flags}, {(1, 1, 1)}, "the server's")
            check_equal({s[0] for c in taken.of(client.pid, peer.pid) for s in c.sockets}, {4}, "family")
            check_equal({s[:0:-1] for c in taken.of(peer.pid) for s in c.sockets},
                        {s[1:] for c in taken.of(client.pid) for s in c.sockets}, "addresses of both ends")


def wait_all(taken, pid, count, length):
    taken.wait(lambda: len(taken.of(pid)) == count and
               all(sum(n for _, n in c.pieces["r"] + c.pieces["w"]) == length and c.ended for c in taken.of(pid)), "all was told")
    return taken.of(pid)


def test_only_targets(folder):
    """Others run the same library: nothing of theirs, and nothing while only secrets are wanted."""
    with Taken(folder, EVERY) as taken:
        with server(folder) as (port, _):
            taken.wait_hooks(3)
            with NAMESPACE.left(), server(folder) as (other, _):
                curl(other, os.devnull, "1.3")
            curl(port, os.devnull, "1.3")
            taken.wait(lambda: len(taken.connections) == 2, "those of this one")
            taken.want(KEYS)
            taken.wait(lambda: "raw_tracepoint" not in taken.links(), "plaintext is no longer hooked")
            check(taken.links(), "secrets are")
            curl(port, os.devnull, "1.3")
            taken.wait(lambda: len(taken.keys) >= 5, "secrets")
            check_equal(len(taken.connections), 2, "nothing more")
            taken.want(0)
            taken.wait(lambda: not taken.links(), "hooks are left")


def test_nothing_is_left(folder):
    """After the end, also a violent one, no program of ours is loaded."""
    for ending in (lambda taken: taken.process.stdin.close(), lambda taken: taken.process.kill()):
        taken = Taken(folder, EVERY)
        with server(folder) as (port, _):
            taken.__enter__()
            taken.wait_hooks(3)
            curl(port, os.devnull, "1.3")
            taken.wait(lambda: len(taken.connections) == 2, "it is hooked")
            ours = programs_of(taken.process.pid)
            check(len(ours) >= 6, f"programs {ours}")
            ending(taken)
            taken.process.wait(60)
            wait_until(lambda: not ours & programs(), "programs are left")


TESTS = [test_python_threads, test_address_reuse, test_began_before, test_killed, test_memory_bios, test_openssl_programs,
         test_gnutls, test_boringssl, test_unseen, test_go, test_only_targets, test_nothing_is_left]

if __name__ == "__main__":
    if os.geteuid() != 0 or os.uname().machine != "x86_64":
        print("this test needs root, and the libraries that it knows are those of x86-64")
        sys.exit(77)
    wanted = sys.argv[1:]
    with NAMESPACE, tempfile.TemporaryDirectory(prefix="remora-tls-") as scratch:
        for test in TESTS:
            if not wanted or test.__name__ in wanted:
                began = time.monotonic()
                test(scratch)
                print(f"ok - {test.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
