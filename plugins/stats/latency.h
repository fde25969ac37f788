// SPDX-License-Identifier: GPL-2.0-or-later
/* Percentiles of many times in little memory: a histogram whose buckets grow with the time, 128 to
 * each doubling, as HdrHistogram and DDSketch have them. What it tells is within 0.4 % of a time
 * that was added, and of the right rank among all of them. Some hundred buckets of 8 bytes. */
#pragma once

#include <stdint.h>

#include <glib.h>

typedef struct Latency {
    GArray *buckets; /* in their order; NULL: nothing was added */
    uint64_t count;
    int64_t sum_ns, least_ns, most_ns;
} Latency;

/* All zero is an empty one. */
void latency_clear(Latency *latency);
/* Negative times count as 0. */
void latency_add(Latency *latency, int64_t ns);
/* The time that the share `rank` (0 to 1) of all is not above; 0 of an empty one. */
int64_t latency_at(const Latency *latency, double rank);
