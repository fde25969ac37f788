// SPDX-License-Identifier: GPL-2.0-or-later
/* TLS secrets by hooks in the libraries and programs that the processes of the wanted network
 * namespaces run: those that run already, and those that start. docs/tls.md says how. */
#pragma once

#include "node-capture/tls/keys.h"

/* Nothing is loaded before the first namespace is wanted; what then goes wrong is a problem told.
 */
TlsKeys *tls_keys_kernel_new(const TlsKeysCallbacks *callbacks, void *userdata);
