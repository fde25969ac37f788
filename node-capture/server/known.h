// SPDX-License-Identifier: GPL-2.0-or-later
/* What is known of the cluster, and the telling of it to streams that have just been opened.
 *
 * A large cluster takes longer to tell than a busy ring lasts, so it is told in slices, between
 * which the source is served. A stream is told each entity once, in the order of keys; what changes
 * meanwhile it hears at once if its turn was before, and in its turn else. Belongs to the capture
 * thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "k8s-enrich/inventory.h"
#include "node-capture/server/stream.h"

#define KNOWN_SLICE 5000u /* entities told in one go: a few milliseconds */

typedef struct Known Known;

Known *known_new(void);
Known *known_free(Known *known); /* NULL is fine; returns NULL */

/* An entity is new or has changed; `deleted_ns` not 0: it is gone. Streams that were told all hear
 * of it from the caller. */
void known_apply(Known *known, const Entity *entity, uint64_t deleted_ns);

/* Borrowed, until the next known_apply(); NULL: there is none. */
const Entity *known_find(const Known *known, uint64_t key);

/* From here on the stream waits for its slices. Takes a reference. */
void known_add_stream(Known *known, Stream *stream);
/* Returns false if it does not wait. */
bool known_remove_stream(Known *known, Stream *stream);
bool known_has_streams(const Known *known);
/* Tells one slice to the stream whose turn it is. Returns that stream, with its reference, if it
 * has been told all now; else NULL. */
Stream *known_tell(Known *known);
