// SPDX-License-Identifier: GPL-2.0-or-later
/* Protocols that Wireshark knows over TCP, but not inside of TLS at the port where they are. */
#pragma once

/* To be called when all of Wireshark's own are registered: at the plugin's handoff. */
void tls_ports_register(void);
