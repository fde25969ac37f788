// SPDX-License-Identifier: GPL-2.0-or-later
/* What the parts of identity-bench share. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <time.h>

#include "k8s-enrich/api/watch.h"

#define BENCH_NODES      500u
#define BENCH_VERSION_NS (1000 * UINT64_C(1000000000)) /* how long a version of a pod is valid */

uint64_t bench_clock_ns(clockid_t clock);
size_t bench_resident_bytes(void);
/* A pod as a Deployment makes it: five labels, two containers with ids and images. Two versions
 * have the same uid. The caller frees. */
Entity *bench_pod(uint32_t n, uint32_t version, uint64_t from_ns);
/* Its first version as it is told when it ends. The caller frees. */
Entity *bench_gone_pod(uint32_t n);

/* Forks a node that tells of 50,000 pods and then of `rate` changes a second, beside packets, and
 * prints what the collector's process costs with and without the changes. */
int bench_collector(unsigned rate);
