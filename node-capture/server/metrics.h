// SPDX-License-Identifier: GPL-2.0-or-later
/* What /metrics answers: Prometheus text exposition format, version 0.0.4. */
#pragma once

#include "node-capture/server/info.h"
#include "node-capture/server/snapshot.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* The caller frees. */
char *metrics_text(const NodeInfo *info, const Snapshot *snapshot);
