# SPDX-License-Identifier: GPL-2.0-or-later
"""The sentences of Wireshark's extcap contract, read more strictly than Wireshark does.

Source: extcap(4), and extcap_parser.c of Wireshark 4.0 for what it demands of each sentence."""
import re

REQUIRED = {
    "extcap": {"version", "help", "display"},
    "interface": {"value", "display"},
    "dlt": {"number", "name", "display"},
    "arg": {"number", "call", "display", "type"},
    "value": {"arg", "value", "display"},
    "control": {"number", "type", "display"},
}
OPTIONAL = {
    "extcap": set(), "interface": set(), "dlt": set(),
    "arg": {"tooltip", "placeholder", "mustexist", "fileext", "group", "required", "save", "reload", "range",
            "default", "validation"},
    "value": {"default", "enabled", "parent"},
    "control": {"tooltip", "placeholder", "role", "default", "validation", "required"},
}
ARG_TYPES = {"integer", "unsigned", "long", "double", "boolean", "boolflag", "selector", "radio", "string", "password",
             "fileselect", "multicheck", "timestamp"}


class Sentence(dict):
    """A dict of the elements; `word` is the sentence's first word."""

    def __init__(self, word, elements):
        super().__init__(elements)
        self.word = word


def parse_line(line):
    match = re.fullmatch(r"([a-z]+) ((?:\{[a-z]+=[^{}]*\})+)", line)
    if not match:
        raise ValueError(f"no sentence: {line!r}")
    word, rest = match.groups()
    elements = re.findall(r"\{([a-z]+)=([^{}]*)\}", rest)
    names = [name for name, _ in elements]
    if word not in REQUIRED:
        raise ValueError(f"unknown word: {line!r}")
    if len(set(names)) != len(names):
        raise ValueError(f"an element twice: {line!r}")
    missing, unknown = REQUIRED[word] - set(names), set(names) - REQUIRED[word] - OPTIONAL[word]
    if missing or unknown:
        raise ValueError(f"missing {missing}, unknown {unknown}: {line!r}")
    return Sentence(word, elements)


def _check_dialog(sentences):
    args = [s for s in sentences if s.word == "arg"]
    if [a["number"] for a in args] != [str(i) for i in range(len(args))]:
        raise ValueError("args are not numbered 0, 1, 2 ...")
    for arg in args:
        if arg["type"] not in ARG_TYPES:
            raise ValueError(f"unknown type: {arg}")
        if not re.fullmatch(r"--[a-z][a-z-]*", arg["call"]):
            raise ValueError(f"not an option: {arg}")
        values = [s for s in sentences if s.word == "value" and s["arg"] == arg["number"]]
        if (arg["type"] in ("selector", "radio")) != bool(values):
            raise ValueError(f"selectors have values, nothing else has: {arg}")
        if sum(v.get("default") == "true" for v in values) > 1:
            raise ValueError(f"several defaults: {arg}")


def parse(text):
    """All sentences of an output, or ValueError."""
    if text and not text.endswith("\n"):
        raise ValueError("the last line has no end")
    sentences = [parse_line(line) for line in text.splitlines()]
    if any(s.word == "arg" for s in sentences):
        _check_dialog(sentences)
    return sentences
