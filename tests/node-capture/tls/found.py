# SPDX-License-Identifier: GPL-2.0-or-later
"""The finder against files of which other tools know the answer: the same code is linked with its symbols, which nm reads, and
the finder gets it without. Where the client random is, the library itself says in a process that runs."""
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

from explained import (check, check_equal, explain, explain_text, file_offset, go_build, implementations, only, points,
                       run, symbol)

HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARIES = "/usr/lib/x86_64-linux-gnu"


def stripped(path):
    """Without anything that could be left out."""
    bare = path + ".stripped"
    run("strip", "--strip-all", "-o", bare, path)
    return bare


def compare(path, name, library, chain=None):
    """What the finder says of the file without symbols, against its symbols. Without those the way to the random may be lost."""
    address = symbol(path, name)
    for file in (path, stripped(path)):
        found = only(file)
        check_equal(found.verdict, "can be hooked", file)
        check_equal(found.library.split(" ")[0], library, file)
        check_equal(found.address, address, f"{name} in {file}")
        check_equal(found.offset, file_offset(path, address), f"offset of {name} in {file}")
        if chain and (file == path or found.chain):
            check_equal(found.chain, chain, f"client random in {file}")
    return found


def program(folder, name, text, *options):
    source, path = os.path.join(folder, f"{name}.c"), os.path.join(folder, name)
    with open(source, "w", encoding="ascii") as file:
        file.write(text)
    run("gcc", "-o", path, source, *options)
    return path


def runs(folder, kind, chain):
    """What a live session has there."""
    path = os.path.join(folder, "random")
    if not os.path.exists(path):
        run("gcc", "-D_GNU_SOURCE", "-o", path, os.path.join(HERE, "random.c"), "-lssl", "-lcrypto", "-lgnutls")
    result = subprocess.run([path, kind, *map(hex, chain)], text=True, capture_output=True, check=False)
    check_equal((result.returncode, result.stdout), (0, "the client random\n"), f"{kind} {chain}")
    wrong = chain[:-1] + [chain[-1] + 8]
    result = subprocess.run([path, kind, *map(hex, wrong)], text=True, capture_output=True, check=False)
    check_equal(result.returncode, 1, f"{kind} {wrong}")


def test_openssl(folder):
    found = only(f"{LIBRARIES}/libssl.so.3")
    check_equal(found.verdict, "can be hooked", "libssl")
    check(found.agrees, "accessor and key-log function agree")
    runs(folder, "openssl", found.chain)
    # From the archive of the same package, with the symbols that the shared library has lost.
    path = os.path.join(folder, "libssl.so")
    run("gcc", "-shared", "-Wl,-Bsymbolic", "-o", path, "-Wl,--whole-archive", f"{LIBRARIES}/libssl.a", "-Wl,--no-whole-archive")
    compare(path, "ssl_log_secret", "OpenSSL", found.chain)


def test_openssl_in_a_program_at_fixed_addresses(folder):
    path = program(folder, "fixed", "#include <openssl/ssl.h>\n"
                   "int main(void) { return SSL_connect(SSL_new(SSL_CTX_new(TLS_method()))); }\n",
                   "-static", "-no-pie", "-lssl", "-lcrypto")
    found = compare(path, "ssl_log_secret", "OpenSSL")
    check("fixed addresses" in explain_text(path)[1], "it is not moved")
    runs(folder, "openssl", found.chain)


def test_gnutls(folder):
    found = only(f"{LIBRARIES}/libgnutls.so.30")
    check_equal(found.verdict, "can be hooked", "libgnutls")
    runs(folder, "gnutls", found.chain)
    path = program(folder, "gnutls", "#include <gnutls/gnutls.h>\n"
                   "int main(void) { gnutls_session_t s; gnutls_init(&s, 0); gnutls_session_get_random(s, 0, 0);\n"
                   "gnutls_session_set_keylog_function(s, 0); return gnutls_handshake(s); }\n",
                   "-l:libgnutls.a", "-Wl,--unresolved-symbols=ignore-all")
    compare(path, "_gnutls_call_keylog_func", "GnuTLS", found.chain)


