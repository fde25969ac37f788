# SPDX-License-Identifier: GPL-2.0-or-later
"""What may happen to processes that are hooked, and what strangers may run in their pods: remora-node lives on and goes on to
decrypt, none of the pods' processes comes to harm, and nothing is left when remora-node has been killed."""
import errno
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time

from common import NODE, check, check_equal, main, start_nodes, wait_for, wireshark
from tls import FULL_SIZE, Capture, Pods, links, until_hooked
from tls_matrix import PYTHON, go_program, program

HOST, PORT = "10.244.1.2", 8443
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
LARGE_BYTES = 300 << 20
LYING = 8


class World:
    """The pods, the node, and what was asked for and must be found in the capture."""

    def __init__(self, cluster, node):
        self.cluster, self.node, self.wanted, self.folder = cluster, node, [], cluster.folder
        self.certificate = f"{cluster.folder}/tls.crt"

    def path(self, name):
        return os.path.join(self.folder, name)

    def ask(self, uri):
        check_equal(self.cluster.curl("client", uri), f"you asked for {uri}\n", "answer")
        self.wanted.append(uri)

    def run(self, argv, *uris, version="1.3", wanted=True, **environment):
        """A client of tls_matrix: a connection for each."""
        result = self.cluster.exec("client", [*argv, self.certificate, HOST, str(PORT), version, *uris], text=True,
                                   capture_output=True, env=dict(os.environ, **environment), timeout=60)
        check_equal([line.split(" ", 1)[1] for line in result.stdout.splitlines()], [f"you asked for {uri}" for uri in uris],
                    "answers")
        self.wanted += uris if wanted else ()

    def explain(self, path):
        """What is said of a program, but for its first line, the path."""
        result = subprocess.run([NODE, "--explain-tls", path], text=True, capture_output=True, check=False)
        return (result.stdout + result.stderr).partition("\n")[2 if result.returncode == 0 else 0]

    def hooked(self, name):
        """So often the log says that a file of this name was hooked."""
        with open(self.path("remora-worker-1.log"), encoding="utf-8") as file:
            return sum(f"/{name}: " in line and line.endswith(": hooked\n") for line in file)

    def until_hooked_anew(self, name, run):
        """The first processes of a file may be gone before it is looked at."""
        before = self.hooked(name)
        run()
        wait_for(lambda: self.hooked(name) > before or run(), f"hook in {name}")


def killed_in_handshake(world):
    """Clients end at any moment of their handshakes."""
    chance = random.Random(1)
    for _ in range(30):
        process = world.cluster.spawn("client", ["curl", "-sk", f"https://{HOST}:{PORT}/killed"], log="killed.log")
        time.sleep(chance.uniform(0.002, 0.04))
        world.cluster.kill(process, signal.SIGKILL)
    world.ask("/after-killed")


def replaced_library(world):
    """A package is upgraded: its files are other ones of the same name."""
    folder = world.path("libraries")
    os.makedirs(folder)
    client = [PYTHON, program("client.py")]

    def install(place):
        for name in ("libssl.so.3", "libcrypto.so.3"):
            shutil.copy(f"{LIBRARIES}/{name}", f"{folder}/new")
            os.rename(f"{folder}/new", f"{folder}/{name}")
        world.until_hooked_anew("libssl.so.3", lambda: world.run(client, "/first", wanted=False, LD_LIBRARY_PATH=folder))
        world.run(client, f"/{place}", LD_LIBRARY_PATH=folder)

    install("installed")
    install("upgraded")


def overwritten_program(world):
    """A program is built anew in its place, with all of its functions elsewhere: no hook of before may stay in it."""
    path, source = world.path("service"), world.path("other.go")
    with open(program("program.go"), encoding="utf-8") as before, open(source, "w", encoding="utf-8") as after:
        after.write(before.read().replace("import (", 'import (\n\t_ "archive/zip"', 1))
    other = go_program(name="program-go-other", source=source)
    shutil.copy(go_program(name="program-go"), path)
    check(world.explain(path) != world.explain(other), "the functions are at the same places")
    client = [path, "client"]
    world.until_hooked_anew("service", lambda: world.run(client, "/first", wanted=False))
    world.run(client, "/built")
    shutil.copyfile(other, path)
    world.until_hooked_anew("service", lambda: world.run(client, "/first", wanted=False))
    world.run(client, "/built-anew")


