# SPDX-License-Identifier: GPL-2.0-or-later
"""remoradump --keys-first: a capture whose secrets stand behind the packets that they decrypt, which tshark reads only when they
are put in front. The packets are tcpdump's, the secrets curl's, and what was asked for is known; Wireshark's other tools still
have to read what comes out."""
import os
import shutil
import subprocess

from common import (Cluster, REMORADUMP, check, check_equal, main, pcapng, stop, tcpdump, wait_for, wireshark)

SECRETS, INTERFACE, SECTION = 10, 1, 0x0A0D0D0A
SERVER, PORT = "10.244.1.2", 8443
ASKED = {"1.2": "/asked-by-1.2", "1.3": "/asked-by-1.3"}


class Pods(Cluster):
    def build(self):
        self.add_host("worker-1", "10.99.0.11", "10.244.1.0/24")
        self.add_pod("shop", "server", "worker-1", SERVER)
        self.add_pod("shop", "client", "worker-1", "10.244.1.3")

    def start_server(self):
        key, certificate = f"{self.folder}/tls.key", f"{self.folder}/tls.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", "/CN=server", "-keyout", key, "-out", certificate], check=True,
                       capture_output=True)
        self.spawn("server", ["openssl", "s_server", "-accept", str(PORT), "-key", key, "-cert", certificate, "-www"],
                   log="server.log")
        self.wait_port("server", PORT)

    def ask(self, version, log):
        self.exec("client", ["curl", "-ksS", "--max-time", "20", "-o", "/dev/null", f"--tlsv{version}", "--tls-max", version,
                             f"https://{SERVER}:{PORT}{ASKED[version]}"], env=dict(os.environ, SSLKEYLOGFILE=log))


def holds_connections(tools, path):
    """Whether both connections are in the file to their ends, as tcpdump writes it while it goes on."""
    closed = tools.run("tshark", "-r", path, "-Y", "tcp.flags.fin == 1", "-T", "fields", "-e", "tcp.stream", "-e", "ip.src",
                       check=False).splitlines()
    return len(set(closed)) == 2 * len(ASKED)


def capture(tools, folder):
    """pcapng with the secrets in front, as editcap puts them there."""
    with Pods(os.path.join(folder, "pods")) as cluster:
        cluster.start_server()
        raw, log = os.path.join(folder, "raw.pcap"), os.path.join(folder, "keys.log")
        process = tcpdump(cluster, "server", "eth0", raw, "tcp", "port", str(PORT))
        for version in ASKED:
            cluster.ask(version, log)
        wait_for(lambda: holds_connections(tools, raw), "all packets of both connections")
        stop(process)
    path = os.path.join(folder, "editcap.pcapng")
    tools.run("editcap", "-F", "pcapng", "--inject-secrets", f"tls,{log}", raw, path)
    return path


def block(kind, body):
    length = (12 + len(body)).to_bytes(4, "little")
    return kind.to_bytes(4, "little") + length + body + length


def read(path):
    with open(path, "rb") as file:
        return [block(kind, body) for kind, body in pcapng(file.read())]


def is_kind(kind):
    return lambda one: one[:4] == kind.to_bytes(4, "little")


def write(path, blocks):
    with open(path, "wb") as file:
        file.write(b"".join(blocks))


def keys_first(source, target):
    result = subprocess.run([REMORADUMP, "--keys-first", source, target], text=True, capture_output=True, check=False)
    check_equal(result.returncode, 0, f"remoradump's exit status ({result.stderr})")


def requests(tools, path):
    return [row[0] for row in tools.fields(path, "http.request", "http.request.uri")]


def decrypted(folder):
    """In one section, and where a second file follows as a section of its own."""
    tools = wireshark(folder, plugin=False)
    front = read(capture(tools, folder))
    secrets = [one for one in front if is_kind(SECRETS)(one)]
    others = [one for one in front if not is_kind(SECRETS)(one)]
    check(secrets, "editcap put no secrets in front")
    late, moved = os.path.join(folder, "late.pcapng"), os.path.join(folder, "moved.pcapng")

    write(late, others + secrets)
    check_equal(requests(tools, late), [], "requests read with the secrets behind them: this test proves nothing")
    keys_first(late, moved)
    check_equal(requests(tools, moved), list(ASKED.values()), "requests with the secrets in front")
    check_equal(read(moved), [one for one in others if is_kind(SECTION)(one) or is_kind(INTERFACE)(one)] + secrets +
                [one for one in others if not is_kind(SECTION)(one) and not is_kind(INTERFACE)(one)], "blocks")

    write(late, (others + secrets) * 2)
    keys_first(late, moved)
    check_equal(read(moved), (read_sections(moved))[0] * 2, "sections")
    check_equal(set(requests(tools, moved)), set(ASKED.values()), "requests of two sections")


def read_sections(path):
    sections = []
    for one in read(path):
        if is_kind(SECTION)(one):
            sections.append([])
        sections[-1].append(one)
    return sections


def other_tools(folder):
    """editcap, mergecap and reordercap take what comes out, also where the secrets stood ahead of the interface, of which
    they do not know what to make."""
    tools = wireshark(folder, plugin=False)
    front = read(capture(tools, folder))
    secrets = [one for one in front if is_kind(SECRETS)(one)]
    others = [one for one in front if not is_kind(SECRETS)(one)]
    for name, blocks in (("late", others + secrets), ("early", others[:1] + secrets + others[1:])):
        source, moved, out = (os.path.join(folder, f"{name}-{step}.pcapng") for step in ("in", "moved", "out"))
        write(source, blocks)
        keys_first(source, moved)
        for command in (["editcap", moved, out], ["mergecap", "-w", out, moved, moved], ["reordercap", moved, out]):
            tools.run(*command)
            check(os.path.getsize(out) > 0, f"{command[0]} wrote nothing")
            os.unlink(out)


if __name__ == "__main__":
    if not shutil.which("editcap"):
        raise SystemExit(77)
    main(decrypted, other_tools)
