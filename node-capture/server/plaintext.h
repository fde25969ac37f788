// SPDX-License-Identifier: GPL-2.0-or-later
/* Plaintext of TLS connections, made into packets where it is taken, on its way to the streams that
 * asked for it. What finds no room is dropped, oldest first, and told as lost. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "node-capture/server/capture.h"
#include "node-capture/tls/plaintext-flow.h"

#define PLAINTEXT_WAITING_MAX                                          \
    (32u << 20) /* bytes of memory of packets that wait for their turn \
                 */

/* Ids of interfaces from here on are not the packet source's, which counts from 0. */
#define PLAINTEXT_INTERFACES 0x80000000u

typedef struct Plaintext Plaintext;

typedef struct PlaintextStats {
    PlaintextFlowStats flow;
    uint64_t lost; /* packets that found no room */
} PlaintextStats;

Plaintext *plaintext_new(void);
Plaintext *plaintext_free(Plaintext *plaintext); /* NULL is fine; returns NULL */

/* The source's thread. Whether there is something for plaintext_run() that was not before. */
bool plaintext_take(Plaintext *plaintext, const TlsPlaintext *told);
/* The capture thread. */
void plaintext_run(Plaintext *plaintext, const Capture *capture);
void plaintext_stats(Plaintext *plaintext, PlaintextStats *ret); /* any thread */
