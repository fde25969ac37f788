// SPDX-License-Identifier: GPL-2.0-or-later
/* A source for tests: what it is given, it tells, in order, out of run(). Unless said otherwise:
 * from any thread; what was given before run() is told even by run(0). */
#pragma once

#include "node-capture/source/source.h"

void source_fake_interface(Source *source, const SourceInterface *interface); /* copied */
/* Takes the caller's reference. */
void source_fake_packets(Source *source, uint32_t target_id, Batch *batch);
/* One packet as a batch of its own, inbound. */
void source_fake_packet(Source *source, uint32_t target_id, uint32_t interface_id, uint64_t time_ns,
                        const void *data, uint32_t captured_length, uint32_t original_length);
void source_fake_lost(Source *source, uint32_t target_id, uint64_t packets, uint64_t from_ns,
                      uint64_t to_ns, bool unknown);
void source_fake_watermark(Source *source, uint64_t unix_ns);
void source_fake_ended(Source *source, uint32_t target_id, int error, const char *message);

/* Kept back until remove(), which hands it out. Takes the caller's reference. */
void source_fake_packets_at_remove(Source *source, uint32_t target_id, Batch *batch);

/* From now on add() fails so (message static); 0: it succeeds again. */
void source_fake_fail_add(Source *source, int error, const char *message);

/* What was asked of the source. */
bool source_fake_has_target(const Source *source, uint32_t target_id);
unsigned source_fake_targets(const Source *source);
uint32_t source_fake_snap_length(const Source *source);
