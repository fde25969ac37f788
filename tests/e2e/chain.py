# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole chain on real traffic: every packet once, named right, and still named after Wireshark's tools."""
import collections
import json
import os
import signal
import subprocess
import time

from common import (captured, check, check_equal, main, start_nodes, stop, tcpdump, wait_for,
                    wireshark)
import shop
from demo import settled

SENT_AGAIN = [f"tcp.analysis.{finding}" for finding in (
    "retransmission", "fast_retransmission", "spurious_retransmission", "out_of_order", "duplicate_ack", "lost_segment")]
# One packet of a connection, whichever leg of a ClusterIP it is seen on.
KEY = ("ip.proto", "tcp.seq_raw", "tcp.ack_raw", "tcp.flags", "tcp.len", "udp.length", "dns.id",
       "icmp.ident", "icmp.seq", "icmp.type", "dns.flags.response")


def truth_of(cluster):
    """{(pod, device): file of the tcpdump there} and the tcpdumps."""
    files = {(pod, device): f"{cluster.folder}/truth-{pod}-{device}.pcap"
             for pod in cluster.pods for device in ("eth0", "lo")}
    return files, [tcpdump(cluster, pod, device, path, "ip or ip6") for (pod, device), path in files.items()]


def record(folder):
    """Traffic of the shop, captured by the chain and by tcpdump in every pod."""
    tools = wireshark(folder)
    path = os.path.join(folder, "chain.pcapng")
    with shop.Shop(os.path.join(folder, "shop")) as cluster:
        endpoints, _ = start_nodes(cluster)
        truth, tcpdumps = truth_of(cluster)
        tshark = tools.capture(endpoints.values(), "-q", "-w", path, stderr=subprocess.PIPE, text=True)
        try:
            wait_for(lambda: tshark.poll() is not None or
                     captured(endpoints.values()) == len(cluster.pods), "capture of all pods")
            check(tshark.poll() is None, "tshark ended early")
            cluster.traffic(rounds=8)
            for file in (path, *truth.values()):
                settled(file)
        finally:
            status = stop(tshark)
        check_equal(status, 0, f"tshark's exit status ({tshark.stderr.read()})")
        for process in tcpdumps:
            cluster.kill(process, signal.SIGINT)
        addresses = {pod["address"]: pod for pod in cluster.pods.values()}
        services = {service["address"]: service for service in cluster.services}
    return tools, path, truth, addresses, services


def client_side(row):
    """The address and port that both legs of a ClusterIP connection share: the higher port."""
    source, sport, destination, dport = row[:4]
    return (source, sport) if int(sport or 0) > int(dport or 0) else (destination, dport)


def seen(tools, path, display_filter="ip && !icmp.type == 3"):
    """Counts packets by a key that is the same at every vantage point."""
    rows = tools.fields(path, display_filter, "ip.src", "tcp.srcport", "udp.srcport", "ip.dst",
                        "tcp.dstport", "udp.dstport", *KEY)
    counts = collections.Counter()
    for source, tcp_s, udp_s, destination, tcp_d, udp_d, *key in rows:
        sport, dport = tcp_s or udp_s, tcp_d or udp_d
        if sport:
            ends = client_side((source, sport, destination, dport))
        else:
            ends = (source, destination)
        counts[(ends, tuple(key))] += 1
    return counts


def every_packet_once(tools, path, truth):
    expected = collections.Counter()
    for (_, device), file in truth.items():
        if device == "eth0":
            expected |= seen(tools, file)
    got = seen(tools, path, 'ip && k8s.capture.device == "eth0"')
    check(sum(expected.values()) > 200, "the shop made hardly any traffic")
    check_equal(dict(expected - got), {}, "packets that tcpdump saw and the chain did not")
    check_equal(dict(got - expected), {}, "packets more often than tcpdump saw them")
    for (pod, device), file in truth.items():
        if device == "lo":
            check_equal(seen(tools, path, f"ip && {on_lo_of(pod)}"), seen(tools, file), f"packets on lo of {pod}")


def on_lo_of(pod):
    return f'k8s.capture.device == "lo" && k8s.capture.pod.name contains "{pod}"'


def looking_sent_again(tools, file):
    """How many packets Wireshark has each finding on."""
    counts = collections.Counter()
    for row in tools.fields(file, "tcp.analysis", *SENT_AGAIN):
        counts.update(finding for finding, value in zip(SENT_AGAIN, row) if value)
    return counts


def nothing_sent_again(tools, path, truth, folder):
    """No packet looks sent again where it was not. For Wireshark equal addresses and ports are one connection, and those
    on lo may be equal in two pods, so each pod's lo is looked at alone."""
    part = os.path.join(folder, "part.pcapng")
    parts = {'k8s.capture.device == "eth0"': [f for (_, device), f in truth.items() if device == "eth0"]}
    parts.update({on_lo_of(pod): [f] for (pod, device), f in truth.items() if device == "lo"})
    for expression, files in parts.items():
        tools.run("tshark", "-r", path, "-Y", expression, "-w", part)
        ours = looking_sent_again(tools, part)
        theirs = sum((looking_sent_again(tools, file) for file in files), collections.Counter())
        check_equal(ours - theirs, collections.Counter(), f"{expression}: packets that look sent again, tcpdump's do not")


