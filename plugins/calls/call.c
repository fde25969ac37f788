// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugins/ws_compat.h"

#include "plugins/calls/call.h"

int64_t call_latency_ns(const Call *call)
{
    if (!call->request_frame || call->state != CALL_ANSWERED)
        return -1;
    return MAX(0, call->response_ns - call->request_ns); /* clocks of two nodes */
}

char *call_duration_text(int64_t ns)
{
    if (ns < 1000000)
        return g_strdup_printf("%.0f \xC2\xB5s", (double)ns / 1e3);
    if (ns < 1000000000)
        return g_strdup_printf("%.1f ms", (double)ns / 1e6);
    return g_strdup_printf("%.2f s", (double)ns / 1e9);
}

const char *call_state_name(const Call *call)
{
    static const char *const names[] = {
        [CALL_PENDING] = "pending",
        [CALL_ANSWERED] = "answered",
        [CALL_UNANSWERED] = "unanswered",
        [CALL_NO_REQUEST] = "no request",
    };

    return names[call->state];
}

const char *call_request_line(wmem_allocator_t *pool, const Call *call)
{
    const char *method = call->method ? call->method : "?";

    return call->target ? wmem_strdup_printf(pool, "%s %s", method, call->target) : method;
}

const char *call_summary(wmem_allocator_t *pool, const Call *call)
{
    int64_t latency = call_latency_ns(call);
    g_autofree char *time = latency >= 0 ? call_duration_text(latency) : NULL;

    return wmem_strdup_printf(pool, "%s \xE2\x86\x92 %s%s%s%s", call_request_line(pool, call),
                              call->status ? call->status : call_state_name(call), time ? " (" : "",
                              time ? time : "", time ? ")" : "");
}
