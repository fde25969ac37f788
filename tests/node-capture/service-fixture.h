// SPDX-License-Identifier: GPL-2.0-or-later
/* The whole node but for the kernel: fake source and targets, the real service on a unix socket,
 * the real client. Everything fails the test on an error. */
#pragma once

#include "node-capture/server/service.h"
#include "node-capture/source/fake.h"
#include "node-capture/targets/fake.h"
#include "node-capture/tls/keys-fake.h"
#include "reader.h"

#define QUEUE_BYTES (2u << 20)
#define TARGET      1u /* ids that the node gives: the first pod it opens */
#define BATCH       80u

typedef struct ServiceFixture {
    char *folder;
    Entity *pod;
    Source *source;
    Targets *targets;
    Node *node;
    TlsKeys *keys; /* fake */
    Service *service;
    RpcClient *client;
    RpcChannel *channel;
    uint32_t sent; /* packets given to the source */
} ServiceFixture;

/* One pod, shop/cart; only the namespace shop may be captured; at most three streams. */
extern bool service_gives_tls_keys; /* to those who ask; before service_set_up() */
extern bool service_gives_tls_plaintext;
void service_set_up(ServiceFixture *fixture, const void *data);
void service_tear_down(ServiceFixture *fixture, const void *data);

Reader *service_open_with(ServiceFixture *fixture, const char *filter, uint32_t snap_length,
                          bool free_running);
void service_give_interface(const ServiceFixture *fixture);
uint64_t service_time_of(uint32_t number); /* of a packet, in ns */
/* Batches of BATCH packets, and a watermark behind them. */
void service_give_packets(ServiceFixture *fixture, uint32_t batches, uint8_t mark);

/* The caller frees with the protobuf-c function for the type. */
Remora__V1__GetStatusResponse *service_get_status(const ServiceFixture *fixture);
Remora__V1__ListTargetsResponse *service_list_targets(const ServiceFixture *fixture);
uint64_t service_counter(const ServiceFixture *fixture, const char *name);
/* Every packet that streams were to get is in exactly one of the counters. */
void service_check_account(const ServiceFixture *fixture);
