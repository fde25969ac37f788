// SPDX-License-Identifier: GPL-2.0-or-later
/* Why nodes do not give what they were asked for, in few sentences: those that come within a second
 * and have the same cause become one, and each is said once. No clock; one thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "collector/node-quota.h"

#define NOTICES_INTERVAL_NS 1000000000ull
#define NOTICES_NAMED       4u     /* subjects in a sentence; the others are counted */
#define NOTICES_CAUSES      1000u  /* that wait; further ones are left out */
#define NOTICES_REMEMBERED  16384u /* pairs of subject and cause that are known again */
#define NOTICES_TEXT_MAX    1024u  /* bytes of a subject or a message; longer ones are cut */

typedef struct Notices Notices;

Notices *notices_new(void (*say)(const char *sentence, void *userdata), void *userdata);
Notices *notices_free(Notices *notices); /* says nothing more; NULL is fine; returns NULL */
/* Both come from the network: what cannot be printed is replaced. What is new is charged to
 * `quota`, if that is not NULL; false: it has no room, and this is left out. */
bool notices_add(Notices *notices, NodeQuota *quota, uint64_t now_ns, const char *subject,
                 const char *message);
/* Says what is due; `all`: everything, at the end. */
void notices_flush(Notices *notices, uint64_t now_ns, bool all);
