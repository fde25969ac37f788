// SPDX-License-Identifier: GPL-2.0-or-later
/* The search behind points.h. */
#pragma once

#include "node-capture/tls/elf-image.h"
#include "node-capture/tls/golang-table.h"
#include "node-capture/tls/points.h"

/* Adds those that symbols name. `openssl`, `gnutls`: the ways to the client random in theirs. */
void points_find_symbols(ElfImage *image, const TlsChain *openssl, const TlsChain *gnutls,
                         TlsPoints *points);
/* Adds those of Go's crypto/tls, which is in the file; all of them or none, and then `reason` says
 * why. */
void points_find_golang(ElfImage *image, TlsPoints *points);

/* Of OpenSSL, by the addresses of its functions (0: not there), the two within that do the work. */
typedef struct OpensslFunctions {
    uint64_t read, read_ex, write, write_ex, write_ex2;
} OpensslFunctions;

bool points_find_openssl(ElfImage *image, const OpensslFunctions *functions, TlsPoint *ret_read,
                         TlsPoint *ret_write);

/* Adds those of NSS's libssl3, which is in the file, but for what has symbols. False: its table of
 * functions was not found, and none is added. */
bool points_find_nss(ElfImage *image, TlsPoints *points);

/* False: there is no room, or it is not code of the file. */
bool points_add(const ElfImage *image, TlsPoints *points, TlsPoint point);
