// SPDX-License-Identifier: GPL-2.0-or-later
/* Frames with sequence numbers, sent past every protocol: EtherType 0x88b5 (for local experiments),
 * 64-bit number behind it. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SENDER_ETHERTYPE 0x88b5u
#define SENDER_FRAME_MAX 1500u

typedef struct Sender {
    int fd;
    size_t frame_length;
    uint64_t sent; /* the next sequence number; atomic while a thread sends */
    /* Of sender_start(): */
    GThread *thread;
    uint64_t count, per_second; /* 0 per second: as fast as it goes */
    int running;                /* atomic */
} Sender;

/* On a device of the calling thread's namespace. */
void sender_open(Sender *sender, const char *device, size_t frame_length);
void sender_send(Sender *sender, uint64_t count); /* numbers go on from call to call */
void sender_close(Sender *sender);

void sender_start(Sender *sender, uint64_t count, uint64_t per_second);
bool sender_is_running(Sender *sender);
void sender_join(Sender *sender);
uint64_t sender_sent(Sender *sender); /* so far; from any thread */

/* The sequence number of a captured frame, or -1 if it is none of ours or its bytes are not as sent
 * (so far as captured). */
int64_t sender_sequence(const uint8_t *data, size_t captured_length);
