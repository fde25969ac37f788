// SPDX-License-Identifier: GPL-2.0-or-later
/* One captured network namespace: its ring, a second one while it grows, and the devices seen in
 * it. */
#pragma once

#include <glib.h>

#include "node-capture/source/afpacket-device.h"
#include "node-capture/source/afpacket-ring.h"
#include "node-capture/source/source.h"

/* What all targets of a source share. */
typedef struct TargetContext {
    SourceCallbacks callbacks;
    void *userdata;
    uint32_t snap_length;
    uint32_t interfaces; /* told so far: the next id */
} TargetContext;

typedef struct Target {
    uint32_t id;
    int netns_fd; /* ours: for a larger ring */
    Ring ring;
    /* While a larger ring takes over, the old one still gives what was stamped before the cut. */
    Ring old;
    uint64_t cut_ns; /* of the packets' clock; 0 when not switching */
    uint64_t switched_monotonic_ns;
    uint64_t grow_after_monotonic_ns; /* no further attempt before */
    GArray *devices;                  /* Device */
    guint device;                     /* the one of the packet before: index into devices */
    uint64_t served_ns;               /* start of the last visit */
    SourceTargetStats stats;
} Target;

/* 0 or -errno with *ret_message. */
int target_new(uint32_t id, int netns_fd, size_t ring_bytes, const TargetContext *context,
               Target **ret, const char **ret_message);
Target *target_free(Target *target); /* without callbacks; returns NULL */

/* Hands out all that is ready. Returns whether the ring was more than half full, or overflowed. */
bool target_serve(Target *target, TargetContext *context);
/* Hands out all that is ready and tells what else the ring holds as lost. Before target_free(). */
void target_finish(Target *target, TargetContext *context);

/* Opens a larger ring and switches to it, without a packet lost or told twice. 0 or -errno: then
 * all stays as it was. */
int target_grow(Target *target, size_t ring_bytes, TargetContext *context);
static inline bool target_is_growing(const Target *target)
{
    return target->cut_ns != 0;
}
/* Closes the old ring. To be called when nothing stamped before the cut can come any more. */
void target_grown(Target *target);

static inline uint64_t target_ring_bytes(const Target *target)
{
    return target->ring.length + target->old.length;
}
