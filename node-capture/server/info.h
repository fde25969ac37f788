// SPDX-License-Identifier: GPL-2.0-or-later
/* What a running remora-node says of itself. Constant from start to end. */
#pragma once

#include <stdint.h>

typedef struct NodeInfo {
    const char *cluster, *node, *version;
    const char *boot_id; /* new at each start */
    const char *hardware, *os;
    uint64_t start_unix_ns;
} NodeInfo;
