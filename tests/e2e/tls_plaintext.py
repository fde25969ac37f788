#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Plaintext of real programs in pods: beside their encrypted packets, from one end, and only where it was asked for."""
import os

from common import check, check_equal, main, start_nodes, wireshark
from tls import VERSIONS, Capture, pods, until_hooked

PLAINTEXT = 'frame.interface_name contains "/plaintext"'


def ask(cluster):
    """Two requests on each of a few connections; returns what was asked."""
    asked = []
    for number in range(3):
        for version in VERSIONS:
            urls = [f"/{version}/{number}/{part}" for part in "ab"]
            check_equal(cluster.curl("client", *urls, version=version), "".join(f"you asked for {url}\n" for url in urls), "answers")
            asked += urls
    return asked


def of_both_ends(folder):
    tools = wireshark(folder)
    with pods(folder) as cluster:
        cluster.start_server()
        endpoints, processes = start_nodes(cluster)
        paths, asked = {}, {}
        for mode in ("plaintext", "auto"):
            paths[mode] = os.path.join(folder, f"{mode}.pcapng")
            with Capture(cluster, endpoints.values(), paths[mode], "--tls", mode):
                until_hooked(processes["worker-1"], cluster, "client")
                cluster.curl("client", "/warm")
                asked[mode] = ask(cluster)
    for mode, where in (("plaintext", PLAINTEXT), ("auto", f"tls && !({PLAINTEXT})")):
        rows = tools.fields(paths[mode], f'http.request && {where} && http.request.uri matches "^/1"', "http.request.uri",
                            "k8s.src.name", "k8s.dst.name", "k8s.capture.pod.name")
        check_equal(rows, [(url, "shop/client", "shop/server", "shop/server") for url in asked[mode]], f"{mode}: requests")
        bodies = tools.fields(paths[mode], f'http.response && {where} && http.file_data contains "/1."', "http.file_data")
        check_equal([row[0].replace("\\n", "") for row in bodies], [f"you asked for {url}" for url in asked[mode]], f"{mode}: bodies")
    check_equal(tools.fields(paths["plaintext"], f"tcp.analysis.flags && {PLAINTEXT}", "_ws.col.Info"), [], "anything strange")
    check_equal(tools.fields(paths["auto"], PLAINTEXT, "frame.number"), [], "plaintext beside secrets")
    check_equal(tools.fields(paths["plaintext"], f"http && !({PLAINTEXT})", "frame.number"), [], "decrypted without secrets")
    check(tools.fields(paths["plaintext"], "tls.handshake.type == 1", "frame.number"), "the encrypted packets are there")


if __name__ == "__main__":
    main(of_both_ends)
