// SPDX-License-Identifier: GPL-2.0-or-later
/* Points in a file where the plaintext of TLS connections is seen: the functions that programs call
 * to read and to write, and those that begin and end a connection. By names: symbols, or Go's table
 * of functions. Pure, as finder.h, which fills it. docs/tls.md says how. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node-capture/tls/point-kinds.h"

#define TLS_POINTS_MAX        64
#define TLS_POINT_REASON_SIZE 160
#define TLS_CHAIN_MAX         4

/* From a pointer p: for all offsets but the last p = *(p + offset), then p + the last one is the
 * address. count 0: none. */
typedef struct TlsChain {
    uint32_t count;
    int32_t offsets[TLS_CHAIN_MAX];
} TlsChain;

typedef struct TlsPoint {
    TlsPointKind kind;
    bool on_stack;      /* Go: arguments and results are there */
    bool by_descriptor; /* NSS: the session is what the second word of a PRFileDesc points to */
    const char *name;   /* of the function; static */
    uint64_t address, offset; /* in memory before relocation; in the file, as uprobes want it */
    TlsChain random;          /* from the session to its client random, if it is known */
} TlsPoint;

typedef struct TlsPoints {
    unsigned count;
    TlsPoint points[TLS_POINTS_MAX];
    char reason[TLS_POINT_REASON_SIZE]; /* why a library that is there has none; else empty */
} TlsPoints;

/* Does the hook need to know when the function returns? */
bool tls_point_returns(TlsPointKind kind);
const char *tls_point_kind_name(TlsPointKind kind);
