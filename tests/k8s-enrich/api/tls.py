# SPDX-License-Identifier: GPL-2.0-or-later
"""The watch over HTTPS: who may be trusted, and who we are."""
import importlib
import os
import ssl
import subprocess
import sys
import tempfile
import unittest

from fake_server import Fake

watches = importlib.import_module("end-to-end")


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, stderr=subprocess.DEVNULL)


class Authority:
    """A CA of its own, and certificates by it."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.key, self.certificate = self.path(name, "key"), self.path(name, "crt")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", self.key,
                "-out", self.certificate, "-subj", f"/CN={name}", "-days", "30")

    def path(self, name, kind):
        return os.path.join(self.folder, f"{self.name}-{name}.{kind}")

    def sign(self, name, days=30, extension=None):
        """Returns (certificate, key). days below zero: it has expired."""
        request, key, certificate = self.path(name, "csr"), self.path(name, "key"), self.path(name, "crt")
        extensions = self.path(name, "ext")
        with open(extensions, "w", encoding="ascii") as file:
            file.write(extension or "")
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
                "-out", request, "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-days",
                str(days), "-extfile", extensions, "-out", certificate)
        return certificate, key


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.ours, cls.other = Authority(folder.name, "ours"), Authority(folder.name, "other")

    def fake(self, days=30, address="IP:127.0.0.1", client_authority=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.ours.sign(f"server{days}", days, f"subjectAltName={address}\n"))
        if client_authority:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_authority.certificate)
        fake = Fake(protobuf=True, tls=context)
        self.addCleanup(fake.close)
        fake.put("pods", watches.pod("a"))
        return fake

    def watch(self, fake, authority, user=None):
        watch = watches.Watch(fake, cluster=f", certificate-authority: {authority.certificate}", user=user)
        self.addCleanup(watch.close)
        return watch

    def refused(self, watch, fake, pattern):
        watch.wait(f"^problem Kubernetes API: pods: nothing known since .*{pattern}")
        self.assertFalse(any(line.startswith("known") for line in watch.seen))
        self.assertEqual([], fake.requests)

    def test_trusted(self):
        watch = self.watch(self.fake(), self.ours)
        watch.wait("^known pod shop/a")
        watch.wait("^synced")

    def test_client_certificate(self):
        certificate, key = self.ours.sign("client")
        user = f"{{client-certificate: {certificate}, client-key: {key}}}"
        watch = self.watch(self.fake(client_authority=self.ours), self.ours, user)
        watch.wait("^known pod shop/a")

    def test_client_certificate_of_another(self):
        certificate, key = self.other.sign("client")
        user = f"{{client-certificate: {certificate}, client-key: {key}}}"
        fake = self.fake(client_authority=self.ours)
        self.refused(self.watch(fake, self.ours, user), fake, "accept our client certificate")

    def test_no_client_certificate(self):
        fake = self.fake(client_authority=self.ours)
        self.refused(self.watch(fake, self.ours), fake, "accept callers without a client certificate")

    def test_unknown_authority(self):
        fake = self.fake()
        self.refused(self.watch(fake, self.other), fake, "certificate")

    def test_expired(self):
        fake = self.fake(days=-1)
        self.refused(self.watch(fake, self.ours), fake, "certificate has expired")

    def test_another_name(self):
        fake = self.fake(address="DNS:elsewhere.example")
        self.refused(self.watch(fake, self.ours), fake, "certificate subject name|no alternative certificate subject")


if __name__ == "__main__":
    unittest.main(verbosity=1, argv=[sys.argv[0]] + sys.argv[1:])
