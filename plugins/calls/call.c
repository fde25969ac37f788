// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugins/ws_compat.h"

#include "plugins/calls/call.h"

int64_t call_latency_ns(const Call *call)
{
    if (!call->request_frame || call->state != CALL_ANSWERED)
        return -1;
    return MAX(0, call->response_ns - call->request_ns); /* clocks of two nodes */
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

static const char *duration(wmem_allocator_t *pool, int64_t ns)
{
    if (ns < 1000000)
        return wmem_strdup_printf(pool, "%.0f \xC2\xB5s", (double)ns / 1e3);
    if (ns < 1000000000)
        return wmem_strdup_printf(pool, "%.1f ms", (double)ns / 1e6);
    return wmem_strdup_printf(pool, "%.2f s", (double)ns / 1e9);
}

const char *call_summary(wmem_allocator_t *pool, const Call *call)
{
    wmem_strbuf_t *text = wmem_strbuf_new(pool, call->method ? call->method : "?");
    int64_t latency = call_latency_ns(call);

    if (call->target)
        wmem_strbuf_append_printf(text, " %s", call->target);
    wmem_strbuf_append_printf(text, " \xE2\x86\x92 %s",
                              call->status ? call->status : call_state_name(call));
    if (latency >= 0)
        wmem_strbuf_append_printf(text, " (%s)", duration(pool, latency));
    return wmem_strbuf_get_str(text);
}
