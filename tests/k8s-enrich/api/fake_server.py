# SPDX-License-Identifier: GPL-2.0-or-later
"""A small API server that misbehaves on command: HTTP/1.1, JSON or protocol buffers."""
import http.server
import json
import queue
import socket
import struct
import threading
import time
import urllib.parse


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, value):
    """A field of a message: bytes, text, or a number."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def envelope(kind, raw, version="v1"):
    return b"k8s\0" + field(1, field(1, version) + field(2, kind)) + field(2, raw)


def meta_bytes(meta):
    out = field(1, meta["name"]) + field(3, meta.get("namespace", "")) + field(5, meta["uid"])
    out += field(6, meta["resourceVersion"]) + field(8, field(1, 1700000000))
    for key, value in meta.get("labels", {}).items():
        out += field(11, field(1, key) + field(2, value))
    for owner in meta.get("ownerReferences", []):
        out += field(13, field(1, owner["kind"]) + field(3, owner["name"]) + field(6, 1))
    return out


def object_bytes(item):
    """Of Pods, EndpointSlices and what has only metadata; field 17 (managedFields) is to be skipped."""
    out = field(1, meta_bytes(item["metadata"]) + field(17, b"\x0a\x03abc"))
    if item["kind"] == "Pod":
        out += field(2, field(10, item["spec"]["nodeName"]))
        out += field(3, field(1, item["status"]["phase"]) + field(6, item["status"]["podIP"]))
    if item["kind"] == "EndpointSlice":
        for endpoint in item["endpoints"]:
            out += field(2, b"".join(field(1, address) for address in endpoint["addresses"]))
        out += field(4, item["addressType"])
    return out


class Fake:
    """The state of the server. `hooks` take a handler, path and query; what one returns is None to go on as
    usual, or True for having answered."""
    kinds = {"pods": "Pod", "services": "Service", "nodes": "Node", "namespaces": "Namespace",
             "endpointslices": "EndpointSlice", "jobs": "Job"}

    def __init__(self, protobuf=False, slices="v1", tls=None):
        """tls: an ssl.SSLContext, for HTTPS."""
        self.protobuf, self.slices = protobuf, slices
        self.items = {name: {} for name in self.kinds}
        self.version = 100
        self.token = None
        self.hook = None
        self.page = None
        self.requests = []
        self.watchers = {name: set() for name in self.kinds}
        self.lock = threading.RLock()
        self.watched = threading.Condition(self.lock)
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                fake.get(self)

        class Server(http.server.ThreadingHTTPServer):
            def get_request(self):
                connection, address = super().get_request()
                if tls:
                    # The handshake comes with the first read, on the connection's own thread.
                    connection = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                return connection, address

            def handle_error(self, request, client_address):
                """Handshakes are meant to fail here."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        for name in self.kinds:
            self.cut(name)

    # ---- What there is ----

    def put(self, name, item, change=None):
        with self.lock:
            self.version += 1
            meta = item["metadata"]
            item["kind"] = self.kinds[name]
            meta["resourceVersion"] = str(self.version)
            change = change or ("MODIFIED" if meta["uid"] in self.items[name] else "ADDED")
            if change == "DELETED":
                self.items[name].pop(meta["uid"], None)
            else:
                self.items[name][meta["uid"]] = item
            self.tell(name, self.event(change, item))

    def tell(self, name, data):
        with self.lock:
            for watcher in self.watchers[name]:
                watcher.put(data)

    def wait_watched(self, name):
        with self.lock:
            assert self.watched.wait_for(lambda: self.watchers[name], 40), f"nobody watches {name}"

    def cut(self, name):
        """Ends the watches, at once and without a good-bye."""
        self.tell(name, None)

    def event(self, change, item, bare=False):
        """bare: with metadata alone."""
        if not self.protobuf:
            return json.dumps({"type": change, "object": item}).encode() + b"\n"
        if item["kind"] == "Status":
            raw = field(3, item["message"]) + field(6, item["code"])
        else:
            raw = field(1, field(6, item["metadata"]["resourceVersion"])) if bare else object_bytes(item)
        data = field(1, change) + field(2, field(1, envelope(item["kind"], raw)))
        return struct.pack(">I", len(data)) + data

    def bookmark(self, name, version):
        """Tells the watches that nothing happened up to `version`."""
        with self.lock:
            self.version = version
            meta = {"name": "", "uid": "", "resourceVersion": str(version)}
            self.tell(name, self.event("BOOKMARK", {"kind": self.kinds[name], "metadata": meta}, bare=True))

    def gone(self):
        return self.event("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"})

    # ---- Answers ----

    def content(self, watch=False):
        if not self.protobuf:
            return "application/json"
        return "application/vnd.kubernetes.protobuf" + (";stream=watch" if watch else "")

    @staticmethod
    def send(handler, code, body, content="application/json", **headers):
        handler.send_response(code)
        handler.send_header("Content-Type", content)
        handler.send_header("Content-Length", str(len(body)))
        for key, value in headers.items():
            handler.send_header(key.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    def status(self, handler, code, message, **headers):
        body = json.dumps({"kind": "Status", "code": code, "message": message}).encode()
        self.send(handler, code, body, **headers)

    def list(self, handler, name, query):
        with self.lock:
            items = list(self.items[name].values())
            version = str(self.version)
        start, token = int(query.get("continue", ["0"])[0]), ""
        if self.page and "resourceVersion" not in query:
            token = str(start + self.page) if start + self.page < len(items) else ""
            items = items[start:start + self.page]
        kind = self.kinds[name] + "List"
        if self.protobuf:
            raw = field(1, field(2, version) + field(3, token))
            raw += b"".join(field(2, object_bytes(item)) for item in items)
            self.send(handler, 200, envelope(kind, raw), self.content())
            return
        meta = {"resourceVersion": version, "continue": token}
        body = json.dumps({"kind": kind, "metadata": meta, "items": items}).encode()
        self.send(handler, 200, body)

    def watch(self, handler, name, query):
        events = queue.Queue()
        with self.lock:
            if int(query["resourceVersion"][0]) < self.version:
                for item in self.items[name].values():
                    if int(item["metadata"]["resourceVersion"]) > int(query["resourceVersion"][0]):
                        events.put(self.event("MODIFIED", item))
            self.watchers[name].add(events)
            self.watched.notify_all()
        handler.send_response(200)
        handler.send_header("Content-Type", self.content(watch=True))
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        deadline = time.monotonic() + int(query["timeoutSeconds"][0])
        try:
            while True:
                try:
                    data = events.get(timeout=max(0, deadline - time.monotonic()))
                except queue.Empty:
                    handler.wfile.write(b"0\r\n\r\n")
                    return
                if data is None:
                    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    handler.close_connection = True
                    handler.connection.shutdown(socket.SHUT_RDWR)
                    return
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        except OSError:
            handler.close_connection = True
        finally:
            with self.lock:
                self.watchers[name].discard(events)

    def get(self, handler):
        url = urllib.parse.urlsplit(handler.path)
        query = urllib.parse.parse_qs(url.query)
        parts = url.path.strip("/").split("/")
        name = next((part for part in reversed(parts) if part in self.kinds), "")
        with self.lock:
            self.requests.append(handler.path)
        try:
            if self.token and handler.headers.get("Authorization") != "Bearer " + self.token:
                self.status(handler, 401, "Unauthorized")
            elif self.hook and self.hook(handler, name, query):
                pass
            elif url.path == "/apis/discovery.k8s.io":
                self.send(handler, 200, json.dumps({"kind": "APIGroup", "versions": [
                    {"version": self.slices}]}).encode())
            elif name == "endpointslices" and parts[2] != self.slices:
                self.status(handler, 404, "no such version")
            elif name == "jobs":
                found = [job for job in self.items[name].values() if job["metadata"]["name"] == parts[-1]]
                if found:
                    self.send(handler, 200, json.dumps(found[0]).encode())
                else:
                    self.status(handler, 404, "not found")
            elif not name:
                self.status(handler, 404, "not found")
            elif "watch" in query:
                self.watch(handler, name, query)
            else:
                self.list(handler, name, query)
        except OSError:
            handler.close_connection = True
