# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's network: a bridge beside the control plane, and a cable from it to each node. The namespaces have no name
in /run/netns; they live as long as their holders, which leaves no mounts."""
import subprocess

import processes
from settings import (CONTROL_PLANE, CONTROL_PLANE_IP, CONTROL_PLANE_IP6, LabError, node_ip, node_ip6, pod_cidr,
                      pod_cidr6)


def _run(holder, script):
    """Lines of ip(8) commands, or /proc/sys names with a value, inside a holder's network namespace."""
    lines = [line.strip() for line in script.splitlines() if line.strip()]
    text = "\n".join(f"echo {line.split('=')[1]} > /proc/sys/{line.split('=')[0]}" if "=" in line else f"ip {line}"
                     for line in lines)
    result = subprocess.run([*processes.enter(holder, mounts=False), "sh", "-ec", text], text=True,
                            capture_output=True, check=False)
    if result.returncode:
        raise LabError(f"network of {holder}: {result.stderr.strip()}")


FORWARDING = """
    link set lo up
    net/ipv4/ip_forward=1
    net/ipv6/conf/all/forwarding=1
    net/ipv6/conf/default/accept_dad=0
"""


def set_up_control_plane():
    _run(CONTROL_PLANE, f"""{FORWARDING}
        link add lab0 type bridge
        addr add {CONTROL_PLANE_IP}/24 dev lab0
        addr add {CONTROL_PLANE_IP6}/64 dev lab0 nodad
        link set lab0 up""")


def set_up_node(node, nodes):
    """nodes: all of the lab, for the routes between their pods."""
    _run(CONTROL_PLANE, f"""
        link add {node} type veth peer name eth0 netns {processes.pid_of(node)}
        link set {node} master lab0 up
        route add {pod_cidr(node)} via {node_ip(node)}
        route add {pod_cidr6(node)} via {node_ip6(node)}""")
    others = "\n".join(f"""
        route add {pod_cidr(other)} via {node_ip(other)}
        route add {pod_cidr6(other)} via {node_ip6(other)}""" for other in nodes if other != node)
    _run(node, f"""{FORWARDING}
        addr add {node_ip(node)}/24 dev eth0
        addr add {node_ip6(node)}/64 dev eth0 nodad
        link set eth0 up
        {others}
        route add default via {CONTROL_PLANE_IP}
        route add default via {CONTROL_PLANE_IP6}""")
