// SPDX-License-Identifier: GPL-2.0-or-later
/* Rate, errors and durations of a group of calls. */
#pragma once

#include "plugins/calls/call.h"
#include "plugins/stats/latency.h"

typedef struct CallCounts {
    uint64_t calls; /* ended ones and pending ones */
    uint64_t errors, unanswered, no_request, pending;
    uint64_t request_bytes, response_bytes;
    Latency latency;           /* of those that were answered */
    int64_t first_ns, last_ns; /* when the first began and the last ended, since 1970 */
} CallCounts;

void call_counts_add(CallCounts *counts, const Call *call);
void call_counts_clear(CallCounts *counts);
/* Calls a second from the first to the last; 0 where there is no time between them. */
double call_counts_rate(const CallCounts *counts);
