#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The two programs that remoradump is: which of them answers what, and how the first finds the second."""
import os
import shutil
import subprocess
import unittest

from remoradump import Case, REAL, TIMEOUT

K8S = ("--extcap-interface", "k8s")
QUESTIONS = (("--extcap-interfaces",), ("--extcap-dlts", *K8S), ("--extcap-config", *K8S), ("--help",), ("--version",))
OTHER = "libexec/remora/remoradump-collect"


class Programs(Case):
    def tree(self, name):
        """A tree with the first program alone; its path."""
        path = self.path(f"{name}/bin/remoradump")
        os.makedirs(os.path.dirname(path))
        shutil.copy(REAL, path)
        return path

    def complete(self, name):
        path = self.tree(name)
        os.makedirs(os.path.dirname(self.path(f"{name}/{OTHER}")))
        shutil.copy(os.path.join(os.path.dirname(REAL), "..", OTHER), self.path(f"{name}/{OTHER}"))
        return path

    def broken(self, name):
        """One whose second program is there but cannot be started: so none that is installed takes its place."""
        path = self.tree(name)
        self.write(f"{name}/{OTHER}", "no program")
        os.chmod(self.path(f"{name}/{OTHER}"), 0o644)
        return path

    def assert_collects(self, program):
        result = self.run_it("--list-targets", "--endpoint", f"unix:{self.path('none')}", program=program)
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"{self.path('none')}: no such file", result.stderr)

    def test_first_has_few_libraries(self):
        """Wireshark starts it again and again before a capture; gRPC would cost more than all the rest."""
        libraries = subprocess.run(["ldd", REAL], text=True, capture_output=True, check=True).stdout
        self.assertIn("libglib", libraries)
        for name in ("libgrpc", "libabsl", "libpcap", "libgio"):
            self.assertNotIn(name, libraries)

    def test_first_answers_alone(self):
        program = self.broken("broken")
        for question in QUESTIONS:
            self.assertEqual(self.good(*question, program=program), self.good(*question, program=REAL))

    def test_a_tree_works_anywhere(self):
        program = self.complete("moved")
        self.assert_collects(program)
        os.symlink(program, self.path("linked"))
        self.assert_collects(self.path("linked"))
        self.environment["PATH"] = os.path.dirname(program)
        self.assert_collects("remoradump")

    def test_failing_releases_wireshark(self):
        program, fifo = self.broken("broken"), self.fifo("fifo")
        process = self.start("--capture", "--fifo", fifo, "--endpoint", "unix:/none", program=program, text=True,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.assertEqual(self.read_all(fifo)(), b"")
        _, text = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 1)
        self.assertIn(f"{OTHER}: Permission denied", text)


if __name__ == "__main__":
    unittest.main()