def test_boringssl(_):
    """Of its way to the random, objdump's text is the witness: mov 0xA(%rdi),%rax; add $0xB,%rax."""
    path = f"{LIBRARIES}/android/libssl.so.0"
    found = only(path)
    check_equal((found.library, found.verdict), ("BoringSSL", "can be hooked"), path)
    check_equal(found.votes, found.sites, "unanimous")
    check(found.votes >= 6, f"{found.votes} votes")
    text = run("objdump", "-d", "--no-show-raw-insn", "--disassemble=SSL_get_client_random", path)
    way = re.search(r"mov +0x([0-9a-f]+)\(%rdi\),%rax\n.*add +\$0x([0-9a-f]+),%rax\n", text)
    check(way, text)
    check_equal(found.chain, [int(n, 16) for n in way.groups()], "client random")
    calls = re.findall(r"call +([0-9a-f]+) ", run("objdump", "-d", "--no-show-raw-insn", path))
    check(calls.count(f"{found.address:x}") >= found.votes, "it is called that often")


def test_node(_):
    path = shutil.which("node") or ""
    if "ssl_log_secret" not in subprocess.run(["nm", path], text=True, capture_output=True, check=False).stdout:
        print("# no node with symbols: not looked at")
        return
    check_equal(only(path).address, symbol(path, "ssl_log_secret"), path)


def test_compilers(folder):
    """One model, both processors, all that compilers do to it."""
    chain = [64, 72]
    fixed, moved = ["-fno-pic", "-static", "-no-pie", "-Wl,-e,handshake"], ["-fPIC", "-shared"]
    for target in ("x86_64-linux-gnu", "aarch64-linux-gnu"):
        for level in ("-O0", "-O2", "-O3", "-Os"):
            for kind in [moved, fixed] if level == "-O2" else [moved]:
                path = os.path.join(folder, f"model-{target}{level}{kind[0]}")
                run("clang", f"--target={target}", "-fuse-ld=lld", "-nostdlib", "-fvisibility=hidden", "-Wl,--unresolved-symbols=ignore-all",
                    level, *kind, "-o", path, os.path.join(HERE, "model.c"))
                address = symbol(path, "log_secret")
                found = only(path)
                check_equal((found.verdict, found.address), ("can be hooked", address), path)
                if level != "-O0":
                    check_equal(found.chain, chain, path)
                    check(found.votes >= 4, f"{path}: {found.votes} votes")


def test_go(folder):
    """Go's own linker, symbols and all; then without them."""
    source, path = os.path.join(folder, "main.go"), os.path.join(folder, "program")
    with open(source, "w", encoding="ascii") as file:
        file.write('package main\nimport "crypto/tls"\nfunc main() { c, _ := tls.Dial("tcp", "", nil); c.Handshake() }\n')
    go_build(path, source)
    name = "crypto/tls.(*Config).writeKeyLog"
    address = next(int(line.split()[0], 16) for line in run("nm", path).splitlines() if line.endswith(" " + name))
    for file in (path, stripped(path)):
        found = only(file)
        check_equal((found.verdict, found.address), ("can be hooked", address), file)
        check_equal(found.offset, file_offset(path, address), file)
        check("label rbx, its length rcx, secret r9, its length r10" in found.text, found.text)
        check(run("go", "version").split()[2] in found.library, found.library)
    bare = os.path.join(folder, "bare")
    shutil.copy(stripped(path), bare)
    with open(bare, "r+b") as file:  # no table of sections either
        file.seek(40)
        file.write(bytes(8))
        file.seek(58)
        file.write(bytes(6))
    check_equal(only(bare).address, address, "without sections")


def dynamic_symbol(path, name):
    return next(int(line.split()[0], 16) for line in run("nm", "-D", "--defined-only", path).splitlines()
                if line.split()[2].split("@")[0] == name)


