// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugins/ws_compat.h"

#include "plugins/calls/adapter.h"

extern const CallAdapter call_dns, call_http, call_http2, call_redis, call_tcp, call_tls;

/* Connections come last: what ends in their last packet has ended by then. */
const CallAdapter *const call_adapters[] = {
    &call_http, &call_http2, &call_dns, &call_redis, &call_tls, &call_tcp, NULL,
};
