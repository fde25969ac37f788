# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes of the lab: each is started in a control group and in a holder's namespaces, and is recorded with its
command, so that another run can find, stop and start it."""
import json
import os
import signal
import subprocess
import time

import cgroups
from settings import LabError, path

TABLE = "processes.json"


def start_time(pid):
    """Field 22 of /proc/PID/stat: with the pid it names a process for good. None: gone, or dead and not yet reaped."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def load():
    try:
        with open(path(TABLE), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def _save(table):
    with open(path(TABLE + ".new"), "w", encoding="utf-8") as file:
        json.dump(table, file, indent=1)
    os.rename(path(TABLE + ".new"), path(TABLE))


def _record(name):
    record = load().get(name)
    if record is None:
        raise LabError(f"the lab has no process {name}")
    return record


def pid_of(name):
    """None if it does not run."""
    record = load().get(name)
    if record and start_time(record["pid"]) == record["start_time"]:
        return record["pid"]
    return None


def enter(holder, mounts=True):
    """The words before a command that run it in a holder's namespaces."""
    pid = pid_of(holder)
    if pid is None:
        raise LabError(f"the lab's {holder} does not run")
    words = ["nsenter", f"--net=/proc/{pid}/ns/net"]
    return words + ([f"--mount=/proc/{pid}/ns/mnt"] if mounts else []) + ["--"]


def start(name, argv, group, holder=None, pass_fds=()):
    """Returns the pid. holder: the process whose namespaces it joins."""
    words = (enter(holder) if holder else []) + list(argv)
    procs = cgroups.procs_file(group)

    def join_group():
        with open(procs, "w", encoding="ascii") as file:
            file.write("0")

    os.makedirs(path("log"), exist_ok=True)
    with open(log_file(name), "ab") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                                   start_new_session=True, preexec_fn=join_group, pass_fds=pass_fds)
    table = load()
    table[name] = {"pid": process.pid, "start_time": start_time(process.pid), "argv": list(argv), "group": group,
                   "holder": holder}
    _save(table)
    return process.pid


def start_again(name):
    record = _record(name)
    return start(name, record["argv"], record["group"], record["holder"])


def stop(name, signum=signal.SIGTERM, timeout=20):
    """Returns once it is gone."""
    pid = pid_of(name)
    if pid is None:
        return
    os.kill(pid, signum)
    deadline = time.monotonic() + timeout
    while pid_of(name) is not None:
        if time.monotonic() > deadline:
            raise LabError(f"{name} (pid {pid}) does not end")
        time.sleep(0.02)
    _reap(pid)


def _reap(pid):
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


def kill_all(timeout=20):
    """All recorded processes and all in the lab's groups. Kubelets first: they would start containers again."""
    table = load()
    for name in sorted(table, key=lambda name: not name.startswith("kubelet")):
        pid = pid_of(name)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + timeout
    while True:
        left = {pid for pid in cgroups.pids() if start_time(pid) is not None}
        left.update(pid for pid in map(pid_of, table) if pid is not None)
        if not left:
            break
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if time.monotonic() > deadline:
            raise LabError(f"these processes do not end: {sorted(left)}")
        time.sleep(0.05)
    for record in table.values():
        _reap(record["pid"])


def log_file(name):
    return path("log", f"{name}.log")


def tail(name, lines=15):
    try:
        with open(log_file(name), encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-lines:])
    except OSError:
        return ""


def wait_for(condition, what, timeout, *names):
    """Polls; a named process that ends meanwhile ends the wait, with the end of its log."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        for name in names:
            if pid_of(name) is None:
                raise LabError(f"{name} ended; {log_file(name)} says:\n{tail(name)}")
        if time.monotonic() > deadline:
            logs = "".join(f"\n{log_file(name)} says:\n{tail(name)}" for name in names)
            raise LabError(f"waited {timeout} s for {what}{logs}")
        time.sleep(0.05)