def test_plaintext_of_openssl(folder):
    """The two functions within, where the archive's symbols tell them; without them those that are exported."""
    path = os.path.join(folder, "libssl.so")
    run("gcc", "-shared", "-Wl,-Bsymbolic", "-o", path, "-Wl,--whole-archive", f"{LIBRARIES}/libssl.a", "-Wl,--no-whole-archive")
    for file in (path, stripped(path)):
        found, reason = points(file)
        check_equal(reason, None, file)
        check_equal(found["read", "what SSL_read calls"], [symbol(path, "ssl_read_internal")], file)
        check_equal(found["write", "what SSL_write calls"], [symbol(path, "ssl_write_internal")], file)
        check_equal(found["end", "SSL_free"], [symbol(path, "SSL_free")], file)
    for library, names in ((f"{LIBRARIES}/libgnutls.so.30", ("gnutls_record_recv", "gnutls_record_send")),
                           (f"{LIBRARIES}/android/libssl.so.0", ("SSL_read", "SSL_write"))):
        found, _ = points(library)
        for kind, name in zip(("read", "write"), names):
            check_equal(found[kind, name], [dynamic_symbol(library, name)], library)


def test_plaintext_of_others(folder):
    """Functions of these names that are not a library's are left alone, and what cannot be hooked says why."""
    path = program(folder, "other", "int SSL_read(int a) { return a; }\nint main(void) { return SSL_read(1); }\n", "-rdynamic")
    check_equal(points(path), ({}, None), "one function alone")
    static = program(folder, "static", "#include <openssl/ssl.h>\n"
                     "int main(void) { return SSL_connect(SSL_new(SSL_CTX_new(TLS_method()))); }\n", "-static", "-lssl", "-lcrypto")
    found, reason = points(stripped(static))
    check(not found and reason, f"no symbols: {reason}")


NSS_METHODS = """
import ctypes, re, sys
nspr, nss, ssl = (ctypes.CDLL(name) for name in ("libnspr4.so", "libnss3.so", sys.argv[1]))
for function in (nspr.PR_NewTCPSocket, ssl.SSL_ImportFD):
    function.restype = ctypes.c_void_p
assert nss.NSS_NoDB_Init(None) == 0
socket = ssl.SSL_ImportFD(None, ctypes.c_void_p(nspr.PR_NewTCPSocket()))
methods = ctypes.cast(ctypes.c_void_p(socket), ctypes.POINTER(ctypes.POINTER(ctypes.c_uint64)))[0]
with open("/proc/self/maps") as file:
    base = min(int(line.split("-")[0], 16) for line in file if line.strip().endswith(sys.argv[1]))
print(*(hex(methods[number] - base) for number in (1, 2, 3, 11, 13, 17, 18)))
"""


def test_plaintext_of_nss(folder):
    """The functions that libssl3 really has in the table of its descriptors, by the order of prio.h: close, read, write, writev,
    accept, recv, send."""
    library = os.path.realpath(f"{LIBRARIES}/libssl3.so")
    told = [int(word, 16) for word in run(sys.executable, "-c", NSS_METHODS, library).split()]
    for file in (library, stripped(shutil.copy(library, folder))):
        found, reason = points(file)
        check_equal(reason, None, file)
        names = ("end", "close"), ("read", "read"), ("write", "write"), ("write", "writev"), ("new", "accept"), ("read", "recv"), ("write", "send")
        check_equal([found[kind, f"libssl3's {name}"] for kind, name in names], [[address] for address in told], file)
        check_equal(found["new", "SSL_ImportFD"], [dynamic_symbol(library, "SSL_ImportFD")], file)
    # Without the import that the table is known by there is none.
    with open(library, "rb") as file:
        data = file.read()
    path = os.path.join(folder, "other.so")
    with open(path, "wb") as file:
        file.write(data.replace(b"PR_EmulateAcceptRead\0", b"PR_EmulateAcceptRear\0"))
    found, reason = points(path)
    check(not found and reason, "no table, and it says so")


