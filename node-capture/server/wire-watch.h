// SPDX-License-Identifier: GPL-2.0-or-later
/* Looks for the beginnings of TLS connections among the packets of pods whose secrets are wanted,
 * and tells the source of secrets. The capture thread's. */
#pragma once

#include "node-capture/server/pod.h"
#include "node-capture/tls/keys.h"

/* `batch` NULL: packets of the pod were lost at `time_ns`. */
void wire_watch(TlsKeys *keys, const Pod *pod, const Batch *batch, uint64_t time_ns);
