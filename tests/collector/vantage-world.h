// SPDX-License-Identifier: GPL-2.0-or-later
/* A small world for the tests of the vantage choice: clients c0, c1; servers s0, s1 behind the
 * service "catalog" (10.96.0.1:80 -> 8080, TCP and UDP), a capture point in each, and what was
 * shown. */
#pragma once

#include <glib.h>

#include "collector/vantage-table.h"
#include "collector/vantage.h"
#include "fixture.h"

extern const char *const client_address[2], *const server_address[2];
#define VIP "10.96.0.1"

enum { CLIENT_0, CLIENT_1, SERVER_0, SERVER_1, POINTS };

typedef struct World {
    Inventory *inventory;
    Vantage *vantage;
    Translations *translations;
    NodeQuota *quota;
    CapturePoint points[POINTS + 1]; /* the last one: c0's loopback */
    GArray *shown;                   /* uint32_t numbers */
} World;

/* `captured`: at which points there is somebody; NULL: at all. */
World *world_new(const bool *captured, size_t max_connections);
void world_free(World *world);

/* A packet is seen at a point: on its way out, or in. */
void see(World *world, unsigned point, uint64_t time_ns, unsigned direction,
         const FixturePacket *packet);
void out(World *world, unsigned point, uint64_t time_ns, const FixturePacket *packet);
void in(World *world, unsigned point, uint64_t time_ns, const FixturePacket *packet);

void show(World *world, uint64_t frontier_ns); /* takes what is decided */
void assert_shown(World *world, ...);          /* these numbers, as int, and then -1 */
uint64_t left_out(const World *world);

#define SYN(FROM, PORT, TO, TO_PORT, SEQ, NUMBER) \
    (&(FixturePacket){.src = (FROM),              \
                      .dst = (TO),                \
                      .protocol = 6,              \
                      .src_port = (PORT),         \
                      .dst_port = (TO_PORT),      \
                      .tcp_flags = 2,             \
                      .tcp_seq = (SEQ),           \
                      .number = (NUMBER)})
#define DATA(FROM, PORT, TO, TO_PORT, NUMBER) \
    (&(FixturePacket){.src = (FROM),          \
                      .dst = (TO),            \
                      .protocol = 6,          \
                      .src_port = (PORT),     \
                      .dst_port = (TO_PORT),  \
                      .tcp_flags = 0x18,      \
                      .number = (NUMBER)})

#define T0 (1000 * SECOND)
#define C0 client_address[0]
#define S0 server_address[0]
