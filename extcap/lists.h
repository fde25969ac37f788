// SPDX-License-Identifier: GPL-2.0-or-later
/* What the nodes tell of themselves, for people and for Wireshark's dialog. Every call asks the
 * nodes and waits for them. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "extcap/options.h"

/* Tables on standard output. A node that does not answer is named on standard error, the others are
 * printed; false if there was one. */
bool lists_print_targets(const RemoradumpOptions *options);
bool lists_print_status(const RemoradumpOptions *options);

/* Sorted names (char *) of all namespaces, or of the pods in the namespaces that are chosen. NULL
 * if no node answered or none knows any. */
GPtrArray *lists_names(const RemoradumpOptions *options, bool pods, GError **error);

/* A sentence if namespaces and pods are chosen such that none of the nodes' pods match now; else
 * NULL, also if not all nodes answer within 2 s altogether. The caller frees. */
char *lists_nothing_matches(const RemoradumpOptions *options);
