// SPDX-License-Identifier: GPL-2.0-or-later
/* What a source of TLS plaintext tells, as lines of text:
 *
 *     KEY=VALUE ... [the bytes in hexadecimal]
 *
 * Keys: connection, netns, time (ns), direction (read, written), server, start (1 if absent), end,
 * secrets (1: told just now), skipped, offset, local, remote (ADDRESS/PORT; if absent the socket is
 * not known). */
#pragma once

#include <glib.h>

#include "node-capture/tls/keys.h"

/* The line is changed. What breaks the form fails the test. */
void plaintext_call(char *line, void (*tell)(const TlsPlaintext *plaintext, void *userdata),
                    void *userdata);
