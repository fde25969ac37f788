// SPDX-License-Identifier: GPL-2.0-or-later
/* Losses at nodes that have no interface in the file yet: kept until the first one, or the end. No
 * I/O, no clock. One thread. */
#pragma once

#include "collector/output.h"

typedef struct EarlyLosses EarlyLosses;

EarlyLosses *early_losses_new(void);
EarlyLosses *early_losses_free(EarlyLosses *losses); /* NULL is fine; returns NULL */
/* As output_loss(). Of more than a thousand nodes the further ones are kept together. */
void early_losses_add(EarlyLosses *losses, const char *cluster, const char *node,
                      OutputLossStage stage, uint64_t packets, uint64_t from_ns, const char *text);
/* Marks what was kept of the node on its interface in the output. */
void early_losses_take(EarlyLosses *losses, const char *node, Output *output, uint32_t interface);
/* Makes an interface for each node of which something is still kept. */
void early_losses_finish(EarlyLosses *losses, Output *output);
