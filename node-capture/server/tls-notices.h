// SPDX-License-Identifier: GPL-2.0-or-later
/* Streams that asked for TLS secrets are told why some of them, or all, will not come: once for
 * each cause and pod. The capture thread's. */
#pragma once

#include "node-capture/server/capture.h"
#include "node-capture/tls/programs.h"

#define TLS_NOTICES_MAX    4096u /* of one stream; then no more are told */
#define TLS_NOTICES_OF_ONE 16u   /* and of one pod */

typedef struct TlsNotices TlsNotices;

TlsNotices *tls_notices_new(const char *node);     /* copied */
TlsNotices *tls_notices_free(TlsNotices *notices); /* NULL is fine; returns NULL */

/* Costs nothing if nothing has changed. `problem`: why no secrets come at all, or NULL. */
void tls_notices_run(TlsNotices *notices, TlsPrograms *programs, const Capture *capture,
                     const char *problem);
