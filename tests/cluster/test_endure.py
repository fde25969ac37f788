#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""usage: test_endure.py [first_packet|ip_reuse|churn|outage ...]: what shares a lab and a deployment; all of it by default."""
import sys

import cluster as lab
import remora
from test_churn import churn
from test_first_packet import first_packet
from test_ip_reuse import ip_reuse
from test_outage import outage

PARTS = {"outage": outage, "churn": churn, "ip_reuse": ip_reuse, "first_packet": first_packet}


def part(name):
    def run(cluster):
        PARTS[name](cluster, remora.apply(cluster))

    run.__name__ = name
    return run


def deploy(cluster):
    remora.load_image(cluster)
    remora.apply(cluster)


def clean_up(cluster):
    remora.remove(cluster)


if __name__ == "__main__":
    lab.main(deploy, *map(part, sys.argv[1:] or PARTS), clean_up)
