# SPDX-License-Identifier: GPL-2.0-or-later
"""The watch against a server that misbehaves. Each test waits for a line, never for a time."""
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from fake_server import Fake

PROGRAM = os.path.join(os.environ["REMORA_BUILD"], "tests/k8s-enrich/api/watch-print")
WATCH_S, STALL_S, REFUSED_S = "3", "2", "1"
NODE = "node-1"


def pod(name, ip="10.0.0.1", owner=None, uid=None):
    meta = {"name": name, "namespace": "shop", "uid": uid or "uid-" + name, "creationTimestamp": "2023-11-14T22:13:20Z"}
    if owner:
        meta["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "controller": True}]
    return {"metadata": meta, "spec": {"nodeName": NODE, "containers": []}, "status": {"phase": "Running", "podIP": ip}}


def endpoint_slice(name):
    return {"metadata": {"name": name, "namespace": "shop", "uid": "uid-" + name,
                         "labels": {"kubernetes.io/service-name": "cart"}},
            "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}]}


class Watch:
    def __init__(self, fake, token_file=None, cluster="", user=None, refused_s=REFUSED_S):
        """cluster, user: what else their parts of the kubeconfig file have."""
        self.directory = tempfile.TemporaryDirectory()
        path = os.path.join(self.directory.name, "config")
        user = "{tokenFile: %s}" % token_file if token_file else user or "{}"
        scheme = "https" if cluster else "http"
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"""
current-context: c
contexts: [{{name: c, context: {{cluster: k, user: u}}}}]
clusters: [{{name: k, cluster: {{server: "{scheme}://127.0.0.1:{fake.port}"{cluster}}}}}]
users: [{{name: u, user: {user}}}]
""")
        self.process = subprocess.Popen([PROGRAM, path, NODE, WATCH_S, STALL_S, refused_s], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lines, self.seen = queue.Queue(), []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def wait(self, pattern, timeout=40):
        """The next line that matches; those before it are kept in `seen`."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self.lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line {pattern!r}; the last: {self.seen[-5:]}") from None
            if line is None:
                raise AssertionError(f"ended before {pattern!r}; the last: {self.seen[-5:]}")
            self.seen.append(line)
            if re.search(pattern, line):
                return line

    def hurry(self):
        self.process.stdin.write("hurry\n")
        self.process.stdin.flush()

    def stats(self):
        self.process.stdin.write("stats\n")
        self.process.stdin.flush()
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", self.wait("^stats "))}

    def close(self):
        self.process.stdin.close()
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.directory.cleanup()
        assert code == 0, f"watch-print ended with {code}"


class Case(unittest.TestCase):
    protobuf = False

    def fake(self, **options):
        fake = Fake(protobuf=self.protobuf, **options)
        self.addCleanup(fake.close)
        return fake

    def watch(self, fake, **options):
        watch = Watch(fake, **options)
        self.addCleanup(watch.close)
        return watch

    def test_life_of_a_pod(self):
        fake = self.fake()
        fake.put("pods", pod("a"))
        watch = self.watch(fake)
        watch.wait("^known pod shop/a .* from=1700000000000000000 .* addresses=10.0.0.1 ")
        watch.wait("^synced")
        fake.put("pods", pod("b", "10.0.0.2", ("StatefulSet", "db")))
        watch.wait("^known pod shop/b .* owner=StatefulSet/db .* addresses=10.0.0.2 ")
        before_ns = time.time_ns()
        fake.put("pods", pod("a", "10.0.0.9"))
        line = watch.wait("^known pod shop/a .* addresses=10.0.0.9 ")
        self.assertGreaterEqual(int(re.search(r"from=(\d+)", line)[1]), before_ns)
        fake.put("pods", pod("b", "10.0.0.2"), "DELETED")
        watch.wait("^gone pod shop/b ")
        asked = [path for path in fake.requests if "/pods?" in path]
        self.assertTrue(all("fieldSelector=spec.nodeName%3Dnode-1" in path for path in asked))

    def test_slice_versions(self):
        for version in ("v1", "v1beta1"):
            fake = self.fake(slices=version)
            fake.put("endpointslices", endpoint_slice("cart-1"))
            watch = self.watch(fake)
            watch.wait("^known slice shop/cart-1 .* endpoints=2 ")

    def test_reset_tells_nothing_twice(self):
        fake = self.fake()
        fake.put("pods", pod("a"))
        watch = self.watch(fake)
        watch.wait("^synced")
        fake.wait_watched("pods")
        fake.cut("pods")
        watch.wait("^problem Kubernetes API: pods: what is known may be out of date since ")
        fake.put("pods", pod("b"))
        watch.wait("^known pod shop/b")
        self.assertEqual(1, sum("known pod shop/a" in line for line in watch.seen))
        self.assertFalse(any(line.startswith("gone") for line in watch.seen))

    def test_gone_relists(self):
        fake = self.fake()
        fake.put("pods", pod("a"))
        fake.put("pods", pod("b"))
        watch = self.watch(fake)
        watch.wait("^synced")
        fake.wait_watched("pods")
        with fake.lock:
            del fake.items["pods"]["uid-a"]
            fake.version += 100
            fake.tell("pods", fake.gone())
        watch.wait("^gone pod shop/a ")
        fake.put("pods", pod("c"))
        watch.wait("^known pod shop/c")
        self.assertEqual(1, sum("known pod shop/b" in line for line in watch.seen))
        self.assertEqual(1, watch.stats()["relists"])

    def test_gone_as_the_answer(self):
        fake = self.fake()
        fake.put("pods", pod("a"))
        refused = []

        def hook(handler, name, query):
            if name != "pods" or "watch" not in query or refused:
                return False
            refused.append(query["resourceVersion"][0])
            fake.status(handler, 410, "too old resource version")
            return True
        fake.hook = hook
        watch = self.watch(fake)
        watch.wait("^synced")
        fake.wait_watched("pods")
        fake.put("pods", pod("b"))
        watch.wait("^known pod shop/b")
        self.assertEqual(1, watch.stats()["relists"])
        self.assertEqual(2, sum("/pods?" in path and "watch=1" not in path for path in fake.requests))
        self.assertEqual(1, sum("known pod shop/a" in line for line in watch.seen))

    def test_bookmark(self):
        """After one, the watch goes on from there: nothing is told that is older, nothing is listed anew."""
        fake = self.fake()
        fake.put("pods", pod("a"))
        watch = self.watch(fake)
        watch.wait("^synced")
        fake.wait_watched("pods")
        fake.bookmark("pods", 7000)
        fake.put("pods", pod("b"))
        watch.wait("^known pod shop/b")
        fake.wait_watched("pods")
        fake.bookmark("pods", 8000)
        fake.cut("pods")
        fake.put("pods", pod("c"))
        watch.wait("^known pod shop/c")
        asked = [re.search(r"resourceVersion=(\d+)", path)[1] for path in fake.requests
                 if "/pods?" in path and "watch=1" in path]
        self.assertIn("8000", asked)
        self.assertEqual(1, sum("/pods?" in path and "watch=1" not in path for path in fake.requests))

    def test_frozen_server(self):
        """Its kernel still acknowledges, but nothing comes: neither in a watch nor to a new request."""
        fake = self.fake()
        fake.put("pods", pod("a"))
        frozen, release = threading.Event(), threading.Event()
        self.addCleanup(release.set)

        def hook(handler, name, query):
            if name == "pods" and "watch" in query and not frozen.is_set():
                handler.send_response(200)
                handler.send_header("Content-Type", fake.content(watch=True))
                handler.send_header("Transfer-Encoding", "chunked")
                handler.end_headers()
                frozen.set()
            if not frozen.is_set() or release.is_set():
                return False
            release.wait(60)
            handler.close_connection = True
            return True
        fake.hook = hook
        watch = self.watch(fake)
        watch.wait("^problem Kubernetes API: pods: what is known may be out of date since .*did not end the watch in time")
        watch.wait("^problem Kubernetes API: pods: .*does not answer")
        release.set()
        fake.put("pods", pod("b"))
        watch.wait("^known pod shop/b")
        self.assertIn("well Kubernetes API: pods", watch.seen)
        self.assertFalse(any(line.startswith("gone") for line in watch.seen))

    def test_torn_frame(self):
        fake = self.fake()
        watch = self.watch(fake)
        watch.wait("^synced")
        fake.wait_watched("pods")
        with fake.lock:
            fake.tell("pods", fake.event("ADDED", dict(pod("half"), kind="Pod", metadata=dict(
                pod("half")["metadata"], resourceVersion="5")))[:-7])
        watch.wait("^problem Kubernetes API: pods: .*stopped in the middle of an event")
        fake.put("pods", pod("b"))
        watch.wait("^known pod shop/b")
        self.assertFalse(any("shop/half" in line for line in watch.seen))

    def test_errors_and_retry_after(self):
        fake = self.fake()
        fake.put("pods", pod("a"))
        times = []

        def hook(handler, name, query):
            if name != "pods" or len(times) >= 3:
                return False
            times.append(time.monotonic())
            if len(times) == 2:
                fake.status(handler, 429, "slow down", Retry_After="2")
            else:
                fake.status(handler, 500, "broken inside")
            return True
        fake.hook = hook
        watch = self.watch(fake)
        watch.wait("^problem Kubernetes API: pods: nothing known since .*500: broken inside")
        watch.wait("^problem Kubernetes API: pods: .*429: slow down")
        watch.wait("^known pod shop/a")
        watch.wait("^well Kubernetes API: pods")
        self.assertGreaterEqual(times[2] - times[1], 2)

    def test_forbidden(self):
        fake = self.fake()
        fake.put("pods", pod("a"))

        def hook(handler, name, query):
            if name == "nodes":
                fake.status(handler, 403, "no nodes for you")
                return True
            return False
        fake.hook = hook
        watch = self.watch(fake)
        watch.wait("^synced")
        seen = "\n".join(watch.seen)
        self.assertRegex(seen, r'problem Kubernetes API: nodes: .*403: no nodes for you.*resources: \["nodes"\], '
                               r'verbs: \["list", "watch"\]')
        self.assertIn("known pod shop/a", seen)
        fake.hook = None
        watch.wait("^well Kubernetes API: nodes")

    def test_forbidden_for_a_moment(self):
        """As by a server that has just started and has not read its roles yet: it is asked again soon."""
        fake, refused = self.fake(), []
        fake.put("pods", pod("a"))

        def hook(handler, name, query):
            if name != "pods" or len(refused) == 3:
                return False
            refused.append(time.monotonic())
            fake.status(handler, 403, "no role yet")
            return True
        fake.hook = hook
        watch = self.watch(fake, refused_s="60")
        watch.wait("^known pod shop/a")
        watch.wait("^well Kubernetes API: pods")
        self.assertGreater(refused[2] - refused[1], refused[1] - refused[0])

    def test_hurry(self):
        """A server that has failed for a while is asked again at once where something shows that it is there."""
        fake = self.fake()
        fake.put("pods", pod("a"))
        asked = []

        def hook(handler, name, query):
            if name == "pods":
                asked.append(time.monotonic())
                fake.status(handler, 500, "not now")
            return name == "pods"
        fake.hook = hook
        watch = self.watch(fake)
        deadline = time.monotonic() + 60
        while len(asked) < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        waits = asked[4] - asked[3]  # four seconds, and the next are eight
        fake.hook = None
        began = time.monotonic()
        watch.hurry()
        watch.wait("^known pod shop/a")
        self.assertLess(time.monotonic() - began, waits)

    def test_endless_list(self):
        fake = self.fake()

        def hook(handler, name, query):
            if name != "services" or "watch" in query:
                return False
            if "resourceVersion" in query:
                fake.status(handler, 410, "expired")
                return True
            fake.items["services"] = {}
            body = b'{"kind":"ServiceList","metadata":{"resourceVersion":"1","continue":"x"},"items":[]}'
            fake.send(handler, 200, body)
            return True
        fake.hook = hook
        watch = self.watch(fake)
        watch.wait("^problem Kubernetes API: services: .*the list does not end")
        fake.hook = None
        watch.wait("^synced")

    def test_pages(self):
        fake = self.fake()
        fake.page = 3
        for i in range(10):
            fake.put("pods", pod(f"p{i}", f"10.0.1.{i}"))

        def hook(handler, name, query):
            if name == "pods" and "watch" not in query and "resourceVersion" in query:
                fake.status(handler, 410, "expired")
                return True
            return False
        fake.hook = hook
        watch = self.watch(fake)
        watch.wait("^synced")
        self.assertEqual(10, watch.stats()["pods"])
        self.assertEqual(4, sum("/pods?limit=500" in path for path in fake.requests))

    def test_stalled_list(self):
        fake = self.fake()
        release = threading.Event()
        self.addCleanup(release.set)

        def hook(handler, name, query):
            if name != "pods" or release.is_set():
                return False
            handler.send_response(200)
            handler.send_header("Content-Type", fake.content())
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
            while not release.wait(0.3):
                handler.wfile.write(b"{" if not fake.protobuf else b"k")
                handler.wfile.flush()
            handler.close_connection = True
            return True
        fake.hook = hook
        watch = self.watch(fake)
        watch.wait("^problem Kubernetes API: pods: nothing known since ")
        release.set()
        watch.wait("^synced")

    def test_wrong_types(self):
        fake = self.fake()
        watch = self.watch(fake)
        watch.wait("^synced")
        bad = pod("bad", "no address")
        fake.put("pods", bad)
        watch.wait("^problem Kubernetes API: pods, objects: left out: Pod shop/bad: status.podIP: .*is no IP address")
        fake.wait_watched("pods")
        with fake.lock:
            fake.tell("pods", b"\xff\xff\xff\xff garbage\n")
        watch.wait("^problem Kubernetes API: pods: ")
        with fake.lock:
            del fake.items["pods"]["uid-bad"]
        fake.put("pods", pod("b"))
        watch.wait("^known pod shop/b")

    def test_rotated_token(self):
        with tempfile.NamedTemporaryFile("w", delete=False) as file:
            file.write("first\n")
        self.addCleanup(os.unlink, file.name)
        fake = self.fake()
        fake.token = "first"
        watch = self.watch(fake, token_file=file.name)
        watch.wait("^synced")
        with fake.lock:
            fake.token = "second"
        with open(file.name + ".new", "w", encoding="utf-8") as new:
            new.write("second\n")
        os.rename(file.name + ".new", file.name)
        fake.wait_watched("pods")
        fake.cut("pods")
        fake.put("pods", pod("b"))
        watch.wait("^known pod shop/b")
        self.assertFalse(any("401" in line for line in watch.seen))

    def test_token_read_again_after_a_401(self):
        """The file has another token but looks as it did, so that only the refusal tells."""
        with tempfile.NamedTemporaryFile("w", delete=False) as file:
            file.write("one-1\n")
        self.addCleanup(os.unlink, file.name)
        fake = self.fake()
        fake.token = "one-1"
        watch = self.watch(fake, token_file=file.name)
        watch.wait("^synced")
        fake.wait_watched("pods")
        status = os.stat(file.name)
        with fake.lock:
            fake.token = "two-2"
        fake.cut("pods")
        watch.wait("^problem Kubernetes API: .*401.*the credentials are not accepted")
        with open(file.name, "r+", encoding="utf-8") as same:
            same.write("two-2\n")
        os.utime(file.name, ns=(status.st_atime_ns, status.st_mtime_ns))
        fake.put("pods", pod("b"))
        watch.wait("^known pod shop/b")
        self.assertFalse(any(line.startswith("gone") for line in watch.seen))

    def test_job_owner(self):
        fake = self.fake()
        job = pod("nightly-28000000")["metadata"]
        fake.put("jobs", {"apiVersion": "batch/v1", "metadata": dict(job, ownerReferences=[
            {"kind": "CronJob", "name": "made-by-hand", "controller": True}])})
        fake.put("pods", pod("j", owner=("Job", "nightly-28000000")))
        fake.put("pods", pod("k", owner=("Job", "no-such-job")))
        watch = self.watch(fake)
        line = watch.wait("^known pod shop/j .* owner=CronJob/made-by-hand ")
        self.assertIn("from=1700000000000000000", line)
        self.assertTrue(any("shop/k" in line and "owner=Job/no-such-job" in line for line in watch.seen)
                        or watch.wait("shop/k .*owner=Job/no-such-job"))


class Protobuf(Case):
    protobuf = True


if __name__ == "__main__":
    unittest.main(verbosity=1, argv=[sys.argv[0]] + sys.argv[1:])
