// SPDX-License-Identifier: GPL-2.0-or-later
/* Many nearly sorted streams of packets -> one sorted by time.
 *
 * A packet goes out when no live stream can bring an earlier one any more: when every one has
 * promised so by its watermark. A stream whose promise has not risen for `max_wait_ns` is stalled:
 * it is left out of that rule until it speaks again. And no packet waits for longer than
 * `max_wait_ns`, whatever the clocks of the nodes say. What comes after its time was over is
 * delivered at once, marked late. Equal times keep the order in which they came.
 *
 * Streams come and go. The number of one that is gone is given out again only when the last of its
 * buffers has been given back, so a packet never seems to be of another stream.
 *
 * Packets stay in the buffers they came in (one per message). No I/O, no clock, no allocation per
 * packet; `now_ns` is any clock that never jumps back. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Merge Merge;

/* A message's blocks. Filled by one thread, then handed to the merge. */
typedef struct MergeBuffer {
    Merge *merge;    /* set by merge_push() */
    uint32_t stream; /* likewise */
    uint32_t refs;
    uint64_t arrived_ns;
    void *context; /* the caller's; given to `release` (may be NULL) with the last reference */
    void (*release)(void *context);
    size_t length;
    uint8_t data[];
} MergeBuffer;

MergeBuffer *merge_buffer_new(const void *bytes, size_t length); /* copies; one reference */
MergeBuffer *merge_buffer_room(size_t length); /* the same, data still to be written */
MergeBuffer *merge_buffer_ref(MergeBuffer *buffer);
MergeBuffer *merge_buffer_unref(
    MergeBuffer *buffer); /* NULL is fine; returns NULL; gives the stream its room back */

typedef struct MergePacket {
    uint64_t time_ns;
    MergeBuffer *buffer;  /* a reference, which the receiver gives back */
    const uint8_t *block; /* an Enhanced Packet Block that pcapng_packet_parse() has passed */
    uint32_t length;      /* of the block */
    uint32_t stream;
    bool late;   /* something later is already out */
    bool forced; /* went out because its time to wait was over, not because its turn had come */
} MergePacket;

/* With the streams 0 to n_streams - 1; may be none. `memory_limit` bytes in all, shared evenly by
 * the streams there are. */
Merge *merge_new(uint32_t n_streams, uint64_t max_wait_ns, uint64_t memory_limit);
Merge *merge_free(Merge *merge); /* all buffers must have been given back */

/* One more stream, closed as yet; returns its number. */
uint32_t merge_add(Merge *merge);
/* Closes it for good; what it has brought still goes out in its turn. */
void merge_remove(Merge *merge, uint32_t stream);

/* From here on the stream holds the others back, with a watermark of 0. */
void merge_open(Merge *merge, uint32_t stream, uint64_t now_ns);
/* It no longer does; what it has brought still goes out in its turn. */
void merge_close(Merge *merge, uint32_t stream);

/* Takes the buffer's reference. `offset` is where the blocks begin in it. `check` is asked about
 * each block's interface id. Returns how many packets were taken; when blocks are left over that
 * are no valid packets (or `check` says no), *ret_error is -EBADMSG
 * (-ENOENT), else 0. */
uint32_t merge_push(Merge *merge, uint32_t stream, MergeBuffer *buffer, size_t offset,
                    size_t length, bool (*check)(uint32_t interface_id, void *userdata),
                    void *userdata, uint64_t now_ns, int *ret_error);
/* "Nothing earlier follows." 0 and falling values change nothing. */
void merge_watermark(Merge *merge, uint32_t stream, uint64_t watermark_ns, uint64_t now_ns);

/* Once a pass, after all that has come was pushed: finds stalled streams and lets waiting packets
 * go. Returns whether one has stalled that had not before. */
bool merge_advance(Merge *merge, uint64_t now_ns);
/* The next packet that may go out. */
bool merge_pop(Merge *merge, MergePacket *ret);
/* The earliest packet, whether it may go out or not: at the end, and while merge_over_limit(). */
bool merge_pop_forced(Merge *merge, MergePacket *ret);

/* Nothing earlier than this follows but late ones; UINT64_MAX while no stream is live. */
uint64_t merge_frontier(const Merge *merge);
bool merge_stalled(const Merge *merge, uint32_t stream);
uint64_t merge_stalls(const Merge *merge, uint32_t stream); /* how often it has stalled so far */
/* Flow control: whether to ask the stream for its next message. One that holds the others back
 * always may go on, so this never locks up. */
bool merge_wants(const Merge *merge, uint32_t stream);
/* More is held than the limit allows. */
bool merge_over_limit(const Merge *merge);
uint64_t merge_held_bytes(const Merge *merge);
uint64_t merge_held_packets(const Merge *merge);
