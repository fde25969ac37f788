// SPDX-License-Identifier: GPL-2.0-or-later
/* The plaintext of TLS connections, which stands in the file as TCP packets on an interface of its
 * own: kept apart from the packets of the same connection, and given to the dissector of the
 * protocol inside. docs/tls.md. */
#pragma once

#include <stdbool.h>

#include <epan/packet_info.h>

/* Whether the packet carries plaintext of TLS. */
bool is_plaintext_interface(const packet_info *pinfo);
void plaintext_register(void);
void plaintext_register_handoff(void);
