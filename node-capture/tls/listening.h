// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Does anything listen on a TCP port in the network namespace of that process? Then a connection
 * with that local port was accepted. False if the process is gone. */
bool tls_is_listening(uint32_t pid, uint16_t port);
