#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What Wireshark asks before a capture, and how options are refused."""
import unittest

import sentences
from remoradump import Case, REAL

K8S = ("--extcap-interface", "k8s")


class Listing(Case):
    def test_interfaces(self):
        lines = sentences.parse(self.good("--extcap-interfaces", "--extcap-version=4.0"))
        self.assertEqual([s.word for s in lines[:2]], ["extcap", "interface"])
        self.assertEqual([(s["value"], s["display"]) for s in lines if s.word == "interface"],
                         [("k8s", "Kubernetes cluster: pods' traffic")])
        self.assertEqual([(s["number"], s["type"], s.get("role")) for s in lines if s.word == "control"],
                         [("0", "string", None), ("1", "button", "logger")])

    def test_link_types(self):
        lines = sentences.parse(self.good("--extcap-dlts", *K8S))
        self.assertEqual([(s.word, s["number"], s["name"]) for s in lines], [("dlt", "1", "EN10MB")])

    def test_without_grpc(self):
        """Wireshark waits for these at each start: gRPC would cost more than all the rest."""
        self.environment["GRPC_VERBOSITY"] = "debug"
        for call in (("--extcap-interfaces",), ("--extcap-dlts", *K8S), ("--extcap-config", *K8S),
                     ("--extcap-capture-filter", "tcp", *K8S)):
            self.good(*call, program=REAL)
        used = self.run_it("--list-targets", "--endpoint", f"unix:{self.path('none')}", program=REAL)
        self.assertIn("ev_posix.cc", used.stderr, "gRPC no longer says that it starts: this test proves nothing")

    def test_a_broken_configuration_does_not_take_the_interface_away(self):
        self.write(".config/remora/remoradump.conf", "nonsense")
        self.assertIn("interface {value=k8s}", self.good("--extcap-interfaces", "--extcap-version=4.0"))
        self.assertIn("arg {number=0}", self.good("--extcap-config", *K8S))
        self.assert_fails(self.run_it("--list-targets"), "remoradump.conf")

    def test_several_commands(self):
        self.assert_fails(self.run_it("--list-targets", "--status", "--endpoint", "fake:end"), "--list-targets and --status")
        self.assert_fails(self.run_it("--write", "/none/x", "--annotate", "a", "b"), "--write and --annotate")
        self.assert_fails(self.run_it("--keys-first", "--annotate", "a", "b"), "--annotate and --keys-first")

    def test_unknown_interface(self):
        for call in ("--extcap-dlts", "--extcap-config", "--capture"):
            self.assert_fails(self.run_it(call, "--extcap-interface", "eth0"), "'eth0'", "expected k8s")


