// SPDX-License-Identifier: GPL-2.0-or-later
/* A capture source: the packets of many network namespaces, as batches of pcapng Enhanced Packet
 * Blocks.
 *
 * A backend is a vtable (afpacket, fake). All functions are called on the capture thread, but
 * wake(); callbacks come on that thread too, out of run() and remove(), and must not call add(),
 * remove() or free(). Errors are -errno. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Encoded packets, shared by all who want them. Immutable once handed out. */
typedef struct Batch {
    int refs;                   /* atomic: batch_ref(), batch_unref() */
    uint32_t count;             /* packets */
    uint64_t first_ns, last_ns; /* lowest and highest time stamp */
    uint64_t bytes;             /* captured bytes of packets */
    size_t length, capacity;
    uint8_t data[]; /* EPBs; interface ids as told by the interface() callback */
} Batch;

#define BATCH_BYTES (256u * 1024u) /* what a batch holds at most, but for one larger packet */

/* From a pool: any thread. Capacity is at least what was asked for; count it, not length, where
 * memory is bounded. */
Batch *batch_new(size_t capacity);
Batch *batch_ref(Batch *batch);
void batch_unref(Batch *batch);

/* A place to capture: one pod's network namespace. */
typedef struct CaptureTarget {
    uint32_t id;       /* chosen by the caller, unique for the source's life */
    const char *uid;   /* Kubernetes uid of the pod */
    const char *label; /* "namespace/name", for messages */
    int netns_fd;      /* borrowed during source_add() */
} CaptureTarget;

typedef struct SourceInterface {
    uint32_t id; /* interface id in the EPBs; unique for the source's life */
    uint32_t target_id;
    const char *device; /* "eth0" */
    uint16_t link_type; /* LINKTYPE_ETHERNET, LINKTYPE_RAW, ... */
    bool loopback;
} SourceInterface;

typedef struct SourceCallbacks {
    void (*interface)(const SourceInterface *interface,
                      void *userdata); /* before the first packet that names it */
    /* The callee takes a reference if it keeps them. All packets of a batch belong to the target
     * `target_id`. */
    void (*packets)(uint32_t target_id, Batch *batch, void *userdata);
    /* Packets that we could not hand on, between two times: the ring was full, or (told alike) they
     * came from a device whose link type has no pcapng equivalent here. `unknown`: a lower bound.
     */
    void (*lost)(uint32_t target_id, uint64_t packets, uint64_t from_ns, uint64_t to_ns,
                 bool unknown, void *userdata);
    /* After a whole pass over all targets: nothing earlier than this will follow. Called at the end
     * of each run() whose time is up, and meanwhile as often as it may matter: packets that are
     * handed out wait for it. */
    void (*watermark)(uint64_t unix_ns, void *userdata);
    /* A target cannot be captured any more (its namespace is gone: error 0) or at all.
     * source_remove() must still be called. */
    void (*ended)(uint32_t target_id, int error, const char *message, void *userdata);
} SourceCallbacks;

typedef struct SourceTargetStats {
    uint64_t packets, bytes, lost;
    uint64_t ring_bytes;
} SourceTargetStats;

typedef struct Source Source;
typedef struct SourceOps {
    const char *name;
    void (*free)(Source *source);
    /* Opens the target. -EPERM: *ret_message names the capability that is missing. -ENOBUFS: the
     * ring budget is used up. *ret_message is a static string, set on every error. */
    int (*add)(Source *source, const CaptureTarget *target, const char **ret_message);
    /* Ends the capture of the target and hands out all that there is of it. *ret_stats (may be
     * NULL) is final: all that was ever told of the target, this included, and no ring; all 0 for
     * an unknown target. */
    void (*remove)(Source *source, uint32_t target_id, SourceTargetStats *ret_stats);
    /* What the kernel copies of each packet; applies to all targets, also those added later. 0: no
     * limit. */
    int (*set_snap_length)(Source *source, uint32_t bytes);
    /* Serves sockets for up to timeout_ms and calls back. Returns 0, or -EINTR after source_wake().
     */
    int (*run)(Source *source, int timeout_ms);
    void (*wake)(Source *source); /* from any thread: run() returns soon */
    void (*stats)(const Source *source, uint32_t target_id, SourceTargetStats *ret);
    uint64_t (*ring_bytes)(const Source *source);
} SourceOps;

struct Source {
    const SourceOps *ops;
};

/* TPACKET_V3 rings: one per target, small at first, larger where busy, within `ring_budget` bytes
 * altogether. Half of the budget is kept so that 256 pods get the smallest ring at least (512 kB of
 * 256 MB). NULL with errno set on failure. */
Source *source_afpacket_new(uint64_t ring_budget, const SourceCallbacks *callbacks, void *userdata);
/* For tests: emits what source_fake_*() tells it to. */
Source *source_fake_new(const SourceCallbacks *callbacks, void *userdata);
