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
    uint32_t interfaces;  /* told so far: the next id */
    GPtrArray *abandoned; /* of Growth: still being opened for targets that have ended */
} TargetContext;

/* A larger ring on its way, opened on a thread of its own: the ring in use must be served
 * meanwhile. */
typedef struct Growth {
    GThread *thread;
    int netns_fd;
    size_t ring_bytes;
    uint32_t snap_length;
    Ring ring;
    int error;
    int done; /* atomic: the fields above are final */
} Growth;

typedef enum TargetLoad {
    TARGET_CALM,
    TARGET_LIVELY, /* more than a quarter of the ring was full */
    TARGET_BUSY,   /* more than half, or it overflowed */
} TargetLoad;

typedef struct Target {
    uint32_t id;
    int netns_fd; /* ours: for a larger ring */
    Ring ring;
    bool begins;    /* has the first, small ring */
    Growth *growth; /* or NULL */
    /* While a larger ring takes over, the old one still gives what was stamped before the cut. */
    Ring old;
    uint64_t cut_ns; /* of the packets' clock; 0 when there is no old ring */
    uint64_t cut_monotonic_ns;
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

/* Hands out all that is ready. */
TargetLoad target_serve(Target *target, TargetContext *context);
/* Ends the capture and hands out all that there is. Before target_free(). Does not wait for a
 * larger ring that is being opened: target_reap() does away with these, and if it must wait, with
 * all. */
void target_finish(Target *target, TargetContext *context);
void target_reap(TargetContext *context, bool wait);

/* Growing, without a packet lost or told twice: target_grow() has a larger ring opened (0 or
 * -errno); then target_switch() takes it into use once it is there (1; 0: not yet; -errno: all
 * stays as it was); when nothing stamped before that can come any more, target_close_old() ends it.
 * Until then there is no further target_grow(). */
int target_grow(Target *target, size_t ring_bytes, const TargetContext *context);
int target_switch(Target *target, TargetContext *context);
void target_close_old(Target *target);

static inline bool target_has_old(const Target *target)
{
    return target->cut_ns != 0;
}

static inline uint64_t target_ring_bytes(const Target *target)
{
    return target->ring.length + target->old.length +
           (target->growth ? target->growth->ring_bytes : 0);
}
