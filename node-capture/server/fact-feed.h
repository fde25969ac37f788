// SPDX-License-Identifier: GPL-2.0-or-later
/* The way of facts (facts.h) from the threads that find them out into what is kept, and into the
 * open streams. */
#pragma once

#include <glib.h>

#include "node-capture/server/facts.h"
#include "node-capture/server/queue.h"

#define FACT_FEED_MAX 65536u /* that wait for the capture thread; further ones are lost */

typedef struct FactFeedStats {
    FactsStats kept;
    uint64_t lost; /* the capture thread was busy for too long */
} FactFeedStats;

typedef struct FactFeed FactFeed;

/* `wake` is called from any thread, once there is something for fact_feed_run(). */
FactFeed *fact_feed_new(void (*wake)(void *userdata), void *userdata);
FactFeed *fact_feed_free(FactFeed *feed);        /* NULL is fine; returns NULL */
void fact_feed_push(FactFeed *feed, Fact *fact); /* any thread; takes over the reference */

/* The capture thread's: */

/* Takes what was pushed, tells the streams (of Stream *) of it. */
void fact_feed_run(FactFeed *feed, const GPtrArray *streams, uint64_t now_ns);
/* Forgets all of a kind, those that were pushed lately as well. */
void fact_feed_clear(FactFeed *feed, FactKind kind);
/* All that is known, for a new stream. */
void fact_feed_tell_all(FactFeed *feed, Queue *queue);
void fact_feed_stats(FactFeed *feed, FactFeedStats *ret);