def named_right(tools, path, addresses, services):
    rows = tools.fields(path, "ip", "ip.src", "ip.dst", "k8s.src.pod.name", "k8s.dst.pod.name",
                        "k8s.src.namespace.name", "k8s.dst.namespace.name", "k8s.src.service.name",
                        "k8s.dst.service.name", "k8s.capture.device", "k8s.src.node.name",
                        "k8s.dst.node.name", "k8s.src.owner.name", "k8s.dst.owner.name")
    for row in rows:
        source, destination, device = row[0], row[1], row[8]
        for address, pod, namespace, service, node, owner in (
                (source, row[2], row[4], row[6], row[9], row[11]),
                (destination, row[3], row[5], row[7], row[10], row[12])):
            if device == "lo":
                check(pod and namespace, f"an end on lo without a pod: {row}")
            elif address in addresses:
                entity = addresses[address]
                check_equal((pod, namespace, node, owner),
                            (entity["name"], entity["namespace"], entity["host"], entity["owner"][1]),
                            f"pod at {address} in {row}")
            elif address in services:
                check_equal((service, namespace), (services[address]["name"], services[address]["namespace"]),
                            f"service at {address} in {row}")
    first = {}
    for row in rows:
        first.setdefault(row[0], row)
    check(all(address in first for address in addresses), "a pod that sent nothing")


def answers(tools, path):
    rows = tools.fields(path, 'k8s.dst.service.name == "catalog" && http.request', "k8s.src.pod.name",
                        "k8s.dst.namespace.name", "http.request.uri")
    check_equal({(row[0], row[1]) for row in rows}, {(shop.FRONTEND, "shop")}, "callers of catalog")
    # Two clients, 8 rounds, two requests of three go on to the catalog.
    check_equal(len(rows), 32, "requests to the service catalog")
    check(tools.fields(path, f'k8s.pod.name == "{shop.REDIS}"', "frame.number"), "k8s.pod.name")
    packets = json.loads(tools.tshark(path, "-Y", "http.request", "-T", "json", "-c", "60"))
    check(packets and all("k8s" in p["_source"]["layers"] for p in packets), "-T json")
    conversations = tools.tshark(path, "-q", "-z", "conv,k8s")
    check(shop.REDIS in conversations and shop.FRONTEND in conversations, conversations)
    endpoints = tools.tshark(path, "-q", "-z", "endpoints,k8s")
    check(shop.COREDNS in endpoints, endpoints)
    column = tools.tshark(path, "-Y", "resp", "-o",
                          'gui.column.format:"Pod","%Cus:k8s.dst.pod.name:0:R"')
    check(shop.REDIS in column, "custom column")
    rules = tools.fields(path, "http.response.code == 404", "frame.coloring_rule.name")
    check(rules, "no 404")
    coloured = tools.run("tshark", "-C", "Kubernetes", "-r", path, "-Y", "http.response.code == 404",
                         "-T", "fields", "-e", "frame.coloring_rule.name", "--color")
    check(coloured.strip(), "no colour rule of the profile matched a 404")


def survival(tools, path, folder):
    named = "k8s.src.name && k8s.dst.name"

    def count(file, expression=named):
        return len(tools.fields(file, expression, "frame.number"))

    total = count(path, "frame")
    out = os.path.join(folder, "out.pcapng")

    def survives(what, expected, *argv):
        tools.run(*argv)
        check_equal((count(out, "frame"), count(out)), (expected, expected), what)

    check_equal(count(path, "ip"), count(path, f"ip && {named}"), "packets with both names")
    http = count(path, "http")
    survives("tshark -Y -w", http, "tshark", "-r", path, "-Y", "http", "-w", out)
    half = os.path.join(folder, "half.pcapng")
    tools.run("editcap", "-r", path, half, "1-100")
    tools.run("editcap", "-r", path, out, "101-200")
    check_equal(count(half, "ip"), count(half, f"ip && {named}"), "editcap range")
    whole = os.path.join(folder, "whole.pcapng")
    tools.run("mergecap", "-w", whole, half, out)
    check_equal((count(whole, "frame"), count(whole, f"ip && {named}")),
                (min(total, 200), count(half, "ip") + count(out, "ip")), "mergecap")
    times = [float(row[0]) for row in tools.fields(path, "frame", "frame.time_epoch")]
    check_equal(times, sorted(times), "time order")
    middle = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(times[len(times) // 2]))
    tools.run("editcap", "-A", middle, path, out)
    check(0 < count(out, "frame"), "editcap time")
    check_equal(count(out, "ip"), count(out, f"ip && {named}"), "editcap by time")
    tools.run("editcap", "-c", "50", path, os.path.join(folder, "split.pcapng"))
    parts = [os.path.join(folder, f) for f in os.listdir(folder) if f.startswith("split_")]
    check_equal(sum(count(part, f"ip && {named}") for part in parts), count(path, "ip"), "editcap split")
    tools.run("reordercap", path, out)
    check_equal(count(out, f"ip && {named}"), count(path, "ip"), "reordercap")
    bare = wireshark(folder, plugin=False)
    check_equal(len(bare.tshark(path).splitlines()), total, "packets in a tshark without the plugin")
    interfaces = {row[0] for row in bare.fields(path, "frame", "frame.interface_name")}
    check_equal(interfaces, {"demo/worker-1", "demo/worker-2"}, "interface names without the plugin")


def chain(folder):
    tools, path, truth, addresses, services = record(folder)
    named_right(tools, path, addresses, services)
    every_packet_once(tools, path, truth)
    nothing_sent_again(tools, path, truth, folder)
    answers(tools, path)
    survival(tools, path, folder)


if __name__ == "__main__":
    main(chain)
