// SPDX-License-Identifier: GPL-2.0-or-later
/* ClientHellos on the wire, on their way from the thread that sees them to the one of TlsKeys.
 * Bounded: what finds no room is told as one whose random cannot be seen. */
#pragma once

#include "node-capture/tls/keys.h"

#define SEEN_RANDOMS_MAX 16384u

typedef struct SeenRandoms SeenRandoms;

SeenRandoms *seen_randoms_new(void);
SeenRandoms *seen_randoms_free(SeenRandoms *seen); /* NULL is fine; returns NULL */
void seen_randoms_add(SeenRandoms *seen, const TlsSeenHello *hello); /* any thread */
/* All that were added since, in their order. */
void seen_randoms_take(SeenRandoms *seen, void (*take)(const TlsSeenHello *hello, void *userdata),
                       void *userdata);
