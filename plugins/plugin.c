// SPDX-License-Identifier: GPL-2.0-or-later
/* What Wireshark looks for in a plugin. */
#include "plugins/ws_compat.h"

#include <epan/proto.h>

#include "plugins/calls/calls.h"
#include "plugins/packet-k8s.h"

WS_DLL_PUBLIC_DEF const char plugin_version[] = REMORA_VERSION;
WS_DLL_PUBLIC_DEF const int plugin_want_major = WIRESHARK_VERSION_MAJOR;
WS_DLL_PUBLIC_DEF const int plugin_want_minor = WIRESHARK_VERSION_MINOR;

WS_DLL_PUBLIC void plugin_register(void);

void plugin_register(void)
{
    static proto_plugin k8s = {
        .register_protoinfo = proto_register_k8s,
        .register_handoff = proto_reg_handoff_k8s,
    };

    static proto_plugin call = {
        .register_protoinfo = proto_register_k8s_call,
        .register_handoff = proto_reg_handoff_k8s_call,
    };

    proto_register_plugin(&k8s);
    proto_register_plugin(&call);
}

#if WS_HAVE_PLUGIN_DESCRIBE
WS_DLL_PUBLIC uint32_t plugin_describe(void);

uint32_t plugin_describe(void)
{
    return WS_PLUGIN_DESC_DISSECTOR;
}
#endif