def large_program(world):
    path = world.path("large")
    shutil.copy(go_program(name="program-go"), path)
    os.truncate(path, LARGE_BYTES)
    world.until_hooked_anew("large", lambda: world.run([path, "client"], "/first", wanted=False))
    world.run([path, "client"], "/large")


def chromium(world):
    """300 MB, nearly all of it code; BoringSSL is inside, without symbols."""
    def browse(uri):
        out = world.cluster.exec("client", [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", "--dump-dom",
            f"--user-data-dir={world.path('chromium')}", f"https://{HOST}:{PORT}{uri}"], text=True, capture_output=True,
            timeout=120).stdout
        check(f"you asked for {uri}" in out, out)

    world.until_hooked_anew("chromium", lambda: browse("/first"))
    browse("/chromium")
    world.wanted.append("/chromium")


def lie(data, chance):
    """The headers say what is not so, but for the segments that are loaded, which the kernel reads."""
    header_offset, sections_offset = struct.unpack_from("<QQ", data, 32)
    segment_size, segments, section_size, sections = struct.unpack_from("<HHHH", data, 54)
    for i in range(segments):
        at = header_offset + i * segment_size
        if struct.unpack_from("<I", data, at)[0] not in (1, 2, 3, 6, 7):  # LOAD, DYNAMIC, INTERP, PHDR, TLS
            data[at + 8:at + segment_size] = chance.randbytes(segment_size - 8)
    for i in range(sections):
        at = sections_offset + i * section_size
        for field, size in ((0, 4), (4, 4), (16, 8), (24, 8), (32, 8), (40, 4), (56, 8)):
            if chance.random() < 0.3:
                data[at + field:at + field + size] = chance.choice((b"\xff", b"\0", b"\x7f", b"\x01")) * size
    return data


def lying_headers(world):
    """Strangers' programs run, whatever their headers say of sections, symbols and notes."""
    chance = random.Random(2)
    with open(go_program(name="program-go"), "rb") as file:
        honest = file.read()
    running = []
    for number in range(LYING):
        path = world.path(f"lying-{number}")
        with open(path, "wb") as file:
            file.write(lie(bytearray(honest), chance))
        os.chmod(path, 0o755)
        running.append(world.cluster.spawn("client", [path, "server", world.certificate, world.path("tls.key"),
                                                      str(9000 + number)], log="lying.log"))
    for number, process in enumerate(running):
        world.cluster.wait_port("client", 9000 + number)
        check(process.poll() is None, f"lying program {number} ended")
    begin = time.monotonic()
    world.ask("/after-lies")
    seconds = time.monotonic() - begin
    check(seconds < 20, f"{seconds} s")
    for process in running:
        world.cluster.kill(process)


def strict_program(world):
    """A probe must not make its process do what a seccomp filter forbids."""
    path = world.path("client-gnutls")
    subprocess.run(["gcc", "-O2", "-o", path, program("client.c"), "-lgnutls"], check=True)
    # curl has it mapped, too.
    wait_for(lambda: world.hooked(os.path.basename(os.path.realpath(f"{LIBRARIES}/libgnutls.so.30"))) or
             world.run([path], "/first", wanted=False), "hook in GnuTLS")
    for version in ("1.2", "1.3"):
        world.run([path], f"/strict-{version}", version=version, STRICT="1")


def program_of_32_bits(world):
    """It comes to no harm, and what is said of it is the reason."""
    path = world.path("small")
    subprocess.run(["gcc", "-m32", "-nostdlib", "-static", "-x", "c", "-", "-o", path], check=True, text=True,
                   input='void _start(void) { for (;;) { __asm__("int $0x80" : : "a"(29)); } }')  # pause()
    check("32-bit" in world.explain(path), world.explain(path))
    try:
        with subprocess.Popen([path]) as process:
            process.kill()
    except OSError as error:
        check_equal(error.errno, errno.ENOEXEC, "error")
        print("  this kernel runs no programs of 32 bits")
        return
    process = world.cluster.spawn("client", [path])
    world.ask("/beside-32-bits")
    check_equal(process.poll(), None, "the program of 32 bits ended")
    world.cluster.kill(process, signal.SIGKILL)


