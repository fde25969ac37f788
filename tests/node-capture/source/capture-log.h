// SPDX-License-Identifier: GPL-2.0-or-later
/* A source under test and all that it has told. Checks on the way what holds always: interfaces
 * come before their packets, blocks and batch headers are right, and no packet is earlier than a
 * watermark. */
#pragma once

#include <glib.h>

#include "node-capture/source/source.h"

typedef struct LoggedPacket {
    uint32_t target_id, interface_id;
    uint64_t time_ns;
    uint32_t captured_length, original_length;
    uint32_t flags;
    uint8_t *data;
} LoggedPacket;

typedef struct LoggedInterface {
    uint32_t id, target_id;
    char *device;
    uint16_t link_type;
    bool loopback;
} LoggedInterface;

typedef struct CaptureLog {
    Source *source;
    GPtrArray *interfaces; /* LoggedInterface, by id */
    GPtrArray *packets;    /* LoggedPacket */
    uint64_t lost;
    uint64_t last_lost_from_ns, last_lost_to_ns;
    uint64_t watermark_ns;
    unsigned watermarks;
    unsigned ended;
    bool count_only; /* sequence numbers instead of packets: for many */
    GHashTable *sequences;
    unsigned duplicates;
} CaptureLog;

void capture_log_open(CaptureLog *log, uint64_t ring_budget);
void capture_log_close(CaptureLog *log);

void capture_log_add(CaptureLog *log, uint32_t target_id, int netns_fd);
/* Runs the source until the target has one ring of so many bytes, and no other. */
void capture_log_await_ring(CaptureLog *log, uint32_t target_id, uint64_t bytes);
/* Runs the source until nothing captured before this call can be missing. */
void capture_log_settle(CaptureLog *log);
/* Packets captured, in either mode. */
uint64_t capture_log_count(const CaptureLog *log);
const LoggedPacket *capture_log_packet(const CaptureLog *log, guint index);
/* The interface of a packet. */
const LoggedInterface *capture_log_interface(const CaptureLog *log, const LoggedPacket *packet);
