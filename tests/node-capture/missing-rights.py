# SPDX-License-Identifier: GPL-2.0-or-later
"""What GetStatus says of a remora-node that lacks a right: which one, and what does not work without it. The API server is
one that nobody can reach, so that nothing but the right decides. Needs root."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BUILD = os.environ["REMORA_BUILD"]
NODE = os.path.join(BUILD, "node-capture/remora-node")
REMORADUMP = os.path.join(BUILD, "extcap/remoradump")
KUBECONFIG = {"apiVersion": "v1", "kind": "Config", "current-context": "none",
              "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
              "clusters": [{"name": "none", "cluster": {"server": "https://127.0.0.1:1"}}],
              "users": [{"name": "none", "user": {"token": "none"}}]}

# How it is started, what the problems must say, and what they must not.
NO_PID_NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=SIGTERM"]
CASES = {
    "everything": ([], [], ["CAP_", "hostPID"]),
    "without hostPID": (NO_PID_NAMESPACE, ["hostPID: remora-node is in a PID namespace of its own (hostPID: true is needed)",
                                           "processes of connections: this process is in a PID namespace of its own"],
                        ["CAP_SYS_PTRACE: is missing"]),
    "without SYS_PTRACE": (["setpriv", "--bounding-set", "-sys_ptrace"], ["CAP_SYS_PTRACE: is missing"],
                           ["CAP_NET_ADMIN", "hostPID: remora-node"]),
    "without NET_ADMIN": (["setpriv", "--bounding-set", "-net_admin"],
                          ["CAP_NET_ADMIN: is missing", "connections (conntrack): ", "CAP_NET_ADMIN is missing"],
                          ["CAP_SYS_PTRACE: is missing", "hostPID: remora-node"]),
}


def problems(endpoint, process):
    """As --status prints them, once it answers."""
    deadline = time.monotonic() + 60
    while True:
        result = subprocess.run([REMORADUMP, "--status", "--endpoint", endpoint], text=True, capture_output=True, check=False)
        if result.returncode == 0:
            return [line.split(None, 1)[1] for line in result.stdout.splitlines() if line.startswith("problem ")]
        assert process.poll() is None and time.monotonic() < deadline, f"no status: {result.stderr}"
        time.sleep(0.1)


def run(name, folder, kubeconfig):
    wrapper, expected, forbidden = CASES[name]
    endpoint = f"unix:{folder}/{name.replace(' ', '-')}.sock"
    process = subprocess.Popen([*wrapper, NODE, "--kubeconfig", kubeconfig, "--node-name", "n1", "--listen", endpoint,
                                "--host-netns", "/proc/self/ns/net"],  # that of process 1 may be barred to root as well
                               stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        told = problems(endpoint, process)
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # unshare waits for its child, and does not heed the signal itself
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    missing = [text for text in expected if not any(text in problem for problem in told)]
    unwanted = [text for text in forbidden if any(text in problem for problem in told)]
    assert not missing and not unwanted, f"{name}: {missing} not told, {unwanted} told:\n" + "\n".join(told)
    print(f"ok - {name}: {len(told)} problems", flush=True)


def main():
    if os.geteuid() != 0:
        print("not root")
        return 77
    folder = tempfile.mkdtemp(prefix="remora-rights-")
    try:
        kubeconfig = os.path.join(folder, "kubeconfig")
        with open(kubeconfig, "w", encoding="utf-8") as file:
            json.dump(KUBECONFIG, file)
        for name in CASES:
            run(name, folder, kubeconfig)
    finally:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
