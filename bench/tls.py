# SPDX-License-Identifier: GPL-2.0-or-later
"""What hooks on both ends cost HTTPS: wrk against nginx, both in pods of a stream that asks for TLS secrets, against the same with
a stream that does not. The stream's filter takes one packet alone, as all would cost far more: secrets are written to a file that
has an interface.

Twice: node and reader on a processor of their own, wrk and nginx on another one, which is what the hooks alone cost; and all
four on the same processors, where secrets and who they are of have to be carried as well. Then how soon hooks are there."""
import os
import re
import signal
import subprocess
import tempfile

import attach
from measure import descendants, paired
from traffic import Bench, wait_for

ENDPOINT = "127.0.0.1:7777"
SECONDS = 3
PAIRS = 9  # at least: runs are short, as the machine's speed changes from one half of a minute to the next
KINDS = {"requests over connections that stay": ([], 0.99), "new connections": (["-H", "Connection: close"], 0.97)}

NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log; worker_processes 1;
events {{}}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 8443 ssl; ssl_certificate {folder}/tls.crt; ssl_certificate_key {folder}/tls.key; ssl_session_tickets off;
    location / {{ return 200 "hello\\n"; }}
  }}
}}
"""


class Https(Bench):
    def build(self):
        super().build()
        self.add_pod("bench", "client", "worker-1", "10.244.1.3")

    def start_nginx(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                        "2", "-subj", "/CN=sink", "-out", f"{self.folder}/tls.crt", "-keyout", f"{self.folder}/tls.key"],
                       check=True, capture_output=True)
        with open(f"{self.folder}/nginx.conf", "w", encoding="ascii") as file:
            file.write(NGINX.format(folder=self.folder))
        self.nginx = self.spawn("sink", ["nginx", "-c", f"{self.folder}/nginx.conf"], log="nginx.log")
        self.wait_port("sink", 8443)

    def place(self, load, others):
        """Which processors wrk and nginx use, and which all others."""
        self.load, self.others = load, others
        for pid in descendants(self.nginx.pid):
            os.sched_setaffinity(pid, load)
        for thread in os.listdir(f"/proc/{self.node.pid}/task"):
            os.sched_setaffinity(int(thread), others)

    def rate(self, words, mode):
        """Requests a second that wrk counts, while a stream with that mode of TLS is open."""
        out = os.path.join(self.folder, "capture.pcapng")
        dump = self.remoradump("--endpoint", ENDPOINT, "--tls", mode, "-w", out, "udp port 9", stderr=subprocess.DEVNULL,
                               preexec_fn=lambda: os.sched_setaffinity(0, self.others))
        try:
            wait_for(self.captured, "capture")
            subprocess.run(self.entering("client", ["bash", "-c", "echo > /dev/udp/10.244.1.2/9"]), check=True)
            for seconds in (1, SECONDS):  # the first one to have everything hooked and warm
                text = subprocess.run(self.entering("client", ["wrk", "-t1", "-c16", f"-d{seconds}s", *words,
                                                             "https://10.244.1.2:8443/"]), check=True, text=True,
                                      preexec_fn=lambda: os.sched_setaffinity(0, self.load), capture_output=True).stdout
        finally:
            self.kill(dump, signal.SIGINT)
        if (mode == "keys") != has_secrets(out):
            raise RuntimeError(f"--tls {mode}, and " + ("secrets came" if mode == "off" else "none came: nothing was hooked"))
        return float(re.search(r"Requests/sec:\s+([0-9.]+)", text)[1])


def has_secrets(path):
    with open(path, "rb") as file:
        return re.search(rb"CLIENT_(RANDOM|TRAFFIC_SECRET_0) ", file.read()) is not None  # of TLS 1.2 or 1.3


def run(build, report, pairs):
    with tempfile.TemporaryDirectory(prefix="remora-bench-") as folder, Https(build, folder) as bench:
        bench.start_nginx()
        bench.node = bench.start_remora()
        processors = sorted(os.sched_getaffinity(0))
        places = {"all on the same processors": (processors, processors)}
        if len(processors) > 1:
            places = {"hooks alone, node and reader elsewhere": (processors[:1], processors[1:]), **places}
        bench.place(processors, processors)
        for place, (load, others) in places.items():
            bench.place(load, others)
            for what, (words, least) in KINDS.items():
                median, low, high, ours, theirs = paired(lambda w=words: bench.rate(w, "keys"),
                                                         lambda w=words: bench.rate(w, "off"), max(pairs, PAIRS))
                report.add_least(f"HTTPS with TLS secrets taken at both ends against without: {what}; {place}", ours, theirs,
                                 (median, low, high), least, "a second")
    attach.run(build, report)
