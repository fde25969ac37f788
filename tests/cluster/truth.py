# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares what packets carry with what pods say of themselves: /bin/traffic logs both ends of each call, and the names
that must stand on its packets follow from the manifests."""
from collections import Counter, namedtuple

ENDS = ("pod.name", "namespace.name", "owner.type", "owner.name", "node.name", "container.name", "service.name")
ADDRESSES = ("frame.number", "ip.proto", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport",
             "udp.srcport", "udp.dstport")
FIELDS = ADDRESSES + ("k8s.flow.id",) + tuple(f"k8s.{end}.{name}" for end in ("src", "dst") for name in ENDS)

# One side of an address translation, as one capture sees it. client and server: (address, port). from_client and
# from_server: what each end must be, a dict of ENDS; a value may be a tuple of those that are right.
Leg = namedtuple("Leg", "name protocol client server client_end server_end least")

Packet = namedtuple("Packet", "number protocol source destination source_end destination_end flow")


def packets(daemon, file):
    """Of IPv4 and IPv6 with TCP or UDP."""
    found = []
    for row in daemon.fields(file, "tcp or udp", *FIELDS):
        row = dict(zip(FIELDS, row))
        protocol = "tcp" if row["tcp.srcport"] else "udp"
        ends = [{name: row[f"k8s.{end}.{name}"] for name in ENDS} for end in ("src", "dst")]
        addresses = [(row[f"ip.{end}"] or row[f"ipv6.{end}"], int(row[f"{protocol}.{end}port"])) for end in ("src", "dst")]
        found.append(Packet(int(row["frame.number"]), protocol, *addresses, *ends, row["k8s.flow.id"]))
    return found


def wrong(end, expected):
    """What is not as expected, as text."""
    return ", ".join(f"{name} is {end[name]!r}, not {value!r}" for name, value in expected.items()
                     if end[name] != value and not (isinstance(value, tuple) and end[name] in value))


def _by_ends(found):
    by_ends = {}
    for packet in found:
        by_ends.setdefault((packet.protocol, packet.source, packet.destination), []).append(packet)
    return by_ends


def check_flows(found, pairs):
    """pairs: (leg before, leg behind) an address translation. All packets of both carry one k8s.flow.id, which no other
    pair has. Returns the faults."""
    by_ends, faults, owner = _by_ends(found), [], {}
    names = {tuple((leg.protocol, leg.client, leg.server) for leg in pair): pair[0].name for pair in pairs}
    # A client's port may be used again: what two connections have in common says nothing of either.
    uses = Counter(leg for legs in names for leg in legs)
    for legs, name in names.items():
        flows = {packet.flow for protocol, client, server in legs if uses[protocol, client, server] == 1
                 for ends in ((client, server), (server, client)) for packet in by_ends.get((protocol, *ends), [])}
        if len(flows) != 1 or "" in flows:
            faults.append(f"{name}: {legs}: flow ids {sorted(flows)}")
        elif owner.setdefault(*flows, legs) != legs:
            faults.append(f"{name}: {legs}: {flows} is the flow id of {owner[flows.pop()]} as well")
    return faults


def check_legs(found, legs):
    """Every packet of every leg carries what it must, and each leg has packets of both ways. Returns the faults."""
    by_ends = _by_ends(found)
    faults = []
    for leg in legs:
        there = by_ends.get((leg.protocol, leg.client, leg.server), [])
        back = by_ends.get((leg.protocol, leg.server, leg.client), [])
        if len(there) < leg.least or len(back) < leg.least:
            faults.append(f"{leg.name}: {leg.protocol} {leg.client} -> {leg.server}: {len(there)} packets there and "
                          f"{len(back)} back, at least {leg.least} expected")
        for packet in there + back:
            from_client = packet in there
            ends = (leg.client_end, leg.server_end) if from_client else (leg.server_end, leg.client_end)
            for which, end, expected in (("src", packet.source_end, ends[0]), ("dst", packet.destination_end, ends[1])):
                text = wrong(end, expected)
                if text:
                    faults.append(f"{leg.name}: packet {packet.number} {packet.source} -> {packet.destination}: {which}: {text}")
    return faults


def pod_end(pod, owner, service="", container=None):
    """What stands at a pod's end. owner: (kind, name)."""
    names = [c["name"] for c in pod["spec"]["containers"]]
    end = {"pod.name": pod["metadata"]["name"], "namespace.name": pod["metadata"]["namespace"],
           "node.name": pod["spec"]["nodeName"], "owner.type": owner[0], "owner.name": owner[1], "service.name": service}
    if container or len(names) == 1:
        end["container.name"] = container or names[0]
    return end
