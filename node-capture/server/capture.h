// SPDX-License-Identifier: GPL-2.0-or-later
/* The pods of this node, the source that captures them, and the streams that want their packets.
 *
 * A pod is open for capture only while a stream wants it. Everything here belongs to the capture
 * thread. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "node-capture/server/pod.h"
#include "node-capture/source/source.h"
#include "node-capture/targets/targets.h"

typedef struct CaptureStats {
    uint64_t packets, bytes; /* that the source handed over */
    uint64_t kernel_lost;
    uint64_t opened, open_failures;
    StreamStats closed_streams; /* sums; `waiting` is what was left when their readers went away */
} CaptureStats;

typedef struct Capture Capture;

extern const SourceCallbacks capture_source_callbacks; /* userdata: the Capture */

/* `allowed` is what may be captured at all; borrowed. */
Capture *capture_new(const Selector *allowed);
Capture *capture_free(Capture *capture); /* also frees the source */
void capture_set_source(Capture *capture, Source *source);
/* Called whenever there are packets or a watermark, before the streams get them. */
void capture_set_before_packets(Capture *capture, void (*before)(void *userdata), void *userdata);

/* Called with each batch of a pod, before its streams get it; with NULL where packets of it were
 * lost at `time_ns`. */
typedef void (*CaptureWatch)(const Pod *pod, const Batch *batch, uint64_t time_ns, void *userdata);
void capture_set_watch(Capture *capture, CaptureWatch watch, void *userdata);

/* `since_ns`: as for TargetsCallbacks.appeared(). */
void capture_pod_appeared(Capture *capture, const Entity *entity, int netns_fd, uint64_t since_ns);
void capture_pod_vanished(Capture *capture, const char *uid);
/* Streams are told if it is still so in two or three seconds. */
void capture_pod_failed(Capture *capture, const Entity *entity, const char *reason);
/* Streams are told nothing of it. What was counted of the pod stays. */
void capture_pod_left_out(Capture *capture, const Entity *entity, bool excluded,
                          const char *reason);
void capture_pod_changed(Capture *capture,
                         const Entity *entity); /* labels may decide who wants it */

/* Takes a reference; opens at once what the stream wants, and tells it nothing yet. */
void capture_add_stream(Capture *capture, Stream *stream);
/* Then, when the stream has the initial state: tells what is open, and what could not be. */
void capture_begin_stream(Capture *capture, Stream *stream);
/* Returns false if it is not known. */
bool capture_remove_stream(Capture *capture, Stream *stream);
const GPtrArray *capture_streams(const Capture *capture); /* of Stream * */

/* Serves the source for up to timeout_ms, and no longer than until something is due for a stream;
 * then that, and what is due besides. */
void capture_run(Capture *capture, int timeout_ms);
/* At the end: streams still get what the source has, and are told what was left in it. */
void capture_close_pods(Capture *capture);
void capture_wake(Capture *capture); /* from any thread */

void capture_stats(const Capture *capture, CaptureStats *ret);
uint64_t capture_ring_bytes(const Capture *capture);
/* Rises whenever a stream begins or ceases to want a pod. */
uint64_t capture_wishes(const Capture *capture);

GHashTable *capture_pods(const Capture *capture); /* uid -> Pod, not to be changed */
void capture_pod_stats(const Capture *capture, const Pod *pod, SourceTargetStats *ret);
