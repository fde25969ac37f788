// SPDX-License-Identifier: GPL-2.0-or-later
/* Sentences for a person, few: losses are gathered to at most one sentence per node and second; the
 * same other sentence comes at most once in ten seconds. No clock; one thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "collector/collector.h"
#include "proto/remora.pb-c.h"

typedef struct Notes Notes;

Notes *notes_new(const CollectorSink *sink, void *userdata);
Notes *notes_free(Notes *notes); /* NULL is fine */
void notes_say(Notes *notes, uint64_t now_ns, CollectorNoteLevel level, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void notes_loss(Notes *notes, const char *node, Remora__V1__LossStage stage, uint64_t packets,
                bool unknown);
/* Says what is due of the losses; `all`: everything, at the end. */
void notes_flush(Notes *notes, uint64_t now_ns, bool all);
/* "the capture ring was full": of a stage, for notes and for comments in the file. */
const char *notes_stage(Remora__V1__LossStage stage);