CLONE3 = """
import ctypes, os, struct, sys
pid = ctypes.c_int(int(sys.argv[1]))
arguments = ctypes.create_string_buffer(struct.pack("<11Q", 0, 0, 0, 0, 17, 0, 0, 0, ctypes.addressof(pid), 1, 0))
made = ctypes.CDLL(None, use_errno=True).syscall(435, arguments, ctypes.c_size_t(88))
if made < 0:
    sys.exit(os.strerror(ctypes.get_errno()))
if made == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
sys.exit(os.waitstatus_to_exitcode(os.waitpid(made, 0)[1]))
"""


def reused_pid(world):
    """The same number, now of a process in a pod that was not asked for, now of one that was."""
    with open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
        pid = int(file.read()) - 7
    for number in range(3):
        for pod in ("stranger", "client"):
            uri = f"/reused-{number}-{pod}"
            world.cluster.exec(pod, [sys.executable, "-c", CLONE3, str(pid), "curl", "-sS", "--cacert", world.certificate,
                                     f"https://{HOST}:{PORT}{uri}"], stdout=subprocess.DEVNULL)
            if pod == "client":
                world.wanted.append(uri)


STEPS = [killed_in_handshake, replaced_library, overwritten_program, large_program, lying_headers, strict_program,
         program_of_32_bits, reused_pid, *((chromium,) if FULL_SIZE and shutil.which("chromium") else ())]


def objects(kind):
    """Numbers of all BPF objects of a kind that there are."""
    text = subprocess.run(["bpftool", "-j", kind], check=True, text=True, capture_output=True).stdout
    return {found["id"] for found in json.loads(text)}


def objects_of(process):
    """{kind: numbers} of what a process has."""
    found = {"prog": set(), "map": set(), "link": set()}
    for name in os.listdir(f"/proc/{process.pid}/fdinfo"):
        try:
            with open(f"/proc/{process.pid}/fdinfo/{name}", encoding="ascii") as file:
                for line in file:
                    key, _, value = line.partition(":")
                    if key in ("prog_id", "map_id", "link_id"):
                        found[key[:-3]].add(int(value))
        except FileNotFoundError:
            pass
    return found


def robust(folder):
    """All of it in one capture of the client's pod, and then remora-node is killed."""
    tools, path = wireshark(folder), os.path.join(folder, "robust.pcapng")
    with Pods(os.path.join(folder, "pods")) as cluster:
        cluster.start_server()
        endpoints, processes = start_nodes(cluster)
        node = processes["worker-1"]
        world = World(cluster, node)
        with Capture(cluster, endpoints.values(), path, "--tls", "keys", "--pod", "client"):
            until_hooked(node, cluster, "client")
            for step in STEPS:
                begin = time.monotonic()
                step(world)
                check_equal(node.poll(), None, f"remora-node after {step.__name__}")
                print(f"  {step.__name__}: {time.monotonic() - begin:.1f} s", flush=True)
        got = {row[0] for row in tools.fields(path, f"http.request && tcp.port == {PORT}", "http.request.uri")}
        check(set(world.wanted) <= got, f"not decrypted: {sorted(set(world.wanted) - got)}")
        check(not any("stranger" in uri for uri in got), "a stranger's connection is decrypted")
        nothing_is_left(cluster, endpoints, node, os.path.join(folder, "killed.pcapng"))


def nothing_is_left(cluster, endpoints, node, path):
    with Capture(cluster, endpoints.values(), path, "--tls", "keys", "--pod", "server"):
        wait_for(lambda: links(node) > 0, "hooks")
        ours = objects_of(node)
        check(all(ours.values()) and all(numbers <= objects(kind) for kind, numbers in ours.items()), f"there are {ours}")
        os.kill(node.pid, signal.SIGKILL)
        node.wait()
        for kind, numbers in ours.items():
            wait_for(lambda k=kind, n=numbers: not n & objects(k), f"end of each {kind}")
        cluster.curl("client", "/afterwards")


if __name__ == "__main__":
    main(robust)