class Dialog(Case):
    def dialog(self):
        return sentences.parse(self.good("--extcap-config", *K8S))

    def test_options(self):
        args = {s["call"]: s for s in self.dialog() if s.word == "arg"}
        self.assertEqual(set(args), {"--endpoint", "--insecure", "--connect-timeout", "--cluster", "--namespace", "--pod", "--selector",
                                     "--snap-length", "--vantage", "--tls", "--comments", "--inventory", "--max-wait"})
        self.assertEqual(args["--namespace"]["reload"], "true")
        self.assertEqual(args["--pod"]["reload"], "true")
        self.assertEqual(args["--comments"]["type"], "boolflag")

    def test_no_default_overrules_the_configuration_file(self):
        self.assertEqual([s for s in self.dialog() if s.word == "arg" and s.get("default")], [])

    def reload(self, option, *options):
        lines = sentences.parse(self.good("--extcap-config", *K8S, "--extcap-reload-option", option, *options))
        number = {s["call"]: s["number"] for s in self.dialog() if s.word == "arg"}["--" + option.lstrip("-")]
        self.assertEqual({(s.word, s["arg"]) for s in lines}, {("value", number)})
        self.assertEqual([s.get("default") for s in lines], ["true"] + [None] * (len(lines) - 1))
        return [(s["value"], s["display"]) for s in lines]

    def test_reload(self):
        endpoint = "fake:pod=shop/web;pod=shop/cart;pod=infra/dns"
        other = "fake:pod=shop/cart-2"
        self.assertEqual(self.reload("namespace", "--endpoint", endpoint),
                         [("", "all namespaces"), ("infra", "infra"), ("shop", "shop")])
        # Wireshark hands over what the dialog's other fields have.
        self.assertEqual(self.reload("--pod", "--endpoint", f"{endpoint},{other}", "--namespace", "shop"),
                         [("", "all pods"), ("shop/cart", "shop/cart"), ("shop/cart-2", "shop/cart-2"),
                          ("shop/web", "shop/web")])

    def test_one_node_of_two_answers(self):
        self.assertEqual(self.reload("namespace", "--endpoint", "fake:refuse,fake:pod=shop/web"),
                         [("", "all namespaces"), ("shop", "shop")])

    def test_name_with_several_nodes(self):
        name = "dns:///fake:pod=shop/web;pod=infra/dns+fake:pod=shop/cart;pod=infra/dns"
        self.assertEqual(self.reload("pod", "--endpoint", name),
                         [("", "all pods"), ("infra/dns", "infra/dns"), ("shop/cart", "shop/cart"), ("shop/web", "shop/web")])
        rows = self.good("--list-targets", "--endpoint", name).splitlines()[1:]
        # The fake nodes have the same name: it is one node, asked twice.
        self.assertEqual([row.split()[1] for row in rows], ["shop/web", "infra/dns", "shop/cart"])
        self.assertEqual(self.good("--status", "--endpoint", name).count("endpoint "), 2)

    def test_name_that_is_not_known(self):
        result = self.run_it("--list-targets", "--endpoint", "dns:///none,fake:pod=shop/web")
        self.assertEqual(result.returncode, 1)
        self.assertIn("dns:///none: not known", result.stderr)
        self.assertIn("shop/web", result.stdout)
        (_, display), = self.reload("pod", "--endpoint", "dns:///none")
        self.assertIn("dns:///none: not known", display)

    def test_reload_says_why_there_is_nothing(self):
        (value, display), = self.reload("namespace")
        self.assertEqual(value, "")
        self.assertIn("nodes", display)
        (value, display), = self.reload("pod", "--endpoint", "fake:refuse")
        self.assertEqual(value, "")
        self.assertIn("connection refused", display)

    def test_names_cannot_forge_sentences(self):
        names = self.reload("namespace", "--endpoint", "fake:pod=a}{value=x/p;pod=b\nvalue {arg=0}/p")
        self.assertEqual([value for value, _ in names], ["", "a__value=x", "b_value _arg=0_"])

    def test_option_without_list(self):
        self.assert_fails(self.run_it("--extcap-config", *K8S, "--extcap-reload-option", "vantage"), "'vantage'")
        self.assert_fails(self.run_it("--extcap-config", *K8S, "--extcap-reload-option", "x"), "'x'")


class Filter(Case):
    def check(self, text):
        return self.good("--extcap-capture-filter", text, *K8S)

    def test_valid(self):
        for text in ("", "tcp port 80", "host 10.0.0.1 and not icmp", "vlan", "ip6 proto 58"):
            self.assertEqual(self.check(text), "")

    def test_invalid(self):
        for text in ("tcp prot 80", "host", "port 99999", "(tcp"):
            output = self.check(text)
            self.assertEqual(output.count("\n"), 1)
            self.assertIn(f"'{text}'", output)
        self.assertIn("syntax error", self.check("tcp and and"))

    def test_one_line_and_bounded(self):
        self.assertEqual(self.check("tcp\nnonsense\nwords").count("\n"), 1)
        self.assertIn("4096", self.check("tcp or " * 600 + "tcp"))


