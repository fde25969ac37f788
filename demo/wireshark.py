# SPDX-License-Identifier: GPL-2.0-or-later
"""Wireshark's tools with the plugin, the extcap and the profile of a build tree, without installing them."""
import os
import re
import shutil
import subprocess


class Wireshark:
    """`folder` becomes the home whose personal plugins, extcap and profile are those of the build tree."""

    def __init__(self, build, folder, source, plugin=True):
        self.build = os.path.abspath(build)
        self.folder = os.path.abspath(folder)
        self.remoradump = os.path.join(self.build, "extcap/remoradump")
        settings = os.path.join(self.folder, ".config")
        self.environment = dict(os.environ, HOME=self.folder, XDG_CONFIG_HOME=settings)
        self.environment.pop("REMORA_ENDPOINT", None)
        self.prefix = []
        # Copies, not links: an ordinary user may not be able to read the build tree. remoradump finds its other
        # program at the same place beside it as in the build tree.
        copy = self._copy(self.remoradump, "remora/extcap/remoradump")
        self._copy(os.path.join(self.build, "libexec/remora"), "remora/libexec/remora")
        self._link(copy, ".config/wireshark/extcap/remoradump")
        self._copy(os.path.join(source, "plugins/profile/Kubernetes"), ".config/wireshark/profiles/Kubernetes")
        if plugin:
            self._plugin()

    def _copy(self, source, name):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.isdir(source):
            shutil.copytree(source, path, dirs_exist_ok=True)
        else:
            shutil.copy(source, path)
        return path

    def _link(self, source, name):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink(source, path)

    def _plugin(self):
        """Personal plugins are loaded for ordinary users only; for root the plugin has to stand in the global folder,
        which it does in a mount namespace of each tool's own."""
        personal = ".local/lib/wireshark/plugins"
        # A sanitized plugin needs a sanitized Wireshark: tests of other parts name an ordinary one.
        build = os.environ.get("REMORA_PLUGIN_BUILD") or self.build
        self._copy(os.path.join(build, "wireshark-plugins"), personal)
        folders = subprocess.run(["tshark", "-G", "folders"], text=True, capture_output=True, check=True).stdout
        installed = os.path.join(re.search(r"^Global Plugins:\s*(.*)$", folders, re.M)[1], "epan")
        version = os.path.basename(os.path.dirname(installed))
        ours = os.path.join(self.folder, personal, version, "epan")
        self.prefix = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"', ours, installed]

    def capture(self, endpoints, *options, program="tshark", **kwargs):
        """Starts a live capture from the nodes at `endpoints`."""
        return subprocess.Popen([*self.prefix, program, "-i", "k8s", "-o", f"extcap.k8s.endpoint:{','.join(endpoints)}",
                                 *options], env=self.environment, **kwargs)

    def run(self, *argv, check=True, **kwargs):
        """Runs one of Wireshark's tools and returns what it printed."""
        result = subprocess.run([*self.prefix, *argv], env=self.environment, text=True, capture_output=True,
                                check=False, **kwargs)
        if check and result.returncode:
            raise RuntimeError(f"{' '.join(argv)}: exit {result.returncode}: {result.stderr}")
        return result.stdout

    def tshark(self, path, *options):
        return self.run("tshark", "-r", path, *options)

    def fields(self, path, display_filter, *fields, more=()):
        """Rows of field values, as tuples of strings."""
        argv = [part for field in fields for part in ("-e", field)]
        lines = self.tshark(path, *more, "-Y", display_filter, "-T", "fields", *argv).splitlines()
        return [tuple(line.split("\t")) for line in lines]
