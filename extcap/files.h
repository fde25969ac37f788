// SPDX-License-Identifier: GPL-2.0-or-later
/* The commands that read a capture file IN and write it anew as OUT. `files` are the operands,
 * NULL-terminated. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "extcap/options.h"

/* remoradump --annotate IN OUT --inventory FILE */
bool files_annotate(const RemoradumpOptions *options, char **files, GError **error);
/* remoradump --keys-first IN OUT */
bool files_keys_first(char **files, GError **error);
