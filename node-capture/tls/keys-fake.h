// SPDX-License-Identifier: GPL-2.0-or-later
/* TLS secrets and plaintext by hand, for tests. */
#pragma once

#include <glib.h>

#include "node-capture/tls/keys.h"

typedef struct TlsFakeRandom {
    uint64_t netns_inode, time_unix_ns;
    uint8_t random[TLS_KEYS_RANDOM]; /* zeros: none */
    bool may_be_outer;
} TlsFakeRandom;

TlsKeys *tls_keys_fake_new(const TlsKeysCallbacks *callbacks, void *userdata);
/* What was asked for last (TlsWanted), and how often it was asked. The caller unrefs. */
GArray *tls_keys_fake_followed(TlsKeys *keys, unsigned *ret_times);
/* As if a process had made these; any thread. */
void tls_keys_fake_tell(TlsKeys *keys, uint64_t netns_inode, const char *lines);
void tls_keys_fake_tell_plaintext(TlsKeys *keys, const TlsPlaintext *plaintext);
/* As if something were wrong, or well again (NULL); any thread. */
void tls_keys_fake_problem(TlsKeys *keys, const char *message);
/* After keys->programs was changed by hand. */
void tls_keys_fake_tell_programs(TlsKeys *keys);
void tls_keys_fake_set_stats(TlsKeys *keys, const TlsKeysStats *stats);
GArray *tls_keys_fake_randoms(TlsKeys *keys); /* of TlsFakeRandom, all so far; the caller unrefs */
