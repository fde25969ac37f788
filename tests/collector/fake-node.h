// SPDX-License-Identifier: GPL-2.0-or-later
/* A node that says what the test tells it to, over real gRPC. All functions from
 * the test's thread. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/pcapng/pcapng.h"
#include "proto/stream.h"

typedef struct FakeNode FakeNode;

FakeNode *fake_node_new(const char *path);
FakeNode *fake_node_new_at(const char *endpoint); /* "127.0.0.2:0"; NULL: the address is taken */
unsigned fake_node_port(const FakeNode *node);
FakeNode *fake_node_free(FakeNode *node); /* breaks its streams; NULL is fine */
/* What is said from here on is said to every caller that comes, from the beginning of its stream,
 * until fake_node_forget(). */
void fake_node_say(FakeNode *node, Remora__V1__StreamResponse *response);
void fake_node_say_packets(FakeNode *node, const PcapngBuilder *blocks, uint32_t count,
                           uint64_t watermark_ns);
void fake_node_say_raw(FakeNode *node, const void *bytes,
                       size_t length);        /* without a sequence number */
void fake_node_skip_sequence(FakeNode *node); /* leaves one out in the open streams */
/* Ends the open streams, and with `always` those that come too, with this status. */
void fake_node_finish(FakeNode *node, int status, const char *text, bool always);
/* Refuses whoever asks for this of TLS. */
void fake_node_refuse_mode(FakeNode *node, Remora__V1__TlsMode mode, int status, const char *text);
void fake_node_forget(FakeNode *node);
unsigned fake_node_calls(FakeNode *node); /* how many have come */

/* The usual messages. */
void fake_node_hello(FakeNode *node, const char *name, const char *boot_id);
void fake_node_interface(FakeNode *node, uint32_t id, const char *uid, const char *device);
void fake_node_pod(FakeNode *node, const char *name, const char *address);
void fake_node_heartbeat(FakeNode *node, uint64_t watermark_ns);
