// SPDX-License-Identifier: GPL-2.0-or-later
/* Where the plaintext of a TLS connection comes from, and why nowhere from: k8s.tls.source and
 * k8s.tls.reason, on each packet of the connection.
 *
 * Whether there are secrets is what Wireshark's own TLS dissector found. While a file is read for
 * the first time that is known once the handshake has come to where it needs them; the packets
 * before have no such fields then. On every later pass all packets have them; and the reason is
 * what was told last, which may not be known yet when a connection begins. */
#pragma once

#include <epan/packet.h>

#include "plugins/k8s-identity.h"

/* Once, when the plugin registers, and at its handoff. */
void k8s_tls_register(int proto_k8s);
void k8s_tls_handoff(void);

/* Each packet with its identity option, in every pass, before its fields are added. */
void k8s_tls_follow(packet_info *pinfo, const uint8_t *option, size_t length);
void k8s_tls_add_fields(tvbuff_t *tvb, packet_info *pinfo, proto_tree *tree,
                        const K8sIdentity *identity);
