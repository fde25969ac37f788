# SPDX-License-Identifier: GPL-2.0-or-later
"""Certificates, keys and kubeconfigs of the lab, made new for every bring-up."""
import json
import os
import subprocess

from settings import (API_URL, CONTROL_PLANE_IP, CONTROL_PLANE_IP6, FIRST_SERVICE_IP, LabError, node_ip, node_ip6,
                      path)


def _openssl(*words):
    result = subprocess.run(["openssl", *words], text=True, capture_output=True, check=False)
    if result.returncode:
        raise LabError(f"openssl {words[0]}: {result.stderr.strip()}")


def _key(name):
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path("pki", f"{name}.key"))


def make_authority():
    os.makedirs(path("pki"), mode=0o700)
    _key("ca")
    _openssl("req", "-x509", "-new", "-key", path("pki/ca.key"), "-subj", "/CN=remora-lab", "-days", "3650",
             "-out", path("pki/ca.crt"))
    # Service-account tokens are signed with RSA by every version of Kubernetes.
    _openssl("genrsa", "-out", path("pki/sa.key"), "2048")
    _openssl("rsa", "-in", path("pki/sa.key"), "-pubout", "-out", path("pki/sa.pub"))


def make_certificate(name, subject, addresses=()):
    """addresses: as in subjectAltName; a certificate without them is a client's."""
    _key(name)
    request, extensions = path("pki", f"{name}.csr"), path("pki", f"{name}.ext")
    with open(extensions, "w", encoding="ascii") as file:
        file.write(f"extendedKeyUsage={'serverAuth,' if addresses else ''}clientAuth\n")
        if addresses:
            file.write(f"subjectAltName={','.join(addresses)}\n")
    _openssl("req", "-new", "-key", path("pki", f"{name}.key"), "-subj", subject, "-out", request)
    _openssl("x509", "-req", "-in", request, "-CA", path("pki/ca.crt"), "-CAkey", path("pki/ca.key"),
             "-CAcreateserial", "-days", "3650", "-extfile", extensions, "-out", path("pki", f"{name}.crt"))
    os.unlink(request)
    os.unlink(extensions)


def write_kubeconfig(name, certificate, server=API_URL):
    """Returns the file's path. JSON is YAML too."""
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority": path("pki/ca.crt")}}],
        "users": [{"name": certificate, "user": {"client-certificate": path("pki", f"{certificate}.crt"),
                                                 "client-key": path("pki", f"{certificate}.key")}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": certificate}}],
    }
    file_name = path(f"{name}.kubeconfig")
    with open(os.open(file_name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=1)
    return file_name


def make_control_plane():
    make_authority()
    make_certificate("apiserver", "/CN=kube-apiserver", (
        f"IP:{CONTROL_PLANE_IP}", f"IP:{CONTROL_PLANE_IP6}", f"IP:{FIRST_SERVICE_IP}", "IP:127.0.0.1", "DNS:localhost",
        "DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc"))
    make_certificate("apiserver-kubelet", "/O=system:masters/CN=kube-apiserver-kubelet-client")
    make_certificate("admin", "/O=system:masters/CN=admin")
    for component in ("kube-controller-manager", "kube-scheduler", "kube-proxy"):
        make_certificate(component, f"/CN=system:{component}")
        write_kubeconfig(component, component)
    write_kubeconfig("inside", "admin")


def make_node(node):
    make_certificate(node, f"/O=system:nodes/CN=system:node:{node}",
                     (f"DNS:{node}", f"IP:{node_ip(node)}", f"IP:{node_ip6(node)}"))
    write_kubeconfig(node, node)
