// SPDX-License-Identifier: GPL-2.0-or-later
/* Who calls whom: what the identity option tells of the two ends of a call. */
#pragma once

#include <epan/packet_info.h>

typedef enum CallEndText {
    CALL_END_NAME, /* short: namespace/pod, namespace/service, node or address */
    CALL_END_NAMESPACE,
    CALL_END_POD,
    CALL_END_OWNER, /* "shop/frontend (Deployment)" */
    CALL_END_SERVICE,
    CALL_END_NODE,
    CALL_END_TEXTS
} CallEndText;

typedef enum CallSide { CALL_CLIENT, CALL_SERVER, CALL_SIDES } CallSide;

typedef struct CallEnds {
    const char *text[CALL_SIDES][CALL_END_TEXTS]; /* kept texts; NULL: not told */
    uint8_t type[CALL_SIDES];                     /* IdentityPeer */
} CallEnds;

/* Once, when the plugin registers. */
void call_ends_register(void);
/* Of the packet that goes from client to server, or back. Stays while the file is open; equal ends
 * are the same pointer. */
const CallEnds *call_ends(packet_info *pinfo, bool from_client);
