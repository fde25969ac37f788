# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's control groups, in version 1 (every hierarchy) or version 2. They hold all of its processes."""
import os
import time

from settings import LabError, NAME, Unsupported

ROOT = "/sys/fs/cgroup"


def unified():
    return os.path.exists(f"{ROOT}/cgroup.controllers")


def hierarchies():
    """Mount points of all hierarchies that pods are put into."""
    if unified():
        return [ROOT]
    found = []
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            _, folder, kind = line.split()[:3]
            if kind in ("cgroup", "cgroup2") and folder not in found:
                found.append(folder)
    return found


def check():
    """Raises Unsupported unless groups can be made here."""
    folders = hierarchies()
    if not folders:
        raise Unsupported(f"no control groups are mounted at {ROOT}")
    for folder in folders:
        if not os.access(folder, os.W_OK):
            raise Unsupported(f"control groups cannot be made in {folder}")


def tracking():
    """The hierarchy whose groups say which processes are the lab's."""
    folders = hierarchies()
    return next((f for f in folders if os.path.basename(f) == "pids"), folders[0])


def make(group):
    """Makes NAME/group in all hierarchies, with the controllers that a kubelet asks for."""
    for folder in hierarchies():
        parent = folder
        for part in (NAME, *group.split("/")):
            if unified():
                _enable_controllers(parent)
            child = os.path.join(parent, part)
            os.makedirs(child, exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):
                _inherit(parent, child, name)
            parent = child


def _enable_controllers(folder):
    with open(f"{folder}/cgroup.controllers", encoding="ascii") as file:
        controllers = file.read().split()
    for controller in controllers:
        try:
            with open(f"{folder}/cgroup.subtree_control", "w", encoding="ascii") as file:
                file.write(f"+{controller}")
        except OSError:
            pass  # a kubelet says which of those it needs are missing


def _inherit(parent, child, name):
    """Version 1: a cpuset group without processors takes no process."""
    if unified() or not os.path.exists(f"{child}/{name}"):
        return
    with open(f"{parent}/{name}", encoding="ascii") as source:
        value = source.read().strip()
    with open(f"{child}/{name}", "w", encoding="ascii") as file:
        file.write(value)


def procs_file(group):
    return os.path.join(tracking(), NAME, group, "cgroup.procs")


def folders():
    """All groups of the lab, children first."""
    found = []
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(os.path.join(hierarchy, NAME), topdown=False):
            found.append(folder)
    return found


def pids():
    found = set()
    for folder in folders():
        try:
            with open(f"{folder}/cgroup.procs", encoding="ascii") as file:
                found.update(int(line) for line in file)
        except OSError:
            pass  # the group went meanwhile
    return found


def remove(timeout=10):
    """Once their processes are gone; a group stays busy for a moment after its last process."""
    deadline = time.monotonic() + timeout
    while True:
        for folder in folders():
            try:
                os.rmdir(folder)
            except OSError:
                pass
        left = folders()
        if not left:
            return
        if time.monotonic() > deadline:
            raise LabError(f"these control groups cannot be removed: {' '.join(left)}")
        time.sleep(0.1)
