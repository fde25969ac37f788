// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugins/ws_compat.h"

#include "plugins/stats/counts.h"

void call_counts_add(CallCounts *counts, const Call *call)
{
    int64_t from = call->request_frame ? call->request_ns : call->response_ns;
    int64_t to = call->state == CALL_PENDING ? call->request_ns : call->response_ns;
    int64_t latency = call_latency_ns(call);

    counts->first_ns = counts->calls ? MIN(counts->first_ns, from) : from;
    counts->last_ns = counts->calls ? MAX(counts->last_ns, to) : to;
    counts->calls++;
    counts->errors += call->error;
    counts->pending += call->state == CALL_PENDING;
    counts->unanswered += call->state == CALL_UNANSWERED;
    counts->no_request += call->state == CALL_NO_REQUEST;
    counts->request_bytes += call->request_bytes;
    counts->response_bytes += call->response_bytes;
    if (latency >= 0)
        latency_add(&counts->latency, latency);
}

double call_counts_rate(const CallCounts *counts)
{
    int64_t ns = counts->last_ns - counts->first_ns;

    return counts->calls > 1 && ns > 0 ? (double)counts->calls * 1e9 / (double)ns : 0;
}

void call_counts_clear(CallCounts *counts)
{
    latency_clear(&counts->latency);
    *counts = (CallCounts){0};
}