class Options(Case):
    def test_help_manual_version(self):
        self.assertIn("--endpoint", self.good("--help"))
        self.assertIn(".TH", self.good("--manual"))
        self.assertRegex(self.good("--version"), r"\Aremoradump \d+\.\d+\.\d+\n\Z")

    def test_no_endpoint_names_every_way_to_give_one(self):
        for call in (("--list-targets",), ("--status",), ("--write", self.path("x"))):
            self.assert_fails(self.run_it(*call), "no endpoint", "--endpoint", "REMORA_ENDPOINT",
                              self.path(".config/remora/remoradump.conf"), "extcap.k8s.endpoint")

    def test_where_an_endpoint_may_come_from(self):
        endpoint = "fake:pod=shop/web"
        self.assertIn("shop/web", self.good("--list-targets", "--endpoint", endpoint))
        self.write(".config/remora/remoradump.conf", "[remora]\nendpoint = fake:pod=from/file\n")
        self.assertIn("from/file", self.good("--list-targets"))
        other = self.write("other.conf", "[remora]\nendpoint = fake:pod=other/file\n")
        self.assertIn("other/file", self.good("--list-targets", "--config", other))
        self.environment["REMORA_ENDPOINT"] = "fake:pod=from/environment"
        self.assertIn("from/environment", self.good("--list-targets"))
        self.assert_fails(self.run_it("--list-targets", "--config", self.path("none")), self.path("none"))

    def test_refused_values(self):
        for options, parts in (
                (("--snap-length", "abc"), ("--snap-length", "abc")),
                (("--snap-length", "262145"), ("--snap-length", "262144")),
                (("--vantage", "two"), ("--vantage", "one", "all")),
                (("--tls", "plain"), ("--tls", "off", "keys")),
                (("--namespace", "shop,kube*"), ("--namespace", "'kube*'", "--pod")),
                (("--pod", "Shop"), ("--pod", "'Shop'")),
                (("--pod", "a/b/c"), ("--pod", "'a/b/c'")),
                (("--max-wait", "soon"), ("--max-wait", "soon")),
                (("--nonsense",), ("--nonsense",)),
                (("tcp and and",), ("'tcp and and'", "syntax error")),
                (("-f", "tcp", "udp"), ("'udp'",))):
            with self.subTest(options):
                output = self.path("kept")
                self.write("kept", "as it was")
                self.assert_fails(self.run_it("--write", output, "--endpoint", "fake:packets=1;end", *options), *parts)
                with open(output, encoding="utf-8") as file:
                    self.assertEqual(file.read(), "as it was")

    def test_nothing_to_do(self):
        self.assert_fails(self.run_it(), "--write", "--help")
        self.assert_fails(self.run_it("tcp"), "--write")
        self.assert_fails(self.run_it("--capture"), "--fifo", "--write")
        self.assert_fails(self.run_it("--capture", "--fifo", "-", "--write", "x"), "--fifo", "--write")


class Lists(Case):
    def test_targets(self):
        text = self.good("--list-targets", "--endpoint", "fake:pod=shop/web;pod=infra/dns", "--pod", "shop/*")
        head, line = text.splitlines()
        self.assertEqual(head.split(), ["NODE", "POD", "STATE", "PACKETS", "LOST", "REASON"])
        self.assertEqual(line.split(), ["node-1", "shop/web", "captured", "12345", "0", "-"])

    def test_a_terminal_is_safe_from_names(self):
        self.assertNotIn("\033", self.good("--list-targets", "--endpoint", "fake:pod=a/\033[2J"))

    def test_other_nodes_are_still_listed(self):
        result = self.run_it("--list-targets", "--endpoint", "fake:refuse,fake:pod=shop/web")
        self.assertEqual(result.returncode, 1)
        self.assertIn("shop/web", result.stdout)
        self.assertIn("fake:refuse: connection refused", result.stderr)

    def test_status(self):
        self.assertRegex(self.good("--status", "--endpoint", "fake:"), r"(?m)^seconds since start +60$")


if __name__ == "__main__":
    unittest.main()
