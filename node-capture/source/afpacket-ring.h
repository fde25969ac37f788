// SPDX-License-Identifier: GPL-2.0-or-later
/* One TPACKET_V3 ring: a packet socket in some network namespace that sees all its devices, and the
 * memory it shares with us. */
#pragma once

#include <linux/if_packet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The smallest ring, of which there are many, and the time after which a block with a packet in it
 * is handed over even if not full: each ring has a timer in the kernel that runs at this pace,
 * traffic or not, and 250 at 20 ms take 3 % of a CPU. */
#define RING_SMALLEST       (512u * 1024u)
#define RING_RETIRE_MS      20u
#define RING_RETIRE_SLOW_MS 80u /* of the smallest */
/* A block must hold the largest packet that the kernel builds (64 kB and headers). */
#define RING_BLOCK_MIN (128u * 1024u)
#define RING_BLOCK_MAX (1024u * 1024u)

typedef struct Ring {
    int fd; /* -1: closed */
    uint8_t *memory;
    size_t length;
    uint32_t block_size, block_count;
    uint32_t retire_ms;
    uint32_t next;     /* the block that the kernel fills, or has filled, next for us */
    uint64_t arrived;  /* by ring_read_statistics(): packets that the kernel had for the ring,
                          dropped ones included */
    uint64_t dropped;  /* of these: no room */
    uint64_t taken;    /* packets in the blocks released so far */
    uint64_t sequence; /* of the block released last: the kernel counts those that it begins */
} Ring;

#define RING_CLOSED ((Ring){.fd = -1})

/* Opens a ring of `bytes` (a power of two, RING_SMALLEST at least) inside a network namespace;
 * nothing arrives before ring_start(). Returns 0 or -errno, and then *ret_message says what could
 * not be done and, for -EPERM, for want of which capability. The calling thread's own namespace
 * never changes. A large ring takes tens of milliseconds: its memory is zeroed. */
int ring_open(Ring *ring, int netns_fd, size_t bytes, uint32_t snap_length,
              const char **ret_message);
/* From its return on, every packet that is stamped comes into the ring. -errno. */
int ring_start(Ring *ring);
/* Nothing arrives after it, and nothing is being written any more: what the kernel had begun is in
 * ring_peek_open(). Takes a grace period of RCU. -errno. */
int ring_stop(Ring *ring);
void ring_close(Ring *ring); /* closed already: fine */

/* How much of each packet the kernel copies. -errno. */
int ring_set_snap_length(Ring *ring, uint32_t snap_length);

/* The oldest block that the kernel is done with, or NULL. Valid until ring_release(). */
const struct tpacket_block_desc *ring_peek(const Ring *ring);
void ring_release(Ring *ring);
bool ring_has_more(const Ring *ring); /* is the block behind that one done as well? */

/* After ring_stop(), when ring_peek() has no more: the block that the kernel was filling, or NULL
 * if there was nothing in it. */
const struct tpacket_block_desc *ring_peek_open(const Ring *ring);

/* Brings `arrived` and `dropped` up to date. Returns the newly dropped ones. */
uint64_t ring_read_statistics(Ring *ring);
