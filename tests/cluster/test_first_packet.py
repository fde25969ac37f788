# SPDX-License-Identifier: GPL-2.0-or-later
"""Pods whose only act is one datagram at their start: all of them are captured in the pod itself and where they arrive, and
named right."""
import os
import tempfile
import time

import namesakes
from namesakes import check

PODS = 200 if namesakes.FULL_SIZE else 12
AT_ONCE = 4  # of each node


def first_packet(cluster, daemon):
    with cluster.namespace("first") as namespace, tempfile.TemporaryDirectory() as folder:
        servers = namesakes.start_servers(cluster, namespace)
        file = os.path.join(folder, "first.pcapng")
        pods = {}
        for number in range(PODS):
            node = cluster.nodes[number % len(cluster.nodes)]
            pods[f"first-{number}"] = namesakes.spec(node, *namesakes.datagram(servers[namesakes.other(cluster, node)]))
        # All vantage points: the packet as it left its pod is what is asked for here.
        with daemon.capture(file, "--vantage=all", f"udp port {namesakes.PORT}") as capture:
            begin = time.monotonic()
            namesakes.run_to_end(cluster, namespace, pods, AT_ONCE)
            print(f"{PODS} pods in {time.monotonic() - begin:.0f} s")
            capture.until(f"udp.dstport == {namesakes.PORT}", 2 * PODS, 10)
        got, found = namesakes.received(cluster, namespace), namesakes.datagrams(daemon, file)
        print(f"{len(got)} datagrams arrived, {len(found)} packets in the file")
        check({sender for sender, _ in got} == set(pods) and len(got) == PODS, f"the servers got {len(got)} datagrams")
        sent = [d for d in found if d.to_server]
        for what, here in (("left", True), ("arrived", False)):
            seen = {d.sender for d in sent if d.interface.endswith(f"/{d.node}") == here}
            check(seen == set(pods), f"{len(set(pods) - seen)} of {PODS} are not captured where they {what}")
        check(len(sent) == 2 * PODS, f"{len(sent)} packets for {PODS} datagrams")
        namesakes.check_names(found, namespace)
