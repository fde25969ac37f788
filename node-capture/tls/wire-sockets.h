// SPDX-License-Identifier: GPL-2.0-or-later
/* The sockets of TLS connections whose library gets nothing but memory (node, asyncio, Envoy): the
 * program itself reads sockets and writes to them. The session's client random tells which one it
 * is, as it stood in the ClientHello that was captured in the same network namespace.
 *
 * Plaintext mostly comes ahead of the captured packets, so it waits here for its ClientHello, in
 * order, for WIRE_SOCKETS_WAIT_NS at most; then it goes on without a socket, and so does the rest
 * of that connection. Where a random was seen between two pairs of ends (a proxy in the pod that
 * passes TLS on), a client is at the first of them, and of a server the socket is not known.
 *
 * Bounded in memory: some 8 MiB, and what waits. No I/O but what it is given, no clock. One
 * thread. */
#pragma once

#include "node-capture/tls/keys.h"

#define WIRE_SOCKETS_WAIT_NS     500000000u
#define WIRE_SOCKETS_WAITING_MAX (8u << 20) /* bytes; beyond it the longest waiting go on */
#define WIRE_SOCKETS_HELLOS      16384u     /* remembered; beyond it the oldest go */
#define WIRE_SOCKETS_CONNECTIONS 32768u     /* the same; seen again, they are looked up again */

typedef struct WireSockets WireSockets;

typedef struct WireSocketsCallbacks {
    /* Valid during the call; what family is set of has its socket. */
    void (*plaintext)(void *userdata, const TlsPlaintext *plaintext);
    /* Whether something listens on that port in the network namespace of a process: asked once of a
     * session whose role nobody knows. */
    bool (*is_listening)(uint32_t pid, uint16_t port);
} WireSocketsCallbacks;

WireSockets *wire_sockets_new(const WireSocketsCallbacks *callbacks, void *userdata);
/* What waits is dropped. NULL is fine; returns NULL. */
WireSockets *wire_sockets_free(WireSockets *sockets);

void wire_sockets_saw(WireSockets *sockets, const TlsSeenHello *hello);
/* Calls back with it, and with what waited, or keeps a copy. `now_ns` of any one clock. */
void wire_sockets_add(WireSockets *sockets, const TlsPlaintext *plaintext, uint64_t now_ns);
/* What has its ClientHello by now, or has waited long enough, goes on. To be called every few
 * milliseconds. */
void wire_sockets_run(WireSockets *sockets, uint64_t now_ns);
/* Connections that went on without a socket, so far. */
uint64_t wire_sockets_unknown(const WireSockets *sockets);
