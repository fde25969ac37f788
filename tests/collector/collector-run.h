// SPDX-License-Identifier: GPL-2.0-or-later
/* A collector in a thread of its own against fake nodes, and what came out of it. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "collector/collector.h"
#include "fake-node.h"
#include "fixture.h"

#define T0         (1700000000 * SECOND)
#define FOREVER_NS (3600 * SECOND)

typedef struct Run {
    char *folder, *paths[2], *endpoints[3];
    FakeNode *nodes[2];
    CollectorConfig config;
    Collector *collector;
    GThread *thread;
    GError *error;
    bool result;
    GMutex lock;
    GCond changed;
    GByteArray *out;
    GString *notes;
    int write_result;
    bool blocked; /* write() waits */
} Run;

/* What stands in the output, so far as it is whole. */
typedef struct Content {
    unsigned sections, interfaces, packets, secrets, statistics, dropcounts;
    uint64_t drops, received, delivered;
    unsigned before_secrets; /* packets that stand ahead of the last of them */
    bool sorted;
    GString *names;    /* of interfaces, a line each */
    GString *comments; /* of packets, a line each */
    GString *remarks;  /* of interface statistics, a line each */
    GArray *numbers;   /* of packets */
} Content;

/* A test's fixture, for g_test_add(): two endpoints without nodes. */
void run_setup(Run *run, gconstpointer data);
void run_teardown(Run *run, gconstpointer data);
void run_use_one(Run *run); /* one endpoint alone */
/* The node says hello, a pod and its interface 1. */
void run_begin(Run *run, int index, const char *boot_id);
/* Packets to somewhere outside, numbered from `number` on, a millisecond apart, as one message. */
void run_send_packets(Run *run, int index, uint32_t interface_id, uint64_t time_ns, uint32_t number,
                      uint32_t count);
void run_start(Run *run);
void run_stop(Run *run);
void run_wait_for_packets(Run *run, unsigned packets); /* so many in the output */
void run_wait_for_note(Run *run, const char *part);

/* What is in the output. While the collector runs: under the lock. */
Content run_content(const Run *run);
void content_clear(Content *content);

/* The sink. */
int run_on_write(const uint8_t *bytes, size_t length, void *userdata);
void run_on_note(CollectorNoteLevel level, const char *text, void *userdata);
