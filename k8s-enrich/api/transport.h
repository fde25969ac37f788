// SPDX-License-Identifier: GPL-2.0-or-later
/* GET requests to the API server, many at a time over few connections. All on one thread, but for
 * api_transport_wake(). */
#pragma once

#include "k8s-enrich/api/credentials.h"

typedef struct ApiTransport ApiTransport;
typedef struct ApiTransfer ApiTransfer;

typedef struct ApiTransferOps {
    /* The answer's head has come. content_type is never NULL. */
    void (*begun)(int status, const char *content_type, unsigned retry_after_s, void *userdata);
    /* False ends the transfer. */
    bool (*bytes)(const uint8_t *bytes, size_t length, void *userdata);
    /* error NULL: the answer is whole. The transfer is gone afterwards. Never called from within
     * api_transfer_new(), nor after api_transfer_free(). */
    void (*ended)(const char *error, void *userdata);
} ApiTransferOps;

/* cancel_fd: ends a credential plugin that runs. */
ApiTransport *api_transport_new(const ApiConfig *config, int cancel_fd);
/* All transfers must be gone. */
ApiTransport *api_transport_free(ApiTransport *transport);
/* Waits for `timeout_ms` at most and calls back. */
void api_transport_run(ApiTransport *transport, int timeout_ms);
void api_transport_wake(ApiTransport *transport);
/* After a 401. */
void api_transport_reject_credentials(ApiTransport *transport);

/* `stall_s`: ends if next to nothing comes for so long; 0: only connecting is bounded. NULL with an
 * error if there are no credentials. */
ApiTransfer *api_transfer_new(ApiTransport *transport, const char *path, const char *accept,
                              unsigned stall_s, const ApiTransferOps *ops, void *userdata,
                              GError **error);
/* NULL is fine; returns NULL. Not from within begun() and bytes(). */
ApiTransfer *api_transfer_free(ApiTransfer *transfer);
