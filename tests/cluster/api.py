# SPDX-License-Identifier: GPL-2.0-or-later
"""A small client of the API server, in JSON, with the rights of the lab's administrator."""
import http.client
import json
import ssl
import time
from urllib.parse import urlencode, urlsplit

from settings import path


class ApiError(Exception):
    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status = status


class Api:
    def __init__(self, kubeconfig):
        with open(kubeconfig, encoding="utf-8") as file:
            server = json.load(file)["clusters"][0]["cluster"]["server"]
        self.address = urlsplit(server)
        self.tls = ssl.create_default_context(cafile=path("pki/ca.crt"))
        self.tls.load_cert_chain(path("pki/admin.crt"), path("pki/admin.key"))

    def open(self, method, where, body=None, content_type="application/json", timeout=30):
        """Returns (connection, response); close the connection. Raises ApiError, OSError or HTTPException."""
        connection = http.client.HTTPSConnection(self.address.hostname, self.address.port, context=self.tls,
                                                 timeout=timeout)
        try:
            data = json.dumps(body) if body is not None else None
            connection.request(method, where, data, {"Content-Type": content_type} if data else {})
            response = connection.getresponse()
            if response.status >= 400:
                raise ApiError(response.status, response.read().decode(errors="replace").strip())
        except BaseException:
            connection.close()
            raise
        return connection, response

    def call(self, method, where, body=None, content_type="application/json"):
        connection, response = self.open(method, where, body, content_type)
        with connection_closing(connection):
            return response.read().decode()

    def get(self, where):
        return json.loads(self.call("GET", where))

    def post(self, where, body):
        return json.loads(self.call("POST", where, body))

    def patch(self, where, body):
        return json.loads(self.call("PATCH", where, body, "application/merge-patch+json"))

    def delete(self, where):
        self.call("DELETE", where)

    def wait(self, where, condition, what, timeout=60, **query):
        """Lists and watches a collection until condition(items) holds, and returns its result. query: fieldSelector or
        labelSelector. An API server that goes away meanwhile is asked again."""
        deadline = time.monotonic() + timeout
        items, error = {}, None
        while time.monotonic() < deadline:
            try:
                listed = self.get(f"{where}?{urlencode(query)}")
                items = {item["metadata"]["uid"]: item for item in listed["items"]}
                result = condition(list(items.values()))
                if result:
                    return result
                result = self._watch(where, query, items, listed["metadata"]["resourceVersion"], condition, deadline)
                if result:
                    return result
            except (ApiError, OSError, http.client.HTTPException) as failure:
                error = failure
                time.sleep(0.1)
        state = "; ".join(describe(item) for item in items.values()) or "nothing there"
        raise TimeoutError(f"waited {timeout} s for {what}: {state}" + (f" (last error: {error})" if error else ""))

    def _watch(self, where, query, items, version, condition, deadline):
        """Applies events to items; None when the watch ends, at the latest at the deadline."""
        left = max(1, int(deadline - time.monotonic()) + 1)
        query = {**query, "watch": "1", "resourceVersion": version, "timeoutSeconds": left}
        connection, response = self.open("GET", f"{where}?{urlencode(query)}", timeout=left + 5)
        with connection_closing(connection):
            for line in response:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return None
                uid = event["object"]["metadata"]["uid"]
                if event["type"] == "DELETED":
                    items.pop(uid, None)
                else:
                    items[uid] = event["object"]
                result = condition(list(items.values()))
                if result:
                    return result
                if time.monotonic() > deadline:
                    return None
        return None


class connection_closing:
    def __init__(self, connection):
        self.connection = connection

    def __enter__(self):
        return self.connection

    def __exit__(self, *_):
        self.connection.close()


def condition_of(item, kind):
    """The state of a status condition, such as Ready."""
    return next((c["status"] == "True" for c in item.get("status", {}).get("conditions") or [] if c["type"] == kind),
                False)


def describe(item):
    """One line on an object that somebody waits for."""
    status = item.get("status", {})
    reasons = [state.get("reason", kind) + (f" ({state['message']})" if "message" in state else "")
               for container in status.get("containerStatuses") or []
               for kind, state in container.get("state", {}).items()]
    return " ".join([item["metadata"]["name"], status.get("phase", ""), *reasons]).strip()
