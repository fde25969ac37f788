// SPDX-License-Identifier: GPL-2.0-or-later
/* TLS secrets and plaintext on their way from where they are taken to the streams that asked for
 * them, and the other way which pods' are wanted. Nothing is kept: who asks later is told of later
 * ones. */
#pragma once

#include "node-capture/server/capture.h"
#include "node-capture/server/plaintext.h"
#include "node-capture/tls/keys.h"

#define SECRETS_WAITING_MAX (8u << 20) /* bytes of lines; beyond it they are lost, and counted */

typedef struct Secrets Secrets;

typedef struct SecretsStats {
    uint64_t lines; /* told to at least one stream */
    uint64_t lost;  /* lines that found no room, or no stream any more */
    PlaintextStats plaintext;
    TlsKeysStats source;
} SecretsStats;

/* From any thread. */
typedef struct SecretsCallbacks {
    void (*wake)(void *userdata); /* there is something for secrets_run() */
    /* Something is wrong, or well again (message NULL). */
    void (*problem)(const char *subject, const char *message, void *userdata);
} SecretsCallbacks;

Secrets *secrets_new(const SecretsCallbacks *callbacks, void *userdata);
/* Frees the source first. NULL is fine; returns NULL. */
Secrets *secrets_free(Secrets *secrets);

extern const TlsKeysCallbacks secrets_keys_callbacks; /* userdata: the Secrets */
/* Takes the source over. Before the capture thread starts. */
void secrets_set_source(Secrets *secrets, TlsKeys *keys);
TlsKeys *secrets_source(const Secrets *secrets); /* NULL: there is none */

/* The capture thread, before the streams get packets. */
void secrets_run(Secrets *secrets, const Capture *capture);
/* Or plaintext, and they can be had. */
bool secrets_are_wanted(const Secrets *secrets, const Pod *pod);
void secrets_stats(Secrets *secrets, SecretsStats *ret); /* any thread */
