// SPDX-License-Identifier: GPL-2.0-or-later
/* A stream's reader under control: it takes one message for each that it is allowed, checks
 * sequence, order and watermarks, and keeps account. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/rpc/rpc.h"
#include "proto/stream.h"

typedef struct ReaderState {
    uint64_t messages, packets, lost, kernel_lost, starts_lost;
    uint64_t holes; /* packet numbers that neither came nor were told as lost before the next one */
    uint32_t next_number; /* see test_batch(); the next that must come if nothing is lost */
    uint32_t interfaces, entities, deleted;
    uint32_t captured_max; /* longest packet */
    uint64_t watermark_ns;
    char key_log[512];               /* all secrets, as long as they fit */
    uint64_t packets_before_secrets; /* the last of them */
    char plaintext[512];             /* as long as it fits */
    uint64_t plaintext_packets, plaintext_holes, plaintext_lost;
    bool has_plaintext_interface;
    char notices[4096]; /* "subject: message" and a newline, as long as they fit */
    bool synced, ended, end_retry, closed;
    char start_text[128]; /* of the last loss at the start of a capture */
    uint64_t start_from_ns, start_to_ns;
    int status;
    char text[512];
} ReaderState;

typedef struct Reader Reader;

/* Opens a stream with the request; any number of messages are read if `free_running`. */
Reader *reader_new(RpcChannel *channel, const Remora__V1__StreamRequest *request,
                   bool free_running);
/* A request of any bytes. */
Reader *reader_new_raw(RpcChannel *channel, const void *request, size_t length);
/* Cancels and waits for the end. */
Reader *reader_free(Reader *reader);
void reader_allow(Reader *reader, uint64_t messages); /* UINT64_MAX: from now on all */
/* Waits until `done` says so; fails the test after 20 s. Returns the state then. */
ReaderState reader_wait(Reader *reader, bool (*done)(const ReaderState *state, uint64_t value),
                        uint64_t value);

bool reader_synced(const ReaderState *state, uint64_t value);
bool reader_closed(const ReaderState *state, uint64_t value);
bool reader_has_messages(const ReaderState *state, uint64_t value);
bool reader_has_watermark(const ReaderState *state, uint64_t value);
bool reader_has_lost_starts(const ReaderState *state, uint64_t value);
bool reader_has_secrets(const ReaderState *state, uint64_t bytes);
bool reader_has_plaintext(const ReaderState *state, uint64_t bytes);
bool reader_has_notices(const ReaderState *state, uint64_t count);
bool reader_has_deleted(const ReaderState *state, uint64_t value);
