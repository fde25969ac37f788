// SPDX-License-Identifier: GPL-2.0-or-later
/* The answers to GetStatus and ListTargets. On the capture thread. */
#pragma once

#include <glib.h>

#include "common/rpc/rpc.h"
#include "node-capture/server/capture.h"
#include "node-capture/server/info.h"
#include "node-capture/server/snapshot.h"
#include "node-capture/tls/programs.h"

/* `problems`: subject -> message. Both finish the call. */
void status_answer(RpcCall *call, const NodeInfo *info, const Capture *capture,
                   const NodeCounters *counters, GHashTable *problems);
/* `programs` may be NULL. */
void status_answer_targets(RpcCall *call, const NodeInfo *info, const Capture *capture,
                           const Selector *selector, TlsPrograms *programs);
