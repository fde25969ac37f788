# SPDX-License-Identifier: GPL-2.0-or-later
"""How we measure on a noisy machine: alternating pairs, the median of their ratios, and an A/A control."""
import os
import statistics

TICK = os.sysconf("SC_CLK_TCK")


def descendants(pid):
    """A process and all below it."""
    found = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            children = open(f"/proc/{pid}/task/{task}/children", encoding="ascii").read().split()
        except OSError:
            continue
        for child in children:
            try:
                found += descendants(int(child))
            except OSError:
                continue
    return found


def cpu_seconds(*pids):
    """User and system time of processes, all their threads and their descendants, the ended ones too."""
    total = 0
    for pid in {p for root in pids for p in descendants(root)}:
        try:
            text = open(f"/proc/{pid}/stat", encoding="ascii", errors="replace").read()
        except OSError:
            continue
        fields = text.rsplit(")", 1)[1].split()
        total += sum(int(value) for value in fields[11:15])
    return total / TICK


class Cpu:
    """CPU time that processes use while the block runs: `with Cpu(pid, ...) as cpu: ...; cpu.seconds`."""

    def __init__(self, *pids):
        self.pids = pids

    def __enter__(self):
        self.before = cpu_seconds(*self.pids)
        return self

    def __exit__(self, *_):
        self.seconds = cpu_seconds(*self.pids) - self.before


def paired(ours, theirs, pairs=7):
    """Runs A B B A A B ...; both return a number. Returns (median ratio, lowest, highest, ours, theirs)."""
    a, b = [], []
    for index in range(pairs):
        for runner, results in ((ours, a), (theirs, b))[::1 if index % 2 == 0 else -1]:
            results.append(runner())
    ratios = [x / y for x, y in zip(a, b)]
    return statistics.median(ratios), min(ratios), max(ratios), statistics.median(a), statistics.median(b)


class Report:
    """Rows of a Markdown table; remembers whether every target was met."""

    def __init__(self):
        self.rows, self.met = [], True

    def add(self, what, ours, theirs, ratio, target, unit):
        median, low, high = ratio
        ok = target is None or median <= target
        self.met &= ok
        self.rows.append(f"| {what} | {ours:.3g} | {theirs:.3g} | {unit} | **{median:.2f}** ({low:.2f}-{high:.2f}) | "
                         f"{'' if target is None else f'at most {target:g}'} | {'yes' if ok else 'NO'} |")
        print(self.rows[-1], flush=True)

    def add_most(self, what, median, highest, target, unit):
        """A plain number with a limit, of several runs."""
        ok = target is None or median <= target
        self.met &= ok
        self.rows.append(f"| {what} | {median:.3g} |  | {unit} | highest {highest:.3g} | "
                         f"{'' if target is None else f'at most {target:g}'} | {'yes' if ok else 'NO'} |")
        print(self.rows[-1], flush=True)

    def add_least(self, what, ours, theirs, ratio, target, unit):
        median, low, high = ratio
        ok = median >= target
        self.met &= ok
        self.rows.append(f"| {what} | {ours:.3g} | {theirs:.3g} | {unit} | **{median:.2f}** ({low:.2f}-{high:.2f}) | "
                         f"at least {target:g} | {'yes' if ok else 'NO'} |")
        print(self.rows[-1], flush=True)
