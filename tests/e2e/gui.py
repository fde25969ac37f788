# SPDX-License-Identifier: GPL-2.0-or-later
"""Wireshark's window under Xvfb: live columns, and the dialogs for what can go wrong.

What is right is asserted on the file that the window captures; the pictures are a smoke test and go to
$REMORA_SCREENSHOTS when that is set.
"""
import os
import pwd
import re
import shutil
import subprocess
import time

from common import captured, check, check_equal, main, start_nodes, stop, wait_for, wireshark
import shop

USER = "nobody"


class Screen:
    """A display of its own, and Wireshark in it as an ordinary user."""

    def __init__(self, tools, folder):
        self.tools, self.folder = tools, folder
        read, write = os.pipe()
        # -noreset: a server that resets after its last client throws out the one that comes just then.
        self.server = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "1500x900x24",
                                        "-nolisten", "tcp", "-noreset"], pass_fds=[write], stderr=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        check(number, "Xvfb did not start")
        account = pwd.getpwnam(USER)
        self.environment = dict(tools.environment, DISPLAY=f":{number}", QT_QPA_PLATFORM="xcb",
                                XDG_RUNTIME_DIR=tools.folder, LC_ALL="C.UTF-8")
        for root, folders, files in os.walk(folder):
            os.chown(root, account.pw_uid, account.pw_gid)
        os.chmod(folder, 0o755)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.terminate()
        self.server.wait()

    def start(self, *argv):
        return subprocess.Popen(["setpriv", "--reuid", USER, "--regid", "nogroup", "--clear-groups", "--",
                                 "wireshark", *argv], env=self.environment, stderr=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL)

    def windows(self, name):
        """Ids of the top windows whose title matches; helper windows of a few pixels do not count."""
        tree = subprocess.run(["xwininfo", "-root", "-tree"], text=True, capture_output=True, check=True,
                              env=self.environment).stdout
        found = re.findall(r'^ {5}(0x[0-9a-f]+) "(.*)": \(.*\)\s+(\d+)x', tree, re.M)
        return [window for window, title, width in found if int(width) > 50 and re.search(name, title)]

    def fill(self, window):
        """A window as large as the screen."""
        subprocess.run(["xdotool", "windowmove", window, "0", "0", "windowsize", window, "1500", "900"],
                       check=True, env=self.environment)

    def picture(self, name):
        path = os.path.join(self.folder, f"{name}.png")
        subprocess.run(["import", "-window", "root", path], check=True, env=self.environment)
        colours = subprocess.run(["identify", "-format", "%k", path], check=True, text=True,
                                 capture_output=True).stdout
        check(int(colours) > 20, f"the picture {name} is blank")
        if os.environ.get("REMORA_SCREENSHOTS"):
            shutil.copy(path, os.environ["REMORA_SCREENSHOTS"])
        return path


def live_columns(folder):
    tools = wireshark(folder)
    path = os.path.join(folder, "window.pcapng")
    with shop.Shop(os.path.join(folder, "shop")) as cluster, Screen(tools, folder) as screen:
        endpoints, _ = start_nodes(cluster)
        for endpoint in endpoints.values():
            os.chmod(endpoint[5:], 0o666)
        window = screen.start("-C", "Kubernetes", "-k", "-i", "k8s", "-w", path, "-Y", "http || dns || resp || icmp",
                              "-o", f"extcap.k8s.endpoint:{','.join(endpoints.values())}")
        try:
            wait_for(lambda: screen.windows("Kubernetes cluster"), "Wireshark's window", 60)
            wait_for(lambda: captured(endpoints.values()) == len(cluster.pods), "capture by the window", 30)
            screen.fill(screen.windows("Kubernetes cluster")[0])
            cluster.traffic(rounds=3)
            wait_for(lambda: os.path.exists(path) and tools.fields(path, "icmp", "frame.number"), "packets", 20)
            time.sleep(2)  # let the window paint what it has; only the picture depends on it
            screen.picture("live")
        finally:
            stop(window)
        # Wireshark is gone at once, and with it the reader of the fifo.
        wait_for(lambda: captured(endpoints.values()) == 0, "end of the capture", 20)
    rows = tools.fields(path, "http.request", "k8s.src.name", "k8s.dst.name")
    check(rows and all(source and destination for source, destination in rows), "names in the window's file")


def dialogs(folder):
    tools = wireshark(folder)
    with shop.Shop(os.path.join(folder, "shop")) as cluster, Screen(tools, folder) as screen:
        endpoints, _ = start_nodes(cluster)
        for endpoint in endpoints.values():
            os.chmod(endpoint[5:], 0o666)
        good = endpoints["worker-1"]
        for name, options in (("no-endpoint", []),
                              ("refused", ["-o", "extcap.k8s.endpoint:127.0.0.1:1"]),
                              ("bad-filter", ["-o", f"extcap.k8s.endpoint:{good}", "-f", "tcp prot 80"])):
            window = screen.start("-k", "-i", "k8s", *options)
            try:
                # The main window, and above it the dialog, which has the program's plain name.
                wait_for(lambda: screen.windows("Network Analyzer|Capturing") and screen.windows("^Wireshark$"),
                         f"the dialog for {name}", 30)
            except TimeoutError:
                screen.picture(f"missing-{name}")
                raise
            else:
                time.sleep(0.5)  # the picture only
                screen.picture(f"dialog-{name}")
            finally:
                stop(window)
    check_equal(len([f for f in os.listdir(folder) if f.startswith("dialog-")]), 3, "dialogs")


if __name__ == "__main__":
    main(live_columns, dialogs)
