# SPDX-License-Identifier: GPL-2.0-or-later
"""Identity: the inventory by itself, the collector under changes, and a reader of a whole cluster of 50,000 pods against
curl, which throws the same lists away. The cluster is the lab's control plane, filled by crowd.py."""
import json
import os
import re
import statistics
import subprocess
import sys
import time

from measure import paired

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PODS, SERVICES = 50_000, 5_000
EVENTS = 1000  # a second
POD_BYTES, LOOKUP_NS, EVENTS_PERCENT, SYNC_RATIO = 1000, 50, 5, 1.3
LISTS = ("/api/v1/pods", "/api/v1/services", "/apis/discovery.k8s.io/v1beta1/endpointslices", "/api/v1/nodes",
         "/api/v1/namespaces")


def measured(build, *words, enter=()):
    """What identity-bench prints: a number a line, by name."""
    text = subprocess.run([*enter, os.path.join(build, "bench/identity/identity-bench"), *words], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    return {name: float(value) for name, value in re.findall(r"^([^:\n]+): ([0-9.]+)", text, re.M)}


def against(report, what, values, target, unit):
    """A row of numbers against the number that is asked for."""
    ratios = sorted(value / target for value in values)
    report.add(what, statistics.median(values), target, (statistics.median(ratios), ratios[0], ratios[-1]), 1,
               f"{unit}; theirs: the target")


def inventory(build, report, pairs):
    runs = [measured(build, "inventory", str(PODS)) for _ in range(min(pairs, 5))]
    against(report, f"inventory of {PODS} pods, resident", [run["resident a pod"] for run in runs], POD_BYTES,
            "bytes a pod")
    against(report, "the same, allocated", [run["allocated a pod"] for run in runs], POD_BYTES, "bytes a pod")
    against(report, "look-up by address and time, 100,000 addresses of 4 versions", [run["look-up"] for run in runs],
            LOOKUP_NS, "ns")
    against(report, "the same, nine of ten of 1,000 addresses as they are now",
            [run["look-up of a stream"] for run in runs], LOOKUP_NS, "ns")
    against(report, f"{EVENTS} identity events/s decoded and applied",
            [run["event"] * EVENTS / 1e4 for run in runs], EVENTS_PERCENT, "% of a core")
    runs = [measured(build, "collector", str(EVENTS)) for _ in range(min(pairs, 3))]
    against(report, f"{EVENTS} identity events/s through the collector, beside packets",
            [run["with changes"] - run["without changes"] for run in runs], EVENTS_PERCENT, "% of a core")


def curl(enter, pki):
    """Seconds that curl takes for all the lists, at the same time and over one connection, as the reader asks."""
    words = ["curl", "--silent", "--no-progress-meter", "--show-error", "--fail", "--parallel", "--http2", "--cacert", f"{pki}/ca.crt", "--cert",
             f"{pki}/admin.crt", "--key", f"{pki}/admin.key", "--header", "Accept: application/vnd.kubernetes.protobuf"]
    for where in LISTS:
        words += ["--output", "/dev/null", f"https://10.99.0.1:6443{where}?resourceVersion=0"]
    start = time.monotonic()
    subprocess.run([*enter, *words], check=True)
    return time.monotonic() - start


def fill(processes, path):
    """Controllers and scheduler would begin to work on what is written behind their backs."""
    enter = processes.enter("control-plane", mounts=False)
    processes.stop("kube-scheduler")
    text = subprocess.run([*enter, sys.executable, os.path.join(SOURCE, "bench/crowd.py"), path("inside.kubeconfig"),
                           "http://127.0.0.1:2379", str(PODS), str(SERVICES)], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    processes.stop("kube-controller-manager")
    told = json.loads(text)
    print(f"the API server has {told['pods']} pods of {told['pod_bytes']} bytes", file=sys.stderr)
    return enter


def sync(build, report, pairs):
    sys.path.insert(0, os.path.join(SOURCE, "tests/cluster"))
    import lab
    import processes
    from settings import path
    is_ours = lab.load() is None
    if is_ours:
        lab.up(0)
    try:
        enter = fill(processes, path) if not os.path.exists(path("crowd")) else \
            processes.enter("control-plane", mounts=False)
        with open(path("crowd"), "w", encoding="ascii"):
            pass
        curl(enter, path("pki"))
        runs = []

        def ours():
            runs.append(measured(build, "sync", path("inside.kubeconfig"), enter=enter))
            assert runs[-1]["pods"] == PODS, f"{runs[-1]['pods']} pods came"
            return runs[-1]["seconds"]

        median, low, high, a, b = paired(ours, lambda: curl(enter, path("pki")), pairs)
        report.add(f"a reader of the whole cluster in step: {PODS} pods, {SERVICES} services", a, b, (median, low, high),
                   SYNC_RATIO, "s; theirs: curl to /dev/null")
        against(report, "the reader's memory then, all kinds and its own store", [run["resident a pod"] for run in runs],
                POD_BYTES, "bytes resident a pod")
    finally:
        if is_ours:
            lab.down(say=lambda text: None)


def run(build, report, pairs):
    inventory(build, report, pairs)
    sync(build, report, pairs)
