#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The identity outlives Wireshark's own tools; and the profile, with the plugin and without."""
import glob

from annotated import EXTERNAL, SERVICE, Pcapng, WiresharkTest, identity, main, pod, tcp, udp

PACKETS = 12


def name(i):
    return f"pod-{i}"


def numbered(first=0, step_ns=1_000_000, prefix="shop"):
    """Packet i goes from pod-i to the outside. The first of each four tells the label of its pod."""
    capture = Pcapng().interface("lab/node-a")
    for i in range(first, first + PACKETS):
        src = [("entity", 100 + i), *pod(prefix, name(i)).items()]
        if i % 4 == 0:
            src.append(("label", f"number={i}"))
        capture.packet(udp("10.1.0.1", "198.51.100.7", 1000 + i, 9, b"x"),
                       identity(src, {"type": EXTERNAL}), step_ns=step_ns)
    return capture


class Tools(WiresharkTest):
    def setUp(self):
        self.file = self.write("numbered.pcapng", numbered())
        self.result = self.path("result.pcapng")

    def expect(self, file, numbers, prefix="shop"):
        """The packets of these numbers with their names, and the labels that are theirs."""
        self.assertEqual(
            self.fields(file, "udp.srcport", "k8s.src.name", "k8s.dst.name", "k8s.src.label"),
            [(str(1000 + i), f"{prefix}/{name(i)}", "198.51.100.7",
              f"number={i}" if i % 4 == 0 else "") for i in numbers])

    def test_tshark_filters_and_writes(self):
        self.run_program("tshark", "-r", self.file, "-Y", 'k8s.pod.name in {"pod-4", "pod-7"}',
                         "-w", self.result)
        self.expect(self.result, [4, 7])

    def test_a_tshark_without_the_plugin_writes(self):
        self.run_program("tshark", "-r", self.file, "-Y", "udp.srcport >= 1010", "-w", self.result,
                         plugin=False)
        self.expect(self.result, [10, 11])

    def test_editcap_range(self):
        self.run_program("editcap", "-r", self.file, self.result, "3-6")
        self.expect(self.result, [2, 3, 4, 5])

    def test_editcap_time(self):
        self.run_program("editcap", "-A", "2023-11-14T22:13:20.003Z", "-B",
                         "2023-11-14T22:13:20.006Z", self.file, self.result)
        self.expect(self.result, [2, 3, 4])

    def test_editcap_split(self):
        self.run_program("editcap", "-c", "5", self.file, self.path("split.pcapng"))
        parts = sorted(glob.glob(self.path("split_*.pcapng")))
        self.assertEqual(len(parts), 3)
        for part, numbers in zip(parts, ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11])):
            self.expect(part, numbers)

    def test_mergecap(self):
        other = self.write("other.pcapng", numbered(first=PACKETS, step_ns=1_100_000))
        self.run_program("mergecap", "-w", self.result, self.file, other)
        rows = self.fields(self.result, "udp.srcport", "k8s.src.pod.name", "k8s.src.label")
        self.assertEqual(sorted(rows), sorted(
            (str(1000 + i), name(i), f"number={i}" if i % 4 == 0 else "")
            for i in range(2 * PACKETS)))
        self.assertNotEqual([row[0] for row in rows], sorted(row[0] for row in rows),
                            "the files were to be interleaved")

    def test_reordercap(self):
        capture = numbered(step_ns=-1_000_000)
        backwards = self.write("backwards.pcapng", capture)
        self.run_program("reordercap", backwards, self.result)
        self.expect(self.result, reversed(range(PACKETS)))

    def test_a_slice_has_the_labels_it_was_told(self):
        capture = Pcapng().interface("i")
        frame = udp("10.1.0.1", "198.51.100.7", 1, 2, b"x")
        src = [("entity", 5), *pod("shop", "a").items()]
        for extra in ([("label", "app=a")], [], []):
            capture.packet(frame, identity(src + extra, {"type": EXTERNAL}))
        file = self.write("labels.pcapng", capture)
        for numbers, labels in (("1-2", [("a", "app=a")] * 2), ("2-3", [("a", "")] * 2)):
            self.run_program("editcap", "-r", file, self.result, numbers)
            self.assertEqual(self.fields(self.result, "k8s.src.pod.name", "k8s.src.label"), labels)

    def test_a_tshark_without_the_plugin_reads(self):
        self.assertEqual(len(self.tshark(self.file, plugin=False).splitlines()), PACKETS)


