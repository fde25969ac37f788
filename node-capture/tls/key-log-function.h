// SPDX-License-Identifier: GPL-2.0-or-later
/* The key-log function of a library in C or C++: where the labels' addresses go. */
#pragma once

#include "node-capture/tls/flow.h"
#include "node-capture/tls/label-sites.h"

/* TLS_HOOKED: *ret is filled but for the random; TLS_DOUBTFUL: as well, and `reason` says why;
 * TLS_NOT_HOOKED: `reason`. */
TlsVerdict key_log_function_find(ElfImage *image, const LabelSites *sites, TlsKeyLog *ret,
                                 char reason[static TLS_REASON_SIZE]);

/* The way from the session to the client random, by the function that returns it (0: there is none)
 * and by the key-log function itself. */
void client_random_find(ElfImage *image, uint64_t accessor, bool is_gnutls, TlsKeyLog *key_log);