def test_plaintext_of_go(folder):
    """Every instruction that returns from Read, by objdump; and where the stack has been checked."""
    source, path = os.path.join(folder, "plain.go"), os.path.join(folder, "plain")
    with open(source, "w", encoding="ascii") as file:
        file.write('package main\nimport "crypto/tls"\nfunc main() { c, _ := tls.Dial("tcp", "", nil); c.Read(nil); c.Write(nil); c.Close() }\n')
    go_build(path, source)
    text = {name: run("objdump", "-d", "--no-show-raw-insn", f"--disassemble=crypto/tls.(*Conn).{name}", path)
            for name in ("Read", "writeRecordLocked", "clientHandshake", "Close")}
    for file in (path, stripped(path)):
        found, _ = points(file)
        check_equal(found["read", "crypto/tls.(*Conn).Read"],
                    [int(n, 16) for n in re.findall(r"^ *([0-9a-f]+):\tret", text["Read"], flags=re.M)], file)
        for kind, name in (("write", "writeRecordLocked"), ("client handshake", "clientHandshake"), ("end", "Close")):
            after = re.search(r"cmp .*\n.*\tjbe .*\n *([0-9a-f]+):", text[name]).group(1)
            check_equal(found[kind, f"crypto/tls.(*Conn).{name}"], [int(after, 16)], f"{name} in {file}")


def test_not_hooked(folder):
    found = only(f"{LIBRARIES}/libssl3.so")
    check_equal((found.library, found.verdict), ("NSS", "not hooked"), "NSS")
    check(found.reason, "a reason is given")
    code, out, _ = explain_text("/usr/sbin/runc")
    check(code == 0 and "a Go program without crypto/tls" in out, out)
    code, out, _ = explain_text("/usr/bin/curl")
    check(code == 0 and "no TLS in it" in out, out)
    small = os.path.join(folder, "small")
    with open("/bin/true", "rb") as file:
        header = bytearray(file.read(4096))
    header[4] = 1
    with open(small, "wb") as file:
        file.write(header)
    code, _, err = explain_text(small)
    check(code == 1 and "32-bit, not hooked" in err, err)
    header[4] = 2
    with open(small, "wb") as file:
        file.write(header[:struct.calcsize("64s")])
    code, _, err = explain_text(small)
    check(code == 1 and "headers contradict" in err, err)
    for nothing in ("/etc/passwd", "/dev/null", folder):
        code, _, err = explain_text(nothing)
        check(code == 1 and "no ELF file" in err, err)
    check("No such file" in explain_text("/nowhere")[2], "a file that is not there")
    check(explain_text(2**31 - 1)[0] == 1, "a process that is not there")


def test_process(_):
    """Libraries of a process that runs, by what it has mapped."""
    with subprocess.Popen(["python3", "-c", "import ssl, sys; print('up', flush=True); sys.stdin.read()"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        check_equal(process.stdout.readline(), "up\n", "python")
        with open(f"/proc/{process.pid}/maps", encoding="utf-8") as maps:
            mapped = {line.split(None, 5)[5].strip() for line in maps if "libssl" in line}
        code, out, err = explain_text(process.pid)
        process.stdin.close()
    check(code == 0 and mapped, err)
    found = implementations(out)
    for path in mapped:
        check_equal(found[path][0].address, only(path).address, path)


TESTS = [test_plaintext_of_openssl, test_plaintext_of_others, test_plaintext_of_nss, test_plaintext_of_go, test_openssl,
         test_openssl_in_a_program_at_fixed_addresses, test_gnutls, test_boringssl, test_node, test_compilers, test_go, test_not_hooked, test_process]

if __name__ == "__main__":
    if os.uname().machine != "x86_64":
        print("the libraries that this test knows are those of x86-64")
        sys.exit(77)
    wanted = sys.argv[1:]
    for test in TESTS:
        if not wanted or test.__name__ in wanted:
            with tempfile.TemporaryDirectory(prefix="remora-tls-") as scratch:
                test(scratch)
            print(f"ok - {test.__name__}", flush=True)