class Profile(WiresharkTest):
    FRONTEND = pod("shop", "frontend")
    CATALOG = pod("shop", "catalog", service="catalog")
    OTHER = pod("platform", "log")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        error = b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n"
        nxdomain = bytes.fromhex("0001 8183 0001 0000 0000 0000 01 61 00 0001 0001")
        call = tcp("10.1.0.1", "10.1.0.2", 40000, 7777, flags=2)
        cls.expected = []
        capture = Pcapng().interface("lab/node-a")

        def add(rule, frame, src, dst, after_ns=1_000_000, **packet):
            capture.packet(frame, identity(src, dst, {"capture_node": "node-a", **packet}), step_ns=after_ns)
            cls.expected.append((rule,))

        def ask(seq):
            add("Pod", tcp("10.1.0.1", "10.1.0.4", 40004, 6379, seq, seq, payload=b"*1\r\n$4\r\nPING\r\n"),
                cls.FRONTEND, pod("shop", "other"))

        def tell(rule, seq, text, **how):
            add(rule, tcp("10.1.0.4", "10.1.0.1", 6379, 40004, seq, seq + 14, payload=text), pod("shop", "other"),
                cls.FRONTEND, **how)

        add("Service", call, cls.FRONTEND, cls.CATALOG, flow=0x1234)
        add("TCP reset", tcp("10.1.0.2", "10.1.0.1", 7777, 40000, flags=0x14, ack=2), cls.CATALOG,
            cls.FRONTEND)
        add("HTTP server error", tcp("10.1.0.2", "10.1.0.1", 80, 40001, payload=error % 503),
            cls.CATALOG, cls.FRONTEND)
        add("HTTP client error", tcp("10.1.0.2", "10.1.0.1", 80, 40002, payload=error % 404),
            cls.CATALOG, cls.FRONTEND)
        add("DNS error", udp("10.1.0.2", "10.1.0.1", 53, 40003, nxdomain), cls.OTHER, cls.FRONTEND)
        add("External", udp("10.1.0.1", "198.51.100.7", 9, 9, b"x"), cls.FRONTEND,
            {"type": EXTERNAL})
        add("Between namespaces", udp("10.1.0.1", "10.1.0.3", 9, 9, b"x"), cls.FRONTEND, cls.OTHER)
        add("Service", udp("10.1.0.1", "10.96.0.1", 9, 9, b"x"), cls.FRONTEND,
            {"type": SERVICE, "namespace": "shop", "service": "cache"})
        add("Pod", udp("10.1.0.1", "10.1.0.4", 9, 9, b"x"), cls.FRONTEND, pod("shop", "other"))
        ask(1)
        tell("Slow call", 1, b"+PONG PONG P\r\n", after_ns=1_500_000_000)
        ask(15)
        tell("Call failed", 15, b"-ERR no such\r\n")
        ask(29)
        cls.file = cls.write("profile.pcapng", capture)

    def test_columns(self):
        row = self.tshark(self.file, "-C", "Kubernetes", "-c", "1", "-n").split()
        self.assertEqual(row[:7], ["1", "0.000000000", "shop/frontend", "shop/catalog", "catalog",
                                   "TCP", "54"])
        self.assertEqual(row[-1], "node-a")

    def test_custom_column(self):
        out = self.tshark(self.file, "-o", 'gui.column.format:"Type","%Cus:k8s.dst.type:0:R",'
                          '"To","%Cus:k8s.dst.name:0:R"')
        self.assertEqual([line.split() for line in out.splitlines()][5:7],
                         [["external", "198.51.100.7"], ["pod", "platform/log"]])

    def test_colour_rules(self):
        self.assertEqual(self.fields(self.file, "frame.coloring_rule.name",
                                     more=("-C", "Kubernetes", "--color")), self.expected)

    def test_switched_off(self):
        """Everything else is dissected as ever."""
        off = self.fields(self.file, "frame.protocols", more=("--disable-protocol", "k8s"))
        without = self.tshark(self.file, "-T", "fields", "-e", "frame.protocols", plugin=False).splitlines()
        self.assertTrue(any(":tcp" in line for line in without))
        self.assertEqual([row[0] for row in off], without)

    def test_nothing_is_said_without_the_plugin(self):
        out = self.tshark(self.file, "-C", "Kubernetes", plugin=False)
        self.assertEqual(len(out.splitlines()), len(self.expected))

    def test_filter_buttons_are_valid(self):
        shown = {}
        with open(self.path("home/.config/wireshark/profiles/Kubernetes/dfilter_buttons")) as file:
            for line in file:
                enabled, label, expression, _ = line.strip().strip('"').split('","')
                self.assertEqual(enabled, "TRUE")
                shown[label] = self.frames(self.file, expression.replace("\\x22", '"'), more=("-2",))
        self.assertEqual(shown, {
            "Pods": [1, 2, 3, 4, 5, 7, *range(9, 15)], "Services": [1, 2, 3, 4, 8], "Rewritten": [1], "External": [6],
            "Failed calls": [2, 3, 4, 5, 13], "Slow calls": [11], "No answer": [14],
            "HTTP errors": [3, 4], "DNS errors": [5], "TCP trouble": [2],
            "Not decrypted": []})


if __name__ == "__main__":
    main()
