// SPDX-License-Identifier: GPL-2.0-or-later
/* TLS secrets and plaintext by hand, for tests. */
#pragma once

#include <glib.h>

#include "node-capture/tls/keys.h"

TlsKeys *tls_keys_fake_new(const TlsKeysCallbacks *callbacks, void *userdata);
/* What was asked for last (TlsWanted), and how often it was asked. The caller unrefs. */
GArray *tls_keys_fake_followed(TlsKeys *keys, unsigned *ret_times);
/* As if a process had made these; any thread. */
void tls_keys_fake_tell(TlsKeys *keys, uint64_t netns_inode, const char *lines);
void tls_keys_fake_tell_plaintext(TlsKeys *keys, const TlsPlaintext *plaintext);
