// SPDX-License-Identifier: GPL-2.0-or-later
/* Who we are at the API server, kept fresh: token files that rotate, credentials that expire. */
#pragma once

#include <stdint.h>

#include "k8s-enrich/api/config.h"

/* What goes with a request; borrowed until the next call. Absent is NULL. */
typedef struct ApiIdentity {
    const char *token, *username, *password;
    const char *certificate_path, *key_path;
    GBytes *certificate_data, *key_data;
} ApiIdentity;

typedef struct ApiCredentials ApiCredentials;
/* `cancel_fd`: ends a plugin that runs. */
ApiCredentials *api_credentials_new(const ApiConfig *config, int cancel_fd);
ApiCredentials *api_credentials_free(ApiCredentials *credentials);
/* May take as long as a plugin does (30 s at most). A token file is read again when it has changed,
 * or each minute. */
bool api_credentials_get(ApiCredentials *credentials, uint64_t unix_ns, ApiIdentity *ret,
                         GError **error);
/* The server did not accept them: the next get reads anew. */
void api_credentials_reject(ApiCredentials *credentials);
