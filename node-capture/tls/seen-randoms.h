// SPDX-License-Identifier: GPL-2.0-or-later
/* ClientHellos on the wire, on their way from the thread that sees them to the one of TlsKeys.
 * Bounded: of what finds no room its namespace is told as hidden, and no other. One namespace has a
 * quarter of the room. */
#pragma once

#include "node-capture/tls/keys.h"

#define SEEN_RANDOMS_MAX        16384u
#define SEEN_RANDOMS_EACH       (SEEN_RANDOMS_MAX / 4)
#define SEEN_RANDOMS_NAMESPACES 4096u /* beyond them all are told as hidden */

typedef struct SeenRandoms SeenRandoms;

SeenRandoms *seen_randoms_new(void);
SeenRandoms *seen_randoms_free(SeenRandoms *seen); /* NULL is fine; returns NULL */
void seen_randoms_add(SeenRandoms *seen, const TlsSeenHello *hello); /* any thread */
/* All that were added since, in their order; then, without random, each namespace that something
 * was hidden in, which is WIRE_RANDOMS_ALL where too many had something. */
void seen_randoms_take(SeenRandoms *seen, void (*take)(const TlsSeenHello *hello, void *userdata),
                       void *userdata);
