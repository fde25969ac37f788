// SPDX-License-Identifier: GPL-2.0-or-later
/* Client randoms on the wire, on their way from the thread that sees them to the one that keeps a
 * WireRandoms. Bounded: of what finds no room its namespace is told as hidden, and no other. One
 * namespace has a quarter of the room. */
#pragma once

#include "node-capture/tls/wire-randoms.h"

#define SEEN_RANDOMS_MAX        16384u
#define SEEN_RANDOMS_EACH       (SEEN_RANDOMS_MAX / 4)
#define SEEN_RANDOMS_NAMESPACES 4096u /* beyond them all are told as hidden */

typedef struct SeenRandoms SeenRandoms;

SeenRandoms *seen_randoms_new(void);
SeenRandoms *seen_randoms_free(SeenRandoms *seen); /* NULL is fine; returns NULL */
/* Any thread. `random` NULL: hidden. */
void seen_randoms_add(SeenRandoms *seen, uint64_t netns_inode, uint64_t time_ns,
                      const uint8_t *random, bool may_be_outer);
/* Those of the namespaces that `is_followed` go to `randoms`, the others nowhere. */
void seen_randoms_take(SeenRandoms *seen, WireRandoms *randoms,
                       bool (*is_followed)(uint64_t netns_inode, void *userdata), void *userdata);
