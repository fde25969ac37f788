# SPDX-License-Identifier: GPL-2.0-or-later
"""Wireshark's tools with the plugin, the extcap and the profile of a build tree, without installing them."""
import os
import re
import subprocess


class Wireshark:
    """`folder` gets the private plugin, extcap and configuration folders that the environment points to."""

    def __init__(self, build, folder, source, plugin=True):
        self.build = os.path.abspath(build)
        self.folder = os.path.abspath(folder)
        self.remoradump = os.path.join(self.build, "extcap/remoradump")
        self.environment = dict(os.environ, WIRESHARK_PLUGIN_DIR=self._make("plugins"),
                                WIRESHARK_EXTCAP_DIR=self._make("extcap"),
                                WIRESHARK_CONFIG_DIR=self._make("config"),
                                XDG_CONFIG_HOME=self._make("config"), HOME=self._make("home"))
        self.environment.pop("REMORA_ENDPOINT", None)
        if plugin:
            self._link(os.path.join(self.build, "plugins/remora.so"), "plugins/epan/remora.so")
        self._link(self.remoradump, "extcap/remoradump")
        self._link(os.path.join(source, "plugins/profile/Kubernetes"), "config/profiles/Kubernetes")
        self._sanitizers()

    def _make(self, name):
        path = os.path.join(self.folder, name)
        os.makedirs(path, exist_ok=True)
        return path

    def _link(self, target, name):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.lexists(path):
            os.symlink(os.path.abspath(target), path)

    def _sanitizers(self):
        """A sanitized plugin in an ordinary tshark needs the runtime loaded first."""
        needed = subprocess.run(["ldd", os.path.join(self.build, "plugins/remora.so")], text=True,
                                capture_output=True, check=False).stdout
        runtimes = re.findall(r"=> (\S*lib(?:asan|ubsan)\S*)", needed)
        if runtimes:
            self.environment["LD_PRELOAD"] = ":".join(runtimes)
            # Wireshark frees little at exit; our programs' leaks are found where they run alone.
            self.environment["ASAN_OPTIONS"] = "detect_leaks=0"

    def capture(self, endpoints, *options, program="tshark", **kwargs):
        """Starts a live capture from the nodes at `endpoints`."""
        return subprocess.Popen([program, "-i", "k8s", "-o", f"extcap.k8s.endpoint:{','.join(endpoints)}",
                                 *options], env=self.environment, **kwargs)

    def run(self, *argv, check=True, **kwargs):
        """Runs one of Wireshark's tools and returns what it printed."""
        result = subprocess.run(argv, env=self.environment, text=True, capture_output=True,
                                check=False, **kwargs)
        if check and result.returncode:
            raise RuntimeError(f"{' '.join(argv)}: exit {result.returncode}: {result.stderr}")
        return result.stdout

    def tshark(self, path, *options):
        return self.run("tshark", "-r", path, *options)

    def fields(self, path, display_filter, *fields):
        """Rows of field values, as tuples of strings."""
        argv = [part for field in fields for part in ("-e", field)]
        lines = self.tshark(path, "-Y", display_filter, "-T", "fields", *argv).splitlines()
        return [tuple(line.split("\t")) for line in lines]
