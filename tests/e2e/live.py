# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person meets: how fast the first packet is there, and what tshark says when something is wrong."""
import os
import subprocess
import time

from common import captured, check, check_equal, main, start_nodes, stop, wait_for, wireshark
import shop


def own_time(cluster):
    """What tshark takes for the first packet of a device of this machine, without an extcap: best of three."""
    best = None
    for _ in range(3):
        start = time.monotonic()
        tshark = cluster.spawn(shop.CLIENT_1, ["tshark", "-l", "-i", "eth0", "-c", "1"], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
        tshark.stdout.readline()
        took = time.monotonic() - start
        stop(tshark)
        best = took if best is None else min(best, took)
    return best


def first_packet(folder):
    tools = wireshark(folder)
    with shop.Shop(os.path.join(folder, "shop")) as cluster:
        endpoints, _ = start_nodes(cluster)
        cluster.spawn(shop.CLIENT_1, ["ping", "-n", "-q", "-i", "0.02",
                                      cluster.pods[shop.REDIS]["address"]], log="ping.log")
        best = None
        for _ in range(3):  # the machine's noise is not ours: the best of three
            start = time.monotonic()
            tshark = tools.capture(endpoints.values(), "-l", "-T", "fields", "-e", "k8s.src.name",
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            line = tshark.stdout.readline()
            took = time.monotonic() - start
            stop(tshark)
            check(line.strip(), "the first packet has no name")
            best = took if best is None else min(best, took)
        own = own_time(cluster)
        print(f"  first packet in tshark after {best:.2f} s; {own:.2f} s from a device of its own")
        # On a machine where tshark alone takes longer than a second, what counts is what we add.
        check(best < max(1.0, own + 1.0), f"first packet only after {best:.2f} s; tshark alone takes {own:.2f} s")


def pod_comes_and_goes(folder):
    """A pod that starts during the capture is captured and named; when it goes the rest goes on."""
    tools = wireshark(folder)
    path = os.path.join(folder, "out.pcapng")
    with shop.Shop(os.path.join(folder, "shop")) as cluster:
        endpoints, _ = start_nodes(cluster)
        tshark = tools.capture(endpoints.values(), "-q", "-w", path, stderr=subprocess.DEVNULL)
        wait_for(lambda: captured(endpoints.values()) == 7, "capture")
        cluster.add_pod("shop", "late-0", "worker-1", "10.244.1.9", ("StatefulSet", "late"))
        cluster.write_inventory()
        wait_for(lambda: captured(endpoints.values()) == 8, "the new pod")
        check_equal(cluster.ping("late-0", "10.244.2.3").wait(20), 0, "ping from the new pod")
        cluster.remove_pod("late-0")
        cluster.write_inventory()
        wait_for(lambda: captured(endpoints.values()) == 7, "the end of the pod")
        check_equal(cluster.ping(shop.CLIENT_1, "10.244.2.3").wait(20), 0, "ping")
        wait_for(lambda: tools.fields(path, f'icmp && k8s.src.pod.name == "{shop.CLIENT_1}"', "icmp.seq")[-1:]
                 == [("3",)], "the last ping in the file")
        stop(tshark)
    requests = tools.fields(path, 'icmp.type == 8 && k8s.src.pod.name == "late-0"', "icmp.seq")
    check_equal(requests, [("1",), ("2",), ("3",)], "echo requests of the new pod")


def said(tools, folder, *options, endpoint=None):
    """What a capture that cannot start prints, its exit status, and how long that took."""
    endpoints = [endpoint] if endpoint else []
    start = time.monotonic()
    if endpoints:
        tshark = tools.capture(endpoints, *options, stderr=subprocess.PIPE, text=True)
    else:
        tshark = subprocess.Popen([*tools.prefix, "tshark", "-i", "k8s", *options], env=tools.environment,
                                  stderr=subprocess.PIPE, text=True)
    try:
        _, text = tshark.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        tshark.kill()
        raise AssertionError(f"tshark hangs with {options} {endpoint}") from None
    return text, tshark.returncode, time.monotonic() - start


def errors(folder):
    tools = wireshark(folder)
    text, _, _ = said(tools, folder)
    check("endpoint" in text and "REMORA_ENDPOINT" in text, f"no endpoint: {text}")
    text, _, took = said(tools, folder, endpoint="127.0.0.1:1")
    check("127.0.0.1:1" in text and "refused" in text and "remora-node" in text,
          f"refused: {text}")
    check(took < 8, f"refused only after {took:.1f} s")
    text, _, _ = said(tools, folder, endpoint=f"unix:{folder}/none.sock")
    check("none.sock" in text, f"no socket: {text}")
    text, _, _ = said(tools, folder, endpoint="192.0.2.1:7777")
    check("--insecure" in text, f"plain to a foreign address: {text}")
    with shop.Shop(os.path.join(folder, "shop")) as cluster:
        endpoints, _ = start_nodes(cluster)
        text, _, _ = said(tools, folder, "-f", "tcp prot 80", endpoint=endpoints["worker-1"])
        check("filter" in text and "tcp prot 80" in text, f"bad filter: {text}")


if __name__ == "__main__":
    main(first_packet, pod_comes_and_goes, errors)
